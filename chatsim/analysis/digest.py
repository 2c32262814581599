"""What a run comes to of which nothing is kept row by row: figures, histograms and bins of time, of its parts in turn.

The tables are those that :mod:`chatsim.analysis` makes of an outcome, by the same functions. Counts, rates, sums and
utilisations are equal; percentiles are off by at most 0.05 % (:mod:`chatsim.analysis.histogram`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd

from chatsim.analysis.columns import Floats, divided, is_delivered, offline
from chatsim.analysis.compare import peak, summary_of
from chatsim.analysis.flow import (
    ends_of,
    fate_counts,
    fates_of,
    flow_counts,
    most_connections,
    recipient_counts,
    subscriptions,
    throughput_counts,
    throughput_of,
    totals_of,
)
from chatsim.analysis.histogram import Histogram
from chatsim.analysis.latency import By, groups_of, latency_ms, latency_sums, logins
from chatsim.analysis.offline import pushes
from chatsim.analysis.overload import Overload, final_waits, judged, late, limit_s
from chatsim.analysis.stations import (
    stations_of,
    tier_timeline_of,
    tiers_of,
    timeline_of,
)
from chatsim.analysis.ticks import StationBins, TickSums, tick_figures
from chatsim.engine.outcome import Columns, Fate, Outcome
from chatsim.scenario import Scenario
from chatsim.world.tables import World

BINS = 240
"""Bins of time that a run is cut into."""
THIN = 2000
"""Of so many bins the last tick of each station is kept, to see whether its queue grew."""
BY: tuple[By, ...] = ("all", "local", "room_size")


class Digest:
    """The figures of one run, out of its parts in order (see :func:`chatsim.engine.simulate_in_parts`)."""

    def __init__(self, scenario: Scenario, world: World) -> None:
        self.scenario, self.world, self.duration_s = scenario, world, world.duration_s
        self.edges_s: Floats = np.linspace(0.0, world.duration_s, BINS + 1)
        self.parts = 0
        self.latency_of: dict[tuple[str, str], Histogram] = {}
        self.time_to_read = Histogram()
        self._until_s = _until_s(world)
        self._fates: Counter[tuple[int, int]] = Counter()
        self._ends: Counter[str] = Counter()
        self._flow: Counter[str] = Counter()
        self._late = np.zeros(2, np.int64)
        self._sums: TickSums | None = None
        self._bins: StationBins | None = None
        self._through: dict[str, Floats] = {}
        self._mean_ms = np.zeros((2, BINS))
        self._waits: list[Columns] = []
        self._last: Outcome | None = None
        self._changes: Columns = {"time_s": np.empty(0), "node": np.empty(0, np.int32), "change": np.empty(0, np.int8)}
        self._subscribed = self._most_subscribed = 0

    def take(self, part: Outcome) -> None:
        """Takes in the next part of the run. Modifies the digest."""
        self.parts += 1
        self._take_fates(part)
        self._take_latency(part)
        sums, bins, thinned = tick_figures(part, self.duration_s, self.edges_s, self._until_s, THIN)
        self._sums = sums if self._sums is None else self._sums.plus(sums)
        self._bins = bins if self._bins is None else self._bins + bins
        self._waits.append(thinned)
        missed_s = part.later["message_s"][part.later["fate"] == Fate.MISSED]
        for name, counts in throughput_counts(part, self.edges_s).items():
            also = np.histogram(missed_s, self.edges_s)[0] if name == "offered" else 0.0
            self._through[name] = self._through.get(name, np.zeros(BINS)) + counts + also
        self._last = part
        self._take_subscriptions()

    def _take_subscriptions(self) -> None:
        """Of one instant only all changes together are counted, and the last instant may go on in the next part."""
        changes = {name: np.concatenate([kept, self.last.subscriptions[name]]) for name, kept in self._changes.items()}
        ended = changes["time_s"] < changes["time_s"].max(initial=-np.inf)
        self._changes = {name: column[~ended] for name, column in changes.items()}
        self._note_subscriptions({name: column[ended] for name, column in changes.items()})

    def _note_subscriptions(self, changes: Columns) -> None:
        if not len(changes["time_s"]):
            return
        path = subscriptions(replace(self.last, subscriptions=changes))["subscriptions"] + self._subscribed
        if len(path):
            self._subscribed, self._most_subscribed = int(path.iloc[-1]), max(self._most_subscribed, peak(path))

    def _take_fates(self, part: Outcome) -> None:
        self._fates.update(fate_counts(part.deliveries, offline(part)))
        self._fates.update(fate_counts(part.later))
        self._fates[Fate.STORED, 0] -= int(part.later["first"].sum())
        self._ends.update(recipient_counts(part))
        self._flow.update(flow_counts(part, self.duration_s))
        self._flow["offered"] += int((part.later["fate"] == Fate.MISSED).sum())
        self._late += late(part, limit_s(self._until_s))
        read = part.deliveries["fate"] == Fate.READ_LATER
        written_s = part.messages["time_s"][part.deliveries["message"][read]]
        self.time_to_read.add(part.deliveries["time_s"][read] - written_s)
        later = part.later["fate"] == Fate.READ_LATER
        self.time_to_read.add((part.later["time_s"] - part.later["message_s"])[later])

    def _take_latency(self, part: Outcome) -> None:
        rows, values_ms = np.flatnonzero(is_delivered(part)), latency_ms(part)
        for by in BY:
            for group, chosen in groups_of(part, rows, by).items():
                values = values_ms if by == "all" else values_ms[chosen]
                self.latency_of.setdefault((by, group), Histogram()).add(values)
        self._mean_ms += np.stack(latency_sums(part, rows, values_ms, self.duration_s, BINS))

    def latency(self) -> pd.DataFrame:
        """Latency of live deliveries: by, group, count, percentiles, mean and maximum in ms."""
        rows = [{"by": by, "group": group, **self.latency_of[by, group].percentiles()} for by, group in self.latency_of]
        return pd.DataFrame(rows)

    def histogram(self) -> pd.DataFrame:
        """The buckets of each group: by, group, from_ms, to_ms, count."""
        parts = []
        for (by, group), histogram in self.latency_of.items():
            table = histogram.table()
            table.insert(0, "group", group)
            table.insert(0, "by", by)
            parts.append(table)
        return pd.concat(parts, ignore_index=True)

    def fates(self) -> pd.DataFrame:
        """How each message x intended session ended: fate, cause, count, share."""
        return fates_of(self._fates)

    def stations(self) -> pd.DataFrame:
        """One row per station, as :func:`chatsim.analysis.stations` gives."""
        last = self.last
        assert self._sums is not None
        return stations_of(self.scenario, self._sums, last.work, last.item_us, self.duration_s)

    def tiers(self) -> pd.DataFrame:
        """One row per tier, as :func:`chatsim.analysis.tiers` gives."""
        return tiers_of(self.stations())

    def tier_timeline(self) -> pd.DataFrame:
        """Utilisation and queues of each tier in :data:`BINS` bins of time."""
        assert self._bins is not None
        return tier_timeline_of(self.scenario, timeline_of(self.scenario, self._bins, self.edges_s))

    def timeline(self) -> pd.DataFrame:
        """Offered and carried load, and the mean latency of what was written then, in :data:`BINS` bins of time."""
        table = throughput_of(self._through, self.edges_s)
        return table.assign(mean_ms=divided(*self._mean_ms))

    def overload(self) -> Overload:
        """Whether the run was overloaded, by the waits of a few ticks of each station in :data:`THIN` bins of time."""
        ticks = {name: np.concatenate([part[name] for part in self._waits]) for name in self._waits[0]}
        waits = final_waits(ticks, self.last.stations, self._until_s)
        return judged(waits, (int(self._late[0]), int(self._late[1])), self._until_s)

    def summary(self) -> pd.Series:
        """The run as one row, as :func:`chatsim.analysis.summary` gives."""
        last = self.last
        return summary_of(
            self.scenario.name,
            totals_of(self._flow, self.duration_s),
            self.latency_of["all", "all"].percentiles(),
            ends_of(self._ends),
            self.tiers(),
            (self.most_subscriptions(), most_connections(last)),
            self.overload().overloaded,
        )

    def chat(self) -> pd.DataFrame:
        """How long what was stored waited to be read, and what became of pushes: part, figure, value. What else
        :func:`chatsim.analysis.chat` tells must be asked of a run that is kept row by row."""
        parts: dict[str, pd.Series] = {}
        if self.scenario.design.keeps_missed:
            read = {f"later_p{percent}_s": self.time_to_read.at(percent / 100) for percent in (50, 90, 99)}
            parts["time to read"] = pd.Series({"later_count": self.time_to_read.count, **read})
        if self.scenario.design.offline == "push":
            parts["pushes"] = pushes(self.last)
        rows = [
            {"part": part, "figure": figure, "value": float(value)}
            for part, figures in parts.items()
            for figure, value in figures.items()
        ]
        return pd.DataFrame(rows, columns=["part", "figure", "value"])

    def most_subscriptions(self) -> int:
        """The most subscriptions that there were at any time."""
        last = subscriptions(replace(self.last, subscriptions=self._changes))["subscriptions"]
        return max(self._most_subscribed, self._subscribed + peak(last) if len(last) else 0)

    def logins(self) -> pd.Series:
        """How logins ended, and how long they took."""
        return logins(self.last)

    @property
    def last(self) -> Outcome:
        """The last part, which has all sessions and whatever is not of single messages."""
        assert self._last is not None
        return self._last


def _until_s(world: World) -> float:
    last_s = float(world.messages.time_s[-1]) if len(world.messages) else 0.0
    return last_s if last_s > 0 else world.duration_s


__all__ = ["BINS", "Digest"]
