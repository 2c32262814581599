"""The evidence of a report: what its sentences say is in its tables, its charts show these, and nothing overlaps."""

from __future__ import annotations

import math
import re
from functools import cache

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from chatsim import build_world, load_scenario
from chatsim.analysis import latency_ms, percentiles
from chatsim.analysis.last_member import last_member, session_links_s
from chatsim.analysis.recovery import recovery, tries_s
from chatsim.analysis.resources import errors_over_time, errors_s, use_over_time
from chatsim.engine import Fate, Outcome, simulate
from chatsim.engine.outcome import Cause, FaultKind, SessionFate
from chatsim.report import evidence, evidence_charts
from chatsim.report.evidence import compared, exhibits, tornado_exhibit
from chatsim.report.exhibit import Exhibit
from chatsim.report.reference import COLLEGEMSG, collegemsg_hits
from chatsim.report.style import ms_said, share_said
from chatsim.scenario import Scenario
from chatsim.study.sensitivity import Screened
from chatsim.theory.fanout import lognormal_max, lognormals_max
from tests.outcomes import outcome
from tests.test_charts import AWKWARD, drawn, legend_names, texts

SMALL = ["workload.users=1500", "workload.duration_s=200"]


@cache
def run(design: str, sets: tuple[str, ...] = (), faults: tuple[str, ...] = ()) -> Outcome:
    asked = load_scenario(design, [*SMALL, *sets], faults=faults)
    return simulate(asked, build_world(asked))


@cache
def shown(design: str, sets: tuple[str, ...] = (), faults: tuple[str, ...] = ()) -> dict[str, Exhibit]:
    return {found.key: found for found in exhibits(run(design, sets, faults))}


CASES = [
    ("hub", (), ()),
    ("phoenix", ("design.gateways=12", "presence.show_to=all"), ()),
    ("go-chat", ("friend_list.policy=recent",), ("database-down", "rolling-deploy")),
    ("room-channel", ("name=<b>a long name of $x$ & co that goes on and on</b>",), ("half-the-gateways",)),
    ("room-channel", ("broker.nodes=10", "broker.topology=sharded"), ("redis-failover-30s", "slow-clients")),
]


# --------------------------------------------------------------------------- which there are


def test_what_does_not_apply_is_left_out() -> None:
    every = ["latency_by_percentile", "breakdown", "latency_over_time", "use", "fan_out"]
    assert list(shown("hub")) == every
    assert list(shown(*CASES[2])) == [*every, "friend_lists", "faults", "storm"]
    assert [found.key for found in exhibits(run("hub"), rerun=False)] == [key for key in every if key != "breakdown"]
    assert exhibits(outcome(), rerun=False) == []


def test_several_designs_are_compared() -> None:
    calm = compared({name: run(name) for name in ("hub", "go-chat")})
    assert [found.key for found in calm] == ["latency_by_percentile", "breakdown_by_design"]
    struck = {name: run(name, (), ("half-the-gateways",)) for name in ("room-channel", "phoenix")}
    assert [found.key for found in compared(struck, rerun=False)] == ["latency_by_percentile", "storm"]
    assert compared({"nothing": outcome()}, rerun=False) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join([case[0], *case[2]]))
def test_each_has_title_units_sentence_and_table(case: tuple[str, tuple[str, ...], tuple[str, ...]]) -> None:
    for key, found in shown(*case).items():
        assert found.key == key
        assert re.fullmatch(r"[a-z_]+", key)
        assert found.title
        assert found.conclusion.endswith(".")
        assert "nan" not in found.conclusion
        assert len(found.table)
        assert isinstance(found.figure, Figure)
        said = texts(found.figure)
        assert any(unit in text for text in said for unit in ("(ms)", "(%)", "(s)", "(per 100 ms)")), said


# --------------------------------------------------------------------------- the sentences


def test_the_sentence_of_percentiles_is_their_figures() -> None:
    figures = percentiles(latency_ms(run("hub")))
    said = shown("hub")["latency_by_percentile"].conclusion
    assert said.startswith(f"Half of {figures['count']:,} live deliveries take at most {ms_said(figures['p50_ms'])}, ")
    assert f"99 % at most {ms_said(figures['p99_ms'])}" in said
    assert said.endswith(f"the slowest takes {ms_said(figures['max_ms'])}.")


