"""What went in and what came out: fates, throughput, bytes, connections, subscriptions, memory."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from chatsim.analysis.columns import Bools, Floats, Longs, floats, is_delivered, longs
from chatsim.engine.outcome import Cause, Fate, Outcome

RECIPIENT_ENDS = {
    "live_share": (Fate.DELIVERED,),
    "kept_share": (Fate.READ_LATER, Fate.STORED),
    "lost_share": (Fate.LOST,),
    "refused_share": (Fate.REFUSED,),
    "abandoned_share": (Fate.ABANDONED,),
    "in_flight_share": (Fate.IN_FLIGHT,),
}


def fates(outcome: Outcome) -> pd.DataFrame:
    """How each message x intended session ended: fate, cause, count and share of all, one row per pair seen."""
    fate = longs(outcome.deliveries, "fate")
    cause = longs(outcome.deliveries, "cause")
    pairs, counts = np.unique(fate * len(Cause) + cause, return_counts=True)
    return pd.DataFrame(
        {
            "fate": [Fate(pair // len(Cause)).name.lower() for pair in pairs],
            "cause": [Cause(pair % len(Cause)).name.lower() for pair in pairs],
            "count": counts.astype(np.int64),
            "share": counts / max(len(fate), 1),
        }
    )


def recipient_ends(outcome: Outcome) -> dict[str, float]:
    """What became of each message for each of its recipients, whatever their sessions: shares that sum to 1.

    ``live_share``: some session of the recipient had it live; ``kept_share``: read at a later login, or still in store;
    ``lost_share``; ``refused_share``; ``abandoned_share`` (never written); ``in_flight_share``. The first that applies
    counts. What others overhear, or senders' own devices get, is not in it. NaN without messages.
    """
    table = outcome.deliveries
    meant = ~np.isin(longs(table, "fate"), (Fate.OVERHEARD, Fate.COPY, Fate.MISSED, Fate.DUPLICATE))
    keys = (longs(table, "message") * outcome.world.users + longs(table, "recipient"))[meant]
    fate = longs(table, "fate")[meant]
    total = len(np.unique(keys))
    seen = np.empty(0, np.int64)
    shares = {}
    for name, chosen in RECIPIENT_ENDS.items():
        mine = np.setdiff1d(keys[np.isin(fate, chosen)], seen)
        seen = np.union1d(seen, mine)
        shares[name] = len(mine) / total if total else math.nan
    return shares


def throughput(outcome: Outcome, bins: int = 60) -> pd.DataFrame:
    """Offered and carried load over the offered period [0, duration_s), in equal bins.

    Columns: start_s, end_s, messages_per_s (written by their senders), offered_per_s (deliveries meant for a session,
    at the time the message was written), carried_per_s (live deliveries, at the time the session had them),
    pushes_per_s and discards_per_s (at the time the message was written).
    """
    edges_s = np.linspace(0.0, outcome.world.duration_s, bins + 1)
    width_s = edges_s[1] - edges_s[0]
    written_s = floats(outcome.messages, "time_s")
    intended_s = written_s[_message_of(outcome, _meant_for_a_session(outcome))]
    delivered_s = floats(outcome.deliveries, "time_s")[is_delivered(outcome)]

    def per_s(times_s: Floats, weights: npt.NDArray[np.generic] | None = None) -> Floats:
        inside = (times_s >= 0) & (times_s < edges_s[-1])
        if weights is not None:
            weights = np.asarray(weights, dtype=np.float64)[inside]
        place = np.searchsorted(edges_s, times_s[inside], side="right") - 1
        rates: Floats = np.bincount(place, weights, minlength=bins) / width_s
        return rates

    return pd.DataFrame(
        {
            "start_s": edges_s[:-1],
            "end_s": edges_s[1:],
            "messages_per_s": per_s(written_s),
            "offered_per_s": per_s(intended_s),
            "carried_per_s": per_s(delivered_s),
            "pushes_per_s": per_s(written_s, outcome.messages["pushes"]),
            "discards_per_s": per_s(written_s, outcome.messages["discards"]),
        }
    )


def throughput_totals(outcome: Outcome, until_s: float | None = None) -> pd.Series:
    """The whole run in one row: counts, rates over the offered period [0, until_s] (by default the duration), shares.

    ``offered`` counts deliveries meant for a session; ``delivered`` those that arrived live at any time;
    ``carried_per_s`` only those that arrived within the offered period. ``delivered_share`` is of offered,
    ``discarded_share`` of pushes.
    """
    duration_s = until_s or outcome.world.duration_s
    offered = int(_meant_for_a_session(outcome).sum())
    arrived = is_delivered(outcome)
    in_time = floats(outcome.deliveries, "time_s")[arrived] < duration_s
    pushes = int(np.sum(outcome.messages["pushes"], dtype=np.int64))
    discards = int(np.sum(outcome.messages["discards"], dtype=np.int64))
    messages = len(outcome.messages["time_s"])
    return pd.Series(
        {
            "messages": messages,
            "messages_per_s": messages / duration_s,
            "offered": offered,
            "offered_per_s": offered / duration_s,
            "delivered": int(arrived.sum()),
            "delivered_share": _ratio(int(arrived.sum()), offered),
            "carried_per_s": int(in_time.sum()) / duration_s,
            "pushes": pushes,
            "discards": discards,
            "discarded_share": _ratio(discards, pushes),
        },
        dtype=object,
    )


def traffic(outcome: Outcome) -> pd.DataFrame:
    """Payload bytes on each leg: total, and per second of the run. Protocol headers are not in it.

    ``uplink`` is what gateways took from clients, ``egress`` what broker nodes (or peer gateways of a mesh) pushed to
    gateways, ``downlink`` what gateways wrote to sessions.
    """
    size = floats(outcome.messages, "size_bytes")
    taken = np.isfinite(floats(outcome.messages, "received_s"))
    refused = np.equal(longs(outcome.deliveries, "cause"), Cause.OUTBOUND_FULL)
    written = np.isfinite(floats(outcome.deliveries, "written_s")) & ~refused
    total = {
        "uplink": float(size[taken].sum()),
        "egress": float((size * floats(outcome.messages, "pushes")).sum()),
        "downlink": float(size[_message_of(outcome, written)].sum()),
    }
    run_s = max(outcome.end_s, outcome.world.duration_s)
    table = pd.DataFrame({"leg": list(total), "total_bytes": list(total.values())})
    return table.assign(rate_bytes_per_s=table["total_bytes"] / run_s)


def connections(outcome: Outcome, by: Literal["all", "gateway"] = "all") -> pd.DataFrame:
    """Sessions online after each change: time_s, connections; with ``by="gateway"`` a column gateway, one path each.

    A session is online from online_s until left_s; those online from the start count from 0 s.
    """
    table = outcome.sessions
    online_s = floats(table, "online_s")
    left_s = floats(table, "left_s")
    came = np.isfinite(online_s)
    went = came & np.isfinite(left_s)
    gateway = longs(table, "gateway")
    time_s = np.concatenate([np.maximum(online_s[came], 0.0), np.maximum(left_s[went], 0.0)])
    change = np.concatenate([np.ones(int(came.sum())), -np.ones(int(went.sum()))])
    owner = np.concatenate([gateway[came], gateway[went]])
    return _path(time_s, change, owner if by == "gateway" else None, "gateway", "connections")


def subscriptions(outcome: Outcome, by: Literal["all", "node"] = "all") -> pd.DataFrame:
    """Subscriptions of the broker after each change: time_s, subscriptions; with ``by="node"`` one path per node."""
    table = outcome.subscriptions
    time_s = np.maximum(floats(table, "time_s"), 0.0)
    node = longs(table, "node") if by == "node" else None
    return _path(time_s, floats(table, "change"), node, "node", "subscriptions")


def memory(outcome: Outcome) -> pd.DataFrame:
    """Memory of each gateway when it holds most sessions, each with the mean friend list of the run.

    Columns: gateway, peak_connections, memory_bytes.
    """
    costs = outcome.scenario.gateway
    paths = connections(outcome, by="gateway")
    peaks = paths.groupby("gateway")["connections"].max()
    peak = peaks.reindex(range(outcome.scenario.design.gateways), fill_value=0).astype(np.int64).to_numpy()
    listed = outcome.sessions.get("listed", np.zeros(1))
    list_bytes = outcome.scenario.friend_list.entry_bytes * (float(listed.mean()) if len(listed) else 0.0)
    return pd.DataFrame(
        {
            "gateway": np.arange(len(peak)),
            "peak_connections": peak,
            "memory_bytes": costs.base_bytes + (costs.connection_bytes + list_bytes) * peak,
        }
    )


def _path(
    time_s: Floats, change: Floats, owner: npt.NDArray[np.generic] | None, owned_by: str, what: str
) -> pd.DataFrame:
    """The running sum of changes after each distinct time, per owner where one is given."""
    table = pd.DataFrame({"time_s": time_s, what: change})
    keys = ["time_s"] if owner is None else [owned_by, "time_s"]
    if owner is not None:
        table.insert(0, owned_by, owner)
    path = table.groupby(keys, sort=True)[what].sum().reset_index()
    path[what] = (path[what].cumsum() if owner is None else path.groupby(owned_by)[what].cumsum()).astype(np.int64)
    return path


def _meant_for_a_session(outcome: Outcome) -> Bools:
    """Without duplicates, which were meant for their session once already, what a later login reads, and what others
    than the audience got."""
    beside = (Fate.DUPLICATE, Fate.READ_LATER, Fate.OVERHEARD, Fate.COPY)
    other = np.isin(longs(outcome.deliveries, "fate"), beside)
    return np.greater_equal(longs(outcome.deliveries, "session"), 0) & ~other


def _message_of(outcome: Outcome, chosen: Bools) -> Longs:
    return longs(outcome.deliveries, "message")[chosen]


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
