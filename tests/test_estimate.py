"""The estimate: by hand for each routing, against counted worlds and runs of the engine, and for 100 million users."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsim.engine import simulate
from chatsim.engine.outcome import Outcome, Work
from chatsim.scenario import Scenario, load_scenario, preset_names
from chatsim.scenario.models import ROUTINGS
from chatsim.theory import Audience, Demand, demand_of, demand_of_world, estimate
from chatsim.theory.demand import connected_share
from chatsim.theory.tiers import Flow
from chatsim.world import World, build_world, load_test

HAND_COSTS: dict[str, Any] = {
    "gateway": {
        "wake_us": 1.0, "tick_us": 100.0, "receive_us": 20.0, "parse_us": 5.0, "command_us": 3.0, "write_us": 10.0,
        "handshake_us": 300.0, "tls_us": 100.0, "token_us": 50.0, "close_us": 50.0, "flush_us": 0.0, "cores": 1,
        "connection_bytes": 1000.0, "base_bytes": 1e6,
    },
    "broker": {
        "tick_us": 10.0, "flush_us": 5.0, "publish_us": 2.0, "push_us": 1.0, "lookup_us": 4.0, "lookup_user_us": 0.5,
        "update_us": 6.0, "subscribe_us": 7.0, "bus_send_us": 3.0, "bus_receive_us": 4.0, "history_us": 8.0,
        "recover_us": 9.0,
    },
    "database": {"cores": 2, "insert_us": 1000.0, "read_us": 500.0},
}

# 100 messages/s; 3 recipients, 2 of them online with 3 sessions on 2 of 4 gateways, the sender on a third.
HAND_DEMAND = Demand(
    users=50, online_users=20.0, sessions=40.0, logins_per_s=0.0, messages_per_s=100.0, messages_per_s_mean=80.0,
    message_bytes=200.0, audience=Audience(3, 2, 3, 3, 2, 3), fresh_rooms=5.0, fresh_user=1.0, room_subscriptions=70.0,
    user_subscriptions=30.0,
)


def scenario_of(**changes: Any) -> Scenario:
    """The hand-solved scenario: 4 gateways, nothing stored."""
    design = {"routing": "room", "gateways": 4, "store": "never", "offline": "drop", **changes.pop("design", {})}
    parts = {name: {**costs, **changes.pop(name, {})} for name, costs in HAND_COSTS.items()}
    return Scenario.model_validate({"design": design, **parts, **changes})


def utilisations(scenario: Scenario, asked: Demand = HAND_DEMAND) -> dict[str, tuple[float, float]]:
    """(batched, idle) by tier."""
    return {tier.name: (tier.utilisation_batched, tier.utilisation_idle) for tier in estimate(scenario, asked).tiers}


# Per message in us: (gateways batched, gateways idle, broker batched, broker idle). Idle adds 101 us per gateway item
# and 10 us per broker item plus 5 us per connection.
BY_HAND = {
    # 1 receive + own fan-out of 3 writes
    "in_process": (20 + 30, 50 + 2 * 101, None, None),
    # receive and command; 4 pushes read; 3 writes. PUBLISH to 4
    "global": (23 + 4 * 5 + 30, 73 + 5 * 101, 2 + 4, 6 + 10 + 4 * 5),
    # 3 PUBLISHes to 4 gateways; 12 look-ups of one user each, asked (3 + 5) and read (5)
    "global_per_recipient": (
        20 + 9 + 12 * 8 + 12 * 5 + 30, 215 + 25 * 101, 3 * 2 + 12 + 12 * 4.5, 72 + 15 * 10 + 24 * 5,
    ),
    # 3 PUBLISHes, 3 pushes: one per online session, all on different gateways
    "user": (20 + 9 + 15 + 30, 74 + 4 * 101, 3 * 2 + 3, 9 + 3 * 10 + 3 * 5),
    # 3 gateways with a member, the sender's one of them
    "room": (23 + 15 + 30, 68 + 4 * 101, 2 + 3, 5 + 10 + 3 * 5),
    # one look-up of 3 and its reply, then a PUBLISH to each of the 2 holders
    "directory": (20 + 3 + 5 + 6 + 10 + 30, 74 + 4 * 101, 5.5 + 2 * 2 + 2, 11.5 + 3 * 10 + 3 * 5),
    # 3 peers, own fan-out
    "mesh": (20 + 9 + 15 + 30, 74 + 5 * 101, None, None),
}


@pytest.mark.parametrize("routing", ROUTINGS)
def test_each_routing_by_hand(routing: str) -> None:
    gateways = 1 if routing == "in_process" else 4
    tiers = utilisations(scenario_of(design={"routing": routing, "gateways": gateways}))
    batched_us, idle_us, broker_us, broker_idle_us = BY_HAND[routing]
    per_s = 100 * 1e-6
    assert tiers["gateways"] == pytest.approx((batched_us * per_s / gateways, idle_us * per_s / gateways))
    assert tiers["database"] == (0.0, 0.0)
    if broker_us is None:
        assert "broker" not in tiers
    else:
        assert tiers["broker"] == pytest.approx((broker_us * per_s, broker_idle_us * per_s))


@pytest.mark.parametrize(("store", "items", "extra_us"), [("before", 1, 8), ("beside", 1, 8), ("after", 2, 8)])
def test_storing_by_hand(store: str, items: int, extra_us: float) -> None:
    """A command and a reply more on the gateway, an insert in the database (a worker takes one statement at a time)."""
    plain, stored = utilisations(scenario_of()), utilisations(scenario_of(design={"store": store}))
    assert stored["gateways"][0] - plain["gateways"][0] == pytest.approx(extra_us * 1e-4 / 4)
    assert stored["gateways"][1] - plain["gateways"][1] == pytest.approx((extra_us + items * 101) * 1e-4 / 4)
    assert stored["database"] == pytest.approx((0.05, 0.05))
    in_broker = utilisations(scenario_of(design={"store": store, "store_in": "broker"}))
    assert in_broker["database"] == (0.0, 0.0)
    assert in_broker["broker"][0] - plain["broker"][0] == pytest.approx(8 * 1e-4)
    assert in_broker["broker"][1] - plain["broker"][1] == pytest.approx((8 + 10 + 5) * 1e-4)


@pytest.mark.parametrize(
    ("routing", "gateway_us", "gateway_items", "broker_us", "broker_items"),
    [
        ("global", 500, 2, 0, 0),  # handshake and close
        ("room", 500 + 3 + 5, 2 + 1 + 1, 2 * 5 * 7, 2),  # 5 rooms in one request, and off again
        ("user", 500 + 6 + 10, 2 + 1 + 2, 2 * 7 + 2 * 6, 4),  # a subscription and a change of the registry
        ("directory", 500 + 3 + 5, 2 + 1 + 1, 2 * 6, 2),
    ],
)
def test_logins_by_hand(
    routing: str, gateway_us: float, gateway_items: int, broker_us: float, broker_items: int
) -> None:
    asked = replace(HAND_DEMAND, messages_per_s=0.0, logins_per_s=10.0)
    tiers = utilisations(scenario_of(design={"routing": routing}), asked)
    assert tiers["gateways"] == pytest.approx((gateway_us * 1e-5 / 4, (gateway_us + gateway_items * 101) * 1e-5 / 4))
    assert tiers["broker"] == pytest.approx((broker_us * 1e-5, (broker_us + broker_items * 15) * 1e-5))


def test_sync_by_hand() -> None:
    """A read, and its reply on the gateway, per login."""
    asked = replace(HAND_DEMAND, messages_per_s=0.0, logins_per_s=10.0)
    stored = {"routing": "global", "store": "before", "offline": "store"}
    tiers = utilisations(scenario_of(design=stored), asked)
    assert tiers["gateways"][0] == pytest.approx(505 * 1e-5 / 4)
    assert tiers["database"][0] == pytest.approx(500 * 1e-5 / 2)
    tiers = utilisations(scenario_of(design={**stored, "store_in": "broker"}), asked)
    assert tiers["broker"] == pytest.approx((9e-5, 24e-5))


def test_broker_topologies_by_hand() -> None:
    """A room's message: PUBLISH 2 us, 3 pushes of 1 us; on two nodes."""
    sharded = utilisations(scenario_of(broker={"topology": "sharded", "nodes": 2}))["broker nodes"]
    assert sharded[0] == pytest.approx(5 * 1e-4 / 2)
    # cluster: a node takes half the PUBLISHes (2 and 3 to the bus), hears the others (4), and pushes half
    cluster = utilisations(scenario_of(broker={"topology": "cluster", "nodes": 2}))["broker nodes"]
    assert cluster[0] == pytest.approx((0.5 * 5 + 0.5 * 4 + 1.5) * 1e-4)
    # idle: two ticks of 10, and 5 for each push and for the other node
    assert cluster[1] - cluster[0] == pytest.approx((10 + 5 * (1.5 + 0.5)) * 1e-4)
    # the global channel has one node in either topology; in a cluster each node has half of the 4 gateways
    everywhere = {"routing": "global"}
    shared = utilisations(scenario_of(design=everywhere, broker={"topology": "sharded", "nodes": 2}))["broker nodes"]
    assert shared[0] == pytest.approx(6 * 1e-4)
    cluster = utilisations(scenario_of(design=everywhere, broker={"topology": "cluster", "nodes": 2}))["broker nodes"]
    assert cluster[0] == pytest.approx((5 + 2) * 1e-4)


