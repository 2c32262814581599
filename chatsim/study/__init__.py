"""Design points x replications, spread over processes, and how their results are stored."""

from chatsim.study.curves import saturation
from chatsim.study.folder import results_folder
from chatsim.study.questions import list_limits, rooms_and_access
from chatsim.study.results import Comparison, Result, Runs
from chatsim.study.runs import compare, run, same_trace

__all__ = [
    "Comparison",
    "Result",
    "Runs",
    "compare",
    "list_limits",
    "results_folder",
    "rooms_and_access",
    "run",
    "same_trace",
    "saturation",
]
