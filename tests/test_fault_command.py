"""Faults on the command line: presets, what is laid over what, the command, and what is said of wrong ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from chatsim.engine.outcome import Cause, Fate, Outcome, SessionFate
from chatsim.scenario import InputError, Scenario, load_scenario, preset_names, to_toml
from chatsim.scenario.faults import FAULTS
from chatsim.scenario.files import read_toml
from chatsim.scenario.guide import about_of, starting_file
from chatsim.scenario.load import load_variants
from chatsim.study.faults import storms, strike, without_faults
from chatsim.world.tables import World
from tests.conftest import ROOT, Said
from tests.outcomes import outcome

Cli = Callable[..., Said]
SMALL = ("--set", "workload.users=100", "--set", "workload.duration_s=120", "--jobs", "1")
TINY = ["workload.users=100", "workload.duration_s=120"]


def made_up(scenario: Scenario, world: World, progress: object = None, engine: str = "auto") -> Outcome:
    """A run in which each fault cuts two sessions at 60 s, which are back at 61 and 63 s, in 1 + 2 tries, and loses one of
    120 messages, one each second; in calm all come. Each takes 50 ms."""
    messages = [{"time_s": float(second), "sender": 0} for second in range(120)]
    deliveries: list[dict[str, Any]] = [{"message": second, "time_s": second + 0.05} for second in range(120)]
    sessions: list[dict[str, Any]] = [{"user": user, "end_s": 500.0} for user in range(3)]
    strikes: list[dict[str, Any]] = []
    if scenario.faults:
        strikes.append({"start_s": 60.0, "end_s": 90.0})
        deliveries[60].update(fate=Fate.LOST, cause=Cause.CRASHED, time_s=float("nan"))
        for user in (1, 2):
            sessions[user].update(fate=SessionFate.CUT, cut_s=60.0, left_s=60.1)
        again = {"end_s": 500.0, "start_s": 60.5}
        sessions.append({**again, "user": 1, "origin": 1, "online_s": 61.0})
        failed = {"fate": SessionFate.FAILED, "online_s": float("nan"), "left_s": 60.6}
        sessions.append({**again, **failed, "user": 2, "origin": 2})
        sessions.append({**again, "user": 2, "origin": 4, "attempt": 1, "start_s": 62.0, "online_s": 63.0})
    ticks = [{"station": 0, "start_s": float(second), "end_s": second + 0.001} for second in range(120)]
    run = outcome(messages, deliveries, sessions, ticks, duration_s=120.0, strikes=strikes, design={"gateways": 4})
    names = scenario.stations
    return replace(
        run, scenario=scenario, world=world, stations=names,
        work=run.work[:1].repeat(len(names), axis=0), item_us=run.item_us[:1].repeat(len(names)),
    )


@pytest.fixture
def without_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are made up."""
    monkeypatch.setattr("chatsim.study.runs.simulate", made_up)


def listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# --------------------------------------------------------------------------- presets and files


def test_the_thirteen_faults_are_shipped() -> None:
    assert set(preset_names("faults")) == {
        "gateway-lost", "half-the-gateways", "rolling-deploy", "redis-failover-5s", "redis-failover-30s", "redis-lost",
        "shard-lost", "partition", "database-slow", "database-down", "slow-clients", "client-loss", "cold-cache",
    }


@pytest.mark.parametrize("name", preset_names("faults"))
def test_a_shipped_fault_says_what_it_is_and_fits_every_design(name: str) -> None:
    own = read_toml(ROOT / "data" / "faults" / f"{name}.toml")
    assert set(own) <= {"name", "about", "faults", "client", "balancer"}
    assert own["name"] == name
    assert 20 <= len(about_of("faults", name)) <= 90
    for design in preset_names():
        faults = load_scenario(design, faults=[name]).faults
        assert [fault.kind for fault in faults] == [fault["kind"] for fault in own["faults"]]
        for fault, said in zip(faults, own["faults"], strict=True):
            assert {key: fault.model_dump(mode="json")[key] for key in said} == said


def test_together_the_shipped_faults_are_of_every_kind() -> None:
    kinds = {fault["kind"] for name in preset_names("faults")
             for fault in read_toml(ROOT / "data" / "faults" / f"{name}.toml")["faults"]}
    assert kinds == set(FAULTS)


