"""The tables computed from an outcome: by hand, and by laws that hold for every outcome."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsim import analysis
from chatsim.analysis.flow import most_connections
from chatsim.analysis.stations import bin_edges_s
from chatsim.engine import simulate
from chatsim.engine.outcome import Cause, Fate, Outcome, SessionFate, Work
from chatsim.scenario import ROUTINGS, InputError, Scenario
from chatsim.world import build_world, load_test
from tests.outcomes import deliveries_at, outcome

# --------------------------------------------------------------------------- latency


def test_latency_counts_from_when_the_message_was_written() -> None:
    run = outcome(
        [{"time_s": 1.0, "received_s": 5.0}, {"time_s": 2.0}],
        [
            {"message": 0, "time_s": 5.5},
            {"message": 1, "time_s": 2.25},
            {"message": 1, "fate": Fate.STORED, "time_s": 9.0},
        ],
    )
    assert analysis.latency_ms(run).tolist() == [4500.0, 250.0]


def test_percentiles_are_samples_and_need_one_sample_beyond_them() -> None:
    figures = analysis.percentiles(np.arange(1, 101))
    assert figures["count"] == 100
    assert [figures[name] for name in ("p50_ms", "p90_ms", "p95_ms", "p99_ms")] == [50, 90, 95, 99]
    assert math.isnan(figures["p999_ms"])
    assert (figures["mean_ms"], figures["max_ms"]) == (50.5, 100)
    assert analysis.percentiles(np.arange(1, 1001))["p999_ms"] == 999
    assert math.isnan(analysis.percentiles(np.arange(99))["p99_ms"])
    assert math.isnan(analysis.percentiles([1.0])["p50_ms"])
    assert analysis.percentiles([])["count"] == 0


def test_latency_by_place_and_by_room_size() -> None:
    run = outcome(
        [{"recipients": 1}, {"recipients": 4}, {"recipients": 50}],
        [
            {"message": 0, "time_s": 0.010, "local": True},
            {"message": 1, "time_s": 0.020},
            {"message": 1, "time_s": 0.030},
            {"message": 2, "time_s": 0.040, "local": True},
        ],
    )
    by_place = analysis.latency(run, "local").set_index("local")
    assert by_place.loc["local", ["count", "p50_ms", "mean_ms"]].tolist() == [2, 10, 25]
    assert by_place.loc["remote", ["count", "p50_ms", "max_ms"]].tolist() == [2, 20, 30]
    by_size = analysis.latency(run, "room_size").set_index("room_size")
    assert by_size["count"].to_dict() == {"2": 1, "3-5": 2, "6-10": 0, "11-50": 0, "51+": 1}
    everything = analysis.latency(run)
    assert everything["count"].tolist() == [4]
    assert everything["max_ms"].tolist() == [40]


@given(st.lists(st.floats(0.001, 1e6), min_size=2, max_size=300))
def test_percentile_curve_rises_and_holds_the_percentiles_of_the_table(values: list[float]) -> None:
    curve = analysis.percentile_curve(values)
    assert (np.diff(curve["percentile"]) > 0).all()
    assert (np.diff(curve["latency_ms"]) >= 0).all()
    assert set(curve["latency_ms"]) <= set(values)
    assert curve["latency_ms"].iloc[0] == min(values)
    figures = analysis.percentiles(values)
    for name, percentile in (("p50_ms", 50.0), ("p90_ms", 90.0), ("p99_ms", 99.0)):
        row = curve[np.isclose(curve["percentile"], percentile, rtol=0, atol=1e-9)]
        assert row["latency_ms"].tolist() == ([] if math.isnan(figures[name]) else [figures[name]])
    assert curve["nines"].max() <= math.log10(len(values)) + 1e-9


def test_percentile_curve_of_too_few_samples_is_empty() -> None:
    assert len(analysis.percentile_curve([])) == len(analysis.percentile_curve([1.0])) == 0


def test_logins() -> None:
    run = outcome(
        sessions=[
            {"start_s": -5.0, "online_s": 0.0},
            {"start_s": 1.0, "online_s": 1.1},
            {"start_s": 2.0, "online_s": 2.3, "left_s": 3.0, "fate": SessionFate.LEFT},
            {"start_s": 3.0, "online_s": math.nan, "fate": SessionFate.ABANDONED},
            {"start_s": 3.0, "online_s": math.nan, "fate": SessionFate.REFUSED},
            {"start_s": 9.0, "online_s": math.nan, "fate": SessionFate.CONNECTING},
        ]
    )
    figures = analysis.logins(run)
    assert figures[["logins", "through", "abandoned", "refused", "connecting"]].tolist() == [5, 2, 1, 1, 1]
    assert figures[["p50_ms", "mean_ms", "max_ms"]].tolist() == pytest.approx([100, 200, 300])


# --------------------------------------------------------------------------- flow


def test_fates_by_hand() -> None:
    run = outcome(
        [{}],
        [{}, {}, {"fate": Fate.LOST, "cause": Cause.LEFT}, {"fate": Fate.STORED, "session": -1}],
    )
    table = analysis.fates(run)
    assert table.to_dict("list") == {
        "fate": ["delivered", "stored", "lost"],
        "cause": ["none", "none", "left"],
        "count": [2, 1, 1],
        "share": [0.5, 0.25, 0.25],
    }
    assert analysis.fates(outcome()).empty


@given(st.lists(st.tuples(st.sampled_from(list(Fate)), st.sampled_from(list(Cause))), min_size=1, max_size=50))
def test_shares_of_fates_sum_to_one(pairs: list[tuple[Fate, Cause]]) -> None:
    table = analysis.fates(outcome([{}], [{"fate": fate, "cause": cause} for fate, cause in pairs]))
    assert table["count"].sum() == len(pairs)
    assert table["share"].sum() == pytest.approx(1)
    assert not table.duplicated(["fate", "cause"]).any()


def flow_run() -> Outcome:
    """Three messages in 10 s; the last delivery comes after the end."""
    return outcome(
        [
            {"time_s": 1.0, "size_bytes": 100, "pushes": 2, "discards": 1},
            {"time_s": 6.0, "size_bytes": 50, "pushes": 2, "discards": 1, "received_s": 6.1},
            {"time_s": 9.0, "size_bytes": 10, "received_s": math.nan, "fate": Fate.REFUSED, "cause": Cause.NO_SESSION},
        ],
        [
            {"message": 0, "time_s": 1.5},
            {"message": 0, "time_s": 5.5},
            {"message": 1, "time_s": 10.5},
            {"message": 1, "session": -1, "fate": Fate.STORED, "written_s": math.nan, "time_s": math.nan},
            {"message": 2, "fate": Fate.REFUSED, "written_s": math.nan, "time_s": math.nan},
            {"message": 1, "fate": Fate.DUPLICATE, "time_s": 7.0},
            {"message": 0, "session": -1, "fate": Fate.LOST, "cause": Cause.OUTBOUND_FULL},
        ],
    )


def test_throughput_over_time_by_hand() -> None:
    table = analysis.throughput(flow_run(), bins=2)
    assert table["start_s"].tolist() == [0, 5]
    assert table["end_s"].tolist() == [5, 10]
    assert table["messages_per_s"].tolist() == [0.2, 0.4]
    assert table["offered_per_s"].tolist() == [0.4, 0.4]
    assert table["carried_per_s"].tolist() == [0.2, 0.2]
    assert table["pushes_per_s"].tolist() == [0.4, 0.4]
    assert table["discards_per_s"].tolist() == [0.2, 0.2]


def test_throughput_totals_by_hand() -> None:
    totals = analysis.throughput_totals(flow_run())
    assert totals.to_dict() == {
        "messages": 3,
        "messages_per_s": 0.3,
        "offered": 4,
        "offered_per_s": 0.4,
        "delivered": 3,
        "delivered_share": 0.75,
        "carried_per_s": 0.2,
        "pushes": 4,
        "discards": 2,
        "discarded_share": 0.5,
    }
    assert analysis.throughput_totals(flow_run(), until_s=5.0)["carried_per_s"] == 0.2
    empty = analysis.throughput_totals(outcome())
    assert math.isnan(empty["delivered_share"])
    assert math.isnan(empty["discarded_share"])


def test_traffic_by_hand() -> None:
    table = analysis.traffic(flow_run()).set_index("leg")
    assert table["total_bytes"].to_dict() == {"uplink": 150.0, "egress": 300.0, "downlink": 300.0}
    assert table["rate_bytes_per_s"].to_dict() == {"uplink": 15.0, "egress": 30.0, "downlink": 30.0}


def people_run() -> Outcome:
    return outcome(
        sessions=[
            {"gateway": 0, "online_s": -1.0},
            {"gateway": 0, "online_s": 2.0, "left_s": 4.0},
            {"gateway": 1, "online_s": 2.0},
            {"gateway": 1, "online_s": math.nan, "left_s": 5.0, "fate": SessionFate.ABANDONED},
        ],
        subscriptions=[
            {"time_s": 0.0},
            {"time_s": 2.0, "node": 0},
            {"time_s": 2.0, "node": 0},
            {"time_s": 4.0, "change": -1},
        ],
    )


def test_connections_subscriptions_and_memory_by_hand() -> None:
    run = people_run()
    assert analysis.connections(run).to_dict("list") == {"time_s": [0.0, 2.0, 4.0], "connections": [1, 3, 2]}
    by_gateway = analysis.connections(run, by="gateway")
    assert by_gateway.values.tolist() == [[0, 0, 1], [0, 2, 2], [0, 4, 1], [1, 2, 1]]
    assert analysis.subscriptions(run)["subscriptions"].tolist() == [1, 3, 2]
    assert analysis.subscriptions(run, by="node")["node"].tolist() == [0, 0, 0]
    memory = analysis.memory(run)
    assert memory["peak_connections"].tolist() == [2, 1]
    assert memory["memory_bytes"].tolist() == [60e6 + 2 * 8000, 60e6 + 8000]
    assert most_connections(run) == 3


eighths_s = st.integers(-2, 12).map(lambda eighths: eighths / 8)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), eighths_s | st.just(math.nan), st.integers(0, 9) | st.just(math.nan))))
def test_connections_are_those_who_came_and_have_not_gone_whatever_the_ties(visits: list[tuple[int, float, float]]) -> None:
    rows = [{"gateway": gateway, "online_s": online_s, "left_s": online_s + long / 8} for gateway, online_s, long in visits]
    run = outcome(sessions=rows)
    came = [(row["gateway"], max(row["online_s"], 0), max(row["left_s"], 0) if row["left_s"] == row["left_s"] else math.inf) for row in rows if row["online_s"] == row["online_s"]]
    changes = {(gateway, time_s) for gateway, *when_s in came for time_s in when_s if time_s < math.inf}
    by_gateway = [[gateway, at_s, sum(where == gateway and came_s <= at_s < went_s for where, came_s, went_s in came)] for gateway, at_s in sorted(changes)]
    assert analysis.connections(run, by="gateway").values.tolist() == by_gateway
    all_together = [sum(came_s <= at_s < went_s for _, came_s, went_s in came) for at_s in sorted({at_s for _, at_s in changes})]
    assert analysis.connections(run)["connections"].tolist() == all_together
    assert most_connections(run) == max(all_together, default=0)


# --------------------------------------------------------------------------- stations


def station_run() -> Outcome:
    """gateway-0 busy 4 of 10 s and once beyond the end; the database busy 8 s on 2 cores."""
    ticks = [
        {"station": 0, "start_s": 0.0, "end_s": 1.0, "items": 1, "waiting": 0, "waited_s": 0.0},
        {"station": 0, "start_s": 1.0, "end_s": 3.5, "items": 3, "waiting": 2, "waited_s": 3.0},
        {"station": 0, "start_s": 9.5, "end_s": 12.0, "items": 2, "waiting": 0, "waited_s": 1.0},
        {"station": 3, "start_s": 0.0, "end_s": 6.0},
        {"station": 3, "start_s": 4.0, "end_s": 6.0},
    ]
    work = {"gateway-0": {Work.RECEIVE: 100_000, Work.WRITE: 8_000, Work.DISCARD: 5}, "database": {Work.STORE: 2}}
    item_us = {"gateway-0": 1.2e6, "database": 2e6}
    return outcome(ticks=ticks, work=work, item_us=item_us, database={"cores": 2, "tick_us": 5e5})


def test_stations_by_hand() -> None:
    table = analysis.stations(station_run()).set_index("station")
    assert table["tier"].tolist() == ["gateway", "gateway", "broker", "database"]
    assert table["cores"].tolist() == [1, 1, 1, 2]
    assert table["utilisation"].tolist() == pytest.approx([0.4, 0, 0, 0.4])
    assert table["ticks"].tolist() == [3, 0, 0, 2]
    assert table.loc["gateway-0", "items_per_tick"] == 2
    assert table.loc["gateway-0", "mean_queue_items"] == pytest.approx(0.4)
    assert table.loc["gateway-0", "mean_wait_ms"] == pytest.approx(4000 / 6)
    assert table["largest_queue_items"].tolist() == [5, 0, 0, 1]
    assert table.loc["gateway-0", "work_us"] == 1.2e6
    assert table.loc["gateway-0", ["receive", "write", "discard"]].tolist() == [100_000, 8_000, 5]
    # 1.2 s of work in 6 s of ticks: a fifth of the busy time; the database's ticks hold one item each, all needed
    assert table["work_utilisation"].tolist() == pytest.approx([0.08, 0, 0, 0.4 * 3 / 8])


def test_tiers_by_hand() -> None:
    table = analysis.tiers(station_run()).set_index("tier")
    assert table["utilisation"].to_dict() == pytest.approx({"gateway": 0.2, "broker": 0, "database": 0.4})
    assert table["busiest_utilisation"].to_dict() == pytest.approx({"gateway": 0.4, "broker": 0, "database": 0.4})
    assert table.loc["gateway", ["stations", "cores", "ticks", "items_per_tick"]].tolist() == [2, 2, 3, 2]
    assert math.isnan(table.loc["broker", "items_per_tick"])
    assert "broker" not in set(analysis.tiers(outcome(design={"routing": "mesh", "gateways": 2}))["tier"])


def test_a_host_limits_the_cores_of_its_stations() -> None:
    run = outcome(hosts=[{"name": "small", "cores": 2, "stations": ["database", "gateway-*"]}])
    assert analysis.stations(run)["cores"].tolist() == [1, 1, 1, 2]


def test_timeline_by_hand() -> None:
    table = analysis.station_timeline(station_run(), 4.0).set_index("station")
    assert table.loc["gateway-0", "end_s"].tolist() == [4, 8, 10]
    assert table.loc["gateway-0", "utilisation"].tolist() == pytest.approx([3.5 / 4, 0, 0.5 / 2])
    # 3 items that waited 1 s each until 1 s; 2 items that waited 0.5 s each until 9.5 s
    assert table.loc["gateway-0", "mean_queue_items"].tolist() == pytest.approx([3 / 4, 0, 1 / 2])
    assert table.loc["gateway-0", "largest_queue_items"].tolist() == [5, 0, 2]
    assert table.loc["database", "utilisation"].tolist() == pytest.approx([4 / 8, 4 / 8, 0])
    tiers = analysis.tier_timeline(station_run(), 4.0).set_index("tier")
    assert tiers.index.unique().tolist() == ["gateway", "broker", "database"]
    assert tiers.loc["gateway", "utilisation"].tolist() == pytest.approx([3.5 / 8, 0, 0.5 / 4])
    assert tiers.loc["gateway", "largest_queue_items"].tolist() == [5, 0, 2]


tick_rows = st.lists(
    st.tuples(st.integers(0, 3), st.floats(0, 12), st.floats(0, 9), st.integers(1, 5), st.floats(0, 1)),
    min_size=1,
    max_size=30,
)


@settings(deadline=None)
@given(tick_rows, st.floats(0.3, 11))
def test_bins_keep_all_busy_time_and_all_waiting(
    rows: list[tuple[int, float, float, int, float]], bin_s: float
) -> None:
    ticks = [
        {"station": s, "start_s": at, "end_s": at + long, "items": items, "waited_s": min(wait, at) * items}
        for s, at, long, items, wait in rows
    ]
    run = outcome(ticks=ticks)
    table = analysis.station_timeline(run, bin_s)
    width_s = table["end_s"] - table["start_s"]
    assert len(table) == len(run.stations) * (len(bin_edges_s(10.0, bin_s)) - 1)
    cores = table["station"].map(analysis.stations(run).set_index("station")["cores"])
    busy_s = (table["utilisation"] * width_s * cores).groupby(table["station"]).sum()
    queued_s = (table["mean_queue_items"] * width_s).groupby(table["station"]).sum()
    for number, name in enumerate(run.stations):
        own = [row for row in ticks if row["station"] == number]
        assert busy_s[name] == pytest.approx(
            sum(max(min(row["end_s"], 10) - min(row["start_s"], 10), 0) for row in own)
        )
        inside = sum(
            row["items"] * max(min(row["start_s"], 10) - min(row["start_s"] - row["waited_s"] / row["items"], 10), 0)
            for row in own
        )
        assert queued_s[name] == pytest.approx(inside, abs=1e-9)


# --------------------------------------------------------------------------- overload


def queue_run(rho: float, items: int, rng: np.random.Generator) -> Outcome:
    """gateway-0 as an M/M/1 queue with mean service 1 s, by Lindley's recursion."""
    gap_s, service_s = rng.exponential(1 / rho, items), rng.exponential(1.0, items)
    step_s = np.append(0.0, np.cumsum(service_s[:-1] - gap_s[1:]))
    wait_s = step_s - np.minimum.accumulate(step_s)
    arrival_s = np.cumsum(gap_s)
    start_s = arrival_s + wait_s
    waiting = np.searchsorted(arrival_s, start_s, side="right") - np.arange(1, items + 1)
    return ticks_run(start_s, start_s + service_s, np.ones(items), wait_s, float(arrival_s[-1]), waiting)


