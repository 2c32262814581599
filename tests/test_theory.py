"""Closed forms against independent computation: chains solved as matrices, recursions simulated, scipy, limits.

Simulated means are held to 5 standard errors (false alarm: 6e-7), the error from the means of long batches.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from chatsim import theory
from chatsim.theory import TickStation

Array = npt.NDArray[np.float64]
SIGMAS = 5.0

loads = st.floats(0.01, 0.97)
services = st.floats(1e-6, 1e3)
quick = settings(max_examples=60, deadline=None)


def chain(arrivals_per_s: float, service_s: float, servers: int, states: int) -> Array:
    """P(n in the station) of M/M/c cut off at ``states``, from the balance equations as one linear system."""
    rates = np.zeros((states, states))
    for n in range(states - 1):
        rates[n, n + 1] = arrivals_per_s
        rates[n + 1, n] = min(n + 1, servers) / service_s
    np.fill_diagonal(rates, -rates.sum(axis=1))
    system = np.vstack([rates.T, np.ones(states)])
    solution: Array = np.linalg.lstsq(system, np.append(np.zeros(states), 1.0), rcond=None)[0]
    return solution


def lindley(gaps: Array, services_s: Array) -> Array:
    """Waits of a first-come-first-served queue: W(n+1) = max(0, W(n) + S(n) - A(n+1)), as a running minimum."""
    steps = np.concatenate([[0.0], np.cumsum(services_s[:-1] - gaps[1:])])
    waits: Array = steps - np.minimum.accumulate(np.minimum(steps, 0.0))
    return waits


def agrees(values: Array, expected: float, batches: int = 50) -> bool:
    """Whether the mean of correlated values lies within SIGMAS standard errors, taken from means of batches.

    The quantile is Student's t with batches - 1 degrees of freedom at the same false-alarm rate.
    """
    means = values[: len(values) // batches * batches].reshape(batches, -1).mean(axis=1)
    error = means.std(ddof=1) / math.sqrt(batches)
    quantile = stats.t.isf(stats.norm.sf(SIGMAS), batches - 1)
    return bool(abs(means.mean() - expected) < quantile * error)


# --------------------------------------------------------------------------- queues


@pytest.mark.parametrize(("load", "servers"), [(0.3, 1), (0.7, 1), (0.5, 4), (0.8, 4), (0.75, 16)])
def test_mmc_agrees_with_its_markov_chain(load: float, servers: int) -> None:
    service_s = 0.25
    arrivals = load * servers / service_s
    p = chain(arrivals, service_s, servers, 400)
    waiting = np.maximum(np.arange(400) - servers, 0)
    assert theory.erlang_c(arrivals, service_s, servers) == pytest.approx(p[servers:].sum(), rel=1e-9)
    assert theory.mmc_queue(arrivals, service_s, servers) == pytest.approx(p @ waiting, rel=1e-8)
    inside = p @ np.arange(400)
    response = theory.mmc_response_s(arrivals, service_s, servers)
    assert theory.little_number(arrivals, response) == pytest.approx(inside, rel=1e-8)
    assert p @ np.minimum(np.arange(400), servers) / servers == pytest.approx(
        theory.utilisation(arrivals, service_s, servers), rel=1e-8
    )


def test_mmc_tail_integrates_to_the_mean_and_inverts_to_the_quantile() -> None:
    arrivals, service_s, servers = 30.0, 0.1, 4
    mean, _ = integrate.quad(theory.mmc_wait_tail, 0, np.inf, args=(arrivals, service_s, servers))
    assert mean == pytest.approx(theory.mmc_wait_s(arrivals, service_s, servers), rel=1e-6)
    wait = theory.mmc_wait_quantile_s(0.99, arrivals, service_s, servers)
    assert theory.mmc_wait_tail(wait, arrivals, service_s, servers) == pytest.approx(0.01)
    assert theory.mmc_wait_tail(-1.0, arrivals, service_s, servers) == 1.0


def test_one_server_is_the_simple_form() -> None:
    assert theory.mmc_wait_s(0.9, 1.0, 1) == pytest.approx(theory.mm1_wait_s(0.9, 1.0))
    assert theory.mg1_wait_s(0.9, 1.0, 1.0) == pytest.approx(theory.mm1_wait_s(0.9, 1.0))
    assert theory.md1_wait_s(0.9, 1.0) == pytest.approx(theory.mm1_wait_s(0.9, 1.0) / 2)
    assert theory.mm1_response_quantile_s(0.5, 0.9, 1.0) == pytest.approx(math.log(2) * theory.mm1_response_s(0.9, 1.0))


@pytest.mark.parametrize("scv", [0.0, 0.5, 1.0, 2.0])
def test_mg1_agrees_with_the_recursion_of_lindley(scv: float) -> None:
    draws = np.random.default_rng(11)
    count, arrivals, service_s = 400_000, 0.7, 1.0
    services = draws.gamma(1 / scv, scv, count) if scv else np.ones(count)
    waits = lindley(draws.exponential(1 / arrivals, count), services)[5000:]
    assert agrees(waits, theory.mg1_wait_s(arrivals, service_s, scv))


@pytest.mark.parametrize("load", [0.2, 0.8])
def test_md1_distribution_agrees_with_the_recursion_of_lindley(load: float) -> None:
    draws = np.random.default_rng(12)
    count = 400_000
    waits = lindley(draws.exponential(1 / load, count), np.ones(count))[5000:]
    for wait_s in (0.0, 0.4, 1.0, 1.7, 3.0):
        assert agrees((waits > wait_s).astype(float), theory.md1_wait_tail(wait_s, load, 1.0))


def test_md1_distribution_agrees_with_the_alternating_series_where_that_is_exact() -> None:
    from fractions import Fraction

    load, wait = Fraction(4, 5), Fraction(7, 2)
    series = sum(
        (-load * (wait - k)) ** k / math.factorial(k) * Fraction(math.exp(load * (wait - k))) for k in range(4)
    )
    assert theory.md1_wait_tail(3.5, 0.8, 1.0) == pytest.approx(1 - float((1 - load) * series), rel=1e-9)


@pytest.mark.parametrize("load", [0.05, 0.5, 0.95])
def test_md1_tail_integrates_to_the_mean(load: float) -> None:
    """The tail has a corner at each whole service, so that every service is integrated by itself."""
    nodes, weights = np.polynomial.legendre.leggauss(12)
    services = math.ceil(theory.md1_wait_quantile_s(1 - 1e-12, load, 1.0)) + 1
    points = (np.arange(services)[:, None] + (nodes + 1) / 2).ravel()
    tails = np.array([theory.md1_wait_tail(point, load, 1.0) for point in points])
    assert tails @ np.tile(weights / 2, services) == pytest.approx(theory.md1_wait_s(load, 1.0), rel=1e-8)


@quick
@given(load=loads, service_s=services, quantile=st.floats(0.0, 0.9999))
def test_md1_quantile_inverts_the_tail(load: float, service_s: float, quantile: float) -> None:
    arrivals = load / service_s
    wait_s = theory.md1_wait_quantile_s(quantile, arrivals, service_s)
    assert theory.md1_wait_tail(wait_s, arrivals, service_s) <= 1 - quantile + 1e-9
    if wait_s:
        assert theory.md1_wait_tail(wait_s * (1 - 1e-6), arrivals, service_s) >= 1 - quantile - 1e-9


@quick
@given(load=loads, more=st.floats(1.0, 1.02), servers=st.integers(1, 200), service_s=services)
def test_waits_grow_with_the_load_and_shrink_with_servers(
    load: float, more: float, servers: int, service_s: float
) -> None:
    arrivals = load * servers / service_s
    wait = theory.mmc_wait_s(arrivals, service_s, servers)
    assert theory.mmc_wait_s(arrivals * more, service_s, servers) >= wait * (1 - 1e-9)
    assert theory.mmc_wait_s(arrivals, service_s, servers + 1) <= wait * (1 + 1e-9)
    assert 0 <= theory.erlang_c(arrivals, service_s, servers) <= 1


def test_an_unstable_queue_names_load_and_capacity() -> None:
    with pytest.raises(ValueError, match=r"arrivals_per_s = 10: less than the capacity of 8 per s .*utilisation 1\.25"):
        theory.mmc_wait_s(10.0, 0.5, 4)
    with pytest.raises(ValueError, match="less than the capacity of 1 per s"):
        theory.md1_wait_s(1.0, 1.0)
    with pytest.raises(ValueError, match="service_s = 0"):
        theory.mm1_wait_s(1.0, 0.0)
    with pytest.raises(ValueError, match="quantile = 1"):
        theory.mmc_wait_quantile_s(1.0, 0.5, 1.0)


# --------------------------------------------------------------------------- ticks


def ticking(station: TickStation, arrivals_per_s: float, count: int, seed: int) -> tuple[Array, Array, Array]:
    """(responses, tick lengths, ends of the ticks) of a station simulated tick by tick."""
    arrived = np.cumsum(np.random.default_rng(seed).exponential(1 / arrivals_per_s, count))
    left = np.empty(count)
    lengths, ends, now, first = [], [], 0.0, 0
    while first < count:
        waiting = int(np.searchsorted(arrived, now, side="right")) - first
        slept = waiting == 0
        start = arrived[first] if slept else now
        taken = max(1, waiting if not station.batch_max else min(waiting, station.batch_max))
        overhead = station.overhead_s + (station.wake_s if slept else 0.0)
        now = start + overhead + taken * station.item_s
        done = start + overhead + station.item_s * (np.arange(taken) + 1)
        own = np.full(taken, now) if station.flush == "tick" else done
        left[first : first + taken] = own
        lengths.append(now - start)
        ends.append(now)
        first += taken
    return left - arrived, np.array(lengths), np.array(ends)


@pytest.mark.parametrize("flush", ["tick", "item"])
@pytest.mark.parametrize("batch_max", [0, 1, 5])
@pytest.mark.parametrize("share", [0.1, 0.6])
def test_exact_ticks_agree_with_a_simulation(flush: str, batch_max: int, share: float) -> None:
    station = TickStation(item_s=1.0, overhead_s=4.0, wake_s=2.0, batch_max=batch_max, flush=flush)  # type: ignore[arg-type]
    arrivals = share * station.saturation_per_s
    responses, lengths, ends = ticking(station, arrivals, 60_000, seed=5)
    exact = station.poisson(arrivals)
    assert agrees(responses[500:], exact.response_s)
    assert agrees(lengths, exact.tick_s)
    busy = np.interp(np.linspace(0, ends[-1], 41), ends, np.cumsum(lengths))
    assert agrees(np.diff(busy) / (ends[-1] / 40), exact.busy_share, batches=40)


@quick
@given(load=st.floats(0.02, 0.9), service_s=services)
def test_batches_of_one_are_an_md1_queue(load: float, service_s: float) -> None:
    station = TickStation(item_s=service_s / 4, overhead_s=service_s * 3 / 4, batch_max=1)
    figures = station.poisson(load / service_s)
    assert figures.response_s == pytest.approx(service_s + theory.md1_wait_s(load / service_s, service_s), rel=1e-6)
    assert figures.busy_share == pytest.approx(load, rel=1e-6)


def test_a_tick_under_load_lasts_overhead_over_what_the_items_leave() -> None:
    redis = TickStation(item_s=0.75e-6, overhead_s=11e-6 + 4.7e-6)
    for rate in (300e3, 650e3, 1200e3):
        length = 15.7e-6 / (1 - rate * 0.75e-6)
        assert redis.fluid(rate).tick_s == pytest.approx(length)
        assert redis.poisson(rate).tick_s == pytest.approx(length, rel=1e-3)
        assert redis.fluid(rate).response_s == pytest.approx(1.5 * length)
    assert redis.saturation_per_s == pytest.approx(1 / 0.75e-6)


def test_an_idle_station_pays_one_tick_of_one_item() -> None:
    station = TickStation(item_s=1.0, overhead_s=5.0, wake_s=3.0)
    assert station.fluid(1e-9).response_s == pytest.approx(9.0, rel=1e-6)
    assert station.poisson(1e-9).response_s == pytest.approx(9.0, rel=1e-6)
    assert station.cpu_s_per_item(0.0) == station.idle_cost_s == 9.0
    assert station.cpu_s_per_item(0.99) == pytest.approx(1 / 0.99)
    assert station.batched_cost_s == 1.0


def test_what_is_fetched_on_one_connection_is_overhead_and_on_very_many_is_of_the_items() -> None:
    for rate in (0.1, 0.5, 0.9):
        one, many = TickStation(1.0, 2.0, fetch_s=3.0), TickStation(0.1, 2.0, fetch_s=0.9, connections=10**9)
        assert one.fluid(rate) == TickStation(1.0, 5.0).fluid(rate)
        assert many.fluid(rate).tick_s == pytest.approx(TickStation(1.0, 2.0).fluid(rate).tick_s, rel=1e-6)
    assert many.saturation_per_s == pytest.approx(10.0)
    assert TickStation(1.0, 2.0, batch_max=4, fetch_s=3.0).batched_cost_s == pytest.approx(1.0 + 5.0 / 4)
    with pytest.raises(ValueError, match=r"fetch_s = 0\.9: the exact account knows none"):
        many.poisson(0.5)
    with pytest.raises(ValueError, match="connections = 0: at least 1"):
        TickStation(1.0, 2.0, connections=0)


def test_published_knee_of_one_redis() -> None:
    """Centrifugo's 650,000 deliveries per second (data/reference/published.csv); one PUBLISH and one push each."""
    redis = TickStation(item_s=(0.4 + 0.35) * 1e-6, overhead_s=(11 + 4.7) * 1e-6)
    assert redis.knee_per_s == pytest.approx(650_000, rel=0.05)
    assert redis.fluid(redis.knee_per_s / 4).busy_share == 1.0


