"""Handlers in LLVM's language: what each says, word by word.

Handlers say little: numbers, rows of tables, conditions and loops, and calls of each other and of decisions from
:mod:`chatsim.rules`. All kinds are declared, or follow at once, so that nothing need be inferred; what this does not
know is refused, and so is a name that would change its kind.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from chatsim.engine.compiled.code import HANDLERS, SELDOM
from chatsim.engine.compiled.reckoning import Reckoning
from chatsim.engine.compiled.values import (
    DECLARED,
    INT,
    NOTHING,
    PAIR,
    STATE,
    Kind,
    Known,
    KnownKind,
    Lent,
    NotSaidError,
    Parts,
    TableKind,
    Value,
    number,
)

RULES = "chatsim.rules."


class Function:
    """A handler for some kinds of arguments: what others need to know to call it."""

    def __init__(self, name: str, handler: Callable[..., Any], kinds: tuple[Kind, ...]) -> None:
        self.name, self.handler, self.kinds = f'@"{name}"', handler, kinds
        self.result = DECLARED[str(handler.__annotations__["return"])]


class Translation:
    """A function that Python calls, with all handlers that it calls."""

    def __init__(self, checks: bool) -> None:
        self.checks = checks
        self.tags: dict[str, int] = {}
        self._functions: dict[Any, Function] = {}
        self._waiting: list[Function] = []

    def text(self, entry: Callable[..., Any]) -> str:
        """All of it, in LLVM's language."""
        called = self.function(entry, tuple(DECLARED[each] for name, each in declared(entry).items()))
        bodies = []
        while self._waiting:
            function = self._waiting.pop()
            bodies.append(Translator(self, function).text("" if function is called else "internal fastcc "))
        tags = [
            f'!{tag} = !{{!"{name}", !0}}\n!{tag + 1} = !{{!{tag}, !{tag}, i64 0}}' for name, tag in self.tags.items()
        ]
        return "\n".join([*bodies, '!0 = !{!"chatsim"}', "!1 = !{}", *tags])

    def function(self, handler: Callable[..., Any], kinds: tuple[Kind, ...]) -> Function:
        """A handler, to be called with arguments of these kinds."""
        key = handler, kinds
        if handler not in HANDLERS and not handler.__module__.startswith(RULES):
            raise NotSaidError(f"{handler.__name__} is neither a handler nor a rule")
        if key not in self._functions:
            number = "" if all(kind in DECLARED.values() for kind in kinds) else f".{len(self._functions)}"
            function = Function(f"{handler.__module__.rpartition('.')[2]}.{handler.__name__}{number}", handler, kinds)
            self._functions[key] = function
            self._waiting.append(function)
        return self._functions[key]

    def tag(self, name: str) -> str:
        """Says of an access that its memory is that of one name only: what is written as another one leaves it."""
        return f"!tbaa !{self.tags.setdefault(name, 2 + 2 * len(self.tags)) + 1}"


def declared(handler: Callable[..., Any]) -> dict[str, str]:
    """The kinds of a handler's arguments, as it declares them."""
    return {name: str(kind) for name, kind in handler.__annotations__.items() if name != "return"}


@cache
def _functions_in(path: str) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


