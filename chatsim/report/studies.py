"""Tables of a study on a terminal: a row per point, intervals beside the figures, verdicts in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

from chatsim.report.terminal import number, table_of

if TYPE_CHECKING:
    import pandas as pd

    from chatsim.study.tables import Tables

FIGURES = ("p50_ms", "p99_ms", "carried_per_s", "lost_share")
FIGURES_SHOWN, ROWS_SHOWN, REASONS_SHOWN, FAILURES_SHOWN = 5, 200, 6, 20
UNITS = {"_per_s": "/s", "_ms": "ms", "_s": "s", "_bytes": "bytes", "_share": "%", "_utilisation": "%"}


def figures_shown(tables: Tables, asked: Sequence[str] = ()) -> list[str]:
    """The figures of a table: those asked for, or those that SLOs are about and the usual ones."""
    if asked:
        return list(dict.fromkeys(asked))
    wanted = [str(slo).split()[0] for slo in tables.verdicts["slo"]]
    return list(dict.fromkeys([*wanted, *FIGURES]))[:FIGURES_SHOWN]


def show_points(name: str, tables: Tables, figures: Sequence[str], out: Console) -> None:
    """A row per point: its factors, its replications, and the figures with the half width of their intervals."""
    runs = len(tables.runs)
    title = f"{name}: {number(runs)} runs at {number(len(tables.labels))} points, ± half width of the 95 % interval"
    headers = ["#", *map(_factor, tables.factors), "runs", *map(_figure, figures)]
    table = table_of(title, headers, left=tuple(map(_factor, tables.factors)))
    chosen = tables.results[tables.results["figure"].isin(list(figures))]
    cells = {(row["point"], row["figure"]): row for row in chosen.to_dict("records")}
    counts = tables.runs.groupby("point").size()
    values = _values(tables)
    for point in range(min(len(tables.labels), ROWS_SHOWN)):
        shown = [_cell(cells.get((point, figure)), figure) for figure in figures]
        table.add_row(str(point), *values.get(point, [""] * len(tables.factors)), f"{counts.get(point, 0)}", *shown)
    out.print(table)
    more = len(tables.labels) - ROWS_SHOWN
    notes = [f"... and {number(more)} more points: see results.parquet."] if more > 0 else []
    if runs < tables.planned:
        missing = number(tables.planned - runs)
        notes.append(f"{missing} of {number(tables.planned)} runs are missing: start the study again.")
    if (chosen["method"] == "quantile").any():
        notes.append("Percentiles are of all replications together, intervals by sectioning; others means, Student t.")
    without = chosen[(chosen["method"] == "quantile") & (chosen["reason"] != "")]
    if len(without):
        row = without.iloc[0]
        notes.append(f"Without an interval, such as {row['figure']} of point {row['point']}: {row['reason']}.")
    _say(out, notes)


def show_verdicts(tables: Tables, out: Console) -> None:
    """A row per point, a column per SLO, and why where it is not met."""
    verdicts = tables.verdicts
    if verdicts.empty:
        return
    slos = list(dict.fromkeys(verdicts["slo"]))
    headers = ["#", *map(_factor, tables.factors), *slos]
    table = table_of("Service level objectives", headers, left=(*map(_factor, tables.factors), *slos))
    values = _values(tables)
    cells = {(row["point"], row["slo"]): _verdict(row) for row in verdicts.to_dict("records")}
    for point in range(min(len(tables.labels), ROWS_SHOWN)):
        shown = [cells[point, slo] for slo in slos]
        table.add_row(str(point), *values.get(point, [""] * len(tables.factors)), *shown)
    out.print(table)
    said = verdicts["verdict"].value_counts()
    counts = ", ".join(f"{said.get(answer, 0)} {answer}" for answer in ("met", "not met", "undecided"))
    together = " All verdicts hold together at 95 % (Holm)." if len(verdicts) > 1 else ""
    lines = [f"{counts}.{together}"]
    unmet = verdicts[verdicts["verdict"] != "met"]
    reasons = unmet.drop_duplicates(["slo", "verdict", "reason"])
    for row in reasons.head(REASONS_SHOWN).to_dict("records"):
        lines.append(f"Point {row['point']}, {row['slo']}: {row['verdict']}: {row['reason']}.")
    if len(reasons) > REASONS_SHOWN:
        lines.append(f"... and {len(reasons) - REASONS_SHOWN} other reasons: see verdicts.parquet.")
    _say(out, lines)


def show_against(tables: Tables, figure: str, baseline: int, compared: pd.DataFrame, out: Console) -> None:
    """All points against one, paired by replication: how much larger the figure is there."""
    title = f"{figure} against point {baseline} ({tables.labels[baseline]}), paired by replication"
    headers = ["#", "point", "difference", "±", "pairs", "correlation", "variance\nsaved %", "p (Holm)", "verdict"]
    table = table_of(title, headers, left=("point", "verdict"))
    factor = 100.0 if _unit(figure) == "%" else 1.0
    for row in compared.head(ROWS_SHOWN).to_dict("records"):
        point = int(row["b"])
        cells = [number(factor * row["difference"]), number(factor * row["half_width"]), f"{row['n']}"]
        luck = [number(row["correlation"]), number(100 * row["variance_saved"]), number(row["p_adjusted"])]
        table.add_row(str(point), tables.labels[point], *cells, *luck, row["verdict"])
    out.print(table)
    _say(out, ["All points had the same luck in each replication; the verdicts hold together at 95 % (Holm)."])


def failure_lines(failures: Sequence[str]) -> list[str]:
    """A line for each run that failed, and how many more."""
    lines = [f"run failed: {line}" for line in failures[:FAILURES_SHOWN]]
    more = len(failures) - FAILURES_SHOWN
    return [*lines, f"... and {more} more runs failed; history.jsonl has all of them"] if more > 0 else lines


def _values(tables: Tables) -> dict[int, list[str]]:
    """The values of the factors at each point that has runs, as text."""
    first = tables.runs.drop_duplicates("point")
    rows = first[["point", *tables.factors]].itertuples(index=False, name=None)
    return {int(row[0]): [_value(value) for value in row[1:]] for row in rows}


def _value(value: Any) -> str:
    if isinstance(value, bool | str):
        return str(value).lower() if isinstance(value, bool) else value
    return f"{value:g}" if isinstance(value, float) else f"{value:,}"


def _factor(key: str) -> str:
    """A key in two lines: its part, and its name.

    >>> _factor("friend_list.limit")
    'friend_list\\nlimit'
    """
    return key.replace(".", "\n")


def _figure(figure: str) -> str:
    """A figure's name without its unit, which stands below."""
    unit = _unit(figure)
    ending = next((ending for ending in UNITS if figure.endswith(ending)), "")
    return f"{figure.removesuffix(ending).replace('_', ' ')}\n{unit}" if ending else figure.replace("_", " ")


def _unit(figure: str) -> str:
    return next((unit for ending, unit in UNITS.items() if figure.endswith(ending)), "")


def _cell(row: dict[Any, Any] | None, figure: str) -> str:
    if row is None:
        return "-"
    factor = 100.0 if _unit(figure) == "%" else 1.0
    text = number(float(factor * row["estimate"]))
    return text if math.isnan(row["half_width"]) else f"{text} ±{number(float(factor * row['half_width']))}"


def _verdict(row: dict[Any, Any]) -> str:
    """The verdict in a word, and how many more runs may decide.

    >>> _verdict({"verdict": "undecided", "runs_needed": 8.0}), _verdict({"verdict": "met", "runs_needed": 0.0})
    ('undecided: 8 more runs', 'met')
    """
    more = float(row["runs_needed"])
    if row["verdict"] != "undecided" or math.isnan(more):
        return str(row["verdict"])
    return f"undecided: {number(int(more))} more run{'s' if more > 1 else ''}"


def _say(out: Console, lines: Iterable[str]) -> None:
    for line in lines:
        out.print(line, markup=False)
