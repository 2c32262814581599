"""Stations: event loops with a queue, as Redis and Node are.

An idle worker with work waiting takes up to ``batch_max`` items and works for
``wake (only if it slept) + tick + sum of the items + flush x connections written to``. With ``flush = "tick"`` all
results leave at the end of the tick, with ``"item"`` each leaves when it is done. What leaves at one instant for one
place travels as one packet and arrives as one batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from simpy.events import Event

from chatsim.engine.clock import Clock, happen
from chatsim.engine.notes import Notes
from chatsim.engine.outcome import Work
from chatsim.scenario.models import StationCosts

US = 1e-6


class Job:
    """One waiting item of a station.

    Subclasses decide in :meth:`begin`, when a worker turns to the item, and act in :meth:`end`, when it leaves.
    ``touches`` are the connections that it writes to.
    """

    __slots__ = ("arrived_s", "touches")
    touches: Iterable[Hashable]
    arrived_s: float

    def begin(self, station: Any, at_s: float) -> float:
        """The cost of the item in us, decided at ``at_s``, when a worker turns to it."""
        raise NotImplementedError

    def end(self, station: Any) -> None:
        """The item leaves."""
        raise NotImplementedError


class Task(Job, Event):
    """An item that a story waits for: a process yields it, and goes on when it has left the station."""

    __slots__ = ("cost_us", "luck")

    def __init__(self, clock: Clock, cost_us: float = 0.0, touches: Iterable[Hashable] = (), luck: float = 1.0) -> None:
        Event.__init__(self, clock)
        self.cost_us = cost_us
        self.touches = touches
        self.luck = luck

    def begin(self, station: Any, at_s: float) -> float:
        return self.cost_us * self.luck

    def end(self, station: Any) -> None:
        happen(self)


class Request(Task):
    """At a broker node or the database: ``act``, which takes ``cost_us`` and counts as ``times`` items of ``work``.

    The gateway that asked reads ``reply``, if it waits for one.
    """

    __slots__ = ("act", "gateway", "reply", "times", "work")

    @property
    def awaited(self) -> Event:
        """The reply, for a story that waits for it."""
        if self.reply is None:
            raise ValueError("nobody can wait for a request without a reply")
        return self.reply

    def __init__(
        self,
        gateway: Station,
        work: Work,
        cost_us: float,
        reply: Task | None = None,
        act: Callable[[], None] | None = None,
        times: int = 1,
        luck: float = 1.0,
    ) -> None:
        super().__init__(gateway.clock, cost_us, (gateway.number,), luck)
        self.gateway, self.work, self.times, self.reply, self.act = gateway, work, times, reply, act

    def end(self, station: Station) -> None:
        if self.act is not None:
            self.act()
        station.work[self.work] += self.times
        if self.reply is not None:
            station.send(self.gateway, self.reply)


class Read(Task):
    """At a gateway: a reply that no story waits for is read."""

    def end(self, station: Station) -> None:
        station.work[Work.PARSE] += 1


class Host:
    """A machine whose cores its stations share: a ready worker waits for a core and runs its tick to the end."""

    def __init__(self, cores: int) -> None:
        self.free = cores
        self.ready: deque[Callable[[], None]] = deque()

    def run(self, tick: Callable[[], None]) -> None:
        """Runs a tick as soon as a core is free; first come, first served."""
        if self.free:
            self.free -= 1
            tick()
        else:
            self.ready.append(tick)

    def release(self) -> None:
        """Gives a core back."""
        if self.ready:
            self.ready.popleft()()
        else:
            self.free += 1


class Station:
    """Anything that works and has a queue."""

    def __init__(
        self,
        clock: Clock,
        number: int,
        costs: StationCosts,
        notes: Notes,
        post: Callable[[Station, Any, list[Any]], None],
        host: Host | None = None,
    ) -> None:
        self.clock = clock
        self.number = number
        self.costs = costs
        self.notes = notes
        self.post = post
        self.host = host
        self.queue: deque[Job] = deque()
        self.idle = costs.cores
        self.waits_for_core = False
        self.by_item = costs.flush == "item"
        self.batch_max = costs.batch_max or 1 << 62
        self.tick_us, self.wake_us, self.flush_us = costs.tick_us, costs.wake_us, costs.flush_us
        self.work = notes.work[number]
        self.parcels: dict[Any, list[Any]] = {}

    def take(self, *jobs: Job) -> None:
        """Items arrive together, in this order."""
        now_s = self.clock._now
        for job in jobs:
            job.arrived_s = now_s
        self.queue.extend(jobs)
        if self.idle:
            self._wake()

    def send(self, place: Any, item: Any) -> None:
        """Something leaves for a place; it travels with all that leaves for it at this instant."""
        waiting = self.parcels.get(place)
        if waiting is None:
            self.parcels[place] = [item]
        else:
            waiting.append(item)

    def _wake(self) -> None:
        while self.idle and self.queue and not self.waits_for_core:
            self.idle -= 1
            self._ready(slept=True)

    def _ready(self, slept: bool) -> None:
        """A worker turns to the queue, at once or when its host has a core free."""
        if self.host is None:
            self._tick(slept)
        else:
            self.waits_for_core = True
            self.host.run(lambda: self._tick_on_host(slept))

    def _tick_on_host(self, slept: bool) -> None:
        self.waits_for_core = False
        self._tick(slept)
        self._wake()

    def _tick(self, slept: bool) -> None:
        """Takes a batch, decides what it costs, and lets its results leave in time."""
        start_s = self.clock._now
        queue, by_item, flush_us = self.queue, self.by_item, self.flush_us
        taken = len(queue) if len(queue) < self.batch_max else self.batch_max
        spent_us = self.tick_us + self.wake_us if slept else self.tick_us
        touched: set[Hashable] = set()
        waited_s = items_us = 0.0
        left_s = start_s
        batch: list[Job] = []
        for _ in range(taken):
            job = queue.popleft()
            waited_s += start_s - job.arrived_s
            item_us = job.begin(self, start_s + spent_us * US)
            items_us += item_us
            spent_us += item_us
            if flush_us and job.touches:
                if by_item:
                    spent_us += flush_us * len(set(job.touches))
                else:
                    touched.update(job.touches)
            if by_item and batch:
                self.clock.at(left_s, self._item_done, batch.pop())
            left_s = start_s + spent_us * US
            batch.append(job)
        spent_us += flush_us * len(touched)
        end_s = start_s + spent_us * US
        self.clock.at(end_s, self._tick_done, batch)
        self.notes.item_us[self.number] += items_us
        self.notes.tick(self.number, start_s, end_s, taken, len(queue), waited_s)

    def _item_done(self, event: Any) -> None:
        event.value.end(self)
        self.flush()

    def _tick_done(self, event: Any) -> None:
        """What the tick did leaves, with ``flush = "item"`` its last item; the worker is free again."""
        for job in event.value:
            job.end(self)
        self.flush()
        if self.host is not None:
            self.host.release()
        if self.queue and not self.waits_for_core:
            self._ready(slept=False)
        else:
            self.idle += 1

    def flush(self) -> None:
        """What was sent leaves, one packet for each place."""
        if self.parcels:
            parcels, self.parcels = self.parcels, {}
            for place, items in parcels.items():
                self.post(self, place, items)
