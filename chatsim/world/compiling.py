"""Loops that numba compiles for large worlds. Small ones do the same in numpy, or in Python, with the same results."""

from __future__ import annotations

import hashlib
import os
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

SMALL_S = 1.0
"""Time that a world takes to build without compiled loops from which on it is worth the time to load them."""
LARGE_S = 6.0
"""The same, where they must first be compiled, once."""
ROWS_LEAST = 2
"""A single number out of a row lies in one piece, as those of more rows do not: numba takes it for another kind of
argument, for which it would compile a loop anew."""
LOOPS: list[Loop] = []
KNOWN: set[Callable[..., Any]] = set()
"""Parts of loops that numba knows."""


class Loop:
    """A function that is nothing but a loop over numbers and arrays, with the ``parts`` that it calls.

    ``fast`` is its compiled form, once a world has been worth it, and then for all worlds of the process. It belongs to
    those ``among`` which it is loaded; the parts are compiled with ``options``, but for those that are called
    ``seldom``, which need not be quick to reach.
    """

    def __init__(
        self, function: Callable[..., Any], *parts: Callable[..., Any], seldom: tuple[Callable[..., Any], ...] = (),
        among: list[Loop] | None = None, **options: Any,
    ) -> None:
        self.function, self.parts, self.seldom, self.options = function, parts, seldom, options
        self.fast: Callable[..., Any] | None = None
        (LOOPS if among is None else among).append(self)

    def __call__(self, *arguments: Any) -> Any:
        """As fast as it is by now. Python reads numbers faster from a view of memory than from an array, and records,
        which it must not write, as tuples."""
        if self.fast is not None:
            return self.fast(*arguments)
        return self.function(*map(_views, arguments))

    def is_kept(self) -> bool:
        """Whether the compiled code is kept beside the file of the function."""
        file = _file_of(self.function)
        return any(file.with_name("__pycache__").glob(f"{file.stem}.{self._name()}-*.nbi"))

    def _name(self) -> str:
        """The name of the function with a digest of all files that it and its parts stand in. By itself numba looks at
        the file of the function alone, and reads what an earlier version has kept before it sees that it is old: which
        fails where that knew a type that is no more."""
        files = sorted({_file_of(part) for part in (self.function, *self.parts, *self.seldom)})
        digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
        return f"{self.function.__name__}-{digest[:12]}"

    def load(self) -> None:
        """Has numba compile the function when it is first called, or find its code beside the file, or in the user's
        cache."""
        from numba import njit
        from numba.extending import register_jitable

        from chatsim.world import hints  # noqa: F401  what prefetch is to compiled loops

        if self.fast is not None:
            return
        self.function.__qualname__ = self._name()
        # Nothing is allocated, so that no references need be counted: that would take most of the time. Nothing is
        # divided by 0, which would have to be looked for. Python calls no part, and C nothing: what they would call
        # takes a quarter of the time to compile.
        how: dict[str, Any] = {"_nrt": False, "error_model": "numpy", "no_cfunc_wrapper": True}
        for part in (*self.parts, *self.seldom):
            if part not in KNOWN:
                options = self.options if part in self.parts else {}
                register_jitable(no_cpython_wrapper=True, **how, **options)(part)
                KNOWN.add(part)
        try:
            self.fast = njit(cache=True, **how)(self.function)
        except RuntimeError:  # there is no place where code can be kept
            self.fast = njit(**how)(self.function)


def _file_of(function: Callable[..., Any]) -> Path:
    return Path(str(sys.modules[function.__module__].__file__))


def _views(part: Any) -> Any:
    if isinstance(part, tuple):
        return type(part)(*map(_views, part))
    if isinstance(part, np.ndarray) and part.dtype.names:
        row: Any = namedtuple("row", part.dtype.names)  # type: ignore[misc]
        return list(map(row._make, part.tolist()))
    return memoryview(cast(Any, part)) if isinstance(part, np.ndarray) else part


def prefetch(rows: npt.NDArray[Any], row: int) -> None:
    """A compiled loop will soon look at a row: memory that is far away takes longer than all that is done with it."""


def load_if_worth_it(build_s: float) -> None:
    """Loads all loops where a world takes so long to build without them."""
    load_from(LOOPS, build_s, SMALL_S, LARGE_S)


def load_from(loops: list[Loop], took_s: float, kept_s: float, not_kept_s: float) -> None:
    """Loads loops where what they do takes as long without as is worth it, if their code is kept, and if it is not."""
    if all(loop.fast for loop in loops) or os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return
    if took_s >= kept_s and took_s >= (kept_s if all(loop.is_kept() for loop in loops) else not_kept_s):
        for loop in loops:
            loop.load()
