"""The event loop: what is soon, then what is first of all others, until the end, or until Python is needed."""

from __future__ import annotations

import math

from chatsim.engine.compiled import chat, directory, fetching, logic, messages, queries, reaching, returning, sessions
from chatsim.engine.compiled.clients import delivered, packet_arrives, queues, told
from chatsim.engine.compiled.code import compiled, entry, seldom
from chatsim.engine.compiled.events import NO_SLOT, comes, drop_first, is_before, key_of, kind_of, soon
from chatsim.engine.compiled.kinds import (
    E_ARRIVES,
    E_ASKED,
    E_ASKS,
    E_COMES_BACK,
    E_CONNECTED,
    E_DELIVERED,
    E_EXPIRES,
    E_GOODBYE,
    E_ITEM_DONE,
    E_LEAVE,
    E_LEAVES_NOW,
    E_LOGIN,
    E_LOST,
    E_MESSAGE,
    E_NOTICED,
    E_PACKET,
    E_PUSH_AGAIN,
    E_PUSH_ARRIVES,
    E_PUSH_DUE,
    E_PUSHES,
    E_QUEUES,
    E_RECEIPT,
    E_REFRESH,
    E_REFRESHES,
    E_SENT,
    E_SHED,
    E_TICK_DONE,
    E_TIMES_OUT,
    E_TOLD,
    E_TRACE,
    E_TRIES,
    E_UPLINK,
    E_WELCOMED,
    J_ACK,
    J_ASKED,
    J_CLOSE,
    J_FAN_OUT,
    J_LOGIN,
    J_LOOK_UP,
    J_LOOKED_UP,
    J_NOTIFY,
    J_PUBLISH,
    J_QUERY,
    J_REACH,
    J_REACHED,
    J_RECEIPT,
    J_RECEIVE,
    J_REFRESH,
    J_REPLY,
    J_RESUBSCRIBE,
    J_SIGN_IN,
    J_SIGN_OUT,
    J_STATE,
    J_STORE,
    J_STORE_AFTER,
    J_STORED,
    J_SUBSCRIBE,
    J_SYNC,
    J_SYNCED,
    J_UPDATE,
    J_WRITE_KEY,
    PARSE,
)
from chatsim.engine.compiled.outbox import is_sent
from chatsim.engine.compiled.places import change_subscription, channel_at_start, node_to_hear
from chatsim.engine.compiled.pools import free_batch, free_job
from chatsim.engine.compiled.state import NONE, State
from chatsim.engine.compiled.stations import arrive, flush, ready, release, wake
from chatsim.engine.compiled.trouble import begin, trouble_happens

DONE, MORE, NEEDS_SESSIONS, NEEDS_DRAWS, BREAKS = range(5)
"""Why :func:`go_on` comes back: the run is over, or it has more to do; tables that only Python can fill are too small;
a connection breaks in a run that took it to hold."""


@compiled
def starts(st: State) -> None:
    """The state at time 0: gateways subscribed, sessions that began before the run online."""
    asked = st.asked[0]
    st.now[0].started = st.now[0].stops = 1
    if asked.has_broker:
        for gateway in range(asked.gateways):
            channel = channel_at_start(st, gateway)
            if channel >= 0:
                change_subscription(st, node_to_hear(st, channel, gateway), channel, gateway, 1)
    begin(st)
    for session in range(asked.standing):
        sessions.standing(st, session)
    if len(st.trace):
        soon(st, E_TRACE, -1, NONE, NONE)


@entry
def go_on(st: State, steps: int) -> int:
    """Runs so many events, or fewer; why it comes back."""
    now = st.now[0]
    if not now.started:
        starts(st)
    for _ in range(steps):
        if now.stops:
            reason = why_stopped(st)
            if reason != MORE:
                return reason
        if now.soon:
            begins = st.soon[now.soon_first]
            kind, one, two, three = begins.kind, begins.one, begins.two, begins.three
            now.soon -= 1
            now.soon_first = (now.soon_first + 1) & (len(st.soon) - 1)
        elif is_traced(st):
            kind, one, two, three = E_TRACE, now.next_row, NONE, NONE
            now.time_s, now.key = now.next_s, now.next_key
        else:
            if now.has_first:
                event = st.first[0]
            elif now.heap:
                event = st.heap[0]
            else:
                now.time_s = st.asked[0].end_s
                return DONE
            now.time_s, now.key, one, two, three = event.time_s, event.key, event.one, event.two, event.three
            kind = kind_of(event.key)
            if kind == E_ARRIVES and st.parcels[one].next >= 0:
                event.one = st.parcels[one].next  # at the same time, and before all else
            else:
                is_taken(st)
        happens(st, kind, one, two, three)
    return MORE


@compiled
def is_traced(st: State) -> bool:
    """Whether a row of the trace is next, which lies on no heap; else it is the event that waits beside the small heap,
    or the first one there, if there is one."""
    now = st.now[0]
    if now.has_first:
        return is_before(now.next_s, now.next_key, st.first[0].time_s, st.first[0].key)
    if now.heap == 0 and not comes(st):
        return bool(now.next_s < st.asked[0].end_s)
    return is_before(now.next_s, now.next_key, st.heap[0].time_s, st.heap[0].key)


