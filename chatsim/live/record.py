"""From what gateways and clients have noted to an outcome, in the format of the model, and audited as it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chatsim.engine.audit import audit_recorded, pairs_of, waiting_in
from chatsim.engine.finishing import noted
from chatsim.engine.notes import NEVER, Notes
from chatsim.engine.outcome import Cause, Fate, FaultKind, Outcome, PushFate, Work
from chatsim.engine.settling import settle
from chatsim.live.ledger import AWAYS, CAUSES, COUNTS, OVERFLOW, ROWS, Ledger
from chatsim.live.player import LIVE, READ, Player
from chatsim.scenario import AuditError, Scenario
from chatsim.scenario.faults import BrokerDown
from chatsim.world.tables import World

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]

AROUND_S = 0.5
"""What was under way so long before a process died, or after it was back, may have gone with it."""
BROKER_COUNTS = ("publish", "push", "subscribe", "lookup", "update", "store", "recover", "list", "state", "members",
                 "presence")  # fmt: skip
"""Counted by gateways, done by the broker."""


@dataclass(frozen=True, slots=True)
class Sample:
    """CPU time that each station has used until ``time_s``, in the order of the stations, and items so far."""

    time_s: float
    cpu_s: tuple[float, ...]
    items: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Strike:
    """A process that was killed: the fault's number, its kind, the station, when, and when it was back (NaN: never)."""

    fault: int
    kind: FaultKind
    station: int
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Recorded:
    """All that was noted of a run. ``inbox`` is what was left in store, ``pushed`` the log of pushes."""

    scenario: Scenario
    world: World
    player: Player
    ledgers: list[Ledger]
    samples: list[Sample]
    strikes: list[Strike]
    inbox: dict[int, dict[int, None]]
    pushed: list[tuple[int, int, float, int, float]]
    end_s: float

    @property
    def keeps_data(self) -> bool:
        """Whether a Redis that dies has all its data when it is back."""
        return any(isinstance(fault, BrokerDown) and fault.keeps_data for fault in self.scenario.faults)


def outcome_of(recorded: Recorded) -> Outcome:
    """The outcome of a live run. Raises AuditError where it breaks a law: then the twin is wrong, or the rules are."""
    scenario, world, notes = recorded.scenario, recorded.world, recorded.player.notes
    _note_messages(recorded, notes)
    _note_rows(recorded, notes)
    _note_work(recorded, notes)
    _note_losses(recorded, notes)
    for user, message, due_s, tries, sent_s in recorded.pushed:
        notes.pushed.add(user, message, due_s, tries, sent_s, NEVER, -1, PushFate.UNDER_WAY)
    meant = np.array(recorded.player.rooms.meant, np.int64)
    deliveries = settle(scenario, world, notes, waiting_in(recorded.inbox), meant)
    audit_recorded(world, notes, deliveries, meant)
    _check_counts(recorded, notes)
    return noted(scenario, world, notes, deliveries, meant, recorded.end_s)


def times_of(view: memoryview, origin_s: float) -> Floats:
    """Times of a ledger in seconds of the run; NaN where a thing did not happen."""
    noted: Floats = np.array(view, np.float64)
    return np.where(noted == 0.0, NEVER, noted - origin_s)


def _note_messages(recorded: Recorded, notes: Notes) -> None:
    """What became of each message at its sender's gateway, and how many pushes were sent and read for it."""
    origin_s, count = recorded.player.origin_s, len(recorded.world.messages)
    latest: Floats = np.full(count, -np.inf)
    pushes, reads, discards, unanswered = (np.zeros(count, np.int64) for _ in range(4))
    for number, ledger in enumerate(recorded.ledgers):
        received_s, stored_s, routed_s, read_s = (
            times_of(view, origin_s) for view in (ledger.received_s, ledger.stored_s, ledger.routed_s, ledger.read_s)
        )
        for message in np.flatnonzero(np.isfinite(received_s)).tolist():
            notes.gateway[message], notes.received_s[message] = number, received_s[message]
            notes.stored_s[message], notes.routed_s[message] = stored_s[message], routed_s[message]
            _note_fate(notes, message, int(ledger.cause[message]))
        latest = np.fmax(latest, np.fmax(read_s, np.fmax(routed_s, stored_s)))
        pushes += np.array(ledger.pushes, np.int64)
        reads += np.array(ledger.reads, np.int64)
        discards += np.array(ledger.discards, np.int64)
        unanswered += np.array(ledger.unanswered, np.int64)
        rows = int(ledger.state[ROWS])
        np.maximum.at(latest, np.array(ledger.row_message)[:rows], times_of(ledger.row_written_s[:rows], origin_s))
    struck = bool(recorded.strikes)
    for message in range(count):
        notes.pushes[message], notes.discards[message] = int(pushes[message]), int(discards[message])
        notes.reads[message] = int(reads[message])
        settled = reads[message] >= pushes[message] and not unanswered[message]
        if latest[message] > recorded.end_s:
            continue  # gateways go on a moment longer, while clients leave: the run ended with it under way
        if notes.fate[message] in (Fate.DELIVERED, Fate.LOST) and (settled or struck):
            notes.done_s[message] = max(float(latest[message]), notes.received_s[message])
            notes.lost_pushes[message] = max(0, int(pushes[message] - reads[message]))
    _note_never_received(recorded, notes)


