"""Where things are: who is held where, in which rooms, who subscribes to what, and what waits for whom."""

from __future__ import annotations

import math

from chatsim.engine.compiled import fetching
from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.kinds import DATABASE_TIER, NODE_TIER
from chatsim.engine.compiled.memory import grown
from chatsim.engine.compiled.pools import link, place_made, place_of, unlink
from chatsim.engine.compiled.rules import (
    presence_channel,
    publish_node,
    room_channel,
    server_channel,
    standing_channel,
    subscribe_node,
    user_channel,
)
from chatsim.engine.compiled.state import NONE, State
from chatsim.rules.presence import FRIENDS
from chatsim.rules.routing import CLUSTER, GLOBAL_CHANNEL, PRESENCE_CHANNELS, ROOM, SHARDED, USER


@compiled
def node_of(st: State, channel: int) -> int:
    """The station of the broker node that takes a PUBLISH on a channel, or holds the keys of its user or room."""
    asked = st.asked[0]
    return int(asked.gateways + publish_node(channel, asked.topology, asked.nodes))


@compiled
def node_to_hear(st: State, channel: int, gateway: int) -> int:
    """The station of the broker node at which a gateway subscribes to a channel."""
    asked = st.asked[0]
    return int(asked.gateways + subscribe_node(channel, gateway, asked.topology, asked.nodes))


@compiled
def database(st: State) -> int:
    """The station of the database."""
    return int(st.asked[0].gateways + st.asked[0].nodes)


@compiled
def store_of_room(st: State, room: int) -> int:
    """The station where messages of a room are stored."""
    return database(st) if st.asked[0].store_in_database else node_of(st, room_channel(room))


@compiled
def store_of_user(st: State, user: int) -> int:
    """The station where what a user has missed is read."""
    return database(st) if st.asked[0].store_in_database else node_of(st, user_channel(user))


@compiled
def link_s(st: State, station: int, place: int) -> float:
    """The time of one way between two stations."""
    far = st.stations[station].tier == DATABASE_TIER or st.stations[place].tier == DATABASE_TIER
    return float(st.asked[0].database_link_s if far else st.asked[0].broker_link_s)


# ---------------------------------------------------------------------- channels


@compiled
def row_of_channel(st: State, channel: int, node: int) -> int:
    """The row of a channel at a broker node: the global one, those of users, of rooms, of gateways, of presence."""
    asked = st.asked[0]
    every = asked.users + asked.total_rooms + asked.users
    row = 0
    if channel >= PRESENCE_CHANNELS:
        row = 1 + every + asked.gateways + channel - PRESENCE_CHANNELS
    elif channel > 0:
        kind, number = (channel - 1) % 3, (channel - 1) // 3
        row = 1 + number + (0 if kind == 0 else asked.users if kind == 1 else every)
    if asked.topology == CLUSTER:
        row += (node - asked.gateways) * asked.channels
    return int(row)


@compiled
def channel_of(st: State, row: int) -> int:
    """The channel of a row, as :func:`row_of_channel` counts them."""
    asked = st.asked[0]
    every = asked.users + asked.total_rooms + asked.users
    row %= asked.channels
    if row > every + asked.gateways:
        return presence_channel(row - 1 - every - asked.gateways)
    if row == 0:
        return GLOBAL_CHANNEL
    if row <= asked.users:
        return user_channel(row - 1)
    if row <= every:
        return room_channel(row - 1 - asked.users)
    return server_channel(row - 1 - every)


@compiled
def rows_of(st: State, node: int) -> tuple[int, int]:
    """From where to where the rows are in which the channels of a node stand, maybe among those of others."""
    if st.asked[0].topology != CLUSTER:
        return 0, len(st.channel_first)
    block = len(st.channel_first) // st.asked[0].nodes
    first = (node - st.asked[0].gateways) * block
    return first, first + block


@compiled
def is_row_of(st: State, row: int, node: int) -> bool:
    """Whether a row is one of a node."""
    return bool(st.asked[0].topology != SHARDED or node_of(st, channel_of(st, row)) == node)


