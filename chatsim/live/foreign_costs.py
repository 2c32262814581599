"""What a server that is none of ours costs: CPU time of its processes, explained by the work that it was given.

The method is that of :mod:`chatsim.live.calibration`: ticks are the model's own, of one event loop without a broker.
From outside one sees what comes in and what goes out: what a server does to route a message, a command to its broker
among it, and what it sends back to the sender, is in the cost of receiving it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from chatsim.analysis.latency import latency_ms
from chatsim.engine import Outcome, simulate
from chatsim.live.adapters import Adapter
from chatsim.live.calibration import FIRST, parts_of
from chatsim.live.crowd import Crowd, Watched
from chatsim.live.fitting import Fitted, fit, spread
from chatsim.live.foreign import Address, Server, started
from chatsim.live.grids import Point, scenario_of, world_of
from chatsim.live.processes import folder_prefix
from chatsim.live.run import carried_out, needs_open_files
from chatsim.scenario import InputError
from chatsim.world.tables import World

KINDS = ("tick_us", "wake_us", "receive_us", "write_us", "handshake_us", "idle")
ROUNDS, HOPS = 4, 2
LIVING = ("in_process", 1)
FAN_OUTS = ((3, 30), (10, 9), (30, 3))
"""Members of a room, and rooms."""
LOADS, BURST_LOAD, LOW = (0.05, 0.25, 0.6), 0.3, 0.05
BURSTS = ((3, 30, 25), (10, 9, 20))
COMERS = ((3, 60, 0.8), (3, 120, 0.8))
CROWDED = (0.0, 0.25, 0.5, 1.0)
"""Shares of the most clients, with which memory is looked at."""
WARM_UP = (2, 8)
"""The points, of few and of many members at the highest load, that are played before any is measured."""
FIRST_LOOK = ((3, 30, 20.0), (30, 3, 4.0))
"""Members, rooms, and messages per second that any server can bear, to learn what load means to this one."""
COPIES_MOST_PER_S, MESSAGES_MOST_PER_S = 4500.0, 1200.0
"""What the load client can bear."""
SECONDS, FEWEST_PER_S = 2.5, 4.0
ASTRAY, IDLE = 0.02, 0.15
"""A share of copies that may be missing or too many; and the cores that a server keeps busy at most at low loads."""

Tell = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """A server and how it is to be measured: ``repeats`` runs of each point, ``seconds`` long, each time on a server
    that was started anew and must answer ``within_s``."""

    command: str
    address: Address
    adapter: Adapter
    repeats: int = 3
    seconds: float = field(default_factory=lambda: SECONDS)
    within_s: float = 20.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One run of a point, on its world with the messages as they were sent."""

    point: Point
    world: World
    found: Watched

    @property
    def cores(self) -> float:
        """How many cores the server kept busy."""
        return self.found.cpu_us / 1e6 / self.found.window_s

    @property
    def steady(self) -> bool:
        """Whether messages come one by one and nobody comes meanwhile."""
        return self.point.burst == 1 and self.point.comers == 0.0


