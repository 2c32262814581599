"""What a chat log comes to in a few figures: how many people write how much, to whom, when, and in which bursts.

All figures are of private messages; a message to a group makes nobody a partner. They are what the behaviour model is
fitted to (see :mod:`chatsim.study.fit`), and what a model and a log are compared by.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chatsim.analysis.columns import Bools, Floats, Longs
from chatsim.analysis.friendlists import OPENING_GAP_S, PrivateMessages, contact_ranks, private_messages
from chatsim.scenario.errors import InputError
from chatsim.world.tables import World

HOUR_S, DAY_S = 3600.0, 86400.0
QUICK_S = 600.0
TOP_SHARE = 0.1
CLOCK_STEPS_S = (HOUR_S, 60.0, 1.0)
EXPONENT_MAX = 5.0


@dataclass(frozen=True, slots=True)
class Figure:
    """A marginal: what it is, and its unit ('share' is shown in percent)."""

    meaning: str
    unit: str


FIGURES = {
    "users_active": Figure("users who write or are written to", "users"),
    "senders": Figure("users who write", "users"),
    "messages": Figure("private messages", "messages"),
    "messages_per_day": Figure("messages per day", "messages/day"),
    "half_written_days": Figure("time by which half of them are written", "days"),
    "half_seen_days": Figure("time by which half of the active users have appeared", "days"),
    "first_ever_share": Figure("messages that are the first of their pair", "share"),
    "quick_reply_share": Figure("messages that follow one from that person within 10 min", "share"),
    "conversation_length_mean": Figure("messages per conversation at a 30-min gap, mean", "messages"),
    "conversation_length_p90": Figure("the same, p90", "messages"),
    "conversation_length_p99": Figure("the same, p99", "messages"),
    "recency_exponent": Figure("exponent of the recency rank at openings", ""),
    "partners_mean": Figure("partners per active user, mean", "users"),
    "partners_median": Figure("the same, median", "users"),
    "partners_p90": Figure("the same, p90", "users"),
    "partners_p99": Figure("the same, p99", "users"),
    "partners_max": Figure("the same, most", "users"),
    "top_senders_share": Figure("messages written by the top 10 % of senders", "share"),
    "sent_per_active_day_mean": Figure("messages of a sender per day on which it writes, mean", "messages"),
    "sent_per_active_day_p90": Figure("the same, p90", "messages"),
    "burstiness": Figure("burstiness of times between a sender's messages", ""),
    "gap_s_p10": Figure("time between a sender's messages, p10", "s"),
    "gap_s_p50": Figure("the same, median", "s"),
    "gap_s_p90": Figure("the same, p90", "s"),
    "gap_s_p99": Figure("the same, p99", "s"),
    "writing_sessions": Figure("bouts of writing: a sender silent for 30 min begins another", "bouts"),
    "hour_peak_ratio": Figure("busiest hour of the day / mean hour", ""),
}


def marginals(world: World, clock_s: float | None = None) -> dict[str, float]:
    """The figures of a world, in the order of ``FIGURES``; NaN where there is nothing to count.

    Times are first rounded down to multiples of ``clock_s``, by default the clock of the trace itself (see
    :func:`clock_step_s`), so that a model is compared with a log as that log would have noted it. Definitions:

    - a reply is quick where the recipient has written to the sender within the 10 min before;
    - a conversation opens where its pair has been silent for more than 30 min, or is new;
    - the recency exponent is that of weights rank ** -x over the contacts, of maximum likelihood at openings to known
      contacts;
    - burstiness is (sd - mean) / (sd + mean) of the times between messages, those of all senders together;
    - hours and days are counted from the start of the run.

    Raises InputError where the world has no private message.
    """
    private = private_messages(world)
    if not len(private.sender):
        raise InputError("no private messages: at least one between two users is needed")
    step_s = clock_step_s(world) if clock_s is None else clock_s
    time_s = np.floor(private.time_s / step_s) * step_s if step_s else private.time_s
    silent_s = _since_last(time_s, _pair(private, world.users))
    opens = silent_s > OPENING_GAP_S
    gap_s = sender_gaps(time_s, private.sender)
    partners = partners_per_user(private, world.users)
    days = world.duration_s / DAY_S
    lengths = np.diff(np.append(np.flatnonzero(_by_pair(opens, private, world.users)), len(opens)))
    sent = np.bincount(private.sender, minlength=world.users)
    per_day = np.unique(_cells(private.sender, time_s // DAY_S), return_counts=True)[1]
    hours = np.bincount((time_s % DAY_S // HOUR_S).astype(np.int64), minlength=24)
    figures = {
        "users_active": len(partners),
        "senders": int((sent > 0).sum()),
        "messages": len(time_s),
        "messages_per_day": len(time_s) / days if days else math.nan,
        "half_written_days": float(np.median(time_s)) / DAY_S,
        "half_seen_days": float(np.median(_first_seen(private, time_s, world.users))) / DAY_S,
        "first_ever_share": float(np.isinf(silent_s).mean()),
        "quick_reply_share": float(replies_within(private, time_s, world.users, QUICK_S).mean()),
        **_spread("conversation_length", lengths, {"mean": np.mean, "p90": _quantile(0.9), "p99": _quantile(0.99)}),
        "recency_exponent": recency_exponent(world, opens),
        **_spread("partners", partners, PARTNER_STATISTICS),
        "top_senders_share": top_share(sent),
        **_spread("sent_per_active_day", per_day, {"mean": np.mean, "p90": _quantile(0.9)}),
        "burstiness": burstiness(gap_s),
        **_spread("gap_s", gap_s, {f"p{percent}": _quantile(percent / 100) for percent in (10, 50, 90, 99)}),
        "writing_sessions": int((sent > 0).sum()) + int((gap_s > OPENING_GAP_S).sum()),
        "hour_peak_ratio": float(hours.max() / hours.mean()),
    }
    return {name: float(figures[name]) for name in FIGURES}


def clock_step_s(world: World) -> float:
    """The clock by which a world's messages are timed: all at whole hours, minutes or seconds, else 0."""
    time_s = world.messages.time_s
    return next((step for step in CLOCK_STEPS_S if not np.any(time_s % step)), 0.0) if len(time_s) else 0.0


