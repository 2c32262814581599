"""The command line: what it prints, what it writes, and how it fails."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonschema
import pyarrow.parquet as pq
import pytest

from chatsim.scenario import load_scenario, preset_names
from tests.conftest import ROOT, Said

Cli = Callable[..., Said]
SMALL = ("--set", "workload.users=300", "--set", "workload.duration_s=120", "--jobs", "1")
HEAVY = ("numpy", "pandas", "scipy", "simpy", "matplotlib", "networkx", "pyarrow", "joblib", "pydantic")
TABLES = {
    "breaks", "chat", "deliveries", "endings", "fates", "faults", "intrusions", "latency", "messages", "presence", "pulls", "pushes", "runs",
    "sessions", "subscriptions", "summary", "ticks", "tiers", "work",
}


def process(arguments: list[str], folder: Path, hash_seed: str) -> subprocess.CompletedProcess[str]:
    """A command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "chatsim", *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": hash_seed},
        capture_output=True, text=True, timeout=300, check=False,
    )


def parquet_bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}


def listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_alone_it_says_what_to_do_next(chatsim: Cli) -> None:
    said = chatsim()
    assert (said.status, said.err) == (0, "")
    assert len(re.findall(r"^  chatsim (\w+)", said.out, re.MULTILINE)) == 3


@pytest.mark.parametrize(
    "arguments", [["--help"], ["compare", "--help"], []], ids=["--help", "compare --help", "nothing"]
)
def test_help_is_quick_because_heavy_things_are_imported_late(arguments: list[str]) -> None:
    code = (
        "import sys; from chatsim.cli import main\n"
        f"status = main({arguments!r})\n"
        f"print(status, sorted(set({HEAVY!r}) & set(sys.modules) - {{'pydantic'}}), file=sys.stderr)"
    )
    took_s = []
    for _ in range(3):
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
        )
        took_s.append(time.perf_counter() - began)
        assert done.stderr == "0 []\n"
    assert min(took_s) < 1.5


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = f"import sys, chatsim; assert not set({HEAVY!r}) & set(sys.modules); print(chatsim.Scenario().seed)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60, check=True
    )
    assert done.stdout == "1\n"


def test_the_public_face_gives_what_it_lists() -> None:
    import chatsim

    for name in chatsim.__all__:
        assert getattr(chatsim, name) is not None
    assert set(chatsim.__all__) <= set(dir(chatsim))
    with pytest.raises(AttributeError, match="no attribute 'simulat'"):
        _ = chatsim.simulat


def test_designs_lists_each_shipped_design_and_workload(chatsim: Cli) -> None:
    said = chatsim("designs")
    for name in (*preset_names(), *preset_names("workloads")):
        assert re.search(rf"^ {re.escape(name)} ", said.out, re.MULTILINE)
    listed = json.loads(chatsim("designs", "--json").out)
    assert set(listed["designs"]) == set(preset_names())


def test_schema_prints_a_schema(chatsim: Cli) -> None:
    schema = json.loads(chatsim("schema").out)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert "extends" in schema["properties"]


def test_new_writes_a_file_that_runs(chatsim: Cli, tmp_path: Path) -> None:
    said = chatsim("new", "mine.toml")
    assert said.status == 0
    assert "chatsim run mine.toml" in said.out
    assert load_scenario(tmp_path / "mine.toml").design == load_scenario("go-chat").design
    assert chatsim("run", "mine.toml", *SMALL).status == 0


def test_estimate_names_the_binding_tier(chatsim: Cli) -> None:
    said = chatsim("estimate", "go-chat", "--set", "workload.users=100_000_000")
    assert (said.status, said.err) == (0, "")
    assert re.search(r"^Overloaded: the \w+ binds? first, at ", said.out, re.MULTILINE)
    figures = json.loads(chatsim("estimate", "go-chat", "--json").out)
    assert figures["binding"] in {tier["tier"] for tier in figures["tiers"]}


def test_run_prints_a_table_and_a_verdict(chatsim: Cli) -> None:
    said = chatsim("run", "go-chat", *SMALL)
    assert (said.status, said.err) == (0, "")
    assert re.search(r"^ latency p50 +[\d.]+ +ms", said.out, re.MULTILINE)
    assert re.search(r"^go-chat: not overloaded: ", said.out, re.MULTILINE)
    assert max(len(line) for line in said.out.splitlines()) <= 100


