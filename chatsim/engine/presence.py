"""Presence in a run: keys in the broker that are written, refreshed, deleted or expire, and what others are told."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from simpy.events import Event

from chatsim.engine.notes import NEVER
from chatsim.engine.notices import Announce, Notice, announce, channels_to
from chatsim.engine.outcome import Work
from chatsim.engine.station import Request, Task
from chatsim.rules.presence import ALL, FRIENDS, NOBODY, ROOMS, SHOWN_TO_NUMBERS, expires_s, is_watched
from chatsim.rules.routing import (
    GLOBAL_CHANNEL,
    ROOM,
    USER,
    presence_channel,
    publish_node,
    room_channel,
)

if TYPE_CHECKING:
    from chatsim.engine.friendlists import FriendLists
    from chatsim.engine.session import Session
    from chatsim.engine.stage import Gateway, Node, Stage

Story = Generator[Event, Any, None]


class Change(Notice):
    """A user came online (+1) or went (-1), as those who watch are told."""

    __slots__ = ("presence", "row", "user")

    def __init__(self, presence: Presence, user: int, row: int) -> None:
        super().__init__(presence.stage)
        self.presence, self.user, self.row = presence, user, row

    def targets(self, gateway: Gateway, scope: int) -> list[Session]:
        return self.presence.watching(self.user, gateway, scope)

    def pushed(self, pushes: int) -> None:
        self.stage.notes.presence["pushes"][self.row] += pushes

    def told(self, sessions: list[Session]) -> None:
        table, row = self.stage.notes.presence, self.row
        table["notices"][row] += len(sessions)
        for session in sessions:
            arrives_s = self.stage.clock.now + session.link_s
            table["told_sum_s"][row] += arrives_s - table["time_s"][row]
            table["told_last_s"][row] = max(arrives_s, table["told_last_s"][row])


class Presence:
    """Who is shown as online: a key per user in the broker, or without one what the gateways remember.

    Clients refresh their user's key while they live, so that a session that vanishes without a word is shown until the
    key expires, or, without a lifetime, until its gateway notices.
    """

    def __init__(self, stage: Stage, lists: FriendLists) -> None:
        asked = stage.scenario.presence
        self.stage, self.asked, self.lists = stage, asked, lists
        self.shown_to = SHOWN_TO_NUMBERS[asked.show_to]
        self.kept = self.shown_to != NOBODY
        self.pushes = self.kept and asked.how == "push"
        self.pulls = self.kept and asked.how == "pull"
        self.has_keys = stage.scenario.has_broker
        self.tells_all = self.pushes and self.shown_to == ALL
        self.watches = self.pushes and is_watched(self.shown_to)
        self.sessions: dict[int, int] = {}
        self.shown: dict[int, float] = {}
        self._unsigned: dict[Session, None] = {}

    def standing(self, session: Session) -> None:
        """A session is online when the run starts."""
        user = session.user
        self.sessions[user] = self.sessions.get(user, 0) + 1
        if user not in self.shown:
            self._note(0.0, user, +1, 0)
        self._write(user)

    def sign_in(self, session: Session) -> Request:
        """At the broker: a session's user is online."""

        def act() -> None:
            self.came(session)

        def otherwise() -> None:
            self._unsigned[session] = None

        costs = self.stage.scenario
        reply = Task(self.stage.clock, costs.gateway.parse_us)
        return Request(session.gateway, Work.PRESENCE, costs.broker.presence_us, reply, act, otherwise=otherwise)

    def sign_in_again(self, gateway: Gateway, node: Node) -> list[Request]:
        """What a gateway says to a broker node that is back of the sessions that came while it was away."""
        sessions = [
            session
            for session in self._unsigned
            if session in gateway.sessions and self.stage.node_of_user(session.user) is node
        ]
        for session in sessions:
            del self._unsigned[session]
        return [self.sign_in(session) for session in sessions]

    def came(self, session: Session) -> None:
        """A session more of a user counts; the first one changes what is shown."""
        user = session.user
        self.sessions[user] = self.sessions.get(user, 0) + 1
        if self.sessions[user] > 0 and self._write(user):
            self._changed(user, +1, session.gateway)

    def refresh(self, session: Session) -> Story:
        """A session that lives has its user's key written again and again."""
        stage = self.stage
        while True:
            yield stage.clock.until(stage.clock.now + self.asked.refresh_s)
            if session.has_left():
                return
            gateway = session.gateway
            yield stage.does(gateway, Work.COMMAND, stage.scenario.gateway.command_us)
            if session.has_left():
                return

            def act(gateway: Gateway = gateway) -> None:
                if self.sessions.get(session.user, 0) > 0 and self._write(session.user):
                    self._changed(session.user, +1, gateway)

            cost_us = stage.scenario.broker.presence_us
            gateway.send(stage.node_of_user(session.user), Request(gateway, Work.PRESENCE, cost_us, act=act))

    def sign_out(self, session: Session) -> Request:
        """At the broker: a session of a user is gone; the last one deletes the key."""

        def act() -> None:
            self.went(session)

        return Request(session.gateway, Work.PRESENCE, self.stage.scenario.broker.presence_us, act=act)

    def went(self, session: Session) -> None:
        """A session less of a user counts; without any, the user is shown no longer.

        With several cores a gateway may say so before it has said that the session came.
        """
        if session in self._unsigned:
            del self._unsigned[session]
            return
        user = session.user
        self.sessions[user] = self.sessions.get(user, 0) - 1
        if self.sessions[user] <= 0 and self.shown.pop(user, None) is not None:
            self._changed(user, -1, session.gateway)

    def wiped(self, node: Node) -> None:
        """The keys on a broker node are lost, and nobody is told: who lives has them written again in time."""
        for user in [user for user in sorted(self.shown) if self.stage.node_of_user(user) is node]:
            del self.shown[user]
            self._note(self.stage.clock.now, user, -1, 0)

    def is_shown(self, user: int) -> bool:
        """Whether others take a user to be online."""
        return user in self.shown

    def watch(self, session: Session, change: int) -> list[int]:
        """A session starts (+1) or stops (-1) to watch those that it is shown; channels that its gateway now needs, or
        needs no longer."""
        if not self.watches:
            return []
        channels = []
        watchers = session.gateway.watchers
        for user in self._watched_by(session):
            here = watchers.setdefault(user, {})
            before = len(here)
            if change > 0:
                here[session] = None
            else:
                here.pop(session, None)
            if not here:
                del watchers[user]
            if self.stage.routing == ROOM and (not before or not here) and before != len(here):
                channels.append(presence_channel(user))
        return channels

    def watching(self, user: int, gateway: Gateway, scope: int) -> list[Session]:
        """The sessions of a gateway that are shown a user's presence: in the room, or of the user, of ``scope``."""
        if self.shown_to == ROOMS:
            return self._in_rooms(user, gateway, scope)
        if self.stage.routing == USER and self.shown_to != NOBODY:
            return [session for session in gateway.local.get(scope, ()) if self._is_watched(user, session)]
        if self.shown_to == ALL:
            return [session for session in gateway.sessions if session.registered and session.user != user]
        return list(gateway.watchers.get(user, ()))

    def meant_for(self, user: int) -> int:
        """How many users a change of a user's presence is meant for, online or not; all are all, the user too."""
        if self.shown_to == ALL:
            return self.stage.world.users
        if self.shown_to == FRIENDS:
            return len(self.stage.rooms.friends(user))
        if self.shown_to == ROOMS:
            return len(self._neighbours(user))
        return len({session.user for gateway in self.stage.gateways for session in gateway.watchers.get(user, ())})

    def _write(self, user: int) -> bool:
        """Writes a user's key, with its lifetime; whether it was not there."""
        new = user not in self.shown
        gone_s = expires_s(self.stage.clock.now, self.asked.key_life_s if self.has_keys else 0.0)
        self.shown[user] = gone_s
        if gone_s < self.stage.end_s:
            self.stage.clock.at(gone_s, self._expire, user)
        return new

    def _expire(self, event: Any) -> None:
        """A key is gone unless it was written since; the broker itself tells of it."""
        user = event.value
        if user in self.shown and self.shown[user] <= self.stage.clock.now:
            del self.shown[user]
            self._changed(user, -1, None)

    def _changed(self, user: int, change: int, gateway: Gateway | None) -> None:
        meant = self.meant_for(user) if self.pushes else 0
        row = self._note(self.stage.clock.now, user, change, meant)
        if not self.pushes:
            return
        notice = Change(self, user, row)
        channels = self._channels(user)
        if gateway is not None:
            self.stage.clock.story(announce(notice, gateway, channels))
            return
        for channel, scope in channels:
            node = self.stage.nodes[publish_node(channel, self.stage.topology, len(self.stage.nodes))]
            node.take(Announce(notice, channel, scope))

    def _note(self, time_s: float, user: int, change: int, meant: int) -> int:
        return self.stage.notes.presence.add(time_s, user, change, meant, 0, 0, 0.0, NEVER)

    def _channels(self, user: int) -> list[tuple[int, int]]:
        """On which channels a change is published, each with its scope."""
        stage = self.stage
        return channels_to(
            stage,
            users=lambda: self._watchers_of(user),
            holders=lambda: range(len(stage.gateways)),
            rooms=lambda: self._room_channels(user),
        )

    def _room_channels(self, user: int) -> list[tuple[int, int]]:
        if self.shown_to == ROOMS:
            return [(room_channel(room), room) for room, _ in self.stage.rooms.of_user(user)]
        return [(presence_channel(user) if self.watches else GLOBAL_CHANNEL, -1)]

    def _watchers_of(self, user: int) -> list[int]:
        """The users who are shown a user's presence, where each of them is told by a PUBLISH of its own."""
        if self.shown_to == ALL:
            return sorted(other for other in self.stage.registry if other != user)
        if self.shown_to == ROOMS:
            return [other for other in self._neighbours(user) if other in self.stage.registry]
        watchers = {session.user for gateway in self.stage.gateways for session in gateway.watchers.get(user, ())}
        return sorted(watchers)

    def _watched_by(self, session: Session) -> list[int]:
        if self.shown_to == FRIENDS:
            return self.stage.rooms.friends(session.user)
        return self.lists.listed(session)

    def _is_watched(self, user: int, session: Session) -> bool:
        return not self.watches or session in session.gateway.watchers.get(user, ())

    def _neighbours(self, user: int) -> list[int]:
        rooms = self.stage.rooms
        return sorted({other for room, _ in rooms.of_user(user) for other in rooms.members(room) if other != user})

    def _in_rooms(self, user: int, gateway: Gateway, scope: int) -> list[Session]:
        routing = self.stage.routing
        if routing == ROOM and scope >= 0:
            return [session for session in gateway.members.get(scope, ()) if session.user != user]
        others = [scope] if routing == USER else self._neighbours(user)
        return [session for other in others for session in gateway.local.get(other, ())]