@quick
@given(item_s=st.floats(1e-7, 1e-4), overhead_s=st.floats(1e-6, 1e-3))
def test_the_knee_has_the_greatest_power_of_the_fluid_formula(item_s: float, overhead_s: float) -> None:
    station = TickStation(item_s, overhead_s)

    def power(rate: float) -> float:
        return rate * (1 - rate * item_s) / (1.5 * overhead_s)

    assert all(power(station.knee_per_s) >= power(station.knee_per_s * factor) for factor in (0.9, 0.99, 1.01, 1.1))
    assert station.knee_per_s == pytest.approx(1 / (2 * item_s))


@quick
@given(overhead_items=st.floats(0.0, 40.0), share=st.floats(0.01, 0.9), more=st.floats(1.0, 1.1))
def test_fluid_is_near_exact_and_grows(overhead_items: float, share: float, more: float) -> None:
    """Unlimited batches: near, where overhead is at least a few items; and never falling with the rate."""
    station = TickStation(1.0, overhead_items)
    rate = share * station.saturation_per_s
    assert station.fluid(rate * more).response_s >= station.fluid(rate).response_s * (1 - 1e-12)
    assert station.fluid(rate * more).busy_share >= station.fluid(rate).busy_share
    if overhead_items >= 10:
        assert station.fluid(rate).response_s == pytest.approx(station.poisson(rate).response_s, rel=0.1)


