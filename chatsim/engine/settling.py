"""Settles a run: what became of each message for each of its recipients, whatever their sessions."""

from __future__ import annotations

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
from chatsim.engine.meanwhile import COMING_AND_GOING, NOBODY, Meanwhile, come_and_go, look_back, meanwhile
from chatsim.engine.notes import NEVER, Notes
from chatsim.engine.outcome import Cause, Columns, Fate, SessionFate
from chatsim.scenario import AuditError, Scenario
from chatsim.world.tables import SessionTable, World

Flags = npt.NDArray[np.bool_]
Longs = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]
Codes = npt.NDArray[np.int8]

DELIVERED, READ_LATER, STORED, LOST, REFUSED = map(int, list(Fate)[:5])
IN_FLIGHT, DUPLICATE, MISSED, OVERHEARD, COPY, ABANDONED = map(int, list(Fate)[5:])
HAVE_IT, BESIDE = 1 << DELIVERED | 1 << READ_LATER, 1 << OVERHEARD | 1 << COPY
NO_END, TO_SAY_WHY = 1 << MISSED | 1 << DUPLICATE | BESIDE, 1 << REFUSED | 1 << LOST
MAY_BE_MISSED, NEVER_TAKEN = 1 << LOST | 1 << IN_FLIGHT, 1 << REFUSED | 1 << ABANDONED
"""Some fates, a bit each."""
OFFLINE, LEFT = int(Cause.OFFLINE), int(Cause.LEFT)
WAITS, HAS_IT, ENDED = 1, 2, 4
"""What is known of a message for a recipient: it waits in store, a session has it, some row is its end."""
IS_END, IS_OPEN = 1, 2
"""What a row tells of one whom the message is for."""


def settle(
    scenario: Scenario, world: World, notes: Notes, inbox: Longs, meant: Longs, offline: Ints | None = None
) -> Columns:
    """The table of deliveries: what was written to sessions, and a row for each recipient to whom nothing was.

    A recipient without a row of an end of its own is, in this order: refused (the message was never taken), stored
    (it waits in ``inbox``, rows of user and message), in flight (a carrier is still under way), or lost, because no
    session was there or because it left. What came to sessions beyond the audience is overheard, or a copy for the
    sender. ``meant`` says for the members of which room each message is.

    Where ``offline`` is given, an entry for each message, those who have lost it because no session was there get no
    row: they are counted there. Modifies it. They are not counted where some other cause may yet be noted for them.
    """
    messages, sessions, rows = notes.messages(world, meant), notes.all_sessions(world), dict(notes.rows())
    check_range("message", rows["message"], len(meant))
    check_range("session", rows["session"], len(sessions))
    rows["recipient"] = sessions.user[rows["session"]]
    counted = np.zeros(0, np.int32) if offline is None or notes.trimmed or notes.wiped else offline
    found = _rest_of(scenario, world, notes, messages, meant, inbox, rows, counted)
    _say_why(world, notes, messages, meant, found)
    gateway = np.array(notes.session_gateway, np.int32)[rows["session"]]
    local = gateway == messages["gateway"][rows["message"]]
    rest = len(found.fate)
    return {
        "message": _joined(rows["message"], found.message, rest),
        "recipient": _joined(rows["recipient"], found.user, rest),
        "session": _joined(rows["session"], -1, rest),
        "gateway": _joined(gateway, -1, rest),
        "fate": _joined(rows["fate"], found.fate, rest),
        "cause": _joined(rows["cause"], found.cause, rest),
        "local": _joined(local, False, rest),
        **{name: _joined(rows[name], NEVER, rest) for name in ("written_s", "time_s", "receipt_s")},
    }


def check_range(what: str, numbers: npt.NDArray[Any], count: int) -> None:
    """AuditError where one of some numbers is of nothing that there is: loops over arrays do not look."""
    if len(numbers) and (numbers.min() < 0 or numbers.max() >= count):
        raise AuditError(f"there is a row of {what} {numbers.min()}, or of {what} {numbers.max()}, of {count}")


