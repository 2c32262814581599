"""What faults do, and how long it takes to get over them: broken sessions, tries to come back, what is lost or late.

A strike is a row of ``outcome.faults`` that a fault of the scenario has caused; what scaling does is none. A session
is broken where its gateway cut it (CUT) or closed it (CLOSED); the tries of its client are rows of their own, which
lead back to it by ``origin``. Figures are of the whole run unless they say since when. Where nothing is there to
measure, they are NaN.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

from chatsim.analysis.columns import Bools, Floats, Longs, floats, is_delivered, longs
from chatsim.analysis.latency import latency_ms, least_samples, percentiles
from chatsim.analysis.presence import presence
from chatsim.analysis.stations import TIERS, bin_edges_s, station_timeline
from chatsim.engine.outcome import Cause, Fate, FaultKind, Outcome, SessionFate
from chatsim.theory import demand_of, demand_of_world, message_work
from chatsim.theory.estimate import figure
from chatsim.theory.tiers import broker_flow, database_flow, gateway_login

WINDOW_S = 0.1           # tries are counted in any 100 ms,
WINDOW_LEAST_S = 1e-9    # and two that are 100 ms apart, but for rounding, are not in one
LATE_TIMES = 10.0        # a delivery is late from so many times the p99 before the first strike on
AFTERMATH_S = 30.0       # after the last strike others are looked at for so long, and longer while anybody is not back
BACKLOG_TIMES = 2.0      # a queue is a backlog where it is longer than so many times the longest before the first
BACKLOG_LEAST = 10       # strike, and than this
CAUSES = tuple(cause for cause in Cause if cause != Cause.NONE)
HIT = (SessionFate.CUT, SessionFate.CLOSED, SessionFate.FAILED, SessionFate.REFUSED)


def strikes(outcome: Outcome) -> pd.DataFrame:
    """What struck, in the order of time: fault (number in the scenario), kind and station in words ('' for none in
    particular), start_s, end_s (NaN: not over when the run ended). Caches are emptied at one moment."""
    table = outcome.faults
    struck = longs(table, "kind") != FaultKind.SCALING
    station, start_s = longs(table, "station")[struck], floats(table, "start_s")[struck]
    at_once = longs(table, "kind")[struck] == FaultKind.CACHE_EMPTIED
    return pd.DataFrame(
        {
            "fault": longs(table, "fault")[struck],
            "kind": [FaultKind(kind).name.lower() for kind in longs(table, "kind")[struck]],
            "station": [outcome.stations[number] if number >= 0 else "" for number in station],
            "start_s": start_s,
            "end_s": np.where(at_once, start_s, floats(table, "end_s")[struck]),
        }
    )


def first_strike_s(outcome: Outcome) -> float:
    """When the first fault struck; NaN where none did."""
    return float(strikes(outcome)["start_s"].min())


def relief_s(outcome: Outcome) -> float:
    """When the last strike was over, or began where it has no end within the run; NaN where nothing struck."""
    found = strikes(outcome)
    return float(found["end_s"].fillna(found["start_s"]).max())


def recovery(outcome: Outcome) -> pd.Series:
    """What the faults did, in one row.

    ``strikes``, ``first_strike_s``. Of sessions: ``sessions_hit`` (cut) and ``sessions_closed`` (by a full outbound
    queue); of these ``back``, ``never_back``, and ``ended_first``: their planned end came before they were back.
    ``back_p50_s``, ``back_p99_s``, ``back_all_s``: from the break until that share of those who had to come back was
    online again; NaN where fewer ever were, and p99 only of 100 or more. ``logins_failed``: first ones that failed or
    were refused. ``tries`` to come online after either, ``tries_failed`` of them; ``peak_tries_per_100ms``: most that
    began in any 100 ms, which began at ``peak_tries_s``.

    Of messages x recipients: ``lost``, ``refused``, and each by cause (``lost_crashed``). ``read_later``: deliveries by
    a later login; ``late``: live ones that took more than 10 times the p99 before the first strike; ``duplicates``;
    ``resent``: messages sent more than once; ``order_violations``: deliveries of a session that came after one of the
    same room that its gateway had received later. ``ghost_user_s`` as :func:`chatsim.analysis.presence` has it.

    ``backlog_max``: longest queue since the first strike, as a tick finds it, at ``backlog_station``. ``drain_s``: from
    the relief (see :func:`relief_s`) until every queue that grew beyond what it had been is back to the p99 of before;
    NaN where some are not within the run, which ``undrained`` counts. ``unaffected_users`` have had sessions of which
    none was cut, closed, failed or refused; the p99 of what they got live from each other (what those who were hit
    wrote comes late, whatever the system does): ``unaffected_after_p99_ms`` since the first strike until all are back,
    at least 30 s after the relief, and ``unaffected_before_p99_ms`` for as long before it.
    """
    broken = comebacks(outcome)
    return pd.Series(
        {
            "strikes": len(strikes(outcome)),
            "first_strike_s": first_strike_s(outcome),
            **_back(broken),
            **_tries(outcome),
            **_lost(outcome),
            **_odd(outcome),
            **_backlog(outcome),
            **_unaffected(outcome, float(broken["back_s"].max())),
        },
        dtype=object,
    )


# --------------------------------------------------------------------------- sessions


def comebacks(outcome: Outcome) -> pd.DataFrame:
    """One row per session that broke: session, user, closed (by its gateway, not cut), cut_s, back_s (first session
    online in its chain of tries; NaN: none), ended_first (it is not back, and was to end within the run)."""
    table = outcome.sessions
    online_s, fate = floats(table, "online_s"), longs(table, "fate")
    back_s = np.full(len(fate), np.inf)
    continued = _continued(outcome)
    came = (continued >= 0) & np.isfinite(online_s)
    np.minimum.at(back_s, continued[came], online_s[came])
    broke = np.flatnonzero(np.isin(fate, (SessionFate.CUT, SessionFate.CLOSED)))
    cut_s = floats(table, "cut_s")[broke]
    absent = np.isinf(back_s[broke])
    return pd.DataFrame(
        {
            "session": broke,
            "user": longs(table, "user")[broke],
            "closed": fate[broke] == SessionFate.CLOSED,
            "cut_s": np.where(np.isfinite(cut_s), cut_s, floats(table, "left_s")[broke]),
            "back_s": np.where(absent, np.nan, back_s[broke]),
            "ended_first": absent & (floats(table, "end_s")[broke] <= outcome.end_s),
        }
    )


def peak_tries(start_s: npt.ArrayLike) -> tuple[int, float]:
    """Most tries that began in any 100 ms, and when the first such 100 ms began; (0, NaN) without tries.

    >>> peak_tries([5.0, 1.0, 1.05, 1.1])
    (2, 1.0)
    """
    ordered = np.sort(np.asarray(start_s, dtype=np.float64))
    if not len(ordered):
        return 0, math.nan
    counts = _in_window(ordered)
    place = int(np.argmax(counts))
    return int(counts[place]), float(ordered[place])


def tries_s(outcome: Outcome) -> Floats:
    """When tries to come back began, in order."""
    return np.sort(floats(outcome.sessions, "start_s")[longs(outcome.sessions, "origin") >= 0])


def peaks_of(start_s: Floats, edges_s: Floats) -> Longs:
    """For each bin, the most tries in any 100 ms that begins in it; ``start_s`` in order.

    >>> peaks_of(np.array([1.0, 1.05, 1.1]), np.array([0.0, 1.0, 2.0])).tolist()
    [0, 2]
    """
    peaks = np.zeros(len(edges_s) - 1, np.int64)
    place = np.searchsorted(edges_s, start_s, side="right") - 1
    inside = (place >= 0) & (place < len(peaks))
    np.maximum.at(peaks, place[inside], _in_window(start_s)[inside])
    return peaks


def _in_window(ordered_s: Floats) -> Longs:
    """How many times lie in the 100 ms that begin with each."""
    ends = np.searchsorted(ordered_s, ordered_s + WINDOW_S - WINDOW_LEAST_S, side="left")
    return np.asarray(ends - np.searchsorted(ordered_s, ordered_s, side="left"), dtype=np.int64)


def _continued(outcome: Outcome) -> Longs:
    """For each try the session that its client goes on with: the last one of the chain that was online, or else where
    the chain began. -1 for what is no try."""
    origin = longs(outcome.sessions, "origin")
    was_online = np.isfinite(floats(outcome.sessions, "online_s"))
    head = np.where(~was_online & (origin >= 0), origin, np.arange(len(origin)))
    while not np.array_equal(head[head], head):
        head = head[head]
    return np.where(origin >= 0, head[origin], -1)


def _back(broken: pd.DataFrame) -> dict[str, float]:
    had_to = broken[~broken["ended_first"]]
    took_s = np.sort((had_to["back_s"] - had_to["cut_s"]).fillna(np.inf).to_numpy())
    return {
        "sessions_hit": int((~broken["closed"]).sum()),
        "sessions_closed": int(broken["closed"].sum()),
        "back": int(broken["back_s"].notna().sum()),
        "never_back": int(np.isinf(took_s).sum()),
        "ended_first": int(broken["ended_first"].sum()),
        "back_p50_s": _reached_s(took_s, 0.5),
        "back_p99_s": _reached_s(took_s, 0.99),
        "back_all_s": _finite(float(took_s[-1])) if len(took_s) else math.nan,
    }


def _reached_s(took_s: Floats, share: float) -> float:
    """When a share of all was back; NaN where there are too few to tell, or too many never were."""
    n = len(took_s)
    return _finite(float(took_s[math.ceil(share * n - 1e-6) - 1])) if n >= least_samples(share) else math.nan


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.nan


def _tries(outcome: Outcome) -> dict[str, float]:
    table = outcome.sessions
    is_try = longs(table, "origin") >= 0
    failed = np.isin(longs(table, "fate"), (SessionFate.FAILED, SessionFate.REFUSED))
    peak, peak_s = peak_tries(tries_s(outcome))
    return {
        "logins_failed": int((failed & ~is_try).sum()),
        "tries": int(is_try.sum()),
        "tries_failed": int((failed & is_try).sum()),
        "peak_tries_per_100ms": peak,
        "peak_tries_s": peak_s,
    }


# --------------------------------------------------------------------------- messages


def losses(outcome: Outcome) -> pd.DataFrame:
    """One row per message x recipient that is lost or refused: message, recipient, fate and cause (numbers), time_s at
    which the message was written. One that some session of the recipient has, or that is kept for it, is in no row."""
    table = outcome.deliveries
    fate, message = longs(table, "fate"), longs(table, "message")
    pair = message * outcome.world.users + longs(table, "recipient")
    has_it = np.isin(fate, (Fate.DELIVERED, Fate.READ_LATER, Fate.STORED))
    gone = np.flatnonzero(np.isin(fate, (Fate.LOST, Fate.REFUSED)) & ~np.isin(pair, pair[has_it]))
    rows = pd.DataFrame(
        {
            "message": message[gone],
            "recipient": longs(table, "recipient")[gone],
            "fate": fate[gone],
            "cause": longs(table, "cause")[gone],
            "time_s": floats(outcome.messages, "time_s")[message[gone]],
        }
    )
    return rows.sort_values("fate", kind="stable").drop_duplicates(["message", "recipient"], ignore_index=True)


def _lost(outcome: Outcome) -> dict[str, float]:
    rows = losses(outcome)
    figures: dict[str, float] = {}
    for name, end in (("lost", Fate.LOST), ("refused", Fate.REFUSED)):
        causes = rows.loc[rows["fate"] == end, "cause"].to_numpy()
        counts = np.bincount(causes, minlength=len(Cause))
        figures |= {name: len(causes)} | {f"{name}_{cause.name.lower()}": int(counts[cause]) for cause in CAUSES}
    return figures


def _odd(outcome: Outcome) -> dict[str, float]:
    """What comes late, twice, or in another order, and who is shown that is not there."""
    fate = longs(outcome.deliveries, "fate")
    first_s = first_strike_s(outcome)
    arrived_s, took_ms = floats(outcome.deliveries, "time_s")[is_delivered(outcome)], latency_ms(outcome)
    usual_ms = percentiles(took_ms[arrived_s < first_s])["p99_ms"]
    is_shown = outcome.scenario.presence.show_to != "none"
    return {
        "read_later": int((fate == Fate.READ_LATER).sum()),
        "late": math.nan if math.isnan(usual_ms) else int((took_ms > LATE_TIMES * usual_ms).sum()),
        "duplicates": int((fate == Fate.DUPLICATE).sum()),
        "resent": int((longs(outcome.messages, "sends") > 1).sum()),
        "order_violations": _order_violations(outcome),
        "ghost_user_s": float(presence(outcome)["ghost_user_s"]) if is_shown else math.nan,
    }


def _order_violations(outcome: Outcome) -> int:
    """Deliveries that came to a session after one of the same room which its gateway had received later. What comes at
    one instant is in order."""
    table = outcome.deliveries
    message = longs(table, "message")
    received_s, time_s = floats(outcome.messages, "received_s")[message], floats(table, "time_s")
    came = np.isin(longs(table, "fate"), (Fate.DELIVERED, Fate.READ_LATER)) & (longs(table, "session") >= 0)
    came &= np.isfinite(received_s) & np.isfinite(time_s)
    rows = pd.DataFrame(
        {
            "session": longs(table, "session")[came],
            "room": longs(outcome.messages, "room")[message[came]],
            "time_s": time_s[came],
            "received_s": received_s[came],
        }
    ).sort_values(["session", "room", "time_s", "received_s"])
    newest_s = rows.groupby(["session", "room"])["received_s"].cummax()
    return int((rows["received_s"] < newest_s).sum())


# --------------------------------------------------------------------------- stations and others


def _backlog(outcome: Outcome) -> dict[str, object]:
    """Queues are what a tick finds: the items that it takes, and those that it leaves."""
    table = outcome.ticks
    first_s, over_s = first_strike_s(outcome), relief_s(outcome)
    order = np.lexsort((floats(table, "start_s"), longs(table, "station")))
    station, start_s = longs(table, "station")[order], floats(table, "start_s")[order]
    queue = (floats(table, "items") + floats(table, "waiting"))[order]
    since = np.flatnonzero(start_s >= first_s)
    longest = since[np.argmax(queue[since])] if len(since) else -1
    bounds = np.searchsorted(station, np.arange(len(outcome.stations) + 1))
    drains_s = [
        _drain_s(start_s[begin:end], queue[begin:end], first_s, over_s)
        for begin, end in pairwise(bounds.tolist())
    ]
    known_s = [drain_s for drain_s in drains_s if drain_s is not None]
    undrained = sum(math.isinf(drain_s) for drain_s in known_s)
    return {
        "backlog_max": int(queue[longest]) if longest >= 0 else math.nan,
        "backlog_station": outcome.stations[station[longest]] if longest >= 0 else "",
        "drain_s": _finite(max(known_s, default=math.nan)),
        "undrained": undrained if known_s else math.nan,
    }


def _drain_s(start_s: Floats, queue: Floats, first_s: float, over_s: float) -> float | None:
    """From the relief until a station's queue is back to its level, after its longest since then. 0 where that is no
    backlog, inf where it does not come back within the run, None where the level of before is not known."""
    before, since = queue[start_s < first_s], start_s >= over_s
    if not len(before):
        return None
    longest = int(np.argmax(queue[since])) if since.any() else 0
    if not since.any() or queue[since][longest] <= max(BACKLOG_TIMES * float(before.max()), BACKLOG_LEAST):
        return 0.0
    level = np.quantile(before, 0.99, method="inverted_cdf")
    low = np.flatnonzero(queue[since][longest:] <= level)
    return float(start_s[since][longest + low[0]] - over_s) if len(low) else math.inf


def _unaffected(outcome: Outcome, last_back_s: float) -> dict[str, float]:
    first_s = first_strike_s(outcome)
    user = longs(outcome.sessions, "user")
    hit = user[np.isin(longs(outcome.sessions, "fate"), HIT)]
    others = np.setdiff1d(user, hit)
    live = is_delivered(outcome)
    sender = longs(outcome.messages, "sender")[longs(outcome.deliveries, "message")[live]]
    theirs = np.isin(longs(outcome.deliveries, "recipient")[live], others) & ~np.isin(sender, hit)
    arrived_s, took_ms = floats(outcome.deliveries, "time_s")[live][theirs], latency_ms(outcome)[theirs]
    until_s = float(np.fmax(relief_s(outcome) + AFTERMATH_S, last_back_s))
    after = (arrived_s >= first_s) & (arrived_s < until_s)
    before = (arrived_s >= 2 * first_s - until_s) & (arrived_s < first_s)
    return {
        "unaffected_users": len(others),
        "unaffected_before_p99_ms": percentiles(took_ms[before])["p99_ms"],
        "unaffected_after_p99_ms": percentiles(took_ms[after])["p99_ms"],
    }


# --------------------------------------------------------------------------- against a calm run


def amplification(outcome: Outcome, calm: Outcome) -> float:
    """How many calm logins' work the faults cost for each try that came online; NaN where none did.

    (busy seconds of all stations with the faults - the same without, on the same trace) / (tries that came online x
    :func:`login_work_s`). Work that the faults spare, at a station that is gone say, counts against it, so that it may
    be negative. A calm login is taken at the cost of its items alone; the ticks, wakes and flushes that a run pays
    besides are in the busy seconds.
    """
    online = np.isfinite(floats(outcome.sessions, "online_s")) & (longs(outcome.sessions, "origin") >= 0)
    calm_s = int(online.sum()) * login_work_s(calm)
    return (_busy_s(outcome) - _busy_s(calm)) / calm_s if calm_s else math.nan


def login_work_s(outcome: Outcome) -> float:
    """Seconds of work of a login and the logout after it at all stations, as the estimate has it: the items alone.

    Handshake, token, close, requests and replies at the gateway; subscriptions and the registry at the broker, the read
    of what was missed there or in the database. Missed messages, friend lists, rights and presence are not in it.
    """
    scenario = outcome.scenario
    if scenario.design.offline == "push":  # what was missed is read as with 'store', which the estimate knows
        scenario = scenario.model_copy(update={"design": scenario.design.model_copy(update={"offline": "store"})})
    asked = demand_of_world(outcome.world, scenario) if scenario.workload.trace else demand_of(scenario)
    one = replace(asked, logins_per_s=1.0, messages_per_s=0.0)
    work_us = gateway_login(scenario, one).work_us + database_flow(scenario, one).work_us
    if scenario.has_broker:
        design = scenario.design
        work = message_work(design.routing, design.gateways, one.audience, design.mesh_directory, design.local_shortcut)
        work_us += scenario.broker.nodes * broker_flow(scenario, one, work).work_us
    return 1e-6 * work_us


def _busy_s(outcome: Outcome) -> float:
    return float((floats(outcome.ticks, "end_s") - floats(outcome.ticks, "start_s")).sum())


# --------------------------------------------------------------------------- over time


def timeline(outcome: Outcome, step_s: float) -> pd.DataFrame:
    """The run in bins of step_s over [0, duration_s] (the last may be shorter).

    Columns: start_s, end_s; online: sessions online at the start of the bin; tries that began in it, and
    tries_per_100ms: most in any 100 ms that begins in it; deliveries (live) that came, and of their latency p99_ms (NaN
    for fewer than 100) and max_ms (NaN for none); lost and refused: messages x recipients, by when the message was
    written; gateway_waiting, broker_waiting, database_waiting: longest queue of a station of the tier, as a tick finds
    it or in the mean of the bin (NaN: no such tier).
    """
    edges_s = bin_edges_s(outcome.world.duration_s, step_s)
    tries, gone = tries_s(outcome), losses(outcome)
    arrived_s = floats(outcome.deliveries, "time_s")[is_delivered(outcome)]
    count, p99_ms, max_ms = _latencies_ms(arrived_s, latency_ms(outcome), edges_s)
    return pd.DataFrame(
        {
            "start_s": edges_s[:-1],
            "end_s": edges_s[1:],
            "online": _online(outcome, edges_s[:-1]),
            "tries": _counted(tries, edges_s),
            "tries_per_100ms": peaks_of(tries, edges_s),
            "deliveries": count,
            "p99_ms": p99_ms,
            "max_ms": max_ms,
            "lost": _counted(gone.loc[gone["fate"] == Fate.LOST, "time_s"].to_numpy(), edges_s),
            "refused": _counted(gone.loc[gone["fate"] == Fate.REFUSED, "time_s"].to_numpy(), edges_s),
            **_waiting(outcome, step_s, len(edges_s) - 1),
        }
    )


def _counted(time_s: Floats, edges_s: Floats) -> Longs:
    """How many times lie in each half-open bin."""
    return np.diff(np.searchsorted(np.sort(time_s), edges_s, side="left"))


def _online(outcome: Outcome, at_s: Floats) -> Longs:
    """Sessions online at each time; one that breaks is online until its gateway's side breaks or its client leaves."""
    table = outcome.sessions
    came = np.isfinite(floats(table, "online_s"))
    until_s = np.fmin(floats(table, "left_s"), floats(table, "cut_s"))[came]
    begun = np.searchsorted(np.sort(floats(table, "online_s")[came]), at_s, side="right")
    over = np.searchsorted(np.sort(until_s[np.isfinite(until_s)]), at_s, side="right")
    return np.asarray(begun - over, dtype=np.int64)


