"""Laws that hold whatever breaks: random schedules of overlapping faults, and the auditor balances in each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatsim.engine import Cause, Fate, Outcome, simulate
from chatsim.scenario import Scenario
from chatsim.scenario.load import validate
from chatsim.world.tables import World
from tests.test_laws import WITHOUT_BROKER, scenarios
from tests.worlds import world

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
AT_S = st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.25, 3.0, 4.0, 6.5])
FOR_S = st.sampled_from([0.0, 0.25, 1.0, 3.0])


@st.composite
def faults(draw: st.DrawFn, has_broker: bool) -> dict[str, Any]:
    """One fault, at a time of the first seconds, for good or for a while; or again and again at random."""
    kinds = ["gateway_crash", "drain", "database_down", "partition", "slow", "link", "cache_emptied", "slow_clients"]
    kind = draw(st.sampled_from([*kinds, *(["broker_down"] * 3 if has_broker else [])]))
    fault: dict[str, Any] = {"kind": kind, "at_s": draw(AT_S), "for_s": draw(FOR_S)}
    stations = {"stations": [draw(st.sampled_from(["gateway-*", "gateway-0"]))]}
    if kind == "gateway_crash":
        fault |= {**stations, "noticed": draw(st.sampled_from(["close", "silence"]))}
    elif kind == "drain":
        fault |= {**stations, "batch": draw(st.integers(1, 2)), "grace_s": draw(FOR_S), "pause_s": draw(FOR_S)}
    elif kind == "partition":
        fault |= stations
    elif kind == "broker_down":
        fault |= {"stations": [draw(st.sampled_from(["broker-*", "broker-0"]))], "keeps_data": draw(st.booleans())}
    elif kind == "slow":
        fault |= {"stations": draw(st.sampled_from([["gateway-0"], ["database"], ["*"]])), "factor": draw(st.sampled_from([0.5, 20.0]))}
    elif kind == "link":
        fault |= {
            "link": draw(st.sampled_from(["clients", "broker", "database"])),
            "added_ms": draw(st.sampled_from([0.0, 300.0])),
            "loss": draw(st.sampled_from([0.0, 0.3])),
        }
    elif kind == "slow_clients":
        fault |= {"share": 0.5, "bytes_per_s": 200.0}
    if kind != "drain" and draw(st.integers(0, 4)) == 0:
        fault |= {"mtbf_s": 2.0, "mttr_s": draw(st.sampled_from([0.3, 1.5]))}
        if kind in ("gateway_crash", "broker_down", "partition", "slow"):
            fault |= {"together": draw(st.booleans())}
    return fault


@st.composite
def troubled(draw: st.DrawFn) -> Scenario:
    """Any scenario of the other laws, with up to five faults and clients that may come back."""
    table = draw(scenarios()).model_dump()
    if draw(st.integers(0, 2)):
        table["limits"] |= {"messages_per_s": 0.0, "message_max_bytes": 0}
        table["gateway"] |= {"connections_max": 0}
    has_broker = table["design"]["routing"] not in WITHOUT_BROKER
    table["faults"] = [draw(faults(has_broker)) for _ in range(draw(st.integers(1, 5)))]
    table["client"] |= {
        "reconnect": draw(st.sampled_from(["none", "fixed", "phoenix", "socketio", "full_jitter"])),
        "reconnect_s": 0.3,
        "tries_max": draw(st.sampled_from([0, 0, 2])),
        "connect_timeout_s": draw(st.sampled_from([0.5, 20.0, 20.0])),
        "ping_s": 0.7,
        "ping_timeout_s": 0.4,
        "buffer_max": draw(st.sampled_from([0, 1, 1000])),
        "guarantee": draw(st.sampled_from(["at_most_once", "at_least_once"])),
        "ack_timeout_s": draw(st.sampled_from([0.2, 1.0])),
        "sends_max": draw(st.sampled_from([0, 3])),
        "deduplicate": draw(st.booleans()),
        "resync": draw(st.booleans()),
    }
    table["balancer"] |= {
        "notice_s": draw(st.sampled_from([0.0, 0.5])),
        "connections_per_s": draw(st.sampled_from([0.0, 0.0, 2.0])),
        "burst": 1,
    }
    table["gateway"] |= {
        "broker_retry_s": draw(st.sampled_from([0.1, 1.0])),
        "broker_silence_s": draw(st.sampled_from([0.2, 2.0])),
        "shed_above": draw(st.sampled_from([0, 0, 2])),
    }
    if has_broker:
        topology = table["broker"]["topology"]
        table["broker"] |= {
            "delivery": "pubsub" if topology == "cluster" else draw(st.sampled_from(["pubsub", "stream"])),
            "stream_max": draw(st.sampled_from([1, 1000])),
            "subscriber_max_bytes": draw(st.sampled_from([0.0, 150.0, 32e6])),
            "subscriber_soft_bytes": draw(st.sampled_from([0.0, 50.0])),
            "subscriber_soft_s": 0.1,
        }
    if draw(st.booleans()) and table["design"]["gateways"] > 1:
        table["scaling"] |= {"start": 1, "check_s": 0.4, "delay_s": 0.3, "grace_s": 0.2, "up_above": 0.05, "down_below": 0.01}
    table["network"] |= {"slow_share": draw(st.sampled_from([0.0, 0.5])), "slow_bytes_per_s": 300.0}
    return validate(table)


@st.composite
def busy_worlds(draw: st.DrawFn) -> World:
    """Six people in four rooms, most of them connected throughout, with up to 25 messages in ten seconds."""
    rooms = [[0, 1], [2, 3], [0, 2, 4, 5], [0, 1, 2, 3, 4, 5]]
    sessions = []
    for user in range(6):
        if draw(st.integers(0, 3)):
            sessions.append((user, -1.0, 1000.0))
        start_ms = draw(st.integers(0, 6000))
        sessions.append((user, start_ms / 1000, (start_ms + draw(st.integers(500, 5000))) / 1000))
    messages = []
    for time_ms, number in draw(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 1000)), min_size=5, max_size=25)):
        there = sorted({user for user, start_s, end_s in sessions if start_s <= time_ms / 1000 <= end_s})
        if there:
            user = there[number % len(there)]
            own = [room for room, members in enumerate(rooms) if user in members]
            messages.append((time_ms / 1000, user, own[number // 7 % len(own)]))
    return world(
        sorted(sessions, key=lambda session: (session[1], session[0])),
        rooms,
        sorted(messages),
        new_rooms=draw(st.sampled_from([(), (), (0,), (0, 1)])),
        contacts={0: [1], 1: [0]},
        friends=[(0, 1), (2, 3), (0, 4)],
        intrusions=draw(st.sampled_from([(), ((2.0, 0, 3),)])) if (0, -1.0, 1000.0) in sessions else (),
    )


def lost(outcome: Outcome) -> list[tuple[int, int, str]]:
    """Message, recipient and cause of all that is gone for good."""
    table = outcome.deliveries
    gone = table["fate"] == Fate.LOST
    rows = zip(table["message"][gone].tolist(), table["recipient"][gone].tolist(), table["cause"][gone].tolist(), strict=True)
    return [(message, recipient, Cause(cause).name) for message, recipient, cause in rows]


@given(troubled(), busy_worlds())
@settings(max_examples=60, deadline=None, suppress_health_check=QUIET, derandomize=True)
def test_the_audit_balances_whatever_breaks(asked: Scenario, people: World) -> None:
    simulate(asked, people)


@pytest.mark.long
@given(troubled(), busy_worlds())
@settings(max_examples=2000, deadline=None, suppress_health_check=QUIET, derandomize=True)
def test_the_audit_balances_whatever_breaks_at_length(asked: Scenario, people: World) -> None:
    simulate(asked, people)


def all_over(asked: Scenario) -> Scenario:
    """The same, in which every fault ends, and with time until all that was under way has arrived."""
    table = asked.model_dump()
    for fault in table["faults"]:
        fault |= {"for_s": fault["for_s"] or 1.0, "mtbf_s": 0.0, "mttr_s": 0.0}
        if "together" in fault:
            fault["together"] = False
    table["workload"]["drain_s"] = 300.0
    table["network"]["downlink_bytes_per_s"] = 1e6
    table["client"]["connect_timeout_s"] = 20.0
    table["balancer"]["connections_per_s"] = 0.0
    table["gateway"] |= {"connections_max": 0, "shed_above": 0}
    return validate(table)


@given(troubled(), busy_worlds())
@settings(max_examples=40, deadline=None, suppress_health_check=QUIET, derandomize=True)
def test_nothing_stays_under_way_when_all_faults_are_over(asked: Scenario, people: World) -> None:
    outcome = simulate(all_over(asked), people)
    assert not (outcome.deliveries["fate"] == Fate.IN_FLIGHT).any()
    assert np.isfinite(outcome.messages["done_s"]).all()


@given(troubled(), busy_worlds())
@settings(max_examples=20, deadline=None, suppress_health_check=QUIET, derandomize=True)
def test_the_same_faults_give_the_same_outcome(asked: Scenario, people: World) -> None:
    first, second = simulate(asked, people), simulate(asked, people)
    for table in ("messages", "deliveries", "sessions", "ticks", "subscriptions", "faults", "breaks"):
        for name, column in getattr(first, table).items():
            np.testing.assert_array_equal(column, getattr(second, table)[name], err_msg=f"{table}.{name}")


SAFE = {"guarantee": "at_least_once", "deduplicate": True, "resync": True, "sends_max": 0}


def sure(asked: Scenario, store: str = "before", **client: Any) -> Scenario:
    """At least once, store first, resync: with what is taken away from it."""
    table = asked.model_dump()
    table["faults"] = [fault for fault in table["faults"] if fault["kind"] != "database_down"]
    table["design"] |= {"store": store, "store_in": "database", "offline": "store"}
    table["client"] |= {**SAFE, **client}
    return validate(table)


@given(troubled(), busy_worlds())
@settings(max_examples=60, deadline=None, suppress_health_check=QUIET, derandomize=True)
def test_at_least_once_store_first_and_resync_together_lose_nothing(asked: Scenario, people: World) -> None:
    assert lost(simulate(sure(asked), people)) == []


@pytest.mark.long
@given(troubled(), busy_worlds())
@settings(max_examples=1000, deadline=None, suppress_health_check=QUIET, derandomize=True)
def test_the_three_together_lose_nothing_at_length(asked: Scenario, people: World) -> None:
    assert lost(simulate(sure(asked), people)) == []


@pytest.mark.long
@given(troubled(), busy_worlds())
@settings(max_examples=1000, deadline=None, suppress_health_check=QUIET, derandomize=True)
def test_nothing_stays_under_way_at_length(asked: Scenario, people: World) -> None:
    assert not (simulate(all_over(asked), people).deliveries["fate"] == Fate.IN_FLIGHT).any()
