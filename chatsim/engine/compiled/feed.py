"""The trace of a run as handlers are fed it: what begins when, and its messages with their luck."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from chatsim.engine.compiled.kinds import E_INTRUDES, E_LOGIN, E_MESSAGE, E_TIE_ENDS, IN_FLIGHT
from chatsim.engine.compiled.state import FIXED, NEVER, NONE
from chatsim.engine.compiled.window import Window
from chatsim.engine.luck import PUBLISH, RECEIVE, STORE, Luck
from chatsim.engine.rooms import Rooms
from chatsim.rules.access import OPEN, POLICY_NUMBERS
from chatsim.scenario import Scenario
from chatsim.scenario.models import StationCosts
from chatsim.world.contacts import FriendLists
from chatsim.world.draws import Purpose, exponential
from chatsim.world.shelf import column, put_back
from chatsim.world.tables import World

SLICE = 1 << 18
"""Messages that are written before the run comes to them, where not all are."""
MESSAGES_AT_ONCE = 1 << 12
"""Messages of which one column after the other is written: what they take stays in the cache of a core meanwhile."""


class Feed:
    """Writes the tables that hold the trace, in the order of time: all at once; or slice by slice, so that ``ahead``
    rows are there before the run comes to them, and then it gives back what is done."""

    def __init__(
        self, scenario: Scenario, world: World, rooms: Rooms, lists: FriendLists | None, ahead: int = 0
    ) -> None:
        self._scenario, self._world, self._rooms, self._lists = scenario, world, rooms, lists
        self._luck, self._slice = Luck(scenario, world), SLICE if ahead else max(1, len(world.messages))
        standing = standing_sessions(world)
        is_open = POLICY_NUMBERS[scenario.access.policy] == OPEN
        self._kinds = (E_LOGIN, NONE if is_open else E_TIE_ENDS, E_MESSAGE, E_INTRUDES)
        starts_s, ends = world.sessions.start_s[standing:], world.endings.time_s
        self._times_s = (starts_s, ends, world.messages.time_s, world.intrusions.time_s)
        self._numbers, self._ahead = [standing, 0, 0, 0], ahead or sum(map(len, self._times_s))
        self._begun = [0, 0, 0, 0]
        self._pairs = 0
        self.row = 0
        rows = {
            "messages": len(world.messages),
            "trace": sum(map(len, self._times_s)),
            "early": rooms.pairs if scenario.design.offline != "drop" else 0,
        }
        self._windows = {name: Window(count, FIXED[name]) for name, count in rows.items() if ahead and count}
        self.tables: dict[str, npt.NDArray[Any]] = {
            name: self._windows[name].table if name in self._windows else np.zeros(count, FIXED[name])
            for name, count in rows.items()
        }
        self.tables["letters"] = column(len(world.messages), FIXED["letters"])

    def write(self, time_s: float) -> None:
        """Writes what a run that has come to ``time_s`` may come to next. Modifies the tables."""
        rows = self._until(time_s) + self._ahead + 1
        while self.row < min(rows, len(self.tables["trace"])):
            self._write_slice()

    def _until(self, time_s: float) -> int:
        """How many rows of the trace have begun at a time, at most."""
        return sum(int(np.searchsorted(times_s, time_s, side="right")) for times_s in self._times_s)

    def give_back(self, message: int, time_s: float) -> None:
        """What is before a message, and what began before a time, is not looked at any more. Modifies the tables."""
        if not self._windows or not message:
            return
        pairs = int(self.tables["messages"]["offset"][message]) if message < len(self.tables["messages"]) else 0
        # The row of the trace that is to begin next stands in an event already, and the one before may be beginning.
        ends = {"messages": message, "early": pairs, "trace": self._until(time_s) - self._slice}
        for name, window in self._windows.items():
            window.give_back(ends[name])
        trace = self._world.messages
        put_back(trace.time_s, trace.sender, trace.session, trace.room, trace.size_bytes)

    def _write_slice(self) -> None:
        """The next messages, and all that begins until the last of them."""
        messages_s = self._times_s[2]
        last = self._begun[2] + self._slice - 1
        until_s = float(messages_s[last]) if last < len(messages_s) - 1 else np.inf
        ends = [int(np.searchsorted(times_s, until_s, side="right")) for times_s in self._times_s]
        for first in range(self._begun[2], ends[2], MESSAGES_AT_ONCE):
            self._write_messages(first, min(first + MESSAGES_AT_ONCE, ends[2]))
        parts = [slice(begun, end) for begun, end in zip(self._begun, ends, strict=True)]
        count = [part.stop - part.start for part in parts]
        times_s = np.concatenate([times_s[part] for times_s, part in zip(self._times_s, parts, strict=True)])
        numbers = [np.arange(part.start, part.stop) + first for part, first in zip(parts, self._numbers, strict=True)]
        order = np.argsort(times_s, kind="stable")
        rows = self.tables["trace"][self.row : self.row + len(order)]
        rows["kind"], rows["number"] = np.repeat(self._kinds, count)[order], np.concatenate(numbers)[order]
        rows["time_s"] = times_s[order]
        self.row, self._begun = self.row + len(order), ends

    def _write_messages(self, first: int, end: int) -> None:
        """The messages from ``first`` to ``end``, with the luck of their packets on the way up, and of their items."""
        trace, scenario, luck, mine = self._world.messages, self._scenario, self._luck, slice(first, end)
        self.tables["letters"]["size_bytes"][mine] = trace.size_bytes[mine]
        start, room = self._world.rooms.start, trace.room[mine]
        sizes = start[room + 1] - start[room]
        given: dict[str, npt.NDArray[Any]] = {
            **{name: getattr(trace, name)[mine] for name in ("sender", "session", "size_bytes", "time_s")},
            "room": self._rooms.all_rooms(first, end), "meant": room, "partner": self._rooms.partners(first, end),
            "uplink": luck.uplinks(first, end), "offset": self._pairs + np.cumsum(sizes) - sizes,
        }  # fmt: skip
        if self._lists is not None:
            given["opening"] = self._lists.opening[mine]
        self._pairs += int(sizes.sum())
        in_database = scenario.design.store_in == "database"
        store: StationCosts = scenario.database if in_database else scenario.broker
        for name, costs, purpose in (
            ("receive_luck", scenario.gateway, RECEIVE), ("publish_luck", scenario.broker, PUBLISH),
            ("store_luck", store, STORE),
        ):  # fmt: skip
            if costs.service == "exponential":
                given[name] = service_luck(self._world, costs, purpose, first, end)
        fill(self.tables["messages"][mine], given)


def fill(table: Any, given: dict[str, npt.NDArray[Any]]) -> None:
    """Writes messages, with what is ``given`` of each."""
    blank = np.zeros(1, FIXED["messages"])
    blank["gateway"], blank["fate"] = NONE, IN_FLIGHT
    for name in ("received_s", "stored_s", "routed_s", "told_s", "acked_s", "done_s"):
        blank[name] = NEVER
    for name in ("receive_luck", "publish_luck", "store_luck"):
        blank[name] = 1.0
    # numpy copies records field by field, and bytes as they are.
    table.view(np.uint8).reshape(-1, table.itemsize)[:] = blank.view(np.uint8)
    for name, values in given.items():
        table[name] = values


def service_luck(world: World, costs: StationCosts, purpose: int, first: int, end: int) -> npt.NDArray[np.float64]:
    """The luck of the items of the messages, or sessions, from ``first`` to ``end`` at a tier."""
    if costs.service != "exponential":
        return np.ones(end - first)
    return exponential(world.seed, world.replication, Purpose.SERVICE, np.arange(first, end), purpose)


def standing_sessions(world: World) -> int:
    """Sessions that began before the run."""
    return int(np.searchsorted(world.sessions.start_s, 0.0, side="right"))
