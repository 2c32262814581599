"""Gateways that try to reach a broker node again, and what they tell it then: :mod:`chatsim.engine.lines`."""

from __future__ import annotations

from chatsim.engine.compiled.chat import end_request, is_signed, sign_in
from chatsim.engine.compiled.clients import send
from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.events import at, soon
from chatsim.engine.compiled.kinds import (
    COMMAND,
    E_AT_NODE,
    E_REACHES,
    E_TELLS_ALL,
    J_REACH,
    J_REACHED,
    J_REGISTER,
    J_RESUBSCRIBE,
    PARSE,
    Q_TOLD,
    SUBSCRIBE,
    UPDATE,
)
from chatsim.engine.compiled.lines import resubscribes
from chatsim.engine.compiled.places import line_of, node_of, register, sessions_here
from chatsim.engine.compiled.pools import free_parcel, link, new_job, new_query, unlink
from chatsim.engine.compiled.queries import asks
from chatsim.engine.compiled.requests import add_request, request
from chatsim.engine.compiled.rules import keeps_registry, user_channel
from chatsim.engine.compiled.state import NONE, State
from chatsim.engine.compiled.stations import line_to, take, take_one


@compiled
def will_reach(st: State, node: int, gateway: int, life: int, pause_s: float) -> None:
    """A gateway will try to reach a node after a pause, if it lives."""
    at(st, st.now[0].time_s + pause_s, E_REACHES, node, gateway, life)


@compiled
def tries_later(st: State, node: int, gateway: int, life: int) -> None:
    """A gateway that has not reached a node tries again."""
    will_reach(st, node, gateway, life, st.asked[0].broker_retry_s)


@compiled
def reaches(st: State, node: int, gateway: int, life: int) -> None:
    """A gateway tries to reach a node, until it has all its subscriptions again."""
    home, line = st.stations[gateway], st.lines[line_of(st, node, gateway)]
    if home.life != life or not line.away:
        return
    if not st.stations[node].up or home.parted:
        tries_later(st, node, gateway, life)
        return
    job = new_job(st, J_REACH)
    row = st.jobs[job]
    row.node, row.gateway, row.life, row.times, row.cost_us = node, gateway, life, line.wanted, st.asked[0].command_us
    st.work[gateway, COMMAND] += 1
    take_one(st, gateway, job)


@compiled
def end_reach(st: State, station: int, job: int) -> None:
    """The command to subscribe to all again leaves."""
    row = st.jobs[job]
    reply = request(st, J_RESUBSCRIBE, station, NONE, SUBSCRIBE, st.asked[0].subscribe_us * row.times)
    again = st.jobs[reply]
    again.node, again.life, again.times = st.jobs[job].node, st.jobs[job].life, st.jobs[job].times
    at(st, st.now[0].time_s + st.asked[0].broker_link_s, E_AT_NODE, reply, NONE, NONE)


@compiled
def comes_to_node(st: State, job: int) -> None:
    """The command to subscribe to all again reaches the node."""
    reply = new_job(st, J_REACHED)
    st.jobs[reply].node, st.jobs[reply].gateway, st.jobs[reply].life = (
        st.jobs[job].node, st.jobs[job].gateway, st.jobs[job].life
    )  # fmt: skip
    st.jobs[reply].cost_us = st.asked[0].parse_us
    st.jobs[job].reply = reply
    take(st, st.jobs[job].node, job, job, 1, line_to(st.jobs[job].gateway))


@compiled
def end_resubscribe(st: State, station: int, job: int) -> None:
    """A gateway has its subscriptions again, and what a stream has kept for it leaves."""
    gateway = st.jobs[job].gateway
    line = st.lines[line_of(st, station, gateway)]
    if line.away:
        resubscribes(st, station, gateway)
        kept = line.kept_first
        line.kept_first = line.kept_last = NONE
        while kept >= 0:
            push = st.parcels[kept].first
            while push >= 0:
                following = st.jobs[push].next
                send(st, station, gateway, push)
                push = following
            following = st.parcels[kept].next
            free_parcel(st, kept)
            kept = following
    end_request(st, station, job)


@compiled
def end_reached(st: State, station: int, job: int) -> None:
    """The gateway reads that it hears all again."""
    st.work[station, PARSE] += 1
    soon(st, E_TELLS_ALL, st.jobs[job].node, station, NONE)


@compiled
def tells_all(st: State, node: int, gateway: int) -> None:
    """A gateway that is back writes into the registry, and to the presence keys, what could not be written."""
    asked = st.asked[0]
    again, last = take_unsigned(st, node, gateway), NONE
    query, users = new_query(st, Q_TOLD, NONE, gateway), 0
    if keeps_registry(asked.routing):
        for user in range(asked.users):
            if st.users[user].held and sessions_here(st, user, gateway) and node_of(st, user_channel(user)) == node:
                users += 1
    if users:
        job = request(st, J_REGISTER, gateway, NONE, UPDATE, asked.update_us * users)
        st.jobs[job].place, st.jobs[job].times = node, users
        last = add_request(st, query, last, job)
    while again >= 0:
        job = sign_in(st, st.links[again].one)
        st.jobs[job].place = node
        last = add_request(st, query, last, job)
        again = unlink(st, again)
    asks(st, query)


@compiled
def take_unsigned(st: State, node: int, gateway: int) -> int:
    """A list of the sessions of a gateway of which a node could not be told, which need not be remembered any more."""
    first, last, here = NONE, NONE, st.now[0].unsigned_first
    while here >= 0:
        session = st.links[here].one
        here = st.links[here].next
        row = st.sessions[session]
        if row.held and row.gateway == gateway and node_of(st, user_channel(row.user)) == node:
            is_signed(st, session)
            new = link(st, session, 0, 0.0)
            if last >= 0:
                st.links[last].next = new
            else:
                first = new
            last = new
    return first


@compiled
def end_register(st: State, station: int, job: int) -> None:
    """The registry at a node says which users a gateway holds, and whom it does not hold any more."""
    gateway = st.jobs[job].gateway
    for user in range(st.asked[0].users):
        if node_of(st, user_channel(user)) == station:
            registers(st, user, gateway, sessions_here(st, user, gateway))
    end_request(st, station, job)


@compiled
def registers(st: State, user: int, gateway: int, count: int) -> None:
    """The registry says how many sessions of a user are on a gateway."""
    here = st.users[user].registered
    while here >= 0 and st.links[here].one != gateway:
        here = st.links[here].next
    before = 0 if here < 0 else st.links[here].two
    if count != before:
        register(st, user, gateway, count - before)
