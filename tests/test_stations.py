"""Stations of the real engine against queueing theory and against the arithmetic of their ticks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from chatsim.engine import Outcome, Work, simulate
from chatsim.scenario import Scenario
from chatsim.scenario.load import validate
from chatsim.theory import TickStation, discarded_share, md1_wait_s, mm1_wait_s, mmc_wait_s
from chatsim.world.draws import Purpose, exponential
from chatsim.world.tables import World
from tests.worlds import standing_rooms

Floats = npt.NDArray[np.float64]
SECTIONS = 30
FREE = {"tick_us": 0.0, "wake_us": 0.0, "receive_us": 0.0, "parse_us": 0.0, "command_us": 0.0, "write_us": 0.0}
NO_DELAY = {
    "client_ms_median": 0.0,
    "jitter_sigma": 0.0,
    "broker_rtt_ms": 0.0,
    "database_rtt_ms": 0.0,
    "downlink_bytes_per_s": 1e15,
}


def pairs_world(times_s: Floats, pairs: int, online: int = 2) -> World:
    """Pairs of users (2p, 2p + 1), the first writing to the second in turn; ``online`` of each pair are connected."""
    sender = 2 * (np.arange(len(times_s)) % pairs)
    return standing_rooms(2, pairs, times_s, sender, [user for user in range(2 * pairs) if user % 2 < online])


def poisson_s(messages: int, rate_per_s: float) -> Floats:
    """Poisson arrivals."""
    return np.cumsum(exponential(7, 0, Purpose.LOAD_TEST, np.arange(messages), 0)) / rate_per_s


def mean_and_error(values: Floats) -> tuple[float, float]:
    """The mean without the first tenth, and its standard error from sections, which are long against the correlation."""
    kept = values[len(values) // 10 :]
    sections = kept[: len(kept) // SECTIONS * SECTIONS].reshape(SECTIONS, -1).mean(axis=1)
    return float(sections.mean()), float(sections.std(ddof=1) / np.sqrt(SECTIONS))


def wait_s(cores: int, service: str, load: float, messages: int = 60_000) -> Floats:
    """Waits of messages at one gateway that takes one item at a time, 1 ms each."""
    scenario = validate(
        {
            "design": {"routing": "in_process", "gateways": 1, "store": "never", "offline": "drop"},
            "gateway": {**FREE, "receive_us": 1000.0, "cores": cores, "batch_max": 1, "service": service},
            "network": NO_DELAY,
        }
    )
    outcome = simulate(scenario, pairs_world(poisson_s(messages, load * cores * 1000.0), 1, online=1))
    ticks = outcome.ticks
    receiving = ticks["end_s"] > ticks["start_s"]  # the empty fan-out of each message takes no time
    return ticks["waited_s"][receiving]


@pytest.mark.parametrize(
    ("cores", "service", "load", "expected_s"),
    [
        (1, "exponential", 0.7, mm1_wait_s(700.0, 1e-3)),
        (4, "exponential", 0.8, mmc_wait_s(3200.0, 1e-3, 4)),
        (1, "fixed", 0.7, md1_wait_s(700.0, 1e-3)),
    ],
    ids=["M/M/1", "M/M/4", "M/D/1"],
)
def test_a_gateway_that_takes_one_item_at_a_time_waits_as_theory_says(
    cores: int, service: str, load: float, expected_s: float
) -> None:
    """Within 4 standard errors. A right engine misses that for 6 seeds of 100,000; this seed is fixed."""
    mean_s, error_s = mean_and_error(wait_s(cores, service, load))
    assert abs(mean_s - expected_s) < 4 * error_s
    assert error_s < 0.08 * expected_s


@pytest.mark.parametrize("cooling_us", [0.0, 500.0, 4000.0])
def test_a_wake_costs_by_how_long_the_station_slept(cooling_us: float) -> None:
    """Messages of 1 ms, alone or one 2 ms after the end of another; the first finds a station that never worked."""
    scenario = validate(
        {
            "design": {"routing": "in_process", "gateways": 1, "store": "never", "offline": "drop"},
            "gateway": {**FREE, "receive_us": 1000.0, "wake_us": 600.0, "cooling_us": cooling_us, "batch_max": 1},
            "network": NO_DELAY,
        }
    )
    gap_s = 2e-3
    first_s = 1e-3 + 600e-6
    outcome = simulate(scenario, pairs_world(np.array([1.0, 1.0 + first_s + gap_s]), 1, online=1))
    ticks = outcome.ticks
    working = ticks["end_s"] - ticks["start_s"] > 1e-9
    length_us = 1e6 * (ticks["end_s"] - ticks["start_s"])[working]
    share = 1.0 if cooling_us == 0 else 2000.0 / (2000.0 + cooling_us)
    assert length_us.tolist() == pytest.approx([1600.0, 1000.0 + 600.0 * share])


def test_a_cooling_station_is_busy_as_theory_says() -> None:
    """M/D/1 whose first customer after a sleep takes longer: busy = r (service + (1 - busy) wake), where a sleep is
    exponential and wake is the mean of what it costs. Within 4 standard errors; this seed is fixed."""
    rate_per_s, service_s, wake_s, cooling_s = 400.0, 1e-3, 1e-3, 2e-3
    scenario = validate(
        {
            "design": {"routing": "in_process", "gateways": 1, "store": "never", "offline": "drop"},
            "gateway": {
                **FREE, "receive_us": 1e6 * service_s, "wake_us": 1e6 * wake_s, "cooling_us": 1e6 * cooling_s,
                "batch_max": 1,
            },
            "network": NO_DELAY,
        }
    )  # fmt: skip
    outcome = simulate(scenario, pairs_world(poisson_s(60_000, rate_per_s), 1, online=1))
    slept_s = np.linspace(0.0, 60.0 / rate_per_s, 600_001)
    density = rate_per_s * np.exp(-rate_per_s * slept_s)
    mean_s = wake_s * float(np.trapezoid(density * slept_s / (slept_s + cooling_s), slept_s))
    expected = rate_per_s * (service_s + mean_s) / (1.0 + rate_per_s * mean_s)
    ticks = outcome.ticks
    edges_s = np.linspace(10.0, 140.0, SECTIONS + 1)
    whole = np.histogram(ticks["start_s"], edges_s, weights=ticks["end_s"] - ticks["start_s"])[0]
    busy = whole / np.diff(edges_s)
    assert abs(busy.mean() - expected) < 4 * busy.std(ddof=1) / np.sqrt(SECTIONS)
    assert busy.std(ddof=1) / np.sqrt(SECTIONS) < 0.02 * expected


@pytest.mark.parametrize("engine", ["simpy", "compiled"])
def test_a_connection_is_fetched_once_in_a_tick(engine: str) -> None:
    """Messages of 1 ms and a fetch of 300 us, user 0 first: then three that wait, two of user 0 and one of user 2."""
    scenario = validate(
        {
            "design": {"routing": "in_process", "gateways": 1, "store": "never", "offline": "drop"},
            "gateway": {**FREE, "receive_us": 1000.0, "fetch_us": 300.0},
            "network": NO_DELAY,
        }
    )
    people = standing_rooms(2, 2, np.array([1.0, 1.0005, 1.0006, 1.0007]), np.array([0, 0, 0, 2]), [0, 2])
    outcome = simulate(scenario, people, engine=engine)
    ticks = outcome.ticks
    working = ticks["end_s"] - ticks["start_s"] > 1e-9
    assert 1e6 * (ticks["end_s"] - ticks["start_s"])[working] == pytest.approx([1300.0, 3600.0])
    assert ticks["reads"][working].tolist() == [1, 2]
    assert 1e6 * (outcome.messages["received_s"] - 1.0) == pytest.approx([1300.0, 2600.0, 3600.0, 4900.0])


@pytest.mark.parametrize("engine", ["simpy", "compiled"])
def test_what_comes_from_one_gateway_comes_on_one_connection(engine: str) -> None:
    """At a Redis of 1 ms a PUBLISH and 300 us a fetch: one, then two that wait; what comes back is fetched once each."""
    scenario = validate(
        {
            "design": {"routing": "user", "gateways": 1, "store": "never", "offline": "drop"},
            "gateway": {**FREE, "fetch_us": 50.0},
            "broker": {"tick_us": 0.0, "flush_us": 0.0, "push_us": 0.0, "publish_us": 1000.0, "fetch_us": 300.0},
            "network": NO_DELAY,
        }
    )
    people = standing_rooms(2, 2, np.array([1.0, 1.0005, 1.0006]), np.array([0, 0, 2]), [0, 1, 2, 3])
    ticks = simulate(scenario, people, engine=engine).ticks
    for station, lengths_us in ((0, [50.0] * 5), (1, [1300.0, 2300.0])):
        mine = (ticks["station"] == station) & (ticks["start_s"] >= 1.0)
        assert 1e6 * (ticks["end_s"] - ticks["start_s"])[mine] == pytest.approx(lengths_us)
        assert ticks["reads"][mine].tolist() == [1] * len(lengths_us)


@pytest.mark.parametrize("engine", ["simpy", "compiled"])
@pytest.mark.parametrize("load", [0.5, 0.7, 0.9])
def test_a_busy_gateway_reads_less_for_each_message(engine: str, load: float) -> None:
    """20 clients, 100 us an item and 400 us a connection read: it carries several times what it would if each message
    were read alone, in ticks as long as the fluid account says. Items come whole, hence 3 %."""
    station = TickStation(100e-6, 50e-6, flush="item", fetch_s=400e-6, connections=20)
    rate_per_s = load * station.saturation_per_s
    scenario = validate(
        {
            "design": {"routing": "in_process", "gateways": 1, "store": "never", "offline": "drop"},
            "gateway": {**FREE, "receive_us": 100.0, "fetch_us": 400.0, "tick_us": 50.0, "batch_max": 0},
            "network": NO_DELAY,
        }
    )
    times_s = np.arange(1, 40_001) / rate_per_s
    ticks = simulate(scenario, pairs_world(times_s, 20, online=1), engine=engine).ticks
    inside = (ticks["reads"] > 0) & (ticks["start_s"] > 0.7 * times_s[-1]) & (ticks["end_s"] < times_s[-1])
    expected = station.fluid(rate_per_s)
    assert (ticks["end_s"] - ticks["start_s"])[inside].mean() == pytest.approx(expected.tick_s, rel=0.03)
    assert ticks["reads"][inside].mean() == pytest.approx(station.reads(expected.items_per_tick), rel=0.03)
    assert expected.busy_share == 1.0
    assert rate_per_s > 2.0 / (station.item_s + station.fetch_s)


def redis(rate_per_s: float, messages: int, steady: bool = False, pairs: int = 4000, **broker: object) -> Outcome:
    """PUBLISHes to one subscriber each at a Redis of measured costs; everything else is free."""
    scenario = validate(
        {
            "workload": {"drain_s": 1.0},
            "design": {"routing": "user", "gateways": 1, "store": "never", "offline": "drop"},
            "gateway": {**FREE, "batch_max": 0, "cores": 1},
            "broker": broker,
            "network": NO_DELAY,
        }
    )
    times_s = np.arange(1, messages + 1) / rate_per_s if steady else poisson_s(messages, rate_per_s)
    return simulate(scenario, pairs_world(times_s, pairs))


def redis_ticks_s(outcome: Outcome, node: int = 0) -> Floats:
    """Lengths of a node's ticks, without the first and last tenth."""
    mine = outcome.ticks["station"] == outcome.stations.index(f"broker-{node}")
    length_s = (outcome.ticks["end_s"] - outcome.ticks["start_s"])[mine]
    return length_s[len(length_s) // 10 : -(len(length_s) // 10)]


@pytest.mark.parametrize("rate_per_s", [200e3, 400e3, 650e3, 1000e3])
def test_a_redis_tick_lasts_as_its_arithmetic_says(rate_per_s: float) -> None:
    """(tick + flush) / (1 - r item) with steady arrivals: items come whole, hence 3 %."""
    tick_s = redis_ticks_s(redis(rate_per_s, 20_000, steady=True, pairs=50)).mean()
    assert tick_s == pytest.approx((11e-6 + 4.7e-6) / (1 - rate_per_s * 0.75e-6), rel=0.03)


def test_a_redis_saturates_at_one_over_its_item() -> None:
    outcome = redis(2e6, 20_000, steady=True, pairs=50)
    written_s = np.sort(outcome.deliveries["time_s"])
    middle_s = written_s[len(written_s) // 4 : -len(written_s) // 4]
    lengths_s = redis_ticks_s(outcome)
    assert len(middle_s) / np.ptp(written_s) < 1 / 0.75e-6
    assert lengths_s[-1] > 4 * lengths_s[0]  # the batches grow and grow
    last = np.flatnonzero(outcome.ticks["station"] == 1)[-2:]
    items, busy_s = outcome.ticks["items"][last].sum(), (outcome.ticks["end_s"] - outcome.ticks["start_s"])[last].sum()
    assert items / busy_s == pytest.approx(1 / 0.75e-6, rel=0.01)


def test_an_idle_redis_takes_a_tick_for_each_publish() -> None:
    assert redis_ticks_s(redis(1000.0, 500, steady=True, pairs=50)).mean() == pytest.approx(11e-6 + 4.7e-6 + 0.75e-6)


def bend_per_s(loads_per_s: Floats, messages: int, pairs: int, **broker: object) -> float:
    """The load at which throughput over latency is largest (Kleinrock's power)."""
    power = []
    for rate_per_s in loads_per_s:
        outcome = redis(float(rate_per_s), messages, pairs=pairs, **broker)
        latency_s = outcome.deliveries["time_s"] - outcome.messages["time_s"][outcome.deliveries["message"]]
        power.append(rate_per_s / np.mean(latency_s[messages // 4 :]))
    return float(loads_per_s[int(np.argmax(power))])


def test_the_published_knees_of_redis_lie_on_the_bends_of_our_curves() -> None:
    """Centrifugo (2026): 650,000 deliveries/s with one Redis, 400,000 with a classic cluster of three, 5 M with 8 shards.

    The bend is the load of the largest throughput over latency, on a grid of steps of 15 %. It is flat, so one step up
    or down is within what a reader of such a curve can see.
    """
    grid = 1.15 ** np.arange(-6, 5)
    single = bend_per_s(650e3 * grid, 8000, pairs=200)
    cluster = bend_per_s(400e3 * grid, 8000, pairs=200, topology="cluster", nodes=3)
    shards = bend_per_s(8 * 650e3 * grid, 16_000, pairs=2000, topology="sharded", nodes=8)
    assert 650e3 / 1.16 <= single <= 650e3 * 1.16
    assert 400e3 / 1.33 <= cluster <= 400e3 * 1.16
    assert cluster < single
    assert 8 / 1.33 <= shards / single <= 8 * 1.16


def rooms_of_ten(rooms: int) -> World:
    """Everybody is in one room of ten, and one member of each writes once."""
    return standing_rooms(10, rooms, np.arange(rooms, dtype=np.float64), 10 * np.arange(rooms))


def socketio_classic() -> Scenario:
    """100 gateways with the classic adapter, users hashed on them."""
    return validate(
        {
            "design": {
                "routing": "global", "gateways": 100, "placement": "sticky", "local_shortcut": True, "store": "never", "offline": "drop",
            }
        }
    )  # fmt: skip


def test_the_classic_adapter_discards_what_the_published_figure_says() -> None:
    """Socket.IO issue 5226: 100 nodes, rooms of 10: 90.4 %. 5 standard errors over 400 rooms: 6 of 10 million seeds."""
    outcome = simulate(socketio_classic(), rooms_of_ten(400))
    share = outcome.messages["discards"] / outcome.messages["pushes"]
    error = share.std(ddof=1) / np.sqrt(len(share))
    assert abs(share.mean() - 0.904) < 5 * error
    assert discarded_share(100, 10) == pytest.approx(0.904, abs=5e-4)
    assert outcome.work[:100, Work.PARSE].sum() == 100 * 400
