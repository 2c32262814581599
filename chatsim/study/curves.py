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
STEADY = 15  # a load test lasts at least so many times what the system takes for one message when empty
PROBE_PER_S = 1000.0


@dataclass(frozen=True, slots=True)
class Bench:
    """A design prepared for load tests, the messages per second that saturate it, and how long a message takes from
    its sender until it is written to a session in the empty system."""

    scenario: Scenario
    world: World
    capacity_per_s: float
    lag_s: float

    @property
    def system_s(self) -> float:
        """The lag without the client's network."""
        return self.lag_s - self.scenario.network.client_ms_median / 1000


@dataclass(frozen=True, slots=True)
class Load:
    """One load test of one design: what a worker is given."""

    bench: Bench
    rate_per_s: float
    messages: int


def saturation(
    scenarios: Sequence[Scenario],
    messages: int = 2000,
    points: int = 7,
    jobs: int = 1,
    progress: Progress | None = None,
    workload_from: Scenario | None = None,
) -> pd.DataFrame:
    """Offered load against carried load and latency: one row per design and load, from 5 % to 130 % of its capacity.

    The capacity is :func:`chatsim.theory.estimate`'s, with full batches; where a design keeps up with 130 % of it, the
    load is raised by half up to four times. Each row is a run of :func:`chatsim.world.load_test`, the same messages for
    all loads of a design: at least ``messages``, and as many more as a steady state takes. All clients have the median
    network delay, so that what rises with the load is the system's doing. All figures are of the second half of the
    messages.

    Columns: design; messages_per_s; offered_per_s, deliveries meant for sessions; carried_per_s, deliveries written to
    sessions in an equally long time, later by what the empty system takes; p50_ms and p99_ms; overloaded: less than
    95 % was carried, beyond what chance explains, or a station's wait kept growing. Raises InputError where the designs
    have no common trace.
    """
    if points < 3:
        raise InputError(f"points = {points}: at least 3 are needed")
    designs = same_trace(scenarios, workload_from)
    world = build_world(designs[0])
    benches = [bench(scenario, world) for scenario in designs]
    tests = [_load(one, share, messages) for one in benches for share in loads(points)]
    table = _measured(tests, jobs, progress)
    for step in range(1, ROUNDS + 1):
        lost = set(table.loc[table["overloaded"], "design"])
        open_ended = [one for one in benches if one.scenario.name not in lost]
        if not open_ended:
            break
        further = [_load(one, HIGHEST * FURTHER**step, messages) for one in open_ended]
        table = pd.concat([table, _measured(further, jobs, progress)], ignore_index=True)
    order = {scenario.name: place for place, scenario in enumerate(designs)}
    place = table["design"].map(order)
    return table.assign(place=place).sort_values(["place", "messages_per_s"], ignore_index=True).drop(columns="place")


def bench(scenario: Scenario, world: World) -> Bench:
    """Prepares a design for load tests on a world. InputError where no load would saturate it."""
    network = scenario.network.model_copy(update={"client_sigma": 0.0, "jitter_sigma": 0.0})
    even = scenario.model_copy(update={"network": network})
    standing = load_test(world, PROBE_PER_S, max(len(world.messages), 1))
    needs = estimate(even, demand_of_world(standing, even))
    factor = needs.binding.load_factor
    if not math.isfinite(factor):
        raise InputError(f"{scenario.name}: every cost is 0, so no load saturates it: no saturation curve can be drawn")
    empty_ms = needs.local_ms if needs.remote_ms is None else max(needs.local_ms, needs.remote_ms)
    return Bench(even, world, needs.demand.messages_per_s * factor, (empty_ms - network.client_ms_median) / 1000)


def loads(points: int) -> list[float]:
    """Shares of the capacity: half of them by equal factors up to the knee, half by equal steps beyond.

    >>> [round(share, 2) for share in loads(6)]
    [0.05, 0.17, 0.6, 0.83, 1.07, 1.3]
    """
    low = points // 2
    near = np.geomspace(LOWEST, MIDDLE, low) if low > 1 else np.array([LOWEST])
    return [*near.tolist(), *np.linspace(MIDDLE, HIGHEST, points - low + 1)[1:].tolist()]


def _load(one: Bench, share: float, messages: int) -> Load:
    least = math.ceil(STEADY * one.system_s * HIGHEST * one.capacity_per_s)
    return Load(one, share * one.capacity_per_s, max(messages, least))


def _measured(tests: list[Load], jobs: int, progress: Progress | None) -> pd.DataFrame:
    rows = []
    for done, row in enumerate(in_order(load_point, tests, workers(jobs, len(tests))), start=1):
        rows.append(row)
        if progress is not None:
            progress(done, len(tests), str(row["design"]))
    return pd.DataFrame(rows)


def load_point(test: Load) -> dict[str, object]:
    """One row of the table."""
    one = test.bench
    outcome = simulate(one.scenario, load_test(one.world, test.rate_per_s, test.messages))
    return {"design": one.scenario.name, **second_half(outcome, one.lag_s, one.system_s)}


def second_half(outcome: Outcome, lag_s: float, system_s: float) -> dict[str, object]:
    """Loads and latencies of the second half of the messages; see :func:`saturation`.

    Offered and carried differ by what is under way at either end of their time: numbers of a Poisson kind while the
    system keeps up, as large as what is offered in ``system_s``. Three standard deviations of that are put to chance.
    """
    sent_s = outcome.messages["time_s"].astype(np.float64)
    start_s, end_s = float(sent_s[(len(sent_s) - 1) // 2]), float(sent_s[-1])
    table = outcome.deliveries
    fate = table["fate"].astype(np.int64)
    meant = (table["session"].astype(np.int64) >= 0) & ~np.isin(fate, (Fate.DUPLICATE, Fate.READ_LATER))
    own_s = sent_s[table["message"].astype(np.int64)]
    written_s = table["written_s"].astype(np.float64) - lag_s
    offered = int((meant & (own_s > start_s)).sum())
    carried = int((meant & (written_s > start_s) & (written_s <= end_s)).sum())
    timely = (fate == Fate.DELIVERED) & (own_s > start_s)
    figures = percentiles(1000 * (table["time_s"].astype(np.float64) - own_s)[timely])
    chance = math.sqrt(2 * offered * min(system_s / (end_s - start_s), 1.0))
    growing = overload(replace(outcome, world=replace(outcome.world, duration_s=end_s + lag_s))).stations
    return {
        "messages_per_s": int((sent_s > start_s).sum()) / (end_s - start_s),
        "offered_per_s": offered / (end_s - start_s),
        "carried_per_s": carried / (end_s - start_s),
        "p50_ms": figures["p50_ms"],
        "p99_ms": figures["p99_ms"],
        "overloaded": bool(growing) or carried < CARRIED_LEAST * offered - 3 * chance,
    }
