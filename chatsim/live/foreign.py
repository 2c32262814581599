"""A server that is none of ours: a command that is started, watched by what the system says of it, and ended whole."""

from __future__ import annotations

import asyncio
import math
import os
import shlex
import shutil
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from chatsim.live.keeper import OWN_PATH, PROC, descendants
from chatsim.live.processes import Process
from chatsim.live.twin import refuse_remote
from chatsim.scenario import InputError

SCHEMES, FORM = ("ws",), "ws://127.0.0.1:PORT/PATH"
TURN_S = 0.02
ENDS_AFTER_ITS_CLIENTS_S, PORT_IS_LEFT_WITHIN_S = 3.0, 1.0
CLOCK_OF_A_PROCESS = 2


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens: ``url``, and the ``host`` (as a number) and ``port`` of it."""

    url: str
    host: str
    port: int


class Server(Process):
    """A command with all that it starts."""

    def __init__(self, folder: Path, command: str, address: Address) -> None:
        super().__init__(folder / "server.log")
        self.folder, self.command, self.address = folder, command, address

    async def begin(self, within_s: float) -> None:
        """Starts it and waits until its port answers; InputError where it does not."""
        if not await comes_true(lambda: not is_open(self.address), PORT_IS_LEFT_WITHIN_S):
            raise InputError(
                f"--url {self.address.url}: somebody listens on port {self.address.port} already: --command starts the "
                "server itself, so end that one, or take another port"
            )
        await self.start(
            sys.executable, "-m", "chatsim.live.keeper", str(self.folder), *words_of(self.command), says_to_log=True,
            PORT=str(self.address.port), **{OWN_PATH: os.environ.get("PYTHONPATH", "")},
        )  # fmt: skip
        port = self.address.port
        there = await comes_true(lambda: self.has_ended or is_open(self.address), within_s)
        if self.has_ended:
            raise self.failed(f"has ended with status {self.child.returncode} before port {port} answered")
        if not there:
            raise self.failed(f"port {port} does not answer within {within_s:g} s")

    @property
    def has_ended(self) -> bool:
        """Whether it is gone."""
        return self.child.returncode is not None

    async def ends_now(self) -> bool:
        """Whether it ends about now: its connections go before itself is seen to be gone."""
        return await comes_true(lambda: self.has_ended, ENDS_AFTER_ITS_CLIENTS_S)

    def failed(self, what: str) -> InputError:
        """What is wrong with it, and the last that it has said."""
        return InputError(f"--command '{self.command}': {what}: {self.last_words()}")

    async def end(self) -> None:
        """Ends it, and whatever it has started and not ended itself."""
        await super().end()
        if self._child is not None and (self.child.returncode or 0) < 0:  # who was to see to that was killed
            self.kill()

    def cpu_s(self) -> float:
        """CPU time that all its processes have used until now."""
        return sum(map(cpu_of, descendants(self.child.pid)))

    def memory_bytes(self) -> float:
        """Resident memory of all its processes; what they share counts for each."""
        pages = 0
        for pid in descendants(self.child.pid):
            with suppress(OSError, ValueError, IndexError):
                pages += int((PROC / str(pid) / "statm").read_text().split()[1])
        return float(pages * os.sysconf("SC_PAGE_SIZE"))


@asynccontextmanager
async def started(server: Server, within_s: float) -> AsyncIterator[Server]:
    """A server that runs, and is gone afterwards."""
    try:
        await server.begin(within_s)
        yield server
    finally:
        await asyncio.shield(server.end())


def address_of(url: str, resource: str, allow_remote: bool) -> Address:
    """The address that a URL names, at ``resource`` where it does not say; InputError where load must not go there.

    >>> address_of("ws://localhost:3000", "/chat", False)
    Address(url='ws://localhost:3000/chat', host='127.0.0.1', port=3000)
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InputError(f"--url '{url}': the form is {FORM}") from error
    if parts.scheme not in SCHEMES or not parts.hostname or not port:
        raise InputError(f"--url '{url}': the form is {FORM}")
    refuse_remote(url, allow_remote, "--url", SCHEMES, FORM)
    try:
        found = socket.getaddrinfo(parts.hostname, port, socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        raise InputError(f"--url '{url}': '{parts.hostname}' has no address of IPv4, which is needed") from error
    whole = url if parts.path not in ("", "/") or parts.query else f"ws://{parts.netloc}{resource}"
    return Address(whole, str(found[0][4][0]), port)


def refuse_unknown(command: str) -> None:
    """InputError where a command cannot be started or measured at all."""
    words = words_of(command)
    if not words:
        raise InputError("--command '': a command is needed, such as 'node server.js'")
    if shutil.which(words[0]) is None:
        raise InputError(f"--command '{command}': no such program: {words[0]}")
    if not (PROC / "self" / "stat").exists():
        raise InputError("--command: CPU time of other programs is read from /proc, which this system has not")


def words_of(command: str) -> list[str]:
    """The words of a command; no shell looks at them."""
    try:
        return shlex.split(command)
    except ValueError as error:
        raise InputError(f"--command '{command}': {str(error).lower()}") from error


def is_open(address: Address) -> bool:
    """Whether somebody listens at an address."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((address.host, address.port)) == 0


async def comes_true(condition: Callable[[], bool], within_s: float, turn_s: float = TURN_S) -> bool:
    """Whether it comes true in time. Turns count, not the clock: while this process stands still, no time goes by."""
    for _ in range(math.ceil(within_s / turn_s)):
        if condition():
            return True
        await asyncio.sleep(turn_s)
    return condition()


def cpu_of(pid: int) -> float:
    """CPU time of a process and of those that it has started and seen the end of; none of one that is gone."""
    used_s = 0.0
    with suppress(OSError):
        used_s = time.clock_gettime((~pid << 3) | CLOCK_OF_A_PROCESS)  # Linux: a process's clock, to the nanosecond
    with suppress(OSError, ValueError, IndexError):
        ended = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[13:15]
        used_s += sum(map(int, ended)) / os.sysconf("SC_CLK_TCK")
    return used_s
