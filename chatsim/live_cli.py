"""The commands of the live twin: the same scenario on real sockets and a real Redis, beside its prediction."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatsim.foreign_cli import (
    EXAMPLE,
    AdapterName,
    AllowRemoteUrl,
    Command,
    Join,
    Said,
    Send,
    StartsWithin,
    Url,
    calibrate_command,
)
from chatsim.options import AsJson, Faults, Force, Load, Out, Seed, Sets, Source, load, print_json, records

if TYPE_CHECKING:
    import pandas as pd

    from chatsim.engine import Outcome
    from chatsim.live.run import LiveRun

LONGEST_S = 3600.0
NEEDED = ("websockets", "redis")

Costs = Annotated[
    str,
    typer.Option("--costs", metavar="NAME|FILE", help="What the twin's parts cost: a profile; 'own': the scenario's."),
]
RedisUrl = Annotated[
    str, typer.Option("--redis-url", metavar="URL", help="Use this Redis instead of starting one: redis://HOST:PORT/0.")
]
AllowRemote = Annotated[
    bool, typer.Option("--allow-remote", help="Let --redis-url name another machine, which gets the load.")
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(live)
    app.command(epilog=EXAMPLE)(calibrate)


def live(
    scenario: Source,
    sets: Sets = None,
    seed: Seed = None,
    workload: Load = None,
    faults: Faults = None,
    costs: Costs = "live",
    redis_url: RedisUrl = "",
    allow_remote: AllowRemote = False,
    out: Out = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Run a scenario for real, on this machine: gateways, Redis, WebSockets; beside the simulation's prediction."""
    needs_extra()
    asked = load(scenario, sets, seed, workload, faults)
    from chatsim.engine import simulate
    from chatsim.live.comparing import compare
    from chatsim.live.run import live as lived
    from chatsim.live.twin import paced, refuse_remote, twin
    from chatsim.report import terminal
    from chatsim.report.decisions import written
    from chatsim.world import build_world

    as_lived, replaced = twin(asked, "" if costs == "own" else costs)
    _refuse_long(as_lived.workload.duration_s)
    if redis_url:
        refuse_remote(redis_url, allow_remote)
    world = build_world(as_lived)
    _refuse_long(world.duration_s)

    def carried_out() -> tuple[LiveRun, Outcome, pd.DataFrame]:
        with terminal.progress("live") as bar:
            show = None if bar is None else (lambda done: bar(done, 1, as_lived.name))
            measured = lived(as_lived, world, redis_url, allow_remote, show)
        as_paced, said = paced(as_lived, measured.probe_us, costs)
        replaced.extend(said)
        predicted = simulate(as_paced, world)
        return measured, predicted, compare(measured, predicted)

    if out is None:
        measured, predicted, table = carried_out()
    else:
        with written(out, force, ["chatsim", *sys.argv[1:]]) as files:
            measured, predicted, table = carried_out()
            files.finish({"comparison": table, **raw_tables(measured.outcome)}, (as_lived,), 1)
    if as_json:
        print_json({**plainly(measured, predicted), "replaced": replaced, "figures": records(table)})
        return
    console = terminal.console()
    headers = ["figure", "unit", "predicted", "measured", "error %"]
    shown = terminal.table_of(f"{as_lived.name}: predicted and measured", headers, left=("figure", "unit"))
    for row in table.to_dict("records"):
        numbers = [terminal.number(float(row[name])) for name in ("predicted", "measured")]
        shown.add_row(str(row["figure"]), str(row["unit"]), *numbers, terminal.number(100 * float(row["error"])))
    console.print(shown)
    for line in sentences(measured, predicted, replaced):
        console.print(line, markup=False)
    if out is not None:
        typer.echo(f"Written to {out}: the comparison, raw tables of the live run, the scenario as lived, provenance")


def plainly(measured: LiveRun, predicted: Outcome) -> dict[str, Any]:
    """What there is beside the figures, as plain values."""
    from dataclasses import asdict
    from importlib.metadata import version

    from chatsim.live.comparing import agreement

    scenario = predicted.scenario
    return {
        "chatsim": version("chatsim"),
        "seed": scenario.seed,
        "scenario": scenario.name,
        "fates": {"predicted": ends(predicted), "measured": ends(measured.outcome)},
        "delivered": asdict(agreement(measured.outcome, predicted)),
        "load_client_late_ms": percentiles_of(measured.lag_s),
        "strange_frames": measured.strange,
        "redis": measured.redis_version,
    }


