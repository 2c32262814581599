"""The life of a message, as in :mod:`chatsim.engine.messages`, :mod:`chatsim.engine.routes` and their jobs."""

from __future__ import annotations

import math

from chatsim.engine.compiled.begin import factor_of, own_session
from chatsim.engine.compiled.chat import pushes_for
from chatsim.engine.compiled.clients import carried, refuse, send, send_to_session, waits_for_connection, write
from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.events import at, soon
from chatsim.engine.compiled.kinds import (
    BUS,
    COMMAND,
    DELIVERED,
    E_ASKS,
    E_TOLD,
    E_UPLINK,
    J_FAN_OUT,
    J_LOOK_UP,
    J_LOOKED_UP,
    J_PUBLISH,
    J_RECEIVE,
    J_STORE,
    J_STORE_AFTER,
    J_STORED,
    LOOKUP,
    NO_CAUSE,
    NO_SESSION,
    NOT_BUFFERED,
    PARSE,
    PUBLISH,
    PUSH,
    RECEIVE,
    REFUSAL,
    STORE,
    STORE_AFTER,
    STORE_BEFORE,
    STORE_BESIDE,
    TOUCH_COMMANDS,
    TOUCH_ONE,
    WRITE,
)
from chatsim.engine.compiled.lists import finds, moves, noted
from chatsim.engine.compiled.places import (
    has_members,
    hearers,
    into_box,
    is_founding,
    members_here,
    node_of,
    out_of_box,
    store_of_room,
)
from chatsim.engine.compiled.pools import add_link, grown, link, new_job
from chatsim.engine.compiled.rules import (
    bus_copies,
    passes_broker,
    publishes_per_recipient,
    room_channel,
    server_channel,
    standing_channel,
    user_channel,
)
from chatsim.engine.compiled.state import NONE, State
from chatsim.engine.compiled.stations import take_one
from chatsim.rules.routing import DIRECTORY, GLOBAL_CHANNEL, IN_PROCESS, MESH, ROOM, USER

# ---------------------------------------------------------------------- from the sender's hand to its gateway


@compiled
def begins(st: State, message: int) -> None:
    """A message from its sender's hand on. It waits for a connection, if there is one to come."""
    session = own_session(st, message)
    if st.sessions[session].online:
        goes_on(st, message, session)
        return
    asked, client = st.asked[0], st.clients[st.sessions[session].client]
    lost = st.sessions[session].gone or client.tries > 0
    if lost and not client.hopeless and client.waiting >= asked.buffer_max:
        refuse(st, message, NOT_BUFFERED)
    elif client.hopeless:
        refuse(st, message, NO_SESSION)
    else:
        client.waiting += 1
        waits_for_connection(st, st.sessions[session].client, message)


@compiled
def goes_on(st: State, message: int, session: int) -> None:
    """The sender is connected, and looks for the recipient where there are lists."""
    if not st.asked[0].loads or finds(st, message, session):
        writes(st, message, session)


@compiled
def searched(st: State, message: int, session: int) -> None:
    """The answer to a search is there: the message is written, unless its writer has gone."""
    st.chats[message].searched_s = st.now[0].time_s
    if st.sessions[session].gone:
        refuse(st, message, NO_SESSION)
    else:
        writes(st, message, session)


@compiled
def writes(st: State, message: int, session: int) -> None:
    """A message is written, and goes up the link to the gateway."""
    row = st.messages[message]
    if st.asked[0].pulls and row.opening:
        soon(st, E_ASKS, session, row.partner, NONE)
    row.sends += 1
    sender = st.sessions[session]
    sender.uplink_s = max(sender.uplink_s, st.now[0].time_s + sender.link_s * row.uplink)
    at(st, sender.uplink_s, E_UPLINK, message, session, NONE)


