"""When the engine is compiled: once, by one process, with word of it; and also where no code can be kept."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chatsim.engine import loops, simulate
from chatsim.engine.compiled import code, run
from chatsim.scenario import load_scenario, preset_names
from chatsim.study import runs
from chatsim.world import build_world, compiling
from tests.conftest import ROOT


def in_python(*lines: str) -> subprocess.Popen[str]:
    """A process of its own that does this."""
    return subprocess.Popen([sys.executable, "-c", "\n".join(lines)], cwd=ROOT, text=True, stderr=subprocess.PIPE)


def test_of_processes_that_would_compile_at_once_one_does(tmp_path: Path) -> None:
    lines = (
        "import time; from pathlib import Path",
        f"folder = Path({str(tmp_path)!r})",
        "from chatsim.engine import prepare; from chatsim.engine.compiled import code, run",
        "code.code_folder = lambda: folder",
        "def compiles(progress):",
        "    (folder / f'begins-{time.monotonic_ns()}').touch(); time.sleep(0.5); (folder / 'loop.go_on-1.o').touch()",
        "run.compile_all = compiles",
        "(folder / f'ready-{time.monotonic_ns()}').touch()",
        "while len(list(folder.glob('ready-*'))) < 3: time.sleep(0.01)",
        "prepare()",
    )
    processes = [in_python(*lines) for _ in range(3)]
    assert [process.communicate()[1] for process in processes].count("") == 2  # one says what takes so long
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(list(tmp_path.glob("begins-*"))) == 1


def test_with_several_workers_the_engine_is_compiled_before_they_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    compiled: list[int] = []

    def prepares(progress: Callable[[float], None]) -> None:
        compiled.append(len(told))
        progress(0.5)

    monkeypatch.setattr(runs, "will_compile", lambda *point: not compiled)
    monkeypatch.setattr(runs, "prepare", prepares)
    scenario = load_scenario("hub", ["workload.users=50", "workload.duration_s=60"])
    runs.run(scenario, replications=3, jobs=2, progress=lambda done, total, what: told.append(what))
    assert compiled == [0]
    assert told[0] == "compiling the engine, once: 50%"
    assert told[1:] == ["hub"] * 3


def test_loops_are_compiled_for_one_kind_of_arguments_whatever_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    every = {id(loop): loop for loop in (*compiling.LOOPS, *loops.LOOPS)}.values()
    for loop in every:
        monkeypatch.setattr(loop, "fast", None)
        loop.load()
    for name in preset_names():
        for users in (1, 2, 3, 500):
            chosen = load_scenario(name, [f"workload.users={users}", "workload.duration_s=600", "workload.conversations.messages_per_day=500"])
            people = build_world(chosen)
            if users == 500:
                simulate(chosen, people, engine="compiled")
    kinds = {loop.function.__name__: len(loop.fast.signatures) for loop in every if loop.fast}
    assert {name: count for name, count in kinds.items() if count > 1} == {}
    assert sum(kinds.values()) > 15


def test_to_prepare_compiles_all_loops_over_what_a_run_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    every = [loop for loop in loops.LOOPS if loop.function.__module__.startswith("chatsim.engine")]
    for loop in loops.LOOPS:
        monkeypatch.setattr(loop, "fast", None)
    run.compile_all()
    assert [loop.function.__name__ for loop in every if not loop.fast.signatures] == []
    assert len(every) > 5


@pytest.fixture
def no_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither beside the package nor in the user's cache can a folder be made."""
    (tmp_path / "file").touch()
    monkeypatch.setattr(code, "__file__", str(tmp_path / "file" / "code.py"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(code, "code_folder", code.code_folder.__wrapped__)
    monkeypatch.setattr(code, "_version", lambda: "1")


@pytest.mark.usefixtures("no_folder")
def test_without_a_folder_to_write_to_no_code_is_kept() -> None:
    assert code.code_folder() is None
    assert not code.is_kept()
    with code.compiling_alone():
        pass


@pytest.mark.long
def test_without_a_folder_to_write_to_the_engine_works_all_the_same() -> None:
    process = in_python(
        "from chatsim.engine.compiled import code",
        "code.code_folder = lambda: None",
        "from chatsim.scenario import load_scenario; from chatsim.world import build_world",
        "from tests.test_compiled import check_equal",
        "chosen = load_scenario('hub', ['workload.users=50', 'workload.duration_s=60'])",
        "check_equal(chosen, build_world(chosen), 'no folder')",
    )
    said = process.communicate()[1]
    assert process.returncode == 0, said


def test_a_loop_is_compiled_anew_when_a_file_of_its_parts_has_changed(tmp_path: Path) -> None:
    """Which numba by itself does not see; nor is what an earlier version has kept read, which may know other types."""
    total = "from adding import more\ndef total(values):\n    found = 0\n"
    total += "    for value in values:\n        found += more(value)\n    return found\n"
    (tmp_path / "counting.py").write_text(total, encoding="utf-8")
    code = "import numpy as np, counting, adding\nfrom chatsim.world.compiling import Loop\n"
    code += "loop = Loop(counting.total, adding.more)\nprint(loop.is_kept())\nloop.load()\nprint(loop.fast(np.arange(4)))\n"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    env.pop("NUMBA_CACHE_DIR", None)
    for factor, is_kept, found in ((1, False, 6), (1, True, 6), (3, False, 18), (3, True, 18)):
        (tmp_path / "adding.py").write_text(f"def more(value):\n    return {factor} * value\n", encoding="utf-8")
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout
        assert said.split() == [str(is_kept), str(found)]
