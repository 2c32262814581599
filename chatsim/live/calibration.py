"""What the parts of the twin cost on this machine: CPU time of live runs, explained by the work that was done.

Ticks cannot be seen from outside, and a tick of the model is not a turn of asyncio's loop. They are those of the model
itself: the runs are simulated with the costs found so far, and the costs are fitted again with the ticks that this
gives, until they stay. So what is fitted is what predicts.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from chatsim.analysis.latency import latency_ms
from chatsim.engine import Outcome, simulate
from chatsim.live.fitting import Fitted, fit, spread
from chatsim.live.grids import Point, scenario_of, world_of
from chatsim.live.ledger import COUNTS
from chatsim.live.run import LiveRun, live
from chatsim.live.sending import as_sent, latency_from_sending_ms
from chatsim.live.tokens import Rights, check, issue
from chatsim.world.tables import World

GRID = (
    Point("room", 1, 3, 30, 60.0),
    Point("room", 1, 3, 30, 500.0),
    Point("room", 1, 3, 30, 1200.0),
    Point("room", 1, 3, 30, 2500.0),
    Point("room", 1, 8, 8, 150.0),
    Point("room", 1, 30, 3, 20.0),
    Point("room", 1, 30, 3, 150.0),
    Point("global", 3, 3, 30, 100.0),
    Point("global", 3, 3, 30, 600.0),
    Point("user", 1, 8, 8, 60.0),
    Point("user", 1, 8, 8, 250.0),
    Point("room", 1, 3, 30, 500.0, burst=25),
    Point("global", 3, 3, 30, 250.0, burst=25),
    Point("user", 1, 8, 8, 200.0, burst=20),
    Point("room", 1, 3, 60, 30.0, comers=0.8),
    Point("room", 1, 3, 150, 30.0, comers=0.8),
)
"""Configurations that validation never uses: its rooms have 2, 10 or 50 members, its gateways are 1, 2 or 4."""

KINDS = ("tick_us", "wake_us", "receive_us", "command_us", "parse_us", "write_us", "handshake_us", "idle")
WORK = {"receive_us": "receive", "command_us": "command", "parse_us": "parse", "write_us": "write",
        "handshake_us": "login"}  # fmt: skip
ROUNDS = 4
TOKENS = 2000
FIRST: dict[str, float] = {
    "tick_us": 100.0, "wake_us": 0.0, "receive_us": 60.0, "command_us": 15.0, "parse_us": 30.0, "write_us": 20.0,
    "handshake_us": 1000.0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measured:
    """One live run of a point, on its world with the messages as they were sent."""

    point: Point
    world: World
    run: LiveRun

    @property
    def gateways_us(self) -> float:
        """CPU time of all gateways."""
        return 1e6 * sum(used for name, used in self.run.cpu_s.items() if name.startswith("gateway"))

    def work(self, name: str) -> float:
        """How often gateways did something within the duration."""
        return float(self.run.counts[COUNTS.index(name)])


@dataclass(frozen=True, slots=True)
class Calibration:
    """Costs by part and key, how well they explain the runs they come from, and what was measured where."""

    gateway: dict[str, Fitted]
    broker: dict[str, Fitted]
    network: dict[str, Fitted]
    gateway_error: float
    broker_error: float
    runs: int
    redis_version: str

    def rows(self) -> list[dict[str, Any]]:
        """Part, key, value, low, high and unit of each figure."""
        return [
            {"part": part, "key": key, "value": one.value, "low": one.low, "high": one.high, "unit": one.unit}
            for part, found in (("gateway", self.gateway), ("broker", self.broker), ("network", self.network))
            for key, one in found.items()
        ]


def measure(
    grid: tuple[Point, ...], repeats: int = 1, progress: Callable[[float, str], None] | None = None
) -> list[Measured]:
    """Lives each point so many times, in turns, so that what disturbs the machine for a while disturbs all alike."""
    found = []
    plan = [(point, again) for again in range(repeats) for point in grid]
    for place, (point, again) in enumerate(plan):
        if progress is not None:
            progress(place / len(plan), str(point))
        people = world_of(point, 1 + again)
        run = live(scenario_of(point), people)
        found.append(Measured(point, as_sent(run, people), run))
    return found


def calibrate(broker: tuple[dict[str, Fitted], float], measured: list[Measured]) -> Calibration:
    """Costs from Redis's own (:func:`chatsim.live.redis_costs.broker_costs`) and live runs of the grid."""
    costs, error = gateway_costs(measured, broker[0])
    own = {**broker[0], "wake_us": wake_us(measured, costs, broker[0])}
    floor = floor_ms(measured, costs, own)
    network = {"client_ms_median": floor, "broker_rtt_ms": Fitted(2 * floor.value, 2 * floor.low, 2 * floor.high, "ms")}
    return Calibration(
        {**costs, "token_us": token_us(), **memory_bytes(measured)}, own, network, error, broker[1],
        len(measured), measured[0].run.redis_version,
    )  # fmt: skip


