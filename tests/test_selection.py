"""The best of several designs, and the front of several aims: by hand, against another program, and by how often."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsim.analysis.columns import Floats
from chatsim.analysis.selection import Selection, best_of, pareto
from chatsim.scenario import InputError
from tests.test_experiments import least


def fed(rows: Sequence[Sequence[float]]) -> Any:
    return lambda systems, replication: [rows[replication][system] for system in systems]


def test_kn_by_hand() -> None:
    # differences 0, 0.2, 0.1: S^2 = 0.01, h^2 = 2 (0.1^-1 - 1) = 18, W = 0.1 / 6 (18 - 3) = 0.25 for means 0.1 apart;
    # then 0.9: means are 0.3 apart. KN: W = 0.1 / 8 (18 - 4) = 0.175. KN++: S^2 = 1/6, h^2 = 3 (0.1^(-2/3) - 1), W = 2.23
    rows = [(0.0, 0.0), (1.0, 1.2), (5.0, 5.1), (2.0, 2.9)]
    found = {update: Selection(2, 0.1, 0.05, 3, update=update) for update in (False, True)}
    for race in found.values():
        for row in rows[:3]:
            race.take(row)
        assert race.survivors == (0, 1)
        race.take(rows[3])
    assert found[False].survivors == (0,)
    assert found[True].survivors == (0, 1)
    assert found[False].result == (0, True, (0,), (4, 4), (2.0, pytest.approx(2.3)))


@pytest.mark.parametrize(("beyond", "dropped"), [(-1e-6, False), (1e-6, True)])
def test_kn_drops_just_beyond_what_is_allowed(beyond: float, dropped: bool) -> None:
    # S^2 = 0.01 of differences 0, 0.2, 0.1 as above; delta = 0.08: W = 0.08 / 8 (18 x 0.01 / 0.0064 - 4) at the fourth
    allowed = 0.08 / 8 * (18 * 0.01 / 0.0064 - 4)
    fourth = 4 * (allowed + beyond) - 0.3
    race = Selection(2, 0.08, 0.05, 3, update=False)
    for row in [(0.0, 0.0), (1.0, 1.2), (5.0, 5.1), (2.0, 2.0 + fourth)]:
        race.take(row)
    assert race.done is dropped


def test_independent_systems_share_the_error_by_their_own_formula() -> None:
    # variances 1 and 1 of values that go up together: with CRN the difference has none and the second is dropped at once;
    # without, S^2 = 2, beta = 1 - 0.95 = 0.05, h^2 = 18, W = 1 / 6 (36 - 3) = 5.5
    rows = [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]
    with_crn, without = Selection(2, 1.0, 0.05, 3), Selection(2, 1.0, 0.05, 3, crn=False)
    for row in rows:
        with_crn.take(row)
        without.take(row)
    assert (with_crn.survivors, without.survivors) == ((0,), (0, 1))
    # h^2 at k = 3 for independent systems: 2 beta = 2 (1 - sqrt(0.95)), 0.0506; h^2 = 2 (1 / 0.05064 - 1) = 37.49
    race = Selection(3, 1.0, 0.05, 3, crn=False)
    w = 1 / 6 * (2 * (1 / (2 * (1 - math.sqrt(0.95))) - 1) * 2 - 3)
    for row in rows:
        race.take((*row, row[0] + w - 1e-6))
    assert race.survivors == (0, 1, 2)
    race = Selection(3, 1.0, 0.05, 3, crn=False)
    for row in rows:
        race.take((*row, row[0] + w + 1e-6))
    assert race.survivors == (0, 1)


def test_the_largest_is_the_smallest_of_the_opposites() -> None:
    rows = np.random.default_rng(9).normal([0.0, 1.0, 2.0], 1.0, (500, 3))
    smallest = best_of(fed(rows.tolist()), 3, 0.5)
    largest = best_of(fed((-rows).tolist()), 3, 0.5, smallest=False)
    assert smallest.best == largest.best == 0
    assert smallest.observations == largest.observations
    assert smallest.means == pytest.approx([-mean for mean in largest.means])


def test_who_is_asked_for_what() -> None:
    asked: list[tuple[tuple[int, ...], int]] = []

    def observe(systems: Sequence[int], replication: int) -> list[float]:
        asked.append((tuple(systems), replication))
        return [(0.0, 0.1 * (-1) ** replication, 100.0)[system] for system in systems]

    found = best_of(observe, 3, delta=1e-3, first_stage=4, most=20)
    assert not found.decided
    assert found.survivors == (0, 1)
    assert found.observations == (20, 20, 4)
    assert asked == [((0, 1, 2), place) for place in range(4)] + [((0, 1), place) for place in range(4, 20)]


def test_twins_under_common_random_numbers_end() -> None:
    luck = np.random.default_rng(10)

    def observe(systems: Sequence[int], replication: int) -> Floats:
        return np.full(len(systems), luck.normal())

    found = best_of(observe, 4, delta=0.1)
    assert (found.best, found.decided, found.observations) == (0, True, (10, 10, 10, 10))


def test_one_alone_is_the_best_at_once() -> None:
    assert best_of(fed([]), 1, 0.1).best == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"k": 0}, "k = 0"),
        ({"delta": 0.0}, "delta = 0.0"),
        ({"alpha": 0.5}, "alpha = 0.5"),
        ({"alpha": 0.0}, "alpha = 0.0"),
        ({"first_stage": 1}, "first_stage = 1"),
    ],
)
def test_what_a_selection_cannot_be(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        best_of(fed([]), **{"k": 2, "delta": 1.0, **wrong})


def test_what_is_no_observation() -> None:
    race = Selection(2, 1.0)
    with pytest.raises(ValueError, match="2 observations are needed"):
        race.take([1.0])
    with pytest.raises(InputError, match="replication 0 of system 1 has no value"):
        race.take([1.0, math.nan])


def correctly_selected(luck: np.random.Generator, tries: int, k: int, common: float, first_stage: int, **rules: bool) -> int:
    """In how many tries the best of k normal systems is found, the others all worse by exactly delta = 1, sd 3.

    ``common`` is the share of the variance that all have in common.
    """
    mean = np.where(np.arange(k) == 0, 0.0, 1.0)
    right = 0
    for _ in range(tries):
        race = Selection(k, 1.0, 0.05, first_stage, **rules)
        while not race.done:
            own, shared = luck.standard_normal((64, k)), luck.standard_normal((64, 1))
            rows = mean + 3 * (math.sqrt(1 - common) * own + math.sqrt(common) * shared)
            for row in rows:
                race.take(row[list(race.survivors)])
                if race.done:
                    break
        right += race.survivors == (0,)
    return right


@pytest.mark.parametrize("crn", [False, True])
def test_the_best_is_found_as_often_as_promised(crn: bool) -> None:
    """KN in 400 races of 3, with 95 %, but for one time in a million."""
    right = correctly_selected(np.random.default_rng(11), 400, 3, 0.5 if crn else 0.0, 10, crn=crn, update=False)
    assert right >= least(400, 0.95)


def test_kn_against_another_program() -> None:
    """The same systems are dropped after the same observations as sim-tools' KN++ drops them, in 40 races.

    It takes one more of the winner before it looks who is left. Values are above 0, and delta far below the distances:
    its variances are wrong below 0, and it may drop all where W would be below 0.
    """
    theirs = pytest.importorskip("sim_tools.ovs.indifference_zone", reason="sim-tools is not installed: nothing to compare with")

    class Model:
        def __init__(self, rows: Floats) -> None:
            self.rows = rows

        def register_observer(self, observer: Any) -> None:
            self.observer, self.places = observer, [count() for _ in range(self.rows.shape[1])]

        def simulate(self, design: int) -> None:
            self.observer.feedback(self, design, self.rows[next(self.places[design]), design])

    luck = np.random.default_rng(12)
    for _ in range(40):
        k = int(luck.integers(2, 7))
        rows = luck.normal(100.0 + luck.permutation(k), luck.uniform(0.5, 2.0, k), (3000, k))
        other = theirs.KNPlusPlus(Model(rows), k, 0.3, 0.05, 10)
        survivors = [int(system) for system in other.solve()]
        found = best_of(fed(rows.tolist()), k, 0.3, 0.05, 10, smallest=False, crn=False)
        assert list(found.survivors) == survivors
        assert list(found.observations) == [n - (place == found.best) for place, n in enumerate(other._allocations)]


# --------------------------------------------------------------------------- several aims


def test_the_front_by_hand() -> None:
    table = pd.DataFrame(
        {"p99_ms": [10.0, 20.0, 30.0, 20.0, math.nan], "gateways": [4, 2, 3, 2, 1], "carried_per_s": [5.0, 5.0, 9.0, 5.0, 9.0]},
        index=list("abcde"),
    )
    assert pareto(table, minimise=["p99_ms", "gateways"]).index.tolist() == ["a", "b", "d"]
    assert pareto(table, minimise=["p99_ms"]).index.tolist() == ["a"]
    assert pareto(table, minimise=["p99_ms"], maximise=["carried_per_s"]).index.tolist() == ["a", "c"]
    with pytest.raises(InputError, match="figure 'p99' is unknown; did you mean 'p99_ms'"):
        pareto(table, minimise=["p99"])
    with pytest.raises(InputError, match="at least one figure"):
        pareto(table)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6)), max_size=25))
def test_the_front_beats_all_others_and_none_of_its_own(rows: list[tuple[int, int, int]]) -> None:
    table = pd.DataFrame(rows, columns=["a", "b", "c"], dtype=float)
    front = set(pareto(table, minimise=["a", "b"], maximise=["c"]).index)

    costs = [(a, b, -c) for a, b, c in rows]
    for place, cost in enumerate(costs):
        beaten_by = {o for o, other in enumerate(costs) if other != cost and all(x <= y for x, y in zip(other, cost, strict=True))}
        assert (place in front) == (not beaten_by)
        assert place in front or beaten_by & front
