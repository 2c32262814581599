"""Gateways come and go with the load, as in :mod:`chatsim.engine.scaling`."""

from __future__ import annotations

from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.events import at, soon
from chatsim.engine.compiled.faults import gateway_dies, gateway_returns, note_fault
from chatsim.engine.compiled.kinds import (
    E_COMES,
    E_EMPTIES,
    E_GOES,
    E_HAS_COME,
    E_HAS_GONE,
    E_LOOKS,
    E_WATCHES,
    F_SCALING,
)
from chatsim.engine.compiled.pools import link
from chatsim.engine.compiled.rules import decide
from chatsim.engine.compiled.state import NONE, State
from chatsim.rules.scaling import DOWN, UP


@compiled
def scale(st: State) -> None:
    """The gateways beyond the first few are not in service when the run starts; the rule is looked at from then on."""
    for gateway in range(st.asked[0].scaling_start, st.asked[0].gateways):
        st.stations[gateway].spare = note_fault(st, NONE, F_SCALING, gateway)
        gateway_dies(st, gateway, 0, 1)
    soon(st, E_WATCHES, NONE, NONE, NONE)


@compiled
def scaling_happens(st: State, kind: int, gateway: int) -> None:
    """Load is looked at, or a gateway comes or goes."""
    asked, now_s = st.asked[0], st.now[0].time_s
    if kind == E_WATCHES:
        at(st, now_s + asked.check_s, E_LOOKS, NONE, NONE, NONE)
    elif kind == E_LOOKS:
        looks(st)
        at(st, now_s + asked.check_s, E_LOOKS, NONE, NONE, NONE)
    elif kind == E_COMES:
        at(st, now_s + asked.delay_s, E_HAS_COME, gateway, NONE, NONE)
    elif kind == E_HAS_COME:
        st.faults[st.stations[gateway].spare].end_s = now_s
        st.stations[gateway].spare = NONE
        gateway_returns(st, gateway)
        st.now[0].changing = 0
    elif kind == E_GOES:
        st.stations[gateway].spare = note_fault(st, NONE, F_SCALING, gateway)
        soon(st, E_EMPTIES, gateway, link(st, 0, 0, asked.scaling_grace_s), NONE)
        at(st, now_s + asked.scaling_grace_s, E_HAS_GONE, gateway, NONE, NONE)
    else:
        st.stations[gateway].draining = 0
        gateway_dies(st, gateway, 0, 1)
        st.now[0].changing = 0


@compiled
def looks(st: State) -> None:
    """How busy were the gateways in service since the last look? One change is made at a time."""
    asked = st.asked[0]
    serving, last, first_spare, spent_s = 0, NONE, NONE, 0.0
    for gateway in range(asked.gateways):
        home = st.stations[gateway]
        if home.up and not home.draining:
            serving, last = serving + 1, gateway
            spent_s += home.busy_s - home.busy_before_s
        if home.spare >= 0 and first_spare < 0:
            first_spare = gateway
        home.busy_before_s = home.busy_s
    utilisation = 1.0
    if serving:
        utilisation = spent_s / (asked.check_s * (st.stations[0].cores * serving))
    choice = decide(utilisation, asked.up_above, asked.down_below)
    if st.now[0].changing:
        return
    if choice == UP and first_spare >= 0:
        st.now[0].changing = 1
        soon(st, E_COMES, first_spare, NONE, NONE)
    elif choice == DOWN and serving > asked.least:
        st.now[0].changing = 1
        soon(st, E_GOES, last, NONE, NONE)
