"""The ticks of a run: taken out of their table while that is still in a processor's cache, where it then stays."""

from __future__ import annotations

from typing import Any

import numpy as np

from chatsim.engine.compiled.state import State, table_of
from chatsim.engine.outcome import Columns

TYPES = {"station": np.int32, "start_s": np.float64, "end_s": np.float64, "items": np.int32, "waiting": np.int32,
         "waited_s": np.float64, "reads": np.int32, "slept_s": np.float64}  # fmt: skip
MANY = 1 << 13
ROOM = 1 << 16, 1 << 22
"""Ticks for which there is room at first, at least and at most: what is not used is never touched."""


class Ticks:
    """Columns of ticks, in the order in which they began; about how many there will be is ``likely``."""

    def __init__(self, likely: int = 0) -> None:
        self._room = min(max(likely, ROOM[0]), ROOM[1])
        self._columns = _empty(0)
        self.count = 0
        """Ticks that were taken and not given away."""

    def take(self, st: State) -> None:
        """Takes the ticks before the first that goes on, where the table has many. Modifies the state.

        Batches know the rows of their ticks, which end sooner where a station dies.
        """
        now = table_of(st, "now")[0]
        count = int(now["ticks"])
        if count < MANY:
            return
        table, batches = table_of(st, "ticks"), table_of(st, "batches")[: now["batches"]]
        goes_on = batches["station"] >= 0
        over = int(batches["row"][goes_on].min(initial=count))
        self._add(table[:over])
        table[: count - over] = table[over:count].copy()
        batches["row"][goes_on] -= over
        now["ticks"] = count - over

    def all(self, st: State) -> Columns:
        """All ticks, when the run is over, but those given away before."""
        self._add(table_of(st, "ticks")[: table_of(st, "now")["ticks"][0]])
        return self.give()

    def give(self) -> Columns:
        """Gives away the ticks that were taken out of their table."""
        given = {name: column[: self.count] for name, column in self._columns.items()}
        self._columns, self.count = _empty(0), 0
        return given

    def _add(self, rows: Any) -> None:
        first, self.count = self.count, self.count + len(rows)
        if self.count > len(self._columns["station"]):
            larger = _empty(ROOM[0] if self.count <= ROOM[0] else max(self._room, 2 * self.count))
            for name, column in self._columns.items():
                larger[name][:first] = column[:first]
            self._columns = larger
        for name, column in self._columns.items():
            column[first : self.count] = rows[name]


def _empty(rows: int) -> Columns:
    return {name: np.empty(rows, kind) for name, kind in TYPES.items()}
