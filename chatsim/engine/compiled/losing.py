"""What becomes of what a lost job was for: the stories that end, or go on without it."""

from __future__ import annotations

import math

from chatsim.engine.compiled.chat import not_signed
from chatsim.engine.compiled.clients import broken, carried, lose, refuse, send_to_session
from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.kinds import (
    ABANDONED,
    CRASHED,
    DELIVERED,
    E_TOLD,
    IN_FLIGHT,
    J_COUNT,
    J_FAN_OUT,
    J_FOUND,
    J_LOOK_UP,
    J_LOOKED_UP,
    J_PUBLISH,
    J_QUERY,
    J_REACH,
    J_REACHED,
    J_RECEIVE,
    J_REFUSE,
    J_REGISTER,
    J_RELATION,
    J_REPLY,
    J_REQUEST,
    J_RESUBSCRIBE,
    J_SEARCH,
    J_SIGN_IN,
    J_STATE,
    J_STORE,
    J_STORE_AFTER,
    J_STORED,
    J_SUBSCRIBE,
    J_SYNC,
    J_SYNCED,
    J_UPDATE,
    Q_ENTERED,
    Q_FOUNDED,
    Q_LOADED,
    Q_MEMBERS,
    Q_RELATION,
    Q_SUBSCRIBED,
    REFUSAL,
    STORE_BESIDE,
    UNAVAILABLE,
    WRITE,
)
from chatsim.engine.compiled.lines import read_push
from chatsim.engine.compiled.places import one_more_hears, wanted
from chatsim.engine.compiled.pools import free_job
from chatsim.engine.compiled.queries import dies, reply_fails
from chatsim.engine.compiled.reaching import tries_later
from chatsim.engine.compiled.sessions import login_fails, subscribed
from chatsim.engine.compiled.state import State


@compiled
def is_lost(st: State, job: int, station: int, cause: int) -> None:
    """A job never comes to a station, or never leaves it."""
    kind = st.jobs[job].kind
    if kind == J_FAN_OUT:
        lose_fan_out(st, job, station, cause)
    elif kind == J_PUBLISH:
        broken(st, st.jobs[job].message, -1, cause)
        carried(st, st.jobs[job].message)
    elif kind in (J_REACH, J_RESUBSCRIBE, J_REACHED):
        if kind == J_RESUBSCRIBE:
            free_job(st, st.jobs[job].reply)
        tries_later(st, st.jobs[job].node, st.jobs[job].gateway, st.jobs[job].life)
    elif kind in (J_SYNC, J_SYNCED):
        if kind == J_SYNC:
            free_job(st, st.jobs[job].reply)
        login_fails(st, st.jobs[job].session)
    elif kind in (J_RECEIVE, J_REFUSE, J_STORE_AFTER, J_STORED, J_LOOKED_UP, J_STORE, J_LOOK_UP):
        message_job_is_lost(st, kind, job, cause)
    else:
        request_is_lost(st, kind, job, station, cause)
    free_job(st, job)


@compiled
def message_job_is_lost(st: State, kind: int, job: int, cause: int) -> None:
    """A job on the way of a message is lost."""
    message = st.jobs[job].message
    if kind == J_STORE:
        message_job_is_over(st, st.jobs[job].reply, cause)
        carried(st, message)
        free_job(st, st.jobs[job].reply)
    elif kind == J_LOOK_UP:
        reply = st.jobs[job].reply
        if st.jobs[reply].kind == J_FAN_OUT:
            lose_fan_out(st, reply, st.jobs[job].gateway, cause)
        else:
            message_job_is_over(st, reply, cause)
        free_job(st, reply)
    else:
        message_job_is_over(st, job, cause)


@compiled
def message_job_is_over(st: State, job: int, cause: int) -> None:
    """A message does not go on from a job at its sender's gateway, if it had waited for that."""
    if st.jobs[job].kind != J_STORED or st.jobs[job].known:
        breaks_off(st, st.jobs[job].message, st.jobs[job].session, cause)
        carried(st, st.jobs[job].message)