@compiled
def comes_up(st: State, message: int, session: int) -> None:
    """A message reaches its gateway, which queues it."""
    row, sender = st.messages[message], st.sessions[session]
    if sender.closed and not sender.cut:
        refuse(st, message, NO_SESSION)
        return
    row.under_way += 1
    row.gateway = sender.gateway
    store = st.asked[0].store
    commands = 1 if store in (STORE_BEFORE, STORE_BESIDE) else 0
    commands += moves(st, message)
    if store != STORE_BEFORE:
        commands += commands_for(st, message, sender.gateway)
    job = new_job(st, J_RECEIVE)
    st.jobs[job].message, st.jobs[job].session, st.jobs[job].commands = message, session, commands
    take_one(st, sender.gateway, job)


@compiled
def end_receive(st: State, station: int, job: int) -> bool:
    """The gateway has read and checked a message: it carries it on, or refuses it; True where more must be asked."""
    message, session = st.jobs[job].message, st.jobs[job].session
    cause, commands = st.jobs[job].cause, st.jobs[job].commands
    row = st.messages[message]
    st.work[station, RECEIVE] += 1
    row.received += 1
    if math.isnan(row.received_s):
        row.received_s = st.now[0].time_s
    if cause:
        row.refused += 1
        refuse(st, message, cause)
        st.work[station, REFUSAL] += 1
        send_to_session(st, session, 0.0, E_TOLD, message)
        carried(st, message)
        return False
    st.work[station, COMMAND] += commands
    if st.asked[0].asks_more:
        return True
    carry(st, message, station)
    return False


@compiled
def carry(st: State, message: int, gateway: int) -> None:
    """A message that was taken goes to the store and on to its audience."""
    row, store = st.messages[message], st.asked[0].store
    row.fate, row.cause = DELIVERED, NO_CAUSE
    if store == STORE_BEFORE:
        ask_store(st, message, gateway, True)
        return
    if store == STORE_BESIDE:
        ask_store(st, message, gateway, False)
    route(st, message, gateway)


# ---------------------------------------------------------------------- store


@compiled
def ask_store(st: State, message: int, gateway: int, routes: bool) -> None:
    """A gateway sends a message to be stored, with a reply after which it ``routes`` it."""
    asked, row = st.asked[0], st.messages[message]
    commands = commands_for(st, message, gateway) if routes else 0
    reply = new_job(st, J_STORED)
    st.jobs[reply].message, st.jobs[reply].known, st.jobs[reply].commands = message, routes, commands
    job = new_job(st, J_STORE)
    store = st.jobs[job]
    store.message, store.gateway, store.reply, store.commands = message, gateway, reply, commands
    store.cost_us, store.luck, store.touch = asked.store_us, row.store_luck, TOUCH_ONE
    row.under_way += 1
    send(st, gateway, store_of_room(st, row.room), job)


@compiled
def end_store(st: State, station: int, job: int) -> None:
    """A message is in store; the gateway that asked will read so."""
    asked, message, gateway = st.asked[0], st.jobs[job].message, st.jobs[job].gateway
    reply, commands = st.jobs[job].reply, st.jobs[job].commands
    stored(st, message)
    st.work[gateway, COMMAND] += commands
    st.jobs[reply].cost_us = asked.parse_us + asked.command_us * commands
    if asked.command_places:
        st.jobs[reply].touch = TOUCH_COMMANDS
    st.work[station, STORE] += 1
    send(st, station, gateway, reply)
    carried(st, message)


@compiled
def stored(st: State, message: int) -> None:
    """A message is in store, for every recipient who does not have it yet."""
    row = st.messages[message]
    row.stored_s = st.now[0].time_s
    row.fate, row.cause = DELIVERED, NO_CAUSE
    if not st.asked[0].keeps_missed:
        return
    room = st.rooms[row.meant]
    for place in range(room.start, room.end):
        user = st.member[place]
        if user != row.sender and not has_early(st, message, place - room.start):
            waits(st, user, message)
    trim_history(st, message)
    if st.asked[0].pushes_kept:
        for place in range(room.start, room.end):
            user = st.member[place]
            if user != row.sender and not has_early(st, message, place - room.start):
                pushes_for(st, user, message)