def test_the_sentence_of_the_breakdown_is_its_largest_part() -> None:
    asked = ("gateway.cores=1", "gateway.receive_us=500000", "workload.duration_s=300")
    found = shown("hub", asked)["breakdown"]
    table = found.table[found.table["percentile"] == "p99"]
    top = table.sort_values("share").iloc[-1]
    assert (top["place"], top["what"]) == ("gateways", "waits")
    assert found.conclusion.startswith(
        f"Near p99, {share_said(top['share'])} of the {ms_said(top['whole_ms'])} is waiting for gateways; near p50, "
    )
    waits = table.loc[table["what"] == "waits", "share"].sum()
    assert f"all waiting together is {share_said(waits)} of it" in found.conclusion


def test_the_sentence_of_designs_is_what_they_add() -> None:
    found = compared({name: run(name) for name in ("hub", "go-chat")})[1]
    rows = found.table[(found.table["percentile"] == "p99") & ~found.table["place"].str.endswith("'s link")]
    added = rows.groupby("design")["mean_ms"].sum()
    assert found.conclusion.startswith(
        f"Near p99 the way between the clients' links takes from {ms_said(added['hub'])} (hub) to "
        f"{ms_said(added['go-chat'])} (go-chat), of which "
    )
    assert found.conclusion.endswith("is work of the database.")
    assert found.figure is not None
    labels = [text.get_text() for text in found.figure.axes[1].texts]
    assert [label.partition(" of ")[0] for label in labels] == [f"{added['hub']:.3g}", f"{added['go-chat']:.3g}"]


def test_the_sentence_over_time_names_the_worst_tenth() -> None:
    rows = [{"message": place, "time_s": place / 100 + (0.5 if 300 <= place < 310 else 0.02)} for place in range(1000)]
    one = outcome([{"time_s": place / 100} for place in range(1000)], rows)
    found = evidence.heat_exhibit(one)
    assert found is not None
    # some arrive in the next tenth, and after the end of the run; the slow ones in the fourth, as do 100 others
    assert found.table["deliveries"].tolist() == [98, 100, 100, 100, 100, 100, 100, 100, 100, 100]
    assert found.conclusion == "In the worst tenth of the run, 3 to 4 s, the longest latency is 500 ms, in the best 20 ms."
    late = outcome([{"time_s": 9.9}], [{"time_s": 10.5}, {"time_s": 11.0}])
    found = evidence.heat_exhibit(late)
    assert found is not None
    assert found.conclusion == "All that was delivered came after the run was to end."


def test_the_sentence_of_use_is_its_table() -> None:
    ticks = [
        {"station": 0, "start_s": 0.0, "end_s": 1.0, "items": 3, "waiting": 4},
        {"station": 1, "start_s": 5.0, "end_s": 8.0, "items": 1, "waiting": 0},
    ]
    found = evidence.use_exhibit(outcome([{}], [{}], ticks=ticks, gateway={"cores": 1}))
    assert found is not None
    assert found.conclusion == (
        "Busiest is gateway-1: 30 % of the time, and at most 100 % within 0.1667 s. The longest queue is 7 items at "
        "gateway-0, 0 to 0.1667 s. Errors: none."
    )
    assert found.figure is not None
    assert any(text.startswith("no errors") for text in texts(found.figure))


def test_the_sentence_of_faults_is_the_recovery() -> None:
    case = CASES[2]
    row, found = recovery(run(*case)), shown(*case)["faults"]
    assert "outage of the database, drain of 4 gateways" in found.conclusion
    assert f"{row['lost']:,} are lost and {row['refused']:,} refused over the run" in found.conclusion
    assert f"{row['sessions_hit']:,} sessions were cut" in found.conclusion
    assert shown(*case)["storm"].conclusion.startswith(f"{len(tries_s(run(*case))):,} tries to come back, at most ")


def test_the_storms_of_two_designs_are_told_apart() -> None:
    runs = {name: run(name, (), ("half-the-gateways",)) for name in ("room-channel", "phoenix")}
    found = evidence.storm_of_designs(runs)
    assert found is not None
    peaks = found.table.set_index("design")["peak_tries_per_100ms"]
    worst, least = peaks.idxmax(), peaks.idxmin()
    assert found.conclusion.startswith(f"{worst}: ")
    assert f"at most {peaks[worst]:,} of them in 100 ms" in found.conclusion
    assert found.conclusion.endswith(f"{least}: at most {peaks[least]:,} in 100 ms.")