def test_an_overloaded_design_is_called_so(chatsim: Cli) -> None:
    said = chatsim(
        "run",
        "go-chat",
        *SMALL,
        "--set",
        "database.insert_us=1e7",
        "--set",
        "database.cores=1",
        "--set",
        "workload.conversations.messages_per_day=2000",
    )
    assert said.status == 0
    assert re.search(r"^go-chat: overloaded: ", said.out, re.MULTILINE)


def test_json_is_all_there_is(chatsim: Cli) -> None:
    said = chatsim("run", "go-chat", *SMALL, "--json")
    assert said.err == ""
    row = json.loads(said.out)["summary"][0]
    assert row["design"] == "go-chat"
    assert row["deliveries"] > 0
    assert row["overloaded"] is False


def test_compare_pairs_designs_with_the_first(chatsim: Cli) -> None:
    said = chatsim("compare", "go-chat", "room-channel", *SMALL, "--replications", "2", "--json")
    assert said.err == ""
    figures = json.loads(said.out)
    assert [row["design"] for row in figures["summary"]] == ["go-chat", "room-channel"]
    assert [(row["replication"], row["a"], row["b"]) for row in figures["paired"]] == [
        (0, "go-chat", "room-channel"),
        (1, "go-chat", "room-channel"),
    ]
    assert all(row["pairs"] > 0 for row in figures["paired"])
    assert all(row["p50_half_width_ms"] > 0 for row in figures["summary"])
    assert figures["saturation"] is None


def test_compare_prints_one_row_per_design_within_100_columns(chatsim: Cli) -> None:
    for more in ([], ["--replications", "2"]):
        said = chatsim("compare", "go-chat", "room-channel", *SMALL, *more)
        assert (said.status, said.err) == (0, "")
        assert re.search(r"^ room-channel .* no *$", said.out, re.MULTILINE)
        assert "No design was overloaded at this load." in said.out
        assert max(len(line) for line in said.out.splitlines()) <= 100


def test_out_holds_tables_scenario_provenance_and_charts(chatsim: Cli, tmp_path: Path) -> None:
    said = chatsim("run", "go-chat", *SMALL, "--replications", "2", "--out", "results/first")
    assert said.status == 0
    out = tmp_path / "results" / "first"
    assert {path.stem for path in out.glob("*.parquet")} == TABLES
    assert load_scenario(out / "scenario.toml").workload.users == 300
    charts = listing(out / "charts")
    assert {"latency_by_percentile.png", "latency_by_percentile.svg", "utilisation.png", "queues.svg"} <= charts
    told = json.loads((out / "provenance.json").read_text())
    assert told["seed"] == 1
    assert told["command"][0] == "chatsim"
    assert set(told["files"]) == {name for name in listing(out) if (out / name).is_file()}
    deliveries = pq.read_table(out / "deliveries.parquet").to_pandas()
    assert set(deliveries["replication"]) == {0, 1}
    assert set(deliveries["fate"]) <= {
        "delivered",
        "read_later",
        "stored",
        "lost",
        "refused",
        "in_flight",
        "duplicate",
        "missed",
    }
    assert listing(tmp_path) == {"results", "results/first", *(f"results/first/{name}" for name in listing(out))}


def test_compare_draws_saturation_curves_into_out(chatsim: Cli, tmp_path: Path) -> None:
    said = chatsim("compare", "go-chat", "room-channel", *SMALL, "--out", "both")
    assert said.status == 0
    assert "Saturation" in said.out
    curves = pq.read_table(tmp_path / "both" / "saturation.parquet").to_pandas()
    assert set(curves["design"]) == {"go-chat", "room-channel"}
    assert curves.groupby("design")["overloaded"].agg(["min", "max"]).to_numpy().tolist() == [[False, True]] * 2
    assert {"saturation.png", "latency.svg"} <= listing(tmp_path / "both" / "charts")
    assert listing(tmp_path / "both" / "scenarios") == {"go-chat.toml", "room-channel.toml"}


