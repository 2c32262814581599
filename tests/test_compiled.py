"""The compiled engine against SimPy's: the same outcome, record for record and bit for bit, wherever it says it covers a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from chatsim.engine import Outcome, simulate
from chatsim.engine.compiled.coverage import missing
from chatsim.scenario import InputError, Scenario, load_scenario, preset_names
from chatsim.scenario.load import validate
from chatsim.world import build_world
from chatsim.world.tables import World, no_intrusions
from tests.test_fault_laws import busy_worlds
from tests.test_laws import scenarios, worlds

COLUMNS = (
    "messages", "deliveries", "sessions", "ticks", "subscriptions", "presence", "pulls", "pushes", "intrusions", "endings",
    "faults", "breaks",
)
QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def differs(one: Outcome, other: Outcome) -> str:
    """The first record in which two outcomes differ, or ''."""
    tables = {name: (getattr(one, name), getattr(other, name)) for name in COLUMNS}
    tables["stations"] = tuple({"work": each.work, "item_us": each.item_us} for each in (one, other))  # type: ignore[assignment]
    for table, (left, right) in tables.items():
        assert list(left) == list(right)
        for name, column in left.items():
            if column.dtype != right[name].dtype or column.shape != right[name].shape:
                return f"{table}.{name}: {column.dtype} {column.shape}, {right[name].dtype} {right[name].shape}"
            same = (column == right[name]) | (_nan(column) & _nan(right[name]))
            if not same.all():
                row = tuple(np.argwhere(~same)[0].tolist())
                return f"{table}.{name}, row {row}: {column[row]!r}, {right[name][row]!r} ({(~same).sum()} rows differ)"
    return "" if one.end_s == other.end_s else f"end_s: {one.end_s}, {other.end_s}"


def _nan(column: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    return np.isnan(column) if column.dtype.kind == "f" else np.zeros(column.shape, bool)


def check_equal(chosen: Scenario, people: World, again: str) -> None:
    """Both engines give the same outcome; ``again`` says how to see a difference again."""
    found = differs(simulate(chosen, people, engine="simpy"), simulate(chosen, people, engine="compiled"))
    assert not found, f"SimPy and compiled differ in {found}; again: {again}"


@st.composite
def covered(draw: st.DrawFn) -> Scenario:
    """Any scenario of the laws that the compiled engine covers, with clients that come back as they like."""
    table = draw(scenarios()).model_dump()
    table["design"] |= {
        "rooms": draw(st.sampled_from(["pair", "group"])), "rooms_created": "before", "membership": "memory", "receipts": False
    }
    table["access"] |= {"policy": "open", "signature": draw(st.sampled_from(["hs256", "rs256"]))}
    table["friend_list"] |= {"policy": "none"}
    has_broker = table["design"]["routing"] not in ("in_process", "mesh")
    shows = draw(st.sampled_from(["none", "rooms", "friends", "all"])) if has_broker else "none"
    table["presence"] |= {"show_to": shows, "how": "pull" if has_broker else "push"}
    table["network"] |= {
        "outbound_policy": draw(st.sampled_from(["close", "drop_newest", "block"])),
        "slow_share": draw(st.sampled_from([0.0, 0.5])), "slow_bytes_per_s": 300.0,
        "handshake_trips": draw(st.sampled_from([0, 1])),
    }
    table["client"] |= {
        "reconnect": draw(st.sampled_from(["none", "fixed", "phoenix", "socketio", "full_jitter"])), "reconnect_s": 0.3,
        "tries_max": draw(st.sampled_from([0, 0, 2])), "connect_timeout_s": draw(st.sampled_from([0.05, 0.5, 20.0])),
        "buffer_max": draw(st.sampled_from([0, 1, 1000])), "resync": draw(st.booleans()),
    }
    table["balancer"] |= {"connections_per_s": draw(st.sampled_from([0.0, 0.0, 2.0])), "burst": 1}
    table["gateway"] |= {"shed_above": draw(st.sampled_from([0, 0, 2]))}
    table["push"] |= {"quota_per_min": draw(st.sampled_from([0, 1]))}
    if has_broker:
        stream = table["broker"]["topology"] != "cluster" and draw(st.booleans())
        table["broker"] |= {"delivery": "stream" if stream else "pubsub", "history_max": draw(st.sampled_from([0, 1]))}
    if draw(st.booleans()):
        table["hosts"] = [{"name": "all", "cores": draw(st.integers(1, 2)), "stations": ["*"]}]
    return validate(table)


@pytest.mark.parametrize("name", preset_names())
def test_presets_have_equal_outcomes(name: str) -> None:
    chosen = load_scenario(name, ["workload.users=1500", "workload.duration_s=120", "push.after_min=0.3"])
    check_equal(chosen, build_world(chosen), f"design {name}")


@pytest.mark.long
@pytest.mark.parametrize("name", preset_names())
def test_presets_have_equal_outcomes_at_their_own_workload(name: str) -> None:
    chosen = load_scenario(name)
    check_equal(chosen, build_world(chosen), f"design {name}, as it is")


@settings(max_examples=60, deadline=None, suppress_health_check=QUIET, print_blob=True)
@given(covered(), st.one_of(worlds(), busy_worlds()))
def test_random_scenarios_have_equal_outcomes(chosen: Scenario, people: World) -> None:
    people = without_intrusions(people)
    assert missing(chosen, people) == ()
    check_equal(chosen, people, "the blob that hypothesis prints")


@pytest.mark.long
@pytest.mark.parametrize("number", range(10))
def test_a_thousand_random_scenarios_have_equal_outcomes(number: int) -> None:
    @seed(number)
    @settings(max_examples=100, deadline=None, suppress_health_check=QUIET, database=None)
    @given(covered(), st.one_of(worlds(), busy_worlds()))
    def check(chosen: Scenario, people: World) -> None:
        again = f"pytest -m long tests/test_compiled.py -k 'thousand and {number}'"
        check_equal(chosen, without_intrusions(people), again)

    check()


def without_intrusions(people: World) -> World:
    """A world in which nobody tries to get into rooms."""
    return replace(people, intrusions=no_intrusions())


def test_what_is_not_covered_is_said() -> None:
    chosen = load_scenario("room-channel", ["workload.users=50", "workload.duration_s=60", "design.receipts=true"])
    people = build_world(chosen)
    with pytest.raises(InputError, match=r"engine = .compiled.: does not cover design\.receipts = true"):
        simulate(chosen, people, engine="compiled")
    by_itself = simulate(chosen, people, engine="auto")
    assert (by_itself.engine, by_itself.not_compiled) == ("simpy", ("design.receipts = true",))
    with pytest.raises(InputError, match="engine = 'compild': no such engine; did you mean 'compiled'"):
        simulate(chosen, people, engine="compild")
