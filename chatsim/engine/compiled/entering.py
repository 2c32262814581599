"""Coming into rooms while a run goes on, and out of them, as in :mod:`chatsim.engine.entering`."""

from __future__ import annotations

from chatsim.engine.compiled.clients import send
from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.events import at, soon
from chatsim.engine.compiled.kinds import E_IDLE, E_IDLES
from chatsim.engine.compiled.places import ENTERED, counted_in, drop_seat, into, is_in
from chatsim.engine.compiled.pools import link, unlink
from chatsim.engine.compiled.queries import asks, query_for
from chatsim.engine.compiled.requests import add_request, count_in, subscription
from chatsim.engine.compiled.rules import leaves_when_idle, publishes_per_recipient, room_channel
from chatsim.engine.compiled.state import NONE, State
from chatsim.engine.compiled.stations import flush
from chatsim.rules.routing import ROOM


@compiled
def entry_of(st: State, session: int, room: int) -> int:
    """The link that says when a session that came into a room has last written there, or -1."""
    here: int = st.sessions[session].entered
    while here >= 0 and st.links[here].one != room:
        here = st.links[here].next
    return here


@compiled
def add_entry(st: State, session: int, room: int) -> None:
    """A session is in a room of which its user is no member, behind those into which it came before."""
    new, here = link(st, room, 0, st.now[0].time_s), st.sessions[session].entered
    if here < 0:
        st.sessions[session].entered = new
        return
    while st.links[here].next >= 0:
        here = st.links[here].next
    st.links[here].next = new


@compiled
def drop_entry(st: State, session: int, room: int) -> None:
    """A session is in a room no longer."""
    before, here = NONE, st.sessions[session].entered
    while st.links[here].one != room:
        before, here = here, st.links[here].next
    following = unlink(st, here)
    if before >= 0:
        st.links[before].next = following
    else:
        st.sessions[session].entered = following


@compiled
def enter(st: State, session: int, room: int, story: int, subject: int) -> bool:
    """The server joins a session to a room of which its user is no member; True where the ``story`` of a ``subject``
    goes on at once, and not after what must be asked."""
    asked, entry = st.asked[0], entry_of(st, session, room)
    if entry >= 0:
        st.links[entry].value = st.now[0].time_s
        return True
    add_entry(st, session, room)
    query, last = query_for(st, story, subject, session), NONE
    gateway = st.sessions[session].gateway
    if not publishes_per_recipient(asked.routing) and into(st, session, room, NONE, ENTERED) and asked.routing == ROOM:
        channel = link(st, room_channel(room), 0, 0.0)
        last = add_request(st, query, last, subscription(st, gateway, channel, 1))
    if asked.asks_members:
        last = add_request(st, query, last, count_in(st, session, room, 1))
    else:
        counted_in(st, st.sessions[session].user, room, 1)
    if asked.leaves_idle:
        soon(st, E_IDLES, session, room, NONE)
    return not asks(st, query)


@compiled
def idles(st: State, session: int, room: int) -> None:
    """A session that came into a room leaves it when it has written nothing there for a while."""
    entry = entry_of(st, session, room)
    if entry >= 0:
        due_s = st.links[entry].value + st.asked[0].leave_idle_s
        at(st, max(st.now[0].time_s, due_s), E_IDLE, session, room, NONE)


@compiled
def is_idle(st: State, session: int, room: int) -> None:
    """A session leaves a room now, unless it has written there since."""
    entry = entry_of(st, session, room)
    if entry < 0:
        return
    if not leaves_when_idle(st.links[entry].value, st.now[0].time_s, st.asked[0].leave_idle_s):
        idles(st, session, room)
        return
    asked, gateway = st.asked[0], st.sessions[session].gateway
    drop_entry(st, session, room)
    if is_in(st, session, room) and drop_seat(st, session, room) and asked.routing == ROOM:
        leaving = subscription(st, gateway, link(st, room_channel(room), 0, 0.0), -1)
        send(st, gateway, st.jobs[leaving].place, leaving)
    takes_out(st, session, room)
    flush(st, gateway)


@compiled
def takes_out(st: State, session: int, room: int) -> None:
    """Takes a user out of the set of a room that a session of it came into."""
    if st.asked[0].asks_members:
        leaving = count_in(st, session, room, -1)
        send(st, st.sessions[session].gateway, st.jobs[leaving].place, leaving)
    else:
        counted_in(st, st.sessions[session].user, room, -1)


@compiled
def leaves_all(st: State, session: int) -> None:
    """A session that is taken off leaves the rooms that it came into."""
    here = st.sessions[session].entered
    st.sessions[session].entered = NONE
    while here >= 0:
        takes_out(st, session, st.links[here].one)
        here = unlink(st, here)
