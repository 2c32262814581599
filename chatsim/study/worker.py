"""One run of a study, wherever it is run: a task in, the bytes of its files out.

A worker needs nothing but the installed package. It keeps the last two worlds, so that each is made once per worker and
replication. A run that fails is a result as well: it says why.
"""

from __future__ import annotations

import tempfile
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from chatsim.engine import simulate
from chatsim.engine.outcome import Outcome
from chatsim.scenario import AuditError, InputError, Scenario
from chatsim.study.figures import row_file
from chatsim.study.identity import model_version, world_key
from chatsim.study.store import RawTables
from chatsim.world import World, build_world

WORLDS_KEPT = 2
REASON_MAX = 500

_worlds: OrderedDict[str, World] = OrderedDict()
_alone = threading.Lock()
"""One run at a time in a process: threads gain nothing, as a run is Python, and would each hold a world."""


@dataclass(frozen=True, slots=True)
class Task:
    """A run to be done. ``world`` comes along where it is made from a file that only the sender may have."""

    run: str
    scenario: Scenario
    replication: int
    model: str
    raw: bool = False
    world: World | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a run: its row and, where asked for, its other tables as files; or why it failed."""

    run: str
    row: bytes = b""
    raw: dict[str, bytes] = field(default_factory=dict)
    failure: str = ""


def work(task: Task) -> Done:
    """Does a run. Never raises for what is wrong with the run itself; equal tasks give equal bytes."""
    with _alone:
        try:
            _refuse_other_model(task)
            world = task.world if task.world is not None else world_of(task.scenario, task.replication)
            outcome = simulate(task.scenario, world)
            raw = raw_files(outcome) if task.raw else {}
            return Done(task.run, row_file(outcome, task.run), raw)
        except AuditError as error:
            return Done(task.run, failure=_one_line(f"{error} (a defect of chatsim: please report it)"))
        except InputError as error:
            return Done(task.run, failure=_one_line(str(error)))
        except MemoryError:
            return Done(task.run, failure="out of memory")
        except Exception as error:  # whatever it is, the other runs of the study are as good as before
            return Done(task.run, failure=_one_line(f"{type(error).__name__}: {error}"))


def world_of(scenario: Scenario, replication: int) -> World:
    """The world of a run: one of the last two, or a new one."""
    key = world_key(scenario, replication)
    if key not in _worlds:
        while len(_worlds) >= WORLDS_KEPT:  # before the new one is made, so that three are never there
            _worlds.popitem(last=False)
        _worlds[key] = build_world(scenario, replication)
    _worlds.move_to_end(key)
    return _worlds[key]


def raw_files(outcome: Outcome) -> dict[str, bytes]:
    """The tables of all that happened, as Parquet files by name."""
    with tempfile.TemporaryDirectory(prefix="chatsim-") as folder:
        with RawTables(Path(folder)) as tables:
            tables.note(outcome)
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def _refuse_other_model(task: Task) -> None:
    if task.model != model_version():
        raise InputError(f"the worker has model {model_version()}, the study {task.model}: the same chatsim is needed")


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= REASON_MAX else f"{line[: REASON_MAX - 3]}..."
