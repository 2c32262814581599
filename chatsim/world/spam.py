"""Users who flood: messages to one room of theirs after the other, on top of what the trace says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from chatsim.scenario.errors import InputError
from chatsim.scenario.models import Workload
from chatsim.world.behaviour import message_sizes
from chatsim.world.draws import Purpose, uniform
from chatsim.world.membership import rooms_of_users
from chatsim.world.sessions import points_while_connected
from chatsim.world.tables import ROWS_MAX, Floats, MessageTable, SessionTable, World


def with_spam(world: World, workload: Workload) -> World:
    """The world with the messages of ``workload.spam``: a share of the users writes, as a Poisson process over the time
    connected on device 0, to rooms of theirs drawn uniformly. Who is in no room writes none.

    At equal times the trace's own messages come first. Raises InputError where there would be too many.
    """
    spam, users = workload.spam, world.users
    if not spam.share:
        return world
    seed, replication = world.seed, world.replication
    start, room = rooms_of_users(world.rooms, users)
    rooms = np.diff(start)
    spams = uniform(seed, replication, Purpose.SPAMMER, np.arange(users), 0) < spam.share
    rate_per_s = np.where(spams & (rooms > 0), spam.messages_per_s, 0.0)
    refuse_too_much_spam(workload, float(rate_per_s @ _connected_s(world.sessions, users, world.duration_s)))
    time_s, user, ordinal, session = points_while_connected(
        world.sessions, users, (0.0, world.duration_s), rate_per_s, Purpose.SPAM_GAP, seed, replication
    )
    drawn = uniform(seed, replication, Purpose.SPAM_ROOM, user, ordinal)
    sender = user.astype(np.int32)
    flood = MessageTable(
        time_s, sender, session.astype(np.int32), room[start[user] + (drawn * rooms[user]).astype(np.int64)],
        message_sizes(workload, sender, seed, replication, Purpose.SPAM_SIZE), np.ones(len(sender), bool),
    )
    return replace(world, messages=merged(world.messages, flood))


def merged(one: MessageTable, other: MessageTable) -> MessageTable:
    """Both in the order of time; at equal times those of ``one`` come first."""
    order = np.argsort(np.concatenate([one.time_s, other.time_s]), kind="stable")
    return MessageTable(
        np.concatenate([one.time_s, other.time_s])[order], np.concatenate([one.sender, other.sender])[order],
        np.concatenate([one.session, other.session])[order], np.concatenate([one.room, other.room])[order],
        np.concatenate([one.size_bytes, other.size_bytes])[order], np.concatenate([one.spam, other.spam])[order],
    )


def refuse_too_much_spam(workload: Workload, messages: float) -> None:
    """Raises InputError where the trace would not fit in memory."""
    spam = workload.spam
    if messages > ROWS_MAX:
        raise InputError(
            f"workload.spam.share = {spam.share:g} with messages_per_s = {spam.messages_per_s:g}: about {messages:.2g} "
            f"spam messages; at most {ROWS_MAX:,} are allowed"
        )


def _connected_s(sessions: SessionTable, users: int, duration_s: float) -> Floats:
    """Time in the run for which each user is connected on device 0."""
    length_s = np.clip(sessions.end_s, 0.0, duration_s) - np.clip(sessions.start_s, 0.0, duration_s)
    return np.bincount(sessions.user, length_s * (sessions.device == 0), minlength=users).astype(np.float64)
