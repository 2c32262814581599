"""A log and its model through a design: the figures by hand, what stands beside what, and the command line."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from chatsim.engine import simulate
from chatsim.scenario import InputError, load_scenario
from chatsim.scenario.load import validate
from chatsim.study import fit as fitting
from chatsim.study.replay import FIGURES, figures, replay, side_by_side
from chatsim.world import build_world
from tests import worlds
from tests.conftest import Said

Cli = Callable[..., Said]
A, B, C = range(3)
AB, ABC = range(2)

# A is on gateway-0, B on gateway-1, C on gateway-0 for 40 s; two minutes. In ms: a message goes up in 10, is received in 1
# and published in 4, is 100 on the way to Redis, takes 16 there and 32 for each of 2 gateways, is 100 on the way back,
# is parsed in 2 and written in 8, and goes down in 10.
LOG = [(10.0, A, AB), (20.0, B, AB), (70.0, A, ABC), (100.0, A, AB)]
BY_HAND = {
    "messages_per_user_day": 4 / 3 / (120 / 86_400),
    "gap_s_p50": 45,  # A's: 60 and 30
    "gap_s_p90": 57,
    "group_share": 1 / 4,
    "members_mean": 9 / 4,
    "members_p90": 2.7,
    "sessions_mean": (120 + 120 + 40) / 120,
    "sessions_most": 3,
    "busiest_per_s": 2 / 60,
    "deliveries_per_message": 1,  # C is away from the group's
    "live_share": 4 / 5,
    "kept_share": 0,
    "lost_share": 1 / 5,
    "p50_ms": 10 + 1 + 4 + 100 + 16 + 2 * 32 + 100 + 2 + 8 + 10,
    "p90_ms": math.nan,  # of 4 deliveries
    "p99_ms": math.nan,
    "broker_peak": 2 * (16 + 2 * 32) / 60_000,
    "database_peak": 0,
}


def test_the_figures_of_a_run_by_hand() -> None:
    people = worlds.world([(A, -1.0, 1000.0), (B, -0.9, 1000.0), (C, -0.8, 40.0)], [[A, B], [A, B, C]], LOG, duration_s=120.0)
    found = figures(simulate(worlds.scenario(), people), 60.0, 0.0)
    assert list(found) == list(FIGURES)
    gateway = found.pop("gateway_peak")
    assert found == pytest.approx(BY_HAND, nan_ok=True, abs=1e-6)
    assert gateway == pytest.approx(2 * (2 + 8) / 60_000)  # gateway-1 in the second minute: it parses and writes twice
    rounded = figures(simulate(worlds.scenario(), people), 60.0, 60.0)
    assert (rounded["gap_s_p50"], rounded["p50_ms"]) == (30.0, found["p50_ms"])  # of A: minutes 0, 1 and 1


def test_what_stands_beside_what() -> None:
    real = dict.fromkeys(FIGURES, 2.5) | {"live_share": 0.5, "kept_share": 0.0, "p50_ms": 0.0, "p99_ms": 20.0}
    model = [dict.fromkeys(FIGURES, value) | {"live_share": 0.6, "p90_ms": math.nan} for value in (1.0, 2.0, 3.0)]
    table = side_by_side(real, model, 60.0).set_index("figure")
    row = table.loc["gap_s_p50"]
    assert (row["real"], row["model"], row["alike"]) == (2.5, 2.0, True)
    assert row["half_width"] == pytest.approx(2.484, abs=1e-3)
    assert row["difference"] == pytest.approx(-20.0)
    assert table["difference"]["live_share"] == pytest.approx(10.0)  # points
    assert table["difference"][["p50_ms", "p90_ms"]].isna().all()
    # One more world of the model lies within 2.484 x sqrt(4) of the mean.
    assert table["alike"][["gap_s_p50", "live_share", "p90_ms", "p99_ms"]].tolist() == [True, False, False, False]
    assert table["meaning"]["gateway_peak"] == "busiest gateway in its busiest minute"


WORKLOAD = {
    "users": 60, "duration_s": 3600.0,
    "conversations": {"messages_per_day": 400.0, "group_share": 0.3}, "sessions": {"per_day": 30.0},
}  # fmt: skip


def test_a_log_that_the_model_has_made_is_alike() -> None:
    """The log is one more world of the model. Each figure is alike in 95 %; they hang together, so a third may be off."""
    log = validate({"name": "log", "seed": 7, "workload": WORKLOAD})
    model = validate({"name": "model", "seed": 8, "workload": WORKLOAD})
    said = replay(load_scenario("go-chat"), log, model, 5)
    table = said.table.set_index("figure")
    assert (said.design, said.replications, said.window_s, said.clock_s, said.inferred) == ("go-chat", 5, 60.0, 0.0, False)
    assert table["alike"].mean() > 2 / 3
    assert table["real"]["messages_per_user_day"] == pytest.approx(len(build_world(log).messages) / 60 * 24)
    assert (table["half_width"][["p50_ms", "p99_ms", "gateway_peak", "sessions_mean"]] > 0).all()
    # Twice the messages are not.
    loud = validate({"name": "loud", "seed": 8, "workload": {**WORKLOAD, "conversations": {"messages_per_day": 800.0}}})
    table = replay(load_scenario("go-chat"), log, loud, 2).table.set_index("figure")
    assert 50 < table["difference"]["messages_per_user_day"] < 150
    with pytest.raises(InputError, match="--replications 1: at least 2 are needed for an interval"):
        replay(load_scenario("go-chat"), log, model, 1)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two hours of 60 people as a log to the second; nothing is searched when it is fitted."""
    monkeypatch.setattr(fitting, "STEPS", ())
    rows = [f"{1_000_000_000 + 5 * n},u{(n * n) % 59},u{(n * n + 1 + n % 7) % 59}" for n in range(1400)]
    file = tmp_path / "log.csv"
    file.write_text("\n".join(["time,sender,recipient", *rows]) + "\n", encoding="utf-8")
    return file


@pytest.mark.usefixtures("log")
def test_fit_puts_both_through_a_design(chatsim: Cli) -> None:
    said = chatsim("fit", "log.csv", "--through", "go-chat", "--replications", "2", "--set", "design.gateways=2")
    assert (said.status, said.err) == (0, "")
    for words in (
        "Through go-chat: the log, and the model's users", "latency p99", "busiest gateway in its busiest minute",
        "The model: the mean of 2 worlds", "The log's clock has steps of 1 s", "people are there only while they write",
    ):  # fmt: skip
        assert words in said.out
    assert max(map(len, said.out.splitlines())) <= 100
    table = json.loads(chatsim("fit", "log.csv", "--through", "go-chat", "--replications", "2", "--json").out)["replay"]
    assert table["design"] == "go-chat"
    assert [row["figure"] for row in table["figures"]] == list(FIGURES)
    rows = {row["figure"]: row for row in table["figures"]}
    assert rows["members_mean"]["real"] == rows["members_mean"]["model"] == 2.0


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--through", "gochat"), "'gochat': neither a file nor a shipped design; did you mean 'go-chat'?"),
        (("--through", "go-chat", "--replications", "1"), "Invalid value for '--replications'"),
    ],
)
def test_wrong_input_is_said_before_anything_is_fitted(chatsim: Cli, arguments: tuple[str, ...], said: str) -> None:
    found = chatsim("fit", "log.csv", *arguments)
    assert (found.status, found.out) == (2, "")
    assert said in found.err
    assert found.err.count("\n") == 1
