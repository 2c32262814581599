"""The auditor: settles every message x intended session, and checks the run against independent counts.

A run that fails raises AuditError: it is a defect of chatsim, never a result.
"""

from __future__ import annotations

from array import array
from collections import Counter

import numpy as np
import numpy.typing as npt

from chatsim.engine.notes import NEVER, Notes
from chatsim.engine.outcome import Cause, Columns, Fate, SessionFate, Work
from chatsim.scenario import AuditError, Scenario
from chatsim.world.tables import SessionTable, World

Flags = npt.NDArray[np.bool_]
Longs = npt.NDArray[np.int64]
Pairs = tuple[Longs, npt.NDArray[np.int32]]
LastEnds = dict[int, npt.NDArray[np.float64]]
"""The last ends of ticks of each station, ascending: one for each core."""


NOT_MEANT = (Fate.OVERHEARD, Fate.COPY)
NO_ENDS = (Fate.MISSED, Fate.DUPLICATE, *NOT_MEANT)
KEPT = (Fate.DELIVERED, Fate.READ_LATER, *NOT_MEANT)


def waiting_in(inbox: dict[int, dict[int, None]]) -> Longs:
    """What waits in store for whom, a row of (user, message) each, out of what waits for each user.

    >>> waiting_in({7: {3: None, 4: None}}).tolist()
    [[7, 3], [7, 4]]
    """
    rows = [(user, message) for user, box in inbox.items() for message in box]
    return np.array(rows, np.int64).reshape(-1, 2)


def settle(scenario: Scenario, world: World, notes: Notes, inbox: Longs, meant: Longs) -> Columns:
    """The table of deliveries: what was written to sessions, and a row for each recipient to whom nothing was.

    A recipient without a row of an end of its own is, in this order: refused (the message was never taken), stored
    (it waits in ``inbox``, rows of user and message), in flight (a carrier is still under way), or lost, because no
    session was there or because it left. What came to sessions beyond the audience is overheard, or a copy for the
    sender. ``meant`` says for the members of which room each message is.
    """
    messages, sessions = notes.messages(world, meant), notes.all_sessions(world)
    pair_message, pair_user = pairs_of(world, meant)
    rows = notes.rows()
    row_message, row_session, row_fate = rows["message"], rows["session"], rows["fate"]
    row_key = _key(world, row_message, sessions.user[row_session])
    pair_key = _key(world, pair_message, pair_user)

    row_place = places(pair_key, row_key)
    beyond = row_place < 0
    row_fate[beyond] = _beyond(row_fate, sessions.user[row_session] == messages["sender"][row_message])[beyond]
    has_it = _among(row_fate, (Fate.DELIVERED, Fate.READ_LATER))
    in_store = np.sort(_inbox_keys(world, inbox))
    lost = np.flatnonzero(row_fate == Fate.LOST)
    if len(lost):
        elsewhere = places(np.sort(np.concatenate([row_key[has_it], in_store])), row_key[lost]) >= 0
        row_fate[lost[elsewhere]] = Fate.MISSED
    if scenario.design.offline != "drop":
        still_coming = np.isnan(messages["done_s"].astype(np.float64))[row_message]
        row_fate[(row_fate == Fate.LOST) & still_coming] = Fate.MISSED

    in_flight = np.flatnonzero(row_fate == Fate.IN_FLIGHT)
    row_fate[in_flight[places(in_store, row_key[in_flight]) >= 0]] = Fate.MISSED
    ended = ~_among(row_fate, NO_ENDS)
    open_pair = np.ones(len(pair_key), bool)
    open_pair[row_place[ended & (row_place >= 0)]] = False
    open_message, open_user = pair_message[open_pair], pair_user[open_pair]
    fate, cause = _explain(messages, open_message, places(in_store, pair_key[open_pair]) >= 0)
    _say_why(world, notes, messages, meant, open_message, open_user, fate == Fate.LOST, cause)
    rest = len(open_message)

    gateway = np.array(notes.session_gateway, np.int32)[row_session]
    deliveries: Columns = {
        "message": np.concatenate([row_message, open_message]).astype(np.int32),
        "recipient": np.concatenate([sessions.user[row_session], open_user]).astype(np.int32),
        "session": np.concatenate([row_session, np.full(rest, -1)]).astype(np.int32),
        "gateway": np.concatenate([gateway, np.full(rest, -1)]).astype(np.int32),
        "fate": np.concatenate([row_fate, fate]).astype(np.int8),
        "cause": np.concatenate([rows["cause"], cause]).astype(np.int8),
        "local": np.concatenate([gateway == messages["gateway"][row_message], np.zeros(rest, bool)]),
        "written_s": np.concatenate([rows["written_s"], np.full(rest, NEVER)]),
        "time_s": np.concatenate([rows["time_s"], np.full(rest, NEVER)]),
        "receipt_s": np.concatenate([rows["receipt_s"], np.full(rest, NEVER)]),
    }
    return deliveries


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


