"""Notifying users without a session: when a push is due, taken by its provider, and worth anything."""

from __future__ import annotations

RETRY_S_MAX = 60.0
MINUTE_S = 60.0


def is_due(sessions_held: int, came_s: float, stored_s: float) -> bool:
    """Whether a push is due, the delay after a message was stored: the user has no session, and none has started since.

    >>> is_due(0, 5.0, 10.0), is_due(0, 12.0, 10.0), is_due(1, 5.0, 10.0)
    (True, False, False)
    """
    return sessions_held == 0 and came_s < stored_s


def is_taken(taken_this_minute: int, quota_per_min: int) -> bool:
    """Whether the provider takes one more push in a minute of its clock; a quota of 0 is none."""
    return quota_per_min == 0 or taken_this_minute < quota_per_min


def retry_after_s(retry_s: float, refusals: int) -> float:
    """Time until a push that has been refused ``refusals`` times is tried again: twice as long each time.

    >>> [retry_after_s(1.0, refusals) for refusals in (1, 2, 3, 9)]
    [1.0, 2.0, 4.0, 60.0]
    """
    return min(RETRY_S_MAX, retry_s * 2.0 ** (refusals - 1))
