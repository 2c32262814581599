"""Why a study may be believed: how well its figures are known, whether runs settled, the simulator against theory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from chatsim.analysis import mean_interval, mser5, steady, welch
from chatsim.analysis.columns import divided
from chatsim.report.charts import log_axis
from chatsim.report.decision_charts import said
from chatsim.report.exhibit import Exhibit
from chatsim.report.style import INK, legend, mark, new_figure, styled, time_axis, wrapped
from chatsim.report.terminal import number
from chatsim.study.behaviour import LOG
from chatsim.study.decision import Decision, figure_of_charts
from chatsim.study.laws import Z_MOST, Check
from chatsim.study.live_twin import FIGURES, held_to_twin
from chatsim.study.published import Published
from chatsim.study.sensitivity import assumptions, stands_on

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from chatsim.analysis.columns import Floats
    from chatsim.scenario import Scenario
    from chatsim.study.archive import Archive
    from chatsim.study.points import Plan
    from chatsim.study.tables import Tables

NEAR = 0.15              # of a figure of behaviour, in share of it
HITS = tuple(f"hit@{length}" for length in (1, 5, 15, 50, "all"))
WINDOW = 5               # steps on each side, of the moving average


def trust_exhibits(
    archive: Archive,
    tables: Tables,
    plan: Plan,
    decision: Decision,
    checked: Sequence[Check],
    known: Sequence[Published],
    behaves: pd.DataFrame | None,
) -> list[Exhibit]:
    """What there is to say of a study's figures, and of the simulator where it was checked."""
    found: list[Exhibit | None] = []
    if decision.named is not None:
        found += [precision(tables, plan, decision), warm_up(archive, tables, plan, decision)]
    found += [theory(checked)] if checked else []
    found += [literature(known), live_fit(held_to_twin())]
    found += [behaviour_fit(behaves)] if behaves is not None else []
    if decision.named is not None:
        found.append(weak_costs(plan.scenario(decision.named)))
    return [exhibit for exhibit in found if exhibit is not None]


# --------------------------------------------------------------------------- precision


def precision(tables: Tables, plan: Plan, decision: Decision) -> Exhibit | None:
    """Half width of the interval of a latency, as a share of its mean, by the number of replications: of the point that
    is named, and of the one that is known least."""
    figure = figure_of_charts(tables, plan.study)
    if figure not in tables.runs:
        return None
    wide = tables.runs.pivot(index="replication", columns="point", values=figure).sort_index()
    points = [int(str(point)) for point in wide.columns]
    curves = {point: _by_number(wide[point].to_numpy(np.float64)) for point in points}
    curves = {point: curve for point, curve in curves.items() if len(curve)}
    if not curves:
        return None
    widest = max(curves, key=lambda point: curves[point][-1])
    named = decision.named if decision.named in curves else widest
    chosen = list(dict.fromkeys([named, widest]))
    labels = {point: f"#{point} {decision.table['label'][point]}" for point in chosen}
    table = pd.concat(
        [
            pd.DataFrame({"label": labels[point], "runs": np.arange(2, 2 + len(curves[point])), "share": curves[point]})
            for point in chosen
        ],
        ignore_index=True,
    )
    last = curves[named][-1]
    conclusion = (
        f"After {len(curves[named]) + 1} runs the mean {said(figure)} of {labels[named]} is known to ± "
        f"{number(100 * last)} % (95 %)."
    )
    if widest != named:
        conclusion += f" That of {labels[widest]} is known least, to ± {number(100 * curves[widest][-1])} %."
    drawn = _precision_chart({labels[point]: 100 * curves[point] for point in chosen}, figure)
    return Exhibit("precision", "Precision against runs", conclusion, drawn, table)


def _by_number(values: Floats) -> Floats:
    """The relative half width of the first 2, 3, ... values; nothing where there is none."""
    kept = values[np.isfinite(values)]
    found = [mean_interval(kept[:n]) for n in range(2, len(kept) + 1)]
    if not found or not all(one.mean for one in found):
        return np.empty(0)
    return np.array([one.half_width / abs(one.mean) for one in found])