@compiled
def line_of(st: State, node: int, gateway: int) -> int:
    """The row of the connection between a broker node and a gateway."""
    return int((node - st.asked[0].gateways) * st.asked[0].gateways + gateway)


@compiled
def find_subscriber(st: State, row: int, gateway: int) -> int:
    """A gateway's link in the row of a channel, or -1. Its ``two`` is 1 where it wants the channel, but is away."""
    here = st.channel_first[row]
    while here >= 0 and st.links[here].one != gateway:
        here = st.links[here].next
    return int(here)


@compiled
def add_subscriber(st: State, row: int, gateway: int, wants: int) -> None:
    """A gateway is the last to subscribe to a channel, or to want it."""
    new = link(st, gateway, wants, 0.0)
    here = st.channel_first[row]
    if here < 0:
        st.channel_first[row] = new
        return
    while st.links[here].next >= 0:
        here = st.links[here].next
    st.links[here].next = new


@compiled
def drop_subscriber(st: State, row: int, gateway: int) -> None:
    """A gateway does not subscribe to a channel any more."""
    before, here = NONE, st.channel_first[row]
    while st.links[here].one != gateway:
        before, here = here, st.links[here].next
    following = unlink(st, here)
    if before >= 0:
        st.links[before].next = following
    else:
        st.channel_first[row] = following


@compiled
def change_subscription(st: State, node: int, channel: int, gateway: int, change: int) -> None:
    """A gateway subscribes (+1) to a channel at a node or unsubscribes (-1), and that is noted; one that is away will
    when it is back."""
    if st.lines[line_of(st, node, gateway)].away:
        wanted(st, node, channel, gateway, change)
        return
    row = row_of_channel(st, channel, node)
    here = find_subscriber(st, row, gateway)
    if change > 0 and here < 0:
        add_subscriber(st, row, gateway, 0)
    elif change < 0 and here >= 0:
        drop_subscriber(st, row, gateway)
    note_subscription(st, node, change)


@compiled
def wanted(st: State, node: int, channel: int, gateway: int, change: int) -> None:
    """A gateway that is away wants a channel (+1), or no longer (-1)."""
    line = line_of(st, node, gateway)
    if not st.lines[line].away:
        return
    row = row_of_channel(st, channel, node)
    here = find_subscriber(st, row, gateway)
    if change > 0 and here < 0:
        add_subscriber(st, row, gateway, 1)
        st.lines[line].wanted += 1
    elif change < 0 and here >= 0:
        drop_subscriber(st, row, gateway)
        st.lines[line].wanted -= 1


@compiled
def note_subscription(st: State, node: int, change: int) -> None:
    """A node has one subscription more, or less."""
    note = st.now[0].subscriptions
    st.now[0].subscriptions += 1
    if st.now[0].subscriptions > len(st.subscriptions):
        st.subscriptions = grown(st.subscriptions)
    st.subscriptions[note].time_s = st.now[0].time_s
    st.subscriptions[note].node, st.subscriptions[note].change = node, change


@compiled
def channel_at_start(st: State, gateway: int) -> int:
    """The channel to which a gateway subscribes when it starts, or -1."""
    asked = st.asked[0]
    if asked.routing == ROOM and (asked.creates_rooms or asked.tells_all):
        return GLOBAL_CHANNEL
    return standing_channel(asked.routing, gateway)


# ---------------------------------------------------------------------- connections


@compiled
def hold(st: State, session: int) -> None:
    """A gateway has one connection more."""
    row = st.sessions[session]
    home = st.stations[row.gateway]
    row.held, row.life = 1, home.life
    st.connections[row.gateway] += 1
    if not st.asked[0].lists_held:
        return
    row.held_previous, row.held_next = home.held_last, NONE
    if home.held_last >= 0:
        st.sessions[home.held_last].held_next = session
    else:
        home.held_first = session
    home.held_last = session


