"""When the last of a message's audience has it: a fork into as many deliveries as there are sessions, and their join."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from chatsim.analysis.columns import floats, is_delivered, longs
from chatsim.analysis.latency import percentiles
from chatsim.engine.outcome import Outcome
from chatsim.theory.fanout import lognormal_max
from chatsim.theory.latency import client_ms_mean


def last_member(outcome: Outcome) -> pd.DataFrame:
    """Latency of a message's last live delivery by its fan-out, the number of sessions that got it live.

    One row per class of fan-outs (1, 2, 3-4, 5-8, ...) with messages in it: sessions (the class in words),
    sessions_mean, messages; last_mean_ms and last_p99_ms of the last delivery (NaN: fewer than 100 messages);
    each_mean_ms of all deliveries; bound_ms.

    The bound is that of a fork-join without any queue (Nelson and Tantawi 1988): the mean uplink, and the mean of the
    largest of so many independent downlinks (:func:`chatsim.theory.fanout.lognormal_max`), with nothing for servers. It
    is a mean over members drawn at random. A room whose members happen to have good links may lie below it.
    """
    rows = np.flatnonzero(is_delivered(outcome))
    message = longs(outcome.deliveries, "message")[rows]
    took_ms = 1e3 * (floats(outcome.deliveries, "time_s")[rows] - floats(outcome.messages, "time_s")[message])
    each = pd.DataFrame({"message": message, "took_ms": took_ms}).groupby("message")["took_ms"]
    found = pd.DataFrame({"sessions": each.size(), "last_ms": each.max(), "sum_ms": each.sum()})
    found["power"] = np.ceil(np.log2(found["sessions"].to_numpy(dtype=np.float64))).astype(np.int64)
    found["bound_ms"] = found["sessions"].map({size: _bound_ms(outcome, size) for size in set(found["sessions"])})
    return pd.DataFrame(
        [
            {
                "sessions": _class_said(int(power)),
                "sessions_mean": float(part["sessions"].mean()),
                "messages": len(part),
                "last_mean_ms": float(part["last_ms"].mean()),
                "last_p99_ms": percentiles(part["last_ms"])["p99_ms"],
                "each_mean_ms": float(part["sum_ms"].sum() / part["sessions"].sum()),
                "bound_ms": float(part["bound_ms"].mean()),
            }
            for power, part in found.groupby("power")
        ]
    )


def _bound_ms(outcome: Outcome, sessions: int) -> float:
    network = outcome.scenario.network
    sigma = math.hypot(network.client_sigma, network.jitter_sigma)
    return client_ms_mean(outcome.scenario) + lognormal_max(sessions, network.client_ms_median, sigma)


def _class_said(power: int) -> str:
    """
    >>> [_class_said(power) for power in (0, 1, 2, 3)]
    ['1', '2', '3-4', '5-8']
    """
    least, most = 2 ** (power - 1) + 1, 2**power
    return f"{most}" if power <= 1 else f"{least:.0f}-{most}"
