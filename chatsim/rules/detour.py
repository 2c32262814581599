"""What somebody does who wants to write to a friend who is not on the list."""

from __future__ import annotations

NONE, SEARCH, OTHER, GIVE_UP = range(4)


def detour(draw: float, search_share: float, other_share: float) -> int:
    """Searches, writes to somebody listed instead, or gives up; ``draw`` is uniform in [0, 1).

    A larger share of searches takes its draws from the others: with the same luck, whoever searched before still does.

    >>> [detour(draw, 0.7, 0.2) for draw in (0.0, 0.7, 0.95)] == [SEARCH, OTHER, GIVE_UP]
    True
    """
    if draw < search_share:
        return SEARCH
    return OTHER if draw < search_share + other_share else GIVE_UP
