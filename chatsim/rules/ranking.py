"""Who stands on a friend list: contacts ranked by a policy, and how many of them are listed.

A user's contacts (all with whom a message was ever exchanged, either way) stand in the order of their rank, each with
a score. A chat never lowers a score, so a contact only ever moves forwards, and noting a message takes about as many
steps as the contact's rank. Friends without a chat stand behind the contacts, in an order of luck; the list of limit K
is the first K of all these. Two policies differ: random has one order of luck for contacts and friends together, and
online_first ranks as recent does, but has those who are online before all others (see :func:`block_of`).

Tie rule: of equal scores, the one with the later chat ranks first. Chats are later in the order in which they are
noted, which in a trace is the order of the file, also within one minute or second of its clock.
"""

from __future__ import annotations

import math
from collections.abc import MutableSequence, Sequence

RECENT, FREQUENT, FRECENCY, RANDOM, ALL, ONLINE_FIRST = range(6)
POLICY_NUMBERS = {
    "recent": RECENT, "frequent": FREQUENT, "frecency": FRECENCY, "random": RANDOM, "all": ALL,
    "online_first": ONLINE_FIRST,
}

NOBODY = -1
"""Marks the places of a user that no contact has taken yet."""


def first_score(policy: int, draw: float) -> float:
    """The score of a contact before the first chat. ``draw`` is the luck of this user with this contact."""
    if policy == RANDOM:
        return draw
    return -math.inf if policy == FRECENCY else 0.0


def raised_score(policy: int, score: float, half_lives: float) -> float:
    """The score after one more chat; ``half_lives`` is its time, counted in half-lives of frecency.

    Frequent counts the chats. Frecency is log2(sum of 2**(t / half_life) over the chats at times t): it orders as the
    sum of 2**-((now - t) / half_life) does, whatever the time now, so that nothing need be recomputed as time goes by.
    The others' scores stay: for recent (and for all and online_first) the tie rule alone decides.

    >>> raised_score(FREQUENT, 2.0, 7.0)
    3.0
    >>> raised_score(FRECENCY, raised_score(FRECENCY, first_score(FRECENCY, 0.0), 5.0), 5.0)
    6.0
    """
    if policy == FREQUENT:
        return score + 1.0
    if policy == FRECENCY:
        high, low = max(score, half_lives), min(score, half_lives)
        return high + math.log2(1.0 + 2.0 ** (low - high))
    return score


def place_of(contact: int, contacts: Sequence[int], start: int) -> int:
    """The place of a contact of the user whose contacts begin at ``start``, or the first place that is free."""
    place = start
    while contacts[place] not in (contact, NOBODY):
        place += 1
    return place


def promote(contacts: MutableSequence[int], scores: MutableSequence[float], start: int, place: int) -> int:
    """Moves the contact who has just chatted past all whose score is not higher; gives the new place.

    MODIFIES ``contacts`` and ``scores``.

    >>> contacts, scores = [7, 8, 9], [3.0, 2.0, 2.0]
    >>> promote(contacts, scores, 0, 2), contacts
    (1, [7, 9, 8])
    """
    contact, score = contacts[place], scores[place]
    while place > start and scores[place - 1] <= score:
        contacts[place], scores[place] = contacts[place - 1], scores[place - 1]
        place -= 1
    contacts[place], scores[place] = contact, score
    return place


def note_chat(
    policy: int,
    contact: int,
    half_lives: float,
    draw: float,
    contacts: MutableSequence[int],
    scores: MutableSequence[float],
    start: int,
) -> int:
    """Notes one message between a user and a contact; gives the contact's rank just before it, 0 for a first contact.

    The user's contacts stand in ``contacts`` from ``start`` on, best first, then NOBODY in at least one place for every
    contact still to come; ``scores`` runs beside. MODIFIES both.

    >>> contacts, scores = [NOBODY] * 3, [0.0] * 3
    >>> [note_chat(RECENT, contact, 0.0, 0.0, contacts, scores, 0) for contact in (4, 5, 4, 6)], contacts
    ([0, 0, 2, 0], [6, 4, 5])
    """
    place = place_of(contact, contacts, start)
    rank = place - start + 1
    if contacts[place] == NOBODY:
        contacts[place] = contact
        scores[place] = first_score(policy, draw)
        rank = 0
    scores[place] = raised_score(policy, scores[place], half_lives)
    promote(contacts, scores, start, place)
    return rank


def block_of(policy: int, is_contact: bool, is_online: bool) -> int:
    """The block of the list in which somebody stands; in each, contacts by rank, or friends without a chat by luck.

    >>> [block_of(ONLINE_FIRST, *person) for person in ((True, True), (False, True), (True, False), (False, False))]
    [0, 1, 2, 3]
    >>> block_of(RECENT, True, False), block_of(RECENT, False, True), block_of(RANDOM, False, True)
    (0, 1, 0)
    """
    if policy == RANDOM:
        return 0
    if policy == ONLINE_FIRST and not is_online:
        return 2 + (not is_contact)
    return int(not is_contact)


def is_listed(policy: int, rank: int, limit: float) -> bool:
    """Whether the contact of this rank (0: no contact yet) is on a list of ``limit`` friends; all knows no limit.

    >>> is_listed(RECENT, 15, 15), is_listed(RECENT, 16, 15), is_listed(ALL, 16, 15), is_listed(ALL, 0, 15)
    (True, False, True, False)
    """
    return rank > 0 and (policy == ALL or rank <= limit)
