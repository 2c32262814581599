"""What the commands share: their options, what these ask for, and figures on standard output."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import pandas as pd

    from chatsim.scenario import Scenario

ALL = "all"

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
Costs = Annotated[
    str | None,
    typer.Option("--costs", metavar="NAME|FILE", help="A shipped profile of costs or one of 'calibrate', laid over."),
]
Faults = Annotated[
    list[str] | None,
    typer.Option("--fault", metavar="NAME|FILE", help="Shipped faults or a TOML file with [[faults]]; repeatable."),
]
Out = Annotated[
    str | None,
    typer.Option("--out", metavar="DIR", help="Write tables, charts, scenario and provenance into this new folder."),
]
Force = Annotated[bool, typer.Option("--force", help="Let --out replace a former result.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable figures on standard output, and nothing else.")]
Replications = Annotated[
    int, typer.Option("--replications", metavar="N", help="Independent repetitions, for intervals.")
]
Jobs = Annotated[
    int, typer.Option("--jobs", metavar="N", help="Processes; 0 is one per core. Results do not depend on it.")
]
Keep = Annotated[
    str,
    typer.Option(
        "--keep",
        metavar="WHAT",
        help="all: what happened, row by row; figures: histograms and bins of time, so that memory does not grow with "
        "the run; auto: all, up to 20 million messages x members.",
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="NAME",
        help="simpy, compiled, or auto: compiled where the run is large enough and it covers the scenario. "
        "Results do not depend on it.",
    ),
]
Vary = Annotated[
    str | None,
    typer.Option("--vary", metavar="KEY=V1,V2", help="Simulate each design once for each of these values of a key."),
]
Slos = Annotated[
    list[str] | None, typer.Option("--slo", metavar="SLO", help="What must hold, such as 'p99_ms<200'; repeatable.")
]


def load(
    source: str,
    sets: Iterable[str] | None,
    seed: int | None,
    workload: str | None = None,
    faults: Iterable[str] | None = None,
    costs: str | None = None,
) -> Scenario:
    """The scenario that a command's options ask for."""
    from chatsim.scenario import load_scenario

    return load_scenario(source, changes(sets, seed), workload, faults or (), costs)


def load_all(
    sources: Iterable[str],
    vary: str | None,
    sets: Iterable[str] | None,
    seed: int | None,
    workload: str | None = None,
    faults: Iterable[str] | None = None,
    costs: str | None = None,
) -> list[Scenario]:
    """The scenarios of several sources, of which 'all' is all shipped designs, each in the variants asked for."""
    from chatsim.scenario import preset_names
    from chatsim.scenario.load import load_variants

    names = [name for source in sources for name in (preset_names() if source == ALL else [source])]
    said = changes(sets, seed)
    return [one for name in names for one in load_variants(name, vary, said, workload, tuple(faults or ()), costs)]


def changes(sets: Iterable[str] | None, seed: int | None) -> list[str]:
    """Changes of keys, the seed among them.

    >>> changes(["design.gateways=8"], 7)
    ['design.gateways=8', 'seed=7']
    """
    return [*(sets or ()), *([] if seed is None else [f"seed={seed}"])]


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain values."""
    from chatsim.report.results import records as plain_rows

    return plain_rows(table)


def print_json(value: Any) -> None:
    """Figures for machines; NaN is refused, as JSON has none."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))
