"""A live run beside the simulation of the same scenario on the same world."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from chatsim.analysis.flow import recipient_ends
from chatsim.analysis.latency import latency_ms, logins, percentiles
from chatsim.analysis.stations import TIERS, stations, tier_of
from chatsim.engine.outcome import Fate, Outcome
from chatsim.live.run import LiveRun
from chatsim.live.sending import latency_from_sending_ms

LATENCIES = ("p50_ms", "p90_ms", "p99_ms")
ENDS = {
    "live_share": "recipients who have it live",
    "kept_share": "recipients for whom it is kept",
    "lost_share": "recipients for whom it is lost",
    "refused_share": "recipients of what was refused",
}


@dataclass(frozen=True, slots=True)
class Agreement:
    """Who got what: message x recipient that both runs, or one of the two alone, brought to somebody."""

    both: int
    measured_only: int
    predicted_only: int


def agreement(measured: Outcome, predicted: Outcome) -> Agreement:
    """Counts message x recipient who has it, in the end: live, read later, or overheard."""
    here, there = had(measured), had(predicted)
    return Agreement(len(here & there), len(here - there), len(there - here))


def had(outcome: Outcome) -> set[tuple[int, int]]:
    """Message x user who has it."""
    table = outcome.deliveries
    got = np.isin(table["fate"], (Fate.DELIVERED, Fate.READ_LATER, Fate.OVERHEARD, Fate.COPY))
    return set(zip(table["message"][got].tolist(), table["recipient"][got].tolist(), strict=True))


def cpu_share(outcome: Outcome) -> dict[str, float]:
    """How many cores each tier has kept busy, over the duration."""
    table = stations(outcome)
    busy = table["utilisation"] * table["cores"]
    return {tier: float(busy[table["tier"] == tier].sum()) for tier in TIERS}


def compare(measured: LiveRun, predicted: Outcome) -> pd.DataFrame:
    """One row per figure: figure, unit, predicted, measured, error (predicted / measured - 1; NaN where none is).

    Latencies in ms, CPU as cores kept busy by each tier, ends of message x recipient as shares.
    """
    outcome = measured.outcome
    said = percentiles(latency_ms(predicted))
    seen = percentiles(latency_from_sending_ms(measured))
    rows = [(f"latency {name.removesuffix('_ms')}", "ms", said[name], seen[name]) for name in LATENCIES]
    busy = cpu_share(predicted)
    for tier in ("gateway", "broker"):
        used_s = sum(used for station, used in measured.cpu_s.items() if tier_of(station) == tier)
        rows.append((f"{tier}s busy", "cores", busy[tier], used_s / outcome.world.duration_s))
    logins_ms = [float(logins(one)["p50_ms"]) for one in (predicted, outcome)]
    rows.append(("login p50", "ms", logins_ms[0], logins_ms[1]))
    ends, ended = recipient_ends(predicted), recipient_ends(outcome)
    rows += [(words, "%", 100 * ends[name], 100 * ended[name]) for name, words in ENDS.items()]
    table = pd.DataFrame(rows, columns=["figure", "unit", "predicted", "measured"])
    table["error"] = [
        one / other - 1 if other and not math.isnan(other) else math.nan
        for one, other in zip(table["predicted"], table["measured"], strict=True)
    ]
    return table
