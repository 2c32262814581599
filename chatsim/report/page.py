"""A review as one HTML file that needs nothing else, and as Markdown for a pull request."""

from __future__ import annotations

import base64
import hashlib
import io
import math
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pandas as pd

from chatsim.report.decision_charts import said
from chatsim.report.decisions import money
from chatsim.report.exhibit import Exhibit
from chatsim.report.style import styled
from chatsim.report.svg import inline_svg
from chatsim.report.terminal import number
from chatsim.study.sensitivity import assumptions

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup
    from matplotlib.figure import Figure

    from chatsim.report.review import Review

CSV_MOST_BYTES = 150_000     # of a table that the page carries; of larger ones the folder has the numbers
SVG_MOST_BYTES = 400_000     # a drawing of more is carried as an image
POINTS_MOST = 200
ROWS_MOST = 30
LEVELS_MOST = 8
IMAGE_DPI = 110
COST_SAID = (
    "Cost: a month of 730 h at the mean load of a day, by the prices of the scenario; egress is payload. Not in it: "
    "storage, balancers, traffic between machines."
)
MARKS = {"met": "✓", "not met": "✗", "undecided": "?", "no SLO": "·", "no runs": "·"}
MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~!&])")


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in a table, and by what the table is sorted."""

    text: str
    key: str
    is_text: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """An exhibit, ready for the page: ``drawing`` is SVG or an image, ``csv`` a link that holds the numbers."""

    key: str
    title: str
    conclusion: str
    drawing: Markup | None
    columns: tuple[str, ...]
    rows: list[list[Cell]]
    more: int
    csv: str


def html(review: Review) -> str:
    """The page. The same review gives the same text. Modifies the figures of its exhibits."""
    from markupsafe import Markup

    script, style = _packaged("report.js"), _packaged("report.css")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _environment(escapes=True).get_template("report.html").render(
        review=review,
        script=Markup(script),
        style=Markup(style),
        script_hash=digest,
        facts=facts(review),
        points=decision_rows(review),
        points_csv=csv_link(review.decision.table),
        marks=MARKS,
        decisions=[_shown(one, "decision") for one in review.decisions],
        evidence=[_shown(one, "evidence") for one in review.evidence],
        trust=[_shown(one, "trust") for one in review.trust],
    )


def markdown(review: Review) -> str:
    """Verdict, decision table and differences, for a pull request."""
    differences = next((one for one in review.decisions if one.key == "differences"), None)
    return _environment(escapes=False).get_template("report.md").render(
        review=review, facts=facts(review), points=decision_rows(review), marks=MARKS, differences=differences,
        rows=[] if differences is None else differences.table.head(ROWS_MOST).to_dict("records"),
    )  # fmt: skip


def make(folder: str | Path, as_markdown: bool = False, evidence: bool = True) -> str:
    """The report of a study's folder, with progress on a terminal. Evidence is for the page alone."""
    from chatsim.report import terminal
    from chatsim.report.evidence import exhibits
    from chatsim.report.review import read_review

    with terminal.progress("report") as progress:
        review = read_review(folder, exhibits if evidence and not as_markdown else None, progress)
        return markdown(review) if as_markdown else html(review)


# --------------------------------------------------------------------------- what the templates say


def decision_rows(review: Review) -> list[dict[str, Any]]:
    """The points as the decision table shows them: values as text, and what they are sorted by."""
    rows: list[dict[str, Any]] = []
    for row in review.decision.table.head(POINTS_MOST).to_dict("records"):
        busy = "" if math.isnan(row["load"]) else f"{row['binding']} ({number(100 * row['load'])} %)"
        rows.append(
            {
                **{str(key): value for key, value in row.items()},
                "factors": [Cell(_level(row[key]), _key(row[key])) for key in review.plan.factors],
                "cells": [_interval(row, name) for name in review.decision.figures],
                "month": _dollars(row["usd_per_month"]),
                "each": _dollars(row["usd_per_1000_users"]),
                "busy": Cell(busy or "-", _key(row["load"])),
                "room": Cell(_times(row["headroom"]), _key(row["headroom"])),
                "is_named": row["point"] == review.decision.named,
            }
        )
    return rows


