"""Rows of growing tables: taken, linked to lists, given back; and tables of keys."""

from __future__ import annotations

from typing import Any

from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.memory import ahead, copy_rows, grown
from chatsim.engine.compiled.state import NONE, State

EMPTY = -1
ABREAST = 8
"""Gateways whose lists of seats in one room stand beside each other."""


@compiled
def link(st: State, one: int, two: int, value: float) -> int:
    """A new link, the last of its list."""
    now = st.now[0]
    row: int = now.free_link
    if row >= 0:
        now.free_link = st.links[row].next
    else:
        row = now.links
        now.links += 1
        if now.links > len(st.links):
            st.links = grown(st.links)
    new = st.links[row]
    new.one = one
    new.two = two
    new.value = value
    new.next = NONE
    return row


@compiled
def unlink(st: State, row: int) -> int:
    """Gives a link back; what was next to it."""
    following: int = st.links[row].next
    st.links[row].next = st.now[0].free_link
    st.now[0].free_link = row
    return following


@compiled
def unlink_all(st: State, first: int) -> None:
    """Gives back a list of links."""
    while first >= 0:
        first = unlink(st, first)


@compiled
def new_box(st: State, message: int) -> int:
    """A link of a box, for a message that waits in it: there are as many as wait for somebody, so it is kept small."""
    now = st.now[0]
    row: int = now.free_box
    if row >= 0:
        now.free_box = st.boxes[row].next
    else:
        row = now.boxes
        now.boxes += 1
        if now.boxes > len(st.boxes):
            st.boxes = grown(st.boxes)
    st.boxes[row].message, st.boxes[row].next = message, NONE
    return row


@compiled
def free_box(st: State, row: int) -> int:
    """Gives a link of a box back; what was next to it."""
    following: int = st.boxes[row].next
    st.boxes[row].next = st.now[0].free_box
    st.now[0].free_box = row
    return following


@compiled
def new_job(st: State, kind: int) -> int:
    """A job of a kind that costs nothing and touches nothing yet."""
    now = st.now[0]
    row: int = now.free_job
    if row >= 0:
        now.free_job = st.jobs[row].next
    else:
        row = now.jobs
        now.jobs += 1
        if now.jobs > len(st.jobs):
            st.jobs = grown(st.jobs)
    copy_rows(st.blank_job, 0, st.jobs, row, 1)
    st.jobs[row].kind = kind
    return row


@compiled
def free_job(st: State, row: int) -> None:
    """Gives a job back, with its list."""
    unlink_all(st, st.jobs[row].first)
    st.jobs[row].next = st.now[0].free_job
    st.now[0].free_job = row


@compiled
def chained(st: State, first: int, last: int, job: int) -> int:
    """Puts a job at the end of a list of jobs; the first of these."""
    if last < 0:
        return job
    st.jobs[last].next = job
    return first


@compiled
def add_link(st: State, job: int, one: int, two: int) -> None:
    """One link more at the end of a job's list, which counts them."""
    new = link(st, one, two, 0.0)
    row = st.jobs[job]
    if row.last >= 0:
        st.links[row.last].next = new
    else:
        row.first = new
    row.last = new
    row.count += 1


@compiled
def new_parcel(st: State, place: int, to_session: int) -> int:
    """An empty parcel for a station or a session."""
    now = st.now[0]
    row: int = now.free_parcel
    if row >= 0:
        now.free_parcel = st.parcels[row].next
    else:
        row = now.parcels
        now.parcels += 1
        if now.parcels > len(st.parcels):
            st.parcels = grown(st.parcels)
    copy_rows(st.blank_parcel, 0, st.parcels, row, 1)
    st.parcels[row].place = place
    st.parcels[row].to_session = to_session
    return row


@compiled
def free_parcel(st: State, row: int) -> None:
    """Gives a parcel back."""
    st.parcels[row].next = st.now[0].free_parcel
    st.now[0].free_parcel = row


@compiled
def new_batch(st: State, station: int, first: int) -> int:
    """A batch of jobs."""
    now = st.now[0]
    row: int = now.free_batch
    if row >= 0:
        now.free_batch = st.batches[row].first
    else:
        row = now.batches
        now.batches += 1
        if now.batches > len(st.batches):
            st.batches = grown(st.batches)
    st.batches[row].station, st.batches[row].first, st.batches[row].row = station, first, st.now[0].ticks
    return row


@compiled
def free_batch(st: State, row: int) -> None:
    """Gives a batch back."""
    st.batches[row].station, st.batches[row].first = NONE, st.now[0].free_batch
    st.now[0].free_batch = row


@compiled
def new_query(st: State, story: int, subject: int, gateway: int) -> int:
    """A query of a gateway that asks nothing yet; what goes on with ``subject`` when all is read is the ``story``."""
    now = st.now[0]
    row: int = now.free_query
    if row >= 0:
        now.free_query = st.queries[row].requests
    else:
        row = now.queries
        now.queries += 1
        if now.queries > len(st.queries):
            st.queries = grown(st.queries)
    query = st.queries[row]
    query.story, query.subject, query.gateway, query.requests, query.reading = story, subject, gateway, NONE, NONE
    query.session, query.count, query.pending, query.cause = NONE, 0, 0, 0
    return row


