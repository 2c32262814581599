"""Presence keys, questions for them, and pushes: :mod:`chatsim.engine.presence`, :mod:`chatsim.engine.pushes`."""

from __future__ import annotations

from chatsim.engine.compiled.clients import send
from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.events import at, soon
from chatsim.engine.compiled.kinds import (
    ASKED,
    COMMAND,
    E_ASKED,
    E_COMES_BACK,
    E_EXPIRES,
    E_PUSH_AGAIN,
    E_PUSH_ARRIVES,
    E_PUSH_DUE,
    E_PUSHES,
    E_REFRESH,
    J_ANSWERED,
    J_ASKED,
    J_NOTIFY,
    J_REFRESH,
    J_SIGN_IN,
    J_SIGN_OUT,
    J_STATE,
    J_WRITE_KEY,
    NOTIFY,
    P_IGNORED,
    P_UNDER_WAY,
    P_WASTED,
    PRESENCE,
    STATE_READ,
)
from chatsim.engine.compiled.memory import grown
from chatsim.engine.compiled.notices import changed, note_shown
from chatsim.engine.compiled.places import node_of
from chatsim.engine.compiled.pools import link, new_job, unlink
from chatsim.engine.compiled.requests import request
from chatsim.engine.compiled.rules import expires_s, is_due, is_taken, retry_after_s, return_draw, user_channel
from chatsim.engine.compiled.state import NEVER, NONE, State
from chatsim.engine.compiled.stations import take_frame, take_one
from chatsim.rules.offline import MINUTE_S

LATENCY, DELAY, LINK_AGAIN = range(3)
DRAWS = 3
"""Values of ``user_draws`` for each number of a user."""


@compiled
def does(st: State, gateway: int, kind: int, work: int, cost_us: float, session: int, user: int) -> None:
    """An item of work at a gateway."""
    take_one(st, gateway, new_item(st, gateway, kind, work, cost_us, session, user))


@compiled
def does_asked(st: State, gateway: int, kind: int, work: int, cost_us: float, session: int, user: int) -> None:
    """An item of work at a gateway, for which a session has sent a frame."""
    take_frame(st, gateway, new_item(st, gateway, kind, work, cost_us, session, user))


@compiled
def new_item(st: State, gateway: int, kind: int, work: int, cost_us: float, session: int, user: int) -> int:
    """The job of an item of work, which counts."""
    job = new_job(st, kind)
    st.jobs[job].cost_us, st.jobs[job].session, st.jobs[job].user = cost_us, session, user
    st.work[gateway, work] += 1
    return job


@compiled
def end_request(st: State, station: int, job: int) -> None:
    """A request has been answered: it counts, and the reply leaves, if there is one."""
    work, times, reply = st.jobs[job].work, st.jobs[job].times, st.jobs[job].reply
    st.work[station, work] += times
    if reply >= 0:
        send(st, station, st.jobs[job].gateway, reply)


# ---------------------------------------------------------------------- presence


@compiled
def write_key(st: State, user: int) -> bool:
    """Writes a user's presence key, with its lifetime; whether it was not there."""
    row = st.users[user]
    new = row.shown == 0
    gone_s = expires_s(st.now[0].time_s, st.asked[0].key_life_s)
    row.shown, row.shown_until_s = 1, gone_s
    if gone_s < st.asked[0].end_s:
        at(st, gone_s, E_EXPIRES, user, NONE, NONE)
    return bool(new)


@compiled
def expires(st: State, user: int) -> None:
    """A key is gone unless it was written since; the broker itself tells of it."""
    if st.users[user].shown and st.users[user].shown_until_s <= st.now[0].time_s:
        st.users[user].shown = 0
        changed(st, user, -1, NONE)


@compiled
def stands(st: State, user: int) -> None:
    """A session of a user is online when the run starts."""
    st.users[user].sessions += 1
    if not st.users[user].shown:
        note_shown(st, user, 1, 0)
    write_key(st, user)


@compiled
def sign_in(st: State, session: int) -> int:
    """To the broker: a session's user is online."""
    row = st.sessions[session]
    job = request(st, J_SIGN_IN, row.gateway, row.user, PRESENCE, st.asked[0].presence_us)
    st.jobs[job].session = session
    return job


