"""The outcome of a run: what happened, as typed columns. Everything that is reported is computed from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from chatsim.scenario import Scenario
from chatsim.world.tables import World

Columns = dict[str, npt.NDArray[Any]]


class Fate(IntEnum):
    """How one message x intended session ended."""

    DELIVERED = 0  # the session has the message, live
    READ_LATER = 1  # stored, and read by the sync of a later login
    STORED = 2  # stored, not yet read when the run ended
    LOST = 3  # gone for good, with the cause
    REFUSED = 4  # the system, or the client, never took the message
    IN_FLIGHT = 5  # still under way when the run ended
    DUPLICATE = 6  # came to a session that had it already; the client drops it
    MISSED = 7  # written to a session that was gone or full, but its user has it elsewhere or in store


class Cause(IntEnum):
    """Why a message was lost or refused."""

    NONE = 0
    OFFLINE = 1  # the recipient had no session, and the design drops
    LEFT = 2  # the recipient's session left while the message was under way
    OUTBOUND_FULL = 3  # the session's outbound queue was full
    NO_SESSION = 4  # the sender was not connected (login refused, closed, or left before it was sent)
    TOO_MANY = 5  # the sender wrote more than its limit per second
    TOO_LARGE = 6  # the message was larger than the limit


class SessionFate(IntEnum):
    """How a session ended."""

    ONLINE = 0  # online when the run ended
    LEFT = 1  # was online, left as planned
    CLOSED = 2  # was online, closed by the gateway
    ABANDONED = 3  # left before its login was through
    REFUSED = 4  # no connection was to be had
    CONNECTING = 5  # login still going on when the run ended


class Work(IntEnum):
    """What a station does: columns of ``work``, counted when it is done."""

    RECEIVE = 0  # gateway: client messages read
    COMMAND = 1  # gateway: commands written to broker, database or another gateway
    PARSE = 2  # gateway: pushes and replies read
    WRITE = 3  # gateway: messages written to sessions
    LOGIN = 4  # gateway: handshakes
    CLOSE = 5  # gateway: closes
    DISCARD = 6  # gateway: pushes for a room (or user) with no member here
    PUBLISH = 7  # broker: PUBLISH commands
    PUSH = 8  # broker: pushes to subscribed gateways
    BUS = 9  # broker: messages taken from another node of the cluster
    SUBSCRIBE = 10  # broker: SUBSCRIBE and UNSUBSCRIBE
    LOOKUP = 11  # broker: look-ups of users' sessions
    UPDATE = 12  # broker: changes of the session registry
    STORE = 13  # broker or database: messages stored
    RECOVER = 14  # broker or database: syncs read
    REFUSAL = 15  # gateway: refusals written to senders


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened in one run. Times in simulated seconds, NaN where a thing did not happen.

    ``messages`` (one row per message of the trace, same order):
        time_s when its sender wrote it; sender, room, session; size_bytes; recipients (members without the sender);
        gateway (-1: none); received_s when that has checked it; stored_s; routed_s when the sender's gateway is done
        with it; done_s when nothing carries it any more; pushes sent for it by broker nodes or peer gateways, and
        discards of these; told_s when the sender of a refused message knows; fate (Fate.DELIVERED stands for "taken")
        and cause.
    ``deliveries`` (one row per message x intended session; session = -1 where the recipient had none):
        message, recipient, session, gateway; fate, cause; local (on the sender's gateway); written_s; time_s.
    ``sessions`` (one row per session of the trace, same order):
        user, device, start_s, end_s; gateway; online_s the login is through; left_s; fate.
    ``ticks`` (one row per tick of any station):
        station (index in ``stations``), start_s, end_s, items taken, waiting (left in the queue), waited_s (summed over
        the items).
    ``subscriptions`` (one row per change): time_s, node, change (+1 or -1).
    ``work``: int64 array, stations x Work.
    """

    scenario: Scenario
    world: World
    stations: tuple[str, ...]
    messages: Columns
    deliveries: Columns
    sessions: Columns
    ticks: Columns
    subscriptions: Columns
    work: npt.NDArray[np.int64]
    end_s: float
