"""Every routing and topology on three people, with the whole log worked out by hand.

Times in ms (see ``worlds.scenario``): client link 10, receive 1, command 4, parse 2, write 8, PUBLISH 16, push 32, bus send
64, bus receive 128, look-up 10 + 1 per user, link to the broker 100. Anna (0) writes at 1 s to a room of Anna, Ben (1)
and Cleo (2); round robin puts Anna and Cleo on gateway 0, Ben on gateway 1.
"""

from __future__ import annotations

import numpy as np
import pytest

from chatsim.engine import Fate, Outcome, Work, simulate
from chatsim.engine.outcome import Cause
from chatsim.rules.routing import GLOBAL_CHANNEL, publish_node, room_channel
from tests.worlds import ALWAYS, scenario, world

THREE = [(0, *ALWAYS), (1, *ALWAYS), (2, *ALWAYS)]
ANNA_TO_ALL = world(THREE, [[0, 1, 2]], [(1.0, 0, 0)])


def log(outcome: Outcome) -> list[tuple[str, int, int, float | None]]:
    """(fate, recipient, session, ms after the message was written), by recipient."""
    table = outcome.deliveries
    rows = [
        (
            Fate(int(fate)).name,
            int(user),
            int(session),
            None if np.isnan(time) else round(float(time - outcome.messages["time_s"][message]) * 1e3, 6),
        )
        for message, fate, user, session, time in zip(
            table["message"], table["fate"], table["recipient"], table["session"], table["time_s"], strict=True
        )
    ]
    return sorted(rows, key=lambda row: (row[1], row[2]))


def work(outcome: Outcome, station: str) -> dict[str, int]:
    """What a station did, without the zeros."""
    counts = outcome.work[outcome.stations.index(station)]
    return {kind.name: int(counts[kind]) for kind in Work if counts[kind]}


def run(**parts: dict[str, object]) -> Outcome:
    return simulate(scenario(**parts), ANNA_TO_ALL)


def test_in_process() -> None:
    outcome = run(design={"routing": "in_process", "gateways": 1})
    # up 10, receive 1, write Ben 8, write Cleo 8, down 10
    assert log(outcome) == [("DELIVERED", 1, 1, 29.0), ("DELIVERED", 2, 2, 37.0)]
    assert work(outcome, "gateway-0") == {"RECEIVE": 1, "WRITE": 2}


def test_global() -> None:
    outcome = run(design={"routing": "global", "gateways": 3}, workload={"users": 3})
    # up 10, receive 1 + command 4, 100, PUBLISH 16 + 3 x 32, 100, parse 2, write 8, down 10; one session on each of 3 gateways
    at = 10 + 5 + 100 + 112 + 100 + 2 + 8 + 10
    assert log(outcome) == [("DELIVERED", 1, 1, at), ("DELIVERED", 2, 2, at)]
    assert work(outcome, "broker-0") == {"PUBLISH": 1, "PUSH": 3}
    assert work(outcome, "gateway-0") == {"RECEIVE": 1, "COMMAND": 1, "PARSE": 1}
    assert int(outcome.messages["pushes"][0]) == 3
    assert int(outcome.messages["discards"][0]) == 0  # the sender's gateway has a member: the sender


def test_global_discards_where_no_member_is() -> None:
    outcome = simulate(
        scenario(design={"routing": "global", "gateways": 2}),
        world([*THREE, (3, *ALWAYS)], [[0, 2], [1, 3]], [(1.0, 0, 0)]),
    )
    # Anna and Cleo are on gateway 0, so gateway 1 discards; the last write ends 10 + 5 + 100 + 80 + 100 + 2 + 8
    assert log(outcome) == [("DELIVERED", 2, 2, 315.0)]
    assert work(outcome, "gateway-1") == {"PARSE": 1, "DISCARD": 1}


