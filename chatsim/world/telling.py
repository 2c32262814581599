"""Conversations told in the order of time: whom each goes to, who answers, and who knows whom how recently.

Numbers and arrays alone: numba compiles it for large worlds, small ones run it as the Python that it is, with the same
results. Numbers out of arrays are made whole ones of Python's, or numba would compile what they are given to anew for
each of their kinds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from chatsim.world.compiling import Loop, prefetch
from chatsim.world.orders import place_of
from chatsim.world.tables import Bools, Floats, Ints, Longs

RANKS_MAX = 5000
NOBODY = -1 << 62
"""In the place of a peer: there is nobody to write to."""


class Talk(NamedTuple):
    """What of the behaviour model is asked for here."""

    until_s: float
    new_partner_share: float
    new_partner_scale: float
    answer_weight: float
    looks_ahead: bool = True


class Openings(NamedTuple):
    """Conversations in the order in which they open: those that go on from before first, and then those to be opened.

    They are told in place: ``time_s`` is when one opens, and then when its next message is due; ``user`` opens it, and
    then is who wrote last, in the session ``own``, to ``peer`` (a user, or -1 - group), which last wrote in ``other``
    (-1: it has not); ``left`` messages follow, of which the next has the draws at ``step`` of :class:`Steps`.
    ``number`` is that among all conversations. ``to_group``: the opening goes to a group.
    """

    time_s: Floats
    user: Ints
    peer: Ints
    own: Ints
    other: Ints
    left: Ints
    step: Longs
    number: Ints
    to_group: Bools
    to_new: Floats
    target: Floats


class Steps(NamedTuple):
    """The draws of all later messages of conversations: whether one comes from the other side, after how long, and from
    whom of a group."""

    replies: Bools
    reply_s: Floats
    member: Floats


class People(NamedTuple):
    """Who is connected when, and who is in which group: lists of lists. The sessions of user u, on device 0 and in the
    order of time, are those from ``session_first[u]`` on; session n lasts from ``session_s[2 * n]`` to
    ``session_s[2 * n + 1]``."""

    session_first: Longs
    session_s: Floats
    joined_s: Floats
    member_start: Longs
    member: Ints
    own_group_start: Longs
    own_group: Ints


class Ties(NamedTuple):
    """Whom users know, which changes as conversations are told.

    The friends of user u are those from ``bounds[2 * u]`` on: first its partners, latest last, until
    ``bounds[2 * u + 1]``; then, until ``bounds[2 * u + 2]``, the others in the order in which it comes to write to
    them. ``owes`` says whether it owes that partner an answer, which it does to ``owing[u]`` of them; it is empty where
    that does not count. ``upto[k]`` is the weight of the ranks up to k.
    """

    bounds: Longs
    friend: Ints
    owes: Any
    owing: Longs
    upto: Floats
    weights: Floats


class Told(NamedTuple):
    """Messages as they are told: the number of the conversation, and which of all sessions of :class:`People`."""

    time_s: Floats
    sender: Ints
    conversation: Ints
    session: Ints


def tell(
    talk: Talk, talks: Openings, steps: Steps, people: People, ties: Ties, told: Told, heap: Ints, going: int
) -> tuple[int, int]:
    """Tells all messages until ``talk.until_s`` into ``told``; how many, and how many conversations are then under way.

    Those lie on ``heap``, which has room for all; the first ``going`` do already.
    """
    count = 0
    for opening in range(going, len(talks.time_s) + 1):
        is_over = opening == len(talks.time_s)
        time_s = talk.until_s if is_over else talks.time_s[opening]
        while going and talks.time_s[heap[0]] < time_s:
            count, going = _go_on(talks, steps, people, ties, told, heap, count, going)
        if is_over:
            break
        if talk.looks_ahead:
            _look_ahead(talks, ties, opening)
        peer = _target(talk, talks, people, ties, opening)
        if peer == NOBODY:
            continue
        talks.peer[opening] = peer
        count = _write(ties, told, count, talks, opening)
        if talks.left[opening]:
            talks.time_s[opening] = time_s + steps.reply_s[talks.step[opening]]
            heap[going] = opening
            going += 1
            _up(talks, heap, going - 1)
    return count, going


def _look_ahead(talks: Openings, ties: Ties, opening: int) -> None:
    """Has what the next openings need come near: their users, these users' partners, who of them is likely to be the
    peer, and that one's partners."""
    last = len(talks.time_s) - 1
    prefetch(ties.bounds, 2 * int(talks.user[min(opening + 16, last)]))
    _fetch_partners(ties, int(talks.user[min(opening + 10, last)]))
    ahead = min(opening + 5, last)
    user = int(talks.user[ahead])
    end = ties.bounds[2 * user + 1]
    ranks = min(end - ties.bounds[2 * user], RANKS_MAX)
    if ranks:
        rank = place_of(ties.upto, talks.target[ahead] * ties.upto[ranks], 1, ranks)
        talks.peer[ahead] = ties.friend[end - rank]
        prefetch(ties.bounds, 2 * int(talks.peer[ahead]))
    _fetch_partners(ties, int(talks.peer[min(opening + 2, last)]))


