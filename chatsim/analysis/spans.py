"""A window of time as spans on tracks: what each station, and each session, was busy with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from heapq import heappush, heapreplace
from typing import NamedTuple

import numpy as np

from chatsim.analysis.columns import floats, longs
from chatsim.engine.outcome import Columns, Fate, FaultKind, Outcome, Work

SESSIONS, FAULTS = "sessions", "faults"


class Span(NamedTuple):
    """Something that goes on from ``start_s`` to ``end_s``, on one lane of a track of a group of tracks.

    Spans of one lane lie apart or within each other. ``message`` is the one it is about, or -1; ``more`` says more.
    """

    group: str
    track: str
    lane: int
    name: str
    start_s: float
    end_s: float
    message: int = -1
    more: dict[str, float] | None = None


class Arrow(NamedTuple):
    """What one span set off in another: their places in the list of spans."""

    cause: int
    effect: int


class Spans(NamedTuple):
    """The spans of a window, the arrows among them, and the queues: (station, time_s, items waiting)."""

    spans: list[Span]
    arrows: list[Arrow]
    queues: list[tuple[str, float, int]]


def spans(outcome: Outcome, visits: Columns, from_s: float, to_s: float) -> Spans:
    """All that goes on between ``from_s`` and ``to_s``, each thing whole.

    Stations have ticks, with the items within them (``visits``: see :class:`chatsim.engine.Recorder`); sessions have
    logins, what they send, and what comes to them.
    """
    ticks, lane_of = _ticks(outcome, from_s, to_s)
    items, places = _items(outcome, visits, lane_of)
    sessions, sent, written = _sessions(outcome, visits, from_s, to_s)
    first = len(ticks)
    found = [*ticks, *items, *sessions, *_faults(outcome, from_s, to_s)]
    arrows = _arrows(visits, {row: first + place for row, place in places.items()})
    later = first + len(items)
    arrows += [Arrow(later + place, first + places[row]) for place, row in sent.items() if row in places]
    writes = _writing_visits(outcome, visits, written)
    arrows += [Arrow(first + places[row], later + place) for place, row in writes.items() if row in places]
    rows = np.flatnonzero(_within(outcome.ticks, from_s, to_s))
    queues = [
        (outcome.stations[station], start_s, waiting)
        for station, start_s, waiting in zip(
            outcome.ticks["station"][rows].tolist(),
            outcome.ticks["start_s"][rows].tolist(),
            outcome.ticks["waiting"][rows].tolist(),
            strict=True,
        )
    ]
    return Spans(found, arrows, queues)


def lanes(intervals: Iterable[tuple[float, float]]) -> list[int]:
    """A lane for each interval (start, end), in order of start, so that none overlaps another; as few as possible.

    >>> lanes([(0.0, 2.0), (1.0, 3.0), (2.0, 4.0)])
    [0, 1, 0]
    """
    free: list[tuple[float, int]] = []
    chosen = []
    for start, end in intervals:
        if free and free[0][0] <= start:
            lane = free[0][1]
            heapreplace(free, (end, lane))
        else:
            lane = len(free)
            heappush(free, (end, lane))
        chosen.append(lane)
    return chosen


def _within(table: Columns, from_s: float, to_s: float) -> np.ndarray:
    return np.asarray((table["end_s"] >= from_s) & (table["start_s"] <= to_s))


def _ticks(outcome: Outcome, from_s: float, to_s: float) -> tuple[list[Span], dict[int, int]]:
    """The ticks of all stations; and the lane of each tick, one for each core that is busy at a time."""
    table = outcome.ticks
    found: list[Span] = []
    lane_of: dict[int, int] = {}
    rows = np.flatnonzero(_within(table, from_s, to_s))
    for station in np.unique(table["station"][rows]).tolist():
        own = rows[table["station"][rows] == station]
        own = own[np.argsort(table["start_s"][own], kind="stable")].tolist()
        times = [(float(table["start_s"][row]), float(table["end_s"][row])) for row in own]
        for row, (start_s, end_s), lane in zip(own, times, lanes(times), strict=True):
            lane_of[row] = lane
            items = int(table["items"][row])
            more: dict[str, float] = {"items": items, "left waiting": int(table["waiting"][row])}
            name = outcome.stations[station]
            said = f"tick of {items} item{'s' if items > 1 else ''}"
            found.append(Span(name, "core", lane, said, start_s, end_s, -1, more))
    return found, lane_of


def _items(outcome: Outcome, visits: Columns, lane_of: dict[int, int]) -> tuple[list[Span], dict[int, int]]:
    """The items within ticks; and by row of ``visits`` the place of its span."""
    found: list[Span] = []
    places: dict[int, int] = {}
    for row, tick in enumerate(visits["tick"].tolist()):
        if tick not in lane_of:
            continue
        message, turn_s = int(visits["message"][row]), float(visits["turn_s"][row])
        ends_s = min(turn_s + float(visits["cost_s"][row]), float(outcome.ticks["end_s"][tick]))
        station = outcome.stations[int(visits["station"][row])]
        about = f" {message}" if message >= 0 else ""
        waited_ms = (turn_s - float(visits["arrived_s"][row])) * 1e3
        name = f"{Work(int(visits['work'][row])).name}{about}"
        places[row] = len(found)
        more = {"waited ms": waited_ms}
        found.append(Span(station, "core", lane_of[tick], name, turn_s, max(turn_s, ends_s), message, more))
    return found, places


def _sessions(
    outcome: Outcome, visits: Columns, from_s: float, to_s: float
) -> tuple[list[Span], dict[int, int], dict[int, int]]:
    """What sessions do; by place of a span the row of ``visits`` that it led to, or of ``deliveries`` that it is."""
    rows = [*_logins(outcome, from_s, to_s), *_uplinks(outcome, visits), *_downlinks(outcome, from_s, to_s)]
    rows.sort(key=lambda row: (row[0], row[2], -row[3]))
    found: list[Span] = []
    sent: dict[int, int] = {}
    written: dict[int, int] = {}
    for session in sorted({row[0] for row in rows}):
        own = [row for row in rows if row[0] == session]
        user = int(outcome.sessions["user"][session])
        for row, lane in zip(own, lanes([(row[2], row[3]) for row in own]), strict=True):
            _, name, start_s, end_s, message, kind, number = row
            if kind == "sent":
                sent[len(found)] = number
            elif kind == "written":
                written[len(found)] = number
            found.append(Span(SESSIONS, f"session {session} (user {user})", lane, name, start_s, end_s, message))
    return found, sent, written


Row = tuple[int, str, float, float, int, str, int]
"""Session, name, start and end in s, message, kind, row in the table of its kind."""


def _logins(outcome: Outcome, from_s: float, to_s: float) -> Iterator[Row]:
    start_s, online_s = floats(outcome.sessions, "start_s"), floats(outcome.sessions, "online_s")
    for session in np.flatnonzero((online_s >= from_s) & (start_s <= to_s) & (online_s > start_s)).tolist():
        yield session, "login", float(start_s[session]), float(online_s[session]), -1, "login", session


def _uplinks(outcome: Outcome, visits: Columns) -> Iterator[Row]:
    for row in np.flatnonzero(visits["work"] == Work.RECEIVE).tolist():
        message, arrived_s = int(visits["message"][row]), float(visits["arrived_s"][row])
        session, time_s = int(outcome.messages["session"][message]), float(outcome.messages["time_s"][message])
        yield session, f"sends {message}", time_s, arrived_s, message, "sent", row


def _downlinks(outcome: Outcome, from_s: float, to_s: float) -> Iterator[Row]:
    table = outcome.deliveries
    written_s, time_s, fate = floats(table, "written_s"), floats(table, "time_s"), longs(table, "fate")
    chosen = (time_s >= from_s) & (written_s <= to_s)
    for row in np.flatnonzero(chosen).tolist():
        message, session = int(table["message"][row]), int(table["session"][row])
        name = f"gets {message}"
        if fate[row] != Fate.DELIVERED:
            name += f" ({Fate(int(fate[row])).name.lower().replace('_', ' ')})"
        yield session, name, float(written_s[row]), float(time_s[row]), message, "written", row


def _faults(outcome: Outcome, from_s: float, to_s: float) -> list[Span]:
    table = outcome.faults
    rows = []
    for row in range(len(table["kind"])):
        start_s, end_s = float(table["start_s"][row]), float(table["end_s"][row])
        end_s = outcome.end_s if math.isnan(end_s) else end_s
        if end_s >= from_s and start_s <= to_s:
            station = int(table["station"][row])
            place = outcome.stations[station] if station >= 0 else "all"
            kind = FaultKind(int(table["kind"][row])).name.lower().replace("_", " ")
            rows.append((start_s, end_s, f"{kind}: {place}"))
    rows.sort()
    lane_of = lanes([row[:2] for row in rows])
    return [
        Span(FAULTS, "faults", lane, name, start_s, end_s)
        for (start_s, end_s, name), lane in zip(rows, lane_of, strict=True)
    ]


def _arrows(visits: Columns, place_of: dict[int, int]) -> list[Arrow]:
    """From the item that left a station at an instant to what departed there then, for the same message."""
    left: dict[tuple[int, int, float], dict[int, int]] = {}
    names = ("message", "station", "left_s", "recipient")
    for row, (*key, recipient) in enumerate(zip(*(visits[name].tolist() for name in names), strict=True)):
        left.setdefault(tuple(key), {})[recipient] = row
    arrows = []
    names = ("message", "source", "departed_s", "recipient")
    for row, (*key, recipient) in enumerate(zip(*(visits[name].tolist() for name in names), strict=True)):
        causes = left.get(tuple(key), {})
        cause = causes.get(recipient, next(iter(causes.values()), -1))
        if key[0] >= 0 and cause in place_of and row in place_of:
            arrows.append(Arrow(place_of[cause], place_of[row]))
    return arrows


def _writing_visits(outcome: Outcome, visits: Columns, written: dict[int, int]) -> dict[int, int]:
    """By place of a delivery's span the row of ``visits`` in which it was written."""
    by_message: dict[tuple[int, int], list[int]] = {}
    for row in np.flatnonzero(visits["work"] == Work.WRITE).tolist():
        by_message.setdefault((int(visits["message"][row]), int(visits["station"][row])), []).append(row)
    table, found = outcome.deliveries, {}
    for place, row in written.items():
        at_s, user = float(table["written_s"][row]), int(table["recipient"][row])
        for visit in by_message.get((int(table["message"][row]), int(table["gateway"][row])), []):
            is_for = int(visits["recipient"][visit]) in (-1, user)
            if is_for and visits["turn_s"][visit] <= at_s <= visits["left_s"][visit]:
                found[place] = visit
    return found
