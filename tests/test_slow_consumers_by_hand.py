"""Clients and gateways that take less than is sent to them: what waits, what is dropped, and who else has to wait.

Times in ms (see ``worlds.scenario``): client link 10, receive 1, command 4, parse 2, write 8, close 1, PUBLISH 16, push 32,
into a stream 2, SUBSCRIBE 5; link to the broker 100. Every message has 100 bytes, and every client's link takes 1000
bytes per s where nothing else is said: 100 for each message. Anna (0) writes to Ben (1), Cleo (2) and Dora (3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsim.analysis.recovery import recovery
from chatsim.engine import Fate, Outcome, SessionFate, simulate
from tests.test_guarantees_by_hand import Row, breaks, crash, log, ms, tries
from tests.test_routing_by_hand import work
from tests.worlds import ALWAYS, scenario, world

ONE = {"routing": "in_process", "gateways": 1}
TWO = {"routing": "room", "gateways": 2}
FOUR = [(user, *ALWAYS) for user in range(4)]
TO_BEN, TO_CLEO, TO_DORA = 0, 1, 2
ROOMS = [[0, 1], [0, 2], [0, 3]]
FULL = "LOST OUTBOUND_FULL"


def run(messages: Sequence[tuple[float, int]], network: dict[str, Any] | None = None, **parts: Any) -> Outcome:
    """Anna writes at these times to these rooms; clients drain 1000 bytes per s."""
    asked = scenario(**{"design": ONE, "network": {"downlink_bytes_per_s": 1e3, **(network or {})}, **parts})
    return simulate(asked, world(FOUR, ROOMS, [(time_s, 0, room) for time_s, room in messages]))


def stood_still_ms(outcome: Outcome, gateway: int = 0) -> float:
    """Time of a gateway's ticks in which it worked on nothing."""
    here = outcome.ticks["station"] == gateway
    busy_s = float((outcome.ticks["end_s"] - outcome.ticks["start_s"])[here].sum())
    return round(busy_s * 1e3 - float(outcome.item_us[gateway]) * 1e-3, 4)


# ---------------------------------------------------------------------------- a full outbound queue, policy by policy

# Four messages to Ben at 1.0, one to Cleo at 1.025; 350 bytes may wait. "item", one item at a time: read at 1.010 to 1.014,
# written at 1.022, 1.030, 1.038 and 1.046. The link has sent the first at 1.122, the second at 1.222, the third at 1.322.
# When the fourth is written, 276 bytes wait. Cleo's, there at 1.035, is read until 1.047 and written at 1.055.
# "tick": the first is read at 1.010 to 1.011, the others in one tick with its write, 3 + 8, to 1.022; their writes share
# a tick 1.022 to 1.046. Then 76 bytes wait, and each of them adds 100. Cleo's: 1.046, read to 1.047, written to 1.055.
IN_TURN = {"first": 1132.0, "second": 1232.0, "third": 1332.0}
POLICIES: list[tuple[str, str, Sequence[tuple[str, float | None]], float, float]] = [
    # policy, flush, the four to Ben, Cleo's, time the gateway stands still
    # closed as the fourth is turned to (at the end of the tick); the three on the link find nobody; closing costs 1
    ("close", "item", [("LOST LEFT", None)] * 3 + [(FULL, None)], 1166.0, 0.0),
    ("close", "tick", [("LOST LEFT", None)] * 3 + [(FULL, None)], 1166.0, 0.0),
    # the fourth has no room; in a tick the second and the third are one packet, which is through at 1.322
    ("drop_newest", "item", [("DELIVERED", 1132.0), ("DELIVERED", 1232.0), ("DELIVERED", 1332.0), (FULL, None)], 1165.0, 0.0),
    ("drop_newest", "tick", [("DELIVERED", 1132.0), ("DELIVERED", 1332.0), ("DELIVERED", 1332.0), (FULL, None)], 1165.0, 0.0),
    # the first has begun to be sent; the second waits longest, and makes room; messages are sent one by one
    ("drop_oldest", "item", [("DELIVERED", 1132.0), (FULL, None), ("DELIVERED", 1232.0), ("DELIVERED", 1332.0)], 1165.0, 0.0),
    ("drop_oldest", "tick", [("DELIVERED", 1132.0), (FULL, None), ("DELIVERED", 1232.0), ("DELIVERED", 1332.0)], 1165.0, 0.0),
    # 250 wait at 1.322 - 250 = 1.072, and no more: the fourth is written 26 later than it would be, and so is Cleo's
    ("block", "item", [("DELIVERED", 1132.0), ("DELIVERED", 1232.0), ("DELIVERED", 1332.0), ("DELIVERED", 1432.0)], 1191.0, 26.0),
    # the worker turns to the fourth at 1.038, with two that have not left: 50 may wait on the link, so from 1.072 on: 34.
    # All three leave at 1.080 as one packet, and are through at 1.122 + 300
    ("block", "tick", [("DELIVERED", 1132.0), ("DELIVERED", 1432.0), ("DELIVERED", 1432.0), ("DELIVERED", 1432.0)], 1199.0, 34.0),
]


