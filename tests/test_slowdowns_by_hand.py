"""What takes longer for a while: stations, links, packets that are lost, caches that are empty, slow clients; by hand.

Times in ms (see ``worlds.scenario``): client link 10, receive 1, command 4, parse 2, write 8, handshake 3, PUBLISH 16, push 32,
SUBSCRIBE 5, registry 6, look-up 10 + 1 per user, list 12 + 1 per friend, relation 30, store 50; link to broker and
database 100. Anna (0) writes to Ben (1), in one process where nothing else is said: up 10, receive 1, write 8, down 10: 29.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from chatsim.engine import Outcome, simulate
from chatsim.world.draws import Purpose, uniform
from tests.test_faults_by_hand import ONE, PAIR, crash, log, ms, struck
from tests.test_routing_by_hand import work
from tests.worlds import ALWAYS, scenario, world

ROOM = {"routing": "room", "gateways": 2}
KEPT = {**ONE, "store": "before"}
CLIENTS, BROKER, DATABASE = range(3)
"""The links, as their draws have them."""


def took(outcome: Outcome) -> list[float | None]:
    """From each message's writing until its last recipient has it, ms."""
    came_s = [outcome.deliveries["time_s"][outcome.deliveries["message"] == number].max() for number in range(len(outcome.messages["time_s"]))]
    return [ms(came_s[number] - time_s) for number, time_s in enumerate(outcome.messages["time_s"].tolist())]


def run(design: dict[str, Any], faults: list[dict[str, Any]], times_s: list[float], duration_s: float = 10.0, **parts: Any) -> Outcome:
    """Anna writes to Ben at these times."""
    people = world(PAIR, [[0, 1]], [(time_s, 0, 0) for time_s in times_s], duration_s=duration_s)
    return simulate(scenario(design=design, faults=faults, **parts), people)


def slow(station: str, factor: float, at_s: float = 2.0, for_s: float = 2.0) -> dict[str, Any]:
    return {"kind": "slow", "stations": [station], "factor": factor, "at_s": at_s, "for_s": for_s}


def link(name: str, at_s: float = 2.0, for_s: float = 2.0, **more: Any) -> dict[str, Any]:
    return {"kind": "link", "link": name, "at_s": at_s, "for_s": for_s, **more}


# --------------------------------------------------------------------------- slow stations


@pytest.mark.parametrize(
    ("design", "faults", "usual", "slowed"),
    [
        (ONE, [slow("gateway-0", 10.0)], 29.0, 10 + 10 * 9 + 10),
        (ONE, [slow("gateway-*", 0.5)], 29.0, 10 + 0.5 * 9 + 10),
        # two at a time: six times as long
        (ONE, [slow("gateway-0", 2.0), slow("gateway-0", 3.0, 2.5, 1.0)], 29.0, 10 + 6 * 9 + 10),
        # 10 + 5 + 100 + 80 + 100 + 2 + 8 + 10
        (ROOM, [slow("broker-*", 2.0)], 315.0, 315.0 + 80),
        (ROOM, [slow("gateway-1", 2.0)], 315.0, 315.0 + 10),
        # 10 + 5 + 100 + 50 + 100 + 2 + 8 + 10
        (KEPT, [slow("database", 3.0)], 285.0, 285.0 + 2 * 50),
        (KEPT, [slow("*", 2.0)], 285.0, 285.0 + 5 + 50 + 10),
    ],
)
def test_a_slow_station_takes_so_many_times_as_long(
    design: dict[str, Any], faults: list[dict[str, Any]], usual: float, slowed: float
) -> None:
    outcome = run(design, faults, [1.0, 3.0, 5.0])
    assert took(outcome) == [usual, slowed, usual]
    assert {row[1:2] + row[3:] for row in struck(outcome)[:1]} == {("SLOW", 2000.0, 4000.0)}


def test_what_a_worker_has_begun_takes_as_long_as_it_would_have() -> None:
    # read 1995 to 1996, written 1996 to 2004, as usual; the second, there at 2001, takes 10 + 80 after that
    outcome = run(ONE, [slow("gateway-0", 10.0)], [1.985, 1.991])
    assert took(outcome) == [29.0, 2104.0 - 1991.0]
    here = outcome.ticks["station"] == 0
    np.testing.assert_allclose(outcome.ticks["end_s"][here], [1.996, 2.004, 2.014, 2.094])


# --------------------------------------------------------------------------- slow links


@pytest.mark.parametrize(
    ("design", "name", "usual", "ways"),
    [(ONE, "clients", 29.0, 2), (ROOM, "clients", 315.0, 2), (ROOM, "broker", 315.0, 2), (KEPT, "broker", 285.0, 0), (KEPT, "database", 285.0, 2)],
)
def test_a_slow_link_adds_to_each_way(design: dict[str, Any], name: str, usual: float, ways: int) -> None:
    outcome = run(design, [link(name, added_ms=7.0), link(name, added_ms=30.0, at_s=2.5, for_s=1.0)], [1.0, 2.1, 3.0, 5.0])
    assert took(outcome) == [usual, usual + 7.0 * ways, usual + 37.0 * ways, usual]


