"""Two plain charts for tables of one's own, in the look of all others: lines with bands, and bars with whiskers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chatsim.report.style import INK, legend, mark, new_figure, nothing, number, plain, styled, wrapped

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BAND = 0.18
Limit = tuple[str, float]


def lines(
    table: pd.DataFrame,
    x: str,
    y: str | Sequence[str],
    by: str = "",
    *,
    half_width: str = "",
    said: tuple[str, str, str] = ("", "", ""),
    log: str = "",
    limit: Limit | None = None,
) -> Figure:
    """Columns ``y`` against column ``x``, a line each; or one column, a line for each value of ``by``.

    ``half_width`` is the column with the half width of an interval, drawn as a band; ``said`` title, and what stands
    at the axes (with units); ``log`` the axes that are logarithmic ("", "x", "y" or "xy"); ``limit`` a level, named.
    """
    columns = [y] if isinstance(y, str) else list(y)
    rows = table.dropna(subset=columns, how="all")
    parts = list(rows.groupby(by, sort=False)) if by else [("", rows)]
    named = [(str(name) if by else column, part, column) for name, part in parts for column in columns]
    with styled():
        figure = new_figure(3.6 + 0.16 * len(named) * (len(named) > 4))
        axes = figure.add_subplot()
        _title(axes, *said)
        handles = [_line(axes, part, x, column, half_width, place) for place, (_, part, column) in enumerate(named)]
        _scales(axes, log)
        _draw_limit(axes, limit)
        if not len(rows):
            nothing(axes, "nothing to show")
        elif len(named) > 1:
            legend(figure, handles, [wrapped(name) for name, _, _ in named])
        return figure


def bars(
    table: pd.DataFrame,
    name: str,
    value: str,
    *,
    half_width: str = "",
    title: str = "",
    label: str = "",
    limit: Limit | None = None,
) -> Figure:
    """A bar per row, named by column ``name``, as long as column ``value``, with the half width of an interval.

    ``label`` stands at the axis (with the unit); ``limit`` is a level, named.
    """
    with styled():
        figure = new_figure(1.2 + 0.42 * max(len(table), 1))
        axes = figure.add_subplot()
        _title(axes, title, label or value, "")
        places = np.arange(len(table))
        values = table[value].to_numpy(float)
        spread: Any = table[half_width].to_numpy(float) if half_width else None
        axes.barh(places, values, xerr=spread, color=mark(0).color, height=0.6, ecolor=INK, capsize=3)
        axes.set_yticks(places, [wrapped(str(each)) for each in table[name]])
        axes.set_ylim(max(len(table), 1) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        plain(axes)
        _draw_limit(axes, limit, upright=True)
        return figure


def _line(axes: Axes, part: pd.DataFrame, x: str, column: str, half_width: str, place: int) -> Any:
    own, ordered = mark(place), part.sort_values(x)
    at, values = ordered[x].to_numpy(float), ordered[column].to_numpy(float)
    if half_width:
        spread = ordered[half_width].to_numpy(float)
        axes.fill_between(at, values - spread, values + spread, color=own.color, alpha=BAND, linewidth=0)
    marker = own.marker if len(at) <= 40 else ""
    return axes.plot(at, values, color=own.color, linestyle=own.line, marker=marker)[0]


def _title(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _scales(axes: Axes, log: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for letter, axis, scale in (("x", axes.xaxis, axes.set_xscale), ("y", axes.yaxis, axes.set_yscale)):
        if letter in log:
            scale("log")
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
            axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
            axis.set_minor_formatter(NullFormatter())
    if "y" not in log:
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))


def _draw_limit(axes: Axes, limit: Limit | None, upright: bool = False) -> None:
    if limit is None:
        return
    name, level = limit
    look: dict[str, Any] = {"color": "#666666", "linestyle": "--", "linewidth": 1.2}
    if upright:
        axes.axvline(level, **look)
        at: tuple[float, float] = (level, 1.0)
        axes.annotate(name, at, xycoords=axes.get_xaxis_transform(), xytext=(3, -9), textcoords="offset points",
                      fontsize=8.5, color="#444444")
    else:
        axes.axhline(level, **look)
        axes.annotate(name, (0.01, level), xycoords=axes.get_yaxis_transform(), xytext=(0, 3),
                      textcoords="offset points", fontsize=8.5, color="#444444")
