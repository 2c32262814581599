"""Studies: the same trace for all, results that do not depend on the number of processes, curves, results on disk."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from chatsim.engine.outcome import Fate, Outcome
from chatsim.scenario import InputError, Scenario, load_scenario
from chatsim.study import compare, run, same_trace, saturation
from chatsim.study.curves import HIGHEST, LOWEST, bench, loads, second_half
from chatsim.study.results import summarised
from chatsim.study.store import RawTables, file_name, scenario_hash, write_table
from chatsim.world import build_world
from tests.outcomes import outcome

CHANGES = ["workload.users=300", "workload.duration_s=120"]


def small(name: str, *changes: str) -> Scenario:
    return load_scenario(name, [*CHANGES, *changes])


def test_every_design_gets_the_same_world_built_once_per_replication() -> None:
    seen: list[Outcome] = []
    compare([small("go-chat"), small("room-channel")], replications=2, note=seen.append)
    assert [(one.scenario.name, one.world.replication) for one in seen] == [
        ("go-chat", 0),
        ("room-channel", 0),
        ("go-chat", 1),
        ("room-channel", 1),
    ]
    assert seen[0].world is seen[1].world
    assert seen[2].world is seen[3].world
    assert not np.array_equal(seen[0].world.messages.time_s, seen[2].world.messages.time_s)


def test_the_number_of_processes_changes_nothing() -> None:
    designs = [small("go-chat"), small("room-channel")]
    one, two = compare(designs, replications=2, jobs=1), compare(designs, replications=2, jobs=2)
    for name, table in one.tables().items():
        pd.testing.assert_frame_equal(table, two.tables()[name])
    for name, alone in one.outcomes.items():
        for column, values in alone.deliveries.items():
            np.testing.assert_array_equal(values, two.outcomes[name].deliveries[column])


def test_designs_with_other_workloads_need_to_be_told_whose_to_take() -> None:
    a, b = small("go-chat"), small("room-channel", "workload.groups.per_user=9")
    with pytest.raises(InputError, match=r"differ in workload\.groups\.per_user \(3\.0 and 9\.0\)"):
        compare([a, b])
    designs = same_trace([a, b], workload_from=b)
    assert [design.workload.groups.per_user for design in designs] == [9.0, 9.0]
    assert designs[0].design == a.design


def test_a_result_is_of_one_design() -> None:
    result = run(small("go-chat"))
    assert result.scenario.name == "go-chat"
    assert result.outcome.scenario is result.scenario
    assert len(result.summary) == 1
    assert "<table" in result._repr_html_()


def test_progress_ends_at_the_number_of_runs() -> None:
    told: list[tuple[float, int, str]] = []
    compare([small("go-chat"), small("room-channel")], progress=lambda *step: told.append(step))
    done = [step[0] for step in told]
    assert done == sorted(done)
    assert told[-1] == (2, 2, "room-channel")


def test_half_widths_are_student_t() -> None:
    runs = pd.DataFrame(
        {
            "design": ["x"] * 3,
            "replication": [0, 1, 2],
            "p50_ms": [1.0, 2.0, 3.0],
            "overloaded": [False, True, False],
            "busiest_tier": ["broker", "broker", "gateway"],
        }
    )
    row = summarised(runs, ["x"]).iloc[0]
    assert (row["p50_ms"], row["overloaded"], row["busiest_tier"]) == (2.0, True, "broker")
    assert row["p50_half_width_ms"] == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)  # t(2; 0.975), s = 1


@pytest.mark.parametrize("points", [3, 4, 8, 15])
def test_loads_reach_from_the_lowest_to_the_highest(points: int) -> None:
    shares = loads(points)
    assert len(shares) == points
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (pytest.approx(LOWEST), pytest.approx(HIGHEST))


def test_the_second_half_is_counted_by_hand() -> None:
    # Four messages at 1, 2, 3, 4 s; the second half is (2, 4]. Two deliveries each, written 0.1 s and 0.5 s later.
    messages = [{"time_s": float(second)} for second in (1, 2, 3, 4)]
    deliveries = [
        {
            "message": place,
            "recipient": who,
            "session": who,
            "written_s": place + 1 + late,
            "time_s": place + 1 + late + 0.01,
        }
        for place in range(4)
        for who, late in ((1, 0.1), (2, 0.5))
    ]
    deliveries += [
        {"message": 3, "session": 1, "fate": Fate.DUPLICATE, "written_s": 3.0},
        {"message": 3, "session": -1, "fate": Fate.STORED, "written_s": math.nan},
    ]
    row = second_half(outcome(messages, deliveries, duration_s=6.0), lag_s=0.1, system_s=0.1)
    assert row["messages_per_s"] == 2 / 2  # those of 3 and 4 s
    assert row["offered_per_s"] == 4 / 2
    assert row["carried_per_s"] == 4 / 2  # written at 2.5, 3.1, 3.5, 4.1 s, in (2.1, 4.1]
    assert row["p50_ms"] == pytest.approx(110.0)
    assert row["overloaded"] is False


def test_a_saturation_curve_carries_what_is_offered_until_it_cannot() -> None:
    # One worker and 1 ms per message: 1000 messages/s and no more, whatever comes.
    scenario = small("room-channel", "database.cores=1", "database.insert_us=1000", "database.service=fixed")
    assert bench(scenario, build_world(scenario)).capacity_per_s == pytest.approx(1000.0, rel=0.02)
    curve = saturation([scenario], messages=1500, points=5)
    kept_up, lost = curve[~curve["overloaded"]], curve[curve["overloaded"]]
    assert len(kept_up) >= 3
    assert len(lost) >= 1
    assert curve["offered_per_s"].is_monotonic_increasing
    # Deliveries under way at either end of the window, at most some dozen of some thousand, are all the difference.
    assert (kept_up["carried_per_s"] / kept_up["offered_per_s"]).between(0.9, 1.1).all()
    per_message = lost["offered_per_s"] / lost["messages_per_s"]
    assert (lost["carried_per_s"] / per_message).max() == pytest.approx(1000.0, rel=0.1)
    assert lost["p99_ms"].min() > kept_up["p99_ms"].min()


def test_curves_do_not_depend_on_the_number_of_processes() -> None:
    designs = [small("go-chat"), small("room-channel")]
    tables = [saturation(designs, messages=200, points=3, jobs=jobs) for jobs in (1, 2)]
    pd.testing.assert_frame_equal(*tables)
    assert tables[0]["design"].drop_duplicates().tolist() == ["go-chat", "room-channel"]


def test_raw_tables_say_design_replication_and_fates_in_words(tmp_path: Path) -> None:
    one = outcome(
        [{}, {"time_s": 1.0}], [{}, {"fate": Fate.STORED, "session": -1}], [{}], ticks=[{"station": 1}], name="a"
    )
    with RawTables(tmp_path) as raw:
        raw.note(one)
        raw.note(one)
    deliveries = pq.read_table(tmp_path / "deliveries.parquet").to_pandas()
    assert deliveries["design"].tolist() == ["a"] * 4
    assert deliveries["fate"].tolist() == ["delivered", "stored"] * 2
    ticks = pq.read_table(tmp_path / "ticks.parquet").to_pandas()
    assert ticks["station"].tolist() == ["gateway-1"] * 2
    work = pq.read_table(tmp_path / "work.parquet").to_pandas()
    assert work["station"].tolist() == list(one.stations) * 2


def test_an_empty_table_is_written_all_the_same(tmp_path: Path) -> None:
    with RawTables(tmp_path) as raw:
        raw.note(outcome())
    assert pq.read_table(tmp_path / "subscriptions.parquet").num_rows == 0


def test_tables_of_figures_have_no_trace_of_pandas(tmp_path: Path) -> None:
    write_table(tmp_path / "t.parquet", pd.DataFrame({"a": [1.5]}, index=[7]))
    schema = pq.read_schema(tmp_path / "t.parquet")
    assert schema.names == ["a"]
    assert not schema.metadata


def test_file_names_are_plain_and_differ_where_names_do() -> None:
    assert file_name("go-chat") == "go-chat"
    odd = ["a/b", "a b", "a_b", "..", "", "../../etc"]
    assert len({file_name(name) for name in odd}) == len(odd)
    assert all("/" not in file_name(name) and not file_name(name).startswith(".") for name in odd)


def test_a_scenario_hash_changes_with_any_key() -> None:
    base = small("go-chat")
    assert scenario_hash(base) == scenario_hash(small("go-chat"))
    assert scenario_hash(base) != scenario_hash(small("go-chat", "broker.tick_us=11.5"))
