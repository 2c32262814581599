"""Conversations told in the order of time: whom each goes to, who answers, and who knows whom how recently.

Numbers and arrays alone: numba compiles it for large worlds, small ones run it as the Python that it is, with the same
results. Numbers out of arrays are made whole ones of Python's, or numba would compile what they are given to anew for
each of their kinds.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np

from chatsim.world.compiling import Loop
from chatsim.world.tables import Bools, Floats, Ints, Longs

RANKS_MAX = 5000
NOBODY = -1 << 62
"""In the place of a peer: there is nobody to write to."""


class Talk(NamedTuple):
    """What of the behaviour model is asked for here."""

    duration_s: float
    new_partner_share: float
    new_partner_scale: float
    answer_weight: float


class Openings(NamedTuple):
    """Conversations in the order in which they open, and the draws of all their later messages.

    They are told in place: ``time_s`` is when one opens, and then when its next message is due; ``user`` opens it, and
    then is who wrote last, to ``peer`` (a user, or -1 - group); ``left`` messages follow, of which the next has the
    draws at ``step``: whether it ``replies``, and after how long. ``to_group``: the opening goes to a group.
    """

    time_s: Floats
    user: Ints
    peer: Ints
    left: Ints
    step: Longs
    to_group: Bools
    to_new: Floats
    target: Floats
    replies: Bools
    reply_s: Floats
    reply_member: Floats


class People(NamedTuple):
    """Who is connected when, and who is in which group: lists of lists. The sessions of user u, on device 0 and in the
    order of time, are those from ``session_first[u]`` on."""

    session_first: Longs
    session_start_s: Floats
    session_end_s: Floats
    joined_s: Floats
    member_start: Longs
    member: Ints
    own_group_start: Longs
    own_group: Ints


class Ties(NamedTuple):
    """Whom users know, which changes as conversations are told.

    User u has a place for each friend, from ``start[u]`` on: in ``queue`` its friends in the order in which it comes to
    write to them, of whom those before ``next_place[u]`` are partners; in ``partner`` its ``partners[u]`` partners,
    latest last; in ``owes`` whether it owes that partner an answer, which it does to ``owing[u]`` of them. ``owes`` is
    empty where that does not count. ``upto[k]`` is the weight of the ranks up to k.
    """

    start: Longs
    queue: Ints
    partner: Ints
    owes: Any
    partners: Longs
    owing: Longs
    next_place: Longs
    upto: Floats
    weights: Floats


class Told(NamedTuple):
    """Messages as they are told: in which conversation, and in which of all sessions of :class:`People`, or -1."""

    time_s: Floats
    sender: Ints
    opening: Ints
    session: Ints


def tell(talk: Talk, talks: Openings, people: People, ties: Ties, told: Told, heap: Ints) -> int:
    """Tells all messages of the run into ``told``; how many. ``heap`` has room for the conversations under way."""
    count = going = 0
    for opening in range(len(talks.time_s) + 1):
        is_over = opening == len(talks.time_s)
        time_s = talk.duration_s if is_over else talks.time_s[opening]
        while going and talks.time_s[heap[0]] < time_s:
            count, going = _go_on(talks, people, ties, told, heap, count, going)
        if is_over:
            break
        user = int(talks.user[opening])
        peer = _target(talk, talks, people, ties, opening)
        if peer == NOBODY:
            continue
        talks.peer[opening] = peer
        count = _write(ties, told, count, time_s, user, peer, opening, _session_at(people, user, time_s))
        if talks.left[opening]:
            talks.time_s[opening] = time_s + talks.reply_s[talks.step[opening]]
            heap[going] = opening
            going += 1
            _up(talks, heap, going - 1)
    return count


def _go_on(
    talks: Openings, people: People, ties: Ties, told: Told, heap: Ints, count: int, going: int
) -> tuple[int, int]:
    """The next message of a conversation, the first of the heap; how many are told, and how many go on."""
    one = int(heap[0])
    time_s, step = talks.time_s[one], talks.step[one]
    sender, peer, session = _next(talks, people, one)
    talks.left[one] -= 1
    if session >= 0:
        count = _write(ties, told, count, time_s, sender, peer, one, session)
    if session >= 0 and talks.left[one]:
        talks.user[one], talks.peer[one], talks.step[one] = sender, peer, step + 1
        talks.time_s[one] = time_s + talks.reply_s[step + 1]
    else:
        going -= 1
        heap[0] = heap[going]
    _down(talks, heap, going)
    return count, going


def _write(
    ties: Ties, told: Told, count: int, time_s: float, sender: int, peer: int, opening: int, session: int
) -> int:
    """A message is written, and told if it falls into the run; how many are told."""
    if peer >= 0:
        _meet(ties, peer, sender, 1)
        _meet(ties, sender, peer, 0)
    if time_s < 0:
        return count
    told.time_s[count], told.sender[count] = time_s, sender
    told.opening[count], told.session[count] = opening, session
    return count + 1


def _target(talk: Talk, talks: Openings, people: People, ties: Ties, opening: int) -> int:
    """Whom an opening goes to: a user, or -1 - group; NOBODY where the user has nobody to write to."""
    user, target = int(talks.user[opening]), talks.target[opening]
    first, end = people.own_group_start[user], people.own_group_start[user + 1]
    if talks.to_group[opening] and end > first:
        return -1 - int(people.own_group[first + int(target * (end - first))])
    known = ties.partners[user]
    if not known or talks.to_new[opening] < talk.new_partner_share / (1 + known / talk.new_partner_scale):
        friend = _new_partner(people, ties, user, talks.time_s[opening])
        if friend >= 0:
            return friend
    if known:
        return _old_partner(talk, ties, user, target)
    return -1 - int(people.own_group[first + int(target * (end - first))]) if end > first else NOBODY


def _next(talks: Openings, people: People, one: int) -> tuple[int, int, int]:
    """Sender, peer and session of the next message of a conversation; session -1 where nobody is there to write it."""
    time_s, last, peer, step = talks.time_s[one], int(talks.user[one]), int(talks.peer[one]), talks.step[one]
    if not talks.replies[step]:
        return last, peer, _session_at(people, last, time_s)
    if peer >= 0:
        return peer, last, _session_at(people, peer, time_s)
    first, end = people.member_start[-1 - peer], people.member_start[-peer]
    size = end - first
    at = int(talks.reply_member[step] * size)
    for further in range(size):
        member = int(people.member[first + (at + further) % size])
        if member != last:
            session = _session_at(people, member, time_s)
            if session >= 0:
                return member, peer, session
    return last, peer, -1


def _session_at(people: People, user: int, time_s: float) -> int:
    """The session that a user has at a time, -1 where it has none."""
    first, low, high = people.session_first[user], people.session_first[user], people.session_first[user + 1]
    while low < high:
        middle = (low + high) // 2
        if time_s < people.session_start_s[middle]:
            high = middle
        else:
            low = middle + 1
    return low - 1 if low > first and people.session_end_s[low - 1] >= time_s else -1


def _old_partner(talk: Talk, ties: Ties, user: int, target: float) -> int:
    """A partner by recency rank; one whose message waits for an answer is ``answer_weight`` times as likely."""
    end, ranks = ties.start[user] + ties.partners[user], min(ties.partners[user], RANKS_MAX)
    if not ties.owing[user]:
        return int(ties.partner[end - _place_of(ties.upto, target * ties.upto[ranks], 1, ranks)])
    more, extra = talk.answer_weight - 1.0, 0.0
    for rank in range(1, ranks + 1):
        if ties.owes[end - rank]:
            extra += more * (ties.upto[rank] - ties.upto[rank - 1])
        ties.weights[rank] = ties.upto[rank] + extra
    return int(ties.partner[end - _place_of(ties.weights, target * ties.weights[ranks], 1, ranks)])


def _place_of(upto: Floats, value: float, low: int, high: int) -> int:
    """The first place from ``low`` on whose value is not below the given one; ``high`` where there is none before."""
    while low < high:
        middle = (low + high) // 2
        if upto[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


def _new_partner(people: People, ties: Ties, user: int, time_s: float) -> int:
    """The first friend in the user's queue that has joined and is no partner yet; -1 where there is none."""
    end, found = ties.start[user + 1], -1
    skipped = end
    for place in range(ties.next_place[user], end):
        friend = int(ties.queue[place])
        if _partner_place(ties, user, friend) >= 0:
            continue
        skipped = min(skipped, place)
        if people.joined_s[friend] <= time_s:
            found = friend
            break
    ties.next_place[user] = skipped
    return found


