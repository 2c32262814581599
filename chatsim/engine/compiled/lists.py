"""Friend lists: what loading one costs, and what happens to those who write to somebody not on it.

As in :mod:`chatsim.engine.friendlists`, and the search of :mod:`chatsim.engine.asking`.
"""

from __future__ import annotations

from chatsim.engine.compiled.chat import does_asked
from chatsim.engine.compiled.clients import send
from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.events import at
from chatsim.engine.compiled.kinds import (
    ABANDONED,
    E_SEARCH_UP,
    E_SEARCHED,
    J_FOUND,
    J_REQUEST,
    J_SEARCH,
    LIST,
    PARSE,
    SEARCH,
    STATE_READ,
    UPDATE,
)
from chatsim.engine.compiled.places import database, node_of
from chatsim.engine.compiled.pools import new_job
from chatsim.engine.compiled.requests import add_request, request
from chatsim.engine.compiled.rules import detour, is_listed, personal_room, user_channel
from chatsim.engine.compiled.state import NONE, State
from chatsim.engine.friendlists import WRITES_PER_CHAT
from chatsim.rules import detour as detours
from chatsim.rules.ranking import ALL, ONLINE_FIRST

# ---------------------------------------------------------------------- loading a list


@compiled
def size(st: State, session: int) -> int:
    """How many friends and contacts a session's user has when it starts: the list before its limit."""
    if session < len(st.list_size):
        return int(st.list_size[session])
    user = st.sessions[session].user
    return int(st.friend_start[user + 1] - st.friend_start[user])


@compiled
def length(st: State, session: int) -> int:
    """How many friends a session loads."""
    asked = st.asked[0]
    return size(st, session) if asked.list_policy == ALL else min(size(st, session), asked.list_limit)


@compiled
def add_lists(st: State, query: int, last: int, session: int) -> int:
    """Adds to a query what a gateway asks to load a list, and the state of each one on it; the last request."""
    asked, row = st.asked[0], st.sessions[session]
    full, loaded = size(st, session), length(st, session)
    read, is_cold = loaded, asked.ranked and st.users[row.user].warm < st.now[0].emptied
    if asked.ranked and not is_cold:
        read = full if asked.list_policy == ONLINE_FIRST else loaded
        job = request(st, J_REQUEST, row.gateway, row.user, LIST, asked.list_us + asked.list_entry_us * read)
        st.jobs[job].place = node_of(st, user_channel(row.user))
    else:
        job = request(st, J_REQUEST, row.gateway, row.user, LIST, asked.friends_us + asked.friend_us * full)
        st.jobs[job].place = database(st)
    last = add_request(st, query, last, job)
    st.jobs[st.jobs[job].reply].cost_us = asked.parse_us + asked.entry_us * loaded
    if is_cold:
        st.users[row.user].warm = st.now[0].emptied
        job = request(st, J_REQUEST, row.gateway, row.user, UPDATE, asked.update_us * max(1, full))
        st.jobs[job].times, st.jobs[job].place = max(1, full), node_of(st, user_channel(row.user))
        last = add_request(st, query, last, job)
    if asked.has_broker:
        job = request(st, J_REQUEST, row.gateway, row.user, STATE_READ, asked.lookup_us + asked.lookup_user_us * read)
        st.jobs[job].place = node_of(st, user_channel(row.user))
        last = add_request(st, query, last, job)
    return last


@compiled
def empties_lists(st: State) -> None:
    """The ranked lists in the broker are gone: each is made again from the database when it is asked for."""
    st.now[0].emptied += 1


# ---------------------------------------------------------------------- who is not listed


@compiled
def finds(st: State, message: int, session: int) -> bool:
    """The writer looks for the recipient on the list; False where the message is never written, or not yet."""
    choice = turn(st, message, session) if is_written(st, message) else detours.GIVE_UP
    if choice == detours.GIVE_UP:
        st.messages[message].fate, st.messages[message].done_s = ABANDONED, st.now[0].time_s
    elif choice == detours.SEARCH:
        at(st, st.now[0].time_s + st.sessions[session].link_s, E_SEARCH_UP, message, session, NONE)
    return bool(choice in (detours.NONE, detours.OTHER))


