"""Ticks as they lie in memory, a row each, of which an outcome has the columns: to loops over ticks they come whole."""

from __future__ import annotations

from typing import Any

import numpy as np

from chatsim.engine.outcome import Columns

TICK = np.dtype([
    *((name, np.int32) for name in ("station", "items", "waiting", "reads")),
    *((name, np.float64) for name in ("start_s", "end_s", "waited_s", "slept_s")),
])  # fmt: skip
COLUMNS = ("station", "start_s", "end_s", "items", "waiting", "waited_s", "reads", "slept_s")


def tick_columns(rows: Any) -> Columns:
    """The columns of rows of :data:`TICK`: nothing is copied.

    >>> tick_columns(np.zeros(2, TICK))["station"].tolist()
    [0, 0]
    """
    return {name: rows[name] for name in COLUMNS}


def tick_rows(table: Columns) -> Any:
    """The rows of which a table has the columns; rows with a copy of these, and else 0, where they lie elsewhere.

    >>> rows = np.zeros(3, TICK)
    >>> np.shares_memory(tick_rows(tick_columns(rows)), rows)
    True
    """
    count, owner = len(table["station"]), table["station"].base
    if isinstance(owner, np.ndarray) and owner.dtype == TICK and all(_is_of(owner, name, table) for name in COLUMNS):
        return owner[:count]
    rows = np.zeros(count, TICK)
    for name in table.keys() & set(COLUMNS):
        rows[name] = table[name]
    return rows


def _is_of(owner: Any, name: str, table: Columns) -> bool:
    """Whether a column of a table is that of the first rows of an owner of rows."""
    column: Any = table.get(name)
    if column is None:
        return False
    is_first: bool = column.ctypes.data == owner[name].ctypes.data
    return column.base is owner and is_first and column.strides == (TICK.itemsize,)
