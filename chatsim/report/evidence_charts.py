"""Charts of the evidence for an answer: where latency is spent, what each resource did over time, fan-out, heat."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from chatsim.analysis.breakdown import (
    CLIENT_LINK,
    LAST_LINK,
    OUTBOUND,
    PLACES,
    SENDER,
    SERVER_LINKS,
    SHARES,
    STREAM,
    TRAVELS,
    WAITS,
    WHATS,
    WORKS,
)
from chatsim.analysis.recovery import struck
from chatsim.analysis.resources import LOGINS
from chatsim.report.charts import latency_heatmap
from chatsim.report.faults import LABELS_MAX, TIER_LINES, shade
from chatsim.report.style import (
    TIER_COLORS,
    legend,
    mark,
    ms_said,
    new_figure,
    nothing,
    number,
    plain,
    share_said,
    styled,
    time_axis,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from chatsim.engine.outcome import Outcome

WHAT_LOOKS: dict[str, dict[str, Any]] = {
    TRAVELS: {"facecolor": "#c9d3da", "edgecolor": "#8a9aa5"},
    WAITS: {"facecolor": "#D55E00", "edgecolor": "#ffffff", "hatch": "////"},
    SHARES: {"facecolor": "#8fc1e0", "edgecolor": "#0072B2", "hatch": "xx"},
    WORKS: {"facecolor": "#0072B2", "edgecolor": "#0072B2"},
}
DESIGN_LOOKS: dict[str, dict[str, Any]] = {
    "gateways": {"facecolor": TIER_COLORS["gateway"], "edgecolor": "#ffffff"},
    "broker": {"facecolor": TIER_COLORS["broker"], "edgecolor": "#ffffff", "hatch": "////"},
    "database": {"facecolor": TIER_COLORS["database"], "edgecolor": "#ffffff", "hatch": "xx"},
    SERVER_LINKS: {"facecolor": "#c9d3da", "edgecolor": "#8a9aa5"},
    OUTBOUND: {"facecolor": "#F0E0A0", "edgecolor": "#8a7a30", "hatch": "\\\\\\\\"},
    SENDER: {"facecolor": "#ffffff", "edgecolor": "#222222", "hatch": "++"},
    STREAM: {"facecolor": "#CC79A7", "edgecolor": "#ffffff", "hatch": "----"},
}
CLIENT_LINKS = (CLIENT_LINK, LAST_LINK)
STATIONS_MAX, TITLE_WIDTH = 8, 72
STRIP_IN = 0.2
BUSY_LEAST, QUEUE_LEAST = 10.0, 100.0  # % and items at the dark end, so that what is idle, or soon gone, stays pale
ERROR_LOOKS: dict[str, tuple[str, Any]] = {
    **{tier: (color, TIER_LINES[tier]) for tier, color in TIER_COLORS.items()},
    LOGINS: ("#000000", (0, (6, 1.5, 1.2, 1.5))),
}
ERROR_NAMES = {
    "gateway": "at gateways", "broker": "at the broker", "database": "at the database", LOGINS: "logins failed"
}  # fmt: skip


# --------------------------------------------------------------------------- where the time goes


def breakdown_chart(table: pd.DataFrame, title: str = "Where the time goes") -> Figure:
    """How deliveries near p50 and near p99 spend their time: a panel each, a bar per place, in ms.

    ``table`` is of :func:`chatsim.analysis.breakdown.breakdown`. What the time is spent with is told by colour and
    hatching; beside each bar stand its ms and its share.
    """
    with styled():
        names = list(dict.fromkeys(table["percentile"]))
        places = [place for place in PLACES if place in set(table["place"])]
        figure = new_figure(1.3 + 0.26 * max(len(places), 3))
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        if not names:
            nothing(figure.add_subplot(), "too few deliveries")
            return figure
        panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
        for axes, name in zip(panels, names, strict=True):
            part = table[table["percentile"] == name]
            _place_bars(axes, part, places)
            mean = ms_said(part["whole_ms"].iloc[0])
            axes.set_title(f"near {name}: {mean}, mean of {part['deliveries'].iloc[0]}", fontweight="normal")
            axes.set_xlabel("time spent (ms)")
        panels[0].set_yticks(range(len(places)), places)
        panels[0].set_ylim(len(places) - 0.4, -0.6)
        plain(panels[0])
        shown = [what for what in WHATS if what in set(table["what"])]
        legend(figure, [_swatch(WHAT_LOOKS[what]) for what in shown], shown, below=True)
        return figure


def breakdown_by_design(tables: Mapping[str, pd.DataFrame], title: str = "What each design adds") -> Figure:
    """What deliveries near p50 and p99 spend between the clients' links, in ms: a panel each, a bar per design.

    ``tables`` has the table of :func:`chatsim.analysis.breakdown.breakdown` of each. Links of clients, which no design
    changes, are left out of the bars; beside a bar stands what it adds up to, of the whole latency.
    """
    with styled():
        every = pd.concat(tables.values()) if tables else pd.DataFrame({"percentile": [], "place": []})
        names = list(dict.fromkeys(every["percentile"]))
        lines = max((wrapped(name).count("\n") + 1 for name in tables), default=1)
        figure = new_figure(1.5 + max(0.34, 0.15 * lines) * max(len(tables), 2))
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        if not names:
            nothing(figure.add_subplot(), "too few deliveries")
            return figure
        panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
        for axes, name in zip(panels, names, strict=True):
            _design_bars(axes, {key: table[table["percentile"] == name] for key, table in tables.items()})
            axes.set_title(f"near {name}", fontweight="normal")
            axes.set_xlabel("time at servers (ms)")
        panels[0].set_yticks(range(len(tables)), [wrapped(name) for name in tables])
        panels[0].set_ylim(max(len(tables), 2) - 0.4, -0.6)
        plain(panels[0])
        shown = [place for place in DESIGN_LOOKS if place in set(every["place"])]
        figure.legend([_swatch(DESIGN_LOOKS[place]) for place in shown], shown, loc="outside lower center", ncols=4)
        return figure


def _place_bars(axes: Axes, part: pd.DataFrame, places: list[str]) -> None:
    top = float(part.groupby("place")["mean_ms"].sum().max())
    for row, place in enumerate(places):
        here = part[part["place"] == place].set_index("what")["mean_ms"]
        left = 0.0
        for what in WHATS:
            if what in here.index:
                axes.barh(row, here[what], left=left, height=0.66, linewidth=0.6, label=what, **WHAT_LOOKS[what])
                left += here[what]
        share = left / float(part["whole_ms"].iloc[0])
        said = f"{number(left)} ({share_said(share)})" if left else "none"
        axes.text(left + 0.02 * top, row, said, va="center", fontsize=8)
    _room_for_labels(axes, top, 1.75)


def _design_bars(axes: Axes, tables: Mapping[str, pd.DataFrame]) -> None:
    added = {name: part[~part["place"].isin(CLIENT_LINKS)] for name, part in tables.items()}
    top = max(float(part["mean_ms"].sum()) for part in added.values())
    for row, (name, part) in enumerate(added.items()):
        left = 0.0
        for place, look in DESIGN_LOOKS.items():
            spent = float(part.loc[part["place"] == place, "mean_ms"].sum())
            if spent:
                axes.barh(row, spent, left=left, height=0.66, linewidth=0.6, label=place, **look)
                left += spent
        whole = tables[name]["whole_ms"]
        said = f"{number(left)} of {number(whole.iloc[0])}" if len(whole) else "too few"
        axes.text(left + 0.02 * top, row, said, va="center", fontsize=8)
    _room_for_labels(axes, top, 1.7)


def _room_for_labels(axes: Axes, top: float, factor: float) -> None:
    """Ticks as far as the bars go, and room for what stands beside them. Modifies ``axes``."""
    from matplotlib.ticker import MaxNLocator

    most = top or 1.0
    axes.set_xlim(0, factor * most)
    ticks = [float(tick) for tick in MaxNLocator(3).tick_values(0.0, most) if tick <= 1.05 * most]
    axes.set_xticks(ticks, [number(tick) for tick in ticks])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def _swatch(look: dict[str, Any]) -> Any:
    from matplotlib.patches import Patch

    return Patch(linewidth=0.6, **look)


# --------------------------------------------------------------------------- over time


def heat_with_faults(outcome: Outcome) -> Figure:
    """Deliveries by arrival and latency; faults are shaded, begin at a dashed line, and are named above."""
    with styled():
        figure = latency_heatmap(outcome)
        _mark_faults(outcome, [figure.axes[0]])
        return figure


def _mark_faults(outcome: Outcome, panels: Sequence[Axes], weight: str = "bold") -> None:
    """Shades faults, and names them above the first panel, whose title moves up. Modifies the panels."""
    from matplotlib.patheffects import withStroke

    before = [set(axes.lines) for axes in panels]
    shade(outcome, panels)
    for axes, known in zip(panels, before, strict=True):
        for line in set(axes.lines) - known:
            line.set(zorder=3, path_effects=[withStroke(linewidth=2.4, foreground="white")])
    named = int((struck(outcome)["start_s"] < outcome.world.duration_s).sum())
    if named:
        panels[0].set_title(panels[0].get_title(loc="left"), pad=6 + 12 * min(named, LABELS_MAX), fontweight=weight)


def use_strips(outcome: Outcome, use: pd.DataFrame, errors: pd.DataFrame, title: str = "") -> Figure:
    """Utilisation and queue of each station over time as strips, and errors as lines: the USE method.

    ``use`` and ``errors`` are of :mod:`chatsim.analysis.resources`. Of a tier with more than 8 stations the busiest 8
    are shown. Beside each strip stand its mean utilisation and its longest queue. Where there were no errors, that is
    said in place of the panel.
    """
    shown = shown_stations(use)
    any_errors = bool(errors["errors"].sum())
    strips_in = STRIP_IN * max(len(shown), 3) + 0.25
    heights = [strips_in, strips_in, 1.2 if any_errors else 0.3]
    with styled():
        figure = new_figure(1.5 + sum(heights))
        words = title or wrapped(f"Utilisation, queues and errors: {outcome.scenario.name}", TITLE_WIDTH)
        figure.suptitle(words, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        panels = figure.subplots(3, 1, sharex=True, height_ratios=heights)
        some = _some_said(use, shown)
        busy = 100 * _grid(use, shown, "utilisation")
        means = [f"{_busy_said(value)} %" for value in np.average(busy, axis=1, weights=_widths_s(use))]
        _strip(figure, panels[0], use, busy, shown, means, (f"utilisation (%), mean at the right{some}", False))
        queue = _grid(use, shown, "queue_items")
        longest = [number(value) for value in queue.max(axis=1)]
        _strip(figure, panels[1], use, queue, shown, longest, (f"queue (items), longest at the right{some}", True))
        if any_errors:
            _draw_errors(figure, panels[2], errors)
        else:
            nothing(panels[2], "no errors: no message lost or refused for a station, no login failed")
            panels[2].spines["left"].set_visible(False)
            panels[2].grid(visible=False)
        panels[2].set_xlim(0, outcome.world.duration_s)
        time_axis(panels[2], outcome.world.duration_s)
        _mark_faults(outcome, panels, weight="normal")
        return figure


def shown_stations(use: pd.DataFrame) -> list[str]:
    """The stations that strips are drawn for: all of a tier, or its 8 busiest, in their order."""
    shown = []
    for _, part in use.groupby("tier", sort=False):
        busy = part.groupby("station", sort=False)["utilisation"].mean()
        kept = set(busy.sort_values(ascending=False, kind="stable").index[:STATIONS_MAX])
        shown += [station for station in busy.index if station in kept]
    return shown


def _some_said(use: pd.DataFrame, shown: list[str]) -> str:
    """Which stations are not shown."""
    all_of = use.groupby("tier", sort=False)["station"].unique()
    plural = {"gateway": "gateways", "broker": "broker nodes"}
    parts = [
        f"{len(set(names) & set(shown))} busiest of {len(names)} {plural.get(str(tier), str(tier))}"
        for tier, names in all_of.items()
        if len(names) > STATIONS_MAX
    ]
    return f" ({', '.join(parts)})" if parts else ""


def _grid(use: pd.DataFrame, shown: list[str], column: str) -> np.ndarray:
    return use.pivot(index="station", columns="start_s", values=column).loc[shown].to_numpy(dtype=np.float64)


def _edges_s(use: pd.DataFrame) -> list[float]:
    one = use[use["station"] == use["station"].iloc[0]]
    return [*one["start_s"], float(one["end_s"].iloc[-1])]


def _widths_s(use: pd.DataFrame) -> np.ndarray:
    return np.diff(_edges_s(use))


def _strip(
    figure: Figure, axes: Axes, use: pd.DataFrame, values: np.ndarray, shown: list[str], said: list[str],
    words: tuple[str, bool],
) -> None:
    """A row of cells per station, the darker the more, with a figure beside each row. Modifies ``axes``."""
    from matplotlib.colors import LogNorm, Normalize

    title, logarithmic = words
    top = max(float(values.max()), QUEUE_LEAST if logarithmic else BUSY_LEAST)
    norm = LogNorm(1.0, top) if logarithmic else Normalize(0, top)
    seen = np.ma.masked_less(values, 1.0) if logarithmic else values
    rows = np.arange(len(shown) + 1) - 0.5
    cells = axes.pcolormesh(_edges_s(use), rows, seen, cmap="Blues", norm=norm, rasterized=True)
    axes.set_yticks(range(len(shown)), shown, fontsize=8)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False)
    for row, text in enumerate(said):
        axes.annotate(text, (1.01, row), xycoords=axes.get_yaxis_transform(), va="center", fontsize=8)
    axes.set_title(title, fontweight="normal")
    bar = figure.colorbar(cells, ax=axes, pad=0.09, aspect=8, fraction=0.05)
    ticks = _log_ticks(top) if logarithmic else [0.0, top / 2, top]
    bar.set_ticks(ticks, labels=[number(tick) for tick in ticks])
    bar.ax.minorticks_off()


def _log_ticks(top: float) -> list[float]:
    """At most three powers of ten up to ``top``.

    >>> _log_ticks(412.0), _log_ticks(25_000.0)
    ([1.0, 10.0, 100.0], [1.0, 100.0, 10000.0])
    """
    highest = math.floor(math.log10(top))
    return [10.0**power for power in range(0, highest + 1, max(1, math.ceil(highest / 2)))]


def _busy_said(percent: float) -> str:
    return f"{percent:.0f}" if percent >= 9.95 else f"{percent:.2g}"


def _draw_errors(figure: Figure, axes: Axes, errors: pd.DataFrame) -> None:
    for place, part in errors.groupby("place", sort=False):
        if not part["errors"].sum():
            continue
        color, line = ERROR_LOOKS[str(place)]
        per_s = (part["errors"] / (part["end_s"] - part["start_s"])).to_numpy(dtype=np.float64)
        edges_s = [*part["start_s"], part["end_s"].iloc[-1]]
        look: dict[str, Any] = {"drawstyle": "steps-post", "color": color, "linestyle": line, "linewidth": 1.5}
        axes.plot(edges_s, [*per_s, per_s[-1]], label=ERROR_NAMES[str(place)], **look)
    axes.set_title("errors (per s)", fontweight="normal")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda value, _: number(value))
    figure.legend(loc="outside lower center", ncols=4, handlelength=3.2)


# --------------------------------------------------------------------------- fan-out


def last_member_chart(table: pd.DataFrame, title: str = "When the last one has it") -> Figure:
    """Latency of a message's last delivery, in ms, against the sessions that it reaches (log): measured and bound.

    ``table`` is of :func:`chatsim.analysis.last_member.last_member`.
    """
    from matplotlib.ticker import NullFormatter

    with styled():
        figure = new_figure(3.6)
        axes = figure.add_subplot()
        axes.set_title(title)
        axes.set_xlabel("fan-out: sessions that a message reaches (messages)")
        axes.set_ylabel("latency (ms)")
        if table.empty:
            nothing(axes, "no deliveries")
            return figure
        handles, names = [], []
        for place, (column, words) in enumerate(
            (("last_p99_ms", "p99 of the last"), ("last_mean_ms", "mean of the last"), ("each_mean_ms", "mean of all"))
        ):
            own = mark(place)
            look: dict[str, Any] = {"color": own.color, "marker": own.marker, "linestyle": own.line}
            if table[column].notna().any():
                handles += axes.plot(table["sessions_mean"], table[column], label=words, **look)
                names.append(words)
        bound: dict[str, Any] = {"color": "#777777", "linestyle": (0, (4, 2)), "linewidth": 1.4}
        handles += axes.plot(table["sessions_mean"], table["bound_ms"], label="bound", **bound)
        axes.set_xscale("log", base=2)
        axes.set_xticks(table["sessions_mean"], _class_labels(table))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        legend(figure, handles, [*names, "fork-join bound of\nthe mean: links alone"])
        return figure


def _class_labels(table: pd.DataFrame) -> list[str]:
    return [f"{sessions}\n({number(messages)})" for sessions, messages in
            zip(table["sessions"], table["messages"], strict=True)]  # fmt: skip
