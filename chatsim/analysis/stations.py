"""How busy stations were, and how long their queues, in total and over time.

The utilisation of a station that works in ticks overstates its load: under light load most of it is the fixed cost of
ticks that carry little, and it hardly rises as they fill. ``work_utilisation`` is what would remain with full ticks,
so 1 / work_utilisation is the headroom: how many times the load the station could carry.
"""

from __future__ import annotations

import fnmatch
import math

import numpy as np
import numpy.typing as npt
import pandas as pd

from chatsim.analysis.columns import Floats, divided
from chatsim.analysis.ticks import StationBins, TickSums, station_bins, tick_sums
from chatsim.engine.outcome import Outcome, Work
from chatsim.scenario.models import Scenario, StationCosts

TIERS = ("gateway", "broker", "database")


def tier_of(station: str) -> str:
    """The tier of a station.

    >>> tier_of("gateway-12"), tier_of("database")
    ('gateway', 'database')
    """
    return station.partition("-")[0]


def stations(outcome: Outcome, until_s: float | None = None) -> pd.DataFrame:
    """One row per station, over [0, until_s], by default the whole duration.

    Columns: station, tier, cores; utilisation (busy time / (cores x time)); work_utilisation (see the module); ticks,
    items_per_tick; mean_wait_ms; longest_stay_ms (from the arrival of a tick's items, on average, to the end of the
    tick); mean_queue_items (Little's law: summed waits / time); largest_queue_items (just before a tick); work_us (what
    the items of the whole run cost, without ticks and flushes); and the count of each kind of work in the whole run.
    Items that no tick had taken by the end are in no wait.
    """
    duration_s = until_s or outcome.world.duration_s
    sums = tick_sums(outcome, duration_s)
    return stations_of(outcome.scenario, sums, outcome.work, outcome.item_us, duration_s)


def stations_of(
    scenario: Scenario, sums: TickSums, work: npt.NDArray[np.int64], item_us: Floats, duration_s: float
) -> pd.DataFrame:
    """The table of :func:`stations`, out of what the ticks of a run add up to and what its stations have counted."""
    names = list(scenario.stations)
    cores = np.array([cores_of(scenario, name) for name in names], dtype=np.float64)
    utilisation = sums.busy_s / (cores * duration_s)
    table = pd.DataFrame(
        {
            "station": names,
            "tier": [tier_of(name) for name in names],
            "cores": cores.astype(np.int64),
            "utilisation": utilisation,
            "work_utilisation": utilisation * _unavoidable_share(scenario, sums, item_us),
            "ticks": sums.ticks,
            "items_per_tick": divided(sums.items, sums.ticks),
            "mean_wait_ms": 1000 * divided(sums.waited_s, sums.items),
            "longest_stay_ms": 1000 * sums.longest_s,
            "mean_queue_items": sums.waited_s / duration_s,
            "largest_queue_items": sums.largest.astype(np.int64),
            "work_us": item_us,
        }
    )
    return pd.concat([table, pd.DataFrame(work, columns=[work.name.lower() for work in Work])], axis=1)


def tiers(outcome: Outcome, until_s: float | None = None) -> pd.DataFrame:
    """The same per tier: means over its stations weighted by cores, sums of counts, and the busiest station.

    ``busiest_utilisation`` and ``busiest_work_utilisation`` are the largest of any one station of the tier.
    """
    return tiers_of(stations(outcome, until_s))


def tiers_of(table: pd.DataFrame) -> pd.DataFrame:
    """The table of :func:`tiers`, out of that of :func:`stations`."""
    rows = []
    for tier in TIERS:
        part = table[table["tier"] == tier]
        if part.empty:
            continue
        items = part["items_per_tick"].fillna(0) * part["ticks"]
        ticks = int(part["ticks"].sum())
        rows.append(
            {
                "tier": tier,
                "stations": len(part),
                "cores": int(part["cores"].sum()),
                "utilisation": float(np.average(part["utilisation"], weights=part["cores"])),
                "work_utilisation": float(np.average(part["work_utilisation"], weights=part["cores"])),
                "busiest_utilisation": float(part["utilisation"].max()),
                "busiest_work_utilisation": float(part["work_utilisation"].max()),
                "ticks": ticks,
                "items_per_tick": float(items.sum()) / ticks if ticks else math.nan,
                "longest_stay_ms": float(part["longest_stay_ms"].max()),
                "mean_queue_items": float(part["mean_queue_items"].sum()),
                "largest_queue_items": int(part["largest_queue_items"].max()),
                **{work.name.lower(): int(part[work.name.lower()].sum()) for work in Work},
            }
        )
    return pd.DataFrame(rows)


def loads(outcome: Outcome, until_s: float | None = None) -> dict[str, float]:
    """What binds as load grows: the share of what it could carry (``work_utilisation``) of each tier's busiest station,
    and as 'hosts' of the busiest host, whose cores its stations share; NaN where the design has none."""
    table = stations(outcome, until_s)
    found = {tier: float(table.loc[table["tier"] == tier, "work_utilisation"].max()) for tier in TIERS}
    busy_cores = table["work_utilisation"] * table["cores"]
    hosts = [
        busy_cores[table["station"].isin(outcome.scenario.stations_on(host))].sum() / host.cores
        for host in outcome.scenario.hosts
    ]
    return {**found, "hosts": max(map(float, hosts), default=math.nan)}


