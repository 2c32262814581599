"""All charts by name, as ``chatsim.charts`` has them: functions of tables that return matplotlib figures."""

from chatsim.report.charts import (
    comparison_bars,
    hit_curves,
    latency_by_percentile,
    latency_heatmap,
    queue_lengths,
    saturation_curve,
    utilisation_by_tier,
    write_figure,
)
from chatsim.report.decisions import pareto_chart, tornado
from chatsim.report.faults import storm_chart, timeline_chart
from chatsim.report.plots import bars, lines
from chatsim.report.questions import list_limits_chart, who_reads_chart

__all__ = [
    "bars",
    "comparison_bars",
    "hit_curves",
    "latency_by_percentile",
    "latency_heatmap",
    "lines",
    "list_limits_chart",
    "pareto_chart",
    "queue_lengths",
    "saturation_curve",
    "storm_chart",
    "timeline_chart",
    "tornado",
    "utilisation_by_tier",
    "who_reads_chart",
    "write_figure",
]