def test_batches_are_limited_by_batch_max() -> None:
    scenario = scenario_of(gateway={"batch_max": 4, "flush_us": 8.0, "flush": "tick"})
    flow = Flow(items=10.0, work_us=100.0, touches=20.0)
    assert flow.batched_cores(scenario.gateway) == pytest.approx((100 + 10 * 100 / 4 + 20 * 8 / 4) * 1e-6)
    assert flow.idle_cores(scenario.gateway) == pytest.approx((100 + 10 * 101 + 20 * 8) * 1e-6)


def test_hosts_add_up_their_stations() -> None:
    host = {"name": "box", "cores": 2, "stations": ["gateway-0", "gateway-1", "broker-0"]}
    tiers = utilisations(scenario_of(hosts=[host]))
    assert tiers["host 'box'"] == pytest.approx(
        tuple((2 * gateway + broker) / 2 for gateway, broker in zip(tiers["gateways"], tiers["broker"], strict=True))
    )


def test_memory_connections_bytes_and_subscriptions_by_hand() -> None:
    needs = estimate(scenario_of(gateway={"connections_max": 8}), HAND_DEMAND)
    assert needs.sessions_per_gateway == 10
    assert needs.gateway_memory_bytes == 1e6 + 10 * 1000
    assert needs.binding.name == "gateway connections"
    assert needs.binding.utilisation_batched == 10 / 8
    assert needs.verdict.startswith("Overloaded: the gateway connections bind first, at 80 messages/s (0.8 x")
    assert needs.uplink_bytes_per_s == 100 * 200
    assert needs.downlink_bytes_per_s == 3 * 100 * 200
    assert (needs.broker_in_bytes_per_s, needs.broker_out_bytes_per_s) == (100 * 200, 3 * 100 * 200)
    assert needs.subscriptions == 70
    for routing, subscriptions in (("user", 30), ("global", 4), ("directory", 4), ("mesh", 0)):
        assert estimate(scenario_of(design={"routing": routing}), HAND_DEMAND).subscriptions == subscriptions