@compiled
def breaks_off(st: State, message: int, session: int, cause: int) -> None:
    """The way of a message ends at its gateway, which has died, or cannot reach what it needs and says so."""
    row, sender = st.messages[message], st.sessions[session]
    beside = st.asked[0].store == STORE_BESIDE and row.fate == DELIVERED
    if sender.life != st.stations[sender.gateway].life:
        if row.fate == DELIVERED:
            broken(st, message, -1, CRASHED)
        else:
            lose(st, message, CRASHED)
    elif beside or not math.isnan(row.stored_s) or not math.isnan(row.routed_s):
        broken(st, message, -1, cause)
    else:
        row.fate = IN_FLIGHT
        row.refused += 1
        st.work[sender.gateway, REFUSAL] += 1
        refuse(st, message, UNAVAILABLE)
        send_to_session(st, session, 0.0, E_TOLD, message)


@compiled
def lose_fan_out(st: State, job: int, station: int, cause: int) -> None:
    """The sessions of a gateway do not get the message. What a worker had begun was written as far as it came."""
    message = st.jobs[job].message
    read_push(st, job, station)
    if st.jobs[job].pushed and not st.jobs[job].known:
        st.messages[message].lost_pushes += 1
    if st.stations[station].by_item:
        st.work[station, WRITE] += st.jobs[job].count
    broken(st, message, station, cause)
    carried(st, message)


@compiled
def request_is_lost(st: State, kind: int, job: int, station: int, cause: int) -> None:
    """A request, a reply, or what a gateway does without a message is lost."""
    if kind == J_REPLY:
        reply_is_lost(st, job, cause)
    elif kind == J_QUERY:
        throw_query_away(st, st.jobs[job].query, cause)
    elif kind == J_SEARCH:
        abandons(st, st.jobs[job].user)
    elif kind == J_FOUND:
        abandons(st, st.jobs[job].message)
    elif kind in (J_SUBSCRIBE, J_UPDATE, J_SIGN_IN, J_REGISTER, J_STATE, J_REQUEST, J_COUNT, J_RELATION):
        does_otherwise(st, kind, job, station)
        reply = st.jobs[job].reply
        if reply >= 0:
            if st.jobs[reply].kind == J_REPLY:
                reply_is_lost(st, reply, cause)
            elif st.jobs[reply].kind == J_FOUND:
                abandons(st, st.jobs[reply].message)
            free_job(st, reply)


@compiled
def does_otherwise(st: State, kind: int, job: int, station: int) -> None:
    """What a gateway remembers of a request that was lost."""
    if kind == J_SUBSCRIBE:
        here, room = st.jobs[job].first, st.jobs[job].recipient
        while here >= 0:
            wanted(st, station, st.links[here].one, st.jobs[job].gateway, st.jobs[job].change)
            here = st.links[here].next
        if room >= 0:
            one_more_hears(st, room)
    elif kind == J_SIGN_IN:
        not_signed(st, st.jobs[job].session)


@compiled
def reply_is_lost(st: State, job: int, cause: int) -> None:
    """A reply never comes: the story that waits for it, if it has come to that, ends."""
    query = reply_fails(st, job, cause)
    if query >= 0:
        query_fails(st, query, st.queries[query].cause)


@compiled
def query_fails(st: State, query: int, cause: int) -> None:
    """A reply never comes for which a story has waited: that ends, or goes on without."""
    story, subject, session = st.queries[query].story, st.queries[query].subject, st.queries[query].session
    dies(st, query)
    if story == Q_SUBSCRIBED:
        if st.sessions[session].life == st.stations[st.sessions[session].gateway].life:
            subscribed(st, session)
    elif story == Q_LOADED:
        login_fails(st, session)
    elif story in (Q_RELATION, Q_ENTERED, Q_FOUNDED, Q_MEMBERS):
        breaks_off(st, subject, session, cause)
        carried(st, subject)


@compiled
def throw_query_away(st: State, query: int, cause: int) -> None:
    """A gateway has died that was to ask: nothing is asked."""
    job = st.queries[query].requests
    while job >= 0:
        following = st.jobs[job].next
        free_job(st, st.jobs[job].reply)
        free_job(st, job)
        job = following
    query_fails(st, query, cause)


@compiled
def abandons(st: State, message: int) -> None:
    """A search has no answer: the message is never written."""
    st.messages[message].fate, st.messages[message].done_s = ABANDONED, st.now[0].time_s
