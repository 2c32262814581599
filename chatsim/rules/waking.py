"""What it costs to wake: the longer a worker has slept, the colder are its caches and its core."""

from __future__ import annotations

NEVER_S = -1e300
"""When a station has worked last that never has: it is cold."""


def waking_us(most_us: float, slept_s: float, cooling_us: float) -> float:
    """The extra time of a tick after a sleep: nothing after none, half of ``most_us`` after ``cooling_us``, and nearly
    all of it after a long one. With ``cooling_us`` = 0 always all of it.

    >>> [round(waking_us(100.0, slept_s, 400.0), 3) for slept_s in (0.0, 400e-6, 1.0)]
    [0.0, 50.0, 99.96]
    """
    if cooling_us <= 0.0:
        return most_us
    return most_us * (1.0 - cooling_us / (1e6 * slept_s + cooling_us))
