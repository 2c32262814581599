"""How clients come back: when they try, who is let in, what waits meanwhile, and the storm; every time worked out by hand.

Times in ms (see ``worlds.scenario``): client link 10, receive 1, write 8, close 1, handshake 3. One gateway, unless a test
says otherwise: a login takes 30 to get there, 3, and 10 back. Logs are in ms from the start of the run. A try on a gateway
whose process is gone is refused by its machine: 20. A crash at 2000 is noticed at 2010.
"""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np
import pytest

from chatsim.analysis.recovery import recovery
from chatsim.engine import Outcome, SessionFate, simulate
from chatsim.world.draws import Purpose, normal, uniform
from tests.test_faults_by_hand import AT_ONCE, ONE, PAIR, crash, log, messages, ms, sessions
from tests.worlds import ALWAYS, scenario, world

NEVER = {"notice_s": 1000.0}
"""The balancer goes on placing sessions on the gateway that is gone."""
ALONE = world([(0, *ALWAYS)], [[0, 1]], [])
STORED = {**ONE, "store": "before", "offline": "store"}
PHOENIX_MS = [10.0, 50.0, 100.0, 150.0, 200.0, 250.0, 500.0, 1000.0, 2000.0, 5000.0]

Try = tuple[int, int, int, float | None, str, float | None]


def fixed(reconnect_s: float = 0.5, **more: Any) -> dict[str, Any]:
    """A client that tries again after the same time."""
    return {"reconnect": "fixed", "reconnect_s": reconnect_s, **more}


def tries(outcome: Outcome) -> list[Try]:
    """(user, session that it continues, attempt, start, fate, ms when it was online or else when it was over) of each try."""
    table = outcome.sessions
    rows = zip(*(table[name].tolist() for name in ("user", "origin", "attempt", "start_s", "fate", "online_s", "left_s")), strict=True)
    return [
        (user, origin, attempt, ms(start_s), SessionFate(fate).name, ms(left_s if np.isnan(online_s) else online_s))
        for user, origin, attempt, start_s, fate, online_s, left_s in rows
        if origin >= 0
    ]


# --------------------------------------------------------------------------- when they try


def draw(number: int, user: int = 0) -> float:
    """The number-th draw of a user for a pause."""
    return float(uniform(1, 0, Purpose.RECONNECT, user, number))


def pause_ms(preset: str, failures: int) -> float:
    """The pause after so many failures in a row, with a first pause of 1000 and a longest of 5000."""
    doubled = 1000.0 * 2.0**failures
    if preset == "fixed":
        return 1000.0
    if preset == "phoenix":
        return PHOENIX_MS[min(failures, 9)]
    if preset == "socketio":
        return min(5000.0, doubled + (draw(failures) - 0.5) * doubled)
    return draw(failures) * min(5000.0, doubled)


@pytest.mark.parametrize("preset", ["none", "fixed", "phoenix", "socketio", "full_jitter"])
def test_when_a_client_tries_again(preset: str) -> None:
    client = {"reconnect": preset, "reconnect_s": 1.0, "reconnect_max_s": 5.0}
    outcome = simulate(scenario(design=ONE, client=client, balancer=NEVER, faults=[crash(2.0)]), ALONE)
    assert sessions(outcome)[0] == (0, 0, "CUT", 2010.0, 2000.0)
    # each try is over 20 after it began, and the next one is that pause later; the run ends at 15000
    wanted: list[Try] = []
    start = 2010.0
    for failures in range(0 if preset == "none" else 100):
        start += pause_ms(preset, failures)
        if start >= 15000:
            break
        wanted.append((0, failures, failures, round(start, 4), "FAILED", round(start + 20, 4)))
        start += 20
    assert tries(outcome) == wanted
    if preset == "phoenix":
        assert [row[3] for row in wanted] == [2020, 2090, 2210, 2380, 2600, 2870, 3390, 4410, 6430, 11450]
    if preset == "fixed":
        assert [row[3] for row in wanted] == [3010 + 1020 * number for number in range(12)]
    assert len(wanted) == {"none": 0, "fixed": 12, "phoenix": 10}.get(preset, len(wanted))


