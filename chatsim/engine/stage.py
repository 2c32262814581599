"""Where things are: stations, sessions, rooms, who is held where. What happens among them is told in ``journey.py``."""

from __future__ import annotations

from typing import Any

import numpy as np
from simpy.events import Event

from chatsim.engine.clock import Clock
from chatsim.engine.luck import Luck
from chatsim.engine.notes import Notes
from chatsim.engine.outcome import Cause, Work
from chatsim.engine.station import Host, Station, Task
from chatsim.rules.limits import ACCEPTED, TOO_LARGE, TOO_MANY, tokens_now, verdict
from chatsim.rules.placement import PLACEMENT_NUMBERS, place
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
from chatsim.scenario.models import StationCosts
from chatsim.world.tables import World

CAUSES = {ACCEPTED: Cause.NONE, TOO_MANY: Cause.TOO_MANY, TOO_LARGE: Cause.TOO_LARGE}


class Session:
    """One session, seen from both ends of its connection: connecting, online, gone."""

    __slots__ = (
        "closed",
        "downlink_s",
        "drained_s",
        "gateway",
        "gone",
        "link_s",
        "live",
        "number",
        "online",
        "ready",
        "registered",
        "synced",
        "uplink_s",
        "user",
    )

    def __init__(self, number: int, user: int, link_s: float, ready: Event) -> None:
        self.number = number
        self.user = user
        self.link_s = link_s
        self.ready = ready
        self.gateway: Gateway
        self.online = False
        self.gone = False
        self.closed = False
        self.registered = False
        self.uplink_s = 0.0
        self.downlink_s = 0.0
        self.drained_s = 0.0
        self.live: set[int] | None = None
        self.synced: frozenset[int] = frozenset()

    def has_left(self) -> bool:
        """Whether the session has gone by now: asked by a story after each wait."""
        return self.gone


class Gateway(Station):
    """A chat server: the sessions it holds, by user and by room (with the user's place in the room)."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.local: dict[int, list[Session]] = {}
        self.tokens: dict[int, tuple[float, float]] = {}
        self.members: dict[int, dict[Session, int]] = {}


class Node(Station):
    """A broker node: which gateways subscribe to which channel here."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.subscribers: dict[int, dict[int, None]] = {}

    def subscribe(self, channel: int, gateway: int, change: int) -> None:
        """A gateway subscribes (+1) or unsubscribes (-1)."""
        here = self.subscribers.setdefault(channel, {})
        if change > 0:
            here[gateway] = None
        else:
            here.pop(gateway, None)
            if not here:
                del self.subscribers[channel]
        self.notes.subscription(self.clock.now, self.number, change)