def ticking_run(rho: float, items: int, tick_s: float, rng: np.random.Generator) -> Outcome:
    """gateway-0 as an event loop that takes all that waits: Poisson arrivals, 1 s per item, tick_s per tick."""
    arrival_s = np.cumsum(rng.exponential(1 / rho, items))
    taken, now_s, rows = 0, 0.0, []
    while taken < items:
        now_s = max(now_s, float(arrival_s[taken]))
        upto = int(np.searchsorted(arrival_s, now_s, side="right"))
        rows.append(
            (now_s, now_s + tick_s + (upto - taken), upto - taken, float((now_s - arrival_s[taken:upto]).sum()))
        )
        now_s, taken = rows[-1][1], upto
    start_s, end_s, count, waited_s = (np.array(column) for column in zip(*rows, strict=True))
    return ticks_run(start_s, end_s, count, waited_s, float(arrival_s[-1]))


def ticks_run(
    start_s: np.ndarray,
    end_s: np.ndarray,
    items: np.ndarray,
    waited_s: np.ndarray,
    until_s: float,
    waiting: np.ndarray | None = None,
) -> Outcome:
    """gateway-0 with these ticks, and messages until ``until_s``."""
    zeros = np.zeros(len(start_s), np.int64)
    left = zeros if waiting is None else waiting
    ticks = {
        "station": zeros,
        "start_s": start_s,
        "end_s": end_s,
        "items": items,
        "waiting": left,
        "waited_s": waited_s,
    }
    return outcome([{"time_s": 0.0}, {"time_s": until_s}], ticks=ticks, duration_s=until_s + 1)


