"""How long deliveries and logins took, by percentile.

A percentile is the smallest value that at least that share of the samples does not exceed. It is given only where at
least one sample is to be expected beyond it, n (1 - q) >= 1: p50 needs 2 samples, p90 10, p95 20, p99 100 and p99.9
1000. With fewer it is NaN, because it would only repeat the maximum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from chatsim.analysis.columns import Bools, Floats, Longs, divided, floats, is_delivered, longs
from chatsim.engine.outcome import Outcome, SessionFate

By = Literal["all", "local", "room_size"]

PERCENTILES = {"p50_ms": 0.5, "p90_ms": 0.9, "p95_ms": 0.95, "p99_ms": 0.99, "p999_ms": 0.999}
ROOM_SIZES = {"2": 2, "3-5": 5, "6-10": 10, "11-50": 50, "51+": math.inf}
CURVE_POINTS = 400
PATH_STEPS = 100


def least_samples(share: float) -> int:
    """How many samples the percentile of this share (0 to 1) needs.

    >>> [least_samples(share) for share in (0.5, 0.9, 0.99, 0.999)]
    [2, 10, 100, 1000]
    """
    return math.ceil(1 / (1 - share) - 1e-6)


def percentiles(values_ms: npt.ArrayLike) -> dict[str, float]:
    """Count, percentiles, mean and maximum of samples in ms; NaN where there are too few (see the module).

    >>> figures = percentiles([10.0, 20.0, 30.0])
    >>> figures["count"], figures["p50_ms"], figures["p90_ms"], figures["mean_ms"]
    (3, 20.0, nan, 20.0)
    """
    ordered = np.sort(np.asarray(values_ms, dtype=np.float64))
    n = len(ordered)
    figures: dict[str, float] = {"count": n}
    for name, share in PERCENTILES.items():
        figures[name] = float(ordered[rank(share, n) - 1]) if n >= least_samples(share) else math.nan
    figures["mean_ms"] = float(ordered.mean()) if n else math.nan
    figures["max_ms"] = float(ordered[-1]) if n else math.nan
    return figures


def latency_ms(outcome: Outcome) -> Floats:
    """Latency of every live delivery, in ms, in the order of ``deliveries``.

    It counts from the moment at which the sender wrote the message, not from when the system took it, so that a system
    that falls behind cannot hide it (no coordinated omission).
    """
    return _latency_ms(outcome, _delivered(outcome))


def latency_path(outcome: Outcome, steps: int = PATH_STEPS) -> tuple[Floats, Longs]:
    """The course of the run: in each of so many equal steps of time, the mean latency in ms of the live deliveries of
    messages written then (NaN without one), and their number."""
    rows = _delivered(outcome)
    total_ms, count = latency_sums(outcome, rows, _latency_ms(outcome, rows), outcome.world.duration_s, steps)
    return divided(total_ms, count), count


def latency_sums(
    outcome: Outcome, rows: Longs, values_ms: Floats, duration_s: float, steps: int
) -> tuple[Floats, Longs]:
    """What latencies of some rows of ``deliveries`` add up to, and their number, by when the messages were written."""
    place = np.clip((_written_s(outcome, rows) / duration_s * steps).astype(np.int64), 0, steps - 1)
    total_ms = np.bincount(place, values_ms, steps).astype(np.float64, copy=False)
    return total_ms, np.bincount(place, minlength=steps).astype(np.int64)


def latency(outcome: Outcome, by: By = "all") -> pd.DataFrame:
    """Latency of live deliveries: count, percentiles, mean and maximum in ms, one row per group.

    ``by`` is "all", "local" (whether the recipient's session was on the sender's gateway) or "room_size" (members of
    the room, the sender included). Groups without deliveries stay, with count 0.
    """
    rows = _delivered(outcome)
    values_ms = _latency_ms(outcome, rows)
    table = []
    for name, chosen in groups_of(outcome, rows, by).items():
        table.append({by: name, **percentiles(values_ms[chosen])})
    return pd.DataFrame(table)


def percentile_curve(latencies_ms: npt.ArrayLike) -> pd.DataFrame:
    """Latency against percentile, for the axis of HdrHistogram plots on which every nine takes the same room.

    Columns: percentile (0 to 100), nines = -log10(1 - percentile / 100), latency_ms. Rows end at the highest percentile
    that the number of samples allows; the percentiles of tables are among them. Empty for fewer than 2 samples.

    >>> percentile_curve([5.0, 7.0])[["percentile", "latency_ms"]].iloc[[0, -1]].values.tolist()
    [[0.0, 5.0], [50.0, 5.0]]
    """
    ordered = np.sort(np.asarray(latencies_ms, dtype=np.float64))
    return curve_of(len(ordered), lambda ranks: ordered[ranks - 1])


def curve_of(n: int, ranked: Callable[[Longs], Floats]) -> pd.DataFrame:
    """The curve of :func:`percentile_curve` of ``n`` samples, of which ``ranked`` gives those of ranks from 1 on."""
    if n < 2:
        return pd.DataFrame({"percentile": [], "nines": [], "latency_ms": []}, dtype=np.float64)
    grid = np.linspace(0.0, math.log10(n), min(CURVE_POINTS, 4 * n))
    shares = np.unique(np.round(1 - 10.0 ** -grid, 12))
    named = [share for share in PERCENTILES.values() if n >= least_samples(share)]
    shares = np.unique(np.concatenate([shares, named]))
    shares = shares[[n >= least_samples(share) or share == 0 for share in shares]]
    ranks = np.array([max(rank(float(share), n), 1) for share in shares])
    return pd.DataFrame({"percentile": 100 * shares, "nines": -np.log10(1 - shares), "latency_ms": ranked(ranks)})


def logins(outcome: Outcome) -> pd.Series:
    """Logins begun during the run: how they ended, and percentiles of their latency in ms.

    Latency is online_s - start_s. Sessions that were connected when the run started are left out. ``through`` logins
    came online; ``abandoned`` left before; ``refused`` got no connection; ``connecting`` were under way at the end.
    """
    table = outcome.sessions
    begun = longs(table, "start_s") >= 0
    fate = longs(table, "fate")[begun]
    online_s = floats(table, "online_s")[begun]
    start_s = floats(table, "start_s")[begun]
    through = np.isfinite(online_s)
    figures = {
        "logins": int(begun.sum()),
        "through": int(through.sum()),
        "abandoned": int((fate == SessionFate.ABANDONED).sum()),
        "refused": int((fate == SessionFate.REFUSED).sum()),
        "connecting": int((fate == SessionFate.CONNECTING).sum()),
    }
    timing = percentiles(1000 * (online_s - start_s)[through])
    del timing["count"]
    return pd.Series({**figures, **timing}, dtype=object)


def rank(share: float, n: int) -> int:
    """Rank from 1 of the sample that a share of n samples does not exceed."""
    return math.ceil(share * n - 1e-6)


def _delivered(outcome: Outcome) -> Longs:
    return np.flatnonzero(is_delivered(outcome))


def _latency_ms(outcome: Outcome, rows: Longs) -> Floats:
    return 1000 * (floats(outcome.deliveries, "time_s")[rows] - _written_s(outcome, rows))


def _written_s(outcome: Outcome, rows: Longs) -> Floats:
    """When the messages of some rows of ``deliveries`` were written."""
    return floats(outcome.messages, "time_s")[outcome.deliveries["message"][rows]]


def groups_of(outcome: Outcome, rows: Longs, by: By) -> dict[str, Bools]:
    """Which of some rows of ``deliveries`` belong to each group of :func:`latency`."""
    if by == "local":
        local = outcome.deliveries["local"][rows] > 0
        return {"local": local, "remote": ~local}
    if by == "room_size":
        size = outcome.messages["recipients"][outcome.deliveries["message"][rows]] + 1
        groups, above = {}, 0.0
        for name, largest in ROOM_SIZES.items():
            groups[name] = (size > above) & (size <= largest)
            above = largest
        return groups
    return {"all": np.ones(len(rows), dtype=bool)}
