"""Runs a program for as long as standard input stays open, and not a moment longer.

``python -m chatsim.live.keeper FOLDER PROGRAM ARGUMENT...``. Whatever ends the driver, be it SIGKILL, closes the pipe;
programs that know nothing of that, such as redis-server, are ended here. A driver that goes in order says ``end``
first; after one that does not, the folder of its run is removed too.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

PATIENCE_S = 2.0
END = b"end\n"
OWN_PATH = "CHATSIM_OWN_PATH"
"""Where a program is to have its own PYTHONPATH, and not the one by which this module is found."""


def main(arguments: Sequence[str]) -> int:
    """Runs the program, and ends it when standard input is closed or SIGTERM comes."""
    folder, *program = arguments
    own = {"PYTHONPATH": os.environ[OWN_PATH]} if OWN_PATH in os.environ else {}
    child = subprocess.Popen(program, stdin=subprocess.DEVNULL, env={**os.environ, **own})
    threading.Thread(target=lambda: os._exit(abs(child.wait()) & 0xFF), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: _end(child))
    said = b""
    while part := os.read(sys.stdin.fileno(), 4096):
        said += part
    if said != END:
        shutil.rmtree(folder, ignore_errors=True)
    _end(child)
    return 0


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        child.kill()
    if os.getpgrp() == os.getpid():  # what the program has started and left behind goes too, and this process with it
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
