"""Charts and tables of the questions of a review: how many friends on a list, and who reads what."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from chatsim.report.style import INK, mark, new_figure, styled
from chatsim.report.style import number as short
from chatsim.report.terminal import number, table_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.console import Console

LIST_PANELS = {
    "hit_share": ("partner listed", "% of openings", 100.0),
    "searches": ("searches", "", 1.0),
    "abandoned": ("abandoned", "conversations", 1.0),
    "login_ms_p99": ("login, p99", "ms", 1.0),
    "redis_ops": ("Redis", "operations", 1.0),
    "presence_notices": ("presence", "notices", 1.0),
    "peak_subscriptions": ("Redis", "subscriptions", 1.0),
    "memory_bytes": ("largest gateway", "MB", 1e-6),
}
ROOMS, POLICIES = ("personal", "pair", "group"), ("open", "friends", "scopes")
BARS_WIDE, BARS_LABELLED = 4, 12
"""Up to so many bars a panel has room for labels across, and for labels at all."""


def list_limits_chart(table: pd.DataFrame, title: str = "How many friends on the list?") -> Figure:
    """A panel per figure of ``study.list_limits``, a bar per limit, each with its value."""
    with styled():
        figure = new_figure(4.3)
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        panels = figure.subplots(2, 4).ravel()
        for place, (axes, (name, (what, unit, factor))) in enumerate(zip(panels, LIST_PANELS.items(), strict=True)):
            _bars(axes, table, name, factor, mark(place // 4).color)
            axes.set_title(f"{what}\n({unit})" if unit else f"{what}\n", fontweight="normal", fontsize=9)
            if place >= len(panels) - 4:
                axes.set_xlabel("friends listed")
        return figure


def who_reads_chart(table: pd.DataFrame, title: str = "Who reads what?") -> Figure:
    """A cell per kind of rooms and access policy: the share of private messages that others see, and more."""
    with styled():
        figure = new_figure(4.4)
        axes = figure.add_subplot()
        axes.set_title(title)
        cells = {(row["rooms"], row["access"]): row for _, row in table.iterrows()}
        shares = np.array([[cells[rooms, policy]["overheard_share"] for policy in POLICIES] for rooms in ROOMS], float)
        shares = np.nan_to_num(shares)
        image = axes.imshow(shares, cmap="Reds", vmin=0.0, vmax=max(1.6 * shares.max(), 1e-9), aspect="auto")
        image.set_alpha(0.85)
        for row, rooms in enumerate(ROOMS):
            for column, policy in enumerate(POLICIES):
                lines = _cell(cells[rooms, policy])
                axes.text(column, row - 0.24, lines[0], ha="center", va="center", fontsize=11, fontweight="bold")
                axes.text(column, row + 0.13, "\n".join(lines[1:]), ha="center", va="center", fontsize=8, color=INK)
        axes.set_xticks(range(3), [f"access: {policy}" for policy in POLICIES])
        axes.set_yticks(range(3), [f"{rooms}\nrooms" for rooms in ROOMS])
        axes.set_xlabel("bold: private messages that somebody else saw")
        axes.tick_params(length=0)
        axes.grid(visible=False)
        for side in axes.spines.values():
            side.set_visible(False)
        return figure


def show_list_limits(table: pd.DataFrame, out: Console) -> None:
    """A row per limit of the friend list; then what it comes to."""
    headers = [
        "friends\nlisted", "hits\n%", "searches", "turned to\nothers", "aban-\ndoned", "login p50\nms", "p99\nms",
        "Redis\nops", "subscrip-\ntions", "presence\nnotices", "gateway\nMB",
    ]
    shown = table_of("Friend list: what a conversation opening finds, and what loading costs", headers, left=())
    for row in table.to_dict("records"):
        shown.add_row(
            str(row["limit"]), number(100 * row["hit_share"]), number(row["searches"]), number(row["turned"]),
            number(row["abandoned"]), number(row["login_ms_p50"]), number(row["login_ms_p99"]),
            number(row["redis_ops"]), number(row["peak_subscriptions"]), number(row["presence_notices"]),
            number(row["memory_bytes"] / 1e6),
        )
    out.print(shown)
    out.print(limits_verdict(table), markup=False)


def limits_verdict(table: pd.DataFrame) -> str:
    """What the lengths of a list come to, in one or two sentences.

    >>> limits_verdict(pd.DataFrame({"limit": ["15", "all"], "hit_share": [0.5, 0.9], "openings": [10, 10],
    ...     "abandoned": [3, 1], "login_ms_p99": [100.0, 250.0], "presence_notices": [10, 80]}))
    'From 15 to all friends: hits 50 % to 90 % of 10 openings; given up 3 to 1; login p99 100 to 250 ms; presence x 8.'
    """
    first, last = table.iloc[0], table.iloc[-1]
    if len(table) == 1:
        return (
            f"With {first['limit']} friends: hits {number(100 * first['hit_share'])} % of {first['openings']:,} "
            f"openings; given up {first['abandoned']:,}; login p99 {number(first['login_ms_p99'])} ms."
        )
    before, after = first["presence_notices"], last["presence_notices"]
    grown = f"; presence x {number(after / before)}" if before else ""
    return (
        f"From {first['limit']} to {last['limit']} friends: hits {number(100 * first['hit_share'])} % to "
        f"{number(100 * last['hit_share'])} % of {first['openings']:,} openings; given up {first['abandoned']:,} to "
        f"{last['abandoned']:,}; login p99 {number(first['login_ms_p99'])} to {number(last['login_ms_p99'])} ms{grown}."
    )


def show_who_reads(table: pd.DataFrame, out: Console) -> None:
    """A row per kind of rooms and access policy."""
    headers = [
        "rooms", "access", "sent", "others\nsaw", "%", "intru-\nders saw", "tries", "got\nin %", "ties\nended",
        "cros-\nsed", "for-\nbidden", "lag\nmax s",
    ]
    title = "Who reads what: private messages sent, intruders, ties that ended"
    shown = table_of(title, headers, left=("rooms", "access"))
    for row in table.to_dict("records"):
        shown.add_row(
            row["rooms"], row["access"], number(row["private"]), number(row["overheard"]),
            number(100 * row["overheard_share"]), number(row["by_intruders"]), number(row["tried"]),
            number(100 * row["entered_share"]), number(row["ended"]), number(row["crossed"]), number(row["forbidden"]),
            number(row["lag_s_max"]),
        )
    out.print(shown)
    out.print(
        "crossed: messages taken across a tie after it had ended; lag: from its end until no gateway takes one, where "
        "that came within the run.", markup=False,
    )


def _bars(axes: Axes, table: pd.DataFrame, name: str, factor: float, color: str) -> None:
    values = factor * table[name].astype(float)
    heights = values.fillna(0.0)
    count = len(table)
    many, labelled = count > BARS_WIDE, range(0, count, -(-count // BARS_LABELLED))
    axes.bar(range(count), heights, color=color, width=0.62)
    axes.set_xticks(labelled, table["limit"].astype(str).iloc[:: labelled.step], rotation=90 if many else 0)
    axes.set_yticks([])
    axes.set_ylim(0, max(heights.max(), 1e-9) * (1.45 if many else 1.2))
    axes.grid(visible=False)
    axes.tick_params(axis="x", length=0)
    for place in labelled:
        value = values.iloc[place]
        axes.annotate("-" if math.isnan(value) else short(value), (place, heights.iloc[place]), xytext=(0, 2),
                      textcoords="offset points", ha="center", fontsize=8, rotation=90 if many else 0)


def _cell(row: pd.Series) -> list[str]:
    entered = "nobody tried" if math.isnan(row["entered_share"]) else f"{100 * row['entered_share']:.0f} % got in"
    lines = [f"{number(100 * row['overheard_share'])} %", f"{row['by_intruders']:,} by intruders ({entered})"]
    if not row["ended"]:
        return [*lines, "no tie ended"]
    noticed = "never" if math.isnan(row["lag_s_max"]) else f"in {number(row['lag_s_max'])} s"
    rest = f", {row['never']:,} never" if row["never"] and noticed != "never" else ""
    return [*lines, f"{row['crossed']:,} across ended ties ({row['ended']:,})", f"noticed {noticed}{rest}"]
