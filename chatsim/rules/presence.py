"""Presence: who is shown it, and whether a key still stands."""

from __future__ import annotations

NOBODY, ROOMS, FRIENDS, LIST, ALL = range(5)
SHOWN_TO_NUMBERS = {"none": NOBODY, "rooms": ROOMS, "friends": FRIENDS, "list": LIST, "all": ALL}


def expires_s(written_s: float, key_life_s: float) -> float:
    """When a key that was written at ``written_s`` is gone unless it is written again; never without a lifetime.

    >>> expires_s(10.0, 60.0), expires_s(10.0, 0.0)
    (70.0, inf)
    """
    return written_s + key_life_s if key_life_s else float("inf")


def is_watched(shown_to: int) -> bool:
    """Whether those who are shown a user's presence watch this user, rather than a room or everybody."""
    return shown_to in (FRIENDS, LIST)