def test_global_with_the_local_shortcut() -> None:
    outcome = run(design={"routing": "global", "local_shortcut": True})
    # Cleo is on Anna's gateway: up 10, receive and command 5, write 8, down 10. Ben as before, with two pushes.
    assert log(outcome) == [("DELIVERED", 1, 1, 10 + 5 + 100 + 80 + 100 + 2 + 8 + 10), ("DELIVERED", 2, 2, 33.0)]
    assert work(outcome, "gateway-0") == {"RECEIVE": 1, "COMMAND": 1, "PARSE": 1, "WRITE": 1}


def test_global_per_recipient() -> None:
    outcome = run(design={"routing": "global_per_recipient"})
    # up 10, receive 1 + 2 commands 8, 100, two PUBLISH of 16 + 2 x 32 = 80 each: they leave at 199 and 279, arrive at 299 and 379.
    # Each gateway reads the first (Ben's) from 299 to 305, with the command that asks; the look-ups arrive together at 405.
    # The broker takes gateway 0's look-up 405-416 and gateway 1's 416-427. Gateway 1 reads 527-529, writes 8: 537, down 10.
    # Cleo's: 379-385, at the broker 485-496 (gateway 0), read at 596-598, written 606, down 10.
    assert log(outcome) == [("DELIVERED", 1, 1, 547.0), ("DELIVERED", 2, 2, 616.0)]
    assert work(outcome, "broker-0") == {"PUBLISH": 2, "PUSH": 4, "LOOKUP": 4}
    assert work(outcome, "gateway-1") == {"COMMAND": 2, "PARSE": 4, "WRITE": 1, "DISCARD": 1}


def test_user_channels() -> None:
    outcome = run(design={"routing": "user"})
    # up 10, receive 1 + 2 commands 8, 100, PUBLISH 16 + push 32 for Ben: 167, for Cleo: 215; 100, parse 2, write 8, down 10
    assert log(outcome) == [("DELIVERED", 1, 1, 287.0), ("DELIVERED", 2, 2, 335.0)]
    assert work(outcome, "broker-0") == {"PUBLISH": 2, "PUSH": 2}


def test_room_channels() -> None:
    outcome = run(design={"routing": "room", "gateways": 3})
    # as global, with a push to each gateway that has a member
    at = 10 + 5 + 100 + 112 + 100 + 2 + 8 + 10
    assert log(outcome) == [("DELIVERED", 1, 1, at), ("DELIVERED", 2, 2, at)]
    assert np.bincount(outcome.subscriptions["change"]).tolist() == [0, 3]


def test_room_channels_push_only_to_gateways_with_a_member() -> None:
    outcome = simulate(
        scenario(design={"routing": "room"}), world([*THREE, (3, *ALWAYS)], [[0, 2], [1, 3]], [(1.0, 0, 0)])
    )
    # one push: 10 + 5 + 100 + 48 + 100 + 2 + 8 + 10
    assert log(outcome) == [("DELIVERED", 2, 2, 283.0)]
    assert work(outcome, "gateway-1") == {}


def test_directory() -> None:
    outcome = run(design={"routing": "directory"})
    # up 10, receive 1 + command 4, 100, look-up 10 + 2, 100, read 2 + 2 commands 8, 100, two PUBLISH of 16 + 32, 100,
    # parse 2, write 8, down 10. Gateway 0 holds Cleo and is published to first.
    first = 10 + 5 + 100 + 12 + 100 + 10 + 100 + 48 + 100 + 2 + 8 + 10
    assert log(outcome) == [("DELIVERED", 1, 1, first + 48), ("DELIVERED", 2, 2, first)]
    assert work(outcome, "broker-0") == {"PUBLISH": 2, "PUSH": 2, "LOOKUP": 1}


def test_mesh() -> None:
    outcome = run(design={"routing": "mesh", "gateways": 3})
    # up 10, receive 1 + 2 commands 8, 100, parse 2, write 8, down 10
    assert log(outcome) == [("DELIVERED", 1, 1, 139.0), ("DELIVERED", 2, 2, 139.0)]
    assert "broker-0" not in outcome.stations


