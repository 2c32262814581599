"""What goes wrong in a world: sessions are cut, users flood, friendships end, intruders try rooms of others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from chatsim.scenario.models import Intruders, Relations, Workload
from chatsim.world.cuts import with_cuts
from chatsim.world.draws import Purpose, uniform
from chatsim.world.membership import partners_of_users, rooms_of_users
from chatsim.world.pairs import Keys, pair_keys
from chatsim.world.population import owners
from chatsim.world.processes import poisson_process
from chatsim.world.sessions import DAY_S, points_while_connected
from chatsim.world.spam import with_spam
from chatsim.world.tables import Bools, EndingTable, IntrusionTable, Ints, Longs, World, no_endings, no_intrusions

VICTIM_DRAWS = 16
"""An intruder that has drawn so many users without a room of interest gives up the try."""


def with_trouble(world: World, workload: Workload) -> World:
    """The world with the cuts, the spam, the endings and the intrusions that its workload asks for.

    Raises InputError where there would be too much spam.
    """
    world = with_spam(with_cuts(world, workload.reconnect), workload)
    return replace(
        world, endings=endings_of(world, workload.relations), intrusions=intrusions_of(world, workload.intruders)
    )


def endings_of(world: World, relations: Relations) -> EndingTable:
    """Ties that end: a Poisson process per user, each time a tie to one of the partners in pair rooms, drawn uniformly.

    A user without partners ends ties to friends; one without friends ends none. A tie can end more than once: the
    first time counts.
    """
    if not relations.ends_per_day:
        return no_endings()
    seed, replication = world.seed, world.replication
    due = np.full(world.users, relations.ends_per_day * world.duration_s / DAY_S)
    user, ordinal, point = poisson_process(due, Purpose.ENDING_GAP, seed, replication)
    time_s = point * (DAY_S / relations.ends_per_day)
    partner_start, partner = partners_of_users(world.rooms, world.users)
    friend_start, friend = world.friends.start, world.friends.friend
    lonely = np.diff(partner_start)[user] == 0
    first = np.where(lonely, len(partner) + friend_start[user], partner_start[user])
    count = np.where(lonely, np.diff(friend_start)[user], np.diff(partner_start)[user])
    rows = np.flatnonzero(count)
    rows = rows[np.lexsort((user[rows], time_s[rows]))]
    user, ordinal = user[rows], ordinal[rows]
    drawn = uniform(seed, replication, Purpose.ENDING_OTHER, user, ordinal)
    other = np.concatenate([partner, friend])[first[rows] + (drawn * count[rows]).astype(np.int64)]
    blocks = uniform(seed, replication, Purpose.ENDING_BLOCKS, user, ordinal) < relations.block_share
    return EndingTable(time_s[rows], user.astype(np.int32), other, blocks)


def intrusions_of(world: World, intruders: Intruders) -> IntrusionTable:
    """Tries of intruders: a Poisson process over the time that each is connected on device 0.

    The victim is drawn uniformly among the others who are in a room that the intruder is not in.
    """
    if not intruders.share or not intruders.tries_per_hour:
        return no_intrusions()
    seed, replication = world.seed, world.replication
    intrudes = uniform(seed, replication, Purpose.INTRUDER, np.arange(world.users), 0) < intruders.share
    time_s, user, ordinal, session = points_while_connected(
        world.sessions, world.users, (0.0, world.duration_s), intrudes * (intruders.tries_per_hour / 3600),
        Purpose.INTRUSION_GAP, seed, replication,
    )
    victim = _victims(world, user, ordinal)
    rows = np.flatnonzero(victim >= 0)
    rows = rows[np.lexsort((user[rows], time_s[rows]))]
    user, ordinal = user[rows], ordinal[rows]
    draw = uniform(seed, replication, Purpose.INTRUSION_ROOM, user, ordinal)
    return IntrusionTable(
        time_s[rows], user.astype(np.int32), session[rows].astype(np.int32), victim[rows].astype(np.int32), draw
    )


def _victims(world: World, user: Ints, ordinal: Ints) -> Longs:
    """Whom each try is aimed at, -1 where nobody has been found: draws are repeated until they suit."""
    start, room = rooms_of_users(world.rooms, world.users)
    inside = np.sort(pair_keys(owners(world.rooms.start), world.rooms.member))
    victim = np.full(len(user), -1, np.int64)
    left = np.arange(len(user))
    for attempt in range(VICTIM_DRAWS):
        drawn = uniform(
            world.seed, world.replication, Purpose.INTRUSION_VICTIM, user[left], VICTIM_DRAWS * ordinal[left] + attempt
        )
        others = (drawn * world.users).astype(np.int64)
        suits = _has_other_room(user[left], others, start, room, inside)
        victim[left[suits]] = others[suits]
        left = left[~suits]
    return victim


def _has_other_room(user: Ints, other: Longs, start: Longs, room: Ints, inside: Keys) -> Bools:
    """Whether ``other`` is in a room that ``user`` is not in; ``inside`` are all (room, member), ascending.

    Nobody is in such a room who is the user.
    """
    rooms = np.diff(start)[other]
    row = np.repeat(np.arange(len(other)), rooms)
    place = np.arange(len(row)) - np.repeat(np.cumsum(rooms) - rooms, rooms)
    wanted = pair_keys(room[start[other][row] + place], user[row])
    found = np.searchsorted(inside, wanted)
    shared = inside[np.minimum(found, len(inside) - 1)] == wanted
    return np.bincount(row[~shared], minlength=len(other)) > 0
