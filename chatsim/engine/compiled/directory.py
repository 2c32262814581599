"""The directory: a gateway asks a broker node on which gateways users have sessions, as in its jobs."""

from __future__ import annotations

from chatsim.engine.compiled.clients import broken, send
from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.kinds import CUT_OFF, J_LOOK_UP, LOOKUP, TOUCH_ONE
from chatsim.engine.compiled.places import comers, is_founding
from chatsim.engine.compiled.pools import add_link, link, new_job
from chatsim.engine.compiled.state import NONE, State


@compiled
def look_up(st: State, message: int, recipient: int, gateway: int, reply: int, users: int, node: int) -> None:
    """A gateway asks a broker node where users have sessions: one, or those who hear a message now."""
    asked, job = st.asked[0], new_job(st, J_LOOK_UP)
    row = st.jobs[job]
    row.message, row.recipient, row.gateway, row.reply = message, recipient, gateway, reply
    row.cost_us, row.touch = asked.lookup_us + asked.lookup_user_us * users, TOUCH_ONE
    row.known = recipient < 0 and is_founding(st, message)
    here = NONE if recipient >= 0 or row.known else comers(st, st.messages[message].room)
    while here >= 0:
        if st.links[here].one != st.messages[message].sender:
            add_link(st, job, st.links[here].one, 0)
        here = st.links[here].next
    send(st, gateway, node, job)


@compiled
def end_look_up(st: State, station: int, job: int) -> None:
    """A node answers where users have sessions."""
    asked = st.asked[0]
    gateway, reply = st.jobs[job].gateway, st.jobs[job].reply
    if asked.faulty:
        note_unknown(st, job)
    if st.jobs[job].recipient < 0:
        count = find_holders(st, job, reply)
        st.jobs[reply].cost_us = asked.parse_us + asked.command_us * count
    st.work[station, LOOKUP] += 1
    send(st, station, gateway, reply)


@compiled
def stamp_holders(st: State, user: int, stamp: int) -> None:
    """Stamps the gateways that hold a user."""
    here = st.users[user].registered
    while here >= 0:
        st.stamps[st.links[here].one] = stamp
        here = st.links[here].next


@compiled
def stamp_local(st: State, user: int, stamp: int) -> None:
    """Stamps the gateways that have taken a session of a user on."""
    session = st.here[user]
    while session >= 0:
        st.stamps[st.sessions[session].gateway] = stamp
        session = st.sessions[session].next_here


@compiled
def note_unknown(st: State, job: int) -> None:
    """Gateways that hold users of whom the registry does not know, because a fault has kept it from being told."""
    message = st.jobs[job].message
    st.now[0].stamp += 1
    stamp = st.now[0].stamp
    for is_known in (False, True):
        for_all_asked(st, job, 0 if is_known else stamp, is_known)
    for gateway in range(st.asked[0].gateways):
        if st.stamps[gateway] == stamp:
            broken(st, message, gateway, CUT_OFF)


@compiled
def for_all_asked(st: State, job: int, stamp: int, is_known: bool) -> None:
    """Stamps the gateways of those that a job asks about: the ones that the registry knows, or all."""
    recipient, row = st.jobs[job].recipient, st.messages[st.jobs[job].message]
    if recipient >= 0:
        stamp_one(st, recipient, stamp, is_known)
        return
    creates = st.jobs[job].known
    for place in range(st.room_start[row.room], st.room_start[row.room + 1]):
        if creates or st.member[place] != row.sender:
            stamp_one(st, st.member[place], stamp, is_known)
    here = st.jobs[job].first
    while here >= 0:
        stamp_one(st, st.links[here].one, stamp, is_known)
        here = st.links[here].next
    if st.asked[0].own_devices:
        stamp_one(st, row.sender, stamp, is_known)


@compiled
def stamp_one(st: State, user: int, stamp: int, is_known: bool) -> None:
    """Stamps the gateways of a user."""
    if is_known:
        stamp_holders(st, user, stamp)
    else:
        stamp_local(st, user, stamp)


@compiled
def find_holders(st: State, job: int, reply: int) -> int:
    """Lists in the reply the gateways that hold those who hear a message, ascending; how many.

    A message that creates its room goes to those that hold its sender too: they have to join it.
    """
    asked, message, gateway = st.asked[0], st.jobs[job].message, st.jobs[job].gateway
    row = st.messages[message]
    st.now[0].stamp += 1
    stamp, creates = st.now[0].stamp, st.jobs[job].known
    for place in range(st.room_start[row.room], st.room_start[row.room + 1]):
        if creates or st.member[place] != row.sender:
            stamp_holders(st, st.member[place], stamp)
    here = st.jobs[job].first
    while here >= 0:
        stamp_holders(st, st.links[here].one, stamp)
        here = st.links[here].next
    if asked.own_devices:
        stamp_holders(st, row.sender, stamp)
    if asked.shortcut:
        st.stamps[gateway] = 0
    count = 0
    for holder in range(asked.gateways - 1, -1, -1):
        if st.stamps[holder] == stamp:
            new = link(st, holder, 0, 0.0)
            st.links[new].next = st.jobs[reply].first
            st.jobs[reply].first = new
            count += 1
    return count
