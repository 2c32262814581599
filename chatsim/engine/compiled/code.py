"""How handlers are compiled, and where the code is kept.

numba looks only at a function's own file to tell whether kept code is old, though all that it calls is in it too. So
code is kept in a folder named after all sources that it can come from: beside these, in the user's cache, or nowhere.
"""

from __future__ import annotations

import gc
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
from typing import Any, TypeVar, cast

Handler = TypeVar("Handler", bound=Callable[..., Any])
DECLARED = {"State", "int", "float", "bool", "None"}
SOURCES = ("engine", "rules", "world/draws.py")
OPTIONS: dict[str, Any] = {"no_cfunc_wrapper": True}
"""What all are compiled with."""
HANDLERS: list[Any] = []
"""All that :func:`compiled` has been given."""


def compiled(function: Handler) -> Handler:
    """Compiles a handler that others call: once, for the types that it declares, and only when it is needed.

    Left to itself numba would compile it anew for each constant that it is called with, which takes ten times as long.
    """
    if is_interpreted():
        return function
    from numba import njit

    from chatsim.engine.compiled.whole import HandlerCompiler

    handler: Any = njit(**OPTIONS, no_cpython_wrapper=True, pipeline_class=HandlerCompiler)(function)
    if not set(function.__annotations__.values()) <= DECLARED:
        return cast(Handler, handler)
    HANDLERS.append(handler)
    template = handler.get_call_template

    def for_declared_types(args: Any, kws: Any) -> Any:
        _compile(handler)
        return template(args, kws)

    handler.get_call_template = for_declared_types
    return cast(Handler, handler)


def compile_handlers(progress: Callable[[float], None]) -> None:
    """Compiles all handlers, and tells after each what share of them is done."""
    were_on = gc.isenabled()
    gc.disable()  # nearly all that numba makes here is kept: to look for garbage takes a tenth of the time
    try:
        for number, handler in enumerate(HANDLERS, 1):
            _compile(handler)
            progress(number / len(HANDLERS))
    finally:
        if were_on:
            gc.enable()


def _compile(handler: Any) -> None:
    if not handler.signatures:
        handler.compile(_declared(handler.py_func))
        handler.disable_compile()


def _declared(function: Callable[..., Any]) -> tuple[Any, ...]:
    from numba import types

    from chatsim.engine.compiled.memory import STATE

    kinds = {"State": STATE, "int": types.int64, "float": types.float64, "bool": types.boolean}
    return tuple(kinds[kind] for name, kind in function.__annotations__.items() if name != "return")


def is_interpreted() -> bool:
    """Whether numba is switched off, so that handlers run as the Python that they are."""
    return os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")


def entry(function: Handler) -> Handler:
    """Compiles a function that Python calls, with all that it calls, and keeps the code where there is a place."""
    if is_interpreted():
        return function
    from numba import config, njit

    from chatsim.engine.compiled.whole import EntryCompiler

    folder = code_folder()
    if folder is None:
        return cast(Handler, njit(**OPTIONS, pipeline_class=EntryCompiler)(function))
    before, config.CACHE_DIR = config.CACHE_DIR, str(folder)
    try:
        return cast(Handler, njit(**OPTIONS, cache=True, pipeline_class=EntryCompiler)(function))
    finally:
        config.CACHE_DIR = before


def rule(function: Handler) -> Handler:
    """A decision of :mod:`chatsim.rules`, which stays plain Python, for handlers and other rules to call."""
    from numba.extending import register_jitable

    return cast(Handler, register_jitable(function))


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
    return folder is not None and next(folder.rglob("loop.go_on*.nbc"), None) is not None


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
    made_by = (version("numba"), version("numpy"), os.environ.get("NUMBA_BOUNDSCHECK", ""), platform.machine())
    digest = hashlib.sha256(repr(made_by).encode())
    for name in SOURCES:
        for path in sorted((package / name).rglob("*.py")) if (package / name).is_dir() else [package / name]:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
