"""The live twin on real sockets and a real Redis: what is delivered is what the rules say, and nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from chatsim.analysis import latency, recipient_ends, stations
from chatsim.engine import simulate
from chatsim.engine.outcome import Cause, Fate, IntrusionFate, Outcome, SessionFate
from chatsim.live.comparing import agreement, compare, had
from chatsim.live.frames import MalformedError, parsed, written
from chatsim.live.grids import Point, scenario_of, world_of
from chatsim.live.run import Live, LiveRun, carried_out, live
from chatsim.live.tokens import Rights, TokenError, check, issue
from chatsim.live.twin import refuse_remote, twin
from chatsim.scenario import InputError, Scenario, load_scenario
from chatsim.world.tables import World
from tests.conftest import Said
from tests.worlds import scenario as by_hand
from tests.worlds import world

needs_redis = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")

ROOMS = [[0, 1], [0, 2], [3, 4], [0, 1, 2, 3, 4], [1, 4]]
STANDING = [(user, -1.0, 100.0) for user in range(5)]
Cli = Callable[..., Said]
os.environ["CHATSIM_TEST_RUN"] = str(os.getpid())  # what this run starts inherits it
MARK = f"CHATSIM_TEST_RUN={os.getpid()}"


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Whatever a test does, the processes that it started are gone after it, and what they wrote to."""
    before = processes() | folders()
    yield
    until_s = time.monotonic() + 5.0
    while (left := (processes() | folders()) - before) and time.monotonic() < until_s:
        time.sleep(0.05)
    assert not left


def processes() -> set[str]:
    """Process numbers and command lines of gateways, keepers and the Redis servers that this test run has started."""
    found = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return {line for line in found if ("chatsim.live." in line or "chatsim-live-" in line) and ours(line.split()[0])}


def ours(pid: str) -> bool:
    """Whether a process has the mark of this test run; where that cannot be seen, it may have."""
    try:
        return MARK.encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return not Path("/proc/self/environ").exists()
    except PermissionError:
        return False


def folders() -> set[str]:
    """What live runs write into while they last."""
    places = (Path("/dev/shm"), Path(tempfile.gettempdir()))
    found = (path for place in places if place.is_dir() for path in place.glob("chatsim-live-*"))
    return {str(path) for path in found if not_in_use_by_others(path.name.split("-")[2])}


def not_in_use_by_others(pid: str) -> bool:
    """Whether a process is this one, one that it has started, or gone."""
    return pid == str(os.getpid()) or not Path(f"/proc/{pid}").exists() or ours(pid)


TURNS = [(sender, room) for room, members in enumerate(ROOMS) for sender in members]


def chat(seconds: float = 1.5, each_s: float = 0.02, pause_s: float = 0.0) -> list[tuple[float, int, int]]:
    """Messages (time_s, sender, room): every member of every room writes by turns; there is a pause after the first."""
    times_s = np.arange(0.1, seconds, each_s)
    pauses_s = np.where(np.arange(len(times_s)) < len(TURNS), 0.0, pause_s)
    return [(float(time_s), *TURNS[place % len(TURNS)]) for place, time_s in enumerate(times_s + pauses_s)]


def settled(outcome: Outcome) -> set[tuple[int, int]]:
    """Message x user who has it, of messages after the first turns. In these, users enter personal rooms by writing, and
    whether that is before a message of 20 ms earlier is there hangs on how busy the machine is."""
    return {(message, user) for message, user in had(outcome) if message >= len(TURNS)}


def asked(**parts: Any) -> Scenario:
    """A scenario of the twin, with the links and costs of a loopback, so that nothing of a run hangs on them."""
    fast = {"client_ms_median": 0.1, "broker_rtt_ms": 0.1, "database_rtt_ms": 0.1}
    costs = dict.fromkeys(("receive_us", "parse_us", "command_us", "write_us", "handshake_us", "close_us"), 20.0)
    cheap = {"publish_us": 1.0, "push_us": 1.0, "subscribe_us": 1.0, "lookup_us": 1.0, "lookup_user_us": 1.0,
             "update_us": 1.0, "history_us": 1.0, "recover_us": 1.0, "presence_us": 1.0, "list_us": 1.0}  # fmt: skip
    given = {part: dict(values) for part, values in parts.items() if isinstance(values, dict)}
    merged = {
        **{part: values for part, values in parts.items() if not isinstance(values, dict)},
        "workload": {"drain_s": 0.4, **given.pop("workload", {})},
        "network": {**fast, **given.pop("network", {})},
        "gateway": {**costs, "broker_retry_s": 0.1, **given.pop("gateway", {})},
        "broker": {**cheap, **given.pop("broker", {})},
        **given,
    }
    return twin(by_hand(**merged), "")[0]


