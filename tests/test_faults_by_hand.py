"""Gateways that die, are drained, come back, and come and go with the load; every time worked out by hand.

Times in ms (see ``worlds.scenario``): client link 10, receive 1, command 4, parse 2, write 8, close 1, handshake 3, PUBLISH 16,
push 32, SUBSCRIBE 5, look-up 10 + 1 per user, store 50; link to broker, database and other gateways 100. Round robin puts
Anna (0), Ben (1), Cleo (2), Dora (3) on gateways in turn. Logs are in ms from the start of the run. Clients do not come
back unless a test says so.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from chatsim.engine import Cause, Fate, Outcome, SessionFate, simulate
from chatsim.engine.outcome import FaultKind
from chatsim.scenario import InputError, Scenario
from chatsim.world.draws import Purpose, uniform
from chatsim.world.strikes import strikes_of
from tests.test_routing_by_hand import work
from tests.worlds import ALWAYS, scenario, world

ONE = {"routing": "in_process", "gateways": 1}
PAIR = [(0, *ALWAYS), (1, *ALWAYS)]
THREE = [*PAIR, (2, *ALWAYS)]
FOUR = [*THREE, (3, *ALWAYS)]
AT_ONCE = {"notice_s": 0.0}

Row = tuple[int, str, int, int, float | None]


def ms(time_s: float) -> float | None:
    """Seconds as ms, without what rounding adds; None for never."""
    return None if math.isnan(time_s) else round(float(time_s) * 1e3, 4)


def words(fate: int, cause: int) -> str:
    """A fate, with its cause if there is one: ``LOST CRASHED``."""
    return " ".join([Fate(fate).name, *([Cause(cause).name] if cause else [])])


def log(outcome: Outcome) -> list[Row]:
    """(message, fate and cause, recipient, session, ms), in this order of columns: message, recipient, session."""
    table = outcome.deliveries
    columns = (table[name].tolist() for name in ("message", "recipient", "session", "fate", "cause", "time_s"))
    rows = sorted(zip(*columns, strict=True), key=lambda row: row[:3])
    return [(message, words(fate, cause), user, session, ms(time_s)) for message, user, session, fate, cause, time_s in rows]


def messages(outcome: Outcome, *times: str) -> list[tuple[Any, ...]]:
    """What became of each message at its sender: fate and cause, and these times in ms."""
    table = outcome.messages
    fates = [words(fate, cause) for fate, cause in zip(table["fate"].tolist(), table["cause"].tolist(), strict=True)]
    return list(zip(fates, *([ms(time_s) for time_s in table[name]] for name in times), strict=True))


def sessions(outcome: Outcome) -> list[tuple[int, int, str, float | None, float | None]]:
    """(user, gateway, fate, ms when the client left or noticed, ms when the gateway's side broke)."""
    table = outcome.sessions
    return [
        (int(user), int(gateway), SessionFate(int(fate)).name, ms(left_s), ms(cut_s))
        for user, gateway, fate, left_s, cut_s in zip(
            *(table[name] for name in ("user", "gateway", "fate", "left_s", "cut_s")), strict=True
        )
    ]


def struck(outcome: Outcome) -> list[tuple[int, str, int, float | None, float | None]]:
    """(fault, kind, station, start, end) of each strike."""
    table = outcome.faults
    return [
        (int(fault), FaultKind(int(kind)).name, int(station), ms(start_s), ms(end_s))
        for fault, kind, station, start_s, end_s in zip(
            *(table[name] for name in ("fault", "kind", "station", "start_s", "end_s")), strict=True
        )
    ]


def breaks(outcome: Outcome) -> list[tuple[int, int, str, float | None]]:
    """(message, gateway, cause, ms) of each carrier that was stopped."""
    table = outcome.breaks
    return [
        (int(message), int(gateway), Cause(int(cause)).name, ms(time_s))
        for message, gateway, cause, time_s in zip(
            *(table[name] for name in ("message", "gateway", "cause", "time_s")), strict=True
        )
    ]


def subscriptions(outcome: Outcome) -> list[tuple[float | None, int]]:
    """(ms, +1 or -1) of each change after the start of the run."""
    table = outcome.subscriptions
    return [(ms(time_s), int(change)) for time_s, change in zip(table["time_s"], table["change"], strict=True) if time_s > 0]


def crash(at_s: float, for_s: float = 0.0, gateway: int = 0, noticed: str = "close") -> dict[str, Any]:
    """A gateway dies."""
    return {"kind": "gateway_crash", "at_s": at_s, "for_s": for_s, "stations": [f"gateway-{gateway}"], "noticed": noticed}


# --------------------------------------------------------------------------- a crash that closes its connections


def test_a_gateway_dies_and_its_clients_see_their_connections_closed() -> None:
    people = world(THREE, [[0, 1, 2]], [(1.0, 0, 0), (3.0, 1, 0), (3.5, 0, 0)])
    outcome = simulate(scenario(design={"routing": "mesh"}, faults=[crash(2.0)]), people)
    # Anna and Cleo on gateway 0 notice one link delay later, and nobody comes back
    assert struck(outcome) == [(0, "GATEWAY_CRASH", 0, 2000.0, None)]
    assert sessions(outcome) == [
        (0, 0, "CUT", 2010.0, 2000.0),
        (1, 1, "ONLINE", None, None),
        (2, 0, "CUT", 2010.0, 2000.0),
    ]
    # first message: up 10, receive 1 + command 4, 8, 10 for Cleo; 100, 2, 8, 10 for Ben. Ben's: 3000 + 10 + 5 + 100, and
    # nobody is there. Anna's second is never sent: she has no connection, and none is to come
    assert log(outcome) == [
        (0, "DELIVERED", 1, 1, 1135.0),
        (0, "DELIVERED", 2, 2, 1033.0),
        (1, "LOST OFFLINE", 0, -1, None),
        (1, "LOST OFFLINE", 2, -1, None),
        (2, "REFUSED NO_SESSION", 1, -1, None),
        (2, "REFUSED NO_SESSION", 2, -1, None),
    ]
    assert breaks(outcome) == [(1, 0, "CRASHED", 3115.0)]
    assert messages(outcome, "received_s", "done_s", "told_s") == [
        ("DELIVERED", 1015.0, 1125.0, None),
        ("DELIVERED", 3015.0, 3115.0, None),
        ("REFUSED NO_SESSION", None, 3500.0, None),
    ]


# Written at 1000: on the uplink until 1010, read, with the command to store it, until 1015; at the database 1115 to 1165;
# the reply is there at 1265 and read until 1267; written 8, down 10.
@pytest.mark.parametrize(
    ("at_s", "received", "stored", "done", "end"),
    [
        (1.005, None, None, 1010.0, "LOST CRASHED"),  # on the uplink: it finds nobody
        (1.012, None, None, 1012.0, "LOST CRASHED"),  # being worked on
        (1.05, 1015.0, 1165.0, 1265.0, "STORED"),  # on its way to the database, which goes on
        (1.2, 1015.0, 1165.0, 1265.0, "STORED"),  # stored, but not yet routed: the reply finds nobody
        (1.266, 1015.0, 1165.0, 1266.0, "STORED"),  # the reply is being read
    ],
)
@pytest.mark.parametrize("offline", ["store", "drop"])
def test_where_a_message_is_when_its_gateway_dies(
    at_s: float, received: float | None, stored: float | None, done: float, end: str, offline: str
) -> None:
    design = {**ONE, "store": "before", "offline": offline}
    outcome = simulate(scenario(design=design, faults=[crash(at_s)]), world(PAIR, [[0, 1]], [(1.0, 0, 0)]))
    taken = "LOST CRASHED" if stored is None else "DELIVERED"
    assert messages(outcome, "received_s", "stored_s", "routed_s", "done_s") == [(taken, received, stored, None, done)]
    # where nobody reads later what is in store, it is lost to Ben
    assert log(outcome) == [(0, "LOST CRASHED" if offline == "drop" else end, 1, -1, None)]
    assert breaks(outcome) == ([] if stored is None else [(0, -1, "CRASHED", done)])


@pytest.mark.parametrize("faults", [[], [crash(2.0)]])
def test_what_was_lost_before_a_crash_was_not_lost_by_it(faults: list[dict[str, Any]]) -> None:
    # Ben is connecting from 1000 to 1033 or later; nothing carries the message after 1011, and his connection breaks at 2000
    people = world([(0, *ALWAYS), (1, 1.0, 1000.0)], [[0, 1]], [(1.0, 0, 0)])
    outcome = simulate(scenario(design=ONE, faults=faults), people)
    assert messages(outcome, "received_s", "done_s") == [("DELIVERED", 1011.0, 1011.0)]
    assert sessions(outcome)[1] == ((1, 0, "CUT", 2010.0, 2000.0) if faults else (1, 0, "ONLINE", None, None))
    assert log(outcome) == [(0, "LOST LEFT", 1, -1, None)]


def test_what_waits_in_a_gateway_dies_with_it() -> None:
    people = world(PAIR, [[0, 1]], [(1.0, 0, 0), (1.002, 0, 0)])
    outcome = simulate(scenario(design={**ONE, "store": "before"}, faults=[crash(1.013)]), people)
    # the first is worked on from 1010 to 1015, the second waits since 1012
    assert messages(outcome, "received_s", "done_s") == [("LOST CRASHED", None, 1013.0)] * 2
    assert [row[1] for row in log(outcome)] == ["LOST CRASHED"] * 2
    busy = outcome.ticks["station"] == 0
    assert outcome.ticks["end_s"][busy].tolist() == pytest.approx([1.013])


# Anna on gateway 0 writes to Ben on gateway 1 at 1000: 10 + 5 + 100; PUBLISH and two pushes 80: 1195; there at 1295, read and
# written until 1305, down 10.
@pytest.mark.parametrize(
    ("at_s", "end", "broken"),
    [
        (1.25, ("LOST CRASHED", -1, None), [(0, 1, "CRASHED", 1295.0)]),  # on its way to gateway 1
        (1.307, ("DELIVERED", 1, 1315.0), []),  # on Ben's link, who notices at 1317
        (1.1, ("LOST CRASHED", -1, None), []),  # its death has ended its subscription: nothing is pushed to it
    ],
)
def test_where_a_message_is_when_the_gateway_of_its_recipient_dies(
    at_s: float, end: tuple[str, int, float | None], broken: list[tuple[int, int, str, float]]
) -> None:
    outcome = simulate(scenario(faults=[crash(at_s, gateway=1)]), world(PAIR, [[0, 1]], [(1.0, 0, 0)]))
    fate, session, time_ms = end
    assert breaks(outcome) == broken
    assert subscriptions(outcome) == [(at_s * 1e3, -1)]
    assert log(outcome) == [(0, fate, 1, session, time_ms)]


# --------------------------------------------------------------------------- a crash that nobody hears of


def test_a_machine_that_vanishes_is_noticed_by_the_ping_that_does_not_come() -> None:
    people = world(
        [(0, *ALWAYS), (1, 0.4, 100.0), (2, 2.46, 100.0), (3, 2.48, 100.0), (4, 3.0, 100.0), (5, 8.0, 100.0)],
        [[0, 1]],
        [(3.0, 0, 0), (5.0, 0, 0)],
    )
    pings = {"ping_s": 2.0, "ping_timeout_s": 1.0, "connect_timeout_s": 1.5}
    outcome = simulate(scenario(design=ONE, client=pings, faults=[crash(2.5, noticed="silence")]), people)
    assert sessions(outcome) == [
        # online since -1000: pings at 1000 and 3000, which does not come, and 1000 to wait for it
        (0, 0, "CUT", 4000.0, 2500.0),
        # online since 400 + 30 + 3 + 10 = 443: pings at 2443 and 4443
        (1, 0, "CUT", 5443.0, 2500.0),
        # 2460 + 33: the welcome is under way, and comes at 2503; a ping was due at 4503
        (2, 0, "CUT", 5503.0, 2500.0),
        # its handshake would come at 2510: it gives up at 2480 + 1500
        (3, 0, "FAILED", 3980.0, 2500.0),
        # the balancer still places it there, until 2500 + 5000: nobody answers
        (4, 0, "FAILED", 4500.0, None),
        # then it says no
        (5, -1, "REFUSED", 8000.0, None),
    ]
    np.testing.assert_allclose(outcome.sessions["online_s"], [-1.0, 0.443, 2.503, np.nan, np.nan, np.nan])
    # Anna does not know at 3000 that nobody hears her; at 5000 she does
    assert messages(outcome, "done_s") == [("LOST CRASHED", 3010.0), ("REFUSED NO_SESSION", 5000.0)]


def test_a_client_that_is_connecting_sees_a_closed_connection_too() -> None:
    people = world([(1, *ALWAYS), (0, 1.98, 100.0), (2, 2.5, 100.0)], [[0, 1]], [])
    outcome = simulate(scenario(design=ONE, faults=[crash(2.0)]), people)
    # its handshake would come at 2010; the last one sends its first packet to a machine that refuses it: 2 x 10
    assert sessions(outcome) == [
        (1, 0, "CUT", 2010.0, 2000.0),
        (0, 0, "FAILED", 2010.0, 2000.0),
        (2, 0, "FAILED", 2520.0, None),
    ]


def silent_third(at_s: float = 2.0) -> Outcome:
    """Gateway 2, Cleo's, vanishes; the broker takes its connection for broken 1.5 s later. Anna writes before, between, after."""
    people = world(THREE, [[0, 1, 2]], [(1.0, 0, 0), (3.0, 0, 0), (4.0, 0, 0)])
    fault = crash(at_s, gateway=2, noticed="silence")
    return simulate(scenario(design={"gateways": 3}, gateway={"broker_silence_s": 1.5}, faults=[fault]), people)


def test_the_broker_pushes_to_a_gateway_that_has_vanished_until_it_notices() -> None:
    outcome = silent_third()
    # 10 + 5 + 100, PUBLISH and three pushes 112, 100, 2 + 8, 10; later two pushes 80
    assert [row for row in log(outcome) if row[2] == 1] == [
        (0, "DELIVERED", 1, 1, 1347.0),
        (1, "DELIVERED", 1, 1, 3347.0),
        (2, "DELIVERED", 1, 1, 4315.0),
    ]
    assert subscriptions(outcome) == [(3500.0, -1)]
    # the second comes to nobody at 3000 + 115 + 112 + 100; of the third no push is sent
    assert breaks(outcome) == [(1, 2, "CRASHED", 3327.0)]
    assert outcome.messages["pushes"].tolist() == [3, 3, 2]
    assert log(outcome)[3] == (1, "LOST CRASHED", 2, -1, None)


def test_what_is_not_pushed_to_a_gateway_that_has_vanished_is_lost_by_the_crash() -> None:
    assert log(silent_third())[5] == (2, "LOST CRASHED", 2, -1, None)


# --------------------------------------------------------------------------- back, empty


def test_a_gateway_that_is_back_subscribes_again_and_is_placed_on_when_the_balancer_sees_it() -> None:
    people = world(
        [*THREE, (3, 3.05, 100.0), (4, 3.3, 100.0), (5, 3.8, 100.0)], [[0, 1, 2], [4, 5]], [(2.985, 0, 0), (3.2, 0, 0)]
    )
    outcome = simulate(
        scenario(design={"routing": "global"}, faults=[crash(2.0, 1.0, gateway=1)], balancer={"notice_s": 0.25}), people
    )
    assert struck(outcome) == [(0, "GATEWAY_CRASH", 1, 2000.0, 3000.0)]
    # command 4, 100, and the first message, which came to the broker at 2985 + 15 + 100, takes it 16 + 32; SUBSCRIBE 5
    assert subscriptions(outcome) == [(2000.0, -1), (3153.0, 1)]
    assert breaks(outcome) == [(0, 1, "CUT_OFF", 3148.0)]
    # Dora would be on gateway 1, but the balancer thinks until 3250 that it is gone; Emil is on gateway 0, as his turn is,
    # and Finn on gateway 1
    assert [row[1] for row in sessions(outcome)] == [0, 1, 0, 0, 0, 1]
    # the first: 3148, 100, 2 + 8, 10; the second is there at 3315, and is pushed to both: 16 + 64
    assert log(outcome) == [
        (0, "LOST OFFLINE", 1, -1, None),
        (0, "DELIVERED", 2, 2, 3268.0),
        (1, "LOST OFFLINE", 1, -1, None),
        (1, "DELIVERED", 2, 2, 3515.0),
    ]
    assert work(outcome, "gateway-1")["DISCARD"] == 1


def test_a_gateway_that_is_back_clears_what_the_registry_says_of_it() -> None:
    people = world(PAIR, [[0, 1]], [(3.0, 0, 0), (5.0, 0, 0)])
    outcome = simulate(scenario(design={"routing": "directory"}, faults=[crash(2.0, 2.0, gateway=1)]), people)
    # at 3000 the registry says that Ben is on gateway 1, and a PUBLISH goes to nobody: 10 + 5 + 100 + 11 + 100, reply 2 +
    # command 4, 100, 16. At 5000 nobody holds him
    assert work(outcome, "broker-0") == {"PUBLISH": 1, "SUBSCRIBE": 1, "LOOKUP": 2}
    assert messages(outcome, "routed_s", "done_s") == [("DELIVERED", 3232.0, 3348.0), ("DELIVERED", 5228.0, 5228.0)]
    assert [row[1] for row in log(outcome)] == ["LOST OFFLINE"] * 2


@pytest.mark.parametrize("placement", ["round_robin", "least_connections"])
def test_the_balancer_places_sessions_on_a_gateway_that_is_gone_until_it_notices(placement: str) -> None:
    logins = [(2 + number, start_s, 100.0) for number, start_s in enumerate([2.1, 2.2, 2.3, 2.6, 4.2, 4.6, 4.7])]
    people = world([*PAIR, *logins], [[0, 1]], [])
    outcome = simulate(
        scenario(
            design={"routing": "mesh", "placement": placement}, faults=[crash(2.0, 2.0)], balancer={"notice_s": 0.5}
        ),
        people,
    )
    # gone for the balancer from 2500 to 4500. The fewest connections are on the gateway that has none
    places = [0, 1, 0, 1, 1, 1, 0] if placement == "round_robin" else [0, 0, 0, 1, 1, 0, 0]
    assert [row[1] for row in sessions(outcome)][2:] == places
    for start, place, row in zip([2100.0, 2200.0, 2300.0], places, sessions(outcome)[2:5], strict=False):
        assert row[2:] == ("ONLINE" if place else "FAILED", None if place else start + 20, None)
    assert {row[2] for row in sessions(outcome)[5:]} == {"ONLINE"}


def test_the_balancer_does_not_notice_a_gateway_that_is_back_sooner() -> None:
    logins = [(2 + number, start_s, 100.0) for number, start_s in enumerate([2.2, 2.4, 2.6, 2.7, 2.75])]
    outcome = simulate(
        scenario(design={"routing": "mesh"}, faults=[crash(2.0, 0.3)], balancer={"notice_s": 0.5}), world([*PAIR, *logins], [[0, 1]], [])
    )
    # away from 2000 to 2300; at 2500, when it would be noticed, it is there
    assert [row[1:3] for row in sessions(outcome)][2:] == [(0, "FAILED"), *[(1, "ONLINE"), (0, "ONLINE")] * 2]


# --------------------------------------------------------------------------- a rolling deploy


def deploy(**more: Any) -> Outcome:
    """Three gateways are drained; Anna and Dora are on the first, Ben on the second, Cleo on the third."""
    fault = {"kind": "drain", "at_s": 2.0, "grace_s": 1.0, "for_s": 0.5, "pause_s": 0.25, **more}
    people = world(
        [*FOUR, (4, 2.1, 100.0), (5, 3.8, 100.0)], [[0, 1, 2, 3]], [(2.3, 1, 0), (2.495, 3, 0)]
    )
    return simulate(scenario(design={"routing": "mesh", "gateways": 3}, faults=[fault], balancer=AT_ONCE), people)


def test_a_deploy_goes_from_gateway_to_gateway() -> None:
    outcome = deploy()
    # emptied for 1000, away for 500, then a pause of 250
    assert struck(outcome) == [
        (0, "DRAIN", 0, 2000.0, 3500.0),
        (0, "DRAIN", 1, 3750.0, 5250.0),
        (0, "DRAIN", 2, 5500.0, 7000.0),
    ]
    # two sessions evenly over 1000: at 2000 and 2500. Emil's turn is gateway 1, and with it he is closed second, at 4250.
    # Finn's turn is gateway 2: closed at 6000, after Cleo
    assert sessions(outcome) == [
        (0, 0, "CUT", 2010.0, 2000.0),
        (1, 1, "CUT", 3760.0, 3750.0),
        (2, 2, "CUT", 5510.0, 5500.0),
        (3, 0, "CUT", 2510.0, 2500.0),
        (4, 1, "CUT", 4260.0, 4250.0),
        (5, 2, "CUT", 6010.0, 6000.0),
    ]
    # Ben's: 2310, receive 1 + two commands 8, 100, 2, 8, 10: Dora is still there. Hers comes to a closed connection at 2505
    assert log(outcome)[:3] == [
        (0, "LOST OFFLINE", 0, -1, None),
        (0, "DELIVERED", 2, 2, 2439.0),
        (0, "DELIVERED", 3, 3, 2439.0),
    ]
    assert messages(outcome, "done_s") == [("DELIVERED", 2429.0), ("LOST CRASHED", 2505.0)]


def test_a_deploy_takes_so_many_gateways_at_a_time() -> None:
    outcome = deploy(batch=2)
    assert struck(outcome) == [
        (0, "DRAIN", 0, 2000.0, 3500.0),
        (0, "DRAIN", 1, 2000.0, 3500.0),
        (0, "DRAIN", 2, 3750.0, 5250.0),
    ]
    # Emil finds but gateway 2 in service, Finn gateways 0 and 1, and his turn is 2: the next one is 0
    assert [row[1] for row in sessions(outcome)] == [0, 1, 2, 0, 2, 0]
    assert [row[3] for row in sessions(outcome)] == [2010.0, 2010.0, 3760.0, 2510.0, 4260.0, None]


def test_gateways_that_stay_away_after_a_drain() -> None:
    outcome = deploy(for_s=0.0)
    # the next one begins when the one before has stopped
    assert [row[3:] for row in struck(outcome)] == [(2000.0, None), (3000.0, None), (4000.0, None)]


def test_nobody_is_placed_on_a_gateway_that_is_drained() -> None:
    people = world([(0, *ALWAYS), (1, *ALWAYS), (2, 2.001, 100.0), (3, 3.1, 100.0), (4, 3.6, 100.0)], [[0, 1]], [])
    fault = {"kind": "drain", "at_s": 2.0, "grace_s": 1.0, "for_s": 0.5, "stations": ["gateway-0"]}
    outcome = simulate(scenario(design={"routing": "mesh"}, faults=[fault], balancer={"notice_s": 0.25}), people)
    # the balancer is told when the drain begins, and sees at 3500 + 250 that it is over; the last one's turn is gateway 0
    assert [row[1] for row in sessions(outcome)] == [0, 1, 1, 1, 1]


# --------------------------------------------------------------------------- two faults at once

DRAIN = {"kind": "drain", "at_s": 2.0, "grace_s": 2.0, "for_s": 2.0, "stations": ["gateway-0"]}


@pytest.mark.parametrize(
    ("faults", "rows"),
    [
        ([crash(2.0, 2.0), crash(3.0, 4.0)], [(0, "GATEWAY_CRASH", 0, 2000.0, 4000.0), (1, "GATEWAY_CRASH", 0, 3000.0, 7000.0)]),
        ([crash(2.0, 5.0), crash(3.0, 1.0)], [(0, "GATEWAY_CRASH", 0, 2000.0, 7000.0), (1, "GATEWAY_CRASH", 0, 3000.0, 4000.0)]),
        # dies while it is drained: stopped at 4000 for 2000, but the crash lasts until 7000
        ([DRAIN, crash(3.0, 4.0)], [(0, "DRAIN", 0, 2000.0, 6000.0), (1, "GATEWAY_CRASH", 0, 3000.0, 7000.0)]),
        # dies and is back while it is drained: it is out of the balancer all the while, and stopped at 4000
        ([{**DRAIN, "for_s": 3.0}, crash(3.0, 0.5)], [(0, "DRAIN", 0, 2000.0, 7000.0), (1, "GATEWAY_CRASH", 0, 3000.0, 3500.0)]),
    ],
)
def test_a_gateway_is_back_when_the_last_of_its_faults_ends(faults: list[dict[str, Any]], rows: list[Any]) -> None:
    logins = [(1 + number, start_s, 100.0) for number, start_s in enumerate([3.4, 3.6, 4.5, 6.5, 7.5])]
    outcome = simulate(scenario(design=ONE, faults=faults, balancer=AT_ONCE), world([(0, *ALWAYS), *logins], [[0, 1]], []))
    assert struck(outcome) == rows
    assert sessions(outcome)[0] == (0, 0, "CUT", 2010.0, 2000.0)
    assert [row[2] for row in sessions(outcome)[1:]] == ["REFUSED"] * 4 + ["ONLINE"]


# --------------------------------------------------------------------------- again and again, at random


def failures(entity: int, fault: dict[str, Any], end_s: float) -> list[tuple[float, float]]:
    """When something breaks and is repaired, by -ln u of uniform draws: gap, repair, gap, repair ..."""
    time_s, spans = fault["at_s"], []
    for place in range(1000):
        gap, repair = (
            -math.log(float(uniform(1, 0, purpose, entity, place))) for purpose in (Purpose.FAULT_GAP, Purpose.FAULT_REPAIR)
        )
        start_s = time_s + fault["mtbf_s"] * gap
        if start_s >= end_s:
            break
        time_s = start_s + (fault["mttr_s"] * repair if fault.get("mttr_s") else fault["for_s"])
        spans.append((start_s, time_s))
    return spans


@pytest.mark.parametrize("repair", [{"mttr_s": 0.5}, {"for_s": 0.25}])
def test_failures_come_after_exponential_times(repair: dict[str, float]) -> None:
    slow = {"kind": "slow", "at_s": 1.0, "stations": ["database"], "factor": 2.0}
    fault = {"kind": "gateway_crash", "at_s": 3.0, "stations": ["gateway-*"], "mtbf_s": 2.0, **repair}
    asked = scenario(design={"routing": "mesh", "gateways": 2}, faults=[slow, fault])
    # stations: gateway-0, gateway-1, database; each of them in each fault has draws of its own: number 1 x 3 + station + 1
    own = {station: failures(3 + station + 1, fault, 30.0) for station in (0, 1)}
    found = [strike for strike in strikes_of(asked, 0, 30.0) if strike.fault == 1]
    assert [strike.start_s for strike in found] == sorted(strike.start_s for strike in found)
    for station in (0, 1):
        spans = [(strike.start_s, strike.end_s) for strike in found if strike.stations == (station,)]
        np.testing.assert_allclose(spans, own[station])
        assert len(spans) > 3
    # and so they strike in a run, of 15 s; what is not over then has no end
    rows = struck(simulate(asked, world(PAIR, [[0, 1]], [])))
    wanted = [
        (1, "GATEWAY_CRASH", station, round(start_s * 1e3, 4), round(end_s * 1e3, 4) if end_s < 15 else None)
        for station in (0, 1)
        for start_s, end_s in own[station]
        if start_s < 15
    ]
    assert sorted(rows[1:]) == sorted(wanted)
    assert rows[0] == (0, "SLOW", 2, 1000.0, None)


def test_what_shares_a_rack_fails_together() -> None:
    """By the draws of the first of them."""
    fault = {"kind": "gateway_crash", "at_s": 3.0, "stations": ["gateway-*"], "mtbf_s": 2.0, "mttr_s": 0.5, "together": True}
    asked = scenario(design={"routing": "mesh", "gateways": 2}, faults=[fault])
    found = strikes_of(asked, 0, 30.0)
    assert {strike.stations for strike in found} == {(0, 1)}
    np.testing.assert_allclose([(strike.start_s, strike.end_s) for strike in found], failures(1, fault, 30.0))
    with pytest.raises(InputError, match="together = true: needs mtbf_s"):
        scenario(design={"routing": "mesh", "gateways": 2}, faults=[{**fault, "mtbf_s": 0.0, "mttr_s": 0.0}])


def test_the_mean_time_between_failures_and_to_repair_is_what_was_asked() -> None:
    # The first gap and the first repair of 100 gateways in 50 replications; a second one hardly comes within the run. The mean of n
    # exponential draws is 1 + e or more with a chance of at most exp(-n (e - ln(1 + e))), 1 - e or less with at most
    # exp(-n (-e - ln(1 - e))) (Chernoff): for n = 5000 and e = 0.08 both, and both of the two means, have 6e-7 in all.
    fault = {"kind": "gateway_crash", "share": 1.0, "at_s": 10.0, "mtbf_s": 4.0, "mttr_s": 1e5}
    asked = Scenario.model_validate({"design": {"routing": "mesh", "gateways": 100}, "faults": [fault]})
    first: dict[tuple[int, int], tuple[float, float]] = {}
    for replication in range(50):
        for strike in strikes_of(asked, replication, 210.0):
            first.setdefault((replication, strike.stations[0]), (strike.start_s - 10.0, strike.end_s - strike.start_s))
    assert len(first) == 5000
    gap_s, repair_s = np.mean(list(first.values()), axis=0)
    alarm = 2 * sum(math.exp(-5000 * (sign * 0.08 - math.log(1 + sign * 0.08))) for sign in (1, -1))
    assert alarm < 1e-6
    assert gap_s == pytest.approx(4.0, rel=0.08)
    assert repair_s == pytest.approx(1e5, rel=0.08)


# --------------------------------------------------------------------------- as many gateways as the load needs

SCALING = {"start": 1, "least": 1, "up_above": 0.7, "down_below": 0.3, "check_s": 1.0, "delay_s": 0.5, "grace_s": 0.2}


@pytest.mark.parametrize("count", [53, 54])
def test_gateways_come_and_go_with_the_load(count: int) -> None:
    talk = [(0.25 + 0.013 * number, 0, 0) for number in range(count)]
    people = world([(0, 0.1, 100.0), (1, 0.2, 100.0), (2, 1.55, 100.0), (3, 1.7, 100.0), (4, 2.1, 100.0)], [[0, 1]], talk)
    outcome = simulate(scenario(design={"routing": "mesh"}, scaling=SCALING, balancer={"notice_s": 0.1}), people)
    # Until 1000: two handshakes 6 and for each message receive 1 + command 4 + write 8: 695 or 708 of 1000.
    if count == 53:
        assert struck(outcome) == [(-1, "SCALING", 1, 0.0, None)]
        assert [row[1] for row in sessions(outcome)] == [0] * 5
        return
    # One more is wanted at 1000 and there at 1500; the balancer sees it at 1600. From 1000 to 2000 next to nothing happens:
    # then the last one goes, out of the balancer at once, and stops at 2200. The last gateway never goes.
    assert struck(outcome) == [(-1, "SCALING", 1, 0.0, 1500.0), (-1, "SCALING", 1, 2000.0, None)]
    # Cleo, at 1550, is too early for it; Dora's turn is gateway 1, which is emptied from 2000 on; Emil's is gateway 0
    assert sessions(outcome)[2:] == [
        (2, 0, "ONLINE", None, None),
        (3, 1, "CUT", 2010.0, 2000.0),
        (4, 0, "ONLINE", None, None),
    ]
    assert {row[1] for row in log(outcome)} == {"DELIVERED"}


def test_who_is_connected_when_the_run_starts_is_on_a_gateway_in_service() -> None:
    outcome = simulate(scenario(design={"routing": "mesh"}, scaling=SCALING), world(FOUR, [[0, 1]], []))
    assert sessions(outcome) == [(user, 0, "ONLINE", None, None) for user in range(4)]
