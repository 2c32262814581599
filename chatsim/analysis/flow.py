"""What went in and what came out: fates, throughput, bytes, connections, subscriptions, memory."""

from __future__ import annotations

import math
from collections import Counter
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from chatsim.analysis.columns import Bools, Floats, Longs, among, floats, is_delivered, longs, offline
from chatsim.engine.outcome import Cause, Columns, Fate, Outcome

RECIPIENT_ENDS = {
    "live_share": (Fate.DELIVERED,),
    "kept_share": (Fate.READ_LATER, Fate.STORED),
    "lost_share": (Fate.LOST,),
    "refused_share": (Fate.REFUSED,),
    "abandoned_share": (Fate.ABANDONED,),
    "in_flight_share": (Fate.IN_FLIGHT,),
}
RANK_BITS = 3
"""Bits that hold the place of each of them, and one more."""


def fates(outcome: Outcome) -> pd.DataFrame:
    """How each message x intended session ended: fate, cause, count and share of all, one row per pair seen."""
    return fates_of(fate_counts(outcome.deliveries, offline(outcome)))


def fate_counts(table: Columns, offline: int = 0) -> Counter[tuple[int, int]]:
    """How many rows ended by each fate and cause, with those counted ``offline`` that have no row."""
    pairs = np.asarray(table["fate"], np.int16) * np.int16(len(Cause)) + np.asarray(table["cause"], np.int16)
    counts = np.bincount(pairs).tolist()
    found = Counter({divmod(pair, len(Cause)): count for pair, count in enumerate(counts) if count})
    found[Fate.LOST, Cause.OFFLINE] += offline
    return found


def fates_of(counts: Counter[tuple[int, int]]) -> pd.DataFrame:
    """The table of :func:`fates`, out of the counts of all rows."""
    seen = sorted(pair for pair, count in counts.items() if count)
    total = max(sum(counts.values()), 1)
    return pd.DataFrame(
        {
            "fate": [Fate(fate).name.lower() for fate, _ in seen],
            "cause": [Cause(cause).name.lower() for _, cause in seen],
            "count": np.array([counts[pair] for pair in seen], np.int64),
            "share": np.array([counts[pair] / total for pair in seen], np.float64),
        }
    )


def recipient_ends(outcome: Outcome) -> dict[str, float]:
    """What became of each message for each of its recipients, whatever their sessions: shares that sum to 1.

    ``live_share``: some session of the recipient had it live; ``kept_share``: read at a later login, or still in store;
    ``lost_share``; ``refused_share``; ``abandoned_share`` (never written); ``in_flight_share``. The first that applies
    counts. What others overhear, or senders' own devices get, is not in it. NaN without messages.
    """
    return ends_of(recipient_counts(outcome))


def recipient_counts(outcome: Outcome) -> Counter[str]:
    """How many messages x recipients ended in each way of :func:`recipient_ends`."""
    fate, session, ranks = outcome.deliveries["fate"], outcome.deliveries["session"], len(RECIPIENT_ENDS)
    first = np.full(len(Fate), ranks, np.int64)
    for place, chosen in enumerate(RECIPIENT_ENDS.values()):
        first[list(chosen)] = place
    alone = np.bincount(fate[session < 0], minlength=len(Fate))  # a row without a session is the only end
    counts = np.bincount(first, alone, minlength=ranks).astype(np.int64)
    beside = {Fate.OVERHEARD, Fate.COPY, Fate.MISSED, Fate.DUPLICATE}
    rows = np.flatnonzero((session >= 0) & among(fate, set(Fate) - beside))
    keys = outcome.deliveries["message"][rows].astype(np.int64) * outcome.world.users
    keys += outcome.deliveries["recipient"][rows]
    ranked = np.sort((keys << RANK_BITS) + first[fate[rows]])
    is_first = np.diff(ranked >> RANK_BITS, prepend=-1) != 0
    counts += np.bincount(ranked[is_first] & ((1 << RANK_BITS) - 1), minlength=len(counts))[: len(counts)]
    found = Counter(dict(zip(RECIPIENT_ENDS, counts[:ranks].tolist(), strict=True)))
    found["lost_share"] += offline(outcome)
    return found


def ends_of(counts: Counter[str]) -> dict[str, float]:
    """The shares of :func:`recipient_ends`, out of counts."""
    total = sum(counts.values())
    return {name: counts[name] / total if total else math.nan for name in RECIPIENT_ENDS}


def throughput(outcome: Outcome, bins: int = 60) -> pd.DataFrame:
    """Offered and carried load over the offered period [0, duration_s), in equal bins.

    Columns: start_s, end_s, messages_per_s (written by their senders), offered_per_s (deliveries meant for a session,
    at the time the message was written), carried_per_s (live deliveries, at the time the session had them),
    pushes_per_s and discards_per_s (at the time the message was written).
    """
    edges_s = np.linspace(0.0, outcome.world.duration_s, bins + 1)
    return throughput_of(throughput_counts(outcome, edges_s), edges_s)


