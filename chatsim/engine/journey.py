"""The life of sessions and messages, told from top to bottom as SimPy processes. This is the specification.

A message's life: :meth:`Journey.message` -> the broker (:class:`~chatsim.engine.jobs.Publish`) -> the gateways of its
audience (:class:`~chatsim.engine.jobs.FanOut`) -> :meth:`Journey.write` -> :meth:`Journey.delivered`.
A session's life: :meth:`Journey.login` -> :meth:`Journey.welcomed` -> :meth:`Journey.leave` -> :meth:`Journey.goodbye`.

Equal times happen in the order in which they were scheduled. The rows of the trace are scheduled one ahead, in the
order of time; at one instant sessions start before messages are written.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Generator
from heapq import merge
from itertools import count, repeat
from operator import itemgetter
from typing import Any

import numpy as np
from simpy.events import Event

from chatsim.engine.access import Access
from chatsim.engine.asking import ask_presence, search
from chatsim.engine.clock import happen
from chatsim.engine.entering import enter, intrude, takes_out
from chatsim.engine.friendlists import FriendLists
from chatsim.engine.jobs import Receive, Sync
from chatsim.engine.outcome import Cause, Fate, SessionFate, Work
from chatsim.engine.presence import Presence
from chatsim.engine.pushes import Pushes
from chatsim.engine.receipts import acknowledge
from chatsim.engine.routes import Routes
from chatsim.engine.stage import Gateway, Session, Story
from chatsim.engine.station import Request, Station, Task
from chatsim.rules.detour import GIVE_UP, SEARCH
from chatsim.rules.rooms import PERSONAL_ROOMS
from chatsim.rules.routing import (
    DIRECTORY,
    GLOBAL_CHANNEL,
    ROOM,
    keeps_registry,
    standing_channel,
)
from chatsim.scenario import Scenario
from chatsim.world.tables import World


class Journey(Routes):
    """One run of a scenario. ``clock`` is a SimPy environment: add processes of your own before :meth:`run`.

    >>> from chatsim.scenario import load_scenario
    >>> from chatsim.world import build_world
    >>> scenario = load_scenario("room-channel", ["workload.users=50", "workload.duration_s=60"])
    >>> journey = Journey(scenario, build_world(scenario))
    >>> seen = []
    >>> def watch(journey):
    ...     while True:
    ...         yield journey.clock.timeout(20)
    ...         seen.append(len(journey.gateways[0].queue))
    >>> _ = journey.clock.process(watch(journey))
    >>> journey.run()
    >>> len(seen)
    3
    """

    def __init__(self, scenario: Scenario, world: World) -> None:
        super().__init__(scenario, world)
        self.access = Access(self)
        self.lists = FriendLists(self)
        self.presence = Presence(self, self.lists)
        self.pushes = Pushes(self, self.comes_back)
        self.message_us = self.access.message_us
        self.receipts = self.design.receipts
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
        if not self.take_place(session):
            self._gone(session, SessionFate.REFUSED)
            return
        session.live = set()
        self.clock.at(self.session_end_s[number], self.leave, session)
        trips = self.scenario.network.handshake_trips
        yield self.clock.until(self.clock.now + (2 * trips + 1) * session.link_s)
        if session.has_left():
            return
        gateway, costs = session.gateway, self.scenario.gateway
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
            gateway.work[Work.WRITE] += len(sync.missed)
            missed = sync.missed
        self.welcome(session, missed)

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
        """The gateway takes the session on, subscribes to what it now needs, and says that its user is online."""
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
        yield from self.query(gateway, requests)

    def welcome(self, session: Session, missed: list[int]) -> None:
        """The gateway says welcome; the missed messages travel in the same packet."""
        now_s = self.clock.now
        rows = [self.notes.written(message, session.number, now_s) for message in missed]
        session.synced = frozenset(missed)
        self.notes.session_unread[session.number] = len(missed)
        size_bytes = float(sum(self.size_bytes[message] for message in missed))
        size_bytes += session.listed * self.scenario.friend_list.entry_bytes
        self.clock.at(self._arrival_s(session, now_s, size_bytes, 1.0), self.welcomed, (session, rows))

    def welcomed(self, event: Any) -> None:
        """The welcome reaches the session: it is online, and sends what it held back."""
        session, rows = event.value
        if session.gone:
            for row in rows:
                self.notes.lost(row, Cause.LEFT)
            return
        session.online = True
        self.online[session.user] = self.online.get(session.user, 0) + 1
        self.notes.online_s[session.number] = self.clock.now
        self.notes.session_fate[session.number] = SessionFate.ONLINE
        for row in rows:
            message = self.notes.row_message[row]
            self.notes.row_fate[row] = Fate.DUPLICATE if message in session.live else Fate.READ_LATER
            self._received(row, message, session)
        session.live = None
        happen(session.ready)

    def leave(self, event: Any) -> None:
        """The session goes away, whatever state it is in."""
        session = event.value
        if not session.gone:
            self._gone(session, SessionFate.LEFT if session.online else SessionFate.ABANDONED)
            silent = self.luck.is_silent(session.number)
            self.notes.session_silent[session.number] = silent
            if not silent:
                self.clock.process(self.goodbye(session, session.link_s))
            elif self.scenario.network.notice_s:
                self.clock.process(self.goodbye(session, self.scenario.network.notice_s))

    def goodbye(self, session: Session, notice_s: float) -> Story:
        """The gateway notices, after ``notice_s``, and takes the session off."""
        gateway, costs = session.gateway, self.scenario.gateway
        yield self.clock.until(self.clock.now + notice_s)
        yield self.does(gateway, Work.CLOSE, costs.close_us)
        self.connections[gateway.number] -= 1
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

    def message(self, message: int) -> Story:
        """A message from its sender's hand to the gateway."""
        session = self.sessions[self.sender_session[message]]
        if not session.online and not session.gone:
            yield session.ready
        if session.gone:
            self.refuse(message, Cause.NO_SESSION)
            return
        if self.lists.loads and not (yield from self.find(message, session)):
            return
        if self.presence.pulls and self.lists.opening[message]:
            self.clock.process(ask_presence(self, self.presence, session, self.rooms.partner(message)))
        session.uplink_s = max(session.uplink_s, self.clock.now + session.link_s * self.luck.uplink[message])
        yield self.clock.until(session.uplink_s)
        if session.closed:
            self.refuse(message, Cause.NO_SESSION)
            return
        self.notes.under_way[message] += 1
        self.notes.gateway[message] = session.gateway.number
        passes = yield from self.receive(message, session.gateway)
        if passes and self.asks_more:
            passes = yield from self.may_pass(message, session)
        if passes:
            yield from self.carry(message, session.gateway)
        else:
            self.tell(session, message)
        self.carried(message)

    def carry(self, message: int, gateway: Gateway) -> Story:
        """A message that was taken goes to the store and on to its audience."""
        store = self.design.store
        if store == "before":
            storing = self.storing(message, gateway, routes=True)
            yield from self.ask(gateway, self.store_of(message), storing, storing.reply)
        elif store == "beside":
            gateway.send(self.store_of(message), self.storing(message, gateway, routes=False))
        if self.routing == DIRECTORY:
            yield from self.route_by_directory(message, gateway)
        else:
            self.route(message, gateway)
        self.notes.routed_s[message] = self.clock.now
        if store == "after":
            yield self.does(gateway, Work.COMMAND, self.scenario.gateway.command_us)
            gateway.send(self.store_of(message), self.storing(message, gateway, routes=False))
        if self.lists.loads:
            self.lists.noted(message, gateway)

    def find(self, message: int, session: Session) -> Generator[Event, Any, bool]:
        """The writer looks for the recipient on the list, or searches; False where the message is never written."""
        if not self.lists.is_written(message):
            self.abandon(message)
            return False
        choice = self.lists.detour(message, session)
        if choice == GIVE_UP:
            self.abandon(message)
            return False
        if choice == SEARCH:
            yield from search(self, session, message)
            if session.gone:
                self.refuse(message, Cause.NO_SESSION)
                return False
        return True

    def may_pass(self, message: int, session: Session) -> Generator[Event, Any, bool]:
        """What must be asked, and who must be in the room, before a message that was taken goes on."""
        gateway, costs = session.gateway, self.scenario.gateway
        if self.access.must_ask(message, gateway):
            yield from self.query(
                gateway, [(self.database, self.access.question(message, gateway, Task(self.clock, costs.parse_us)))]
            )
        cause = self.access.answer(message, gateway)
        if cause:
            yield self.does(gateway, Work.REFUSAL, costs.write_us)
            self.refuse(message, cause)
            return False
        room = self.rooms.room[message]
        if self.rooms.kind == PERSONAL_ROOMS and self.rooms.partner(message) >= 0 and not session.gone:
            yield from enter(self, session, room)
        if self.creates_rooms and not self.rooms.exists[room]:
            yield from self.found(message, gateway)
        if self.asks_members:
            broker = self.scenario.broker
            cost_us = broker.lookup_us + broker.lookup_user_us * len(self.hearers(message))
            request = Request(gateway, Work.MEMBERS, cost_us, Task(self.clock, costs.parse_us))
            yield from self.query(gateway, [(self.node_of_room(message), request)])
        return True

    def found(self, message: int, gateway: Gateway) -> Story:
        """The first message of a pair creates its room; it carries its members, so that gateways can join them."""
        room = self.rooms.room[message]
        self.rooms.exists[room] = True
        self.founding[room] = message
        if self.routing == ROOM:
            self.notes.room_ready_s[room] = math.inf
        if self.asks_members:
            members = len(self.rooms.members(room))
            cost_us = self.scenario.broker.update_us * members
            reply = Task(self.clock, self.scenario.gateway.parse_us)
            request = Request(gateway, Work.UPDATE, cost_us, reply, times=members)
            yield from self.query(gateway, [(self.node_of_room(message), request)])

    def comes_back(self, user: int, length_s: float) -> int:
        """A session that the trace does not have starts; returns its number."""
        end_s = self.clock.now + length_s
        number = self.notes.comes_back(user, self.clock.now, end_s)
        self.session_end_s.append(end_s)
        self.sessions.append(Session(number, user, self.luck.link_again_s(user), Event(self.clock)))
        self.clock.process(self.login(number))
        return number

    def verdict(self, message: int) -> Cause:
        return self.access.verdict(message)

    def stored(self, message: int) -> list[int]:
        waiting = super().stored(message)
        if self.pushes.kept:
            self.pushes.stored(message, waiting)
        return waiting

    def receive(self, message: int, gateway: Gateway) -> Generator[Event, Any, bool]:
        """The gateway reads and checks a message, and writes the first commands for it or refuses it."""
        store = self.design.store
        commands = int(store in ("before", "beside")) + self.lists.moves(message)
        if store != "before":
            commands += self.commands_for(message, gateway)
        job = Receive(self, message, commands, self.places(commands))
        gateway.take(job)
        yield job
        gateway.work[Work.RECEIVE] += 1
        self.notes.received_s[message] = self.clock.now
        if job.cause:
            self.refuse(message, job.cause)
            gateway.work[Work.REFUSAL] += 1
            return False
        gateway.work[Work.COMMAND] += commands
        self.notes.fate[message] = Fate.DELIVERED
        return True

    def tell(self, session: Session, message: int) -> None:
        """The sender of a refused message is told."""
        arrival_s = self._arrival_s(session, self.clock.now, 0, 1.0)
        self.clock.at(arrival_s, self._told, (session, message))

    def write(self, message: int, session: Session, leaves_s: float, factor: float) -> None:
        """A gateway writes a message to a session at ``leaves_s``; a full outbound queue closes it or drops what comes.

        ``factor`` is the luck of the packet on the session's link.
        """
        size_bytes = self.size_bytes[message]
        waiting_bytes = (session.drained_s - leaves_s) * self.downlink_bytes_per_s
        if waiting_bytes + size_bytes > self.outbound_max_bytes and not session.closed:
            self.notes.written(message, session.number, leaves_s, Cause.OUTBOUND_FULL)
            if self.scenario.network.outbound_policy == "close":
                self._close(session)
            return
        row = self.notes.written(message, session.number, leaves_s)
        if session.gateway.by_item:
            self.clock.at(self._arrival_s(session, leaves_s, size_bytes, factor), self.delivered, (session, (row,)))
        else:
            session.gateway.send(session, (row, factor))

    def delivered(self, event: Any) -> None:
        """A packet reaches the session. Now, and not before, its messages are delivered."""
        session, rows = event.value
        for row in rows:
            if session.gone:
                self.notes.lost(row, Cause.LEFT)
                continue
            message = self.notes.row_message[row]
            if session.live is not None:
                session.live.add(message)
            elif session.synced and message in session.synced:
                self.notes.row_fate[row] = Fate.DUPLICATE
            self._received(row, message, session)

    def abandon(self, message: int) -> None:
        """A message that is never written."""
        self.notes.fate[message] = Fate.ABANDONED
        self.notes.done_s[message] = self.clock.now

    def refuse(self, message: int, cause: Cause) -> None:
        """A message that the system never took."""
        self.notes.fate[message] = Fate.REFUSED
        self.notes.cause[message] = cause
        self.notes.done_s[message] = self.clock.now

    def post(self, station: Station, place: Any, items: list[Any]) -> None:
        """What left a station at one instant for one place: a packet."""
        if type(place) is Session:
            self._transmit(place, items)
        else:
            far = station is self.database or place is self.database
            delay_s = self.database_link_s if far else self.broker_link_s
            self.clock.at(self.clock._now + delay_s, self._arrive, (place, items))

    def _report(self, progress: Callable[[float], None]) -> Story:
        for percent in range(1, 100):
            yield self.clock.until(self.end_s * percent / 100)
            progress(percent / 100)

    def _arrive(self, event: Any) -> None:
        station, jobs = event.value
        station.take(*jobs)

    def _transmit(self, session: Session, rows: list[tuple[int, float]]) -> None:
        """What a tick wrote to one session goes down its link as one packet, with the luck of the first message."""
        size_bytes = sum(self.size_bytes[self.notes.row_message[row]] for row, _ in rows)
        arrival_s = self._arrival_s(session, self.clock._now, size_bytes, rows[0][1])
        self.clock.at(arrival_s, self.delivered, (session, [row for row, _ in rows]))

    def _arrival_s(self, session: Session, leaves_s: float, size_bytes: float, factor: float) -> float:
        """When a packet arrives: the link sends one byte after the other, and nothing overtakes."""
        drained_s = session.drained_s
        drained_s = (drained_s if drained_s > leaves_s else leaves_s) + size_bytes / self.downlink_bytes_per_s
        session.drained_s = drained_s
        arrival_s = drained_s + session.link_s * factor
        session.downlink_s = max(session.downlink_s, arrival_s)
        return session.downlink_s

    def _received(self, row: int, message: int, session: Session) -> None:
        self.notes.row_time_s[row] = self.clock._now
        if self.receipts and self._is_for(message, session.user):
            self.clock.process(acknowledge(self, message, session, row))
        if self.keeps_missed:
            box = self.inbox.get(session.user)
            if box is not None and message in box:
                del box[message]
            elif self.notes.stored_s[message] != self.notes.stored_s[message]:
                self.early.setdefault(message, set()).add(session.user)

    def _told(self, event: Any) -> None:
        session, message = event.value
        if not session.gone:
            self.notes.told_s[message] = self.clock.now

    def _gone(self, session: Session, fate: SessionFate) -> None:
        was_online = session.online
        if was_online:
            self.online[session.user] -= 1
        self.access.gone(session)
        session.gone, session.online = True, False
        self.notes.left_s[session.number] = self.clock.now
        self.notes.session_fate[session.number] = fate
        if not was_online:
            happen(session.ready)

    def _close(self, session: Session) -> None:
        """The gateway closes a session, at once on its side."""
        if not session.gone:
            session.closed = True
            self._gone(session, SessionFate.CLOSED)
            self.clock.process(self.goodbye(session, 0.0))

    def _start(self) -> None:
        """The state at time 0: gateways subscribed, sessions that began before the run online."""
        for gateway in self.gateways:
            channel = standing_channel(self.routing, gateway.number)
            if self.routing == ROOM and (self.creates_rooms or self.presence.tells_all):
                channel = GLOBAL_CHANNEL
            if channel >= 0:
                self.subscribed(gateway, [channel])
        starts_s = self.world.sessions.start_s
        standing = int(np.searchsorted(starts_s, 0.0, side="right"))
        for session in self.sessions[:standing]:
            self._stands(session, float(starts_s[session.number]))
        self.clock.process(self._open_trace(standing))

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
        yield from intrude(self, self.access, number)

    def _lives(self, session: Session, since_s: float) -> None:
        """What a session does from time to time while it lives."""
        if self.presence.kept and self.scenario.has_broker:
            self.clock.process(self.presence.refresh(session))
        if self.access.renews:
            self.clock.process(self._renew(session, since_s))

    def _renew(self, session: Session, since_s: float) -> Story:
        life_s, costs = self.access.token_life_s, self.scenario.gateway
        due_s = since_s + life_s
        if due_s < self.clock.now:
            due_s += life_s * math.ceil((self.clock.now - due_s) / life_s)
        while True:
            yield self.clock.until(due_s)
            if session.has_left():
                return
            yield self.does(session.gateway, Work.TOKEN, costs.receive_us + self.access.token_us)
            if session.has_left():
                return
            self.access.renewed(session)
            due_s = max(due_s + life_s, self.clock.now)

    def _is_for(self, message: int, user: int) -> bool:
        return user != self.sender[message] and self.rooms.place(message, user) >= 0
