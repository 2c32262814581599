"""A run that is given away in parts against the same run kept whole: the same messages, rows and ticks, and figures."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, seed, settings

from chatsim import analysis
from chatsim.analysis.digest import Digest
from chatsim.analysis.histogram import Histogram
from chatsim.engine import Fate, Outcome, simulate, simulate_in_parts
from chatsim.engine.audit import check_ticks
from chatsim.engine.compiled import feed, parts, run, ticks
from chatsim.engine.compiled.coverage import kept_whole
from chatsim.engine.compiled.window import NO_RESERVE, Window
from chatsim.engine.notes import Notes
from chatsim.engine.outcome import Cause, Work
from chatsim.engine.parts import PartAuditor
from chatsim.engine.settling import settle
from chatsim.engine.ticks import TICK, tick_columns, tick_rows
from chatsim.scenario import AuditError, InputError, Scenario, load_scenario, preset_names
from chatsim.world import build_world, shelf
from chatsim.world.tables import World
from tests.conftest import Said
from tests.test_compiled import QUIET, any_scenarios, any_worlds
from tests.worlds import ALWAYS, scenario, world

OF_MESSAGES = ("time_s", "sender", "room", "gateway", "received_s", "stored_s", "routed_s", "done_s", "pushes", "discards", "fate", "cause")
OF_ROWS = ("recipient", "gateway", "fate", "cause", "local", "written_s", "time_s")


@pytest.fixture(autouse=True, scope="module")
def _small_parts() -> Iterator[None]:
    """A part as soon as anything is done, looked at every few events."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "ROWS_OF_PART", 1)
        patch.setattr(run, "STEPS", 40)
        patch.setattr(feed, "SLICE", 3)
        patch.setattr(feed, "SESSIONS_AT_ONCE", 2)
        patch.setattr(ticks, "MANY", 1)
        yield


def in_parts(chosen: Scenario, people: World) -> list[Outcome]:
    """The parts of a run."""
    found: list[Outcome] = []
    simulate_in_parts(chosen, people, found.append)
    return found


def rows_of(table: dict[str, Any], message: Any) -> Counter[Any]:
    """Deliveries as a bag of rows, NaN as None."""
    columns = [message.tolist(), *(table[name].tolist() for name in OF_ROWS)]
    clean = [[None if isinstance(value, float) and math.isnan(value) else value for value in column] for column in columns]
    return Counter(zip(*clean, strict=True))


def check_same(chosen: Scenario, people: World) -> int:
    """The parts of a run hold what the whole run does; how many there were."""
    whole, found = simulate(chosen, people, engine="compiled"), in_parts(chosen, people)
    assert sum(len(part.messages["time_s"]) for part in found) == len(people.messages)
    for name in OF_MESSAGES:
        assert np.array_equal(np.concatenate([part.messages[name] for part in found]), whole.messages[name], equal_nan=whole.messages[name].dtype.kind == "f")
    for name, column in whole.ticks.items():
        assert np.array_equal(np.concatenate([part.ticks[name] for part in found]), column)
    rows, offline, first = Counter[Any](), Counter[int](), 0
    for part in found:
        rows += rows_of(part.deliveries, part.deliveries["message"] + first)
        offline += Counter(dict(enumerate(part.messages["offline"].tolist(), first)))
        first += len(part.messages["time_s"])
    wanted = rows_of(whole.deliveries, whole.deliveries["message"])
    # of the rows of those who were offline parts have the counts alone, message by message
    away = Counter({row: count for row, count in wanted.items() if row[3:5] == (Fate.LOST, Cause.OFFLINE)})
    assert all(row[2] == -1 and count == 1 for row, count in away.items())
    assert Counter(row[0] for row in away) == offline
    assert not any(row[3:5] == (Fate.LOST, Cause.OFFLINE) for row in rows)
    wanted -= away
    gone, come = rows - wanted, wanted - rows
    taken = [(int(one), int(two)) for part in found for one, two in zip(part.later["message"][part.later["first"]], part.later["recipient"][part.later["first"]], strict=True)]
    # what is there too much was in store, and was read in a later part; what is missing came to a session later
    assert Counter((row[0], row[1]) for row in gone.elements()) == Counter(taken)
    assert all(row[3] == Fate.STORED for row in gone)
    later = Counter[Any]()
    for part in found:
        later.update(zip(*(part.later[name].tolist() for name in ("message", "recipient", "fate", "cause")), strict=True))
    assert later == Counter((row[0], row[1], row[3], row[4]) for row in come.elements())
    assert found[-1].work.tolist() == whole.work.tolist()
    assert np.array_equal(found[-1].sessions["online_s"], whole.sessions["online_s"], equal_nan=True)
    check_figures(chosen, people, whole, found)
    return len(found)


