"""Marginals of a log worked out by hand; the fit gives back what a model was made with; the command line of ``fit``."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chatsim.analysis.marginals import (
    FIGURES,
    burstiness,
    clock_step_s,
    contacts_known,
    marginals,
    recency_exponent,
    replies_within,
    since_last_of_pair,
    top_share,
)
from chatsim.report.svg import inline_svg
from chatsim.report.trust import behaviour_fit
from chatsim.scenario import InputError, Scenario, load_scenario
from chatsim.scenario.load import validate
from chatsim.study import fit as fitting
from chatsim.study.behaviour import behaviour
from chatsim.world import World, build_world
from chatsim.world.contacts import private_messages
from tests import worlds
from tests.conftest import Said

Cli = Callable[..., Said]
DAY_S = 86400.0

# --------------------------------------------------------------------------- marginals by hand

A, B, C, D = range(4)
AB, AC, GROUP = range(3)
LOG = [
    (0.0, A, AB),  # new
    (60.0, B, AB),  # quick, the other side
    (120.0, B, AB),  # quick, the same side
    (3_600.0, A, AC),  # new
    (7_200.0, A, AB),  # opens again and answers: rank 2 of 2 contacts
    (90_000.0, C, AC),  # opens again and answers, the next day
    (90_060.0, A, AC),  # quick, the other side
    (90_720.0, C, AC),  # the other side, 660 s after it
    (93_600.0, D, GROUP),  # not private: D stays inactive
    (100_020.0, C, AC),  # opens again, answers nothing
]
GAPS_S = [3_600, 3_600, 82_860, 60, 720, 9_300]


@pytest.fixture
def by_hand() -> World:
    sessions = [(user, -1.0, 200_000.0) for user in (A, B, C, D)]
    return worlds.world(sessions, [[A, B], [A, C], [B, C, D]], LOG, duration_s=2 * DAY_S)


BY_HAND = {
    "users_active": 3,
    "senders": 3,
    "messages": 9,
    "messages_per_day": 4.5,
    "half_written_days": 7_200 / DAY_S,
    "half_seen_days": 0,
    "first_ever_share": 2 / 9,
    "quick_reply_share": 3 / 9,
    "turn_share": 3 / 4,
    "answer_share": 2 / 3,
    "recency_exponent": 0,  # the one choice went to the second of two
    "conversation_length_mean": 9 / 5,  # 3, 1; 1, 3, 1
    "conversation_length_p90": 3,
    "conversation_length_p99": 3,
    "partners_mean": 4 / 3,
    "partners_median": 1,
    "partners_geometric_mean": 2 ** (1 / 3),
    "partners_p90": 1.8,
    "partners_p99": 1.98,
    "partners_max": 2,
    "top_senders_share": 4 / 9,
    "sent_per_active_day_mean": 9 / 4,  # 3, 1; 2; 3
    "sent_per_active_day_p90": 3,
    "burstiness": (statistics.pstdev(GAPS_S) - 16_690) / (statistics.pstdev(GAPS_S) + 16_690),
    "short_gap_share": 1 / 6,
    "gap_s_p10": 390,
    "gap_s_p50": 3_600,
    "gap_s_p90": 46_080,
    "gap_s_p99": 79_182,
    "bouts": 3 + 4,
    "hour_peak_ratio": 4 / (9 / 24),
}


def test_marginals_by_hand(by_hand: World) -> None:
    found = marginals(by_hand)
    assert list(found) == list(FIGURES)
    assert found == pytest.approx(BY_HAND, abs=1e-4)


def test_times_are_rounded_down_to_the_clock(by_hand: World) -> None:
    assert clock_step_s(by_hand) == 60
    moved = dataclasses.replace(
        by_hand, messages=dataclasses.replace(by_hand.messages, time_s=by_hand.messages.time_s + 13.7)
    )
    assert clock_step_s(moved) == 0
    assert marginals(moved)["half_written_days"] != marginals(by_hand)["half_written_days"]
    assert marginals(moved, 60.0) == marginals(by_hand)
    # On a clock of hours the first conversation is of one moment, and the replies of the second day are too.
    assert marginals(by_hand, 3600.0)["gap_s_p10"] == 0


def test_who_wrote_last_and_how_long_ago(by_hand: World) -> None:
    private = private_messages(by_hand)
    silent_s, turn = since_last_of_pair(private, private.time_s, by_hand.users)
    assert silent_s.tolist() == [math.inf, 60, 60, math.inf, 7080, 86400, 60, 660, 9300]
    assert turn.tolist() == [False, True, False, False, True, True, True, True, False]
    assert contacts_known(private, by_hand.users).tolist() == [0, 1, 1, 1, 2, 1, 2, 1, 1]
    at_once = replies_within(private, private.time_s, by_hand.users, 59.0)
    assert not at_once.any()
    exactly = replies_within(private, private.time_s, by_hand.users, 660.0)
    assert exactly.tolist() == [False, True, True, False, False, False, True, True, False]


def test_marginals_of_few_messages_are_none_where_nothing_is_to_be_counted() -> None:
    once = worlds.world([(A, *worlds.ALWAYS), (B, *worlds.ALWAYS)], [[A, B]], [(1.0, A, 0)])
    found = marginals(once)
    assert {name for name, value in found.items() if math.isnan(value)} == {
        "turn_share", "answer_share", "recency_exponent", "burstiness", "short_gap_share",
        "gap_s_p10", "gap_s_p50", "gap_s_p90", "gap_s_p99",
    }
    with pytest.raises(InputError, match="no private messages"):
        marginals(worlds.world([(A, *worlds.ALWAYS)], [[A, B, C]], [(1.0, A, 0)]))


def test_burstiness_of_clocks_and_of_chance() -> None:
    assert burstiness(np.full(5, 3.0)) == -1
    assert abs(burstiness(np.random.default_rng(1).exponential(size=200_000))) < 5 / math.sqrt(200_000)
    assert math.isnan(burstiness(np.zeros(3)))


def test_the_top_tenth_is_of_those_who_write() -> None:
    assert top_share(np.array([0] * 80 + [1] * 18 + [41, 41])) == 0.82


def test_the_recency_exponent_of_known_choices() -> None:
    """Weights 1, 1/2**x: the first of two is taken with chance 2**x / (1 + 2**x), three times in four for x = log2 3."""
    rank, known = np.array([1, 1, 1, 2, 0, 1]), np.array([2, 2, 2, 2, 9, 1])
    assert recency_exponent(rank, known) == pytest.approx(math.log2(3), abs=1e-4)


# --------------------------------------------------------------------------- what a log says outright


def test_half_is_written_when_interest_has_faded_so_far() -> None:
    """All join at once, for a long run: half is written in the time in which interest halves."""
    assert fitting.fade_days(7.0, 0.01, 1000.0) == pytest.approx(7.0, rel=2e-3)
    assert fitting.lived_days(7.0, 0.01, 1000.0) == pytest.approx(7.0 / math.log(2), rel=1e-3)
    # Nothing fades: users who join evenly in 10 of 20 days live 15 of them on the mean.
    assert fitting.lived_days(1e7, 10.0, 20.0) == pytest.approx(15.0, rel=1e-3)
    assert fitting.fade_days(19.0, 10.0, 20.0) == 100 * 20
    with_joins = fitting.fade_days(12.0, 10.0, 50.0)
    both = [fitting.lived_days(with_joins, 10.0, days) * min(days, 10.0) / 10.0 for days in (12.0, 50.0)]
    assert both[0] == pytest.approx(both[1] / 2, rel=1e-6)


@pytest.fixture(scope="module")
def made() -> Scenario:
    """A model world whose keys are to be found again."""
    return validate({"name": "made", "seed": 5, "workload": MADE})


MADE = {
    "users": 400, "duration_s": 30 * DAY_S, "start_hour": 8.0,
    "friends": {"degree_median": 40.0, "degree_mean": 80.0},
    "sessions": {
        "per_day": 6.0, "length_s_median": 400.0, "activity_sigma": 1.2, "join_days": 9.0, "fade_days": 10.5,
        "day_amplitude": 0.8, "peak_hour": 20.0,
    },
    "conversations": {
        "messages_per_day": 6.0, "group_share": 0.0, "known_partners_mean": 0.0, "new_partner_share": 0.4,
        "new_partner_scale": 60.0, "recency_exponent": 1.4, "answer_weight": 4.0, "burst_sigma": 1.4,
        "length_mean": 2.5, "reply_share": 0.7, "reply_s_median": 100.0, "reply_sigma": 0.9,
    },
    "groups": {"per_user": 0.0},
}


def test_what_a_log_says_outright_is_read_off(made: Scenario) -> None:
    """Replies are mixed with openings that follow quickly, hence the third; the phase is that of messages."""
    world = build_world(made)
    private = private_messages(world)
    reply_s_median, reply_sigma = fitting.reply_delays(private, world.users, 0.0)
    assert reply_s_median == pytest.approx(100, rel=0.35)
    assert reply_sigma == pytest.approx(0.9, rel=0.6)
    assert fitting.new_partner_scale(private, world.users) == pytest.approx(60, rel=0.3)
    assert (8 + fitting.peak_s(private.time_s) / 3600) % 24 == pytest.approx(20, abs=1)


@pytest.mark.long
def test_the_keys_of_a_model_are_found_again(made: Scenario) -> None:
    """Of one world, with another seed. per_day and the length of sessions are no two things to a log of messages: only
    the time connected is; what fades is known to a third, for a month holds three half-lives."""
    fitted = fitting.fit(made)
    assert fitted.scenario.seed != made.seed
    close = {
        "conversations.length_mean": 0.1, "conversations.recency_exponent": 0.1, "conversations.burst_sigma": 0.1,
        "conversations.new_partner_share": 0.15, "conversations.messages_per_day": 0.2,
        "conversations.reply_share": 0.2, "conversations.answer_weight": 0.25, "sessions.activity_sigma": 0.1,
        "sessions.join_days": 0.1, "sessions.fade_days": 0.35, "friends.degree_median": 0.3,
    }
    for path, tolerance in close.items():
        part, key = path.split(".")
        assert fitted.workload[part][key] == pytest.approx(MADE[part][key], rel=tolerance), path  # type: ignore[index]
    table = fitted.table.set_index("figure")
    # All but the extremes, which chance moves most.
    steady = table.drop(index=["partners_p99", "partners_max"])
    assert steady["difference"].abs().max() < 20
    assert table[table.index.str.startswith("hit@")]["difference"].abs().max() < 2


# --------------------------------------------------------------------------- the model fitted to CollegeMsg

REPRODUCED = (
    "messages", "first_ever_share", "quick_reply_share", "answer_share", "recency_exponent", "conversation_length_mean",
    "partners_mean", "partners_median", "partners_p90", "partners_p99", "partners_max", "top_senders_share",
    "sent_per_active_day_mean", "burstiness", "gap_s_p10", "gap_s_p50", "gap_s_p90", "gap_s_p99", "bouts",
    "half_written_days", "half_seen_days", "hour_peak_ratio",
)


def test_college_has_the_figures_of_the_log_within_a_fifth() -> None:
    """What is off by more, and known to be: users who write, conversations at p99, replies within a conversation."""
    real = build_world(load_scenario("go-chat", workload="collegemsg"))
    model = build_world(load_scenario("go-chat", workload="college"))
    assert (model.users, model.duration_s) == (real.users, real.duration_s)
    wanted, found = marginals(real), marginals(model, clock_step_s(real))
    off = {name: found[name] / wanted[name] - 1 for name in REPRODUCED}
    assert {name: share for name, share in off.items() if abs(share) > 0.2} == {}


def test_what_is_kept_of_the_log_is_the_log_s() -> None:
    """A report says how the model behaves beside the log without reading that, which not every installation has."""
    log = build_world(load_scenario("go-chat", workload="collegemsg"))
    real = {**marginals(log), **fitting.hits_at_openings(log)}
    table = behaviour().set_index("figure")
    assert set(table.index) == set(real)
    for figure, value in real.items():
        assert table["real"][figure] == pytest.approx(value, rel=5e-6)
    model = marginals(build_world(load_scenario("go-chat", workload="college")), clock_step_s(log))
    assert table["model"][list(model)].to_dict() == model


def test_the_report_says_how_near_the_model_is() -> None:
    rows = [("messages", "messages", "messages", 100.0, 110.0, 10.0, True), ("bouts", "bouts", "bouts", 50.0, 20.0, -60.0, True),
            ("hit@15", "opening: partner on a list of 15", "share", 0.5, 0.53, 3.0, False)]  # fmt: skip
    found = behaviour_fit(pd.DataFrame(rows, columns=["figure", "meaning", "unit", "real", "model", "difference", "fitted"]))
    assert found.conclusion == (
        "Fitted to CollegeMsg, the behaviour model's users meet 1 of 2 figures of that log within 15 % (farthest: bouts, 20 for 50), "
        "and foretell to 3 points how often a friend list holds the partner."
    )
    assert found.figure is not None
    drawn = inline_svg(found.figure, "fit", "says")
    assert "<title>foretold; model / real (green: within 15 %): 1.06; opening: partner on a list of 15</title>" in drawn


# --------------------------------------------------------------------------- the command line


@pytest.fixture
def log(made: Scenario, tmp_path: Path) -> Path:
    """The first days of a model world as a log to the second, by names."""
    private = private_messages(build_world(made))
    rows = [
        f"{1e9 + math.floor(time_s):.0f},user{sender},user{recipient}"
        for time_s, sender, recipient in zip(private.time_s, private.sender, private.recipient, strict=True)
        if time_s < 3 * DAY_S
    ]
    file = tmp_path / "log.csv"
    file.write_text("\n".join(["time,sender,recipient", *rows]) + "\n", encoding="utf-8")
    return file


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No search: the point at which it would start."""
    monkeypatch.setattr(fitting, "STEPS", ())