@pytest.mark.parametrize("preset", ["socketio", "full_jitter"])
def test_no_pause_is_longer_than_the_longest(preset: str) -> None:
    client = {"reconnect": preset, "reconnect_s": 1.0, "reconnect_max_s": 1.0}
    starts = [row[3] for row in tries(simulate(scenario(design=ONE, client=client, balancer=NEVER, faults=[crash(2.0)]), ALONE))]
    pauses = np.diff([1990.0, *starts]) - 20
    factors = [draw(number) if preset == "full_jitter" else min(1.0, 2**number * (0.5 + draw(number))) for number in range(len(starts))]
    np.testing.assert_allclose(pauses, 1e3 * np.array(factors), atol=1e-3)
    assert len(starts) >= 10


def test_the_pauses_begin_anew_when_a_client_has_been_online() -> None:
    outcome = simulate(
        scenario(design=ONE, client={"reconnect": "phoenix"}, balancer=NEVER, faults=[crash(2.0, 0.15), crash(4.0, 0.02)]), ALONE
    )
    # 2020 and 2090 fail, 2210 finds the gateway, which is back at 2150. Then 4010 + 10, where it is back at 4020, too
    assert tries(outcome) == [
        (0, 0, 0, 2020.0, "FAILED", 2040.0),
        (0, 1, 1, 2090.0, "FAILED", 2110.0),
        (0, 2, 2, 2210.0, "CUT", 2253.0),
        (0, 3, 0, 4020.0, "ONLINE", 4063.0),
    ]


def test_the_pauses_of_all_sessions_of_a_user_have_draws_of_their_own() -> None:
    client = {"reconnect": "full_jitter", "reconnect_s": 0.1}
    outcome = simulate(
        scenario(design=ONE, client=client, balancer=NEVER, faults=[crash(2.0, 0.005), crash(4.0, 0.005)]), ALONE
    )
    # first 0 to 100 each time, since it comes back at once
    assert [row[3] for row in tries(outcome)] == pytest.approx([2010 + 100 * draw(0), 4010 + 100 * draw(1)], abs=1e-3)


# --------------------------------------------------------------------------- when they give up


def test_a_client_tries_so_many_times_and_what_it_holds_is_refused() -> None:
    people = world([(0, *ALWAYS)], [[0, 1]], [(2.5, 0, 0), (9.0, 0, 0)])
    outcome = simulate(scenario(design=ONE, client=fixed(tries_max=3), balancer=NEVER, faults=[crash(2.0)]), people)
    assert tries(outcome) == [
        (0, 0, 0, 2510.0, "FAILED", 2530.0),
        (0, 1, 1, 3030.0, "FAILED", 3050.0),
        (0, 2, 2, 3550.0, "FAILED", 3570.0),
    ]
    # the first waited since 2500 until there was no hope
    assert messages(outcome, "done_s") == [("REFUSED NO_SESSION", 3570.0), ("REFUSED NO_SESSION", 9000.0)]


def test_where_the_balancer_has_no_gateway_it_says_no_at_once() -> None:
    outcome = simulate(scenario(design=ONE, client={"reconnect": "phoenix"}, balancer={"notice_s": 0.5}, faults=[crash(2.0)]), ALONE)
    # until 2500 tries are placed on the gateway that is gone
    assert [row[3:] for row in tries(outcome)] == [
        (2020.0, "FAILED", 2040.0),
        (2090.0, "FAILED", 2110.0),
        (2210.0, "FAILED", 2230.0),
        (2380.0, "FAILED", 2400.0),
        (2600.0, "REFUSED", 2600.0),
        (2850.0, "REFUSED", 2850.0),
        (3350.0, "REFUSED", 3350.0),
        (4350.0, "REFUSED", 4350.0),
        (6350.0, "REFUSED", 6350.0),
        (11350.0, "REFUSED", 11350.0),
    ]


def test_a_client_gives_a_login_up_that_nobody_answers() -> None:
    pings = {"ping_s": 2.0, "ping_timeout_s": 1.0, "connect_timeout_s": 0.7}
    outcome = simulate(
        scenario(design=ONE, client=fixed(1.0, **pings), balancer=NEVER, faults=[crash(2.5, noticed="silence")]), ALONE
    )
    # noticed at 3000 + 1000; then 1000 and 700 by turns
    assert sessions(outcome)[0] == (0, 0, "CUT", 4000.0, 2500.0)
    starts = [5000.0 + 1700.0 * number for number in range(6)]
    assert tries(outcome) == [
        (0, number, number, start, *(("FAILED", start + 700) if start < 14300 else ("CONNECTING", None)))
        for number, start in enumerate(starts)
    ]


