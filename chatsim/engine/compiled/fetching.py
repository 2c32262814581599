"""What a message, a login or a farewell will need is fetched from memory ahead, step by step.

A large run waits for memory most of its time: rooms, seats and sessions lie far apart. Here it is asked for what comes
while other things happen; nothing else changes. What a small run has is near all the time: it asks for nothing.
"""

from __future__ import annotations

from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.kinds import (
    E_CONNECTED,
    E_DELIVERED,
    E_LEAVE,
    E_LOGIN,
    E_MESSAGE,
    E_NOTICED,
    E_PACKET,
    E_TRIES,
    E_UPLINK,
)
from chatsim.engine.compiled.memory import ahead
from chatsim.engine.compiled.pools import ABREAST, lists_ahead, place_of
from chatsim.engine.compiled.state import NONE, State

FEW = 16
"""Members of a room who are looked up ahead: more are read one after the other, which memory finds out by itself."""
ROWS_AHEAD = 4
"""How many rows before its turn a row of the trace is looked at."""


@compiled
def follows(st: State, row: int) -> None:
    """A row of the trace comes next: what its message, or its session, is about; and another comes soon."""
    if not st.asked[0].fetches:
        return
    if row + ROWS_AHEAD < len(st.trace):
        comes_soon(st, st.trace[row + ROWS_AHEAD].kind, st.trace[row + ROWS_AHEAD].number)
    kind, number = st.trace[row].kind, st.trace[row].number
    if kind == E_MESSAGE:
        message = st.messages[number]
        ahead(st.clients, message.session)
        ahead(st.sessions, message.session)
        ahead(st.room_start, message.room)
        if st.asked[0].keeps_seats:
            ahead(st.rooms, message.room)
            lists_ahead(st, message.room)
    elif kind == E_LOGIN:
        ahead(st.users, st.sessions[number].user)


@compiled
def comes_soon(st: State, kind: int, number: int) -> None:
    """A row of the trace comes soon: its message, or its session."""
    if kind == E_MESSAGE:
        ahead(st.messages, number)
    elif kind == E_LOGIN:
        ahead(st.sessions, number)
        ahead(st.clients, number)


@compiled
def nears(st: State, kind: int, one: int, two: int) -> None:
    """An event is among the next to happen: whose it is."""
    if kind == E_UPLINK:
        ahead(st.sessions, two)
        audience_nears(st, one)
    elif E_LOGIN <= kind <= E_TRIES or kind in (E_DELIVERED, E_PACKET):
        ahead(st.sessions, one)
        if kind <= E_TRIES:
            ahead(st.clients, one)
        if kind in (E_CONNECTED, E_LEAVE, E_NOTICED):
            ahead(st.users, two)


@compiled
def begun(st: State, message: int) -> None:
    """A message is on its way to its gateway: where its audience is."""
    if not st.asked[0].fetches:
        return
    room = st.messages[message].room
    ahead(st.member, st.room_start[room])
    if st.asked[0].keeps_seats:
        first = place_of(st, room, 0)
        if first >= 0:
            ahead(st.places, first)
            ahead(st.places, first + min(st.asked[0].gateways, ABREAST) - 1)


@compiled
def audience_nears(st: State, message: int) -> None:
    """A message will soon be at its gateway: its audience, or their seats."""
    asked, room = st.asked[0], st.messages[message].room
    ahead(st.messages, message)
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
def arrived(st: State, message: int) -> None:
    """A message is at its gateway: the first sessions that will get it."""
    asked = st.asked[0]
    if not asked.fetches:
        return
    room = st.messages[message].room
    if not asked.keeps_seats:
        for place in range(st.room_start[room], few_of(st, room)):
            ahead(st.sessions, max(st.here[st.member[place]], 0))
        return
    first = place_of(st, room, 0)
    if first >= 0:
        for place in range(first, first + min(asked.gateways, ABREAST)):
            if st.places[place].count:
                seat = st.seats[st.places[place].first]
                ahead(st.sessions, seat.session)
                ahead(st.seats, max(seat.next, 0))


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
