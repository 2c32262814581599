"""When the last of a message's audience has it: a fork into a delivery per session, and their join."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from chatsim.analysis.columns import Floats, Longs, floats, is_delivered, longs
from chatsim.analysis.latency import percentiles
from chatsim.engine.luck import Luck
from chatsim.engine.outcome import Outcome
from chatsim.theory.fanout import lognormals_max

BOUNDED_LEAST, BOUNDED_MAX, SESSIONS_MAX = 20, 2000, 20_000
COLUMNS = ["sessions", "sessions_mean", "messages", "last_mean_ms", "last_p99_ms", "each_mean_ms", "bound_ms"]


def last_member(outcome: Outcome) -> pd.DataFrame:
    """Latency of a message's last live delivery by its fan-out, the number of sessions that got it live.

    One row per class of fan-outs (1, 2, 3-4, 5-8, ...) with messages in it: sessions (the class in words),
    sessions_mean, messages; last_mean_ms and last_p99_ms of the last delivery (NaN: fewer than 100 messages);
    each_mean_ms, the mean over messages of their deliveries' mean; bound_ms.

    The bound is that of a fork-join without any queue (Nelson and Tantawi 1988), with nothing for servers: the mean
    uplink of the sender's session and the mean of the largest of the downlinks of these sessions, which vary
    independently from packet to packet (:func:`chatsim.theory.fanout.lognormals_max`). Links are those that the
    sessions of the run have. Of a class with thousands of messages some are taken, spread evenly.
    """
    rows = np.flatnonzero(is_delivered(outcome))
    message = longs(outcome.deliveries, "message")[rows]
    took_ms = 1e3 * (floats(outcome.deliveries, "time_s")[rows] - floats(outcome.messages, "time_s")[message])
    each = pd.DataFrame({"message": message, "took_ms": took_ms}).groupby("message")["took_ms"]
    found = pd.DataFrame({"sessions": each.size(), "last_ms": each.max(), "each_ms": each.mean()})
    found["power"] = np.ceil(np.log2(found["sessions"].to_numpy(dtype=np.float64))).astype(np.int64)
    bound_ms = _Bounds(outcome, message, longs(outcome.deliveries, "session")[rows]).bound_ms
    return pd.DataFrame(
        [
            {
                "sessions": _class_said(int(part["power"].iloc[0])),
                "sessions_mean": float(part["sessions"].mean()),
                "messages": len(part),
                "last_mean_ms": float(part["last_ms"].mean()),
                "last_p99_ms": percentiles(part["last_ms"])["p99_ms"],
                "each_mean_ms": float(part["each_ms"].mean()),
                "bound_ms": float(np.mean([bound_ms(one) for one in _spread(part)])),
            }
            for _, part in found.groupby("power")
        ],
        columns=COLUMNS,
    )


class _Bounds:
    """The bound of single messages; ``message`` and ``session`` are those of the live deliveries."""

    def __init__(self, outcome: Outcome, message: Longs, session: Longs) -> None:
        order = np.argsort(message, kind="stable")
        self.message, self.session = message[order], session[order]
        self.sender = longs(outcome.messages, "session")
        self.link_ms, self.sigma = 1e3 * session_links_s(outcome), outcome.scenario.network.jitter_sigma

    def bound_ms(self, message: int) -> float:
        first, last = np.searchsorted(self.message, (message, message + 1))
        up_ms = float(self.link_ms[self.sender[message]]) * math.exp(self.sigma**2 / 2)
        return up_ms + lognormals_max(self.link_ms[self.session[first:last]], self.sigma)


def session_links_s(outcome: Outcome) -> Floats:
    """The one-way delay of each session's link, about which its packets vary: as drawn for sessions of the trace, the
    same again for a client that comes back, and one of its own for a session that a push has brought."""
    luck, table = Luck(outcome.scenario, outcome.world), outcome.sessions
    links_s = list(luck.link_s)
    origin, user = longs(table, "origin"), longs(table, "user")
    for session in range(len(links_s), len(origin)):
        came_from = int(origin[session])
        links_s.append(links_s[came_from] if came_from >= 0 else luck.link_again_s(int(user[session])))
    return np.array(links_s, np.float64)


def _spread(part: pd.DataFrame) -> list[int]:
    """The messages of a class, or where they are many so many that a bound is soon found for them, evenly spread."""
    messages: list[int] = part.index.tolist()
    many = max(BOUNDED_LEAST, min(BOUNDED_MAX, round(SESSIONS_MAX / float(part["sessions"].mean()))))
    places = np.linspace(0, len(messages) - 1, min(len(messages), many))
    return [messages[round(place)] for place in places.tolist()]


def _class_said(power: int) -> str:
    """
    >>> [_class_said(power) for power in (0, 1, 2, 3)]
    ['1', '2', '3-4', '5-8']
    """
    least, most = 2 ** (power - 1) + 1, 2**power
    return f"{most}" if power <= 1 else f"{least:.0f}-{most}"