def both(scenario: Scenario, people: World, **more: Any) -> tuple[LiveRun, Outcome]:
    """A scenario lived and simulated."""
    return live(scenario, people, **more), simulate(scenario, people)


def strikes(kind: str, at_s: float, for_s: float, **more: Any) -> dict[str, Any]:
    """Parts of a scenario: a fault, and clients that are back soon."""
    return {
        "faults": [{"kind": kind, "at_s": at_s, "for_s": for_s, **more}],
        "client": {"reconnect": "fixed", "reconnect_s": 0.05},
        "balancer": {"notice_s": 0.1},
    }


# ------------------------------------------------------------------------------ delivered is what the rules say


@needs_redis
@pytest.mark.parametrize("routing", ["global", "user", "room", "directory"])
def test_every_message_reaches_whom_the_rules_say(routing: str) -> None:
    people = world(STANDING, ROOMS, chat(), duration_s=1.5)
    measured, predicted = both(asked(design={"routing": routing}), people)
    assert had(measured.outcome) == had(predicted)
    assert set(measured.outcome.deliveries["fate"]) == {Fate.DELIVERED}
    for name in ("pushes", "discards", "gateway"):
        assert measured.outcome.messages[name].tolist() == predicted.messages[name].tolist()
    assert measured.strange == 0


@needs_redis
@pytest.mark.parametrize("rooms", ["personal", "group"])
def test_whoever_is_in_the_room_hears_it(rooms: str) -> None:
    # 1 and 2 both write to 0 and stay in its personal room; or the pairs share the group of all.
    people = world(STANDING, ROOMS, chat(pause_s=0.8), duration_s=2.3)
    measured, predicted = both(asked(design={"rooms": rooms}), people)
    assert settled(measured.outcome) == settled(predicted)
    assert Fate.OVERHEARD in set(measured.outcome.deliveries["fate"])


@needs_redis
@pytest.mark.parametrize("routing", ["user", "directory"])
def test_members_may_be_kept_in_redis(routing: str) -> None:
    people = world(STANDING, ROOMS, chat(pause_s=0.8), duration_s=2.3)
    design = {"routing": routing, "rooms": "personal", "membership": "broker"}
    measured, predicted = both(asked(design=design), people)
    assert settled(measured.outcome) == settled(predicted)


@needs_redis
def test_what_somebody_missed_is_read_at_the_next_login() -> None:
    # User 1 comes at 1 s, user 2 never; a second device of user 0 hears what the first one writes.
    people = world(
        [(0, -1.0, 100.0), (0, -0.5, 100.0), (3, -1.0, 100.0), (1, 1.0, 100.0)], ROOMS,
        [(0.2, 0, 0), (0.4, 0, 1), (0.6, 3, 3), (1.5, 0, 0)], duration_s=2.0,
    )  # fmt: skip
    design = {"store": "before", "store_in": "broker", "offline": "store", "own_devices": True}
    measured, predicted = both(asked(design=design), people)
    ended = [sorted(zip(*(one.deliveries[name].tolist() for name in ("message", "recipient", "session", "fate")),
                        strict=True)) for one in (measured.outcome, predicted)]  # fmt: skip
    assert ended[0] == ended[1]
    assert {Fate.READ_LATER, Fate.STORED, Fate.COPY, Fate.DELIVERED} == set(measured.outcome.deliveries["fate"])


