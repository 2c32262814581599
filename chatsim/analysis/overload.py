"""Whether a run was overloaded: whether work came in faster than it was done.

Utilisation does not tell: a station that works in ticks is busy 99 % of the time far below its capacity. What tells is
the wait of the items: under overload it grows with time, by 1 - 1/rho seconds per second. So each station is tested
for drift: the wait is read at the ends of 20 equal blocks, and its mean increase per block is compared with the
standard error of that mean (Student t). The wait of a stable station wanders but comes back, which keeps its
t small; that of an overloaded one grows in nearly every block.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from chatsim.analysis.columns import Floats, floats, longs
from chatsim.engine.outcome import Columns, Fate, Outcome

BLOCKS = 20
T_LEAST = 3.0            # see the false alarm rates at overload()
WAIT_SHARE = 0.01        # a drift matters where the wait at the end is at least this share of the run
LONG_SHARE = 0.1         # a wait as long as this is overload however it came about
ITEMS_LEAST = 1000       # with fewer items, long waits may be the luck of a few
LATE_SHARE = 0.05        # so many deliveries that took a LONG_SHARE of the run, and at least
LATE_S = 1.0             # so long, which the network alone does not explain


@dataclass(frozen=True, slots=True)
class Overload:
    """Whether the run was overloaded, why in one sentence, and the stations whose backlog grew (worst first)."""

    overloaded: bool
    sentence: str
    stations: tuple[str, ...] = ()


def overload(outcome: Outcome) -> Overload:
    """Says whether the system fell behind its offered load, and for which reasons.

    The run is judged up to its last message, as a load test ends with a silence in which a backlog would vanish.
    Overloaded means at least one of: a station's queue keeps growing (see the module); items at the end wait more than
    10 % of the run; more than 5 % of deliveries took, or were still under way after, more than 10 % of the run and 1 s.

    The first two are asked of stations to which at least 1000 items came. Of simulated M/M/1 stations these were called
    overloaded: at rho = 0.9, 0 of 30,000 runs of 1200 or 5000 items; at 0.95, 3 of 10,000 of 1200; at 1.0, which has no
    steady state, 1 to 2 of 100; at 1.2, 98 of 100 of 1200, and all of 2000 runs of 3000.
    """
    until_s = offered_until_s(outcome)
    ticks = outcome.ticks
    waits = final_waits({**ticks, "came": ticks["items"]}, outcome.stations, until_s)
    return judged(waits, late(outcome, limit_s(until_s)), until_s)


def judged(waits: dict[str, tuple[float, bool]], of_live: tuple[int, int], until_s: float) -> Overload:
    """The judgement on a run whose stations had these ``waits`` at the end (:func:`final_waits`), and of whose live
    deliveries (the second number of ``of_live``) so many came too late."""
    growing = sorted((name for name, (_, grows) in waits.items() if grows), key=lambda name: -waits[name][0])
    reasons = []
    if growing:
        worst = growing[0]
        others = f" (and {len(growing) - 1} more)" if len(growing) > 1 else ""
        share = 100 * waits[worst][0] / until_s
        reasons.append(
            f"the queue of {worst}{others} kept growing: at the end items waited {_time(waits[worst][0])}, "
            f"{share:.2g} % of the run"
        )
    late_share = of_live[0] / of_live[1] if of_live[1] else 0.0
    if late_share > LATE_SHARE:
        reasons.append(f"{100 * late_share:.3g} % of deliveries took longer than {_time(limit_s(until_s))}")
    if reasons:
        return Overload(True, f"overloaded: {'; '.join(reasons)}", tuple(growing))
    detail = "nothing waited at the end"
    wait_s, name = max(((wait_s, name) for name, (wait_s, _) in waits.items()), default=(0.0, ""))
    if wait_s > 0:
        detail = f"the longest wait at the end was {_time(wait_s)}, at {name}"
    return Overload(False, f"not overloaded: no queue kept growing; {detail}")


def limit_s(until_s: float) -> float:
    """How long a delivery may take that does not come too late."""
    return max(LONG_SHARE * until_s, LATE_S)


def offered_until_s(outcome: Outcome) -> float:
    """Until when load was offered: the last message, or the whole run where there is none."""
    written_s = floats(outcome.messages, "time_s")
    last_s = float(written_s[-1]) if len(written_s) else 0.0
    return last_s if last_s > 0 else outcome.world.duration_s


def wait_grows(start_s: Floats, wait_s: Floats, items: int, until_s: float) -> bool:
    """Whether a station's wait grew through its run: ticks in order of start, the mean wait of each tick's items.

    ``items`` is how many came.

    >>> steady = np.linspace(0.0, 100.0, 1000)
    >>> wait_grows(steady, 0.2 * steady, 1000, 100.0)
    True
    >>> wait_grows(steady, 0.5 + 0.0 * steady, 1000, 100.0)
    False
    """
    if items < ITEMS_LEAST:
        return False
    final_s = wait_s[-1]
    if final_s >= LONG_SHARE * until_s:
        return True
    edges_s = np.linspace(start_s[0], start_s[-1], BLOCKS + 1)
    increase_s = np.diff(np.interp(edges_s, start_s, wait_s))
    error_s = increase_s.std(ddof=1) / math.sqrt(BLOCKS)
    return bool(final_s >= WAIT_SHARE * until_s and increase_s.mean() > T_LEAST * error_s)


def final_waits(ticks: Columns, stations: tuple[str, ...], until_s: float) -> dict[str, tuple[float, bool]]:
    """Per station with ticks in the offered period: the wait at its end, and whether it grew.

    ``ticks`` are those of an outcome, all or some of them, with ``came``: the items that a tick stands for, its own and
    those of ticks left out before it.
    """
    station, start_s, end_s = longs(ticks, "station"), floats(ticks, "start_s"), floats(ticks, "end_s")
    came, waiting = floats(ticks, "came"), floats(ticks, "waiting")
    wait_s = floats(ticks, "waited_s") / np.maximum(floats(ticks, "items"), 1)
    order = np.lexsort((start_s, station))
    order = order[start_s[order] < until_s]
    bounds = np.searchsorted(station[order], np.arange(len(stations) + 1))
    found = {}
    for number, name in enumerate(stations):
        rows = order[bounds[number]: bounds[number + 1]]
        if not len(rows):
            continue
        last = rows[np.argmax(end_s[rows])]
        moment_s, then_s = _last_wait(float(start_s[last]), float(end_s[last]), float(wait_s[rows[-1]]), until_s)
        at_s, waits_s = np.append(start_s[rows], moment_s), np.append(wait_s[rows], then_s)
        found[name] = (then_s, wait_grows(at_s, waits_s, int(came[rows].sum() + waiting[rows[-1]]), until_s))
    return found


def _last_wait(start_s: float, end_s: float, wait_s: float, until_s: float) -> tuple[float, float]:
    """What an item waits at the end of the offered period, and when, given the tick that ended last.

    If it ended before, the station had nothing left to do and a backlog is gone. If it still went on, those who came
    during it wait for its end, half of it in the mean: a station far beyond its capacity ends in one huge tick.
    """
    if end_s < until_s:
        return until_s, 0.0
    return end_s, max(wait_s, (end_s - start_s) / 2)


def late(outcome: Outcome, limit_s: float) -> tuple[int, int]:
    """How many live deliveries, done or under way, took longer than a limit, and how many there are."""
    table = outcome.deliveries
    fate = table["fate"]
    live = np.flatnonzero((fate == Fate.DELIVERED) | (fate == Fate.IN_FLIGHT))
    written_s = floats(outcome.messages, "time_s")[table["message"][live]]
    arrived_s = np.where(fate[live] == Fate.DELIVERED, floats(table, "time_s")[live], outcome.end_s)
    return int((arrived_s - written_s > limit_s).sum()), len(live)


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
