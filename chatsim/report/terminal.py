"""Tables and progress on a terminal: at most 100 columns, sensible digits, units in the headers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from chatsim.analysis.digest import Digest
    from chatsim.scenario import Scenario
    from chatsim.study.fit import Fitted
    from chatsim.study.replay import Replay
    from chatsim.study.results import Comparison, Result, Runs
    from chatsim.theory import Estimate

WIDTH = 100
SHOWN = {
    "carried_per_s": ("carried\n/s", 1.0),
    "live_share": ("live\n%", 100.0),
    "kept_share": ("kept\n%", 100.0),
    "lost_share": ("lost\n%", 100.0),
    "p50_ms": ("p50\nms", 1.0),
    "p99_ms": ("p99\nms", 1.0),
    "discarded_share": ("unused\npush %", 100.0),
}
WITH_INTERVAL = ("carried_per_s", "p50_ms", "p99_ms")
LEGEND = {
    "messages_per_s": ("messages written", "/s", 1.0),
    "offered_per_s": ("deliveries offered", "/s", 1.0),
    "carried_per_s": ("deliveries carried", "/s", 1.0),
    "delivered_share": ("delivered live, of those offered", "%", 100.0),
    "live_share": ("recipients who have it live", "%", 100.0),
    "kept_share": ("recipients for whom it is kept", "%", 100.0),
    "lost_share": ("recipients for whom it is lost", "%", 100.0),
    "p50_ms": ("latency p50", "ms", 1.0),
    "p99_ms": ("latency p99", "ms", 1.0),
    "p999_ms": ("latency p99.9", "ms", 1.0),
    "gateway_utilisation": ("gateways busy", "%", 100.0),
    "broker_utilisation": ("broker busy", "%", 100.0),
    "database_utilisation": ("database busy", "%", 100.0),
    "discarded_share": ("pushes discarded by gateways", "%", 100.0),
    "subscriptions": ("subscriptions, peak", "", 1.0),
    "connections": ("connections, peak", "", 1.0),
}


def number(value: float | np.integer[Any]) -> str:
    """A count in full, any other figure in three digits that count, thousands marked; '-' for none.

    >>> [number(x) for x in (12345, 12345.6, 12.345, 0.012345, 0.0, float("nan"))]
    ['12,345', '12,300', '12.3', '0.0123', '0', '-']
    """
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if math.isnan(value):
        return "-"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = round(value, 2 - math.floor(math.log10(abs(value))))
    if not 1e-5 <= abs(rounded) < 1e15:
        return f"{rounded:.3g}"
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:g}"


def console() -> Console:
    """Standard output, 100 columns wide wherever it goes, in colour only on a terminal."""
    out = Console(highlight=False, soft_wrap=False)
    out.width = min(out.width, WIDTH) if out.is_terminal else WIDTH
    return out


@contextmanager
def progress(what: str) -> Iterator[Callable[[float, int, str], None] | None]:
    """A bar on standard error while a study runs; nothing where that is no terminal."""
    errors = Console(stderr=True)
    if not errors.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors, transient=True) as bar:
        task = bar.add_task(what, total=None)

        def show(done: float, total: int, name: str) -> None:
            bar.update(task, completed=done, total=total, description=f"{what} {name}")

        yield show


def show_result(result: Result, out: Console) -> None:
    """One design: a figure per line, with intervals where there were replications."""
    row = result.summary.iloc[0]
    table = table_of(
        f"{result.scenario.name}{_replications(result)}", ["figure", "value", "unit"], left=("figure", "unit")
    )
    for figure, (words, unit, factor) in LEGEND.items():
        if not math.isnan(float(row[figure])):
            table.add_row(words, _with_interval(row, figure, factor), unit)
    out.print(table)
    _show_chat(result, out)
    said = [f"{result.scenario.name}: {result.verdicts[result.scenario.name]}.", _longest_stays(result.tiers)]
    _say(out, [*said, *(_kept(digest) for digest in result.digests.values())])


def _kept(digest: Digest) -> str:
    """What of a run is there, where that is not all that happened."""
    return (
        f"Figures alone are kept, of {digest.parts} audited parts: histograms (percentiles to within 0.05 %), and bins "
        "of time. --keep all keeps every row, and needs the memory."
    )


def _longest_stays(tiers: pd.DataFrame) -> str:
    """Which tier fell behind, if only for a while."""
    longest = tiers.groupby("tier", sort=False)["longest_stay_ms"].max().sort_values(ascending=False)
    stays = ", ".join(f"{tier} {number(stay)} ms" for tier, stay in longest.items())
    return f"Longest stay of items at a station: {stays}."


UNITS = {"s": ("s", 1.0), "ms": ("ms", 1.0), "share": ("%", 100.0), "bytes": ("bytes", 1.0)}


def _show_chat(result: Result, out: Console) -> None:
    """What the chat logic that is switched on did, part by part: the mean over replications."""
    for part, rows in result.chat.groupby("part", sort=False):
        title = f"{str(part).capitalize()}{_replications(result)}"
        table = table_of(title, ["figure", "value", "unit"], left=("figure", "unit"))
        for figure, value in rows.groupby("figure", sort=False)["value"].mean().items():
            words, unit, factor = _read(str(figure))
            scaled = factor * float(value)
            table.add_row(words, number(int(scaled) if scaled.is_integer() else scaled), unit)
        out.print(table)


def _read(figure: str) -> tuple[str, str, float]:
    """A figure's name as words, its unit, and the factor that its value takes.

    >>> _read("ghost_user_s"), _read("hit_share"), _read("login_ms_p99"), _read("ghosts_at_end")
    (('ghost user', 's', 1.0), ('hit share', '%', 100.0), ('login p99', 'ms', 1.0), ('ghosts at end', '', 1.0))
    """
    words = figure.split("_")
    for unit, (shown, factor) in UNITS.items():
        if unit in words[1:]:
            place = words.index(unit, 1)
            kept = words if unit == "share" else [*words[:place], *words[place + 1 :]]
            return " ".join(kept), shown, factor
    return " ".join(words), "", 1.0


def show_comparison(comparison: Comparison, out: Console) -> None:
    """One row per design, and what follows from it."""
    shown = [header for header, _ in SHOWN.values()]
    headers = ["design", *shown, "later\nms", "busiest tier\nbusy %", "over-\nloaded"]
    table = table_of(f"The same trace for all{_replications(comparison)}", headers, left=("design",))
    for _, row in comparison.summary.iterrows():
        cells = [
            _with_interval(row, name, factor) if name in WITH_INTERVAL else number(factor * row[name])
            for name, (_, factor) in SHOWN.items()
        ]
        table.add_row(row["design"], *cells, _later(comparison, row["design"]), _busiest(row), _yes(row["overloaded"]))
    out.print(table)
    _say(out, [
        "carried: live deliveries; live, kept (read at a later login, or in store), lost: of all messages x",
        "recipients; unused push: share of the pushes that reach a gateway without a recipient; later: than",
        "the first design, paired per message and recipient.",
        *verdict_lines(comparison),
    ])


def _busiest(row: pd.Series) -> str:
    """The busiest tier and how busy it is."""
    busy = 100 * row[row["busiest_tier"] + "_utilisation"]
    return f"{row['busiest_tier']} {'<0.001' if 0 < busy < 1e-3 else number(busy)}"


def verdict_lines(comparison: Comparison) -> list[str]:
    """What a comparison comes to, in plain sentences."""
    table = comparison.summary
    lines = [f"{name}: {said}." for name, said in comparison.verdicts.items() if said.startswith("overloaded")]
    kept_up = table[~table["overloaded"].astype(bool)]
    if not lines:
        lines.append("No design was overloaded at this load.")
    losing = table[table["lost_share"] > 0].sort_values("lost_share", ascending=False)
    if len(losing):
        shares = [f"{row['design']} {number(100 * row['lost_share'])} %" for _, row in losing.iterrows()]
        lines.append(f"Lost for good, of all messages x recipients: {', '.join(shares)}.")
    timed = kept_up[kept_up["p99_ms"].notna()]
    if timed["p99_ms"].nunique() > 1:
        by_p99 = timed.sort_values("p99_ms")
        best, worst = by_p99.iloc[0], by_p99.iloc[-1]
        lines.append(
            f"Of those that kept up, {best['design']} has the lowest p99 ({number(best['p99_ms'])} ms), "
            f"{worst['design']} the highest ({number(worst['p99_ms'])} ms)."
        )
    return lines


def _later(comparison: Comparison, design: str) -> str:
    """By how much a design delivers later than the first, per message and recipient: the mean over replications."""
    rows = comparison.paired[comparison.paired["b"] == design] if len(comparison.paired) else comparison.paired
    return number(float(rows["mean_difference_ms"].astype(float).mean())) if len(rows) else "-"


def show_saturation(curves: pd.DataFrame, out: Console) -> None:
    """What each design carried under a rising load."""
    headers = [
        "design",
        "most\ncarried",
        "most offered,\nkept up",
        "p50 there\nms",
        "p99 there\nms",
        "overloaded\nfrom",
    ]
    title = "Saturation: a standing load test of each design, loads in deliveries/s"
    table = table_of(title, headers, left=("design",))
    for design, part in curves.groupby("design", sort=False):
        lost = part[part["overloaded"]]
        held = part[part["offered_per_s"] < lost["offered_per_s"].min()] if len(lost) else part
        top = held.sort_values("offered_per_s").iloc[-1] if len(held) else None
        there = [number(top[name]) if top is not None else "-" for name in ("offered_per_s", "p50_ms", "p99_ms")]
        table.add_row(
            str(design),
            number(part["carried_per_s"].max()),
            *there,
            number(lost["offered_per_s"].min()) if len(lost) else "not reached",
        )
    out.print(table)


def show_estimate(needs: Estimate, out: Console) -> None:
    """Each tier between its two bounds, the facts behind them, and what binds."""
    headers = [
        "tier",
        "stations",
        "cores\neach",
        "busy %\nfull batches",
        "busy %\nno batches",
        "saturates at\nmessages/s",
        "without batches\nmessages/s",
        "saturates at\nusers",
    ]
    table = table_of(f"{needs.scenario}: tiers in the busiest hour", headers, left=("tier",))
    for tier in needs.tiers:
        row = tier.row()
        rates = ("saturates_at_messages_per_s", "saturates_at_messages_per_s_idle", "saturates_at_users")
        table.add_row(
            tier.name,
            f"{tier.stations:,}",
            f"{tier.cores:,}",
            number(100 * tier.utilisation_batched),
            number(100 * tier.utilisation_idle),
            *(_limit(row[name]) for name in rates),
        )
    out.print(table)
    facts = table_of(f"{needs.scenario}: what is asked for", ["quantity", "value", "unit"], left=("quantity", "unit"))
    for fact in needs.facts():
        facts.add_row(fact["quantity"], number(fact["value"]), fact["unit"])
    out.print(facts)
    without = f"Not counted, but in a run: {', '.join(needs.left_out)}."
    _say(out, [needs.verdict, *([without] if needs.left_out else [])])


def show_friend_lists(curves: pd.DataFrame, verdict: str, out: Console) -> None:
    """A row per length of the list: of each ranking, the share of recipients listed; then what it comes to."""
    policies = list(dict.fromkeys(curves["policy"]))
    table = table_of(
        "Recipient on the sender's friend list, in % of conversation openings and of all messages",
        ["friends\nlisted", *(f"{policy}\n{of}" for of in ("openings", "all") for policy in policies)],
        left=(),
    )
    shares = 100 * curves.pivot_table("hit_share", "k", ["of", "policy"], dropna=False)
    for limit, row in shares.iterrows():
        name = "all" if limit == math.inf else f"{limit:.0f}"
        cells = (float(row[of, policy]) for of in ("openings", "all") for policy in policies)
        table.add_row(name, *("-" if math.isnan(cell) else f"{cell:.1f}" for cell in cells))
    out.print(table)
    _say(out, [verdict])


def show_fit(fitted: Fitted, out: Console) -> None:
    """What a log comes to and the model fitted to it, a figure per line; then how well friend lists are foretold."""
    title = f"{fitted.source}, and the behaviour model fitted to it"
    table = table_of(title, ["figure", "unit", "real", "model", "difference", "fitted"], left=("figure", "unit"))
    for row in fitted.table.to_dict("records"):
        is_share = row["unit"] == "share"
        factor, unit, apart = (100.0, "%", "points") if is_share else (1.0, row["unit"], "%     ")
        difference = "-" if math.isnan(row["difference"]) else f"{row['difference']:+.1f} {apart}"
        table.add_row(
            row["meaning"], unit, number(factor * row["real"]), number(factor * row["model"]), difference,
            "yes" if row["fitted"] else "",
        )
    out.print(table)
    hits = fitted.table[fitted.table["figure"].str.startswith("hit@")]["difference"].abs()
    _say(out, [
        f"The model is one world (seed {fitted.scenario.seed}, replication 0) that the search, through "
        f"{fitted.worlds - 1} others, has not seen.",
        f"The partner on a recent list at openings, which was not fitted: at most {hits.max():.1f} points off.",
    ])


def show_replay(replayed: Replay, out: Console) -> None:
    """A log and its model through the same design, a figure per line."""
    title = f"Through {replayed.design}: the log, and the model's users"
    headers = ["figure", "unit", "real", "model", "±", "difference", "alike"]
    table = table_of(title, headers, left=("figure", "unit"))
    for row in replayed.table.to_dict("records"):
        factor, unit = {"share": (100.0, "%"), "busy": (100.0, "% busy")}.get(row["unit"], (1.0, row["unit"]))
        apart = "points" if row["unit"] == "share" else "%     "
        difference = "-" if math.isnan(row["difference"]) else f"{row['difference']:+.1f} {apart}"
        numbers = [number(factor * row[name]) for name in ("real", "model", "half_width")]
        table.add_row(row["meaning"], unit, *numbers, difference, "yes" if row["alike"] else "no")
    out.print(table)
    said = [
        f"The model: the mean of {replayed.replications} worlds that no fit has seen, and the half width of its 95 % "
        "interval. Alike: 95 % of its worlds lie so far apart."
    ]
    if replayed.inferred:
        said.append(
            "The log has no sessions: they are inferred, so that people are there only while they write. That makes "
            "sessions, and recipients who have it live, too few."
        )
    if replayed.clock_s:
        said.append(
            f"The log's clock has steps of {replayed.clock_s:g} s: messages of one step leave at one moment, which "
            "makes its latency and peaks somewhat too high."
        )
    _say(out, said)


PRESETS = {
    "workloads": ("workload", "for --workload"),
    "faults": ("fault", "for --fault, and for fault"),
    "studies": ("study", "for study"),
}


def show_designs(designs: Iterable[Scenario], others: Mapping[str, Mapping[str, str]], out: Console) -> None:
    """Shipped designs, and the other presets by part, one line each."""
    _show_presets("Designs", "design", {scenario.name: scenario.about for scenario in designs}, out)
    for part, presets in others.items():
        name, use = PRESETS[part]
        _show_presets(f"{part.capitalize()} ({use})", name, presets, out)


def _show_presets(title: str, name: str, presets: Mapping[str, str], out: Console) -> None:
    table = table_of(title, [name, "what it is"], left=(name, "what it is"))
    for preset, about in presets.items():
        table.add_row(preset, about)
    out.print(table)


def show_trace(runs: Runs, out: Console) -> None:
    """What was read of a message log."""
    for line in runs.trace:
        out.print(line, markup=False)


def table_of(title: str, headers: Sequence[str], left: Sequence[str]) -> Table:
    """An empty table; columns are right-aligned unless they are named in ``left``."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for header in headers:
        table.add_column(header, justify="left" if header in left else "right", overflow="fold")
    return table


def _with_interval(row: pd.Series, figure: str, factor: float) -> str:
    from chatsim.study.results import half_width_of

    text = number(row[figure] if factor == 1.0 else factor * row[figure])
    half_width = row.get(half_width_of(figure))
    if half_width is None or math.isnan(half_width):
        return text
    return f"{text} ±{number(factor * half_width)}"


def _yes(flag: object) -> str:
    return "yes" if flag else "no"


def _limit(value: float) -> str:
    return "never" if math.isinf(value) else number(value)


def _replications(runs: Runs) -> str:
    if runs.replications == 1:
        return ""
    return f": means of {runs.replications} replications ± half width of the 95 % Student t interval"


def _say(out: Console, lines: Iterable[str]) -> None:
    for line in lines:
        out.print(line, markup=False)
