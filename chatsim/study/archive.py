"""A folder of results: a file for each run, which is there whole or not at all, and what the runs belong to.

    study.toml         the study, as it was read; with the scenarios in bases/ it gives the same runs again
    manifest.json      versions, and the points with the values of their factors and the hashes of their runs
    runs/HASH.parquet  a run: one row of figures, and its latencies
    raw/HASH/          the tables of all that happened, where the study keeps them
    runs.parquet       all runs with the factors of their points
    results.parquet    a row for each point and figure, with its interval
    verdicts.parquet   a row for each point and SLO
    unused/            runs that the study does not have (any more); taken back when it has them again
    history.jsonl      commands, machine and times: the only file that differs between two studies alike, with
    report.html        which tells them, and what all of it says

Files are written under another name, flushed to the disk and renamed. What a killed program has left of that is cleared
away by the next. Nothing in the folder is a program or a pickle: it may come from anybody.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from chatsim.scenario import InputError
from chatsim.study.figures import LISTS, Figure
from chatsim.study.files import PART

PROGRAM = "chatsim study"
MANIFEST, STUDY, HISTORY = "manifest.json", "study.toml", "history.jsonl"
RUNS, RAW, UNUSED = "runs", "raw", "unused"
REPORT = "report.html"
TABLES = ("runs.parquet", "results.parquet", "verdicts.parquet")
MANIFEST_MAX_BYTES = 1 << 30

Files = Mapping[str, bytes]


class Archive:
    """The folder of one study. ``root`` need not exist."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.said = str(root)

    # ----------------------------------------------------------------------- what it is

    def manifest(self) -> dict[str, Any] | None:
        """What the folder says that it holds; None where it is new. InputError where it holds something else."""
        try:
            if self.root.is_file():
                raise InputError(f"{self.said}: is a file: a folder is needed")
            if not self.root.is_dir() or _is_new(self.root):
                return None
            path = self.root / MANIFEST
            if path.stat().st_size > MANIFEST_MAX_BYTES:
                raise InputError(f"{self.said}: {MANIFEST} has {path.stat().st_size:,} bytes: it is none of chatsim's")
            said = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            needed = "a study's folder or a new one is needed"
            raise InputError(f"{self.said}: is not empty and holds no study: {needed}") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"{self.said}: {MANIFEST} is damaged: a new folder is needed") from error
        except OSError as error:
            raise InputError(f"{self.said}: cannot be read: {error.strerror or error}") from error
        own = isinstance(said, dict) and said.get("program") == PROGRAM and isinstance(said.get("points"), list)
        if not own:
            raise InputError(f"{self.said}: {MANIFEST} is none of a study: a new folder is needed")
        return dict(said)

    def accept(self, study: str, model: str) -> dict[str, str]:
        """Refuses a folder that holds another study, or runs of another model: they must not be mixed. Gives the
        versions of the packages with which the runs there were made."""
        said = self.manifest()
        if said is None:
            return {}
        if said.get("study") != study:
            raise InputError(
                f"{self.said}: holds the study '{said.get('study')}', and this is '{study}': another --out is needed"
            )
        if said.get("model") != model:
            raise InputError(
                f"{self.said}: holds runs of model {said.get('model')}, and this chatsim is {model}: another --out is "
                "needed ('chatsim results' reads both)"
            )
        versions = said.get("versions")
        return {str(name): str(one) for name, one in versions.items()} if isinstance(versions, dict) else {}

    @contextmanager
    def open(self) -> Iterator[None]:
        """Makes the folder and keeps others out until the block ends; leftovers of those that were killed go."""
        made = [path for path in (self.root / RUNS, self.root, *self.root.parents) if not path.exists()]
        try:
            (self.root / RUNS).mkdir(parents=True, exist_ok=True)
            handle = os.open(self.root, os.O_RDONLY) if os.name == "posix" else None
        except OSError as error:
            raise InputError(f"--out {self.said}: cannot be written: {error.strerror or error}") from error
        try:
            if handle is not None:
                _lock(handle, self.said)
            for left in [*self.root.glob(f".*{PART}"), *self.root.glob(f"*/.*{PART}")]:
                shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
            yield
        finally:
            if handle is not None:
                os.close(handle)
            for folder in made:  # those that nothing was written to
                with suppress(OSError):
                    folder.rmdir()

    # ----------------------------------------------------------------------- runs

    def has(self, run: str, raw: bool = False) -> bool:
        """Whether a run is there, with all that happened where that is asked for; one put aside is taken back."""
        for name in (self._run(run), f"{RAW}/{run}"):
            aside, place = self.root / UNUSED / name, self.root / name
            if not place.exists() and aside.exists():
                place.parent.mkdir(exist_ok=True)
                aside.rename(place)
        return (self.root / self._run(run)).is_file() and (not raw or (self.root / RAW / run).is_dir())

    def put(self, run: str, row: bytes, raw: Files) -> None:
        """Stores a run; its row last, as that says that the run is there."""
        if raw:
            self._put_raw(run, raw)
        self.write(self._run(run), row)

    def row(self, run: str) -> dict[str, Figure] | None:
        """The figures of a run, without its latencies; None where the run is not there or its file is damaged."""
        table = self._read(run, lists=False)
        return None if table is None else {key: value for key, value in table.items() if key != "replication"}

    def lists(self, run: str) -> dict[str, list[float]]:
        """The distinct latencies of a run and their numbers; see :mod:`chatsim.study.figures`."""
        return self._read(run, lists=True) or {name: [] for name in LISTS}

    def set_aside(self, wanted: Iterable[str]) -> int:
        """Puts runs that are not wanted out of the way of tools that read all of ``runs/``; says how many."""
        kept = set(wanted)
        strays = [path for path in (self.root / RUNS).glob("*.parquet") if path.stem not in kept]
        strays += [path for path in (self.root / RAW).glob("*") if path.name not in kept]
        for path in strays:
            target = self.root / UNUSED / path.relative_to(self.root)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir():
                shutil.rmtree(target)
            path.replace(target)
        return len(strays)

    def _run(self, run: str) -> str:
        return f"{RUNS}/{run}.parquet"

    def _read(self, run: str, lists: bool) -> dict[str, Any] | None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.root / self._run(run)
        if not path.is_file():
            return None
        try:
            file = pq.ParquetFile(path)
            names = [name for name in file.schema_arrow.names if (name in LISTS) == lists or name == "run"]
            row = file.read(names).to_pylist()[0]
        except (OSError, pa.ArrowException, IndexError):
            return None
        return row if row.pop("run", None) == run else None

    def _put_raw(self, run: str, raw: Files) -> None:
        target = self.root / RAW / run
        target.parent.mkdir(exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".", suffix=PART, dir=target.parent))
        draft.chmod(0o777 & ~_umask())
        for name, content in raw.items():
            _flushed(draft / name, content)
        if target.is_dir():  # of one who was killed before the row was there; the same runs give the same bytes
            shutil.rmtree(target)
        draft.rename(target)
        _flush_folder(target.parent)

    # ----------------------------------------------------------------------- other files

    def write(self, name: str, content: bytes | str) -> None:
        """Writes a file of the folder: it is there whole, or as it was before."""
        target = self.root / name
        data = content.encode("utf-8") if isinstance(content, str) else content
        if target.is_file() and target.stat().st_size == len(data) and target.read_bytes() == data:
            return
        target.parent.mkdir(exist_ok=True)
        draft = target.parent / f".{target.name}.{os.getpid()}{PART}"
        try:
            _flushed(draft, data)
            draft.replace(target)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise InputError(f"{target}: cannot be written: {error.strerror or error}") from error
        _flush_folder(target.parent)

    def drop(self, names: Iterable[str]) -> None:
        """Takes files away that are not true any more."""
        for name in names:
            (self.root / name).unlink(missing_ok=True)

    def note(self, event: dict[str, Any]) -> None:
        """Adds a line to the history."""
        path = self.root / HISTORY
        before = path.read_text(encoding="utf-8") if path.is_file() else ""
        self.write(HISTORY, f"{before}{json.dumps(event, ensure_ascii=False)}\n")


def _is_new(root: Path) -> bool:
    """Whether a folder holds nothing, or what is there after one who was killed at the very beginning."""
    held = [path for path in root.iterdir() if not path.name.endswith(PART)]
    return not held or (held == [root / RUNS] and all(path.name.endswith(PART) for path in held[0].iterdir()))


def _lock(handle: int, said: str) -> None:
    """One program at a time, where the system can say so; the lock ends with the program, however that ends."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(f"{said}: another chatsim is at work in it: wait for it, or give another --out") from error
    except OSError:
        return


def _flushed(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """So that a file's new name lasts; not all systems let a folder be opened."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
