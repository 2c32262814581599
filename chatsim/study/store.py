"""Results on disk: Parquet tables with the same bytes for the same seed, the scenarios, and where it all came from."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from enum import IntEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from chatsim.engine.outcome import Cause, Fate, FaultKind, IntrusionFate, Outcome, PushFate, SessionFate, Work
from chatsim.scenario import Scenario, to_toml

RAW = (
    "messages",
    "deliveries",
    "sessions",
    "ticks",
    "subscriptions",
    "presence",
    "pulls",
    "pushes",
    "intrusions",
    "endings",
    "faults",
    "breaks",
)
PACKAGES = ("chatsim", "simpy", "numpy", "scipy", "pandas", "pyarrow", "networkx", "pydantic", "matplotlib", "joblib")
NAMES: dict[str, type[IntEnum]] = {
    "messages": Fate,
    "deliveries": Fate,
    "sessions": SessionFate,
    "pushes": PushFate,
    "intrusions": IntrusionFate,
}
OPTIONS: dict[str, Any] = {"compression": "zstd", "compression_level": 3, "version": "2.6"}


class RawTables:
    """Writes what happened, run by run, into one Parquet file per table, each run a row group of its own.

    Every row says its design and replication; fates and causes stand as words. Nothing in a file depends on when or
    where it was written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writers: dict[str, pq.ParquetWriter] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in self.writers.values():
            writer.close()

    def note(self, outcome: Outcome) -> None:
        """Adds one run."""
        for name in RAW:
            self._write(name, _raw_table(name, outcome))
        self._write("work", _work_table(outcome))

    def _write(self, name: str, table: pa.Table) -> None:
        if name not in self.writers:
            self.writers[name] = pq.ParquetWriter(self.folder / f"{name}.parquet", table.schema, **OPTIONS)
        if table.num_rows:
            self.writers[name].write_table(table)


def write_table(path: Path, table: pd.DataFrame) -> None:
    """A table of figures as Parquet, without pandas' own notes."""
    arrow = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
    pq.write_table(arrow, path, **OPTIONS)


def write_scenarios(folder: Path, scenarios: tuple[Scenario, ...]) -> None:
    """``scenario.toml`` for one design; a folder ``scenarios`` with a file for each of several."""
    if len(scenarios) == 1:
        (folder / "scenario.toml").write_text(to_toml(scenarios[0]), encoding="utf-8")
        return
    (folder / "scenarios").mkdir()
    for scenario in scenarios:
        (folder / "scenarios" / f"{file_name(scenario.name)}.toml").write_text(to_toml(scenario), encoding="utf-8")


def file_name(name: str) -> str:
    """A design's name as a file name: unchanged where it is plain, otherwise made plain and told apart by a hash.

    >>> file_name("go-chat")
    'go-chat'
    """
    plain = "".join(sign if sign.isalnum() or sign in "-_." else "_" for sign in name).lstrip(".")
    return plain if plain == name else f"{plain or 'design'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def provenance(scenarios: tuple[Scenario, ...], replications: int, command: list[str]) -> dict[str, Any]:
    """What a result came from: the command, seed and scenario hashes, and the versions that computed it."""
    return {
        "command": command,
        "seed": scenarios[0].seed,
        "replications": replications,
        "scenarios": {scenario.name: scenario_hash(scenario) for scenario in scenarios},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def scenario_hash(scenario: Scenario) -> str:
    """SHA-256 of all that a scenario says, in a fixed form."""
    said = json.dumps(scenario.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(said.encode("utf-8")).hexdigest()


def _raw_table(name: str, outcome: Outcome) -> pa.Table:
    columns: Mapping[str, Any] = getattr(outcome, name)
    rows = len(next(iter(columns.values())))
    table = _label(outcome, rows)
    for column, values in columns.items():
        if column == "fate":
            table[column] = _words(values, NAMES[name])
        elif column == "cause":
            table[column] = _words(values, Cause)
        elif column == "kind":
            table[column] = _words(values, FaultKind)
        elif column == "station":
            table[column] = _station_names(values, outcome.stations)
        else:
            table[column] = pa.array(np.ascontiguousarray(values))
    return pa.table(table)


def _work_table(outcome: Outcome) -> pa.Table:
    table = _label(outcome, len(outcome.stations))
    table["station"] = pa.array(list(outcome.stations))
    for work in Work:
        table[work.name.lower()] = pa.array(np.ascontiguousarray(outcome.work[:, work]))
    return pa.table(table)


def _label(outcome: Outcome, rows: int) -> dict[str, pa.Array]:
    design = _dictionary(np.zeros(rows, np.int32), [outcome.scenario.name])
    return {"design": design, "replication": pa.array(np.full(rows, outcome.world.replication, np.int32))}


def _words(values: Any, enum: type[IntEnum]) -> pa.Array:
    return _dictionary(values, [member.name.lower() for member in enum])


def _station_names(values: Any, names: Sequence[str]) -> pa.Array:
    """Stations by name; none in particular (-1) has no name."""
    numbers = np.asarray(values, np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(numbers, mask=numbers < 0), pa.array(list(names)))


def _dictionary(values: Any, words: list[str]) -> pa.Array:
    """Numbers as the words they stand for."""
    return pa.DictionaryArray.from_arrays(pa.array(np.asarray(values, np.int32)), pa.array(words))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
