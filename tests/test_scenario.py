"""Scenarios: presets, files on files, changes, the schema, and the starting file."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from chatsim.scenario import InputError, Scenario, load_scenario, preset_names, to_toml
from chatsim.scenario.faults import FAULTS
from chatsim.scenario.files import data_folder
from chatsim.scenario.guide import json_schema, starting_file, unit_of
from chatsim.scenario.keys import Kind

TEN = {
    "hub",
    "global-channel",
    "go-chat",
    "go-chat-v2",
    "socketio-classic",
    "socketio-sharded",
    "centrifugo",
    "phoenix",
    "room-channel",
    "directory",
}


def parts_of(model: type[BaseModel]) -> list[type[BaseModel]]:
    """A model and all models inside it."""
    found = [model, *(FAULTS.values() if model is Scenario else ())]
    for field in model.model_fields.values():
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                found += parts_of(inner)
    return found


def refusal(change: str) -> str | None:
    """What is said about a change; None where it is taken."""
    try:
        load_scenario("go-chat", [change])
    except InputError as error:
        return str(error)
    return None


def test_the_ten_designs_are_shipped() -> None:
    assert set(preset_names()) == TEN


@pytest.mark.parametrize("name", sorted(TEN))
def test_a_shipped_design_says_what_it_is(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.name == name
    assert 20 <= len(scenario.about) <= 160


def test_shipped_designs_share_workload_and_seed() -> None:
    designs = [load_scenario(name) for name in preset_names()]
    assert {design.workload for design in designs} == {Scenario().workload}
    assert {design.seed for design in designs} == {Scenario().seed}


@pytest.mark.parametrize("name", preset_names("workloads"))
def test_a_shipped_workload_fits_every_design(name: str) -> None:
    own = tomllib.loads((data_folder() / "workloads" / f"{name}.toml").read_text())["workload"]
    for design in preset_names():
        workload = load_scenario(design, workload=name).workload.model_dump()
        assert {key: workload[key] for key, value in own.items() if not isinstance(value, dict)} == {
            key: value for key, value in own.items() if not isinstance(value, dict)
        }


@pytest.mark.parametrize("name", preset_names())
def test_a_scenario_survives_its_file(name: str, tmp_path: Path) -> None:
    scenario = load_scenario(name, ["hosts=[{name='one',cores=2,stations=['gateway-*']}]", "seed=18446744073709551615"])
    (tmp_path / "copy.toml").write_text(to_toml(scenario), encoding="utf-8")
    assert load_scenario(tmp_path / "copy.toml") == scenario


def test_a_scenario_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Scenario().design.gateways = 3  # type: ignore[misc]


def test_files_lie_on_files_and_later_bases_win(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("seed = 5\n[design]\ngateways = 2\nrouting = 'user'\n")
    (tmp_path / "b.toml").write_text("[design]\ngateways = 3\n")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "c.toml").write_text("extends = ['../a.toml', '../b.toml']\n[broker]\ntick_us = 1.0\n")
    scenario = load_scenario(tmp_path / "deep" / "c.toml")
    assert (scenario.name, scenario.seed, scenario.design.gateways) == ("c", 5, 3)
    assert (scenario.design.routing, scenario.broker.tick_us) == ("user", 1.0)


def test_changes_come_last_and_the_workload_before_them(tmp_path: Path) -> None:
    (tmp_path / "w.toml").write_text("[workload]\nusers = 7\nduration_s = 5\n")
    scenario = load_scenario("go-chat", ["workload.users=9"], workload=tmp_path / "w.toml")
    assert (scenario.workload.users, scenario.workload.duration_s) == (9, 5.0)


@given(st.text(max_size=30), st.text(max_size=30))
def test_whatever_is_set_ends_in_a_scenario_or_in_one_line(key: str, value: str) -> None:
    said = refusal(f"{key}={value}")
    assert said is None or said.splitlines() == [said]


@given(
    st.sampled_from(
        [
            field
            for part in ("design", "broker", "network")
            for field in (f"{part}.{key}" for key in getattr(Scenario(), part).model_dump())
        ]
    ),
    st.one_of(st.integers(), st.floats(), st.booleans(), st.text(max_size=9), st.lists(st.integers(), max_size=2)),
)
def test_a_wrong_value_names_its_key(key: str, value: Any) -> None:
    said = refusal(f"{key}={json.dumps(value)}")
    assert said is None or (key.partition(".")[0] in said and "\n" not in said)


def test_every_key_says_what_it_means_and_where_it_comes_from() -> None:
    for model in parts_of(Scenario):
        for key, field in model.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                continue
            extra = field.json_schema_extra
            assert isinstance(extra, dict)
            assert field.description, f"{model.__name__}.{key}"
            assert extra["kind"] in get_args(Kind)
            assert extra["source"] or extra["kind"] in ("choice", "assumption", "derived"), f"{model.__name__}.{key}"


@pytest.mark.parametrize("name", preset_names())
def test_shipped_files_satisfy_the_schema(name: str) -> None:
    table = tomllib.loads((data_folder() / "designs" / f"{name}.toml").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(json_schema()).validate(table)


@pytest.mark.parametrize(
    "wrong", [{"desing": {}}, {"design": {"gateways": 0}}, {"design": {"routing": "rom"}}, {"extends": 3}]
)
def test_the_schema_refuses_what_chatsim_refuses(wrong: dict[str, Any]) -> None:
    assert list(jsonschema.Draft202012Validator(json_schema()).iter_errors(wrong))


def test_the_schema_tells_unit_kind_and_source() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    tick = schema["$defs"]["BrokerCosts"]["properties"]["tick_us"]
    assert (tick["unit"], tick["kind"], tick["default"]) == ("us", "measured", 11.0)
    assert "redis 7" in tick["source"]
    assert unit_of("downlink_bytes_per_s") == "bytes per s"


@pytest.mark.parametrize("name", preset_names())
def test_the_starting_file_is_the_design_with_and_without_its_comments(name: str, tmp_path: Path) -> None:
    base = load_scenario(name)
    text = starting_file(base, name, "mine.toml")
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    assert load_scenario(tmp_path / "mine.toml") == base.model_copy(update={"name": "mine", "about": ""})
    own, _, _ = text.partition("\n# Stations that share")
    lines = [line.removeprefix("# ") if " = " in line else line for line in own.splitlines()]
    (tmp_path / "mine.toml").write_text("\n".join(lines), encoding="utf-8")
    assert load_scenario(tmp_path / "mine.toml") == base.model_copy(update={"name": "mine"})


def test_the_starting_file_lists_every_key() -> None:
    text = starting_file(Scenario(), "go-chat")
    for model in parts_of(Scenario):
        for key, field in model.model_fields.items():
            if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)) and key not in (
                "name",
                "hosts",
                "faults",
            ):
                assert f"\n# {key} = " in text, f"{model.__name__}.{key}"


def test_a_log_beside_its_scenario_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    (home / "log.csv").write_text("time,sender,recipient\n1,a,b\n")
    (home / "mine.toml").write_text('extends = "hub"\n[workload]\ntrace = "log.csv"\nduration_s = 0\n')
    monkeypatch.chdir(elsewhere)
    trace = load_scenario(home / "mine.toml").workload.trace
    assert Path(trace).samefile(home / "log.csv")
    assert load_scenario("hub", ["workload.trace=log.csv"]).workload.trace == "log.csv"
