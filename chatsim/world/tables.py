"""The world as arrays: people, friendships, rooms, and the trace that every design under comparison is fed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

PAIR, GROUP = 0, 1

ROWS_MAX = 50_000_000
"""Most rows of a table that a world may have."""


@dataclass(frozen=True, slots=True)
class Friends:
    """Friend lists, both directions: those of user u are ``friend[start[u]:start[u + 1]]``, ascending."""

    start: Longs
    friend: Ints
    strength: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Rooms:
    """Members of room r are ``member[start[r]:start[r + 1]]``, ascending; ``kind[r]`` is PAIR or GROUP.

    ``known[r]``: the room has been written in before the run.
    """

    kind: npt.NDArray[np.uint8]
    start: Longs
    member: Ints
    known: Bools

    def __len__(self) -> int:
        return len(self.kind)


@dataclass(frozen=True, slots=True)
class Contacts:
    """Whom user u has written with before the run: ``contact[start[u]:start[u + 1]]``, latest first."""

    start: Longs
    contact: Ints


@dataclass(frozen=True, slots=True)
class SessionTable:
    """One row per session, ordered by (start_s, user, device). A start before 0: connected when the run starts."""

    user: Ints
    device: Ints
    start_s: Floats
    end_s: Floats

    def __len__(self) -> int:
        return len(self.user)


@dataclass(frozen=True, slots=True)
class MessageTable:
    """One row per message, ordered by time_s (ties in the order of the source). ``session`` is the sender's session."""

    time_s: Floats
    sender: Ints
    session: Ints
    room: Ints
    size_bytes: Ints
    spam: Bools

    def __len__(self) -> int:
        return len(self.time_s)


@dataclass(frozen=True, slots=True)
class EndingTable:
    """Ties that end, in the order of time: ``user`` ends the tie to ``other``, or with ``blocks`` only stops the other
    from writing."""

    time_s: Floats
    user: Ints
    other: Ints
    blocks: Bools

    def __len__(self) -> int:
        return len(self.time_s)


@dataclass(frozen=True, slots=True)
class IntrusionTable:
    """Tries to get into a room, in the order of time: ``user``, in ``session``, is after a room of ``victim``.

    ``draw``, uniform in [0, 1), says which of the victim's rooms.
    """

    time_s: Floats
    user: Ints
    session: Ints
    victim: Ints
    draw: Floats

    def __len__(self) -> int:
        return len(self.time_s)


@dataclass(frozen=True, slots=True)
class TraceReport:
    """What an import read, dropped and why: one line of text each."""

    lines: tuple[str, ...]
    read: int
    kept: int
    dropped: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class World:
    """People and trace of one replication of a scenario."""

    users: int
    duration_s: float
    seed: int
    replication: int
    friends: Friends
    rooms: Rooms
    sessions: SessionTable
    messages: MessageTable
    contacts: Contacts
    endings: EndingTable
    intrusions: IntrusionTable
    report: TraceReport | None = None
    user_names: tuple[str, ...] | None = None


def no_friends(users: int) -> Friends:
    """Nobody has friends."""
    return Friends(np.zeros(users + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))


def no_contacts(users: int) -> Contacts:
    """Nobody has written with anybody before the run."""
    return Contacts(np.zeros(users + 1, np.int64), np.empty(0, np.int32))


def no_endings() -> EndingTable:
    """No tie ends."""
    return EndingTable(np.empty(0), np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, bool))


def no_intrusions() -> IntrusionTable:
    """Nobody tries to get into a room."""
    nobody = np.empty(0, np.int32)
    return IntrusionTable(np.empty(0), nobody, nobody, nobody, np.empty(0))
