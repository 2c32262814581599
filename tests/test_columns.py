"""Columns that compiled loops take out of rows are those of numpy; and memory that is lent comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from chatsim.engine.compiled import columns
from chatsim.engine.compiled.code import is_interpreted
from chatsim.engine.compiled.lending import Lending
from chatsim.engine.compiled.state import FIXED, GROWING
from chatsim.engine.ticks import TICK


def rows_of(kind: np.dtype[Any], count: int) -> Any:
    """Rows with another number in each place; some times are NaN, and some fates not said."""
    rows = np.zeros(count, kind)
    for place, name in enumerate(kind.names or ()):
        rows[name] = (np.arange(count) * 31 + place * 7) % 120
        if kind[name].kind == "f":
            rows[name][place % 5 :: 5] = np.nan
    if kind["fate"].kind == "i":
        rows["fate"][::3] = -1
    return rows


CASES: dict[str, tuple[np.dtype[Any], Callable[[Any], dict[str, Any]]]] = {
    "messages": (FIXED["messages"], columns.columns_of_messages),
    "rows": (GROWING["rows"], columns.columns_of_rows),
    "sessions": (GROWING["sessions"], lambda rows: columns.columns_of_sessions(rows, np.arange(len(rows)))),
    "some sessions": (GROWING["sessions"], lambda rows: columns.columns_of_sessions(rows, np.arange(1, len(rows), 3))),
}


@pytest.mark.skipif(is_interpreted(), reason="nothing is compiled")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("count", [0, 1, 5000])
def test_columns_are_the_same_compiled(case: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, taken = CASES[case]
    rows, found = rows_of(kind, count), []
    for is_fast in (False, True):
        for loop in columns.TAKEN:
            monkeypatch.setattr(loop, "fast", None)
            if is_fast:
                loop.load()
        found.append(taken(rows))
    by_numpy, compiled = found
    assert by_numpy.keys() == compiled.keys()
    for name, column in by_numpy.items():
        assert compiled[name].dtype == column.dtype
        np.testing.assert_array_equal(compiled[name], column, err_msg=name)
        if case != "rows" or name != "fate":
            np.testing.assert_array_equal(column, rows[name][1::3] if case == "some sessions" else rows[name])


def test_memory_is_lent_again_when_nobody_looks_at_it_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[int] = []
    empty = np.empty
    monkeypatch.setattr(np, "empty", lambda size, kind: (fetched.append(size), empty(size, kind))[1])
    lending = Lending(TICK)
    rows = lending.rows(1000)
    looks = rows[:10]["start_s"]
    del rows
    others = lending.rows(1000)
    assert not np.shares_memory(others, looks)
    assert fetched == [1000 * TICK.itemsize] * 2
    del looks
    again = lending.rows(500)  # in the larger memory that is there
    assert not np.shares_memory(again, others)
    assert len(fetched) == 2
