"""Design points x replications, spread over processes, and how their results are stored."""

from chatsim.study.curves import saturation
from chatsim.study.folder import results_folder
from chatsim.study.results import Comparison, Result, Runs
from chatsim.study.runs import compare, run, same_trace

__all__ = ["Comparison", "Result", "Runs", "compare", "results_folder", "run", "same_trace", "saturation"]
