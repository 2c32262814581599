"""The explorer, driven in this process: sliders are set, and what is shown changes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatsim import InputError, Scenario, explore, load_scenario
from chatsim.report import explore as module
from chatsim.report.explore import Explorer, Question

pytest.importorskip("ipywidgets")
PNG = b"\x89PNG"
SMALL = ["workload.users=200", "workload.duration_s=300", "workload.drain_s=1"]


@pytest.fixture
def explorer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Explorer]:
    monkeypatch.setattr(module, "WAIT_S", 0.01)
    found = explore(load_scenario("go-chat", SMALL))
    assert found.wait()
    yield found
    found.asked += 1  # whatever still runs is out of date


def asked(**changes: Any) -> Question:
    sliders = {"users": 200, "gateways": 4, "list_limit": 0, "routing": "user", "push_after_min": 5.0}
    return Question(load_scenario("go-chat", SMALL), **{**sliders, **changes})


def test_it_opens_with_an_estimate_and_a_chart(explorer: Explorer) -> None:
    assert "binds first" in explorer.estimate.value or "bind first" in explorer.estimate.value
    assert bytes(explorer.chart.value).startswith(PNG)
    assert "p99" in explorer.said.value
    assert explorer.progress.value == 1.0
    assert "application/vnd.jupyter.widget-view+json" in explorer._repr_mimebundle_()


def test_the_estimate_answers_before_the_simulation_and_the_chart_follows(explorer: Explorer) -> None:
    before = (explorer.estimate.value, bytes(explorer.chart.value))
    explorer.controls["routing"].value = "global"
    assert explorer.estimate.value != before[0]
    assert explorer.wait()
    assert bytes(explorer.chart.value).startswith(PNG)
    assert bytes(explorer.chart.value) != before[1]


@pytest.mark.parametrize(
    ("control", "value", "key"),
    [
        ("users", 1000, lambda found: found.workload.users == 1000),
        ("gateways", 9, lambda found: found.design.gateways == 9),
        ("list_limit", 30, lambda found: (found.friend_list.policy, found.friend_list.limit) == ("recent", 30)),
        ("routing", "room", lambda found: found.design.routing == "room"),
        ("push_after_min", 12, lambda found: found.push.after_min == 12.0),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_slider_moves_its_key(
    explorer: Explorer, control: str, value: Any, key: Callable[[Scenario], bool]
) -> None:
    assert not key(explorer.question.scenario)
    explorer.controls[control].value = value
    assert key(explorer.question.scenario)
    if control != "users":
        assert explorer.wait()


def test_what_moves_on_is_not_simulated(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(module, "WAIT_S", 0.3)
    monkeypatch.setattr(
        module, "simulate", lambda scenario, world, progress: seen.append(scenario.design.gateways) or explorer.first[1]  # type: ignore[index,func-returns-value]
    )  # fmt: skip
    for gateways in (5, 6, 7):
        explorer.controls["gateways"].value = gateways
    assert explorer.wait()
    assert seen == [7]


def test_a_run_that_is_out_of_date_ends_at_its_next_step(explorer: Explorer) -> None:
    told = explorer._progress(explorer.asked)
    told(0.5)
    assert explorer.progress.value == 0.5
    explorer.asked += 1
    with pytest.raises(module._Superseded):
        told(0.6)


def test_what_does_not_fit_together_is_said(explorer: Explorer) -> None:
    explorer.base = load_scenario("go-chat", [*SMALL, "presence.show_to=friends", "presence.how=pull"])
    explorer.controls["routing"].value = "mesh"
    assert "has no broker to ask" in explorer.estimate.value
    assert explorer.wait()


def test_a_large_question_is_simulated_smaller_and_says_so() -> None:
    large = asked(users=1_000_000)
    done = large.smaller.workload
    assert large.scenario.workload.users == 1_000_000
    assert done.users <= module.USERS_MOST
    assert "of 1,000,000 users" in large.note
    assert large.needs.demand.users == 1_000_000
    assert asked().smaller == asked().scenario
    assert asked().note == "Simulated: 200 users, 300 s."


def test_a_long_question_is_simulated_shorter() -> None:
    base = load_scenario("go-chat", ["workload.users=2000", "workload.duration_s=86400"])
    done = Question(base, 2000, 4, 0, "user", 5.0)
    assert done.smaller.workload.users == 2000
    assert done.smaller.workload.duration_s < 86400
    assert "so that it takes seconds" in done.note


def test_a_list_of_all_friends_stays_where_no_limit_is_set() -> None:
    base = load_scenario("go-chat", [*SMALL, "friend_list.policy=all"])
    assert Question(base, 200, 4, 0, "user", 5.0).scenario.friend_list.policy == "all"
    assert Question(base, 200, 4, 20, "user", 5.0).scenario.friend_list.policy == "recent"


def test_what_is_found_can_be_saved(explorer: Explorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    explorer.controls["gateways"].value = 6
    explorer.file.value = "mine.toml"
    explorer.save.click()
    assert "Written: mine.toml" in explorer.saved.value
    assert load_scenario("mine.toml") == explorer.question.scenario
    explorer.save.click()
    assert "mine.toml: exists already: another name is needed" in explorer.saved.value
    assert "--force" not in explorer.saved.value


def test_without_ipywidgets_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(InputError, match=r"^explore: ipywidgets is missing: pip install 'chatsim\[notebook\]'$"):
        explore(Scenario())
