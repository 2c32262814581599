"""The trace of a run as handlers are fed it: what begins when, and its messages with their luck."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from chatsim.engine.compiled.kinds import E_INTRUDES, E_LOGIN, E_MESSAGE, E_TIE_ENDS
from chatsim.engine.compiled.sessions_to_come import write_of_trace
from chatsim.engine.compiled.state import FIXED, NONE, SESSIONS_AT_ONCE
from chatsim.engine.compiled.window import Window
from chatsim.engine.compiled.writing import MERGE, WRITE, Given, audiences_of, write_messages, write_trace
from chatsim.engine.loops import fixed, load_if_worth_it
from chatsim.engine.luck import PUBLISH, RECEIVE, STORE, Luck, service_luck
from chatsim.engine.rooms import Rooms
from chatsim.rules.access import OPEN, POLICY_NUMBERS
from chatsim.scenario import Scenario
from chatsim.scenario.models import StationCosts
from chatsim.world.contacts import FriendLists
from chatsim.world.orders import blocks
from chatsim.world.shelf import column, put_back
from chatsim.world.tables import World

SLICE = 1 << 14
"""Messages that are written before the run comes to them, where not all are."""
MESSAGES_AT_ONCE = 1 << 14
"""Messages for which is drawn at once: the draws stay in the cache of a core until they are written."""
FACTORS_AT_ONCE = 1 << 11
"""Messages of which the luck of all packets is drawn at once."""
AHEAD_SHARE = 0.25
"""Where at least this share of users is connected, most packets leave: their luck is drawn ahead, as many at once take
a third of the time. Elsewhere it is drawn when they leave."""
MESSAGE_S = 3e-7
"""What a message takes where that is not compiled."""


class Feed:
    """Writes the tables that hold the trace, in the order of time: all at once; or slice by slice, so that ``ahead``
    rows are there before the run comes to them, and then it gives back what is done."""

    def __init__(
        self, scenario: Scenario, world: World, rooms: Rooms, lists: FriendLists | None, ahead: int = 0
    ) -> None:
        self._scenario, self._world, self._rooms, self._lists = scenario, world, rooms, lists
        self._luck, self._slice = Luck(scenario, world), SLICE if ahead else max(1, len(world.messages))
        self._audiences, standing = audiences_of(world, rooms), standing_sessions(world)
        is_open = POLICY_NUMBERS[scenario.access.policy] == OPEN
        self._kinds = (E_LOGIN, NONE if is_open else E_TIE_ENDS, E_MESSAGE, E_INTRUDES)
        starts_s, ends = world.sessions.start_s[standing:], world.endings.time_s
        self._times_s = (starts_s, ends, world.messages.time_s, world.intrusions.time_s)
        self._numbers, self._ahead = [standing, 0, 0, 0], ahead or sum(map(len, self._times_s))
        self._begun = [0, 0, 0, 0]
        self._sessions = 0
        self._pairs = 0
        self.row = 0
        self.draws_ahead = scenario.network.jitter_sigma > 0 and connected_share(world) >= AHEAD_SHARE
        self._drawn = drawn_of(scenario)
        rows = {
            **one_for_each(scenario, len(world.messages)),
            "trace": sum(map(len, self._times_s)),
            "early": rooms.pairs if scenario.design.keeps_missed else 0,
            "factors": rooms.pairs if self.draws_ahead else 0,
        }
        self._windows = {name: Window(count, FIXED[name]) for name, count in rows.items() if ahead and count}
        self.tables: dict[str, npt.NDArray[Any]] = {
            name: self._windows[name].table if name in self._windows else np.zeros(count, FIXED[name])
            for name, count in rows.items()
        }
        self.tables["letters"] = column(len(world.messages) if scenario.design.keeps_missed else 0, FIXED["letters"])

    def is_due(self, begun: int) -> bool:
        """Whether a run in which so many rows of the trace have begun may come to one that is not written."""
        return self.row < min(begun + self._ahead + 1, len(self.tables["trace"]))

    def write(self, begun: int, tables: dict[str, npt.NDArray[Any]]) -> None:
        """Writes what a run in which so many rows of the trace have ``begun`` may come to next: also the sessions that
        begin until then, and their clients, where ``tables`` have places for them. Modifies the tables, and its own."""
        self._write_sessions(tables, self._numbers[0])
        while self.is_due(begun):
            self._write_slice(tables)

    def give_back(self, message: int, begun: int) -> None:
        """What is before a message, and rows of the trace that have begun, are not looked at any more. Modifies the
        tables."""
        if not self._windows or not message:
            return
        pairs = int(self.tables["messages"]["offset"][message]) if message < len(self.tables["messages"]) else 0
        # The row of the trace that is to begin next stands in an event already, and the one before may be beginning.
        ends = {"early": pairs, "factors": pairs, "trace": begun - self._slice}
        for name, window in self._windows.items():
            window.give_back(ends.get(name, message))
        trace = self._world.messages
        put_back(trace.time_s, trace.sender, trace.session, trace.room, trace.size_bytes)

    def _write_slice(self, tables: dict[str, npt.NDArray[Any]]) -> None:
        """The next messages, and all that begins until the last of them."""
        messages_s = self._times_s[2]
        last = self._begun[2] + self._slice - 1
        until_s = float(messages_s[last]) if last < len(messages_s) - 1 else np.inf
        ends = [int(np.searchsorted(times_s, until_s, side="right")) for times_s in self._times_s]
        load_if_worth_it((WRITE, MERGE), len(self._world.messages), MESSAGE_S)
        for first in range(self._begun[2], ends[2], MESSAGES_AT_ONCE):
            self._write_messages(first, min(first + MESSAGES_AT_ONCE, ends[2]))
        parts = [slice(begun, end) for begun, end in zip(self._begun, ends, strict=True)]
        times_s = [fixed(times_s[part], np.float64) for times_s, part in zip(self._times_s, parts, strict=True)]
        until = self.row + sum(map(len, times_s))
        numbers = np.array([first + part.start for first, part in zip(self._numbers, parts, strict=True)])
        write_trace(self.tables["trace"][self.row : until], tuple(times_s), np.array(self._kinds), numbers)
        own = (self._world.messages.session[parts[2]], self._world.intrusions.session[parts[3]])
        latest = max(int(session.max(initial=NONE)) for session in own)  # a message may wait for a session to begin
        self._write_sessions(tables, max(self._numbers[0] + ends[0], latest + 1))
        self.row, self._begun = until, ends

    def _write_sessions(self, tables: dict[str, npt.NDArray[Any]], until: int) -> None:
        """The sessions of the trace up to one, if not more."""
        while self._sessions < until:
            end = min(self._sessions + SESSIONS_AT_ONCE, len(self._world.sessions))
            write_of_trace(tables, self._scenario, self._world, self._luck, self._sessions, end)
            self._sessions = end

    def _write_messages(self, first: int, end: int) -> None:
        """The messages from ``first`` to ``end``, with the luck of their packets on the way up, and of their items."""
        trace, mine = self._world.messages, slice(first, end)
        if self._scenario.design.keeps_missed:
            self.tables["letters"]["size_bytes"][mine] = trace.size_bytes[mine]
        opening = self._lists.opening[mine] if self._lists is not None else np.empty(0, bool)
        sender, session, size_bytes, room = (
            fixed(values[mine], np.int32) for values in (trace.sender, trace.session, trace.size_bytes, trace.room)
        )
        uplink = self._luck.uplinks(first, end)
        given = Given(sender, session, size_bytes, room, uplink, fixed(opening, np.bool_))
        if self.draws_ahead:
            self._draw_factors(first, end)
        for name, (costs, purpose) in self._drawn.items():
            self.tables[name][mine] = service_luck(self._world, costs, purpose, first, end)
        rows = self.tables["messages"][mine]
        self._pairs = write_messages(rows, given, self._rooms, self._audiences, first, self._pairs)

    def _draw_factors(self, first: int, end: int) -> None:
        """The luck of the packets of the messages from ``first`` to ``end`` to each member of their rooms."""
        place = self._pairs
        for message in range(first, end, FACTORS_AT_ONCE):
            factors = self._luck.downlinks(message, min(message + FACTORS_AT_ONCE, end))[0]
            self.tables["factors"][place : place + len(factors)] = factors
            place += len(factors)


def drawn_of(scenario: Scenario) -> dict[str, tuple[StationCosts, int]]:
    """The tables of the luck of messages' items, of whose costs and for what: where that is drawn, and ever done."""
    store: StationCosts = scenario.database if scenario.design.store_in == "database" else scenario.broker
    every = {"receive_luck": (scenario.gateway, RECEIVE), "publish_luck": (scenario.broker, PUBLISH)}
    if scenario.design.store != "never":
        every["store_luck"] = (store, STORE)
    return {name: (costs, purpose) for name, (costs, purpose) in every.items() if costs.service == "exponential"}


def one_for_each(scenario: Scenario, messages: int) -> dict[str, int]:
    """How many rows tables have that have one for each message, where something asks for them."""
    asked = {
        "messages": True, **dict.fromkeys(("receive_luck", "publish_luck", "store_luck"), False),
        **dict.fromkeys(drawn_of(scenario), True),
        "tries": scenario.client.guarantee == "at_least_once", "kept_next": scenario.broker.history_max > 0,
    }  # fmt: skip
    return {name: messages if is_asked else 0 for name, is_asked in asked.items()}


def connected_share(world: World) -> float:
    """The share of users who are connected, on the average of the run; a second device counts as another user."""
    sessions = world.sessions
    connected_s = sum(
        float((np.minimum(sessions.end_s[part], world.duration_s) - np.maximum(sessions.start_s[part], 0.0)).sum())
        for part in blocks(len(sessions), SESSIONS_AT_ONCE)
    )
    return connected_s / max(world.users * world.duration_s, 1e-9)


def standing_sessions(world: World) -> int:
    """Sessions that began before the run."""
    return int(np.searchsorted(world.sessions.start_s, 0.0, side="right"))
