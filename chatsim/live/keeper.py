"""Runs a program for as long as standard input stays open, and not a moment longer.

``python -m chatsim.live.keeper FOLDER PROGRAM ARGUMENT...``. Whatever ends the driver, be it SIGKILL, closes the pipe;
programs that know nothing of that, such as redis-server, are ended here, with all that they have started. A driver that
goes in order says ``end`` first; after one that does not, the folder of its run is removed too.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

PATIENCE_S = 2.0
END = b"end\n"
OWN_PATH = "CHATSIM_OWN_PATH"
"""Where a program is to have its own PYTHONPATH, and not the one by which this module is found."""
PR_SET_CHILD_SUBREAPER = 36
PROC = Path("/proc")
STATE, PARENT, THREADS = 0, 1, 17
"""Places in /proc/PID/stat, behind the name."""


def main(arguments: Sequence[str]) -> int:
    """Runs the program, and ends it when standard input is closed or SIGTERM comes."""
    folder, *program = arguments
    own = {"PYTHONPATH": os.environ[OWN_PATH]} if OWN_PATH in os.environ else {}
    if sys.platform == "linux":  # what has gone off into a session of its own is still found below this process
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = subprocess.Popen(program, stdin=subprocess.DEVNULL, env={**os.environ, **own})
    threading.Thread(target=lambda: _end(child, _status(child.wait())), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: _end(child))
    said = b""
    while part := os.read(sys.stdin.fileno(), 4096):
        said += part
    if said != END:
        shutil.rmtree(folder, ignore_errors=True)
    _end(child)
    return 0


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, those that these have started, and so on; none that has ended.

    A process has ended when all its threads have: until then it holds its ports.
    """
    parents: dict[int, list[int]] = {}
    for path in PROC.iterdir():
        if path.name.isdecimal():
            with suppress(OSError, IndexError, ValueError):
                said = (path / "stat").read_text(errors="replace").rpartition(")")[2].split()
                if said[STATE] not in "ZX" or int(said[THREADS]) > 1:
                    parents.setdefault(int(said[PARENT]), []).append(int(path.name))
    found, left = [], [pid]
    while left:
        below = parents.get(left.pop(), [])
        found += below
        left += below
    return found


def _end(child: subprocess.Popen[bytes], status: int = 0) -> None:
    """All that came of the program is asked to go, and then made to; this process ends with a status."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        until_s = time.monotonic() + PATIENCE_S
        for pid in _alive(child):
            with suppress(OSError):
                os.kill(pid, number)
        while _alive(child) and time.monotonic() < until_s:
            time.sleep(0.01)
    os._exit(status)


def _alive(child: subprocess.Popen[bytes]) -> list[int]:
    """What is to be ended; where the system does not show what a program has started, the program alone."""
    if (PROC / "self" / "stat").exists():
        return descendants(os.getpid())
    return [child.pid] if child.poll() is None else []


def _status(code: int) -> int:
    """An exit status as a shell has it: 128 and the signal, of a program that was killed."""
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
