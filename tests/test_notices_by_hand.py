"""Friend lists, presence, pushes, receipts and devices, on three to five people, every time worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chatsim.engine import Fate, Outcome, PushFate, simulate
from tests.test_routing_by_hand import THREE, log, work
from tests.worlds import ALWAYS, scenario, world

ONE = {"routing": "in_process", "gateways": 1}
STORED = {"store": "before", "offline": "store"}


def changes(outcome: Outcome) -> list[tuple[int, int, float, int]]:
    """(user, change, time in ms, notices) of what was shown, from 0 s on."""
    table = outcome.presence
    rows = zip(table["user"], table["change"], table["time_s"], table["notices"], strict=True)
    return [(int(user), int(change), round(float(time) * 1e3, 6), int(notices)) for user, change, time, notices in rows]


# ---------------------------------------------------------------- presence


def test_presence_is_a_key_that_is_written_at_login_and_deleted_at_the_end() -> None:
    people = world([(0, *ALWAYS), (1, 2.0, 5.0)], [[0, 1]], [])
    parts = {"design": {"routing": "room", "gateways": 1}, "presence": {"show_to": "rooms"}}
    outcome = simulate(scenario(**parts), people)
    # the gateway hears the room already, for Anna. Ben's key: 30 + 3, command 4, 100, 3; at the end: 10, close 1, 100, 3
    assert changes(outcome) == [(0, 1, 0.0, 0), (1, 1, 2140.0, 1), (1, -1, 5114.0, 1)]
    # the gateway then spends a command 4, 100, PUBLISH 16 + push 32, 100, read 2, write 8, down 10
    np.testing.assert_allclose(outcome.presence["told_last_s"][1:], [2.412, 5.386])
    assert work(outcome, "broker-0") == {"PRESENCE": 2, "NOTICE_PUBLISH": 2, "NOTICE_PUSH": 2}


def test_a_session_that_vanishes_is_shown_until_its_key_expires() -> None:
    people = world([(0, *ALWAYS), (1, -1.0, 5.0)], [[0, 1]], [], duration_s=200.0)
    network = {"silent_share": 1.0, "notice_s": 100.0}
    presence = {"show_to": "all", "key_life_s": 20.0, "refresh_s": 3.0}
    outcome = simulate(
        scenario(design={"routing": "room", "gateways": 1}, presence=presence, network=network), people
    )
    # refreshed at 3 s: command 4, 100, 3: written at 3.107, Anna's and Ben's one after the other
    gone = [row for row in changes(outcome) if row[1] == -1]
    assert gone == [(1, -1, gone[0][2], 1)]
    assert 23.107 <= gone[0][2] / 1e3 <= 23.115


def test_a_key_without_a_lifetime_stays_until_the_gateway_notices() -> None:
    people = world([(0, *ALWAYS), (1, -1.0, 5.0)], [[0, 1]], [], duration_s=200.0)
    presence = {"show_to": "all", "key_life_s": 0.0, "refresh_s": 3.0}
    design = {"routing": "room", "gateways": 1}

    def gone(notice_s: float) -> list[tuple[int, int, float, int]]:
        network = {"silent_share": 1.0, "notice_s": notice_s}
        outcome = simulate(scenario(design=design, presence=presence, network=network), people)
        return [row for row in changes(outcome) if row[1] == -1]

    # noticed 100 s later, close 1, 100, key 3 (if no refresh of Anna's is just being done)
    assert [row[:2] for row in gone(100.0)] == [(1, -1)]
    assert 105.104 <= gone(100.0)[0][2] / 1e3 <= 105.12
    assert gone(0.0) == []


@pytest.mark.parametrize(
    ("show_to", "told"), [("rooms", {0}), ("friends", {2}), ("list", {2}), ("all", {0, 2, 3})]
)
@pytest.mark.parametrize("routing", ["in_process", "global", "user", "room", "directory", "mesh", "global_per_recipient"])
def test_who_is_told_does_not_depend_on_the_routing(show_to: str, told: set[int], routing: str) -> None:
    people = world(
        [(0, *ALWAYS), (2, *ALWAYS), (3, *ALWAYS), (1, 2.0, 5.0)],
        [[0, 1], [2, 3]],
        [],
        friends=[(1, 2)],
        contacts={2: [1, 3], 3: [2]},
    )
    parts: dict[str, Any] = {
        "design": {"routing": routing, "gateways": 1 if routing == "in_process" else 2},
        "presence": {"show_to": show_to},
        "friend_list": {"policy": "recent", "limit": 1},
    }
    outcome = simulate(scenario(**parts), people)
    assert [(row[:2], row[3]) for row in changes(outcome) if row[2] > 0] == [((1, 1), len(told)), ((1, -1), len(told))]


def test_presence_may_be_asked_for_when_a_conversation_opens() -> None:
    talk = [(1.0, 0, 0), (1.5, 0, 0), (6.0, 0, 0)]
    people = world([(0, *ALWAYS), (1, -1.0, 2.0)], [[0, 1]], talk, contacts={0: [1], 1: [0]})
    parts: dict[str, Any] = {
        "design": {"routing": "user", "gateways": 1},
        "presence": {"show_to": "list", "how": "pull"},
        "friend_list": {"policy": "recent", "limit": 5, "opening_gap_s": 3.0},
    }
    outcome = simulate(scenario(**parts), people)
    table = outcome.pulls
    assert list(zip(table["user"].tolist(), table["shown"].tolist(), table["online"].tolist(), strict=True)) == [
        (1, True, True),
        (1, False, False),
    ]
    # up 10, the message first: receive 1 + 2 commands 8, then read 1 + command 4, 100; at the broker the message's PUBLISH
    # and push 48 and the lists' writes 12 come first, then the look-up 11
    np.testing.assert_allclose(table["time_s"][0], 1.0 + 0.010 + 0.009 + 0.100 + 0.048 + 0.012 + 0.011)
    assert work(outcome, "gateway-0")["ASKED"] == 2


# ------------------------------------------------------------ friend lists


def lists(policy: str, limit: int, **more: Any) -> dict[str, Any]:
    return {"policy": policy, "limit": limit, "opening_gap_s": 3.0, **more}


def test_loading_a_list_delays_the_welcome() -> None:
    people = world([(0, 1.0, 9.0)], [[0, 1]], [], contacts={0: [1, 2, 3]})
    outcome = simulate(scenario(design={"routing": "room", "gateways": 1}, friend_list=lists("recent", 2)), people)
    # 30 + 3, two commands 8, 100, list 12 + 2, 100, read 2 and 2 friends 1; the state of 2, 12, comes 12 later, read 2;
    # a command 4 to subscribe, 100, 5, 100, read 2, down 10
    at = 30 + 3 + 8 + 100 + 14 + 12 + 100 + 2 + 4 + 100 + 5 + 100 + 2 + 10
    np.testing.assert_allclose(outcome.sessions["online_s"][0], 1.0 + at / 1e3)
    assert outcome.sessions["listed"].tolist() == [2]
    assert work(outcome, "broker-0") == {"SUBSCRIBE": 2, "LIST": 1, "STATE": 1}


def test_loading_all_friends_reads_the_database() -> None:
    people = world([(0, 1.0, 9.0)], [[0, 1]], [], friends=[(0, 1), (0, 2), (0, 3)])
    outcome = simulate(scenario(design=ONE, friend_list=lists("all", 1)), people)
    # 30 + 3, command 4, 100, 20 + 3, 100, read 2 and 3 friends 1.5, down 10
    np.testing.assert_allclose(outcome.sessions["online_s"][0], 1.0 + 0.2735)
    assert outcome.sessions["listed"].tolist() == [3]


def opened(**more: Any) -> Outcome:
    """Anna knows Ben, then Cleo; a list of one shows Ben; she opens with Cleo, twice, and Cleo answers."""
    people = world(THREE, [[0, 1], [0, 2]], [(1.0, 0, 1), (1.5, 2, 1), (2.0, 0, 1)], contacts={0: [1, 2], 1: [0], 2: [0]})
    return simulate(scenario(design=ONE, friend_list=lists("recent", 1, kept="login", **more)), people)


def test_who_is_not_listed_is_searched_for() -> None:
    outcome = opened(search_share=1.0, other_share=0.0)
    # the search: up 10, read 1 + command 4, 100, 40, 100, read 2 + write 8, down 10; then the message as always
    assert outcome.messages["listed_rank"].tolist() == [2, 1, 2]
    np.testing.assert_allclose(outcome.messages["time_s"], [1.275, 1.5, 2.0])
    assert [row[:3] for row in log(outcome)] == [("DELIVERED", 0, 0), ("DELIVERED", 2, 2), ("DELIVERED", 2, 2)]
    assert log(outcome)[1][3] == 29.0
    assert work(outcome, "database") == {"SEARCH": 1}


def test_who_gives_up_abandons_the_conversation_and_nobody_answers() -> None:
    outcome = opened(search_share=0.0, other_share=0.0)
    assert log(outcome) == [("ABANDONED", 0, -1, None), ("ABANDONED", 2, -1, None), ("ABANDONED", 2, -1, None)]
    assert work(outcome, "gateway-0") == {}


def test_who_turns_to_somebody_listed_writes_there() -> None:
    outcome = opened(search_share=0.0, other_share=1.0)
    assert log(outcome) == [("ABANDONED", 0, -1, None), ("DELIVERED", 1, 1, 29.0), ("DELIVERED", 1, 1, 29.0)]
    assert outcome.messages["room"].tolist() == [0, 1, 0]


def test_a_live_list_moves_with_each_chat() -> None:
    people = world(
        THREE, [[0, 1], [0, 2]], [(1.0, 2, 1), (5.0, 0, 1)], contacts={0: [1, 2], 1: [0], 2: [0]}
    )
    ranks = {
        kept: simulate(scenario(design=ONE, friend_list=lists("recent", 1, kept=kept)), people).messages["listed_rank"]
        for kept in ("login", "live")
    }
    # Cleo, who has only Anna, then Anna, whose list has Cleo second at login and first after her message
    assert ranks["login"].tolist() == [1, 2]
    assert ranks["live"].tolist() == [1, 1]


def test_a_chat_is_written_to_both_lists() -> None:
    people = world(THREE[:2], [[0, 1]], [(1.0, 0, 0)], contacts={0: [1], 1: [0]})
    plain = {"design": {"routing": "user", "gateways": 2}}
    outcome = simulate(scenario(**plain, friend_list=lists("recent", 1)), people)
    assert work(outcome, "broker-0") == {"PUBLISH": 1, "PUSH": 1, "UPDATE": 2}
    # one command more to write before the message goes on: 4
    assert log(outcome)[0][3] == log(simulate(scenario(**plain), people))[0][3] + 4.0


# ------------------------------------------------------------------ pushes

PUSH: dict[str, Any] = {
    "after_min": 0.1,
    "latency_s_median": 2.0,
    "latency_sigma": 0.0,
    "return_share": 1.0,
    "return_s_median": 3.0,
    "return_sigma": 0.0,
    "session_s": 20.0,
}
NOTIFIES = {"design": {**ONE, "store": "before", "offline": "push"}}


def pushes(outcome: Outcome) -> list[tuple[int, int, str]]:
    table = outcome.pushes
    return [
        (int(user), int(message), PushFate(fate).name)
        for user, message, fate in zip(table["user"], table["message"], table["fate"], strict=True)
    ]


def test_a_push_brings_a_user_back_who_then_reads() -> None:
    people = world([(0, *ALWAYS)], [[0, 1]], [(1.0, 0, 0), (2.0, 0, 0)], duration_s=60.0)
    outcome = simulate(scenario(**NOTIFIES, push=PUSH), people)
    # up 10, receive 1 + command 4, 100, stored 50 at 1.165; due 6 s later, command 4; 2 s to the device, 3 s to the session
    assert pushes(outcome) == [(1, 0, "BROUGHT_BACK")]
    np.testing.assert_allclose(outcome.pushes["due_s"], [7.165])
    np.testing.assert_allclose(outcome.pushes["sent_s"], [7.169])
    np.testing.assert_allclose(outcome.pushes["arrived_s"], [9.169])
    assert outcome.sessions["start_s"].tolist()[1:] == [pytest.approx(12.169)]
    # the login: 30 + 3, 100, read 25, 100, 2 + 2 x 8, 10
    assert [row[:3] for row in log(outcome)] == [("READ_LATER", 1, 1)] * 2
    np.testing.assert_allclose(outcome.deliveries["time_s"], 12.455)
    assert outcome.sessions["unread"].tolist() == [0, 2]
    assert outcome.sessions["left_s"][1] == pytest.approx(32.169)


def test_no_push_where_a_session_starts_first() -> None:
    people = world([(0, *ALWAYS), (1, 4.0, 5.0)], [[0, 1]], [(1.0, 0, 0)], duration_s=60.0)
    assert pushes(simulate(scenario(**NOTIFIES, push=PUSH), people)) == []


def test_a_push_is_wasted_on_somebody_who_is_back_already() -> None:
    people = world([(0, *ALWAYS), (1, 8.0, 50.0)], [[0, 1]], [(1.0, 0, 0)], duration_s=60.0)
    assert pushes(simulate(scenario(**NOTIFIES, push=PUSH), people)) == [(1, 0, "WASTED")]


def test_a_push_may_be_ignored() -> None:
    people = world([(0, *ALWAYS)], [[0, 1]], [(1.0, 0, 0)], duration_s=60.0)
    outcome = simulate(scenario(**NOTIFIES, push={**PUSH, "return_share": 0.0}), people)
    assert pushes(outcome) == [(1, 0, "IGNORED")]
    assert log(outcome) == [("STORED", 1, -1, None)]


def test_a_full_quota_refuses_pushes_until_the_next_minute() -> None:
    people = world([(0, *ALWAYS)], [[0, 1], [0, 2]], [(1.0, 0, 0), (1.1, 0, 1)], duration_s=120.0)
    outcome = simulate(scenario(**NOTIFIES, push={**PUSH, "quota_per_min": 1, "return_share": 0.0}), people)
    # the second: refused at 7.2 s, tried again after 1, 2, 4, 8, 16, 32 s: 38.2 is still the first minute, 70.2 is not
    assert outcome.pushes["tries"].tolist() == [1, 7]
    assert outcome.pushes["sent_s"][1] == pytest.approx(70.3, abs=0.1)


# ---------------------------------------------------- receipts, devices, history


@pytest.mark.parametrize("routing", ["in_process", "mesh", "global", "user", "room", "directory", "global_per_recipient"])
def test_the_sender_learns_that_a_message_has_come(routing: str) -> None:
    people = world([*THREE[:2], (1, *ALWAYS)], [[0, 1]], [(1.0, 0, 0)])
    design = {"routing": routing, "gateways": 1 if routing == "in_process" else 2, "receipts": True}
    outcome = simulate(scenario(design=design), people)
    assert np.isfinite(outcome.deliveries["receipt_s"]).all()
    assert (outcome.deliveries["receipt_s"] > outcome.deliveries["time_s"]).all()
    if routing == "in_process":
        # Ben's first session has it at 1.029; up 10, read 1 (after Ben's second was written to, 1.027), then the sender and
        # Ben's other session, 8 each, down 10
        assert outcome.deliveries["receipt_s"][0] == pytest.approx(1.029 + 0.010 + 0.001 + 0.016 + 0.010)
        assert work(outcome, "gateway-0") == {"RECEIVE": 1, "WRITE": 2, "NOTICE": 4, "RECEIPT": 2}


def test_a_returning_session_goes_back_to_its_gateway() -> None:
    people = world([(0, -1.0, 1.0), (1, *ALWAYS), (2, *ALWAYS), (0, 3.0, 9.0)], [[0, 1]], [])
    placed = {
        placement: simulate(scenario(design={"gateways": 3, "placement": placement}), people).sessions["gateway"][3]
        for placement in ("round_robin", "returning")
    }
    assert placed == {"round_robin": 0, "returning": 0}
    more = world([(0, -1.0, 1.0), (1, *ALWAYS), (0, 3.0, 9.0)], [[0, 1]], [])
    placed = {
        placement: simulate(scenario(design={"gateways": 3, "placement": placement}), more).sessions["gateway"][2]
        for placement in ("round_robin", "returning")
    }
    assert placed == {"round_robin": 2, "returning": 0}


def test_a_short_history_forgets_what_was_not_read() -> None:
    people = world([(0, *ALWAYS), (1, 8.0, 20.0)], [[0, 1]], [(1.0, 0, 0), (2.0, 0, 0), (3.0, 0, 0)], duration_s=15.0)
    design = {"routing": "user", "gateways": 1, "store": "before", "store_in": "broker", "offline": "store"}
    kept = simulate(scenario(design=design), people)
    short = simulate(scenario(design=design, broker={"history_max": 2}), people)
    assert [row[0] for row in log(kept)] == ["READ_LATER"] * 3
    assert sorted(row[0] for row in log(short)) == ["LOST", "READ_LATER", "READ_LATER"]
    lost = short.deliveries["fate"] == Fate.LOST
    assert short.deliveries["message"][lost].tolist() == [0]


def test_a_session_in_between_does_not_swallow_the_next_push() -> None:
    people = world([(0, *ALWAYS), (1, 10.0, 20.0)], [[0, 1]], [(1.0, 0, 0), (30.0, 0, 0)], duration_s=200.0)
    outcome = simulate(scenario(**NOTIFIES, push={**PUSH, "after_min": 1.0, "return_share": 0.0}), people)
    # the first message is read at 10 s; the second is in store at 30.165 and due a minute later
    assert pushes(outcome) == [(1, 1, "IGNORED")]
    np.testing.assert_allclose(outcome.pushes["due_s"], [90.165])
