"""What waits in store for whom: a list of messages for each user, in the order in which they came into it."""

from __future__ import annotations

from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.memory import grown
from chatsim.engine.compiled.pools import free_box, new_box
from chatsim.engine.compiled.state import NONE, State


@compiled
def into_box(st: State, user: int, message: int) -> None:
    """A message waits in store for a user."""
    new = new_box(st, message)
    last = st.users[user].box_last
    if last >= 0:
        st.boxes[last].next = new
    else:
        st.users[user].box_first = new
    st.users[user].box_last = new
    tell_box(st, user, message, 1)


@compiled
def tell_box(st: State, user: int, message: int, change: int) -> None:
    """Writes down that one message more, or less, waits for a user, where a run is taken in parts."""
    if not st.asked[0].tells_boxes:
        return
    st.now[0].boxed += 1
    if st.now[0].boxed > len(st.boxed):
        st.boxed = grown(st.boxed)
    row = st.boxed[st.now[0].boxed - 1]
    row.user, row.message, row.change = user, message, change


@compiled
def out_of_box(st: State, user: int, message: int) -> bool:
    """A message waits for a user no longer; whether it did."""
    before, here = NONE, st.users[user].box_first
    while here >= 0 and st.boxes[here].message != message:
        before, here = here, st.boxes[here].next
    if here < 0:
        return False
    following = free_box(st, here)
    if before >= 0:
        st.boxes[before].next = following
    else:
        st.users[user].box_first = following
    if following < 0:
        st.users[user].box_last = before
    tell_box(st, user, message, -1)
    return True
