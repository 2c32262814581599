"""Memory that is used again when nobody looks any more at the array that lies in it."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import numpy.typing as npt


class Lending:
    """Arrays of rows of one kind, whose memory comes back when they, and all that looks at them, are gone.

    What is given back to the machine must be cleared by it before it gives it out again, and that takes as long as
    writing it.

    >>> lending = Lending(np.dtype(np.int64))
    >>> rows = lending.rows(3)
    >>> rows[:] = 1, 2, 3
    >>> looks = rows[1:]
    >>> del rows
    >>> lending.rows(2)[:] = 4, 5
    >>> looks.tolist()
    [2, 3]
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._here: list[npt.NDArray[np.uint8]] = []

    def rows(self, count: int) -> npt.NDArray[Any]:
        """So many rows, at least one, of which nothing can be said yet."""
        size = max(1, count) * self._dtype.itemsize
        memory = next((here for here in self._here if len(here) >= size), None)
        if memory is None:
            memory = np.empty(size, np.uint8)
        else:
            self._here = [here for here in self._here if here is not memory]
        rows = np.frombuffer(memory.data, self._dtype, max(1, count))  # of an array it would itself be looked past
        weakref.finalize(rows, self._take_back, memory).atexit = False
        return rows

    def _take_back(self, memory: npt.NDArray[np.uint8]) -> None:
        self._here.append(memory)
