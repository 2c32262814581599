"""Study files: what is wrong with them, the points that they make, and the names that runs are known by."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chatsim.analysis import chat, recovery
from chatsim.engine import simulate
from chatsim.scenario import InputError, Scenario, load_scenario
from chatsim.scenario.files import data_folder
from chatsim.study import identity
from chatsim.study.figures import LISTS, WORDS, distinct, figures_of, known_figures
from chatsim.study.identity import model_version, needs_file, run_hash, scenario_body, world_key
from chatsim.study.plan import Range, Study, load_study, study_of
from chatsim.study.points import Plan, levels_of, make_plan
from chatsim.world import build_world
from tests.conftest import ROOT

SMALL = {"base": "go-chat", "set": ["workload.users=50", "workload.duration_s=60"]}

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"base": "hub", "replicatons": 3}, "unknown key 'replicatons'; did you mean 'replications'?"),
    "unknown key of a part": ({"base": "hub", "sampling": {"knd": "latin"}}, "unknown key 'sampling.knd'; did you mean 'kind'?"),
    "unknown key of precision": ({"base": "hub", "precision": {"relativ": 0.1}}, "unknown key 'precision.relativ'; did you mean 'relative'?"),
    "unknown key of a range": ({"base": "hub", "factors": {"design.gateways": {"from": 1, "to": 2, "step": 2}}}, "factors.design.gateways: unknown key 'step'; did you mean 'steps'?"),
    "nothing to study": ({}, "base is missing: a design or a file, or designs = [...] for several"),
    "base and designs": ({"base": "hub", "designs": ["go-chat"]}, "base = 'hub': designs are given too: one of the two is needed"),
    "unknown base": ({"base": "hubb"}, "'hubb': neither a file nor a shipped design; did you mean 'hub'?"),
    "no such file": ({"base": "gone.toml"}, "gone.toml: no such file"),
    "unknown workload": ({"base": "hub", "workload": "smal"}, "'smal': neither a file nor a shipped workload; did you mean 'small'?"),
    "unknown fault": ({"base": "hub", "faults": ["gateway-los"]}, "did you mean 'gateway-lost'?"),
    "faults as text": ({"base": "hub", "faults": "cold-cache"}, "faults = 'cold-cache': a list is needed"),
    "a wrong change": ({"base": "hub", "set": ["workload.usrs=3"]}, "unknown key 'workload.usrs'; did you mean 'users'?"),
    "no replications": ({"base": "hub", "replications": 0}, "replications = 0: at least 1 is needed"),
    "half a replication": ({"base": "hub", "replications": 1.5}, "replications = 1.5: a whole number is needed"),
    "seed as text": ({"base": "hub", "seed": "one"}, "seed = 'one': a whole number is needed"),
    "keep what": ({"base": "hub", "keep": "all"}, "keep = 'all': allowed: 'figures', 'raw'"),
    "unknown factor": ({"base": "go-chat", "factors": {"design.gatways": [1, 2]}}, "with design.gatways = 1: go-chat: unknown key 'design.gatways'; did you mean 'gateways'?"),
    "a wrong value of a factor": ({"base": "go-chat", "factors": {"design.gateways": [1, 2, 0]}}, "with design.gateways = 0: design.gateways = 0: at least 1 is needed"),
    "a value of the wrong type": ({"base": "go-chat", "factors": {"design.gateways": [2, 2.5]}}, "with design.gateways = 2.5: design.gateways = 2.5: a whole number is needed"),
    "a point that is none": ({"designs": ["go-chat", "hub"], "factors": {"design.gateways": [1, 2]}}, "with design = hub, design.gateways = 2: design.gateways = 2: routing = 'in_process' is one process"),
    "a factor of nothing": ({"base": "hub", "factors": {"design.gateways": []}}, "factors.design.gateways = []: a list of values is needed, or {from = 1, to = 9, steps = 5}"),
    "a factor of one value": ({"base": "hub", "factors": {"design.gateways": 3}}, "factors.design.gateways = 3: a list of values is needed"),
    "a list in a factor": ({"base": "hub", "factors": {"design.gateways": [[1]]}}, "factors.design.gateways: [1]: a number, a text, true or false is needed"),
    "a value twice": ({"base": "hub", "factors": {"design.gateways": [1, 2, 1]}}, "factors.design.gateways: 1 stands there twice: once is allowed"),
    "the seed as a factor": ({"base": "hub", "factors": {"seed": [1, 2]}}, "factors.seed: cannot be varied: replications have luck of their own already"),
    "a log as a factor": ({"base": "hub", "factors": {"workload.trace": ["a.csv"]}}, "factors.workload.trace: cannot be varied"),
    "factors as a list": ({"base": "hub", "factors": [1]}, "factors = [1]: a part with keys of its own is needed"),
    "a range without an end": ({"base": "hub", "factors": {"design.gateways": {"from": 1}}}, "factors.design.gateways: 'to' is missing"),
    "a range backwards": ({"base": "hub", "factors": {"design.gateways": {"from": 4, "to": 2, "steps": 3}}}, "to = 2: more than from = 4 is needed"),
    "a range of one": ({"base": "hub", "factors": {"design.gateways": {"from": 1, "to": 2, "steps": 1}}}, "steps = 1: at least 2 is needed"),
    "a range without steps": ({"base": "hub", "factors": {"design.gateways": {"from": 1, "to": 2}}}, "factors.design.gateways: steps is missing"),
    "a log range from nothing": ({"base": "hub", "factors": {"design.gateways": {"from": 0, "to": 2, "steps": 2, "scale": "log"}}}, "from = 0: scale = 'log' needs more than 0"),
    "a range of halves": ({"base": "hub", "factors": {"design.gateways": {"from": 1.5, "to": 4, "steps": 2}}}, "from = 1.5: a whole number is needed"),
    "a range of texts": ({"base": "hub", "factors": {"design.routing": {"from": 1, "to": 4, "steps": 2}}}, "a list of values is needed, as they are no numbers"),
    "an unknown scale": ({"base": "hub", "factors": {"design.gateways": {"from": 1, "to": 4, "scale": "lin"}}}, "scale = 'lin': allowed: 'linear', 'log'"),
    "an infinite end": ({"base": "hub", "factors": {"design.gateways": {"from": 1, "to": float("inf")}}}, "to = inf: a finite number is needed"),
    "an unknown kind of sampling": ({"base": "hub", "sampling": {"kind": "lhs"}}, "sampling.kind = 'lhs': allowed: 'grid', 'latin', 'sobol'"),
    "sobol without a number": ({"base": "hub", "sampling": {"kind": "sobol"}}, "sampling.points is missing: kind = 'sobol' needs a number"),
    "sobol without a power": ({"base": "hub", "sampling": {"kind": "sobol", "points": 100}}, "sampling.points = 100: sobol needs a power of 2, such as 128"),
    "a grid with a number": ({"base": "hub", "sampling": {"points": 4}}, "sampling.points = 4: a grid has all combinations"),
    "samples of nothing": ({"base": "hub", "sampling": {"kind": "latin", "points": 4}}, "sampling.kind = 'latin': nothing to sample: no factors are given"),
    "an unknown figure": ({"base": "hub", "precision": {"figure": "p98_ms"}}, "precision.figure: 'p98_ms' is no figure; did you mean 'p99_ms'?"),
    "no precision at all": ({"base": "hub", "precision": {"relative": 0.0}}, "precision.relative = 0.0: more than 0 is needed"),
    "fewer than at first": ({"base": "hub", "replications": 9, "precision": {"replications_max": 5}}, "precision.replications_max = 5: at least replications = 9 is needed"),
    "an SLO without a number": ({"base": "hub", "slos": ["p99_ms < fast"]}, "slos: slo = 'p99_ms < fast': 'fast' is no number"),
    "an SLO of nothing": ({"base": "hub", "slos": ["p99 < 200"]}, "slos: slo = 'p99 < 200': 'p99' is no figure; did you mean 'p99_ms'?"),
    "an SLO of no form": ({"base": "hub", "slos": ["p99_ms 200"]}, "slos: slo = 'p99_ms 200': a figure, one of <"),
    "too many points": ({"base": "hub", "factors": {"broker.push_us": {"from": 1, "to": 2, "steps": 1000}, "broker.tick_us": {"from": 1, "to": 2, "steps": 1000}}}, "1000 x 1000 = 1,000,000 points: at most 100,000 are allowed; sampling.kind = 'latin', 'sobol' takes fewer"),
    "too many samples": ({"base": "hub", "sampling": {"kind": "latin", "points": 200_000}}, "sampling.points = 200000: at most 100,000 is allowed"),
    "too many runs": ({"base": "hub", "replications": 100_000, "factors": {"broker.push_us": {"from": 1, "to": 2, "steps": 11}}}, "11 points x 100,000 replications: at most 1,000,000 runs are allowed"),
    "designs on other traces": ({"designs": ["go-chat", "other.toml"]}, "designs: 'go-chat' and 'other' differ in workload.users (5000 and 77): designs are compared on the same trace; make it equal, or give a workload for all"),
    "a design twice": ({"designs": ["hub", "hub"]}, "two designs have the name 'hub'"),
    "a name of nothing": ({"base": "hub", "name": ""}, "name = '': a text is needed"),
}  # fmt: skip


def plan_of(table: dict[str, Any], folder: Path) -> Plan:
    return make_plan(study_of(table, "s.toml"), folder, "s.toml")


def factors(**said: Any) -> dict[str, Any]:
    return {**SMALL, "factors": {key.replace("__", "."): value for key, value in said.items()}}


@pytest.mark.parametrize(("table", "phrase"), WRONG.values(), ids=WRONG)
def test_a_wrong_study_is_refused_in_one_line(table: dict[str, Any], phrase: str, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text('extends = "go-chat"\nname = "other"\n[workload]\nusers = 77\n')
    with pytest.raises(InputError) as caught:
        plan_of(table, tmp_path)
    said = str(caught.value)
    assert said.startswith("s.toml: ")
    assert phrase in said
    assert "\n" not in said
    assert len(said) < 500


def test_a_grid_has_all_combinations_the_last_factor_fastest(tmp_path: Path) -> None:
    plan = plan_of({**factors(design__gateways=[2, 4], friend_list__limit=[5, 9]), "base": "", "designs": ["go-chat", "room-channel"]}, tmp_path)
    assert plan.factors == ("design", "design.gateways", "friend_list.limit")
    assert len(plan.points) == 8
    assert [plan.label(number) for number in (0, 1, 7)] == [
        "design = go-chat, design.gateways = 2, friend_list.limit = 5",
        "design = go-chat, design.gateways = 2, friend_list.limit = 9",
        "design = room-channel, design.gateways = 4, friend_list.limit = 9",
    ]
    last = plan.scenario(7)
    assert (last.name, last.design.gateways, last.friend_list.limit, last.workload.users) == ("room-channel", 4, 9, 50)
    assert last.design.routing == load_scenario("room-channel").design.routing


def test_a_study_without_factors_has_one_point(tmp_path: Path) -> None:
    plan = plan_of(dict(SMALL), tmp_path)
    assert plan.points == ({},)
    assert plan.label(0) == "go-chat"


def test_a_base_need_be_a_scenario_only_with_its_factors(tmp_path: Path) -> None:
    plan = plan_of({**factors(design__gateways=[1]), "set": ["design.routing=in_process", "presence.show_to=none"]}, tmp_path)
    assert plan.scenario(0).design.routing == "in_process"


def test_ranges_stay_whole_where_the_key_is() -> None:
    def levels(whole: bool, **said: Any) -> tuple[Any, ...]:
        return levels_of(Range.model_validate({"from": said.pop("start"), **said}), whole)

    assert levels(True, start=2, to=32, steps=5, scale="log") == (2, 4, 8, 16, 32)
    assert levels(True, start=1, to=4, steps=100) == (1, 2, 3, 4)
    assert levels(False, start=1, to=100, steps=3, scale="log") == (1.0, 10.0, 100.0)
    assert all(type(value) is float for value in levels(False, start=1, to=2, steps=2))


def test_factors_without_quotes_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('base = "hub"\n[factors]\nfriend_list.limit = [5, 9]\nbroker.push_us = { from = 1, to = 2, steps = 2 }\n')
    (tmp_path / "t.toml").write_text('base = "hub"\n[factors]\n"friend_list.limit" = [5, 9]\n[factors."broker.push_us"]\nfrom = 1\nto = 2\nsteps = 2\n')
    assert load_study(tmp_path / "s.toml").factors == load_study(tmp_path / "t.toml").factors


@pytest.mark.parametrize("kind", ["latin", "sobol"])
def test_samples_are_the_same_each_time_and_fill_the_space(kind: str, tmp_path: Path) -> None:
    said = factors(
        database__insert_us={"from": 500, "to": 5000, "scale": "log"}, design__gateways={"from": 1, "to": 4},
        friend_list__policy=["recent", "frequent"],
    )  # fmt: skip
    said["sampling"] = {"kind": kind, "points": 64}
    plan = plan_of(said, tmp_path)
    assert plan.points == plan_of(said, tmp_path).points
    assert plan.points == plan_of({**said, "seed": 1}, tmp_path).points  # the design's own
    assert plan.points != plan_of({**said, "seed": 2}, tmp_path).points
    costs = np.array([float(point["database.insert_us"]) for point in plan.points])
    # One sample in each 64th of the logarithm (latin), or one in each with scrambled nets in base 2 (sobol): exact.
    places = np.floor(64 * np.log(costs / 500) / np.log(10)).astype(int)
    assert sorted(places) == list(range(64))
    counts = [sum(point["design.gateways"] == gateways for point in plan.points) for gateways in (1, 2, 3, 4)]
    assert counts == [16, 16, 16, 16]
    assert sum(point["friend_list.policy"] == "recent" for point in plan.points) == 32


def test_samples_that_are_equal_come_once(tmp_path: Path) -> None:
    said = {**factors(design__gateways=[2, 3]), "sampling": {"kind": "latin", "points": 50}}
    assert sorted(point["design.gateways"] for point in plan_of(said, tmp_path).points) == [2, 3]


def test_files_lie_beside_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, elsewhere = tmp_path / "studies", tmp_path / "elsewhere"
    for folder in (place, elsewhere):
        folder.mkdir()
    (place / "mine.toml").write_text('extends = "go-chat"\n[design]\ngateways = 7\n')
    (place / "load.toml").write_text("[workload]\nusers = 33\n")
    (place / "broken.toml").write_text('[[faults]]\nkind = "cache_emptied"\nat_s = 5.0\n')
    (place / "log.csv").write_text("time,sender,recipient\n1,a,b\n2,b,a\n")
    monkeypatch.chdir(elsewhere)
    said = {"base": "mine.toml", "workload": "load.toml", "faults": ["broken.toml", "cold-cache"], "set": ["workload.trace='log.csv'"]}
    scenario = plan_of(said, place).scenario(0)
    assert (scenario.name, scenario.design.gateways, scenario.workload.users) == ("mine", 7, 33)
    assert len(scenario.faults) == 2
    assert Path(scenario.workload.trace).resolve() == place / "log.csv"


@pytest.mark.parametrize("name", sorted(path.stem for path in (data_folder() / "studies").glob("*.toml")))
def test_shipped_studies_are_right(name: str) -> None:
    path = data_folder() / "studies" / f"{name}.toml"
    study = load_study(path)
    assert study.name == name
    assert study.about
    assert study.objectives()
    assert len(make_plan(study, path.parent, name).points) > 1


def test_what_is_written_down_makes_the_same_runs(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("time,sender,recipient\n1,a,b\n2,b,a\n")
    said = {
        "designs": ["go-chat", "room-channel"], "set": [f"workload.trace='{tmp_path / 'log.csv'}'"], "faults": ["cold-cache"], "seed": 7,
        "factors": {"broker.push_us": {"from": 1, "to": 9, "scale": "log"}, "friend_list.policy": ["recent", "all"], "design.receipts": [True, False]},
        "sampling": {"kind": "sobol", "points": 8}, "precision": {"relative": 0.1}, "slos": ["p99_ms < 200"], "name": "odd name / é",
    }  # fmt: skip
    plan = plan_of(said, tmp_path)
    out = tmp_path / "results" / "out"
    (out / "bases").mkdir(parents=True)
    for name, text in plan.normalised(out).items():
        (out / name).write_text(text, encoding="utf-8")
    again = make_plan(load_study(out / "study.toml"), out, "study.toml")
    assert again.points == plan.points
    assert [scenario_body(again.scenario(number)) for number in range(8)] == [scenario_body(plan.scenario(number)) for number in range(8)]
    assert again.normalised(out) == plan.normalised(out)
    assert again.study.objectives() == plan.study.objectives()
    assert again.study.precision == plan.study.precision


# --------------------------------------------------------------------------- who is who


def tiny(*changes: str) -> Scenario:
    return load_scenario("go-chat", ["workload.users=50", "workload.duration_s=60", *changes])


def test_a_run_is_known_by_all_that_it_depends_on() -> None:
    body = scenario_body(tiny())
    known = run_hash(body, 0, "m")
    assert known == run_hash(scenario_body(tiny("name=other", "about=text")), 0, "m")
    assert set(Scenario.model_fields) - set(json.loads(body)) == set(identity.NO_PART)
    others = [
        run_hash(body, 1, "m"), run_hash(body, 0, "n"), run_hash(scenario_body(tiny("seed=2")), 0, "m"),
        run_hash(scenario_body(tiny("broker.push_us=0.36")), 0, "m"), run_hash(scenario_body(tiny("workload.drain_s=6.0")), 0, "m"),
    ]  # fmt: skip
    assert len({known, *others}) == 6


def test_the_hash_of_a_run_is_the_same_everywhere() -> None:
    # printf '{"model":"abc","replication":3,"scenario":{"seed":1}}' | sha256sum
    assert run_hash('{"seed":1}', 3, "abc") == "777f73187cf2f92b891c0656919268bcf0aa19e2c70f0937eba90e956ddd3542"


@pytest.mark.parametrize(("key", "text"), [
    ("workload.trace", "time,sender,recipient\n1,a,b\n"), ("workload.friends.file", "user,friend\n0,1\n"),
])  # fmt: skip
def test_files_count_by_content_and_not_by_name(key: str, text: str, tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(text)
    first, second = (tiny(f"{key}='{tmp_path / name}'") for name in ("a.csv", "b.csv"))
    assert needs_file(first)
    assert scenario_body(first) == scenario_body(second)
    assert world_key(first, 0) == world_key(second, 0)
    (tmp_path / "b.csv").write_text(f"{text} ")
    assert scenario_body(first) != scenario_body(second)
    assert world_key(first, 0) != world_key(second, 0)
    (tmp_path / "b.csv").unlink()
    with pytest.raises(InputError, match=r"b\.csv: cannot be read: No such file"):
        scenario_body(second)


def test_worlds_differ_by_workload_seed_and_replication_alone() -> None:
    known = world_key(tiny(), 0)
    assert known == world_key(tiny("design.gateways=9", "broker.push_us=1.0"), 0)
    assert len({known, world_key(tiny(), 1), world_key(tiny("seed=2"), 0), world_key(tiny("workload.drain_s=6.0"), 0)}) == 4
    assert not needs_file(tiny())


def test_the_model_changes_with_each_of_its_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "chatsim", tmp_path / "chatsim", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(identity, "__file__", str(tmp_path / "chatsim" / "study" / "identity.py"))
    fresh = model_version.__wrapped__
    seen = [fresh()]
    for name in ("engine/journey.py", "world/draws.py", "rules/routing.py", "scenario/models.py", "analysis/latency.py", "study/figures.py"):
        with (tmp_path / "chatsim" / name).open("a") as file:
            file.write("# \n")
        seen.append(fresh())
    (tmp_path / "chatsim" / "engine" / "more.pyx").write_text("")
    seen.append(fresh())
    assert len(set(seen)) == len(seen)
    for name in ("analysis/slos.py", "report/terminal.py", "study/execute.py"):
        with (tmp_path / "chatsim" / name).open("a") as file:
            file.write("# \n")
    (tmp_path / "chatsim" / "engine" / "__pycache__").mkdir()
    (tmp_path / "chatsim" / "engine" / "__pycache__" / "more.pyc").write_text("")
    assert fresh() == seen[-1]


def test_the_model_has_all_that_figures_come_from() -> None:
    """Modules that the figures import, directly or not, are whole floors of the model, or listed. (The face of
    ``analysis`` itself imports all of that floor: what is taken from there is looked up where it is defined.)"""
    package = ROOT / "chatsim"
    face = {
        alias.name: node.module
        for node in ast.parse((package / "analysis" / "__init__.py").read_text()).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    seen: set[str] = set()
    todo = ["chatsim.study.figures"]
    while todo:
        module = todo.pop()
        if module in seen:
            continue
        seen.add(module)
        path = package.parent / f"{module.replace('.', '/')}.py"
        for node in ast.walk(ast.parse(path.read_text())) if path.is_file() else ():
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("chatsim"):
                names = [face[alias.name] for alias in node.names] if node.module == "chatsim.analysis" else [node.module]
                todo += [str(name) for name in names]
    needed = {name.removeprefix("chatsim.").replace(".", "/") + ".py" for name in seen}
    needed = {name for name in needed if name.split("/")[0].removesuffix(".py") not in identity.FLOORS}
    assert needed - {"study/store.py"} == set(identity.MODULES)  # of the store only how files are packed


# --------------------------------------------------------------------------- figures


def test_all_figures_are_known(tmp_path: Path) -> None:
    changes = [
        "friend_list.policy=recent", "presence.show_to=list", "design.offline=push", "design.rooms=personal", "design.membership=broker",
        "design.receipts=true", "workload.spam.share=0.05", "workload.intruders.share=0.05", "workload.relations.ends_per_day=5",
    ]  # fmt: skip
    scenario = load_scenario("go-chat", ["workload.users=100", "workload.duration_s=120", *changes], faults=["redis-failover-5s"])
    outcome = simulate(scenario, build_world(scenario))
    found = figures_of(outcome)
    assert set(found) == {*known_figures(), *WORDS}
    names = [f"{part.replace(' ', '_')}_{name}" for part, name in zip(*(chat(outcome)[column] for column in ("part", "figure")), strict=True)]
    assert len(set(names) & set(recovery(outcome).index)) == 0
    assert not set(LISTS) & set(found)


def test_latencies_are_kept_to_three_digits() -> None:
    draws = np.random.default_rng(1).lognormal(3.0, 2.0, 20_000)
    values, count = distinct(draws)
    assert count.sum() == 20_000
    assert len(values) == len(np.unique(values))
    assert np.all(np.diff(values) > 0)
    assert values.tolist() == [float(f"{value:.3g}") for value in values]
    again = np.sort(np.repeat(values, count))
    assert np.max(np.abs(again / np.sort(draws) - 1)) <= 0.005 + 1e-12
    assert distinct([])[0].tolist() == []
    values, count = distinct([999.6, 1000.4, 0.09996])
    assert (values.tolist(), count.tolist()) == ([0.1, 1000.0], [1, 2])


def test_a_study_is_frozen() -> None:
    study = study_of({"base": "hub"})
    assert isinstance(study, Study)
    with pytest.raises(ValueError, match="frozen"):
        study.seed = 3  # type: ignore[misc]
