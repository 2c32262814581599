"""When conversations open, and what is drawn for each of them: by blocks of users first, then by slices of time."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from chatsim.scenario.models import Conversations, Workload
from chatsim.world.draws import Purpose, lognormal, uniform
from chatsim.world.orders import blocks, order_in_time
from chatsim.world.sessions import Connected, Gaps
from chatsim.world.shelf import column, put_back
from chatsim.world.tables import Floats, Ints, Longs, SessionTable
from chatsim.world.telling import Openings, Steps

LEAD_MAX_S = 1800.0
LEAD_REPLIES = 10.0
USERS_AT_ONCE, OPENINGS_AT_ONCE = 1 << 16, 1 << 18
OPENING = np.dtype([
    ("time_s", np.float64), ("user", np.int32), ("ordinal", np.int32), ("session", np.int32), ("first_step", np.int32),
    ("steps", np.int32),
])  # fmt: skip
"""When a user's conversation of a number opens, in which of all sessions on device 0, and how many messages follow; the
first of these has the number ``first_step`` among those of all that the user opens."""


class Scheduled:
    """All conversations of a run.

    They are drawn for a block of users after the other, and told in the order of time: each block lies sorted by the
    slices of time.
    """

    def __init__(
        self, workload: Workload, sessions: SessionTable, rate_per_s: float, seed: int, replication: int
    ) -> None:
        self._talk, self._seed, self._replication = workload.conversations, seed, replication
        lead_s = _lead_s(self._talk)
        connected = Connected(sessions, workload.users, (-lead_s, workload.duration_s))
        expected = rate_per_s * connected.whole_s
        slices = 1 + int(expected / OPENINGS_AT_ONCE)
        self._until_s = np.linspace(-lead_s, workload.duration_s, slices + 1)[1:]
        gaps_of = Gaps(self._talk.burst_sigma, "whole" if workload.sessions.join_days else "rest")
        self._blocks: list[tuple[npt.NDArray[np.void], Longs]] = []
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
        before = np.cumsum(steps, dtype=np.int64) - steps
        first = np.flatnonzero(np.diff(user, prepend=-1))
        before -= np.repeat(before[first], np.diff(first, append=len(user)))
        part = np.searchsorted(self._until_s[:-1], time_s, side="right").astype(np.int16)
        order = np.argsort(part, kind="stable")
        rows = column(len(user), OPENING)
        for name, values in (
            ("time_s", time_s), ("user", user), ("ordinal", ordinal), ("session", session), ("first_step", before),
            ("steps", steps),
        ):
            rows[name] = values[order]
        start = np.searchsorted(part[order], np.arange(len(self._until_s) + 1))
        put_back(rows)
        self._blocks.append((rows, start))
        self.messages_most += len(user) + int(steps.sum())

    def slices(self) -> Iterator[tuple[Openings, Steps, float]]:
        """What opens in each slice of time, in the order of time, with the draws of what follows; and its end."""
        number = 0
        for place, until_s in enumerate(self._until_s.tolist()):
            parts = [rows[start[place]:start[place + 1]] for rows, start in self._blocks]
            rows = np.concatenate(parts)
            put_back(*parts)
            rows = rows[order_in_time(rows["time_s"])]
            yield self._openings(rows, number), self._steps(rows), until_s
            number += len(rows)

    def _openings(self, rows: npt.NDArray[np.void], number: int) -> Openings:
        user, ordinal = rows["user"].copy(), rows["ordinal"]
        steps = rows["steps"].copy()
        drawn = (
            uniform(self._seed, self._replication, purpose, user, ordinal)
            for purpose in (Purpose.OPENING_GROUP, Purpose.OPENING_NEW, Purpose.OPENING_TARGET)
        )
        return Openings(
            rows["time_s"].copy(), user, np.zeros(len(rows), np.int32), rows["session"].copy(),
            np.full(len(rows), -1, np.int32), steps, np.cumsum(steps, dtype=np.int64) - steps,
            np.arange(number, number + len(rows), dtype=np.int32), next(drawn) < self._talk.group_share, *drawn,
        )

    def _steps(self, rows: npt.NDArray[np.void]) -> Steps:
        """The draws of all later messages, keyed by who opens the conversation and their number among all of its."""
        talk, seed, replication, steps = self._talk, self._seed, self._replication, rows["steps"]
        user = np.repeat(rows["user"], steps)
        first = np.cumsum(steps, dtype=np.int64) - steps
        number = np.arange(len(user)) + np.repeat(rows["first_step"] - first, steps)
        return Steps(
            uniform(seed, replication, Purpose.REPLY_SIDE, user, number) < talk.reply_share,
            lognormal(seed, replication, Purpose.REPLY_DELAY, user, number, talk.reply_s_median, talk.reply_sigma),
            uniform(seed, replication, Purpose.REPLY_MEMBER, user, number),
        )


def _lead_s(talk: Conversations) -> float:
    """Time before 0 at which conversations start being told, so that replies under way at 0 are there."""
    return min(LEAD_MAX_S, LEAD_REPLIES * talk.reply_s_median * math.exp(talk.reply_sigma**2 / 2))


def _geometric(drawn: Floats, mean: float) -> Ints:
    """Geometric numbers from 1 on with the given mean, by inversion."""
    if mean == 1:
        return np.ones(len(drawn), np.int32)
    return np.floor(np.log(drawn) / math.log1p(-1 / mean)).astype(np.int32) + 1
