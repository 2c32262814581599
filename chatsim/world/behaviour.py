"""The behaviour model: who opens a conversation, with whom, and how it goes on. It yields the messages of the trace.

What happens to one user is drawn up front, in arrays; one loop in the order of time then tells who knows whom when.
"""

from __future__ import annotations

import heapq
import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from chatsim.scenario.models import Conversations, Workload
from chatsim.world.draws import Purpose, lognormal, uniform
from chatsim.world.partners import Partners
from chatsim.world.sessions import (
    DAY_S,
    Gaps,
    activity_levels,
    joined_s,
    length_s_mean,
    points_while_connected,
    rate_at,
)
from chatsim.world.tables import Floats, Ints, Longs, SessionTable

LEAD_MAX_S = 1800.0
LEAD_REPLIES = 10.0
RANKS_MAX = 5000
ACTIVITIES = 200


@dataclass(frozen=True, slots=True)
class Spoken:
    """Messages as the loop writes them. ``peer`` is the other user of a pair, or -1 - group."""

    time_s: Floats
    sender: Ints
    peer: Longs


@dataclass(frozen=True, slots=True)
class _Openings:
    """Conversation openings in the order of time, and the draws for their later messages, flat from ``first_step``."""

    time_s: Floats
    user: Longs
    to_group: Floats
    to_new: Floats
    target: Floats
    length: Longs
    first_step: Longs
    reply_side: Floats
    reply_s: Floats
    reply_member: Floats


def converse(
    workload: Workload, sessions: SessionTable, partners: Partners, groups: tuple[Longs, Ints],
    seed: int, replication: int,
) -> Spoken:
    """The messages of a run, in order of time, each written while its sender has a session on device 0.

    Conversations that began before 0 and go on are told from a lead time on. A user's openings are a Poisson process
    over its time connected (with ``burst_sigma`` a bursty one), at the rate that gives ``messages_per_day`` in the long
    run where interest does not fade (see :func:`opening_rate_per_s`). An opening goes to a group with ``group_share``,
    else to a friend never written to, who has joined, with chance ``p / (1 + partners / scale)``, else to the partner
    of recency rank k with weight k ** -exponent, times ``answer_weight`` where its last message waits for an answer.
    """
    rate_per_s = opening_rate_per_s(workload, groups)
    openings = _openings(workload, sessions, rate_per_s, seed, replication)
    row = np.dtype([("time_s", np.float64), ("sender", np.int32), ("peer", np.int64)])
    joined = joined_s(workload, seed, replication)
    told = np.fromiter(_Teller(workload, sessions, partners, groups, joined).tell(openings), row)
    return Spoken(told["time_s"].copy(), told["sender"].copy(), told["peer"].copy())


def message_sizes(
    workload: Workload, sender: Ints, seed: int, replication: int, purpose: Purpose = Purpose.MESSAGE_SIZE
) -> Ints:
    """Sizes in bytes, log-normal, at least 1; keyed by the sender and the number of its message."""
    order = np.argsort(sender, kind="stable")
    ordinal = np.empty(len(sender), np.int64)
    ordinal[order] = np.arange(len(sender)) - np.searchsorted(sender[order], sender[order])
    drawn = lognormal(
        seed, replication, purpose, sender, ordinal,
        workload.message_bytes_median, workload.message_bytes_sigma,
    )
    return np.rint(np.clip(drawn, 1, 2**31 - 1)).astype(np.int32)


def opening_rate_per_s(workload: Workload, groups: tuple[Longs, Ints]) -> float:
    """Openings per second of connected time: messages_per_day / realised length / seconds connected per day."""
    connected = _connected_share(workload)
    length = realised_length_mean(workload, groups)
    return workload.conversations.messages_per_day / length / (DAY_S * float(connected.mean()))


