"""The folder of a study: killed at any write, gone on with, added to, mixed with nothing; and what is in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from chatsim.engine import simulate
from chatsim.scenario import InputError, load_scenario
from chatsim.study import archive as module
from chatsim.study import execute, worker
from chatsim.study.archive import HISTORY, MANIFEST, TABLES, UNUSED, Archive
from chatsim.study.execute import Carried, carry_out, plan_in
from chatsim.study.figures import figures_of
from chatsim.study.plan import study_of
from chatsim.study.points import make_plan
from chatsim.study.store import write_table
from chatsim.world import build_world

TINY: dict[str, Any] = {
    "name": "tiny", "base": "go-chat", "set": ["workload.users=60", "workload.duration_s=60", "workload.conversations.messages_per_day=400"],
    "replications": 2, "factors": {"design.gateways": [2, 3]}, "slos": ["p50_ms < 1000", "lost_share < 0.5"],
}  # fmt: skip


class Killed(BaseException):
    """Stands for the end of the program: nothing catches it."""


def carried(out: Path, **changes: Any) -> Carried:
    said = {**TINY, **changes}
    return carry_out(make_plan(study_of(said, "tiny.toml"), out.parent, "tiny.toml"), out)


def contents(out: Path) -> dict[str, bytes]:
    """All files but the history, by name."""
    files = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    del files[HISTORY]
    return files


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, undisturbed."""
    out = tmp_path_factory.mktemp("whole") / "out"
    found = carried(out)
    assert (found.computed, found.found, found.failures) == (4, 0, ())
    return out


def test_a_row_has_the_figures_and_the_latencies_of_its_run(whole: Path) -> None:
    manifest = json.loads((whole / MANIFEST).read_text())
    point = manifest["points"][1]
    assert point["values"] == {"design.gateways": 3}
    scenario = load_scenario("go-chat", [*TINY["set"], "design.gateways=3"])
    outcome = simulate(scenario, build_world(scenario, 1))
    archive = Archive(whole)
    row = archive.row(point["runs"][1])
    assert row is not None
    for name, value in figures_of(outcome).items():
        assert repr(row[name]) == repr(value), name  # NaN too
    lists = archive.lists(point["runs"][1])
    assert sum(lists["latency_count"]) == row["deliveries"]
    assert sum(lists["login_count"]) == row["logins_through"]


def test_any_tool_reads_it(whole: Path) -> None:
    runs = pd.read_parquet(whole / "runs.parquet")
    assert runs[["point", "design.gateways", "replication"]].to_numpy().tolist() == [[0, 2, 0], [0, 2, 1], [1, 3, 0], [1, 3, 1]]
    each = pd.concat([pd.read_parquet(whole / "runs" / f"{run}.parquet") for run in runs["run"]])
    assert each["p50_ms"].tolist() == runs["p50_ms"].tolist()
    assert len(each["latency_ms"].iloc[0]) == len(each["latency_count"].iloc[0])
    results = pd.read_parquet(whole / "results.parquet").set_index(["point", "figure"])
    assert results.loc[(1, "deliveries"), "estimate"] == runs[runs["point"] == 1]["deliveries"].mean()
    verdicts = pd.read_parquet(whole / "verdicts.parquet")
    assert verdicts["slo"].tolist() == TINY["slos"] * 2
    schemas = {pq.read_schema(path).names[0] for path in (whole / "runs").iterdir()}
    assert schemas == {"run"}


def test_nothing_in_it_tells_when_or_where(whole: Path, tmp_path: Path) -> None:
    carried(tmp_path / "elsewhere" / "deeper" / "out")
    assert contents(tmp_path / "elsewhere" / "deeper" / "out") == contents(whole)
    text = b"".join(contents(whole).values())
    assert str(whole).encode() not in text