def test_mesh_with_a_directory_sends_only_where_members_are() -> None:
    people = world([*THREE, (3, *ALWAYS)], [[0, 1], [2, 3]], [(1.0, 0, 0)])
    outcome = simulate(scenario(design={"routing": "mesh", "gateways": 4, "mesh_directory": True}), people)
    # one command: up 10, receive 5, 100, parse 2, write 8, down 10
    assert log(outcome) == [("DELIVERED", 1, 1, 135.0)]
    assert int(outcome.messages["pushes"][0]) == 1


def test_classic_cluster_sends_every_publish_to_every_node() -> None:
    broker = {"topology": "cluster", "nodes": 2}
    outcome = run(design={"routing": "global"}, broker=broker)
    # gateway g subscribes at node g. The PUBLISH goes to the channel's home: 16 + push 32 + bus 64; the other node: 128 + 32.
    home = publish_node(GLOBAL_CHANNEL, 1, 2)
    at_home = 10 + 5 + 100 + 112 + 100
    abroad = 10 + 5 + 100 + 112 + 100 + 160 + 100
    arrives = {home: at_home, 1 - home: abroad}
    assert log(outcome) == [("DELIVERED", 1, 1, arrives[1] + 20.0), ("DELIVERED", 2, 2, arrives[0] + 20.0)]
    assert work(outcome, f"broker-{home}") == {"PUBLISH": 1, "PUSH": 1}
    assert work(outcome, f"broker-{1 - home}") == {"PUSH": 1, "BUS": 1}


def test_sharded_channels_live_on_one_node_each() -> None:
    rooms = [[0, 1], [0, 2]]
    people = world(THREE, rooms, [(1.0, 0, 0), (2.0, 0, 1)])
    outcome = simulate(
        scenario(design={"routing": "room", "gateways": 3}, broker={"topology": "sharded", "nodes": 7}), people
    )
    homes = [publish_node(room_channel(room), 2, 7) for room in (0, 1)]
    assert homes[0] != homes[1]
    # both gateways with a member get a push: 16 + 64
    assert log(outcome) == [("DELIVERED", 1, 1, 315.0), ("DELIVERED", 2, 2, 315.0)]
    for home in homes:
        assert work(outcome, f"broker-{home}") == {"PUBLISH": 1, "PUSH": 2}


@pytest.mark.parametrize(
    ("store", "extra"), [("never", 0.0), ("before", 100 + 50 + 100 + 2), ("beside", 4.0), ("after", 0.0)]
)
def test_storing_before_delays_beside_costs_a_command_after_costs_nothing(store: str, extra: float) -> None:
    outcome = run(design={"routing": "room", "gateways": 3, "store": store})
    plain = 10 + 5 + 100 + 112 + 100 + 2 + 8 + 10
    before = 4.0 if store == "before" else 0.0  # receive writes the store's command, the reply writes the PUBLISH
    assert log(outcome) == [("DELIVERED", 1, 1, plain + extra + before), ("DELIVERED", 2, 2, plain + extra + before)]
    stored_at = {"before": 10 + 5 + 100 + 50, "beside": 10 + 9 + 100 + 50, "after": 10 + 5 + 4 + 100 + 50}
    if store != "never":
        assert (outcome.messages["stored_s"][0] - 1.0) * 1e3 == pytest.approx(stored_at[store])


def test_an_offline_member_reads_at_the_next_login() -> None:
    people = world([(0, *ALWAYS), (1, 5.0, 9.0)], [[0, 1]], [(1.0, 0, 0)])
    kept = scenario(design={"routing": "user", "gateways": 1, "store": "before", "offline": "store"})
    outcome = simulate(kept, people)
    # login at 5 s: one trip and a half 30, handshake 3, command 2 x 4 (subscribe, register), 100; at the broker 5 + 6: the
    # replies leave at 5 and 11, are read at 2 ms each; then the read: 100, 25, 100, parse 2 + write 8, down 10
    login = 30 + 3 + 8 + 100 + 11 + 100 + 2 + 100 + 25 + 100 + 10 + 10
    assert log(outcome) == [("READ_LATER", 1, 1, 4000.0 + login)]
    assert outcome.sessions["online_s"][1] == pytest.approx(5 + login * 1e-3)