def _latencies_ms(arrived_s: Floats, took_ms: Floats, edges_s: Floats) -> tuple[Longs, Floats, Floats]:
    """Deliveries per bin, the p99 of their latency, and the longest."""
    bins = len(edges_s) - 1
    place = np.searchsorted(edges_s, arrived_s, side="right") - 1
    inside = (place >= 0) & (place < bins)
    place, took_ms = place[inside], took_ms[inside]
    took_ms = took_ms[np.lexsort((took_ms, place))]
    count = np.bincount(place, minlength=bins)
    first, found = np.cumsum(count) - count, []
    for share, least in ((0.99, least_samples(0.99)), (1.0, 1)):
        enough: Bools = count >= least
        rank = first + np.ceil(share * count - 1e-6).astype(np.int64) - 1
        value_ms = np.full(bins, np.nan)
        value_ms[enough] = took_ms[rank[enough]]
        found.append(value_ms)
    return count, found[0], found[1]


def _waiting(outcome: Outcome, step_s: float, bins: int) -> dict[str, Floats]:
    """Longest queue per tier and bin. A queue that no tick looks at for a while has a mean all the same."""
    table = station_timeline(outcome, step_s)
    table["longest"] = table[["largest_queue_items", "mean_queue_items"]].max(axis=1)
    longest = table.groupby(["tier", "start_s"])["longest"].max()
    found = set(table["tier"])
    return {
        f"{tier}_waiting": longest[tier].to_numpy(dtype=np.float64) if tier in found else np.full(bins, np.nan)
        for tier in TIERS
    }


