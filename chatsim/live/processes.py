"""The processes of a live run: a Redis of its own, and gateways. All of them end when the driver does."""

from __future__ import annotations

import asyncio
import json
import math
import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import IO, Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from chatsim.live.config import Config, to_line
from chatsim.live.keeper import END
from chatsim.scenario.errors import InputError

HOST = "127.0.0.1"
STARTS_WITHIN_S = 20.0
ENDS_WITHIN_S = 5.0
PORT_TRIES = 3


def folder_prefix() -> str:
    """How the name of a folder of this process begins, so that one that is left behind can be told from one in use."""
    return f"chatsim-live-{os.getpid()}-"


@cache
def cores() -> tuple[set[int], set[int]]:
    """The cores for gateways and Redis, and that of the load client, so that neither waits for the other.

    The client has the last one that this process may use. A single core is shared by all; where a system does not give
    out cores (macOS) there are none.
    """
    there = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return set(there[:-1] or there), set(there[-1:])


def hosts() -> list[dict[str, Any]]:
    """The machine as a host of a scenario: gateways and Redis share the cores that they have."""
    return [{"name": "this machine", "cores": max(1, len(cores()[0])), "stations": ["*"]}]


@contextmanager
def on_cores(wanted: set[int]) -> Iterator[None]:
    """This thread stays on some cores; none: it may be anywhere."""
    if not wanted:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, wanted)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class StartError(Exception):
    """A process that was started is not there, with the last it has said."""


class Process:
    """A child that lives as long as its standard input is open; what it says on standard error goes into ``log``."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._child: asyncio.subprocess.Process | None = None
        self._file: IO[bytes] | None = None

    @property
    def child(self) -> asyncio.subprocess.Process:
        """The process itself."""
        assert self._child is not None
        return self._child

    async def start(self, *command: str, says_to_log: bool = False, **more: str) -> None:
        """Starts it, in a group of its own: ctrl-C is for the driver, which ends it in order. ``says_to_log``: what it
        says on standard output goes into the log too; ``more`` is laid over its environment."""
        self._file = self.log.open("ab")
        paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
        self._child = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=self._file if says_to_log else asyncio.subprocess.PIPE,
            stderr=self._file, start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **more},
            preexec_fn=partial(os.sched_setaffinity, 0, cores()[0]) if cores()[0] else None,
        )  # fmt: skip

    async def end(self) -> None:
        """Ends it, gently or not."""
        if self._child is not None:
            if self._child.stdin is not None:
                with suppress(OSError):
                    self._child.stdin.write(END)
                    self._child.stdin.close()
            try:
                await asyncio.wait_for(self._child.wait(), ENDS_WITHIN_S)
            except TimeoutError:
                self.kill()
                await self._child.wait()
        if self._file is not None:
            self._file.close()

    def kill(self) -> None:
        """SIGKILL to it and all that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)

    def last_words(self) -> str:
        """The last line that it has said."""
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.exists() else []
        return lines[-1] if lines else "it said nothing"


class GatewayProcess(Process):
    """A gateway; ``port`` is where it listens."""

    port = 0

    async def begin(self, config: Config) -> None:
        """Starts it and waits until it listens; StartError where it does not."""
        await self.start(sys.executable, "-m", "chatsim.live.gateway", "-")
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write(to_line(config).encode() + b"\n")
        try:
            await self.child.stdin.drain()
            line = await asyncio.wait_for(self.child.stdout.readline(), STARTS_WITHIN_S)
            self.port = int(json.loads(line)["port"])
        except (TimeoutError, ValueError, OSError) as error:
            raise StartError(f"gateway-{config.number} has not started: {self.last_words()}") from error


class RedisProcess(Process):
    """A redis-server on a free port, which keeps nothing on disk but, where asked for, what a failover must keep."""

    port = 0

    def __init__(self, folder: Path, keeps_data: bool) -> None:
        super().__init__(folder / "redis.err")
        self.folder, self.keeps_data = folder, keeps_data

    async def begin(self) -> None:
        """Starts it (again, on the port that it had) and waits until it answers."""
        for attempt in range(PORT_TRIES):
            port = self.port or free_port()
            await self._starts(port)
            if await answers(port, self.child):
                self.port = port
                return
            await self.end()
            if attempt == PORT_TRIES - 1 or self.port:
                raise StartError(f"redis-server has not started: {self._why()}")

    async def die(self) -> None:
        """SIGKILL."""
        self.kill()
        await self.child.wait()

    async def _starts(self, port: int) -> None:
        kept = "yes" if self.keeps_data else "no"
        await self.start(
            sys.executable, "-m", "chatsim.live.keeper", str(self.folder), redis_server(),
            "--port", str(port), "--bind", HOST, "--dir", str(self.folder), "--save", "", "--databases", "1",
            "--appendonly", kept, "--appendfsync", "no", "--logfile", str(self.folder / "redis.log"),
        )  # fmt: skip

    def _why(self) -> str:
        log = self.folder / "redis.log"
        lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        return lines[-1] if lines else self.last_words()


def redis_server() -> str:
    """The path of redis-server; InputError where there is none."""
    found = shutil.which("redis-server")
    if found is None:
        raise InputError(
            "redis-server: not found on the path: install it (Debian, Ubuntu: apt install redis-server), or give the "
            "address of one with --redis-url"
        )
    return found


def machine_cpu_s() -> float:
    """CPU time of this machine until now: of all processes, and what was stolen from it; NaN where it does not say."""
    try:
        words = Path("/proc/stat").read_text(encoding="ascii").split(maxsplit=9)
        user, nice, system, stolen = (float(words[place]) for place in (1, 2, 3, 8))
    except (OSError, ValueError, IndexError):
        return math.nan
    return (user + nice + system + stolen) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A port on which nobody listens at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


async def answers(port: int, child: asyncio.subprocess.Process) -> bool:
    """Waits until a Redis on a port answers; False where its process ends first, or it takes too long."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + STARTS_WITHIN_S
    client = Redis(host=HOST, port=port)
    try:
        while child.returncode is None and loop.time() < until_s:
            with suppress(RedisError, OSError):
                if await client.ping():
                    return True
            await asyncio.sleep(0.01)
    finally:
        await client.aclose()
    return False
