"""How deliveries spend their time: worked out by hand, part by part, and never a part more or less than the whole.

Times in ms (see ``worlds.scenario``): client link 10, receive 1, command 4, parse 2, write 8, PUBLISH 16, push 32, store 50,
links to broker and database 100. Anna (0) writes to Ben (1); round robin puts her on gateway 0, him on gateway 1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chatsim import build_world, load_scenario
from chatsim.analysis.breakdown import FOLLOWED_MAX, NEAR, near_percentiles
from chatsim.engine import Fate, simulate
from chatsim.scenario import AuditError
from chatsim.study import again
from tests.outcomes import deliveries_at
from tests.worlds import ALWAYS, scenario, world

PAIR = [(0, *ALWAYS), (1, *ALWAYS)]
OFTEN = [(float(second), 0, 0) for second in range(1, 201)]


def parts(table: pd.DataFrame, percentile: str = "p99") -> dict[tuple[str, str], float]:
    """The ms of each part near a percentile, without what takes no microsecond."""
    rows = table[(table["percentile"] == percentile) & (table["mean_ms"] >= 1e-3)]
    keys = zip(rows["place"], rows["what"], strict=True)
    return dict(zip(keys, rows["mean_ms"].round(6), strict=True))


def of_run(people: Any, **asked: Any) -> pd.DataFrame:
    table = again.breakdown(simulate(scenario(**asked), people))
    assert table is not None
    return table


def test_a_room_through_the_broker_and_back() -> None:
    table = of_run(world(PAIR, [[0, 1]], OFTEN, duration_s=202.0))
    hers = {
        ("sender's link", "travels"): 10.0,
        ("gateways", "works"): 1.0 + 4 + 2 + 8,
        ("broker", "works"): 16.0 + 2 * 32,
        ("links between servers", "travels"): 200.0,
        ("recipient's link", "travels"): 10.0,
    }
    assert parts(table, "p50") == parts(table, "p99") == hers
    assert set(table["whole_ms"].round(6)) == {sum(hers.values())}
    assert table.groupby("percentile")["share"].sum().tolist() == pytest.approx([1.0, 1.0])
    assert list(dict.fromkeys(table["percentile"])) == list(NEAR)


def test_a_message_is_stored_before_it_goes_on() -> None:
    table = of_run(world(PAIR, [[0, 1]], OFTEN, duration_s=202.0), design={"store": "before"})
    assert parts(table)["database", "works"] == 50
    assert parts(table)["links between servers", "travels"] == 400
    assert parts(table)["gateways", "works"] == 1 + 4 + (2 + 4) + 2 + 8


def test_the_second_of_two_waits_for_the_gateway() -> None:
    people = [(user, *ALWAYS) for user in range(4)]
    rows = [(time_s, user, user // 2) for time_s, _, _ in OFTEN for user in (0, 2)]
    table = of_run(world(people, [[0, 1], [2, 3]], rows, duration_s=202.0), design={"routing": "in_process", "gateways": 1})
    # the second waits 1 for the first to be read, and 8 for it to be written
    assert parts(table, "p99") == {
        ("sender's link", "travels"): 10.0, ("gateways", "waits"): 1.0 + 8, ("gateways", "works"): 1.0 + 8,
        ("recipient's link", "travels"): 10.0,
    }  # fmt: skip
    assert table[table["percentile"] == "p99"]["whole_ms"].iloc[0] == pytest.approx(38.0)


def test_what_a_tick_takes_besides_is_no_work_of_the_message() -> None:
    table = of_run(
        world(PAIR, [[0, 1]], OFTEN, duration_s=202.0), design={"routing": "in_process", "gateways": 1},
        gateway={"wake_us": 3e3, "tick_us": 5e3},
    )  # fmt: skip
    # asleep 3, tick 5, read 1; the write follows in a tick of its own, of a worker that is awake or has just gone to sleep
    assert parts(table)["gateways", "works"] == 9
    assert parts(table)["gateways", "rest of its tick"] in (3 + 5 + 5, 2 * (3 + 5))


def test_the_outbound_queue_is_no_link() -> None:
    rows = [(time_s, 0, 0) for second, _, _ in OFTEN for time_s in (second, second)]
    table = of_run(
        world(PAIR, [[0, 1]], rows, duration_s=202.0, size_bytes=1000), design={"routing": "in_process", "gateways": 1},
        network={"downlink_bytes_per_s": 10_000.0, "outbound_max_bytes": 1e9}, gateway={"receive_us": 0.0, "write_us": 0.0},
    )  # fmt: skip
    # 1,000 bytes take 100 ms; the second message stands behind the first
    assert parts(table, "p99") == {
        ("sender's link", "travels"): 10.0, ("outbound queue", "waits"): 200.0, ("recipient's link", "travels"): 10.0,
    }  # fmt: skip


def test_who_is_not_connected_yet_waits() -> None:
    sessions = [(1, *ALWAYS), (0, 5.0, 1000.0)]
    rows = [(5.0, 0, 0)] * 120
    outcome = simulate(scenario(design={"routing": "in_process", "gateways": 1}), world(sessions, [[0, 1]], rows))
    online_s = float(outcome.sessions["online_s"][1])
    table = again.breakdown(outcome)
    assert table is not None
    assert online_s > 5
    assert parts(table)["sender not connected", "waits"] == pytest.approx(1e3 * (online_s - 5.0), abs=1e-6)
    assert parts(table)["sender's link", "travels"] == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("design", "sets", "faults"),
    [
        ("go-chat-v2", [], []),
        ("directory", ["gateway.receive_us=30000"], []),
        ("phoenix", ["design.local_shortcut=true"], []),
        ("room-channel", ["broker.topology=cluster", "broker.nodes=3", "broker.publish_us=20000"], []),
        ("go-chat", ["client.guarantee=at_least_once"], ["half-the-gateways"]),
        ("room-channel", ["broker.delivery=stream"], ["redis-failover-5s"]),
    ],
)
def test_the_parts_add_up_to_the_whole(design: str, sets: list[str], faults: list[str]) -> None:
    asked = load_scenario(design, ["workload.users=800", "workload.duration_s=200", *sets], faults=faults)
    outcome = simulate(asked, build_world(asked))
    table = again.breakdown(outcome)
    assert table is not None
    for name, rows in near_percentiles(outcome).items():
        took_s = outcome.deliveries["time_s"][rows] - outcome.messages["time_s"][outcome.deliveries["message"][rows]]
        mine = table[table["percentile"] == name]
        assert mine["mean_ms"].sum() == pytest.approx(1e3 * float(took_s.mean()))
        assert mine["whole_ms"].iloc[0] == pytest.approx(1e3 * float(took_s.mean()))
        assert (mine["mean_ms"] > 0).all()
        assert mine["deliveries"].iloc[0] == len(rows)


def test_deliveries_near_a_percentile_are_those() -> None:
    outcome = deliveries_at(range(1, 1001))
    near = near_percentiles(outcome)
    took_ms = {name: 1e3 * outcome.deliveries["time_s"][rows] for name, rows in near.items()}
    assert took_ms["p50"] == pytest.approx(np.arange(451, 551))
    assert took_ms["p99"] == pytest.approx(np.arange(986, 996))
    assert set(near_percentiles(deliveries_at(range(99)))) == {"p50"}
    assert near_percentiles(deliveries_at([1.0])) == {}
    many = near_percentiles(deliveries_at(range(20_000)))
    assert {name: len(rows) for name, rows in many.items()} == {"p50": FOLLOWED_MAX, "p99": FOLLOWED_MAX}
    assert 1e3 * outcome_middle(many) == pytest.approx(10_000, abs=60)


def outcome_middle(near: dict[str, np.ndarray]) -> float:
    return float(np.median(near["p50"])) / 1e3


def test_of_another_run_nothing_is_said() -> None:
    outcome = simulate(scenario(), world(PAIR, [[0, 1]], OFTEN, duration_s=202.0))
    later = {**outcome.deliveries, "time_s": outcome.deliveries["time_s"] + 1e-3}
    assert again.breakdown(replace(outcome, deliveries=later)) is None


def test_a_way_that_is_not_known_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = simulate(scenario(), world(PAIR, [[0, 1]], OFTEN, duration_s=202.0))
    monkeypatch.setattr(again.Recorder, "table", forgetful(again.Recorder.table))
    with pytest.raises(AuditError, match="its way is not known"):
        again.breakdown(outcome)


def forgetful(table: Any) -> Any:
    """A recorder's table without what gateways have received."""
    return lambda recorder: {name: column[_others(table(recorder))] for name, column in table(recorder).items()}


def _others(columns: dict[str, np.ndarray]) -> np.ndarray:
    return columns["work"] != 0


def test_a_recorder_changes_nothing() -> None:
    asked = load_scenario("room-channel", ["workload.users=1500", "workload.duration_s=200"])
    people = build_world(asked)
    plain = simulate(asked, people)
    watched = simulate(asked, people, recorder=again.Recorder(range(len(people.messages))))
    for name, column in plain.deliveries.items():
        assert np.array_equal(column, watched.deliveries[name], equal_nan=column.dtype.kind == "f"), name
    assert (plain.deliveries["fate"] == Fate.DELIVERED).sum() > 50
