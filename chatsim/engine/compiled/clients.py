"""Clients with and without a session, what ends for a message, and what is written to sessions and arrives."""

from __future__ import annotations

import math

from chatsim.engine.compiled.access import rights_end, stays_away
from chatsim.engine.compiled.boxes import out_of_box
from chatsim.engine.compiled.code import compiled, seldom
from chatsim.engine.compiled.events import at, soon
from chatsim.engine.compiled.foretelling import foretell, foretell_all, is_foretold, take_back
from chatsim.engine.compiled.kinds import (
    CRASHED,
    DELIVERED,
    DUPLICATE,
    E_DELIVERED,
    E_GOODBYE,
    E_LEAVES_NOW,
    E_NOTICES,
    E_PACKET,
    E_QUEUES,
    E_RECEIPT,
    E_SENDS,
    E_TRIES,
    E_WAKES,
    GAVE_UP,
    INTRUDERS,
    LEFT,
    LOST,
    NO_SESSION,
    NOT_BUFFERED,
    OUTBOUND_FULL,
    REFUSED,
    S_ABANDONED,
    S_CLOSED,
    S_CUT,
    S_FAILED,
    S_LEFT,
    TOO_MANY,
    UNAVAILABLE,
)
from chatsim.engine.compiled.lines import extra_s
from chatsim.engine.compiled.memory import grown
from chatsim.engine.compiled.outbox import lose_row, note_row, queue_rows, stands
from chatsim.engine.compiled.places import hears_all, is_founding, position_of
from chatsim.engine.compiled.pools import is_new, link, new_parcel, unlink, unlink_all
from chatsim.engine.compiled.rules import pause_s, reconnect_draw
from chatsim.engine.compiled.state import NEVER, NONE, State
from chatsim.engine.lines import CLIENTS
from chatsim.rules.reconnect import FULL_JITTER, SOCKETIO

# ---------------------------------------------------------------------- how messages end


@compiled
def carried(st: State, message: int) -> None:
    """One carrier of a message less is under way."""
    row = st.messages[message]
    row.under_way -= 1
    if row.under_way == 0:
        row.done_s = st.now[0].time_s
        if is_founding(st, message) and not math.isnan(row.routed_s):
            hears_all(st, row.room)
        elif is_founding(st, message):  # no try of it was routed: the room is left to the next one
            room = st.rooms[row.room]
            room.founding, room.exists, room.ready_s = NONE, 0, NEVER


@seldom
def refuse(st: State, message: int, cause: int) -> None:
    """A message that the system has not taken, and whose sender knows."""
    row = st.messages[message]
    if row.fate != DELIVERED:
        row.fate, row.cause = REFUSED, cause
    if row.under_way == 0:
        row.done_s = st.now[0].time_s


@seldom
def lose(st: State, message: int, cause: int) -> None:
    """A message that never came to a gateway that could take it; one that is sent again is not lost yet."""
    if st.asked[0].resends:
        return
    row = st.messages[message]
    if row.fate != DELIVERED:
        row.fate, row.cause = LOST, cause
    if row.under_way == 0:
        row.done_s = st.now[0].time_s


@seldom
def broken(st: State, message: int, gateway: int, cause: int) -> None:
    """A carrier of a message is gone: the sessions of ``gateway`` (-1: any) do not get it from this one.

    Where it would have created its room, not all gateways join that.
    """
    now = st.now[0]
    if is_founding(st, message):
        room = st.rooms[st.messages[message].room]
        room.not_joined, room.ready_s = 1, math.inf
    now.breaks += 1
    if now.breaks > len(st.breaks):
        st.breaks = grown(st.breaks)
    row = st.breaks[now.breaks - 1]
    row.message, row.gateway, row.cause, row.time_s = message, gateway, cause, now.time_s


# ---------------------------------------------------------------------- clients


@compiled
def waits_for_connection(st: State, message: int, client: int, again: int) -> bool:
    """A message waits until its client is online, to be sent, or sent ``again``; False where it is refused instead."""
    person = st.sessions[client]
    lost = st.sessions[person.current].gone or person.tries > 0
    if lost and not person.hopeless and person.waiting >= st.asked[0].buffer_max:
        refuse(st, message, NOT_BUFFERED)
        return False
    if person.hopeless:
        refuse(st, message, NO_SESSION)
        return False
    person.waiting += 1
    waits_in_line(st, client, message, again)
    return True


