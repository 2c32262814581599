"""The load at which a design saturates, measured and predicted by one search and one rule.

More comes than can be carried, and is followed until the last of it is there: the messages over the time that took are
what the design carries at most. Where the backlog *begins* to grow is a worse mark: on a machine whose pace changes,
the second half of a run carries what the first has left, or leaves what the first would have carried, and edges found
that way an hour apart differed by up to half. A whole run is a mean over all its spells.

The load rises by STEP until it is too much, and then stands at BEYOND times what was carried until RUNS runs have said
what they carry. A machine that is now so many times as slow carries so much less, so all are brought to their mean
pace; the saturation load is their median. A disturbed run, and one of which not all came, says nothing of it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from chatsim.engine import simulate
from chatsim.engine.outcome import Fate, Outcome
from chatsim.live.comparing import cpu_share
from chatsim.live.diary import Figures
from chatsim.live.grids import Point, scenario_of, world_of
from chatsim.live.lab import Kept, Lab, figures_of, mean_pace_us, middle, pace_of, slower_than
from chatsim.live.pace import stretch
from chatsim.live.run import live
from chatsim.live.twin import at_pace, machine_of
from chatsim.live.validation import SEED, USERS, share, tiers_of, with_costs
from chatsim.scenario import Scenario

SECONDS, DRAIN_S = 6.0, 6.0
"""How long messages come, and how long is waited for the rest: up to twice what can be carried is all there then."""
SPILLS = 1.05
"""A load is too much where the last delivery comes after so many times the duration."""
WHOLE = 0.99
STEP, BEYOND, RUNS, RUNS_MOST = 2.0, 1.35, 5, 16
LATE_MS = 60.0
"""So late may the load client be, one hundredth of a run: latency is not looked at here."""
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
Design = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Run:
    """A load that was offered, in messages per second; what came of it: messages over the time until the last was
    there; whether the load was ``too_much``; and whether the run ``tells`` what is carried at most."""

    per_s: float
    carried_per_s: float
    too_much: bool
    tells: bool


def carried(outcome: Outcome) -> Figures:
    """``carried_per_s``, messages over the time until the last delivery; ``spill``, that time over the duration; and
    ``came``, the share of deliveries due that are there in the end."""
    table, duration_s = outcome.deliveries, outcome.world.duration_s
    there_s = table["time_s"][table["fate"] == Fate.DELIVERED]
    due = int((table["fate"] != Fate.MISSED).sum())
    last_s = max(duration_s, float(there_s.max())) if len(there_s) else math.inf
    came = len(there_s) / due if due else 1.0
    per_s = came * len(outcome.messages["time_s"]) / last_s
    return {"carried_per_s": per_s, "spill": last_s / duration_s, "came": came}


def run_of(per_s: float, figures: Figures, disturbed: bool = False) -> Run:
    """What a run says.

    >>> run_of(100.0, {"carried_per_s": 80.0, "spill": 1.25, "came": 1.0})
    Run(per_s=100.0, carried_per_s=80.0, too_much=True, tells=True)
    """
    spills, whole = figures["spill"] > SPILLS, figures["came"] >= WHOLE
    return Run(per_s, figures["carried_per_s"], spills or not whole, spills and whole and not disturbed)


def next_per_s(first_per_s: float, runs: Sequence[Run]) -> float:
    """The load of the next run, after some.

    >>> next_per_s(100.0, [])
    100.0
    >>> next_per_s(100.0, [Run(100.0, 100.0, False, False)])
    200.0
    >>> next_per_s(100.0, [Run(100.0, 100.0, False, False), Run(200.0, 120.0, True, True)])
    162.0
    """
    if not runs:
        return rounded(first_per_s)
    told = [run.carried_per_s for run in runs if run.tells]
    if not runs[-1].too_much:
        return rounded((BEYOND if told else STEP) * runs[-1].per_s)
    return rounded(BEYOND * float(np.median(told or [runs[-1].carried_per_s])))


def is_over(runs: Sequence[Run], wanted: int) -> bool:
    """Whether no more runs are needed, or are of use."""
    return sum(run.tells for run in runs) >= wanted or len(runs) >= RUNS_MOST


def search(first_per_s: float, carry: Callable[[float], Run], wanted: int) -> list[Run]:
    """Runs until so many as ``wanted`` say what is carried at most; RUNS_MOST at most.

    >>> runs = search(100.0, lambda per_s: Run(per_s, min(per_s, 1000.0), per_s > 1050.0, per_s > 1050.0), 2)
    >>> [(run.per_s, run.carried_per_s) for run in runs[-2:]]
    [(1600.0, 1000.0), (1350.0, 1000.0)]
    """
    runs: list[Run] = []
    while not is_over(runs, wanted):
        runs.append(carry(next_per_s(first_per_s, runs)))
    return runs


def rounded(per_s: float) -> float:
    """A load in three digits: runs are known by it.

    >>> rounded(1234.5)
    1230.0
    """
    return float(f"{per_s:.3g}")


def point_of(design: Design, per_s: float) -> Point:
    """The point of a design at a load."""
    routing, gateways, members = design
    return Point(routing, gateways, members, USERS // members, per_s, SECONDS)


def scenario_at(point: Point, costs: str) -> Scenario:
    """Its scenario, which waits for what has not come yet."""
    scenario = with_costs(scenario_of(point), costs)
    return scenario.model_copy(update={"workload": scenario.workload.model_copy(update={"drain_s": DRAIN_S})})


def lived(point: Point, costs: str) -> Figures:
    """The figures of a live run, and what it carried."""
    run = live(scenario_at(point, costs), world_of(point, SEED))
    return {**figures_of(run), **carried(run.outcome)}


@dataclass(frozen=True, slots=True)
class Measured:
    """The runs of a design, each with what it says."""

    design: Design
    kept: list[Kept]
    runs: list[Run]

    @property
    def telling(self) -> list[Kept]:
        """The runs that tell what is carried at most."""
        return [kept for kept, run in zip(self.kept, self.runs, strict=True) if run.tells]

    @property
    def at_least_per_s(self) -> float:
        """The largest load that was carried as it came."""
        return max((run.per_s for run in self.runs if not run.too_much), default=0.0)

    def load(self) -> tuple[float, float]:
        """The saturation load and its spread, half the range over it, at the mean pace of the runs that tell it; NaN
        where none does."""
        pace_us = mean_pace_us(self.telling)
        if not self.telling:
            return math.nan, math.nan
        told = [kept.figures["carried_per_s"] * stretch(pace_of(kept), pace_us) for kept in self.telling]
        value, half = middle(told)
        return value, half / value

    def more(self, costs: str, lab: Lab) -> None:
        """Makes the next run."""
        per_s = next_per_s(first_per_s(self.design), self.runs)
        point = point_of(self.design, per_s)
        key = f"saturation: {point}, {SECONDS:g} + {DRAIN_S:g} s, run {len(self.runs) + 1}"
        kept = lab.kept(key, lambda: lived(point, costs), LATE_MS)
        self.kept.append(kept)
        self.runs.append(run_of(per_s, kept.figures, kept.disturbed))


def measured(designs: Sequence[Design], costs: str, lab: Lab) -> list[Measured]:
    """The saturation loads of designs: a run of each by turns, so that what disturbs the machine for a while disturbs
    all alike."""
    found = [Measured(design, [], []) for design in designs]
    while left := [one for one in found if not is_over(one.runs, RUNS)]:
        for one in left:
            one.more(costs, lab)
    return found


def first_per_s(design: Design) -> float:
    """Where a search on real processes begins: no profile is asked, so that none changes which runs are made."""
    return 20_000.0 / (design[2] + 8)


def bound_by(figures: Figures, gateways: int) -> str:
    """What has no more to give at saturation."""
    if figures["broker_cores"] >= FULL_SHARE:
        return "broker"
    if figures["gateway_cores"] >= FULL_SHARE * gateways:
        return "gateways"
    return "machine" if gateways + 2 > (os.cpu_count() or 1) else "unknown"


def predicted(design: Design, costs: str, slower: float = 1.0) -> tuple[float, str]:
    """The saturation load in simulations, on as much of the cores as a system gets that wants all; and the tier that is
    busiest there."""
    busy: dict[str, float] = {"gateway": math.nan, "broker": math.nan}
    stretched = slower / machine_of(costs).granted

    def carry(per_s: float) -> Run:
        point = point_of(design, per_s)
        outcome = simulate(at_pace(scenario_at(point, costs), stretched), world_of(point, SEED))
        busy.update(cpu_share(outcome))
        return run_of(per_s, carried(outcome))

    tiers = tiers_of(point_of(design, 100.0), costs)
    start = min(100.0 / math.sqrt(one.utilisation_idle * one.utilisation_batched) for one in tiers
                if one.utilisation_batched)  # fmt: skip
    runs = search(start, carry, wanted=2)  # the first may stand at twice what is carried, the second does not
    per_s = runs[-1].carried_per_s if runs[-1].tells else math.nan
    return per_s, "broker" if busy["broker"] > busy["gateway"] / design[1] else "gateways"


def table_of(costs: str, lab: Lab, designs: tuple[Design, ...] = DESIGNS) -> pd.DataFrame:
    """A row per design: saturation load predicted by the engine and measured, in messages per second, ``error`` and
    ``spread`` as shares of it, by how many ``runs``, what binds, cores busy there; and the two bounds of ``estimate``.
    Where no load that the client could offer was too much, ``measured`` is NaN, and ``at_least`` what was carried."""
    return pd.DataFrame([_row(one, costs) for one in measured(designs, costs, lab)])


def _row(found: Measured, costs: str) -> dict[str, object]:
    routing, gateways, members = found.design
    seen = max((kept.figures for kept in found.telling or found.kept), key=lambda one: one["gateway_cores"])
    value, spread = found.load()
    said, binds = predicted(found.design, costs, slower_than(costs, found.telling or found.kept))
    tiers = tiers_of(point_of(found.design, 100.0), costs)
    bounds = {name: 100.0 / max(getattr(tier, f"utilisation_{name}") for tier in tiers) for name in ("idle", "batched")}
    return {
        "design": f"{routing}, {gateways} gateway{'s' * (gateways > 1)}, rooms of {members}",
        "predicted": said, "measured": value, "at_least": found.at_least_per_s, "error": share(said, value) - 1,
        "spread": spread, "runs": len(found.telling), "predicted_binds": binds,
        "binds": bound_by(seen, gateways) if found.telling else "disturbed", "gateway_cores": seen["gateway_cores"],
        "broker_cores": seen["broker_cores"], "estimate_no_batches": bounds["idle"],
        "estimate_full_batches": bounds["batched"],
    }  # fmt: skip
