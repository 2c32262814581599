"""Statistics over replications: intervals of means, designs compared under common random numbers, how many runs.

A replication gives one value of a figure. Values of different replications are independent; those of two designs in
the same replication are not, as both had the same luck, so designs are compared by their differences within each
replication.

Means over replications are near enough to normal for Student's t where a value is itself a mean over many messages. A
run's p99 is not such a value: for quantiles see :mod:`chatsim.analysis.quantiles`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from chatsim.analysis.columns import Floats
from chatsim.analysis.compare import CONFIDENCE, Interval, intervals
from chatsim.scenario.errors import InputError, nearest

FIRST = 5                # replications before which nothing is stopped
RUNS_MOST = 10**9        # more than these are called out of reach

Side = Literal["lower", "higher", "undecided"]


class PairedInterval(NamedTuple):
    """How much larger b is than a, over pairs of replications with the same luck.

    ``correlation`` of the two is what common random numbers achieved, ``variance_saved`` the share by which they made
    the variance of the difference smaller than independent runs have it: 1 - var(b - a) / (var a + var b), below 0
    where they did harm. Both are NaN where nothing varies. ``p_value`` is two-sided, of no difference.
    """

    difference: float
    half_width: float
    n: int
    correlation: float
    variance_saved: float
    p_value: float


def mean_interval(values: npt.ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """Mean and Student t half width of one figure over replications; NaNs are left out and not in n.

    It holds for any number of replications where values are near enough to normal. Short ones are not: of the mean wait
    in an M/M/1 queue at rho = 0.9, an interval of nominally 95 % from 20 runs of 2,000 customers holds in 91.5 %, from
    20 runs of 10,000 in 94.7 % (tests/test_coverage_long.py).

    >>> mean, half_width, n = mean_interval([1.0, 2.0, 3.0], confidence=0.99)
    >>> mean, round(half_width, 3), n
    (2.0, 5.73, 3)
    """
    interval = intervals(np.asarray(values, dtype=np.float64).ravel())
    if interval.n > 1 and np.nanmin(values) == np.nanmax(values):
        return Interval(float(np.nanmax(values)), 0.0, interval.n)  # not all but equal, as rounding of the mean has it
    return at_confidence(interval, CONFIDENCE, confidence)


def at_confidence(interval: Interval, have: float, want: float) -> Interval:
    """The same interval at another confidence than the one that its half width has.

    >>> round(at_confidence(Interval(2.0, 2.484, 3), have=0.95, want=0.99).half_width, 2)
    5.73
    """
    _check_confidence(want)
    if interval.n < 2 or have == want:
        return interval
    factor = t_least(want, interval.n - 1) / t_least(have, interval.n - 1)
    return interval._replace(half_width=factor * interval.half_width)


def t_least(confidence: float, degrees: float) -> float:
    """The two-sided quantile of Student's t.

    >>> round(t_least(0.95, 10), 3)
    2.228
    """
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.5 + confidence / 2))


def p_value(interval: Interval, threshold: float, confidence: float = CONFIDENCE) -> float:
    """Two-sided p-value of a mean at the threshold: 1 - confidence where the interval just reaches it.

    >>> round(p_value(Interval(2.0, 0.5, 8), 2.5), 6)
    0.05
    """
    if interval.n < 2 or math.isnan(interval.half_width) or math.isnan(interval.mean):
        return math.nan
    distance = abs(interval.mean - threshold)
    if interval.half_width == 0 or distance == 0:
        return 0.0 if distance else 1.0
    from scipy.special import stdtr

    degrees = interval.n - 1
    return float(2 * stdtr(degrees, -distance / interval.half_width * t_least(confidence, degrees)))


# --------------------------------------------------------------------------- designs against each other


def paired_interval(a: npt.ArrayLike, b: npt.ArrayLike, confidence: float = CONFIDENCE) -> PairedInterval:
    """b - a by replication: mean, t half width, and what common random numbers were good for.

    Values at the same place are of the same replication; pairs with a NaN are left out. Raises ValueError where the
    lengths differ.

    >>> found = paired_interval([1.0, 2.0, 3.0], [2.0, 3.5, 3.5])
    >>> found.difference, round(found.half_width, 3), round(found.correlation, 3), round(found.variance_saved, 3)
    (1.0, 1.242, 0.866, 0.857)
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"pairs are needed: a has shape {first.shape}, b {second.shape}")
    both = ~(np.isnan(first) | np.isnan(second))
    first, second = first[both], second[both]
    interval = mean_interval(second - first, confidence)
    correlation, saved = math.nan, math.nan
    if interval.n >= 2:
        var_a, var_b, var_difference = (float(np.var(part, ddof=1)) for part in (first, second, second - first))
        if var_a + var_b > 0:
            saved = 1 - var_difference / (var_a + var_b)
        if var_a > 0 and var_b > 0:
            correlation = saved * (var_a + var_b) / (2 * math.sqrt(var_a) * math.sqrt(var_b))
            correlation = min(max(correlation, -1.0), 1.0)
    return PairedInterval(*interval, correlation, saved, p_value(interval, 0.0, confidence))


