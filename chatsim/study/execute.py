"""A study carried out: what is missing is run, anywhere, and kept; what is there is never run again."""

from __future__ import annotations

import heapq
import json
import os
import platform
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from chatsim.engine import prepare
from chatsim.scenario import InputError
from chatsim.scenario.errors import nearest
from chatsim.scenario.files import data_folder
from chatsim.study.archive import MANIFEST, PROGRAM, REPORT, TABLES, Archive
from chatsim.study.figures import Figure
from chatsim.study.identity import canonical, model_version, needs_file, run_hash, scenario_body, sha256, world_key
from chatsim.study.points import FOLDED, Plan
from chatsim.study.spread import Came, Pool, Progress, pool
from chatsim.study.store import PACKAGES
from chatsim.study.tables import Tables, more_runs, tables_of
from chatsim.study.worker import WORLDS_KEPT, Done, Task, work
from chatsim.world import World, build_world

STUDIES = "studies"
MANY = 50
"""Runs from which on it is worth to have the engine compiled first."""
Cell = tuple[int, int]  # replication, point: runs are done in this order


@dataclass(frozen=True)
class Carried:
    """A study that was carried out. ``computed`` runs were done now, ``found`` were there; ``failures`` has a line for
    each run that failed, which is tried again next time; ``mixed`` the packages of which runs saw several versions."""

    plan: Plan
    archive: Archive
    tables: Tables
    computed: int
    found: int
    failures: tuple[str, ...]
    mixed: tuple[str, ...]


def carry_out(
    plan: Plan,
    out: str | Path,
    jobs: int = 1,
    cluster: str | None = None,
    progress: Progress | None = None,
    command: tuple[str, ...] = (),
) -> Carried:
    """Runs what is missing of a study in the folder ``out``, and writes its tables there.

    The files are the same for any number of processes, here or on a cluster, and however often it was killed on the
    way. Raises InputError where the folder holds another study, or runs of another model.
    """
    archive, model = Archive(out), model_version()
    versions = archive.accept(plan.study.name, model)
    with archive.open():
        ledger = Ledger(plan, archive, model, versions)
        if len(ledger.queue) >= MANY and cluster is None:
            _prepare(ledger, progress)
        with pool(work, jobs, _most(ledger), cluster) if ledger.queue else nullcontext() as place:
            _begin(ledger, command)
            begun_s = time.monotonic()
            try:
                if place is not None:
                    _run_all(ledger, place, progress)
            finally:
                took_s = round(time.monotonic() - begun_s, 3)
                said = {"computed": ledger.computed, "failed": list(ledger.failures.values()), "took_s": took_s}
                _note(archive, "end", command, said)
        archive.set_aside(ledger.wanted())
        archive.write(MANIFEST, ledger.manifest())
        tables = tables_of(archive, json.loads(ledger.manifest()), plan.study)
        for name, content in tables.files().items():
            archive.write(name, content)
    failures = tuple(ledger.failures.values())
    mixed = tuple(f"{name} {one}" for name, one in ledger.versions().items() if "," in one)
    return Carried(plan, archive, tables, ledger.computed, ledger.found, failures, mixed)


def _prepare(ledger: Ledger, progress: Progress | None) -> None:
    """Has the engine compiled here, once, so that no process has to."""
    tell = progress
    prepare(tell and (lambda share: tell(ledger.done, ledger.all, f"compiling the engine, once: {share:.0%}")))


@dataclass
class Held:
    """A point: the hash of its scenario, how many replications are wanted, and those that are there."""

    scenario: str
    target: int
    rows: dict[int, dict[str, Figure]] = field(default_factory=dict)


