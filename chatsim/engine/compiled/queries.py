"""Queries of gateways: commands are written, requests leave, and a story goes on when all replies are read."""

from __future__ import annotations

from chatsim.engine.compiled.clients import send
from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.kinds import COMMAND, FAILED, J_QUERY, PARSE, PENDING, Q_DEAD, READ
from chatsim.engine.compiled.pools import free_query, link, new_job, new_query, unlink, unlink_all
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
        answer = link(st, PENDING, 0, 0.0)
        st.queries[query].pending += 1
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
    """A reply is read; it counts when all before it are. The query, where it is settled now, or -1."""
    query = st.jobs[job].query
    st.links[st.jobs[job].answer].one = READ
    st.queries[query].pending -= 1
    return query if is_settled(st, query, station) else NONE


@compiled
def reply_fails(st: State, job: int, cause: int) -> int:
    """A reply never comes. The query, where it is settled now, or -1."""
    query = st.jobs[job].query
    answer = st.links[st.jobs[job].answer]
    answer.one, answer.two = FAILED, cause
    st.queries[query].pending -= 1
    return query if is_settled(st, query, st.queries[query].gateway) else NONE


@compiled
def is_settled(st: State, query: int, station: int) -> bool:
    """Whether all replies have been read, or the one whose turn it is never comes, which is its ``cause`` then."""
    row = st.queries[query]
    if row.story == Q_DEAD:
        frees(st, query)
        return False
    here = row.reading
    while here >= 0 and st.links[here].one == READ:
        st.work[station, PARSE] += 1
        here = unlink(st, here)
    row.reading = here
    if here < 0:
        return True
    row.cause = st.links[here].two
    return bool(st.links[here].one == FAILED)


@compiled
def dies(st: State, query: int) -> None:
    """Nobody waits for the replies to a query any more."""
    st.queries[query].story = Q_DEAD
    frees(st, query)


@compiled
def frees(st: State, query: int) -> None:
    """Gives a query back with its last reply."""
    if st.queries[query].pending == 0:
        unlink_all(st, st.queries[query].reading)
        free_query(st, query)
