"""For whom each message is: the members of its room, as loops go through them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from chatsim.engine.loops import Numbers, numbers
from chatsim.world.compiling import prefetch
from chatsim.world.orders import blocks
from chatsim.world.tables import World

Longs = npt.NDArray[np.int64]

IS_MEANT, STEP = 8, 16
"""What is known of a user in a message, beside the number of that times the last of these: that it is for that user.
Lower bits are for who asks."""
AHEAD = 16
"""The members for whom the message after so many is are asked for: rooms are far away from each other in memory."""
FEW = 8
"""Of so many users, or fewer, it is looked up whether a message is for them; else all whom it is for are marked."""
ROOMS_AT_ONCE = 1 << 12
"""Where members of so many rooms begin, and end, is looked up while that is near."""


class Audience(NamedTuple):
    """Messages and the members of the rooms they are for: those of message m are ``member[at[m]:]``, as many as
    ``members[m]``; ``first`` numbers messages x members."""

    first: Longs
    at: npt.NDArray[np.uint64]
    members: Numbers
    member: Numbers
    sender: Numbers


def audience(world: World, meant: Longs) -> Audience:
    """For whom each message is; ``meant`` says for the members of which room."""
    at, members, start = np.empty(len(meant), np.uint64), np.empty(len(meant), np.uint32), world.rooms.start
    for part in blocks(len(meant), ROOMS_AT_ONCE):
        rooms = meant[part]
        at[part] = start[rooms]
        members[part] = start[rooms + 1] - start[rooms]
    first = np.zeros(len(meant) + 1, np.int64)
    np.cumsum(members, out=first[1:])
    return Audience(first, at, members, numbers(world.rooms.member), numbers(world.messages.sender))


def nothing_known(count: int, messages: int) -> npt.NDArray[Any]:
    """What is known of users, or sessions, before the first of so many messages: numbers that are no wider than these
    need, since they are looked at here and there."""
    return np.full(count, -1, np.int32 if STEP * messages < 2**31 else np.int64)


def others(people: Audience, one: int, here: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """How many a message is for, and how many sessions they have by a count for each user: all members of its room but
    its sender, who need not be one."""
    first, sender, senders, there = people.at[one], people.sender[one], 0, 0
    for place in range(first, first + people.members[one]):
        user = people.member[place]
        senders += user == sender
        there += here[user]
    return people.members[one] - senders, there - senders * here[sender]


def ready(people: Audience, one: int, asking: int, known: Any) -> None:
    """Has the members come near whom a later message is for; and if many are asked about in this one, has all those
    known whom it is for."""
    prefetch(people.member, people.at[min(one + AHEAD, len(people.at) - 1)])
    if asking <= FEW:
        return
    first = people.at[one]
    for place in range(first, first + people.members[one]):
        known[people.member[place]] = STEP * one + IS_MEANT
    known[people.sender[one]] = STEP * one


def known_of(people: Audience, one: int, user: int, known: Any) -> int:
    """What is known of a user in a message; at first, whether it is for that user."""
    told = known[user] - STEP * one
    if told >= 0:
        return int(told)
    first, is_member = people.at[one], 0
    for place in range(first, first + people.members[one]):
        is_member |= people.member[place] == user
    told = IS_MEANT if is_member and user != people.sender[one] else 0
    known[user] = STEP * one + told
    return int(told)


ASKING_WHO = others, ready, known_of
"""What a loop that asks for whom messages are is compiled with."""


def order_rows(message: Numbers, end: Longs, order: Numbers) -> None:
    """Writes the order of rows by message, and where those of each message end."""
    for row in range(len(message)):
        end[message[row] + 1] += 1
    for one in range(1, len(end)):
        end[one] += end[one - 1]
    for row in range(len(message)):
        order[end[message[row]]] = row
        end[message[row]] += 1
