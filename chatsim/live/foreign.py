"""A server that is none of ours: a command that is started, watched by what the system says of it, and ended whole."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from chatsim.live.keeper import OWN_PATH
from chatsim.live.processes import HOST, STARTS_WITHIN_S, Process, free_port
from chatsim.scenario import InputError

PORT = "{port}"
PROC = Path("/proc")


class Server(Process):
    """A command in a process group of its own, with all that it starts. ``port`` is where it listens."""

    def __init__(self, folder: Path, command: str, port: int = 0) -> None:
        super().__init__(folder / "server.log")
        self.folder, self.command = folder, command
        self.port = free_port() if PORT in command else port

    async def begin(self) -> None:
        """Starts it and waits until its port answers; InputError where it does not."""
        words = words_of(self.command.replace(PORT, str(self.port)))
        if is_open(self.port):
            raise InputError(f"--port {self.port}: somebody listens there already")
        await self.start(
            sys.executable, "-m", "chatsim.live.keeper", str(self.folder), *words, says_to_log=True,
            PORT=str(self.port), **{OWN_PATH: os.environ.get("PYTHONPATH", "")},
        )  # fmt: skip
        loop = asyncio.get_running_loop()
        until_s = loop.time() + STARTS_WITHIN_S
        while not is_open(self.port):
            if self.child.returncode is not None:
                raise InputError(
                    f"--command '{self.command}': has ended with status {self.child.returncode} before port {self.port} "
                    f"answered: {self.last_words()}"
                )
            if loop.time() > until_s:
                raise InputError(
                    f"--command '{self.command}': port {self.port} does not answer within {STARTS_WITHIN_S:g} s: "
                    f"{self.last_words()}"
                )
            await asyncio.sleep(0.02)

    async def end(self) -> None:
        """Ends it, and whatever it has started and not ended itself."""
        await super().end()
        if self._child is not None:
            self.kill()

    def cpu_s(self) -> float:
        """CPU time that all its processes have used until now."""
        return sum(cpu_of(path) for path in self._members())

    def memory_bytes(self) -> float:
        """Resident memory of all its processes; what they share counts for each."""
        pages = 0
        for path in self._members():
            with suppress(OSError, ValueError, IndexError):
                pages += int((path / "statm").read_text().split()[1])
        return float(pages * os.sysconf("SC_PAGE_SIZE"))

    def _members(self) -> Iterator[Path]:
        """Its processes, without the one that keeps them."""
        for path in PROC.iterdir():
            if not path.name.isdecimal() or int(path.name) == self.child.pid:
                continue
            with suppress(OSError, ValueError, IndexError):
                after_name = (path / "stat").read_text().rpartition(")")[2].split()
                if int(after_name[2]) == self.child.pid:
                    yield path


@asynccontextmanager
async def started(folder: Path, command: str, port: int) -> AsyncIterator[Server]:
    """A server that runs, and is gone afterwards."""
    server = Server(folder, command, port)
    try:
        await server.begin()
        yield server
    finally:
        await asyncio.shield(server.end())


def refuse_unknown(command: str, port: int) -> None:
    """InputError where a command cannot be started at all."""
    words = words_of(command)
    if not words:
        raise InputError("--command '': a command is needed")
    if shutil.which(words[0]) is None:
        raise InputError(f"--command '{command}': no such program: {words[0]}")
    if PORT not in command and not port:
        raise InputError(f"--command '{command}': where does it listen? --port N, or {PORT} in the command, is needed")
    if not (PROC / "self" / "stat").exists():
        raise InputError("--command: CPU time of other programs is read from /proc, which this system has not")


def words_of(command: str) -> list[str]:
    """The words of a command; no shell looks at them."""
    try:
        return shlex.split(command)
    except ValueError as error:
        raise InputError(f"--command '{command}': {str(error).lower()}") from error


def is_open(port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0


def cpu_of(path: Path) -> float:
    """CPU time of a process, to the nanosecond where the system says that, else in its ticks."""
    total_s = 0.0
    with suppress(OSError, ValueError, IndexError):
        for thread in (path / "task").iterdir():
            total_s += int((thread / "schedstat").read_text().split()[0]) / 1e9
        if total_s:
            return total_s
    with suppress(OSError, ValueError, IndexError):
        used = (path / "stat").read_text().rpartition(")")[2].split()[11:13]
        total_s = sum(map(int, used)) / os.sysconf("SC_CLK_TCK")
    return total_s
