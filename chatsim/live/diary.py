"""What was measured, run by run, in a file that outlives an interruption: what stands there is not measured again."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO

from chatsim.scenario import InputError

FILE = "live_runs.jsonl"
PROGRAM = "chatsim validate --part live"
MODULES = ("asking", "frames", "gateway", "grids", "hall", "keys", "ledger", "line", "link", "pace", "player", "record",
           "run", "seeding", "tokens")  # fmt: skip
"""Of these, and of the rules, a live run is made. A prediction may change without them, and is then held to the same
measurements."""
Figures = dict[str, float]


class Diary:
    """Figures of live runs by key, each run a line of JSON; without a file they are kept in memory alone.

    >>> diary = Diary()
    >>> diary.add("room, 1 gateway", {"p50_ms": 1.5})
    >>> diary.of("room, 1 gateway"), diary.of("another")
    ([{'p50_ms': 1.5}], [])
    """

    def __init__(self, file: IO[str] | None = None, found: Mapping[str, list[Figures]] | None = None) -> None:
        self._file, self._runs = file, dict(found or {})
        self.found = self.runs

    @property
    def runs(self) -> int:
        """How many runs there are."""
        return sum(len(runs) for runs in self._runs.values())

    def of(self, key: str) -> list[Figures]:
        """The runs of a key, in the order in which they were made."""
        return list(self._runs.get(key, ()))

    def add(self, key: str, figures: Figures) -> None:
        """Keeps a run; it is on the disk when this returns."""
        self._runs.setdefault(key, []).append(figures)
        if self._file is not None:
            said = {name: None if math.isnan(value) else value for name, value in figures.items()}
            self._file.write(json.dumps({"key": key, "figures": said}) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())


@contextmanager
def opened(out: str, force: bool = False) -> Iterator[Diary]:
    """The diary in a folder, which goes on where it was; ``force`` begins anew.

    Raises InputError where the folder holds anything else, or runs of another twin or machine, or is being written to.
    """
    import fcntl

    folder = Path(out)
    path = folder / FILE
    if folder.is_file():
        raise InputError(f"--out {out}: is a file: a folder is needed")
    if folder.is_dir() and any(folder.iterdir()) and not path.is_file():
        raise InputError(f"--out {out}: is not empty and holds no live runs: a new or an empty folder is needed")
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"--out {out}: another program is writing there") from error
        diary = Diary(file, _begun(file, out, force))
        try:
            yield diary
        finally:
            if made and not diary.runs:
                shutil.rmtree(folder)


def _begun(file: IO[str], out: str, force: bool) -> dict[str, list[Figures]]:
    """What stands in a file; a new one gets its first line. Of a last line that was cut short nothing stays."""
    file.seek(0)
    lines = [] if force else file.read().split("\n")[:-1]
    if not lines:
        file.truncate(0)
        file.write(json.dumps(_head()) + "\n")
        file.flush()
        return {}
    try:
        head, *rows = map(json.loads, lines)
        runs: dict[str, list[Figures]] = {}
        for row in rows:
            figures = {str(name): math.nan if value is None else float(value) for name, value in row["figures"].items()}
            runs.setdefault(str(row["key"]), []).append(figures)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"--out {out}: {FILE} is damaged: a new folder is needed, or --force to begin anew") from error
    for key, value in _head().items():
        if not isinstance(head, dict) or head.get(key) != value:
            other = head.get(key) if isinstance(head, dict) else None
            raise InputError(
                f"--out {out}: its runs were made with {key} = {other}, now it is {value}: a new folder is needed, or "
                "--force to begin anew"
            )
    file.truncate(sum(len(line.encode()) + 1 for line in lines))
    return runs


@cache
def _head() -> dict[str, str]:
    """What all runs of a file have in common."""
    package = Path(__file__).resolve().parent.parent
    paths = [package / "live" / f"{name}.py" for name in MODULES] + sorted((package / "rules").glob("*.py"))
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return {"program": PROGRAM, "twin": digest.hexdigest()[:12], "machine": machine}
