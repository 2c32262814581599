"""What gateways ask of broker nodes and the database: requests, and how they are gathered in queries."""

from __future__ import annotations

from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.kinds import J_COUNT, J_REPLY, J_SUBSCRIBE, SUBSCRIBE, TOUCH_ONE, UPDATE
from chatsim.engine.compiled.places import node_of, node_to_hear
from chatsim.engine.compiled.pools import new_job
from chatsim.engine.compiled.rules import room_channel
from chatsim.engine.compiled.state import NONE, State


@compiled
def request(st: State, kind: int, gateway: int, user: int, work: int, cost_us: float) -> int:
    """A request of a gateway, about a user maybe, with no reply so far."""
    job = new_job(st, kind)
    row = st.jobs[job]
    row.gateway, row.user, row.work, row.cost_us, row.touch = gateway, user, work, cost_us, TOUCH_ONE
    return job


@compiled
def add_request(st: State, query: int, last: int, job: int) -> int:
    """Adds a request, whose reply the gateway will read, to a query behind its ``last`` one; the request."""
    reply = new_job(st, J_REPLY)
    st.jobs[reply].query, st.jobs[reply].cost_us = query, st.asked[0].parse_us
    st.jobs[job].reply = reply
    if last >= 0:
        st.jobs[last].next = job
    else:
        st.queries[query].requests = job
    st.queries[query].count += 1
    return job


@compiled
def group_by_node(st: State, first: int, gateway: int) -> int:
    """Takes the channels of the first one's broker node out of a list, and marks each of these; the rest of the list.

    What is taken is linked from ``first`` on.
    """
    node = node_to_hear(st, st.links[first].one, gateway)
    last, rest, rest_last = first, NONE, NONE
    here = st.links[first].next
    st.links[first].next = NONE
    while here >= 0:
        following = st.links[here].next
        st.links[here].next = NONE
        if node_to_hear(st, st.links[here].one, gateway) == node:
            st.links[last].next = here
            last = here
        else:
            if rest_last >= 0:
                st.links[rest_last].next = here
            else:
                rest = here
            rest_last = here
        here = following
    return rest


@compiled
def subscription(st: State, gateway: int, first: int, change: int) -> int:
    """A request to subscribe (+1) to channels, or to unsubscribe (-1)."""
    count, here = 0, first
    while here >= 0:
        count += 1
        here = st.links[here].next
    job = request(st, J_SUBSCRIBE, gateway, NONE, SUBSCRIBE, st.asked[0].subscribe_us * count)
    row = st.jobs[job]
    row.first, row.change, row.times = first, change, count
    row.place = node_to_hear(st, st.links[first].one, gateway)
    return job


@compiled
def count_in(st: State, session: int, room: int, change: int) -> int:
    """A request to count one session more or less of a user that is no member of a room among those who are in it."""
    row = st.sessions[session]
    job = request(st, J_COUNT, row.gateway, row.user, UPDATE, st.asked[0].update_us)
    st.jobs[job].recipient, st.jobs[job].change, st.jobs[job].place = room, change, node_of(st, room_channel(room))
    return job