@compiled
def waits(st: State, user: int, message: int) -> None:
    """A message waits for a user, who will ask for it, unless taken to be connected and asking for nothing again."""
    if st.asked[0].resync or st.users[user].held == 0:
        into_box(st, user, message)
        return
    st.now[0].unasked += 1
    if st.now[0].unasked > len(st.unasked):
        st.unasked = grown(st.unasked)
    st.unasked[st.now[0].unasked - 1].message, st.unasked[st.now[0].unasked - 1].user = message, user


@compiled
def has_early(st: State, message: int, position: int) -> bool:
    """Whether a member has a message that is stored only now."""
    return bool(st.asked[0].remembers_early and st.early[st.messages[message].offset + position])


@compiled
def trim_history(st: State, message: int) -> None:
    """A history that is full forgets its oldest message, read or not."""
    asked, room = st.asked[0], st.rooms[st.messages[message].room]
    if asked.history_max == 0 or asked.store_in_database:
        return
    if room.kept > 0:
        st.messages[room.kept_last].kept_next = message
    else:
        room.kept_first = message
    room.kept_last = message
    room.kept += 1
    if room.kept <= asked.history_max:
        return
    forgotten = room.kept_first
    room.kept_first = st.messages[forgotten].kept_next
    room.kept -= 1
    audience = st.rooms[st.messages[forgotten].meant]
    for place in range(audience.start, audience.end):
        user = st.member[place]
        if user != st.messages[forgotten].sender and out_of_box(st, user, forgotten):
            st.now[0].trimmed += 1
            if st.now[0].trimmed > len(st.trimmed):
                st.trimmed = grown(st.trimmed)
            st.trimmed[st.now[0].trimmed - 1].message, st.trimmed[st.now[0].trimmed - 1].user = forgotten, user


@compiled
def end_stored(st: State, station: int, job: int) -> None:
    """A gateway reads that a message is in store; where it has waited for that, it routes it."""
    if st.jobs[job].known:
        st.work[station, PARSE] += 1
        route(st, st.jobs[job].message, station)


# ---------------------------------------------------------------------- routing


@compiled
def commands_for(st: State, message: int, gateway: int) -> int:
    """How many commands the gateway writes to route a message."""
    routing = st.asked[0].routing
    if routing == IN_PROCESS:
        return 0
    if routing == MESH:
        count = 0
        for peer in range(st.asked[0].gateways):
            count += is_peer(st, message, gateway, peer)
        return count
    return hearers(st, message) if publishes_per_recipient(routing) else 1


@compiled
def is_peer(st: State, message: int, gateway: int, peer: int) -> bool:
    """Whether a gateway of a mesh sends a message to another one."""
    if peer == gateway:
        return False
    if not st.asked[0].mesh_directory:
        return True
    if is_founding(st, message):
        return has_members(st, st.messages[message].room, peer)
    return members_here(st, st.messages[message].room, peer) > 0


@compiled
def new_fan_out(st: State, message: int, recipient: int, pushed: int, known: int, source: int) -> int:
    """A job that writes a message to the sessions of its audience at a gateway."""
    job = new_job(st, J_FAN_OUT)
    row = st.jobs[job]
    row.message, row.recipient, row.pushed, row.known, row.source = message, recipient, pushed, known, source
    st.messages[message].under_way += 1
    return job


@compiled
def publish(st: State, message: int, gateway: int, channel: int, recipient: int) -> None:
    """A gateway sends a PUBLISH."""
    job = new_publish(st, message, channel, recipient, gateway, 0)
    send(st, gateway, node_of(st, channel), job)


@compiled
def new_publish(st: State, message: int, channel: int, recipient: int, source: int, on_bus: int) -> int:
    """A PUBLISH, or what a node takes from another one of its cluster."""
    job = new_job(st, J_PUBLISH)
    row = st.jobs[job]
    row.message, row.channel, row.recipient, row.source, row.pushed = message, channel, recipient, source, on_bus
    st.messages[message].under_way += 1
    return job


