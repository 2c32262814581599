"""The items that stations work on: each decides what it costs when a worker turns to it, and acts when it leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatsim.engine.clock import fail
from chatsim.engine.luck import PUBLISH, PUSH, RECEIVE, STORE, SYNC
from chatsim.engine.outcome import Cause, Work
from chatsim.engine.station import US, Job, Station, Task
from chatsim.rules.routing import GLOBAL_PER_RECIPIENT, bus_copies

if TYPE_CHECKING:
    from chatsim.engine.session import Session
    from chatsim.engine.stage import Gateway, Node, Stage


class Receive(Task):
    """At a gateway: a session's message is read and checked, and its first commands, or a refusal, are written."""

    __slots__ = ("cause", "commands", "message", "stage")
    work = Work.RECEIVE

    def __init__(self, stage: Stage, message: int, commands: int, touches: tuple[str, ...]) -> None:
        super().__init__(stage.clock, touches=touches, luck=stage.factor(stage.scenario.gateway, RECEIVE, message))
        self.stage, self.message, self.commands = stage, message, commands
        self.cause = Cause.NONE

    def begin(self, station: Gateway, at_s: float) -> float:
        costs = self.stage.scenario.gateway
        read_us = self.stage.message_us
        self.cause = self.stage.limit(self.message, station, at_s) or self.stage.verdict(self.message)
        if self.cause:
            self.touches = ("sender",)
            return (read_us + costs.write_us) * self.luck
        return (read_us + costs.command_us * self.commands) * self.luck


class Publish(Job):
    """At a broker node: one PUBLISH, or (``on_bus``) a message taken from another node of the cluster."""

    __slots__ = ("channel", "message", "on_bus", "recipient", "source", "stage", "subscribers", "unheard", "work")

    def __init__(
        self, stage: Stage, message: int, channel: int, recipient: int, source: int, on_bus: bool = False
    ) -> None:
        self.touches = ()
        self.stage, self.message, self.channel, self.recipient = stage, message, channel, recipient
        self.source, self.on_bus = source, on_bus
        self.work = Work.BUS if on_bus else Work.PUBLISH
        self.unheard: tuple[int, ...] = ()
        stage.notes.under_way[message] += 1

    def begin(self, station: Node, at_s: float) -> float:
        stage, costs = self.stage, self.stage.scenario.broker
        self.subscribers = tuple(station.subscribers.get(self.channel, ()))
        if station.away:
            self.unheard = tuple(gateway for gateway, wanted in station.away.items() if self.channel in wanted)
        pushes = len(self.subscribers)
        copies = 0 if self.on_bus else bus_copies(stage.topology, costs.nodes)
        self.touches = (*self.subscribers, *(-1 - copy for copy in range(copies)))
        luck = stage.factor(costs, PUBLISH, self.message)
        own_us = costs.bus_receive_us if self.on_bus else costs.publish_us
        if station.keeps:
            own_us += costs.stream_us
        return (own_us + costs.push_us * pushes + costs.bus_send_us * copies) * luck

    def end(self, station: Node) -> None:
        stage, message = self.stage, self.message
        for gateway in self.subscribers:
            if gateway in station.away:
                stage.lines.not_heard(self, station, gateway)
            else:
                station.send(stage.gateways[gateway], self.fan_out(station, gateway))
        for gateway in self.unheard:
            if station.keeps and gateway not in station.away:
                station.send(stage.gateways[gateway], self.fan_out(station, gateway))
            else:
                stage.lines.not_heard(self, station, gateway)
        if not self.on_bus and bus_copies(stage.topology, stage.scenario.broker.nodes):
            for node in stage.nodes:
                if node is not station:
                    bus = Publish(stage, message, self.channel, self.recipient, self.source, on_bus=True)
                    station.send(node, bus)
        station.work[self.work] += 1
        if station.limited:
            stage.lines.watch(station, self.subscribers)
        stage.carried(message)

    def fan_out(self, station: Node, gateway: int) -> FanOut:
        """The push to one gateway, counted as sent."""
        stage, message = self.stage, self.message
        stage.notes.pushes[message] += 1
        station.work[Work.PUSH] += 1
        push = FanOut(stage, message, self.recipient, pushed=True, source=self.source)
        push.channel = self.channel
        if station.limited:
            station.owed[gateway] += stage.size_bytes[message]
            push.node, push.line = station, station.lines[gateway]
        return push

    def lost(self, station: Node, cause: Cause) -> None:
        self.stage.broken(self.message, -1, cause)
        self.stage.carried(self.message)


