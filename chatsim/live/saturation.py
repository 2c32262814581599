"""The load at which a design saturates, measured and predicted by the same search and the same rule.

A run is *saturated* where its backlog grows: of the deliveries that are due in its second half, less than CARRIED are
carried in it. The load rises by STEP until a run is saturated (or falls until one is not), and the last two loads close
in on the edge in HALVINGS. The saturation load is the middle of the two that remain; half of what lies between them is
the spread of the measurement. A disturbed run that is not carried says nothing: it may be the load client that falls
behind, or others who take what the system needs. Where there is no other, there is only a load that was carried.

A machine that is now so many times as slow carries a load as one so many times as high. A measured edge is therefore
that of loads at one pace, the mean of the runs; and where runs contradict each other, what they carried is taken
together, so that it nowhere rises with the load.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
from scipy.optimize import isotonic_regression

from chatsim.engine import simulate
from chatsim.engine.outcome import Fate, Outcome
from chatsim.live.comparing import cpu_share
from chatsim.live.diary import Figures
from chatsim.live.grids import Point, scenario_of, world_of
from chatsim.live.lab import Kept, Lab, figures_of, mean_pace_us, pace_of, slower_than
from chatsim.live.pace import stretch
from chatsim.live.run import live
from chatsim.live.twin import at_pace, machine_of
from chatsim.live.validation import SEED, USERS, share, tiers_of, with_costs

CARRIED = 0.95
LATE_MS = 20.0
"""So late may the load client be: one hundredth of the half of a run. Latency is not looked at here."""
STEP, HALVINGS, STEPS_MOST = 1.5, 3, 16
SECONDS = 6.0
FULL_SHARE = 0.9
"""A tier is what binds where its processes use so much of a core each."""
RUNS_EACH = 8
"""About so many runs a search takes; for the progress alone."""
DESIGNS = (
    ("room", 1, 2), ("global", 1, 10), ("user", 1, 50),
    ("directory", 2, 2), ("room", 2, 10), ("global", 2, 50),
    ("user", 4, 2), ("directory", 4, 10), ("room", 4, 50),
)  # fmt: skip
"""Routing, gateways, members of a room: each number of gateways with each size of rooms."""


@dataclass(frozen=True, slots=True)
class Edge:
    """The largest load that was ``carried`` and the smallest that was not, in messages per second; infinite: none."""

    carried_per_s: float
    saturated_per_s: float

    @property
    def per_s(self) -> float:
        """The saturation load; NaN where no load was too much."""
        return math.sqrt(self.carried_per_s * self.saturated_per_s) if math.isfinite(self.saturated_per_s) else math.nan

    @property
    def spread(self) -> float:
        """Half of what lies between the two, of their middle."""
        return (self.saturated_per_s - self.carried_per_s) / 2 / self.per_s


def carried_share(outcome: Outcome) -> float:
    """Deliveries carried in the second half of the duration, of those due in it: of messages written in it."""
    end_s = outcome.world.duration_s
    table = outcome.deliveries
    written_s = outcome.messages["time_s"][table["message"]]
    due = (written_s >= end_s / 2) & (written_s < end_s) & (table["fate"] != Fate.MISSED)
    there_s = table["time_s"][table["fate"] == Fate.DELIVERED]
    carried = int(((there_s >= end_s / 2) & (there_s < end_s)).sum())
    return carried / int(due.sum()) if due.any() else 1.0


def search(first_per_s: float, carries: Callable[[float], bool]) -> Edge:
    """The edge between loads that are carried and loads that are not, sought from a first one.

    >>> edge = search(100.0, lambda per_s: per_s < 1000.0)
    >>> edge.carried_per_s < 1000.0 <= edge.saturated_per_s < 1.06 * edge.carried_per_s
    True
    """
    per_s = rounded(first_per_s)
    low, high = 0.0, math.inf
    for _ in range(STEPS_MOST):
        if carries(per_s):
            low = per_s
        else:
            high = per_s
        if low and math.isfinite(high):
            break
        per_s = rounded(per_s * STEP if low else per_s / STEP)
    for _ in range(HALVINGS if low and math.isfinite(high) else 0):
        per_s = rounded(math.sqrt(low * high))
        if carries(per_s):
            low = per_s
        else:
            high = per_s
    return Edge(low, high)


def parted(runs: Sequence[tuple[float, float]]) -> Edge:
    """The edge of some runs: the load of each, and the share that it carried, which must not rise with the load.

    >>> parted([(100.0, 1.0), (150.0, 1.0), (130.0, 0.92), (170.0, 0.97), (200.0, 0.7)])
    Edge(carried_per_s=170.0, saturated_per_s=200.0)
    """
    ordered = sorted(runs)
    shares = isotonic_regression([min(1.0, share) for _, share in ordered], increasing=False).x if ordered else ()
    loads = [(per_s, share >= CARRIED) for (per_s, _), share in zip(ordered, shares, strict=True)]
    low = max((per_s for per_s, carried in loads if carried), default=0.0)
    return Edge(low, min((per_s for per_s, carried in loads if not carried), default=math.inf))


def rounded(per_s: float) -> float:
    """A load in three digits: runs are known by it.

    >>> rounded(1234.5)
    1230.0
    """
    return float(f"{per_s:.3g}")


def measured_edge(
    routing: str, gateways: int, members: int, costs: str, lab: Lab
) -> tuple[Edge, Figures, str, list[Kept]]:
    """The edge of a design, the figures of the hardest run that says anything, what bound it, and all runs that do."""
    found: list[tuple[float, Kept]] = []

    def carries(per_s: float) -> bool:
        point = point_of(routing, gateways, members, per_s)
        kept = lab.kept(f"saturation: {point}, {SECONDS:g} s", lambda: lived(point, costs), LATE_MS)
        carried = kept.figures["carried_share"] >= CARRIED
        if carried or not kept.disturbed:
            found.append((per_s, kept))
        return carried

    search(first_per_s(members), carries)
    lower = min((per_s for per_s, _ in found), default=0.0)
    for _ in range(STEPS_MOST if lower else 0):
        if _edge_of(found).carried_per_s:
            break
        lower = rounded(lower / STEP)  # runs that contradict each other may leave the edge below them all
        carries(lower)
    runs, edge = [kept for _, kept in found], _edge_of(found)
    seen = max((kept.figures for kept in runs), key=lambda one: one["gateway_cores"], default={})
    return edge, seen, bound_by(seen, gateways) if math.isfinite(edge.saturated_per_s) else "disturbed", runs


def _edge_of(found: Sequence[tuple[float, Kept]]) -> Edge:
    """The edge of runs at their loads, all brought to their mean pace."""
    pace_us = mean_pace_us([kept for _, kept in found])
    return parted([(per_s * stretch(pace_of(kept), pace_us), kept.figures["carried_share"]) for per_s, kept in found])


def first_per_s(members: int) -> float:
    """Where a search on real processes begins: no profile is asked, so that none changes which runs are made."""
    return 30_000.0 / (members + 8)


def point_of(routing: str, gateways: int, members: int, per_s: float) -> Point:
    """The point of a design at a load."""
    return Point(routing, gateways, members, USERS // members, per_s, SECONDS)


def lived(point: Point, costs: str) -> Figures:
    """The figures of a live run, and what it carried."""
    run = live(with_costs(scenario_of(point), costs), world_of(point, SEED))
    return {**figures_of(run), "carried_share": carried_share(run.outcome)}


def bound_by(figures: Figures, gateways: int) -> str:
    """What has no more to give at the edge."""
    if not figures:
        return "unknown"
    if figures["broker_cores"] >= FULL_SHARE:
        return "broker"
    if figures["gateway_cores"] >= FULL_SHARE * gateways:
        return "gateways"
    return "machine" if gateways + 2 > (os.cpu_count() or 1) else "unknown"


def predicted_edge(routing: str, gateways: int, members: int, costs: str, slower: float = 1.0) -> tuple[Edge, str]:
    """The edge in simulations, on as much of the cores as a system gets that wants all; and the tier that is busiest
    there."""
    busy: dict[float, dict[str, float]] = {}
    stretched = slower / machine_of(costs).granted

    def carries(per_s: float) -> bool:
        point = point_of(routing, gateways, members, per_s)
        outcome = simulate(at_pace(with_costs(scenario_of(point), costs), stretched), world_of(point, SEED))
        busy[per_s] = cpu_share(outcome)
        return carried_share(outcome) >= CARRIED

    tiers = tiers_of(point_of(routing, gateways, members, 100.0), costs)
    start = min(100.0 / math.sqrt(one.utilisation_idle * one.utilisation_batched) for one in tiers
                if one.utilisation_batched)  # fmt: skip
    edge = search(start, carries)
    there = busy.get(edge.carried_per_s, {"gateway": math.nan, "broker": math.nan})
    return edge, "broker" if there["broker"] > there["gateway"] / gateways else "gateways"


def table_of(costs: str, lab: Lab, designs: tuple[tuple[str, int, int], ...] = DESIGNS) -> pd.DataFrame:
    """A row per design: saturation load predicted by the engine and measured, in messages per second, ``error`` and
    ``spread`` as shares of it, what binds, cores busy there; and the two bounds of ``estimate``. Where no load that
    the client could offer was too much, ``measured`` is NaN, and ``at_least`` what was carried."""
    rows = []
    for routing, gateways, members in designs:
        edge, seen, bound, runs = measured_edge(routing, gateways, members, costs, lab)
        said, binds = predicted_edge(routing, gateways, members, costs, slower_than(costs, runs))
        tiers = tiers_of(point_of(routing, gateways, members, 100.0), costs)
        bounds = [
            100.0 / max(getattr(tier, name) for tier in tiers) for name in ("utilisation_idle", "utilisation_batched")
        ]
        rows.append(
            {
                "design": f"{routing}, {gateways} gateway{'s' * (gateways > 1)}, rooms of {members}",
                "predicted": said.per_s, "measured": edge.per_s, "at_least": edge.carried_per_s,
                "error": share(said.per_s, edge.per_s) - 1, "spread": edge.spread, "predicted_binds": binds,
                "binds": bound, "gateway_cores": seen.get("gateway_cores", math.nan),
                "broker_cores": seen.get("broker_cores", math.nan), "estimate_no_batches": bounds[0],
                "estimate_full_batches": bounds[1],
            }
        )  # fmt: skip
    return pd.DataFrame(rows)
