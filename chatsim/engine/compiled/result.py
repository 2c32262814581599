"""From the tables of a compiled run to the notes that the auditor settles."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from chatsim.engine.audience import Audience
from chatsim.engine.compiled.columns import columns_of_messages, columns_of_rows
from chatsim.engine.compiled.setup import Tables
from chatsim.engine.compiled.state import State, tables_of
from chatsim.engine.notes import NEVER, Notes
from chatsim.engine.outcome import Columns, SessionFate
from chatsim.world.contacts import FriendLists
from chatsim.world.tables import SessionTable, World

NOTED_OF_RUN = ("subscriptions", "pulls", "pushed", "faults", "shown")
"""Tables of what is not of single messages."""
NOTED_OF_PAIRS = ("trimmed", "unasked", "wiped")
"""Tables of what happened to a message for one user."""

CAUSED = ("user", "start_s", "end_s", "origin", "attempt")


class Written(Notes):
    """Notes whose largest tables are those of a compiled run: of all its messages and sessions, or of a part of them.

    ``world`` has the messages and sessions that are noted. Of the tables ``messages`` and ``chats`` have a row for each
    of these messages, and ``sessions`` for each of these sessions and then for those that were caused.
    """

    def __init__(self, world: World, tables: Tables, lists: FriendLists | None, rows: Columns, ticks: Columns) -> None:
        super().__init__(world, len(tables["stations"]))
        self._rows, self._ticks = rows, ticks
        self._audience: Audience | None = None
        self._messages: Columns | None = None
        self._sessions: SessionTable | None = None
        columns = columns_of_messages(tables["messages"]) | _of_lists(tables, lists) | _of_sessions(tables["sessions"])
        intrusions = tables["intrusions"]
        columns |= {
            "intrusion_room": intrusions["room"], "intrusion_fate": intrusions["fate"],
            "decided_s": intrusions["decided_s"], "effective_s": tables["endings"]["effective_s"],
        }  # fmt: skip
        for name, column in columns.items():
            setattr(self, name, np.ascontiguousarray(column))
        self.work = tables["work"].tolist()
        self.item_us = tables["stations"]["item_us"].tolist()
        self.caused.extend({name: tables["sessions"][name][len(world.sessions) :] for name in CAUSED})
        self._ready_s: npt.NDArray[np.float64] = np.full(len(tables["messages"]), -np.inf)
        if tables["asked"][0]["creates_rooms"]:
            ready_s = tables["rooms"]["ready_s"][tables["messages"]["meant"]]
            self._ready_s = np.where(np.isnan(ready_s), -np.inf, ready_s)
        for name in ("breaks", *NOTED_OF_RUN):
            getattr(self, "presence" if name == "shown" else name).extend(_columns(tables[name]))
        for name in NOTED_OF_PAIRS:
            rows_of = tables[name]
            setattr(self, name, list(zip(rows_of["message"].tolist(), rows_of["user"].tolist(), strict=True)))

    def _ready_for_messages(self, messages: int) -> None:
        """Most of these columns come from the tables; here are those that only friend lists fill."""
        self.searched_s: Any = np.full(messages, NEVER)
        self.listed_rank: Any = np.full(messages, -1, np.int32)
        self.opening: Any = np.zeros(messages, bool)
        self.detour: Any = np.zeros(messages, np.int8)

    def audience(self, world: World, meant: npt.NDArray[np.int64]) -> Audience:
        """For whom each message is, found once."""
        if self._audience is None:
            self._audience = super().audience(world, meant)
        return self._audience

    def messages(self, world: World, meant: npt.NDArray[np.int64]) -> Columns:
        """The table of messages, made once: nothing is noted any more."""
        if self._messages is None:
            self._messages = super().messages(world, meant)
        return self._messages

    def all_sessions(self, world: World) -> SessionTable:
        """The sessions of the trace, and those that were caused, made once."""
        if self._sessions is None:
            self._sessions = super().all_sessions(world)
        return self._sessions

    def ready_s(self, meant: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """When all gateways had subscribed to the room of each message."""
        return self._ready_s

    def rows(self) -> Columns:
        """What was written to sessions."""
        return self._rows

    def ticks(self) -> Columns:
        """The table of ticks."""
        return self._ticks


def cut_to_size(tables: Tables) -> Tables:
    """The tables without the room that is left in those that grow."""
    taken = tables["now"][0]
    grown = ("sessions", "rows", "boxed", "receipts", "breaks", *NOTED_OF_RUN, *NOTED_OF_PAIRS)
    return {**tables, **{name: tables[name][: taken[name]] for name in grown}}


def _of_lists(tables: Tables, lists: FriendLists | None) -> Columns:
    columns: Columns = {}
    if lists is not None:
        columns["opening"] = lists.opening
    if lists is not None and tables["asked"][0]["loads"]:
        columns["listed_rank"] = np.where(lists.conversation >= 0, lists.rank, -1)
        columns |= {"detour": tables["chats"]["detour"], "searched_s": tables["chats"]["searched_s"]}
    return columns


def _of_sessions(sessions: Any) -> Columns:
    left = np.isin(sessions["fate"], (SessionFate.LEFT, SessionFate.ABANDONED))
    return {
        "session_gateway": sessions["gateway"], "online_s": sessions["online_s"], "left_s": sessions["left_s"],
        "session_fate": sessions["fate"],
        "session_listed": sessions["listed"], "session_unread": sessions["unread"],
        "session_silent": (sessions["silent"] > 0) & left, "cut_s": sessions["cut_s"],
    }  # fmt: skip


def rows_of(rows: Any, receipts: Any) -> Columns:
    """What was written to sessions, and what of it the sender knows."""
    receipt_s = np.full(len(rows), NEVER)
    np.fmin.at(receipt_s, receipts["row"], receipts["time_s"])
    return columns_of_rows(rows) | {"receipt_s": receipt_s}


def _columns(table: Any) -> Columns:
    return {name: table[name] for name in table.dtype.names}


def inbox_of(st: State) -> npt.NDArray[np.int64]:
    """What waits in store for whom, a row of (user, message) each."""
    tables = tables_of(st)
    boxes, here = tables["boxes"], tables["users"]["box_first"].astype(np.int64)
    user = np.flatnonzero(here >= 0)
    here = here[user]
    found = [np.empty((0, 2), np.int64)]
    while len(here):
        found.append(np.column_stack((user, boxes["message"][here])))
        here = boxes["next"][here]
        user, here = user[here >= 0], here[here >= 0]
    waiting = np.concatenate(found)
    return waiting[np.argsort(waiting[:, 0], kind="stable")]