@pytest.mark.usefixtures("quick")
def test_fit_writes_a_workload_that_runs(chatsim: Cli, log: Path, tmp_path: Path) -> None:
    said = chatsim("fit", log.name, "--seed", "3", "--out", "mine.toml")
    assert (said.status, said.err) == (0, "")
    assert "rows read" in said.out
    assert "partners per active user, mean" in said.out
    assert "mine.toml is written. Next: chatsim run go-chat --workload mine.toml" in said.out
    assert max(map(len, said.out.splitlines())) <= 100
    text = (tmp_path / "mine.toml").read_text(encoding="utf-8")
    assert text.startswith("# Made by: chatsim fit log.csv --seed 3 --out mine.toml\n")
    loaded = load_scenario("go-chat", workload=tmp_path / "mine.toml")
    assert not loaded.workload.trace
    assert loaded.workload.groups.per_user == 0
    assert len(build_world(loaded).messages) > 100
    origins = {line.split("#")[1].split(":")[0].strip() for line in text.splitlines() if " = " in line and "#" in line}
    assert origins == {"measured", "fitted", "choice"}


@pytest.mark.usefixtures("quick")
def test_fit_says_the_same_in_json(chatsim: Cli, log: Path, tmp_path: Path) -> None:
    first = chatsim("fit", log.name, "--json", "--out", "mine.toml")
    assert first.out == chatsim("fit", log.name, "--json").out
    said = json.loads(first.out)
    assert said["trace"] == "log.csv"
    figures = {row["figure"]: row for row in said["figures"]}
    assert [*FIGURES] == [*figures][: len(FIGURES)]
    assert [*figures][len(FIGURES) :] == [f"hit@{k}" for k in (1, 2, 3, 5, 10, 15, 20, 30, 50, "all")]
    shares, others = figures["first_ever_share"], figures["partners_mean"]
    assert shares["difference"] == pytest.approx(100 * (shares["model"] - shares["real"]))
    assert others["difference"] == pytest.approx(100 * (others["model"] / others["real"] - 1))
    written = tomllib.loads((tmp_path / "mine.toml").read_text(encoding="utf-8"))["workload"]
    assert written == said["workload"]


