"""Both engines against a bare idiomatic SimPy model and a C loop of the same fan-out, side by side in one run.

``python -m pytest -m benchmark -s tests/benchmarks`` prints the ratios. All times are CPU times, rounds are interleaved.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from chatsim.engine import Outcome, simulate
from chatsim.engine.compiled.loop import DONE, go_on
from chatsim.engine.compiled.setup import tables_for
from chatsim.engine.compiled.state import state_of, tables_of
from chatsim.engine.journey import Journey
from chatsim.engine.rooms import Rooms
from chatsim.scenario import Scenario
from chatsim.scenario.load import validate
from chatsim.world.draws import Purpose, exponential
from chatsim.world.tables import World
from tests.benchmarks.idiomatic import run_idiomatic
from tests.benchmarks.in_c import c_loop, world_in_c
from tests.worlds import standing_rooms

ROUNDS, ROOMS, RATE_PER_S = 7, 100, 1000.0
pytestmark = pytest.mark.benchmark


def fan_out_world(members: int, messages: int, rooms: int = ROOMS, rate_per_s: float = RATE_PER_S) -> World:
    """Rooms of ``members``, everybody connected, one message after the other."""
    numbers = np.arange(messages)
    times_s = np.cumsum(exponential(1, 0, Purpose.LOAD_TEST, numbers, 0)) / rate_per_s
    return standing_rooms(members, rooms, times_s, (numbers * 7919) % (rooms * members))


def same_fan_out(gateways: int) -> Scenario:
    """The costs of the yardstick."""
    return validate(
        {
            "design": {"routing": "global", "gateways": gateways, "store": "never", "offline": "drop"},
            "gateway": {"tick_us": 0.0, "command_us": 0.0, "batch_max": 1},
            "broker": {"tick_us": 0.0, "flush_us": 0.0, "batch_max": 1},
        }
    )


def cpu_s(work: Callable[[], object]) -> float:
    """CPU time of one call."""
    start_s = time.process_time()
    work()
    return time.process_time() - start_s


@pytest.mark.parametrize(("members", "messages"), [(2, 6000), (10, 4000), (50, 1500)])
def test_the_simpy_engine_beside_idiomatic_simpy(members: int, messages: int) -> None:
    """It counts, notes and audits what the yardstick does not, and takes up to twice as long: no more than that."""
    gateways = 4
    scenario, people = same_fan_out(gateways), fan_out_world(members, messages)
    outcome = simulate(scenario, people, engine="simpy")
    assert (outcome.deliveries["fate"] == 0).sum() == messages * (members - 1)
    deliveries, _ = run_idiomatic(gateways, members, messages, RATE_PER_S, ROOMS)
    assert deliveries == messages * (members - 1)
    ratios, ours_s = [], []
    for _ in range(ROUNDS):
        ours_s.append(cpu_s(lambda: simulate(scenario, people, engine="simpy")))
        ratios.append(cpu_s(lambda: run_idiomatic(gateways, members, messages, RATE_PER_S, ROOMS)) / ours_s[-1])
    ratio = statistics.median(ratios)
    per_s = deliveries / statistics.median(ours_s)
    print(
        f"\nrooms of {members}: {ratio:.2f} times idiomatic SimPy (of {ROUNDS} rounds, {min(ratios):.2f} to "
        f"{max(ratios):.2f}), {per_s:,.0f} audited deliveries per CPU second"
    )
    assert ratio >= 0.4


@pytest.mark.parametrize(("members", "messages"), [(2, 60_000), (10, 20_000), (50, 5000)])
def test_the_compiled_engine_is_many_times_as_fast(members: int, messages: int) -> None:
    """Whole runs, with tables made, notes written, settled and audited; of that the event loop alone is said too, and
    held against the same loop by hand in C, which notes no ticks and neither queues packets nor counts work."""
    gateways, rounds = 4, 5
    scenario, people = same_fan_out(gateways), fan_out_world(members, messages)
    outcome = simulate(scenario, people, engine="compiled")
    deliveries = int((outcome.deliveries["fate"] == 0).sum())
    assert deliveries == messages * (members - 1)
    in_c = c_loop()
    if in_c is not None:
        check_same(in_c, scenario, people, outcome)
    took_s: dict[str, list[float]] = {"idiomatic": [], "simpy": [], "events": [], "run": [], "loop": [], "c": []}
    for _ in range(rounds):
        took_s["idiomatic"].append(cpu_s(lambda: run_idiomatic(gateways, members, messages, RATE_PER_S, ROOMS)))
        took_s["simpy"].append(cpu_s(lambda: simulate(scenario, people, engine="simpy")))
        took_s["events"].append(cpu_s(Journey(scenario, people).run))
        took_s["run"].append(cpu_s(lambda: simulate(scenario, people, engine="compiled")))
        took_s["loop"].append(loop_s(scenario, people))
        if in_c is not None:
            world, _arrays = world_in_c(scenario, people)
            took_s["c"].append(cpu_s(partial(in_c, world)))
    print(f"\nrooms of {members}, {deliveries:,} deliveries, medians of {rounds} rounds:")
    for name, what in (("run", "whole audited run"), ("loop", "event loop alone")):
        ratios = {other: ratio(took_s[other], took_s[name]) for other in ("idiomatic", "simpy")}
        per_s = deliveries / statistics.median(took_s[name])
        print(
            f"  {what}: {ratios['idiomatic']:.0f} times idiomatic SimPy, {ratios['simpy']:.0f} times the SimPy engine, "
            f"{per_s:,.0f} deliveries per CPU second"
        )
    print(f"  event loop alone: {ratio(took_s['events'], took_s['loop']):.0f} times that of the SimPy engine alone")
    if in_c is not None:
        print(f"  event loop: {ratio(took_s['loop'], took_s['c']):.2f} times the time of the C loop")
        assert ratio(took_s["loop"], took_s["c"]) <= 5.0
    assert ratio(took_s["simpy"], took_s["run"]) >= 6.0


@pytest.mark.parametrize(("members", "messages"), [(2, 600), (10, 400), (50, 150)])
def test_ciw_takes_longer_than_idiomatic_simpy(members: int, messages: int) -> None:
    """For comparison: a library of queueing networks, in which nothing of this runs but by code of one's own."""
    pytest.importorskip("ciw", reason="Ciw is not installed: pip install chatsim[benchmarks]")
    from tests.benchmarks.in_ciw import run_in_ciw

    gateways, took_s = 4, []
    for _ in range(5):
        took_s.append(cpu_s(lambda: run_idiomatic(gateways, members, messages, RATE_PER_S, ROOMS)))
        took_s.append(cpu_s(lambda: run_in_ciw(gateways, members, messages, RATE_PER_S, ROOMS)))
    assert run_in_ciw(gateways, members, messages, RATE_PER_S, ROOMS) == messages * (members - 1)
    share = ratio(took_s[::2], took_s[1::2])
    print(f"\nrooms of {members}: Ciw is {share:.2f} times as fast as idiomatic SimPy")
    assert share < 1.0


