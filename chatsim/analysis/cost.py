"""What a run would cost per month, part by part, by the prices of its scenario.

Machines cost what they cost whatever they do. Egress and pushes are those of the run, scaled to a month by the mean
load: a run in the busiest hour stands for a month of whole days, by the daily rhythm of its behaviour model. A log is
taken as it is: its month is as its run. What is in store when the run ends is read at some login to come, and counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from chatsim.analysis.columns import floats, longs
from chatsim.engine.outcome import Cause, Fate, FaultKind, Outcome
from chatsim.scenario.models import Scenario, Workload
from chatsim.theory import Demand, demand_of

MONTH_S = 730 * 3600.0   # as clouds bill it
DAY_H = 24
STEP_S = 900.0           # of the run, over which the rhythm of the day is taken as one value
STEPS_MOST = 10_000
GB = 1e9
MILLION = 1e6


class DayShares(NamedTuple):
    """The load of a mean day over that of the run: of deliveries to those online, of messages for those who are away,
    of logins, and of changes of presence that those online hear of."""

    live: float = 1.0
    away: float = 1.0
    logins: float = 1.0
    notices: float = 1.0


class Egress(NamedTuple):
    """Payload bytes from gateways to clients: messages written to those online; messages for those away, written at a
    later login; friend lists; changes of presence."""

    live: float
    away: float
    logins: float
    notices: float


class Taken(NamedTuple):
    """What a month takes of each part; no price is in it."""

    gateways: float
    broker_nodes: float
    databases: float
    egress_gb: float
    pushes_million: float


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the bill: how much of it a month takes, in its unit, and what one of that costs."""

    name: str
    amount: float
    unit: str
    price_usd: float

    @property
    def usd_per_month(self) -> float:
        """What it comes to."""
        return self.amount * self.price_usd


@dataclass(frozen=True, slots=True)
class Cost:
    """The bill of a month. ``scaled`` says by how much egress and pushes differ from the mean of the run."""

    parts: tuple[Part, ...]
    users: int
    scaled: DayShares

    @property
    def usd_per_month(self) -> float:
        """All parts together."""
        return sum(part.usd_per_month for part in self.parts)

    @property
    def usd_per_1000_users(self) -> float:
        """The same per 1,000 users and month."""
        return 1000 * self.usd_per_month / self.users

    @property
    def sentence(self) -> str:
        """What it stands on."""
        scaled = f" (deliveries: {self.scaled.live:.3g} x those of the run)" if abs(self.scaled.live - 1) > 5e-3 else ""
        return (
            f"A month is 730 h at the mean load of a day{scaled}. Egress is payload: no protocol headers. Not in it: "
            "storage, balancers, traffic between machines."
        )

    def table(self) -> pd.DataFrame:
        """A row per part and one for the total: part, amount, unit, usd_per_month, usd_per_1000_users."""
        rows = [(part.name, part.amount, part.unit, part.usd_per_month) for part in self.parts]
        rows.append(("total", float("nan"), "", self.usd_per_month))
        table = pd.DataFrame(rows, columns=["part", "amount", "unit", "usd_per_month"])
        return table.assign(usd_per_1000_users=1000 * table["usd_per_month"] / self.users)


def cost(outcome: Outcome) -> Cost:
    """The bill of a run.

    Gateways that scaling keeps out of service cost nothing meanwhile. The database is paid for where the design stores
    in it or the run has asked it for anything, and broker nodes where the routing passes a broker.

    >>> from chatsim.engine import simulate
    >>> from chatsim.world import build_world
    >>> scenario = Scenario.model_validate({"workload": {"users": 50, "duration_s": 60.0}, "design": {"gateways": 2}})
    >>> [(part.name, part.amount) for part in cost(simulate(scenario, build_world(scenario))).parts[:3]]
    [('gateways', 2.0), ('broker nodes', 1.0), ('database', 1.0)]
    """
    return bill(taken(outcome), outcome.scenario, outcome.world.users)


def taken(outcome: Outcome) -> Taken:
    """What a month takes of each part, by a run."""
    months = MONTH_S / outcome.world.duration_s
    shares = day_shares(outcome.scenario.workload)
    sent = int(np.isfinite(floats(outcome.pushes, "sent_s")).sum())
    written = sum(of * share for of, share in zip(egress_bytes(outcome), shares, strict=True))
    return Taken(
        gateways_paid(outcome),
        float(outcome.scenario.broker_nodes),
        float(_asks_database(outcome)),
        written / GB * months,
        sent / MILLION * months * shares.away,
    )


