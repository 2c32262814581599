"""Conversations told in the order of time: whom each goes to, who answers, and who knows whom how recently.

Numbers and arrays alone: numba compiles it for large worlds, small ones run it as the Python that it is, with the same
results. Numbers out of arrays are made whole ones of Python's, or numba would compile what they are given to anew for
each of their kinds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from chatsim.world.compiling import ROWS_LEAST, Loop, prefetch
from chatsim.world.orders import order_in_time, place_of
from chatsim.world.tables import Bools, Floats, Ints, Longs

RANKS_MAX = 5000
SEEN_AT_ONCE = 16
LINES_AHEAD, FRIENDS_IN_LINE, MEMBERS_AHEAD = 8, 16, 12
GUIDES = 4096
NOBODY = -1 << 62
"""In the place of a peer: there is nobody to write to."""


class Talk(NamedTuple):
    """What of the behaviour model is asked for here."""

    new_partner_share: float
    new_partner_scale: float
    answer_weight: float
    looks_ahead: bool = True


class Openings(NamedTuple):
    """Conversations in the order in which they open: those that go on from before first, and then those to be opened.

    They are told in place. One opens at ``time_s``; ``user`` opens it, and then is who wrote last, in the session
    ``own``, which is -1 where the conversation is over, to ``peer`` (a user, or -1 - group). ``number`` is that among
    all conversations. ``to_group``: the opening goes to a group.
    """

    time_s: Floats
    user: Ints
    peer: Ints
    own: Ints
    number: Ints
    to_group: Bools
    to_new: Floats
    target: Floats


class Steps(NamedTuple):
    """The draws of all later messages of conversations, one conversation after the other: which one it is of, when it
    is due, whether it comes from the other side, and from whom of a group."""

    one: Ints
    due_s: Floats
    replies: Bools
    member: Floats


class People(NamedTuple):
    """Who is connected when, and who is in which group: lists of lists. Session n on device 0, by user and time, lasts
    from ``session_s[2 * n]`` to ``session_s[2 * n + 1]``.

    As time goes on, those of user u that may not have ended are from ``to_come[u]`` to before ``to_come_end[u]``. The
    first of them, once it has been looked for, lasts from ``away_s[u]`` to ``leaves_s[u]``. Groups of user u are those
    from ``own_group_start[u]`` to before ``own_group_end[u]``.
    """

    session_s: Floats
    to_come: Ints
    to_come_end: Ints
    away_s: Floats
    leaves_s: Floats
    joined_s: Floats
    member_start: Longs
    member: Ints
    own_group_start: Ints
    own_group_end: Ints
    own_group: Ints


class Ties(NamedTuple):
    """Whom users know, which changes as conversations are told.

    The friends of user u are those from ``first[u]`` on: first its partners, latest last, until ``others[u]``; then,
    until ``end[u]``, the others in the order in which it comes to write to them. ``owes`` says whether it owes that
    partner an answer, which it does to ``owing[u]`` of them; it is empty where that does not count. ``upto[k]`` is the
    weight of the ranks up to k, and ``guide`` the first rank to look at for each of equal parts of that weight.
    """

    first: Longs
    others: Longs
    end: Longs
    friend: Ints
    owes: Any
    owing: Longs
    upto: Floats
    guide: Ints
    weights: Floats


class Told(NamedTuple):
    """Messages as they are told: the number of the conversation, and which of all sessions of :class:`People`."""

    time_s: Floats
    sender: Ints
    conversation: Ints
    session: Ints


def tell(talk: Talk, talks: Openings, steps: Steps, people: People, ties: Ties, told: Told, going: int) -> int:
    """Tells messages in their order into ``told``; how many. The first ``going`` conversations are open already; the
    others open, and the steps are due, in the order of time. At equal times conversations open first."""
    count, one, step = 0, going, 0
    while one < len(talks.time_s) or step < len(steps.due_s):
        if step == len(steps.due_s) or (one < len(talks.time_s) and talks.time_s[one] <= steps.due_s[step]):
            if talk.looks_ahead:
                _look_ahead_of_opening(talk, talks, people, ties, one)
            written, time_s = one, talks.time_s[one]
            peer, is_new = _target(talk, talks, people, ties, one)
            if peer == NOBODY:
                talks.own[one] = -1
            else:
                talks.peer[one] = peer
            one += 1
        else:
            if talk.looks_ahead:
                _look_ahead_of_step(talks, steps, people, ties, step)
            written, time_s, is_new = int(steps.one[step]), steps.due_s[step], False
            if talks.own[written] >= 0:
                _next(talks, steps, people, written, step)
            step += 1
        if talks.own[written] >= 0:
            count = _write(ties, told, count, talks, written, time_s, is_new)
    return count


def _look_ahead_of_opening(talk: Talk, talks: Openings, people: People, ties: Ties, one: int) -> None:
    """Has what the next openings need come near: first where it stands of both sides what they need, then that."""
    last = len(talks.time_s) - 1
    ahead = min(one + 18, last)
    user = int(talks.user[ahead])
    prefetch(ties.first, user)
    ahead = min(one + 12, last)
    user = int(talks.user[ahead])
    if talks.to_group[ahead]:
        prefetch(people.own_group, int(people.own_group_start[user]))
    else:
        _fetch_partners(ties, user)
    ahead = min(one + 7, last)
    if not talks.to_group[ahead]:
        _guess_peer(talk, talks, people, ties, ahead)
    ahead = min(one + 3, last)
    if not talks.to_group[ahead]:
        peer = int(talks.peer[ahead])
        _fetch_partners(ties, peer)
        if _is_new(talk, talks, ties, ahead):
            _fetch_others(ties, peer)


def _look_ahead_of_step(talks: Openings, steps: Steps, people: People, ties: Ties, step: int) -> None:
    """The same for the next steps."""
    last = len(steps.one) - 1
    ahead = int(steps.one[min(step + 18, last)])
    prefetch(talks.own, ahead)
    _fetch_sides(talks, people, ties, int(steps.one[min(step + 12, last)]))
    _fetch_who_writes(talks, steps, people, ties, min(step + 7, last))
    _fetch_members(talks, steps, people, min(step + 3, last))


def _fetch_sides(talks: Openings, people: People, ties: Ties, one: int) -> None:
    """Has come near where that stands which the next message of a conversation needs."""
    user, peer = int(talks.user[one]), int(talks.peer[one])
    if talks.own[one] < 0:
        return
    prefetch(ties.first, user)
    if peer < 0:
        prefetch(people.member_start, -1 - peer)
    else:
        prefetch(ties.first, peer)


def _fetch_who_writes(talks: Openings, steps: Steps, people: People, ties: Ties, step: int) -> None:
    """Has the sessions of who may write the next message of a conversation come near, and the partners to whom."""
    one = int(steps.one[step])
    user, peer = int(talks.user[one]), int(talks.peer[one])
    if talks.own[one] < 0:
        return
    if peer < 0:
        first = int(people.member_start[-1 - peer])
        size = int(people.member_start[-peer]) - first
        prefetch(people.member, first + int(steps.member[step] * size))
        return
    writer = peer if steps.replies[step] else user
    if people.leaves_s[writer] < steps.due_s[step]:
        prefetch(people.session_s, 2 * int(people.to_come[writer]))
    _fetch_partners(ties, user)
    _fetch_partners(ties, peer)


def _fetch_members(talks: Openings, steps: Steps, people: People, step: int) -> None:
    """Has come near what says which of a group is there to answer."""
    one = int(steps.one[step])
    peer = int(talks.peer[one])
    if peer >= 0 or talks.own[one] < 0 or not steps.replies[step]:
        return
    first = int(people.member_start[-1 - peer])
    size = int(people.member_start[-peer]) - first
    at = int(steps.member[step] * size)
    for further in range(min(size, MEMBERS_AHEAD)):
        prefetch(people.away_s, int(people.member[first + (at + further) % size]))


def _guess_peer(talk: Talk, talks: Openings, people: People, ties: Ties, one: int) -> None:
    """Has come near who is likely to be the peer of an opening."""
    user = int(talks.user[one])
    end = ties.others[user]
    known = end - ties.first[user]
    if _is_new(talk, talks, ties, one):
        if end == ties.end[user]:
            return
        talks.peer[one] = ties.friend[end]
    elif known:
        talks.peer[one] = ties.friend[end - _rank(ties, talks.target[one], min(known, RANKS_MAX))]
    prefetch(ties.first, int(talks.peer[one]))


def _is_new(talk: Talk, talks: Openings, ties: Ties, one: int) -> bool:
    """Whether an opening is to go to a friend never written to, where it does not go to a group."""
    user = int(talks.user[one])
    known = ties.others[user] - ties.first[user]
    return bool(talks.to_new[one] < talk.new_partner_share / (1 + known / talk.new_partner_scale))


def _fetch_others(ties: Ties, user: int) -> None:
    """Has the first friends of a user come near that are no partners: among them one is looked for."""
    first, last = int(ties.others[user]), len(ties.friend) - 1
    for line in range(LINES_AHEAD):
        prefetch(ties.friend, min(first + FRIENDS_IN_LINE * line, last))


def _fetch_partners(ties: Ties, user: int) -> None:
    """Has the latest partners of a user come near, and those before: most messages go to one of these."""
    last = max(int(ties.others[user]) - 1, 0)
    prefetch(ties.friend, last)
    prefetch(ties.friend, max(last - FRIENDS_IN_LINE, 0))


def _write(ties: Ties, told: Told, count: int, talks: Openings, one: int, time_s: float, is_new: bool) -> int:
    """A message of a conversation is written, and told if it falls into the run; how many are told. ``is_new``: the two
    are no partners yet."""
    sender, peer = int(talks.user[one]), int(talks.peer[one])
    if peer >= 0:
        user, other = peer, sender
        for side in range(2):
            _meet(ties, user, other, 1 - side, is_new)
            user, other = other, user
    if time_s < 0:
        return count
    told.time_s[count], told.sender[count] = time_s, sender
    told.conversation[count], told.session[count] = talks.number[one], talks.own[one]
    return count + 1


def _target(talk: Talk, talks: Openings, people: People, ties: Ties, opening: int) -> tuple[int, bool]:
    """Whom an opening goes to: a user, or -1 - group; NOBODY where the user has nobody to write to. And whether that is
    a new partner."""
    user, target = int(talks.user[opening]), talks.target[opening]
    if talks.to_group[opening]:
        group = _group(people, user, target)
        if group != NOBODY:
            return group, False
    known = ties.others[user] - ties.first[user]
    if not known or _is_new(talk, talks, ties, opening):
        friend = _new_partner(people, ties, user, talks.time_s[opening])
        if friend >= 0:
            return friend, True
    return _old_partner(talk, ties, user, target) if known else _group(people, user, target), False


def _group(people: People, user: int, target: float) -> int:
    """A group of the user's as -1 - group, NOBODY where it has none."""
    first, end = int(people.own_group_start[user]), int(people.own_group_end[user])
    return -1 - int(people.own_group[first + int(target * (end - first))]) if end > first else NOBODY


