"""What a decision needs, on a terminal and as files: capacity, the best of several designs, which keys matter."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatsim.report.style import INK, legend, mark, new_figure, nothing, plain, styled, wrapped, write_figure
from chatsim.report.style import number as short
from chatsim.report.terminal import number, table_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.console import Console

    from chatsim.analysis.cost import Cost
    from chatsim.scenario import Scenario
    from chatsim.study.capacity import Capacity
    from chatsim.study.selecting import Selected
    from chatsim.study.sensitivity import Screened

BARS_MOST = 20
ROW_IN = 0.27
RISES, FALLS = "#0072B2", "#D55E00"
REASON_WIDTH = 44

# --------------------------------------------------------------------------- terminal


def show_capacity(found: Capacity, out: Console) -> None:
    """The values that were tried, the tiers and the bill at the answer; then the answer."""
    slos = [str(slo) for slo in found.asked.slos]
    figures = list(dict.fromkeys(slo.figure for slo in found.asked.slos))
    head = {"rate": "messages\nx"}.get(found.asked.find, found.asked.find)
    table = table_of(
        f"{found.asked.scenario.name}: {' and '.join(slos)}", [head, "verdict", "runs", *figures, "why"],
        left=("verdict", "why"),
    )  # fmt: skip
    for row in found.table().to_dict("records"):
        value = number(float(row["value"])) if found.asked.find == "rate" else f"{row['value']:,.0f}"
        cells = [_with_half_width(row[name], row[f"{name} half width"]) for name in figures]
        why = "" if row["verdict"] == "met" else _cut(str(row["reason"]))
        table.add_row(value, str(row["verdict"]), str(row["replications"]), *cells, why)
    out.print(table)
    if found.best is not None:
        _show_tiers(found, found.best.value, out)
    if found.cost is not None:
        show_cost(found.cost, out)
    _say(out, found.sentences)


def _show_tiers(found: Capacity, value: float, out: Console) -> None:
    title = f"Headroom at {found.asked.words(value)}"
    table = table_of(title, ["tier", "load %", "by estimate %", "fits x"], left=("tier",))
    for row in found.headroom.to_dict("records"):
        fits = "-" if math.isinf(row["room"]) else number(float(row["room"]))
        table.add_row(str(row["tier"]), number(100 * row["load"]), number(100 * row["estimate"]), fits)
    out.print(table)
    _say(out, ["Load: carried by the busiest station of the tier, of what it could carry with full ticks."])


def show_cost(cost: Cost, out: Console) -> None:
    """The bill of a month, part by part."""
    table = table_of(
        "Cost in USD (list prices of the scenario)", ["part", "amount", "unit", "per month", "per 1,000 users"],
        left=("part", "unit"),
    )  # fmt: skip
    for row in cost.table().to_dict("records"):
        amount = "" if math.isnan(row["amount"]) else number(float(row["amount"]))
        usd = [money(row["usd_per_month"]), money(row["usd_per_1000_users"])]
        table.add_row(str(row["part"]), amount, str(row["unit"]), *usd)
    out.print(table)
    _say(out, [cost.sentence])


def show_best(found: Selected, out: Console) -> None:
    """A row per design, then the answer with its guarantee."""
    figure = found.race.figure
    slos = ["SLOs"] if found.race.slos else []
    headers = ["design", "runs", figure, "state", *slos, "USD\nper month", "per 1,000\nusers", "front"]
    title = f"{figure} over replications with the same luck for all, ± half width of the 95 % interval"
    table = table_of(title, headers, left=("design", "state", "SLOs"))
    for row in found.table.to_dict("records"):
        cells = [str(row["design"]), str(row["replications"]), _with_half_width(row[figure], row["half_width"])]
        cells += [str(row["state"]), *([str(row["slos"])] if slos else [])]
        cells += [money(row["usd_per_month"]), money(row["usd_per_1000_users"]), "yes" if row["on_front"] else ""]
        table.add_row(*cells)
    out.print(table)
    _say(out, [*found.sentences, next(iter(found.costs.values())).sentence])


def show_screened(found: Screened, out: Console) -> None:
    """A row per key, the most important first; then what is weak among them."""
    morris = found.method == "morris"
    columns = ("mu_star", "sigma") if morris else ("first", "total")
    what = f"change of {found.figure} per range" if morris else f"share of the variance of {found.figure}"
    heads = ["mu*", "±", "sigma"] if morris else ["first", "±", "total", "±"]
    table = table_of(
        f"{found.scenario.name}: {what}", ["#", "key", "from", "to", *heads, "stands on"], left=("key", "stands on")
    )
    moving = found.table[found.table[found.importance] > 0]
    for row in moving.to_dict("records"):
        cells = [number(float(row[columns[0]])), number(float(row[f"{columns[0]}_half_width"]))]
        cells += [number(float(row[columns[1]]))]
        cells += [] if morris else [number(float(row[f"{columns[1]}_half_width"]))]
        table.add_row(
            str(row["place"]), str(row["key"]), number(float(row["low"])), number(float(row["high"])), *cells,
            str(row["kind"]),
        )  # fmt: skip
    out.print(table)
    still = found.table.loc[found.table[found.importance] <= 0, "key"]
    nothing_moved = [f"These move nothing here: {', '.join(still)}."] if len(still) else []
    _say(out, [*nothing_moved, found.sentence, *([found.warning] if found.warning else [])])


def _with_half_width(value: float, half_width: float) -> str:
    text = number(float(value))
    return text if math.isnan(half_width) else f"{text} ±{number(float(half_width))}"


def money(usd: float) -> str:
    """Dollars: cents below a hundred.

    >>> money(1234.5), money(12.345), money(0.0021)
    ('1,234', '12.35', '0.0021')
    """
    if abs(usd) >= 100:
        return f"{usd:,.0f}"
    return f"{usd:.2f}" if abs(usd) >= 0.1 or usd == 0 else f"{usd:.2g}"


def _cut(text: str) -> str:
    return text if len(text) <= REASON_WIDTH else f"{text[: REASON_WIDTH - 3]}..."


def _say(out: Console, lines: Iterable[str]) -> None:
    for line in lines:
        out.print(line, markup=False)


# --------------------------------------------------------------------------- charts


def tornado(found: Screened) -> Figure:
    """A bar per key, the most important on top: how much the figure rises or falls over the key's range (Morris), or
    the total share of its variance with the share of the key alone in solid (Sobol)."""
    rows = found.table[found.table[found.importance] > 0].head(BARS_MOST)
    with styled():
        figure = new_figure(1.6 + ROW_IN * max(len(rows), 3))
        axes = figure.add_subplot()
        axes.set_title(f"What moves {found.figure} of {wrapped(found.scenario.name, 40)}")
        if rows.empty:
            nothing(axes, "nothing moves it")
            return figure
        if found.method == "morris":
            handles, names = _morris_bars(axes, rows)
            axes.set_xlabel(f"change of {found.figure} over the key's range (mean effect mu*, line: sigma)")
        else:
            handles, names = _sobol_bars(axes, rows)
            axes.set_xlabel(f"share of the variance of {found.figure} (95 % interval)")
        stars = ["*" if kind == "assumption" else "" for kind in rows["kind"]]
        labels = [
            f"{key}{star}\n{short(low)} to {short(high)}"
            for key, star, low, high in zip(rows["key"], stars, rows["low"], rows["high"], strict=True)
        ]
        axes.set_yticks(range(len(rows)), labels, fontsize=7.5)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        plain(axes)
        legend(figure, handles, [*names, "* an assumption"] if any(stars) else names, below=True)
        return figure


def _morris_bars(axes: Axes, rows: pd.DataFrame) -> tuple[list[Any], list[str]]:
    from matplotlib.patches import Patch

    signs = [1.0 if mu >= 0 else -1.0 for mu in rows["mu"]]
    for place, (sign, size, sigma) in enumerate(zip(signs, rows["mu_star"], rows["sigma"], strict=True)):
        axes.barh(place, sign * size, height=0.62, color=RISES if sign > 0 else FALLS)
        axes.plot([sign * size - sigma, sign * size + sigma], [place, place], color=INK, linewidth=1.0)
    axes.axvline(0.0, color=INK, linewidth=0.8)
    handles: list[Any] = [Patch(color=RISES), Patch(color=FALLS)]
    names = ["rises with the key", "falls with it"]
    return _starred(rows, handles), names


def _sobol_bars(axes: Axes, rows: pd.DataFrame) -> tuple[list[Any], list[str]]:
    from matplotlib.patches import Patch

    places = range(len(rows))
    axes.barh(places, rows["total"], height=0.62, color=RISES, alpha=0.35, xerr=rows["total_half_width"],
              error_kw={"elinewidth": 0.9, "ecolor": INK})  # fmt: skip
    axes.barh(places, rows["first"].clip(lower=0.0), height=0.34, color=RISES)
    axes.set_xlim(left=0.0)
    return _starred(rows, [Patch(color=RISES), Patch(color=RISES, alpha=0.35)]), ["alone (first)", "in all (total)"]


def _starred(rows: pd.DataFrame, handles: list[Any]) -> list[Any]:
    """With an empty handle where the legend explains the star."""
    from matplotlib.patches import Patch

    return [*handles, Patch(alpha=0.0)] if (rows["kind"] == "assumption").any() else handles


def pareto_chart(found: Selected) -> Figure:
    """Cost against the figure, a mark per design, the front joined by a line; designs that are out are hollow."""
    figure_name = found.race.figure
    with styled():
        figure = new_figure(max(3.8, 1.2 + 0.32 * len(found.table)))
        axes = figure.add_subplot()
        axes.set_title(f"Cost and {figure_name}")
        rows = found.table[found.table[figure_name].notna()]
        if rows.empty:
            nothing(axes, "no design has a value")
            return figure
        front = rows[rows["on_front"]].sort_values("usd_per_month")
        axes.plot(front["usd_per_month"], front[figure_name], color="#999999", linewidth=1.2, zorder=1)
        handles, names = [], []
        for place, row in enumerate(rows.to_dict("records")):
            own, out = mark(place), str(row["state"]).startswith("out")
            half = 0.0 if math.isnan(row["half_width"]) else row["half_width"]
            drawn = axes.errorbar(
                row["usd_per_month"], row[figure_name], yerr=half, color=own.color, marker=own.marker, markersize=7,
                linestyle="none", elinewidth=0.9, markerfacecolor="white" if out else own.color, zorder=2,
            )  # fmt: skip
            handles.append(drawn.lines[0])
            notes = ["best"] * (row["state"] == "best") + ["on the front"] * row["on_front"] + ["out"] * out
            names.append(wrapped(str(row["design"])) + (f"\n({', '.join(notes)})" if notes else ""))
        axes.set_xlabel("cost (USD per month)")
        axes.set_ylabel(f"{figure_name} (mean, 95 % interval)")
        axes.margins(0.12)
        legend(figure, handles, names)
        return figure


# --------------------------------------------------------------------------- files


class Written:
    """A results folder that is filled before it becomes one."""

    def __init__(self, place: Path, command: list[str]) -> None:
        self.place, self.command = place, command

    def finish(
        self,
        tables: Mapping[str, pd.DataFrame],
        scenarios: tuple[Scenario, ...],
        replications: int,
        charts: Mapping[str, Figure] | None = None,
    ) -> None:
        """Tables as Parquet, scenarios, charts as PNG and SVG, and last the provenance, which lists all files."""
        from chatsim.study import folder, store

        for name, table in tables.items():
            store.write_table(self.place / f"{name}.parquet", table)
        store.write_scenarios(self.place, scenarios)
        for name, figure in (charts or {}).items():
            write_figure(figure, self.place / "charts", name)
        folder.seal(self.place, store.provenance(scenarios, replications, self.command))


@contextmanager
def written(out: str, force: bool, command: list[str]) -> Iterator[Written]:
    """A place for results; refused before anything is simulated, and whole or not there in the end."""
    from chatsim.study.folder import results_folder

    with results_folder(out, force) as place:
        yield Written(place, command)
