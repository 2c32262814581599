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

Longs = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]

NOBODY = -1


class Meanwhile(NamedTuple):
    """Sessions in the order in which they begin; which end, one after the other, and when; from when until when those
    that concern each message may begin or end; and who may be there by now.

    ``here`` says of each user whether any session may be: then ``head`` is one, and ``after`` the next one of each.
    ``at`` is how many have begun and ended.
    """

    session: Ints
    user: Ints
    begin_s: Floats
    end_s: Floats
    ends: Ints
    ended_s: Floats
    since_s: Floats
    until_s: Floats
    here: npt.NDArray[np.uint8]
    head: Ints
    after: Ints
    at: Longs


def meanwhile(
    users: int, session: Longs, user: npt.NDArray[Any], begin_s: Floats, end_s: Floats, first_s: Floats, last_s: Floats
) -> Meanwhile:
    """Numbers of sessions, and of which ``user`` and from when until when each is, as they come and go while messages
    are looked at; each message asks for times from ``first_s`` to ``last_s``, NaN where it asks for none.

    >>> there = meanwhile(2, *map(np.array, ([7, 8], [0, 1], [1.0, 2.0], [3.0, 9.0], [0.0, 2.5], [0.0, 2.5])))
    >>> come_and_go(there, 0), there.here.tolist()
    (None, [0, 0])
    >>> come_and_go(there, 1), there.here.tolist()
    (None, [1, 1])
    """
    until_s = np.fmax.accumulate(np.append(-np.inf, last_s))[1:]
    since_s = np.fmin(np.fmin.accumulate(np.append(np.inf, first_s[::-1]))[:0:-1], until_s)
    earliest_s, latest_s = (since_s[0], until_s[-1]) if len(until_s) else (np.inf, -np.inf)
    asked = np.flatnonzero((begin_s < end_s) & (begin_s <= latest_s) & ~(end_s <= earliest_s))
    asked = asked[np.argsort(begin_s[asked], kind="stable")]
    left_s = end_s[asked]
    ends = np.flatnonzero(left_s <= (since_s[-1] if len(since_s) else -np.inf))
    ends = ends[np.argsort(left_s[ends])]
    return Meanwhile(
        fixed(session[asked], np.int32), fixed(user[asked], np.int32), begin_s[asked], left_s,
        fixed(ends, np.int32), left_s[ends], since_s, until_s, np.zeros(users, np.uint8),
        np.full(users, NOBODY, np.int32), np.full(len(asked), NOBODY, np.int32), np.zeros(2, np.int64),
    )  # fmt: skip


def come_and_go(there: Meanwhile, one: int) -> None:
    """Has all sessions come that a message may ask for, and all go that neither it nor a later one does."""
    at = there.at[0]
    while at < len(there.begin_s) and there.begin_s[at] <= there.until_s[one]:
        user = there.user[at]
        there.after[at], there.head[user], there.here[user] = there.head[user], at, 1
        at += 1
    there.at[0] = at
    at = there.at[1]
    while at < len(there.ends) and there.ended_s[at] <= there.since_s[one]:
        _go(there, there.ends[at])
        at += 1
    there.at[1] = at


def _go(there: Meanwhile, session: int) -> None:
    """A session of its user is there no more."""
    user = there.user[session]
    before, at = NOBODY, there.head[user]
    while at != session:
        before, at = at, there.after[at]
    if before != NOBODY:
        there.after[before] = there.after[session]
        return
    there.head[user] = there.after[session]
    there.here[user] = there.head[user] != NOBODY


COMING_AND_GOING = come_and_go, _go
"""What a loop that has sessions come and go is compiled with."""