@pytest.mark.parametrize(("policy", "flush", "to_ben", "to_cleo", "stands_still_ms"), POLICIES)
def test_a_full_outbound_queue(
    policy: str, flush: str, to_ben: Sequence[tuple[str, float | None]], to_cleo: float, stands_still_ms: float
) -> None:
    messages = [(1.0, TO_BEN)] * 4 + [(1.025, TO_CLEO)]
    gateway = {"flush": flush, "batch_max": 1 if flush == "item" else 0}
    outcome = run(messages, {"outbound_max_bytes": 350.0, "outbound_policy": policy}, gateway=gateway)
    assert log(outcome) == [(message, *end[:1], 1, *end[1:]) for message, end in enumerate(to_ben)] + [(4, "DELIVERED", 2, to_cleo)]
    closes = policy == "close"
    assert outcome.sessions["fate"].tolist() == [SessionFate.ONLINE, SessionFate.CLOSED if closes else SessionFate.ONLINE, 0, 0]
    assert ms(outcome.sessions["left_s"][1]) == ((1038.0 if flush == "item" else 1046.0) if closes else None)
    # the work is the same under every policy: what stands still is busy and does nothing
    assert work(outcome, "gateway-0") == {"RECEIVE": 5, "WRITE": 5, **({"CLOSE": 1} if closes else {})}
    assert outcome.item_us[0] == pytest.approx(5 * 1e3 + 5 * 8e3 + (1e3 if closes else 0.0))
    assert stood_still_ms(outcome) == stands_still_ms


MESH = {"routing": "mesh", "gateways": 2}


@pytest.mark.parametrize(
    ("policy", "to_ben", "to_dora"),
    [
        # Anna and Cleo are on gateway 0, Ben and Dora on gateway 1; 150 bytes may wait. The first: up 10, 1 + 4, 100, 2 + 8:
        # written at 1.125. The second is there at 1.135 and would be written at 1.145, behind 80 bytes. Dora's is there at
        # 1.140, and written 10 after that: 1.155, 100 on the link, down 10
        ("drop_newest", [("DELIVERED", 1235.0), (FULL, None)], 1265.0),
        # closed at 1.135; Dora's waits for the close, 1
        ("close", [("LOST LEFT", None), (FULL, None)], 1266.0),
        # room from 1.225 - 50 = 1.175 on: the second is written then, 30 late, and Dora's 30 late
        ("block", [("DELIVERED", 1235.0), ("DELIVERED", 1335.0)], 1295.0),
    ],
)
def test_only_who_is_on_the_gateway_of_a_slow_client_has_to_wait(
    policy: str, to_ben: list[tuple[str, float | None]], to_dora: float
) -> None:
    messages = [(1.0, TO_BEN), (1.02, TO_BEN), (1.025, TO_DORA), (1.06, TO_CLEO)]
    outcome = run(messages, {"outbound_max_bytes": 150.0, "outbound_policy": policy}, design=MESH)
    rows: list[Row] = [(message, what, 1, came) for message, (what, came) in enumerate(to_ben)]
    # Cleo's, on the other gateway: up 10, 1 + 4, written 8: 1.083; 100, down 10, whatever the policy
    assert log(outcome) == [*rows, (2, "DELIVERED", 3, to_dora), (3, "DELIVERED", 2, 1193.0)]
    assert [stood_still_ms(outcome, gateway) for gateway in (0, 1)] == [0.0, 30.0 if policy == "block" else 0.0]