class Ledger:
    """Which runs are wanted, there and missing. How many are wanted of a point follows from its own first runs alone,
    never from what is done first."""

    def __init__(self, plan: Plan, archive: Archive, model: str, versions: Mapping[str, str]) -> None:
        self.plan = plan
        self.archive = archive
        self.model = model
        self.earlier = versions
        self.raw = plan.study.keep == "raw"
        self.points: list[Held] = []
        self.worlds: list[int] = []
        self.queue: list[tuple[int, int, int]] = []
        self.failures: dict[Cell, str] = {}
        self.computed = self.found = self.all = 0
        self._bodies: OrderedDict[int, str] = OrderedDict()
        groups: dict[str, int] = {}
        for number in range(len(plan.points)):
            scenario = plan.scenario(number)
            self.points.append(Held(sha256(scenario_body(scenario)), 0))
            # points of one world stand together, so that a worker makes it once also where the workload is varied
            self.worlds.append(groups.setdefault(world_key(scenario, 0), len(groups)))
        for number in range(len(plan.points)):
            self._want(number, plan.study.replications)

    def run(self, point: int, replication: int) -> str:
        """The hash of a run."""
        return run_hash(self._body(point), replication, self.model)

    def next(self) -> Cell | None:
        """The next missing run, by replication and then by point; None where there is none now."""
        if not self.queue:
            return None
        replication, _, point = heapq.heappop(self.queue)
        return replication, point

    def came(self, cell: Cell, row: dict[str, Figure], is_new: bool) -> None:
        """Takes note of a run that is stored now."""
        replication, point = cell
        self.computed += is_new
        self.found += not is_new
        self.points[point].rows[replication] = row
        self._go_on(point)

    def failed(self, cell: Cell, reason: str) -> None:
        """Takes note of a run that failed: its point goes no further."""
        replication, point = cell
        self.failures[cell] = f"{self.plan.label(point)}, replication {replication}: {reason}"

    def wanted(self) -> Iterator[str]:
        """Hashes of all runs that are wanted."""
        for number, held in enumerate(self.points):
            yield from (self.run(number, replication) for replication in range(held.target))

    @property
    def done(self) -> int:
        """Runs that are over, those that failed among them."""
        return self.found + self.computed + len(self.failures)

    def manifest(self) -> str:
        """What the folder holds; the same text for the same study, whoever carries it out."""
        points = [
            {
                "point": number,
                "label": self.plan.label(number),
                "values": self.plan.points[number],
                "scenario": held.scenario,
                "runs": [self.run(number, replication) for replication in range(held.target)],
            }
            for number, held in enumerate(self.points)
        ]
        study = self.plan.study.model_dump(mode="json", by_alias=True, exclude={"about", *FOLDED})
        told = {"study": study, "scenarios": [held.scenario for held in self.points]}
        said = {
            "program": PROGRAM,
            "study": self.plan.study.name,
            "study_hash": sha256(canonical(told)),
            "model": self.model,
            "versions": self.versions(),
            "factors": list(self.plan.factors),
            "points": points,
        }
        return json.dumps(said, indent=1, ensure_ascii=False) + "\n"

    def versions(self) -> dict[str, str]:
        """Versions of the packages that runs were made with: several, with commas, where runs there saw others."""
        now = {name: _version(name) for name in PACKAGES if name != "matplotlib"}
        if not self.found:
            return now
        before = {name: self.earlier.get(name, one) for name, one in now.items()}
        if not self.queue and not self.computed:
            return before
        return {name: ", ".join(sorted({*before[name].split(", "), one})) for name, one in now.items()}

    def _want(self, point: int, target: int) -> None:
        """Wants a point to have so many replications: takes what is there, and queues the rest."""
        held = self.points[point]
        for replication in range(held.target, target):
            run = self.run(point, replication)
            row = self.archive.row(run) if self.archive.has(run, self.raw) else None
            if row is None:
                heapq.heappush(self.queue, (replication, self.worlds[point], point))
            else:
                held.rows[replication] = row
                self.found += 1
        self.all += target - held.target
        held.target = target
        self._go_on(point)

    def _go_on(self, point: int) -> None:
        """Once a point has all that was wanted of it: wants more, where the study says how well it must be known."""
        held, wanted = self.points[point], self.plan.study.precision
        if wanted is None or len(held.rows) < held.target or held.target >= wanted.replications_max:
            return
        runs = [self.run(point, replication) for replication in range(held.target)]
        rows = [held.rows[replication] for replication in range(held.target)]
        more = more_runs(wanted, rows, (self.archive.lists(run) for run in runs))
        if more:
            self._want(point, min(held.target + more, wanted.replications_max))

    def _body(self, point: int) -> str:
        """A scenario's text, of which runs' hashes are made; the last ones are kept."""
        if point not in self._bodies:
            if len(self._bodies) >= 1000:
                self._bodies.popitem(last=False)
            self._bodies[point] = scenario_body(self.plan.scenario(point))
        return self._bodies[point]


# --------------------------------------------------------------------------- running


def _begin(ledger: Ledger, command: tuple[str, ...]) -> None:
    """Writes what the folder is to hold. Tables and a report that are not of all runs any more go."""
    archive = ledger.archive
    archive.write(MANIFEST, ledger.manifest())  # first, as it says whose folder this is
    for name, text in ledger.plan.normalised(archive.root).items():
        archive.write(name, text)
    if ledger.queue:
        archive.drop((*TABLES, REPORT))
    _note(archive, "start", command, {"missing": len(ledger.queue), "there": ledger.found})


def _run_all(ledger: Ledger, place: Pool[Task, Done], progress: Progress | None) -> None:
    """Runs what is missing, and what turns out to be wanted on the way."""
    worlds = _Worlds()
    under_way: dict[str, list[Cell]] = {}
    while True:
        while place.room > 0 and (cell := ledger.next()) is not None:
            _hand_over(ledger, place, cell, worlds, under_way)
        if not place.busy:
            return
        _take_in(ledger, place, under_way, progress)


