"""What happens when: a heap of events by (time, number), and those that begin within the present instant.

SimPy's order is (time, priority, number of scheduling): what is urgent there, a story that starts, goes into ``soon``,
a ring that is emptied before the heap is looked at.
"""

from __future__ import annotations

from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.pools import copy_rows, grown
from chatsim.engine.compiled.state import State


@compiled
def at(st: State, time_s: float, kind: int, one: int, two: int, three: int) -> None:
    """An event of a kind at ``time_s``; one that the run does not come to is not even remembered."""
    now = st.now[0]
    if time_s >= st.asked[0].end_s:
        return
    place: int = now.heap
    now.heap += 1
    now.number += 1
    if now.heap > len(st.heap):
        st.heap = grown(st.heap)
    heap = st.heap
    while place > 0:
        above = (place - 1) >> 2
        if heap[above].time_s <= time_s:  # what was scheduled before is first at one time
            break
        copy_rows(heap, above, heap, place, 1)
        place = above
    event = heap[place]
    event.time_s, event.number, event.kind = time_s, now.number, kind
    event.one, event.two, event.three = one, two, three


@compiled
def drop_first(st: State) -> None:
    """Takes the first event off the heap."""
    now, heap = st.now[0], st.heap
    now.heap -= 1
    count = now.heap
    last = heap[count]
    time_s, number = last.time_s, last.number
    place = 0
    while True:
        below = 4 * place + 1
        if below >= count:
            break
        least = below
        for other in range(below + 1, min(below + 4, count)):
            earlier = heap[other].time_s < heap[least].time_s
            if earlier or (heap[other].time_s == heap[least].time_s and heap[other].number < heap[least].number):
                least = other
        if time_s < heap[least].time_s or (time_s == heap[least].time_s and number < heap[least].number):
            break
        copy_rows(heap, least, heap, place, 1)
        place = least
    copy_rows(heap, count, heap, place, 1)


@compiled
def soon(st: State, kind: int, one: int, two: int, three: int) -> None:
    """An event of a kind now, before all that is on the heap, and after those that are soon already."""
    now = st.now[0]
    if now.soon == len(st.soon):
        st.soon = grown(st.soon)
        copy_rows(st.soon, 0, st.soon, now.soon, now.soon)  # the ring goes on behind its end with what stands before
    event = st.soon[(now.soon_first + now.soon) % len(st.soon)]
    now.soon += 1
    event.kind, event.one, event.two, event.three = kind, one, two, three
