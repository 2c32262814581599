"""Columns that memory need not hold: large ones lie in files without names, and what is not looked at is put back."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

LARGE_BYTES = 1 << 25
"""A column of so many bytes lies in a file."""
ROWS_AT_ONCE = 1 << 16
COMES_AT_ONCE = 1 << 21
"""The system may bring so many bytes of a file into memory where one of them is looked at: they lie there together when
they were written at once."""


class _File(mmap.mmap):
    """The memory of a column in a file, as other memory that is mapped is not."""

    number: int
    """Of the file, as the system knows it."""


def column(rows: int, dtype: npt.DTypeLike, larger: int = 1) -> npt.NDArray[Any]:
    """Zeros: in memory, or many of them in a file, where the machine has one to give. What is looked at here and there
    all the time may be so many times ``larger`` and yet in memory, whose pages are larger than those of files.

    >>> column(2, np.int32).tolist()
    [0, 0]
    """
    kind = np.dtype(dtype)
    size, large = rows * kind.itemsize, larger * LARGE_BYTES
    if size < large or not rows or not hasattr(os, "posix_fallocate") or not hasattr(mmap, "MADV_DONTNEED"):
        return np.zeros(rows, kind)
    try:
        with tempfile.TemporaryFile(prefix="chatsim-") as file:
            os.posix_fallocate(file.fileno(), 0, size)
            memory = _File(file.fileno(), size)
            memory.number = os.dup(file.fileno())
        weakref.finalize(memory, os.close, memory.number)
        return np.frombuffer(memory, kind)
    except OSError:  # no place on the disk
        return np.zeros(rows, kind)


def shelved(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """An array as a column. What is written here and there is better written in memory first: a file is slow at that.

    >>> shelved(np.arange(3)).tolist()
    [0, 1, 2]
    """
    if rows.nbytes < LARGE_BYTES:
        return np.ascontiguousarray(rows)
    return with_room(rows, len(rows))


def with_room(rows: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    """A copy of rows as the beginning of a column of so many.

    >>> with_room(np.arange(3), 4).tolist()
    [0, 1, 2, 0]
    """
    kept = column(count, rows.dtype)
    for first in range(0, len(rows), ROWS_AT_ONCE):
        write(kept[first : first + ROWS_AT_ONCE], rows[first : first + ROWS_AT_ONCE])
    return kept


def write(part: npt.NDArray[Any], values: npt.NDArray[Any]) -> None:
    """Values as the first ones of a slice of a column, which need not be looked at next.

    A file takes what it is given in a quarter of the time of what is written into the memory that shows it: the system
    has to find out page by page that something was.

    >>> rows = column(LARGE_BYTES, np.uint8)
    >>> write(rows[1:], np.ones(2, int))
    >>> rows[:4].tolist()
    [0, 1, 1, 0]
    """
    memory = _file_of(part)
    if memory is None or not part.flags.c_contiguous:
        part[: len(values)] = values
        return
    left: Any = np.ascontiguousarray(values, part.dtype).view(np.uint8)
    place = part.ctypes.data - np.frombuffer(memory, np.uint8).ctypes.data
    while len(left):
        written = os.pwrite(memory.number, left, place)
        left, place = left[written:], place + written


def put_back(*columns: npt.NDArray[Any]) -> None:
    """What stands in a file of these columns, or of these slices of columns, leaves memory until it is looked at again.

    Nothing is lost, and nothing happens to what is in memory alone.

    >>> rows = column(LARGE_BYTES, np.uint8)
    >>> rows[-1] = 1
    >>> put_back(rows)
    >>> int(rows.sum())
    1
    """
    for rows in columns:
        memory = _file_of(rows)
        if memory is None or not len(rows):
            continue
        begin = rows.ctypes.data - np.frombuffer(memory, np.uint8).ctypes.data
        first = begin // COMES_AT_ONCE * COMES_AT_ONCE  # with the slice may have come what is before it
        memory.madvise(mmap.MADV_DONTNEED, first, begin + rows.nbytes - first)


def in_memory_bytes() -> tuple[int, int]:
    """How much this process has in memory, and what of it lies in files; 0 where the system does not say.

    >>> all_bytes, files_bytes = in_memory_bytes()
    >>> all_bytes >= files_bytes >= 0
    True
    """
    try:
        said = Path("/proc/self/statm").read_text(encoding="ascii").split()
        return int(said[1]) * mmap.PAGESIZE, int(said[2]) * mmap.PAGESIZE
    except (OSError, IndexError, ValueError):
        return 0, 0


def give_free_back() -> None:
    """What is free of the memory that was taken for arrays goes back to the machine, where the C library does that."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def _file_of(rows: npt.NDArray[Any]) -> _File | None:
    """The file that an array, or a slice of one, looks at."""
    base: Any = rows
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    return base if isinstance(base, _File) else None