def _partner_place(ties: Ties, user: int, other: int) -> int:
    """Where another stands among a user's partners, -1 where it is none. Most are found near the end."""
    first = ties.start[user]
    place = first + ties.partners[user] - 1
    while place >= first and ties.partner[place] != other:
        place -= 1
    return place if place >= first else -1


def _meet(ties: Ties, user: int, other: int, owes: int) -> None:
    """Another becomes the user's latest partner, whom it now owes an answer, or no more."""
    last, place = ties.start[user] + ties.partners[user] - 1, _partner_place(ties, user, other)
    if place < 0:
        last += 1
        place = last
        ties.partners[user] += 1
        if len(ties.owes):
            ties.owes[last] = 0
    if len(ties.owes):
        ties.owing[user] += owes - ties.owes[place]
        for here in range(place, last):
            ties.owes[here] = ties.owes[here + 1]
        ties.owes[last] = owes
    for here in range(place, last):
        ties.partner[here] = ties.partner[here + 1]
    ties.partner[last] = other


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
    tell, _is_sooner, _up, _down, _partner_place, _place_of, _session_at, _meet, _new_partner, _old_partner, _next,
    _target, _write, _go_on,
)  # fmt: skip


def told_messages(talk: Talk, talks: Openings, people: People, ties: Ties) -> Told:
    """All messages of the run."""
    most = len(talks.time_s) + len(talks.reply_s)
    told = Told(np.empty(most), np.empty(most, np.int32), np.empty(most, np.int32), np.empty(most, np.int32))
    heap = np.empty(len(talks.time_s) + 1, np.int32)
    count = (TELL.fast or _interpreted)(talk, talks, people, ties, told, heap)
    return Told(told.time_s[:count], told.sender[:count], told.opening[:count], told.session[:count])


def _interpreted(talk: Talk, *parts: Any) -> int:
    """As it is. Python reads numbers faster from a view of memory than from an array."""
    views = [
        type(part)(*map(memoryview, part)) if isinstance(part, tuple) else memoryview(part)  # type: ignore[arg-type]
        for part in parts
    ]
    return tell(talk, *cast(Any, views))


def recency_weights(exponent: float) -> Floats:
    """The weight of the recency ranks up to each one, from 0."""
    weights = np.arange(1.0, RANKS_MAX + 1) ** -exponent
    return np.concatenate([[0.0], np.cumsum(weights)])
