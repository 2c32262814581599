"""What breaks, as in :mod:`chatsim.engine.faults`: stations that die and come back, lines, links, and slow clients."""

from __future__ import annotations

import math

from chatsim.engine.compiled.access import forgets_answers
from chatsim.engine.compiled.chat import went
from chatsim.engine.compiled.clients import cut_off
from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.events import at
from chatsim.engine.compiled.kinds import (
    BROKER_DOWN,
    CRASHED,
    E_BALANCER,
    E_BROKER_NOTICES,
    E_IS_OVER,
    E_SILENT,
    F_BROKER,
    F_CACHE,
    F_CRASH,
    F_DATABASE,
    F_LINK,
    F_PARTITION,
    F_SLOW,
    F_SLOW_CLIENTS,
    UNAVAILABLE,
)
from chatsim.engine.compiled.lines import connects, cut, dies, forgotten, meet, silence
from chatsim.engine.compiled.lists import empties_lists
from chatsim.engine.compiled.memory import grown
from chatsim.engine.compiled.notices import note_shown
from chatsim.engine.compiled.outbox import changes_rate
from chatsim.engine.compiled.places import (
    channel_at_start,
    counted_in,
    drop_seat,
    node_of,
    node_to_hear,
    part,
    register,
    released,
    row_of_channel,
)
from chatsim.engine.compiled.pools import ABREAST, EMPTY, free_box, link, unlink, unlink_all
from chatsim.engine.compiled.returning import rate_of
from chatsim.engine.compiled.rules import notices_s, room_channel, user_channel
from chatsim.engine.compiled.state import NEVER, NONE, State
from chatsim.engine.compiled.stations import start, stop
from chatsim.engine.lines import CLIENTS


@compiled
def note_fault(st: State, fault: int, kind: int, station: int) -> int:
    """A fault begins; its row."""
    now = st.now[0]
    number: int = now.faults
    now.faults += 1
    if now.faults > len(st.faults):
        st.faults = grown(st.faults)
    row = st.faults[number]
    row.fault, row.kind, row.station, row.start_s, row.end_s = fault, kind, station, now.time_s, NEVER
    return number


@compiled
def strikes(st: State, number: int) -> None:
    """A fault strikes a station."""
    row = st.strikes[number]
    noted = note_fault(st, row.fault, row.kind, row.station)
    kind, station = row.kind, row.station
    if kind == F_CRASH:
        gateway_dies(st, station, row.flag, 0)
    elif kind == F_BROKER:
        node_dies(st, station, row.flag)
    elif kind == F_DATABASE:
        database_dies(st, station)
    elif kind == F_PARTITION:
        parts(st, station)
    elif kind == F_CACHE:
        forgets_answers(st, NONE)
        empties_lists(st)
    elif kind in (F_SLOW, F_LINK, F_SLOW_CLIENTS):
        changes(st, kind, station, row.flag, row.value, row.first, row.count)
    if row.end_s < math.inf:
        at(st, row.end_s, E_IS_OVER, number, noted, NONE)


@compiled
def is_over(st: State, number: int, noted: int) -> None:
    """A fault is over."""
    row = st.strikes[number]
    st.faults[noted].end_s = st.now[0].time_s
    kind, station = row.kind, row.station
    if kind == F_CRASH:
        gateway_returns(st, station)
    elif kind in (F_BROKER, F_DATABASE):
        returns(st, station)
    elif kind == F_PARTITION:
        meets(st, station)
    elif kind in (F_SLOW, F_LINK, F_SLOW_CLIENTS):
        changes(st, kind, station, row.flag, row.value_after, row.first_after, row.count_after)


@compiled
def changes(st: State, kind: int, station: int, links: int, value: float, first: int, count: int) -> None:
    """Something takes longer from now on, or no longer does."""
    if kind == F_SLOW:
        st.stations[station].slow = value
    elif kind == F_LINK:
        extra = st.extras[links]
        extra.added_s, extra.first, extra.count = value, first, count
        if links == CLIENTS:
            for session in range(st.now[0].sessions):
                st.sessions[session].link_s = st.sessions[session].base_s + value
    else:
        st.now[0].slow_first, st.now[0].slow_count = first, count
        for session in range(st.now[0].sessions):
            changes_rate(st, session, rate_of(st, session))


