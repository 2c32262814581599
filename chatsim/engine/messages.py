"""The life of a message, from its sender's hand until its gateway has routed it, told from top to bottom.

:meth:`Messages.message` -> :meth:`Messages.send` -> :meth:`Messages.receive` -> :meth:`Messages.carry` -> the broker
(:class:`~chatsim.engine.jobs.Publish`) -> the gateways of its audience (:class:`~chatsim.engine.jobs.FanOut`) -> the
outbound queues of their sessions (:mod:`chatsim.engine.outbound`).
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from simpy.events import Event

from chatsim.engine.asking import ask_presence, search
from chatsim.engine.clock import Broken, happen
from chatsim.engine.entering import enter
from chatsim.engine.jobs import Receive
from chatsim.engine.outcome import Cause, Fate, Work
from chatsim.engine.routes import Routes
from chatsim.engine.session import Session
from chatsim.engine.stage import Gateway, Story
from chatsim.engine.station import Request, Task
from chatsim.rules.detour import GIVE_UP, SEARCH
from chatsim.rules.rooms import PERSONAL_ROOMS
from chatsim.rules.routing import DIRECTORY, ROOM

if TYPE_CHECKING:
    from chatsim.engine.access import Access
    from chatsim.engine.friendlists import FriendLists
    from chatsim.engine.outbound import Outbound
    from chatsim.engine.presence import Presence

Answer = Generator[Event, Any, bool]
TRANSIENT = (Cause.UNAVAILABLE, Cause.TOO_MANY)
"""Refusals after which a client that wants to be sure tries again."""


class Messages(Routes):
    """A stage on which messages are written, sent, taken and routed."""

    access: Access
    lists: FriendLists
    presence: Presence
    outbound: Outbound
    asks_more: bool

    def message(self, message: int) -> Story:
        """A message from its sender's hand on. It waits for a connection, if there is one to come."""
        session = self.session_of(message)
        if not session.online:
            session = yield from self.connected(message)
            if not session.online:
                return
        if self.lists.loads and not (yield from self.find(message, session)):
            return
        if self.presence.pulls and self.lists.opening[message]:
            self.clock.story(ask_presence(self, self.presence, session, self.rooms.partner(message)))
        if self.resends:
            yield from self.keep_sending(message, session)
        else:
            yield from self.send(message, session)

    def connected(self, message: int) -> Generator[Event, Any, Session]:
        """Waits until the sender's device is online: its session; one that is not where it is refused."""
        client = self.session_of(message).client
        lost = client.session.gone or client.tries > 0
        if lost and not client.hopeless and client.waiting >= self.scenario.client.buffer_max:
            self.refuse(message, Cause.NOT_BUFFERED)
            return client.session
        client.waiting += 1
        while not client.session.online and not client.hopeless:
            yield client.ready
        client.waiting -= 1
        if not client.session.online:
            self.refuse(message, Cause.NO_SESSION)
        return client.session

    def keep_sending(self, message: int, session: Session) -> Story:
        """At least once: the client sends a message until it is told that it was taken, or is gone for good."""
        asked, client = self.scenario.client, session.client
        self.notes.under_way[message] += 1
        while True:
            self.clock.process(self.send(message, session))
            woken = client.unacked[message] = Event(self.clock)
            self.clock.at(self.clock.now + asked.ack_timeout_s, self._wakes, (client, message, woken))
            yield woken
            if message not in client.unacked:
                break
            if asked.sends_max and self.notes.sends[message] >= asked.sends_max:
                self.refuse(message, Cause.GAVE_UP)
                break
            if not client.session.online:
                session = yield from self.connected(message)
                if not session.online:
                    break
            session = client.session
        client.unacked.pop(message, None)
        self.carried(message)

    def send(self, message: int, session: Session) -> Story:
        """One try: up the link to the gateway, and on from there as far as it goes."""
        self.notes.sends[message] += 1
        uplink_s = self.clock.now + session.link_s * self.luck.uplink[message] + self.lines.extra_s(0)
        session.uplink_s = max(session.uplink_s, uplink_s)
        yield self.clock.until(session.uplink_s)
        if session.closed and not session.cut:
            self.refuse(message, Cause.NO_SESSION)
            return
        if session.cut:
            self.lose(message, Cause.CRASHED)
            return
        self.notes.under_way[message] += 1
        gateway = session.gateway
        self.notes.gateway[message] = gateway.number
        try:
            yield from self.taken(message, session)
        except Broken as broken:
            self.breaks_off(message, session, broken.cause)
        self.carried(message)

    def taken(self, message: int, session: Session) -> Story:
        """What the gateway does with a message: read it, check it, and carry it on or refuse it."""
        passes = yield from self.receive(message, session)
        if passes and self.asks_more:
            passes = yield from self.may_pass(message, session)
        if passes:
            yield from self.carry(message, session)
        else:
            self.tell(session, message)

    def breaks_off(self, message: int, session: Session, cause: Cause) -> None:
        """The way of a message ends at its gateway, which has died, or cannot reach what it needs and says so."""
        if session.life != session.gateway.life:
            if self.notes.fate[message] == Fate.DELIVERED:
                self.broken(message, -1, Cause.CRASHED)
            else:
                self.lose(message, Cause.CRASHED)
        elif self._may_go_on(message):
            self.broken(message, -1, cause)
        else:
            self.notes.fate[message] = Fate.IN_FLIGHT
            self.notes.refused[message] += 1
            session.gateway.work[Work.REFUSAL] += 1
            self.refuse(message, Cause.UNAVAILABLE)
            self.tell(session, message)

    def carry(self, message: int, session: Session) -> Story:
        """A message that was taken goes to the store and on to its audience."""
        store, gateway = self.design.store, session.gateway
        self._is_taken(message)
        if store == "before":
            storing = self.storing(message, gateway, routes=True)
            yield from self.ask(gateway, self.store_of(message), storing, storing.reply)
            if storing.already:
                self.clock.story(self.acknowledge(message, session))
                return
        elif store == "beside":
            gateway.send(self.store_of(message), self.storing(message, gateway, routes=False))
        if self.routing == DIRECTORY:
            yield from self.route_by_directory(message, gateway)
        else:
            self.route(message, gateway)
        self._is_taken(message)
        self.notes.routed_s[message] = self.clock.now
        if store == "after":
            yield self.does(gateway, Work.COMMAND, self.scenario.gateway.command_us, message=message)
            gateway.send(self.store_of(message), self.storing(message, gateway, routes=False))
        if self.lists.loads:
            self.lists.noted(message, gateway)
        if self.resends:
            self.clock.story(self.acknowledge(message, session))

    def acknowledge(self, message: int, session: Session) -> Story:
        """The gateway tells the sender that it has taken a message."""
        yield self.does(session.gateway, Work.ACK, self.scenario.gateway.write_us, message=message)
        self.outbound.send(session, 0.0, self._acked, (session, message))

    def find(self, message: int, session: Session) -> Answer:
        """The writer looks for the recipient on the list, or searches; False where the message is never written."""
        if not self.lists.is_written(message):
            self.abandon(message)
            return False
        choice = self.lists.detour(message, session)
        if choice == GIVE_UP:
            self.abandon(message)
            return False
        if choice == SEARCH:
            try:
                yield from search(self, session, message)
            except Broken:
                self.abandon(message)
                return False
            if session.gone:
                self.refuse(message, Cause.NO_SESSION)
                return False
        return True

    def may_pass(self, message: int, session: Session) -> Answer:
        """What must be asked, and who must be in the room, before a message that was taken goes on."""
        gateway, costs = session.gateway, self.scenario.gateway
        if self.access.must_ask(message, gateway):
            question = self.access.question(message, gateway, Task(self.clock, costs.parse_us))
            yield from self.query(gateway, [(self.database, question)], message)
        cause = self.access.answer(message, gateway)
        if cause:
            yield self.does(gateway, Work.REFUSAL, costs.write_us, times=0, message=message)
            gateway.work[Work.REFUSAL] += 1
            self.notes.refused[message] += 1
            self.refuse(message, cause)
            return False
        room = self.rooms.room[message]
        if self.rooms.kind == PERSONAL_ROOMS and self.rooms.partner(message) >= 0 and not session.gone:
            yield from enter(self, session, room, message)
        if self.creates_rooms and not self.rooms.exists[room]:
            yield from self.found(message, gateway)
        if self.asks_members:
            broker = self.scenario.broker
            cost_us = broker.lookup_us + broker.lookup_user_us * len(self.hearers(message))
            request = Request(gateway, Work.MEMBERS, cost_us, Task(self.clock, costs.parse_us))
            yield from self.query(gateway, [(self.node_of_room(message), request)], message)
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
            yield from self.query(gateway, [(self.node_of_room(message), request)], message)

    def receive(self, message: int, session: Session) -> Answer:
        """The gateway reads and checks a message, and writes the first commands for it or refuses it."""
        store, gateway = self.design.store, session.gateway
        commands = int(store in ("before", "beside")) + self.lists.moves(message)
        if store != "before":
            commands += self.commands_for(message, gateway)
        job = Receive(self, message, commands, self.places(commands))
        gateway.take(job, came_on=session)
        yield job
        gateway.work[Work.RECEIVE] += 1
        self.notes.received[message] += 1
        if math.isnan(self.notes.received_s[message]):
            self.notes.received_s[message] = self.clock.now
        if job.cause:
            self.notes.refused[message] += 1
            self.refuse(message, job.cause)
            gateway.work[Work.REFUSAL] += 1
            return False
        gateway.work[Work.COMMAND] += commands
        return True

    def tell(self, session: Session, message: int) -> None:
        """The sender of a refused message is told."""
        self.outbound.send(session, 0.0, self._told, (session, message))

    def abandon(self, message: int) -> None:
        """A message that is never written."""
        self.notes.fate[message] = Fate.ABANDONED
        self.notes.done_s[message] = self.clock.now

    def refuse(self, message: int, cause: Cause) -> None:
        """A message that the system has not taken, and whose sender knows; not where an earlier try was taken."""
        self._ends(message, Fate.REFUSED, cause)

    def lose(self, message: int, cause: Cause) -> None:
        """A message that never came to a gateway that could take it; one that is sent again is not lost yet."""
        if not self.resends:
            self._ends(message, Fate.LOST, cause)

    def _may_go_on(self, message: int) -> bool:
        """Whether a message is in store, on its way there beside the routing, or routed by an earlier try."""
        beside = self.design.store == "beside" and self.notes.fate[message] == Fate.DELIVERED
        return beside or self.is_stored(message) or not math.isnan(self.notes.routed_s[message])

    def _is_taken(self, message: int) -> None:
        self.notes.fate[message] = Fate.DELIVERED
        self.notes.cause[message] = Cause.NONE

    def _ends(self, message: int, fate: Fate, cause: Cause) -> None:
        if self.notes.fate[message] != Fate.DELIVERED:
            self.notes.fate[message] = fate
            self.notes.cause[message] = cause
        if not self.notes.under_way[message]:
            self.notes.done_s[message] = self.clock.now

    def _wakes(self, event: Any) -> None:
        """The time for an answer is over, unless it came, or the message was sent again meanwhile."""
        client, message, woken = event.value
        if client.unacked.get(message) is woken:
            happen(woken)

    def _acked(self, event: Any) -> None:
        session, message = event.value
        if session.gone:
            return
        if math.isnan(self.notes.acked_s[message]):
            self.notes.acked_s[message] = self.clock.now
        self._is_settled(session, message)

    def _told(self, event: Any) -> None:
        session, message = event.value
        if session.gone:
            return
        self.notes.told_s[message] = self.clock.now
        if self.notes.cause[message] not in TRANSIENT:
            self._is_settled(session, message)

    def _is_settled(self, session: Session, message: int) -> None:
        """The client need not send a message again."""
        woken = session.client.unacked.pop(message, None)
        if woken is not None:
            happen(woken)
