"""The state of a compiled run: tables of records, most of which grow.

Handlers take the state as ``st`` and read as plainly as arrays allow: ``st.sessions[session].online``. A record of a
table that grows is never kept in a name across a call that may add to that table, since it may have moved by then.
Those of sessions and clients may be, since these grow only between two events.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from chatsim.engine.compiled.code import is_interpreted

State = Any
NEVER = float("nan")
NONE = -1
SESSIONS_AT_ONCE = 1 << 14
"""Sessions that are written, or read, one block after the other: they are many, and large."""
LINE_BYTES = 64


def record(longs: str = "", floats: str = "") -> np.dtype[Any]:
    """The type of a record of whole numbers and of real ones."""
    return np.dtype([(name, np.int64) for name in longs.split()] + [(name, np.float64) for name in floats.split()])


def small(names: str) -> np.dtype[Any]:
    """The type of a record of whole numbers from 0 to 255."""
    return np.dtype([(name, np.uint8) for name in names.split()])


def both(first: np.dtype[Any], rest: np.dtype[Any]) -> np.dtype[Any]:
    """The type of a record of one kind, and then the other."""
    return np.dtype([(name, each[name]) for each in (first, rest) for name in each.names or ()])


def slim(dtype: np.dtype[Any], *wide: str) -> np.dtype[Any]:
    """The type with its whole numbers below 2**31, as numbers of rows are, but for ``wide`` ones: half as much to move.

    Where handlers are Python they stay wide: there a product of small numbers is small, and overflows.
    """
    if is_interpreted():
        return dtype
    fields = [(name, dtype[name]) for name in dtype.names or ()]
    small = np.dtype(np.int32)
    return np.dtype([(name, small if kind == LONG and name not in wide else kind) for name, kind in fields])


def in_lines(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type with room up to the end of a line of memory, so that a row takes as few of these as it can."""
    fields = dict(dtype.fields or {})
    kinds, offsets = [field[0] for field in fields.values()], [field[1] for field in fields.values()]
    size = -(-dtype.itemsize // LINE_BYTES) * LINE_BYTES
    return np.dtype({"names": list(fields), "formats": kinds, "offsets": offsets, "itemsize": size})


LONG, REAL, BYTE = (np.dtype(kind) for kind in (np.int64, np.float64, np.uint8))
SHORT = LONG if is_interpreted() else np.dtype(np.int32)
"""Whole numbers below 2**31, as those of :func:`slim`."""
JOB = record(
    "kind message session user recipient source gateway node channel change work times reply query place commands"
    " pushed known asks cause answer row first last count touch next life came_on",
    "cost_us luck arrived_s",
)
EVENT = record("key one two three next", "time_s")
SLOT = record("key row")
PARCEL = record("place to_session first last count next station life")
MESSAGE = both(
    record(
        "offset sender session room meant size_bytes gateway pushes discards reads under_way",
        "stored_s done_s",
    ),
    both(
        record("", "uplink received_s routed_s told_s acked_s"),
        both(record("received refused sends lost_pushes partner"), small("fate cause opening")),
    ),
)
"""What those to whom a message goes need of it comes first, in a line of memory; all of it takes two. What only some
runs ask of messages stands in tables of their own."""
SESSION = both(
    record(
        "stamp read user current gateway next_here joined online gone closed cut parcel"
        " foretold_first foretold_last",
        "link_s rate uplink_s downlink_s drained_s unsent_bytes outbox_bytes end_s",
    ),
    both(
        record(
            "client live silent fate listed unread origin attempt",
            "start_s online_s left_s cut_s",
        ),
        record(
            "held registered life live_first synced_max synced tries waiting hopeless waits_first waits_last"
            " holds old entered seat_first seat_last"
            " outbox_first outbox_last sending unsigned held_next held_previous",
            "rights_s due_s sync_luck base_s base_rate",
        ),
    ),
)
"""What each message needs comes first, in two lines of memory; what is noted in the outcome, in the line after these. A
client is the first of its sessions, which knows the ``current`` one; what is known of the client stands there too."""
JOB, EVENT, PARCEL, SESSION = slim(JOB, "channel"), slim(EVENT, "key"), slim(PARCEL), slim(SESSION, "stamp", "read")
MESSAGE, SESSION = in_lines(slim(MESSAGE, "offset")), in_lines(SESSION)
FIXED: dict[str, np.dtype[Any]] = {
    "asked": record(
        "gateways groups nodes routing topology placement shortcut keeps_missed own_devices has_broker mesh_directory"
        " store store_in_database connections_max shed_above message_max_bytes burst buffer_max tries_max reconnect"
        " trips blocks checks closes pulls pushes_kept total_rooms users history_max limited quota_per_min"
        " command_places"
        " receipts keeps_presence seed_low seed_high replication admission_burst remembers_early resync"
        " asks_more personal creates_rooms asks_members leaves_idle access asks renews reads_friends client_joins"
        " loads ranked list_policy list_limit pushes_presence shown_to watches tells_all channels drops_oldest"
        " fetches one_by_one troubled faulty orderly keeps stream_max"
        " resends deduplicate sends_max scaling_start least draws_kept standing tells_boxes keeps_seats enters"
        " lists_held draws_ahead foretells",
        "end_s receive_us parse_us command_us write_us flush_us login_us close_us publish_us push_us bus_send_us"
        " bus_receive_us subscribe_us lookup_us lookup_user_us update_us presence_us store_us sync_us broker_link_s"
        " database_link_s notice_s outbound_max_bytes connect_timeout_s reconnect_s reconnect_max_s messages_per_s"
        " connections_per_s key_life_s refresh_s push_after_s push_retry_s return_share session_s soft_bytes max_bytes"
        " soft_s stream_us slots_per_s leave_idle_s message_us token_us token_life_s cache_s relation_us friends_us"
        " friend_us list_us list_entry_us entry_us entry_bytes search_us search_share other_share"
        " least_bytes broker_retry_s broker_silence_s balancer_notice_s ping_s ping_timeout_s"
        " ack_timeout_s up_above down_below check_s delay_s scaling_grace_s jitter_sigma",
    ),
    "now": record(
        "number arrivals stamp taken overflowed scarce stops heap slot coming coming_count later free_coming soon"
        " soon_first links jobs parcels batches queries sessions joins seats places place_groups tokens rows ticks"
        " subscriptions shown pulls pushed trimmed unasked missed receipts answers packets free_link free_job"
        " free_parcel free_batch"
        " boxes free_box free_query free_seat free_packet chained chained_number"
        " cuts slow_first slow_count away away_number parted unsigned_first unsigned_last breaks faults wiped drains"
        " got changing emptied started boxed next_row next_key next_slot key has_first",
        "time_s next_s admission_left admission_s minute chained_s",
    ),
    "stations": record(
        "tier idle waits by_item batch_max cores ending host first last length parcel parcel_last exponential up life"
        " gone_for silent holds partings parted silenced waiting_first waiting_last held_first held_last draining"
        " spare read",
        "tick_us fetch_us wake_us cooling_us flush_us slow item_us busy_s busy_before_s parted_s worked_s",
    ),
    "hosts": record("free first last"),
    "users": record(
        "held last_gateway online last registered box_first box_last retries due pushes drawn again linked"
        " sessions shown holding mark warm",
        "came_s waits_since_s shown_until_s",
    ),
    "messages": MESSAGE, "tries": record("unacked waits attempt on_way"), "kept_next": SHORT,
    "receive_luck": REAL, "publish_luck": REAL, "store_luck": REAL,
    "rooms": record("kept_first kept_last kept exists founding waits not_joined entered places", "ready_s"),
    "trace": record("kind number", "time_s"), "letters": record("size_bytes gateway"),
    "room_start": SHORT, "member": SHORT, "here": SHORT,
    "own_start": LONG, "own_room": SHORT, "own_place": SHORT, "channel_first": SHORT,
    "parcel_of": LONG, "slots": SHORT, "stamps": LONG, "connections": LONG, "out": LONG, "early": BYTE, "factors": REAL,
    "push_luck": REAL, "blank_job": JOB, "blank_parcel": PARCEL, "blank_session": SESSION, "work": LONG, "first": EVENT,
    "lines": record("away wanted why line cut kept_first kept_last owed", "soft_since_s"),
    "arrives_s": REAL, "slow_draw": REAL,
    "extras": record("packets first count", "added_s"), "shares": record("", "share value"),
    "strikes": record(
        "fault kind station flag first count first_after count_after batch",
        "start_s end_s value value_after grace_s for_s pause_s",
    ),
    "struck": LONG,
    "friend_start": LONG, "friend": LONG, "tie_keys": LONG, "tie_ends_s": REAL,
    "endings": record("user other blocks holders", "effective_s"),
    "intrusions": record("user session victim room fate", "draw decided_s"),
    "chats": record("conversation rank detour", "luck choice searched_s"),
    "conversations": record("ended sender other"),
    "list_size": LONG, "listed_start": LONG, "listed": LONG, "pair_keys": LONG, "pair_rooms": LONG, "venues": LONG,
    "scratch": LONG,
}  # fmt: skip
"""Tables that stay as they are made; of whole numbers, real ones or records."""
GROWING: dict[str, np.dtype[Any]] = {
    "heap": EVENT, "later": EVENT, "coming": EVENT,
    "soon": record("number kind one two three", "time_s"),
    "links": record("one two next", "value"), "boxes": record("message next"),
    "jobs": JOB, "parcels": PARCEL,
    "batches": record("station first row"),
    "queries": record("story subject session gateway requests reading count pending cause"),
    "sessions": SESSION,
    "clients": record("unacked_first unacked_last"),
    "seats": record("session position next previous place room rank next_own"),
    "places": record("first last count"),
    "place_slots": SLOT,
    "tokens": record("life", "left since_s"),
    "token_slots": SLOT,
    "rows": record("message session fate cause", "written_s time_s"),
    "ticks": record("station items waiting reads", "start_s end_s waited_s slept_s"),
    "subscriptions": record("node change", "time_s"),
    "shown": record("user change meant pushes notices", "time_s told_sum_s told_last_s"),
    "pulls": record("user shown online", "time_s"),
    "pushed": record("user message tries session fate", "due_s sent_s arrived_s"),
    "trimmed": record("message user"), "unasked": record("message user"),
    "missed": LONG, "user_draws": REAL,
    "receipts": record("row", "time_s"),
    "packets": record("kind two first next", "size_bytes factor"),
    "answers": record("", "asked_s"),
    "answer_slots": SLOT, "got_slots": SLOT,
    "breaks": record("message gateway cause", "time_s"),
    "faults": record("fault kind station", "start_s end_s"),
    "wiped": record("message user"), "boxed": record("user message change"),
    "drains": record("gateway life first count place", "start_s grace_s"),
}  # fmt: skip
"""Tables that grow. ``now`` counts the rows taken of each, and knows the first row given back of some."""
for _name in ("tries", "users", "letters", "rooms"):
    FIXED[_name] = slim(FIXED[_name])
for _name in ("boxes", "boxed", "batches", "queries", "clients", "seats", "places", "rows", "ticks", "pushed", "shown"):
    GROWING[_name] = slim(GROWING[_name])
TABLES = {**FIXED, **GROWING}
ONE_ROW = ("asked", "now", "first", "blank_job", "blank_parcel", "blank_session")
"""Tables that always have one. Others have none where nothing asks for them."""
TWO_DIMENSIONS = ("push_luck", "work", "user_draws")


def state_of(tables: dict[str, Any]) -> State:
    """The state that handlers take, out of a table for each name of TABLES."""
    if is_interpreted():
        st = SimpleNamespace()
        for name in TABLES:
            put_table(st, name, tables[name])
        return st
    from chatsim.engine.compiled.memory import Memory

    return Memory(tables)


def tables_of(st: State) -> dict[str, Any]:
    """The tables of a state as they are now."""
    return {name: getattr(st, name) for name in TABLES} if is_interpreted() else st.tables()


def table_of(st: State, name: str) -> Any:
    """One table of a state as it is now."""
    return getattr(st, name) if is_interpreted() else st.table(name)


def put_table(st: State, name: str, table: Any) -> None:
    """Puts another table in the place of one; where handlers are not compiled fields of records are attributes."""
    if is_interpreted():
        setattr(st, name, table.view(np.recarray) if table.dtype.names else table)
    else:
        st.put(name, table)
