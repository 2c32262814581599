"""Charts and tables of faults: what struck, what it did over time, and the storm of those who come back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from chatsim.analysis.columns import Floats, is_delivered
from chatsim.analysis.recovery import first_strike_s, peak_tries, peaks_of, strikes, struck, timeline, tries_s
from chatsim.report.style import INK, TIER_COLORS, legend, mark, new_figure, nothing, styled, time_axis, wrapped
from chatsim.report.style import number as short
from chatsim.report.terminal import number, table_of
from chatsim.study.faults import storms

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from rich.console import Console

    from chatsim.engine.outcome import Outcome
    from chatsim.study.faults import Struck
    from chatsim.study.results import Runs

FINE_BINS, BINS = 1200, 150
"""Sessions and tries change within seconds; what is lost, and queues, are drawn in wider bins."""
FEW_BINS, MOST_BINS, PER_BIN = 20, 240, 150
"""The p99 is drawn in bins of about PER_BIN deliveries, but in FEW_BINS to MOST_BINS of them."""
LABELS_MAX = 4
LEGEND_COLUMNS = 4
FAR_APART = 20.0
"""Peaks that are so many times apart are shown on a scale that is logarithmic above 1."""
STORM_BINS, STORM_SHARE = 400, 0.99
TIER_LINES: dict[str, Any] = {"gateway": "-", "broker": (0, (5, 1.5)), "database": (0, (1.2, 1.2))}
SPAN = "#bbbbbb"
LOSS = "#D55E00"
TRIES = "#882255"
LONGEST = "#666666"
FIGURES = {
    "sessions_hit": ("sessions cut", "", 1.0),
    "logins_failed": ("first logins failed or refused", "", 1.0),
    "sessions_closed": ("sessions closed, outbound queue full", "", 1.0),
    "back_p50_s": ("half of them back", "s", 1.0),
    "back_p99_s": ("99 % of them back", "s", 1.0),
    "back_all_s": ("all of them back", "s", 1.0),
    "never_back": ("never back", "", 1.0),
    "ended_first": ("were to end before they were back", "", 1.0),
    "tries": ("tries to come back", "", 1.0),
    "tries_failed": ("of these failed or refused", "", 1.0),
    "peak_tries_per_100ms": ("most tries in 100 ms", "", 1.0),
    "amplification": ("work of the faults, in calm logins per comeback", "", 1.0),
    "lost": ("messages x recipients lost", "", 1.0),
    "refused": ("messages x recipients refused", "", 1.0),
    "read_later": ("read at a later login", "", 1.0),
    "late": ("live, but later than 10 x the p99 before", "", 1.0),
    "duplicates": ("duplicates", "", 1.0),
    "resent": ("messages sent more than once", "", 1.0),
    "order_violations": ("came out of order", "", 1.0),
    "ghost_user_s": ("shown online while offline", "user-s", 1.0),
    "backlog_max": ("longest queue", "items", 1.0),
    "drain_s": ("queues back to their level after", "s", 1.0),
    "undrained": ("stations whose queues are not", "", 1.0),
    "unaffected_before_p99_ms": ("p99 among users not hit, before", "ms", 1.0),
    "unaffected_after_p99_ms": ("p99 among users not hit, since", "ms", 1.0),
}


def timeline_chart(outcome: Outcome, title: str = "") -> Figure:
    """What happened over time: sessions online and tries to come back; latency, and messages lost; queues.

    Three panels over one time axis. The faults are shaded and named; one without an end within the run goes to the
    right edge. Tries are the most in any 100 ms that begins in a bin. p99 is given in bins of some 150 deliveries.
    There is no axis of tries where there were none, nor of losses.
    """
    with styled():
        figure = new_figure(6.4)
        upper, middle, lower = figure.subplots(3, 1, sharex=True)
        duration_s = outcome.world.duration_s
        fine, wide = timeline(outcome, duration_s / FINE_BINS), timeline(outcome, duration_s / BINS)
        name = wrapped(outcome.scenario.name, 60)
        figure.suptitle(title or f"Faults over time: {name}", x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        shade(outcome, (upper, middle, lower))
        handles = [
            *_draw_sessions(upper, fine), *_draw_latency(middle, outcome), *_draw_losses(middle, wide),
            *_draw_queues(lower, wide),
        ]
        lower.set_xlim(0, duration_s)
        time_axis(lower, duration_s)
        figure.legend(handles=handles, loc="outside lower center", ncols=LEGEND_COLUMNS, handlelength=3.2)
        return figure


def storm_chart(outcomes: Mapping[str, Outcome], title: str = "Who comes back when") -> Figure:
    """Tries per 100 ms over the seconds after the first strike, a line per design, its peak named.

    The line is the most tries in any 100 ms that begins in a bin. Designs in which nothing struck are left out.
    """
    with styled():
        storm = {name: _storm(outcome) for name, outcome in outcomes.items() if len(strikes(outcome))}
        figure = new_figure(max(3.9, 1.2 + 0.2 * sum(wrapped(name).count("\n") + 2.2 for name in storm)))
        axes = figure.add_subplot()
        axes.set_title(title)
        axes.set_xlabel("time after the first strike (s)")
        axes.set_ylabel("tries to come back (per 100 ms)")
        if not any(len(after_s) for after_s in storm.values()):
            nothing(axes, "nobody had to come back")
            return figure
        span_s = max(_span_s(after_s) for after_s in storm.values())
        handles, names = [], []
        for place, (name, after_s) in enumerate(storm.items()):
            handles.append(_draw_storm(axes, after_s, span_s, place))
            names.append(f"{wrapped(name)}\n{_peak_said(after_s)}")
        axes.set_xlim(-0.02 * span_s, span_s)
        peaks = [peak_tries(after_s)[0] for after_s in storm.values()]
        axes.yaxis.set_major_formatter(lambda value, _: short(value))
        if max(peaks) > FAR_APART * max(min(peaks), 1):
            _symlog_axis(axes, max(peaks))
        else:
            axes.set_ylim(0, 1.12 * max(peaks))
        legend(figure, handles, names)
        return figure


# --------------------------------------------------------------------------- parts of charts


def shade(outcome: Outcome, panels: Sequence[Axes]) -> None:
    """Shades when faults struck, and names them above the first panel. Modifies the panels."""
    end_s = outcome.world.duration_s
    for start_s, over_s in _spans(outcome, end_s):
        for axes in panels:
            axes.axvspan(start_s, over_s, facecolor=SPAN, alpha=0.35, linewidth=0, zorder=0)
            axes.axvline(start_s, color=INK, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
    named = struck(outcome)
    named = named[named["start_s"] < end_s]
    lines = [what for what, _, _ in named.head(LABELS_MAX).itertuples(index=False, name=None)]
    if len(named) > LABELS_MAX:
        lines[-1] = f"{len(named) - LABELS_MAX + 1:,} more faults"
    for row, (what, start_s) in enumerate(zip(lines, named["start_s"], strict=False)):
        late = start_s > 0.6 * end_s
        panels[0].annotate(
            what, (start_s, 1.0), xycoords=panels[0].get_xaxis_transform(), ha="right" if late else "left",
            xytext=(-2 if late else 2, 3 + 12 * (len(lines) - 1 - row)), textcoords="offset points", fontsize=8.5,
            annotation_clip=False,
        )


def _spans(outcome: Outcome, end_s: float) -> list[tuple[float, float]]:
    """When anything was struck: strikes that touch or overlap are one span."""
    found = strikes(outcome).sort_values("start_s")
    spans: list[tuple[float, float]] = []
    for start_s, over_s in zip(found["start_s"], found["end_s"].fillna(end_s).clip(upper=end_s), strict=True):
        if start_s >= end_s:
            continue
        if spans and start_s <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], over_s))
        else:
            spans.append((start_s, max(over_s, start_s)))
    return spans


def _steps(axes: Axes, table: pd.DataFrame, column: str, **look: Any) -> Line2D:
    """A column of the timeline as steps over its bins. Modifies ``axes``."""
    edges_s = [*table["start_s"], table["end_s"].iloc[-1]]
    values = table[column].to_numpy(dtype=np.float64)
    (line,) = axes.plot(edges_s, [*values, values[-1]], drawstyle="steps-post", **look)
    return line


def _draw_sessions(axes: Axes, table: pd.DataFrame) -> list[Line2D]:
    lines = [_steps(axes, table, "online", color=INK, label="sessions online")]
    axes.set_ylabel("sessions online")
    axes.set_ylim(0, 1.15 * max(float(table["online"].max()), 1.0))
    axes.yaxis.set_major_formatter(lambda value, _: short(value))
    most = float(table["tries_per_100ms"].max())
    if most:
        beside = _beside(axes, "tries (per 100 ms)", TRIES, 1.15 * most)
        look: dict[str, Any] = {"color": TRIES, "linestyle": (0, (3, 1)), "linewidth": 1.3}
        lines.append(_steps(beside, table, "tries_per_100ms", label="tries to come back", **look))
    return lines


def _draw_latency(axes: Axes, outcome: Outcome) -> list[Line2D]:
    """The p99 as a line, and the longest of each bin as points, which are there however few deliveries came."""
    duration_s, count = outcome.world.duration_s, int(is_delivered(outcome).sum())
    table = timeline(outcome, duration_s / BINS)
    axes.set_ylabel("latency (ms)")
    if not (table["max_ms"] > 0).any():
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no deliveries", transform=axes.transAxes, ha="center", color="#666666")
        return []
    look: dict[str, Any] = {"linestyle": "none", "marker": "_", "markersize": 5, "color": LONGEST}
    lines = axes.plot((table["start_s"] + table["end_s"]) / 2, table["max_ms"], label="longest latency", **look)
    _log_axis(axes, table["max_ms"].to_numpy())
    table = timeline(outcome, duration_s / max(FEW_BINS, min(MOST_BINS, count // PER_BIN)))
    if table["p99_ms"].notna().any():
        look = {"color": INK, "marker": "o", "markersize": 2.5, "linewidth": 1.4}
        lines += axes.plot((table["start_s"] + table["end_s"]) / 2, table["p99_ms"], label="p99 latency", **look)
    return lines


def _draw_losses(axes: Axes, table: pd.DataFrame) -> list[Line2D]:
    width_s = table["end_s"] - table["start_s"]
    looks: dict[str, Any] = {"lost": (0, (3, 1)), "refused": (0, (1, 1))}
    rates = pd.DataFrame({name: table[name] / width_s for name in looks}).assign(
        start_s=table["start_s"], end_s=table["end_s"]
    )
    most = float(rates[[*looks]].max().max())
    if not most:
        return []
    beside = _beside(axes, "lost, refused (per s)", LOSS, 1.15 * most)
    return [
        _steps(beside, rates, name, color=LOSS, linestyle=dashes, linewidth=1.3, label=name)
        for name, dashes in looks.items()
    ]


def _draw_queues(axes: Axes, table: pd.DataFrame) -> list[Line2D]:
    lines = []
    for tier, color in TIER_COLORS.items():
        column = f"{tier}_waiting"
        if table[column].notna().any():
            look = {"color": color, "linestyle": TIER_LINES[tier], "linewidth": 1.3}
            lines.append(_steps(axes, table, column, label=f"{tier} queue", **look))
    axes.set_ylabel("longest queue (items)")
    _symlog_axis(axes, float(table[[f"{tier}_waiting" for tier in TIER_COLORS]].max().max()))
    return lines


def _storm(outcome: Outcome) -> Floats:
    """Seconds from the first strike to each try since."""
    after_s = tries_s(outcome) - first_strike_s(outcome)
    return after_s[after_s >= 0]


def _span_s(after_s: Floats) -> float:
    """The time that a design's storm takes: until nearly all tries have begun, and a little more."""
    return max(1.0, 1.08 * float(np.quantile(after_s, STORM_SHARE))) if len(after_s) else 1.0


