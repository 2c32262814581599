"""Utilisation, saturation and errors over time, resource by resource: Brendan Gregg's USE method for a simulated run.

Saturation is the queue. An error counts where its cause says that it happened.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from chatsim.analysis.columns import Bools, Floats, Longs, floats, longs
from chatsim.analysis.recovery import losses
from chatsim.analysis.stations import TIERS, bin_edges_s, station_timeline, tier_of
from chatsim.engine.outcome import Cause, FaultKind, Outcome, SessionFate

LOGINS = "logins"
OF_GATEWAYS = (Cause.CRASHED, Cause.OUTBOUND_FULL, Cause.NOT_JOINED)
OF_BROKER = (Cause.BROKER_DOWN, Cause.CUT_OFF, Cause.TRIMMED)
LOST_ALONE = (Cause.OUTBOUND_FULL, Cause.NOT_JOINED, Cause.TRIMMED, Cause.UNAVAILABLE)
"""What no row of ``breaks`` tells of, so that losses must."""
DATABASE_FAULTS = (FaultKind.DATABASE_DOWN, FaultKind.SLOW)


def use_over_time(outcome: Outcome, bin_s: float) -> pd.DataFrame:
    """One row per station and bin of [0, duration_s]: station, tier, start_s, end_s, utilisation (0 to 1),
    queue_items (the longest queue: as a tick finds it, or where that is more the mean of the bin)."""
    table = station_timeline(outcome, bin_s)
    longest = table[["largest_queue_items", "mean_queue_items"]].max(axis=1)
    return table[["station", "tier", "start_s", "end_s", "utilisation"]].assign(queue_items=longest)


def errors_over_time(outcome: Outcome, bin_s: float) -> pd.DataFrame:
    """One row per place of errors (a tier, or "logins") and bin of [0, duration_s]: place, start_s, end_s, errors."""
    edges_s = bin_edges_s(outcome.world.duration_s, bin_s)
    parts = [
        pd.DataFrame(
            {"place": place, "start_s": edges_s[:-1], "end_s": edges_s[1:], "errors": np.histogram(at_s, edges_s)[0]}
        )
        for place, at_s in errors_s(outcome).items()
    ]
    return pd.concat(parts, ignore_index=True)


def errors_s(outcome: Outcome) -> dict[str, Floats]:
    """When errors happened, by place.

    Errors of a gateway are sessions that it cut, and messages that died with it or that it dropped (a full outbound
    queue, a new room not joined); of the broker, messages that found it gone or their gateway cut off, and those that
    fell off a full history; of the database, or where no fault has that, of the broker, messages refused because it did
    not answer. "logins" are those that failed or were refused, wherever that was. A message counts once for each of
    its carriers that a fault stopped, or else for each recipient. What its sender, its recipient or a limit has brought
    about is no error.
    """
    gone, breaks = losses(outcome), outcome.breaks
    alone = np.isin(gone["cause"], LOST_ALONE)
    cause = np.concatenate([longs(breaks, "cause"), gone["cause"].to_numpy()[alone]])
    at_s = np.concatenate([floats(breaks, "time_s"), gone["time_s"].to_numpy()[alone]])
    unavailable, by_database = cause == Cause.UNAVAILABLE, _database_is_struck(outcome, at_s)
    found = {
        "gateway": np.isin(cause, OF_GATEWAYS),
        "broker": np.isin(cause, OF_BROKER) | (unavailable & ~by_database),
        "database": unavailable & by_database,
    }
    present = {tier_of(name) for name in outcome.stations}
    times = {tier: np.sort(at_s[found[tier]]) for tier in TIERS if tier in present}
    times["gateway"] = np.sort(np.concatenate([times["gateway"], _cut_s(outcome)]))
    return {**times, LOGINS: _failed_logins_s(outcome)}


def _cut_s(outcome: Outcome) -> Floats:
    cut_s = floats(outcome.sessions, "cut_s")[longs(outcome.sessions, "fate") == SessionFate.CUT]
    known_s: Floats = cut_s[np.isfinite(cut_s)]
    return known_s


def _failed_logins_s(outcome: Outcome) -> Floats:
    fate: Longs = longs(outcome.sessions, "fate")
    return np.sort(floats(outcome.sessions, "start_s")[np.isin(fate, (SessionFate.FAILED, SessionFate.REFUSED))])


def _database_is_struck(outcome: Outcome, at_s: Floats) -> Bools:
    """Whether a fault had the database at each time; always, where there is no broker that could be meant."""
    table = outcome.faults
    its = (longs(table, "station") == outcome.stations.index("database")) & np.isin(
        longs(table, "kind"), DATABASE_FAULTS
    )
    struck = np.full(len(at_s), not outcome.scenario.has_broker)
    for start_s, end_s in zip(floats(table, "start_s")[its], floats(table, "end_s")[its], strict=True):
        struck |= (at_s >= start_s) & ~(at_s >= end_s)
    return struck
