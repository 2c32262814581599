"""A results folder: written whole or not at all, and never over anything that chatsim did not write."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from chatsim.scenario import InputError

PROVENANCE = "provenance.json"


@contextmanager
def results_folder(out: str | Path, force: bool = False) -> Iterator[Path]:
    """A new folder beside ``out`` to write results into; it becomes ``out`` when the block ends without an error.

    Raises InputError where ``out`` is anything but missing, an empty folder, or, with ``force``, a former result
    that holds nothing else.
    """
    target = Path(out).resolve()
    _refuse_to_overwrite(target, str(out), force)
    made = _make_parents(target.parent, str(out))
    try:
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    except OSError as error:
        _remove_empty(made)
        raise _cannot_write(str(out), error) from error
    try:
        yield draft
        _refuse_to_overwrite(target, str(out), force)
        draft.chmod(0o777 & ~_umask())
        _put_in_place(draft, target)
    except OSError as error:
        raise _cannot_write(str(out), error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        _remove_empty(made)


def seal(draft: Path, provenance: dict[str, Any]) -> None:
    """Writes the provenance with the list of the files that stand in the folder, by which it is known later on."""
    files = sorted(str(path.relative_to(draft)) for path in draft.rglob("*") if path.is_file())
    text = json.dumps({"program": "chatsim", **provenance, "files": [*files, PROVENANCE]}, indent=2)
    (draft / PROVENANCE).write_text(text + "\n", encoding="utf-8")


def _refuse_to_overwrite(target: Path, said: str, force: bool) -> None:
    try:
        if target.exists() and not target.is_dir():
            raise InputError(f"--out {said}: is a file: a folder is needed")
        if not target.exists() or not any(target.iterdir()):
            return
        own = _files_of_former_result(target)
        present = {
            str(path.relative_to(target)) for path in target.rglob("*") if not path.is_dir() or path.is_symlink()
        }
    except OSError as error:
        raise _cannot_write(said, error) from error
    if own is None:
        raise InputError(f"--out {said}: is not empty and not a chatsim result: a new or an empty folder is needed")
    strangers = sorted(present - own)
    if strangers:
        raise InputError(f"--out {said}: holds '{strangers[0]}', which chatsim did not write: a new folder is needed")
    if not force:
        raise InputError(f"--out {said}: holds a former result: a new folder is needed, or --force to replace it")


def _files_of_former_result(folder: Path) -> set[str] | None:
    """The files that a former run says it wrote; None where the folder is no result of chatsim."""
    try:
        said = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
        files = said["files"] if said["program"] == "chatsim" else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return {str(file) for file in files} if isinstance(files, list) else None


def _put_in_place(draft: Path, target: Path) -> None:
    """Renames the draft to its target; a former result is moved aside first and comes back should that fail."""
    if not target.exists():
        draft.rename(target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent)) / "former"
    target.rename(aside)
    try:
        draft.rename(target)
    except OSError:
        aside.rename(target)
        raise
    finally:
        shutil.rmtree(aside.parent, ignore_errors=True)


def _make_parents(folder: Path, said: str) -> list[Path]:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _remove_empty(missing)
        raise _cannot_write(said, error) from error
    return missing


def _remove_empty(folders: list[Path]) -> None:
    """Takes away folders that were made for nothing, the deepest first."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _cannot_write(said: str, error: OSError) -> InputError:
    return InputError(f"--out {said}: cannot be written: {error.strerror or error}")


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
