"""The commands of studies: carry one out, read its results, hold it to its SLOs."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatsim.options import AsJson, Jobs, print_json, records

if TYPE_CHECKING:
    from chatsim.study.execute import Carried
    from chatsim.study.points import Plan
    from chatsim.study.tables import Tables

NOT_MET, UNDECIDED, FAILED = 1, 3, 1

Cluster = Annotated[
    str | None, typer.Option("--cluster", metavar="ADDR", help="A Dask scheduler instead, such as tcp://10.0.0.1:8786.")
]
Out = Annotated[
    str | None, typer.Option("--out", metavar="DIR", help="The folder of the results; by default results/NAME.")
]
Figures = Annotated[
    list[str] | None, typer.Option("--figure", metavar="NAME", help="Show this figure, such as p99_ms; repeatable.")
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (study, results, check):
        app.command()(command)


def study(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A study file (TOML), or the name of a shipped study.")],
    jobs: Jobs = 0,
    cluster: Cluster = None,
    out: Out = None,
    as_json: AsJson = False,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Write report.html as well; see 'chatsim report'.")
    ] = True,
) -> None:
    """Carry out a study: what is missing is run, what is there is kept. Killed, it goes on from there."""
    from chatsim.study.execute import planned

    plan, folder = planned(file, out)
    carried = _carry_out(plan, folder, jobs, cluster)
    if as_json:
        print_json(_said(carried))
    else:
        _show(plan.study.name, carried.tables)
        typer.echo(f"{carried.computed:,} runs were done now, {carried.found:,} were there. Results: {folder}")
    if report:
        place = _write_report(folder)
        if not as_json:
            typer.echo(f"Report: {place}")
    _end_with_failures(carried)


def results(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The folder of a study, finished or not.")],
    figures: Figures = None,
    against: Annotated[
        int | None, typer.Option("--against", metavar="POINT", help="Compare all points with this one (its number).")
    ] = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV on standard output: a row per point and figure.")] = False,
) -> None:
    """Show what a study came to, by point, with intervals and verdicts."""
    from chatsim.scenario import InputError
    from chatsim.study.archive import Archive
    from chatsim.study.tables import read_study, tables_of

    if as_json and as_csv:
        raise InputError("--csv: --json is given too: one of the two is needed")
    archive = Archive(folder)
    manifest, asked = read_study(archive)
    tables = tables_of(archive, manifest, asked)
    _refuse_unknown(tables, figures or [])
    chosen = tables.results[tables.results["figure"].isin(figures)] if figures else tables.results
    compared = None if against is None else _compared(tables, figures or ["p99_ms"], against)
    if as_csv:
        typer.echo(chosen.to_csv(index=False), nl=False)
        return
    if as_json:
        said = {**_head(manifest, tables), "results": records(chosen), "verdicts": records(tables.verdicts)}
        against_it = {} if compared is None else {"against": {key: records(one) for key, one in compared.items()}}
        print_json({**said, **against_it})
        return
    _show(asked.name, tables, figures or ())
    if compared is not None:
        from chatsim.report import studies, terminal

        for figure, table in compared.items():
            studies.show_against(tables, figure, against or 0, table, terminal.console())


def check(
    source: Annotated[str, typer.Argument(metavar="FILE|DIR", help="A study file, or the folder of a study.")],
    jobs: Jobs = 0,
    cluster: Cluster = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Hold a study to its SLOs, for CI: exit 0 where all are met, 1 where one is not, 3 where undecided."""
    from chatsim.scenario import InputError
    from chatsim.study.execute import planned

    plan, folder = planned(source, out)
    if not plan.study.slos:
        raise InputError(f"{source}: slos = []: at least one is needed, such as 'p99_ms < 200'")
    carried = _carry_out(plan, folder, jobs, cluster)
    status = exit_status(carried.tables.verdicts["verdict"], len(carried.failures))
    words = {0: "met", NOT_MET: "not met", UNDECIDED: "undecided"}
    if as_json:
        print_json({**_said(carried), "verdict": words[status]})
    else:
        from chatsim.report import studies, terminal

        studies.show_verdicts(carried.tables, terminal.console())
        typer.echo(f"{plan.study.name}: {words[status]}. Results: {folder}")
    _say_failures(carried)
    raise typer.Exit(status)


