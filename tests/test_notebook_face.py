"""What notebooks see: objects that show themselves, names on the public face, charts that are returned."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import chatsim
from chatsim import charts
from chatsim.scenario.keys import unlike_default
from chatsim.scenario.load import validate

SCRIPT = "<script>alert(1)</script>"
SMALL = {"users": 200, "duration_s": 300.0}


@pytest.fixture(scope="module")
def compared() -> chatsim.Comparison:
    designs = [validate({"name": f"{SCRIPT}{n}", "about": SCRIPT, "workload": SMALL}) for n in (1, 2)]
    return chatsim.compare(designs)


def test_a_scenario_shows_what_differs_from_the_defaults() -> None:
    asked = chatsim.load_scenario("hub", ["workload.users=123", "limits.burst=7"], faults=["gateway-lost"])
    html = asked._repr_html_()
    for said in ("hub", "workload.users", "123", "limits.burst", "faults[0].kind"):
        assert said in html
    assert "network.client_ms_median" not in html
    assert dict(unlike_default(chatsim.Scenario())) == {}


def test_text_stays_text(compared: chatsim.Comparison) -> None:
    for shown in (
        compared, compared.scenarios[0], next(iter(compared.outcomes.values())), chatsim.estimate(compared.scenarios[0]),
        chatsim.run(compared.scenarios[0]),
    ):
        html = shown._repr_html_()
        assert "<script>" not in html
        assert "&lt;script&gt;" in html
        assert len(html) < 6000


def test_an_outcome_shows_how_its_messages_ended(compared: chatsim.Comparison) -> None:
    outcome = next(iter(compared.outcomes.values()))
    html = outcome._repr_html_()
    delivered = int((outcome.deliveries["fate"] == 0).sum())
    assert f"<th>deliveries DELIVERED</th><td>{delivered:,}</td>" in html
    assert "<th>messages</th>" in html


def test_a_comparison_shows_its_main_figures_and_verdicts(compared: chatsim.Comparison) -> None:
    html = compared._repr_html_()
    assert re.findall(r"<th>(\w+)</th>", html)[:4] == ["design", "carried_per_s", "p50_ms", "p99_ms"]
    assert html.count("<li>") == 2


def test_charts_are_returned_and_not_shown() -> None:
    table = pd.DataFrame({"n": [1, 2, 3, 1, 2, 3], "ms": [1.0, 2, 3, 2, 3, 4], "half": 0.5, "who": [*"aaabbb"]})
    figure = charts.lines(table, "n", "ms", "who", half_width="half", said=("T", "n (1)", "ms"), limit=("most", 3.5))
    (axes,) = figure.axes
    assert (axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()) == ("T", "n (1)", "ms")
    drawn = [line for line in axes.get_lines() if len(np.asarray(line.get_xdata())) == 3]
    assert [list(np.asarray(line.get_ydata())) for line in drawn] == [[1, 2, 3], [2, 3, 4]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    bars = charts.bars(table.head(3), "who", "ms", half_width="half", title="B", label="ms")
    assert [patch.get_width() for patch in bars.axes[0].patches] == [1, 2, 3]
    assert charts.lines(table.head(0), "n", "ms").axes[0].texts[0].get_text() == "nothing to show"
    assert plt.get_fignums() == []


@pytest.mark.parametrize("name", charts.__all__)
def test_every_chart_is_on_the_public_face(name: str) -> None:
    assert callable(getattr(charts, name))


def test_a_study_runs_from_python(tmp_path: Path) -> None:
    asked = {
        "name": "small", "base": "hub", "set": ["workload.users=100", "workload.duration_s=60"], "replications": 2,
        "factors": {"design.gateways": [1]}, "slos": ["p99_ms < 2000"],
    }  # fmt: skip
    done = chatsim.run_study(asked, tmp_path / "out", jobs=1)
    assert done.computed == 2
    again = chatsim.run_study(tmp_path / "out", jobs=1)
    assert (again.computed, again.found) == (0, 2)
    assert set(done.tables.results["figure"]) >= {"p99_ms", "lost_share"}
    with pytest.raises(chatsim.InputError, match="gatewys: neither a file nor a shipped study; did you mean 'gateways'"):
        chatsim.run_study("gatewys")
    with pytest.raises(chatsim.InputError, match="study: unknown key 'replicatons'; did you mean 'replications'"):
        chatsim.run_study({"base": "hub", "replicatons": 3})
