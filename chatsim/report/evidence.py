"""The evidence for what a report says, from audited runs: charts, each with the sentence that its numbers prove.

:func:`exhibits` is of one run, :func:`compared` of several designs' runs on the same trace, :func:`tornado_exhibit` of
a screening. What does not apply is left out: where no fault struck there is no chart of faults.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from chatsim.analysis import latency_ms, percentile_curve, percentiles
from chatsim.analysis.breakdown import (
    CLIENT_LINK,
    LAST_LINK,
    OUTBOUND,
    SENDER,
    SERVER_LINKS,
    SHARES,
    STREAM,
    WAITS,
    WORKS,
)
from chatsim.analysis.friendlists import hit_curve
from chatsim.analysis.last_member import last_member
from chatsim.analysis.latency import least_samples
from chatsim.analysis.lists import run_hit_curve
from chatsim.analysis.recovery import peak_tries, recovery, strikes, struck, timeline, tries_s
from chatsim.analysis.resources import LOGINS, errors_over_time, use_over_time
from chatsim.report import charts, decisions, faults, reference
from chatsim.report import evidence_charts as own_charts
from chatsim.report.exhibit import Exhibit
from chatsim.report.style import ms_said, number, share_said, time_said
from chatsim.study import again
from chatsim.study.faults import storms

if TYPE_CHECKING:
    from chatsim.engine.outcome import Outcome
    from chatsim.study.sensitivity import Screened

STRIP_BINS, SLICES, TIMELINE_BINS = 60, 10, 150
ENOUGH = 10  # messages of a class of fan-outs, of which the sentence speaks
WORDS = {
    SENDER: "waiting until the sender is connected",
    CLIENT_LINK: "the sender's link",
    SERVER_LINKS: "links between servers",
    STREAM: "being held for a gateway that is away",
    OUTBOUND: "waiting in the outbound queue of the recipient's session",
    LAST_LINK: "the recipient's link",
}
PLACE_WORDS = {"gateways": "gateways", "broker": "the broker", "database": "the database"}
ERROR_WORDS = {"gateway": "at gateways", "broker": "at the broker", "database": "at the database", LOGINS: "of logins"}


def exhibits(outcome: Outcome, rerun: bool = True) -> list[Exhibit]:
    """All that one run proves. ``rerun``: it may be run once more, for the breakdown of its latency."""
    makers: list[Callable[[Outcome], Exhibit | None]] = [
        percentiles_exhibit, *([breakdown_exhibit] if rerun else []), heat_exhibit, use_exhibit, fan_out_exhibit,
        friends_exhibit, fault_exhibit, storm_exhibit,
    ]  # fmt: skip
    return [found for found in (make(outcome) for make in makers) if found is not None]


def compared(outcomes: Mapping[str, Outcome], rerun: bool = True) -> list[Exhibit]:
    """What several designs' runs on one trace prove together. ``rerun`` as in :func:`exhibits`."""
    makers: list[Callable[[Mapping[str, Outcome]], Exhibit | None]] = [
        percentiles_of_designs, *([breakdown_of_designs] if rerun else []), storm_of_designs,
    ]  # fmt: skip
    return [found for found in (make(outcomes) for make in makers) if found is not None]


def tornado_exhibit(found: Screened) -> Exhibit | None:
    """Which key moves the figure most; None where none moves it."""
    if not (found.table[found.importance] > 0).any():
        return None
    said = f"{_tornado_said(found)} {found.sentence}"
    return Exhibit("tornado", f"What moves {found.figure}", said, decisions.tornado(found), found.table)


def _tornado_said(found: Screened) -> str:
    """The key on top, and how far the second is behind it."""
    rows = found.table.sort_values(found.importance, ascending=False, kind="stable")
    first = rows.iloc[0]
    guess = ", which is an assumption" if first["kind"] == "assumption" else ""
    said = f"{first['key']} moves {found.figure} most{guess}"
    second = rows.iloc[1] if len(rows) > 1 else None
    if second is None or not second[found.importance] > 0:
        return f"{said}; nothing else moves it."
    times = first[found.importance] / second[found.importance]
    return f"{said}, {number(times)} times as much as {second['key']}."


# --------------------------------------------------------------------------- latency


def percentiles_exhibit(outcome: Outcome) -> Exhibit | None:
    """Latency by percentile of one run; None for fewer than two live deliveries."""
    return percentiles_of_designs({outcome.scenario.name: outcome})


