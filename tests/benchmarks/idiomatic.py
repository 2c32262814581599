"""The yardstick: a bare fan-out as a SimPy user would write it. No log, no audit, nothing but the model.

A process per message, per push and per delivery, and a Resource per station. Sessions of a room lie on the gateways in
turn. Costs are fixed, delays log-normal. Our engine, which does all this and notes and audits it, is held to its speed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Generator
from typing import Any

import simpy

Story = Generator[simpy.Event, Any, None]

RECEIVE_S, PARSE_S, WRITE_S = 17e-6, 5e-6, 12.5e-6
PUBLISH_S, PUSH_S = 0.4e-6, 0.35e-6
HOP_S = 0.075e-3
CLIENT_S_MEDIAN, CLIENT_SIGMA = 15e-3, 0.6


class Chat:
    """One broker, some gateways, rooms whose members are spread over them."""

    def __init__(self, gateways: int, members: int, rooms: int, seed: int) -> None:
        self.env = simpy.Environment()
        self.random = random.Random(seed)
        self.broker = simpy.Resource(self.env)
        self.gateways = [simpy.Resource(self.env) for _ in range(gateways)]
        self.members = members
        self.rooms = rooms
        self.latencies: list[float] = []

    def delay_s(self) -> float:
        """One way between client and gateway."""
        return CLIENT_S_MEDIAN * self.random.lognormvariate(0.0, CLIENT_SIGMA)

    def work(self, station: simpy.Resource, service_s: float) -> Story:
        """Waits for the station and holds it."""
        with station.request() as turn:
            yield turn
            yield self.env.timeout(service_s)

    def messages(self, count: int, rate_per_s: float) -> Story:
        """Messages arrive as a Poisson process."""
        for _ in range(count):
            yield self.env.timeout(self.random.expovariate(rate_per_s))
            room, sender = self.random.randrange(self.rooms), self.random.randrange(self.members)
            self.env.process(self.message(room, sender))

    def message(self, room: int, sender: int) -> Story:
        """Uplink, gateway, broker, and on to all gateways."""
        sent_s = self.env.now
        yield self.env.timeout(self.delay_s())
        yield from self.work(self.gateways[self.home(room, sender)], RECEIVE_S)
        yield self.env.timeout(HOP_S)
        yield from self.work(self.broker, PUBLISH_S + PUSH_S * len(self.gateways))
        for gateway in range(len(self.gateways)):
            self.env.process(self.push(gateway, room, sender, sent_s))

    def push(self, gateway: int, room: int, sender: int, sent_s: float) -> Story:
        """A gateway reads the push and writes to each member that it holds."""
        yield self.env.timeout(HOP_S)
        with self.gateways[gateway].request() as turn:
            yield turn
            yield self.env.timeout(PARSE_S)
            for member in range((gateway - room) % len(self.gateways), self.members, len(self.gateways)):
                if member != sender:
                    yield self.env.timeout(WRITE_S)
                    self.env.process(self.delivery(sent_s))

    def delivery(self, sent_s: float) -> Story:
        """Downlink, and there."""
        yield self.env.timeout(self.delay_s())
        self.latencies.append(self.env.now - sent_s)

    def home(self, room: int, member: int) -> int:
        """The gateway of a member of a room."""
        return (room + member) % len(self.gateways)


def run_idiomatic(
    gateways: int, members: int, messages: int, rate_per_s: float, rooms: int = 100, seed: int = 1
) -> tuple[int, list[float]]:
    """(deliveries, their latencies in s) of ``messages`` to rooms of ``members`` over ``gateways``; all get through."""
    chat = Chat(gateways, members, rooms, seed)
    chat.env.process(chat.messages(messages, rate_per_s))
    chat.env.run()
    return len(chat.latencies), chat.latencies


if __name__ == "__main__":
    start = time.perf_counter()
    deliveries, latencies = run_idiomatic(gateways=8, members=10, messages=20_000, rate_per_s=1000.0)
    took_s = time.perf_counter() - start
    mean_ms = 1e3 * sum(latencies) / deliveries
    print(f"{deliveries:,} deliveries, mean {mean_ms:.2f} ms, {deliveries / took_s:,.0f} per s")