@compiled
def gives_up(st: State, client: int) -> None:
    """A client will not be online any more: what waits for that is refused."""
    person = st.sessions[client]
    person.hopeless = 1
    unacked = unacked_now(st, client)
    here = person.waits_first
    person.waits_first = person.waits_last = NONE
    while here >= 0:
        who, again = st.links[here].one, st.links[here].two
        if who <= INTRUDERS:
            stays_away(st, INTRUDERS - who)
        else:
            person.waiting -= 1
            refuse(st, who, NO_SESSION)
            if again:
                is_over(st, who, client)
        here = unlink(st, here)
    wake_all(st, unacked)


@compiled
def waits_in_line(st: State, client: int, who: int, again: int) -> None:
    """A message, to be sent or sent ``again``, or an intruder, waits until its client is online."""
    new, person = link(st, who, again, 0.0), st.sessions[client]
    if person.waits_first >= 0:
        st.links[person.waits_last].next = new
    else:
        person.waits_first = new
    person.waits_last = new


@compiled
def tries_again(st: State, session: int) -> None:
    """A client without its session waits, by its rule, and tries again; or there is no hope."""
    asked, client, user = st.asked[0], st.sessions[session].client, st.sessions[session].user
    draw = 0.5
    if asked.reconnect in (SOCKETIO, FULL_JITTER):
        draw = reconnect_draw(st, user, st.users[user].retries)
        st.users[user].retries += 1
    person = st.sessions[client]
    starts_s = st.now[0].time_s + pause_s(asked.reconnect, person.tries, draw, asked.reconnect_s, asked.reconnect_max_s)
    if starts_s >= person.end_s or (asked.tries_max > 0 and person.tries >= asked.tries_max):
        gives_up(st, client)
    else:
        at(st, starts_s, E_TRIES, session, NONE, NONE)


@compiled
def gone(st: State, session: int, fate: int) -> None:
    """The client has no session any more, and why."""
    row = st.sessions[session]
    if row.online:
        st.users[row.user].online -= 1
    rights_end(st, session)
    take_back(st, session)
    row.gone, row.online = 1, 0
    row.left_s, row.fate = st.now[0].time_s, fate
    if fate in (S_LEFT, S_ABANDONED):
        gives_up(st, row.client)
    else:
        tries_again(st, session)


@seldom
def close(st: State, session: int) -> None:
    """The gateway closes a session, at once on both sides."""
    if not st.sessions[session].gone:
        st.sessions[session].closed = 1
        gone(st, session, S_CLOSED)
        soon(st, E_GOODBYE, session, NONE, NONE)


@compiled
def cut_off(st: State, session: int, notices_s: float) -> None:
    """The gateway's side of a connection is gone; its client notices later, or gives a login up when that takes too
    long."""
    row = st.sessions[session]
    row.cut, row.cut_s = 1, st.now[0].time_s
    at(st, notices_s, E_NOTICES, session, NONE, NONE)


@compiled
def notices(st: State, session: int) -> None:
    """A client notices that its connection is gone."""
    row = st.sessions[session]
    if not row.gone:
        gone(st, session, S_CUT if row.online else S_FAILED)


# ---------------------------------------------------------------------- clients that send again


@compiled
def client_of(st: State, message: int) -> int:
    """The client of the device in which a message is written."""
    return int(st.sessions[st.messages[message].session].client)


@compiled
def sends(st: State, message: int, session: int) -> None:
    """At least once: a client sends a message, and waits until it is told that it was taken."""
    row, client = st.tries[message], client_of(st, message)
    soon(st, E_SENDS, message, session, NONE)
    row.attempt += 1
    row.on_way += 1
    row.waits = 1
    if not row.unacked:
        row.unacked = 1
        new, person = link(st, message, 0, 0.0), st.clients[client]
        if person.unacked_first >= 0:
            st.links[person.unacked_last].next = new
        else:
            person.unacked_first = new
        person.unacked_last = new
    at(st, st.now[0].time_s + st.asked[0].ack_timeout_s, E_WAKES, message, row.attempt, NONE)


