"""Who reads what: messages that came to those they were not meant for, intruders, rights that outlive ties."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from chatsim.analysis.columns import Bools, Floats, Longs, floats, longs
from chatsim.engine.outcome import Cause, Fate, IntrusionFate, Outcome, Work


def overheard(outcome: Outcome) -> pd.DataFrame:
    """Every delivery to somebody for whom the message was not meant: who saw what.

    Columns: message, sender, listener, session, time_s, intruder (a session of the listener had got into a room as an
    intruder, and was still there: where rooms are sets of users, all sessions of the user hear).
    """
    table = outcome.deliveries
    rows = np.flatnonzero(longs(table, "fate") == Fate.OVERHEARD)
    message = longs(table, "message")[rows]
    session, time_s = longs(table, "session")[rows], floats(table, "time_s")[rows]
    return pd.DataFrame(
        {
            "message": message,
            "sender": longs(outcome.messages, "sender")[message],
            "listener": longs(table, "recipient")[rows],
            "session": session,
            "time_s": time_s,
            "intruder": _intrudes(outcome, longs(table, "recipient")[rows], time_s),
        }
    )


def who_reads(outcome: Outcome) -> pd.Series:
    """The same in one row, with what access control did.

    private: private messages that were taken; overheard: those of them that somebody else saw; overheard_share;
    listeners_mean: others who saw one, over all private messages; by_intruders: messages seen by an intruder;
    tried, refused, entered: an intruder's tries to get into rooms, and entered_share of those decided;
    ended: ties that ended; crossed: messages taken across a tie after its end; forbidden: messages refused for it;
    lag_s_mean, lag_s_max: from the end of a tie until no gateway takes a message across it (of those that came to it);
    never: ties whose end had no effect within the run; relation_reads: look-ups of friends in the database.
    """
    private = _private(outcome)
    taken = private & (longs(outcome.messages, "fate") == Fate.DELIVERED)
    seen = overheard(outcome)
    seen = seen[private[seen["message"]]]
    heard = seen.drop_duplicates(["message", "listener"])
    fate = longs(outcome.intrusions, "fate")
    decided = int(np.isin(fate, (IntrusionFate.REFUSED, IntrusionFate.ENTERED)).sum())
    entered = int((fate == IntrusionFate.ENTERED).sum())
    lag_s = floats(outcome.endings, "effective_s") - floats(outcome.endings, "time_s")
    known_s = lag_s[np.isfinite(lag_s)]
    count = int(taken.sum())
    figures: dict[str, Any] = {
        "private": count,
        "overheard": int(seen["message"].nunique()),
        "overheard_share": seen["message"].nunique() / count if count else math.nan,
        "listeners_mean": len(heard) / count if count else math.nan,
        "by_intruders": int(seen.loc[seen["intruder"], "message"].nunique()),
        "tried": len(fate),
        "refused": int((fate == IntrusionFate.REFUSED).sum()),
        "entered": entered,
        "entered_share": entered / decided if decided else math.nan,
        "ended": len(lag_s),
        "crossed": int(_crossed(outcome, taken).sum()),
        "forbidden": int((longs(outcome.messages, "cause") == Cause.FORBIDDEN).sum()),
        "lag_s_mean": float(known_s.mean()) if len(known_s) else math.nan,
        "lag_s_max": float(known_s.max()) if len(known_s) else math.nan,
        "never": len(lag_s) - len(known_s),
        "relation_reads": int(outcome.work[:, Work.RELATION].sum()),
    }
    return pd.Series(
        figures,
        dtype=object,
    )


def _private(outcome: Outcome) -> Bools:
    private: Bools = longs(outcome.messages, "recipients") == 1
    return private


def _intrudes(outcome: Outcome, listener: Longs, time_s: Floats) -> Bools:
    """Whether a listener had got in by a try of a session that was still there."""
    table = outcome.intrusions
    entered = longs(table, "fate") == IntrusionFate.ENTERED
    session = longs(table, "session")[entered]
    since_s, user = floats(table, "time_s")[entered], longs(table, "user")[entered]
    until_s = np.nan_to_num(floats(outcome.sessions, "left_s")[session], nan=np.inf)
    intrudes = np.zeros(len(listener), bool)
    for row in np.flatnonzero(np.isin(listener, user)).tolist():
        there = (user == listener[row]) & (since_s <= time_s[row]) & (time_s[row] <= until_s)
        intrudes[row] = bool(there.any())
    return intrudes


def _crossed(outcome: Outcome, taken: Bools) -> Bools:
    """Messages that were taken although the tie between their two had ended before they were."""
    crossed = np.zeros(len(taken), bool)
    ended_s: dict[tuple[int, int], float] = {}
    endings = outcome.endings
    for time_s, user, other, blocks in zip(
        *(endings[name].tolist() for name in ("time_s", "user", "other", "blocks")), strict=True
    ):
        ended_s.setdefault((other, user), time_s)
        if not blocks:
            ended_s.setdefault((user, other), time_s)
    if not ended_s:
        return crossed
    rooms = outcome.world.rooms
    for message in np.flatnonzero(taken).tolist():
        sender = int(outcome.messages["sender"][message])
        first = rooms.start[outcome.messages["room"][message]]
        partner = int(rooms.member[first] + rooms.member[first + 1]) - sender
        crossed[message] = ended_s.get((sender, partner), math.inf) < outcome.messages["received_s"][message]
    return crossed