def percentiles_of_designs(outcomes: Mapping[str, Outcome]) -> Exhibit | None:
    """Latency by percentile, a line per design; None where no design has two live deliveries."""
    values = {name: latency_ms(outcome) for name, outcome in outcomes.items()}
    figures = {name: percentiles(value) for name, value in values.items() if len(value) >= least_samples(0.5)}
    if not figures:
        return None
    table = pd.concat(
        [percentile_curve(values[name]).drop(columns="nines").assign(design=name) for name in figures],
        ignore_index=True,
    )[["design", "percentile", "latency_ms"]]
    said = _one_curve(next(iter(figures.values()))) if len(outcomes) == 1 else _curves(figures)
    return Exhibit("latency_by_percentile", "Latency by percentile", said, charts.latency_by_percentile(values), table)


def _one_curve(figures: Mapping[str, float]) -> str:
    said = f"Half of {figures['count']:,} live deliveries take at most {ms_said(figures['p50_ms'])}"
    if not math.isnan(figures["p99_ms"]):
        times = figures["p99_ms"] / figures["p50_ms"]
        said += f", 99 % at most {ms_said(figures['p99_ms'])}, {number(times)} times as long"
    if not math.isnan(figures["p999_ms"]):
        said += f", 99.9 % at most {ms_said(figures['p999_ms'])}"
    return f"{said}; the slowest takes {ms_said(figures['max_ms'])}."


def _curves(figures: Mapping[str, Mapping[str, float]]) -> str:
    known = {name: each["p99_ms"] for name, each in figures.items() if not math.isnan(each["p99_ms"])}
    if len(known) < 2:
        return "Too few deliveries to compare the p99 of these designs: each needs 100."
    best, worst = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
    if known[best] == known[worst]:
        return f"All have a p99 of {ms_said(known[best])}."
    return (
        f"The p99 goes from {ms_said(known[best])} ({best}) to {ms_said(known[worst])} ({worst}), "
        f"{number(known[worst] / known[best])} times as long."
    )


def breakdown_exhibit(outcome: Outcome) -> Exhibit | None:
    """Where the time of deliveries near p50 and p99 goes; None where there are too few, or the run cannot be redone."""
    table = again.breakdown(outcome)
    if table is None or table.empty:
        return None
    figure = own_charts.breakdown_chart(table)
    return Exhibit("breakdown", "Where the time goes", _breakdown_said(table), figure, table)


def _breakdown_said(table: pd.DataFrame) -> str:
    """The largest part near each percentile, the highest first, and what all queues together make of that."""
    names = list(dict.fromkeys(table["percentile"]))[::-1]
    said = []
    for name in names:
        part = table[table["percentile"] == name]
        row = _most(part, "share")
        said.append(f"near {name}, {share_said(row['share'])} of the {ms_said(row['whole_ms'])} is {_part_said(row)}")
    top = table[table["percentile"] == names[0]]
    queues = float(top.loc[top["what"] == WAITS, "share"].sum())
    work = float(top.loc[top["what"].isin((WORKS, SHARES)), "share"].sum())
    text = "; ".join(said)
    rest = f"all waiting together is {share_said(queues)} of it, work at stations {share_said(work)}"
    return f"{text[0].upper()}{text[1:]}. Near {names[0]} {rest}."


def _most(table: pd.DataFrame, column: str) -> pd.Series:
    """The first row with the largest value."""
    return table.iloc[int(np.argmax(table[column]))]


def _part_said(row: pd.Series) -> str:
    if row["place"] in WORDS:
        return WORDS[row["place"]]
    return {
        WAITS: f"waiting for {PLACE_WORDS[row['place']]}",
        WORKS: f"work of {PLACE_WORDS[row['place']]}",
        SHARES: f"what ticks of {PLACE_WORDS[row['place']]} take besides the message itself",
    }[row["what"]]


def breakdown_of_designs(outcomes: Mapping[str, Outcome]) -> Exhibit | None:
    """What each design adds to the links of the clients; None where nothing can be said of any."""
    found = {name: again.breakdown(outcome) for name, outcome in outcomes.items()}
    tables = {name: table for name, table in found.items() if table is not None and len(table)}
    if not tables:
        return None
    every = pd.concat([table.assign(design=name) for name, table in tables.items()], ignore_index=True)
    every = every[["design", *every.columns.drop("design")]]
    figure = own_charts.breakdown_by_design(tables)
    return Exhibit("breakdown_by_design", "What each design adds", _added_said(every), figure, every)


def _added_said(every: pd.DataFrame) -> str:
    name = "p99" if "p99" in set(every["percentile"]) else "p50"
    rows = every[(every["percentile"] == name) & ~every["place"].isin((CLIENT_LINK, LAST_LINK))]
    spent = rows.groupby("design", sort=False)["mean_ms"].sum()
    most = str(spent.idxmax())
    its = rows[rows["design"] == most]
    row = _most(its, "mean_ms")
    said = (
        f"Near {name} the way between the clients' links takes from {ms_said(spent.min())} ({spent.idxmin()}) to "
        f"{ms_said(spent.max())} ({most})" if len(spent) > 1 else
        f"Near {name} the way between the clients' links takes {ms_said(spent.max())}"
    )  # fmt: skip
    return f"{said}, of which {share_said(row['mean_ms'] / spent.max())} is {_part_said(row)}."