def test_the_sentence_of_friends_is_the_curve() -> None:
    found = shown(*CASES[2])["friend_lists"]
    own = found.table[found.table["source"] == "this run (recent)"]
    openings = own[own["of"] == "openings"].set_index("k")["hit_share"]
    assert found.conclusion == (
        f"A list of 15 holds the partner at {share_said(openings[15.0])} of conversation openings, one of all contacts at "
        f"{share_said(openings[math.inf])}; in CollegeMsg (real log) 15 hold it at 56 %."
    )
    assert found.figure is not None
    assert legend_names(found.figure) == ["this run (recent)", COLLEGEMSG, "all contacts"]


def test_the_real_log_is_as_published() -> None:
    table = collegemsg_hits()
    every = table[table["of"] == "all"].set_index("k")["hit_share"]
    assert every.to_dict() == {
        1: 0.459, 2: 0.601, 3: 0.652, 5: 0.690, 10: 0.722, 15: 0.736, 20: 0.744, 30: 0.753, 50: 0.761,
    }  # fmt: skip
    assert table[table["of"] == "openings"][["k", "hit_share"]].to_numpy().tolist() == [[15.0, 0.557]]


def test_a_tornado_names_what_moves_most() -> None:
    table = pd.DataFrame(
        {
            "key": ["a.b_us", "c.d_us"], "low": 1.0, "high": 2.0, "kind": ["assumption", "measured"], "source": "",
            "mu_star": [6.0, 2.0], "mu": [-6.0, 2.0], "sigma": 1.0,
        }
    )  # fmt: skip
    points = pd.DataFrame({"p99_ms": [1.0, 3.0]})
    found = tornado_exhibit(Screened(Scenario(), "p99_ms", "morris", table, points))
    assert found is not None
    assert found.conclusion == (
        "a.b_us moves p99_ms most, which is an assumption, 3 times as much as c.d_us. 2 points: p99_ms between 1 and 3, "
        "median 2."
    )
    still = table.assign(mu_star=0.0)
    assert tornado_exhibit(Screened(Scenario(), "p99_ms", "morris", still, points)) is None


# --------------------------------------------------------------------------- the last member


