"""Calibration and validation of the live twin: costs that explain what was measured, and points that they have not seen."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from chatsim.engine import simulate
from chatsim.engine.notes import Notes
from chatsim.engine.outcome import Fate, FaultKind, Work
from chatsim.live import calibration, redis_costs, validation
from chatsim.live.comparing import cpu_share
from chatsim.live.fitting import Fitted, fit
from chatsim.live.grids import Point, scenario_of, world_of
from chatsim.live.ledger import COUNTS
from chatsim.live.link import StampedSocket
from chatsim.live.pace import PROBE_US
from chatsim.live.processes import cores
from chatsim.live.record import Strike, _note_losses
from chatsim.live.run import Live, LiveRun, live
from chatsim.live.sending import as_sent, latency_from_sending_ms
from chatsim.live.steadiness import Unsteady
from chatsim.live.twin import Machine, at_pace, machine_of, twin
from chatsim.rules.waking import waking_us
from chatsim.scenario import load_scenario
from tests.conftest import Said
from tests.outcomes import outcome

needs_redis = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
Cli = Callable[..., Said]
FREE = dict.fromkeys(("tick_us", "wake_us", "command_us", "parse_us", "write_us", "flush_us", "handshake_us", "token_us"), 0.0)


def test_the_fit_finds_the_costs_behind_noisy_measurements() -> None:
    # 60 rows with 3 % noise: each cost is within its interval but for 5 %; within 20 % but for far less than 1e-6.
    random = np.random.default_rng(7)
    counts = random.uniform(10, 1000, (60, 3))
    true = np.array([80.0, 15.0, 5.0])
    costs, error = fit(("tick", "receive", "write"), counts, counts @ true * random.normal(1.0, 0.03, 60))
    for name, value in zip(("tick", "receive", "write"), true, strict=True):
        assert costs[name].value == pytest.approx(value, rel=0.2)
        assert costs[name].low < costs[name].value < costs[name].high
    assert error < 0.06


def test_calibration_and_validation_share_no_configuration() -> None:
    fitted = {(point.gateways, point.members) for point in calibration.GRID}
    held_out = {(point.gateways, point.members) for point, _ in validation.grid("python", full=True)}
    assert not fitted & held_out


def test_a_world_for_measuring_is_what_was_asked_for() -> None:
    people = world_of(Point("room", 2, 5, 4, 200.0, 3.0, burst=4))
    assert len(people.messages) == pytest.approx(600, abs=6 * 4 * np.sqrt(150))
    assert np.all(people.messages.room == people.messages.sender // 5)
    assert np.all(np.bincount(np.unique(people.messages.time_s, return_inverse=True)[1]) == 4)
    late = world_of(Point("room", 2, 5, 4, 200.0, 3.0, comers=0.5))
    assert 0 < (late.sessions.start_s > 0).sum() < 20
    assert np.all(late.sessions.user[late.messages.session] == late.messages.sender)


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels do not stamp what comes")
def test_a_packet_bears_the_time_at_which_it_came_not_at_which_it_is_read() -> None:
    """It is read 0.5 s after it was sent; however busy the machine is, it came before that. Packets go ahead, as the
    kernel begins to stamp some time after it is asked to."""
    with socket.create_server(("127.0.0.1", 0)) as server, StampedSocket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.connect(server.getsockname())
        assert client.stamps()
        other, _ = server.accept()
        with other:
            for _ in range(5):
                before_s = time.monotonic()
                other.sendall(b"packet")
                time.sleep(0.5)
                assert client.recv(100) == b"packet"
                if client.came_s < before_s + 0.4:
                    break
            assert before_s - 1e-3 < client.came_s < before_s + 0.4


def test_a_latency_counts_from_the_moment_of_sending() -> None:
    # Written at 1.0 and 2.0 s, sent 0.3 and 0 s later, there at 1.5 and 2.1 s.
    made = outcome([{"time_s": 1.0}, {"time_s": 2.0}], [{"message": 0, "time_s": 1.5}, {"message": 1, "time_s": 2.1}])
    sent_s = np.array([1.3, np.nan])
    run = LiveRun(made, {}, {}, sent_s, np.array([0.3, 0.0]), 0, 0, "", (), 0.0)
    assert latency_from_sending_ms(run).tolist() == pytest.approx([200.0, 100.0])
    assert as_sent(run, made.world).messages.time_s.tolist() == [1.3, 2.0]


@needs_redis
@pytest.mark.skipif(not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_the_load_client_has_a_core_of_its_own() -> None:
    """Gateways and Redis are kept on the others, which a prediction knows as a host; afterwards all may be anywhere."""
    point, found = Point("room", 2, 2, 2, 20.0, 1.0), []

    async def looks(run: Live) -> None:
        assert run.own_redis is not None
        found.extend(os.sched_getaffinity(one.child.pid) for one in (*run.gateways, run.own_redis))
        found.append(os.sched_getaffinity(0))

    before = os.sched_getaffinity(0)
    live(scenario_of(point), world_of(point), beside=looks)
    servers, client = cores()
    assert found == [servers, servers, servers, client]
    assert not servers & client
    assert os.sched_getaffinity(0) == before == servers | client
    assert [(host.cores, host.stations) for host in scenario_of(point).hosts] == [(len(servers), ("*",))]


def test_a_profile_says_where_it_comes_from_and_can_be_used(tmp_path: Path) -> None:
    one = Fitted(12.5, 11.0, 14.0)
    kinds = dict.fromkeys(calibration.KINDS[:-1], one)
    network = {"client_ms_median": Fitted(0.1, 0.1, 0.2, "ms"), "broker_rtt_ms": Fitted(0.2, 0.2, 0.4, "ms")}
    machine = Machine(48.0, Unsteady(0.25, 1.8, 0.1), 0.005, 0.002)
    found = calibration.Calibration(kinds, {"tick_us": one}, network, 0.05, 0.1, 36, "7.0.15", machine)
    text = calibration.to_profile(found, "chatsim calibrate")
    assert "median error of the fit: 5 %" in text.replace("Median", "median")
    (tmp_path / "mine.toml").write_text(text)
    assert machine_of(str(tmp_path / "mine.toml")) == machine
    lived, _ = twin(load_scenario("room-channel"), str(tmp_path / "mine.toml"))
    assert (lived.gateway.write_us, lived.broker.tick_us, lived.network.client_ms_median) == (12.5, 12.5, 0.1)
    (tmp_path / "s.toml").write_text('extends = ["room-channel", "mine.toml"]\n')
    assert load_scenario(tmp_path / "s.toml").gateway.write_us == 12.5


@needs_redis
def test_what_redis_costs_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from chatsim.live.processes import free_port

    for name, value in (("BATCHES", (1, 4, 30)), ("SUBSCRIBERS", (0, 3)), ("COMMANDS", 300), ("LEAST_BATCHES", 30), ("REPEATS", 2)):
        monkeypatch.setattr(redis_costs, name, value)
    port = free_port()
    server = subprocess.Popen(["redis-server", "--port", str(port), "--save", "", "--dir", str(tmp_path)], stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        costs, _ = redis_costs.broker_costs(port)
    finally:
        server.terminate()
        server.wait()
    assert costs["tick_us"].value > costs["publish_us"].value
    assert {"flush_us", "push_us", "lookup_us", "history_us", "subscribe_us"} <= set(costs)
    assert all(one.low <= one.value <= one.high or one.value == 0 for one in costs.values())


@pytest.mark.long
@needs_redis
def test_a_small_calibration_predicts_what_it_was_made_of() -> None:
    """It measures, so it needs a machine that is idle otherwise: where the load client comes too late, counts are cut."""
    grid = (Point("room", 1, 3, 6, 100.0, 1.0), Point("room", 1, 6, 3, 60.0, 1.0))
    measured, pace = calibration.measure(grid)
    assert pace.factor >= 1.0
    assert [one.work("receive") for one in measured] == [len(one.world.messages) for one in measured]
    assert all(one.cpu_us("gateway") > 0 for one in measured)
    broker = {"tick_us": Fitted(11.0, 10.0, 12.0), "publish_us": Fitted(0.4, 0.3, 0.5)}
    costs, idle_us, error = calibration.gateway_costs(measured, broker)
    assert idle_us >= 0
    assert error < 0.5
    assert sum(one.value for one in costs.values()) > 0
    assert scenario_of(grid[0], calibration.parts_of({}, broker)).broker.tick_us == 11.0


def test_a_station_that_cools_is_found_in_what_it_spent() -> None:
    """Forty runs, each of 100 ticks after sleeps of one length: 20 us each, and up to 300 us more after a long one."""
    slept_s = np.geomspace(20e-6, 0.2, 40)
    ticks = [calibration.Ticks(100.0, np.full(100, each), 0.0) for each in slept_s]
    spent_us = np.array([100 * (20.0 + waking_us(300.0, each, 2000.0)) for each in slept_s])
    counts = np.array([[100.0, 0.0]] * 40)
    cooling, found, error = calibration.cooled(("tick_us", "wake_us"), counts, 1, ticks, spent_us)
    assert (cooling.value, cooling.low, cooling.high) == (2000.0, 2000.0, 2000.0)
    assert (found["tick_us"].value, found["wake_us"].value) == pytest.approx((20.0, 300.0))
    assert error < 1e-9


def test_ticks_are_those_within_the_duration() -> None:
    """A gateway has three ticks: after no work ever, at once, and after 3 ms; the last is beyond the end."""
    made = outcome([{"time_s": 1.0}], [{"message": 0, "time_s": 1.5}])
    starts_s, ends_s = np.array([1.0, 1.002, 1.006, 1e6]), np.array([1.002, 1.003, 1.007, 1e6 + 1])
    columns = {"station": np.zeros(4, np.int32), "start_s": starts_s, "end_s": ends_s, "reads": np.array([1, 2, 1, 9])}
    found = calibration._ticks_of(replace(made, ticks={**columns, "slept_s": np.array([1e300, 0.0, 3e-3, 5.0])}), [0])
    assert (found.count, found.busy_us, found.reads) == (3.0, pytest.approx(4000.0), 4.0)
    assert found.slept_s.tolist() == [1e300, 3e-3]
    assert found.wakes(3000.0) == pytest.approx(1.5)


def test_costs_are_found_again_in_what_the_model_spends() -> None:
    """Eighteen runs of the model itself, as if they were live ones: their costs come out, reads and messages told apart."""
    true = {
        "cooling_us": 5000.0, "tick_us": 60.0, "wake_us": 500.0, "fetch_us": 25.0, "receive_us": 20.0, "command_us": 30.0,
        "parse_us": 15.0, "write_us": 12.0, "handshake_us": 900.0,
    }  # fmt: skip
    broker = {"tick_us": Fitted(7.0, 7.0, 7.0), "publish_us": Fitted(1.0, 1.0, 1.0), "flush_us": Fitted(6.0, 6.0, 6.0)}
    loads = [("room", 1, 3, 30, 6000), ("room", 1, 30, 3, 1200), ("user", 1, 8, 8, 600), ("global", 3, 3, 30, 1500), ("directory", 3, 3, 30, 1500)]
    grid = [Point(*load[:4], load[4] * share, 1.0) for load in loads for share in (0.02, 0.2, 1.0)]
    grid += [Point("room", 1, 3, rooms, 1500.0, 1.0, burst=25) for rooms in (30, 1)]
    grid.append(Point("room", 1, 3, 100, 30.0, 1.0, comers=0.8))
    found, _, error = calibration.gateway_costs([as_lived(point, true, broker) for point in grid], broker)
    assert {key: one.value for key, one in found.items()} == pytest.approx(true, rel=0.2)
    assert error < 0.02


def as_lived(point: Point, costs: dict[str, float], broker: dict[str, Fitted]) -> Any:
    """A run of the model, with what a live run would tell of it."""
    world = world_of(point)
    made = simulate(scenario_of(point, calibration.parts_of(costs, broker)), world)
    busy_us = calibration._ticks_of(made, range(point.gateways)).busy_us
    work = made.work.sum(axis=0)
    replies = int(work[Work.LOOKUP])  # a live gateway counts as parsed what was pushed to it, the model replies too
    counts = [int(work[Work[name.upper()]]) - replies * (name == "parse") for name in COUNTS]
    run = SimpleNamespace(cpu_s={"gateway-0": 1e-6 * busy_us}, counts=counts, probe_us=PROBE_US)
    return calibration.Measured(point, world, run)  # type: ignore[arg-type]


def test_the_system_takes_its_part_of_a_full_core() -> None:
    """Of two runs that want more than all one had 0.94 of the core, the other 0.96; what was carried does not count."""

    def run(point: Point, busy_s: float, fate: Fate) -> Any:
        made = outcome([{"time_s": 1.5}], [{"message": 0, "time_s": 1.9, "fate": fate}])
        made = replace(made, world=replace(made.world, duration_s=2.0))
        return calibration.Measured(point, made.world, SimpleNamespace(cpu_s={"gateway-0": busy_s, "broker": 0.04}, outcome=made))  # type: ignore[arg-type]

    full, light = calibration.SATURATING[0], calibration.BELOW[0]
    runs = [run(full, 1.84, Fate.LOST), run(full, 1.88, Fate.LOST), run(full, 0.5, Fate.DELIVERED), run(light, 0.1, Fate.LOST)]
    assert calibration.granted(runs) == pytest.approx(0.95)
    assert calibration.granted(runs[2:]) == 1.0


def test_what_a_killed_gateway_had_not_sent_is_heard_by_nobody() -> None:
    """Gateway 0 dies at 1 s. It had published message 0, with an answer, and message 1, without one."""
    scenario, world = scenario_of(Point("room", 2, 2, 1, 1.0)), world_of(Point("room", 2, 2, 1, 4.0, 1.0))
    notes = Notes(world, 3)
    for message in (0, 1):
        notes.gateway[message], notes.received_s[message], notes.done_s[message] = 0, 0.9, 0.95
    nothing = np.zeros(len(world.messages))
    ledger = SimpleNamespace(away_s=[], whole_s=[], read_s=nothing, state=[0] * 8, unanswered=np.arange(len(nothing)) == 1)
    struck = Strike(0, FaultKind.GATEWAY_CRASH, 0, 1.0, float("nan"))
    recorded: Any = SimpleNamespace(
        scenario=scenario, world=world, strikes=[struck], ledgers=[ledger, ledger], player=SimpleNamespace(origin_s=0.0, keeps_missed=False)
    )
    _note_losses(recorded, notes)
    breaks = notes.breaks.table()
    assert list(zip(breaks["message"].tolist(), breaks["gateway"].tolist(), strict=True))[:2] == [(0, 0), (1, -1)]


def test_an_unsteady_machine_takes_as_long_in_the_mean() -> None:
    """A gateway that is slow in half of the time by a factor of 3, of a mean of 1.5 of its costs: 0.3 cores of 100
    messages a second of 2 ms. Half of the time is a mean of 400 spells, of exponential lengths: within 5 standard errors
    of 4 % it misses for 6 of 10 million seeds, and this one is fixed."""
    costs = {"gateway": {**FREE, "receive_us": 2000.0}, "broker": dict.fromkeys(("tick_us", "publish_us", "push_us", "flush_us"), 0.0)}
    scenario = at_pace(scenario_of(Point("room", 1, 2, 5, 100.0), costs), 1.5, Unsteady(0.5, 3.0, 0.1))
    world = world_of(Point("room", 1, 2, 5, 100.0, 80.0))
    made = simulate(scenario, world)
    struck = made.faults["station"]
    assert set(struck.tolist()) == {0, 1}
    assert made.faults["start_s"][struck == 0].tolist() == made.faults["start_s"][struck == 1].tolist()
    messages_per_s = len(world.messages) / 80.0
    assert cpu_share(made)["gateway"] == pytest.approx(messages_per_s * 2e-3 * 1.5, rel=0.2)


def test_wrong_input_is_said_in_one_line(chatsim: Cli, tmp_path: Path) -> None:
    (tmp_path / "there.toml").write_text("")
    for arguments, said in (
        (("calibrate", "--out", "mine"), "--out mine: a name that ends in .toml is needed"),
        (("calibrate", "--out", "there.toml"), "--out there.toml: exists already: another name is needed, or --force to replace it"),
        (("calibrate", "--out", "no/mine.toml"), "--out no/mine.toml: no such folder: no"),
        (("validate", "--part", "live", "--costs", "pyton"), "--costs 'pyton': neither a file nor a shipped profile; did you mean 'python'?"),
    ):
        assert chatsim(*arguments) == Said(2, "", f"chatsim: {said}\n")


def test_a_gateway_starts_fast(root: Path) -> None:
    heavy = "import sys, chatsim.live.gateway; print([name for name in ('numpy', 'pydantic', 'simpy', 'pandas') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", heavy], cwd=root, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.replace("'", '"')) == []
