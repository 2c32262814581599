"""The ticks of a run: taken out of their table whenever that has many, so that it stays small."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from chatsim.engine.compiled.state import State, tables_of
from chatsim.engine.outcome import Columns

TYPES = {"station": np.int32, "start_s": np.float64, "end_s": np.float64, "items": np.int32, "waiting": np.int32,
         "waited_s": np.float64, "reads": np.int32, "slept_s": np.float64}  # fmt: skip
MANY = 1 << 18


class Ticks:
    """Columns of ticks, in the order in which they began."""

    def __init__(self) -> None:
        self._parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in TYPES}
        self.count = 0
        """Ticks that were taken and not given away."""

    def take(self, st: State) -> None:
        """Takes the ticks before the first that goes on, where the table has many. Modifies the state.

        Batches know the rows of their ticks, which end sooner where a station dies.
        """
        tables = tables_of(st)
        now = tables["now"][0]
        count = int(now["ticks"])
        if count < MANY:
            return
        table, batches = tables["ticks"], tables["batches"][: now["batches"]]
        goes_on = batches["station"] >= 0
        over = int(batches["row"][goes_on].min(initial=count))
        self._add(table[:over])
        table[: count - over] = table[over:count].copy()
        batches["row"][goes_on] -= over
        now["ticks"] = count - over

    def all(self, st: State) -> Columns:
        """All ticks, when the run is over, but those given away before."""
        tables = tables_of(st)
        self._add(tables["ticks"][: tables["now"][0]["ticks"]])
        return self.give()

    def give(self) -> Columns:
        """Gives away the ticks that were taken out of their table."""
        given = {name: _joined(self._parts[name], kind) for name, kind in TYPES.items()}
        self._parts = {name: [] for name in TYPES}
        self.count = 0
        return given

    def _add(self, rows: Any) -> None:
        self.count += len(rows)
        for name, kind in TYPES.items():
            self._parts[name].append(rows[name].astype(kind))


def _joined(parts: list[npt.NDArray[Any]], kind: type) -> npt.NDArray[Any]:
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, kind), *parts])
