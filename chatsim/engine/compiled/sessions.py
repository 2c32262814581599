"""The life of a session, as in :mod:`chatsim.engine.journey`."""

from __future__ import annotations

from chatsim.engine.compiled.access import renewed
from chatsim.engine.compiled.chat import came, does, end_request, sign_in, sign_out, stands, went
from chatsim.engine.compiled.clients import (
    cut_off,
    forget_live,
    gone,
    is_among,
    received,
    send,
    send_to_session,
    sends,
    unacked_now,
    wake_all,
)
from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.entering import leaves_all
from chatsim.engine.compiled.events import at, soon
from chatsim.engine.compiled.intruders import goes_in, will_renew
from chatsim.engine.compiled.kinds import (
    CLOSE,
    DUPLICATE,
    E_CONNECTED,
    E_FINDS_NOBODY,
    E_GOODBYE,
    E_LEAVE,
    E_NOTICED,
    E_NOTICES,
    E_REFRESHES,
    E_SHED,
    E_TIMES_OUT,
    E_WELCOMED,
    INTRUDERS,
    J_CLOSE,
    J_LOGIN,
    J_REQUEST,
    J_SYNC,
    J_SYNCED,
    J_UPDATE,
    LEFT,
    LOGIN,
    MEMBERS,
    PARSE,
    Q_LOADED,
    Q_SUBSCRIBED,
    READ_LATER,
    RECOVER,
    RELATION,
    S_ABANDONED,
    S_FAILED,
    S_LEFT,
    S_ONLINE,
    S_REFUSED,
    TOUCH_ONE,
    UPDATE,
    WRITE,
)
from chatsim.engine.compiled.lists import add_lists, length
from chatsim.engine.compiled.memory import grown
from chatsim.engine.compiled.messages import goes_on
from chatsim.engine.compiled.outbox import lose_row, note_row
from chatsim.engine.compiled.places import (
    change_subscription,
    database,
    hold,
    is_there,
    join,
    node_of,
    node_to_hear,
    one_more_hears,
    part,
    register,
    released,
    store_of_user,
)
from chatsim.engine.compiled.pools import new_job, unlink
from chatsim.engine.compiled.queries import asks, query_for
from chatsim.engine.compiled.requests import add_request, group_by_node, request, subscription
from chatsim.engine.compiled.rules import keeps_registry, place, tokens_now, user_channel
from chatsim.engine.compiled.state import NONE, State

CLOSING, ONE_WAY, SILENCE = range(3)
"""How a gateway notices that a session is gone: it closes it itself, is told, or hears nothing any more."""

# ---------------------------------------------------------------------- login


@compiled
def admits(st: State) -> bool:
    """Whether the balancer lets one more connection through at this moment."""
    asked, now = st.asked[0], st.now[0]
    if asked.connections_per_s == 0.0:
        return True
    idle_s = now.time_s - now.admission_s
    tokens = tokens_now(now.admission_left, idle_s, asked.connections_per_s, asked.admission_burst)
    passes = tokens >= 1.0
    now.admission_left, now.admission_s = (tokens - 1.0 if passes else tokens), now.time_s
    return bool(passes)


@compiled
def take_place(st: State, session: int) -> bool:
    """The balancer places a session on a gateway; False where none has room."""
    asked, row = st.asked[0], st.sessions[session]
    last = st.users[row.user].last_gateway
    number = place(asked.placement, st.now[0].arrivals, row.user, st.connections, asked.connections_max, last, st.out)
    st.now[0].arrivals += 1
    if number < 0:
        return False
    row.gateway = number
    if st.stations[number].up:
        hold(st, session)
    st.users[row.user].last_gateway = number
    return True


@compiled
def login(st: State, session: int) -> None:
    """A session sends its first packet."""
    if not (admits(st) and take_place(st, session)):
        gone(st, session, S_REFUSED)
        return
    row, asked, now_s = st.sessions[session], st.asked[0], st.now[0].time_s
    row.live = 1
    at(st, row.end_s, E_LEAVE, session, row.user, NONE)
    at(st, now_s + asked.connect_timeout_s, E_TIMES_OUT, session, NONE, NONE)
    if not st.stations[row.gateway].up:
        row.cut = 1
        if not st.stations[row.gateway].silent:
            at(st, now_s + 2 * row.link_s, E_FINDS_NOBODY, session, NONE, NONE)
        return
    at(st, now_s + (2 * asked.trips + 1) * row.link_s, E_CONNECTED, session, row.user, NONE)


