"""A compiled run, from a scenario and a world to an outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from chatsim.engine.compiled.chat import AHEAD, DRAWS
from chatsim.engine.compiled.code import entry
from chatsim.engine.compiled.loop import BREAKS, DONE, NEEDS_DRAWS, NEEDS_SESSIONS, go_on, start
from chatsim.engine.compiled.result import Written, inbox_of
from chatsim.engine.compiled.setup import clients_from, draws_of_users, sync_luck, tables_for
from chatsim.engine.compiled.state import State, as_handlers_take, state_of, tables_of
from chatsim.engine.finishing import outcome_of
from chatsim.engine.outcome import Outcome
from chatsim.engine.rooms import Rooms
from chatsim.scenario import Scenario
from chatsim.world import build_world
from chatsim.world.contacts import FriendLists, friend_lists
from chatsim.world.tables import World

STEPS = 200_000
"""Events between two looks at progress, and at ctrl-C."""


def run_compiled(scenario: Scenario, world: World, progress: Callable[[float], None] | None = None) -> Outcome:
    """Runs a scenario of which :func:`~chatsim.engine.compiled.coverage.missing` names nothing.

    Where a broker cuts a gateway off, which shows only when it happens, it runs once more, and remembers what had been
    sent when connections break.
    """
    troubled = bool(scenario.faults) or scenario.scaling.start > 0
    outcome = _run(scenario, world, progress, troubled) or _run(scenario, world, progress, troubled=True)
    assert outcome is not None
    return outcome


def _run(
    scenario: Scenario, world: World, progress: Callable[[float], None] | None, troubled: bool
) -> Outcome | None:
    """A run, or None where connections break that were taken to hold."""
    rooms, lists = Rooms(world, scenario.design), _lists(scenario, world)
    st = state_of(tables_for(scenario, world, rooms, lists, troubled))
    end_s = world.duration_s + scenario.workload.drain_s
    start(st, int(np.searchsorted(world.sessions.start_s, 0.0, side="right")))
    told = 0
    while (reason := go_on(st, STEPS)) != DONE:
        if reason == BREAKS:
            return None
        if reason == NEEDS_SESSIONS:
            _more_sessions(st, scenario, world)
        elif reason == NEEDS_DRAWS:
            times = len(tables_of(st)["user_draws"]) // DRAWS
            set_draws(st, draws_of_users(scenario, world, max(2 * AHEAD, 2 * times)))
        told = _tell(progress, told, now_s(st) / end_s)
    _tell(progress, told, 0.99)
    tables = tables_of(st)
    notes = Written(world, tables, lists)
    return replace(outcome_of(scenario, world, notes, inbox_of(st), np.array(rooms.meant, np.int64)), engine="compiled")


def compile_all() -> None:
    """Compiles the engine by running a world in which next to nothing happens."""
    scenario = Scenario.model_validate({"workload": {"users": 2, "duration_s": 1.0}})
    run_compiled(scenario, build_world(scenario))


def _lists(scenario: Scenario, world: World) -> FriendLists | None:
    """Which conversations open: needed where clients ask for presence then."""
    asked = scenario.friend_list
    if scenario.presence.how != "pull":
        return None
    return friend_lists(world, "recent", asked.half_life_s, asked.kept, asked.opening_gap_s)


def _tell(progress: Callable[[float], None] | None, told: int, share: float) -> int:
    """Tells progress each hundredth, up to 0.99; how many it has been told."""
    while progress is not None and told < min(99, int(share * 100)):
        told += 1
        progress(told / 100)
    return told


def _more_sessions(st: State, scenario: Scenario, world: World) -> None:
    """Twice as many sessions and clients."""
    tables = tables_of(st)
    count = len(tables["sessions"])
    sessions = np.concatenate([tables["sessions"], np.repeat(tables["blank_session"], count)])
    sessions["sync_luck"] = sync_luck(scenario, world, 2 * count)
    clients = np.concatenate([tables["clients"], clients_from(count, count)])
    set_people(st, as_handlers_take(sessions), as_handlers_take(clients))


@entry
def now_s(st: State) -> float:
    """The time of a run."""
    return float(st.now[0].time_s)


@entry
def set_people(st: State, sessions: Any, clients: Any) -> None:
    """Puts larger tables in the place of those of sessions and clients."""
    st.sessions = sessions
    st.clients = clients


@entry
def set_draws(st: State, draws: Any) -> None:
    """Puts a larger table in the place of that of draws."""
    st.user_draws = draws
