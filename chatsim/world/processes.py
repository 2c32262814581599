"""Points of processes in time, one process per user: keyed gaps are added up until each user's horizon."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from chatsim.world.compiling import Loop
from chatsim.world.draws import Purpose, exponential, lognormal, uniform
from chatsim.world.orders import grouped, row_blocks
from chatsim.world.tables import Floats, Ints, Longs

GAPS_AT_ONCE = 1 << 17


@dataclass(frozen=True, slots=True)
class Gaps:
    """Gaps of mean 1 between the points of a process: exponential, or with ``sigma`` > 0 log-normal, in bursts.

    The first is the "rest" of one that is under way (the process is in its steady state at 0, and has rate 1 from there
    on), a "whole" one, or "none": a point at 0.
    """

    sigma: float = 0.0
    first: Literal["rest", "whole", "none"] = "rest"

    def draw(self, user: Longs, ordinal: Longs, purpose: Purpose, seed: int, replication: int) -> Floats:
        """The gaps of each user (rows) with these numbers (columns), keyed (purpose, user, number)."""
        gaps = self.draw_each(user[:, None], ordinal, purpose, seed, replication)
        if ordinal[0] == 0:
            gaps[:, 0] = self.first_ones(gaps[:, 0], user, seed, replication)
        return gaps

    def draw_each(
        self, user: npt.NDArray[Any], ordinal: npt.NDArray[Any], purpose: Purpose, seed: int, replication: int
    ) -> Floats:
        """Gaps of these users with these numbers, of which none is the first."""
        if self.sigma == 0:
            return exponential(seed, replication, purpose, user, ordinal)
        return lognormal(seed, replication, purpose, user, ordinal, math.exp(-self.sigma**2 / 2), self.sigma)

    def first_ones(self, gaps: Floats, user: npt.NDArray[Any], seed: int, replication: int) -> Floats:
        """The first gaps of these users, drawn as the others are."""
        if self.first == "none":
            return np.zeros(len(gaps))
        if self.first == "whole" or self.sigma == 0:
            return gaps
        # A uniform part of a length-biased gap, which is log-normal with a median of exp(sigma**2) times as much.
        part: Floats = math.exp(self.sigma**2) * uniform(seed, replication, Purpose.FIRST_OPENING, user, 0)
        return gaps * part


STEADY = Gaps()


def poisson_process(
    horizon: Floats, purpose: Purpose, seed: int, replication: int, gaps_of: Gaps = STEADY, first_user: int = 0
) -> tuple[Ints, Ints, Floats]:
    """Points of one unit-rate Poisson process per user from ``first_user`` on, from 0 to the user's ``horizon``.

    Returns (user, ordinal, point), ordered by user, then by point. Gap k of user u is keyed (purpose, u, k): a longer
    horizon adds points and moves none. Other gaps than exponential ones make it another process of that rate.
    """
    if TAKE_POINTS.fast:
        return _point_by_point(horizon, purpose, seed, replication, gaps_of, first_user)
    users, numbers, points = [np.empty(0, np.int32)], [np.empty(0, np.int32)], [np.empty(0)]
    waiting = np.argsort(horizon, kind="stable")  # those who need as many draws are done at once
    waiting = waiting[np.searchsorted(horizon[waiting], 0.0, side="right"):]
    while len(waiting):
        width = _points_at_most(horizon[waiting[-1]])
        waiting, active = np.split(waiting, [-max(1, GAPS_AT_ONCE // width)])
        at, ordinal = np.zeros(len(active)), 0
        while len(active):
            gaps = gaps_of.draw(first_user + active, ordinal + np.arange(width), purpose, seed, replication)
            gaps[:, 0] += at
            np.cumsum(gaps, axis=1, out=gaps)
            row, column = np.nonzero(gaps < horizon[active][:, None])
            users.append(active[row].astype(np.int32))
            numbers.append((ordinal + column).astype(np.int32))
            points.append(gaps[row, column])
            going = gaps[:, -1] < horizon[active]
            active, at, ordinal = active[going], gaps[going, -1], ordinal + width
    user = np.concatenate(users)
    _, order = grouped(user, len(horizon))
    user += first_user
    return user[order], np.concatenate(numbers)[order], np.concatenate(points)[order]


def _points_at_most(horizon: float) -> int:
    """More than a user nearly ever has until then, within reason."""
    return int(min(horizon + 3 * math.sqrt(horizon) + 4, 4096))


def _point_by_point(
    horizon: Floats, purpose: Purpose, seed: int, replication: int, gaps_of: Gaps, first_user: int
) -> tuple[Ints, Ints, Floats]:
    """The same, compiled: users stay in order, each with as many gaps as it is likely to need."""
    wide = np.maximum(horizon, 0.0)
    width = np.where(horizon > 0, wide + 1.5 * np.sqrt(wide) + 2, 0).astype(np.int64)
    start = _starts(width)
    found = [(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0))]
    for rows in row_blocks(start):
        until, begin = horizon[rows], start[rows.start:rows.stop + 1] - start[rows.start]
        users = np.arange(first_user + rows.start, first_user + rows.stop)
        gaps = _gaps(gaps_of, users, begin, np.zeros(len(users), np.int64), purpose, seed, replication)
        reached = np.zeros(len(users))
        ADD_GAPS(begin, gaps, reached)
        more_begin, more_gaps = begin * 0, gaps[:0]
        share = 1.0
        while (short := reached < until).any():  # few need more
            more = np.where(short, np.ceil(share * (np.sqrt(wide[rows]) + 4)), 0).astype(np.int64)
            more_begin = _starts(more)
            more_gaps = _gaps(gaps_of, users, more_begin, width[rows], purpose, seed, replication)
            again = np.zeros(len(users))
            ADD_GAPS(begin, gaps, again)
            ADD_GAPS(more_begin, more_gaps, again)
            if not (short & (again < until)).any():
                break
            share *= 2
        most = len(gaps) + len(more_gaps)
        user, ordinal, point = np.empty(most, np.int32), np.empty(most, np.int32), np.empty(most)
        lists = (begin, gaps), (more_begin, more_gaps)
        count = TAKE_POINTS(users[0], until, *lists, user, ordinal, point)
        found.append((user[:count].copy(), ordinal[:count].copy(), point[:count].copy()))
    users_, numbers, points = zip(*found, strict=True)
    return np.concatenate(users_), np.concatenate(numbers), np.concatenate(points)


def _starts(width: Longs) -> Longs:
    """Where lists of such lengths begin, and end."""
    start = np.zeros(len(width) + 1, np.int64)
    np.cumsum(width, out=start[1:])
    return start


def _gaps(
    gaps_of: Gaps, users: Longs, start: Longs, number: Longs, purpose: Purpose, seed: int, replication: int
) -> Floats:
    """The gaps of each user from a number on, one user after the other."""
    user, ordinal = np.empty(start[-1], np.int32), np.empty(start[-1], np.int32)
    LIST(users, start, number, user, ordinal)
    gaps = gaps_of.draw_each(user, ordinal, purpose, seed, replication)
    first = start[:-1][(np.diff(start) > 0) & (number == 0)]
    gaps[first] = gaps_of.first_ones(gaps[first], user[first], seed, replication)
    return gaps


def _list(users: Longs, start: Longs, number: Longs, user: Ints, ordinal: Ints) -> None:
    for row in range(len(users)):
        for place in range(start[row], start[row + 1]):
            user[place] = users[row]
            ordinal[place] = number[row] + place - start[row]


def _add_gaps(start: Longs, gaps: Floats, reached: Floats) -> None:
    """How far the gaps of each user reach."""
    for row in range(len(reached)):
        at = reached[row]
        for place in range(start[row], start[row + 1]):
            at += gaps[place]
        reached[row] = at


def _take_points(
    first_user: int, horizon: Floats, gaps_at: tuple[Longs, Floats], more_at: tuple[Longs, Floats],
    user: Ints, ordinal: Ints, point: Floats,
) -> int:
    """The points of all users until the horizon of each, whose gaps stand in two lists of lists; how many."""
    (start, gaps), (more_start, more_gaps), count = gaps_at, more_at, 0
    for row in range(len(horizon)):
        at, until, begin, many = 0.0, horizon[row], start[row], start[row + 1] - start[row]
        for place in range(many + more_start[row + 1] - more_start[row]):
            at += gaps[begin + place] if place < many else more_gaps[more_start[row] + place - many]
            if at >= until:
                break
            user[count], ordinal[count], point[count] = first_user + row, place, at
            count += 1
    return count


LIST, ADD_GAPS, TAKE_POINTS = Loop(_list), Loop(_add_gaps), Loop(_take_points)