def test_an_offline_member_who_never_comes_leaves_it_in_store() -> None:
    people = world([(0, *ALWAYS)], [[0, 1]], [(1.0, 0, 0)])
    assert log(simulate(scenario(design={"store": "before", "offline": "store"}), people)) == [("STORED", 1, -1, None)]


def test_an_offline_member_loses_it_where_the_design_drops() -> None:
    outcome = simulate(scenario(), world([(0, *ALWAYS)], [[0, 1]], [(1.0, 0, 0)]))
    assert log(outcome) == [("LOST", 1, -1, None)]
    assert outcome.deliveries["cause"].tolist() == [Cause.OFFLINE]


def test_a_recipient_who_leaves_while_it_is_under_way_loses_it() -> None:
    outcome = simulate(scenario(), world([(0, *ALWAYS), (1, -1.0, 1.2)], [[0, 1]], [(1.0, 0, 0)]))
    assert log(outcome) == [("LOST", 1, -1, None)]
    assert outcome.deliveries["cause"].tolist() == [Cause.LEFT]


def test_a_message_waits_at_its_sender_until_the_login_is_through() -> None:
    people = world([(1, -1.0, 1000.0), (0, 0.5, 100.0)], [[0, 1]], [(0.5, 0, 0)])
    outcome = simulate(scenario(design={"routing": "in_process", "gateways": 1}), people)
    # login: 30 + 3, welcome 10; then up 10, receive 1, write 8, down 10. Latency counts from when it was written.
    assert log(outcome) == [("DELIVERED", 1, 0, 43.0 + 29.0)]


def test_a_message_of_a_session_that_got_no_place_is_refused() -> None:
    people = world([(1, -1.0, 1000.0), (0, 0.5, 100.0)], [[0, 1]], [(0.6, 0, 0)])
    outcome = simulate(scenario(design={"gateways": 1}, gateway={"connections_max": 1}), people)
    assert log(outcome) == [("REFUSED", 1, -1, None)]
    assert outcome.deliveries["cause"].tolist() == [Cause.NO_SESSION]


def test_one_message_per_second_and_the_sender_is_told() -> None:
    people = world(THREE[:2], [[0, 1]], [(1.0, 0, 0), (1.5, 0, 0), (2.0, 0, 0), (2.9, 0, 0)])
    limits = {"messages_per_s": 1.0}
    outcome = simulate(scenario(design={"routing": "in_process", "gateways": 1}, limits=limits), people)
    # read at 1.010, 1.510, 2.010 and 2.910: half a token, a whole one again, nine tenths
    fates = [Fate(fate).name for fate in outcome.messages["fate"]]
    assert fates == ["DELIVERED", "REFUSED", "DELIVERED", "REFUSED"]
    assert outcome.messages["cause"].tolist() == [0, Cause.TOO_MANY, 0, Cause.TOO_MANY]
    # up 10, receive 1, write the refusal 8, down 10
    np.testing.assert_allclose(outcome.messages["told_s"], [np.nan, 1.529, np.nan, 2.929])
    assert work(outcome, "gateway-0") == {"RECEIVE": 4, "WRITE": 2, "REFUSAL": 2}
    assert log(outcome) == [
        ("REFUSED", 1, -1, None),
        ("REFUSED", 1, -1, None),
        ("DELIVERED", 1, 1, 29.0),
        ("DELIVERED", 1, 1, 29.0),
    ]


def test_a_burst_may_go_at_once_after_a_silence() -> None:
    people = world(THREE[:2], [[0, 1]], [(1.0, 0, 0), (1.1, 0, 0), (1.2, 0, 0)])
    limits = {"messages_per_s": 1.0, "burst": 2}
    outcome = simulate(scenario(design={"routing": "in_process", "gateways": 1}, limits=limits), people)
    assert outcome.messages["cause"].tolist() == [0, 0, Cause.TOO_MANY]