@compiled
def not_signed(st: State, session: int) -> None:
    """The broker could not be told that a session's user is online: that must be said again."""
    now = st.now[0]
    if st.sessions[session].unsigned:
        return
    st.sessions[session].unsigned = 1
    new = link(st, session, 0, 0.0)
    if now.unsigned_first >= 0:
        st.links[now.unsigned_last].next = new
    else:
        now.unsigned_first = new
    now.unsigned_last = new


@compiled
def is_signed(st: State, session: int) -> None:
    """It need not be said again of a session that its user is online."""
    now = st.now[0]
    st.sessions[session].unsigned = 0
    before, here = NONE, now.unsigned_first
    while st.links[here].one != session:
        before, here = here, st.links[here].next
    following = unlink(st, here)
    if before >= 0:
        st.links[before].next = following
    else:
        now.unsigned_first = following
    if following < 0:
        now.unsigned_last = before


@compiled
def came(st: State, user: int, gateway: int) -> None:
    """A session more of a user counts; the first one changes what is shown."""
    st.users[user].sessions += 1
    if st.users[user].sessions > 0 and write_key(st, user):
        changed(st, user, 1, gateway)


@compiled
def end_sign_in(st: State, station: int, job: int) -> None:
    """The broker knows that a session of a user is there."""
    came(st, st.jobs[job].user, st.jobs[job].gateway)
    end_request(st, station, job)


@compiled
def sign_out(st: State, session: int) -> None:
    """The gateway tells the broker that a session of a user is gone."""
    row = st.sessions[session]
    job = request(st, J_SIGN_OUT, row.gateway, row.user, PRESENCE, st.asked[0].presence_us)
    st.jobs[job].session = session
    send(st, row.gateway, node_of(st, user_channel(row.user)), job)


@compiled
def went(st: State, user: int, gateway: int) -> None:
    """A session less of a user counts; without any, the user is shown no longer."""
    row = st.users[user]
    row.sessions -= 1
    if row.sessions <= 0 and row.shown:
        row.shown = 0
        changed(st, user, -1, gateway)


@compiled
def end_sign_out(st: State, station: int, job: int) -> None:
    """The broker knows that a session of a user is gone, if it knew that it had come."""
    if st.sessions[st.jobs[job].session].unsigned:
        is_signed(st, st.jobs[job].session)
    else:
        went(st, st.jobs[job].user, st.jobs[job].gateway)
    end_request(st, station, job)


@compiled
def refreshes(st: State, session: int) -> None:
    """A session that lives has its user's key written again after a while."""
    at(st, st.now[0].time_s + st.asked[0].refresh_s, E_REFRESH, session, NONE, NONE)


@compiled
def refresh(st: State, session: int) -> None:
    """It is time to write the key of a session's user again."""
    row = st.sessions[session]
    if not (row.gone or row.cut):
        does(st, row.gateway, J_REFRESH, COMMAND, st.asked[0].command_us, session, row.user)


@compiled
def end_refresh(st: State, station: int, job: int) -> None:
    """The command to write a key again leaves."""
    row = st.sessions[st.jobs[job].session]
    if not (row.gone or row.cut):
        write = request(st, J_WRITE_KEY, station, row.user, PRESENCE, st.asked[0].presence_us)
        send(st, station, node_of(st, user_channel(row.user)), write)
        refreshes(st, st.jobs[job].session)


@compiled
def end_write_key(st: State, station: int, job: int) -> None:
    """A key is written again, if its user has a session."""
    user = st.jobs[job].user
    if st.users[user].sessions > 0 and write_key(st, user):
        changed(st, user, 1, st.jobs[job].gateway)
    end_request(st, station, job)


@compiled
def asks(st: State, session: int, user: int) -> None:
    """A client asks whether somebody is online."""
    at(st, st.now[0].time_s + st.sessions[session].link_s, E_ASKED, session, user, NONE)


@compiled
def asked_by(st: State, session: int, user: int) -> None:
    """The question reaches the gateway."""
    cost_us = st.asked[0].receive_us + st.asked[0].command_us
    does_asked(st, st.sessions[session].gateway, J_ASKED, ASKED, cost_us, session, user)


@compiled
def end_asked(st: State, station: int, job: int) -> None:
    """The gateway asks the broker."""
    costs, user = st.asked[0], st.jobs[job].user
    reply = new_job(st, J_ANSWERED)
    st.jobs[reply].cost_us = costs.parse_us + costs.write_us
    state = request(st, J_STATE, station, user, STATE_READ, costs.lookup_us + costs.lookup_user_us)
    st.jobs[state].reply = reply
    send(st, station, node_of(st, user_channel(user)), state)