# --------------------------------------------------------------------------- in words

STRUCK = {
    FaultKind.GATEWAY_CRASH: "crash of {}",
    FaultKind.DRAIN: "drain of {}",
    FaultKind.BROKER_DOWN: "outage of {}",
    FaultKind.DATABASE_DOWN: "outage of the {}",
    FaultKind.PARTITION: "partition of {} from the broker",
    FaultKind.SLOW: "slowness of {}",
    FaultKind.LINK: "trouble on a link",
    FaultKind.CACHE_EMPTIED: "empty caches",
    FaultKind.SLOW_CLIENTS: "slow clients",
}
SAID_MAX = 3
ENDS = {"lost": "lost", "refused": "refused", "read_later": "read later"}


def verdict(outcome: Outcome, calm: Outcome, row: pd.Series | None = None) -> str:
    """What the faults came to, in one to three sentences, against a calm run of the same trace.

    ``row`` is :func:`recovery` of the outcome, where that is known already.
    """
    if not len(strikes(outcome)):
        return "Nothing struck: the faults hit no station of this design within the run."
    row = recovery(outcome) if row is None else row
    first = f"{_struck_said(outcome)}: {_sessions_said(calm, row)}; {_messages_said(outcome, calm, row)}."
    return " ".join([first, *_back_said(row), *_others_said(row)])