def test_a_client_that_was_closed_comes_back_and_reads_what_it_missed() -> None:
    outcome = run(
        [(1.0, TO_BEN), (1.02, TO_BEN)],
        {"outbound_max_bytes": 150.0, "outbound_policy": "close"},
        design={**ONE, "store": "before", "offline": "store"},
        client={"reconnect": "fixed", "reconnect_s": 0.25},
    )
    # up 10, 1 + 4, 100, 50, 100, reply 2, write 8: written at 1.275; the second is turned to at 1.287, to be written at 1.295
    # behind 80 bytes: closed. Tried at 1.537: 30, 3, 100, read 25, 100, reply 2 + two writes 16: 1.813, with 200 bytes 200,
    # down 10
    assert ms(outcome.sessions["left_s"][1]) == 1287.0
    assert tries(outcome) == [(1, 1, 0, "ONLINE", 1537.0, 2023.0)]
    assert log(outcome) == [
        (0, "READ_LATER", 4, 2023.0),
        (0, "MISSED LEFT", 1, None),
        (1, "READ_LATER", 4, 2023.0),
        (1, "MISSED OUTBOUND_FULL", 1, None),
    ]


def test_no_more_than_the_limit_waits_when_the_oldest_has_begun_to_be_sent() -> None:
    outcome = run([(1.0, TO_BEN), (1.02, TO_BEN)], {"outbound_max_bytes": 150.0, "outbound_policy": "drop_oldest"})
    # written at 1.019 and, behind 80 bytes, at 1.039
    assert log(outcome) == [(0, "DELIVERED", 1, 1129.0), (1, FULL, 1, None)]


@pytest.mark.parametrize(
    "policy",
    ["close", "drop_newest", "block", "drop_oldest"],
)
def test_an_acknowledgement_stands_behind_what_waits(policy: str) -> None:
    people = world(FOUR, ROOMS, [(1.0, 0, TO_BEN), (1.05, 0, TO_BEN), (1.15, 1, TO_BEN)])
    network = {"downlink_bytes_per_s": 1e2, "outbound_policy": policy}
    outcome = simulate(scenario(design=ONE, network=network, client={"guarantee": "at_least_once"}), people)
    # Ben's link has sent what was written at 1.019 at 2.019, and the next one at 3.019; down 10
    assert ms(outcome.messages["acked_s"][2]) == 3029.0


# ---------------------------------------------------------------------------- who is slow, and when


@pytest.mark.parametrize(("slow_share", "came"), [(0.0, 1029.0), (1.0, 1129.0)])
def test_a_share_of_the_sessions_is_on_slow_links(slow_share: float, came: float) -> None:
    network = {"downlink_bytes_per_s": 1e12, "slow_share": slow_share, "slow_bytes_per_s": 1e3}
    # up 10, receive 1, write 8, 100 on a slow link, down 10
    assert log(run([(1.0, TO_BEN)], network)) == [(0, "DELIVERED", 1, came)]


@pytest.mark.parametrize("share", [1.0, 0.0])
def test_clients_are_slow_for_a_while(share: float) -> None:
    slow = {"kind": "slow_clients", "at_s": 1.5, "for_s": 1.0, "share": share, "bytes_per_s": 1e3}
    outcome = run([(1.0, TO_BEN), (2.0, TO_BEN), (2.02, TO_BEN), (4.0, TO_BEN)], {"downlink_bytes_per_s": 1e12}, faults=[slow])
    # 29 without a queue; in between the second has 100 more, and the third waits for the 80 bytes that are left of it
    late = [0.0, 100.0, 180.0, 0.0] if share else [0.0] * 4
    assert [came for *_, came in log(outcome)] == [1029.0, 2029.0 + late[1], 2049.0 + late[2], 4029.0]


def test_what_waits_for_a_link_that_becomes_slow_holds_up_what_comes_later() -> None:
    slow = {"kind": "slow_clients", "at_s": 1.069, "share": 1.0, "bytes_per_s": 100.0}
    outcome = run([(1.0, TO_BEN), (1.1, TO_BEN)], faults=[slow])
    # written at 1.019: of its bytes 50 are left at 1.069, which take 500: until 1.569, down 10. The second then takes 1 s
    assert log(outcome) == [(0, "DELIVERED", 1, 1579.0), (1, "DELIVERED", 1, 2579.0)]


def test_clients_are_slow_until_the_last_fault_ends() -> None:
    slow = {"kind": "slow_clients", "share": 1.0, "bytes_per_s": 1e3}
    faults = [{**slow, "at_s": 1.0, "for_s": 1.0}, {**slow, "at_s": 1.5, "for_s": 5.0}]
    assert log(run([(3.0, TO_BEN)], {"downlink_bytes_per_s": 1e12}, faults=faults)) == [(0, "DELIVERED", 1, 3129.0)]


