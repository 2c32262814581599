"""Intervals of quantiles, by sectioning (Asmussen & Glynn 2007, III.5; Nakayama 2014).

Deliveries of one run depend on each other, as they waited in the same queues: an interval from the order statistics of
all of them, as if they were independent, is far too short. And the mean of the p99 of many short runs is not the p99:
each of them is biased by its shortness, and no number of runs takes that away. Sectioning does neither: the estimate is
the quantile of all samples together, and its variance comes from the quantiles of independent sections about it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from chatsim.analysis.columns import Floats
from chatsim.analysis.compare import CONFIDENCE, Interval
from chatsim.analysis.experiments import t_least
from chatsim.analysis.latency import least_samples
from chatsim.scenario.errors import InputError

BEYOND_LEAST = 10        # samples to be expected beyond the quantile in each section
CLUMPS_LEAST = 1.0       # and so many independent clumps of them, see quantile_interval()
SECTIONS = 10            # that one long run is cut into
ROUNDING = 1e-6          # of ranks and of least numbers of samples


class QuantileInterval(NamedTuple):
    """A quantile with the half width of its interval; NaN, with the reason, where there is none.

    ``sections`` is how many there were: replications, or parts of one run.
    """

    q: float
    estimate: float
    half_width: float
    sections: int
    reason: str = ""

    @property
    def interval(self) -> Interval:
        """The same as an interval over the sections, for :func:`chatsim.analysis.slos.judge`."""
        return Interval(self.estimate, self.half_width, self.sections)


def quantile_interval(
    samples: Sequence[npt.ArrayLike] | npt.NDArray[np.float64],
    q: float,
    confidence: float = CONFIDENCE,
    sections: int = SECTIONS,
) -> QuantileInterval:
    """The quantile q (0 to 1) of all samples, with an interval from its sections.

    ``samples`` has an array per replication, each of them a section. One array, or one alone in a list, is one long run
    in order of time; it is cut into ``sections`` equal parts. NaNs are left out.

    With the quantile x of all samples and x_j of section j, which has the share w_j of them, the half width is
    t(b - 1) sqrt(b / (b - 1) sum w_j^2 (x_j - x)^2) for b sections. Where they are equally long this is Nakayama's; the
    weights count a run with more deliveries for more, as the quantile itself does.

    A section in which fewer than 10 samples are to be expected beyond the quantile, 10 / (1 - q) in all, has no
    quantile to speak of: then there is an estimate but no interval. Correlated samples need more, as those beyond come
    in clumps, a busy minute each. Their shares in the sections tell: clumps of n per section make the shares scatter by
    1 / sqrt(n) of their mean. Where that is less than one clump per section there is no interval either.

    That leaves intervals that hold less often than they say, where runs are short. Measured on waits in steady M/M/1
    queues (tests/test_coverage_long.py, 1,000 experiments each), intervals of nominally 95 % of the p99 hold in 95 % at
    rho = 0.7 with 10 to 20 runs of 20,000 customers or more, and at rho = 0.9 with as many of 200,000; in 93 % with 20
    of 5,000 and 92 % with 20 of 50,000. With 10 runs of 2,000 at rho = 0.7 three of five are refused, and 77 % of the
    others hold. At rho = 0.9 all of 2,000 are refused, and of 10,000 97 % are; the others are not to be trusted. More
    runs do not help there, longer ones do.

    >>> runs = [np.arange(1.0, 1001.0) + shift for shift in (0.0, 2.0, 4.0)]
    >>> found = quantile_interval(runs, 0.99)
    >>> found.estimate, round(found.half_width, 3), found.sections
    (992.0, 4.968, 3)
    >>> quantile_interval(runs, 0.999).reason
    'section 1 of 3 has 1000 samples: an interval of the 0.999 quantile needs 10000 in each'
    """
    if not 0 < q < 1:
        raise InputError(f"q = {q}: more than 0 and less than 1 is needed, as 0.99")
    if not 0 < confidence < 1:
        raise InputError(f"confidence = {confidence}: more than 0 and less than 1 is needed, as 0.95")
    parts = _sections(samples, sections)
    pooled = np.concatenate(parts) if parts else np.empty(0)
    estimate = quantile(pooled, q)
    reason = _too_short(parts, q)
    if reason:
        return QuantileInterval(q, estimate, math.nan, len(parts), reason)
    if _clumps(parts, estimate, q) < CLUMPS_LEAST:
        reason = f"the samples beyond the {q:g} quantile lie in few of {len(parts)} sections: each must be longer"
        return QuantileInterval(q, estimate, math.nan, len(parts), reason)
    b = len(parts)
    weights = np.array([len(part) for part in parts]) / len(pooled)
    distance = np.array([quantile(part, q) for part in parts]) - estimate
    error = math.sqrt(b / (b - 1) * float(np.sum((weights * distance) ** 2)))
    return QuantileInterval(q, estimate, t_least(confidence, b - 1) * error, b)


def quantile(values: npt.ArrayLike, q: float) -> float:
    """The smallest value that at least the share q of the samples does not exceed; NaN with fewer than 1 / (1 - q).

    It is the percentile of :mod:`chatsim.analysis.latency`.

    >>> quantile([30.0, 10.0, 20.0], 0.5)
    20.0
    """
    sample = np.asarray(values, dtype=np.float64)
    n = len(sample)
    if n < least_samples(q):
        return math.nan
    place = max(math.ceil(q * n - ROUNDING), 1) - 1
    return float(np.partition(sample, place)[place])


def samples_needed(q: float) -> int:
    """How many samples each section needs for an interval of the quantile.

    >>> [samples_needed(q) for q in (0.5, 0.99, 0.999)]
    [20, 1000, 10000]
    """
    return math.ceil(BEYOND_LEAST / (1 - q) - ROUNDING)


def _sections(samples: Sequence[npt.ArrayLike] | npt.NDArray[np.float64], sections: int) -> list[Floats]:
    runs = [samples] if np.ndim(samples[0] if len(samples) else 0.0) == 0 else samples
    arrays = [np.asarray(run, dtype=np.float64) for run in runs]
    arrays = [run[~np.isnan(run)] for run in arrays]
    if len(arrays) > 1:
        return arrays
    if sections < 2:
        raise InputError(f"sections = {sections}: one run is cut into at least 2")
    return list(np.array_split(arrays[0], sections))


def _clumps(parts: list[Floats], estimate: float, q: float) -> float:
    """How many independent clumps of samples beyond the quantile there are per section (Poisson: variance = mean)."""
    scatter = float(np.var([float((part > estimate).mean()) for part in parts], ddof=1))
    return (1 - q) ** 2 / scatter if scatter > 0 else math.inf


def _too_short(parts: list[Floats], q: float) -> str:
    """Why there is no interval, or nothing."""
    needed = samples_needed(q)
    place = min(range(len(parts)), key=lambda number: len(parts[number]))
    if len(parts[place]) >= needed:
        return ""
    return (
        f"section {place + 1} of {len(parts)} has {len(parts[place])} samples: "
        f"an interval of the {q:g} quantile needs {needed} in each"
    )