def holm(p_values: npt.ArrayLike) -> Floats:
    """p-values adjusted for their number (Holm 1979): those at most alpha are all right with probability 1 - alpha.

    No assumption is made on how the tests depend on each other. NaNs stay and do not count.

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(values.shape, np.nan)
    tests = np.flatnonzero(~np.isnan(values))
    tests = tests[np.argsort(values[tests], kind="stable")]
    multiples = np.arange(len(tests), 0, -1)
    adjusted[tests] = np.minimum(np.maximum.accumulate(multiples * values[tests]), 1.0)
    return adjusted


def compare_all(table: pd.DataFrame, baseline: str | None = None, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Designs against each other in one figure, by their differences under common random numbers.

    ``table`` has a row per replication and a column per design (see :func:`by_design`). With a baseline all others are
    compared with it, otherwise all pairs. Per comparison: a, b, and of b - a the fields of :class:`PairedInterval`, the
    p-value after :func:`holm`, and the verdict on b: "lower" or "higher" than a, or "undecided". A half width is
    that of the one interval; the verdicts hold together: with probability ``confidence`` no difference is seen where
    there is none (that no side is wrong either is proven for independent tests, Shaffer 1980; for designs on the same
    luck tests/test_coverage_long.py measures it). Raises InputError for an unknown baseline.

    >>> table = pd.DataFrame({"one": [5.0, 6.0, 7.0, 8.0], "two": [3.0, 4.1, 5.0, 5.9], "three": [5.0, 6.2, 6.9, 8.1]})
    >>> compare_all(table, baseline="one")[["b", "verdict"]].values.tolist()
    [['two', 'lower'], ['three', 'undecided']]
    """
    designs = [str(name) for name in table.columns]
    if baseline is not None and baseline not in designs:
        raise InputError(f"baseline = '{baseline}': no such design{nearest(baseline, designs)}")
    others = [name for name in designs if name != baseline]
    pairs = list(combinations(designs, 2)) if baseline is None else [(baseline, name) for name in others]
    rows = [paired_interval(table[a], table[b], confidence) for a, b in pairs]
    compared = pd.DataFrame(rows, columns=list(PairedInterval._fields))
    compared.insert(0, "a", [a for a, _ in pairs])
    compared.insert(1, "b", [b for _, b in pairs])
    compared["p_adjusted"] = holm(compared["p_value"])
    compared["verdict"] = [
        _side(difference, adjusted, confidence)
        for difference, adjusted in zip(compared["difference"], compared["p_adjusted"], strict=True)
    ]
    return compared


def by_design(runs: pd.DataFrame, figure: str) -> pd.DataFrame:
    """A row per replication and a column per design, in their order, from a row per design and replication.

    >>> runs = pd.DataFrame({"design": ["b", "a"], "replication": [0, 0], "p50_ms": [3.0, 4.0]})
    >>> by_design(runs, "p50_ms").to_dict("records")
    [{'b': 3.0, 'a': 4.0}]
    """
    if figure not in runs:
        raise InputError(f"figure '{figure}' is unknown{nearest(figure, [str(name) for name in runs.columns])}")
    wide = runs.pivot(index="replication", columns="design", values=figure)
    return wide[list(dict.fromkeys(runs["design"]))].rename_axis(columns=None).astype(np.float64)


def _side(difference: float, adjusted: float, confidence: float) -> Side:
    if not adjusted <= 1 - confidence:
        return "undecided"
    return "lower" if difference < 0 else "higher"