def gateway_costs(measured: list[Measured], broker: dict[str, Fitted]) -> tuple[dict[str, Fitted], float]:
    """The costs of a gateway, and the median relative error with which they explain its CPU time."""
    spent_us = np.array([one.gateways_us for one in measured])
    counts = np.array([[0.0, 0.0, *(one.work(WORK[kind]) for kind in KINDS[2:-1]), _idle(one)] for one in measured])
    costs = dict(FIRST)
    fitted: dict[str, Fitted] = {}
    error = 0.0
    for _ in range(ROUNDS):
        counts[:, :2] = [_ticks(one, costs, broker) for one in measured]
        fitted, error = fit(KINDS, counts, spent_us)
        costs = {kind: fitted[kind].value for kind in KINDS[:-1]}
    return {kind: fitted[kind] for kind in KINDS[:-1]}, error


def wake_us(measured: list[Measured], costs: dict[str, Fitted], broker: dict[str, Fitted]) -> Fitted:
    """What Redis spends when it is woken, beyond its ticks: what its busy benchmark explains of its CPU time in live
    runs is taken off, and the rest is by the wakes, and by the time that it stands there."""
    values = {kind: one.value for kind, one in costs.items()}
    counts, beyond_us, whole_us = [], [], []
    for one in measured:
        if one.point.burst > 1:
            continue  # what a tick of the twin writes to Redis leaves at its end, in the model each when it is done
        predicted = simulate(scenario_of(one.point, parts_of(values, broker)), one.world)
        _, wakes, busy_us = _ticks_of(predicted, [one.point.gateways])
        counts.append([wakes, one.world.duration_s])
        whole_us.append(1e6 * one.run.cpu_s["broker-0"])
        beyond_us.append(whole_us[-1] - busy_us)
    found, _ = fit(("wake_us", "idle"), np.array(counts), np.array(beyond_us), np.array(whole_us))
    return found["wake_us"]


def parts_of(
    costs: dict[str, float], broker: dict[str, Fitted], network: dict[str, float] | None = None
) -> dict[str, dict[str, object]]:
    """Costs as parts of a scenario. Loopback has no jitter and no limit that matters."""
    own = {"cores": 1, "batch_max": 0, "flush": "item", "tls_us": 0.0, "token_us": 0.0, "close_us": 0.0}
    flat = {"client_sigma": 0.0, "jitter_sigma": 0.0, "handshake_trips": 1, "downlink_bytes_per_s": 1e9}
    link = network or {"client_ms_median": 0.0, "broker_rtt_ms": 0.0}
    known = {key: one.value for key, one in broker.items() if key != "store_us_of_5"}
    return {"gateway": {**own, **costs}, "broker": dict(known), "network": {**flat, "database_rtt_ms": 0.0, **link}}


def floor_ms(measured: list[Measured], costs: dict[str, Fitted], broker: dict[str, Fitted]) -> Fitted:
    """The time of one hop: what the median latency of steady points has beyond what stations take, over its hops.

    A message makes four: to the gateway, to Redis, to a gateway, to the client.
    """
    values = {kind: one.value for kind, one in costs.items()}
    steady = [one for one in measured if one.point.burst == 1 and one.point.comers == 0.0]
    hops = []
    for one in steady:
        predicted = simulate(scenario_of(one.point, parts_of(values, broker)), one.world)
        beyond_ms = np.median(latency_from_sending_ms(one.run)) - np.median(latency_ms(predicted))
        hops.append(max(0.0, float(beyond_ms)) / 4)
    return spread(hops, "ms")


