"""Pairs of users as single numbers, so that millions of them sort and compare at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from chatsim.world.compiling import Loop, prefetch
from chatsim.world.orders import blocks
from chatsim.world.tables import Longs

KEYS_AT_ONCE = 1 << 18
HALF, LOW = np.uint64(32), np.uint64(0xFFFFFFFF)
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


def unique_sorted(edges: Keys) -> Keys:
    """The edges in order, without loops and repeats. Modifies ``edges``."""
    edges.sort()
    if DROP_REPEATS.fast:
        return edges[: DROP_REPEATS.fast(edges)]
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


def _drop_repeats(edges: Keys) -> int:
    """Moves what is no loop and no repeat to the front; how many that are."""
    kept = 0
    for place in range(len(edges)):
        edge = edges[place]
        if edge >> HALF != edge & LOW and (kept == 0 or edges[kept - 1] != edge):
            edges[kept] = edge
            kept += 1
    return kept


DROP_REPEATS = Loop(_drop_repeats)


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
