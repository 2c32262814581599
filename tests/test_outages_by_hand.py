"""The broker, one of its shards, the database, and the way to them are gone for a while; every time worked out by hand.

Times in ms (see ``worlds.scenario``): client link 10, receive 1, command 4, parse 2, write 8, close 1, handshake 3, PUBLISH 16,
push 32, SUBSCRIBE 5, registry 6, look-up 10 + 1 per user, presence key 3, history 7 and 9 to read, store 50 and 25 to read;
link to broker and database 100. Anna (0) is on gateway 0, Ben (1) on gateway 1, if there are two. Logs are in ms from the
start of the run. A gateway without its broker tries every 1000.
"""

from __future__ import annotations

from typing import Any

import pytest

from chatsim.engine import simulate
from chatsim.rules.routing import publish_node, room_channel
from tests.test_faults_by_hand import ONE, PAIR, THREE, breaks, log, messages, sessions, struck, subscriptions
from tests.test_notices_by_hand import changes
from tests.test_routing_by_hand import work
from tests.worlds import ALWAYS, scenario, world

STORED = {"store": "before", "offline": "store"}


def away(at_s: float = 2.0, for_s: float = 0.5, keeps_data: bool = True, **more: Any) -> dict[str, Any]:
    """Broker nodes are away."""
    return {"kind": "broker_down", "at_s": at_s, "for_s": for_s, "keeps_data": keeps_data, **more}


def no_database(at_s: float = 2.0, for_s: float = 1.0) -> dict[str, Any]:
    return {"kind": "database_down", "at_s": at_s, "for_s": for_s}


def parted(at_s: float = 1.05, for_s: float = 1.0, gateway: int = 1) -> dict[str, Any]:
    return {"kind": "partition", "at_s": at_s, "for_s": for_s, "stations": [f"gateway-{gateway}"]}


# --------------------------------------------------------------------------- a failover


def test_in_a_failover_messages_are_lost_until_gateways_have_subscribed_again() -> None:
    # Anna to Ben: up 10, receive 1 + command 4; at the broker 100 later; PUBLISH and two pushes 80; 100, 2, 8, down 10.
    times_s = [1.6, 1.75, 1.87, 1.95, 2.2, 2.9, 3.09, 3.1]
    outcome = simulate(scenario(faults=[away()]), world(PAIR, [[0, 1]], [(time_s, 0, 0) for time_s in times_s]))
    assert struck(outcome) == [(0, "BROKER_DOWN", 2, 2000.0, 2500.0)]
    # Both gateways try at 3000, with success: command 4, 100, 5 each, one after the other.
    assert subscriptions(outcome) == [(2000.0, -1), (2000.0, -1), (3109.0, 1), (3114.0, 1)]
    assert log(outcome) == [
        (0, "DELIVERED", 1, 1, 1915.0),
        (1, "DELIVERED", 1, 1, 2065.0),  # it had left the broker at 1945
        (2, "LOST BROKER_DOWN", 1, -1, None),  # at the broker since 1985
        (3, "LOST BROKER_DOWN", 1, -1, None),  # on its way there, to 2065
        (4, "LOST BROKER_DOWN", 1, -1, None),  # the gateway has no connection
        (5, "LOST BROKER_DOWN", 1, -1, None),  # and has not yet tried again
        (6, "LOST BROKER_DOWN", 1, -1, None),  # nor is it subscribed at 3105
        (7, "DELIVERED", 1, 1, 3415.0),
    ]
    assert breaks(outcome) == [
        (2, -1, "BROKER_DOWN", 2000.0),
        (3, -1, "BROKER_DOWN", 2065.0),
        (4, -1, "BROKER_DOWN", 2215.0),
        (5, -1, "BROKER_DOWN", 2915.0),
        (6, -1, "BROKER_DOWN", 3105.0),
    ]
    assert {fate for fate, *_ in messages(outcome)} == {"DELIVERED"}  # taken, all of them: nobody is told


