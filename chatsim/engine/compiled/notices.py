"""Small things that gateways tell sessions, as in :mod:`chatsim.engine.notices` and :mod:`chatsim.engine.receipts`.

A notice is in the job that carries it. Of a receipt that is the ``message`` and the reader's ``session`` with the
``row`` of the delivery, of a change of presence its ``row`` alone. ``recipient`` is the scope: what a channel is about.
"""

from __future__ import annotations

from chatsim.engine.compiled.clients import send
from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.events import at, soon
from chatsim.engine.compiled.kinds import (
    COMMAND,
    E_ANNOUNCES,
    E_RECEIPT_UP,
    J_ANNOUNCE,
    J_ANNOUNCED,
    J_RECEIPT,
    J_TELL,
    NOTICE,
    NOTICE_BUS,
    NOTICE_PUBLISH,
    NOTICE_PUSH,
    PARSE,
    RECEIPT,
)
from chatsim.engine.compiled.memory import grown
from chatsim.engine.compiled.places import is_there, node_of
from chatsim.engine.compiled.pools import add_link, free_job, new_job
from chatsim.engine.compiled.rules import bus_copies, presence_channel, room_channel, server_channel, user_channel
from chatsim.engine.compiled.state import NEVER, NONE, State
from chatsim.engine.compiled.stations import take_frame, take_one
from chatsim.engine.compiled.watching import find_told, meant_for
from chatsim.rules.presence import ROOMS
from chatsim.rules.routing import DIRECTORY, GLOBAL_CHANNEL, ROOM, USER


@compiled
def alike(st: State, kind: int, job: int, channel: int, scope: int, pushed: int) -> int:
    """A job that carries on what another one tells."""
    new = new_job(st, kind)
    row, like = st.jobs[new], st.jobs[job]
    row.message, row.session, row.row = like.message, like.session, like.row
    row.channel, row.recipient, row.pushed = channel, scope, pushed
    return new


@compiled
def announce(st: State, gateway: int, job: int) -> None:
    """A gateway gives a notice on: to the broker on the channels in a job's list, or without one to other gateways."""
    asked, commands = st.asked[0], st.jobs[job].count
    if not asked.has_broker:
        take_one(st, gateway, alike(st, J_TELL, job, NONE, NONE, 0))
        commands += asked.gateways - 1
    if commands == 0:
        free_job(st, job)
        return
    st.jobs[job].cost_us = asked.command_us * commands
    st.work[gateway, COMMAND] += commands
    take_one(st, gateway, job)


@compiled
def end_announced(st: State, station: int, job: int) -> None:
    """The commands that tell of a notice are written: they leave."""
    here = st.jobs[job].first
    while here >= 0:
        channel, scope = st.links[here].one, st.links[here].two
        send(st, station, node_of(st, channel), alike(st, J_ANNOUNCE, job, channel, scope, 0))
        here = st.links[here].next
    if not st.asked[0].has_broker:
        for peer in range(st.asked[0].gateways):
            if peer != station:
                send(st, station, peer, alike(st, J_TELL, job, NONE, NONE, 1))
        pushed(st, job, st.asked[0].gateways - 1)


@compiled
def pushed(st: State, job: int, pushes: int) -> None:
    """A broker node (or a gateway of a mesh) has pushed a notice to gateways."""
    if st.jobs[job].message < 0:
        st.shown[st.jobs[job].row].pushes += pushes


@compiled
def end_announce(st: State, station: int, job: int) -> None:
    """A notice leaves a node for the gateways that subscribe, and for the other nodes of a cluster."""
    asked = st.asked[0]
    channel, scope, on_bus = st.jobs[job].channel, st.jobs[job].recipient, st.jobs[job].pushed
    here = st.jobs[job].first
    while here >= 0:
        send(st, station, st.links[here].one, alike(st, J_TELL, job, NONE, scope, 1))
        here = st.links[here].next
    if not on_bus and bus_copies(asked.topology, asked.nodes):
        for node in range(asked.gateways, asked.gateways + asked.nodes):
            if node != station:
                send(st, station, node, alike(st, J_ANNOUNCE, job, channel, scope, 1))
    pushed(st, job, st.jobs[job].count)
    st.work[station, NOTICE_BUS if on_bus else NOTICE_PUBLISH] += 1
    st.work[station, NOTICE_PUSH] += st.jobs[job].count


@compiled
def end_tell(st: State, station: int, job: int) -> None:
    """A gateway has written a notice to sessions."""
    st.work[station, PARSE] += st.jobs[job].pushed
    st.work[station, NOTICE] += st.jobs[job].count
    if st.jobs[job].message >= 0:
        knows(st, job)
    else:
        told(st, job)


# ---------------------------------------------------------------------- changes of presence


@compiled
def note_shown(st: State, user: int, change: int, meant: int) -> int:
    """What is shown of a user's presence changes; the row of that."""
    now = st.now[0]
    now.shown += 1
    if now.shown > len(st.shown):
        st.shown = grown(st.shown)
    row = st.shown[now.shown - 1]
    row.time_s, row.user, row.change, row.meant = now.time_s, user, change, meant
    row.pushes, row.notices, row.told_sum_s, row.told_last_s = 0, 0, 0.0, NEVER
    return int(now.shown - 1)


