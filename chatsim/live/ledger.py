"""What a gateway process notes: a file in shared memory, which is still there when the process is killed.

Each gateway has a file of its own, so that no two processes write to one number. Times are those of the monotonic
clock, which all processes of a machine share; 0 where a thing did not happen.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

COUNTS = (
    "receive", "command", "parse", "write", "login", "close", "discard", "publish", "push", "subscribe", "lookup",
    "update", "store", "recover", "refusal", "relation", "token", "join", "list", "state", "members", "presence",
    "asked", "notify",
)  # fmt: skip
"""What is counted: names of :class:`chatsim.engine.Work`, in small letters."""

CAUSES = ("none", "too_many", "too_large", "forbidden", "unavailable")
"""Why a gateway has not taken a message: names of :class:`chatsim.engine.Cause`, in small letters."""
TAKEN, TOO_MANY, TOO_LARGE, FORBIDDEN, UNAVAILABLE = range(len(CAUSES))

AWAY_MAX = 1000
STATES = 8
ROWS, CPU_S, MEMORY_BYTES, AWAYS, STRANGE, OVERFLOW, PROBES, PROBES_US = range(STATES)
"""Places in ``state``: rows written, CPU time, resident memory, times without the broker, frames that were no frames
of a client, rows for which there was no place, probes of the pace and how long they took in all."""


class Ledger:
    """The notes of one gateway.

    ``counts[kind]`` as in COUNTS; ``state`` as above; of message m: ``received_s[m]``, ``stored_s[m]``,
    ``routed_s[m]``, ``read_s[m]`` (its last push read), ``pushes[m]`` (subscribers that the broker says it was sent to,
    for what this gateway published), ``unanswered[m]`` (PUBLISH whose reply is out), ``reads[m]`` and ``discards[m]``
    of pushes here, ``cause[m]``; and a row per message written to a session: ``row_message``, ``row_session``,
    ``row_written_s``.
    ``away_s`` and ``whole_s``: when the broker was gone, and when all subscriptions stood again.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ledger = Ledger(Path(folder) / "0", 10, 5, make=True)
    ...     ledger.received_s[3] = 2.5
    ...     again = Ledger(Path(folder) / "0", 10, 5)
    ...     again.received_s[3]
    2.5
    """

    def __init__(self, path: Path, messages: int, rows: int, make: bool = False) -> None:
        doubles = [STATES, AWAY_MAX, AWAY_MAX, messages, messages, messages, messages, rows]
        longs = [len(COUNTS), messages, messages, messages, messages, messages, rows, rows]
        size = 8 * sum(doubles) + 4 * sum(longs) + 8
        self.rows = rows
        if make:
            with path.open("wb") as file:
                file.truncate(size)
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), size)
        whole = memoryview(self._map)
        edge = 8 * sum(doubles)
        numbers, counts = whole[:edge].cast("d"), whole[edge : edge + 4 * sum(longs)].cast("i")
        (
            self.state, self.away_s, self.whole_s, self.received_s, self.stored_s, self.routed_s, self.read_s,
            self.row_written_s,
        ) = _parts(numbers, doubles)  # fmt: skip
        (
            self.counts, self.pushes, self.unanswered, self.reads, self.discards, self.cause, self.row_message,
            self.row_session,
        ) = _parts(counts, longs)  # fmt: skip

    def written(self, message: int, session: int, written_s: float) -> None:
        """A message is written to a session now."""
        row = int(self.state[ROWS])
        if row >= self.rows:
            self.state[OVERFLOW] += 1
            return
        self.row_message[row], self.row_session[row], self.row_written_s[row] = message, session, written_s
        self.state[ROWS] = row + 1

    def away(self, now_s: float) -> None:
        """The broker is gone."""
        place = int(self.state[AWAYS])
        if place < AWAY_MAX:
            self.away_s[place], self.state[AWAYS] = now_s, place + 1

    def whole(self, now_s: float) -> None:
        """The broker is back, and all subscriptions stand."""
        place = int(self.state[AWAYS])
        if place:
            self.whole_s[place - 1] = now_s


def _parts(view: memoryview[Any], lengths: list[int]) -> list[memoryview[Any]]:
    parts, first = [], 0
    for length in lengths:
        parts.append(view[first : first + length])
        first += length
    return parts
