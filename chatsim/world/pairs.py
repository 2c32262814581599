"""Pairs of users as single numbers, so that millions of them sort and compare at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from chatsim.world.compiling import Loop
from chatsim.world.orders import blocks, place_of
from chatsim.world.tables import Longs

KEYS_AT_ONCE = 1 << 18
HALF, UNIT = np.uint64(32), np.uint64(1)
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
    return (keys >> np.uint64(32)).astype(np.int64), (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)


def edge_keys(first: npt.NDArray[np.integer], second: npt.NDArray[np.integer]) -> Keys:
    """Pair keys with the lower user first."""
    return pair_keys(np.minimum(first, second), np.maximum(first, second))


def unique_sorted(edges: Keys) -> Keys:
    """The edges in order, without loops and repeats. Modifies ``edges``."""
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
    """Those of user u begin at ``start[u]``."""
    for one in range(len(wanted)):
        user = wanted[one] >> HALF
        found[one] = place_of(edges, wanted[one], start[user], start[user + UNIT])


FIND = Loop(_find, place_of)
