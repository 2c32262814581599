"""Sessions, and the clients that have them one after the other."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

from simpy.events import Event

if TYPE_CHECKING:
    from chatsim.engine.stage import Gateway


class Client:
    """A device while its user wants to be connected: it has one session after the other, until ``end_s``.

    ``ready`` happens when it is online, or ``hopeless``: it will not be online any more. ``tries`` are those to come
    back since it was last online, ``waiting`` the messages that wait for a connection, ``unacked`` those that were sent
    and may have to be sent again, each with what wakes its story. ``got`` is what it has received, where that may come
    twice.
    """

    __slots__ = ("end_s", "got", "hopeless", "ready", "session", "tries", "unacked", "waiting")

    def __init__(self, ready: Event, end_s: float) -> None:
        self.ready, self.end_s = ready, end_s
        self.session: Session
        self.hopeless = False
        self.tries = 0
        self.waiting = 0
        self.unacked: dict[int, Event] = {}
        self.got: set[int] = set()


class Session:
    """One session, seen from both ends of its connection: connecting, online, gone.

    ``cut`` says that the gateway's side is gone, which the client may not know yet, ``closed`` that the gateway has
    closed it; ``life`` is that of the gateway that took it.
    """

    __slots__ = (
        "base_rate",
        "base_s",
        "client",
        "closed",
        "cut",
        "cut_s",
        "downlink_s",
        "drained_s",
        "entered",
        "gateway",
        "gone",
        "life",
        "link_s",
        "listed",
        "live",
        "number",
        "online",
        "outbox",
        "outbox_bytes",
        "rate",
        "registered",
        "rights_s",
        "sending",
        "synced",
        "unsent_bytes",
        "uplink_s",
        "user",
    )

    def __init__(self, number: int, user: int, link_s: float, rate: float, client: Client) -> None:
        self.number = number
        self.user = user
        self.base_s = self.link_s = link_s
        self.base_rate = self.rate = rate
        self.client = client
        client.session = self
        self.gateway: Gateway
        self.life = -1
        self.online = False
        self.gone = False
        self.closed = False
        self.cut = False
        self.cut_s = math.inf
        self.registered = False
        self.uplink_s = 0.0
        self.downlink_s = 0.0
        self.drained_s = 0.0
        self.unsent_bytes = 0.0
        self.outbox: deque[Any] = deque()
        self.outbox_bytes = 0.0
        self.sending: Any = None
        self.live: set[int] | None = None
        self.synced: frozenset[int] = frozenset()
        self.entered: dict[int, float] = {}
        self.rights_s = 0.0
        self.listed = 0

    def has_left(self) -> bool:
        """Whether the session has gone, or its gateway, by now: asked by a story after each wait."""
        return self.gone or self.cut