def _draw_storm(axes: Axes, after_s: Floats, span_s: float, place: int) -> Line2D:
    own = mark(place)
    width_s = max(0.1, span_s / STORM_BINS)
    edges_s = width_s * np.arange(math.ceil(span_s / width_s) + 2, dtype=np.float64)
    values = peaks_of(after_s, edges_s)
    look: dict[str, Any] = {"drawstyle": "steps-post", "color": own.color, "linestyle": own.line, "linewidth": 1.3}
    (line,) = axes.plot(edges_s[:-1], values, **look)
    peak, peak_s = peak_tries(after_s)
    if peak:
        axes.plot(peak_s, peak, marker=own.marker, color=own.color, linestyle="none", label="peak")
    return line


def _peak_said(after_s: Floats) -> str:
    peak, peak_s = peak_tries(after_s)
    return f"peak {peak:,} at {peak_s:.3g} s" if peak else "no tries"


def _beside(axes: Axes, label: str, color: str, top: float) -> Axes:
    """A second y axis, up to ``top``, at the right of a panel."""
    beside: Axes = axes.twinx()
    beside.set_ylim(0, top)
    beside.set_ylabel(label, color=color)
    beside.tick_params(axis="y", colors=color)
    beside.grid(visible=False)
    beside.spines["right"].set_visible(True)
    beside.yaxis.set_major_formatter(lambda value, _: short(value))
    return beside


