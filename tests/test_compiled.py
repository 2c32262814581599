"""The compiled engine against SimPy's: the same outcome, record for record and bit for bit, wherever it says it covers a run."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from chatsim.engine import TOO_SMALL, Cause, Fate, Outcome, prepare, simulate
from chatsim.engine.compiled import feed, setup
from chatsim.engine.compiled.coverage import missing
from chatsim.engine.compiled.state import TABLES, TWO_DIMENSIONS
from chatsim.scenario import InputError, Scenario, load_scenario, preset_names
from chatsim.scenario.load import validate
from chatsim.world import build_world
from chatsim.world.tables import World
from tests.choices import LEAST, MORE, all_choices, choices_of, numbers_with_a_least
from tests.conftest import ROOT
from tests.test_fault_laws import busy_worlds, faults
from tests.test_laws import WITHOUT_BROKER, scenarios, worlds
from tests.worlds import ALWAYS, scenario, world

COLUMNS = (
    "messages", "deliveries", "sessions", "ticks", "subscriptions", "presence", "pulls", "pushes", "intrusions", "endings",
    "faults", "breaks",
)  # fmt: skip
OF_THE_WORLD = ("workload.", "prices.", "seed")
"""Keys of which no engine knows: worlds are drawn as such, with a seed of their own, and prices come after the run."""
TOGETHER = ("design.gateways", "broker.nodes", "scaling.start", "scaling.least")
"""Numbers that are drawn together with others, which must fit."""
ELSEWHERE: list[tuple[str, Any]] = [
    ("gateway.tls_us", 700.0), ("gateway.token_us", 300.0), ("gateway.token_rs256_us", 900.0), ("balancer.burst", 3),
    ("database.tick_us", 1000.0), ("database.flush_us", 500.0), ("database.fetch_us", 300.0),
]  # fmt: skip
NEVER_TAKEN = {
    "workload": "a world is drawn as such, and not by its behaviour model",
    "prices": "a bill is made after the run",
    "seed": "a world is drawn with a seed of its own",
    "faults.drain.mtbf_s = more than the least allowed": "a drain is planned, and refuses it",
    "faults.drain.mttr_s = more than the least allowed": "the same",
    "faults.drain.together = True": "the same",
}
"""Choices that no random scenario takes, or all that begin so, and why."""
QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def differs(one: Outcome, other: Outcome) -> str:
    """The first record in which two outcomes differ, or ''."""
    tables = {name: (getattr(one, name), getattr(other, name)) for name in COLUMNS}
    tables["stations"] = tuple({"work": each.work, "item_us": each.item_us} for each in (one, other))  # type: ignore[assignment]
    for table, (left, right) in tables.items():
        assert list(left) == list(right)
        for name, column in left.items():
            if column.dtype != right[name].dtype or column.shape != right[name].shape:
                return f"{table}.{name}: {column.dtype} {column.shape}, {right[name].dtype} {right[name].shape}"
            same = column == right[name]
            if column.dtype.kind == "f":
                same |= np.isnan(column) & np.isnan(right[name])
            if not same.all():
                row = tuple(np.argwhere(~same)[0].tolist())
                return f"{table}.{name}, row {row}: {column[row]!r}, {right[name][row]!r} ({(~same).sum()} rows differ)"
    return "" if one.end_s == other.end_s else f"end_s: {one.end_s}, {other.end_s}"


def check_equal(chosen: Scenario, people: World, again: str) -> Outcome:
    """Both engines give the same outcome, which is returned; ``again`` says how to see a difference again."""
    outcome = simulate(chosen, people, engine="simpy")
    found = differs(outcome, simulate(chosen, people, engine="compiled"))
    assert not found, f"SimPy and compiled differ in {found}; again: {again}"
    return outcome


@st.composite
def covered(draw: st.DrawFn) -> Scenario:
    """Any scenario of the laws that the compiled engine covers, with clients that come back as they like."""
    table = draw(scenarios()).model_dump()
    table["access"] |= {"signature": draw(st.sampled_from(["hs256", "rs256"]))}
    has_broker = table["design"]["routing"] not in ("in_process", "mesh")
    table["friend_list"] |= {"other_share": draw(st.sampled_from([0.0, 0.3, 0.6]))}
    table["network"] |= {
        "outbound_policy": draw(st.sampled_from(["close", "drop_newest", "drop_oldest", "block"])),
        "slow_share": draw(st.sampled_from([0.0, 0.5])), "slow_bytes_per_s": 300.0,
        "handshake_trips": draw(st.sampled_from([0, 1])),
    }
    table["client"] |= {
        "reconnect": draw(st.sampled_from(["none", "fixed", "phoenix", "socketio", "full_jitter"])), "reconnect_s": 0.3,
        "tries_max": draw(st.sampled_from([0, 0, 2])), "connect_timeout_s": draw(st.sampled_from([0.05, 0.5, 20.0])),
        "buffer_max": draw(st.sampled_from([0, 1, 1000])), "resync": draw(st.booleans()),
        "guarantee": draw(st.sampled_from(["at_most_once", "at_least_once"])), "deduplicate": draw(st.booleans()),
        "ack_timeout_s": draw(st.sampled_from([0.01, 0.2, 1.0])), "sends_max": draw(st.sampled_from([0, 3])),
    }
    table["balancer"] |= {"connections_per_s": draw(st.sampled_from([0.0, 0.0, 2.0])), "burst": 1}
    table["gateway"] |= {"shed_above": draw(st.sampled_from([0, 0, 2]))}
    table["push"] |= {"quota_per_min": draw(st.sampled_from([0, 1]))}
    if has_broker:
        stream = table["broker"]["topology"] != "cluster" and draw(st.booleans())
        table["broker"] |= {"delivery": "stream" if stream else "pubsub", "history_max": draw(st.sampled_from([0, 1]))}
    if draw(st.booleans()):
        table["hosts"] = [{"name": "all", "cores": draw(st.integers(1, 2)), "stations": ["*"]}]
    table["database"] |= {
        "flush": draw(st.sampled_from(["tick", "item"])), "service": draw(st.sampled_from(["fixed", "exponential"])),
        "cores": draw(st.sampled_from([1, 2, 16])), "batch_max": draw(st.sampled_from([0, 1, 3])),
        "cooling_us": draw(st.sampled_from([0.0, 500.0])), "wake_us": draw(st.sampled_from([0.0, 200.0])),
    }
    for _ in range(draw(st.sampled_from([0, 5, 15]))):
        key, value = draw(st.sampled_from(elsewhere()))
        part, _, name = key.partition(".")
        table[part][name] = value
    return validate(table)


@cache
def elsewhere() -> list[tuple[str, Any]]:
    """Keys that are the same in all scenarios of the laws, with another value: mostly the least that is allowed, so
    that what takes time there happens at once here."""
    least = numbers_with_a_least().items()
    return [*((key, value) for key, value in least if key not in TOGETHER and not key.startswith(OF_THE_WORLD)), *ELSEWHERE]


@st.composite
def crowds(draw: st.DrawFn) -> World:
    """Four people who all write with each other, in pairs and in a group, most of them connected throughout."""
    pairs = [[user, other] for user in range(4) for other in range(user)]
    sessions = []
    for user in range(4):
        if draw(st.integers(0, 3)):
            sessions.append((user, draw(st.sampled_from([-4.0, -1.0])), draw(st.sampled_from([4.0, 9.0, 1000.0]))))
        start_ms = draw(st.integers(0, 6000))
        sessions.append((user, start_ms / 1000, (start_ms + draw(st.integers(500, 5000))) / 1000))
    messages = []
    for time_ms, number in draw(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 1000)), min_size=5, max_size=25)):
        there = sorted({user for user, start_s, end_s in sessions if start_s <= time_ms / 1000 <= end_s})
        if there:
            user = there[number % len(there)]
            own = [room for room, members in enumerate([*pairs, [0, 1, 2, 3]]) if user in members]
            messages.append((time_ms / 1000, user, own[number // 7 % len(own)]))
    times = st.integers(0, 10_000).map(lambda ms: ms / 1000)
    two = st.sampled_from([(user, other) for user in range(4) for other in range(4) if user != other])
    tries = draw(st.lists(st.tuples(times, two), max_size=4))
    endings = draw(st.lists(st.tuples(times, two, st.booleans()), max_size=4))
    return world(
        sorted(sessions, key=lambda session: (session[1], session[0])),
        [*pairs, [0, 1, 2, 3]],
        sorted(messages),
        new_rooms=draw(st.sampled_from([(), (0, 2, 4), (0, 1, 2, 3, 4, 5)])),
        contacts=draw(st.sampled_from([{}, {0: [1], 1: [0]}, {0: [2, 1, 3], 1: [0], 2: [0], 3: [0]}])),
        friends=draw(st.lists(two.map(sorted).map(tuple), max_size=4, unique=True)),  # type: ignore[arg-type]
        endings=sorted((time_s, user, other, blocks) for time_s, (user, other), blocks in endings),
        intrusions=sorted(
            (time_s, user, victim)
            for time_s, (user, victim) in tries
            if any(own == user and start_s <= time_s <= end_s for own, start_s, end_s in sessions)
        ),
        spam=draw(st.sampled_from([(), (0, 3)])),
    )


@st.composite
def breaking(draw: st.DrawFn) -> Scenario:
    """The same, in which up to five things break: stations, lines, links and clients."""
    table = draw(covered()).model_dump()
    has_broker = table["design"]["routing"] not in WITHOUT_BROKER
    table["faults"] = [draw(varied(has_broker)) for _ in range(draw(st.integers(1, 5)))]
    if draw(st.integers(0, 2)):
        table["limits"] |= {"messages_per_s": 0.0, "message_max_bytes": 0}
        table["gateway"] |= {"connections_max": 0}
    table["client"] |= {"ping_s": 0.7, "ping_timeout_s": 0.4}
    table["balancer"] |= {"notice_s": draw(st.sampled_from([0.0, 0.5]))}
    table["gateway"] |= {
        "broker_retry_s": draw(st.sampled_from([0.1, 1.0])), "broker_silence_s": draw(st.sampled_from([0.5, 2.0, 30.0])),
    }
    if draw(st.booleans()) and table["design"]["gateways"] > 1:
        start = draw(st.sampled_from([1, 1, 2]))  # times and shares that are 0 stay so
        table["scaling"] |= {
            "start": start, "least": draw(st.integers(1, start)), "check_s": 0.4, "up_above": 0.05,
            **{name: table["scaling"][name] and value for name, value in (("delay_s", 0.3), ("grace_s", 0.2), ("down_below", 0.01))},
        }
    if has_broker:
        table["broker"] |= {"stream_max": draw(st.sampled_from([1, 1000])), **draw(limits_of_subscribers())}
    return validate(table)


@st.composite
def breaking_logic(draw: st.DrawFn) -> Scenario:
    """The same, with a part of the chat logic that asks others, or tells them, while these break."""
    table = draw(breaking()).model_dump()
    design, has_broker = table["design"], table["design"]["routing"] not in WITHOUT_BROKER
    table["limits"] |= {"messages_per_s": 0.0, "message_max_bytes": 0}
    table["gateway"] |= {"connections_max": 0, "shed_above": 0}
    part = draw(st.sampled_from(["personal", "created", "friends", "lists", "presence", "receipts"]))
    if part in ("personal", "created"):
        design |= {"rooms": "pair", "rooms_created": "first_message"} if part == "created" else {"rooms": "personal"}
        design |= {"membership": "broker"} if has_broker else {}
    elif part == "friends":
        check = draw(st.sampled_from(["message", "connect"]))
        table["access"] |= {"policy": "friends", "check": check, "cache_s": draw(st.sampled_from([0.0, 2.0, 100.0]))}
    elif part == "lists":
        policy = draw(st.sampled_from(["recent", "online_first"]))
        table["friend_list"] |= {"policy": policy, "limit": draw(st.integers(1, 2)), "search_share": 0.6, "other_share": 0.2}
        table["faults"] = [*table["faults"], {"kind": "cache_emptied", "at_s": draw(st.sampled_from([1.0, 3.0]))}]
    elif part == "presence":
        table["presence"] |= {"show_to": draw(st.sampled_from(["rooms", "all", "friends"])), "how": "push"}
    else:
        design |= {"receipts": True}
    return validate(table)


@st.composite
def varied(draw: st.DrawFn, has_broker: bool) -> dict[str, Any]:
    """A fault of the laws, with those of its fields that these leave alone."""
    fault: dict[str, Any] = draw(faults(has_broker))
    if fault["kind"] in ("gateway_crash", "drain", "partition"):
        fault |= {"share": draw(st.sampled_from([0.0, 0.0, 0.5]))}
    elif fault["kind"] == "link":
        fault |= {"resend_ms": draw(st.sampled_from([0.0, 50.0, 200.0]))}
    elif fault["kind"] == "slow_clients":
        fault |= {"share": draw(st.sampled_from([0.0, 0.3, 1.0])), "bytes_per_s": draw(st.sampled_from([50.0, 200.0]))}
    return fault


@st.composite
def limits_of_subscribers(draw: st.DrawFn) -> dict[str, float]:
    """What a broker lets a gateway owe: next to nothing, or more than it ever does."""
    return {
        "subscriber_max_bytes": draw(st.sampled_from([0.0, 150.0, 32e6])),
        "subscriber_soft_bytes": draw(st.sampled_from([0.0, 50.0])), "subscriber_soft_s": draw(st.sampled_from([0.0, 0.1])),
    }


@pytest.mark.parametrize("name", preset_names())
def test_presets_have_equal_outcomes(name: str) -> None:
    chosen = load_scenario(name, ["workload.users=1500", "workload.duration_s=120", "push.after_min=0.3"])
    check_equal(chosen, build_world(chosen), f"design {name}")


@pytest.mark.parametrize("looks_per_seat", [0, 1 << 40], ids=["by seats", "among members"])
@pytest.mark.parametrize("name", ["hub", "global-channel", "directory", "phoenix"])
def test_who_is_there_is_found_by_seats_or_among_members(name: str, looks_per_seat: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """People of one group log in in another order than they are numbered, some twice, and come back."""
    monkeypatch.setattr(setup, "LOOKS_PER_SEAT", looks_per_seat)
    order = [(7 * number) % 20 for number in range(20)]
    sessions = [(user, 0.1 + 0.02 * place, 8.0) for place, user in enumerate(order)]
    sessions += [(user, 1.0 + 0.01 * place, 4.0) for place, user in enumerate(reversed(order[:9]))]
    messages = [(0.15 + 0.02 * number, order[number // 3 % 20], number % 2) for number in range(300)]
    people = world(sorted(sessions, key=lambda session: session[1]), [list(range(20)), list(range(0, 20, 2))], [row for row in messages if row[2] == 0 or row[1] % 2 == 0])
    chosen = load_scenario(name, ["design.own_devices=true", "workload.users=20"])
    outcome = check_equal(chosen, people, f"design {name}, {looks_per_seat} looks per seat")
    assert (np.bincount(outcome.deliveries["message"][outcome.deliveries["fate"] == Fate.DELIVERED]) > 15).any()


@pytest.mark.parametrize("least_share", [0.0, 2.0], ids=["ahead", "as they leave"])
@pytest.mark.parametrize("name", ["hub", "go-chat"])
def test_luck_is_the_same_whenever_it_is_drawn(name: str, least_share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "AHEAD_SHARE", least_share)
    chosen = load_scenario(name, ["workload.users=400", "workload.duration_s=600", "design.own_devices=true"])
    assert chosen.network.jitter_sigma > 0
    check_equal(chosen, build_world(chosen), f"design {name}, drawn ahead from a share of {least_share}")


@pytest.mark.long
@pytest.mark.parametrize("name", preset_names())
def test_presets_have_equal_outcomes_at_their_own_workload(name: str) -> None:
    chosen = load_scenario(name)
    check_equal(chosen, build_world(chosen), f"design {name}, as it is")


any_scenarios = st.one_of(covered(), breaking(), breaking_logic())
any_worlds = st.builds(
    replace, st.one_of(worlds(), busy_worlds(), crowds()), seed=st.sampled_from([1, 0, 2**40 + 3]), replication=st.integers(0, 2)
)


class AllTaken(Exception):  # noqa: N818
    """More scenarios would show nothing."""


def test_random_scenarios_take_every_choice() -> None:
    """Each named value, on and off, the least of a number and more, each kind of fault: of scenarios that are only drawn,
    until all are taken."""
    wanted = {choice for choice in all_choices() if not choice.startswith(tuple(NEVER_TAKEN))} | {
        f"workload.drain_s = {each}" for each in (LEAST, MORE)
    }
    taken: set[str] = set()

    @settings(max_examples=1200, deadline=None, suppress_health_check=QUIET, database=None, derandomize=True, phases=[Phase.generate])
    @given(any_scenarios)
    def look(chosen: Scenario) -> None:
        taken.update(choices_of(chosen))
        if wanted <= taken:
            raise AllTaken

    with suppress(AllTaken):
        look()
    assert wanted - taken == set()
    assert {choice for choice in taken if choice in NEVER_TAKEN} == set()


@settings(max_examples=100, deadline=None, suppress_health_check=QUIET, print_blob=True)
@given(any_scenarios, any_worlds)
def test_random_scenarios_have_equal_outcomes(chosen: Scenario, people: World) -> None:
    assert missing(chosen) == ()
    check_equal(chosen, people, "the blob that hypothesis prints")


@pytest.mark.long
@pytest.mark.parametrize("number", range(10))
def test_a_thousand_random_scenarios_have_equal_outcomes(number: int) -> None:
    @seed(number)
    @settings(max_examples=100, deadline=None, suppress_health_check=QUIET, database=None)
    @given(any_scenarios, any_worlds)
    def check(chosen: Scenario, people: World) -> None:
        again = f"pytest -m long tests/test_compiled.py -k 'thousand and {number}'"
        check_equal(chosen, people, again)

    check()


def test_what_is_missing_is_named_and_refused_in_one_line() -> None:
    people = world([(0, *ALWAYS), (1, *ALWAYS)], [[0, 1]], [(1.0, 0, 0)])
    chosen = scenario(design={"gateways": 3000})
    names = ("design.gateways = 3000 with broker.nodes = 1",)
    assert missing(chosen) == names
    with pytest.raises(InputError, match=r"^engine = 'compiled': does not cover design\.gateways = 3000 with") as said:
        simulate(chosen, people, engine="compiled")
    assert "\n" not in str(said.value)
    outcome = simulate(chosen, people)
    assert (outcome.engine, outcome.not_compiled) == ("simpy", names)


def test_an_engine_that_there_is_not_is_refused() -> None:
    people = world([(0, *ALWAYS), (1, *ALWAYS)], [[0, 1]], [(1.0, 0, 0)])
    with pytest.raises(InputError, match=r"engine = 'compild': no such engine; did you mean 'compiled'\?"):
        simulate(scenario(), people, engine="compild")


def test_each_key_that_is_missing_keeps_a_run_from_being_compiled() -> None:
    """Every choice that any other test calls missing is found; and nothing is, where nothing is asked for."""
    asked: list[dict[str, dict[str, object]]] = [
        {"design": {"gateways": 3000}},
    ]  # fmt: skip
    assert [len(missing(scenario(**parts))) for parts in asked] == [1] * len(asked)
    assert missing(scenario()) == ()


@pytest.mark.parametrize("limits", [{"subscriber_max_bytes": 50.0}, {"subscriber_soft_bytes": 50.0, "subscriber_soft_s": 0.01}])
def test_a_broker_that_cuts_gateways_off_has_equal_outcomes(limits: dict[str, float]) -> None:
    """It shows only in the run that connections break: the compiled engine then runs once more."""
    people = world([(0, *ALWAYS), (1, *ALWAYS)], [[0, 1]], [(1.0 + 0.001 * n, 0, 0) for n in range(50)])
    for delivery in ("pubsub", "stream"):
        broker = {"subscriber_max_bytes": 0.0, "subscriber_soft_bytes": 0.0, "delivery": delivery, **limits}
        chosen = scenario(broker=broker, gateway={"tick_us": 50_000.0, "batch_max": 3})
        check_equal(chosen, people, f"{delivery}, {limits}")
        assert (simulate(chosen, people, engine="simpy").subscriptions["change"] < 0).any()


@pytest.mark.parametrize("policy", ["close", "drop_newest", "drop_oldest", "block"])
@pytest.mark.parametrize("flush", ["tick", "item"])
@pytest.mark.parametrize("strikes", [False, True])
def test_links_that_are_too_slow_have_equal_outcomes(policy: str, flush: str, strikes: bool) -> None:
    people = world([(0, *ALWAYS), (1, *ALWAYS), (2, -1.0, 3.0)], [[0, 1, 2]], [(1.0 + 0.01 * n, 0, 0) for n in range(60)])
    slow = {"kind": "slow_clients", "at_s": 1.2, "for_s": 0.5, "share": 1.0, "bytes_per_s": 300.0}
    chosen = scenario(
        gateway={"flush": flush}, faults=[slow] if strikes else [],
        network={"outbound_policy": policy, "outbound_max_bytes": 250.0, "downlink_bytes_per_s": 2000.0, "slow_share": 0.0},
    )  # fmt: skip
    check_equal(chosen, people, f"{policy}, {flush}, {strikes}")
    ends = simulate(chosen, people, engine="simpy").deliveries
    assert (ends["fate"] != Fate.DELIVERED).any() or policy == "block"


def test_what_was_foretold_is_taken_back_when_a_session_closes_also_in_a_tie() -> None:
    """All times are sixteenths of a second: messages come just when their session is closed, before that or after it."""
    rng, came, lost = np.random.default_rng(1), 0, 0
    free = dict.fromkeys(("parse_us", "command_us", "handshake_us", "close_us"), 0.0)
    for number in range(160):
        times_s = np.sort(rng.integers(16, 64, 20)) / 16
        senders, rooms = rng.integers(0, 3, 20).tolist(), [[0, 1, 2], [0, 1], [1, 2], [0, 2]]
        of = [[room for room, members in enumerate(rooms) if sender in members] for sender in senders]
        people = world(
            [(user, *ALWAYS) for user in range(3)], rooms,
            [(time_s, sender, int(rng.choice(own))) for time_s, sender, own in zip(times_s, senders, of, strict=True)],
        )  # fmt: skip
        chosen = scenario(
            design={"routing": "in_process", "gateways": 1},
            gateway={
                **free, "flush": ("item", "tick")[number % 2], "cores": int(rng.integers(1, 9)),
                "receive_us": 62_500.0 * rng.integers(0, 9), "write_us": 62_500.0 * rng.integers(0, 2),
            },
            network={
                "client_ms_median": 62.5, "downlink_bytes_per_s": 1600.0, "outbound_max_bytes": 150.0,
                "outbound_policy": "close",
            },
        )  # fmt: skip
        outcome = check_equal(chosen, people, f"number {number}")
        closed_s = outcome.sessions["left_s"][outcome.deliveries["session"]]
        came += int((outcome.deliveries["time_s"] == closed_s).sum())
        lost += int((outcome.deliveries["cause"] == Cause.LEFT).sum())
    assert came > 20
    assert lost > 20


def test_a_small_run_is_not_worth_loading_the_compiled_engine_for(monkeypatch: pytest.MonkeyPatch) -> None:
    people = world([(0, *ALWAYS), (1, *ALWAYS)], [[0, 1]], [(1.0, 0, 0)])
    assert simulate(scenario(), people).not_compiled == (TOO_SMALL,)
    prepare()
    monkeypatch.setattr("chatsim.engine.SMALL", 0)
    assert simulate(scenario(), people).engine == "compiled"


def test_tables_keep_what_stands_in_them_when_they_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatsim.engine.compiled.setup.ROOM_AT_FIRST", 2)
    monkeypatch.setattr("chatsim.engine.compiled.setup._likely", lambda people, rooms: {})
    chosen = load_scenario("go-chat", ["workload.users=300", "workload.duration_s=120", "push.after_min=0.1"])
    check_equal(chosen, build_world(chosen), "all tables begin with two rows")


@pytest.mark.parametrize("more", ["push.quota_per_min=3", "gateway.tick_us=2000000"], ids=["many wait", "many at once"])
def test_draws_of_pushes_never_run_out(more: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where hundreds of one user's pushes wait for the provider, and where several leave in one tick."""
    monkeypatch.setattr("chatsim.engine.compiled.luck.KEPT", 2)
    sets = ["workload.users=40", "workload.duration_s=400", "workload.sessions.per_day=150", "push.after_min=0", more]
    sets += ["workload.sessions.length_s_median=100", "workload.conversations.messages_per_day=8000"]
    chosen = load_scenario("go-chat", [*sets, "gateway.flush=tick", "gateway.batch_max=0"])
    pushes = check_equal(chosen, build_world(chosen), more).pushes
    assert np.bincount(pushes["user"]).max() > 100
    assert (pushes["session"] >= 0).any()


