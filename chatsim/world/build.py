"""From a scenario to its world: by the behaviour model, or from a real log."""

from __future__ import annotations

import math

import numpy as np

from chatsim.scenario.errors import InputError
from chatsim.scenario.models import Scenario, Workload
from chatsim.world.behaviour import Spoken, converse, message_sizes
from chatsim.world.compiling import Loop, load_if_worth_it
from chatsim.world.draws import BLOCK
from chatsim.world.groups import build_groups
from chatsim.world.orders import blocks
from chatsim.world.pairs import HALF, Keys, places_of_edges, unique_sorted, users_of
from chatsim.world.partners import build_partners, known_pairs
from chatsim.world.population import build_friends
from chatsim.world.sessions import DAY_S, build_sessions, lead_s, length_s_mean
from chatsim.world.shelf import put_back, write
from chatsim.world.spam import refuse_too_much_spam
from chatsim.world.tables import (
    GROUP,
    PAIR,
    ROWS_MAX,
    Bools,
    Contacts,
    Ints,
    Longs,
    MessageTable,
    Rooms,
    World,
    no_endings,
    no_intrusions,
)
from chatsim.world.trouble import with_trouble

TIES_MAX = 1_000_000_000
"""About 20 GB while the graph is built: 190 million take 4 GB."""
MESSAGES_AT_ONCE = 1 << 18
COST_S = {"sessions": 4e-6, "messages": 15e-6, "entries in friend lists": 6e-7}
"""What a row takes without compiled loops."""


def build_world(scenario: Scenario, replication: int = 0) -> World:
    """The people and the trace of one replication of a scenario.

    A function of ``scenario.workload``, ``scenario.seed`` and ``replication`` alone: designs, costs and networks do not
    change it, and the same three give the same bytes. Raises InputError where a file is wrong or the trace too long.

    >>> world = build_world(Scenario.model_validate({"workload": {"users": 50, "duration_s": 60.0}}))
    >>> bool((np.diff(world.messages.time_s) >= 0).all())
    True
    """
    workload = scenario.workload
    if workload.trace:
        from chatsim.world.trace import import_trace

        world = import_trace(workload, scenario.seed, replication)
    else:
        _refuse_too_large(workload)
        load_if_worth_it(sum(COST_S[what] * count for what, count in _expected(workload).items()))
        world = _model_world(workload, scenario.seed, replication)
    return with_trouble(world, workload)


def _model_world(workload: Workload, seed: int, replication: int) -> World:
    friends = build_friends(workload, seed, replication)
    groups = build_groups(workload, friends, seed, replication)
    put_back(friends.friend, friends.strength)
    sessions = build_sessions(workload, seed, replication, friends)
    partners = build_partners(friends, workload.conversations.known_partners_mean, seed, replication)
    contacts, known = Contacts(partners.known_start, partners.known), known_pairs(partners)
    spoken = converse(workload, sessions, partners, groups, seed, replication)
    del partners  # among them stand all friends again
    rooms, room = rooms_of(known, spoken, groups, workload.users)
    messages = MessageTable(
        spoken.time_s, spoken.sender, spoken.session, room,
        message_sizes(workload, spoken.sender, seed, replication), np.zeros(len(room), bool),
    )
    return World(
        workload.users, workload.duration_s, seed, replication, friends, rooms, sessions, messages,
        contacts, no_endings(), no_intrusions(),
    )


