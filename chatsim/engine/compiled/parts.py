"""A compiled run whose parts are taken out of its tables as they are done: memory does not grow with the rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from chatsim.engine.compiled.columns import columns_of_sessions, taken_of
from chatsim.engine.compiled.feed import Feed
from chatsim.engine.compiled.kinds import IN_FLIGHT
from chatsim.engine.compiled.result import (
    NOTED_OF_PAIRS,
    NOTED_OF_RUN,
    Written,
    cut_to_size,
    inbox_of,
    rows_of,
)
from chatsim.engine.compiled.setup import Tables
from chatsim.engine.compiled.state import GROWING, NONE, State, put_table, table_of, tables_of
from chatsim.engine.compiled.ticks import Ticks
from chatsim.engine.compiled.window import Window
from chatsim.engine.finishing import noted
from chatsim.engine.notes import Notes
from chatsim.engine.outcome import Columns, Fate, Outcome
from chatsim.engine.parts import PartAuditor
from chatsim.scenario import Scenario
from chatsim.world.contacts import FriendLists
from chatsim.world.orders import blocks
from chatsim.world.shelf import give_free_back, in_memory_bytes, put_back
from chatsim.world.tables import MessageTable, SessionTable, World

Flags = npt.NDArray[np.bool_]
ROWS_OF_PART, TICKS_OF_PART = 5 << 16, 1 << 19
"""So many rows, or ticks, and what is done becomes a part: so few that the memory it took may be kept for the next."""
USERS_OF_PART = 400_000
"""Of more users, as many times more: what a part does for each user, and for who is there, is then little beside it."""
MEMORY_BYTES, FILES_BYTES = 25 << 27, 3 << 29
"""Where more than so much is in memory, and so much of it lies in files, that is put back: much of what a million users
need again and again is there then, and less would be fetched all the time."""
SELDOM_S = 14400.0
"""Few sessions last so long, and those that began before are hardly looked at."""
LOOKS = 16
"""After so many steps it is looked at how much is in memory, which takes a while."""
ROWS_AT_ONCE = 1 << 12
"""Rows of tables of which several columns are looked at: some at a time, so that they come from memory once."""
ROWS_PER_PAIR = 4
"""For so many rows of each message x member there is a place: what is not used is never touched, and costs nothing."""


class Parts:
    """The parts of one run. Those before message ``_first`` and row ``_row`` are taken."""

    def __init__(
        self,
        scenario: Scenario,
        world: World,
        lists: FriendLists | None,
        feed: Feed,
        pairs: int,
        take: Callable[[Outcome], None],
    ) -> None:
        many = max(1.0, world.users / USERS_OF_PART)
        self._rows_of_part, self._ticks_of_part = int(many * ROWS_OF_PART), int(many * TICKS_OF_PART)
        self.ticks = Ticks(self._ticks_of_part + self._ticks_of_part // 4)
        self._scenario, self._world, self._lists, self._take = scenario, world, lists, take
        self._feed = feed
        self._auditor = PartAuditor(scenario)
        self._first = self._row = 0
        self._looks = LOOKS
        self._boxed: list[tuple[npt.NDArray[Any], ...]] = []
        self._place, self._placed = np.full(0, NONE, np.int32), np.zeros(0, np.int64)
        self._matters: Flags = np.zeros(0, bool)
        self._there, self._begun, self._caused = np.zeros(0, np.int64), 0, len(world.sessions)
        self._rows = Window(ROWS_PER_PAIR * pairs + self._rows_of_part, GROWING["rows"])

    def begin(self, st: State) -> None:
        """Gives the run room for its rows. Modifies the state."""
        put_table(st, "rows", self._rows.table)
        tables_of(st)["asked"][0]["tells_boxes"] = 1

    def next(self, st: State) -> None:
        """Takes what is done, where that is much, and has the trace ready for the next events. Modifies the state."""
        now = table_of(st, "now")[0]
        begun, rows = int(now["next_row"]), int(now["rows"]) - self._row
        if self._feed.is_due(begun):
            self._feed.write(begun, tables_of(st))
        self._looks -= 1
        if not self._looks:
            self._looks = LOOKS
            if _is_too_much():
                self._put_back(tables_of(st), float(now["time_s"]))
        if rows < self._rows_of_part and self.ticks.count < self._ticks_of_part:
            return
        end = self._done(tables_of(st))
        if end > self._first:
            self._part(st, end, is_last=False)
            self._feed.give_back(end, begun)

    def _put_back(self, tables: Tables, now_s: float) -> None:
        """What is hardly looked at any more leaves memory; or, where that is too little, all that lies in files."""
        long_ago = int(np.searchsorted(self._world.sessions.start_s, now_s - SELDOM_S))
        put_back(tables["sessions"][:long_ago], tables["clients"][:long_ago], tables["letters"][: self._first])
        if _is_too_much():
            put_back(*tables.values())

    def last(self, st: State) -> None:
        """Takes what is left when the run is over, and checks the whole. The last part has no messages, but all
        sessions: what settles messages need not hold these too."""
        end = len(self._world.messages)
        self._feed.write(len(table_of(st, "trace")), tables_of(st))
        if end > self._first:
            self._part(st, end, is_last=False)
            put_back(*tables_of(st).values())
            give_free_back()
        self._part(st, end, is_last=True)

    def _done(self, tables: Tables) -> int:
        """The first message that is not done: on its way somewhere, if only in a try after the one that was told, or
        written to a session that does not have it."""
        now_s = float(tables["now"][0]["time_s"])
        until = int(np.searchsorted(self._world.messages.time_s, now_s))
        messages, rows, tries = tables["messages"], tables["rows"][: int(tables["now"][0]["rows"])], tables["tries"]
        end = until
        for part in blocks(until - self._first, ROWS_AT_ONCE):
            some = messages[self._first :][part]
            is_on_way = tries[self._first :][part]["on_way"] > 0 if len(tries) else False
            goes_on = np.flatnonzero((some["fate"] == IN_FLIGHT) | (some["under_way"] > 0) | is_on_way)
            if len(goes_on):
                end = self._first + part.start + int(goes_on[0])
                break
        for part in blocks(len(rows) - self._row, ROWS_AT_ONCE):
            some = rows[self._row :][part]
            under_way = some["message"][_is_under_way(some, now_s)]
            end = int(under_way[under_way >= self._first].min(initial=end))
        return end

    def _part(self, st: State, end: int, is_last: bool) -> None:
        tables = cut_to_size(tables_of(st))
        rows = tables["rows"][self._row :]
        message = rows["message"].astype(np.int64)
        mine = (message >= self._first) & (message < end)
        under_way = _is_under_way(rows, float(tables["now"][0]["time_s"]))
        earlier = (message >= 0) & (message < self._first) & (is_last | ~under_way)
        seen = self._seen(tables, rows["session"][mine], is_last)
        place = self._places(seen, len(tables["sessions"]))
        part = self._tables_of_part(tables, taken_of(rows, mine), seen, place, end, is_last)
        world, notes = self._noted(part, seen, place, end, self.ticks.all(st) if is_last else self.ticks.give())
        later = self._later(tables, taken_of(rows, earlier))
        meant = part["messages"]["meant"].astype(np.int64)
        inbox = self._inbox(tables["boxed"], end)
        deliveries, offline = self._auditor.settle(world, notes, inbox, meant, self._first)
        if is_last:
            self._auditor.end(self._world, notes, inbox_of(st))
        end_s = self._world.duration_s + self._scenario.workload.drain_s
        outcome = noted(self._scenario, world, notes, deliveries, meant, end_s)
        messages = {**outcome.messages, "offline": offline}
        self._take(replace(outcome, engine="compiled", messages=messages, later=later))
        self._first = end
        self._forget(rows, mine | earlier)
        for name in ("subscriptions", "boxed"):
            tables_of(st)["now"][0][name] = 0

    def _inbox(self, boxed: Any, end: int) -> npt.NDArray[np.int64]:
        """What of the messages of a part waits for whom, a row of (user, message) each, by what came into the boxes of
        users and went out of them; what is told of later messages is kept for their parts."""
        told = [*self._boxed, (boxed["user"].astype(np.int64), boxed["message"].astype(np.int64), boxed["change"])]
        user, message, change = (np.concatenate(column) for column in zip(*told, strict=True))
        later = message >= end
        self._boxed = [(user[later], message[later], change[later])]
        mine = (message >= self._first) & ~later
        keys = (message[mine] - self._first) * self._world.users + user[mine]
        told_of = np.sort(2 * keys + (change[mine] > 0))
        keys, change = told_of >> 1, 2 * (told_of & 1) - 1
        first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])) if len(keys) else np.zeros(0, np.int64)
        there = first[np.add.reduceat(change, first) > 0] if len(keys) else first
        found, user = np.divmod(keys[there], self._world.users)
        return np.stack([user, found], axis=1)

    def _forget(self, rows: Any, taken: Flags) -> None:
        """Marks rows as taken, and gives back those before the first that is not."""
        rows["message"][taken] = NONE
        left = np.flatnonzero(rows["message"] >= 0)
        self._row += int(left[0]) if len(left) else len(rows)
        self._rows.give_back(self._row)

    def _seen(self, tables: Tables, session: npt.NDArray[np.integer[Any]], is_last: bool) -> npt.NDArray[np.int64]:
        """Sessions that matter to the messages of a part: to whom they were written, or who were there meanwhile; to
        the last part all."""
        sessions = tables["sessions"]
        if is_last:
            return np.arange(len(sessions))
        begun, caused, since_s = self._begun, self._caused, self._world.messages.time_s[self._first]
        self._begun = int(np.searchsorted(self._world.sessions.start_s, tables["now"][0]["time_s"], side="right"))
        self._caused = len(sessions)
        there = np.concatenate([self._there, np.arange(begun, self._begun), np.arange(caused, self._caused)])
        self._there = there[~(sessions["left_s"][there] < since_s)]
        if len(self._matters) < len(sessions):
            self._matters = np.zeros(len(sessions), bool)
        self._matters[self._there], self._matters[session] = True, True
        seen = np.flatnonzero(self._matters)
        self._matters[seen] = False
        return seen

    def _places(self, seen: npt.NDArray[np.int64], sessions: int) -> npt.NDArray[np.int32]:
        """Where each session stands among those seen, NONE for the others."""
        if len(self._place) < sessions:
            self._place = np.full(sessions, NONE, np.int32)
        else:
            self._place[self._placed] = NONE
        self._place[seen] = np.arange(len(seen))
        self._placed = seen
        return self._place

    def _tables_of_part(self, tables: Tables, rows: Any, seen: Any, place: Any, end: int, is_last: bool) -> Tables:
        """The tables of a run as if its messages from ``_first`` to ``end`` and the sessions ``seen``, each in its
        ``place``, were all. Modifies the rows, which are a copy."""
        mine = slice(self._first, end)
        rows["message"] -= self._first
        rows["session"] = place[rows["session"]]
        part = {**tables, "messages": tables["messages"][mine], "rows": rows}
        part["sessions"] = columns_of_sessions(tables["sessions"], seen)
        part["chats"] = tables["chats"][mine] if tables["asked"][0]["loads"] else tables["chats"]
        for name in ("breaks", *NOTED_OF_PAIRS):
            table = tables[name][(tables[name]["message"] >= self._first) & (tables[name]["message"] < end)].copy()
            table["message"] -= self._first
            part[name] = table
        if not is_last:
            part |= {name: tables[name][:0] for name in NOTED_OF_RUN if name != "subscriptions"}
        return part

    def _noted(self, part: Tables, seen: Any, place: Any, end: int, ticks: Columns) -> tuple[World, Notes]:
        """The world of a part, and what is noted of it."""
        trace, sessions = self._world.messages, self._world.sessions
        mine, own = slice(self._first, end), seen[seen < len(sessions)]
        messages = MessageTable(
            trace.time_s[mine], trace.sender[mine], place[trace.session[mine]], trace.room[mine],
            trace.size_bytes[mine], trace.spam[mine],
        )  # fmt: skip
        table = SessionTable(sessions.user[own], sessions.device[own], sessions.start_s[own], sessions.end_s[own])
        world = replace(self._world, messages=messages, sessions=table)
        origin = part["sessions"]["origin"]
        part["sessions"]["origin"] = np.where(origin >= 0, place[origin], NONE)
        lists = self._lists
        if lists is not None:
            own_lists = {name: getattr(lists, name)[mine] for name in ("opening", "conversation", "recipient", "rank")}
            lists = FriendLists(size=lists.size, **own_lists)
        rows = rows_of(part["rows"], part["receipts"][:0])
        return world, Written(world, part, lists, rows, ticks)

    def _later(self, tables: Tables, rows: Any) -> Columns:
        """What came to sessions of messages of earlier parts."""
        message, time_s = rows["message"].astype(np.int64), rows["time_s"].copy()
        recipient = tables["sessions"]["user"][rows["session"]]
        live = np.where(np.isnan(time_s), Fate.MISSED, Fate.DELIVERED)
        fate = np.where(rows["fate"] < 0, live, rows["fate"]).astype(np.int8)
        fate[fate == Fate.LOST] = Fate.MISSED
        return {
            "message": message.astype(np.int32),
            "message_s": self._world.messages.time_s[message],
            "recipient": recipient.astype(np.int32),
            "time_s": time_s,
            "fate": fate,
            "cause": rows["cause"].astype(np.int8),
            "first": self._auditor.read(message * self._world.users + recipient, fate),
        }


def _is_too_much() -> bool:
    """Whether some of what lies in files must leave memory."""
    all_bytes, files_bytes = in_memory_bytes()
    return all_bytes > MEMORY_BYTES and files_bytes > FILES_BYTES


def _is_under_way(rows: Any, now_s: float) -> Flags:
    """Which rows of what was written to sessions may still come to them: those of which it is foretold may also not."""
    under_way: Flags = ~(rows["time_s"] <= now_s) & (rows["fate"] < 0) & (rows["message"] >= 0)
    return under_way



