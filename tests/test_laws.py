"""Laws that hold in every run, on random scenarios and worlds: the auditor balances, nothing is made or lost unseen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatsim.analysis import recipient_ends
from chatsim.engine import Fate, Journey, Outcome, Work, finish, simulate
from chatsim.engine.audit import pairs_of
from chatsim.engine.clock import Clock
from chatsim.rules.limits import ACCEPTED, tokens_now, verdict
from chatsim.scenario import ROUTINGS, AuditError, Scenario
from chatsim.world.tables import World
from tests.worlds import ALWAYS, scenario, world

WITHOUT_BROKER = ("in_process", "mesh")
ASKS_FOR_MEMBERS = ("user", "global_per_recipient", "directory")
LISTS = ("all", "recent", "frequent", "frecency", "online_first", "random")


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    routing = draw(st.sampled_from(ROUTINGS))
    store = draw(st.sampled_from(["before", "beside", "after", "never"]))
    topology = draw(st.sampled_from(["single", "cluster", "sharded"]))
    station = {
        "batch_max": draw(st.sampled_from([0, 1, 3])),
        "cores": draw(st.sampled_from([1, 2])),
        "flush": draw(st.sampled_from(["tick", "item"])),
        "flush_us": draw(st.sampled_from([0.0, 500.0])),
        "fetch_us": draw(st.sampled_from([0.0, 700.0])),
        "tick_us": draw(st.sampled_from([0.0, 1000.0])),
        "wake_us": draw(st.sampled_from([0.0, 300.0])),
        "cooling_us": draw(st.sampled_from([0.0, 2000.0])),
        "service": draw(st.sampled_from(["fixed", "exponential"])),
    }
    without_broker = routing in WITHOUT_BROKER
    rooms = draw(st.sampled_from(["pair", "personal", "group"]))
    membership = "memory" if without_broker else draw(st.sampled_from(["memory", "broker"]))
    if rooms == "personal" and routing in ASKS_FOR_MEMBERS:
        membership = "broker"
    list_policy = draw(st.sampled_from(["none", *LISTS]))
    shows = draw(st.sampled_from(["none", "rooms", "friends", "all", *(["list"] if list_policy != "none" else [])]))
    parts: dict[str, Any] = {
        "design": {
            "rooms": rooms,
            "rooms_created": draw(st.sampled_from(["before", "first_message"])),
            "leave": draw(st.sampled_from(["disconnect", "idle"])),
            "leave_idle_s": 1.0,
            "membership": membership,
            "own_devices": draw(st.booleans()),
            "receipts": draw(st.booleans()),
            "routing": routing,
            "gateways": 1 if routing == "in_process" else draw(st.integers(1, 4)),
            "placement": draw(st.sampled_from(["round_robin", "least_connections", "sticky", "returning"])),
            "local_shortcut": draw(st.booleans())
            and routing not in ("in_process", "mesh", "user", "global_per_recipient"),
            "mesh_directory": draw(st.booleans()) and routing == "mesh",
            "store": store,
            "store_in": "database" if routing in WITHOUT_BROKER else draw(st.sampled_from(["database", "broker"])),
            "offline": "drop" if store == "never" else draw(st.sampled_from(["drop", "store", "push"])),
        },
        "access": {
            "policy": draw(st.sampled_from(["open", "friends", "scopes"])),
            "check": draw(st.sampled_from(["connect", "message"])),
            "token_life_s": draw(st.sampled_from([1.5, 3600.0])),
            "cache_s": draw(st.sampled_from([0.0, 2.0])),
            "client_joins": draw(st.booleans()),
        },
        "presence": {
            "show_to": shows,
            "how": "push" if without_broker else draw(st.sampled_from(["push", "pull"])),
            **draw(st.sampled_from([{"key_life_s": 2.0, "refresh_s": 1.5}, {"key_life_s": 0.0, "refresh_s": 1.5}])),
        },
        "friend_list": {
            "policy": list_policy,
            "limit": draw(st.integers(1, 3)),
            "kept": draw(st.sampled_from(["login", "live"])),
            "opening_gap_s": draw(st.sampled_from([0.5, 1800.0])),
            "search_share": 0.4,
            "other_share": 0.3,
        },
        "push": {"after_min": 0.02, "latency_s_median": 0.5, "return_share": 0.7, "return_s_median": 0.5, "session_s": 1.0},
        "gateway": {**station, "connections_max": draw(st.sampled_from([0, 0, 1]))},
        "broker": {"topology": topology, "nodes": 1 if topology == "single" else draw(st.integers(1, 3)), **station},
        "limits": {
            "messages_per_s": draw(st.sampled_from([0.0, 0.5, 2.0])),
            "burst": draw(st.integers(1, 3)),
            "message_max_bytes": draw(st.sampled_from([0, 99, 100])),
        },
        "network": {
            "client_sigma": 0.5,
            "jitter_sigma": draw(st.sampled_from([0.0, 0.5])),
            "downlink_bytes_per_s": draw(st.sampled_from([1e12, 1e3])),
            "outbound_max_bytes": draw(st.sampled_from([1e9, 250.0])),
            "outbound_policy": draw(st.sampled_from(["close", "drop_newest", "drop_oldest", "block"])),
            "silent_share": draw(st.sampled_from([0.0, 0.5])),
            "notice_s": draw(st.sampled_from([0.0, 1.0])),
        },
        "workload": {"drain_s": draw(st.sampled_from([0.0, 0.5, 20.0]))},
    }
    if draw(st.booleans()):
        parts["hosts"] = [{"name": "one", "cores": draw(st.integers(1, 2)), "stations": ["gateway-*", "database"]}]
    return scenario(**parts)


ROOMS = [[0, 1], [2, 3], [0, 2, 3], [0, 1, 2, 3]]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Four people in four rooms, up to three sessions each, a few messages; all times in whole ms, so that ties happen."""
    sessions = []
    for user in range(4):
        start_ms = draw(st.integers(-1000, 9000))
        for _ in range(draw(st.integers(0, 3))):
            end_ms = start_ms + draw(st.integers(10, 5000))
            sessions.append((user, start_ms / 1000, end_ms / 1000))
            start_ms = end_ms + draw(st.integers(10, 3000))
    sessions = sorted(sessions, key=lambda session: (session[1], session[0])) or [(0, *ALWAYS)]
    messages = []
    for user, start_s, end_s in draw(st.lists(st.sampled_from(sessions), max_size=12)):
        first_ms, last_ms = round(max(start_s, 0) * 1000), round(min(end_s, 10) * 1000)
        if first_ms <= last_ms:
            rooms = [room for room, members in enumerate(ROOMS) if user in members]
            messages.append((draw(st.integers(first_ms, last_ms)) / 1000, user, draw(st.sampled_from(rooms))))
    times = st.integers(0, 10_000).map(lambda ms: ms / 1000)
    endings = st.tuples(times, st.sampled_from([(0, 1), (1, 0), (2, 3)]), st.booleans())
    pairs = st.sampled_from([(user, other) for user in range(4) for other in range(4) if user != other])
    intrusions = [
        (time_s, user, victim)
        for time_s, (user, victim) in draw(st.lists(st.tuples(times, pairs), max_size=4))
        if any(own == user and start_s <= time_s <= end_s for own, start_s, end_s in sessions)
    ]
    return world(
        sessions,
        ROOMS,
        sorted(messages),
        new_rooms=draw(st.sampled_from([(), (0,), (0, 1)])),
        contacts={0: [1], 1: [0]},
        friends=draw(st.lists(pairs, max_size=3)),
        endings=sorted((time_s, user, other, blocks) for time_s, (user, other), blocks in draw(st.lists(endings, max_size=2))),
        intrusions=sorted(intrusions),
    )


