"""Who hears what: the rooms of a design, the room in which each message is broadcast, and whom it is meant for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from chatsim.rules.rooms import GROUP_ROOMS, PAIR_ROOMS, PERSONAL_ROOMS, ROOM_NUMBERS, personal_room
from chatsim.scenario.models import Design
from chatsim.world.tables import PAIR, World

Longs = npt.NDArray[np.int64]
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
        self.sender: list[int] = world.messages.sender.tolist()
        self.member: list[int] = world.rooms.member.tolist()
        self.start: list[int] = world.rooms.start.tolist()
        self.meant: list[int] = world.messages.room.tolist()
        self.is_pair: list[bool] = (world.rooms.kind == PAIR).tolist()
        self.venue = self._venues()
        self.room: list[int] = self._all_rooms().tolist()
        self.exists = [True] * (self._total + world.users)
        if design.rooms_created == "first_message" and self.kind != PERSONAL_ROOMS:
            for room in np.flatnonzero((world.rooms.kind == PAIR) & ~world.rooms.known).tolist():
                self.exists[room] = False
        self._own_start, self._own_room, self._own_place = self.own()
        self._partners: dict[int, list[int]] = {}
        self._pair_room: dict[tuple[int, int], int] = {}

    def of_user(self, user: int) -> list[tuple[int, int]]:
        """The rooms that a user's sessions are in from their login on, with the user's place in each."""
        own = slice(self._own_start[user], self._own_start[user + 1])
        pairs = zip(self._own_room[own].tolist(), self._own_place[own].tolist(), strict=True)
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

    def partners(self) -> Longs:
        """The other side of each private message, -1 for those to groups."""
        world, room = self._world, self._world.messages.room
        if not len(room):
            return np.zeros(0, np.int64)
        member = np.append(world.rooms.member, 0).astype(np.int64)
        first = world.rooms.start[room]
        return np.where(world.rooms.kind[room] == PAIR, member[first] + member[first + 1] - world.messages.sender, -1)

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
        """The room of each room's messages: itself, or for a pair the smallest group that both are in."""
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

    def _all_rooms(self) -> Longs:
        """The room in which each message is broadcast, as :meth:`_of` says it of one."""
        meant = self._world.messages.room.astype(np.int64)
        if self.kind == PAIR_ROOMS:
            return meant
        if self.kind == PERSONAL_ROOMS:
            partner = self.partners()
            return np.where(partner >= 0, personal_room(0, self._total) + partner, meant)
        return np.array(self.venue, np.int64)[meant]

    def own(self) -> tuple[Longs, Longs, Longs]:
        """Where the rooms of each user begin, these rooms, created or not, and the user's place in each."""
        table, users = self._world.rooms, self._world.users
        used = np.ones(self._total, bool)
        if self.kind == PERSONAL_ROOMS:
            used = table.kind != PAIR
        elif self.kind == GROUP_ROOMS:
            used = np.array(self.venue, np.int64) == np.arange(self._total)
        room: Longs = np.repeat(np.arange(self._total), np.diff(table.start))
        place = np.arange(len(room)) - table.start[room]
        user = table.member.astype(np.int64)
        kept = used[room] if self._total else np.zeros(0, bool)
        user, room, place = user[kept], room[kept], place[kept]
        if self.kind == PERSONAL_ROOMS:
            everybody = np.arange(users)
            user = np.concatenate([user, everybody])
            room = np.concatenate([room, personal_room(0, self._total) + everybody])
            place = np.concatenate([place, np.zeros(users, np.int64)])
        order = np.argsort(user, kind="stable")
        start = np.concatenate([[0], np.cumsum(np.bincount(user, minlength=users))])
        return start, room[order], place[order]
