"""The two questions of a review, how many friends and who reads what: figures, tables, charts, commands, wrong input."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pyarrow.parquet as pq
import pytest
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from chatsim import analysis, study
from chatsim.engine import Outcome, simulate
from chatsim.report import questions
from chatsim.report.charts import write_figure
from chatsim.report.style import number
from chatsim.report.terminal import console
from chatsim.scenario import InputError, Scenario, load_scenario
from chatsim.study.questions import LIMITS, POLICIES, ROOMS
from chatsim.world import build_world
from tests.conftest import Said
from tests.test_charts import drawn, texts

Cli = Callable[..., Said]
SMALL = (
    "workload.users=200",
    "workload.duration_s=120",
    "workload.sessions.per_day=300",
    "workload.conversations.messages_per_day=800",
    "workload.friends.degree_median=20",
    "workload.friends.degree_mean=30",
)
TRIED = ("workload.intruders.share=0.2", "workload.intruders.tries_per_hour=300", "workload.relations.ends_per_day=200")
SHORT = "workload.duration_s=20"
"""For what hangs on the runs' designs and files, and not on what happens in them."""
ASKED = (*(part for change in (*SMALL, SHORT) for part in ("--set", change)), "--jobs", "1")


def small(design: str, *changes: str) -> Scenario:
    return load_scenario(design, [*SMALL, *changes])


@lru_cache
def limits_of_go_chat() -> pd.DataFrame:
    return study.list_limits(small("go-chat"), ("3", "10", "all"))


@lru_cache
def reads_of_room_channel() -> pd.DataFrame:
    return study.rooms_and_access(small("room-channel", *TRIED))


def outcome_of(design: str, *changes: str) -> Outcome:
    asked = small(design, *changes)
    return simulate(asked, build_world(asked))


def same(row: pd.Series, figures: pd.Series) -> None:
    """A row of a question's table has the figures of one run."""
    assert row[list(figures.index)].astype(float).to_dict() == pytest.approx(figures.astype(float).to_dict(), nan_ok=True)


# ------------------------------------------------------------------- figures


def test_each_limit_is_one_run_on_the_same_trace() -> None:
    table = limits_of_go_chat()
    assert table["limit"].tolist() == ["3", "10", "all"]
    shown = ("presence.show_to=list", "presence.how=push")
    for row, listed in enumerate(
        (("friend_list.policy=recent", "friend_list.limit=3"), ("friend_list.policy=recent", "friend_list.limit=10"), ("friend_list.policy=all",))
    ):
        same(table.iloc[row], analysis.friend_list(outcome_of("go-chat", *shown, *listed)))
    assert table["openings"].nunique() == 1
    assert table["openings"].iloc[0] > 20
    for rising in ("hit_share", "listed_mean", "presence_notices", "list_bytes"):
        assert table[rising].is_monotonic_increasing
        assert table[rising].iloc[0] < table[rising].iloc[-1]
    assert table["abandoned"].iloc[-1] < table["abandoned"].iloc[0]


@pytest.mark.parametrize(("policy", "taken"), [("frequent", "frequent"), ("none", "recent"), ("all", "recent")])
def test_a_list_keeps_its_ranking(policy: str, taken: str) -> None:
    seen: list[Outcome] = []
    study.list_limits(small("hub", SHORT, f"friend_list.policy={policy}"), ("4", "all"), note=seen.append)
    asked = [outcome.scenario.friend_list for outcome in seen]
    assert [(one.policy, one.limit) for one in asked] == [(taken, 4), ("all", asked[1].limit)]
    assert seen[0].world is seen[1].world
    assert {outcome.scenario.presence.show_to for outcome in seen} == {"list"}


def test_the_same_limit_is_asked_once() -> None:
    assert study.list_limits(small("hub", SHORT), (" 5", "5", "05", "all ", "all"))["limit"].tolist() == ["5", "all"]


@pytest.mark.parametrize("wrong", ["0", "", "-3", "1.5", "1e3", "²"])
def test_a_limit_is_a_whole_number_or_all(wrong: str) -> None:
    with pytest.raises(InputError, match=r"^--limits.*: a whole number from 1 on, or 'all', is needed$"):
        study.list_limits(small("hub"), ("15", wrong))