def ratio(one_s: list[float], other_s: list[float]) -> float:
    """The median of ratios of one round each."""
    return statistics.median(one / other for one, other in zip(one_s, other_s, strict=True))


def check_same(in_c: Callable[[Any], int], scenario: Scenario, people: World, outcome: Outcome) -> None:
    """What the C loop writes is the outcome, float by float."""
    world, arrays = world_in_c(scenario, people)
    rows, deliveries = arrays["rows"][: in_c(world)], outcome.deliveries
    ours, theirs = (np.lexsort((table["session"], table["message"])) for table in (deliveries, rows))
    for name in ("message", "session", "written_s", "time_s"):
        np.testing.assert_array_equal(rows[name][theirs], deliveries[name][ours])
    for name in ("received_s", "routed_s", "done_s"):
        np.testing.assert_array_equal(arrays[name], outcome.messages[name])


def loop_s(scenario: Scenario, people: World) -> float:
    """CPU time of the compiled event loop alone."""
    return loop_of(scenario, people)[0]


def loop_of(scenario: Scenario, people: World) -> tuple[float, int, int]:
    """CPU time of the compiled event loop alone, how many events happened, and the most items in one queue."""
    st = state_of(tables_for(scenario, people, Rooms(people, scenario.design), None))

    def loop() -> None:
        while go_on(st, 1_000_000) != DONE:
            pass

    took_s, tables = cpu_s(loop), tables_of(st)
    waiting = tables["ticks"]["waiting"][: tables["now"][0]["ticks"]]
    return took_s, int(tables["now"][0]["number"]), int(waiting.max())
