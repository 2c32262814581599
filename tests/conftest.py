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
