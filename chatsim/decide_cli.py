"""The commands of decisions: how much a design carries, which one is best, and which keys matter."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatsim.options import (
    AsJson,
    Faults,
    Force,
    Jobs,
    Load,
    Out,
    Seed,
    Sets,
    Slos,
    Source,
    Sources,
    load,
    load_all,
    print_json,
    records,
)

if TYPE_CHECKING:
    from chatsim.analysis.cost import Cost
    from chatsim.report.decisions import Written
    from chatsim.study.capacity import Capacity

Figure = Annotated[str, typer.Option("--figure", metavar="NAME", help="The figure, such as p99_ms or lost_share.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (capacity, best, screen):
        app.command()(command)


def capacity(
    scenario: Source,
    slos: Slos = None,
    find: Annotated[
        str,
        typer.Option(
            "--find", metavar="WHAT", help="users: the most; rate: the most messages; gateways: the fewest."
        ),
    ] = "users",
    replications: Annotated[
        int,
        typer.Option("--replications", metavar="N", help="Runs of each value; up to 4 N of one that is undecided."),
    ] = 3,
    precision: Annotated[
        float, typer.Option("--precision", metavar="SHARE", help="How near met and not met are brought together.")
    ] = 0.05,
    most: Annotated[
        float, typer.Option("--most", metavar="X", help="The largest value to try; by default what a run can bear.")
    ] = 0.0,
    sets: Sets = None,
    seed: Seed = None,
    workload: Load = None,
    faults: Faults = None,
    jobs: Jobs = 0,
    out: Out = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Find the most users, the most messages or the fewest gateways that meet all SLOs; with headroom and cost."""
    from chatsim.study import capacity as study
    from chatsim.study.probes import known_slo

    asked = load(scenario, sets, seed, workload, faults)
    wanted = [known_slo(text) for text in slos or ()]
    from chatsim.report import decisions, terminal

    with _written(out, force) as files:
        with terminal.progress("capacity") as progress:
            found = study.capacity(asked, wanted, find, replications, jobs, precision, most, progress)
        if files:
            tables = {"tried": found.table(), "headroom": found.headroom}
            tables |= {"cost": found.cost.table()} if found.cost else {}
            at = found.best.scenario if found.best else asked
            files.finish(tables, (at,), replications)
    if as_json:
        print_json({**_head(asked.seed), **_capacity_said(found)})
        return
    decisions.show_capacity(found, terminal.console())
    _say_where(out, "Parquet tables, the scenario at the answer, provenance")


