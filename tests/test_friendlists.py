"""Friend lists: ranks worked out by hand, the laws that any list obeys, and the real CollegeMsg log."""

from __future__ import annotations

import csv
import inspect
import json
import math
import time
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatsim import cli
from chatsim.analysis import compare_rankings, first_ever_share, friendlists, hit_curve
from chatsim.analysis.friendlists import LIMITS, contact_ranks, private_messages, verdict
from chatsim.report import charts
from chatsim.rules.ranking import NOBODY, POLICY_NUMBERS, is_listed, note_chat
from chatsim.scenario import InputError, load_scenario
from chatsim.world import build_world, contacts
from chatsim.world.draws import Purpose, uniform
from chatsim.world.tables import World
from tests.conftest import ROOT, Said
from tests.worlds import ALWAYS, world

Cli = Callable[..., Said]
Chat = tuple[float, int, int]
POLICIES = tuple(POLICY_NUMBERS)
SETS = ("all", "repeat", "openings", "repeat openings")

# --------------------------------------------------------------------------- by hand

ANN, BOB, CID, DAN = range(4)
LOG: list[Chat] = [
    (0.0, ANN, BOB),
    (10.0, ANN, CID),
    (10.0, BOB, ANN),  # the same clock time as the line above: Bob is Ann's later chat because his line is
    (20.0, ANN, BOB),
    (20.0, DAN, ANN),
    (40.0, ANN, CID),
    (50.0, ANN, DAN),
    (60.0, ANN, BOB),
    (170.0, CID, ANN),  # after 130 s of silence between Ann and Cid
    (270.0, CID, ANN),  # after 100 s
    (280.0, ANN, DAN),  # after 230 s
]
# What Ann's list says just before she writes on lines 4, 6, 7, 8 and 11. All other senders know Ann alone: rank 1, or 0
# where it is the first message of the pair (lines 1, 2 and 5).
#   recent    line 4: Bob Cid   6: Dan Bob Cid            7: Cid Dan Bob          8: Dan Cid Bob    11: Cid Bob Dan
#   frequent        : Bob2 Cid1  : Bob3 Dan1 Cid1          : Bob3 Cid2 Dan1        : Bob3 Dan2 Cid2   : Cid4 Bob4 Dan2
#   frecency        : Bob3 Cid2  : Bob7 Dan4 Cid2          : Cid18 Bob7 Dan4       : Dan36 Cid18 Bob7 : Cid>2^27 Bob71 Dan36
#            (half-life 10 s, so that a chat at time t counts 2^(t / 10))
#   random          : Cid Bob    : Cid Bob Dan             : Cid Bob Dan           : Cid Bob Dan      : Cid Bob Dan
RANKS = {
    "recent": [0, 0, 1, 1, 0, 3, 2, 3, 1, 1, 3],
    "frequent": [0, 0, 1, 1, 0, 3, 3, 1, 1, 1, 3],
    "frecency": [0, 0, 1, 1, 0, 3, 3, 3, 1, 1, 3],
    "random": [0, 0, 1, 2, 0, 1, 3, 2, 1, 1, 3],
    "all": [0, 0, 1, 1, 0, 3, 2, 3, 1, 1, 3],
    "online_first": [0, 0, 1, 1, 0, 3, 2, 3, 1, 1, 3],  # everybody is online throughout
}


def chats(log: Sequence[Chat], users: int = 4, groups: Sequence[tuple[float, int]] = ()) -> World:
    """A world of these private messages, and of messages (time_s, sender) to a group of all."""
    pairs = list(combinations(range(users), 2))
    rooms: list[Sequence[int]] = [*pairs, range(users)]
    lines = [(when, sender, pairs.index((min(sender, to), max(sender, to)))) for when, sender, to in log]
    lines += [(when, sender, len(pairs)) for when, sender in groups]
    return world([(user, *ALWAYS) for user in range(users)], rooms, sorted(lines, key=lambda line: line[0]), 1000.0)


