"""The command that holds the simulator to theory and to published results."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from chatsim.options import AsJson, print_json


class Part(StrEnum):
    """What it is held to."""

    theory = "theory"
    published = "published"


NOT_HELD = 1
Parts = Annotated[
    list[Part] | None,
    typer.Option("--part", help="theory (seconds) or published (a minute); repeatable, by default both."),
]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(validate)


def validate(parts: Parts = None, as_json: AsJson = False) -> None:
    """Hold this installation to closed forms and to published results; exit 1 where theory is not met."""
    from chatsim.report import terminal, validation
    from chatsim.study import laws, published

    asked = set(parts or Part)
    checks: tuple[laws.Check, ...] = ()
    rows: list[published.Published] = []
    if Part.theory in asked:
        with terminal.progress("theory"):
            checks = laws.checks()
    if Part.published in asked:
        with terminal.progress("published") as progress:
            for row in published.published():
                rows.append(row)
                if progress is not None:
                    progress(len(rows), published.count(), row.system)
    if as_json:
        print_json(_said(checks, rows))
    else:
        console = terminal.console()
        if checks:
            validation.show_theory(checks, console)
        if rows:
            validation.show_published(rows, console)
    if not all(check.holds for check in checks):
        raise typer.Exit(NOT_HELD)


def _said(checks: Any, rows: Any) -> dict[str, Any]:
    from chatsim.report.results import plain

    held = ("name", "unit", "expected", "measured", "z")
    theory = [{name: getattr(one, name) for name in held} for one in checks]
    names = ("key", "system", "figure", "unit", "published", "here", "verdict", "why", "source")
    return {"theory": theory, "published": [{name: plain(getattr(one, name)) for name in names} for one in rows]}