@compiled
def free_query(st: State, row: int) -> None:
    """Gives a query back."""
    st.queries[row].requests = st.now[0].free_query
    st.now[0].free_query = row


@compiled
def first_slot(slots: Any, key: int) -> int:
    """Where a key is in a table of keys, unless others have taken its place."""
    return (key * 40503 ^ (key >> 15)) & (len(slots) - 1)


@compiled
def slot_of(slots: Any, key: int) -> int:
    """Where a key is in a table of keys that is not full, or would be."""
    mask, slot = len(slots) - 1, first_slot(slots, key)
    while slots[slot].key not in (EMPTY, key):
        slot = (slot + 1) & mask
    return slot


@compiled
def fill(slots: Any, before: Any) -> None:
    """Puts all keys of a table into a larger one."""
    for slot in range(len(slots)):
        slots[slot].key = EMPTY
    for place in range(len(before)):
        if before[place].key != EMPTY:
            slot = slot_of(slots, before[place].key)
            slots[slot].key, slots[slot].row = before[place].key, before[place].row


@compiled
def lists_ahead(st: State, room: int) -> None:
    """Fetches where the lists of seats in a room stand, at the first gateways, unless the room itself says so."""
    if st.asked[0].groups > 1:
        ahead(st.place_slots, first_slot(st.place_slots, room * st.asked[0].groups))


@compiled
def place_of(st: State, room: int, gateway: int) -> int:
    """The list of seats in a room at a gateway, or -1 where there has never been one here, or at one beside."""
    if st.asked[0].groups == 1 and room < len(st.rooms):
        first: int = st.rooms[room].places
        return first + gateway if first >= 0 else NONE
    slot = slot_of(st.place_slots, room * st.asked[0].groups + gateway // ABREAST)
    if st.place_slots[slot].key == EMPTY:
        return NONE
    return int(st.place_slots[slot].row + gateway % ABREAST)


@compiled
def place_made(st: State, room: int, gateway: int) -> int:
    """The list of seats in a room at a gateway, made together with those at the gateways beside: a message looks at all
    of these at nearly one time."""
    if st.asked[0].groups == 1 and room < len(st.rooms):
        if st.rooms[room].places < 0:
            st.rooms[room].places = new_places(st)
        return int(st.rooms[room].places + gateway)
    now, key = st.now[0], room * st.asked[0].groups + gateway // ABREAST
    slot = slot_of(st.place_slots, key)
    if st.place_slots[slot].key != EMPTY:
        return int(st.place_slots[slot].row + gateway % ABREAST)
    row = new_places(st)
    st.place_slots[slot].key, st.place_slots[slot].row = key, row
    now.place_groups += 1
    if 2 * now.place_groups > len(st.place_slots):
        slots = grown(st.place_slots)
        fill(slots, st.place_slots)
        st.place_slots = slots
    return row + gateway % ABREAST


@compiled
def new_places(st: State) -> int:
    """Empty lists of seats in a room, at gateways beside each other; the row of the first."""
    now = st.now[0]
    row: int = now.places
    now.places += min(st.asked[0].gateways, ABREAST)
    if now.places > len(st.places):
        st.places = grown(st.places)
    for place in range(row, now.places):
        st.places[place].first, st.places[place].last, st.places[place].count = NONE, NONE, 0
    return row


@compiled
def tokens_of(st: State, gateway: int, user: int, at_s: float) -> int:
    """What a user may still send to a gateway: the row of it, new with all tokens."""
    key = gateway * st.asked[0].users + user
    slot = slot_of(st.token_slots, key)
    if st.token_slots[slot].key != EMPTY:
        found: int = st.token_slots[slot].row
        if st.tokens[found].life != st.stations[gateway].life:
            st.tokens[found].life = st.stations[gateway].life
            st.tokens[found].left, st.tokens[found].since_s = float(st.asked[0].burst), at_s
        return found
    row: int = st.now[0].tokens
    st.token_slots[slot].key, st.token_slots[slot].row = key, row
    st.now[0].tokens += 1
    if st.now[0].tokens > len(st.tokens):
        st.tokens = grown(st.tokens)
    if 2 * st.now[0].tokens > len(st.token_slots):
        slots = grown(st.token_slots)
        fill(slots, st.token_slots)
        st.token_slots = slots
    st.tokens[row].life = st.stations[gateway].life
    st.tokens[row].left, st.tokens[row].since_s = float(st.asked[0].burst), at_s
    return row


@compiled
def is_new(st: State, key: int) -> bool:
    """Notes that a client has got a message; whether it had not."""
    slot = slot_of(st.got_slots, key)
    if st.got_slots[slot].key != EMPTY:
        return False
    st.got_slots[slot].key = key
    st.now[0].got += 1
    if 2 * st.now[0].got > len(st.got_slots):
        slots = grown(st.got_slots)
        fill(slots, st.got_slots)
        st.got_slots = slots
    return True
