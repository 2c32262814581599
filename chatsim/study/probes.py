"""Runs of which only figures are kept: what a search, a selection or a screening asks for, in order and in parallel.

A run is a function of scenario and replication, so results do not depend on the number of processes. Each process
keeps its last worlds: runs of one replication stand together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from chatsim.analysis import latency_ms, overload, tiers
from chatsim.analysis.columns import Floats, Longs
from chatsim.analysis.compare import CONFIDENCE, Interval
from chatsim.analysis.cost import Cost, cost
from chatsim.analysis.experiments import mean_interval
from chatsim.analysis.quantiles import QuantileInterval, quantile_interval, samples_needed
from chatsim.analysis.slos import Slo, Verdict, judge
from chatsim.engine import simulate
from chatsim.scenario import InputError, Scenario
from chatsim.study.figures import QUANTILES, Figure, distinct, figures_of, known_figures, login_ms, nearest_figure
from chatsim.study.spread import in_order
from chatsim.study.tables import OF_RECIPIENTS
from chatsim.study.worker import world_of

Counted = tuple[list[float], list[int]]  # distinct samples in ms, and how often each came


@dataclass(frozen=True, slots=True)
class Probe:
    """A run to be done."""

    scenario: Scenario
    replication: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What is kept of a run: its figures, its latencies and logins, its bill, and in words whether it kept up.

    ``loads`` has each tier's busiest station, as a share of what that could carry (``work_utilisation`` of
    :mod:`chatsim.analysis.stations`).
    """

    figures: dict[str, Figure]
    samples: dict[str, Counted]
    loads: dict[str, float]
    cost: Cost
    verdict: str

    @property
    def overloaded(self) -> bool:
        """Whether the run fell behind."""
        return bool(self.figures["overloaded"])

    def value(self, figure: str) -> float:
        """A figure as a number, NaN where the run has none."""
        return float(self.figures.get(figure, math.nan))

    def needed(self, figure: str, whose: str) -> float:
        """A figure as a number; InputError, which says of whose run, where there is none."""
        value = self.value(figure)
        if not math.isnan(value):
            return value
        why = "has no value for it: a longer run may have one"
        if figure not in self.figures:
            why = "has no such figure: what it is about is switched off there"
        raise InputError(f"--figure {figure}: {whose} {why}")


def look(probe: Probe) -> Seen:
    """Does a run."""
    outcome = simulate(probe.scenario, world_of(probe.scenario, probe.replication))
    per_tier = tiers(outcome).set_index("tier")["busiest_work_utilisation"]
    return Seen(
        figures_of(outcome),
        {"latency": _counted(latency_ms(outcome)), "login": _counted(login_ms(outcome))},
        {str(tier): float(load) for tier, load in per_tier.items()},
        cost(outcome),
        overload(outcome).sentence,
    )


def look_at(probes: Iterable[Probe], processes: int) -> Iterator[Seen]:
    """Does runs, over so many processes; in their order."""
    return in_order(look, probes, processes)


def evidence(seen: Sequence[Seen], figure: str, confidence: float = CONFIDENCE) -> Interval | QuantileInterval:
    """What replications say of a figure: the quantile of all samples together, by sectioning, or a mean."""
    if figure not in QUANTILES:
        return mean_interval([one.value(figure) for one in seen], confidence)
    asked = QUANTILES[figure]
    sections = [np.repeat(*_arrays(one, asked.of)) for one in seen]
    if len(sections) > 1:
        return quantile_interval(sections, asked.q, confidence)
    return QuantileInterval(asked.q, seen[0].value(figure), math.nan, 1, "one replication has no interval")


def judged(
    slos: Iterable[Slo], seen: Sequence[Seen], confidence: float = CONFIDENCE, design: str = ""
) -> tuple[Verdict, ...]:
    """A verdict for each SLO, each for itself, by the replications of one scenario."""
    overloaded = any(one.overloaded for one in seen)
    recipients = int(sum(one.value("recipients") for one in seen))
    verdicts = []
    for slo in slos:
        trials = recipients if slo.figure in OF_RECIPIENTS else 0
        found = evidence(seen, slo.figure, confidence)
        verdict = judge(slo, found, confidence=confidence, overloaded=overloaded, trials=trials)
        if verdict.answer == "undecided" and slo.figure in QUANTILES:
            verdict = _by_share(verdict, seen, confidence)
        verdicts.append(replace(verdict, design=design))
    return tuple(verdicts)


def _by_share(verdict: Verdict, seen: Sequence[Seen], confidence: float) -> Verdict:
    """Not met, where surely more than 1 - q of the samples exceed the threshold, although the quantile has no interval.

    Only in this direction: the shares of replications are skewed to the right, which makes the upper end of their t
    interval too low but leaves the lower end on the safe side.
    """
    slo, asked = verdict.slo, QUANTILES[verdict.slo.figure]
    if not slo.is_latency or len(seen) < 2:
        return verdict
    counted = [_arrays(one, asked.of) for one in seen]
    shares = mean_interval(
        [count[values > slo.threshold].sum() / count.sum() for values, count in counted if len(count)], confidence
    )
    allowed = 1 - asked.q
    if not shares.mean - shares.half_width > allowed:
        return verdict
    reason = (
        f"{100 * shares.mean:.3g} ± {100 * shares.half_width:.2g} % of {shares.n} replications exceed the threshold, "
        f"where {100 * allowed:g} % may"
    )
    return replace(verdict, answer="not met", reason=reason, runs_needed=0)


def long_enough(slo: Slo, seen: Sequence[Seen]) -> bool:
    """Whether more replications of the same length can decide: a quantile needs so many samples in each."""
    if slo.figure not in QUANTILES:
        return True
    return fewest_samples(slo, seen) >= samples_needed(QUANTILES[slo.figure].q)


def fewest_samples(slo: Slo, seen: Sequence[Seen]) -> int:
    """The samples of a quantile in the replication that has fewest."""
    return min(sum(one.samples[QUANTILES[slo.figure].of][1]) for one in seen)


def known_slo(text: str) -> Slo:
    """An SLO from its text; InputError where it is none, or about nothing that is known."""
    slo = Slo.parse(text)
    if slo.figure not in known_figures():
        raise InputError(f"--slo '{text}': '{slo.figure}' is no figure{nearest_figure(slo.figure)}")
    return slo


def known_figure(name: str) -> str:
    """The name of a figure; InputError where there is no such."""
    if name not in known_figures():
        raise InputError(f"--figure {name}: no such figure{nearest_figure(name)}")
    return name


def mean_loads(seen: Sequence[Seen]) -> Mapping[str, float]:
    """The load of each tier, mean over replications."""
    return {tier: float(np.mean([one.loads[tier] for one in seen])) for tier in seen[0].loads}


def _arrays(seen: Seen, of: str) -> tuple[Floats, Longs]:
    values, count = seen.samples[of]
    return np.array(values, np.float64), np.array(count, np.int64)


def _counted(samples_ms: object) -> Counted:
    values, count = distinct(np.asarray(samples_ms, dtype=np.float64))
    return values.tolist(), count.tolist()