@pytest.mark.parametrize("rho", [0.5, 0.9])
@pytest.mark.parametrize("items", [300, 1200, 5000])
def test_no_false_alarm_on_a_stable_queue(rho: float, items: int) -> None:
    # measured: none in 30,000 such runs at 1200 and 5000 items, so fewer than 1 in 10,000 (95 %); the seeds are fixed
    rng = np.random.default_rng(11)
    for _ in range(300):
        found = analysis.overload(queue_run(rho, items, rng))
        assert not found.overloaded, found.sentence


def test_an_overloaded_queue_is_found() -> None:
    rng = np.random.default_rng(12)
    for _ in range(200):
        found = analysis.overload(queue_run(1.2, 5000, rng))
        assert found.overloaded
        assert found.stations == ("gateway-0",)
        assert found.sentence.startswith("overloaded: the queue of gateway-0 kept growing: at the end items waited")


@pytest.mark.parametrize("rho", [0.5, 0.9])
def test_a_loop_that_is_busy_all_the_time_but_stable_is_not_overloaded(rho: float) -> None:
    rng = np.random.default_rng(13)
    for _ in range(30):
        run = ticking_run(rho, 5000, 10.0, rng)
        assert analysis.stations(run)["utilisation"][0] > 0.98
        found = analysis.overload(run)
        assert not found.overloaded, found.sentence


