"""When people are connected: sessions with a daily rhythm, and the look-up of the session that covers a moment."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import numpy.typing as npt

from chatsim.scenario.models import Sessions, Workload
from chatsim.world.compiling import Loop
from chatsim.world.draws import BLOCK, Purpose, lognormal, uniform
from chatsim.world.orders import blocks, grouped, order_in_time, ordinals
from chatsim.world.processes import STEADY, Gaps, poisson_process
from chatsim.world.tables import Floats, Friends, Ints, Longs, SessionTable

DAY_S = 86400.0
LEAD_MAX_S = 7 * DAY_S
LEAD_QUANTILE = 3.0902
"""Normal quantile of 0.999: no more than a thousandth of the sessions under way at the start began before the lead."""
DEVICE_JITTER_SHARE = 0.1
GRID_S = 10.0


class DayClock:
    """Time as the daily rhythm has it: session starts that an average user, whose interest does not fade, has made."""

    def __init__(self, workload: Workload) -> None:
        self.grid_s = np.linspace(0.0, DAY_S, int(DAY_S / GRID_S) + 1)
        rate = rate_at(workload, self.grid_s)
        self.passed = np.concatenate([[0.0], np.cumsum((rate[1:] + rate[:-1]) / 2 * GRID_S)])
        self.per_day = float(self.passed[-1])

    def starts_until(self, time_s: Floats) -> Floats:
        """Starts from 0 until a time, negative before 0."""
        days, rest = np.divmod(time_s, DAY_S)
        until: Floats = days * self.per_day + np.interp(rest, self.grid_s, self.passed)
        return until

    def time_s(self, starts: Floats) -> Floats:
        """The time by which so many starts have been made."""
        days, rest = np.divmod(starts, self.per_day)
        if INTERPOLATE.fast and self.per_day > 0:
            INTERPOLATE.fast(rest, self.passed, self.grid_s, *self._slope_and_guide)
        else:
            rest = np.interp(rest, self.passed, self.grid_s)
        days *= DAY_S
        days += rest
        return days

    @cached_property
    def _slope_and_guide(self) -> tuple[Floats, Longs]:
        """How the time goes on from each point of the grid; and where to look first for each equal part of a day."""
        parts = len(self.passed)
        guide = np.searchsorted((self.passed[1:] / self.per_day * parts).astype(np.int64), np.arange(parts + 1))
        return np.diff(self.grid_s) / np.diff(self.passed), guide


def _interpolate(values: Floats, passed: Floats, time_s: Floats, slope: Floats, guide: Longs) -> None:
    """As numpy does it, in place; where to look first for a value in one of equal parts of all says ``guide``."""
    for one in range(len(values)):
        value = values[one]
        place = min(guide[int(value / passed[-1] * (len(guide) - 1))], len(slope) - 1)
        while place + 1 < len(slope) and passed[place + 1] <= value:
            place += 1
        values[one] = slope[place] * (value - passed[place]) + time_s[place]


INTERPOLATE = Loop(_interpolate)


def build_sessions(workload: Workload, seed: int, replication: int, friends: Friends) -> SessionTable:
    """Sessions of all users that overlap the run, in the order of a SessionTable.

    Starts are a Poisson process per user with the daily rhythm of ``workload.sessions``, lengths are log-normal. The
    process runs for a lead time before 0, so that the run starts in its steady state: sessions under way then have
    start_s < 0. Sessions of one device that overlap are one. A second device connects and leaves within a tenth of the
    session's length of the first.

    Users differ in their rates by :func:`activity_of`. With ``join_days`` a user's first session starts when it joins
    (see :func:`joined_s`); with ``fade_days`` the rate halves in so many days from then, or from the start of the run.
    """
    user, start, end = _first_device(workload, activity_of(workload, friends), seed, replication)
    twin_user, twin_start, twin_end = _second_device(workload.sessions, user, start, end, seed, replication)
    return session_table(
        np.concatenate([user, twin_user]), np.repeat([0, 1], [len(user), len(twin_user)]),
        np.concatenate([start, twin_start]), np.concatenate([end, twin_end]), workload.duration_s,
    )


def session_table(user: Ints, device: npt.ArrayLike, start: Floats, end: Floats, duration_s: float) -> SessionTable:
    """The sessions that overlap [0, duration_s), ordered by (start_s, user, device)."""
    devices = np.asarray(device, np.int32)
    during = np.flatnonzero((end > 0) & (start < duration_s))
    during = during[order_in_time(start[during], user[during], devices[during])]
    return SessionTable(user[during].astype(np.int32, copy=False), devices[during], start[during], end[during])


def activity_of(workload: Workload, friends: Friends) -> Floats:
    """Each user's session rate as a multiple of ``per_day``: log-normal with mean 1, ascending with the number of
    friends (of equal numbers, with that of the user)."""
    activity = np.empty(workload.users)
    activity[np.argsort(np.diff(friends.start), kind="stable")] = activity_levels(
        workload.sessions.activity_sigma, workload.users
    )
    return activity


def activity_levels(sigma: float, levels: int) -> Floats:
    """Log-normal activities with mean 1, one in the middle of each of so many equal shares, ascending.

    >>> activity_levels(0.0, 2).tolist()
    [1.0, 1.0]
    """
    from scipy.special import ndtri

    if sigma == 0:
        return np.ones(levels)
    drawn: Floats = np.exp(sigma * ndtri((np.arange(levels) + 0.5) / levels))
    drawn /= drawn.mean()
    return drawn


def joined_s(workload: Workload, seed: int, replication: int) -> Floats:
    """When each user joins: evenly within ``join_days``, but for the rhythm of the day; minus infinity where all are
    there from the start."""
    if workload.sessions.join_days == 0:
        return np.full(workload.users, -math.inf)
    clock = DayClock(workload)
    drawn = uniform(seed, replication, Purpose.JOIN, np.arange(workload.users), 0)
    return clock.time_s(drawn * workload.sessions.join_days * clock.per_day)


def lead_s(sessions: Sessions) -> float:
    """Time before 0 from which sessions are made: longer than all but 0.1 % of the sessions under way at 0.

    Such a session is length-biased: log-normal with median x exp(sigma**2) in place of the median. At most a week.
    """
    sigma = sessions.length_sigma
    return min(LEAD_MAX_S, sessions.length_s_median * math.exp(sigma * sigma + LEAD_QUANTILE * sigma))


def length_s_mean(sessions: Sessions) -> float:
    """Mean length of a session: median x exp(sigma**2 / 2)."""
    return sessions.length_s_median * math.exp(sessions.length_sigma**2 / 2)


def rate_at(workload: Workload, time_s: npt.ArrayLike) -> Floats:
    """Session starts per user and second, ``time_s`` after the start of the run."""
    sessions = workload.sessions
    phase = 2 * math.pi * (np.asarray(time_s, float) / 3600 + workload.start_hour - sessions.peak_hour) / 24
    rate: Floats = sessions.per_day / DAY_S * (1 + sessions.day_amplitude * np.cos(phase))
    return rate


class Connected:
    """The time within ``span_s`` (from, until) for which users are connected on device 0, one user after the other."""

    def __init__(self, sessions: SessionTable, users: int, span_s: tuple[float, float]) -> None:
        self.first, self.row = sessions_of_users(sessions, users)
        self._end_s = sessions.end_s[self.row]
        self._begin_s = np.clip(sessions.start_s[self.row], *span_s)
        self._length_s = np.clip(self._end_s, *span_s) - self._begin_s
        self._passed_s = np.concatenate([[0.0], np.cumsum(self._length_s)])
        self.whole_s = float(self._passed_s[-1])

    def points(
        self, users: slice, rate_per_s: npt.ArrayLike, purpose: Purpose, seed: int, replication: int,
        gaps_of: Gaps = STEADY,
    ) -> tuple[Floats, Ints, Ints, Ints]:
        """A Poisson process for each of some users, with a rate for all or one for each of them.

        Returns (time_s, user, ordinal, place of the session among all of device 0), ordered by user, then by time.
        """
        first, passed = self.first[users.start:users.stop + 1], self._passed_s
        rate = np.broadcast_to(np.asarray(rate_per_s, float), len(first) - 1)
        horizon = (passed[first[1:]] - passed[first[:-1]]) * rate
        user, ordinal, point = poisson_process(horizon, purpose, seed, replication, gaps_of, users.start)
        at = np.empty(len(user), np.int32)
        if PLACE.fast:
            spans = passed, self._begin_s, self._length_s, self._end_s
            own_rate = np.require(rate, requirements=["C_CONTIGUOUS", "WRITEABLE"])  # the loop knows no other kind
            PLACE.fast(users.start, first, spans, own_rate, user, point, at)
            return point, user, ordinal, at
        for part in blocks(len(user), BLOCK):
            of = user[part] - users.start
            position = passed[first[of]] + point[part] / rate[of]
            place = np.searchsorted(passed, position, side="right") - 1
            place = np.clip(place, first[of], first[of + 1] - 1)
            into = np.clip(position - passed[place], 0.0, self._length_s[place])
            point[part] = np.minimum(self._begin_s[place] + into, self._end_s[place])
            at[part] = place
        return point, user, ordinal, at


def _place(
    first_user: int, first: Longs, spans: tuple[Floats, Floats, Floats, Floats], rate: Floats,
    user: Ints, point: Floats, at: Ints,
) -> None:
    """Finds the session of each point, and its time, which takes the place of the point."""
    passed, begin_s, length_s, end_s = spans
    latest, place = -1, 0
    for one in range(len(point)):
        of = user[one] - first_user
        if of != latest:
            latest, place = of, first[of]
        position = passed[first[of]] + point[one] / rate[of]
        while place + 1 < first[of + 1] and passed[place + 1] <= position:
            place += 1
        into = min(max(position - passed[place], 0.0), length_s[place])
        point[one] = min(begin_s[place] + into, end_s[place])
        at[one] = place


PLACE = Loop(_place)


def points_while_connected(
    sessions: SessionTable, users: int, span_s: tuple[float, float], rate_per_s: npt.ArrayLike,
    purpose: Purpose, seed: int, replication: int,
) -> tuple[Floats, Ints, Ints, Ints]:
    """A Poisson process per user over the time it is connected on device 0 within ``span_s`` (from, until).

    ``rate_per_s`` is one for all, or one for each of the ``users``; 0 gives no points. Returns (time_s, user, ordinal,
    row of the session), ordered by user, then by time. Gap k of user u is keyed (purpose, u, k), and is exponential.
    """
    connected = Connected(sessions, users, span_s)
    time_s, user, ordinal, place = connected.points(slice(0, users), rate_per_s, purpose, seed, replication)
    return time_s, user, ordinal, connected.row[place].astype(np.int32)


def sessions_of_users(sessions: SessionTable, users: int) -> tuple[Longs, Longs]:
    """(start, row): sessions of user u on device 0 are the rows ``row[start[u]:start[u + 1]]``, in order of time."""
    rows = np.flatnonzero(sessions.device == 0)
    start, order = grouped(sessions.user[rows], users)
    return start, rows[order]


def merge_overlapping(user: npt.NDArray[np.integer], start: Floats, end: Floats) -> tuple[Ints, Floats, Floats]:
    """Sessions of one device per user, those that overlap or touch made one; ordered by (user, start)."""
    user, start, end = _by_user_and_start(np.asarray(user, np.int32), start, end)
    if not len(user):
        return user, start, end
    if MERGE.fast:
        merged = np.empty_like(user), np.empty_like(start), np.empty_like(end)
        count = MERGE.fast(user, start, end, *merged)
        return merged[0][:count], merged[1][:count], merged[2][:count]
    latest, apart = end.copy(), 1
    while (same := user[apart:] == user[:-apart]).any():  # the latest end of so many sessions, of twice as many ...
        np.maximum(latest[apart:], latest[:-apart], out=latest[apart:], where=same)
        apart *= 2
    new = np.ones(len(user), bool)
    new[1:] = (user[1:] != user[:-1]) | (start[1:] > latest[:-1])
    first = np.flatnonzero(new)
    return user[first], start[first], np.maximum.reduceat(end, first)


def _merge(
    user: Ints, start: Floats, end: Floats, merged_user: Ints, merged_start: Floats, merged_end: Floats
) -> int:
    """The same, compiled; how many there are then."""
    count = 0
    for one in range(len(user)):
        if count and user[one] == merged_user[count - 1] and start[one] <= merged_end[count - 1]:
            merged_end[count - 1] = max(merged_end[count - 1], end[one])
        else:
            merged_user[count], merged_start[count], merged_end[count] = user[one], start[one], end[one]
            count += 1
    return count


MERGE = Loop(_merge)


def _by_user_and_start(user: Ints, start: Floats, end: Floats) -> tuple[Ints, Floats, Floats]:
    """Sessions in the order of (user, start, end), in which they may be already."""
    if _ascend(user, start):
        return user, start, end
    if SETTLE.fast:
        settled = user.copy(), start.copy(), end.copy()
        if SETTLE.fast(*settled):
            return settled
    order = np.lexsort((end, start, user))
    return user[order], start[order], end[order]


def _settle(user: Ints, start: Floats, end: Floats) -> bool:
    """Brings sessions that are nearly in order into it; False where that takes many steps."""
    steps = 4 * len(user)
    for one in range(1, len(user)):
        own, begins, ends, place = user[one], start[one], end[one], one
        while place and (
            user[place - 1] > own
            or (user[place - 1] == own and start[place - 1] > begins)
            or (user[place - 1] == own and start[place - 1] == begins and end[place - 1] > ends)
        ):
            user[place], start[place], end[place] = user[place - 1], start[place - 1], end[place - 1]
            place -= 1
            steps -= 1
        user[place], start[place], end[place] = own, begins, ends
        if steps < 0:
            return False
    return True


SETTLE = Loop(_settle)


def _ascend(user: Ints, start: Floats) -> bool:
    """Whether sessions stand in the order of (user, start), none beside its like."""
    for part in blocks(len(user) - 1, BLOCK):
        then = slice(part.start + 1, part.stop + 1)
        is_later = (user[then] > user[part]) | ((user[then] == user[part]) & (start[then] > start[part]))
        if not is_later.all():
            return False
    return True


def covering_session(sessions: SessionTable, user: Ints, time_s: Floats) -> Longs:
    """Row of the device-0 session of ``user`` that covers ``time_s``, -1 where there is none."""
    rows, following = _following(sessions, user, time_s)
    if not len(rows):
        return np.full(len(user), -1, np.int64)
    found = rows[np.maximum(following - 1, 0)]
    covers = (sessions.user[found] == user) & (sessions.start_s[found] <= time_s) & (time_s <= sessions.end_s[found])
    return np.where(covers, found, -1)


def covering_or_next_session(sessions: SessionTable, user: Ints, time_s: Floats) -> Longs:
    """Row of the device-0 session of ``user`` that covers ``time_s``, else of its next one; -1 where there is none."""
    rows, following = _following(sessions, user, time_s)
    covering = covering_session(sessions, user, time_s)
    if not len(rows):
        return covering
    then = rows[np.minimum(following, len(rows) - 1)]
    comes = (following < len(rows)) & (sessions.user[then] == user)
    return np.where(covering >= 0, covering, np.where(comes, then, -1))


def _following(sessions: SessionTable, user: Ints, time_s: Floats) -> tuple[Longs, Longs]:
    """Rows of device 0 by (user, start), and where among them the next session of ``user`` stands, or would."""
    _, rows = sessions_of_users(sessions, int(sessions.user.max(initial=-1)) + 1)
    starts = np.sort(sessions.start_s[rows])
    width = len(rows) + 1
    keys = sessions.user[rows].astype(np.int64) * width + np.searchsorted(starts, sessions.start_s[rows], side="right")
    wanted = user.astype(np.int64) * width + np.searchsorted(starts, time_s, side="right")
    return rows, np.searchsorted(keys, wanted, side="right")


def _first_device(
    workload: Workload, activity: Floats, seed: int, replication: int
) -> tuple[Ints, Floats, Floats]:
    """Starts by inversion: on the clock of an average user who has just joined, of which the daily rhythm, the fading
    of interest and the user's activity are changes of speed."""
    sessions, clock = workload.sessions, DayClock(workload)
    before, total = clock.starts_until(np.array([-lead_s(sessions), workload.duration_s]))
    fade, gaps_of = sessions.fade_days * clock.per_day, STEADY
    joined = np.zeros(workload.users)
    if sessions.join_days:
        joined, before, gaps_of = clock.starts_until(joined_s(workload, seed, replication)), 0.0, Gaps(first="none")
    horizon = activity * (_faded(np.maximum(total - joined, before), fade) - before)
    user, ordinal, point = poisson_process(horizon, Purpose.SESSION_GAP, seed, replication, gaps_of)
    end = np.empty(len(user))
    for part in blocks(len(user), BLOCK):
        of = user[part]
        point[part] = clock.time_s(joined[of] + _unfaded(point[part] / activity[of] + before, fade))
        end[part] = lognormal(
            seed, replication, Purpose.SESSION_LENGTH, of, ordinal[part], sessions.length_s_median,
            sessions.length_sigma,
        )
        end[part] += point[part]
    return merge_overlapping(user, point, end)


