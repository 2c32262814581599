"""One design or several on the same traces, over replications and processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from chatsim.analysis import chat, fates, latency, overload, paired, summary, tiers
from chatsim.analysis.digest import Digest
from chatsim.engine import known, prepare, simulate, simulate_in_parts, will_compile
from chatsim.engine.outcome import Outcome
from chatsim.scenario import InputError, Scenario
from chatsim.scenario.errors import nearest
from chatsim.study.results import Comparison, Result, Runs, summarised
from chatsim.study.spread import Progress, in_order, workers
from chatsim.world import World, build_world

Note = Callable[[Outcome], None]
KEEPS = ("all", "figures", "auto")
KEPT_ROWS = 20_000_000
"""Messages x members up to which a run is kept row by row: about 5 GB."""


@dataclass(frozen=True, slots=True)
class Point:
    """One design in one replication: what a worker is given."""

    scenario: Scenario
    world: World
    engine: str = "auto"


def run(
    scenario: Scenario,
    replications: int = 1,
    jobs: int = 1,
    progress: Progress | None = None,
    note: Note | None = None,
    engine: str = "auto",
    keep: str = "all",
) -> Result:
    """Simulates one design. ``jobs`` processes give the same result as one; 0 takes one per core.

    ``note`` is shown every outcome, in order of replication. ``engine`` is that of :func:`chatsim.engine.simulate`.
    ``keep``: 'all' that happened, row by row; or 'figures', histograms and bins of time, so that memory does not grow
    with the run (:mod:`chatsim.analysis.digest`); or 'auto', all of it up to :data:`KEPT_ROWS` rows. Raises InputError,
    and AuditError where a run broke a law of conservation.

    >>> scenario = Scenario.model_validate({"workload": {"users": 100, "duration_s": 60.0}})
    >>> run(scenario).summary["overloaded"].tolist()
    [False]
    """
    if keep not in KEEPS:
        raise InputError(f"--keep {keep}: 'all', 'figures' or 'auto' is needed{nearest(keep, KEEPS)}")
    first = None if keep == "all" else build_world(scenario)
    if first is not None and (keep == "figures" or not _fits(scenario, first, engine)):
        return Result(**_all_figures(scenario, first, replications, progress, engine))
    return Result(**_all_runs((scenario,), replications, jobs, progress, note, engine, first)[0])


def compare(
    scenarios: Sequence[Scenario],
    replications: int = 1,
    jobs: int = 1,
    progress: Progress | None = None,
    note: Note | None = None,
    workload_from: Scenario | None = None,
    engine: str = "auto",
) -> Comparison:
    """Simulates several designs on the same traces, which the first design's workload and seed give.

    Where workloads or seeds differ this raises InputError, naming the key, unless ``workload_from`` says whose to
    take for all. ``note`` is shown every outcome: by replication, then in the order of the designs.
    """
    designs = same_trace(scenarios, workload_from)
    common, pairs = _all_runs(designs, replications, jobs, progress, note, engine)
    return Comparison(**common, paired=pairs)


def same_trace(scenarios: Sequence[Scenario], workload_from: Scenario | None = None) -> tuple[Scenario, ...]:
    """The designs with one workload and seed; InputError where they differ in a key or share a name."""
    if not scenarios:
        raise InputError("nothing to compare: at least one design is needed")
    names = [scenario.name for scenario in scenarios]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"two designs have the name '{twice}': names must differ; set name = \"...\" in one of them")
    first = workload_from or scenarios[0]
    if workload_from is not None:
        same = {"workload": first.workload, "seed": first.seed}
        return tuple(scenario.model_copy(update=same) for scenario in scenarios)
    for other in scenarios[1:]:
        key = _first_difference(
            {"seed": first.seed, "workload": first.workload.model_dump()},
            {"seed": other.seed, "workload": other.workload.model_dump()},
        )
        if key:
            raise InputError(
                f"'{first.name}' and '{other.name}' differ in {key}: designs are compared on the same trace; "
                "make it equal, or give one with --workload or --seed"
            )
    return tuple(scenarios)


def _first_difference(a: dict[str, Any], b: dict[str, Any], path: str = "") -> str:
    """``key = this and that`` for the first key in which two parts of scenarios differ."""
    for key, value in a.items():
        where = f"{path}{key}"
        if isinstance(value, dict):
            found = _first_difference(value, b[key], f"{where}.")
            if found:
                return found
        elif value != b[key]:
            return f"{where} ({value!r} and {b[key]!r})"
    return ""


def _all_runs(
    scenarios: tuple[Scenario, ...],
    replications: int,
    jobs: int,
    progress: Progress | None,
    note: Note | None,
    engine: str,
    first: World | None = None,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """What :class:`Runs` consists of, and the paired differences from the first design."""
    if replications < 1:
        raise InputError(f"--replications {replications}: at least 1 is needed")
    known(engine)
    total = len(scenarios) * replications
    gathered = _Gathered()
    outcomes = _outcomes(scenarios, replications, workers(jobs, total), progress, engine, first)
    for done, outcome in enumerate(outcomes, start=1):
        gathered.add(outcome)
        if note is not None:
            note(outcome)
        if progress is not None:
            progress(done, total, outcome.scenario.name)
    return gathered.tables(scenarios, replications), gathered.paired()


def _fits(scenario: Scenario, world: World, engine: str) -> bool:
    """Whether a run is to be kept row by row, since it is small enough, or cannot be taken in parts."""
    from chatsim.engine.compiled.coverage import kept_whole, missing

    rows = int(np.diff(world.rooms.start)[world.messages.room].sum())
    return rows <= KEPT_ROWS or engine == "simpy" or bool(missing(scenario) or kept_whole(scenario))


def _all_figures(
    scenario: Scenario, first: World, replications: int, progress: Progress | None, engine: str
) -> dict[str, Any]:
    """What :class:`Runs` consists of, of runs one after the other of which nothing is kept row by row."""
    if known(engine) == "simpy":
        raise InputError("--keep figures with --engine simpy: 'compiled' or 'auto' is needed")
    if replications < 1:
        raise InputError(f"--replications {replications}: at least 1 is needed")
    gathered = _Gathered()
    for done in range(replications):
        world = first if done == 0 else build_world(scenario, done)
        if progress is not None and will_compile(scenario, world, "compiled"):
            prepare(lambda share: progress(0.0, replications, f"compiling the engine, once: {share:.0%}"))
        digest = Digest(scenario, world)
        tell = progress and _share_of(progress, done, replications, scenario.name)
        simulate_in_parts(scenario, world, digest.take, tell)
        gathered.add_digest(digest)
        if progress is not None:
            progress(done + 1, replications, scenario.name)
    return gathered.tables((scenario,), replications)


def _share_of(progress: Progress, done: int, total: int, name: str) -> Callable[[float], None]:
    """Tells how far the next of so many runs is."""
    return lambda share: progress(done + share, total, name)


def _outcomes(
    scenarios: tuple[Scenario, ...],
    replications: int,
    processes: int,
    progress: Progress | None,
    engine: str,
    first: World | None,
) -> Iterator[Outcome]:
    """Outcomes by replication, then by design. A replication's world is built once and let go with its last design; the
    ``first`` one may be there already."""
    worlds: dict[int, World] = {}

    def points() -> Iterator[Point]:
        for replication in range(replications):
            there = first if replication == 0 else None
            worlds[replication] = there or build_world(scenarios[0], replication)
            for scenario in scenarios:
                point = Point(scenario, worlds[replication], engine)
                if processes > 1:
                    _compiled_first(point, progress, 0, total)
                yield point

    total = len(scenarios) * replications
    if processes == 1 and progress is not None:
        work: Callable[[Point], dict[str, Any]] = _with_progress(progress, total)
    else:
        work = simulated
    for place, columns in enumerate(in_order(work, points(), processes)):
        replication, design = divmod(place, len(scenarios))
        yield Outcome(scenario=scenarios[design], world=worlds[replication], **columns)
        if design == len(scenarios) - 1:
            del worlds[replication]


def simulated(point: Point) -> dict[str, Any]:
    """An outcome without what the caller has already: the world is not sent back from a worker."""
    return _without_inputs(simulate(point.scenario, point.world, engine=point.engine))


def _with_progress(progress: Progress, total: int) -> Callable[[Point], dict[str, Any]]:
    done = 0

    def work(point: Point) -> dict[str, Any]:
        nonlocal done
        before = done
        _compiled_first(point, progress, before, total)
        outcome = simulate(
            point.scenario,
            point.world,
            lambda share: progress(before + share, total, point.scenario.name),
            engine=point.engine,
        )
        done += 1
        return _without_inputs(outcome)

    return work


def _compiled_first(point: Point, progress: Progress | None, done: float, total: int) -> None:
    """Has the engine compiled here, where a point is to be run by it: no worker then has to."""
    if will_compile(point.scenario, point.world, point.engine):
        tell = progress
        prepare(tell and (lambda share: tell(done, total, f"compiling the engine, once: {share:.0%}")))


def _without_inputs(outcome: Outcome) -> dict[str, Any]:
    return {
        part.name: getattr(outcome, part.name) for part in fields(outcome) if part.name not in ("scenario", "world")
    }


class _Gathered:
    """Tables of the outcomes seen so far; of the outcomes themselves only the first replication's are kept."""

    def __init__(self) -> None:
        self.first: dict[str, Outcome] = {}
        self.base: Outcome | None = None
        self.parts: dict[str, list[pd.DataFrame]] = {"runs": [], "latency": [], "fates": [], "tiers": [], "chat": []}
        self.pairs: list[dict[str, Any]] = []
        self.verdicts: dict[str, str] = {}
        self.digests: dict[str, Digest] = {}
        self.trace: tuple[str, ...] = ()

    def add(self, outcome: Outcome) -> None:
        """Takes in the next outcome; the first of each replication is the one that others are paired with."""
        name, replication = outcome.scenario.name, outcome.world.replication
        if self.base is None or self.base.world is not outcome.world:
            self.base = outcome
        else:
            self.pairs.append({"replication": replication, **paired(self.base, outcome)})
        if replication == 0:
            self.first[name] = outcome
            self.trace = outcome.world.report.lines if outcome.world.report else ()
        said = overload(outcome)
        if replication == 0 or (said.overloaded and not self.verdicts[name].startswith("overloaded")):
            self.verdicts[name] = said.sentence
        label = {"design": name, "replication": replication}
        self.parts["runs"].append(pd.DataFrame([{**label, **summary(outcome)}]).infer_objects())
        self.parts["latency"].append(_labelled(_latencies(outcome), label))
        self.parts["fates"].append(_labelled(fates(outcome), label))
        self.parts["tiers"].append(_labelled(tiers(outcome), label))
        self.parts["chat"].append(_labelled(chat(outcome), label))

    def add_digest(self, digest: Digest) -> None:
        """Takes in the next run that was not kept row by row."""
        name, replication = digest.scenario.name, digest.world.replication
        if replication == 0:
            self.digests[name] = digest
            self.trace = digest.world.report.lines if digest.world.report else ()
        said = digest.overload()
        if replication == 0 or (said.overloaded and not self.verdicts[name].startswith("overloaded")):
            self.verdicts[name] = said.sentence
        label = {"design": name, "replication": replication}
        self.parts["runs"].append(pd.DataFrame([{**label, **digest.summary()}]).infer_objects())
        self.parts["latency"].append(_labelled(digest.latency(), label))
        self.parts["fates"].append(_labelled(digest.fates(), label))
        self.parts["tiers"].append(_labelled(digest.tiers(), label))
        self.parts["chat"].append(_labelled(digest.chat(), label))

    def paired(self) -> pd.DataFrame:
        """One row per replication and design but the first."""
        return pd.DataFrame(self.pairs).infer_objects()

    def tables(self, scenarios: tuple[Scenario, ...], replications: int) -> dict[str, Any]:
        """The fields of :class:`Runs`."""
        joined = {name: pd.concat(parts, ignore_index=True) for name, parts in self.parts.items()}
        table = summarised(joined["runs"], [scenario.name for scenario in scenarios])
        return {
            "scenarios": scenarios,
            "replications": replications,
            "outcomes": self.first,
            "digests": self.digests,
            "summary": table,
            "verdicts": self.verdicts,
            "trace": self.trace,
            **joined,
        }


def _latencies(outcome: Outcome) -> pd.DataFrame:
    """Latency of all deliveries, of local and remote ones, and by size of room, in one table."""
    parts = []
    for by in ("all", "local", "room_size"):
        table = latency(outcome, by).rename(columns={by: "group"})
        table.insert(0, "by", by)
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def _labelled(table: pd.DataFrame, label: dict[str, Any]) -> pd.DataFrame:
    for place, (name, value) in enumerate(label.items()):
        table.insert(place, name, value)
    return table


__all__ = ["Comparison", "Note", "Point", "Result", "Runs", "compare", "run", "same_trace", "simulated"]
