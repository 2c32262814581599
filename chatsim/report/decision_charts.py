"""The charts of a study's first page: load against latency, what each factor does, differences, cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from chatsim.analysis import compare_all, knee, pareto
from chatsim.analysis.effects import main_effects
from chatsim.analysis.experiments import by_design
from chatsim.report.charts import saturation_curve
from chatsim.report.exhibit import Exhibit
from chatsim.report.style import INK, Mark, legend, mark, new_figure, nothing, plain, styled, wrapped
from chatsim.report.style import number as short
from chatsim.report.terminal import number
from chatsim.scenario import InputError
from chatsim.study.decision import LEVELS_LEAST, SERIES_MOST, Decision, figure_of_charts, load_factor, series_of
from chatsim.study.figures import QUANTILES
from chatsim.study.plan import kind_of
from chatsim.study.points import DESIGN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from chatsim.analysis.slos import Slo
    from chatsim.study.points import Plan
    from chatsim.study.tables import Tables

ROW_IN = 0.25
ROWS_MOST = 24
LABEL_WIDTH = 48
COMPARED_MOST = 400      # points that are compared with the one named
LOG_LEAST = 8.0          # levels that are so many times apart stand on a log axis
WORSE, BETTER, OPEN = "#D55E00", "#009E73", "#666666"
LATENCIES = (*(name for name, asked in QUANTILES.items() if asked.of == "latency"), "mean_ms", "max_ms")
SIDES = {"higher": WORSE, "lower": BETTER, "undecided": OPEN}
NUMBERS_MOST = 40        # of points that stand beside their marks


def decision_exhibits(tables: Tables, plan: Plan, decision: Decision) -> list[Exhibit]:
    """The charts of the first page, as far as the study has what each needs."""
    if decision.named is None:
        return []
    figure = figure_of_charts(tables, plan.study)
    key = load_factor(plan)
    found = [saturation(tables, plan, key) if key else response(tables, plan, figure)]
    found += [effects(tables, plan, figure)] if len(plan.points) > 1 and not key else []
    fair = decision.table if key is None else _same_load(decision, key)
    found += [differences(tables, decision, fair, figure), front(fair, plan)]
    return [exhibit for exhibit in found if exhibit is not None]


def _same_load(decision: Decision, key: str) -> pd.DataFrame:
    """The points that have the load of the one that the verdict names: others are neither better nor worse designs."""
    named = decision.table.loc[decision.table["point"] == decision.named, key]
    same: pd.DataFrame = decision.table[decision.table[key].isin(named)]
    return same


def said(figure: str) -> str:
    """A figure with its unit, as on an axis.

    >>> said("p99_ms"), said("login_p99_ms"), said("lost_share")
    ('p99 latency (ms)', 'login p99 (ms)', 'lost (share)')
    """
    stem, _, unit = figure.rpartition("_")
    latency = " latency" if figure in LATENCIES else ""
    return f"{stem.replace('_', ' ')}{latency} ({unit})"


# --------------------------------------------------------------------------- load


def saturation(tables: Tables, plan: Plan, key: str) -> Exhibit | None:
    """Carried load and p99 against offered load, a line per design, with bands of the 95 % intervals and the knees."""
    names = ("offered_per_s", "carried_per_s", "p50_ms", "p99_ms")
    chosen = tables.results[tables.results["figure"].isin(names)]
    wide = chosen.pivot(index="point", columns="figure", values=["estimate", "half_width"])
    overloaded = tables.runs.groupby("point")["overloaded"].any()
    curves: dict[str, pd.DataFrame] = {}
    for name, points in list(series_of(plan, key).items())[:SERIES_MOST]:
        there = [point for point in points if point in wide.index]
        rows = pd.DataFrame({column: wide["estimate"][column].reindex(there) for column in names}, index=there)
        for column in ("carried_per_s", "p99_ms"):
            rows[f"{column}_half_width"] = wide["half_width"][column].reindex(there)
        rows.insert(0, key, [plan.points[point][key] for point in there])
        rows["overloaded"] = overloaded.reindex(there).fillna(value=False).astype(bool)
        if len(rows.dropna(subset=["p99_ms"])) > 1:
            curves[name] = rows.dropna(subset=["p99_ms"])
    if not curves:
        return None
    sentences = [_knee_said(name, rows, key) for name, rows in curves.items()]
    table = pd.concat([rows.assign(series=name, point=rows.index) for name, rows in curves.items()], ignore_index=True)
    drawn = saturation_curve(curves, f"Load, by {key}")
    return Exhibit("saturation", "Saturation: load against latency", " ".join(sentences), drawn, table)


def _knee_said(name: str, rows: pd.DataFrame, key: str) -> str:
    try:
        found = knee(rows)
    except InputError:
        return f"{name}: no point has a latency."
    first = rows.loc[rows["overloaded"], key]
    end = f"overloaded from {key} = {first.min():,} on" if len(first) else "never overloaded here"
    if not found["reached"]:
        return f"{name}: no knee up to {short(float(rows['offered_per_s'].max()))} deliveries/s, {end}."
    return f"{name}: knee at {short(found['offered_per_s'])} deliveries/s ({key} = {found[key]:,}), {end}."


def response(tables: Tables, plan: Plan, figure: str) -> Exhibit | None:
    """A latency against the numeric factor with most levels, a line per combination of the others; None where there is
    no such factor, or more lines than can be told apart."""
    numeric = {
        key: sorted({point[key] for point in plan.points}) for key in plan.factors if kind_of(key) in (int, float)
    }
    key = max(numeric, key=lambda name: len(numeric[name]), default="")
    if not key or len(numeric[key]) < LEVELS_LEAST:
        return None
    series, levels = series_of(plan, key), numeric[key]
    if len(series) > SERIES_MOST:
        return None
    rows = tables.results[tables.results["figure"] == figure].set_index("point")[["estimate", "half_width"]]
    places = [(name, point, plan.points[point][key]) for name, points in series.items() for point in points]
    table = pd.DataFrame(places, columns=["series", "point", key]).join(rows, on="point")
    table = table.rename(columns={"estimate": figure})
    if not table[figure].notna().any():
        return None
    slo = next((slo for slo in plan.study.objectives() if slo.figure == figure), None)
    drawn = _response_chart(table, key, figure, slo)
    lowest = table.sort_values(figure, kind="stable").iloc[0]
    spread = float(table[figure].max() / table[figure].min()) if table[figure].min() > 0 else math.inf
    conclusion = (
        f"Over {key} from {levels[0]:,} to {levels[-1]:,} the {said(figure)} lies between "
        f"{number(float(table[figure].min()))} and {number(float(table[figure].max()))} ({number(spread)} x); the "
        f"lowest is {lowest['series']} at {lowest[key]:,}."
    )
    return Exhibit("response", f"{said(figure)} by {key}", conclusion, drawn, table)


def _response_chart(table: pd.DataFrame, key: str, figure: str, slo: Slo | None) -> Figure:
    with styled():
        series = list(dict.fromkeys(table["series"]))
        drawn = new_figure(max(3.6, 1.0 + 0.3 * len(series)))
        axes = drawn.add_subplot()
        handles = []
        for place, name in enumerate(series):
            own, rows = mark(place), table[table["series"] == name].sort_values(key)
            line = axes.errorbar(
                rows[key], rows[figure], yerr=rows["half_width"].fillna(0.0), color=own.color, marker=own.marker,
                linestyle=own.line, elinewidth=0.9, capsize=2, label=name,
            )  # fmt: skip
            line.lines[0].set_label(name)
            handles.append(line.lines[0])
        names = [wrapped(name) for name in series]
        if slo is not None:
            handles.append(axes.axhline(slo.threshold, color=INK, linestyle="--", linewidth=1.0))
            names.append(f"SLO: {slo}")
        levels = sorted(set(table[key]))
        if min(levels) > 0 and max(levels) / min(levels) >= LOG_LEAST:
            axes.set_xscale("log")
        axes.set_xticks(levels[:: math.ceil(len(levels) / 10)], minor=False)
        axes.set_xticks([], minor=True)
        axes.xaxis.set_major_formatter(lambda value, _: short(value))
        axes.set_ylim(bottom=0)
        axes.set_xlabel(key)
        axes.set_ylabel(f"{said(figure)}, 95 % interval")
        axes.set_title(f"{said(figure)} by {key}")
        legend(drawn, handles, names)
        return drawn


# --------------------------------------------------------------------------- factors


def effects(tables: Tables, plan: Plan, figure: str) -> Exhibit | None:
    """How far each level of each factor moves a latency from its mean over all points."""
    if not tables.factors:
        return None
    table = main_effects(tables.runs, tables.factors, figure)
    if table.empty:
        return None
    reach = table.groupby("factor", sort=False)["effect"].agg(lambda values: float(values.max() - values.min()))
    order = reach.sort_values(ascending=False, kind="stable")
    top = str(order.index[0])
    surely = table[(table["factor"] == top) & (table["effect"].abs() > table["half_width"])]
    sure = "" if len(surely) else ", within chance"
    conclusion = f"{top} moves the {said(figure)} most, by {number(float(order.iloc[0]))} between its levels{sure}."
    if len(order) > 1:
        others = ", ".join(f"{name} by {number(float(value))}" for name, value in order.iloc[1:4].items())
        conclusion = f"{conclusion[:-1]}; {others}."
    if plan.study.sampling.kind != "grid":
        conclusion += " Points are sampled: what the other factors do there is in it too."
    place = {str(name): at for at, name in enumerate(order.index)}
    rows = table.sort_values("factor", key=lambda names: names.map(place), kind="stable").head(ROWS_MOST)
    labels = [f"{row.factor} = {row.level}" for row in rows.itertuples()]
    colors = [mark(place[str(name)]).color for name in rows["factor"]]
    what = f"difference from the mean of all points in {said(figure)}"
    drawn = _rows_chart(rows["effect"], rows["half_width"], labels, colors, "Main effects", what)
    return Exhibit("effects", "What each factor does", conclusion, drawn, table)


def differences(tables: Tables, decision: Decision, fair: pd.DataFrame, figure: str) -> Exhibit | None:
    """These points against the one that the verdict names, paired by replication: a forest plot."""
    wanted = fair[fair["runs"] > 0]["point"].head(COMPARED_MOST).tolist()
    wanted = [*dict.fromkeys([decision.named, *wanted])]
    runs = tables.runs[tables.runs["point"].isin(wanted)]
    if len(wanted) < 2 or figure not in runs:
        return None
    runs = runs.assign(design=runs["point"].astype(str))
    labels = dict(zip(decision.table["point"], decision.table["label"], strict=True))
    table = compare_all(by_design(runs, figure), str(decision.named))
    table.insert(1, "point", table["b"].astype(np.int64))
    table.insert(2, "label", table["point"].map(labels))
    table = table.drop(columns=["a", "b"])
    if not table["difference"].notna().any():
        return None
    shown = table[table["difference"].notna()].head(ROWS_MOST)
    colors = [SIDES[str(side)] for side in shown["verdict"]]
    base = f"#{decision.named} {labels[decision.named]}"
    names = [f"#{row.point} {row.label}" for row in shown.itertuples()]
    if max(map(len, [*names, base])) > LABEL_WIDTH:  # the values of their factors stand in the decision table
        names, base = [f"#{point}" for point in shown["point"]], f"#{decision.named}"
    drawn = _rows_chart(
        shown["difference"], shown["half_width"], names, colors, f"Against point {base}",
        f"difference in {said(figure)}, paired by replication", SIDES,
    )  # fmt: skip
    counts = table["verdict"].value_counts()
    conclusion = (
        f"Against point {base}: the {said(figure)} of single runs is surely higher at {counts.get('higher', 0)} other "
        f"points, surely lower at {counts.get('lower', 0)}, undecided at {counts.get('undecided', 0)}; all had the "
        "same luck in each replication, and the verdicts hold together at 95 % (Holm)."
    )
    return Exhibit("differences", "Paired differences", conclusion, drawn, table)


def _rows_chart(
    values: pd.Series, half: pd.Series, labels: Sequence[str], colors: Sequence[str], title: str, x: str,
    sides: Mapping[str, str] | None = None,
) -> Figure:
    """A value with its interval in each row, about a line at 0; with a legend of what the colours say."""
    with styled():
        drawn = new_figure(1.3 + (0.3 if sides else 0.0) + ROW_IN * max(len(labels), 3))
        axes = drawn.add_subplot()
        axes.axvline(0.0, color=INK, linewidth=0.8)
        for place, (value, width, color) in enumerate(zip(values, half.fillna(0.0), colors, strict=True)):
            axes.plot([value - width, value + width], [place, place], color=color, linewidth=1.4)
            axes.plot(value, place, color=color, marker="s", markersize=5, linestyle="none")
        axes.set_yticks(range(len(labels)), [wrapped(label, LABEL_WIDTH) for label in labels], fontsize=7.5)
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_title(title)
        axes.set_xlabel(f"{x}, 95 % interval")
        plain(axes)
        if sides:
            shown = [(side, color) for side, color in sides.items() if color in colors]
            handles = [axes.plot([], [], color=color, marker="s", markersize=5)[0] for _, color in shown]
            legend(drawn, handles, [f"{side}" for side, _ in shown], below=True)
        return drawn


# --------------------------------------------------------------------------- cost


def front(fair: pd.DataFrame, plan: Plan) -> Exhibit | None:
    """Cost against p99 of these points, those on the front joined: no other is cheaper and faster."""
    table = fair[["point", "label", "usd_per_month", "p99_ms", "p99_ms_half_width", "verdict", "overloaded"]]
    table = table[table["usd_per_month"].notna() & table["p99_ms"].notna()]
    if len(table) < 2:
        return None
    best = pareto(table[~table["overloaded"]], minimise=["usd_per_month", "p99_ms"])
    table = table.assign(on_front=table["point"].isin(best["point"]))
    few = "; ".join(f"#{row.point} {row.label}" for row in best.sort_values("usd_per_month").head(4).itertuples())
    more = f" and {len(best) - 4} more" if len(best) > 4 else ""
    conclusion = f"On the front, where no other point is both cheaper and faster: {few}{more}."
    if best.empty:
        conclusion = "All points are overloaded: none is on the front."
    return Exhibit("front", "Cost and p99", conclusion, _front_chart(table, plan), table)


def _front_chart(table: pd.DataFrame, plan: Plan) -> Figure:
    first = plan.factors[0]
    levels = list(dict.fromkeys(point[first] for point in plan.points))
    by_level = len(levels) <= SERIES_MOST
    with styled():
        drawn = new_figure(max(4.0, 1.4 + 0.22 * len(levels) * by_level))
        axes = drawn.add_subplot()
        joined = table[table["on_front"]].sort_values("usd_per_month")
        handles: dict[str, Any] = {}
        for row in table.to_dict("records"):
            level = plan.points[int(row["point"])][first]
            own = mark(levels.index(level) if by_level else 0)
            _draw_cost(axes, row, own)
            name = "design point" if not by_level else f"{level}" if first == DESIGN else f"{first} = {level}"
            handles[wrapped(name)] = _empty(axes, color=own.color, marker=own.marker)
        if table["verdict"].isin(["not met", "undecided"]).any():
            hollow = _empty(axes, color=INK, marker="o", markerfacecolor="white")
            handles["hollow: SLOs not met,\nor undecided"] = hollow
        handles["front"] = axes.plot(joined["usd_per_month"], joined["p99_ms"], color="#999999", zorder=1)[0]
        _number_points(axes, table)
        axes.set_xlabel("cost (USD per month)")
        axes.set_ylabel("p99 latency (ms), 95 % interval")
        axes.set_title("Cost and p99 latency")
        axes.margins(0.1)
        legend(drawn, list(handles.values()), list(handles))
        return drawn


def _draw_cost(axes: Axes, row: Mapping[Any, Any], own: Mark) -> None:
    half = 0.0 if math.isnan(row["p99_ms_half_width"]) else row["p99_ms_half_width"]
    drawn = axes.errorbar(
        row["usd_per_month"], row["p99_ms"], yerr=half, color=own.color, marker=own.marker, markersize=7,
        linestyle="none", elinewidth=0.9, zorder=2,
        markerfacecolor="white" if row["verdict"] in ("not met", "undecided") else own.color,
    )  # fmt: skip
    drawn.lines[0].set_label(f"#{row['point']} {row['label']}")


def _empty(axes: Axes, **look: Any) -> Line2D:
    """A mark for the legend alone."""
    return axes.plot([], [], linestyle="none", **look)[0]


def _number_points(axes: Axes, table: pd.DataFrame) -> None:
    """The number of each point beside its mark, where there is room: not within a few steps of one that has it."""
    if table.empty:
        nothing(axes, "no point has a value")
        return
    placed: list[tuple[float, float]] = []
    spans = [max(float(table[name].max() - table[name].min()), 1e-9) for name in ("usd_per_month", "p99_ms")]
    ordered = table.sort_values("on_front", ascending=False, kind="stable").head(NUMBERS_MOST)
    for row in ordered.to_dict("records"):
        x, y = row["usd_per_month"] / spans[0], row["p99_ms"] / spans[1]
        right = (table["usd_per_month"] / spans[0] - x).between(0.005, 0.1)
        level = (table["p99_ms"] / spans[1] - y).abs() < 0.06
        if (right & level).any() or any(abs(x - other) < 0.08 and abs(y - above) < 0.06 for other, above in placed):
            continue
        placed.append((x, y))
        axes.annotate(
            f"#{row['point']}", (row["usd_per_month"], row["p99_ms"]), xytext=(6, 3), textcoords="offset points",
            fontsize=7.5,
        )  # fmt: skip


__all__ = ["decision_exhibits", "said"]
