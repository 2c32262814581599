"""What a server that is none of ours costs: CPU time of its processes, explained by the work that it was given.

The method is that of :mod:`chatsim.live.calibration`: ticks are the model's own, of one event loop without a broker. From
outside one sees what comes in and what goes out: what a server does to route a message, a command to its broker among
it, is in the cost of receiving it.
"""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from chatsim.analysis.latency import latency_ms
from chatsim.engine import simulate
from chatsim.live.adapters import Adapter
from chatsim.live.calibration import FIRST, parts_of, ticks_of
from chatsim.live.crowd import Crowd, Watched
from chatsim.live.fitting import Fitted, fit, spread
from chatsim.live.foreign import started
from chatsim.live.grids import Point, scenario_of, world_of
from chatsim.live.run import carried_out, needs_open_files
from chatsim.scenario import InputError
from chatsim.world.tables import World

KINDS = ("tick_us", "wake_us", "receive_us", "write_us", "handshake_us", "idle")
ROUNDS, HOPS = 4, 2
SECONDS = 2.5
LIVING = ("in_process", 1)
GRID = tuple(
    Point(*LIVING, members, rooms, per_s, SECONDS, comers, burst)
    for members, rooms, per_s, comers, burst in (
        (3, 30, 60.0, 0.0, 1), (3, 30, 300.0, 0.0, 1), (3, 30, 900.0, 0.0, 1), (10, 9, 80.0, 0.0, 1),
        (10, 9, 300.0, 0.0, 1), (30, 3, 20.0, 0.0, 1), (30, 3, 120.0, 0.0, 1), (3, 30, 500.0, 0.0, 25),
        (10, 9, 200.0, 0.0, 20), (3, 60, 30.0, 0.8, 1), (3, 120, 30.0, 0.8, 1), (3, 120, 60.0, 0.0, 1),
    )
)  # fmt: skip
"""Loads and fan-outs, bursts, and clients that come meanwhile; always one process, without a broker of the model."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One run of a point."""

    point: Point
    world: World
    found: Watched

    @property
    def each_us(self) -> float:
        """CPU time per message, with all that belongs to it."""
        return self.found.cpu_us / max(1, self.found.received)


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs by key with their intervals, the median error with which they explain the runs, and the runs."""

    gateway: dict[str, Fitted]
    network: dict[str, Fitted]
    error: float
    runs: list[Seen]

    def rows(self) -> list[dict[str, object]]:
        """Part, key, value, low, high and unit of each figure."""
        return [
            {"part": part, "key": key, "value": one.value, "low": one.low, "high": one.high, "unit": one.unit}
            for part, found in (("gateway", self.gateway), ("network", self.network))
            for key, one in found.items()
        ]

    def points(self) -> list[dict[str, object]]:
        """What was seen at each point."""
        return [
            {
                "point": str(one.point), "burst": one.point.burst, "messages": one.found.received,
                "copies": one.found.written, "cpu_us_per_message": one.each_us,
                "cores": one.found.cpu_us / 1e6 / one.found.window_s,
                "p50_ms": float(np.median(one.found.latency_ms)), "late_ms": one.found.late_ms,
            }
            for one in self.runs
        ]  # fmt: skip


def measure(
    command: str,
    port: int,
    adapter: Adapter,
    grid: tuple[Point, ...] = GRID,
    repeats: int = 1,
    progress: Callable[[float, str], None] | None = None,
) -> list[Seen]:
    """Starts the server anew for each point, so that each begins with the memory of an empty one, and ends it."""
    needs_open_files(max(point.members * point.rooms for point in grid) + 100)
    plan = [(point, again) for again in range(repeats) for point in grid]
    seen = []
    for place, (point, again) in enumerate(plan):
        if progress is not None:
            progress(place / len(plan), str(point))
        people = world_of(point, 1 + again)
        found = carried_out(_run(command, port, adapter, people))
        if not found.written:
            raise InputError(
                f"--command '{command}': {found.connections:,} clients have come and {found.received:,} messages were "
                "sent, but nobody got one: --join or --send does not fit this server"
            )
        seen.append(Seen(point, people, found))
    return seen


async def _run(command: str, port: int, adapter: Adapter, people: World) -> Watched:
    with tempfile.TemporaryDirectory(prefix="chatsim-live-") as place:
        async with started(Path(place), command, port) as server:
            crowd = Crowd(adapter, people, server)
            try:
                return await crowd.watched()
            finally:
                crowd.leave()


def costs_of(runs: list[Seen]) -> Costs:
    """The costs that explain the runs."""
    spent_us = np.array([one.found.cpu_us for one in runs])
    if not spent_us.all():
        raise InputError("--command: its processes used no CPU time: does it hand its work to another program?")
    counts = np.array(
        [
            [0.0, 0.0, one.found.received, one.found.written, one.found.joined, one.found.window_s]
            for one in runs
        ], np.float64,
    )  # fmt: skip
    values = {kind: FIRST[kind] for kind in KINDS[:-1]}
    fitted: dict[str, Fitted] = {}
    error = 0.0
    for _ in range(ROUNDS):
        counts[:, :2] = [_ticks(one, values) for one in runs]
        fitted, error = fit(KINDS, counts, spent_us)
        values = {kind: fitted[kind].value for kind in KINDS[:-1]}
    gateway = {kind: fitted[kind] for kind in KINDS[:-1]} | _memory(runs)
    return Costs(gateway, {"client_ms_median": _floor(runs, values)}, error, runs)


def _ticks(one: Seen, values: dict[str, float]) -> tuple[float, float]:
    """Ticks of the model's event loop on the world of a run, and how many of them after a sleep."""
    ticks, wakes, _ = ticks_of(simulate(scenario_of(one.point, parts_of(values, {})), one.world), [0])
    return ticks, wakes


