"""ruff and mypy find nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("check", [["ruff", "check", "--no-cache", "."], ["mypy"]], ids=["ruff", "mypy"])
def test_nothing_is_found(check: list[str], root: Path, tmp_path: Path) -> None:
    more = ["--cache-dir", str(tmp_path)] if check == ["mypy"] else []
    done = subprocess.run(
        [sys.executable, "-m", *check, *more], cwd=root, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