def audit_recorded(world: World, notes: Notes, deliveries: Columns, meant: Longs) -> None:
    """Checks laws 1 to 4, which hold of whatever was recorded, be it of a model or of a system that runs."""
    messages, pairs = notes.messages(world, meant), pairs_of(world, meant)
    _check_every_pair_ends(world, deliveries, pairs)
    rows = _rows_of_sessions(deliveries, len(notes.session_gateway))
    _check_expected_sessions(world, notes, messages, rows, pairs, meant)
    _check_times(messages, deliveries)


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


def _say_why(
    world: World,
    notes: Notes,
    messages: Columns,
    meant: Longs,
    message: Longs,
    user: npt.NDArray[np.int32],
    lost: Flags,
    cause: npt.NDArray[np.int8],
) -> None:
    """Writes why nothing was written to recipients who have lost a message: what is noted of it, first of all."""
    rows = np.flatnonzero(lost)
    if not len(rows):
        return
    message, user = message[rows], user[rows]
    sessions, key = notes.all_sessions(world), _key(world, message, user)
    received_s = messages["received_s"][message]
    left = _had_session(notes, sessions, user, received_s)
    why = np.where(left, Cause.LEFT, Cause.OFFLINE).astype(np.int8)
    why[left & ~_heard(notes, messages, meant)[message]] = Cause.NOT_JOINED
    for noted, how in ((notes.trimmed, Cause.TRIMMED), (notes.wiped, Cause.BROKER_DOWN)):
        why[np.isin(key, _noted_keys(world, noted))] = how
    _by_breaks(notes, sessions, messages, message, user, why == Cause.LEFT, why)
    why[(why == Cause.LEFT) & np.isin(key, _noted_keys(world, notes.unasked))] = Cause.NOT_ASKED_FOR
    why[(why == Cause.LEFT) & _was_cut(notes, sessions, user, received_s)] = Cause.CRASHED
    never_taken = messages["fate"][message] == Fate.LOST
    why[never_taken] = messages["cause"][message][never_taken]
    cause[rows] = why


def _noted_keys(world: World, noted: list[tuple[int, int]]) -> Longs:
    """The keys of messages x users that were noted."""
    return np.array([message * world.users + user for message, user in noted], np.int64)


def _by_breaks(
    notes: Notes,
    sessions: SessionTable,
    messages: Columns,
    message: Longs,
    user: npt.NDArray[np.generic],
    wanted: Flags,
    cause: npt.NDArray[np.int8],
) -> None:
    """Writes the causes of what faults have stopped on its way to the gateways of sessions that were there."""
    breaks = notes.breaks.table()
    if not len(breaks["message"]):
        return
    rows = np.flatnonzero(wanted)
    received_s = messages["received_s"].astype(np.float64)[message[rows]]
    gateway = np.append(np.array(notes.session_gateway, np.int64), -1)
    for device in _devices(sessions):
        session = _session_at(sessions, device, user[rows], received_s)
        found = _break_of(breaks, message[rows], gateway[session])
        stopped = (session >= 0) & (found >= 0)
        cause[rows[stopped]] = breaks["cause"][found[stopped]]


def _was_cut(
    notes: Notes, sessions: SessionTable, user: npt.NDArray[np.generic], time_s: npt.NDArray[np.generic]
) -> Flags:
    """Whether the session that a user had, or thought to have, at a time had its connection broken at its gateway."""
    cut = np.append(np.isfinite(np.array(notes.cut_s)), False)
    found = np.zeros(len(user), bool)
    if not cut.any():
        return found
    for device in _devices(sessions):
        found |= cut[_session_at(sessions, device, user, time_s.astype(np.float64))]
    return found