def _next(talks: Openings, steps: Steps, people: People, one: int, step: int) -> None:
    """Who writes the next message of a conversation, in which session; -1 where nobody is there to write it."""
    time_s, last, peer = steps.due_s[step], int(talks.user[one]), int(talks.peer[one])
    if peer >= 0 or not steps.replies[step]:
        if steps.replies[step]:
            talks.user[one], talks.peer[one] = peer, last
        talks.own[one] = _session_at(people, int(talks.user[one]), time_s)
    else:
        talks.own[one] = -1
        first, end = people.member_start[-1 - peer], people.member_start[-peer]
        size = end - first
        at = int(steps.member[step] * size)
        for further in range(size):
            member = int(people.member[first + (at + further) % size])
            if people.away_s[member] <= time_s and member != last:  # most are away
                session = _session_at(people, member, time_s)
                if session >= 0:
                    talks.user[one], talks.own[one] = member, session
                    break


def _session_at(people: People, user: int, time_s: float) -> int:
    """The session that a user has at a time, which is never before one asked for earlier; -1 where it has none."""
    if time_s < people.away_s[user]:
        return -1
    session = int(people.to_come[user])
    if time_s <= people.leaves_s[user]:
        return session
    end = int(people.to_come_end[user])
    while session < end and people.session_s[2 * session + 1] < time_s:
        session += 1
    people.to_come[user] = session
    people.away_s[user] = people.session_s[2 * session] if session < end else np.inf
    people.leaves_s[user] = people.session_s[2 * session + 1] if session < end else -np.inf
    return session if people.away_s[user] <= time_s else -1