def station_timeline(outcome: Outcome, bin_s: float) -> pd.DataFrame:
    """Utilisation and queue of each station over [0, duration_s] in bins of bin_s (the last may be shorter).

    Columns: station, tier, start_s, end_s, utilisation, mean_queue_items, largest_queue_items (just before a tick that
    starts in the bin). Ticks are split exactly over bins. A tick's waits are spread as if its items had come together,
    which is exact for batch_max = 1, and always keeps the sum of waits.
    """
    edges_s = bin_edges_s(outcome.world.duration_s, bin_s)
    return timeline_of(outcome.scenario, station_bins(outcome, edges_s), edges_s)


def timeline_of(scenario: Scenario, bins: StationBins, edges_s: Floats) -> pd.DataFrame:
    """The table of :func:`station_timeline`, out of what ticks come to between ``edges_s``."""
    names, many, width_s = list(scenario.stations), len(edges_s) - 1, np.diff(edges_s)
    cores = np.array([cores_of(scenario, name) for name in names], dtype=np.float64)
    return pd.DataFrame(
        {
            "station": np.repeat(np.array(names, dtype=object), many),
            "tier": np.repeat(np.array([tier_of(name) for name in names], dtype=object), many),
            "start_s": np.tile(edges_s[:-1], len(names)),
            "end_s": np.tile(edges_s[1:], len(names)),
            "utilisation": (bins.busy_s / (cores[:, None] * width_s)).ravel(),
            "mean_queue_items": (bins.queued_s / width_s).ravel(),
            "largest_queue_items": bins.largest.astype(np.int64).ravel(),
        }
    )


def tier_timeline(outcome: Outcome, bin_s: float) -> pd.DataFrame:
    """The same per tier: tier, start_s, end_s, utilisation (weighted by cores), queues of its stations."""
    return tier_timeline_of(outcome.scenario, station_timeline(outcome, bin_s))


def tier_timeline_of(scenario: Scenario, table: pd.DataFrame) -> pd.DataFrame:
    """The table of :func:`tier_timeline`, out of that of :func:`station_timeline`."""
    cores = {name: cores_of(scenario, name) for name in scenario.stations}
    table["cores"] = table["station"].map(cores)
    table["busy"] = table["utilisation"] * table["cores"]
    grouped = table.groupby(["tier", "start_s", "end_s"], sort=True)
    tiers_over_time = grouped.agg(
        busy=("busy", "sum"),
        cores=("cores", "sum"),
        mean_queue_items=("mean_queue_items", "mean"),
        largest_queue_items=("largest_queue_items", "max"),
    ).reset_index()
    tiers_over_time.insert(3, "utilisation", tiers_over_time["busy"] / tiers_over_time["cores"])
    tiers_over_time = tiers_over_time.drop(columns=["busy", "cores"])
    parts = [tiers_over_time[tiers_over_time["tier"] == tier] for tier in TIERS]
    return pd.concat(parts, ignore_index=True)


def bin_edges_s(duration_s: float, bin_s: float) -> Floats:
    """Edges of bins of bin_s from 0 to duration_s; the last bin is shorter where they do not fit.

    >>> bin_edges_s(5.0, 2.0).tolist()
    [0.0, 2.0, 4.0, 5.0]
    """
    whole = max(math.ceil(duration_s / bin_s - 1e-9), 1)
    edges_s = bin_s * np.arange(whole + 1, dtype=np.float64)
    edges_s[-1] = duration_s
    return edges_s


def cores_of(scenario: Scenario, station: str) -> int:
    """Cores a station can use: its own, or fewer where its host has fewer."""
    own = costs_of(scenario, tier_of(station)).cores
    for host in scenario.hosts:
        if any(fnmatch.fnmatchcase(station, pattern) for pattern in host.stations):
            return min(own, host.cores)
    return own


def costs_of(scenario: Scenario, tier: str) -> StationCosts:
    """The costs of a tier's stations."""
    tiers: dict[str, StationCosts] = {
        "gateway": scenario.gateway,
        "broker": scenario.broker,
        "database": scenario.database,
    }
    return tiers[tier]


def _unavoidable_share(scenario: Scenario, sums: TickSums, item_us: Floats) -> Floats:
    """Which share of a station's busy time would remain if every tick were full.

    Item costs remain; and where batch_max limits a tick, so does the fixed cost of the ticks that the items fill.
    """
    names = list(scenario.stations)
    per_item_us = np.zeros(len(names))
    for place, name in enumerate(names):
        costs = costs_of(scenario, tier_of(name))
        per_item_us[place] = costs.tick_us / costs.batch_max if costs.batch_max else 0.0
    full_us = item_us + sums.all_items * per_item_us
    share: Floats = np.minimum(np.nan_to_num(divided(full_us, 1e6 * sums.all_busy_s)), 1.0)
    return share
