"""How often the intervals hold, and how often the best is found: measured, on systems whose answer is known.

Run with ``pytest -m long -s tests/test_coverage_long.py`` to see the figures. Seeds are fixed: on the same numpy the
figures are the same. Bounds allow for luck: a right program with other seeds would fail in one of a million runs, but
for the 93 % of the M/M/1 intervals, which are asked for as measured (a true coverage of 94.5 % misses them in 2 % of
seeds).

What was measured: intervals of nominally 95 % of waits in steady M/M/1 queues, 1,000 experiments each. "p99" is of
those intervals that are given.

    rho   runs x customers       mean    p99     refused
    0.7   10 x 50,000            95.7 %  94.8 %   0 %
    0.7   20 x 20,000            96.1 %  94.6 %   0 %
    0.7   1 run in 20 x 20,000   95.2 %  94.3 %   0 %
    0.9   10 x 200,000           94.5 %  95.4 %   0 %
    0.9   20 x 200,000           96.0 %  94.9 %   0 %

They do not hold for few short runs, as the next lines show:

    0.9   20 x 50,000            94.6 %  92.2 %   9.5 %
    0.7   20 x 5,000             95.7 %  93.2 %   6.5 %
    0.7   10 x 2,000             93.8 %  76.6 %  59 %
    0.9   20 x 10,000            94.7 %  26.7 %  97 %
    0.9   20 x 2,000             91.5 %  none    100 %

Were none refused, the p99 would hold in 67 % in the last line, in 80 % in the one above and in 90 % above that (1,000
other experiments).

The best of k normal systems, the others all worse by exactly delta, sd 3 delta, first stage 10, 4,000 races each, with
95 % promised:

    systems  luck                        KN++     KN
    2        independent                 95.78 %  97.00 %
    2        independent, taken for CRN  94.27 %  95.45 %
    5        independent                 95.45 %  98.12 %
    5        half in common, CRN         95.60 %  96.58 %
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from chatsim.analysis.experiments import compare_all, mean_interval, more_needed
from chatsim.analysis.quantiles import quantile_interval
from tests.test_experiments import least, mm1_mean, mm1_quantile, mm1_waits, most
from tests.test_selection import correctly_selected

pytestmark = pytest.mark.long

EXPERIMENTS = 1000


def covered(rho: float, runs: int, n: int, one_run: bool = False) -> tuple[float, float, float]:
    """Shares of experiments: intervals of the mean that hold; of the p99, of those given; p99 refused."""
    luck = np.random.default_rng([runs, n, round(100 * rho), one_run])
    mean, p99 = mm1_mean(rho), mm1_quantile(rho, 0.99)
    mean_held = p99_held = refused = 0
    for _ in range(EXPERIMENTS):
        waits = mm1_waits(luck, rho, 1, runs * n) if one_run else mm1_waits(luck, rho, runs, n)
        of_mean = mean_interval(waits.reshape(runs, n).mean(axis=1))
        of_p99 = quantile_interval(waits, 0.99, sections=runs)
        assert of_p99.sections == runs
        mean_held += abs(of_mean.mean - mean) <= of_mean.half_width
        p99_held += abs(of_p99.estimate - p99) <= of_p99.half_width
        refused += bool(of_p99.reason)
    given = p99_held / (EXPERIMENTS - refused) if refused < EXPERIMENTS else math.nan
    found = mean_held / EXPERIMENTS, given, refused / EXPERIMENTS
    said = f"{found[0]:.1%} of means hold, {found[1]:.1%} of the p99 given; {found[2]:.1%} are refused"
    print(f"\nM/M/1 at {rho}, {'1 run in ' if one_run else ''}{runs} x {n:,}: {said}")
    return found


@pytest.mark.parametrize(
    ("rho", "runs", "n", "one_run"),
    [
        (0.7, 10, 50_000, False),
        (0.7, 20, 20_000, False),
        (0.7, 20, 20_000, True),
        (0.9, 10, 200_000, False),
        (0.9, 20, 200_000, False),
    ],
)
def test_intervals_of_long_runs_hold(rho: float, runs: int, n: int, one_run: bool) -> None:
    mean, p99, refused = covered(rho, runs, n, one_run)
    assert mean >= 0.93
    assert p99 >= 0.93
    assert refused <= 0.01


@pytest.mark.parametrize(
    ("rho", "runs", "n", "mean_least", "p99_least", "refused_least"),
    [
        (0.9, 20, 2_000, 0.90, 0.0, 0.99),   # customers depend on each other over hundreds: a run has seen too little
        (0.9, 20, 10_000, 0.92, 0.0, 0.95),
        (0.9, 20, 50_000, 0.92, 0.90, 0.0),
        (0.7, 10, 2_000, 0.92, 0.75, 0.5),
        (0.7, 20, 5_000, 0.92, 0.90, 0.0),
    ],
)
def test_where_they_hold_less_often(
    rho: float, runs: int, n: int, mean_least: float, p99_least: float, refused_least: float
) -> None:
    """Few short runs are too optimistic: of the p99 most of all, of the mean a little. The worst are refused.

    Wide bounds: they fail where something breaks, not by luck (less than one in a million at the shares above).
    """
    mean, p99, refused = covered(rho, runs, n)
    assert mean >= mean_least - 0.05
    assert math.isnan(p99) or p99 >= p99_least - 0.05
    assert refused >= refused_least - 0.05


@pytest.mark.parametrize("first", [5, 10])
def test_stopping_at_a_precision(first: int) -> None:
    """Normal values with a spread of 30 % of the mean, asked for 10 % of it, in looks as more_needed has them."""
    luck, tries = np.random.default_rng(first), 4000
    held = precise = runs = 0
    for _ in range(tries):
        values = luck.normal(1.0, 0.3, first)
        while more := more_needed(values, 0.1, first=first):
            values = np.append(values, luck.normal(1.0, 0.3, more))
        found = mean_interval(values)
        held += abs(found.mean - 1.0) <= found.half_width
        precise += abs(found.mean - 1.0) <= 0.1
        runs += found.n
    print(f"\nfirst = {first}: {held / tries:.1%} hold, {precise / tries:.1%} are within 10 %, {runs / tries:.1f} runs")
    assert held >= least(tries, 0.93)
    assert precise >= least(tries, 0.94)


@pytest.mark.parametrize("common", [0.0, 0.8])
def test_verdicts_on_all_pairs_are_right_together(common: float) -> None:
    """Four designs, three alike and one not far off, 3,000 times: a wrong verdict in 5 % at most."""
    luck, tries = np.random.default_rng(1), 3000
    mean = dict(zip("abcd", (0.0, 0.0, 0.0, 0.3), strict=True))
    wrong = 0
    for _ in range(tries):
        values = math.sqrt(1 - common) * luck.standard_normal((6, 4)) + math.sqrt(common) * luck.standard_normal((6, 1))
        found = compare_all(pd.DataFrame(values + np.array(list(mean.values())), columns=list(mean)))
        sides = dict(zip(combinations(mean, 2), found["verdict"], strict=True))
        wrong += any(side == "lower" or (side == "higher" and mean[b] <= mean[a]) for (a, b), side in sides.items())
    print(f"\n{common:.0%} in common: some verdict wrong in {wrong / tries:.2%}")
    assert wrong <= most(tries, 0.05)


@pytest.mark.parametrize(("k", "common", "crn"), [(2, 0.0, False), (2, 0.0, True), (5, 0.0, False), (5, 0.5, True)])
@pytest.mark.parametrize("update", [True, False])
def test_the_best_is_found(k: int, common: float, crn: bool, update: bool) -> None:
    """All others are worse by exactly delta, a third of the standard deviation. KN: as often as promised.

    KN++ promises it for small delta only. With two systems, where no inequality leaves it room, it is a little below.
    """
    tries = 4000
    right = correctly_selected(np.random.default_rng([k, crn, update]), tries, k, common, 10, crn=crn, update=update)
    name = "KN++" if update else "KN"
    print(f"\n{name}, {k} systems, {common:.0%} in common, {crn = }: the best in {right / tries:.2%}")
    assert right >= least(tries, 0.94 if update and k == 2 else 0.95)