@pytest.mark.parametrize("policy", POLICIES)
def test_ranks_by_hand(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    luck = np.array([0.3, 0.5, 0.9, 0.1])  # of whoever meets Ann, Bob, Cid, Dan
    monkeypatch.setattr(contacts, "uniform", lambda seed, replication, purpose, user, contact: luck[contact])
    assert contact_ranks(chats(LOG), policy, half_life_s=10.0).tolist() == RANKS[policy]


def test_hit_curve_by_hand() -> None:
    table = hit_curve(chats(LOG), "recent", k=(1, 2, 3), opening_gap_s=100.0)
    # Three first-ever messages of eleven; openings are these, the 130 s and the 230 s, and not the 100 s.
    assert table.to_numpy().tolist() == [
        [1.0, "all", 4 / 11, 11], [1.0, "repeat", 4 / 8, 8], [1.0, "openings", 1 / 5, 5], [1.0, "repeat openings", 1 / 2, 2],
        [2.0, "all", 5 / 11, 11], [2.0, "repeat", 5 / 8, 8], [2.0, "openings", 1 / 5, 5], [2.0, "repeat openings", 1 / 2, 2],
        [3.0, "all", 8 / 11, 11], [3.0, "repeat", 8 / 8, 8], [3.0, "openings", 2 / 5, 5], [3.0, "repeat openings", 2 / 2, 2],
        [math.inf, "all", 8 / 11, 11], [math.inf, "repeat", 8 / 8, 8], [math.inf, "openings", 2 / 5, 5], [math.inf, "repeat openings", 2 / 2, 2],
    ]
    assert first_ever_share(chats(LOG)) == 3 / 11


def test_a_list_of_all_knows_no_limit() -> None:
    table = hit_curve(chats(LOG), "all", k=(1, 3))
    assert set(table.loc[table["of"] == "all", "hit_share"]) == {8 / 11}


def test_a_new_pair_opens_however_long_the_gap() -> None:
    table = hit_curve(chats(LOG), opening_gap_s=math.inf)
    assert set(table.loc[table["of"] == "openings", "count"]) == {3}
    assert set(table.loc[table["of"] == "repeat openings", "count"]) == {0}


def test_silence_is_that_of_the_pair_either_way() -> None:
    assert private_messages(chats(LOG)).silent_s.tolist() == [math.inf, math.inf, 10, 10, math.inf, 30, 30, 40, 130, 100, 230]


def test_group_messages_make_nobody_a_contact() -> None:
    quiet, busy = chats(LOG), chats(LOG, groups=[(5.0, BOB), (30.0, CID), (275.0, DAN)])
    assert len(busy.messages) == len(quiet.messages) + 3
    for policy in POLICIES:
        pd.testing.assert_frame_equal(hit_curve(busy, policy), hit_curve(quiet, policy))


def test_the_random_ranking_is_the_draw_of_user_and_contact() -> None:
    draw = uniform(1, 0, Purpose.FRIEND_LIST, ANN, [BOB, CID, DAN])
    place = dict(zip((BOB, CID, DAN), (1 + np.argsort(np.argsort(-draw))).tolist(), strict=True))
    ranks = contact_ranks(chats(LOG), "random")
    assert {LOG[n][2]: int(ranks[n]) for n in (5, 6, 7)} == place


# --------------------------------------------------------------------------- laws

USERS = 5
def timed(steps: Sequence[tuple[float, Sequence[int]]]) -> list[Chat]:
    """A log out of waits and shuffled people, of whom the first writes to the second."""
    clock = np.cumsum([wait for wait, _ in steps]).tolist()
    return [(when, people[0], people[1]) for when, (_, people) in zip(clock, steps, strict=True)]


LOGS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.0, 1.0, 7.0]), st.permutations(range(USERS))), min_size=1, max_size=40
).map(timed)