def memory_bytes(measured: list[Measured]) -> dict[str, Fitted]:
    """Memory of an empty gateway and of one connection, by a line through all gateways of all runs."""
    held, used = [], []
    for one in measured:
        placed = np.bincount(one.run.outcome.sessions["gateway"], minlength=one.point.gateways)
        for number in range(one.point.gateways):
            held.append([1.0, float(placed[number])])
            used.append(one.run.memory_bytes[f"gateway-{number}"])
    fitted, _ = fit(("base_bytes", "connection_bytes"), np.array(held), np.array(used))
    return {name: Fitted(one.value, one.low, one.high, "bytes") for name, one in fitted.items()}


def token_us(repeats: int = 5) -> Fitted:
    """The check of a token, in this process."""
    secret = b"k" * 32
    token = issue(secret, Rights(1, 0.0, 1e12))
    found = []
    for _ in range(repeats):
        before_s = time.process_time()
        for _ in range(TOKENS):
            check(secret, token, 0.0)
        found.append(1e6 * (time.process_time() - before_s) / TOKENS)
    return spread(found)


def to_profile(found: Calibration, command: str) -> str:
    """A calibration as a profile of costs in TOML, with where it comes from and how sure each figure is."""
    place = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    day = datetime.now(UTC).date().isoformat()
    lines = [
        f"# The live twin (Python, asyncio, websockets; Redis {found.redis_version}), measured by '{command}',",
        f"# {day}: {place}; {found.runs} live runs, load client and all on one machine.",
        f"# Median error of the fit: {100 * found.gateway_error:.0f} % of the CPU time of gateways, "
        f"{100 * found.broker_error:.0f} % of that of Redis.",
    ]
    fixed = parts_of({}, {})
    for part, costs in (("gateway", found.gateway), ("broker", found.broker), ("network", found.network)):
        lines += ["", f"[{part}]"]
        given = {key: value for key, value in fixed[part].items() if key not in costs}
        lines += [f"{key} = {_toml(value)}" for key, value in given.items()]
        for key, one in costs.items():
            if key == "store_us_of_5":
                lines.append(f"# Storing a message for 5 recipients by the script of the twin: {one}.")
            else:
                lines.append(f"{key} = {one.value:.6g}  # measured: 95 % {one.low:.3g} to {one.high:.3g}")
    return "\n".join(lines) + "\n"


def _ticks(one: Measured, costs: dict[str, float], broker: dict[str, Fitted]) -> tuple[float, float]:
    """Ticks that the model's gateways make on the world of a run within its duration, and how many after a sleep."""
    predicted = simulate(scenario_of(one.point, parts_of(costs, broker)), one.world)
    ticks, wakes, _ = _ticks_of(predicted, list(range(one.point.gateways)))
    return ticks, wakes


def _ticks_of(predicted: Outcome, wanted: list[int]) -> tuple[float, float, float]:
    """Ticks of some stations within the duration, how many of them after a sleep, and how long they took, in us."""
    table, end_s = predicted.ticks, predicted.world.duration_s
    inside = np.isin(table["station"], wanted) & (table["start_s"] >= 0) & (table["start_s"] < end_s)
    station, starts_s, ends_s = (table[name][inside] for name in ("station", "start_s", "end_s"))
    order = np.lexsort((starts_s, station))
    follows = (np.diff(station[order]) == 0) & (np.diff(starts_s[order]) > 0)
    at_once = follows & (starts_s[order][1:] <= ends_s[order][:-1])
    busy_us = 1e6 * float((ends_s - starts_s).sum())
    return float(inside.sum()), float(inside.sum() - at_once.sum()), busy_us


def _idle(one: Measured) -> float:
    """Seconds of gateways that stand there: what they use without any work."""
    return one.point.gateways * one.world.duration_s


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else f"{value}"
