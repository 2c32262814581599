"""What happens where something breaks, and what follows from that."""

from __future__ import annotations

from chatsim.engine.compiled import drains, faults, reaching
from chatsim.engine.compiled.clients import acked, notices, times_out_unacked
from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.events import at, soon
from chatsim.engine.compiled.kinds import (
    E_ACKED,
    E_ACKS,
    E_AT_NODE,
    E_BALANCER,
    E_BROKER_NOTICES,
    E_DRAIN,
    E_DRAIN_BACK,
    E_DRAIN_STOPS,
    E_DRAINS,
    E_EMPTIED,
    E_EMPTIES,
    E_FINDS_NOBODY,
    E_IS_OVER,
    E_LOST,
    E_NOTICES,
    E_REACHES,
    E_REACHES_LATER,
    E_REACHES_NOW,
    E_SENDS,
    E_SILENT,
    E_STRIKES,
    E_WAKES,
    E_WATCHES,
    F_DRAIN,
)
from chatsim.engine.compiled.losing import is_lost
from chatsim.engine.compiled.messages import acknowledges, is_sent
from chatsim.engine.compiled.scaling import scale, scaling_happens
from chatsim.engine.compiled.sessions import finds_nobody
from chatsim.engine.compiled.state import NONE, State


@compiled
def begin(st: State) -> None:
    """Sets all strikes to their times."""
    for number in range(len(st.strikes)):
        kind = E_DRAINS if st.strikes[number].kind == F_DRAIN else E_STRIKES
        at(st, st.strikes[number].start_s, kind, number, NONE, NONE)
    if st.asked[0].scaling_start:
        scale(st)


@compiled
def trouble_happens(st: State, kind: int, one: int, two: int, three: int) -> None:
    """Something breaks, comes back, or is noticed."""
    if kind == E_LOST:
        is_lost(st, one, two, three)
    elif kind == E_NOTICES:
        notices(st, one)
    elif kind == E_FINDS_NOBODY:
        finds_nobody(st, one)
    elif kind == E_STRIKES:
        faults.strikes(st, one)
    elif kind == E_IS_OVER:
        faults.is_over(st, one, two)
    elif kind in (E_BALANCER, E_BROKER_NOTICES, E_SILENT):
        is_noticed(st, kind, one, two, three)
    elif kind >= E_WATCHES:
        scaling_happens(st, kind, one)
    elif kind >= E_SENDS:
        resending_happens(st, kind, one, two)
    elif kind >= E_DRAINS:
        drain_happens(st, kind, one, two, three)
    else:
        reaching_happens(st, kind, one, two, three)


@compiled
def is_noticed(st: State, kind: int, gateway: int, two: int, out: int) -> None:
    """Somebody notices that a gateway is gone, or back."""
    if kind == E_BALANCER:
        faults.balancer_notices(st, gateway, two, out)
    elif kind == E_BROKER_NOTICES:
        faults.broker_notices(st, gateway, two)
    else:
        faults.is_silent(st, gateway, two)


@compiled
def reaching_happens(st: State, kind: int, node: int, gateway: int, life: int) -> None:
    """A gateway tries to reach a node again."""
    if kind == E_REACHES_NOW:
        reaching.will_reach(st, node, gateway, life, 0.0)
    elif kind == E_REACHES_LATER:
        reaching.tries_later(st, node, gateway, life)
    elif kind == E_REACHES:
        reaching.reaches(st, node, gateway, life)
    elif kind == E_AT_NODE:
        reaching.comes_to_node(st, node)
    else:
        reaching.tells_all(st, node, gateway)


@compiled
def drain_happens(st: State, kind: int, one: int, two: int, three: int) -> None:
    """A deploy goes on."""
    if kind == E_DRAINS:
        soon(st, E_DRAIN, one, 0, NONE)
    elif kind == E_DRAIN:
        drains.drain_goes_on(st, one, two)
    elif kind == E_DRAIN_STOPS:
        drains.drain_stops(st, one, two, three)
    elif kind == E_DRAIN_BACK:
        drains.drain_is_back(st, one, two, three)
    elif kind == E_EMPTIES:
        drains.empties(st, one, two)
    elif kind == E_EMPTIED:
        drains.emptied(st, one)


@compiled
def resending_happens(st: State, kind: int, one: int, two: int) -> None:
    """A message is sent, maybe again, or its sender is told."""
    if kind == E_SENDS:
        is_sent(st, one, two)
    elif kind == E_WAKES:
        times_out_unacked(st, one, two)
    elif kind == E_ACKS:
        acknowledges(st, one, two)
    elif kind == E_ACKED:
        acked(st, one, two)
