"""What a chat log comes to in a few figures: how many people write how much, to whom, when, and in which bursts.

All figures are of private messages; a message to a group makes nobody a partner. They are what the behaviour model is
fitted to (see :mod:`chatsim.study.fit`), and what a model and a log are compared by.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chatsim.analysis.columns import Bools, Floats, Longs
from chatsim.analysis.friendlists import OPENING_GAP_S
from chatsim.scenario.errors import InputError
from chatsim.world.contacts import PrivateMessages, contact_ranks, private_messages
from chatsim.world.tables import World

HOUR_S, DAY_S = 3600.0, 86400.0
QUICK_S, SHORT_S = 600.0, 120.0
TOP_SHARE = 0.1
CLOCK_STEPS_S = (HOUR_S, 60.0, 1.0)
EXPONENT_MAX = 5.0


@dataclass(frozen=True, slots=True)
class Figure:
    """A marginal: what it is, and its unit ("share" is shown in percent)."""

    meaning: str
    unit: str


FIGURES = {
    "users_active": Figure("users who write or are written to", "users"),
    "senders": Figure("users who write", "users"),
    "messages": Figure("private messages", "messages"),
    "messages_per_day": Figure("messages per day", "messages/day"),
    "half_written_days": Figure("half of them are written by", "days"),
    "half_seen_days": Figure("half the active users have appeared by", "days"),
    "first_ever_share": Figure("first of their pair", "share"),
    "quick_reply_share": Figure("follow one from that person in 10 min", "share"),
    "turn_share": Figure("in a conversation: from the other side", "share"),
    "answer_share": Figure("opening, known pair: answers the last", "share"),
    "recency_exponent": Figure("opening: exponent of the recency rank", ""),
    "conversation_length_mean": Figure("messages per conversation, mean", "messages"),
    "conversation_length_p90": Figure("messages per conversation, p90", "messages"),
    "conversation_length_p99": Figure("messages per conversation, p99", "messages"),
    "partners_mean": Figure("partners per active user, mean", "users"),
    "partners_median": Figure("partners per active user, median", "users"),
    "partners_geometric_mean": Figure("partners per active user, geometric mean", "users"),
    "partners_p90": Figure("partners per active user, p90", "users"),
    "partners_p99": Figure("partners per active user, p99", "users"),
    "partners_max": Figure("partners per active user, most", "users"),
    "top_senders_share": Figure("written by the top 10 % of senders", "share"),
    "sent_per_active_day_mean": Figure("sent on a day with any, mean", "messages"),
    "sent_per_active_day_p90": Figure("sent on a day with any, p90", "messages"),
    "burstiness": Figure("burstiness of gaps between a sender's", ""),
    "short_gap_share": Figure("sent within 2 min of the sender's last", "share"),
    "gap_s_p10": Figure("gap between a sender's messages, p10", "s"),
    "gap_s_p50": Figure("gap between a sender's messages, median", "s"),
    "gap_s_p90": Figure("gap between a sender's messages, p90", "s"),
    "gap_s_p99": Figure("gap between a sender's messages, p99", "s"),
    "bouts": Figure("bouts of writing, 30 min apart", "bouts"),
    "hour_peak_ratio": Figure("busiest hour of the day / mean hour", ""),
}


def marginals(world: World, clock_s: float | None = None) -> dict[str, float]:
    """The figures of a world, in the order of ``FIGURES``; NaN where there is nothing to count.

    Times are first rounded down to multiples of ``clock_s``, by default the clock of the trace itself (see
    :func:`clock_step_s`), so that a model is compared with a log as that log would have noted it. Definitions:

    - a conversation opens where its pair has been silent for more than 30 min, or is new;
    - a message is quick where the recipient has written to the sender within the 10 min before;
    - turn: of the messages that open no conversation, those whose sender did not write the pair's last one too; answer:
      the same of the openings of known pairs;
    - the recency exponent is the most likely one of weights rank ** -x over the contacts, at openings of known pairs;
    - burstiness is (sd - mean) / (sd + mean) of the gaps between messages, those of all senders together;
    - gaps of less than 2 min are short; a sender who has been silent for more than 30 min begins a new bout of writing;
    - hours and days are counted from the start of the run.

    Raises InputError where the world has no private message.
    """
    private = private_messages(world)
    if not len(private.sender):
        raise InputError("no private messages: at least one between two users is needed")
    step_s = clock_step_s(world) if clock_s is None else clock_s
    time_s = np.floor(private.time_s / step_s) * step_s if step_s else private.time_s
    sent = np.bincount(private.sender, minlength=world.users)
    gap_s = sender_gaps(time_s, private.sender)
    day = (time_s // DAY_S).astype(np.int64)
    per_day = np.unique(_cells(private.sender, day, int(day.max()) + 1), return_counts=True)[1]
    hours = np.bincount((time_s % DAY_S // HOUR_S).astype(np.int64), minlength=24)
    partners, days = partners_per_user(private, world.users), world.duration_s / DAY_S
    figures = {
        "users_active": len(partners),
        "senders": int((sent > 0).sum()),
        "messages": len(time_s),
        "messages_per_day": len(time_s) / days if days else math.nan,
        "half_written_days": float(np.median(time_s)) / DAY_S,
        "half_seen_days": float(np.median(first_seen_s(private, time_s, world.users))) / DAY_S,
        "quick_reply_share": float(replies_within(private, time_s, world.users, QUICK_S).mean()),
        **_of_conversations(world, private, time_s),
        **_spread("partners", partners, ("mean", "median", "p90", "p99", "max")),
        "partners_geometric_mean": float(np.exp(np.log(partners).mean())),
        "top_senders_share": top_share(sent),
        **_spread("sent_per_active_day", per_day, ("mean", "p90")),
        "burstiness": burstiness(gap_s),
        "short_gap_share": _mean(gap_s < SHORT_S),
        **_spread("gap_s", gap_s, ("p10", "p50", "p90", "p99")),
        "bouts": int((sent > 0).sum()) + int((gap_s > OPENING_GAP_S).sum()),
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

    >>> burstiness(np.array([5.0, 5.0])), round(burstiness(np.array([0.0, 0.0, 0.0, 8.0])), 3)
    (-1.0, 0.268)
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
    gap_s: Floats = np.diff(time_s[order])[np.diff(sender[order]) == 0]
    return gap_s


def partners_per_user(private: PrivateMessages, users: int) -> Longs:
    """With how many others each active user has exchanged messages, either way."""
    pairs = np.unique(pair_of(private, users))
    count = np.bincount(np.concatenate([pairs // users, pairs % users]), minlength=users)
    return count[count > 0]


def pair_of(private: PrivateMessages, users: int) -> Longs:
    """The pair of each message as one number, the same both ways."""
    low, high = np.minimum(private.sender, private.recipient), np.maximum(private.sender, private.recipient)
    return low * users + high


def since_last_of_pair(private: PrivateMessages, time_s: Floats, users: int) -> tuple[Floats, Bools]:
    """(time since the pair's last message, infinite for its first; whether that was written by the other side)."""
    silent_s, turn = np.full(len(time_s), math.inf), np.zeros(len(time_s), bool)
    pair = pair_of(private, users)
    order = np.argsort(pair, kind="stable")
    again = np.flatnonzero(np.diff(pair[order]) == 0) + 1
    now, before = order[again], order[again - 1]
    silent_s[now] = time_s[now] - time_s[before]
    turn[now] = private.sender[now] != private.sender[before]
    return silent_s, turn


def replies_within(private: PrivateMessages, time_s: Floats, users: int, within_s: float) -> Bools:
    """Whether the recipient of each message has written to its sender at most ``within_s`` before."""
    there, back = private.sender * users + private.recipient, private.recipient * users + private.sender
    rows = np.arange(len(there))
    order = np.lexsort((rows, there))
    place = np.searchsorted(_cells(there[order], order, len(rows)), _cells(back, rows, len(rows))) - 1
    last = order[np.maximum(place, 0)]
    quick: Bools = (place >= 0) & (there[last] == back) & (time_s - time_s[last] <= within_s)
    return quick


def recency_exponent(rank: Longs, known: Longs) -> float:
    """The exponent x, up to 5, of weights rank ** -x that makes the ranks chosen among the ``known`` contacts most
    likely. Choices without a rank or an alternative say nothing; NaN where that leaves none."""
    from scipy.optimize import minimize_scalar

    rows = (rank > 0) & (known > 1)
    if not rows.any():
        return math.nan
    log_ranks, sizes = float(np.log(rank[rows]).sum()), np.bincount(known[rows])
    logs = np.log(np.arange(1, len(sizes)))

    def cost(exponent: float) -> float:
        return exponent * log_ranks + float(np.log(np.cumsum(np.exp(-exponent * logs))) @ sizes[1:])

    return float(minimize_scalar(cost, bounds=(0.0, EXPONENT_MAX), method="bounded").x)


def contacts_known(private: PrivateMessages, users: int) -> Longs:
    """How many contacts the sender of each message had just before it, whom the trace has shown."""
    count, rows = len(private.sender), np.flatnonzero(np.isinf(private.silent_s))
    met = _cells(np.concatenate([private.sender[rows], private.recipient[rows]]), np.tile(rows, 2), count)
    met.sort()
    before = np.searchsorted(met, _cells(private.sender, np.arange(count), count))
    return before - np.searchsorted(met, private.sender * count)


def first_seen_s(private: PrivateMessages, time_s: Floats, users: int) -> Floats:
    """When each active user first writes or is written to."""
    first_s = np.full(users, math.inf)
    np.minimum.at(first_s, private.sender, time_s)
    np.minimum.at(first_s, private.recipient, time_s)
    seen: Floats = first_s[np.isfinite(first_s)]
    return seen


def _of_conversations(world: World, private: PrivateMessages, time_s: Floats) -> dict[str, float]:
    silent_s, turn = since_last_of_pair(private, time_s, world.users)
    opens, new = silent_s > OPENING_GAP_S, np.isinf(silent_s)
    by_pair = np.argsort(pair_of(private, world.users), kind="stable")
    lengths = np.diff(np.append(np.flatnonzero(opens[by_pair]), len(opens)))
    known = contacts_known(private, world.users)
    return {
        "first_ever_share": float(new.mean()),
        "turn_share": _mean(turn[~opens]),
        "answer_share": _mean(turn[opens & ~new]),
        "recency_exponent": recency_exponent(contact_ranks(world)[opens], known[opens]),
        **_spread("conversation_length", lengths, ("mean", "p90", "p99")),
    }


def _mean(values: Bools) -> float:
    return float(values.mean()) if len(values) else math.nan


def _spread(name: str, values: npt.NDArray[np.generic], wanted: tuple[str, ...]) -> dict[str, float]:
    """The mean and percentiles of the values, under ``name_statistic``."""
    numbers, percent = values.astype(float), {"median": 50.0, "max": 100.0}

    def statistic(which: str) -> float:
        if not len(numbers):
            return math.nan
        return float(
            numbers.mean() if which == "mean" else np.percentile(numbers, percent.get(which) or float(which[1:]))
        )

    return {f"{name}_{which}": statistic(which) for which in wanted}


def _cells(row: Longs, column: npt.NDArray[np.integer], width: int) -> Longs:
    """Row and column, which is below ``width``, as one number: sorting sorts by row, then by column."""
    return row * width + column
