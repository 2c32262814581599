"""Single files that a command is asked to write: refused before any work is done, and whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

from chatsim.scenario import InputError

PART = ".part"
"""What the name of a file ends with that is being written."""


def free_file(said: str, force: bool, option: str = "--out") -> Path:
    """The path to write to; InputError where it is taken, unless ``force`` allows that, or cannot be a file."""
    path = Path(said)
    if path.is_dir():
        raise InputError(f"{option} {said}: is a folder: the name of a file is needed")
    if path.exists() and not force:
        raise InputError(f"{option} {said}: exists already: another name is needed, or --force to replace it")
    if not path.parent.is_dir():
        raise InputError(f"{option} {said}: no such folder: {path.parent}")
    return path


def write_whole(path: Path, text: str, option: str = "--out") -> None:
    """Writes a file: it is there whole, or as it was before. InputError where it cannot be written."""
    draft = path.with_name(f".{path.name}.{os.getpid()}{PART}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise InputError(f"{option} {path}: cannot be written: {error.strerror or error}") from error