def _old_partner(talk: Talk, ties: Ties, user: int, target: float) -> int:
    """A partner by recency rank; one whose message waits for an answer is ``answer_weight`` times as likely."""
    end = ties.others[user]
    ranks = min(end - ties.first[user], RANKS_MAX)
    if not len(ties.owes) or not ties.owing[user]:
        return int(ties.friend[end - _rank(ties, target, ranks)])
    more, extra = talk.answer_weight - 1.0, 0.0
    for rank in range(1, ranks + 1):
        if ties.owes[end - rank]:
            extra += more * (ties.upto[rank] - ties.upto[rank - 1])
        ties.weights[rank] = ties.upto[rank] + extra
    return int(ties.friend[end - place_of(ties.weights, target * ties.weights[ranks], 1, ranks)])


def _new_partner(people: People, ties: Ties, user: int, time_s: float) -> int:
    """The first friend that is no partner yet and has joined; -1 where there is none."""
    for place in range(ties.others[user], ties.end[user]):
        friend = int(ties.friend[place])
        if people.joined_s[friend] <= time_s:
            return friend
    return -1


def _rank(ties: Ties, target: float, ranks: int) -> int:
    """The first of so many ranks up to which weighs that share of all of them."""
    weight = target * ties.upto[ranks]
    rank = int(ties.guide[int(weight / ties.upto[RANKS_MAX] * GUIDES)])
    while rank < ranks and ties.upto[rank] < weight:
        rank += 1
    return rank


