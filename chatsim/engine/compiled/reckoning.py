"""Expressions of handlers in LLVM's language: what they reckon, compare, read and write."""

from __future__ import annotations

import ast
import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

from chatsim.engine.compiled.elementwise import exp, ndtri
from chatsim.engine.compiled.memory import ADDRESS, COLUMNS, OWN, ROWS, STAY, ahead, all_ahead, copy_rows, grown
from chatsim.engine.compiled.state import LINE_BYTES, TABLES
from chatsim.engine.compiled.values import (
    BOOL,
    INT,
    REAL,
    STATE,
    TABLE_KINDS,
    UINT,
    Kind,
    Known,
    Lent,
    NotSaidError,
    Parts,
    RowKind,
    TableKind,
    Value,
    common,
    number,
)

REAL_OPERATIONS = {"Add": "fadd", "Sub": "fsub", "Mult": "fmul", "Div": "fdiv"}
INT_OPERATIONS = {
    "Add": "add", "Sub": "sub", "Mult": "mul", "BitAnd": "and", "BitOr": "or", "BitXor": "xor", "LShift": "shl",
}  # fmt: skip
BYTES_AHEAD = 2 * LINE_BYTES
COMPARISONS = {
    "Eq": ("eq", "oeq"), "NotEq": ("ne", "une"), "Lt": ("slt", "olt"), "LtE": ("sle", "ole"), "Gt": ("sgt", "ogt"),
    "GtE": ("sge", "oge"),
}  # fmt: skip
CASTS = {
    (INT, REAL): "sitofp", (UINT, REAL): "uitofp", (BOOL, REAL): "uitofp", (BOOL, INT): "zext", (REAL, INT): "fptosi",
}  # fmt: skip
STORED = {"i4": "i32", "i8": "i64", "f8": "double", "u1": "i8"}
"""LLVM's types of the numbers that tables have."""


class Place(tuple[str, np.dtype[Any], str]):
    """Where a number stands in memory, what it is there, and under what name."""


