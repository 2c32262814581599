"""Pairs of users as single numbers, so that millions of them sort and compare at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from chatsim.world.orders import blocks
from chatsim.world.tables import Longs

KEYS_AT_ONCE = 1 << 18
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
