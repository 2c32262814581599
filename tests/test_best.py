"""Which design is best: the race with its first stage, who is out, what was not needed, the front, and what is said."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chatsim.analysis.cost import Cost, DayShares, Part
from chatsim.analysis.selection import best_of
from chatsim.report.decisions import pareto_chart
from chatsim.scenario import InputError, Scenario
from chatsim.scenario.load import validate
from chatsim.study import selecting
from chatsim.study.probes import Probe, Seen, known_slo, look
from chatsim.study.selecting import Race, Selected, best
from tests.conftest import Said

Cli = Callable[..., Said]
SMALL = ["workload.users=40", "workload.duration_s=20", "workload.conversations.messages_per_day=8000"]


def design(name: str, gateways: int = 1, **more: Any) -> Scenario:
    """A design of this name, which is all that is read of it where runs are made up."""
    return validate({"name": name, "design": {"gateways": gateways}, **more})


class Made:
    """Runs that are made up: a value of each design and replication, and what was asked for."""

    def __init__(self, values: Callable[[str, int], float], overloaded: Sequence[str] = (), usd: dict[str, float] | None = None):
        self.values, self.overloaded, self.usd = values, overloaded, usd or {}
        self.asked: list[tuple[str, int]] = []

    def look_at(self, probes: Sequence[Probe], _processes: int) -> Iterator[Seen]:
        for probe in probes:
            name = probe.scenario.name
            self.asked.append((name, probe.replication))
            value = self.values(name, probe.replication)
            figures = {"mean_ms": value, "carried_per_s": value, "overloaded": name in self.overloaded, "recipients": 100.0}
            bill = Cost((Part("gateways", 1.0, "gateways", self.usd.get(name, 10.0)),), 1000, DayShares())
            yield Seen(figures, {"latency": ([], []), "login": ([], [])}, {"gateway": 0.5}, bill, "")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Made]:
    """Puts made-up runs in the place of real ones."""

    def put(*arguments: Any, **more: Any) -> Made:
        runs = Made(*arguments, **more)
        monkeypatch.setattr(selecting, "look_at", runs.look_at)
        return runs

    return put


def luck(replication: int) -> float:
    """What all designs share in a replication, and then some: far larger than what sets them apart."""
    return 100.0 * np.sin(7.0 * replication)


def by_design(found: Selected) -> pd.DataFrame:
    """The table by design."""
    return found.table.set_index("design")


FOUR = [design("a"), design("b"), design("c"), design("d")]
LEVEL = {"a": 30.0, "b": 20.0, "c": 21.0, "d": 40.0}


def noisy(name: str, replication: int) -> float:
    """The level of a design, the common luck, and a little of its own."""
    own = np.random.default_rng((ord(name), replication)).normal()
    return float(LEVEL[name] + luck(replication) + own)


# --------------------------------------------------------------------------- the race


def test_the_race_is_kn_plus_plus_on_pairs(made: Callable[..., Made]) -> None:
    made(noisy)
    found = best(FOUR, Race("mean_ms", delta=0.5))

    def observe(systems: Sequence[int], replication: int) -> list[float]:
        return [noisy("abcd"[system], replication) for system in systems]

    wanted = best_of(observe, 4, 0.5)
    assert found.best == "b" == "abcd"[wanted.best]
    assert found.table["replications"].tolist() == list(wanted.observations)
    assert found.table["mean_ms"].tolist() == pytest.approx(list(wanted.means))
    assert found.table["state"].tolist() == ["dropped", "best", "dropped", "dropped"]
    assert found.sentences[0].startswith("b has the smallest mean_ms: with a probability of 95 % or more, where the next is at least 0.5 behind")


def test_what_processes_did_ahead_is_thrown_away_where_it_is_not_needed(
    made: Callable[..., Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = made(noisy)
    alone = best(FOUR, Race("mean_ms", delta=0.5))
    assert len(one.asked) == alone.table["replications"].sum()
    monkeypatch.setattr(selecting, "workers", lambda _jobs, _tasks: 8)
    many = made(noisy)
    together = best(FOUR, Race("mean_ms", delta=0.5), jobs=8)
    assert together.table.equals(alone.table)
    assert len(many.asked) >= len(one.asked)
    assert len(set(many.asked)) == len(many.asked)  # nothing is done twice


def test_the_largest_may_be_best(made: Callable[..., Made]) -> None:
    made(noisy)
    found = best(FOUR, Race("carried_per_s", delta=1.0, largest=True))
    assert found.best == "d"
    assert found.sentences[0].startswith("d has the largest carried_per_s")


def test_designs_that_are_too_near_stay_undecided(made: Callable[..., Made]) -> None:
    made(lambda name, replication: float(np.random.default_rng((ord(name), replication)).normal()))
    found = best(FOUR[:2], Race("mean_ms", delta=0.01, most=12))
    assert found.found is not None
    assert not found.found.decided
    assert sorted(found.table["state"]) == ["best", "in the race"]
    assert found.table["replications"].tolist() == [12, 12]
    assert found.sentences[0].startswith(f"Undecided after 12 replications; of the 2 that are left {found.best} is ahead in mean_ms")


def test_who_breaks_an_slo_or_is_overloaded_is_out_of_the_race(made: Callable[..., Made]) -> None:
    made(lambda name, replication: LEVEL[name] + replication % 2, overloaded=["b"])
    race = Race("mean_ms", delta=1.0, slos=(known_slo("mean_ms < 35"),))
    found = best(FOUR, race)
    states = by_design(found)["state"]
    assert states["b"] == "out: overloaded"
    assert states["d"] == "out: mean_ms < 35 not met"
    assert (found.best, states["a"]) == ("c", "dropped")
    assert found.table["slos"].tolist() == ["met", "not met", "met", "not met"]
    assert [verdict.design for verdict in found.verdicts] == ["a", "b", "c", "d"]
    assert not by_design(found).loc[["b", "d"], "on_front"].any()


def test_where_all_are_out_nothing_is_best(made: Callable[..., Made]) -> None:
    made(noisy, overloaded="abcd")
    found = best(FOUR, Race("mean_ms"))
    assert (found.best, found.found) == ("", None)
    assert found.sentences == ["No design is left: each is overloaded or breaks an SLO (see the table)."]
    pareto_chart(found)


def test_one_that_is_left_needs_no_race(made: Callable[..., Made]) -> None:
    runs = made(noisy, overloaded="bcd")
    found = best(FOUR, Race("mean_ms"))
    assert found.sentences[0] == "a is the only design that is left."
    assert len(runs.asked) == 40


def test_a_best_design_that_may_break_an_slo_is_named(made: Callable[..., Made]) -> None:
    made(lambda name, replication: LEVEL[name] + 20 * (replication % 2))
    found = best(FOUR, Race("mean_ms", delta=1.0, slos=(known_slo("mean_ms < 31"),)))
    assert found.best == "b"
    assert found.sentences[1].startswith("But mean_ms < 31 is undecided for it: 30 ")


def test_the_front_of_cost_and_figure_by_hand(made: Callable[..., Made]) -> None:
    """b is fastest, a cheapest; c costs more than b, d less than a would but is slowest of all at the price of a."""
    made(lambda name, replication: LEVEL[name] + replication % 2, usd={"a": 5.0, "b": 20.0, "c": 25.0, "d": 5.0})
    found = best(FOUR, Race("mean_ms", delta=0.5))
    assert by_design(found)["on_front"].to_dict() == {"a": True, "b": True, "c": False, "d": False}
    assert "On the front of cost and mean_ms: a, b." in found.sentences
    made(lambda name, replication: LEVEL[name] + replication % 2, usd={"a": 5.0, "b": 20.0, "c": 25.0, "d": 5.0})
    most = best(FOUR, Race("carried_per_s", delta=0.5, largest=True))
    assert by_design(most)["on_front"].to_dict() == {"a": False, "b": False, "c": False, "d": True}


# --------------------------------------------------------------------------- real runs


@cache
def real() -> Selected:
    """A database of 2 ms against one of 12 ms, and one that nobody could carry."""

    def of(insert_us: float, cores: int = 16) -> Scenario:
        return validate(
            {
                "name": f"{insert_us:g} us",
                "workload": {"users": 40, "duration_s": 20.0, "conversations": {"messages_per_day": 8000.0}},
                "design": {"routing": "in_process", "gateways": 1},
                "database": {"insert_us": insert_us, "cores": cores},
            }
        )

    designs = [of(12_000.0), of(2_000.0), of(1_000_000.0, 1)]
    return best(designs, Race("mean_ms", delta=2.0, first_stage=4))


def test_common_luck_tells_designs_apart_in_few_runs() -> None:
    """The luck of a replication moves both by more than sets them apart; their difference hardly moves."""
    found = real()
    table = by_design(found)
    assert found.best == "2000 us"
    assert table.loc["1e+06 us", "state"] == "out: overloaded"
    assert table.loc[["12000 us", "2000 us"], "replications"].tolist() == [4, 4]
    apart = table.loc["12000 us", "mean_ms"] - table.loc["2000 us", "mean_ms"]
    assert 8.0 < apart < 13.0
    assert found.costs["2000 us"].usd_per_month == pytest.approx(59.57 + 94.17, rel=0.1)


def test_the_chart_has_a_mark_per_design_and_joins_the_front() -> None:
    found = real()
    figure = pareto_chart(found)
    (axes,) = figure.axes
    assert axes.get_xlabel() == "cost (USD per month)"
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(names) == 3
    assert names[1].startswith("2000 us\n(best")
    assert names[2].endswith("(out)")


def test_a_run_that_is_seen_has_the_figures_of_its_outcome() -> None:
    seen = look(Probe(validate({"workload": {"users": 40, "duration_s": 20.0, "conversations": {"messages_per_day": 8000.0}}}), 0))
    values, count = (np.array(part) for part in seen.samples["latency"])
    assert count.sum() == seen.figures["deliveries"]
    assert (values * count).sum() / count.sum() == pytest.approx(seen.value("mean_ms"), rel=0.005)
    assert math.isnan(seen.value("no_such_figure"))
    assert set(seen.loads) == {"gateway", "broker", "database"}


# --------------------------------------------------------------------------- the command


def test_the_command(chatsim: Cli, tmp_path: Path) -> None:
    sets = [part for change in SMALL for part in ("--set", change)]
    asked = ["best", "hub", "go-chat", *sets, "--figure", "mean_ms", "--delta", "1", "--replications", "4", "--slo", "mean_ms<1000"]
    said = chatsim(*asked, "--jobs", "1", "--out", "out")
    assert (said.status, said.err) == (0, "")
    assert max(map(len, said.out.splitlines())) <= 100
    assert "hub has the smallest mean_ms" in said.out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"best.parquet", "scenarios", "provenance.json", "charts"}
    assert {path.name for path in (tmp_path / "out" / "charts").iterdir()} == {"pareto.png", "pareto.svg"}
    told = json.loads(chatsim(*asked, "--jobs", "2", "--json").out)
    assert (told["best"], told["decided"]) == ("hub", True)
    table = pd.read_parquet(tmp_path / "out" / "best.parquet")
    assert [row["mean_ms"] for row in told["designs"]] == table["mean_ms"].tolist()
    assert told["cost"]["hub"]["usd_per_month"] == table["usd_per_month"].iloc[0]


def test_a_design_may_be_varied(chatsim: Cli) -> None:
    sets = [part for change in SMALL for part in ("--set", change)]
    asked = ["best", "hub", "--vary", "gateway.receive_us=10,50000", *sets, "--figure", "mean_ms", "--replications", "3", "--jobs", "1"]
    told = json.loads(chatsim(*asked, "--json").out)
    assert told["best"] == "hub, 10"
    assert [row["design"] for row in told["designs"]] == ["hub, 10", "hub, 50000"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["hub"], "best: 'hub' is alone: at least two designs are needed, or --vary"),
        (["hub", "hubb"], "'hubb': neither a file nor a shipped design; did you mean 'hub'?"),
        (["hub", "go-chat", "--figure", "p99"], "--figure p99: no such figure; did you mean 'p99_ms'?"),
        (["hub", "go-chat", "--delta", "0"], "--delta 0: more than 0 is needed, the smallest difference that matters"),
        (["hub", "go-chat", "--alpha", "0.5"], "--alpha 0.5: more than 0 and less than 0.5 is needed, as 0.05"),
        (["hub", "go-chat", "--replications", "2"], "--replications 2: at least 3 are needed in the first stage"),
        (["hub", "go-chat", "--most", "5"], "--most 5: at least the first stage of 10 replications is needed"),
        (["hub", "go-chat", "--slo", "p99<1"], "--slo 'p99<1': 'p99' is no figure; did you mean 'p99_ms'?"),
        (["hub", "hub"], 'two designs have the name \'hub\': names must differ; set name = "..." in one of them'),
        (
            ["hub", "go-chat", "--set", "workload.users=3", "--set", "workload.duration_s=1", "--replications", "3"],
            "--figure p99_ms: replication 0 of 'hub' has no value for it: a longer run may have one",
        ),
        (
            ["hub", "go-chat", "--set", "workload.users=3", "--set", "workload.duration_s=1", "--replications", "3", "--figure", "strikes"],
            "--figure strikes: replication 0 of 'hub' has no such figure: what it is about is switched off there",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_asked(chatsim: Cli, arguments: list[str], said: str) -> None:
    found = chatsim("best", "--jobs", "1", *arguments)
    assert (found.status, found.out) == (2, "")
    assert found.err.startswith("chatsim: ")
    assert found.err == f"chatsim: {said}\n"


def test_workloads_must_be_the_same() -> None:
    other = design("b", workload={"users": 7})
    with pytest.raises(InputError, match=r"'a' and 'b' differ in workload\.users"):
        best([design("a"), other], Race("mean_ms"))
    with pytest.raises(InputError, match="--replications 1: at least 3 are needed"):
        best([design("a"), design("b")], replace(Race("mean_ms"), first_stage=1))
