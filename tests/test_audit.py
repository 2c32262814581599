"""The auditor finds each breach that it looks for, and loops that are compiled find what they find when they are not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from chatsim import analysis
from chatsim.analysis.digest import Digest
from chatsim.analysis.ticks import tick_figures
from chatsim.engine import Fate, Journey, Outcome, finish, loops, prepare, simulate, simulate_in_parts
from chatsim.engine.audit import audit_recorded
from chatsim.engine.outcome import Columns
from chatsim.engine.parts import Waiting
from chatsim.scenario import AuditError, load_scenario
from chatsim.world import build_world
from tests.worlds import ALWAYS, scenario, world

PEOPLE = world([(user, *ALWAYS) for user in range(4)], [[0, 1, 2]], [(1.0, 0, 0), (2.0, 1, 0)])
MEANT = np.zeros(2, np.int64)


@pytest.fixture(params=[False, True], ids=["as they are", "compiled"])
def compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether loops are compiled, however small the run is."""
    use_loops(monkeypatch, request.param)
    return bool(request.param)


def use_loops(monkeypatch: pytest.MonkeyPatch, compiled: bool) -> None:
    """Has all loops compiled, or none."""
    for name in ("LOADED_S", "KEPT_S", "NOT_KEPT_S"):
        monkeypatch.setattr(loops, name, 0.0 if compiled else math.inf)
    for loop in loops.LOOPS if not compiled else []:
        monkeypatch.setattr(loop, "fast", None)


def tampered(change: Callable[[Columns], None]) -> None:
    """Audits a run of two messages of which something is changed."""
    journey = Journey(scenario(design={"routing": "global", "gateways": 2}), PEOPLE)
    journey.run()
    deliveries = {name: column.copy() for name, column in finish(journey).deliveries.items()}
    audit_recorded(PEOPLE, journey.notes, deliveries, MEANT)
    change(deliveries)
    audit_recorded(PEOPLE, journey.notes, deliveries, MEANT)


def more(deliveries: Columns, row: int, **values: float) -> None:
    """Adds a row once more, with other values."""
    for name, column in deliveries.items():
        deliveries[name] = np.append(column, np.array([values.get(name, column[row])], column.dtype))


def put(deliveries: Columns, row: int, **values: float) -> None:
    """Writes values to a row."""
    for name, value in values.items():
        deliveries[name][row] = value


def row_to(deliveries: Columns, message: int, user: int) -> int:
    """The row of a message for a user."""
    return int(np.flatnonzero((deliveries["message"] == message) & (deliveries["recipient"] == user))[0])


BREACHES: dict[str, tuple[str, Callable[[Columns], None]]] = {
    "no end": ("message 1 to user 2 has no end (1 such)", lambda rows: put(rows, row_to(rows, 1, 2), fate=Fate.MISSED)),
    "not meant": ("message 1 to user 3 has an end, but was not meant (1 such)", lambda rows: more(rows, row_to(rows, 1, 2), recipient=3, session=3)),
    "not even in a room": ("message 0 to user 3 has an end, but was not meant (1 such)", lambda rows: more(rows, 0, message=0, recipient=3, session=-1)),
    "to the sender": ("message 1 to user 1 has an end, but was not meant (1 such)", lambda rows: more(rows, row_to(rows, 1, 2), recipient=1, session=1)),
    "two ends": ("a message to one recipient has two ends", lambda rows: more(rows, row_to(rows, 1, 2), session=-1, fate=Fate.LOST)),
    "twice": ("a session got a message twice and kept both", lambda rows: more(rows, row_to(rows, 1, 2))),
    "missing": ("message 1: session 2 was online throughout, but nothing was written to it (1 such)", lambda rows: put(rows, row_to(rows, 1, 2), session=-1, fate=Fate.LOST)),
    "written early": ("row 0: written before it was received (2 such)", lambda rows: put(rows, np.arange(2), written_s=0.5)),
    "delivered early": ("row 3: delivered before it was written (1 such)", lambda rows: put(rows, 3, time_s=0.5)),
    "of no message": ("there is a row of message 0, or of message 2, of 2", lambda rows: more(rows, 0, message=2)),
    "of no user": ("there is a row of recipient -1, or of recipient 2, of 4", lambda rows: more(rows, 0, recipient=-1)),
    "of no session": ("there is a row of session 0, or of session 4, of 4", lambda rows: more(rows, 0, session=4)),
}  # fmt: skip


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("breach", BREACHES)
def test_each_breach_is_found(breach: str) -> None:
    said, change = BREACHES[breach]
    with pytest.raises(AuditError) as error:
        tampered(change)
    assert str(error.value) == said


