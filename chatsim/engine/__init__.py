"""The engine: a scenario and a world in, an outcome out."""

from __future__ import annotations

import logging
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
    "known",
    "prepare",
    "simulate",
    "simulate_in_parts",
    "will_compile",
]

ENGINES = ("auto", "simpy", "compiled")
"""The compiled engine where it covers the scenario and SimPy where not; or the one, or the other."""
SMALL = 10_000
"""Messages x members and sessions from which on a run is worth the time that it takes to load the compiled engine."""
LARGE = 150_000
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
    if known(engine) == "simpy" or recorder is not None:
        return _by_simpy(scenario, world, progress, (), recorder)
    from chatsim.engine.compiled.coverage import missing

    reasons = missing(scenario)
    if engine == "auto" and not reasons and not _is_worth_it(world):
        reasons = (TOO_SMALL,)
    if not reasons:
        from chatsim.engine.compiled.run import run_compiled

        prepare()
        return run_compiled(scenario, world, progress)
    if engine == "compiled":
        raise InputError(f"engine = 'compiled': does not cover {', '.join(reasons)}; 'simpy' or 'auto' is needed")
    return _by_simpy(scenario, world, progress, reasons, None)


def simulate_in_parts(
    scenario: Scenario, world: World, take: Callable[[Outcome], None], progress: Callable[[float], None] | None = None
) -> None:
    """Runs a scenario on a world, and gives its outcome away in parts, so that memory does not grow with what happens.

    ``take`` is given each part as an outcome of its own, settled and audited: the messages that were done since the
    part before, in the order of the trace, with their deliveries and the sessions that these concern, and the ticks
    since. Recipients who have LOST a message because no session was there (OFFLINE) are many: they have no row, but are
    counted in ``offline`` of the table of messages. A message in store that is read after its part was taken is in
    ``later`` of the part in which that happens. Subscriptions are those since the part before. The last part has all
    sessions, and whatever else is not of single messages. Together the parts are what :func:`simulate` gives, and they
    are held to the same laws: AuditError where one is broken. The compiled engine does it: InputError where it does not
    cover the scenario, or where what was told might have to be taken back.

    >>> from chatsim.scenario import load_scenario
    >>> from chatsim.world import build_world
    >>> scenario = load_scenario("room-channel", ["workload.users=50", "workload.duration_s=60"])
    >>> world, parts = build_world(scenario), []
    >>> simulate_in_parts(scenario, world, parts.append)
    >>> sum(len(part.messages["time_s"]) for part in parts) == len(world.messages)
    True
    """
    from chatsim.engine.compiled.coverage import kept_whole, missing
    from chatsim.engine.compiled.run import run_in_parts

    reasons = (*missing(scenario), *kept_whole(scenario))
    if reasons:
        raise InputError(f"{reasons[0]}: such a run is kept whole; it cannot be taken in parts")
    prepare()
    run_in_parts(scenario, world, take, progress)


def known(engine: str) -> str:
    """The name of an engine; InputError where there is none such."""
    if engine not in ENGINES:
        raise InputError(f"engine = '{engine}': no such engine{nearest(engine, ENGINES)}")
    return engine


def will_compile(scenario: Scenario, world: World, engine: str = "auto") -> bool:
    """Whether the next run of a scenario will first have the engine compiled, which takes some 10 s, once."""
    from chatsim.engine.compiled.code import is_kept
    from chatsim.engine.compiled.coverage import missing

    wanted = engine == "compiled" or (engine == "auto" and _is_worth_it(world))
    return wanted and not is_kept() and not missing(scenario)


def prepare(progress: Callable[[float], None] | None = None) -> None:
    """Compiles the engine, unless that was done: before many runs, or before processes that would each do it. Where
    another process is at it, this one waits, and compiles nothing.

    Progress is told which share is done; without it the log says what takes so long.
    """
    from chatsim.engine.compiled.code import compiling_alone, is_kept

    if is_kept():
        return
    from chatsim.engine.compiled.run import compile_all, is_compiled

    if is_compiled():
        return
    with compiling_alone():
        if is_kept():
            return
        if progress is None:
            logging.getLogger(__name__).warning("chatsim compiles its engine, which takes some 10 s, once")
        compile_all(progress)


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
