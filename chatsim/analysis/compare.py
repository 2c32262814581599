"""Runs side by side: one row per run, pairs on the same trace, intervals over replications, the knee."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import fields
from typing import NamedTuple

import numpy as np
import pandas as pd

from chatsim.analysis.columns import is_delivered
from chatsim.analysis.flow import most_connections, recipient_ends, subscriptions, throughput_totals
from chatsim.analysis.latency import latency_ms, percentiles
from chatsim.analysis.overload import overload
from chatsim.analysis.stations import tiers
from chatsim.engine.outcome import Outcome
from chatsim.scenario.errors import InputError

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A mean over replications with its 95 % half width (NaN for fewer than 2)."""

    mean: float
    half_width: float
    n: int


def summary(outcome: Outcome, until_s: float | None = None) -> pd.Series:
    """The run as one row of a table of comparison.

    ``delivered_share`` is of the deliveries meant for sessions; ``live_share``, ``kept_share`` and ``lost_share`` are
    of all messages x recipients, those without a session among them. Utilisations are means over the tier, NaN where
    the design has no such tier. ``busiest_tier`` is that of the station with the largest work_utilisation: the one that
    binds as load grows. ``subscriptions`` and ``connections`` are peaks. Rates and utilisations are over [0, until_s],
    by default the duration; a load test ends with a silence, so it gives ``offered_until_s(outcome)``.
    """
    return summary_of(
        outcome.scenario.name,
        throughput_totals(outcome, until_s),
        percentiles(latency_ms(outcome)),
        recipient_ends(outcome),
        tiers(outcome, until_s),
        (peak(subscriptions(outcome)["subscriptions"]), most_connections(outcome)),
        overload(outcome).overloaded,
    )


def summary_of(
    design: str,
    totals: pd.Series,
    timing: dict[str, float],
    ends: dict[str, float],
    of_tiers: pd.DataFrame,
    peaks: tuple[int, int],
    overloaded: bool,
) -> pd.Series:
    """The row of :func:`summary`, out of the figures that it is made of; ``peaks`` of subscriptions and connections."""
    per_tier = of_tiers.set_index("tier")
    utilisation = per_tier["utilisation"].reindex(["gateway", "broker", "database"])
    return pd.Series(
        {
            "design": design,
            "messages_per_s": totals["messages_per_s"],
            "offered_per_s": totals["offered_per_s"],
            "carried_per_s": totals["carried_per_s"],
            "deliveries": totals["delivered"],
            "delivered_share": totals["delivered_share"],
            "live_share": ends["live_share"],
            "kept_share": ends["kept_share"],
            "lost_share": ends["lost_share"],
            "p50_ms": timing["p50_ms"],
            "p99_ms": timing["p99_ms"],
            "p999_ms": timing["p999_ms"],
            "gateway_utilisation": float(utilisation["gateway"]),
            "broker_utilisation": float(utilisation["broker"]),
            "database_utilisation": float(utilisation["database"]),
            "busiest_tier": str(per_tier["busiest_work_utilisation"].idxmax()),
            "discarded_share": totals["discarded_share"],
            "subscriptions": peaks[0],
            "connections": peaks[1],
            "overloaded": overloaded,
        },
        dtype=object,
    )


def paired(a: Outcome, b: Outcome) -> pd.Series:
    """Two designs on the same trace, paired per message and recipient: how much later b delivers than a.

    A pair is a message and a recipient that has it live in both; a recipient with several sessions has it with the
    first of them. Gives pairs, only_a and only_b (live in one alone), mean and percentiles of the difference b - a in
    ms, and the shares of pairs in which b was faster or slower. Raises InputError where the traces differ.
    """
    if not _same_trace(a, b):
        raise InputError(
            f"'{a.scenario.name}' and '{b.scenario.name}' did not get the same trace: "
            "the same workload, seed and replication are needed"
        )
    first, second = _first_deliveries(a), _first_deliveries(b)
    both = first.index.intersection(second.index)
    difference_ms = 1000 * (second.loc[both] - first.loc[both]).to_numpy(dtype=np.float64)
    n = len(both)
    return pd.Series(
        {
            "a": a.scenario.name,
            "b": b.scenario.name,
            "pairs": n,
            "only_a": len(first) - n,
            "only_b": len(second) - n,
            "mean_difference_ms": float(difference_ms.mean()) if n else math.nan,
            "median_difference_ms": float(np.median(difference_ms)) if n else math.nan,
            "p99_difference_ms": percentiles(difference_ms)["p99_ms"],
            "faster_share": float((difference_ms < 0).mean()) if n else math.nan,
            "slower_share": float((difference_ms > 0).mean()) if n else math.nan,
        },
        dtype=object,
    )


def intervals(values: Iterable[float]) -> Interval:
    """Mean and Student t half width (95 %) of one figure over replications; NaNs are left out and not in n.

    >>> mean, half_width, n = intervals([1.0, 2.0, 3.0])
    >>> mean, round(half_width, 3), n
    (2.0, 2.484, 3)
    """
    sample = np.array(list(values), dtype=np.float64)
    sample = sample[~np.isnan(sample)]
    n = len(sample)
    if n < 2:
        return Interval(float(sample[0]) if n else math.nan, math.nan, n)
    from scipy.special import stdtrit

    error = float(sample.std(ddof=1)) / math.sqrt(n)
    return Interval(float(sample.mean()), float(stdtrit(n - 1, 0.5 + CONFIDENCE / 2)) * error, n)


def knee(table: pd.DataFrame, latency: str = "p50_ms") -> pd.Series:
    """The point of a saturation table at which power, carried_per_s / latency, is largest (Kleinrock 1979).

    ``table`` has offered_per_s, carried_per_s and the latency column. The row comes back with ``power`` and
    ``reached``: False where the largest offered load has the most power, so that the knee lies beyond the table.
    Points without a latency are passed over, and overloaded ones, where the table says which and any kept up;
    InputError where no point has a latency.
    """
    usable = table[(table[latency] > 0) & table["carried_per_s"].notna()].sort_values("offered_per_s")
    if "overloaded" in usable and not usable["overloaded"].all():
        usable = usable[~usable["overloaded"].astype(bool)]
    if usable.empty:
        raise InputError(f"knee: no point of the saturation table has a value in '{latency}'")
    power = (usable["carried_per_s"] / usable[latency]).to_numpy(dtype=np.float64)
    place = int(np.argmax(power))
    row = usable.iloc[place].copy().astype(object)
    row["power"] = float(power[place])
    row["reached"] = bool(usable.index[place] != table["offered_per_s"].idxmax())
    return row


def peak(path: pd.Series) -> int:
    """The largest value of a path, 0 where it has none."""
    return int(path.max()) if len(path) else 0


def _same_trace(a: Outcome, b: Outcome) -> bool:
    if a.world is b.world:
        return True
    tables = ((a.world.messages, b.world.messages), (a.world.sessions, b.world.sessions))
    return all(
        np.array_equal(getattr(x, column.name), getattr(y, column.name)) for x, y in tables for column in fields(x)
    )


def _first_deliveries(outcome: Outcome) -> pd.Series:
    """Time of the first live delivery of each (message, recipient)."""
    live = is_delivered(outcome)
    columns = {name: np.asarray(outcome.deliveries[name])[live] for name in ("message", "recipient", "time_s")}
    return pd.DataFrame(columns).groupby(["message", "recipient"])["time_s"].min()