@pytest.mark.usefixtures("compiled")
def test_a_duplicate_and_what_a_session_missed_are_no_ends() -> None:
    tampered(lambda rows: more(rows, row_to(rows, 1, 2), fate=Fate.DUPLICATE))
    tampered(lambda rows: more(rows, row_to(rows, 1, 2), fate=Fate.MISSED))
    tampered(lambda rows: more(rows, row_to(rows, 1, 2), recipient=3, session=3, fate=Fate.OVERHEARD))


def counted(offline: list[int], without: Callable[[Columns], np.ndarray] = lambda rows: rows["recipient"] == 2) -> None:
    """Audits a run of two messages of user 0 to users 1 and 2, of whom the second was away, where some rows are not
    there but counted."""
    people = world([(0, *ALWAYS), (1, *ALWAYS)], [[0, 1, 2]], [(1.0, 0, 0), (2.0, 0, 0)])
    journey = Journey(scenario(design={"routing": "global", "gateways": 2}), people)
    journey.run()
    deliveries = finish(journey).deliveries
    left = {name: column[~without(deliveries)] for name, column in deliveries.items()}
    audit_recorded(people, journey.notes, left, MEANT, np.array(offline, np.int32))


@pytest.mark.usefixtures("compiled")
def test_who_is_counted_offline_has_an_end() -> None:
    counted([1, 1])
    counted([0, 1], lambda rows: (rows["recipient"] == 2) & (rows["message"] == 1))


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(("offline", "said"), [
    ([2, 1], "message 0 has no row for 1 recipients, but counts 2 as offline"),
    ([0, 1], "message 0 has no row for 1 recipients, but counts 0 as offline"),
    ([1, 0], "message 1 has no row for 1 recipients, but counts 0 as offline"),
    ([2, 0], "message 0 has no row for 1 recipients, but counts 2 as offline"),
    ([1, -1], "message 1 has no row for 1 recipients, but counts -1 as offline"),
    ([0, 0], "message 0 to user 2 has no end (1 such)"),
])  # fmt: skip
def test_a_count_that_is_off_by_one_is_found(offline: list[int], said: str) -> None:
    with pytest.raises(AuditError) as error:
        counted(offline)
    assert str(error.value) == (said if any(offline) else said.replace("(1 such)", "(2 such)"))


@pytest.mark.usefixtures("compiled")
def test_who_has_a_row_is_not_counted_too_and_who_was_online_is_not_counted() -> None:
    with pytest.raises(AuditError, match="message 0 has no row for 0 recipients, but counts 1 as offline"):
        counted([1, 1], lambda rows: (rows["recipient"] == 2) & (rows["message"] == 1))
    with pytest.raises(AuditError, match="message 1: session 1 was online throughout, but nothing was written to it"):
        counted([1, 2], lambda rows: (rows["recipient"] == 2) | (rows["message"] == 1))


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(("devices", "of_user"), [(2, 1), (3, 1), (2, 2), (300, 1)])
def test_of_several_sessions_each_must_have_its_row(devices: int, of_user: int) -> None:
    """Also where a row of some other session, or of a session of somebody else, is there in its place."""
    people = world([(0, *ALWAYS), *[(1, *ALWAYS)] * devices, (2, *ALWAYS)], [[0, 1, 2]], [(1.0, 0, 0), (2.0, 0, 0)])
    journey = Journey(scenario(design={"routing": "global", "gateways": 2}), people)
    journey.run()
    deliveries = finish(journey).deliveries
    audit_recorded(people, journey.notes, deliveries, MEANT)
    lost = int(np.flatnonzero((deliveries["message"] == 1) & (deliveries["session"] == devices))[0])
    left = {name: np.delete(column, lost) for name, column in deliveries.items()}
    for fate in (Fate.DUPLICATE, Fate.MISSED):
        tampered_rows = {name: column.copy() for name, column in left.items()}
        more(tampered_rows, row_to(left, 1, of_user), fate=fate)
        with pytest.raises(AuditError) as error:
            audit_recorded(people, journey.notes, tampered_rows, MEANT)
        assert str(error.value) == f"message 1: session {devices} was online throughout, but nothing was written to it (1 such)"