@pytest.mark.usefixtures("quick")
def test_fit_overwrites_only_when_told(chatsim: Cli, log: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("precious", encoding="utf-8")
    said = chatsim("fit", log.name, "--out", "mine.toml")
    assert said.status == 2
    assert said.err == "chatsim: --out mine.toml: exists already: another name is needed, or --force to replace it\n"
    assert (tmp_path / "mine.toml").read_text(encoding="utf-8") == "precious"
    assert chatsim("fit", log.name, "--out", "mine.toml", "--force").status == 0
    assert (tmp_path / "mine.toml").read_text(encoding="utf-8").startswith("# Made by")
    assert {path.name for path in tmp_path.iterdir()} == {"log.csv", "mine.toml"}


@pytest.mark.usefixtures("quick")
def test_fit_takes_a_scenario_of_the_model_too(chatsim: Cli) -> None:
    said = chatsim("fit", "small", "--set", "workload.users=300", "--set", "workload.duration_s=20000", "--json")
    assert said.status == 0
    assert json.loads(said.out)["workload"]["users"] <= 300


@pytest.mark.parametrize(
    ("arguments", "rows", "phrase"),
    [
        (("log.csv",), ["1,a,b"] * 3, "log.csv: 3 private messages of 2 users: at least 1,000 of 20 are needed"),
        (
            ("log.csv",), [f"{n // 4},u{n % 30},u{(n + 1) % 30}" for n in range(2000)],
            "log.csv: all messages lie within 499 s: at least 3,600 s are needed",
        ),
        (("colegemsg",), [], "did you mean 'collegemsg'?"),
        (("nope.toml",), [], "nope.toml: no such file"),
        (("log.csv", "--out", "."), ["1,a,b"], "--out .: is a folder"),
        (("log.csv", "--out", "no/where.toml"), ["1,a,b"], "--out no/where.toml: no such folder: no"),
        (("log.csv", "--set", "workload.idle_gap_s=0"), ["1,a,b"], "workload.idle_gap_s = 0"),
        (("log.csv", "--seed", "-1"), ["1,a,b"], "seed = -1: at least 0 is needed"),
    ],
)
def test_wrong_input_of_fit_is_one_line(
    chatsim: Cli, tmp_path: Path, arguments: tuple[str, ...], rows: list[str], phrase: str
) -> None:
    (tmp_path / "log.csv").write_text("\n".join(["time,sender,recipient", *rows]) + "\n", encoding="utf-8")
    said = chatsim("fit", *arguments)
    assert (said.status, said.out) == (2, "")
    assert phrase in said.err
    assert said.err.count("\n") == 1


def test_a_log_of_groups_has_nothing_to_fit(chatsim: Cli, tmp_path: Path) -> None:
    rows = [f"{n},u{n % 30},lobby" for n in range(2000)]
    (tmp_path / "log.csv").write_text("\n".join(["time,sender,room", *rows]) + "\n", encoding="utf-8")
    said = chatsim("fit", "log.csv")
    assert said.status == 2
    assert "log.csv: 0 private messages of 0 users" in said.err
