"""The commands of studies: what they say, how they end, and that a kill costs no more than what was under way."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from chatsim.study import worker
from chatsim.study.archive import HISTORY
from chatsim.study_cli import exit_status
from tests.conftest import ROOT, Said

Cli = Callable[..., Said]

STUDY = """
name = "tiny"
base = "go-chat"
set = ["workload.users=60", "workload.duration_s=60", "workload.conversations.messages_per_day=4000"]
replications = {replications}
slos = {slos}
[factors]
design.gateways = {gateways}
"""


def written(folder: Path, slos: list[str], replications: int = 3, gateways: str = "[2, 3]", more: str = "") -> None:
    text = STUDY.format(slos=json.dumps(slos), replications=replications, gateways=gateways)
    (folder / "tiny.toml").write_text(text + more)


def contents(out: Path) -> dict[str, bytes]:
    """All files but the history, by name."""
    files = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    del files[HISTORY]
    return files


def test_a_study_from_one_command(chatsim: Cli, tmp_path: Path) -> None:
    written(tmp_path, ["p50_ms < 1000", "lost_share < 0.5"])
    said = chatsim("study", "tiny.toml", "--jobs", "1", "--no-report")
    assert (said.status, said.err) == (0, "")
    assert "tiny: 6 runs at 2 points" in said.out
    assert "4 met, 0 not met, 0 undecided" in said.out
    assert "6 runs were done now, 0 were there. Results: results/tiny" in said.out
    assert max(map(len, said.out.splitlines())) <= 100
    again = chatsim("study", "tiny.toml", "--jobs", "1", "--no-report")
    assert "0 runs were done now, 6 were there." in again.out
    assert again.out.splitlines()[:-1] == said.out.splitlines()[:-1]
    shown = chatsim("results", "results/tiny")
    assert shown.out.splitlines() == said.out.splitlines()[:-1]


def test_results_as_json_and_csv(chatsim: Cli, tmp_path: Path) -> None:
    written(tmp_path, ["p50_ms < 1000"])
    told = json.loads(chatsim("study", "tiny.toml", "--jobs", "1", "--no-report", "--out", "out", "--json").out)
    assert (told["study"], told["runs"], told["planned"], told["computed"], told["failed"]) == ("tiny", 6, 6, 6, [])
    read = json.loads(chatsim("results", "out", "--json").out)
    assert read["results"] == told["results"]
    assert read["verdicts"] == told["verdicts"]
    only = json.loads(chatsim("results", "out", "--json", "--figure", "p50_ms", "--against", "0").out)
    assert {row["figure"] for row in only["results"]} == {"p50_ms"}
    (compared,) = only["against"]["p50_ms"]
    assert (compared["a"], compared["b"], compared["n"]) == ("0", "1", 3)
    assert compared["correlation"] > 0.9  # the same luck for both
    rows = list(csv.DictReader(io.StringIO(chatsim("results", "out", "--csv").out)))
    table = pd.read_parquet(tmp_path / "out" / "results.parquet")
    assert [float(row["estimate"]) for row in rows if row["figure"] == "p50_ms"] == table[table["figure"] == "p50_ms"]["estimate"].tolist()


def test_points_against_one(chatsim: Cli, tmp_path: Path) -> None:
    written(tmp_path, [])
    chatsim("study", "tiny.toml", "--jobs", "1", "--no-report", "--out", "out")
    said = chatsim("results", "out", "--figure", "p50_ms", "--against", "1")
    assert "p50_ms against point 1 (design.gateways = 3), paired by replication" in said.out
    assert "Service level" not in said.out


def test_results_of_a_study_that_is_not_finished(chatsim: Cli, tmp_path: Path) -> None:
    written(tmp_path, ["p50_ms < 1000"])
    chatsim("study", "tiny.toml", "--jobs", "1", "--no-report", "--out", "out")
    for path in sorted((tmp_path / "out" / "runs").iterdir())[:5]:
        path.unlink()
    said = chatsim("results", "out")
    assert said.status == 0
    assert "5 of 6 runs are missing: start the study again." in said.out
    assert "undecided" in said.out


@pytest.mark.parametrize(("slos", "status", "phrase"), [
    (["p50_ms < 1000", "lost_share < 0.5"], 0, "tiny: met."),
    (["p50_ms < 1000", "p50_ms < 1"], 1, "tiny: not met."),
    (["p50_ms < 1000", "p999_ms < 1000"], 3, "tiny: undecided."),
    (["p50_ms < 1", "p999_ms < 1000"], 1, "tiny: not met."),
])  # fmt: skip
def test_a_gate_for_ci(chatsim: Cli, tmp_path: Path, slos: list[str], status: int, phrase: str) -> None:
    written(tmp_path, slos)
    said = chatsim("check", "tiny.toml", "--jobs", "1")
    assert (said.status, said.err) == (status, "")
    assert phrase in said.out
    again = chatsim("check", "results/tiny", "--jobs", "1")
    assert (again.status, again.out) == (status, said.out)
    assert json.loads(chatsim("check", "results/tiny", "--json").out)["verdict"] in phrase


def test_one_run_decides_nothing(chatsim: Cli, tmp_path: Path) -> None:
    written(tmp_path, ["p50_ms < 1000"], replications=1)
    said = chatsim("check", "tiny.toml", "--jobs", "1")
    assert said.status == 3
    assert "undecided" in said.out


def test_exit_status() -> None:
    assert exit_status([]) == 0
    assert exit_status(["met", "met"], failures=1) == 3
    assert exit_status(["undecided", "not met"], failures=1) == 1


def test_a_run_that_fails_is_told_in_a_line(chatsim: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, ["p50_ms < 1000"])
    real = worker.simulate

    def fails(scenario: Any, world: Any) -> Any:
        if world.replication == 1:
            raise MemoryError
        return real(scenario, world)

    monkeypatch.setattr(worker, "simulate", fails)
    said = chatsim("study", "tiny.toml", "--jobs", "1", "--no-report", "--out", "out")
    assert said.status == 1
    assert said.err == (
        "chatsim: run failed: design.gateways = 2, replication 1: out of memory\n"
        "chatsim: run failed: design.gateways = 3, replication 1: out of memory\n"
    )
    assert "4 runs were done now" in said.out
    assert chatsim("check", "out", "--jobs", "1").status == 3
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert chatsim("check", "out", "--jobs", "1").status == 0


WRONG: dict[str, tuple[list[str], str]] = {
    "no study": (["study"], "Missing argument 'FILE'"),
    "no such file": (["study", "gone.toml"], "gone.toml: no such file"),
    "no such study": (["study", "gatways"], "gatways: neither a file nor a shipped study; did you mean 'gateways'?"),
    "not TOML": (["study", "not.toml"], "not.toml: is not TOML"),
    "a scenario": (["study", "mine.toml"], "mine.toml: unknown key"),
    "wrong study": (["study", "wrong.toml"], "wrong.toml: with design.gateways = 0: go-chat: design.gateways = 0: at least 1 is needed"),
    "fewer than no jobs": (["study", "tiny.toml", "--jobs", "-1"], "--jobs -1: at least 1 is needed"),
    "jobs as text": (["study", "tiny.toml", "--jobs", "many"], "Invalid value for '--jobs'"),
    "a cluster without an address": (["study", "tiny.toml", "--cluster", "here"], "--cluster here: the address of a scheduler is needed, such as tcp://10.0.0.1:8786"),
    "an out that is a file": (["study", "tiny.toml", "--out", "tiny.toml"], "tiny.toml: is a file: a folder is needed"),
    "an out below a file": (["study", "tiny.toml", "--out", "tiny.toml/x"], "--out tiny.toml/x: cannot be written"),
    "an out of somebody": (["study", "tiny.toml", "--out", "."], ".: is not empty and holds no study"),
    "results of nothing": (["results", "gone"], "gone: holds no study"),
    "results of a file": (["results", "tiny.toml"], "tiny.toml: is a file: a folder is needed"),
    "check without SLOs": (["check", "mute.toml"], "mute.toml: slos = []: at least one is needed, such as 'p99_ms < 200'"),
    "check of nothing": (["check", "."], ".: is not empty and holds no study"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "phrase"), WRONG.values(), ids=WRONG)
def test_wrong_commands_are_refused_in_one_line(chatsim: Cli, tmp_path: Path, arguments: list[str], phrase: str) -> None:
    written(tmp_path, ["p50_ms < 1000"])
    (tmp_path / "not.toml").write_text("a: b")
    (tmp_path / "mine.toml").write_text('extends = "go-chat"\n')
    (tmp_path / "mute.toml").write_text('base = "hub"\n')
    (tmp_path / "wrong.toml").write_text('base = "go-chat"\n[factors]\ndesign.gateways = [0]\n')
    before = sorted(tmp_path.rglob("*"))
    said = chatsim(*arguments)
    assert said.status == 2
    assert phrase in said.err
    assert said.err.startswith("chatsim: ")
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_wrong_questions_to_results(chatsim: Cli, tmp_path: Path) -> None:
    written(tmp_path, [], replications=1)
    chatsim("study", "tiny.toml", "--jobs", "1", "--no-report", "--out", "out")
    questions = {
        ("--figure", "p98_ms"): "--figure p98_ms: these runs have no such figure; did you mean 'p99_ms'?",
        ("--against", "7"): "--against 7: the number of a point is needed, from 0 to 1",
        ("--csv", "--json"): "--csv: --json is given too: one of the two is needed",
    }
    for arguments, phrase in questions.items():
        said = chatsim("results", "out", *arguments)
        assert (said.status, said.err) == (2, f"chatsim: {phrase}\n")


def test_a_shipped_study_has_a_name(chatsim: Cli, tmp_path: Path) -> None:
    said = chatsim("study", "gateways", "--out", "gateways.toml", "--cluster", "none")
    assert said.err == "chatsim: --cluster none: the address of a scheduler is needed, such as tcp://10.0.0.1:8786\n"
    assert not list(tmp_path.iterdir())


# --------------------------------------------------------------------------- kills

LONG = """
name = "long"
designs = ["go-chat", "room-channel"]
set = ["workload.users=100", "workload.duration_s=300", "workload.conversations.messages_per_day=2000"]
replications = 3
[factors]
design.gateways = [2, 4]
"""


def started(folder: Path, out: str, *more: str, start_new_session: bool = False) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "chatsim", "study", "long.toml", "--no-report", "--out", out, *more]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=start_new_session,
    )  # fmt: skip


def begins(process: subprocess.Popen[str], out: Path, starts: int) -> None:
    """Waits until a study has planned its runs, or is over."""
    history = out / HISTORY
    while process.poll() is None and not (history.is_file() and history.read_text().count('"start"') >= starts):
        time.sleep(0.01)


def test_ten_kills_at_random_moments_cost_nothing_but_time(tmp_path: Path) -> None:
    """Half of the kills while it runs (at random within 0.4 s of its start), half from its very beginning on. Each life
    does one run of twelve or so, so that it lives through all ten."""
    (tmp_path / "long.toml").write_text(LONG)
    process = started(tmp_path, "whole", "--jobs", "1")
    assert process.wait(timeout=120) == 0
    luck = random.Random(6)
    starts, killed = 0, 0
    for life in range(10):
        process = started(tmp_path, "out", "--jobs", "1")
        if life % 2:
            begins(process, tmp_path / "out", starts + 1)
        time.sleep(luck.uniform(0.0, 0.4))
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        history = tmp_path / "out" / HISTORY
        starts = history.read_text().count('"start"') if history.is_file() else 0
    assert killed >= 8
    there = len(list((tmp_path / "out" / "runs").glob("*.parquet")))
    process = started(tmp_path, "out", "--jobs", "2")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert f"{12 - there} runs were done now, {there} were there." in out
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def living(group: int) -> int:
    """Processes of a group that run or wait (those that have ended may stay for a while, as Z)."""
    found = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        found += its_group == str(group) and state != "Z"
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="the system does not list its processes in /proc")
def test_processes_of_one_that_is_killed_end_too(tmp_path: Path) -> None:
    (tmp_path / "long.toml").write_text(LONG.replace("replications = 3", "replications = 30"))
    process = started(tmp_path, "out", "--jobs", "2", start_new_session=True)
    runs = tmp_path / "out" / "runs"
    while process.poll() is None and not list(runs.glob("*.parquet")):
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert living(process.pid) >= 2
    until_s = time.monotonic() + 20
    while living(process.pid) and time.monotonic() < until_s:
        time.sleep(0.05)
    assert living(process.pid) == 0
    there = len(list(runs.glob("*.parquet")))
    time.sleep(0.2)
    assert len(list(runs.glob("*.parquet"))) == there < 120


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_ends_it_in_a_line_and_what_is_done_stays(tmp_path: Path, jobs: str) -> None:
    (tmp_path / "long.toml").write_text(LONG.replace("replications = 3", "replications = 30"))
    command = [sys.executable, "-c", "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from chatsim.cli import entry; entry()"]
    command += ["study", "long.toml", "--no-report", "--out", "out", "--jobs", jobs]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    runs = tmp_path / "out" / "runs"
    while process.poll() is None and not (runs.is_dir() and len(list(runs.glob("*.parquet"))) >= 2):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "chatsim: interrupted\n")
    there = len(list(runs.glob("*.parquet")))
    assert 2 <= there < 120
    last = json.loads((tmp_path / "out" / HISTORY).read_text().splitlines()[-1])
    assert last["event"] == "end"
    assert last["computed"] in (there - 1, there)  # it may end between a file and its count