@compiled
def end_state(st: State, station: int, job: int) -> None:
    """The broker says what is shown of a user, which may not be true."""
    now, user = st.now[0], st.jobs[job].user
    now.pulls += 1
    if now.pulls > len(st.pulls):
        st.pulls = grown(st.pulls)
    row = st.pulls[now.pulls - 1]
    row.time_s, row.user, row.shown, row.online = now.time_s, user, st.users[user].shown, st.users[user].online > 0
    end_request(st, station, job)


# ---------------------------------------------------------------------- pushes


@compiled
def pushes_for(st: State, user: int, message: int) -> None:
    """A message waits in store for a user, who is to be notified where there is no session and nothing waits yet."""
    row = st.users[user]
    if row.waits_since_s <= row.came_s and row.held == 0:
        row.waits_since_s = st.now[0].time_s
        soon(st, E_PUSHES, user, message, NONE)


@compiled
def push_begins(st: State, user: int, message: int) -> None:
    """From now on it takes a while until the user is notified."""
    now_s = st.now[0].time_s
    at(st, now_s + st.asked[0].push_after_s, E_PUSH_DUE, user, message, link(st, 0, 0, now_s))


@compiled
def push_is_due(st: State, user: int, message: int, stored: int) -> None:
    """The user is notified, unless a session has started first."""
    stored_s = st.links[stored].value
    unlink(st, stored)
    row, now = st.users[user], st.now[0]
    if row.waits_since_s == stored_s:
        row.waits_since_s = -float("inf")
    if not is_due(row.held, row.came_s, stored_s):
        return
    row.due += 1
    if row.due > row.drawn:
        now.scarce = now.stops = 1
    number = now.pushed
    now.pushed += 1
    if now.pushed > len(st.pushed):
        st.pushed = grown(st.pushed)
    push = st.pushed[number]
    push.user, push.message, push.due_s, push.tries = user, message, now.time_s, 0
    push.sent_s, push.arrived_s, push.session, push.fate = NEVER, NEVER, NONE, P_UNDER_WAY
    notify(st, number)


@compiled
def notify(st: State, number: int) -> None:
    """The gateway that took the message, or the next one that is up, hands a push to its provider."""
    gateway, gateways = st.letters[st.pushed[number].message].gateway, st.asked[0].gateways
    for step in range(gateways):
        if st.stations[(gateway + step) % gateways].up:
            gateway = (gateway + step) % gateways
            break
    does(st, gateway, J_NOTIFY, NOTIFY, st.asked[0].command_us, number, NONE)


@compiled
def end_notify(st: State, station: int, job: int) -> None:
    """The provider takes a push, which is on its way to the device, or refuses it for now."""
    now, asked, number = st.now[0], st.asked[0], st.jobs[job].session
    st.pushed[number].tries += 1
    minute = now.time_s // MINUTE_S
    if minute != now.minute:
        now.minute, now.taken = minute, 0
    taken = is_taken(now.taken, asked.quota_per_min)
    now.taken += taken
    if not taken:
        again_s = now.time_s + retry_after_s(asked.push_retry_s, st.pushed[number].tries)
        at(st, again_s, E_PUSH_AGAIN, number, NONE, NONE)
        return
    st.pushed[number].sent_s = now.time_s
    user = st.pushed[number].user
    draw, returns = st.users[user].pushes, NONE
    st.users[user].pushes += 1
    place = DRAWS * (draw % asked.draws_kept)
    if return_draw(st, user, draw) < asked.return_share:
        returns = link(st, 0, 0, st.user_draws[user, place + DELAY])
    at(st, now.time_s + st.user_draws[user, place + LATENCY], E_PUSH_ARRIVES, number, returns, NONE)


@compiled
def push_arrives(st: State, number: int, returns: int) -> None:
    """A push reaches the device; its user may come back for it."""
    delay_s = NEVER
    if returns >= 0:
        delay_s = st.links[returns].value
        unlink(st, returns)
    push = st.pushed[number]
    push.arrived_s = st.now[0].time_s
    user = st.users[push.user]
    if user.held > 0 or user.box_first < 0:
        push.fate = P_WASTED
        return
    push.fate = P_IGNORED
    if returns >= 0:
        at(st, st.now[0].time_s + delay_s, E_COMES_BACK, number, NONE, NONE)
