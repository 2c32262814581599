"""A run that is not kept whole: its parts are settled and audited one after the other, and what they leave open later.

Each part holds the messages that are done since the one before, in the order of the trace. All of it is known then but
when those read it for whom it is in store, which later parts tell.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

from chatsim.engine.audit import (
    LastEnds,
    audit_recorded,
    check_chat,
    check_counts,
    check_ticks,
    counted,
)
from chatsim.engine.notes import Notes
from chatsim.engine.outcome import Columns, Fate
from chatsim.engine.settling import Flags, Ints, Longs, places, settle
from chatsim.scenario import AuditError, Scenario
from chatsim.world.tables import World


class PartAuditor:
    """Settles the parts of a run, and holds them to the laws of :mod:`chatsim.engine.audit` as one run.

    Messages have the numbers of their part. A key is a message of the whole run times users, plus a user.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._counts: Counter[str] = Counter()
        self._ends: LastEnds | None = None
        self._waiting: list[Waiting] = []

    def settle(
        self, world: World, notes: Notes, inbox: Longs, meant: Longs, first: int
    ) -> tuple[Columns, Ints]:
        """The deliveries of a part whose messages are those from ``first`` on, and for each of these how many have lost
        it because they were offline, who have no row; AuditError where a law is broken."""
        offline = np.zeros(len(meant), np.int32)
        deliveries = settle(self._scenario, world, notes, inbox, meant, offline)
        audit_recorded(world, notes, deliveries, meant, offline)
        self._counts += counted(self._scenario, notes, notes.messages(world, meant), deliveries)
        self._ends = check_ticks(self._scenario, notes.ticks(), self._ends)
        stored = deliveries["fate"] == Fate.STORED
        keys = (first + deliveries["message"][stored].astype(np.int64)) * world.users + deliveries["recipient"][stored]
        self._waiting.append(Waiting(first * world.users, np.sort(keys)))
        return deliveries, offline

    def read(self, keys: Longs, fate: npt.NDArray[np.int8]) -> Flags:
        """Takes from the store what came to sessions of messages of earlier parts; which of it was there until then.

        AuditError where one of them came live, though nothing carried it any more.
        """
        if (fate == Fate.DELIVERED).any():
            raise AuditError("a message was written after the last that carried it was done")
        self._counts["rows"] += len(keys)
        first = np.zeros(len(keys), bool)
        rows = np.flatnonzero(fate == Fate.READ_LATER)
        rows = rows[np.argsort(keys[rows], kind="stable")]
        bounds = np.searchsorted(keys[rows], [part.least for part in self._waiting]).tolist()
        for part, begin, end in zip(self._waiting, bounds, [*bounds, len(rows)][1:], strict=True):
            first[rows[begin:end]] = part.take(keys[rows[begin:end]])
        return first

    def end(self, world: World, notes: Notes, inbox: Longs) -> None:
        """Checks the whole run when its last part is settled; ``inbox`` is all that waits, with messages of the run."""
        check_counts(self._scenario, np.array(notes.work, np.int64), self._counts)
        check_chat(world, notes)
        in_store = np.sort(inbox[:, 1] * world.users + inbox[:, 0])
        waiting = np.concatenate([np.zeros(0, np.int64), *(part.left() for part in self._waiting)])
        if not np.array_equal(in_store, waiting):
            raise AuditError(f"{len(waiting)} messages were never read, but {len(in_store)} are in store")


class Waiting:
    """Keys of what waits in store of the messages of one part, ascending; none is less than ``least``."""

    def __init__(self, least: int, keys: Longs) -> None:
        self.least, self._keys = least, keys
        self._taken: Flags = np.zeros(len(keys), bool)

    def take(self, keys: Longs) -> Flags:
        """Takes ascending keys out of the store; which of them were there, each once."""
        if not len(keys):
            return np.zeros(0, bool)
        place = places(self._keys, keys)
        is_first: Flags = (place >= 0) & (np.diff(place, prepend=-1) != 0) & ~np.append(self._taken, False)[place]
        self._taken[place[is_first]] = True
        if 2 * np.count_nonzero(self._taken) > len(self._taken):
            self._keys, self._taken = self.left(), np.zeros(len(self.left()), bool)
        return is_first

    def left(self) -> Longs:
        """What still waits."""
        return self._keys[~self._taken]
