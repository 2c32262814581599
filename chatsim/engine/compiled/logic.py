"""What happens in the chat logic that a design need not have, by the kind of event and of job."""

from __future__ import annotations

from chatsim.engine.compiled import access, entering, intruders, lists, losing, messages, notices, passing, sessions
from chatsim.engine.compiled.chat import end_request
from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.kinds import (
    E_ANNOUNCES,
    E_IDLE,
    E_IDLES,
    E_INTRUDES,
    E_RECEIPT,
    E_RECEIPT_UP,
    E_RENEW,
    E_RENEWS,
    E_SEARCH_UP,
    E_SEARCHED,
    E_TIE_ENDS,
    J_ANNOUNCE,
    J_ANNOUNCED,
    J_COUNT,
    J_FOUND,
    J_JOIN,
    J_RECEIPT,
    J_REFUSE,
    J_RELATION,
    J_REQUEST,
    J_SEARCH,
    J_TELL,
    J_TOKEN,
    Q_ENTERED,
    Q_FOUNDED,
    Q_INSIDE,
    Q_INTRUDES,
    Q_LOADED,
    Q_RELATION,
    Q_SUBSCRIBED,
    Q_TOLD,
)
from chatsim.engine.compiled.places import counted_in
from chatsim.engine.compiled.pools import free_query
from chatsim.engine.compiled.state import State


@compiled
def happens(st: State, kind: int, one: int, two: int, three: int) -> None:
    """An event of the chat logic happens."""
    if kind == E_RECEIPT:
        notices.receipt_leaves(st, one, two, three)
    elif kind == E_RECEIPT_UP:
        notices.receipt_comes_up(st, one, two, three)
    elif kind == E_ANNOUNCES:
        notices.announce(st, two, one)
    elif kind == E_IDLES:
        entering.idles(st, one, two)
    elif kind == E_IDLE:
        entering.is_idle(st, one, two)
    else:
        access_happens(st, kind, one, two)


@compiled
def access_happens(st: State, kind: int, one: int, two: int) -> None:
    """Something happens to rights, to a search, or to an intruder."""
    if kind == E_TIE_ENDS:
        access.tie_ends(st, one)
    elif kind == E_RENEWS:
        intruders.renews(st, one)
    elif kind == E_RENEW:
        intruders.renew(st, one)
    elif kind == E_SEARCH_UP:
        lists.search_comes_up(st, one, two)
    elif kind == E_SEARCHED:
        messages.searched(st, one, two)
    elif kind == E_INTRUDES:
        intruders.intrudes(st, one)
    else:
        intruders.comes_up(st, one, two)


@compiled
def passes(st: State, asks_more: bool, job: int) -> None:
    """A message was received and checked: there may be more to ask before it goes on."""
    if asks_more:
        passing.may_pass(st, st.jobs[job].message, st.jobs[job].session)


@compiled
def answered(st: State, query: int) -> None:
    """A query is settled (-1: not yet): the story that has waited for the replies goes on, or ends."""
    if query < 0:
        return
    if st.queries[query].reading >= 0:
        losing.query_fails(st, query, st.queries[query].cause)
    else:
        goes_on(st, query)


@compiled
def goes_on(st: State, query: int) -> None:
    """All replies to a query have been read."""
    story, subject, session = st.queries[query].story, st.queries[query].subject, st.queries[query].session
    free_query(st, query)
    if story == Q_SUBSCRIBED:
        sessions.subscribed(st, session)
    elif story == Q_LOADED:
        sessions.loaded(st, session)
    elif story == Q_RELATION:
        passing.checks(st, subject, session)
    elif story == Q_ENTERED:
        passing.founds(st, subject, session)
    elif story == Q_FOUNDED:
        passing.asks_members(st, subject, session)
    elif story == Q_INTRUDES:
        intruders.decides(st, subject, session)
    elif story == Q_INSIDE:
        intruders.is_inside(st, subject)
    elif story != Q_TOLD:
        messages.carry(st, subject, session, st.sessions[session].gateway)


@compiled
def end(st: State, kind: int, station: int, job: int) -> None:
    """A job of the chat logic leaves its station."""
    if kind == J_REQUEST:
        end_request(st, station, job)
    elif kind == J_COUNT:
        counted_in(st, st.jobs[job].user, st.jobs[job].recipient, st.jobs[job].change)
        end_request(st, station, job)
    elif kind == J_RECEIPT:
        notices.end_receipt(st, station, job)
    elif kind == J_ANNOUNCED:
        notices.end_announced(st, station, job)
    elif kind == J_ANNOUNCE:
        notices.end_announce(st, station, job)
    elif kind == J_TELL:
        notices.end_tell(st, station, job)
    else:
        end_for_access(st, kind, station, job)


@compiled
def end_for_access(st: State, kind: int, station: int, job: int) -> None:
    """A job of rights, of a search, or of an intruder leaves its station."""
    if kind == J_RELATION:
        passing.end_relation(st, station, job)
    elif kind == J_REFUSE:
        passing.end_refuse(st, station, job)
    elif kind == J_SEARCH:
        lists.end_search(st, station, job)
    elif kind == J_FOUND:
        lists.end_found(st, station, job)
    elif kind == J_TOKEN:
        intruders.end_token(st, job)
    elif kind == J_JOIN:
        intruders.end_join(st, station, job)
    else:
        intruders.end_say_no(st, job)
