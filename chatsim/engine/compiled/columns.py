"""Columns out of rows: what an outcome has of messages, of what was written to sessions, and of sessions.

Numpy takes one column after the other out of rows, and a loop that is compiled all of them at once, in a tenth of the
time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from chatsim.engine.compiled.kinds import DELIVERED, IN_FLIGHT
from chatsim.engine.compiled.state import FIXED, GROWING, SESSIONS_AT_ONCE
from chatsim.engine.loops import fixed, load_if_worth_it, loop_of
from chatsim.engine.outcome import Columns
from chatsim.world.compiling import Loop
from chatsim.world.orders import blocks
from chatsim.world.shelf import put_back

Column = npt.NDArray[Any]
ROWS_AT_ONCE, FEW_AT_ONCE = 1 << 12, 1 << 10
"""Rows of which one column after the other is taken, so that they come from memory once; and large rows."""
ROW_S = 1e-6
"""What the loops spare for a row, in about ten runs: a process mostly carries out several."""


class OfMessages(NamedTuple):
    """What is noted of messages."""

    gateway: Column
    received_s: Column
    stored_s: Column
    routed_s: Column
    told_s: Column
    acked_s: Column
    done_s: Column
    pushes: Column
    discards: Column
    reads: Column
    fate: Column
    cause: Column
    received: Column
    refused: Column
    sends: Column
    lost_pushes: Column


class OfRows(NamedTuple):
    """What is noted of what was written to sessions."""

    message: Column
    session: Column
    written_s: Column
    time_s: Column
    fate: Column
    cause: Column


class OfSessions(NamedTuple):
    """What is noted of sessions."""

    user: Column
    start_s: Column
    end_s: Column
    origin: Column
    attempt: Column
    gateway: Column
    online_s: Column
    left_s: Column
    fate: Column
    listed: Column
    unread: Column
    silent: Column
    cut_s: Column


CODES = dict.fromkeys(("fate", "cause"), np.dtype(np.int8))
KINDS = {
    OfMessages: {name: FIXED["messages"][name] for name in OfMessages._fields} | CODES,
    OfRows: {name: np.dtype(np.int32) for name in ("message", "session")}
    | {name: np.dtype(np.float64) for name in ("written_s", "time_s")} | CODES,
    OfSessions: {name: GROWING["sessions"][name] for name in OfSessions._fields},
}  # fmt: skip
"""The kinds of the columns of each."""


def columns_of_messages(messages: Any) -> Columns:
    """What is noted of messages."""
    return _all_of(messages, OfMessages, TAKE_MESSAGES)


def columns_of_rows(rows: Any) -> Columns:
    """What is noted of what was written to sessions: of a fate that is not said, whether it has come."""
    columns = _all_of(rows, OfRows, TAKE_ROWS)
    if not TAKE_ROWS.fast:
        live = np.where(np.isnan(columns["time_s"]), np.int8(IN_FLIGHT), np.int8(DELIVERED))
        columns["fate"] = np.where(columns["fate"] < 0, live, columns["fate"])
    return columns


def columns_of_sessions(sessions: Any, chosen: npt.NDArray[np.int64]) -> Columns:
    """What is noted of some sessions, ascending; of all that a table in a file has, too, which need not stay in memory
    together."""
    to: OfSessions = _room_for(OfSessions, len(chosen))
    load_if_worth_it(TAKEN, len(chosen), ROW_S)
    for large in blocks(len(chosen), SESSIONS_AT_ONCE):
        mine, into = fixed(chosen[large], np.int64), OfSessions._make(column[large] for column in to)
        if TAKE_SESSIONS.fast:
            TAKE_SESSIONS.fast(sessions, mine, into)
        else:
            for part in blocks(len(mine), FEW_AT_ONCE):
                _copy(taken_of(sessions, mine[part]), into, part)
        if len(chosen) == len(sessions):
            put_back(sessions[large])
    return to._asdict()


def taken_of(rows: Any, chosen: npt.NDArray[Any]) -> Any:
    """A copy of some rows of a table, in one piece each: numpy would copy them field by field. ``chosen`` are their
    numbers, or says of each row whether it is."""
    places = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
    return rows.view(np.dtype((np.void, rows.dtype.itemsize))).take(places).view(rows.dtype)


def _room_for(noted: Any, rows: int) -> Any:
    return noted(**{name: np.empty(rows, kind) for name, kind in KINDS[noted].items()})


def _all_of(rows: Any, noted: Any, loop: Loop) -> Columns:
    to = _room_for(noted, len(rows))
    load_if_worth_it(TAKEN, len(rows), ROW_S)
    if loop.fast:
        loop.fast(rows, to)
    else:
        for part in blocks(len(rows), ROWS_AT_ONCE):
            _copy(rows[part], to, part)
    return dict(to._asdict())


def _copy(rows: Any, to: Any, part: slice) -> None:
    for name, column in to._asdict().items():
        column[part] = rows[name]


def _take_messages(rows: Any, to: OfMessages) -> None:
    for one in range(len(rows)):
        row = rows[one]
        to.gateway[one], to.received_s[one], to.stored_s[one] = row.gateway, row.received_s, row.stored_s
        to.routed_s[one], to.told_s[one], to.acked_s[one] = row.routed_s, row.told_s, row.acked_s
        to.done_s[one], to.pushes[one], to.discards[one] = row.done_s, row.pushes, row.discards
        to.reads[one], to.fate[one], to.cause[one] = row.reads, row.fate, row.cause
        to.received[one], to.refused[one] = row.received, row.refused
        to.sends[one], to.lost_pushes[one] = row.sends, row.lost_pushes


def _take_rows(rows: Any, to: OfRows) -> None:
    for one in range(len(rows)):
        row = rows[one]
        fate = row.fate
        if fate < 0:
            fate = IN_FLIGHT if np.isnan(row.time_s) else DELIVERED
        to.message[one], to.session[one], to.fate[one], to.cause[one] = row.message, row.session, fate, row.cause
        to.written_s[one], to.time_s[one] = row.written_s, row.time_s


def _take_sessions(rows: Any, chosen: npt.NDArray[np.int64], to: OfSessions) -> None:
    for one in range(len(chosen)):
        row = rows[chosen[one]]
        to.user[one], to.gateway[one], to.end_s[one] = row.user, row.gateway, row.end_s
        to.silent[one], to.fate[one], to.listed[one], to.unread[one] = row.silent, row.fate, row.listed, row.unread
        to.origin[one], to.attempt[one], to.start_s[one] = row.origin, row.attempt, row.start_s
        to.online_s[one], to.left_s[one], to.cut_s[one] = row.online_s, row.left_s, row.cut_s


TAKE_MESSAGES, TAKE_ROWS, TAKE_SESSIONS = TAKEN = loop_of(_take_messages), loop_of(_take_rows), loop_of(_take_sessions)