def ends(outcome: Outcome) -> dict[tuple[int, int], set[Fate]]:
    """How each message x recipient ended, without the rows that are not ends."""
    found: dict[tuple[int, int], set[Fate]] = {}
    table = outcome.deliveries
    for message, user, fate in zip(table["message"], table["recipient"], table["fate"], strict=True):
        if fate not in (Fate.MISSED, Fate.DUPLICATE, Fate.OVERHEARD, Fate.COPY):
            found.setdefault((int(message), int(user)), set()).add(Fate(int(fate)))
    return found


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(scenarios(), worlds())
def test_every_run_is_audited_and_every_message_ends(chosen: Scenario, people: World) -> None:
    outcome = simulate(chosen, people)
    wanted = set(zip(*(column.tolist() for column in pairs_of(people, outcome.messages["room"])), strict=True))
    found = ends(outcome)
    assert set(found) == wanted
    if chosen.design.offline != "drop":
        assert all(Fate.LOST not in fates for fates in found.values())
    else:
        assert all(not fates & {Fate.STORED, Fate.READ_LATER} for fates in found.values())
    if chosen.workload.drain_s == 20.0 and chosen.network.downlink_bytes_per_s > 1e6:
        assert all(Fate.IN_FLIGHT not in fates for fates in found.values())
    assert outcome.work.sum() >= 0


