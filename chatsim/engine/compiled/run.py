"""A compiled run, from a scenario and a world to an outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from chatsim.engine.compiled.code import is_interpreted
from chatsim.engine.compiled.columns import columns_of_sessions
from chatsim.engine.compiled.feed import Feed
from chatsim.engine.compiled.loop import BREAKS, DONE, NEEDS_DRAWS, NEEDS_SESSIONS, go_on
from chatsim.engine.compiled.luck import more_draws
from chatsim.engine.compiled.parts import Parts
from chatsim.engine.compiled.result import Written, cut_to_size, inbox_of, rows_of
from chatsim.engine.compiled.sessions_to_come import place_more_sessions
from chatsim.engine.compiled.setup import tables_for
from chatsim.engine.compiled.state import State, put_table, state_of, table_of, tables_of
from chatsim.engine.compiled.ticks import Ticks
from chatsim.engine.finishing import outcome_of
from chatsim.engine.loops import LOOPS
from chatsim.engine.outcome import Outcome
from chatsim.engine.rooms import Rooms
from chatsim.scenario import Scenario
from chatsim.world import build_world
from chatsim.world.contacts import FriendLists, friend_lists
from chatsim.world.tables import World

STEPS = 1 << 15
"""Events in which nothing of the trace need be fed, and after which a part may be made."""
SLICE = 1 << 15
"""Events after which ticks are taken while the processor's cache has them, with a look at progress, and at ctrl-C."""
TICKS_OF_MESSAGE = 7
"""Ticks that a message takes, about: room for many more is given back after each run, and fetched for the next."""
ENGINE_SHARE = 0.6
"""Of the time that compiling takes, that of the engine itself; the rest is that of the loops over what it leaves."""


def run_compiled(scenario: Scenario, world: World, progress: Callable[[float], None] | None = None) -> Outcome:
    """Runs a scenario of which :func:`~chatsim.engine.compiled.coverage.missing` names nothing.

    Where a broker cuts a gateway off, which shows only when it happens, it runs once more, and remembers what had been
    sent when connections break.
    """
    outcome = _run(scenario, world, progress, may_break(scenario)) or _run(scenario, world, progress, troubled=True)
    assert outcome is not None
    return outcome


def run_in_parts(
    scenario: Scenario, world: World, take: Callable[[Outcome], None], progress: Callable[[float], None] | None = None
) -> None:
    """The same, each part of the run given to ``take`` as soon as it is settled and audited.

    Connections are taken to be ones that may break wherever a broker may cut gateways off: no part can be taken back.
    """
    broker = scenario.broker
    limited = bool(broker.subscriber_max_bytes or broker.subscriber_soft_bytes)
    lists, rooms = _lists(scenario, world), Rooms(world, scenario.design)
    feed = Feed(scenario, world, rooms, lists, ahead=STEPS)
    st = state_of(tables_for(scenario, world, rooms, lists, may_break(scenario) or limited, feed))
    parts = Parts(scenario, world, lists, feed, rooms.pairs, take)
    parts.begin(st)
    _go(st, scenario, world, progress, parts.ticks, parts.next)
    parts.last(st)


def may_break(scenario: Scenario) -> bool:
    """Whether connections are known to break."""
    return bool(scenario.faults) or scenario.scaling.start > 0


def _run(
    scenario: Scenario, world: World, progress: Callable[[float], None] | None, troubled: bool
) -> Outcome | None:
    """A run, or None where connections break that were taken to hold."""
    found = _told(scenario, world, progress, troubled)
    # The tables of the run are gone by now: they are as large as the outcome.
    return None if found is None else replace(outcome_of(scenario, world, *found), engine="compiled")


def _told(
    scenario: Scenario, world: World, progress: Callable[[float], None] | None, troubled: bool
) -> tuple[Written, npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
    """What a run has written, what waits for whom at its end, and for whom each message is."""
    lists, rooms = _lists(scenario, world), Rooms(world, scenario.design)
    ticks = Ticks(TICKS_OF_MESSAGE * len(world.messages))
    st = state_of(tables_for(scenario, world, rooms, lists, troubled))
    if not _go(st, scenario, world, progress, ticks):
        return None
    tables: dict[str, Any] = cut_to_size(tables_of(st))
    rows = rows_of(tables["rows"], tables["receipts"])
    tables["sessions"] = columns_of_sessions(tables["sessions"], np.arange(len(tables["sessions"])))
    return Written(world, tables, lists, rows, ticks.all(st)), inbox_of(st), tables["messages"]["meant"].copy()


def _go(
    st: State,
    scenario: Scenario,
    world: World,
    progress: Callable[[float], None] | None,
    ticks: Ticks,
    meanwhile: Callable[[State], None] | None = None,
) -> bool:
    """Lets a run happen; False where connections break that were taken to hold. ``meanwhile`` is called after
    at most ``STEPS`` events. Modifies the state."""
    end_s = world.duration_s + scenario.workload.drain_s
    told, left, asked = 0, STEPS, min(STEPS, SLICE)
    while (reason := go_on(st, asked)) != DONE:
        if reason == BREAKS:
            return False
        if reason == NEEDS_SESSIONS:
            _more_sessions(st, scenario, world)
        elif reason == NEEDS_DRAWS:
            more_draws(st, scenario, world)
        ticks.take(st)
        left -= asked
        if meanwhile is not None and left <= 0:
            meanwhile(st)
        left = left if left > 0 else STEPS
        asked = min(left, SLICE)
        told = _tell(progress, told, float(table_of(st, "now")["time_s"][0]) / end_s)
    _tell(progress, told, 0.99)
    return True


def compile_all(progress: Callable[[float], None] | None = None) -> None:
    """Compiles the engine, and the loops over what it leaves, by running a world in which hardly anything happens.

    Progress is told the share that is done, by how long that takes.
    """
    tell = progress or (lambda share: None)
    go_on.load(lambda share: tell(ENGINE_SHARE * share))
    for loop in LOOPS:
        loop.load()
    talk = {"messages_per_day": 1000.0}
    scenario = Scenario.model_validate({"workload": {"users": 10, "duration_s": 600.0, "conversations": talk}})
    run_compiled(scenario, build_world(scenario))
    tell(1.0)


def is_compiled() -> bool:
    """Whether the engine has been compiled, or loaded, in this process."""
    return is_interpreted() or go_on.fast is not None


def _lists(scenario: Scenario, world: World) -> FriendLists | None:
    """The lists, and which conversations open: needed where clients ask for presence then."""
    asked = scenario.friend_list
    if asked.policy == "none" and scenario.presence.how != "pull":
        return None
    return friend_lists(world, asked.policy, asked.half_life_s, asked.kept, asked.opening_gap_s)


def _tell(progress: Callable[[float], None] | None, told: int, share: float) -> int:
    """Tells progress each hundredth, up to 0.99; how many it has been told."""
    while progress is not None and told < min(99, int(share * 100)):
        told += 1
        progress(told / 100)
    return told


def _more_sessions(st: State, scenario: Scenario, world: World) -> None:
    """Half as many sessions and clients again, where there is place for so many."""
    more = place_more_sessions(tables_of(st), scenario, world)
    for name in ("sessions", "clients"):
        put_table(st, name, more[name])