def test_saturation_and_verdict_by_hand() -> None:
    needs = estimate(scenario_of(design={"routing": "global"}), HAND_DEMAND)
    assert needs.binding.name == "gateways"
    row = needs.table()[0]
    assert row["load_factor"] == pytest.approx(4e4 / 73)
    assert row["saturates_at_messages_per_s"] == pytest.approx(4e6 / 73)
    assert row["saturates_at_messages_per_s_idle"] == pytest.approx(4e6 / 578)
    assert row["saturates_at_users"] == pytest.approx(50 * 4e4 / 73)
    assert needs.verdict == "The gateways bind first, at 54,800 messages/s (548 x today's load of 100 messages/s)."
    assert json.loads(json.dumps(needs.as_dict(), allow_nan=False))["tiers"][2]["load_factor"] is None
    idle = estimate(scenario_of(), replace(HAND_DEMAND, messages_per_s=0.0))
    assert idle.verdict == "Nothing binds: the scenario asks for no work."
    assert {"quantity": "pushes discarded", "value": 0.25, "unit": "share"} in needs.facts()


def test_unloaded_latency_by_hand() -> None:
    """15 ms without spread each way; a gateway tick of receive and command; PUBLISH; a push with two writes at most."""
    network = {
        "client_ms_median": 15.0, "client_sigma": 0.0, "jitter_sigma": 0.0, "broker_rtt_ms": 0.2,
        "database_rtt_ms": 0.4, "downlink_bytes_per_s": 2e5,
    }
    client_us = 2 * 15_000 + 1000
    writes_us = 10 * (3 / 2 + 1) / 2  # 3 sessions on 2 gateways, a session in the middle
    receive_us = 101 + 20 + 3
    broker_us = 10 + 2 + 3 + 3 * 5
    far_us = client_us + receive_us + 200 + broker_us + 101 + 5 + writes_us
    needs = estimate(scenario_of(network=network), HAND_DEMAND)
    assert (needs.local_ms * 1e3, needs.remote_ms) == pytest.approx((far_us, far_us / 1e3))
    needs = estimate(scenario_of(network=network, design={"local_shortcut": True}), HAND_DEMAND)
    assert needs.local_ms * 1e3 == pytest.approx(client_us + receive_us + 101 + writes_us)
    needs = estimate(scenario_of(network=network, design={"store": "before"}), HAND_DEMAND)
    assert needs.local_ms * 1e3 == pytest.approx(far_us + 3 + 400 + 1000 + 101 + 5)
    # mesh: 3 commands, own fan-out, or one hop and a push
    needs = estimate(scenario_of(network=network, design={"routing": "mesh"}), HAND_DEMAND)
    assert needs.local_ms * 1e3 == pytest.approx(client_us + receive_us + 6 + 101 + writes_us)
    assert needs.remote_ms == pytest.approx(needs.local_ms + (100 + 5) / 1e3)
    # directory: there and back, a look-up of 3, its reply with 2 PUBLISHes; then both at once to their gateways
    needs = estimate(scenario_of(network=network, design={"routing": "directory"}), HAND_DEMAND)
    looked_up_us = 200 + 10 + 4 + 1.5 + 5 + 101 + 5 + 6
    published_us = 200 + 10 + 2 * 2 + 2 * 1 + 2 * 5
    assert needs.local_ms * 1e3 == pytest.approx(client_us + receive_us + looked_up_us + published_us + 106 + writes_us)
    # cluster of 2: half of the pushes wait for the bus; PUBLISH, a copy, 1.5 pushes here; half a round trip, 1.5 there
    needs = estimate(scenario_of(network=network, broker={"topology": "cluster", "nodes": 2}), HAND_DEMAND)
    here_us, there_us = 10 + 2 + 3 + 1.5 + (1.5 + 1) * 5, 100 + 10 + 4 + 1.5 + 1.5 * 5
    assert needs.local_ms * 1e3 == pytest.approx(
        client_us + receive_us + 200 + here_us + there_us / 2 + 106 + writes_us
    )
    alone = estimate(scenario_of(network=network, design={"routing": "in_process", "gateways": 1}), HAND_DEMAND)
    assert alone.remote_ms is None