def check_figures(chosen: Scenario, people: World, whole: Outcome, found: list[Outcome]) -> None:
    """The figures of the parts are those of the run."""
    digest = Digest(chosen, people)
    for part in found:
        digest.take(part)
    assert digest.fates().to_dict("records") == analysis.fates(whole).to_dict("records")
    compared = (digest.summary().to_dict(), analysis.summary(whole).to_dict())
    for name, value in compared[1].items():
        found_value = compared[0][name]
        if isinstance(value, float) and name.startswith("p"):
            assert found_value == pytest.approx(value, rel=5e-4, nan_ok=True), name
        elif isinstance(value, float):
            assert found_value == pytest.approx(value, rel=1e-9, nan_ok=True), name
        elif name not in ("overloaded", "busiest_tier"):
            assert found_value == value, name
    tiers = analysis.tiers(whole)
    for name in tiers.columns[1:]:
        assert digest.tiers()[name].tolist() == pytest.approx(tiers[name].tolist(), rel=1e-9, nan_ok=True), name


any_run = given(any_scenarios.filter(lambda chosen: not kept_whole(chosen)), any_worlds)


@settings(max_examples=25, deadline=None, suppress_health_check=QUIET, print_blob=True, phases=[Phase.reuse, Phase.generate])
@any_run
def test_random_runs_in_parts_are_the_same(chosen: Scenario, people: World) -> None:
    check_same(chosen, people)


@pytest.mark.long
@pytest.mark.parametrize("number", range(10))
def test_a_thousand_random_runs_in_parts_are_the_same(number: int) -> None:
    @seed(number)
    @settings(max_examples=100, deadline=None, suppress_health_check=QUIET, database=None)
    @any_run
    def check(chosen: Scenario, people: World) -> None:
        check_same(chosen, people)

    check()


@pytest.mark.parametrize("name", preset_names())
def test_designs_in_parts_are_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "ROWS_OF_PART", 300)
    monkeypatch.setattr(run, "STEPS", 2000)
    chosen = load_scenario(name, ["workload.users=100", "workload.duration_s=10800", "workload.conversations.messages_per_day=100"])
    assert check_same(chosen, build_world(chosen)) > 1


