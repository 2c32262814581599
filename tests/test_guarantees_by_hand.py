"""What is lost, sent again, read later or had twice, for each guarantee, with every time worked out by hand.

Times in ms (see ``worlds.scenario``): client link 10, receive 1, command 4, parse 2, write 8 (an acknowledgement costs
as much), PUBLISH 16, push 32, put into a stream 2, SUBSCRIBE 5, store 50, read of missed messages 25, handshake 3; link
to broker and database 100. Anna (0) writes to Ben (1); round robin puts her on gateway 0, and where there are two him
on gateway 1. A client that may come back does so 250 ms after it has noticed; the balancer sees all at once. Logs have
times in ms from the start of the run; all messages are written at full seconds or shortly after.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsim.analysis.recovery import recovery
from chatsim.engine import Cause, Fate, Outcome, SessionFate, simulate
from tests.test_routing_by_hand import work
from tests.worlds import ALWAYS, scenario, world

ONE = {"routing": "in_process", "gateways": 1}
TWO = {"routing": "room", "gateways": 2, "placement": "returning"}
SAFE = {"store": "before", "offline": "store"}
PAIR = [(0, *ALWAYS), (1, *ALWAYS)]
SURE = {"guarantee": "at_least_once", "ack_timeout_s": 1.0, "deduplicate": True, "resync": True}
AGAIN = {"reconnect": "fixed", "reconnect_s": 0.25}

Row = tuple[int, str, int, float | None]


def ms(time_s: float) -> float | None:
    """Seconds as ms, without what rounding adds; None for never."""
    return None if np.isnan(time_s) else round(float(time_s) * 1e3, 4)


def words(fate: int, cause: int) -> str:
    """A fate, with its cause if there is one: ``LOST CRASHED``."""
    return " ".join([Fate(fate).name, *([Cause(cause).name] if cause else [])])


def log(outcome: Outcome) -> list[Row]:
    """(message, fate and cause, session, ms), by message, recipient and time."""
    table = outcome.deliveries
    columns = (table[name].tolist() for name in ("message", "recipient", "time_s", "session", "fate", "cause"))
    rows = sorted(zip(*columns, strict=True), key=lambda row: (row[:2], np.nan_to_num(row[2], nan=np.inf)))
    return [(message, words(fate, cause), session, ms(time_s)) for message, _, time_s, session, fate, cause in rows]


def taken(outcome: Outcome) -> list[tuple[str, int, float | None]]:
    """What became of each message at its sender: (fate and cause, times sent, ms when it knew that it was taken)."""
    table = outcome.messages
    columns = (table[name].tolist() for name in ("fate", "cause", "sends", "acked_s"))
    return [(words(fate, cause), sends, ms(acked_s)) for fate, cause, sends, acked_s in zip(*columns, strict=True)]


def tries(outcome: Outcome) -> list[tuple[int, int, int, str, float | None, float | None]]:
    """Sessions that a client began to come back: (user, origin, attempt, fate, ms of the start, ms online)."""
    table = outcome.sessions
    columns = (table[name].tolist() for name in ("user", "origin", "attempt", "fate", "start_s", "online_s"))
    return [
        (user, origin, attempt, SessionFate(fate).name, ms(start_s), ms(online_s))
        for user, origin, attempt, fate, start_s, online_s in zip(*columns, strict=True)
        if origin >= 0
    ]


def breaks(outcome: Outcome) -> list[tuple[int, int, str, float | None]]:
    """(message, gateway, cause, ms) of each carrier that a fault has stopped."""
    table = outcome.breaks
    columns = (table[name].tolist() for name in ("message", "gateway", "cause", "time_s"))
    return [(message, gateway, Cause(cause).name, ms(at_s)) for message, gateway, cause, at_s in zip(*columns, strict=True)]


def run(messages: list[float], faults: list[dict[str, Any]], client: dict[str, Any], **parts: Any) -> Outcome:
    """Anna writes to Ben at these times; both are connected throughout, and come back if the client does."""
    table: dict[str, Any] = {"faults": faults, "client": client, "design": ONE, "balancer": {"notice_s": 0.0}, **parts}
    return simulate(scenario(**table), world(PAIR, [[0, 1]], [(time_s, 0, 0) for time_s in messages]))


def crash(at_s: float, for_s: float = 0.0, gateway: int = 0, noticed: str = "close") -> dict[str, Any]:
    return {"kind": "gateway_crash", "at_s": at_s, "for_s": for_s, "stations": [f"gateway-{gateway}"], "noticed": noticed}


NO_DATABASE = {"kind": "database_down", "at_s": 0.9, "for_s": 0.5}

# ------------------------------------------------------------------------------------------------ once, at most


@pytest.mark.parametrize(
    ("at_s", "noticed", "session", "where"),
    [
        (1.005, "close", -1, "uplink"),
        (1.005, "silence", -1, "uplink"),
        (1.0105, "close", -1, "read"),
        (1.0105, "silence", -1, "read"),
        (1.015, "close", 1, "written"),
        (1.015, "silence", 1, "written"),
    ],
)
def test_at_most_once_a_crash_loses_what_the_gateway_has(at_s: float, noticed: str, session: int, where: str) -> None:
    outcome = run([1.0], [crash(at_s, noticed=noticed)], {})
    # up 10 to 1.010, read 1 to 1.011, written 8 to 1.019: the gateway dies before, with the message on the link to it,
    # in its hands, or about to be written to session 1
    assert log(outcome) == [(0, "LOST CRASHED", session, None)]
    assert taken(outcome) == [("DELIVERED" if where == "written" else "LOST CRASHED", 1, None)]
    assert np.isnan(outcome.messages["received_s"][0]) == (where != "written")


def test_at_most_once_what_has_left_the_gateway_arrives() -> None:
    # written at 1.019, so on its link when the gateway dies at 1.022; Ben notices at 1.032, three ms after 1.029
    outcome = run([1.0], [crash(1.022)], {})
    assert log(outcome) == [(0, "DELIVERED", 1, 1029.0)]
    np.testing.assert_allclose(outcome.sessions["left_s"], [1.032, 1.032])
    np.testing.assert_allclose(outcome.sessions["cut_s"], [1.022, 1.022])


def test_at_most_once_nobody_sends_again_after_coming_back() -> None:
    outcome = run([1.0], [crash(1.005, 0.1)], AGAIN)
    # noticed at 1.015, tried at 1.265, one trip and a half 30, handshakes 3 each one after the other, down 10
    assert tries(outcome) == [(0, 0, 0, "ONLINE", 1265.0, 1308.0), (1, 1, 0, "ONLINE", 1265.0, 1311.0)]
    assert log(outcome) == [(0, "LOST CRASHED", -1, None)]
    assert taken(outcome) == [("LOST CRASHED", 1, None)]


# ------------------------------------------------------------------------------------------------ acknowledgement


@pytest.mark.parametrize(
    ("store", "acked_ms", "stored_ms", "came_ms"),
    [
        # up 10, receive 1 + PUBLISH 4: 15; acknowledged 8, down 10
        ("never", 33.0, None, 315.0),
        # receive 1 + two commands 8: 19; 8, down 10. In store 100 + 50 after it left
        ("beside", 37.0, 169.0, 319.0),
        # 15, then a command 4 for the store, and only then 8, down 10
        ("after", 37.0, 169.0, 315.0),
        # 15 (the command is the store's), 100, 50, 100, reply 2 + PUBLISH 4: 271; 8, down 10
        ("before", 289.0, 165.0, 571.0),
    ],
)
def test_a_message_is_acknowledged_when_it_is_routed(
    store: str, acked_ms: float, stored_ms: float | None, came_ms: float
) -> None:
    # from the PUBLISH on: 100, 16 + 2 x 32, 100, parse 2, write 8, down 10 = 300
    outcome = run([1.0], [], SURE, design={**TWO, "store": store})
    assert log(outcome) == [(0, "DELIVERED", 1, 1000.0 + came_ms)]
    assert taken(outcome) == [("DELIVERED", 1, 1000.0 + acked_ms)]
    assert ms(outcome.messages["stored_s"][0]) == (None if stored_ms is None else 1000.0 + stored_ms)
    assert work(outcome, "gateway-0")["ACK"] == 1


def test_an_acknowledgement_costs_a_write_behind_those_to_recipients() -> None:
    outcome = run([1.0], [], SURE)
    # up 10, receive 1, write 8: 1.019 and at Ben's at 1.029; the acknowledgement 8: 1.027, down 10
    assert log(outcome) == [(0, "DELIVERED", 1, 1029.0)]
    assert taken(outcome) == [("DELIVERED", 1, 1037.0)]
    assert work(outcome, "gateway-0") == {"RECEIVE": 1, "WRITE": 1, "ACK": 1}
    assert outcome.item_us[0] == pytest.approx(1e3 + 8e3 + 8e3)


# ------------------------------------------------------------------------------------------------ sent again


def test_a_message_is_sent_again_when_no_answer_came_in_time() -> None:
    outcome = run([1.0], [], {**SURE, "ack_timeout_s": 0.02})
    # the answer takes 37, so the message is sent again at 1.020: read at 1.030 to 1.031, written to 1.039, at Ben's at
    # 1.049, acknowledged to 1.047. Nothing is in store, so nobody can know that it came before. At 1.040 there is the answer.
    assert log(outcome) == [(0, "DELIVERED", 1, 1029.0), (0, "DUPLICATE", 1, 1049.0)]
    assert taken(outcome) == [("DELIVERED", 2, 1037.0)]
    assert work(outcome, "gateway-0") == {"RECEIVE": 2, "WRITE": 2, "ACK": 2}
    assert recovery(outcome)[["duplicates", "resent"]].tolist() == [1, 1]


def test_a_message_is_sent_again_at_once_when_its_client_is_back() -> None:
    outcome = run([1.0], [crash(1.005, 0.5)], {**SURE, **AGAIN, "ack_timeout_s": 9.0})
    # both notice at 1.015 and try at 1.265: the only gateway is out of the balancer until 1.505, so they are refused at
    # once and try again at 1.515: 30, handshake 3 (Ben's after Anna's), down 10
    assert tries(outcome) == [
        (0, 0, 0, "REFUSED", 1265.0, None),
        (1, 1, 0, "REFUSED", 1265.0, None),
        (0, 2, 1, "ONLINE", 1515.0, 1558.0),
        (1, 3, 1, "ONLINE", 1515.0, 1561.0),
    ]
    # sent at 1.558: up 10, receive 1, write 8, down 10; acknowledged 8 after the write, down 10
    assert log(outcome) == [(0, "DELIVERED", 5, 1587.0)]
    assert taken(outcome) == [("DELIVERED", 2, 1595.0)]


def test_a_client_that_has_not_noticed_sends_into_nothing_and_waits_when_it_has() -> None:
    pings = {"ping_s": 0.5, "ping_timeout_s": 0.2}
    outcome = run([1.0], [crash(1.005, 0.3, noticed="silence")], {**SURE, **AGAIN, **pings, "ack_timeout_s": 0.3})
    # pings went at -0.5, 0, 0.5 and 1.0; that of 1.5 has no answer at 1.7. Sent at 1.0, 1.3 and 1.6; at 1.9 there is no
    # connection: the try of 1.95 is online at 1.95 + 30 + 3 + 10, and sends it: up 10, 1, 8, down 10; 8, 10
    assert tries(outcome) == [(0, 0, 0, "ONLINE", 1950.0, 1993.0), (1, 1, 0, "ONLINE", 1950.0, 1996.0)]
    assert log(outcome) == [(0, "DELIVERED", 3, 2022.0)]
    assert taken(outcome) == [("DELIVERED", 4, 2030.0)]


def test_what_waits_for_a_connection_is_sent_once() -> None:
    people = world([(1, *ALWAYS), (0, 1.0, 100.0)], [[0, 1]], [(1.0, 0, 0)])
    outcome = simulate(scenario(design=ONE, client=SURE), people)
    # login: 30, handshake 3, down 10; up 10, receive 1, write 8, down 10; acknowledged 8 after the write, down 10
    assert taken(outcome) == [("DELIVERED", 1, 1080.0)]
    assert log(outcome) == [(0, "DELIVERED", 0, 1072.0)]


def test_a_client_gives_up_after_so_many_sends() -> None:
    outcome = run([1.0], [crash(1.005, noticed="silence")], {**SURE, "ack_timeout_s": 0.3, "sends_max": 2})
    # sent at 1.0 and 1.3; at 1.6 it would be the third time
    assert log(outcome) == [(0, "REFUSED GAVE_UP", -1, None)]
    assert taken(outcome) == [("REFUSED GAVE_UP", 2, None)]
    assert ms(outcome.messages["done_s"][0]) == 1600.0


def test_what_was_taken_is_no_refusal_though_its_client_has_given_up() -> None:
    outcome = run([1.0], [], {**SURE, "ack_timeout_s": 0.02, "sends_max": 1})
    # the client gives up at 1.020, the gateway has taken it at 1.011, and says so at 1.037
    assert log(outcome) == [(0, "DELIVERED", 1, 1029.0)]
    assert taken(outcome) == [("DELIVERED", 1, 1037.0)]


def test_a_sender_who_never_comes_back_knows_that_the_message_was_not_taken() -> None:
    outcome = run([1.0], [crash(1.005)], SURE)
    # noticed at 1.015; this client does not reconnect
    assert log(outcome) == [(0, "REFUSED NO_SESSION", -1, None)]
    assert taken(outcome) == [("REFUSED NO_SESSION", 1, None)]
    assert ms(outcome.messages["done_s"][0]) == 1015.0


# ------------------------------------------------------------------------------------------------ duplicates


@pytest.mark.parametrize("deduplicate", [True, False])
def test_what_is_in_store_already_is_acknowledged_and_not_routed_again(deduplicate: bool) -> None:
    client = {**SURE, "ack_timeout_s": 0.2, "deduplicate": deduplicate}
    outcome = run([1.0], [], client, design={**ONE, "store": "before"})
    # up 10, receive 1 + command 4, 100, 50: in store at 1.165; 100, reply 2, write 8: 1.275, down 10; acknowledged 8: 1.283,
    # down 10. The second try leaves at 1.2, so is at the store at 1.315 to 1.365, back 1.465, reply 2: 1.467. Then 8 for the
    # acknowledgement alone, or 8 for Ben, down 10. At 1.4 Anna has her answer.
    first = (0, "DELIVERED", 1, 1285.0)
    again = [] if deduplicate else [(0, "DUPLICATE", 1, 1485.0)]
    assert log(outcome) == [first, *again]
    assert taken(outcome) == [("DELIVERED", 2, 1293.0)]
    assert ms(outcome.messages["stored_s"][0]) == 1165.0
    assert work(outcome, "database") == {"STORE": 2}
    assert work(outcome, "gateway-0") == {"RECEIVE": 2, "COMMAND": 2, "PARSE": 2, "WRITE": 1 + len(again), "ACK": 2}


@pytest.mark.parametrize(
    ("deduplicate", "expected", "acked_ms"),
    [
        # known there: back 2.206, reply 2, acknowledged 8, down 10. Ben, who was never away, has it when he asks next
        (True, (0, "STORED", -1, None), 2226.0),
        # reply 2 + PUBLISH 4: 2.212; 100, 16 + 2 x 32, 100, 2 + 8, down 10
        (False, (0, "DELIVERED", 1, 2512.0), 2230.0),
    ],
)
def test_what_was_stored_but_not_routed_is_not_routed_by_the_second_try(
    deduplicate: bool, expected: Row, acked_ms: float
) -> None:
    outcome = run([1.0], [crash(1.2, 0.1)], {**SURE, **AGAIN, "deduplicate": deduplicate}, design={**TWO, **SAFE})
    # in store at 1.165, the reply is on its way when the gateway dies. Noticed at 1.210, tried at 1.460: 30, handshake 3,
    # command 4, 100, SUBSCRIBE 5, 100, reply 2, 100, read 25, 100, reply 2: 1.931, down 10
    assert tries(outcome) == [(0, 0, 0, "ONLINE", 1460.0, 1941.0)]
    # sent again: up 10, 1 + 4, 100, 50: at the store at 2.106
    assert log(outcome) == [expected]
    assert taken(outcome) == [("DELIVERED", 2, acked_ms)]


# ------------------------------------------------------------------------------------------------ refusals


def test_no_database_is_a_refusal_after_which_a_client_tries_again() -> None:
    outcome = run([1.0], [NO_DATABASE], SURE, design={**ONE, "store": "before"})
    # up 10, receive 1 + command 4, 100: nobody there at 1.115, so the gateway says no, down 10. Sent again at 2.0:
    # 10, 5, 100, 50, 100, reply 2, write 8, down 10; acknowledged 8 later
    assert ms(outcome.messages["told_s"][0]) == 1125.0
    assert log(outcome) == [(0, "DELIVERED", 1, 2285.0)]
    assert taken(outcome) == [("DELIVERED", 2, 2293.0)]
    assert work(outcome, "gateway-0")["REFUSAL"] == 1


def test_no_database_is_the_end_for_a_client_that_sends_once() -> None:
    outcome = run([1.0], [NO_DATABASE], {}, design={**ONE, "store": "before"})
    assert log(outcome) == [(0, "REFUSED UNAVAILABLE", -1, None)]
    assert taken(outcome) == [("REFUSED UNAVAILABLE", 1, None)]


def test_too_many_is_tried_again_later() -> None:
    outcome = run([1.0, 1.5], [], SURE, limits={"messages_per_s": 1.0})
    # read at 1.010 and at 1.510, with half a token; up 10, receive 1, refusal 8, down 10. Sent again at 2.5, with a whole one
    assert ms(outcome.messages["told_s"][1]) == 1529.0
    assert log(outcome) == [(0, "DELIVERED", 1, 1029.0), (1, "DELIVERED", 1, 2529.0)]
    assert taken(outcome) == [("DELIVERED", 1, 1037.0), ("DELIVERED", 2, 2537.0)]


def test_too_large_is_final() -> None:
    outcome = run([1.0], [], SURE, limits={"message_max_bytes": 99})
    # up 10, receive 1, refusal 8, down 10
    assert ms(outcome.messages["told_s"][0]) == 1029.0
    assert log(outcome) == [(0, "REFUSED TOO_LARGE", -1, None)]
    assert taken(outcome) == [("REFUSED TOO_LARGE", 1, None)]


def test_forbidden_is_final() -> None:
    blocked = world(PAIR, [[0, 1]], [(1.0, 0, 0)], friends=[(0, 1)], endings=[(0.5, 1, 0, True)])
    outcome = simulate(scenario(design=ONE, client=SURE, access={"policy": "friends"}), blocked)
    # up 10, receive 1, command 4, 100, relation 30, 100, reply 2, refusal 8, down 10
    assert ms(outcome.messages["told_s"][0]) == 1265.0
    assert log(outcome) == [(0, "REFUSED FORBIDDEN", -1, None)]
    assert taken(outcome) == [("REFUSED FORBIDDEN", 1, None)]


# ------------------------------------------------------------------------------------------------ resync


@pytest.mark.parametrize(
    ("client", "expected", "online_ms"),
    [
        # what he has missed is in the welcome: reply 2 + write 8
        ({**AGAIN, "resync": True}, (0, "READ_LATER", 2, 2049.0), 2049.0),
        ({"reconnect": "none", "resync": True}, (0, "STORED", -1, None), None),
        # when it was stored, at 1.165, he was connected, so nothing is kept for him: reply 2
        ({**AGAIN, "resync": False}, (0, "LOST NOT_ASKED_FOR", -1, None), 2041.0),
    ],
)
def test_what_was_published_when_its_recipients_gateway_had_died(
    client: dict[str, Any], expected: Row, online_ms: float | None
) -> None:
    outcome = run([1.0], [crash(1.3, 0.1, gateway=1)], client, design={**TWO, **SAFE})
    # stored at 1.165, published from 1.371 on; gateway 1 dies between the two, and its subscriptions with it. Ben notices
    # at 1.310, tries at 1.560: 30, handshake 3, command 4, 100, SUBSCRIBE 5, 100, reply 2, 100, read 25, 100: 2.029
    assert log(outcome) == [expected]
    assert [row[-1] for row in tries(outcome)] == ([] if online_ms is None else [online_ms])
    assert ms(outcome.messages["stored_s"][0]) == 1165.0


def test_without_resync_a_client_gets_what_was_stored_while_it_was_away() -> None:
    outcome = run([1.2], [crash(1.3, 0.1, gateway=1)], {**AGAIN, "resync": False}, design={**TWO, **SAFE})
    # stored at 1.365, when gateway 1 had died, and published from 1.571 on: Ben has it with his welcome, as above
    assert log(outcome) == [(0, "READ_LATER", 2, 2049.0)]


# ------------------------------------------------------------------------------------------------ streams

FAILOVER = [
    {"kind": "broker_down", "at_s": 0.9, "for_s": 0.7, "keeps_data": True},
    {"kind": "slow", "at_s": 0.5, "for_s": 1.65, "stations": ["gateway-1"], "factor": 51.0},
]


@pytest.mark.parametrize("delivery", ["stream", "pubsub"])
def test_a_failover_of_the_broker(delivery: str) -> None:
    outcome = run(
        [1.0, 2.0, 2.02, 2.3], FAILOVER, {}, design=TWO, gateway={"broker_retry_s": 0.5}, broker={"delivery": delivery, "stream_us": 2e3}
    )
    # The first message would be published at 1.015, to nobody. Gateways try at 1.4, in vain, and at 1.9: gateway 0 has its
    # subscription 4 + 100 + 5 later, at 2.009; the slow gateway 1 spends 51 x 4 on its command and is heard at 2.204.
    # The next two leave gateway 0 at 2.015 and 2.035; the broker takes them at 2.115, 16 + a push 32 to gateway 0 alone, and
    # then the second. Then the SUBSCRIBE of gateway 1, 5. The last one comes to the broker at 2.415, and goes to both.
    if delivery == "stream":
        # 2 more for each: 2.115 to 2.165, to 2.215; subscribed at 2.220, and both pushed in this order: 100, then
        # 2 + 8 each, down 10. The last: 2.415 + 16 + 2 + 64, 100, 10, 10
        assert log(outcome) == [
            (0, "LOST BROKER_DOWN", -1, None),
            (1, "DELIVERED", 1, 2340.0),
            (2, "DELIVERED", 1, 2350.0),
            (3, "DELIVERED", 1, 2617.0),
        ]
        assert breaks(outcome) == [(0, -1, "BROKER_DOWN", 1015.0)]
        subscribed_s = 2.220
    else:
        # 2.115 to 2.163, to 2.211; subscribed at 2.216. The last: 2.415 + 16 + 64, 100, 10, 10
        assert log(outcome) == [
            (0, "LOST BROKER_DOWN", -1, None),
            (1, "LOST CUT_OFF", -1, None),
            (2, "LOST CUT_OFF", -1, None),
            (3, "DELIVERED", 1, 2615.0),
        ]
        assert breaks(outcome) == [(0, -1, "BROKER_DOWN", 1015.0), (1, 1, "CUT_OFF", 2163.0), (2, 1, "CUT_OFF", 2211.0)]
        subscribed_s = 2.216
    since = outcome.subscriptions["time_s"] > 0
    np.testing.assert_allclose(outcome.subscriptions["time_s"][since], [0.9, 0.9, 2.009, subscribed_s])
    assert outcome.subscriptions["change"][since].tolist() == [-1, -1, 1, 1]
    assert recovery(outcome)["order_violations"] == 0


PARTED = {"kind": "partition", "at_s": 0.5, "for_s": 3.0, "stations": ["gateway-1"]}
SOON = {"broker_retry_s": 1.0, "broker_silence_s": 0.2}


@pytest.mark.parametrize("stream_max", [3, 2, 1])
def test_a_stream_keeps_so_many_messages(stream_max: int) -> None:
    outcome = run(
        [1.0, 1.2, 1.4], [PARTED], {}, design=TWO, gateway=SOON, broker={"delivery": "stream", "stream_max": stream_max, "stream_us": 2e3}
    )
    # silent since 0.5, given up at 0.7; gateway 1 tries at 1.7, 2.7 and, when it can, at 3.7: 4 + 100 + 5, subscribed at
    # 3.809. What the stream has kept is there 100 later: 2 + 8 each, down 10
    kept = [(message, "DELIVERED", 1, 3929.0 + 10.0 * place) for place, message in enumerate(range(3 - stream_max, 3))]
    gone = [(message, "LOST TRIMMED", -1, None) for message in range(3 - stream_max)]
    assert log(outcome) == gone + kept
    # too many with the message that is put in 115 + 16 + 2 + 32 after it was written
    assert breaks(outcome) == [(message, 1, "TRIMMED", 1165.0 + 200.0 * (message + stream_max)) for message, *_ in gone]


@pytest.mark.parametrize("keeps_data", [True, False])
def test_a_stream_is_lost_with_its_broker_unless_there_is_a_replica(keeps_data: bool) -> None:
    faults = [{**PARTED, "for_s": 1.3}, {"kind": "broker_down", "at_s": 1.5, "for_s": 0.1, "keeps_data": keeps_data}]
    outcome = run([1.0], faults, {}, design=TWO, gateway=SOON, broker={"delivery": "stream", "stream_us": 2e3})
    # kept for gateway 1 since 1.165; that tries at 1.7, in vain, and at 2.7: 4 + 100 + 5 + 100 + 2 + 8, down 10
    assert log(outcome) == [(0, "DELIVERED", 1, 2929.0) if keeps_data else (0, "LOST BROKER_DOWN", -1, None)]
    assert breaks(outcome) == ([] if keeps_data else [(0, 1, "BROKER_DOWN", 1500.0)])


@pytest.mark.parametrize(
    ("delivery", "for_s", "expected"),
    [
        # it passes again at 1.2: 100, 2 + 8, down 10, with a stream and without
        ("stream", 0.1, (0, "DELIVERED", 1, 1320.0)),
        ("pubsub", 0.1, (0, "DELIVERED", 1, 1320.0)),
        # given up at 1.3; tried, when it passes, at 2.3: 4 + 100 + 5, 100, 2 + 8, down 10
        ("stream", 1.0, (0, "DELIVERED", 1, 2529.0)),
        ("pubsub", 1.0, (0, "LOST CUT_OFF", -1, None)),
    ],
)
def test_what_was_pushed_into_a_partition(delivery: str, for_s: float, expected: Row) -> None:
    parted = {**PARTED, "at_s": 1.1, "for_s": for_s}
    outcome = run([1.0], [parted], {}, design=TWO, gateway=SOON, broker={"delivery": delivery, "stream_us": 2e3})
    # published at 1.115 to 1.195, or 1.197 with a stream, and stopped there
    assert log(outcome) == [expected]


# ------------------------------------------------------------------------------------------------ order


@pytest.mark.parametrize(
    ("faults", "client", "first", "violations"),
    [
        # refused at 1.115, sent again at 2.0, when the second is through
        ([NO_DATABASE], SURE, (0, "DELIVERED", 1, 2285.0), 1),
        ([], SURE, (0, "DELIVERED", 1, 1285.0), 0),
        ([NO_DATABASE], {}, (0, "REFUSED UNAVAILABLE", -1, None), 0),
    ],
)
def test_what_is_sent_again_is_overtaken(faults: list[dict[str, Any]], client: dict[str, Any], first: Row, violations: int) -> None:
    outcome = run([1.0, 1.5], faults, client, design={**ONE, "store": "before"})
    # up 10, receive 1 + command 4, 100, 50, 100, reply 2, write 8, down 10
    assert log(outcome) == [first, (1, "DELIVERED", 1, 1785.0)]
    assert recovery(outcome)["order_violations"] == violations


# ------------------------------------------------------------------------------------------------ the trio

TROUBLE = [
    crash(1.005, 0.1, gateway=0),
    {"kind": "database_down", "at_s": 2.95, "for_s": 0.55},
    crash(3.25, 0.1, gateway=1),
    crash(5.5, 0.1, gateway=1),
    {"kind": "broker_down", "at_s": 6.9, "for_s": 0.7, "keeps_data": True},
    {"kind": "drain", "at_s": 8.5, "for_s": 0.1, "grace_s": 0.2, "stations": ["gateway-1"]},
]


def in_trouble(design: dict[str, Any] | None = None, client: dict[str, Any] | None = None) -> Outcome:
    """Stored first, sent at least once, read on coming back, but for what is changed; a message each time that it matters."""
    return run(
        [1.0, 3.0, 5.0, 7.0],
        TROUBLE,
        {**SURE, **AGAIN, **(client or {})},
        design={**TWO, **SAFE, **(design or {})},
        gateway={"broker_retry_s": 0.5},
    )


# Anna, cut at 1.005, tries at 1.265: 30, 3, command 4, 100, 5, 100, 2, read 100 + 25 + 100 + 2, down 10: online 481 later.
# Ben, cut at 3.25 and 5.5, tries at 3.51 and 5.76, and is online 481 later, or 489 with a message to be read. At 8.5
# gateway 1 closes: he tries at 8.76, on gateway 0, which hears the room already: 30, 3, 100 + 25 + 100 + 10, down 10.
ANNA_S, BEN_S, LAST_S = 1.265 + 0.481, 3.51 + 0.481, 8.76 + 0.278


def test_the_three_together_lose_nothing() -> None:
    outcome = in_trouble()
    assert tries(outcome) == [
        (0, 0, 0, "ONLINE", 1265.0, ms(ANNA_S)),
        (1, 1, 0, "CUT", 3510.0, ms(BEN_S)),
        (1, 3, 0, "CUT", 5760.0, 6249.0),
        (1, 4, 0, "ONLINE", 8760.0, ms(LAST_S)),
    ]
    assert log(outcome) == [
        (0, "DELIVERED", 1, 2317.0),  # sent again at 1.746: 10, 5, 250, 6, 100, 80, 100, 10, 10
        (1, "DELIVERED", 3, 4571.0),  # refused at 3.115; sent again at 4.0: the same 571
        (2, "READ_LATER", 4, 6249.0),  # stored at 5.165, under way to gateway 1 from 5.451 to 5.551 when that dies
        (3, "READ_LATER", 5, 9038.0),  # stored at 7.165, published at 7.271, to nobody
    ]
    # 289 after it was last sent
    assert taken(outcome) == [("DELIVERED", 2, 2035.0), ("DELIVERED", 2, 4289.0), ("DELIVERED", 1, 5289.0), ("DELIVERED", 1, 7289.0)]
    assert breaks(outcome) == [(2, 1, "CRASHED", 5551.0), (3, -1, "BROKER_DOWN", 7271.0)]


def test_without_sending_again_what_a_gateway_had_before_it_was_stored_is_lost() -> None:
    outcome = in_trouble(client={"guarantee": "at_most_once"})
    # gateway 0 dies at 1.005 with the first on its way to it. The second is refused at 3.115, and its sender knows
    assert log(outcome) == [
        (0, "LOST CRASHED", -1, None),
        (1, "REFUSED UNAVAILABLE", -1, None),
        (2, "READ_LATER", 4, 6249.0),
        (3, "READ_LATER", 5, 9038.0),
    ]
    assert taken(outcome) == [("LOST CRASHED", 1, None), ("REFUSED UNAVAILABLE", 1, None), ("DELIVERED", 1, None), ("DELIVERED", 1, None)]


def test_storing_afterwards_acknowledges_what_may_never_be_stored() -> None:
    outcome = in_trouble(design={"store": "after"})
    # published 15 after it was sent, 300 later at Ben's; the store's command leaves 4 later, acknowledged 8, down 10: 37.
    # The second: acknowledged at 3.037; the database, asked at 3.119, is away; gateway 1, where it would be at 3.295, dies at 3.25
    assert log(outcome) == [
        (0, "DELIVERED", 1, 2061.0),
        (1, "LOST CRASHED", -1, None),
        (2, "DELIVERED", 3, 5315.0),
        (3, "READ_LATER", 5, 9038.0),
    ]
    assert taken(outcome) == [("DELIVERED", 2, 1783.0), ("DELIVERED", 1, 3037.0), ("DELIVERED", 1, 5037.0), ("DELIVERED", 1, 7037.0)]
    assert [ms(stored_s) for stored_s in outcome.messages["stored_s"]] == [1915.0, None, 5169.0, 7169.0]


def test_without_resync_nobody_asks_for_what_is_in_store() -> None:
    outcome = in_trouble(client={"resync": False})
    # both are in store, at 5.165 and 7.165, when Ben is connected, so nothing is kept for him
    assert log(outcome) == [
        (0, "DELIVERED", 1, 2317.0),
        (1, "DELIVERED", 3, 4571.0),
        (2, "LOST CRASHED", -1, None),
        (3, "LOST BROKER_DOWN", -1, None),
    ]
    assert [ms(stored_s) for stored_s in outcome.messages["stored_s"]] == [1911.0, 4165.0, 5165.0, 7165.0]
    assert [row[-1] for row in tries(outcome)] == [1746.0, 3991.0, 6241.0, 9030.0]


# ------------------------------------------------------------------------------------------------ laws

AT_MS = st.integers(500, 9000)


@given(
    written_ms=st.lists(AT_MS, min_size=1, max_size=8, unique=True),
    crashes_ms=st.lists(AT_MS, max_size=3),
    deduplicate=st.booleans(),
    store=st.sampled_from(["before", "beside", "after"]),
    ack_timeout_s=st.sampled_from([0.05, 0.3, 1.0]),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_what_is_acknowledged_was_taken_and_had_twice_only_if_sent_twice_or_read_too(
    written_ms: list[int], crashes_ms: list[int], deduplicate: bool, store: str, ack_timeout_s: float
) -> None:
    faults = [crash(at_ms / 1e3 + 1e-4, 0.2, gateway=at_ms % 2) for at_ms in crashes_ms]
    client = {**SURE, **AGAIN, "deduplicate": deduplicate, "ack_timeout_s": ack_timeout_s}
    outcome = run(sorted(at_ms / 1e3 for at_ms in written_ms), faults, client, design={**TWO, **SAFE, "store": store})
    messages, rows = outcome.messages, outcome.deliveries
    acked = np.isfinite(messages["acked_s"])
    assert (messages["fate"][acked] == Fate.DELIVERED).all()
    if store == "before":
        assert (messages["acked_s"][acked] > messages["stored_s"][acked]).all()
    twice = rows["fate"] == Fate.DUPLICATE
    with_welcome = (rows["time_s"] == outcome.sessions["online_s"][rows["session"]]) & (rows["session"] >= 0)
    read_too = np.isin(rows["message"], rows["message"][with_welcome])
    assert ((messages["sends"][rows["message"]] > 1) | read_too)[twice].all()
    for session in np.unique(rows["session"][rows["session"] >= 0]):
        had = rows["message"][(rows["session"] == session) & (rows["fate"] == Fate.DELIVERED)]
        assert len(had) == len(set(had.tolist()))
    if store == "before":
        assert not (rows["fate"] == Fate.LOST).any()
