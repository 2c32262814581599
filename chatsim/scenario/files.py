"""Where the shipped data lies, and how a small text file is read without trusting it."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from chatsim.scenario.errors import InputError

MAX_TOML_BYTES = 1_000_000


@cache
def data_folder() -> Path:
    """The shipped data: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "data"
    return installed if installed.is_dir() else package.parent / "data"


def read_text(path: Path, limit_bytes: int, label: str = "") -> str:
    """The text of a small file; InputError, in one line that names the file by its label, where it is not one."""
    label = label or str(path)
    try:
        if path.is_dir():
            raise InputError(f"{label}: is a folder: a file is needed")
        if not path.is_file():
            raise InputError(f"{label}: no such file" if not path.exists() else f"{label}: is not a plain file")
        size = path.stat().st_size
        if size > limit_bytes:
            raise InputError(f"{label}: {size:,} bytes: at most {limit_bytes:,} are allowed here")
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{label}: byte {error.start} is not UTF-8: UTF-8 text is needed") from error
    except OSError as error:
        raise InputError(f"{label}: cannot be read: {error.strerror or error}") from error


def read_toml(path: Path, label: str = "") -> dict[str, Any]:
    """The table in a TOML file; InputError, naming the file by its label, where it is not TOML or empty."""
    label = label or str(path)
    text = read_text(path, MAX_TOML_BYTES, label)
    if not text.strip():
        raise InputError(f"{label}: is empty: at least a line such as 'name = \"mine\"' is needed")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{label}: is not TOML: {error}") from error
    except RecursionError as error:
        raise InputError(f"{label}: is nested too deeply") from error
