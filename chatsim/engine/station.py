"""Stations: event loops with a queue, as Redis and Node are.

An idle worker with work waiting takes up to ``batch_max`` items and works for
``wake (only if it slept) + tick + fetch x connections read from + sum of the items + flush x connections written to``;
where it has worked a moment ago it is still warm, and its wake costs less (:mod:`chatsim.rules.waking`). A connection
is read once in a tick, however much has come on it, when the first of that has its turn. With ``flush = "tick"`` all
results leave at the end of the tick, with ``"item"`` each leaves when it is done. What leaves at one instant for one
place travels as one packet and arrives as one batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Protocol

from simpy.events import Event

from chatsim.engine.clock import Clock, fail, happen
from chatsim.engine.notes import Notes
from chatsim.engine.outcome import Cause, Work
from chatsim.rules.waking import NEVER_S, waking_us
from chatsim.scenario.models import StationCosts

US = 1e-6


class Job:
    """One waiting item of a station.

    Subclasses decide in :meth:`begin`, when a worker turns to the item, and act in :meth:`end`, when it leaves.
    ``came_on`` is the connection on which it came, by the session or station at its other end, or None; ``touches`` are
    those that it writes to; ``work`` is what it counts as, ``message`` which one it is for.
    """

    __slots__ = ("arrived_s", "came_on", "touches")
    came_on: Hashable
    touches: Iterable[Hashable]
    arrived_s: float
    work: Work = Work.PARSE
    message: int = -1

    def begin(self, station: Any, at_s: float) -> float:
        """The cost of the item in us, decided at ``at_s``, when a worker turns to it."""
        raise NotImplementedError

    def end(self, station: Any) -> None:
        """The item leaves."""
        raise NotImplementedError

    def lost(self, station: Any, cause: Cause) -> None:
        """The item never leaves: its station, or the line to it, is gone."""

    def is_push(self) -> bool:
        """Whether it is a push of a message to a gateway, which a stream may keep."""
        return False


class Observer(Protocol):
    """Whoever wants to know when items leave for a station, have their turn, and have left."""

    def sent(self, station: Station, place: Station, jobs: list[Any]) -> None:
        """Items leave a station for another."""

    def turn(self, station: Station, job: Job, start_s: float, at_s: float, cost_us: float) -> None:
        """In a tick that began at ``start_s`` a worker turns to an item at ``at_s``."""

    def left(self, station: Station, job: Job) -> None:
        """An item leaves."""


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

    def lost(self, station: Any, cause: Cause) -> None:
        fail(self, cause)


class Request(Task):
    """At a broker node or the database: ``act``, which takes ``cost_us`` and counts as ``times`` items of ``work``.

    The gateway that asked reads ``reply``, if it waits for one; it does ``otherwise`` where the request is lost.
    """

    __slots__ = ("act", "gateway", "otherwise", "reply", "times", "work")

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
        otherwise: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(gateway.clock, cost_us, (gateway.number,), luck)
        self.gateway, self.work, self.times, self.reply, self.act = gateway, work, times, reply, act
        self.otherwise = otherwise

    def is_for(self, message: int) -> None:
        """The request and its reply serve one message."""
        self.message = message
        if self.reply is not None:
            self.reply.message = message

    def end(self, station: Station) -> None:
        if self.act is not None:
            self.act()
        station.work[self.work] += self.times
        if self.reply is not None:
            station.send(self.gateway, self.reply)

    def lost(self, station: Station, cause: Cause) -> None:
        if self.otherwise is not None:
            self.otherwise()
        if self.reply is not None:
            fail(self.reply, cause)


class Read(Task):
    """At a gateway: a reply that no story waits for is read."""

    def end(self, station: Station) -> None:
        station.work[Work.PARSE] += 1


class Batch(list[Job]):
    """The items of one tick, each known by itself; ``row`` is the tick's in the notes."""

    __slots__ = ("row",)
    __hash__ = object.__hash__  # type: ignore[assignment]
    row: int


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
        self.observer: Observer | None = None
        self.queue: deque[Job] = deque()
        self.idle = costs.cores
        self.waits_for_core = False
        self.by_item = costs.flush == "item"
        self.batch_max = costs.batch_max or 1 << 62
        self.tick_us, self.fetch_us, self.flush_us = costs.tick_us, costs.fetch_us, costs.flush_us
        self.wake_us, self.cooling_us = costs.wake_us, costs.cooling_us
        self.worked_s = NEVER_S
        self.work = notes.work[number]
        self.parcels: dict[Any, list[Any]] = {}
        self.ending = False
        self.up = True
        self.life = 0
        self.slow = 1.0
        self.busy_s = 0.0
        self.gone_for = Cause.NONE
        self.in_work: dict[Batch, None] = {}

    def take(self, *jobs: Job, came_on: Hashable = None) -> None:
        """Items arrive together, in this order, on one connection or on none; where a station is gone they are lost."""
        if not self.up:
            self.loses(jobs, self.gone_for)
            return
        now_s = self.clock._now
        for job in jobs:
            job.arrived_s, job.came_on = now_s, came_on
        self.queue.extend(jobs)
        if self.idle:
            self._wake()

    def send(self, place: Any, item: Any) -> None:
        """Something leaves for a place; it travels with all that leaves for it at this instant."""
        if not self.ending and not self.parcels:
            self.clock.at(self.clock._now, self._leaves_now)
        waiting = self.parcels.get(place)
        if waiting is None:
            self.parcels[place] = [item]
        else:
            waiting.append(item)

    def stop(self, cause: Cause) -> None:
        """The station dies: what waits, what is worked on, and what was about to leave, is lost."""
        self.up, self.gone_for = False, cause
        self.life += 1
        going_on = list(self.in_work)
        lost = [job for batch in going_on for job in batch]
        lost += self.queue
        self.in_work.clear()
        self.queue.clear()
        self.parcels = {}
        self.idle, self.waits_for_core = self.costs.cores, False
        for batch in going_on:
            self.busy_s -= self.notes.tick_end_s[batch.row] - self.clock._now
            self.notes.tick_end_s[batch.row] = self.clock._now
            if self.host is not None:
                self.host.release()
        self.loses(lost, cause)

    def loses(self, jobs: Iterable[Job], cause: Cause) -> None:
        """Items never come here, or never leave. What that brings on happens soon, not within the present step."""
        for job in jobs:
            self.clock.soon(self._is_lost, (job, cause))

    def _is_lost(self, event: Any) -> None:
        job, cause = event.value
        job.lost(self, cause)

    def start(self) -> None:
        """The station is back, idle and cold."""
        self.up = True
        self.worked_s = NEVER_S

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
            host, life = self.host, self.life
            host.run(lambda: self._tick_on_host(host, life, slept))

    def _tick_on_host(self, host: Host, life: int, slept: bool) -> None:
        if life != self.life:
            host.release()
            return
        self.waits_for_core = False
        self._tick(slept)
        self._wake()

    def _tick(self, slept: bool) -> None:
        """Takes a batch, decides what it costs, and lets its results leave in time."""
        start_s = self.clock._now
        queue, by_item, observer = self.queue, self.by_item, self.observer
        taken = len(queue) if len(queue) < self.batch_max else self.batch_max
        slow = self.slow
        slept_s = start_s - self.worked_s if slept else 0.0
        wake_us = waking_us(self.wake_us, slept_s, self.cooling_us) if slept else 0.0
        spent_us = (self.tick_us + wake_us) * slow
        fetch_us, flush_us = self.fetch_us * slow, self.flush_us * slow
        read: set[Hashable] = set()
        touched: set[Hashable] = set()
        waited_s = items_us = 0.0
        left_s = start_s
        batch = Batch()
        for _ in range(taken):
            job = queue.popleft()
            waited_s += start_s - job.arrived_s
            if job.came_on is not None and job.came_on not in read:
                read.add(job.came_on)
                spent_us += fetch_us
            item_us = job.begin(self, start_s + spent_us * US) * slow
            items_us += item_us
            if observer is not None:
                observer.turn(self, job, start_s, start_s + spent_us * US, item_us)
            spent_us += item_us
            if flush_us and job.touches:
                if by_item:
                    spent_us += flush_us * len(set(job.touches))
                else:
                    touched.update(job.touches)
            if by_item and batch:
                self.clock.at(left_s, self._item_done, batch)
            left_s = start_s + spent_us * US
            batch.append(job)
        spent_us += flush_us * len(touched)
        end_s = start_s + spent_us * US
        self.clock.at(end_s, self._tick_done, batch)
        self.in_work[batch] = None
        self.busy_s += end_s - start_s
        self.notes.item_us[self.number] += items_us
        batch.row = self.notes.tick(self.number, start_s, end_s, taken, len(queue), waited_s, len(read), slept_s)

    def _item_done(self, event: Any) -> None:
        """With ``flush = "item"`` the first item of a batch that is still there leaves."""
        batch = event.value
        if batch in self.in_work:
            self.ending = True
            job = batch.pop(0)
            if self.observer is not None:
                self.observer.left(self, job)
            job.end(self)
            self.flush()
            self.ending = False

    def _tick_done(self, event: Any) -> None:
        """What the tick did leaves, with ``flush = "item"`` its last item; the worker is free again."""
        batch = event.value
        if batch not in self.in_work:
            return
        self.ending = True
        for job in batch:
            if self.observer is not None:
                self.observer.left(self, job)
            job.end(self)
        del self.in_work[batch]
        self.flush()
        self.ending = False
        self.worked_s = self.clock._now
        if self.host is not None:
            self.host.release()
        if self.queue and not self.waits_for_core:
            self._ready(slept=False)
        else:
            self.idle += 1

    def _leaves_now(self, event: Any) -> None:
        """What a story sends that no tick of this station has brought on leaves at the end of the instant."""
        self.flush()

    def flush(self) -> None:
        """What was sent leaves, one packet for each place."""
        parcels, self.parcels = self.parcels, {}
        for place, items in parcels.items():
            if self.observer is not None and isinstance(place, Station):
                self.observer.sent(self, place, items)
            self.post(self, place, items)
