"""Access in a run: what sessions know of their rights, ties that end, and how long it takes until that counts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from chatsim.engine.outcome import Cause, Work
from chatsim.engine.station import Request
from chatsim.rules.access import (
    CHECK_NUMBERS,
    CONNECT,
    FRIENDS,
    OPEN,
    POLICY_NUMBERS,
    asks_database,
    may_enter,
    may_write,
    remembered,
    renews_token,
)

if TYPE_CHECKING:
    from chatsim.engine.session import Session
    from chatsim.engine.stage import Gateway, Stage
    from chatsim.engine.station import Task

FOR_EVER = math.inf


class Access:
    """Rights are known as of a time: when a session connected, its token was issued, or the database was asked."""

    def __init__(self, stage: Stage) -> None:
        asked = stage.scenario.access
        self.stage = stage
        self.policy, self.check = POLICY_NUMBERS[asked.policy], CHECK_NUMBERS[asked.check]
        self.token_life_s, self.cache_s = asked.token_life_s, asked.cache_s
        costs = stage.scenario.gateway
        self.token_us = costs.token_rs256_us if asked.signature == "rs256" else costs.token_us
        self.renews = renews_token(self.policy, self.check)
        self.asks = asks_database(self.policy, self.check)
        self.reads_friends = self.policy == FRIENDS and self.check == CONNECT
        self.message_us = costs.receive_us + (self.token_us if self.renews else 0.0)
        self.ended_s: dict[tuple[int, int], float] = {}
        self.answers: dict[tuple[int, int, int], float] = {}
        self._holding: dict[Session, None] = {}
        self._old_rights: dict[Session, list[int]] = {}
        self._holders: dict[int, int] = {}

    def verdict(self, message: int) -> Cause:
        """What the sender's session may do by what it brings itself; what the database says comes later."""
        if self.policy == OPEN or self.asks:
            return Cause.NONE
        return self._verdict(message, self.stage.session_of(message).rights_s)

    def must_ask(self, message: int, gateway: Gateway) -> bool:
        """Whether the database must be asked about a message now: private, and no answer is remembered."""
        partner = self.stage.rooms.partner(message)
        if not self.asks or partner < 0:
            return False
        asked_s = self.answers.get((gateway.number, self.stage.sender[message], partner), -FOR_EVER)
        return not remembered(asked_s, self.stage.clock.now, self.cache_s)

    def question(self, message: int, gateway: Gateway, reply: Task) -> Request:
        """At the database: are these two friends?"""
        key = (gateway.number, self.stage.sender[message], self.stage.rooms.partner(message))

        def act() -> None:
            self.answers[key] = self.stage.clock.now

        return Request(gateway, Work.RELATION, self.stage.scenario.database.relation_us, reply, act)

    def answer(self, message: int, gateway: Gateway) -> Cause:
        """The verdict by the answer of the database that counts at a gateway."""
        partner = self.stage.rooms.partner(message)
        if not self.asks or partner < 0:
            return Cause.NONE
        key = (gateway.number, self.stage.sender[message], partner)
        return self._verdict(message, self.answers.get(key, self.stage.clock.now))

    def lets_in(self, user: int, room: int) -> bool:
        """Whether a user may come into a room of which it is no member."""
        members = self.stage.rooms.members(room)
        return may_enter(self.policy, user in members, any(self._knows(user, member) for member in members))

    def renewed(self, session: Session) -> None:
        """A session shows a token issued now, or connects with one: what has ended before counts for it."""
        self._drop_old(session)
        session.rights_s = self.stage.clock.now
        self._holding[session] = None

    def gone(self, session: Session) -> None:
        """A session has ended, and its rights with it."""
        self._holding.pop(session, None)
        self._drop_old(session)

    def forget(self, gateway: int) -> None:
        """A gateway has died, and with it the answers that it remembered."""
        for key in [key for key in self.answers if key[0] == gateway]:
            del self.answers[key]

    def tie_ends(self, ending: int) -> None:
        """A user ends a tie, or blocks the other; noted when no gateway takes a message across it any more."""
        stage, table = self.stage, self.stage.world.endings
        user, other = int(table.user[ending]), int(table.other[ending])
        now_s = stage.clock.now
        stopped = [(other, user)] if table.blocks[ending] else [(user, other), (other, user)]
        for pair in stopped:
            self.ended_s.setdefault(pair, now_s)
        if self.policy == OPEN:
            return
        if self.asks:
            asked = [
                asked_s
                for (_, writer, partner), asked_s in self.answers.items()
                if (writer, partner) in stopped and remembered(asked_s, now_s, self.cache_s)
            ]
            stage.notes.effective_s[ending] = max((asked_s + self.cache_s for asked_s in asked), default=now_s)
            return
        writers = {writer for writer, _ in stopped}
        holders = [session for session in self._holding if session.user in writers]
        self._holders[ending] = len(holders)
        for session in holders:
            self._old_rights.setdefault(session, []).append(ending)
        if not holders:
            stage.notes.effective_s[ending] = now_s

    def _drop_old(self, session: Session) -> None:
        for ending in self._old_rights.pop(session, ()):
            self._holders[ending] -= 1
            if not self._holders[ending]:
                self.stage.notes.effective_s[ending] = self.stage.clock.now

    def _verdict(self, message: int, rights_s: float) -> Cause:
        partner = self.stage.rooms.partner(message)
        if partner < 0:
            return Cause.NONE
        ended_s = self.ended_s.get((self.stage.sender[message], partner), FOR_EVER)
        return Cause.NONE if may_write(self.policy, rights_s, ended_s) else Cause.FORBIDDEN

    def _knows(self, user: int, other: int) -> bool:
        if (user, other) in self.ended_s:
            return False
        return other in self.stage.rooms.friends(user)
