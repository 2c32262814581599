"""The trace as handlers are fed it: the same whether it is written row by row, compiled, or column by column."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from chatsim.engine.compiled import feed, run, sessions_to_come, state, writing
from chatsim.engine.compiled.code import is_interpreted
from chatsim.engine.rooms import Rooms
from chatsim.scenario import load_scenario
from chatsim.world import build_world

SMALL = ["workload.users=200", "workload.duration_s=20000", "workload.relations.ends_per_day=2", "workload.intruders.share=0.1"]
CHOICES = {
    "pair rooms": ["design.rooms=pair"],
    "personal rooms": ["design.rooms=personal"],
    "rooms of groups": ["design.rooms=group"],
    "luck of items": ["gateway.service=exponential", "broker.service=exponential", "database.service=exponential"],
    "who may write": ["access.policy=friends"],
    "who opens": ["friend_list.policy=recent"],
    "nothing jitters": ["network.jitter_sigma=0"],
}


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("ahead", [0, 100])
@pytest.mark.skipif(is_interpreted(), reason="nothing is compiled")
def test_rows_are_the_same_compiled(choice: str, ahead: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = load_scenario("hub", [*SMALL, *CHOICES[choice]])
    people = build_world(chosen)

    def written(is_fast: bool) -> dict[str, npt.NDArray[Any]]:
        for loop in (writing.WRITE, writing.MERGE):
            loop.load()
            if not is_fast:
                monkeypatch.setattr(loop, "fast", None)
        monkeypatch.setattr(feed, "MESSAGES_AT_ONCE", 70)
        monkeypatch.setattr(writing, "MESSAGES_AT_ONCE", 30)
        monkeypatch.setattr(feed, "SLICE", 500)
        fed = feed.Feed(chosen, people, Rooms(people, chosen.design), run._lists(chosen, people), ahead)
        places = {"blank_session": np.zeros(1, state.FIXED["blank_session"])}
        sessions_to_come.place_sessions(places, chosen, people)
        for begun in np.linspace(0, len(fed.tables["trace"]), 20, dtype=int).tolist():
            fed.write(begun, places)
        assert (places["sessions"]["user"][: len(people.sessions)] == people.sessions.user).all()
        return fed.tables | places

    rows, columns = written(True), written(False)
    assert len(people.messages) > 1000
    assert rows.keys() == columns.keys()
    for name, table in rows.items():
        assert table.tobytes() == columns[name].tobytes(), name
    assert (np.diff(rows["trace"]["time_s"]) >= 0).all()
