"""Published results: each shipped scenario gives its figure, and each row of the table is accounted for."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from chatsim.scenario import load_scenario
from chatsim.scenario.files import data_folder
from chatsim.study import published
from chatsim.study.published import NEAR, Published

QUICK = {
    "centrifugo-redis-1": NEAR, "hashrocket-node-5k": NEAR, "hashrocket-node-max": 0.25, "socketio-5226": 0.03,
    "rocketchat-21182": 0.03,
}  # fmt: skip
"""By how much each may be off. Runs have a fixed seed."""


def test_each_published_result_is_there_with_a_figure_or_a_reason() -> None:
    table = pd.read_csv(data_folder() / "reference" / "published.csv")
    cases = published._cases()
    assert set(cases) == set(table["id"])
    assert published.count() == len(cases)
    assert all(case.why for case in cases.values() if case.measure is None)


@pytest.mark.parametrize("name", QUICK)
def test_a_published_figure_is_met(name: str) -> None:
    case = published._cases()[name]
    assert case.measure is not None
    assert case.measure() == pytest.approx(case.value, rel=QUICK[name])


@pytest.mark.long
def test_eight_figures_are_modelled_and_those_that_are_off_say_why() -> None:
    rows = [row for row in published.published() if row.verdict != "not modelled"]
    assert len(rows) >= 8
    assert sum(row.verdict == "reproduced" for row in rows) >= 5
    assert all(row.why for row in rows if row.verdict != "reproduced")


@pytest.mark.parametrize("path", sorted((data_folder() / "published").glob("*.toml")), ids=lambda path: path.stem)
def test_a_published_setting_is_a_scenario(path: object) -> None:
    assert load_scenario(str(path)).about


def test_a_verdict_in_words() -> None:
    def row(here: float) -> Published:
        return Published("a", "b", "c", "ms", 100.0, here, "", "d")

    assert [row(here).verdict for here in (114.0, 86.0, 120.0, 50.0)] == ["reproduced", "reproduced", "+20 %", "-50 %"]
    assert row(math.nan).verdict == "not modelled"