@dataclass(frozen=True, slots=True)
class Measured:
    """All ``runs`` of a server, and its ``memory``: connections, and bytes."""

    runs: list[Seen]
    memory: list[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs by key with their intervals, the time of one hop on this machine, the median error with which the costs
    explain the CPU time of the runs, and the runs."""

    gateway: dict[str, Fitted]
    hop: Fitted
    error: float
    runs: list[Seen] = field(repr=False)

    def rows(self) -> list[dict[str, object]]:
        """Part, key, value, low, high and unit of each figure."""
        shown = [("gateway", key, one) for key, one in self.gateway.items()] + [("loopback", "hop_ms", self.hop)]
        return [
            {"part": part, "key": key, "value": one.value, "low": one.low, "high": one.high, "unit": one.unit}
            for part, key, one in shown
        ]

    def points(self) -> list[dict[str, object]]:
        """What was seen in each run."""
        return [
            {
                "point": str(one.point), "burst": one.point.burst, "comers": one.found.joined,
                "messages": len(one.found.sent_s), "copies": one.found.copies, "echoes": one.found.echoes,
                "cpu_ms": one.found.cpu_us / 1000, "cores": one.cores,
                "p50_ms": float(np.median(one.found.latency_ms)), "late_ms": one.found.late_ms,
            }
            for one in self.runs
        ]  # fmt: skip

    @property
    def cores_most(self) -> float:
        """How many cores the server has kept busy at most."""
        return max(one.cores for one in self.runs)


def measure(plan: Plan, tell: Tell | None = None) -> Measured:
    """All runs of a server. InputError where it does not bear being measured; nothing is left running."""
    needs_open_files(max(members * rooms for members, rooms, *_ in (*FAN_OUTS, *COMERS)) + 100)
    return carried_out(_measure(plan, tell))


async def _measure(plan: Plan, tell: Tell | None) -> Measured:
    """A server is started for each repeat. What its first messages cost is none: it compiles, loads, and allocates."""
    found = Measured([], [])
    points: list[Point] = []
    for again in range(plan.repeats):
        with tempfile.TemporaryDirectory(prefix=folder_prefix()) as place:
            server = Server(Path(place), plan.command, plan.address)
            async with started(server, plan.within_s):
                if tell is not None:
                    tell(again / plan.repeats, "memory")
                found.memory.extend(await _holds(plan, server))
                if not points:
                    points = grid_of(plan, [await _seen(plan, server, _point(plan, *look), 0) for look in FIRST_LOOK])
                warm = [await _seen(plan, server, points[place], 0) for place in WARM_UP]
                if not again:
                    points = grid_of(plan, warm)
                for number, point in enumerate(points):
                    if tell is not None:
                        tell((again + number / len(points)) / plan.repeats, str(point))
                    found.runs.append(await _seen(plan, server, point, 1 + len(found.runs)))
    return found


def grid_of(plan: Plan, looks: list[Seen]) -> list[Point]:
    """Loads, fan-outs, bursts, and clients that come meanwhile, by what a message costs at two fan-outs.

    A load is a share of what one core can carry, or of what the load client can send where that is less.
    """
    few_us, many_us = (one.found.cpu_us / max(1, len(one.found.sent_s)) for one in looks)
    few, many = (one.point.members for one in looks)
    copy_us = max(0.0, (many_us - few_us) / (many - few))
    message_us = max(1.0, few_us - copy_us * (few - 1))

    def per_s(members: int, load: float) -> float:
        others = members - 1
        can = min(1e6 / (message_us + others * copy_us), COPIES_MOST_PER_S / others, MESSAGES_MOST_PER_S)
        return max(FEWEST_PER_S, round(load * can, 1))

    steady = [_point(plan, members, rooms, per_s(members, load)) for members, rooms in FAN_OUTS for load in LOADS]
    bursts = [
        _point(plan, members, rooms, max(burst / plan.seconds * 2, per_s(members, BURST_LOAD)), burst=burst)
        for members, rooms, burst in BURSTS
    ]
    comers = [_point(plan, members, rooms, per_s(members, LOW), comers) for members, rooms, comers in COMERS]
    return steady + bursts + comers


def costs_of(measured: Measured, tell: Tell | None = None) -> Costs:
    """The costs that explain the runs."""
    runs = measured.runs
    spent_us = np.array([one.found.cpu_us for one in runs])
    if not spent_us.all():
        raise InputError("--command: its processes used no CPU time: does it hand its work to another program?")
    work = [[len(one.found.sent_s), one.found.copies, one.found.joined, one.found.window_s] for one in runs]
    counts = np.column_stack([np.zeros((len(runs), 2)), np.array(work, np.float64)])
    values = {kind: FIRST[kind] for kind in KINDS[:-1]}
    fitted: dict[str, Fitted] = {}
    error = 0.0
    for place in range(ROUNDS):
        if tell is not None:
            tell(place / ROUNDS, "fit")
        counts[:, :2] = [_ticks(_predicted(one, values)) for one in runs]
        fitted, error = fit(KINDS, counts, spent_us)
        values = {kind: fitted[kind].value for kind in KINDS[:-1]}
    gateway = {kind: fitted[kind] for kind in KINDS[:-1]} | _memory(measured.memory)
    return Costs(gateway, _hop(runs, values), error, runs)


def _point(plan: Plan, members: int, rooms: int, per_s: float, comers: float = 0.0, burst: int = 1) -> Point:
    return Point(*LIVING, members, rooms, per_s, plan.seconds, comers, burst)


async def _seen(plan: Plan, server: Server, point: Point, seed: int) -> Seen:
    """One run. InputError where messages do not come to whom they should."""
    people = world_of(point, seed)
    crowd = Crowd(plan.adapter, people, server)
    try:
        found = await crowd.watched()
    finally:
        await crowd.leave()
    messages, copies, others = len(found.sent_s), found.copies, point.members - 1
    if not copies:
        raise InputError(
            f"--command '{plan.command}': {found.stood:,} clients have come and {messages:,} messages were sent, but "
            "nobody got one: --join or --send does not fit this server"
        )
    one = Seen(point, replace(people, messages=replace(people.messages, time_s=found.sent_s)), found)
    if one.steady and abs(copies / messages - others) > ASTRAY * others:
        raise InputError(
            f"--command '{plan.command}': in rooms of {point.members} each of {messages:,} messages came to "
            f"{copies / messages:.3g} others: --join or --send does not fit this server, or it drops messages"
        )
    return one


async def _holds(plan: Plan, server: Server) -> list[tuple[int, float]]:
    """Connections, and memory of the server with them; it has just been started."""
    members, rooms, _ = max(COMERS)
    crowd = Crowd(plan.adapter, world_of(_point(plan, members, rooms, FEWEST_PER_S)), server)
    held = []
    try:
        for share in CROWDED:
            await crowd.stand(round(share * members * rooms))
            held.append((len(crowd.ready), server.memory_bytes()))
    finally:
        await crowd.leave()
    return held


def _predicted(one: Seen, values: dict[str, float]) -> Outcome:
    """What the model makes of a run with such costs."""
    return simulate(scenario_of(one.point, parts_of(values, {})), one.world)


def _ticks(predicted: Outcome) -> tuple[float, float]:
    """Ticks of the event loop within the duration, and how many of them after a sleep."""
    table = predicted.ticks
    mine = np.flatnonzero((table["station"] == 0) & (table["start_s"] < predicted.world.duration_s))
    mine = mine[np.argsort(table["start_s"][mine], kind="stable")]
    starts_s, ends_s = table["start_s"][mine], table["end_s"][mine]
    slept = np.append(True, starts_s[1:] > ends_s[:-1])[: len(mine)]
    inside = starts_s >= 0
    return float(inside.sum()), float((inside & slept).sum())


def _hop(runs: list[Seen], values: dict[str, float]) -> Fitted:
    """The time of one hop: what the median latency at low loads has beyond what the event loop takes, halved."""
    hops = []
    for one in runs:
        if one.steady and one.cores <= IDLE:
            beyond_ms = float(np.median(one.found.latency_ms)) - float(np.median(latency_ms(_predicted(one, values))))
            hops.append(max(0.0, beyond_ms) / HOPS)
    return spread(hops or [0.0], "ms")


def _memory(held: list[tuple[int, float]]) -> dict[str, Fitted]:
    """Memory of an empty server and of one connection, by a line."""
    connections = np.array([[1.0, float(many)] for many, _ in held])
    fitted, _ = fit(("base_bytes", "connection_bytes"), connections, np.array([one for _, one in held]))
    return {name: Fitted(one.value, one.low, one.high, "bytes") for name, one in fitted.items()}