def exit_status(verdicts: Iterable[str], failures: int = 0) -> int:
    """0 where all SLOs are met, 1 where one is not, 3 where that is not known; a run that failed leaves it unknown.

    >>> exit_status(["met", "undecided"]), exit_status(["undecided", "not met"]), exit_status(["met"])
    (3, 1, 0)
    """
    answers = set(verdicts)
    if "not met" in answers:
        return NOT_MET
    return UNDECIDED if "undecided" in answers or failures else 0


def _carry_out(plan: Plan, folder: Path, jobs: int, cluster: str | None) -> Carried:
    from chatsim.report import terminal
    from chatsim.study.execute import carry_out

    with terminal.progress(f"study {plan.study.name}") as progress:
        return carry_out(plan, folder, jobs, cluster, progress, ("chatsim", *sys.argv[1:]))


def _write_report(folder: Path) -> Path:
    from chatsim.report import page
    from chatsim.study.archive import REPORT
    from chatsim.study.files import write_whole

    write_whole(folder / REPORT, page.make(folder))
    return folder / REPORT


def _show(name: str, tables: Tables, figures: Iterable[str] = ()) -> None:
    from chatsim.report import studies, terminal

    console = terminal.console()
    studies.show_points(name, tables, studies.figures_shown(tables, tuple(figures)), console)
    studies.show_verdicts(tables, console)


def _said(carried: Carried) -> dict[str, Any]:
    manifest = carried.archive.manifest() or {}
    return {
        **_head(manifest, carried.tables),
        "computed": carried.computed,
        "found": carried.found,
        "failed": list(carried.failures),
        "results": records(carried.tables.results),
        "verdicts": records(carried.tables.verdicts),
    }


def _head(manifest: dict[str, Any], tables: Tables) -> dict[str, Any]:
    said = {"chatsim": manifest["versions"]["chatsim"], "study": manifest["study"], "model": manifest["model"]}
    return {**said, "runs": len(tables.runs), "planned": tables.planned, "points": list(tables.labels)}


def _compared(tables: Tables, figures: list[str], baseline: int) -> dict[str, Any]:
    """All points against one, by figure."""
    from chatsim.analysis.experiments import by_design, compare_all
    from chatsim.scenario import InputError

    if not 0 <= baseline < len(tables.labels):
        raise InputError(f"--against {baseline}: the number of a point is needed, from 0 to {len(tables.labels) - 1}")
    runs = tables.runs.assign(design=tables.runs["point"].astype(str))
    if str(baseline) not in set(runs["design"]):
        raise InputError(f"--against {baseline}: this point has no runs yet")
    return {figure: compare_all(by_design(runs, figure), str(baseline)) for figure in figures}


def _refuse_unknown(tables: Tables, figures: list[str]) -> None:
    from chatsim.scenario import InputError
    from chatsim.study.figures import known_figures, nearest_figure

    known = set(tables.results["figure"])
    for figure in figures:
        if figure not in known:
            hint = ": what it tells of is not in them" if figure in known_figures() else nearest_figure(figure)
            raise InputError(f"--figure {figure}: these runs have no such figure{hint}")


def _end_with_failures(carried: Carried) -> None:
    _say_failures(carried)
    if carried.failures:
        raise typer.Exit(FAILED)


def _say_failures(carried: Carried) -> None:
    from chatsim.report.studies import failure_lines

    if carried.mixed:
        several = "; ".join(carried.mixed)
        typer.echo(f"chatsim: note: runs were made with several versions of packages: {several}", err=True)
    for line in failure_lines(carried.failures):
        typer.echo(f"chatsim: {line}", err=True)