def test_what_is_in_store_during_a_failover_is_read_later() -> None:
    people = world([(0, *ALWAYS), (1, -1.0, 4.0), (1, 5.0, 20.0)], [[0, 1]], [(2.2, 0, 0)])
    outcome = simulate(scenario(design=STORED, faults=[away()]), people)
    # up 10, receive 1 + command 4, 100, stored 50, 100, reply 2 + command 4: 2471, and there is no broker
    assert messages(outcome, "stored_s", "routed_s", "done_s") == [("DELIVERED", 2365.0, 2471.0, 2471.0)]
    assert breaks(outcome) == [(0, -1, "BROKER_DOWN", 2471.0)]
    # Ben's next login, on gateway 0, which has subscribed for Anna: 30, 3; 100, read 25, 100, 2 + 8, 10
    assert log(outcome) == [(0, "READ_LATER", 1, 2, 5278.0)]


def test_a_session_is_taken_without_the_broker_and_hears_when_its_gateway_is_whole() -> None:
    people = world([(0, *ALWAYS), (1, 2.1, 100.0)], [[0, 1]], [(2.6, 0, 0), (4.0, 0, 0)])
    outcome = simulate(scenario(faults=[away()]), people)
    # 30, 3, command 4 that comes to nothing, 10
    assert outcome.sessions["online_s"][1] == pytest.approx(2.147)
    # the room is what gateway 1 wants by 3000; until then only gateway 0 had it
    assert subscriptions(outcome) == [(2000.0, -1), (3109.0, 1), (3114.0, 1)]
    assert log(outcome) == [(0, "LOST BROKER_DOWN", 1, -1, None), (1, "DELIVERED", 1, 1, 4315.0)]


def test_a_login_that_must_read_from_the_broker_fails_without_it() -> None:
    people = world([(0, *ALWAYS), (1, 2.1, 100.0)], [[0, 1]], [(1.0, 0, 0)])
    outcome = simulate(scenario(design={**STORED, "store_in": "broker"}, faults=[away()]), people)
    # 30, 3, command 4: what Ben has missed cannot be read. The gateway closes, and he knows 10 later
    assert sessions(outcome)[1] == (1, 1, "FAILED", 2147.0, 2137.0)
    assert log(outcome) == [(0, "STORED", 1, -1, None)]
    assert work(outcome, "gateway-1")["CLOSE"] == 1


@pytest.mark.parametrize("at_s", [2.0, 2.15])
def test_a_login_without_the_broker_reads_what_is_in_the_database(at_s: float) -> None:
    people = world([(0, *ALWAYS), (1, 2.1, 100.0)], [[0, 1]], [(1.0, 0, 0)])
    outcome = simulate(scenario(design=STORED, gateway={"broker_retry_s": 5.0}, faults=[away(at_s)]), people)
    # 2100 + 30 + 3 + 4: no connection to the broker at 2137, or no broker any more when the SUBSCRIBE is there, at 2237; then 100,
    # read 25, 100, reply 2 + 8, 10
    asked = 2137.0 if at_s == 2.0 else 2237.0
    assert log(outcome) == [(0, "READ_LATER", 1, 1, asked + 245.0)]


# --------------------------------------------------------------------------- what was in the broker is lost


@pytest.mark.parametrize("keeps_data", [True, False])
def test_the_registry_is_lost_until_gateways_write_it_again(keeps_data: bool) -> None:
    people = world(PAIR, [[0, 1]], [(3.0, 0, 0), (3.1, 0, 0), (3.3, 0, 0)])
    outcome = simulate(scenario(design={"routing": "directory"}, faults=[away(keeps_data=keeps_data)]), people)
    # Gateway 0 subscribes to its channel 3000 to 3004, 3104, 3109; reads the reply 3209 to 3211; writes the registry with a
    # command 4, at 3315 to 3321. Gateway 1: 3114, 3214 to 3216, command 4, 3320 to 3327.
    assert subscriptions(outcome) == [(2000.0, -1), (2000.0, -1), (3109.0, 1), (3114.0, 1)]
    assert work(outcome, "broker-0")["UPDATE"] == 2
    # The first, read 3010 to 3015, cannot be looked up, and its sender is told 10 later. The second is, 3215 to 3226.
    assert messages(outcome, "told_s", "routed_s")[0] == ("REFUSED UNAVAILABLE", 3025.0, None)
    if keeps_data:
        # 3326, reply 2 + command 4, 100, PUBLISH and push 48, 100, 2, 8, 10
        assert log(outcome)[1] == (1, "DELIVERED", 1, 1, 3600.0)
        assert breaks(outcome) == []
    else:
        # nobody is said to hold Ben, whom gateway 1 holds
        assert log(outcome)[1] == (1, "LOST CUT_OFF", 1, -1, None)
        assert breaks(outcome) == [(1, 1, "CUT_OFF", 3226.0)]
        assert messages(outcome, "routed_s")[1] == ("DELIVERED", 3328.0)
    # The third: 3415 to 3426, 3526, 2 + 4, 3632, 48, 3780, 2, 8, 10
    assert log(outcome)[0] == (0, "REFUSED UNAVAILABLE", 1, -1, None)
    assert log(outcome)[2] == (2, "DELIVERED", 1, 1, 3800.0)


