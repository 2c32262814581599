"""The simulator against closed forms, on small runs of its own: is this installation to be trusted?

Each check is a simulation of a case that theory solves, by the same code as every study: world, engine, figures. It
compares a mean with its closed form; z is the difference in standard errors, from independent replications.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from chatsim.analysis import latency_ms
from chatsim.analysis.columns import Longs
from chatsim.engine import simulate
from chatsim.engine.outcome import Outcome
from chatsim.scenario import Scenario
from chatsim.scenario.files import data_folder
from chatsim.scenario.load import validate
from chatsim.scenario.models import BrokerCosts
from chatsim.theory import (
    TickStation,
    discarded_share,
    gateways_touched,
    md1_wait_s,
    mm1_response_s,
    mmc_response_s,
)
from chatsim.world import World, build_world, load_test

REPLICATIONS = 10
MESSAGES = 600
ROOMS_REPLICATIONS = 6
ROOMS_MESSAGES = 300
SERVICE_S = 0.01
RATE_PER_S = 60.0
GATEWAYS = 6
Z_MOST = 4.0
"""Beyond it a check fails. To a right simulator that happens in 3 of 1,000 checks of a queue (Student's t of 9 degrees
of freedom), in 10 of the fan-out (5 degrees); the luck is fixed, so that it does not come and go."""
FREE = {"tick_us": 0.0, "wake_us": 0.0, "flush_us": 0.0}
ITEMS = ("receive", "parse", "command", "write", "handshake", "tls", "token", "close")


@dataclass(frozen=True, slots=True)
class Check:
    """A mean that was simulated, and the one that theory has, in ``unit``; ``z`` in standard errors."""

    name: str
    unit: str
    expected: float
    measured: float
    error: float

    @property
    def z(self) -> float:
        """How far they are apart; 0 where both are the same to rounding."""
        difference = self.measured - self.expected
        if math.isclose(self.measured, self.expected, rel_tol=1e-9):
            return 0.0
        return difference / self.error if self.error > 0 else math.copysign(math.inf, difference)

    @property
    def holds(self) -> bool:
        """Whether chance explains the difference."""
        return abs(self.z) <= Z_MOST


@cache
def checks() -> tuple[Check, ...]:
    """All of them; some three seconds.

    Queues are of Poisson arrivals at one station, everything else being free: response times of M/M/1, M/D/1 and M/M/4.
    Fan-out is the number of gateways that hold a member of a message's room, where users are spread by their hash:
    S (1 - (1 - 1/S)^F) of S for F members.
    """
    one, four = RATE_PER_S, 4 * RATE_PER_S
    return (
        _queue("M/M/1: mean response", 1, "exponential", one, 1000 * mm1_response_s(one, SERVICE_S)),
        _queue("M/D/1: mean response", 1, "fixed", one, 1000 * (md1_wait_s(one, SERVICE_S) + SERVICE_S)),
        _queue("M/M/4: mean response", 4, "exponential", four, 1000 * mmc_response_s(four, SERVICE_S, 4)),
        _fan_out(),
    )


@dataclass(frozen=True, slots=True)
class Published:
    """A published figure, and what the closed forms of the shipped costs say of it."""

    name: str
    unit: str
    published: float
    here: float
    source: str


def published() -> tuple[Published, ...]:
    """Figures of data/reference/published.csv that closed forms answer at once.

    >>> [round(one.here / one.published, 2) for one in published()]
    [1.03, 1.0]
    """
    table = pd.read_csv(data_folder() / "reference" / "published.csv", index_col="id")
    costs = BrokerCosts()
    redis = TickStation(
        (costs.publish_us + costs.push_us) * 1e-6, (costs.tick_us + costs.flush_us) * 1e-6
    )
    found = {
        "centrifugo-redis-1": ("Redis, one node: deliveries before latency climbs", "per s", redis.knee_per_s),
        "socketio-5226": ("Socket.IO, 100 nodes, rooms of 10: pushes discarded", "share", discarded_share(100, 10)),
    }
    return tuple(
        Published(name, unit, float(table["value"][key]), here, str(table["source"][key]))
        for key, (name, unit, here) in found.items()
    )


def _queue(name: str, cores: int, service: str, rate_per_s: float, expected_ms: float) -> Check:
    """A database that stores each message before it is delivered, one at a time and core."""
    scenario = _station(cores, service)

    def mean_ms(outcome: Outcome) -> float:
        return float(latency_ms(outcome).mean())

    return _check(name, "ms", [expected_ms] * REPLICATIONS, scenario, mean_ms, rate_per_s)


def _fan_out() -> Check:
    """Gateways touched by messages of rooms that have no member in common."""
    scenario = _spread()
    expected, measured = [], []
    for replication in range(ROOMS_REPLICATIONS):
        world = load_test(build_world(scenario, replication), RATE_PER_S, ROOMS_MESSAGES)
        outcome = simulate(scenario, world)
        rows = _apart(world)
        touched = outcome.messages["pushes"][rows] - outcome.messages["discards"][rows]
        members = _members_online(world)[rows]
        expected.append(float(np.mean([gateways_touched(GATEWAYS, int(size)) for size in members])))
        measured.append(float(np.mean(touched)))
    return _compared("Fan-out: gateways with a member of the room", "gateways", expected, measured)


def _check(
    name: str, unit: str, expected: list[float], scenario: Scenario, measure: Callable[[Outcome], float], rate: float
) -> Check:
    measured = []
    for replication in range(REPLICATIONS):
        world = load_test(build_world(scenario, replication), rate, MESSAGES)
        measured.append(measure(simulate(scenario, world)))
    return _compared(name, unit, expected, measured)


def _compared(name: str, unit: str, expected: list[float], measured: list[float]) -> Check:
    apart = np.array(measured) - np.array(expected)
    error = float(apart.std(ddof=1)) / math.sqrt(len(apart))
    return Check(name, unit, float(np.mean(expected)), float(np.mean(measured)), error)


def _station(cores: int, service: str) -> Scenario:
    return validate(
        {
            "name": "station",
            "workload": _people(20, {"groups": {"per_user": 0.0}}),
            "design": {"routing": "in_process", "gateways": 1, "store": "before", "offline": "drop"},
            "gateway": {**FREE, **{f"{item}_us": 0.0 for item in ITEMS}},
            "database": {
                **FREE, "cores": cores, "batch_max": 1, "service": service, "read_us": 0.0,
                "insert_us": 1e6 * SERVICE_S,
            },
            "network": {
                "client_ms_median": 0.0, "client_sigma": 0.0, "jitter_sigma": 0.0, "broker_rtt_ms": 0.0,
                "database_rtt_ms": 0.0, "downlink_bytes_per_s": 1e12,
            },
        }
    )  # fmt: skip


def _spread() -> Scenario:
    groups = {"groups": {"per_user": 0.3}, "conversations": {"messages_per_day": 4000.0, "group_share": 1.0}}
    design = {"routing": "global", "gateways": GATEWAYS, "placement": "sticky", "store": "never", "offline": "drop"}
    return validate({"name": "spread", "workload": _people(1000, groups), "design": design})


def _people(users: int, more: dict[str, dict[str, float]]) -> dict[str, object]:
    """Users with one device, most of them there at any time."""
    sessions = {
        "day_amplitude": 0.0, "per_day": 24.0, "length_s_median": 36_000.0, "length_sigma": 0.0,
        "second_device_share": 0.0,
    }  # fmt: skip
    talk = {"messages_per_day": 4000.0, "group_share": 0.0}
    return {"users": users, "duration_s": 10.0, "sessions": sessions, "conversations": talk, **more}


def _members_online(world: World) -> Longs:
    """Of each message the members of its room, the sender too, who have a session."""
    online = np.zeros(world.users, np.int64)
    online[world.sessions.user] = 1
    inside = np.concatenate([[0], np.cumsum(online[world.rooms.member])])
    rooms = world.messages.room
    found: Longs = inside[world.rooms.start[rooms + 1]] - inside[world.rooms.start[rooms]]
    return found


def _apart(world: World) -> list[int]:
    """Messages, one of each room, of rooms that share no member with those before."""
    taken: set[int] = set()
    rows = []
    for row, room in enumerate(world.messages.room.tolist()):
        members = set(world.rooms.member[world.rooms.start[room]:world.rooms.start[room + 1]].tolist())
        if not members & taken:
            taken |= members
            rows.append(row)
    return rows


__all__ = ["Check", "Published", "checks", "published"]
