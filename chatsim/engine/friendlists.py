"""Friend lists in a run: what loading one costs at login, and what happens to those who write to somebody not on it."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import numpy as np

from chatsim.engine.outcome import Work
from chatsim.engine.station import Request, Station, Task
from chatsim.rules.detour import GIVE_UP, NONE, OTHER, detour
from chatsim.rules.ranking import ALL, ONLINE_FIRST, POLICY_NUMBERS, RANDOM, is_listed
from chatsim.world.contacts import FriendLists as Lists
from chatsim.world.contacts import friend_lists, listed_friends
from chatsim.world.draws import Purpose, uniform

if TYPE_CHECKING:
    from chatsim.engine.session import Session
    from chatsim.engine.stage import Gateway, Stage

BY_DATABASE = (ALL, RANDOM)
"""These need no ranking: the table of friends is read. The others read a sorted set of the broker, if there is one."""
NO_POLICY = -1
WRITES_PER_CHAT = 2
"""A chat moves each of the two on the other's list."""


class FriendLists:
    """The lists of a run. Whom they hold follows from the trace alone; what that costs and causes, from the design."""

    def __init__(self, stage: Stage) -> None:
        asked = stage.scenario.friend_list
        self.stage, self.asked = stage, asked
        self.loads = asked.policy != "none"
        self.ranked = False
        if not self.loads and stage.scenario.presence.how != "pull":
            return
        world = stage.world
        self.policy = POLICY_NUMBERS.get(asked.policy, NO_POLICY)
        self.lists: Lists = friend_lists(world, asked.policy, asked.half_life_s, asked.kept, asked.opening_gap_s)
        self.opening: list[bool] = self.lists.opening.tolist()
        self.conversation: list[int] = self.lists.conversation.tolist()
        self.rank: list[int] = self.lists.rank.tolist()
        self._size: list[int] = self.lists.size.tolist()
        if self.loads:
            private = self.lists.conversation >= 0
            stage.notes.listed_rank = array("i", np.where(private, self.lists.rank, -1).tolist())
        stage.notes.opening = array("b", self.lists.opening.tolist())
        self.ranked = self.loads and self.policy not in BY_DATABASE and stage.scenario.has_broker
        every = np.arange(len(world.messages))
        self._luck = uniform(world.seed, world.replication, Purpose.DETOUR, every, 0).tolist()
        self._choice = uniform(world.seed, world.replication, Purpose.DISTRACTION, every, 0).tolist()
        self._ended: set[int] = set()
        self._other: dict[int, tuple[int, int]] = {}
        self._listed: tuple[np.ndarray, np.ndarray] | None = None
        self._emptied = False
        self._warm: set[int] = set()

    def size(self, session: Session) -> int:
        """How many friends and contacts a session's user has when it starts: the list before its limit."""
        if session.number < len(self._size):
            return self._size[session.number]
        return len(self.stage.rooms.friends(session.user))

    def length(self, session: Session) -> int:
        """How many friends a session loads."""
        size = self.size(session)
        return size if self.policy == ALL else min(size, self.asked.limit)

    def listed(self, session: Session) -> list[int]:
        """The friends on a session's list as it was loaded, best first; none for one that a push has brought."""
        if self._listed is None:
            limit = None if self.policy == ALL else self.asked.limit
            self._listed = listed_friends(self.stage.world, self.asked.policy, self.asked.half_life_s, limit)
        start, users = self._listed
        if session.number >= len(start) - 1:
            return []
        found: list[int] = users[start[session.number] : start[session.number + 1]].tolist()
        return found

    def requests(self, session: Session) -> list[tuple[Station, Request]]:
        """What a gateway asks to load a session's list: the list, and the state of each one on it."""
        stage, gateway = self.stage, session.gateway
        broker, database, costs = stage.scenario.broker, stage.scenario.database, stage.scenario.gateway
        size, length = self.size(session), self.length(session)
        reply = Task(stage.clock, costs.parse_us + costs.friend_us * length)
        asks: list[tuple[Station, Request]] = []
        if self.ranked and self._emptied and session.user not in self._warm:
            read = length
            asks += self._filling(session, size, reply)
        elif self.ranked:
            read = size if self.policy == ONLINE_FIRST else length
            node = stage.node_of_user(session.user)
            cost_us = broker.list_us + broker.list_entry_us * read
            asks.append((node, Request(gateway, Work.LIST, cost_us, reply)))
        else:
            read = length
            cost_us = database.friends_us + database.friend_us * size
            asks.append((stage.database, Request(gateway, Work.LIST, cost_us, reply)))
        if stage.scenario.has_broker:
            node = stage.node_of_user(session.user)
            cost_us = broker.lookup_us + broker.lookup_user_us * read
            asks.append((node, Request(gateway, Work.STATE, cost_us, Task(stage.clock, costs.parse_us))))
        return asks

    def empty(self) -> None:
        """The ranked lists in the broker are gone: each is made again from the database when it is asked for."""
        self._emptied = True
        self._warm.clear()

    def _filling(self, session: Session, size: int, reply: Task) -> list[tuple[Station, Request]]:
        """A list is read from the database and put into the broker."""
        stage, gateway = self.stage, session.gateway
        broker, database = stage.scenario.broker, stage.scenario.database
        self._warm.add(session.user)
        read = Request(gateway, Work.LIST, database.friends_us + database.friend_us * size, reply)
        parse = Task(stage.clock, stage.scenario.gateway.parse_us)
        kept = Request(gateway, Work.UPDATE, broker.update_us * max(1, size), parse, times=max(1, size))
        return [(stage.database, read), (stage.node_of_user(session.user), kept)]

    def detour(self, message: int, session: Session) -> int:
        """What the writer of a message does: nothing unless the conversation opens with somebody who is not listed."""
        if not self.opening[message]:
            return NONE
        listed = is_listed(self.policy, self.rank[message], self.asked.limit)
        if listed:
            return NONE
        choice = detour(self._luck[message], self.asked.search_share, self.asked.other_share)
        if choice == OTHER and not self._turn_to_other(message, session):
            choice = GIVE_UP
        if choice == GIVE_UP:
            self._ended.add(self.conversation[message])
        self.stage.notes.detour[message] = choice
        return choice

    def is_written(self, message: int) -> bool:
        """Whether a message is written: not in a conversation given up, nor by one who never heard of it."""
        conversation = self.conversation[message]
        if conversation in self._ended:
            return False
        turned = self._other.get(conversation)
        if turned is None:
            return True
        sender, other = turned
        return self.stage.sender[message] == sender and self.stage.rooms.redirect(message, other)

    def moves(self, message: int) -> bool:
        """Whether a message moves its two on each other's list, kept in a sorted set of the broker."""
        return self.ranked and self.stage.rooms.partner(message) >= 0

    def noted(self, message: int, gateway: Gateway) -> None:
        """A chat moves both on each other's list: one command, which the broker takes with no reply that counts."""
        if self.moves(message):
            cost_us = self.stage.scenario.broker.update_us * WRITES_PER_CHAT
            node = self.stage.node_of_user(self.stage.sender[message])
            gateway.send(node, Request(gateway, Work.UPDATE, cost_us, times=WRITES_PER_CHAT))

    def _turn_to_other(self, message: int, session: Session) -> bool:
        wanted = self.stage.rooms.partner(message)
        others = [user for user in self.listed(session) if user != wanted]
        first = int(self._choice[message] * len(others))
        for user in [*others[first:], *others[:first]]:
            if self.stage.rooms.redirect(message, user):
                self._other[self.conversation[message]] = (self.stage.sender[message], user)
                return True
        return False