def _faded(age: Floats, fade: float) -> Floats:
    """Integral of 2 ** -(age / fade), and of 1 before age 0 and where fade is 0."""
    if not fade:
        return age
    late = np.maximum(age, 0.0)
    return np.minimum(age, 0.0) - fade / math.log(2) * np.expm1(-math.log(2) / fade * late)


def _unfaded(passed: Floats, fade: float) -> Floats:
    """The age at which :func:`_faded` has that value."""
    if not fade:
        return passed
    late = np.maximum(passed, 0.0)
    return np.minimum(passed, 0.0) - fade / math.log(2) * np.log1p(-math.log(2) / fade * late)


def _second_device(
    sessions: Sessions, user: Ints, start: Floats, end: Floats, seed: int, replication: int
) -> tuple[Ints, Floats, Floats]:
    """The twins on device 1 of sessions ordered by user."""
    ordinal = ordinals(user, int(user.max(initial=-1)) + 1)
    twin = uniform(seed, replication, Purpose.SECOND_DEVICE, user, ordinal) < sessions.second_device_share
    user, ordinal, start, end = user[twin], ordinal[twin], start[twin], end[twin]
    jitter = DEVICE_JITTER_SHARE * (end - start)
    start = start + jitter * (2 * uniform(seed, replication, Purpose.SECOND_DEVICE_START, user, ordinal) - 1)
    end = end + jitter * (2 * uniform(seed, replication, Purpose.SECOND_DEVICE_END, user, ordinal) - 1)
    return merge_overlapping(user, start, end)