@needs_redis
def test_who_is_away_is_notified_once_unless_back_in_time() -> None:
    # After 0.6 s: user 1 is back by then, user 2 is not, and has two messages but one push.
    people = world(
        [(0, -1.0, 100.0), (1, 0.5, 100.0)], ROOMS, [(0.2, 0, 0), (0.3, 0, 1), (0.4, 0, 1)], duration_s=2.0
    )
    scenario = asked(
        design={"store": "before", "store_in": "broker", "offline": "push"}, push={"after_min": 0.01, "return_share": 0.0}
    )
    measured, predicted = both(scenario, people)
    for outcome in (measured.outcome, predicted):
        assert outcome.pushes["user"].tolist() == [2]
        assert outcome.pushes["due_s"][0] == pytest.approx(0.9, abs=0.3)


@needs_redis
def test_limits_access_and_ties_hold() -> None:
    # Two messages at once, of which one may pass; one too large; one across a tie that has ended.
    messages = [(0.20, 0, 0), (0.21, 0, 1), (0.8, 3, 2), (1.4, 4, 2), (1.6, 3, 2)]
    people = world(STANDING, ROOMS, messages, duration_s=2.0, endings=[(1.2, 3, 4, False)])
    people.messages.size_bytes[2] = 900
    scenario = asked(
        limits={"messages_per_s": 2.0, "burst": 1, "message_max_bytes": 500},
        access={"policy": "friends", "check": "message"},
    )
    measured, predicted = both(scenario, people)
    wanted = [Cause.NONE, Cause.TOO_MANY, Cause.TOO_LARGE, Cause.FORBIDDEN, Cause.FORBIDDEN]
    assert measured.outcome.messages["cause"].tolist() == predicted.messages["cause"].tolist() == wanted
    assert np.isfinite(measured.outcome.messages["told_s"]).tolist() == [False, True, True, True, True]


@needs_redis
def test_a_token_holds_until_the_next_one() -> None:
    people = world(
        STANDING, ROOMS, [(0.6, 3, 2), (1.5, 3, 2), (1.6, 0, 0)], duration_s=2.0, endings=[(0.4, 3, 4, False)]
    )
    scenario = asked(access={"policy": "scopes", "check": "message", "token_life_s": 1.0})
    measured, predicted = both(scenario, people)
    wanted = [Cause.NONE, Cause.FORBIDDEN, Cause.NONE]
    assert measured.outcome.messages["cause"].tolist() == predicted.messages["cause"].tolist() == wanted


@needs_redis
def test_lists_presence_and_intruders() -> None:
    people = world(
        STANDING[:4], ROOMS, [(0.5, 0, 0), (1.0, 0, 4 - 3)], duration_s=1.5, contacts={0: [1, 2], 1: [0], 2: [0]},
        intrusions=[(0.7, 3, 0)],
    )  # fmt: skip
    scenario = asked(
        presence={"show_to": "friends", "how": "pull", "key_life_s": 1.0, "refresh_s": 0.4},
        friend_list={"policy": "recent", "limit": 1}, access={"client_joins": True},
    )  # fmt: skip
    measured, predicted = both(scenario, people)
    assert measured.outcome.sessions["listed"].tolist() == predicted.sessions["listed"].tolist()
    assert measured.outcome.pulls["shown"].tolist() == measured.outcome.pulls["online"].tolist() == [True, True]
    assert measured.outcome.intrusions["fate"].tolist() == [IntrusionFate.ENTERED]
    assert had(measured.outcome) == had(predicted)


@needs_redis
def test_analysis_works_on_what_was_measured() -> None:
    people = world(STANDING, ROOMS, chat(2.0), duration_s=2.0)
    measured, predicted = both(asked(), people)
    row = latency(measured.outcome).iloc[0]
    assert 0 < row["p50_ms"] < 1000
    busy = stations(measured.outcome).set_index("station")["utilisation"]
    assert 0 < busy["gateway-0"] < 1
    assert 0 < busy["broker-0"] < 1
    table = compare(measured, predicted).set_index("figure")
    assert table.loc["gateways busy", "measured"] == pytest.approx(busy["gateway-0"] + busy["gateway-1"], abs=0.1)
    assert agreement(measured.outcome, predicted).both == len(had(predicted))
    assert recipient_ends(measured.outcome)["live_share"] == 1.0


# ------------------------------------------------------------------------------ what breaks