@compiled
def is_taken(st: State) -> None:
    """The first event of the present slot happens, and is not to come any more."""
    now = st.now[0]
    if now.has_first:
        now.has_first = 0
    else:
        now.heap -= 1
        drop_first(st.heap, now.heap)


@seldom
def why_stopped(st: State) -> int:
    """Why Python is needed, if it is: looked at when something has been done that may ask for it."""
    now = st.now[0]
    if now.overflowed:
        return BREAKS
    if now.sessions >= len(st.sessions):
        return NEEDS_SESSIONS
    if now.scarce:
        return NEEDS_DRAWS
    now.stops = 0
    return MORE


@compiled
def happens(st: State, kind: int, one: int, two: int, three: int) -> None:
    """An event happens."""
    if kind == E_DELIVERED:
        delivered(st, one, two, three)
    elif kind == E_ARRIVES:
        arrive(st, one)
    elif kind in (E_TICK_DONE, E_ITEM_DONE):
        work_is_done(st, kind, one)
    elif kind == E_PACKET:
        packet_arrives(st, one, two)
    elif kind == E_LEAVES_NOW:
        flush(st, one)
    elif kind in (E_QUEUES, E_SENT):
        link_happens(st, kind, one, two)
    elif kind in (E_TRACE, E_UPLINK, E_TOLD):
        message_happens(st, kind, one, two)
    elif kind <= E_TRIES:
        session_happens(st, kind, one, two)
    else:
        rest_happens(st, kind, one, two, three)


@seldom
def rest_happens(st: State, kind: int, one: int, two: int, three: int) -> None:
    """Something happens to presence or a push, something breaks, or the chat logic goes on."""
    if kind >= E_RECEIPT:
        logic.happens(st, kind, one, two, three)
    elif kind >= E_LOST:
        trouble_happens(st, kind, one, two, three)
    else:
        chat_happens(st, kind, one, two, three)


@compiled
def link_happens(st: State, kind: int, session: int, two: int) -> None:
    """Something happens to a link that takes one packet after the other."""
    if kind == E_QUEUES:
        queues(st, session, two)
    else:
        is_sent(st, session)


@compiled
def message_happens(st: State, kind: int, one: int, two: int) -> None:
    """A row of the trace begins, or a message comes on."""
    if kind == E_TRACE:
        trace_goes_on(st, one)
    elif kind == E_UPLINK:
        messages.comes_up(st, one, two)
    else:
        told(st, one, two)


@compiled
def trace_goes_on(st: State, row: int) -> None:
    """A row of the trace begins now (-1: none yet), and the next one is set to its time."""
    now = st.now[0]
    now.next_row, now.next_s, now.next_slot = row + 1, math.inf, NO_SLOT
    if row + 1 < len(st.trace) and st.trace[row + 1].time_s < st.asked[0].end_s:
        now.number += 1
        now.next_s, now.next_key = st.trace[row + 1].time_s, key_of(now.number, E_TRACE)
        now.next_slot = int(now.next_s * st.asked[0].slots_per_s)
        fetching.follows(st, row + 1)
    if row < 0:
        return
    kind, number = st.trace[row].kind, st.trace[row].number
    if kind == E_MESSAGE:
        messages.begins(st, number)  # nothing else is soon: it would be the next event
    elif kind >= 0:
        soon(st, kind, number, NONE, NONE)


@compiled
def session_happens(st: State, kind: int, session: int, two: int) -> None:
    """Something happens to a session."""
    if kind == E_LOGIN:
        sessions.login(st, session)
    elif kind == E_CONNECTED:
        sessions.connected(st, session)
    elif kind == E_SHED:
        sessions.shed(st, session)
    elif kind == E_TIMES_OUT:
        sessions.times_out(st, session)
    elif kind == E_LEAVE:
        sessions.leaves(st, session)
    elif kind == E_GOODBYE:
        sessions.goodbye(st, session, two)
    elif kind == E_NOTICED:
        sessions.noticed(st, session)
    elif kind == E_WELCOMED:
        sessions.welcomed(st, session, two)
    else:
        returning.tries(st, session)


@compiled
def chat_happens(st: State, kind: int, one: int, two: int, three: int) -> None:
    """Something happens to presence, or else to a push."""
    if kind == E_REFRESHES:
        chat.refreshes(st, one)
    elif kind == E_REFRESH:
        chat.refresh(st, one)
    elif kind == E_EXPIRES:
        chat.expires(st, one)
    elif kind == E_ASKS:
        chat.asks(st, one, two)
    elif kind == E_ASKED:
        chat.asked_by(st, one, two)
    else:
        push_happens(st, kind, one, two, three)


@compiled
def push_happens(st: State, kind: int, one: int, two: int, three: int) -> None:
    """Something happens to a push."""
    if kind == E_PUSHES:
        chat.push_begins(st, one, two)
    elif kind == E_PUSH_DUE:
        chat.push_is_due(st, one, two, three)
    elif kind == E_PUSH_AGAIN:
        chat.notify(st, one)
    elif kind == E_PUSH_ARRIVES:
        chat.push_arrives(st, one, two)
    elif kind == E_COMES_BACK:
        returning.comes_back(st, one)


