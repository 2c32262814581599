"""Saturation curves: a standing load test of each design around its estimated capacity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from chatsim.analysis import overload, percentiles
from chatsim.engine import simulate
from chatsim.engine.outcome import Fate, Outcome
from chatsim.scenario import InputError, Scenario
from chatsim.study.runs import same_trace
from chatsim.study.spread import Progress, in_order, workers
from chatsim.theory import demand_of_world, estimate
from chatsim.world import World, build_world, load_test

LOWEST, MIDDLE, HIGHEST = 0.05, 0.6, 1.3  # of the capacity with full batches
FURTHER, ROUNDS = 1.5, 4  # where a design is not overloaded at the highest load, it is raised
CARRIED_LEAST = 0.95  # of the offered load; with less a design is overloaded
UPLINK_TAIL = 3.1  # standard deviations: 1 of 1000 messages is longer under way
MESSAGES_MAX = 50_000
PROBE_PER_S = 1000.0


@dataclass(frozen=True, slots=True)
class Load:
    """One load test of one design: what a worker is given."""

    scenario: Scenario
    world: World
    rate_per_s: float
    messages: int


def saturation(
    scenarios: Sequence[Scenario],
    messages: int = 2000,
    points: int = 8,
    jobs: int = 1,
    progress: Progress | None = None,
    workload_from: Scenario | None = None,
) -> pd.DataFrame:
    """Offered load against carried load and latency: one row per design and load, from 5 % to 130 % of its capacity.

    The capacity is :func:`chatsim.theory.estimate`'s, with full batches; where a design keeps up with 130 % of it, the
    load is raised by half up to four times. Each row is a run of :func:`chatsim.world.load_test` with at least
    ``messages`` messages, and as many more as it takes that the second half of the sending time is a steady state.
    All figures are of that second half. Columns: design; messages_per_s; offered_per_s, deliveries meant for sessions;
    carried_per_s, deliveries whose writing ended; p50_ms and p99_ms of the messages sent; overloaded: less than
    95 % was carried or a station's wait kept growing. Raises InputError where the designs have no common trace.
    """
    if points < 3:
        raise InputError(f"points = {points}: at least 3 are needed")
    designs = same_trace(scenarios, workload_from)
    world = build_world(designs[0])
    capacity = {scenario.name: capacity_per_s(scenario, world) for scenario in designs}
    table = _measured(
        [
            _load(scenario, world, share * capacity[scenario.name], messages)
            for scenario in designs
            for share in loads(points)
        ],
        jobs,
        progress,
    )
    for step in range(1, ROUNDS + 1):
        lost = set(table.loc[table["overloaded"], "design"])
        open_ended = [scenario for scenario in designs if scenario.name not in lost]
        if not open_ended:
            break
        share = HIGHEST * FURTHER**step
        further = [_load(scenario, world, share * capacity[scenario.name], messages) for scenario in open_ended]
        table = pd.concat([table, _measured(further, jobs, progress)], ignore_index=True)
    order = {scenario.name: place for place, scenario in enumerate(designs)}
    return table.sort_values(["design", "messages_per_s"], key=lambda column: column.replace(order), ignore_index=True)


def capacity_per_s(scenario: Scenario, world: World) -> float:
    """Messages per second of a standing load test at which the first tier saturates with full batches."""
    standing = load_test(world, PROBE_PER_S, max(len(world.messages), 1))
    needs = estimate(scenario, demand_of_world(standing, scenario))
    factor = needs.binding.load_factor
    if not math.isfinite(factor):
        raise InputError(f"{scenario.name}: every cost is 0, so no load saturates it: no saturation curve can be drawn")
    return needs.demand.messages_per_s * factor


def loads(points: int) -> list[float]:
    """Shares of the capacity: half of them by equal factors up to the knee, half by equal steps beyond.

    >>> [round(share, 2) for share in loads(6)]
    [0.05, 0.17, 0.6, 0.83, 1.07, 1.3]
    """
    low = points // 2
    near = np.geomspace(LOWEST, MIDDLE, low) if low > 1 else np.array([LOWEST])
    return [*near.tolist(), *np.linspace(MIDDLE, HIGHEST, points - low + 1)[1:].tolist()]


def _load(scenario: Scenario, world: World, rate_per_s: float, messages: int) -> Load:
    """The first half must outlast the uplinks, or the second would begin before messages arrive at the full rate."""
    network = scenario.network
    uplink_s = (
        1e-3 * network.client_ms_median * math.exp(UPLINK_TAIL * math.hypot(network.client_sigma, network.jitter_sigma))
    )
    least = min(math.ceil(2 * uplink_s * rate_per_s), MESSAGES_MAX)
    return Load(scenario, world, rate_per_s, max(messages, least))


def _measured(tests: list[Load], jobs: int, progress: Progress | None) -> pd.DataFrame:
    rows = []
    for done, row in enumerate(in_order(load_point, tests, workers(jobs, len(tests))), start=1):
        rows.append(row)
        if progress is not None:
            progress(done, len(tests), str(row["design"]))
    return pd.DataFrame(rows)


def load_point(test: Load) -> dict[str, object]:
    """One row of the table."""
    world = load_test(test.world, test.rate_per_s, test.messages)
    return {"design": test.scenario.name, **second_half(simulate(test.scenario, world))}


def second_half(outcome: Outcome) -> dict[str, object]:
    """Loads and latencies of the second half of the time in which messages were sent."""
    sent_s = outcome.messages["time_s"].astype(np.float64)
    end_s = float(sent_s[-1])
    start_s = end_s / 2
    table = outcome.deliveries
    fate = table["fate"].astype(np.int64)
    meant = (table["session"].astype(np.int64) >= 0) & (fate != Fate.DUPLICATE)
    own_s = sent_s[table["message"].astype(np.int64)]
    written_s = table["written_s"].astype(np.float64)
    offered = int((meant & (own_s > start_s)).sum())
    carried = int((meant & (written_s > start_s) & (written_s <= end_s)).sum())
    timely = (fate == Fate.DELIVERED) & (own_s > start_s)
    figures = percentiles(1000 * (table["time_s"].astype(np.float64) - own_s)[timely])
    growing = overload(replace(outcome, world=replace(outcome.world, duration_s=end_s))).stations
    return {
        "messages_per_s": int((sent_s > start_s).sum()) / (end_s - start_s),
        "offered_per_s": offered / (end_s - start_s),
        "carried_per_s": carried / (end_s - start_s),
        "p50_ms": figures["p50_ms"],
        "p99_ms": figures["p99_ms"],
        "overloaded": bool(growing) or carried < CARRIED_LEAST * offered,
    }
