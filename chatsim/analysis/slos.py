"""Service level objectives, as "p99_ms < 200": met, not met, or undecided, and how many more runs would decide.

A verdict is given where the confidence interval lies wholly on one side of the threshold. Of several verdicts, all are
right together with the confidence asked for (Holm 1979).
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from chatsim.analysis.compare import CONFIDENCE, Interval
from chatsim.analysis.experiments import at_confidence, holm, mean_interval, p_value, runs_needed
from chatsim.analysis.quantiles import QuantileInterval
from chatsim.scenario.errors import InputError, nearest

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}
FORM = re.compile(r"\s*([A-Za-z_]\w*)\s*(<=|>=|<|>)\s*([^\s<>=]+)\s*", re.ASCII)

RUNS_MOST = 1e9
"""More runs than anybody will do."""

Answer = Literal["met", "not met", "undecided"]
Evidence = npt.ArrayLike | Interval | QuantileInterval


@dataclass(frozen=True, slots=True)
class Slo:
    """What is asked of a figure: that it stand in this relation to the threshold, which has the figure's unit."""

    figure: str
    relation: str
    threshold: float

    def __str__(self) -> str:
        return f"{self.figure} {self.relation} {self.threshold:g}"

    def holds(self, value: float) -> bool:
        """Whether it holds for this value."""
        return OPERATORS[self.relation](value, self.threshold)

    @classmethod
    def parse(cls, text: str, figures: Iterable[str] = ()) -> Slo:
        """An SLO from its text; InputError where it is none, or where the figure is not among those given.

        >>> Slo.parse("lost_share <= 1e-6")
        Slo(figure='lost_share', relation='<=', threshold=1e-06)
        """
        found = FORM.fullmatch(text)
        if not found:
            raise InputError(f"slo = '{text}': a figure, one of <, <=, >, >=, a number are needed, as 'p99_ms < 200'")
        figure, relation, number = found.groups()
        known = list(figures)
        if known and figure not in known:
            raise InputError(f"slo = '{text}': figure '{figure}' is unknown{nearest(figure, known)}")
        try:
            threshold = float(number)
        except ValueError:
            threshold = math.nan
        if not math.isfinite(threshold):
            raise InputError(f"slo = '{text}': '{number}' is no number; units stand in the figure, as 'p99_ms < 200'")
        return cls(figure, relation, threshold)

    @property
    def is_latency(self) -> bool:
        """Whether it bounds a latency from above, which no overloaded system keeps."""
        return self.figure.endswith("_ms") and self.relation in ("<", "<=")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found: met, not met, or undecided, and why.

    ``interval`` is the figure's own, whatever else was judged. ``p_value`` is that of the figure at the threshold, NaN
    where chance has no part. ``runs_needed`` is how many more replications would decide if mean and spread stay: 0
    where it is decided, None where none would or nobody knows.
    """

    slo: Slo
    answer: Answer
    reason: str
    interval: Interval
    p_value: float = math.nan
    runs_needed: int | None = 0
    design: str = ""


def judge(
    slo: Slo,
    found: Evidence,
    *,
    confidence: float = CONFIDENCE,
    exact: bool = False,
    overloaded: bool = False,
    trials: int = 0,
) -> Verdict:
    """Whether the SLO is met, by a figure's values over replications, or by its interval at this confidence.

    Give percentiles as a :func:`chatsim.analysis.quantiles.quantile_interval`: the mean of short runs' percentiles is
    another figure. One replication decides nothing, unless the figure is ``exact``, known without chance. An upper
    bound on a latency is not met by a design that is ``overloaded``, whatever was measured: it would grow with the run.

    A share of which no replication saw anything, or which was always 1, has no spread and no t interval. It is bounded
    by the ``trials`` behind it in all replications together (messages x recipients, for ``lost_share``): with N of them
    the share is less than 1 - (1 - confidence)^(1/N), about 3 / N at 95 %. This takes the trials for independent;
    losses come together, so it is the least that is needed. Without ``trials`` it is undecided.

    >>> judge(Slo.parse("p99_ms < 200"), [180.0, 190.0, 185.0, 183.0, 189.0]).answer
    'met'
    >>> judge(Slo.parse("p99_ms < 200"), Interval(180.0, 40.0, 5)).reason
    '180 ± 40 of 5 replications contains the threshold 200; 8 more may decide'
    >>> judge(Slo.parse("lost_share <= 1e-6"), [0.0] * 5, trials=500_000).runs_needed
    25
    """
    interval, refused = _evidence(found, confidence)
    if slo.is_latency and overloaded:
        return Verdict(slo, "not met", "overloaded", interval)
    if exact and not math.isnan(interval.mean):
        return Verdict(slo, _answer(slo, interval.mean, interval.mean), f"{interval.mean:.4g}, exact", interval)
    if refused:
        return Verdict(slo, "undecided", refused, interval, runs_needed=None)
    if interval.n < 2:
        return Verdict(slo, "undecided", "one replication has no interval", interval, runs_needed=2 - interval.n)
    if _one_sided(slo, interval):
        return _judge_never_seen(slo, interval, trials, confidence)
    return _judge_by_interval(slo, interval, confidence)


def judge_all(
    slos: Iterable[Slo],
    designs: Mapping[str, Mapping[str, Evidence]],
    *,
    confidence: float = CONFIDENCE,
    exact: Collection[str] = (),
    overloaded: Collection[str] = (),
    trials: Mapping[str, Mapping[str, int]] | None = None,
    together: bool = True,
) -> tuple[Verdict, ...]:
    """All SLOs of all designs, by design: figures by name for each, as :func:`judge` takes them.

    ``exact`` names figures; ``overloaded`` designs; ``trials`` is by design and figure. With ``together`` a verdict
    is given only where all that are given hold together with the confidence: the p-values, adjusted by Holm's method
    for the number of verdicts that chance has a part in, are at most 1 - confidence. Otherwise each holds for itself
    alone. Raises InputError for a figure that a design does not have.

    >>> slo = Slo.parse("p99_ms < 200")
    >>> designs = {name: {"p99_ms": Interval(180.0, 19.0, 5)} for name in ("a", "b")}
    >>> [verdict.answer for verdict in judge_all([slo], designs)]
    ['undecided', 'undecided']
    >>> [verdict.answer for verdict in judge_all([slo], designs, together=False)]
    ['met', 'met']
    """
    asked = list(slos)
    each: list[_Asked] = []
    for design, figures in designs.items():
        for slo in asked:
            if slo.figure not in figures:
                known = nearest(slo.figure, figures)
                raise InputError(f"slo = '{slo}': design '{design}' has no figure '{slo.figure}'{known}")
            each.append(
                _Asked(
                    design, slo, figures[slo.figure], slo.figure in exact, design in overloaded,
                    (trials or {}).get(design, {}).get(slo.figure, 0),
                )
            )
    verdicts = [one.judged(confidence, confidence) for one in each]
    if together:
        verdicts = _hold_together(each, verdicts, confidence)
    return tuple(verdicts)


def verdict_table(verdicts: Iterable[Verdict]) -> pd.DataFrame:
    """Verdicts as rows: design, slo, verdict, estimate, half_width, replications, p_value, runs_needed, reason."""
    rows = [
        {
            "design": verdict.design,
            "slo": str(verdict.slo),
            "verdict": verdict.answer,
            "estimate": verdict.interval.mean,
            "half_width": verdict.interval.half_width,
            "replications": verdict.interval.n,
            "p_value": verdict.p_value,
            "runs_needed": math.nan if verdict.runs_needed is None else float(verdict.runs_needed),
            "reason": verdict.reason,
        }
        for verdict in verdicts
    ]
    return pd.DataFrame(rows)


# --------------------------------------------------------------------------- one verdict


def _evidence(found: Evidence, confidence: float) -> tuple[Interval, str]:
    """The interval, and why there is none."""
    if isinstance(found, QuantileInterval):
        return found.interval, found.reason
    interval = found if isinstance(found, Interval) else mean_interval(found, confidence)
    if math.isnan(interval.mean):
        return interval, "the figure has no value"
    return interval, "the figure has no interval" if interval.n > 1 and math.isnan(interval.half_width) else ""


def _answer(slo: Slo, low: float, high: float) -> Answer:
    """What holds in all of [low, high]; a relation that holds at both ends holds between them."""
    ends = {slo.holds(low), slo.holds(high)}
    if len(ends) == 2:
        return "undecided"
    return "met" if True in ends else "not met"


def _judge_by_interval(slo: Slo, interval: Interval, confidence: float) -> Verdict:
    low, high = interval.mean - interval.half_width, interval.mean + interval.half_width
    answer = _answer(slo, low, high)
    half_width = float(f"{interval.half_width:.2g}")  # so that 250 is not 2.5e+02
    level = "" if math.isclose(confidence, CONFIDENCE) else f" ({100 * confidence:.3g} %)"
    of = f"{interval.mean:.4g} ± {half_width:g}{level} of {interval.n} replications"
    # without spread there is no chance in it, wherever the threshold is
    p = p_value(interval, slo.threshold, confidence) if low < high else 0.0
    if answer != "undecided":
        return Verdict(slo, answer, of, interval, p)
    needed = runs_needed(interval, slo.threshold, confidence)
    more = "more runs cannot decide" if needed is None else f"{max(needed, 1)} more may decide"
    reason = f"{of} contains the threshold {slo.threshold:g}; {more}"
    return Verdict(slo, answer, reason, interval, p, None if needed is None else max(needed, 1))


def _one_sided(slo: Slo, interval: Interval) -> bool:
    """Whether this is a share of which nothing, or all, was seen."""
    return slo.figure.endswith("_share") and interval.half_width == 0 and interval.mean in (0.0, 1.0)


def _judge_never_seen(slo: Slo, interval: Interval, trials: int, confidence: float) -> Verdict:
    share = interval.mean
    distance = abs(slo.threshold - share)
    of = f"{share:g} in all of {interval.n} replications"
    possible = _answer(slo, 0.0, 1.0)
    if possible != "undecided":
        return Verdict(slo, possible, of, interval, 0.0)
    if trials < 1:
        return Verdict(slo, "undecided", f"{of}, of an unknown number of trials", interval, runs_needed=None)
    bound = -math.expm1(math.log1p(-confidence) / trials)
    answer = _answer(slo, *sorted((share, share + bound if share == 0 else share - bound)))
    # the chance to see nothing if the share were as far off as the threshold is
    p = math.exp(trials * math.log1p(-distance)) if distance < 1 else 0.0
    reason = f"{of} and {trials} trials, so less than {bound:.2g} {'from 1' if share else ''}".rstrip()
    if answer != "undecided":
        return Verdict(slo, answer, reason, interval, p)
    needed = None
    if distance > 0:
        all_runs = math.log1p(-confidence) / math.log1p(-distance) * interval.n / trials
        needed = max(math.ceil(all_runs - 1e-9) - interval.n, 1) if all_runs < RUNS_MOST else None
    more = "more runs cannot decide" if needed is None else f"{needed} more may decide"
    return Verdict(slo, answer, f"{reason}; {more}", interval, p, needed)


# --------------------------------------------------------------------------- several together


class _Asked(NamedTuple):
    """One SLO of one design, with what is known of it."""

    design: str
    slo: Slo
    found: Evidence
    exact: bool
    overloaded: bool
    trials: int

    def judged(self, have: float, want: float) -> Verdict:
        """The verdict at confidence ``want``, from evidence at confidence ``have``."""
        interval, refused = _evidence(self.found, have)
        found: Evidence = at_confidence(interval, have, want)
        if refused and isinstance(self.found, QuantileInterval):
            found = self.found
        verdict = judge(
            self.slo, found, confidence=want, exact=self.exact, overloaded=self.overloaded, trials=self.trials
        )
        return replace(verdict, interval=interval, design=self.design)


def _hold_together(each: list[_Asked], verdicts: list[Verdict], confidence: float) -> list[Verdict]:
    """Verdicts as they are where they hold together; the others judged again, at the confidence that they need."""
    p_values = np.array([verdict.p_value for verdict in verdicts])
    adjusted = holm(p_values)
    chance = int((~np.isnan(adjusted)).sum())
    stands = adjusted <= (1 - confidence) * (1 + 1e-12)
    # Holm's method stops at the first that does not hold: from there on all need the level that this one needed
    left = max(chance - int(stands.sum()), 1)
    want = 1 - (1 - confidence) / left
    result = []
    for one, verdict, holds in zip(each, verdicts, stands, strict=True):
        if math.isnan(verdict.p_value) or holds:
            result.append(verdict)
            continue
        again = one.judged(confidence, want)
        if verdict.answer != "undecided":
            reason = f"{verdict.reason}: {verdict.answer} if judged alone, not together with {chance - 1} others"
            again = replace(again, answer="undecided", reason=reason)
        result.append(again)
    return result


__all__ = ["Answer", "Evidence", "Slo", "Verdict", "judge", "judge_all", "verdict_table"]
