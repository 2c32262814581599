"""Where things are: stations, sessions, rooms, who is held where. What happens among them is told in ``journey.py``."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Any

from simpy.events import Event

from chatsim.engine.clock import Clock
from chatsim.engine.lines import Lines
from chatsim.engine.luck import Luck
from chatsim.engine.notes import Notes
from chatsim.engine.outcome import Cause, Fate, Work
from chatsim.engine.rooms import Rooms
from chatsim.engine.session import Client, Session
from chatsim.engine.station import Host, Job, Read, Request, Station, Task
from chatsim.rules.limits import ACCEPTED, TOO_LARGE, TOO_MANY, tokens_now, verdict
from chatsim.rules.placement import PLACEMENT_NUMBERS, place
from chatsim.rules.rooms import PERSONAL_ROOMS
from chatsim.rules.routing import (
    ROOM,
    ROUTING_NUMBERS,
    TOPOLOGY_NUMBERS,
    USER,
    publish_node,
    publishes_per_recipient,
    room_channel,
    subscribe_node,
    user_channel,
)
from chatsim.scenario import Scenario
from chatsim.scenario.models import BrokerCosts, StationCosts
from chatsim.world.tables import World

CAUSES = {ACCEPTED: Cause.NONE, TOO_MANY: Cause.TOO_MANY, TOO_LARGE: Cause.TOO_LARGE}


Story = Generator[Event, Any, None]


class Gateway(Station):
    """A chat server: the sessions it holds, by user and by room (with the user's place in the room).

    ``sessions`` are all that it has a connection with, ``watchers`` those that want to know of a user's presence.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.silent = False
        self.forget()

    def forget(self) -> None:
        """What a gateway knows is in its memory alone."""
        self.sessions: dict[Session, None] = {}
        self.local: dict[int, list[Session]] = {}
        self.tokens: dict[int, tuple[float, float]] = {}
        self.members: dict[int, dict[Session, int]] = {}
        self.watchers: dict[int, dict[Session, None]] = {}


class Node(Station):
    """A broker node: which gateways subscribe to which channel here.

    ``away[gateway]`` are the channels that a gateway wants which has no connection to this node, ``why`` it has none;
    ``missed`` is what streams keep for it. ``lines`` counts the connections of each gateway so far, ``owed`` the bytes
    pushed to it that it has not read, of which ``soft_s`` says since when they are too many.
    """

    def __init__(self, *args: Any, gateways: int, limits: BrokerCosts) -> None:
        super().__init__(*args)
        self.subscribers: dict[int, dict[int, None]] = {}
        self.away: dict[int, dict[int, None]] = {}
        self.why: dict[int, Cause] = {}
        self.missed: dict[int, dict[int, deque[Any]]] = {}
        self.lines = [0] * gateways
        self.owed = [0] * gateways
        self.soft_s: dict[int, float] = {}
        self.cut_lines: dict[int, int] = {}
        self.keeps = limits.delivery == "stream"
        self.limited = bool(limits.subscriber_max_bytes or limits.subscriber_soft_bytes)

    def subscribe(self, channel: int, gateway: int, change: int) -> None:
        """A gateway subscribes (+1) or unsubscribes (-1); one that is away will when it is back."""
        if gateway in self.away:
            self.wanted(channel, gateway, change)
            return
        here = self.subscribers.setdefault(channel, {})
        if change > 0:
            here[gateway] = None
        else:
            here.pop(gateway, None)
            if not here:
                del self.subscribers[channel]
        self.notes.subscriptions.add(self.clock.now, self.number, change)

    def wanted(self, channel: int, gateway: int, change: int) -> None:
        """A gateway that is away wants a channel (+1), or no longer (-1)."""
        channels = self.away.get(gateway)
        if channels is not None and change > 0:
            channels[channel] = None
        elif channels is not None:
            channels.pop(channel, None)

    def read(self, push: Any, gateway: int) -> None:
        """A gateway has read a push: it is owed no longer."""
        if push.line == self.lines[gateway]:
            self.owed[gateway] -= push.stage.size_bytes[push.message]
        push.node = None


class Stage:
    """The stations and sessions of one run, as they stand at one moment.

    ``write(message, session, leaves_s, factor)`` is how a gateway writes a message to a session.
    """

    write: Callable[[int, Session, float, float], None]

    def __init__(self, scenario: Scenario, world: World) -> None:
        self.scenario, self.world = scenario, world
        self.design = scenario.design
        self.clock = Clock()
        self.routing = ROUTING_NUMBERS[self.design.routing]
        self.topology = TOPOLOGY_NUMBERS[scenario.broker.topology]
        self.shortcut = self.design.local_shortcut
        self.placement = PLACEMENT_NUMBERS[self.design.placement]
        self.keeps_missed = self.design.keeps_missed
        self.own_devices = self.design.own_devices
        self.rooms = Rooms(world, self.design)
        self.creates_rooms = self.design.rooms_created == "first_message" and self.rooms.kind != PERSONAL_ROOMS
        self.asks_members = self.design.membership == "broker"
        self.names = scenario.stations
        self.notes = Notes(world, len(self.names))
        self.luck = Luck(scenario, world)
        self.blocks = scenario.network.outbound_policy == "block"
        self.faulty = bool(scenario.faults) or scenario.scaling.start > 0
        self.resends = scenario.client.guarantee == "at_least_once"
        self.out: dict[int, int] = {}
        self.end_s = world.duration_s + scenario.workload.drain_s
        self.registry: dict[int, dict[int, int]] = {}
        self.inbox: dict[int, dict[int, None]] = {}
        self.early: dict[int, set[int]] = {}
        self.history: dict[int, deque[int]] = {}
        self.held: dict[int, int] = {}
        self.came_s: dict[int, float] = {}
        self.last_gateway: dict[int, int] = {}
        self.entered: dict[int, dict[int, int]] = {}
        self.founding: dict[int, int] = {}
        self.room_waits: dict[int, int] = {}
        self.not_joined: set[int] = set()
        self.connections = [0] * self.design.gateways
        self.arrivals = 0
        self.online: dict[int, int] = {}
        self.message_us = scenario.gateway.receive_us
        self._build_stations()
        self._read_world()
        self.lines = Lines(self)

    def does(
        self,
        gateway: Gateway,
        work: Work,
        cost_us: float,
        times: int = 1,
        message: int = -1,
        came_on: Session | None = None,
    ) -> Task:
        """An item of work at a gateway, for a process to yield; for one message, maybe, or asked for by a session."""
        job = Task(self.clock, cost_us)
        job.work, job.message = work, message
        gateway.work[work] += times
        gateway.take(job, came_on=came_on)
        return job

    def query(
        self, gateway: Gateway, requests: Sequence[tuple[Station, Request]], message: int = -1
    ) -> Story:
        """The gateway sends requests, all at once, and waits until it has read every reply; for one message, maybe."""
        if not requests:
            return
        cost_us = self.scenario.gateway.command_us * len(requests)
        yield self.does(gateway, Work.COMMAND, cost_us, len(requests), message)
        for station, request in requests:
            request.is_for(message)
            gateway.send(station, request)
        for _, request in requests:
            yield request.awaited
            gateway.work[Work.PARSE] += 1

    def ask(self, gateway: Gateway, station: Station, request: Job, reply: Task) -> Story:
        """Sends a request and waits until the gateway has read the reply."""
        gateway.send(station, request)
        yield reply
        gateway.work[Work.PARSE] += 1

    def factor(self, costs: StationCosts, purpose: int, entity: int) -> float:
        """The luck of an item: 1 with fixed costs, exponential of mean 1 otherwise."""
        return self.luck.service(purpose, entity) if costs.service == "exponential" else 1.0

    def take_place(self, session: Session) -> bool:
        """The balancer places a session on a gateway; False where none has room."""
        limit = self.scenario.gateway.connections_max
        last = self.last_gateway.get(session.user, -1)
        number = place(self.placement, self.arrivals, session.user, self.connections, limit, last, self.out)
        self.arrivals += 1
        if number < 0:
            return False
        session.gateway = self.gateways[number]
        if session.gateway.up:
            session.life = session.gateway.life
            session.gateway.sessions[session] = None
            self.connections[number] += 1
        self.last_gateway[session.user] = number
        self.notes.session_gateway[session.number] = number
        return True

    def places(self, commands: int) -> tuple[str, ...]:
        """The connections that commands are written to, where that costs something."""
        return tuple(f"command {number}" for number in range(commands)) if self.scenario.gateway.flush_us else ()

    def next_up(self, number: int) -> Gateway:
        """A gateway, or where that is gone the next one that is up."""
        order = [*self.gateways[number:], *self.gateways[:number]]
        return next((gateway for gateway in order if gateway.up), order[0])

    def released(self, session: Session) -> None:
        """A gateway has one connection less."""
        del session.gateway.sessions[session]
        self.connections[session.gateway.number] -= 1

    def join(self, session: Session) -> list[int]:
        """Takes a session on at its gateway; the channels to which that gateway must now subscribe."""
        gateway, user = session.gateway, session.user
        session.registered = True
        self.held[user] = self.held.get(user, 0) + 1
        self.came_s[user] = self.clock.now
        here = gateway.local.setdefault(user, [])
        here.append(session)
        channels = [user_channel(user)] if self.routing == USER and len(here) == 1 else []
        if not publishes_per_recipient(self.routing):
            for room, position in self.rooms.of_user(user):
                channels += self.into(session, room, position)
        return channels

    def part(self, session: Session) -> list[int]:
        """Takes a session off; the channels that its gateway no longer needs."""
        gateway, user = session.gateway, session.user
        self.held[user] -= 1
        here = gateway.local[user]
        here.remove(session)
        channels = []
        if not here:
            del gateway.local[user]
            if self.routing == USER:
                channels.append(user_channel(user))
        if not publishes_per_recipient(self.routing):
            for room, _ in self.rooms.of_user(user):
                channels += self.out_of(session, room)
        for room in session.entered:
            channels += self.out_of(session, room)
        session.entered = {}
        return channels

    def into(self, session: Session, room: int, position: int) -> list[int]:
        """A session is in a room at its gateway; the channel to which that must now subscribe, if any."""
        members = session.gateway.members.setdefault(room, {})
        needs = not members and self.routing == ROOM
        members.setdefault(session, position)
        return [room_channel(room)] if needs else []

    def out_of(self, session: Session, room: int) -> list[int]:
        """A session is in a room no longer; the channel that its gateway does not need any more, if any."""
        members = session.gateway.members.get(room)
        if members is None or session not in members:
            return []
        del members[session]
        if members:
            return []
        del session.gateway.members[room]
        return [room_channel(room)] if self.routing == ROOM else []

    def counted_in(self, user: int, room: int, change: int) -> None:
        """One session more or less of a user that is no member is in a room: what a set in the broker says."""
        inside = self.entered.setdefault(room, {})
        inside[user] = inside.get(user, 0) + change
        if not inside[user]:
            del inside[user]
            if not inside:
                del self.entered[room]

    def hearers(self, message: int) -> list[int]:
        """The users in the room in which a message is broadcast, ascending; last its sender, for other devices."""
        room, sender = self.rooms.room[message], self.sender[message]
        users = self.rooms.members(room)
        if room in self.entered:
            users = sorted({*users, *self.entered[room]})
        others = [user for user in users if user != sender]
        return [*others, sender] if self.own_devices else others

    def invite(self, room: int, gateway: Gateway) -> int:
        """The first message of a new room brings its members here into the room; commands that this takes."""
        channels = []
        for position, user in enumerate(self.rooms.members(room)):
            for session in gateway.local.get(user, ()):
                channels += self.into(session, room, position)
        by_node = self.by_node(gateway, channels)
        for node, its_channels in by_node:
            self.room_waits[room] = self.room_waits.get(room, 0) + 1
            reply = Read(self.clock, self.scenario.gateway.parse_us)
            gateway.work[Work.COMMAND] += 1
            gateway.send(node, self.subscription(node, gateway, its_channels, +1, reply, lambda: self._ready(room)))
        return len(by_node)

    def subscription(
        self,
        node: Node,
        gateway: Gateway,
        channels: list[int],
        change: int,
        reply: Task | None = None,
        then: Callable[[], None] | None = None,
    ) -> Request:
        """At a broker node: SUBSCRIBE (``change`` = 1) or UNSUBSCRIBE (-1) to channels."""

        def act() -> None:
            for channel in channels:
                node.subscribe(channel, gateway.number, change)
            if then is not None:
                then()

        def otherwise() -> None:
            for channel in channels:
                node.wanted(channel, gateway.number, change)
            if then is not None:
                then()

        cost_us = self.scenario.broker.subscribe_us * len(channels)
        return Request(gateway, Work.SUBSCRIBE, cost_us, reply, act, len(channels), otherwise=otherwise)

    def update(self, gateway: Gateway, user: int, change: int, reply: Task | None = None) -> Request:
        """At a broker node: one change of the registry of users' sessions."""

        def act() -> None:
            self.register(user, gateway.number, change)

        return Request(gateway, Work.UPDATE, self.scenario.broker.update_us, reply, act)

    def _ready(self, room: int) -> None:
        """One gateway more has subscribed to a new room: with the last of those asked it hears all."""
        self.room_waits[room] -= 1
        self._hears_all(room)

    def _hears_all(self, room: int) -> None:
        if (
            room not in self.not_joined
            and not self.room_waits.get(room)
            and not math.isnan(self.notes.done_s[self.founding[room]])
        ):
            self.notes.room_ready_s[room] = self.clock.now

    def session_of(self, message: int) -> Session:
        """The session in which a message is written: the one that its device has now."""
        return self.sessions[self.sender_session[message]].client.session

    def register(self, user: int, gateway: int, change: int) -> None:
        """The registry counts one session more or less of a user on a gateway."""
        held = self.registry.setdefault(user, {})
        held[gateway] = held.get(gateway, 0) + change
        if not held[gateway]:
            del held[gateway]
            if not held:
                del self.registry[user]

    def subscribed(self, gateway: Gateway, channels: list[int]) -> None:
        """A gateway has these subscriptions, without work: the state when a run starts."""
        for node, its_channels in self.by_node(gateway, channels):
            for channel in its_channels:
                node.subscribe(channel, gateway.number, +1)

    def by_node(self, gateway: Gateway, channels: list[int]) -> list[tuple[Node, list[int]]]:
        """Channels by the broker node at which a gateway subscribes to them."""
        by_node: dict[int, list[int]] = {}
        for channel in channels:
            number = subscribe_node(channel, gateway.number, self.topology, len(self.nodes))
            by_node.setdefault(number, []).append(channel)
        return [(self.nodes[number], its_channels) for number, its_channels in by_node.items()]

    def limit(self, message: int, gateway: Gateway, at_s: float) -> Cause:
        """Whether a gateway takes a message at ``at_s``; what it takes is counted against its sender."""
        limits, user = self.scenario.limits, self.sender[message]
        left, since_s = gateway.tokens.get(user, (float(limits.burst), at_s))
        tokens = tokens_now(left, at_s - since_s, limits.messages_per_s, limits.burst)
        cause = CAUSES[verdict(tokens, self.size_bytes[message], limits.messages_per_s, limits.message_max_bytes)]
        if limits.messages_per_s:
            gateway.tokens[user] = (tokens if cause else tokens - 1.0, at_s)
        return cause

    def is_stored(self, message: int) -> bool:
        """Whether a message is in store."""
        return not math.isnan(self.notes.stored_s[message])

    def broken(self, message: int, gateway: int, cause: Cause) -> None:
        """A carrier of a message is gone: the sessions of ``gateway`` (-1: any) do not get it from this one.

        Where it would have created its room, not all gateways join that.
        """
        room = self.rooms.room[message]
        if self.founding.get(room) == message:
            self.not_joined.add(room)
            self.notes.room_ready_s[room] = math.inf
        self.notes.breaks.add(message, gateway, cause, self.clock.now)

    def stored(self, message: int) -> list[int]:
        """A message is in store, for every recipient who does not have it yet, and who is returned."""
        waiting: list[int] = []
        self.notes.stored_s[message] = self.clock.now
        self.notes.fate[message], self.notes.cause[message] = Fate.DELIVERED, Cause.NONE
        if self.keeps_missed:
            early = self.early.pop(message, ())
            for user in self.rooms.recipients(message):
                if user in early:
                    continue
                if not self.scenario.client.resync and self.held.get(user):
                    self.notes.unasked.append((message, user))
                else:
                    self.inbox.setdefault(user, {})[message] = None
                    waiting.append(user)
            self._trim_history(message)
        return waiting

    def _trim_history(self, message: int) -> None:
        """A history that is full forgets its oldest message, read or not."""
        longest = self.scenario.broker.history_max
        if not longest or self.design.store_in != "broker":
            return
        kept = self.history.setdefault(self.rooms.room[message], deque())
        kept.append(message)
        if len(kept) > longest:
            forgotten = kept.popleft()
            for user in self.rooms.recipients(forgotten):
                if self.inbox.get(user, {}).pop(forgotten, self) is None:
                    self.notes.trimmed.append((forgotten, user))

    def carried(self, message: int) -> None:
        """One carrier of a message less is under way."""
        self.notes.under_way[message] -= 1
        if not self.notes.under_way[message]:
            self.notes.done_s[message] = self.clock.now
            if self.creates_rooms and self.founding.get(self.rooms.room[message]) == message:
                self._is_founded(message)

    def _is_founded(self, message: int) -> None:
        """Nothing of a message that creates a room is under way any more; where no try of it was routed, the room is
        left to the next one."""
        room = self.rooms.room[message]
        if math.isnan(self.notes.routed_s[message]):
            del self.founding[room]
            self.rooms.exists[room] = False
            self.notes.room_ready_s.pop(room, None)
        else:
            self._hears_all(room)

    def node_of_user(self, user: int) -> Node:
        """The broker node that holds a user's keys."""
        return self.nodes[publish_node(user_channel(user), self.topology, len(self.nodes))]

    def node_of_room(self, message: int) -> Node:
        """The broker node that holds the keys of the room of a message."""
        return self.node_of_room_number(self.rooms.room[message])

    def node_of_room_number(self, room: int) -> Node:
        """The broker node that holds the keys of a room."""
        return self.nodes[publish_node(room_channel(room), self.topology, len(self.nodes))]

    def store_of(self, message: int) -> Station:
        """Where a message is stored."""
        if self.design.store_in == "database":
            return self.database
        return self.node_of_room(message)

    def store_of_user(self, user: int) -> Station:
        """Where a user's missed messages are read."""
        return self.database if self.design.store_in == "database" else self.node_of_user(user)

    def _build_stations(self) -> None:
        scenario, names = self.scenario, self.names
        hosts: dict[str, Host] = {}
        for host in scenario.hosts:
            shared = Host(host.cores)
            hosts.update(dict.fromkeys(scenario.stations_on(host), shared))

        def parts(number: int, costs: StationCosts) -> tuple[Any, ...]:
            return self.clock, number, costs, self.notes, self.post, hosts.get(names[number])

        first_node = self.design.gateways
        nodes = scenario.broker.nodes if scenario.has_broker else 0
        self.gateways = [Gateway(*parts(number, scenario.gateway)) for number in range(first_node)]
        self.nodes = [
            Node(*parts(first_node + node, scenario.broker), gateways=first_node, limits=scenario.broker)
            for node in range(nodes)
        ]
        self.database = Station(*parts(first_node + nodes, scenario.database))
        self.broker_link_s = scenario.network.broker_rtt_ms * 1e-3 / 2
        self.database_link_s = scenario.network.database_rtt_ms * 1e-3 / 2
        in_database = self.design.store_in == "database"
        self.store_costs: StationCosts = scenario.database if in_database else scenario.broker
        self.store_us = scenario.database.insert_us if in_database else scenario.broker.history_us
        self.sync_us = scenario.database.read_us if in_database else scenario.broker.recover_us

    def _read_world(self) -> None:
        world = self.world
        messages, sessions = world.messages, world.sessions
        self.sender = self.rooms.sender
        self.sender_session: list[int] = messages.session.tolist()
        self.size_bytes: list[int] = messages.size_bytes.tolist()
        self.session_end_s: list[float] = sessions.end_s.tolist()
        self.sessions = [
            Session(number, user, link_s, self.luck.rate(number), Client(Event(self.clock), end_s))
            for number, (user, link_s, end_s) in enumerate(
                zip(sessions.user.tolist(), self.luck.link_s, self.session_end_s, strict=True)
            )
        ]

    def registered(self, gateway: Gateway, node: Node) -> None:
        """The registry at a broker node says which users a gateway holds, and whom it does not hold any more."""
        number = gateway.number
        for user in list(self.registry):
            held = self.registry[user]
            if number in held and user not in gateway.local and self.node_of_user(user) is node:
                self.register(user, number, -held[number])
        for user, sessions in gateway.local.items():
            if self.node_of_user(user) is node:
                self.registry.setdefault(user, {})[number] = len(sessions)

    def unsigned(self, gateway: Gateway, node: Node) -> list[Request]:
        """What must be said again to a broker node of sessions that came while it was away."""
        raise NotImplementedError

    def has_room_s(self, message: int, session: Session) -> float:
        """When a session's outbound queue has room for a message."""
        raise NotImplementedError

    def post(self, station: Station, place: Any, items: list[Any]) -> None:
        """What left a station at one instant for one place: a packet."""
        raise NotImplementedError

    def verdict(self, message: int) -> Cause:
        """Whether the sender's session may write a message, by what it brings itself."""
        raise NotImplementedError
