"""How far predictions are from the twin, on configurations by which no cost was fitted.

A run counts only if the load client kept time: where it was late by more than LATE_MS at the 90th percentile, the
machine was busy with something else, and the run is made again, at most RETRIES times in a row, then it counts all the
same and is marked. The spread beside each error is that of the measurement itself: the range of its repeats, halved, of
their median.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from chatsim.analysis.latency import latency_ms, percentiles
from chatsim.engine import simulate
from chatsim.live.comparing import cpu_share
from chatsim.live.grids import Point, scenario_of, world_of
from chatsim.live.run import LiveRun, live
from chatsim.live.twin import lay_over, profile
from chatsim.scenario import Scenario
from chatsim.scenario.load import validate as validated

FIGURES = ("p50_ms", "p90_ms", "p99_ms", "gateway_cores", "broker_cores")
ROUTINGS = ("room", "global", "user", "directory")
LATE_MS, RETRIES = 2.0, 2
SEED = 100
"""Worlds of validation are drawn from seeds that calibration does not use."""
USERS = 100
SECONDS = 5.0
LOADS = (0.2, 0.5)
SPARE = 0.5
"""Share of the machine's cores that gateways may be planned to fill: clients, Redis and the system need the rest."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A point, predicted once and measured several times: figures by name; ``late`` runs were not on time."""

    point: Point
    load: float
    predicted: dict[str, float]
    measured: list[dict[str, float]]
    discarded: int
    late: int


def grid(costs: str, full: bool = False) -> list[tuple[Point, float]]:
    """Points with the load that each puts on its gateways: all of gateways x members x load x routing, or a third.

    >>> len(grid("python")), len(grid("python", True))
    (12, 36)
    """
    points = []
    for gateways in (1, 2, 4):
        for members in (2, 10, 50):
            for load in LOADS:
                for routing in ROUTINGS[:2]:
                    per_s = rate(routing, gateways, members, load, costs)
                    points.append((Point(routing, gateways, members, USERS // members, per_s, SECONDS), load))
    return points if full else points[::3]


def rate(routing: str, gateways: int, members: int, load: float, costs: str) -> float:
    """Messages per second of which each takes its own tick at every gateway it meets, for a load of the gateways."""
    gateway = with_costs(scenario_of(Point(routing, gateways, members, 1, 1.0)), costs).gateway
    met = gateways if routing == "global" else gateways * (1.0 - (1.0 - 1.0 / gateways) ** members)
    each_us = gateway.tick_us + gateway.wake_us
    message_us = each_us + gateway.receive_us + gateway.command_us
    message_us += met * (each_us + gateway.parse_us) + (members - 1) * gateway.write_us
    cores = min(float(gateways), SPARE * (os.cpu_count() or 1))
    return float(f"{1e6 * cores * load / message_us:.3g}")


def with_costs(scenario: Scenario, costs: str) -> Scenario:
    """A scenario with the costs of a profile."""
    table = scenario.model_dump(mode="json")
    lay_over(table, profile(costs, scenario))
    return validated({key: value for key, value in table.items() if value or key not in ("hosts", "faults")})


def compare_points(
    points: Sequence[tuple[Point, float]],
    costs: str,
    repeats: int = 3,
    progress: Callable[[float, str], None] | None = None,
) -> list[Compared]:
    """Predicts and lives each point; repeats go round by turns."""
    runs: list[list[dict[str, float]]] = [[] for _ in points]
    discarded, late = [0] * len(points), [0] * len(points)
    for again in range(repeats):
        for place, (point, _) in enumerate(points):
            if progress is not None:
                progress((again * len(points) + place) / (repeats * len(points)), str(point))
            for attempt in range(RETRIES + 1):
                run = live(with_costs(scenario_of(point), costs), world_of(point, SEED))
                on_time = 1000 * float(np.percentile(run.lag_s, 90)) <= LATE_MS
                if on_time or attempt == RETRIES:
                    break
                discarded[place] += 1
            late[place] += not on_time
            runs[place].append(measured_of(run))
    found = []
    for place, (point, load) in enumerate(points):
        predicted = simulate(with_costs(scenario_of(point), costs), world_of(point, SEED))
        busy, said = cpu_share(predicted), percentiles(latency_ms(predicted))
        figures = {**{name: said[name] for name in FIGURES[:3]}, "gateway_cores": busy["gateway"]}
        figures["broker_cores"] = busy["broker"]
        found.append(Compared(point, load, figures, runs[place], discarded[place], late[place]))
    return found


def measured_of(run: LiveRun) -> dict[str, float]:
    """The figures of a live run."""
    said, length_s = percentiles(latency_ms(run.outcome)), run.outcome.world.duration_s
    figures = {name: said[name] for name in FIGURES[:3]}
    for tier in ("gateway", "broker"):
        used_s = sum(used for name, used in run.cpu_s.items() if name.startswith(tier))
        figures[f"{tier}_cores"] = used_s / length_s
    return figures


def table_of(found: Sequence[Compared]) -> pd.DataFrame:
    """A row per point and figure: predicted, measured (median of the repeats), error (predicted / measured - 1), and
    ``spread``, half the range of the repeats over their median."""
    rows = []
    for one in found:
        for name in FIGURES:
            values = np.array([each[name] for each in one.measured])
            middle = float(np.median(values))
            rows.append(
                {
                    "point": str(one.point), "routing": one.point.routing, "gateways": one.point.gateways,
                    "members": one.point.members, "per_s": one.point.per_s, "load": one.load, "figure": name,
                    "predicted": one.predicted[name], "measured": middle, "error": one.predicted[name] / middle - 1,
                    "spread": float(np.ptp(values)) / 2 / middle, "repeats": len(values), "discarded": one.discarded,
                    "late": one.late,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


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


def ranking(
    costs: str, repeats: int = 3, progress: Callable[[float, str], None] | None = None
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Each routing on the same trace with 4 gateways and rooms of 2: CPU of gateways and of Redis, and latency p50.

    Also Kendall's tau of predicted and measured order, for each figure: 1 is the same order.
    """
    from scipy.stats import kendalltau

    per_s = 0.5 * rate("global", 4, 2, LOADS[1], costs)
    points = [(Point(routing, 4, 2, USERS // 2, per_s, SECONDS), LOADS[1]) for routing in ROUTINGS]
    table = table_of(compare_points(points, costs, repeats, progress))
    kept = table[table["figure"].isin(("p50_ms", "gateway_cores", "broker_cores"))]
    taus = {
        str(figure): float(kendalltau(part["predicted"], part["measured"]).statistic)
        for figure, part in kept.groupby("figure")
    }
    return kept, taus
