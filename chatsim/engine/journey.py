"""The life of sessions and messages, told from top to bottom as SimPy processes. This is the specification.

A message's life is told in :mod:`chatsim.engine.messages`.
A session's life: :meth:`Journey.login` -> :meth:`Journey.welcomed` -> :meth:`Journey.leave` -> :meth:`Journey.goodbye`.

Equal times happen in the order in which they were scheduled. The rows of the trace are scheduled one ahead, in the
order of time; at one instant sessions start before messages are written.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from heapq import merge
from itertools import count, repeat
from operator import itemgetter
from typing import Any

import numpy as np
from simpy.events import Event

from chatsim.engine.access import Access
from chatsim.engine.clock import Broken, happen
from chatsim.engine.entering import intrude, takes_out
from chatsim.engine.faults import Faults
from chatsim.engine.friendlists import FriendLists
from chatsim.engine.jobs import Sync
from chatsim.engine.lines import CLIENTS
from chatsim.engine.messages import Messages
from chatsim.engine.outbound import Outbound
from chatsim.engine.outcome import Cause, Fate, SessionFate, Work
from chatsim.engine.presence import Presence
from chatsim.engine.pushes import Pushes
from chatsim.engine.receipts import acknowledge
from chatsim.engine.session import Client, Session
from chatsim.engine.stage import Gateway, Node, Story
from chatsim.engine.station import Request, Station, Task
from chatsim.rules.limits import tokens_now
from chatsim.rules.reconnect import FULL_JITTER, RECONNECT_NUMBERS, SOCKETIO, pause_s
from chatsim.rules.rooms import PERSONAL_ROOMS
from chatsim.rules.routing import GLOBAL_CHANNEL, ROOM, keeps_registry, standing_channel
from chatsim.scenario import Scenario
from chatsim.world.tables import World


class Journey(Messages):
    """One run of a scenario. ``clock`` is a SimPy environment: add processes of your own before :meth:`run`.

    Gateways that work slowly, each of which dies when more than 1000 items wait in its queue, and is back 5 s later:

    >>> from chatsim.engine import Cause, finish
    >>> from chatsim.scenario import load_scenario
    >>> from chatsim.world import build_world
    >>> sets = ["workload.users=200", "workload.duration_s=60", "workload.conversations.messages_per_day=15000"]
    >>> scenario = load_scenario("room-channel", [*sets, "gateway.parse_us=1e6"])
    >>> journey, died_s = Journey(scenario, build_world(scenario)), {}
    >>> def watch(gateway):
    ...     while len(gateway.queue) <= 1000:
    ...         yield journey.clock.timeout(0.1)
    ...     died_s[gateway.number] = journey.clock.now
    ...     journey.faults.gateway_dies(gateway.number)
    ...     yield journey.clock.timeout(5)
    ...     journey.faults.gateway_returns(gateway.number)
    >>> for gateway in journey.gateways:
    ...     _ = journey.clock.process(watch(gateway))
    >>> journey.run()
    >>> len(died_s) > 0 and 0 < min(died_s.values()) < 60
    True
    >>> bool((finish(journey).deliveries["cause"] == Cause.CRASHED).any())
    True

    Or take one step after the other, here until the first message is read by its gateway, has left it, and is all done:

    >>> from math import isnan
    >>> scenario = load_scenario("room-channel", ["workload.users=200", "workload.duration_s=60"])
    >>> journey = Journey(scenario, build_world(scenario))
    >>> times_s = []
    >>> for column in (journey.notes.received_s, journey.notes.routed_s, journey.notes.done_s):
    ...     while isnan(column[0]):
    ...         journey.clock.step()
    ...     times_s.append(journey.clock.now)
    >>> times_s == sorted(times_s)
    True
    """

    def __init__(self, scenario: Scenario, world: World) -> None:
        super().__init__(scenario, world)
        self.access = Access(self)
        self.lists = FriendLists(self)
        self.presence = Presence(self, self.lists)
        self.pushes = Pushes(self, self.comes_back)
        self.receipts = self.design.receipts
        self.outbound = Outbound(self)
        self.write = self.outbound.write
        self.faults = Faults(self)
        self.retries: dict[int, int] = {}
        self.admission = (float(scenario.balancer.burst), 0.0)
        self.message_us = self.access.message_us
        personal = self.rooms.kind == PERSONAL_ROOMS
        self.asks_more = self.access.asks or personal or self.creates_rooms or self.asks_members
        self._start()

    def run(self, progress: Callable[[float], None] | None = None) -> None:
        """Runs to the end; ``progress`` is told the share of simulated time, 99 times."""
        if progress is not None:
            self.clock.process(self._report(progress))
        gc.freeze()  # the world stays: without it each collection looks through all sessions and rooms again
        try:
            self.clock.run_to(self.end_s)
        finally:
            gc.unfreeze()

    def login(self, number: int) -> Story:
        """A session from its first packet to the welcome, which brings what its user has missed."""
        session = self.sessions[number]
        if not (self.admits() and self.take_place(session)):
            self._gone(session, SessionFate.REFUSED)
            return
        session.live = set()
        self.clock.at(self.session_end_s[number], self.leave, session)
        self.clock.at(self.clock.now + self.scenario.client.connect_timeout_s, self._times_out, session)
        try:
            yield from self.connect(session)
        except Broken:
            self.login_fails(session)

    def connect(self, session: Session) -> Story:
        """From the first packet at the balancer to the welcome, as far as all goes well."""
        gateway, costs = session.gateway, self.scenario.gateway
        if not gateway.up:
            yield from self.finds_nobody(session)
            return
        trips = self.scenario.network.handshake_trips
        yield self.clock.until(self.clock.now + (2 * trips + 1) * session.link_s)
        if session.has_left():
            return
        if costs.shed_above and len(gateway.queue) > costs.shed_above:
            self.released(session)
            session.cut = True
            yield self.clock.until(self.clock.now + session.link_s)
            if not session.gone:
                self._gone(session, SessionFate.REFUSED)
            return
        yield self.does(gateway, Work.LOGIN, costs.tls_us + costs.handshake_us + self.access.token_us)
        if session.has_left():
            return
        self.access.renewed(session)
        yield from self.load(session)
        if session.has_left():
            return
        yield from self.subscribe(session)
        if session.has_left():
            return
        missed: list[int] = []
        if self.keeps_missed:
            sync = Sync(self, session, reply=Task(self.clock))
            yield from self.ask(gateway, self.store_of_user(session.user), sync, sync.reply)
            if session.cut:
                return
            gateway.work[Work.WRITE] += len(sync.missed)
            missed = sync.missed
        self.welcome(session, missed)

    def admits(self) -> bool:
        """Whether the balancer lets one more connection through at this moment."""
        asked = self.scenario.balancer
        if not asked.connections_per_s:
            return True
        left, since_s = self.admission
        tokens = tokens_now(left, self.clock.now - since_s, asked.connections_per_s, asked.burst)
        passes = tokens >= 1.0
        self.admission = (tokens - 1.0 if passes else tokens, self.clock.now)
        return passes

    def finds_nobody(self, session: Session) -> Story:
        """A try on a gateway that is gone: its machine says so at once, or nobody says anything."""
        session.cut = True
        if not session.gateway.silent:
            yield self.clock.until(self.clock.now + 2 * session.link_s)
            if not session.gone:
                self._gone(session, SessionFate.FAILED)

    def login_fails(self, session: Session) -> None:
        """A gateway that cannot ask what it must closes the session; one that has died says nothing."""
        if not session.gone and session.life == session.gateway.life:
            self.cut(session, self.clock.now + session.link_s)
            self.clock.story(self.goodbye(session, 0.0))

    def load(self, session: Session) -> Story:
        """The gateway reads what it must know of a user: the rooms, the friends, and the list for the client."""
        gateway, costs = session.gateway, self.scenario.gateway
        requests: list[tuple[Station, Request]] = []
        if self.asks_members:
            rooms = len(self.rooms.of_user(session.user))
            cost_us = self.scenario.broker.lookup_us + self.scenario.broker.lookup_user_us * rooms
            reply = Task(self.clock, costs.parse_us)
            requests.append((self.node_of_user(session.user), Request(gateway, Work.MEMBERS, cost_us, reply)))
        if self.access.reads_friends:
            database = self.scenario.database
            cost_us = database.friends_us + database.friend_us * len(self.rooms.friends(session.user))
            reply = Task(self.clock, costs.parse_us)
            requests.append((self.database, Request(gateway, Work.RELATION, cost_us, reply)))
        if self.lists.loads:
            requests += self.lists.requests(session)
            session.listed = self.lists.length(session)
            self.notes.session_listed[session.number] = session.listed
        yield from self.query(gateway, requests)

    def subscribe(self, session: Session) -> Story:
        """The gateway takes the session on, subscribes to what it now needs, and says that its user is online.

        Where the broker does not answer it takes the session all the same, and makes up for it when the broker is back.
        """
        gateway, parse_us = session.gateway, self.scenario.gateway.parse_us
        channels = self.join(session) + self.presence.watch(session, +1)
        requests: list[tuple[Station, Request]] = []
        for node, its_channels in self.by_node(gateway, channels):
            reply = Task(self.clock, parse_us)
            requests.append((node, self.subscription(node, gateway, its_channels, +1, reply)))
        if keeps_registry(self.routing):
            update = self.update(gateway, session.user, +1, Task(self.clock, parse_us))
            requests.append((self.node_of_user(session.user), update))
        if self.presence.kept and self.scenario.has_broker:
            requests.append((self.node_of_user(session.user), self.presence.sign_in(session)))
        elif self.presence.kept:
            self.presence.came(session)
        self._lives(session, self.clock.now)
        try:
            yield from self.query(gateway, requests)
        except Broken:
            if session.life != gateway.life:
                raise

    def welcome(self, session: Session, missed: list[int]) -> None:
        """The gateway says welcome; the missed messages travel in the same packet."""
        now_s = self.clock.now
        rows = [self.notes.written(message, session.number, now_s) for message in missed]
        session.synced = frozenset(missed)
        self.notes.session_unread[session.number] = len(missed)
        size_bytes = float(sum(self.size_bytes[message] for message in missed))
        size_bytes += session.listed * self.scenario.friend_list.entry_bytes
        self.outbound.send(session, size_bytes, self.welcomed, (session, rows))

    def welcomed(self, event: Any) -> None:
        """The welcome reaches the session: it is online, and sends what it held back."""
        session, rows = event.value
        if session.gone:
            for row in rows:
                self.notes.lost(row, Cause.LEFT)
            return
        client = session.client
        session.online = True
        self.online[session.user] = self.online.get(session.user, 0) + 1
        self.notes.online_s[session.number] = self.clock.now
        self.notes.session_fate[session.number] = SessionFate.ONLINE
        for row in rows:
            message = self.notes.row_message[row]
            self.notes.row_fate[row] = Fate.DUPLICATE if message in session.live else Fate.READ_LATER
            self.outbound.received(row, message, session)
        session.live = None
        if session.cut:  # while the welcome was under way: the first ping will not come
            asked = self.scenario.client
            self.clock.at(self.clock.now + asked.ping_s + asked.ping_timeout_s, self._notices, session)
        client.tries = 0
        unacked = list(client.unacked.values())
        happen(client.ready)
        for woken in unacked:
            happen(woken)

    def leave(self, event: Any) -> None:
        """The session goes away, whatever state it is in."""
        session = event.value
        if not session.gone:
            self._gone(session, SessionFate.LEFT if session.online else SessionFate.ABANDONED)
            silent = self.luck.is_silent(session.number)
            self.notes.session_silent[session.number] = silent
            if session.cut:
                return
            if not silent:
                self.clock.story(self.goodbye(session, session.link_s))
            elif self.scenario.network.notice_s:
                self.clock.story(self.goodbye(session, self.scenario.network.notice_s))

    def goodbye(self, session: Session, notice_s: float) -> Story:
        """The gateway notices, after ``notice_s``, and takes the session off, if it has not died meanwhile."""
        gateway, costs = session.gateway, self.scenario.gateway
        yield self.clock.until(self.clock.now + notice_s)
        if session.life != gateway.life:
            return
        yield self.does(gateway, Work.CLOSE, costs.close_us)
        if session not in gateway.sessions:
            return
        self.released(session)
        if not session.registered:
            return
        entered = list(session.entered)
        for node, channels in self.by_node(gateway, self.part(session) + self.presence.watch(session, -1)):
            gateway.send(node, self.subscription(node, gateway, channels, -1))
        takes_out(self, session, entered)
        if keeps_registry(self.routing):
            gateway.send(self.node_of_user(session.user), self.update(gateway, session.user, -1))
        if self.presence.kept and self.scenario.has_broker:
            gateway.send(self.node_of_user(session.user), self.presence.sign_out(session))
        elif self.presence.kept:
            self.presence.went(session)

    def close(self, session: Session) -> None:
        """The gateway closes a session, at once on both sides."""
        if not session.gone:
            session.closed = True
            self._gone(session, SessionFate.CLOSED)
            self.clock.story(self.goodbye(session, 0.0))

    def cut(self, session: Session, notices_s: float) -> None:
        """The gateway's side of a connection is gone; its client notices later, or gives a login up when that takes
        too long."""
        session.cut, session.cut_s = True, self.clock.now
        self.notes.cut_s[session.number] = self.clock.now
        if notices_s < math.inf:
            self.clock.at(notices_s, self._notices, session)

    def tries_again(self, session: Session) -> None:
        """A client without its session waits, by its rule, and tries again; or there is no hope."""
        asked, client, draw = self.scenario.client, session.client, 0.5
        preset = RECONNECT_NUMBERS[asked.reconnect]
        if preset in (SOCKETIO, FULL_JITTER):
            number = self.retries[session.user] = self.retries.get(session.user, -1) + 1
            draw = self.luck.pause(session.user, number)
        starts_s = self.clock.now + pause_s(preset, client.tries, draw, asked.reconnect_s, asked.reconnect_max_s)
        if starts_s >= client.end_s or (asked.tries_max and client.tries >= asked.tries_max):
            self._gives_up(client)
        else:
            self.clock.at(starts_s, self._tries, session)

    def comes_back(self, user: int, length_s: float) -> int:
        """A session that the trace does not have starts; returns its number."""
        end_s = self.clock.now + length_s
        number = self.notes.comes_back(user, self.clock.now, end_s)
        rate = self.luck.rate(number)
        return self._starts(Session(number, user, self.luck.link_again_s(user), rate, Client(Event(self.clock), end_s)))

    def verdict(self, message: int) -> Cause:
        return self.access.verdict(message)

    def stored(self, message: int) -> list[int]:
        waiting = super().stored(message)
        if self.pushes.kept:
            self.pushes.stored(message, waiting)
        return waiting

    def post(self, station: Station, place: Any, items: list[Any]) -> None:
        if type(place) is Session:
            self.outbound.transmit(place, items)
        else:
            self.lines.carry(station, place, items)

    def has_room_s(self, message: int, session: Session) -> float:
        return self.outbound.has_room_s(session, self.size_bytes[message])

    def unsigned(self, gateway: Gateway, node: Node) -> list[Request]:
        return self.presence.sign_in_again(gateway, node)

    def _report(self, progress: Callable[[float], None]) -> Story:
        for percent in range(1, 100):
            yield self.clock.until(self.end_s * percent / 100)
            progress(percent / 100)

    def has_it(self, row: int, message: int, session: Session) -> None:
        """A session has a message: its sender may be told, and its user need not read it later."""
        if self.receipts and self._is_for(message, session.user):
            self.clock.story(acknowledge(self, message, session, row))
        if self.keeps_missed:
            box = self.inbox.get(session.user)
            if box is not None and message in box:
                del box[message]
            elif self.notes.stored_s[message] != self.notes.stored_s[message]:
                self.early.setdefault(message, set()).add(session.user)

    def _gone(self, session: Session, fate: SessionFate) -> None:
        client, was_online = session.client, session.online
        if was_online:
            self.online[session.user] -= 1
            client.ready = Event(self.clock)
        self.access.gone(session)
        session.gone, session.online = True, False
        self.notes.left_s[session.number] = self.clock.now
        self.notes.session_fate[session.number] = fate
        if fate in (SessionFate.LEFT, SessionFate.ABANDONED):
            self._gives_up(client)
        else:
            self.tries_again(session)

    def _gives_up(self, client: Client) -> None:
        client.hopeless = True
        unacked = list(client.unacked.values())
        happen(client.ready)
        for woken in unacked:
            happen(woken)

    def _notices(self, event: Any) -> None:
        session = event.value
        if not session.gone:
            self._gone(session, SessionFate.CUT if session.online else SessionFate.FAILED)

    def _times_out(self, event: Any) -> None:
        session = event.value
        if not session.gone and not session.online:
            self._gone(session, SessionFate.FAILED)
            if not session.cut:
                self.clock.story(self.goodbye(session, session.link_s))

    def _tries(self, event: Any) -> None:
        session = event.value
        client = session.client
        number = self.notes.comes_back(session.user, self.clock.now, client.end_s, session.number, client.tries)
        client.tries += 1
        self._starts(Session(number, session.user, session.base_s, session.base_rate, client))

    def _starts(self, session: Session) -> int:
        """A session begins that the trace does not have."""
        session.link_s += self.lines.extra[CLIENTS].added_s
        session.rate = self.faults.rate(session)
        self.session_end_s.append(session.client.end_s)
        self.sessions.append(session)
        self.clock.process(self.login(session.number))
        return session.number

    def _start(self) -> None:
        """The state at time 0: gateways subscribed, sessions that began before the run online."""
        for gateway in self.gateways:
            channel = self.standing_channel(gateway.number)
            if channel >= 0:
                self.subscribed(gateway, [channel])
        self.faults.begin()
        starts_s = self.world.sessions.start_s
        standing = int(np.searchsorted(starts_s, 0.0, side="right"))
        for session in self.sessions[:standing]:
            self._stands(session, float(starts_s[session.number]))
        self.clock.process(self._open_trace(standing))

    def standing_channel(self, gateway: int) -> int:
        """The channel to which a gateway subscribes when it starts, or -1."""
        if self.routing == ROOM and (self.creates_rooms or self.presence.tells_all):
            return GLOBAL_CHANNEL
        return standing_channel(self.routing, gateway)

    def _stands(self, session: Session, since_s: float) -> None:
        if not self.take_place(session):
            self._gone(session, SessionFate.REFUSED)
            return
        session.online = True
        self.online[session.user] = self.online.get(session.user, 0) + 1
        self.notes.online_s[session.number] = since_s
        self.notes.session_fate[session.number] = SessionFate.ONLINE
        if self.lists.loads:
            session.listed = self.lists.length(session)
            self.notes.session_listed[session.number] = session.listed
        self.subscribed(session.gateway, self.join(session) + self.presence.watch(session, +1))
        self.access.renewed(session)
        if self.presence.kept:
            self.presence.standing(session)
        self._lives(session, since_s)
        if keeps_registry(self.routing):
            self.register(session.user, session.gateway.number, +1)
        self.clock.at(max(0.0, self.session_end_s[session.number]), self.leave, session)

    def _open_trace(self, standing: int) -> Story:
        """Sessions start, ties end, messages are written, rooms are tried: in order of time, in this one at ties."""
        starts_s = self.world.sessions.start_s[standing:].tolist()
        streams = [
            (starts_s, self.login, range(standing, standing + len(starts_s))),
            (self.world.endings.time_s.tolist(), self.ends, count()),
            (self.world.messages.time_s.tolist(), self.message, count()),
            (self.world.intrusions.time_s.tolist(), self.tries, count()),
        ]
        rows = [zip(times_s, repeat(story), numbers, strict=False) for times_s, story, numbers in streams]
        for time_s, story, number in merge(*rows, key=itemgetter(0)):
            yield self.clock.until(time_s)
            self.clock.process(story(number))

    def ends(self, ending: int) -> Story:
        """A user ends a tie."""
        self.access.tie_ends(ending)
        yield from ()

    def tries(self, number: int) -> Story:
        """An intruder tries to get into a room."""
        try:
            yield from intrude(self, self.access, number)
        except Broken:
            return

    def _lives(self, session: Session, since_s: float) -> None:
        """What a session does from time to time while it lives."""
        if self.presence.kept and self.scenario.has_broker:
            self.clock.story(self.presence.refresh(session))
        if self.access.renews:
            self.clock.story(self._renew(session, since_s))

    def _renew(self, session: Session, since_s: float) -> Story:
        life_s, costs = self.access.token_life_s, self.scenario.gateway
        due_s = since_s + life_s
        if due_s < self.clock.now:
            due_s += life_s * math.ceil((self.clock.now - due_s) / life_s)
        while True:
            yield self.clock.until(due_s)
            if session.has_left():
                return
            cost_us = costs.receive_us + self.access.token_us
            yield self.does(session.gateway, Work.TOKEN, cost_us, came_on=session)
            if session.has_left():
                return
            self.access.renewed(session)
            due_s = max(due_s + life_s, self.clock.now)

    def _is_for(self, message: int, user: int) -> bool:
        return user != self.sender[message] and self.rooms.place(message, user) >= 0