class FanOut(Job):
    """At a gateway: a message is written to the sessions of its audience that are here.

    ``recipient`` is -1 for the whole room. ``pushed`` says that it came from the broker or another gateway and has to
    be read; ``known`` that the registry has already been asked whether the recipient is here. ``source`` is the gateway
    that published it, ``channel`` what on, ``node`` the broker node that pushed it and to which it is owed, on the
    ``line``-th connection between the two.
    """

    __slots__ = (
        "asks",
        "blocked_us",
        "channel",
        "known",
        "line",
        "message",
        "node",
        "pushed",
        "recipient",
        "source",
        "stage",
        "targets",
    )
    work = Work.WRITE

    def __init__(
        self, stage: Stage, message: int, recipient: int, pushed: bool, known: bool = False, source: int = -1
    ) -> None:
        self.touches = ()
        self.stage, self.message, self.recipient = stage, message, recipient
        self.pushed, self.known, self.source = pushed, known, source
        self.node: Node | None = None
        self.line = self.channel = 0
        self.targets: list[tuple[Session, int]] = []
        self.blocked_us = 0.0
        stage.notes.under_way[message] += 1

    def begin(self, station: Gateway, at_s: float) -> float:
        stage, costs = self.stage, self.stage.scenario.gateway
        luck = stage.factor(costs, PUSH + station.number, self.message)
        parse_us = costs.parse_us if self.pushed else 0.0
        if self.node is not None:
            self.node.read(self, station.number)
        self.asks = stage.routing == GLOBAL_PER_RECIPIENT and self.pushed and not self.known
        if self.asks:
            self.touches = ("broker",)
            return (parse_us + costs.command_us) * luck
        commands = 0
        if not self._is_own_echo(station):
            commands = self._invite(station)
            self._find_targets(station)
        if costs.flush_us:
            self.touches = [session for session, _ in self.targets]
        if station.by_item:
            left_us = (parse_us + costs.command_us * commands) * luck
            factors, offset = stage.luck.downlink(self.message)
            write_us, flush_us, slow, blocks = costs.write_us * luck, costs.flush_us, station.slow, stage.blocks
            write, message = stage.write, self.message
            for session, position in self.targets:
                left_us += write_us + flush_us
                if blocks:
                    left_us += self._waits_us(station, session, at_s + left_us * slow * US)
                factor = factors[offset + position] if position >= 0 else 1.0
                write(message, session, at_s + left_us * slow * US, factor)
        elif stage.blocks:
            for session, _ in self.targets:
                self._waits_us(station, session, at_s + self.blocked_us * station.slow * US)
                session.unsent_bytes += stage.size_bytes[self.message]
        cost_us = (parse_us + costs.command_us * commands + costs.write_us * len(self.targets)) * luck
        return cost_us + self.blocked_us

    def end(self, station: Gateway) -> None:
        stage, message = self.stage, self.message
        if self.pushed:
            station.work[Work.PARSE] += 1
            if not self.known:
                stage.notes.reads[message] += 1
        if self.asks:
            reply = FanOut(stage, message, self.recipient, pushed=True, known=True, source=self.source)
            station.work[Work.COMMAND] += 1
            look_up = LookUp(stage, message, (self.recipient,), station, reply)
            station.send(stage.node_of_user(self.recipient), look_up)
        elif not station.by_item:
            factors, offset = stage.luck.downlink(message)
            for session, position in self.targets:
                factor = factors[offset + position] if position >= 0 else 1.0
                stage.write(message, session, stage.clock.now, factor)
        station.work[Work.WRITE] += len(self.targets)
        stage.carried(message)

    def lost(self, station: Gateway, cause: Cause) -> None:
        """The sessions of a gateway do not get the message. What a worker had begun was written as far as it came."""
        stage = self.stage
        if self.node is not None:
            self.node.read(self, station.number)
        if self.pushed and not self.known:
            stage.notes.lost_pushes[self.message] += 1
        if station.by_item:
            station.work[Work.WRITE] += len(self.targets)
        stage.broken(self.message, station.number, cause)
        stage.carried(self.message)

    def is_push(self) -> bool:
        return self.pushed and not self.known

    def _waits_us(self, station: Gateway, session: Session, at_s: float) -> float:
        """How long a worker stands still until a session's outbound queue has room: no work, but time of its tick."""
        stage = self.stage
        waits_s = stage.has_room_s(self.message, session) - at_s
        if waits_s <= 0:
            return 0.0
        waits_us = waits_s / (US * station.slow)
        self.blocked_us += waits_us
        stage.notes.item_us[station.number] -= waits_us * station.slow
        return waits_us

    def _is_own_echo(self, station: Gateway) -> bool:
        return self.pushed and self.stage.shortcut and self.source == station.number

    def _invite(self, station: Gateway) -> int:
        """The first message of a new room brings its members here into the room; commands that this takes."""
        stage = self.stage
        room = stage.rooms.room[self.message]
        if not stage.creates_rooms or stage.founding.get(room) != self.message or self.recipient >= 0:
            return 0
        return stage.invite(room, station)

    def _find_targets(self, station: Gateway) -> None:
        stage, rooms, message = self.stage, self.stage.rooms, self.message
        room, sender = rooms.room[message], stage.sender[message]
        if self.recipient >= 0:
            here = station.local.get(self.recipient, ())
            if here:
                position = rooms.place(message, self.recipient)
                self.targets = [(session, position) for session in here]
            nobody = not here
        else:
            members = station.members.get(room, {})
            nobody = not members
            if room == rooms.meant[message]:
                self.targets = [(session, place) for session, place in members.items() if session.user != sender]
            else:
                others = [session for session in members if session.user != sender]
                self.targets = [(session, rooms.place(message, session.user)) for session in others]
            if stage.own_devices:
                position = rooms.place(message, sender)
                self.targets += [(session, position) for session in members if session.user == sender]
        if stage.own_devices:
            own = stage.session_of(message)
            self.targets = [target for target in self.targets if target[0] is not own]
        if nobody and self.pushed:
            station.work[Work.DISCARD] += 1
            stage.notes.discards[self.message] += 1


