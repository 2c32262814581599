"""What the model writes down while it runs. It notes, it does not measure."""

from __future__ import annotations

from array import array

import numpy as np

from chatsim.engine.outcome import Cause, Columns, Fate, SessionFate, Work
from chatsim.world.tables import World

NEVER = float("nan")


class Notes:
    """The columns of an outcome while they grow, and the number of carriers that each message has under way."""

    def __init__(self, world: World, stations: int) -> None:
        messages, sessions = len(world.messages), len(world.sessions)
        self.work = [[0] * len(Work) for _ in range(stations)]
        self.station = array("i")
        self.tick_start_s = array("d")
        self.tick_end_s = array("d")
        self.tick_items = array("i")
        self.tick_waiting = array("i")
        self.tick_waited_s = array("d")
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
        self.change_s = array("d")
        self.change_node = array("i")
        self.change = array("b")

    def tick(self, station: int, start_s: float, end_s: float, items: int, waiting: int, waited_s: float) -> None:
        """One tick of a station."""
        self.station.append(station)
        self.tick_start_s.append(start_s)
        self.tick_end_s.append(end_s)
        self.tick_items.append(items)
        self.tick_waiting.append(waiting)
        self.tick_waited_s.append(waited_s)

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
        cause = np.zeros(len(fate), np.int8)
        cause[list(self.row_cause)] = list(self.row_cause.values())
        return {
            "message": np.array(self.row_message, np.int32),
            "session": np.array(self.row_session, np.int32),
            "written_s": np.array(self.row_written_s, np.float64),
            "time_s": time_s,
            "fate": fate,
            "cause": cause,
        }

    def subscription(self, time_s: float, node: int, change: int) -> None:
        """A broker node holds one subscription more (+1) or less (-1)."""
        self.change_s.append(time_s)
        self.change_node.append(node)
        self.change.append(change)

    def ticks(self) -> Columns:
        """The table of ticks."""
        return {
            "station": np.array(self.station, np.int32),
            "start_s": np.array(self.tick_start_s, np.float64),
            "end_s": np.array(self.tick_end_s, np.float64),
            "items": np.array(self.tick_items, np.int32),
            "waiting": np.array(self.tick_waiting, np.int32),
            "waited_s": np.array(self.tick_waited_s, np.float64),
        }

    def messages(self, world: World) -> Columns:
        """The table of messages; ``recipients`` counts the members without the sender."""
        trace, rooms = world.messages, world.rooms
        return {
            "time_s": trace.time_s,
            "sender": trace.sender,
            "session": trace.session,
            "room": trace.room,
            "size_bytes": trace.size_bytes,
            "recipients": (np.diff(rooms.start)[trace.room] - 1).astype(np.int32),
            "gateway": np.array(self.gateway, np.int32),
            "received_s": np.array(self.received_s, np.float64),
            "stored_s": np.array(self.stored_s, np.float64),
            "routed_s": np.array(self.routed_s, np.float64),
            "told_s": np.array(self.told_s, np.float64),
            "done_s": np.array(self.done_s, np.float64),
            "pushes": np.array(self.pushes, np.int32),
            "discards": np.array(self.discards, np.int32),
            "fate": np.array(self.fate, np.int8),
            "cause": np.array(self.cause, np.int8),
        }

    def sessions(self, world: World) -> Columns:
        """The table of sessions."""
        trace = world.sessions
        return {
            "user": trace.user,
            "device": trace.device,
            "start_s": trace.start_s,
            "end_s": trace.end_s,
            "gateway": np.array(self.session_gateway, np.int32),
            "online_s": np.array(self.online_s, np.float64),
            "left_s": np.array(self.left_s, np.float64),
            "fate": np.array(self.session_fate, np.int8),
        }

    def subscriptions(self) -> Columns:
        """The table of changes of subscriptions."""
        return {
            "time_s": np.array(self.change_s, np.float64),
            "node": np.array(self.change_node, np.int32),
            "change": np.array(self.change, np.int8),
        }
