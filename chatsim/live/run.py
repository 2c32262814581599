"""A live run from its first process to its outcome: Redis, gateways, clients, faults; and all ended in every case."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import secrets
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import numpy as np
from redis.asyncio import Redis
from redis.exceptions import RedisError

from chatsim.engine.audit import pairs_of
from chatsim.engine.notes import Notes
from chatsim.engine.outcome import FaultKind, Outcome
from chatsim.live.frames import number_of
from chatsim.live.keys import Keys
from chatsim.live.ledger import COUNTS, CPU_S, MEMORY_BYTES, PROBES, PROBES_US, STRANGE, Ledger
from chatsim.live.link import precise_loop
from chatsim.live.player import Player
from chatsim.live.processes import (
    HOST,
    GatewayProcess,
    RedisProcess,
    StartError,
    cores,
    folder_prefix,
    machine_cpu_s,
    on_cores,
)
from chatsim.live.record import Recorded, Sample, Strike, outcome_of
from chatsim.live.seeding import config_of, seed
from chatsim.live.twin import refuse_remote
from chatsim.scenario import InputError, Scenario
from chatsim.scenario.faults import BrokerDown, Fault
from chatsim.world.tables import World

T = TypeVar("T")
SAMPLE_S = 0.5
STANDING_WITHIN_S = 60.0
LEAD_S = 0.3
"""Between the last login before the run and its first moment."""
ROWS_PER_PAIR, ROWS_LEAST = 4, 100_000
ITEMS = tuple(COUNTS.index(name) for name in ("receive", "parse"))


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A live run: its ``outcome``; ``cpu_s`` that each station used within the duration and ``memory_bytes`` that each
    had at the end; ``sent_s``, when each message of the trace left its client (NaN: it did not), and ``lag_s``, how
    late that was; how many frames and handshakes gateways
    refused because no client of the run could have sent them (``strange``), and how many messages came to its clients
    that are not of the trace (``foreign``). ``counts`` is what gateways did within the duration: COUNTS in order.
    ``others_cores``: how many cores other programs kept busy meanwhile; NaN where the system does not say.
    ``probe_us``: the pace of the cores of the gateways meanwhile (:mod:`chatsim.live.pace`)."""

    outcome: Outcome
    cpu_s: dict[str, float]
    memory_bytes: dict[str, float]
    sent_s: np.ndarray[Any, np.dtype[np.float64]]
    lag_s: np.ndarray[Any, np.dtype[np.float64]]
    strange: int
    foreign: int
    redis_version: str
    counts: tuple[int, ...]
    others_cores: float = math.nan
    probe_us: float = math.nan