@compiled
def connected(st: State, session: int) -> None:
    """The handshake reaches the gateway, which refuses it where too much waits."""
    row, asked = st.sessions[session], st.asked[0]
    if row.gone or row.cut:
        return
    if asked.shed_above and st.stations[row.gateway].length > asked.shed_above:
        released(st, session)
        row.cut = 1
        at(st, st.now[0].time_s + row.link_s, E_SHED, session, NONE, NONE)
        return
    does(st, row.gateway, J_LOGIN, LOGIN, asked.login_us, session, row.user)


@compiled
def shed(st: State, session: int) -> None:
    """A client hears that its login was refused."""
    if not st.sessions[session].gone:
        gone(st, session, S_REFUSED)


@compiled
def finds_nobody(st: State, session: int) -> None:
    """A client hears that the machine of its gateway has no gateway."""
    if not st.sessions[session].gone:
        gone(st, session, S_FAILED)


@compiled
def login_fails(st: State, session: int) -> None:
    """A gateway that cannot ask what it must closes the session; one that has died says nothing."""
    row = st.sessions[session]
    if not row.gone and row.life == st.stations[row.gateway].life:
        cut_off(st, session, st.now[0].time_s + row.link_s)
        soon(st, E_GOODBYE, session, CLOSING, NONE)


@compiled
def end_subscribe(st: State, station: int, job: int) -> None:
    """A broker node knows what a gateway wants to hear."""
    here, change, gateway = st.jobs[job].first, st.jobs[job].change, st.jobs[job].gateway
    while here >= 0:
        change_subscription(st, station, st.links[here].one, gateway, change)
        here = st.links[here].next
    if st.jobs[job].recipient >= 0:
        one_more_hears(st, st.jobs[job].recipient)
    end_request(st, station, job)


@compiled
def end_update(st: State, station: int, job: int) -> None:
    """The registry has one session more or less of a user."""
    register(st, st.jobs[job].user, st.jobs[job].gateway, st.jobs[job].change)
    end_request(st, station, job)


@compiled
def update(st: State, session: int, change: int) -> int:
    """A request to change the registry of users' sessions."""
    row = st.sessions[session]
    job = request(st, J_UPDATE, row.gateway, row.user, UPDATE, st.asked[0].update_us)
    st.jobs[job].change, st.jobs[job].place = change, node_of(st, user_channel(row.user))
    return job


@compiled
def end_login(st: State, station: int, job: int) -> None:
    """The gateway has checked a session: it reads what it must know of its user."""
    session = st.jobs[job].session
    if st.sessions[session].gone or st.sessions[session].cut:
        return
    renewed(st, session)
    query, last = query_for(st, Q_LOADED, session, session), NONE
    if st.asked[0].asks_members:
        last = add_request(st, query, last, rooms_of(st, session))
    if st.asked[0].reads_friends:
        last = add_request(st, query, last, friends_of(st, session))
    if st.asked[0].loads:
        last = add_lists(st, query, last, session)
        st.sessions[session].listed = length(st, session)
    if not asks(st, query):
        loaded(st, session)


@compiled
def rooms_of(st: State, session: int) -> int:
    """A request for the rooms that a user is in."""
    row, asked, rooms = st.sessions[session], st.asked[0], 0
    for own in range(st.own_start[row.user], st.own_start[row.user + 1]):
        rooms += is_there(st, st.own_room[own])
    cost_us = asked.lookup_us + asked.lookup_user_us * rooms
    job = request(st, J_REQUEST, row.gateway, row.user, MEMBERS, cost_us)
    st.jobs[job].place = node_of(st, user_channel(row.user))
    return job


@compiled
def friends_of(st: State, session: int) -> int:
    """A request for the friends of a user, to whom it may write."""
    row, asked = st.sessions[session], st.asked[0]
    cost_us = asked.friends_us + asked.friend_us * (st.friend_start[row.user + 1] - st.friend_start[row.user])
    job = request(st, J_REQUEST, row.gateway, row.user, RELATION, cost_us)
    st.jobs[job].place = database(st)
    return job


