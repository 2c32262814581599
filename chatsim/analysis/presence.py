"""Presence: what it costs, and how wrong it is."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from chatsim.analysis.columns import Floats, Longs, floats, longs
from chatsim.engine.outcome import Cause, Outcome, Work

Intervals = tuple[Longs, Floats, Floats]


def presence(outcome: Outcome) -> pd.Series:
    """What was shown of users, in one row, over the duration of the run.

    changes of what is shown; meant: users these were meant for, as arithmetic has it; notices written to sessions, and
    the pushes to gateways that brought them; notice_delay_ms: mean from the change to the session; key_writes;
    pulls, and wrong_pulls that were answered wrongly;
    ghost_user_s: user-seconds shown online while offline; hidden_user_s: offline while online; each also as a share of
    the time shown, and of the time online; ghosts_at_end: users shown online at the end who are not;
    write_share: notices among all that gateways write to sessions, messages, receipts and refusals; push_share: among
    all that brokers push (in a mesh, that gateways push); byte_share: of the bytes of these notices and of messages.
    """
    table, work = outcome.presence, outcome.work
    notices = int(longs(table, "notices").sum())
    shown, online = _shown(outcome), _online(outcome)
    both_s = _overlap_s(shown, online)
    shown_s, online_s = _total_s(shown), _total_s(online)
    notice_pushes = int(longs(table, "pushes").sum())
    notice_bytes = notices * outcome.scenario.presence.notice_bytes
    return pd.Series(
        {
            "changes": len(table["time_s"]),
            "meant": int(longs(table, "meant").sum()),
            "notices": notices,
            "pushes": notice_pushes,
            "notice_delay_ms": _ratio(1000 * float(floats(table, "told_sum_s").sum()), notices),
            "key_writes": int(work[:, Work.PRESENCE].sum()),
            "pulls": len(outcome.pulls["time_s"]),
            "wrong_pulls": int((outcome.pulls["shown"] != outcome.pulls["online"]).sum()),
            "ghost_user_s": shown_s - both_s,
            "hidden_user_s": online_s - both_s,
            "ghost_share": _ratio(shown_s - both_s, shown_s),
            "hidden_share": _ratio(online_s - both_s, online_s),
            "ghosts_at_end": _ghosts_at_end(outcome, shown, online),
            "write_share": _ratio(notices, int(work[:, (Work.WRITE, Work.NOTICE, Work.REFUSAL)].sum())),
            "push_share": _ratio(notice_pushes, _pushes(outcome, notice_pushes)),
            "byte_share": _ratio(notice_bytes, notice_bytes + _message_bytes(outcome)),
        },
        dtype=object,
    )


def _pushes(outcome: Outcome, notice_pushes: int) -> int:
    """All pushes. Those of receipts are counted by brokers alone, with those of presence."""
    notices = max(notice_pushes, int(outcome.work[:, Work.NOTICE_PUSH].sum()))
    return int(longs(outcome.messages, "pushes").sum()) + notices


def _message_bytes(outcome: Outcome) -> float:
    """Bytes of messages that gateways wrote to sessions."""
    table = outcome.deliveries
    written = np.isfinite(floats(table, "written_s")) & (longs(table, "cause") != Cause.OUTBOUND_FULL)
    return float(floats(outcome.messages, "size_bytes")[longs(table, "message")[written]].sum())


def _shown(outcome: Outcome) -> Intervals:
    """When each user was shown online: changes of one user take turns, +1 first."""
    user, time_s = longs(outcome.presence, "user"), floats(outcome.presence, "time_s")
    order = np.lexsort((np.arange(len(user)), user))
    user, time_s, change = user[order], time_s[order], longs(outcome.presence, "change")[order]
    began = np.flatnonzero(change > 0)
    following = np.append(user, -1)[began + 1] == user[began]
    ends_s = np.where(following, np.append(time_s, 0.0)[began + 1], np.inf)
    return _clipped(outcome, user[began], time_s[began], ends_s)


def _online(outcome: Outcome) -> Intervals:
    """When each user had a session, of whichever device: overlapping sessions are one interval."""
    table = outcome.sessions
    came = np.isfinite(floats(table, "online_s"))
    user = longs(table, "user")[came]
    start_s, end_s = floats(table, "online_s")[came], np.nan_to_num(floats(table, "left_s")[came], nan=np.inf)
    merged: list[tuple[int, float, float]] = []
    for row in np.lexsort((start_s, user)).tolist():
        if merged and merged[-1][0] == user[row] and start_s[row] <= merged[-1][2]:
            merged[-1] = (*merged[-1][:2], max(merged[-1][2], float(end_s[row])))
        else:
            merged.append((int(user[row]), float(start_s[row]), float(end_s[row])))
    columns = [np.array(column) for column in zip(*merged, strict=True)] or [np.zeros(0)] * 3
    return _clipped(outcome, columns[0].astype(np.int64), columns[1], columns[2])


def _clipped(outcome: Outcome, user: Longs, start_s: Floats, end_s: Floats) -> Intervals:
    duration_s = outcome.world.duration_s
    return user, np.clip(start_s, 0.0, duration_s), np.clip(end_s, 0.0, duration_s)


def _total_s(intervals: Intervals) -> float:
    return float((intervals[2] - intervals[1]).sum())


def _overlap_s(one: Intervals, other: Intervals) -> float:
    """Summed time that is in both, per user; within each the intervals of a user do not overlap."""
    user = np.concatenate([one[0], one[0], other[0], other[0]])
    time_s = np.concatenate([one[1], one[2], other[1], other[2]])
    step = np.repeat([1, -1, 1, -1], [len(one[0]), len(one[0]), len(other[0]), len(other[0])])
    order = np.lexsort((step, time_s, user))
    depth = np.cumsum(step[order])
    length_s = np.diff(time_s[order])
    return float(length_s[depth[:-1] == 2].sum()) if len(order) else 0.0


def _ghosts_at_end(outcome: Outcome, shown: Intervals, online: Intervals) -> int:
    end_s = outcome.world.duration_s

    def standing(intervals: Intervals) -> set[int]:
        user, start_s, stop_s = intervals
        return set(user[(start_s < end_s) & (stop_s >= end_s)].tolist())

    return len(standing(shown) - standing(online))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
