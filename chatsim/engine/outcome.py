"""The outcome of a run: what happened, as typed columns. Everything that is reported is computed from it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from chatsim.scenario import Scenario
from chatsim.scenario.html import rows_html
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
    OVERHEARD = 8  # came to a session of somebody for whom it was not meant
    COPY = 9  # came to another session of its sender
    ABANDONED = 10  # never written: the recipient was not on the list, and nobody searched, or the search failed


class Cause(IntEnum):
    """Why a message was lost or refused."""

    NONE = 0
    OFFLINE = 1  # the recipient had no session, and the design drops
    LEFT = 2  # the recipient's session left while the message was under way
    OUTBOUND_FULL = 3  # the session's outbound queue was full
    NO_SESSION = 4  # the sender was not connected (login refused, closed, or left before it was sent)
    TOO_MANY = 5  # the sender wrote more than its limit per second
    TOO_LARGE = 6  # the message was larger than the limit
    FORBIDDEN = 7  # the sender had no right to write to the recipient any more
    TRIMMED = 8  # it fell off a full history before the recipient came
    NOT_JOINED = 9  # the recipient's gateway had not subscribed to the new room yet
    CRASHED = 10  # a gateway died that had it, or its sender's or recipient's connection
    BROKER_DOWN = 11  # a broker node was away, or died with it
    CUT_OFF = 12  # the recipient's gateway had lost its subscriptions at the broker
    UNAVAILABLE = 13  # database or broker did not answer, and the gateway said so
    NOT_BUFFERED = 14  # the sender had no connection, and its client keeps no more messages
    NOT_ASKED_FOR = 15  # in store, but its recipient was taken to be connected, and never asks for it
    GAVE_UP = 16  # the client sent it as often as it may, and was never told that it was taken


class SessionFate(IntEnum):
    """How a session ended."""

    ONLINE = 0  # online when the run ended
    LEFT = 1  # was online, left as planned
    CLOSED = 2  # was online, closed by the gateway
    ABANDONED = 3  # left before its login was through
    REFUSED = 4  # no connection was to be had
    CONNECTING = 5  # login still going on when the run ended
    CUT = 6  # was online; its connection broke, because its gateway went away or emptied itself
    FAILED = 7  # its login broke off: the gateway died or stood still, or could not ask what it must


class FaultKind(IntEnum):
    """What struck: the kinds of :mod:`chatsim.scenario.faults`, and what scaling does."""

    GATEWAY_CRASH = 0
    DRAIN = 1
    BROKER_DOWN = 2
    DATABASE_DOWN = 3
    PARTITION = 4
    SLOW = 5
    LINK = 6
    CACHE_EMPTIED = 7
    SLOW_CLIENTS = 8
    SCALING = 9  # a gateway that is not in service, because scaling has it so


class PushFate(IntEnum):
    """What became of a push."""

    UNDER_WAY = 0  # refused so far, or on its way, when the run ended
    IGNORED = 1  # came to a device whose user stayed away, or may still come
    BROUGHT_BACK = 2  # its user came back for it
    WASTED = 3  # came when the user had read everything, or was connected


class IntrusionFate(IntEnum):
    """How a try to get into a room ended."""

    UNDER_WAY = 0  # when the run ended
    REFUSED = 1  # the gateway said no
    ENTERED = 2  # the intruder's session was in the room
    NO_SESSION = 3  # the intruder was not connected
    NO_ROOM = 4  # there was no such room to be in


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
    RELATION = 16  # database: is this user a friend of that one, or all friends of a user for such checks
    TOKEN = 17  # gateway: renewed tokens checked
    JOIN = 18  # gateway: requests to join a room
    LIST = 19  # broker or database: friend lists read
    STATE = 20  # broker: reads of the states of listed friends
    SEARCH = 21  # gateway and database: searches for a user
    MEMBERS = 22  # broker: reads of who is in a room
    PRESENCE = 23  # broker: presence keys written or deleted
    ASKED = 24  # gateway: questions for one user's presence
    NOTICE = 25  # gateway: notices written to sessions (of presence, of a message read)
    NOTICE_PUBLISH = 26  # broker: PUBLISH commands of notices
    NOTICE_PUSH = 27  # broker: pushes of notices to gateways
    NOTICE_BUS = 28  # broker: notices taken from another node of the cluster
    RECEIPT = 29  # gateway: receipts read from sessions
    NOTIFY = 30  # gateway: pushes handed to their provider
    ACK = 31  # gateway: senders told that a message is taken


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened in one run. Times in simulated seconds, NaN where a thing did not happen.

    ``messages`` (one row per message of the trace, same order):
        time_s when its sender wrote it (after the search, if there was one); sender, room (whose members it is meant
        for), session; size_bytes; recipients (members without the sender);
        gateway (-1: none); received_s when that has checked it; stored_s; routed_s when the sender's gateway is done
        with it; done_s when nothing carries it any more; pushes sent for it by broker nodes or peer gateways, and
        discards of these; told_s when the sender of a refused message knows; fate (Fate.DELIVERED stands for "taken")
        and cause; listed_rank, where lists are loaded: the recipient's place on the sender's list (0: on none, however
        long; -1: no private message); opening: a conversation opens; detour (see :mod:`chatsim.rules.detour`).
        Parts of a run alone have offline: how many recipients have LOST it because they were OFFLINE, with nothing
        written or stored for them; these have no row in ``deliveries``, as they have in a run that is kept whole.
    ``deliveries`` (one row per message x intended session; session = -1 where the recipient had none):
        message, recipient, session, gateway; fate, cause; local (on the sender's gateway); written_s; time_s;
        receipt_s when the sender knows. Rows OVERHEARD and COPY are beyond the audience.
    ``sessions`` (one row per session of the trace, same order, then those that a push has brought, and every try of a
        client to come back):
        user, device, start_s, end_s; gateway; online_s the login is through; left_s the client left, or noticed that
        its connection was gone; fate; silent (it vanished without a word); listed (friends loaded); unread (messages
        that waited); origin (the session that it continues, or -1); attempt (tries to come back before this one, since
        the device was last online); cut_s the gateway's side of the connection broke (NaN: never).
    ``ticks`` (one row per tick of any station):
        station (index in ``stations``), start_s, end_s, items taken, waiting (left in the queue), waited_s (summed over
        the items), reads (connections on which these came), slept_s (how long the worker had slept; 0: not at all).
    ``subscriptions`` (one row per change): time_s, node, change (+1 or -1).
    ``work``: int64 array, stations x Work; ``item_us``: what these items cost each station, without ticks and flushes.
    ``presence`` (one row per change of what is shown): time_s, user, change (+1: online, -1); meant (users it is meant
        for), pushes to gateways, notices (written to sessions), told_sum_s (delays of all notices), told_last_s.
    ``pulls`` (one row per question for one user's presence): time_s, user, shown, online (what is true).
    ``pushes`` (one row per push that was due): user, message, due_s, tries, sent_s (taken by the provider), arrived_s,
        session (that it brought, or -1), fate.
    ``intrusions`` (one row per try): time_s, user, session, victim, room (-1: none), decided_s, fate.
    ``faults`` (one row per strike and station, in the order of time): fault (its number in the scenario; -1: scaling),
        kind, station (-1: none in particular), start_s, end_s (NaN: not over when the run ended).
    ``breaks`` (one row per carrier of a message that a fault has stopped): message, gateway (whose sessions do not get
        it for that; -1: any), cause, time_s.
    ``endings`` (one row per tie that ended): time_s, user, other, blocks, effective_s (no gateway takes a message
        across it any more; NaN: never).
    ``later``, of a part of a run that is not kept whole (:func:`chatsim.engine.simulate_in_parts`), one row per message
        of an earlier part that came to a session since: message (its number in the trace), message_s when it was
        written, recipient, time_s, fate, cause, first (it was STORED until then). ``ticks`` and
        ``subscriptions`` are those since the part before; ``work``, ``item_us``, and whatever else is not of single
        messages, are complete in the last part alone.
    ``engine``: which engine has run, 'simpy' or 'compiled'; ``not_compiled``: what the compiled one does not cover.
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
    item_us: npt.NDArray[np.float64]
    presence: Columns
    pulls: Columns
    pushes: Columns
    intrusions: Columns
    endings: Columns
    faults: Columns
    breaks: Columns
    engine: str = "simpy"
    not_compiled: tuple[str, ...] = ()
    later: Columns = field(default_factory=dict)

    def _repr_html_(self) -> str:
        fates = Counter(self.deliveries["fate"].tolist())
        fates += Counter({int(Fate.LOST): int(np.sum(self.messages.get("offline", 0)))})
        ends = Counter(self.sessions["fate"].tolist())
        said = [
            ("simulated", f"{self.end_s:,.0f} s"),
            ("messages", f"{len(self.messages['time_s']):,}"),
            *((f"deliveries {Fate(fate).name}", f"{count:,}") for fate, count in sorted(fates.items())),
            *((f"sessions {SessionFate(fate).name}", f"{count:,}") for fate, count in sorted(ends.items())),
            ("stations", ", ".join(self.stations)),
            ("engine", self.engine),
        ]
        return rows_html(f"{self.scenario.name}: outcome", "An audited run; chatsim.analysis makes tables of it.", said)
