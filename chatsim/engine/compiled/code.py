"""How handlers are compiled, and where the code is kept.

A function that Python calls is compiled with all that it calls, as one whole. The code is kept in a folder named after
all sources that it can come from: beside these, in the user's cache, or nowhere.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

Handler = TypeVar("Handler", bound=Callable[..., Any])
SOURCES = ("engine", "rules", "world/draws.py")
HANDLERS = set[Any]()
"""All that :func:`compiled` has been given."""
SELDOM = set[Any]()
"""Those of them that :func:`seldom` has been given."""


def compiled(function: Handler) -> Handler:
    """Marks a handler, which is compiled with what calls it, for the kinds of arguments that it declares."""
    HANDLERS.add(function)
    return function


def seldom(function: Handler) -> Handler:
    """The same for a handler that most runs hardly need: its code, and what leads to it, stands aside, so that what
    happens all the time has the processor's registers to itself."""
    SELDOM.add(function)
    return compiled(function)


def is_interpreted() -> bool:
    """Whether compiling is switched off, so that handlers run as the Python that they are."""
    return os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")


class Entry:
    """A function of a state and whole numbers that Python calls, and that gives a whole number."""

    def __init__(self, function: Callable[..., int]) -> None:
        self.function = function
        self.fast: Callable[..., int] | None = None

    def __call__(self, st: Any, *numbers: int) -> int:
        """Calls it."""
        if is_interpreted():
            return self.function(st, *numbers)
        if self.fast is None:
            self.load()
        assert self.fast is not None
        return self.fast(st.address, *numbers)

    def load(self, progress: Callable[[float], None] = lambda share: None) -> None:
        """Takes the code that is kept, or compiles it, with word of how far that is."""
        from chatsim.engine.compiled.machine import machine_code, named

        code = self._kept()
        if code is None:
            code = machine_code(self.text(), progress)
            self._keep(code)
        kinds = [ctypes.c_int64] * self.function.__code__.co_argcount
        self.fast = named(code, self._name(), ctypes.c_int64, *kinds)

    def text(self) -> str:
        """The function and all that it calls, in LLVM's language."""
        from chatsim.engine.compiled.translating import Translation

        return Translation(_is_checked()).text(self.function)

    def _name(self) -> str:
        return f"{self.function.__module__.rpartition('.')[2]}.{self.function.__name__}"

    def _file(self) -> Path | None:
        """Where the code for this processor is kept."""
        from chatsim.engine.compiled.machine import processor

        folder = code_folder()
        kind = hashlib.sha256(processor().encode()).hexdigest()[:12]
        return None if folder is None else folder / f"{self._name()}-{kind}.o"

    def _kept(self) -> bytes | None:
        file = self._file()
        return file.read_bytes() if file is not None and file.exists() else None

    def _keep(self, code: bytes) -> None:
        """Keeps the code: all of it, or none, where code of other sources has just taken its place."""
        file = self._file()
        if file is None:
            return
        part = file.with_suffix(f".{os.getpid()}")
        with suppress(OSError):
            part.write_bytes(code)
            part.replace(file)


def _is_checked() -> bool:
    """Whether each row is looked up with a check that it is there."""
    return os.environ.get("NUMBA_BOUNDSCHECK", "0") not in ("", "0")


def entry(function: Callable[..., int]) -> Entry:
    """A function that Python calls, compiled when it is first called, with all that it calls."""
    return Entry(compiled(function))


@cache
def code_folder() -> Path | None:
    """Where compiled code of these sources is kept; that of others there is thrown away. None: nowhere."""
    name = f"compiled-{_version()}"
    caches = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or str(Path("~/.cache").expanduser())
    for parent in (Path(__file__).parent / "__pycache__", Path(caches) / "chatsim"):
        folder = parent / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f"probe-{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError:
            continue
        for other in parent.glob("compiled-*"):
            if other != folder:
                shutil.rmtree(other, ignore_errors=True)
        return folder
    return None


def is_kept() -> bool:
    """Whether the engine of these sources has been compiled, and its code kept."""
    folder = code_folder()
    return folder is not None and next(folder.rglob("loop.go_on*.o"), None) is not None


@contextmanager
def compiling_alone() -> Iterator[None]:
    """While one process compiles, others that are about to do the same wait here, and then find its code.

    Where files cannot be locked, or no code is kept, each compiles for itself.
    """
    folder = code_folder()
    if folder is None or sys.platform == "win32":
        yield
        return
    import fcntl

    with (folder / "lock").open("wb") as file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed, or the process ends
        yield


def _version() -> str:
    package = Path(__file__).resolve().parent.parent.parent
    made_by = (version("llvmlite"), version("numpy"), os.environ.get("NUMBA_BOUNDSCHECK", ""), platform.machine())
    digest = hashlib.sha256(repr(made_by).encode())
    for name in SOURCES:
        for path in sorted((package / name).rglob("*.py")) if (package / name).is_dir() else [package / name]:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