@compiled
def is_written(st: State, message: int) -> bool:
    """Whether a message is written: not in a conversation given up, nor by one who never heard of it."""
    if st.chats[message].conversation < 0:
        return True
    conversation = st.conversations[st.chats[message].conversation]
    if conversation.ended:
        return False
    if conversation.other < 0:
        return True
    return bool(st.messages[message].sender == conversation.sender and redirect(st, message, conversation.other))


@compiled
def turn(st: State, message: int, session: int) -> int:
    """What the writer of a message does: nothing unless the conversation opens with somebody who is not listed."""
    asked, chat = st.asked[0], st.chats[message]
    if not st.messages[message].opening or is_listed(asked.list_policy, chat.rank, float(asked.list_limit)):
        return detours.NONE
    choice = detour(chat.luck, asked.search_share, asked.other_share)
    if choice == detours.OTHER and not turn_to_other(st, message, session):
        choice = detours.GIVE_UP
    if choice == detours.GIVE_UP:
        st.conversations[chat.conversation].ended = 1
    chat.detour = choice
    return int(choice)


@compiled
def turn_to_other(st: State, message: int, session: int) -> bool:
    """The writer turns to somebody on the list with whom there is a room: from one drawn on, in the list's order."""
    if session >= len(st.listed_start) - 1:
        return False
    wanted, start, end = st.messages[message].partner, st.listed_start[session], st.listed_start[session + 1]
    others = 0
    for place in range(start, end):
        others += st.listed[place] != wanted
    first = int(st.chats[message].choice * others)
    for skipped in (first, 0):
        number, last = 0, others if skipped == first else first
        for place in range(start, end):
            if st.listed[place] == wanted:
                continue
            if skipped <= number < last and redirect(st, message, st.listed[place]):
                conversation = st.conversations[st.chats[message].conversation]
                conversation.sender, conversation.other = st.messages[message].sender, st.listed[place]
                return True
            number += 1
    return False


@compiled
def redirect(st: State, message: int, recipient: int) -> bool:
    """Sends a private message to somebody else with whom its sender has a room; False where there is none."""
    asked, row = st.asked[0], st.messages[message]
    key = min(row.sender, recipient) * asked.users + max(row.sender, recipient)
    low, high = 0, len(st.pair_keys)
    while low < high:
        middle = (low + high) // 2
        if st.pair_keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    if low == len(st.pair_keys) or st.pair_keys[low] != key:
        return False
    row.meant, row.partner = st.pair_rooms[low], recipient
    row.room = personal_room(recipient, asked.total_rooms) if asked.personal else st.venues[row.meant]
    return True


# ---------------------------------------------------------------------- searches


@compiled
def search_comes_up(st: State, message: int, session: int) -> None:
    """A search reaches the writer's gateway."""
    asked = st.asked[0]
    cost_us = asked.receive_us + asked.command_us
    does_asked(st, st.sessions[session].gateway, J_SEARCH, SEARCH, cost_us, session, message)


@compiled
def end_search(st: State, station: int, job: int) -> None:
    """The gateway asks the database."""
    asked, reply = st.asked[0], new_job(st, J_FOUND)
    found = st.jobs[reply]
    found.message, found.session = st.jobs[job].user, st.jobs[job].session
    found.cost_us = asked.parse_us + asked.write_us
    question = request(st, J_REQUEST, station, NONE, SEARCH, asked.search_us)
    st.jobs[question].reply = reply
    send(st, station, database(st), question)


@compiled
def end_found(st: State, station: int, job: int) -> None:
    """The gateway has read the answer, which goes down to the writer."""
    session = st.jobs[job].session
    st.work[station, PARSE] += 1
    at(st, st.now[0].time_s + st.sessions[session].link_s, E_SEARCHED, st.jobs[job].message, session, NONE)


# ---------------------------------------------------------------------- chats


@compiled
def moves(st: State, message: int) -> bool:
    """Whether a message moves its two on each other's list, kept in a sorted set of the broker."""
    return bool(st.asked[0].ranked and st.messages[message].partner >= 0)


@compiled
def noted(st: State, message: int, gateway: int) -> None:
    """A chat moves both on each other's list: one command, which the broker takes with no reply that counts."""
    if moves(st, message):
        job = request(st, J_REQUEST, gateway, NONE, UPDATE, st.asked[0].update_us * WRITES_PER_CHAT)
        st.jobs[job].times = WRITES_PER_CHAT
        send(st, gateway, node_of(st, user_channel(st.messages[message].sender)), job)
