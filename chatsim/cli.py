"""The command line: thin, and every error one line on standard error with exit status 2."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from chatsim import __version__

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from chatsim.engine.outcome import Outcome
    from chatsim.scenario import Scenario
    from chatsim.study import Runs

WRONG_INPUT, DEFECT, INTERRUPTED = 2, 1, 130
ALL = "all"
NEXT_STEPS = """\
chatsim simulates real-time chat designs: which one, how many servers, and which limits?

  chatsim designs                          the shipped designs and workloads
  chatsim estimate go-chat                 what binds and when, without a run
  chatsim compare all --out results/first  all designs on the same trace, with charts

Next: chatsim new mine.toml writes a commented scenario; chatsim --help lists all commands.
"""

app = typer.Typer(
    name="chatsim",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

Source = Annotated[
    str, typer.Argument(metavar="SCENARIO", help="A shipped design (see 'chatsim designs') or a TOML file.")
]
Sources = Annotated[
    list[str], typer.Argument(metavar="SCENARIO", help="Shipped designs or TOML files; 'all' is all shipped designs.")
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key, such as design.gateways=8; repeatable."),
]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="Seed of all draws.")]
Load = Annotated[
    str | None,
    typer.Option(
        "--workload", metavar="NAME|FILE", help="A shipped workload or a TOML file, laid over the scenario's own."
    ),
]
Out = Annotated[
    str | None,
    typer.Option("--out", metavar="DIR", help="Write tables, scenario, provenance and charts into this new folder."),
]
Force = Annotated[bool, typer.Option("--force", help="Let --out replace a former result.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable figures on standard output, and nothing else.")]
Replications = Annotated[
    int, typer.Option("--replications", metavar="N", help="Independent repetitions, for intervals.")
]
Jobs = Annotated[
    int, typer.Option("--jobs", metavar="N", help="Processes; 0 is one per core. Results do not depend on it.")
]
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
) -> None:
    """Simulate one design."""
    asked = _load(scenario, sets, seed, workload)
    from chatsim import study
    from chatsim.report import terminal

    with _results(out, force) as files:
        with terminal.progress("run") as progress:
            result = study.run(asked, replications, jobs, progress, files.note if files else None)
        if files:
            files.finish(result)
    if as_json:
        _print_json(_figures(result))
        return
    console = terminal.console()
    terminal.show_trace(result, console)
    terminal.show_result(result, console)
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
) -> None:
    """Simulate several designs on the same trace."""
    asked = [_load(source, sets, seed, workload) for source in _expanded(scenarios)]
    from chatsim import study
    from chatsim.report import terminal

    study.same_trace(asked)
    curves: pd.DataFrame | None = None
    with _results(out, force) as files:
        with terminal.progress("compare") as progress:
            comparison = study.compare(asked, replications, jobs, progress, files.note if files else None)
        if saturation or (saturation is None and files):
            with terminal.progress("saturation") as progress:
                curves = study.saturation(asked, jobs=jobs, progress=progress)
        if files:
            files.finish(comparison, curves)
    if as_json:
        _print_json(
            {
                **_figures(comparison),
                "paired": _records(comparison.paired),
                "saturation": None if curves is None else _records(curves),
            }
        )
        return
    console = terminal.console()
    terminal.show_trace(comparison, console)
    terminal.show_comparison(comparison, console)
    if curves is not None:
        terminal.show_saturation(curves, console)
    _say_where(out)


@app.command()
def estimate(
    scenario: Source, sets: Sets = None, seed: Seed = None, workload: Load = None, as_json: AsJson = False
) -> None:
    """Say what binds first and at which load, without a run."""
    asked = _load(scenario, sets, seed, workload)
    from chatsim import theory

    needs = theory.estimate(asked)
    if as_json:
        _print_json(needs.as_dict())
        return
    from chatsim.report import terminal

    terminal.show_estimate(needs, terminal.console())


@app.command()
def designs(as_json: AsJson = False) -> None:
    """List the shipped designs and workloads."""
    from chatsim.scenario import load_scenario, preset_names
    from chatsim.scenario.guide import about_of

    shipped = [load_scenario(name) for name in preset_names()]
    workloads = {name: about_of("workloads", name) for name in preset_names("workloads")}
    if as_json:
        _print_json({"designs": {design.name: design.about for design in shipped}, "workloads": workloads})
        return
    from chatsim.report import terminal

    terminal.show_designs(shipped, workloads, terminal.console())


@app.command()
def schema() -> None:
    """Print the JSON Schema of scenario files, for editors."""
    from chatsim.scenario.guide import json_schema

    _print_json(json_schema())


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
    asked = _load(scenario or "go-chat", sets, seed, workload)
    from chatsim.analysis import friendlists
    from chatsim.world import build_world

    with _results(out, force) as files:
        world = build_world(asked)
        curves = friendlists.compare_rankings(world, opening_gap_s, half_life_s)
        if files:
            files.finish_friends(asked, curves)
    first_ever_share, verdict = friendlists.first_ever_share(world), friendlists.verdict(curves)
    if as_json:
        _print_json(
            {
                "chatsim": __version__,
                "seed": asked.seed,
                "first_ever_share": _plain(first_ever_share),
                "verdict": verdict,
                "curves": [{**row, "k": int(row["k"]) if row["k"] else ALL} for row in _records(curves)],
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
) -> None:
    """Fit the behaviour model to a log, and write it as a workload for --workload."""
    asked = _whose_trace(trace, sets or [], seed)
    from chatsim.report import terminal
    from chatsim.study import fit as fitting

    target = None if out is None else fitting.free_file(out, force)
    with terminal.progress("fit") as progress:
        fitted = fitting.fit(asked, progress)
    if target is not None:
        said = ["fit", trace, *(f"--set {change}" for change in sets or ()), f"--seed {asked.seed} --out {target.name}"]
        fitting.write_whole(target, fitting.workload_file(fitted, target.stem, f"chatsim {' '.join(said)}"))
    if as_json:
        figures = {"trace": fitted.source, "workload": fitted.workload, "figures": _records(fitted.table)}
        _print_json({"chatsim": __version__, "seed": asked.seed, **figures})
        return
    console = terminal.console()
    for line in fitted.trace:
        console.print(line, markup=False)
    terminal.show_fit(fitted, console)
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
    asked = _load(scenario, sets, seed, workload)
    from chatsim import study
    from chatsim.report import questions

    with _results(out, force) as files:
        with _progress("friend-limit") as progress:
            table = study.list_limits(asked, limits.split(","), jobs, progress, files.note if files else None)
        if files:
            files.finish_question(asked, "friend_limit", table, questions.list_limits_chart)
    _say_question(table, as_json, asked, questions.show_list_limits, out)


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
    asked = _load(scenario, sets, seed, workload)
    from chatsim import study
    from chatsim.report import questions

    with _results(out, force) as files:
        with _progress("who-reads") as progress:
            table = study.rooms_and_access(asked, jobs, progress, files.note if files else None)
        if files:
            files.finish_question(asked, "who_reads", table, questions.who_reads_chart)
    _say_question(table, as_json, asked, questions.show_who_reads, out)


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


class _Files:
    """What is written into a results folder."""

    def __init__(self, folder: Path, note: Callable[[Outcome], None]) -> None:
        self.folder = folder
        self.note = note

    def finish(self, runs: Runs, curves: pd.DataFrame | None = None) -> None:
        """Tables of figures, scenarios, charts, and last the provenance, which lists all files."""
        from chatsim.report import gallery
        from chatsim.study import folder, store

        tables = runs.tables() if curves is None else {**runs.tables(), "saturation": curves}
        for name, table in tables.items():
            store.write_table(self.folder / f"{name}.parquet", table)
        store.write_scenarios(self.folder, runs.scenarios)
        gallery.draw(runs, curves, self.folder / "charts")
        folder.seal(self.folder, store.provenance(runs.scenarios, runs.replications, ["chatsim", *sys.argv[1:]]))

    def finish_friends(self, scenario: Scenario, curves: pd.DataFrame) -> None:
        """The curves of friend lists as table and chart, the scenario, and last the provenance."""
        from chatsim.report import charts
        from chatsim.study import folder, store

        store.write_table(self.folder / "friend_lists.parquet", curves)
        store.write_scenarios(self.folder, (scenario,))
        tables = {str(policy): part for policy, part in curves.groupby("policy", sort=False)}
        charts.write_figure(charts.hit_curves(tables), self.folder / "charts", "friend_lists")
        folder.seal(self.folder, store.provenance((scenario,), 1, ["chatsim", *sys.argv[1:]]))


    def finish_question(
        self, scenario: Scenario, name: str, table: pd.DataFrame, draw: Callable[[pd.DataFrame], Any]
    ) -> None:
        """The answer to a question as table and chart, the scenario it began with, and last the provenance."""
        from chatsim.report import charts
        from chatsim.study import folder, store

        store.write_table(self.folder / f"{name}.parquet", table)
        store.write_scenarios(self.folder, (scenario,))
        charts.write_figure(draw(table), self.folder / "charts", name)
        folder.seal(self.folder, store.provenance((scenario,), 1, ["chatsim", *sys.argv[1:]]))


def _progress(what: str) -> AbstractContextManager[Callable[[float, int, str], None] | None]:
    from chatsim.report import terminal

    return terminal.progress(what)


def _say_question(
    table: pd.DataFrame,
    as_json: bool,
    scenario: Scenario,
    show: Callable[[pd.DataFrame, Console], None],
    out: str | None,
) -> None:
    if as_json:
        _print_json({"chatsim": __version__, "seed": scenario.seed, "rows": _records(table)})
        return
    from chatsim.report import terminal

    show(table, terminal.console())
    _say_where(out)


@contextmanager
def _results(out: str | None, force: bool) -> Iterator[_Files | None]:
    """The place for results where one was asked for; refused before anything is simulated."""
    if out is None:
        yield None
        return
    from chatsim.study import store
    from chatsim.study.folder import results_folder

    with results_folder(out, force) as folder, store.RawTables(folder) as raw:
        yield _Files(folder, raw.note)


def _load(source: str, sets: list[str] | None, seed: int | None, workload: str | None) -> Scenario:
    from chatsim.scenario import load_scenario

    changes = [*(sets or []), *([] if seed is None else [f"seed={seed}"])]
    return load_scenario(source, changes, workload)


def _whose_trace(trace: str, sets: list[str], seed: int | None) -> Scenario:
    """The scenario of a shipped workload or design, a TOML file, or a message log, all of which is taken."""
    from chatsim.scenario import preset_names

    if trace in preset_names("workloads"):
        return _load("go-chat", sets, seed, trace)
    if trace in preset_names() or trace.endswith(".toml"):
        return _load(trace, sets, seed, None)
    return _load("go-chat", [f"workload.trace={json.dumps(trace)}", "workload.duration_s=0.0", *sets], seed, None)


def _expanded(sources: list[str]) -> list[str]:
    from chatsim.scenario import preset_names

    return [name for source in sources for name in (preset_names() if source == ALL else [source])]


def _figures(runs: Runs) -> dict[str, Any]:
    return {
        "chatsim": __version__,
        "seed": runs.scenarios[0].seed,
        "replications": runs.replications,
        "summary": _records(runs.summary),
        "latency": _records(runs.latency),
        "fates": _records(runs.fates),
        "verdicts": runs.verdicts,
        "trace": list(runs.trace),
    }


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain values; None for what is not a number."""
    return [{str(key): _plain(value) for key, value in row.items()} for row in table.to_dict("records")]


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and value - value != 0 else value


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


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
    return f"{str(explain()).rstrip('.')} (see '{place}')"


def _fail(message: str, status: int) -> int:
    print(f"chatsim: {' '.join(message.split())}", file=sys.stderr)
    return status
