"""What the ticks of stations add up to: in all, in bins of time, and what of them tells how queues grew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from chatsim.analysis.columns import Floats, Longs
from chatsim.engine.loops import fixed, loop_of, run_loop
from chatsim.engine.outcome import Columns, Outcome

Ints = npt.NDArray[np.int32]


class TickSums(NamedTuple):
    """What the ticks of each station add up to, over [0, duration_s] or, as ``all_``, over the whole run. The sums of
    parts of a run, added, are those of the run."""

    busy_s: Floats
    ticks: Longs
    items: Floats
    waited_s: Floats
    largest: Floats
    longest_s: Floats
    all_busy_s: Floats
    all_items: Floats

    def plus(self, other: TickSums) -> TickSums:
        """Of both."""
        parts = {name: getattr(self, name) + getattr(other, name) for name in self._fields}
        most = {name: np.maximum(getattr(self, name), getattr(other, name)) for name in ("largest", "longest_s")}
        return TickSums(**{**parts, **most})


@dataclass(frozen=True, slots=True)
class StationBins:
    """What the ticks of each station come to in bins of time, arrays of stations x bins. Those of parts of a run,
    added, are those of the run."""

    busy_s: Floats
    queued_s: Floats
    largest: Floats

    def __add__(self, other: StationBins) -> StationBins:
        largest = np.maximum(self.largest, other.largest)
        return StationBins(self.busy_s + other.busy_s, self.queued_s + other.queued_s, largest)


class Ticks(NamedTuple):
    """Columns of ticks."""

    station: Ints
    start_s: Floats
    end_s: Floats
    items: Ints
    waiting: Ints
    waited_s: Floats


class Spread(NamedTuple):
    """What falls in each bin, station x bin, of what begins or ends there; and how much goes on through all of it, as
    changes from one bin to the next."""

    ends: Floats
    through: Floats


class Bins(NamedTuple):
    """Busy time, and items x time that they waited, and the largest queue before a tick that begins in each bin; last,
    room for the rows of ticks that concern several bins."""

    busy: Spread
    queued: Spread
    largest: Floats
    rows: Longs


def tick_sums(outcome: Outcome, duration_s: float) -> TickSums:
    """What the ticks of an outcome add up to, an entry per station."""
    return tick_figures(outcome, duration_s, np.empty(0))[0]


def station_bins(outcome: Outcome, edges_s: Floats) -> StationBins:
    """What the ticks of an outcome come to between ``edges_s``."""
    return tick_figures(outcome, edges_s[-1], edges_s)[1]


def tick_figures(outcome: Outcome, duration_s: float, edges_s: Floats) -> tuple[TickSums, StationBins]:
    """Both at once; without edges there are no bins."""
    stations, bins = len(outcome.stations), max(len(edges_s) - 1, 0)
    empty, ticks = np.zeros((7, stations)), _ticks(outcome.ticks)
    sums = TickSums(empty[0], np.zeros(stations, np.int64), *empty[1:7])
    cells = np.zeros((5, stations * bins))
    rows = np.empty(len(ticks.station), np.int64)
    found = Bins(Spread(cells[0], cells[1]), Spread(cells[2], cells[3]), cells[4], rows)
    run_loop(ADD_UP, len(ticks.station), ticks, float(duration_s), fixed(edges_s, np.float64), sums, found)
    busy_s, queued_s = (
        spread.ends.reshape(stations, bins)
        + np.cumsum(spread.through.reshape(stations, bins), axis=1) * np.diff(edges_s)
        for spread in (found.busy, found.queued)
    )
    return sums, StationBins(busy_s, queued_s, found.largest.reshape(stations, bins))


def _ticks(table: Columns) -> Ticks:
    return Ticks(
        fixed(table["station"], np.int32), fixed(table["start_s"], np.float64), fixed(table["end_s"], np.float64),
        fixed(table["items"], np.int32), fixed(table["waiting"], np.int32), fixed(table["waited_s"], np.float64),
    )  # fmt: skip


def _add_up(ticks: Ticks, duration_s: float, edges_s: Floats, sums: TickSums, bins: Bins) -> int:
    """The loop of :func:`tick_figures`."""
    for row in range(len(ticks.station)):
        _add(ticks, row, duration_s, sums)
    if not len(edges_s):
        return 0
    at = more = 0
    for row in range(len(ticks.station)):
        at = _bin_of(edges_s, ticks.start_s[row], at)
        cell = ticks.station[row] * (len(edges_s) - 1) + at
        if 0 <= ticks.start_s[row] < edges_s[len(edges_s) - 1]:
            bins.largest[cell] = max(bins.largest[cell], ticks.items[row] + ticks.waiting[row])
        if _place(ticks, row, edges_s, at, bins, False):
            bins.rows[more] = row
            more += 1
    for number in range(more):
        at = _bin_of(edges_s, ticks.start_s[bins.rows[number]], at)
        _place(ticks, bins.rows[number], edges_s, at, bins, True)
    return 0


def _place(ticks: Ticks, row: int, edges_s: Floats, at: int, bins: Bins, last: bool) -> bool:
    """Spreads a tick that begins in the bin ``at``, and the wait for it; whether one goes on beyond its first bin."""
    start_s, items, cell = ticks.start_s[row], float(ticks.items[row]), ticks.station[row] * (len(edges_s) - 1)
    wait_s = ticks.waited_s[row] / items if items else 0.0
    is_long = _spread(bins.busy, cell, edges_s, at, start_s, ticks.end_s[row], 1.0, last)
    return _spread(bins.queued, cell, edges_s, at, start_s - wait_s, start_s, items, last) or is_long


def _add(ticks: Ticks, row: int, duration_s: float, sums: TickSums) -> None:
    """Adds a tick to the sums of its station."""
    station, start_s, end_s = ticks.station[row], ticks.start_s[row], ticks.end_s[row]
    items, waited_s = ticks.items[row], ticks.waited_s[row]
    sums.busy_s[station] += max(min(end_s, duration_s) - max(start_s, 0.0), 0.0)
    sums.all_busy_s[station] += end_s - start_s
    sums.all_items[station] += items
    if 0 <= start_s < duration_s:
        stay_s = (waited_s / items if items else 0.0) + end_s - start_s
        sums.ticks[station] += 1
        sums.items[station] += items
        sums.waited_s[station] += waited_s
        sums.largest[station] = max(sums.largest[station], items + ticks.waiting[row])
        sums.longest_s[station] = max(sums.longest_s[station], stay_s)


def _bin_of(edges_s: Floats, time_s: float, at: int) -> int:
    """The bin of a time, near to that of another; what is before the first, or after the last, is in that."""
    while at > 0 and time_s < edges_s[at]:
        at -= 1
    while at < len(edges_s) - 2 and time_s >= edges_s[at + 1]:
        at += 1
    return at


def _spread(
    bins: Spread, cell: int, edges_s: Floats, at: int, start_s: float, end_s: float, height: float, last: bool
) -> bool:
    """Adds what lasted from start to end, exactly, to the bins of a station, which begin at a cell: to the first one,
    or to the ``last`` where that is another; whether it is. The first is near ``at``."""
    final_edge_s = edges_s[len(edges_s) - 1]
    start_s, end_s = min(max(start_s, edges_s[0]), final_edge_s), min(max(end_s, edges_s[0]), final_edge_s)
    first = _bin_of(edges_s, start_s, at)
    final = first
    while final < len(edges_s) - 2 and end_s > edges_s[final + 1]:
        final += 1
    if first == final:
        bins.ends[cell + first] += 0.0 if last else height * (end_s - start_s)
    elif last:
        bins.ends[cell + final] += height * (end_s - edges_s[final])
    else:
        bins.ends[cell + first] += height * (edges_s[first + 1] - start_s)
        bins.through[cell + first + 1] += height
        bins.through[cell + final] -= height
    return final > first


ADD_UP = loop_of(_add_up, _add, _bin_of, _place, _spread)


class Thin(NamedTuple):
    """Of each station x bin the first and the last tick, or -1, and when the latest one ended; of each station the
    items that came since the last tick that is kept; of each tick that is kept the items that it stands for, or -1."""

    first: Longs
    last: Longs
    latest_s: Floats
    since: Floats
    came: Floats


def thinned(outcome: Outcome, until_s: float, bins: int) -> Columns:
    """The first tick, the last one, and what ends last of each station in each of so many bins of time, with ``came``:
    the items of each and of those left out before it. Ticks come in the order in which they began."""
    table, cells = outcome.ticks, len(outcome.stations) * bins
    thin = Thin(
        np.full(cells, -1, np.int64), np.full(cells, -1, np.int64), np.full(cells, -np.inf),
        np.zeros(len(outcome.stations)), np.full(len(table["station"]), -1.0),
    )  # fmt: skip
    run_loop(THIN, len(thin.came), _ticks(table), until_s, bins, thin)
    kept = np.flatnonzero(thin.came >= 0)
    kept = kept[np.argsort(table["station"][kept], kind="stable")]
    return {**{name: column[kept] for name, column in table.items()}, "came": thin.came[kept]}


def _thin(ticks: Ticks, until_s: float, bins: int, thin: Thin) -> int:
    """The loop of :func:`thinned`."""
    for row in range(len(ticks.station)):
        if ticks.start_s[row] < until_s:
            cell = ticks.station[row] * bins + min(max(int(ticks.start_s[row] / until_s * bins), 0), bins - 1)
            if thin.first[cell] < 0:
                thin.first[cell] = row
            thin.last[cell] = row
            thin.latest_s[cell] = max(thin.latest_s[cell], ticks.end_s[row])
    for row in range(len(ticks.station)):
        if ticks.start_s[row] < until_s:
            station = ticks.station[row]
            cell = station * bins + min(max(int(ticks.start_s[row] / until_s * bins), 0), bins - 1)
            thin.since[station] += ticks.items[row]
            if row == thin.first[cell] or row == thin.last[cell] or ticks.end_s[row] == thin.latest_s[cell]:
                thin.came[row] = thin.since[station]
                thin.since[station] = 0.0
    return 0


THIN = loop_of(_thin)