class Reckoning(ABC):
    """What is said of expressions, line by line."""

    def __init__(self, tag: Callable[[str], str], checks: bool) -> None:
        self.tag, self.checks = tag, checks
        self.lines: list[str] = []
        self.is_over = False
        self.block = "entry"
        self.line = 0
        self._count = 0

    # ------------------------------------------------------------------ lines

    def emit(self, line: str) -> None:
        """One line more."""
        self.lines.append("  " + line)

    def made(self, line: str) -> str:
        """One line more, that makes something: its name."""
        self._count += 1
        self.lines.append(f"  %.{self._count} = {line}")
        return f"%.{self._count}"

    def labels(self, *names: str) -> list[str]:
        """New labels."""
        self._count += 1
        return [f"{name}.{self._count}" for name in names]

    def label(self, label: str) -> None:
        """What follows has a label."""
        self.lines.append(f"{label}:")
        self.block, self.is_over = label, False

    def jump(self, label: str) -> None:
        """It goes on at a label."""
        if not self.is_over:
            self.emit(f"br label %{label}")
        self.is_over = True

    # ------------------------------------------------------------------ expressions

    @abstractmethod
    def named(self, name: str) -> Any:
        """What stands for a name."""

    @abstractmethod
    def call(self, handler: Callable[..., Any], arguments: list[Any]) -> Any:
        """Another handler does its part."""

    def value(self, node: ast.expr) -> Any:
        """What an expression comes to."""
        return getattr(self, f"_{type(node).__name__.lower()}")(node)

    def _constant(self, node: ast.Constant) -> Known:
        return Known(node.value)

    def _name(self, node: ast.Name) -> Any:
        return self.named(node.id)

    def _tuple(self, node: ast.Tuple) -> Parts:
        return Parts(tuple(self.value(each) for each in node.elts))

    def _attribute(self, node: ast.Attribute) -> Any:
        base = self.value(node.value)
        if isinstance(base, Known):
            return Known(getattr(base.value, node.attr))
        if base.kind == STATE:
            return Lent(TABLE_KINDS[node.attr], f"{base.text} {node.attr}")
        return self.load(self._field(base, node.attr))

    def _subscript(self, node: ast.Subscript) -> Any:
        base = self.value(node.value)
        if isinstance(base, Known):
            return self._one_of(base.value, self.value(node.slice))
        if base.kind.dtype.names:
            row = self._address(base, node.slice)
            return Value(RowKind(base.kind.name, "ptr", base.kind.dtype), row)
        return self.load(self.place(node))

    def _one_of(self, values: tuple[Any, ...], index: Any) -> Any:
        if isinstance(index, Known):
            return Known(values[index.value])
        found = number(Known(values[-1]))
        for place, value in enumerate(values[:-1]):
            here = self.compared("Eq", index, Known(place)).text
            llvm = found.kind.llvm
            text = self.made(f"select i1 {here}, {llvm} {number(Known(value)).text}, {llvm} {found.text}")
            found = Value(found.kind, text)
        return found

    def _binop(self, node: ast.BinOp) -> Any:
        return self.reckoned(type(node.op).__name__, self.value(node.left), self.value(node.right))

    def _unaryop(self, node: ast.UnaryOp) -> Any:
        value = self.value(node.operand)
        if isinstance(node.op, ast.Not):
            return Value(BOOL, self.made(f"xor i1 {self.cast(value, BOOL).text}, true"))
        assert isinstance(node.op, ast.USub)
        if isinstance(value, Known):
            return Known(-value.value)
        if value.kind == REAL:
            return Value(REAL, self.made(f"fneg double {value.text}"))
        return self.reckoned("Sub", Known(0), value)

    def _compare(self, node: ast.Compare) -> Value:
        left, found = self.value(node.left), None
        for operation, other in zip(node.ops, node.comparators, strict=True):
            right = self.value(other)
            here = self.compared(type(operation).__name__, left, right).text
            found = here if found is None else self.made(f"and i1 {found}, {here}")
            left = right
        return Value(BOOL, str(found))

    def _boolop(self, node: ast.BoolOp) -> Value:
        yes, no, end = self.labels("yes", "no", "end")
        self.branch(node, yes, no)
        for label in (yes, no):
            self.label(label)
            self.jump(end)
        self.label(end)
        return Value(BOOL, self.made(f"phi i1 [true, %{yes}], [false, %{no}]"))

    def branch(self, node: ast.expr, yes: str, no: str) -> None:
        """It goes on at one label or the other."""
        if isinstance(node, ast.BoolOp):
            for each in node.values[:-1]:
                (further,) = self.labels("further")
                self.branch(each, *((further, no) if isinstance(node.op, ast.And) else (yes, further)))
                self.label(further)
            self.branch(node.values[-1], yes, no)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self.branch(node.operand, no, yes)
        else:
            test = self.cast(self.value(node), BOOL).text
            self.emit(f"br i1 {test}, label %{yes}, label %{no}")
            self.is_over = True

    def _ifexp(self, node: ast.IfExp) -> Value:
        labels, (end,) = self.labels("yes", "no"), self.labels("end")
        self.branch(node.test, *labels)
        before, values, sides, blocks = self.lines, [], [], []
        for label, each in zip(labels, (node.body, node.orelse), strict=True):
            self.lines = []
            self.label(label)
            found = self.value(each)
            values.append(number(found) if isinstance(found, Known) else found)
            sides.append(self.lines)
            blocks.append(self.block)
        one, other = (value.kind for value in values)
        kind = one if one == other else common(one, other)
        incoming = []
        for side, value, block in zip(sides, values, blocks, strict=True):
            self.lines, self.is_over = side, False
            incoming.append(f"[{self.cast(value, kind).text}, %{block}]")
            self.jump(end)
            before += self.lines
        self.lines = before
        self.label(end)
        return Value(kind, self.made(f"phi {kind.llvm} {', '.join(incoming)}"))

    # ------------------------------------------------------------------ numbers

    def cast(self, value: Any, kind: Kind) -> Value:
        """A value as one of a kind."""
        if isinstance(value, Known):
            known = value.value
            if isinstance(known, int | float | np.number) and not isinstance(known, np.uint64):
                turned = {REAL: float, BOOL: bool}.get(kind)
                value = Known(turned(known)) if turned else value
            value = number(value)
        if value.kind == kind or {value.kind, kind} == {INT, UINT}:
            return Value(kind, value.text)
        if kind == BOOL:
            return self.compared("NotEq", value, Known(0))
        if (value.kind, kind) == (REAL, INT) or (value.kind, kind) not in CASTS:
            raise NotSaidError(f"{value.kind.name} where {kind.name} is meant")
        return self._turned(value, kind)

    def _turned(self, value: Value, kind: Kind) -> Value:
        return Value(kind, self.made(f"{CASTS[value.kind, kind]} {value.kind.llvm} {value.text} to {kind.llvm}"))

    def reckoned(self, operation: str, one: Any, other: Any) -> Any:
        """One number and another."""
        if isinstance(one, Known) and isinstance(other, Known):
            return Known(KNOWN[operation](one.value, other.value))
        left, right = (number(each) if isinstance(each, Known) else each for each in (one, other))
        kind = REAL if operation in ("Div", "Pow") else common(left.kind, right.kind)
        left, right = self.cast(left, kind), self.cast(right, kind)
        if operation == "Pow":
            return Value(REAL, self.made(f"call double @pow(double {left.text}, double {right.text})"))
        if operation == "FloorDiv" and kind == REAL:
            return self._times_in(left.text, right.text)
        if kind == REAL:
            return Value(REAL, self.made(f"{REAL_OPERATIONS[operation]} double {left.text}, {right.text}"))
        if operation == "RShift":
            return Value(kind, self.made(f"{'lshr' if kind == UINT else 'ashr'} i64 {left.text}, {right.text}"))
        if operation in ("FloorDiv", "Mod"):
            return Value(kind, self._divided(operation, left.text, right.text, other))
        return Value(kind, self.made(f"{INT_OPERATIONS[operation]} i64 {left.text}, {right.text}"))

    def _divided(self, operation: str, left: str, right: str, by: Any) -> str:
        """As Python divides: the rest has the sign of the number by which it is divided."""
        power = by.value.bit_length() - 1 if isinstance(by, Known) and by.value > 0 else 0
        if isinstance(by, Known) and by.value == 1 << power:
            text = f"and i64 {left}, {by.value - 1}" if operation == "Mod" else f"ashr i64 {left}, {power}"
            return self.made(text)
        rest = self.made(f"srem i64 {left}, {right}")
        signs = self.made(f"xor i64 {rest}, {right}")
        is_off = self.made(f"icmp slt i64 {signs}, 0")
        is_rest = self.made(f"icmp ne i64 {rest}, 0")
        wrong = self.made(f"and i1 {is_off}, {is_rest}")
        if operation == "Mod":
            return self.made(f"add i64 {rest}, {self.made(f'select i1 {wrong}, i64 {right}, i64 0')}")
        quotient = self.made(f"sdiv i64 {left}, {right}")
        return self.made(f"sub i64 {quotient}, {self.made(f'zext i1 {wrong} to i64')}")

    def _times_in(self, left: str, right: str) -> Value:
        """How many times one real number, above 0, is in another, as Python finds it."""
        rest = self.made(f"frem double {left}, {right}")
        times = self.made(f"fdiv double {self.made(f'fsub double {left}, {rest}')}, {right}")
        is_below = self.made(f"fcmp olt double {rest}, 0.0")
        times = self.made(f"fsub double {times}, {self.made(f'uitofp i1 {is_below} to double')}")
        whole = self.from_real("llvm.floor.f64", Value(REAL, times))
        is_short = self.made(f"fcmp ogt double {self.made(f'fsub double {times}, {whole}')}, 0.5")
        return Value(REAL, self.made(f"fadd double {whole}, {self.made(f'uitofp i1 {is_short} to double')}"))

    def compared(self, operation: str, one: Any, other: Any) -> Value:
        """Whether a number is less than another, and so on, or one of several."""
        if operation in ("In", "NotIn"):
            return self._among(one, other, operation == "NotIn")
        left, right = (number(each) if isinstance(each, Known) else each for each in (one, other))
        kind = common(left.kind, right.kind)
        left, right = self.cast(left, kind).text, self.cast(right, kind).text
        whole, real = COMPARISONS[operation]
        compare = f"fcmp {real} double" if kind == REAL else f"icmp {whole} i64"
        if kind == UINT and operation not in ("Eq", "NotEq"):
            raise NotSaidError("which of two numbers without signs is less")
        return Value(BOOL, self.made(f"{compare} {left}, {right}"))

    def _among(self, one: Any, others: Any, turned: bool) -> Value:
        if isinstance(others, Value):
            found = self._in_table(self.cast(one, INT).text, others)
        else:
            values = others.values if isinstance(others, Parts) else tuple(Known(each) for each in others.value)
            found = "false"
            for value in values:
                found = self.made(f"or i1 {found}, {self.compared('Eq', one, value).text}")
        return Value(BOOL, self.made(f"xor i1 {found}, true") if turned else found)

    def _in_table(self, one: str, table: Value) -> str:
        """Whether a number stands in a table of numbers."""
        assert isinstance(table.kind, TableKind)
        before, (test, body, following, end) = self.block, self.labels("test", "body", "next", "end")
        self.jump(test)
        self.label(test)
        at = self.made(f"phi i64 [0, %{before}], [%{following}.at, %{following}]")
        self.emit(f"br i1 {self.made(f'icmp slt i64 {at}, {table.rows}')}, label %{body}, label %{end}")
        self.label(body)
        where = self.row(table.text, at, table.kind.dtype.itemsize)
        here = self.load(Place((where, table.kind.dtype, f"all {table.kind.dtype.name}"))).text
        self.emit(f"br i1 {self.made(f'icmp eq i64 {here}, {one}')}, label %{end}, label %{following}")
        self.label(following)
        self.emit(f"%{following}.at = add i64 {at}, 1")
        self.jump(test)
        self.label(end)
        return self.made(f"phi i1 [false, %{test}], [true, %{body}]")

    # ------------------------------------------------------------------ calls

    def _call(self, node: ast.Call) -> Any:
        function = self.value(node.func).value
        arguments = [self.value(argument) for argument in node.args]
        if node.keywords:
            raise NotSaidError("a call with names of arguments")
        if function in SAID:
            return SAID[function](self, *arguments)
        if not isinstance(function, FunctionType):
            raise NotSaidError(f"a call of {function}")
        return self.call(function, arguments)

    def length(self, table: Any) -> Any:
        """How many rows a table has."""
        if isinstance(table, Known):
            return Known(len(table.value))
        return Value(INT, self.part(table, ROWS) if isinstance(table, Lent) else table.rows)

    def whole(self, value: Any) -> Any:
        """A number without what is behind its point."""
        if isinstance(value, Known):
            return Known(int(value.value))
        return self._turned(value, INT) if value.kind == REAL else self.cast(value, INT)

    def extreme(self, operation: str, first: Any, *others: Any) -> Any:
        """The least of some numbers, or the largest: the first of equal ones."""
        best = first
        for other in others:
            left, right = (number(each) if isinstance(each, Known) else each for each in (best, other))
            kind = common(left.kind, right.kind)
            left, right = self.cast(left, kind), self.cast(right, kind)
            better = self.compared(operation, right, left).text
            best = Value(kind, self.made(f"select i1 {better}, {kind.llvm} {right.text}, {kind.llvm} {left.text}"))
        return best

    def rounded(self, way: str, value: Any) -> Value:
        """The next whole number."""
        return self._turned(Value(REAL, self.from_real(f"llvm.{way}.f64", value)), INT)

    def from_real(self, function: str, value: Any) -> str:
        """What a function makes of a real number."""
        return self.made(f"call double @{function}(double {self.cast(value, REAL).text})")

    def is_nan(self, value: Any) -> Value:
        """Whether it is no number."""
        text = self.cast(value, REAL).text
        return Value(BOOL, self.made(f"fcmp uno double {text}, {text}"))

    def is_inf(self, value: Any) -> Value:
        """Whether it is infinite."""
        return self.compared("Eq", Value(REAL, self.from_real("llvm.fabs.f64", value)), Known(math.inf))

    # ------------------------------------------------------------------ tables

    def part(self, table: Lent, part: int) -> str:
        """What is known of a table of the state."""
        state, name = table.name.split()
        cell = self.made(f"getelementptr inbounds i64, ptr {state}, i64 {list(TABLES).index(name) * (OWN + 1) + part}")
        kind = "ptr" if part == ADDRESS else "i64"
        known = "!invariant.load !1" if name in STAY else self.tag("cell")
        return self.made(f"load {kind}, ptr {cell}, {known}")

    def looked_up(self, table: Lent) -> Value:
        """A table, to be passed on."""
        if table.kind.dimensions > 1:
            raise NotSaidError("a table of two dimensions is passed on")
        return Value(table.kind, self.part(table, ADDRESS), self.part(table, ROWS))

    def _address(self, table: Any, index: ast.expr) -> str:
        """Where a row is, or a number."""
        given = self.value(index)
        address = self.part(table, ADDRESS) if isinstance(table, Lent) else table.text
        places = [self.cast(each, INT).text for each in (given.values if isinstance(given, Parts) else (given,))]
        if self.checks:
            self._check(places[0], self.length(table).text)
        place = places[0]
        if len(places) == 2:
            columns = self.part(table, COLUMNS)
            if self.checks:
                self._check(places[1], columns)
            place = self.made(f"add i64 {self.made(f'mul i64 {place}, {columns}')}, {places[1]}")
        return self.row(address, place, table.kind.dtype.itemsize)

    def row(self, address: str, place: str, size: int) -> str:
        """Where a row of a size is."""
        return self.made(f"getelementptr inbounds [{size} x i8], ptr {address}, i64 {place}")

    def _check(self, place: str, rows: str) -> None:
        """Says that a row is not there, and ends everything."""
        wrong, right = self.labels("wrong", "right")
        is_right = self.made(f"icmp ult i64 {place}, {rows}")
        self.emit(f"br i1 {is_right}, label %{right}, label %{wrong}")
        self.label(wrong)
        self.emit(f"call void @chatsim_no_row(i64 {place}, i64 {rows}, i64 {self.line})")
        self.emit("unreachable")
        self.label(right)

    def _field(self, row: Any, name: str) -> Place:
        fields = row.kind.dtype.fields if isinstance(row.kind, RowKind) else None
        if fields is None:
            raise NotSaidError(f"{row.kind.name} has no {name}")
        kind, offset = fields[name][:2]
        where = self.made(f"getelementptr inbounds i8, ptr {row.text}, i64 {offset}")
        return Place((where, kind, f"{row.kind.name}.{name}"))

    def place(self, node: ast.expr) -> Place:
        """Where a number stands."""
        if isinstance(node, ast.Attribute):
            return self._field(self.value(node.value), node.attr)
        assert isinstance(node, ast.Subscript)
        table = self.value(node.value)
        return Place((self._address(table, node.slice), table.kind.dtype, f"all {table.kind.dtype.name}"))

    def load(self, place: Place) -> Value:
        """A number from memory."""
        where, kind, name = place
        llvm = STORED[kind.str[1:]]
        text = self.made(f"load {llvm}, ptr {where}, align 1, {self.tag(name)}")
        if llvm == "double":
            return Value(REAL, text)
        if llvm != "i64":
            text = self.made(f"{'zext' if llvm == 'i8' else 'sext'} {llvm} {text} to i64")
        return Value(INT, text)

    def store(self, place: Place, value: Any) -> None:
        """A number goes to memory."""
        where, kind, name = place
        llvm = STORED[kind.str[1:]]
        text = self.cast(value, REAL if llvm == "double" else INT).text
        if llvm in ("i8", "i32"):
            text = self.made(f"trunc i64 {text} to {llvm}")
        self.emit(f"store {llvm} {text}, ptr {where}, align 1, {self.tag(name)}")

    def keep(self, state: Value, name: str, table: Value) -> None:
        """A larger table takes the place of one, which is over."""
        first = list(TABLES).index(name) * (OWN + 1)
        cells = self.made(f"getelementptr inbounds i64, ptr {state.text}, i64 {first}")
        self.emit(f"call void @chatsim_keep(ptr {cells}, ptr {table.text}, i64 {table.rows})")

    def grown(self, table: Lent) -> Value:
        """The table with room for as many rows again."""
        before, size = self.looked_up(table), table.kind.dtype.itemsize
        room = self.made(f"mul i64 {before.rows}, {size}")
        text = self.made(f"call ptr @chatsim_grown(ptr {before.text}, i64 {room})")
        return Value(table.kind, text, self.made(f"shl i64 {before.rows}, 1"))

    def copy(self, source: Any, first: Any, target: Any, place: Any, rows: Any) -> None:
        """Rows go to another table, or another place, all bytes at once."""
        size, ends = source.kind.dtype.itemsize, []
        for table, row in ((target, place), (source, first)):
            address = self.part(table, ADDRESS) if isinstance(table, Lent) else table.text
            ends.append(f"ptr {self.row(address, self.cast(row, INT).text, size)}")
        room = self.cast(self.reckoned("Mult", rows, Known(size)), INT).text
        self.emit(f"call void @llvm.memcpy.p0.p0.i64({', '.join(ends)}, i64 {room}, i1 false)")


