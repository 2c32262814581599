"""Columns of an outcome as arrays of one type."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from chatsim.engine.outcome import Columns, Fate, Outcome

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def floats(table: Columns, name: str) -> Floats:
    """A column as float64."""
    return np.asarray(table[name], dtype=np.float64)


def longs(table: Columns, name: str) -> Longs:
    """A column as int64."""
    return np.asarray(table[name], dtype=np.int64)


def is_delivered(outcome: Outcome) -> Bools:
    """Which deliveries arrived live."""
    return np.equal(outcome.deliveries["fate"], Fate.DELIVERED)


def among(fate: npt.NDArray[np.generic], wanted: Iterable[Fate]) -> Bools:
    """Which fates are among those wanted: by a table, since there are few of them and many rows."""
    table = np.zeros(len(Fate), bool)
    table[list(wanted)] = True
    chosen: Bools = table[fate]
    return chosen


def offline(outcome: Outcome) -> int:
    """How many messages x recipients were lost because the recipient was offline, and are counted without a row: in a
    part of a run alone."""
    return int(np.sum(outcome.messages.get("offline", 0), dtype=np.int64))


def divided(part: npt.NDArray[np.generic], whole: npt.NDArray[np.generic]) -> Floats:
    """part / whole, NaN where whole is 0."""
    above, below = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    result = np.full(len(above), np.nan)
    np.divide(above, below, out=result, where=below != 0)
    return result
