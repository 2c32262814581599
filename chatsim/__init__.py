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
    from chatsim.engine import simulate as simulate
    from chatsim.report import charts as charts
    from chatsim.scenario import AuditError as AuditError
    from chatsim.scenario import InputError as InputError
    from chatsim.scenario import Scenario as Scenario
    from chatsim.scenario import load_scenario as load_scenario
    from chatsim.scenario import preset_names as preset_names
    from chatsim.study import Comparison as Comparison
    from chatsim.study import Result as Result
    from chatsim.study import compare as compare
    from chatsim.study import run as run
    from chatsim.study import saturation as saturation
    from chatsim.theory import estimate as estimate
    from chatsim.world import build_world as build_world
    from chatsim.world import load_test as load_test

# Names are fetched from their floor when they are first used, so that ``import chatsim`` stays fast.
_FLOORS = {
    "scenario": ("AuditError", "InputError", "Scenario", "load_scenario", "preset_names"),
    "world": ("build_world", "load_test"),
    "engine": ("simulate",),
    "theory": ("estimate",),
    "study": ("Comparison", "Result", "compare", "run", "saturation"),
}
_HOME = {name: floor for floor, names in _FLOORS.items() for name in names}
_MODULES = {"analysis": "analysis", "charts": "report.charts"}
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
        value = getattr(import_module(f"chatsim.{_HOME[name]}"), name)
    else:
        raise AttributeError(f"module 'chatsim' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_MODULES})