@needs_redis
def test_a_gateway_is_killed_and_comes_back() -> None:
    people = world(STANDING, ROOMS, chat(3.0), duration_s=3.0)
    scenario = asked(
        design={"store": "before", "store_in": "broker", "offline": "store"},
        workload={"drain_s": 1.5}, **strikes("gateway_crash", 1.0, 0.3, stations=["gateway-0"]),
    )  # fmt: skip
    measured = live(scenario, people).outcome
    cut = measured.sessions["fate"] == SessionFate.CUT
    assert cut.sum() == 3  # gateway-0 had sessions 0, 2 and 4; all of them came back, and none twice
    assert sorted(measured.sessions["user"][measured.sessions["fate"] == SessionFate.ONLINE].tolist()) == [0, 1, 2, 3, 4]
    # What comes to nobody, or waits in store for those whose gateway lives, was under way when the other one died.
    came = {message for message, _ in had(measured)}
    others = [message for message in range(len(people.messages)) if message not in came]
    assert np.all(np.abs(measured.messages["time_s"][others] - 1.0) < 0.5)
    lost = measured.messages["fate"] == Fate.LOST
    assert np.all(np.abs(measured.messages["time_s"][lost] - 1.0) < 0.5)
    assert measured.faults["station"].tolist() == [0]


@needs_redis
def test_redis_is_killed_and_comes_back() -> None:
    people = world(STANDING, ROOMS, chat(3.0), duration_s=3.0)
    measured = live(asked(workload={"drain_s": 1.0}, **strikes("broker_down", 1.0, 0.5)), people).outcome
    time_s = measured.messages["time_s"][measured.deliveries["message"]]
    got = measured.deliveries["fate"] == Fate.DELIVERED
    gone_s, back_s = (float(measured.faults[name][0]) for name in ("start_s", "end_s"))  # as measured: a machine may stall
    assert gone_s >= 1.0
    assert np.all(got[time_s < gone_s - 0.1])
    assert np.all(got[time_s > back_s + 0.6])  # gateways try every 0.1 s
    lost_s = time_s[~got].min()  # a machine with much else to do takes a while to end a process
    assert gone_s - 0.1 <= lost_s < back_s
    surely_gone_s = lost_s + 2 / 3 * (back_s - lost_s)  # and what was lost first was on its way to one that still lived
    assert not np.any(got[(time_s > surely_gone_s) & (time_s < back_s - 0.1)])
    assert set(measured.deliveries["cause"][~got]) <= {Cause.BROKER_DOWN, Cause.CUT_OFF, Cause.UNAVAILABLE}
    assert np.all(measured.sessions["fate"] == SessionFate.ONLINE)  # nobody's connection was lost


# ------------------------------------------------------------------------------ clients that are none of ours


def beside(act: Callable[[Live], Any]) -> tuple[LiveRun, Outcome]:
    """A live run with somebody else at its gateways, and the prediction without."""
    people = world(STANDING, ROOMS, chat(2.0), duration_s=2.0)
    scenario = asked(workload={"drain_s": 0.5}, network={"outbound_max_bytes": 1e6})
    return live(scenario, people, beside=act), simulate(scenario, people)


def address(run: Live, session: int = -1) -> str:
    return f"ws://127.0.0.1:{run.gateways[0].port}/?session={session}"


def bearer(run: Live, user: int) -> dict[str, str]:
    return {"Authorization": f"Bearer {issue(run.secret, Rights(user, time.monotonic(), time.monotonic() + 60))}"}


async def heard_out(socket: Any) -> None:
    """Reads until there is no more."""
    while True:
        await asyncio.wait_for(socket.recv(), 3.0)


@needs_redis
def test_wrong_tokens_are_refused() -> None:
    refused: list[int] = []

    async def intrudes(run: Live) -> None:
        good = bearer(run, 1)["Authorization"]
        late = issue(run.secret, Rights(1, 0.0, time.monotonic() - 1))
        other = issue(b"another secret", Rights(1, 0.0, time.monotonic() + 60))
        nobody = issue(run.secret, Rights(99, 0.0, time.monotonic() + 60))
        for said in (None, "Bearer x", good[:-2], f"Bearer {late}", f"Bearer {other}", f"Bearer {nobody}", "Bearer " + "a" * 7000):
            try:
                async with connect(address(run), additional_headers={"Authorization": said} if said else None):
                    pass
            except InvalidStatus as error:
                refused.append(error.response.status_code)

    measured, predicted = beside(intrudes)
    assert refused == [401] * 7
    assert had(measured.outcome) == had(predicted)


