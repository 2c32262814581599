"""Stations: event loops with a queue, as in :mod:`chatsim.engine.station`, and hosts whose cores they share."""

from __future__ import annotations

from chatsim.engine.compiled.begin import begin
from chatsim.engine.compiled.clients import transmit
from chatsim.engine.compiled.code import compiled, seldom
from chatsim.engine.compiled.events import at
from chatsim.engine.compiled.kinds import (
    E_ITEM_DONE,
    E_TICK_DONE,
    GATEWAY_TIER,
    NO_TOUCH,
    TOUCH_BROKER,
    TOUCH_COMMANDS,
    TOUCH_ONE,
    TOUCH_SENDER,
    TOUCH_SUBSCRIBERS,
    TOUCH_TARGETS,
)
from chatsim.engine.compiled.lines import carry, loses, passing
from chatsim.engine.compiled.memory import grown
from chatsim.engine.compiled.pools import free_parcel, link, new_batch, unlink
from chatsim.engine.compiled.rules import waking_us
from chatsim.engine.compiled.state import NONE, State
from chatsim.engine.station import US
from chatsim.rules.waking import NEVER_S


@compiled
def take(st: State, station: int, first: int, last: int, count: int, came_on: int) -> None:
    """Jobs arrive together, in this order, on one connection or on none; at a station that is gone they are lost."""
    home = st.stations[station]
    if not home.up:
        loses(st, station, first, home.gone_for)
        return
    now_s = st.now[0].time_s
    job = first
    for _ in range(count):
        st.jobs[job].arrived_s, st.jobs[job].came_on = now_s, came_on
        job = st.jobs[job].next
    if home.length > 0:
        st.jobs[home.last].next = first
    else:
        home.first = first
    home.last = last
    home.length += count
    if home.idle:
        wake(st, station)


@compiled
def take_one(st: State, station: int, job: int) -> None:
    """A job arrives, on no connection."""
    st.jobs[job].next = NONE
    take(st, station, job, job, 1, NONE)


@compiled
def take_frame(st: State, station: int, job: int) -> None:
    """What a job's session has sent arrives at its gateway."""
    st.jobs[job].next = NONE
    take(st, station, job, job, 1, st.jobs[job].session)


@compiled
def line_to(station: int) -> int:
    """The connection with another station, in numbers that no session has."""
    return -2 - station


@compiled
def wake(st: State, station: int) -> None:
    """Idle workers turn to the queue, at once or when their host has a core free."""
    home = st.stations[station]
    while home.idle and home.length and not home.waits:
        home.idle -= 1
        ready(st, station, 1)


@compiled
def ready(st: State, station: int, slept: int) -> None:
    """A worker turns to the queue, at once or as soon as its host has a core free; first come, first served."""
    home = st.stations[station]
    if home.host < 0:
        tick(st, station, slept)
        return
    if st.hosts[home.host].free:
        st.hosts[home.host].free -= 1
        tick(st, station, slept)
        return
    waits_for_core(st, station, slept)


@seldom
def waits_for_core(st: State, station: int, slept: int) -> None:
    """A worker waits until its host has a core free."""
    home = st.stations[station]
    host = st.hosts[home.host]
    home.waits = 1
    new = link(st, station, 2 * home.life + slept, 0.0)
    if host.first >= 0:
        st.links[host.last].next = new
    else:
        host.first = new
    host.last = new


@compiled
def release(st: State, host_number: int) -> None:
    """A host has a core free: the next station that waits for one has it, unless it has died since."""
    host = st.hosts[host_number]
    while host.first >= 0:
        station, waited = st.links[host.first].one, st.links[host.first].two
        host.first = unlink(st, host.first)
        if waited >> 1 == st.stations[station].life:
            st.stations[station].waits = 0
            tick(st, station, waited & 1)
            wake(st, station)
            return
    host.free += 1


