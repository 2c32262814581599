"""What a study decides: a row per design point with verdict, latency, cost and what binds; and the answer in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from chatsim.analysis.cost import Taken, bill
from chatsim.scenario import InputError, Scenario
from chatsim.study.figures import LOADS, TAKEN
from chatsim.study.plan import Study, Value
from chatsim.study.points import DESIGN, Plan
from chatsim.study.tables import Tables
from chatsim.theory.estimate import figure

Rows = Callable[[int], pd.DataFrame]
State = Literal["met", "not met", "undecided", "no SLO", "no runs"]

LATENCIES = ("p50_ms", "p99_ms")
HALF = "_half_width"
OF_LOAD = ("workload.users", "workload.conversations.messages_per_day", "workload.sessions.per_day")
"""Factors that are load: more of them is harder, and no choice of the engineer."""
RESOURCES = {
    "gateway": "gateways", "broker": "broker", "database": "database", "hosts": "shared host",
    "connections": "gateway connections",
}  # fmt: skip
FIGURES_OF_CHARTS = ("p99_ms", "p95_ms", "p90_ms", "p50_ms", "mean_ms")
VALUES_LEAST = 0.9       # of runs that have a value, so that a chart is about the figure
LEVELS_LEAST = 3         # of a load, to draw a curve
SERIES_MOST = 10
SLOS_SAID = 3


@dataclass(frozen=True)
class Decision:
    """The answer of a study.

    ``table`` has a row per point: point, label, the factors, runs, verdict, reason (why it is not met or undecided); of
    each of ``figures`` (p50_ms, p99_ms, and what SLOs are about) the estimate and its ``*_half_width``; usd_per_month,
    usd_per_1000_users, binding (a resource), load (the share of what it could carry that it carries), headroom
    (1 / load) and overloaded. ``named`` is the point that the verdict is about, None where there are no runs.
    ``verdict`` is one sentence; ``notes`` are what belongs to it.
    """

    table: pd.DataFrame
    figures: tuple[str, ...]
    named: int | None
    verdict: str
    notes: tuple[str, ...]

    def rows(self, *states: State) -> pd.DataFrame:
        """The points of these verdicts."""
        return self.table[self.table["verdict"].isin(states)]


def decide(tables: Tables, plan: Plan) -> Decision:
    """The answer of the runs that are there. InputError where the tables are of other points than the plan."""
    labels = tuple(plan.label(number) for number in range(len(plan.points)))
    if tables.labels != labels:
        raise InputError("study.toml and manifest.json are not of the same points: start the study again")
    asked = (slo.figure for slo in plan.study.objectives() if slo.figure != "overloaded")
    figures = tuple(dict.fromkeys((*LATENCIES, *asked)))
    parts = [_by_point(each) for each in (tables.runs, tables.results, tables.verdicts)]
    table = pd.DataFrame([_row(number, plan, figures, *parts) for number in range(len(labels))])
    if not len(tables.runs):
        return Decision(table, figures, None, "No run is there yet: start the study again.", ())
    named, verdict, more = _answer(table, tables, plan)
    return Decision(table, figures, named, verdict, (*more, *_notes(table, tables)))


def load_factor(plan: Plan) -> str | None:
    """The factor that is load and has levels enough for a curve, or None."""
    for key in OF_LOAD:
        if key in plan.factors and len({point[key] for point in plan.points}) >= LEVELS_LEAST:
            return key
    return None


def series_of(plan: Plan, key: str) -> dict[str, list[int]]:
    """Points that differ by this factor alone, by the values of the others, in the order of the factor."""
    found: dict[str, list[int]] = {}
    for number, point in enumerate(plan.points):
        others = {name: value for name, value in point.items() if name != key}
        found.setdefault(words(others) or next(iter(plan.bases)), []).append(number)
    return {name: sorted(points, key=lambda at: plan.points[at][key]) for name, points in found.items()}


def words(values: Mapping[str, Value]) -> str:
    """Values of factors as people say them.

    >>> words({"design": "hub", "friend_list.limit": 15})
    'hub, friend_list.limit = 15'
    """
    parts = [str(values[DESIGN])] if DESIGN in values else []
    for key, value in values.items():
        if key != DESIGN:
            shown = f"{value:.4g}" if isinstance(value, float) else str(value)
            parts.append(f"{key} = {shown.lower() if isinstance(value, bool) else shown}")
    return ", ".join(parts)


def name_of(plan: Plan, point: int) -> str:
    """A point as people say it."""
    return words(plan.points[point]) or plan.label(point)


def figure_of_charts(tables: Tables, study: Study) -> str:
    """The figure that charts are about: of the first SLO, else p99; where single runs are too short to have it that of
    the next SLO, or a lower percentile."""
    asked = [slo.figure for slo in study.objectives() if slo.figure != "overloaded"]
    for name in (*asked, *FIGURES_OF_CHARTS):
        if name in tables.runs and tables.runs[name].notna().mean() >= VALUES_LEAST:
            return name
    return "mean_ms"


def more_is_better(study: Study, figure: str) -> bool:
    """Whether an SLO asks for more of a figure; of all others less is better."""
    return any(slo.figure == figure and slo.relation.startswith(">") for slo in study.objectives())


# --------------------------------------------------------------------------- a point


def _by_point(table: pd.DataFrame) -> Rows:
    """The rows of a point; looked up, as there may be a hundred thousand points."""
    places = table.groupby("point").indices
    return lambda number: table.iloc[places.get(number, [])]


def _row(
    number: int, plan: Plan, figures: Sequence[str], runs_of: Rows, results_of: Rows, verdicts_of: Rows
) -> dict[str, Any]:
    runs = runs_of(number)
    found = {row["figure"]: row for row in results_of(number).to_dict("records")}
    verdict, reason = _verdict(verdicts_of(number), len(runs))
    row: dict[str, Any] = {"point": number, "label": name_of(plan, number), **plan.points[number], "runs": len(runs)}
    row |= {"verdict": verdict, "reason": reason}
    for name in figures:
        known = found.get(name, {})
        row[name] = float(known.get("estimate", math.nan))
        row[f"{name}{HALF}"] = float(known.get("half_width", math.nan))
    scenario = plan.scenario(number)
    row |= _cost(runs, scenario)
    row |= _binding(runs, scenario)
    return {**row, "overloaded": bool(len(runs)) and bool(runs["overloaded"].any())}


def _verdict(verdicts: pd.DataFrame, runs: int) -> tuple[State, str]:
    """Of all SLOs together, and why."""
    if not runs:
        return "no runs", "not run yet"
    if verdicts.empty:
        return "no SLO", ""
    for state in ("not met", "undecided"):
        rows = verdicts[verdicts["verdict"] == state]
        if len(rows):
            return state, "; ".join(f"{row.slo}: {row.reason}" for row in rows.head(SLOS_SAID).itertuples())
    return "met", ""


def _cost(runs: pd.DataFrame, scenario: Scenario) -> dict[str, float]:
    """By the prices of the scenario; NaN for runs of a model that did not keep what a bill is made of."""
    needed = [*TAKEN.values(), "users"]
    if not len(runs) or not set(needed) <= set(runs) or runs[needed].isna().any(axis=None):
        return {"usd_per_month": math.nan, "usd_per_1000_users": math.nan}
    amounts = Taken(*(float(runs[name].mean()) for name in TAKEN.values()))
    said = bill(amounts, scenario, max(round(float(runs["users"].mean())), 1))
    return {"usd_per_month": said.usd_per_month, "usd_per_1000_users": said.usd_per_1000_users}


def _binding(runs: pd.DataFrame, scenario: Scenario) -> dict[str, Any]:
    loads = {tier: float(runs[name].mean()) for tier, name in LOADS.items() if name in runs and len(runs)}
    if loads and scenario.gateway.connections_max:
        room = scenario.design.gateways * scenario.gateway.connections_max
        loads["connections"] = float(runs["connections"].mean()) / room
    known = {tier: load for tier, load in loads.items() if not math.isnan(load)}
    if not known:
        return {"binding": "", "load": math.nan, "headroom": math.nan}
    tier = max(known, key=lambda name: known[name])
    load = known[tier]
    return {"binding": RESOURCES[tier], "load": load, "headroom": 1 / load if load > 0 else math.inf}


# --------------------------------------------------------------------------- the answer


def _answer(table: pd.DataFrame, tables: Tables, plan: Plan) -> tuple[int, str, list[str]]:
    """The point, the sentence, and what goes with it."""
    ran = table[table["runs"] > 0]
    met, open_ = ran[ran["verdict"] == "met"], ran[ran["verdict"] == "undecided"]
    asked = " and ".join(plan.study.slos)
    key = load_factor(plan)
    if not plan.study.slos:
        best = _ordered(ran, ["p99_ms", "p50_ms", "usd_per_month"]).iloc[0]
        what = f"of {_many(len(ran))} {best['label']} has the lowest latency" if len(ran) > 1 else best["label"]
        return int(best["point"]), f"No SLO is given, so none is met or missed; {what}: {_figures(best)}.", []
    if len(met) and key is not None:
        return _most_load(met, ran, plan, key, asked)
    if len(met):
        return _cheapest(met, open_, ran, asked)
    if len(open_):
        return _nearest_to_a_decision(open_, ran, tables, asked)
    nearest = _ordered(ran, ["overloaded", *LATENCIES]).iloc[0]
    head = f"None of {_many(len(ran))} meets {asked}; {nearest['label']} comes nearest"
    if len(ran) == 1:
        head = f"{nearest['label']} does not meet {asked}"
    return int(nearest["point"]), f"{head}: {_figures(nearest)}.", []


def _cheapest(
    met: pd.DataFrame, undecided: pd.DataFrame, ran: pd.DataFrame, asked: str
) -> tuple[int, str, list[str]]:
    best, how, ties = _choice(met)
    if len(ran) == 1:
        head = f"{best['label']} meets {asked}"
    elif len(met) == 1:
        head = f"{best['label']} alone of {_many(len(ran))} surely meets {asked}"
    else:
        head = f"{best['label']} is {how} of the {len(met)} of {_many(len(ran))} that surely meet {asked}"
    said = f"{head}: {_figures(best)}{ties}"
    cheaper = undecided[_usd(undecided) < _usd(met).min()]
    if cheaper.empty:
        return int(best["point"]), f"{said}.", []
    note = f"Cheaper and undecided, so that more or longer runs may find them enough: {_few(cheaper['label'])}."
    also = f"{len(cheaper)} cheaper {'ones are' if len(cheaper) > 1 else 'one is'} undecided"
    return int(best["point"]), f"{said}; {also}.", [note]


def _choice(rows: pd.DataFrame, name: str = "label") -> tuple[pd.Series, str, str]:
    """The cheapest of these points; of those that cost as much the fastest. With it what it is among them, in words,
    and who costs as much, each with the latency that decided, so that a small lead is seen to be small."""
    usd = _usd(rows)
    priced = bool(usd.notna().any())
    least = rows[usd == usd.min()] if priced else rows
    by = next((each for each in LATENCIES[::-1] if least[each].notna().all()), LATENCIES[0])
    least = _ordered(least, [by, *LATENCIES, "usd_per_month"])
    best = least.iloc[0]
    if priced and len(least) == 1:
        return best, "the cheapest", ""
    said = [_latency(value, by) for value in least[by]]
    how = f"one of the {len(least)} cheapest" if priced else "one"
    if least[by].notna().all():
        how = _place(said, by.removesuffix("_ms"), f"{len(least)} cheapest" if priced else "")
    others = [f"{who} ({ms})" for who, ms in zip(least[name][1:], said[1:], strict=True)]
    return best, how, f"; as cheap, to three figures: {_few(others)}" if priced else ""


def _place(latencies: list[str], unit: str, cheapest: str) -> str:
    """What the first of points that cost the same is among them; the fastest only where no other is as fast."""
    alike = latencies.count(latencies[0])
    if cheapest and alike == len(latencies):
        return f"one of the {cheapest}, equally fast (by {unit}),"
    fast = "the fastest" if alike == 1 else f"one of the {alike} fastest"
    return f"{fast} (by {unit}) of the {cheapest}" if cheapest else f"{fast} (by {unit})"


def _latency(value: float, name: str) -> str:
    return "without a latency" if math.isnan(value) else f"{name.removesuffix('_ms')} {figure(value)} ms"


def _most_load(
    met: pd.DataFrame, ran: pd.DataFrame, plan: Plan, key: str, asked: str
) -> tuple[int, str, list[str]]:
    """Of each series the largest load that is met; the verdict is about the one that carries most."""
    series = {point: name for name, points in series_of(plan, key).items() for point in points}
    ladder = met.assign(load_value=met[key].astype(np.float64), series=met["point"].map(series))
    tops = ladder.sort_values("load_value").groupby("series", sort=False).tail(1)
    heaviest = tops[tops["load_value"] == tops["load_value"].max()]
    best, how, ties = _choice(heaviest, "series")
    own = ran[ran["point"].map(series) == best["series"]]
    values = own[key].astype(np.float64)
    broken, open_ = values[own["verdict"] == "not met"], values[own["verdict"] == "undecided"]
    above, between = broken[broken > best["load_value"]], open_[open_ > best["load_value"]]
    tail = ", the largest tried"
    if len(above):
        tail = f", and does not from {figure(float(above.min()))} on" + (
            f" ({len(between)} undecided in between or above)" if len(between) else ""
        )
    elif len(between):
        tail = f"; above that, up to {figure(float(between.max()))}, it is undecided"
    who = str(best["series"])
    if len(heaviest) > 1:
        who += f" is {how} of the {len(heaviest)} that carry most, and"
    elif len(set(series.values())) > 1:
        who += " carries most and"
    upto = f"up to {key} = {figure(best['load_value'])}{tail}"
    verdict = f"{who} surely meets {asked} {upto}; there: {_figures(best)}{ties}."
    below = broken[broken < best["load_value"]]
    notes = [f"It is not met at a smaller {key} either: {_few(map(figure, below))}."] if len(below) else []
    others = tops[tops["series"] != best["series"]]
    shown = others.head(SERIES_MOST).itertuples()
    notes += [f"{row.series}: met up to {key} = {figure(row.load_value)}." for row in shown]
    return int(best["point"]), verdict, notes


def _nearest_to_a_decision(
    undecided: pd.DataFrame, ran: pd.DataFrame, tables: Tables, asked: str
) -> tuple[int, str, list[str]]:
    """Nothing is met: the point that needs fewest more runs."""
    open_ = tables.verdicts[tables.verdicts["verdict"] == "undecided"]
    effort = open_.assign(more=open_["runs_needed"].fillna(math.inf)).groupby("point")["more"].max()
    best = _ordered(undecided.assign(more=undecided["point"].map(effort)), ["more", "usd", *LATENCIES]).iloc[0]
    others = len(ran) - len(undecided)
    not_met = f" and {others} {'do' if others > 1 else 'does'} not meet it" if others else ""
    which = f"of {_many(len(ran))} {len(undecided)} are" if others else f"all {_many(len(ran))} are"
    head = f"Nothing surely meets {asked}: {which} undecided{not_met}"
    if len(ran) == 1:
        head = f"Whether {best['label']} meets {asked} is undecided"
    needs = "" if math.isinf(best["more"]) else f" ({figure(best['more'])} more runs may do)"
    near = f"; nearest to a decision is {best['label']}{needs}" if len(ran) > 1 else needs
    return int(best["point"]), f"{head}{near}: {_figures(best)}.", [f"Why it is undecided: {best['reason']}."]


def _ordered(rows: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Rows by these columns; what is not known comes last."""
    return rows.assign(usd=_usd(rows)).sort_values(list(by), kind="stable", na_position="last")


