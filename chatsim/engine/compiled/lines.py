"""What travels between stations, what waits and what is lost there: :mod:`chatsim.engine.lines`."""

from __future__ import annotations

import math

from chatsim.engine.compiled.code import compiled, seldom
from chatsim.engine.compiled.events import at, soon
from chatsim.engine.compiled.kinds import (
    CRASHED,
    CUT_OFF,
    DATABASE_TIER,
    E_ARRIVES,
    E_LOST,
    E_REACHES_LATER,
    E_REACHES_NOW,
    GATEWAY_TIER,
    J_FAN_OUT,
    NODE_TIER,
    TRIMMED,
)
from chatsim.engine.compiled.places import (
    add_subscriber,
    drop_subscriber,
    find_subscriber,
    is_row_of,
    line_of,
    link_s,
    note_subscription,
    rows_of,
)
from chatsim.engine.compiled.pools import chained, free_parcel, new_parcel
from chatsim.engine.compiled.rules import loss_draw
from chatsim.engine.compiled.state import NEVER, NONE, State
from chatsim.engine.lines import BROKER, CLIENTS, DATABASE

LINKS = 3


@seldom
def loses(st: State, station: int, first: int, cause: int) -> None:
    """Jobs never come to a station, or never leave it. What that brings on happens soon."""
    while first >= 0:
        following = st.jobs[first].next
        soon(st, E_LOST, first, station, cause)
        first = following


@seldom
def extra_s(st: State, kind: int) -> float:
    """What faults add to one way of one packet on a kind of link: TCP sends a lost one again after 1, 2, 4, ... times.

    The time added to clients' links is in their sessions' own.
    """
    extra = st.extras[kind]
    longer_s = 0.0 if kind == CLIENTS else extra.added_s
    if extra.count == 0:
        return float(longer_s)
    extra.packets += 1
    for place in range(extra.count):
        share = st.shares[extra.first + place]
        losses = math.floor(math.log(loss_draw(st, kind + LINKS * place, extra.packets)) / math.log(share.share))
        longer_s += share.value * (2.0**losses - 1.0)
    return float(longer_s)


# ---------------------------------------------------------------------- packets


@compiled
def carry(st: State, parcel: int) -> None:
    """What left a station at one instant for another: one packet.

    Packets that arrive at one time, with nothing between, are one event with a list of them: those of a PUBLISH to all
    gateways, say.
    """
    station, place = st.parcels[parcel].station, st.parcels[parcel].place
    now = st.now[0]
    if (now.away or now.parted) and stops(st, parcel, station, place):
        return
    arrives_s = now.time_s + link_s(st, station, place)
    if st.asked[0].orderly:
        far = st.stations[station].tier == DATABASE_TIER or st.stations[place].tier == DATABASE_TIER
        arrives_s += extra_s(st, DATABASE if far else BROKER)
        line = station * len(st.stations) + place
        arrives_s = max(arrives_s, st.arrives_s[line])
        st.arrives_s[line] = arrives_s
    st.parcels[parcel].life, st.parcels[parcel].next = st.stations[place].life, NONE
    if now.chained >= 0 and now.chained_number == now.number and now.chained_s == arrives_s:
        st.parcels[now.chained].next = parcel
        now.number += 1
    else:
        at(st, arrives_s, E_ARRIVES, parcel, NONE, NONE)
        now.chained_s = arrives_s
    now.chained, now.chained_number = parcel, now.number


@seldom
def stops(st: State, parcel: int, station: int, place: int) -> bool:
    """Whether a packet does not pass now: it waits, or is lost."""
    if st.stations[station].tier == DATABASE_TIER or st.stations[place].tier == DATABASE_TIER:
        return False
    for end in (station, place):
        if st.stations[end].silenced:
            lose_parcel(st, parcel, CUT_OFF)
            return True
        if st.stations[end].parted:
            waits(st, end, parcel)
            return True
    if st.stations[place].tier == NODE_TIER and st.stations[station].tier == GATEWAY_TIER:
        line = line_of(st, place, station)
        if st.lines[line].away:
            lose_parcel(st, parcel, st.lines[line].why)
            return True
    return False


