"""From the notes of a run to its audited outcome, whichever engine has written them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from chatsim.engine.audit import audit, waiting_in
from chatsim.engine.journey import Journey
from chatsim.engine.notes import Notes
from chatsim.engine.outcome import Columns, Outcome
from chatsim.engine.settling import Longs, settle
from chatsim.scenario import Scenario
from chatsim.world.tables import World


def finish(journey: Journey) -> Outcome:
    """The audited outcome of a journey that has been run (with processes of your own, say)."""
    meant = np.array(journey.rooms.meant, np.int64)
    return outcome_of(journey.scenario, journey.world, journey.notes, waiting_in(journey.inbox), meant)


def outcome_of(
    scenario: Scenario, world: World, notes: Notes, inbox: Longs, meant: Longs
) -> Outcome:
    """The audited outcome of a run; ``inbox`` is what waits for whom, ``meant`` for whom each message is. AuditError
    where a law is broken."""
    deliveries = settle(scenario, world, notes, inbox, meant)
    audit(scenario, world, notes, deliveries, meant)
    return noted(scenario, world, notes, deliveries, meant, world.duration_s + scenario.workload.drain_s)


def noted(
    scenario: Scenario, world: World, notes: Notes, deliveries: Columns, meant: npt.NDArray[np.int64], end_s: float
) -> Outcome:
    """Notes and settled deliveries as an outcome. Nothing is audited here."""
    return Outcome(
        scenario=scenario,
        world=world,
        stations=tuple(scenario.stations),
        messages=notes.messages(world, meant),
        deliveries=deliveries,
        sessions=notes.sessions(world),
        ticks=notes.ticks(),
        subscriptions=notes.subscriptions.table(),
        work=np.array(notes.work, np.int64),
        end_s=end_s,
        item_us=np.array(notes.item_us, np.float64),
        presence=notes.presence.table(),
        pulls=notes.pulls.table(),
        pushes=notes.pushed.table(),
        intrusions=notes.intrusions(world),
        endings=notes.endings(world),
        faults=notes.faults.table(),
        breaks=notes.breaks.table(),
    )