@compiled
def touches(st: State, job: int, stamp: int) -> int:
    """To how many connections a job writes that do not bear this stamp yet; it stamps them.

    At a broker node and the database stamps stand for gateways and then other nodes, at a gateway for its broker, the
    sender and commands; sessions bear their own.
    """
    row = st.jobs[job]
    touch, here, count = row.touch, row.first, 0
    if touch == TOUCH_ONE:
        count = stamped(st, row.gateway, stamp)
    elif touch == TOUCH_BROKER:
        count = stamped(st, 0, stamp)
    elif touch == TOUCH_SENDER:
        count = stamped(st, 1, stamp)
    elif touch == TOUCH_COMMANDS:
        count = stamped_from(st, 2, row.commands, stamp)
    elif touch == TOUCH_SUBSCRIBERS:
        count = stamped_from(st, st.asked[0].gateways, row.commands, stamp)
        while here >= 0:
            if not st.links[here].two:
                count += stamped(st, st.links[here].one, stamp)
            here = st.links[here].next
    elif touch == TOUCH_TARGETS:
        while here >= 0:
            session = st.links[here].one
            count += st.sessions[session].stamp != stamp
            st.sessions[session].stamp = stamp
            here = st.links[here].next
    return count


@compiled
def stamped_from(st: State, first: int, places: int, stamp: int) -> int:
    """Stamps places in a row; how many of them did not bear this stamp yet."""
    count = 0
    for place in range(first, first + places):
        count += stamped(st, place, stamp)
    return count


@compiled
def stamped(st: State, place: int, stamp: int) -> int:
    """Stamps a place; 1 where it did not bear this stamp yet."""
    if st.stamps[place] == stamp:
        return 0
    st.stamps[place] = stamp
    return 1


@compiled
def reads(st: State, job: int, stamp: int) -> int:
    """Whether the connection on which a job came is to be read yet, in the tick of this stamp; it stamps that one."""
    came_on = st.jobs[job].came_on
    if came_on == NONE:
        return 0
    if came_on < NONE:
        place = line_to(came_on)
        found = st.stations[place].read != stamp
        st.stations[place].read = stamp
    else:
        found = st.sessions[came_on].read != stamp
        st.sessions[came_on].read = stamp
    return int(found)


@compiled
def tick(st: State, station: int, slept: int) -> None:
    """A worker takes a batch, decides what it costs, and lets its results leave in time."""
    home, start_s = st.stations[station], st.now[0].time_s
    taken = min(home.length, home.batch_max)
    slow, by_item = home.slow, home.by_item
    slept_s = start_s - home.worked_s if slept else 0.0
    wake_us = waking_us(home.wake_us, slept_s, home.cooling_us) if slept else 0.0
    spent_us = (home.tick_us + wake_us) * slow
    fetch_us, flush_us = home.fetch_us * slow, home.flush_us * slow
    read = 0
    touched, waited_s, items_us, left_s = 0, 0.0, 0.0, start_s
    st.now[0].stamp += 1
    stamp = st.now[0].stamp  # that of the tick: what a job looks for when it begins may bear later ones
    batch, job, last = new_batch(st, station, home.first), home.first, NONE
    for place in range(taken):
        following = st.jobs[job].next
        home.first = following
        home.length -= 1
        waited_s += start_s - st.jobs[job].arrived_s
        if reads(st, job, stamp):
            read += 1
            spent_us += fetch_us
        item_us = begin(st, station, job, start_s + spent_us * US) * slow
        items_us += item_us
        spent_us += item_us
        if flush_us > 0.0 and st.jobs[job].touch != NO_TOUCH:
            if by_item:
                st.now[0].stamp += 1
                spent_us += flush_us * touches(st, job, st.now[0].stamp)
            else:
                touched += touches(st, job, stamp)
        if by_item and place:
            at(st, left_s, E_ITEM_DONE, batch, NONE, NONE)
        left_s = start_s + spent_us * US
        last, job = job, following
    if last >= 0:
        st.jobs[last].next = NONE
    spent_us += flush_us * touched
    end_s = start_s + spent_us * US
    at(st, end_s, E_TICK_DONE, batch, NONE, NONE)
    home.busy_s += end_s - start_s
    home.item_us += items_us
    note_tick(st, station, start_s, end_s, taken, waited_s, read, slept_s)


