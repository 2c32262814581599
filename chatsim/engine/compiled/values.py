"""What a handler's expressions are to the translator: numbers, rows, tables, and what is known before it runs."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from chatsim.engine.compiled.state import TABLES, TWO_DIMENSIONS


class NotSaidError(Exception):
    """Something that handlers must not say."""


@dataclass(frozen=True)
class Kind:
    """A kind of value, and LLVM's type of it."""

    name: str
    llvm: str


@dataclass(frozen=True)
class RowKind(Kind):
    """A row of a table: where it is."""

    dtype: np.dtype[Any]


@dataclass(frozen=True)
class TableKind(Kind):
    """A table, of rows or of numbers."""

    dtype: np.dtype[Any]
    dimensions: int


@dataclass(frozen=True)
class KnownKind(Kind):
    """The kind of what is known before a handler runs."""

    known: Any


INT, UINT, REAL, BOOL, NOTHING, STATE = (
    Kind(name, llvm)
    for name, llvm in (
        ("int", "i64"), ("uint", "i64"), ("float", "double"), ("bool", "i1"), ("None", "void"), ("State", "ptr"),
    )
)  # fmt: skip
PAIR = Kind("tuple[int, int]", "{i64, i64}")
DECLARED = {kind.name: kind for kind in (INT, REAL, BOOL, NOTHING, STATE, PAIR)}


class Value(NamedTuple):
    """A value that a handler has: of a table where it lies, and how many rows and columns it has."""

    kind: Kind
    text: str
    rows: str = ""
    columns: str = "1"


class Known(NamedTuple):
    """What is known before a handler runs: a number, a function, a module, some numbers."""

    value: Any

    @property
    def kind(self) -> Kind:
        """The kind, with what is known."""
        return KnownKind("known", "", self.value)


class Lent(NamedTuple):
    """A table of the state, of which nothing has been looked up yet."""

    kind: TableKind
    name: str


class Parts(NamedTuple):
    """Several values."""

    values: tuple[Any, ...]


def number(known: Known) -> Value:
    """A number that is known."""
    value = known.value
    if isinstance(value, bool | np.bool_):
        return Value(BOOL, "true" if value else "false")
    if isinstance(value, np.uint64):
        return Value(UINT, str(int(value)))
    if isinstance(value, int | np.integer):
        return Value(INT, str(int(value)))
    if isinstance(value, float):
        return Value(REAL, f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}")
    raise NotSaidError(f"{value!r} is no number")


def common(one: Kind, other: Kind) -> Kind:
    """The kind in which two numbers are compared and reckoned with."""
    if UINT in (one, other):
        if one != other:
            raise NotSaidError("a number with a sign, and one without")
        return UINT
    return REAL if REAL in (one, other) else INT


def _table_kinds() -> dict[str, TableKind]:
    """The kinds of all tables. Those of one kind of records have one, named after the first of them."""
    names: dict[Any, str] = {}
    return {
        name: TableKind(names.setdefault(dtype, name), "ptr", dtype, 2 if name in TWO_DIMENSIONS else 1)
        for name, dtype in TABLES.items()
    }


TABLE_KINDS = _table_kinds()
