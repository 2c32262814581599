"""Pairs of users as single numbers, so that millions of them sort and compare at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from chatsim.world.tables import Longs

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
    keep = (edges >> np.uint64(32)) != (edges & np.uint64(0xFFFFFFFF))
    keep[1:] &= edges[1:] != edges[:-1]
    kept: Keys = edges[keep]
    return kept
