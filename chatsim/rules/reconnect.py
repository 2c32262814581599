"""When a client that has lost its connection tries again, and when it notices that it has."""

from __future__ import annotations

import math

NONE, FIXED, PHOENIX, SOCKETIO, FULL_JITTER = range(5)
RECONNECT_NUMBERS = {"none": NONE, "fixed": FIXED, "phoenix": PHOENIX, "socketio": SOCKETIO, "full_jitter": FULL_JITTER}
PHOENIX_MS = (10, 50, 100, 150, 200, 250, 500, 1000, 2000, 5000)
"""Phoenix JavaScript client 1.7: ``reconnectAfterMs``, the last one for all further tries."""
SOCKETIO_JITTER = 0.5
"""Socket.IO client 4: ``randomizationFactor``."""


def pause_s(preset: int, failures: int, draw: float, first_s: float, longest_s: float) -> float:
    """The pause before a client tries again, after so many ``failures`` in a row; infinite where it never does.

    ``draw`` is uniform in (0, 1). Socket.IO doubles ``first_s`` and takes up to half of it off, or adds as much, but
    waits no longer than ``longest_s``. Full jitter waits anywhere between 0 and the doubled time (AWS Architecture
    Blog, "Exponential Backoff and Jitter", 2015).

    >>> [pause_s(PHOENIX, failures, 0.5, 1.0, 5.0) for failures in (0, 1, 20)]
    [0.01, 0.05, 5.0]
    >>> pause_s(SOCKETIO, 1, 0.25, 1.0, 5.0), pause_s(SOCKETIO, 1, 0.75, 1.0, 5.0), pause_s(SOCKETIO, 9, 0.9, 1.0, 5.0)
    (1.5, 2.5, 5.0)
    >>> pause_s(FULL_JITTER, 2, 0.5, 1.0, 60.0)
    2.0
    """
    if preset == FIXED:
        return first_s
    if preset == PHOENIX:
        return PHOENIX_MS[min(failures, len(PHOENIX_MS) - 1)] * 1e-3
    if preset == NONE:
        return math.inf
    doubled_s = first_s * 2.0 ** min(failures, 60)
    if preset == SOCKETIO:
        return min(longest_s, doubled_s * (1.0 + SOCKETIO_JITTER * (2.0 * draw - 1.0)))
    return draw * min(longest_s, doubled_s)


def notices_s(online_s: float, broken_s: float, ping_s: float, timeout_s: float) -> float:
    """When a client notices that its other side is silent since ``broken_s``: the ping that was due next never came.

    >>> notices_s(0.0, 60.0, 25.0, 20.0)
    95.0
    """
    pings = math.floor(max(0.0, broken_s - online_s) / ping_s)
    return online_s + (pings + 1) * ping_s + timeout_s
