"""Who is there meanwhile: the sessions of each user that may be there, for one message after the other.

Messages come nearly in the order of time. So sessions come and go while a loop goes through the messages, and most of
those whom a message is for have none: one byte says that, where to look for each one among the sessions of all would
have memory that is far away come for every recipient.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from chatsim.engine.loops import fixed
from chatsim.world.compiling import prefetch

Longs = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]

NOBODY = -1
NEAR, FAR = 8, 16
"""So many sessions ahead their users, and they themselves, are asked for: one is far away from the next."""
MANY = 255
"""So many sessions of a user, or more, are not counted."""


class Meanwhile(NamedTuple):
    """Sessions in the order in which they begin; which end, one after the other, and when; until when each message asks
    for sessions, and since when it or a later one does; and who may be there by now.

    ``here`` says of each user how many sessions may be, MANY or more being one: then ``head`` is one, and ``after`` the
    next one of each. ``of`` says of each session that may be there whose it is, and of all others NOBODY. ``at`` is how
    many have begun and ended, ``latest_s`` until when any message so far has asked.
    """

    session: Ints
    user: Ints
    begin_s: Floats
    end_s: Floats
    ends: Ints
    ended_s: Floats
    since_s: Floats
    until_s: Floats
    latest_s: Floats
    here: npt.NDArray[np.uint8]
    head: Ints
    after: Ints
    of: Ints
    at: Longs


def meanwhile(
    users: int, session: Longs, user: npt.NDArray[Any], begin_s: Floats, end_s: Floats, first_s: Floats, last_s: Floats
) -> Meanwhile:
    """Numbers of sessions, and of which ``user`` and from when until when each is, as they come and go while messages
    are looked at; each message asks for times from ``first_s`` to ``last_s``, NaN where it asks for none.

    >>> there = meanwhile(2, *map(np.array, ([7, 8], [0, 1], [1.0, 2.0], [3.0, 9.0], [0.0, 2.5], [0.0, 2.5])))
    >>> look_back(there), come_and_go(there, 0), there.here.tolist()
    (None, None, [0, 0])
    >>> come_and_go(there, 1), there.here.tolist()
    (None, [1, 1])
    """
    earliest_s = np.fmin.reduce(first_s, initial=np.inf)
    latest_s = np.fmax.reduce(last_s, initial=-np.inf)
    asked = np.flatnonzero((begin_s < end_s) & (begin_s <= latest_s) & ~(end_s <= earliest_s))
    asked = asked[np.argsort(begin_s[asked], kind="stable")]
    left_s = end_s[asked]
    ends = np.flatnonzero(left_s <= (np.fmin(first_s[-1], latest_s) if len(first_s) else -np.inf))
    ends = ends[np.argsort(left_s[ends])]
    return Meanwhile(
        fixed(session[asked], np.int32), fixed(user[asked], np.int32), begin_s[asked], left_s,
        fixed(ends, np.int32), left_s[ends], first_s.copy(), fixed(last_s, np.float64), np.full(1, -np.inf),
        np.zeros(users, np.uint8), np.full(users, NOBODY, np.int32), np.full(len(asked), NOBODY, np.int32),
        np.full(int(session.max(initial=-1)) + 1, NOBODY, np.int32), np.zeros(2, np.int64),
    )  # fmt: skip


def look_back(there: Meanwhile) -> None:
    """Has each message know since when it or a later one asks for sessions, before the first one does."""
    since_s = np.inf
    for one in range(len(there.since_s) - 1, -1, -1):
        since_s = there.since_s[one] if there.since_s[one] < since_s else since_s
        there.since_s[one] = since_s


def come_and_go(there: Meanwhile, one: int) -> None:
    """Has all sessions come that a message may ask for, and all go that neither it nor a later one does."""
    latest_s, at = there.latest_s[0], there.at[0]
    latest_s = there.until_s[one] if there.until_s[one] > latest_s else latest_s  # which NaN is not
    there.latest_s[0] = latest_s
    last = len(there.begin_s) - 1
    while at <= last and there.begin_s[at] <= latest_s:
        _fetch_user(there, min(at + NEAR, last))
        user = there.user[at]
        there.here[user] = min(there.here[user] + 1, MANY)
        there.after[at], there.head[user], there.of[there.session[at]] = there.head[user], at, user
        at += 1
    there.at[0] = at
    since_s, at, last = min(there.since_s[one], latest_s), there.at[1], len(there.ends) - 1
    while at <= last and there.ended_s[at] <= since_s:
        far = there.ends[min(at + FAR, last)]
        prefetch(there.user, far)
        prefetch(there.session, far)
        prefetch(there.after, far)
        _fetch_user(there, there.ends[min(at + NEAR, last)])
        _go(there, there.ends[at])
        at += 1
    there.at[1] = at


def _fetch_user(there: Meanwhile, session: int) -> None:
    """Has what is known of a session's user come near."""
    prefetch(there.here, there.user[session])
    prefetch(there.head, there.user[session])


def _go(there: Meanwhile, session: int) -> None:
    """A session of its user is there no more."""
    user, others = there.user[session], 0
    before, at = NOBODY, there.head[user]
    there.of[there.session[session]] = NOBODY
    while at != NOBODY:
        if at != session:
            before, others = at, others + 1
        elif before != NOBODY:
            there.after[before] = there.after[at]
        else:
            there.head[user] = there.after[at]
        at = there.after[at]
    there.here[user] = min(others, MANY)


COMING_AND_GOING = look_back, come_and_go, _fetch_user, _go
"""What a loop that has sessions come and go is compiled with."""