@pytest.mark.parametrize("rho", [1.2, 2.0, 5.0, 100.0])
def test_a_loop_beyond_its_capacity_is_overloaded_though_its_ticks_get_few(rho: float) -> None:
    rng = np.random.default_rng(14)
    for _ in range(30):
        assert analysis.overload(ticking_run(rho, 5000, 10.0, rng)).overloaded


def test_a_storm_that_has_passed_is_not_overload() -> None:
    waits = np.linspace(0.0, 50.0, 2000)
    run = ticks_run(waits, waits + 0.025, np.ones(2000), waits, until_s=200.0)
    assert not analysis.overload(run).overloaded


def test_a_wait_that_grows_but_stays_short_is_not_overload() -> None:
    start_s = np.linspace(0.0, 200.0, 2000)
    for longest_s, grows in ((0.1, False), (10.0, True)):
        wait_s = longest_s * start_s / 200
        run = ticks_run(start_s, start_s + 0.101, np.ones(2000), wait_s, until_s=200.0)
        assert analysis.overload(run).overloaded is grows


def test_a_last_tick_that_does_not_end_is_overload() -> None:
    # an event loop 200 times beyond its capacity: the third tick began after 1 % of the run
    start_s, items = np.array([0.0, 1.0, 201.0]), np.array([1, 200, 40_000])
    run = ticks_run(start_s, start_s + items, items, items * np.array([0.0, 0.5, 100.0]), until_s=20_000.0)
    assert analysis.overload(run).stations == ("gateway-0",)