def test_faults_are_put_together_and_the_rest_is_laid_over(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'extends = "hub"\n[client]\nreconnect = "fixed"\nreconnect_s = 2.0\n[[faults]]\nkind = "slow"\n'
    )
    (tmp_path / "more.toml").write_text(
        '[client]\nreconnect = "phoenix"\n[balancer]\nnotice_s = 1.0\n[[faults]]\nkind = "link"\n[[faults]]\nkind = "drain"\n'
    )
    scenario = load_scenario(tmp_path / "mine.toml", faults=[tmp_path / "more.toml", "cold-cache"])
    assert [fault.kind for fault in scenario.faults] == ["slow", "link", "drain", "cache_emptied"]
    assert (scenario.client.reconnect, scenario.client.reconnect_s, scenario.balancer.notice_s) == ("phoenix", 2.0, 1.0)
    changed = load_scenario(tmp_path / "mine.toml", ["client.reconnect=none"], faults=[tmp_path / "more.toml"])
    assert changed.client.reconnect == "none"
    assert scenario.name == "mine"


def test_a_scenario_with_faults_survives_its_file(tmp_path: Path) -> None:
    scenario = load_scenario("room-channel", faults=preset_names("faults"))
    (tmp_path / "copy.toml").write_text(to_toml(scenario), encoding="utf-8")
    assert load_scenario(tmp_path / "copy.toml") == scenario
    assert "faults" not in to_toml(load_scenario("room-channel"))


def test_each_part_of_the_starting_file_is_a_fault(tmp_path: Path) -> None:
    text = starting_file(load_scenario("go-chat"), "go-chat")
    assert "\n# faults = " not in text
    parts = text.split("\n# [[faults]]\n")[1:]
    for kind, part in zip(FAULTS, parts, strict=True):
        lines = [line.removeprefix("# ") for line in part.splitlines() if line.startswith("# ") and " = " in line]
        (tmp_path / "one.toml").write_text("\n".join(["[[faults]]", *lines]), encoding="utf-8")
        (fault,) = load_scenario("go-chat", faults=[tmp_path / "one.toml"]).faults
        assert fault == FAULTS[kind].model_validate({"kind": kind})


FILES = {
    "another part": ("[design]\ngateways = 2\n[[faults]]\nkind = 'slow'\n", "bad.toml: 'design': only 'name', 'about', 'faults', 'client', 'balancer' are allowed in a file of faults"),
    "extends": ("extends = 'cold-cache'\n[[faults]]\nkind = 'slow'\n", "bad.toml: 'extends': only 'name', "),
    "no faults": ("name = 'x'\n[client]\nreconnect = 'none'\n", "bad.toml: 'faults' is missing: a part [[faults]] is needed"),
    "one fault": ("[faults]\nkind = 'slow'\n", "bad.toml: 'faults' is missing: a part [[faults]] is needed"),
    "unknown kind": ("[[faults]]\nkind = 'drian'\n", "faults.0.kind = 'drian': allowed: "),
    "unknown key": ("[[faults]]\nkind = 'slow'\nfaktor = 2.0\n", "unknown key 'faults.0.faktor'; did you mean 'factor'?"),
    "no such station": ("[[faults]]\nkind = 'slow'\nstations = ['gateway-9']\n", "station 'gateway-9' is none that it can strike"),
    "empty": ("", "bad.toml: is empty"),
}
COMMANDS = {
    "unknown fault": (["fault", "redis-failover-5"], "'redis-failover-5': neither a file nor a shipped fault; did you mean 'redis-failover-5s'?"),
    "unknown fault of a run": (["run", "go-chat", "--fault", "rolling-deplo"], "neither a file nor a shipped fault; did you mean 'rolling-deploy'?"),
    "one of two unknown": (["compare", "go-chat", "--fault", "partition", "--fault", "xyzzy"], "'xyzzy': neither a file nor a shipped fault; known: 'client-loss', "),
    "no such file": (["fault", "gone.toml"], "gone.toml: no such file"),
    "a design as fault": (["fault", "designs/go-chat"], "only 'name', 'about', 'faults', 'client', 'balancer' are allowed in a file of faults"),
    "no fault": (["fault"], "Missing argument 'FAULT'"),
    "unknown design": (["fault", "partition", "go-caht"], "neither a file nor a shipped design; did you mean 'go-chat'?"),
    "faults taken away": (["fault", "partition", "--set", "faults=[]"], "go-chat: no faults: a part [[faults]], or one by --fault, is needed"),
    "a fault on a value": (["fault", "partition", "--set", "client.reconnect=fast"], "client.reconnect = 'fast': allowed: "),
    "vary nothing": (["compare", "go-chat", "--vary", "client.reconnect"], "--vary 'client.reconnect': the form is part.key=value,value"),
    "vary an empty value": (["compare", "go-chat", "--vary", "client.reconnect=phoenix,"], "--vary 'client.reconnect=phoenix,': the form is "),
    "vary an unknown key": (["compare", "go-chat", "--vary", "client.reconect=phoenix"], "unknown key 'client.reconect'; did you mean 'reconnect'?"),
    "vary to a wrong value": (["compare", "go-chat", "--vary", "client.reconnect=phoenix,socketoi"], "client.reconnect = 'socketoi': allowed: "),
    "vary inside a value": (["compare", "go-chat", "--vary", "name.x=1,2"], "--vary 'name.x=1': 'name' is a value, not a part"),
    "vary twice the same": (["compare", "go-chat", "--vary", "client.reconnect=none,none"], "two designs have the name 'go-chat, none'"),
    "vary the trace": (["compare", "go-chat", "--vary", "workload.users=10,20"], "'go-chat, 10' and 'go-chat, 20' differ in workload.users (10 and 20)"),
}