@compiled
def changed(st: State, user: int, change: int, gateway: int) -> None:
    """A user came online (+1) or went (-1): those who watch are told, by a gateway, or (-1) by the broker itself."""
    if not st.asked[0].pushes_presence:
        note_shown(st, user, change, 0)
        return
    job = new_job(st, J_ANNOUNCED)
    st.jobs[job].row = note_shown(st, user, change, meant_for(st, user))
    if st.asked[0].has_broker:
        add_channels(st, job, user)
    if gateway >= 0:
        soon(st, E_ANNOUNCES, job, gateway, NONE)
        return
    here = st.jobs[job].first
    while here >= 0:
        channel, scope = st.links[here].one, st.links[here].two
        take_one(st, node_of(st, channel), alike(st, J_ANNOUNCE, job, channel, scope, 0))
        here = st.links[here].next
    free_job(st, job)


@compiled
def add_channels(st: State, job: int, user: int) -> None:
    """On which channels a change of a user's presence is published, each with its scope."""
    asked = st.asked[0]
    if asked.routing == USER:
        for place in range(find_told(st, user)):
            add_link(st, job, user_channel(st.scratch[place]), st.scratch[place])
    elif asked.routing == DIRECTORY:
        for gateway in range(asked.gateways):
            add_link(st, job, server_channel(gateway), NONE)
    elif asked.routing == ROOM and asked.shown_to == ROOMS:
        for own in range(st.own_start[user], st.own_start[user + 1]):
            room = st.own_room[own]
            if is_there(st, room):
                add_link(st, job, room_channel(room), room)
    elif asked.routing == ROOM and asked.watches:
        add_link(st, job, presence_channel(user), NONE)
    else:
        add_link(st, job, GLOBAL_CHANNEL, NONE)


@compiled
def told(st: State, job: int) -> None:
    """A gateway has written a change of presence to sessions, now."""
    row, here, now_s = st.jobs[job].row, st.jobs[job].first, st.now[0].time_s
    change = st.shown[row]
    change.notices += st.jobs[job].count
    while here >= 0:
        arrives_s = now_s + st.sessions[st.links[here].one].link_s
        change.told_sum_s += arrives_s - change.time_s
        if not arrives_s <= change.told_last_s:
            change.told_last_s = arrives_s
        here = st.links[here].next


# ---------------------------------------------------------------------- receipts


@compiled
def receipt_leaves(st: State, message: int, session: int, row: int) -> None:
    """A session that has a message says so."""
    at(st, st.now[0].time_s + st.sessions[session].link_s, E_RECEIPT_UP, message, session, row)


@compiled
def receipt_comes_up(st: State, message: int, session: int, row: int) -> None:
    """A receipt reaches the reader's gateway."""
    reader = st.sessions[session]
    if reader.closed:
        return
    job = new_job(st, J_RECEIPT)
    receipt = st.jobs[job]
    receipt.message, receipt.session, receipt.row, receipt.cost_us = message, session, row, st.asked[0].receive_us
    st.work[reader.gateway, RECEIPT] += 1
    take_frame(st, reader.gateway, job)


@compiled
def end_receipt(st: State, station: int, job: int) -> None:
    """A gateway has read a receipt, and gives it on to where its sender's sessions are, and others of its reader."""
    asked = st.asked[0]
    told = alike(st, J_ANNOUNCED, job, NONE, NONE, 0)
    message = st.messages[st.jobs[job].message]
    sender, reader = message.sender, st.sessions[st.jobs[job].session].user
    if not asked.has_broker:
        announce(st, station, told)
        return
    if asked.routing == USER:
        add_link(st, told, user_channel(sender), sender)
        add_link(st, told, user_channel(reader), reader)
    elif asked.routing == DIRECTORY:
        add_holders(st, told, sender, reader)
    elif asked.routing == ROOM:
        add_link(st, told, room_channel(message.room), NONE)
    else:
        add_link(st, told, GLOBAL_CHANNEL, NONE)
    announce(st, station, told)


@compiled
def add_holders(st: State, job: int, user: int, other: int) -> None:
    """The channels of the gateways that hold one of two users, ascending."""
    st.now[0].stamp += 1
    stamp = st.now[0].stamp
    for one in (user, other):
        here = st.users[one].registered
        while here >= 0:
            st.stamps[st.links[here].one] = stamp
            here = st.links[here].next
    for holder in range(st.asked[0].gateways):
        if st.stamps[holder] == stamp:
            add_link(st, job, server_channel(holder), NONE)


@compiled
def knows(st: State, job: int) -> None:
    """The sender of a message hears that it has arrived, when the first of its sessions does."""
    sender, here = st.messages[st.jobs[job].message].sender, st.jobs[job].first
    while here >= 0:
        session = st.links[here].one
        if st.sessions[session].user == sender:
            now = st.now[0]
            now.receipts += 1
            if now.receipts > len(st.receipts):
                st.receipts = grown(st.receipts)
            st.receipts[now.receipts - 1].row = st.jobs[job].row
            st.receipts[now.receipts - 1].time_s = now.time_s + st.sessions[session].link_s
        here = st.links[here].next
