"""Gateways come and go with the load: one more where they are busy, one less where they are idle."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from simpy.events import Event

from chatsim.engine.outcome import FaultKind
from chatsim.rules.scaling import DOWN, STAY, UP, decide

if TYPE_CHECKING:
    from chatsim.engine.faults import Faults
    from chatsim.engine.journey import Journey

Story = Generator[Event, Any, None]


def scale(journey: Journey, faults: Faults) -> None:
    """The gateways beyond the first few are not in service when the run starts; the rule is looked at from then on."""
    rows: dict[int, int] = {}
    for number in range(journey.scenario.scaling.start, len(journey.gateways)):
        rows[number] = faults.note(-1, FaultKind.SCALING, number)
        faults.gateway_dies(number, planned=True)
    journey.clock.story(_looks(journey, faults, rows))


def _looks(journey: Journey, faults: Faults, rows: dict[int, int]) -> Story:
    """Every ``check_s``: how busy were the gateways in service since? One change is made at a time."""
    asked, clock = journey.scenario.scaling, journey.clock
    changing: list[int] = []
    busy_s = [gateway.busy_s for gateway in journey.gateways]
    while True:
        yield clock.until(clock.now + asked.check_s)
        serving = [gateway for gateway in journey.gateways if gateway.up and gateway.number not in faults.draining]
        spent_s = 0.0
        for gateway in serving:  # no sum(): from Python 3.12 on that is another float
            spent_s += gateway.busy_s - busy_s[gateway.number]
        busy_s = [gateway.busy_s for gateway in journey.gateways]
        cores = journey.scenario.gateway.cores * len(serving)
        utilisation = spent_s / (asked.check_s * cores) if serving else 1.0
        choice = decide(utilisation, asked.up_above, asked.down_below)
        if changing or choice == STAY:
            continue
        if choice == UP and rows:
            changing.append(min(rows))
            clock.story(_comes(journey, faults, rows, changing))
        elif choice == DOWN and len(serving) > asked.least:
            changing.append(serving[-1].number)
            clock.story(_goes(journey, faults, rows, changing))


def _comes(journey: Journey, faults: Faults, rows: dict[int, int], changing: list[int]) -> Story:
    number = changing[0]
    yield journey.clock.until(journey.clock.now + journey.scenario.scaling.delay_s)
    journey.notes.faults["end_s"][rows.pop(number)] = journey.clock.now
    faults.gateway_returns(number)
    changing.clear()


def _goes(journey: Journey, faults: Faults, rows: dict[int, int], changing: list[int]) -> Story:
    number, grace_s = changing[0], journey.scenario.scaling.grace_s
    rows[number] = faults.note(-1, FaultKind.SCALING, number)
    journey.clock.story(faults.empty(number, grace_s))
    yield journey.clock.until(journey.clock.now + grace_s)
    faults.draining.discard(number)
    faults.gateway_dies(number, planned=True)
    changing.clear()