def test_the_last_member_against_the_bound_by_hand() -> None:
    """Links of 10 ms without any spread: the bound is 20 ms; the servers add 5, and 1 ms for each write before."""
    asked = {"client_ms_median": 10.0, "client_sigma": 0.0, "jitter_sigma": 0.0}
    sessions = [{"user": user} for user in range(5)]
    messages = [{"time_s": 1.0, "session": 0}, {"time_s": 2.0, "session": 0}, {"time_s": 3.0, "session": 0}]
    reached = [(0, 1), (1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (2, 4)]
    rows = [
        {"message": message, "session": session, "time_s": 1.0 + message + 0.024 + 0.001 * session}
        for message, session in reached
    ]
    rows.append({"message": 2, "session": 4, "time_s": 99.0, "fate": Fate.READ_LATER})
    one = outcome(messages, rows, sessions, network=asked)
    table = last_member(one).set_index("sessions")
    assert table["messages"].to_dict() == {"1": 1, "3-4": 2}
    assert table["sessions_mean"].to_dict() == {"1": 1.0, "3-4": 3.5}
    assert table["last_mean_ms"].tolist() == pytest.approx([25.0, (27 + 28) / 2])
    assert table["each_mean_ms"].tolist() == pytest.approx([25.0, (26 + 26.5) / 2])
    assert table["bound_ms"].tolist() == pytest.approx([20.0, 20.0])
    assert table["last_p99_ms"].isna().all()
    found = evidence.fan_out_exhibit(one)
    assert found is not None
    assert found.conclusion == (
        "In the mean all of 3-4 sessions have a message after 27.5 ms, 1.38 times the fork-join bound of the links alone; "
        "the 1 session has it after 25 ms, 1.25 times."
    )


def test_the_bound_is_that_of_theory_for_links_alike() -> None:
    assert lognormals_max([15.0] * 7, 0.3) == pytest.approx(lognormal_max(7, 15.0, 0.3), rel=1e-4)
    assert lognormals_max([10.0], 0.2) == pytest.approx(10.0 * math.exp(0.02), rel=1e-6)
    assert lognormals_max([1.0, 30.0], 0.0) == 30.0
    assert lognormals_max([1e-6, 30.0], 0.2) == pytest.approx(30.0 * math.exp(0.02), rel=1e-6)
    luck = np.random.default_rng(1)
    medians = np.array([5.0, 20.0, 22.0, 30.0])
    drawn_ms = (medians * np.exp(0.25 * luck.standard_normal((200_000, 4)))).max(axis=1)
    # a mean of 200,000: false alarm at 5 standard errors in 6e-7 of all seeds
    error = 5 * drawn_ms.std() / math.sqrt(len(drawn_ms))
    assert lognormals_max(medians, 0.25) == pytest.approx(drawn_ms.mean(), abs=error)
    with pytest.raises(ValueError, match="positive medians are needed"):
        lognormals_max([], 0.2)


def test_no_class_lies_below_its_bound() -> None:
    """Servers only add. What is left to luck is the jitter: with 10 messages 0.2 / sqrt(10) of a link, 5 times that."""
    for design in ("hub", "go-chat", "phoenix"):
        table = last_member(run(design))
        table = table[table["messages"] >= 10]
        assert len(table) >= 3
        room = 5 * 0.2 * 2 / np.sqrt(table["messages"])
        assert (table["last_mean_ms"] > table["bound_ms"] * (1 - room)).all()
        assert (table["last_mean_ms"] < table["bound_ms"] * 1.5).all()


def test_links_are_those_of_the_run() -> None:
    one = run("room-channel", ("network.jitter_sigma=0", "design.store=never", "design.offline=drop"), ("half-the-gateways",))
    links_s = session_links_s(one)
    assert len(links_s) == len(one.sessions["origin"]) > len(one.world.sessions)
    live = one.deliveries["fate"] == Fate.DELIVERED
    took_s = one.deliveries["time_s"][live] - one.deliveries["written_s"][live]
    least_s = links_s[one.deliveries["session"][live]]
    sending_s = one.messages["size_bytes"][one.deliveries["message"][live]] / one.scenario.network.downlink_bytes_per_s
    alone = took_s < least_s + sending_s + 1e-9
    assert (took_s >= least_s + sending_s - 1e-9).all()
    assert alone.mean() > 0.9


# --------------------------------------------------------------------------- resources


def test_errors_are_counted_where_they_happened() -> None:
    messages = [{"time_s": float(second), "recipients": 1} for second in range(8)]
    causes = [
        (Fate.LOST, Cause.OUTBOUND_FULL), (Fate.LOST, Cause.TRIMMED), (Fate.REFUSED, Cause.UNAVAILABLE),
        (Fate.REFUSED, Cause.UNAVAILABLE), (Fate.LOST, Cause.LEFT), (Fate.REFUSED, Cause.TOO_MANY),
        (Fate.LOST, Cause.CRASHED), (Fate.DELIVERED, Cause.NONE),
    ]  # fmt: skip
    rows = [{"message": place, "fate": fate, "cause": cause} for place, (fate, cause) in enumerate(causes)]
    sessions = [
        {"fate": SessionFate.CUT, "cut_s": 4.5}, {"fate": SessionFate.FAILED, "start_s": 5.5},
        {"fate": SessionFate.REFUSED, "start_s": 6.5}, {"fate": SessionFate.LEFT},
    ]  # fmt: skip
    down = [{"kind": FaultKind.DATABASE_DOWN, "station": 3, "start_s": 2.5, "end_s": 3.5}]
    one = outcome(messages, rows, sessions, strikes=down, ticks=[{}])
    assert one.stations[3] == "database"
    assert {place: at_s.tolist() for place, at_s in errors_s(one).items()} == {
        "gateway": [0.0, 4.5], "broker": [1.0, 2.0], "database": [3.0], "logins": [5.5, 6.5],
    }  # fmt: skip
    table = errors_over_time(one, 5.0)
    assert table["errors"].tolist() == [2, 0, 2, 0, 1, 0, 0, 2]
    assert [*table["start_s"][:2], *table["end_s"][:2]] == [0, 5, 5, 10]


def test_what_a_fault_stops_is_an_error_of_what_it_struck() -> None:
    one = run("room-channel", (), ("redis-failover-5s",))
    assert len(errors_s(one)["broker"]) == (one.breaks["cause"] == Cause.BROKER_DOWN).sum() > 0
    assert errors_over_time(one, 10.0)["errors"].sum() == sum(len(at_s) for at_s in errors_s(one).values())


def test_queues_of_resources_are_the_longest() -> None:
    ticks = [{"station": 0, "start_s": 1.0, "end_s": 3.0, "items": 2, "waiting": 5, "waited_s": 0.5}]
    table = use_over_time(outcome([{}], ticks=ticks, gateway={"cores": 1}), 5.0)
    first = table[table["station"] == "gateway-0"]
    assert first["utilisation"].tolist() == pytest.approx([0.4, 0.0])
    assert first["queue_items"].tolist() == [7, 0]


def test_of_many_stations_the_busiest_are_shown() -> None:
    ticks = [{"station": place, "start_s": 0.0, "end_s": 0.1 * (place + 1)} for place in range(20)]
    one = outcome([{}], ticks=ticks, design={"gateways": 20})
    use = use_over_time(one, 5.0)
    names = evidence_charts.shown_stations(use)
    assert names == [*(f"gateway-{place}" for place in range(12, 20)), "broker-0", "database"]
    figure = evidence_charts.use_strips(one, use, errors_over_time(one, 5.0))
    assert "utilisation (%), mean at the right (8 busiest of 20 gateways)" in texts(figure)


# --------------------------------------------------------------------------- what charts look like


def bars(figure: Figure, panel: int) -> float:
    return sum(bar.get_width() for bar in figure.axes[panel].patches)


def test_bars_of_the_breakdown_add_up() -> None:
    found = shown("go-chat")["breakdown"]
    assert found.figure is not None
    for panel, name in enumerate(("p50", "p99")):
        part = found.table[found.table["percentile"] == name]
        assert bars(found.figure, panel) == pytest.approx(part["mean_ms"].sum()) == pytest.approx(part["whole_ms"].iloc[0])


def test_faults_are_marked_on_the_heat_map_and_the_strips() -> None:
    found = shown(*CASES[3])
    for key in ("latency_over_time", "use"):
        figure = found[key].figure
        assert figure is not None
        assert "crash of gateway-0 and gateway-1" in texts(figure)
        spans = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in figure.axes[0].patches]
        assert (60.0, 120.0) in spans


