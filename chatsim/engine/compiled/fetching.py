"""What a message, a login or a farewell will need is fetched from memory ahead, step by step.

A large run waits for memory most of its time: rooms, seats and sessions lie far apart. Here it is asked for what comes
while other things happen; nothing else changes. What a small run has is near all the time: it asks for nothing.
"""

from __future__ import annotations

from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.kinds import E_LEAVE, E_LOGIN, E_MESSAGE, E_TIMES_OUT
from chatsim.engine.compiled.memory import ahead, all_ahead
from chatsim.engine.compiled.pools import ABREAST, lists_ahead, place_of
from chatsim.engine.compiled.state import NONE, State

FEW = 160
"""Members of a room who are looked up ahead: nearly all, since they lie far apart."""
STEP = 3
"""How many rows of the trace come between two steps: what one has asked for is there for the next."""


@compiled
def follows(st: State, row: int) -> None:
    """A row of the trace comes next, and others soon: step by step it is asked for what they are about."""
    if not st.asked[0].fetches:
        return
    if row + 5 * STEP < len(st.trace):
        row_nears(st, st.trace[row + 5 * STEP].kind, st.trace[row + 5 * STEP].number)
        sender_nears(st, st.trace[row + 4 * STEP].kind, st.trace[row + 4 * STEP].number)
        if st.trace[row + 3 * STEP].kind == E_MESSAGE:
            room_nears(st, st.messages[st.trace[row + 3 * STEP].number].room)
        if st.trace[row + 2 * STEP].kind == E_MESSAGE:
            members_near(st, st.messages[st.trace[row + 2 * STEP].number].room)
        if st.trace[row + STEP].kind == E_MESSAGE:
            audience_nears(st, st.messages[st.trace[row + STEP].number].room)


@compiled
def row_nears(st: State, kind: int, number: int) -> None:
    """A message, or a login."""
    if kind == E_MESSAGE:
        all_ahead(st.messages, number)
    elif kind == E_LOGIN:
        all_ahead(st.sessions, number)


@compiled
def sender_nears(st: State, kind: int, number: int) -> None:
    """The sender of a message, and its room; or who logs in, and when the session will end."""
    if kind == E_MESSAGE:
        message = st.messages[number]
        ahead(st.sessions, message.session)
        ahead(st.room_start, message.room)
        if st.asked[0].keeps_seats:
            ahead(st.rooms, message.room)
            lists_ahead(st, message.room)
    elif kind == E_LOGIN:
        session = st.sessions[number]
        ahead(st.users, session.user)
        ahead(st.here, session.user)
        ahead(st.slots, int(session.end_s * st.asked[0].slots_per_s) & (len(st.slots) - 1))


@compiled
def room_nears(st: State, room: int) -> None:
    """Who is in a message's room, and who sits in it."""
    asked = st.asked[0]
    ahead(st.member, st.room_start[room])
    if asked.keeps_seats:
        first = place_of(st, room, 0)
        if first >= 0:
            ahead(st.places, first)
            ahead(st.places, first + min(asked.gateways, ABREAST) - 1)


@compiled
def members_near(st: State, room: int) -> None:
    """The members of a room, or its seats."""
    asked = st.asked[0]
    if asked.keeps_missed or not asked.keeps_seats:
        for place in range(st.room_start[room], few_of(st, room)):
            ahead(st.here, st.member[place])
            if asked.keeps_missed:
                ahead(st.users, st.member[place])
    first = place_of(st, room, 0) if asked.keeps_seats else NONE
    if first >= 0:
        for place in range(first, first + min(asked.gateways, ABREAST)):
            if st.places[place].count:
                ahead(st.seats, st.places[place].first)


@compiled
def audience_nears(st: State, room: int) -> None:
    """The first sessions that will get a message."""
    asked = st.asked[0]
    if not asked.keeps_seats:
        for place in range(st.room_start[room], few_of(st, room)):
            if st.here[st.member[place]] >= 0:
                ahead(st.sessions, st.here[st.member[place]])
        return
    first = place_of(st, room, 0)
    if first >= 0:
        for place in range(first, first + min(asked.gateways, ABREAST)):
            if st.places[place].count:
                seat = st.seats[st.places[place].first]
                ahead(st.sessions, seat.session)
                ahead(st.seats, max(seat.next, 0))


@compiled
def hears(st: State, session: int) -> None:
    """A message will be written to a session: what was foretold of it before."""
    if st.asked[0].fetches:
        ahead(st.links, max(st.sessions[session].foretold_first, 0))


@compiled
def nears(st: State, kind: int, one: int, two: int) -> None:
    """An event is among the next to happen: whose it is, where that was not looked at for long."""
    if kind == E_LEAVE:
        all_ahead(st.sessions, one)
        ahead(st.users, two)
        ahead(st.here, two)
    elif kind == E_TIMES_OUT:
        ahead(st.sessions, one)


@compiled
def few_of(st: State, room: int) -> int:
    """Where those of a room's members end who are looked up ahead."""
    return int(min(st.room_start[room + 1], st.room_start[room] + FEW))


@compiled
def joins(st: State, user: int, gateway: int) -> None:
    """A session comes into its user's rooms at a gateway."""
    if not st.asked[0].fetches:
        return
    first, end = st.own_start[user], st.own_start[user + 1]
    for own in range(first, end):
        ahead(st.rooms, st.own_room[own])
        lists_ahead(st, st.own_room[own])
    for own in range(first, end):
        place = place_of(st, st.own_room[own], gateway)
        if place >= 0:
            ahead(st.places, place)


@compiled
def parts(st: State, session: int) -> None:
    """A session leaves all its seats."""
    if not st.asked[0].fetches or not st.asked[0].keeps_seats:
        return
    here = st.sessions[session].seat_first
    while here >= 0:
        seat = st.seats[here]
        ahead(st.places, seat.place)
        ahead(st.rooms, seat.room)
        ahead(st.seats, max(seat.previous, 0))
        ahead(st.seats, max(seat.next, 0))
        here = seat.next_own