def burstiness(gap_s: Floats) -> float:
    """(sd - mean) / (sd + mean): -1 for a clock, 0 for a Poisson process, 1 for the greatest bursts.

    Source: Goh, Barabasi 2008, "Burstiness and memory in complex systems", doi:10.1209/0295-5075/81/48002.

    >>> burstiness(np.array([5.0, 5.0])), burstiness(np.array([0.0, 0.0, 0.0, 8.0]))
    (-1.0, 0.2679491924311227)
    """
    total = gap_s.std() + gap_s.mean() if len(gap_s) else 0.0
    return float((gap_s.std() - gap_s.mean()) / total) if total else math.nan


def top_share(sent: Longs) -> float:
    """Share of the messages that the top tenth of those who write has written, at least one of them."""
    senders = np.sort(sent[sent > 0])[::-1]
    return float(senders[: max(1, round(TOP_SHARE * len(senders)))].sum() / senders.sum())


def sender_gaps(time_s: Floats, sender: Longs) -> Floats:
    """Times between the successive messages of each sender, of all senders together."""
    order = np.argsort(sender, kind="stable")
    return np.diff(time_s[order])[np.diff(sender[order]) == 0]


def partners_per_user(private: PrivateMessages, users: int) -> Longs:
    """With how many others each active user has exchanged messages, either way."""
    pairs = np.unique(_pair(private, users))
    count = np.bincount(np.concatenate([pairs // users, pairs % users]), minlength=users)
    return count[count > 0]


def replies_within(private: PrivateMessages, time_s: Floats, users: int, within_s: float) -> Bools:
    """Whether the recipient of each message has written to its sender at most ``within_s`` before."""
    there, back = private.sender * users + private.recipient, private.recipient * users + private.sender
    rows = np.arange(len(there))
    order = np.argsort(there, kind="stable")
    keys = _cells(there[order], rows[order])
    place = np.searchsorted(keys, _cells(back, rows)) - 1
    last = order[np.maximum(place, 0)]
    quick: Bools = (place >= 0) & (there[last] == back) & (time_s - time_s[last] <= within_s)
    return quick


def recency_exponent(world: World, chosen: Bools) -> float:
    """The exponent x of weights rank ** -x over a sender's contacts that makes the ranks of the chosen private messages
    most likely, first contacts left out; NaN where no choice was to be made."""
    from scipy.optimize import minimize_scalar

    private = private_messages(world)
    rank, known = contact_ranks(world), contacts_known(private, world.users)
    rows = chosen & (rank > 0) & (known > 1)
    if not rows.any():
        return math.nan
    log_ranks, sizes = float(np.log(rank[rows]).sum()), np.bincount(known[rows])
    logs = np.log(np.arange(1, len(sizes)))

    def cost(exponent: float) -> float:
        return exponent * log_ranks + float(np.log(np.cumsum(np.exp(-exponent * logs))) @ sizes[1:])

    return float(minimize_scalar(cost, bounds=(0.0, EXPONENT_MAX), method="bounded").x)


def contacts_known(private: PrivateMessages, users: int) -> Longs:
    """How many contacts the sender of each message had just before it."""
    rows = np.flatnonzero(np.isinf(private.silent_s))
    keys = np.sort(_cells(np.concatenate([private.sender[rows], private.recipient[rows]]), np.tile(rows, 2),
                          len(private.sender)))
    wanted = _cells(private.sender, np.arange(len(private.sender)), len(private.sender))
    none = _cells(private.sender, np.zeros(len(private.sender)), len(private.sender))
    return np.searchsorted(keys, wanted) - np.searchsorted(keys, none)


def _quantile(share: float) -> Callable[[npt.NDArray[np.generic]], float]:
    return lambda values: float(np.quantile(values.astype(float), share))


PARTNER_STATISTICS: dict[str, Callable[..., float]] = {
    "mean": np.mean, "median": np.median, "p90": _quantile(0.9), "p99": _quantile(0.99), "max": np.max,
}


def _spread(
    name: str, values: npt.NDArray[np.generic], statistics: dict[str, Callable[..., float]]
) -> dict[str, float]:
    return {f"{name}_{which}": float(of(values)) if len(values) else math.nan for which, of in statistics.items()}


def _pair(private: PrivateMessages, users: int) -> Longs:
    """The pair of each message as one number, the lower user first."""
    low, high = np.minimum(private.sender, private.recipient), np.maximum(private.sender, private.recipient)
    return low * users + high


def _by_pair(values: Bools, private: PrivateMessages, users: int) -> Bools:
    """The values in the order of pairs, each pair's in the order of the log."""
    return values[np.argsort(_pair(private, users), kind="stable")]


def _since_last(time_s: Floats, pair: Longs) -> Floats:
    """Time since the pair's last message, infinite for its first."""
    silent_s = np.full(len(pair), math.inf)
    order = np.argsort(pair, kind="stable")
    again = np.flatnonzero(np.diff(pair[order]) == 0) + 1
    silent_s[order[again]] = time_s[order[again]] - time_s[order[again - 1]]
    return silent_s


def _first_seen(private: PrivateMessages, time_s: Floats, users: int) -> Floats:
    """When each active user first writes or is written to."""
    first_s = np.full(users, math.inf)
    np.minimum.at(first_s, private.sender, time_s)
    np.minimum.at(first_s, private.recipient, time_s)
    return first_s[np.isfinite(first_s)]


def _cells(row: Longs, column: npt.NDArray[np.generic], width: int = 0) -> Longs:
    """Row and column as one number, so that sorting sorts by row, then by column."""
    columns = column.astype(np.int64)
    return row * (width or len(columns) + int(columns.max(initial=0)) + 1) + columns
