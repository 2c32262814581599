"""Whom a user has written with before the run, and whom it will write to next: an order of each user's friends."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from chatsim.world.draws import BLOCK, Purpose, exponential, uniform
from chatsim.world.pairs import Keys, pair_keys, users_of
from chatsim.world.population import owners
from chatsim.world.tables import Friends, Ints, Longs

FITS = 4
FIT_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True)
class Partners:
    """Per user u: ``known[known_start[u]:known_start[u + 1]]`` are the partners at time 0, latest first;
    ``queue[queue_start[u]:queue_start[u + 1]]`` are all friends in the order in which u comes to write to them."""

    known_start: Longs
    known: Ints
    queue_start: Longs
    queue: Ints


def build_partners(friends: Friends, known_partners_mean: float, seed: int, replication: int) -> Partners:
    """Each user's friends in the order of a race of exponential draws over the strengths of ties, which is weighted
    sampling without replacement; the first ones of each, a geometric number, are partners already, in both directions.
    """
    queue = _race(friends, seed, replication)
    pairs = _known_pairs(friends.start, queue, known_partners_mean, seed, replication)
    first, second = users_of(pairs)
    both = np.sort(np.concatenate([pairs, pair_keys(second, first)]))
    user, partner = users_of(both)
    # Place of each partner in the user's queue: partners are remembered in the order of the race too.
    place = _places(friends.start, queue, user, partner)
    order = np.lexsort((place, user))
    known_start = np.searchsorted(user, np.arange(len(friends.start))).astype(np.int64)
    return Partners(known_start, partner[order].astype(np.int32), friends.start, queue)


def known_pairs(partners: Partners) -> Keys:
    """Pairs that have written before the run, each once, lower user first, ascending."""
    user = owners(partners.known_start)
    once = user < partners.known
    return np.sort(pair_keys(user[once], partners.known[once]))


def _race(friends: Friends, seed: int, replication: int) -> Ints:
    """Friends of each user in the order of exponential draw / strength."""
    packed = np.empty(len(friends.friend), np.uint64)
    user = owners(friends.start)
    for at in range(0, len(packed), BLOCK):
        part = slice(at, at + BLOCK)
        finish = exponential(seed, replication, Purpose.TIE_ORDER, user[part], friends.friend[part])
        finish /= friends.strength[part]
        # The bits of positive floats sort as the floats do, so that user and finish make one sortable word.
        packed[part] = pair_keys(user[part], finish.astype(np.float32).view(np.uint32))
    return friends.friend[np.argsort(packed, kind="stable")]


def _known_pairs(start: Longs, queue: Ints, mean: float, seed: int, replication: int) -> Keys:
    """Pairs of which one is among the other's first friends; the number of these is geometric, fitted so that users
    have ``mean`` partners on average, counted in both directions."""
    users = len(start) - 1
    degree = np.diff(start)
    if mean == 0 or not len(queue):
        return np.empty(0, np.uint64)
    if mean >= degree.mean():
        return _first_pairs(start, queue, degree)
    drawn = np.log(uniform(seed, replication, Purpose.KNOWN_PARTNERS, np.arange(users), 0))
    own_mean = mean / 2
    pairs = np.empty(0, np.uint64)
    for _ in range(FITS):
        own = np.minimum(np.floor(drawn / math.log(own_mean / (1 + own_mean))), degree).astype(np.int64)
        pairs = _first_pairs(start, queue, own)
        realised = 2 * len(pairs) / users
        if abs(realised - mean) <= FIT_TOLERANCE * mean or realised == 0:
            break
        own_mean *= mean / realised
    return pairs


def _first_pairs(start: Longs, queue: Ints, count: Longs) -> Keys:
    """Pairs of each user and its first ``count`` friends, each pair once, lower user first, ascending."""
    user = np.repeat(np.arange(len(count)), count)
    place = np.arange(len(user)) - np.repeat(np.cumsum(count) - count, count)
    friend = queue[start[user] + place]
    return np.unique(pair_keys(np.minimum(user, friend), np.maximum(user, friend)))


def _places(start: Longs, queue: Ints, user: Longs, partner: Longs) -> Longs:
    """Where each partner stands in its user's queue; (user, partner) ascending."""
    wanted = np.zeros(len(start) - 1, bool)
    wanted[user] = True
    rows = np.repeat(wanted, np.diff(start))
    entry = np.flatnonzero(rows)
    keys = pair_keys(owners(start)[entry], queue[entry])
    order = np.argsort(keys)
    found = np.searchsorted(keys, pair_keys(user, partner), sorter=order)
    return entry[order[found]]