def test_each_kind_of_rooms_is_run_under_each_policy() -> None:
    table = reads_of_room_channel()
    assert list(zip(table["rooms"], table["access"], strict=True)) == [(rooms, policy) for rooms in ROOMS for policy in POLICIES]
    for row, asked in table.groupby(["rooms", "access"], sort=False).head(1).iterrows():
        if asked["access"] == "friends":
            outcome = outcome_of("room-channel", *TRIED, f"design.rooms={asked['rooms']}", "access.policy=friends")
            same(table.loc[row], analysis.who_reads(outcome))
            assert asked["latency_p50_ms"] == pytest.approx(analysis.latency(outcome)["p50_ms"].iloc[0])
    by = table.set_index(["rooms", "access"])
    assert by.loc["pair", "overheard"].eq(0).all()
    assert by.loc["group", "overheard"].gt(0).all()
    # clients may not join a room by asking, but into a personal one they come by writing
    assert by["entered"][by["entered"] > 0].index.tolist() == [("personal", "open"), ("personal", "friends")]
    assert by.loc[("personal", "open"), "entered"] > by.loc[("personal", "friends"), "entered"]
    # open access never stops a message across a tie that has ended, the database at once
    assert by.xs("open", level="access")["forbidden"].eq(0).all()
    assert by.xs("friends", level="access")["forbidden"].gt(0).all()
    assert by.xs("friends", level="access")["crossed"].eq(0).all()
    assert table["ended"].nunique() == table["tried"].nunique() == 1


def test_a_workload_without_trouble_gets_a_little_and_keeps_what_it_says() -> None:
    seen: list[Outcome] = []
    study.rooms_and_access(
        small("go-chat", SHORT, "workload.intruders.tries_per_hour=77", "workload.relations.block_share=0.25"), note=seen.append
    )
    workloads = {outcome.scenario.workload for outcome in seen}
    (workload,) = workloads
    assert (workload.intruders.share, workload.intruders.tries_per_hour) == (0.01, 77)
    assert (workload.relations.ends_per_day, workload.relations.block_share) == (1.0, 0.25)
    # a channel per user must know who is in a personal room elsewhere
    kept = [(outcome.scenario.design.rooms, outcome.scenario.design.membership) for outcome in seen]
    assert kept == [("personal", "broker")] * 3 + [("pair", "memory")] * 3 + [("group", "memory")] * 3
    mine: list[Outcome] = []
    study.rooms_and_access(small("hub", SHORT, *TRIED), note=mine.append)
    assert {outcome.scenario.workload for outcome in mine} == {small("hub", SHORT, *TRIED).workload}


# -------------------------------------------------------------------- tables


def list_rows(limits: list[str], **columns: Any) -> pd.DataFrame:
    """A table of limits, with figures that grow, or those named."""
    grown = {
        name: [10 * (row + 1) for row in range(len(limits))]
        for name in ("openings", "searches", "turned", "abandoned", "redis_ops", "peak_subscriptions", "presence_notices")
    }
    shares = {name: [0.1 + row / 20 for row in range(len(limits))] for name in ("hit_share",)}
    times = {name: [1000.0 + row for row in range(len(limits))] for name in ("login_ms_p50", "login_ms_p99")}
    return pd.DataFrame({"limit": limits, **grown, **shares, **times, "memory_bytes": 6.1e7, **columns})


def read_rows(**columns: Any) -> pd.DataFrame:
    """A table of all rooms and policies, with figures of nothing, or those named."""
    nothing = {
        "private": 0, "overheard": 0, "overheard_share": math.nan, "by_intruders": 0, "tried": 0, "entered_share": math.nan,
        "ended": 0, "crossed": 0, "forbidden": 0, "lag_s_max": math.nan, "never": 0,
    }
    pairs = [{"rooms": rooms, "access": policy} for rooms in ROOMS for policy in POLICIES]
    return pd.DataFrame(pairs).assign(**{**nothing, **columns})


def printed(show: Callable[[pd.DataFrame, Any], None], table: pd.DataFrame) -> str:
    out = console()
    with out.capture() as capture:
        show(table, out)
    return capture.get()


