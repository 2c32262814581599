"""Group rooms: a seed user, friends of it, and strangers where it has too few friends."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from chatsim.scenario.models import Workload
from chatsim.world.compiling import Loop
from chatsim.world.draws import Purpose, exponential, lognormal, uniform
from chatsim.world.orders import order_in_rows, row_blocks
from chatsim.world.pairs import HALF, Keys, pair_keys, users_of
from chatsim.world.processes import LIST
from chatsim.world.tables import Floats, Friends, Ints, Longs

SIZE_MIN = 3
CROWDED_SHARE = 0.25
"""A group of more than this share of all users is filled from a shuffle of everybody, others by repeated draws."""
MOVES_MOST = 64
"""Where those who join come in order one by one, each moves those after it: a sort takes less where so many, or more,
may move for each candidate."""


def build_groups(workload: Workload, friends: Friends, seed: int, replication: int) -> tuple[Longs, Ints]:
    """Members of all group rooms as (start, member): those of group g are ``member[start[g]:start[g + 1]]``, ascending.

    Sizes are log-normal (at least 3, at most ``groups.size_max`` and all users); there are as many groups as make
    ``groups.per_user`` memberships per user on the mean. The seed user is drawn uniformly; stronger friends of it are
    more likely to be members. Fewer than 3 users have no groups.
    """
    sizes = _sizes(workload, seed, replication)
    if not len(sizes):
        return np.zeros(1, np.int64), np.empty(0, np.int32)
    groups = np.arange(len(sizes))
    drawn = uniform(seed, replication, Purpose.GROUP_SEED, groups, 0)
    seeds = (drawn * workload.users).astype(np.int64)
    members = [pair_keys(groups, seeds)]
    candidate_start = np.concatenate([[0], np.cumsum(np.diff(friends.start)[seeds])])
    for rows in row_blocks(candidate_start):
        members.append(_friends_of_seeds(friends, groups[rows], seeds[rows], sizes[rows] - 1, seed, replication))
    keys = np.sort(np.concatenate(members))
    keys = _filled(keys, sizes, workload.users, seed, replication)
    group, member = users_of(keys)
    start = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(np.bincount(group, minlength=len(sizes)), out=start[1:])
    return start, member.astype(np.int32)


def _sizes(workload: Workload, seed: int, replication: int) -> Longs:
    """Sizes of as many groups as come nearest to the wanted number of memberships."""
    groups, users = workload.groups, workload.users
    wanted = groups.per_user * users
    if users < SIZE_MIN or wanted == 0:
        return np.empty(0, np.int64)
    most = int(np.ceil(wanted / SIZE_MIN)) + 1
    drawn = lognormal(seed, replication, Purpose.GROUP_SIZE, np.arange(most), 0, groups.size_median, groups.size_sigma)
    sizes = np.rint(np.clip(drawn, SIZE_MIN, min(groups.size_max, users))).astype(np.int64)
    memberships = np.concatenate([[0], np.cumsum(sizes)])
    return sizes[: int(np.argmin(np.abs(memberships - wanted)))]


def _friends_of_seeds(
    friends: Friends, groups: Longs, seeds: Longs, wanted: Longs, seed: int, replication: int
) -> Keys:
    """(group, member) keys of the friends that join, the strongest first in a race of exponential draws."""
    first = friends.start[seeds]
    degree = friends.start[seeds + 1] - first
    start = np.concatenate([[0], np.cumsum(degree)])
    joining = np.minimum(wanted, degree)
    if JOIN.fast and (joining**2).sum() <= MOVES_MOST * start[-1]:
        group, number = np.empty(start[-1], np.int32), np.empty(start[-1], np.int32)
        LIST(groups, start, np.zeros(len(groups), np.int64), group, number)
        finish = exponential(seed, replication, Purpose.GROUP_MEMBER, group, number)
        keys, most = np.empty(int(joining.sum()), np.uint64), int(wanted.max())
        candidates = first, friends.friend, friends.strength
        JOIN.fast(groups, wanted, start, finish, candidates, (np.empty(most), np.empty(most, np.int32)), keys)
        return keys
    place = np.arange(start[-1]) - np.repeat(start[:-1], degree)
    entry = place + np.repeat(first, degree)
    finish = exponential(seed, replication, Purpose.GROUP_MEMBER, np.repeat(groups, degree), place)
    finish /= friends.strength[entry]
    joins = order_in_rows(start, finish)[place < np.repeat(wanted, degree)]
    return pair_keys(np.repeat(groups, joining), friends.friend[entry[joins]])


def _join(
    groups: Longs, wanted: Longs, start: Longs, drawn: Floats, candidates: tuple[Longs, Ints, npt.NDArray[np.float32]],
    best: tuple[Floats, Ints], keys: Keys,
) -> None:
    """The same, compiled: as few of all join, those who do so far are kept in order, and nobody else is sorted."""
    first, friend, strength = candidates
    finished, who = best
    count = 0
    for row in range(len(groups)):
        kept = 0
        for place in range(start[row], start[row + 1]):
            entry = first[row] + place - start[row]
            finish = drawn[place] / strength[entry]
            if kept == wanted[row]:
                if finish >= finished[kept - 1]:
                    continue
                kept -= 1
            here = kept
            while here and finished[here - 1] > finish:
                finished[here], who[here] = finished[here - 1], who[here - 1]
                here -= 1
            finished[here], who[here] = finish, friend[entry]
            kept += 1
        for place in range(kept):
            keys[count] = np.uint64(groups[row]) << HALF | np.uint64(who[place])
            count += 1


JOIN = Loop(_join)


def _filled(keys: Keys, sizes: Longs, users: int, seed: int, replication: int) -> Keys:
    """The sorted keys, with strangers added until every group has its size."""
    crowded = sizes > CROWDED_SHARE * users
    attempt = 0
    while True:
        missing = sizes - np.bincount((keys >> np.uint64(32)).astype(np.int64), minlength=len(sizes))
        short = np.flatnonzero(missing)
        if not len(short):
            return keys
        added = [keys]
        for group in short[crowded[short]]:
            first, end = np.searchsorted(keys, pair_keys([group, group + 1], [0, 0]))
            _, inside = users_of(keys[first:end])
            order = np.argsort(uniform(seed, replication, Purpose.GROUP_FILL, group, np.arange(users)), kind="stable")
            strangers = order[~np.isin(order, inside)][: missing[group]]
            added.append(pair_keys(np.full(len(strangers), group), strangers))
        roomy = short[~crowded[short]]
        row = np.repeat(roomy, missing[roomy])
        drawn = uniform(seed, replication, Purpose.GROUP_FILL, row, (attempt << 24) + np.arange(len(row)))
        added.append(pair_keys(row, (drawn * users).astype(np.int64)))
        keys = np.sort(np.concatenate(added))
        keys = keys[np.append(True, keys[1:] != keys[:-1])]
        attempt += 1
