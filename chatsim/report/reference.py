"""Real traces beside which a run is drawn: figures of logs, as ``data/reference/traces.csv`` has them."""

from __future__ import annotations

import csv
import math
import re
from functools import cache
from io import StringIO

import pandas as pd

from chatsim.scenario.files import data_folder, read_text

COLLEGEMSG = "CollegeMsg (real log)"
FILE_MAX_BYTES = 1_000_000
ALL = re.compile(r"hit@([\d/]+)/all of all messages")
OPENINGS = re.compile(r"hit@(\d+) at conversation openings")


@cache
def _figures(trace: str) -> dict[str, str]:
    text = read_text(data_folder() / "reference" / "traces.csv", FILE_MAX_BYTES)
    return {row["figure"]: row["value"] for row in csv.DictReader(StringIO(text)) if row["trace"] == trace}


def collegemsg_hits() -> pd.DataFrame:
    """How often the recipient was among the sender's last K contacts in the CollegeMsg log: k, of ("all" messages, or
    "openings" of conversations), hit_share, count (NaN: not published).

    >>> collegemsg_hits().query("of == 'all' and k == 15")["hit_share"].item()
    0.736
    """
    rows: list[tuple[float, str, float]] = []
    for figure, value in _figures("CollegeMsg").items():
        if found := ALL.fullmatch(figure):
            lengths = [float(length) for length in found[1].split("/")]
            rows += [(length, "all", float(share)) for length, share in zip(lengths, value.split("/"), strict=False)]
        elif found := OPENINGS.match(figure):
            rows.append((float(found[1]), "openings", float(value)))
    table = pd.DataFrame(rows, columns=["k", "of", "hit_share"])
    return table.assign(count=math.nan)