def _hand_over(
    ledger: Ledger, place: Pool[Task, Done], cell: Cell, worlds: _Worlds, under_way: dict[str, list[Cell]]
) -> None:
    """Has a run done, unless it is under way or done for a point that differs from this one by its name alone."""
    replication, point = cell
    run = ledger.run(point, replication)
    row = ledger.archive.row(run) if ledger.archive.has(run, ledger.raw) else None
    if row is not None:
        ledger.came(cell, row, is_new=False)
    elif run in under_way:
        under_way[run].append(cell)
    else:
        scenario = ledger.plan.scenario(point)
        world = worlds.of(scenario, replication) if needs_file(scenario) else None
        place.submit(Task(run, scenario, replication, ledger.model, ledger.raw, world))
        under_way[run] = [cell]


def _take_in(
    ledger: Ledger, place: Pool[Task, Done], under_way: dict[str, list[Cell]], progress: Progress | None
) -> None:
    """Waits for runs, and stores them as they come."""
    for came in place.wait():
        reason = _stored(ledger.archive, came)
        row = None if reason else ledger.archive.row(came.task.run)
        for place_of_it, cell in enumerate(under_way.pop(came.task.run)):
            if row is None:
                ledger.failed(cell, reason or "its file is damaged")
            else:
                ledger.came(cell, row, is_new=place_of_it == 0)
        if progress is not None:
            progress(ledger.done, ledger.all, "")


def _stored(archive: Archive, came: Came[Task, Done]) -> str:
    """Stores a run; or says why there is nothing to store."""
    if came.done is None:
        return came.failure
    if not came.done.failure:
        archive.put(came.done.run, came.done.row, came.done.raw)
    return came.done.failure


def _most(ledger: Ledger) -> int:
    """Runs that there may be at most, so that not more processes are started."""
    wanted = ledger.plan.study.precision
    return len(ledger.queue) if wanted is None else len(ledger.points) * wanted.replications_max


class _Worlds:
    """The last worlds that were made here because only this machine has the file."""

    def __init__(self) -> None:
        self.kept: OrderedDict[str, World] = OrderedDict()

    def of(self, scenario: Any, replication: int) -> World:
        """A world; InputError where the file is wrong, which it then is for all runs."""
        key = world_key(scenario, replication)
        if key not in self.kept:
            while len(self.kept) >= WORLDS_KEPT:
                self.kept.popitem(last=False)
            self.kept[key] = build_world(scenario, replication)
        return self.kept[key]


def _note(archive: Archive, event: str, command: tuple[str, ...], said: dict[str, Any]) -> None:
    """A line of the history: when, where, by which command."""
    machine = {"python": platform.python_version(), "platform": platform.platform(), "cores": os.cpu_count()}
    at = datetime.now(UTC).isoformat(timespec="seconds")
    archive.note({"event": event, "at": at, "command": list(command), "machine": machine, **said})


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def run_study(
    source: str | Path | Mapping[str, Any],
    out: str | Path | None = None,
    jobs: int = 0,
    cluster: str | None = None,
    progress: Progress | None = None,
) -> Carried:
    """Carries out a study: a file, the name of a shipped one, the folder of one that was started, or a table as in a
    file, whose designs are looked for from the present folder.

    Runs go into ``out``, by default ``results/NAME``; what is there already is not run again. ``jobs`` processes give
    the same results as one; 0 takes one per core. Raises InputError.
    """
    plan, folder = planned(source, out)
    return carry_out(plan, folder, jobs, cluster, progress)


def planned(source: str | Path | Mapping[str, Any], out: str | Path | None = None) -> tuple[Plan, Path]:
    """The plan of a study, checked, and where its results belong; ``source`` and ``out`` as in :func:`run_study`."""
    from chatsim.study.plan import load_study, study_of
    from chatsim.study.points import make_plan
    from chatsim.study.store import file_name

    if not isinstance(source, Mapping) and Path(source).is_dir():
        return plan_in(source), Path(out or source)
    if isinstance(source, Mapping):
        plan = make_plan(study_of(source), Path.cwd(), "study")
    else:
        path = study_file(str(source))
        plan = make_plan(load_study(path, str(source)), path.parent, str(source))
    return plan, Path(out) if out else Path("results") / file_name(plan.study.name)


def study_file(source: str) -> Path:
    """The study file meant: a path, or the name of a shipped one. InputError where there is none."""
    path = Path(source)
    if path.exists():
        return path
    shipped = {file.stem: file for file in (data_folder() / STUDIES).glob("*.toml")}
    if source in shipped:
        return shipped[source]
    what = "no such file" if path.suffix else "neither a file nor a shipped study"
    raise InputError(f"{source}: {what}{nearest(path.stem, shipped)}")


def plan_in(folder: str | Path) -> Plan:
    """The plan of the study that a folder holds. InputError where it holds none."""
    from chatsim.study.plan import load_study
    from chatsim.study.points import make_plan

    if Archive(folder).manifest() is None:
        raise InputError(f"{folder}: holds no study: a study file, or the folder of one that was started, is needed")
    file = Path(folder) / "study.toml"
    return make_plan(load_study(file), Path(folder), str(file))
