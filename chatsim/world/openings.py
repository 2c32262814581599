"""When conversations open, and what is drawn for each of them: by blocks of users first, then by slices of time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from chatsim.scenario.models import Conversations, Workload
from chatsim.world.compiling import Loop, prefetch
from chatsim.world.draws import Purpose, lognormal, uniform
from chatsim.world.orders import blocks, order_in_time
from chatsim.world.processes import Gaps
from chatsim.world.sessions import Connected
from chatsim.world.shelf import put_back, shelved
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


ROW: Any = np.dtype({"names": Opened._fields, "formats": [np.float64, *[np.int32] * 5], "itemsize": 32})
"""What is known of a conversation lies in one place: it is brought into another order twice."""
WHOLE = np.dtype("V32")


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
        self._blocks: list[tuple[npt.NDArray[Any], Longs]] = []
        self.messages_most = 0
        for users in blocks(workload.users, USERS_AT_ONCE):
            points = connected.points(users, rate_per_s, Purpose.OPENING_GAP, seed, replication, gaps_of)
            self._keep(*points)

    def __len__(self) -> int:
        return sum(len(rows) for rows, _ in self._blocks)

    def _keep(self, time_s: Floats, user: Ints, ordinal: Ints, session: Ints) -> None:
        """Keeps what opens, by user and time, sorted by slices."""
        length = _geometric(
            uniform(self._seed, self._replication, Purpose.CONVERSATION_LENGTH, user, ordinal), self._talk.length_mean
        )
        steps = length - 1
        start = np.zeros(len(self._until_s) + 1, np.int64)
        COUNT_IN_SLICES(user, time_s, self._until_s, start[1:])
        np.cumsum(start, out=start)
        rows = np.empty(len(user), ROW)
        opened = Opened(time_s, user, ordinal, session, np.empty(0, np.int32), steps)
        SORT_OUT(opened, self._until_s, start[:-1].copy(), _columns(rows))
        self._blocks.append((shelved(rows.view(WHOLE)).view(ROW), start))
        self.messages_most += len(user) + int(steps.sum())

    def slices(self) -> Iterator[tuple[Openings, Steps, float]]:
        """What opens in each slice of time, in the order of time, with the draws of what follows; and its end."""
        number = 0
        for place, until_s in enumerate(self._until_s.tolist()):
            parts = [rows[start[place]:start[place + 1]].view(WHOLE) for rows, start in self._blocks]
            opened = _columns(np.concatenate(parts).view(ROW))
            put_back(*parts)
            order = order_in_time(np.ascontiguousarray(opened.time_s))
            rows = Opened._make(np.empty(len(order), column.dtype) for column in opened)
            if BRING.fast:
                BRING.fast(opened, order, rows)
            else:
                rows = Opened._make(column[order] for column in opened)
            yield self._openings(rows, number), self._steps(rows), until_s
            number += len(order)

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


def _columns(rows: npt.NDArray[Any]) -> Opened:
    return Opened._make(rows[name] for name in Opened._fields)


def _count_in_slices(user: Ints, time_s: Floats, until_s: Floats, count: Longs) -> None:
    """How much of what opens, by user and time, falls into each slice of time."""
    latest, here = -1, 0
    for one in range(len(user)):
        if user[one] != latest:
            latest, here = user[one], 0
        while here + 1 < len(until_s) and until_s[here] <= time_s[one]:
            here += 1
        count[here] += 1


def _sort_out(opened: Opened, until_s: Floats, free: Longs, rows: Opened) -> None:
    """Writes what opens, by user and time, into the places of its slices, of which ``free`` is the first free one each;
    and how many steps of the same user come before it."""
    latest, sofar, here = -1, 0, 0
    for one in range(len(opened.user)):
        if opened.user[one] != latest:
            latest, sofar, here = opened.user[one], 0, 0
        while here + 1 < len(until_s) and until_s[here] <= opened.time_s[one]:
            here += 1
        place = free[here]
        free[here] = place + 1
        rows.time_s[place], rows.user[place], rows.ordinal[place] = opened.time_s[one], latest, opened.ordinal[one]
        rows.session[place], rows.first_step[place], rows.steps[place] = opened.session[one], sofar, opened.steps[one]
        sofar += opened.steps[one]


def _bring(opened: Opened, order: Longs, rows: Opened) -> None:
    """Brings what opens into an order."""
    last = len(order) - 1
    for place in range(len(order)):
        prefetch(opened.time_s, order[min(place + 24, last)])
        one = order[place]
        rows.time_s[place], rows.user[place] = opened.time_s[one], opened.user[one]
        rows.ordinal[place], rows.session[place] = opened.ordinal[one], opened.session[one]
        rows.first_step[place], rows.steps[place] = opened.first_step[one], opened.steps[one]


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


COUNT_IN_SLICES, SORT_OUT, BRING = Loop(_count_in_slices), Loop(_sort_out), Loop(_bring)
LIST_STEPS, ADD_UP = Loop(_list_steps), Loop(_add_up)


def lead_of(talk: Conversations) -> float:
    """Time before 0 at which conversations start being told, so that replies under way at 0 are there."""
    return min(LEAD_MAX_S, LEAD_REPLIES * talk.reply_s_median * math.exp(talk.reply_sigma**2 / 2))


def _geometric(drawn: Floats, mean: float) -> Ints:
    """Geometric numbers from 1 on with the given mean, by inversion."""
    if mean == 1:
        return np.ones(len(drawn), np.int32)
    return np.floor(np.log(drawn) / math.log1p(-1 / mean)).astype(np.int32) + 1