def refused(said: Said, phrase: str) -> None:
    assert (said.status, said.out) == (2, "")
    assert phrase in said.err
    assert said.err.count("\n") == 1
    assert said.err.startswith("chatsim: ")


@pytest.mark.parametrize(("text", "phrase"), FILES.values(), ids=FILES)
def test_a_wrong_file_of_faults_is_refused(chatsim: Cli, tmp_path: Path, text: str, phrase: str) -> None:
    (tmp_path / "bad.toml").write_text(text)
    refused(chatsim("fault", "bad.toml", "--out", "out"), phrase)
    assert listing(tmp_path) == {"bad.toml"}


@pytest.mark.parametrize(("arguments", "phrase"), COMMANDS.values(), ids=COMMANDS)
def test_a_wrong_command_is_refused(chatsim: Cli, tmp_path: Path, arguments: list[str], phrase: str) -> None:
    refused(chatsim(*arguments), phrase)
    assert listing(tmp_path) == set()


def test_designs_lists_each_shipped_fault(chatsim: Cli) -> None:
    said = chatsim("designs")
    listed = json.loads(chatsim("designs", "--json").out)["faults"]
    assert set(listed) == set(preset_names("faults"))
    for name, about in listed.items():
        assert re.search(rf"^ {re.escape(name)} +{re.escape(about)}", said.out, re.MULTILINE)


def test_variants_are_named_after_their_values() -> None:
    found = load_variants("go-chat", "design.gateways=2,8", ["seed=3"], faults=["partition"])
    assert [(each.name, each.design.gateways, each.seed) for each in found] == [("go-chat, 2", 2, 3), ("go-chat, 8", 8, 3)]
    assert all(len(each.faults) == 1 for each in found)
    assert load_variants("go-chat", None) == [load_scenario("go-chat")]


# --------------------------------------------------------------------------- the command, on runs that are made up


@pytest.mark.usefixtures("without_engine")
def test_the_fault_is_held_against_calm() -> None:
    found = strike(load_scenario("room-channel", TINY, faults=["gateway-lost"]))
    assert [each.name for each in found.runs.scenarios] == ["room-channel, calm", "room-channel"]
    assert [len(each.faults) for each in found.runs.scenarios] == [0, 1]
    row = found.recovery.iloc[0]
    assert (row["design"], row["sessions_hit"], row["tries"], row["lost"]) == ("room-channel", 2, 3, 1)
    assert row["amplification"] == 0.0  # the ticks are the same
    assert found.timeline["tries"].sum() == 3
    assert found.verdict.startswith("Crash of gateway-0 from 60 to 90 s: 2 sessions cut; of messages x recipients 1 not live that are in ")
    assert (found.runs.paired["only_a"][0], found.runs.paired["pairs"][0]) == (1, 119)
    assert found.calm.scenario.faults == ()
    assert found.outcome.scenario.name == "room-channel"
    assert {"recovery", "timeline", "fates", "paired", "summary"} <= set(found.tables())


