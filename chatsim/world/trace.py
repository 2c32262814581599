"""A real message log as a world: who wrote to whom and when, with sessions inferred or given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chatsim.scenario.errors import InputError, nearest
from chatsim.scenario.models import Workload
from chatsim.world.behaviour import message_sizes
from chatsim.world.collegemsg import NAMES, TIME_FORMAT, collegemsg_path
from chatsim.world.pairs import edge_keys, pair_keys, users_of
from chatsim.world.reading import Table, Texts, epoch_s, read_table, whole_numbers
from chatsim.world.sessions import covering_session, merge_overlapping, session_table
from chatsim.world.tables import (
    GROUP,
    PAIR,
    Floats,
    Ints,
    Longs,
    MessageTable,
    Rooms,
    SessionTable,
    TraceReport,
    World,
    no_contacts,
    no_endings,
    no_friends,
    no_intrusions,
)

BYTES_MAX = 1_000_000_000


@dataclass(slots=True)
class _Log:
    """Rows of a log that are still kept; dropping one counts the reason. ``room`` is '' in rows with a recipient."""

    time_s: Floats
    sender: Texts
    recipient: Texts
    room: Texts
    size_bytes: Longs
    dropped: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.time_s)

    def drop(self, wrong: npt.NDArray[np.bool_], reason: str) -> None:
        """Drops rows, with the reason. Modifies the log."""
        if wrong.any():
            self.dropped[reason] = self.dropped.get(reason, 0) + int(wrong.sum())
            self.take(~wrong)

    def take(self, rows: npt.NDArray[np.bool_]) -> None:
        """Keeps only these rows. Modifies the log."""
        self.time_s, self.sender, self.recipient = self.time_s[rows], self.sender[rows], self.recipient[rows]
        self.room, self.size_bytes = self.room[rows], self.size_bytes[rows]


def import_trace(workload: Workload, seed: int, replication: int) -> World:
    """The world in a message log (``workload.trace``: 'collegemsg', or a CSV, CSV.gz or Parquet file).

    Columns: ``time`` (ISO, or epoch seconds), ``sender``, ``recipient`` or ``room`` (or both, one of them empty in each
    row) and, if there, ``bytes``. The first message kept is at 0. A room's members are all who ever write in it. A log
    says nothing of friends: nobody has any, and who has written to whom before it is not known. Sessions come from
    ``workload.trace_sessions`` (columns ``user``, ``start``, ``end``), or are inferred: from ``session_lead_s`` before
    the first of a user's messages until ``session_tail_s`` after the last, a new one after ``idle_gap_s`` of silence.
    What is dropped, and why, stands in ``report``. Raises InputError, which names the line.
    """
    table, time_format = _open_log(workload)
    read = len(table.line) + sum(table.skipped.values())
    log = _read_log(table, time_format)
    if not len(log):
        reasons = "; ".join(f"{count:,}: {reason}" for reason, count in log.dropped.items())
        raise InputError(f"{table.origin}: of {read:,} rows none is kept ({reasons}): at least one is needed")
    zero_s = float(log.time_s[0])
    log.time_s = log.time_s - zero_s
    if workload.duration_s > 0:
        log.drop(log.time_s >= workload.duration_s, f"after duration_s = {workload.duration_s:g}")
    duration_s = workload.duration_s or float(log.time_s[-1]) + workload.session_tail_s
    if workload.trace_sessions:
        given = _read_sessions(Path(workload.trace_sessions), zero_s)
        covered = _covered(log, given, duration_s)
        log.drop(~covered, "its sender has no session then")
        if not len(log):
            raise InputError(f"{workload.trace_sessions}: no message of {table.origin} lies in a session of its sender")
        sender, recipient, names = _numbered(log, given.user)
        sessions = given.table(names, duration_s)
    else:
        sender, recipient, names = _numbered(log, np.empty(0, object))
        sessions = _inferred_sessions(workload, log.time_s, sender, duration_s)
    rooms, room, room_count = _rooms(log, sender, recipient)
    sizes = message_sizes(workload, sender, seed, replication)
    sizes[log.size_bytes > 0] = log.size_bytes[log.size_bytes > 0]
    session = covering_session(sessions, sender, log.time_s).astype(np.int32)
    messages = MessageTable(log.time_s, sender, session, room, sizes, np.zeros(len(log), bool))
    world = World(
        len(names), duration_s, seed, replication, no_friends(len(names)), rooms, sessions, messages,
        no_contacts(len(names)), no_endings(), no_intrusions(), user_names=names,
    )
    counts = [f"{read:,} rows read, {len(log):,} messages kept"]
    counts += [f"dropped {count:,}: {reason}" for reason, count in log.dropped.items()]
    lines = (f"trace {workload.trace}: {counts[0]}", *counts[1:], *_facts(workload, world, room_count, zero_s))
    return replace(world, report=TraceReport(lines, read, len(log), log.dropped))


def _open_log(workload: Workload) -> tuple[Table, str]:
    """The table of the log, its columns under chatsim's names, and the format of its times."""
    if workload.trace == "collegemsg":
        table = read_table(collegemsg_path(), tuple(NAMES))
        return replace(table, columns={NAMES[name]: table.columns[name] for name in NAMES}), TIME_FORMAT
    path = Path(workload.trace)
    if not path.suffix and not path.exists():
        raise InputError(f"workload.trace = '{workload.trace}': no such file{nearest(workload.trace, ['collegemsg'])}")
    table = read_table(path, ("time", "sender"))
    if "recipient" not in table.columns and "room" not in table.columns:
        raise InputError(f"{path}: column 'recipient' (or 'room') is missing{nearest('recipient', table.columns)}")
    return table, "ISO8601"