def overlaps(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Texts that are small, clipped, or over another one."""
    boxes = drawn(figure, monkeypatch)
    page, wrong = figure.bbox.padded(2), []
    for place, (text, box) in enumerate(boxes):
        if text.get_fontsize() < 7.5 or not (page.contains(box.x0, box.y0) and page.contains(box.x1, box.y1)):
            wrong.append(text.get_text())
        for other, beside in boxes[place + 1 :]:
            common = Bbox.intersection(box, beside)
            if common is not None and min(common.width, common.height) > 2:
                wrong.append(f"{text.get_text()} / {other.get_text()}")
    return wrong


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join([case[0], *case[2]]))
def test_no_text_is_small_clipped_or_over_another(
    case: tuple[str, tuple[str, ...], tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, found in shown(*case).items():
        assert found.figure is not None
        assert overlaps(found.figure, monkeypatch) == [], key


def test_no_text_overlaps_with_ten_designs(monkeypatch: pytest.MonkeyPatch) -> None:
    table = shown("go-chat")["breakdown"].table
    tables = {f"{AWKWARD[place % len(AWKWARD)]}{place}": table for place in range(10)}
    figure = evidence_charts.breakdown_by_design(tables)
    assert overlaps(figure, monkeypatch) == []
    assert overlaps(evidence_charts.breakdown_by_design({}), monkeypatch) == []
    assert overlaps(evidence_charts.breakdown_chart(table.iloc[:0]), monkeypatch) == []


def test_parts_are_told_apart_without_colour() -> None:
    for looks in (evidence_charts.WHAT_LOOKS, evidence_charts.DESIGN_LOOKS):
        seen = {(look.get("hatch", ""), _grey(look["facecolor"])) for look in looks.values()}
        assert len(seen) == len(looks)


def _grey(color: str) -> int:
    """The lightness of a colour in fifths: what differs by less is alike in print."""
    red, green, blue = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    return round((0.299 * red + 0.587 * green + 0.114 * blue) / 51)
