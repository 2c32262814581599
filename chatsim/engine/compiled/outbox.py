"""Links that take one packet after the other, where what waits may be dropped: see :mod:`chatsim.engine.outbound`."""

from __future__ import annotations

from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.events import at
from chatsim.engine.compiled.kinds import CRASHED, E_PACKET, E_SENT, E_WELCOMED, LEFT, LOST, OUTBOUND_FULL
from chatsim.engine.compiled.lines import extra_s
from chatsim.engine.compiled.memory import grown
from chatsim.engine.compiled.pools import unlink
from chatsim.engine.compiled.state import NEVER, NONE, State
from chatsim.engine.lines import CLIENTS


@compiled
def note_row(st: State, message: int, session: int, written_s: float, cause: int) -> int:
    """A message is written to a session, or lost there for a cause; its row."""
    now = st.now[0]
    number: int = now.rows
    now.rows += 1
    if now.rows > len(st.rows):
        st.rows = grown(st.rows)
    row = st.rows[number]
    row.message, row.session, row.written_s, row.time_s = message, session, written_s, NEVER
    row.fate, row.cause = (LOST if cause else NONE), cause
    return number


@compiled
def lose_row(st: State, row: int, cause: int) -> None:
    """What was written to a session never comes to it."""
    st.rows[row].fate, st.rows[row].cause = LOST, cause


@compiled
def lose_rows(st: State, first: int, cause: int) -> None:
    """The messages of a packet never come to its session."""
    while first >= 0:
        lose_row(st, st.links[first].one, cause)
        first = unlink(st, first)


@compiled
def queue_rows(st: State, session: int, first: int, size_bytes: float, factor: float) -> None:
    """A packet of messages stands in the outbox until its turn, where there is room for it."""
    if not st.asked[0].drops_oldest or makes_room(st, session, size_bytes):
        stands(st, session, E_PACKET, first, size_bytes, factor)
    else:
        lose_rows(st, first, OUTBOUND_FULL)


@compiled
def has_room_s(st: State, session: int, size_bytes: int) -> float:
    """When a session's queue has room for so many bytes more; an empty one always has."""
    row = st.sessions[session]
    free_bytes = st.asked[0].outbound_max_bytes - row.unsent_bytes - size_bytes
    drained_s = row.drained_s
    if row.outbox_bytes > 0.0:
        drained_s = max(drained_s, st.now[0].time_s) + row.outbox_bytes / row.rate
    return float(drained_s - max(free_bytes, 0.0) / row.rate)


@compiled
def makes_room(st: State, session: int, size_bytes: float) -> bool:
    """Drops messages that have waited longest until there is room; False where even then there is none."""
    row, longest = st.sessions[session], st.asked[0].outbound_max_bytes
    sending_bytes = max(row.drained_s - st.now[0].time_s, 0.0) * row.rate
    before, packet = NONE, row.outbox_first
    while packet >= 0 and sending_bytes + row.outbox_bytes + size_bytes > longest:
        following = st.packets[packet].next
        if st.packets[packet].kind == E_PACKET:
            row.outbox_bytes -= st.packets[packet].size_bytes
            lose_rows(st, st.packets[packet].two, OUTBOUND_FULL)
            if before >= 0:
                st.packets[before].next = following
            else:
                row.outbox_first = following
            if following < 0:
                row.outbox_last = before
            free_packet(st, packet)
        else:
            before = packet
        packet = following
    return bool(sending_bytes + row.outbox_bytes + size_bytes <= longest)


@compiled
def free_packet(st: State, packet: int) -> None:
    """Gives a packet back."""
    st.packets[packet].next = st.now[0].free_packet
    st.now[0].free_packet = packet


@compiled
def stands(st: State, session: int, kind: int, two: int, size_bytes: float, factor: float) -> None:
    """A packet stands in a session's outbox; when it arrives, an event of this kind happens."""
    now, row = st.now[0], st.sessions[session]
    packet = now.free_packet
    if packet >= 0:
        now.free_packet = st.packets[packet].next
    else:
        packet = now.packets
        now.packets += 1
        if now.packets > len(st.packets):
            st.packets = grown(st.packets)
    new = st.packets[packet]
    new.kind, new.two, new.next, new.size_bytes, new.factor = kind, two, NONE, size_bytes, factor
    if row.outbox_first >= 0:
        st.packets[row.outbox_last].next = packet
    else:
        row.outbox_first = packet
    row.outbox_last = packet
    row.outbox_bytes += size_bytes
    if row.sending < 0:
        send_next(st, session)


@compiled
def send_next(st: State, session: int) -> None:
    """The link takes the next packet of the outbox. With the connection goes what is still in it."""
    row = st.sessions[session]
    packet = row.outbox_first
    if row.cut or row.gone:
        row.outbox_first = row.outbox_last = NONE
        row.outbox_bytes = 0.0
        clear(st, session, packet, CRASHED if row.cut else LEFT)
    elif packet >= 0:
        row.sending, row.outbox_first = packet, st.packets[packet].next
        row.outbox_bytes -= st.packets[packet].size_bytes
        row.drained_s = st.now[0].time_s + st.packets[packet].size_bytes / row.rate
        at(st, row.drained_s, E_SENT, session, NONE, NONE)


@compiled
def clear(st: State, session: int, packet: int, cause: int) -> None:
    """What was in an outbox never comes."""
    while packet >= 0:
        following, kind, two = st.packets[packet].next, st.packets[packet].kind, st.packets[packet].two
        if kind == E_PACKET:
            lose_rows(st, two, cause)
        elif kind == E_WELCOMED:
            for place in range(two, two + st.sessions[session].unread):
                lose_row(st, place, cause)
        free_packet(st, packet)
        packet = following


@compiled
def is_sent(st: State, session: int) -> None:
    """The last byte of a packet has left, unless its link has become slower or faster since."""
    row = st.sessions[session]
    packet = row.sending
    if packet < 0 or row.drained_s != st.now[0].time_s:
        return
    row.sending = NONE
    kind, two = st.packets[packet].kind, st.packets[packet].two
    arrives_s = row.drained_s + row.link_s * st.packets[packet].factor
    if st.asked[0].orderly:
        arrives_s += extra_s(st, CLIENTS)
    row.downlink_s = max(row.downlink_s, arrives_s)
    if kind == E_PACKET:
        st.links[two].value = row.drained_s
    free_packet(st, packet)
    at(st, row.downlink_s, kind, session, two, NONE)
    send_next(st, session)


@compiled
def changes_rate(st: State, session: int, rate: float) -> None:
    """A session's link becomes slower or faster, also for what is left of the packet that it is sending."""
    row, now_s = st.sessions[session], st.now[0].time_s
    left_bytes = max(row.drained_s - now_s, 0.0) * row.rate
    if row.sending >= 0 and rate != row.rate:
        row.drained_s = now_s + left_bytes / rate
        at(st, row.drained_s, E_SENT, session, NONE, NONE)
    row.rate = rate