@pytest.mark.parametrize("keeps_data", [True, False])
def test_presence_keys_are_gone_until_they_are_refreshed(keeps_data: bool) -> None:
    presence = {"show_to": "rooms", "refresh_s": 3.0, "key_life_s": 20.0}
    outcome = simulate(
        scenario(design={"gateways": 1}, presence=presence, faults=[away(keeps_data=keeps_data)]), world(PAIR, [[0, 1]], [])
    )
    gone = [] if keeps_data else [(0, -1, 2000.0, 0), (1, -1, 2000.0, 0)]
    # Refreshed at 3000: two commands, 3004 and 3008, that come to nothing, since the gateway subscribes 3112 to 3117. Each 3000
    # after its last command: Anna's at 6004 to 6008, Ben's at 6008 to 6012; 100, 3. The other one is told of it.
    shown = [] if keeps_data else [(0, 1, 6111.0, 1), (1, 1, 6115.0, 1)]
    assert changes(outcome)[2:] == gone + shown
    assert subscriptions(outcome) == [(2000.0, -1), (3117.0, 1)]


def test_who_has_come_meanwhile_is_shown_when_the_gateway_is_whole() -> None:
    people = world([*PAIR, (2, 2.1, 100.0)], [[0, 1, 2]], [])
    outcome = simulate(scenario(design={"gateways": 1}, presence={"show_to": "rooms"}, faults=[away()]), people)
    # command 3000 to 3004, 3104, 5, 3209, reply 2, command 4, 3315, key 3; Anna and Ben are told
    assert changes(outcome)[2:] == [(2, 1, 3318.0, 2)]
    assert outcome.sessions["online_s"][2] == pytest.approx(2.147)


@pytest.mark.parametrize("keeps_data", [True, False])
def test_a_history_in_the_broker_is_lost_with_it(keeps_data: bool) -> None:
    people = world([(0, *ALWAYS), (1, 5.0, 20.0)], [[0, 1]], [(1.0, 0, 0)])
    outcome = simulate(
        scenario(design={**STORED, "store_in": "broker"}, faults=[away(keeps_data=keeps_data)]), people
    )
    # stored at 1010 + 5 + 100 + 7. The login: 30, 3, command 4, 100, SUBSCRIBE 5, 100, reply 2, 100, read 9, 100, reply 2, and
    # for each message 8; 10
    assert messages(outcome, "stored_s") == [("DELIVERED", 1122.0)]
    assert log(outcome) == [(0, "READ_LATER", 1, 1, 5473.0) if keeps_data else (0, "LOST BROKER_DOWN", 1, -1, None)]
    assert outcome.sessions["online_s"][1] == pytest.approx(5.473 if keeps_data else 5.465)


# --------------------------------------------------------------------------- one shard of several


def test_what_lives_on_another_shard_goes_on() -> None:
    homes = [publish_node(room_channel(room), 2, 7) for room in (0, 1)]
    assert homes[0] != homes[1]
    people = world(THREE, [[0, 1], [0, 2]], [(1.0, 0, 0), (2.0, 0, 1), (5.0, 0, 0)])
    fault = away(0.5, 3.0, keeps_data=False, stations=[f"broker-{homes[0]}"])
    outcome = simulate(
        scenario(design={"gateways": 3}, broker={"topology": "sharded", "nodes": 7}, faults=[fault]), people
    )
    # The first room's node is away from 500 to 3500: each gateway tries at 1500, 2500 and, with success, at 3500, gateway 2
    # for nothing but the connection. 10 + 5 + 100 + 80 + 100 + 2 + 8 + 10 for a message.
    assert struck(outcome) == [(0, "BROKER_DOWN", 3 + homes[0], 500.0, 3500.0)]
    assert subscriptions(outcome) == [(500.0, -1), (500.0, -1), (3609.0, 1), (3614.0, 1)]
    assert log(outcome) == [
        (0, "LOST BROKER_DOWN", 1, -1, None),
        (1, "DELIVERED", 2, 2, 2315.0),
        (2, "DELIVERED", 1, 1, 5315.0),
    ]
    assert breaks(outcome) == [(0, -1, "BROKER_DOWN", 1015.0)]


