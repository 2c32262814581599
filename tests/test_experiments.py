"""Statistics of experiments: worked out by hand, against plain formulas, and on queues whose answer is known.

Tests with luck have fixed seeds; where a new seed would matter, the rate at which a right program would fail is stated.
The large versions are in test_coverage_long.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, ttest_1samp, ttest_rel

from chatsim.analysis.columns import Floats
from chatsim.analysis.compare import Interval, intervals
from chatsim.analysis.experiments import (
    at_confidence,
    by_design,
    compare_all,
    holm,
    mean_interval,
    more_needed,
    p_value,
    paired_interval,
    per_look,
    runs_needed,
    t_least,
)
from chatsim.analysis.latency import percentiles
from chatsim.analysis.quantiles import quantile, quantile_interval
from chatsim.analysis.warmup import WarmUp, mser5, steady, welch
from chatsim.scenario import InputError, Scenario

FALSE_ALARM = 1e-6
finite = st.floats(-1e3, 1e3)
shares = st.floats(0.0, 1.0)


def least(tries: int, share: float) -> int:
    """So many of the tries succeed at least, if each does with this chance, but for one time in a million."""
    return int(binom.ppf(FALSE_ALARM, tries, share))


def most(tries: int, share: float) -> int:
    """So many at most."""
    return int(binom.isf(FALSE_ALARM, tries, share))


def mm1_waits(luck: np.random.Generator, rho: float, runs: int, n: int) -> Floats:
    """Waits of n customers in each of so many M/M/1 queues with service of mean 1, steady from the first on.

    Lindley: W(n+1) = max(0, W(n) + S(n) - A(n)). Unrolled, with C the sums of S - A: C - min(-W(0), min C so far).
    """
    total, gaps = luck.standard_exponential((runs, n)), luck.standard_exponential((runs, n))
    gaps /= rho
    total -= gaps
    start = np.where(luck.random(runs) < rho, luck.exponential(1 / (1 - rho), runs), 0.0)
    np.cumsum(total, axis=1, out=total)
    least_yet = np.minimum.accumulate(total, axis=1, out=gaps)
    total -= np.minimum(least_yet, -start[:, None], out=least_yet)
    return total


def mm1_mean(rho: float) -> float:
    return rho / (1 - rho)


def mm1_quantile(rho: float, q: float) -> float:
    """P(W > x) = rho exp(-(1 - rho) x)"""
    return math.log(rho / (1 - q)) / (1 - rho)


# --------------------------------------------------------------------------- intervals of means


def test_the_mean_interval_is_that_of_compare_at_its_confidence() -> None:
    values = [3.0, math.nan, 4.5, 7.0]
    assert mean_interval(values) == intervals(values)


def test_the_mean_interval_by_hand() -> None:
    # t(2) at 99 % is 9.925, the standard error 1 / sqrt(3)
    assert mean_interval([1.0, 2.0, 3.0], 0.99) == (2.0, pytest.approx(9.925 / math.sqrt(3), rel=1e-4), 3)
    assert mean_interval([7.0]).n == 1
    assert math.isnan(mean_interval([7.0], 0.9).half_width)
    assert math.isnan(mean_interval([]).mean)
    assert mean_interval([0.1] * 3 + [math.nan]) == (0.1, 0.0, 3)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, math.nan])
def test_a_confidence_is_between_0_and_1(confidence: float) -> None:
    with pytest.raises(InputError, match=r"confidence = .*as 0\.95"):
        mean_interval([1.0, 2.0], confidence)


def test_p_values_are_those_of_a_t_test() -> None:
    values = [1.0, 2.5, 2.0, 4.0]
    assert p_value(mean_interval(values, 0.9), 1.5, 0.9) == pytest.approx(ttest_1samp(values, 1.5).pvalue)
    assert p_value(Interval(1.0, 0.0, 3), 1.0) == 1.0
    assert p_value(Interval(1.0, 0.0, 3), 1.1) == 0.0
    assert math.isnan(p_value(Interval(1.0, math.nan, 1), 1.1))


@given(finite, st.floats(0.01, 100), st.integers(2, 50), st.floats(0.5, 0.999), st.floats(0.5, 0.999))
def test_an_interval_at_another_confidence_and_back(mean: float, half: float, n: int, have: float, want: float) -> None:
    interval = Interval(mean, half, n)
    there = at_confidence(interval, have, want)
    assert (there.half_width >= half) == (want >= have) or there.half_width == pytest.approx(half)
    assert at_confidence(there, want, have).half_width == pytest.approx(half)
    assert p_value(there, mean + half, want) == pytest.approx(1 - have, abs=1e-6)


# --------------------------------------------------------------------------- quantiles


def test_the_quantile_is_the_percentile_of_latency() -> None:
    values = np.random.default_rng(1).exponential(1.0, 1234)
    figures = percentiles(values)
    for q, name in ((0.5, "p50_ms"), (0.9, "p90_ms"), (0.99, "p99_ms"), (0.999, "p999_ms")):
        assert quantile(values, q) == figures[name]
    assert math.isnan(quantile(values[:99], 0.99))
    assert quantile(np.arange(1.0, 101.0), 0.99) == 99.0


def test_quantiles_of_equal_sections_by_hand() -> None:
    # quantiles 990, 992, 994 about 992: S^2 = (4 + 0 + 4) / 2 = 4; t(2) = 4.303; 4.303 x 2 / sqrt(3)
    runs = [np.arange(1.0, 1001.0) + shift for shift in (0.0, 2.0, 4.0)]
    found = quantile_interval(runs, 0.99)
    assert found == (0.99, 992.0, pytest.approx(4.3027 * 2 / math.sqrt(3), rel=1e-4), 3, "")
    assert found.interval == (found.estimate, found.half_width, 3)


def test_quantiles_of_unequal_sections_by_hand() -> None:
    # medians 19 and 40, 30 of all; weights 1/3 and 2/3: b / (b - 1) = 2 times (11/3)^2 + (20/3)^2; t(1) = 12.706
    found = quantile_interval([np.arange(1.0, 40.0, 2.0), np.arange(2.0, 81.0, 2.0)], 0.5)
    assert found.estimate == 30.0
    assert found.half_width == pytest.approx(12.7062 * math.sqrt(2 * (121 + 400)) / 3, rel=1e-4)


def test_one_long_run_is_cut_into_consecutive_parts() -> None:
    run = np.tile(np.arange(1.0, 1001.0), 4) + np.repeat([0.0, 2.0, 4.0, 6.0], 1000)
    parts = run.reshape(4, 1000)
    assert quantile_interval(run, 0.99, sections=4) == quantile_interval(list(parts), 0.99)
    assert quantile_interval([run], 0.99, sections=4) == quantile_interval(parts, 0.99)
    assert quantile_interval(np.append(run, math.nan), 0.99, sections=4) == quantile_interval(parts, 0.99)
    with pytest.raises(InputError, match="sections = 1"):
        quantile_interval(run, 0.99, sections=1)


def test_a_section_too_short_for_the_quantile_gives_no_interval_and_says_why() -> None:
    long, short = np.arange(5000.0), np.arange(999.0)
    found = quantile_interval([long, long, short], 0.99)
    assert math.isnan(found.half_width)
    assert found.estimate == quantile(np.concatenate([long, long, short]), 0.99)
    assert found.reason == "section 3 of 3 has 999 samples: an interval of the 0.99 quantile needs 1000 in each"
    assert quantile_interval([long, long, np.arange(1000.0)], 0.99).reason == ""
    empty = quantile_interval([], 0.99)
    assert math.isnan(empty.estimate)
    assert empty.reason.startswith("section 1 of 10 has 0 samples")


def test_samples_beyond_the_quantile_that_lie_in_few_sections_give_no_interval() -> None:
    # 40 of 4000 are beyond, all in the first: shares 0.04, 0, 0, 0; variance 4e-4; 0.01^2 / 4e-4 = 1/4 of a clump
    run = np.arange(1.0, 1001.0)
    found = quantile_interval([run + 1000, run, run, run], 0.99)
    assert math.isnan(found.half_width)
    assert found.reason == "the samples beyond the 0.99 quantile lie in few of 4 sections: each must be longer"


@pytest.mark.parametrize("q", [0.0, 1.0, 99.0])
def test_a_quantile_is_between_0_and_1(q: float) -> None:
    with pytest.raises(InputError, match=r"q = .*as 0\.99"):
        quantile_interval([[1.0], [2.0]], q)


def test_sections_cover_where_pooled_order_statistics_would_not() -> None:
    """M/M/1 at rho 0.7: the interval holds; that of all samples as if independent does not,
    nor that of the mean of short runs' p99.

    Of 150 intervals, less than would hold in one of a million such tests at a coverage of 93 %. The other two hold in
    less than half of them, which at their true coverage (a third, and next to none) is as sure.
    """
    luck, tries, true = np.random.default_rng(3), 150, mm1_quantile(0.7, 0.99)
    held = as_if_independent = short_runs = 0
    for _ in range(tries):
        runs = mm1_waits(luck, 0.7, 10, 10_000)
        found = quantile_interval(runs, 0.99)
        held += abs(found.estimate - true) <= found.half_width
        ordered = np.sort(runs.ravel())
        low, high = binom.ppf([0.025, 0.975], ordered.size, 0.99).astype(int)
        as_if_independent += bool(ordered[low] <= true <= ordered[high])
        short = mean_interval([quantile(part, 0.99) for part in runs.reshape(-1, 100)])
        short_runs += abs(short.mean - true) <= short.half_width
    assert held >= least(tries, 0.93)
    assert as_if_independent < tries / 2
    assert short_runs < tries / 2


def test_too_few_short_runs_at_high_load_are_refused() -> None:
    """M/M/1 at rho 0.9 in 20 runs of 2,000: intervals would hold in two of three only, and are not given.

    Each is refused with 99 % or more (test_coverage_long.py), so of 50 at least 41 but for one time in a million.
    """
    luck = np.random.default_rng(4)
    found = [quantile_interval(mm1_waits(luck, 0.9, 20, 2000), 0.99) for _ in range(50)]
    assert sum("must be longer" in one.reason for one in found) >= 41


def test_the_mean_interval_covers() -> None:
    """Of 2,000 intervals of 5 normal values as many hold as 95 % allow, but for one time in 500,000."""
    values = np.random.default_rng(5).normal(10.0, 3.0, (2000, 5))
    held = sum(abs(one.mean - 10.0) <= one.half_width for one in map(mean_interval, values))
    assert least(2000, 0.95) <= held <= most(2000, 0.95)


# --------------------------------------------------------------------------- designs against each other


def test_pairs_by_hand() -> None:
    # differences 1, 1.5, 0.5: s = 0.5; variances 1 and 0.75, covariance 0.75
    found = paired_interval([1.0, 2.0, 3.0], [2.0, 3.5, 3.5])
    assert found.difference == 1.0
    assert found.half_width == pytest.approx(4.3027 * 0.5 / math.sqrt(3), rel=1e-4)
    assert found.correlation == pytest.approx(0.75 / math.sqrt(0.75))
    assert found.variance_saved == pytest.approx(1 - 0.25 / 1.75)
    assert found.p_value == pytest.approx(ttest_rel([2.0, 3.5, 3.5], [1.0, 2.0, 3.0]).pvalue)


def test_pairs_with_nothing_to_see() -> None:
    assert paired_interval([1.0, math.nan, 3.0], [2.0, 2.0, 4.0]) == (1.0, 0.0, 2, pytest.approx(1.0), pytest.approx(1.0), 0.0)
    still = paired_interval([1.0, 1.0], [1.0, 1.0])
    assert (still.difference, still.half_width, still.p_value) == (0.0, 0.0, 1.0)
    assert math.isnan(still.correlation)
    assert math.isnan(still.variance_saved)
    assert math.isnan(paired_interval([1.0], [2.0]).p_value)
    opposed = paired_interval([1.0, 2.0, 3.0], [3.0, 2.0, 1.0])
    assert opposed.variance_saved == pytest.approx(-1.0)
    assert opposed.correlation == pytest.approx(-1.0)
    with pytest.raises(ValueError, match="pairs are needed"):
        paired_interval([1.0, 2.0], [1.0])


@given(st.lists(st.tuples(finite, finite), min_size=2, max_size=20))
def test_a_pair_the_other_way_round_is_the_same_with_the_other_sign(pairs: list[tuple[float, float]]) -> None:
    a, b = (np.round(np.array(side), 3) for side in zip(*pairs, strict=True))
    there, back = paired_interval(a, b), paired_interval(b, a)
    assert there.difference == pytest.approx(-back.difference)
    np.testing.assert_allclose(there[1:], back[1:], rtol=1e-9, atol=1e-12)
    assert math.isnan(there.correlation) or -1 <= there.correlation <= 1


def test_holm_by_hand() -> None:
    # in order: 4 x 0.005, 3 x 0.01, 2 x 0.03, 1 x 0.04, and none below the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.2, math.nan, 0.6, 0.9]) == pytest.approx([0.6, math.nan, 1.0, 1.0], nan_ok=True)
    assert holm([]).size == 0


@given(st.lists(shares, min_size=1, max_size=12), st.floats(0.001, 0.5))
def test_holm_rejects_what_stepping_down_rejects(p_values: list[float], alpha: float) -> None:
    adjusted = holm(p_values)
    rejected = set()
    for step, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if (len(p_values) - step) * p_values[place] > alpha:
            break
        rejected.add(place)
    assert set(np.flatnonzero(adjusted <= alpha)) == rejected


@given(st.lists(shares, min_size=1, max_size=12))
def test_holm_is_between_nothing_and_bonferroni(p_values: list[float]) -> None:
    adjusted, values = holm(p_values), np.array(p_values)
    assert (adjusted >= values).all()
    assert (adjusted <= np.minimum(len(values) * values, 1.0)).all()
    order = np.argsort(values, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()


def three_designs() -> pd.DataFrame:
    return pd.DataFrame({"one": [5.0, 6.0, 7.0, 8.0], "two": [3.0, 4.1, 5.0, 5.9], "three": [5.0, 6.2, 6.9, 8.1]})


def test_designs_against_a_baseline() -> None:
    found = compare_all(three_designs(), baseline="one").set_index("b")
    assert found["a"].tolist() == ["one", "one"]
    assert found["difference"].to_dict() == pytest.approx({"two": -2.0, "three": 0.05})
    assert found["verdict"].to_dict() == {"two": "lower", "three": "undecided"}
    alone = found["p_value"]
    assert found["p_adjusted"].to_dict() == pytest.approx({"two": 2 * alone["two"], "three": alone["three"]})


def test_all_pairs_of_designs() -> None:
    found = compare_all(three_designs())
    assert list(zip(found["a"], found["b"], strict=True)) == [("one", "two"), ("one", "three"), ("two", "three")]
    assert found["verdict"].tolist() == ["lower", "undecided", "higher"]
    assert compare_all(three_designs()[["one"]]).empty
    few = compare_all(three_designs().iloc[:1])
    assert few["verdict"].tolist() == ["undecided"] * 3


def test_a_verdict_that_holds_alone_may_not_hold_with_others() -> None:
    values = {"base": [0.0] * 5, "near": [0.5, 1.5, 0.3, 1.6, 0.6]}
    assert compare_all(pd.DataFrame(values), "base")["verdict"].tolist() == ["higher"]
    others = {f"design-{place}": [1.0, -1.0, 0.5, -0.5, 0.1 * place] for place in range(4)}
    assert compare_all(pd.DataFrame({**values, **others}), "base")["verdict"].tolist() == ["undecided"] * 5


def test_an_unknown_baseline_and_an_unknown_figure() -> None:
    with pytest.raises(InputError, match="baseline = 'tow': no such design; did you mean 'two'"):
        compare_all(three_designs(), baseline="tow")
    runs = pd.DataFrame({"design": ["b", "b", "a", "a"], "replication": [0, 1, 0, 1], "p50_ms": [3, 4, 5, 6]})
    assert by_design(runs, "p50_ms").to_dict("list") == {"b": [3.0, 4.0], "a": [5.0, 6.0]}
    with pytest.raises(InputError, match="figure 'p50' is unknown; did you mean 'p50_ms'"):
        by_design(runs, "p50")


# --------------------------------------------------------------------------- warm-up


def plain_mser(y: Sequence[float]) -> list[float]:
    """The statistic as it is written, for each number of batches left out."""
    m = len(y)
    return [sum((v - np.mean(y[d:])) ** 2 for v in y[d:]) / (m - d) ** 2 for d in range(m)]


def test_mser5_by_hand() -> None:
    # batch means 8, 4 and then 0, 1, 0, 1 ...: cut after 2 of 22 batches, where 20 x 0.25 / 20^2 is least
    y = [8.0, 4.0] + [0.0, 1.0] * 10
    assert int(np.argmin(plain_mser(y)[:18])) == 2
    found = mser5(np.repeat(y, 5))
    assert found == (10, 0.5, False, "warm-up: the first 10 of 110 points")


def test_mser5_of_replications_is_that_of_their_mean() -> None:
    luck = np.random.default_rng(6)
    paths = 20 * np.exp(-np.arange(400) / 20) + luck.normal(0, 1, (10, 400))
    assert mser5(paths) == mser5(paths.mean(axis=0))
    assert 40 <= mser5(paths).points <= 150


@given(st.lists(st.integers(-50, 50), min_size=10, max_size=40))
def test_mser5_is_the_least_of_the_plain_statistic(y: list[int]) -> None:
    found = mser5(np.repeat(np.array(y, dtype=float), 5))
    plain = plain_mser([float(v) for v in y])[: len(y) - 4]
    best = min(plain)
    cut = next(d for d, value in enumerate(plain) if value <= best + 1e-9)
    near = [d for d, value in enumerate(plain) if value <= best + 1e-6]
    if len(near) == 1:
        assert found.refused == (cut > len(y) / 2)
        assert found.refused or found.points == 5 * cut


def test_mser5_refuses_what_never_settles() -> None:
    rising = mser5(np.arange(100.0))
    assert rising.refused
    assert rising.points == 0
    assert math.isnan(rising.mean)
    assert rising.sentence == "no warm-up found: the first 75 of 100 points would go, more than half; a longer run is needed"
    assert mser5(np.ones(49)).sentence == "no warm-up found: 49 points are too few, 50 are needed"
    assert mser5([math.nan, *[1.0] * 60]).sentence == "no warm-up found: the path has gaps"
    assert mser5(np.full(60, 0.1)) == (0, pytest.approx(0.1), False, "warm-up: the first 0 of 60 points")


def test_welch_by_hand() -> None:
    path = [1.0, 2.0, 3.0, 10.0, 3.0, 2.0, 1.0, 2.0]
    assert welch(path, 0) == pytest.approx(path)
    assert welch(path, 1) == pytest.approx([1, 2, 5, 16 / 3, 5, 2, 5 / 3])
    assert welch(path, 2) == pytest.approx([1, 2, 19 / 5, 4, 19 / 5, 18 / 5])
    assert welch([path, path], 2) == pytest.approx(welch(path, 2))
    for window in (-1, 3):
        with pytest.raises(InputError, match="0 to 2 are allowed"):
            welch(path, window)


def scenario(**workload: Any) -> Scenario:
    return Scenario.model_validate({"workload": workload})


SETTLED = WarmUp(10, 1.0, False, "warm-up: the first 10 of 100 points")


@pytest.mark.parametrize(
    ("workload", "reason"),
    [
        ({"duration_s": 21_600.0}, "the rate follows the time of day"),
        ({"reconnect": {"share": 0.5}}, "connections are cut"),
        ({"trace": "collegemsg"}, "it follows a log"),
        ({"sessions": {"join_days": 1.0}}, "users join"),
        ({"sessions": {"fade_days": 1.0}}, "interest fades"),
    ],
)
def test_what_makes_a_run_terminating(workload: dict[str, Any], reason: str) -> None:
    found = steady(scenario(**workload), warm_up=SETTLED)
    assert found == ("terminating", f"terminating: {reason}; figures are of its whole course")
    assert "overloaded" in steady(scenario(**workload), overloaded=True).sentence


def test_faults_make_a_run_terminating() -> None:
    struck = Scenario.model_validate({"faults": [{"kind": "gateway_crash", "at_s": 10.0, "for_s": 5.0}]})
    assert steady(struck).sentence.startswith("terminating: faults strike")


def test_what_is_steady() -> None:
    for workload in ({"duration_s": 21_599.0}, {"duration_s": 1e6, "sessions": {"day_amplitude": 0.0}}):
        assert steady(scenario(**workload), warm_up=SETTLED) == ("steady", f"steady state: {SETTLED.sentence}")
    assert steady(scenario()).kind == "unsettled"
    never = mser5(np.arange(100.0))
    assert steady(scenario(), warm_up=never) == ("unsettled", f"unsettled: {never.sentence}")
    assert steady(scenario(), overloaded=True, warm_up=SETTLED).kind == "overloaded"


# --------------------------------------------------------------------------- how many runs


def test_more_runs_by_hand() -> None:
    # s = sqrt(8), width 10 / 11: t(39) s / sqrt(40) = 0.9045 is enough, t(38) s / sqrt(39) = 0.9168 is not
    values = [10.0, 14.0, 6.0, 10.0, 10.0]
    assert more_needed(values, 0.1) == 35
    assert more_needed([10.0, 11.0, 9.0, 10.0, 10.0], 0.1) == 0


def test_nothing_is_stopped_before_the_first_runs() -> None:
    assert more_needed([10.0, 10.0], 0.1) == 3
    assert more_needed([10.0] * 5, 0.1) == 0
    assert more_needed([10.0] * 5, 0.1, first=10) == 5
    assert more_needed([], 0.1) == 5
    assert more_needed([4.0], 0.1) == 4
    assert more_needed([1.0, -1.0, 1.0, -1.0, 0.0], 0.1) is None
    assert more_needed([math.nan] * 5, 0.1) is None
    for wrong in ({"relative_precision": 0.0}, {"relative_precision": 0.1, "first": 1}):
        with pytest.raises(InputError):
            more_needed([1.0, 2.0], **wrong)


@given(st.lists(st.floats(1.0, 100.0), min_size=5, max_size=12), st.floats(0.01, 0.5))
def test_so_many_more_runs_are_enough_and_one_less_is_not(values: list[float], precision: float) -> None:
    more = more_needed(values, precision)
    interval = mean_interval(values)
    assert more is not None
    spread, width = np.std(values, ddof=1), precision / (1 + precision) * interval.mean
    n = interval.n + more
    assert t_least(0.95, n - 1) * spread / math.sqrt(n) <= width * (1 + 1e-9)
    if more:
        assert t_least(0.95, n - 2) * spread / math.sqrt(n - 1) >= width * (1 - 1e-9)


def test_runs_until_decided_by_hand() -> None:
    # s = 40 sqrt(5) / 2.776 = 32.2: t(12) s / sqrt(13) = 19.5 leaves out what is 20 away, t(11) s / sqrt(12) = 20.5 does not
    assert runs_needed(Interval(180.0, 40.0, 5), 200.0) == 8
    assert runs_needed(Interval(180.0, 40.0, 5), 160.0) == 8
    assert runs_needed(Interval(180.0, 19.9, 5), 200.0) == 0
    assert runs_needed(Interval(180.0, 20.0, 5), 200.0) == 1
    assert runs_needed(Interval(200.0, 40.0, 5), 200.0) is None
    assert runs_needed(Interval(200.0, math.nan, 1), 200.0) is None
    assert runs_needed(Interval(200.0 - 1e-9, 40.0, 5), 200.0) is None


def test_looks_share_the_error() -> None:
    assert per_look(0.95, 1) == pytest.approx(0.95)
    assert per_look(0.95, 10) == pytest.approx(0.995)
    with pytest.raises(InputError, match="looks = 0"):
        per_look(0.95, 0)
