"""chatsim away from its repository: the wheel, the shipped data in it, and the command that its CI runs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from chatsim.scenario import preset_names

ASK = "from chatsim.scenario import load_scenario, preset_names\nprint(*[load_scenario(n).name for n in preset_names()])"


def test_presets_come_with_an_installed_package(root: Path, tmp_path: Path) -> None:
    # What the wheel holds, laid out by hand; -I keeps the repository and PYTHONPATH out.
    wheel = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    for package in wheel["packages"]:
        shutil.copytree(root / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for source, place in wheel["force-include"].items():
        shutil.copytree(root / source, tmp_path / place)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport chatsim; assert {str(tmp_path)!r} in chatsim.__file__\n"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code + ASK], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stderr, done.stdout.split()) == ("", list(preset_names()))


@pytest.mark.long
def test_the_wheel_works_outside_the_repository(root: Path, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(tmp_path), str(root)], timeout=300, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"chatsim/data/designs/{name}.toml" for name in preset_names()} <= names
    assert "chatsim/py.typed" in names
    assert not [name for name in names if not name.startswith(("chatsim/", "chatsim-"))]
    venv.create(tmp_path / "venv", with_pip=True)
    own = tmp_path / "venv" / "bin"
    subprocess.run([own / "pip", "install", "-q", wheel], timeout=600, check=True)
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(
        [own / "chatsim", "estimate", "go-chat"], cwd=tmp_path / "elsewhere", capture_output=True, text=True, timeout=60,
        check=True,
    )
    assert "messages/s" in done.stdout
    subprocess.run([own / "chatsim", "run", "go-chat", "--out", "out"], cwd=tmp_path / "elsewhere", timeout=120, check=True)
    assert (tmp_path / "elsewhere" / "out" / "summary.parquet").is_file()


def test_the_versions_agree(root: Path) -> None:
    import chatsim

    assert tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"] == chatsim.__version__


def test_the_ci_runs_the_readmes_test_command(root: Path) -> None:
    readme = (root / "README.md").read_text()
    assert re.findall(r"<!-- test command -->\n```bash\n(.+)\n```\n", readme) == [
        "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/python -m pytest -n auto --dist loadfile"
    ]
    script = (root / ".ci" / "run").read_text()
    done = subprocess.run(
        ["bash", "-c", re.findall(r"^command=\$\((.+)\)$", script, re.MULTILINE)[0]], cwd=root, capture_output=True, text=True,
        timeout=60, check=True,
    )
    assert done.stdout.strip() in readme
    assert "pytest" in done.stdout