# ---------------------------------------------------------------------- gateways


@compiled
def gateway_dies(st: State, station: int, silent: int, planned: int) -> None:
    """A gateway is gone with all it holds; clients see their connections closed, or, ``silent``, nothing at all.

    The balancer takes it out at once where that is ``planned``, otherwise when it notices.
    """
    home, now_s = st.stations[station], st.now[0].time_s
    home.holds += 1
    if not home.up:
        return
    home.silent = silent
    stop(st, station, CRASHED)
    session = home.held_first
    while session >= 0:
        loses_gateway(st, session, silent)
        session = st.sessions[session].held_next
    forgets(st, station)
    if silent:
        at(st, now_s + st.asked[0].broker_silence_s, E_BROKER_NOTICES, station, home.life, NONE)
    else:
        dies(st, station)
    if planned:
        st.out[station] = station
    else:
        balancer_will_notice(st, station, 1)


@compiled
def loses_gateway(st: State, session: int, silent: int) -> None:
    """The gateway of a session is gone."""
    row, asked, now_s = st.sessions[session], st.asked[0], st.now[0].time_s
    if row.registered:
        while row.entered >= 0:
            if not asked.asks_members:
                counted_in(st, row.user, st.links[row.entered].one, -1)
            row.entered = unlink(st, row.entered)
        if asked.keeps_presence and not asked.has_broker:
            went(st, row.user, row.gateway)
    if row.cut:
        return
    if not silent:
        cut_off(st, session, now_s + row.link_s)
    elif row.online:
        cut_off(st, session, notices_s(row.online_s, now_s, asked.ping_s, asked.ping_timeout_s))
    else:
        cut_off(st, session, math.inf)