def test_a_slow_link_of_clients_makes_logins_slow() -> None:
    people = world([(0, *ALWAYS), (1, 2.1, 100.0), (2, 4.1, 100.0)], [[0, 1]], [])
    outcome = simulate(scenario(design=ONE, faults=[link("clients", added_ms=7.0)]), people)
    # one and a half trips, handshake, welcome: 3 x 17 + 3 + 17 and 3 x 10 + 3 + 10
    np.testing.assert_allclose(outcome.sessions["online_s"][1:], [2.171, 4.143])


def test_nothing_overtakes_on_a_link_that_is_fast_again() -> None:
    # written at 1995, with 60 to the gateway: there at 2055, and so is the second, for which 2020 would have done. Both are
    # read, 2056 and 2057, then written, 2065 and 2073
    outcome = run(ONE, [link("clients", at_s=1.0, for_s=1.0, added_ms=50.0)], [1.995, 2.01])
    assert [row[4] for row in log(outcome)] == [2075.0, 2083.0]


# --------------------------------------------------------------------------- packets that are lost


def again_ms(link_number: int, packet: int, share: float = 0.5, resend_ms: float = 200.0) -> float:
    """What the losses of one packet add: lost k times in a row with share^k, sent again after 1, 2, 4 ... times."""
    lost = math.floor(math.log(float(uniform(1, 0, Purpose.LOSS, link_number, packet))) / math.log(share))
    return sum(resend_ms * 2.0**time for time in range(lost))


@pytest.mark.parametrize(
    ("design", "name", "usual", "packets", "waited"),
    [
        # up, down
        (ONE, "clients", 29.0, 2, (1, 2)),
        # to the broker, and from there to gateway 0, which is Anna's, and to gateway 1
        (ROOM, "broker", 315.0, 3, (1, 3)),
        # there, and the reply
        (KEPT, "database", 285.0, 2, (1, 2)),
    ],
)
def test_a_lost_packet_is_sent_again(design: dict[str, Any], name: str, usual: float, packets: int, waited: tuple[int, ...]) -> None:
    fault = {"kind": "link", "link": name, "at_s": 0.0, "loss": 0.5}
    times_s = [20.0 * number for number in range(1, 7)]
    outcome = run(design, [fault], times_s, duration_s=150.0)
    number = {"clients": CLIENTS, "broker": BROKER, "database": DATABASE}[name]
    extra = [sum(again_ms(number, packets * message + packet) for packet in waited) for message in range(6)]
    assert any(extra), "the draws lose nothing: another test is needed"
    assert max(extra) < 19e3, "a message may meet the next one: another test is needed"
    assert took(outcome) == [usual + more for more in extra]


def test_what_follows_a_lost_packet_waits_for_it() -> None:
    # Reading and writing take nothing here. Eight messages, 1 ms apart, are sent before the first one arrives, so that their
    # packets have the numbers 1 to 8; those to Ben, in the same order, 9 to 16.
    fault = {"kind": "link", "link": "clients", "at_s": 0.0, "loss": 0.3, "resend_ms": 50.0}
    times_s = [1.0 + 0.001 * number for number in range(8)]
    outcome = run(ONE, [fault], times_s, gateway={"receive_us": 0.0, "write_us": 0.0})
    up_ms = down_ms = 0.0
    came = []
    for message in range(8):
        up_ms = max(up_ms, 1000.0 + message + 10.0 + again_ms(CLIENTS, 1 + message, 0.3, 50.0))
        down_ms = max(down_ms, up_ms + 10.0 + again_ms(CLIENTS, 9 + message, 0.3, 50.0))
        came.append(down_ms)
    assert len(set(came)) < 8, "nothing has to wait: another test is needed"
    assert [row[4] for row in log(outcome)] == pytest.approx(came)


def test_no_packet_is_lost_before_and_after() -> None:
    fault = {"kind": "link", "link": "clients", "at_s": 2.0, "for_s": 18.0, "loss": 0.5, "resend_ms": 100.0}
    outcome = run(ONE, [fault], [1.0, 3.0, 30.0], duration_s=40.0)
    # packets are counted while they may be lost
    assert took(outcome) == [29.0, 29.0 + again_ms(CLIENTS, 1, resend_ms=100.0) + again_ms(CLIENTS, 2, resend_ms=100.0), 29.0]


# --------------------------------------------------------------------------- empty caches


