"""Published results against the model: each that can be modelled is a scenario in ``data/published/``, simulated here.

None is made to agree: where a parameter comes from one published figure, that figure is not foretold from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pandas as pd

from chatsim.analysis import latency_ms, presence
from chatsim.engine import simulate
from chatsim.engine.outcome import Outcome
from chatsim.scenario import Scenario, load_scenario
from chatsim.scenario.files import data_folder
from chatsim.world import World, build_world, load_test
from chatsim.world.tables import MessageTable

NEAR = 0.15
"""A figure is reproduced where it differs by no more."""
STEP = 1.15
GRID = STEP ** np.arange(-4, 5)
AT_ONCE = 4
ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Published:
    """A published figure and ours; ``here`` is NaN where it is not modelled, and ``why`` says why, or why it is off."""

    key: str
    system: str
    figure: str
    unit: str
    published: float
    here: float
    why: str
    source: str

    @property
    def difference(self) -> float:
        """Ours over the published one, less 1."""
        return self.here / self.published - 1

    @property
    def verdict(self) -> str:
        """In words: reproduced, off by how much, or not modelled."""
        if np.isnan(self.here):
            return "not modelled"
        return "reproduced" if abs(self.difference) <= NEAR else f"{100 * self.difference:+.0f} %"


@dataclass(frozen=True, slots=True)
class _Case:
    figure: str
    unit: str
    value: float
    measure: Callable[[], float] | None
    why: str = ""


def published() -> Iterator[Published]:
    """Every row of ``data/reference/published.csv`` that is a result, one after the other; about a minute in all."""
    table = pd.read_csv(data_folder() / "reference" / "published.csv", index_col="id")
    source = table["source"].where(table["source"] != "same").ffill()
    for key, case in _cases().items():
        here = np.nan if case.measure is None else case.measure()
        yield Published(
            key, str(table["system"][key]), case.figure, case.unit, case.value, here, case.why, str(source[key])
        )


def count() -> int:
    """How many there are."""
    return len(_cases())


def _cases() -> dict[str, _Case]:
    online = "sessions of a game or of voice chat last hours; the default behaviour is a messenger's, and an assumption"
    return {
        "centrifugo-redis-1": _Case("deliveries before latency climbs", "/s", 650e3, lambda: _bend("redis-1", 650e3)),
        "centrifugo-redis-cluster": _Case(
            "the same, classic cluster of 3", "/s", 400e3, lambda: _bend("redis-cluster", 400e3),
            "what the bus costs is derived from an own run of another version",
        ),
        "centrifugo-redis-sharded": _Case(
            "the same, 8 shards", "/s", 5e6, lambda: _bend("redis-sharded", 5e6, 16_000)
        ),
        "hashrocket-node-1k": _Case(
            "median until the sender is told", "ms", 30.0, None, "the cost of a write is taken from it"
        ),
        "hashrocket-node-5k": _Case("median until the sender is told", "ms", 166.0, _told_ms),
        "hashrocket-node-max": _Case(
            "most clients with a p95 below 500 ms", "clients", 14_000.0, _most_clients,
            "writes cost the same each time; the published p95 is up to 1.6 times the median",
        ),
        "socketio-5226": _Case("pushes that nodes discard", "share", 0.904, _discarded),
        "rocketchat-21182": _Case("presence notices", "notices", 9e6, _notices),
        "lol-concurrency": _Case("peak online / daily users", "share", 0.28, _online_share, online),
        "discord-concurrency": _Case("peak online / daily users", "share", 0.45, _online_share, online),
        "mattermost-sizing": _Case(
            "nodes for 100,000 users", "nodes", 6.0, None, "what its application does per user is not published"
        ),
        "slack-flannel": _Case(
            "start-up data, times smaller", "times", 7.0, None, "how large the team is and what loads is not published"
        ),
    }  # fmt: skip


def _scenario(name: str) -> Scenario:
    return load_scenario(data_folder() / "published" / f"{name}.toml")


def _bend(name: str, near_per_s: float, messages: int = 8000) -> float:
    """The load with the most throughput for its latency (Kleinrock's power), by a parabola through the best three."""
    scenario = _scenario(f"centrifugo-{name}")
    world = build_world(scenario)
    loads = near_per_s * GRID
    power = np.log([_power(simulate(scenario, load_test(world, float(load), messages)), load) for load in loads])
    best = int(np.clip(np.argmax(power), 1, len(power) - 2))
    before, at, after = power[best - 1 : best + 2]
    shift = (before - after) / (2 * (before - 2 * at + after))
    return float(loads[best] * STEP**shift)


def _power(outcome: Outcome, load_per_s: float) -> float:
    taken_ms = latency_ms(outcome)
    return float(load_per_s / np.mean(taken_ms[len(taken_ms) // 4 :]))


@cache
def _told_ms() -> float:
    """The median time from a broadcast until its sender is told, when it has been written to all."""
    scenario = _scenario("hashrocket-node")
    world = build_world(scenario)
    outcome = simulate(scenario, _in_turn(world, world.users * scenario.gateway.write_us * 1e-6))
    told_s = np.zeros(len(outcome.messages["time_s"]))
    np.maximum.at(told_s, outcome.deliveries["message"], outcome.deliveries["time_s"])
    return float(np.median(1000 * (told_s - outcome.messages["time_s"])[AT_ONCE:]))


def _in_turn(world: World, broadcast_s: float) -> World:
    """Messages to everybody, of which always four are under way: each is written when the fourth before it is done."""
    number = AT_ONCE * ROUNDS
    everybody = int(np.argmax(np.diff(world.rooms.start)))
    said, first = world.messages, np.zeros(number, np.int64)
    messages = MessageTable(
        broadcast_s * np.maximum(np.arange(number) - AT_ONCE + 1, 0), said.sender[first], said.session[first],
        np.full(number, everybody, said.room.dtype), said.size_bytes[first], said.spam[first],
    )  # fmt: skip
    return replace(world, messages=messages)


def _most_clients() -> float:
    """Twice as many clients take twice as long, so that one run tells of all."""
    return 5000 * 500.0 / _told_ms()


def _discarded() -> float:
    scenario = _scenario("socketio-5226")
    outcome = simulate(scenario, build_world(scenario))
    return float(np.mean(outcome.messages["discards"] / outcome.messages["pushes"]))


def _notices() -> float:
    scenario = _scenario("rocketchat-21182")
    return float(presence(simulate(scenario, build_world(scenario)))["notices"])


@cache
def _online_share() -> float:
    """The most users online at once, over those who come at all in the day."""
    sessions = build_world(_scenario("online-share")).sessions
    moments = np.concatenate([sessions.start_s, sessions.end_s])
    change = np.concatenate([np.ones(len(sessions)), -np.ones(len(sessions))])[np.argsort(moments, kind="stable")]
    return float(np.cumsum(change).max() / len(np.unique(sessions.user)))
