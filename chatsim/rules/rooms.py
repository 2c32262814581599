"""In which room a private message is broadcast, and who hears it there."""

from __future__ import annotations

PAIR_ROOMS, PERSONAL_ROOMS, GROUP_ROOMS = range(3)
ROOM_NUMBERS = {"pair": PAIR_ROOMS, "personal": PERSONAL_ROOMS, "group": GROUP_ROOMS}


def personal_room(user: int, rooms: int) -> int:
    """The room named after a user; ``rooms`` is the number of pair and group rooms, which come first."""
    return rooms + user


def leaves_when_idle(written_s: float, now_s: float, idle_s: float) -> bool:
    """Whether a session that came into a room by writing, last at ``written_s``, leaves it now.

    >>> leaves_when_idle(10.0, 40.0, 30.0), leaves_when_idle(11.0, 40.0, 30.0)
    (True, False)
    """
    return now_s >= written_s + idle_s