def test_a_ticking_station_refuses_what_it_cannot_carry() -> None:
    station = TickStation(1.0, 1.0, batch_max=4)
    assert station.saturation_per_s == pytest.approx(0.8)
    with pytest.raises(ValueError, match=r"arrivals_per_s = 0\.8: less than the saturation of 0\.8"):
        station.poisson(0.8)
    with pytest.raises(ValueError, match="too near to the saturation"):
        TickStation(1.0, 50.0).poisson(0.9999)
    with pytest.raises(ValueError, match="item_s = -1"):
        TickStation(-1.0, 1.0)


# --------------------------------------------------------------------------- fan-out


def test_discarded_share_of_socketio_5226() -> None:
    assert theory.discarded_share(100, 10) == pytest.approx(0.904, abs=5e-4)
    work = theory.message_work("global", 100, theory.uniform_audience(100, 9, 9))
    assert work.discards / work.pushes == pytest.approx(0.904, abs=5e-4)


def test_gateways_touched_agrees_with_placing() -> None:
    draws = np.random.default_rng(3)
    placed = draws.integers(0, 7, (100_000, 5))
    touched = np.array([len(set(row)) for row in placed.tolist()], float)
    assert agrees(touched, float(theory.gateways_touched(7, 5)))
    assert theory.gateways_touched(np.array([1.0, 7.0]), 3.0) == pytest.approx([1.0, 7 * (1 - (6 / 7) ** 3)])
    assert theory.gateways_touched(1e9, 3) == pytest.approx(3.0)
    with pytest.raises(ValueError, match="gateways = 0"):
        theory.gateways_touched(0, 3)