def test_a_client_gives_a_login_up_that_takes_too_long() -> None:
    people = world([(1, 1.0, 100.0)], [[0, 1]], [])
    client = fixed(0.1, connect_timeout_s=0.2, tries_max=2)
    outcome = simulate(scenario(design=STORED, client=client, gateway={"connections_max": 1}), people)
    # it would take 30 + 3 + 100 + 25 + 100 + 2 + 10. The gateway hears of it 10 later, and has room again
    assert outcome.sessions["left_s"][0] == pytest.approx(1.2)
    assert tries(outcome) == [(1, 0, 0, 1300.0, "FAILED", 1500.0), (1, 1, 1, 1600.0, "FAILED", 1800.0)]
    assert np.isnan(outcome.sessions["cut_s"]).all()


def test_who_was_to_leave_anyway_does_not_come_back() -> None:
    people = world([(0, -1.0, 2.6)], [[0, 1]], [])
    outcome = simulate(scenario(design=ONE, client=fixed(0.3), balancer=NEVER, faults=[crash(2.0)]), people)
    # 2310 to 2330; the next would be at 2630
    assert tries(outcome) == [(0, 0, 0, 2310.0, "FAILED", 2330.0)]
    assert outcome.sessions["end_s"].tolist() == [2.6, 2.6]


def test_who_is_to_leave_while_it_comes_back_leaves() -> None:
    people = world([(0, -1.0, 2.5), (1, -1.0, 2.6)], [[0, 1]], [])
    outcome = simulate(scenario(design=STORED, client=fixed(0.3), balancer=AT_ONCE, faults=[crash(2.0, 0.1)]), people)
    # 2310 + 30 + 3 + 100 + 25 + 100 + 2 + 10 = 2580; the other's handshake is 3 later, its read as long
    assert tries(outcome) == [(0, 0, 0, 2310.0, "ABANDONED", 2500.0), (1, 1, 0, 2310.0, "LEFT", 2583.0)]
    assert [row[3] for row in sessions(outcome)] == [2010.0, 2010.0, 2500.0, 2600.0]


# --------------------------------------------------------------------------- who is let in


def test_gateways_that_are_full_take_nobody() -> None:
    people = world([(0, *ALWAYS), (1, -1.0, 4.2), (2, *ALWAYS)], [[0, 1]], [])
    outcome = simulate(
        scenario(
            design={"routing": "mesh"}, client=fixed(), balancer=AT_ONCE, gateway={"connections_max": 2}, faults=[crash(2.0)]
        ),
        people,
    )
    # Gateway 1 has Ben and one place, which is Anna's. He leaves at 4200, which the gateway has worked on at 4211
    assert tries(outcome) == [
        (0, 0, 0, 2510.0, "ONLINE", 2553.0),
        (2, 2, 0, 2510.0, "REFUSED", 2510.0),
        (2, 4, 1, 3010.0, "REFUSED", 3010.0),
        (2, 5, 2, 3510.0, "REFUSED", 3510.0),
        (2, 6, 3, 4010.0, "REFUSED", 4010.0),
        (2, 7, 4, 4510.0, "ONLINE", 4553.0),
    ]


def test_the_balancer_lets_through_so_many_at_once_and_so_many_per_second() -> None:
    people = world([(user, *ALWAYS) for user in range(5)], [[0, 1]], [])
    balancer = {**AT_ONCE, "connections_per_s": 1.1, "burst": 2}
    outcome = simulate(scenario(design=ONE, client=fixed(), balancer=balancer, faults=[crash(2.0, 0.1)]), people)
    # all at 2510, and the burst is 2. Then 0.55 for each 500: 0.55, 1.1 (one passes), 0.65, 1.2, 0.75, 1.3
    came = {user: [row[3:] for row in tries(outcome) if row[0] == user] for user in range(5)}
    assert came[0] == [(2510.0, "ONLINE", 2553.0)]
    assert came[1] == [(2510.0, "ONLINE", 2556.0)]
    for user, at in ((2, 3510), (3, 4510), (4, 5510)):
        assert came[user] == [
            *[(float(start), "REFUSED", float(start)) for start in range(2510, at, 500)],
            (float(at), "ONLINE", at + 43.0),
        ]