@compiled
def times_out_unacked(st: State, message: int, attempt: int) -> None:
    """The time for an answer is over, unless it came, or the message was sent again meanwhile."""
    if st.tries[message].unacked and st.tries[message].attempt == attempt:
        wakes(st, message)


@compiled
def wakes(st: State, message: int) -> None:
    """A message need not be sent again; or it is, as soon as its client is online, or it is given up."""
    row, client = st.tries[message], client_of(st, message)
    if not row.waits:
        return
    row.waits = 0
    session, longest = st.sessions[client].current, st.asked[0].sends_max
    if not row.unacked:
        is_over(st, message, client)
    elif longest and st.messages[message].sends >= longest:
        refuse(st, message, GAVE_UP)
        is_over(st, message, client)
    elif st.sessions[session].online:
        sends(st, message, session)
    elif not waits_for_connection(st, message, client, 1):
        is_over(st, message, client)


@compiled
def is_over(st: State, message: int, client: int) -> None:
    """A message is not sent again."""
    take_unacked(st, message, client)
    carried(st, message)


@compiled
def take_unacked(st: State, message: int, client: int) -> None:
    """A client waits no longer to be told of a message."""
    if not st.tries[message].unacked:
        return
    st.tries[message].unacked = 0
    person = st.clients[client]
    before, here = NONE, person.unacked_first
    while st.links[here].one != message:
        before, here = here, st.links[here].next
    following = unlink(st, here)
    if before >= 0:
        st.links[before].next = following
    else:
        person.unacked_first = following
    if following < 0:
        person.unacked_last = before


@compiled
def is_settled(st: State, session: int, message: int) -> None:
    """The client need not send a message again."""
    if st.asked[0].resends and st.tries[message].unacked:
        take_unacked(st, message, st.sessions[session].client)
        wakes(st, message)


@compiled
def unacked_now(st: State, client: int) -> int:
    """A list of what a client waits to be told of, each with how often it was sent."""
    first, last = NONE, NONE
    here: int = st.clients[client].unacked_first if st.asked[0].resends else NONE
    while here >= 0:
        message = st.links[here].one
        new = link(st, message, st.tries[message].attempt, 0.0)
        if last >= 0:
            st.links[last].next = new
        else:
            first = new
        last = new
        here = st.links[here].next
    return first


@compiled
def wake_all(st: State, here: int) -> None:
    """Those of a list are sent again that were not meanwhile."""
    while here >= 0:
        if st.tries[st.links[here].one].attempt == st.links[here].two:
            wakes(st, st.links[here].one)
        here = unlink(st, here)


@compiled
def told(st: State, session: int, message: int) -> None:
    """The sender of a refused message is told; a refusal that passes is no reason not to send it again."""
    row = st.messages[message]
    if st.sessions[session].gone:
        return
    row.told_s = st.now[0].time_s
    if row.cause not in (UNAVAILABLE, TOO_MANY):
        is_settled(st, session, message)


@compiled
def acked(st: State, session: int, message: int) -> None:
    """The sender of a message is told that it was taken."""
    row = st.messages[message]
    if st.sessions[session].gone:
        return
    if math.isnan(row.acked_s):
        row.acked_s = st.now[0].time_s
    is_settled(st, session, message)


# ---------------------------------------------------------------------- what is written to sessions


@compiled
def arrival_s(st: State, session: int, leaves_s: float, size_bytes: float, factor: float) -> float:
    """When a packet arrives that its link can send from ``leaves_s`` on, and not before the last one."""
    row = st.sessions[session]
    drained_s = row.drained_s
    drained_s = (drained_s if drained_s > leaves_s else leaves_s) + size_bytes / row.rate
    row.drained_s = drained_s
    arrives_s = drained_s + row.link_s * factor
    if st.asked[0].orderly:
        arrives_s += extra_s(st, CLIENTS)
    row.downlink_s = max(row.downlink_s, arrives_s)
    return float(row.downlink_s)