@quick
@given(gateways=st.integers(1, 5000), sessions=st.integers(0, 5000))
def test_gateways_touched_is_bounded(gateways: int, sessions: int) -> None:
    touched = theory.gateways_touched(gateways, sessions)
    assert min(sessions, 1) * (1 - 1e-12) <= touched <= min(gateways, sessions) * (1 + 1e-12)
    assert theory.gateways_touched(gateways, sessions + 1) >= touched


@pytest.mark.parametrize("parts", [2, 8])
def test_join_lies_between_its_bounds(parts: int) -> None:
    draws = np.random.default_rng(parts)
    count, arrivals = 300_000, 0.6
    gaps = draws.exponential(1 / arrivals, count)
    services = draws.exponential(1.0, (parts, count))
    last = np.max([lindley(gaps, services[part]) + services[part] for part in range(parts)], axis=0)[5000:]
    lower, upper = theory.join_bounds_s(parts, arrivals, 1.0)
    assert lower <= last.mean() < upper
    assert theory.join_approximate_s(parts, arrivals, 1.0) == pytest.approx(last.mean(), rel=0.05)
    if parts == 2:
        assert agrees(last, theory.join_two_s(arrivals, 1.0))


@quick
@given(parts=st.integers(1, 3000), load=st.floats(0.0, 0.99))
def test_join_bounds_are_ordered(parts: int, load: float) -> None:
    lower, upper = theory.join_bounds_s(parts, load, 1.0)
    slack = 1 + 1e-9
    assert lower <= theory.join_approximate_s(parts, load, 1.0) * slack
    assert theory.join_approximate_s(parts, load, 1.0) <= upper * slack


