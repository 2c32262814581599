"""Calibration of servers that are none of ours: real ones, with known costs, on real sockets; and what goes wrong."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tomllib
import uuid
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from time import sleep

import numpy as np
import pytest

from chatsim.engine import simulate
from chatsim.live import foreign, foreign_costs
from chatsim.live.adapters import SocketIo, adapter_of
from chatsim.live.crowd import Crowd, Watched
from chatsim.live.fitting import Fitted, fit
from chatsim.live.foreign import Server, address_of, started
from chatsim.live.foreign_costs import Costs, Plan, Seen
from chatsim.live.foreign_profile import to_profile
from chatsim.live.grids import Point, world_of
from chatsim.live.keeper import descendants
from chatsim.live.processes import free_port
from chatsim.live.run import carried_out
from chatsim.scenario import InputError, load_scenario
from tests import worlds
from tests.conftest import ROOT, Said

Cli = Callable[..., Said]
SERVERS = ROOT / "tests" / "servers"
needs_socketio = pytest.mark.skipif(
    find_spec("socketio") is None or find_spec("aiohttp") is None, reason="python-socketio or aiohttp is not installed"
)
pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="/proc is not there")
MESSAGE_US, DELIVERY_US = 2000.0, 500.0


def server(*options: str, name: str = "json_server.py", port: int = 0) -> tuple[str, str]:
    """The command of a server and its URL."""
    port = port or free_port()
    return shlex.join([sys.executable, str(SERVERS / name), str(port), *options]), f"ws://127.0.0.1:{port}"


def of(mark: str) -> list[int]:
    """The processes in whose command lines something stands."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdecimal() and int(path.name) != os.getpid():
            try:
                said = (path / "cmdline").read_bytes()
            except OSError:
                continue
            if mark.encode() in said:
                found.append(int(path.name))
    return found