# --------------------------------------------------------------------------- the database

# Written, up 10, receive 1 + command 4, 100, stored 50, 100, reply 2, write 8, down 10.


def test_a_message_that_cannot_be_stored_is_refused_and_its_sender_told() -> None:
    times_s = [1.0, 1.8, 1.88, 1.95, 2.5, 2.9]
    people = world(PAIR, [[0, 1]], [(time_s, 0, 0) for time_s in times_s])
    outcome = simulate(scenario(design={**ONE, "store": "before"}, faults=[no_database()]), people)
    assert struck(outcome) == [(0, "DATABASE_DOWN", 1, 2000.0, 3000.0)]
    assert messages(outcome, "stored_s", "told_s") == [
        ("DELIVERED", 1165.0, None),
        ("DELIVERED", 1965.0, None),  # the reply had left
        ("REFUSED UNAVAILABLE", None, 2010.0),  # being stored since 1995; the gateway says so, down 10
        ("REFUSED UNAVAILABLE", None, 2075.0),  # on its way, to 2065
        ("REFUSED UNAVAILABLE", None, 2625.0),  # there at 2615
        ("DELIVERED", 3065.0, None),  # there at 3015, when the database is back
    ]
    assert [(row[1], row[4]) for row in log(outcome)] == [
        ("DELIVERED", 1285.0),
        ("DELIVERED", 2085.0),
        *[("REFUSED UNAVAILABLE", None)] * 3,
        ("DELIVERED", 3185.0),
    ]
    assert work(outcome, "gateway-0")["REFUSAL"] == 3
    assert breaks(outcome) == []


@pytest.mark.parametrize(("store", "came"), [("beside", 2533.0), ("after", 2529.0)])
def test_a_message_that_does_not_wait_for_the_store_comes_and_is_not_kept(store: str, came: float) -> None:
    people = world(THREE[:2], [[0, 1, 2]], [(2.5, 0, 0)])
    outcome = simulate(scenario(design={**ONE, "store": store, "offline": "store"}, faults=[no_database()]), people)
    # beside: the command of 4 comes before routing, 2515 + 100; after: behind the write, 2519 + 4 + 100. Cleo, who is not there,
    # will never read it
    assert messages(outcome, "stored_s", "done_s", "told_s") == [("DELIVERED", None, 2615.0 if store == "beside" else 2623.0, None)]
    assert log(outcome) == [(0, "DELIVERED", 1, 1, came), (0, "LOST OFFLINE", 2, -1, None)]


def test_two_outages_of_the_database_that_overlap_are_one() -> None:
    people = world(PAIR, [[0, 1]], [(2.9, 0, 0), (3.4, 0, 0)])
    faults = [no_database(2.0, 1.0), no_database(2.5, 1.0)]
    outcome = simulate(scenario(design={**ONE, "store": "before"}, faults=faults), people)
    # there at 3015 and 3515
    assert messages(outcome, "stored_s", "told_s") == [("REFUSED UNAVAILABLE", None, 3025.0), ("DELIVERED", 3565.0, None)]
    assert [row[2:] for row in struck(outcome)] == [(1, 2000.0, 3000.0), (1, 2500.0, 3500.0)]


def test_a_login_that_must_read_from_the_database_fails_until_it_is_back() -> None:
    people = world([(0, *ALWAYS), (1, 2.5, 100.0)], [[0, 1]], [])
    client = {"reconnect": "fixed", "reconnect_s": 0.2}
    outcome = simulate(scenario(design={**ONE, **STORED}, client=client, faults=[no_database()]), people)
    # 30, 3, 100: nothing to read from; closed, 10. Again 200 later, at 2843: 133, still in vain; at 3186: 133, 25, 100, 2, 10
    assert sessions(outcome)[1:] == [
        (1, 0, "FAILED", 2643.0, 2633.0),
        (1, 0, "FAILED", 2986.0, 2976.0),
        (1, 0, "ONLINE", None, None),
    ]
    assert outcome.sessions["online_s"][3] == pytest.approx(3.456)
    assert outcome.sessions["origin"].tolist() == [-1, -1, 1, 2]
    assert outcome.sessions["attempt"].tolist() == [0, 0, 0, 1]


