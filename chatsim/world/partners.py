"""Whom a user has written with before the run, and whom it will write to next: an order of each user's friends."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from chatsim.world.draws import Purpose, exponential, uniform
from chatsim.world.orders import order_in_rows, row_blocks
from chatsim.world.pairs import Keys, edge_keys, pair_keys, unique_sorted, users_of
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
    queue = _race(friends, friends.start, friends.friend, seed, replication)
    first, second = users_of(_known_pairs(friends.start, queue, known_partners_mean, seed, replication))
    both = np.concatenate([pair_keys(first, second), pair_keys(second, first)])
    both.sort()
    user, partner = users_of(both)
    known_start = np.searchsorted(user, np.arange(len(friends.start))).astype(np.int64)
    # Partners are remembered in the order of the race too.
    known = _race(friends, known_start, partner.astype(np.int32), seed, replication)
    return Partners(known_start, known, friends.start, queue)


def known_pairs(partners: Partners) -> Keys:
    """Pairs that have written before the run, each once, lower user first, ascending."""
    user = owners(partners.known_start)
    once = user < partners.known
    return np.sort(pair_keys(user[once], partners.known[once]))


def _race(friends: Friends, start: Longs, runner: Ints, seed: int, replication: int) -> Ints:
    """Some friends of each user, or all, in the order in which they finish: at exponential draw / strength."""
    finished = np.empty_like(runner)
    for rows in row_blocks(start):
        begin = start[rows.start:rows.stop + 1]
        part = slice(begin[0], begin[-1])
        user = np.repeat(np.arange(rows.start, rows.stop), np.diff(begin))
        finish = exponential(seed, replication, Purpose.TIE_ORDER, user, runner[part])
        finish /= friends.strength[part if runner is friends.friend else _entries(friends, user, runner[part])]
        finished[part] = runner[part][order_in_rows(begin - begin[0], finish.astype(np.float32))]
    return finished


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
    return unique_sorted(edge_keys(user, friend))


def _entries(friends: Friends, user: Longs, friend: Ints) -> Longs:
    """Where a friend of a user stands among all friends, which ascend by user."""
    low, high = friends.start[user], friends.start[user + 1]
    for _ in range(int((high - low).max(initial=0)).bit_length()):  # halves the range in which each one is to be found
        middle = (low + high) // 2
        is_before = (low < high) & (friends.friend[np.minimum(middle, len(friends.friend) - 1)] < friend)
        low, high = np.where(is_before, middle + 1, low), np.where(is_before, high, middle)
    return low