def calibrate(
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="Write the profile into this TOML file.")
    ] = None,
    repeats: Annotated[
        int, typer.Option("--repeats", min=1, metavar="N", help="Live runs of each configuration, 5 s each.")
    ] = 3,
    command: Command = None,
    adapter: AdapterName = None,
    url: Url = None,
    join: Join = None,
    send: Send = None,
    starts_within_s: StartsWithin = 20.0,
    allow_remote: AllowRemoteUrl = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Measure what gateways of the twin and Redis cost on this machine, or any other server: a profile of costs."""
    needs_extra()
    from chatsim.live import calibration
    from chatsim.live.redis_costs import own_broker_costs
    from chatsim.report import terminal
    from chatsim.scenario import InputError
    from chatsim.study.files import free_file, write_whole

    if out is not None and not out.endswith(".toml"):
        raise InputError(f"--out {out}: a name that ends in .toml is needed")
    target = None if out is None else free_file(out, force)
    said = Said(command, adapter, url, join, send, starts_within_s, allow_remote)
    plan = said.plan(repeats)
    if plan is not None:
        calibrate_command(said, plan, target, as_json)
        return
    with terminal.progress("calibrate") as bar:
        show = None if bar is None else (lambda done: bar(0.1 * done, 1, "Redis"))
        broker = own_broker_costs(show)
        tell = None if bar is None else (lambda done, name: bar(0.1 + 0.9 * done, 1, name))
        found = calibration.calibrate(broker, *calibration.measure(calibration.GRID, repeats, tell))
    if target is not None:
        write_whole(target, calibration.to_profile(found, f"chatsim calibrate --repeats {repeats}"))
    if as_json:
        errors = {"gateway": found.gateway_error, "broker": found.broker_error}
        print_json({"costs": found.rows(), "median_error": errors, "runs": found.runs, "redis": found.redis_version})
        return
    console = terminal.console()
    table = terminal.table_of("Costs on this machine", ["key", "value", "low", "high", "unit"], left=("key", "unit"))
    for row in found.rows():
        numbers = [terminal.number(float(row[name])) for name in ("value", "low", "high")]
        table.add_row(f"{row['part']}.{row['key']}", *numbers, str(row["unit"]))
    console.print(table)
    console.print(
        f"Median error of the fit: {100 * found.gateway_error:.0f} % of the CPU time of gateways, "
        f"{100 * found.broker_error:.0f} % of that of Redis; {found.runs} live runs."
    )
    if target is not None:
        typer.echo(f"Written to {out}. Next: chatsim live room-channel --costs {out}")


def sentences(measured: LiveRun, predicted: Outcome, replaced: list[str]) -> list[str]:
    """What must be said beside the figures: who got what, what was lost and why, and how good the measurement is."""
    from chatsim.live.comparing import agreement

    agreed, late = agreement(measured.outcome, predicted), percentiles_of(measured.lag_s)
    said = [
        f"Message x user who has it: {agreed.both:,} in both, {agreed.measured_only:,} measured alone, "
        f"{agreed.predicted_only:,} predicted alone."
    ]
    for name, outcome in (("predicted", predicted), ("measured", measured.outcome)):
        lost = [f"{row['count']:,} {row['fate']} ({row['cause']})" for row in ends(outcome) if row["cause"] != "none"]
        said.append(f"Lost or refused, {name}: {', '.join(lost) or 'nothing'}.")
    said.append(
        f"The load client was late by {late['p50']:.3g} ms at p50 and {late['p99']:.3g} ms at p99; this is in the "
        f"measured latency. Redis {measured.redis_version}."
    )
    return said + [f"As lived: {line}." for line in replaced]


def ends(outcome: Outcome) -> list[dict[str, Any]]:
    """How message x session ended: fate, cause, count, share."""
    from chatsim.analysis.flow import fates

    return records(fates(outcome))


def raw_tables(outcome: Outcome) -> dict[str, pd.DataFrame]:
    """The tables of an outcome by name."""
    import pandas as pd

    names = ("messages", "deliveries", "sessions", "ticks", "pushes", "breaks", "faults")
    return {name: pd.DataFrame(getattr(outcome, name)) for name in names}


def percentiles_of(lag_s: Any) -> dict[str, float | None]:
    """How late the load client was, in ms; None without a message."""
    import numpy as np

    if not len(lag_s):
        return {"p50": None, "p99": None}
    return {f"p{share}": float(1000 * np.percentile(lag_s, share)) for share in (50, 99)}


def needs_extra() -> None:
    """InputError where what the twin is built on is not installed."""
    from chatsim.scenario import InputError

    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise InputError(f"chatsim live needs {' and '.join(missing)}: pip install 'chatsim[live]'")


def _refuse_long(duration_s: float) -> None:
    from chatsim.scenario import InputError

    if duration_s > LONGEST_S:
        raise InputError(
            f"workload.duration_s = {duration_s:g}: a live run takes as long as the run is; at most {LONGEST_S:g} is "
            "allowed (--set workload.duration_s=60)"
        )