def facts(review: Review) -> dict[str, Any]:
    """Single figures of the page."""
    plan, tables, table = review.plan, review.tables, review.decision.table
    counts = table["verdict"].value_counts()
    named = review.decision.named or 0
    warm_up = next((one.conclusion for one in review.trust if one.key == "warm-up"), "")
    durations = tables.runs["duration_s"] if "duration_s" in tables.runs else pd.Series(dtype=float)
    length = f"{number(float(durations.mean()))} s of simulated time" if len(durations) else "As the scenario says"
    versions = review.manifest.get("versions")
    slos = [slo.figure for slo in plan.study.objectives()]
    took_s = float(review.history["took_s"].sum()) if len(review.history) else math.nan
    return {
        "counts": {state: int(counts.get(state, 0)) for state in MARKS if counts.get(state, 0)},
        "points": f"{len(table):,} design point{'s' if len(table) != 1 else ''}",
        "more_points": max(len(table) - POINTS_MOST, 0),
        "runs": f"{len(tables.runs):,} run{'s' if len(tables.runs) != 1 else ''}",
        "missing": tables.planned - len(tables.runs),
        "label": table["label"][named],
        "named": named,
        "outputs": list(dict.fromkeys([*slos, "p50_ms", "p99_ms", "carried_per_s"])),
        "levels": [f"{key}: {_levels(review, key)}" for key in plan.factors],
        "faults": [fault.kind for fault in review.scenario.faults],
        "outbound": number(review.scenario.network.outbound_max_bytes),
        "assumed": len(assumptions(review.scenario)),
        "regime": warm_up.partition(": ")[2].capitalize() or "No warm-up was looked for.",
        "run_length": f"{length}, and up to {number(review.scenario.workload.drain_s)} s to drain.",
        "versions": sorted((str(k), str(v)) for k, v in versions.items()) if isinstance(versions, dict) else [],
        "model": str(review.manifest.get("model", "?")),
        "study_hash": str(review.manifest.get("study_hash", "?"))[:12],
        "machine": f"{review.history['machine'].iloc[-1]}." if len(review.history) else "Unknown.",
        "took": "unknown" if math.isnan(took_s) else f"{number(took_s)} s",
        "history": review.history.to_dict("records"),
        "cost_said": COST_SAID,
        "figures": [said(name).replace(" latency", "") for name in review.decision.figures],
        "reasons": _reasons(review),
    }


def _reasons(review: Review) -> list[tuple[str, str]]:
    """Why points are not met or undecided, and which: each reason once."""
    found: dict[str, list[int]] = {}
    for row in review.decision.rows("not met", "undecided").head(POINTS_MOST).to_dict("records"):
        found.setdefault(f"{row['verdict']}: {row['reason']}", []).append(int(row["point"]))
    return [(reason, spans(points)) for reason, points in found.items()]


def spans(points: list[int]) -> str:
    """Numbers of points in ascending order, neighbours together.

    >>> spans([0, 1, 2, 5])
    '#0 to #2, #5'
    """
    ends: list[tuple[int, int]] = []
    for point in points:
        if ends and point == ends[-1][1] + 1:
            ends[-1] = (ends[-1][0], point)
        else:
            ends.append((point, point))
    return ", ".join(f"#{low}" if low == high else f"#{low} to #{high}" for low, high in ends)


def csv_link(table: pd.DataFrame) -> str:
    """A link that holds a table as CSV, or nothing where it is too large for that.

    >>> csv_link(pd.DataFrame({"a b": [1.5]}))
    'data:text/csv;charset=utf-8,a%20b%0A1.5%0A'
    """
    text = table.to_csv(index=False, lineterminator="\n")
    return f"data:text/csv;charset=utf-8,{quote(text)}" if len(text) <= CSV_MOST_BYTES else ""