def _floor(runs: list[Seen], values: dict[str, float]) -> Fitted:
    """The time of one hop: what the median latency of steady points has beyond what the event loop takes, halved."""
    hops = []
    for one in runs:
        if one.point.burst == 1 and one.point.comers == 0.0:
            predicted = simulate(scenario_of(one.point, parts_of(values, {})), one.world)
            beyond_ms = float(np.median(one.found.latency_ms)) - float(np.median(latency_ms(predicted)))
            hops.append(max(0.0, beyond_ms) / HOPS)
    return spread(hops, "ms")


def _memory(runs: list[Seen]) -> dict[str, Fitted]:
    """Memory of an empty server and of one connection, by a line through all runs."""
    held = np.array([[1.0, float(one.found.connections)] for one in runs])
    fitted, _ = fit(("base_bytes", "connection_bytes"), held, np.array([one.found.memory_bytes for one in runs]))
    return {name: Fitted(one.value, one.low, one.high, "bytes") for name, one in fitted.items()}


def to_profile(found: Costs, command: str, said: str) -> str:
    """A profile of costs in TOML, with where it comes from and how sure each figure is."""
    most = max(float(str(row["cores"])) for row in found.points())
    lines = [
        f"# {' '.join(command.split())}",
        f"# measured by '{' '.join(said.split())}', {datetime.now(UTC).date().isoformat()}: {platform.system()} "
        f"{platform.machine()}, {os.cpu_count()} cores;",
        f"# {len(found.runs)} runs of {SECONDS:g} s on loopback. Median error of the fit: {100 * found.error:.0f} % of the "
        "CPU time.",
        "# What it does to route a message is in receive_us; with 'in_process' routing nothing is to be added.",
        f"# One event loop is assumed (cores = 1); it used up to {most:.2f} cores here.",
    ]
    fixed = {**parts_of({}, {}), "broker": {}}
    fixed["gateway"] |= {"command_us": 0.0, "parse_us": 0.0}
    del fixed["network"]["broker_rtt_ms"]
    for part, costs in (("gateway", found.gateway), ("network", found.network)):
        given = {key: value for key, value in fixed[part].items() if key not in costs}
        lines += ["", f"[{part}]", *(f'{key} = "{one}"' if isinstance(one, str) else f"{key} = {one}"
                                      for key, one in given.items())]  # fmt: skip
        lines += [f"{key} = {one.value:.6g}  # measured: 95 % {one.low:.3g} to {one.high:.3g}" for key, one in costs.items()]
    return "\n".join(lines) + "\n"