def test_who_is_on_a_slow_link_is_so_after_the_fault_and_in_its_next_session() -> None:
    faults = [crash(0.1, 0.1), {"kind": "slow_clients", "at_s": 2.0, "for_s": 1.0, "share": 1.0, "bytes_per_s": 500.0}]
    network = {"downlink_bytes_per_s": 1e12, "slow_share": 1.0, "slow_bytes_per_s": 1e3}
    again = {"balancer": {"notice_s": 0.0}, "client": {"reconnect": "fixed", "reconnect_s": 0.25}}
    outcome = run([(1.0, TO_BEN), (2.5, TO_BEN), (4.0, TO_BEN)], network, faults=faults, **again)
    # 29, with 100, then 200, then 100 again
    assert [came for *_, came in log(outcome)] == [1129.0, 2729.0, 4129.0]


@pytest.mark.parametrize("policy", ["close", "drop_newest", "drop_oldest", "block"])
def test_a_link_that_is_fast_again_is_fast(policy: str) -> None:
    slow = {"kind": "slow_clients", "at_s": 0.5, "for_s": 1.0, "share": 1.0, "bytes_per_s": 10.0}
    outcome = run([(1.0, TO_BEN), (3.0, TO_BEN)], {"outbound_policy": policy}, faults=[slow], workload={"drain_s": 30.0})
    # written at 1.019: at 1.5 some 95 bytes are left, which take 95. At 3.019 nothing waits: 100, down 10
    assert log(outcome)[1] == (1, "DELIVERED", 1, 3129.0)


@pytest.mark.parametrize(
    ("policy", "noticed"),
    [
        (policy, noticed)
        for noticed in ("close", "silence")
        for policy in ["close", "drop_newest", "drop_oldest", "block"]
    ],
)
def test_what_stands_in_an_outbound_queue_dies_with_its_gateway(policy: str, noticed: str) -> None:
    network = {"downlink_bytes_per_s": 100.0, "outbound_policy": policy}
    outcome = run([(1.0, TO_BEN), (1.1, TO_BEN)], network, faults=[crash(1.5, noticed=noticed)])
    # written at 1.019 and 1.119: half of the first, which takes a second, has left when the gateway dies
    assert log(outcome) == [(0, "LOST CRASHED", 1, None), (1, "LOST CRASHED", 1, None)]


# ---------------------------------------------------------------------------- a gateway that is slow for its broker

# Anna on gateway 0, Ben on gateway 1, which takes 30 times as long, until 1.6 (or 2.2). A message every 110: message n comes
# to the broker at 1.115, is pushed to both gateways at 1.195, and is there at 1.295 + 110 n. Gateway 1 reads the first at 1.295
# to 1.595. The broker counts what a gateway has not begun to read.
EVERY_110 = [(1.0 + 0.11 * place, TO_BEN) for place in range(5)]


def pushed(broker: dict[str, Any], until_s: float = 1.6, more: Sequence[tuple[float, int]] = ((2.1, TO_BEN),), again_s: float = 8.0) -> Outcome:
    slow = {"kind": "slow", "at_s": 0.5, "for_s": until_s - 0.5, "stations": ["gateway-1"], "factor": 30.0}
    faults = [slow, {**slow, "at_s": again_s}]
    limits = {"subscriber_max_bytes": 0.0, "subscriber_soft_bytes": 0.0, "stream_us": 2e3, **broker}
    return run(
        [*EVERY_110, *more], {"downlink_bytes_per_s": 1e12}, design=TWO, faults=faults, broker=limits, gateway={"broker_retry_s": 0.5}
    )


def subscriptions(outcome: Outcome) -> list[tuple[float | None, int]]:
    """(ms, +1 or -1) of what changed after the start."""
    table = outcome.subscriptions
    return [(ms(time_s), change) for time_s, change in zip(table["time_s"], table["change"].tolist(), strict=True) if time_s > 0]