class Live:
    """The processes and clients of one run. ``beside``, where given, is started with it when the run begins."""

    def __init__(
        self, scenario: Scenario, world: World, redis_url: str = "", beside: Callable[[Live], Any] | None = None
    ) -> None:
        self.scenario, self.world, self.redis_url, self.beside = scenario, world, redis_url, beside
        self.keys = Keys(f"chatsim{secrets.token_hex(3)}:")
        self.secret = secrets.token_bytes(32)
        self.notes = Notes(world, len(scenario.stations))
        self.gateways: list[GatewayProcess] = []
        self.ledgers: list[Ledger] = []
        self.samples: list[Sample] = []
        self.strikes: list[Strike] = []
        self.counted: list[list[int]] = []
        self.others: list[tuple[float, float]] = []
        self.probes: list[tuple[float, float]] = []
        self.end_s = world.duration_s + scenario.workload.drain_s
        self.own_redis: RedisProcess | None = None
        self.redis_version = ""
        self.redis: Redis
        self.player: Player

    async def run(self, progress: Callable[[float], None] | None = None) -> LiveRun:
        """Lives the run; whatever happens, nothing that was started is left."""
        with tempfile.TemporaryDirectory(prefix=folder_prefix(), dir=_fast_folder()) as place:
            folder = Path(place)
            async with self._broker(folder), self._served(folder):
                await self._plays(progress)
                recorded = await self._recorded()
            return self._finish(recorded)

    # ------------------------------------------------------------------ processes

    @asynccontextmanager
    async def _broker(self, folder: Path) -> AsyncIterator[None]:
        """A Redis with what it must know; a foreign one is left as it was found."""
        if self.redis_url:
            where = _where(self.redis_url)
        else:
            keeps = any(isinstance(fault, BrokerDown) and fault.keeps_data for fault in self.scenario.faults)
            self.own_redis = RedisProcess(folder, keeps)
            where = {"host": HOST, "port": 0, "db": 0}
        try:
            if self.own_redis is not None:
                await self.own_redis.begin()
                where["port"] = self.own_redis.port
            self.where = where
            self.redis = Redis(**where)
            try:
                self.redis_version = str((await self.redis.info("server"))["redis_version"])
            except (RedisError, OSError) as error:
                raise InputError(f"--redis-url '{self.redis_url}': does not answer: {error}") from error
            await self._seed()
            yield
        finally:
            await self._leaves_redis()
            if self.own_redis is not None:
                await self.own_redis.end()

    @asynccontextmanager
    async def _served(self, folder: Path) -> AsyncIterator[None]:
        """Gateways that listen, and a player that knows where."""
        rows = ROWS_LEAST + ROWS_PER_PAIR * len(pairs_of(self.world, self.world.messages.room.astype(np.int64))[0])
        self.config = config_of(self.scenario, self.world, self.where, self.keys.prefix, self.secret.hex(), rows)
        numbers = range(self.scenario.design.gateways)
        messages = len(self.world.messages)
        self.ledgers = [Ledger(folder / f"gateway-{number}", messages, rows, make=True) for number in numbers]
        self.folder = folder
        self.gateways = [GatewayProcess(folder / f"gateway-{number}.err") for number in numbers]
        try:
            await asyncio.gather(*(self._begins(number) for number in numbers))
            self.player = Player(
                self.scenario, self.world, self.notes, self.secret, HOST, [gateway.port for gateway in self.gateways]
            )
            self.player.ends_tie = self._ends_tie
            yield
            self.player.stop()
        finally:
            await asyncio.gather(*(gateway.end() for gateway in self.gateways), return_exceptions=True)

    async def _begins(self, number: int, restarted: bool = False) -> None:
        gateway = self.gateways[number]
        path = str(self.folder / f"gateway-{number}")
        own = replace(self.config, number=number, ledger=path, restarted=restarted, port=gateway.port)
        await gateway.begin(own)

    async def _seed(self) -> None:
        await seed(self.redis, self.scenario, self.world, self.keys, time.monotonic())

    async def _leaves_redis(self) -> None:
        """What a run has put into somebody else's Redis is deleted."""
        redis = getattr(self, "redis", None)
        if redis is None:
            return
        with suppress(RedisError, OSError):
            if self.redis_url:
                async for key in redis.scan_iter(f"{self.keys.prefix}*", count=1000):
                    await redis.delete(key)
        await redis.aclose()

    # ------------------------------------------------------------------ the run

    async def _plays(self, progress: Callable[[float], None] | None) -> None:
        player, loop = self.player, asyncio.get_running_loop()
        if not await player.stand(STANDING_WITHIN_S):
            raise InputError(
                f"the {int((self.world.sessions.start_s <= 0).sum()):,} sessions that stand at the start were not all "
                f"through in {STANDING_WITHIN_S:g} s: this machine is too small for so many users"
            )
        origin_s = time.monotonic() + LEAD_S
        player.start(origin_s)
        tasks = [loop.create_task(self._samples(origin_s))]
        tasks += [loop.create_task(self._strikes(number, fault)) for number, fault in enumerate(self.scenario.faults)]
        if self.beside is not None:
            tasks.append(loop.create_task(self.beside(self)))
        gc.collect()
        gc.freeze()
        gc.disable()
        try:
            while (left_s := origin_s + self.end_s - time.monotonic()) > 0:
                if progress is not None:
                    progress(min(1.0, 1.0 - left_s / self.end_s))
                await asyncio.sleep(min(left_s, 0.2))
                for task in tasks:
                    if task.done() and not task.cancelled() and task.exception() is not None:
                        await task
        finally:
            gc.enable()
            gc.unfreeze()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _samples(self, origin_s: float) -> None:
        """What each station has used, from the first moment to the last, again and again."""
        count = 0
        while True:
            due_s = min(count * SAMPLE_S, self.world.duration_s)
            await asyncio.sleep(origin_s + due_s - time.monotonic())
            broker_s = await self.broker_cpu_s()
            cpu_s = [ledger.state[CPU_S] for ledger in self.ledgers]
            items = [sum(ledger.counts[place] for place in ITEMS) for ledger in self.ledgers]
            published = sum(ledger.counts[COUNTS.index("publish")] for ledger in self.ledgers)
            now_s = time.monotonic() - origin_s
            if due_s in (0.0, self.world.duration_s):
                self.counted.append([sum(each) for each in zip(*(one.counts for one in self.ledgers), strict=True)])
                self.probes.append((self._all(PROBES), self._all(PROBES_US)))
                self.others.append((now_s, machine_cpu_s() - sum(cpu_s) - broker_s - time.process_time()))
            self.samples.append(Sample(now_s, (*cpu_s, broker_s, 0.0), (*items, published, 0)))
            if due_s >= self.world.duration_s:
                return
            count += 1

    def _all(self, place: int) -> float:
        """What all gateways have in one place of their notes."""
        return float(sum(ledger.state[place] for ledger in self.ledgers))

    async def broker_cpu_s(self) -> float:
        """CPU time that Redis has used so far; what it was last where it is away."""
        try:
            used = await self.redis.info("cpu")
        except (RedisError, OSError):
            return self.samples[-1].cpu_s[-2] if self.samples else 0.0
        return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])

    async def _strikes(self, number: int, fault: Fault) -> None:
        """Kills what a fault of the scenario strikes, and starts it again when that is over."""
        origin_s = self.player.origin_s
        await asyncio.sleep(origin_s + fault.at_s - time.monotonic())
        if isinstance(fault, BrokerDown):
            await self.redis_dies(number, fault.for_s)
        else:
            await asyncio.gather(
                *(self.gateway_dies(station, number, fault.for_s) for station in self.scenario.struck_by(fault))
            )

    async def gateway_dies(self, station: int, fault: int = 0, for_s: float = 0.0) -> None:
        """SIGKILL to a gateway; after ``for_s`` it is started again, empty (0: never)."""
        player, notice_s = self.player, self.scenario.balancer.notice_s
        loop = asyncio.get_running_loop()
        start_s = player.now_s()
        player.gateway_died(station)
        self.gateways[station].kill()
        place = len(self.strikes)
        self.strikes.append(Strike(fault, FaultKind.GATEWAY_CRASH, station, start_s, float("nan")))
        loop.call_later(notice_s, player.notices, station)
        await self.gateways[station].end()
        if not for_s:
            return
        await asyncio.sleep(player.origin_s + start_s + for_s - time.monotonic())
        await self._begins(station, restarted=True)
        player.up[station] = True
        self.strikes[place] = replace(self.strikes[place], end_s=player.now_s())
        loop.call_later(notice_s, player.notices, station)

    async def redis_dies(self, fault: int = 0, for_s: float = 0.0) -> None:
        """SIGKILL to Redis; after ``for_s`` it is started again on its port (0: never), and seeded."""
        assert self.own_redis is not None
        start_s, place = self.player.now_s(), len(self.strikes)
        station = self.scenario.design.gateways
        self.strikes.append(Strike(fault, FaultKind.BROKER_DOWN, station, start_s, float("nan")))
        await self.own_redis.die()
        if not for_s:
            return
        await asyncio.sleep(self.player.origin_s + start_s + for_s - time.monotonic())
        await self.own_redis.end()
        await self.own_redis.begin()
        self.strikes[place] = replace(self.strikes[place], end_s=self.player.now_s())
        if not self.own_redis.keeps_data:
            await self._seed()

    def _ends_tie(self, user: int, other: int, now_s: float) -> None:
        self.player.goes_on(self.redis.set(self.keys.ended(user, other), now_s))

    # ------------------------------------------------------------------ what came of it

    async def _recorded(self) -> Recorded:
        """All notes, while Redis still has its own."""
        self.player.running = False
        return Recorded(
            self.scenario, self.world, self.player, self.ledgers, self.samples, self.strikes,
            await self._inboxes(), await self._pushed(), self.end_s,
        )  # fmt: skip

    async def _inboxes(self) -> dict[int, dict[int, None]]:
        """What is in store for each user and has not come to any of its devices."""
        left: dict[int, dict[int, None]] = {}
        if not self.player.keeps_missed:
            return left
        with suppress(RedisError, OSError):
            for user in range(self.world.users):
                stored = await self.redis.lrange(self.keys.inbox(user), 0, -1)
                numbers = [number_of(text.encode() if isinstance(text, str) else text) for text in stored]
                has = self.player.has.get(user, set())
                kept = {number: None for number in numbers if number not in has}
                if kept:
                    left[user] = kept
        return left

    async def _pushed(self) -> list[tuple[int, int, float, int, float]]:
        rows: list[tuple[int, int, float, int, float]] = []
        with suppress(RedisError, OSError):
            for line in await self.redis.lrange(self.keys.pushed, 0, -1):
                user, message, due_s, tries, sent_s = line.split()
                origin_s = self.player.origin_s
                rows.append((int(user), int(message), float(due_s) - origin_s, int(tries), float(sent_s) - origin_s))
        return rows

    def _counted(self) -> tuple[int, ...]:
        first, last = self.counted[0], self.counted[-1]
        return tuple(after - before for before, after in zip(first, last, strict=True))

    def _finish(self, recorded: Recorded) -> LiveRun:
        outcome = outcome_of(recorded)
        first, last = self.samples[0], self.samples[-1]
        names = self.scenario.stations
        used = [after - before for before, after in zip(first.cpu_s, last.cpu_s, strict=True)]
        cpu_s = dict(zip(names, used, strict=True))
        memory = {f"gateway-{number}": float(ledger.state[MEMORY_BYTES]) for number, ledger in enumerate(self.ledgers)}
        strange = sum(int(ledger.state[STRANGE]) for ledger in self.ledgers)
        sent_s, lag_s = np.array(self.player.sent_s), np.array(self.player.lag_s)
        (from_s, before_s), (to_s, after_s) = self.others[0], self.others[-1]
        (probes, us), (more, more_us) = self.probes[0], self.probes[-1]
        probe_us = (more_us - us) / (more - probes) if more > probes else math.nan
        return LiveRun(
            outcome, cpu_s, memory, sent_s, lag_s, strange, self.player.foreign, self.redis_version, self._counted(),
            (after_s - before_s) / max(to_s - from_s, 1e-9), probe_us,
        )  # fmt: skip


