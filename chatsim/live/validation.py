"""How far predictions are from the twin, on configurations by which no cost was fitted.

Which runs count is said in :mod:`chatsim.live.lab`. The spread beside each error is that of the measurement itself: the
range of its repeats, halved, of their median.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import pandas as pd

from chatsim.analysis.latency import latency_ms, percentiles
from chatsim.engine import simulate
from chatsim.live.comparing import cpu_share
from chatsim.live.diary import Figures
from chatsim.live.grids import Point, scenario_of, world_of
from chatsim.live.lab import LATENCIES, Kept, Lab, figures_of, middle, slower_than
from chatsim.live.run import live
from chatsim.live.twin import at_pace, lay_over, machine_of, profile
from chatsim.scenario import Scenario
from chatsim.scenario.load import validate as validated
from chatsim.theory import demand_of_world
from chatsim.theory.estimate import Tier, estimate

FIGURES = (*LATENCIES, "gateway_cores", "broker_cores")
ROUTINGS = ("room", "global", "user", "directory")
SEED = 100
"""Worlds of validation are drawn from seeds that calibration does not use."""
USERS = 100
SECONDS = 5.0
LOADS = (0.1, 0.35, 0.65, 0.9)
SPARE = 0.5
"""Share of the machine's cores that gateways may be planned to fill: clients, Redis and the system need the rest."""
TRIAL_PER_S = 100.0


@dataclass(frozen=True, slots=True)
class Compared:
    """A point, predicted once and measured several times, on cores ``slower`` times as slow as those of the profile."""

    point: Point
    load: float
    predicted: Figures
    measured: list[Kept]
    slower: float


