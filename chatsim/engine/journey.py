"""The life of sessions and messages, told from top to bottom as SimPy processes. This is the specification.

A message's life: :meth:`Journey.message` -> the broker (:class:`~chatsim.engine.jobs.Publish`) -> the gateways of its
audience (:class:`~chatsim.engine.jobs.FanOut`) -> :meth:`Journey.write` -> :meth:`Journey.delivered`.
A session's life: :meth:`Journey.login` -> :meth:`Journey.welcomed` -> :meth:`Journey.leave` -> :meth:`Journey.goodbye`.

Equal times happen in the order in which they were scheduled; sessions of the trace are scheduled before messages.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np
from simpy.events import Event

from chatsim.engine.clock import Clock, happen
from chatsim.engine.jobs import FanOut, LookUp, Publish, Store, Subscribe, Sync, Update
from chatsim.engine.luck import RECEIVE, Luck
from chatsim.engine.notes import Notes
from chatsim.engine.outcome import Cause, Fate, SessionFate, Work
from chatsim.engine.station import Host, Job, Station
from chatsim.rules.placement import PLACEMENT_NUMBERS, place
from chatsim.rules.routing import (
    DIRECTORY,
    GLOBAL,
    IN_PROCESS,
    MESH,
    ROOM,
    ROUTING_NUMBERS,
    TOPOLOGY_NUMBERS,
    USER,
    keeps_registry,
    passes_broker,
    publish_node,
    publishes_per_recipient,
    room_channel,
    server_channel,
    standing_channel,
    subscribe_node,
    user_channel,
)
from chatsim.scenario import Scenario
from chatsim.scenario.models import StationCosts
from chatsim.scenario.stations import station_names, stations_on
from chatsim.world.tables import World

Story = Generator[Event, Any, None]


class Client:
    """One session, seen from both ends of its connection: connecting, online, gone."""

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
        self.live: set[int] | None = set()
        self.synced: set[int] = set()


class Gateway(Station):
    """A chat server: the sessions it holds, by user and by room (with the user's place in the room)."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.local: dict[int, list[Client]] = {}
        self.members: dict[int, dict[Client, int]] = {}


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


class Journey:
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
        self.scenario, self.world = scenario, world
        self.design = scenario.design
        self.clock = Clock()
        self.routing = ROUTING_NUMBERS[self.design.routing]
        self.topology = TOPOLOGY_NUMBERS[scenario.broker.topology]
        self.shortcut = self.design.local_shortcut
        self.names = station_names(scenario)
        self.notes = Notes(world, len(self.names))
        self.luck = Luck(scenario, world)
        self.end_s = world.duration_s + scenario.workload.drain_s
        self._build_stations()
        self._read_world()
        self.registry: dict[int, dict[int, int]] = {}
        self.inbox: dict[int, dict[int, None]] = {}
        self.early: dict[int, set[int]] = {}
        self.keeps_missed = self.design.offline == "store"
        self.connections = [0] * self.design.gateways
        self.arrivals = 0
        self.placement = PLACEMENT_NUMBERS[self.design.placement]
        self._start()

    # ---------------------------------------------------------------- sessions

    def login(self, session: int) -> Story:
        """A session from its first packet to the welcome, which brings what its user has missed."""
        client = self.clients[session]
        if not self._place(client):
            return
        self.clock.at(self.session_end_s[session], self.leave, client)
        trips = self.scenario.network.handshake_trips
        yield self.clock.until(self.clock.now + (2 * trips + 1) * client.link_s)
        if client.gone:
            return
        gateway, costs = client.gateway, self.scenario.gateway
        yield self.does(gateway, Work.LOGIN, costs.tls_us + costs.handshake_us + costs.token_us)
        if client.gone:
            return
        yield from self.subscribe(client)
        if client.gone:
            return
        missed: list[int] = []
        if self.keeps_missed:
            sync = Sync(self, client, reply=Job(self.clock))
            yield from self.ask(gateway, self.store_of_user(client.user), sync)
            gateway.work[Work.WRITE] += len(sync.missed)
            missed = sync.missed
        self.welcome(client, missed)

    def subscribe(self, client: Client) -> Story:
        """The gateway takes the session on and subscribes to what it now needs."""
        gateway = client.gateway
        channels = self.join(client)
        replies = []
        requests: list[tuple[Station, Job]] = []
        for node, its_channels in self._by_node(gateway, channels):
            replies.append(Job(self.clock, self.scenario.gateway.parse_us))
            requests.append((node, Subscribe(self, gateway, its_channels, +1, replies[-1])))
        if keeps_registry(self.routing):
            replies.append(Job(self.clock, self.scenario.gateway.parse_us))
            requests.append((self.node_of_user(client.user), Update(self, gateway, client.user, +1, replies[-1])))
        if not requests:
            return
        yield self.does(gateway, Work.COMMAND, self.scenario.gateway.command_us * len(requests), len(requests))
        for station, request in requests:
            gateway.send(station, request)
        for reply in replies:
            yield reply
            gateway.work[Work.PARSE] += 1

    def welcome(self, client: Client, missed: list[int]) -> None:
        """The gateway says welcome; the missed messages travel in the same packet."""
        now_s = self.clock.now
        rows = [self.notes.written(message, client.number, now_s) for message in missed]
        client.synced = set(missed)
        size_bytes = sum(self.size_bytes[message] for message in missed)
        self.clock.at(self._arrival_s(client, now_s, size_bytes, 1.0), self.welcomed, (client, rows))

    def welcomed(self, event: Event) -> None:
        """The welcome reaches the client: it is online, and sends what it held back."""
        client, rows = event.value
        if client.gone:
            for row in rows:
                self._lost(row, Cause.LEFT)
            return
        client.online = True
        self.notes.online_s[client.number] = self.clock.now
        self.notes.session_fate[client.number] = SessionFate.ONLINE
        for row in rows:
            message = self.notes.row_message[row]
            if message in client.live:
                self._received(row, client, Fate.DUPLICATE)
            else:
                self._received(row, client, Fate.READ_LATER)
        client.live = None
        happen(client.ready)

    def leave(self, event: Event) -> None:
        """The client goes away, whatever state it is in."""
        client = event.value
        if not client.gone:
            self._gone(client, SessionFate.LEFT if client.online else SessionFate.ABANDONED)
            self.clock.process(self.goodbye(client, client.link_s))

    def goodbye(self, client: Client, notice_s: float) -> Story:
        """The gateway notices, after ``notice_s``, and takes the session off."""
        gateway, costs = client.gateway, self.scenario.gateway
        yield self.clock.until(self.clock.now + notice_s)
        yield self.does(gateway, Work.CLOSE, costs.close_us)
        self.connections[gateway.number] -= 1
        if not client.registered:
            return
        for node, channels in self._by_node(gateway, self.part(client)):
            gateway.send(node, Subscribe(self, gateway, channels, -1, None))
        if keeps_registry(self.routing):
            gateway.send(self.node_of_user(client.user), Update(self, gateway, client.user, -1, None))

    # ---------------------------------------------------------------- messages

    def message(self, message: int) -> Story:
        """A message from its sender's hand to the gateway, the store, and on to its audience."""
        client = self.clients[self.session[message]]
        if not client.online and not client.gone:
            yield client.ready
        if client.gone:
            self.refuse(message, Cause.NO_SESSION)
            return
        client.uplink_s = max(client.uplink_s, self.clock.now + client.link_s * self.luck.uplink[message])
        yield self.clock.until(client.uplink_s)
        if client.closed:
            self.refuse(message, Cause.NO_SESSION)
            return
        gateway, store = client.gateway, self.design.store
        self.notes.under_way[message] += 1
        self.notes.gateway[message] = gateway.number
        yield from self.receive(message, gateway)
        if store == "before":
            yield from self.ask(gateway, self.store_of(message), self._store(message, gateway, routes=True))
        elif store == "beside":
            gateway.send(self.store_of(message), self._store(message, gateway, routes=False))
        if self.routing == DIRECTORY:
            yield from self.route_by_directory(message, gateway)
        else:
            self.route(message, gateway)
        self.notes.routed_s[message] = self.clock.now
        if store == "after":
            yield self.does(gateway, Work.COMMAND, self.scenario.gateway.command_us)
            gateway.send(self.store_of(message), self._store(message, gateway, routes=False))
        self.carried(message)

    def receive(self, message: int, gateway: Gateway) -> Story:
        """The gateway reads and checks a message and writes the first commands for it."""
        costs, store = self.scenario.gateway, self.design.store
        commands = int(store in ("before", "beside"))
        if store != "before":
            commands += self._commands(message, gateway)
        cost_us = costs.receive_us + costs.command_us * commands
        job = Job(self.clock, cost_us, self._places(commands), self.factor(costs, RECEIVE, message))
        gateway.take(job)
        yield job
        gateway.work[Work.RECEIVE] += 1
        gateway.work[Work.COMMAND] += commands
        self.notes.received_s[message] = self.clock.now
        self.notes.fate[message] = Fate.DELIVERED

    def route(self, message: int, gateway: Gateway) -> None:
        """The message goes to where its audience is."""
        if self.routing in (IN_PROCESS, MESH) or self.shortcut:
            self.fan_out_here(message, gateway)
        if self.routing == MESH:
            for peer in self._peers(message, gateway):
                self.notes.pushes[message] += 1
                gateway.send(peer, FanOut(self, message, -1, pushed=True))
        elif passes_broker(self.routing):
            for channel, recipient in self._channels(message):
                node = self.nodes[publish_node(channel, self.topology, len(self.nodes))]
                gateway.send(node, Publish(self, message, channel, recipient))

    def route_by_directory(self, message: int, gateway: Gateway) -> Story:
        """The directory says which gateways hold the recipients; each of them gets one PUBLISH."""
        node = self.nodes[publish_node(room_channel(self.room[message]), self.topology, len(self.nodes))]
        look_up = LookUp(self, tuple(self.recipients(message)), gateway, reply=Job(self.clock))
        yield from self.ask(gateway, node, look_up)
        if self.shortcut:
            self.fan_out_here(message, gateway)
        for holder in look_up.holders:
            if self.shortcut and holder == gateway.number:
                continue
            channel = server_channel(holder)
            node = self.nodes[publish_node(channel, self.topology, len(self.nodes))]
            gateway.work[Work.COMMAND] += 1
            gateway.send(node, Publish(self, message, channel, -1))

    def fan_out_here(self, message: int, gateway: Gateway) -> None:
        """The sender's own gateway serves its own sessions."""
        gateway.take(FanOut(self, message, -1, pushed=False))

    def write(self, message: int, client: Client, position: int, leaves_s: float) -> None:
        """A gateway writes a message to a session at ``leaves_s``; a full outbound queue closes it or drops the message."""
        network = self.scenario.network
        waiting_bytes = (client.drained_s - leaves_s) * network.downlink_bytes_per_s
        if waiting_bytes + self.size_bytes[message] > network.outbound_max_bytes and not client.closed:
            self.notes.written(message, client.number, leaves_s, Cause.OUTBOUND_FULL)
            if network.outbound_policy == "close":
                self._close(client)
            return
        row = self.notes.written(message, client.number, leaves_s)
        gateway = client.gateway
        if gateway.by_item:
            self._transmit(client, leaves_s, [(row, position)])
        else:
            gateway.send(client, (row, position))

    def delivered(self, event: Event) -> None:
        """A packet reaches the client. Now, and not before, its messages are delivered."""
        client, rows = event.value
        for row, _ in rows:
            if client.gone:
                self._lost(row, Cause.LEFT)
                continue
            message = self.notes.row_message[row]
            if message in client.synced:
                self._received(row, client, Fate.DUPLICATE)
                continue
            if client.live is not None:
                client.live.add(message)
            self._received(row, client, Fate.DELIVERED)

    def stored(self, message: int) -> None:
        """A message is in store, for every recipient who does not have it yet."""
        self.notes.stored_s[message] = self.clock.now
        if self.keeps_missed:
            early = self.early.pop(message, ())
            for user in self.recipients(message):
                if user not in early:
                    self.inbox.setdefault(user, {})[message] = None

    def refuse(self, message: int, cause: Cause) -> None:
        """A message that the system never took."""
        self.notes.fate[message] = Fate.REFUSED
        self.notes.cause[message] = cause
        self.notes.done_s[message] = self.clock.now

    def carried(self, message: int) -> None:
        """One carrier of a message less is under way."""
        self.notes.under_way[message] -= 1
        if not self.notes.under_way[message]:
            self.notes.done_s[message] = self.clock.now

    # ---------------------------------------------------------------- who is where

    def join(self, client: Client) -> list[int]:
        """Takes a session on at its gateway; the channels to which that gateway must now subscribe."""
        gateway, user = client.gateway, client.user
        client.registered = True
        here = gateway.local.setdefault(user, [])
        here.append(client)
        channels = [user_channel(user)] if self.routing == USER and len(here) == 1 else []
        if not publishes_per_recipient(self.routing):
            for room, position in self.rooms_of(user):
                members = gateway.members.setdefault(room, {})
                if not members and self.routing == ROOM:
                    channels.append(room_channel(room))
                members[client] = position
        return channels

    def part(self, client: Client) -> list[int]:
        """Takes a session off; the channels that its gateway no longer needs."""
        gateway, user = client.gateway, client.user
        here = gateway.local[user]
        here.remove(client)
        channels = []
        if not here:
            del gateway.local[user]
            if self.routing == USER:
                channels.append(user_channel(user))
        if not publishes_per_recipient(self.routing):
            for room, _ in self.rooms_of(user):
                members = gateway.members[room]
                del members[client]
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

    # ---------------------------------------------------------------- mechanics

    def does(self, gateway: Gateway, work: Work, cost_us: float, times: int = 1) -> Job:
        """An item of work at a gateway, for a process to yield."""
        job = Job(self.clock, cost_us)
        gateway.work[work] += times
        gateway.take(job)
        return job

    def ask(self, gateway: Gateway, station: Station, request: Job) -> Story:
        """Sends a request and waits until the gateway has read the reply."""
        gateway.send(station, request)
        yield request.reply
        gateway.work[Work.PARSE] += 1

    def factor(self, costs: StationCosts, purpose: int, entity: int) -> float:
        """The luck of an item: 1 with fixed costs, exponential of mean 1 otherwise."""
        return self.luck.service(purpose, entity) if costs.service == "exponential" else 1.0

    def post(self, station: Station, place: Any, items: list[Any]) -> None:
        """What left a station at one instant for one place: a packet."""
        if type(place) is Client:
            self._transmit(place, self.clock._now, items)
        else:
            far = station is self.database or place is self.database
            delay_s = self.database_link_s if far else self.broker_link_s
            self.clock.at(self.clock._now + delay_s, self._arrive, (place, items))

    def run(self, progress: Callable[[float], None] | None = None) -> None:
        """Runs to the end; ``progress`` is told the share of simulated time, 100 times."""
        if progress is not None:
            self.clock.process(self._report(progress))
        self.clock.run(until=self.end_s)

    def _report(self, progress: Callable[[float], None]) -> Story:
        for percent in range(1, 100):
            yield self.clock.until(self.end_s * percent / 100)
            progress(percent / 100)

    def _arrive(self, event: Event) -> None:
        station, jobs = event._value
        station.take(*jobs)

    def _transmit(self, client: Client, leaves_s: float, rows: list[tuple[int, int]]) -> None:
        """A packet goes down a session's link, behind what went before."""
        first = self.notes.row_message[rows[0][0]]
        size_bytes = sum(self.size_bytes[self.notes.row_message[row]] for row, _ in rows)
        factors, offset = self.luck.downlink(first)
        arrival_s = self._arrival_s(client, leaves_s, size_bytes, factors[offset + rows[0][1]])
        self.clock.at(arrival_s, self.delivered, (client, rows))

    def _arrival_s(self, client: Client, leaves_s: float, size_bytes: int, factor: float) -> float:
        """When a packet arrives: the link sends one byte after the other, and nothing overtakes."""
        drained_s = max(client.drained_s, leaves_s) + size_bytes / self.scenario.network.downlink_bytes_per_s
        client.drained_s = drained_s
        client.downlink_s = max(client.downlink_s, drained_s + client.link_s * factor)
        return client.downlink_s

    def _received(self, row: int, client: Client, fate: Fate) -> None:
        self.notes.row_time_s[row] = self.clock._now
        self.notes.row_fate[row] = fate
        if self.keeps_missed:
            message = self.notes.row_message[row]
            box = self.inbox.get(client.user)
            if box is not None and message in box:
                del box[message]
            elif self.notes.stored_s[message] != self.notes.stored_s[message]:
                self.early.setdefault(message, set()).add(client.user)

    def _lost(self, row: int, cause: Cause) -> None:
        self.notes.row_fate[row] = Fate.LOST
        self.notes.row_cause[row] = cause

    def _gone(self, client: Client, fate: SessionFate) -> None:
        was_online = client.online
        client.gone, client.online = True, False
        self.notes.left_s[client.number] = self.clock.now
        self.notes.session_fate[client.number] = fate
        if not was_online:
            happen(client.ready)

    def _close(self, client: Client) -> None:
        """The gateway closes a session, at once on its side."""
        if not client.gone:
            client.closed = True
            self._gone(client, SessionFate.CLOSED)
            self.clock.process(self.goodbye(client, 0.0))

    def _place(self, client: Client) -> bool:
        limit = self.scenario.gateway.connections_max
        number = place(self.placement, self.arrivals, client.user, self.connections, limit)
        self.arrivals += 1
        if number < 0:
            self._gone(client, SessionFate.REFUSED)
            return False
        client.gateway = self.gateways[number]
        self.connections[number] += 1
        self.notes.session_gateway[client.number] = number
        return True

    def _store(self, message: int, gateway: Gateway, routes: bool) -> Store:
        costs = self.scenario.gateway
        commands = self._commands(message, gateway) if routes else 0
        gateway.work[Work.COMMAND] += commands
        reply = Job(self.clock, costs.parse_us + costs.command_us * commands, self._places(commands))
        return Store(self, message, gateway, reply)

    def _commands(self, message: int, gateway: Gateway) -> int:
        """How many commands the gateway writes to route a message."""
        if self.routing == IN_PROCESS:
            return 0
        if self.routing == MESH:
            return len(self._peers(message, gateway))
        if publishes_per_recipient(self.routing):
            return self.room_start[self.room[message] + 1] - self.room_start[self.room[message]] - 1
        return 1

    def _places(self, commands: int) -> tuple[str, ...]:
        return tuple(f"command {number}" for number in range(commands)) if self.scenario.gateway.flush_us else ()

    def _channels(self, message: int) -> list[tuple[int, int]]:
        """The channels on which a message is published, each with its recipient (-1: the whole room)."""
        if publishes_per_recipient(self.routing):
            return [
                (user_channel(user) if self.routing == USER else standing_channel(self.routing, 0), user)
                for user in self.recipients(message)
            ]
        if self.routing == GLOBAL:
            return [(standing_channel(GLOBAL, 0), -1)]
        return [(room_channel(self.room[message]), -1)]

    def _peers(self, message: int, gateway: Gateway) -> list[Gateway]:
        others = [peer for peer in self.gateways if peer is not gateway]
        if self.design.mesh_directory:
            return [peer for peer in others if self.room[message] in peer.members]
        return others

    def _by_node(self, gateway: Gateway, channels: list[int]) -> list[tuple[Node, list[int]]]:
        by_node: dict[int, list[int]] = {}
        for channel in channels:
            number = subscribe_node(channel, gateway.number, self.topology, len(self.nodes))
            by_node.setdefault(number, []).append(channel)
        return [(self.nodes[number], its_channels) for number, its_channels in by_node.items()]

    def _build_stations(self) -> None:
        scenario, names = self.scenario, self.names
        hosts: dict[str, Host] = {}
        for host in scenario.hosts:
            shared = Host(host.cores)
            hosts.update(dict.fromkeys(stations_on(host, names), shared))

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
        self.session: list[int] = messages.session.tolist()
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
        self.clients = [
            Client(number, user, link_s, Event(self.clock))
            for number, (user, link_s) in enumerate(zip(sessions.user.tolist(), self.luck.link_s, strict=True))
        ]

    def _start(self) -> None:
        """The state at time 0: gateways subscribed, sessions that began before the run online."""
        for gateway in self.gateways:
            channel = standing_channel(self.routing, gateway.number)
            if channel >= 0:
                self._subscribed(gateway, [channel])
        starts_s = self.world.sessions.start_s
        standing = int(np.searchsorted(starts_s, 0.0, side="right"))
        for client in self.clients[:standing]:
            self._stands(client, float(starts_s[client.number]))
        self.clock.process(self._open_sessions(standing, starts_s[standing:].tolist()))
        self.clock.process(self._open_messages(self.world.messages.time_s.tolist()))

    def _stands(self, client: Client, since_s: float) -> None:
        if not self._place(client):
            return
        client.online, client.live = True, None
        self.notes.online_s[client.number] = since_s
        self.notes.session_fate[client.number] = SessionFate.ONLINE
        self._subscribed(client.gateway, self.join(client))
        if keeps_registry(self.routing):
            self.register(client.user, client.gateway.number, +1)
        self.clock.at(max(0.0, self.session_end_s[client.number]), self.leave, client)

    def _subscribed(self, gateway: Gateway, channels: list[int]) -> None:
        for node, its_channels in self._by_node(gateway, channels):
            for channel in its_channels:
                node.subscribe(channel, gateway.number, +1)

    def _open_sessions(self, first: int, starts_s: list[float]) -> Story:
        for session, start_s in enumerate(starts_s, first):
            yield self.clock.until(start_s)
            self.clock.process(self.login(session))

    def _open_messages(self, times_s: list[float]) -> Story:
        for message, time_s in enumerate(times_s):
            yield self.clock.until(time_s)
            self.clock.process(self.message(message))