@compiled
def send_to_session(st: State, session: int, size_bytes: float, kind: int, two: int) -> None:
    """Something else than a message is written to a session now: an event of this kind when it arrives."""
    if st.asked[0].one_by_one:
        stands(st, session, kind, two, size_bytes, 1.0)
        return
    at(st, arrival_s(st, session, st.now[0].time_s, size_bytes, 1.0), kind, session, two, NONE)


@compiled
def write(st: State, message: int, session: int, leaves_s: float, factor: float) -> None:
    """A gateway writes a message to a session at ``leaves_s``; where its queue is full, the policy acts."""
    asked = st.asked[0]
    row = st.sessions[session]
    size_bytes = st.messages[message].size_bytes
    if asked.checks and not row.closed:
        waiting_bytes = row.unsent_bytes + size_bytes
        if row.drained_s > leaves_s:
            waiting_bytes += (row.drained_s - leaves_s) * row.rate
        waiting_bytes += row.outbox_bytes
        if waiting_bytes > asked.outbound_max_bytes:
            note_row(st, message, session, leaves_s, OUTBOUND_FULL)
            if asked.closes:
                close(st, session)
            return
    number = note_row(st, message, session, leaves_s, 0)
    if st.stations[row.gateway].by_item:
        if asked.one_by_one:
            row.unsent_bytes += size_bytes
            at(st, leaves_s, E_QUEUES, session, link(st, number, 0, factor), NONE)
            return
        arrives_s = arrival_s(st, session, leaves_s, float(size_bytes), factor)
        if is_foretold(st, session, arrives_s):
            foretell(st, session, number, arrives_s)
            return
        sent = link(st, 0, 0, row.drained_s) if asked.troubled else NONE
        at(st, arrives_s, E_DELIVERED, session, number, sent)
        return
    if asked.checks:
        row.unsent_bytes += size_bytes
    pack_row(st, session, number, factor)


@compiled
def queues(st: State, session: int, first: int) -> None:
    """A message leaves its gateway, one after the other, for a session's link."""
    size_bytes = st.messages[st.rows[st.links[first].one].message].size_bytes
    st.sessions[session].unsent_bytes -= size_bytes
    queue_rows(st, session, first, float(size_bytes), st.links[first].value)


@compiled
def transmit(st: State, session: int, first: int) -> None:
    """What a tick wrote to one session goes down its link as one packet, with the luck of the first message."""
    st.sessions[session].unsent_bytes = 0.0
    if st.asked[0].drops_oldest:
        transmit_each(st, session, first)
        return
    size_bytes = 0
    here = first
    while here >= 0:
        size_bytes += st.messages[st.rows[st.links[here].one].message].size_bytes
        here = st.links[here].next
    factor = st.links[first].value
    if st.asked[0].one_by_one:
        queue_rows(st, session, first, float(size_bytes), factor)
        return
    arrives_s = arrival_s(st, session, st.now[0].time_s, float(size_bytes), factor)
    if is_foretold(st, session, arrives_s):
        foretell_all(st, session, first, arrives_s)
        return
    st.links[first].value = st.sessions[session].drained_s
    at(st, arrives_s, E_PACKET, session, first, NONE)


@compiled
def transmit_each(st: State, session: int, here: int) -> None:
    """Where what has waited longest is dropped, each message is a packet of its own."""
    while here >= 0:
        following = st.links[here].next
        st.links[here].next = NONE
        size_bytes = st.messages[st.rows[st.links[here].one].message].size_bytes
        queue_rows(st, session, here, float(size_bytes), st.links[here].value)
        here = following


# ---------------------------------------------------------------------- parcels


@compiled
def parcel_for(st: State, station: int, place: int, to_session: int) -> int:
    """The parcel in which things leave a station for a place at this instant; a new one is the last to leave."""
    home = st.stations[station]
    if not home.ending and home.parcel < 0:
        at(st, st.now[0].time_s, E_LEAVES_NOW, station, NONE, NONE)
    parcel = st.sessions[place].parcel if to_session else st.parcel_of[station * len(st.stations) + place]
    if parcel >= 0:
        return int(parcel)
    parcel = new_parcel(st, place, to_session)
    st.parcels[parcel].station = station
    if to_session:
        st.sessions[place].parcel = parcel
    else:
        st.parcel_of[station * len(st.stations) + place] = parcel
    if home.parcel >= 0:
        st.parcels[home.parcel_last].next = parcel
    else:
        home.parcel = parcel
    home.parcel_last = parcel
    return int(parcel)