@compiled
def lose_parcel(st: State, parcel: int, cause: int) -> None:
    """A packet never comes."""
    loses(st, st.parcels[parcel].place, st.parcels[parcel].first, cause)
    free_parcel(st, parcel)


@compiled
def waits(st: State, gateway: int, parcel: int) -> None:
    """A packet waits until its gateway can be reached again."""
    home = st.stations[gateway]
    st.parcels[parcel].life = st.stations[st.parcels[parcel].place].life
    st.parcels[parcel].next = NONE
    if home.waiting_first >= 0:
        st.parcels[home.waiting_last].next = parcel
    else:
        home.waiting_first = parcel
    home.waiting_last = parcel


@seldom
def stopped(st: State, station: int, place: int, job: int, cause: int) -> None:
    """Jobs that do not come through: a stream keeps its pushes, all else is lost."""
    keeps = st.stations[station].tier == NODE_TIER and st.asked[0].keeps
    while job >= 0:
        following = st.jobs[job].next
        st.jobs[job].next = NONE
        is_push = st.jobs[job].kind == J_FAN_OUT and st.jobs[job].pushed and not st.jobs[job].known
        if keeps and is_push and st.lines[line_of(st, station, place)].away:
            keep(st, job, station, place)
        else:
            loses(st, place, job, cause)
        job = following


# ---------------------------------------------------------------------- gateways without a broker node


@compiled
def leaves(st: State, node: int, gateway: int, cause: int) -> None:
    """A gateway has no connection with a node any more."""
    row = st.lines[line_of(st, node, gateway)]
    if row.away == 0:
        st.now[0].away += 1
        st.now[0].away_number += 1
        row.away = st.now[0].away_number
    row.why = cause
    new_line(st, node, gateway)


@compiled
def new_line(st: State, node: int, gateway: int) -> None:
    """What comes next between the two is another connection, on which nothing is owed."""
    row = st.lines[line_of(st, node, gateway)]
    row.line += 1
    row.owed = 0
    row.soft_since_s = NEVER


@compiled
def cut(st: State, node: int, gateway: int, cause: int) -> None:
    """A gateway and a node have no connection any more: its subscriptions are gone, and it tries again."""
    line = line_of(st, node, gateway)
    if st.lines[line].away or not st.stations[gateway].up:
        return
    first, end = rows_of(st, node)
    for row in range(first, end):
        if st.channel_first[row] >= 0 and is_row_of(st, row, node):
            here = find_subscriber(st, row, gateway)
            if here >= 0:
                st.links[here].two = 1
                st.lines[line].wanted += 1
                note_subscription(st, node, -1)
    leaves(st, node, gateway, cause)
    soon(st, E_REACHES_LATER, node, gateway, st.stations[gateway].life)


@compiled
def connects(st: State, gateway: int, channel_row: int, channel_node: int) -> None:
    """A gateway that has just started connects to the broker, and subscribes to its channel, if it has one."""
    asked = st.asked[0]
    for node in range(asked.gateways, asked.gateways + asked.nodes):
        leaves(st, node, gateway, CUT_OFF)
        if node == channel_node:
            add_subscriber(st, channel_row, gateway, 1)
            st.lines[line_of(st, node, gateway)].wanted += 1
        soon(st, E_REACHES_NOW, node, gateway, st.stations[gateway].life)


@compiled
def dies(st: State, gateway: int) -> None:
    """The broker has no connection with a gateway any more that is gone."""
    asked = st.asked[0]
    for node in range(asked.gateways, asked.gateways + asked.nodes):
        first, end = rows_of(st, node)
        for row in range(first, end):
            if st.channel_first[row] >= 0 and is_row_of(st, row, node):
                here = find_subscriber(st, row, gateway)
                if here >= 0:
                    if not st.links[here].two:
                        note_subscription(st, node, -1)
                    drop_subscriber(st, row, gateway)
        line = st.lines[line_of(st, node, gateway)]
        if line.away:
            st.now[0].away -= 1
        line.away, line.wanted = 0, 0
        forgotten(st, node, gateway, CRASHED)
        new_line(st, node, gateway)