def test_nothing_to_strike_with_is_an_error() -> None:
    with pytest.raises(InputError, match="go-chat: no faults"):
        strike(load_scenario("go-chat"))


def test_calm_keeps_all_but_the_faults_and_a_name_within_bounds() -> None:
    scenario = load_scenario("go-chat", [f"name='{'x' * 80}'"], faults=["partition"])
    calm = without_faults(scenario)
    assert calm.name == "x" * 74 + ", calm"
    assert calm.model_copy(update={"name": scenario.name, "faults": scenario.faults}) == scenario


@pytest.mark.usefixtures("without_engine")
def test_fault_says_its_verdict_then_its_figures(chatsim: Cli) -> None:
    said = chatsim("fault", "gateway-lost", *SMALL)
    assert (said.status, said.err) == (0, "")
    assert said.out.startswith("Crash of gateway-0 from 60 to 90 s: 2 sessions cut")
    assert re.search(r"^ sessions cut +2 *$", said.out, re.MULTILINE)
    assert re.search(r"^ all of them back +3 +s *$", said.out, re.MULTILINE)
    assert re.search(r"^ +crashed +1 *$", said.out, re.MULTILINE)
    assert "119 messages x recipients, 0 ms later in the mean; live only without: 1." in " ".join(said.out.split())
    assert max(len(line) for line in said.out.splitlines()) <= 100


@pytest.mark.usefixtures("without_engine")
def test_fault_writes_tables_and_both_charts(chatsim: Cli, tmp_path: Path) -> None:
    said = chatsim("fault", "gateway-lost", "room-channel", *SMALL, "--out", "out")
    assert (said.status, said.err) == (0, "")
    files = listing(tmp_path / "out")
    assert {"recovery.parquet", "timeline.parquet", "fates.parquet", "paired.parquet", "sessions.parquet"} <= files
    assert {f"charts/{name}.{kind}" for name in ("storm", "faults_room-channel") for kind in ("png", "svg")} <= files
    assert not any("faults" in name and "calm" in name for name in files)
    assert pq.read_table(tmp_path / "out" / "recovery.parquet").to_pandas()["back"].tolist() == [2]
    told = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert set(told["files"]) == files
    assert "holds a former result" in chatsim("fault", "gateway-lost", "room-channel", *SMALL, "--out", "out").err
    assert chatsim("fault", "gateway-lost", "room-channel", *SMALL, "--out", "out", "--force").status == 0


@pytest.mark.usefixtures("without_engine")
def test_fault_in_json(chatsim: Cli) -> None:
    said = chatsim("fault", "gateway-lost", "hub", *SMALL, "--json")
    figures = json.loads(said.out)
    assert [row["design"] for row in figures["summary"]] == ["hub, calm", "hub"]
    (row,) = figures["recovery"]
    assert (row["sessions_hit"], row["back_all_s"], row["back_p99_s"], row["amplification"]) == (2, 3.0, None, 0.0)
    assert figures["verdict"].startswith("Crash of gateway-0")
    assert sum(row["lost"] for row in figures["timeline"]) == 1
    assert len(figures["paired"]) == 1


@pytest.mark.usefixtures("without_engine")
def test_run_says_how_it_got_over_faults(chatsim: Cli, tmp_path: Path) -> None:
    said = chatsim("run", "go-chat", *SMALL, "--fault", "partition", "--fault", "cold-cache", "--out", "out")
    assert (said.status, said.err) == (0, "")
    assert re.search(r"^ go-chat +2 +3 +2 +1 +- +3 +0 +1 +0 ", said.out, re.MULTILINE)
    assert {"charts/storm.png", "charts/faults.png"} <= listing(tmp_path / "out")
    assert len(load_scenario(tmp_path / "out" / "scenario.toml").faults) == 2
    assert json.loads(chatsim("run", "go-chat", *SMALL, "--fault", "partition", "--json").out)["recovery"][0]["tries"] == 3