@compiled
def note_tick(
    st: State, station: int, start_s: float, end_s: float, items: int, waited_s: float, read: int, slept_s: float
) -> None:
    """Notes a tick."""
    now = st.now[0]
    now.ticks += 1
    if now.ticks > len(st.ticks):
        st.ticks = grown(st.ticks)
    row = st.ticks[now.ticks - 1]
    row.station, row.start_s, row.end_s, row.items, row.waited_s = station, start_s, end_s, items, waited_s
    row.waiting, row.reads, row.slept_s = st.stations[station].length, read, slept_s


@compiled
def flush(st: State, station: int) -> None:
    """What was sent leaves, one packet for each place."""
    home = st.stations[station]
    parcel = home.parcel
    home.parcel = home.parcel_last = NONE
    while parcel >= 0:
        following, place, first = st.parcels[parcel].next, st.parcels[parcel].place, st.parcels[parcel].first
        if st.parcels[parcel].to_session:
            st.sessions[place].parcel = NONE
            transmit(st, place, first)
            free_parcel(st, parcel)
        else:
            st.parcel_of[station * len(st.stations) + place] = NONE
            carry(st, parcel)
        parcel = following


@compiled
def arrive(st: State, parcel: int) -> None:
    """A packet reaches a station; one for a station that has died since is lost, also where it is back."""
    row = st.parcels[parcel]
    station, place, first, last, count, life = row.station, row.place, row.first, row.last, row.count, row.life
    st.now[0].chained = NONE  # no packet goes behind one that is not on its way any more
    free_parcel(st, parcel)
    if life != st.stations[place].life:
        loses(st, place, first, st.stations[place].gone_for)
        return
    if st.now[0].cuts and st.stations[place].tier == GATEWAY_TIER:
        first = passing(st, station, place, first)
        if first < 0:
            return
        last, count = end_of(st, first)
    take(st, place, first, last, count, line_to(station))


@compiled
def end_of(st: State, job: int) -> tuple[int, int]:
    """The last of some jobs, and how many they are."""
    last, count = NONE, 0
    while job >= 0:
        last, job = job, st.jobs[job].next
        count += 1
    return last, count


@compiled
def start(st: State, station: int) -> None:
    """A station is back, idle and cold."""
    home = st.stations[station]
    home.up, home.worked_s = 1, NEVER_S


@compiled
def stop(st: State, station: int, cause: int) -> None:
    """A station dies: what waits, what is worked on, and what was about to leave, is lost."""
    home = st.stations[station]
    home.up, home.gone_for = 0, cause
    home.life += 1
    waiting = home.first if home.length else NONE
    home.first = home.last = NONE
    home.length, home.idle, home.waits = 0, home.cores, 0
    throw_away(st, station)
    going_on, last = NONE, NONE
    batch = next_batch(st, station, NONE)
    while batch >= 0:
        row = st.ticks[st.batches[batch].row]
        new = link(st, st.batches[batch].first, 0, 0.0)
        if last >= 0:
            st.links[last].next = new
        else:
            going_on = new
        last = new
        st.batches[batch].station = NONE
        home.busy_s -= row.end_s - st.now[0].time_s
        row.end_s = st.now[0].time_s
        done = st.batches[batch].row
        if home.host >= 0:
            release(st, home.host)
        batch = next_batch(st, station, done)
    while going_on >= 0:
        loses(st, station, st.links[going_on].one, cause)
        going_on = unlink(st, going_on)
    loses(st, station, waiting, cause)


@compiled
def next_batch(st: State, station: int, after: int) -> int:
    """The batch on which a station works that it began first after a tick (its row), or -1."""
    found = NONE
    for batch in range(st.now[0].batches):
        row = st.batches[batch]
        if row.station == station and row.row > after and (found < 0 or row.row < st.batches[found].row):
            found = batch
    return found


@compiled
def throw_away(st: State, station: int) -> None:
    """What was about to leave a station never does."""
    parcel = st.stations[station].parcel
    st.stations[station].parcel = st.stations[station].parcel_last = NONE
    while parcel >= 0:
        following, place = st.parcels[parcel].next, st.parcels[parcel].place
        if st.parcels[parcel].to_session:
            st.sessions[place].parcel = NONE
        else:
            st.parcel_of[station * len(st.stations) + place] = NONE
        free_parcel(st, parcel)
        parcel = following