@settings(max_examples=30, deadline=None)
@given(scenarios(), worlds())
def test_the_same_scenario_gives_the_same_outcome(chosen: Scenario, people: World) -> None:
    first, second = simulate(chosen, people), simulate(chosen, people)
    for table in ("messages", "deliveries", "sessions", "ticks", "subscriptions"):
        for name, column in getattr(first, table).items():
            np.testing.assert_array_equal(column, getattr(second, table)[name], err_msg=f"{table}.{name}")


@settings(max_examples=30, deadline=None)
@given(worlds(), st.sampled_from(["room", "global", "user", "directory"]))
def test_a_slower_network_never_delivers_earlier(people: World, routing: str) -> None:
    def times(rtt_ms: float) -> dict[tuple[int, int], float]:
        outcome = simulate(scenario(design={"routing": routing}, network={"broker_rtt_ms": rtt_ms}), people)
        table = outcome.deliveries
        live = table["fate"] == Fate.DELIVERED
        return dict(
            zip(zip(table["message"][live], table["session"][live], strict=True), table["time_s"][live], strict=True)
        )

    near, far = times(1.0), times(150.0)
    single = {message for message, _ in near} if len(people.messages) == 1 else set()
    assert all(far[key] >= near[key] for key in far if key in near and key[0] in single)


@settings(max_examples=150, deadline=None)
@given(scenarios(), worlds())
def test_a_room_counts_just_those_sessions_that_came_into_it(chosen: Scenario, people: World) -> None:
    journey = Journey(chosen, people)
    journey.clock.run_to(60.0)  # by now nothing is under way any more
    inside: dict[int, dict[int, int]] = {}
    for session in journey.sessions:
        for room in session.entered:
            inside.setdefault(room, {}).setdefault(session.user, 0)
            inside[room][session.user] += 1
    assert journey.entered == inside


def test_littles_law_holds_at_the_gateway() -> None:
    """The summed waits of all items are the area under the queue: both counted, by different parts of the engine."""
    people = world([(user, *ALWAYS) for user in range(3)], [[0, 1, 2]], [(1.0 + 0.001 * n, 0, 0) for n in range(50)])
    journey = Journey(scenario(design={"routing": "in_process", "gateways": 1}), people)
    area = 0.0

    def sample() -> Any:
        nonlocal area
        while True:
            yield journey.clock.timeout(1e-4)
            area += 1e-4 * len(journey.gateways[0].queue)

    journey.clock.process(sample())
    journey.run()
    waited_s = finish(journey).ticks["waited_s"].sum()
    assert waited_s > 1
    assert area == pytest.approx(waited_s, rel=0.01)


