"""Tables that are larger than memory needs to be: what was used of them is given back to the machine."""

from __future__ import annotations

import mmap
import platform
import sys
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

KNOWN = sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64")
NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if KNOWN else 0)
"""That a table may be larger than memory: of what is never written there is nothing. Python 3.11 has no name for it."""


GIVEN_BACK_BYTES = 1 << 21
"""So many are given back at once, or several times as many: as much as the largest pages of a machine hold."""


class Window:
    """A table with places for all its rows, of which those that are looked at are in memory.

    A row is zero until it is written, and again when it was given back. Where the machine cannot take memory back, all
    that was written stays in it.

    >>> window = Window(1_000_000, np.dtype(np.float64))
    >>> window.table[:3] = 1.0
    >>> window.give_back(1_000_000)
    >>> len(window.table)
    1000000
    """

    def __init__(self, rows: int, dtype: np.dtype[Any]) -> None:
        size = max(1, rows) * dtype.itemsize
        if hasattr(mmap, "MAP_PRIVATE"):
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE
            self._memory = mmap.mmap(-1, size, flags=flags)
        else:
            self._memory = mmap.mmap(-1, size)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with suppress(OSError):  # the machine has none
                self._memory.madvise(mmap.MADV_HUGEPAGE)
        self.table: npt.NDArray[Any] = np.frombuffer(self._memory, dtype, max(1, rows))
        self._pages = 0

    def give_back(self, end: int) -> None:
        """Gives back the rows before ``end``, but for a last page: they are not looked at any more."""
        pages = min(end, len(self.table)) * self.table.itemsize // GIVEN_BACK_BYTES
        if pages > self._pages and hasattr(mmap, "MADV_DONTNEED"):
            start, length = self._pages * GIVEN_BACK_BYTES, (pages - self._pages) * GIVEN_BACK_BYTES
            self._memory.madvise(mmap.MADV_DONTNEED, start, length)
            self._pages = pages
