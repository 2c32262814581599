"""Questions that a review brings, each answered by a few runs on one trace: how many friends, and who reads what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from chatsim.analysis import latency
from chatsim.analysis.lists import friend_list
from chatsim.analysis.rooms import who_reads
from chatsim.engine.outcome import Outcome
from chatsim.rules.routing import ROUTING_NUMBERS, keeps_registry
from chatsim.scenario import InputError, Scenario
from chatsim.scenario.errors import nearest
from chatsim.scenario.load import validate
from chatsim.study.runs import compare
from chatsim.study.spread import Progress

ALL = "all"
LIMITS = ("15", "30", "50", ALL)
ROOMS = ("personal", "pair", "group")
POLICIES = ("open", "friends", "scopes")
INTRUDERS = {"share": 0.01}
RELATIONS = {"ends_per_day": 1.0}

Note = Callable[[Outcome], None]


def list_limits(
    scenario: Scenario,
    limits: Sequence[str] = LIMITS,
    jobs: int = 1,
    progress: Progress | None = None,
    note: Note | None = None,
) -> pd.DataFrame:
    """One run for each length of the friend list, "all" for every friend, on the same trace.

    A scenario that loads no list gets a recent one. Presence is pushed to those who have a user on their list, so that
    what the length of lists does to its traffic is seen. One row per limit: limit, and the figures of
    :func:`chatsim.analysis.lists.friend_list`. Raises InputError for a limit that is none.
    """
    designs = [_with_limit(scenario, limit) for limit in dict.fromkeys(map(_limit, limits))]
    rows: list[dict[str, Any]] = []

    def add(outcome: Outcome) -> None:
        limit = ALL if outcome.scenario.friend_list.policy == ALL else str(outcome.scenario.friend_list.limit)
        rows.append({"limit": limit, **friend_list(outcome)})
        if note is not None:
            note(outcome)

    compare(designs, 1, jobs, progress, add)
    return pd.DataFrame(rows).infer_objects()


def rooms_and_access(
    scenario: Scenario, jobs: int = 1, progress: Progress | None = None, note: Note | None = None
) -> pd.DataFrame:
    """One run for each kind of rooms under each access policy, on the same trace, with intruders and ties that end.

    A workload without intruders, or in which no tie ends, gets a few (``INTRUDERS``, ``RELATIONS``); where a gateway
    must know who is in a room elsewhere, membership is kept in the broker. One row per pair: rooms, access,
    latency_p50_ms of live deliveries, and the figures of :func:`chatsim.analysis.rooms.who_reads`.
    """
    designs = [_with_rooms(scenario, rooms, policy) for rooms in ROOMS for policy in POLICIES]
    rows: list[dict[str, Any]] = []

    def add(outcome: Outcome) -> None:
        live = latency(outcome)
        rows.append(
            {
                "rooms": outcome.scenario.design.rooms,
                "access": outcome.scenario.access.policy,
                "latency_p50_ms": float(live["p50_ms"].iloc[0]),
                **who_reads(outcome),
            }
        )
        if note is not None:
            note(outcome)

    compare(designs, 1, jobs, progress, add)
    return pd.DataFrame(rows).infer_objects()


def _limit(text: str) -> str:
    limit = text.strip()
    if limit == ALL:
        return ALL
    if not limit.isdecimal() or not int(limit):
        hint = nearest(limit, [ALL]) if limit.isalpha() else ""
        raise InputError(f"--limits {limit}: a whole number from 1 on, or 'all', is needed{hint}")
    return str(int(limit))


def _with_limit(scenario: Scenario, limit: str) -> Scenario:
    table = scenario.model_dump()
    table["name"] = f"{limit} friends"
    listing = table["friend_list"]
    if listing["policy"] == "none":
        listing["policy"] = "recent"
    if limit == ALL:
        listing["policy"] = ALL
    else:
        listing["limit"] = int(limit)
        listing["policy"] = "recent" if listing["policy"] == ALL else listing["policy"]
    table["presence"].update(show_to="list", how="push")
    return validate(table)


def _with_rooms(scenario: Scenario, rooms: str, policy: str) -> Scenario:
    table = scenario.model_dump()
    table["name"] = f"{rooms} rooms, {policy}"
    table["design"]["rooms"] = rooms
    if rooms == "personal" and keeps_registry(ROUTING_NUMBERS[table["design"]["routing"]]):
        table["design"]["membership"] = "broker"
    table["access"]["policy"] = policy
    workload = table["workload"]
    if not workload["intruders"]["share"]:
        workload["intruders"] = {**workload["intruders"], **INTRUDERS}
    if not workload["relations"]["ends_per_day"]:
        workload["relations"] = {**workload["relations"], **RELATIONS}
    return validate(table)