@compiled
def forgets(st: State, station: int) -> None:
    """What a gateway knows is in its memory alone."""
    home = st.stations[station]
    while home.held_first >= 0:
        session = home.held_first
        released(st, session)
        if st.sessions[session].registered:
            unlink_all(st, part(st, session))
    groups = st.asked[0].groups
    for room in range(len(st.rooms) if groups == 1 else 0):
        if st.rooms[room].places >= 0:
            drop_seats(st, room, st.rooms[room].places + station)
    for slot in range(len(st.place_slots)):
        key = st.place_slots[slot].key
        if key != EMPTY and key % groups == station // ABREAST:
            drop_seats(st, key // groups, st.place_slots[slot].row + station % ABREAST)
    forgets_answers(st, station)


@compiled
def drop_seats(st: State, room: int, place: int) -> None:
    """Nobody has a seat in a room at a gateway any more: ``place`` is its list of them."""
    while st.places[place].count:
        drop_seat(st, st.seats[st.places[place].first].session, room)


@compiled
def gateway_returns(st: State, station: int) -> None:
    """A gateway starts, empty, unless another fault holds it down."""
    home, asked = st.stations[station], st.asked[0]
    home.holds -= 1
    if home.holds > 0:
        return
    dies(st, station)
    start(st, station)
    for user in range(asked.users):
        here = st.users[user].registered
        while here >= 0 and st.links[here].one != station:
            here = st.links[here].next
        if here >= 0:
            register(st, user, station, -st.links[here].two)
    channel, row, node = channel_at_start(st, station), NONE, NONE
    if channel >= 0 and asked.has_broker:
        node = node_to_hear(st, channel, station)
        row = row_of_channel(st, channel, node)
    if asked.has_broker:
        connects(st, station, row, node)
    balancer_will_notice(st, station, 0)


@compiled
def balancer_will_notice(st: State, gateway: int, out: int) -> None:
    """After a while the balancer knows that a gateway is gone, or back."""
    at(st, st.now[0].time_s + st.asked[0].balancer_notice_s, E_BALANCER, gateway, st.stations[gateway].life, out)


@compiled
def balancer_notices(st: State, gateway: int, life: int, out: int) -> None:
    """The balancer notices that a gateway is gone, or back."""
    home = st.stations[gateway]
    if home.life != life or home.draining:
        return
    if out and not home.up:
        st.out[gateway] = gateway
    elif not out and home.up:
        st.out[gateway] = NONE


@compiled
def broker_notices(st: State, gateway: int, life: int) -> None:
    """The broker has heard nothing of a gateway for too long."""
    if st.stations[gateway].life == life and not st.stations[gateway].up:
        dies(st, gateway)


# ---------------------------------------------------------------------- broker and database


@compiled
def node_dies(st: State, node: int, keeps_data: int) -> None:
    """A broker node is away; its data are lost unless a replica has them."""
    home = st.stations[node]
    home.holds += 1
    if home.up:
        for gateway in range(st.asked[0].gateways):
            cut(st, node, gateway, BROKER_DOWN)
        stop(st, node, BROKER_DOWN)
    if not keeps_data:
        is_wiped(st, node)


@compiled
def database_dies(st: State, station: int) -> None:
    """The database is away."""
    st.stations[station].holds += 1
    if st.stations[station].up:
        stop(st, station, UNAVAILABLE)


@compiled
def returns(st: State, station: int) -> None:
    """A broker node or the database is back, unless another fault holds it down."""
    home = st.stations[station]
    home.holds -= 1
    if home.holds == 0:
        start(st, station)


@compiled
def is_wiped(st: State, node: int) -> None:
    """What was on a broker node is lost: keys, histories, streams."""
    asked = st.asked[0]
    for user in range(asked.users):
        row = st.users[user]
        if node_of(st, user_channel(user)) == node:
            unlink_all(st, row.registered)
            row.registered = NONE
            if row.shown:
                row.shown = 0
                note_shown(st, user, -1, 0)
    if asked.asks_members:
        for room in range(len(st.rooms)):
            if node_of(st, room_channel(room)) == node:
                unlink_all(st, st.rooms[room].entered)
                st.rooms[room].entered = NONE
    for gateway in range(asked.gateways):
        forgotten(st, node, gateway, BROKER_DOWN)
    if not asked.store_in_database:
        for user in range(asked.users):
            wipes_box(st, user, node)


@compiled
def wipes_box(st: State, user: int, node: int) -> None:
    """What waits for a user in histories of a node is lost."""
    now, person = st.now[0], st.users[user]
    before, here = NONE, person.box_first
    while here >= 0:
        message = st.boxes[here].message
        if node_of(st, room_channel(st.messages[message].room)) != node:
            before, here = here, st.boxes[here].next
            continue
        now.wiped += 1
        if now.wiped > len(st.wiped):
            st.wiped = grown(st.wiped)
        st.wiped[now.wiped - 1].message, st.wiped[now.wiped - 1].user = message, user
        here = free_box(st, here)
        if before >= 0:
            st.boxes[before].next = here
        else:
            person.box_first = here
    person.box_last = before


# ---------------------------------------------------------------------- partitions


@compiled
def parts(st: State, gateway: int) -> None:
    """From now on nothing passes between a gateway and the broker, or the other gateways."""
    home, now_s = st.stations[gateway], st.now[0].time_s
    home.partings += 1
    if home.partings > 1:
        return
    home.parted, home.parted_s = 1, now_s
    st.now[0].parted += 1
    at(st, now_s + st.asked[0].broker_silence_s, E_SILENT, gateway, link(st, 0, 0, now_s), NONE)


@compiled
def is_silent(st: State, gateway: int, since: int) -> None:
    """Nothing has passed for so long that both sides take their connection for broken."""
    since_s = st.links[since].value
    unlink(st, since)
    if st.stations[gateway].parted and st.stations[gateway].parted_s == since_s:
        silence(st, gateway)


@compiled
def meets(st: State, gateway: int) -> None:
    """A partition is over, unless another one lasts."""
    st.stations[gateway].partings -= 1
    if st.stations[gateway].partings == 0:
        meet(st, gateway)
