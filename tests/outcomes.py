"""Outcomes written by hand, for tests of what is computed from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from chatsim.engine.notes import Notes
from chatsim.engine.outcome import Cause, Columns, Fate, FaultKind, Outcome, SessionFate, Work
from chatsim.scenario import Scenario
from chatsim.world.tables import (
    Friends,
    MessageTable,
    Rooms,
    SessionTable,
    World,
    no_contacts,
    no_endings,
    no_intrusions,
)

NAN = float("nan")
MESSAGE: dict[str, Any] = {
    "time_s": 0.0,
    "sender": 0,
    "room": 0,
    "session": 0,
    "size_bytes": 100,
    "recipients": 1,
    "gateway": 0,
    "received_s": 0.0,
    "stored_s": NAN,
    "routed_s": 0.0,
    "done_s": 0.0,
    "pushes": 0,
    "discards": 0,
    "fate": Fate.DELIVERED,
    "cause": Cause.NONE,
    "sends": 1,
    "acked_s": NAN,
}
DELIVERY: dict[str, Any] = {
    "message": 0,
    "recipient": 1,
    "session": 1,
    "gateway": 0,
    "fate": Fate.DELIVERED,
    "cause": Cause.NONE,
    "local": False,
    "written_s": 0.0,
    "time_s": 0.0,
}
SESSION: dict[str, Any] = {
    "user": 0,
    "device": 0,
    "start_s": -1.0,
    "end_s": 100.0,
    "gateway": 0,
    "online_s": 0.0,
    "left_s": NAN,
    "fate": SessionFate.ONLINE,
    "origin": -1,
    "attempt": 0,
    "cut_s": NAN,
}
TICK: dict[str, Any] = {"station": 0, "start_s": 0.0, "end_s": 0.0, "items": 1, "waiting": 0, "waited_s": 0.0}
SUBSCRIPTION: dict[str, Any] = {"time_s": 0.0, "node": 0, "change": 1}
STRIKE: dict[str, Any] = {"fault": 0, "kind": FaultKind.GATEWAY_CRASH, "station": 0, "start_s": 0.0, "end_s": NAN}
SHOWN: dict[str, Any] = {
    "time_s": 0.0, "user": 0, "change": 1, "meant": 0, "pushes": 0, "notices": 0, "told_sum_s": 0.0, "told_last_s": NAN
}


def columns(default: dict[str, Any], rows: Iterable[dict[str, Any]]) -> Columns:
    """Rows that say what differs from the default, as columns."""
    full = [{**default, **row} for row in rows]
    return {name: np.array([row[name] for row in full], dtype=np.array(value).dtype) for name, value in default.items()}


def outcome(
    messages: Sequence[dict[str, Any]] = (),
    deliveries: Sequence[dict[str, Any]] = (),
    sessions: Sequence[dict[str, Any]] = (),
    ticks: Sequence[dict[str, Any]] | Columns = (),
    subscriptions: Sequence[dict[str, Any]] = (),
    work: dict[str, dict[Work, int]] | None = None,
    item_us: dict[str, float] | None = None,
    duration_s: float = 10.0,
    strikes: Sequence[dict[str, Any]] = (),
    shown: Sequence[dict[str, Any]] = (),
    **scenario: Any,
) -> Outcome:
    """An outcome from what differs from the defaults above; further keywords are keys of the scenario. ``strikes`` are
    the rows of its faults, ``shown`` those of its presence."""
    asked = Scenario.model_validate({"design": {"gateways": 2}, **scenario})
    names = asked.stations
    counts = np.zeros((len(names), len(Work)), dtype=np.int64)
    for station, amounts in (work or {}).items():
        for kind, amount in amounts.items():
            counts[names.index(station), kind] = amount
    message, session = columns(MESSAGE, messages), columns(SESSION, sessions)
    people = world(message, session, duration_s)
    notes = Notes(people, len(names))
    return Outcome(
        asked,
        people,
        names,
        message,
        columns(DELIVERY, deliveries),
        session,
        ticks if isinstance(ticks, dict) else columns(TICK, ticks),
        columns(SUBSCRIPTION, subscriptions),
        counts,
        duration_s,
        np.array([(item_us or {}).get(name, 0.0) for name in names]),
        columns(SHOWN, shown),
        notes.pulls.table(),
        notes.pushed.table(),
        notes.intrusions(people),
        notes.endings(people),
        columns(STRIKE, strikes),
        notes.breaks.table(),
    )


def world(message: Columns, session: Columns, duration_s: float) -> World:
    """The world that such messages and sessions belong to, without friends and rooms."""
    none = np.zeros(0, np.int32)
    return World(
        10,
        duration_s,
        1,
        0,
        Friends(np.zeros(11, np.int64), none, np.zeros(0, np.float32)),
        Rooms(np.zeros(0, np.uint8), np.zeros(1, np.int64), none, np.zeros(0, bool)),
        SessionTable(*(session[name] for name in ("user", "device", "start_s", "end_s"))),
        MessageTable(
            *(message[name] for name in ("time_s", "sender", "session", "room", "size_bytes")),
            np.zeros(len(message["time_s"]), bool),
        ),
        no_contacts(10),
        no_endings(),
        no_intrusions(),
    )


def deliveries_at(latencies_ms: Iterable[float], duration_s: float = 10.0, **scenario: Any) -> Outcome:
    """One message at 0 s and one delivery per latency."""
    rows = [{"time_s": value / 1000, "recipient": place, "session": place} for place, value in enumerate(latencies_ms)]
    return outcome([{}], rows, duration_s=duration_s, **scenario)
