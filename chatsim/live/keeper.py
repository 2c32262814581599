"""Runs a program for as long as standard input stays open, and not a moment longer.

``python -m chatsim.live.keeper PROGRAM ARGUMENT...``. Whatever ends the driver, be it SIGKILL, closes the pipe;
programs that know nothing of that, such as redis-server, are ended here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

PATIENCE_S = 2.0


def main(arguments: Sequence[str]) -> int:
    """Runs the program, and ends it when standard input is closed or SIGTERM comes."""
    child = subprocess.Popen(arguments, stdin=subprocess.DEVNULL)
    threading.Thread(target=lambda: os._exit(abs(child.wait()) & 0xFF), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: _end(child))
    while os.read(sys.stdin.fileno(), 4096):
        pass
    _end(child)
    return 0


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        child.kill()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
