"""What must be asked, and who must be in the room, before a message that was taken goes on."""

from __future__ import annotations

import math

from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.entering import enter
from chatsim.engine.compiled.kinds import J_REQUEST, MEMBERS, Q_ENTERED, Q_FOUNDED, Q_MEMBERS, UPDATE
from chatsim.engine.compiled.messages import carry
from chatsim.engine.compiled.places import hearers, node_of
from chatsim.engine.compiled.queries import ask_one
from chatsim.engine.compiled.requests import request
from chatsim.engine.compiled.rules import room_channel
from chatsim.engine.compiled.state import NONE, State
from chatsim.rules.routing import ROOM


@compiled
def may_pass(st: State, message: int, session: int) -> None:
    """A message was taken; where its room is the recipient's own, the server joins its sender to that."""
    row = st.messages[message]
    joins = st.asked[0].personal and row.partner >= 0 and not st.sessions[session].gone
    if not joins or enter(st, session, row.room, Q_ENTERED, message):
        founds(st, message, session)


@compiled
def founds(st: State, message: int, session: int) -> None:
    """The first message of a pair creates its room; it carries its members, so that gateways can join them."""
    asked, number = st.asked[0], st.messages[message].room
    room = st.rooms[number]
    if not asked.creates_rooms or room.exists:
        asks_members(st, message, session)
        return
    room.exists, room.founding = 1, message
    if asked.routing == ROOM:
        room.ready_s = math.inf
    if not asked.asks_members:
        asks_members(st, message, session)
        return
    members = room.end - room.start
    job = request(st, J_REQUEST, st.sessions[session].gateway, NONE, UPDATE, asked.update_us * members)
    st.jobs[job].times, st.jobs[job].place = members, node_of(st, room_channel(number))
    ask_one(st, Q_FOUNDED, message, session, job)


@compiled
def asks_members(st: State, message: int, session: int) -> None:
    """The broker is asked who is in the room, where it has the sets."""
    asked, gateway = st.asked[0], st.sessions[session].gateway
    if not asked.asks_members:
        carry(st, message, gateway)
        return
    cost_us = asked.lookup_us + asked.lookup_user_us * hearers(st, message)
    job = request(st, J_REQUEST, gateway, NONE, MEMBERS, cost_us)
    st.jobs[job].place = node_of(st, room_channel(st.messages[message].room))
    ask_one(st, Q_MEMBERS, message, session, job)
