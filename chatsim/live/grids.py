"""Worlds of constants for measuring: rooms of one size, everybody connected, messages at random at a given rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chatsim.live.processes import hosts
from chatsim.scenario import Scenario
from chatsim.scenario.load import validate
from chatsim.world.tables import (
    GROUP,
    PAIR,
    MessageTable,
    Rooms,
    SessionTable,
    World,
    no_contacts,
    no_endings,
    no_friends,
    no_intrusions,
)


@dataclass(frozen=True, slots=True)
class Point:
    """A configuration: ``routing``, ``gateways``, ``members`` of each of ``rooms`` rooms, messages ``per_s``, for
    ``seconds``; of the users a share of ``comers`` comes one after the other in the run instead of standing before.
    So many messages as ``burst`` says are written at one instant."""

    routing: str
    gateways: int
    members: int
    rooms: int
    per_s: float
    seconds: float = 4.0
    comers: float = 0.0
    burst: int = 1

    def __str__(self) -> str:
        many = f"{self.gateways} gateway{'s' * (self.gateways > 1)}"
        return f"{self.routing}, {many}, rooms of {self.members}, {self.per_s:g}/s"


def world_of(point: Point, seed: int = 1) -> World:
    """The world of a point: user u is in room u // members; senders take turns at random, messages have 256 bytes.

    >>> world = world_of(Point("room", 1, 3, 4, 100.0, 2.0))
    >>> world.users, len(world.rooms), 150 < len(world.messages) < 250
    (12, 4, True)
    """
    random = np.random.default_rng([seed, point.members, point.gateways, int(1000 * point.per_s)])
    users = point.members * point.rooms
    bursts_per_s = point.per_s / point.burst
    gaps_s = random.exponential(1.0 / bursts_per_s, int(bursts_per_s * point.seconds * 1.5) + 20)
    time_s = np.repeat(np.cumsum(gaps_s), point.burst)
    time_s = time_s[time_s < point.seconds]
    late = random.random(users) < point.comers
    starts_s = np.where(late, random.uniform(0.1, point.seconds - 0.5, users), -1.0)
    order = np.argsort(starts_s, kind="stable")
    row = np.empty(users, np.int64)
    row[order] = np.arange(users)
    standing = np.flatnonzero(~late)
    sender = random.choice(standing if len(standing) else np.arange(users), len(time_s)).astype(np.int32)
    return World(
        users=users,
        duration_s=point.seconds,
        seed=seed,
        replication=0,
        friends=no_friends(users),
        rooms=Rooms(
            np.full(point.rooms, PAIR if point.members == 2 else GROUP, np.uint8),
            np.arange(0, users + 1, point.members, dtype=np.int64),
            np.arange(users, dtype=np.int32),
            np.ones(point.rooms, bool),
        ),
        sessions=SessionTable(
            order.astype(np.int32), np.zeros(users, np.int32), starts_s[order], np.full(users, point.seconds + 10.0)
        ),
        messages=MessageTable(
            time_s, sender, row[sender].astype(np.int32), (sender // point.members).astype(np.int32),
            np.full(len(time_s), 256, np.int32), np.zeros(len(time_s), bool),
        ),
        contacts=no_contacts(users),
        endings=no_endings(),
        intrusions=no_intrusions(),
    )  # fmt: skip


def scenario_of(point: Point, costs: dict[str, dict[str, object]] | None = None) -> Scenario:
    """The scenario of a point, which stores nothing: what a message costs is its way alone. Gateways and Redis share
    the cores that :func:`chatsim.live.processes.cores` leaves to them."""
    design = {"routing": point.routing, "gateways": point.gateways, "store": "never", "offline": "drop"}
    users = point.members * point.rooms
    return validate(
        {
            "name": str(point), "workload": {"users": users, "drain_s": 0.5}, "design": design, "hosts": hosts(),
            **(costs or {}),
        }
    )  # fmt: skip
