"""Pairs of users as single numbers, so that millions of them sort and compare at once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from chatsim.world.compiling import Loop, prefetch
from chatsim.world.orders import blocks
from chatsim.world.tables import Longs

KEYS_AT_ONCE = 1 << 18
HALF, LOW, ONE = np.uint64(32), np.uint64(0xFFFFFFFF), np.uint64(1)
PART_BITS, USER_BITS_MAX = 8, 22
"""Edges are sorted in so many parts at least, and in 4096 at most."""
Keys = npt.NDArray[np.uint64]
"""Pairs of users as one number, ``first << 32 | second``: sorting them sorts by first, then by second."""


def pair_keys(first: npt.ArrayLike, second: npt.ArrayLike) -> Keys:
    """``first << 32 | second``."""
    keys = np.asarray(first).astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= np.asarray(second).astype(np.uint64)
    return keys


def users_of(keys: Keys) -> tuple[Longs, Longs]:
    """The two users of each pair key."""
    return (keys >> HALF).view(np.int64), (keys & LOW).view(np.int64)


def edge_keys(first: npt.NDArray[np.integer], second: npt.NDArray[np.integer]) -> Keys:
    """Pair keys with the lower user first."""
    return pair_keys(np.minimum(first, second), np.maximum(first, second))


def unique_sorted(edges: Keys, room: Keys | None = None) -> Keys:
    """The edges in order, without loops and repeats. Modifies ``edges``, and ``room``, where that is to be used."""
    seen = int(np.bitwise_or.reduce(edges))
    bits = max(seen >> 32, seen & 0xFFFFFFFF).bit_length()
    if PUT_TOGETHER.fast and bits <= USER_BITS_MAX:
        return _sorted_by_parts(edges, bits, np.empty(0, np.uint64) if room is None else room)
    edges.sort()
    kept = 0
    for part in blocks(len(edges), KEYS_AT_ONCE):
        keys = edges[part]
        new = np.empty(len(keys), bool)
        new[0] = not kept or edges[kept - 1] != keys[0]
        np.not_equal(keys[1:], keys[:-1], out=new[1:])
        new &= (keys >> np.uint64(32)) != (keys & np.uint64(0xFFFFFFFF))
        found = keys[new]
        edges[kept:kept + len(found)] = found
        kept += len(found)
    return edges[:kept]


def _sorted_by_parts(edges: Keys, bits: int, room: Keys) -> Keys:
    """The same, compiled: an edge is two numbers of so many bits. By the first of these it belongs to a part, and the
    others are at most 32, which sort in a third of the time."""
    low_bits = min(32, max(2 * bits - PART_BITS, 0))
    start = np.zeros((1 << 2 * bits - low_bits) + 1, np.int64)
    rest = room.view(np.uint32)[: len(edges)] if 2 * len(room) >= len(edges) else np.empty(len(edges), np.uint32)
    widths = np.uint64(bits), np.uint64(low_bits)
    DEAL_OUT(edges, *widths, start, np.empty(len(start) - 1, np.int64), rest)
    for first, end in pairwise(start.tolist()):
        rest[first:end].sort()
    return edges[: PUT_TOGETHER(rest, *widths, start, edges)]


def _deal_out(
    edges: Keys, bits: np.uint64, low_bits: np.uint64, start: Longs, free: Longs, rest: npt.NDArray[np.uint32]
) -> None:
    """The low bits of edges into their parts; where these begin."""
    for place in range(len(edges)):
        start[((edges[place] >> HALF << bits | edges[place] & LOW) >> low_bits) + ONE] += 1
    for part in range(len(free)):
        free[part] = start[part]
        start[part + 1] += start[part]
    for place in range(len(edges)):
        packed = edges[place] >> HALF << bits | edges[place] & LOW
        part = packed >> low_bits
        rest[free[part]] = packed & ((ONE << low_bits) - ONE)
        free[part] += 1


def _put_together(
    rest: npt.NDArray[np.uint32], bits: np.uint64, low_bits: np.uint64, start: Longs, edges: Keys
) -> int:
    """The edges again, but for loops and repeats; how many these are."""
    kept = 0
    for part in range(len(start) - 1):
        for place in range(start[part], start[part + 1]):
            packed = np.uint64(part) << low_bits | np.uint64(rest[place])
            lower, higher = packed >> bits, packed & ((ONE << bits) - ONE)
            edge = lower << HALF | higher
            if lower != higher and (kept == 0 or edges[kept - 1] != edge):
                edges[kept] = edge
                kept += 1
    return kept


DEAL_OUT, PUT_TOGETHER = Loop(_deal_out), Loop(_put_together)


def united(edges: Keys, others: Keys) -> Keys:
    """The edges of both, each ascending without repeats, in order and without repeats.

    >>> united(pair_keys([0, 0], [2, 3]), pair_keys([0, 0], [1, 2])).tolist()
    [1, 2, 3]
    """
    if not UNITE.fast:
        return unique_sorted(np.concatenate([edges, others]))
    both = np.empty(len(edges) + len(others), np.uint64)
    return both[: UNITE.fast(edges, others, both)]


def _unite(edges: Keys, others: Keys, both: Keys) -> int:
    here, there, count = 0, 0, 0
    while here < len(edges) or there < len(others):
        if there == len(others) or (here < len(edges) and edges[here] <= others[there]):
            if there < len(others) and edges[here] == others[there]:
                there += 1
            both[count] = edges[here]
            here += 1
        else:
            both[count] = others[there]
            there += 1
        count += 1
    return count


UNITE = Loop(_unite)


def places_of_edges(edges: Keys, wanted: Keys, users: int) -> Longs:
    """Where each of the ``wanted`` stands among edges, ascending, of which it is one.

    >>> places_of_edges(pair_keys([0, 0, 1], [1, 2, 2]), pair_keys([1, 0], [2, 1]), 3).tolist()
    [2, 0]
    """
    if not FIND.fast:
        return np.searchsorted(edges, wanted)
    place = np.empty(len(wanted), np.int64)
    FIND.fast(edges, np.searchsorted(edges, pair_keys(np.arange(users + 1), 0)), wanted, place)
    return place


def _find(edges: Keys, start: Longs, wanted: Keys, found: Longs) -> None:
    """Those of user u begin at ``start[u]``; what is wanted is among them. It is looked for from where it would be if
    others were spread evenly over all users, in steps that double; the first look is at what has come."""
    last = len(wanted) - 1
    for one in range(len(wanted)):
        prefetch(start, int(wanted[min(one + 48, last)] >> HALF))
        prefetch(edges, _about(start, wanted[min(one + 24, last)]))
        key, user = wanted[one], np.int64(wanted[one] >> HALF)
        low, high, step = start[user], start[user + 1], 1
        place = _about(start, key)
        if edges[place] <= key:
            low = place
            while low + step < high and edges[low + step] <= key:
                low += step
                step *= 2
            high = min(low + step, high)
        else:
            high = place
            while high - step > low and edges[high - step] > key:
                high -= step
                step *= 2
            low = max(high - step, low)
        while high - low > 1:
            middle = (low + high) >> 1
            if edges[middle] <= key:
                low = middle
            else:
                high = middle
        found[one] = low


def _about(start: Longs, key: np.uint64) -> int:
    """Where an edge would be among those of its lower user, if others were spread evenly over all users."""
    user, other = np.int64(key >> HALF), np.int64(key & LOW)
    share = (other - user) / (len(start) - 1 - user)
    return int(start[user] + np.int64(share * (start[user + 1] - start[user])))


FIND = Loop(_find, _about, forceinline=True)