MALFORMED: tuple[str | bytes, ...] = (
    "{", "[]", '{"t":7}', '{"t":"fly"}', '{"t":"send","m":"1","room":0,"body":""}', '{"t":"send","m":1,"room":99,"body":""}',
    '{"t":"send","m":1,"room":-1,"body":""}', '{"t":"send","m":1,"room":true,"body":""}', '{"t":"join","room":"x"}',
    '{"t":"ask","user":null}', '{"t":"token","token":"x"}', "[" * 100_000, b"\xff\xfe",
)  # fmt: skip


@needs_redis
def test_a_frame_that_is_none_ends_its_session_alone() -> None:
    closed: list[int] = []

    async def babbles(run: Live) -> None:
        for frame in (*MALFORMED, "x" * (2 << 20)):
            async with connect(address(run), additional_headers=bearer(run, 1)) as socket:
                await socket.send('{"t":"hello"}')
                assert json.loads(await socket.recv())["t"] == "welcome"
                await socket.send(frame)
                with pytest.raises(ConnectionClosed) as ended:
                    await heard_out(socket)
            assert ended.value.rcvd is not None
            closed.append(ended.value.rcvd.code)

    measured, predicted = beside(babbles)
    assert closed == [1008] * len(MALFORMED) + [1009]
    assert had(measured.outcome) == had(predicted)
    assert measured.strange == len(MALFORMED)


@needs_redis
def test_a_first_frame_must_be_a_hello() -> None:
    closed: list[int] = []

    async def babbles(run: Live) -> None:
        for frame in ('{"t":"send","m":1,"room":0,"body":""}', '{"t":"hello","have":7}', '{"t":"hello","have":["x"]}', "x"):
            async with connect(address(run), additional_headers=bearer(run, 1)) as socket:
                await socket.send(frame)
                with pytest.raises(ConnectionClosed) as ended:
                    await asyncio.wait_for(socket.recv(), 3.0)
            assert ended.value.rcvd is not None
            closed.append(ended.value.rcvd.code)

    beside(babbles)
    assert closed == [1008] * 4


@needs_redis
def test_nobody_gets_what_was_not_meant_for_them() -> None:
    heard: list[dict[str, Any]] = []

    async def listens(run: Live) -> None:
        # User 4 is no member of rooms 0 and 1; it writes there, asks to come in, and listens all the while.
        async with connect(address(run), additional_headers=bearer(run, 4)) as socket:
            await socket.send('{"t":"hello"}')
            for room in (0, 1):
                await socket.send(json.dumps({"t": "send", "m": -1, "room": room, "body": "me too"}))
                await socket.send(json.dumps({"t": "join", "room": room}))
            async for frame in socket:
                heard.append(json.loads(frame))

    measured, predicted = beside(listens)
    said = [one for one in heard if one["t"] != "msg"]
    assert [one["t"] for one in said] == ["welcome", "no", "out", "no", "out"]
    assert {one["room"] for one in heard if one["t"] == "msg"} == {2, 3, 4}
    assert "me too" not in [one.get("body") for one in heard]
    assert had(measured.outcome) == had(predicted)


@needs_redis
def test_a_flood_is_held_to_the_limit() -> None:
    told: list[str] = []

    async def floods(run: Live) -> None:
        async with connect(address(run), additional_headers=bearer(run, 3)) as socket:
            await socket.send('{"t":"hello"}')
            for _ in range(2000):
                await socket.send('{"t":"send","m":-1,"room":2,"body":"flood"}')
            while len(told) < 1990:
                said = json.loads(await socket.recv())
                if said["t"] == "no":
                    told.append(said["why"])

    people = world(STANDING, ROOMS, [(at, sender, room) for at, sender, room in chat(2.0, 0.1) if sender != 3], duration_s=2.5)
    scenario = asked(limits={"messages_per_s": 20.0, "burst": 5}, workload={"drain_s": 0.5})
    measured = live(scenario, people, beside=floods)
    assert told
    assert set(told) == {"too_many"}
    assert had(measured.outcome) == had(simulate(scenario, people))
    assert 5 <= measured.foreign <= 5 + 20.0 * 3.0  # a burst, and what the limit lets through: to one other member


