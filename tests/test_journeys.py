"""One message's way: hops and pieces against journeys solved by hand, the diagram, the Perfetto file, the command."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chatsim.analysis.hops import PIECES, breakdown_ms, hops, last_delivery, passage
from chatsim.analysis.spans import lanes, spans
from chatsim.engine import Fate, Outcome, Recorder, simulate
from chatsim.engine.outcome import Columns
from chatsim.report.journeys import mermaid, perfetto
from chatsim.scenario import InputError, load_scenario, preset_names
from chatsim.study.follow import Followed, follow
from chatsim.world import build_world
from tests.worlds import ALWAYS, scenario, world

THREE = [(0, *ALWAYS), (1, *ALWAYS), (2, *ALWAYS)]
ANNA_TO_ALL = world(THREE, [[0, 1, 2]], [(1.0, 0, 0)])


def watched(people: Any = ANNA_TO_ALL, message: int = 0, **parts: Any) -> tuple[Outcome, Columns]:
    recorder = Recorder(message)
    outcome = simulate(scenario(**parts), people, recorder=recorder)
    return outcome, recorder.table()


def log(outcome: Outcome, visits: Columns, message: int = 0) -> list[tuple[Any, ...]]:
    """(ms since it was written, ms that it takes, kind, where), in the order of time."""
    table = hops(outcome, visits, message)
    since_s = float(outcome.messages["time_s"][message])
    at_ms = ((table["start_s"] - since_s) * 1e3).round(3)
    took_ms = ((table["end_s"] - table["start_s"]) * 1e3).round(3)
    where = table["place"].where(table["kind"].eq("work"), table["source"] + " > " + table["place"])
    return sorted(zip(at_ms, took_ms, table["kind"], where, strict=True))


def spent(outcome: Outcome, visits: Columns, message: int = 0) -> dict[str, float]:
    """What the last live delivery's time went on, in ms, without what took none."""
    row = last_delivery(outcome, message)
    parts = breakdown_ms(passage(outcome, visits, message, row))
    return {str(kind): round(ms, 3) for kind, ms in parts.items() if ms > 1e-3}


def test_global_channel_hop_by_hop() -> None:
    outcome, visits = watched(design={"routing": "global"})
    # up 10; receive 1 + command 4; 100; PUBLISH 16 + 2 x 32; 100; parse 2 + write 8; down 10
    assert log(outcome, visits) == [
        (0.0, 10.0, "uplink", "user 0 > gateway-0"),
        (10.0, 5.0, "work", "gateway-0"),
        (15.0, 100.0, "link", "gateway-0 > broker-0"),
        (115.0, 80.0, "work", "broker-0"),
        (195.0, 100.0, "link", "broker-0 > gateway-0"),
        (195.0, 100.0, "link", "broker-0 > gateway-1"),
        (295.0, 10.0, "work", "gateway-0"),
        (295.0, 10.0, "work", "gateway-1"),
        (305.0, 10.0, "downlink", "gateway-0 > user 2, session 2"),
        (305.0, 10.0, "downlink", "gateway-1 > user 1, session 1"),
    ]  # fmt: skip
    assert spent(outcome, visits) == {
        "sender's link": 10.0, "work": 5.0 + 80 + 10, "links between servers": 200.0, "recipient's link": 10.0,
    }  # fmt: skip


def test_what_waits_is_told_from_what_works() -> None:
    outcome, visits = watched(design={"routing": "directory"})
    # Gateway 0 (Cleo) is published to first: Ben's PUBLISH waits 48 at the broker. Work: 5 + 12 + 10 + 48 + 10.
    assert spent(outcome, visits) == {
        "sender's link": 10.0, "queue": 48.0, "work": 85.0, "links between servers": 400.0, "recipient's link": 10.0,
    }  # fmt: skip
    table = hops(outcome, visits, 0)
    publishes = table[table["what"].eq("PUBLISH") & table["kind"].eq("work")]
    assert (publishes["waits_s"] * 1e3).round(3).tolist() == [0.0, 48.0]