@compiled
def released(st: State, session: int) -> None:
    """A gateway has one connection less."""
    row = st.sessions[session]
    home = st.stations[row.gateway]
    row.held = 0
    st.connections[row.gateway] -= 1
    if not st.asked[0].lists_held:
        return
    if row.held_previous >= 0:
        st.sessions[row.held_previous].held_next = row.held_next
    else:
        home.held_first = row.held_next
    if row.held_next >= 0:
        st.sessions[row.held_next].held_previous = row.held_previous
    else:
        home.held_last = row.held_previous


# ---------------------------------------------------------------------- rooms

ENTERED = 1 << 29
WATCHING = 1 << 30
"""The ranks of seats of those who came into a room, behind those in rooms of their own, and of those who watch."""


@compiled
def watch_room(st: State, user: int) -> int:
    """The number of what stands for a room: in it are the sessions that watch a user's presence."""
    return int(st.asked[0].total_rooms + st.asked[0].users + user)


@compiled
def add_channel(st: State, last: int, room: int) -> int:
    """Adds the channel of a room, or of one's presence, to a list; its link."""
    watched = room - watch_room(st, 0)
    channel = presence_channel(watched) if watched >= 0 else room_channel(room)
    st.links[last].next = link(st, channel, 0, 0.0)
    return int(st.links[last].next)


@compiled
def members_here(st: State, room: int, gateway: int) -> int:
    """How many sessions of a gateway are in a room."""
    place = place_of(st, room, gateway)
    return 0 if place < 0 else st.places[place].count


@compiled
def into(st: State, session: int, room: int, position: int, rank: int) -> bool:
    """A session comes into a room at its gateway, behind those who are there; whether it is the first one.

    Its own seats stand in the order of their ``rank``, and of time.
    """
    place = place_made(st, room, st.sessions[session].gateway)
    first = st.places[place].count == 0
    now = st.now[0]
    row = now.free_seat
    if row >= 0:
        now.free_seat = st.seats[row].next
    else:
        row = now.seats
        now.seats += 1
        if now.seats > len(st.seats):
            st.seats = grown(st.seats)
    last = st.places[place].last
    seat = st.seats[row]
    seat.session, seat.position, seat.room, seat.place, seat.rank = session, position, room, place, rank
    seat.previous, seat.next = last, NONE
    if last >= 0:
        st.seats[last].next = row
    else:
        st.places[place].first = row
    st.places[place].last = row
    st.places[place].count += 1
    add_own(st, session, row, rank)
    return bool(first)


@compiled
def add_own(st: State, session: int, row: int, rank: int) -> None:
    """A seat is a session's own, behind those of its rank and of lower ones."""
    person = st.sessions[session]
    before, following = person.seat_last, NONE
    if before >= 0 and st.seats[before].rank > rank:
        before, following = NONE, person.seat_first
        while st.seats[following].rank <= rank:
            before, following = following, st.seats[following].next_own
    st.seats[row].next_own = following
    if before >= 0:
        st.seats[before].next_own = row
    else:
        person.seat_first = row
    if following < 0:
        person.seat_last = row


@compiled
def drop_seat(st: State, session: int, room: int) -> bool:
    """A session leaves one room; whether it was the last one there at its gateway."""
    person = st.sessions[session]
    before, row = NONE, person.seat_first
    while st.seats[row].room != room:
        before, row = row, st.seats[row].next_own
    following = st.seats[row].next_own
    if before >= 0:
        st.seats[before].next_own = following
    else:
        person.seat_first = following
    if following < 0:
        person.seat_last = before
    return out_of(st, row)


@compiled
def is_in(st: State, session: int, room: int) -> bool:
    """Whether a session is in a room at its gateway."""
    seat = st.sessions[session].seat_first
    while seat >= 0 and st.seats[seat].room != room:
        seat = st.seats[seat].next_own
    return bool(seat >= 0)