@compiled
def work_is_done(st: State, kind: int, batch: int) -> None:
    """A worker is done with a tick, or with one job of it."""
    if kind == E_TICK_DONE:
        tick_done(st, batch)
    else:
        item_done(st, batch)


@seldom
def item_done(st: State, batch: int) -> None:
    """With ``flush = "item"`` the first job of a batch that is still there leaves."""
    if st.batches[batch].station < 0:
        return
    station, job = st.batches[batch].station, st.batches[batch].first
    st.batches[batch].first = st.jobs[job].next
    st.stations[station].ending = 1
    end(st, station, job)
    flush(st, station)
    st.stations[station].ending = 0


@compiled
def tick_done(st: State, batch: int) -> None:
    """What the tick did leaves, with ``flush = "item"`` its last job; the worker is free again."""
    station, job = st.batches[batch].station, st.batches[batch].first
    free_batch(st, batch)
    if station < 0:
        return
    home = st.stations[station]
    home.ending = 1
    while job >= 0:
        following = st.jobs[job].next
        end(st, station, job)
        job = following
    flush(st, station)
    home.ending = 0
    home.worked_s = st.now[0].time_s
    if home.host >= 0:
        release(st, home.host)
    if home.length and not home.waits:
        ready(st, station, 0)
        if home.host >= 0:
            wake(st, station)
    else:
        home.idle += 1


@compiled
def end(st: State, station: int, job: int) -> None:
    """A job leaves its station, and is over unless it travels on."""
    kind = st.jobs[job].kind
    if kind == J_FAN_OUT:
        messages.end_fan_out(st, station, job)
    elif kind == J_PUBLISH:
        messages.end_publish(st, station, job)
    elif kind == J_RECEIVE:
        logic.passes(st, messages.end_receive(st, station, job), job)
    elif kind == J_STORE:
        messages.end_store(st, station, job)
    elif kind == J_STORED:
        messages.end_stored(st, station, job)
    elif kind == J_LOOK_UP:
        directory.end_look_up(st, station, job)
    elif kind == J_LOOKED_UP:
        messages.end_looked_up(st, station, job)
    elif kind == J_STORE_AFTER:
        messages.end_store_after(st, station, job)
    elif kind in (J_LOGIN, J_CLOSE, J_QUERY, J_REPLY, J_SYNC, J_SYNCED, J_SUBSCRIBE, J_UPDATE):
        end_for_session(st, kind, station, job)
    else:
        end_for_chat(st, kind, station, job)
    free_job(st, job)


@seldom
def end_rest(st: State, kind: int, station: int, job: int) -> None:
    """A job of the chat logic, or one that a design without faults does not have, leaves its station."""
    if kind >= J_RECEIPT:
        logic.end(st, kind, station, job)
    elif kind == J_ACK:
        messages.end_ack(st, job)
    else:
        end_reaching(st, kind, station, job)


@compiled
def end_reaching(st: State, kind: int, station: int, job: int) -> None:
    """A job leaves its station by which a gateway gets at the broker again."""
    if kind == J_REACH:
        reaching.end_reach(st, station, job)
    elif kind == J_RESUBSCRIBE:
        reaching.end_resubscribe(st, station, job)
    elif kind == J_REACHED:
        reaching.end_reached(st, station, job)
    else:
        reaching.end_register(st, station, job)


@compiled
def end_for_session(st: State, kind: int, station: int, job: int) -> None:
    """A job of a session's life leaves its station."""
    if kind == J_LOGIN:
        sessions.end_login(st, station, job)
    elif kind == J_CLOSE:
        sessions.end_close(st, station, job)
    elif kind == J_QUERY:
        queries.end_query(st, station, job)
    elif kind == J_REPLY:
        logic.answered(st, queries.end_reply(st, station, job))
    elif kind == J_SYNC:
        sessions.end_sync(st, station, job)
    elif kind == J_SYNCED:
        sessions.end_synced(st, station, job)
    elif kind == J_SUBSCRIBE:
        sessions.end_subscribe(st, station, job)
    else:
        sessions.end_update(st, station, job)


@compiled
def end_for_chat(st: State, kind: int, station: int, job: int) -> None:
    """A job of presence, of a push, or of the rest leaves its station."""
    if kind >= J_REACH:
        end_rest(st, kind, station, job)
    elif kind == J_REFRESH:
        chat.end_refresh(st, station, job)
    elif kind == J_WRITE_KEY:
        chat.end_write_key(st, station, job)
    elif kind == J_SIGN_IN:
        chat.end_sign_in(st, station, job)
    elif kind == J_SIGN_OUT:
        chat.end_sign_out(st, station, job)
    elif kind == J_ASKED:
        chat.end_asked(st, station, job)
    elif kind == J_STATE:
        chat.end_state(st, station, job)
    elif kind == J_NOTIFY:
        chat.end_notify(st, station, job)
    else:
        st.work[station, PARSE] += 1