def test_a_look_up_per_recipient_is_told_apart_from_a_write() -> None:
    outcome, visits = watched(design={"routing": "global_per_recipient"})
    said = hops(outcome, visits, 0)["what"].value_counts().to_dict()
    assert said["reads the push and asks who is here"] == 4
    assert said["reads the push, writes to 1 session"] == 2
    assert said["reads the push, has nobody to write to"] == 2
    assert said["looks up where they are"] == 4


def test_ticks_cost_time_beside_the_items() -> None:
    # A tick of 3 before each item, all results at its end: two recipients on one gateway, 3 + 1 + 8 + 8, and down 10.
    gateway = {"flush": "tick", "tick_us": 3e3, "batch_max": 0}
    outcome, visits = watched(design={"routing": "in_process", "gateways": 1}, gateway=gateway)
    # the message is read in one tick (3 + 1) and fanned out in another (3 + 16)
    assert spent(outcome, visits) == {"sender's link": 10.0, "tick": 6.0, "work": 17.0, "recipient's link": 10.0}


def test_who_is_away_gets_no_hop_to_a_session() -> None:
    people = world([(0, *ALWAYS), (1, 5.0, 9.0)], [[0, 1]], [(1.0, 0, 0)])
    design = {"routing": "room", "store": "before", "offline": "store"}
    outcome, visits = watched(people, design=design)
    ends = hops(outcome, visits, 0).iloc[-1]
    assert (ends["kind"], ends["what"]) == ("downlink", "read later")
    assert last_delivery(outcome, 0) == -1
    outcome, visits = watched(world([(0, *ALWAYS)], [[0, 1]], [(1.0, 0, 0)]), design=design)
    ends = hops(outcome, visits, 0).iloc[-1]
    assert (ends["kind"], ends["place"], ends["what"]) == ("lost", "user 1", "stored")


def test_a_refused_message_says_why() -> None:
    people = world([(0, *ALWAYS), (1, *ALWAYS)], [[0, 1]], [(1.0, 0, 0), (1.001, 0, 0)])
    outcome, visits = watched(people, 1, limits={"messages_per_s": 1.0, "burst": 1})
    table = hops(outcome, visits, 1)
    assert "refused (too many)" in set(table["what"])
    assert table.iloc[-1]["what"] == "told that it was refused"


def test_a_fault_that_stops_a_message_is_a_hop() -> None:
    # The broker dies at 1.1 s, while the PUBLISH (15 to 115 ms after 1.0 s) travels.
    fault = {"kind": "broker_down", "at_s": 1.1, "for_s": 2.0}
    outcome, visits = watched(design={"routing": "global"}, faults=[fault])
    said = hops(outcome, visits, 0)["what"].tolist()
    assert "PUBLISH (never worked on)" in said
    assert "a fault stops it here: broker down" in said


@pytest.mark.parametrize("name", preset_names())
def test_the_pieces_of_every_delivery_add_up(name: str) -> None:
    asked = load_scenario(name, ["workload.users=150", "workload.duration_s=240"])
    people = build_world(asked)
    recorder = Recorder(from_s=0.0, to_s=1e9)
    outcome = simulate(asked, people, recorder=recorder)
    visits, table = recorder.table(), outcome.deliveries
    rows = np.flatnonzero(table["fate"] == Fate.DELIVERED)
    assert len(rows) > 5
    for row in rows.tolist():
        message = int(table["message"][row])
        pieces = passage(outcome, visits, message, row)
        assert pieces["start_s"].tolist()[1:] == pieces["end_s"].tolist()[:-1]
        assert (pieces["end_s"] >= pieces["start_s"]).all()
        assert pieces["start_s"].iloc[0] == outcome.messages["time_s"][message]
        assert pieces["end_s"].iloc[-1] == table["time_s"][row]
        assert set(pieces["kind"]) <= set(PIECES)
        parts = breakdown_ms(pieces)
        assert parts["held"] == 0.0  # every step has been set off by one before it: no gap is left unexplained
        assert parts["sender's link"] > 0
        took_ms = (table["time_s"][row] - outcome.messages["time_s"][message]) * 1e3
        assert parts.sum() == pytest.approx(took_ms, abs=1e-6)