def _break_of(breaks: Columns, message: Longs, gateway: Longs) -> Longs:
    """The first break of each message that concerns a gateway, or -1."""
    found = np.full(len(message), -1, np.int64)
    width = int(max(breaks["gateway"].max(initial=0), gateway.max(initial=0))) + 2
    keys = breaks["message"].astype(np.int64) * width + breaks["gateway"] + 1
    order = np.argsort(keys, kind="stable")
    for about in (gateway, np.full(len(message), -1, np.int64)):
        wanted = message * width + about + 1
        place = np.searchsorted(keys[order], wanted)
        hit = order[np.minimum(place, len(order) - 1)]
        matches = (keys[hit] == wanted) & (found < 0)
        found[matches] = hit[matches]
    return found


def _explain(
    messages: Columns, open_message: Longs, in_store: Flags
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int8]]:
    taken = messages["fate"][open_message]
    fate = np.full(len(open_message), Fate.LOST, np.int8)
    under_way = np.isnan(messages["done_s"].astype(np.float64))[open_message]
    fate[under_way | (taken == Fate.IN_FLIGHT)] = Fate.IN_FLIGHT
    fate[in_store] = Fate.STORED
    fate[taken == Fate.REFUSED] = Fate.REFUSED
    fate[taken == Fate.ABANDONED] = Fate.ABANDONED
    fate[(taken == Fate.LOST) & ~under_way] = Fate.LOST
    cause = np.where(fate == Fate.REFUSED, messages["cause"][open_message], Cause.NONE).astype(np.int8)
    return fate, cause


def _beyond(fate: npt.NDArray[np.int8], is_sender: Flags) -> npt.NDArray[np.int8]:
    """What rows are that were written to sessions beyond the audience."""
    came = np.where(is_sender, Fate.COPY, Fate.OVERHEARD)
    return np.where(fate == Fate.DELIVERED, came, Fate.MISSED).astype(np.int8)


def _heard(notes: Notes, messages: Columns, meant: Longs) -> Flags:
    """Whether each message came when all gateways had subscribed to its room: all but the first ones of a new room."""
    ready_s = np.full(int(meant.max(initial=-1)) + 1, -np.inf)
    ready_s[list(notes.room_ready_s)] = list(notes.room_ready_s.values())
    heard: Flags = messages["received_s"].astype(np.float64) > ready_s[meant]
    return heard


def _among(fate: npt.NDArray[np.int8], wanted: tuple[Fate, ...]) -> Flags:
    """Which fates are among those wanted: by a table, since there are few of them and many rows."""
    return np.isin(np.arange(len(Fate)), wanted)[fate]


def _key(world: World, message: npt.NDArray[np.generic], user: npt.NDArray[np.generic]) -> Longs:
    return message.astype(np.int64) * world.users + user.astype(np.int64)


def places(ascending: Longs, keys: Longs) -> Longs:
    """Where each of some keys stands among ascending ones, or -1."""
    if not len(ascending):
        return np.full(len(keys), -1, np.int64)
    place = np.minimum(np.searchsorted(ascending, keys), len(ascending) - 1)
    return np.where(ascending[place] == keys, place, -1)


def _inbox_keys(world: World, inbox: Longs) -> Longs:
    return _key(world, inbox[:, 1], inbox[:, 0])


def _session_at(
    sessions: SessionTable, device: int, user: npt.NDArray[np.generic], time_s: npt.NDArray[np.float64]
) -> Longs:
    """The last session of each user's device that started by then, or -1. Sessions of one device do not overlap."""
    mine = np.flatnonzero(sessions.device == device)
    order = mine[np.lexsort((sessions.start_s[mine], sessions.user[mine]))]
    first, place = _place_by(sessions.user[order], sessions.start_s[order], user, time_s)
    return np.where(place > first[user], np.append(order, -1)[place - 1], -1)


def _devices(sessions: SessionTable) -> range:
    return range(int(sessions.device.max(initial=-1)) + 1)