class LookUp(Task):
    """At a broker node: on which gateways do these users have sessions? ``holders`` are those that must be told."""

    __slots__ = ("gateway", "holders", "message", "reply", "stage", "users")
    work = Work.LOOKUP

    def __init__(
        self, stage: Stage, message: int, users: tuple[int, ...], gateway: Gateway, reply: Task | FanOut
    ) -> None:
        costs = stage.scenario.broker
        super().__init__(stage.clock, costs.lookup_us + costs.lookup_user_us * len(users), (gateway.number,))
        self.stage, self.message, self.users, self.gateway, self.reply = stage, message, users, gateway, reply
        reply.message = message
        self.holders: list[int] = []

    def end(self, station: Station) -> None:
        registry = self.stage.registry
        holders = {gateway for user in self.users for gateway in registry.get(user, ())}
        if self.stage.faulty:
            self._note_unknown(holders)
        if self.stage.shortcut:
            holders.discard(self.gateway.number)
        self.holders = sorted(holders)
        if not isinstance(self.reply, FanOut):
            costs = self.stage.scenario.gateway
            self.reply.cost_us = costs.parse_us + costs.command_us * len(self.holders)
        station.work[Work.LOOKUP] += 1
        station.send(self.gateway, self.reply)

    def lost(self, station: Station, cause: Cause) -> None:
        if isinstance(self.reply, FanOut):
            self.reply.lost(self.gateway, cause)
        else:
            fail(self.reply, cause)

    def _note_unknown(self, holders: set[int]) -> None:
        """Gateways that hold users of whom the registry does not know, because a fault has kept it from being told."""
        for gateway in self.stage.gateways:
            if gateway.number not in holders and any(user in gateway.local for user in self.users):
                self.stage.broken(self.message, gateway.number, Cause.CUT_OFF)


class Store(Task):
    """At the database or a broker node: a message is stored, for the members to read who do not get it live.

    The gateway reads the reply and writes ``commands``, unless the message was in store ``already``, and is not taken
    again.
    """

    __slots__ = ("already", "commands", "gateway", "message", "reply", "stage")
    work = Work.STORE

    def __init__(self, stage: Stage, message: int, gateway: Gateway, reply: Task, commands: int) -> None:
        costs = stage.store_costs
        super().__init__(stage.clock, stage.store_us, (gateway.number,), luck=stage.factor(costs, STORE, message))
        self.stage, self.message, self.gateway, self.reply = stage, message, gateway, reply
        reply.message = message
        self.commands, self.already = commands, False
        stage.notes.under_way[message] += 1

    def end(self, station: Station) -> None:
        stage, costs = self.stage, self.stage.scenario.gateway
        in_store = stage.is_stored(self.message)
        self.already = in_store and stage.scenario.client.deduplicate
        if not in_store:
            stage.stored(self.message)
        commands = 0 if self.already else self.commands
        self.gateway.work[Work.COMMAND] += commands
        self.reply.cost_us = costs.parse_us + costs.command_us * commands
        self.reply.touches = stage.places(commands)
        station.work[Work.STORE] += 1
        station.send(self.gateway, self.reply)
        stage.carried(self.message)

    def lost(self, station: Station, cause: Cause) -> None:
        fail(self.reply, cause)
        self.stage.carried(self.message)


class Sync(Task):
    """At the database or a broker node: what a user has missed is read."""

    __slots__ = ("missed", "reply", "session", "stage")
    work = Work.RECOVER

    def __init__(self, stage: Stage, session: Session, reply: Task) -> None:
        costs = stage.store_costs
        super().__init__(
            stage.clock, stage.sync_us, (session.gateway.number,), luck=stage.factor(costs, SYNC, session.number)
        )
        self.stage, self.session, self.reply = stage, session, reply
        self.missed: list[int] = []

    def end(self, station: Station) -> None:
        self.missed = list(self.stage.inbox.get(self.session.user, ()))
        costs = self.stage.scenario.gateway
        self.reply.cost_us = costs.parse_us + costs.write_us * len(self.missed)
        station.work[Work.RECOVER] += 1
        station.send(self.session.gateway, self.reply)

    def lost(self, station: Station, cause: Cause) -> None:
        fail(self.reply, cause)
