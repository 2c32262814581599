"""What the model writes down while it runs. It notes, it does not measure."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
import numpy.typing as npt

from chatsim.engine.audience import Audience, audience
from chatsim.engine.outcome import Cause, Columns, Fate, IntrusionFate, SessionFate, Work
from chatsim.world.tables import SessionTable, World

NEVER = float("nan")


def _times(user: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
    """How often each user stands before its own place."""
    order = np.argsort(user, kind="stable")
    place = np.arange(len(user))
    first = np.searchsorted(user[order], user[order])
    times = np.empty(len(user), np.int64)
    times[order] = place - first
    return times


def _column(noted: Any, kind: Any) -> npt.NDArray[Any]:
    """What is noted as a column of an outcome: a copy of what may still grow."""
    return noted if isinstance(noted, np.ndarray) and noted.dtype == kind else np.array(noted, kind)


class Rows:
    """A table that grows: columns of one type each, by name; "B" stands for yes or no."""

    def __init__(self, **types: str) -> None:
        self._types = types
        self._columns: dict[str, array[Any]] = {name: array(code) for name, code in types.items()}

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    def __getitem__(self, name: str) -> array[Any]:
        return self._columns[name]

    def add(self, *values: float) -> int:
        """Adds a row; returns its number."""
        for column, value in zip(self._columns.values(), values, strict=True):
            column.append(value)
        return len(self) - 1

    def extend(self, columns: Columns) -> None:
        """Adds rows: a column for each name."""
        for name, column in self._columns.items():
            column.frombytes(np.ascontiguousarray(columns[name], self._types[name]).tobytes())

    def table(self) -> Columns:
        """What has been added."""
        return {
            name: np.array(column).astype(bool) if self._types[name] == "B" else np.array(column)
            for name, column in self._columns.items()
        }


class Notes:
    """The columns of an outcome while they grow, and the number of carriers that each message has under way."""

    def __init__(self, world: World, stations: int) -> None:
        messages, sessions = len(world.messages), len(world.sessions)
        self.work = [[0] * len(Work) for _ in range(stations)]
        self.item_us = [0.0] * stations
        self.station = array("i")
        self.tick_start_s = array("d")
        self.tick_end_s = array("d")
        self.tick_items = array("i")
        self.tick_waiting = array("i")
        self.tick_waited_s, self.tick_reads, self.tick_slept_s = array("d"), array("i"), array("d")
        self._ready_for_messages(messages)
        self.row_message = array("i")
        self.row_session = array("i")
        self.row_written_s = array("d")
        self.row_time_s = array("d")
        self.row_fate: dict[int, Fate] = {}
        self.row_cause: dict[int, Cause] = {}
        self.session_gateway = array("i", [-1]) * sessions
        self.online_s = array("d", [NEVER]) * sessions
        self.left_s = array("d", [NEVER]) * sessions
        self.session_fate = array("b", [SessionFate.CONNECTING]) * sessions
        self.row_receipt_s: dict[int, float] = {}
        self.trimmed: list[tuple[int, int]] = []
        self.room_ready_s: dict[int, float] = {}
        self.session_listed = array("i", [0]) * sessions
        self.session_unread = array("i", [0]) * sessions
        self.session_silent = array("b", [0]) * sessions
        self.caused = Rows(user="i", start_s="d", end_s="d", origin="i", attempt="i")
        self.presence = Rows(
            time_s="d", user="i", change="b", meant="q", pushes="q", notices="q", told_sum_s="d", told_last_s="d"
        )
        self.pulls = Rows(time_s="d", user="i", shown="B", online="B")
        self.pushed = Rows(
            user="i", message="i", due_s="d", tries="i", sent_s="d", arrived_s="d", session="i", fate="b"
        )
        self.intrusion_room = array("i", [-1]) * len(world.intrusions)
        self.decided_s, self.effective_s = (
            array("d", [NEVER]) * len(rows) for rows in (world.intrusions, world.endings)
        )
        self.intrusion_fate = array("b", [IntrusionFate.UNDER_WAY]) * len(world.intrusions)
        self.subscriptions = Rows(time_s="d", node="i", change="b")
        self._ready_for_faults(sessions)

    def _ready_for_messages(self, messages: int) -> None:
        """Columns of what all messages have, before anything is noted of them."""
        self.gateway = array("i", [-1]) * messages
        self.received_s = array("d", [NEVER]) * messages
        self.stored_s = array("d", [NEVER]) * messages
        self.routed_s = array("d", [NEVER]) * messages
        self.told_s = array("d", [NEVER]) * messages
        self.done_s = array("d", [NEVER]) * messages
        self.pushes = array("i", [0]) * messages
        self.discards = array("i", [0]) * messages
        self.reads = array("i", [0]) * messages
        self.under_way = array("i", [0]) * messages
        self.fate = array("b", [Fate.IN_FLIGHT]) * messages
        self.cause = array("b", [Cause.NONE]) * messages
        self.lost_pushes = array("i", [0]) * messages
        self.received = array("i", [0]) * messages
        self.refused = array("i", [0]) * messages
        self.sends = array("i", [0]) * messages
        self.acked_s = array("d", [NEVER]) * messages
        self.searched_s = array("d", [NEVER]) * messages
        self.listed_rank = array("i", [-1]) * messages
        self.opening = array("b", [0]) * messages
        self.detour = array("b", [0]) * messages

    def _ready_for_faults(self, sessions: int) -> None:
        self.faults = Rows(fault="i", kind="b", station="i", start_s="d", end_s="d")
        self.breaks = Rows(message="i", gateway="i", cause="b", time_s="d")
        self.unasked: list[tuple[int, int]] = []
        self.wiped: list[tuple[int, int]] = []
        self.cut_s = array("d", [NEVER]) * sessions

    def tick(
        self, station: int, start_s: float, end_s: float, items: int, waiting: int, waited_s: float, reads: int = 0,
        slept_s: float = 0.0,
    ) -> int:  # fmt: skip
        """One tick of a station; returns its row."""
        self.station.append(station)
        self.tick_start_s.append(start_s)
        self.tick_end_s.append(end_s)
        self.tick_items.append(items)
        self.tick_waiting.append(waiting)
        self.tick_waited_s.append(waited_s)
        self.tick_reads.append(reads)
        self.tick_slept_s.append(slept_s)
        return len(self.station) - 1

    def written(self, message: int, session: int, written_s: float, cause: Cause = Cause.NONE) -> int:
        """A message is written to a session, or lost there for a cause; returns its row."""
        self.row_message.append(message)
        self.row_session.append(session)
        self.row_written_s.append(written_s)
        self.row_time_s.append(NEVER)
        row = len(self.row_message) - 1
        if cause:
            self.lost(row, cause)
        return row

    def lost(self, row: int, cause: Cause) -> None:
        """What was written to a session never comes to it."""
        self.row_fate[row] = Fate.LOST
        self.row_cause[row] = cause

    def rows(self) -> Columns:
        """What was written to sessions. A row is delivered when it has a time, and in flight when not, unless noted."""
        time_s = np.array(self.row_time_s, np.float64)
        fate = np.where(np.isnan(time_s), Fate.IN_FLIGHT, Fate.DELIVERED).astype(np.int8)
        fate[list(self.row_fate)] = list(self.row_fate.values())
        receipt_s = np.full(len(fate), NEVER)
        receipt_s[list(self.row_receipt_s)] = list(self.row_receipt_s.values())
        cause = np.zeros(len(fate), np.int8)
        cause[list(self.row_cause)] = list(self.row_cause.values())
        return {
            "message": np.array(self.row_message, np.int32),
            "session": np.array(self.row_session, np.int32),
            "written_s": np.array(self.row_written_s, np.float64),
            "time_s": time_s,
            "fate": fate,
            "cause": cause,
            "receipt_s": receipt_s,
        }

    def ticks(self) -> Columns:
        """The table of ticks."""
        return {
            "station": np.array(self.station, np.int32),
            "start_s": np.array(self.tick_start_s, np.float64),
            "end_s": np.array(self.tick_end_s, np.float64),
            "items": np.array(self.tick_items, np.int32),
            "waiting": np.array(self.tick_waiting, np.int32),
            "waited_s": np.array(self.tick_waited_s, np.float64),
            "reads": np.array(self.tick_reads, np.int32),
            "slept_s": np.array(self.tick_slept_s, np.float64),
        }

    def messages(self, world: World, meant: npt.NDArray[np.int64]) -> Columns:
        """The table of messages; ``meant`` is the room whose members each is for, ``recipients`` counts these."""
        trace = world.messages
        return {
            "time_s": np.fmax(trace.time_s, _column(self.searched_s, np.float64)),
            "sender": trace.sender,
            "session": trace.session,
            "room": meant.astype(np.int32),
            "size_bytes": trace.size_bytes,
            "recipients": (np.diff(self.audience(world, meant).first) - 1).astype(np.int32),
            "gateway": _column(self.gateway, np.int32),
            "received_s": _column(self.received_s, np.float64),
            "stored_s": _column(self.stored_s, np.float64),
            "routed_s": _column(self.routed_s, np.float64),
            "told_s": _column(self.told_s, np.float64),
            "sends": _column(self.sends, np.int32),
            "acked_s": _column(self.acked_s, np.float64),
            "done_s": _column(self.done_s, np.float64),
            "pushes": _column(self.pushes, np.int32),
            "discards": _column(self.discards, np.int32),
            "fate": _column(self.fate, np.int8),
            "cause": _column(self.cause, np.int8),
            "listed_rank": _column(self.listed_rank, np.int32),
            "opening": _column(self.opening, bool),
            "detour": _column(self.detour, np.int8),
        }

    def audience(self, world: World, meant: npt.NDArray[np.int64]) -> Audience:
        """For whom each message is."""
        return audience(world, meant)

    def ready_s(self, meant: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """When all gateways had subscribed to the room of each message: long ago, unless it was created by one."""
        ready_s = np.full(int(meant.max(initial=-1)) + 1, -np.inf)
        ready_s[list(self.room_ready_s)] = list(self.room_ready_s.values())
        return ready_s[meant]

    def all_sessions(self, world: World) -> SessionTable:
        """The sessions of the trace, then those that the system has caused: the next ones of a device, or the first of
        a new one."""
        trace, caused = world.sessions, self.caused.table()
        count = len(trace)
        origin = np.concatenate([np.full(count, -1), caused["origin"]]).astype(np.int64)
        root = np.arange(len(origin))  # the first session of the device of each one
        while (goes_on := origin[root] >= 0).any():
            root = np.where(goes_on, origin[root], root)
        device = np.concatenate([trace.device.astype(np.int64), np.zeros(len(origin) - count, np.int64)])
        new = count + np.flatnonzero(origin[count:] < 0)
        device[new] = int(trace.device.max(initial=-1)) + 1 + _times(caused["user"][new - count])
        return SessionTable(
            np.concatenate([trace.user, caused["user"]]),
            device[root].astype(trace.device.dtype),
            np.concatenate([trace.start_s, caused["start_s"]]),
            np.concatenate([trace.end_s, caused["end_s"]]),
        )

    def sessions(self, world: World) -> Columns:
        """The table of sessions."""
        table = self.all_sessions(world)
        return {
            "user": table.user,
            "device": table.device,
            "start_s": table.start_s,
            "end_s": table.end_s,
            "gateway": _column(self.session_gateway, np.int32),
            "online_s": _column(self.online_s, np.float64),
            "left_s": _column(self.left_s, np.float64),
            "fate": _column(self.session_fate, np.int8),
            "silent": _column(self.session_silent, bool),
            "listed": _column(self.session_listed, np.int32),
            "unread": _column(self.session_unread, np.int32),
            "origin": np.concatenate([np.full(len(world.sessions), -1), self.caused.table()["origin"]]).astype(
                np.int32
            ),
            "attempt": np.concatenate([np.zeros(len(world.sessions)), self.caused.table()["attempt"]]).astype(np.int32),
            "cut_s": _column(self.cut_s, np.float64),
        }

    def comes_back(self, user: int, start_s: float, end_s: float, origin: int = -1, attempt: int = 0) -> int:
        """A session that the trace does not have; returns its number."""
        self.caused.add(user, start_s, end_s, origin, attempt)
        self.cut_s.append(NEVER)
        self.online_s.append(NEVER)
        self.left_s.append(NEVER)
        self.session_gateway.append(-1)
        self.session_fate.append(SessionFate.CONNECTING)
        for column in (self.session_silent, self.session_listed, self.session_unread):
            column.append(0)
        return len(self.session_gateway) - 1

    def intrusions(self, world: World) -> Columns:
        """The table of tries to get into rooms."""
        table = world.intrusions
        return {
            "time_s": table.time_s,
            "user": table.user,
            "session": table.session,
            "victim": table.victim,
            "room": np.array(self.intrusion_room, np.int32),
            "decided_s": np.array(self.decided_s, np.float64),
            "fate": np.array(self.intrusion_fate, np.int8),
        }

    def endings(self, world: World) -> Columns:
        """The table of ties that ended."""
        table = world.endings
        return {
            "time_s": table.time_s,
            "user": table.user,
            "other": table.other,
            "blocks": table.blocks,
            "effective_s": np.array(self.effective_s, np.float64),
        }
