"""Closed forms of single stations: M/M/c, M/G/1, M/D/1, and the laws that hold for any station.

Every function takes ``arrivals_per_s`` (Poisson, mean rate) and ``service_s`` (mean time of one item) and, where the
station may have several workers, ``servers``. A wait is the time before service starts, a response is wait plus
service. A station with utilisation of 1 or more has no steady state: ValueError names the load and the capacity.
"""

from __future__ import annotations

import math
from functools import lru_cache


def utilisation(arrivals_per_s: float, service_s: float, servers: int = 1) -> float:
    """Utilisation law: the busy share of each server, above 1 where the station is overloaded.

    >>> utilisation(30.0, 0.1, servers=4)
    0.75
    """
    _check(arrivals_per_s, service_s, servers)
    return arrivals_per_s * service_s / servers


def little_number(arrivals_per_s: float, time_s: float) -> float:
    """Little's law: how many are inside, on average, when each stays ``time_s`` (Little 1961). Holds for any order.

    >>> little_number(100.0, 0.05)
    5.0
    """
    return arrivals_per_s * time_s


def erlang_c(arrivals_per_s: float, service_s: float, servers: int) -> float:
    """Chance that an arrival at M/M/c has to wait (Erlang 1917), by the stable recursion of Erlang B.

    >>> round(erlang_c(2.0, 1.0, servers=3), 6)  # 4/9
    0.444444
    """
    rho = _stable(arrivals_per_s, service_s, servers)
    load = arrivals_per_s * service_s
    blocked = 1.0
    for server in range(1, servers + 1):
        blocked = load * blocked / (server + load * blocked)
    return blocked / (1.0 - rho * (1.0 - blocked))


def mmc_wait_s(arrivals_per_s: float, service_s: float, servers: int = 1) -> float:
    """Mean wait of M/M/c: C / (c / service - arrivals).

    >>> round(mmc_wait_s(0.5, 1.0), 9)
    1.0
    """
    return erlang_c(arrivals_per_s, service_s, servers) / _slack_per_s(arrivals_per_s, service_s, servers)


def mmc_response_s(arrivals_per_s: float, service_s: float, servers: int = 1) -> float:
    """Mean response of M/M/c: wait plus service."""
    return mmc_wait_s(arrivals_per_s, service_s, servers) + service_s


def mmc_queue(arrivals_per_s: float, service_s: float, servers: int = 1) -> float:
    """Mean number of items that wait at M/M/c, by Little's law."""
    return little_number(arrivals_per_s, mmc_wait_s(arrivals_per_s, service_s, servers))


def mmc_wait_tail(wait_s: float, arrivals_per_s: float, service_s: float, servers: int = 1) -> float:
    """P(wait > wait_s) of M/M/c, first come first served: C exp(-(c / service - arrivals) t).

    >>> round(mmc_wait_tail(0.0, 0.5, 1.0), 9)
    0.5
    """
    if wait_s < 0:
        return 1.0
    chance = erlang_c(arrivals_per_s, service_s, servers)
    return chance * math.exp(-_slack_per_s(arrivals_per_s, service_s, servers) * wait_s)


def mmc_wait_quantile_s(quantile: float, arrivals_per_s: float, service_s: float, servers: int = 1) -> float:
    """The wait that a share ``quantile`` of the items does not exceed, at M/M/c; 0 where so many do not wait at all.

    >>> mmc_wait_quantile_s(0.5, 0.5, 1.0)
    0.0
    """
    _check_quantile(quantile)
    chance = erlang_c(arrivals_per_s, service_s, servers)
    if chance <= 1.0 - quantile:
        return 0.0
    return math.log(chance / (1.0 - quantile)) / _slack_per_s(arrivals_per_s, service_s, servers)


def mm1_wait_s(arrivals_per_s: float, service_s: float) -> float:
    """Mean wait of M/M/1: rho service / (1 - rho)."""
    rho = _stable(arrivals_per_s, service_s, 1)
    return rho * service_s / (1.0 - rho)


def mm1_response_s(arrivals_per_s: float, service_s: float) -> float:
    """Mean response of M/M/1: service / (1 - rho)."""
    return mm1_wait_s(arrivals_per_s, service_s) + service_s


def mm1_response_quantile_s(quantile: float, arrivals_per_s: float, service_s: float) -> float:
    """Quantile of the response of M/M/1, which is exponential."""
    _check_quantile(quantile)
    return -math.log1p(-quantile) * mm1_response_s(arrivals_per_s, service_s)


def mg1_wait_s(arrivals_per_s: float, service_s: float, service_scv: float) -> float:
    """Mean wait of M/G/1: rho service (1 + scv) / (2 (1 - rho)) (Pollaczek 1930, Khinchine 1932).

    ``service_scv`` is the squared coefficient of variation of the service time, variance / mean^2: 0 fixed,
    1 exponential.

    >>> mg1_wait_s(0.5, 1.0, 0.0), mg1_wait_s(0.5, 1.0, 1.0)
    (0.5, 1.0)
    """
    if not service_scv >= 0:
        raise ValueError(f"service_scv = {service_scv:g}: at least 0 is needed")
    rho = _stable(arrivals_per_s, service_s, 1)
    return rho * service_s * (1.0 + service_scv) / (2.0 * (1.0 - rho))


def md1_wait_s(arrivals_per_s: float, service_s: float) -> float:
    """Mean wait of M/D/1: half of that of M/M/1."""
    return mg1_wait_s(arrivals_per_s, service_s, 0.0)


