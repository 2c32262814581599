"""The engine: a scenario and a world in, an outcome out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

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
    "prepare",
    "simulate",
    "will_compile",
]

ENGINES = ("auto", "simpy", "compiled")
"""The compiled engine where it covers the scenario and SimPy where not; or the one, or the other."""
SMALL = 20_000
"""Messages x members and sessions from which on a run is worth the time that it takes to load the compiled engine."""
LARGE = 1_000_000
"""The same, where the engine must first be compiled, once."""
TOO_SMALL = "nothing, but this run is too small to load it for"


def simulate(
    scenario: Scenario,
    world: World,
    progress: Callable[[float], None] | None = None,
    recorder: Recorder | None = None,
    engine: str = "auto",
) -> Outcome:
    """Runs a scenario on a world and audits the run; AuditError where a law is broken. A recorder changes nothing, and
    needs SimPy.

    Both engines give the same outcome, record for record; ``outcome.engine`` says which has run, and
    ``outcome.not_compiled`` why it was not the compiled one. InputError where that is asked for and does not cover the
    scenario. ``auto`` does not have a small run wait until the engine is compiled, if it never was (:func:`prepare`).

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
    from chatsim.engine.compiled.coverage import missing

    reasons = missing(scenario, world)
    if engine == "auto" and not reasons and not _is_worth_it(world):
        reasons = (TOO_SMALL,)
    if not reasons:
        from chatsim.engine.compiled.run import run_compiled

        return run_compiled(scenario, world, progress)
    if engine == "compiled":
        raise InputError(f"engine = 'compiled': does not cover {', '.join(reasons)}; 'simpy' or 'auto' is needed")
    return _by_simpy(scenario, world, progress, reasons, None)


def will_compile(scenario: Scenario, world: World) -> bool:
    """Whether the next run of a scenario will first have the engine compiled, which takes most of a minute, once."""
    from chatsim.engine.compiled.code import is_kept
    from chatsim.engine.compiled.coverage import missing

    return not is_kept() and not missing(scenario, world) and _is_worth_it(world)


def prepare() -> None:
    """Compiles the engine, unless that was done: before many runs, or before processes that would each do it."""
    from chatsim.engine.compiled.code import is_kept
    from chatsim.engine.compiled.run import compile_all

    if not is_kept():
        compile_all()


def _is_worth_it(world: World) -> bool:
    from chatsim.engine.compiled.code import is_kept

    pairs = np.diff(world.rooms.start)[world.messages.room].sum()
    return bool(pairs + len(world.sessions) > (SMALL if is_kept() else LARGE))


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