def _read_log(table: Table, time_format: str) -> _Log:
    """Rows with a time, a sender and a recipient or room, in the order of time; others are dropped and counted."""
    nothing = np.full(len(table.line), "", object)
    sender = table.text("sender")
    recipient = table.text("recipient") if "recipient" in table.columns else nothing
    room = table.text("room") if "room" in table.columns else nothing
    timed = table.text("time") != ""
    time_s = epoch_s(table, "time", timed, time_format)
    _refuse_backwards(table, time_s, np.flatnonzero(timed))
    log = _Log(time_s, sender, recipient, room, _sizes(table), dict(table.skipped))
    log.drop(np.isnan(log.time_s), "time is empty")
    log.drop(log.sender == "", "sender is empty")
    log.drop((log.recipient == "") & (log.room == ""), f"{_target_names(table)} is empty")
    log.drop((log.recipient != "") & (log.room != ""), "both recipient and room are given")
    log.drop(log.sender == log.recipient, "sender and recipient are the same")
    return log


def _target_names(table: Table) -> str:
    return " and ".join(name for name in ("recipient", "room") if name in table.columns)


def _refuse_backwards(table: Table, time_s: Floats, rows: Longs) -> None:
    back = np.flatnonzero(np.diff(time_s[rows]) < 0)
    if not len(back):
        return
    before, row = int(rows[back[0]]), int(rows[back[0] + 1])
    shown = table.text("time")
    raise InputError(
        f"{table.place(row)}: time = '{shown[row]}' runs backwards: {table.unit} {table.line[before]} has "
        f"'{shown[before]}'; a log in the order of time is needed"
    )


def _sizes(table: Table) -> Longs:
    """Sizes in bytes, 0 where the log gives none."""
    sizes = np.zeros(len(table.line), np.int64)
    if "bytes" in table.columns:
        given = np.flatnonzero(table.text("bytes") != "")
        part = replace(
            table, columns={"bytes": table.columns["bytes"].take(given)}, line=table.line[given]
        )
        sizes[given] = whole_numbers(part, "bytes", 1, BYTES_MAX, "1 GB")
    return sizes


@dataclass(frozen=True, slots=True)
class _GivenSessions:
    """Sessions out of a file, users by name."""

    user: Texts
    start_s: Floats
    end_s: Floats

    def table(self, names: Sequence[str], duration_s: float) -> SessionTable:
        """The sessions of the named users, overlapping ones made one."""
        number = {name: place for place, name in enumerate(names)}
        user = np.array([number[name] for name in self.user], np.int32)
        user, start, end = merge_overlapping(user, self.start_s, self.end_s)
        return session_table(user, np.zeros(len(user), np.int32), start, end, duration_s)