def rooms_of(known: Keys, spoken: Spoken, groups: tuple[Longs, Ints], users: int) -> tuple[Rooms, Ints]:
    """All rooms, and the room of each message: a room per pair that has written (before the run, or in it), in the
    order of the pairs, then the groups. Pairs of ``known``, and groups, have written before the run. The room of a
    message comes to stand where its conversation did."""
    is_told = np.zeros(len(spoken.user), bool)
    for part in blocks(len(spoken.conversation), MESSAGES_AT_ONCE):
        is_told[spoken.conversation[part]] = True
    room, written = np.empty(len(spoken.user), np.int32), np.empty(len(spoken.user), np.uint64)
    written = written[: LIST_WRITTEN(spoken.user, spoken.peer, is_told, written)]
    pairs = unique_sorted(np.concatenate([known, written])).copy()
    TAKE_ROOMS(spoken.peer, is_told, len(pairs), places_of_edges(pairs, written, users), room)
    del written
    kind = np.repeat(np.array([PAIR, GROUP], np.uint8), [len(pairs), len(groups[0]) - 1])
    start = np.concatenate([np.arange(0, 2 * len(pairs), 2, dtype=np.int64), 2 * len(pairs) + groups[0]])
    member = np.empty(2 * len(pairs) + len(groups[1]), np.int32)
    member[2 * len(pairs):] = groups[1]
    for part in blocks(len(pairs), BLOCK):
        paired = member[2 * part.start:2 * part.stop]
        paired[::2], paired[1::2] = users_of(pairs[part])
    before = np.ones(len(kind), bool)
    before[: len(pairs)] = False
    before[places_of_edges(pairs, known, users)] = True
    for part in blocks(len(spoken.conversation), MESSAGES_AT_ONCE):
        write(spoken.conversation[part], room[spoken.conversation[part]])
        put_back(spoken.conversation[part])
    return Rooms(kind, start, member, before), spoken.conversation


def _list_written(user: Ints, peer: Ints, is_told: Bools, written: Keys) -> int:
    """The pairs of conversations that were told and are of two users; how many these are."""
    count = 0
    for one in range(len(user)):
        if is_told[one] and peer[one] >= 0:
            lower, higher = min(user[one], peer[one]), max(user[one], peer[one])
            written[count] = np.uint64(lower) << HALF | np.uint64(higher)
            count += 1
    return count


def _take_rooms(peer: Ints, is_told: Bools, pairs: int, place: Longs, room: Ints) -> None:
    """The room of each conversation: the places of pairs stand in the order of conversations."""
    at = 0
    for one in range(len(peer)):
        room[one] = 0
        if is_told[one] and peer[one] >= 0:
            room[one] = place[at]
            at += 1
        elif is_told[one]:
            room[one] = pairs - 1 - peer[one]


LIST_WRITTEN, TAKE_ROOMS = Loop(_list_written), Loop(_take_rooms)


def _expected(workload: Workload) -> dict[str, float]:
    """How many rows the tables of a world will have."""
    days = (workload.duration_s + lead_s(workload.sessions)) / DAY_S
    return {
        "sessions": workload.users * days * workload.sessions.per_day,
        "messages": workload.users * workload.duration_s / DAY_S * workload.conversations.messages_per_day,
        "entries in friend lists": workload.users * min(workload.friends.degree_mean, workload.users - 1),
    }


def _refuse_too_large(workload: Workload) -> None:
    """Says before the work starts that the trace, or the friend graph, would not fit in memory."""
    rows = _expected(workload)
    ties = rows.pop("entries in friend lists")
    for what, count in rows.items():
        if count > ROWS_MAX:
            raise InputError(
                f"workload.duration_s = {workload.duration_s:g} with {workload.users:,} users: about {count:.2g} "
                f"{what}; at most {ROWS_MAX:,} are allowed ('estimate' takes any number)"
            )
    spam, sessions = workload.spam, workload.sessions
    connected_share = -math.expm1(-sessions.per_day / DAY_S * length_s_mean(sessions))
    refuse_too_much_spam(
        workload, spam.share * workload.users * spam.messages_per_s * workload.duration_s * connected_share
    )
    if ties > TIES_MAX and not workload.friends.file:
        raise InputError(
            f"workload.users = {workload.users:,} with {workload.friends.degree_mean:g} friends each: {ties:.2g} "
            f"entries in friend lists; at most {TIES_MAX:,} are allowed ('estimate' takes any number)"
        )