def test_a_recorder_changes_nothing() -> None:
    asked = load_scenario("go-chat-v2", ["workload.users=150"])
    people = build_world(asked)
    plain, seen = simulate(asked, people), simulate(asked, people, recorder=Recorder(3, 0.0, 300.0))
    for part in ("messages", "deliveries", "sessions", "ticks"):
        one, other = getattr(plain, part), getattr(seen, part)
        assert all(np.array_equal(one[name], other[name], equal_nan=one[name].dtype.kind == "f") for name in one)


# --------------------------------------------------------------------------- the window


def test_spans_of_a_station_are_its_ticks() -> None:
    asked = load_scenario("room-channel", ["workload.users=400", "database.cores=2"])
    recorder = Recorder(from_s=10.0, to_s=60.0)
    outcome = simulate(asked, build_world(asked), recorder=recorder)
    found = spans(outcome, recorder.table(), 10.0, 60.0)
    ticks = outcome.ticks
    inside = (ticks["end_s"] >= 10.0) & (ticks["start_s"] <= 60.0)
    for number, station in enumerate(outcome.stations):
        own = [span for span in found.spans if span.group == station and span.name.startswith("tick")]
        busy_s = (ticks["end_s"] - ticks["start_s"])[inside & (ticks["station"] == number)].sum()
        assert sum(span.end_s - span.start_s for span in own) == pytest.approx(busy_s)
    items = [span for span in found.spans if span.group in outcome.stations and not span.name.startswith("tick")]
    assert len(items) == ticks["items"][inside].sum()
    assert max(span.lane for span in found.spans if span.group == "database") <= 1


def test_lanes_are_as_few_as_overlap() -> None:
    assert lanes([(0.0, 4.0), (1.0, 2.0), (2.0, 3.0), (2.5, 5.0)]) == [0, 1, 1, 2]


@pytest.fixture(scope="module")
def followed() -> Followed:
    return follow(load_scenario("go-chat", ["workload.users=300", "gateway.cores=2"]), None, 20.0, 80.0)