@compiled
def out_of(st: State, row: int) -> bool:
    """A session leaves its seat in a room; whether it was the last one there at its gateway."""
    seat = st.seats[row]
    place, previous, following = seat.place, seat.previous, seat.next
    if previous >= 0:
        st.seats[previous].next = following
    else:
        st.places[place].first = following
    if following >= 0:
        st.seats[following].previous = previous
    else:
        st.places[place].last = previous
    st.places[place].count -= 1
    seat.next = st.now[0].free_seat
    st.now[0].free_seat = row
    return bool(st.places[place].count == 0)


@compiled
def own_session(st: State, message: int) -> int:
    """The session in which a message is written: the one that its device has now. A device of the trace is a client
    with the number of its session there."""
    return int(st.sessions[st.messages[message].session].current)


@compiled
def sessions_here(st: State, user: int, gateway: int) -> int:
    """How many sessions of a user a gateway has taken on."""
    count = 0
    session = st.here[user]
    while session >= 0:
        count += st.sessions[session].gateway == gateway
        session = st.sessions[session].next_here
    return count


@compiled
def join(st: State, session: int) -> int:
    """Takes a session on at its gateway; a list of the channels to which that must now subscribe."""
    user, gateway = st.sessions[session].user, st.sessions[session].gateway
    st.sessions[session].registered = 1
    person = st.users[user]
    person.held += 1
    person.came_s = st.now[0].time_s
    st.sessions[session].next_here = NONE
    if person.last >= 0:
        st.sessions[person.last].next_here = session
    else:
        st.here[user] = session
    person.last = session
    st.now[0].joins += 1
    st.sessions[session].joined = st.now[0].joins
    head = last = link(st, NONE, 0, 0.0)
    routing = st.asked[0].routing
    if routing == USER and sessions_here(st, user, gateway) == 1:
        last = st.links[head].next = link(st, user_channel(user), 0, 0.0)
    if st.asked[0].keeps_seats:
        fetching.joins(st, user, gateway)
        for own in range(st.own_start[user], st.own_start[user + 1]):
            room = st.own_room[own]
            if is_there(st, room) and into(st, session, room, st.own_place[own], own) and routing == ROOM:
                last = add_channel(st, last, room)
    if st.asked[0].watches:
        watch(st, session, last)
    return unlink(st, head)


@compiled
def watch(st: State, session: int, last: int) -> None:
    """A session starts to watch those that it is shown; channels that its gateway now needs are added to a list."""
    asked, user = st.asked[0], st.sessions[session].user
    is_needed = asked.routing == ROOM
    if asked.shown_to == FRIENDS:
        for place in range(st.friend_start[user], st.friend_start[user + 1]):
            room = watch_room(st, st.friend[place])
            if into(st, session, room, NONE, WATCHING) and is_needed:
                last = add_channel(st, last, room)
    elif session < len(st.listed_start) - 1:
        for place in range(st.listed_start[session], st.listed_start[session + 1]):
            room = watch_room(st, st.listed[place])
            if into(st, session, room, NONE, WATCHING) and is_needed:
                last = add_channel(st, last, room)


@compiled
def part(st: State, session: int) -> int:
    """Takes a session off; a list of the channels that its gateway no longer needs.

    It stays in a room that a message would have created that was lost.
    """
    user, gateway = st.sessions[session].user, st.sessions[session].gateway
    person = st.users[user]
    person.held -= 1
    fetching.parts(st, session)
    before, here = NONE, st.here[user]
    while here != session:
        before, here = here, st.sessions[here].next_here
    following = st.sessions[session].next_here
    if before >= 0:
        st.sessions[before].next_here = following
    else:
        st.here[user] = following
    if following < 0:
        person.last = before
    head = last = link(st, NONE, 0, 0.0)
    if st.asked[0].routing == USER and sessions_here(st, user, gateway) == 0:
        last = st.links[head].next = link(st, user_channel(user), 0, 0.0)
    seat = st.sessions[session].seat_first
    st.sessions[session].seat_first = st.sessions[session].seat_last = NONE
    while seat >= 0:
        following, room, rank = st.seats[seat].next_own, st.seats[seat].room, st.seats[seat].rank
        if rank < ENTERED and not is_there(st, room):
            add_own(st, session, seat, rank)
        elif out_of(st, seat) and st.asked[0].routing == ROOM:
            last = add_channel(st, last, room)
        seat = following
    return unlink(st, head)


