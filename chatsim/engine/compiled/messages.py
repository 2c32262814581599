"""The life of a message, as in :mod:`chatsim.engine.messages`, :mod:`chatsim.engine.routes` and their jobs."""

from __future__ import annotations

import math

from chatsim.engine.compiled.begin import factor_of
from chatsim.engine.compiled.boxes import into_box, out_of_box
from chatsim.engine.compiled.chat import pushes_for
from chatsim.engine.compiled.clients import (
    broken,
    carried,
    lose,
    refuse,
    send,
    send_to_session,
    sends,
    waits_for_connection,
    write,
)
from chatsim.engine.compiled.code import compiled, seldom
from chatsim.engine.compiled.directory import look_up
from chatsim.engine.compiled.events import at, soon
from chatsim.engine.compiled.kinds import (
    ACK,
    BUS,
    COMMAND,
    CRASHED,
    CUT_OFF,
    DELIVERED,
    E_ACKED,
    E_ACKS,
    E_ASKS,
    E_TOLD,
    E_UPLINK,
    J_ACK,
    J_FAN_OUT,
    J_LOOKED_UP,
    J_PUBLISH,
    J_RECEIVE,
    J_STORE,
    J_STORE_AFTER,
    J_STORED,
    NO_CAUSE,
    NO_SESSION,
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
from chatsim.engine.compiled.lines import extra_s, keep, watch
from chatsim.engine.compiled.lists import finds, moves, noted
from chatsim.engine.compiled.memory import grown
from chatsim.engine.compiled.places import (
    comers,
    has_members,
    hearers,
    is_founding,
    line_of,
    members_here,
    node_of,
    own_session,
    store_of_room,
)
from chatsim.engine.compiled.pools import new_job
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
from chatsim.engine.compiled.stations import take_frame, take_one
from chatsim.engine.lines import CLIENTS
from chatsim.rules.routing import DIRECTORY, GLOBAL_CHANNEL, IN_PROCESS, MESH, ROOM, USER

# ---------------------------------------------------------------------- from the sender's hand to its gateway


@compiled
def begins(st: State, message: int) -> None:
    """A message from its sender's hand on. It waits for a connection, if there is one to come."""
    session = own_session(st, message)
    if st.sessions[session].online:
        goes_on(st, message, session)
        return
    waits_for_connection(st, message, st.sessions[session].client, 0)


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
    if st.asked[0].resends:
        row.under_way += 1
        sends(st, message, session)
    else:
        is_sent(st, message, session)


@compiled
def is_sent(st: State, message: int, session: int) -> None:
    """One try: up the link to the gateway."""
    row = st.messages[message]
    row.sends += 1
    sender = st.sessions[session]
    uplink_s = st.now[0].time_s + sender.link_s * row.uplink
    if st.asked[0].orderly:
        uplink_s += extra_s(st, CLIENTS)
    sender.uplink_s = max(sender.uplink_s, uplink_s)
    at(st, sender.uplink_s, E_UPLINK, message, session, NONE)


@compiled
def comes_up(st: State, message: int, session: int) -> None:
    """A message reaches its gateway, which queues it."""
    row, sender = st.messages[message], st.sessions[session]
    if st.asked[0].resends:
        st.tries[message].on_way -= 1
    if sender.closed and not sender.cut:
        refuse(st, message, NO_SESSION)
        return
    if sender.cut:
        lose(st, message, CRASHED)
        return
    row.under_way += 1
    row.gateway = sender.gateway
    if st.asked[0].keeps_missed:
        st.letters[message].gateway = sender.gateway
    store = st.asked[0].store
    commands = 1 if store in (STORE_BEFORE, STORE_BESIDE) else 0
    commands += moves(st, message)
    if store != STORE_BEFORE:
        commands += commands_for(st, message, sender.gateway)
    job = new_job(st, J_RECEIVE)
    st.jobs[job].message, st.jobs[job].session, st.jobs[job].commands = message, session, commands
    take_frame(st, sender.gateway, job)


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
    carry(st, message, session, station)
    return False


@compiled
def carry(st: State, message: int, session: int, gateway: int) -> None:
    """A message that was taken goes to the store and on to its audience."""
    row, store = st.messages[message], st.asked[0].store
    row.fate, row.cause = DELIVERED, NO_CAUSE
    if store == STORE_BEFORE:
        ask_store(st, message, session, gateway, True)
        return
    if store == STORE_BESIDE:
        ask_store(st, message, session, gateway, False)
    route(st, message, session, gateway)


# ---------------------------------------------------------------------- store


@compiled
def ask_store(st: State, message: int, session: int, gateway: int, routes: bool) -> None:
    """A gateway sends a message to be stored, with a reply after which it ``routes`` it."""
    asked, row = st.asked[0], st.messages[message]
    commands = commands_for(st, message, gateway) if routes else 0
    reply = new_job(st, J_STORED)
    st.jobs[reply].message, st.jobs[reply].known, st.jobs[reply].commands = message, routes, commands
    st.jobs[reply].session = session
    job = new_job(st, J_STORE)
    store = st.jobs[job]
    store.message, store.gateway, store.reply, store.commands = message, gateway, reply, commands
    luck = st.store_luck[message] if len(st.store_luck) else 1.0
    store.cost_us, store.luck, store.touch = asked.store_us, luck, TOUCH_ONE
    row.under_way += 1
    send(st, gateway, store_of_room(st, row.room), job)


@compiled
def end_store(st: State, station: int, job: int) -> None:
    """A message is in store; the gateway that asked will read so."""
    asked, message, gateway = st.asked[0], st.jobs[job].message, st.jobs[job].gateway
    reply, commands = st.jobs[job].reply, st.jobs[job].commands
    if math.isnan(st.messages[message].stored_s):
        stored(st, message)
    elif asked.deduplicate:
        commands = 0
        st.jobs[reply].asks = 1
    st.jobs[reply].commands = commands
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
    start, end = st.room_start[row.meant], st.room_start[row.meant + 1]
    for place in range(start, end):
        user = st.member[place]
        if user != row.sender and not has_early(st, message, place - start):
            waits(st, user, message)
    trim_history(st, message)
    if st.asked[0].pushes_kept:
        for place in range(start, end):
            user = st.member[place]
            if user != row.sender and not has_early(st, message, place - start):
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
    asked = st.asked[0]
    if asked.history_max == 0 or asked.store_in_database:
        return
    room = st.rooms[st.messages[message].room]
    if room.kept > 0:
        st.kept_next[room.kept_last] = message
    else:
        room.kept_first = message
    room.kept_last = message
    room.kept += 1
    if room.kept <= asked.history_max:
        return
    forgotten = room.kept_first
    room.kept_first = st.kept_next[forgotten]
    room.kept -= 1
    audience = st.messages[forgotten].meant
    for place in range(st.room_start[audience], st.room_start[audience + 1]):
        user = st.member[place]
        if user != st.messages[forgotten].sender and out_of_box(st, user, forgotten):
            st.now[0].trimmed += 1
            if st.now[0].trimmed > len(st.trimmed):
                st.trimmed = grown(st.trimmed)
            st.trimmed[st.now[0].trimmed - 1].message, st.trimmed[st.now[0].trimmed - 1].user = forgotten, user


@compiled
def end_stored(st: State, station: int, job: int) -> None:
    """A gateway reads that a message is in store; where it has waited for that, it routes it, if it was not before."""
    if st.jobs[job].known:
        st.work[station, PARSE] += 1
        if st.jobs[job].asks:
            is_taken(st, st.jobs[job].message, st.jobs[job].session)
        else:
            route(st, st.jobs[job].message, st.jobs[job].session, station)


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
def route(st: State, message: int, session: int, gateway: int) -> None:
    """The message goes to where its audience is."""
    asked = st.asked[0]
    if asked.routing == DIRECTORY:
        ask_directory(st, message, session, gateway)
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
    is_routed(st, message, session, gateway)


@compiled
def publish_to_each(st: State, message: int, gateway: int) -> None:
    """One PUBLISH for each who hears a message, ascending; last its sender, for other devices."""
    row, routing = st.messages[message], st.asked[0].routing
    place, end, here = st.room_start[row.room], st.room_start[row.room + 1], comers(st, row.room)
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
def ask_directory(st: State, message: int, session: int, gateway: int) -> None:
    """The directory says which gateways hold the recipients; each of them gets one PUBLISH."""
    reply = new_job(st, J_LOOKED_UP)
    st.jobs[reply].message, st.jobs[reply].session = message, session
    room = st.messages[message].room
    users = hearers(st, message)
    if is_founding(st, message):
        users = st.room_start[room + 1] - st.room_start[room]
    look_up(st, message, -1, gateway, reply, users, node_of(st, room_channel(room)))


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
    is_routed(st, message, st.jobs[job].session, station)


@compiled
def is_routed(st: State, message: int, session: int, gateway: int) -> None:
    """The sender's gateway is done with a message, but for storing it after that."""
    asked, row = st.asked[0], st.messages[message]
    row.fate, row.cause = DELIVERED, NO_CAUSE
    row.routed_s = st.now[0].time_s
    if asked.store != STORE_AFTER:
        is_carried(st, message, session, gateway)
        return
    job = new_job(st, J_STORE_AFTER)
    st.jobs[job].message, st.jobs[job].session, st.jobs[job].cost_us = message, session, asked.command_us
    st.work[gateway, COMMAND] += 1
    take_one(st, gateway, job)


@compiled
def end_store_after(st: State, station: int, job: int) -> None:
    """The command to store a message is written after it was routed."""
    message = st.jobs[job].message
    ask_store(st, message, st.jobs[job].session, station, False)
    is_carried(st, message, st.jobs[job].session, station)


@compiled
def is_carried(st: State, message: int, session: int, gateway: int) -> None:
    """The sender's gateway is done with a message, but for telling the sender so, where that waits for it."""
    noted(st, message, gateway)
    is_taken(st, message, session)


@compiled
def is_taken(st: State, message: int, session: int) -> None:
    """A message is carried on, or was before; its sender is told, where that waits for it."""
    if st.asked[0].resends:
        soon(st, E_ACKS, message, session, NONE)
    carried(st, message)


@compiled
def acknowledges(st: State, message: int, session: int) -> None:
    """The gateway writes to a sender that it has taken a message."""
    gateway = st.sessions[session].gateway
    job = new_job(st, J_ACK)
    row = st.jobs[job]
    row.message, row.session, row.cost_us = message, session, st.asked[0].write_us
    st.work[gateway, ACK] += 1
    take_one(st, gateway, job)


@compiled
def end_ack(st: State, job: int) -> None:
    """What tells a sender that a message was taken leaves."""
    send_to_session(st, st.jobs[job].session, 0.0, E_ACKED, st.jobs[job].message)


# ---------------------------------------------------------------------- at the broker, and where the audience is


@compiled
def end_publish(st: State, station: int, job: int) -> None:
    """Pushes leave for the gateways that subscribe, and copies for the other nodes of a cluster."""
    asked = st.asked[0]
    message, recipient, source = st.jobs[job].message, st.jobs[job].recipient, st.jobs[job].source
    channel, on_bus = st.jobs[job].channel, st.jobs[job].pushed
    here = st.jobs[job].first
    while here >= 0:
        gateway, unheard = st.links[here].one, st.links[here].two
        away = st.now[0].away and st.lines[line_of(st, station, gateway)].away
        if away or (unheard and not asked.keeps):
            not_heard(st, station, job, gateway)
        else:
            send(st, station, gateway, new_push(st, station, job, gateway))
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
def new_push(st: State, station: int, publish: int, gateway: int) -> int:
    """The push of a PUBLISH to one gateway, counted as sent."""
    message = st.jobs[publish].message
    st.messages[message].pushes += 1
    st.work[station, PUSH] += 1
    push = new_fan_out(st, message, st.jobs[publish].recipient, 1, 0, st.jobs[publish].source)
    st.jobs[push].channel = st.jobs[publish].channel
    if st.asked[0].limited:
        line = st.lines[line_of(st, station, gateway)]
        line.owed += st.messages[message].size_bytes
        st.jobs[push].node, st.jobs[push].life = station, line.line
    return push


@seldom
def not_heard(st: State, station: int, publish: int, gateway: int) -> None:
    """A gateway that is away does not hear what it has subscribed to, unless a stream keeps it for later."""
    if st.asked[0].keeps:
        keep(st, new_push(st, station, publish, gateway), station, gateway)
    else:
        broken(st, st.jobs[publish].message, gateway, CUT_OFF)


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