def sorted_ranks(log: Sequence[Chat], policy: str, half_life_s: float) -> list[int]:
    """The ranks, each from a fresh sort of all that was ever said before: by score, then by the later line."""
    ranks = []
    for n, (now, sender, recipient) in enumerate(log):
        lines_with: dict[int, list[int]] = {}
        for line, (_, writer, reader) in enumerate(log[:n]):
            if sender in (writer, reader):
                lines_with.setdefault(reader if writer == sender else writer, []).append(line)
        ages = {who: [(now - log[line][0]) / half_life_s for line in lines] for who, lines in lines_with.items()}
        keys = sorted((-fresh_score(policy, sender, who, ages[who]), -lines_with[who][-1], who) for who in ages)
        order = [who for _, _, who in keys]
        ranks.append(order.index(recipient) + 1 if recipient in order else 0)
    return ranks


def fresh_score(policy: str, user: int, contact: int, ages: Sequence[float]) -> float:
    """What a contact weighs whose chats are so many half-lives old."""
    if policy == "frequent":
        return len(ages)
    if policy == "frecency":
        return sum(2.0**-age for age in ages)
    return float(uniform(1, 0, Purpose.FRIEND_LIST, user, contact)) if policy == "random" else 0.0


@given(LOGS, st.sampled_from(POLICIES))
@example(LOG, "frequent")
def test_ranks_are_those_of_a_fresh_sort_before_each_message(log: list[Chat], policy: str) -> None:
    # With a half-life of 1.7 s no two different sets of whole seconds weigh the same, so rounding cannot make a tie.
    assert contact_ranks(chats(log, USERS), policy, half_life_s=1.7).tolist() == sorted_ranks(log, policy, 1.7)


@given(LOGS, st.sampled_from([0.0, 1.0, 10.0]))
def test_a_longer_list_never_hits_less_and_all_contacts_hit_most(log: list[Chat], gap_s: float) -> None:
    people = chats(log, USERS)
    best = hit_curve(people, "all", k=range(1, 6), opening_gap_s=gap_s)
    for policy in POLICIES:
        table = hit_curve(people, policy, k=range(1, 6), opening_gap_s=gap_s)
        assert (table["hit_share"].dropna() <= best["hit_share"].dropna()).all()
        for _, curve in table.groupby("of"):
            assert curve["k"].is_monotonic_increasing
            assert curve["hit_share"].isna().all() or curve["hit_share"].is_monotonic_increasing
        shares = table[table["k"] == math.inf].set_index("of")["hit_share"]
        assert shares["all"] == pytest.approx(1 - first_ever_share(people))
        assert math.isnan(shares["repeat"]) or shares["repeat"] == 1


@given(LOGS)
def test_frecency_goes_over_into_frequent_and_recent(log: list[Chat]) -> None:
    assert contact_ranks(chats(log, USERS), "frecency", math.inf).tolist() == sorted_ranks(log, "frequent", 1.0)
    apart = [(float(n), sender, recipient) for n, (_, sender, recipient) in enumerate(log)]
    assert contact_ranks(chats(apart, USERS), "frecency", 0.1).tolist() == sorted_ranks(apart, "recent", 1.0)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=40), st.sampled_from(POLICIES), st.integers(1, 8))
def test_the_list_is_the_first_places_and_holds_whom_the_rank_says(met: list[int], policy: str, limit: int) -> None:
    number, draws = POLICY_NUMBERS[policy], [0.4, 0.1, 0.9, 0.3, 0.8, 0.2, 0.7]
    contacts, scores = [NOBODY] * 8, [0.0] * 8
    for when, contact in enumerate(met):
        shown = [who for who in contacts if who != NOBODY][: None if policy == "all" else limit]
        rank = note_chat(number, contact, float(when), draws[contact], contacts, scores, 0)
        assert is_listed(number, rank, limit) == (contact in shown)
    assert sorted(who for who in contacts if who != NOBODY) == sorted(set(met))


def test_random_lists_depend_on_seed_and_replication_alone() -> None:
    people = [load_scenario("go-chat", ["workload.users=200", "workload.duration_s=20000", f"seed={seed}"]) for seed in (1, 1, 2)]
    one, same, other = (contact_ranks(build_world(scenario), "random").tolist() for scenario in people)
    assert one == same
    assert one != other


