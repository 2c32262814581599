"""What happens when: events by (time, number), and those that begin within the present instant.

SimPy's order is (time, priority, number of scheduling): what is urgent there, a story that starts, goes into ``soon``,
a ring that is emptied before anything else is looked at.

Time is cut into slots. Events of the present slot lie on a small heap; those of the next ones, as many as have a list,
per slot, without order; what comes later on a large heap. So an event of the near future, as most are, costs the same
however many wait. What is set to a time before all others, as the end of a worker's tick often is, waits beside the
heap in a large run: it is taken next, and need not go up and down there. A small one whose workers are busy would only
look for that in vain.
"""

from __future__ import annotations

from typing import Any

from chatsim.engine.compiled import fetching
from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.memory import ahead, copy_rows, grown
from chatsim.engine.compiled.state import NONE, State

KIND_BITS = 8
NO_SLOT = 1 << 62
"""The slot of what never comes."""
NEAR, FAR = 4, 16
"""How many slots before it opens it is asked for what the events of a slot are about, and for the first of these."""


@compiled
def at(st: State, time_s: float, kind: int, one: int, two: int, three: int) -> None:
    """An event of a kind at ``time_s``; one that the run does not come to is not even remembered."""
    now, asked = st.now[0], st.asked[0]
    if time_s >= asked.end_s:
        return
    now.number += 1
    key = key_of(now.number, kind)
    slot = int(time_s * asked.slots_per_s)
    if slot <= now.slot:
        if asked.fetches and is_first(st, time_s, key):
            if now.has_first:
                copy_rows(st.first, 0, st.heap, room_on_heap(st, st.first[0].time_s, st.first[0].key), 1)
            now.has_first = 1
            event = st.first[0]
        else:
            event = st.heap[room_on_heap(st, time_s, key)]
    elif slot < now.slot + len(st.slots):
        row = new_coming(st, slot)
        event = st.coming[row]
    else:
        now.later += 1
        if now.later > len(st.later):
            st.later = grown(st.later)
        event = st.later[lifted(st.later, now.later - 1, time_s, key)]
    event.time_s, event.key = time_s, key
    event.one, event.two, event.three = one, two, three


@compiled
def key_of(number: int, kind: int) -> int:
    """The number of an event and its kind as one, which is less where the number is: an event is 32 bytes with it."""
    return number << KIND_BITS | kind


@compiled
def kind_of(key: int) -> int:
    """The kind of an event."""
    return key & ((1 << KIND_BITS) - 1)


@compiled
def is_before(time_s: float, key: int, other_s: float, other_key: int) -> bool:
    """Whether an event comes before another one: without branches, since which way they would go nobody foresees."""
    return (time_s < other_s) | ((time_s == other_s) & (key < other_key))


@compiled
def is_first(st: State, time_s: float, key: int) -> bool:
    """Whether an event of the present slot comes before all others of it."""
    now = st.now[0]
    if now.has_first:
        return is_before(time_s, key, st.first[0].time_s, st.first[0].key)
    return now.heap == 0 or is_before(time_s, key, st.heap[0].time_s, st.heap[0].key)


@compiled
def new_coming(st: State, slot: int) -> int:
    """A row for an event of a slot that comes."""
    now = st.now[0]
    now.coming_count += 1
    row: int = now.free_coming
    if row >= 0:
        now.free_coming = st.coming[row].next
    else:
        row = now.coming
        now.coming += 1
        if now.coming > len(st.coming):
            st.coming = grown(st.coming)
    st.coming[row].next = st.slots[slot & (len(st.slots) - 1)]
    st.slots[slot & (len(st.slots) - 1)] = row
    return row


@compiled
def lifted(heap: Any, place: int, time_s: float, key: int) -> int:
    """Makes room on a heap for an event, from its end ``place`` upwards; where the event goes."""
    while place > 0:
        above = (place - 1) >> 2
        if is_before(heap[above].time_s, heap[above].key, time_s, key):
            break
        copy_rows(heap, above, heap, place, 1)
        place = above
    return place


@compiled
def drop_first(heap: Any, count: int) -> None:
    """Takes the first event off a heap, on which ``count`` others are."""
    time_s, key = heap[count].time_s, heap[count].key
    place = 0
    while True:
        below = 4 * place + 1
        if below >= count:
            break
        least, least_s, least_key = below, heap[below].time_s, heap[below].key
        for other in range(below + 1, min(below + 4, count)):
            other_s, other_key = heap[other].time_s, heap[other].key
            earlier = is_before(other_s, other_key, least_s, least_key)
            least = other if earlier else least
            least_s = other_s if earlier else least_s
            least_key = other_key if earlier else least_key
        if is_before(time_s, key, least_s, least_key):
            break
        copy_rows(heap, least, heap, place, 1)
        place = least
    copy_rows(heap, count, heap, place, 1)


@compiled
def comes(st: State) -> bool:
    """Whether an event is to happen before the slot of the trace's next row is over; the first one is the first of the
    small heap then."""
    now = st.now[0]
    while now.heap == 0:
        if now.next_slot <= now.slot:
            return False
        if now.coming_count == 0:
            if now.later == 0:
                return False
            now.slot = min(int(st.later[0].time_s * st.asked[0].slots_per_s), now.next_slot)
        else:
            now.slot += 1
        open_slot(st)
    return True


@compiled
def open_slot(st: State) -> None:
    """The events of the slot that begins come onto the small heap."""
    now = st.now[0]
    if st.asked[0].fetches:
        slots_near(st)
    here = st.slots[now.slot & (len(st.slots) - 1)]
    st.slots[now.slot & (len(st.slots) - 1)] = NONE
    while here >= 0:
        place = room_on_heap(st, st.coming[here].time_s, st.coming[here].key)
        copy_rows(st.coming, here, st.heap, place, 1)
        following = st.coming[here].next
        st.coming[here].next = now.free_coming
        now.free_coming = here
        now.coming_count -= 1
        here = following
    while now.later and int(st.later[0].time_s * st.asked[0].slots_per_s) <= now.slot:
        place = room_on_heap(st, st.later[0].time_s, st.later[0].key)
        copy_rows(st.later, 0, st.heap, place, 1)
        now.later -= 1
        drop_first(st.later, now.later)


@compiled
def slots_near(st: State) -> None:
    """Slots open soon: what is in one of them was mostly put there long ago, as sessions end long after they began."""
    first, last = st.now[0].slot, len(st.slots) - 1
    ahead(st.coming, max(st.slots[(first + FAR) & last], 0))
    here = st.slots[(first + NEAR) & last]
    while here >= 0:
        fetching.nears(st, kind_of(st.coming[here].key), st.coming[here].one, st.coming[here].two)
        here = st.coming[here].next


@compiled
def room_on_heap(st: State, time_s: float, key: int) -> int:
    """Makes room for an event on the small heap; where it goes."""
    st.now[0].heap += 1
    if st.now[0].heap > len(st.heap):
        st.heap = grown(st.heap)
    return int(lifted(st.heap, st.now[0].heap - 1, time_s, key))


@compiled
def soon(st: State, kind: int, one: int, two: int, three: int) -> None:
    """An event of a kind now, before all others, and after those that are soon already: on a ring of a power of two."""
    now = st.now[0]
    if now.soon == len(st.soon):
        st.soon = grown(st.soon)
        copy_rows(st.soon, 0, st.soon, now.soon, now.soon)  # the ring goes on behind its end with what stands before
    event = st.soon[(now.soon_first + now.soon) & (len(st.soon) - 1)]
    now.soon += 1
    event.kind, event.one, event.two, event.three = kind, one, two, three