@compiled
def loaded(st: State, session: int) -> None:
    """The gateway takes a session on: it subscribes to what it now needs, and says that its user is online."""
    row, asked = st.sessions[session], st.asked[0]
    if row.gone or row.cut:
        return
    station, rest = row.gateway, join(st, session)
    query, last = query_for(st, Q_SUBSCRIBED, session, session), NONE
    while rest >= 0:
        first = rest
        rest = group_by_node(st, first, station)
        last = add_request(st, query, last, subscription(st, station, first, 1))
    if keeps_registry(asked.routing):
        last = add_request(st, query, last, update(st, session, 1))
    if asked.keeps_presence and not asked.has_broker:
        came(st, row.user, station)
    elif asked.keeps_presence:
        signing = sign_in(st, session)
        st.jobs[signing].place = node_of(st, user_channel(row.user))
        last = add_request(st, query, last, signing)
        soon(st, E_REFRESHES, session, NONE, NONE)
    if asked.renews:
        will_renew(st, session, st.now[0].time_s)
    if not asks(st, query):
        subscribed(st, session)


@compiled
def subscribed(st: State, session: int) -> None:
    """The gateway hears what it must: it asks what the user has missed, or says welcome."""
    row, asked = st.sessions[session], st.asked[0]
    if row.gone or row.cut:
        return
    if not asked.keeps_missed:
        welcome(st, session, 0, 0)
        return
    reply = new_job(st, J_SYNCED)
    st.jobs[reply].session = session
    job = new_job(st, J_SYNC)
    sync = st.jobs[job]
    sync.session, sync.gateway, sync.reply, sync.touch = session, row.gateway, reply, TOUCH_ONE
    sync.cost_us, sync.luck = asked.sync_us, row.sync_luck
    send(st, row.gateway, store_of_user(st, row.user), job)


@compiled
def end_sync(st: State, station: int, job: int) -> None:
    """What a user has missed is read from the store."""
    asked, now = st.asked[0], st.now[0]
    session, gateway, reply = st.jobs[job].session, st.jobs[job].gateway, st.jobs[job].reply
    first, here = now.missed, st.users[st.sessions[session].user].box_first
    while here >= 0:
        now.missed += 1
        if now.missed > len(st.missed):
            st.missed = grown(st.missed)
        st.missed[now.missed - 1] = st.boxes[here].message
        here = st.boxes[here].next
    count = now.missed - first
    st.jobs[reply].source, st.jobs[reply].count = first, count
    st.jobs[reply].cost_us = asked.parse_us + asked.write_us * count
    st.work[station, RECOVER] += 1
    send(st, station, gateway, reply)


@compiled
def end_synced(st: State, station: int, job: int) -> None:
    """The gateway has read what a user has missed."""
    session, first, count = st.jobs[job].session, st.jobs[job].source, st.jobs[job].count
    st.work[station, PARSE] += 1
    if st.sessions[session].cut:
        return
    st.work[station, WRITE] += count
    welcome(st, session, first, count)


@compiled
def welcome(st: State, session: int, first: int, count: int) -> None:
    """The gateway says welcome; the missed messages travel in the same packet."""
    row = st.sessions[session]
    first_row, size_bytes = st.now[0].rows, 0
    row.synced, row.unread = first, count
    for missed in range(first, first + count):
        message = st.missed[missed]
        note_row(st, message, session, st.now[0].time_s, 0)
        size_bytes += st.letters[message].size_bytes
        row.synced_max = max(row.synced_max, message)
    send_to_session(st, session, float(size_bytes) + row.listed * st.asked[0].entry_bytes, E_WELCOMED, first_row)


@compiled
def welcomed(st: State, session: int, first_row: int) -> None:
    """The welcome reaches the session: it is online, and sends what it held back."""
    row = st.sessions[session]
    if row.gone:
        for place in range(first_row, first_row + row.unread):
            lose_row(st, place, LEFT)
        return
    row.online, row.online_s, row.fate = 1, st.now[0].time_s, S_ONLINE
    st.users[row.user].online += 1
    for place in range(first_row, first_row + row.unread):
        message = st.rows[place].message
        st.rows[place].fate = DUPLICATE if is_among(st, row.live_first, message) else READ_LATER
        received(st, place, message, session)
    forget_live(st, session)
    if row.cut:  # while the welcome was under way: the first ping will not come
        at(st, st.now[0].time_s + st.asked[0].ping_s + st.asked[0].ping_timeout_s, E_NOTICES, session, NONE, NONE)
    client = st.sessions[row.client]
    client.tries = 0
    unacked, here = unacked_now(st, row.client), client.waits_first
    client.waits_first = client.waits_last = NONE
    while here >= 0:
        who = st.links[here].one
        if who <= INTRUDERS:
            goes_in(st, INTRUDERS - who, session)
        else:
            client.waiting -= 1
            if st.links[here].two:
                sends(st, who, session)
            else:
                goes_on(st, who, session)
        here = unlink(st, here)
    wake_all(st, unacked)


