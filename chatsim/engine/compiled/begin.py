"""What each job costs, decided when a worker turns to it."""

from __future__ import annotations

from chatsim.engine.compiled.access import keeps_rights, verdict_of
from chatsim.engine.compiled.audience import find_local, find_members, find_sessions
from chatsim.engine.compiled.clients import send, write
from chatsim.engine.compiled.code import compiled, seldom
from chatsim.engine.compiled.kinds import (
    COMMAND,
    DISCARD,
    J_ANNOUNCE,
    J_ANSWERED,
    J_FAN_OUT,
    J_PUBLISH,
    J_RECEIVE,
    J_TELL,
    NO_CAUSE,
    NO_TOUCH,
    TOO_LARGE,
    TOO_MANY,
    TOUCH_BROKER,
    TOUCH_COMMANDS,
    TOUCH_SENDER,
    TOUCH_SUBSCRIBERS,
    TOUCH_TARGETS,
)
from chatsim.engine.compiled.lines import read_push
from chatsim.engine.compiled.outbox import has_room_s
from chatsim.engine.compiled.places import into, is_founding, is_in, line_of, own_session, row_of_channel
from chatsim.engine.compiled.pools import add_link, link, new_job, tokens_of
from chatsim.engine.compiled.requests import subscription
from chatsim.engine.compiled.rules import bus_copies, downlink, room_channel, tokens_now, verdict
from chatsim.engine.compiled.state import NONE, State
from chatsim.engine.compiled.watching import find_watching
from chatsim.engine.station import US
from chatsim.rules.limits import ACCEPTED
from chatsim.rules.limits import TOO_MANY as MANY
from chatsim.rules.routing import GLOBAL_PER_RECIPIENT, ROOM, USER


@compiled
def begin(st: State, station: int, job: int, at_s: float) -> float:
    """The cost of a job in us, decided at ``at_s``."""
    kind = st.jobs[job].kind
    if kind == J_FAN_OUT:
        return begin_fan_out(st, station, job, at_s)
    if kind == J_PUBLISH:
        return begin_publish(st, station, job)
    if kind == J_RECEIVE:
        return begin_receive(st, station, job, at_s)
    if kind == J_ANNOUNCE:
        return begin_announce(st, station, job)
    if kind == J_TELL:
        return begin_tell(st, station, job)
    return float(st.jobs[job].cost_us * st.jobs[job].luck)


@compiled
def limit(st: State, message: int, gateway: int, at_s: float) -> int:
    """Whether a gateway takes a message at ``at_s``; what it takes is counted against its sender."""
    asked, size_bytes = st.asked[0], st.messages[message].size_bytes
    if asked.messages_per_s == 0.0:
        found = verdict(float(asked.burst), size_bytes, asked.messages_per_s, asked.message_max_bytes)
        return NO_CAUSE if found == ACCEPTED else TOO_LARGE
    row = tokens_of(st, gateway, st.messages[message].sender, at_s)
    left = st.tokens[row]
    tokens = tokens_now(left.left, at_s - left.since_s, asked.messages_per_s, asked.burst)
    found = verdict(tokens, size_bytes, asked.messages_per_s, asked.message_max_bytes)
    left.left, left.since_s = (tokens - 1.0 if found == ACCEPTED else tokens), at_s
    if found == ACCEPTED:
        return NO_CAUSE
    return TOO_MANY if found == MANY else TOO_LARGE


@compiled
def begin_receive(st: State, station: int, job: int, at_s: float) -> float:
    """A message is read and checked; its first commands, or a refusal, are written."""
    asked, row = st.asked[0], st.jobs[job]
    luck = st.receive_luck[row.message] if len(st.receive_luck) else 1.0
    cause = limit(st, row.message, station, at_s)
    if cause == NO_CAUSE and keeps_rights(st):
        cause = verdict_of(st, row.message, st.sessions[own_session(st, row.message)].rights_s)
    row.cause = cause
    if cause:
        row.touch = TOUCH_SENDER
        return float((asked.message_us + asked.write_us) * luck)
    row.touch = TOUCH_COMMANDS if asked.command_places else NO_TOUCH
    return float((asked.message_us + asked.command_us * row.commands) * luck)


