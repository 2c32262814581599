"""What must be asked, and who must be in the room, before a message that was taken goes on."""

from __future__ import annotations

import math

from chatsim.engine.compiled.access import answer, answers_now, must_ask
from chatsim.engine.compiled.chat import end_request
from chatsim.engine.compiled.clients import carried, refuse, send_to_session
from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.entering import enter
from chatsim.engine.compiled.kinds import (
    E_TOLD,
    J_REFUSE,
    J_RELATION,
    J_REQUEST,
    MEMBERS,
    Q_ENTERED,
    Q_FOUNDED,
    Q_MEMBERS,
    Q_RELATION,
    REFUSAL,
    RELATION,
    UPDATE,
)
from chatsim.engine.compiled.messages import carry
from chatsim.engine.compiled.places import database, hearers, is_there, node_of
from chatsim.engine.compiled.pools import new_job
from chatsim.engine.compiled.queries import ask_one
from chatsim.engine.compiled.requests import request
from chatsim.engine.compiled.rules import room_channel
from chatsim.engine.compiled.state import NONE, State
from chatsim.engine.compiled.stations import take_one
from chatsim.rules.routing import ROOM


@compiled
def may_pass(st: State, message: int, session: int) -> None:
    """A message was taken; the database is asked whether its two are friends, unless that is remembered."""
    gateway = st.sessions[session].gateway
    if not must_ask(st, message, gateway):
        checks(st, message, session)
        return
    question = request(st, J_RELATION, gateway, NONE, RELATION, st.asked[0].relation_us)
    st.jobs[question].message, st.jobs[question].place = message, database(st)
    ask_one(st, Q_RELATION, message, session, question)


@compiled
def end_relation(st: State, station: int, job: int) -> None:
    """The database has answered."""
    answers_now(st, st.jobs[job].gateway, st.jobs[job].message)
    end_request(st, station, job)


@compiled
def checks(st: State, message: int, session: int) -> None:
    """A message goes on, or is refused by the answer of the database."""
    gateway = st.sessions[session].gateway
    cause = answer(st, message, gateway)
    if not cause:
        joins(st, message, session)
        return
    job = new_job(st, J_REFUSE)
    refusal = st.jobs[job]
    refusal.message, refusal.session, refusal.cause, refusal.cost_us = message, session, cause, st.asked[0].write_us
    take_one(st, gateway, job)


@compiled
def end_refuse(st: State, station: int, job: int) -> None:
    """The refusal of a message is written."""
    message = st.jobs[job].message
    st.work[station, REFUSAL] += 1
    st.messages[message].refused += 1
    refuse(st, message, st.jobs[job].cause)
    send_to_session(st, st.jobs[job].session, 0.0, E_TOLD, message)
    carried(st, message)


@compiled
def joins(st: State, message: int, session: int) -> None:
    """Where the room of a message is the recipient's own, the server joins its sender to that."""
    row = st.messages[message]
    is_new = st.asked[0].personal and row.partner >= 0 and not st.sessions[session].gone
    if not is_new or enter(st, session, row.room, Q_ENTERED, message):
        founds(st, message, session)


@compiled
def founds(st: State, message: int, session: int) -> None:
    """The first message of a pair creates its room; it carries its members, so that gateways can join them."""
    asked, number = st.asked[0], st.messages[message].room
    if is_there(st, number):
        asks_members(st, message, session)
        return
    room = st.rooms[number]
    room.exists, room.founding = 1, message
    if asked.routing == ROOM:
        room.ready_s = math.inf
    if not asked.asks_members:
        asks_members(st, message, session)
        return
    members = st.room_start[number + 1] - st.room_start[number]
    job = request(st, J_REQUEST, st.sessions[session].gateway, NONE, UPDATE, asked.update_us * members)
    st.jobs[job].times, st.jobs[job].place = members, node_of(st, room_channel(number))
    ask_one(st, Q_FOUNDED, message, session, job)


@compiled
def asks_members(st: State, message: int, session: int) -> None:
    """The broker is asked who is in the room, where it has the sets."""
    asked, gateway = st.asked[0], st.sessions[session].gateway
    if not asked.asks_members:
        carry(st, message, session, gateway)
        return
    cost_us = asked.lookup_us + asked.lookup_user_us * hearers(st, message)
    job = request(st, J_REQUEST, gateway, NONE, MEMBERS, cost_us)
    st.jobs[job].place = node_of(st, room_channel(st.messages[message].room))
    ask_one(st, Q_MEMBERS, message, session, job)
