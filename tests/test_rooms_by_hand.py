"""Who hears what: rooms, membership, access and intruders, on three to five people, every time worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chatsim.engine import Cause, Fate, IntrusionFate, Outcome, simulate
from tests.test_routing_by_hand import THREE, log, work
from tests.worlds import ALWAYS, scenario, world

ONE = {"routing": "in_process", "gateways": 1}
PEOPLE = [(user, *ALWAYS) for user in range(4)]


def fates(outcome: Outcome) -> list[str]:
    return [Fate(fate).name for fate in outcome.messages["fate"]]


def tries(outcome: Outcome) -> list[str]:
    return [IntrusionFate(fate).name for fate in outcome.intrusions["fate"]]


def test_in_a_personal_room_everybody_hears_who_has_written_there() -> None:
    people = world(THREE, [[0, 1], [1, 2]], [(1.0, 0, 0), (2.0, 2, 1)])
    outcome = simulate(scenario(design={**ONE, "rooms": "personal"}), people)
    # Anna writes to Ben and is in his room from then on: up 10, receive 1, write Ben 8, down 10. Cleo's message to Ben is
    # written to Ben, then to Anna.
    assert log(outcome) == [("OVERHEARD", 0, 0, 37.0), ("DELIVERED", 1, 1, 29.0), ("DELIVERED", 1, 1, 29.0)]
    assert work(outcome, "gateway-0") == {"RECEIVE": 2, "WRITE": 3}


def test_in_a_pair_room_only_the_pair_hears() -> None:
    people = world(THREE, [[0, 1], [1, 2]], [(1.0, 0, 0), (2.0, 2, 1)])
    outcome = simulate(scenario(design={**ONE, "rooms": "pair"}), people)
    assert log(outcome) == [("DELIVERED", 1, 1, 29.0), ("DELIVERED", 1, 1, 29.0)]


def test_in_a_group_room_the_whole_group_hears_what_is_meant_for_one() -> None:
    people = world(PEOPLE, [[0, 1], [0, 1, 2], [0, 1, 2, 3]], [(1.0, 0, 0)])
    outcome = simulate(scenario(design={**ONE, "rooms": "group"}), people)
    assert log(outcome) == [("DELIVERED", 1, 1, 29.0), ("OVERHEARD", 2, 2, 37.0)]


def test_without_a_shared_group_the_pair_keeps_its_room() -> None:
    people = world(PEOPLE, [[0, 1], [0, 2, 3]], [(1.0, 0, 0)])
    outcome = simulate(scenario(design={**ONE, "rooms": "group"}), people)
    assert log(outcome) == [("DELIVERED", 1, 1, 29.0)]


def test_the_server_joins_the_room_of_the_recipient_before_the_message_goes_on() -> None:
    people = world(THREE[:2], [[0, 1]], [(1.0, 0, 0), (3.0, 0, 0)])
    outcome = simulate(scenario(design={"routing": "room", "gateways": 2, "rooms": "personal"}), people)
    # up 10, receive 1 + command 4; a command 4 to subscribe, 100, 5, 100, read 2; 100, PUBLISH 16 + 2 pushes 64 (Anna's
    # gateway hears the room now), 100, read 2, write 8, down 10. The second message finds Anna in the room.
    first = 15 + 4 + 100 + 5 + 100 + 2 + 100 + 80 + 100 + 2 + 8 + 10
    assert log(outcome) == [("DELIVERED", 1, 1, float(first)), ("DELIVERED", 1, 1, 315.0)]
    assert outcome.subscriptions["change"].tolist() == [1, 1, 1]


def test_leaving_after_idling_ends_the_overhearing() -> None:
    people = world(THREE, [[0, 1], [1, 2]], [(1.0, 0, 0), (2.0, 2, 1), (4.5, 2, 1)])
    idle = {"rooms": "personal", "leave": "idle", "leave_idle_s": 3.0}
    outcome = simulate(scenario(design={**ONE, **idle}), people)
    # Anna came at 1.011 and is out at 4.011; Cleo herself stays
    heard = outcome.deliveries["message"][outcome.deliveries["fate"] == Fate.OVERHEARD]
    assert heard.tolist() == [1]


def test_who_is_in_a_room_is_asked_of_the_broker() -> None:
    people = world(THREE, [[0, 1, 2]], [(1.0, 0, 0)])
    outcome = simulate(scenario(design={"routing": "room", "gateways": 3, "membership": "broker"}), people)
    # up 10, receive 1 + command 4; command 4, 100, look-up 10 + 2, 100, read 2; 100, PUBLISH 16 + 96, 100, 2, 8, 10
    at = 15 + 4 + 100 + 12 + 100 + 2 + 100 + 112 + 100 + 20.0
    assert log(outcome) == [("DELIVERED", 1, 1, at), ("DELIVERED", 2, 2, at)]
    assert work(outcome, "broker-0") == {"PUBLISH": 1, "PUSH": 3, "MEMBERS": 1}


def test_the_set_of_a_personal_room_tells_user_channels_who_hears() -> None:
    people = world(THREE, [[0, 1], [1, 2]], [(1.0, 0, 0), (5.0, 2, 1)])
    design = {"routing": "user", "gateways": 1, "rooms": "personal", "membership": "broker"}
    outcome = simulate(scenario(design=design), people)
    # Cleo, second: up 10, receive 1 + 2 commands 8 (Ben, and Anna who has written there); 4, 100, join 6, 100, 2;
    # 4, 100, members 10 + 2, 100, 2; 100, PUBLISH and push 48 each, 100, 2, 8, 10
    until_published = 19 + 4 + 206 + 2 + 4 + 212 + 2 + 100
    assert log(outcome)[0] == ("OVERHEARD", 0, 0, until_published + 48 + 120.0)
    assert log(outcome)[2] == ("DELIVERED", 1, 1, until_published + 96 + 120.0)


@pytest.mark.parametrize("routing", ["in_process", "global", "room", "directory", "mesh", "user", "global_per_recipient"])
def test_the_first_message_of_a_pair_creates_its_room(routing: str) -> None:
    people = world(THREE, [[0, 1], [0, 2]], [(1.0, 0, 0), (3.0, 0, 0)], new_rooms=[0])
    design = {"routing": routing, "gateways": 1 if routing == "in_process" else 3}
    before = simulate(scenario(design=design), people)
    after = simulate(scenario(design={**design, "rooms_created": "first_message"}), people)
    if routing == "directory":  # Anna's gateway has to join too: look-up 1, command 4, and the PUBLISH to it, 48, first
        assert log(after) == [("DELIVERED", 1, 1, log(before)[0][3] + 53.0), log(before)[1]]
        return
    if routing != "room":
        assert log(after) == log(before)
        return
    # it goes to all three gateways, as the room's own channel does not exist yet: 16 + 3 x 32; those of Anna and Ben
    # spend a command 4 to subscribe. The second goes to these two: 16 + 64.
    first = 10 + 5 + 100 + 112 + 100 + 2 + 4 + 8 + 10.0
    assert log(after) == [("DELIVERED", 1, 1, first), ("DELIVERED", 1, 1, 315.0)]
    assert after.messages["discards"].tolist() == [1, 0]


def test_what_comes_right_after_the_first_message_finds_nobody_subscribed() -> None:
    people = world(THREE, [[0, 1]], [(1.0, 0, 0), (1.01, 0, 0)], new_rooms=[0])
    outcome = simulate(
        scenario(design={"routing": "room", "gateways": 3, "rooms_created": "first_message"}), people
    )
    assert [(row[0], row[1]) for row in log(outcome)] == [("LOST", 1), ("DELIVERED", 1)]
    assert outcome.deliveries["cause"].max() == Cause.NOT_JOINED


def test_the_members_of_a_new_room_are_written_to_the_broker() -> None:
    people = world(THREE, [[0, 1]], [(1.0, 0, 0)], new_rooms=[0])
    design = {"routing": "user", "gateways": 3, "rooms_created": "first_message", "membership": "broker"}
    outcome = simulate(scenario(design=design), people)
    # up 10, receive 1 + 4; create: 4, 100, two members 12, 100, 2; members: 4, 100, 11, 100, 2; 100, 48, 100, 2, 8, 10
    assert log(outcome) == [("DELIVERED", 1, 1, 15 + 218.0 + 217 + 268)]


def test_the_senders_other_devices_get_a_copy() -> None:
    people = world([*THREE[:2], (0, *ALWAYS)], [[0, 1]], [(1.0, 0, 0)])
    alone = simulate(scenario(design=ONE), people)
    outcome = simulate(scenario(design={**ONE, "own_devices": True}), people)
    assert log(alone) == [("DELIVERED", 1, 1, 29.0)]
    assert log(outcome) == [("COPY", 0, 2, 37.0), ("DELIVERED", 1, 1, 29.0)]


def test_user_channels_publish_once_more_for_the_senders_own_devices() -> None:
    people = world([*THREE[:2], (0, *ALWAYS)], [[0, 1]], [(1.0, 0, 0)])
    outcome = simulate(scenario(design={"routing": "user", "gateways": 1, "own_devices": True}), people)
    # up 10, receive 1 + 2 commands 8, 100, PUBLISH and push 48 for Ben, 96 for Anna, 100, read 2, write 8, down 10
    assert log(outcome) == [("COPY", 0, 2, 335.0), ("DELIVERED", 1, 1, 287.0)]


# ------------------------------------------------------------------ access

ENDED = [(2.0, 1, 0, False)]
TALK = [(1.0, 0, 0), (3.0, 0, 0), (6.0, 0, 0)]


def ended(access: dict[str, Any], endings: Any = ENDED, messages: Any = TALK, **parts: Any) -> Outcome:
    people = world(THREE[:2], [[0, 1]], messages, endings=endings, friends=[(0, 1)])
    return simulate(scenario(design=ONE, access=access, **parts), people)


def test_open_access_never_notices_that_a_tie_has_ended() -> None:
    outcome = ended({"policy": "open"})
    assert fates(outcome) == ["DELIVERED"] * 3
    assert np.isnan(outcome.endings["effective_s"]).all()


def test_the_database_knows_at_once_and_is_asked_for_every_message() -> None:
    outcome = ended({"policy": "friends", "check": "message"})
    # up 10, receive 1, command 4, 100, 30, 100, read 2, write 8, down 10
    assert log(outcome)[2] == ("DELIVERED", 1, 1, 265.0)
    assert fates(outcome) == ["DELIVERED", "REFUSED", "REFUSED"]
    assert outcome.messages["cause"].tolist() == [0, Cause.FORBIDDEN, Cause.FORBIDDEN]
    # the refusal: up 10, receive 1, command 4, 100, 30, 100, read 2, write 8, down 10
    np.testing.assert_allclose(outcome.messages["told_s"][1:], [3.265, 6.265])
    assert outcome.endings["effective_s"].tolist() == [2.0]
    assert work(outcome, "database")["RELATION"] == 3


def test_a_remembered_answer_lets_messages_pass_until_it_is_old() -> None:
    outcome = ended({"policy": "friends", "check": "message", "cache_s": 3.0})
    # asked at 1.145: trusted until 4.145
    assert fates(outcome) == ["DELIVERED", "DELIVERED", "REFUSED"]
    np.testing.assert_allclose(outcome.endings["effective_s"], [4.145])
    assert work(outcome, "database")["RELATION"] == 2


@pytest.mark.parametrize("policy", ["friends", "scopes"])
def test_rights_looked_at_on_connecting_last_as_long_as_the_session(policy: str) -> None:
    people = world([(1, *ALWAYS), (0, -1.0, 4.0), (0, 5.0, 100.0)], [[0, 1]], TALK, endings=ENDED, friends=[(0, 1)])
    outcome = simulate(scenario(design=ONE, access={"policy": policy, "check": "connect"}), people)
    assert fates(outcome) == ["DELIVERED", "DELIVERED", "REFUSED"]
    # both may not write any more, and Ben's session goes on: never effective within the run
    assert np.isnan(outcome.endings["effective_s"]).all()
    blocked = world([(1, *ALWAYS), (0, -1.0, 4.0), (0, 5.0, 100.0)], [[0, 1]], TALK, endings=[(2.0, 1, 0, True)])
    outcome = simulate(scenario(design=ONE, access={"policy": policy, "check": "connect"}), blocked)
    assert outcome.endings["effective_s"].tolist() == [4.0]


def test_a_token_keeps_old_rights_until_it_is_renewed() -> None:
    access = {"policy": "scopes", "check": "message", "token_life_s": 5.0}
    outcome = ended(access, gateway={"token_us": 7e3})
    # tokens of -1 s are renewed at 4 s: read 1, checked 7. Each message costs a check: up 10, receive 1 + 7, 8, 10.
    assert log(outcome)[1:] == [("DELIVERED", 1, 1, 36.0), ("DELIVERED", 1, 1, 36.0)]
    assert fates(outcome) == ["DELIVERED", "DELIVERED", "REFUSED"]
    # both sessions renew at 4 s, one after the other
    np.testing.assert_allclose(outcome.endings["effective_s"], [4.016])


def test_a_block_stops_one_direction_only() -> None:
    both = [(1.0, 0, 0), (3.0, 0, 0), (6.0, 1, 0)]
    access = {"policy": "friends", "check": "message"}
    assert fates(ended(access, [(2.0, 1, 0, True)], both)) == ["DELIVERED", "REFUSED", "DELIVERED"]
    assert fates(ended(access, [(2.0, 1, 0, False)], both)) == ["DELIVERED", "REFUSED", "REFUSED"]


def test_a_signature_of_rsa_takes_longer_to_check() -> None:
    costs = {"token_us": 7e3, "token_rs256_us": 20e3}
    access = {"policy": "scopes", "check": "message"}
    slow = ended({**access, "signature": "rs256"}, gateway=costs)
    assert log(slow)[0][3] - log(ended(access, gateway=costs))[0][3] == pytest.approx(13.0)


def test_loading_rights_at_login_reads_all_friends() -> None:
    people = world([(1, *ALWAYS), (0, 1.0, 100.0)], [[0, 1]], [(1.0, 0, 0)], friends=[(0, 1), (0, 2), (0, 3)])
    outcome = simulate(scenario(design=ONE, access={"policy": "friends", "check": "connect"}), people)
    # 30 + 3 + command 4 + 100 + 20 + 3 friends 3 + 100 + read 2 + down 10
    np.testing.assert_allclose(outcome.sessions["online_s"][1], 1.0 + 0.272)


# --------------------------------------------------------------- intruders


def intruded(design: dict[str, Any], access: dict[str, Any], friends: Any = ()) -> Outcome:
    """Dora tries to get at Ben at 1 s; Anna writes to Ben at 3 s."""
    people = world(PEOPLE, [[0, 1], [2, 3]], [(3.0, 0, 0)], intrusions=[(1.0, 3, 1)], friends=friends)
    return simulate(scenario(design={**ONE, **design}, access=access), people)


def test_a_client_may_not_join_a_room() -> None:
    outcome = intruded({}, {"policy": "open"})
    assert tries(outcome) == ["REFUSED"]
    assert outcome.intrusions["room"].tolist() == [0]
    # up 10, read 1, refusal written 8
    np.testing.assert_allclose(outcome.intrusions["decided_s"], [1.019])
    assert work(outcome, "gateway-0") == {"RECEIVE": 1, "WRITE": 1, "JOIN": 1, "NOTICE": 1}
    assert log(outcome) == [("DELIVERED", 1, 1, 29.0)]


def test_where_clients_join_an_intruder_overhears() -> None:
    outcome = intruded({}, {"policy": "open", "client_joins": True})
    assert tries(outcome) == ["ENTERED"]
    assert log(outcome) == [("DELIVERED", 1, 1, 29.0), ("OVERHEARD", 3, 3, 37.0)]


@pytest.mark.parametrize(
    ("policy", "friends", "fate"),
    [
        ("open", [], "ENTERED"),
        ("friends", [], "REFUSED"),
        ("friends", [(1, 3)], "ENTERED"),
        ("scopes", [(1, 3)], "REFUSED"),
    ],
)
def test_who_gets_in_depends_on_whom_one_knows_or_on_what_the_token_says(
    policy: str, friends: list[tuple[int, int]], fate: str
) -> None:
    assert tries(intruded({"rooms": "personal"}, {"policy": policy}, friends)) == [fate]
    assert tries(intruded({}, {"policy": policy, "client_joins": True}, friends)) == [fate]


def test_an_intruder_with_no_room_to_be_in() -> None:
    people = world(PEOPLE[:2], [[0, 1]], [], intrusions=[(1.0, 0, 1)])
    assert tries(simulate(scenario(design=ONE), people)) == ["NO_ROOM"]


@pytest.mark.parametrize(("routing", "membership"), [("in_process", "memory"), ("room", "broker"), ("user", "broker")])
def test_who_has_left_and_comes_back_hears_no_more(routing: str, membership: str) -> None:
    """Anna writes to Ben, leaves, and is back when Cleo writes to Ben: she is in nobody's room but her own."""
    people = world([(0, -1.0, 2.0), (1, *ALWAYS), (2, *ALWAYS), (0, 4.0, 100.0)], [[0, 1], [1, 2]], [(1.0, 0, 0), (6.0, 2, 1)])
    design = {"routing": routing, "gateways": 1, "rooms": "personal", "membership": membership}
    outcome = simulate(scenario(design=design), people)
    assert [row[:3] for row in log(outcome)] == [("DELIVERED", 1, 1), ("DELIVERED", 1, 1)]


@pytest.mark.parametrize("routing", ["directory", "room", "global", "user", "mesh"])
def test_who_created_a_room_hears_the_answer(routing: str) -> None:
    people = world([(0, *ALWAYS), (1, *ALWAYS)], [[0, 1]], [(1.0, 1, 0), (4.0, 0, 0)], new_rooms=[0])
    outcome = simulate(scenario(design={"routing": routing, "rooms_created": "first_message"}), people)
    assert outcome.deliveries["session"].tolist() == [0, 1]
    assert (outcome.deliveries["fate"] == Fate.DELIVERED).all()
