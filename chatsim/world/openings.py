"""When conversations open, and what is drawn for each of them: by blocks of users first, then by slices of time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from chatsim.scenario.models import Conversations, Workload
from chatsim.world.compiling import ROWS_LEAST, Loop, prefetch
from chatsim.world.draws import Purpose, lognormal, uniform
from chatsim.world.orders import blocks, next_places, order_in_time
from chatsim.world.processes import Gaps
from chatsim.world.sessions import Connected
from chatsim.world.shelf import column, put_back, write
from chatsim.world.tables import Floats, Ints, Longs
from chatsim.world.telling import Openings, Steps

LEAD_MAX_S = 1800.0
LEAD_REPLIES = 10.0
USERS_AT_ONCE, OPENINGS_AT_ONCE = 1 << 16, 1 << 18


class Opened(NamedTuple):
    """When a user's conversation of a number opens, in which of all sessions on device 0, and how many messages follow;
    the first of these has the number ``first_step`` among those of all that the user opens."""

    time_s: Floats
    user: Ints
    ordinal: Ints
    session: Ints
    first_step: Ints
    steps: Ints


ROW: Any = np.dtype({"names": Opened._fields, "formats": ["f8", *["i4"] * 5], "itemsize": 32})
"""What is known of a conversation side by side: rows come in one order, and are asked for in another."""
HALF_ROW = np.dtype("c16")
"""Rows are put together as numbers of such a size: numpy copies rows one by one."""
Rows = npt.NDArray[Any]


def _columns(rows: Rows) -> Opened:
    """The columns of rows, where they stand."""
    return Opened._make(rows[name] for name in Opened._fields)


class Scheduled:
    """All conversations of a run.

    They are drawn for a block of users after the other, and told in the order of time: each block lies sorted by the
    slices of time.
    """

    def __init__(
        self, workload: Workload, connected: Connected, rate_per_s: float, seed: int, replication: int
    ) -> None:
        self._talk, self._seed, self._replication = workload.conversations, seed, replication
        expected = rate_per_s * connected.whole_s
        slices = 1 + int(expected / OPENINGS_AT_ONCE)
        self._until_s = np.linspace(-lead_of(self._talk), workload.duration_s, slices + 1)[1:]
        gaps_of = Gaps(self._talk.burst_sigma, "whole" if workload.sessions.join_days else "rest")
        self._blocks: list[tuple[Rows, Longs]] = []
        self._scratch = np.empty(0, ROW)
        self.messages_most = 0
        for users in blocks(workload.users, USERS_AT_ONCE):
            points = connected.points(users, rate_per_s, Purpose.OPENING_GAP, seed, replication, gaps_of)
            self._keep(*points)
        del self._scratch

    def __len__(self) -> int:
        return sum(len(rows) for rows, _ in self._blocks)

    def _keep(self, time_s: Floats, user: Ints, ordinal: Ints, session: Ints) -> None:
        """Keeps what opens, by user and time, sorted by slices."""
        steps = _more_messages(
            uniform(self._seed, self._replication, Purpose.CONVERSATION_LENGTH, user, ordinal), self._talk.length_mean
        )
        before, part = np.empty(len(user), np.int32), np.empty(len(user), np.int32)
        start = np.zeros(len(self._until_s) + 1, np.int64)
        SLICE(user, time_s, steps, self._until_s, before, part, start[1:])
        np.cumsum(start, out=start)
        if len(self._scratch) < len(user):
            self._scratch = np.empty(len(user), ROW)
        rows, kept = self._scratch[: len(user)], column(len(user), ROW)
        _lay(Opened(time_s, user, ordinal, session, before, steps), part, start[:-1].copy(), _columns(rows))
        write(kept, rows)
        put_back(kept)
        self._blocks.append((kept, start))
        self.messages_most += len(user) + int(steps.sum())

    def slices(self) -> Iterator[tuple[Openings, Steps, float]]:
        """What opens in each slice of time, in the order of time, with the draws of what follows; and its end."""
        number = 0
        for place, until_s in enumerate(self._until_s.tolist()):
            parts = [rows[start[place]:start[place + 1]] for rows, start in self._blocks]
            rows = _columns(np.concatenate([part.view(HALF_ROW) for part in parts]).view(ROW))
            put_back(*parts)
            rows = _in_order(rows, order_in_time(rows.time_s))
            yield self._openings(rows, number), self._steps(rows), until_s
            number += len(rows.time_s)

    def _openings(self, rows: Opened, number: int) -> Openings:
        drawn = (
            uniform(self._seed, self._replication, purpose, rows.user, rows.ordinal)
            for purpose in (Purpose.OPENING_GROUP, Purpose.OPENING_NEW, Purpose.OPENING_TARGET)
        )
        count = len(rows.user)
        return Openings(
            rows.time_s, rows.user.copy(), np.zeros(count, np.int32), rows.session,
            np.arange(number, number + count, dtype=np.int32), next(drawn) < self._talk.group_share, *drawn,
        )

    def _steps(self, rows: Opened) -> Steps:
        """The draws of all later messages, keyed by who opens the conversation and their number among all of its."""
        talk, seed, replication, steps = self._talk, self._seed, self._replication, rows.steps
        one, user, number = (np.empty(int(steps.sum()), np.int32) for _ in range(3))
        LIST_STEPS(rows.user, steps, rows.first_step, one, user, number)
        due_s = lognormal(seed, replication, Purpose.REPLY_DELAY, user, number, talk.reply_s_median, talk.reply_sigma)
        ADD_UP(rows.time_s, one, due_s)
        return Steps(
            one, due_s, uniform(seed, replication, Purpose.REPLY_SIDE, user, number) < talk.reply_share,
            uniform(seed, replication, Purpose.REPLY_MEMBER, user, number),
        )


def _slice(
    user: Ints, time_s: Floats, steps: Ints, until_s: Floats, before: Ints, part: Ints, count: Longs
) -> None:
    """Of what opens, by user and time: how many steps of the same user come before, and the slice of time that it falls
    into. Counts what falls into each."""
    latest, sofar, here = -1, 0, 0
    for one in range(len(user)):
        if user[one] != latest:
            latest, sofar, here = user[one], 0, 0
        while here + 1 < len(until_s) and until_s[here] <= time_s[one]:
            here += 1
        before[one], part[one] = sofar, here
        count[here] += 1
        sofar += steps[one]


def _lay(rows: Opened, part: Ints, free: Longs, into: Opened) -> None:
    """Each row takes the first place of its slice that is free. Modifies ``free``."""
    if LAY.fast and len(part) >= ROWS_LEAST:
        LAY.fast(rows, part, free, into)
        return
    place = next_places(part, free)
    columns: Any = zip(into, rows, strict=True)
    for laid, values in columns:
        laid[place] = values


def _lay_each(rows: Opened, part: Ints, free: Longs, into: Opened) -> None:
    for one in range(len(part)):
        place = free[part[one]]
        free[part[one]] += 1
        into.time_s[place], into.user[place] = rows.time_s[one], rows.user[one]
        into.ordinal[place], into.session[place] = rows.ordinal[one], rows.session[one]
        into.first_step[place], into.steps[place] = rows.first_step[one], rows.steps[one]


def _in_order(rows: Opened, order: Longs) -> Opened:
    """The rows in an order, each column by itself."""
    if not FETCH.fast or len(order) < ROWS_LEAST:
        return Opened._make(values[order] for values in rows)
    found = Opened._make(np.empty(len(order), values.dtype) for values in rows)
    FETCH.fast(rows, order, found)
    return found


def _fetch(rows: Opened, order: Longs, found: Opened) -> None:
    last = len(order) - 1
    for place in range(len(order)):
        prefetch(rows.time_s, order[min(place + 24, last)])
        one = order[place]
        found.time_s[place], found.user[place] = rows.time_s[one], rows.user[one]
        found.ordinal[place], found.session[place] = rows.ordinal[one], rows.session[one]
        found.first_step[place], found.steps[place] = rows.first_step[one], rows.steps[one]


LAY, FETCH = Loop(_lay_each), Loop(_fetch)


def _list_steps(user: Ints, steps: Ints, first: Ints, one: Ints, by: Ints, number: Ints) -> None:
    """Which conversation each step is of, who opened that, and the number of the step among all of that user's."""
    at = 0
    for place in range(len(user)):
        for step in range(steps[place]):
            one[at], by[at], number[at] = place, user[place], first[place] + step
            at += 1


def _add_up(opened_s: Floats, one: Ints, delay_s: Floats) -> None:
    """When each step is due, in the place of how long that is after what is before it."""
    latest = -1
    time_s = 0.0
    for step in range(len(one)):
        if one[step] != latest:
            latest = one[step]
            time_s = opened_s[latest]
        time_s += delay_s[step]
        delay_s[step] = time_s


SLICE, LIST_STEPS, ADD_UP = Loop(_slice), Loop(_list_steps), Loop(_add_up)


def lead_of(talk: Conversations) -> float:
    """Time before 0 at which conversations start being told, so that replies under way at 0 are there."""
    return min(LEAD_MAX_S, LEAD_REPLIES * talk.reply_s_median * math.exp(talk.reply_sigma**2 / 2))


def _more_messages(drawn: Floats, length_mean: float) -> Ints:
    """How many messages follow the first one of a conversation: geometric numbers from 0 on, by inversion, so that
    there are ``length_mean`` on the mean. Modifies the draws."""
    if length_mean == 1:
        return np.zeros(len(drawn), np.int32)
    np.log(drawn, out=drawn)
    drawn /= math.log1p(-1 / length_mean)
    return np.floor(drawn, out=drawn).astype(np.int32)
