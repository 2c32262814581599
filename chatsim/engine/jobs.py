"""The items that stations work on: each decides what it costs when a worker turns to it, and acts when it leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatsim.engine.luck import PUBLISH, PUSH, STORE, SYNC
from chatsim.engine.outcome import Work
from chatsim.engine.station import US, Job, Station, Task
from chatsim.rules.routing import GLOBAL_PER_RECIPIENT, bus_copies

if TYPE_CHECKING:
    from chatsim.engine.journey import Journey
    from chatsim.engine.stage import Client, Gateway, Node


class Publish(Job):
    """At a broker node: one PUBLISH, or (``on_bus``) a message taken from another node of the cluster."""

    __slots__ = ("channel", "journey", "message", "on_bus", "recipient", "subscribers")

    def __init__(self, journey: Journey, message: int, channel: int, recipient: int, on_bus: bool = False) -> None:
        self.touches = ()
        self.journey, self.message, self.channel, self.recipient = journey, message, channel, recipient
        self.on_bus = on_bus
        journey.notes.under_way[message] += 1

    def begin(self, station: Node, at_s: float) -> float:
        journey, costs = self.journey, self.journey.scenario.broker
        self.subscribers = tuple(station.subscribers.get(self.channel, ()))
        pushes = len(self.subscribers)
        copies = 0 if self.on_bus else bus_copies(journey.topology, costs.nodes)
        self.touches = (*self.subscribers, *(-1 - copy for copy in range(copies)))
        luck = journey.factor(costs, PUBLISH, self.message)
        own_us = costs.bus_receive_us if self.on_bus else costs.publish_us
        return (own_us + costs.push_us * pushes + costs.bus_send_us * copies) * luck

    def end(self, station: Node) -> None:
        journey, message = self.journey, self.message
        for gateway in self.subscribers:
            station.send(journey.gateways[gateway], FanOut(journey, message, self.recipient, pushed=True))
        if not self.on_bus and bus_copies(journey.topology, journey.scenario.broker.nodes):
            for node in journey.nodes:
                if node is not station:
                    station.send(node, Publish(journey, message, self.channel, self.recipient, on_bus=True))
        journey.notes.pushes[message] += len(self.subscribers)
        station.work[Work.BUS if self.on_bus else Work.PUBLISH] += 1
        station.work[Work.PUSH] += len(self.subscribers)
        journey.carried(message)


class FanOut(Job):
    """At a gateway: a message is written to the sessions of its audience that are here.

    ``recipient`` is -1 for the whole room. ``pushed`` says that it came from the broker or another gateway and has to
    be read; ``known`` that the registry has already been asked whether the recipient is here.
    """

    __slots__ = ("asks", "journey", "known", "message", "pushed", "recipient", "targets")

    def __init__(self, journey: Journey, message: int, recipient: int, pushed: bool, known: bool = False) -> None:
        self.touches = ()
        self.journey, self.message, self.recipient = journey, message, recipient
        self.pushed, self.known = pushed, known
        journey.notes.under_way[message] += 1

    def begin(self, station: Gateway, at_s: float) -> float:
        journey, costs = self.journey, self.journey.scenario.gateway
        luck = journey.factor(costs, PUSH + station.number, self.message)
        parse_us = costs.parse_us if self.pushed else 0.0
        self.targets: list[tuple[Client, int]] = []
        self.asks = journey.routing == GLOBAL_PER_RECIPIENT and self.pushed and not self.known
        if self.asks:
            self.touches = ("broker",)
            return (parse_us + costs.command_us) * luck
        if not self._is_own_echo(station):
            self._find_targets(station)
        if costs.flush_us:
            self.touches = [client for client, _ in self.targets]
        if station.by_item:
            left_us = parse_us * luck
            factors, offset = journey.luck.downlink(self.message)
            for client, position in self.targets:
                left_us += costs.write_us * luck + costs.flush_us
                journey.write(self.message, client, at_s + left_us * US, factors[offset + position])
        return (parse_us + costs.write_us * len(self.targets)) * luck

    def end(self, station: Gateway) -> None:
        journey, message = self.journey, self.message
        if self.pushed:
            station.work[Work.PARSE] += 1
            if not self.known:
                journey.notes.reads[message] += 1
        if self.asks:
            reply = FanOut(journey, message, self.recipient, pushed=True, known=True)
            station.work[Work.COMMAND] += 1
            station.send(journey.node_of_user(self.recipient), LookUp(journey, (self.recipient,), station, reply))
        elif not station.by_item:
            factors, offset = journey.luck.downlink(message)
            for client, position in self.targets:
                journey.write(message, client, journey.clock.now, factors[offset + position])
        station.work[Work.WRITE] += len(self.targets)
        journey.carried(message)

    def _is_own_echo(self, station: Gateway) -> bool:
        return self.pushed and self.journey.shortcut and self.journey.notes.gateway[self.message] == station.number

    def _find_targets(self, station: Gateway) -> None:
        journey = self.journey
        room, sender = journey.room[self.message], journey.sender[self.message]
        if self.recipient >= 0:
            here = station.local.get(self.recipient, ())
            if here:
                position = journey.position(room, self.recipient)
                self.targets = [(client, position) for client in here]
            nobody = not here
        else:
            members = station.members.get(room, {})
            self.targets = [(client, position) for client, position in members.items() if client.user != sender]
            nobody = not members
        if nobody and self.pushed:
            station.work[Work.DISCARD] += 1
            journey.notes.discards[self.message] += 1


class Subscribe(Task):
    """At a broker node: SUBSCRIBE (``change`` = 1) or UNSUBSCRIBE (-1) to channels."""

    __slots__ = ("change", "channels", "gateway", "journey", "reply")

    def __init__(
        self, journey: Journey, gateway: Gateway, channels: list[int], change: int, reply: Task | None
    ) -> None:
        super().__init__(journey.clock, journey.scenario.broker.subscribe_us * len(channels), (gateway.number,))
        self.journey, self.gateway, self.channels, self.change, self.reply = journey, gateway, channels, change, reply

    def end(self, station: Node) -> None:
        for channel in self.channels:
            station.subscribe(channel, self.gateway.number, self.change)
        station.work[Work.SUBSCRIBE] += len(self.channels)
        if self.reply is not None:
            station.send(self.gateway, self.reply)


class Update(Task):
    """At a broker node: one change of the registry of users' sessions."""

    __slots__ = ("change", "gateway", "journey", "reply", "user")

    def __init__(self, journey: Journey, gateway: Gateway, user: int, change: int, reply: Task | None) -> None:
        super().__init__(journey.clock, journey.scenario.broker.update_us, (gateway.number,))
        self.journey, self.gateway, self.user, self.change, self.reply = journey, gateway, user, change, reply

    def end(self, station: Station) -> None:
        self.journey.register(self.user, self.gateway.number, self.change)
        station.work[Work.UPDATE] += 1
        if self.reply is not None:
            station.send(self.gateway, self.reply)


