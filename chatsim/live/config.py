"""What a gateway process is told when it starts: one line of JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any


class ConfigError(Exception):
    """A configuration that is none."""


@dataclass(frozen=True, slots=True)
class Config:
    """All that a gateway knows; choices are numbers, as in :mod:`chatsim.rules`.

    ``redis`` is where and how to connect; ``prefix`` stands before each key and channel. ``start``, ``member`` and
    ``is_pair`` are the rooms as in :class:`chatsim.world.Rooms`, ``venue`` is the room in which a room's messages are
    broadcast (-1: the recipient's personal room), and ``rooms_of`` lists each user's rooms from login on.
    ``friends`` lists each user's friends, where that decides who may come in. ``restarted``: another process had its
    number before.
    """

    number: int
    host: str
    port: int
    redis: dict[str, Any]
    prefix: str
    secret: str
    ledger: str
    messages: int
    rows: int
    restarted: bool
    routing: int
    rooms: int
    asks_members: bool
    own_devices: bool
    local_shortcut: bool
    leave_idle_s: float
    store: str
    offline: str
    resync: bool
    messages_per_s: float
    burst: int
    message_max_bytes: int
    access: int
    check: int
    cache_s: float
    client_joins: bool
    list_policy: int
    list_limit: int
    half_life_s: float
    has_presence: bool
    key_life_s: float
    push_after_s: float
    push_quota_per_min: int
    push_retry_s: float
    outbound_max_bytes: float
    closes_full: bool
    connections_max: int
    broker_retry_s: float
    ping_s: float
    ping_timeout_s: float
    start: list[int]
    member: list[int]
    is_pair: list[bool]
    venue: list[int]
    rooms_of: list[list[int]]
    friends: list[list[int]]

    @property
    def keeps_missed(self) -> bool:
        """Whether what a user misses is kept."""
        return self.offline != "drop"


def to_line(config: Config) -> str:
    """A configuration as one line."""
    return json.dumps(asdict(config), separators=(",", ":"))


def from_line(line: str) -> Config:
    """The configuration in a line; ConfigError where a key is unknown or missing.

    >>> from_line('{"number": 1}')  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    chatsim.live.config.ConfigError: ...missing...
    """
    try:
        return Config(**json.loads(line))
    except (ValueError, TypeError) as error:
        raise ConfigError(str(error)) from error