class Stage:
    """The stations and sessions of one run, as they stand at one moment."""

    def __init__(self, scenario: Scenario, world: World) -> None:
        self.scenario, self.world = scenario, world
        self.design = scenario.design
        self.clock = Clock()
        self.routing = ROUTING_NUMBERS[self.design.routing]
        self.topology = TOPOLOGY_NUMBERS[scenario.broker.topology]
        self.shortcut = self.design.local_shortcut
        self.placement = PLACEMENT_NUMBERS[self.design.placement]
        self.keeps_missed = self.design.offline == "store"
        self.names = scenario.stations
        self.notes = Notes(world, len(self.names))
        self.luck = Luck(scenario, world)
        self.downlink_bytes_per_s = scenario.network.downlink_bytes_per_s
        self.outbound_max_bytes = scenario.network.outbound_max_bytes
        self.end_s = world.duration_s + scenario.workload.drain_s
        self.registry: dict[int, dict[int, int]] = {}
        self.inbox: dict[int, dict[int, None]] = {}
        self.early: dict[int, set[int]] = {}
        self.connections = [0] * self.design.gateways
        self.arrivals = 0
        self._build_stations()
        self._read_world()

    def does(self, gateway: Gateway, work: Work, cost_us: float, times: int = 1) -> Task:
        """An item of work at a gateway, for a process to yield."""
        job = Task(self.clock, cost_us)
        gateway.work[work] += times
        gateway.take(job)
        return job

    def factor(self, costs: StationCosts, purpose: int, entity: int) -> float:
        """The luck of an item: 1 with fixed costs, exponential of mean 1 otherwise."""
        return self.luck.service(purpose, entity) if costs.service == "exponential" else 1.0

    def take_place(self, session: Session) -> bool:
        """The balancer places a session on a gateway; False where none has room."""
        limit = self.scenario.gateway.connections_max
        number = place(self.placement, self.arrivals, session.user, self.connections, limit)
        self.arrivals += 1
        if number < 0:
            return False
        session.gateway = self.gateways[number]
        self.connections[number] += 1
        self.notes.session_gateway[session.number] = number
        return True

    def join(self, session: Session) -> list[int]:
        """Takes a session on at its gateway; the channels to which that gateway must now subscribe."""
        gateway, user = session.gateway, session.user
        session.registered = True
        here = gateway.local.setdefault(user, [])
        here.append(session)
        channels = [user_channel(user)] if self.routing == USER and len(here) == 1 else []
        if not publishes_per_recipient(self.routing):
            for room, position in self.rooms_of(user):
                members = gateway.members.setdefault(room, {})
                if not members and self.routing == ROOM:
                    channels.append(room_channel(room))
                members[session] = position
        return channels

    def part(self, session: Session) -> list[int]:
        """Takes a session off; the channels that its gateway no longer needs."""
        gateway, user = session.gateway, session.user
        here = gateway.local[user]
        here.remove(session)
        channels = []
        if not here:
            del gateway.local[user]
            if self.routing == USER:
                channels.append(user_channel(user))
        if not publishes_per_recipient(self.routing):
            for room, _ in self.rooms_of(user):
                members = gateway.members[room]
                del members[session]
                if not members:
                    del gateway.members[room]
                    if self.routing == ROOM:
                        channels.append(room_channel(room))
        return channels

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

    def stored(self, message: int) -> None:
        """A message is in store, for every recipient who does not have it yet."""
        self.notes.stored_s[message] = self.clock.now
        if self.keeps_missed:
            early = self.early.pop(message, ())
            for user in self.recipients(message):
                if user not in early:
                    self.inbox.setdefault(user, {})[message] = None

    def carried(self, message: int) -> None:
        """One carrier of a message less is under way."""
        self.notes.under_way[message] -= 1
        if not self.notes.under_way[message]:
            self.notes.done_s[message] = self.clock.now

    def recipients(self, message: int) -> list[int]:
        """The members of a message's room without its sender, ascending."""
        room, sender = self.room[message], self.sender[message]
        return [user for user in self.member[self.room_start[room] : self.room_start[room + 1]] if user != sender]

    def position(self, room: int, user: int) -> int:
        """A user's place in a room."""
        return self.member.index(user, self.room_start[room], self.room_start[room + 1]) - self.room_start[room]

    def rooms_of(self, user: int) -> list[tuple[int, int]]:
        """The rooms a user is in, with the user's place in each."""
        return self._rooms_of[self._rooms_start[user] : self._rooms_start[user + 1]]

    def node_of_user(self, user: int) -> Node:
        """The broker node that holds a user's keys."""
        return self.nodes[publish_node(user_channel(user), self.topology, len(self.nodes))]

    def store_of(self, message: int) -> Station:
        """Where a message is stored."""
        if self.design.store_in == "database":
            return self.database
        return self.nodes[publish_node(room_channel(self.room[message]), self.topology, len(self.nodes))]

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
        self.nodes = [Node(*parts(first_node + node, scenario.broker)) for node in range(nodes)]
        self.database = Station(*parts(first_node + nodes, scenario.database))
        self.broker_link_s = scenario.network.broker_rtt_ms * 1e-3 / 2
        self.database_link_s = scenario.network.database_rtt_ms * 1e-3 / 2
        in_database = self.design.store_in == "database"
        self.store_costs: StationCosts = scenario.database if in_database else scenario.broker
        self.store_us = scenario.database.insert_us if in_database else scenario.broker.history_us
        self.sync_us = scenario.database.read_us if in_database else scenario.broker.recover_us

    def _read_world(self) -> None:
        world = self.world
        rooms, messages, sessions = world.rooms, world.messages, world.sessions
        self.sender: list[int] = messages.sender.tolist()
        self.sender_session: list[int] = messages.session.tolist()
        self.room: list[int] = messages.room.tolist()
        self.size_bytes: list[int] = messages.size_bytes.tolist()
        self.member: list[int] = rooms.member.tolist()
        self.room_start: list[int] = rooms.start.tolist()
        self.session_end_s: list[float] = sessions.end_s.tolist()
        order = np.argsort(rooms.member, kind="stable")
        room_of = np.repeat(np.arange(len(rooms)), np.diff(rooms.start))[order]
        positions = order - rooms.start[room_of]
        self._rooms_of = list(zip(room_of.tolist(), positions.tolist(), strict=True))
        self._rooms_start = np.searchsorted(rooms.member[order], np.arange(world.users + 1)).tolist()
        self.sessions = [
            Session(number, user, link_s, Event(self.clock))
            for number, (user, link_s) in enumerate(zip(sessions.user.tolist(), self.luck.link_s, strict=True))
        ]

    def post(self, station: Station, place: Any, items: list[Any]) -> None:
        """What left a station at one instant for one place: a packet."""
        raise NotImplementedError

    def write(self, message: int, session: Session, leaves_s: float, factor: float) -> None:
        """A gateway writes a message to a session."""
        raise NotImplementedError
