"""Whom a user has written with before the run, and whom it will write to next: an order of each user's friends."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chatsim.world.compiling import Loop
from chatsim.world.draws import BLOCK, Purpose, Words, bits_of, exponential, uniform, uniform_of, words_of
from chatsim.world.orders import blocks, order_in_rows, place_bits, row_blocks, word_in_row
from chatsim.world.pairs import HALF, LOW, Keys, edge_keys, pair_keys, unique_sorted
from chatsim.world.population import owners
from chatsim.world.shelf import put_back
from chatsim.world.tables import Bools, Floats, Friends, Ints, Longs

FITS = 4
FIT_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True)
class Partners:
    """Per user u: ``known[known_start[u]:known_start[u + 1]]`` are the partners at time 0, latest first;
    ``queue[queue_start[u]:queue_start[u + 1]]`` are all friends: these partners, latest last, then the others in the
    order in which u comes to write to them."""

    known_start: Longs
    known: Ints
    queue_start: Longs
    queue: Ints


def build_partners(friends: Friends, known_partners_mean: float, seed: int, replication: int) -> Partners:
    """Each user's friends in the order of a race of exponential draws over the strengths of ties, which is weighted
    sampling without replacement; the first ones of each, a geometric number, are partners already, in both directions.
    """
    start = friends.start
    queue = _race(friends, seed, replication)
    both = _both_ways(_known_pairs(start, queue, known_partners_mean, seed, replication))
    both.sort()
    known_start = np.searchsorted(both, pair_keys(np.arange(len(start)), 0)).astype(np.int64)
    known = (both & LOW).astype(np.int32)
    del both
    scratch = np.empty(int(np.diff(start).max(initial=0)), np.int32), np.zeros(len(start) - 1, bool)
    columns = (start, queue, known_start, known, *scratch)
    if ARRANGE.fast:
        ARRANGE.fast(*columns)
    else:
        _arrange(*map(memoryview, columns))  # type: ignore[arg-type]
    return Partners(known_start, known, start, queue)


def _both_ways(pairs: Keys) -> Keys:
    """The pairs, and then each with the other user first."""
    both = np.empty(2 * len(pairs), np.uint64)
    both[: len(pairs)] = pairs
    turned = np.left_shift(pairs, HALF, out=both[len(pairs):])
    turned |= pairs >> HALF
    return both


def _arrange(start: Longs, queue: Ints, known_start: Longs, known: Ints, others: Ints, knows: Bools) -> None:
    """Brings the partners of each user into the order of its queue, in which they then stand first, latest last."""
    for user in range(len(start) - 1):
        first, at, left = known_start[user], known_start[user], 0
        for place in range(first, known_start[user + 1]):
            knows[known[place]] = True
        for place in range(start[user], start[user + 1]):
            friend = queue[place]
            if knows[friend]:
                knows[friend] = False
                known[at] = friend
                at += 1
            else:
                others[left] = friend
                left += 1
        last = start[user] + at - first - 1
        for place in range(at - first):
            queue[last - place] = known[first + place]
        for place in range(left):
            queue[last + 1 + place] = others[place]


ARRANGE = Loop(_arrange)


def known_pairs(partners: Partners) -> Keys:
    """Pairs that have written before the run, each once, lower user first, ascending."""
    user = owners(partners.known_start)
    once = user < partners.known
    return np.sort(pair_keys(user[once], partners.known[once]))


def _race(friends: Friends, seed: int, replication: int) -> Ints:
    """The friends of each user in the order in which they finish: at exponential draw / strength."""
    start, runner = friends.start, friends.friend
    finished = np.empty_like(runner)
    for rows in row_blocks(start):
        begin = start[rows.start:rows.stop + 1].copy()
        part = slice(begin[0], begin[-1])
        begin -= begin[0]
        columns = rows, begin, runner[part], friends.strength[part]
        if RUN.fast:
            _run_race(*columns, seed, replication, finished[part])
        else:
            finished[part] = runner[part][_order_of_race(*columns, seed, replication)]
        put_back(runner[part], friends.strength[part])
    return finished


def _order_of_race(
    users: slice, start: Longs, runner: Ints, strength: npt.NDArray[np.float32], seed: int, replication: int
) -> Longs:
    """The order in which the friends of these users finish."""
    user = np.repeat(np.arange(users.start, users.stop), np.diff(start))
    finish = exponential(seed, replication, Purpose.TIE_ORDER, user, runner)
    finish /= strength
    return order_in_rows(start, finish.astype(np.float32))


def _run_race(
    users: slice, start: Longs, runner: Ints, strength: npt.NDArray[np.float32], seed: int, replication: int,
    finished: Ints,
) -> None:
    """The same, compiled, with the friends in that order."""
    drawn, words = np.empty(len(runner)), np.empty(len(runner), np.uint64)
    RUN(*words_of(seed, Purpose.TIE_ORDER, replication), users.start, start, runner, drawn)
    np.log(drawn, out=drawn)
    bits = place_bits(len(runner))
    FINISH(start, drawn, strength, bits, words)
    words.sort()
    PICK(words, (np.uint64(1) << bits) - np.uint64(1), runner, finished)


def _finish(
    start: Longs, drawn: Floats, strength: npt.NDArray[np.float32], bits: np.uint64, words: Words
) -> None:
    """What :func:`order_in_rows` sorts, out of logarithms of uniform draws."""
    for row in range(len(start) - 1):
        for place in range(start[row], start[row + 1]):
            finish = np.float32(-drawn[place] / strength[place])
            words[place] = word_in_row(start[row], finish.view(np.uint32), place, bits)


def _pick(words: Words, mask: np.uint64, runner: Ints, finished: Ints) -> None:
    """The runners in the order of sorted words, in which the places of runners are the lowest bits."""
    for place in range(len(words)):
        finished[place] = runner[words[place] & mask]


def _run(
    low: np.uint64, high: np.uint64, purpose: np.uint64, replication: np.uint64,
    first_user: int, start: Longs, runner: Ints, drawn: Floats,
) -> None:
    for row in range(len(start) - 1):
        user, first, end = np.uint64(first_user + row), start[row], start[row + 1]
        own, into = runner[first:end], drawn[first:end]
        for place in range(len(own)):
            bits = bits_of(low, high, purpose, replication, np.uint64(own[place]), user)
            into[place] = uniform_of(bits)


RUN = Loop(_run, bits_of, uniform_of, inline="always")
FINISH, PICK = Loop(_finish, word_in_row), Loop(_pick)


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
    edges, at = np.empty(int(count.sum()), np.uint64), 0
    for users in blocks(len(count), BLOCK):
        many = count[users]
        user = np.repeat(np.arange(users.start, users.stop), many)
        place = np.arange(len(user)) - np.repeat(np.cumsum(many) - many, many)
        edges[at:at + len(user)] = edge_keys(user, queue[start[user] + place])
        at += len(user)
    return unique_sorted(edges)
