"""The fan-out in Ciw, a library of queueing networks, for those who have it (``pip install ciw``).

Customers of Ciw do not split, so that stations are told here to make more of them. A gateway writes to all its members
in one service, which is less work than in the other models.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any

import ciw

from tests.benchmarks.idiomatic import (
    CLIENT_S_MEDIAN,
    CLIENT_SIGMA,
    HOP_S,
    PARSE_S,
    PUBLISH_S,
    PUSH_S,
    RECEIVE_S,
    WRITE_S,
)

UPLINK, HOP, BROKER, DOWNLINK, GATEWAY = range(1, 6)
"""Numbers of nodes; gateways are the last ones."""


class Packet(ciw.Individual):
    """A message on its way up, a push to one gateway, or a delivery."""

    room = sender = to_node = 0
    members = 0
    """To how many a push is to be written, -1: to nobody; 0 is no push."""


class Arrivals(ciw.dists.Distribution):  # type: ignore[misc]
    """So many Poisson arrivals."""

    def __init__(self, count: int, rate_per_s: float, luck: random.Random) -> None:
        self.left, self.rate_per_s, self.luck = count, rate_per_s, luck

    def sample(self, t: Any = None, ind: Any = None) -> float:
        """The time until the next one."""
        self.left -= 1
        return self.luck.expovariate(self.rate_per_s) if self.left >= 0 else math.inf


class Takes(ciw.dists.Distribution):  # type: ignore[misc]
    """The time that a packet takes at a node."""

    def __init__(self, node: int, gateways: int, luck: random.Random) -> None:
        self.node, self.gateways, self.luck = node, gateways, luck

    def sample(self, t: Any = None, ind: Any = None) -> float:
        """The time of one packet."""
        if self.node in (UPLINK, DOWNLINK):
            return CLIENT_S_MEDIAN * self.luck.lognormvariate(0.0, CLIENT_SIGMA)
        if self.node == HOP:
            return HOP_S
        if self.node == BROKER:
            return PUBLISH_S + PUSH_S * self.gateways
        return RECEIVE_S if ind.members == 0 else PARSE_S + WRITE_S * max(0, ind.members)


@dataclass
class Chat:
    """What all stations know, and how many deliveries there were."""

    gateways: int
    members: int
    rooms: int
    luck: random.Random
    delivered: int = 0


class Station(ciw.Node):  # type: ignore[misc]
    """A node that knows where packets go, and makes more of them where they fan out."""

    chat: Chat

    def next_node(self, packet: Any) -> Any:
        """Where a packet goes from here."""
        nodes, chat = self.simulation.nodes, self.chat
        if self.id_number == UPLINK:
            packet.room, packet.sender = chat.luck.randrange(chat.rooms), chat.luck.randrange(chat.members)
            return nodes[GATEWAY + (packet.room + packet.sender) % chat.gateways]
        if self.id_number == HOP:
            return nodes[packet.to_node]
        if self.id_number == BROKER:
            for gateway in range(1, chat.gateways):
                nodes[HOP].accept(self.push(self.another(packet), gateway))
            self.push(packet, 0)
            return nodes[HOP]
        if self.id_number == DOWNLINK:
            chat.delivered += 1
            return nodes[-1]  # the exit
        return self.leaves_gateway(packet)

    def leaves_gateway(self, packet: Any) -> Any:
        """A message goes to the broker; a push becomes what is written to members."""
        nodes = self.simulation.nodes
        if packet.members == 0:
            packet.to_node = BROKER
            return nodes[HOP]
        for _ in range(packet.members - 1):
            nodes[DOWNLINK].accept(self.another(packet))
        return nodes[DOWNLINK if packet.members > 0 else -1]

    def push(self, packet: Any, gateway: int) -> Any:
        """The packet, as one for a gateway that writes to its members of the room."""
        own = range((gateway - packet.room) % self.chat.gateways, self.chat.members, self.chat.gateways)
        packet.members, packet.to_node = len(own) - (packet.sender in own) or -1, GATEWAY + gateway
        return packet

    def another(self, packet: Any) -> Any:
        """One more packet like this."""
        new = Packet(packet.id_number, simulation=self.simulation)
        new.room, new.sender, new.starting_node = packet.room, packet.sender, packet.starting_node
        return new


def run_in_ciw(gateways: int, members: int, messages: int, rate_per_s: float, rooms: int = 100, seed: int = 1) -> int:
    """Deliveries of ``messages`` to rooms of ``members`` over ``gateways``; all get through."""
    chat = Chat(gateways, members, rooms, random.Random(seed))
    nodes, unlimited = GATEWAY - 1 + gateways, (UPLINK, HOP, DOWNLINK)
    network = ciw.create_network(
        arrival_distributions=[Arrivals(messages, rate_per_s, chat.luck), *[None] * (nodes - 1)],
        service_distributions=[Takes(node, gateways, chat.luck) for node in range(1, nodes + 1)],
        number_of_servers=[math.inf if node in unlimited else 1 for node in range(1, nodes + 1)],
        routing=[[0.0] * nodes for _ in range(nodes)],
    )
    station = type("StationOfChat", (Station,), {"chat": chat})
    simulation = ciw.Simulation(network, node_class=station, individual_class=Packet)
    simulation.simulate_until_max_time(2 * messages / rate_per_s + 60)
    return chat.delivered