def _had_session(
    notes: Notes, sessions: SessionTable, user: npt.NDArray[np.generic], time_s: npt.NDArray[np.generic]
) -> Flags:
    """Whether a user had a session online, or on its way to be, at a time: more of them had begun than had ended."""
    began = np.array(notes.session_fate) != SessionFate.REFUSED
    owner, ends_s = sessions.user[began], _ends_s(notes.left_s)[began]
    at_s = time_s.astype(np.float64)
    begun = _count_by(owner, sessions.start_s[began], user, at_s)
    had: Flags = (begun > _count_by(owner, ends_s, user, at_s)) & ~np.isnan(at_s)
    return had


def _count_by(
    owner: npt.NDArray[np.generic],
    times_s: npt.NDArray[np.float64],
    user: npt.NDArray[np.generic],
    at_s: npt.NDArray[np.float64],
) -> Longs:
    """How many of a user's times are not after a given one."""
    order = np.lexsort((times_s, owner))
    first, place = _place_by(owner[order], times_s[order], user, at_s)
    count: Longs = place - first[user]
    return count


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


def _check_every_pair_ends(world: World, deliveries: Columns, pairs: Pairs) -> None:
    pair_message, pair_user = pairs
    ended = ~_among(deliveries["fate"], NO_ENDS)
    has_end = _key(world, deliveries["message"][ended], deliveries["recipient"][ended])
    wanted = _key(world, pair_message, pair_user)
    place = places(wanted, has_end)
    ends = np.bincount(place[place >= 0], minlength=len(wanted))
    for what, keys in (
        ("no end", wanted[ends == 0]),
        ("an end, but was not meant", np.unique(has_end[place < 0])),
    ):
        if len(keys):
            message, user = divmod(int(keys[0]), world.users)
            raise AuditError(f"message {message} to user {user} has {what} ({len(keys)} such)")
    if (ends[place[deliveries["session"][ended] < 0]] > 1).any():
        raise AuditError("a message to one recipient has two ends")


def _rows_of_sessions(deliveries: Columns, sessions: int) -> Longs:
    """Keys of all messages x sessions that have a row, ascending. AuditError where a session kept a message twice."""
    live = deliveries["session"] >= 0
    keys = deliveries["message"][live].astype(np.int64) * sessions + deliveries["session"][live]
    kept = _among(deliveries["fate"][live], KEPT)
    keys = np.sort(2 * keys + kept, kind="stable")  # they come nearly in order, which this makes use of
    if ((keys[1:] == keys[:-1]) & (keys[1:] % 2 == 1)).any():
        raise AuditError("a session got a message twice and kept both")
    return keys >> 1


def _check_expected_sessions(
    world: World, notes: Notes, messages: Columns, rows: Longs, pairs: Pairs, meant: Longs
) -> None:
    table = notes.all_sessions(world)
    pair_message, pair_user = pairs
    routed_s = messages["routed_s"].astype(np.float64)[pair_message]
    received_s = messages["received_s"].astype(np.float64)[pair_message]
    done_s = messages["done_s"].astype(np.float64)[pair_message]
    online_s = np.nan_to_num(np.array(notes.online_s, np.float64), nan=np.inf)
    left_s = np.fmin(_ends_s(notes.left_s), _ends_s(notes.cut_s))
    came = np.flatnonzero(online_s < left_s)
    was_there = np.zeros(world.users, bool)
    was_there[table.user[came]] = True
    wanted = ~np.isnan(routed_s) & ~np.isnan(done_s) & _heard(notes, messages, meant)[pair_message]
    wanted &= was_there[pair_user]
    pair_message, pair_user = pair_message[wanted], pair_user[wanted]
    received_s, done_s = received_s[wanted], done_s[wanted]
    gateway, breaks = np.array(notes.session_gateway, np.int64), notes.breaks.table()
    by_user = np.lexsort((received_s, pair_user))
    pair_message, pair_user = pair_message[by_user], pair_user[by_user]
    received_s, done_s = received_s[by_user], done_s[by_user]
    _, first = _place_by(pair_user, received_s, table.user[came], online_s[came])
    _, end = _place_by(pair_user, received_s, table.user[came], left_s[came])
    count = end - first
    session = np.repeat(came, count)
    pair = np.arange(len(session)) - np.repeat(np.cumsum(count) - count - first, count)
    expected = left_s[session] > done_s[pair]
    session, pair_message = session[expected], pair_message[pair[expected]]
    missing = places(rows, pair_message * len(table) + session) < 0
    if len(breaks["message"]) and missing.any():
        missing &= _break_of(breaks, pair_message, gateway[session]) < 0
    if missing.any():
        one = int(np.flatnonzero(missing)[0])
        raise AuditError(
            f"message {pair_message[one]}: session {session[one]} was online throughout, "
            f"but nothing was written to it ({int(missing.sum())} such)"
        )


