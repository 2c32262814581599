"""Small worlds and scenarios of constants, so that every time in a test can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from chatsim.scenario import Scenario
from chatsim.scenario.load import validate
from chatsim.world.tables import (
    GROUP,
    PAIR,
    Contacts,
    EndingTable,
    Friends,
    IntrusionTable,
    MessageTable,
    Rooms,
    SessionTable,
    World,
    no_contacts,
    no_endings,
    no_intrusions,
)

ALWAYS = (-1.0, 1000.0)


def world(
    sessions: Sequence[tuple[int, float, float]],
    rooms: Sequence[Sequence[int]],
    messages: Sequence[tuple[float, int, int]],
    duration_s: float = 10.0,
    size_bytes: int = 100,
    *,
    new_rooms: Sequence[int] = (),
    contacts: dict[int, list[int]] | None = None,
    friends: Sequence[tuple[int, int]] = (),
    endings: Sequence[tuple[float, int, int, bool]] = (),
    intrusions: Sequence[tuple[float, int, int]] = (),
    spam: Sequence[int] = (),
) -> World:
    """Sessions are (user, start_s, end_s), in order of start; rooms list members; messages are (time_s, sender, room).

    The sender's session is its first one that covers the time; a second session at the same time is a second device.
    A message between two sessions of its sender belongs to the next one. ``new_rooms`` have not been written in before
    the run; ``contacts`` lists whom a user has written with, latest first; ``friends`` are pairs, ``endings`` (time_s,
    user, other, blocks), ``intrusions`` (time_s, user, victim) with a draw of 0, ``spam`` numbers of messages.
    """
    named = [*friends, *((user, *known) for user, known in (contacts or {}).items()), *rooms]
    users = 1 + max(user for people in [*named, [user for user, _, _ in sessions]] for user in people)
    devices = [
        sum(other[0] == user and other[2] > start for other in sessions[:n])
        for n, (user, start, _) in enumerate(sessions)
    ]

    def session_of(time_s: float, sender: int) -> int:
        own = [(n, start, end) for n, (user, start, end) in enumerate(sessions) if user == sender]
        covering = [n for n, start, end in own if start <= time_s <= end]
        return (covering or [n for n, start, _ in own if start > time_s])[0]

    columns = list(zip(*sessions, strict=True))
    return World(
        users=users,
        duration_s=duration_s,
        seed=1,
        replication=0,
        friends=friend_lists(users, friends),
        rooms=Rooms(
            np.array([PAIR if len(members) == 2 else GROUP for members in rooms], np.uint8),
            np.cumsum([0, *map(len, rooms)], dtype=np.int64),
            np.array([user for members in rooms for user in sorted(members)], np.int32),
            np.array([room not in new_rooms for room in range(len(rooms))], bool),
        ),
        sessions=SessionTable(
            np.array(columns[0], np.int32),
            np.array(devices, np.int16),
            np.array(columns[1], float),
            np.array(columns[2], float),
        ),
        messages=MessageTable(
            np.array([time for time, _, _ in messages], float),
            np.array([sender for _, sender, _ in messages], np.int32),
            np.array([session_of(time, sender) for time, sender, _ in messages], np.int32),
            np.array([room for _, _, room in messages], np.int32),
            np.full(len(messages), size_bytes, np.int32),
            np.array([number in spam for number in range(len(messages))], bool),
        ),
        contacts=contact_lists(users, contacts or {}),
        endings=EndingTable(
            np.array([time for time, _, _, _ in endings], float),
            np.array([user for _, user, _, _ in endings], np.int32),
            np.array([other for _, _, other, _ in endings], np.int32),
            np.array([blocks for _, _, _, blocks in endings], bool),
        ),
        intrusions=IntrusionTable(
            np.array([time for time, _, _ in intrusions], float),
            np.array([user for _, user, _ in intrusions], np.int32),
            np.array([session_of(time, user) for time, user, _ in intrusions], np.int32),
            np.array([victim for _, _, victim in intrusions], np.int32),
            np.zeros(len(intrusions)),
        ),
    )


def friend_lists(users: int, pairs: Sequence[tuple[int, int]]) -> Friends:
    """These pairs as friends, in both directions, with ties of strength 1."""
    both = sorted({*pairs, *((other, user) for user, other in pairs)})
    start = np.searchsorted([user for user, _ in both], np.arange(users + 1)).astype(np.int64)
    return Friends(start, np.array([friend for _, friend in both], np.int32), np.ones(len(both), np.float32))


def contact_lists(users: int, contacts: dict[int, list[int]]) -> Contacts:
    """Contacts by user, latest first."""
    lists = [contacts.get(user, []) for user in range(users)]
    start = np.cumsum([0, *map(len, lists)], dtype=np.int64)
    return Contacts(start, np.array([other for known in lists for other in known], np.int32))


def scenario(**parts: Any) -> Scenario:
    """A scenario of round constants, in ms: client 10 each way, receive 1, parse 2, command 4, write 8; PUBLISH 16, push 32;
    broker and database 100 each way; presence key 3, list 12 + 1 a friend; relation 30, search 40.

    Nothing jitters, ticks and flushes are free, the store is off, clients do not come back: each test turns on what it is
    about.
    """
    table: dict[str, Any] = {
        "name": "by hand",
        "workload": {"users": 4, "drain_s": 5.0},
        "design": {"routing": "room", "gateways": 2, "placement": "round_robin", "store": "never", "offline": "drop"},
        "gateway": {
            "tick_us": 0.0,
            "batch_max": 1,
            "flush": "item",
            "receive_us": 1e3,
            "parse_us": 2e3,
            "command_us": 4e3,
            "write_us": 8e3,
            "handshake_us": 3e3,
            "tls_us": 0.0,
            "token_us": 0.0,
            "token_rs256_us": 0.0,
            "friend_us": 500.0,
            "close_us": 1e3,
        },
        "broker": {
            "batch_max": 1,
            "tick_us": 0.0,
            "flush_us": 0.0,
            "publish_us": 16e3,
            "push_us": 32e3,
            "bus_send_us": 64e3,
            "bus_receive_us": 128e3,
            "subscribe_us": 5e3,
            "lookup_us": 10e3,
            "lookup_user_us": 1e3,
            "update_us": 6e3,
            "history_us": 7e3,
            "recover_us": 9e3,
            "presence_us": 3e3,
            "list_us": 12e3,
            "list_entry_us": 1e3,
        },
        "database": {
            "service": "fixed",
            "insert_us": 50e3,
            "read_us": 25e3,
            "friends_us": 20e3,
            "friend_us": 1e3,
            "relation_us": 30e3,
            "search_us": 40e3,
        },
        "network": {
            "client_ms_median": 10.0,
            "client_sigma": 0.0,
            "jitter_sigma": 0.0,
            "handshake_trips": 1,
            "broker_rtt_ms": 200.0,
            "database_rtt_ms": 200.0,
            "downlink_bytes_per_s": 1e12,
        },
        "client": {"reconnect": "none"},
    }
    for part, values in parts.items():
        table[part] = {**table.get(part, {}), **values} if isinstance(values, dict) else values
    return validate(table)


def standing_rooms(
    members: int, rooms: int, times_s: npt.NDArray[np.float64], sender: npt.ArrayLike, connected: npt.ArrayLike = ()
) -> World:
    """Rooms of ``members`` users each, in the order of their numbers; everybody is connected throughout, or those named.

    Message n is written at ``times_s[n]`` by ``sender[n]`` to the room that this user is in; senders are connected.
    """
    users, messages = rooms * members, len(times_s)
    senders = np.asarray(sender, np.int32)
    online = np.asarray(connected, np.int32) if np.size(connected) else np.arange(users, dtype=np.int32)
    return World(
        users=users,
        duration_s=float(times_s[-1]),
        seed=1,
        replication=0,
        friends=friend_lists(users, ()),
        rooms=Rooms(
            np.full(rooms, PAIR if members == 2 else GROUP, np.uint8),
            np.arange(0, users + 1, members),
            np.arange(users, dtype=np.int32),
            np.ones(rooms, bool),
        ),
        sessions=SessionTable(
            online, np.zeros(len(online), np.int16), np.full(len(online), -1.0), np.full(len(online), 1e9)
        ),
        messages=MessageTable(
            times_s,
            senders,
            np.searchsorted(online, senders).astype(np.int32),
            senders // members,
            np.full(messages, 256, np.int32),
            np.zeros(messages, bool),
        ),
        contacts=no_contacts(users),
        endings=no_endings(),
        intrusions=no_intrusions(),
    )