@compiled
def pack_row(st: State, session: int, row: int, factor: float) -> None:
    """A message leaves a gateway for a session."""
    parcel = parcel_for(st, st.sessions[session].gateway, session, 1)
    new = link(st, row, 0, factor)
    if st.parcels[parcel].first >= 0:
        st.links[st.parcels[parcel].last].next = new
    else:
        st.parcels[parcel].first = new
    st.parcels[parcel].last = new


@compiled
def send(st: State, station: int, place: int, job: int) -> None:
    """A job leaves a station for another one; it travels with all that leaves for it at this instant."""
    parcel = parcel_for(st, station, place, 0)
    st.jobs[job].next = NONE
    if st.parcels[parcel].first >= 0:
        st.jobs[st.parcels[parcel].last].next = job
    else:
        st.parcels[parcel].first = job
    st.parcels[parcel].last = job
    st.parcels[parcel].count += 1


# ---------------------------------------------------------------------- what arrives


@compiled
def is_among(st: State, here: int, message: int) -> bool:
    """Whether a list of links has a message."""
    while here >= 0:
        if st.links[here].one == message:
            return True
        here = st.links[here].next
    return False


@compiled
def was_synced(st: State, session: int, message: int) -> bool:
    """Whether a message came with the welcome of a session."""
    row = st.sessions[session]
    if message > row.synced_max:
        return False
    for place in range(row.synced, row.synced + row.unread):  # noqa: SIM110
        if st.missed[place] == message:
            return True
    return False


@compiled
def delivered(st: State, session: int, row: int, sent: int) -> None:
    """A message, ``sent`` off at the value of a link where that matters, reaches a session."""
    sent_s = NEVER
    if sent >= 0:
        sent_s = st.links[sent].value
        unlink(st, sent)
    arrives(st, session, row, sent_s)


@compiled
def arrives(st: State, session: int, row: int, sent_s: float) -> None:
    """A message reaches a session. Now, and not before, it is delivered.

    What a gateway had not sent off when it died is gone with it.
    """
    receiver = st.sessions[session]
    if receiver.cut and sent_s > receiver.cut_s:
        lose_row(st, row, CRASHED)
        return
    if receiver.gone:
        lose_row(st, row, LEFT)
        return
    message = st.rows[row].message
    if receiver.live:
        new = link(st, message, 0, 0.0)
        st.links[new].next = receiver.live_first
        receiver.live_first = new
    elif receiver.unread and was_synced(st, session, message):
        st.rows[row].fate = DUPLICATE
    received(st, row, message, session)


@compiled
def packet_arrives(st: State, session: int, first: int) -> None:
    """All messages of a packet reach a session."""
    sent_s = st.links[first].value
    while first >= 0:
        arrives(st, session, st.links[first].one, sent_s)
        first = unlink(st, first)


@compiled
def received(st: State, row: int, message: int, session: int) -> None:
    """A session has a message, which its device may have already: its sender may be told, and its user need not read it
    later."""
    asked, user = st.asked[0], st.sessions[session].user
    st.rows[row].time_s = st.now[0].time_s
    if asked.resends and not is_new(st, st.sessions[session].client * len(st.messages) + message):
        st.rows[row].fate = DUPLICATE
    if asked.receipts and user != st.messages[message].sender and position_of(st, message, user) >= 0:
        soon(st, E_RECEIPT, message, session, row)
    if not asked.keeps_missed:
        return
    if not out_of_box(st, user, message) and math.isnan(st.messages[message].stored_s):
        position = position_of(st, message, user)
        if position >= 0:
            st.early[st.messages[message].offset + position] = 1


@compiled
def forget_live(st: State, session: int) -> None:
    """A session is online: what came live before that need not be known any more."""
    unlink_all(st, st.sessions[session].live_first)
    st.sessions[session].live, st.sessions[session].live_first = 0, NONE
