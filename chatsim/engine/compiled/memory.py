"""The state of a run as handlers see it: where each table lies, and how many rows it has.

Handlers get at a table by its place among :data:`~chatsim.engine.compiled.state.TABLES`. A
table stays until a larger one takes its place, or the run is over.
"""

from __future__ import annotations

import ctypes
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

from chatsim.engine.compiled.state import FIXED, TABLES

ADDRESS, ROWS, COLUMNS, OWN = range(4)
"""What is known of each table; it is its ``own`` where it was grown, and not the array that it began as."""
NAMES = list(TABLES)
PLACES = {name: place for place, name in enumerate(NAMES)}
STAY = {*FIXED, "sessions", "clients"}
"""Tables that stay where they are while handlers run."""
_give_back = ctypes.pythonapi.PyMem_RawFree
_give_back.restype, _give_back.argtypes = None, (ctypes.c_void_p,)


def copy_rows(source: Any, first: int, target: Any, place: int, rows: int) -> None:
    """Copies rows of a table to another one, or to another place."""
    target[place : place + rows] = source[first : first + rows]


def ahead(table: Any, row: int) -> None:
    """Fetches the first lines of a row from memory that will be needed soon: nothing depends on it but time."""


def all_ahead(table: Any, row: int) -> None:
    """Fetches all of a row."""


def grown(table: Any) -> Any:
    """The table with room for as many rows again, in which nothing stands yet."""
    return np.concatenate((table, np.empty_like(table)))


class Memory:
    """The tables of a run, as they are: what a handler writes stands in the arrays that :meth:`tables` gives."""

    def __init__(self, tables: dict[str, npt.NDArray[Any]]) -> None:
        self.cells = np.zeros((len(TABLES), OWN + 1), np.int64)
        self.address = self.cells.ctypes.data
        weakref.finalize(self, _free_all, self.cells)
        self._begun: dict[str, npt.NDArray[Any]] = {}
        for name in TABLES:
            self.put(name, tables[name])

    def put(self, name: str, table: npt.NDArray[Any]) -> None:
        """Puts a table in its place."""
        cell = self.cells[PLACES[name]]
        _free(cell)
        self._begun[name] = table = np.ascontiguousarray(table)
        cell[:] = table.ctypes.data, len(table), table.shape[-1] if table.ndim == 2 else 1, 0

    def tables(self) -> dict[str, npt.NDArray[Any]]:
        """All tables as they are now; they are there as long as one of them is."""
        # Those that handlers have made are few, and not kept: each of them keeps this memory.
        made = [NAMES[place] for place in np.flatnonzero(self.cells[:, OWN])]
        return {**self._begun, **{name: self.table(name) for name in made}}

    def table(self, name: str) -> npt.NDArray[Any]:
        """One of them."""
        return self._table(name, self.cells[PLACES[name]])

    def _table(self, name: str, cell: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        return np.asarray(Grown(self, name, cell)).view(TABLES[name]) if cell[OWN] else self._begun[name]


class Grown:
    """A table that handlers have made: an array of bytes, that keeps the memory of its run."""

    def __init__(self, memory: Memory, name: str, cell: npt.NDArray[np.int64]) -> None:
        self.memory = memory
        size = int(cell[ROWS]) * TABLES[name].itemsize
        data = (int(cell[ADDRESS]), False)
        self.__array_interface__ = {"shape": (size,), "typestr": "|u1", "data": data, "version": 3}


def _free(cell: npt.NDArray[np.int64]) -> None:
    """Gives back what handlers have taken for a table."""
    if cell[OWN]:
        _give_back(int(cell[ADDRESS]))
        cell[OWN] = 0


def _free_all(cells: npt.NDArray[np.int64]) -> None:
    for cell in cells:
        _free(cell)