def realised_length_mean(workload: Workload, groups: tuple[Longs, Ints]) -> float:
    """Messages per conversation, given that one ends where the next sender has no session.

    A message is followed by another with chance q = 1 - 1 / length_mean, which comes from the other side with chance r.
    The same sender is still connected with chance s = E[(L - d)+] / E[L] (L a session's length, d a reply's delay, the
    opening a uniform point of its session). The other side is connected with chance g before it has been heard of, and
    h after that: in pairs g = c (the share of users connected, weighted by itself) and h = s, in groups of n members
    g = 1 - (1 - c)**(n - 1) and h = 1 - (1 - g) (1 - s). The mean is (1 + q r g b) / (1 - q (1 - r) s), where
    b = 1 / (1 - q ((1 - r) s + r h)) messages follow from the first reply on.

    Sessions of different users and of successive delays are taken as independent: within 15 % of the simulated mean.
    """
    talk = workload.conversations
    connected = _connected_share(workload)
    other_on = float((connected**2).mean() / connected.mean())
    same_on = _still_connected_share(workload)
    pair = _length_mean(talk, same_on, np.array([other_on]), np.array([same_on]))[0]
    start, member = groups
    if not len(member):
        return float(pair)
    any_on = 1 - (1 - other_on) ** (np.diff(start) - 1)
    lengths = _length_mean(talk, same_on, any_on, 1 - (1 - any_on) * (1 - same_on))
    groups_of_user = np.bincount(member, minlength=workload.users)
    in_groups = talk.group_share * float((groups_of_user > 0).mean())
    openings = np.add.reduceat(1 / groups_of_user[member], start[:-1])
    return float((1 - in_groups) * pair + in_groups * np.average(lengths, weights=openings))


def _length_mean(talk: Conversations, same_on: float, first_reply: Floats, later_reply: Floats) -> Floats:
    going_on, reply = 1 - 1 / talk.length_mean, talk.reply_share
    from_reply_on = 1 / (1 - going_on * ((1 - reply) * same_on + reply * later_reply))
    mean: Floats = (1 + going_on * reply * first_reply * from_reply_on) / (1 - going_on * (1 - reply) * same_on)
    return mean


def _connected_share(workload: Workload) -> Floats:
    """Share of users connected, by activity and time of day: 1 - exp(-rate x mean length), as in M/G/infinity per user.

    It is that of users who have just joined: their interest has not faded.
    """
    time_s = (np.arange(288) + 0.5) * DAY_S / 288
    load = rate_at(workload, time_s) * length_s_mean(workload.sessions)
    sigma = workload.sessions.activity_sigma
    return -np.expm1(-np.outer(activity_levels(sigma, ACTIVITIES if sigma else 1), load).ravel())


def _still_connected_share(workload: Workload) -> float:
    """Chance that the rest of a session, from a uniform point of it, outlasts a reply's delay."""
    from scipy.special import ndtr, ndtri

    sessions, talk = workload.sessions, workload.conversations
    delay = talk.reply_s_median * np.exp(talk.reply_sigma * ndtri((np.arange(500) + 0.5) / 500))
    sigma = max(sessions.length_sigma, 1e-9)
    apart = np.log(sessions.length_s_median / delay) / sigma
    left = ndtr(apart + sigma) - delay / length_s_mean(sessions) * ndtr(apart)
    return float(left.mean())


def _openings(
    workload: Workload, sessions: SessionTable, rate_per_s: float, seed: int, replication: int
) -> _Openings:
    talk = workload.conversations
    time_s, user, ordinal = _opening_times(workload, sessions, rate_per_s, seed, replication)
    length = _geometric(uniform(seed, replication, Purpose.CONVERSATION_LENGTH, user, ordinal), talk.length_mean)
    steps = length - 1
    per_user = np.cumsum(steps) - steps
    step_user = np.repeat(user, steps)
    step = np.arange(len(step_user)) - np.repeat(per_user[np.searchsorted(user, user)], steps)
    order = np.argsort(time_s, kind="stable")
    user, ordinal = user[order], ordinal[order]
    return _Openings(
        time_s[order], user,
        to_group=uniform(seed, replication, Purpose.OPENING_GROUP, user, ordinal),
        to_new=uniform(seed, replication, Purpose.OPENING_NEW, user, ordinal),
        target=uniform(seed, replication, Purpose.OPENING_TARGET, user, ordinal),
        length=length[order], first_step=per_user[order],
        reply_side=uniform(seed, replication, Purpose.REPLY_SIDE, step_user, step),
        reply_s=lognormal(
            seed, replication, Purpose.REPLY_DELAY, step_user, step, talk.reply_s_median, talk.reply_sigma
        ),
        reply_member=uniform(seed, replication, Purpose.REPLY_MEMBER, step_user, step),
    )


