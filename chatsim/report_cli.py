"""The command that writes a study's report."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """Of what kind the report is."""

    html = "html"
    md = "md"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(report)


def report(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The folder of a study, finished or not.")],
    kind: Annotated[
        Format,
        typer.Option("--format", help="html: one page that needs nothing else; md: a summary for a pull request."),
    ] = Format.html,
    out: Annotated[
        str | None,
        typer.Option("--out", metavar="FILE", help="A new file; by default DIR/report.html, md on standard output."),
    ] = None,
    evidence: Annotated[
        bool,
        typer.Option(
            "--evidence/--no-evidence", help="Do a run of the design again for charts of it, and check against theory."
        ),
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Let --out replace a file.")] = False,
) -> None:
    """Write a study's report: the decision, the evidence, and why to trust it."""
    from chatsim.report import page
    from chatsim.study.archive import REPORT
    from chatsim.study.files import free_file, write_whole

    target = None if out is None else free_file(out, force)
    text = page.make(folder, kind is Format.md, evidence)
    if target is None and kind is Format.md:
        typer.echo(text, nl=False)
        return
    place = target or Path(folder) / REPORT
    write_whole(place, text)
    typer.echo(f"Written to {place}: {len(text.encode()) / 1e6:.1f} MB")