def _usd(rows: pd.DataFrame) -> pd.Series:
    """What points cost, as far as costs are told apart: to three figures, as a sentence says them."""
    return rows["usd_per_month"].map(lambda value: float(f"{value:.3g}"))


def _figures(row: pd.Series) -> str:
    """Latency, cost and what binds, of a point."""
    parts = []
    for name in (column.removesuffix(HALF) for column in row.index if str(column).endswith(HALF)):
        if not math.isnan(row[name]):
            half = row[f"{name}{HALF}"]
            known = "" if math.isnan(half) else f" ± {figure(float(f'{half:.2g}'))}"
            unit = " ms" if name.endswith("_ms") else ""
            parts.append(f"{name.removesuffix('_ms') if unit else name} {figure(row[name])}{known}{unit}")
    if not math.isnan(row["usd_per_month"]):
        each = figure(row["usd_per_1000_users"])
        parts.append(f"{figure(row['usd_per_month'])} USD per month ({each} per 1,000 users)")
    said = ", ".join(parts) or "without a latency"
    if row["overloaded"]:
        return f"{said}; overloaded"
    if row["binding"] and math.isfinite(row["headroom"]):
        verb = "bind" if row["binding"].endswith("s") else "binds"
        said += f"; the {row['binding']} {verb} first, at {figure(row['headroom'])} x this load"
    return said


def _notes(table: pd.DataFrame, tables: Tables) -> list[str]:
    notes = []
    missing = tables.planned - len(tables.runs)
    if missing:
        notes.append(f"{missing:,} of {tables.planned:,} runs are missing: the study is not finished, or runs failed.")
    overloaded = table[table["overloaded"]]
    if len(overloaded):
        few = _few(overloaded["label"])
        notes.append(f"Overloaded, so that latency only tells how long the runs were: {few}.")
    if len(tables.verdicts) > 1:
        notes.append("All verdicts hold together at 95 % (Holm).")
    if table["usd_per_month"].isna().any() and len(tables.runs):
        notes.append("Points without a cost have runs of a model that did not keep it: start the study anew for them.")
    return notes


def _few(names: Any, most: int = 4) -> str:
    """Some of several names, and how many more."""
    every = [str(name) for name in names]
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return f"{'; '.join(every[:most])}{more}"


def _many(points: int) -> str:
    return f"{points:,} design points" if points > 1 else "one design point"


__all__ = [
    "Decision", "State", "decide", "figure_of_charts", "load_factor", "more_is_better", "name_of", "series_of", "words",
]
