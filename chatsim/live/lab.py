"""Live runs that count: each is kept, and made again where the machine was disturbed.

A run is *disturbed* where the load client was late by more than LATE_MS at the 90th percentile, where other programs
kept more than OTHERS_CORES cores busy while it lasted, or where its notes break a law of the audit (processes that
stand still for a minute are cut off, or killed at its end). It is discarded and made again, at most RETRIES times in a
row; then the last one counts all the same, and is marked, or is an error where it is against the audit. No other run is
ever left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from chatsim.analysis.latency import percentiles
from chatsim.live.diary import Diary, Figures
from chatsim.live.pace import stretch
from chatsim.live.run import LiveRun
from chatsim.live.sending import latency_from_sending_ms
from chatsim.live.twin import machine_of
from chatsim.scenario import AuditError

LATE_MS, OTHERS_CORES, RETRIES = 2.0, 0.1, 2
FAILED: Figures = {"late_ms": math.nan, "others_cores": math.nan, "failed": 1.0}
LATENCIES = ("p50_ms", "p90_ms", "p99_ms")
Progress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class Kept:
    """The figures of a run that counts, how many were discarded before it, and whether it is itself disturbed."""

    figures: Figures
    discarded: int
    disturbed: bool


class Lab:
    """Makes runs, or finds them in a diary. ``steps`` of which ``done`` are over are what progress is measured by."""

    def __init__(self, diary: Diary | None = None, progress: Progress | None = None) -> None:
        self.diary = diary or Diary()
        self.progress = progress
        self.steps, self.done = 0, 0

    def kept(self, key: str, lives: Callable[[], Figures], late_ms: float = LATE_MS) -> Kept:
        """The run of a key that counts; ``lives`` makes one, whose client may be so late."""
        if self.progress is not None:
            self.progress(min(1.0, self.done / max(1, self.steps)), key)
        runs = self.diary.of(key)
        while not runs or (is_disturbed(runs[-1], late_ms) and len(runs) <= RETRIES):
            try:
                self.diary.add(key, lives())
            except AuditError:
                if len(runs) == RETRIES:
                    raise
                self.diary.add(key, dict(FAILED))
            runs = self.diary.of(key)
        self.done += 1
        return Kept(runs[-1], len(runs) - 1, is_disturbed(runs[-1], late_ms))


def is_disturbed(figures: Figures, late_ms: float = LATE_MS) -> bool:
    """Whether a run is to be made again. What the system does not say disturbs nothing.

    >>> [is_disturbed({"late_ms": 0.1, "others_cores": busy}) for busy in (0.01, 0.5, float("nan"))]
    [False, True, False]
    """
    return bool(figures.get("failed")) or figures["late_ms"] > late_ms or figures["others_cores"] > OTHERS_CORES


def figures_of(run: LiveRun) -> Figures:
    """The figures of a live run: latencies, cores that each tier kept busy, and what shows whether it was disturbed."""
    said, length_s = percentiles(latency_from_sending_ms(run)), run.outcome.world.duration_s
    figures = {name: float(said[name]) for name in LATENCIES}
    for tier in ("gateway", "broker"):
        used_s = sum(used for name, used in run.cpu_s.items() if name.startswith(tier))
        figures[f"{tier}_cores"] = float(used_s / length_s)
    late_ms = float(1000 * np.percentile(run.lag_s, 90)) if len(run.lag_s) else 0.0
    return {**figures, "late_ms": late_ms, "others_cores": float(run.others_cores), "probe_us": float(run.probe_us)}


def slower_than(costs: str, kept: Sequence[Kept]) -> float:
    """How many times as long as in a profile work took in some runs, by the pace that they noted."""
    return stretch(mean_pace_us(kept), machine_of(costs).probe_us)


def pace_of(kept: Kept) -> float:
    """The pace that a run has noted; NaN where it has not."""
    return kept.figures.get("probe_us", math.nan)


def mean_pace_us(kept: Sequence[Kept]) -> float:
    """The mean pace of some runs, of those that have noted any."""
    probes = [pace_of(one) for one in kept if not math.isnan(pace_of(one))]
    return float(np.mean(probes)) if probes else math.nan


def middle(values: Sequence[float]) -> tuple[float, float]:
    """The median of repeated measurements, and half their range.

    >>> middle([3.0, 1.0, 2.0])
    (2.0, 1.0)
    """
    return float(np.median(values)), float(np.ptp(values)) / 2