def _meet(ties: Ties, user: int, other: int, owes: int, is_new: bool) -> None:
    """Another becomes the user's latest partner, whom it now owes an answer, or no more."""
    first, last = ties.first[user], ties.others[user] - 1
    place = first - 1 if is_new else last
    while place >= first and ties.friend[place] != other:  # most are found near the end
        place -= 1
    if place < first:
        _get_to_know(ties, user, other, owes)
        return
    if len(ties.owes):
        ties.owing[user] += owes - ties.owes[place]
        for here in range(place, last):
            ties.owes[here] = ties.owes[here + 1]
        ties.owes[last] = owes
    for here in range(place, last):
        ties.friend[here] = ties.friend[here + 1]
    ties.friend[last] = other


def _get_to_know(ties: Ties, user: int, other: int, owes: int) -> None:
    """Another becomes a partner of the user, the latest one; the other friends stay in their order."""
    last = ties.others[user]
    ties.others[user] = last + 1
    others = ties.friend[last:ties.end[user]]
    place = 0
    while place + SEEN_AT_ONCE < len(others):  # so many are compared in one go
        is_there = 0
        for here in range(SEEN_AT_ONCE):
            is_there += others[place + here] == other
        if is_there:
            break
        place += SEEN_AT_ONCE
    while others[place] != other:
        place += 1
    for here in range(place, 0, -1):
        others[here] = others[here - 1]
    others[0] = other
    if len(ties.owes):
        ties.owing[user] += owes
        ties.owes[last] = owes


TELL = Loop(
    tell, place_of, _session_at, _rank, _meet, _old_partner, _next, _target, _write, _is_new, _fetch_others,
    _fetch_partners, _fetch_sides, _fetch_who_writes, _fetch_members, _guess_peer, _look_ahead_of_opening,
    _look_ahead_of_step, seldom=(_get_to_know, _new_partner, _group),
    forceinline=True,  # a call would pass a hundred words of arrays
)  # fmt: skip


