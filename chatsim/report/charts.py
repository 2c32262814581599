"""The charts: functions of analysis tables that return matplotlib figures, never shown, without global state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from chatsim.analysis import knee, latency_ms, percentile_curve
from chatsim.analysis.columns import Floats
from chatsim.analysis.histogram import Histogram
from chatsim.analysis.latency import least_samples
from chatsim.report.style import (
    INK,
    TIER_COLORS,
    legend,
    mark,
    new_figure,
    nothing,
    number,
    plain,
    styled,
    time_axis,
    wrapped,
    write_figure,
)
from chatsim.scenario.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import XAxis, YAxis
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    from chatsim.engine.outcome import Outcome

__all__ = [
    "comparison_bars", "hit_curves", "latency_by_percentile", "latency_heatmap", "load_over_time", "queue_lengths",
    "saturation_curve", "utilisation_by_tier", "write_figure",
]

NINES = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999)
ROW_IN = 0.34
FEW = 10  # deliveries of a moment, below which its p50 jumps about
PARITY = "#999999"
CEILING_HIGH = 92.0  # a share (%) above which there is no room for a label over its line
HIT_PANELS = {"openings": "conversation openings", "all": "all messages"}


def latency_by_percentile(
    latencies: Mapping[str, npt.ArrayLike | Histogram], title: str = "Latency by percentile"
) -> Figure:
    """Latency in ms (log) against percentile, on an axis that gives every further nine the same room.

    ``latencies`` has the live deliveries' latencies in ms of each design, or a histogram of them. Marks stand at p50,
    p90, p99 and so on. A line ends at the highest percentile that its number of deliveries allows.
    """
    with styled():
        figure = new_figure(max(4.2, _legend_in(latencies)))
        axes = figure.add_subplot()
        handles, names, reach = [], [], 1.0
        for place, (name, values) in enumerate(latencies.items()):
            curve = values.curve() if isinstance(values, Histogram) else percentile_curve(values)
            many = values.count if isinstance(values, Histogram) else np.size(values)
            names.append(f"{wrapped(name)}\n{_deliveries(many)}")
            nines, latency = curve["nines"].to_numpy(), curve["latency_ms"].to_numpy()
            marked = [int(at) for nine in NINES[1:] for at in np.flatnonzero(np.isclose(nines, _nines(nine)))]
            own = mark(place)
            look = {"color": own.color, "linestyle": own.line, "marker": own.marker}
            handles += axes.plot(nines, latency, markevery=marked, label=name, **look)
            reach = max(reach, float(nines[-1]) if len(nines) else 0.0)
        shown = [nine for nine in NINES if _nines(nine) <= reach + 1e-6]
        axes.set_xticks([_nines(nine) for nine in shown], [f"{nine:g}" for nine in shown])
        axes.set_xlim(0, reach * 1.03)
        _say(axes, title, "percentile of deliveries (%)", "latency (ms)")
        drawn = np.concatenate([np.zeros(0), *(np.asarray(line.get_ydata()) for line in handles)])
        if (drawn > 0).any():
            log_axis(axes.yaxis, drawn)
        else:
            nothing(axes, "too few deliveries")
        if names:
            legend(figure, handles, names)
        return figure


def load_over_time(timeline: pd.DataFrame, title: str = "Load and latency over the run") -> Figure:
    """Messages written, deliveries offered and carried per second over time, and below the mean latency of what was
    written then, in ms.

    ``timeline`` is that of :class:`chatsim.analysis.digest.Digest`.
    """
    with styled():
        figure = new_figure(4.4)
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        edges_s = [*timeline["start_s"], timeline["end_s"].iloc[-1]]
        names = {
            "messages_per_s": "messages written", "offered_per_s": "deliveries offered",
            "carried_per_s": "deliveries carried",
        }  # fmt: skip
        handles = []
        for place, column in enumerate(names):
            own = mark(place)
            upper.stairs(timeline[column], edges_s, baseline=None, color=own.color, linestyle=own.line, linewidth=1.5)
            handles.append(_line(own.color, linestyle=own.line))
        upper.set_ylim(bottom=0)
        upper.set_ylabel("per second")
        lower.stairs(timeline["mean_ms"], edges_s, baseline=None, color=INK, linewidth=1.5)
        lower.set_ylim(bottom=0)
        lower.set_ylabel("mean latency (ms)")
        lower.set_xlim(edges_s[0], edges_s[-1])
        time_axis(lower, float(edges_s[-1]))
        legend(figure, handles, list(names.values()), below=True)
        return figure


def utilisation_by_tier(table: pd.DataFrame, title: str = "Utilisation by tier") -> Figure:
    """Bars of each tier's utilisation in %, a panel per tier and a bar per design.

    ``table`` has design, tier, utilisation and work_utilisation (``analysis.tiers`` with the design's name). The full
    bar is busy time; its solid part is what would remain if every tick were full: what is pale is headroom.
    """
    with styled():
        designs = list(dict.fromkeys(table["design"]))
        tiers = [tier for tier in TIER_COLORS if tier in set(table["tier"])]
        figure = new_figure(1.5 + _rows_in(designs))
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        if not designs:
            nothing(figure.add_subplot(), "no stations")
            return figure
        panels = figure.subplots(1, len(tiers), sharey=True, squeeze=False)[0]
        top = _round_up(100 * float(table["utilisation"].max()))
        for axes, tier in zip(panels, tiers, strict=True):
            _tier_bars(axes, table[table["tier"] == tier].set_index("design").reindex(designs), TIER_COLORS[tier], top)
            axes.set_title(tier, fontweight="normal")
            axes.set_xlabel("utilisation (%)")
        _name_rows(panels[0], designs)
        handles = [_patch(INK, 1.0), _patch(INK, 0.3)]
        legend(figure, handles, ["work on items", "ticks, wakes and flushes that full ticks would save"], below=True)
        return figure


def latency_heatmap(outcome: Outcome, title: str = "", bins: int = 80) -> Figure:
    """Deliveries by arrival time and latency (log): counts per cell, with p50 and p99 of each moment as lines."""
    from chatsim.engine.outcome import Fate

    with styled():
        figure = new_figure(3.8)
        axes = figure.add_subplot()
        values_ms = latency_ms(outcome)
        arrived_s = np.asarray(outcome.deliveries["time_s"])[np.equal(outcome.deliveries["fate"], Fate.DELIVERED)]
        name = wrapped(outcome.scenario.name, 60)
        _say(axes, title or f"Latency over time: {name}", "", "latency (ms)")
        time_axis(axes, outcome.world.duration_s)
        positive = values_ms > 0
        if not positive.any():
            nothing(axes, "no deliveries")
            return figure
        _draw_heatmap(figure, axes, np.asarray(arrived_s[positive], dtype=np.float64), values_ms[positive], bins)
        return figure


def queue_lengths(timeline: pd.DataFrame, title: str = "Queue lengths") -> Figure:
    """Items waiting over time, a panel per tier: mean of its stations as a line, the longest queue as a pale area.

    ``timeline`` is ``analysis.tier_timeline``. The scale is linear up to 1 and logarithmic above.
    """
    with styled():
        tiers = [tier for tier in TIER_COLORS if tier in set(timeline["tier"])]
        figure = new_figure(1.2 + 1.35 * max(len(tiers), 1))
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        if not tiers:
            nothing(figure.add_subplot(), "no stations")
            return figure
        panels = figure.subplots(len(tiers), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for axes, tier in zip(panels, tiers, strict=True):
            part = timeline[timeline["tier"] == tier]
            edges_s = [*part["start_s"], part["end_s"].iloc[-1]]
            color = TIER_COLORS[tier]
            axes.stairs(part["largest_queue_items"], edges_s, fill=True, color=color, alpha=0.25, linewidth=0)
            axes.stairs(part["mean_queue_items"], edges_s, color=color, linewidth=1.7, baseline=None)
            axes.set_title(tier, fontweight="normal")
        _symlog_axis(panels[0], float(timeline[["mean_queue_items", "largest_queue_items"]].max().max()))
        panels[-1].set_xlim(timeline["start_s"].min(), timeline["end_s"].max())
        time_axis(panels[-1], float(timeline["end_s"].max()))
        figure.supylabel("queue (items)", fontsize=9)
        names = ["mean over time and stations", "longest of one station"]
        legend(figure, [_line(INK), _patch(INK, 0.25)], names, below=True)
        return figure


def saturation_curve(tables: Mapping[str, pd.DataFrame], title: str = "Saturation") -> Figure:
    """Carried load and p99 latency against offered load, all on log axes, one line per design.

    Each table has offered_per_s, carried_per_s (deliveries), p50_ms, p99_ms, and may have overloaded: such points are
    hollow. ``carried_per_s_half_width`` and ``p99_ms_half_width`` are drawn as bands. A ring marks the knee, the
    point of most power (see ``analysis.knee``), where the table reaches beyond it.
    """
    with styled():
        figure = new_figure(max(5.6, _legend_in(tables)))
        upper, lower = figure.subplots(2, 1, sharex=True)
        handles, names = [], []
        for place, (name, table) in enumerate(tables.items()):
            rows = table.sort_values("offered_per_s")
            handles.append(_draw_saturation(upper, rows, "carried_per_s", place))
            _draw_saturation(lower, rows, "p99_ms", place)
            names.append(f"{wrapped(name)}\n{_mark_knee(upper, lower, rows, place)}")
        _say(upper, title, "", "carried (deliveries/s)")
        _say(lower, "", "offered (deliveries/s)", "p99 latency (ms)")
        every = pd.concat([*tables.values()], ignore_index=True) if tables else pd.DataFrame()
        if every.empty:
            nothing(upper, "no points")
            nothing(lower, "no points")
            return figure
        _scale_saturation(upper, lower, every)
        handles += [_point(6), _point(12), _line(PARITY)]
        legend(figure, handles, [*names, "overloaded (hollow)", "knee (ring)", "carried = offered"])
        return figure


def hit_curves(tables: Mapping[str, pd.DataFrame], title: str = "Is the partner on the friend list?") -> Figure:
    """Share of messages whose recipient is listed, in %, against the length of the list (log), a line per policy.

    ``tables`` has the table of ``analysis.hit_curve`` for each policy. The panels are conversation openings and all
    messages; the grey line on top is a list of all contacts, which the first contacts keep below 100 %.
    """
    with styled():
        figure = new_figure(3.7)
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        panels = figure.subplots(1, 2, sharey=True)
        handles: list[Line2D] = []
        for axes, (of, words) in zip(panels, HIT_PANELS.items(), strict=True):
            handles = _draw_hits(axes, {name: table[table["of"] == of] for name, table in tables.items()}, words)
        panels[0].set_ylabel("recipient listed (%)")
        if handles:
            names = [wrapped(name) for name in tables]
            legend(figure, [*handles, _line(PARITY, linestyle="--")], [*names, "all contacts"], below=True)
        return figure


def comparison_bars(table: pd.DataFrame, title: str = "Latency of each design") -> Figure:
    """p50 to p99 latency of each design as a bar on a log axis, both ends labelled in ms.

    ``table`` has design, p50_ms, p99_ms and may have overloaded (``analysis.summary``, a row per design): such a design
    has hollow marks and says so, as its latency only tells how long the run was.
    """
    with styled():
        figure = new_figure(1.2 + _rows_in(table["design"]))
        axes = figure.add_subplot()
        flags = table["overloaded"] if "overloaded" in table else [False] * len(table)
        _say(axes, title, "latency (ms), from p50 to p99", "")
        ends = table[["p50_ms", "p99_ms"]].to_numpy(dtype=np.float64)
        if not (ends > 0).any():
            nothing(axes, "no deliveries")
            return figure
        for row, ((p50, p99), overloaded) in enumerate(zip(ends, flags, strict=True)):
            _latency_bar(axes, row, p50, p99, bool(overloaded))
        _name_rows(axes, table["design"])
        log_axis(axes.xaxis, ends[ends > 0], room=0.16)
        axes.grid(visible=False, axis="y")
        return figure


# --------------------------------------------------------------------------- parts of charts


def _tier_bars(axes: Axes, rows: pd.DataFrame, color: str, top: float) -> None:
    busy = 100 * rows["utilisation"].to_numpy(dtype=np.float64)
    work = 100 * rows["work_utilisation"].to_numpy(dtype=np.float64)
    place = np.arange(len(rows))
    axes.barh(place, busy, height=0.7, color=color, alpha=0.3)
    axes.barh(place, work, height=0.7, color=color)
    for row, (total, part) in enumerate(zip(busy, work, strict=True)):
        said = f"{_percent(total)} ({_percent(part)})" if np.isfinite(total) else "none"
        end = 0.0 if np.isnan(total) else total
        axes.text(end + 0.02 * top, row, said, va="center", fontsize=8)
    axes.set_xlim(0, 1.9 * top)
    axes.set_xticks([0, top / 2, top], [number(value) for value in (0, top / 2, top)])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def _draw_heatmap(figure: Figure, axes: Axes, arrived_s: Floats, values_ms: Floats, bins: int) -> None:
    from matplotlib.colors import LogNorm
    from matplotlib.patheffects import withStroke

    low, high = np.log10(values_ms.min()), np.log10(values_ms.max())
    pad = max(0.02 * (high - low), 0.02)
    levels = np.logspace(low - pad, high + pad, bins // 2 + 1)
    edges_s = np.linspace(min(0.0, arrived_s.min()), max(arrived_s.max(), 1e-9), bins + 1)
    counts, _, _ = np.histogram2d(arrived_s, values_ms, bins=(edges_s, levels))
    seen = np.ma.masked_equal(counts.T, 0)
    norm = LogNorm(1, max(counts.max(), 2))
    cells = axes.pcolormesh(edges_s, levels, seen, cmap="cividis_r", norm=norm, rasterized=True)
    bar = figure.colorbar(cells, ax=axes, label="deliveries per cell", pad=0.09)
    bar.ax.yaxis.set_major_formatter(lambda value, _: number(value))
    bar.ax.minorticks_off()
    axes.grid(visible=False)
    place = np.clip(np.searchsorted(edges_s, arrived_s, side="right") - 1, 0, bins - 1)
    by_bin = pd.Series(values_ms).groupby(place)
    middle_s = (edges_s[:-1] + edges_s[1:]) / 2
    for share, style, text in ((0.5, "-", "p50"), (0.99, (0, (3, 1.2)), "p99")):
        at = by_bin.quantile(share, interpolation="higher")[by_bin.size() >= max(least_samples(share), FEW)]
        if at.empty:
            continue
        halo = [withStroke(linewidth=3.2, foreground="white")]
        axes.plot(middle_s[at.index], at, color="black", linestyle=style, linewidth=1.4, path_effects=halo, label=text)
        axes.annotate(
            text, (middle_s[at.index[-1]], at.iloc[-1]), xytext=(1.01, at.iloc[-1]),
            textcoords=axes.get_yaxis_transform(), va="center", annotation_clip=False,
        )
    log_axis(axes.yaxis, values_ms, room=0.03)
    axes.set_xlim(edges_s[0], edges_s[-1])


def _draw_hits(axes: Axes, tables: Mapping[str, pd.DataFrame], words: str) -> list[Line2D]:
    """One panel of the hit curves, and its lines. Modifies ``axes``."""
    every = pd.concat(tables.values()) if tables else pd.DataFrame({"k": [], "hit_share": [], "count": []})
    if not every["hit_share"].notna().any():
        axes.set_title(words, fontweight="normal")
        nothing(axes, "no such messages")
        return []
    axes.set_title(f"{words} ({int(every['count'].iloc[0]):,})", fontweight="normal")
    axes.set_xlabel("friends listed")
    ceiling = 100 * float(every.loc[np.isinf(every["k"]), "hit_share"].max())
    axes.axhline(ceiling, color=PARITY, linestyle="--", linewidth=1.2, label="all contacts")
    below = ceiling > CEILING_HIGH
    axes.annotate(
        f"{ceiling:.1f}", (0.02, ceiling), xycoords=axes.get_yaxis_transform(), xytext=(0, -3 if below else 3),
        textcoords="offset points", fontsize=8.5, color="#666666", va="top" if below else "bottom",
    )
    handles = []
    for place, (name, rows) in enumerate(tables.items()):
        own, finite = mark(place), rows[np.isfinite(rows["k"])]
        handles += axes.plot(
            finite["k"], 100 * finite["hit_share"], color=own.color, linestyle=own.line, marker=own.marker, label=name
        )
    lengths = every["k"].to_numpy(dtype=np.float64)
    if np.isfinite(lengths).any():
        log_axis(axes.xaxis, lengths)
    axes.set_ylim(0, 100)
    return handles


def _draw_saturation(axes: Axes, rows: pd.DataFrame, column: str, place: int) -> Line2D:
    own = mark(place)
    look: dict[str, Any] = {"color": own.color, "marker": own.marker}
    axes.plot(rows["offered_per_s"], rows[column], color=own.color, linestyle=own.line, label=column)
    if f"{column}_half_width" in rows:
        half = rows[f"{column}_half_width"].fillna(0.0)
        low = np.maximum(rows[column] - half, 1e-3 * rows[column])  # a band that reaches 0 ends on a log axis
        axes.fill_between(rows["offered_per_s"], low, rows[column] + half, color=own.color, alpha=0.18, linewidth=0)
    hollow = rows["overloaded"].to_numpy(dtype=bool) if "overloaded" in rows else np.zeros(len(rows), dtype=bool)
    for chosen, fill in ((~hollow, own.color), (hollow, "white")):
        part = rows[chosen]
        axes.plot(part["offered_per_s"], part[column], linestyle="none", markerfacecolor=fill, **look)
    return _line(own.color, linestyle=own.line, marker=own.marker)


def _mark_knee(upper: Axes, lower: Axes, rows: pd.DataFrame, place: int) -> str:
    """Rings the knee in both panels, and says where it is. Modifies the axes."""
    try:
        found = knee(rows)
    except InputError:
        return "no knee: no deliveries"
    if not found["reached"]:
        return f"no knee up to {number(found['offered_per_s'])}/s"
    for axes, column in ((upper, "carried_per_s"), (lower, "p99_ms")):
        axes.plot(
            found["offered_per_s"], found[column], marker="o", markersize=13, markerfacecolor="none",
            markeredgecolor=mark(place).color, markeredgewidth=1.4, linestyle="none", label="knee",
        )
    return f"knee at {number(found['offered_per_s'])}/s"


def _scale_saturation(upper: Axes, lower: Axes, every: pd.DataFrame) -> None:
    """Log scales, and the line on which all that is offered is carried. Modifies the axes."""
    offered = every["offered_per_s"].to_numpy(dtype=np.float64)
    carried = every["carried_per_s"].to_numpy(dtype=np.float64)
    log_axis(upper.xaxis, offered)
    log_axis(upper.yaxis, np.concatenate([carried, offered]))
    ends = upper.get_xlim()
    upper.plot(ends, ends, color=PARITY, linewidth=1, zorder=1, label="carried = offered")
    upper.set_xlim(ends)
    latency = every["p99_ms"].to_numpy(dtype=np.float64)
    if "p99_ms_half_width" in every:  # as much of the bands as leaves the curves to be seen
        half = np.clip(every["p99_ms_half_width"].fillna(0.0).to_numpy(np.float64), 0.0, latency)
        latency = np.concatenate([latency + half, np.maximum(latency - half, 0.5 * latency)])
    if (latency > 0).any():
        log_axis(lower.yaxis, latency)


def _latency_bar(axes: Axes, row: int, p50: float, p99: float, overloaded: bool) -> None:
    color = mark(0).color
    fill = "white" if overloaded else color
    if np.isfinite(p50) and np.isfinite(p99):
        axes.plot([p50, p99], [row, row], color=color, linewidth=7, alpha=0.3, solid_capstyle="butt")
    for value, shape in ((p50, "o"), (p99, "D")):
        if np.isfinite(value):
            axes.plot(value, row, marker=shape, color=color, markerfacecolor=fill, linestyle="none")
    after = [number(p99)] * bool(np.isfinite(p99)) + ["overloaded"] * overloaded
    if np.isfinite(p50):
        _beside(axes, p50, row, number(p50), "right")
        _beside(axes, p99 if np.isfinite(p99) else p50, row, ", ".join(after), "left")
    if not np.isfinite(p50):
        axes.annotate("no deliveries", (0.02, row), xycoords=axes.get_yaxis_transform(), va="center", color="#666666")


# --------------------------------------------------------------------------- axes and legends


def _beside(axes: Axes, value: float, row: int, text: str, side: Literal["left", "right"]) -> None:
    """A label in a row, beginning (left) or ending (right) beside a value."""
    gap = 7 if side == "left" else -7
    axes.annotate(
        text, (value, row), xytext=(gap, 0), textcoords="offset points", ha=side, va="center", fontsize=8.5
    )


def _deliveries(count: int) -> str:
    return "1 delivery" if count == 1 else f"{count:,} deliveries"


def _percent(value: float) -> str:
    return f"{value:.0f}" if value >= 9.95 else f"{value:.2g}"


def _round_up(percent: float) -> float:
    """The end of an axis that holds a share: 100 %, or where all are smaller, the next of 1, 2 and 5 of a decade."""
    if not 0 < percent <= 50:
        return 100.0
    decade = 10.0 ** math.floor(math.log10(percent))
    return next(step * decade for step in (1, 2, 5, 10) if percent <= step * decade * (1 + 1e-9))


def _say(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _name_rows(axes: Axes, names: Iterable[str]) -> None:
    """Names of designs as rows from the top."""
    shown = [wrapped(str(name)) for name in names]
    axes.set_yticks(np.arange(len(shown)), shown)
    axes.set_ylim(max(len(shown), 2) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    plain(axes)


def log_axis(axis: XAxis | YAxis, values: Floats, room: float = 0.06) -> None:
    """A log scale around the positive values, with plain numbers at 1, or at 1, 2 and 5 of each decade."""
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    seen = values[np.isfinite(values) & (values > 0)]
    low, high = np.log10(seen.min()), np.log10(seen.max())
    pad = max(room * (high - low), 0.05)
    if high - low < 0.5:
        pad = (0.7 - (high - low)) / 2
    axes = axis.axes
    limits = (10 ** (low - pad), 10 ** (high + pad))
    if axis.axis_name == "x":
        axes.set_xscale("log")
        axes.set_xlim(limits)
    else:
        axes.set_yscale("log")
        axes.set_ylim(limits)
    steps = (1.0, 2.0, 3.0, 5.0, 7.0) if high - low < 0.8 else (1.0, 2.0, 5.0) if high - low < 2.5 else (1.0,)
    axis.set_major_locator(LogLocator(subs=steps, numticks=20))
    axis.set_major_formatter(lambda value, _: number(value))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def _symlog_axis(axes: Axes, largest: float) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    axes.set_yscale("symlog", linthresh=1.0)
    top = max(largest, 1.0)
    axes.set_ylim(0, top * 1.3)
    decades = math.ceil(math.log10(top)) if top > 1 else 0
    step = max(math.ceil((decades + 1) / 4), 1)
    axes.yaxis.set_major_locator(FixedLocator([0.0, *(10.0 ** power for power in range(0, decades + 1, step))]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: number(value))


def _nines(percentile: float) -> float:
    return -math.log10(1 - percentile / 100)


def _rows_in(names: Iterable[str]) -> float:
    """Height that rows with these names need."""
    lines = [wrapped(str(name)).count("\n") + 1 for name in names]
    return max(ROW_IN, 0.15 * max(lines, default=1)) * max(len(lines), 2)


def _legend_in(names: Iterable[str]) -> float:
    """Height that a legend of these names needs, with a line of detail under each."""
    return 1.1 + 0.16 * sum(wrapped(name).count("\n") + 2.7 for name in names)


def _line(color: str, **look: Any) -> Line2D:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=color, **look)


def _point(size: float) -> Line2D:
    return _line(INK, linestyle="none", marker="o", markerfacecolor="none", markersize=size)


def _patch(color: str, alpha: float) -> Patch:
    from matplotlib.patches import Patch

    return Patch(color=color, alpha=alpha, linewidth=0)
