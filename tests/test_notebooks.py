"""The notebooks run from top to bottom, draw, conclude, and are stored without outputs beside their text."""

from __future__ import annotations

from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.ipynb"))
CELL_S_MAX = 120


def read(path: Path) -> nbformat.NotebookNode:
    """A notebook, or its text, as cells."""
    return jupytext.read(path)


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


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


def test_the_first_look_draws_and_concludes(root: Path) -> None:
    book = nbformat.read(root / "notebooks" / "01_first_look.ipynb", as_version=4)
    client = NotebookClient(book, timeout=CELL_S_MAX, kernel_name="python3", resources={"metadata": {"path": str(root)}})
    client.execute()
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"]
    shown = [kind for output in outputs for kind in output.get("data", {})]
    assert shown.count("image/png") == 3
    conclusion = outputs[-1]["data"]["text/markdown"]
    assert "Take go-chat** for a growing number" in conclusion
    assert "nan" not in conclusion