def struck(outcome: Outcome) -> pd.DataFrame:
    """One row per fault that struck: what it was, in words, start_s of its first strike, end_s of its last (NaN: to the
    end of the run)."""
    rows = []
    for _, part in strikes(outcome).groupby("fault", sort=False):
        words = STRUCK[FaultKind[str(part["kind"].iloc[0]).upper()]].format(_stations_said(part["station"]))
        rows.append((words, float(part["start_s"].min()), float(part["end_s"].max(skipna=False))))
    return pd.DataFrame(rows, columns=["what", "start_s", "end_s"])


def _stations_said(names: pd.Series) -> str:
    """One or two stations by name, more by number."""
    known = list(dict.fromkeys(names))
    if len(known) <= 2:
        return " and ".join(known)
    tiers = {name.partition("-")[0] for name in known}
    kind = {"gateway": "gateways", "broker": "broker nodes"}.get(tiers.pop() if len(tiers) == 1 else "", "stations")
    return f"{len(known):,} {kind}"


def _struck_said(outcome: Outcome) -> str:
    table = struck(outcome)
    said = [
        f"{what} {_when_said(start_s, end_s)}"
        for what, start_s, end_s in table.head(SAID_MAX).itertuples(index=False, name=None)
    ]
    more = [f"{len(table) - SAID_MAX:,} more"] if len(table) > SAID_MAX else []
    text = ", ".join([*said, *more])
    return text[0].upper() + text[1:]