def _ends_s(noted_s: array[float]) -> npt.NDArray[np.float64]:
    """Times at which something ended, infinite where it did not."""
    return np.nan_to_num(np.array(noted_s, np.float64), nan=np.inf)


def _check_times(messages: Columns, deliveries: Columns) -> None:
    written_from = messages["received_s"][deliveries["message"]]
    steps = (
        ("received before it was sent", messages["time_s"], messages["received_s"]),
        ("routed before it was received", messages["received_s"], messages["routed_s"]),
        ("written before it was received", written_from, deliveries["written_s"]),
        ("delivered before it was written", deliveries["written_s"], deliveries["time_s"]),
    )
    for what, earlier, later in steps:
        backwards = np.flatnonzero(later.astype(np.float64) < earlier.astype(np.float64))
        if len(backwards):
            raise AuditError(f"row {backwards[0]}: {what} ({len(backwards)} such)")


def counted(scenario: Scenario, notes: Notes, messages: Columns, deliveries: Columns) -> Counter[str]:
    """What messages and their rows say of a run, or of a part of one, that stations have counted too. AuditError where
    a gateway read a push that nobody sent."""
    done = ~np.isnan(messages["done_s"])
    refused = _among(messages["fate"], (Fate.REFUSED, Fate.ABANDONED))
    live = deliveries["session"] >= 0
    reads, lost = np.array(notes.reads, np.int64), np.array(notes.lost_pushes, np.int64)
    if (reads > messages["pushes"]).any():
        raise AuditError("a gateway read a push that nobody sent")
    received, refusals = np.array(notes.received, np.int64), np.array(notes.refused, np.int64)
    numbers = {
        "received": received.sum(),
        "never read": (received == 0).sum(),
        "without a time of reading": np.isnan(messages["received_s"]).sum(),
        "refusals": refusals.sum(),
        "refused": _refused(messages).sum(),
        "refused once": _refused_once(notes, messages).sum(),
        "discards": messages["discards"].sum(),
        "pushes": messages["pushes"].sum(),
        "pushes of those done": messages["pushes"][done].sum(),
        "pushes of those done that were read, or lost": (reads + lost)[done].sum(),
        "rows of those refused": (refused[deliveries["message"]] & live).sum(),
        "rows": live.sum(),
        "not done": (~done).sum(),
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
    refused: Flags = np.isin(messages["cause"], causes) & (messages["fate"] == Fate.REFUSED)
    return refused


def _refused_once(notes: Notes, messages: Columns) -> Flags:
    """The same by the count of refusals: not where an earlier or later try was taken."""
    once: Flags = (np.array(notes.refused) > 0) & _refused(messages)
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
    """Checks law 6, a station never has more ticks going on than cores, of ticks in the order in which they began; the
    last ends of each station, as the next part of the same run is given them ``before``."""
    cores = np.concatenate(
        [
            np.full(scenario.design.gateways, scenario.gateway.cores),
            np.full(scenario.broker.nodes if scenario.has_broker else 0, scenario.broker.cores),
            [scenario.database.cores],
        ]
    )
    last = {}
    by_station = np.argsort(ticks["station"].astype(np.min_scalar_type(len(cores))), kind="stable")
    bounds = np.concatenate([[0], np.cumsum(np.bincount(ticks["station"], minlength=len(cores)))])
    for station, own_cores in enumerate(cores.tolist()):
        own = by_station[bounds[station] : bounds[station + 1]]
        earlier_s = np.full(own_cores, -np.inf) if before is None else before[station]
        # They come in the order in which they began, and nearly in that in which they ended, which stable sorts use.
        start_s = np.sort(ticks["start_s"][own], kind="stable")
        end_s = np.sort(np.concatenate([earlier_s, ticks["end_s"][own]]), kind="stable")
        if (start_s < end_s[: len(start_s)]).any():
            raise AuditError(f"station {station} has more ticks at once than cores")
        last[station] = end_s[len(end_s) - own_cores :]
    return last
