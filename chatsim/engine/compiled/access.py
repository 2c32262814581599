"""What sessions know of their rights, ties that end, and who may come in, as in :mod:`chatsim.engine.access`."""

from __future__ import annotations

import math

from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.kinds import FORBIDDEN, I_NO_SESSION, NO_CAUSE
from chatsim.engine.compiled.memory import grown
from chatsim.engine.compiled.places import is_there
from chatsim.engine.compiled.pools import EMPTY, fill, link, slot_of, unlink
from chatsim.engine.compiled.rules import may_enter, may_write, personal_room, remembered
from chatsim.engine.compiled.state import NONE, State
from chatsim.rules.access import FRIENDS, OPEN

# ---------------------------------------------------------------------- rights of sessions


@compiled
def keeps_rights(st: State) -> bool:
    """Whether it matters since when a session knows its rights: not where nobody or the database is asked."""
    return bool(st.asked[0].access != OPEN and not st.asked[0].asks)


@compiled
def renewed(st: State, session: int) -> None:
    """A session shows a token issued now, or connects with one: what has ended before counts for it."""
    if not keeps_rights(st):
        return
    drop_old(st, session)
    row = st.sessions[session]
    row.rights_s = st.now[0].time_s
    if not row.holds:
        row.holds = 1
        new = link(st, session, 0, 0.0)
        st.links[new].next = st.users[row.user].holding
        st.users[row.user].holding = new


@compiled
def rights_end(st: State, session: int) -> None:
    """A session has ended, and its rights with it."""
    row = st.sessions[session]
    if row.holds:
        row.holds = 0
        before, here = NONE, st.users[row.user].holding
        while st.links[here].one != session:
            before, here = here, st.links[here].next
        following = unlink(st, here)
        if before >= 0:
            st.links[before].next = following
        else:
            st.users[row.user].holding = following
    drop_old(st, session)


@compiled
def drop_old(st: State, session: int) -> None:
    """A session holds no rights any more that are older than an ending."""
    here = st.sessions[session].old
    st.sessions[session].old = NONE
    while here >= 0:
        ending = st.endings[st.links[here].one]
        ending.holders -= 1
        if ending.holders == 0:
            ending.effective_s = st.now[0].time_s
        here = unlink(st, here)


# ---------------------------------------------------------------------- ties that end


@compiled
def tie_of(st: State, user: int, other: int) -> int:
    """The place of a tie that ends at some time, or has ended, or -1."""
    key, low, high = user * st.asked[0].users + other, 0, len(st.tie_keys)
    while low < high:
        middle = (low + high) // 2
        if st.tie_keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    return int(low) if low < len(st.tie_keys) and st.tie_keys[low] == key else NONE


@compiled
def tie_ends(st: State, number: int) -> None:
    """A user ends a tie, or blocks the other; noted when no gateway takes a message across it any more."""
    user, other = st.endings[number].user, st.endings[number].other
    until_s = stops(st, number, other, user)
    if not st.endings[number].blocks:
        until_s = max(until_s, stops(st, number, user, other))
    if st.endings[number].holders == 0:
        st.endings[number].effective_s = st.now[0].time_s if until_s == -math.inf else until_s


@compiled
def stops(st: State, number: int, writer: int, partner: int) -> float:
    """One may not write to the other any more; until when answers that say otherwise are remembered, or -inf.

    Sessions of the writer hold rights that are older than this.
    """
    tie = tie_of(st, writer, partner)
    if math.isinf(st.tie_ends_s[tie]):
        st.tie_ends_s[tie] = st.now[0].time_s
    if st.asked[0].asks:
        return remembered_until_s(st, writer, partner)
    here = st.users[writer].holding
    while here >= 0:
        session = st.links[here].one
        new = link(st, number, 0, 0.0)
        st.links[new].next = st.sessions[session].old
        st.sessions[session].old = new
        st.endings[number].holders += 1
        here = st.links[here].next
    return -math.inf


@compiled
def remembered_until_s(st: State, writer: int, partner: int) -> float:
    """Until when a gateway remembers the answer that one is a friend of the other; -inf where none does."""
    until_s, cache_s = -math.inf, st.asked[0].cache_s
    for gateway in range(st.asked[0].gateways):
        asked_s = answered_s(st, gateway, writer, partner)
        if remembered(asked_s, st.now[0].time_s, cache_s):
            until_s = max(until_s, asked_s + cache_s)
    return float(until_s)


@compiled
def answered_s(st: State, gateway: int, writer: int, partner: int) -> float:
    """When the database last answered a gateway about these two; -inf: never."""
    slot = slot_of(st.answer_slots, answer_key(st, gateway, writer, partner))
    if st.answer_slots[slot].key == EMPTY:
        return -math.inf
    return float(st.answers[st.answer_slots[slot].row].asked_s)


