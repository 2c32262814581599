"""Messages and the trace as rows of tables: written one after the other where that is compiled, else by columns."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from chatsim.engine.compiled.kinds import IN_FLIGHT
from chatsim.engine.compiled.state import FIXED, NEVER, NONE
from chatsim.engine.loops import fixed, loop_of
from chatsim.engine.rooms import Rooms
from chatsim.rules.rooms import GROUP_ROOMS, PERSONAL_ROOMS, personal_room
from chatsim.world.compiling import prefetch
from chatsim.world.tables import PAIR, World

MESSAGES_AT_ONCE = 1 << 12
"""Messages of which one column after the other is written: what they take stays in the cache of a core meanwhile."""
BLANK = np.zeros(1, FIXED["messages"])
BLANK["gateway"], BLANK["fate"] = NONE, IN_FLIGHT
for _name in ("received_s", "stored_s", "routed_s", "told_s", "acked_s", "done_s"):
    BLANK[_name] = NEVER


class Given(NamedTuple):
    """What the trace says of messages, and the luck of their packets on the way up; ``opening`` is empty where it does
    not matter which open a conversation."""

    sender: npt.NDArray[np.int32]
    session: npt.NDArray[np.int32]
    size_bytes: npt.NDArray[np.int32]
    room: npt.NDArray[np.int32]
    uplink: npt.NDArray[np.float64]
    opening: npt.NDArray[np.bool_]


class Audiences(NamedTuple):
    """The rooms of the trace, and where messages that are meant for them are broadcast: there; or, with venues, in the
    venue of the room; or, where the personal rooms of users begin at a number, a private one in its reader's."""

    kind: npt.NDArray[np.uint8]
    start: npt.NDArray[np.int64]
    member: npt.NDArray[np.int32]
    venue: npt.NDArray[np.int64]
    personal: int


def audiences_of(world: World, rooms: Rooms) -> Audiences:
    """The rooms of a world as a design uses them."""
    table = world.rooms
    venue = rooms.venues if rooms.kind == GROUP_ROOMS else np.empty(0, np.int64)
    personal = personal_room(0, len(table)) if rooms.kind == PERSONAL_ROOMS else NONE
    lists = fixed(table.kind, np.uint8), fixed(table.start, np.int64), fixed(table.member, np.int32)
    return Audiences(*lists, venue, personal)


def write_messages(rows: Any, given: Given, rooms: Rooms, audiences: Audiences, first: int, pairs: int) -> int:
    """Writes messages, the first of which has the number ``first``, and ``pairs`` messages x members before it; how
    many of these there are then. The rows are blank, all zero, and modified."""
    if WRITE.fast:
        return int(WRITE.fast(rows, given, audiences, pairs))
    for begin in range(0, len(rows), MESSAGES_AT_ONCE):
        mine = slice(begin, min(begin + MESSAGES_AT_ONCE, len(rows)))
        room, start = given.room[mine], audiences.start
        sizes = start[room + 1] - start[room]
        columns: dict[str, npt.NDArray[Any]] = {
            **{name: values[mine] for name, values in given._asdict().items() if len(values)},
            "room": rooms.all_rooms(first + mine.start, first + mine.stop), "meant": room,
            "partner": rooms.partners(first + mine.start, first + mine.stop),
            "offset": pairs + np.cumsum(sizes) - sizes,
        }  # fmt: skip
        pairs += int(sizes.sum())
        fill(rows[mine], columns)
    return pairs


def fill(table: Any, columns: dict[str, npt.NDArray[Any]]) -> None:
    """Writes messages, with some columns of them."""
    # numpy copies records field by field, and bytes as they are.
    table.view(np.uint8).reshape(-1, table.itemsize)[:] = BLANK.view(np.uint8)
    for name, values in columns.items():
        table[name] = values


def _write(rows: Any, given: Given, audiences: Audiences, pairs: int) -> int:
    """The same, compiled."""
    last = len(rows) - 1
    for one in range(len(rows)):
        prefetch(audiences.start, given.room[min(one + 32, last)])
        prefetch(audiences.kind, given.room[min(one + 32, last)])
        prefetch(audiences.member, audiences.start[given.room[min(one + 16, last)]])
        row, meant = rows[one], given.room[one]
        first = audiences.start[meant]
        partner, room = NONE, np.int64(meant)
        if audiences.kind[meant] == PAIR:
            partner = np.int64(audiences.member[first]) + audiences.member[first + 1] - given.sender[one]
            if audiences.personal >= 0:
                room = audiences.personal + partner
        if len(audiences.venue):
            room = audiences.venue[meant]
        row["sender"], row["session"], row["size_bytes"] = given.sender[one], given.session[one], given.size_bytes[one]
        row["room"], row["meant"], row["partner"], row["uplink"] = room, meant, partner, given.uplink[one]
        row["offset"], row["gateway"], row["fate"] = pairs, NONE, IN_FLIGHT
        row["received_s"], row["stored_s"], row["routed_s"] = NEVER, NEVER, NEVER
        row["told_s"], row["acked_s"], row["done_s"] = NEVER, NEVER, NEVER
        if len(given.opening):
            row["opening"] = given.opening[one]
        pairs += audiences.start[meant + 1] - first
    return pairs


def write_trace(
    rows: Any, times_s: tuple[npt.NDArray[np.float64], ...], kinds: npt.NDArray[np.int64],
    numbers: npt.NDArray[np.int64],
) -> None:
    """Writes what begins, in the order of time; of things of different kinds at one time the first kind is first. Of
    each kind there are some times, ascending, the first of which is of a number. Modifies the rows."""
    if MERGE.fast:
        MERGE.fast(rows, times_s, kinds, numbers)
        return
    count = [len(times) for times in times_s]
    order = np.argsort(np.concatenate(times_s), kind="stable")
    number = [first + np.arange(many) for first, many in zip(numbers.tolist(), count, strict=True)]
    rows["kind"], rows["number"] = np.repeat(kinds, count)[order], np.concatenate(number)[order]
    rows["time_s"] = np.concatenate(times_s)[order]


def _merge(rows: Any, times_s: Any, kinds: npt.NDArray[np.int64], numbers: npt.NDArray[np.int64]) -> None:
    """The same, compiled."""
    one, two, three, four = times_s
    at_one, at_two, at_three, at_four = 0, 0, 0, 0
    for place in range(len(rows)):
        time_s, which, number = np.inf, 4, 0
        if at_one < len(one):
            time_s, which, number = one[at_one], 0, at_one
        if at_two < len(two) and (which == 4 or two[at_two] < time_s):
            time_s, which, number = two[at_two], 1, at_two
        if at_three < len(three) and (which == 4 or three[at_three] < time_s):
            time_s, which, number = three[at_three], 2, at_three
        if at_four < len(four) and (which == 4 or four[at_four] < time_s):
            time_s, which, number = four[at_four], 3, at_four
        at_one, at_two = at_one + (which == 0), at_two + (which == 1)
        at_three, at_four = at_three + (which == 2), at_four + (which == 3)
        row = rows[place]
        row["kind"], row["number"], row["time_s"] = kinds[which], numbers[which] + number, time_s


WRITE, MERGE = loop_of(_write), loop_of(_merge)