# --------------------------------------------------------------------------- over time


def heat_exhibit(outcome: Outcome) -> Exhibit | None:
    """Latency over time, with faults; None where nothing was delivered."""
    if not (latency_ms(outcome) > 0).any():
        return None
    table = timeline(outcome, outcome.world.duration_s / SLICES)
    table = table[["start_s", "end_s", "deliveries", "p99_ms", "max_ms"]]
    figure = own_charts.heat_with_faults(outcome)
    return Exhibit("latency_over_time", "Latency over time", _heat_said(outcome, table), figure, table)


def _heat_said(outcome: Outcome, table: pd.DataFrame) -> str:
    """The worst tenth by p99, or where some tenth has too few deliveries for one, by the longest latency."""
    some = table[table["deliveries"] > 0]
    if some.empty:
        return "All that was delivered came after the run was to end."
    column, words = ("p99_ms", "p99") if some["p99_ms"].notna().all() else ("max_ms", "longest latency")
    worst, best = _most(some, column), some.iloc[int(np.argmin(some[column]))]
    span_s = outcome.world.duration_s
    said = [
        f"In the worst tenth of the run, {time_said(span_s, worst['start_s'], worst['end_s'])}, the {words} is "
        f"{ms_said(worst[column])}, in the best {ms_said(best[column])}"
    ]
    empty = len(table) - len(some)
    said += [f"nothing was delivered live in {empty} of {len(table)} tenths"] if empty else []
    hit = [
        f"{what}, {time_said(span_s, start_s, span_s if math.isnan(end_s) else end_s)}"
        for what, start_s, end_s in struck(outcome).head(2).itertuples(index=False, name=None)
    ]
    said += [f"what struck was {' and '.join(hit)}"] if hit else []
    return f"{'; '.join(said)}."


def use_exhibit(outcome: Outcome) -> Exhibit | None:
    """Utilisation, queue and errors of each resource over time; None for a run in which no station worked."""
    if not len(outcome.ticks["start_s"]):
        return None
    bin_s = outcome.world.duration_s / STRIP_BINS
    use, errors = use_over_time(outcome, bin_s), errors_over_time(outcome, bin_s)
    table = pd.concat([use, errors.rename(columns={"place": "station"})], ignore_index=True)
    figure = own_charts.use_strips(outcome, use, errors)
    return Exhibit("use", "Utilisation, saturation and errors", _use_said(outcome, use, errors), figure, table)


def _use_said(outcome: Outcome, use: pd.DataFrame, errors: pd.DataFrame) -> str:
    span_s = outcome.world.duration_s
    width_s = use["end_s"] - use["start_s"]
    busy = (use["utilisation"] * width_s).groupby(use["station"], sort=False).sum() / span_s
    top, longest = str(busy.idxmax()), _most(use, "queue_items")
    most = float(use.loc[use["station"] == top, "utilisation"].max())
    counts = errors.groupby("place", sort=False)["errors"].sum()
    wrong = [f"{count:,} {ERROR_WORDS[str(place)]}" for place, count in counts.items() if count]
    count = round(float(longest["queue_items"]))
    return (
        f"Busiest is {top}: {share_said(busy.max())} of the time, and at most {share_said(most)} within "
        f"{time_said(float(width_s.iloc[0]), float(width_s.iloc[0]))}. The longest queue is {count:,} "
        f"item{'s' if count != 1 else ''} at {longest['station']}, "
        f"{time_said(span_s, longest['start_s'], longest['end_s'])}. "
        f"Errors: {', '.join(wrong) if wrong else 'none'}."
    )


# --------------------------------------------------------------------------- fan-out and friends


def fan_out_exhibit(outcome: Outcome) -> Exhibit | None:
    """The last member of a message against the fork-join bound; None where nothing was delivered."""
    table = last_member(outcome)
    if table.empty:
        return None
    figure = own_charts.last_member_chart(table)
    return Exhibit("fan_out", "Fan-out and the fork-join bound", _last_said(table), figure, table)


def _last_said(table: pd.DataFrame) -> str:
    known = table[table["messages"] >= ENOUGH]
    known = known if len(known) else table
    first, last = known.iloc[0], known.iloc[-1]
    said = (
        f"In the mean {_all_of(last)} a message after {ms_said(last['last_mean_ms'])}, "
        f"{last['last_mean_ms'] / last['bound_ms']:.2f} times the fork-join bound of the links alone"
    )
    if len(known) == 1:
        return f"{said}."
    times = first["last_mean_ms"] / first["bound_ms"]
    return f"{said}; {_all_of(first)} it after {ms_said(first['last_mean_ms'])}, {times:.2f} times."


