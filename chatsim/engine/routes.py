"""How a message goes from its sender's gateway to those of its audience, in each routing."""

from __future__ import annotations

from chatsim.engine.jobs import FanOut, LookUp, Publish, Store
from chatsim.engine.outcome import Work
from chatsim.engine.stage import Gateway, Stage, Story
from chatsim.engine.station import Task
from chatsim.rules.routing import (
    GLOBAL,
    GLOBAL_CHANNEL,
    IN_PROCESS,
    MESH,
    USER,
    passes_broker,
    publish_node,
    publishes_per_recipient,
    room_channel,
    server_channel,
    standing_channel,
    user_channel,
)


class Routes(Stage):
    """A stage on which messages find their way."""

    def route(self, message: int, gateway: Gateway) -> None:
        """The message goes to where its audience is."""
        if self.routing in (IN_PROCESS, MESH) or self.shortcut:
            self.fan_out_here(message, gateway)
        if self.routing == MESH:
            for peer in self._peers(message, gateway):
                self.notes.pushes[message] += 1
                gateway.send(peer, FanOut(self, message, -1, pushed=True, source=gateway.number))
        elif passes_broker(self.routing):
            for channel, recipient in self.channels(message):
                node = self.nodes[publish_node(channel, self.topology, len(self.nodes))]
                gateway.send(node, Publish(self, message, channel, recipient, gateway.number))

    def route_by_directory(self, message: int, gateway: Gateway) -> Story:
        """The directory says which gateways hold the recipients; each of them gets one PUBLISH.

        A message that creates its room goes to those that hold its sender too: they have to join it.
        """
        node = self.node_of_room(message)
        reply = Task(self.clock)
        room = self.rooms.room[message]
        creates = self.creates_rooms and self.founding.get(room) == message
        users = self.rooms.members(room) if creates else self.hearers(message)
        look_up = LookUp(self, message, tuple(users), gateway, reply)
        yield from self.ask(gateway, node, look_up, reply)
        if self.shortcut:
            self.fan_out_here(message, gateway)
        for holder in look_up.holders:
            channel = server_channel(holder)
            node = self.nodes[publish_node(channel, self.topology, len(self.nodes))]
            gateway.work[Work.COMMAND] += 1
            gateway.send(node, Publish(self, message, channel, -1, gateway.number))

    def fan_out_here(self, message: int, gateway: Gateway) -> None:
        """The sender's own gateway serves its own sessions."""
        gateway.take(FanOut(self, message, -1, pushed=False, source=gateway.number))

    def storing(self, message: int, gateway: Gateway, routes: bool) -> Store:
        """What stores a message, with a reply after which the gateway ``routes`` it."""
        commands = self.commands_for(message, gateway) if routes else 0
        return Store(self, message, gateway, Task(self.clock), commands)

    def commands_for(self, message: int, gateway: Gateway) -> int:
        """How many commands the gateway writes to route a message."""
        if self.routing == IN_PROCESS:
            return 0
        if self.routing == MESH:
            return len(self._peers(message, gateway))
        if publishes_per_recipient(self.routing):
            return len(self.hearers(message))
        return 1

    def channels(self, message: int) -> list[tuple[int, int]]:
        """The channels on which a message is published, each with its recipient (-1: the whole room)."""
        if publishes_per_recipient(self.routing):
            return [
                (user_channel(user) if self.routing == USER else standing_channel(self.routing, 0), user)
                for user in self.hearers(message)
            ]
        if self.routing == GLOBAL:
            return [(standing_channel(GLOBAL, 0), -1)]
        room = self.rooms.room[message]
        if self.creates_rooms and self.founding.get(room) == message:
            return [(GLOBAL_CHANNEL, -1)]
        return [(room_channel(room), -1)]

    def _peers(self, message: int, gateway: Gateway) -> list[Gateway]:
        others = [peer for peer in self.gateways if peer is not gateway]
        room = self.rooms.room[message]
        if self.design.mesh_directory and self.founding.get(room) == message:
            members = self.rooms.members(room)
            return [peer for peer in others if any(user in peer.local for user in members)]
        if self.design.mesh_directory:
            return [peer for peer in others if room in peer.members]
        return others
