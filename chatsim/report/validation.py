"""The simulator held to theory and to published results, on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chatsim.report.terminal import number, table_of

if TYPE_CHECKING:
    from rich.console import Console

    from chatsim.study.published import Published


def show_published(rows: Sequence[Published], out: Console) -> None:
    """A row per figure: published, ours, the difference, and why where it is large."""
    headers = ["system", "figure", "unit", "published", "here", "", "why"]
    table = table_of("Published results", headers, left=("system", "figure", "unit", "", "why"))
    for row in rows:
        here = "-" if row.here != row.here else number(row.here)
        why = "" if row.verdict == "reproduced" else row.why
        table.add_row(row.system, row.figure, row.unit, number(row.published), here, row.verdict, why)
    out.print(table)
    modelled = [row for row in rows if row.verdict != "not modelled"]
    near = sum(row.verdict == "reproduced" for row in modelled)
    out.print(f"{near} of {len(modelled)} figures that can be modelled are reproduced within 15 %.", highlight=False)