def _when_said(start_s: float, end_s: float) -> str:
    if math.isnan(end_s):
        return f"from {start_s:.4g} s on"
    return f"at {start_s:.4g} s" if end_s <= start_s else f"from {start_s:.4g} to {end_s:.4g} s"


def _sessions_said(calm: Outcome, row: pd.Series) -> str:
    closed, failed = row["sessions_closed"], row["logins_failed"]
    said = [f"{_many(row['sessions_hit'], 'session', 'sessions')} cut"]
    if closed:
        said.append(f"{closed:,} closed{_in_calm(_back(comebacks(calm))['sessions_closed'])}")
    if failed:
        said.append(f"{_many(failed, 'login', 'logins')} failed{_in_calm(_tries(calm)['logins_failed'])}")
    return ", ".join(said)


def _in_calm(count: float) -> str:
    return f" ({count:,} in calm)" if count else ""


def _many(count: int, one: str, more: str) -> str:
    return f"{count:,} {one if count == 1 else more}"


def _messages_said(outcome: Outcome, calm: Outcome, row: pd.Series) -> str:
    """What became of messages, beside what becomes of them in any case."""
    ordinary = {**_lost(calm), "read_later": int((longs(calm.deliveries, "fate") == Fate.READ_LATER).sum())}
    ends = [f"{row[name]:,} {words}{_in_calm(ordinary[name])}" for name, words in ENDS.items()]
    late = "" if math.isnan(row["late"]) else f", {row['late']:,} late"
    missed = len(np.setdiff1d(_live(calm), _live(outcome)))
    return (
        f"of messages x recipients {missed:,} not live that are in calm, {', '.join(ends)}{late}, "
        f"{row['duplicates']:,} twice"
    )