@needs_redis
def test_who_does_not_read_is_closed_and_harms_nobody() -> None:
    async def sleeps(run: Live) -> None:
        socket = await connect(address(run), additional_headers=bearer(run, 1), max_queue=1)
        try:
            await socket.send('{"t":"hello"}')
            await socket.recv()
            await asyncio.sleep(30)
        finally:
            socket.transport.abort()

    people = world(STANDING, ROOMS, chat(2.0, 0.005), duration_s=2.0, size_bytes=60_000)
    scenario = asked(workload={"drain_s": 0.5}, network={"outbound_max_bytes": 200_000.0})
    measured = live(scenario, people, beside=sleeps)
    assert had(measured.outcome) == had(simulate(scenario, people))


# ------------------------------------------------------------------------------ processes and addresses


@needs_redis
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_it_ends_all(number: signal.Signals, tmp_path: Path, root: Path) -> None:
    small, before = ["--set", "workload.users=30", "--set", "workload.duration_s=60"], processes()
    child = subprocess.Popen(
        [sys.executable, "-m", "chatsim", "live", "room-channel", *small], cwd=tmp_path, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    until_s = time.monotonic() + 20
    while len([line for line in processes() - before if "live.gateway" in line]) < 4:
        assert time.monotonic() < until_s
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(number)
    _, said = child.communicate(timeout=15)
    if number == signal.SIGKILL:
        assert child.returncode == -signal.SIGKILL
    else:
        assert (child.returncode, said) == (130, "chatsim: interrupted\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_what_ends_in_order_takes_for_its_own_still_interrupts(number: signal.Signals) -> None:
    async def ends_in_order() -> str:
        os.kill(os.getpid(), number)
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(10)
        return "as if nothing had happened"

    with pytest.raises(KeyboardInterrupt):
        carried_out(ends_in_order())


@needs_redis
def test_an_exception_ends_all() -> None:
    async def fails(run: Live) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        beside(fails)


@needs_redis
def test_a_redis_of_ones_own_is_left_as_it_was(tmp_path: Path) -> None:
    from redis import Redis

    from chatsim.live.processes import free_port

    port = free_port()
    server = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)],
                              stdout=subprocess.DEVNULL)  # fmt: skip
    try:
        mine = Redis(port=port, db=2)
        until_s = time.monotonic() + 10
        while True:
            try:
                mine.set("mine", "untouched")
                break
            except OSError:
                raise
            except Exception:
                assert time.monotonic() < until_s
                time.sleep(0.02)
        people = world(STANDING, ROOMS, chat(0.5), duration_s=0.5)
        scenario = asked(design={"store": "before", "store_in": "broker", "offline": "store"})
        measured = live(scenario, people, redis_url=f"redis://localhost:{port}/2")
        assert had(measured.outcome) == had(simulate(scenario, people))
        assert mine.keys("*") == [b"mine"]
        with pytest.raises(InputError, match="Redis of the run's own"):
            live(asked(**strikes("broker_down", 1.0, 0.5)), people, redis_url=f"redis://localhost:{port}/2")
    finally:
        server.terminate()
        server.wait()


def test_no_load_goes_to_another_machine() -> None:
    for host in ("127.0.0.1", "localhost", "[::1]"):
        refuse_remote(f"redis://{host}:6379/0", False)
    for host in ("10.0.0.1", "192.168.1.5", "8.8.8.8"):
        with pytest.raises(InputError, match=f"'{host}' is another machine.*--allow-remote"):
            refuse_remote(f"redis://{host}:6379/0", False)
        refuse_remote(f"redis://{host}:6379/0", True)


