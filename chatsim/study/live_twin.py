"""How far predictions are from real processes: what a full validation against the live twin has found."""

from __future__ import annotations

from io import StringIO

import pandas as pd

from chatsim.scenario.files import data_folder, read_text

FIGURES = {
    "p50_ms": "latency p50", "p90_ms": "latency p90", "p99_ms": "latency p99", "gateway_cores": "CPU of gateways",
    "broker_cores": "CPU of Redis",
}  # fmt: skip
FILE_MAX_BYTES = 200_000


def held_to_twin() -> pd.DataFrame:
    """Point by point, on configurations by which no cost was fitted: point, load (of what gateways and Redis carry),
    figure, predicted, measured (median of its runs), spread (half the range of the runs, of their median), slower (how
    many times as long work took meanwhile as in the profile), source; latencies in ms, CPU in cores.

    It is measured again by ``chatsim validate --part live --full``, whose tables have the same columns.

    >>> table = held_to_twin()
    >>> sorted(table["figure"].unique()) == sorted(FIGURES)
    True
    """
    return pd.read_csv(StringIO(read_text(data_folder() / "reference" / "live_twin.csv", FILE_MAX_BYTES)))
