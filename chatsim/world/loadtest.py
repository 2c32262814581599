"""The standing load test: the sessions of the busiest moment, held open, and the trace's messages at a given rate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from chatsim.scenario.errors import InputError
from chatsim.world.draws import Purpose, exponential
from chatsim.world.tables import EndingTable, Floats, IntrusionTable, Longs, MessageTable, SessionTable, World

BEFORE_S = 1.0
AFTER_S = 2.0


def load_test(world: World, rate_per_s: float, messages: int) -> World:
    """A world of standing sessions in which ``messages`` messages arrive as a Poisson process at ``rate_per_s``.

    The sessions are those of the trace's busiest moment, open from 1 s before the test until after its end, 2 s after
    the last message. The messages are the trace's own whose sender is among them, in order, from the start again where
    there are too few. Where none is, all users who write or are written to get a session instead. Gaps are the same
    draws for every rate, scaled: common random numbers along a saturation curve. Ties end, and intruders who have a
    session try, at the times of the trace. Raises InputError where the trace has
    no message, and where the rate or the number is not positive.
    """
    if not rate_per_s > 0 or not np.isfinite(rate_per_s):
        raise InputError(f"rate_per_s = {rate_per_s:g}: more than 0 messages per second are needed")
    if messages < 1:
        raise InputError(f"messages = {messages}: at least 1 is needed")
    if not len(world.messages):
        raise InputError("load test: the trace has no message to send; raise workload.users or workload.duration_s")
    gaps = exponential(world.seed, world.replication, Purpose.LOAD_TEST, 0, np.arange(messages))
    time_s = np.cumsum(gaps) / rate_per_s
    duration_s = float(time_s[-1]) + AFTER_S
    sessions = _standing(world, _busiest(world.sessions), duration_s)
    first = _first_session(sessions, world.users)
    eligible = np.flatnonzero(first[world.messages.sender] >= 0)
    if not len(eligible):
        sessions = _everybody(world, duration_s)
        first = _first_session(sessions, world.users)
        eligible = np.arange(len(world.messages))
    source = eligible[np.arange(messages) % len(eligible)]
    sender = world.messages.sender[source]
    table = MessageTable(
        time_s, sender, first[sender].astype(np.int32), world.messages.room[source], world.messages.size_bytes[source],
        world.messages.spam[source],
    )
    return replace(
        world, duration_s=duration_s, sessions=sessions, messages=table,
        endings=_endings_until(world.endings, duration_s),
        intrusions=_intrusions_until(world.intrusions, first, duration_s),
    )


def _endings_until(endings: EndingTable, end_s: float) -> EndingTable:
    kept = endings.time_s < end_s
    return EndingTable(endings.time_s[kept], endings.user[kept], endings.other[kept], endings.blocks[kept])


def _intrusions_until(table: IntrusionTable, first: Longs, end_s: float) -> IntrusionTable:
    """Tries before ``end_s`` of those who have a session; ``first`` is each user's, or -1."""
    kept = (table.time_s < end_s) & (first[table.user] >= 0)
    user = table.user[kept]
    return IntrusionTable(table.time_s[kept], user, first[user].astype(np.int32), table.victim[kept], table.draw[kept])


def _busiest(sessions: SessionTable) -> Longs:
    """Rows of the sessions open at the first moment at which most are; an end at that moment still counts as open."""
    starts, ends = np.sort(sessions.start_s), np.sort(sessions.end_s)
    opened = np.arange(1, len(starts) + 1) - np.searchsorted(ends, starts)
    moment = starts[int(np.argmax(opened))]
    return np.flatnonzero((sessions.start_s <= moment) & (sessions.end_s >= moment))


def _standing(world: World, rows: Longs, end_s: float) -> SessionTable:
    user, device = world.sessions.user[rows], world.sessions.device[rows]
    order = np.lexsort((device, user))
    return SessionTable(user[order], device[order], *_span(len(rows), end_s))


def _everybody(world: World, end_s: float) -> SessionTable:
    """One session for each user who writes or is a member of a room that is written to."""
    active = np.zeros(world.users, bool)
    active[world.messages.sender] = True
    written_to = np.zeros(len(world.rooms), bool)
    written_to[world.messages.room] = True
    active[world.rooms.member[np.repeat(written_to, np.diff(world.rooms.start))]] = True
    user = np.flatnonzero(active).astype(np.int32)
    return SessionTable(user, np.zeros(len(user), np.int32), *_span(len(user), end_s))


def _span(count: int, end_s: float) -> tuple[Floats, Floats]:
    return np.full(count, -BEFORE_S), np.full(count, end_s + BEFORE_S)


def _first_session(sessions: SessionTable, users: int) -> Longs:
    """Row of each user's first session, -1 for users without one."""
    row = np.full(users, -1, np.int64)
    row[sessions.user[::-1]] = np.arange(len(sessions))[::-1]
    return row