def _joined(rows: npt.NDArray[Any], rest: Any, count: int) -> npt.NDArray[Any]:
    if not count:
        return rows
    column = np.empty(len(rows) + count, rows.dtype)
    column[: len(rows)], column[len(rows) :] = rows, rest
    return column


class Taken(NamedTuple):
    """What became of messages in a design that ``keeps`` them for those who are away, or does not: fate and cause, and
    when they were received, and done. ``offline`` counts those who had no session, where it has an entry for each
    message."""

    fate: Codes
    cause: Codes
    received_s: Floats
    done_s: Floats
    keeps: bool
    offline: Ints


class Came(NamedTuple):
    """What came of messages for users, with fates if it was written to sessions; room for its order by message, and
    where what came of each message ends."""

    message: Numbers
    user: Numbers
    fate: Codes
    row: Numbers
    end: Longs


class Rest(NamedTuple):
    """Messages x recipients without an end among the rows: what became of them."""

    message: Ints
    user: Ints
    fate: Codes
    cause: Codes


def _rest_of(
    scenario: Scenario, world: World, notes: Notes, messages: Columns, meant: Longs, inbox: Longs, rows: Columns,
    offline: Ints,
) -> Rest:  # fmt: skip
    """Settles the fates of rows, in their table, and those of recipients without an end among them.

    Of what is lost the cause is what the message was lost for, if that was, and else whether a session was there. If
    none was, that is counted alone, where there is an entry for each message.
    """
    people = notes.audience(world, meant)
    pairs, count = int(people.first[-1]), len(rows["fate"])
    ints, codes = (np.empty((2, pairs), kind) for kind in (np.int32, np.int8))
    rest = Rest(ints[0], ints[1], codes[0], codes[1])
    rows["fate"] = fixed(rows["fate"], np.int8)
    if not pairs and not count:
        return rest
    came = _came(rows["message"], rows["recipient"], rows["fate"], len(meant))
    waits = _came(inbox[:, 1], inbox[:, 0], np.empty(0, np.int8), len(meant))
    taken, known = _taken(messages, scenario.design.keeps_missed, offline), nothing_known(world.users, len(meant))
    there = _there(world, notes, taken.received_s)
    steps = pairs + count + len(there.session)
    found = run_loop(SETTLE, steps, people, taken, waits, came, there, known, rest)
    return Rest(ints[0, :found], ints[1, :found], codes[0, :found], codes[1, :found])


def _came(message: npt.NDArray[Any], user: npt.NDArray[Any], fate: Codes, messages: int) -> Came:
    end = np.zeros(messages + 1, np.int64)
    return Came(numbers(message), numbers(user), fate, np.empty(len(message), np.uint32), end)


def _taken(messages: Columns, keeps: bool, offline: Ints) -> Taken:
    fate, cause = (fixed(messages[name], np.int8) for name in ("fate", "cause"))
    received_s, done_s = (fixed(messages[name], np.float64) for name in ("received_s", "done_s"))
    return Taken(fate, cause, received_s, done_s, keeps, offline)


def _there(world: World, notes: Notes, received_s: Floats) -> Meanwhile:
    """Sessions that were, or were to be, online, as they come and go while messages are received."""
    sessions = notes.all_sessions(world)
    began = np.flatnonzero(np.asarray(notes.session_fate) != SessionFate.REFUSED)
    times_s = sessions.start_s[began], ends_s(notes.left_s)[began]
    return meanwhile(world.users, began, sessions.user[began], *times_s, received_s, received_s)