# --------------------------------------------------------------------------- against worlds and runs


def test_two_devices_on_two_gateways_by_hand() -> None:
    """Everybody has two sessions; conversations are one message to one friend."""
    workload = {
        "users": 1000, "sessions": {"second_device_share": 1.0, "day_amplitude": 0.0},
        "groups": {"per_user": 0.0}, "conversations": {"length_mean": 1.0},
    }
    asked = demand_of(scenario_of(workload=workload, design={"gateways": 2}))
    on = asked.online_users / 1000
    assert on == pytest.approx(-math.expm1(-8 / 86400 * 300 * math.exp(0.72)))
    assert asked.sessions == pytest.approx(2000 * on)
    assert asked.logins_per_s == pytest.approx(1000 * 8 / 86400 * (1 - on) * 2)
    assert asked.messages_per_s == pytest.approx(40 * 1000 / 86400)
    expected = (1, on, 2 * on, 1.5 * on, 1.5 * on, 2 * (1 - (1 - 0.75 * on) / 4))
    got = asked.audience
    assert (got.recipients, got.online, got.sessions, got.held, got.touched, got.touched_room) == pytest.approx(expected)
    assert asked.user_subscriptions == pytest.approx(1500 * on)
    assert asked.fresh_user == pytest.approx(0.75)  # the second session of a user is new to its gateway in half the cases
    assert asked.room_subscriptions == pytest.approx(2 * 7300 * (1 - (1 - 0.75 * on) ** 2))
    assert asked.fresh_rooms == pytest.approx(14.6 * (1 - 0.75 * on) * 0.75)
    sticky = demand_of(scenario_of(workload=workload, design={"gateways": 2, "placement": "sticky"}))
    assert (sticky.audience.held, sticky.audience.touched) == pytest.approx((on, on))
    assert sticky.fresh_user == 0.5


