"""What a gateway asks of Redis for its users: lists and states, whether they may write, whether a push is due."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any

from websockets.asyncio.connection import broadcast

from chatsim.live.frames import MalformedError, plain
from chatsim.live.hall import Seat
from chatsim.live.ledger import FORBIDDEN, TAKEN
from chatsim.rules.access import FRIENDS, MESSAGE, OPEN, SCOPES, asks_database, may_enter, may_write, remembered
from chatsim.rules.offline import MINUTE_S, is_due, is_taken, retry_after_s
from chatsim.rules.ranking import FREQUENT, first_score, raised_score
from chatsim.rules.rooms import PERSONAL_ROOMS

if TYPE_CHECKING:
    from chatsim.live.gateway import Gateway

NO_LIST = -1
TOKEN_GRACE_S = 5.0
"""A token that is over is still taken for so long: its successor is under way."""
FORGETS_ABOVE = 100_000


class Asking:
    """Questions of one gateway. Answers about rights are remembered for ``access.cache_s``."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway, self.config, self.keys = gateway, gateway.config, gateway.keys
        self._answers: dict[tuple[int, int], tuple[float, float]] = {}

    # ------------------------------------------------------------------ presence and lists

    def is_online(self, user: int) -> asyncio.Future[Any]:
        """Writes a user's presence key."""
        self.gateway.count("presence")
        life: list[str | int] = ["PX", int(1000 * self.config.key_life_s)] if self.config.key_life_s else []
        return self.gateway.ask("SET", self.keys.online(user), 1, *life)

    async def friends(self, user: int) -> list[tuple[int, bool]]:
        """A user's friend list, best first, each with whether the friend is online."""
        if self.config.list_policy == NO_LIST:
            return []
        self.gateway.count("list")
        found = await self.gateway.ask("ZREVRANGE", self.keys.friends(user), 0, self.config.list_limit - 1)
        users = [int(friend) for friend in found]
        self.gateway.count("state")
        states = await self.gateway.ask("MGET", *map(self.keys.online, users)) if users else []
        return [(friend, state is not None) for friend, state in zip(users, states, strict=True)]

    def chatted(self, user: int, other: int) -> None:
        """A chat moves each of the two on the other's list."""
        if self.config.list_policy == NO_LIST or other < 0:
            return
        for one, friend in ((user, other), (other, user)):
            self.gateway.count("update")
            self._raise(self.keys.friends(one), friend)

    def _raise(self, key: str, friend: int) -> None:
        policy, now_s = self.config.list_policy, time.monotonic()
        if policy == FREQUENT:
            self.gateway.tell("ZINCRBY", key, raised_score(policy, 0.0, 0.0), friend)
            return

        def scored(reply: Any) -> None:
            if not isinstance(reply, Exception) and self.gateway.commands.is_up:
                score = first_score(policy, 0.0) if reply is None else float(reply)
                self.gateway.tell("ZADD", key, raised_score(policy, score, now_s / self.config.half_life_s), friend)

        if self.config.half_life_s:
            self.gateway.tell("ZSCORE", key, friend, then=scored)
        else:
            self.gateway.tell("ZADD", key, now_s, friend)

    async def whether_online(self, seat: Seat, said: dict[str, Any]) -> None:
        """A client asks whether a user is online."""
        user = said.get("user")
        if type(user) is not int:
            raise MalformedError
        self.gateway.count("asked")
        shown = await self.gateway.ask("EXISTS", self.keys.online(user))
        broadcast([seat.socket], plain("state", user=user, online=bool(shown)))

    # ------------------------------------------------------------------ rights

    async def may_write(self, seat: Seat, room: int) -> int:
        """TAKEN or FORBIDDEN: whether a session may write into a room of which its user is a member."""
        policy, other = self.config.access, self.gateway.hall.partner(room, seat.user)
        if policy == OPEN or other < 0:
            return TAKEN
        if policy == SCOPES:
            stale = self.config.check == MESSAGE and time.monotonic() >= seat.rights.expires_s + TOKEN_GRACE_S
            return FORBIDDEN if stale or room in seat.rights.rooms else TAKEN
        if not asks_database(policy, self.config.check):
            ended_s = await self._ended_s(seat.user, other)
            return TAKEN if may_write(policy, seat.rights.issued_s, ended_s) else FORBIDDEN
        now_s = time.monotonic()
        asked_s, ended_s = self._answers.get((seat.user, other), (-math.inf, math.inf))
        if not remembered(asked_s, now_s, self.config.cache_s):
            asked_s, ended_s = now_s, await self._ended_s(seat.user, other)
            if self.config.cache_s:
                if len(self._answers) > FORGETS_ABOVE:
                    self._answers.clear()
                self._answers[seat.user, other] = (asked_s, ended_s)
        return TAKEN if may_write(policy, asked_s, ended_s) else FORBIDDEN

    async def _ended_s(self, user: int, other: int) -> float:
        self.gateway.count("relation")
        noted = await self.gateway.ask("GET", self.keys.ended(user, other))
        return math.inf if noted is None else float(noted)

    async def to_join(self, seat: Seat, said: dict[str, Any]) -> None:
        """A client asks to come into a room."""
        room, hall = said.get("room"), self.gateway.hall
        if not hall.knows(room):
            raise MalformedError
        assert isinstance(room, int)
        self.gateway.count("join")
        may_ask = self.config.client_joins or self.config.rooms == PERSONAL_ROOMS
        enters = may_ask and may_enter(
            self.config.access, seat.user in hall.members_of(room), await self._knows(seat.user, room)
        )
        if enters:
            await self.gateway.enter(seat, room)
        broadcast([seat.socket], plain("in" if enters else "out", room=room))

    async def _knows(self, user: int, room: int) -> bool:
        """Whether a user has a friend in a room, of whom it has not parted."""
        if self.config.access != FRIENDS:
            return False
        friends = [other for other in self.gateway.hall.members_of(room) if other in self.config.friends[user]]
        for other in friends:
            if math.isinf(await self._ended_s(user, other)):
                return True
        return False

    # ------------------------------------------------------------------ those who are away

    async def push(self, user: int, message: int, stored_s: float) -> None:
        """Notifies a user of a message in store, unless a session starts first; the log says what became of it."""
        config, ask = self.config, self.gateway.ask
        await asyncio.sleep(stored_s + config.push_after_s - time.monotonic())
        held, came = await ask("SCARD", self.keys.at(user)), await ask("GET", self.keys.came(user))
        if not is_due(held, -math.inf if came is None else float(came), stored_s):
            return
        await ask("DEL", self.keys.wait(user))
        due_s, tries = time.monotonic(), 1
        while True:
            self.gateway.count("notify")
            minute = self.keys.minute(int(time.monotonic() // MINUTE_S))
            if is_taken(await ask("INCR", minute) - 1, config.push_quota_per_min):
                break
            await asyncio.sleep(retry_after_s(config.push_retry_s, tries))
            tries += 1
        await ask("RPUSH", self.keys.pushed, f"{user} {message} {due_s} {tries} {time.monotonic()}")