@compiled
def answer_key(st: State, gateway: int, writer: int, partner: int) -> int:
    """The key of what the database says to a gateway of these two."""
    users = st.asked[0].users
    return int((gateway * users + writer) * users + partner)


@compiled
def answers_now(st: State, gateway: int, message: int) -> None:
    """The database answers a gateway whether the two of a private message are friends."""
    row = st.messages[message]
    key = answer_key(st, gateway, row.sender, row.partner)
    slot = slot_of(st.answer_slots, key)
    if st.answer_slots[slot].key != EMPTY:
        st.answers[st.answer_slots[slot].row].asked_s = st.now[0].time_s
        return
    number: int = st.now[0].answers
    st.answer_slots[slot].key, st.answer_slots[slot].row = key, number
    st.now[0].answers += 1
    if st.now[0].answers > len(st.answers):
        st.answers = grown(st.answers)
    if 2 * st.now[0].answers > len(st.answer_slots):
        slots = grown(st.answer_slots)
        fill(slots, st.answer_slots)
        st.answer_slots = slots
    st.answers[number].asked_s = st.now[0].time_s


@compiled
def forgets_answers(st: State, gateway: int) -> None:
    """A gateway (-1: each one) remembers no answers of the database any more."""
    pairs = st.asked[0].users * st.asked[0].users
    for slot in range(len(st.answer_slots)):
        key = st.answer_slots[slot].key
        if key != EMPTY and (gateway < 0 or key // pairs == gateway):
            st.answers[st.answer_slots[slot].row].asked_s = -math.inf


# ---------------------------------------------------------------------- verdicts


@compiled
def verdict_of(st: State, message: int, rights_s: float) -> int:
    """What rights known at ``rights_s`` say of a message."""
    row = st.messages[message]
    if row.partner < 0:
        return NO_CAUSE
    tie = tie_of(st, row.sender, row.partner)
    ended_s = math.inf if tie < 0 else st.tie_ends_s[tie]
    return NO_CAUSE if may_write(st.asked[0].access, rights_s, ended_s) else FORBIDDEN


@compiled
def must_ask(st: State, message: int, gateway: int) -> bool:
    """Whether the database must be asked about a message now: private, and no answer is remembered."""
    asked, row = st.asked[0], st.messages[message]
    if not asked.asks or row.partner < 0:
        return False
    asked_s = answered_s(st, gateway, row.sender, row.partner)
    return not remembered(asked_s, st.now[0].time_s, asked.cache_s)


@compiled
def answer(st: State, message: int, gateway: int) -> int:
    """The verdict by the answer of the database that counts at a gateway."""
    row = st.messages[message]
    if not st.asked[0].asks or row.partner < 0:
        return NO_CAUSE
    asked_s = answered_s(st, gateway, row.sender, row.partner)
    return verdict_of(st, message, st.now[0].time_s if asked_s == -math.inf else asked_s)


# ---------------------------------------------------------------------- who may come in


@compiled
def lets_in(st: State, user: int, room: int) -> bool:
    """Whether a user may come into a room of which it is no member."""
    is_member, known, by_friends = False, False, st.asked[0].access == FRIENDS
    for place in range(st.room_start[room], st.room_start[room + 1]):
        is_member |= st.member[place] == user
        known |= by_friends and knows(st, user, st.member[place])
    return bool(may_enter(st.asked[0].access, is_member, known))


@compiled
def knows(st: State, user: int, other: int) -> bool:
    """Whether a user is a friend of another, and has been since the run began."""
    tie = tie_of(st, user, other)
    if tie >= 0 and not math.isinf(st.tie_ends_s[tie]):
        return False
    for place in range(st.friend_start[user], st.friend_start[user + 1]):  # noqa: SIM110
        if st.friend[place] == other:
            return True
    return False


@compiled
def wanted(st: State, number: int) -> int:
    """The room an intruder is after: the victim's own, or one of its rooms that the intruder is not in; -1: none."""
    asked, row = st.asked[0], st.intrusions[number]
    if asked.personal:
        return int(personal_room(row.victim, asked.total_rooms))
    count = 0
    for own in range(st.own_start[row.victim], st.own_start[row.victim + 1]):
        count += is_closed(st, st.own_room[own], row.user)
    left = int(row.draw * count)
    for own in range(st.own_start[row.victim], st.own_start[row.victim + 1]):
        if is_closed(st, st.own_room[own], row.user):
            if left == 0:
                return int(st.own_room[own])
            left -= 1
    return NONE


@compiled
def is_closed(st: State, room: int, user: int) -> bool:
    """Whether a room exists of which a user is no member."""
    if not is_there(st, room):
        return False
    for place in range(st.room_start[room], st.room_start[room + 1]):  # noqa: SIM110
        if st.member[place] == user:
            return False
    return True


@compiled
def stays_away(st: State, number: int) -> None:
    """An intruder will not be connected any more."""
    st.intrusions[number].room, st.intrusions[number].fate = wanted(st, number), I_NO_SESSION