def _opening_times(
    workload: Workload, sessions: SessionTable, rate_per_s: float, seed: int, replication: int
) -> tuple[Floats, Longs, Longs]:
    """(time_s, user, ordinal) ordered by (user, time): a process over the time each user is connected, under way at
    the start of the run, or from when the user joins."""
    span_s = (-_lead_s(workload.conversations), workload.duration_s)
    time_s, opener, ordinal, _ = points_while_connected(
        sessions, workload.users, span_s, rate_per_s, Purpose.OPENING_GAP, seed, replication,
        Gaps(workload.conversations.burst_sigma, "whole" if workload.sessions.join_days else "rest"),
    )
    return time_s, opener, ordinal


def _lead_s(talk: Conversations) -> float:
    """Time before 0 at which conversations start being told, so that replies under way at 0 are there."""
    return min(LEAD_MAX_S, LEAD_REPLIES * talk.reply_s_median * math.exp(talk.reply_sigma**2 / 2))


def _geometric(drawn: Floats, mean: float) -> Longs:
    """Geometric numbers from 1 on with the given mean, by inversion."""
    if mean == 1:
        return np.ones(len(drawn), np.int64)
    return np.floor(np.log(drawn) / math.log1p(-1 / mean)).astype(np.int64) + 1


class _Teller:
    """Tells conversations in the order of time: who has written with whom, and how recently, changes as it goes."""

    def __init__(
        self, workload: Workload, sessions: SessionTable, partners: Partners, groups: tuple[Longs, Ints],
        joined_s: Floats,
    ) -> None:
        self.talk = workload.conversations
        self.duration_s = workload.duration_s
        self.joined_s: list[float] = joined_s.tolist()
        self.partners = partners
        self.recent: dict[int, list[int]] = {}
        self.waiting: dict[int, set[int]] = {}
        self.next_in_queue: dict[int, int] = {}
        weights = np.arange(1.0, RANKS_MAX + 1) ** -self.talk.recency_exponent
        self.rank_weight = [0.0, *np.cumsum(weights).tolist()]
        rows = np.flatnonzero(sessions.device == 0)
        rows = rows[np.lexsort((sessions.start_s[rows], sessions.user[rows]))]
        self.session_first: list[int] = np.searchsorted(sessions.user[rows], np.arange(workload.users + 1)).tolist()
        self.session_start: list[float] = sessions.start_s[rows].tolist()
        self.session_end: list[float] = sessions.end_s[rows].tolist()
        self.member_start: list[int] = groups[0].tolist()
        self.member: list[int] = groups[1].tolist()
        order = np.argsort(groups[1], kind="stable")
        group = np.repeat(np.arange(len(groups[0]) - 1), np.diff(groups[0]))
        self.own_group: list[int] = group[order].tolist()
        self.own_group_start: list[int] = np.searchsorted(groups[1][order], np.arange(workload.users + 1)).tolist()

    def tell(self, openings: _Openings) -> Iterator[tuple[float, int, int]]:
        """(time, sender, peer) of each message in the run."""
        due: list[tuple[float, int, int, int, int]] = []  # time, opening, step, last sender, peer
        side, delay, chance = openings.reply_side.tolist(), openings.reply_s.tolist(), openings.reply_member.tolist()
        lengths, first_steps = openings.length.tolist(), openings.first_step.tolist()
        rows = zip(
            openings.time_s.tolist(), openings.user.tolist(), openings.to_group.tolist(), openings.to_new.tolist(),
            openings.target.tolist(), strict=True,
        )
        last_call = (self.duration_s, -1, 0.0, 0.0, 0.0)
        for opening, (time, user, to_group, to_new, target) in enumerate((*rows, last_call)):
            while due and due[0][0] < time:
                then, earlier, step, last, peer = heapq.heappop(due)
                draw = first_steps[earlier] + step
                sender, peer = self._next(then, last, peer, side[draw], chance[draw])
                if sender < 0:
                    continue
                self._remember(sender, peer)
                if then >= 0:
                    yield then, sender, peer
                if step + 2 < lengths[earlier]:
                    heapq.heappush(due, (then + delay[draw + 1], earlier, step + 1, sender, peer))
            found = self._target(time, user, to_group, to_new, target) if user >= 0 else None
            if found is None:
                continue
            self._remember(user, found)
            if time >= 0:
                yield time, user, found
            if lengths[opening] > 1:
                heapq.heappush(due, (time + delay[first_steps[opening]], opening, 0, user, found))

    def _target(self, time: float, user: int, to_group: float, to_new: float, target: float) -> int | None:
        """Whom an opening goes to: a user, or -1 - group; None where the user has nobody to write to."""
        first, end = self.own_group_start[user], self.own_group_start[user + 1]
        if to_group < self.talk.group_share and end > first:
            return -1 - self.own_group[first + int(target * (end - first))]
        recent = self._recent(user)
        known = len(recent)
        if not known or to_new < self.talk.new_partner_share / (1 + known / self.talk.new_partner_scale):
            friend = self._new_partner(user, time)
            if friend is not None:
                return friend
        if known:
            return self._old_partner(user, recent, target)
        return -1 - self.own_group[first + int(target * (end - first))] if end > first else None

    def _next(self, time: float, last: int, peer: int, side: float, chance: float) -> tuple[int, int]:
        """Sender and peer of the next message of a conversation; sender -1 where nobody is there to write it."""
        replies = side < self.talk.reply_share
        if not replies:
            return (last if self._connected(last, time) else -1), peer
        if peer >= 0:
            return (peer if self._connected(peer, time) else -1), last
        first, end = self.member_start[-1 - peer], self.member_start[-peer]
        size = end - first
        at = int(chance * size)
        for step in range(size):
            member = self.member[first + (at + step) % size]
            if member != last and self._connected(member, time):
                return member, peer
        return -1, peer

    def _connected(self, user: int, time: float) -> bool:
        first = self.session_first[user]
        row = bisect_right(self.session_start, time, first, self.session_first[user + 1]) - 1
        return row >= first and self.session_end[row] >= time

    def _recent(self, user: int) -> list[int]:
        """The user's partners, latest last."""
        recent = self.recent.get(user)
        if recent is None:
            partners = self.partners
            part = slice(int(partners.known_start[user]), int(partners.known_start[user + 1]))
            recent = self.recent[user] = partners.known[part][::-1].tolist()
        return recent

    def _old_partner(self, user: int, recent: list[int], target: float) -> int:
        """A partner by recency rank; one whose message waits for an answer is ``answer_weight`` times as likely."""
        upto, ranks = self.rank_weight, min(len(recent), RANKS_MAX)
        waiting = self.waiting.get(user)
        if not waiting:
            return recent[-bisect_left(upto, target * upto[ranks], 1, ranks)]
        more = self.talk.answer_weight - 1.0
        extra = itertools.accumulate(
            more * (upto[rank] - upto[rank - 1]) if recent[-rank] in waiting else 0.0 for rank in range(1, ranks + 1)
        )
        weights = [plain + added for plain, added in zip(upto[1:ranks + 1], extra, strict=True)]
        return recent[-1 - bisect_left(weights, target * weights[-1], 0, ranks - 1)]

    def _new_partner(self, user: int, time: float) -> int | None:
        """The first friend in the user's queue that has joined and is no partner yet."""
        recent, queue = self._recent(user), self.partners.queue
        first, end = int(self.partners.queue_start[user]), int(self.partners.queue_start[user + 1])
        skipped = end
        for place in range(self.next_in_queue.get(user, first), end):
            friend = int(queue[place])
            if friend in recent:
                continue
            skipped = min(skipped, place)
            if self.joined_s[friend] <= time:
                self.next_in_queue[user] = skipped
                return friend
        self.next_in_queue[user] = skipped
        return None

    def _remember(self, sender: int, peer: int) -> None:
        """Moves both to the front of each other's lists; the recipient now owes an answer, where that counts.

        Modifies ``recent`` and ``waiting``.
        """
        if peer < 0:
            return
        if self.talk.answer_weight != 1:
            self.waiting.setdefault(peer, set()).add(sender)
            self.waiting.setdefault(sender, set()).discard(peer)
        for user, other in ((sender, peer), (peer, sender)):
            recent = self._recent(user)
            if not recent or recent[-1] != other:
                if other in recent:
                    recent.remove(other)
                recent.append(other)