def _shown(one: Exhibit, section: str) -> Shown:
    key = f"{section}-{one.key}"
    shown = one.table.head(ROWS_MOST).itertuples(index=False)
    rows = [[Cell(_text(value), _key(value), isinstance(value, str)) for value in row] for row in shown]
    drawing = None if one.figure is None else _drawn(one.figure, key, f"{one.title}. {one.conclusion}")
    columns = tuple(str(name).replace("_", " ") for name in one.table.columns)
    more = max(len(one.table) - ROWS_MOST, 0)
    return Shown(key, one.title, one.conclusion, drawing, columns, rows, more, csv_link(one.table))


def _drawn(figure: Figure, key: str, says: str) -> Markup:
    from markupsafe import Markup

    svg = inline_svg(figure, key, says)
    if len(svg) <= SVG_MOST_BYTES:
        return Markup(svg)
    content = io.BytesIO()
    with styled():
        figure.savefig(content, format="png", dpi=IMAGE_DPI, metadata={"Software": None})
    data = base64.b64encode(content.getvalue()).decode()
    width_px = round(96 * figure.get_size_inches()[0])
    return Markup('<img src="data:image/png;base64,{}" alt="{}" width="{}">').format(data, says, width_px)


# --------------------------------------------------------------------------- cells


def _interval(row: dict[Any, Any], name: str) -> Cell:
    half = row[f"{name}_half_width"]
    text = number(float(row[name]))
    return Cell(text if math.isnan(half) else f"{text} ± {number(float(f'{half:.2g}'))}", _key(row[name]))


def _dollars(usd: float) -> Cell:
    return Cell("-" if math.isnan(usd) else money(usd), _key(usd))


def _times(headroom: float) -> str:
    return f"{number(headroom)} x" if math.isfinite(headroom) else "-"


def _level(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)


def _levels(review: Review, key: str) -> str:
    levels = list(dict.fromkeys(point[key] for point in review.plan.points))
    if len(levels) <= LEVELS_MOST:
        return ", ".join(map(_level, levels))
    return f"{len(levels)} values from {_level(min(levels))} to {_level(max(levels))}"


def _text(value: Any) -> str:
    """A value of any table as text.

    >>> [_text(value) for value in (12345, 0.123456, True, "a", float("nan"))]
    ['12,345', '0.123', 'yes', 'a', '-']
    """
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if isinstance(value, int | float) else str(value)


def _key(value: Any) -> str:
    """By what a value is sorted: numbers in full, nothing where there is none."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    return str(value)


# --------------------------------------------------------------------------- templates


def _packaged(name: str) -> str:
    return (files("chatsim.report") / "templates" / name).read_text(encoding="utf-8")


def _environment(escapes: bool) -> Environment:
    """Templates of the package; what is inserted is text, in HTML by escaping, in Markdown by ``plain``."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    made = Environment(
        loader=FunctionLoader(_packaged), autoescape=escapes, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    made.filters["plain"] = plain_markdown
    made.filters["number"] = number
    made.filters["breaks"] = _breaks
    return made


def _breaks(key: str) -> Markup:
    """A key that may be broken behind its dots."""
    from markupsafe import Markup

    return Markup("<wbr>").join(f"{part}." for part in key.split(".")[:-1]) + Markup("<wbr>") + key.rpartition(".")[2]


def plain_markdown(text: object) -> str:
    """Text that Markdown shows as it is, in one line.

    >>> plain_markdown("a|b <script> _c_")
    'a\\\\|b \\\\<script\\\\> \\\\_c\\\\_'
    """
    return MARKDOWN.sub(r"\\\1", " ".join(str(text).split()))


__all__ = ["csv_link", "decision_rows", "html", "make", "markdown"]
