"""The engine: a scenario and a world in, an outcome out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from chatsim.engine.finishing import finish
from chatsim.engine.journey import Journey
from chatsim.engine.outcome import Cause, Fate, FaultKind, IntrusionFate, Outcome, PushFate, SessionFate, Work
from chatsim.engine.recorder import Recorder
from chatsim.scenario.errors import InputError, nearest

if TYPE_CHECKING:
    from chatsim.scenario import Scenario
    from chatsim.world.tables import World

__all__ = [
    "ENGINES",
    "Cause",
    "Fate",
    "FaultKind",
    "IntrusionFate",
    "Journey",
    "Outcome",
    "PushFate",
    "Recorder",
    "SessionFate",
    "Work",
    "finish",
    "simulate",
]

ENGINES = ("auto", "simpy", "compiled")
"""The compiled engine where it covers the scenario and SimPy where not; or the one, or the other."""


def simulate(
    scenario: Scenario,
    world: World,
    progress: Callable[[float], None] | None = None,
    recorder: Recorder | None = None,
    engine: str = "simpy",
) -> Outcome:
    """Runs a scenario on a world and audits the run; AuditError where a law is broken. A recorder changes nothing, and
    needs SimPy.

    Both engines give the same outcome, record for record; ``outcome.engine`` says which has run, and
    ``outcome.not_compiled`` why it was not the compiled one. InputError where that is asked for and does not cover the
    scenario.

    >>> from chatsim.scenario import load_scenario
    >>> from chatsim.world import build_world
    >>> scenario = load_scenario("hub", ["workload.users=50", "workload.duration_s=60"])
    >>> outcome = simulate(scenario, build_world(scenario), engine="simpy")
    >>> len(outcome.messages["time_s"]) == len(outcome.world.messages)
    True
    """
    if engine not in ENGINES:
        raise InputError(f"engine = '{engine}': no such engine{nearest(engine, ENGINES)}")
    if engine == "simpy" or recorder is not None:
        return _by_simpy(scenario, world, progress, (), recorder)
    from chatsim.engine.compiled.coverage import Uncovered, missing

    installed = find_spec("numba") is not None
    needed = ("a Python without numba (pip install 'chatsim[compiled]')",)
    reasons = missing(scenario, world) if installed else needed
    if not reasons:
        from chatsim.engine.compiled.run import run_compiled

        try:
            return run_compiled(scenario, world, progress)
        except Uncovered as uncovered:
            reasons = uncovered.args
    if engine == "compiled":
        raise InputError(f"engine = 'compiled': does not cover {', '.join(reasons)}; 'simpy' or 'auto' is needed")
    return _by_simpy(scenario, world, progress, reasons, None)


def _by_simpy(
    scenario: Scenario,
    world: World,
    progress: Callable[[float], None] | None,
    reasons: tuple[str, ...],
    recorder: Recorder | None,
) -> Outcome:
    journey = Journey(scenario, world)
    if recorder is not None:
        recorder.watch(journey)
    journey.run(progress)
    return replace(finish(journey), not_compiled=reasons)