@compiled
def position_of(st: State, message: int, user: int) -> int:
    """A user's place in the room that a message is meant for, or -1."""
    room = st.messages[message].meant
    start, end = st.room_start[room], st.room_start[room + 1]
    low, high = start, end
    while low < high:
        middle = (low + high) // 2
        if st.member[middle] < user:
            low = middle + 1
        else:
            high = middle
    return int(low - start) if low < end and st.member[low] == user else NONE


@compiled
def hearers(st: State, message: int) -> int:
    """How many users are in the room in which a message is broadcast, the sender where its devices get copies."""
    asked, row = st.asked[0], st.messages[message]
    count = st.room_start[row.room + 1] - st.room_start[row.room] - (row.room < asked.total_rooms)
    here = comers(st, row.room)
    while here >= 0:
        count += st.links[here].one != row.sender
        here = st.links[here].next
    return int(count + asked.own_devices)


@compiled
def is_there(st: State, room: int) -> bool:
    """Whether a room has been created."""
    return not st.asked[0].creates_rooms or bool(st.rooms[room].exists)


@compiled
def comers(st: State, room: int) -> int:
    """The first of those who are in a room, but no members of it, or -1."""
    return int(st.rooms[room].entered) if st.asked[0].enters else NONE


@compiled
def counted_in(st: State, user: int, room: int, change: int) -> None:
    """One session more or less of a user that is no member is in a room; those who are stand in ascending order."""
    before, here = NONE, st.rooms[room].entered
    while here >= 0 and st.links[here].one < user:
        before, here = here, st.links[here].next
    if here >= 0 and st.links[here].one == user:
        st.links[here].two += change
        following = here if st.links[here].two else unlink(st, here)
    else:
        following = link(st, user, change, 0.0)
        st.links[following].next = here
    if before >= 0:
        st.links[before].next = following
    else:
        st.rooms[room].entered = following


# ---------------------------------------------------------------------- rooms that messages create


@compiled
def is_founding(st: State, message: int) -> bool:
    """Whether a message is the first one of its room, which it creates."""
    return bool(st.asked[0].creates_rooms and st.rooms[st.messages[message].room].founding == message)


@compiled
def has_members(st: State, room: int, gateway: int) -> bool:
    """Whether a gateway holds a member of a room, in it or not."""
    for place in range(st.room_start[room], st.room_start[room + 1]):
        if sessions_here(st, st.member[place], gateway):
            return True
    return False


@compiled
def hears_all(st: State, room: int) -> None:
    """All gateways that were asked to join a new room have subscribed by now, unless one has not."""
    row = st.rooms[room]
    if not row.not_joined and row.waits == 0 and not math.isnan(st.messages[row.founding].done_s):
        row.ready_s = st.now[0].time_s


@compiled
def one_more_hears(st: State, room: int) -> None:
    """One gateway more has subscribed to a new room."""
    st.rooms[room].waits -= 1
    hears_all(st, room)


# ---------------------------------------------------------------------- registry


@compiled
def register(st: State, user: int, gateway: int, change: int) -> None:
    """The registry counts one session more or less of a user on a gateway."""
    before, here = NONE, st.users[user].registered
    while here >= 0 and st.links[here].one != gateway:
        before, here = here, st.links[here].next
    if here < 0:
        new = link(st, gateway, change, 0.0)
        if before >= 0:
            st.links[before].next = new
        else:
            st.users[user].registered = new
        return
    st.links[here].two += change
    if st.links[here].two == 0:
        following = unlink(st, here)
        if before >= 0:
            st.links[before].next = following
        else:
            st.users[user].registered = following


@compiled
def is_node(st: State, station: int) -> bool:
    """Whether a station is a broker node."""
    return bool(st.stations[station].tier == NODE_TIER)