@pytest.mark.parametrize("per_day", [8, 100])
def test_the_model_s_demand_agrees_with_counted_worlds(per_day: int) -> None:
    """Means over 12 worlds, within 5 standard errors (Student's t) and 3 % for the model's own approximations."""
    from scipy import stats

    counted: dict[str, list[float]] = {}
    for seed in range(12):
        changes = ["workload.users=2500", "workload.duration_s=900", f"workload.sessions.per_day={per_day}"]
        scenario = load_scenario("go-chat", [*changes, f"seed={seed}"])
        for name, value in figures(demand_of_world(build_world(scenario), scenario)).items():
            counted.setdefault(name, []).append(value)
    quantile = stats.t.isf(stats.norm.sf(5.0), 11)
    for name, expected in figures(demand_of(scenario)).items():
        values = np.array(counted[name])
        error = values.std(ddof=1) / math.sqrt(len(values))
        assert abs(values.mean() - expected) < quantile * error + 0.03 * expected, name


def figures(asked: Demand) -> dict[str, float]:
    """What the two ways to a demand are compared by."""
    return {
        "online users": asked.online_users, "sessions": asked.sessions, "logins": asked.logins_per_s,
        "messages": asked.messages_per_s, "recipients": asked.audience.recipients, "online": asked.audience.online,
        "touched": asked.audience.touched, "touched by the room": asked.audience.touched_room,
        "subscriptions of users": asked.user_subscriptions, "bytes": asked.message_bytes,
    }


COUNTED = ("presence.show_to=none",)
"""Without what the estimate says that it leaves out."""


def standing_run(scenario: Scenario, rate_per_s: float) -> tuple[World, Outcome]:
    """A run with constant sessions and so without logins."""
    world = load_test(build_world(scenario), rate_per_s, messages=400)
    return world, simulate(scenario, world)


@pytest.mark.parametrize("preset", preset_names())
def test_work_of_a_run_is_what_the_estimate_counts(preset: str) -> None:
    """Placement is drawn once per session, so that 300 sessions' gateways stray from the mean: 12 %."""
    changes = ["workload.users=3000", "workload.duration_s=60", "workload.sessions.second_device_share=0"]
    scenario = load_scenario(preset, [*changes, *COUNTED])
    world, outcome = standing_run(scenario, 200.0)
    work = estimate(scenario, demand_of_world(world, scenario)).work
    done = outcome.work.sum(axis=0) / len(world.messages)
    exact = {Work.PUBLISH: work.publishes, Work.WRITE: work.writes}
    if scenario.design.routing in ("global", "global_per_recipient", "mesh"):
        exact |= {Work.PUSH: work.pushes, Work.LOOKUP: work.lookups}
    replies = 1.0 if scenario.design.store != "never" else 0.0
    near = {Work.PUSH: work.pushes, Work.PARSE: work.parses + replies, Work.COMMAND: work.commands + replies}
    if scenario.design.routing == "directory":
        near[Work.PUBLISH] = exact.pop(Work.PUBLISH)
    for kind, expected in exact.items():
        assert done[kind] == pytest.approx(expected, rel=1e-9), kind.name
    for kind, expected in (near | {Work.DISCARD: work.discards}).items():
        assert done[kind] == pytest.approx(expected, rel=0.12), kind.name


@pytest.mark.parametrize("preset", preset_names())
def test_busy_time_of_a_run_lies_between_the_bounds(preset: str) -> None:
    """At a low load: the idle bound itself where items of one message never meet; 2 % where chance places sessions."""
    scenario = load_scenario(preset, ["workload.users=3000", "workload.duration_s=60", "database.service='fixed'", *COUNTED])
    world, outcome = standing_run(scenario, 20.0)
    span = float(world.messages.time_s[-1])
    asked = replace(demand_of_world(world, scenario), messages_per_s=len(world.messages) / span)
    ticks = outcome.ticks
    sending = ticks["start_s"] < span + 1.0  # what comes later is the sessions' end
    length_s = np.where(sending, ticks["end_s"] - ticks["start_s"], 0.0)
    busy = np.bincount(ticks["station"].astype(int), length_s, len(outcome.stations)) / span
    for tier in estimate(scenario, asked).tiers:
        kind = tier.name.removesuffix(" nodes").removesuffix("s")
        stations = [share for share, name in zip(busy, outcome.stations, strict=True) if name.startswith(kind)]
        mean = float(np.mean(stations)) / tier.cores
        assert tier.utilisation_batched * 0.98 <= mean <= tier.utilisation_idle * 1.02, tier.name
        if scenario.design.routing in ("in_process", "global", "mesh"):
            assert mean == pytest.approx(tier.utilisation_idle, rel=1e-6), tier.name