def comes_true(condition: Callable[[], bool], turns: int = 1500) -> bool:
    """Whether it comes true, in turns of 0.02 s: time for which all stands still is none."""
    for _ in range(turns):
        if condition():
            return True
        sleep(0.02)
    return False


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A grid of seconds instead of minutes."""
    for name, value in {
        "FAN_OUTS": ((3, 8), (20, 1)), "LOADS": (0.1, 0.5), "WARM_UP": (1, 3), "BURSTS": ((3, 8, 10),), "COMERS": ((3, 10, 0.8),),
        "FIRST_LOOK": ((3, 8, 30.0), (20, 1, 10.0)), "SECONDS": 0.8,
    }.items():  # fmt: skip
        monkeypatch.setattr(foreign_costs, name, value)


@pytest.fixture
def mark() -> Iterator[str]:
    """A word for command lines; no process that has it is left after the test."""
    word = f"mark-{uuid.uuid4().hex}"
    yield word
    assert comes_true(lambda: not of(word), 250)


# ------------------------------------------------------------------------------ costs


@pytest.mark.usefixtures("small")
def test_known_costs_are_found(chatsim: Cli, tmp_path: Path, mark: str) -> None:
    """The server burns known CPU time, by its own clock of CPU time, so a busy machine changes nothing of that; websockets
    itself takes 50 to 150 us more for each. It runs below a shell, which uses none. The bounds: what is burnt less 10 %,
    and up to 60 % more of a message and 50 % of a delivery."""
    command, url = server("--message-us", str(MESSAGE_US), "--delivery-us", str(DELIVERY_US))
    said = chatsim("calibrate", "--command", f"sh -c {shlex.quote(f'{command}; true {mark}')}", "--url", url, "--repeats", "1", "--out", "mine.toml")
    assert (said.status, said.err) == (0, "")
    assert "Written to mine.toml. Next: chatsim run room-channel --costs mine.toml" in said.out
    costs = tomllib.loads((tmp_path / "mine.toml").read_text())["gateway"]
    assert 0.9 * DELIVERY_US < costs["write_us"] < 1.5 * DELIVERY_US
    assert 0.9 * MESSAGE_US < costs["receive_us"] + costs["tick_us"] + costs["wake_us"] < 1.6 * MESSAGE_US
    assert 50 < costs["handshake_us"] < 20_000
    assert 5e6 < costs["base_bytes"] < 3e8
    assert 1e3 < costs["connection_bytes"] < 1e6
    mine = load_scenario("room-channel", costs=tmp_path / "mine.toml")
    assert mine.gateway.write_us == costs["write_us"]
    assert mine.gateway.command_us == load_scenario("room-channel").gateway.command_us


def test_a_profile_says_where_it_comes_from(tmp_path: Path) -> None:
    one, point = Fitted(12.5, 11.0, 14.0), Point("in_process", 1, 3, 2, 10.0)
    watched = Watched(5e5, 2.0, 6, 0, np.array([0.1]), 2, 1, np.array([0.4, 0.6]), 0.1)
    found = Costs(dict.fromkeys(("receive_us", "write_us"), one), Fitted(0.1, 0.05, 0.2, "ms"), 0.05, [Seen(point, world_of(point), watched)])
    plan = Plan("python3 server.py", address_of("ws://localhost:3000", "/chat", False), adapter_of("json"), 2)
    text = to_profile(found, plan, "chatsim calibrate --command 'python3 server.py'")
    for words in (
        "# python3 server.py\n", "# measured by: chatsim calibrate --command 'python3 server.py'\n", ": Python 3.", "each load 2 times. Median error of the fit: 5 %",
        "it kept up to 0.25 cores busy", "A hop on loopback took 0.1 ms (0.05 to 0.2)", "write_us = 12.5  # measured: 95 % 11 to 14\n",
    ):  # fmt: skip
        assert words in text
    (tmp_path / "mine.toml").write_text(text)
    (tmp_path / "s.toml").write_text('extends = ["room-channel", "mine.toml"]\n')
    mine, before = load_scenario(tmp_path / "s.toml"), load_scenario("room-channel")
    assert (mine.gateway.write_us, mine.gateway.token_us) == (12.5, before.gateway.token_us)
    assert mine.network == before.network
    assert found.points()[0]["p50_ms"] == pytest.approx(0.5)


def test_the_grid_suits_the_server() -> None:
    """20 ms a message and 1 ms a copy: rooms of 3 are full at 1 / 22 ms. 10 us and 1 us: the load client is the limit."""
    plan = Plan("x", address_of("ws://127.0.0.1:1", "/", False), adapter_of("json"))

    def looks(message_us: float, copy_us: float) -> list[Seen]:
        found = []
        for members, rooms, per_s in foreign_costs.FIRST_LOOK:
            spent_us = 10 * (message_us + (members - 1) * copy_us)
            point = Point("in_process", 1, members, rooms, per_s)
            watched = Watched(spent_us, 2.5, 90, 0, np.zeros(10), 10, 0, np.zeros(1), 0.0)
            found.append(Seen(point, world_of(point), watched))
        return found

    slow, fast = foreign_costs.grid_of(plan, looks(20_000.0, 1000.0)), foreign_costs.grid_of(plan, looks(10.0, 1.0))
    assert [one.per_s for one in slow[:3]] == [4.0, pytest.approx(0.25 / 0.022, abs=0.1), pytest.approx(0.6 / 0.022, abs=0.1)]
    assert [one.per_s for one in fast[:3]] == [60.0, 300.0, 720.0]
    assert max(one.per_s * (one.members - 1) for one in fast) <= 0.6 * 4500 + 3
    assert {one.burst for one in slow} == {1, 20, 25}


def test_ticks_and_wakes_are_counted() -> None:
    """One worker, of ticks of 10 ms: two messages at once and one meanwhile wake it once, one later again."""
    people = worlds.world([(0, -1.0, 99.0), (1, -0.9, 99.0)], [[0, 1]], [(1.0, 0, 0), (1.0, 1, 0), (1.015, 0, 0), (2.0, 0, 0)])
    costs = {"gateway": {"cores": 1, "tick_us": 0.0, "batch_max": 1, "receive_us": 1e4, "write_us": 0.0, "close_us": 0.0}}
    one = worlds.scenario(design={"routing": "in_process", "gateways": 1}, **costs)
    ticks, wakes = foreign_costs._ticks(simulate(one, people))
    assert (ticks, wakes) == (8, 2)  # each message is received, and written


def test_intervals_are_of_draws_that_tell_costs_apart() -> None:
    """A third of all draws of two rows in seven have neither of those that alone have handshakes; the cost is not zero."""
    random = np.random.default_rng(3)
    counts = np.column_stack([random.uniform(100, 1000, 7), np.array([0, 0, 0, 0, 0, 50, 90])])
    costs, _ = fit(("receive", "handshake"), counts, counts @ np.array([20.0, 600.0]) * random.normal(1, 0.01, 7))
    assert 500 < costs["handshake"].low < costs["handshake"].value < costs["handshake"].high < 700


# ------------------------------------------------------------------------------ protocols


def watched(plan: Plan, tmp_path: Path) -> tuple[Watched, int]:
    """A server with 12 clients in rooms of 4, and how many messages they send."""
    people = world_of(Point("in_process", 1, 4, 3, 40.0, 1.0))

    async def plays() -> Watched:
        async with started(Server(tmp_path, plan.command, plan.address), 20.0) as one:
            crowd = Crowd(plan.adapter, people, one)
            try:
                return await crowd.watched()
            finally:
                await crowd.leave()

    return carried_out(plays()), len(people.messages)


def test_a_server_of_plain_json(tmp_path: Path) -> None:
    command, url = server()
    found, sent = watched(Plan(command, address_of(url, "/", False), adapter_of("json")), tmp_path)
    assert (found.stood, found.copies, found.echoes, len(found.latency_ms)) == (12, 3 * sent, 0, 3 * sent)
    assert found.cpu_us > 0
    assert np.median(found.latency_ms) > 0


@needs_socketio
def test_a_server_of_socket_io(tmp_path: Path) -> None:
    """This one emits to the whole room, and so to the sender."""
    command, url = server(name="socketio_server.py")
    found, sent = watched(Plan(command, address_of(url, SocketIo.resource, False), adapter_of("socketio")), tmp_path)
    assert (found.stood, found.copies, found.echoes) == (12, 3 * sent, sent)


def test_templates_say_what_a_server_of_ones_own_gets() -> None:
    mine = adapter_of("socketio", '["enter",{"id":{room},"as":"u{user}"}]', '["say",{room},"{text}"]')
    assert mine.joins(3, 7) == b'42["enter",{"id":3,"as":"u7"}]'
    assert mine.sends(3, 7, "hello") == b'42["say",3,"hello"]'
    assert adapter_of("json", join="").joins(3, 7) == b""


# ------------------------------------------------------------------------------ what goes wrong


def refused(chatsim: Cli, *arguments: str) -> str:
    """What is said of a command line that is refused, in one line; and nothing is left."""
    before = set(Path.cwd().iterdir())
    said = chatsim("calibrate", "--out", "mine.toml", *arguments)
    assert (said.status, said.out, said.err.count("\n")) == (2, "", 1)
    assert set(Path.cwd().iterdir()) == before
    return said.err.removeprefix("chatsim: ").rstrip("\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--command", "no-such-program x"], "--command 'no-such-program x': where does it listen? --url ws://127.0.0.1:PORT/PATH is needed"),
        (["--command", "no-such-program x", "--url", "ws://127.0.0.1:3000"], "--command 'no-such-program x': no such program: no-such-program"),
        (["--command", "", "--url", "ws://127.0.0.1:3000"], "--command '': a command is needed, such as 'node server.js'"),
        (["--command", "echo 'x", "--url", "ws://127.0.0.1:3000"], "--command 'echo 'x': no closing quotation"),
        (["--command", "echo", "--adapter", "soketio"], "--adapter 'soketio': no such adapter; did you mean 'socketio'?"),
        (["--command", "echo", "--url", "http://127.0.0.1:3000"], "--url 'http://127.0.0.1:3000': the form is ws://127.0.0.1:PORT/PATH"),
        (["--command", "echo", "--url", "ws://127.0.0.1"], "--url 'ws://127.0.0.1': the form is ws://127.0.0.1:PORT/PATH"),
        (["--command", "echo", "--url", "ws://127.0.0.1:x"], "--url 'ws://127.0.0.1:x': the form is ws://127.0.0.1:PORT/PATH"),
        (["--command", "echo", "--url", "ws://10.1.2.3:80"], "--url 'ws://10.1.2.3:80': '10.1.2.3' is another machine: a live run puts load on it, which needs --allow-remote"),
        (["--command", "echo", "--send", "{}"], "--send '{}': {text} is missing, by which messages are known"),
        (["--command", "echo", "--join", "{"], "--join '{': is no JSON"),
        (["--command", "echo", "--adapter", "socketio", "--join", "{}"], """--join '{}': an event is ["its name", ...]"""),
        (["--adapter", "json"], "--adapter 'json': is of a server that --command starts, which is missing"),
    ],
)  # fmt: skip
def test_wrong_options_are_said_in_one_line(chatsim: Cli, arguments: list[str], said: str) -> None:
    assert refused(chatsim, *arguments) == said


def test_a_port_of_somebody_else(chatsim: Cli, mark: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        command, url = server(port=port)
        said = refused(chatsim, "--command", f"{command} --child {mark}", "--url", url)
        assert said.startswith(f"--url {url}/: somebody listens on port {port} already: --command starts the server itself")
        assert not of(mark)


def test_a_server_that_does_not_come_up(chatsim: Cli, mark: str) -> None:
    command, url = server("--mute", "--child", mark)
    said = refused(chatsim, "--command", command, "--url", url, "--starts-within-s", "1")
    assert said.endswith(f": port {url.rpartition(':')[2]} does not answer within 1 s: the database does not answer")


def test_a_server_that_ends_at_once(chatsim: Cli) -> None:
    said = refused(chatsim, "--command", f"{sys.executable} -c 'raise SystemExit(\"no luck\")'", "--url", f"ws://127.0.0.1:{free_port()}")
    assert "has ended with status 1 before port" in said
    assert said.endswith("answered: no luck")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--die-after", "20"), "has ended with status 3 while it was measured: out of luck"),
        (("--deaf",), "were sent, but nobody got one: --join or --send does not fit this server"),
    ],
)
def test_a_server_that_fails_half_way(chatsim: Cli, mark: str, options: tuple[str, ...], words: str) -> None:
    command, url = server(*options, "--child", mark)
    assert refused(chatsim, "--command", command, "--url", url, "--repeats", "1").endswith(words)


def test_one_that_speaks_otherwise(chatsim: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatsim.live.crowd.READY_WITHIN_S", 1.0)
    command, url = server()
    said = refused(chatsim, "--command", command, "--url", url, "--adapter", "socketio")
    assert "(a WebSocket, but it does not speak as this --adapter)" in said
    if find_spec("socketio") is not None and find_spec("aiohttp") is not None:
        command, url = server(name="socketio_server.py")
        said = refused(chatsim, "--command", command, "--url", f"{url}/wrong", "--adapter", "socketio")
        assert "HTTP status 404; the path may be wrong" in said


@pytest.mark.skipif(sys.platform != "linux", reason="threads end otherwise elsewhere")
def test_a_process_lives_as_long_as_its_last_thread(mark: str) -> None:
    """Its first thread has ended, which makes it a zombie that still holds its ports."""
    ends_first = "import ctypes, threading, time; threading.Thread(target=time.sleep, args=(600,)).start(); ctypes.CDLL(None).pthread_exit(None)"
    child = subprocess.Popen([sys.executable, "-c", ends_first, mark])
    try:
        stat = Path(f"/proc/{child.pid}/stat")
        assert comes_true(lambda: stat.read_text().rpartition(")")[2].split()[0] == "Z")
        assert child.pid in descendants(os.getpid())
        child.kill()
        child.wait()
        assert child.pid not in descendants(os.getpid())
    finally:
        child.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_it_ends_the_server_and_all_its_children(number: signal.Signals, mark: str, tmp_path: Path, root: Path) -> None:
    """The server has a child that has gone off into a session of its own and does not listen to SIGTERM."""
    command, url = server("--child", mark)
    child = subprocess.Popen(
        [sys.executable, "-m", "chatsim", "calibrate", "--command", command, "--url", url, "--out", "mine.toml"], cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    own = ["calibrate", "live.keeper", "json_server.py", "time.sleep"]
    try:
        assert comes_true(lambda: child.poll() is not None or len(of(mark)) >= len(own))
        assert child.poll() is None
        assert comes_true(lambda: foreign.is_open(address_of(url, "/", False)))
        child.send_signal(number)
        assert comes_true(lambda: child.poll() is not None)
        _, said = child.communicate()
    finally:
        child.kill()
    if number == signal.SIGKILL:
        assert child.returncode == -signal.SIGKILL
    else:
        assert (child.returncode, said) == (130, "chatsim: interrupted\n")
    assert comes_true(lambda: not of(mark))
    assert list(tmp_path.iterdir()) == []


def test_it_says_all_in_json_too(chatsim: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was measured is made up: this is of the command line alone."""
    one, point = Fitted(12.5, 11.0, 14.0), Point("in_process", 1, 3, 2, 10.0)
    watched = Watched(5e5, 2.0, 6, 0, np.array([0.1]), 2, 1, np.array([0.4, 0.6]), 0.1)
    found = Costs({"write_us": one}, Fitted(0.1, 0.05, 0.2, "ms"), 0.05, [Seen(point, world_of(point), watched)])
    monkeypatch.setattr(foreign_costs, "measure", lambda plan, tell: None)
    monkeypatch.setattr(foreign_costs, "costs_of", lambda measured, tell: found)
    said = json.loads(chatsim("calibrate", "--command", "echo", "--url", "ws://127.0.0.1:3000", "--json").out)
    assert said["costs"][0] == {"part": "gateway", "key": "write_us", "value": 12.5, "low": 11.0, "high": 14.0, "unit": "us"}
    assert said["runs"][0]["cores"] == pytest.approx(0.25)
    with pytest.raises(InputError, match="only 'gateway'"):
        load_scenario("room-channel", costs="workloads/day")