# ---------------------------------------------------------------------- the end of a session


@compiled
def leaves(st: State, session: int) -> None:
    """The session goes away, whatever state it is in."""
    row = st.sessions[session]
    if row.gone:
        return
    gone(st, session, S_LEFT if row.online else S_ABANDONED)
    if row.cut:
        return
    if not row.silent:
        soon(st, E_GOODBYE, session, ONE_WAY, NONE)
    elif st.asked[0].notice_s > 0.0:
        soon(st, E_GOODBYE, session, SILENCE, NONE)


@compiled
def goodbye(st: State, session: int, how: int) -> None:
    """After a while the gateway will notice that a session is gone."""
    notice_s = 0.0
    if how == ONE_WAY:
        notice_s = st.sessions[session].link_s
    elif how == SILENCE:
        notice_s = st.asked[0].notice_s
    at(st, st.now[0].time_s + notice_s, E_NOTICED, session, st.sessions[session].user, NONE)


@compiled
def noticed(st: State, session: int) -> None:
    """The gateway notices that a session is gone, if it has not died meanwhile."""
    row = st.sessions[session]
    if row.life != st.stations[row.gateway].life:
        return
    does(st, row.gateway, J_CLOSE, CLOSE, st.asked[0].close_us, session, row.user)


@compiled
def end_close(st: State, station: int, job: int) -> None:
    """The gateway takes a session off, and says so."""
    session = st.jobs[job].session
    row, asked = st.sessions[session], st.asked[0]
    if not row.held:
        return
    released(st, session)
    if not row.registered:
        return
    rest = part(st, session)
    while rest >= 0:
        first = rest
        rest = group_by_node(st, first, station)
        leaving = subscription(st, station, first, -1)
        send(st, station, st.jobs[leaving].place, leaving)
    leaves_all(st, session)
    if keeps_registry(asked.routing):
        leaving = update(st, session, -1)
        send(st, station, st.jobs[leaving].place, leaving)
    if asked.keeps_presence and not asked.has_broker:
        went(st, row.user, station)
    elif asked.keeps_presence:
        sign_out(st, session)


@compiled
def times_out(st: State, session: int) -> None:
    """A login has taken too long."""
    row = st.sessions[session]
    if not row.gone and not row.online:
        gone(st, session, S_FAILED)
        if not row.cut:
            soon(st, E_GOODBYE, session, ONE_WAY, NONE)


# ---------------------------------------------------------------------- the state at time 0


@compiled
def standing(st: State, session: int) -> None:
    """A session that began before the run is online."""
    row, asked = st.sessions[session], st.asked[0]
    if not take_place(st, session):
        gone(st, session, S_REFUSED)
        return
    row.online, row.online_s, row.fate = 1, row.start_s, S_ONLINE
    st.users[row.user].online += 1
    if asked.loads:
        row.listed = length(st, session)
    rest = join(st, session)
    while rest >= 0:
        here = rest
        rest = group_by_node(st, here, row.gateway)
        while here >= 0:
            channel = st.links[here].one
            change_subscription(st, node_to_hear(st, channel, row.gateway), channel, row.gateway, 1)
            here = unlink(st, here)
    renewed(st, session)
    if asked.keeps_presence:
        stands(st, row.user)
    if asked.keeps_presence and asked.has_broker:
        soon(st, E_REFRESHES, session, NONE, NONE)
    if asked.renews:
        will_renew(st, session, row.start_s)
    if keeps_registry(asked.routing):
        register(st, row.user, row.gateway, 1)
    at(st, max(0.0, row.end_s), E_LEAVE, session, row.user, NONE)
