"""Small things that gateways tell sessions: somebody is online, or has read a message. They travel as messages do."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from simpy.events import Event

from chatsim.engine.outcome import Work
from chatsim.engine.station import Job
from chatsim.rules.routing import (
    DIRECTORY,
    GLOBAL_CHANNEL,
    ROOM,
    USER,
    bus_copies,
    publish_node,
    server_channel,
    user_channel,
)

if TYPE_CHECKING:
    from chatsim.engine.session import Session
    from chatsim.engine.stage import Gateway, Node, Stage


class Notice:
    """Something to tell. ``scope`` is what a channel was about: a room, a user, or -1 for all that a gateway holds."""

    __slots__ = ("stage",)
    size_bytes: ClassVar[float] = 0.0

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def targets(self, gateway: Gateway, scope: int) -> list[Session]:
        """The sessions of a gateway that are told."""
        raise NotImplementedError

    def pushed(self, pushes: int) -> None:
        """A broker node (or a gateway of a mesh) has pushed it to gateways."""

    def told(self, sessions: list[Session]) -> None:
        """A gateway has written it to sessions, now."""
        raise NotImplementedError


class Announce(Job):
    """At a broker node: a notice is published on a channel, or (``on_bus``) taken from another node of the cluster."""

    __slots__ = ("channel", "notice", "on_bus", "scope", "subscribers", "work")

    def __init__(self, notice: Notice, channel: int, scope: int, on_bus: bool = False) -> None:
        self.touches = ()
        self.notice, self.channel, self.scope, self.on_bus = notice, channel, scope, on_bus
        self.work = Work.NOTICE_BUS if on_bus else Work.NOTICE_PUBLISH

    def begin(self, station: Node, at_s: float) -> float:
        stage = self.notice.stage
        costs = stage.scenario.broker
        self.subscribers = tuple(station.subscribers.get(self.channel, ()))
        copies = 0 if self.on_bus else bus_copies(stage.topology, costs.nodes)
        self.touches = (*self.subscribers, *(-1 - copy for copy in range(copies)))
        own_us = costs.bus_receive_us if self.on_bus else costs.publish_us
        return own_us + costs.push_us * len(self.subscribers) + costs.bus_send_us * copies

    def end(self, station: Node) -> None:
        stage = self.notice.stage
        for gateway in self.subscribers:
            station.send(stage.gateways[gateway], Tell(self.notice, self.scope, pushed=True))
        if not self.on_bus and bus_copies(stage.topology, stage.scenario.broker.nodes):
            for node in stage.nodes:
                if node is not station:
                    station.send(node, Announce(self.notice, self.channel, self.scope, on_bus=True))
        self.notice.pushed(len(self.subscribers))
        station.work[self.work] += 1
        station.work[Work.NOTICE_PUSH] += len(self.subscribers)


class Tell(Job):
    """At a gateway: a notice is read, if it was pushed, and written to the sessions that it is for."""

    __slots__ = ("notice", "pushed", "scope", "targets")
    work = Work.NOTICE

    def __init__(self, notice: Notice, scope: int, pushed: bool) -> None:
        self.touches = ()
        self.notice, self.scope, self.pushed = notice, scope, pushed

    def begin(self, station: Gateway, at_s: float) -> float:
        costs = self.notice.stage.scenario.gateway
        self.targets = self.notice.targets(station, self.scope)
        if costs.flush_us:
            self.touches = self.targets
        return (costs.parse_us if self.pushed else 0.0) + costs.write_us * len(self.targets)

    def end(self, station: Gateway) -> None:
        station.work[Work.PARSE] += self.pushed
        station.work[Work.NOTICE] += len(self.targets)
        if self.targets:
            self.notice.told(self.targets)


def channels_to(
    stage: Stage,
    users: Callable[[], Iterable[int]],
    holders: Callable[[], Iterable[int]],
    rooms: Callable[[], list[tuple[int, int]]],
) -> list[tuple[int, int]]:
    """On which channels a notice is published, each with its scope: those of ``users``, of the gateways ``holders``, or
    with room channels ``rooms``; the routing says which. None where there is no broker."""
    if not stage.scenario.has_broker:
        return []
    if stage.routing == USER:
        return [(user_channel(user), user) for user in users()]
    if stage.routing == DIRECTORY:
        return [(server_channel(gateway), -1) for gateway in holders()]
    return rooms() if stage.routing == ROOM else [(GLOBAL_CHANNEL, -1)]


def announce(notice: Notice, gateway: Gateway, channels: list[tuple[int, int]]) -> Generator[Event, Any, None]:
    """A gateway gives a notice on: to the broker on each channel, with its scope, or without one to other gateways."""
    stage = notice.stage
    if not stage.scenario.has_broker:
        gateway.take(Tell(notice, -1, pushed=False))
    peers = [] if stage.scenario.has_broker else [peer for peer in stage.gateways if peer is not gateway]
    commands = len(channels) + len(peers)
    if not commands:
        return
    yield stage.does(gateway, Work.COMMAND, stage.scenario.gateway.command_us * commands, commands)
    for channel, scope in channels:
        node = stage.nodes[publish_node(channel, stage.topology, len(stage.nodes))]
        gateway.send(node, Announce(notice, channel, scope))
    for peer in peers:
        gateway.send(peer, Tell(notice, -1, pushed=True))
    notice.pushed(len(peers))
