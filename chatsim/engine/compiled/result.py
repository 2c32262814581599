"""From the tables of a compiled run to the notes that the auditor settles."""

from __future__ import annotations

from typing import Any

import numpy as np

from chatsim.engine.compiled.code import entry
from chatsim.engine.compiled.setup import Tables
from chatsim.engine.compiled.state import State
from chatsim.engine.notes import NEVER, Notes
from chatsim.engine.outcome import Columns, Fate, SessionFate
from chatsim.world.contacts import FriendLists
from chatsim.world.tables import World


class Written(Notes):
    """Notes whose largest tables are those of a compiled run."""

    def __init__(self, world: World, tables: Tables, lists: FriendLists | None, ticks: Columns) -> None:
        super().__init__(world, len(tables["stations"]))
        taken = tables["now"][0]
        self._ticks = ticks
        self._rows = _rows(tables["rows"][: taken["rows"]], tables["receipts"][: taken["receipts"]])
        columns: dict[str, Any] = {
            name: tables["messages"][name]
            for name in (
                "gateway", "received_s", "stored_s", "routed_s", "told_s", "acked_s", "done_s", "pushes", "discards",
                "reads", "under_way", "fate", "cause", "received", "refused", "sends", "lost_pushes",
            )
        }  # fmt: skip
        if lists is not None:
            columns |= {"listed_rank": np.where(lists.conversation >= 0, lists.rank, -1), "opening": lists.opening}
        if tables["asked"][0]["loads"]:
            columns |= {"detour": tables["chats"]["detour"], "searched_s": tables["chats"]["searched_s"]}
        sessions = tables["sessions"][: taken["sessions"]]
        left = np.isin(sessions["fate"], (SessionFate.LEFT, SessionFate.ABANDONED))
        columns |= {
            "session_gateway": sessions["gateway"], "online_s": sessions["online_s"], "left_s": sessions["left_s"],
            "session_fate": sessions["fate"],
            "session_listed": sessions["listed"], "session_unread": sessions["unread"],
            "session_silent": (sessions["silent"] > 0) & left, "cut_s": sessions["cut_s"],
        }  # fmt: skip
        intrusions = tables["intrusions"]
        columns |= {
            "intrusion_room": intrusions["room"], "intrusion_fate": intrusions["fate"],
            "decided_s": intrusions["decided_s"], "effective_s": tables["endings"]["effective_s"],
        }  # fmt: skip
        for name, column in columns.items():
            setattr(self, name, np.ascontiguousarray(column))
        self.work = tables["work"].tolist()
        self.item_us = tables["stations"]["item_us"].tolist()
        caused = sessions[len(world.sessions) :]
        self.caused.extend({name: caused[name] for name in ("user", "start_s", "end_s", "origin", "attempt")})
        self.subscriptions.extend(_columns(tables["subscriptions"][: taken["subscriptions"]]))
        self.pulls.extend(_columns(tables["pulls"][: taken["pulls"]]))
        self.pushed.extend(_columns(tables["pushed"][: taken["pushed"]]))
        self.faults.extend(_columns(tables["faults"][: taken["faults"]]))
        self.breaks.extend(_columns(tables["breaks"][: taken["breaks"]]))
        self.presence.extend(_columns(tables["shown"][: taken["shown"]]))
        ready_s = tables["rooms"]["ready_s"]
        self.room_ready_s = {room: ready_s[room] for room in np.flatnonzero(~np.isnan(ready_s)).tolist()}
        for name in ("trimmed", "unasked", "wiped"):
            rows = tables[name][: taken[name]]
            setattr(self, name, list(zip(rows["message"].tolist(), rows["user"].tolist(), strict=True)))

    def rows(self) -> Columns:
        """What was written to sessions."""
        return self._rows

    def ticks(self) -> Columns:
        """The table of ticks."""
        return self._ticks


def _rows(rows: Any, receipts: Any) -> Columns:
    """What was written to sessions, and what of it the sender knows."""
    receipt_s = np.full(len(rows), NEVER)
    np.fmin.at(receipt_s, receipts["row"], receipts["time_s"])
    live = np.where(np.isnan(rows["time_s"]), Fate.IN_FLIGHT, Fate.DELIVERED)
    return {
        "message": rows["message"].astype(np.int32),
        "session": rows["session"].astype(np.int32),
        "written_s": rows["written_s"].copy(),
        "time_s": rows["time_s"].copy(),
        "fate": np.where(rows["fate"] < 0, live, rows["fate"]).astype(np.int8),
        "cause": rows["cause"].astype(np.int8),
        "receipt_s": receipt_s,
    }


def _columns(table: Any) -> Columns:
    return {name: table[name] for name in table.dtype.names}


def inbox_of(st: State) -> dict[int, dict[int, None]]:
    """What waits in store for whom when a run has ended."""
    found: dict[int, dict[int, None]] = {}
    for user, message in _waiting(st).tolist():
        found.setdefault(user, {})[message] = None
    return found


@entry
def _waiting(st: State) -> Any:
    count = 0
    for user in range(len(st.users)):
        here = st.users[user].box_first
        while here >= 0:
            count += 1
            here = st.links[here].next
    found = np.empty((count, 2), np.int64)
    count = 0
    for user in range(len(st.users)):
        here = st.users[user].box_first
        while here >= 0:
            found[count, 0], found[count, 1] = user, st.links[here].one
            count += 1
            here = st.links[here].next
    return found