def md1_wait_tail(wait_s: float, arrivals_per_s: float, service_s: float) -> float:
    """P(wait > wait_s) of M/D/1, by sums of positive terms only.

    Erlang's own series alternates in sign and is useless beyond some 20 services; this is the form of Franx (2001),
    "A simple solution for the M/D/c waiting time distribution", for one server: with k = floor(t / D) + 1 and
    u = arrivals (k D - t), P(W <= t) = sum over j < k of Q(k - 1 - j) e^-u u^j / j!, where Q is the distribution of the
    number that wait. The tail is summed from the tails of Q, so that small values keep their digits.

    >>> round(md1_wait_tail(0.0, 0.5, 1.0), 9)
    0.5
    """
    rho = _stable(arrivals_per_s, service_s, 1)
    if wait_s < 0:
        return 1.0
    if rho == 0:
        return 0.0
    steps = math.floor(wait_s / service_s) + 1
    ahead = max(0.0, arrivals_per_s * (steps * service_s - wait_s))
    above = _waiting_tails(rho, 1 << steps.bit_length())
    arriving = _poisson_tails(ahead)
    tail = arriving[steps - 1] if steps <= len(arriving) else 0.0
    term = math.exp(-ahead)
    for j in range(min(steps, len(arriving))):
        tail += above[steps - 1 - j] * term
        term *= ahead / (j + 1)
    return min(1.0, tail)


def md1_wait_quantile_s(quantile: float, arrivals_per_s: float, service_s: float) -> float:
    """The wait that a share ``quantile`` of the items does not exceed, at M/D/1 (bisection of ``md1_wait_tail``).

    >>> md1_wait_quantile_s(0.3, 0.5, 1.0)
    0.0
    """
    _check_quantile(quantile)
    rho = _stable(arrivals_per_s, service_s, 1)
    aim = 1.0 - quantile
    if rho <= aim:
        return 0.0
    low, high = 0.0, service_s
    while md1_wait_tail(high, arrivals_per_s, service_s) > aim:
        low, high = high, 2.0 * high
    while high - low > 1e-12 * high:
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        low, high = (middle, high) if md1_wait_tail(middle, arrivals_per_s, service_s) > aim else (low, middle)
    return high


@lru_cache(maxsize=32)
def _waiting_tails(rho: float, count: int) -> tuple[float, ...]:
    """P(more than n wait) at M/D/1 for n < count at least.

    The chance p(n) of n in the station obeys the cut equations p(n+1) P(A=0) = p(0) P(A>n) + sum p(i) P(A>n+1-i) over
    1 <= i <= n, where A, the arrivals during one service, is Poisson(rho). All terms are positive, so that p keeps its
    digits; its tails are summed from the far end, which is geometric.
    """
    above = _poisson_tails(rho)
    reach = len(above)
    p = [1.0 - rho]
    ratio = 0.0
    while True:
        n = len(p) - 1
        inflow = p[0] * above[n] if n < reach else 0.0
        inflow += sum(p[i] * above[n + 1 - i] for i in range(max(1, n + 2 - reach), n + 1))
        p.append(inflow * math.exp(rho))
        before, ratio = ratio, p[-1] / p[-2] if p[-2] > 0 else 0.0
        if n > count + 1 and (abs(ratio - before) <= 1e-15 * ratio or p[-1] < 1e-290):
            break
    tails = [p[-1] * ratio / (1.0 - ratio)]
    for value in reversed(p[2:]):
        tails.append(tails[-1] + value)
    return tuple(reversed(tails))


@lru_cache(maxsize=32)
def _poisson_tails(mean: float) -> tuple[float, ...]:
    """P(A > n) of a Poisson number with a mean of at most 1, for n = 0, 1, ... until it is negligible."""
    terms = [math.exp(-mean)]
    while terms[-1] > 1e-40 or len(terms) < 3:
        terms.append(terms[-1] * mean / len(terms))
    tails = [0.0]
    for term in reversed(terms[1:]):
        tails.append(tails[-1] + term)
    return tuple(reversed(tails[1:]))


def _slack_per_s(arrivals_per_s: float, service_s: float, servers: int) -> float:
    return servers / service_s - arrivals_per_s


def _check(arrivals_per_s: float, service_s: float, servers: int) -> None:
    if not 0 <= arrivals_per_s < math.inf:
        raise ValueError(f"arrivals_per_s = {arrivals_per_s:g}: a finite number of at least 0 is needed")
    if not 0 < service_s < math.inf:
        raise ValueError(f"service_s = {service_s:g}: a finite number above 0 is needed")
    if servers < 1:
        raise ValueError(f"servers = {servers}: at least 1 is needed")


def _stable(arrivals_per_s: float, service_s: float, servers: int) -> float:
    """The utilisation; ValueError with load and capacity where it is not below 1."""
    rho = utilisation(arrivals_per_s, service_s, servers)
    if rho >= 1.0:
        capacity = servers / service_s
        raise ValueError(
            f"arrivals_per_s = {arrivals_per_s:g}: less than the capacity of {capacity:g} per s is needed "
            f"(utilisation {rho:g})"
        )
    return rho


def _check_quantile(quantile: float) -> None:
    if not 0 <= quantile < 1:
        raise ValueError(f"quantile = {quantile:g}: at least 0 and less than 1 is needed")
