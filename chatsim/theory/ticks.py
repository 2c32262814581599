"""The event-loop station: what batching does to capacity, busy share and latency.

An idle worker takes all that waits (at most ``batch_max``) and works for ``overhead + n x item + fetch x connections
read``, with ``overhead = tick + flush x connections touched`` and ``wake`` on top if it slept. One worker, items all
alike; they come evenly on so many connections, each of which is read once in a tick.

Two accounts are given. The **fluid** one takes arrivals as a steady flow: a tick of length T collects r T items, so
T = overhead + r T item, that is T = overhead / (1 - r item), and it is never shorter than overhead + item. It is short,
and good where batches are large. The **exact** one, for Poisson arrivals, solves the Markov chain of the queue at the
starts of ticks; it contains M/D/1 (``batch_max = 1``), and knows no fetch.

What is fetched costs most where ticks are short: an item then has a connection for itself. Ticks that grow read less
and less for each item, so that a fetch, as a tick, takes nothing from what a station carries at most.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

STATES_MAX = 3000
MASS_LOST_MAX = 1e-9


@dataclass(frozen=True, slots=True)
class TickFigures:
    """Long-run means of a ticking station: time from arrival to departure, share of time busy, length of a tick and
    items in it. ``response_s`` and ``busy_share`` are means over items and over time, the others over ticks."""

    response_s: float
    busy_share: float
    tick_s: float
    items_per_tick: float


@dataclass(frozen=True, slots=True)
class TickStation:
    """A station of one worker whose tick lasts ``overhead_s + n item_s``, plus ``wake_s`` after sleep, plus ``fetch_s``
    for each of ``connections`` on which items have come.

    ``batch_max`` is the most items of one tick, 0 sets no limit. ``flush`` says when results leave: at the end of the
    tick, or each when it is done (the overhead then comes before the items).

    >>> redis = TickStation(item_s=0.75e-6, overhead_s=15.7e-6)
    >>> round(redis.saturation_per_s), round(redis.knee_per_s)
    (1333333, 666667)
    """

    item_s: float
    overhead_s: float
    wake_s: float = 0.0
    batch_max: int = 0
    flush: Literal["tick", "item"] = "tick"
    fetch_s: float = 0.0
    connections: int = 1

    def __post_init__(self) -> None:
        for name in ("item_s", "overhead_s", "wake_s", "fetch_s"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} = {value:g}: a finite number of at least 0 is needed")
        if self.item_s + self.overhead_s == 0:
            raise ValueError("item_s = 0 and overhead_s = 0: one of them above 0 is needed")
        if self.batch_max < 0:
            raise ValueError(f"batch_max = {self.batch_max}: at least 0 is needed")
        if self.connections < 1:
            raise ValueError(f"connections = {self.connections}: at least 1 is needed")

    @property
    def idle_cost_s(self) -> float:
        """Work of one item that finds the worker asleep: it pays wake, tick, fetch and flush alone."""
        return self.wake_s + self.overhead_s + self.fetch_s + self.item_s

    @property
    def batched_cost_s(self) -> float:
        """Work of one item in the largest batch: the least that an item can cost."""
        if not self.batch_max:
            return self.item_s
        return self.item_s + (self.overhead_s + self.fetch_s * self.reads(self.batch_max)) / self.batch_max

    def reads(self, items: float) -> float:
        """Connections read for so many items, in the mean: at least one, and at most all.

        >>> station = TickStation(item_s=1.0, overhead_s=0.0, fetch_s=1.0, connections=10)
        >>> [round(station.reads(items), 2) for items in (1, 2, 10, 100)]
        [1.0, 1.9, 6.51, 10.0]
        """
        return self.connections * (1.0 - math.pow(1.0 - 1.0 / self.connections, items))

    @property
    def saturation_per_s(self) -> float:
        """The rate beyond which the queue grows for ever: 1 / item with unlimited batches."""
        return 1.0 / self.batched_cost_s if self.batched_cost_s else math.inf

    @property
    def knee_per_s(self) -> float:
        """The rate of greatest power, rate / response (Kleinrock 1979), of the fluid account under load.

        With a response of 1.5 overhead / (1 - r item) the power r (1 - r item) is greatest at r = 1 / (2 item),
        whatever the overhead. A smaller ``batch_max`` saturates first; the knee is then that of r (1 - r / saturation).
        """
        return 0.5 * self.saturation_per_s

    def fluid(self, arrivals_per_s: float) -> TickFigures:
        """The fluid account. ValueError at or above saturation.

        An item waits for half a tick if the worker is busy (chance: the busy share, since Poisson arrivals see time
        averages), then for its own tick: response = T (1 + busy / 2) + (1 - busy) wake, which is one tick of one item
        when idle and 1.5 ticks under load. Queueing behind full batches is left out: use :meth:`poisson` for small
        ``batch_max``. The busy share is r (overhead + item) + wakes, at most 1: such a station is busy nearly all the
        time long before it saturates.

        >>> redis = TickStation(item_s=1e-6, overhead_s=9e-6)
        >>> [round(redis.fluid(rate).busy_share, 3) for rate in (10_000, 100_000, 900_000)]
        [0.1, 1.0, 1.0]
        >>> round(redis.fluid(900_000).tick_s * 1e6, 3)
        90.0
        """
        self._check(arrivals_per_s)
        one = self.overhead_s + self.fetch_s + self.item_s
        tick = max(one, self._flowing_s(arrivals_per_s))
        items = max(1.0, arrivals_per_s * tick)
        # busy b solves b = r (one + (1 - b) wake) while ticks carry one item each
        busy = min(1.0, arrivals_per_s * (one + self.wake_s) / (1.0 + arrivals_per_s * self.wake_s))
        before = self.overhead_s + self.fetch_s * self.reads(items)
        own = tick if self.flush == "tick" else before + self.item_s * (items + 1.0) / 2.0
        return TickFigures(own + busy * tick / 2.0 + (1.0 - busy) * self.wake_s, busy, tick, items)

    def _flowing_s(self, arrivals_per_s: float) -> float:
        """The length of a tick that works on what has come in the one before: found by going on until it stays."""
        left, tick = 1.0 - arrivals_per_s * self.item_s, self.overhead_s / (1.0 - arrivals_per_s * self.item_s)
        while self.fetch_s:
            longer = (self.overhead_s + self.fetch_s * self.reads(arrivals_per_s * tick)) / left
            if longer - tick <= 1e-12 * longer:
                break
            tick = longer
        return tick

    def cpu_s_per_item(self, arrivals_per_s: float) -> float:
        """Work spent per item at a rate, fluid: from the idle cost at rest down to the batched cost at saturation."""
        if arrivals_per_s == 0:
            return self.idle_cost_s
        return self.fluid(arrivals_per_s).busy_share / arrivals_per_s

    def poisson(self, arrivals_per_s: float) -> TickFigures:
        """The exact account for Poisson arrivals. ValueError at or above saturation, and so near to it that more than
        ``STATES_MAX`` items may be waiting.

        The queue at the start of a tick is a Markov chain: from N it goes to N - n + A with n = min(N, batch_max) and A
        Poisson with mean r T(n); from an empty queue the next arrival wakes the worker. Time averages follow from the
        ticks, each with its length, and Little's law turns the number inside into the response.

        >>> from chatsim.theory.queues import md1_wait_s
        >>> classic = TickStation(item_s=1.0, overhead_s=0.0, batch_max=1)
        >>> round(classic.poisson(0.8).response_s - 1.0, 6), round(md1_wait_s(0.8, 1.0), 6)
        (2.0, 2.0)
        """
        self._check(arrivals_per_s)
        if self.fetch_s:
            raise ValueError(f"fetch_s = {self.fetch_s:g}: the exact account knows none, the fluid one does")
        if arrivals_per_s == 0:
            return TickFigures(self.idle_cost_s, 0.0, self.idle_cost_s, 1.0)
        states = self._states_guess(arrivals_per_s)
        while True:
            share, lost = self._stationary(arrivals_per_s, states)
            if lost <= MASS_LOST_MAX:
                return self._figures(arrivals_per_s, share)
            if states == STATES_MAX:
                raise ValueError(
                    f"arrivals_per_s = {arrivals_per_s:g}: too near to the saturation of {self.saturation_per_s:g} "
                    f"per s for an exact solution (more than {STATES_MAX} items may wait)"
                )
            states = min(STATES_MAX, 2 * states)

    def _states_guess(self, arrivals_per_s: float) -> int:
        items = self.fluid(arrivals_per_s).items_per_tick
        spread = math.sqrt(items / (1.0 - (arrivals_per_s * self.item_s) ** 2))
        return min(STATES_MAX, int(items + 10.0 * spread + 40.0))

    def _taken(self, states: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """(items taken, tick length) by state: state 0 is one item after sleep, state N > 0 is N waiting."""
        waiting = np.maximum(1.0, np.arange(states))
        taken = np.minimum(waiting, self.batch_max) if self.batch_max else waiting
        length = self.overhead_s + taken * self.item_s
        length[0] += self.wake_s
        return taken, length

    def _stationary(self, arrivals_per_s: float, states: int) -> tuple[npt.NDArray[np.float64], float]:
        """Share of ticks that start in each state, and the share of moves that lead beyond the states."""
        taken, length = self._taken(states)
        left = (np.maximum(1.0, np.arange(states)) - taken).astype(np.int64)
        number = np.arange(states)
        log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1.0, states)))])
        mean = arrivals_per_s * length[:, None]
        arriving = np.exp(number * np.log(mean) - mean - log_factorial)
        moves = arriving
        if left.any():
            moves = np.zeros((states, states))
            for state in range(states):
                moves[state, left[state]:] = arriving[state, : states - left[state]]
        beyond = np.maximum(0.0, 1.0 - moves.sum(axis=1))
        moves[:, -1] += beyond
        balance = moves.T - np.eye(states)
        balance[-1] = 1.0
        share = np.linalg.solve(balance, np.eye(states)[-1])
        return share, float(share @ beyond) + abs(float(share[-1]))

    def _figures(self, arrivals_per_s: float, share: npt.NDArray[np.float64]) -> TickFigures:
        taken, length = self._taken(len(share))
        waiting = np.maximum(1.0, np.arange(len(share)))
        inside = waiting * length + arrivals_per_s * length**2 / 2.0
        if self.flush == "item":
            inside = inside - self.item_s * taken * (taken - 1.0) / 2.0
        # After a tick that leaves nothing behind and sees no arrival the worker sleeps for 1 / r on average.
        sleeps = share * (waiting == taken) * np.exp(-arrivals_per_s * length)
        busy = float(share @ length)
        total = busy + float(sleeps.sum()) / arrivals_per_s
        return TickFigures(
            float(share @ inside) / total / arrivals_per_s, busy / total, busy / float(share.sum()),
            float(share @ taken),
        )

    def _check(self, arrivals_per_s: float) -> None:
        if not 0 <= arrivals_per_s < math.inf:
            raise ValueError(f"arrivals_per_s = {arrivals_per_s:g}: a finite number of at least 0 is needed")
        if arrivals_per_s >= self.saturation_per_s:
            raise ValueError(
                f"arrivals_per_s = {arrivals_per_s:g}: less than the saturation of {self.saturation_per_s:g} per s "
                "is needed"
            )