def throughput_counts(outcome: Outcome, edges_s: Floats) -> dict[str, Floats]:
    """What falls between ``edges_s``: messages, deliveries meant for a session, live deliveries, pushes, discards."""
    written = _bins_of(floats(outcome.messages, "time_s"), edges_s)
    delivered = _bins_of(floats(outcome.deliveries, "time_s")[is_delivered(outcome)], edges_s)
    intended = written[outcome.deliveries["message"][_meant_for_a_session(outcome)]]

    def counted(places: Longs, numbers: npt.NDArray[np.generic] | None = None) -> Floats:
        if numbers is not None and not numbers.any():
            return np.zeros(len(edges_s) - 1)
        return np.bincount(places, numbers, minlength=len(edges_s))[:-1].astype(np.float64)

    return {
        "messages": counted(written),
        "offered": counted(intended),
        "carried": counted(delivered),
        "pushes": counted(written, outcome.messages["pushes"]),
        "discards": counted(written, outcome.messages["discards"]),
    }


def _bins_of(times_s: Floats, edges_s: Floats) -> Longs:
    """Between which edges each time falls; what is outside all is behind the last one."""
    if (times_s[1:] >= times_s[:-1]).all():  # as those of messages are
        counts = np.diff(np.searchsorted(times_s, edges_s), prepend=0, append=len(times_s))
        return np.repeat(np.append(len(edges_s) - 1, np.arange(len(edges_s))), counts)
    place = np.searchsorted(edges_s, times_s, side="right") - 1
    return np.where(place < 0, len(edges_s) - 1, place)


def throughput_of(counts: dict[str, Floats], edges_s: Floats) -> pd.DataFrame:
    """The table of :func:`throughput`, out of counts between ``edges_s``."""
    width_s = edges_s[1] - edges_s[0]
    rates = {f"{name}_per_s": numbers / width_s for name, numbers in counts.items()}
    return pd.DataFrame({"start_s": edges_s[:-1], "end_s": edges_s[1:], **rates})


def throughput_totals(outcome: Outcome, until_s: float | None = None) -> pd.Series:
    """The whole run in one row: counts, rates over the offered period [0, until_s] (by default the duration), shares.

    ``offered`` counts deliveries meant for a session; ``delivered`` those that arrived live at any time;
    ``carried_per_s`` only those that arrived within the offered period. ``delivered_share`` is of offered,
    ``discarded_share`` of pushes.
    """
    duration_s = until_s or outcome.world.duration_s
    return totals_of(flow_counts(outcome, duration_s), duration_s)


def flow_counts(outcome: Outcome, duration_s: float) -> Counter[str]:
    """The counts of :func:`throughput_totals`; ``carried`` are those that arrived live before ``duration_s``."""
    arrived = is_delivered(outcome)
    return Counter(
        {
            "messages": len(outcome.messages["time_s"]),
            "offered": int(_meant_for_a_session(outcome).sum()),
            "delivered": int(arrived.sum()),
            "carried": int((floats(outcome.deliveries, "time_s")[arrived] < duration_s).sum()),
            "pushes": int(np.sum(outcome.messages["pushes"], dtype=np.int64)),
            "discards": int(np.sum(outcome.messages["discards"], dtype=np.int64)),
        }
    )


def totals_of(counts: Counter[str], duration_s: float) -> pd.Series:
    """The row of :func:`throughput_totals`, out of counts."""
    return pd.Series(
        {
            "messages": counts["messages"],
            "messages_per_s": counts["messages"] / duration_s,
            "offered": counts["offered"],
            "offered_per_s": counts["offered"] / duration_s,
            "delivered": counts["delivered"],
            "delivered_share": _ratio(counts["delivered"], counts["offered"]),
            "carried_per_s": counts["carried"] / duration_s,
            "pushes": counts["pushes"],
            "discards": counts["discards"],
            "discarded_share": _ratio(counts["discards"], counts["pushes"]),
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


def most_connections(outcome: Outcome) -> int:
    """The most sessions that were online at a time: the largest of :func:`connections`, without making that path."""
    online_s, left_s = (np.maximum(floats(outcome.sessions, name), 0.0) for name in ("online_s", "left_s"))
    came_s, went_s = (np.sort(time_s[np.isfinite(time_s)]) for time_s in (online_s, left_s[np.isfinite(online_s)]))
    there = np.arange(1, len(came_s) + 1) - np.searchsorted(went_s, came_s, side="right")
    return int(there.max(initial=0))


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
    """The running sum of whole changes after each distinct time, per owner where one is given."""
    count = len(time_s)
    owned = np.zeros(count, np.int8) if owner is None else owner
    order = np.argsort(time_s) if owner is None else np.lexsort((time_s, owner))
    time_s, owned, total = time_s[order], owned[order], np.cumsum(change[order])
    of_another = owned[1:] != owned[:-1]
    is_last = np.append(of_another | (time_s[1:] != time_s[:-1]), True)[:count]
    first = np.flatnonzero(np.append(True, of_another)[:count])
    before = np.repeat(np.append(0.0, total)[first], np.diff(np.append(first, count)))
    whose = {} if owner is None else {owned_by: owned[is_last]}
    return pd.DataFrame({**whose, "time_s": time_s[is_last], what: (total - before)[is_last].astype(np.int64)})


def _meant_for_a_session(outcome: Outcome) -> Bools:
    """Without duplicates, which were meant for their session once already, what a later login reads, and what others
    than the audience got."""
    intended = set(Fate) - {Fate.DUPLICATE, Fate.READ_LATER, Fate.OVERHEARD, Fate.COPY}
    return np.greater_equal(outcome.deliveries["session"], 0) & among(outcome.deliveries["fate"], intended)


def _message_of(outcome: Outcome, chosen: Bools) -> Longs:
    return longs(outcome.deliveries, "message")[chosen]


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
