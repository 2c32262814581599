"""What is known when it is written: that it comes, and when. Then that is noted at once, and no event need happen.

A message that comes to a session does nothing but be there, unless one waits for that: those who were away, receipts,
clients that send again. Whether it comes is known too, where nothing breaks: sessions end when their users leave, which
is planned, or because their gateway closes them, and then what was not there yet is taken back.
"""

from __future__ import annotations

from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.events import is_before, key_of
from chatsim.engine.compiled.kinds import E_DELIVERED, LEFT
from chatsim.engine.compiled.outbox import lose_row
from chatsim.engine.compiled.pools import link, unlink
from chatsim.engine.compiled.state import NEVER, NONE, State


@compiled
def is_foretold(st: State, session: int, arrives_s: float) -> bool:
    """Whether it is known that what is written to a session comes to it, and that nothing else happens then: the
    session ends when its user leaves, and not before that unless its gateway closes it."""
    row, asked = st.sessions[session], st.asked[0]
    return bool(asked.foretells and row.online and arrives_s < row.end_s and arrives_s < asked.end_s)


@compiled
def foretell(st: State, session: int, row: int, arrives_s: float) -> None:
    """Notes now that a message comes to a session then: that needs no event. What may be taken back is remembered until
    it is there."""
    st.rows[row].time_s = arrives_s
    if not st.asked[0].closes:
        return
    now, receiver = st.now[0], st.sessions[session]
    now.number += 1
    new, here = link(st, row, key_of(now.number, E_DELIVERED), arrives_s), receiver.foretold_first
    while here >= 0 and st.links[here].value < now.time_s:
        here = unlink(st, here)
    if here >= 0:
        st.links[receiver.foretold_last].next = new
        receiver.foretold_first = here
    else:
        receiver.foretold_first = new
    receiver.foretold_last = new


@compiled
def foretell_all(st: State, session: int, first: int, arrives_s: float) -> None:
    """The same for all messages of a packet."""
    while first >= 0:
        foretell(st, session, st.links[first].one, arrives_s)
        first = unlink(st, first)


@compiled
def take_back(st: State, session: int) -> None:
    """A session is gone: what was foretold, and has not come by now, does not come."""
    now, here = st.now[0], st.sessions[session].foretold_first
    st.sessions[session].foretold_first = NONE
    while here >= 0:
        if is_before(now.time_s, now.key, st.links[here].value, st.links[here].two):
            st.rows[st.links[here].one].time_s = NEVER
            lose_row(st, st.links[here].one, LEFT)
        here = unlink(st, here)
