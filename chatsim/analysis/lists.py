"""What a friend list did in a run: hits, searches and abandoned conversations against what loading it cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from chatsim.analysis.columns import Bools, Floats, Longs, floats, longs
from chatsim.analysis.flow import memory, subscriptions
from chatsim.analysis.presence import presence
from chatsim.engine.outcome import Outcome, SessionFate, Work
from chatsim.rules.detour import GIVE_UP, OTHER, SEARCH
from chatsim.rules.ranking import POLICY_NUMBERS, is_listed
from chatsim.world.contacts import private_messages

LIMITS = (1, 2, 3, 5, 10, 15, 20, 30, 50)


def friend_list(outcome: Outcome) -> pd.Series:
    """A run's friend list in one row.

    openings of conversations; hit_share of them with the partner on the list, whether or not the writer was connected
    (NaN where no list is loaded); searches, turned (somebody listed was written to instead) and abandoned
    conversations; listed_mean: friends loaded per session; login_ms_p50 and login_ms_p99 from the start of a session
    until it is online (those that start within the run); redis_ops and database_ops: items of work there; list_reads:
    of these, for lists and the states of those on them; list_bytes: what the lists weigh on the wire;
    peak_subscriptions; presence_notices; memory_bytes: the largest gateway.
    """
    asked = outcome.scenario.friend_list
    opening = outcome.messages["opening"].astype(bool)
    detour = longs(outcome.messages, "detour")
    rank = longs(outcome.messages, "listed_rank")[opening]
    login_ms = 1000 * _login_s(outcome)
    listed = longs(outcome.sessions, "listed")[longs(outcome.sessions, "fate") != SessionFate.REFUSED]
    broker = np.array([name.startswith("broker") for name in outcome.stations])
    work = outcome.work
    path = subscriptions(outcome)["subscriptions"]
    figures: dict[str, Any] = {
        "openings": len(rank),
        "hit_share": math.nan if asked.policy == "none" else _hit_share(asked.policy, rank, asked.limit),
        "searches": int((detour == SEARCH).sum()),
        "turned": int((detour == OTHER).sum()),
        "abandoned": int((detour == GIVE_UP).sum()),
        "listed_mean": float(listed.mean()) if len(listed) else math.nan,
        "login_ms_p50": float(np.quantile(login_ms, 0.5)) if len(login_ms) else math.nan,
        "login_ms_p99": float(np.quantile(login_ms, 0.99)) if len(login_ms) else math.nan,
        "redis_ops": int(work[broker].sum()),
        "database_ops": int(work[[name == "database" for name in outcome.stations]].sum()),
        "list_reads": int(work[:, (Work.LIST, Work.STATE)].sum()),
        "list_bytes": float(listed.sum() * asked.entry_bytes),
        "peak_subscriptions": int(path.max()) if len(path) else 0,
        "presence_notices": int(presence(outcome)["notices"]),
        "memory_bytes": float(memory(outcome)["memory_bytes"].max()),
    }
    return pd.Series(
        figures,
        dtype=object,
    )


def run_hit_curve(outcome: Outcome, k: Sequence[int] = LIMITS) -> pd.DataFrame:
    """The hits of a run's list had its limit been another: the lists themselves do not depend on it.

    One row per limit (the last one infinite) and set of private messages: k, of ("all", "new" for the first message of
    a pair, "repeat" for the others, "openings" of conversations, "repeat openings"), hit_share, count. Raises
    ValueError for a run that loads no list.
    """
    policy = outcome.scenario.friend_list.policy
    if policy == "none":
        raise ValueError("the run loads no friend list (friend_list.policy = 'none')")
    rank = longs(outcome.messages, "listed_rank")
    private, opening, new = rank >= 0, outcome.messages["opening"].astype(bool), _is_first(outcome)
    sets = {
        "all": private,
        "new": private & new,
        "repeat": private & ~new,
        "openings": opening,
        "repeat openings": opening & ~new,
    }
    rows = []
    for limit in (*map(float, k), math.inf):
        for name, chosen in sets.items():
            share = _hit_share(policy, rank[chosen], limit)
            rows.append({"k": limit, "of": name, "hit_share": share, "count": int(chosen.sum())})
    return pd.DataFrame(rows)


def _hit_share(policy: str, rank: Longs, limit: float) -> float:
    hits = [is_listed(POLICY_NUMBERS[policy], one, limit) for one in rank.tolist()]
    return float(np.mean(hits)) if hits else math.nan


def _is_first(outcome: Outcome) -> Bools:
    """Whether a message is the first of its pair: none before it in the trace, and no room from before the run."""
    world = outcome.world
    first = np.zeros(len(world.messages), bool)
    if len(world.rooms):
        talk = private_messages(world)
        first[talk.message] = np.isinf(talk.silent_s)
        first &= ~world.rooms.known[world.messages.room]
    return first


def _login_s(outcome: Outcome) -> Floats:
    start_s, online_s = floats(outcome.sessions, "start_s"), floats(outcome.sessions, "online_s")
    login_s = (online_s - start_s)[start_s > 0]
    known_s: Floats = login_s[np.isfinite(login_s)]
    return known_s
