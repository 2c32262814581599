"""Both engines against a bare idiomatic SimPy model of the same fan-out, side by side in one run.

``python -m pytest -m benchmark -s tests/benchmarks`` prints the ratios.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import pytest

from chatsim.engine import simulate
from chatsim.scenario import Scenario
from chatsim.scenario.load import validate
from chatsim.world.draws import Purpose, exponential
from chatsim.world.tables import World
from tests.benchmarks.idiomatic import run_idiomatic
from tests.worlds import standing_rooms

ROUNDS, ROOMS, RATE_PER_S = 7, 100, 1000.0
pytestmark = pytest.mark.benchmark


def fan_out_world(members: int, messages: int) -> World:
    """Rooms of ``members``, everybody connected, one message after the other."""
    numbers = np.arange(messages)
    times_s = np.cumsum(exponential(1, 0, Purpose.LOAD_TEST, numbers, 0)) / RATE_PER_S
    return standing_rooms(members, ROOMS, times_s, (numbers * 7919) % (ROOMS * members))


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
def test_the_engine_is_no_slower_than_idiomatic_simpy(members: int, messages: int) -> None:
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
    assert ratio >= 1.0


@pytest.mark.parametrize(("members", "messages"), [(2, 60_000), (10, 20_000), (50, 5000)])
def test_the_compiled_engine_is_many_times_as_fast(members: int, messages: int) -> None:
    """Whole runs, with tables made, notes written, settled and audited; of that the event loop alone is said too."""
    gateways, rounds = 4, 3
    scenario, people = same_fan_out(gateways), fan_out_world(members, messages)
    outcome = simulate(scenario, people, engine="compiled")
    deliveries = int((outcome.deliveries["fate"] == 0).sum())
    assert deliveries == messages * (members - 1)
    ratios: dict[str, list[float]] = {"idiomatic": [], "simpy": [], "loop": []}
    ours_s = []
    for _ in range(rounds):
        idiomatic_s = cpu_s(lambda: run_idiomatic(gateways, members, messages, RATE_PER_S, ROOMS))
        simpy_s = cpu_s(lambda: simulate(scenario, people, engine="simpy"))
        ours_s.append(cpu_s(lambda: simulate(scenario, people, engine="compiled")))
        ratios["idiomatic"].append(idiomatic_s / ours_s[-1])
        ratios["simpy"].append(simpy_s / ours_s[-1])
        ratios["loop"].append(idiomatic_s / loop_s(scenario, people))
    found = {name: statistics.median(each) for name, each in ratios.items()}
    print(
        f"\nrooms of {members}: {found['idiomatic']:.0f} times idiomatic SimPy and {found['simpy']:.0f} times the SimPy engine "
        f"(of {rounds} rounds), {deliveries / statistics.median(ours_s):,.0f} audited deliveries per CPU second; "
        f"the event loop alone {found['loop']:.0f} times idiomatic SimPy"
    )
    assert found["simpy"] >= 3.0


def loop_s(scenario: Scenario, people: World) -> float:
    """CPU time of the compiled event loop alone."""
    from chatsim.engine.compiled.loop import DONE, go_on, start
    from chatsim.engine.compiled.setup import tables_for
    from chatsim.engine.compiled.state import state_of
    from chatsim.engine.rooms import Rooms

    st = state_of(tables_for(scenario, people, Rooms(people, scenario.design), None))

    def loop() -> None:
        start(st, len(people.sessions))
        while go_on(st, 1_000_000) != DONE:
            pass

    return cpu_s(loop)