@compiled
def route(st: State, message: int, gateway: int) -> None:
    """The message goes to where its audience is."""
    asked = st.asked[0]
    if asked.routing == DIRECTORY:
        ask_directory(st, message, gateway)
        return
    if asked.routing in (IN_PROCESS, MESH) or asked.shortcut:
        take_one(st, gateway, new_fan_out(st, message, -1, 0, 0, gateway))
    if asked.routing == MESH:
        for peer in range(asked.gateways):
            if is_peer(st, message, gateway, peer):
                st.messages[message].pushes += 1
                send(st, gateway, peer, new_fan_out(st, message, -1, 1, 0, gateway))
    elif publishes_per_recipient(asked.routing):
        publish_to_each(st, message, gateway)
    elif passes_broker(asked.routing):
        by_room = asked.routing == ROOM and not is_founding(st, message)
        channel = room_channel(st.messages[message].room) if by_room else GLOBAL_CHANNEL
        publish(st, message, gateway, channel, -1)
    is_routed(st, message, gateway)


@compiled
def publish_to_each(st: State, message: int, gateway: int) -> None:
    """One PUBLISH for each who hears a message, ascending; last its sender, for other devices."""
    row, routing = st.messages[message], st.asked[0].routing
    place, end, here = st.rooms[row.room].start, st.rooms[row.room].end, st.rooms[row.room].entered
    while place < end or here >= 0:
        if here < 0 or (place < end and st.member[place] < st.links[here].one):
            user = st.member[place]
            place += 1
        else:
            user = st.links[here].one
            here = st.links[here].next
        if user != row.sender:
            publish(st, message, gateway, user_channel(user) if routing == USER else standing_channel(routing, 0), user)
    if st.asked[0].own_devices:
        channel = user_channel(row.sender) if routing == USER else standing_channel(routing, 0)
        publish(st, message, gateway, channel, row.sender)


@compiled
def ask_directory(st: State, message: int, gateway: int) -> None:
    """The directory says which gateways hold the recipients; each of them gets one PUBLISH."""
    reply = new_job(st, J_LOOKED_UP)
    st.jobs[reply].message = message
    room = st.messages[message].room
    users = hearers(st, message)
    if is_founding(st, message):
        users = st.rooms[room].end - st.rooms[room].start
    look_up(st, message, -1, gateway, reply, users, node_of(st, room_channel(room)))


@compiled
def look_up(st: State, message: int, recipient: int, gateway: int, reply: int, users: int, node: int) -> None:
    """A gateway asks a broker node where users have sessions: one, or those who hear a message now."""
    asked, job = st.asked[0], new_job(st, J_LOOK_UP)
    row = st.jobs[job]
    row.message, row.recipient, row.gateway, row.reply = message, recipient, gateway, reply
    row.cost_us, row.touch = asked.lookup_us + asked.lookup_user_us * users, TOUCH_ONE
    here = NONE if recipient >= 0 or is_founding(st, message) else st.rooms[st.messages[message].room].entered
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
def find_holders(st: State, job: int, reply: int) -> int:
    """Lists in the reply the gateways that hold those who hear a message, ascending; how many.

    A message that creates its room goes to those that hold its sender too: they have to join it.
    """
    asked, message, gateway = st.asked[0], st.jobs[job].message, st.jobs[job].gateway
    row = st.messages[message]
    room = st.rooms[row.room]
    st.now[0].stamp += 1
    stamp, creates = st.now[0].stamp, is_founding(st, message)
    for place in range(room.start, room.end):
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


@compiled
def end_looked_up(st: State, station: int, job: int) -> None:
    """A gateway reads where recipients are: one PUBLISH to each of these gateways."""
    message = st.jobs[job].message
    st.work[station, PARSE] += 1
    if st.asked[0].shortcut:
        take_one(st, station, new_fan_out(st, message, -1, 0, 0, station))
    here = st.jobs[job].first
    while here >= 0:
        st.work[station, COMMAND] += 1
        publish(st, message, station, server_channel(st.links[here].one), -1)
        here = st.links[here].next
    is_routed(st, message, station)


