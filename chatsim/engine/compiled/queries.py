"""Queries of gateways: commands are written, requests leave, and a story goes on when all replies are read."""

from __future__ import annotations

from chatsim.engine.compiled.clients import send
from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.kinds import COMMAND, J_QUERY, PARSE
from chatsim.engine.compiled.pools import free_query, link, new_job, new_query, unlink
from chatsim.engine.compiled.requests import add_request
from chatsim.engine.compiled.state import NONE, State
from chatsim.engine.compiled.stations import take_one


@compiled
def query_for(st: State, story: int, subject: int, session: int) -> int:
    """A query of a session's gateway that asks nothing yet; the ``story`` of its ``subject`` goes on after it."""
    query = new_query(st, story, subject, st.sessions[session].gateway)
    st.queries[query].session = session
    return query


@compiled
def asks(st: State, query: int) -> bool:
    """A gateway turns to a query; False where there is nothing to ask, and the story goes on at once."""
    gateway, count = st.queries[query].gateway, st.queries[query].count
    if count == 0:
        free_query(st, query)
        return False
    command = new_job(st, J_QUERY)
    st.jobs[command].query, st.jobs[command].cost_us = query, st.asked[0].command_us * count
    st.work[gateway, COMMAND] += count
    take_one(st, gateway, command)
    return True


@compiled
def ask_one(st: State, story: int, subject: int, session: int, job: int) -> None:
    """A session's gateway asks one thing before a story goes on."""
    query = query_for(st, story, subject, session)
    add_request(st, query, NONE, job)
    asks(st, query)


@compiled
def end_query(st: State, station: int, job: int) -> None:
    """The commands of a query are written: its requests leave, all at once."""
    query = st.jobs[job].query
    here, last = st.queries[query].requests, NONE
    while here >= 0:
        following = st.jobs[here].next
        answer = link(st, 0, 0, 0.0)
        st.jobs[st.jobs[here].reply].answer = answer
        if last >= 0:
            st.links[last].next = answer
        else:
            st.queries[query].reading = answer
        last = answer
        send(st, station, st.jobs[here].place, here)
        here = following


@compiled
def end_reply(st: State, station: int, job: int) -> int:
    """A reply is read; it counts when all before it are. The query, when that was its last one, or -1."""
    query = st.jobs[job].query
    st.links[st.jobs[job].answer].one = 1
    here = st.queries[query].reading
    while here >= 0 and st.links[here].one:
        st.work[station, PARSE] += 1
        here = unlink(st, here)
    st.queries[query].reading = here
    return NONE if here >= 0 else int(query)