def side_by_side(**columns: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """Copies of columns of one length, of which each row lies within a line of memory: what is looked at here and there
    is then far away but once.

    >>> side_by_side(one=np.arange(2), other=np.ones(2))["other"].tolist()
    [1.0, 1.0]
    """
    kinds = [column.dtype for column in columns.values()]
    size = 1 << (sum(kind.itemsize for kind in kinds) - 1).bit_length()
    row: Any = np.dtype({"names": list(columns), "formats": kinds, "itemsize": size})
    memory = np.empty((len(next(iter(columns.values()))) + 1) * size, np.uint8)
    rows = memory[-memory.ctypes.data % size:][:len(memory) - size].view(row)
    for name, column in columns.items():
        rows[name] = column
    return {name: rows[name] for name in columns}


class Teller:
    """Tells the messages of a run, from slice to slice of its time."""

    def __init__(self, talk: Talk, people: People, ties: Ties) -> None:
        self._talk, self._people, self._ties = talk, people, ties
        self._going: tuple[Openings, Steps] | None = None
        self._told = _room_for(0)

    def tell(self, opening: Openings, steps: Steps, until_s: float) -> Told:
        """All messages until a time, before which these conversations open. Modifies ``opening``: user and peer are
        then the two sides, where anything has been told of the conversation. What is told stands where it stood the
        last time."""
        talks, own = opening, len(opening.time_s)
        if self._going is not None:
            talks, steps = _joined(*self._going, opening, steps)
        beside = side_by_side(user=talks.user, peer=talks.peer, own=talks.own, number=talks.number)
        talks, going = talks._replace(**beside), len(talks.time_s) - own
        is_due = steps.due_s < until_s
        due = np.flatnonzero(is_due)
        due = due[order_in_time(steps.due_s[due])]
        now = Steps._make(column[due] for column in steps)
        if len(self._told.time_s) < own + len(due):
            self._told = _room_for(own + len(due))
        rows = min(len(talks.time_s), len(self._ties.first))
        run = TELL.fast if TELL.fast and rows >= ROWS_LEAST else _interpreted
        count = run(self._talk, talks, now, self._people, self._ties, self._told, going)
        for side in ("user", "peer"):
            getattr(opening, side)[:] = getattr(talks, side)[going:]
        self._going = _left_of(talks, steps, ~is_due & (talks.own[steps.one] >= 0))
        return Told._make(column[:count] for column in self._told)


def _room_for(messages: int) -> Told:
    return Told(np.empty(messages), *(np.empty(messages, np.int32) for _ in range(3)))


def _joined(talks: Openings, steps: Steps, more: Openings, more_steps: Steps) -> tuple[Openings, Steps]:
    """Some conversations and others that open later."""
    more_steps = more_steps._replace(one=more_steps.one + np.int32(len(talks.time_s)))
    both: Any = [zip(talks, more, strict=True), zip(steps, more_steps, strict=True)]
    columns = ([np.concatenate(pair) for pair in pairs] for pairs in both)
    return Openings._make(next(columns)), Steps._make(next(columns))


def _left_of(talks: Openings, steps: Steps, is_left: Bools) -> tuple[Openings, Steps]:
    """The steps that are left, and the conversations that they are of."""
    kept = Steps._make(column[is_left] for column in steps)
    ones, one = np.unique(kept.one, return_inverse=True)
    return Openings._make(column[ones] for column in talks), kept._replace(one=one.astype(np.int32))


def _interpreted(talk: Any, *parts: Any) -> int:
    """As it is. Python reads numbers faster from a view of memory than from an array."""
    *columns, going = parts
    views = [*(type(part)._make(memoryview(column) for column in part) for part in columns), going]
    return tell(talk._replace(looks_ahead=False), *views)


def recency_weights(exponent: float) -> Floats:
    """The weight of the recency ranks up to each one, from 0."""
    weights = np.arange(1.0, RANKS_MAX + 1) ** -exponent
    return np.concatenate([[0.0], np.cumsum(weights)])


def guide_of(upto: Floats) -> Ints:
    """The first rank to look at for a weight in each part of all weights, and for all of them."""
    part = (upto[1:] / upto[-1] * GUIDES).astype(np.int64)
    ranks = np.searchsorted(part, np.arange(GUIDES + 1)) + 1
    return np.minimum(ranks, RANKS_MAX).astype(np.int32)