@compiled
def is_routed(st: State, message: int, gateway: int) -> None:
    """The sender's gateway is done with a message, but for storing it after that."""
    asked, row = st.asked[0], st.messages[message]
    row.fate, row.cause = DELIVERED, NO_CAUSE
    row.routed_s = st.now[0].time_s
    if asked.store != STORE_AFTER:
        noted(st, message, gateway)
        carried(st, message)
        return
    job = new_job(st, J_STORE_AFTER)
    st.jobs[job].message, st.jobs[job].cost_us = message, asked.command_us
    st.work[gateway, COMMAND] += 1
    take_one(st, gateway, job)


@compiled
def end_store_after(st: State, station: int, job: int) -> None:
    """The command to store a message is written after it was routed."""
    message = st.jobs[job].message
    ask_store(st, message, station, False)
    noted(st, message, station)
    carried(st, message)


# ---------------------------------------------------------------------- at the broker, and where the audience is


@compiled
def end_publish(st: State, station: int, job: int) -> None:
    """Pushes leave for the gateways that subscribe, and copies for the other nodes of a cluster."""
    asked = st.asked[0]
    message, recipient, source = st.jobs[job].message, st.jobs[job].recipient, st.jobs[job].source
    channel, on_bus = st.jobs[job].channel, st.jobs[job].pushed
    here = st.jobs[job].first
    while here >= 0:
        gateway = st.links[here].one
        st.messages[message].pushes += 1
        st.work[station, PUSH] += 1
        push = new_fan_out(st, message, recipient, 1, 0, source)
        if asked.limited:
            st.owed[station - asked.gateways, gateway] += st.messages[message].size_bytes
            st.jobs[push].node = station
        send(st, station, gateway, push)
        here = st.links[here].next
    if not on_bus and bus_copies(asked.topology, asked.nodes):
        for node in range(asked.gateways, asked.gateways + asked.nodes):
            if node != station:
                send(st, station, node, new_publish(st, message, channel, recipient, source, 1))
    st.work[station, BUS if on_bus else PUBLISH] += 1
    if asked.limited:
        watch(st, station, st.jobs[job].first)
    carried(st, message)


@compiled
def watch(st: State, station: int, here: int) -> None:
    """Gateways to whom too much is owed are cut off, which is not covered: the run must be made anew."""
    asked, now_s = st.asked[0], st.now[0].time_s
    node = station - asked.gateways
    while here >= 0:
        gateway = st.links[here].one
        owed, since_s = st.owed[node, gateway], now_s
        if asked.soft_bytes > 0.0 and owed > asked.soft_bytes:
            if math.isnan(st.soft_since_s[node, gateway]):
                st.soft_since_s[node, gateway] = now_s
            since_s = st.soft_since_s[node, gateway]
        else:
            st.soft_since_s[node, gateway] = math.nan
        if (asked.max_bytes > 0.0 and owed > asked.max_bytes) or now_s - since_s > asked.soft_s:
            st.now[0].overflowed = 1
        here = st.links[here].next


@compiled
def end_fan_out(st: State, station: int, job: int) -> None:
    """A message has been written to the sessions that are here, or is asked about first."""
    message, recipient, source = st.jobs[job].message, st.jobs[job].recipient, st.jobs[job].source
    if st.jobs[job].pushed:
        st.work[station, PARSE] += 1
        if not st.jobs[job].known:
            st.messages[message].reads += 1
    if st.jobs[job].asks:
        reply = new_fan_out(st, message, recipient, 1, 1, source)
        st.work[station, COMMAND] += 1
        look_up(st, message, recipient, station, reply, 1, node_of(st, user_channel(recipient)))
    elif not st.stations[station].by_item:
        target = st.jobs[job].first
        while target >= 0:
            session, position = st.links[target].one, st.links[target].two
            write(st, message, session, st.now[0].time_s, factor_of(st, message, position))
            target = st.links[target].next
    st.work[station, WRITE] += st.jobs[job].count
    carried(st, message)