def test_it_may_be_killed_at_each_write(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before, in the middle of and after each file's writing, and each time gone on with: to the same bytes."""
    real, left = module._flushed, 0

    def flushed(path: Path, content: bytes) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            path.write_bytes(content[: len(content) // 2])
            raise Killed
        real(path, content)
        left -= 1
        if left == 0:
            raise Killed

    done: dict[str, worker.Done] = {}

    def once(task: worker.Task) -> worker.Done:
        """Equal tasks give equal bytes, and this is about the writing of them."""
        if task.run not in done:
            done[task.run] = worker.work(task)
        return done[task.run]

    monkeypatch.setattr(module, "_flushed", flushed)
    monkeypatch.setattr(execute, "work", once)
    kills = 0
    for lives in range(1, 1000):
        left = lives
        try:
            carried(tmp_path / f"out-{lives}")
            break
        except Killed:
            kills += 1
            if lives % 5:  # every fifth is killed again, a little later
                left = 10**6
            else:
                left = 7
                with pytest.raises(Killed):
                    carried(tmp_path / f"out-{lives}")
                left = 10**6
            found = carried(tmp_path / f"out-{lives}")
            assert found.computed + found.found == 4
            assert contents(tmp_path / f"out-{lives}") == contents(whole)
    assert kills >= 2 * (4 + len(TABLES) + 3)
    assert not list(tmp_path.rglob("*.part"))


def test_leftovers_of_the_killed_are_ignored_and_cleared_away(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "runs").mkdir(parents=True)
    run = next((whole / "runs").iterdir())
    (out / "runs" / f".{run.name}.123.part").write_bytes(b"PAR1 half of it")
    carried(out)
    assert contents(out) == contents(whole)


def test_what_is_there_is_not_run_again(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    carried(out)
    stamps = {path: path.stat().st_mtime_ns for path in (out / "runs").iterdir()}
    again = carried(out)
    assert (again.computed, again.found) == (0, 4)
    assert {path: path.stat().st_mtime_ns for path in (out / "runs").iterdir()} == stamps


def test_a_new_level_and_more_replications_cost_only_themselves(tmp_path: Path) -> None:
    out = tmp_path / "out"
    carried(out)
    assert carried(out, factors={"design.gateways": [2, 3, 5]}).computed == 2
    assert carried(out, factors={"design.gateways": [5, 3, 2]}, replications=3).computed == 3
    # a factor of which the old value is one level
    limit = load_scenario("go-chat").friend_list.limit
    more = carried(out, factors={"design.gateways": [2, 3, 5], "friend_list.limit": [limit, limit + 5]}, replications=3)
    assert (more.found, more.computed) == (9, 9)
    fresh = tmp_path / "fresh"
    carried(fresh, factors={"design.gateways": [2, 3, 5], "friend_list.limit": [limit, limit + 5]}, replications=3)
    assert contents(out) == contents(fresh)


def test_runs_that_are_wanted_no_more_are_put_aside_and_taken_back(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    carried(out)
    assert carried(out, factors={"design.gateways": [3]}).found == 2
    assert len(list((out / "runs").iterdir())) == 2
    assert len(list((out / UNUSED / "runs").iterdir())) == 2
    back = carried(out)
    assert (back.computed, back.found) == (0, 4)
    assert contents(out) == contents(whole)


def test_another_base_leaves_no_old_run_among_the_new(tmp_path: Path) -> None:
    out = tmp_path / "out"
    carried(out)
    before = {path.name for path in (out / "runs").iterdir()}
    assert carried(out, seed=9).computed == 4
    assert not before & {path.name for path in (out / "runs").iterdir()}


def test_a_damaged_run_is_run_again(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    carried(out)
    victims = sorted((out / "runs").iterdir())
    victims[0].write_bytes(b"PAR1")
    victims[1].write_bytes(victims[2].read_bytes())  # whole, but of another run
    assert carried(out).computed == 2
    assert contents(out) == contents(whole)


def test_another_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    carried(out)
    before = contents(out)
    for place in (execute, worker):
        monkeypatch.setattr(place, "model_version", lambda: "0123456789ab")
    with pytest.raises(InputError, match=r"out: holds runs of model [0-9a-f]{12}, and this chatsim is 0123456789ab: another --out is needed"):
        carried(out)
    assert contents(out) == before


def test_other_versions_of_packages_are_told(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert carried(out).mixed == ()
    manifest = json.loads((out / MANIFEST).read_text())
    now = manifest["versions"]["numpy"]
    manifest["versions"]["numpy"] = "1.0.0"
    (out / MANIFEST).write_text(json.dumps(manifest))
    assert carried(out).mixed == ()  # nothing was run
    assert carried(out, replications=3).mixed == (f"numpy 1.0.0, {now}",)
    assert carried(out, replications=3).mixed == (f"numpy 1.0.0, {now}",)
    assert carried(out, seed=5).mixed == ()  # none of the old runs is in it


def test_another_study_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    carried(out)
    with pytest.raises(InputError, match="out: holds the study 'tiny', and this is 'huge': another --out is needed"):
        carried(out, name="huge")


def test_a_worker_of_another_model_does_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(worker, "model_version", lambda: "0123456789ab")
    found = carried(tmp_path / "out", factors={})
    assert found.computed == 0
    assert len(found.failures) == 2
    assert "the worker has model 0123456789ab, the study" in found.failures[0]


STRANGERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file": (lambda out: out.write_text("precious"), "out: is a file: a folder is needed"),
    "a thesis": (lambda out: (out.mkdir(), (out / "thesis.txt").write_text("precious")), "is not empty and holds no study"),
    "a damaged manifest": (lambda out: (out.mkdir(), (out / MANIFEST).write_text("{")), "manifest.json is damaged"),
    "a manifest of nothing": (lambda out: (out.mkdir(), (out / MANIFEST).write_text("[]")), "manifest.json is none of a study"),
    "a deep manifest": (lambda out: (out.mkdir(), (out / MANIFEST).write_text("[" * 100_000)), "manifest.json is damaged"),
}


@pytest.mark.parametrize(("make", "phrase"), STRANGERS.values(), ids=STRANGERS)
def test_other_things_are_left_alone(make: Callable[[Path], object], phrase: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(out)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError) as caught:
        carried(out)
    assert phrase in str(caught.value)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = f"import fcntl, os, sys\nfcntl.flock(os.open({str(out)!r}, os.O_RDONLY), fcntl.LOCK_EX)\nprint('held', flush=True)\nsys.stdin.read()"
    carried(out)
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="out: another chatsim is at work in it"):
            carried(out)
        other.communicate("")
    assert carried(out).found == 4


def test_a_manifest_of_somebody_else_reads_no_file_outside(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    carried(out)
    write_table(tmp_path / "secret.parquet", pd.DataFrame({"run": ["../../secret"], "p50_ms": [1.0]}))
    manifest = json.loads((out / MANIFEST).read_text())
    manifest["points"][0]["runs"] = ["../../secret", 3, None]
    from chatsim.study.tables import read_study, tables_of

    (out / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"manifest\.json: point 0 is damaged"):
        tables_of(Archive(out), *read_study(Archive(out)))
    manifest["points"][0]["runs"] = ["../../secret"]
    (out / MANIFEST).write_text(json.dumps(manifest))
    assert set(tables_of(Archive(out), *read_study(Archive(out))).runs["point"]) == {1}


def test_the_history_says_who_did_what(tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan = make_plan(study_of(TINY, "tiny.toml"), tmp_path, "tiny.toml")
    carry_out(plan, out, command=("chatsim", "study", "tiny.toml"))
    carry_out(plan, out, command=("chatsim", "check", "tiny.toml"))
    lines = [json.loads(line) for line in (out / HISTORY).read_text().splitlines()]
    assert [(line["event"], line["command"][1]) for line in lines] == [("start", "study"), ("end", "study"), ("start", "check"), ("end", "check")]
    assert [line["computed"] for line in lines if line["event"] == "end"] == [4, 0]
    assert lines[0]["machine"]["cores"] == os.cpu_count()


def test_a_folder_is_gone_on_with_without_its_file(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    carried(out)
    gone = sorted((out / "runs").iterdir())[0]
    gone.unlink()
    found = carry_out(plan_in(out), out)
    assert (found.computed, found.found) == (1, 3)
    assert contents(out) == contents(whole)
    with pytest.raises(InputError, match="nothing: holds no study"):
        plan_in(tmp_path / "nothing")


def test_all_that_happened_is_kept_where_asked_for(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    carried(out)
    found = carried(out, keep="raw")
    assert found.computed == 4
    for run in found.tables.runs["run"]:
        deliveries = pq.read_table(out / "raw" / run / "deliveries.parquet")
        assert deliveries.column("replication").unique().to_pylist() in ([0], [1])
    assert carried(out, keep="raw").computed == 0
    first = found.tables.runs["run"][0]
    (out / "raw" / first / "deliveries.parquet").rename(tmp_path / "x")
    for path in (out / "raw" / first).iterdir():
        path.unlink()
    (out / "raw" / first).rmdir()
    assert carried(out, keep="raw").computed == 1
    assert (out / "raw" / first / "deliveries.parquet").read_bytes() == (tmp_path / "x").read_bytes()
    fresh = tmp_path / "fresh"
    carried(fresh, keep="raw")
    assert contents(fresh) == contents(out)


# --------------------------------------------------------------------------- until it is known well


def test_points_are_run_until_they_are_known_well(tmp_path: Path) -> None:
    wanted = {"figure": "messages_per_s", "relative": 0.4, "replications_max": 60}
    found = carried(tmp_path / "out", precision=wanted)
    counts = found.tables.runs.groupby("point").size()
    assert counts.min() >= 5
    assert counts.max() < 60
    results = found.tables.results.set_index(["point", "figure"])
    for point in (0, 1):
        row = results.loc[(point, "messages_per_s")]
        assert row["half_width"] <= 0.4 * row["estimate"]
    assert found.computed == counts.sum()
    assert carried(tmp_path / "out", precision=wanted).computed == 0
    # looser, it stops earlier; what was run beyond that is put aside
    looser = carried(tmp_path / "out", precision={**wanted, "relative": 0.7})
    assert looser.computed == 0
    assert len(looser.tables.runs) < counts.sum()


def test_a_study_until_known_well_may_be_killed_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"figure": "p50_ms", "relative": 0.2, "replications_max": 9}
    said = {"set": [*TINY["set"], "workload.conversations.messages_per_day=4000"], "precision": wanted}
    whole = carried(tmp_path / "whole", **said)
    assert whole.computed >= 10
    real, left = module._flushed, 0

    def flushed(path: Path, content: bytes) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed
        real(path, content)

    monkeypatch.setattr(module, "_flushed", flushed)
    kills = 0
    while True:
        left = 7
        try:
            carried(tmp_path / "out", **said)
            break
        except Killed:
            kills += 1
    assert kills >= 2
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_no_more_than_the_most(tmp_path: Path) -> None:
    found = carried(tmp_path / "out", precision={"figure": "deliveries", "relative": 0.001, "replications_max": 7})
    assert found.tables.runs.groupby("point").size().tolist() == [7, 7]


# --------------------------------------------------------------------------- runs that fail


def test_a_run_that_fails_is_told_and_tried_again(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    real = worker.simulate

    def fails(scenario: Any, world: Any) -> Any:
        if scenario.design.gateways == 3 and world.replication == 0:
            raise RuntimeError("no\nluck")
        return real(scenario, world)

    monkeypatch.setattr(worker, "simulate", fails)
    found = carried(out)
    assert found.computed == 3
    assert found.failures == ("design.gateways = 3, replication 0: RuntimeError: no luck",)
    assert found.tables.runs.groupby("point").size().tolist() == [2, 1]
    assert json.loads((out / HISTORY).read_text().splitlines()[-1])["failed"] == list(found.failures)
    monkeypatch.undo()
    again = carried(out)
    assert (again.computed, again.found, again.failures) == (1, 3, ())
    assert contents(out) == contents(whole)


@pytest.mark.parametrize("jobs", [1, 2])
def test_designs_that_differ_by_name_alone_share_their_runs(jobs: int, tmp_path: Path) -> None:
    (tmp_path / "twin.toml").write_text('extends = "go-chat"\nname = "twin"\n')
    said = {**TINY, "designs": ["go-chat", "twin.toml"]}
    del said["base"]
    found = carry_out(make_plan(study_of(said, "twins.toml"), tmp_path, "twins.toml"), tmp_path / "out", jobs=jobs)
    assert (found.computed, found.found) == (4, 4)
    runs = found.tables.runs.set_index(["design", "design.gateways", "replication"])["run"]
    assert runs["go-chat"].tolist() == runs["twin"].tolist()
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 4


def test_a_world_is_made_once_per_replication(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, int]] = []

    def counted(scenario: Any, replication: int = 0) -> Any:
        made.append((scenario.workload.users, replication))
        return build_world(scenario, replication)

    worker._worlds.clear()
    monkeypatch.setattr(worker, "build_world", counted)
    carried(tmp_path / "out", seed=77, factors={"workload.users": [50, 55, 60], "design.gateways": [2, 3]})
    assert sorted(made) == sorted({(users, replication) for users in (50, 55, 60) for replication in range(2)})
    made.clear()
    carried(tmp_path / "other", seed=78, factors={"design.gateways": [2, 3], "workload.users": [50, 55, 60]})
    assert len(made) == len(set(made)) == 6  # also where the workload is the factor that changes fastest


def test_worlds_of_files_are_made_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "log.csv").write_text("time,sender,recipient\n" + "".join(f"{t},{'ab'[t % 2]},{'ba'[t % 2]}\n" for t in range(200)))
    made: list[int] = []

    def counted(scenario: Any, replication: int = 0) -> Any:
        made.append(replication)
        return build_world(scenario, replication)

    monkeypatch.setattr(execute, "build_world", counted)
    monkeypatch.setattr(worker, "build_world", lambda *_: pytest.fail("made by a worker, which need not have the file"))
    found = carried(tmp_path / "out", set=["workload.trace='log.csv'", "workload.duration_s=0"])
    assert found.failures == ()
    assert sorted(made) == [0, 1]
    assert found.tables.runs["recipients"].tolist() == [200.0] * 4