def test_what_lists_come_to_in_a_sentence() -> None:
    assert questions.limits_verdict(list_rows(["15"])) == (
        "With 15 friends: hits 10 % of 10 openings; given up 10; login p99 1,000 ms."
    )
    said = questions.limits_verdict(list_rows(["15", "all"], presence_notices=[0, 5], login_ms_p99=math.nan))
    assert said == "From 15 to all friends: hits 10 % to 15 % of 10 openings; given up 10 to 20; login p99 - to - ms."


@pytest.mark.parametrize("size", [1, 1_000_000])
def test_tables_fit_on_a_terminal(size: int) -> None:
    counts = ("openings", "searches", "turned", "abandoned", "redis_ops", "peak_subscriptions", "presence_notices")
    many = list_rows(list(LIMITS), **dict.fromkeys(counts, 987_654 * size // 1_000_000))
    shown = printed(questions.show_list_limits, many)
    assert max(map(len, shown.splitlines())) <= 100
    assert shown.count(f"{987_654 * size // 1_000_000:,}") >= 4
    full = read_rows(private=123_456 * size, overheard_share=0.123, ended=size, lag_s_max=599.4, entered_share=0.5)
    shown = printed(questions.show_who_reads, full)
    assert max(map(len, shown.splitlines())) <= 100
    assert [line.split()[:2] for line in shown.splitlines() if line.startswith((" personal", " pair", " group"))] == [
        [rooms, policy] for rooms in ROOMS for policy in POLICIES
    ]


@pytest.mark.parametrize(
    ("show", "table"),
    [(questions.show_list_limits, limits_of_go_chat), (questions.show_who_reads, reads_of_room_channel)],
    ids=["list", "reading"],
)
def test_headers_of_the_tables_are_not_torn(
    show: Callable[[pd.DataFrame, Any], None], table: Callable[[], pd.DataFrame]
) -> None:
    lines = printed(show, table()).splitlines()
    rule = next(place for place, line in enumerate(lines) if "───" in line)
    assert len([line for line in lines[:rule] if line.strip()]) == 3  # the title and two lines of headers
    assert all(line.startswith(" ") for line in lines[rule + 1 : rule + 1 + len(table())])


def test_the_verdict_stands_below_the_list_table() -> None:
    shown = printed(questions.show_list_limits, limits_of_go_chat())
    assert " ".join(shown.split()).endswith(questions.limits_verdict(limits_of_go_chat()))


# -------------------------------------------------------------------- charts


def tidy(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts of a chart, none of which is small, clipped or over another."""
    boxes = drawn(figure, monkeypatch)
    page = figure.bbox.padded(2)
    for place, (text, box) in enumerate(boxes):
        assert text.get_fontsize() >= 8, text.get_text()
        assert page.contains(box.x0, box.y0), text.get_text()
        assert page.contains(box.x1, box.y1), text.get_text()
        for other, beside in boxes[place + 1 :]:
            common = Bbox.intersection(box, beside)
            assert common is None or min(common.width, common.height) <= 2, (text.get_text(), other.get_text())
    return [text.get_text() for text, _ in boxes]


def test_bars_of_the_list_chart_are_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    table = limits_of_go_chat()
    figure = questions.list_limits_chart(table)
    shown = tidy(figure, monkeypatch)
    assert len(figure.axes) == len(questions.LIST_PANELS) == 8
    for axes, (column, (_, _, factor)) in zip(figure.axes, questions.LIST_PANELS.items(), strict=True):
        values = factor * table[column].astype(float)
        assert [bar.get_height() for bar in axes.patches] == pytest.approx(values.tolist())
        assert [text.get_text() for text in axes.texts] == [number(value) for value in values]
        assert [label.get_text() for label in axes.get_xticklabels()] == ["3", "10", "all"]
    for words in ("How many friends on the list?", "partner listed\n(% of openings)", "login, p99\n(ms)", "friends listed"):
        assert words in shown


@pytest.mark.parametrize(
    "table",
    [
        list_rows(["15"]),
        list_rows(list(LIMITS), searches=123_456_789, redis_ops=987_654, memory_bytes=1.2345e9, login_ms_p99=1234.5),
        list_rows([str(limit) for limit in range(90, 1000, 70)], redis_ops=98_765, memory_bytes=1.2345e10),
        list_rows([str(limit) for limit in range(1, 41)]),
        list_rows(list(LIMITS), hit_share=math.nan, login_ms_p99=math.nan, searches=0, presence_notices=0),
        list_rows(["15", "30"], login_ms_p99=[math.nan, 12.0]),
    ],
    ids=["one", "large", "thirteen", "forty", "nothing", "half"],
)
def test_the_list_chart_is_tidy_whatever_it_shows(table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = questions.list_limits_chart(table)
    tidy(figure, monkeypatch)
    for axes, (column, (_, _, factor)) in zip(figure.axes, questions.LIST_PANELS.items(), strict=True):
        values = (factor * table[column].astype(float)).tolist()
        assert [bar.get_height() for bar in axes.patches] == pytest.approx([0 if math.isnan(value) else value for value in values])
        said = [text.get_text() for text in axes.texts]
        step = -(-len(values) // 12)
        assert said == ["-" if math.isnan(value) else number(value) for value in values[::step]]


def test_cells_of_the_reading_chart_are_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    table = reads_of_room_channel()
    figure = questions.who_reads_chart(table)
    shown = tidy(figure, monkeypatch)
    (axes,) = figure.axes
    (image,) = axes.images
    assert image.get_array().ravel().tolist() == pytest.approx(table["overheard_share"].tolist())
    bold = [text.get_text() for text in axes.texts if text.get_fontweight() == "bold"]
    assert bold == [f"{100 * share:.3g} %" for share in table["overheard_share"]]
    for words in ("Who reads what?", "access: open", "access: scopes", "personal\nrooms", "group\nrooms"):
        assert words in shown
    first = table.iloc[0]
    assert axes.texts[1].get_text() == (
        f"{first['by_intruders']} by intruders ({100 * first['entered_share']:.0f} % got in)\n"
        f"{first['crossed']} across ended ties ({first['ended']})\nnoticed never"
    )


def test_the_reading_chart_says_what_did_not_happen(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = questions.who_reads_chart(read_rows())
    assert "0 by intruders (nobody tried)\nno tie ended" in tidy(nothing, monkeypatch)
    assert "- %" in texts(nothing)
    half = read_rows(ended=12_345, never=2_345, lag_s_max=599.5, crossed=98_765, by_intruders=12_345, entered_share=1.0)
    shown = tidy(questions.who_reads_chart(half), monkeypatch)
    assert (
        "12,345 by intruders (100 % got in)\n98,765 across ended ties (12,345)\nnoticed in 600 s, 2,345 never"
    ) in shown


@pytest.mark.parametrize(
    ("draw", "table"),
    [(questions.list_limits_chart, list_rows(list(LIMITS))), (questions.who_reads_chart, read_rows())],
    ids=["list", "reading"],
)
def test_charts_become_files_of_the_same_bytes(
    draw: Callable[[pd.DataFrame], Figure], table: pd.DataFrame, tmp_path: Path
) -> None:
    written = [write_figure(draw(table), tmp_path / place, "chart") for place in ("a", "b")]
    for one, other in zip(*written, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert ElementTree.parse(written[0][1]).getroot().tag.endswith("svg")


# ------------------------------------------------------------------- commands

COMMANDS = {
    "friend-limit": (("friend-limit", "room-channel", "--limits", "3,all", *ASKED), "friend_limit", 2),
    "who-reads": (("who-reads", "room-channel", *ASKED), "who_reads", 9),
}


@pytest.mark.parametrize(("arguments", "name", "rows"), COMMANDS.values(), ids=COMMANDS)
def test_json_is_all_there_is(chatsim: Cli, tmp_path: Path, arguments: tuple[str, ...], name: str, rows: int) -> None:
    said = chatsim(*arguments, "--json", "--seed", "4")
    assert (said.status, said.err) == (0, "")
    figures = json.loads(said.out)
    assert set(figures) == {"chatsim", "seed", "rows"}
    assert figures["seed"] == 4
    assert len(figures["rows"]) == rows
    for row in figures["rows"]:
        assert all(value is None or isinstance(value, int | float | str) for value in row.values())
    counts = {"friend_limit": "openings", "who_reads": "private"}
    assert all(isinstance(row[counts[name]], int) for row in figures["rows"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("arguments", "name", "rows"), COMMANDS.values(), ids=COMMANDS)
def test_a_table_is_printed_and_a_folder_is_written_once(
    chatsim: Cli, tmp_path: Path, arguments: tuple[str, ...], name: str, rows: int
) -> None:
    said = chatsim(*arguments, "--out", "results/first")
    assert (said.status, said.err) == (0, "")
    lines = said.out.splitlines()
    # the last line names the folder, however long that is
    assert max(map(len, lines[:-1])) <= 100
    assert lines[-1].startswith("Written to results/first: ")
    out = tmp_path / "results" / "first"
    table = pq.read_table(out / f"{name}.parquet").to_pandas()
    assert len(table) == rows
    assert {path.name for path in (out / "charts").iterdir()} == {f"{name}.png", f"{name}.svg"}
    assert load_scenario(out / "scenario.toml").workload.users == 200
    told = json.loads((out / "provenance.json").read_text())
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert set(told["files"]) == files
    assert {f"{name}.parquet", "deliveries.parquet", "intrusions.parquet", f"charts/{name}.svg", "scenario.toml"} <= files
    assert (told["seed"], told["replications"], list(told["scenarios"])) == (1, 1, ["room-channel"])
    assert told["command"][0] == "chatsim"
    designs = set(pq.read_table(out / "messages.parquet").to_pandas()["design"])
    assert len(designs) == rows

    before = (out / "provenance.json").read_bytes()
    refused = chatsim(*arguments, "--out", "results/first")
    assert (refused.status, refused.out) == (2, "")
    assert refused.err.count("\n") == 1
    assert "--out results/first: holds a former result: a new folder is needed, or --force to replace it" in refused.err
    assert (out / "provenance.json").read_bytes() == before
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["first"]


def test_force_replaces_a_former_answer(chatsim: Cli, tmp_path: Path) -> None:
    arguments = COMMANDS["friend-limit"][0]
    for limits in ("3", "5"):
        assert chatsim(*arguments, "--limits", limits, "--out", "out", "--force").status == 0
    assert pq.read_table(tmp_path / "out" / "friend_limit.parquet").to_pandas()["limit"].tolist() == ["5"]


@pytest.mark.parametrize(
    ("arguments", "phrase"),
    [
        (["friend-limit", "go-chat", "--limits", "0"], "--limits 0: a whole number from 1 on, or 'all', is needed\n"),
        (["friend-limit", "go-chat", "--limits", "15,alll"], "--limits alll: a whole number from 1 on, or 'all', is needed; did you mean 'all'?"),
        (["friend-limit", "go-chat", "--limits", "15,,30"], "--limits : a whole number from 1 on"),
        (["friend-limit", "go-chat", "--limits=-5"], "--limits -5: a whole number from 1 on"),
        (["friend-limit", "go-chat", "--limit", "5"], "No such option: --limit"),
        (["friend-limit", "go-caht"], "did you mean 'go-chat'?"),
        (["friend-limit", "go-chat", "--jobs", "-1"], "--jobs -1: at least 1 is needed"),
        (["who-reads"], "Missing argument 'SCENARIO'"),
        (["who-reads", "go-chat", "--set", "access.polcy=open"], "unknown key 'access.polcy'; did you mean 'policy'?"),
        (["who-reads", "go-chat", "--workload", "dya"], "neither a file nor a shipped workload"),
        (["who-raeds", "go-chat"], "No such command 'who-raeds'"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(
    chatsim: Cli, tmp_path: Path, arguments: list[str], phrase: str
) -> None:
    said = chatsim(*arguments, "--out", "out/deep")
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("chatsim: ")
    assert phrase in said.err
    assert said.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["friend-limit", "who-reads"])
def test_a_folder_of_somebody_else_is_left_alone(chatsim: Cli, tmp_path: Path, command: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    said = chatsim(command, "hub", *ASKED, "--out", "out", "--force")
    assert said.status == 2
    assert "is not empty and not a chatsim result" in said.err
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "thesis.txt"]
