"""The state as one struct of numba, passed by reference: a handler loads only the tables that it uses.

The order of fields is that of the tables in :mod:`chatsim.engine.compiled.state`.
"""

from __future__ import annotations

from typing import Any

from numba import from_dtype, types
from numba.experimental import structref

from chatsim.engine.compiled.code import compiled, entry
from chatsim.engine.compiled.state import TABLES, TWO_DIMENSIONS, State


@structref.register
class StructType(types.StructRef):
    """The type of a state to numba.

    It bears a short name: the one that numba makes tells all fields of all records, and is in the name of each function
    that takes a state, which LLVM would read over and over.
    """

    def __init__(self, fields: Any) -> None:
        super().__init__(fields)
        self.name = "chatsim.State"


class Struct(structref.StructRefProxy):
    """A state as Python sees it: something to hand to compiled functions."""


structref.define_boxing(StructType, Struct)
STRUCT = StructType([
    (name, types.Array(from_dtype(dtype), 2 if name in TWO_DIMENSIONS else 1, "C")) for name, dtype in TABLES.items()
])  # fmt: skip


@entry
def build(fixed_tables: Any, growing_tables: Any) -> State:
    """A state of these tables."""
    st = structref.new(STRUCT)
    _take_fixed(st, fixed_tables)
    _take_growing(st, growing_tables)
    return st


@compiled
def _take_fixed(st: State, tables: Any) -> None:
    st.asked = tables[0]
    st.now = tables[1]
    st.stations = tables[2]
    st.hosts = tables[3]
    st.users = tables[4]
    st.messages = tables[5]
    st.rooms = tables[6]
    st.trace = tables[7]
    st.member = tables[8]
    st.own_start = tables[9]
    st.own_room = tables[10]
    st.own_place = tables[11]
    st.channel_first = tables[12]
    st.parcel_of = tables[13]
    st.stamps = tables[14]
    st.connections = tables[15]
    st.out = tables[16]
    st.early = tables[17]
    st.factors = tables[18]
    st.push_luck = tables[19]
    st.blank_job = tables[20]
    st.blank_parcel = tables[21]
    st.blank_session = tables[22]
    st.work = tables[23]
    st.owed = tables[24]
    st.soft_since_s = tables[25]


@compiled
def _take_growing(st: State, tables: Any) -> None:
    st.heap = tables[0]
    st.soon = tables[1]
    st.links = tables[2]
    st.jobs = tables[3]
    st.parcels = tables[4]
    st.batches = tables[5]
    st.queries = tables[6]
    st.sessions = tables[7]
    st.clients = tables[8]
    st.seats = tables[9]
    st.places = tables[10]
    st.place_keys = tables[11]
    st.place_ids = tables[12]
    st.tokens = tables[13]
    st.token_keys = tables[14]
    st.token_ids = tables[15]
    st.rows = tables[16]
    st.ticks = tables[17]
    st.subscriptions = tables[18]
    st.shown = tables[19]
    st.pulls = tables[20]
    st.pushed = tables[21]
    st.trimmed = tables[22]
    st.unasked = tables[23]
    st.missed = tables[24]
    st.user_draws = tables[25]


@entry
def fixed(st: State) -> Any:
    """The tables that stay as they are made."""
    return (
        st.asked, st.now, st.stations, st.hosts, st.users, st.messages, st.rooms, st.trace, st.member,
        st.own_start, st.own_room, st.own_place, st.channel_first, st.parcel_of, st.stamps, st.connections,
        st.out, st.early, st.factors, st.push_luck, st.blank_job, st.blank_parcel, st.blank_session, st.work,
        st.owed, st.soft_since_s,
    )


@entry
def growing(st: State) -> Any:
    """The tables that grow, as they are now."""
    return (
        st.heap, st.soon, st.links, st.jobs, st.parcels, st.batches, st.queries, st.sessions, st.clients,
        st.seats, st.places, st.place_keys, st.place_ids, st.tokens, st.token_keys, st.token_ids, st.rows,
        st.ticks, st.subscriptions, st.shown, st.pulls, st.pushed, st.trimmed, st.unasked, st.missed,
        st.user_draws,
    )
