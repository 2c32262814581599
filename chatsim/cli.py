"""The command line: thin, and every error one line on standard error with exit status 2."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, NoReturn

import typer

from chatsim import __version__, decide_cli, live_cli, report_cli, study_cli, trace_cli, validate_cli
from chatsim.options import (
    AsJson,
    Costs,
    Engine,
    Faults,
    Force,
    Jobs,
    Keep,
    Load,
    Out,
    Replications,
    Seed,
    Sets,
    Source,
    Sources,
    Vary,
    load,
    load_all,
    print_json,
    records,
)

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from chatsim.report.results import Files
    from chatsim.scenario import Scenario
    from chatsim.study import Runs
    from chatsim.study.runs import Note
    from chatsim.study.spread import Progress

WRONG_INPUT, DEFECT, INTERRUPTED = 2, 1, 130
NEXT_STEPS = """\
chatsim simulates real-time chat designs: which one, how many servers, and which limits?

  chatsim designs                          the shipped designs, workloads, faults, studies
  chatsim estimate go-chat                 what binds and when, without a run
  chatsim compare all --out results/first  all designs on the same trace, with charts

Next: chatsim new mine.toml writes a commented scenario; chatsim --help lists all commands.
"""

PRESETS = ("workloads", "faults", "studies")

app = typer.Typer(
    name="chatsim",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

Curves = Annotated[
    bool | None, typer.Option("--saturation/--no-saturation", help="Saturation curves; by default with --out.")
]


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Which chat design, how many servers, and which limits? A discrete-event simulation of real-time chat."""
    if version:
        print(f"chatsim {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(NEXT_STEPS, end="")


@app.command()
def run(
    scenario: Source,
    sets: Sets = None,
    seed: Seed = None,
    workload: Load = None,
    out: Out = None,
    force: Force = False,
    as_json: AsJson = False,
    replications: Replications = 1,
    jobs: Jobs = 0,
    faults: Faults = None,
    costs: Costs = None,
    engine: Engine = "auto",
    keep: Keep = "auto",
) -> None:
    """Simulate one design."""
    asked = load(scenario, sets, seed, workload, faults, costs)
    from chatsim import study
    from chatsim.report import terminal
    from chatsim.report.faults import show_storms

    with _results(out, force) as files:
        with terminal.progress("run") as progress:
            result = study.run(asked, replications, jobs, progress, files.note if files else None, engine, keep)
        if files:
            files.finish_runs(result)
    if as_json:
        print_json(_figures(result))
        return
    console = terminal.console()
    terminal.show_trace(result, console)
    terminal.show_result(result, console)
    show_storms(result, console)
    _say_where(out)


@app.command()
def compare(
    scenarios: Sources,
    sets: Sets = None,
    seed: Seed = None,
    workload: Load = None,
    out: Out = None,
    force: Force = False,
    as_json: AsJson = False,
    replications: Replications = 1,
    jobs: Jobs = 0,
    saturation: Curves = None,
    faults: Faults = None,
    vary: Vary = None,
    costs: Costs = None,
    engine: Engine = "auto",
) -> None:
    """Simulate several designs on the same trace."""
    asked = load_all(scenarios, vary, sets, seed, workload, faults, costs)
    from chatsim import study
    from chatsim.report import terminal
    from chatsim.report.faults import show_storms

    study.same_trace(asked)
    curves: pd.DataFrame | None = None
    with _results(out, force) as files:
        with terminal.progress("compare") as progress:
            comparison = study.compare(asked, replications, jobs, progress, files.note if files else None, None, engine)
        if saturation or (saturation is None and files):
            with terminal.progress("saturation") as progress:
                curves = study.saturation(asked, jobs=jobs, progress=progress)
        if files:
            files.finish_runs(comparison, curves)
    if as_json:
        print_json(
            {
                **_figures(comparison),
                "paired": records(comparison.paired),
                "saturation": None if curves is None else records(curves),
            }
        )
        return
    console = terminal.console()
    terminal.show_trace(comparison, console)
    terminal.show_comparison(comparison, console)
    show_storms(comparison, console)
    if curves is not None:
        terminal.show_saturation(curves, console)
    _say_where(out)


@app.command()
def fault(
    fault: Annotated[
        str, typer.Argument(metavar="FAULT", help="A shipped fault (see 'chatsim designs') or a file with [[faults]].")
    ],
    scenario: Annotated[
        str, typer.Argument(metavar="[SCENARIO]", help="A shipped design or a TOML file; go-chat by default.")
    ] = "go-chat",
    sets: Sets = None,
    seed: Seed = None,
    workload: Load = None,
    out: Out = None,
    force: Force = False,
    as_json: AsJson = False,
    jobs: Jobs = 0,
) -> None:
    """Simulate a design with a fault and without it: what is lost, and how long until all are back."""
    asked = load(scenario, sets, seed, workload, [fault])
    from chatsim.report import faults as report
    from chatsim.report import terminal
    from chatsim.study.faults import strike

    with _results(out, force) as files:
        with terminal.progress("fault") as progress:
            struck = strike(asked, jobs, progress, files.note if files else None)
        if files:
            files.finish_runs(struck.runs, tables=struck.tables())
    if as_json:
        tables = {"recovery": struck.recovery, "timeline": struck.timeline, "paired": struck.runs.paired}
        said = {name: records(table) for name, table in tables.items()}
        print_json({**_figures(struck.runs), "verdict": struck.verdict, **said})
        return
    console = terminal.console()
    terminal.show_trace(struck.runs, console)
    report.show_fault(struck, console)
    _say_where(out)


@app.command()
def estimate(
    scenario: Source,
    sets: Sets = None,
    seed: Seed = None,
    workload: Load = None,
    costs: Costs = None,
    as_json: AsJson = False,
) -> None:
    """Say what binds first and at which load, without a run."""
    asked = load(scenario, sets, seed, workload, costs=costs)
    from chatsim import theory

    needs = theory.estimate(asked)
    if as_json:
        print_json(needs.as_dict())
        return
    from chatsim.report import terminal

    terminal.show_estimate(needs, terminal.console())


@app.command()
def designs(as_json: AsJson = False) -> None:
    """List the shipped designs, workloads, faults and studies."""
    from chatsim.scenario import load_scenario, preset_names
    from chatsim.scenario.guide import about_of

    shipped = [load_scenario(name) for name in preset_names()]
    others = {part: {name: about_of(part, name) for name in preset_names(part)} for part in PRESETS}
    if as_json:
        print_json({"designs": {design.name: design.about for design in shipped}, **others})
        return
    from chatsim.report import terminal

    terminal.show_designs(shipped, others, terminal.console())


@app.command()
def schema() -> None:
    """Print the JSON Schema of scenario files, for editors."""
    from chatsim.scenario.guide import json_schema

    print_json(json_schema())


@app.command()
def new(
    file: Annotated[str, typer.Argument(metavar="[FILE]", help="The file to write; it must not exist.")] = "mine.toml",
    extends: Annotated[
        str, typer.Option("--extends", metavar="NAME", help="The shipped design to start from.")
    ] = "go-chat",
) -> None:
    """Write a commented scenario file with every key."""
    from chatsim.scenario import InputError, load_scenario, preset_names
    from chatsim.scenario.errors import nearest
    from chatsim.scenario.guide import starting_file

    if extends not in preset_names():
        raise InputError(f"--extends {extends}: a shipped design is needed{nearest(extends, preset_names())}")
    text = starting_file(load_scenario(extends), extends, file)
    try:
        with Path(file).open("x", encoding="utf-8") as target:
            target.write(text)
    except FileExistsError as error:
        raise InputError(f"{file}: exists already: nothing is overwritten; give another name") from error
    except OSError as error:
        raise InputError(f"{file}: cannot be written: {error.strerror or error}") from error
    print(f"{file} is written. Next: chatsim run {file}")


@app.command()
def friends(
    scenario: Annotated[
        str, typer.Argument(metavar="SCENARIO", help="Whose workload to read; CollegeMsg where nothing is given.")
    ] = "",
    sets: Sets = None,
    seed: Seed = None,
    workload: Load = None,
    opening_gap_s: Annotated[
        float, typer.Option("--opening-gap-s", metavar="S", help="Silence of a pair after which a conversation opens.")
    ] = 1800.0,
    half_life_s: Annotated[
        float, typer.Option("--half-life-s", metavar="S", help="Half-life of a chat in the frecency ranking.")
    ] = 3600.0,
    out: Out = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Say how many friends a list must show, from the trace, without a run."""
    if not scenario and not workload:
        workload = "collegemsg"
    asked = load(scenario or "go-chat", sets, seed, workload)
    from chatsim.analysis import friendlists
    from chatsim.world import build_world

    with _results(out, force) as files:
        world = build_world(asked)
        curves = friendlists.compare_rankings(world, opening_gap_s, half_life_s)
        if files:
            from chatsim.report import charts

            by_policy = {str(policy): part for policy, part in curves.groupby("policy", sort=False)}
            files.finish_question(asked, "friend_lists", curves, lambda _: charts.hit_curves(by_policy))
    from chatsim.report.results import plain

    first_ever_share, verdict = friendlists.first_ever_share(world), friendlists.verdict(curves)
    if as_json:
        print_json(
            {
                "chatsim": __version__,
                "seed": asked.seed,
                "first_ever_share": plain(first_ever_share),
                "verdict": verdict,
                "curves": [{**row, "k": int(row["k"]) if row["k"] else "all"} for row in records(curves)],
            }
        )
        return
    from chatsim.report import terminal

    console = terminal.console()
    for line in world.report.lines if world.report else ():
        console.print(line, markup=False)
    terminal.show_friend_lists(curves, verdict, console)
    _say_where(out)


@app.command()
def fit(
    trace: Annotated[
        str,
        typer.Argument(
            metavar="TRACE",
            help="'collegemsg', a log (CSV, CSV.gz, Parquet) with time, sender, recipient, or a workload or scenario.",
        ),
    ],
    sets: Sets = None,
    seed: Seed = None,
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE.toml", help="Write the fitted model as a workload file.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
    through: Annotated[
        str | None, typer.Option("--through", metavar="SCENARIO", help="Put the log and the model through this design.")
    ] = None,
    replications: Annotated[
        int, typer.Option("--replications", metavar="N", min=2, help="Worlds of the model that go through the design.")
    ] = 5,
    jobs: Jobs = 0,
) -> None:
    """Fit the behaviour model to a log, and write it as a workload for --workload.

    With --through the log and the model both go through a design, and a table says side by side what it makes of them.
    """
    asked = _whose_trace(trace, sets or [], seed)
    design = None if through is None else load(through, sets, seed)
    from chatsim.report import terminal
    from chatsim.study import fit as fitting
    from chatsim.study import replay as replaying
    from chatsim.study.files import free_file, write_whole

    target = None if out is None else free_file(out, force)
    with terminal.progress("fit") as progress:
        fitted = fitting.fit(asked, progress)
        replayed = design and replaying.replay(design, asked, fitted.scenario, replications, jobs, progress)
    if target is not None:
        said = ["fit", trace, *(f"--set {change}" for change in sets or ()), f"--seed {asked.seed} --out {target.name}"]
        write_whole(target, fitting.workload_file(fitted, target.stem, f"chatsim {' '.join(said)}"))
    if as_json:
        figures = {"trace": fitted.source, "workload": fitted.workload, "figures": records(fitted.table)}
        if replayed:
            figures["replay"] = {"design": replayed.design, "figures": records(replayed.table)}
        print_json({"chatsim": __version__, "seed": asked.seed, **figures})
        return
    console = terminal.console()
    for line in fitted.trace:
        console.print(line, markup=False)
    terminal.show_fit(fitted, console)
    if replayed:
        terminal.show_replay(replayed, console)
    if out is not None:
        print(f"{out} is written. Next: chatsim run go-chat --workload {out}")


@app.command("friend-limit")
def friend_limit(
    scenario: Source,
    limits: Annotated[
        str, typer.Option("--limits", metavar="LIST", help="Friends listed, with commas between; 'all' lists everyone.")
    ] = "15,30,50,all",
    sets: Sets = None,
    seed: Seed = None,
    workload: Load = None,
    out: Out = None,
    force: Force = False,
    as_json: AsJson = False,
    jobs: Jobs = 0,
) -> None:
    """Simulate friend lists of several lengths: hits, searches, and what loading them costs."""
    asked = load(scenario, sets, seed, workload)
    from chatsim import study
    from chatsim.report import questions

    def answer(progress: Progress | None, note: Note | None) -> pd.DataFrame:
        return study.list_limits(asked, limits.split(","), jobs, progress, note)

    report = _Question("friend-limit", questions.list_limits_chart, questions.show_list_limits)
    _answer(asked, answer, report, out, force, as_json)


@app.command("who-reads")
def who_reads(
    scenario: Source,
    sets: Sets = None,
    seed: Seed = None,
    workload: Load = None,
    out: Out = None,
    force: Force = False,
    as_json: AsJson = False,
    jobs: Jobs = 0,
) -> None:
    """Simulate personal, pair and group rooms under each access policy: who reads what."""
    asked = load(scenario, sets, seed, workload)
    from chatsim import study
    from chatsim.report import questions

    def answer(progress: Progress | None, note: Note | None) -> pd.DataFrame:
        return study.rooms_and_access(asked, jobs, progress, note)

    report = _Question("who-reads", questions.who_reads_chart, questions.show_who_reads)
    _answer(asked, answer, report, out, force, as_json)


study_cli.register(app)
decide_cli.register(app)
report_cli.register(app)
live_cli.register(app)
trace_cli.register(app)
validate_cli.register(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line and gives its exit status; errors are said in one line on standard error."""
    from chatsim.scenario import AuditError, InputError

    try:
        status = app(args=arguments, prog_name="chatsim", standalone_mode=False)
        sys.stdout.flush()
    except InputError as error:
        return _fail(str(error), WRONG_INPUT)
    except AuditError as error:
        return _fail(f"{error} (a defect of chatsim, not of your input: please report it)", DEFECT)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DEFECT
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _fail(f"{place}{error.strerror or error}", WRONG_INPUT)
    except MemoryError:
        return _fail(
            "out of memory: fewer users or a shorter run is needed ('estimate' works for any number)", WRONG_INPUT
        )
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except Exception as error:
        said = _usage_error(error)
        if said is None:
            raise
        return _fail(said, WRONG_INPUT)
    if status == INTERRUPTED:
        return _fail("interrupted", INTERRUPTED)
    return int(status or 0)


def entry() -> NoReturn:
    """The console script."""
    sys.exit(main())


class _Question(NamedTuple):
    """A question that a few runs answer with a table: its command, and how the table is drawn and shown."""

    command: str
    draw: Callable[[pd.DataFrame], Any]
    show: Callable[[pd.DataFrame, Console], None]


def _answer(
    scenario: Scenario,
    answer: Callable[[Progress | None, Note | None], pd.DataFrame],
    question: _Question,
    out: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Runs what answers a question, writes it where that was asked for, and says it."""
    from chatsim.report import terminal

    with _results(out, force) as files:
        with terminal.progress(question.command) as progress:
            table = answer(progress, files.note if files else None)
        if files:
            files.finish_question(scenario, question.command.replace("-", "_"), table, question.draw)
    if as_json:
        print_json({"chatsim": __version__, "seed": scenario.seed, "rows": records(table)})
        return
    question.show(table, terminal.console())
    _say_where(out)


@contextmanager
def _results(out: str | None, force: bool) -> Iterator[Files | None]:
    """The place for results where one was asked for; refused before anything is simulated."""
    if out is None:
        yield None
        return
    from chatsim.report.results import results

    with results(out, force, ["chatsim", *sys.argv[1:]]) as files:
        yield files


def _whose_trace(trace: str, sets: list[str], seed: int | None) -> Scenario:
    """The scenario of a shipped workload or design, a TOML file, or a message log, all of which is taken."""
    from chatsim.scenario import preset_names

    if trace in preset_names("workloads"):
        return load("go-chat", sets, seed, trace)
    if trace in preset_names() or trace.endswith(".toml"):
        return load(trace, sets, seed, None)
    return load("go-chat", [f"workload.trace={json.dumps(trace)}", "workload.duration_s=0.0", *sets], seed, None)


def _figures(runs: Runs) -> dict[str, Any]:
    from chatsim.report.results import figures

    return {"chatsim": __version__, **figures(runs)}


def _say_where(out: str | None) -> None:
    if out is not None:
        print(f"Written to {out}: Parquet tables, scenario, provenance; charts (PNG and SVG) in {Path(out) / 'charts'}")


def _usage_error(error: Exception) -> str | None:
    """What typer found wrong with the command line; None where the error is another."""
    if type(error).__name__ == "Abort":
        return "interrupted"
    explain = getattr(error, "format_message", None)
    if explain is None:
        return None
    context = getattr(error, "ctx", None)
    place = f"{context.command_path} --help" if context is not None else "chatsim --help"
    said = str(explain()).rstrip(".").replace("Value error, ", "")
    return f"{said} (see '{place}')"


def _fail(message: str, status: int) -> int:
    print(f"chatsim: {' '.join(message.split())}", file=sys.stderr)
    return status
