"""Sessions that the trace does not have: clients that try again, and users whom a push brings back."""

from __future__ import annotations

from chatsim.engine.compiled.chat import DRAWS, LINK_AGAIN
from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.events import soon
from chatsim.engine.compiled.kinds import E_LOGIN, P_BROUGHT_BACK
from chatsim.engine.compiled.memory import copy_rows
from chatsim.engine.compiled.state import NONE, State
from chatsim.engine.lines import CLIENTS


@compiled
def new_session(st: State, user: int, client: int, origin: int, attempt: int) -> int:
    """A session that the trace does not have, of a client that is there, or of its own where that is -1."""
    session: int = st.now[0].sessions
    st.now[0].sessions += 1
    st.now[0].stops = 1
    luck = st.sessions[session].sync_luck
    copy_rows(st.blank_session, 0, st.sessions, session, 1)
    row = st.sessions[session]
    row.user = user
    row.client, row.current = client, session
    row.origin = origin
    row.attempt = attempt
    row.start_s = st.now[0].time_s
    row.sync_luck = luck
    soon(st, E_LOGIN, session, NONE, NONE)
    return session


@compiled
def has_link(st: State, session: int, base_s: float, base_rate: float) -> None:
    """A session has a link, which is as slow as faults make it now."""
    row = st.sessions[session]
    row.base_s, row.base_rate = base_s, base_rate
    row.link_s = base_s + st.extras[CLIENTS].added_s
    row.rate = rate_of(st, session)


@compiled
def rate_of(st: State, session: int) -> float:
    """Bytes per s at which a session drains its outbound queue now."""
    row, now = st.sessions[session], st.now[0]
    rate = row.base_rate
    for place in range(now.slow_first, now.slow_first + now.slow_count):
        if st.slow_draw[row.user] < st.shares[place].share:
            rate = min(rate, st.shares[place].value)
    return float(rate)


@compiled
def tries(st: State, before: int) -> None:
    """A client tries again to be connected."""
    earlier = st.sessions[before]
    client = st.sessions[earlier.client]
    session = new_session(st, earlier.user, earlier.client, before, client.tries)
    row = st.sessions[session]
    row.end_s = client.end_s
    has_link(st, session, earlier.base_s, earlier.base_rate)
    client.tries += 1
    client.current = session


@compiled
def comes_back(st: State, number: int) -> None:
    """A push brings its user back, if there is no session yet."""
    user = st.pushed[number].user
    person = st.users[user]
    if person.held > 0:
        return
    session = new_session(st, user, NONE, NONE, 0)
    row = st.sessions[session]
    row.client = session
    row.end_s = st.now[0].time_s + st.asked[0].session_s
    place = DRAWS * (person.again % st.asked[0].draws_kept)
    has_link(st, session, st.user_draws[user, place + LINK_AGAIN], row.base_rate)
    person.again += 1
    if person.again >= person.linked:
        st.now[0].scarce = st.now[0].stops = 1
    st.pushed[number].fate, st.pushed[number].session = P_BROUGHT_BACK, session