def _symlog_axis(axes: Axes, largest: float) -> None:
    """A scale that is linear up to 1 and logarithmic above. Modifies ``axes``."""
    top = max(1.5 * largest, 10.0)
    decades = math.ceil(math.log10(top))
    axes.set_yscale("symlog", linthresh=1.0)
    axes.set_yticks([0.0, *(10.0**power for power in range(0, decades + 1, math.ceil((decades + 1) / 5)))])
    axes.minorticks_off()
    axes.set_ylim(0, top)
    axes.yaxis.set_major_formatter(lambda value, _: short(value))


def _log_axis(axes: Axes, values: np.ndarray) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    seen = values[np.isfinite(values) & (values > 0)]
    low, high = math.log10(seen.min()), math.log10(seen.max())
    pad = max(0.08 * (high - low), (0.7 - (high - low)) / 2)
    axes.set_yscale("log")
    axes.set_ylim(10 ** (low - pad), 10 ** (high + pad))
    steps = (1.0, 2.0, 5.0) if high - low < 1.5 else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(subs=steps, numticks=20))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: short(value))


# --------------------------------------------------------------------------- terminal


def show_fault(found: Struck, out: Console) -> None:
    """What a fault did, in words, and a figure per line; what was lost or refused is given by cause."""
    row = found.recovery.iloc[0]
    out.print(found.verdict, markup=False)
    table = table_of(f"{row['design']}: what the faults did", ["figure", "value", "unit"], left=("figure", "unit"))
    for figure, (words, unit, factor) in FIGURES.items():
        if not math.isnan(row[figure]):
            table.add_row(words, number(factor * row[figure] if factor != 1.0 else row[figure]), unit)
        for cause, count in _by_cause(row, figure):
            table.add_row(f"  {cause}", number(count), "")
    out.print(table)
    later = found.runs.paired.iloc[0]
    out.print(
        f"Live with the faults and without: {later['pairs']:,} messages x recipients, "
        f"{number(float(later['mean_difference_ms']))} ms later in the mean; live only without: {later['only_a']:,}.",
        markup=False,
    )


def show_storms(runs: Runs, out: Console) -> None:
    """A row per design in which faults struck; nothing where none did."""
    table = storms(runs.outcomes)
    if table.empty:
        return
    headers = [
        "design", "sessions\ncut", "tries", "most in\n100 ms", "half\nback s", "99 %\nback s", "all\nback s",
        "never\nback", "lost", "refused",
    ]
    shown = table_of("The faults, and who comes back (first replication)", headers, left=("design",))
    names = ("sessions_hit", "tries", "peak_tries_per_100ms", "back_p50_s", "back_p99_s", "back_all_s", "never_back",
             "lost", "refused")
    for row in table.to_dict("records"):
        shown.add_row(row["design"], *(number(row[name]) for name in names))
    out.print(shown)
    out.print("most in 100 ms: tries to come back; lost, refused: messages x recipients.", markup=False)


def _by_cause(row: pd.Series, figure: str) -> list[tuple[str, int]]:
    """What was lost or refused for each cause, where there was any."""
    if figure not in ("lost", "refused"):
        return []
    counts = {str(name): row[name] for name in row.index if str(name).startswith(f"{figure}_")}
    return [(name.removeprefix(f"{figure}_").replace("_", " "), int(count)) for name, count in counts.items() if count]