# --------------------------------------------------------------------------- how many replications


def more_needed(
    values: npt.ArrayLike, relative_precision: float, confidence: float = CONFIDENCE, first: int = FIRST
) -> int | None:
    """How many more replications until the half width is at most ``relative_precision`` x the mean; 0: enough.

    The smallest n with t(n - 1) s / sqrt(n) <= precision x |mean|, for the s and the mean so far, less what is there
    (two-stage sampling, Stein 1945; Law 2015, 9.4.1). To be asked again when those are run. Never less than ``first``
    in all. None: no number is enough, as the mean is 0 (or nothing is there after ``first`` replications).

    Looking repeatedly makes intervals too short: it stops where s happens to be small. Hence ``first``, and hence a
    precision for the estimate of precision / (1 + precision), which also makes it one for the true mean (Law 2015).
    Measured in tests/test_coverage_long.py on 4,000 normal samples whose standard deviation is 30 % of the mean, asked
    for 10 %: an interval of nominally 95 % holds in 94.3 % with first = 5 and in 94.4 % with first = 10, and in 97 %
    the estimate is within 10 % of the true mean.

    >>> more_needed([10.0, 11.0, 9.0, 10.0, 10.0], relative_precision=0.1)
    0
    >>> more_needed([10.0, 14.0, 6.0, 10.0, 10.0], relative_precision=0.1)
    35
    >>> more_needed([10.0, 11.0], relative_precision=0.1)
    3
    """
    _check_confidence(confidence)
    if not 0 < relative_precision < math.inf:
        raise InputError(f"relative_precision = {relative_precision}: more than 0 is needed, as 0.05 for 5 %")
    if first < 2:
        raise InputError(f"first = {first}: at least 2 replications are needed for an interval")
    interval = mean_interval(values, confidence)
    if interval.n < 2:
        return first - interval.n if np.size(values) < first else None
    width = relative_precision / (1 + relative_precision) * abs(interval.mean)
    more = _until(interval, confidence, lambda half_width: half_width <= width)
    return None if more is None else max(more, first - interval.n, 0)


def runs_needed(interval: Interval, threshold: float, confidence: float = CONFIDENCE) -> int | None:
    """How many more replications until the interval leaves the threshold out, if mean and spread stay as they are.

    0: it does already. None: never, as the mean is the threshold; or unknown, without an interval. It is a guess of
    effort: whoever runs on until it is decided looks repeatedly, and errs more often than 1 - confidence. For that see
    :func:`per_look`.

    >>> runs_needed(Interval(180.0, 40.0, 5), 200.0), runs_needed(Interval(180.0, 10.0, 5), 200.0)
    (8, 0)
    """
    distance = abs(interval.mean - threshold)
    return _until(interval, confidence, lambda half_width: half_width < distance)


def per_look(confidence: float, looks: int) -> float:
    """The confidence at which each of so many looks is to be judged, to be right at all of them (Bonferroni).

    >>> per_look(0.95, 5)
    0.99
    """
    _check_confidence(confidence)
    if looks < 1:
        raise InputError(f"looks = {looks}: at least 1 is needed")
    return 1 - (1 - confidence) / looks


def _until(interval: Interval, confidence: float, enough: Callable[[float], bool]) -> int | None:
    """How many more replications until the half width, for this spread, is enough: by doubling, then by halves."""
    if interval.n < 2 or math.isnan(interval.half_width):
        return None
    if enough(interval.half_width):
        return 0
    spread = interval.half_width * math.sqrt(interval.n) / t_least(confidence, interval.n - 1)

    def at(n: int) -> bool:
        return enough(t_least(confidence, n - 1) * spread / math.sqrt(n))

    few, many = interval.n, 2 * interval.n
    while not at(many):
        if many > RUNS_MOST:
            return None
        few, many = many, 2 * many
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if at(middle) else (middle, many)
    return many - interval.n


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise InputError(f"confidence = {confidence}: more than 0 and less than 1 is needed, as 0.95")


__all__ = [
    "Interval",
    "PairedInterval",
    "at_confidence",
    "by_design",
    "compare_all",
    "holm",
    "mean_interval",
    "more_needed",
    "p_value",
    "paired_interval",
    "per_look",
    "runs_needed",
    "t_least",
]
