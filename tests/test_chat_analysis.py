"""What is computed of the chat logic: who read what, presence, pushes, lists, worked out by hand on small runs.

Times in ms (see ``worlds.scenario``): client link 10, receive 1, command 4, parse 2, write 8, PUBLISH 16, push 32,
presence key 3, link to broker and database 100.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chatsim import analysis
from chatsim.analysis.lists import LIMITS
from chatsim.engine import Cause, Fate, IntrusionFate, Outcome, PushFate, simulate
from chatsim.engine.outcome import SessionFate, Work
from chatsim.scenario import load_scenario
from chatsim.world import build_world
from tests import outcomes
from tests.test_notices_by_hand import NOTIFIES, PUSH, STORED, lists, opened
from tests.test_rooms_by_hand import ONE, PEOPLE, ended
from tests.test_routing_by_hand import THREE
from tests.worlds import ALWAYS, scenario, world

NAN = math.nan


def written(
    messages: Any = (), deliveries: Any = (), sessions: Any = (), work: Any = None, duration_s: float = 10.0, **parts: Any
) -> Outcome:
    """An outcome written by hand, also in the columns of the chat logic: nothing opens, is listed or acknowledged."""

    def with_defaults(rows: Any, defaults: dict[str, Any]) -> dict[str, np.ndarray]:
        return {name: np.array([row.get(name, value) for row in rows]) for name, value in defaults.items()}

    plain = outcomes.outcome(
        [{key: value for key, value in row.items() if key in outcomes.MESSAGE} for row in messages],
        [{key: value for key, value in row.items() if key in outcomes.DELIVERY} for row in deliveries],
        [{key: value for key, value in row.items() if key in outcomes.SESSION} for row in sessions],
        work=work,
        duration_s=duration_s,
        **parts,
    )
    return replace(
        plain,
        messages={**plain.messages, **with_defaults(messages, {"listed_rank": -1, "opening": False, "detour": 0})},
        deliveries={**plain.deliveries, **with_defaults(deliveries, {"receipt_s": NAN})},
        sessions={**plain.sessions, **with_defaults(sessions, {"listed": 0})},
    )


def silent_world() -> Outcome:
    """A real run of a world in which nothing happens: one user, who never connects."""
    asked = scenario(presence={"show_to": "rooms"}, friend_list={"policy": "recent"}, design={"receipts": True})
    built = build_world(load_scenario("room-channel", ["workload.users=1", "workload.duration_s=0.001"]))
    assert not len(built.messages)
    assert not len(built.sessions)
    return simulate(asked, built)


def told(figures: pd.Series, *names: str) -> list[float]:
    return [float(figures[name]) for name in names]


@pytest.mark.parametrize("nothing", [written(), silent_world()], ids=["by hand", "a run"])
def test_of_nothing_figures_are_nought_or_none(nothing: Outcome) -> None:
    seen = analysis.overheard(nothing)
    assert seen.empty
    assert list(seen) == ["message", "sender", "listener", "session", "time_s", "intruder"]
    of = {
        "reads": (analysis.who_reads(nothing), {"overheard_share", "listeners_mean", "entered_share", "lag_s_mean", "lag_s_max"}),
        "presence": (
            analysis.presence(nothing),
            {"notice_delay_ms", "ghost_share", "hidden_share", "write_share", "push_share", "byte_share"},
        ),
        "pushes": (
            analysis.pushes(nothing),
            {"delay_s_p50", "delay_s_p99", "brought_back_share", "ignored_share", "wasted_share"},
        ),
        "devices": (analysis.devices(nothing), {"receipt_s_p50"}),
        "list": (analysis.friend_list(nothing), {"hit_share", "listed_mean", "login_ms_p50", "login_ms_p99"}),
    }
    for figures, without_a_whole in of.values():
        assert {name for name, value in figures.items() if math.isnan(value)} == without_a_whole
        rest = figures.drop(list(without_a_whole))
        # an empty gateway has its own memory
        assert all(value == 0 for name, value in rest.items() if name != "memory_bytes")
    assert analysis.time_to_read(nothing)["count"].tolist() == [0, 0, 0]
    assert analysis.time_to_read(nothing)[["mean_s", "p50_s", "p90_s", "p99_s"]].isna().all(axis=None)
    if nothing.scenario.friend_list.policy != "none":
        curve = analysis.run_hit_curve(nothing)
        assert curve["hit_share"].isna().all()
        assert curve["count"].eq(0).all()


# ------------------------------------------------------------ who reads what


def test_who_has_written_in_a_personal_room_saw_the_next_message() -> None:
    people = world(THREE, [[0, 1], [1, 2]], [(1.0, 0, 0), (2.0, 2, 1)])
    outcome = simulate(scenario(design={**ONE, "rooms": "personal"}), people)
    # Cleo's message: up 10, receive 1, written to Ben 8, then to Anna 8, down 10
    seen = analysis.overheard(outcome).to_dict("records")
    assert seen == [
        {"message": 1, "sender": 2, "listener": 0, "session": 0, "time_s": pytest.approx(2.037), "intruder": False}
    ]
    figures = analysis.who_reads(outcome)
    assert told(figures, "private", "overheard", "overheard_share", "listeners_mean", "by_intruders") == [2, 1, 0.5, 0.5, 0]


def test_listeners_are_people_however_many_devices_they_have() -> None:
    # Dora and Cleo hear what Anna writes to Ben in the group of all four, Dora on two devices
    people = world([*PEOPLE, (3, *ALWAYS)], [[0, 1], [0, 1, 2, 3]], [(1.0, 0, 0), (2.0, 0, 1)])
    outcome = simulate(scenario(design={**ONE, "rooms": "group"}), people)
    assert analysis.overheard(outcome)["listener"].tolist() == [2, 3, 3]
    # the message to the group is no private one
    figures = analysis.who_reads(outcome)
    assert told(figures, "private", "overheard", "overheard_share", "listeners_mean") == [1, 1, 1, 2]


def intruders() -> Outcome:
    """Dora writes to Cleo at 0.5 s, and hears Ben there at 0.8 s; at 1 s she tries Ben's room, and hears Anna there at 3 s.

    At 4 s she is gone, and comes back; Anna writes again. Eve fails: Ben is nobody she has a room with.
    """
    sessions = [(0, *ALWAYS), (1, *ALWAYS), (2, *ALWAYS), (3, -1.0, 4.0), (4, *ALWAYS), (3, 5.0, 1000.0)]
    people = world(
        sessions,
        [[0, 1], [1, 2], [2, 3]],
        [(0.5, 3, 2), (0.8, 1, 1), (3.0, 0, 0), (6.0, 0, 0)],
        intrusions=[(1.0, 3, 1), (1.2, 4, 1), (4.5, 3, 1)],
        friends=[(3, 1)],
    )
    access = {"policy": "friends", "check": "connect"}
    return simulate(scenario(design={**ONE, "rooms": "personal"}, access=access), people)


def test_what_somebody_heard_before_intruding_is_not_heard_by_an_intruder() -> None:
    outcome = intruders()
    seen = analysis.overheard(outcome)
    assert seen[["message", "listener", "session", "intruder"]].to_numpy().tolist() == [
        [1, 3, 3, False],
        [2, 3, 3, True],
        [3, 3, 5, True],
    ]
    figures = analysis.who_reads(outcome)
    assert told(figures, "private", "overheard", "by_intruders") == [4, 3, 2]
    assert told(figures, "tried", "refused", "entered", "entered_share") == [3, 1, 2, pytest.approx(2 / 3)]


def test_a_new_session_of_an_intruder_is_no_intruder_yet() -> None:
    outcome = intruders()
    table = outcome.intrusions
    only_first = {name: column[:1] for name, column in table.items()}
    assert analysis.overheard(replace(outcome, intrusions=only_first))["intruder"].tolist() == [False, True, False]


def test_tries_without_a_session_or_a_room_are_not_decided() -> None:
    people = world(PEOPLE[:2], [[0, 1]], [], intrusions=[(1.0, 0, 1)])
    figures = analysis.who_reads(simulate(scenario(design=ONE), people))
    assert told(figures, "tried", "refused", "entered") == [1, 0, 0]
    assert math.isnan(figures["entered_share"])


@pytest.mark.parametrize(
    ("access", "crossed", "forbidden", "lag_s", "reads"),
    [
        # Anna writes at 1, 3 and 6 s; Ben ends the tie at 2 s. Open: both later ones cross, for good.
        ({"policy": "open"}, 2, 0, NAN, 0),
        ({"policy": "friends", "check": "message"}, 0, 2, 0.0, 3),
        # asked at up 10, receive 1, command 4, 100, 30: 1.145, trusted for 3 s: until 4.145
        ({"policy": "friends", "check": "message", "cache_s": 3.0}, 1, 1, 2.145, 2),
        # tokens of -1 s are renewed 5 s later: at 4 s receive 1, Anna's and then Ben's
        ({"policy": "scopes", "check": "message", "token_life_s": 5.0}, 1, 1, 2.002, 0),
        # both sessions go on to the end of the run
        ({"policy": "scopes", "check": "connect"}, 2, 0, NAN, 0),
    ],
    ids=["open", "asks", "remembers", "token", "connect"],
)
def test_rights_outlive_ties(access: dict[str, Any], crossed: int, forbidden: int, lag_s: float, reads: int) -> None:
    figures = analysis.who_reads(ended(access))
    assert told(figures, "ended", "crossed", "forbidden", "relation_reads") == [1, crossed, forbidden, reads]
    assert told(figures, "lag_s_mean", "lag_s_max") == pytest.approx([lag_s, lag_s], nan_ok=True)
    assert figures["never"] == math.isnan(lag_s)
    # what is forbidden is not taken, and so not among the private messages of which a share is overheard
    assert figures["private"] == 3 - forbidden


def test_a_block_is_crossed_by_the_other_one_alone() -> None:
    both = [(1.0, 0, 0), (3.0, 0, 0), (6.0, 1, 0)]
    assert analysis.who_reads(ended({"policy": "open"}, [(2.0, 1, 0, True)], both))["crossed"] == 1
    assert analysis.who_reads(ended({"policy": "open"}, [(2.0, 1, 0, False)], both))["crossed"] == 2


def test_of_two_ends_of_one_tie_the_first_counts() -> None:
    # Ben blocks Anna at 2 s; Anna ends the tie for both at 4 s: what Ben writes at 3 s does not cross, at 5 s it does
    talk = [(3.0, 1, 0), (5.0, 1, 0), (6.0, 0, 0)]
    figures = analysis.who_reads(ended({"policy": "open"}, [(2.0, 1, 0, True), (4.0, 0, 1, False)], talk))
    assert told(figures, "ended", "crossed", "never") == [2, 2, 2]


# ------------------------------------------------------------------ presence


def shown(people: Any, presence: dict[str, Any], **parts: Any) -> tuple[pd.Series, Outcome]:
    asked = {"design": {"routing": "room", "gateways": 1}, "presence": {"show_to": "all", **presence}, **parts}
    outcome = simulate(scenario(**asked), people)
    return analysis.presence(outcome), outcome


SILENT = {"silent_share": 1.0, "notice_s": 100.0}
LIFE = {"key_life_s": 20.0, "refresh_s": 16.0}


def test_a_ghost_is_shown_until_its_key_expires() -> None:
    # Ben vanishes at 5 s; his key of 0 s stands until 20 s. Anna's is written at 16, 32, 48 and 64 s (the run drains to 65).
    people = world([(0, *ALWAYS), (1, -1.0, 5.0)], [[0, 1]], [(1.0, 0, 0)], duration_s=60.0)
    figures, _ = shown(people, LIFE, network=SILENT)
    assert told(figures, "ghost_user_s", "hidden_user_s", "ghosts_at_end") == [pytest.approx(15.0), 0, 0]
    assert told(figures, "ghost_share", "hidden_share") == [pytest.approx(15 / 80), 0]
    assert told(figures, "changes", "notices", "key_writes", "pushes", "pulls", "wrong_pulls") == [3, 1, 4, 1, 0, 0]
    # the broker itself tells: PUBLISH 16 + push 32, 100, read 2, write 8, down 10
    assert figures["notice_delay_ms"] == pytest.approx(168.0)
    # beside one message of 100 bytes, pushed once, written once
    assert told(figures, "write_share", "push_share", "byte_share") == pytest.approx([1 / 2, 1 / 2, 64 / 164])


def test_a_ghost_without_a_lifetime_stays() -> None:
    people = world([(0, *ALWAYS), (1, -1.0, 5.0)], [[0, 1]], [], duration_s=60.0)
    figures, _ = shown(people, {"key_life_s": 0.0}, network={"silent_share": 1.0, "notice_s": 0.0})
    assert told(figures, "ghost_user_s", "ghosts_at_end", "changes", "notices") == [pytest.approx(55.0), 1, 2, 0]
    assert math.isnan(figures["notice_delay_ms"])


def test_a_user_is_online_as_long_as_one_device_is() -> None:
    # without a broker gateways remember: Ben's tab of 2 s is through at 2.043, the first goes at 5 s, the tab at 9 s;
    # the gateway closes it 10 + 1 later
    people = world([(0, *ALWAYS), (1, -1.0, 5.0), (1, 2.0, 9.0)], [[0, 1]], [], duration_s=20.0)
    figures, outcome = shown(people, {}, design=ONE)
    assert outcome.presence["change"].tolist() == [1, 1, -1]
    assert told(figures, "ghost_user_s", "hidden_user_s") == pytest.approx([0.011, 0.0], abs=1e-9)
    assert told(figures, "ghost_share", "hidden_share") == pytest.approx([0.011 / 29.011, 0.0], abs=1e-9)
    # Anna is told: write 8, down 10 after the change
    assert told(figures, "notices", "pushes", "notice_delay_ms", "write_share") == [1, 0, pytest.approx(18.0), 1]
    assert math.isnan(figures["push_share"])


def test_a_gap_between_two_sessions_is_no_time_online() -> None:
    people = world([(0, *ALWAYS), (1, -1.0, 5.0), (1, 8.0, 9.0)], [[0, 1]], [], duration_s=20.0)
    figures, _ = shown(people, {}, design=ONE)
    # gone at 5.011; 8.033 is the handshake, of 30 + 3, 8.043 the welcome; gone at 9.011
    assert figures["ghost_user_s"] == pytest.approx(0.011 + 0.010 + 0.011)
    assert figures["hidden_user_s"] == pytest.approx(0.0, abs=1e-9)


def test_a_key_that_is_written_too_late_hides_its_user() -> None:
    # the key of 0 s expires at 20 s, while its refresh of 19.95 s is on its way: command 4, 100, 3: 20.057
    people = world([(0, *ALWAYS)], [[0]], [], duration_s=50.0)
    figures, outcome = shown(people, {"key_life_s": 20.0, "refresh_s": 19.95})
    np.testing.assert_allclose(outcome.presence["time_s"], [0.0, 20.0, 20.057])
    assert told(figures, "ghost_user_s", "hidden_user_s") == pytest.approx([0.0, 0.057], abs=1e-9)
    assert figures["hidden_share"] == pytest.approx(0.057 / 50)


def test_a_question_about_a_ghost_is_answered_wrongly() -> None:
    # Ben vanishes at 2 s; Anna opens at 1 s, when he is there, at 6 s, and at 30 s, when his key is gone
    talk = [(1.0, 0, 0), (6.0, 0, 0), (30.0, 0, 0)]
    people = world([(0, *ALWAYS), (1, -1.0, 2.0)], [[0, 1]], talk, duration_s=40.0)
    figures, _ = shown(people, {**LIFE, "how": "pull"}, network=SILENT, friend_list={"opening_gap_s": 3.0})
    assert told(figures, "pulls", "wrong_pulls", "notices", "pushes") == [3, 1, 0, 0]
    assert figures["ghost_user_s"] == pytest.approx(18.0)


def table_of_presence(rows: list[tuple[float, int, int]]) -> dict[str, np.ndarray]:
    """Changes of what is shown, (time_s, user, change), without notices."""
    nothing = np.zeros(len(rows), np.int64)
    return {
        "time_s": np.array([time_s for time_s, _, _ in rows]),
        "user": np.array([user for _, user, _ in rows]),
        "change": np.array([change for _, _, change in rows]),
        **dict.fromkeys(("meant", "pushes", "notices"), nothing),
        "told_sum_s": nothing * 0.0,
    }


def test_what_happens_after_the_end_is_not_counted() -> None:
    # of a run of 10 s that drains to 15 s: users 0 and 4 are shown at 11 s, user 1 is online from then on, user 2 goes
    # after the end
    sessions = [
        {"user": 1, "online_s": 11.0},
        {"user": 2, "online_s": 0.0, "left_s": 12.0, "fate": SessionFate.LEFT},
        {"user": 3, "online_s": 0.0, "left_s": 4.0, "fate": SessionFate.LEFT},
    ]
    changes = [(0.0, 1, 1), (0.0, 2, 1), (0.0, 3, 1), (11.0, 0, 1), (11.0, 4, 1), (12.5, 2, -1)]
    run = replace(written(sessions=sessions), presence=table_of_presence(changes))
    figures = analysis.presence(run)
    # users 1 and 3 are shown though they are not there, for 10 and for 6 s
    assert told(figures, "ghosts_at_end", "ghost_user_s", "hidden_user_s") == [2, 16, 0]


def test_receipts_and_refusals_are_written_too_and_full_queues_are_not() -> None:
    work = {
        "gateway-0": {Work.WRITE: 4, Work.NOTICE: 3, Work.REFUSAL: 1},
        "broker-0": {Work.PUSH: 5, Work.NOTICE_PUSH: 3},
    }
    deliveries = [{}, {"fate": Fate.LOST, "cause": Cause.OUTBOUND_FULL}, {"written_s": NAN, "fate": Fate.STORED}]
    run = written([{"size_bytes": 192, "pushes": 5}], deliveries, work=work)
    table = table_of_presence([(1.0, 0, 1)])
    run = replace(run, presence={**table, "notices": np.array([2]), "pushes": np.array([2])})
    figures = analysis.presence(run)
    assert told(figures, "write_share", "push_share", "byte_share") == [2 / 8, 2 / 8, 128 / (128 + 192)]


def test_in_a_mesh_gateways_push_messages_and_notices() -> None:
    # a message of Anna's to Ben, on the other gateway, and the notice that he has gone
    people = world([(0, *ALWAYS), (1, -1.0, 5.0)], [[0, 1]], [(1.0, 0, 0)])
    figures, _ = shown(people, {}, design={"routing": "mesh", "gateways": 2})
    assert told(figures, "notices", "pushes", "write_share", "push_share") == [1, 1, 1 / 2, 1 / 2]


# ----------------------------------------------------------- those who are away


def test_time_to_read_counts_the_first_session_that_has_it() -> None:
    # Cleo is there, on two devices; Ben comes at 4 s, on a second one at 6 s
    people = world([(0, *ALWAYS), (2, *ALWAYS), (2, *ALWAYS), (1, 4.0, 9.0), (1, 6.0, 9.0)], [[0, 1, 2]], [(1.0, 0, 0)])
    outcome = simulate(scenario(design={**ONE, **STORED}), people)
    table = analysis.time_to_read(outcome).set_index("how")
    # Cleo: up 10, receive 1 + command 4, 100, stored 50, 100, read 2, write 8, down 10
    # Ben: 3 s, the handshake 30 + 3, 100, read 25, 100, 2 + 8, down 10
    assert table["count"].to_dict() == {"live": 1, "later": 1, "either way": 2}
    assert table["mean_s"].to_dict() == pytest.approx({"live": 0.285, "later": 3.278, "either way": 1.7815})
    assert table.loc["later", ["p50_s", "p90_s", "p99_s"]].tolist() == pytest.approx([3.278] * 3)
    assert table.loc["either way", "p90_s"] == pytest.approx(0.285 + 0.9 * 2.993)


def test_nobody_reads_what_is_never_fetched() -> None:
    people = world([(0, *ALWAYS)], [[0, 1]], [(1.0, 0, 0)])
    assert analysis.time_to_read(simulate(scenario(design={**ONE, **STORED}), people))["count"].tolist() == [0, 0, 0]


def test_pushes_that_bring_back_and_that_are_wasted() -> None:
    # two friends of Anna's are away; both pushes are due 6 s after their message is stored, and on the device 2 s and a
    # command of 4 ms later. Cleo has come at 8 s, before hers.
    people = world([(0, *ALWAYS), (2, 8.0, 50.0)], [[0, 1], [0, 2]], [(1.0, 0, 0), (1.1, 0, 1)], duration_s=60.0)
    outcome = simulate(scenario(**NOTIFIES, push=PUSH), people)
    figures = analysis.pushes(outcome)
    assert told(figures, "due", "sent", "refusals", "arrived") == [2, 2, 0, 2]
    assert told(figures, "delay_s_p50", "delay_s_p99") == pytest.approx([2.004, 2.004])
    assert told(figures, "brought_back", "ignored", "wasted") == [1, 0, 1]
    assert told(figures, "brought_back_share", "ignored_share", "wasted_share") == [0.5, 0, 0.5]


def test_refused_pushes_are_tried_again() -> None:
    people = world([(0, *ALWAYS)], [[0, 1], [0, 2]], [(1.0, 0, 0), (1.1, 0, 1)], duration_s=120.0)
    parts = {**NOTIFIES, "push": {**PUSH, "quota_per_min": 1, "return_share": 0.0}}
    # due at 7.265; refused at 7, 8, 10, 14, 22 and 38 s, taken at 70 s: 63 s and 7 commands later, and 2 s to the device
    figures = analysis.pushes(simulate(scenario(**parts), people))
    assert told(figures, "due", "sent", "refusals", "arrived", "ignored") == [2, 2, 6, 2, 2]
    assert figures["delay_s_p50"] == pytest.approx((2.004 + 65.028) / 2)
    # a run that ends at 35 s has seen 5 of the refusals
    short = replace(people, duration_s=30.0)
    figures = analysis.pushes(simulate(scenario(**parts), short))
    assert told(figures, "due", "sent", "refusals", "arrived", "ignored") == [2, 1, 5, 1, 1]
    assert told(figures, "brought_back_share", "ignored_share", "wasted_share") == [0, 1, 0]


def test_pushes_by_hand() -> None:
    fates = [PushFate.UNDER_WAY, PushFate.IGNORED, PushFate.BROUGHT_BACK, PushFate.BROUGHT_BACK, PushFate.WASTED]
    table = {
        "fate": np.array(fates),
        "tries": np.array([4, 1, 1, 2, 1]),
        "due_s": np.array([1.0, 2.0, 3.0, 4.0, 5.0]),
        "sent_s": np.array([NAN, 2.0, 3.0, 5.0, 5.0]),
        "arrived_s": np.array([NAN, 12.0, 23.0, 34.0, 45.0]),
    }
    figures = analysis.pushes(replace(written(), pushes=table))
    assert told(figures, "due", "sent", "refusals", "arrived", "delay_s_p50") == [5, 4, 5, 4, 25.0]
    assert told(figures, "brought_back_share", "ignored_share", "wasted_share") == [0.5, 0.25, 0.25]


def test_a_message_on_two_devices_and_its_receipts() -> None:
    people = world([*THREE[:2], (1, *ALWAYS)], [[0, 1]], [(1.0, 0, 0)])
    outcome = simulate(scenario(design={**ONE, "receipts": True}), people)
    # Ben has it at 1.029 and 1.037. Receipts: up 10, read 1, written to Anna and to Ben's other session 16, down 10: 37;
    # the second comes at 1.047, waits until 1.056, when the first is through, then 1 + 16 + 10: 1.083, 46 after 1.037
    np.testing.assert_allclose(outcome.deliveries["receipt_s"], [1.066, 1.083])
    figures = analysis.devices(outcome)
    assert told(figures, "recipients", "twice", "copies", "duplicates", "receipts") == [1, 1, 0, 0, 2]
    assert figures["receipt_s_p50"] == pytest.approx((0.037 + 0.046) / 2)


def test_copies_go_to_the_senders_other_sessions() -> None:
    people = world([*THREE[:2], (0, *ALWAYS)], [[0, 1]], [(1.0, 0, 0)])
    figures = analysis.devices(simulate(scenario(design={**ONE, "own_devices": True}), people))
    assert told(figures, "recipients", "twice", "copies", "duplicates", "receipts") == [1, 0, 1, 0, 0]
    assert math.isnan(figures["receipt_s_p50"])


def test_devices_by_hand() -> None:
    rows = [
        {"message": 0, "recipient": 1, "session": 1},
        {"message": 0, "recipient": 1, "session": 2, "fate": Fate.READ_LATER},
        {"message": 0, "recipient": 1, "session": 1, "fate": Fate.DUPLICATE},
        {"message": 1, "recipient": 1, "session": 1, "time_s": 1.0, "receipt_s": 1.5},
        {"message": 1, "recipient": 2, "session": 3, "fate": Fate.LOST, "cause": Cause.LEFT, "time_s": NAN},
    ]
    figures = analysis.devices(written([{}, {}], rows))
    assert told(figures, "recipients", "twice", "copies", "duplicates", "receipts", "receipt_s_p50") == [2, 1, 0, 1, 1, 0.5]


# ------------------------------------------------------------------ friend lists


def test_who_is_not_listed_is_searched_for_turned_from_or_given_up() -> None:
    def figures(**shares: float) -> list[float]:
        return told(analysis.friend_list(opened(**shares)), "openings", "hit_share", "searches", "turned", "abandoned")

    # Anna opens once, with Cleo, who is second on a list of one; nobody else opens, as Cleo answers
    assert figures(search_share=1.0, other_share=0.0) == [1, 0, 1, 0, 0]
    assert figures(search_share=0.0, other_share=1.0) == [1, 0, 0, 1, 0]
    assert figures(search_share=0.0, other_share=0.0) == [1, 0, 0, 0, 1]
    # the one search; three lists of one friend, of 200 bytes each, all loaded before the run
    outcome = analysis.friend_list(opened(search_share=1.0, other_share=0.0))
    assert told(outcome, "database_ops", "redis_ops", "list_reads", "list_bytes", "listed_mean") == [1, 0, 0, 600, 1]
    assert told(outcome, "login_ms_p50", "login_ms_p99") == pytest.approx([NAN, NAN], nan_ok=True)
    assert outcome["memory_bytes"] == 60e6 + 3 * (8000 + 200)


def test_what_loading_a_list_costs() -> None:
    people = world([(0, 1.0, 9.0)], [[0, 1]], [], contacts={0: [1, 2, 3]})
    figures = analysis.friend_list(
        simulate(scenario(design={"routing": "room", "gateways": 1}, friend_list=lists("recent", 2)), people)
    )
    # 30 + 3, two commands 8, 100, list 12 + 2, 100, read 2 and 2 friends 1; the state of 2, 12 later, read 2; a command 4
    # to subscribe, 100, 5, 100, read 2, down 10. At the broker: list, state, SUBSCRIBE, UNSUBSCRIBE.
    login_ms = 30 + 3 + 8 + 100 + 14 + 12 + 100 + 2 + 4 + 100 + 5 + 100 + 2 + 10
    assert told(figures, "login_ms_p50", "login_ms_p99") == pytest.approx([login_ms, login_ms])
    assert told(figures, "redis_ops", "list_reads", "peak_subscriptions", "database_ops") == [4, 2, 1, 0]
    assert told(figures, "listed_mean", "list_bytes", "openings", "presence_notices") == [2, 400, 0, 0]
    assert math.isnan(figures["hit_share"])


def test_a_list_hits_whether_or_not_its_user_could_connect() -> None:
    # the only place is taken by Ben; Anna's message to Cleo, second on a list of one, is refused without a look
    people = world([(1, *ALWAYS), (0, 1.0, 9.0)], [[0, 1], [0, 2]], [(2.0, 0, 1)], contacts={0: [1, 2]})
    outcome = simulate(
        scenario(design=ONE, friend_list=lists("recent", 1), gateway={"connections_max": 1}), people
    )
    figures = analysis.friend_list(outcome)
    assert told(figures, "openings", "hit_share", "searches", "turned", "abandoned") == [1, 0, 0, 0, 0]
    # Anna's session, which was refused, loads nothing; Ben knows nobody
    assert told(figures, "listed_mean", "login_ms_p50") == pytest.approx([0, NAN], nan_ok=True)


def test_the_hit_curve_is_what_each_limit_would_have_given() -> None:
    # Anna knows Ben, Cleo, Dora in this order and writes to Dora (third), Dora again (first now), Ben (second now); only
    # the second is no opening
    talk = [(1.0, 0, 2), (2.0, 0, 2), (3.0, 0, 0)]
    people = world(PEOPLE, [[0, 1], [0, 2], [0, 3]], talk, contacts={0: [1, 2, 3]})
    outcome = simulate(scenario(design=ONE, friend_list=lists("recent", 2)), people)
    assert outcome.messages["listed_rank"].tolist() == [3, 1, 2]
    curve = analysis.run_hit_curve(outcome, (1, 2, 3)).pivot_table("hit_share", "k", "of")
    assert curve["all"].tolist() == pytest.approx([1 / 3, 2 / 3, 1, 1])
    assert curve["openings"].tolist() == pytest.approx([0, 1 / 2, 1, 1])
    assert curve.index.tolist() == [1, 2, 3, math.inf]
    assert analysis.friend_list(outcome)["hit_share"] == curve.loc[2, "openings"]
    for limit in (1, 2, 3):
        run = simulate(scenario(design=ONE, friend_list=lists("recent", limit)), people)
        assert analysis.friend_list(run)["hit_share"] == curve.loc[limit, "openings"]


def test_somebody_on_no_list_is_never_hit_and_all_knows_no_limit() -> None:
    ranks = [{"listed_rank": 0, "opening": True}, {"listed_rank": 40, "opening": True}, {"listed_rank": -1}]
    recent = analysis.run_hit_curve(written(ranks, friend_list={"policy": "recent"})).query("of in ('all', 'openings')")
    assert recent["k"].nunique() == len(LIMITS) + 1
    assert recent.loc[recent["k"] < 40, "hit_share"].eq(0).all()
    assert recent.loc[recent["k"] > 40, "hit_share"].eq(0.5).all()
    assert recent["count"].eq(2).all()
    every = analysis.run_hit_curve(written(ranks, friend_list={"policy": "all"})).query("of in ('all', 'openings')")
    assert every["hit_share"].eq(0.5).all()
    assert analysis.friend_list(written(ranks, friend_list={"policy": "all"}))["hit_share"] == 0.5


def test_without_a_list_nothing_is_hit() -> None:
    outcome = written([{"listed_rank": 1, "opening": True}])
    assert told(analysis.friend_list(outcome), "openings", "hit_share") == pytest.approx([1, NAN], nan_ok=True)
    with pytest.raises(ValueError, match="loads no friend list"):
        analysis.run_hit_curve(outcome)


def test_presence_of_a_list_is_counted_with_it() -> None:
    # Anna has Ben on her list, Cleo has nobody: of Ben's going, Anna is told
    people = world([(0, *ALWAYS), (2, *ALWAYS), (1, -1.0, 5.0)], [[0, 1]], [], contacts={0: [1]})
    parts = {"design": ONE, "friend_list": lists("recent", 5), "presence": {"show_to": "list"}}
    assert analysis.friend_list(simulate(scenario(**parts), people))["presence_notices"] == 1


def test_a_try_that_ended_in_no_way_is_under_way() -> None:
    table = {
        "time_s": np.array([1.0, 2.0]),
        "user": np.array([0, 0]),
        "session": np.array([0, 0]),
        "fate": np.array([IntrusionFate.UNDER_WAY, IntrusionFate.NO_SESSION]),
    }
    figures = analysis.who_reads(replace(written(sessions=[{}]), intrusions=table))
    assert told(figures, "tried", "refused", "entered") == [2, 0, 0]
    assert math.isnan(figures["entered_share"])


def test_hits_of_new_and_of_repeated_pairs_from_one_run() -> None:
    """Anna knows Ben from before; Cleo she meets now, and writes to again: a contact by then."""
    people = world(
        [(user, *ALWAYS) for user in range(3)],
        [[0, 1], [0, 2]],
        [(1.0, 0, 0), (2.0, 0, 1), (3.0, 0, 1)],
        contacts={0: [1], 1: [0]},
        new_rooms=[1],
    )
    listing = {"policy": "recent", "limit": 5, "search_share": 1.0, "other_share": 0.0}
    curve = analysis.run_hit_curve(simulate(scenario(friend_list=listing), people), (1,))
    rows = {of: (share, count) for of, share, count in curve.loc[curve["k"] == 1, ["of", "hit_share", "count"]].values}
    assert rows == {
        "all": (pytest.approx(2 / 3), 3),
        "new": (0.0, 1),
        "repeat": (1.0, 2),
        "openings": (0.5, 2),
        "repeat openings": (1.0, 1),
    }
