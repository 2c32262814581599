"""The command that holds the simulator to theory, to published results, and to live runs."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatsim.live_cli import Costs, needs_extra
from chatsim.options import AsJson, Force, print_json, records

if TYPE_CHECKING:
    from chatsim.live.campaign import Validated
    from chatsim.live.diary import Diary
    from chatsim.study.laws import Check
    from chatsim.study.published import Published


class Part(StrEnum):
    """What it is held to."""

    theory = "theory"
    published = "published"
    live = "live"


NOT_HELD = 1
Parts = Annotated[
    list[Part] | None,
    typer.Option(
        "--part", help="theory (seconds), published (a minute), or live (many minutes); by default the first two."
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(validate)


def validate(
    parts: Parts = None,
    costs: Costs = "live",
    repeats: Annotated[int, typer.Option("--repeats", min=1, metavar="N", help="live: runs of each point.")] = 3,
    full: Annotated[
        bool, typer.Option("--full", help="live: all 36 points instead of 12, and the ranking of designs.")
    ] = False,
    out: Annotated[
        str | None,
        typer.Option(
            "--out", metavar="DIR", help="live: tables, and each run as it is made: interrupted, it goes on from there."
        ),
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Hold this installation to closed forms, published results or live runs; exit 1 where theory is not met."""
    asked = set(parts or (Part.theory, Part.published))
    if Part.live in asked:
        _refuse_together(asked)
        _hold_to_live_runs(costs, repeats, full, out, force, as_json)
        return
    if out is not None:
        from chatsim.scenario import InputError

        raise InputError(f"--out {out}: only --part live writes tables; --json gives the figures of the others")
    checks = _checks() if Part.theory in asked else ()
    rows = _rows() if Part.published in asked else []
    if as_json:
        print_json(_said(checks, rows))
    else:
        _show(checks, rows)
    if not all(check.holds for check in checks):
        raise typer.Exit(NOT_HELD)


def _hold_to_live_runs(costs: str, repeats: int, full: bool, out: str | None, force: bool, as_json: bool) -> None:
    """Predictions against what is measured, on configurations by which no cost was fitted."""
    needs_extra()
    from chatsim.live import diary
    from chatsim.live.twin import known_profile
    from chatsim.report import terminal, validation

    known_profile(costs)
    with nullcontext(diary.Diary()) if out is None else diary.opened(out, force) as kept:
        found = _validated(costs, repeats, full, out, kept)
        if out is not None:
            validation.write_live(Path(out), found.tables, found.scenarios, repeats, ["chatsim", *sys.argv[1:]])
    if as_json:
        tables = {name: records(table) for name, table in found.tables.items()}
        print_json({**tables, "runs": {"made": found.made, "found": found.found}})
        return
    validation.show_live(found.tables, terminal.console())
    if out is not None:
        typer.echo(f"{found.made:,} live runs were made now, {found.found:,} were there. Written to {out}")


def _validated(costs: str, repeats: int, full: bool, out: str | None, kept: Diary) -> Validated:
    from chatsim.live import campaign
    from chatsim.report import terminal

    try:
        with terminal.progress("validate") as bar:
            tell = None if bar is None else (lambda done, name: bar(done, 1, name))
            return campaign.validate(costs, repeats, full, kept, tell)
    except KeyboardInterrupt:
        if out is not None:
            typer.echo(f"{kept.runs:,} live runs stand in {out}: the same command goes on from there", err=True)
        raise


def _checks() -> tuple[Check, ...]:
    from chatsim.report import terminal
    from chatsim.study import laws

    with terminal.progress("theory"):
        return laws.checks()


def _rows() -> list[Published]:
    from chatsim.report import terminal
    from chatsim.study import published

    rows = []
    with terminal.progress("published") as progress:
        for row in published.published():
            rows.append(row)
            if progress is not None:
                progress(len(rows), published.count(), row.system)
    return rows


def _show(checks: tuple[Check, ...], rows: list[Published]) -> None:
    from chatsim.report import terminal, validation

    console = terminal.console()
    if checks:
        validation.show_theory(checks, console)
    if rows:
        validation.show_published(rows, console)


def _refuse_together(asked: set[Part]) -> None:
    if len(asked) > 1:
        from chatsim.scenario import InputError

        raise InputError("--part live: stands alone, as it measures this machine: ask for the others by themselves")


def _said(checks: tuple[Check, ...], rows: list[Published]) -> dict[str, Any]:
    from chatsim.report.results import plain

    held = ("name", "unit", "expected", "measured", "z")
    theory = [{name: getattr(one, name) for name in held} for one in checks]
    names = ("key", "system", "figure", "unit", "published", "here", "verdict", "why", "source")
    return {"theory": theory, "published": [{name: plain(getattr(one, name)) for name in names} for one in rows]}
