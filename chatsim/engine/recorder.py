"""What an observer of the stations writes down: each turn of each item, of one message or of a window of time.

A run without a recorder notes nothing of this, and pays one comparison per item.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from chatsim.engine.notes import NEVER, Rows
from chatsim.engine.outcome import Columns
from chatsim.engine.station import US, Job, Station

if TYPE_CHECKING:
    from chatsim.engine.journey import Journey


class Recorder:
    """Notes the items of ``message`` (one or several; -1: none), and all worked on from ``from_s`` to ``to_s``.

    >>> from chatsim.engine import Work, simulate
    >>> from chatsim.scenario import load_scenario
    >>> from chatsim.world import build_world
    >>> scenario = load_scenario("room-channel", ["workload.users=100", "workload.duration_s=600"])
    >>> recorder = Recorder(message=0)
    >>> _ = simulate(scenario, build_world(scenario), recorder=recorder)
    >>> Work(recorder.table()["work"][0]).name
    'RECEIVE'
    """

    def __init__(
        self, message: int | Collection[int] = -1, from_s: float = math.inf, to_s: float = -math.inf
    ) -> None:
        self.messages = frozenset((message,) if isinstance(message, int) else message) - {-1}
        self.from_s, self.to_s = from_s, to_s
        self.visits = Rows(
            message="i",
            recipient="i",
            work="b",
            station="i",
            source="i",
            departed_s="d",
            arrived_s="d",
            start_s="d",
            turn_s="d",
            cost_s="d",
            left_s="d",
            tick="i",
        )
        self.under_way: dict[Job, tuple[int, int, float]] = {}
        self.in_work: dict[Job, int] = {}
        self.sent_off_s: dict[int, float] = {}

    def watch(self, journey: Journey) -> None:
        """From now on the stations of a journey tell this recorder."""
        for station in (*journey.gateways, *journey.nodes, journey.database):
            station.observer = self
        self.row_message = journey.notes.row_message
        journey.outbound.observer = self.sent_off

    def sent(self, station: Station, place: Station, jobs: list[Job]) -> None:
        """Items leave a station for another."""
        now_s = station.clock.now
        for job in jobs:
            if now_s <= self.to_s or self._is_followed(job):
                self.under_way[job] = (station.number, place.number, now_s)

    def turn(self, station: Station, job: Job, start_s: float, at_s: float, cost_us: float) -> None:
        """In a tick that began at ``start_s`` a worker turns to an item at ``at_s``."""
        source, _, departed_s = self.under_way.pop(job, (-1, -1, NEVER))
        cost_s = cost_us * US
        if self._is_followed(job) or (start_s <= self.to_s and at_s + cost_s >= self.from_s):
            recipient = getattr(job, "recipient", -1)
            about, times = (job.message, recipient, job.work), (job.arrived_s, start_s, at_s, cost_s, NEVER)
            tick = len(station.notes.station)  # it is noted when its batch is complete
            self.in_work[job] = self.visits.add(*about, station.number, source, departed_s, *times, tick)

    def left(self, station: Station, job: Job) -> None:
        """An item leaves: what it has done takes effect."""
        row = self.in_work.pop(job, None)
        if row is not None:
            self.visits["left_s"][row] = station.clock.now

    def sent_off(self, rows: Sequence[int], sent_s: float) -> None:
        """The last byte of a packet left its session's outbound queue at ``sent_s``; it has arrived now.

        ``sent_off_s`` keeps that for the followed messages, by their rows in ``deliveries``.
        """
        for row in rows:
            if self.row_message[row] in self.messages:
                self.sent_off_s[row] = sent_s

    def table(self) -> Columns:
        """One row per item and station, in the order in which workers turned to them.

        message (-1: for none in particular), recipient (-1: all), work (:class:`~chatsim.engine.Work`), station;
        source, the station that sent it at departed_s (-1 and NaN: nothing travelled); arrived_s; start_s of the tick,
        turn_s of the item within it, cost_s of the item; left_s (NaN: never, its station died); tick, a row of
        ``ticks``. Last come items that nobody turned to, with NaN for those times and tick -1: lost on the way or in
        the queue, or the run ended.
        """
        for job, (source, station, departed_s) in self.under_way.items():
            if self._is_followed(job) or departed_s >= self.from_s:
                about = (job.message, getattr(job, "recipient", -1), job.work)
                times = (departed_s, getattr(job, "arrived_s", NEVER), NEVER, NEVER, NEVER, NEVER)
                self.visits.add(*about, station, source, *times, -1)
        self.under_way = {}
        return self.visits.table()

    def _is_followed(self, job: Job) -> bool:
        return job.message in self.messages
