"""A run is run again, to see of a few messages what no run can note of all: every hop."""

from __future__ import annotations

import numpy as np
import pandas as pd

from chatsim.analysis import breakdown as parts
from chatsim.engine import Recorder, simulate
from chatsim.engine.outcome import Outcome


def breakdown(outcome: Outcome) -> pd.DataFrame | None:
    """How deliveries near p50 and p99 spend their time (:func:`chatsim.analysis.breakdown.breakdown`).

    The run is done again, with a recorder that follows up to 400 messages; this takes as long as the run has taken.
    None where another run comes out, as one to which processes of your own were added: nothing can be said of that.

    >>> from chatsim import build_world, load_scenario
    >>> from chatsim.engine import simulate
    >>> scenario = load_scenario("hub", ["workload.users=200", "workload.duration_s=300"])
    >>> table = breakdown(simulate(scenario, build_world(scenario)))
    >>> sorted(set(table["place"]))
    ['gateways', 'outbound queue', "recipient's link", "sender's link"]
    >>> round(float(table["share"].sum()), 9)  # of p50; for p99 there are too few
    1.0
    """
    near = parts.near_percentiles(outcome)
    rows = np.unique(np.concatenate([np.zeros(0, np.int64), *near.values()]))
    recorder = Recorder(np.unique(outcome.deliveries["message"][rows]).tolist())
    again = simulate(outcome.scenario, outcome.world, recorder=recorder)
    if not all(_is_same(again, outcome, name) for name in ("message", "session", "written_s", "time_s")):
        return None
    return parts.breakdown(outcome, near, recorder.table(), recorder.sent_off_s)


def _is_same(one: Outcome, other: Outcome, column: str) -> bool:
    return np.array_equal(one.deliveries[column], other.deliveries[column], equal_nan=True)
