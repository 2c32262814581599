"""When faults strike which stations, and until when: as planned, or at random."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from chatsim.scenario import Scenario
from chatsim.scenario.faults import OfStations
from chatsim.world.draws import Purpose, exponential


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault (its number in the scenario) strikes stations (-1: none in particular) from ``start_s`` to ``end_s``."""

    fault: int
    stations: tuple[int, ...]
    start_s: float
    end_s: float


def strikes_of(scenario: Scenario, replication: int, end_s: float) -> list[Strike]:
    """All strikes that begin before ``end_s``, in the order of time; at one time in the order of the scenario.

    A fault with a mean time between failures strikes each of its stations on its own, or all together: after an
    exponential time from ``at_s``, or from the last repair, on.

    >>> scenario = Scenario.model_validate({"faults": [{"kind": "broker_down", "at_s": 5.0, "for_s": 2.0}]})
    >>> strikes_of(scenario, 0, 60.0)
    [Strike(fault=0, stations=(4,), start_s=5.0, end_s=7.0)]
    """
    found: list[Strike] = []
    for number, fault in enumerate(scenario.faults):
        stations = tuple(scenario.struck_by(fault))
        if not stations:
            continue
        if not fault.mtbf_s:
            found.append(Strike(number, stations, fault.at_s, fault.at_s + fault.for_s if fault.for_s else math.inf))
            continue
        together = isinstance(fault, OfStations) and fault.together
        for struck in [stations] if together else [(station,) for station in stations]:
            again = _at_random(scenario, replication, number, struck[0], end_s)
            found += [Strike(number, struck, start_s, until_s) for start_s, until_s in again]
    return sorted((strike for strike in found if strike.start_s < end_s), key=lambda strike: strike.start_s)


def _at_random(
    scenario: Scenario, replication: int, number: int, station: int, end_s: float
) -> list[tuple[float, float]]:
    fault = scenario.faults[number]
    entity = number * len(scenario.stations) + station + 1
    spans: list[tuple[float, float]] = []
    time_s, place = fault.at_s, 0
    while True:
        gap, repair = (
            float(exponential(scenario.seed, replication, purpose, entity, np.array([place]))[0])
            for purpose in (Purpose.FAULT_GAP, Purpose.FAULT_REPAIR)
        )
        start_s = time_s + fault.mtbf_s * gap
        if start_s >= end_s:
            return spans
        time_s = start_s + (fault.mttr_s * repair if fault.mttr_s else fault.for_s)
        spans.append((start_s, time_s))
        place += 1