def test_deliveries_that_take_too_long_are_a_reason() -> None:
    slow = deliveries_at([3000.0] * 6 + [20.0] * 94)
    assert analysis.overload(slow).sentence == "overloaded: 6 % of deliveries took longer than 1 s"
    assert not analysis.overload(deliveries_at([3000.0] * 5 + [20.0] * 95)).overloaded
    stuck = outcome([{"time_s": 0.0}, {"time_s": 8.0}], [{"fate": Fate.IN_FLIGHT, "time_s": math.nan}])
    assert analysis.overload(stuck).overloaded
    assert analysis.overload(outcome()).sentence == "not overloaded: no queue kept growing; nothing waited at the end"


# --------------------------------------------------------------------------- comparison


def test_paired_by_hand() -> None:
    trace = [{"time_s": 0.0}, {"time_s": 1.0}]
    a = outcome(
        trace,
        [
            {"message": 0, "recipient": 1, "time_s": 0.010},
            {"message": 0, "recipient": 2, "time_s": 0.020},
            {"message": 1, "recipient": 1, "time_s": 1.030},
            {"message": 1, "recipient": 3, "time_s": 1.5},
        ],
        name="a",
    )
    b = outcome(
        trace,
        [
            {"message": 1, "recipient": 1, "time_s": 1.020},
            {"message": 0, "recipient": 2, "time_s": 0.050},
            {"message": 0, "recipient": 2, "session": 9, "time_s": 0.040},
            {"message": 0, "recipient": 1, "time_s": 0.010},
            {"message": 1, "recipient": 3, "fate": Fate.STORED, "time_s": math.nan},
        ],
        name="b",
    )
    figures = analysis.paired(a, b)
    assert figures[["a", "b", "pairs", "only_a", "only_b"]].tolist() == ["a", "b", 3, 1, 0]
    assert figures[["mean_difference_ms", "median_difference_ms"]].tolist() == pytest.approx([10 / 3, 0])
    assert figures[["faster_share", "slower_share"]].tolist() == pytest.approx([1 / 3, 1 / 3])
    back = analysis.paired(b, a)
    assert back["mean_difference_ms"] == pytest.approx(-10 / 3)


