"""Which charts a study is drawn in, and the files that they are written to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatsim.analysis import latency_ms, tier_timeline
from chatsim.analysis.recovery import strikes
from chatsim.report import charts, faults
from chatsim.study.results import Runs
from chatsim.study.store import file_name

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

TIMELINE_BINS = 200


def draw(runs: Runs, curves: pd.DataFrame | None, folder: Path) -> list[Path]:
    """Writes each chart as PNG and SVG, those of single designs under their names, and gives the paths.

    ``curves`` is the table of :func:`chatsim.study.saturation`, if there is one. Charts show the first replication.
    """
    return [path for stem, figure in _figures(runs, curves) for path in charts.write_figure(figure, folder, stem)]


def _figures(runs: Runs, curves: pd.DataFrame | None) -> Iterator[tuple[str, Figure]]:
    """One figure at a time, so that few are in memory."""
    latencies: dict[str, Any] = {name: latency_ms(run) for name, run in runs.outcomes.items()}
    latencies |= {name: digest.latency_of["all", "all"] for name, digest in runs.digests.items()}
    yield "latency_by_percentile", charts.latency_by_percentile(latencies)
    yield "utilisation", charts.utilisation_by_tier(runs.tiers[runs.tiers["replication"] == 0])
    if len(runs.scenarios) > 1:
        yield "latency", charts.comparison_bars(runs.summary)
    if curves is not None:
        yield (
            "saturation",
            charts.saturation_curve({str(name): part for name, part in curves.groupby("design", sort=False)}),
        )
    struck = {name: outcome for name, outcome in runs.outcomes.items() if len(strikes(outcome))}
    if struck:
        yield "storm", faults.storm_chart(struck)
    for name, digest in runs.digests.items():
        own = "" if len(runs.scenarios) == 1 else f"_{file_name(name)}"
        yield f"load{own}", charts.load_over_time(digest.timeline(), f"Load and latency over the run: {name}")
        yield f"queues{own}", charts.queue_lengths(digest.tier_timeline(), f"Queue lengths: {name}")
    for name, outcome in runs.outcomes.items():
        own = "" if len(runs.scenarios) == 1 else f"_{file_name(name)}"
        yield f"latency_heatmap{own}", charts.latency_heatmap(outcome)
        timeline = tier_timeline(outcome, outcome.world.duration_s / TIMELINE_BINS)
        yield f"queues{own}", charts.queue_lengths(timeline, f"Queue lengths: {name}")
        if name in struck:
            yield f"faults{own}", faults.timeline_chart(outcome)