def _all_of(row: pd.Series) -> str:
    return "the 1 session has" if row["sessions"] == "1" else f"all of {row['sessions']} sessions have"


def friends_exhibit(outcome: Outcome) -> Exhibit | None:
    """Whether the partner is on the list, by its length, with the real log beside it; None for a run that loads no
    lists and replays no log, or has no private messages."""
    policy = outcome.scenario.friend_list.policy
    if policy != "none":
        name, table = f"this run ({policy})", run_hit_curve(outcome)
    elif outcome.scenario.workload.trace:
        policy, table = "recent", hit_curve(outcome.world)
        name = "this log (recent)"
    else:
        return None
    table = table[table["of"].isin(charts.HIT_PANELS)]
    if not table["hit_share"].notna().any():
        return None
    real = reference.collegemsg_hits()
    figure = charts.hit_curves({name: table, reference.COLLEGEMSG: real})
    both = pd.concat([table.assign(source=name), real.assign(source=reference.COLLEGEMSG)], ignore_index=True)
    said = _hits_said(table, real, outcome.scenario.friend_list.limit)
    return Exhibit("friend_lists", "Friend lists", said, figure, both[["source", "of", "k", "hit_share", "count"]])


def _hits_said(table: pd.DataFrame, real: pd.DataFrame, limit: int) -> str:
    openings = table[table["of"] == "openings"].set_index("k")["hit_share"]
    lengths = [length for length in openings.index if np.isfinite(length)]
    length = min(lengths, key=lambda known: (abs(known - limit), known))
    said = (
        f"A list of {length:.0f} holds the partner at {share_said(openings[length])} of conversation openings, one of "
        f"all contacts at {share_said(openings[math.inf])}"
    )
    known = real[(real["of"] == "openings") & (real["k"] == length)]["hit_share"]
    if known.empty:
        return f"{said}."
    return f"{said}; in {reference.COLLEGEMSG} {length:.0f} hold it at {share_said(float(known.iloc[0]))}."


# --------------------------------------------------------------------------- faults


def fault_exhibit(outcome: Outcome) -> Exhibit | None:
    """What faults did, over time; None where none struck."""
    if not len(strikes(outcome)):
        return None
    table = timeline(outcome, outcome.world.duration_s / TIMELINE_BINS)
    figure = faults.timeline_chart(outcome)
    return Exhibit("faults", "Faults over time", _faults_said(outcome), figure, table)


def _faults_said(outcome: Outcome) -> str:
    row = recovery(outcome)
    hit = ", ".join(what for what in struck(outcome)["what"].head(3))
    stopped = len(np.unique(outcome.breaks["message"]))
    said = (
        f"With {hit}, {stopped:,} messages were stopped on their way; of messages x recipients {row['lost']:,} are "
        f"lost and {row['refused']:,} refused over the run; {row['sessions_hit']:,} sessions were cut"
    )
    if row["sessions_hit"] and not math.isnan(row["back_all_s"]):
        said += f", all back after {number(row['back_all_s'])} s"
    elif row["never_back"]:
        said += f", {row['never_back']:,} never back"
    if row["drain_s"] == 0:
        said += "; no queue outlasts it"
    elif not math.isnan(row["drain_s"]):
        said += f"; queues are back to their level {number(row['drain_s'])} s after its end"
    return f"{said}."


def storm_exhibit(outcome: Outcome) -> Exhibit | None:
    """The storm of those who come back; None where nobody had to."""
    return storm_of_designs({outcome.scenario.name: outcome})


def storm_of_designs(outcomes: Mapping[str, Outcome]) -> Exhibit | None:
    """The storms of several designs; None where nobody had to come back in any."""
    hit = {name: outcome for name, outcome in outcomes.items() if len(strikes(outcome)) and len(tries_s(outcome))}
    if not hit:
        return None
    table = storms(hit)
    return Exhibit("storm", "Who comes back when", _storm_said(hit), faults.storm_chart(hit), table)


def _storm_said(outcomes: Mapping[str, Outcome]) -> str:
    span_s = max(outcome.world.duration_s for outcome in outcomes.values())
    peaks = {name: peak_tries(tries_s(outcome)) for name, outcome in outcomes.items()}
    worst = max(peaks, key=lambda name: peaks[name][0])
    tries = len(tries_s(outcomes[worst]))
    at = time_said(span_s, peaks[worst][1])
    said = f"{tries:,} tries to come back, at most {peaks[worst][0]:,} of them in 100 ms, at {at}"
    if len(peaks) == 1:
        return f"{said}."
    least = min(peaks, key=lambda name: peaks[name][0])
    return f"{worst}: {said}; {least}: at most {peaks[least][0]:,} in 100 ms."
