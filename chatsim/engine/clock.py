"""SimPy's environment with absolute times, so that both engines compute the same instants bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Generator
from heapq import heappop, heappush
from typing import Any

import simpy
from simpy.events import NORMAL, URGENT, Event

Callback = Callable[[Any], None]


class Broken(Exception):  # noqa: N818  # it is no error: things break
    """Thrown into a story whose request, or whose gateway, is gone: what it waits for will never come.

    ``args`` is the :class:`~chatsim.engine.outcome.Cause`.
    """

    @property
    def cause(self) -> Any:
        """Why."""
        return self.args[0]


class Call:
    """The least that SimPy's queue needs: something to call when its time has come. Nobody can wait for it."""

    __slots__ = ("call", "value")
    _ok = True

    def __init__(self, call: Callback, value: Any) -> None:
        self.call = call
        self.value = value

    @property
    def callbacks(self) -> tuple[Callback, ...]:
        """As SimPy's own step has it; :meth:`Clock.run_to` calls at once."""
        return (self.call,)

    @callbacks.setter
    def callbacks(self, gone: None) -> None:
        """SimPy takes them off an event that has happened."""


class Clock(simpy.Environment):
    """A SimPy environment. Equal times happen in the order in which they were scheduled."""

    def at(self, time_s: float, call: Callback, value: Any = None) -> None:
        """Calls ``call(event)`` at ``time_s`` with ``event.value = value``; the past is refused."""
        if time_s < self._now:
            raise ValueError(f"an event at {time_s!r} s, but it is already {self._now!r} s")
        entry: Any = (time_s, NORMAL, next(self._eid), Call(call, value))
        heappush(self._queue, entry)

    def soon(self, call: Callback, value: Any = None) -> None:
        """Calls ``call(event)`` within this instant: after the present step, before anything that was scheduled.

        What was to happen soon already, a story that starts among it, is first.
        """
        entry: Any = (self._now, URGENT, next(self._eid), Call(call, value))
        heappush(self._queue, entry)

    def until(self, time_s: float) -> Event:
        """An event that happens at ``time_s``, for a process to yield; the past is refused."""
        if time_s < self._now:
            raise ValueError(f"an event at {time_s!r} s, but it is already {self._now!r} s")
        event = Event(self)
        event._ok = True
        event._value = None
        heappush(self._queue, (time_s, NORMAL, next(self._eid), event))
        return event

    def story(self, story: Generator[Event, Any, None]) -> None:
        """Starts a process that ends, without harm to others, where what it waits for is broken."""
        self.process(_as_far_as_it_goes(story))

    def run_to(self, end_s: float) -> None:
        """Runs all that happens before ``end_s``, as ``run(until=end_s)`` does, in a third less time."""
        queue: list[Any] = self._queue
        while queue and queue[0][0] < end_s:
            self._now, _, _, event = heappop(queue)
            if type(event) is Call:
                event.call(event)
                continue
            callbacks, event.callbacks = event.callbacks, None
            for call in callbacks:
                call(event)
            if not event._ok and not hasattr(event, "_defused"):
                raise event._value
        self._now = end_s


def happen(event: Event, value: Any = None) -> None:
    """Lets an event happen within the present step: those who wait for it go on now, before anything else does.

    ``Event.succeed`` would queue them behind everything else that happens at this instant, and the order of equal
    times would depend on how many hops a story is told in. What has happened already does not happen again.
    """
    if event.triggered:
        return
    event._ok = True
    event._value = value
    waiting, event.callbacks = event.callbacks, None  # type: ignore[assignment]
    for go_on in waiting:
        go_on(event)


def fail(event: Event, cause: Any) -> None:
    """Lets those who wait for an event know, within the present step, that it never comes."""
    if event.triggered:
        return
    event._ok = False
    event._value = Broken(cause)
    waiting, event.callbacks = event.callbacks, None  # type: ignore[assignment]
    for go_on in waiting:
        go_on(event)


def _as_far_as_it_goes(story: Generator[Event, Any, None]) -> Generator[Event, Any, None]:
    try:
        yield from story
    except Broken:
        return