def _settle(
    people: Audience, taken: Taken, waits: Came, rows: Came, there: Meanwhile, known: Any, rest: Rest
) -> int:
    """The loop of :func:`_rest_of`; returns how many recipients have no end among the rows, and are not counted as
    offline. ``known`` is of each user, in the last message that was for them and of which anything came."""
    look_back(there)
    order_rows(waits.message, waits.end, waits.row)
    order_rows(rows.message, rows.end, rows.row)
    count = box = at = 0
    for one in range(len(people.sender)):
        box_end, end, is_open = waits.end[one], rows.end[one], 0
        ready(people, one, box_end - box + end - at, known)
        come_and_go(there, one)
        left, here = others(people, one, there.here)
        end_of = _end_of(taken, one)
        for place in range(box, box_end):
            user = waits.user[waits.row[place]]
            known[user] = STEP * one + (known_of(people, one, user, known) | WAITS | HAS_IT)
        for place in range(at, end):
            told = _take_row(people, one, rows, rows.row[place], known)
            left, is_open = left - (told & IS_END), is_open | told & IS_OPEN
            here -= there.here[rows.user[rows.row[place]]] if told & IS_END else 0
        comes = taken.keeps and np.isnan(taken.done_s[one])  # to its user, though a session has lost it
        for place in range(at, end if is_open else at):
            is_end = _end_row(rows, one, rows.row[place], comes, known)
            left -= is_end
            here -= there.here[rows.user[rows.row[place]]] if is_end else 0
        if left and not here and box == box_end and len(taken.offline) and end_of[2] < 0:
            taken.offline[one] = left  # nobody may be there of those who are left: most messages are such
        elif left:
            count = _end_others(people, one, taken, end_of, there, known, rest, count)
        box, at = box_end, end
    return count


def _end_of(taken: Taken, one: int) -> tuple[int, int, int]:
    """What a message comes to for recipients without an end among the rows: its fate, that where it waits in store, and
    why, if it is refused or lost, or -1: that asks whether the recipient had a session."""
    fate, cause, under_way = int(taken.fate[one]), int(taken.cause[one]), np.isnan(taken.done_s[one])
    if NEVER_TAKEN >> fate & 1 or (fate == LOST and not under_way):
        return fate, fate, cause
    if under_way or fate == IN_FLIGHT:
        return IN_FLIGHT, STORED, cause
    return LOST, STORED, -1


def _end_others(
    people: Audience, one: int, taken: Taken, end_of: tuple[int, int, int], there: Meanwhile, known: Any, rest: Rest,
    count: int,
) -> int:  # fmt: skip
    """Explains, or counts, what became of a message for recipients without an end among the rows. So many were
    explained before; returns how many are by now."""
    first, counts = people.at[one], len(taken.offline) > 0 and end_of[2] < 0
    for place in range(first, first + people.members[one]):
        user = people.member[place]
        told = max(known[user] - STEP * one, 0)
        if user == people.sender[one] or told & ENDED:
            continue
        was_there = _was_there(there, user, taken.received_s[one])
        if counts and not told & WAITS and not was_there:
            taken.offline[one] += 1
            continue
        fate, stored, cause = end_of
        fate = stored if told & WAITS else fate
        rest.message[count], rest.user[count], rest.fate[count] = one, user, fate
        why = cause if cause >= 0 else LEFT if was_there else OFFLINE
        rest.cause[count] = why if TO_SAY_WHY >> fate & 1 else 0
        count += 1
    return count


