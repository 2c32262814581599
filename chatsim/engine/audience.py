"""For whom each message is: the members of its room, as loops go through them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from chatsim.engine.loops import fixed
from chatsim.world.orders import blocks
from chatsim.world.tables import World

Longs = npt.NDArray[np.int64]
Ints = npt.NDArray[np.int32]

IS_MEANT, STEP = 8, 16
"""What is known of a user in a message, beside the number of that times the last of these: that it is for that user.
Lower bits are for who asks."""
AHEAD = 16
"""The members for whom the message after so many is are asked for: rooms are far away from each other in memory."""
ROOMS_AT_ONCE = 1 << 12
"""Where members of so many rooms begin, and end, is looked up while that is near."""


class Audience(NamedTuple):
    """Messages and the members of the rooms they are for: those of message m are ``member[at[m]:]``, as many as
    ``first[m + 1] - first[m]``, which also numbers messages x members."""

    first: Longs
    at: Longs
    member: Ints
    sender: Ints


def audience(world: World, meant: Longs) -> Audience:
    """For whom each message is; ``meant`` says for the members of which room."""
    at, first, start = np.empty(len(meant), np.int64), np.zeros(len(meant) + 1, np.int64), world.rooms.start
    for part in blocks(len(meant), ROOMS_AT_ONCE):
        rooms = meant[part]
        at[part] = start[rooms]
        first[1:][part] = start[rooms + 1] - at[part]
    np.cumsum(first, out=first)
    return Audience(first, at, fixed(world.rooms.member, np.int32), fixed(world.messages.sender, np.int32))


def mark(people: Audience, one: int, known: Longs) -> None:
    """Has those known whom a message is for: all members of its room but its sender, who need not be one."""
    first = people.at[one]
    for place in range(first, first + people.first[one + 1] - people.first[one]):
        known[people.member[place]] = STEP * one + IS_MEANT
    known[people.sender[one]] = STEP * one


def order_rows(message: Ints, end: Longs, order: Ints) -> None:
    """Writes the order of rows by message, and where those of each message end."""
    for row in range(len(message)):
        end[message[row] + 1] += 1
    for one in range(1, len(end)):
        end[one] += end[one - 1]
    for row in range(len(message)):
        order[end[message[row]]] = row
        end[message[row]] += 1
