"""What compiled loops tell the processor ahead. Imported where loops are compiled, and nowhere else."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.extending import type_callable

from chatsim.world.compiling import prefetch

READ, KEPT_LONG, DATA = 0, 3, 1
NUMBER, POINTER = ir.IntType(32), cgutils.voidptr_t


@type_callable(prefetch)  # type: ignore[untyped-decorator]
def _type(context: Any) -> Any:
    return lambda rows, row: types.void


@lower_builtin(prefetch, types.Array, types.Integer)  # type: ignore[untyped-decorator]
def _code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
    kind, number = signature.args
    row = context.cast(builder, values[1], number, types.intp)
    rows = context.make_array(kind)(context, builder, values[0])
    place = cgutils.get_item_pointer(context, builder, kind, rows, [row])
    asked = ir.FunctionType(ir.VoidType(), [POINTER, NUMBER, NUMBER, NUMBER])
    fetch = cgutils.get_or_insert_function(builder.module, asked, "llvm.prefetch.p0i8")
    builder.call(fetch, [builder.bitcast(place, POINTER), NUMBER(READ), NUMBER(KEPT_LONG), NUMBER(DATA)])
    return context.get_dummy_value()
