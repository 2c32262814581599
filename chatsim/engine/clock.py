"""SimPy's environment with absolute times, so that both engines compute the same instants bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappush
from typing import Any

import simpy
from simpy.core import NORMAL
from simpy.events import Event

Callback = Callable[[Event], None]


class Clock(simpy.Environment):
    """A SimPy environment. Equal times happen in the order in which they were scheduled."""

    def at(self, time_s: float, call: Callback, value: Any = None) -> None:
        """Calls ``call(event)`` at ``time_s`` with ``event.value = value``; the past is refused."""
        if time_s < self._now:
            raise ValueError(f"an event at {time_s!r} s, but it is already {self._now!r} s")
        event = Event.__new__(Event)
        event.env = self
        event.callbacks = [call]
        event._ok = True
        event._value = value
        heappush(self._queue, (time_s, NORMAL, next(self._eid), event))

    def until(self, time_s: float) -> Event:
        """An event that happens at ``time_s``, for a process to yield; the past is refused."""
        if time_s < self._now:
            raise ValueError(f"an event at {time_s!r} s, but it is already {self._now!r} s")
        event = Event(self)
        event._ok = True
        event._value = None
        heappush(self._queue, (time_s, NORMAL, next(self._eid), event))
        return event


def happen(event: Event, value: Any = None) -> None:
    """Lets an event happen within the present step: those who wait for it go on now, before anything else does.

    ``Event.succeed`` would queue them behind everything else that happens at this instant, and the order of equal
    times would depend on how many hops a story is told in.
    """
    event._ok = True
    event._value = value
    waiting, event.callbacks = event.callbacks, None  # type: ignore[assignment]
    for go_on in waiting:
        go_on(event)
