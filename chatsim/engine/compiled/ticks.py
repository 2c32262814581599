"""The ticks of a run: taken out of their table while that is still in a processor's cache, where it then stays."""

from __future__ import annotations

from typing import Any

import numpy as np

from chatsim.engine.compiled.lending import Lending
from chatsim.engine.compiled.state import State, table_of
from chatsim.engine.outcome import Columns
from chatsim.engine.ticks import TICK, tick_columns

MANY = 1 << 13
ROOM = 1 << 16, 1 << 22
"""Ticks for which there is room at first, at least and at most: what is not used is never touched."""


class Ticks:
    """Ticks in the order in which they began; about how many there will be is ``likely``."""

    def __init__(self, likely: int = 0) -> None:
        self._room = min(max(likely, ROOM[0]), ROOM[1])
        self._lending, self._rows = Lending(TICK), np.empty(0, TICK)
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
        given = tick_columns(self._rows[: self.count])
        self._rows, self.count = np.empty(0, TICK), 0
        return given

    def _add(self, rows: Any) -> None:
        first, self.count = self.count, self.count + len(rows)
        if self.count > len(self._rows):
            larger = self._lending.rows(ROOM[0] if self.count <= ROOM[0] else max(self._room, 2 * self.count))
            _copy(self._rows[:first], larger[:first])
            self._rows = larger
        _copy(rows, self._rows[first : self.count])


def _copy(rows: Any, to: Any) -> None:
    """Copies rows, byte by byte where they are alike: numpy would copy them field by field."""
    if rows.dtype == to.dtype:
        rows, to = rows.view(np.uint8), to.view(np.uint8)
    to[:] = rows
