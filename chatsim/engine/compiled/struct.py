"""The state as one struct of numba, passed by reference: a handler loads only the tables that it uses.

The order of fields is that of the tables in :mod:`chatsim.engine.compiled.state`.
"""

from __future__ import annotations

from typing import Any

from numba import from_dtype, types
from numba.core.datamodel import default_manager, models
from numba.experimental import structref
from numba.extending import intrinsic, lower_getattr

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


class Lent(models.StructRefModel):  # the struct itself is not counted either: Python has it until the run is over
    """How a state lies in memory: as any struct, but nobody counts who refers to it."""

    def traverse(self, builder: Any) -> list[Any]:
        """No part of it is counted."""
        return []


default_manager.register(StructType, Lent)


def _lent(name: str) -> Any:
    """How a handler gets at a table: it borrows it, without counting who refers to it.

    The struct keeps its tables for as long as a run goes on, and counting, as numba does it by default, would take as
    long as all the rest. What Python gets of a state is a copy (:func:`fixed`, :func:`growing`).
    """

    def lend(context: Any, builder: Any, kind: Any, struct: Any) -> Any:
        table = getattr(structref._Utils(context, builder, kind).get_data_struct(struct), name)
        array = context.make_array(kind.field_dict[name])(context, builder, value=table)
        array.meminfo = array.meminfo.type(None)
        return array._getvalue()

    return lend


for _name in TABLES:
    lower_getattr(StructType, _name)(_lent(_name))
STRUCT = StructType([
    (name, types.Array(from_dtype(dtype), 2 if name in TWO_DIMENSIONS else 1, "C")) for name, dtype in TABLES.items()
])  # fmt: skip


@intrinsic  # type: ignore[untyped-decorator]
def copy_rows(typing: Any, source: Any, first: Any, target: Any, place: Any, rows: Any) -> Any:
    """Copies ``rows`` rows of a table from ``first`` on to another one, or another ``place``, all bytes at once.

    What numba makes of ``target[place] = source[first]`` goes byte by byte, and takes long to compile.
    """

    def copy(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        from numba.core import cgutils

        kinds, (source_value, at, target_value, to, count) = signature.args, values
        tables = [
            context.make_array(kind)(context, builder, value=value)
            for kind, value in ((kinds[0], source_value), (kinds[2], target_value))
        ]
        where = [builder.gep(table.data, [row]) for table, row in zip(tables, (at, to), strict=True)]
        size = context.get_abi_sizeof(tables[0].data.type.pointee)
        cgutils.raw_memcpy(builder, where[1], where[0], count, context.get_constant(types.intp, size))
        return context.get_dummy_value()

    return types.void(source, types.int64, target, types.int64, types.int64), copy


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
    st.lines = tables[24]
    st.arrives_s = tables[25]
    st.slow_draw = tables[26]
    st.extras = tables[27]
    st.shares = tables[28]
    st.strikes = tables[29]
    st.struck = tables[30]


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
    st.packets = tables[26]
    st.got_keys = tables[27]
    st.breaks = tables[28]
    st.faults = tables[29]
    st.wiped = tables[30]
    st.drains = tables[31]


@entry
def fixed(st: State) -> Any:
    """The tables that stay as they are made."""
    return (
        st.asked.copy(), st.now.copy(), st.stations.copy(), st.hosts.copy(), st.users.copy(), st.messages.copy(),
        st.rooms.copy(), st.trace.copy(), st.member.copy(), st.own_start.copy(), st.own_room.copy(),
        st.own_place.copy(), st.channel_first.copy(), st.parcel_of.copy(), st.stamps.copy(),
        st.connections.copy(), st.out.copy(), st.early.copy(), st.factors.copy(), st.push_luck.copy(),
        st.blank_job.copy(), st.blank_parcel.copy(), st.blank_session.copy(), st.work.copy(), st.lines.copy(),
        st.arrives_s.copy(), st.slow_draw.copy(), st.extras.copy(), st.shares.copy(), st.strikes.copy(),
        st.struck.copy(),
    )


@entry
def growing(st: State) -> Any:
    """The tables that grow, as they are now."""
    return (
        st.heap.copy(), st.soon.copy(), st.links.copy(), st.jobs.copy(), st.parcels.copy(), st.batches.copy(),
        st.queries.copy(), st.sessions.copy(), st.clients.copy(), st.seats.copy(), st.places.copy(),
        st.place_keys.copy(), st.place_ids.copy(), st.tokens.copy(), st.token_keys.copy(), st.token_ids.copy(),
        st.rows.copy(), st.ticks.copy(), st.subscriptions.copy(), st.shown.copy(), st.pulls.copy(),
        st.pushed.copy(), st.trimmed.copy(), st.unasked.copy(), st.missed.copy(), st.user_draws.copy(),
        st.packets.copy(), st.got_keys.copy(), st.breaks.copy(), st.faults.copy(), st.wiped.copy(), st.drains.copy(),
    )