def _note_fate(notes: Notes, message: int, cause: int) -> None:
    """A message that a gateway has received was refused, taken, or lost with the gateway."""
    if cause:
        notes.fate[message], notes.cause[message] = Fate.REFUSED, Cause[CAUSES[cause].upper()]
        notes.done_s[message] = notes.received_s[message]
    elif math.isfinite(notes.routed_s[message]) or math.isfinite(notes.stored_s[message]):
        notes.fate[message] = Fate.DELIVERED


def _note_never_received(recorded: Recorded, notes: Notes) -> None:
    """Messages that left their client and came nowhere, or were with a gateway that died: lost, where one has died."""
    died = [strike for strike in recorded.strikes if strike.kind == FaultKind.GATEWAY_CRASH]
    sent_s = np.array(recorded.player.sent_s)
    for message in np.flatnonzero(np.array(notes.fate) == Fate.IN_FLIGHT).tolist():
        since_s = np.fmax(sent_s[message], notes.received_s[message])
        if any(since_s < strike.start_s + AROUND_S and strike.start_s < since_s + AROUND_S for strike in died):
            notes.fate[message], notes.cause[message] = Fate.LOST, Cause.CRASHED
            notes.done_s[message] = float(since_s)


def _note_rows(recorded: Recorded, notes: Notes) -> None:
    """What gateways wrote to sessions, each row with the time at which its client had it, if it had."""
    player, sessions = recorded.player, len(notes.session_gateway)
    rows: list[tuple[npt.NDArray[Any], ...]] = []
    for ledger in recorded.ledgers:
        count = int(ledger.state[ROWS])
        written_s = times_of(ledger.row_written_s[:count], player.origin_s)
        numbers = (np.array(view[:count], np.int64) for view in (ledger.row_message, ledger.row_session))
        rows.append((*numbers, written_s))
    message, session, written_s = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    known = (message >= 0) & (message < len(recorded.world.messages)) & (session >= 0) & (session < sessions)
    message, session, written_s = message[known], session[known], written_s[known]
    came_key = np.array(player.arrival_message, np.int64) * sessions + np.array(player.arrival_session, np.int64)
    came_s, how = np.array(player.arrival_s), np.array(player.arrival_how)
    place = _matched(message * sessions + session, written_s, came_key, came_s)
    left_s, cut_s = np.array(notes.left_s), np.array(notes.cut_s)
    for row, (number, where, time_s, found) in enumerate(
        zip(message.tolist(), session.tolist(), written_s.tolist(), place.tolist(), strict=True)
    ):
        notes.written(number, where, time_s)
        if found >= 0:
            notes.row_time_s[row] = float(came_s[found])
            if how[found] != LIVE:
                notes.row_fate[row] = Fate.READ_LATER if how[found] == READ else Fate.DUPLICATE
        elif math.isfinite(left_s[where]):
            notes.lost(row, Cause.CRASHED if math.isfinite(cut_s[where]) else Cause.LEFT)


def _matched(key: Longs, written_s: Floats, came_key: Longs, came_s: Floats) -> Longs:
    """For each written row the arrival that belongs to it, or -1: the n-th of the same message and session.

    Raises AuditError where something has come that nobody wrote.
    """
    order, came_order = np.lexsort((written_s, key)), np.lexsort((came_s, came_key))
    place = np.full(len(key), -1, np.int64)
    nth, came_nth = _nth(key[order]), _nth(came_key[came_order])
    many = int(max(nth.max(initial=0), came_nth.max(initial=0))) + 1
    wanted, there = key[order] * many + nth, came_key[came_order] * many + came_nth
    found = np.searchsorted(there, wanted)
    hit = (found < len(there)) & (np.append(there, -1)[np.minimum(found, len(there))] == wanted)
    place[order[hit]] = came_order[found[hit]]
    if int(hit.sum()) < len(there):
        raise AuditError(f"{len(there) - int(hit.sum())} messages have come to sessions to which no gateway wrote them")
    return place


def _nth(ordered: Longs) -> Longs:
    """For each of ordered keys, how many equal ones stand before it."""
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])) if len(ordered) else np.zeros(0, np.int64)
    lengths = np.diff(np.append(starts, len(ordered)))
    return np.arange(len(ordered)) - np.repeat(starts, lengths)


