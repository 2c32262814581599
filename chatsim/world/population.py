"""Who is friends with whom, and how strong each tie is."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from chatsim.scenario.errors import InputError
from chatsim.scenario.models import Workload
from chatsim.world.compiling import Loop, prefetch
from chatsim.world.draws import BLOCK, Purpose, Words, bits_of, lognormal, lognormal_of, uniform, uniform_of, words_of
from chatsim.world.orders import blocks, next_places
from chatsim.world.pairs import HALF, LOW, Keys, edge_keys, unique_sorted, united, users_of
from chatsim.world.reading import read_edges
from chatsim.world.shelf import shelved
from chatsim.world.tables import Floats, Friends, Ints, Longs

CLUSTERED_USERS_MAX = 5000
TRIANGLE_SHARE = 0.5
USER_BITS = 28
USER, USERS = np.uint64(USER_BITS), np.uint64((1 << USER_BITS) - 1)
BITS_16, BITS_31, LOW_31 = np.uint64(16), np.uint64(31), np.uint64(0x7FFFFFFF)
MATCH_ROUNDS_MAX, USERS_AT_ONCE = 12, 1 << 10
LOST_SHARE_MAX = 0.01


def build_friends(workload: Workload, seed: int, replication: int) -> Friends:
    """The friend graph of a scenario: from its edge list, or by its generator, with strengths of ties.

    Strengths are log-normal with median 1 and sigma ``friends.strength_sigma``, the same in both directions. Raises
    InputError where the file is wrong or the generator cannot make so many users.
    """
    spare = np.empty(0, np.uint64)
    if workload.friends.file:
        edges = read_edges(Path(workload.friends.file), workload.users)
    elif workload.friends.generator == "clustered":
        edges = clustered_edges(workload, seed, replication)
    else:
        edges, spare = configuration_edges(workload, seed, replication)
    return friends_of_edges(edges, workload.users, workload.friends.strength_sigma, seed, replication, spare)


def configuration_edges(workload: Workload, seed: int, replication: int) -> tuple[Keys, Words]:
    """Random graph with log-normal degrees: stubs are shuffled and matched in pairs (Molloy and Reed 1995).

    sigma = sqrt(2 ln(mean / median)), since the mean of a log-normal is median x exp(sigma**2 / 2). Degrees are capped
    by ``degree_max`` and users - 1. Loops and repeated edges are dropped and their stubs matched again, until less than
    1 % is lost or MATCH_ROUNDS_MAX is reached: what remains belongs to users who know nearly everybody. Of
    Facebook's mean of 190 that takes (the cap included) 24 % with 1,000 users, 6 % with 5,000, 3 % with 20,000, and
    less than 1 % from 100,000 on.

    Returns the edges, each once, lower user first, ascending; and memory that is left over, as much as two words for
    each edge, or none. What has been used once need not be cleared again: that takes a third of the time of a sort.
    """
    friends, users = workload.friends, workload.users
    sigma = math.sqrt(2.0 * math.log(friends.degree_mean / friends.degree_median))
    drawn = lognormal(seed, replication, Purpose.DEGREE, np.arange(users), 0, friends.degree_median, sigma)
    degree = np.rint(np.minimum(drawn, min(friends.degree_max, users - 1))).astype(np.int32)
    wanted, missing = int(degree.sum()), degree
    edges = spare = np.empty(0, np.uint64)
    for match_round in range(MATCH_ROUNDS_MAX):
        stubs = int(missing.sum())
        memory = np.empty(stubs + stubs // 2 + 1, np.uint64)
        _shuffle_stubs(missing, match_round, seed, replication, memory[:stubs])
        matched = unique_sorted(_matched(memory[:stubs]), memory[stubs // 2:])
        edges, spare = (united(edges, matched), spare[:0]) if len(edges) else (matched, memory[stubs // 2:])
        del matched, memory
        if wanted - 2 * len(edges) <= LOST_SHARE_MAX * wanted:
            break
        missing = degree - sum(_degrees(edges, users))
    return edges, spare


def clustered_edges(workload: Workload, seed: int, replication: int) -> Keys:
    """Small world with many triangles (Holme and Kim 2002, networkx ``powerlaw_cluster_graph``).

    It has the mean degree of ``friends.degree_mean``, capped by users - 1; its degrees follow a power law, so that
    ``degree_median`` and ``degree_max`` do not apply.
    """
    users = workload.users
    if users > CLUSTERED_USERS_MAX:
        raise InputError(
            f"workload.friends.generator = 'clustered': at most {CLUSTERED_USERS_MAX:,} users are allowed, but "
            f"workload.users = {users:,}; 'configuration' takes any number"
        )
    import networkx as nx

    degree = min(workload.friends.degree_mean, users - 1.0)
    # m edges per newcomer give a mean degree of 2 m (1 - m / users)
    joins = round(users / 2 * (1 - math.sqrt(max(0.0, 1 - 2 * degree / users))))
    joins = min(max(joins, 1), users - 1)
    if users < 2:
        return np.empty(0, np.uint64)
    graph_seed = int(uniform(seed, replication, Purpose.GENERATOR_SEED, 0, 0) * 2**32)
    graph = nx.powerlaw_cluster_graph(users, joins, TRIANGLE_SHARE, seed=graph_seed)
    pairs = np.array(graph.edges(), np.int64).reshape(-1, 2)
    return unique_sorted(edge_keys(pairs[:, 0], pairs[:, 1]))


def friends_of_edges(
    edges: Keys, users: int, strength_sigma: float, seed: int, replication: int, spare: Words
) -> Friends:
    """Friend lists in both directions out of edges (each once, lower user first, ascending), with drawn strengths.

    Each user's list has the lower users first. Both parts of it ascend as the edges do. They are made in memory that is
    ``spare``, where that is enough.
    """
    lower_friends, higher_friends = _degrees(edges, users)
    start = np.zeros(users + 1, np.int64)
    np.cumsum(lower_friends + higher_friends, out=start[1:])
    numbers = 4 * len(edges)  # a friend, and beside it the strength, in two lists each
    entries = spare.view(np.int32)[:numbers] if 2 * len(spare) >= numbers else np.empty(numbers, np.int32)
    free = start[:-1].copy()
    after_lower = start[:-1] + lower_friends - (np.cumsum(higher_friends) - higher_friends)
    for part in blocks(len(edges), BLOCK):
        if SPREAD.fast and DRAW_TIES.fast:
            ties = np.empty(part.stop - part.start)
            DRAW_TIES.fast(*words_of(seed, Purpose.STRENGTH, replication), edges[part], ties)
            drawn = lognormal_of(ties, 1.0, strength_sigma).astype(np.float32)
            SPREAD.fast(part.start, edges[part], drawn.view(np.int32), after_lower, free, entries)
            continue
        lower, higher = users_of(edges[part])
        drawn = lognormal(seed, replication, Purpose.STRENGTH, lower, higher, 1.0, strength_sigma).astype(np.float32)
        for place, other in (
            (after_lower[lower] + np.arange(part.start, part.stop), higher), (next_places(higher, free), lower),
        ):
            entries[2 * place] = other
            entries[2 * place + 1] = drawn.view(np.int32)
    return Friends(start, shelved(entries[::2]), shelved(entries[1::2].view(np.float32)))


def _draw_ties(
    low: np.uint64, high: np.uint64, purpose: np.uint64, replication: np.uint64, edges: Keys, drawn: Floats
) -> None:
    """A uniform draw for each edge, keyed by the lower user and the higher one."""
    for edge in range(len(drawn)):
        bits = bits_of(low, high, purpose, replication, edges[edge] & LOW, edges[edge] >> HALF)
        drawn[edge] = uniform_of(bits)


def _spread(first: int, edges: Keys, drawn: Ints, after_lower: Longs, free: Longs, entries: Ints) -> None:
    """Writes edges, from number ``first`` on, into the lists of both sides: a friend, then the strength."""
    last = len(drawn) - 1
    for edge in range(len(drawn)):
        prefetch(free, int(edges[min(edge + 48, last)] & LOW))
        prefetch(entries, 2 * free[edges[min(edge + 24, last)] & LOW])
        one, other = np.int64(edges[edge] >> HALF), np.int64(edges[edge] & LOW)
        place = 2 * (after_lower[one] + first + edge)
        entries[place], entries[place + 1] = other, drawn[edge]
        place = 2 * free[other]
        entries[place], entries[place + 1] = one, drawn[edge]
        free[other] += 1


DRAW_TIES, SPREAD = Loop(_draw_ties, bits_of, uniform_of, inline="always"), Loop(_spread)


def owners(start: Longs) -> Ints:
    """The row of each entry of a list of lists: ``[0, 2, 3]`` gives ``[0, 0, 1]``.

    >>> owners(np.array([0, 2, 3])).tolist()
    [0, 0, 1]
    """
    return np.repeat(np.arange(len(start) - 1, dtype=np.int32), np.diff(start))


def _degrees(edges: Keys, users: int) -> tuple[Longs, Longs]:
    """How many lower, and how many higher users each one is friends with."""
    if COUNT_FRIENDS.fast:
        lower, higher = np.zeros(users, np.int64), np.zeros(users, np.int64)
        COUNT_FRIENDS.fast(edges, lower, higher)
        return lower, higher
    higher_friends = np.diff(np.searchsorted(edges, np.arange(users + 1, dtype=np.uint64) << np.uint64(32)))
    lower_friends = np.zeros(users, np.int64)
    for part in blocks(len(edges), max(users, BLOCK)):
        lower_friends += np.bincount(users_of(edges[part])[1], minlength=users)
    return lower_friends, higher_friends


def _count_friends(edges: Keys, lower: Longs, higher: Longs) -> None:
    for edge in range(len(edges)):
        lower[edges[edge] & LOW] += 1
        higher[edges[edge] >> HALF] += 1


COUNT_FRIENDS = Loop(_count_friends)


def _shuffle_stubs(degree: Ints, match_round: int, seed: int, replication: int, packed: Words) -> None:
    """Each user as often as its degree, in random order, into ``packed``.

    One sort of (random bits, user) packed into a word needs half the memory of an argsort; equal random bits are so
    rare (36 bits) that their order by user does not matter. The user is in the lowest bits.
    """
    at = 0
    for users in blocks(len(degree), USERS_AT_ONCE):
        stubs = np.repeat(np.arange(users.start, users.stop, dtype=np.uint64), degree[users])
        packed[at:at + len(stubs)] = stubs
        at += len(stubs)
    if DEAL.fast:
        DEAL.fast(*words_of(seed, Purpose.STUB, replication), np.uint64(match_round << 16), packed)
        packed.sort()
        return
    for part in blocks(len(packed), BLOCK):
        place = np.arange(part.start, part.stop)
        drawn = uniform(seed, replication, Purpose.STUB, (match_round << 16) + (place >> 31), place & 0x7FFFFFFF)
        packed[part] |= (drawn * 2.0 ** (64 - USER_BITS)).astype(np.uint64) << np.uint64(USER_BITS)
    packed.sort()


def _deal(
    low: np.uint64, high: np.uint64, purpose: np.uint64, replication: np.uint64, entity: np.uint64, packed: Words
) -> None:
    """Puts random bits before each user."""
    for place in range(len(packed)):
        at = np.uint64(place)
        bits = bits_of(low, high, purpose, replication, at & LOW_31, entity + (at >> BITS_31))
        packed[place] |= (bits >> BITS_16) << USER


DEAL = Loop(_deal, bits_of, inline="always")


def _matched(stubs: Words) -> Keys:
    """The edges between neighbours among stubs, of which the bits of users count; one that is left over has none.

    They take the place of the first stubs.
    """
    count = len(stubs) // 2
    if MATCH.fast:
        MATCH.fast(stubs)
    else:
        for part in blocks(count, BLOCK):
            users = stubs[2 * part.start:2 * part.stop] & USERS
            stubs[part] = edge_keys(users[::2], users[1::2])
    return stubs[:count]


def _match(stubs: Words) -> None:
    for edge in range(len(stubs) // 2):
        one, other = stubs[2 * edge] & USERS, stubs[2 * edge + 1] & USERS
        stubs[edge] = (min(one, other) << HALF) | max(one, other)


MATCH = Loop(_match)
