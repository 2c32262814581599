"""What a design carries: the search for the limit, a bottleneck solved by hand, the estimate, and what is said."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsim.analysis.slos import Answer
from chatsim.scenario import InputError, Scenario, load_scenario
from chatsim.scenario.load import validate
from chatsim.study.capacity import Capacity, capacity
from chatsim.study.probes import Probe, judged, known_slo, look
from chatsim.study.search import Bracket, Ends, bracket_of, search
from chatsim.theory import estimate, md1_wait_quantile_s, md1_wait_s
from tests.conftest import Said

Cli = Callable[..., Said]
FREE = {"tick_us": 0.0, "wake_us": 0.0, "flush_us": 0.0}
SERVICE_S = 0.01
PER_USER_S = 4000 / 86_400
"""Messages that a user of :func:`bottleneck` writes per second."""


def bottleneck(users: int = 500, duration_s: float = 30.0, **more: Any) -> Scenario:
    """Everything is free but the database, which stores one message after the other, 10 ms each. Users are connected
    all the time and write at random moments: arrivals are Poisson, and latency is that of M/D/1."""
    free = {f"{name}_us": 0.0 for name in ("receive", "parse", "command", "write", "handshake", "tls", "token", "close")}
    table: dict[str, Any] = {
        "name": "bottleneck",
        "workload": {
            "users": users,
            "duration_s": duration_s,
            "drain_s": 1.0,
            "friends": {"degree_median": 5.0, "degree_mean": 6.0},
            "sessions": {
                "day_amplitude": 0.0, "per_day": 24.0, "length_s_median": 36_000.0, "length_sigma": 0.0,
                "second_device_share": 0.0,
            },
            "groups": {"per_user": 0.0},
            "conversations": {"messages_per_day": 4000.0, "group_share": 0.0, "length_mean": 1.0},
        },
        "design": {"routing": "in_process", "gateways": 1, "store": "before", "offline": "drop"},
        "gateway": {**FREE, **free},
        "database": {"cores": 1, "batch_max": 1, "service": "fixed", "insert_us": 1e6 * SERVICE_S, "read_us": 0.0},
        "network": {
            "client_ms_median": 0.0, "client_sigma": 0.0, "jitter_sigma": 0.0, "broker_rtt_ms": 0.0,
            "database_rtt_ms": 0.0, "downlink_bytes_per_s": 1e12,
        },
    }  # fmt: skip
    for part, keys in more.items():
        table[part] = {**table.get(part, {}), **keys}
    return validate(table)


def busy(**design: Any) -> Scenario:
    """Gateways whose cores are busy with writes; everything else has room."""
    return validate(
        {
            "name": "busy",
            "workload": {
                "users": 60, "duration_s": 10.0, "conversations": {"messages_per_day": 30_000.0},
                "groups": {"per_user": 0.0}, "sessions": {"second_device_share": 0.0, "day_amplitude": 0.0, "per_day": 200.0},
            },
            "design": {"routing": "room", "gateways": 2, "store": "never", "offline": "drop", **design},
            "gateway": {**FREE, "batch_max": 1, "write_us": 20_000.0},
            "network": {"client_sigma": 0.0},
        }
    )  # fmt: skip


def users_at(wanted_s: float, latency_s: Callable[[float], float]) -> float:
    """The users at which the latency of M/D/1, by its arrivals per second, is as wanted; by halves."""
    low, high = 1e-6, (1 - 1e-9) / SERVICE_S
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if latency_s(middle) < wanted_s else (low, middle)
    return low / PER_USER_S


@cache
def mean_of_30_ms() -> Capacity:
    """The most users with a mean latency below 30 ms."""
    return capacity(bottleneck(), [known_slo("mean_ms < 30")], "users", replications=4, precision=0.15)


# --------------------------------------------------------------------------- the search alone


@given(
    st.floats(1.0, 1e5), st.floats(1.0, 3.0), st.floats(1.0, 1e5), st.sampled_from([0.01, 0.05, 0.3]), st.booleans(),
    st.booleans(),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_the_limit_is_found_wherever_it_is(
    limit: float, unsure: float, start: float, precision: float, whole: bool, fewest: bool
) -> None:
    """Met up to the limit, not met from limit x unsure on, undecided between."""
    ends = Ends(1e6, 1.0, whole) if fewest else Ends(1.0, 1e6, whole)
    asked: list[float] = []

    def ask(value: float) -> Answer:
        assert value not in asked
        asked.append(value)
        hard = 1e6 / value if fewest else value
        return "met" if hard <= limit else "undecided" if hard < limit * unsure else "not met"

    found = search(ask, float(round(start)) if whole else start, ends, precision)
    assert len(asked) <= 60
    assert all(not whole or value == round(value) for value in asked)
    hardness = {value: 1e6 / value if fewest else value for value in asked}
    if found.met is not None:
        assert hardness[found.met] <= limit
    if found.not_met is not None:
        assert hardness[found.not_met] >= limit * unsure
    if found.met is not None and found.not_met is not None and not found.undecided:
        assert ends.close(found.met, found.not_met, precision * (1 + 1e-9))
    if found.met is not None and found.undecided:
        assert ends.close(found.met, found.undecided[0], 2 * precision * (1 + 1e-9))


def test_the_fewest_questions_by_hand() -> None:
    asked: list[float] = []

    def ask(value: float) -> Answer:
        asked.append(value)
        return "met" if value <= 100 else "not met"

    assert search(ask, 80.0, Ends(1.0, 1e6), 0.1) == Bracket(98.0, 103.0, ())
    assert asked == [80.0, 120.0, 98.0, 108.0, 103.0]


def test_answers_that_contradict_each_other_count_against_the_design() -> None:
    ends = Ends(1.0, 100.0)
    assert bracket_of({10.0: "met", 20.0: "not met", 30.0: "met"}, ends) == Bracket(10.0, 20.0, ())
    assert bracket_of({10.0: "undecided", 20.0: "met", 30.0: "undecided"}, ends) == Bracket(20.0, None, (30.0,))
    assert bracket_of({1.0: "undecided", 2.0: "not met"}, ends) == Bracket(None, 2.0, (1.0,))


def test_at_the_ends_nothing_more_is_asked() -> None:
    assert search(lambda _: "met", 5.0, Ends(1.0, 7.0), 0.01) == Bracket(7.0, None, ())
    assert search(lambda _: "not met", 5.0, Ends(1.0, 7.0), 0.01) == Bracket(None, 1.0, ())


# --------------------------------------------------------------------------- solved by hand


def test_the_mean_wait_of_a_bottleneck_is_met_up_to_the_users_of_theory() -> None:
    """M/D/1: 30 ms with 10 ms of service is a mean wait of two services, at a load of 0.8: 1,728 users.

    Both ends of the answer are verdicts of which each is right for 98 seeds of 100; this seed is fixed.
    """
    theory = users_at(0.03, lambda rate: md1_wait_s(rate, SERVICE_S) + SERVICE_S)
    assert theory == pytest.approx(1728.0)
    found = mean_of_30_ms()
    assert found.best is not None
    assert found.worst is not None
    assert found.best.value <= theory <= found.worst.value
    assert found.worst.value < 1.35 * found.best.value
    assert found.binding == "database"


def test_the_p99_of_a_bottleneck_is_met_up_to_the_users_of_theory() -> None:
    """As before; a quantile needs more, so that the answer is a wider range."""
    theory = users_at(0.06, lambda rate: md1_wait_quantile_s(0.99, rate, SERVICE_S) + SERVICE_S)
    found = capacity(bottleneck(duration_s=45.0), [known_slo("p99_ms < 60")], "users", replications=5, precision=0.3)
    assert found.best is not None
    assert found.worst is not None
    assert found.best.value <= theory <= found.worst.value
    assert found.worst.value < 1.8 * found.best.value


def test_the_headroom_and_the_bill_of_the_answer() -> None:
    found = mean_of_30_ms()
    assert found.best is not None
    load = found.best.value * PER_USER_S * SERVICE_S
    tiers = found.headroom.set_index("tier")
    assert tiers.loc["database", "estimate"] == pytest.approx(load, rel=0.01)
    assert tiers.loc["database", "load"] == pytest.approx(load, rel=0.05)  # Poisson numbers of 4 x 2,000 messages
    assert tiers.loc["database", "room"] == pytest.approx(1 / tiers.loc["database", "load"])
    assert math.isinf(tiers.loc["gateway", "room"])
    assert found.cost is not None
    assert found.cost.users == found.best.value
    assert found.cost.usd_per_month == pytest.approx(59.57 + 94.17, rel=0.1)
    tried = found.table()
    assert tried["value"].is_monotonic_increasing
    assert {"met", "not met"} <= set(tried["verdict"])
    assert tried["replications"].max() <= 16


def test_where_nothing_queues_it_agrees_with_the_estimate() -> None:
    """How busy the database is has no queue in it: it reaches a half at half the users that saturate it."""
    scenario = bottleneck(duration_s=15.0)
    half = 500 * estimate(scenario).binding.load_factor / 2
    found = capacity(scenario, [known_slo("database_utilisation < 0.5")], "users", precision=0.1)
    assert found.best is not None
    assert found.worst is not None
    assert found.best.value <= half <= found.worst.value
    assert found.worst.value < 1.5 * found.best.value


def test_what_is_overloaded_is_not_met_whatever_is_asked() -> None:
    """An SLO that always holds: the limit is that of the load itself, where the estimate has it."""
    scenario = bottleneck(duration_s=20.0)
    found = capacity(scenario, [known_slo("p50_ms < 1e9")], "rate", replications=2, precision=0.1)
    assert found.best is not None
    assert found.worst is not None
    full = estimate(scenario).binding.load_factor
    assert 0.85 * full < found.best.value < 1.1 * full  # 1 % too much is not seen in 20 s
    assert 0.95 * full < found.worst.value < 1.25 * full
    assert found.worst.reason.startswith("overloaded: the queue of database kept growing")


def test_the_fewest_gateways() -> None:
    """Each gateway may be busy for 16 % of the time: as many as the estimate has, or one more for what it leaves out."""
    found = capacity(busy(), [known_slo("gateway_utilisation < 0.16")], "gateways")
    assert found.best is not None
    assert found.worst is not None
    assert found.best.value == found.worst.value + 1
    at = {gateways: estimate(busy(gateways=gateways)).tiers[0].utilisation_batched for gateways in range(1, 20)}
    needed = min(gateways for gateways, load in at.items() if load < 0.16)
    assert abs(found.best.value - needed) <= 1
    assert found.cost is not None
    assert found.cost.parts[0].amount == found.best.value
    assert found.sentences[0].startswith("busy: the fewest gateways that meet gateway_utilisation < 0.16: ")


def test_undecided_is_an_honest_end() -> None:
    """A share that is nowhere seen is less than about 3 / N, which cannot be brought below 1e-9 here."""
    found = capacity(bottleneck(duration_s=5.0), [known_slo("lost_share < 1e-9")], "users", 2, most=300)
    assert found.best is None
    assert set(found.table()["verdict"]) == {"undecided"}
    assert "nothing that was tried is sure to meet lost_share < 1e-09" in found.sentences[0]
    assert found.headroom.empty
    assert found.cost is None


def test_beyond_what_may_be_tried_it_says_at_least() -> None:
    found = capacity(bottleneck(duration_s=5.0), [known_slo("mean_ms < 500")], "users", 2, most=400)
    assert found.bracket == Bracket(400.0, None, ())
    assert found.sentences[0] == "bottleneck: 400 users or more meet mean_ms < 500."
    assert found.sentences[-1] == "More than --most 400 was not tried. The estimate has the database saturated at 2,160 users."


def test_a_quantile_that_surely_exceeds_is_not_met_though_it_has_no_interval() -> None:
    """Overload aside: at a load of 0.95 the p99 of M/D/1 is 450 ms, far beyond 40 ms; runs of 15 s have few clumps."""
    seen = [look(Probe(bottleneck(2052, 15.0), replication)) for replication in range(4)]
    (verdict,) = judged([known_slo("p99_ms < 40")], seen)
    assert verdict.answer == "not met"
    (verdict,) = judged([known_slo("p99_ms > 40")], seen)
    assert verdict.answer in ("met", "undecided")


# --------------------------------------------------------------------------- the command


def written(folder: Path) -> str:
    """The bottleneck as a file."""
    from chatsim.scenario import to_toml

    (folder / "bottleneck.toml").write_text(to_toml(bottleneck(duration_s=5.0)))
    return "bottleneck.toml"


def test_the_command(chatsim: Cli, tmp_path: Path) -> None:
    asked = ["capacity", written(tmp_path), "--slo", "database_utilisation<0.5", "--precision", "0.5"]
    said = chatsim(*asked, "--jobs", "1", "--out", "out")
    assert (said.status, said.err) == (0, "")
    assert max(map(len, said.out.splitlines())) <= 100
    assert "bottleneck: the most users that meet" in said.out or "bottleneck: the limit of" in said.out
    assert "What binds: database, at " in said.out
    assert "per 1,000 users" in said.out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "tried.parquet", "headroom.parquet", "cost.parquet", "scenario.toml", "provenance.json",
    }  # fmt: skip
    tried = pd.read_parquet(tmp_path / "out" / "tried.parquet")
    at_answer = load_scenario(tmp_path / "out" / "scenario.toml")
    assert at_answer.workload.users == tried[tried["verdict"] == "met"]["value"].max()


def test_the_answer_does_not_depend_on_the_number_of_processes(chatsim: Cli, tmp_path: Path) -> None:
    asked = ["capacity", written(tmp_path), "--slo", "database_utilisation<0.5", "--precision", "0.5", "--json"]
    one, two = (chatsim(*asked, "--jobs", jobs) for jobs in ("1", "2"))
    assert one == two
    told = json.loads(one.out)
    assert told["met"] < told["not_met"]
    assert (told["find"], told["key"], told["binding"]) == ("users", "workload.users", "database")
    assert told["cost"]["users"] == told["met"]
    assert {row["verdict"] for row in told["tried"]} <= {"met", "not met", "undecided"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["go-chat"], "--slo: at least one is needed, such as --slo 'p99_ms<200'"),
        (["go-chat", "--slo", "p99<200"], "--slo 'p99<200': 'p99' is no figure; did you mean 'p99_ms'?"),
        (["go-chat", "--slo", "p99_ms=200"], "slo = 'p99_ms=200': a figure, one of <, <=, >, >=, a number are needed, as 'p99_ms < 200'"),
        (["go-chat", "--slo", "p99_ms<200", "--find", "user"], "--find user: allowed: 'users', 'gateways', 'rate'; did you mean 'users'?"),
        (["go-chat", "--slo", "p99_ms<200", "--replications", "1"], "--replications 1: at least 2 are needed, as one has no interval"),
        (["go-chat", "--slo", "p99_ms<200", "--precision", "0"], "--precision 0: 0.001 to 1 is allowed, as a share of the answer"),
        (["go-chat", "--slo", "p99_ms<200", "--most", "-3"], "--most -3: at least 1 is needed"),
        (["go-chat", "--slo", "p99_ms<200", "--jobs", "-1"], "--jobs -1: at least 1 is needed, or 0 for one per core"),
        (["hub", "--slo", "p99_ms<200", "--find", "gateways"], "--find gateways: routing = 'in_process' is one process; 'users', 'rate' is allowed"),
        (
            ["hub", "--slo", "p99_ms<200", "--find", "rate", "--workload", "collegemsg"],
            "--find rate: the workload follows a log ('collegemsg'): 'gateways' is allowed",
        ),
        (
            ["go-chat", "--slo", "p99_ms<200", "--find", "gateways", "--set", "scaling.start=2"],
            "--find gateways: scaling.start = 2 turns gateways; 0 is needed",
        ),
        (
            ["hub", "--slo", "p99_ms<200", "--set", "workload.users=50", "--set", "workload.duration_s=5", "--most", "50"],
            "--slo 'p99_ms < 200': a run of 5 s with 50 users has 0 samples, an interval of p99_ms needs 1,000: a longer workload.duration_s is needed",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_asked(chatsim: Cli, arguments: list[str], said: str) -> None:
    found = chatsim("capacity", *arguments)
    assert (found.status, found.out, found.err) == (2, "", f"chatsim: {said}\n")


def test_a_fault_that_the_design_cannot_have_is_said() -> None:
    """With fewer gateways there is no gateway-3 that could be lost."""
    scenario = validate({**busy(gateways=4).model_dump(), "faults": [{"kind": "gateway_crash", "stations": ["gateway-3"]}]})
    with pytest.raises(InputError, match=r"--find gateways: with gateways = \d: "):
        capacity(scenario, [known_slo("gateway_utilisation < 0.9")], "gateways")
