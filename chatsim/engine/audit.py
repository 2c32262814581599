"""The auditor: settles every message x intended session, and checks the run against independent counts.

A run that fails raises AuditError: it is a defect of chatsim, never a result.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from chatsim.engine.audience import (
    ASKING_WHO,
    IS_MEANT,
    STEP,
    Audience,
    known_of,
    nothing_known,
    order_rows,
    others,
    ready,
)
from chatsim.engine.loops import Numbers, fixed, loop_of, numbers, run_loop
from chatsim.engine.meanwhile import COMING_AND_GOING, MANY, NOBODY, Meanwhile, come_and_go, look_back, meanwhile
from chatsim.engine.notes import Notes
from chatsim.engine.outcome import Cause, Columns, Fate, Work
from chatsim.engine.settling import (
    BESIDE,
    HAVE_IT,
    NO_END,
    Codes,
    Flags,
    Floats,
    Ints,
    Longs,
    among,
    break_of,
    check_range,
    ends_s,
    heard,
    key_of,
)
from chatsim.engine.ticks import tick_rows
from chatsim.scenario import AuditError, Scenario
from chatsim.world.tables import SessionTable, World

Pairs = tuple[Longs, npt.NDArray[np.int32]]
LastEnds = dict[int, npt.NDArray[np.float64]]
"""When each core of each station ended its last tick."""


WITHOUT_END, NOT_MEANT, TWO_ENDS, KEPT_TWICE, MISSING, EARLY = range(6)
"""Where breaches are counted."""
HAS_END, HAS_TWO, HAS_NO_SESSION = 1, 2, 4
"""What is known of a user in a message: an end, two of them, and one without a session."""
NO_STATION, NOT_IN_ORDER = -1, -2
"""What is said of ticks instead of a station that has too many at once."""
IS_END, IS_THERE = 1, 2
"""What a row tells of one whom a message is for."""


def waiting_in(inbox: dict[int, dict[int, None]]) -> Longs:
    """What waits in store for whom, a row of (user, message) each, out of what waits for each user.

    >>> waiting_in({7: {3: None, 4: None}}).tolist()
    [[7, 3], [7, 4]]
    """
    rows = [(user, message) for user, box in inbox.items() for message in box]
    return np.array(rows, np.int64).reshape(-1, 2)


def audit(scenario: Scenario, world: World, notes: Notes, deliveries: Columns, meant: Longs) -> None:
    """Checks a settled run; raises AuditError with the first law that is broken.

    1. Every message x recipient has an end. 2. Every session that was online from before a message was taken until
    after its last carrier was done has a row for it. 3. No session gets a message twice. 4. Times go forward.
    5. Independent counts agree: pushes sent and read, messages taken, written and discarded. 6. No station has more
    ticks going on than cores. 7. A user is shown online and gone by turns; pushes, tries and ends of ties go forward in
    time; each session beyond the trace was brought by one push.
    """
    audit_recorded(world, notes, deliveries, meant)
    work = np.array(notes.work, np.int64)
    check_counts(scenario, work, counted(scenario, notes, notes.messages(world, meant), deliveries))
    check_ticks(scenario, notes.ticks())
    check_chat(world, notes)


def audit_recorded(
    world: World, notes: Notes, deliveries: Columns, meant: Longs, offline: Ints | None = None
) -> None:
    """Checks laws 1 to 4, which hold of whatever was recorded, be it of a model or of a system that runs.

    Recipients of each message who have no row but are counted as ``offline`` have an end too: rows and count together
    are as many as there are recipients, and law 2 asks for the sessions of all.
    """
    messages, sessions = notes.messages(world, meant), notes.all_sessions(world)
    for what, count in (("message", len(meant)), ("recipient", world.users)):
        check_range(what, deliveries[what], count)
    check_range("session", np.maximum(deliveries["session"], 0), max(len(sessions), 1))
    counted = np.zeros(len(meant), np.int32) if offline is None else offline
    found, missing = _breaches(world, notes, sessions, messages, deliveries, meant, counted)
    if found[WITHOUT_END] or found[NOT_MEANT]:
        _refuse_ends(world, deliveries, meant, counted)
    if found[TWO_ENDS]:
        raise AuditError("a message to one recipient has two ends")
    if found[KEPT_TWICE]:
        raise AuditError("a session got a message twice and kept both")
    _refuse_missing(notes, messages, missing)
    _check_times(messages, deliveries, bool(found[EARLY]))


def pairs_of(world: World, meant: Longs) -> Pairs:
    """All message x recipient: members of the room that each is meant for, without its sender."""
    rooms, trace = world.rooms, world.messages
    sizes = np.diff(rooms.start)[meant]
    message = np.repeat(np.arange(len(trace)), sizes)
    first = np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = np.arange(len(message)) - first
    user = rooms.member[rooms.start[meant[message]] + place]
    others = user != trace.sender[message]
    return message[others], user[others]


class Written(NamedTuple):
    """Rows of deliveries."""

    message: Numbers
    user: Numbers
    session: Ints
    fate: Codes
    written_s: Floats
    time_s: Floats


class Times(NamedTuple):
    """When messages were received and done, whether sessions that were there must have them, and how many recipients
    are counted as offline."""

    received_s: Floats
    done_s: Floats
    asked: Flags
    offline: Ints


class Room(NamedTuple):
    """Room to work in: rows in the order of messages, and where those of each end; what is known of each user, and each
    session, in the message that they had last."""

    end: Longs
    row: Numbers
    user: npt.NDArray[Any]
    session: npt.NDArray[Any]


def _breaches(
    world: World, notes: Notes, sessions: SessionTable, messages: Columns, deliveries: Columns, meant: Longs,
    offline: Ints,
) -> tuple[Longs, Longs]:  # fmt: skip
    """What is found of each breach, and messages and sessions, a row of both each, that were online throughout without
    a row of what was written to them."""
    people, rows = notes.audience(world, meant), len(deliveries["message"])
    if not rows and not people.first[-1]:
        return np.zeros(6, np.int64), np.empty((2, 0), np.int64)
    written = Written(
        numbers(deliveries["message"]), numbers(deliveries["recipient"]),
        fixed(deliveries["session"], np.int32), fixed(deliveries["fate"], np.int8),
        fixed(deliveries["written_s"], np.float64), fixed(deliveries["time_s"], np.float64),
    )  # fmt: skip
    received_s, done_s = (fixed(messages[name], np.float64) for name in ("received_s", "done_s"))
    asked = ~np.isnan(messages["routed_s"]) & ~np.isnan(done_s) & heard(notes, messages, meant)
    times = Times(received_s, done_s, asked, fixed(offline, np.int32))
    found, missing = np.zeros(6, np.int64), np.empty((2, 0), np.int64)
    while True:
        there = _online(world, notes, sessions, times)
        room = Room(
            np.zeros(len(meant) + 1, np.int64), np.empty(rows, np.uint32), nothing_known(world.users, len(meant)),
            nothing_known(len(sessions), len(meant)),
        )  # fmt: skip
        steps = int(people.first[-1]) + rows + len(there.session)
        run_loop(CHECK, steps, people, times, written, there, room, found, *missing)
        if found[MISSING] <= missing.shape[1]:
            return found, missing
        missing = np.empty((2, found[MISSING]), np.int64)  # there is place for them the second time
        found[:] = 0


def _online(world: World, notes: Notes, sessions: SessionTable, times: Times) -> Meanwhile:
    """The sessions that came online, as they come and go while messages are looked at."""
    online_s = ends_s(notes.online_s)  # of those who never were, that is after all others
    left_s = np.fmin(ends_s(notes.left_s), ends_s(notes.cut_s))
    first_s, last_s = np.fmin(times.received_s, times.done_s), times.received_s
    return meanwhile(world.users, np.arange(len(sessions)), sessions.user, online_s, left_s, first_s, last_s)


def _check(
    people: Audience, times: Times, rows: Written, there: Meanwhile, room: Room, found: Longs,
    missing_message: Longs, missing_session: Longs,
) -> int:  # fmt: skip
    """The loop of :func:`_breaches`, over messages."""
    order_rows(rows.message, room.end, room.row)
    look_back(there)
    at = 0
    for one in range(len(people.sender)):
        ready(people, one, room.end[one] - at, room.user)
        come_and_go(there, one)
        meant, here = others(people, one, there.here)
        without = meant - times.offline[one]
        while at < room.end[one]:
            told = _check_row(people, one, rows, room.row[at], times.received_s[one], there, room, found)
            without, here, at = without - (told & IS_END), here - told // IS_THERE, at + 1
        found[WITHOUT_END] += without != 0
        if here and times.asked[one]:  # mostly there is a row for each session that may be there
            first = people.at[one]
            for place in range(first, first + people.members[one]):
                user = people.member[place]
                if there.here[user] and user != people.sender[one]:
                    _check_sessions(one, user, times, there, room, found, missing_message, missing_session)
    return 0


def _check_sessions(
    one: int, user: int, times: Times, there: Meanwhile, room: Room, found: Longs,
    missing_message: Longs, missing_session: Longs,
) -> None:  # fmt: skip
    """Looks for sessions of a user that were online throughout, and have no row of a message."""
    received_s, done_s, at = times.received_s[one], times.done_s[one], there.head[user]
    while at != NOBODY:
        if room.session[there.session[at]] < 2 * one and there.begin_s[at] < received_s <= there.end_s[at] > done_s:
            if found[MISSING] < len(missing_message):
                missing_message[found[MISSING]], missing_session[found[MISSING]] = one, there.session[at]
            found[MISSING] += 1
        at = there.after[at]


def _check_row(
    people: Audience, one: int, rows: Written, row: int, received_s: float, there: Meanwhile, room: Room,
    found: Longs,
) -> int:  # fmt: skip
    """Looks at a row of a message: its times, whether its session had another, and whether it is an end. Returns of one
    whom the message is for whether it is the first end, and whether the first row of a session that may be there."""
    user, session, fate = rows.user[row], rows.session[row], rows.fate[row]
    if rows.written_s[row] < received_s or rows.time_s[row] < rows.written_s[row]:
        found[EARLY] += 1
    is_there = False
    if session >= 0:
        is_kept = (HAVE_IT | BESIDE) >> fate & 1
        if is_kept and room.session[session] == 2 * one + 1:
            found[KEPT_TWICE] += 1
        is_there = room.session[session] < 2 * one and there.of[session] == user and there.here[user] < MANY
        room.session[session] = max(room.session[session], 2 * one + is_kept)
    if NO_END >> fate & 1:
        return 0
    known = known_of(people, one, user, room.user)
    is_first = known & HAS_END ^ HAS_END
    known |= HAS_END if is_first else HAS_TWO
    if session < 0:
        known |= HAS_NO_SESSION
    room.user[user] = STEP * one + known
    found[TWO_ENDS] += known // HAS_TWO & known // HAS_NO_SESSION & 1
    if known & IS_MEANT:
        return int(IS_END * is_first + IS_THERE * is_there)
    found[NOT_MEANT] += is_first
    return 0


CHECK = loop_of(
    _check, *COMING_AND_GOING, *ASKING_WHO, order_rows, _check_row, _check_sessions,
)  # fmt: skip


def _refuse_ends(world: World, deliveries: Columns, meant: Longs, offline: Ints) -> None:
    """AuditError that names the first recipient for whom a message has no end, or else one who was not meant; or the
    first message that counts others offline than have no row."""
    ended = ~among(deliveries["fate"], (Fate.MISSED, Fate.DUPLICATE, Fate.OVERHEARD, Fate.COPY))
    has_end = key_of(world, deliveries["message"][ended], deliveries["recipient"][ended])
    wanted = key_of(world, *pairs_of(world, meant))
    without = np.setdiff1d(wanted, has_end)
    for what, keys in (
        ("no end", without if not offline.any() else without[:0]),
        ("an end, but was not meant", np.setdiff1d(has_end, wanted)),
    ):
        if len(keys):
            message, user = divmod(int(keys[0]), world.users)
            raise AuditError(f"message {message} to user {user} has {what} ({len(keys)} such)")
    lack = np.bincount(without // world.users, minlength=len(meant))
    one = int(np.flatnonzero(lack != offline)[0])
    raise AuditError(f"message {one} has no row for {lack[one]} recipients, but counts {offline[one]} as offline")


def _refuse_missing(notes: Notes, messages: Columns, missing: Longs) -> None:
    """AuditError where nothing has stopped a message on its way to a session that was there throughout."""
    message, session = missing
    breaks = notes.breaks.table()
    if len(breaks["message"]) and len(message):
        stopped = break_of(breaks, message, np.array(notes.session_gateway, np.int64)[session]) >= 0
        message, session = message[~stopped], session[~stopped]
    if len(message):
        one = np.lexsort((messages["received_s"][message], session))[0]
        raise AuditError(
            f"message {message[one]}: session {session[one]} was online throughout, "
            f"but nothing was written to it ({len(message)} such)"
        )


def _check_times(messages: Columns, deliveries: Columns, rows_too: bool) -> None:
    """Checks law 4 of messages, and of rows where some are known to break it."""
    steps = [
        ("received before it was sent", messages["time_s"], messages["received_s"]),
        ("routed before it was received", messages["received_s"], messages["routed_s"]),
    ]
    if rows_too:
        written_from = messages["received_s"][deliveries["message"]]
        steps += [
            ("written before it was received", written_from, deliveries["written_s"]),
            ("delivered before it was written", deliveries["written_s"], deliveries["time_s"]),
        ]
    for what, earlier, later in steps:
        backwards = np.flatnonzero(later < earlier)
        if len(backwards):
            raise AuditError(f"row {backwards[0]}: {what} ({len(backwards)} such)")


def counted(scenario: Scenario, notes: Notes, messages: Columns, deliveries: Columns) -> Counter[str]:
    """What messages and their rows say of a run, or of a part of one, that stations have counted too. AuditError where
    a gateway read a push that nobody sent."""
    going_on = np.flatnonzero(np.isnan(messages["done_s"]))
    refused = among(messages["fate"], (Fate.REFUSED, Fate.ABANDONED))
    live = deliveries["session"] >= 0
    reads, lost, pushes = np.asarray(notes.reads), np.asarray(notes.lost_pushes), messages["pushes"]
    if (reads > pushes).any():
        raise AuditError("a gateway read a push that nobody sent")
    received, refusals = np.asarray(notes.received), np.asarray(notes.refused)
    of_refused = live[refused[deliveries["message"]]] if refused.any() else live[:0]
    numbers = {
        "received": received.sum(),
        "never read": np.count_nonzero(received == 0),
        "without a time of reading": np.count_nonzero(np.isnan(messages["received_s"])),
        "refusals": refusals.sum(),
        "refused": np.count_nonzero(_refused(messages)),
        "refused once": np.count_nonzero(_refused_once(notes, messages)),
        "discards": messages["discards"].sum(),
        "pushes": pushes.sum(),
        "pushes of those done": pushes.sum() - pushes[going_on].sum(),
        "pushes of those done that were read, or lost": sum(
            column.sum() - column[going_on].sum() for column in (reads, lost)
        ),
        "rows of those refused": np.count_nonzero(of_refused),
        "rows": np.count_nonzero(live),
        "not done": len(going_on),
    }
    return Counter({name: int(number) for name, number in numbers.items()})


def check_counts(scenario: Scenario, work: npt.NDArray[np.int64], of: Counter[str]) -> None:
    """Compares what stations have counted in a run with what is :func:`counted` of its messages and rows."""
    gateways, brokers = work[: scenario.design.gateways], work[scenario.design.gateways :]
    counts = [
        ("messages read by gateways", gateways[:, Work.RECEIVE].sum(), of["received"]),
        ("messages never read", of["never read"], of["without a time of reading"]),
        ("refusals", gateways[:, Work.REFUSAL].sum(), of["refusals"]),
        ("messages refused once, and no more", of["refused"], of["refused once"]),
        ("discarded pushes", gateways[:, Work.DISCARD].sum(), of["discards"]),
        (
            "pushes read, or lost, of messages that are done",
            of["pushes of those done that were read, or lost"],
            of["pushes of those done"],
        ),
        ("rows of refused messages", of["rows of those refused"], 0),
    ]
    if scenario.has_broker:
        counts.append(("pushes", brokers[:, Work.PUSH].sum(), of["pushes"]))
    if not of["not done"]:
        counts.append(("messages written", gateways[:, Work.WRITE].sum(), of["rows"]))
    for what, one, other in counts:
        if one != other:
            raise AuditError(f"{what}: one count says {one}, the other {other}")


def _refused(messages: Columns) -> Flags:
    """Messages that a gateway refused, by their cause."""
    causes = (Cause.TOO_MANY, Cause.TOO_LARGE, Cause.FORBIDDEN, Cause.UNAVAILABLE)
    refused: Flags = among(messages["fate"], (Fate.REFUSED,))
    rows = np.flatnonzero(refused)
    refused[rows] = np.isin(messages["cause"][rows], causes)
    return refused


def _refused_once(notes: Notes, messages: Columns) -> Flags:
    """The same by the count of refusals: not where an earlier or later try was taken."""
    once: Flags = (np.asarray(notes.refused) > 0) & _refused(messages)
    return once


def check_chat(world: World, notes: Notes) -> None:
    """Checks law 7."""
    changes, pushes = notes.presence.table(), notes.pushed.table()
    order = np.argsort(changes["user"], kind="stable")
    user, change = changes["user"][order], changes["change"][order]
    first = user != np.roll(user, 1) if len(np.unique(user)) > 1 else np.arange(len(user)) == 0
    wrong = change != np.where(first, 1, -np.roll(change, 1))
    if wrong.any():
        raise AuditError(f"user {user[np.flatnonzero(wrong)[0]]} is shown online, or gone, twice in a row")
    forward = (
        ("pushes", pushes["due_s"], pushes["sent_s"]),
        ("pushes", pushes["sent_s"], pushes["arrived_s"]),
        ("tries", world.intrusions.time_s, np.array(notes.decided_s)),
        ("ends of ties", world.endings.time_s, np.array(notes.effective_s)),
    )
    for what, earlier, later in forward:
        if (later < earlier).any():
            raise AuditError(f"{what} go back in time")
    brought = pushes["session"][pushes["session"] >= 0]
    came = int((notes.caused.table()["origin"] < 0).sum())
    if len(np.unique(brought)) < len(brought) or len(brought) != came:
        raise AuditError(f"{len(brought)} pushes have brought {came} sessions")


def check_ticks(scenario: Scenario, ticks: Columns, before: LastEnds | None = None) -> LastEnds:
    """Checks law 6, a station never has more ticks going on than cores; returns when each core of a station is free, as
    the next part of the same run is given it ``before``."""
    cores = np.concatenate(
        [
            np.full(scenario.design.gateways, scenario.gateway.cores),
            np.full(scenario.broker.nodes if scenario.has_broker else 0, scenario.broker.cores),
            [scenario.database.cores],
        ]
    )
    first = np.concatenate([[0], np.cumsum(cores)])
    free_s = (
        np.full(first[-1], -np.inf) if before is None else np.concatenate([before[each] for each in sorted(before)])
    )
    rows, then_s = tick_rows(ticks), free_s.copy()
    found = run_loop(TAKE_CORES, len(rows), rows, fixed(first, np.int64), free_s)
    if found == NOT_IN_ORDER:
        rows, free_s = rows[np.argsort(rows["start_s"], kind="stable")], then_s
        found = run_loop(TAKE_CORES, len(rows), rows, fixed(first, np.int64), free_s)
    if found >= 0:
        raise AuditError(f"station {found} has more ticks at once than cores")
    return dict(enumerate(np.split(free_s, first[1:-1])))


def _take_cores(ticks: Any, first: Longs, free_s: Floats) -> int:
    """Gives each tick a core of its station that is free, until the tick ends; the first station where none is,
    NO_STATION, or NOT_IN_ORDER where a tick began before the one before it."""
    latest_s = -np.inf
    for row in range(len(ticks)):
        tick = ticks[row]
        if tick.start_s < latest_s:
            return NOT_IN_ORDER
        latest_s = tick.start_s
        core, end = first[tick.station], first[tick.station + 1]
        while core < end and tick.start_s < free_s[core]:
            core += 1
        if core == end:
            return int(tick.station)
        free_s[core] = tick.end_s
    return NO_STATION


TAKE_CORES = loop_of(_take_cores)