def _precision_chart(curves: dict[str, Floats], figure: str) -> Figure:
    with styled():
        drawn = new_figure(3.2)
        axes = drawn.add_subplot()
        handles = []
        for place, (name, percent) in enumerate(curves.items()):
            own, runs = mark(place), np.arange(2, 2 + len(percent))
            handles += axes.plot(runs, percent, color=own.color, marker=own.marker, linestyle=own.line, label=name)
        most = max(len(percent) for percent in curves.values()) + 1
        axes.set_xticks(sorted({*range(2, most + 1, max(most // 8, 1)), most}))
        axes.set_ylim(bottom=0)
        axes.set_xlim(1.8, most + 0.2)
        axes.set_xlabel("runs (replications)")
        axes.set_ylabel("half width (% of the mean)")
        axes.set_title(f"Precision of the mean {said(figure)}")
        legend(drawn, handles, [wrapped(name) for name in curves])
        return drawn


# --------------------------------------------------------------------------- warm-up


def warm_up(archive: Archive, tables: Tables, plan: Plan, decision: Decision) -> Exhibit | None:
    """The course of latency over a run, mean of all replications of the point that is named, and what MSER-5 says."""
    runs = tables.runs.loc[tables.runs["point"] == decision.named, "run"]
    lists = [archive.lists(str(run)) for run in runs]
    paths = [np.array([one["path_ms"], one["path_count"]], np.float64) for one in lists if one.get("path_ms")]
    if not paths or decision.named is None:
        return None
    scenario = plan.scenario(decision.named)
    together = np.array(paths, dtype=np.float64)
    count = together[:, 1].sum(axis=0)
    mean_ms = divided((np.nan_to_num(together[:, 0]) * together[:, 1]).sum(axis=0), count)
    found = mser5(mean_ms)
    row = decision.table.set_index("point").loc[decision.named]
    regime = steady(scenario, bool(row["overloaded"]), found)
    duration_s = float(tables.runs.loc[tables.runs["point"] == decision.named, "duration_s"].mean())
    step_s = duration_s / len(mean_ms)
    at_s = step_s * np.arange(0.5, len(mean_ms), dtype=np.float64)
    table = pd.DataFrame({"time_s": at_s, "mean_latency_ms": mean_ms, "deliveries": count.astype(np.int64)})
    conclusion = f"Point #{decision.named} {row['label']}: {regime.sentence}."
    cut_s = found.points * step_s if regime.kind == "steady" else None
    drawn = _warm_up_chart(at_s, mean_ms, cut_s, duration_s)
    return Exhibit("warm-up", "Warm-up", conclusion, drawn, table)


def _warm_up_chart(at_s: Floats, mean_ms: Floats, cut_s: float | None, duration_s: float) -> Figure:
    with styled():
        drawn = new_figure(3.0)
        axes = drawn.add_subplot()
        handles = [*axes.plot(at_s, mean_ms, color=mark(0).color, alpha=0.4, linewidth=1.0)]
        names = ["mean of a step"]
        if np.isfinite(mean_ms).all():
            smooth = welch(mean_ms, WINDOW)
            handles += axes.plot(at_s[: len(smooth)], smooth, color=mark(0).color)
            names.append(f"moving average\nof {2 * WINDOW + 1} steps")
        if cut_s is not None:
            handles.append(axes.axvline(cut_s, color=INK, linestyle="--", linewidth=1.0))
            names.append("end of warm-up\n(MSER-5)")
        axes.set_ylim(bottom=0)
        axes.set_ylabel("mean latency (ms)")
        axes.set_title("Latency over the run, mean of all replications")
        time_axis(axes, duration_s)
        axes.set_xlabel(f"{axes.get_xlabel().replace('time', 'time at which a message was written')}")
        legend(drawn, handles, names)
        return drawn


# --------------------------------------------------------------------------- the simulator


def theory(checked: Sequence[Check]) -> Exhibit:
    """The simulator against closed forms, in standard errors."""
    table = pd.DataFrame(
        [(one.name, one.unit, one.expected, one.measured, one.error, one.z) for one in checked],
        columns=["check", "unit", "theory", "simulated", "standard_error", "z"],
    )
    failed = [one.name for one in checked if not one.holds]
    worst = max(abs(one.z) for one in checked)
    conclusion = (
        f"All {len(checked)} checks agree with theory; the largest difference is {worst:.1f} standard errors."
        if not failed
        else f"NOT to be trusted: {', '.join(failed)} differ from theory by more than {Z_MOST:g} standard errors."
    )
    with styled():
        drawn = new_figure(1.2 + 0.32 * len(checked))
        axes = drawn.add_subplot()
        axes.axvspan(-2, 2, color="#009E73", alpha=0.12, linewidth=0)
        axes.axvline(0.0, color=INK, linewidth=0.8)
        reach = max(Z_MOST, min(worst, 20.0)) * 1.1
        for place, one in enumerate(checked):
            shown = max(min(one.z, reach), -reach)
            color = mark(0).color if one.holds else "#D55E00"
            axes.plot(shown, place, marker="o", color=color, linestyle="none")
        axes.set_yticks(range(len(checked)), [one.name for one in checked])
        axes.set_ylim(len(checked) - 0.4, -0.6)
        axes.set_xlim(-reach, reach)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("difference from theory (standard errors; green: within 2)")
        axes.set_title("Simulated against closed forms")
    return Exhibit("theory", "Theory checks", conclusion, drawn, table)


def literature(known: Sequence[Published]) -> Exhibit:
    """What others have published, and what the shipped costs say of the same."""
    table = pd.DataFrame(
        [
            (f"{one.system}: {one.figure}", one.unit, one.published, one.here, one.here / one.published, one.source)
            for one in known
        ],
        columns=["figure", "unit", "published", "here", "ratio", "source"],
    )
    far = max(abs(ratio - 1) for ratio in table["ratio"])
    conclusion = f"The shipped costs reproduce {len(known)} published figures to within {number(100 * far)} %."
    return Exhibit("published", "Published figures", conclusion, None, table)


def live_fit(table: pd.DataFrame) -> Exhibit:
    """Predictions beside what real gateways and a real Redis did, on points by which no cost was fitted."""
    off = (table["predicted"] / table["measured"] - 1).abs()
    median, points = off.groupby(table["figure"]).median(), table["point"].nunique()
    conclusion = (
        f"Held to live runs of real WebSocket gateways and a real Redis on {points} configurations by which no cost "
        "was fitted, the median error is "
        + ", ".join(f"{100 * median[figure]:.0f} % ({name})" for figure, name in FIGURES.items())
        + "."
    )
    with styled():
        drawn = new_figure(3.6)
        axes = drawn.add_subplot()
        latencies = [figure for figure in FIGURES if figure.endswith("_ms")]
        shown = table[table["figure"].isin(latencies)]
        both_ms = shown[["predicted", "measured"]].to_numpy()
        ends = np.array([both_ms.min(), both_ms.max()])
        axes.fill_between(ends, ends / (1 + NEAR), ends * (1 + NEAR), color="#009E73", alpha=0.12, linewidth=0)
        axes.plot(ends, ends, color=INK, linewidth=0.8)
        handles = []
        for look, figure in enumerate(latencies):
            own, rows = mark(look), shown[shown["figure"] == figure]
            handles += axes.plot(
                rows["measured"], rows["predicted"], marker=own.marker, color=own.color, linestyle="none", markersize=4,
            )  # fmt: skip
        log_axis(axes.xaxis, both_ms)
        log_axis(axes.yaxis, both_ms)
        axes.set_xlabel("measured latency (ms)")
        axes.set_ylabel("predicted latency (ms)")
        axes.set_title(f"Predicted and measured (green: within {100 * NEAR:g} %)")
        legend(drawn, handles, [FIGURES[figure] for figure in latencies])
    return Exhibit("live", "Held to live runs", conclusion, drawn, table)


def behaviour_fit(table: pd.DataFrame) -> Exhibit:
    """The users of the behaviour model beside those of a real log."""
    shown = table[(table["fitted"] | table["figure"].isin(HITS)) & (table["real"] > 0) & (table["model"] > 0)]
    fitted, foretold = shown[shown["fitted"]], shown[~shown["fitted"]]
    ratio = shown["model"] / shown["real"]
    far = shown.iloc[int(np.abs(np.log(ratio.to_numpy(np.float64))).argmax())]
    near = int((ratio[fitted.index].sub(1).abs() <= NEAR).sum())
    conclusion = (
        f"Fitted to {LOG}, the behaviour model's users meet {near} of {len(fitted)} figures of that log within "
        f"{100 * NEAR:g} % (farthest: {far['meaning']}, {number(float(far['model']))} for "
        f"{number(float(far['real']))}), and foretell to {number(float(foretold['difference'].abs().max()))} points "
        "how often a friend list holds the partner."
    )
    return Exhibit("behaviour", "Behaviour fit", conclusion, _behaviour_chart(shown, ratio), table)


def _behaviour_chart(shown: pd.DataFrame, ratio: pd.Series) -> Figure:
    with styled():
        drawn = new_figure(1.4 + 0.25 * len(shown))
        axes = drawn.add_subplot()
        axes.axvspan(1 - NEAR, 1 + NEAR, color="#009E73", alpha=0.12, linewidth=0)
        axes.axvline(1.0, color=INK, linewidth=0.8)
        places = np.arange(len(shown))
        handles = []
        for look, (name, chosen) in enumerate({"fitted": shown["fitted"], "foretold": ~shown["fitted"]}.items()):
            own = mark(look)
            handles += axes.plot(
                ratio[chosen], places[chosen], marker=own.marker, color=own.color, linestyle="none", label=name
            )
        axes.set_yticks(places, [str(meaning) for meaning in shown["meaning"]])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"model / real (green: within {100 * NEAR:g} %)")
        axes.set_title(f"Model beside {LOG}")
        legend(drawn, handles, ["fitted to the log", "not fitted"])
        return drawn


def weak_costs(scenario: Scenario) -> Exhibit:
    """What the answer stands on that nobody has measured."""
    rows = []
    for key in assumptions(scenario):
        kind, source = stands_on(key.name, scenario)
        rows.append((key.name, _value(scenario, key.name), kind, source))
    table = pd.DataFrame(rows, columns=["key", "value", "kind", "source"])
    conclusion = (
        f"{len(table)} costs of {scenario.name} are assumptions; 'chatsim screen' says which of them move the answer."
        if len(table)
        else f"No cost of {scenario.name} is an assumption."
    )
    return Exhibit("assumptions", "Assumptions", conclusion, None, table)


def _value(scenario: Scenario, name: str) -> float:
    """The value of a key that is a number."""
    place: object = scenario
    for part in name.split("."):
        place = getattr(place, part)
    return float(str(place))


__all__ = ["trust_exhibits"]