@pytest.mark.usefixtures("without_engine")
def test_runs_without_faults_say_nothing_of_them(chatsim: Cli, tmp_path: Path) -> None:
    said = chatsim("run", "go-chat", *SMALL, "--out", "out")
    assert "come" not in said.out
    assert not {"charts/storm.png", "charts/faults.png"} & listing(tmp_path / "out")
    assert "recovery" not in json.loads(chatsim("run", "go-chat", *SMALL, "--json").out)


@pytest.mark.usefixtures("without_engine")
def test_compare_varies_a_key_and_prints_a_storm_table(chatsim: Cli, tmp_path: Path) -> None:
    said = chatsim(
        "compare", "room-channel", *SMALL, "--fault", "half-the-gateways", "--vary", "client.reconnect=phoenix,full_jitter",
        "--out", "out", "--no-saturation",
    )
    assert (said.status, said.err) == (0, "")
    rows = re.findall(r"^ (room-channel, \w+) +2 +3 +2 +1 +- +3 +0 +1 +0 ", said.out, re.MULTILINE)
    assert rows == ["room-channel, phoenix", "room-channel, full_jitter"]
    assert max(len(line) for line in said.out.splitlines()) <= 100
    assert "charts/storm.png" in listing(tmp_path / "out")
    scenarios = [load_scenario(path) for path in (tmp_path / "out" / "scenarios").glob("*.toml")]
    assert {(each.name, each.client.reconnect) for each in scenarios} == {
        ("room-channel, phoenix", "phoenix"), ("room-channel, full_jitter", "full_jitter")
    }


# --------------------------------------------------------------------------- on runs of the engine


def test_a_crash_is_seen_in_a_run() -> None:
    found = strike(load_scenario("room-channel", TINY, faults=["half-the-gateways"]))
    row = found.recovery.iloc[0]
    assert row["sessions_hit"] > 0
    assert row["back"] + row["never_back"] + row["ended_first"] == row["sessions_hit"] + row["sessions_closed"]
    assert row["tries"] >= row["back"] > 0
    assert 0 < row["back_p50_s"] < 60
    assert row["first_strike_s"] == 60.0
    assert found.verdict.startswith("Crash of gateway-0 and gateway-1 from 60 ")
    calm = found.runs.fates[found.runs.fates["design"] == "room-channel, calm"]
    assert not {"crashed", "broker_down", "cut_off"} & set(calm["cause"])
    assert found.timeline["online"].min() < found.timeline["online"].iloc[0]


@pytest.mark.parametrize("name", preset_names("faults"))
@pytest.mark.parametrize("design", ["go-chat", "phoenix", "socketio-sharded"])
def test_every_shipped_fault_runs_and_is_told(name: str, design: str) -> None:
    found = strike(load_scenario(design, TINY, faults=[name]))
    assert found.verdict.endswith(".")
    assert (found.recovery["strikes"].iloc[0] == 0) == found.verdict.startswith("Nothing struck")
    assert storms(found.runs.outcomes)["design"].tolist() in ([], [design])


def test_the_number_of_processes_changes_nothing() -> None:
    scenario = load_scenario("room-channel", TINY, faults=["rolling-deploy"])
    one, two = (strike(scenario, jobs) for jobs in (1, 2))
    for name, table in one.tables().items():
        pd.testing.assert_frame_equal(table, two.tables()[name])
    assert one.verdict == two.verdict


def test_without_jitter_the_storm_is_higher(chatsim: Cli) -> None:
    said = chatsim(
        "compare", "room-channel", "--set", "workload.users=1000", "--set", "workload.duration_s=120", "--jobs", "1", "--json",
        "--fault", "half-the-gateways", "--vary", "client.reconnect=phoenix,full_jitter",
    )
    peaks = {row["design"]: row["peak_tries_per_100ms"] for row in json.loads(said.out)["recovery"]}
    assert peaks["room-channel, phoenix"] > peaks["room-channel, full_jitter"]