def test_force_replaces_a_former_result_and_nothing_else(chatsim: Cli, tmp_path: Path) -> None:
    assert chatsim("run", "go-chat", *SMALL, "--out", "out").status == 0
    before = (tmp_path / "out" / "provenance.json").read_bytes()
    assert "holds a former result" in chatsim("run", "go-chat", *SMALL, "--out", "out").err
    assert (tmp_path / "out" / "provenance.json").read_bytes() == before
    assert chatsim("run", "go-chat", *SMALL, "--seed", "2", "--out", "out", "--force").status == 0
    assert json.loads((tmp_path / "out" / "provenance.json").read_text())["seed"] == 2
    (tmp_path / "out" / "notes.txt").write_text("mine")
    refused = chatsim("run", "go-chat", *SMALL, "--out", "out", "--force")
    assert refused.status == 2
    assert "holds 'notes.txt', which chatsim did not write" in refused.err
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            2,
            "chatsim: --out results/first: cannot be written: No space left on device\n",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied"),
            2,
            "chatsim: --out results/first: cannot be written: Permission denied\n",
        ),
        (KeyboardInterrupt(), 130, "chatsim: interrupted\n"),
        (MemoryError(), 2, "chatsim: out of memory: "),
    ],
    ids=["disk full", "not allowed", "ctrl-C", "out of memory"],
)
def test_what_fails_half_way_leaves_nothing(
    chatsim: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, line: str
) -> None:
    def fail(*_: object) -> None:
        assert any(name.endswith("deliveries.parquet") for name in listing(tmp_path)), "nothing was half written"
        raise error

    monkeypatch.setattr("chatsim.report.gallery.draw", fail)
    said = chatsim("run", "go-chat", *SMALL, "--out", "results/first")
    assert said.status == status
    assert said.err.startswith(line)
    assert said.err.count("\n") == 1
    assert listing(tmp_path) == set()


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """Children heed SIGINT, though this process may have been started to ignore it, as shells start what runs behind."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_ctrl_c")
@pytest.mark.parametrize("after_s", [0.5, 2.5])  # while workers are started; and when both are at work, for a minute
def test_ctrl_c_ends_workers_too_in_one_line(tmp_path: Path, after_s: float) -> None:
    long = ["compare", "go-chat", "room-channel", "--workload", "day", "--jobs", "2", "--out", "out"]
    running = subprocess.Popen(
        [sys.executable, "-m", "chatsim", *long],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not listing(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(after_s)
    os.killpg(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out, err) == (130, "", "chatsim: interrupted\n")
    assert listing(tmp_path) == set()


def test_a_reader_who_leaves_early_is_no_error() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "chatsim", "schema"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""


def test_the_same_seed_gives_the_same_bytes_in_two_processes(tmp_path: Path) -> None:
    command = ["compare", "go-chat", "room-channel", *SMALL[:4], "--replications", "2", "--no-saturation"]
    for place, jobs, hash_seed in (("a", "1", "1"), ("b", "2", "2")):
        done = process([*command, "--jobs", jobs, "--out", place], tmp_path, hash_seed)
        assert (done.returncode, done.stderr) == (0, "")
    first, second = parquet_bytes(tmp_path / "a"), parquet_bytes(tmp_path / "b")
    assert len(first) == len(TABLES) + 1
    assert first == second


def test_another_seed_gives_other_bytes(chatsim: Cli, tmp_path: Path) -> None:
    for seed in ("1", "2"):
        assert chatsim("run", "go-chat", *SMALL, "--seed", seed, "--out", seed).status == 0
    assert (tmp_path / "1" / "deliveries.parquet").read_bytes() != (tmp_path / "2" / "deliveries.parquet").read_bytes()


@pytest.mark.long
@pytest.mark.parametrize("workload", ["small", "collegemsg"])
def test_all_designs_are_compared(chatsim: Cli, workload: str) -> None:
    said = chatsim("compare", "all", "--workload", workload, "--no-saturation", "--json")
    assert said.status == 0
    figures = json.loads(said.out)
    assert [row["design"] for row in figures["summary"]] == list(preset_names())
    assert all(row["deliveries"] > 0 for row in figures["summary"])
