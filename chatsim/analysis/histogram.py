"""Latencies counted in narrow buckets: what a run leaves of them that is too large to keep each one."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pandas as pd

from chatsim.analysis.columns import Floats, Longs
from chatsim.analysis.latency import PERCENTILES, curve_of, least_samples, rank

BITS = 10
"""Bits of the mantissa that name a bucket: its values differ by less than 1 in 2**10."""
SHIFT = 52 - BITS
LOWEST, HIGHEST = 2.0**-30, 2.0**40
"""From a millionth of a microsecond to 35 years, in ms: what lies beyond counts as this."""


class Histogram:
    """Positive numbers by buckets of equal relative width, with their exact count, sum and extremes.

    A bucket holds the floats whose first :data:`BITS` bits of mantissa are equal, and stands for its middle: a
    percentile is off by at most one part in 2**11, 0.05 %. So much of a histogram is the same whatever parts it was
    counted in.

    >>> histogram = Histogram()
    >>> histogram.add(np.array([10.0, 20.0, 30.0]))
    >>> figures = histogram.percentiles()
    >>> figures["count"], round(figures["p50_ms"], 1), figures["mean_ms"]
    (3, 20.0, 20.0)
    """

    def __init__(self) -> None:
        self.counts: Longs = np.zeros(_bucket(np.array([HIGHEST]))[0] + 1, np.int64)
        self.count = 0
        self.least, self.most = math.inf, -math.inf
        self._sums: list[float] = []

    def add(self, values: npt.ArrayLike) -> None:
        """Counts values. Modifies the histogram."""
        array = np.asarray(values, np.float64)
        if not len(array):
            return
        self.counts += np.bincount(_bucket(array), minlength=len(self.counts))
        self.count += len(array)
        self.least, self.most = min(self.least, float(array.min())), max(self.most, float(array.max()))
        self._sums.append(float(array.sum()))

    @property
    def mean(self) -> float:
        """The mean of all values, NaN without one."""
        return math.fsum(self._sums) / self.count if self.count else math.nan

    def percentiles(self) -> dict[str, float]:
        """As :func:`chatsim.analysis.latency.percentiles` gives of the values themselves, to within 0.05 %."""
        figures: dict[str, float] = {"count": self.count}
        for name, share in PERCENTILES.items():
            figures[name] = self.at(share) if self.count >= least_samples(share) else math.nan
        figures["mean_ms"], figures["max_ms"] = self.mean, self.most if self.count else math.nan
        return figures

    def at(self, share: float) -> float:
        """The value that a share of all does not exceed; NaN without any."""
        return float(self._ranked(np.array([max(rank(share, self.count), 1)]))[0]) if self.count else math.nan

    def curve(self) -> pd.DataFrame:
        """As :func:`chatsim.analysis.latency.percentile_curve` gives of the values themselves, to within 0.05 %."""
        return curve_of(self.count, self._ranked)

    def table(self) -> pd.DataFrame:
        """The buckets that are not empty: ``from_ms``, ``to_ms`` and ``count``."""
        seen = np.flatnonzero(self.counts)
        return pd.DataFrame({"from_ms": _edge(seen), "to_ms": _edge(seen + 1), "count": self.counts[seen]})

    def __len__(self) -> int:
        return self.count

    def _ranked(self, ranks: Longs) -> Floats:
        """The values of these ranks, from 1 on."""
        values: Floats = np.clip(_middle(np.searchsorted(np.cumsum(self.counts), ranks)), self.least, self.most)
        return values


def _bucket(values: Floats) -> Longs:
    """The bucket of each value, from 0."""
    bits = np.clip(values, LOWEST, HIGHEST).view(np.int64) >> SHIFT
    return bits - _first()


def _first() -> int:
    return int(np.array([LOWEST]).view(np.int64)[0] >> SHIFT)


def _edge(bucket: Longs) -> Floats:
    """The lowest value of each bucket."""
    edges: Floats = ((bucket + _first()) << SHIFT).view(np.float64)
    return edges


def _middle(bucket: Longs) -> Floats:
    return (_edge(bucket) + _edge(bucket + 1)) / 2


__all__ = ["Histogram"]