def _fetch_partners(ties: Ties, user: int) -> None:
    """Has the latest partners of a user come near."""
    end = int(ties.bounds[2 * user + 1])
    prefetch(ties.friend, max(end - 1, 0))
    prefetch(ties.friend, max(end - 17, 0))


def _go_on(
    talks: Openings, steps: Steps, people: People, ties: Ties, told: Told, heap: Ints, count: int, going: int
) -> tuple[int, int]:
    """The next message of a conversation, the first of the heap; how many are told, and how many go on."""
    one = int(heap[0])
    is_written = _next(talks, steps, people, one)
    talks.left[one] -= 1
    if is_written:
        count = _write(ties, told, count, talks, one)
    if is_written and talks.left[one]:
        talks.step[one] += 1
        talks.time_s[one] += steps.reply_s[talks.step[one]]
    else:
        going -= 1
        heap[0] = heap[going]
    _down(talks, heap, going)
    return count, going


def _write(ties: Ties, told: Told, count: int, talks: Openings, one: int) -> int:
    """The message of a conversation that is due is written, and told if it falls into the run; how many are told."""
    time_s, sender, peer = talks.time_s[one], int(talks.user[one]), int(talks.peer[one])
    if peer >= 0:
        _meet(ties, peer, sender, 1)
        _meet(ties, sender, peer, 0)
    if time_s < 0:
        return count
    told.time_s[count], told.sender[count] = time_s, sender
    told.conversation[count], told.session[count] = talks.number[one], talks.own[one]
    return count + 1


def _target(talk: Talk, talks: Openings, people: People, ties: Ties, opening: int) -> int:
    """Whom an opening goes to: a user, or -1 - group; NOBODY where the user has nobody to write to."""
    user, target = int(talks.user[opening]), talks.target[opening]
    if talks.to_group[opening]:
        group = _group(people, user, target)
        if group != NOBODY:
            return group
    known = ties.bounds[2 * user + 1] - ties.bounds[2 * user]
    if not known or talks.to_new[opening] < talk.new_partner_share / (1 + known / talk.new_partner_scale):
        friend = _new_partner(people, ties, user, talks.time_s[opening])
        if friend >= 0:
            return friend
    return _old_partner(talk, ties, user, target) if known else _group(people, user, target)


def _group(people: People, user: int, target: float) -> int:
    """A group of the user's as -1 - group, NOBODY where it has none."""
    first, end = people.own_group_start[user], people.own_group_start[user + 1]
    return -1 - int(people.own_group[first + int(target * (end - first))]) if end > first else NOBODY