def best(
    scenarios: Sources,
    slos: Slos = None,
    figure: Figure = "p99_ms",
    delta: Annotated[
        float, typer.Option("--delta", metavar="D", help="The smallest difference that matters, in the figure's unit.")
    ] = 5.0,
    alpha: Annotated[
        float, typer.Option("--alpha", metavar="A", help="The chance of a wrong choice that is accepted.")
    ] = 0.05,
    largest: Annotated[bool, typer.Option("--largest", help="The largest is best, not the smallest.")] = False,
    replications: Annotated[
        int, typer.Option("--replications", metavar="N", help="Runs of each design before the first is dropped.")
    ] = 10,
    most: Annotated[
        int, typer.Option("--most", metavar="N", help="Runs of each design after which it ends undecided.")
    ] = 200,
    vary: Annotated[
        str | None, typer.Option("--vary", metavar="KEY=V1,V2", help="Take each design once for each of these values.")
    ] = None,
    sets: Sets = None,
    seed: Seed = None,
    workload: Load = None,
    faults: Faults = None,
    jobs: Jobs = 0,
    out: Out = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Find the best of several designs, with a guaranteed probability, and the front of cost and latency."""
    from chatsim.study import selecting
    from chatsim.study.probes import known_slo

    asked = load_all(scenarios, vary, sets, seed, workload, faults)
    wanted = tuple(known_slo(text) for text in slos or ())
    race = selecting.Race(figure, delta, alpha, wanted, largest, replications, most)
    from chatsim.report import decisions, terminal

    with _written(out, force) as files:
        with terminal.progress("best") as progress:
            found = selecting.best(asked, race, jobs, progress)
        if files:
            taken = int(found.table["replications"].max())
            files.finish({"best": found.table}, found.scenarios, taken, {"pareto": decisions.pareto_chart(found)})
    if as_json:
        said: dict[str, Any] = {"figure": figure, "delta": delta, "alpha": alpha, "best": found.best or None}
        said |= {"decided": bool(found.found and found.found.decided), "sentences": found.sentences}
        costs = {name: _cost_said(cost) for name, cost in found.costs.items()}
        print_json({**_head(asked[0].seed), **said, "designs": records(found.table), "cost": costs})
        return
    decisions.show_best(found, terminal.console())
    _say_where(out, "Parquet tables, scenarios, provenance; the chart (PNG and SVG) in charts")


def screen(
    scenario: Source,
    keys: Annotated[
        list[str] | None,
        typer.Option(
            "--key", metavar="KEY=LOW:HIGH", help="A key to vary; repeatable. By default all costs that are assumed."
        ),
    ] = None,
    figure: Figure = "p99_ms",
    method: Annotated[
        str, typer.Option("--method", metavar="NAME", help="morris: screening; sobol: shares of the variance.")
    ] = "morris",
    samples: Annotated[
        int,
        typer.Option(
            "--trajectories", "--samples", metavar="N", help="Trajectories (10) or base points (64): N x keys runs."
        ),
    ] = 0,
    replications: Annotated[int, typer.Option("--replications", metavar="N", help="Runs of each point.")] = 1,
    sets: Sets = None,
    seed: Seed = None,
    workload: Load = None,
    faults: Faults = None,
    jobs: Jobs = 0,
    out: Out = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Find which keys, such as assumed costs, move a figure most."""
    from chatsim.study import sensitivity

    asked = load(scenario, sets, seed, workload, faults)
    chosen = sensitivity.asked_keys(keys or (), asked)
    from chatsim.report import decisions, terminal

    with _written(out, force) as files:
        with terminal.progress("screen") as progress:
            found = sensitivity.screen(asked, chosen, figure, method, samples, replications, jobs, progress)
        if files:
            tables = {"keys": found.table, "points": found.points}
            files.finish(tables, (asked,), replications, {"tornado": decisions.tornado(found)})
    if as_json:
        said = {"figure": figure, "method": found.method, "points": len(found.points), "warning": found.warning or None}
        print_json({**_head(asked.seed), **said, "keys": records(found.table)})
        return
    decisions.show_screened(found, terminal.console())
    _say_where(out, "Parquet tables, scenario, provenance; the chart (PNG and SVG) in charts")


def _capacity_said(found: Capacity) -> dict[str, Any]:
    """A capacity as plain values; numbers of users and gateways whole."""

    def plain(value: float | None) -> float | int | None:
        return value if value is None or found.asked.find == "rate" else int(value)

    bracket = found.bracket
    return {
        "scenario": found.asked.scenario.name,
        "find": found.asked.find,
        "key": found.asked.key,
        "slos": [str(slo) for slo in found.asked.slos],
        "met": plain(bracket.met),
        "not_met": plain(bracket.not_met),
        "undecided": [plain(value) for value in bracket.undecided],
        "sentences": found.sentences,
        "binding": found.binding or None,
        "headroom": records(found.headroom),
        "estimate": found.estimate.verdict,
        "cost": _cost_said(found.cost) if found.cost else None,
        "tried": records(found.table()),
    }


def _cost_said(cost: Cost) -> dict[str, Any]:
    totals = {"usd_per_month": cost.usd_per_month, "usd_per_1000_users": cost.usd_per_1000_users}
    return {**totals, "users": cost.users, "parts": records(cost.table().iloc[:-1])}


@contextmanager
def _written(out: str | None, force: bool) -> Iterator[Written | None]:
    """The place for results where one was asked for."""
    if out is None:
        yield None
        return
    from chatsim.report.decisions import written

    with written(out, force, ["chatsim", *sys.argv[1:]]) as files:
        yield files


def _head(seed: int) -> dict[str, Any]:
    from importlib.metadata import version

    return {"chatsim": version("chatsim"), "seed": seed}


def _say_where(out: str | None, what: str) -> None:
    if out is not None:
        typer.echo(f"Written to {out}: {what}")