@compiled
def resubscribes(st: State, node: int, gateway: int) -> None:
    """A gateway is back, and subscribes again to all that it wants."""
    line = st.lines[line_of(st, node, gateway)]
    line.away, line.wanted = 0, 0
    st.now[0].away -= 1
    first, end = rows_of(st, node)
    for row in range(first, end):
        if st.channel_first[row] >= 0 and is_row_of(st, row, node):
            here = find_subscriber(st, row, gateway)
            if here >= 0:
                drop_subscriber(st, row, gateway)
                add_subscriber(st, row, gateway, 0)
                note_subscription(st, node, 1)


# ---------------------------------------------------------------------- streams


@compiled
def read_push(st: State, job: int, gateway: int) -> None:
    """A gateway has read a push: it is owed no longer."""
    push = st.jobs[job]
    if push.node >= 0:
        line = st.lines[line_of(st, push.node, gateway)]
        if push.life == line.line:
            line.owed -= st.messages[push.message].size_bytes
        push.node = NONE


@seldom
def keep(st: State, push: int, node: int, gateway: int) -> None:
    """A stream keeps a push for a gateway that is away, and forgets the oldest of its channel where there are too many.

    It is not owed meanwhile.
    """
    read_push(st, push, gateway)
    line = line_of(st, node, gateway)
    kept = st.lines[line].kept_first
    while kept >= 0 and st.parcels[kept].place != st.jobs[push].channel:
        kept = st.parcels[kept].next
    if kept < 0:
        kept = new_parcel(st, st.jobs[push].channel, 0)
        if st.lines[line].kept_first >= 0:
            st.parcels[st.lines[line].kept_last].next = kept
        else:
            st.lines[line].kept_first = kept
        st.lines[line].kept_last = kept
    row = st.parcels[kept]
    st.jobs[push].next = NONE
    if row.first >= 0:
        st.jobs[row.last].next = push
    else:
        row.first = push
    row.last = push
    row.count += 1
    if row.count > st.asked[0].stream_max:
        oldest = row.first
        row.first = st.jobs[oldest].next
        row.count -= 1
        st.jobs[oldest].next = NONE
        loses(st, gateway, oldest, TRIMMED)


@compiled
def forgotten(st: State, node: int, gateway: int, cause: int) -> None:
    """What streams kept for a gateway is lost."""
    line = st.lines[line_of(st, node, gateway)]
    kept = line.kept_first
    line.kept_first = line.kept_last = NONE
    while kept >= 0:
        following = st.parcels[kept].next
        loses(st, gateway, st.parcels[kept].first, cause)
        free_parcel(st, kept)
        kept = following


# ---------------------------------------------------------------------- gateways that a broker cuts off


@compiled
def watch(st: State, node: int, here: int) -> None:
    """Gateways to whom too much is owed are cut off: Redis' client-output-buffer-limit."""
    asked, now_s = st.asked[0], st.now[0].time_s
    while here >= 0:
        gateway, wants = st.links[here].one, st.links[here].two
        line = st.lines[line_of(st, node, gateway)]
        is_much = line.owed > asked.least_bytes or not math.isnan(line.soft_since_s)
        if is_much and st.stations[gateway].up and not wants:
            since_s = now_s
            if asked.soft_bytes > 0.0 and line.owed > asked.soft_bytes:
                if math.isnan(line.soft_since_s):
                    line.soft_since_s = now_s
                since_s = line.soft_since_s
            else:
                line.soft_since_s = NEVER
            if (asked.max_bytes > 0.0 and line.owed > asked.max_bytes) or now_s - since_s > asked.soft_s:
                overflows(st, node, gateway)
        here = st.links[here].next