def test_a_message_that_is_too_large_is_refused() -> None:
    people = world(THREE[:2], [[0, 1]], [(1.0, 0, 0)], size_bytes=101)
    design = {"routing": "in_process", "gateways": 1}
    refused = simulate(scenario(design=design, limits={"message_max_bytes": 100}), people)
    assert refused.messages["cause"].tolist() == [Cause.TOO_LARGE]
    assert log(simulate(scenario(design=design, limits={"message_max_bytes": 101}), people)) == [
        ("DELIVERED", 1, 1, 29.0)
    ]


@pytest.mark.parametrize("policy", ["drop_newest", "close"])
def test_a_full_outbound_queue(policy: str) -> None:
    people = world(THREE[:2], [[0, 1]], [(1.0, 0, 0), (1.002, 0, 0), (5.0, 0, 0)])
    # 100 bytes take a second on the link and 150 may wait: the first is written at 1.019, the second, read from 1.019 to
    # 1.020, would be written at 1.028 behind 99 bytes, the third finds an empty queue
    slow = {"downlink_bytes_per_s": 100.0, "outbound_max_bytes": 150.0, "outbound_policy": policy}
    outcome = simulate(scenario(design={"routing": "in_process", "gateways": 1}, network=slow), people)
    fates = [
        Fate(fate).name for fate in outcome.deliveries["fate"][np.argsort(outcome.deliveries["message"], kind="stable")]
    ]
    if policy == "drop_newest":
        assert fates == ["DELIVERED", "LOST", "DELIVERED"]
        assert (outcome.deliveries["time_s"][0] - 1.0) * 1e3 == pytest.approx(10 + 1 + 8 + 1000 + 10)
    else:
        assert fates == ["LOST", "LOST", "LOST"]
        assert outcome.sessions["left_s"][1] == pytest.approx(1.020)


def test_two_devices_both_get_it() -> None:
    people = world([(0, *ALWAYS), (1, *ALWAYS), (1, *ALWAYS)], [[0, 1]], [(1.0, 0, 0)])
    outcome = simulate(scenario(design={"routing": "in_process", "gateways": 1}), people)
    assert log(outcome) == [("DELIVERED", 1, 1, 29.0), ("DELIVERED", 1, 2, 37.0)]


def test_messages_of_one_tick_to_one_session_travel_as_one_packet() -> None:
    people = world(THREE, [[0, 1], [1, 2]], [(1.0, 0, 0), (1.005, 0, 0), (1.006, 2, 1)])
    tick = {"flush": "tick", "batch_max": 0, "tick_us": 20e3}
    outcome = simulate(scenario(design={"routing": "in_process", "gateways": 1}, gateway=tick), people)
    # the first arrives at 10 and is read in a tick of 20 + 1 to 31; the next two came at 15 and 16 and share the second tick
    # with the first's write, 20 + 1 + 1 + 8, to 61; their writes share the third, 20 + 2 x 8, to 97, and one packet
    assert log(outcome) == [("DELIVERED", 1, 1, 71.0), ("DELIVERED", 1, 1, 107.0 - 5), ("DELIVERED", 1, 1, 107.0 - 6)]
    assert outcome.ticks["items"].tolist() == [1, 3, 2]


def test_stations_on_one_host_share_its_core() -> None:
    people = world([(user, *ALWAYS) for user in range(4)], [[0, 2], [1, 3]], [(1.0, 0, 0), (1.0, 1, 1)])
    own = {"design": {"routing": "mesh", "gateways": 2}}
    shared = {**own, "hosts": [{"name": "small", "cores": 1, "stations": ["gateway-*"]}]}
    # alone: up 10, receive 1 + command 4, then its own write 8, down 10; on one core the second's ticks wait for the first's
    assert log(simulate(scenario(**own), people)) == [("DELIVERED", 2, 2, 33.0), ("DELIVERED", 3, 3, 33.0)]
    assert log(simulate(scenario(**shared), people)) == [("DELIVERED", 2, 2, 38.0), ("DELIVERED", 3, 3, 46.0)]