@compiled
def begin_publish(st: State, station: int, job: int) -> float:
    """A PUBLISH, or what another node has sent on: to those who subscribe now."""
    asked = st.asked[0]
    pushes = find_subscribers(st, station, job)
    add_unheard(st, station, job)
    row = st.jobs[job]
    copies = 0 if row.pushed else bus_copies(asked.topology, asked.nodes)
    row.commands, row.touch = copies, TOUCH_SUBSCRIBERS
    own_us = asked.bus_receive_us if row.pushed else asked.publish_us
    own_us += asked.stream_us
    luck = st.publish_luck[row.message] if len(st.publish_luck) else 1.0
    return float((own_us + asked.push_us * pushes + asked.bus_send_us * copies) * luck)


@compiled
def find_subscribers(st: State, station: int, job: int) -> int:
    """The gateways that subscribe now to a job's channel at a node; how many."""
    here, pushes = st.channel_first[row_of_channel(st, st.jobs[job].channel, station)], 0
    while here >= 0:
        if not st.links[here].two:
            add_link(st, job, st.links[here].one, 0)
            pushes += 1
        here = st.links[here].next
    return pushes


@seldom
def add_unheard(st: State, station: int, job: int) -> None:
    """Behind those who subscribe come the gateways that want to, but are away, in the order in which they left."""
    here, unheard = st.channel_first[row_of_channel(st, st.jobs[job].channel, station)], NONE
    if st.now[0].away == 0:
        return
    while here >= 0:
        if st.links[here].two:
            unheard = into_away(st, unheard, st.links[here].one, station)
        here = st.links[here].next
    if st.jobs[job].last >= 0:
        st.links[st.jobs[job].last].next = unheard
    else:
        st.jobs[job].first = unheard


@compiled
def into_away(st: State, first: int, gateway: int, node: int) -> int:
    """Puts a gateway into a list of those that are away, in the order in which they left; the list."""
    new = link(st, gateway, 1, 0.0)
    left = st.lines[line_of(st, node, gateway)].away
    before, here = NONE, first
    while here >= 0 and st.lines[line_of(st, node, st.links[here].one)].away < left:
        before, here = here, st.links[here].next
    st.links[new].next = here
    if before < 0:
        return new
    st.links[before].next = new
    return first


@seldom
def begin_announce(st: State, station: int, job: int) -> float:
    """A notice is published, or taken from another node: it goes to those who subscribe now."""
    asked = st.asked[0]
    pushes = find_subscribers(st, station, job)
    row = st.jobs[job]
    copies = 0 if row.pushed else bus_copies(asked.topology, asked.nodes)
    row.commands, row.touch = copies, TOUCH_SUBSCRIBERS
    own_us = asked.bus_receive_us if row.pushed else asked.publish_us
    return float(own_us + asked.push_us * pushes + asked.bus_send_us * copies)


@seldom
def begin_tell(st: State, station: int, job: int) -> float:
    """A gateway turns to a notice for its sessions."""
    asked = st.asked[0]
    find_concerned(st, station, job)
    row = st.jobs[job]
    row.touch = TOUCH_TARGETS if asked.flush_us > 0.0 else NO_TOUCH
    parse_us = asked.parse_us if row.pushed else 0.0
    return float(parse_us + asked.write_us * row.count)


@compiled
def find_concerned(st: State, station: int, job: int) -> None:
    """Sessions that are shown one's presence; or those of a message's sender, and others of its reader."""
    if st.jobs[job].message < 0:
        find_watching(st, station, job)
        return
    reader, scope = st.jobs[job].session, st.jobs[job].recipient
    if st.asked[0].routing == USER:
        find_local(st, station, job, scope, reader, 0)
        return
    find_local(st, station, job, st.messages[st.jobs[job].message].sender, reader, 0)
    find_local(st, station, job, st.sessions[reader].user, reader, 0)


