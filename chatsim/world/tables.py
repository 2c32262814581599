"""The world as arrays: people, friendships, rooms, and the trace that every design under comparison is fed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

PAIR, GROUP = 0, 1


@dataclass(frozen=True, slots=True)
class Friends:
    """Friend lists, both directions: those of user u are ``friend[start[u]:start[u + 1]]``, ascending."""

    start: Longs
    friend: Ints
    strength: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Rooms:
    """Members of room r are ``member[start[r]:start[r + 1]]``, ascending; ``kind[r]`` is PAIR or GROUP."""

    kind: npt.NDArray[np.uint8]
    start: Longs
    member: Ints

    def __len__(self) -> int:
        return len(self.kind)


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
    report: TraceReport | None = None
    user_names: tuple[str, ...] | None = None
