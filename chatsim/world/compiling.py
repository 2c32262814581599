"""Loops that numba compiles for large worlds. Small ones do the same in numpy, or in Python, with the same results."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy.typing as npt

SMALL_S = 1.0
"""Time that a world takes to build without compiled loops from which on it is worth the time to load them."""
LARGE_S = 6.0
"""The same, where they must first be compiled, once."""
LOOPS: list[Loop] = []


class Loop:
    """A function that is nothing but a loop over numbers and arrays, with the ``parts`` that it calls.

    ``fast`` is its compiled form, once a world has been worth it, and then for all worlds of the process.
    """

    def __init__(self, function: Callable[..., Any], *parts: Callable[..., Any]) -> None:
        self.function, self.parts = function, parts
        self.fast: Callable[..., Any] | None = None
        LOOPS.append(self)

    def is_kept(self) -> bool:
        """Whether the compiled code is kept beside the file of the function."""
        file = Path(str(sys.modules[self.function.__module__].__file__))
        return any(file.with_name("__pycache__").glob(f"{file.stem}.{self.function.__name__}-*.nbi"))

    def load(self) -> None:
        """Has numba compile the function when it is first called, or find its code beside the file, or in the user's
        cache."""
        from numba import njit
        from numba.extending import register_jitable

        from chatsim.world import hints  # noqa: F401  what prefetch is to compiled loops

        if self.fast is not None:
            return
        for part in self.parts:
            register_jitable(_nrt=False)(part)
        # Nothing is allocated, so that no references need be counted: that would take most of the time.
        try:
            self.fast = njit(cache=True, _nrt=False)(self.function)
        except RuntimeError:  # there is no place where code can be kept
            self.fast = njit(_nrt=False)(self.function)


def prefetch(rows: npt.NDArray[Any], row: int) -> None:
    """A compiled loop will soon look at a row: memory that is far away takes longer than all that is done with it."""


def load_if_worth_it(build_s: float) -> None:
    """Loads all loops where a world takes so long to build without them."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return
    if build_s >= (SMALL_S if all(loop.is_kept() for loop in LOOPS) else LARGE_S):
        for loop in LOOPS:
            loop.load()