def test_without_private_messages_nothing_is_claimed() -> None:
    alone = chats([], groups=[(1.0, ANN)])
    table = hit_curve(alone)
    assert table["hit_share"].isna().all()
    assert (table["count"] == 0).all()
    assert math.isnan(first_ever_share(alone))
    assert verdict(compare_rankings(alone)) == "No private messages: a friend list cannot be judged by this trace."


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"policy": "recnt"}, "policy = 'recnt': no such ranking; did you mean 'recent'?"),
        ({"k": (5, 0)}, "k = 0: at least 1 is needed"),
        ({"opening_gap_s": -1.0}, "opening_gap_s = -1: at least 0 s is needed"),
        ({"opening_gap_s": math.nan}, "opening_gap_s = nan: at least 0 s is needed"),
        ({"half_life_s": 0.0}, "half_life_s = 0: at least 0.001 s is needed"),
        ({"half_life_s": math.nan}, "half_life_s = nan: at least 0.001 s is needed"),
    ],
)
def test_wrong_wishes_are_refused_in_one_line(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(InputError) as refusal:
        hit_curve(chats(LOG), **wrong)  # type: ignore[arg-type]
    assert str(refusal.value) == said


# --------------------------------------------------------------------------- the real log
#
# data/reference/traces.csv has CollegeMsg's figures to three digits. With lines of equal minutes in the file's order,
# 13 of the 19 of the curves come out digit for digit, and the rest one unit in the last digit higher, by 0.0006 or less:
# FILE_ORDER_DIFFERS. What the order within a minute can do is larger: it moves hit@1 by 0.03. Between all ties lost and
# all ties won lies every reference figure.

FILE_ORDER_DIFFERS = {"all": {2, 5, 30, 50}, "repeat": {2, 3}}


@pytest.fixture(scope="module")
def college() -> World:
    return build_world(load_scenario("go-chat", workload="collegemsg"))


@pytest.fixture(scope="module")
def recent(college: World) -> pd.DataFrame:
    return hit_curve(college, "recent")


def share(table: pd.DataFrame, of: str, k: float) -> float:
    return float(table.loc[(table["of"] == of) & (table["k"] == k), "hit_share"].iloc[0])


def reference(figure: str) -> str:
    """The value of a figure of CollegeMsg in the shipped reference."""
    with (ROOT / "data" / "reference" / "traces.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["trace"] == "CollegeMsg" and row["figure"].startswith(figure)]
    assert len(rows) == 1
    return rows[0]["value"]


def reference_curves() -> list[tuple[str, float, float]]:
    """(set, K, share) of the shipped reference."""
    every = reference("hit@1/2/3/5/10/15/20/30/50/all of all messages").split("/")
    repeats = reference("hit@1/2/3/5/10/15/20/30/50 of repeat messages").split("/")
    curve = [("all", float(k), float(value)) for k, value in zip((*LIMITS, math.inf), every, strict=True)]
    return curve + [("repeat", float(k), float(value)) for k, value in zip(LIMITS, repeats, strict=True)]


@pytest.mark.parametrize(("of", "k", "known"), reference_curves())
def test_collegemsg_hits_of_the_last_contacts(recent: pd.DataFrame, of: str, k: float, known: float) -> None:
    found = share(recent, of, k)
    if k in FILE_ORDER_DIFFERS[of]:
        assert round(found, 3) == round(known + 0.001, 3)
        assert found - known < 0.0006
    else:
        assert round(found, 3) == known


def test_collegemsg_order_within_a_minute_explains_what_differs(college: World) -> None:
    won, lost = tied_ranks(college)
    for of, k, known in reference_curves():
        chosen = won > 0 if of == "repeat" else np.ones(len(won), bool)
        low, high = (float(((rank > 0) & (rank <= k))[chosen].mean()) for rank in (lost, won))
        assert round(low, 3) <= known <= round(high, 3), (of, k)


def tied_ranks(college: World) -> tuple[np.ndarray, np.ndarray]:
    """Ranks by last chat where the recipient wins, and loses, every tie of one minute; found without the rule."""
    private = private_messages(college)
    last: list[dict[int, float]] = [{} for _ in range(college.users)]
    won, lost = [], []
    for when, sender, recipient in zip(private.time_s.tolist(), private.sender.tolist(), private.recipient.tolist(), strict=True):
        own = last[sender].get(recipient, math.inf)
        known = math.isfinite(own)
        won.append(1 + sum(other > own for other in last[sender].values()) if known else 0)
        lost.append(sum(other >= own for other in last[sender].values()) if known else 0)
        last[sender][recipient] = last[recipient][sender] = when
    return np.array(won), np.array(lost)


def test_collegemsg_first_contacts_and_openings(college: World, recent: pd.DataFrame) -> None:
    assert f"{first_ever_share(college):.3f}".lstrip("0") == reference("share of first-ever messages") == ".231"
    assert f"{share(recent, 'openings', 15):.3f}".lstrip("0") == reference("hit@15 at conversation openings") == ".557"
    assert round(share(recent, "repeat openings", 15), 3) == 0.910
    assert recent.loc[recent["of"] == "openings", "count"].unique().tolist() == [35_604]


def test_collegemsg_last_chat_beats_frequency_and_ties_with_frecency(college: World, recent: pd.DataFrame) -> None:
    frequent = hit_curve(college, "frequent", k=[15])
    assert f"{share(frequent, 'repeat', 15):.3f}".lstrip("0") == reference("frequency ranking repeat hit@15") == ".806"
    frecency = share(hit_curve(college, "frecency", k=[15], half_life_s=3600.0), "repeat", 15)
    assert frecency == pytest.approx(0.9574, abs=0.0001)  # 0.95732: to four digits .9573
    assert frecency == pytest.approx(share(recent, "repeat", 15), abs=0.0001)


def test_collegemsg_takes_seconds(college: World) -> None:
    began = time.process_time()
    hit_curve(college, "frecency")
    assert time.process_time() - began < 4


# --------------------------------------------------------------------------- chart and command line


def test_the_chart_shows_the_tables() -> None:
    tables = {policy: hit_curve(chats(LOG), policy) for policy in ("recent", "frequent")}
    figure = charts.hit_curves(tables)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["conversation openings (3)", "all messages (11)"]
    for axes, of in zip(figure.axes, ("openings", "all"), strict=True):
        for policy, table in tables.items():
            line = next(line for line in axes.get_lines() if line.get_label() == policy)
            rows = table[(table["of"] == of) & np.isfinite(table["k"])]
            assert line.get_xydata().tolist() == np.stack([rows["k"], 100 * rows["hit_share"]], axis=1).tolist()
        ceiling = next(line for line in axes.get_lines() if line.get_label() == "all contacts")
        assert set(ceiling.get_ydata()) == {100 * share(tables["recent"], of, math.inf)}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["recent", "frequent", "all contacts"]


@pytest.mark.parametrize("tables", [{}, {"recent": hit_curve(chats([], groups=[(1.0, ANN)]))}], ids=["no policy", "no message"])
def test_the_chart_of_nothing_says_so(tables: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    figure = charts.hit_curves(tables)
    assert [axes.texts[0].get_text() for axes in figure.axes] == ["no such messages"] * 2
    charts.write_figure(figure, tmp_path, "nothing")


def mine(folder: Path) -> str:
    """The hand-solved log as a scenario file."""
    lines = [f"2024-05-01T10:{int(when) // 60:02d}:{int(when) % 60:02d},u{sender},u{to}" for when, sender, to in LOG]
    (folder / "log.csv").write_text("time,sender,recipient\n" + "\n".join(lines) + "\n", encoding="utf-8")
    (folder / "mine.toml").write_text(f'name = "mine"\n[workload]\ntrace = "{folder / "log.csv"}"\nduration_s = 0.0\n', encoding="utf-8")
    return str(folder / "mine.toml")


def test_the_command_prints_the_table_and_its_sentence(chatsim: Cli, tmp_path: Path) -> None:
    said = chatsim("friends", mine(tmp_path), "--opening-gap-s", "100")
    assert (said.status, said.err) == (0, "")
    rows = [line.split() for line in said.out.splitlines()]
    assert ["3", *["40.0"] * 4, *["72.7"] * 4] in rows
    assert ["all", *["40.0"] * 4, *["72.7"] * 4] in rows
    assert "Of 5 conversation openings, a recent list holds the partner: of 15 in 40.0 %" in said.out


def test_the_command_in_json_is_the_table(chatsim: Cli, tmp_path: Path) -> None:
    said = chatsim("friends", mine(tmp_path), "--half-life-s", "10", "--json")
    figures = json.loads(said.out)
    assert figures["first_ever_share"] == 3 / 11
    shares = {(row["policy"], row["k"]): row["hit_share"] for row in figures["curves"] if row["of"] == "all"}
    assert (shares[("recent", 2)], shares[("frecency", 2)]) == (5 / 11, 4 / 11)
    assert shares[("frecency", "all")] == 8 / 11


def test_the_command_takes_the_librarys_defaults() -> None:
    parameters = inspect.signature(cli.friends).parameters
    assert parameters["opening_gap_s"].default == friendlists.OPENING_GAP_S
    assert parameters["half_life_s"].default == friendlists.HALF_LIFE_S


def test_the_command_without_private_messages_says_so(chatsim: Cli, tmp_path: Path) -> None:
    (tmp_path / "rooms.csv").write_text("time,sender,room\n0,u1,hall\n5,u2,hall\n", encoding="utf-8")
    said = chatsim("friends", "hub", "--set", "workload.trace=rooms.csv", "--set", "workload.duration_s=0.0", "--out", "here")
    assert (said.status, said.err) == (0, "")
    assert ["15", *["-"] * 8] in [line.split() for line in said.out.splitlines()]
    assert "No private messages" in said.out


def test_the_command_reads_another_workload(chatsim: Cli) -> None:
    options = ("--set", "workload.users=100", "--set", "workload.duration_s=3600", "--json")
    asked = json.loads(chatsim("friends", "--workload", "small", *options).out)
    assert asked == json.loads(chatsim("friends", "hub", "--workload", "small", *options).out)
    assert asked["curves"][0]["count"] > 0


def test_the_command_writes_table_chart_scenario_and_provenance(chatsim: Cli, tmp_path: Path) -> None:
    for place in ("one", "two"):
        assert chatsim("friends", mine(tmp_path), "--out", place).status == 0
    files = {str(path.relative_to(tmp_path / "one")) for path in (tmp_path / "one").rglob("*") if path.is_file()}
    assert files == {"charts/friend_lists.png", "charts/friend_lists.svg", "friend_lists.parquet", "scenario.toml", "provenance.json"}
    one, two = (pq.read_table(tmp_path / place / "friend_lists.parquet") for place in ("one", "two"))
    assert one.equals(two)
    assert one.column_names == ["policy", "k", "of", "hit_share", "count"]
    assert one.num_rows == 4 * (len(LIMITS) + 1) * len(SETS)
    again = chatsim("friends", mine(tmp_path), "--out", "one")
    assert (again.status, again.out) == (2, "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--half-life-s", "0"], "chatsim: half_life_s = 0: at least 0.001 s is needed\n"),
        (["--opening-gap-s", "-5"], "chatsim: opening_gap_s = -5: at least 0 s is needed\n"),
    ],
)
def test_the_command_refuses_in_one_line(chatsim: Cli, tmp_path: Path, arguments: list[str], said: str) -> None:
    refused = chatsim("friends", mine(tmp_path), *arguments, "--out", "results")
    assert (refused.status, refused.out, refused.err) == (2, "", said)
    assert not (tmp_path / "results").exists()
