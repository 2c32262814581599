"""Rolling deploys: gateways that are emptied, stopped and started again, as in :mod:`chatsim.engine.faults`."""

from __future__ import annotations

from chatsim.engine.compiled.clients import cut_off
from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.events import at, soon
from chatsim.engine.compiled.faults import gateway_dies, gateway_returns, note_fault
from chatsim.engine.compiled.kinds import (
    E_DRAIN,
    E_DRAIN_BACK,
    E_DRAIN_STOPS,
    E_EMPTIED,
    E_EMPTIES,
    E_GOODBYE,
    F_DRAIN,
)
from chatsim.engine.compiled.memory import grown
from chatsim.engine.compiled.pools import link, unlink
from chatsim.engine.compiled.sessions import CLOSING
from chatsim.engine.compiled.state import NONE, State


@compiled
def drain_goes_on(st: State, number: int, place: int) -> None:
    """The next batch of a drain, from a place in its list on, is emptied; over where there is none."""
    row = st.strikes[number]
    if place >= row.count:
        return
    first, last = NONE, NONE
    for struck in range(row.first + place, row.first + min(place + row.batch, row.count)):
        gateway = st.struck[struck]
        if st.stations[gateway].up:
            new = link(st, gateway, note_fault(st, row.fault, F_DRAIN, gateway), 0.0)
            if last >= 0:
                st.links[last].next = new
            else:
                first = new
            last = new
    here = first
    while here >= 0:
        soon(st, E_EMPTIES, st.links[here].one, link(st, 0, 0, row.grace_s), NONE)
        here = st.links[here].next
    at(st, st.now[0].time_s + row.grace_s, E_DRAIN_STOPS, number, place, first)


@compiled
def drain_stops(st: State, number: int, place: int, first: int) -> None:
    """A batch has been emptied, and stops."""
    row, here = st.strikes[number], first
    while here >= 0:
        st.stations[st.links[here].one].draining = 0
        gateway_dies(st, st.links[here].one, 0, 1)
        here = st.links[here].next
    if row.for_s == 0.0:
        drain_goes_on(st, number, place + row.batch)
    else:
        at(st, st.now[0].time_s + row.for_s, E_DRAIN_BACK, number, place, first)


@compiled
def drain_is_back(st: State, number: int, place: int, here: int) -> None:
    """A batch starts again; the next one follows after a pause."""
    row = st.strikes[number]
    while here >= 0:
        st.faults[st.links[here].two].end_s = st.now[0].time_s
        gateway_returns(st, st.links[here].one)
        here = unlink(st, here)
    at(st, st.now[0].time_s + row.pause_s, E_DRAIN, number, place + row.batch, NONE)


@compiled
def empties(st: State, gateway: int, grace: int) -> None:
    """A gateway gets no new sessions, and closes those that it has one after the other, evenly over a time of grace."""
    now, home = st.now[0], st.stations[gateway]
    grace_s = st.links[grace].value
    unlink(st, grace)
    home.draining = 1
    st.out[gateway] = gateway
    number = now.drains
    now.drains += 1
    if now.drains > len(st.drains):
        st.drains = grown(st.drains)
    first, last, count, session = NONE, NONE, 0, home.held_first
    while session >= 0:
        new = link(st, session, 0, 0.0)
        if last >= 0:
            st.links[last].next = new
        else:
            first = new
        last = new
        count += 1
        session = st.sessions[session].held_next
    row = st.drains[number]
    row.gateway, row.life, row.first, row.count, row.place = gateway, home.life, first, count, 0
    row.start_s, row.grace_s = now.time_s, grace_s
    if count:
        at(st, row.start_s + grace_s * 0 / count, E_EMPTIED, number, NONE, NONE)


@compiled
def emptied(st: State, number: int) -> None:
    """A gateway that is emptied closes its next session."""
    row = st.drains[number]
    if st.stations[row.gateway].life != row.life:
        return
    session = st.links[row.first].one
    row.first = unlink(st, row.first)
    row.place += 1
    closing = st.sessions[session]
    if not (closing.gone or closing.cut):
        cut_off(st, session, st.now[0].time_s + closing.link_s)
        soon(st, E_GOODBYE, session, CLOSING, NONE)
    if row.place < row.count:
        at(st, row.start_s + row.grace_s * row.place / row.count, E_EMPTIED, number, NONE, NONE)