def _note_work(recorded: Recorded, notes: Notes) -> None:
    """What was counted, and CPU time as one tick for each sample and station."""
    gateways = len(recorded.ledgers)
    for number, ledger in enumerate(recorded.ledgers):
        for name, times in zip(COUNTS, ledger.counts, strict=True):
            station = gateways if name in BROKER_COUNTS else number
            notes.work[station][Work[name.upper()]] += times
    for before, sample in zip(recorded.samples, recorded.samples[1:], strict=False):
        for station, (used_s, items) in enumerate(zip(sample.cpu_s, sample.items, strict=True)):
            busy_s = max(0.0, used_s - before.cpu_s[station])
            end_s = min(before.time_s + busy_s, sample.time_s)
            notes.tick(station, before.time_s, end_s, max(0, items - before.items[station]), 0, 0.0)


def _note_losses(recorded: Recorded, notes: Notes) -> None:
    """What faults may have stopped: of each gateway that died, or was without the broker, what was under way then."""
    for strike in recorded.strikes:
        notes.faults.add(strike.fault, strike.kind, strike.station, strike.start_s, strike.end_s)
    spans = [
        (strike.station, Cause.CRASHED, strike.start_s, strike.end_s)
        for strike in recorded.strikes
        if strike.kind == FaultKind.GATEWAY_CRASH
    ]
    downs = [strike for strike in recorded.strikes if strike.kind == FaultKind.BROKER_DOWN]
    received_s, done_s = np.array(notes.received_s), np.array(notes.done_s)
    for number, ledger in enumerate(recorded.ledgers):
        away_s, whole_s, read_s = (
            times_of(view, recorded.player.origin_s) for view in (ledger.away_s, ledger.whole_s, ledger.read_s)
        )
        for place in range(int(ledger.state[AWAYS])):
            struck = any(abs(away_s[place] - strike.start_s) < AROUND_S for strike in downs)
            cause = Cause.BROKER_DOWN if struck else Cause.CUT_OFF
            since_s = deaf_since_s(read_s, received_s, float(away_s[place]))
            spans.append((number, cause, since_s, float(whole_s[place])))
    for gateway, cause, start_s, end_s in spans:
        until_s = math.inf if math.isnan(end_s) else end_s + AROUND_S
        under_way = (received_s < until_s) & ~(done_s < start_s - AROUND_S)
        silent = np.array(recorded.ledgers[gateway].unanswered, np.int64) > 0
        for message in np.flatnonzero(under_way).tolist():
            # What a gateway had published when it was killed may not have left it: then nobody anywhere has heard it.
            unheard = cause == Cause.CRASHED and silent[message]
            notes.breaks.add(message, -1 if unheard else gateway, cause, max(start_s, float(received_s[message])))
    _note_wiped(recorded, notes, downs)


def deaf_since_s(read_s: Floats, received_s: Floats, away_s: float) -> float:
    """Since when a gateway has heard nothing that notices at ``away_s`` that its broker is gone: since the message came
    whose push it read last, as pushes come in order. One that is behind notices late, and what Redis still had for it
    is gone too. Both times are by message; NaN where a thing did not happen.

    >>> deaf_since_s(np.array([1.0, 3.0, np.nan, 9.0]), np.array([0.5, 1.5, 2.0, 8.5]), 4.0)
    1.5
    """
    before = np.where(read_s <= away_s, read_s, -np.inf)
    last = int(before.argmax()) if len(before) else 0
    return min(away_s, float(received_s[last])) if len(before) and np.isfinite(before[last]) else -math.inf


def _note_wiped(recorded: Recorded, notes: Notes, downs: list[Strike]) -> None:
    """What was in store when a Redis died that keeps nothing is lost with it."""
    if not downs or not recorded.player.keeps_missed or recorded.keeps_data:
        return
    message, user = pairs_of(recorded.world, np.array(recorded.player.rooms.meant, np.int64))
    gone = np.array(notes.stored_s)[message] < max(strike.start_s for strike in downs)
    notes.wiped += list(zip(message[gone].tolist(), user[gone].tolist(), strict=True))


def _check_counts(recorded: Recorded, notes: Notes) -> None:
    """Law 5, as far as a system that runs lets itself be counted: Redis has counted what it has answered for, and a
    gateway that is behind has not read all answers when a run ends."""
    if any(ledger.state[OVERFLOW] for ledger in recorded.ledgers):
        raise AuditError("gateways wrote more rows than there was place for")
    unanswered = np.sum([np.array(ledger.unanswered) for ledger in recorded.ledgers], axis=0)
    uncounted = (np.array(notes.reads) > np.array(notes.pushes)) & (unanswered == 0)
    if not recorded.strikes and uncounted.any():
        message = int(np.flatnonzero(uncounted)[0])
        raise AuditError(f"message {message}: a gateway read a push that Redis has not counted")