def test_pairs_need_the_same_trace() -> None:
    with pytest.raises(InputError, match="'x' and 'y' did not get the same trace: the same workload, seed"):
        analysis.paired(outcome([{"time_s": 0.0}], name="x"), outcome([{"time_s": 1.0}], name="y"))


def test_intervals_against_published_quantiles() -> None:
    # t(0.975; 9) = 2.262157, NIST/SEMATECH handbook 1.3.6.7.2
    values = np.arange(10.0)
    mean, half_width, n = analysis.intervals(values)
    assert (mean, n) == (4.5, 10)
    assert half_width == pytest.approx(2.262157 * values.std(ddof=1) / math.sqrt(10), rel=1e-6)
    assert analysis.intervals([7.0, math.nan])[::2] == (7.0, 1)
    assert math.isnan(analysis.intervals([7.0]).half_width)
    assert math.isnan(analysis.intervals([]).mean)


def test_intervals_cover_the_mean_as_often_as_they_say() -> None:
    rng = np.random.default_rng(3)
    runs = 2000
    hits = sum(abs(mean) <= half for mean, half, _ in (analysis.intervals(rng.normal(size=5)) for _ in range(runs)))
    assert abs(hits / runs - 0.95) < 5 * math.sqrt(0.95 * 0.05 / runs)  # false alarm below 1e-6