def _ahead(at: Reckoning, table: Any, row: Any, most_bytes: int = BYTES_AHEAD) -> None:
    """Asks for the first lines of a row, or for all of them."""
    size = table.kind.dtype.itemsize
    address = at.part(table, ADDRESS) if isinstance(table, Lent) else table.text
    where = at.row(address, at.cast(row, INT).text, size)
    for line in range(0, min(size, most_bytes), LINE_BYTES):
        here = at.made(f"getelementptr i8, ptr {where}, i64 {line}")
        at.emit(f"call void @llvm.prefetch.p0(ptr {here}, i32 0, i32 3, i32 1)")


KNOWN: dict[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add, "Sub": operator.sub, "Mult": operator.mul, "Div": operator.truediv, "Pow": operator.pow,
    "FloorDiv": operator.floordiv, "Mod": operator.mod, "LShift": operator.lshift, "BitOr": operator.or_,
}  # fmt: skip
"""What is reckoned before handlers run."""
SAID: dict[Any, Callable[..., Any]] = {
    len: Reckoning.length,
    int: Reckoning.whole,
    float: lambda at, value: Known(float(value.value)) if isinstance(value, Known) else at.cast(value, REAL),
    bool: lambda at, value: at.cast(value, BOOL),
    np.uint64: lambda at, value: at.cast(value, UINT),
    np.float64: lambda at, value: at.cast(value, REAL),
    min: lambda at, *values: at.extreme("Lt", *values),
    max: lambda at, *values: at.extreme("Gt", *values),
    math.floor: lambda at, value: at.rounded("floor", value),
    math.ceil: lambda at, value: at.rounded("ceil", value),
    math.log: lambda at, value: Value(REAL, at.from_real("log", value)),
    exp: lambda at, value: Value(REAL, at.from_real("chatsim_exp", value)),
    ndtri: lambda at, value: Value(REAL, at.from_real("chatsim_ndtri", value)),
    math.isnan: Reckoning.is_nan,
    math.isinf: Reckoning.is_inf,
    grown: Reckoning.grown,
    copy_rows: Reckoning.copy,
    ahead: _ahead,
    all_ahead: lambda at, table, row: _ahead(at, table, row, table.kind.dtype.itemsize),
}
"""What handlers call that is not a handler."""