@needs_redis
def test_the_command_says_what_was_predicted_and_measured(chatsim: Cli, tmp_path: Path) -> None:
    small = ("--set", "workload.users=60", "--set", "workload.duration_s=1.5", "--set", "workload.drain_s=0.5",
             "--set", "workload.conversations.messages_per_day=50_000", "--set", "design.gateways=2")  # fmt: skip
    said = chatsim("live", "go-chat", *small, "--out", "out")
    assert (said.status, said.err) == (0, "")
    for words in ("latency p99", "gateways busy", "brokers busy", "As lived: design.store_in = 'broker'", "The load client was late"):
        assert words in said.out
    assert {"comparison.parquet", "deliveries.parquet", "provenance.json"} <= {path.name for path in (tmp_path / "out").iterdir()}
    figures = json.loads(chatsim("live", "directory", *small, "--json").out)
    assert {row["figure"] for row in figures["figures"]} >= {"latency p50", "latency p99", "gateways busy"}
    assert figures["delivered"]["both"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["hub"], "design.routing = 'in_process': chatsim live does not know it; live are: 'directory', 'global', 'room', 'user'"),
        (["phoenix"], "design.routing = 'mesh': chatsim live does not know it; live are: 'directory', 'global', 'room', 'user'"),
        (["room-channel", "--set", "presence.show_to=all"], "presence.how = 'push': chatsim live does not know it; live are: 'pull'"),
        (["room-channel", "--fault", "partition"], "faults.0.kind = 'partition': chatsim live does not know it; live are: 'broker_down', 'gateway_crash'"),
        (["room-channel", "--costs", "nod"], "--costs 'nod': neither a file nor a shipped profile; did you mean 'node'?"),
        (["room-channel", "--redis-url", "x"], "--redis-url 'x': the form is redis://HOST:PORT/DATABASE"),
        (["room-channel", "--redis-url", "redis://10.1.2.3/0"], "--redis-url 'redis://10.1.2.3/0': '10.1.2.3' is another machine: a live run puts load on it, which needs --allow-remote"),
        (["go-chat", "--workload", "collegemsg"], "workload.duration_s = 1.67365e+07: a live run takes as long as the run is; at most 3600 is allowed (--set workload.duration_s=60)"),
    ],
)  # fmt: skip
def test_what_cannot_be_lived_is_said_in_one_line(chatsim: Cli, arguments: list[str], said: str) -> None:
    assert chatsim("live", *arguments) == Said(2, "", f"chatsim: {said}\n")


def test_without_redis_server_it_says_how_to_get_it(chatsim: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    said = chatsim("live", "room-channel", "--set", "workload.users=20", "--set", "workload.duration_s=1")
    assert said.status == 2
    assert said.err.startswith("chatsim: redis-server: not found on the path: install it (Debian, Ubuntu: apt install redis-server)")


# ------------------------------------------------------------------------------ parts


def test_shipped_designs_are_lived_or_refused() -> None:
    lived = []
    for name in ("go-chat", "go-chat-v2", "global-channel", "room-channel", "directory", "hub", "phoenix", "socketio-classic"):
        try:
            twin(load_scenario(name))
            lived.append(name)
        except InputError:
            continue
    assert {"go-chat", "global-channel", "room-channel", "directory"} <= set(lived)
    assert not {"go-chat-v2", "hub", "phoenix"} & set(lived)


@needs_redis
def test_a_run_that_ends_in_the_midst_of_a_backlog_is_no_defect() -> None:
    """Far more than a gateway carries: what it reads while clients leave, after the end, was under way at the end."""
    point = Point("room", 1, 2, 30, 50_000.0, 1.5)
    outcome = live(scenario_of(point), world_of(point)).outcome
    assert (outcome.messages["fate"] == Fate.DELIVERED).any()
    assert np.nanmax(outcome.messages["done_s"]) <= outcome.end_s


def test_a_token_says_what_its_issuer_said() -> None:
    rights = Rights(7, 1.0, 9.0, (3, 4))
    token = issue(b"key", rights)
    assert check(b"key", token, 8.9) == rights
    for wrong in ("", ".", token[1:], token + "x", token.replace(".", ""), token.upper()):
        with pytest.raises(TokenError):
            check(b"key", wrong, 8.9)
    with pytest.raises(TokenError, match="over"):
        check(b"key", token, 9.0)


@pytest.mark.parametrize("frame", ["", "1", "null", '"t"', "{}", '{"t":null}', '{"t":"a"', b"\xff", "[" * 10_000])
def test_frames_are_not_trusted(frame: str | bytes) -> None:
    with pytest.raises(MalformedError):
        parsed(frame)


@pytest.mark.parametrize("said", [{}, {"m": 1, "room": 1}, {"m": 1.0, "room": 1, "body": ""}, {"m": True, "room": 1, "body": ""}])
def test_a_message_has_all_its_parts(said: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        written(said)