class LookUp(Task):
    """At a broker node: on which gateways do these users have sessions? ``holders`` are those that must be told."""

    __slots__ = ("gateway", "holders", "journey", "reply", "users")

    def __init__(self, journey: Journey, users: tuple[int, ...], gateway: Gateway, reply: Task | FanOut) -> None:
        costs = journey.scenario.broker
        super().__init__(journey.clock, costs.lookup_us + costs.lookup_user_us * len(users), (gateway.number,))
        self.journey, self.users, self.gateway, self.reply = journey, users, gateway, reply
        self.holders: list[int] = []

    def end(self, station: Station) -> None:
        registry = self.journey.registry
        holders = {gateway for user in self.users for gateway in registry.get(user, ())}
        if self.journey.shortcut:
            holders.discard(self.gateway.number)
        self.holders = sorted(holders)
        if not isinstance(self.reply, FanOut):
            costs = self.journey.scenario.gateway
            self.reply.cost_us = costs.parse_us + costs.command_us * len(self.holders)
        station.work[Work.LOOKUP] += 1
        station.send(self.gateway, self.reply)


class Store(Task):
    """At the database or a broker node: a message is stored, for the members to read who do not get it live."""

    __slots__ = ("gateway", "journey", "message", "reply")

    def __init__(self, journey: Journey, message: int, gateway: Gateway, reply: Task) -> None:
        costs = journey.store_costs
        super().__init__(journey.clock, journey.store_us, (gateway.number,), luck=journey.factor(costs, STORE, message))
        self.journey, self.message, self.gateway, self.reply = journey, message, gateway, reply
        journey.notes.under_way[message] += 1

    def end(self, station: Station) -> None:
        self.journey.stored(self.message)
        station.work[Work.STORE] += 1
        station.send(self.gateway, self.reply)
        self.journey.carried(self.message)


class Sync(Task):
    """At the database or a broker node: what a user has missed is read."""

    __slots__ = ("client", "journey", "missed", "reply")

    def __init__(self, journey: Journey, client: Client, reply: Task) -> None:
        costs = journey.store_costs
        super().__init__(
            journey.clock, journey.sync_us, (client.gateway.number,), luck=journey.factor(costs, SYNC, client.number)
        )
        self.journey, self.client, self.reply = journey, client, reply
        self.missed: list[int] = []

    def end(self, station: Station) -> None:
        self.missed = list(self.journey.inbox.get(self.client.user, ()))
        costs = self.journey.scenario.gateway
        self.reply.cost_us = costs.parse_us + costs.write_us * len(self.missed)
        station.work[Work.RECOVER] += 1
        station.send(self.client.gateway, self.reply)
