"""A run that is given away in parts against the same run kept whole: the same messages, rows and ticks, and figures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, seed, settings

from chatsim import analysis
from chatsim.analysis.digest import Digest
from chatsim.engine import Fate, Outcome, simulate, simulate_in_parts
from chatsim.engine.compiled import feed, parts, run, ticks
from chatsim.engine.compiled.coverage import kept_whole
from chatsim.scenario import Scenario, load_scenario, preset_names
from chatsim.world import build_world
from chatsim.world.tables import World
from tests.test_compiled import QUIET, any_scenarios, any_worlds

OF_MESSAGES = ("time_s", "sender", "room", "gateway", "received_s", "stored_s", "routed_s", "done_s", "pushes", "discards", "fate", "cause")
OF_ROWS = ("recipient", "gateway", "fate", "cause", "local", "written_s", "time_s")


@pytest.fixture(autouse=True, scope="module")
def _small_parts() -> Iterator[None]:
    """A part as soon as anything is done, looked at every few events."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "ROWS_OF_PART", 1)
        patch.setattr(run, "STEPS", 40)
        patch.setattr(feed, "SLICE", 3)
        patch.setattr(ticks, "MANY", 1)
        yield


def in_parts(chosen: Scenario, people: World) -> list[Outcome]:
    """The parts of a run."""
    found: list[Outcome] = []
    simulate_in_parts(chosen, people, found.append)
    return found


def rows_of(table: dict[str, Any], message: Any) -> Counter[Any]:
    """Deliveries as a bag of rows, NaN as None."""
    columns = [message.tolist(), *(table[name].tolist() for name in OF_ROWS)]
    clean = [[None if isinstance(value, float) and math.isnan(value) else value for value in column] for column in columns]
    return Counter(zip(*clean, strict=True))


def check_same(chosen: Scenario, people: World) -> int:
    """The parts of a run hold what the whole run does; how many there were."""
    whole, found = simulate(chosen, people, engine="compiled"), in_parts(chosen, people)
    assert sum(len(part.messages["time_s"]) for part in found) == len(people.messages)
    for name in OF_MESSAGES:
        assert np.array_equal(np.concatenate([part.messages[name] for part in found]), whole.messages[name], equal_nan=whole.messages[name].dtype.kind == "f")
    for name, column in whole.ticks.items():
        assert np.array_equal(np.concatenate([part.ticks[name] for part in found]), column)
    rows, first = Counter[Any](), 0
    for part in found:
        rows += rows_of(part.deliveries, part.deliveries["message"] + first)
        first += len(part.messages["time_s"])
    wanted = rows_of(whole.deliveries, whole.deliveries["message"])
    gone, come = rows - wanted, wanted - rows
    taken = [(int(one), int(two)) for part in found for one, two in zip(part.later["message"][part.later["first"]], part.later["recipient"][part.later["first"]], strict=True)]
    # what is there too much was in store, and was read in a later part; what is missing came to a session later
    assert Counter((row[0], row[1]) for row in gone.elements()) == Counter(taken)
    assert all(row[3] == Fate.STORED for row in gone)
    later = Counter[Any]()
    for part in found:
        later.update(zip(*(part.later[name].tolist() for name in ("message", "recipient", "fate", "cause")), strict=True))
    assert later == Counter((row[0], row[1], row[3], row[4]) for row in come.elements())
    assert found[-1].work.tolist() == whole.work.tolist()
    assert np.array_equal(found[-1].sessions["online_s"], whole.sessions["online_s"], equal_nan=True)
    check_figures(chosen, people, whole, found)
    return len(found)


def check_figures(chosen: Scenario, people: World, whole: Outcome, found: list[Outcome]) -> None:
    """The figures of the parts are those of the run."""
    digest = Digest(chosen, people)
    for part in found:
        digest.take(part)
    assert digest.fates().to_dict("records") == analysis.fates(whole).to_dict("records")
    compared = (digest.summary().to_dict(), analysis.summary(whole).to_dict())
    for name, value in compared[1].items():
        found_value = compared[0][name]
        if isinstance(value, float) and name.startswith("p"):
            assert found_value == pytest.approx(value, rel=5e-4, nan_ok=True), name
        elif isinstance(value, float):
            assert found_value == pytest.approx(value, rel=1e-9, nan_ok=True), name
        elif name not in ("overloaded", "busiest_tier"):
            assert found_value == value, name
    tiers = analysis.tiers(whole)
    for name in tiers.columns[1:]:
        assert digest.tiers()[name].tolist() == pytest.approx(tiers[name].tolist(), rel=1e-9, nan_ok=True), name


any_run = given(any_scenarios.filter(lambda chosen: not kept_whole(chosen)), any_worlds)


@settings(max_examples=40, deadline=None, suppress_health_check=QUIET, print_blob=True, phases=[Phase.reuse, Phase.generate])
@any_run
def test_random_runs_in_parts_are_the_same(chosen: Scenario, people: World) -> None:
    check_same(chosen, people)


@pytest.mark.long
@pytest.mark.parametrize("number", range(10))
def test_a_thousand_random_runs_in_parts_are_the_same(number: int) -> None:
    @seed(number)
    @settings(max_examples=100, deadline=None, suppress_health_check=QUIET, database=None)
    @any_run
    def check(chosen: Scenario, people: World) -> None:
        check_same(chosen, people)

    check()


@pytest.mark.parametrize("name", preset_names())
def test_designs_in_parts_are_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "ROWS_OF_PART", 300)
    monkeypatch.setattr(run, "STEPS", 2000)
    chosen = load_scenario(name, ["workload.users=150", "workload.duration_s=14400", "workload.conversations.messages_per_day=100"])
    assert check_same(chosen, build_world(chosen)) > 3
