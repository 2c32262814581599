"""When what breaks in a compiled run: known before it, with what several faults at once come to."""

from __future__ import annotations

import heapq
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from chatsim.engine.compiled.kinds import F_LINK, F_SLOW, F_SLOW_CLIENTS
from chatsim.engine.compiled.state import FIXED, LONG, REAL
from chatsim.engine.faults import KINDS
from chatsim.engine.lines import LINK_NUMBERS
from chatsim.engine.luck import Luck
from chatsim.scenario import Scenario
from chatsim.scenario.faults import BrokerDown, Drain, GatewayCrash, Link, Slow, SlowClients
from chatsim.world.draws import Purpose, uniform
from chatsim.world.strikes import Strike, strikes_of
from chatsim.world.tables import World

Tables = dict[str, npt.NDArray[Any]]
Pair = tuple[float, float]


class Together:
    """What the faults that last at one time come to: how slow stations are, what is added to links, who is slow."""

    def __init__(self, scenario: Scenario) -> None:
        self.faults = scenario.faults
        self.slowing: dict[int, list[float]] = {}
        self.added: dict[int, list[float]] = {}
        self.losses: dict[int, list[Pair]] = {}
        self.clients: list[Pair] = []
        self.shares: list[Pair] = []

    def change(self, number: int, station: int, begins: bool) -> tuple[float, int, int]:
        """A fault begins or ends: the value that counts from now on, and the rows of shares that do."""
        fault = self.faults[number]
        if isinstance(fault, Slow):
            factors = _changed(self.slowing.setdefault(station, []), fault.factor, begins)
            return math.prod(factors), 0, 0
        if isinstance(fault, SlowClients):
            return 0.0, *self._listed(_changed(self.clients, (fault.share, fault.bytes_per_s), begins))
        assert isinstance(fault, Link)
        link = LINK_NUMBERS[fault.link]
        added = _changed(self.added.setdefault(link, []), fault.added_ms * 1e-3, begins)
        losses = self.losses.setdefault(link, [])
        if fault.loss:
            _changed(losses, (fault.loss, fault.resend_ms * 1e-3), begins)
        return float(sum(added)), *self._listed(losses)

    def _listed(self, pairs: list[Pair]) -> tuple[int, int]:
        self.shares += pairs
        return len(self.shares) - len(pairs), len(pairs)


def _changed(values: list[Any], value: Any, begins: bool) -> list[Any]:
    if begins:
        values.append(value)
    else:
        values.remove(value)
    return values


def tables_of_faults(scenario: Scenario, world: World, luck: Luck) -> Tables:
    """Each strike at each of its stations, in the order in which they are set to their times."""
    end_s = world.duration_s + scenario.workload.drain_s
    struck: list[int] = []
    parts: list[tuple[Strike, int]] = []
    for strike in strikes_of(scenario, world.replication, end_s):
        planned = isinstance(scenario.faults[strike.fault], Drain)
        parts += [(strike, station) for station in ((-1,) if planned else strike.stations)]
    rows = np.zeros(len(parts), FIXED["strikes"])
    for row, (strike, station) in zip(rows, parts, strict=True):
        fault = scenario.faults[strike.fault]
        row["fault"], row["kind"], row["station"] = strike.fault, KINDS[fault.kind], station
        row["start_s"], row["end_s"] = strike.start_s, strike.end_s
        if isinstance(fault, Drain):
            row["first"], row["count"], row["batch"] = len(struck), len(strike.stations), fault.batch
            row["grace_s"], row["for_s"], row["pause_s"] = fault.grace_s, fault.for_s, fault.pause_s
            struck += strike.stations
        elif isinstance(fault, Link):
            row["flag"] = LINK_NUMBERS[fault.link]
        elif isinstance(fault, GatewayCrash):
            row["flag"] = fault.noticed == "silence"
        elif isinstance(fault, BrokerDown):
            row["flag"] = fault.keeps_data
    pairs = _together(scenario, rows)
    shares = np.zeros(max(1, len(pairs)), FIXED["shares"])
    for share, pair in zip(shares, pairs, strict=False):
        share["share"], share["value"] = pair
    orderly = any(isinstance(fault, Link) for fault in scenario.faults)
    slow = any(isinstance(fault, SlowClients) for fault in scenario.faults)
    users = np.arange(world.users if slow else 0)
    return {
        "strikes": rows,
        "struck": np.array(struck, LONG),
        "shares": shares,
        "extras": np.zeros(len(LINK_NUMBERS), FIXED["extras"]),
        "arrives_s": np.zeros(len(scenario.stations) ** 2 if orderly else 0, REAL),
        "slow_draw": uniform(world.seed, world.replication, Purpose.SLOW_USER, users, 0),
    }


def _together(scenario: Scenario, rows: npt.NDArray[Any]) -> list[Pair]:
    """Writes into the strikes what counts when each has begun, and when it is over; what shares these are made of."""
    together = Together(scenario)
    kinds = (F_SLOW, F_LINK, F_SLOW_CLIENTS)
    queue = [(float(row["start_s"]), place, place, True) for place, row in enumerate(rows) if row["kind"] in kinds]
    heapq.heapify(queue)
    number = len(rows)
    while queue:
        _, _, place, begins = heapq.heappop(queue)
        row = rows[place]
        found = together.change(int(row["fault"]), int(row["station"]), begins)
        for name, value in zip(("value", "first", "count"), found, strict=True):
            row[name if begins else f"{name}_after"] = value
        if begins and row["end_s"] < math.inf:
            heapq.heappush(queue, (float(row["end_s"]), number, place, False))
            number += 1
    return together.shares
