"""The state of a run as numba sees it: where each table lies, and how many rows it has.

Handlers get at a table by its place among :data:`~chatsim.engine.compiled.state.TABLES`. Nobody counts who refers to a
table, as numba does with arrays of its own: a table stays until a larger one takes its place, or the run is over.
"""

from __future__ import annotations

import ctypes
import operator
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import from_dtype, types
from numba.core import cgutils
from numba.core.datamodel import models, register_default
from numba.core.imputils import lower_getattr_generic, lower_setattr_generic
from numba.core.pythonapi import NativeValue
from numba.core.runtime._nrt_python import c_helpers
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    infer_getattr,
    intrinsic,
    lower_builtin,
    lower_getattr,
    lower_setattr,
    register_model,
    typeof_impl,
    unbox,
)
from numba.np.arrayobj import load_item, store_item

from chatsim.engine.compiled.state import FIXED, TABLES, TWO_DIMENSIONS

ADDRESS, ROWS, COLUMNS, OWN = range(4)
"""What is known of each table; it is its ``own`` where it was grown, and not the array that it began as."""


class Memory:
    """The tables of a run, as they are: what a handler writes stands in the arrays that :meth:`tables` gives."""

    def __init__(self, tables: dict[str, npt.NDArray[Any]]) -> None:
        self.cells = np.zeros((len(TABLES), OWN + 1), np.int64)
        self.address = self.cells.ctypes.data
        weakref.finalize(self, _free_all, self.cells)
        self._begun: dict[str, npt.NDArray[Any]] = {}
        for name in TABLES:
            self.put(name, tables[name])

    def put(self, name: str, table: npt.NDArray[Any]) -> None:
        """Puts a table in its place."""
        cell = self.cells[list(TABLES).index(name)]
        _free(cell)
        self._begun[name] = table = np.ascontiguousarray(table)
        cell[:] = table.ctypes.data, len(table), table.shape[-1] if table.ndim == 2 else 1, 0

    def tables(self) -> dict[str, npt.NDArray[Any]]:
        """All tables as they are now; they are there as long as one of them is."""
        return {name: self._table(name, cell) for name, cell in zip(TABLES, self.cells, strict=True)}

    def _table(self, name: str, cell: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        return np.asarray(Grown(self, name, cell)).view(TABLES[name]) if cell[OWN] else self._begun[name]


class Grown:
    """A table that handlers have made: an array of bytes, that keeps the memory of its run."""

    def __init__(self, memory: Memory, name: str, cell: npt.NDArray[np.int64]) -> None:
        self.memory = memory
        size = int(cell[ROWS]) * TABLES[name].itemsize
        data = (int(cell[ADDRESS]), False)
        self.__array_interface__ = {"shape": (size,), "typestr": "|u1", "data": data, "version": 3}


def _free(cell: npt.NDArray[np.int64]) -> None:
    """Gives back what handlers have taken for a table."""
    if cell[OWN]:
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(c_helpers["Free"])(int(cell[ADDRESS]))
        cell[OWN] = 0


def _free_all(cells: npt.NDArray[np.int64]) -> None:
    for cell in cells:
        _free(cell)


class StateType(types.Type):
    """The type of a state."""

    def __init__(self) -> None:
        super().__init__("chatsim.State")


class Row(types.Record):
    """The type of a row of a table that is a record: no two fields of such rows share memory."""

    @classmethod
    def of(cls, dtype: np.dtype[Any], name: str) -> Row:
        """The type of rows of a dtype, named after the first table that has them.

        The name that numba makes tells all fields, and is part of the names of functions.
        """
        places: Any = dtype.fields or {}
        fields = [(each, {"type": from_dtype(place[0]), "offset": place[1]}) for each, place in places.items()]
        row = cls(fields, dtype.itemsize, False)
        row.name = name
        return row


class Table(types.Array):
    """The type of a table: an array, but nobody counts who refers to it, and no index is meant from its end."""

    @property
    def row_bytes(self) -> int:
        """The size of a row."""
        kind: Any = self.dtype
        return int(kind.size if isinstance(kind, types.Record) else kind.bitwidth // 8)


STAY = {*FIXED, "sessions", "clients"}
"""Tables that stay where they are while handlers run."""
STATE = StateType()
LONG, POINTER = ir.IntType(64), cgutils.voidptr_t
STATE_VALUE = LONG.as_pointer()


def _table_types() -> dict[str, Table]:
    """The types of all tables. Those of one kind of records have one type."""
    kinds: dict[Any, Any] = {}
    for name, dtype in TABLES.items():
        if dtype not in kinds:
            kinds[dtype] = Row.of(dtype, name) if dtype.names else from_dtype(dtype)
    return {
        name: Table(kinds[dtype], 2 if name in TWO_DIMENSIONS else 1, "C", name=f"Table({kinds[dtype].name})")
        for name, dtype in TABLES.items()
    }


KINDS = _table_types()


@register_model(StateType)
class StateModel(models.PrimitiveModel):
    """A state is the address of what is known of its tables."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, STATE_VALUE)


register_default(Row)(models.RecordModel)


@register_default(Table)
class TableModel(models.ArrayModel):
    """As an array, with no part that is counted."""

    def traverse(self, builder: Any) -> list[Any]:
        """No part of it is counted."""
        return []


@typeof_impl.register(Memory)  # type: ignore[untyped-decorator]
def _type_of(memory: Memory, context: Any) -> StateType:
    return STATE


@unbox(StateType)  # type: ignore[untyped-decorator]
def _from_python(kind: Any, memory: Any, python: Any) -> NativeValue:
    """A state that Python hands to a handler."""
    number = python.pyapi.object_getattr_string(memory, "address")
    address = python.builder.inttoptr(python.pyapi.long_as_longlong(number), STATE_VALUE)
    python.pyapi.decref(number)
    return NativeValue(address)


@infer_getattr
class StateAttributes(AttributeTemplate):
    """A state has its tables."""

    key = StateType

    def generic_resolve(self, kind: Any, name: str) -> Table | None:
        """The type of a table."""
        return KINDS.get(name)


def _only_as(builder: Any, access: Any, name: str) -> None:
    """Tells LLVM that the memory of an access is that of one name only: what is written as another one leaves it."""
    add = builder.module.add_metadata
    kind = add([name, add(["chatsim"])])
    access.set_metadata("tbaa", add([kind, kind, LONG(0)]))


def _field(context: Any, builder: Any, kind: Any, row: Any, field: str) -> Any:
    """Where a field of a row is."""
    return cgutils.get_record_member(builder, row, kind.offset(field), context.get_data_type(kind.typeof(field)))


@lower_getattr_generic(Row)  # type: ignore[untyped-decorator]
def _read(context: Any, builder: Any, kind: Any, row: Any, field: str) -> Any:
    """How a handler reads a field of a row."""
    value = builder.load(_field(context, builder, kind, row, field))
    value.align = 1
    _only_as(builder, value, f"{kind.name}.{field}")
    return value


@lower_setattr_generic(Row)  # type: ignore[untyped-decorator]
def _write(context: Any, builder: Any, signature: Any, values: Any, field: str) -> None:
    """How a handler writes a field of a row."""
    kind, given = signature.args
    value = context.cast(builder, values[1], given, kind.typeof(field))
    store = builder.store(value, _field(context, builder, kind, values[0], field))
    store.align = 1
    _only_as(builder, store, f"{kind.name}.{field}")


def _cell(builder: Any, state: Any, name: str, part: int) -> Any:
    place = list(TABLES).index(name) * (OWN + 1) + part
    return builder.gep(state, [LONG(place)], inbounds=True)


def _lend(name: str) -> Any:
    """How a handler gets at a table."""

    def lend(context: Any, builder: Any, kind: Any, state: Any) -> Any:
        parts = [builder.load(_cell(builder, state, name, part)) for part in (ADDRESS, ROWS, COLUMNS)]
        for part in parts:
            if name in STAY:
                part.set_metadata("invariant.load", builder.module.add_metadata([]))
            else:
                _only_as(builder, part, "cell")
        return _array(context, builder, KINDS[name], *parts)

    return lend


def _array(context: Any, builder: Any, kind: Table, address: Any, rows: Any, columns: Any) -> Any:
    """A table as numba passes arrays about."""
    whole = context.get_value_type(kind)
    size = LONG(kind.row_bytes)
    shape, strides = [rows], [size]
    if kind.ndim == 2:
        shape, strides = [rows, columns], [builder.mul(columns, size), size]
    parts = [
        ir.Constant(whole.elements[0], None), ir.Constant(whole.elements[1], None),
        builder.mul(rows, columns) if kind.ndim == 2 else rows, size, builder.inttoptr(address, whole.elements[4]),
        cgutils.pack_array(builder, shape), cgutils.pack_array(builder, strides),
    ]  # fmt: skip
    array = ir.Constant(whole, ir.Undefined)
    for place, part in enumerate(parts):
        array = builder.insert_value(array, part, place)
    return array


def _keep(name: str) -> Any:
    """How a handler puts a larger table in the place of one, which is over."""

    def keep(context: Any, builder: Any, signature: Any, values: Any) -> None:
        state, table = values
        cells = [_cell(builder, state, name, part) for part in (ADDRESS, ROWS, COLUMNS, OWN)]
        with builder.if_then(builder.icmp_signed("!=", builder.load(cells[OWN]), LONG(0))):
            before = builder.inttoptr(builder.load(cells[ADDRESS]), POINTER)
            builder.call(_runtime(builder, "NRT_Free", ir.VoidType(), [POINTER]), [before])
        array = context.make_array(KINDS[name])(context, builder, value=table)
        builder.store(builder.ptrtoint(array.data, LONG), cells[ADDRESS])
        builder.store(cgutils.unpack_tuple(builder, array.shape)[0], cells[ROWS])
        builder.store(LONG(1), cells[OWN])

    return keep


for _name in TABLES:
    lower_getattr(StateType, _name)(_lend(_name))
    lower_setattr(StateType, _name)(_keep(_name))


def _runtime(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """A function of numba's runtime."""
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)


def _where(context: Any, builder: Any, signature: Any, table: Any, row: Any) -> Any:
    """Where a row is."""
    row = context.cast(builder, row, signature.args[1], types.int64)
    if context.enable_boundscheck:
        cgutils.do_boundscheck(context, builder, row, builder.extract_value(table, 2), 0)
    return builder.gep(builder.extract_value(table, 4), [row], inbounds=True)


@lower_builtin(operator.getitem, Table, types.Integer)  # type: ignore[untyped-decorator]
def _getitem(context: Any, builder: Any, signature: Any, values: Any) -> Any:
    """How a handler reads a row: of a record it gets where that is."""
    return load_item(context, builder, signature.args[0], _where(context, builder, signature, *values))


@lower_builtin(operator.setitem, Table, types.Integer, types.Number)  # type: ignore[untyped-decorator]
def _setitem(context: Any, builder: Any, signature: Any, values: Any) -> None:
    """How a handler writes a number to a row."""
    kind, _, given = signature.args
    value = context.cast(builder, values[2], given, kind.dtype)
    store_item(context, builder, kind, value, _where(context, builder, signature, *values[:2]))


@intrinsic  # type: ignore[untyped-decorator]
def grown(typing: Any, table: Any) -> Any:
    """The table with room for as many rows again, in which nothing stands yet."""

    def grow(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        rows, before = (builder.extract_value(values[0], part) for part in (2, 4))
        size = table.row_bytes
        room = builder.mul(rows, LONG(2 * size))
        larger = builder.call(_runtime(builder, "NRT_Allocate", POINTER, [LONG]), [room])
        with builder.if_then(cgutils.is_null(builder, larger), likely=False):
            context.call_conv.return_user_exc(builder, MemoryError, ("no memory for a larger table",))
        cgutils.raw_memcpy(builder, builder.bitcast(larger, before.type), before, rows, LONG(size))
        twice = builder.mul(rows, LONG(2))
        return _array(context, builder, table, builder.ptrtoint(larger, LONG), twice, LONG(1))

    return table(table), grow


@intrinsic  # type: ignore[untyped-decorator]
def copy_rows(typing: Any, source: Any, first: Any, target: Any, place: Any, rows: Any) -> Any:
    """Copies ``rows`` rows of a table from ``first`` on to another one, or another ``place``, all bytes at once.

    What numba makes of ``target[place] = source[first]`` goes byte by byte, and takes long to compile.
    """

    def copy(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kinds, (source_value, at, target_value, to, count) = signature.args, values
        pairs = ((source_value, at), (target_value, to))
        where = [builder.gep(builder.extract_value(value, 4), [row]) for value, row in pairs]
        cgutils.raw_memcpy(builder, where[1], where[0], count, LONG(kinds[0].row_bytes))
        return context.get_dummy_value()

    return types.void(source, types.int64, target, types.int64, types.int64), copy
