"""What goes wrong in a world: cuts, spam, endings and intrusions, by hand, by their rates, and the laws they obey."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from chatsim.engine import simulate
from chatsim.scenario import InputError, Scenario, load_scenario
from chatsim.scenario.models import Intruders, Reconnect, Relations, Workload
from chatsim.world import World, build_world, cuts, load_test
from chatsim.world.cuts import with_cuts
from chatsim.world.draws import Purpose, uniform
from chatsim.world.membership import partners_of_users, rooms_of_users
from chatsim.world.sessions import covering_or_next_session, points_while_connected
from chatsim.world.spam import with_spam
from chatsim.world.tables import PAIR
from chatsim.world.trouble import endings_of, intrusions_of
from tests.worlds import ALWAYS, scenario, world

FALSE_ALARM = 1e-6
SMALL = ["workload.users=1000", "workload.duration_s=3600"]
ALL_TROUBLE = [
    "workload.relations.ends_per_day=20", "workload.intruders.share=0.1", "workload.spam.share=0.01", "workload.reconnect.share=0.5",
]


def built(*settings: str) -> World:
    return build_world(load_scenario("go-chat", [*SMALL, *settings]))


def workload(**parts: dict[str, float]) -> Workload:
    return Scenario.model_validate({"workload": parts}).workload


def columns(of: World) -> dict[str, bytes]:
    """All tables of a world, as bytes."""
    tables = {name: getattr(of, name) for name in ("friends", "rooms", "sessions", "messages", "contacts", "endings", "intrusions")}
    return {
        f"{name}.{column.name}": getattr(table, column.name).tobytes() for name, table in tables.items() for column in fields(table)
    }


def within_poisson(count: int, expected: float) -> bool:
    return bool(stats.poisson.sf(count - 1, expected) > FALSE_ALARM / 2 and stats.poisson.cdf(count, expected) > FALSE_ALARM / 2)


@pytest.fixture(scope="module")
def calm() -> World:
    return built()


@pytest.fixture(scope="module")
def troubled() -> World:
    return built(*ALL_TROUBLE)


# --------------------------------------------------------------------------- all of it


def test_nothing_asked_for_leaves_the_world_as_it_was(calm: World) -> None:
    assert (len(calm.endings), len(calm.intrusions), int(calm.messages.spam.sum())) == (0, 0, 0)
    with_numbers_but_no_share = built(
        "workload.spam.messages_per_s=50", "workload.intruders.tries_per_hour=60", "workload.reconnect.away_s=1", "workload.relations.block_share=1"
    )
    assert columns(with_numbers_but_no_share) == columns(calm)


def test_trouble_is_a_function_of_workload_seed_and_replication(troubled: World) -> None:
    assert columns(built(*ALL_TROUBLE)) == columns(troubled)
    other_design = build_world(load_scenario("hub", [*SMALL, *ALL_TROUBLE, "network.client_ms_median=99"]))
    assert columns(other_design) == columns(troubled)
    assert columns(built(*ALL_TROUBLE, "seed=2"))["endings.time_s"] != columns(troubled)["endings.time_s"]


def test_each_trouble_leaves_the_others_alone(calm: World, troubled: World) -> None:
    alone = {name: columns(built(setting)) for name, setting in zip(("endings", "intrusions", "spam", "cuts"), ALL_TROUBLE, strict=True)}
    both = columns(troubled)
    assert {name: alone["endings"][name] for name in both if name.startswith("endings")} == {name: both[name] for name in both if name.startswith("endings")}
    same = ("friends", "rooms", "contacts")
    assert all(one[name] == both[name] for one in alone.values() for name in both if name.startswith(same))
    own = ~troubled.messages.spam
    for name in ("time_s", "sender", "room", "size_bytes"):
        assert np.array_equal(getattr(troubled.messages, name)[own], getattr(calm.messages, name))


def test_a_world_of_trouble_keeps_the_order_of_its_tables(troubled: World) -> None:
    table = troubled.sessions
    assert np.array_equal(np.lexsort((table.device, table.user, table.start_s)), np.arange(len(table)))
    for times in (troubled.messages.time_s, troubled.endings.time_s, troubled.intrusions.time_s):
        assert (np.diff(times) >= 0).all()
        assert ((times >= 0) & (times < troubled.duration_s)).all()
    messages = troubled.messages
    assert np.array_equal(table.user[messages.session], messages.sender)
    assert np.array_equal(table.user[troubled.intrusions.session], troubled.intrusions.user)
    start, end = table.start_s[troubled.intrusions.session], table.end_s[troubled.intrusions.session]
    assert ((start <= troubled.intrusions.time_s) & (troubled.intrusions.time_s <= end)).all()


def test_a_trace_gets_the_same_trouble(tmp_path: Path) -> None:
    lines = [f"{20 * n},u{n % 7},u{(n + 1 + n % 3) % 7}" for n in range(200)]
    (tmp_path / "log.csv").write_text("time,sender,recipient\n" + "\n".join(lines) + "\n", encoding="utf-8")
    trace = [f"workload.trace={tmp_path / 'log.csv'}", "workload.duration_s=0.0"]
    plain = build_world(load_scenario("go-chat", trace))
    assert not plain.rooms.known.any()
    assert len(plain.contacts.contact) == 0
    settings = ["workload.relations.ends_per_day=500", "workload.intruders.share=1.0", "workload.intruders.tries_per_hour=60",
                "workload.spam.share=0.5", "workload.spam.messages_per_s=0.1", "workload.reconnect.share=1.0", "workload.reconnect.at_s=100"]
    rough = build_world(load_scenario("go-chat", [*trace, *settings]))
    assert rough.report == plain.report
    assert min(len(rough.endings), len(rough.intrusions), rough.messages.spam.sum()) > 20
    assert len(rough.sessions) == len(plain.sessions) + 7
    assert np.array_equal(rough.messages.time_s[~rough.messages.spam], plain.messages.time_s)
    simulate(load_scenario("go-chat", [*trace, *settings]), rough)


def test_a_load_test_takes_the_trouble_of_those_with_a_session(troubled: World) -> None:
    standing = load_test(troubled, 1.0, 1000)
    assert np.array_equal(standing.sessions.user[standing.intrusions.session], standing.intrusions.user)
    assert set(standing.intrusions.user.tolist()) <= set(standing.sessions.user.tolist())
    assert 0 < len(standing.intrusions) < len(troubled.intrusions)
    assert len(standing.endings) == (troubled.endings.time_s < standing.duration_s).sum()
    assert standing.messages.spam.any()


# --------------------------------------------------------------------------- cuts

ANN, BOB, CID = range(3)


def luck_by_session(monkeypatch: pytest.MonkeyPatch, *luck: float) -> None:
    """The lower draw is cut first."""
    monkeypatch.setattr(cuts, "uniform", lambda seed, replication, purpose, user, ordinal: np.array(luck))


def rows(of: World) -> list[tuple[int, float, float]]:
    table = of.sessions
    return list(zip(table.user.tolist(), table.start_s.tolist(), table.end_s.tolist(), strict=True))


def test_cuts_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # Three are online at 10 s, so there are three cuts, at 10, 12 and 14 s. Bob is first; then Cid, who goes at 12 s, so
    # it is Ann; at 14 s Cid has only just come, and it is Bob's session from 13 s. What has come back is not cut again.
    sessions = [(ANN, -1.0, 17.5), (BOB, 0.0, 11.0), (CID, 1.0, 12.0), (BOB, 13.0, 90.0), (CID, 14.0, 90.0)]
    messages = [(9.0, ANN, 0), (10.0, BOB, 0), (10.5, BOB, 0), (11.0, CID, 1), (12.0, ANN, 0), (12.5, ANN, 0), (17.2, ANN, 0), (20.0, BOB, 0)]
    luck_by_session(monkeypatch, 0.8, 0.1, 0.2, 0.9, 0.05)
    before = world(sessions, [[ANN, BOB], [ANN, CID]], messages, 60.0)
    after = with_cuts(before, Reconnect(share=1.0, at_s=10.0, spread_s=6.0, away_s=5.0))
    # Bob's first session would have ended at 11 s, before 15 s: he does not come back. Ann does, at 17 s.
    assert rows(after) == [
        (ANN, -1.0, 12.0), (BOB, 0.0, 10.0), (CID, 1.0, 12.0), (BOB, 13.0, 14.0), (CID, 14.0, 90.0), (ANN, 17.0, 17.5), (BOB, 19.0, 90.0),
    ]
    # Bob's message at 10.5 s waits for his next session, Ann's at 12.5 s for the one at 17 s.
    assert after.messages.session.tolist() == [0, 1, 3, 2, 0, 5, 5, 6]
    assert after.messages.session.dtype == before.messages.session.dtype


def test_cuts_at_one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = [(ANN, -1.0, 90.0), (BOB, 0.0, 90.0), (CID, 10.0, 90.0)]
    luck_by_session(monkeypatch, 0.5, 0.4, 0.1)
    before = world(sessions, [[ANN, BOB]], [], 60.0)
    all_cut = with_cuts(before, Reconnect(share=1.0, at_s=10.0, spread_s=0.0, away_s=2.0))
    assert rows(all_cut) == [(ANN, -1.0, 10.0), (BOB, 0.0, 10.0), (CID, 10.0, 90.0), (ANN, 12.0, 90.0), (BOB, 12.0, 90.0)]
    half = with_cuts(before, Reconnect(share=0.5, at_s=10.0, spread_s=0.0, away_s=2.0))
    assert rows(half) == [(ANN, -1.0, 90.0), (BOB, 0.0, 10.0), (CID, 10.0, 90.0), (BOB, 12.0, 90.0)]


def test_after_the_run_nobody_is_cut_and_nobody_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    luck_by_session(monkeypatch, 0.1, 0.2)
    before = world([(ANN, -1.0, 90.0), (BOB, -1.0, 90.0)], [[ANN, BOB]], [(59.0, ANN, 0), (59.5, ANN, 0)], 60.0)
    after = with_cuts(before, Reconnect(share=1.0, at_s=59.0, spread_s=2.0, away_s=3.0))
    assert rows(after) == [(ANN, -1.0, 59.0), (BOB, -1.0, 90.0)]
    assert after.messages.session.tolist() == [0, 0]  # she writes the second one in vain
    assert with_cuts(before, Reconnect(share=1.0, at_s=60.0)) is before


def test_devices_are_cut_one_by_one() -> None:
    before = world([(ANN, -1.0, 90.0), (ANN, -1.0, 90.0), (BOB, -1.0, 90.0)], [[ANN, BOB]], [(11.0, ANN, 0)], 60.0)
    after = with_cuts(before, Reconnect(share=1.0, at_s=10.0, spread_s=0.0, away_s=2.0))
    assert after.sessions.device.tolist() == [0, 1, 0, 0, 1, 0]
    assert after.messages.session.tolist() == [3]


SPANS = st.lists(st.tuples(st.integers(0, 3), st.floats(-20, 50), st.floats(1, 60)), min_size=1, max_size=12)


@given(SPANS, st.floats(0, 1), st.floats(0, 60), st.floats(0, 30), st.floats(0.1, 30))
def test_cut_sessions_never_overlap_and_lose_only_the_time_away(
    spans: list[tuple[int, float, float]], share: float, at_s: float, spread_s: float, away_s: float
) -> None:
    free: dict[int, float] = {}
    sessions = []
    for user, start, length in sorted(spans, key=lambda span: span[1]):
        if start > free.get(user, -math.inf):
            sessions.append((user, start, start + length))
            free[user] = start + length
    sessions.sort(key=lambda session: (session[1], session[0]))
    messages = [((max(start, 0.0) + end) / 2, user, 0) for user, start, end in sessions if end > 0]
    before = world(sessions, [[0, 1, 2, 3]], sorted(messages), 60.0)
    after = with_cuts(before, Reconnect(share=share, at_s=at_s, spread_s=spread_s, away_s=away_s))
    table, kept = after.sessions, before.sessions
    assert np.array_equal(np.lexsort((table.device, table.user, table.start_s)), np.arange(len(table)))
    assert (table.end_s > table.start_s).all()
    for user in range(4):
        own = [row[1:] for row in rows(after) if row[0] == user]
        assert all(end < start for (_, end), (start, _) in pairwise(own))
    online = int(((kept.start_s < at_s) & (kept.end_s > at_s)).sum())
    cut = sorted(set(table.end_s.tolist()) - set(kept.end_s.tolist()))
    count = round(share * online)
    slots = [at_s + spread_s * n / count for n in range(count)]
    assert len(cut) <= count
    assert all(time in slots for time in cut if time not in kept.end_s)
    lost = float((kept.end_s - kept.start_s).sum() - (table.end_s - table.start_s).sum())
    came_back = len(table) - len(kept)
    assert lost >= came_back * away_s * (1 - 1e-9) - 1e-9
    assert set(zip(table.user.tolist(), table.end_s.tolist(), strict=True)) >= {
        (user, end) for user, start, end in rows(before) if start >= at_s + spread_s or end <= at_s
    }
    check_sessions_of_messages(after)


def check_sessions_of_messages(of: World) -> None:
    """Each message lies in its session, or before it and in none; or nothing of its sender comes after it."""
    table, messages = of.sessions, of.messages
    expected = covering_or_next_session(table, messages.sender, messages.time_s)
    nothing = expected < 0
    assert np.array_equal(messages.session[~nothing], expected[~nothing])
    assert (table.user[messages.session] == messages.sender).all()


def test_a_share_of_those_online_is_cut_evenly_spread(calm: World) -> None:
    rough = built("workload.reconnect.share=0.25", "workload.reconnect.at_s=600", "workload.reconnect.spread_s=300")
    online = ((calm.sessions.start_s < 600) & (calm.sessions.end_s > 600)).sum()
    cut = np.sort(rough.sessions.end_s[~np.isin(rough.sessions.end_s, calm.sessions.end_s)])
    count = round(0.25 * int(online))
    assert count > 20
    assert cut.tolist() == (600 + 300.0 * np.arange(count) / count).tolist()
    check_sessions_of_messages(rough)


def test_who_is_cut_is_drawn_evenly() -> None:
    """Each of 20 is cut in half of the replications."""
    replications = 400
    people = world([(user, *ALWAYS) for user in range(20)], [[0, 1]], [], 60.0)
    often = np.zeros(20)
    for replication in range(replications):
        after = with_cuts(replace(people, replication=replication), Reconnect(share=0.5, at_s=10.0, spread_s=20.0))
        often[after.sessions.user[after.sessions.end_s < 60]] += 1
    assert often.sum() == 10 * replications
    tail = stats.norm.isf(FALSE_ALARM / 40)
    assert (np.abs(often / replications - 0.5) < tail * math.sqrt(0.25 / replications)).all()


# --------------------------------------------------------------------------- spam


def test_spam_by_hand() -> None:
    # Everybody spams: Ann in her room or her group, Bob in the group alone; Cid is in no room.
    sessions = [(ANN, -1.0, 100.0), (BOB, 50.0, 80.0), (CID, -1.0, 100.0)]
    own = [(0.0, ANN, 0), (60.0, BOB, 1)]
    calm = world(sessions, [[ANN, 3], [ANN, BOB, 4]], own, 90.0)
    flood = with_spam(calm, workload(spam={"share": 1.0, "messages_per_s": 2.0}))
    table = flood.messages
    assert flood.sessions is calm.sessions
    assert [column[~table.spam].tolist() for column in (table.time_s, table.sender, table.session, table.room, table.size_bytes)] == [
        [0.0, 60.0], [ANN, BOB], [0, 1], [0, 1], [100, 100]
    ]
    assert (np.diff(table.time_s) >= 0).all()
    counts = {user: int((table.spam & (table.sender == user)).sum()) for user in range(5)}
    assert (counts[CID], counts[3], counts[4]) == (0, 0, 0)
    assert within_poisson(counts[ANN], 180.0)
    assert within_poisson(counts[BOB], 60.0)
    ann = table.room[table.spam & (table.sender == ANN)]
    assert stats.binomtest(int((ann == 0).sum()), len(ann), 0.5).pvalue > FALSE_ALARM
    assert set(table.room[table.sender == BOB].tolist()) == {1}
    assert {name: getattr(table, name).dtype for name in ("time_s", "sender", "session", "room", "size_bytes", "spam")} == {
        name: getattr(calm.messages, name).dtype for name in ("time_s", "sender", "session", "room", "size_bytes", "spam")
    }


def test_at_equal_times_the_messages_of_the_trace_come_first() -> None:
    flood = with_spam(world([(ANN, *ALWAYS)], [[ANN, BOB]], [], 50.0), workload(spam={"share": 1.0, "messages_per_s": 1.0}))
    times = flood.messages.time_s.tolist()
    own = world([(ANN, *ALWAYS)], [[ANN, BOB]], [(time, ANN, 0) for time in times], 50.0)
    both = with_spam(own, workload(spam={"share": 1.0, "messages_per_s": 1.0})).messages
    assert both.spam.tolist() == [False, True] * len(times)


def test_more_spammers_are_the_same_and_more(calm: World) -> None:
    few, many = built("workload.spam.share=0.01"), built("workload.spam.share=0.02")
    lists = [set(zip(one.messages.sender[one.messages.spam].tolist(), one.messages.time_s[one.messages.spam].tolist(), strict=True)) for one in (few, many)]
    assert 0 < len(lists[0]) < len(lists[1])
    assert lists[0] < lists[1]
    sizes = many.messages.size_bytes[many.messages.spam].astype(float)
    median = load_scenario("go-chat", SMALL).workload.message_bytes_median
    assert stats.binomtest(int((sizes > median).sum()), len(sizes), 0.5).pvalue > FALSE_ALARM
    own = ~many.messages.spam
    assert np.array_equal(many.messages.session[own], calm.messages.session)


def test_too_much_spam_is_refused_before_the_work_starts() -> None:
    with pytest.raises(InputError) as refusal:
        built("workload.spam.share=1.0", "workload.spam.messages_per_s=1000", "workload.users=100000")
    assert str(refusal.value).startswith("workload.spam.share = 1 with messages_per_s = 1000: about ")
    assert str(refusal.value).endswith(" spam messages; at most 50,000,000 are allowed")


def test_too_much_spam_in_a_trace_is_refused() -> None:
    always = world([(ANN, -1.0, 1e6)], [[ANN, BOB]], [], 1e6)
    with pytest.raises(InputError, match=r"about 1e\+09 spam messages"):
        with_spam(always, workload(spam={"share": 1.0, "messages_per_s": 1000.0}))


# --------------------------------------------------------------------------- endings


def test_endings_by_hand() -> None:
    # Ann and Bob have a pair room, Cid only friends, Dan only a group, Eve nobody.
    rooms = [[0, 1], [0, 5], [3, 0, 1]]
    people = world([(user, *ALWAYS) for user in range(5)], rooms, [], 86400.0, friends=[(2, 0), (2, 4), (0, 4), (4, 2)])
    table = endings_of(people, Relations(ends_per_day=300.0, block_share=0.25))
    assert (np.diff(table.time_s) >= 0).all()
    assert 0 <= table.time_s.min() < table.time_s.max() < 86400
    counts = np.bincount(table.user, minlength=6)
    assert counts[3] == 0
    assert all(within_poisson(counts[user], 300.0) for user in (0, 1, 2, 4, 5))
    others = {user: set(table.other[table.user == user].tolist()) for user in range(6)}
    assert others == {0: {1, 5}, 1: {0}, 2: {0, 4}, 3: set(), 4: {0, 2}, 5: {0}}
    assert stats.binomtest(int((table.other[table.user == 0] == 1).sum()), int(counts[0]), 0.5).pvalue > FALSE_ALARM
    assert stats.binomtest(int(table.blocks.sum()), len(table), 0.25).pvalue > FALSE_ALARM
    assert (table.user.dtype, table.other.dtype, table.blocks.dtype) == (np.int32, np.int32, bool)


def test_a_longer_run_ends_the_same_ties_and_more() -> None:
    people = world([(user, *ALWAYS) for user in range(4)], [[0, 1], [2, 3]], [], 40000.0)
    asked = Relations(ends_per_day=50.0)
    short, long = endings_of(people, asked), endings_of(replace(people, duration_s=80000.0), asked)
    assert 0 < len(short) < len(long)
    assert short.time_s.tolist() == long.time_s[: len(short)].tolist()
    assert short.other.tolist() == long.other[: len(short)].tolist()


def test_all_or_none_of_the_endings_block(calm: World) -> None:
    assert endings_of(calm, Relations(ends_per_day=20.0, block_share=1.0)).blocks.all()
    assert not endings_of(calm, Relations(ends_per_day=20.0, block_share=0.0)).blocks.any()


def test_endings_in_the_model_are_of_partners(calm: World) -> None:
    table = endings_of(calm, Relations(ends_per_day=24.0))
    assert within_poisson(len(table), calm.users)
    start, partner = partners_of_users(calm.rooms, calm.users)
    partners = [set(partner[start[user]:start[user + 1]].tolist()) for user in range(calm.users)]
    lonely = [user for user in range(calm.users) if not partners[user]]
    assert all(other in partners[user] for user, other in zip(table.user.tolist(), table.other.tolist(), strict=True) if user not in lonely)


# --------------------------------------------------------------------------- intrusions


def test_intrusions_by_hand() -> None:
    # Ann is in a room with Bob; Bob and Cid are in another. Dan's only room is with Ann; Eve is in none.
    sessions = [(ANN, 100.0, 3700.0), (3, -1.0, 100.0)]
    people = world(sessions, [[ANN, BOB], [BOB, CID], [ANN, 3], [5, 6]], [], 5000.0)
    table = intrusions_of(people, Intruders(share=1.0, tries_per_hour=200.0))
    ann = table.user == ANN
    assert within_poisson(int(ann.sum()), 200.0)
    assert set(table.user.tolist()) <= {ANN, 3}
    # Nobody gets at Dan, all of whose rooms Ann is in, nor at Eve.
    assert set(table.victim[ann].tolist()) == {BOB, CID, 5, 6}
    assert stats.chisquare(np.bincount(table.victim[ann])[[BOB, CID, 5, 6]]).pvalue > FALSE_ALARM
    assert ((table.time_s[ann] >= 100) & (table.time_s[ann] <= 3700)).all()
    assert (table.session == np.where(ann, 0, 1)).all()
    assert stats.kstest(table.draw, "uniform").pvalue > FALSE_ALARM
    assert (np.diff(table.time_s) >= 0).all()


def test_where_there_is_no_other_room_nobody_tries() -> None:
    two = world([(ANN, *ALWAYS), (BOB, *ALWAYS)], [[ANN, BOB]], [], 900.0)
    assert len(intrusions_of(two, Intruders(share=1.0, tries_per_hour=100.0))) == 0
    assert len(intrusions_of(world([(ANN, *ALWAYS)], [], [], 900.0), Intruders(share=1.0, tries_per_hour=100.0))) == 0


def test_intruders_of_the_model(calm: World) -> None:
    few = intrusions_of(calm, Intruders(share=0.05, tries_per_hour=60.0))
    many = intrusions_of(calm, Intruders(share=0.2, tries_per_hour=60.0))
    intruders = np.flatnonzero(uniform(calm.seed, calm.replication, Purpose.INTRUDER, np.arange(calm.users), 0) < 0.2)
    assert set(few.user.tolist()) < set(many.user.tolist()) <= set(intruders.tolist())
    table = calm.sessions
    mine = (table.device == 0) & np.isin(table.user, intruders)
    connected = np.clip(table.end_s, 0, 3600) - np.clip(table.start_s, 0, 3600)
    assert within_poisson(len(many), float(connected[mine].sum()) / 60)
    start, room = rooms_of_users(calm.rooms, calm.users)
    for user, victim in zip(many.user.tolist(), many.victim.tolist(), strict=True):
        assert set(room[start[victim]:start[victim + 1]].tolist()) - set(room[start[user]:start[user + 1]].tolist())


# --------------------------------------------------------------------------- what they are built from


def test_rooms_and_partners_of_users() -> None:
    rooms = world([(0, *ALWAYS)], [[2, 0], [0, 1], [0, 1, 2], [3, 4]], [], 1.0).rooms
    start, room = rooms_of_users(rooms, 6)
    assert [room[start[user]:start[user + 1]].tolist() for user in range(6)] == [[0, 1, 2], [1, 2], [0, 2], [3], [3], []]
    start, partner = partners_of_users(rooms, 6)
    assert [partner[start[user]:start[user + 1]].tolist() for user in range(6)] == [[1, 2], [0], [0], [4], [3], []]


def test_points_while_connected_lie_in_their_sessions() -> None:
    sessions = world([(0, -50.0, 10.0), (1, 0.0, 500.0), (0, 20.0, 30.0), (0, 25.0, 90.0)], [[0, 1]], [], 100.0).sessions
    time_s, user, ordinal, row = points_while_connected(sessions, 3, (0.0, 100.0), [3.0, 0.0, 1.0], Purpose.SPAM_GAP, 1, 0)
    assert set(user.tolist()) == {0}
    assert ordinal.tolist() == list(range(len(user)))
    assert ((sessions.start_s[row] <= time_s) & (time_s <= sessions.end_s[row])).all()
    assert set(row.tolist()) == {0, 2}  # the other one is a second device
    assert (np.diff(time_s) >= 0).all()
    assert within_poisson(int((row == 0).sum()), 30.0)
    assert within_poisson(int((row == 2).sum()), 30.0)


def test_the_covering_or_the_next_session() -> None:
    sessions = world([(0, 1.0, 2.0), (1, 1.5, 9.0), (0, 4.0, 5.0)], [[0, 1]], [], 10.0).sessions
    user = np.array([0, 0, 0, 0, 0, 1, 2], np.int32)
    time_s = np.array([0.0, 2.0, 3.0, 4.0, 6.0, 9.5, 1.0])
    assert covering_or_next_session(sessions, user, time_s).tolist() == [0, 0, 2, 2, -1, -1, -1]


def test_rooms_known_in_the_model_are_those_of_contacts(calm: World) -> None:
    rooms, contacts = calm.rooms, calm.contacts
    known = {
        (user, other) for user in range(calm.users)
        for other in contacts.contact[contacts.start[user]:contacts.start[user + 1]].tolist()
    }
    pairs = [tuple(rooms.member[start:start + 2].tolist()) for start in rooms.start[:-1][rooms.kind == PAIR]]
    assert [pair in known for pair in pairs] == rooms.known[rooms.kind == PAIR].tolist()
    assert len(known) == 2 * rooms.known[rooms.kind == PAIR].sum()
    assert rooms.known[rooms.kind != PAIR].all()
    assert not rooms.known.all()


def test_a_message_of_one_who_is_away_waits_for_the_next_session() -> None:
    """The engine, with nothing else to do: written at 3 s, Ann is back from 5 s on."""
    people = world([(ANN, -1.0, 9.0), (BOB, -1.0, 9.0)], [[ANN, BOB]], [(3.0, ANN, 0)], 6.0)
    away = with_cuts(people, Reconnect(share=1.0, at_s=2.0, spread_s=0.0, away_s=3.0))
    assert away.messages.session.tolist() == [2]
    outcome = simulate(scenario(), away)
    online_s = float(outcome.sessions["online_s"][2])
    assert online_s > 5.0
    assert outcome.messages["received_s"][0] >= online_s