def test_knee_by_hand() -> None:
    table = pd.DataFrame(
        {
            "offered_per_s": [10.0, 20, 40, 80],
            "carried_per_s": [10.0, 20, 40, 41],
            "p50_ms": [10.0, 10, 12, 500],
            "p99_ms": [1.0, 2, 9, 900],
        }
    )
    found = analysis.knee(table)
    assert (found["offered_per_s"], found["reached"]) == (40, True)
    assert found["power"] == pytest.approx(40 / 12)
    assert analysis.knee(table, "p99_ms")["offered_per_s"] == 10
    assert not analysis.knee(table.iloc[:3])["reached"]
    with pytest.raises(InputError, match="no point of the saturation table has a value in 'p50_ms'"):
        analysis.knee(table.assign(p50_ms=math.nan))


def test_summary_agrees_with_the_tables_it_comes_from() -> None:
    run = station_run()
    row = analysis.summary(run)
    assert row["design"] == "scenario"
    assert row["gateway_utilisation"] == pytest.approx(0.2)
    assert row["database_utilisation"] == pytest.approx(0.4)
    assert row["busiest_tier"] == "database"
    assert (row["deliveries"], row["subscriptions"], row["connections"], row["overloaded"]) == (0, 0, 0, False)
    assert analysis.summary(flow_run())[
        ["deliveries", "delivered_share", "carried_per_s", "discarded_share"]
    ].tolist() == [3, 0.75, 0.2, 0.5]
    mesh = outcome(design={"routing": "mesh", "gateways": 2})
    assert math.isnan(analysis.summary(mesh)["broker_utilisation"])