def shed() -> Outcome:
    """Six clients come to one gateway at 2540; while more than one item waits, it takes no login."""
    people = world([(user, *ALWAYS) for user in range(6)], [[0, 1]], [])
    return simulate(
        scenario(design=ONE, client=fixed(), balancer=AT_ONCE, gateway={"shed_above": 1}, faults=[crash(2.0, 0.1)]), people
    )


def test_a_gateway_with_a_queue_refuses_logins() -> None:
    # one is worked on, two wait: of these the second found one waiting. Each handshake takes 3. The others come back
    assert [row[4:] for row in tries(shed())[:3]] == [("ONLINE", 2553.0), ("ONLINE", 2556.0), ("ONLINE", 2559.0)]
    assert [row[4] for row in tries(shed())[3:6]] == ["REFUSED"] * 3
    assert [row[4] for row in tries(shed())[6:]] == ["ONLINE"] * 3
    assert np.bincount(shed().sessions["gateway"] + 1).tolist() == [0, 15]


def test_a_client_that_was_refused_by_a_gateway_knows_one_link_delay_later() -> None:
    assert [row[3:] for row in tries(shed())[3:6]] == [(2510.0, "REFUSED", 2550.0)] * 3
    assert [row[3:] for row in tries(shed())[6:]] == [(3050.0, "ONLINE", 3093.0 + 3 * place) for place in range(3)]


# --------------------------------------------------------------------------- what waits meanwhile


def test_what_is_written_meanwhile_waits_and_is_sent_in_order() -> None:
    times_s = [1.995, 2.005, 2.1, 2.2, 2.3, 2.56]
    people = world(PAIR, [[0, 1]], [(time_s, 0, 0) for time_s in times_s])
    outcome = simulate(
        scenario(design=ONE, client=fixed(buffer_max=2), balancer=AT_ONCE, faults=[crash(2.0, 0.1)]), people
    )
    # Anna is back at 2553, Ben 3 later. The first two find a connection that is gone, the second before Anna knows
    assert [row[3:] for row in tries(outcome)] == [(2510.0, "ONLINE", 2553.0), (2510.0, "ONLINE", 2556.0)]
    # Two are held, and come to the gateway at 2563: read 2564, 2565, written 2573, 2581. The last is there at 2570, read at
    # 2582, written at 2590
    assert log(outcome) == [
        (0, "LOST CRASHED", 1, -1, None),
        (1, "LOST CRASHED", 1, -1, None),
        (2, "DELIVERED", 1, 3, 2583.0),
        (3, "DELIVERED", 1, 3, 2591.0),
        (4, "REFUSED NOT_BUFFERED", 1, -1, None),
        (5, "DELIVERED", 1, 3, 2600.0),
    ]
    assert messages(outcome, "received_s", "done_s") == [
        ("LOST CRASHED", None, 2005.0),
        ("LOST CRASHED", None, 2015.0),
        ("DELIVERED", 2564.0, 2573.0),
        ("DELIVERED", 2565.0, 2581.0),
        ("REFUSED NOT_BUFFERED", None, 2300.0),
        ("DELIVERED", 2582.0, 2590.0),
    ]


def test_there_is_room_again_when_what_was_held_is_sent() -> None:
    people = world(PAIR, [[0, 1]], [(2.1, 0, 0), (2.2, 0, 0), (4.1, 0, 0), (4.2, 0, 0)])
    outcome = simulate(
        scenario(design=ONE, client=fixed(buffer_max=1), balancer=AT_ONCE, faults=[crash(2.0, 0.1), crash(4.0, 0.1)]), people
    )
    assert [row[1] for row in log(outcome)] == ["DELIVERED", "REFUSED NOT_BUFFERED"] * 2


