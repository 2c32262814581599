"""Loops over what a run leaves: Python as it is for small runs, compiled for large ones, with the same results."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from chatsim.world.compiling import Loop, load_from
from chatsim.world.draws import DRAW

Numbers = npt.NDArray[np.uint32]
LOOPS: list[Loop] = [DRAW]
"""All of them, and that of draws, which what comes to sessions needs too."""
STEP_S = 4e-6
"""What a row, a recipient or a tick takes in a loop that is not compiled."""
LOADED_S, KEPT_S, NOT_KEPT_S = 0.1, 0.6, 1.5
"""What is worth the time to load one: where numba is there already; where it is not; where it must be compiled."""


def loop_of(function: Any, *parts: Any) -> Loop:
    """A function that is nothing but a loop over numbers and arrays, with all ``parts`` that it calls, or those do."""
    return Loop(function, *parts, among=LOOPS, forceinline=True)


def run_loop(loop: Loop, steps: int, *arguments: Any) -> int:
    """What a loop of so many steps returns, compiled if that is worth it: draws are then too."""
    load_if_worth_it((loop,), steps)
    return int(loop(*arguments))


def load_if_worth_it(loops: Iterable[Loop], steps: int, step_s: float = STEP_S) -> None:
    """Has loops compiled, or their code loaded, and draws, where so many steps would take long as they are."""
    load_from([*loops, DRAW], steps * step_s, LOADED_S if "numba" in sys.modules else KEPT_S, NOT_KEPT_S)


def fixed(array: Any, kind: type) -> npt.NDArray[Any]:
    """An array as loops are compiled for: of one type, in one piece, and not kept from being written."""
    return np.require(array, kind, ["C_CONTIGUOUS", "WRITEABLE"])


def numbers(array: Any) -> Numbers:
    """Numbers of rows, none below zero, as loops are compiled for: these need not see to that whenever they look one
    up, which takes as long as the look."""
    return fixed(array, np.int32).view(np.uint32)
