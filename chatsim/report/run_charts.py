"""The charts of one run, as exhibits of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatsim.analysis import latency_ms, percentile_curve, percentiles, tiers
from chatsim.report import charts
from chatsim.report.exhibit import Exhibit
from chatsim.report.terminal import number

if TYPE_CHECKING:
    from chatsim.engine.outcome import Outcome


def run_exhibits(outcome: Outcome) -> list[Exhibit]:
    """Latency by percentile and over time, and how busy each tier was."""
    values_ms = latency_ms(outcome)
    curve = percentile_curve(values_ms)
    if curve.empty:
        return []
    name = outcome.scenario.name
    last = curve.iloc[-1]
    by_tier = tiers(outcome).assign(design=name)
    busiest = by_tier.sort_values("busiest_work_utilisation", ascending=False).iloc[0]
    return [
        Exhibit(
            "latency",
            "Latency by percentile",
            f"Half of {len(values_ms):,} deliveries took at most {number(percentiles(values_ms)['p50_ms'])} ms, "
            f"{last['percentile']:.4g} % at most {number(float(last['latency_ms']))} ms.",
            charts.latency_by_percentile({name: values_ms}),
            curve,
        ),
        Exhibit(
            "heatmap", "Latency over time", "Each cell counts the deliveries of a moment and latency.",
            charts.latency_heatmap(outcome), curve,
        ),
        Exhibit(
            "utilisation",
            "How busy each tier was",
            f"The busiest station is of the {busiest['tier']} tier: its work takes "
            f"{number(100 * float(busiest['busiest_work_utilisation']))} % of what it could carry.",
            charts.utilisation_by_tier(by_tier),
            by_tier,
        ),
    ]  # fmt: skip


__all__ = ["run_exhibits"]