def test_a_gateway_to_whom_too_much_is_owed_is_cut_off_and_comes_back() -> None:
    outcome = pushed({"subscriber_max_bytes": 250.0})
    # message 3 is pushed at 1.525, when 1 and 2 are there, unread: 300 bytes. They are lost; 4 is published at 1.555 to
    # gateway 0 alone, 16 + 32. Gateway 1 tries at 2.025: 4 + 100 + 2 x 5, for Ben's room and Dora's. The last: 2.1 + 315
    rows = {row[0]: row for row in log(outcome)}
    assert rows[0] == (0, "DELIVERED", 1, 1605.0)
    assert [rows[message] for message in (1, 2, 4)] == [(message, "LOST CUT_OFF", -1, None) for message in (1, 2, 4)]
    assert rows[5] == (5, "DELIVERED", 1, 2415.0)
    assert [row for row in breaks(outcome) if row[0] != 3] == [(1, 1, "CUT_OFF", 1525.0), (2, 1, "CUT_OFF", 1525.0), (4, 1, "CUT_OFF", 1603.0)]
    assert subscriptions(outcome) == [(1525.0, -1), (1525.0, -1), (2139.0, 1), (2139.0, 1)]


def test_what_was_too_much_is_lost_too() -> None:
    outcome = pushed({"subscriber_max_bytes": 250.0})
    assert {row[0]: row for row in log(outcome)}[3] == (3, "LOST CUT_OFF", -1, None)


@pytest.mark.parametrize("max_bytes", [300.0, 0.0])
def test_a_gateway_may_be_owed_as_much_as_the_limit(max_bytes: float) -> None:
    outcome = pushed({"subscriber_max_bytes": max_bytes})
    # 1 is turned to at 1.595, as 200 are owed; it is still slow then: 300 to 1.895, and the others, at 10 each, down 10
    assert [row[1:] for row in log(outcome)] == [("DELIVERED", 1, came) for came in (1605.0, 1905.0, 1915.0, 1925.0, 1935.0, 2415.0)]
    assert subscriptions(outcome) == []


@pytest.mark.parametrize("soft_s", [0.25, 1.0])
def test_a_gateway_may_be_owed_more_than_the_soft_limit_for_a_while(soft_s: float) -> None:
    more = [(1.55, TO_BEN), (2.6, TO_BEN)]
    outcome = pushed({"subscriber_soft_bytes": 150.0, "subscriber_soft_s": soft_s}, until_s=2.2, more=more)
    # 200 are owed from 1.415 on, when 2 is pushed, 300 at 1.525, 300 at 1.635 (1 is turned to at 1.595); at 1.745, 0.33 s
    # later, 5 is pushed, and 2, 3 and 4 are there
    rows = {row[0]: row for row in log(outcome)}
    assert [rows[0], rows[1]] == [(0, "DELIVERED", 1, 1605.0), (1, "DELIVERED", 1, 1905.0)]
    if soft_s == 0.25:
        assert [rows[message] for message in (2, 3, 4)] == [(message, "LOST CUT_OFF", -1, None) for message in (2, 3, 4)]
        # tried at 2.245: 4 + 100 + 2 x 5
        assert subscriptions(outcome) == [(1745.0, -1), (1745.0, -1), (2359.0, 1), (2359.0, 1)]
    else:
        # 2 at 1.895 to 2.195, 3 at 2.195 to 2.495, still slow as it begins; then 10 each
        assert [rows[message][-1] for message in (2, 3, 4, 5)] == [2205.0, 2505.0, 2515.0, 2525.0]
        assert subscriptions(outcome) == []
    assert rows[6] == (6, "DELIVERED", 1, 2915.0)


def test_the_time_above_the_soft_limit_counts_anew_when_it_was_below() -> None:
    more = [(2.0 + 0.11 * place, TO_BEN) for place in range(4)]
    outcome = pushed({"subscriber_soft_bytes": 150.0, "subscriber_soft_s": 0.5}, more=more, again_s=2.2)
    # 200 are owed from 1.415 on, 300 at 1.635, 0.22 s later. 1 is turned to at 1.595, to 1.895, 2 to 4 take 10 each: at 2.195,
    # when 5 is pushed, 100 are owed. 5 is there at 2.295, and slow again: 300. 200 are owed at 2.415, 300 at 2.525: 0.11 s
    assert [row[1:] for row in log(outcome)] == [
        ("DELIVERED", 1, came) for came in (1605.0, 1905.0, 1915.0, 1925.0, 1935.0, 2605.0, 2905.0, 3205.0, 3505.0)
    ]
    assert subscriptions(outcome) == []