@compiled
def begin_fan_out(st: State, station: int, job: int, at_s: float) -> float:
    """A gateway turns to a message for its sessions."""
    asked = st.asked[0]
    message, recipient, pushed = st.jobs[job].message, st.jobs[job].recipient, st.jobs[job].pushed
    luck = st.push_luck[station, message] if st.stations[station].exponential else 1.0
    parse_us = asked.parse_us if pushed else 0.0
    read_push(st, job, station)
    if asked.routing == GLOBAL_PER_RECIPIENT and pushed and not st.jobs[job].known:
        st.jobs[job].asks, st.jobs[job].touch = 1, TOUCH_BROKER
        return float((parse_us + asked.command_us) * luck)
    commands_us = 0.0
    if not (pushed and asked.shortcut and st.jobs[job].source == station):
        if recipient < 0 and is_founding(st, message):
            commands_us = asked.command_us * invite(st, st.messages[message].room, station)
        if recipient >= 0:
            nobody = find_sessions(st, station, job, message, recipient)
        else:
            nobody = find_members(st, station, job, message)
        if nobody and pushed:
            st.work[station, DISCARD] += 1
            st.messages[message].discards += 1
    st.jobs[job].touch = TOUCH_TARGETS if asked.flush_us > 0.0 else NO_TOUCH
    blocked_us = 0.0
    if st.stations[station].by_item:
        blocked_us = write_targets(st, station, job, at_s, (parse_us + commands_us) * luck, luck)
    elif asked.blocks:
        blocked_us = block_targets(st, station, job, at_s)
    return float((parse_us + commands_us + asked.write_us * st.jobs[job].count) * luck + blocked_us)


@seldom
def invite(st: State, room: int, gateway: int) -> int:
    """The first message of a new room brings its members here into the room; commands that this takes."""
    needs, start = False, st.room_start[room]
    for place in range(start, st.room_start[room + 1]):
        session = st.here[st.member[place]]
        while session >= 0:
            if st.sessions[session].gateway == gateway and not is_in(st, session, room):
                needs |= into(st, session, room, place - start, own_rank(st, st.member[place], room))
            session = st.sessions[session].next_here
    if not needs or st.asked[0].routing != ROOM:
        return 0
    st.rooms[room].waits += 1
    st.work[gateway, COMMAND] += 1
    job = subscription(st, gateway, link(st, room_channel(room), 0, 0.0), 1)
    reply = new_job(st, J_ANSWERED)
    st.jobs[reply].cost_us = st.asked[0].parse_us
    st.jobs[job].reply, st.jobs[job].recipient = reply, room
    send(st, gateway, st.jobs[job].place, job)
    return 1


@compiled
def own_rank(st: State, user: int, room: int) -> int:
    """The rank of a seat in one of a user's own rooms."""
    own = st.own_start[user]
    while st.own_room[own] != room:
        own += 1
    return int(own)


@compiled
def factor_of(st: State, message: int, position: int) -> float:
    """The luck of a message's packet to the user at a place of its room."""
    if position < 0 or st.asked[0].jitter_sigma == 0.0:
        return 1.0
    if st.asked[0].draws_ahead:
        return float(st.factors[st.messages[message].offset + position])
    return downlink(st, message, position)


@compiled
def write_targets(st: State, station: int, job: int, at_s: float, left_us: float, luck: float) -> float:
    """Writes a message to its targets one after the other; how long that stands still."""
    asked, slow, message = st.asked[0], st.stations[station].slow, st.jobs[job].message
    write_us, flush_us, blocked_us = asked.write_us * luck, asked.flush_us, 0.0
    target = st.jobs[job].first
    while target >= 0:
        session = st.links[target].one
        left_us += write_us + flush_us
        if asked.blocks:
            waits_us = waits_for_room_us(st, station, message, session, at_s + left_us * slow * US)
            left_us += waits_us
            blocked_us += waits_us
        write(st, message, session, at_s + left_us * slow * US, factor_of(st, message, st.links[target].two))
        target = st.links[target].next
    return blocked_us


@seldom
def block_targets(st: State, station: int, job: int, at_s: float) -> float:
    """How long a worker stands still for targets to which it writes at the end of its tick."""
    slow, message, blocked_us = st.stations[station].slow, st.jobs[job].message, 0.0
    target = st.jobs[job].first
    while target >= 0:
        session = st.links[target].one
        blocked_us += waits_for_room_us(st, station, message, session, at_s + blocked_us * slow * US)
        st.sessions[session].unsent_bytes += st.messages[message].size_bytes
        target = st.links[target].next
    return blocked_us


@seldom
def waits_for_room_us(st: State, station: int, message: int, session: int, at_s: float) -> float:
    """How long a worker stands still until a session's outbound queue has room: no work, but time of its tick."""
    waits_s = has_room_s(st, session, st.messages[message].size_bytes) - at_s
    if waits_s <= 0:
        return 0.0
    home = st.stations[station]
    waits_us = waits_s / (US * home.slow)
    home.item_us -= waits_us * home.slow
    return float(waits_us)
