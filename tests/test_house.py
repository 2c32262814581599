"""The house: lower floors know nothing of higher ones, nothing goes in a circle, heavy things stay in their place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "chatsim"
FLOORS = (
    "scenario", "rules", "world", "engine", "theory", "analysis", "study", "report", "live", "options", "study_cli", "decide_cli", "report_cli", "trace_cli", "foreign_cli", "live_cli", "validate_cli", "cli", "__main__",
)
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    """chatsim/rules/routing.py -> chatsim.rules.routing"""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def floor_of(module: str) -> str:
    """chatsim.rules.routing -> rules; the package itself is ''."""
    return [*module.split("."), ""][1]


def imports(path: Path, whole: bool = True) -> Iterator[str]:
    """Modules that a file imports: anywhere, or only those fetched when it is itself imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree) if whole else at_import(tree.body):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when a module is imported: not in functions, not under TYPE_CHECKING."""
    for node in body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            yield from at_import(node.orelse)
            continue
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for part in ("body", "orelse", "finalbody"):
                yield from at_import(getattr(node, part, []))


def internal(path: Path, whole: bool = True) -> set[str]:
    """Modules of chatsim that a file imports."""
    known = {name_of(module) for module in MODULES}
    return {name for name in imports(path, whole) if name in known}


def test_every_floor_is_known() -> None:
    found = {floor_of(name_of(path)) for path in MODULES} - {""}
    assert found <= set(FLOORS)
    assert set(FLOORS[:8]) <= found


@pytest.mark.parametrize("path", [path for path in MODULES if path != PACKAGE / "__init__.py"], ids=name_of)
def test_imports_only_downwards(path: Path) -> None:
    height = FLOORS.index(floor_of(name_of(path)))
    for other in internal(path):
        floor = floor_of(other)
        if floor == "":
            assert floor_of(name_of(path)) == "cli", f"{name_of(path)} imports the public face {other}"
        else:
            assert FLOORS.index(floor) <= height, f"{name_of(path)} imports {other}, which is above it"


def test_no_circles() -> None:
    graph = {name_of(path): internal(path, whole=False) - {name_of(path)} for path in MODULES}
    for path in MODULES:
        if path.name == "__init__.py":  # a floor's own face; who imports a module of the floor is after that module
            graph[name_of(path)] = {other for other in graph[name_of(path)] if other != "chatsim"}
    done: set[str] = set()
    while len(done) < len(graph):
        free = {name for name, needs in graph.items() if name not in done and needs <= done}
        assert free, f"imports in a circle: {sorted(set(graph) - done)}"
        done |= free


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_charts_are_drawn_in_the_report_alone(path: Path) -> None:
    if floor_of(name_of(path)) != "report":
        assert not {name for name in imports(path) if name.split(".")[0] == "matplotlib"}


@pytest.mark.parametrize("path", sorted((PACKAGE / "rules").glob("*.py")), ids=name_of)
def test_rules_are_numbers_and_arrays_alone(path: Path) -> None:
    allowed = {"__future__", "collections", "enum", "math", "numpy", "typing"}
    foreign = {name for name in imports(path) if name.split(".")[0] not in allowed}
    assert {name for name in foreign if floor_of(name) != "rules" or not name.startswith("chatsim.")} == set()


def test_only_the_command_line_talks_to_the_terminal() -> None:
    for path in MODULES:
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        printing = [node for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"]
        assert not printing or floor_of(name_of(path)) == "cli", f"{name_of(path)} prints"


def test_no_pickle_is_read() -> None:
    for path in MODULES:
        assert not {"pickle", "shelve", "marshal", "dill"} & {name.split(".")[0] for name in imports(path)}, name_of(
            path
        )


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 600
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 60, f"{node.name} has {node.end_lineno - node.lineno + 1} lines"
