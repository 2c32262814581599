"""chatsim: which chat design, how many servers, and which limits? A discrete-event simulation of real-time chat.

>>> from chatsim import load_scenario
>>> load_scenario("go-chat").design.routing
'user'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from chatsim import analysis as analysis
    from chatsim import theory as theory
    from chatsim.engine import simulate as simulate
    from chatsim.report import drawings
    from chatsim.report.explore import explore as explore
    from chatsim.report.journeys import mermaid as mermaid
    from chatsim.report.journeys import perfetto as perfetto
    from chatsim.scenario import AuditError as AuditError
    from chatsim.scenario import InputError as InputError
    from chatsim.scenario import Scenario as Scenario
    from chatsim.scenario import load_scenario as load_scenario
    from chatsim.scenario import preset_names as preset_names
    from chatsim.scenario import to_toml as to_toml
    from chatsim.study import Comparison as Comparison
    from chatsim.study import Result as Result
    from chatsim.study import compare as compare
    from chatsim.study import load_study as load_study
    from chatsim.study import run as run
    from chatsim.study import saturation as saturation
    from chatsim.study.capacity import capacity as capacity
    from chatsim.study.execute import run_study as run_study
    from chatsim.study.faults import strike
    from chatsim.study.fit import fit as fit
    from chatsim.study.follow import follow as follow
    from chatsim.study.questions import list_limits, rooms_and_access
    from chatsim.study.selecting import best as best
    from chatsim.study.sensitivity import screen as screen
    from chatsim.theory import estimate as estimate
    from chatsim.world import build_world as build_world
    from chatsim.world import load_test as load_test

    charts, fault, friend_limit, who_reads = drawings, strike, list_limits, rooms_and_access

# Names are fetched from their floor when they are first used, so that ``import chatsim`` stays fast.
_FLOORS = {
    "scenario": ("AuditError", "InputError", "Scenario", "load_scenario", "preset_names", "to_toml"),
    "world": ("build_world", "load_test"),
    "engine": ("simulate",),
    "theory": ("estimate",),
    "study": ("Comparison", "Result", "compare", "load_study", "run", "saturation"),
    "study.capacity": ("capacity",),
    "study.execute": ("run_study",),
    "study.fit": ("fit",),
    "study.follow": ("follow",),
    "study.selecting": ("best",),
    "study.sensitivity": ("screen",),
    "report.explore": ("explore",),
    "report.journeys": ("mermaid", "perfetto"),
}
_HOME = {name: (floor, name) for floor, names in _FLOORS.items() for name in names} | {
    "fault": ("study.faults", "strike"),
    "friend_limit": ("study.questions", "list_limits"),
    "who_reads": ("study.questions", "rooms_and_access"),
}
_MODULES = {"analysis": "analysis", "charts": "report.drawings", "theory": "theory"}
__all__ = [  # noqa: PLE0604
    "__version__",
    *_HOME,
    *_MODULES,
]


def __getattr__(name: str) -> Any:
    value: Any
    if name in _MODULES:
        value = import_module(f"chatsim.{_MODULES[name]}")
    elif name in _HOME:
        floor, own = _HOME[name]
        value = getattr(import_module(f"chatsim.{floor}"), own)
    else:
        raise AttributeError(f"module 'chatsim' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_MODULES})
