"""What the tests share: the command line, run inside this process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import settings

from chatsim.cli import main

ROOT = Path(__file__).resolve().parent.parent
LONGEST = (
    "test_style", "test_live", "test_compiled", "test_archive", "test_notebooks", "test_questions", "test_parts", "test_audit",
    "test_evidence", "test_report", "test_study_command",
)  # fmt: skip
"""Files that take longest, which begin: of several workers none should be left with one of them in the end. Live runs go
beside what keeps one core busy; notebooks take all that there are."""

settings.register_profile("any machine", deadline=None)  # a busy machine is no failure
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Workers that take a file each take them in the order in which they are collected, and not by how many tests each has:
    mypy is one test."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, all others as they come."""
    place = {name: at for at, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


class Said(NamedTuple):
    """What a command line came to."""

    status: int
    out: str
    err: str


@pytest.fixture
def chatsim(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """Runs a command line in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | os.PathLike[str]) -> Said:
        status = main([os.fspath(argument) for argument in arguments])
        return Said(status, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT
