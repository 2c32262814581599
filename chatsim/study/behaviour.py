"""How much the behaviour model's users behave like real ones: those of the CollegeMsg log, to which it was fitted."""

from __future__ import annotations

import csv
from functools import cache
from io import StringIO

import pandas as pd

from chatsim.analysis.marginals import marginals
from chatsim.scenario import load_scenario
from chatsim.scenario.files import data_folder, read_text
from chatsim.study.fit import compared, hits_at_openings
from chatsim.world import build_world

LOG, WORKLOAD = "CollegeMsg", "college"
CLOCK_S = 60.0
"""The log's clock, to which the model's times are rounded down before they are compared."""
FILE_MAX_BYTES = 100_000


def behaviour() -> pd.DataFrame:
    """Figure by figure what the log has and what a world of the fitted workload has, as :class:`.fit.Fitted` has it:
    figure, meaning, unit, real, model, difference (in percent; of shares in points), fitted.

    The world is replication 0 of the shipped workload, which was not fitted to; it is built here, in some seconds.
    """
    return _shown().copy()


@cache
def _shown() -> pd.DataFrame:
    """The same, made once per process, as nothing is asked for."""
    model = build_world(load_scenario("go-chat", workload=WORKLOAD))
    real = _real()
    return compared(real, marginals(model, CLOCK_S), real, hits_at_openings(model))


@cache
def _real() -> dict[str, float]:
    text = read_text(data_folder() / "reference" / "collegemsg.csv", FILE_MAX_BYTES)
    return {row["figure"]: float(row["value"]) for row in csv.DictReader(StringIO(text))}