def test_a_state_has_its_tables_in_their_order() -> None:
    from chatsim.engine.compiled.state import state_of, tables_of

    tables = {name: np.zeros((1, n + 1) if name in TWO_DIMENSIONS else n + 1, dtype) for n, (name, dtype) in enumerate(TABLES.items())}
    came_back = tables_of(state_of(tables))
    assert {name: (table.shape, table.dtype) for name, table in came_back.items()} == {
        name: (table.shape, table.dtype) for name, table in tables.items()
    }


def test_progress_is_told_in_hundredths() -> None:
    chosen = load_scenario("hub", ["workload.users=50", "workload.duration_s=60"])
    told: list[float] = []
    simulate(chosen, build_world(chosen), told.append, engine="compiled")
    assert told == [place / 100 for place in range(1, 100)]


def test_handlers_say_the_same_where_they_are_not_compiled() -> None:
    """A small part of the equality, with numba switched off: handlers are Python."""
    code = (
        "from chatsim.engine import simulate; from chatsim.scenario import load_scenario; from chatsim.world import build_world;"
        "from tests.test_compiled import check_equal\n"
        "for name in ('go-chat', 'directory', 'socketio-sharded'):\n"
        "    chosen = load_scenario(name, ['workload.users=200', 'workload.duration_s=60', 'push.after_min=0.1'])\n"
        "    check_equal(chosen, build_world(chosen), name)\n"
    )
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-W", "error::RuntimeWarning", "-c", code]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
