"""Design points x replications, spread over processes, and how their results are stored."""

from chatsim.study.curves import saturation
from chatsim.study.execute import Carried, carry_out
from chatsim.study.folder import results_folder
from chatsim.study.plan import Study, load_study
from chatsim.study.points import Plan, make_plan
from chatsim.study.questions import list_limits, rooms_and_access
from chatsim.study.results import Comparison, Result, Runs
from chatsim.study.runs import compare, run, same_trace

__all__ = [
    "Carried",
    "Comparison",
    "Plan",
    "Result",
    "Runs",
    "Study",
    "carry_out",
    "compare",
    "list_limits",
    "load_study",
    "make_plan",
    "results_folder",
    "rooms_and_access",
    "run",
    "same_trace",
    "saturation",
]
