"""What the parts of the twin cost on this machine: CPU time of live runs, explained by the work that was done.

Ticks cannot be seen from outside, and a tick of the model is not a turn of asyncio's loop. They are those of the model
itself: the runs are simulated with the costs found so far, and the costs are fitted again with the ticks that this
gives, until they stay. So what is fitted is what predicts.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from chatsim.analysis.latency import latency_ms
from chatsim.engine import Outcome, prepare, simulate
from chatsim.engine.outcome import Fate
from chatsim.live.fitting import LEVEL, RESAMPLES, Fitted, Floats, fit, spread
from chatsim.live.grids import Point, scenario_of, world_of
from chatsim.live.lab import LATE_MS, RETRIES, figures_of, is_disturbed
from chatsim.live.ledger import COUNTS
from chatsim.live.pace import PROBE_US, stretch
from chatsim.live.run import LiveRun, live
from chatsim.live.sending import as_sent, latency_from_sending_ms
from chatsim.live.steadiness import Unsteady, series_us, unsteady
from chatsim.live.tokens import Rights, check, issue
from chatsim.live.twin import STEADY_PACE, Machine
from chatsim.rules.waking import waking_us
from chatsim.world.tables import World

BURSTS = ((1500.0, 25), (2500.0, 40))
"""Of a burst a gateway finds a message on each of many connections, or many on a few: so reads are told from messages.
They follow soon on each other: what one that has cooled spends more is in its wake."""
BELOW = (
    Point("room", 1, 3, 30, 1.0),
    Point("room", 3, 3, 30, 1.0),
    Point("room", 1, 3, 30, 60.0),
    Point("room", 1, 3, 30, 200.0),
    Point("room", 1, 3, 30, 500.0),
    Point("room", 1, 3, 30, 1200.0),
    Point("room", 1, 3, 30, 2500.0),
    Point("room", 1, 3, 30, 5000.0),
    Point("room", 1, 8, 8, 150.0),
    Point("room", 1, 30, 3, 20.0),
    Point("room", 1, 30, 3, 150.0),
    Point("room", 1, 30, 3, 500.0),
    Point("room", 3, 3, 30, 1500.0),
    Point("global", 3, 3, 30, 100.0),
    Point("global", 3, 3, 30, 600.0),
    Point("user", 1, 8, 8, 60.0),
    Point("user", 1, 8, 8, 250.0),
    Point("user", 1, 8, 8, 450.0),
    Point("directory", 3, 3, 30, 500.0),
    Point("room", 1, 3, 30, 500.0, burst=25),
    Point("room", 1, 3, 1, 500.0, burst=25),
    *(Point("room", 1, 3, rooms, per_s, burst=burst) for per_s, burst in BURSTS for rooms in (30, 1)),
    Point("global", 3, 3, 30, 250.0, burst=25),
    Point("user", 1, 8, 8, 200.0, burst=20),
    Point("room", 1, 3, 60, 30.0, comers=0.8),
    Point("room", 1, 3, 150, 30.0, comers=0.8),
)
SATURATING = (
    Point("room", 1, 3, 30, 7000.0),
    Point("room", 1, 3, 30, 10000.0),
    Point("room", 1, 3, 30, 14000.0),
    Point("room", 1, 8, 8, 2500.0),
    Point("room", 1, 8, 8, 6000.0),
    Point("room", 1, 30, 3, 1200.0),
    Point("room", 1, 30, 3, 2000.0),
    Point("user", 1, 8, 8, 1000.0),
    Point("user", 1, 8, 8, 1800.0),
    Point("global", 3, 3, 30, 2500.0),
    Point("global", 3, 3, 30, 5000.0),
    Point("directory", 3, 3, 30, 1500.0),
    Point("directory", 3, 3, 30, 4000.0),
    Point("room", 3, 3, 30, 4000.0),
    Point("room", 3, 3, 30, 9000.0),
)
"""About as much as is carried, and more: ticks and reads are then of very many messages, and what is left is what each
message costs by itself. Latency says nothing there."""
GRID = (*BELOW, *SATURATING)
"""Configurations that validation never uses: its rooms have 2, 10 or 50 members, its gateways are 1, 2 or 4."""
CARRIED, LATE_FULL_MS = 0.95, 20.0
"""A run that carries less of its second half wants all of its cores; so late may its load client be."""

KINDS = (
    "tick_us", "wake_us", "fetch_us", "receive_us", "command_us", "parse_us", "write_us", "handshake_us", "idle",
)  # fmt: skip
WORK = {
    "receive_us": ("receive",), "command_us": ("command",), "parse_us": ("parse", "lookup"), "write_us": ("write",),
    "handshake_us": ("login",),
}  # fmt: skip
"""What is counted of each kind of work of the model: it parses pushes, and the replies that a message waits for."""
COOLINGS_US = (
    0.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 3000.0, 5000.0, 8000.0, 12000.0, 20000.0, 30000.0, 50000.0,
)  # fmt: skip
"""What is tried for how fast a station cools."""
ROUNDS, SERIES_S = 4, 0.5
TOKENS = 2000
FIRST: dict[str, float] = {
    "tick_us": 100.0, "wake_us": 0.0, "fetch_us": 20.0, "receive_us": 40.0, "command_us": 15.0, "parse_us": 30.0,
    "write_us": 20.0, "handshake_us": 1000.0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measured:
    """One live run of a point, on its world with the messages as they were sent."""

    point: Point
    world: World
    run: LiveRun

    def cpu_us(self, tier: str) -> float:
        """CPU time of a tier, as it would have been at the pace of PROBE_US."""
        used_s = sum(used for name, used in self.run.cpu_s.items() if name.startswith(tier))
        return 1e6 * used_s / stretch(self.run.probe_us, PROBE_US)

    def work(self, *names: str) -> float:
        """How often gateways did some things within the duration."""
        return float(sum(self.run.counts[COUNTS.index(name)] for name in names))


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
    machine: Machine

    def rows(self) -> list[dict[str, Any]]:
        """Part, key, value, low, high and unit of each figure."""
        return [
            {"part": part, "key": key, "value": one.value, "low": one.low, "high": one.high, "unit": one.unit}
            for part, found in (("gateway", self.gateway), ("broker", self.broker), ("network", self.network))
            for key, one in found.items()
        ]


def measure(
    grid: tuple[Point, ...], repeats: int = 1, progress: Callable[[float, str], None] | None = None
) -> tuple[list[Measured], Unsteady]:
    """Lives each point so many times, in turns, so that what disturbs the machine for a while disturbs all alike; and
    looks between the runs how steady the machine is."""
    found, series = [], []
    plan = [(point, again) for again in range(repeats) for point in grid]
    for place, (point, again) in enumerate(plan):
        if progress is not None:
            progress(place / len(plan), str(point))
        people = world_of(point, 1 + again)
        series.append(series_us(SERIES_S))
        run = undisturbed(point, people)
        found.append(Measured(point, as_sent(run, people), run))
    return found, unsteady(series)


def undisturbed(point: Point, people: World) -> LiveRun:
    """A live run of a point, made again as others are that count (:mod:`chatsim.live.lab`)."""
    late_ms = LATE_FULL_MS if point in SATURATING else LATE_MS
    run = live(scenario_of(point), people)
    for _ in range(RETRIES):
        if not is_disturbed(figures_of(run), late_ms):
            break
        run = live(scenario_of(point), people)
    return run


def calibrate(
    broker: tuple[dict[str, Fitted], float], measured: list[Measured], pace: Unsteady = STEADY_PACE
) -> Calibration:
    """Costs from Redis's own (:func:`chatsim.live.redis_costs.broker_costs`) and live runs of the grid.

    They are fitted as they would be at the pace of PROBE_US, and then told at that of the runs, which was so unsteady.
    """
    prepare()  # hundreds of simulations follow, small ones among them
    costs, idle, error = gateway_costs(measured, broker[0])
    standing, broker_idle, broker_error = standing_costs(measured, costs, broker[0])
    own = {**broker[0], **standing}
    pace_us = float(np.mean([one.run.probe_us for one in measured]))
    slower = stretch(pace_us, PROBE_US)
    costs, own = stretched(costs, slower), stretched(own, slower)
    floor = floor_ms(measured, costs, own, pace_us)
    network = {"client_ms_median": floor, "broker_rtt_ms": Fitted(2 * floor.value, 2 * floor.low, 2 * floor.high, "ms")}
    return Calibration(
        {**costs, "token_us": token_us(), **memory_bytes(measured)}, own, network, error, broker_error,
        len(measured), measured[0].run.redis_version,
        Machine(pace_us, pace, 1e-6 * slower * idle, 1e-6 * slower * broker_idle, granted(measured)),
    )  # fmt: skip


def granted(measured: list[Measured]) -> float:
    """The share of its cores that gateways and Redis have had where they wanted all: the system takes its own.
    The median of the runs that carried less than they should; 1 where there are none."""
    shares = [
        sum(one.run.cpu_s.values()) / one.world.duration_s / scenario_of(one.point).hosts[0].cores
        for one in measured
        if one.point in SATURATING and _carried_share(one.run.outcome) < CARRIED
    ]
    return min(1.0, float(np.median(shares))) if shares else 1.0


def _carried_share(outcome: Outcome) -> float:
    """Deliveries carried in the second half of the duration, of those due in it: of messages written in it."""
    end_s, table = outcome.world.duration_s, outcome.deliveries
    written_s = outcome.messages["time_s"][table["message"]]
    due = int(((written_s >= end_s / 2) & (table["fate"] != Fate.MISSED)).sum())
    there_s = table["time_s"][table["fate"] == Fate.DELIVERED]
    return int(((there_s >= end_s / 2) & (there_s < end_s)).sum()) / due if due else 1.0


def stretched(costs: dict[str, Fitted], factor: float) -> dict[str, Fitted]:
    """Costs on a core so much slower; how fast it cools is not a cost."""
    return {
        key: one
        if key == "cooling_us"
        else replace(one, value=factor * one.value, low=factor * one.low, high=factor * one.high)
        for key, one in costs.items()
    }


def gateway_costs(measured: list[Measured], broker: dict[str, Fitted]) -> tuple[dict[str, Fitted], float, float]:
    """The costs of a gateway, what it uses in a second without any work in us, and the median relative error with which
    these explain its CPU time."""
    spent_us = np.array([one.cpu_us("gateway") for one in measured])
    works = [[one.work(*names) for names in WORK.values()] for one in measured]
    counts = np.array([[0.0, 0.0, 0.0, *work, _idle(one)] for work, one in zip(works, measured, strict=True)])
    costs, idle_us = dict(FIRST), 0.0
    fitted: dict[str, Fitted] = {}
    error = 0.0
    for _ in range(ROUNDS):
        ticks = [_ticks(one, costs, broker, range(one.point.gateways)) for one in measured]
        counts[:, 0], counts[:, 2] = [one.count for one in ticks], [one.reads for one in ticks]
        cooling, fitted, error = cooled(KINDS, counts, 1, ticks, spent_us)
        idle_us = fitted.pop("idle").value
        fitted = {"cooling_us": cooling, **fitted}
        costs = {key: one.value for key, one in fitted.items()}
    return fitted, idle_us, error


def cooled(
    kinds: tuple[str, ...],
    counts: Floats,
    place: int,
    ticks: list[Ticks],
    spent_us: Floats,
    whole_us: Floats | None = None,
) -> tuple[Fitted, dict[str, Fitted], float]:
    """The cooling that explains most, its interval, and the fit with it; ``counts[:, place]`` are made from sleeps."""
    whole, tried, off = spent_us if whole_us is None else whole_us, [], []
    for cooling_us in COOLINGS_US:
        counts[:, place] = [one.wakes(cooling_us) for one in ticks]
        fitted, error = fit(kinds, counts, spent_us, whole)
        tried.append((counts[:, place].copy(), fitted, error))
        costs = np.array([fitted[kind].value for kind in kinds])
        off.append(((counts @ costs - spent_us) / whole) ** 2)
    squares = np.array(off)
    draws = np.random.default_rng(1).integers(0, len(whole), (RESAMPLES, len(whole)))
    again = np.array(COOLINGS_US)[squares[:, draws].sum(axis=2).argmin(axis=0)]
    best = int(squares.sum(axis=1).argmin())
    counts[:, place], fitted, error = tried[best]
    low, high = np.quantile(again, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Fitted(COOLINGS_US[best], float(low), float(high)), fitted, error


def standing_costs(
    measured: list[Measured], costs: dict[str, Fitted], broker: dict[str, Fitted]
) -> tuple[dict[str, Fitted], float, float]:
    """What Redis spends in live runs beyond its items and writes, which are as in its benchmark: by tick, by wake and
    how fast it cools, and without any work, in us per second; and the median error with which this explains its CPU.

    A tick costs less there than under the benchmark, whose clients sit on another core.
    """
    values = {kind: one.value for kind, one in costs.items()}
    # what a tick of the twin writes to Redis leaves at its end, in the model each when it is done
    steady = [one for one in measured if one.point.burst == 1 and one.point not in SATURATING]
    ticks = [_ticks(one, values, broker, [one.point.gateways]) for one in steady]
    counts = np.array([[one.count, 0.0, each.world.duration_s] for one, each in zip(ticks, steady, strict=True)])
    whole_us = np.array([one.cpu_us("broker") for one in steady])
    items_us = np.array([one.busy_us - one.count * broker["tick_us"].value for one in ticks])
    cooling, found, error = cooled(("tick_us", "wake_us", "idle"), counts, 1, ticks, whole_us - items_us, whole_us)
    return (
        {"tick_us": found["tick_us"], "wake_us": found["wake_us"], "cooling_us": cooling}, found["idle"].value, error
    )  # fmt: skip


def parts_of(
    costs: dict[str, float], broker: dict[str, Fitted], network: dict[str, float] | None = None
) -> dict[str, dict[str, object]]:
    """Costs as parts of a scenario. Loopback has no jitter and no limit that matters."""
    own = {"cores": 1, "batch_max": 0, "flush": "item", "tls_us": 0.0, "token_us": 0.0, "close_us": 0.0}
    flat = {"client_sigma": 0.0, "jitter_sigma": 0.0, "handshake_trips": 1, "downlink_bytes_per_s": 1e9}
    link = network or {"client_ms_median": 0.0, "broker_rtt_ms": 0.0}
    known = {key: one.value for key, one in broker.items() if key != "store_us_of_5"}
    return {"gateway": {**own, **costs}, "broker": dict(known), "network": {**flat, "database_rtt_ms": 0.0, **link}}


def floor_ms(measured: list[Measured], costs: dict[str, Fitted], broker: dict[str, Fitted], pace_us: float) -> Fitted:
    """The time of one hop: what the median latency of steady points has beyond what stations take, over its hops.

    A message makes four: to the gateway, to Redis, to a gateway, to the client. ``pace_us`` is that of the costs.
    """
    steady = [one for one in measured if one.point in BELOW and one.point.burst == 1 and one.point.comers == 0.0]
    hops = []
    for one in steady:
        slower = stretch(one.run.probe_us, pace_us)
        values = {key: cost.value for key, cost in stretched(costs, slower).items()}
        predicted = _simulated(one, values, stretched(broker, slower))
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
    lines += ["", "[machine]", *_of_machine(found.machine)]
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


@dataclass(frozen=True, slots=True)
class Ticks:
    """How many ticks some stations made within the duration, how long those that came after a sleep had slept, how long
    all took, and how many connections were read in them."""

    count: float
    slept_s: Floats
    busy_us: float
    reads: float = 0.0

    def wakes(self, cooling_us: float) -> float:
        """Wakes, each as much as it is of one after a long sleep."""
        each = waking_us(1.0, self.slept_s, cooling_us)  # type: ignore[arg-type]
        return float(np.broadcast_to(each, self.slept_s.shape).sum())


def _simulated(one: Measured, costs: dict[str, float], broker: dict[str, Fitted]) -> Outcome:
    """The run of a point as the model has it, on links that take no time."""
    return simulate(scenario_of(one.point, parts_of(costs, broker)), one.world)


def _ticks(one: Measured, costs: dict[str, float], broker: dict[str, Fitted], wanted: Sequence[int]) -> Ticks:
    """What some of the model's stations do on the world of a run, at its pace, on which it depends how full a tick is;
    how long they work is told as it would be at the pace of PROBE_US, as the costs are."""
    slower = stretch(one.run.probe_us, PROBE_US)
    own = {key: us if key == "cooling_us" else slower * us for key, us in costs.items()}
    ticks = _ticks_of(_simulated(one, own, stretched(broker, slower)), wanted)
    return replace(ticks, busy_us=ticks.busy_us / slower)


def _ticks_of(predicted: Outcome, wanted: Sequence[int]) -> Ticks:
    """The ticks of some stations."""
    table, end_s = predicted.ticks, predicted.world.duration_s
    mine = np.isin(table["station"], list(wanted)) & (table["start_s"] < end_s)
    starts_s, ends_s, slept_s, reads = (table[name][mine] for name in ("start_s", "end_s", "slept_s", "reads"))
    inside = starts_s >= 0
    busy_us = 1e6 * float((ends_s - starts_s)[inside].sum())
    return Ticks(float(inside.sum()), slept_s[inside & (slept_s > 0)], busy_us, float(reads[inside].sum()))


def _idle(one: Measured) -> float:
    """Seconds of gateways that stand there: what they use without any work."""
    return one.point.gateways * one.world.duration_s


def _of_machine(machine: Machine) -> list[str]:
    """The machine as lines of a profile."""
    pace = machine.pace
    return [
        f"probe_us = {machine.probe_us:.6g}  # the pace of its cores meanwhile, by a fixed piece of work",
        f"slow_share = {pace.share:.4g}  # of the time it is slow, as others work on it",
        f"slow_factor = {pace.factor:.4g}  # then it takes so many times as long",
        f"slow_memory_s = {pace.memory_s:.4g}",
        f"gateway_idle_cores = {machine.gateway_idle_cores:.4g}  # without any work",
        f"broker_idle_cores = {machine.broker_idle_cores:.4g}",
        f"granted = {machine.granted:.4g}  # of the cores, where all is wanted: the system takes the rest",
    ]


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else f"{value}"
