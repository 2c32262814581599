"""The engine: a scenario and a world in, an outcome out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from chatsim.engine.audit import audit, settle
from chatsim.engine.journey import Journey
from chatsim.engine.outcome import Cause, Fate, FaultKind, IntrusionFate, Outcome, PushFate, SessionFate, Work
from chatsim.engine.recorder import Recorder

if TYPE_CHECKING:
    from chatsim.scenario import Scenario
    from chatsim.world.tables import World

__all__ = [
    "Cause",
    "Fate",
    "FaultKind",
    "IntrusionFate",
    "Journey",
    "Outcome",
    "PushFate",
    "Recorder",
    "SessionFate",
    "Work",
    "finish",
    "simulate",
]


def simulate(
    scenario: Scenario,
    world: World,
    progress: Callable[[float], None] | None = None,
    recorder: Recorder | None = None,
) -> Outcome:
    """Runs a scenario on a world and audits the run; AuditError where a law is broken. A recorder changes nothing.

    >>> from chatsim.scenario import load_scenario
    >>> from chatsim.world import build_world
    >>> scenario = load_scenario("hub", ["workload.users=50", "workload.duration_s=60"])
    >>> outcome = simulate(scenario, build_world(scenario))
    >>> len(outcome.messages["time_s"]) == len(outcome.world.messages)
    True
    """
    journey = Journey(scenario, world)
    if recorder is not None:
        recorder.watch(journey)
    journey.run(progress)
    return finish(journey)


def finish(journey: Journey) -> Outcome:
    """The audited outcome of a journey that has been run (with processes of your own, say)."""
    scenario, world, notes = journey.scenario, journey.world, journey.notes
    meant = np.array(journey.rooms.meant, np.int64)
    deliveries = settle(scenario, world, notes, journey.inbox, meant)
    audit(scenario, world, notes, deliveries, meant)
    return Outcome(
        scenario=scenario,
        world=world,
        stations=tuple(journey.names),
        messages=notes.messages(world, meant),
        deliveries=deliveries,
        sessions=notes.sessions(world),
        ticks=notes.ticks(),
        subscriptions=notes.subscriptions.table(),
        work=np.array(notes.work, np.int64),
        end_s=journey.end_s,
        item_us=np.array(notes.item_us, np.float64),
        presence=notes.presence.table(),
        pulls=notes.pulls.table(),
        pushes=notes.pushed.table(),
        intrusions=notes.intrusions(world),
        endings=notes.endings(world),
        faults=notes.faults.table(),
        breaks=notes.breaks.table(),
    )
