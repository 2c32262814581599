"""What the ticks of stations add up to: in all, in bins of time, and what of them tells how queues grew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from chatsim.analysis.columns import Floats, Longs
from chatsim.engine.loops import fixed, loop_of, run_loop
from chatsim.engine.outcome import Columns, Outcome
from chatsim.engine.ticks import tick_rows


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


class Spread(NamedTuple):
    """What falls in each bin, station x bin, of what begins there, and of what ends there and began before; and how
    much goes on through all of it, as changes from one bin to the next."""

    begins: Floats
    ends: Floats
    through: Floats


class Bins(NamedTuple):
    """Busy time, and items x time that they waited, and the largest queue before a tick that begins in each bin."""

    busy: Spread
    queued: Spread
    largest: Floats


class Thin(NamedTuple):
    """Of each station x bin the first tick, the last one, and what ends last and when; the items that came to a station
    until each of these, and until now. Bins are numbered from ``least``."""

    row: Longs
    came: Floats
    latest_s: Floats
    until_now: Floats
    least: int
    bins: int


class TickFigures(NamedTuple):
    """What ticks come to: their sums, their bins, and those that tell how queues grew."""

    sums: TickSums
    bins: StationBins
    thinned: Columns


def tick_sums(outcome: Outcome, duration_s: float) -> TickSums:
    """What the ticks of an outcome add up to, an entry per station."""
    return tick_figures(outcome, duration_s, np.empty(0)).sums


def station_bins(outcome: Outcome, edges_s: Floats) -> StationBins:
    """What the ticks of an outcome come to between ``edges_s``."""
    return tick_figures(outcome, edges_s[-1], edges_s).bins


def tick_figures(
    outcome: Outcome, duration_s: float, edges_s: Floats, until_s: float = 0.0, thin_bins: int = 0
) -> TickFigures:
    """All at once; without edges there are no bins.

    Thinned ticks are the first one, the last one, and what ends last of each station in each of ``thin_bins`` bins of
    time until ``until_s``, with ``came``: the items of each and of those left out before it. Ticks come in the order in
    which they began.
    """
    stations, bins, ticks = len(outcome.stations), max(len(edges_s) - 1, 0), tick_rows(outcome.ticks)
    empty = np.zeros((7, stations))
    sums = TickSums(empty[0], np.zeros(stations, np.int64), *empty[1:7])
    cells = np.zeros((7, stations * bins))
    found = Bins(Spread(*cells[:3]), Spread(*cells[3:6]), cells[6])
    thin = _room_to_thin(ticks, stations, until_s, thin_bins)
    edges_s = fixed(edges_s, np.float64)
    run_loop(ADD_UP, len(ticks), ticks, float(duration_s), edges_s, float(until_s), sums, found, thin)
    busy_s, queued_s = (
        (spread.begins + spread.ends).reshape(stations, bins)
        + np.cumsum(spread.through.reshape(stations, bins), axis=1) * np.diff(edges_s)
        for spread in (found.busy, found.queued)
    )
    return TickFigures(
        sums, StationBins(busy_s, queued_s, found.largest.reshape(stations, bins)), _thinned(outcome.ticks, thin)
    )


def _room_to_thin(ticks: Any, stations: int, until_s: float, bins: int) -> Thin:
    """Room for ticks of those bins that any begins in."""
    least, most = 0, -1
    if bins and len(ticks):
        start_s = ticks["start_s"]
        least, most = (_thin_bin(float(at_s), until_s, bins) for at_s in (start_s.min(), start_s.max()))
    cells = stations * (most + 1 - least)
    return Thin(
        np.full(3 * cells, -1, np.int64), np.zeros(3 * cells), np.full(cells, -np.inf), np.zeros(stations), least, bins
    )


def _thinned(table: Columns, thin: Thin) -> Columns:
    """The ticks that are kept, by station."""
    kept = np.flatnonzero(thin.row >= 0)
    row, first = np.unique(thin.row[kept], return_index=True)
    order = np.argsort(table["station"][row], kind="stable")
    row, came = row[order], thin.came[kept[first[order]]]
    same_station = np.diff(table["station"][row], prepend=-1) == 0
    return {
        **{name: column[row] for name, column in table.items()},
        "came": came - np.where(same_station, np.roll(came, 1), 0.0),
    }


def _add_up(
    ticks: Any, duration_s: float, edges_s: Floats, until_s: float, sums: TickSums, bins: Bins, thin: Thin
) -> int:
    """The loop of :func:`tick_figures`."""
    at = 0
    for row in range(len(ticks)):
        tick = ticks[row]
        station, start_s, end_s, items, waited_s = tick.station, tick.start_s, tick.end_s, tick.items, tick.waited_s
        wait_s = waited_s / items if items else 0.0
        sums.busy_s[station] += max(min(end_s, duration_s) - max(start_s, 0.0), 0.0)
        sums.all_busy_s[station] += end_s - start_s
        sums.all_items[station] += items
        if 0 <= start_s < duration_s:
            sums.ticks[station] += 1
            sums.items[station] += items
            sums.waited_s[station] += waited_s
            sums.largest[station] = max(sums.largest[station], items + tick.waiting)
            sums.longest_s[station] = max(sums.longest_s[station], wait_s + end_s - start_s)
        if thin.bins and start_s < until_s:
            _thin(thin, row, station, _thin_bin(start_s, until_s, thin.bins) - thin.least, end_s, items)
        if not len(edges_s):
            continue
        at = _bin_of(edges_s, start_s, at)
        cell = station * (len(edges_s) - 1)
        if 0 <= start_s < edges_s[len(edges_s) - 1]:
            bins.largest[cell + at] = max(bins.largest[cell + at], items + tick.waiting)
        _spread(bins.busy, cell, edges_s, at, start_s, end_s, 1.0)
        _spread(bins.queued, cell, edges_s, at, start_s - wait_s, start_s, float(items))
    return 0


def _thin_bin(start_s: float, until_s: float, bins: int) -> int:
    return min(max(int(start_s / until_s * bins), 0), bins - 1)


def _thin(thin: Thin, row: int, station: int, place: int, end_s: float, items: int) -> None:
    """Keeps a tick as the first, the last, or what ends last of its station in a bin, until another is."""
    cells = len(thin.latest_s)
    cell = station * (cells // len(thin.until_now)) + place
    thin.until_now[station] += items
    is_latest = end_s > thin.latest_s[cell]
    thin.latest_s[cell] = max(thin.latest_s[cell], end_s)
    for kind in range(3):
        if kind == 1 or (thin.row[cell] < 0 if kind == 0 else is_latest):
            thin.row[kind * cells + cell], thin.came[kind * cells + cell] = row, thin.until_now[station]


def _bin_of(edges_s: Floats, time_s: float, at: int) -> int:
    """The bin of a time, near to that of another; what is before the first, or after the last, is in that."""
    while at > 0 and time_s < edges_s[at]:
        at -= 1
    while at < len(edges_s) - 2 and time_s >= edges_s[at + 1]:
        at += 1
    return at


def _spread(
    bins: Spread, cell: int, edges_s: Floats, at: int, start_s: float, end_s: float, height: float
) -> None:  # fmt: skip
    """Adds what lasted from start to end, exactly, to the bins of a station, which begin at a cell. The first is near
    ``at``."""
    if edges_s[at] <= start_s and end_s <= edges_s[at + 1]:  # as nearly all is
        bins.begins[cell + at] += height * (end_s - start_s)
        return
    final_edge_s = edges_s[len(edges_s) - 1]
    start_s, end_s = min(max(start_s, edges_s[0]), final_edge_s), min(max(end_s, edges_s[0]), final_edge_s)
    first = _bin_of(edges_s, start_s, at)
    final = first
    while final < len(edges_s) - 2 and end_s > edges_s[final + 1]:
        final += 1
    bins.begins[cell + first] += height * (min(end_s, edges_s[first + 1]) - start_s)
    if final > first:
        bins.ends[cell + final] += height * (end_s - edges_s[final])
        bins.through[cell + first + 1] += height
        bins.through[cell + final] -= height


ADD_UP = loop_of(_add_up, _bin_of, _spread, _thin, _thin_bin)