@pytest.mark.parametrize("seldom_s", [600.0, -1e9])
def test_what_lies_in_files_may_leave_memory_whenever_it_likes(seldom_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in (
        (shelf, "LARGE_BYTES", 1), (parts, "MEMORY_BYTES", -1), (parts, "FILES_BYTES", -1), (parts, "SELDOM_S", seldom_s),
        (parts, "LOOKS", 1), (parts, "ROWS_OF_PART", 300), (run, "STEPS", 2000),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    put_back = parts.put_back
    freed: list[int] = []
    monkeypatch.setattr(parts, "put_back", lambda *rows: (freed.append(sum(map(len, rows))), put_back(*rows))[1])
    chosen = load_scenario("go-chat", ["workload.users=100", "workload.duration_s=10800", "workload.conversations.messages_per_day=100"])
    assert check_same(chosen, build_world(chosen)) > 1
    assert sum(freed) > 1000


def test_what_is_told_too_soon_is_kept_whole_and_said_so() -> None:
    chosen = load_scenario("go-chat", ["design.receipts=true", "workload.users=20", "workload.duration_s=30"])
    with pytest.raises(InputError, match=r"^design\.receipts = true: such a run is kept whole"):
        simulate_in_parts(chosen, build_world(chosen), lambda part: None)


def test_a_message_is_not_done_while_a_try_of_it_is_on_its_uplink(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "STEPS", 1)
    people = world([(user, *ALWAYS) for user in range(4)], [[0, 1], [2, 3]], [(1.0, 0, 0), (1.03, 2, 1)])
    chosen = scenario(design={"routing": "in_process", "gateways": 1}, client={"guarantee": "at_least_once", "ack_timeout_s": 0.033})
    whole = simulate(chosen, people, engine="compiled")
    # message 0 is with its reader at 1.029, sent again at 1.033, its sender is told at 1.037, and the try comes at 1.043;
    # in between, at 1.040, the other message comes to the gateway, so that something happens and parts are looked for. The
    # gateway reads that until 1.041, writes it and the answer until 1.057, reads the try until 1.058, writes it until 1.066
    assert (whole.messages["sends"][0], round(float(whole.messages["acked_s"][0]), 6)) == (2, 1.037)
    assert whole.deliveries["time_s"][whole.deliveries["message"] == 0].tolist() == pytest.approx([1.029, 1.076], abs=1e-6)
    assert check_same(chosen, people) > 2


def auditor_with_two_waiting() -> tuple[PartAuditor, World]:
    """An auditor to whom two messages of user 0 are in store for user 1, who was away."""
    people = world([(0, *ALWAYS)], [[0, 1]], [(1.0, 0, 0), (2.0, 0, 0)])
    chosen = scenario(design={"routing": "room", "store": "before", "offline": "store"})
    found: list[PartAuditor] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "PartAuditor", lambda asked: found.append(PartAuditor(asked)) or found[-1])
        simulate_in_parts(chosen, people, lambda part: None)
    return found[0], people


def test_what_waits_is_read_once_and_nothing_else_is_taken_out_of_the_store() -> None:
    auditor, people = auditor_with_two_waiting()
    fates = np.array([Fate.READ_LATER, Fate.READ_LATER, Fate.MISSED], np.int8)
    keys = np.array([0, 1, 1]) * people.users + 1
    assert auditor.read(keys, fates).tolist() == [True, True, False]
    assert auditor.read(keys, fates).tolist() == [False, False, False]


def test_a_run_in_parts_that_breaks_a_law_is_an_error() -> None:
    auditor, people = auditor_with_two_waiting()
    with pytest.raises(AuditError, match="after the last that carried it was done"):
        auditor.read(np.array([1]), np.array([Fate.DELIVERED], np.int8))
    auditor, people = auditor_with_two_waiting()
    notes = Notes(people, 0)
    notes.work = [[0] * len(Work)] * 6
    with pytest.raises(AuditError, match="messages read by gateways: one count says 0, the other 2"):
        auditor.end(people, notes, np.zeros((0, 2), np.int64))
    auditor._counts.clear()
    with pytest.raises(AuditError, match="2 messages were never read, but 1 are in store"):
        auditor.end(people, notes, np.array([[1, 0]]))


@pytest.mark.parametrize("off", [1, -1])
@pytest.mark.parametrize("message", [0, 2])
def test_a_part_that_counts_one_more_or_less_offline_is_an_error(off: int, message: int, monkeypatch: pytest.MonkeyPatch) -> None:
    people = world([(0, *ALWAYS)], [[0, 1, 2]], [(1.0, 0, 0), (2.0, 0, 0), (3.0, 0, 0)])
    chosen = scenario(design={"routing": "room"})
    assert np.concatenate([part.messages["offline"] for part in in_parts(chosen, people)]).tolist() == [2, 2, 2]
    assert not any(len(part.deliveries["message"]) for part in in_parts(chosen, people))
    settled = 0

    def settle_wrongly(*settling: Any) -> Any:
        nonlocal settled
        deliveries, offline = settle(*settling), settling[-1]
        if settled <= message < settled + len(offline):
            offline[message - settled] += off
        settled += len(offline)
        return deliveries

    monkeypatch.setattr("chatsim.engine.parts.settle", settle_wrongly)
    with pytest.raises(AuditError, match=rf"message \d has no row for 2 recipients, but counts {2 + off} as offline"):
        in_parts(chosen, people)


def test_figures_of_a_part_count_who_has_no_row() -> None:
    people = world([(0, *ALWAYS), (1, *ALWAYS)], [[0, 1, 2]], [(1.0, 0, 0), (2.0, 0, 0)])
    chosen = scenario(design={"routing": "room"})
    whole, found = simulate(chosen, people, engine="compiled"), in_parts(chosen, people)
    assert "offline" not in whole.messages
    assert sum(float(analysis.fates(part).query("cause == 'offline'")["count"].sum()) for part in found) == 2
    assert analysis.fates(whole).query("cause == 'offline'")["count"].tolist() == [2]
    assert [analysis.recipient_ends(part)["lost_share"] for part in found if len(part.messages["time_s"])] == [0.5] * (len(found) - 1)
    assert "deliveries LOST" in found[0]._repr_html_()


def test_ticks_of_parts_are_held_to_the_cores_of_their_stations_together() -> None:
    chosen = scenario(design={"gateways": 1, "routing": "in_process"}, gateway={"cores": 1})
    none = tick_columns(np.zeros(1, TICK))
    first = {**none, "start_s": np.array([1.0]), "end_s": np.array([3.0])}
    later = {**none, "start_s": np.array([2.0]), "end_s": np.array([4.0])}
    with pytest.raises(AuditError, match="station 0 has more ticks at once than cores"):
        check_ticks(chosen, later, check_ticks(chosen, first))
    after = {**later, "start_s": np.array([3.0])}
    assert check_ticks(chosen, after, check_ticks(chosen, first))[0].tolist() == [4.0]


def test_rows_of_ticks_are_those_whose_columns_a_table_has_or_copies_of_what_lies_elsewhere() -> None:
    rows = np.zeros(5, TICK)
    rows["start_s"], rows["items"] = np.arange(5), 5 - np.arange(5)
    for table, is_same in (
        (tick_columns(rows), True),
        (tick_columns(rows[:3]), True),
        (tick_columns(rows[1:]), False),
        ({**tick_columns(rows), "items": rows["items"].copy()}, False),
        ({**tick_columns(rows), "items": rows["reads"]}, False),
        ({name: column[::-1] for name, column in tick_columns(rows).items()}, False),
    ):
        found = tick_rows(table)
        assert np.shares_memory(found, rows) == is_same
        for name, column in table.items():
            assert found[name].tolist() == column.tolist()


def test_a_histogram_has_percentiles_to_within_half_a_thousandth() -> None:
    values = np.random.default_rng(1).lognormal(3.0, 1.5, 200_000)
    histogram = Histogram()
    for part in np.array_split(values, 7):
        histogram.add(part)
    wanted = analysis.percentiles(values)
    for name, value in histogram.percentiles().items():
        assert value == pytest.approx(wanted[name], rel=1 / 2048 + 1e-9), name
    assert int(histogram.table()["count"].sum()) == len(values)
    ours, exact = histogram.curve(), analysis.percentile_curve(values)
    assert ours["percentile"].tolist() == exact["percentile"].tolist()
    assert ours["latency_ms"].to_numpy() == pytest.approx(exact["latency_ms"].to_numpy(), rel=1 / 2048 + 1e-9)


def test_values_beyond_all_buckets_are_counted_in_the_last_ones() -> None:
    histogram = Histogram()
    histogram.add([0.0, 1e-12, 1e15])
    assert histogram.count == 3
    assert histogram.counts[[0, -1]].tolist() == [2, 1]
    assert (histogram.least, histogram.most) == (0.0, 1e15)


@pytest.mark.parametrize("rho", [0.7, 1.3])
def test_a_backlog_that_grows_is_seen_in_a_digest_too(rho: float) -> None:
    times_s = [(number + 0.5) * 1e-3 for number in range(3000)]
    people = world([(0, *ALWAYS), (1, *ALWAYS)], [[0, 1]], [(time_s, 0, 0) for time_s in times_s])
    chosen = scenario(design={"routing": "in_process", "gateways": 1}, gateway={"receive_us": 1000.0 * rho, "write_us": 0.0, "tick_us": 0.0, "batch_max": 1, "cores": 1})
    digest = Digest(chosen, people)
    simulate_in_parts(chosen, people, digest.take)
    assert digest.overload().overloaded == (rho > 1) == analysis.overload(simulate(chosen, people)).overloaded


def test_run_keeps_figures_alone_where_it_is_told_to(chatsim: Callable[..., Said], tmp_path: Path) -> None:
    small = ("run", "room-channel", "--set", "workload.users=300", "--set", "workload.duration_s=600")
    assert "Figures alone are kept" not in chatsim(*small).out
    said = chatsim(*small, "--keep", "figures", "--out", str(tmp_path / "out"))
    assert said.status == 0
    assert "Figures alone are kept" in said.out
    files = {path.name for path in (tmp_path / "out").rglob("*.*")}
    assert {"histogram.parquet", "timeline.parquet", "load.png", "queues.svg", "latency_by_percentile.png"} <= files
    assert "deliveries.parquet" not in files
    whole = json.loads(chatsim(*small, "--json").out)["summary"][0]
    figures = json.loads(chatsim(*small, "--keep", "figures", "--json").out)["summary"][0]
    assert figures.keys() == whole.keys()
    for name, value in whole.items():
        assert figures[name] == (pytest.approx(value, rel=5e-4) if isinstance(value, float) else value), name


def test_what_cannot_be_kept_so_is_refused_in_one_line(chatsim: Callable[..., Said]) -> None:
    small = ("run", "go-chat", "--set", "workload.users=20", "--set", "workload.duration_s=30")
    said = chatsim(*small, "--keep", "figurs")
    assert (said.status, said.err) == (2, "chatsim: --keep figurs: 'all', 'figures' or 'auto' is needed; did you mean 'figures'?\n")
    said = chatsim(*small, "--keep", "figures", "--engine", "simpy")
    assert (said.status, said.err) == (2, "chatsim: --keep figures with --engine simpy: 'compiled' or 'auto' is needed\n")


@pytest.mark.skipif(not NO_RESERVE, reason="this system does not say that memory need not be there")
def test_a_table_may_have_places_for_more_than_memory_holds() -> None:
    window = Window(1 << 37, np.dtype(np.float64))  # a million million bytes
    window.table[:3], window.table[-1] = 1.0, 2.0
    assert (window.table[:4].sum(), window.table[-1], len(window.table)) == (3.0, 2.0, 1 << 37)
