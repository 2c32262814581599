"""What faults do, worked out by hand from outcomes that are written by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsim import analysis
from chatsim.analysis.recovery import first_strike_s, login_work_s, peak_tries, peaks_of, relief_s, struck
from chatsim.engine.outcome import Cause, Fate, FaultKind, Outcome, SessionFate
from chatsim.scenario import Scenario
from tests.outcomes import NAN, outcome

CUT: dict[str, Any] = {"fate": SessionFate.CUT, "end_s": 200.0}
FAILED: dict[str, Any] = {"fate": SessionFate.FAILED, "online_s": NAN, "end_s": 200.0}


def storm() -> Outcome:
    """Five sessions are cut at 10 s, in a run of 100 s that one of them was to leave at 30 s.

    0 is back at 11 s by its first try. 1 fails twice, and is back at 14 s; cut again at 20 s, it is back at 22 s. 2 tries
    once, is refused, and its time is up at 30 s. 3 fails and is never back. 4 does not try. 5 is closed at 12 s and back
    at 13 s. 6 is not hit.
    """
    sessions = [
        {**CUT, "user": 0, "cut_s": 10.0, "left_s": 10.1},
        {**CUT, "user": 1, "cut_s": 10.0, "left_s": 10.1},
        {**CUT, "user": 2, "cut_s": 10.0, "left_s": 10.1, "end_s": 30.0},
        {**CUT, "user": 3, "cut_s": 10.0, "left_s": 10.1},
        {**CUT, "user": 4, "cut_s": 10.0, "left_s": 55.0},
        {**CUT, "user": 5, "fate": SessionFate.CLOSED, "left_s": 12.0},
        {"user": 6, "end_s": 200.0},
        {"user": 0, "start_s": 10.5, "online_s": 11.0, "origin": 0, "end_s": 200.0},
        {**FAILED, "user": 1, "start_s": 10.55, "origin": 1},
        {**FAILED, "user": 1, "start_s": 12.0, "origin": 8, "attempt": 1},
        {**CUT, "user": 1, "start_s": 13.5, "online_s": 14.0, "origin": 9, "attempt": 2, "cut_s": 20.0, "left_s": 20.0},
        {"user": 1, "start_s": 21.0, "online_s": 22.0, "origin": 10, "end_s": 200.0},
        {**FAILED, "fate": SessionFate.REFUSED, "user": 2, "start_s": 10.58, "origin": 2},
        {**FAILED, "user": 3, "start_s": 10.6, "origin": 3},
        {"user": 5, "start_s": 12.5, "online_s": 13.0, "origin": 5, "end_s": 200.0},
    ]
    return outcome(sessions=sessions, strikes=[{"start_s": 10.0, "end_s": 20.0}], duration_s=100.0)


# --------------------------------------------------------------------------- strikes


def test_strikes_are_faults_in_words_without_scaling() -> None:
    run = outcome(
        strikes=[
            {"kind": FaultKind.SCALING, "fault": -1, "start_s": 0.0, "end_s": 2.0},
            {"kind": FaultKind.SLOW, "fault": 1, "station": 3, "start_s": 4.0, "end_s": 6.0},
            {"kind": FaultKind.LINK, "fault": 0, "station": -1, "start_s": 5.0},
        ]
    )
    table = analysis.strikes(run)
    assert table["kind"].tolist() == ["slow", "link"]
    assert table["station"].tolist() == ["database", ""]
    assert table["fault"].tolist() == [1, 0]
    emptied = analysis.strikes(outcome(strikes=[{"kind": FaultKind.CACHE_EMPTIED, "station": -1, "start_s": 3.0}]))
    assert emptied["end_s"].tolist() == [3.0]  # a moment
    assert first_strike_s(run) == 4.0
    assert relief_s(run) == 6.0  # the link has no end: its start, 5 s, is earlier
    assert math.isnan(first_strike_s(outcome()))
    assert math.isnan(relief_s(outcome()))


def test_a_fault_is_one_however_many_stations_it_strikes() -> None:
    drain = [{"kind": FaultKind.DRAIN, "station": number, "start_s": 10.0 * number, "end_s": 10.0 * number + 5} for number in range(3)]
    forever = [{"fault": 1, "start_s": 40.0, "station": number} for number in range(2)]
    table = struck(outcome(strikes=[*drain, *forever], design={"gateways": 3}))
    assert table["what"].tolist() == ["drain of 3 gateways", "crash of gateway-0 and gateway-1"]
    assert table["start_s"].tolist() == [0.0, 40.0]
    assert table["end_s"].tolist()[0] == 25.0
    assert math.isnan(table["end_s"][1])


# --------------------------------------------------------------------------- who comes back


def test_who_comes_back_is_followed_from_try_to_try() -> None:
    table = analysis.comebacks(storm()).set_index("session")
    assert table.index.tolist() == [0, 1, 2, 3, 4, 5, 10]
    assert table["back_s"].fillna(-1).to_dict() == {0: 11.0, 1: 14.0, 2: -1, 3: -1, 4: -1, 5: 13.0, 10: 22.0}
    assert table["ended_first"].to_dict() == {0: False, 1: False, 2: True, 3: False, 4: False, 5: False, 10: False}
    assert table["cut_s"].tolist() == [10.0, 10.0, 10.0, 10.0, 10.0, 12.0, 20.0]  # the closed one: when it left
    assert table["closed"].tolist() == [False] * 5 + [True, False]


def test_a_chain_may_also_point_to_its_beginning() -> None:
    sessions = [
        {**CUT, "cut_s": 10.0},
        {**FAILED, "start_s": 10.5, "origin": 0},
        {**FAILED, "start_s": 11.0, "origin": 0, "attempt": 1},
        {"start_s": 12.0, "online_s": 12.5, "origin": 0, "attempt": 2},
    ]
    assert analysis.comebacks(outcome(sessions=sessions, duration_s=50.0))["back_s"].tolist() == [12.5]


def test_a_login_that_fails_at_first_is_no_session_that_broke() -> None:
    sessions = [{**FAILED, "start_s": 1.0}, {"start_s": 2.0, "online_s": 2.5, "origin": 0, "attempt": 1}]
    run = outcome(sessions=sessions)
    assert analysis.comebacks(run).empty
    row = analysis.recovery(run)
    assert (row["logins_failed"], row["tries"], row["tries_failed"], row["sessions_hit"], row["back"]) == (1, 1, 0, 0, 0)
    struck_run = outcome(sessions=sessions, strikes=[{}])
    assert analysis.verdict(struck_run, outcome()).endswith(" To come online took 1 try, at most 1 in 100 ms.")
    assert ": 0 sessions cut, 1 login failed; " in analysis.verdict(struck_run, outcome())


def test_the_storm_by_hand() -> None:
    row = analysis.recovery(storm())
    assert (row["sessions_hit"], row["sessions_closed"]) == (6, 1)
    assert (row["back"], row["never_back"], row["ended_first"]) == (4, 2, 1)
    # They took 1, 1, 2 and 4 s, and two never came: the third of six is half of them, and all of them are never back.
    assert row["back_p50_s"] == 2.0
    assert math.isnan(row["back_all_s"])
    assert math.isnan(row["back_p99_s"])
    # Tries: 10.5, 10.55, 10.58, 10.6, 12, 12.5, 13.5, 21. [10.5, 10.6) holds three of them, 10.6 is in the next.
    assert (row["tries"], row["tries_failed"]) == (8, 4)
    assert (row["peak_tries_per_100ms"], row["peak_tries_s"]) == (3, 10.5)


def test_the_p99_of_coming_back_needs_a_hundred() -> None:
    def back(count: int) -> float:
        cut = [{**CUT, "cut_s": 10.0} for _ in range(count)]
        tries = [{"start_s": 10.0, "online_s": 11.0 + number, "origin": number} for number in range(count)]
        row = analysis.recovery(outcome(sessions=[*cut, *tries], duration_s=300.0))
        assert row["back_all_s"] == count
        return float(row["back_p99_s"])

    assert back(100) == 99.0
    assert math.isnan(back(99))


def test_nobody_broke_and_nobody_came_back() -> None:
    row = analysis.recovery(outcome(sessions=[{}]))
    assert (row["sessions_hit"], row["tries"], row["peak_tries_per_100ms"], row["strikes"]) == (0, 0, 0, 0)
    for name in ("back_p50_s", "back_p99_s", "back_all_s", "peak_tries_s", "first_strike_s", "late", "ghost_user_s",
                 "backlog_max", "drain_s", "undrained", "unaffected_before_p99_ms", "unaffected_after_p99_ms"):
        assert math.isnan(row[name]), name


@given(st.lists(st.integers(0, 400), max_size=60))
def test_the_peak_is_the_most_in_any_window(ticks_10ms: list[int]) -> None:
    # Whole hundredths of a second: a window of 100 ms holds ten of them, whatever rounding does.
    found, at_s = peak_tries([tick / 100 for tick in ticks_10ms])
    counts = {begin: sum(begin <= tick < begin + 10 for tick in ticks_10ms) for begin in sorted(ticks_10ms)}
    assert found == max(counts.values(), default=0)
    if counts:
        assert at_s == min(begin for begin, count in counts.items() if count == found) / 100


def test_peaks_of_bins_belong_to_where_the_window_begins() -> None:
    tries_s = np.array([0.95, 0.99, 1.02, 3.0])
    # [0.95, 1.05) holds three and begins in the first bin; in the second bin begins [1.02, 1.12) with one.
    assert peaks_of(tries_s, np.array([0.0, 1.0, 2.0, 3.0])).tolist() == [3, 1, 0]  # 3.0 lies beyond


# --------------------------------------------------------------------------- messages


def test_losses_are_counted_by_recipient_and_cause() -> None:
    lost = {"fate": Fate.LOST, "time_s": NAN}
    refused = {"fate": Fate.REFUSED, "session": -1, "time_s": NAN}
    run = outcome(
        [{"time_s": 1.0}, {"time_s": 2.0}, {"time_s": 3.0}],
        [
            {**lost, "message": 0, "recipient": 1, "cause": Cause.CRASHED},
            {**lost, "message": 0, "recipient": 1, "session": 2, "cause": Cause.CUT_OFF},  # its other session
            {**lost, "message": 0, "recipient": 2, "cause": Cause.CUT_OFF},
            {**lost, "message": 1, "recipient": 1, "cause": Cause.CRASHED},
            {"message": 1, "recipient": 1, "session": 2},  # its other session has it
            {**lost, "message": 1, "recipient": 2, "cause": Cause.CRASHED},
            {"message": 1, "recipient": 2, "session": -1, "fate": Fate.STORED, "time_s": NAN},
            {**refused, "message": 2, "recipient": 1, "cause": Cause.NOT_BUFFERED},
            {**refused, "message": 2, "recipient": 2, "cause": Cause.NOT_BUFFERED},
            {"message": 2, "recipient": 3, "fate": Fate.MISSED, "cause": Cause.CRASHED},
        ],
    )
    row = analysis.recovery(run)
    assert (row["lost"], row["lost_crashed"], row["lost_cut_off"], row["lost_broker_down"]) == (2, 1, 1, 0)
    assert (row["refused"], row["refused_not_buffered"], row["refused_crashed"]) == (2, 2, 0)
    assert analysis.losses(run)["time_s"].tolist() == [1.0, 1.0, 3.0, 3.0]
    table = analysis.timeline(run, 2.0)
    assert table["lost"].tolist() == [2, 0, 0, 0, 0]
    assert table["refused"].tolist() == [0, 2, 0, 0, 0]


def test_late_is_ten_times_what_was_usual() -> None:
    # A hundred deliveries of 1 to 100 ms before the strike at 5 s have a p99 of 99 ms; 990 ms is not late yet.
    before = [{"message": 0, "time_s": number / 1000} for number in range(1, 101)]
    since = [{"message": 1, "time_s": 6.0 + took_s} for took_s in (0.05, 0.98, 1.0, 2.0)]
    odd = [{"message": 1, "fate": Fate.READ_LATER, "time_s": 9.0}, {"message": 1, "fate": Fate.DUPLICATE, "time_s": 6.1}]
    run = outcome([{}, {"time_s": 6.0, "sends": 3}], [*before, *since, *odd], strikes=[{"start_s": 5.0}])
    row = analysis.recovery(run)
    assert (row["late"], row["read_later"], row["duplicates"], row["resent"]) == (2, 1, 1, 1)
    few = outcome([{}, {"time_s": 6.0}], [*before[:99], *since], strikes=[{"start_s": 5.0}])
    assert math.isnan(analysis.recovery(few)["late"])


def test_order_is_that_in_which_gateways_had_the_messages() -> None:
    messages = [
        {"received_s": 1.0}, {"received_s": 2.0}, {"received_s": 3.0}, {"received_s": 4.0}, {"received_s": 1.5, "room": 1},
    ]

    def violations(*rows: tuple[int, float, int, Fate]) -> int:
        deliveries = [{"message": message, "time_s": time_s, "session": session, "fate": fate} for message, time_s, session, fate in rows]
        return int(analysis.recovery(outcome(messages, deliveries))["order_violations"])

    live, later = Fate.DELIVERED, Fate.READ_LATER
    assert violations((0, 1.1, 1, live), (1, 2.1, 1, live), (2, 3.1, 1, live)) == 0
    # 3 has come when 1 and 2 come, and both are behind it.
    assert violations((0, 1.1, 1, live), (3, 4.1, 1, live), (1, 4.2, 1, later), (2, 4.3, 1, later)) == 2
    # What comes at one instant is in order, other rooms and other sessions are others, and duplicates do not count.
    assert violations((3, 5.0, 1, later), (0, 5.0, 1, later)) == 0
    assert violations((3, 4.1, 1, live), (4, 4.2, 1, live)) == 0
    assert violations((3, 4.1, 1, live), (0, 4.2, 2, live)) == 0
    assert violations((3, 4.1, 1, live), (0, 4.2, 1, Fate.DUPLICATE)) == 0
    assert violations((3, 4.1, -1, live), (0, 4.2, -1, Fate.READ_LATER)) == 0


def test_ghosts_are_those_of_presence_where_it_is_shown() -> None:
    sessions = [{"user": 1, "online_s": 1.0, "left_s": 4.0, "fate": SessionFate.LEFT}]
    shown = [{"user": 1, "time_s": 1.0, "change": 1}, {"user": 1, "time_s": 7.0, "change": -1}]
    run = outcome(sessions=sessions, shown=shown, presence={"show_to": "all"})
    assert analysis.recovery(run)["ghost_user_s"] == 3.0
    assert math.isnan(analysis.recovery(outcome(sessions=sessions, shown=shown))["ghost_user_s"])


# --------------------------------------------------------------------------- stations


def queues(station: int, *at: tuple[float, int]) -> list[dict[str, Any]]:
    """Ticks that find so many items: they take one, and leave the rest."""
    return [
        {"station": station, "start_s": time_s, "end_s": time_s + 0.001, "items": 1, "waiting": found - 1} for time_s, found in at
    ]


def backlog(*ticks: dict[str, Any], end_s: float = 20.0) -> tuple[Any, ...]:
    run = outcome(ticks=list(ticks), strikes=[{"start_s": 10.0, "end_s": end_s}], duration_s=100.0)
    row = analysis.recovery(run)
    return row["backlog_max"], row["backlog_station"], row["drain_s"], row["undrained"]


def test_a_backlog_drains_when_it_is_back_to_what_was_usual() -> None:
    # Before: 1 and 3 items, so that the p99 is 3. At 10 s it jumps to 50; relief is at 20 s; 3 are left at 26 s.
    usual = queues(0, (1.0, 1), (2.0, 3))
    fallen = queues(0, (12.0, 50), (19.0, 40), (21.0, 30), (24.0, 4), (26.0, 3), (27.0, 5))
    assert backlog(*usual, *fallen) == (50, "gateway-0", 6.0, 0)
    # A strike without an end: from its start on; the longest queue is that of 12 s.
    assert backlog(*usual, *fallen, end_s=NAN) == (50, "gateway-0", 16.0, 0)


def test_a_storm_after_the_relief_counts() -> None:
    usual = queues(0, (1.0, 2))
    storm_later = queues(0, (20.5, 1), (22.0, 90), (25.0, 2))
    assert backlog(*usual, *storm_later) == (90, "gateway-0", 5.0, 0)


def test_what_is_not_much_longer_than_usual_is_no_backlog() -> None:
    usual = queues(0, (1.0, 20), (2.0, 1))
    assert backlog(*usual, *queues(0, (30.0, 40), (31.0, 1))) == (40, "gateway-0", 0.0, 0)
    assert backlog(*usual, *queues(0, (30.0, 41), (31.0, 1))) == (41, "gateway-0", 11.0, 0)
    few = queues(0, (1.0, 1))
    assert backlog(*few, *queues(0, (30.0, 10), (31.0, 1))) == (10, "gateway-0", 0.0, 0)
    assert backlog(*few, *queues(0, (30.0, 11), (31.0, 1))) == (11, "gateway-0", 11.0, 0)


def test_a_queue_that_does_not_come_back_is_told() -> None:
    ticks = [*queues(0, (1.0, 1), (30.0, 60), (90.0, 50)), *queues(1, (1.0, 1), (30.0, 20), (32.0, 1)), *queues(3, (40.0, 70))]
    longest, station, drain_s, undrained = backlog(*ticks)
    assert (longest, station, undrained) == (70, "database", 1)  # of the database nothing is known before
    assert math.isnan(drain_s)
    assert backlog(*queues(1, (1.0, 1), (30.0, 20), (32.0, 1)))[2:] == (12.0, 0)


# --------------------------------------------------------------------------- those who were not hit


def test_others_are_held_against_as_long_before() -> None:
    # Struck from 100 to 120 s: until 150 s, so from 50 s on before. Users 1 and 2 are hit, 3 and 4 are not. What 1 writes
    # comes late, at 110 s, and does not count.
    sessions = [
        {"user": 1, **CUT, "cut_s": 100.0}, {"user": 2, "fate": SessionFate.REFUSED, "online_s": NAN},
        {"user": 3}, {"user": 4, "fate": SessionFate.LEFT},
    ]

    def come(recipient: int, at_s: float, took_ms: float, count: int = 100) -> list[tuple[float, dict[str, Any]]]:
        return [(at_s - took_ms / 1000, {"recipient": recipient, "time_s": at_s})] * count

    rows = [
        *come(3, 49.0, 900.0), *come(3, 51.0, 10.0, 99), *come(4, 99.0, 20.0, 1), *come(1, 99.0, 700.0),
        *come(3, 110.0, 900.0, 5), *come(3, 100.0, 30.0, 60), *come(4, 149.0, 40.0, 40), *come(2, 120.0, 800.0), *come(4, 150.0, 600.0),
    ]
    run = outcome(
        [{"time_s": written_s, "sender": 1 if row["time_s"] == 110.0 else 0} for written_s, row in rows],
        [{"message": number, **row} for number, (_, row) in enumerate(rows)],
        sessions, strikes=[{"start_s": 100.0, "end_s": 120.0}], duration_s=200.0,
    )
    row = analysis.recovery(run)
    assert row["unaffected_users"] == 2
    assert row["unaffected_before_p99_ms"] == pytest.approx(10.0)  # 99 x 10 ms and one of 20
    assert row["unaffected_after_p99_ms"] == pytest.approx(40.0)


def test_others_are_looked_at_until_the_last_is_back() -> None:
    sessions = [{"user": 1, **CUT, "cut_s": 100.0}, {"user": 1, "origin": 0, "start_s": 150.0, "online_s": 180.0}, {"user": 3}]
    late = [{"message": 1, "recipient": 3, "time_s": 170.0}] * 100
    run = outcome([{}, {"time_s": 169.0}], late, sessions, strikes=[{"start_s": 100.0, "end_s": 120.0}], duration_s=200.0)
    assert analysis.recovery(run)["unaffected_after_p99_ms"] == pytest.approx(1000.0)
    assert math.isnan(analysis.recovery(run)["unaffected_before_p99_ms"])


# --------------------------------------------------------------------------- against calm


def test_the_work_of_a_login_is_that_of_its_items() -> None:
    # A mesh without presence: TLS 100, handshake 300, token 61, close 20 us at the gateway; with 'store' a sync, whose
    # reply is parsed in 5 us, and 1000 us in the database.
    def work_us(**design: Any) -> float:
        return 1e6 * login_work_s(outcome(design={"routing": "mesh", "gateways": 2, **design}))

    assert work_us(store="never", offline="drop") == pytest.approx(481.0)
    assert work_us(offline="store") == pytest.approx(481.0 + 5.0 + 1000.0)
    assert work_us(offline="push") == work_us(offline="store")
    # A registry in the broker: one change on coming and one on going, 0.45 us each, and a command and a reply for it.
    user = outcome(design={"routing": "directory", "gateways": 2, "store": "never", "offline": "drop"})
    assert 1e6 * login_work_s(user) == pytest.approx(481.0 + 3.0 + 5.0 + 2 * 0.45)


def test_amplification_is_the_work_more_per_login() -> None:
    design = {"routing": "mesh", "gateways": 2, "store": "never", "offline": "drop"}

    def run(busy_s: float, tries: int) -> Outcome:
        ticks = [{"station": 0, "start_s": 1.0, "end_s": 1.0 + busy_s / 2}, {"station": 2, "start_s": 5.0, "end_s": 5.0 + busy_s / 2}]
        back = [{"start_s": 2.0, "online_s": 3.0, "origin": 0} for _ in range(tries)]
        return outcome(sessions=[{**CUT, "cut_s": 2.0}, *back, {**FAILED, "origin": 0}], ticks=ticks, design=design)

    calm = run(0.1, 0)
    # 0.00962 s more for 5 comebacks of 481 us each: 4 times the work.
    assert analysis.amplification(run(0.1 + 0.00962, 5), calm) == pytest.approx(4.0)
    assert analysis.amplification(run(0.05, 5), calm) < 0
    assert math.isnan(analysis.amplification(run(0.2, 0), calm))


# --------------------------------------------------------------------------- over time


def test_the_timeline_by_hand() -> None:
    sessions = [
        {"online_s": 0.0},
        {"online_s": 0.5, "cut_s": 2.0, "left_s": 2.6, "fate": SessionFate.CUT},
        {"start_s": 2.1, "online_s": NAN, "fate": SessionFate.FAILED, "origin": 1},
        {"start_s": 2.15, "online_s": NAN, "fate": SessionFate.FAILED, "origin": 1},
        {"start_s": 3.0, "online_s": 3.2, "origin": 2},
    ]
    came = [{"message": 0, "time_s": 1.0 + number / 1000} for number in range(1, 101)]
    ticks = [
        {"station": 0, "start_s": 1.5, "end_s": 1.6, "items": 4, "waiting": 3, "waited_s": 0.0},
        # Two items of the database have waited 3 s: from 1 to 4 s, at which no tick looks before 4 s.
        {"station": 3, "start_s": 4.0, "end_s": 4.1, "items": 2, "waiting": 0, "waited_s": 6.0},
    ]
    run = outcome([{"time_s": 1.0}], came, sessions, ticks, duration_s=4.5)
    table = analysis.timeline(run, 1.0)
    assert table["start_s"].tolist() == [0, 1, 2, 3, 4]
    assert table["end_s"].tolist() == [1, 2, 3, 4, 4.5]
    assert table["online"].tolist() == [1, 2, 1, 1, 2]
    assert table["tries"].tolist() == [0, 0, 2, 1, 0]
    assert table["tries_per_100ms"].tolist() == [0, 0, 2, 1, 0]
    assert table["deliveries"].tolist() == [0, 100, 0, 0, 0]
    assert table["p99_ms"][1] == pytest.approx(99.0)
    assert table["p99_ms"].isna().tolist() == [True, False, True, True, True]
    assert table["max_ms"][1] == pytest.approx(100.0)
    assert table["max_ms"].isna().tolist() == [True, False, True, True, True]
    assert table["gateway_waiting"].tolist() == [0, 7, 0, 0, 0]
    assert table["broker_waiting"].tolist() == [0, 0, 0, 0, 0]
    assert table["database_waiting"].tolist() == [0, 2, 2, 2, 2]
    mesh = analysis.timeline(outcome(design={"routing": "mesh", "gateways": 2}), 1.0)
    assert mesh["broker_waiting"].isna().all()
    assert (mesh["database_waiting"] == 0).all()


@given(st.lists(st.tuples(st.floats(0, 9.99), st.floats(0, 9.99)), max_size=30), st.sampled_from([0.5, 1.0, 3.0, 10.0]))
def test_the_timeline_loses_nothing(times_s: list[tuple[float, float]], step_s: float) -> None:
    sessions = [{"start_s": start_s, "online_s": NAN, "origin": 0} for start_s, _ in times_s]
    deliveries = [{"time_s": came_s, "fate": Fate.DELIVERED} for _, came_s in times_s]
    table = analysis.timeline(outcome([{}], deliveries, [{}, *sessions]), step_s)
    assert table["tries"].sum() == table["deliveries"].sum() == len(times_s)
    assert table["tries_per_100ms"].max() == peak_tries([start_s for start_s, _ in times_s])[0]


# --------------------------------------------------------------------------- in words


def test_the_verdict_of_the_storm() -> None:
    said = analysis.verdict(storm(), outcome(sessions=[{}], duration_s=100.0))
    assert said == (
        "Crash of gateway-0 from 10 to 20 s: 6 sessions cut, 1 closed; of messages x recipients 0 not live that are in calm, "
        "0 lost, 0 refused, 0 read later, 0 twice. Of 6 who had to come back half were back after 2 s, 2 never; "
        "8 tries, at most 3 in 100 ms."
    )


def test_the_verdict_names_what_is_lost_in_any_case_and_what_others_felt() -> None:
    # Message 2 is lost to 1 in calm too; to 2 it comes live there. Message 3 is kept for 4, to whom it comes live there.
    lost = {"fate": Fate.LOST, "cause": Cause.LEFT, "time_s": NAN, "message": 2}
    before = [{"message": 0, "recipient": 3, "time_s": 0.02}] * 100
    since = [{"message": 1, "recipient": 3, "time_s": 6.5}] * 100
    kept = {"message": 3, "recipient": 4, "fate": Fate.STORED, "session": -1, "time_s": NAN}
    messages = [{}, {"time_s": 5.5}, {}, {}]
    run = outcome(
        messages, [*before, *since, {**lost, "recipient": 1}, {**lost, "recipient": 2}, kept], [{"user": 3}],
        strikes=[{"kind": FaultKind.DATABASE_DOWN, "station": 3, "start_s": 5.0}],
    )
    calm = outcome(messages, [lost, {"message": 2, "recipient": 2}, {"message": 3, "recipient": 4}, before[0]], [{"user": 3}])
    assert analysis.verdict(run, calm) == (
        "Outage of the database from 5 s on: 0 sessions cut; of messages x recipients 2 not live that are in calm, "
        "2 lost (1 in calm), 0 refused, 0 read later, 100 late, 0 twice. "
        "Among users whose sessions held the p99 was 1,000 ms meanwhile, 20 ms before."
    )


def test_the_verdict_where_none_came_back_where_all_did_and_where_nothing_struck() -> None:
    cut = outcome(sessions=[{**CUT, "cut_s": 10.0}], strikes=[{"start_s": 10.0, "end_s": 10.0}], duration_s=50.0)
    said = analysis.verdict(cut, outcome())
    assert said.startswith("Crash of gateway-0 at 10 s: 1 session cut; ")
    assert said.endswith("Of 1 who had to come back 0 were back in the end, 1 never; 0 tries, at most 0 in 100 ms.")
    again = [{"start_s": 10.5, "online_s": 11.0 + place, "origin": place, "end_s": 99.0} for place in range(2)]
    back = outcome(sessions=[{**CUT, "cut_s": 10.0}] * 2 + again, strikes=[{"start_s": 10.0}], duration_s=50.0)
    assert " Of 2 who had to come back half were back after 1 s, all after 2 s; 2 tries, at most 2 in " in analysis.verdict(back, back)
    assert analysis.verdict(outcome(), outcome()).startswith("Nothing struck: ")
    closed = [{"fate": SessionFate.CLOSED, "left_s": 3.0}] * 3
    said = analysis.verdict(outcome(sessions=[*closed, FAILED], strikes=[{}]), outcome(sessions=[closed[0], FAILED, FAILED]))
    assert ": 0 sessions cut, 3 closed (1 in calm), 1 login failed (2 in calm); of messages" in said


@pytest.mark.parametrize("kind", [kind for kind in FaultKind if kind != FaultKind.SCALING])
def test_the_verdict_knows_every_kind(kind: FaultKind) -> None:
    station = -1 if kind in (FaultKind.LINK, FaultKind.CACHE_EMPTIED, FaultKind.SLOW_CLIENTS) else 0
    run = outcome(strikes=[{"kind": kind, "station": station, "fault": number} for number in range(5)])
    said = analysis.verdict(run, run)
    assert said[0].isupper()
    assert ", 2 more: 0 sessions cut" in said
    assert "{}" not in said


def test_scenarios_of_faults_are_known_to_outcomes() -> None:
    assert outcome(faults=({"kind": "slow"},)).scenario.faults == Scenario.model_validate({"faults": [{"kind": "slow"}]}).faults
