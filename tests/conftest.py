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


settings.register_profile("any machine", deadline=None)  # a busy machine is no failure
settings.load_profile("any machine")


TOGETHER = ("test_live", "test_compiled")
"""Files whose names begin so are run by one process: they look at what is left behind, or compile the same code."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run in several processes, a file is run by one, for the sake of what its tests share."""
    for item in items:
        name = item.path.stem
        group = next((prefix for prefix in TOGETHER if name.startswith(prefix)), name)
        item.add_marker(pytest.mark.xdist_group(group))


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