def test_the_buffer_is_as_small_while_a_try_is_going_on() -> None:
    pings = {"ping_s": 0.5, "ping_timeout_s": 0.5, "connect_timeout_s": 1.0}
    people = world([(0, *ALWAYS)], [[0, 1]], [(3.5, 0, 0), (4.5, 0, 0)])
    outcome = simulate(
        scenario(
            design=ONE, client=fixed(1.0, buffer_max=0, **pings), balancer=NEVER, faults=[crash(2.2, noticed="silence")]
        ),
        people,
    )
    # noticed at 2500 + 500; nobody answers from 4000 to 5000
    assert tries(outcome)[0] == (0, 0, 0, 4000.0, "FAILED", 5000.0)
    assert messages(outcome, "done_s") == [("REFUSED NOT_BUFFERED", 3500.0), ("REFUSED NOT_BUFFERED", 4500.0)]


# --------------------------------------------------------------------------- the storm

CLIENTS = 80


def storm(preset: str, sigma: float, gateways_left: bool = True) -> Outcome:
    """Eighty clients on four gateways, of which half die at 2 s, or all; the balancer sees it at once, or never."""
    people = world([(user, *ALWAYS) for user in range(CLIENTS)], [[0, 1]], [])
    fault = {"kind": "gateway_crash", "at_s": 2.0, "share": 0.5 if gateways_left else 1.0}
    asked = scenario(
        design={"routing": "mesh", "gateways": 4},
        client={"reconnect": preset, "reconnect_s": 1.0},
        balancer=AT_ONCE if gateways_left else NEVER,
        network={"client_ms_median": 60.0, "client_sigma": sigma},
        faults=[fault],
    )
    return simulate(asked, people)


def links_s(sigma: float, everybody: bool = False) -> list[float]:
    """One-way delays of the clients that are hit: all, or those on gateways 0 and 1, by round robin."""
    hit = np.array([user for user in range(CLIENTS) if everybody or user % 4 < 2])
    return [float(link_s) for link_s in 0.06 * np.exp(sigma * normal(1, 0, Purpose.LINK, hit, 0))]


def peak(starts_s: list[float]) -> int:
    """Most that begin in any 100 ms, counted one by one."""
    return max(sum(begin <= start_s < begin + 0.1 for start_s in starts_s) for begin in starts_s)


@pytest.mark.parametrize("sigma", [0.0, 0.6])
def test_with_phoenix_all_come_back_as_soon_as_they_know(sigma: float) -> None:
    outcome = storm("phoenix", sigma)
    # the close takes one link delay, then 10 ms; the gateways that are left take them all, so each tries but once
    wanted = sorted(2.0 + link_s + 0.01 for link_s in links_s(sigma))
    started = np.sort(outcome.sessions["start_s"][outcome.sessions["origin"] >= 0])
    np.testing.assert_allclose(started, wanted, rtol=0, atol=1e-9)
    row = recovery(outcome)
    assert (row["sessions_hit"], row["tries"], row["tries_failed"], row["back"]) == (40, 40, 0, 40)
    assert row["peak_tries_per_100ms"] == peak(wanted)
    assert (peak(wanted) == 40) == (sigma == 0.0)


def test_with_phoenix_and_nobody_there_the_storm_goes_on() -> None:
    outcome = storm("phoenix", 0.6, gateways_left=False)
    # a try fails after two link delays; all of this follows from the links, until the run ends at 15 s
    starts_s = []
    for link_s in links_s(0.6, everybody=True):
        time_s = 2.0 + link_s
        for failures in count():
            time_s += PHOENIX_MS[min(failures, 9)] * 1e-3
            if time_s >= 15.0:
                break
            starts_s.append(time_s)
            time_s += 2 * link_s
    row = recovery(outcome)
    assert (row["tries"], row["back"], row["never_back"]) == (len(starts_s), 0, CLIENTS)
    assert row["peak_tries_per_100ms"] == peak(starts_s)


@pytest.mark.parametrize("sigma", [0.0, 0.6])
def test_full_jitter_spreads_the_storm(sigma: float) -> None:
    outcome = storm("full_jitter", sigma)
    hit = [user for user in range(CLIENTS) if user % 4 < 2]
    wanted = [2.0 + link_s + draw(0, user) for user, link_s in zip(hit, links_s(sigma), strict=True)]
    row = recovery(outcome)
    assert (row["tries"], row["back"]) == (40, 40)
    assert row["peak_tries_per_100ms"] == peak(wanted)
    assert peak(wanted) < recovery(storm("phoenix", sigma))["peak_tries_per_100ms"] / 2