def bill(amounts: Taken, scenario: Scenario, users: int) -> Cost:
    """The bill of what a month takes, by the prices of a scenario with so many users.

    >>> bill(Taken(2.0, 1.0, 0.0, 0.0, 0.0), Scenario(), 500).usd_per_1000_users
    468.28
    """
    prices = scenario.prices
    return Cost(
        (
            Part("gateways", amounts.gateways, "gateways", prices.gateway_usd_per_month),
            Part("broker nodes", amounts.broker_nodes, "nodes", prices.broker_node_usd_per_month),
            Part("database", amounts.databases, "databases", prices.database_usd_per_month),
            Part("egress", amounts.egress_gb, "GB", prices.egress_usd_per_gb),
            Part("pushes", amounts.pushes_million, "million", prices.push_usd_per_million),
        ),
        users,
        day_shares(scenario.workload),
    )


def mean_cost(costs: Sequence[Cost]) -> Cost:
    """The mean bill of several replications of one scenario."""
    columns = zip(*(one.parts for one in costs), strict=True)
    parts = tuple(
        Part(same[0].name, float(np.mean([part.amount for part in same])), same[0].unit, same[0].price_usd)
        for same in columns
    )
    return Cost(parts, costs[0].users, costs[0].scaled)


def egress_bytes(outcome: Outcome) -> Egress:
    """What the run wrote to sessions, and will write: what is in store at the end."""
    table, scenario = outcome.deliveries, outcome.scenario
    size = floats(outcome.messages, "size_bytes")[longs(table, "message")]
    fate = longs(table, "fate")
    away = np.isin(fate, (Fate.READ_LATER, Fate.STORED))
    live = np.isfinite(floats(table, "written_s")) & (longs(table, "cause") != Cause.OUTBOUND_FULL) & ~away
    listed = float(longs(outcome.sessions, "listed").sum()) if "listed" in outcome.sessions else 0.0
    notices = float(longs(outcome.presence, "notices").sum())
    return Egress(
        float(size[live].sum()),
        float(size[away].sum()),
        listed * scenario.friend_list.entry_bytes,
        notices * scenario.presence.notice_bytes,
    )


def gateways_paid(outcome: Outcome) -> float:
    """The mean number of gateways over the run, without those that scaling keeps out of service."""
    table, duration_s = outcome.faults, outcome.world.duration_s
    away = longs(table, "kind") == FaultKind.SCALING
    start_s = np.clip(floats(table, "start_s")[away], 0.0, duration_s)
    end_s = np.clip(np.nan_to_num(floats(table, "end_s")[away], nan=duration_s), 0.0, duration_s)
    return outcome.scenario.design.gateways - float((end_s - start_s).sum()) / duration_s


@lru_cache(maxsize=64)
def day_shares(workload: Workload) -> DayShares:
    """By how much a mean day differs from the run, by the closed forms of :mod:`chatsim.theory.demand`, hour by hour.

    1 for a log, and where the rate knows no time of day.

    >>> day_shares(Workload(duration_s=3 * 86400.0)).live.__round__(9)
    1.0
    >>> day_shares(Workload(start_hour=20.0)).live < 1 < day_shares(Workload(start_hour=8.0)).live
    True
    """
    if workload.trace or not workload.sessions.day_amplitude:
        return DayShares()
    hours = [_demand_at(workload, hour) for hour in range(DAY_H)]
    loads = np.array([_loads(hour) for hour in hours])
    steps = int(np.clip(np.ceil(workload.duration_s / STEP_S), 1, STEPS_MOST))
    run_hour = workload.start_hour + (np.arange(steps) + 0.5) * workload.duration_s / steps / 3600.0
    middle = np.arange(DAY_H) + 0.5
    in_run = [float(np.interp(run_hour, middle, load, period=DAY_H).mean()) for load in loads.T]
    in_day = loads.mean(axis=0).tolist()
    return DayShares(*(day / run if run > 0 else 1.0 for day, run in zip(in_day, in_run, strict=True)))


def _loads(asked: Demand) -> DayShares:
    """What the shares are of, per second."""
    audience = asked.audience
    return DayShares(
        asked.messages_per_s * audience.sessions,
        asked.messages_per_s * (audience.recipients - audience.online),
        asked.logins_per_s,
        asked.logins_per_s * asked.online_users,
    )


def _demand_at(workload: Workload, hour: int) -> Demand:
    """What the workload asks for in an hour of the day."""
    return demand_of(Scenario(workload=workload.model_copy(update={"start_hour": float(hour), "duration_s": 3600.0})))


def _asks_database(outcome: Outcome) -> bool:
    design = outcome.scenario.design
    stores = design.store != "never" and design.store_in == "database"
    return stores or bool(outcome.work[outcome.stations.index("database")].any())


__all__ = [
    "MONTH_S",
    "Cost",
    "DayShares",
    "Egress",
    "Part",
    "Taken",
    "bill",
    "cost",
    "day_shares",
    "egress_bytes",
    "gateways_paid",
    "mean_cost",
    "taken",
]