class Translator(Reckoning):
    """One function: its statements."""

    def __init__(self, translation: Translation, function: Function) -> None:
        super().__init__(translation.tag, translation.checks)
        self.translation, self.function = translation, function
        self.names: dict[str, Any] = {}
        self.kept: list[str] = []
        self.loops: list[tuple[str, str]] = []

    def text(self, linkage: str) -> str:
        """The function in LLVM's language."""
        handler = self.function.handler
        node = _functions_in(handler.__code__.co_filename)[handler.__name__]
        arguments = []
        for argument, kind in zip(node.args.args, self.function.kinds, strict=False):
            arguments += self._argument(argument.arg, kind)
        try:
            self.statements(node.body)
        except Exception as error:
            raise NotSaidError(f"{handler.__module__}.{handler.__name__}, line {self.line}: {error}") from error
        if not self.is_over:
            self.emit("ret void" if self.function.result == NOTHING else "unreachable")
        attributes = "nounwind cold" if handler in SELDOM else "nounwind"
        given = ", ".join(arguments)
        head = f"define {linkage}{self.function.result.llvm} {self.function.name}({given}) {attributes} {{"
        return "\n".join([head, "entry:", *self.kept, *self.lines, "}"])

    def _argument(self, name: str, kind: Kind) -> list[str]:
        """A name for what the function is given."""
        if isinstance(kind, KnownKind):
            self.names[name] = Known(kind.known)
            return []
        if kind == STATE:
            self.names[name] = Value(kind, f"%{name}")
            return [f"ptr %{name}"]
        if isinstance(kind, TableKind):
            self.names[name] = Value(kind, f"%{name}", f"%{name}.rows")
            return [f"ptr %{name}", f"i64 %{name}.rows"]
        self.put(name, Value(kind, f"%{name}"))
        return [f"{kind.llvm} %{name}"]

    # ------------------------------------------------------------------ names

    def put(self, name: str, value: Any) -> None:
        """Gives a name a value, of its kind if it has one."""
        if isinstance(value, Lent):
            value = self.looked_up(value)
        if isinstance(value, Known):
            value = number(value)
        if isinstance(value.kind, TableKind):
            if name in self.names:
                raise NotSaidError(f"{name} becomes another table")
            self.names[name] = value
            return
        if name not in self.names:
            self.kept.append(f"  %{name}.kept = alloca {value.kind.llvm}")
            self.names[name] = Value(value.kind, f"%{name}.kept", "kept")
        kept = self.names[name]
        self.emit(f"store {kept.kind.llvm} {self.cast(value, kept.kind).text}, ptr {kept.text}")

    def named(self, name: str) -> Any:
        """What stands for a name: here, or in the module."""
        if name not in self.names:
            known = self.function.handler.__globals__
            return Known(known[name] if name in known else getattr(builtins, name))
        value = self.names[name]
        if isinstance(value, Value) and value.rows == "kept":
            return Value(value.kind, self.made(f"load {value.kind.llvm}, ptr {value.text}"))
        return value

    # ------------------------------------------------------------------ statements

    def statements(self, body: list[ast.stmt]) -> None:
        """One after the other."""
        for node in body:
            if self.is_over:
                return
            self.line = node.lineno
            getattr(self, f"_{type(node).__name__.lower()}")(node)

    def _pass(self, node: ast.Pass) -> None:
        pass

    def _expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.value(node.value)

    def _assign(self, node: ast.Assign) -> None:
        value = self.value(node.value)
        for target in node.targets:
            self._give(target, value)

    def _annassign(self, node: ast.AnnAssign) -> None:
        assert node.value is not None
        self._give(node.target, self.value(node.value))

    def _give(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Tuple):
            for each, part in zip(target.elts, value.values, strict=True):
                self._give(each, part)
        elif isinstance(target, ast.Name):
            self.put(target.id, value)
        elif isinstance(target, ast.Attribute) and self.value(target.value).kind == STATE:
            self.keep(self.value(target.value), target.attr, value)
        else:
            self.store(self.place(target), value)

    def _augassign(self, node: ast.AugAssign) -> None:
        operation = type(node.op).__name__
        if isinstance(node.target, ast.Name):
            before = self.named(node.target.id)
            self.put(node.target.id, self.reckoned(operation, before, self.value(node.value)))
        else:
            place = self.place(node.target)
            before = self.load(place)
            self.store(place, self.reckoned(operation, before, self.value(node.value)))

    def _return(self, node: ast.Return) -> None:
        result = self.function.result
        if node.value is None:
            self.emit("ret void")
        elif result == PAIR:
            pair = "undef"
            for place, part in enumerate(self.value(node.value).values):
                pair = self.made(f"insertvalue {PAIR.llvm} {pair}, i64 {self.cast(part, INT).text}, {place}")
            self.emit(f"ret {PAIR.llvm} {pair}")
        else:
            self.emit(f"ret {result.llvm} {self.cast(self.value(node.value), result).text}")
        self.is_over = True

    def _if(self, node: ast.If) -> None:
        yes, no, end = self.labels("yes", "no", "end")
        self.branch(node.test, yes, no if node.orelse else end)
        self.label(yes)
        self.statements(node.body)
        self.jump(end)
        if node.orelse:
            self.label(no)
            self.statements(node.orelse)
            self.jump(end)
        self.label(end)

    def _while(self, node: ast.While) -> None:
        test, body, end = self.labels("test", "body", "end")
        self.jump(test)
        self.label(test)
        self.branch(node.test, body, end)
        self._body(node.body, body, test, end)
        self.jump(test)
        self.label(end)

    def _body(self, body: list[ast.stmt], begin: str, following: str, end: str) -> None:
        self.label(begin)
        self.loops.append((following, end))
        self.statements(body)
        self.loops.pop()

    def _for(self, node: ast.For) -> None:
        assert isinstance(node.target, ast.Name)
        if isinstance(node.iter, ast.Tuple):
            self._each(node, node.iter.elts)
            return
        assert isinstance(node.iter, ast.Call)
        assert self.value(node.iter.func).value is range
        given = [self.cast(self.value(argument), INT).text for argument in node.iter.args]
        first, last, step = ("0", *given, "1") if len(given) == 1 else (*given, "1")[:3]
        test, body, following, end = self.labels("test", "body", "next", "end")
        counter = f"%{test}.at"
        self.kept.append(f"  {counter} = alloca i64")
        self.emit(f"store i64 {first}, ptr {counter}")
        self.jump(test)
        self.label(test)
        here = self.made(f"load i64, ptr {counter}")
        goes_on = self.made(f"icmp {'sgt' if step.startswith('-') else 'slt'} i64 {here}, {last}")
        self.emit(f"br i1 {goes_on}, label %{body}, label %{end}")
        self.label(body)
        self.put(node.target.id, Value(INT, here))
        self.jump(f"{body}.on")
        self._body(node.body, f"{body}.on", following, end)
        self.jump(following)
        self.label(following)
        self.emit(f"store i64 {self.made(f'add i64 {here}, {step}')}, ptr {counter}")
        self.jump(test)
        self.label(end)

    def _each(self, node: ast.For, values: list[ast.expr]) -> None:
        assert isinstance(node.target, ast.Name)
        (end,) = self.labels("end")
        for each in values:
            body, following = self.labels("body", "next")
            self.put(node.target.id, self.value(each))
            self.jump(body)
            self._body(node.body, body, following, end)
            self.jump(following)
            self.label(following)
        self.jump(end)
        self.label(end)

    def _break(self, node: ast.Break) -> None:
        self.jump(self.loops[-1][1])

    def _continue(self, node: ast.Continue) -> None:
        self.jump(self.loops[-1][0])

    # ------------------------------------------------------------------ calls of handlers

    def call(self, handler: Callable[..., Any], arguments: list[Any]) -> Any:
        """Another handler does its part."""
        given, kinds = [], []
        for argument, asked in zip(arguments, declared(handler).values(), strict=False):
            kind = DECLARED.get(asked)
            value = self.looked_up(argument) if isinstance(argument, Lent) else argument
            if kind is not None:
                value = self.cast(value, kind)
            kinds.append(value.kind)
            if isinstance(value, Value):
                given.append(f"{value.kind.llvm} {value.text}")
                given += [f"i64 {value.rows}"] if isinstance(value.kind, TableKind) else []
        function = self.translation.function(handler, tuple(kinds))
        call = f"call fastcc {function.result.llvm} {function.name}({', '.join(given)})"
        if function.result == NOTHING:
            self.emit(call)
            return Value(NOTHING, "")
        made = self.made(call)
        if function.result == PAIR:
            return Parts(tuple(Value(INT, self.made(f"extractvalue {PAIR.llvm} {made}, {place}")) for place in (0, 1)))
        return Value(function.result, made)