DESIGNS = {
    "drops": ("go-chat", []),
    "tells all": ("hub", []),
    "stores": ("room-channel", ["design.offline=store", "design.store=before"]),
    "pushes": ("global-channel", ["design.offline=push", "design.store=before", "workload.sessions.second_device_share=1"]),
}


def run(name: str) -> tuple[Outcome, list[Outcome], Digest]:
    """A run, kept whole and in parts, with the figures of the parts."""
    design, changes = DESIGNS[name]
    chosen = load_scenario(design, ["workload.users=60", "workload.duration_s=7200", "workload.conversations.messages_per_day=200", *changes])
    people, parts = build_world(chosen), list[Outcome]()
    digest = Digest(chosen, people)
    simulate_in_parts(chosen, people, lambda part: (parts.append(part), digest.take(part))[0])
    return simulate(chosen, people, engine="simpy"), parts, digest


@pytest.mark.parametrize("name", DESIGNS)
def test_compiled_loops_give_the_same_as_they_are(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare()
    use_loops(monkeypatch, False)
    whole, parts, digest = run(name)
    assert not any(loop.fast for loop in loops.LOOPS)
    monkeypatch.undo()
    use_loops(monkeypatch, True)
    again, parts_again, digest_again = run(name)
    assert all(loop.fast for loop in loops.LOOPS)
    for one, other in zip([whole, *parts], [again, *parts_again], strict=True):
        for column in one.deliveries:
            np.testing.assert_array_equal(one.deliveries[column], other.deliveries[column])
        np.testing.assert_array_equal(one.messages.get("offline"), other.messages.get("offline"))
    assert digest.stations().equals(digest_again.stations())
    assert digest.tier_timeline().equals(digest_again.tier_timeline())
    assert digest.overload() == digest_again.overload()
    assert analysis.stations(whole).equals(analysis.stations(again))


@pytest.mark.usefixtures("compiled")
def test_of_ticks_that_are_left_out_the_items_are_kept() -> None:
    """Of one station and a bin from 0 to 10 s: the first tick, the last, and what ends last, with what came before."""
    outcome = run("drops")[0]
    ticks = {name: np.zeros(5, column.dtype) for name, column in outcome.ticks.items()}
    ticks |= {"start_s": np.array([0.0, 1.0, 2.0, 3.0, 12.0]), "end_s": np.array([1.0, 2.0, 9.0, 4.0, 13.0])}
    ticks["items"][:] = [1, 2, 3, 4, 5]
    kept = tick_figures(replace(outcome, ticks=ticks), 20.0, np.empty(0), 20.0, 2).thinned
    assert kept["start_s"].tolist() == [0.0, 2.0, 3.0, 12.0]
    assert kept["came"].tolist() == [1.0, 5.0, 4.0, 5.0]


def test_what_waits_is_taken_once_though_little_of_it_is_left() -> None:
    waiting = Waiting(100, np.arange(100, 110))
    assert waiting.take(np.array([99, 103, 103, 109])).tolist() == [False, True, False, True]
    assert waiting.take(np.arange(100, 110)).tolist() == [True, True, True, False, *[True] * 5, False]
    assert waiting.left().tolist() == []
    assert waiting.take(np.array([105])).tolist() == [False]
