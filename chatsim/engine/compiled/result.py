"""From the tables of a compiled run to the notes that the auditor settles."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from chatsim.engine.audience import Audience
from chatsim.engine.compiled.setup import Tables
from chatsim.engine.compiled.state import SESSIONS_AT_ONCE, State, tables_of
from chatsim.engine.notes import NEVER, Notes
from chatsim.engine.outcome import Columns, Fate, SessionFate
from chatsim.world.contacts import FriendLists
from chatsim.world.orders import blocks
from chatsim.world.shelf import put_back
from chatsim.world.tables import SessionTable, World

NOTED_OF_RUN = ("subscriptions", "pulls", "pushed", "faults", "shown")
"""Tables of what is not of single messages."""
NOTED_OF_PAIRS = ("trimmed", "unasked", "wiped")
"""Tables of what happened to a message for one user."""

CAUSED = ("user", "start_s", "end_s", "origin", "attempt")
NOTED_OF_SESSIONS = (
    *CAUSED, "gateway", "online_s", "left_s", "fate", "listed", "unread", "silent", "cut_s",
)  # fmt: skip
ROWS_AT_ONCE, FEW_AT_ONCE = 1 << 12, 1 << 10
ROW = {"message": np.int32, "session": np.int32, "written_s": np.float64, "time_s": np.float64, "fate": np.int8,
       "cause": np.int8}  # fmt: skip
"""What an outcome has of a row."""


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
        columns = _of_messages(tables) | _of_lists(tables, lists) | _of_sessions(tables["sessions"])
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


def _of_messages(tables: Tables) -> Columns:
    messages = tables["messages"]
    names = (
        "gateway", "received_s", "stored_s", "routed_s", "told_s", "acked_s", "done_s", "pushes", "discards",
        "reads", "fate", "cause", "received", "refused", "sends", "lost_pushes",
    )  # fmt: skip
    kinds = {name: np.dtype(np.int8) if name in ("fate", "cause") else messages.dtype[name] for name in names}
    return columns_of(messages, kinds)


def columns_of(rows: Any, kinds: dict[str, Any]) -> Columns:
    """Some of what rows have, a column of a kind each: some rows at a time, so that they come from memory once."""
    columns: Columns = {name: np.empty(len(rows), kind) for name, kind in kinds.items()}
    for part in blocks(len(rows), ROWS_AT_ONCE):
        for name, column in columns.items():
            column[part] = rows[name][part]
    return columns


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


def sessions_of(sessions: Any, rows: npt.NDArray[np.int64]) -> Columns:
    """What is noted of some sessions, ascending; of all that a table in a file has, too, which need not stay in memory
    together."""
    found = {name: np.empty(len(rows), sessions.dtype[name]) for name in NOTED_OF_SESSIONS}
    for large in blocks(len(rows), SESSIONS_AT_ONCE):
        chosen = rows[large]
        for part in blocks(len(chosen), FEW_AT_ONCE):
            taken, place = taken_of(sessions, chosen[part]), slice(large.start + part.start, large.start + part.stop)
            for name, column in found.items():
                column[place] = taken[name]
        if len(rows) == len(sessions):
            put_back(sessions[chosen[0] : chosen[-1] + 1])
    return found


def taken_of(rows: Any, chosen: npt.NDArray[Any]) -> Any:
    """A copy of some rows of a table, in one piece each: numpy would copy them field by field. ``chosen`` are their
    numbers, or says of each row whether it is."""
    places = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
    return rows.view(np.dtype((np.void, rows.dtype.itemsize))).take(places).view(rows.dtype)


def rows_of(rows: Any, receipts: Any) -> Columns:
    """What was written to sessions, and what of it the sender knows."""
    receipt_s = np.full(len(rows), NEVER)
    np.fmin.at(receipt_s, receipts["row"], receipts["time_s"])
    columns = columns_of(rows, ROW)
    live = np.where(np.isnan(columns["time_s"]), np.int8(Fate.IN_FLIGHT), np.int8(Fate.DELIVERED))
    columns["fate"] = np.where(columns["fate"] < 0, live, columns["fate"])
    return columns | {"receipt_s": receipt_s}


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