# --------------------------------------------------------------------------- outcomes of the engine


def real_scenario(routing: str, **parts: object) -> Scenario:
    """Two hundred users whose stations cost exactly ticks and items: nothing per connection, nothing by chance."""
    gateways = 1 if routing == "in_process" else 3
    costs = {"broker": {"flush_us": 0.0}, "database": {"service": "fixed"}, **parts}
    workload = {"users": 200, "duration_s": 300.0}
    return Scenario.model_validate(
        {"workload": workload, "design": {"routing": routing, "gateways": gateways}, **costs}
    )


@pytest.mark.parametrize("routing", ROUTINGS)
def test_busy_time_is_ticks_and_the_work_counted(routing: str) -> None:
    scenario = real_scenario(routing)
    run = simulate(scenario, build_world(scenario))
    table = analysis.stations(run)
    assert table["receive"].sum() > 10
    assert table["login"].sum() > 10
    number = run.ticks["station"]
    busy_us = 1e6 * np.bincount(number, run.ticks["end_s"] - run.ticks["start_s"], minlength=len(table))
    fixed_us = np.bincount(number, minlength=len(table)) * table["tier"].map(
        {"gateway": scenario.gateway.tick_us, "broker": scenario.broker.tick_us, "database": 0.0}
    )
    assert table["work_us"].tolist() == pytest.approx((busy_us - fixed_us).tolist(), abs=0.01)


def test_tables_of_a_run_agree_with_each_other() -> None:
    scenario = real_scenario("global")
    run = simulate(scenario, build_world(scenario))
    row, totals, fates = analysis.summary(run), analysis.throughput_totals(run), analysis.fates(run)
    assert row["deliveries"] == fates.loc[fates["fate"] == "delivered", "count"].sum() == len(analysis.latency_ms(run))
    assert (
        row["deliveries"]
        == analysis.latency(run, "local")["count"].sum()
        == analysis.latency(run, "room_size")["count"].sum()
    )
    flow = analysis.throughput(run, bins=30)
    width_s = flow["end_s"] - flow["start_s"]
    assert (flow["messages_per_s"] * width_s).sum() == pytest.approx(totals["messages"])
    assert (flow["offered_per_s"] * width_s).sum() == pytest.approx(totals["offered"])
    stations = analysis.stations(run)
    assert totals["pushes"] == stations["push"].sum()
    assert totals["discards"] == stations["discard"].sum()
    assert analysis.connections(run)["connections"].iloc[-1] >= 0
    assert analysis.memory(run)["peak_connections"].sum() >= row["connections"]
    again = analysis.paired(run, simulate(scenario, run.world))
    assert (again["pairs"], again["mean_difference_ms"], again["faster_share"]) == (
        again["pairs"] + again["only_a"],
        0,
        0,
    )


@pytest.mark.parametrize(("load", "expected"), [(0.5, False), (0.85, False), (1.3, True), (5.0, True)])
def test_a_load_test_says_whether_the_database_keeps_up(load: float, expected: bool) -> None:
    scenario = real_scenario("room", database={"cores": 1, "insert_us": 2000.0, "service": "exponential"})
    world = load_test(build_world(scenario), load * 500, 3000)
    found = analysis.overload(simulate(scenario, world))
    assert found.overloaded is expected, found.sentence
    assert found.stations == (("database",) if expected else ())


def test_ticking_gateways_near_their_capacity_are_busy_but_keep_up() -> None:
    gateway = {"tick_us": 5000.0}
    scenario = real_scenario("room", gateway=gateway, database={"insert_us": 1.0})
    run = simulate(scenario, load_test(build_world(scenario), 3000, 6000))
    tiers = analysis.tiers(run, analysis.offered_until_s(run)).set_index("tier")
    assert tiers.loc["gateway", "busiest_utilisation"] > 0.9
    assert tiers.loc["gateway", "busiest_work_utilisation"] < 0.2
    found = analysis.overload(run)
    assert not found.overloaded, found.sentence