# --------------------------------------------------------------------------- a partition


def test_what_waits_for_a_short_partition_to_end_comes_late() -> None:
    people = world(PAIR, [[0, 1]], [(0.8, 0, 0), (1.0, 0, 0), (1.2, 1, 0)])
    outcome = simulate(scenario(faults=[parted()]), people)
    # The first push left the broker at 995, before 1050. The second would leave at 1195, and leaves at 2050: 100, 2, 8, 10.
    # Ben's PUBLISH waits from 1215 to 2050: 100, 80, 100, 2, 8, 10.
    assert log(outcome) == [
        (0, "DELIVERED", 1, 1, 1115.0),
        (1, "DELIVERED", 1, 1, 2170.0),
        (2, "DELIVERED", 0, 0, 2350.0),
    ]
    assert struck(outcome) == [(0, "PARTITION", 1, 1050.0, 2050.0)]
    assert breaks(outcome) == []
    assert subscriptions(outcome) == []


def test_a_long_partition_breaks_the_connection_and_loses_what_waits() -> None:
    talk = [(1.0, 0, 0), (1.2, 1, 0), (1.7, 0, 0), (2.0, 1, 0), (3.2, 0, 0), (3.3, 1, 0), (3.6, 0, 0), (3.7, 1, 0)]
    outcome = simulate(
        scenario(gateway={"broker_silence_s": 0.5}, faults=[parted(for_s=2.0)]), world(PAIR, [[0, 1]], talk)
    )
    # Broken at 1550. Gateway 1 tries at 2550, in vain, and at 3550, when the partition is over since 3050: command 4, 100, 5.
    assert subscriptions(outcome) == [(1550.0, -1), (3659.0, 1)]
    assert [row[1] for row in log(outcome)] == ["LOST CUT_OFF"] * 6 + ["DELIVERED"] * 2
    assert [row[4] for row in log(outcome)][6:] == [3915.0, 4015.0]
    assert breaks(outcome) == [
        (0, 1, "CUT_OFF", 1550.0),  # the push, which has waited since 1195
        (1, -1, "CUT_OFF", 1550.0),  # the PUBLISH, since 1215
        (2, 1, "CUT_OFF", 1863.0),  # at the broker at 1815: 16 + one push 32
        (3, -1, "CUT_OFF", 2015.0),  # gateway 1 knows that it has no connection
        (5, -1, "CUT_OFF", 3315.0),  # not subscribed yet, though it could be
        (4, 1, "CUT_OFF", 3363.0),
    ]


def test_partitions_that_overlap_are_one() -> None:
    faults = [parted(1.05, 1.0), parted(1.5, 1.5)]
    outcome = simulate(scenario(faults=faults), world(PAIR, [[0, 1]], [(1.0, 0, 0)]))
    # held from 1195 to 3000: 100, 2, 8, 10
    assert log(outcome) == [(0, "DELIVERED", 1, 1, 3120.0)]


def test_a_gateway_that_is_cut_off_does_not_hear_other_gateways() -> None:
    outcome = simulate(
        scenario(design={"routing": "mesh"}, faults=[parted()]), world(PAIR, [[0, 1]], [(0.95, 0, 0), (1.2, 0, 0)])
    )
    # the first has left at 965; the second, read at 1215, leaves at 2050: 100, 2, 8, 10
    assert [row[4] for row in log(outcome)] == [1085.0, 2170.0]


@pytest.mark.parametrize("at_s", [1.3, 2.5])
def test_what_waits_for_a_gateway_that_dies_meanwhile_is_lost(at_s: float) -> None:
    fault = {"kind": "gateway_crash", "at_s": at_s, "for_s": 0.2, "stations": ["gateway-1"]}
    outcome = simulate(scenario(faults=[parted(for_s=2.0), fault]), world(PAIR, [[0, 1]], [(1.0, 0, 0)]))
    # the push waits from 1195 on; at 3050 it finds another gateway than the one that it was for, though that is up
    assert log(outcome) == [(0, "LOST CRASHED", 1, -1, None)]
    assert breaks(outcome) == [(0, 1, "CRASHED", 3050.0)]
