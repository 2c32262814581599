"""What matters: indices of known functions, what is varied and between which ends, and what is said of weak defaults."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsim.report.decisions import tornado
from chatsim.scenario import InputError, Scenario, load_scenario
from chatsim.scenario.load import validate
from chatsim.study.sensitivity import (
    Key,
    Screened,
    analysed,
    asked_keys,
    assumptions,
    ordered,
    sampled,
    screen,
    screen_function,
    stands_on,
)
from tests.conftest import Said

Cli = Callable[..., Said]
Floats = npt.NDArray[np.float64]
A, B = 7.0, 0.1
SMALL = ["workload.users=40", "workload.duration_s=20", "workload.conversations.messages_per_day=8000"]
CIRCLE = [Key(name, -math.pi, math.pi) for name in "xyz"]


def ishigami(x: Floats) -> float:
    """Ishigami & Homma (1990)."""
    return float(np.sin(x[0]) + A * np.sin(x[1]) ** 2 + B * x[2] ** 4 * np.sin(x[0]))


def by_key(table: pd.DataFrame) -> pd.DataFrame:
    """The rows by key."""
    return table.set_index("key")


# --------------------------------------------------------------------------- known functions


def test_sobol_indices_of_ishigami() -> None:
    """First and total in closed form: shares of V = A^2/8 + B pi^4/5 + B^2 pi^8/18 + 1/2.

    Within three half widths of 95 % intervals, so about 6 standard errors: some of 10^9 seeds would miss one.
    """
    alone_x = 0.5 * (1 + B * math.pi**4 / 5) ** 2
    alone_y, joint = A**2 / 8, 8 * B**2 * math.pi**8 / 225
    total = alone_x + alone_y + joint
    table = by_key(screen_function(ishigami, CIRCLE, "sobol", 1024))
    first = {"x": alone_x / total, "y": alone_y / total, "z": 0.0}
    all_in = {"x": (alone_x + joint) / total, "y": alone_y / total, "z": joint / total}
    for key in "xyz":
        row = table.loc[key]
        assert abs(row["first"] - first[key]) < 3 * row["first_half_width"]
        assert abs(row["total"] - all_in[key]) < 3 * row["total_half_width"]
    assert table.index.tolist() == ["x", "y", "z"]
    assert table["place"].tolist() == [1, 2, 3]


def test_the_elementary_effects_of_a_linear_function_are_its_coefficients_times_the_ranges() -> None:
    keys = [Key("a", 10.0, 20.0), Key("b", -1.0, 1.0), Key("c", 0.0, 1.0), Key("d", 1.0, 100.0)]
    table = by_key(screen_function(lambda x: 3 * x[0] - 50 * x[1] + 7 * math.log10(x[3]), keys, "morris", 6))
    assert table.index.tolist() == ["b", "a", "d", "c"]
    assert table["mu"].tolist() == pytest.approx([-100.0, 30.0, 14.0, 0.0])  # d is taken in its logarithm
    assert table["mu_star"].tolist() == pytest.approx([100.0, 30.0, 14.0, 0.0])
    assert table["sigma"].tolist() == pytest.approx([0.0] * 4, abs=1e-9)
    assert table["scale"].tolist() == ["linear", "linear", "log", "linear"]


def test_an_interaction_shows_in_sigma() -> None:
    """y = a b with a, b in [0, 1]: the effect of a is b, which is 0, 1/3, 2/3 or 1 with equal chances: mean 1/2, standard
    deviation sqrt(5)/6. Means of 400 trajectories: 5 standard errors."""
    table = by_key(screen_function(lambda x: x[0] * x[1] + 5 * x[2], [Key(name, 0.0, 1.0) for name in "abc"], "morris", 400))
    spread = math.sqrt(5) / 6
    for key in "ab":
        assert table.loc[key, "mu_star"] == pytest.approx(0.5, abs=5 * spread / 20)
        assert table.loc[key, "sigma"] == pytest.approx(spread, rel=0.15)
    assert table.loc["c", "sigma"] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("method", ["morris", "sobol"])
def test_a_figure_that_never_changes_has_no_effects(method: str) -> None:
    table = screen_function(lambda _: 4.0, CIRCLE, method, 4)  # type: ignore[arg-type]
    assert (table[["mu_star", "sigma"] if method == "morris" else ["first", "total"]] == 0).all().all()


def test_the_same_seed_gives_the_same_points_and_indices() -> None:
    for method in ("morris", "sobol"):
        first, again, other = (sampled(3, method, 8, seed) for seed in (5, 5, 2**64 - 1))  # type: ignore[arg-type]
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)
        assert first.min() >= 0
        assert first.max() <= 1
        values = np.arange(len(first), dtype=np.float64) ** 2
        one, two = (analysed(first, values, method, 5) for _ in range(2))  # type: ignore[arg-type]
        assert all(np.array_equal(one[name], two[name]) for name in one)


# --------------------------------------------------------------------------- keys


@given(
    st.floats(1e-6, 1e6), st.floats(1.0001, 1e6), st.booleans(), st.floats(0, 1)
)  # fmt: skip
def test_a_value_lies_within_its_range(low: float, factor: float, whole: bool, share: float) -> None:
    key = Key("k", float(math.ceil(low)), float(math.ceil(low * factor) + 1), True) if whole else Key("k", low, low * factor)
    value = key.at(share)
    assert key.low <= value <= key.high
    assert not whole or value == round(value)
    assert key.at(0.0) == pytest.approx(key.low)
    assert key.at(1.0) == pytest.approx(key.high)


def test_whole_numbers_have_equal_parts_of_the_range() -> None:
    key = Key("k", 1.0, 4.0, True)
    assert [key.at(share) for share in (0.0, 0.24, 0.26, 0.49, 0.51, 0.74, 0.76, 1.0)] == [1, 1, 2, 2, 3, 3, 4, 4]
    assert Key("k", 1.0, 1000.0, True).at(0.5) == 31  # even in the logarithm from 1 to 1001


def test_the_assumptions_of_a_scenario_from_half_to_twice() -> None:
    scenario = load_scenario("go-chat")
    keys = {key.name: key for key in assumptions(scenario)}
    assert (keys["database.insert_us"].low, keys["database.insert_us"].high) == (1000.0, 4000.0)
    assert (keys["database.cores"].low, keys["database.cores"].high, keys["database.cores"].whole) == (8.0, 32.0, True)
    assert keys["gateway.receive_us"].kind == "assumption"  # of costs/go, though the default is measured
    assert "gateway.write_us" not in keys
    assert "gateway.tick_us" not in keys  # 0 in Go
    assert "broker.publish_us" not in keys  # measured
    assert not any(name.startswith(("workload", "push", "client")) for name in keys)
    assert not any(key.name.startswith("broker") for key in assumptions(load_scenario("hub")))


def test_assumptions_stay_within_what_a_key_allows() -> None:
    keys = {key.name: key for key in assumptions(validate({"network": {"client_sigma": 2.0}}))}
    assert (keys["network.client_sigma"].low, keys["network.client_sigma"].high) == (1.0, 3.0)


def test_what_a_value_stands_on() -> None:
    assert stands_on("database.insert_us", Scenario())[0] == "assumption"
    assert stands_on("database.insert_us", validate({"database": {"insert_us": 700.0}})) == ("choice", "")
    kind, source = stands_on("gateway.write_us", load_scenario("go-chat"))
    assert (kind, source[:6]) == ("derived", "2.1 us")
    assert stands_on("broker.publish_us", Scenario())[0] == "measured"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("database.insrt_us=1:2", "--key 'database.insrt_us=1:2': 'database.insrt_us' is unknown; did you mean 'database.insert_us'?"),
        ("design.routing=1:2", "--key 'design.routing=1:2': 'design.routing' is no number"),
        ("database.insert_us", "--key 'database.insert_us': the form is part.key=low:high, such as database.insert_us=500:8000"),
        ("database.insert_us=5", "--key 'database.insert_us=5': the form is part.key=low:high, such as database.insert_us=500:8000"),
        ("database.insert_us=1:x", "--key 'database.insert_us=1:x': 'x' is no number; the form is part.key=low:high"),
        ("database.insert_us=1:inf", "--key 'database.insert_us=1:inf': 'inf' is no number; the form is part.key=low:high"),
        ("database.insert_us=9:1", "--key 'database.insert_us=9:1': the second number must be larger than the first"),
        ("database.insert_us=-1:1", "--key 'database.insert_us=-1:1': database.insert_us = -1.0: at least 0 is needed"),
        ("database.cores=1:2.5", "--key 'database.cores=1:2.5': whole numbers are needed"),
        ("network.silent_share=0:2", "--key 'network.silent_share=0:2': network.silent_share = 2.0: at most 1 is allowed"),
        ("seed=1:2", "--key seed: cannot be varied: replications have luck of their own already; 'seed' of the study sets it for all"),
    ],
)  # fmt: skip
def test_what_is_no_key(text: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        asked_keys([text], load_scenario("go-chat"))
    assert str(error.value) == said


def test_a_key_may_stand_there_once() -> None:
    with pytest.raises(InputError, match=r"--key database\.cores: stands there twice: once is allowed"):
        asked_keys(["database.cores=1:2", "database.cores=3:4"], Scenario())


# --------------------------------------------------------------------------- runs


def slow_database() -> Scenario:
    """Everything but the database takes no time to speak of."""
    return load_scenario(
        "hub", [*SMALL, "design.store=before", "network.client_sigma=0", "network.jitter_sigma=0", "database.service=fixed"]
    )


def test_the_database_moves_a_latency_by_its_range() -> None:
    """A message waits for one insert before it is routed: from 2 to 20 ms is 18 ms more of p50, up to queueing."""
    scenario = slow_database()
    keys = asked_keys(["database.insert_us=2000:20000", "gateway.close_us=1:50"], scenario)
    found = screen(scenario, keys, "p50_ms", "morris", 3)
    assert found.table["key"].tolist() == ["database.insert_us", "gateway.close_us"]
    assert found.table["mu"].tolist() == pytest.approx([18.0, 0.0], abs=0.5)
    assert len(found.points) == 3 * (2 + 1)
    assert set(found.points["database.insert_us"].round(3)) <= {2000.0, 8000.0, 14000.0, 20000.0}
    assert set(found.points["gateway.close_us"].round(3)) <= {1.0, 3.684, 13.572, 50.0}  # more than a decade
    assert found.warning.startswith("Weak: of the first 2 these are assumptions")
    assert "database.insert_us (one blog" in found.warning
    assert "close_us" not in found.warning  # it moves nothing


def test_no_warning_where_what_matters_is_known() -> None:
    table = ordered([Key("broker.push_us", 1, 2, kind="measured")], {"mu_star": np.ones(1), "mu": np.ones(1)}, "morris")
    points = pd.DataFrame({"p99_ms": [1.0, 2.0]})
    assert Screened(Scenario(), "p99_ms", "morris", table, points).warning == ""
    six = [Key(f"k{place}", 1, 2, kind="assumption" if place == 5 else "measured") for place in range(6)]
    table = ordered(six, {"mu_star": np.arange(6, 0, -1.0)}, "morris")
    assert Screened(Scenario(), "p99_ms", "morris", table, points).warning == ""  # the sixth is not among the first five


@pytest.mark.parametrize("method", ["morris", "sobol"])
def test_the_command(chatsim: Cli, tmp_path: Path, method: str) -> None:
    sets = [part for change in SMALL for part in ("--set", change)]
    asked = ["screen", "go-chat", *sets, "--key", "database.insert_us=1000:30000", "--key", "gateway.receive_us=10:40"]
    asked += ["--method", method, "--samples", "4", "--figure", "p50_ms"]
    said = chatsim(*asked, "--jobs", "1", "--out", "out")
    assert (said.status, said.err) == (0, "")
    assert max(map(len, said.out.splitlines())) <= 100
    assert "database.insert_us" in said.out
    assert "Weak: of the first 2 these are assumptions" in " ".join(said.out.split())
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "keys.parquet", "points.parquet", "scenario.toml", "provenance.json", "charts",
    }  # fmt: skip
    assert {path.name for path in (tmp_path / "out" / "charts").iterdir()} == {"tornado.png", "tornado.svg"}
    keys, points = (pd.read_parquet(tmp_path / "out" / f"{name}.parquet") for name in ("keys", "points"))
    assert len(points) == 4 * (3 if method == "morris" else 4)
    told = json.loads(chatsim(*asked, "--jobs", "2", "--json").out)
    assert [row["key"] for row in told["keys"]] == keys["key"].tolist()
    by = "mu_star" if method == "morris" else "total"
    assert [row[by] for row in told["keys"]] == keys[by].tolist()
    assert told["points"] == len(points)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--method", "moris"], "--method moris: allowed: 'morris', 'sobol'; did you mean 'morris'?"),
        (["--figure", "p99"], "--figure p99: no such figure; did you mean 'p99_ms'?"),
        (["--trajectories", "1"], "--trajectories 1: at least 2 are needed"),
        (["--method", "sobol", "--samples", "12"], "--samples 12: a power of 2 is needed, such as 16"),
        (["--replications", "0"], "--replications 0: at least 1 is needed"),
        (["--trajectories", "9999"], "--trajectories 9999: 269,973 runs: at most 100,000 are allowed"),
        (["--key", "database.insrt_us=1:2"], "--key 'database.insrt_us=1:2': 'database.insrt_us' is unknown; did you mean 'database.insert_us'?"),
        (
            ["--key", "database.cores=1:2", "--set", "workload.users=3", "--set", "workload.duration_s=1", "--trajectories", "2"],
            "--figure p99_ms: the run of point 0 has no value for it: a longer run may have one",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_asked(chatsim: Cli, arguments: list[str], said: str) -> None:
    found = chatsim("screen", "go-chat", "--jobs", "1", *arguments)
    assert (found.status, found.out, found.err) == (2, "", f"chatsim: {said}\n")


# --------------------------------------------------------------------------- the chart


def test_a_tornado_has_a_bar_per_key_that_moves_anything() -> None:
    keys = [Key("up", 0.0, 1.0), Key("down", 0.0, 1.0, kind="assumption"), Key("still", 0.0, 1.0)]
    table = screen_function(lambda x: x[0] - 3 * x[1], keys, "morris", 4)
    figure = tornado(Screened(Scenario(), "p99_ms", "morris", table, pd.DataFrame({"p99_ms": [0.0, 1.0]})))
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([-3.0, 1.0])
    assert [label.get_text().partition("\n")[0] for label in axes.get_yticklabels()] == ["down*", "up"]


def test_a_tornado_of_sobol_shows_the_key_alone_within_the_total() -> None:
    table = screen_function(ishigami, CIRCLE, "sobol", 256)
    figure = tornado(Screened(Scenario(), "p99_ms", "sobol", table, pd.DataFrame({"p99_ms": [0.0, 1.0]})))
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert widths[:3] == pytest.approx(table["total"].tolist())
    assert widths[3:] == pytest.approx(table["first"].clip(lower=0).tolist())


def test_a_tornado_of_nothing_says_so() -> None:
    table = screen_function(lambda _: 1.0, CIRCLE, "morris", 2)
    figure = tornado(Screened(Scenario(), "p99_ms", "morris", table, pd.DataFrame({"p99_ms": [0.0, 1.0]})))
    assert [text.get_text() for text in figure.axes[0].texts] == ["nothing moves it"]