def test_the_perfetto_file_is_valid(followed: Followed) -> None:
    trace = json.loads(json.dumps(perfetto(followed), allow_nan=False))
    events = trace["traceEvents"]
    assert {event["ph"] for event in events} == {"M", "X", "s", "f", "C"}
    for event in events:
        assert {"ph", "name", "pid", "tid", "ts"} <= event.keys()
    slices = [event for event in events if event["ph"] == "X"]
    assert all(event["dur"] >= 0 and event["ts"] >= 0 for event in slices)
    named = {(event["pid"], event["tid"]) for event in events if event["name"] == "thread_name"}
    assert {(event["pid"], event["tid"]) for event in slices} == named
    processes = {event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert {"gateway-0", "broker-0", "database", "sessions"} <= processes


def test_perfetto_slices_of_a_thread_nest_and_arrows_begin_and_end_in_slices(followed: Followed) -> None:
    events = perfetto(followed)["traceEvents"]
    threads: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for event in events:
        if event["ph"] == "X":
            threads.setdefault((event["pid"], event["tid"]), []).append((event["ts"], event["ts"] + event["dur"]))
    for own in threads.values():
        open_until: list[float] = []
        for start, end in sorted(own, key=lambda span: (span[0], -span[1])):
            while open_until and open_until[-1] <= start + 1e-3:
                open_until.pop()
            assert not open_until or end <= open_until[-1] + 2e-3  # ns: times are rounded
            open_until.append(end)
    arrows: dict[int, list[str]] = {}
    for event in events:
        if event["ph"] in "sf":
            arrows.setdefault(event["id"], []).append(event["ph"])
            at = event["ts"]
            assert any(start <= at <= end + 1e-3 for start, end in threads[event["pid"], event["tid"]])
    assert arrows
    assert all(ends == ["s", "f"] for ends in arrows.values())


def test_durations_of_perfetto_add_up_to_the_latency(followed: Followed) -> None:
    outcome, message = followed.outcome, followed.message
    events = [event for event in perfetto(replace(followed, from_s=0.0, to_s=1e9))["traceEvents"] if event["ph"] == "X"]
    own = [event for event in events if event.get("args", {}).get("message") == message]
    ends = max(event["ts"] + event["dur"] for event in own if event["name"] == f"gets {message}")
    starts = min(event["ts"] for event in own if event["name"] == f"sends {message}")
    row = last_delivery(outcome, message)
    took_us = (outcome.deliveries["time_s"][row] - outcome.messages["time_s"][message]) * 1e6
    assert ends - starts == pytest.approx(took_us, abs=2e-3)


# --------------------------------------------------------------------------- the diagram

LINE = re.compile(
    r"^(title .+|participant p\d+ as ([^:;#]|#\d+;)+|Note over p\d+: .+|p\d+(-\)|-x)p\d+: .+)$"
)  # fmt: skip


def check_mermaid(text: str) -> None:
    head, *lines = text.splitlines()
    assert head == "sequenceDiagram"
    declared = re.findall(r"participant (p\d+) as", text)
    assert len(declared) == len(set(declared))
    for line in lines:
        assert LINE.match(line.strip()), line
    assert set(re.findall(r"\bp\d+\b", "\n".join(line for line in lines if "title" not in line))) <= set(declared)


def test_the_diagram_is_a_sequence_diagram(followed: Followed) -> None:
    text = mermaid(followed)
    check_mermaid(text)
    assert text.count("participant") <= 20


def test_names_with_syntax_are_shown_as_text() -> None:
    outcome, visits = watched(replace(ANNA_TO_ALL, user_names=("<script>;x", "end", "Cleo: #1")))
    text = mermaid(Followed(outcome, visits, 0, 0.0, 10.0))
    check_mermaid(text)
    assert "<script>" not in text
    assert "#60;script#62;#59;x" in text
    html = Followed(outcome, visits, 0, 0.0, 10.0)._repr_html_()
    assert "&lt;script&gt;" in html
    assert "<script>" not in html


# --------------------------------------------------------------------------- the command


def test_the_command_shows_and_writes(chatsim: Callable[..., Any]) -> None:
    asked = ("trace", "room-channel", "--set", "workload.users=200", "--message", "3")
    said = chatsim(*asked, "--mermaid", "way.mmd", "--perfetto", "way.json")
    assert (said.status, said.err) == (0, "")
    assert "room-channel, message 3" in said.out
    assert "reads and checks it" in said.out
    assert "open it at ui.perfetto.dev" in said.out
    check_mermaid(Path("way.mmd").read_text())
    assert json.loads(Path("way.json").read_text())["otherData"]["message"] == 3
    again = chatsim(*asked, "--mermaid", "way.mmd")
    assert again.status == 2
    assert again.err == "chatsim: --mermaid way.mmd: exists already: another name is needed, or --force to replace it\n"


def test_the_slowest_is_the_one_that_took_longest(chatsim: Callable[..., Any]) -> None:
    said = chatsim("trace", "hub", "--set", "workload.users=100", "--json")
    found = json.loads(said.out)
    assert sum(found["last_delivery_ms"].values()) > 50
    others = [
        json.loads(chatsim("trace", "hub", "--set", "workload.users=100", "--json", "--message", str(n)).out)
        for n in (0, 1, 2)
    ]
    slower = [sum(other["last_delivery_ms"].values()) for other in others]
    assert max(slower) <= sum(found["last_delivery_ms"].values())


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("--message", "999999"), "--message 999999: this run has messages 0 to 45"),
        (("--message", "-1"), "--message -1: this run has messages 0 to 45"),
        (("--message", "first"), "--message first: a whole number from 0 on, or 'slowest', is needed"),
        (("--from", "-5"), "--from -5: a time of the run is needed, from 0 to 605 s"),
        (("--from", "30", "--to", "20"), "--to 20: it is before --from 30: a later time is needed"),
        (("--mermaid", "nowhere/x.mmd"), "--mermaid nowhere/x.mmd: no such folder: nowhere"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(chatsim: Callable[..., Any], asked: tuple[str, ...], said: str) -> None:
    done = chatsim("trace", "hub", "--set", "workload.users=100", *asked)
    assert (done.status, done.out, done.err) == (2, "", f"chatsim: {said}\n")


def test_a_run_without_messages_says_so() -> None:
    with pytest.raises(InputError, match="this run has no messages"):
        follow(load_scenario("hub", ["workload.users=2", "workload.duration_s=1"]))