@pytest.mark.parametrize("column", ["row_fate", "row_session", "discards", "pushes", "ticks"])
def test_the_auditor_refuses_a_run_that_was_tampered_with(column: str) -> None:
    people = world([(0, *ALWAYS), (1, *ALWAYS), (2, *ALWAYS)], [[0, 1, 2]], [(1.0, 0, 0)])
    journey = Journey(scenario(design={"routing": "global", "gateways": 2}), people)
    journey.run()
    if column == "row_fate":
        journey.notes.row_message.pop()
        for name in ("row_session", "row_written_s", "row_time_s"):
            getattr(journey.notes, name).pop()
    elif column == "row_session":
        journey.notes.row_session[1] = journey.notes.row_session[0]
    elif column == "ticks":
        journey.notes.tick_end_s[0] += 5
    else:
        getattr(journey.notes, column)[0] += 1
    with pytest.raises(AuditError):
        finish(journey)


def test_the_clock_refuses_the_past() -> None:
    clock = Clock()
    clock.run(until=2.0)
    with pytest.raises(ValueError, match=r"an event at 1\.0 s, but it is already 2\.0 s"):
        clock.at(1.0, print)
    with pytest.raises(ValueError, match="already"):
        clock.until(1.5)


def test_equal_times_happen_in_the_order_in_which_they_were_scheduled() -> None:
    clock, seen = Clock(), []
    for name in "abc":
        clock.at(1.0, lambda event: seen.append(event.value), name)
    clock.run()
    assert seen == ["a", "b", "c"]


def test_work_is_counted_where_it_is_done() -> None:
    people = world([(0, *ALWAYS), (1, 2.0, 3.0)], [[0, 1]], [(1.0, 0, 0)])
    outcome = simulate(
        scenario(design={"routing": "user", "gateways": 1, "store": "before", "offline": "store"}), people
    )
    broker, database = outcome.work[1], outcome.work[2]
    assert broker[[Work.PUBLISH, Work.PUSH, Work.SUBSCRIBE, Work.UPDATE]].tolist() == [1, 0, 2, 2]
    assert database[[Work.STORE, Work.RECOVER]].tolist() == [1, 1]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0.001, 3.0), max_size=20), st.floats(0.1, 3.0), st.floats(0.0, 2.0), st.integers(1, 3))
def test_a_looser_limit_never_refuses_more(gaps_s: list[float], per_s: float, more_per_s: float, burst: int) -> None:
    def accepted(messages_per_s: float) -> int:
        tokens, count = float(burst), 0
        for gap_s in gaps_s:
            tokens = tokens_now(tokens, gap_s, messages_per_s, burst)
            if verdict(tokens, 100, messages_per_s, 0) == ACCEPTED:
                tokens, count = tokens - 1, count + 1
        return count

    assert accepted(per_s + more_per_s) >= accepted(per_s)


@settings(max_examples=60, deadline=None)
@given(scenarios(), worlds())
def test_shares_of_recipients_sum_to_one_and_agree_with_the_ends(chosen: Scenario, people: World) -> None:
    outcome = simulate(chosen, people)
    shares, found = recipient_ends(outcome), ends(outcome)
    if not found:
        assert all(np.isnan(share) for share in shares.values())
        return
    assert sum(shares.values()) == pytest.approx(1.0)
    live = sum(Fate.DELIVERED in fates for fates in found.values())
    assert shares["live_share"] == pytest.approx(live / len(found))
    assert shares["lost_share"] == pytest.approx(sum(fates == {Fate.LOST} for fates in found.values()) / len(found))


def test_what_became_of_each_message_for_each_recipient() -> None:
    people = world([(0, *ALWAYS), (1, *ALWAYS), (1, *ALWAYS)], [[0, 1, 2, 3]], [(1.0, 0, 0)])
    dropping = recipient_ends(simulate(scenario(design={"gateways": 1}), people))
    keeping = recipient_ends(simulate(scenario(design={"gateways": 1, "store": "before", "offline": "store"}), people))
    assert (dropping["live_share"], dropping["kept_share"]) == (pytest.approx(1 / 3), 0.0)
    assert dropping["lost_share"] == pytest.approx(2 / 3)
    assert (keeping["kept_share"], keeping["lost_share"]) == (pytest.approx(2 / 3), 0.0)
