"""Who is friends with whom, and how strong each tie is."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from chatsim.scenario.errors import InputError
from chatsim.scenario.models import Workload
from chatsim.world.draws import BLOCK, Purpose, lognormal, uniform
from chatsim.world.pairs import Keys, edge_keys, unique_sorted, users_of
from chatsim.world.reading import read_edges
from chatsim.world.tables import Friends, Ints, Longs

CLUSTERED_USERS_MAX = 5000
TRIANGLE_SHARE = 0.5
USER_BITS = 28
MATCH_ROUNDS_MAX = 12
LOST_SHARE_MAX = 0.01


def build_friends(workload: Workload, seed: int, replication: int) -> Friends:
    """The friend graph of a scenario: from its edge list, or by its generator, with strengths of ties.

    Strengths are log-normal with median 1 and sigma ``friends.strength_sigma``, the same in both directions. Raises
    InputError where the file is wrong or the generator cannot make so many users.
    """
    if workload.friends.file:
        edges = read_edges(Path(workload.friends.file), workload.users)
    elif workload.friends.generator == "clustered":
        edges = clustered_edges(workload, seed, replication)
    else:
        edges = configuration_edges(workload, seed, replication)
    return friends_of_edges(edges, workload.users, workload.friends.strength_sigma, seed, replication)


def configuration_edges(workload: Workload, seed: int, replication: int) -> Keys:
    """Random graph with log-normal degrees: stubs are shuffled and matched in pairs (Molloy and Reed 1995).

    sigma = sqrt(2 ln(mean / median)), since the mean of a log-normal is median x exp(sigma**2 / 2). Degrees are capped
    by ``degree_max`` and users - 1. Loops and repeated edges are dropped and their stubs matched again, until less than
    1 % is lost or MATCH_ROUNDS_MAX is reached: what remains belongs to users who know nearly everybody. Of
    Facebook's mean of 190 that takes (the cap included) 24 % with 1,000 users, 6 % with 5,000, 3 % with 20,000, and
    less than 1 % from 100,000 on.

    Returns the edges, each once, lower user first, ascending.
    """
    friends, users = workload.friends, workload.users
    sigma = math.sqrt(2.0 * math.log(friends.degree_mean / friends.degree_median))
    drawn = lognormal(seed, replication, Purpose.DEGREE, np.arange(users), 0, friends.degree_median, sigma)
    degree = np.rint(np.minimum(drawn, min(friends.degree_max, users - 1))).astype(np.int32)
    wanted, missing = int(degree.sum()), degree
    edges = np.empty(0, np.uint64)
    for match_round in range(MATCH_ROUNDS_MAX):
        stubs = _shuffled_stubs(missing, match_round, seed, replication)
        matched = edge_keys(stubs[0:-1:2], stubs[1::2])
        del stubs
        edges = unique_sorted(np.concatenate([edges, matched]) if len(edges) else matched)
        del matched
        if wanted - 2 * len(edges) <= LOST_SHARE_MAX * wanted:
            break
        first, second = users_of(edges)
        missing = degree - np.bincount(first, minlength=users) - np.bincount(second, minlength=users)
    return edges


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


def friends_of_edges(edges: Keys, users: int, strength_sigma: float, seed: int, replication: int) -> Friends:
    """Friend lists in both directions out of edges (each once, lower user first), with drawn strengths."""
    both = np.empty(2 * len(edges), np.uint64)
    both[: len(edges)] = edges
    _swap_into(edges, both[len(edges):])
    both.sort()
    friend = np.empty(len(both), np.int32)
    strength = np.empty(len(both), np.float32)
    start = np.searchsorted(both, np.arange(users + 1, dtype=np.uint64) << np.uint64(32)).astype(np.int64)
    for at in range(0, len(both), BLOCK):
        part = slice(at, at + BLOCK)
        first, second = users_of(both[part])
        friend[part] = second
        lower, upper = np.minimum(first, second), np.maximum(first, second)
        strength[part] = lognormal(seed, replication, Purpose.STRENGTH, lower, upper, 1.0, strength_sigma)
    return Friends(start, friend, strength)


def owners(start: Longs) -> Ints:
    """The row of each entry of a list of lists: ``[0, 2, 3]`` gives ``[0, 0, 1]``.

    >>> owners(np.array([0, 2, 3])).tolist()
    [0, 0, 1]
    """
    return np.repeat(np.arange(len(start) - 1, dtype=np.int32), np.diff(start))


def _shuffled_stubs(degree: Ints, match_round: int, seed: int, replication: int) -> Ints:
    """Each user as often as its degree, in random order.

    One sort of (random bits, user) packed into a word needs half the memory of an argsort; equal random bits are so
    rare (36 bits) that their order by user does not matter.
    """
    packed = np.repeat(np.arange(len(degree), dtype=np.uint64), degree)
    mask = np.uint64((1 << USER_BITS) - 1)
    for at in range(0, len(packed), BLOCK):
        part = packed[at:at + BLOCK]
        place = np.arange(at, at + len(part))
        drawn = uniform(seed, replication, Purpose.STUB, (match_round << 16) + (place >> 31), place & 0x7FFFFFFF)
        part |= (drawn * 2.0 ** (64 - USER_BITS)).astype(np.uint64) << np.uint64(USER_BITS)
    packed.sort()
    packed &= mask
    return packed.astype(np.int32)


def _swap_into(keys: Keys, out: Keys) -> None:
    """Writes the keys with their users exchanged. Modifies ``out``."""
    np.left_shift(keys, np.uint64(32), out=out)
    out |= keys >> np.uint64(32)