def grid(costs: str, full: bool = False) -> list[tuple[Point, float]]:
    """Points with the load that each puts on its gateways: all of gateways x members x routing, or a third of them.

    Loads go by turns, so that each number of gateways, size of rooms and routing meets each load.

    >>> len(grid("python")), len(grid("python", True))
    (12, 36)
    """
    points: list[tuple[Point, float]] = []
    for gateways in (1, 2, 4):
        for members in (2, 10, 50):
            for place, routing in enumerate(ROUTINGS):
                load = LOADS[(place + len(points) // len(ROUTINGS)) % len(LOADS)]
                per_s = rate(routing, gateways, members, load, costs)
                points.append((Point(routing, gateways, members, USERS // members, per_s, SECONDS), load))
    return points if full else points[::3]


def rate(routing: str, gateways: int, members: int, load: float, costs: str) -> float:
    """Messages per second for a load: a share of what gateways and Redis carry at most where each item takes its own
    tick and nobody ever sleeps, as far as the machine has cores for them."""
    point = Point(routing, gateways, members, USERS // members, TRIAL_PER_S)
    tiers = {tier.name: tier.utilisation_idle for tier in tiers_of(point, costs, awake=True)}
    cores = min(float(gateways), SPARE * (os.cpu_count() or 1))
    most = min(cores / (gateways * tiers["gateways"] + tiers["broker"]), 1.0 / max(tiers.values()))
    return float(f"{load * TRIAL_PER_S * most:.3g}")


def tiers_of(point: Point, costs: str, awake: bool = False) -> Sequence[Tier]:
    """What ``estimate`` says of each tier at a point; ``awake``: where waking costs nothing."""
    scenario = with_costs(scenario_of(point), costs)
    if awake:
        parts = {part: getattr(scenario, part).model_copy(update={"wake_us": 0.0}) for part in ("gateway", "broker")}
        scenario = scenario.model_copy(update=parts)
    return estimate(scenario, demand_of_world(world_of(point, SEED), scenario)).tiers


def with_costs(scenario: Scenario, costs: str) -> Scenario:
    """A scenario with the costs of a profile."""
    table = scenario.model_dump(mode="json")
    lay_over(table, profile(costs, scenario))
    return validated({key: value for key, value in table.items() if value or key not in ("hosts", "faults")})


def compare_points(
    points: Sequence[tuple[Point, float]], costs: str, repeats: int = 3, lab: Lab | None = None
) -> list[Compared]:
    """Lives each point, repeats by turns, so that what disturbs the machine for a while disturbs all alike; predicts
    each point."""
    lab = lab or Lab()
    runs: list[list[Kept]] = [[] for _ in points]
    for again in range(repeats):
        for place, (point, _) in enumerate(points):
            runs[place].append(lab.kept(key_of(point, again), partial(lived, point, costs)))
    slower = [slower_than(costs, kept) for kept in runs]
    return [
        Compared(point, load, predicted(point, costs, slow), kept, slow)
        for (point, load), kept, slow in zip(points, runs, slower, strict=True)
    ]


def key_of(point: Point, again: int) -> str:
    """What a run of a point is known by.

    >>> key_of(Point("room", 2, 10, 10, 250.0, 5.0), 0)
    'room, 2 gateways, rooms of 10, 250/s, 5 s, run 1'
    """
    return f"{point}, {point.seconds:g} s, run {again + 1}"


def lived(point: Point, costs: str) -> Figures:
    """The figures of a live run of a point."""
    return figures_of(live(with_costs(scenario_of(point), costs), world_of(point, SEED)))


def predicted(point: Point, costs: str, slower: float = 1.0) -> Figures:
    """The same figures of its simulation, on cores that take so many times as long as those of the profile."""
    machine = machine_of(costs)
    outcome = simulate(at_pace(with_costs(scenario_of(point), costs), slower, machine.pace), world_of(point, SEED))
    busy, said = cpu_share(outcome), percentiles(latency_ms(outcome))
    cores = {
        "gateway_cores": busy["gateway"] + point.gateways * machine.gateway_idle_cores,
        "broker_cores": busy["broker"] + machine.broker_idle_cores,
    }
    return {**{name: float(said[name]) for name in LATENCIES}, **cores}


def table_of(found: Sequence[Compared]) -> pd.DataFrame:
    """A row per point and figure: predicted, measured (median of the repeats), error (predicted / measured - 1),
    ``spread``, half the range of the repeats over their median, how many times ``slower`` than in the profile the cores
    were meanwhile; how many runs were discarded, and how many count
    although they were disturbed."""
    rows = []
    for one in found:
        for name in FIGURES:
            value, half = middle([kept.figures[name] for kept in one.measured])
            rows.append(
                {
                    "point": str(one.point), "routing": one.point.routing, "gateways": one.point.gateways,
                    "members": one.point.members, "per_s": one.point.per_s, "load": one.load, "figure": name,
                    "predicted": one.predicted[name], "measured": value, "error": share(one.predicted[name], value) - 1,
                    "spread": share(half, value), "slower": one.slower, "repeats": len(one.measured),
                    "discarded": sum(kept.discarded for kept in one.measured),
                    "disturbed": sum(kept.disturbed for kept in one.measured),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def share(part: float, whole: float) -> float:
    """What a part is of the whole; NaN of nothing."""
    return part / whole if whole else math.nan


def summary_of(table: pd.DataFrame) -> pd.DataFrame:
    """For each figure: points, the median and the largest absolute error, and the median spread of the measurement."""
    rows = []
    for name in FIGURES:
        part = table[(table["figure"] == name) & table["error"].notna()]
        error = part["error"].abs()
        rows.append(
            {
                "figure": name, "points": len(part), "median_error": float(error.median()),
                "largest_error": float(error.max()) if len(part) else math.nan,
                "median_spread": float(part["spread"].median()),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def ranked_points(costs: str) -> list[tuple[Point, float]]:
    """Each routing on the same trace, with 4 gateways and rooms of 2."""
    per_s = rate("global", 4, 2, 0.25, costs)
    return [(Point(routing, 4, 2, USERS // 2, per_s, SECONDS), 0.25) for routing in ROUTINGS]


def order_of(table: pd.DataFrame) -> dict[str, float]:
    """The predicted order of designs beside the measured one.

    Of ``pairs`` so many are ``told_apart`` by the measurement, as the ranges of its repeats do not overlap; ``tau`` is
    Kendall's of these: 1 is the same order, -1 the opposite, NaN where none is told apart.

    >>> order_of(pd.DataFrame({"predicted": [2.0, 1.0, 3.0], "measured": [1.0, 1.1, 3.0], "spread": [0.1, 0.1, 0.1]}))
    {'tau': 1.0, 'told_apart': 2, 'pairs': 3}
    """
    rows = list(zip(table["predicted"], table["measured"], table["spread"] * table["measured"], strict=True))
    pairs = list(combinations(rows, 2))
    apart = [(one, other) for one, other in pairs if abs(one[1] - other[1]) > one[2] + other[2]]
    agree = [math.copysign(1.0, (one[0] - other[0]) * (one[1] - other[1])) for one, other in apart]
    return {"tau": share(sum(agree), len(agree)), "told_apart": len(apart), "pairs": len(pairs)}


def ranking(costs: str, repeats: int = 3, lab: Lab | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """CPU of gateways and of Redis, and latency p50, of each routing on the same trace; and a row for each figure: how
    far the predicted order is the measured one."""
    table = table_of(compare_points(ranked_points(costs), costs, repeats, lab))
    kept = table[table["figure"].isin(("p50_ms", "gateway_cores", "broker_cores"))]
    return kept, pd.DataFrame([{"figure": figure, **order_of(part)} for figure, part in kept.groupby("figure")])
