"""The compiled engine against SimPy's where things break: the presets of faults, and the studies that are shipped with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chatsim.engine.compiled.coverage import missing
from chatsim.scenario import Scenario, load_scenario, preset_names
from chatsim.scenario.files import data_folder, read_toml
from chatsim.scenario.load import validate
from chatsim.study.plan import load_study
from chatsim.study.points import make_plan
from chatsim.world import build_world
from tests.test_compiled import check_equal
from tests.worlds import ALWAYS, scenario, world

STUDIES = sorted(path.stem for path in (data_folder() / "studies").glob("*.toml"))
BREAKING = [name for name in STUDIES if "faults" in read_toml(data_folder() / "studies" / f"{name}.toml")]
DESIGN_OF = {"shard-lost": "socketio-sharded"}


@pytest.mark.parametrize("name", preset_names("faults"))
def test_presets_of_faults_have_equal_outcomes(name: str) -> None:
    """Of 60 s into the run, as most of them are: with enough people that each fault strikes something under way."""
    design = DESIGN_OF.get(name, "go-chat-v2")
    table = load_scenario(design, ["workload.users=300", "workload.duration_s=120", "push.after_min=0.3"], faults=[name])
    assert missing(table) == ()
    outcome = check_equal(table, build_world(table), f"{name} on {design}")
    assert len(outcome.faults["start_s"]) > 0


@pytest.mark.parametrize("many", [1, 50])
def test_ticks_that_are_taken_bit_by_bit_are_the_same(many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where gateways die in the midst of ticks, which then end sooner than was noted when they began."""
    monkeypatch.setattr("chatsim.engine.compiled.run.STEPS", 97)
    monkeypatch.setattr("chatsim.engine.compiled.ticks.MANY", many)
    costly = ["gateway.tick_us=30000", "gateway.receive_us=3000", "workload.users=300", "workload.duration_s=120",
              "workload.conversations.messages_per_day=20000", "workload.sessions.per_day=100"]
    chosen = load_scenario("room-channel", costly, faults=["half-the-gateways"])
    ticks = check_equal(chosen, build_world(chosen), "ticks bit by bit").ticks
    assert len(ticks["start_s"]) > 1000
    died = np.isin(np.round(ticks["end_s"], 9), [fault.at_s for fault in chosen.faults])
    assert died.any()


def test_gateways_that_come_and_go_with_the_load_have_equal_outcomes() -> None:
    sets = ["workload.users=300", "workload.duration_s=120", "design.gateways=4", "scaling.start=2", "scaling.check_s=3"]
    sets += ["scaling.delay_s=2", "scaling.grace_s=2", "scaling.up_above=0.0002", "scaling.down_below=0.0001"]
    chosen = load_scenario("room-channel", sets)
    table = check_equal(chosen, build_world(chosen), "scaling").faults
    assert (table["start_s"] > 0).any()
    assert np.isfinite(table["end_s"]).any()


def small(chosen: Scenario) -> Scenario:
    """A design point with a fiftieth of its people, who write as much, and just as long."""
    table = chosen.model_dump()
    table["workload"]["users"] = max(100, table["workload"]["users"] // 50)
    return validate(table)


def points_of(name: str) -> list[Scenario]:
    """The scenarios of a shipped study."""
    plan = make_plan(load_study(data_folder() / "studies" / f"{name}.toml"), Path(), name)
    return [plan.scenario(point) for point in range(len(plan.points))]


def test_a_broker_that_loses_who_is_in_rooms_has_equal_outcomes_where_nobody_enters_one() -> None:
    """Then rooms have no records, and so nothing of them can be thrown away."""
    people = world([(0, *ALWAYS), (1, *ALWAYS), (2, 0.5, 3.0), (2, 4.0, 9.0)], [[0, 1, 2], [0, 1]], [(1.0 + 0.1 * n, n % 2, n % 2) for n in range(60)])
    chosen = scenario(
        design={"routing": "user", "membership": "broker"},
        faults=[{"kind": "broker_down", "at_s": 2.0, "for_s": 1.0, "stations": ["broker-*"], "keeps_data": False}],
    )
    check_equal(chosen, people, "a broker loses who is in rooms")


def test_the_studies_of_faults_are_found() -> None:
    assert {"deploy", "failover", "reconnects"} <= set(BREAKING)


@pytest.mark.parametrize("name", BREAKING)
def test_shipped_studies_of_faults_have_equal_outcomes_with_fewer_people(name: str) -> None:
    for point, chosen in enumerate(points_of(name)):
        scaled = small(chosen)
        check_equal(scaled, build_world(scaled), f"{name}, point {point}, with fewer people")


@pytest.mark.long
@pytest.mark.parametrize("name", [*BREAKING, "slow-consumers"])
def test_shipped_studies_of_faults_have_equal_outcomes(name: str) -> None:
    """Each design point as it is shipped, in its first replication."""
    for point, chosen in enumerate(points_of(name)):
        check_equal(chosen, build_world(chosen), f"{name}, point {point}")