def _take_row(people: Audience, one: int, rows: Came, row: int, known: Any) -> int:
    """Finds out whether a row is for one whom its message is for, and whether that has the message now. Returns whether
    it is the first end for that one, or whether what else came decides on its fate."""
    user, fate = rows.user[row], rows.fate[row]
    told = known_of(people, one, user, known)
    if not told & IS_MEANT:
        if fate != DELIVERED:
            rows.fate[row] = MISSED
        else:
            rows.fate[row] = COPY if user == people.sender[one] else OVERHEARD
        return 0
    if MAY_BE_MISSED >> fate & 1:
        return IS_OPEN
    is_end = 1 - (NO_END >> fate & 1)
    known[user] = STEP * one + (told | (HAVE_IT >> fate & 1) * HAS_IT | is_end * ENDED)
    return int(is_end & (told // ENDED ^ 1))


def _end_row(rows: Came, one: int, row: int, comes: bool, known: Any) -> int:
    """Settles the fate of a row of a message that comes to its user in other ways too, or does not, where that decides;
    returns whether it is the first end for the user."""
    user, fate = rows.user[row], rows.fate[row]
    told = known[user] - STEP * one
    if not told & IS_MEANT or not MAY_BE_MISSED >> fate & 1:
        return 0
    if (fate == LOST and (comes or told & HAS_IT)) or (fate == IN_FLIGHT and told & WAITS):
        rows.fate[row] = MISSED
        return 0
    known[user] = STEP * one + (told | ENDED)
    return int(told // ENDED & 1 ^ 1)


def _was_there(there: Meanwhile, user: int, at_s: float) -> bool:
    """Whether a user had a session at a time that the message asks for; none had at NaN."""
    if not there.here[user]:
        return False
    at = there.head[user]
    while at != NOBODY and not there.begin_s[at] <= at_s < there.end_s[at]:
        at = there.after[at]
    return bool(at != NOBODY)


SETTLE = loop_of(
    _settle, *COMING_AND_GOING, *ASKING_WHO, order_rows, _end_of, _end_others, _take_row, _end_row, _was_there
)


def _say_why(world: World, notes: Notes, messages: Columns, meant: Longs, rest: Rest) -> None:
    """Writes what else than leaving is noted of why nothing was written to recipients who have lost a message that was
    taken. Modifies the causes."""
    message, user, cause, lost = rest.message, rest.user, rest.cause, rest.fate == LOST
    never_taken = messages["fate"] == Fate.LOST
    if never_taken.any():
        lost = lost & ~never_taken[message]
    rows = np.flatnonzero(lost & (cause == Cause.LEFT))
    cause[rows[~heard(notes, messages, meant)[message[rows]]]] = Cause.NOT_JOINED
    for noted, how in ((notes.trimmed, Cause.TRIMMED), (notes.wiped, Cause.BROKER_DOWN)):
        if noted:
            of_any = np.flatnonzero(lost)
            cause[of_any[np.isin(key_of(world, message[of_any], user[of_any]), _noted_keys(world, noted))]] = how
    rows = rows[cause[rows] == Cause.LEFT]
    if not len(rows):
        return
    sessions = notes.all_sessions(world)
    message, user, why = message[rows], user[rows], cause[rows]
    received_s, done_s = messages["received_s"][message], ends_s(messages["done_s"][message])
    _by_breaks(notes, sessions, message, user, received_s, why)
    unasked = np.isin(key_of(world, message, user), _noted_keys(world, notes.unasked))
    why[(why == Cause.LEFT) & unasked] = Cause.NOT_ASKED_FOR
    why[(why == Cause.LEFT) & _was_cut(notes, sessions, user, received_s, done_s)] = Cause.CRASHED
    cause[rows] = why


def _noted_keys(world: World, noted: list[tuple[int, int]]) -> Longs:
    """The keys of messages x users that were noted."""
    return np.array([message * world.users + user for message, user in noted], np.int64)


def _by_breaks(
    notes: Notes, sessions: SessionTable, message: Ints, user: Ints, received_s: Floats, cause: Codes
) -> None:
    """Writes the causes of what faults have stopped on its way to the gateways of sessions that were there."""
    breaks = notes.breaks.table()
    if not len(breaks["message"]):
        return
    gateway = np.append(np.array(notes.session_gateway, np.int64), -1)
    left_s = ends_s(notes.left_s)
    for device in _devices(sessions):
        session = _session_at(sessions, left_s, device, user, received_s)
        found = break_of(breaks, message, gateway[session])
        stopped = (session >= 0) & (found >= 0)
        cause[stopped] = breaks["cause"][found[stopped]]


def _was_cut(notes: Notes, sessions: SessionTable, user: Ints, time_s: Floats, done_s: Floats) -> Flags:
    """Whether the session that a user had, or thought to have, at a time had its connection broken at its gateway
    before the message was done: what breaks later has lost nothing."""
    cut_s = np.append(ends_s(notes.cut_s), np.inf)
    found = np.zeros(len(user), bool)
    if not np.isfinite(cut_s).any():
        return found
    left_s = ends_s(notes.left_s)
    for device in _devices(sessions):
        found |= cut_s[_session_at(sessions, left_s, device, user, time_s)] < done_s
    return found


def break_of(breaks: Columns, message: npt.NDArray[Any], gateway: Longs) -> Longs:
    """The first break of each message that concerns a gateway, or -1."""
    found = np.full(len(message), -1, np.int64)
    width = int(max(breaks["gateway"].max(initial=0), gateway.max(initial=0))) + 2
    keys = breaks["message"].astype(np.int64) * width + breaks["gateway"] + 1
    order = np.argsort(keys, kind="stable")
    for about in (gateway, np.full(len(message), -1, np.int64)):
        wanted = message.astype(np.int64) * width + about + 1
        place = np.searchsorted(keys[order], wanted)
        hit = order[np.minimum(place, len(order) - 1)]
        matches = (keys[hit] == wanted) & (found < 0)
        found[matches] = hit[matches]
    return found


def heard(notes: Notes, messages: Columns, meant: Longs) -> Flags:
    """Whether each message came when all gateways had subscribed to its room: all but the first ones of a new room."""
    heard: Flags = messages["received_s"] > notes.ready_s(meant)
    return heard


def among(fate: npt.NDArray[np.int8], wanted: tuple[Fate, ...]) -> Flags:
    """Which fates are among those wanted: by a table, since there are few of them and many rows."""
    return np.isin(np.arange(len(Fate)), wanted)[fate]


def key_of(world: World, message: npt.NDArray[np.generic], user: npt.NDArray[np.generic]) -> Longs:
    return message.astype(np.int64) * world.users + user.astype(np.int64)


def places(ascending: Longs, keys: Longs) -> Longs:
    """Where each of some keys stands among ascending ones, or -1."""
    if not len(ascending):
        return np.full(len(keys), -1, np.int64)
    place = np.minimum(np.searchsorted(ascending, keys), len(ascending) - 1)
    return np.where(ascending[place] == keys, place, -1)


def _session_at(
    sessions: SessionTable, left_s: Floats, device: int, user: npt.NDArray[np.generic], time_s: Floats
) -> Longs:
    """The session of each user's device that had started by then, and was not left, or -1: sessions of one device do
    not overlap, and one that was left before has nothing to do with what came then."""
    mine = np.flatnonzero(sessions.device == device)
    order = mine[np.lexsort((sessions.start_s[mine], sessions.user[mine]))]
    first, place = _place_by(sessions.user[order], sessions.start_s[order], user, time_s)
    found = np.append(order, -1)[place - 1]
    return np.where((place > first[user]) & ~(np.append(left_s, np.inf)[found] <= time_s), found, -1)


def _devices(sessions: SessionTable) -> range:
    return range(int(sessions.device.max(initial=-1)) + 1)


def _place_by(
    owner: npt.NDArray[np.generic],
    times_s: npt.NDArray[np.float64],
    user: npt.NDArray[np.generic],
    at_s: npt.NDArray[np.float64],
) -> tuple[Longs, Longs]:
    """Of times by user and ascending: where those of each user begin, and where those after ``at_s`` do."""
    users = int(max(owner.max(initial=-1), user.max(initial=-1))) + 1
    count = np.bincount(owner.astype(np.int64), minlength=users)
    first = np.cumsum(count) - count
    padded_s = np.append(times_s, np.inf)
    low, high = first[user], (first + count)[user]
    for _ in range(int(count.max(initial=0)).bit_length()):  # halves the range in which each one is to be found
        middle = (low + high) // 2
        is_by = (low < high) & ~(padded_s[middle] > at_s)
        high = np.where(is_by, high, middle)
        low = np.where(is_by, middle + 1, low)
    return first, low


def ends_s(noted_s: Any) -> npt.NDArray[np.float64]:
    """Times at which something ended, infinite where it did not."""
    found_s = np.array(noted_s, np.float64)
    found_s[np.isnan(found_s)] = np.inf
    return found_s
