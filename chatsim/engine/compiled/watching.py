"""Who is shown a user's presence, as in :mod:`chatsim.engine.presence`. What is looked for stands in ``scratch``."""

from __future__ import annotations

from chatsim.engine.compiled.audience import find_local
from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.places import is_in, is_there, watch_room
from chatsim.engine.compiled.pools import add_link, place_of
from chatsim.engine.compiled.state import NONE, State
from chatsim.rules.presence import ALL, FRIENDS, ROOMS
from chatsim.rules.routing import ROOM, USER


@compiled
def add_user(st: State, count: int, user: int, stamp: int) -> int:
    """Puts a user behind the first ``count`` of those looked for, unless it bears the stamp; how many there are now."""
    if st.users[user].mark == stamp:
        return count
    st.users[user].mark = stamp
    st.scratch[count] = user
    return count + 1


@compiled
def in_order(st: State, count: int) -> int:
    """Sorts the first ``count`` of those looked for: ascending."""
    gap = count // 2
    while gap > 0:
        for place in range(gap, count):
            user, lower = st.scratch[place], place
            while lower >= gap and st.scratch[lower - gap] > user:
                st.scratch[lower] = st.scratch[lower - gap]
                lower -= gap
            st.scratch[lower] = user
        gap //= 2
    return count


@compiled
def find_neighbours(st: State, user: int) -> int:
    """Looks for the others in a user's rooms, ascending; how many there are."""
    st.now[0].stamp += 1
    stamp, count = st.now[0].stamp, 0
    st.users[user].mark = stamp
    for own in range(st.own_start[user], st.own_start[user + 1]):
        room = st.own_room[own]
        if is_there(st, room):
            for place in range(st.room_start[room], st.room_start[room + 1]):
                count = add_user(st, count, st.member[place], stamp)
    return in_order(st, count)


@compiled
def find_watchers(st: State, user: int) -> int:
    """Looks for those who watch a user in some session, ascending; how many there are."""
    st.now[0].stamp += 1
    stamp, count = st.now[0].stamp, 0
    for gateway in range(st.asked[0].gateways):
        place = place_of(st, watch_room(st, user), gateway)
        seat = NONE if place < 0 else st.places[place].first
        while seat >= 0:
            count = add_user(st, count, st.sessions[st.seats[seat].session].user, stamp)
            seat = st.seats[seat].next
    return in_order(st, count)


@compiled
def find_told(st: State, user: int) -> int:
    """Looks for those who are shown a user's presence, where each of them is told by a PUBLISH of its own."""
    shown_to, told = st.asked[0].shown_to, 0
    if shown_to == ALL:
        for other in range(st.asked[0].users):
            if other != user and st.users[other].registered >= 0:
                st.scratch[told] = other
                told += 1
        return told
    if shown_to != ROOMS:
        return find_watchers(st, user)
    for place in range(find_neighbours(st, user)):
        if st.users[st.scratch[place]].registered >= 0:
            st.scratch[told] = st.scratch[place]
            told += 1
    return told


@compiled
def meant_for(st: State, user: int) -> int:
    """How many users a change of a user's presence is meant for, online or not; all are all, the user too."""
    shown_to = st.asked[0].shown_to
    if shown_to == ALL:
        return int(st.asked[0].users)
    if shown_to == FRIENDS:
        return int(st.friend_start[user + 1] - st.friend_start[user])
    return find_neighbours(st, user) if shown_to == ROOMS else find_watchers(st, user)


@compiled
def find_watching(st: State, station: int, job: int) -> None:
    """The sessions of a gateway that are shown a user's presence: in the room, or of the user, of a job's scope."""
    asked, scope, user = st.asked[0], st.jobs[job].recipient, st.shown[st.jobs[job].row].user
    if asked.shown_to == ROOMS:
        find_in_rooms(st, station, job, scope, user)
    elif asked.routing == USER:
        session = st.here[scope]
        while session >= 0:
            is_here = st.sessions[session].gateway == station
            if is_here and (not asked.watches or is_in(st, session, watch_room(st, user))):
                add_link(st, job, session, 0)
            session = st.sessions[session].next_here
    elif asked.shown_to == ALL:
        session = st.stations[station].held_first
        while session >= 0:
            if st.sessions[session].registered and st.sessions[session].user != user:
                add_link(st, job, session, 0)
            session = st.sessions[session].held_next
    else:
        find_seated(st, station, job, watch_room(st, user), NONE)


@compiled
def find_in_rooms(st: State, station: int, job: int, scope: int, user: int) -> None:
    """The sessions of a gateway in the rooms of a user."""
    routing = st.asked[0].routing
    if routing == ROOM and scope >= 0:
        find_seated(st, station, job, scope, user)
    elif routing == USER:
        find_local(st, station, job, scope, NONE, 0)
    else:
        for place in range(find_neighbours(st, user)):
            find_local(st, station, job, st.scratch[place], NONE, 0)


@compiled
def find_seated(st: State, station: int, job: int, room: int, but: int) -> None:
    """The sessions in a room at a gateway, ``but`` those of one user."""
    place = place_of(st, room, station)
    seat = NONE if place < 0 else st.places[place].first
    while seat >= 0:
        session = st.seats[seat].session
        if st.sessions[session].user != but:
            add_link(st, job, session, 0)
        seat = st.seats[seat].next