@seldom
def overflows(st: State, node: int, gateway: int) -> None:
    """What a gateway has not read goes with its connection: in its queue, on the way, and about to leave."""
    if not st.asked[0].troubled:
        st.now[0].overflowed = st.now[0].stops = 1
        return
    unread = unread_of(st, node, gateway)
    leaving = parcel_taken(st, node, gateway)
    line = st.lines[line_of(st, node, gateway)]
    line.cut = line.line
    st.now[0].cuts = 1
    cut(st, node, gateway, CUT_OFF)
    stopped(st, node, gateway, unread, CUT_OFF)
    stopped(st, node, gateway, leaving, CUT_OFF)


@compiled
def is_owed(st: State, job: int, node: int) -> bool:
    """Whether a job is a push that its gateway has not read, of this node, or with -1 of any."""
    row = st.jobs[job]
    return bool(row.kind == J_FAN_OUT and row.node >= 0 and (node < 0 or row.node == node))


@compiled
def unread_of(st: State, node: int, gateway: int) -> int:
    """Takes the pushes of a node out of the queue of a gateway; the first of them."""
    home = st.stations[gateway]
    job, count = home.first, home.length
    first, last, unread, unread_last = NONE, NONE, NONE, NONE
    for _ in range(count):
        following = st.jobs[job].next
        st.jobs[job].next = NONE
        if is_owed(st, job, node):
            home.length -= 1
            unread, unread_last = chained(st, unread, unread_last, job), job
        else:
            first, last = chained(st, first, last, job), job
        job = following
    home.first, home.last = first, last
    return unread


@compiled
def parcel_taken(st: State, station: int, place: int) -> int:
    """Takes away what was about to leave a station for another one; the first job of it."""
    parcel = st.parcel_of[station * len(st.stations) + place]
    if parcel < 0:
        return NONE
    home = st.stations[station]
    before, here = NONE, home.parcel
    while here != parcel:
        before, here = here, st.parcels[here].next
    following, first = st.parcels[parcel].next, st.parcels[parcel].first
    if before >= 0:
        st.parcels[before].next = following
    else:
        home.parcel = following
    if following < 0:
        home.parcel_last = before
    st.parcel_of[station * len(st.stations) + place] = NONE
    free_parcel(st, parcel)
    return int(first)


@seldom
def passing(st: State, station: int, gateway: int, job: int) -> int:
    """What of a packet is not lost with a connection that was cut meanwhile; the first job of it."""
    first, last = NONE, NONE
    while job >= 0:
        following = st.jobs[job].next
        st.jobs[job].next = NONE
        if is_owed(st, job, NONE) and st.jobs[job].life <= st.lines[line_of(st, st.jobs[job].node, gateway)].cut:
            stopped(st, station, gateway, job, CUT_OFF)
        else:
            first, last = chained(st, first, last, job), job
        job = following
    return first


# ---------------------------------------------------------------------- partitions


@compiled
def meet(st: State, gateway: int) -> None:
    """A gateway can be reached again; what has waited travels now."""
    home = st.stations[gateway]
    parcel = home.waiting_first
    home.waiting_first = home.waiting_last = NONE
    home.parted, home.silenced = 0, 0
    st.now[0].parted -= 1
    while parcel >= 0:
        following, place = st.parcels[parcel].next, st.parcels[parcel].place
        if st.parcels[parcel].life == st.stations[place].life:
            carry(st, parcel)
        else:
            lose_parcel(st, parcel, st.stations[place].gone_for)
        parcel = following


@compiled
def silence(st: State, gateway: int) -> None:
    """Both sides take their connection for broken: what has waited is lost, but for what a stream keeps."""
    asked, home = st.asked[0], st.stations[gateway]
    if not home.parted:
        return
    home.silenced = 1
    parcel = home.waiting_first
    home.waiting_first = home.waiting_last = NONE
    for node in range(asked.gateways, asked.gateways + asked.nodes):
        cut(st, node, gateway, CUT_OFF)
    while parcel >= 0:
        following = st.parcels[parcel].next
        stopped(st, st.parcels[parcel].station, st.parcels[parcel].place, st.parcels[parcel].first, CUT_OFF)
        free_parcel(st, parcel)
        parcel = following