def _read_sessions(path: Path, zero_s: float) -> _GivenSessions:
    """The sessions in a file, on the clock of the run; every field is needed."""
    table = read_table(path, ("user", "start", "end"))
    if table.skipped:
        raise InputError(f"{path}: {sum(table.skipped.values())} rows have another number of fields than the header")
    texts = {name: table.text(name) for name in ("user", "start", "end")}
    for name, text in texts.items():
        empty = np.flatnonzero(text == "")
        if len(empty):
            raise InputError(f"{table.place(int(empty[0]))}: {name} is empty: user, start and end are needed")
    everything = np.ones(len(table.line), bool)
    start, end = epoch_s(table, "start", everything), epoch_s(table, "end", everything)
    wrong = np.flatnonzero(end <= start)
    if len(wrong):
        row = int(wrong[0])
        raise InputError(
            f"{table.place(row)}: end = '{texts['end'][row]}': later than start = '{texts['start'][row]}' is needed"
        )
    return _GivenSessions(texts["user"], start - zero_s, end - zero_s)


def _covered(log: _Log, given: _GivenSessions, duration_s: float) -> npt.NDArray[np.bool_]:
    names = tuple(dict.fromkeys([*log.sender, *given.user]))
    number = {name: place for place, name in enumerate(names)}
    sender = np.array([number[name] for name in log.sender], np.int32)
    return covering_session(given.table(names, duration_s), sender, log.time_s) >= 0


def _inferred_sessions(workload: Workload, time_s: Floats, sender: Ints, duration_s: float) -> SessionTable:
    order = np.argsort(sender, kind="stable")
    user, time = sender[order], time_s[order]
    new = np.ones(len(user), bool)
    new[1:] = (user[1:] != user[:-1]) | (np.diff(time) > workload.idle_gap_s)
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(user)) - 1
    user, start, end = merge_overlapping(
        user[first], time[first] - workload.session_lead_s, time[last] + workload.session_tail_s
    )
    return session_table(user, np.zeros(len(user), np.int32), start, end, duration_s)


def _numbered(log: _Log, more: Texts) -> tuple[Ints, Ints, tuple[str, ...]]:
    """Sender and recipient (-1 in rooms) as numbers in the order of their first appearance, then ``more`` users."""
    import pandas as pd

    both = np.stack([log.sender, log.recipient], axis=1).ravel()
    named = np.append(both != "", np.ones(len(more), bool))
    codes, names = pd.factorize(np.concatenate([both, more])[named])
    numbers = np.full(len(named), -1, np.int32)
    numbers[named] = codes
    pairs = numbers[: 2 * len(log)].reshape(-1, 2)
    return pairs[:, 0].copy(), pairs[:, 1].copy(), tuple(str(name) for name in names)


def _rooms(log: _Log, sender: Ints, recipient: Ints) -> tuple[Rooms, Ints, int]:
    """A room for each pair that wrote, then the log's rooms in the order of their first appearance."""
    import pandas as pd

    private = recipient >= 0
    written = edge_keys(sender[private], recipient[private])
    pairs = np.unique(written)
    group, names = pd.factorize(log.room[~private])
    room = np.empty(len(sender), np.int32)
    room[private] = np.searchsorted(pairs, written)
    room[~private] = len(pairs) + group
    in_room, member = users_of(np.unique(pair_keys(group, sender[~private])))
    first, second = users_of(pairs)
    start = np.concatenate([
        2 * np.arange(len(pairs), dtype=np.int64), 2 * len(pairs) + np.searchsorted(in_room, np.arange(len(names) + 1))
    ])
    kind = np.repeat(np.array([PAIR, GROUP], np.uint8), [len(pairs), len(names)])
    members = np.concatenate([np.stack([first, second], axis=1).ravel(), member]).astype(np.int32)
    return Rooms(kind, start, members, np.zeros(len(kind), bool)), room, len(names)


def _facts(workload: Workload, world: World, rooms: int, zero_s: float) -> list[str]:
    from datetime import UTC, datetime

    span_s = float(world.messages.time_s[-1])
    lines = [
        f"{world.users:,} users, {len(world.rooms) - rooms:,} pairs, {rooms:,} rooms, {len(world.sessions):,} sessions"
    ]
    if rooms:
        lines.append("members of a room: all who ever write in it (those who only read are not in a log)")
    if workload.trace_sessions:
        lines.append(f"sessions: from {workload.trace_sessions}")
    else:
        lines.append(
            f"sessions: inferred, from {workload.session_lead_s:g} s before a user's first message until "
            f"{workload.session_tail_s:g} s after the last, a new one after {workload.idle_gap_s:g} s of silence"
        )
    first = datetime.fromtimestamp(zero_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
    lines.append(f"first message {first} UTC, span {span_s:,.0f} s ({span_s / 86400:.1f} days)")
    return lines