def test_a_ranked_list_is_read_from_the_database_once_and_written_back() -> None:
    people = world(
        [(0, 1.0, 1.9), (0, 3.0, 3.9), (0, 5.0, 9.0)], [[0, 1]], [], contacts={0: [1, 2, 3]}
    )
    outcome = simulate(
        scenario(
            design={"routing": "room", "gateways": 1},
            friend_list={"policy": "recent", "limit": 2},
            faults=[{"kind": "cache_emptied", "at_s": 2.0}],
        ),
        people,
    )
    # From the broker: 30, 3, two commands 8, 100, list 12 + 2, state of two 12, 100, the last reply 2; SUBSCRIBE: command 4, 100, 5,
    # 100, reply 2; 10
    usual = 30 + 3 + 8 + 100 + 14 + 12 + 100 + 2 + 4 + 100 + 5 + 100 + 2 + 10
    # Cold: three commands 12, 3145: at the database 20 + 3, reply 3268 to 3271; at the broker all three friends are written, 18, and
    # the state of two read, 12, to 3175: reply 3275 to 3277. SUBSCRIBE as before
    cold = 277 + 4 + 100 + 5 + 100 + 2 + 10
    np.testing.assert_allclose(outcome.sessions["online_s"] - outcome.sessions["start_s"], np.array([usual, cold, usual]) / 1e3)
    assert work(outcome, "database") == {"LIST": 1}
    counts = work(outcome, "broker-0")
    assert {name: counts[name] for name in ("LIST", "STATE", "UPDATE")} == {"LIST": 2, "STATE": 3, "UPDATE": 3}
    assert [row[1:3] for row in struck(outcome)] == [("CACHE_EMPTIED", -1)]


@pytest.mark.parametrize("emptied", [True, False])
def test_gateways_ask_again_who_is_a_friend(emptied: bool) -> None:
    faults = [{"kind": "cache_emptied", "at_s": 2.0}] if emptied else []
    people = world(PAIR, [[0, 1]], [(1.0, 0, 0), (1.5, 0, 0), (3.0, 0, 0)], friends=[(0, 1)])
    access = {"policy": "friends", "check": "message", "cache_s": 100.0}
    outcome = simulate(scenario(design=ONE, access=access, faults=faults), people)
    # up 10, receive 1, command 4, 100, relation 30, 100, reply 2, write 8, down 10; then what is remembered counts
    assert took(outcome) == [265.0, 29.0, 265.0 if emptied else 29.0]
    assert work(outcome, "database") == {"RELATION": 2 if emptied else 1}


def test_what_a_gateway_remembers_dies_with_it() -> None:
    access = {"policy": "friends", "check": "message", "cache_s": 100.0}
    again = {"reconnect": "fixed", "reconnect_s": 0.5}
    people = world(PAIR, [[0, 1]], [(1.0, 0, 0), (4.0, 0, 0)], friends=[(0, 1)])
    outcome = simulate(
        scenario(design=ONE, access=access, client=again, balancer={"notice_s": 0.0}, faults=[crash(2.0, 0.1)]), people
    )
    assert took(outcome) == [265.0, 265.0]


# --------------------------------------------------------------------------- slow clients


def test_a_share_of_the_users_is_slow_by_a_draw_of_each() -> None:
    users = range(1, 9)
    people = world([(user, *ALWAYS) for user in range(9)], [[*range(9)]], [(1.0, 0, 0), (3.0, 0, 0), (5.0, 0, 0)])
    fault = {"kind": "slow_clients", "at_s": 2.0, "for_s": 2.0, "share": 0.5, "bytes_per_s": 1e3}
    outcome = simulate(scenario(design=ONE, faults=[fault]), people)
    # up 10, receive 1, user n is written to at 8 n, down 10; in between 100 bytes take 100 on a slow link
    is_slow = {user: float(uniform(1, 0, Purpose.SLOW_USER, user, 0)) < 0.5 for user in users}
    assert 0 < sum(is_slow.values()) < 8
    late = {1: 0.0, 3: 100.0, 5: 0.0}
    wanted = [1e3 * time_s + 21.0 + 8 * user + (slower if is_slow[user] else 0.0) for time_s, slower in late.items() for user in users]
    assert [row[4] for row in log(outcome)] == pytest.approx(wanted)


def test_who_has_come_back_is_as_slow_as_before_when_clients_are_slow_no_more() -> None:
    network = {"slow_share": 1.0, "slow_bytes_per_s": 1e3}
    fault = {"kind": "slow_clients", "at_s": 0.5, "for_s": 2.0, "share": 1.0, "bytes_per_s": 500.0}
    outcome = run(
        ONE, [fault, crash(1.0, 0.1)], [2.0, 4.0], network=network, balancer={"notice_s": 0.0},
        client={"reconnect": "fixed", "reconnect_s": 0.25},
    )
    # 100 bytes take 200 while the fault lasts; then, on the slow link that Ben has always had, 100
    assert took(outcome) == [229.0, 129.0]


def test_of_two_faults_that_slow_clients_the_slower_counts() -> None:
    faults = [
        {"kind": "slow_clients", "at_s": at_s, "for_s": for_s, "share": 1.0, "bytes_per_s": bytes_per_s}
        for at_s, for_s, bytes_per_s in [(2.0, 4.0, 1e3), (3.0, 2.0, 500.0)]
    ]
    # 100 bytes take 100, then 200, then 100 again
    assert took(run(ONE, faults, [1.0, 2.5, 3.5, 5.5, 7.0])) == [29.0, 129.0, 229.0, 129.0, 29.0]
