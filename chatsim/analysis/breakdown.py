"""How deliveries near a percentile spend their time: on links, waiting, in work, at gateways, broker and database.

A run notes when messages were written, routed and delivered, but not each hop. That takes a recorder that has followed
the messages (:class:`chatsim.engine.Recorder`); :func:`chatsim.study.again.breakdown` runs a run again with one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from chatsim.analysis.columns import Longs, floats, is_delivered, longs
from chatsim.analysis.hops import (
    HELD,
    OWN_WORK,
    QUEUE,
    RECIPIENTS_LINK,
    SENDERS_LINK,
    SERVERS_LINK,
    TICK,
    passage,
)
from chatsim.analysis.latency import least_samples
from chatsim.analysis.stations import tier_of
from chatsim.engine.outcome import Columns, Outcome, Work
from chatsim.scenario import AuditError

NEAR = {"p50": (0.5, 0.05), "p99": (0.99, 0.005)}
"""A percentile's share, and how far from it a delivery may lie to be near it."""
FOLLOWED_MAX = 200
TRAVELS, WAITS, SHARES, WORKS = "travels", "waits", "rest of its tick", "works"
WHATS = (TRAVELS, WAITS, SHARES, WORKS)
SENDER, CLIENT_LINK, SERVER_LINKS, STREAM, OUTBOUND, LAST_LINK = (
    "sender not connected", "sender's link", "links between servers", "held", "outbound queue", "recipient's link",
)  # fmt: skip
TIER_PLACES = {"gateway": "gateways", "broker": "broker", "database": "database"}
PLACES = (SENDER, CLIENT_LINK, *TIER_PLACES.values(), SERVER_LINKS, STREAM, OUTBOUND, LAST_LINK)
AT_STATIONS = {QUEUE: WAITS, TICK: SHARES, OWN_WORK: WORKS}


def near_percentiles(outcome: Outcome) -> dict[str, Longs]:
    """Live deliveries (rows of ``deliveries``) near each percentile of their latency, quickest first; where there are
    more than 200, every so many-th. A percentile for which there are too few deliveries is left out."""
    rows = np.flatnonzero(is_delivered(outcome))
    took_s = _took_s(outcome, rows)
    rows = rows[np.argsort(took_s, kind="stable")]
    found = {}
    for name, (share, width) in NEAR.items():
        if len(rows) < least_samples(share):
            continue
        first, last = math.floor((share - width) * len(rows)), math.ceil((share + width) * len(rows))
        near = rows[first:last]
        spread = np.linspace(0, len(near) - 1, min(len(near), FOLLOWED_MAX))
        found[name] = near[np.round(spread).astype(np.int64)]
    return found


def breakdown(
    outcome: Outcome, near: Mapping[str, Longs], visits: Columns, sent_off_s: Mapping[int, float]
) -> pd.DataFrame:
    """Where the time of deliveries near each percentile went, in the mean. One row per percentile, place and what:

    percentile; place and what (of ``PLACES`` and ``WHATS``, in their order); mean_ms, and share of whole_ms, the mean
    latency of these deliveries, to which the parts of a percentile add up; deliveries, how many were followed. Parts in
    which no delivery spends any time are left out.

    A message "travels" on links, where a client's includes being sent again. At a station it "waits" in the queue until
    its tick begins, "works" for the cost of its own item, and the "rest of its tick" is what that costs besides: the
    other items, wake, flush. (A worker that stands still for a full outbound queue works.) "held" is neither, such as
    a stream that keeps a message. It waits in the "outbound queue" of the recipient's session from being written until
    the last byte has left the gateway. ``near`` is of :func:`near_percentiles`, ``visits`` and ``sent_off_s`` are a
    recorder's.
    """
    parts = [_parts(outcome, name, rows, visits, sent_off_s) for name, rows in near.items() if len(rows)]
    columns = ["percentile", "place", "what", "mean_ms", "share", "whole_ms", "deliveries"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _parts(
    outcome: Outcome, name: str, rows: Longs, visits: Columns, sent_off_s: Mapping[int, float]
) -> pd.DataFrame:
    pieces = pd.concat([_pieces(outcome, row, visits, sent_off_s.get(row, math.nan)) for row in rows.tolist()])
    spent_ms = 1e3 * pieces.groupby(["place", "what"])["spent_s"].sum() / len(rows)
    whole_ms = 1e3 * float(_took_s(outcome, rows).mean())
    order = [key for key in ((place, what) for place in PLACES for what in WHATS) if spent_ms.get(key, 0.0) > 0]
    mean_ms = np.array([spent_ms[key] for key in order], dtype=np.float64)
    return pd.DataFrame(
        {
            "percentile": name,
            "place": [place for place, _ in order],
            "what": [what for _, what in order],
            "mean_ms": mean_ms,
            "share": mean_ms / whole_ms,
            "whole_ms": whole_ms,
            "deliveries": len(rows),
        }
    )


def _pieces(outcome: Outcome, row: int, visits: Columns, sent_off_s: float) -> pd.DataFrame:
    """The passage of one delivery, with the links of the clients each in two: place, what, spent_s."""
    message = int(outcome.deliveries["message"][row])
    whole = passage(outcome, visits, message, row)
    received = (visits["message"] == message) & (visits["work"] == Work.RECEIVE)
    if float(whole["end_s"].iloc[0]) not in visits["arrived_s"][received]:
        raise AuditError(f"delivery {row}: its way is not known back to where its sender's gateway had it")
    starts_s, ends_s = whole["start_s"].tolist(), whole["end_s"].tolist()
    spent = []
    for start_s, end_s, kind, station in zip(starts_s, ends_s, whole["kind"], whole["place"], strict=True):
        if kind == SENDERS_LINK:
            at_s = min(max(_connected_s(outcome, message, end_s), start_s), end_s)
            spent += [(SENDER, WAITS, at_s - start_s), (CLIENT_LINK, TRAVELS, end_s - at_s)]
        elif kind == RECIPIENTS_LINK:
            at_s = start_s if math.isnan(sent_off_s) else sent_off_s
            spent += [(OUTBOUND, WAITS, at_s - start_s), (LAST_LINK, TRAVELS, end_s - at_s)]
        elif kind == SERVERS_LINK:
            spent.append((SERVER_LINKS, TRAVELS, end_s - start_s))
        elif kind == HELD:
            spent.append((STREAM, WAITS, end_s - start_s))
        else:
            spent.append((TIER_PLACES[tier_of(station)], AT_STATIONS[kind], end_s - start_s))
    return pd.DataFrame(spent, columns=["place", "what", "spent_s"])


def _connected_s(outcome: Outcome, message: int, by_s: float) -> float:
    """When the session came online from which a message came to its gateway at ``by_s``: the last one of its device."""
    table = outcome.sessions
    own = int(outcome.messages["session"][message])
    same = (longs(table, "user") == table["user"][own]) & (longs(table, "device") == table["device"][own])
    online_s = floats(table, "online_s")[same]
    return float(np.max(online_s, where=online_s <= by_s, initial=-math.inf))


def _took_s(outcome: Outcome, rows: Longs) -> np.ndarray:
    message = longs(outcome.deliveries, "message")[rows]
    took_s: np.ndarray = floats(outcome.deliveries, "time_s")[rows] - floats(outcome.messages, "time_s")[message]
    return took_s
