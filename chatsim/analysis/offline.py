"""What comes to those who are away: how long until it is read, and what pushes are worth."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from chatsim.analysis.columns import floats, longs
from chatsim.engine.outcome import Fate, Outcome, PushFate

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def time_to_read(outcome: Outcome) -> pd.DataFrame:
    """From sending to the first session of each recipient that has the message: live, later, and either way.

    Columns: how, count, mean_s, p50_s, p90_s, p99_s. One that nobody has read is in no row.
    """
    table = outcome.deliveries
    fate = longs(table, "fate")
    got = np.isin(fate, (Fate.DELIVERED, Fate.READ_LATER))
    message = longs(table, "message")[got]
    rows = pd.DataFrame(
        {
            "message": message,
            "recipient": longs(table, "recipient")[got],
            "later": fate[got] == Fate.READ_LATER,
            "after_s": floats(table, "time_s")[got] - floats(outcome.messages, "time_s")[message],
        }
    )
    first = rows.sort_values("after_s", kind="stable").drop_duplicates(["message", "recipient"])
    parts = {"live": first[~first["later"]], "later": first[first["later"]], "either way": first}
    return pd.DataFrame([{"how": how, **_spread(part["after_s"].to_numpy())} for how, part in parts.items()])


def pushes(outcome: Outcome) -> pd.Series:
    """Pushes in one row: due; sent (taken by the provider); refusals (tries that were not); arrived; delay_s_p50 and
    delay_s_p99 from due to the device; brought_back, ignored, wasted, and their shares of those arrived."""
    table = outcome.pushes
    fate = longs(table, "fate")
    arrived = np.isfinite(floats(table, "arrived_s"))
    sent = np.isfinite(floats(table, "sent_s"))
    delay_s = (floats(table, "arrived_s") - floats(table, "due_s"))[arrived]
    ends = {"brought_back": PushFate.BROUGHT_BACK, "ignored": PushFate.IGNORED, "wasted": PushFate.WASTED}
    counts = {name: int((fate == end).sum()) for name, end in ends.items()}
    came = int(arrived.sum())
    return pd.Series(
        {
            "due": len(fate),
            "sent": int(sent.sum()),
            "refusals": int(longs(table, "tries").sum() - sent.sum()),
            "arrived": came,
            "delay_s_p50": float(np.quantile(delay_s, 0.5)) if came else math.nan,
            "delay_s_p99": float(np.quantile(delay_s, 0.99)) if came else math.nan,
            **counts,
            **{f"{name}_share": count / came if came else math.nan for name, count in counts.items()},
        },
        dtype=object,
    )


def devices(outcome: Outcome) -> pd.Series:
    """Several sessions of one user: how often a message came to more than one, and what is known of reading.

    recipients: message x recipient that some session has; twice: of these, that more than one session has;
    copies: to other sessions of senders; duplicates: that a session had already; receipts: deliveries of which the
    sender knows; receipt_s_p50: from the delivery to the sender's knowing.
    """
    table = outcome.deliveries
    fate = longs(table, "fate")
    got = np.isin(fate, (Fate.DELIVERED, Fate.READ_LATER))
    key = longs(table, "message")[got] * outcome.world.users + longs(table, "recipient")[got]
    times = np.unique(key, return_counts=True)[1]
    known_s = floats(table, "receipt_s") - floats(table, "time_s")
    known_s = known_s[np.isfinite(known_s)]
    return pd.Series(
        {
            "recipients": len(times),
            "twice": int((times > 1).sum()),
            "copies": int((fate == Fate.COPY).sum()),
            "duplicates": int((fate == Fate.DUPLICATE).sum()),
            "receipts": len(known_s),
            "receipt_s_p50": float(np.quantile(known_s, 0.5)) if len(known_s) else math.nan,
        },
        dtype=object,
    )


def _spread(after_s: np.ndarray) -> dict[str, float]:
    if not len(after_s):
        return {"count": 0, "mean_s": math.nan, **{f"{name}_s": math.nan for name in QUANTILES}}
    quantiles = {f"{name}_s": float(np.quantile(after_s, share)) for name, share in QUANTILES.items()}
    return {"count": len(after_s), "mean_s": float(after_s.mean()), **quantiles}
