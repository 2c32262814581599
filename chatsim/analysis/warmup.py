"""Warm-up: how much of a run's start to leave out, and whether there is a steady state to speak of."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from chatsim.analysis.columns import Floats
from chatsim.scenario import Scenario
from chatsim.scenario.errors import InputError

BATCH = 5                # points of a batch, of MSER-5
BATCHES_LEAST = 10       # of a path that is looked at
BATCHES_LEFT = 5         # that stay at least: the error of fewer is small by chance
DAY_S = 86_400.0
RHYTHM_S = DAY_S / 4     # a run this long sees the rate of its day change

Kind = Literal["terminating", "overloaded", "unsettled", "steady"]


class WarmUp(NamedTuple):
    """What to leave out: the first ``points`` of the path; ``mean`` is that of the rest.

    Refused, with points 0 and NaN for the mean, where the run is too short to tell; the sentence says what was found.
    """

    points: int
    mean: float
    refused: bool
    sentence: str


class Regime(NamedTuple):
    """What figures of a run are about: its whole course ("terminating") or a steady state, or neither; and why."""

    kind: Kind
    sentence: str


def mser5(paths: npt.ArrayLike) -> WarmUp:
    """The warm-up by MSER-5 (White 1997; White, Cobb & Spratt 2000): the start without which the mean is most certain.

    ``paths`` is one series in equal steps of time, or a row per replication, of which the mean path is taken. It is cut
    into batches of 5 points; left out are the first d batches that make sum (Y - mean)^2 / (m - d)^2 over the m - d
    others smallest. Where that is more than half of them the run never settled, and it is refused.

    >>> mser5([50.0] * 20 + [0.0, 1.0] * 100).sentence
    'warm-up: the first 20 of 220 points'
    >>> mser5(np.arange(100.0)).sentence
    'no warm-up found: the first 75 of 100 points would go, more than half; a longer run is needed'
    """
    path = _mean_path(paths)
    batches = len(path) // BATCH
    if batches < BATCHES_LEAST:
        return _refused(f"{len(path)} points are too few, {BATCH * BATCHES_LEAST} are needed")
    if not np.isfinite(path[: BATCH * batches]).all():
        return _refused("the path has gaps")
    y = path[: BATCH * batches].reshape(batches, BATCH).mean(axis=1)
    y = y - y.mean()
    left = np.arange(batches, 0, -1)
    total, squares = np.cumsum(y[::-1])[::-1], np.cumsum(y[::-1] ** 2)[::-1]
    error = np.maximum(squares - total**2 / left, 0.0) / left.astype(np.float64) ** 2
    candidates = error[: batches - BATCHES_LEFT + 1]
    # rounding must not make a later start look better than an earlier one that is as good
    cut = int(np.flatnonzero(candidates <= candidates.min() + 1e-12 * squares[0] / batches**2)[0])
    points = BATCH * cut
    if cut > batches / 2:
        return _refused(f"the first {points} of {len(path)} points would go, more than half; a longer run is needed")
    return WarmUp(points, float(path[points:].mean()), False, f"warm-up: the first {points} of {len(path)} points")


def welch(paths: npt.ArrayLike, window: int) -> Floats:
    """The moving average of the mean path (Welch 1983; Law 2015, 9.5.1), for a plot in which the eye finds the warm-up.

    Point i is the mean of 2 window + 1 points about it; of the first ones, of as many as there are on both sides. The
    last ``window`` points have none. Raises InputError where the window is more than a quarter of the path.

    >>> welch([1.0, 2.0, 3.0, 10.0, 3.0, 2.0, 1.0, 2.0], window=1).tolist()
    [1.0, 2.0, 5.0, 5.333333333333333, 5.0, 2.0, 1.6666666666666667]
    """
    path = _mean_path(paths)
    if not 0 <= window <= len(path) // 4:
        raise InputError(f"window = {window}: 0 to {len(path) // 4} are allowed, a quarter of the path")
    places = np.arange(len(path) - window)
    reach = np.minimum(places, window)
    total = np.concatenate([[0.0], np.cumsum(path)])
    result: Floats = (total[places + reach + 1] - total[places - reach]) / (2 * reach + 1)
    return result


def steady(scenario: Scenario, overloaded: bool = False, warm_up: WarmUp | None = None) -> Regime:
    """Whether figures of such a run are about a steady state, in a sentence.

    A run is terminating, and its figures are means of its whole course over replications, where conditions change
    within it: faults strike, connections are cut, it follows a log, users join or lose interest, or the daily rhythm
    has a quarter of a day or more to show. No steady state is claimed for an overloaded run, nor without a warm-up.

    >>> steady(Scenario()).sentence
    'unsettled: nothing changes the conditions within the run, but no warm-up was looked for'
    >>> steady(Scenario.model_validate({"workload": {"duration_s": 86400.0}})).sentence
    'terminating: the rate follows the time of day; figures are of its whole course'
    """
    change = _changes(scenario)
    if change:
        grows = "; it is overloaded: what waits depends on how long it lasts" if overloaded else ""
        return Regime("terminating", f"terminating: {change}; figures are of its whole course{grows}")
    if overloaded:
        return Regime("overloaded", "no steady state: overloaded, what waits grows for as long as the run lasts")
    if warm_up is None:
        return Regime(
            "unsettled", "unsettled: nothing changes the conditions within the run, but no warm-up was looked for"
        )
    if warm_up.refused:
        return Regime("unsettled", f"unsettled: {warm_up.sentence}")
    return Regime("steady", f"steady state: {warm_up.sentence}")


def _changes(scenario: Scenario) -> str:
    """What changes the conditions within the run, or nothing."""
    workload = scenario.workload
    sessions = workload.sessions
    reasons = {
        "faults strike": bool(scenario.faults),
        "connections are cut": workload.reconnect.share > 0,
        "it follows a log": bool(workload.trace),
        "users join": sessions.join_days > 0,
        "interest fades": sessions.fade_days > 0,
        "the rate follows the time of day": sessions.day_amplitude > 0 and workload.duration_s >= RHYTHM_S,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _mean_path(paths: npt.ArrayLike) -> Floats:
    rows = np.atleast_2d(np.asarray(paths, dtype=np.float64))
    if rows.ndim != 2:
        raise ValueError(f"a series or a row per replication is needed, not {rows.ndim} dimensions")
    mean: Floats = rows.mean(axis=0)
    return mean


def _refused(why: str) -> WarmUp:
    return WarmUp(0, math.nan, True, f"no warm-up found: {why}")