def _next(talks: Openings, steps: Steps, people: People, one: int) -> bool:
    """Who writes the next message of a conversation, in which session; False where nobody is there to write it."""
    time_s, last, peer, step = talks.time_s[one], int(talks.user[one]), int(talks.peer[one]), talks.step[one]
    if not steps.replies[step]:
        talks.own[one] = _session_now(people, last, int(talks.own[one]), time_s)
    elif peer >= 0:
        session = _session_now(people, peer, int(talks.other[one]), time_s)
        talks.user[one], talks.peer[one], talks.own[one], talks.other[one] = peer, last, session, talks.own[one]
    else:
        talks.own[one] = -1
        first, end = people.member_start[-1 - peer], people.member_start[-peer]
        size = end - first
        at = int(steps.member[step] * size)
        for further in range(size):
            member = int(people.member[first + (at + further) % size])
            if member != last:
                session = _session_at(people, member, time_s)
                if session >= 0:
                    talks.user[one], talks.own[one] = member, session
                    break
    return bool(talks.own[one] >= 0)


def _session_now(people: People, user: int, latest: int, time_s: float) -> int:
    """The session that a user has at a time, -1 where it has none, by the ``latest`` that it is known to have had."""
    if latest >= 0 and people.session_s[2 * latest + 1] >= time_s:
        return latest
    return _session_at(people, user, time_s)


def _session_at(people: People, user: int, time_s: float) -> int:
    """The session that a user has at a time, -1 where it has none."""
    first, low, high = people.session_first[user], people.session_first[user], people.session_first[user + 1]
    while low < high:
        middle = (low + high) // 2
        if time_s < people.session_s[2 * middle]:
            high = middle
        else:
            low = middle + 1
    return int(low - 1) if low > first and people.session_s[2 * low - 1] >= time_s else -1


def _old_partner(talk: Talk, ties: Ties, user: int, target: float) -> int:
    """A partner by recency rank; one whose message waits for an answer is ``answer_weight`` times as likely."""
    end = ties.bounds[2 * user + 1]
    ranks = min(end - ties.bounds[2 * user], RANKS_MAX)
    if not ties.owing[user]:
        return int(ties.friend[end - place_of(ties.upto, target * ties.upto[ranks], 1, ranks)])
    more, extra = talk.answer_weight - 1.0, 0.0
    for rank in range(1, ranks + 1):
        if ties.owes[end - rank]:
            extra += more * (ties.upto[rank] - ties.upto[rank - 1])
        ties.weights[rank] = ties.upto[rank] + extra
    return int(ties.friend[end - place_of(ties.weights, target * ties.weights[ranks], 1, ranks)])


def _new_partner(people: People, ties: Ties, user: int, time_s: float) -> int:
    """The first friend that is no partner yet and has joined; -1 where there is none."""
    for place in range(ties.bounds[2 * user + 1], ties.bounds[2 * user + 2]):
        friend = int(ties.friend[place])
        if people.joined_s[friend] <= time_s:
            return friend
    return -1


def _meet(ties: Ties, user: int, other: int, owes: int) -> None:
    """Another becomes the user's latest partner, whom it now owes an answer, or no more."""
    first, last = ties.bounds[2 * user], ties.bounds[2 * user + 1] - 1
    place = last
    while place >= first and ties.friend[place] != other:  # most are found near the end
        place -= 1
    if place < first:
        last += 1
        ties.bounds[2 * user + 1] = last + 1
        place = last
        while ties.friend[place] != other:
            place += 1
        for here in range(place, last, -1):
            ties.friend[here] = ties.friend[here - 1]
        place = last
    if len(ties.owes):
        ties.owing[user] += owes - ties.owes[place]
        for here in range(place, last):
            ties.owes[here] = ties.owes[here + 1]
        ties.owes[last] = owes
    for here in range(place, last):
        ties.friend[here] = ties.friend[here + 1]
    ties.friend[last] = other


def _is_sooner(talks: Openings, one: int, other: int) -> bool:
    """Whether the next message of a conversation is due before that of another; equal times go by number."""
    if talks.time_s[one] != talks.time_s[other]:
        return bool(talks.time_s[one] < talks.time_s[other])
    return one < other


