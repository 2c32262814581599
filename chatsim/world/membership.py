"""Rooms and partners of each user, read off the rooms' members."""

from __future__ import annotations

import numpy as np

from chatsim.world.orders import grouped
from chatsim.world.population import owners
from chatsim.world.tables import PAIR, Ints, Longs, Rooms


def rooms_of_users(rooms: Rooms, users: int) -> tuple[Longs, Ints]:
    """(start, room): the rooms that user u is a member of are ``room[start[u]:start[u + 1]]``, ascending."""
    start, entry = grouped(rooms.member, users)
    return start, owners(rooms.start)[entry]


def partners_of_users(rooms: Rooms, users: int) -> tuple[Longs, Ints]:
    """(start, partner): those with whom user u has a pair room are ``partner[start[u]:start[u + 1]]``, ascending."""
    first = rooms.start[:-1][rooms.kind == PAIR]
    lower, upper = rooms.member[first], rooms.member[first + 1]
    user, partner = np.concatenate([lower, upper]), np.concatenate([upper, lower])
    order = np.lexsort((partner, user))
    start = np.searchsorted(user[order], np.arange(users + 1)).astype(np.int64)
    return start, partner[order]