def test_with_a_stream_a_gateway_that_is_cut_off_reads_on() -> None:
    outcome = pushed({"subscriber_max_bytes": 250.0, "delivery": "stream"})
    # 2 more for each PUBLISH: cut at 1.527, tried at 2.027, subscribed at 2.141; 1 and 2 are pushed again, and 4 after them:
    # 100, 2 + 8 each, down 10. The last: 2.1 + 317
    rows = {row[0]: row for row in log(outcome)}
    assert [rows[message] for message in (0, 1, 2, 5)] == [
        (message, "DELIVERED", 1, came) for message, came in ((0, 1607.0), (1, 2261.0), (2, 2271.0), (5, 2417.0))
    ]
    assert subscriptions(outcome) == [(1527.0, -1), (1527.0, -1), (2141.0, 1), (2141.0, 1)]
    assert [row[1] for row in log(outcome)] == ["DELIVERED"] * 6
    assert breaks(outcome) == []


def test_with_a_stream_a_gateway_that_is_cut_off_reads_on_in_order() -> None:
    outcome = pushed({"subscriber_max_bytes": 250.0, "delivery": "stream"})
    assert recovery(outcome)["order_violations"] == 0


def test_with_a_stream_a_gateway_that_is_cut_off_finds_no_more_than_the_stream_keeps() -> None:
    outcome = pushed({"subscriber_max_bytes": 250.0, "delivery": "stream", "stream_max": 1})
    # the stream has had 2, 3 and 4 since it had 1
    assert {row[0]: row[1] for row in log(outcome)}[1] == "LOST TRIMMED"


# ---------------------------------------------------------------------------- laws


def arrivals(writes: Sequence[float], policy: str, tick: bool, rate: float, max_bytes: float) -> list[float | None]:
    """When the link has sent each message of 100 bytes, written at these times, or None where it is dropped."""
    sent: list[float | None] = [None] * len(writes)
    box: list[int] = []
    free_s = 0.0

    def send(until_s: float) -> None:
        nonlocal free_s
        while box and free_s <= until_s:
            first = box.pop(0)
            free_s = max(free_s, writes[first]) + 100.0 / rate
            sent[first] = free_s

    for place, written_s in enumerate(writes):
        send(written_s)
        waiting = 100.0 * len(box) + max(free_s - written_s, 0.0) * rate
        if policy == "drop_oldest":
            while box and waiting + 100.0 > max_bytes:
                box.pop(0)
                waiting -= 100.0
        elif policy == "drop_newest" and waiting + 100.0 > max_bytes:
            continue
        box.append(place)
    send(np.inf)
    if tick and policy != "drop_oldest":  # what is written at one instant is one packet
        last = {written_s: came for written_s, came in zip(writes, sent, strict=True) if came is not None}
        sent = [None if came is None else last[written_s] for written_s, came in zip(writes, sent, strict=True)]
    return sent


@given(
    written_ms=st.lists(st.integers(1000, 1800), min_size=1, max_size=14),
    policy=st.sampled_from(["drop_newest", "drop_oldest", "block"]),
    flush=st.sampled_from(["item", "tick"]),
    max_bytes=st.sampled_from([201.0, 250.0, 333.0, 450.0]),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_link_sends_one_byte_after_the_other_and_no_more_than_the_limit_waits(
    written_ms: list[int], policy: str, flush: str, max_bytes: float
) -> None:
    rate = 999.0
    network = {"downlink_bytes_per_s": rate, "outbound_policy": policy, "outbound_max_bytes": max_bytes}
    messages = [(at_ms / 1e3, TO_BEN) for at_ms in sorted(written_ms)]
    gateway = {"flush": flush, "batch_max": 1 if flush == "item" else 0}
    outcome = run(messages, network, gateway=gateway, workload={"drain_s": 30.0})
    table = outcome.deliveries
    order = np.lexsort((table["message"], table["written_s"]))
    writes, came_s = table["written_s"][order].tolist(), table["time_s"][order]
    sent = arrivals(writes, policy, flush == "tick", rate, max_bytes)
    np.testing.assert_allclose(came_s, [np.nan if at_s is None else at_s + 0.010 for at_s in sent])
    assert (table["fate"][order] == [Fate.LOST if at_s is None else Fate.DELIVERED for at_s in sent]).all()
    # each byte that is written is sent or dropped, and the work is that of the messages, however long a worker stands still
    assert work(outcome, "gateway-0") == {"RECEIVE": len(messages), "WRITE": len(messages)}
    assert outcome.item_us[0] == pytest.approx(9e3 * len(messages))
    if policy == "block" and flush == "item":
        for place, written_s in enumerate(writes):
            first = 0.0 if place == 0 else float(sent[place - 1] or 0.0)
            assert max(first - written_s, 0.0) * rate + 100.0 <= max_bytes + 1e-6
    elif policy != "block":
        assert stood_still_ms(outcome) == 0.0
