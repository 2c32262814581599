"""Who hears what: the rooms of a design, the room in which each message is broadcast, and whom it is meant for."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from chatsim.rules.rooms import GROUP_ROOMS, PAIR_ROOMS, PERSONAL_ROOMS, ROOM_NUMBERS, personal_room
from chatsim.scenario.models import Design
from chatsim.world.orders import blocks, grouped
from chatsim.world.population import owners
from chatsim.world.shelf import column
from chatsim.world.tables import PAIR, World

Longs = npt.NDArray[np.int64]
BLOCK = 1 << 18
NO_PLACE = -1
"""The place of a session in a room of which its user is no member."""


class Rooms:
    """The rooms of a world as a design uses them.

    ``meant[message]`` is the room of the trace whose members are the message's audience, ``room[message]`` the one in
    which it is broadcast: the same with pair rooms; the recipient's own with personal rooms; the smallest group that
    both are in with group rooms. Personal rooms are numbered after all others. ``exists[room]`` turns true with the
    first message where rooms are created by it.
    """

    def __init__(self, world: World, design: Design) -> None:
        self.kind = ROOM_NUMBERS[design.rooms]
        self._world = world
        self._total = len(world.rooms)
        self._creates = design.rooms_created == "first_message" and self.kind != PERSONAL_ROOMS
        self._partners: dict[int, list[int]] = {}
        self._pair_room: dict[tuple[int, int], int] = {}

    # Lists are what Python reads fastest. They are made where they are needed: the compiled engine reads arrays.

    @cached_property
    def sender(self) -> list[int]:
        """The sender of each message."""
        found: list[int] = self._world.messages.sender.tolist()
        return found

    @cached_property
    def member(self) -> list[int]:
        """The members of all rooms of the trace, one room after the other."""
        found: list[int] = self._world.rooms.member.tolist()
        return found

    @cached_property
    def start(self) -> list[int]:
        """Where the members of each room begin."""
        found: list[int] = self._world.rooms.start.tolist()
        return found

    @cached_property
    def meant(self) -> list[int]:
        """For the members of which room each message is meant."""
        found: list[int] = self._world.messages.room.tolist()
        return found

    @cached_property
    def is_pair(self) -> list[bool]:
        """Whether each room is that of a pair."""
        found: list[bool] = (self._world.rooms.kind == PAIR).tolist()
        return found

    @cached_property
    def room(self) -> list[int]:
        """The room in which each message is broadcast."""
        found: list[int] = self.all_rooms().tolist()
        return found

    @cached_property
    def exists(self) -> list[bool]:
        """Whether each room has been created."""
        found: list[bool] = self.exist_at_first().tolist()
        return found

    @cached_property
    def venue(self) -> list[int]:
        """The room of each room's messages: itself, or for a pair the smallest group that both are in."""
        return self._venues()

    @cached_property
    def venues(self) -> Longs:
        """The same as an array."""
        return np.array(self.venue, np.int64)

    @cached_property
    def pairs(self) -> int:
        """Messages x members of the rooms that they are meant for."""
        room, sizes = self._world.messages.room, np.diff(self._world.rooms.start).astype(np.int32)
        return sum(int(sizes.take(room[part]).sum(dtype=np.int64)) for part in blocks(len(room), BLOCK))

    @cached_property
    def _own(self) -> tuple[Longs, Longs, Longs]:
        return self.own()

    def exist_at_first(self) -> npt.NDArray[np.bool_]:
        """Whether each room, of the trace or of a user, exists before the run."""
        exists = np.ones(self._total + self._world.users, bool)
        if self._creates:
            exists[np.flatnonzero((self._world.rooms.kind == PAIR) & ~self._world.rooms.known)] = False
        return exists

    def of_user(self, user: int) -> list[tuple[int, int]]:
        """The rooms that a user's sessions are in from their login on, with the user's place in each."""
        own_start, own_room, own_place = self._own
        own = slice(own_start[user], own_start[user + 1])
        pairs = zip(own_room[own].tolist(), own_place[own].tolist(), strict=True)
        return [(room, place) for room, place in pairs if self.exists[room]]

    def members(self, room: int) -> list[int]:
        """The members of a room, ascending."""
        if room >= self._total:
            return [room - self._total]
        return self.member[self.start[room] : self.start[room + 1]]

    def recipients(self, message: int) -> list[int]:
        """The audience of a message: the members of the room it is meant for without its sender, ascending."""
        room, sender = self.meant[message], self.sender[message]
        return [user for user in self.member[self.start[room] : self.start[room + 1]] if user != sender]

    def partner(self, message: int) -> int:
        """The other side of a private message, or -1."""
        room = self.meant[message]
        if not self.is_pair[room]:
            return -1
        return self.member[self.start[room]] + self.member[self.start[room] + 1] - self.sender[message]

    def partners(self, message: int = 0, end: int | None = None) -> Longs:
        """The other side of each private message, -1 for those to groups: of all messages, or of those from ``message``
        to ``end``."""
        world, mine = self._world, slice(message, end)
        room = world.messages.room[mine]
        private = world.rooms.kind[room] == PAIR
        first, sender = world.rooms.start[room[private]], world.messages.sender[mine][private]
        partners = np.full(len(room), -1, np.int64)
        partners[private] = world.rooms.member[first].astype(np.int64) + world.rooms.member[first + 1] - sender
        return partners

    def friends(self, user: int) -> list[int]:
        """A user's friends; where nobody has any, as in the world of a log, those with whom it shares a pair room."""
        graph = self._world.friends
        if len(graph.friend):
            own: list[int] = graph.friend[graph.start[user] : graph.start[user + 1]].tolist()
            return own
        if not self._partners:
            pairs = np.flatnonzero(self._world.rooms.kind == PAIR).tolist()
            for one, other in (self.members(room) for room in pairs):
                self._partners.setdefault(one, []).append(other)
                self._partners.setdefault(other, []).append(one)
        return self._partners.get(user, [])

    def place(self, message: int, user: int) -> int:
        """A user's place in the room that a message is meant for, or NO_PLACE."""
        room = self.meant[message]
        first, end = self.start[room], self.start[room + 1]
        try:
            return self.member.index(user, first, end) - first
        except ValueError:
            return NO_PLACE

    def redirect(self, message: int, recipient: int) -> bool:
        """Sends a private message to somebody else with whom its sender has a room; False where there is none."""
        room = self.shared(self.sender[message], recipient)
        if room < 0:
            return False
        self.meant[message] = room
        self.room[message] = self._of(message)
        return True

    def shared(self, user: int, other: int) -> int:
        """The room of a pair, or -1 where the two have none."""
        if not self._pair_room:
            pairs = np.flatnonzero(self._world.rooms.kind == PAIR)
            first = self._world.rooms.start[pairs]
            keys = zip(*(self._world.rooms.member[first + side].tolist() for side in (0, 1)), strict=True)
            self._pair_room = dict(zip(keys, pairs.tolist(), strict=True))
        return self._pair_room.get((min(user, other), max(user, other)), -1)

    def _of(self, message: int) -> int:
        room = self.meant[message]
        if not self.is_pair[room] or self.kind == PAIR_ROOMS:
            return room
        if self.kind == PERSONAL_ROOMS:
            return personal_room(self.partner(message), self._total)
        return self.venue[room]

    def _venues(self) -> list[int]:
        rooms = list(range(self._total))
        if self.kind != GROUP_ROOMS:
            return rooms
        groups_of: dict[int, set[int]] = {}
        for group in (room for room in rooms if not self.is_pair[room]):
            for user in self.members(group):
                groups_of.setdefault(user, set()).add(group)
        nobody: set[int] = set()
        for room in rooms:
            if self.is_pair[room]:
                one, other = self.members(room)
                shared = groups_of.get(one, nobody) & groups_of.get(other, nobody)
                rooms[room] = min(shared, key=lambda group: (len(self.members(group)), group), default=room)
        return rooms

    def all_rooms(self, first: int = 0, end: int | None = None) -> Longs:
        """The room in which each message is broadcast, as :meth:`_of` says it of one: of all messages, or of those from
        ``first`` to ``end``."""
        meant = self._world.messages.room[first:end].astype(np.int64)
        if self.kind == PAIR_ROOMS:
            return meant
        if self.kind == PERSONAL_ROOMS:
            partner = self.partners(first, end)
            return np.where(partner >= 0, personal_room(0, self._total) + partner, meant)
        return self.venues[meant]

    def own(self, kind: npt.DTypeLike = np.int64) -> tuple[Longs, npt.NDArray[Any], npt.NDArray[Any]]:
        """Where the rooms of each user begin, these rooms, created or not, and the user's place in each, as numbers of
        a ``kind``."""
        start, member = self.with_personal()
        used = np.ones(len(start) - 1, bool)
        if self.kind == PERSONAL_ROOMS:
            used[: self._total] = self._world.rooms.kind != PAIR
        elif self.kind == GROUP_ROOMS:
            used[:] = self.venues == np.arange(self._total)
        of = owners(start)
        entries = None if used.all() else np.flatnonzero(used[of])
        own_start, order = grouped(member if entries is None else member[entries], self._world.users)
        room, place = column(len(order), kind), column(len(order), kind)
        for part in blocks(len(order), BLOCK):
            entry = order[part] if entries is None else entries[order[part]]
            room[part] = of[entry]
            place[part] = entry - start[room[part]]
        return own_start, room, place

    def with_personal(self) -> tuple[Longs, npt.NDArray[np.int32]]:
        """Where the members of each room begin, and they, the rooms of single users after all others where there are
        such rooms."""
        table, personal = self._world.rooms, self._world.users if self.kind == PERSONAL_ROOMS else 0
        if not personal:
            return table.start, table.member
        own = np.arange(personal, dtype=np.int32)
        return np.concatenate([table.start, table.start[-1] + 1 + own]), np.concatenate([table.member, own])
