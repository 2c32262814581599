"""The command that follows one message through a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatsim.options import AsJson, Faults, Load, Seed, Sets, Source, load, print_json, records

if TYPE_CHECKING:
    from chatsim.study.follow import Followed

SLOWEST = "slowest"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(trace)


def trace(
    scenario: Source,
    message: Annotated[
        str,
        typer.Option("--message", metavar="N", help="Its number, from 0; 'slowest': whose delivery takes longest."),
    ] = SLOWEST,
    mermaid: Annotated[
        str | None, typer.Option("--mermaid", metavar="FILE", help="Write a Mermaid sequence diagram.")
    ] = None,
    perfetto: Annotated[
        str | None,
        typer.Option("--perfetto", metavar="FILE", help="Write a trace (JSON) of all stations for ui.perfetto.dev."),
    ] = None,
    from_s: Annotated[
        float | None,
        typer.Option("--from", metavar="S", help="Its first second; by default when the message is written."),
    ] = None,
    to_s: Annotated[
        float | None, typer.Option("--to", metavar="S", help="Its last second; by default when the message is there.")
    ] = None,
    sets: Sets = None,
    seed: Seed = None,
    workload: Load = None,
    faults: Faults = None,
    force: Annotated[bool, typer.Option("--force", help="Let files be replaced.")] = False,
    as_json: AsJson = False,
) -> None:
    """Follow one message hop by hop, or see a window of the run in Perfetto."""
    from chatsim.study.files import free_file
    from chatsim.study.follow import follow

    asked = load(scenario, sets, seed, workload, faults)
    number = _number(message)
    said = {"--mermaid": mermaid, "--perfetto": perfetto}
    targets = {option: free_file(file, force, option) for option, file in said.items() if file is not None}
    from chatsim.report import journeys, terminal

    with terminal.progress("trace") as bar:
        followed = follow(asked, number, from_s, to_s, bar and (lambda share: bar(share, 1, asked.name)))
    written = _write(followed, targets)
    if as_json:
        print_json(_said(followed))
        return
    journeys.show_journey(followed, terminal.console())
    for line in written:
        typer.echo(line)


def _write(followed: Followed, targets: dict[str, Path]) -> list[str]:
    """Writes the files that were asked for, and says so."""
    from chatsim.report import journeys
    from chatsim.study.files import write_whole

    lines = []
    if path := targets.get("--mermaid"):
        write_whole(path, journeys.mermaid(followed), "--mermaid")
        lines.append(f"Written: {path}, for any Mermaid viewer (GitHub shows it in a ```mermaid block)")
    if path := targets.get("--perfetto"):
        write_whole(path, journeys.perfetto_text(followed), "--perfetto")
        window = f"{followed.from_s:.3f} s to {followed.to_s:.3f} s"
        lines.append(f"Written: {path}, the run from {window}: open it at ui.perfetto.dev")
    return lines


def _number(message: str) -> int | None:
    from chatsim.scenario import InputError

    if message == SLOWEST:
        return None
    try:
        return int(message)
    except ValueError as error:
        raise InputError(f"--message {message}: a whole number from 0 on, or '{SLOWEST}', is needed") from error


def _said(followed: Followed) -> dict[str, Any]:
    import pandas as pd

    from chatsim.analysis.hops import breakdown_ms

    scenario = followed.outcome.scenario
    spent = breakdown_ms(followed.passage) if len(followed.passage) else pd.Series(dtype=float)
    return {
        "scenario": scenario.name,
        "seed": scenario.seed,
        "message": followed.message,
        "sentences": followed.sentences,
        "last_delivery_ms": {str(kind): float(ms) for kind, ms in spent.items()},
        "hops": records(followed.hops),
    }
