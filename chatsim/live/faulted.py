"""Faults in the twin and in its prediction: a gateway is killed, Redis is killed and started again.

How long Redis is away is nothing that chatsim predicts (a process takes its time to start): the simulation is given
what was measured. What it predicts is what the fault does: who has messages live, who later, what is lost, and when all
is well again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from chatsim.analysis.flow import recipient_ends
from chatsim.analysis.recovery import recovery, relief_s
from chatsim.engine import simulate
from chatsim.engine.outcome import Fate, Outcome
from chatsim.live.diary import Figures
from chatsim.live.grids import Point, scenario_of, world_of
from chatsim.live.lab import Kept, Lab, figures_of, middle, slower_than
from chatsim.live.run import live
from chatsim.live.twin import at_pace, lay_over
from chatsim.live.validation import SEED, USERS, rate, with_costs
from chatsim.scenario import Scenario
from chatsim.scenario.load import validate as validated

AT_S, AWAY_S, SECONDS, DRAIN_S = 2.0, 0.5, 6.0, 1.5
LOAD = 0.3
KILLED, RESTARTED = "gateway killed", "Redis restarted"
FIGURES = {
    "live_share": "%", "late_share": "%", "lost_share": "%", "broken_s": "s", "back_s": "s",
}  # fmt: skip
"""Message x recipient: live, later, lost or refused; from the strike until the last message was written that somebody
had not live; from the cut until all sessions were back."""


@dataclass(frozen=True, slots=True)
class Struck:
    """A configuration and what strikes it; ``stored``: messages are stored first, and read at the next login."""

    kind: str
    routing: str
    gateways: int
    members: int
    stored: bool

    def __str__(self) -> str:
        many = f"{self.gateways} gateway{'s' * (self.gateways > 1)}"
        return f"{self.kind}: {self.routing}, {many}, rooms of {self.members}{', stored' * self.stored}"


STRUCK = (
    Struck(KILLED, "room", 2, 10, stored=False),
    Struck(KILLED, "global", 4, 2, stored=True),
    Struck(KILLED, "directory", 4, 10, stored=True),
    Struck(RESTARTED, "room", 1, 10, stored=True),
    Struck(RESTARTED, "global", 2, 2, stored=False),
    Struck(RESTARTED, "user", 4, 10, stored=False),
)


def point_of(struck: Struck, costs: str) -> Point:
    """The point that is struck."""
    per_s = rate(struck.routing, struck.gateways, struck.members, LOAD, costs)
    return Point(struck.routing, struck.gateways, struck.members, USERS // struck.members, per_s, SECONDS)


def scenario_with(struck: Struck, point: Point, costs: str, away_s: float = AWAY_S) -> Scenario:
    """The scenario of a point, with its fault, and clients that come back within a second."""
    table = with_costs(scenario_of(point), costs).model_dump(mode="json")
    fault = (
        {"kind": "gateway_crash", "at_s": AT_S, "for_s": 0.0, "stations": ["gateway-0"]}
        if struck.kind == KILLED
        else {"kind": "broker_down", "at_s": AT_S, "for_s": away_s, "keeps_data": struck.stored}
    )
    over = {
        "client": {"reconnect": "full_jitter", "reconnect_s": 0.5, "reconnect_max_s": 1.0},
        "balancer": {"notice_s": 0.1}, "gateway": {"broker_retry_s": 0.1}, "workload": {"drain_s": DRAIN_S},
        "design": {"store": "before", "store_in": "broker", "offline": "store"} if struck.stored else {},
    }  # fmt: skip
    lay_over(table, over)
    return validated({**{key: value for key, value in table.items() if value or key != "hosts"}, "faults": [fault]})


def lived(struck: Struck, point: Point, costs: str) -> Figures:
    """What the fault did on real processes, and how long the process was away."""
    run = live(scenario_with(struck, point, costs), world_of(point, SEED))
    found = figures_of(run)
    return {**{name: found[name] for name in ("late_ms", "others_cores", "probe_us")}, **effects(run.outcome)}


def predicted(struck: Struck, point: Point, costs: str, away_s: float, slower: float = 1.0) -> Figures:
    """What it does in the simulation, where the process is away as long as it was measured to be."""
    away_s = away_s if math.isfinite(away_s) else AWAY_S
    return effects(simulate(at_pace(scenario_with(struck, point, costs, away_s), slower), world_of(point, SEED)))


def effects(outcome: Outcome) -> Figures:
    """The figures of a fault, by name, and ``away_s``."""
    ends = recipient_ends(outcome)
    figures = recovery(outcome)
    first_s = float(figures["first_strike_s"])
    return {
        "live_share": float(ends["live_share"]),
        "late_share": float(ends["kept_share"]),
        "lost_share": float(ends["lost_share"] + ends["refused_share"]),
        "broken_s": max(0.0, _last_not_live_s(outcome) - first_s),
        "back_s": float(figures["back_all_s"]),
        "away_s": relief_s(outcome) - first_s,
    }


def _last_not_live_s(outcome: Outcome) -> float:
    """When the last message was written that somebody for whom it was meant had not live, and not because it was still
    under way at the end; -infinite where there is none."""
    table = outcome.deliveries
    missed = np.isin(table["fate"], (Fate.LOST, Fate.REFUSED, Fate.READ_LATER, Fate.STORED))
    return float(outcome.messages["time_s"][table["message"][missed]].max(initial=-np.inf))


def table_of(costs: str, repeats: int, lab: Lab, struck: Sequence[Struck] = STRUCK) -> pd.DataFrame:
    """A row per configuration and figure: predicted, measured (median of the repeats), ``difference``, and ``spread``,
    half the range of the repeats, in the figure's own unit; shares are in percent, differences of them in points."""
    plan = [(one, point_of(one, costs)) for one in struck]
    runs: list[list[Kept]] = [[] for _ in plan]
    for again in range(repeats):
        for place, (one, point) in enumerate(plan):
            key = f"{one}, {point.per_s:g}/s, {point.seconds:g} s, run {again + 1}"
            runs[place].append(lab.kept(key, partial(lived, one, point, costs)))
    rows = []
    for (one, point), kept in zip(plan, runs, strict=True):
        away_s, _ = middle([each.figures["away_s"] for each in kept])
        known_s = away_s if one.kind == RESTARTED else math.nan
        said = predicted(one, point, costs, known_s, slower_than(costs, kept))
        for name, unit in FIGURES.items():
            factor = 100.0 if unit == "%" else 1.0
            value, half = middle([factor * each.figures[name] for each in kept])
            rows.append(
                {
                    "struck": str(one), "per_s": point.per_s, "away_s": away_s, "figure": name, "unit": unit,
                    "predicted": factor * said[name], "measured": value, "difference": factor * said[name] - value,
                    "spread": half, "discarded": sum(each.discarded for each in kept),
                    "disturbed": sum(each.disturbed for each in kept),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)
