"""The decisions of :mod:`chatsim.rules`, compiled, and the draws that are made while a run goes on."""

from __future__ import annotations

import numpy as np

from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.elementwise import exp, ndtri
from chatsim.engine.compiled.state import State
from chatsim.rules import (
    access,
    hashing,
    limits,
    offline,
    placement,
    presence,
    ranking,
    reconnect,
    rooms,
    routing,
    scaling,
    waking,
)
from chatsim.rules import detour as detours
from chatsim.world.draws import ROUNDS, WEYL, Purpose

spread = hashing.spread
may_write = access.may_write
may_enter = access.may_enter
remembered = access.remembered
tokens_now = limits.tokens_now
verdict = limits.verdict
is_due = offline.is_due
is_taken = offline.is_taken
retry_after_s = offline.retry_after_s
place = placement.place
expires_s = presence.expires_s
is_listed = ranking.is_listed
detour = detours.detour
pause_s = reconnect.pause_s
personal_room = rooms.personal_room
leaves_when_idle = rooms.leaves_when_idle
notices_s = reconnect.notices_s
user_channel = routing.user_channel
presence_channel = routing.presence_channel
room_channel = routing.room_channel
server_channel = routing.server_channel
standing_channel = routing.standing_channel
publishes_per_recipient = routing.publishes_per_recipient
keeps_registry = routing.keeps_registry
passes_broker = routing.passes_broker
publish_node = routing.publish_node
subscribe_node = routing.subscribe_node
bus_copies = routing.bus_copies
decide = scaling.decide
waking_us = waking.waking_us

LOW, HALF, HIGH_20, LOW_12 = (np.uint64(value) for value in (0xFFFFFFFF, 32, 20, 12))
FIRST, SECOND = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
STEP_LOW, STEP_HIGH = (np.uint64(step) for step in WEYL)
RECONNECT, LOSS, RETURN = int(Purpose.RECONNECT), int(Purpose.LOSS), int(Purpose.RETURN)
DOWNLINK = int(Purpose.DOWNLINK)


@compiled
def reconnect_draw(st: State, user: int, number: int) -> float:
    """Uniform: the draw for one user's ``number``-th pause."""
    return drawn(st, RECONNECT, user, number)


@compiled
def loss_draw(st: State, link: int, packet: int) -> float:
    """Uniform: the draw for a packet on a kind of link."""
    return drawn(st, LOSS, link, packet)


@compiled
def return_draw(st: State, user: int, number: int) -> float:
    """Uniform: the draw by which a user comes back for its ``number``-th push."""
    return drawn(st, RETURN, user, number)


@compiled
def downlink(st: State, message: int, position: int) -> float:
    """By what the delay of a message's packet to the member at a place of its room differs from that of its link. It is
    drawn when the packet leaves: few members are connected."""
    return exp(st.asked[0].jitter_sigma * ndtri(drawn(st, DOWNLINK, message, position)))


@compiled
def drawn(st: State, purpose: int, entity: int, number: int) -> float:
    """Uniform: one draw of :func:`chatsim.world.draws.uniform`."""
    asked = st.asked[0]
    first, second = np.uint64(number), np.uint64(entity)
    third, fourth = np.uint64(purpose), np.uint64(asked.replication)
    low, high = np.uint64(asked.seed_low), np.uint64(asked.seed_high)
    for _ in range(ROUNDS):
        left, right = first * FIRST, third * SECOND
        first = (right >> HALF) ^ second ^ low
        third = (left >> HALF) ^ fourth ^ high
        second, fourth = right & LOW, left & LOW
        low, high = (low + STEP_LOW) & LOW, (high + STEP_HIGH) & LOW
    bits = (first << HIGH_20) | (second >> LOW_12)
    return float((np.float64(bits) + 0.5) * 2.0**-52)
