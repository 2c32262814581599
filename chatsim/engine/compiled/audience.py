"""Whom a gateway writes a message to: its sessions in the room, in the order in which it has taken them on.

Rooms have lists of seats where gateways must know in which rooms they have somebody, or where there are fewer seats to
take than members to look at; elsewhere a room's members are looked at, one after the other.
"""

from __future__ import annotations

from chatsim.engine.compiled import fetching
from chatsim.engine.compiled.code import compiled, seldom
from chatsim.engine.compiled.places import own_session, position_of
from chatsim.engine.compiled.pools import add_link, place_of
from chatsim.engine.compiled.state import NONE, State


@compiled
def find_local(st: State, station: int, job: int, user: int, but: int, position: int) -> bool:
    """The sessions of a user at a gateway, ``but`` one, each with its place in a room; whether there are none."""
    nobody, session = True, st.here[user]
    while session >= 0:
        if st.sessions[session].gateway == station:
            nobody = False
            if session != but:
                add_link(st, job, session, position)
        session = st.sessions[session].next_here
    return nobody


@compiled
def find_sessions(st: State, station: int, job: int, message: int, recipient: int) -> bool:
    """The sessions of one user at a gateway, not the one that has written; whether there are none at all."""
    own = own_session(st, message) if st.asked[0].own_devices else NONE
    return find_local(st, station, job, recipient, own, position_of(st, message, recipient))


@compiled
def find_members(st: State, station: int, job: int, message: int) -> bool:
    """The sessions in a message's room at a gateway: others', then with copies the sender's; whether none is."""
    if st.asked[0].keeps_seats:
        return find_by_seats(st, station, job, message)
    return find_among_members(st, station, job, message)


@compiled
def find_by_seats(st: State, station: int, job: int, message: int) -> bool:
    """The same by the lists of seats in the room."""
    asked, row = st.asked[0], st.messages[message]
    place = place_of(st, row.room, station)
    if place < 0 or st.places[place].count == 0:
        return True
    first = st.places[place].first
    seat = first
    while seat >= 0:
        session, position = st.seats[seat].session, st.seats[seat].position
        user = st.sessions[session].user
        if user != row.sender:
            add_link(st, job, session, position if row.room == row.meant else position_of(st, message, user))
        seat = st.seats[seat].next
    if not asked.own_devices:
        return False
    own, own_position = own_session(st, message), position_of(st, message, row.sender)
    seat = first
    while seat >= 0:
        session = st.seats[seat].session
        if st.sessions[session].user == row.sender and session != own:
            add_link(st, job, session, own_position)
        seat = st.seats[seat].next
    return False


@compiled
def find_among_members(st: State, station: int, job: int, message: int) -> bool:
    """The same by the members of the room, all of whom are looked at."""
    row = st.messages[message]
    start, end = st.room_start[row.room], st.room_start[row.room + 1]
    sender, is_own = row.sender, row.room == row.meant
    nobody, is_ordered, latest = True, True, NONE
    for place in range(start, end):
        user = st.member[place]
        session = st.here[user]
        while session >= 0:
            there = st.sessions[session]
            if there.gateway == station:
                nobody = False
                if user != sender:
                    add_link(st, job, session, place - start if is_own else position_of(st, message, user))
                    fetching.hears(st, session)
                    is_ordered &= there.joined > latest
                    latest = there.joined
            session = there.next_here
    if not is_ordered:
        as_they_came(st, job)
    if st.asked[0].own_devices and not nobody:
        find_local(st, station, job, sender, own_session(st, message), position_of(st, message, sender))
    return nobody


@seldom
def as_they_came(st: State, job: int) -> None:
    """Puts a job's sessions into the order in which gateways have taken them on: runs of 1, 2, 4 ... are merged."""
    first, last, length, runs = st.jobs[job].first, NONE, 1, 2
    while runs > 1:
        rest, runs = first, 0
        first = last = NONE
        while rest >= 0:
            one, left, other, right = rest, length, behind(st, rest, length), length
            rest = behind(st, other, length)
            runs += 1
            while (one >= 0 and left) or (other >= 0 and right):
                is_other = not left or one < 0 or (right and came_before(st, other, one))
                here = other if is_other else one
                if is_other:
                    other, right = st.links[here].next, right - 1
                else:
                    one, left = st.links[here].next, left - 1
                if last >= 0:
                    st.links[last].next = here
                else:
                    first = here
                last = here
        st.links[last].next = NONE
        length *= 2
    st.jobs[job].first, st.jobs[job].last = first, last


@compiled
def behind(st: State, here: int, count: int) -> int:
    """What stands so many links behind one, or -1."""
    while here >= 0 and count:
        here, count = st.links[here].next, count - 1
    return here


@compiled
def came_before(st: State, one: int, other: int) -> bool:
    """Whether the session of a link, if there is one, was taken on before that of another."""
    return one >= 0 and bool(st.sessions[st.links[one].one].joined < st.sessions[st.links[other].one].joined)