def live(
    scenario: Scenario,
    world: World,
    redis_url: str = "",
    allow_remote: bool = False,
    progress: Callable[[float], None] | None = None,
    beside: Callable[[Live], Any] | None = None,
) -> LiveRun:
    """Lives a scenario, as :func:`chatsim.live.twin.twin` has it, on a world. It takes as long as the run is.

    ``redis_url`` names a Redis to use instead of one of its own; one on another machine needs ``allow_remote``. Raises
    InputError, AuditError, and KeyboardInterrupt on SIGINT and SIGTERM; in each case all processes are ended first.
    """
    if redis_url:
        refuse_remote(redis_url, allow_remote)
        if any(isinstance(fault, BrokerDown) for fault in scenario.faults):
            raise InputError("--redis-url: faults of kind 'broker_down' need a Redis of the run's own")
    needs_open_files(len(world.sessions) + 100)
    return carried_out(Live(scenario, world, redis_url, beside).run(progress))


def carried_out(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine on a precise loop. KeyboardInterrupt on SIGINT and SIGTERM, after it has ended in order."""
    loop = precise_loop()
    try:
        task = loop.create_task(coroutine)
        stopped = _stops_on_signals(loop, task)
        try:
            with on_cores(cores()[1]):
                result = loop.run_until_complete(task)
            if stopped():  # what ends in order may take the cancelling for its own
                raise KeyboardInterrupt
            return result
        except asyncio.CancelledError:
            if stopped():
                raise KeyboardInterrupt from None
            raise
        except StartError as error:
            raise InputError(str(error)) from error
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(ValueError, RuntimeError):
                loop.remove_signal_handler(number)
        loop.close()


def needs_open_files(wanted: int) -> None:
    """Raises this process's limit of open files, if need be; InputError where the system does not allow it."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise InputError(
            f"{wanted:,} connections need as many open files, but the system allows {hard:,}: raise 'ulimit -n', or "
            "lower workload.users"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _stops_on_signals(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> Callable[[], bool]:
    """SIGINT and SIGTERM cancel the run, which then ends in order; whether one has come."""
    came = False

    def stop() -> None:
        nonlocal came
        came = True
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(ValueError, RuntimeError, NotImplementedError):
            loop.add_signal_handler(number, stop)
    return lambda: came


def _where(address: str) -> dict[str, Any]:
    """How to connect to a Redis at a URL."""
    parts = urlsplit(address)
    database = parts.path.strip("/")
    if database and not database.isdecimal():
        raise InputError(f"--redis-url '{address}': the database '{database}' must be a whole number")
    where: dict[str, Any] = {"host": parts.hostname, "port": parts.port or 6379, "db": int(database or 0)}
    if parts.username:
        where["username"] = unquote(parts.username)
    if parts.password:
        where["password"] = unquote(parts.password)
    return where


def _fast_folder() -> str | None:
    """A folder in memory where there is one: notes are written all the time."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