@pytest.mark.parametrize("count", [1, 2, 50, 10_000])
@pytest.mark.parametrize("sigma", [0.05, 0.6, 1.5])
def test_the_last_of_many_lognormals(count: int, sigma: float) -> None:
    """Against scipy's quadrature of the quantile function of the largest, u^(1/F)."""

    def quantile(z: float) -> float:
        """The largest's value where its own distribution has the normal score z, times the density of z."""
        largest = stats.norm.isf(-math.expm1(stats.norm.logcdf(z) / count))
        return float(15.0 * math.exp(sigma * largest) * stats.norm.pdf(z))

    expected, _ = integrate.quad(quantile, -8, 8, limit=200)
    assert theory.lognormal_max(count, 15.0, sigma) == pytest.approx(expected, rel=1e-6)


def test_the_last_of_many_grows() -> None:
    means = [theory.lognormal_max(count, 15.0, 0.6) for count in (1, 2, 10, 100, 1e6)]
    assert means == sorted(means)
    assert theory.lognormal_max(9, 15.0, 0.0) == 15.0
    with pytest.raises(ValueError, match="count = 0"):
        theory.lognormal_max(0, 15.0, 0.6)


# --------------------------------------------------------------------------- the routing table, by hand

S, AUDIENCE = 4, theory.Audience(recipients=3, online=2, sessions=3, held=3, touched=2, touched_room=3)
BY_HAND: dict[tuple[str, bool, bool], dict[str, float]] = {
    ("in_process", False, False): {"writes": 3},
    ("global", False, False): {"publishes": 1, "pushes": 4, "parses": 4, "discards": 1, "commands": 1, "writes": 3},
    ("global_per_recipient", False, False): {
        "publishes": 3, "pushes": 12, "lookups": 12, "lookup_users": 12, "parses": 24, "discards": 9, "commands": 15,
        "writes": 3,
    },
    ("user", False, False): {"publishes": 3, "pushes": 3, "parses": 3, "commands": 3, "writes": 3},
    ("room", False, False): {"publishes": 1, "pushes": 3, "parses": 3, "commands": 1, "writes": 3},
    ("directory", False, False): {
        "publishes": 2, "pushes": 2, "lookups": 1, "lookup_users": 3, "parses": 3, "commands": 3, "writes": 3,
    },
    ("directory", False, True): {
        "publishes": 1.5, "pushes": 1.5, "lookups": 1, "lookup_users": 3, "parses": 2.5, "commands": 2.5, "writes": 3,
    },
    ("mesh", False, False): {"parses": 3, "discards": 1, "peer_sends": 3, "commands": 3, "writes": 3},
    ("mesh", True, False): {"parses": 2, "peer_sends": 2, "commands": 2, "writes": 3},
}


@pytest.mark.parametrize("case", list(BY_HAND))
def test_routing_table_by_hand(case: tuple[str, bool, bool]) -> None:
    routing, mesh_directory, shortcut = case
    audience = theory.Audience(3, 2, 3, 3, 1, 1) if routing == "in_process" else AUDIENCE
    work = theory.message_work(routing, 1 if routing == "in_process" else S, audience, mesh_directory, shortcut)  # type: ignore[arg-type]
    assert {name: value for name, value in work.row().items() if value} == BY_HAND[case]


def test_unknown_routing_is_refused() -> None:
    with pytest.raises(ValueError, match="routing = 'users'"):
        theory.message_work("users", 4, AUDIENCE)  # type: ignore[arg-type]
