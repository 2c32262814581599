"""Orders of large arrays: what belongs to whom, what comes first in each list of many, and what is earlier."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from chatsim.world.compiling import Loop
from chatsim.world.tables import Floats, Ints, Longs

ENTRIES_AT_ONCE = 1 << 16
"""So many entries have place in a word beside a float of 32 bits, twice: see :func:`order_in_rows`."""
TIME_S_MIN = 1e-9
"""Times that are all nearer to each other count as equal until they are compared."""


def blocks(count: int, size: int) -> Iterator[slice]:
    """The slices of ``size`` that make up so many.

    >>> list(blocks(5, 3))
    [slice(0, 3, None), slice(3, 5, None)]
    """
    return (slice(at, min(at + size, count)) for at in range(0, count, size))


def place_of(ascending: Any, value: float, low: int, high: int) -> int:
    """The first place from ``low`` on whose value is not below the given one; ``high`` where there is none before.

    For loops, compiled or not: numpy looks up many values at once.

    >>> place_of([1, 3, 5], 4, 0, 3)
    2
    """
    while low < high:
        middle = (low + high) // 2
        if ascending[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


def row_blocks(start: Longs) -> Iterator[slice]:
    """Rows of a list of lists, in slices of at most ENTRIES_AT_ONCE entries; a row that is longer is alone."""
    at, rows = 0, len(start) - 1
    while at < rows:
        end = int(np.searchsorted(start, start[at] + ENTRIES_AT_ONCE, side="right")) - 1
        yield slice(at, max(end, at + 1))
        at = max(end, at + 1)


def order_in_rows(start: Longs, value: npt.NDArray[np.floating]) -> Longs:
    """The order that sorts each row of one of :func:`row_blocks` by its values, which are not negative; equal ones stay
    in order. ``start`` is where rows begin among the values.

    The bits of such floats sort as they do, so that the row, the value in 32 bits and the place make one sortable word.

    >>> order_in_rows(np.array([0, 3, 5]), np.array([3.0, 1.0, 2.0, 5.0, 4.0])).tolist()
    [1, 2, 0, 4, 3]
    """
    bits = place_bits(len(value))
    words = _words_in_rows(start, value.astype(np.float32, copy=False).view(np.uint32), bits)
    words.sort()
    order = (words & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
    if value.dtype != np.float32:
        words >>= bits
        places = _ties(words)
        entries = order[places]
        order[places] = entries[np.lexsort((entries, value[entries], words[places]))]
    return order


def place_bits(count: int) -> np.uint64:
    """How many of the bits of the words that :func:`order_in_rows` sorts are those of the place."""
    return np.uint64(max(count - 1, 0).bit_length())


def _words_in_rows(start: Longs, short: npt.NDArray[np.uint32], bits: np.uint64) -> npt.NDArray[np.uint64]:
    words = np.repeat(start[:-1].astype(np.uint64) << np.uint64(31), np.diff(start))
    words |= short
    words <<= bits
    words |= np.arange(len(short), dtype=np.uint64)
    return words


def word_in_row(first: int, short: np.uint32, place: int, bits: np.uint64) -> np.uint64:
    """One of these words, for compiled loops: of a row that begins at ``first``, with the bits of the value."""
    return ((np.uint64(first) << np.uint64(31) | np.uint64(short)) << bits) | np.uint64(place)


def _ties(ordered: npt.NDArray[Any]) -> Longs:
    """Where something stands that is equal to what is before it, or after it."""
    tied = np.zeros(len(ordered) + 1, bool)
    tied[1:-1] = ordered[1:] == ordered[:-1]
    return np.flatnonzero(tied[1:] | tied[:-1])


def order_in_time(time_s: Floats, *then: npt.NDArray[np.integer]) -> Longs:
    """The order of times, all finite, equal ones by ``then``, one after the other, and last by their place.

    How far each time is into all of them, in whole steps, and its place make one word: words sort in half the time, and
    few are in the same step.

    >>> order_in_time(np.array([2.0, 1.0, 2.0]), np.array([1, 0, 0])).tolist()
    [1, 2, 0]
    """
    if not len(time_s):
        return np.empty(0, np.int64)
    first_s = float(time_s.min())
    bits = len(time_s).bit_length()
    step = 2.0 ** (62 - bits) / max(float(time_s.max()) - first_s, TIME_S_MIN)
    words = _words_in_time(time_s, first_s, step, bits)
    words.sort()
    order = words & ((1 << bits) - 1)
    words >>= bits
    places = _ties(words)
    if len(places):
        rows = order[places]
        order[places] = rows[np.lexsort((rows, *(key[rows] for key in reversed(then)), time_s[rows]))]
    return order


def _words_in_time(time_s: Floats, first_s: float, step: float, bits: int) -> Longs:
    if PACK_TIMES.fast:
        words = np.empty(len(time_s), np.int64)
        PACK_TIMES.fast(np.ascontiguousarray(time_s), first_s, step, bits, words)
        return words
    words = ((time_s - first_s) * step).astype(np.int64)
    words <<= bits
    words |= np.arange(len(words))
    return words


def _pack_times(time_s: Floats, first_s: float, step: float, bits: int, words: Longs) -> None:
    for place in range(len(time_s)):
        words[place] = (np.int64((time_s[place] - first_s) * step) << bits) | place


PACK_TIMES = Loop(_pack_times)


def grouped(owner: Ints, owners: int) -> tuple[Longs, Longs]:
    """(start, entry): what belongs to owner u are the entries ``entry[start[u]:start[u + 1]]``, ascending.

    >>> [found.tolist() for found in grouped(np.array([1, 0, 1]), 2)]
    [[0, 1, 3], [1, 0, 2]]
    """
    start = np.zeros(owners + 1, np.int64)
    np.cumsum(np.bincount(owner, minlength=owners), out=start[1:])
    entry = np.empty(len(owner), np.int64)
    entry[next_places(owner, start[:-1].copy())] = np.arange(len(owner))
    return start, entry


def ordinals(owner: Ints, owners: int) -> Longs:
    """The number of each entry among those of its owner.

    >>> ordinals(np.array([1, 0, 1]), 2).tolist()
    [0, 0, 1]
    """
    return next_places(owner, np.zeros(owners, np.int64))


def next_places(owner: Ints | Longs, free: Longs) -> Longs:
    """Each entry takes the first free place of its owner, which moves on. Modifies ``free``."""
    owner = np.ascontiguousarray(owner, np.int32)
    place = np.empty(len(owner), np.int64)
    if TAKE.fast:
        TAKE.fast(owner, free, place)
        return place
    order = np.argsort(owner, kind="stable")
    ordered = owner[order]
    place[order] = np.arange(len(owner)) - np.searchsorted(ordered, ordered) + free[ordered]
    free += np.bincount(owner, minlength=len(free))
    return place


def _take(owner: Ints, free: Longs, place: Longs) -> None:
    for entry in range(len(owner)):
        place[entry] = free[owner[entry]]
        free[owner[entry]] += 1


TAKE = Loop(_take)
