"""The behaviour model: the trace means what tables.py says, and shows the laws it was made from.

Statistical tolerances are 5 standard errors, or p > 1e-6 (false alarms below 1e-6)."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest
from scipy import optimize, stats

from chatsim.scenario import InputError, Scenario, load_scenario, preset_names
from chatsim.world import GROUP, PAIR, MessageTable, SessionTable, World, build_world, load_test
from chatsim.world.behaviour import ties_of
from chatsim.world.draws import Purpose
from chatsim.world.partners import Partners, build_partners
from chatsim.world.sessions import (
    Gaps,
    activity_of,
    covering_session,
    joined_s,
    length_s_mean,
    merge_overlapping,
    poisson_process,
)
from chatsim.world.telling import Talk, Ties, _meet, _old_partner

DAY_S = 86400.0


def scenario(seed: int = 1, **workload: object) -> Scenario:
    return Scenario.model_validate({"seed": seed, "workload": workload})


def arrays(world: World) -> dict[str, np.ndarray]:
    tables = {"friends": world.friends, "rooms": world.rooms, "sessions": world.sessions, "messages": world.messages}
    return {
        f"{name}.{column.name}": getattr(table, column.name)
        for name, table in tables.items() for column in fields(table)
    }


def assert_same(one: World, other: World) -> None:
    left, right = arrays(one), arrays(other)
    for name, column in left.items():
        assert column.dtype == right[name].dtype, name
        assert column.tobytes() == right[name].tobytes(), name


def assert_well_formed(world: World) -> None:
    sessions, messages, rooms = world.sessions, world.messages, world.rooms
    rows = list(zip(sessions.start_s.tolist(), sessions.user.tolist(), sessions.device.tolist(), strict=True))
    assert rows == sorted(rows)
    assert (sessions.end_s > np.maximum(sessions.start_s, 0)).all()
    assert (sessions.start_s < world.duration_s).all()
    assert (np.diff(messages.time_s) >= 0).all()
    assert ((messages.time_s >= 0) & (messages.time_s < world.duration_s)).all()
    assert (sessions.user[messages.session] == messages.sender).all()
    assert (sessions.start_s[messages.session] <= messages.time_s).all()
    assert (messages.time_s <= sessions.end_s[messages.session]).all()
    assert (messages.size_bytes >= 1).all()
    owner = np.repeat(np.arange(len(rooms)), np.diff(rooms.start))
    assert (np.diff(owner * world.users + rooms.member) > 0).all(), "members ascending, each once"
    assert (np.diff(rooms.start)[rooms.kind == PAIR] == 2).all()
    inside = set((owner * world.users + rooms.member).tolist())
    assert set((messages.room.astype(np.int64) * world.users + messages.sender).tolist()) <= inside


@pytest.fixture(scope="module")
def evening() -> World:
    return build_world(scenario(users=2000, duration_s=1800.0))


@pytest.fixture(scope="module")
def day() -> World:
    return build_world(scenario(users=1500, duration_s=DAY_S, start_hour=4.0))


@pytest.mark.parametrize(
    "workload",
    [
        {"users": 2000, "duration_s": 1800.0},
        {"users": 1},
        {"users": 2, "duration_s": DAY_S},
        {"users": 3, "duration_s": DAY_S},
        {"users": 300, "duration_s": DAY_S, "sessions": {"per_day": 60.0, "length_s_median": 900.0}},
        {"users": 300, "sessions": {"second_device_share": 1.0, "day_amplitude": 1.0, "length_sigma": 0.0}},
        {"users": 300, "groups": {"per_user": 0.0}, "conversations": {"group_share": 1.0}},
        {"users": 300, "friends": {"degree_median": 0.1, "degree_mean": 0.1}, "conversations": {"length_mean": 30.0}},
        {"users": 300, "conversations": {"known_partners_mean": 0.0, "reply_sigma": 0.0, "reply_share": 1.0}},
        {"users": 300, "duration_s": 5 * DAY_S, "sessions": {"join_days": 3.0, "fade_days": 2.0, "activity_sigma": 1.5}},
        {"users": 300, "duration_s": DAY_S, "sessions": {"fade_days": 0.2}, "conversations": {"burst_sigma": 3.0}},
        {"users": 300, "duration_s": DAY_S, "sessions": {"join_days": 9.0}, "conversations": {"answer_weight": 50.0}},
    ],
)
def test_the_trace_is_well_formed(workload: dict[str, object]) -> None:
    assert_well_formed(build_world(scenario(**workload)))


def test_sessions_of_one_device_never_overlap() -> None:
    made = scenario(users=200, duration_s=DAY_S, sessions={"per_day": 80.0, "second_device_share": 1.0})
    sessions = build_world(made).sessions
    order = np.lexsort((sessions.start_s, sessions.device, sessions.user))
    same = (np.diff(sessions.user[order]) == 0) & (np.diff(sessions.device[order]) == 0)
    assert (sessions.start_s[order][1:] > sessions.end_s[order][:-1])[same].all()
    assert set(sessions.device.tolist()) == {0, 1}


def test_overlapping_sessions_are_one() -> None:
    user = np.array([1, 0, 0, 0, 0, 1], np.int32)
    start, end = np.array([5.0, 4.0, 0.0, 1.0, 3.0, 2.0]), np.array([6.0, 9.0, 3.0, 2.0, 3.5, 4.9])
    merged = merge_overlapping(user, start, end)
    assert [part.tolist() for part in merged] == [[0, 0, 1, 1], [0.0, 4.0, 2.0, 5.0], [3.5, 9.0, 4.9, 6.0]]


def test_the_covering_session_is_found_at_both_ends_and_not_beyond() -> None:
    sessions = SessionTable(
        np.array([1, 0, 0], np.int32), np.array([0, 1, 0], np.int32),
        np.array([0.0, 1.0, 2.0]), np.array([9.0, 3.0, 4.0]),
    )
    user, time_s = np.array([0, 0, 0, 0, 1, 2]), np.array([1.5, 2.0, 4.0, 4.1, 9.0, 1.0])
    assert covering_session(sessions, user, time_s).tolist() == [-1, 2, 2, -1, 0, -1]


def test_the_same_three_give_the_same_world(evening: World) -> None:
    made = scenario(users=2000, duration_s=1800.0)
    assert_same(evening, build_world(made))
    for other in (build_world(made, 1), build_world(scenario(seed=2, users=2000, duration_s=1800.0))):
        assert not np.array_equal(evening.sessions.start_s, other.sessions.start_s)
        assert not np.array_equal(evening.friends.friend, other.friends.friend)


def test_another_process_makes_the_same_bytes(evening: World) -> None:
    program = (
        "import hashlib, chatsim.world as w; from chatsim.scenario import Scenario;"
        "x = w.build_world(Scenario.model_validate({'workload': {'users': 2000, 'duration_s': 1800.0}}));"
        "print(hashlib.sha256(x.messages.time_s.tobytes() + x.messages.room.tobytes()"
        " + x.messages.size_bytes.tobytes() + x.sessions.end_s.tobytes()).hexdigest())"
    )
    import hashlib

    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
    messages = evening.messages
    columns = (messages.time_s, messages.room, messages.size_bytes, evening.sessions.end_s)
    own = b"".join(column.tobytes() for column in columns)
    assert printed == hashlib.sha256(own).hexdigest()


def test_designs_costs_and_networks_do_not_change_the_world() -> None:
    small = {"users": 300, "duration_s": 900.0}
    base = build_world(Scenario.model_validate({"workload": small}))
    for other in (
        {"design": {"routing": "in_process", "gateways": 1}},
        {"design": {"gateways": 40, "placement": "sticky"}, "gateway": {"write_us": 99.0}},
        {"broker": {"topology": "sharded", "nodes": 8}, "network": {"client_ms_median": 80.0}},
        {"database": {"insert_us": 1.0}, "name": "other"},
    ):
        assert_same(base, build_world(Scenario.model_validate({"workload": small, **other})))


def test_activity_spreads_rates_by_the_number_of_friends_and_leaves_the_mean() -> None:
    sessions = {"per_day": 20.0, "length_s_median": 5.0, "length_sigma": 0.0, "second_device_share": 0.0}
    friends = {"degree_median": 20.0, "degree_mean": 30.0}
    spread = scenario(users=1500, duration_s=DAY_S, sessions={**sessions, "activity_sigma": 1.0}, friends=friends)
    world, workload = build_world(spread), spread.workload
    activity = activity_of(workload, world.friends)
    degree = np.diff(world.friends.start)
    assert activity.mean() == pytest.approx(1)
    assert abs(np.log(activity).std() - 1) < 0.01
    assert (np.diff(activity[np.argsort(degree, kind="stable")]) > 0).all()
    counted = np.bincount(world.sessions.user, minlength=1500)
    # Poisson, but that a session falls into another of its user: one in 170 for the most active of a hundred.
    assert abs(counted.sum() - 30_000) < 5 * math.sqrt(30_000) + 300
    error = np.sqrt(20 * activity)
    assert (np.abs(counted - 20 * activity) < 6 * error + 6 + 0.1 * 20 * activity).all()


def test_users_join_evenly_with_a_session_and_are_not_there_before() -> None:
    sessions = {"join_days": 4.0, "per_day": 6.0, "second_device_share": 0.0}
    made = scenario(users=1500, duration_s=6 * DAY_S, sessions=sessions, conversations={"known_partners_mean": 0.0})
    world = build_world(made)
    joined = joined_s(made.workload, made.seed, 0)
    assert stats.chisquare(np.bincount((joined // DAY_S).astype(int), minlength=4)).pvalue > 1e-6
    first_s = np.full(1500, np.inf)
    np.minimum.at(first_s, world.sessions.user, world.sessions.start_s)
    assert np.abs(first_s - joined).max() < 1e-3  # by the day's clock and back
    messages = world.messages
    private = world.rooms.kind[messages.room] == PAIR
    members = world.rooms.member[world.rooms.start[messages.room[private]][:, None] + [0, 1]]
    assert (joined[members].max(axis=1) <= messages.time_s[private] + 1e-3).all(), "nobody writes to who has not joined"


@pytest.mark.parametrize("join_days", [0.0, 2.0])
def test_interest_halves(join_days: float) -> None:
    sessions = {"fade_days": 2.0, "join_days": join_days, "per_day": 24.0, "length_s_median": 5.0, "length_sigma": 0.0}
    sessions["second_device_share"] = 0.0
    friends = {"degree_median": 2.0, "degree_mean": 2.0}
    made = scenario(users=1000, duration_s=10 * DAY_S, start_hour=0.0, sessions=sessions, friends=friends)
    start_s = build_world(made).sessions.start_s
    counted = np.bincount((start_s[start_s >= 0] // DAY_S).astype(int), minlength=10)
    # From when all have joined: two days later, half as many; per day so many of a user who has just joined.
    later, half = counted[2:8], counted[4:10]
    error = np.sqrt(half + later / 4)
    assert (np.abs(half - later / 2) < 5 * error).all()
    if not join_days:
        expected = 24_000 * (1 - math.sqrt(0.5)) * 2 / math.log(2)
        assert abs(counted[0] - expected) < 5 * math.sqrt(expected) + 0.01 * expected


@pytest.mark.parametrize("sigma", [0.0, 1.0, 1.8])
def test_bursts_leave_the_rate_and_begin_in_the_steady_state(sigma: float) -> None:
    """Gaps are log-normal with mean 1; by the renewal theorem the count until t is t on the mean, from 0 on."""
    users, until = 20_000, np.array([0.5, 8.0])
    user, ordinal, point = poisson_process(np.full(users, 8.0), Purpose.OPENING_GAP, 1, 0, Gaps(sigma))
    for t in until:
        count = np.bincount(user[point < t], minlength=users)
        assert abs(count.mean() - t) < 5 * count.std() / math.sqrt(users)
    gaps = np.diff(point)[np.diff(user) == 0]
    assert (np.diff(ordinal)[np.diff(user) == 0] == 1).all()
    assert (gaps > 0).all()
    whole = Gaps(sigma, "whole").draw(np.arange(users), np.arange(2), Purpose.OPENING_GAP, 1, 0)
    if sigma:
        logs = np.log(whole)
        error = sigma / math.sqrt(users)
        assert (np.abs(logs.mean(axis=0) + sigma**2 / 2) < 5 * error).all()
        assert (np.abs(logs.std(axis=0) - sigma) < 5 * error).all()
    at_once = Gaps(sigma, "none").draw(np.arange(users), np.arange(2), Purpose.OPENING_GAP, 1, 0)
    assert (at_once[:, 0] == 0).all()
    assert np.array_equal(at_once[:, 1], whole[:, 1])


def write(ties: Ties, sender: int, peer: int) -> None:
    _meet(ties, peer, sender, 1, False)
    _meet(ties, sender, peer, 0, False)


def test_an_answer_is_so_many_times_as_likely() -> None:
    """A user with two partners, the older of whom waits for an answer: ranks weigh 1 and A / 2**x."""
    made = scenario(users=3, conversations={"answer_weight": 6.0, "recency_exponent": 1.0})
    talk = Talk(0.0, 1.0, answer_weight=6.0)
    nobody_known = Partners(np.zeros(4, np.int64), np.empty(0, np.int32), np.array([0, 2, 4, 6]), np.array([1, 2, 0, 2, 0, 1], np.int32))
    ties = ties_of(made.workload.conversations, nobody_known)
    for sender, peer in ((1, 0), (0, 2)):
        write(ties, sender, peer)
    draws = (np.arange(1000) + 0.5) / 1000
    chosen = [_old_partner(talk, ties, 0, float(draw)) for draw in draws]
    assert chosen.count(2) == 250
    assert chosen.count(1) == 750
    write(ties, 0, 1)  # answered: nobody waits, and 1 is the latest
    chosen = [_old_partner(talk, ties, 0, float(draw)) for draw in draws]
    assert chosen.count(1) in (666, 667)


def test_concurrency_obeys_littles_law() -> None:
    """Mean connected = rate x mean length; per user, overlaps made one: 1 - exp(-rate x length)."""
    sessions = {"per_day": 20.0, "day_amplitude": 0.0, "second_device_share": 0.0, "length_sigma": 0.8}
    users = 8000
    made = scenario(
        users=users, duration_s=3600.0, sessions=sessions, friends={"degree_median": 2.0, "degree_mean": 2.0},
        groups={"per_user": 0.0}, conversations={"messages_per_day": 1.0, "known_partners_mean": 1.0},
    )
    table = build_world(made).sessions
    load = 20.0 / DAY_S * length_s_mean(made.workload.sessions)
    assert load == pytest.approx(20 / 86400 * 300 * math.exp(0.32))
    share = 1 - math.exp(-load)
    for time_s in (0.0, 1800.0, 3599.0):
        connected = ((table.start_s <= time_s) & (table.end_s > time_s)).sum()
        # Sessions older than the lead, a thousandth at most, are missing.
        error = math.sqrt(users * share * (1 - share))
        assert users * share * 0.999 - 5 * error < connected < users * share + 5 * error


def test_sessions_follow_the_daily_rhythm() -> None:
    sessions = {"per_day": 6.0, "length_s_median": 20.0, "length_sigma": 0.0, "second_device_share": 0.0,
                "peak_hour": 18.0}
    friends = {"degree_median": 2.0, "degree_mean": 2.0}
    made = scenario(users=3000, duration_s=DAY_S, start_hour=3.0, sessions=sessions, friends=friends)
    table = build_world(made).sessions
    hour = np.floor(table.start_s[table.start_s >= 0] / 3600).astype(int)
    edges = 2 * math.pi * (np.arange(25) + 3.0 - 18.0) / 24
    share = 1 / 24 + 0.8 * np.diff(np.sin(edges)) / (2 * math.pi)
    # A session that falls into another of its user, one in 720, is merged.
    expected = 3000 * 6 * share * (1 - 6 * 20 / DAY_S)
    counted = np.bincount(hour, minlength=24)
    assert stats.chi2.sf(((counted - expected) ** 2 / expected).sum(), 24) > 1e-6
    assert counted.argmax() in (14, 15, 16)


def test_messages_follow_those_who_are_connected(day: World) -> None:
    hour = (np.floor(day.messages.time_s / 3600).astype(int) + 4) % 24
    counted = np.bincount(hour, minlength=24)
    assert counted[18:23].mean() > 4 * counted[6:11].mean()


@pytest.mark.parametrize(
    ("talk", "sessions"),
    [
        ({}, {}),
        ({"length_mean": 8.0}, {}),
        ({"length_mean": 8.0, "group_share": 0.9}, {}),
        ({"length_mean": 8.0, "group_share": 0.0, "reply_share": 1.0}, {"per_day": 3.0, "length_s_median": 3000.0}),
        ({"length_mean": 1.0}, {"length_s_median": 20.0}),
        ({"burst_sigma": 2.0, "answer_weight": 5.0}, {"activity_sigma": 1.5}),
        ({"length_mean": 5.0, "reply_s_median": 120.0}, {"per_day": 30.0, "length_s_median": 1500.0}),
    ],
)
def test_users_write_as_many_messages_a_day_as_wanted(talk: dict[str, float], sessions: dict[str, float]) -> None:
    world = build_world(scenario(users=1000, duration_s=DAY_S, conversations=talk, sessions=sessions))
    assert len(world.messages) / 1000 == pytest.approx(40.0, rel=0.15)


def test_conversations_are_under_way_when_the_run_starts() -> None:
    talk = {"length_mean": 20.0, "messages_per_day": 400.0}
    sessions = {"per_day": 40.0, "length_s_median": 3000.0, "length_sigma": 0.3, "day_amplitude": 0.0}
    world = build_world(scenario(users=800, duration_s=3000.0, conversations=talk, sessions=sessions))
    counted = np.bincount((world.messages.time_s // 100).astype(int), minlength=30)
    # Conversations of about 20 messages come in clusters: the variance is that of a Poisson count times about 20.
    early, later = counted[:5].mean(), counted[5:].mean()
    assert abs(early - later) < 5 * math.sqrt(20 * later * (1 / 5 + 1 / 25))


def test_recency_exponent_is_found_again_in_the_trace() -> None:
    """Each message is an opening to an old partner: the lists are rebuilt from it, the exponent estimated by
    maximum likelihood, its standard error from the curvature."""
    talk = {"length_mean": 1.0, "group_share": 0.0, "new_partner_share": 0.0, "recency_exponent": 1.36}
    friends = {"degree_median": 40.0, "degree_mean": 50.0}
    made = scenario(users=400, duration_s=DAY_S / 2, conversations=talk, friends=friends)
    world = build_world(made)
    partners = build_partners(world.friends, 14.6, made.seed, 0)
    recent = [part.tolist() for part in np.split(partners.known, partners.known_start[1:-1])]
    members = world.rooms.member[world.rooms.start[world.messages.room][:, None] + [0, 1]]
    ranks, lengths = [], []
    written = zip(world.messages.sender.tolist(), members.tolist(), strict=True)
    for place, (sender, (first, second)) in enumerate(written):
        other = second if sender == first else first
        # The first quarter brings the lists into the order that the openings before time 0, not in the trace, began.
        if place > len(world.messages) // 4 and other in recent[sender]:
            ranks.append(recent[sender].index(other) + 1)
            lengths.append(len(recent[sender]))
        for user, partner in ((sender, other), (other, sender)):
            if partner in recent[user]:
                recent[user].remove(partner)
            recent[user].insert(0, partner)
    log_rank, size = np.log(ranks), np.array(lengths)
    logs = np.log(np.arange(1, size.max() + 1))

    def cost(exponent: float) -> float:
        return exponent * log_rank.sum() + np.log(np.cumsum(np.exp(-exponent * logs)))[size - 1].sum()

    found = optimize.minimize_scalar(cost, bounds=(0.2, 4.0), method="bounded").x
    step = 1e-3
    curvature = (cost(found + step) - 2 * cost(found) + cost(found - step)) / step**2
    # Lists in the rebuild may still differ in old places from before time 0: two hundredths.
    assert abs(found - 1.36) < 5 / math.sqrt(curvature) + 0.02
    assert 1 / math.sqrt(curvature) < 0.03


def test_new_partners_become_rarer_as_the_list_grows() -> None:
    def new_share(scale: float) -> float:
        talk = {"length_mean": 1.0, "group_share": 0.0, "known_partners_mean": 0.0, "new_partner_scale": scale}
        world = build_world(scenario(users=400, duration_s=DAY_S, conversations=talk))
        return (world.rooms.kind == PAIR).sum() / len(world.messages)

    # With p = 0.3 throughout, 3 in 10 openings are new (fewer where the other side had written before).
    always = new_share(1e6)
    assert 0.25 < always < 0.31
    assert new_share(5.0) < always / 1.5


def test_group_share_and_members(evening: World) -> None:
    groups = evening.rooms.kind == GROUP
    assert (np.diff(evening.rooms.start)[groups] >= 3).all()
    world = build_world(scenario(users=500, duration_s=7200.0, conversations={"group_share": 1.0, "length_mean": 1.0}))
    of_group = np.repeat(world.rooms.kind == GROUP, np.diff(world.rooms.start))
    writes_to_group = np.isin(world.messages.sender, world.rooms.member[of_group])
    assert np.array_equal(world.rooms.kind[world.messages.room] == GROUP, writes_to_group)


def test_known_partners_have_rooms_before_anything_is_written() -> None:
    made = scenario(users=500, duration_s=1.0)
    world = build_world(made)
    assert len(world.messages) < 50
    assert (world.rooms.kind == PAIR).sum() == pytest.approx(500 * 14.6 / 2, rel=0.03)


def test_replies_come_from_the_other_side() -> None:
    talk = {"length_mean": 5.0, "group_share": 0.0, "reply_share": 1.0}
    always_on = {"per_day": 100.0, "length_s_median": 20_000.0, "length_sigma": 0.0}
    world = build_world(scenario(users=300, duration_s=3600.0, conversations=talk, sessions=always_on))
    order = np.lexsort((world.messages.time_s, world.messages.room))
    room, sender = world.messages.room[order], world.messages.sender[order]
    same_room = np.diff(room) == 0
    assert (np.diff(sender)[same_room] != 0).mean() > 0.85  # the rest: a new conversation of the same pair


def test_message_sizes_are_log_normal(day: World) -> None:
    logs = np.log(day.messages.size_bytes)
    error = 0.5 / math.sqrt(len(logs))
    assert abs(logs.mean() - math.log(256)) < 5 * error + 1e-3  # rounding to bytes
    assert abs(logs.std() - 0.5) < 5 * error + 1e-3


@pytest.mark.parametrize(
    ("workload", "said"),
    [
        ({"duration_s": 1e9}, r"duration_s = 1e\+09 with 5,000 users: about 4.6e\+08 sessions; at most 50,000,000"),
        ({"conversations": {"messages_per_day": 1e5}, "users": 100_000}, "about 6.9e.07 messages; at most"),
        ({"users": 6_000_000, "sessions": {"per_day": 1.0}}, "workload.users = 6,000,000 with 190 friends each"),
    ],
)
def test_a_world_too_large_is_refused_at_once(workload: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        build_world(scenario(**workload))


@pytest.mark.parametrize("name", preset_names("workloads"))
def test_shipped_workloads_load(name: str) -> None:
    loaded = load_scenario(f"workloads/{name}")
    assert loaded.about
    assert loaded.name == name


# --------------------------------------------------------------------------- load test


def test_load_test_holds_the_busiest_moment_open(evening: World) -> None:
    world = load_test(evening, 500.0, 4000)
    assert_well_formed_standing(world, 4000)
    moments = evening.sessions.start_s
    most = max(int(((evening.sessions.start_s <= t) & (evening.sessions.end_s >= t)).sum()) for t in moments)
    assert len(world.sessions) == most
    gaps = np.diff(world.messages.time_s, prepend=0.0)
    assert stats.kstest(gaps * 500, stats.expon.cdf).pvalue > 1e-6


def assert_well_formed_standing(world: World, messages: int) -> None:
    assert len(world.messages) == messages
    assert (world.sessions.start_s == -1).all()
    assert (world.sessions.end_s > world.duration_s).all()
    assert world.duration_s == world.messages.time_s[-1] + 2
    assert (np.diff(world.messages.time_s) > 0).all()
    assert np.array_equal(world.sessions.user[world.messages.session], world.messages.sender)


def test_load_tests_share_their_luck_over_rates(evening: World) -> None:
    slow, fast = load_test(evening, 10.0, 500), load_test(evening, 1000.0, 500)
    assert np.allclose(slow.messages.time_s, 100 * fast.messages.time_s, rtol=1e-12)
    for column in ("sender", "session", "room", "size_bytes"):
        assert np.array_equal(getattr(slow.messages, column), getattr(fast.messages, column))


def test_load_test_takes_the_messages_of_those_connected_in_order_and_again(evening: World) -> None:
    world = load_test(evening, 10.0, 5000)
    qualified = evening.messages.room[np.isin(evening.messages.sender, world.sessions.user)]
    assert np.array_equal(world.messages.room, np.resize(qualified, 5000))


def test_load_test_gives_everybody_a_session_where_no_message_qualifies(evening: World) -> None:
    writers = np.unique(evening.messages.sender)
    silent = ~np.isin(evening.sessions.user, writers)
    strangers = SessionTable(*(getattr(evening.sessions, column.name)[silent] for column in fields(SessionTable)))
    lonely = replace(evening, sessions=strangers)
    world = load_test(lonely, 10.0, 300)
    assert_well_formed_standing(world, 300)
    assert set(writers.tolist()) <= set(world.sessions.user.tolist())
    assert (world.sessions.device == 0).all()


@pytest.mark.parametrize(("rate", "count", "said"), [(0.0, 5, "rate_per_s = 0"), (math.nan, 5, "rate_per_s = nan"),
                                                    (math.inf, 5, "rate_per_s = inf"), (1.0, 0, "messages = 0")])
def test_wrong_load_tests_are_refused(evening: World, rate: float, count: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_test(evening, rate, count)


def test_load_test_needs_a_message() -> None:
    with pytest.raises(InputError, match="no message to send"):
        load_test(build_world(scenario(users=1)), 1.0, 1)


def test_tables_have_their_types(evening: World) -> None:
    assert isinstance(evening.messages, MessageTable)
    kinds = {name: column.dtype for name, column in arrays(evening).items()}
    assert kinds["messages.time_s"] == kinds["sessions.start_s"] == kinds["sessions.end_s"] == np.float64
    assert kinds["messages.session"] == kinds["messages.room"] == kinds["messages.size_bytes"] == np.int32
    assert kinds["rooms.kind"] == np.uint8
    assert kinds["rooms.start"] == kinds["friends.start"] == np.int64
    assert kinds["friends.strength"] == np.float32
    assert all(column.flags.c_contiguous for column in arrays(evening).values())