def _live(outcome: Outcome) -> Longs:
    """Messages x recipients that some session has live, as one number each."""
    came = is_delivered(outcome)
    message, recipient = longs(outcome.deliveries, "message")[came], longs(outcome.deliveries, "recipient")[came]
    return message * outcome.world.users + recipient


def _back_said(row: pd.Series) -> list[str]:
    had_to = int(row["back"] + row["never_back"])
    storm = f"{_many(row['tries'], 'try', 'tries')}, at most {row['peak_tries_per_100ms']:,} in 100 ms"
    if not had_to:
        return [f"To come online took {storm}."] if row["tries"] else []
    reached = {"half": row["back_p50_s"], "99 %": row["back_p99_s"], "all": row["back_all_s"]}
    times = [(share, f"after {figure(time_s)} s") for share, time_s in reached.items() if not math.isnan(time_s)]
    (share, when), *later = times or [(f"{row['back']:,}", "in the end")]
    said = ", ".join([f"{share} were back {when}", *(" ".join(each) for each in later)])
    never = f", {row['never_back']:,} never" if row["never_back"] else ""
    return [f"Of {had_to:,} who had to come back {said}{never}; {storm}."]


def _others_said(row: pd.Series) -> list[str]:
    before_ms, after_ms = row["unaffected_before_p99_ms"], row["unaffected_after_p99_ms"]
    if math.isnan(before_ms) or math.isnan(after_ms):
        return []
    said = f"the p99 was {figure(after_ms)} ms meanwhile, {figure(before_ms)} ms before"
    return [f"Among users whose sessions held {said}."]