# --------------------------------------------------------------------------- size, limits, properties


@pytest.mark.parametrize("preset", preset_names())
def test_100_million_users_in_less_than_50_ms(preset: str) -> None:
    scenario = load_scenario(preset, ["workload.users=100_000_000"])
    took_s = []
    for _ in range(5):
        start = time.perf_counter()
        needs = estimate(scenario)
        took_s.append(time.perf_counter() - start)
    assert min(took_s) < 0.05
    assert needs.demand.users == 100_000_000
    assert all(math.isfinite(tier.utilisation_idle) for tier in needs.tiers)


@settings(max_examples=40, deadline=None)
@given(
    users=st.integers(3, 10**8), gateways=st.integers(1, 2000), routing=st.sampled_from(ROUTINGS[1:]),
    placement=st.sampled_from(["round_robin", "sticky"]),
)
def test_more_users_are_more_work_and_bounds_are_ordered(
    users: int, gateways: int, routing: str, placement: str
) -> None:
    def needs(count: int) -> Any:
        design = {"routing": routing, "gateways": gateways, "placement": placement}
        return estimate(Scenario.model_validate({"workload": {"users": count}, "design": design}))

    less, more = needs(users), needs(2 * users)
    audience = less.demand.audience
    assert audience.touched <= audience.touched_room * (1 + 1e-9) <= gateways * (1 + 1e-9)
    assert audience.online <= audience.held * (1 + 1e-9) <= audience.sessions * (1 + 1e-9)
    for few, many in zip(less.tiers, more.tiers, strict=True):
        assert few.utilisation_batched <= few.utilisation_idle * (1 + 1e-9)
        assert few.utilisation_batched <= many.utilisation_batched * (1 + 1e-9)


def test_the_busiest_hour_of_a_day_is_the_peak() -> None:
    day = load_scenario("go-chat", ["workload.duration_s=86400", "workload.start_hour=3"])
    peak = load_scenario("go-chat", ["workload.duration_s=3600", "workload.start_hour=19.5"])
    assert demand_of(day).messages_per_s == pytest.approx(demand_of(peak).messages_per_s, rel=0.01)
    whole = demand_of(day).messages_per_s_mean * 86400 / day.workload.users
    assert whole == pytest.approx(day.workload.conversations.messages_per_day, rel=0.03)
    everybody = load_scenario("go-chat", ["workload.sessions.per_day=1000", "workload.sessions.length_s_median=9000"])
    assert float(connected_share(everybody.workload, np.zeros(1))[0]) == pytest.approx(1.0)


def test_a_trace_is_counted(tmp_path: Any) -> None:
    """Two people and an hour with one message every 100 s, then silence but for one message."""
    lines = ["time,sender,recipient", *(f"{100 * step},ann,bob" for step in range(36)), "9000,bob,ann"]
    path = tmp_path / "trace.csv"
    path.write_text("\n".join(lines) + "\n")
    scenario = load_scenario("room-channel", [f"workload.trace='{path}'", "workload.duration_s=0"])
    asked = estimate(scenario).demand
    assert asked.users == 2
    assert asked.messages_per_s == pytest.approx(36 / 3600)
    assert asked.audience.recipients == 1
    assert asked.audience.online == 0


def test_the_estimate_says_what_it_leaves_out() -> None:
    assert estimate(load_scenario("room-channel")).left_out == ()
    asked = ["friend_list.policy=recent", "access.policy=scopes", "design.receipts=true", "limits.messages_per_s=1"]
    left = estimate(load_scenario("go-chat", asked)).left_out
    assert left == (
        "limits of users",
        "receipts",
        "pushes and the sessions they bring",
        "access.policy = 'scopes'",
        "friend lists",
        "presence",
    )
