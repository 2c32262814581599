"""Friend graphs, groups and partners. Statistical tolerances are 5 standard errors (false alarms below 1e-6)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from chatsim.scenario import InputError
from chatsim.scenario.models import Workload
from chatsim.world.groups import build_groups
from chatsim.world.pairs import pair_keys
from chatsim.world.partners import build_partners, known_pairs
from chatsim.world.population import build_friends, owners
from chatsim.world.tables import Friends


def workload(**changes: object) -> Workload:
    return Workload.model_validate(changes)


def assert_symmetric(friends: Friends) -> None:
    user = owners(friends.start)
    keys = pair_keys(user, friends.friend)
    assert (np.diff(keys.astype(np.int64)) > 0).all(), "ascending, without repeats"
    assert not (user == friends.friend).any()
    back = np.argsort(pair_keys(friends.friend, user))
    assert np.array_equal(friends.friend[back], user)
    assert np.array_equal(friends.strength[back], friends.strength)


@pytest.fixture(scope="module")
def large() -> Friends:
    return build_friends(workload(users=30_000), 1, 0)


def test_degrees_are_those_of_facebook(large: Friends) -> None:
    degree = np.diff(large.start)
    sigma = math.sqrt(2 * math.log(190 / 99))
    users = len(degree)
    # The median's standard error is sigma x median x sqrt(pi / 2) / sqrt(n); rounding and repairs add at most 1.
    assert abs(np.median(degree) - 99) < 5 * sigma * 99 * math.sqrt(math.pi / 2 / users) + 1
    # Of the mean the cap and what cannot be matched take up to 3 %.
    mean_error = 190 * math.sqrt((math.exp(sigma**2) - 1) / users)
    assert 190 * 0.97 - 5 * mean_error < degree.mean() < 190 + 5 * mean_error
    assert degree.max() <= 5000


def test_the_tail_is_heavy(large: Friends) -> None:
    degree = np.diff(large.start)
    expected = len(degree) * 0.5 * math.erfc(math.log(1000 / 99) / math.sqrt(2 * math.log(190 / 99)) / math.sqrt(2))
    above = (degree > 1000).sum()
    # Matching loses up to a tenth of the hubs' friends, which moves some of them below 1,000.
    assert 0.8 * expected - 5 * math.sqrt(expected) < above < expected + 5 * math.sqrt(expected)
    assert degree.max() > 20 * np.median(degree)


def test_lists_are_symmetric_and_strengths_log_normal(large: Friends) -> None:
    assert_symmetric(large)
    logs = np.log(large.strength[owners(large.start) < large.friend].astype(float))
    assert abs(logs.mean()) < 5 * 1.5 / math.sqrt(len(logs))
    assert abs(logs.std() - 1.5) < 5 * 1.5 / math.sqrt(2 * len(logs))


@pytest.mark.parametrize("users", [1, 2, 3, 10, 200])
def test_small_worlds(users: int) -> None:
    friends = build_friends(workload(users=users), 1, 0)
    assert_symmetric(friends)
    assert len(friends.start) == users + 1
    assert np.diff(friends.start).max(initial=0) <= users - 1
    start, member = build_groups(workload(users=users), friends, 1, 0)
    assert (np.diff(start) >= 3).all()
    assert member.max(initial=0) < users


def test_clustered_worlds_have_the_mean_and_many_triangles() -> None:
    import networkx as nx

    def clustering(generator: str) -> tuple[float, float]:
        made = workload(users=600, friends={"degree_median": 18.0, "degree_mean": 20.0, "generator": generator})
        friends = build_friends(made, 1, 0)
        assert_symmetric(friends)
        graph = nx.Graph(zip(owners(friends.start).tolist(), friends.friend.tolist(), strict=True))
        return np.diff(friends.start).mean(), nx.average_clustering(graph)

    mean, triangles = clustering("clustered")
    assert abs(mean - 20) < 1
    assert triangles > 3 * clustering("configuration")[1]


def test_clustered_worlds_stay_small() -> None:
    with pytest.raises(InputError, match=r"generator = 'clustered': at most 5,000 users.*users = 5,001"):
        build_friends(workload(users=5001, friends={"generator": "clustered"}), 1, 0)


def test_an_edge_list_is_taken_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "edges.csv"
    file.write_text("user,friend\n3,1\n0,1\n1,3\n0,4\n")
    friends = build_friends(workload(users=5, friends={"file": str(file)}), 1, 0)
    assert friends.start.tolist() == [0, 2, 4, 4, 5, 6]
    assert friends.friend.tolist() == [1, 4, 0, 3, 1, 0]
    assert_symmetric(friends)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("user,freind\n0,1\n", "column 'friend' is missing; did you mean 'freind'"),
        ("user,friend\n0,5\n", "line 2: friend = '5': a whole number from 0 to 4"),
        ("user,friend\n0,1\n-1,2\n", "line 3: user = '-1'"),
        ("user,friend\n0,1.5\n", "friend = '1.5'"),
        ("user,friend\n0,nan\n", "friend = 'nan'"),
        ("user,friend\n0,\n", "friend = ''"),
        ("user,friend\n2,2\n", "line 2: user 2 is its own friend"),
        ("user,friend\n0,1,2\n", "another number of fields"),
        ("user,friend\n", "holds no rows"),
    ],
)
def test_a_wrong_edge_list_is_refused(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "edges.csv"
    file.write_text(content)
    with pytest.raises(InputError) as caught:
        build_friends(workload(users=5, friends={"file": str(file)}), 1, 0)
    assert said in str(caught.value)


def test_groups_have_the_wanted_sizes_and_members(large: Friends) -> None:
    start, member = build_groups(workload(users=30_000), large, 1, 0)
    sizes = np.diff(start)
    assert abs(len(member) / 30_000 - 3) < 0.05
    # Rounded to whole members, hence half a member more.
    assert abs(np.median(sizes) - 8) < 5 * 0.8 * 8 * math.sqrt(math.pi / 2 / len(sizes)) + 0.5
    keys = pair_keys(owners(start), member).astype(np.int64)
    assert (np.diff(keys) > 0).all(), "members ascending, each once"


def test_members_are_friends_of_the_seed_user() -> None:
    friends = build_friends(workload(users=3000), 1, 0)
    start, member = build_groups(workload(users=3000), friends, 1, 0)
    befriended = set(pair_keys(owners(friends.start), friends.friend).tolist())
    stars = 0
    for group in range(100):
        members = member[start[group]:start[group + 1]].tolist()
        stars += any(all(a == b or a << 32 | b in befriended for b in members) for a in members)
    assert stars >= 95  # some seed users have fewer friends than the group has members


def test_groups_of_nearly_everybody_are_filled() -> None:
    lonely = Friends(np.zeros(41, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))
    made = workload(users=40, groups={"size_median": 39.0, "size_sigma": 0.0, "per_user": 5.0})
    start, member = build_groups(made, lonely, 1, 0)
    assert np.diff(start).tolist() == [39] * 5
    assert len(set(pair_keys(owners(start), member).tolist())) == len(member)


def test_known_partners_have_the_wanted_mean_in_both_directions() -> None:
    friends = build_friends(workload(users=3000), 1, 0)
    partners = build_partners(friends, 14.6, 1, 0)
    assert abs(len(partners.known) / 3000 - 14.6) < 0.02 * 14.6
    assert len(known_pairs(partners)) * 2 == len(partners.known)
    user = owners(partners.known_start)
    forward, backward = pair_keys(user, partners.known), pair_keys(partners.known, user)
    assert set(forward.tolist()) == set(backward.tolist())
    assert set(forward.tolist()) <= set(pair_keys(owners(friends.start), friends.friend).tolist())


def test_stronger_friends_come_first() -> None:
    friends = build_friends(workload(users=2000), 1, 0)
    partners = build_partners(friends, 0.0, 1, 0)  # who is known stands first
    strength = dict(zip(pair_keys(owners(friends.start), friends.friend).tolist(), friends.strength, strict=True))
    firsts = [int(user) << 32 | int(partners.queue[partners.queue_start[user]])
              for user in range(2000) if partners.queue_start[user] < partners.queue_start[user + 1]]
    # The median tie is 1; the first of a race weighted by strength exp(1.5 z) has log-mean near 1.5**2.
    assert np.mean([math.log(strength[pair]) for pair in firsts]) > 1.0


def test_everybody_is_known_where_the_wanted_mean_is_above_all() -> None:
    friends = build_friends(workload(users=20), 1, 0)
    assert len(build_partners(friends, 100.0, 1, 0).known) == len(friends.friend)
    assert len(build_partners(friends, 0.0, 1, 0).known) == 0