def _up(talks: Openings, heap: Ints, place: int) -> None:
    """Moves a conversation up the heap as far as it belongs."""
    one = heap[place]
    while place and _is_sooner(talks, one, heap[(place - 1) // 2]):
        heap[place] = heap[(place - 1) // 2]
        place = (place - 1) // 2
    heap[place] = one


def _down(talks: Openings, heap: Ints, going: int) -> None:
    """Moves the first conversation down the heap as far as it belongs."""
    if not going:
        return
    one, place = heap[0], 0
    while 2 * place + 1 < going:
        child = 2 * place + 1
        if child + 1 < going and _is_sooner(talks, heap[child + 1], heap[child]):
            child += 1
        if not _is_sooner(talks, heap[child], one):
            break
        heap[place] = heap[child]
        place = child
    heap[place] = one


TELL = Loop(
    tell, _is_sooner, _up, _down, place_of, _session_at, _session_now, _meet, _new_partner, _old_partner, _next,
    _group, _target, _write, _go_on, _fetch_partners, _look_ahead,
)  # fmt: skip


class Teller:
    """Tells the messages of a run, from slice to slice of its time."""

    def __init__(self, talk: Talk, people: People, ties: Ties) -> None:
        self._talk, self._people, self._ties = talk, people, ties
        self._going: tuple[Openings, Steps] | None = None
        self._heap = np.empty(0, np.int32)

    def tell(self, opening: Openings, steps: Steps, until_s: float) -> Told:
        """All messages until a time, before which these conversations open. Modifies ``opening``: user and peer are
        then the two sides, where anything has been told of the conversation."""
        talks, own = opening, len(opening.time_s)
        if self._going is not None:
            talks, steps = _joined(*self._going, opening, steps)
        most, going = len(talks.time_s) + len(steps.reply_s), len(self._heap)
        told = Told(np.empty(most), *(np.empty(most, np.int32) for _ in range(3)))
        heap = np.empty(len(talks.time_s) + 1, np.int32)
        heap[:going] = self._heap
        talk = self._talk._replace(until_s=until_s)
        run = TELL.fast or _interpreted
        count, going = run(talk, talks, steps, self._people, self._ties, told, heap, going)
        for side in ("user", "peer"):
            getattr(opening, side)[:] = getattr(talks, side)[len(talks.time_s) - own:]
        self._going, self._heap = _left_of(talks, steps, heap[:going])
        return Told._make(column[:count] for column in told)


def _joined(talks: Openings, steps: Steps, more: Openings, more_steps: Steps) -> tuple[Openings, Steps]:
    """Some conversations and others that open later."""
    more = more._replace(step=len(steps.reply_s) + more.step)
    both: Any = [zip(talks, more, strict=True), zip(steps, more_steps, strict=True)]
    columns = ([np.concatenate(pair) for pair in pairs] for pairs in both)
    return Openings._make(next(columns)), Steps._make(next(columns))


def _left_of(talks: Openings, steps: Steps, heap: Ints) -> tuple[tuple[Openings, Steps], Ints]:
    """The conversations on a heap, with what they still need, and that heap of them."""
    ones = np.sort(heap)
    left = talks.left[ones]
    first = np.cumsum(left, dtype=np.int64) - left
    rows = np.repeat(talks.step[ones] - first, left) + np.arange(left.sum())
    kept = Openings._make(column[ones] for column in talks)._replace(step=first)
    return (kept, Steps._make(column[rows] for column in steps)), np.searchsorted(ones, heap).astype(np.int32)


def _interpreted(talk: Any, *parts: Any) -> tuple[int, int]:
    """As it is. Python reads numbers faster from a view of memory than from an array."""
    *columns, heap, going = parts
    views = [*(type(part)._make(memoryview(column) for column in part) for part in columns), memoryview(heap), going]
    return tell(talk._replace(looks_ahead=False), *views)


def recency_weights(exponent: float) -> Floats:
    """The weight of the recency ranks up to each one, from 0."""
    weights = np.arange(1.0, RANKS_MAX + 1) ** -exponent
    return np.concatenate([[0.0], np.cumsum(weights)])
