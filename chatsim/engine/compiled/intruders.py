"""Tries to get into a room, as in :mod:`chatsim.engine.entering`, and tokens that are renewed."""

from __future__ import annotations

import math

from chatsim.engine.compiled.access import lets_in, renewed, stays_away, wanted
from chatsim.engine.compiled.chat import does, does_asked
from chatsim.engine.compiled.clients import waits_in_line
from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.entering import enter
from chatsim.engine.compiled.events import at, soon
from chatsim.engine.compiled.kinds import (
    E_INTRUDER_UP,
    E_RENEW,
    E_RENEWS,
    I_ENTERED,
    I_NO_ROOM,
    I_NO_SESSION,
    I_REFUSED,
    INTRUDERS,
    J_JOIN,
    J_REQUEST,
    J_SAY_NO,
    J_TOKEN,
    JOIN,
    NOTICE,
    Q_INSIDE,
    Q_INTRUDES,
    RELATION,
    TOKEN,
)
from chatsim.engine.compiled.places import database
from chatsim.engine.compiled.queries import ask_one
from chatsim.engine.compiled.requests import request
from chatsim.engine.compiled.state import NONE, State


@compiled
def intrudes(st: State, number: int) -> None:
    """An intruder tries to get into a room. It waits for a connection, if there is one to come."""
    client = st.sessions[st.sessions[st.intrusions[number].session].client]
    if st.sessions[client.current].online:
        goes_in(st, number, client.current)
    elif client.hopeless:
        stays_away(st, number)
    else:
        waits_in_line(st, client.client, INTRUDERS - number, 0)


@compiled
def goes_in(st: State, number: int, session: int) -> None:
    """An intruder is connected: it writes to somebody where rooms are personal, or asks to join a room."""
    row = st.intrusions[number]
    row.room = wanted(st, number)
    if row.room < 0:
        row.fate = I_NO_ROOM
        return
    at(st, st.now[0].time_s + st.sessions[session].link_s, E_INTRUDER_UP, number, session, NONE)


@compiled
def comes_up(st: State, number: int, session: int) -> None:
    """A try reaches the gateway."""
    does_asked(st, st.sessions[session].gateway, J_JOIN, JOIN, st.asked[0].message_us, session, number)


@compiled
def end_join(st: State, station: int, job: int) -> None:
    """The gateway has read a try."""
    asked, number, session = st.asked[0], st.jobs[job].user, st.jobs[job].session
    if not asked.asks:
        decides(st, number, session)
        return
    question = request(st, J_REQUEST, station, NONE, RELATION, asked.relation_us)
    st.jobs[question].place = database(st)
    ask_one(st, Q_INTRUDES, number, session, question)


@compiled
def decides(st: State, number: int, session: int) -> None:
    """The gateway lets an intruder in, or says no."""
    asked, row, person = st.asked[0], st.intrusions[number], st.sessions[session]
    if person.gone or person.cut:
        row.fate = I_NO_SESSION
    elif (asked.personal or asked.client_joins) and lets_in(st, person.user, row.room):
        if enter(st, session, row.room, Q_INSIDE, number):
            is_inside(st, number)
    else:
        does(st, person.gateway, J_SAY_NO, NOTICE, asked.write_us, session, number)


@compiled
def is_inside(st: State, number: int) -> None:
    """An intruder is in the room."""
    st.intrusions[number].fate, st.intrusions[number].decided_s = I_ENTERED, st.now[0].time_s


@compiled
def end_say_no(st: State, job: int) -> None:
    """An intruder is refused."""
    row = st.intrusions[st.jobs[job].user]
    row.fate, row.decided_s = I_REFUSED, st.now[0].time_s


# ---------------------------------------------------------------------- tokens


@compiled
def will_renew(st: State, session: int, since_s: float) -> None:
    """A session that lives presents a new token whenever the one that it has had since then is at its end."""
    life_s, now_s = st.asked[0].token_life_s, st.now[0].time_s
    due_s = since_s + life_s
    if due_s < now_s:
        due_s += life_s * math.ceil((now_s - due_s) / life_s)
    st.sessions[session].due_s = due_s
    soon(st, E_RENEWS, session, NONE, NONE)


@compiled
def renews(st: State, session: int) -> None:
    """A session waits until its token is at its end."""
    at(st, st.sessions[session].due_s, E_RENEW, session, NONE, NONE)


@compiled
def renew(st: State, session: int) -> None:
    """A session presents a new token."""
    row, asked = st.sessions[session], st.asked[0]
    if not (row.gone or row.cut):
        does_asked(st, row.gateway, J_TOKEN, TOKEN, asked.receive_us + asked.token_us, session, NONE)


@compiled
def end_token(st: State, job: int) -> None:
    """A new token is checked."""
    session = st.jobs[job].session
    row = st.sessions[session]
    if not (row.gone or row.cut):
        renewed(st, session)
        row.due_s = max(row.due_s + st.asked[0].token_life_s, st.now[0].time_s)
        renews(st, session)
