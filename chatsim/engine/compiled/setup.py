"""From a scenario and a world to the tables of a compiled run."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from chatsim.engine.compiled.events import NO_SLOT
from chatsim.engine.compiled.feed import Feed, standing_sessions
from chatsim.engine.compiled.kinds import (
    DATABASE_TIER,
    GATEWAY_TIER,
    I_UNDER_WAY,
    NODE_TIER,
    S_CONNECTING,
    STORE_NUMBERS,
)
from chatsim.engine.compiled.luck import first_draws
from chatsim.engine.compiled.pools import ABREAST, EMPTY
from chatsim.engine.compiled.schedule import tables_of_faults
from chatsim.engine.compiled.sessions_to_come import place_sessions
from chatsim.engine.compiled.state import FIXED, GROWING, LONG, NEVER, NONE, ONE_ROW, SESSIONS_AT_ONCE, SHORT
from chatsim.engine.luck import PUSH, Luck, service_luck
from chatsim.engine.outcome import Work
from chatsim.engine.rooms import Rooms
from chatsim.rules.access import CHECK_NUMBERS, CONNECT, FRIENDS, POLICY_NUMBERS, asks_database, renews_token
from chatsim.rules.offline import MINUTE_S
from chatsim.rules.placement import PLACEMENT_NUMBERS
from chatsim.rules.presence import ALL as SHOWN_TO_ALL
from chatsim.rules.presence import NOBODY, SHOWN_TO_NUMBERS, is_watched
from chatsim.rules.presence import ROOMS as SHOWN_TO_ROOMS
from chatsim.rules.ranking import POLICY_NUMBERS as RANKING_NUMBERS
from chatsim.rules.reconnect import RECONNECT_NUMBERS
from chatsim.rules.routing import (
    DIRECTORY,
    IN_PROCESS,
    ROOM,
    ROUTING_NUMBERS,
    TOPOLOGY_NUMBERS,
    publishes_per_recipient,
)
from chatsim.rules.waking import NEVER_S
from chatsim.scenario import Scenario
from chatsim.scenario.models import StationCosts
from chatsim.world.contacts import FriendLists, listed_friends
from chatsim.world.draws import Purpose, uniform
from chatsim.world.orders import blocks
from chatsim.world.shelf import column
from chatsim.world.tables import PAIR, World

Tables = dict[str, npt.NDArray[Any]]
GATEWAY_COSTS = ("receive_us", "parse_us", "command_us", "write_us", "flush_us", "close_us")
BROKER_COSTS = (
    "publish_us", "push_us", "bus_send_us", "bus_receive_us", "subscribe_us", "lookup_us", "lookup_user_us",
    "update_us", "presence_us", "history_max",
)  # fmt: skip
EVENTS_PER_SLOT, FETCHED_PER_SLOT = 8.0, 64.0
"""Events in a slot of time, at most about; more where what comes is fetched ahead, so that it is there in time."""
SLOTS_S, SLOTS_AT_LEAST, SLOTS_AT_MOST = 2000.0, 1 << 16, 1 << 20
"""For how long ahead slots have a list: most sessions leave within that time; and how many that may be."""
MEMBERS_ASKED = 1 << 20
"""Of about so many members of rooms it is asked how many sessions they have, since that decides on speed alone."""
NEAR_BYTES = 1 << 20
"""A table of sessions that is no larger stays in a processor's cache."""
TICKS_AT_MOST = 1 << 17
"""Ticks for which there is room in their table, should nobody take them out of it."""
LOOKS_PER_SEAT = 4
"""Members that are looked at for what it takes to come to a seat and leave it, about."""
ACTS_ON_ARRIVAL = ("faulty", "one_by_one", "keeps_missed", "resends", "receipts")
"""Where one of these is asked for, something happens when a message comes to a session, or may keep it from coming."""
ROOM_AT_FIRST = 1024
"""Rows that growing tables have at first."""


def tables_for(
    scenario: Scenario, world: World, rooms: Rooms, lists: FriendLists | None, troubled: bool = True,
    feed: Feed | None = None,
) -> Tables:
    """All tables at time 0, before anything has begun; ``lists`` where it matters which conversations open.

    ``troubled``: connections may break, so that what has been sent must be told from what has not. ``feed`` writes the
    trace while the run goes on; without one all of it is written here.
    """
    luck = Luck(scenario, world)
    tables: Tables = {name: np.zeros(ROOM_AT_FIRST, dtype) for name, dtype in GROWING.items()}
    for slots in ("place_slots", "token_slots", "answer_slots", "got_slots"):
        tables[slots]["key"] = EMPTY
    tables |= {name: np.zeros(int(name in ONE_ROW), dtype) for name, dtype in FIXED.items()}
    _ask(tables["asked"][0], scenario, world, troubled)
    now = tables["now"][0]
    for name in (
        "free_coming", "free_link", "free_job", "free_parcel", "free_batch", "free_query", "free_seat", "free_packet",
        "free_box", "chained",
    ):  # fmt: skip
        now[name] = NONE
    now["next_s"], now["next_slot"] = math.inf, NO_SLOT
    now["unsigned_first"] = now["unsigned_last"] = NONE
    now["admission_left"], now["minute"] = float(scenario.balancer.burst), -1.0
    _blanks(tables, scenario)
    _stations(tables, scenario, world)
    _people(tables, scenario, world, rooms)
    _service_of_pushes(tables, scenario, world)
    tables |= tables_of_faults(scenario, world, luck)
    for name, rows in _likely(world, rooms).items():
        tables[name] = np.empty(max(rows, ROOM_AT_FIRST), GROWING[name])
    per_slot = FETCHED_PER_SLOT if tables["asked"][0]["fetches"] else EVENTS_PER_SLOT
    slots_of_run = (likely_events(world, rooms) + 1) / per_slot
    slots_per_s = tables["asked"][0]["slots_per_s"] = slots_of_run / max(world.duration_s, 1.0)
    tables["slots"] = np.full(_slots(slots_per_s, world.duration_s + scenario.workload.drain_s), NONE, SHORT)
    _ties(tables, scenario, world, rooms)
    _lists(tables, scenario, world, rooms, lists)
    feed = feed or Feed(scenario, world, rooms, lists)
    feed.write(0, tables)
    tables |= feed.tables
    asked = tables["asked"][0]
    asked["draws_ahead"] = feed.draws_ahead
    asked["foretells"] = not any(asked[name] for name in ACTS_ON_ARRIVAL)
    tables["user_draws"] = first_draws(tables, scenario, world)
    return tables


def _likely(world: World, rooms: Rooms) -> dict[str, int]:
    """About how many rows of the largest tables there will be: what is not used is never touched, and costs nothing."""
    return {"rows": rooms.pairs, "ticks": min(likely_events(world, rooms), TICKS_AT_MOST)}


def _slots(slots_per_s: float, run_s: float) -> int:
    """How many slots of time have a list of the events that are to come in them: a power of two."""
    count = int(min(max(slots_per_s * min(SLOTS_S, run_s), SLOTS_AT_LEAST), SLOTS_AT_MOST))
    return 1 << (count - 1).bit_length()


def likely_events(world: World, rooms: Rooms) -> int:
    """About how many events there will be: it decides on speed alone."""
    return 2 * rooms.pairs + 10 * len(world.messages) + 10 * len(world.sessions)


def _ask(asked: Any, scenario: Scenario, world: World, troubled: bool) -> None:
    """Writes what handlers must know of the scenario."""
    design, network, client = scenario.design, scenario.network, scenario.client
    gateway, broker, database = scenario.gateway, scenario.broker, scenario.database
    in_database = design.store_in == "database"
    kept = scenario.presence.show_to != "none"
    kinds = {fault.kind for fault in scenario.faults}
    found: dict[str, float] = {
        **{name: getattr(gateway, name) for name in GATEWAY_COSTS},
        **{name: getattr(broker, name) for name in BROKER_COSTS},
        **_asked_of_chat(scenario),
        **_asked_of_faults(scenario),
        "gateways": design.gateways, "groups": -(-design.gateways // ABREAST),
        "nodes": scenario.broker_nodes, "routing": ROUTING_NUMBERS[design.routing],
        "topology": TOPOLOGY_NUMBERS[broker.topology], "placement": PLACEMENT_NUMBERS[design.placement],
        "shortcut": design.local_shortcut, "keeps_missed": design.keeps_missed, "own_devices": design.own_devices,
        "has_broker": scenario.has_broker, "mesh_directory": design.mesh_directory,
        "store": STORE_NUMBERS[design.store],
        "store_in_database": in_database, "connections_max": gateway.connections_max, "shed_above": gateway.shed_above,
        "message_max_bytes": scenario.limits.message_max_bytes, "burst": scenario.limits.burst,
        "messages_per_s": scenario.limits.messages_per_s, "buffer_max": client.buffer_max,
        "tries_max": client.tries_max,
        "reconnect": RECONNECT_NUMBERS[client.reconnect], "trips": network.handshake_trips,
        "blocks": network.outbound_policy == "block", "closes": network.outbound_policy == "close",
        "checks": network.outbound_policy in ("close", "drop_newest"),
        "drops_oldest": network.outbound_policy == "drop_oldest",
        "one_by_one": network.outbound_policy == "drop_oldest" or "slow_clients" in kinds,
        "troubled": troubled,
        "pulls": kept and scenario.presence.how == "pull",
        "keeps_presence": kept, "pushes_kept": design.offline == "push", "total_rooms": len(world.rooms),
        "lists_held": scenario.scaling.start > 0 or bool(kinds) or scenario.presence.show_to == "all",
        "enters": design.rooms == "personal" or len(world.intrusions) > 0,
        "users": world.users, "receipts": design.receipts,
        "limited": bool(broker.subscriber_max_bytes or broker.subscriber_soft_bytes),
        "stream_us": broker.stream_us if broker.delivery == "stream" else 0.0,
        "quota_per_min": scenario.push.quota_per_min,
        "command_places": gateway.flush_us > 0, "jitter_sigma": network.jitter_sigma,
        "seed_low": world.seed & 0xFFFFFFFF, "seed_high": world.seed >> 32, "replication": world.replication,
        "admission_burst": scenario.balancer.burst, "resync": client.resync,
        "remembers_early": design.keeps_missed and design.store != "before",
        "standing": standing_sessions(world),
        "end_s": world.duration_s + scenario.workload.drain_s,
        "login_us": gateway.tls_us + gateway.handshake_us + _token_us(scenario),
        "store_us": database.insert_us if in_database else broker.history_us,
        "sync_us": database.read_us if in_database else broker.recover_us,
        "broker_link_s": network.broker_rtt_ms * 1e-3 / 2, "database_link_s": network.database_rtt_ms * 1e-3 / 2,
        "notice_s": network.notice_s, "outbound_max_bytes": network.outbound_max_bytes,
        "connect_timeout_s": client.connect_timeout_s, "reconnect_s": client.reconnect_s,
        "reconnect_max_s": client.reconnect_max_s, "connections_per_s": scenario.balancer.connections_per_s,
        "key_life_s": scenario.presence.key_life_s if scenario.has_broker else 0.0,
        "refresh_s": scenario.presence.refresh_s,
        "push_after_s": scenario.push.after_min * MINUTE_S, "push_retry_s": scenario.push.retry_s,
        "return_share": scenario.push.return_share, "session_s": scenario.push.session_s,
        "soft_bytes": broker.subscriber_soft_bytes, "max_bytes": broker.subscriber_max_bytes,
        "least_bytes": min(filter(None, (broker.subscriber_soft_bytes, broker.subscriber_max_bytes)), default=0.0),
        "soft_s": broker.subscriber_soft_s,
    }  # fmt: skip
    for name, value in found.items():
        asked[name] = value


def _token_us(scenario: Scenario) -> float:
    """What it costs a gateway to check a token."""
    gateway = scenario.gateway
    return gateway.token_rs256_us if scenario.access.signature == "rs256" else gateway.token_us


def _asked_of_faults(scenario: Scenario) -> dict[str, float]:
    """What handlers must know of what breaks, of clients that notice it, and of gateways that come and go."""
    gateway, broker, client, scaling = scenario.gateway, scenario.broker, scenario.client, scenario.scaling
    kinds = {fault.kind for fault in scenario.faults}
    return {
        "faulty": bool(scenario.faults) or scenario.scaling.start > 0, "orderly": "link" in kinds,
        "keeps": broker.delivery == "stream", "stream_max": broker.stream_max,
        "broker_retry_s": gateway.broker_retry_s, "broker_silence_s": gateway.broker_silence_s,
        "balancer_notice_s": scenario.balancer.notice_s, "ping_s": client.ping_s,
        "ping_timeout_s": client.ping_timeout_s, "resends": client.guarantee == "at_least_once",
        "scaling_start": scaling.start, "least": scaling.least,
        "up_above": scaling.up_above, "down_below": scaling.down_below, "check_s": scaling.check_s,
        "delay_s": scaling.delay_s, "scaling_grace_s": scaling.grace_s,
        "deduplicate": client.deduplicate, "sends_max": client.sends_max, "ack_timeout_s": client.ack_timeout_s,
    }  # fmt: skip


def _asked_of_chat(scenario: Scenario) -> dict[str, float]:
    """What handlers must know of rooms, access and friend lists."""
    design, listing, token_us = scenario.design, scenario.friend_list, _token_us(scenario)
    gateway, broker, database = scenario.gateway, scenario.broker, scenario.database
    policy, check = POLICY_NUMBERS[scenario.access.policy], CHECK_NUMBERS[scenario.access.check]
    shown_to = SHOWN_TO_NUMBERS[scenario.presence.show_to]
    pushes = shown_to != NOBODY and scenario.presence.how == "push"
    asks, renews = asks_database(policy, check), renews_token(policy, check)
    creates = design.rooms_created == "first_message" and design.rooms != "personal"
    return {
        "personal": design.rooms == "personal", "creates_rooms": creates, "asks_members": design.membership == "broker",
        "asks_more": design.rooms == "personal" or creates or design.membership == "broker" or asks,
        "access": policy, "asks": asks, "renews": renews, "client_joins": scenario.access.client_joins,
        "reads_friends": policy == FRIENDS and check == CONNECT, "token_us": token_us,
        "message_us": gateway.receive_us + (token_us if renews else 0.0), "cache_s": scenario.access.cache_s,
        "token_life_s": scenario.access.token_life_s, "relation_us": database.relation_us,
        "friends_us": database.friends_us, "friend_us": database.friend_us,
        "pushes_presence": pushes, "shown_to": shown_to, "watches": pushes and is_watched(shown_to),
        "tells_all": pushes and shown_to == SHOWN_TO_ALL,
        "loads": listing.policy != "none", "list_policy": RANKING_NUMBERS.get(listing.policy, NONE),
        "ranked": scenario.has_broker and listing.policy not in ("none", "all", "random"),
        "list_limit": listing.limit, "list_us": broker.list_us, "list_entry_us": broker.list_entry_us,
        "entry_us": gateway.friend_us, "entry_bytes": listing.entry_bytes, "search_us": database.search_us,
        "search_share": listing.search_share, "other_share": listing.other_share,
        "leaves_idle": design.leave == "idle", "leave_idle_s": design.leave_idle_s,
    }  # fmt: skip


def _blanks(tables: Tables, scenario: Scenario) -> None:
    """Rows as they are when they are taken."""
    job, parcel, session = (tables[f"blank_{name}"] for name in ("job", "parcel", "session"))
    for name in ("message", "session", "user", "recipient", "reply", "query", "source", "row"):
        job[name] = NONE
    for name in ("gateway", "node", "channel", "place"):
        job[name] = NONE
    for name in ("first", "last", "next"):
        job[name] = parcel[name] = NONE
    job["times"], job["luck"] = 1, 1.0
    for name in ("client", "current", "gateway", "live_first", "synced_max", "origin", "parcel"):
        session[name] = NONE
    for name in ("waits_first", "waits_last", "outbox_first", "outbox_last", "sending", "life"):
        session[name] = NONE
    for name in ("held_next", "held_previous"):
        session[name] = NONE
    for name in ("next_here", "seat_first", "seat_last", "entered", "old", "foretold_first", "foretold_last"):
        session[name] = NONE
    for name in ("online_s", "left_s", "cut_s"):
        session[name] = NEVER
    session["fate"] = S_CONNECTING
    session["rate"] = session["base_rate"] = scenario.network.downlink_bytes_per_s


def _stations(tables: Tables, scenario: Scenario, world: World) -> None:
    """Gateways, broker nodes, the database, their hosts, and who owes whom."""
    gateways, nodes = scenario.design.gateways, scenario.broker_nodes
    tiers: list[tuple[int, StationCosts]] = [(GATEWAY_TIER, scenario.gateway)] * gateways
    tiers += [(NODE_TIER, scenario.broker)] * nodes + [(DATABASE_TIER, scenario.database)]
    stations = tables["stations"] = np.zeros(len(tiers), FIXED["stations"])
    for station, (tier, costs) in zip(stations, tiers, strict=True):
        station["tier"], station["idle"], station["cores"] = tier, costs.cores, costs.cores
        station["by_item"], station["batch_max"] = costs.flush == "item", costs.batch_max or 1 << 62
        station["exponential"], station["slow"], station["up"] = costs.service == "exponential", 1.0, 1
        station["worked_s"] = NEVER_S
        for name in ("tick_us", "fetch_us", "wake_us", "cooling_us", "flush_us"):
            station[name] = getattr(costs, name)
        for name in ("host", "first", "last", "parcel", "parcel_last", "held_first", "held_last"):
            station[name] = NONE
        for name in ("waiting_first", "waiting_last", "held_first", "held_last", "spare"):
            station[name] = NONE
    hosts = tables["hosts"] = np.zeros(max(1, len(scenario.hosts)), FIXED["hosts"])
    names = list(scenario.stations)
    for number, host in enumerate(scenario.hosts):
        hosts[number] = (host.cores, NONE, NONE)
        for name in scenario.stations_on(host):
            stations[names.index(name)]["host"] = number
    widest = int(np.diff(world.rooms.start).max(initial=0))
    tables["parcel_of"] = np.full(len(tiers) ** 2, NONE, LONG)
    tables["stamps"] = np.zeros(2 * gateways + nodes + widest + 8, LONG)
    tables["connections"] = np.zeros(gateways, LONG)
    tables["out"] = np.full(gateways if tables["asked"][0]["faulty"] else 0, NONE, LONG)
    tables["work"] = np.zeros((len(tiers), len(Work)), LONG)
    lines = tables["lines"] = np.zeros(max(1, nodes) * gateways, FIXED["lines"])
    lines["kept_first"] = lines["kept_last"] = lines["cut"] = NONE
    lines["soft_since_s"] = NEVER
    watched = world.users if tables["asked"][0]["watches"] else 0
    channels = tables["asked"][0]["channels"] = 1 + 2 * world.users + len(world.rooms) + gateways + watched
    tables["scratch"] = np.zeros(world.users if tables["asked"][0]["pushes_presence"] else 1, LONG)
    blocks = nodes if scenario.broker.topology == "cluster" else 1
    tables["channel_first"] = np.full(channels * max(1, blocks), NONE, SHORT)


def _people(tables: Tables, scenario: Scenario, world: World, rooms: Rooms) -> None:
    """Users, places for their sessions and clients, and the rooms they are in."""
    users = tables["users"] = np.zeros(world.users, FIXED["users"])
    for name in ("last_gateway", "last", "registered", "box_first", "box_last", "holding"):
        users[name] = NONE
    tables["here"] = np.full(world.users, NONE, SHORT)
    users["came_s"] = users["waits_since_s"] = -math.inf
    place_sessions(tables, scenario, world)
    tables["asked"][0]["fetches"] = tables["sessions"].nbytes > NEAR_BYTES
    tables["now"][0]["sessions"] = len(world.sessions)
    _rooms(tables, scenario, world, rooms)


def _rooms(tables: Tables, scenario: Scenario, world: World, rooms: Rooms) -> None:
    """Rooms, their members, and the rooms of each user: these, and what becomes of rooms, only where that
    is asked for, as there are many."""
    asked = tables["asked"][0]
    start, member = rooms.with_personal()
    tables["room_start"] = start.astype(SHORT)
    tables["member"] = np.ascontiguousarray(member, SHORT)
    asked["keeps_seats"] = _keeps_seats(scenario, world, rooms, tables)
    are_entered = asked["keeps_seats"] or asked["creates_rooms"] or asked["enters"]
    if are_entered or asked["asks_members"] or asked["shown_to"] == SHOWN_TO_ROOMS:
        tables["own_start"], tables["own_room"], tables["own_place"] = rooms.own(SHORT)
    if not (are_entered or asked["history_max"]):
        return
    table = tables["rooms"] = column(max(1, len(start) - 1), FIXED["rooms"])
    table["founding"] = table["entered"] = table["places"] = NONE
    table["ready_s"] = NEVER
    if len(start) > 1:
        table["exists"] = rooms.exist_at_first()[: len(start) - 1]


def _keeps_seats(scenario: Scenario, world: World, rooms: Rooms, tables: Tables) -> bool:
    """Whether there are lists of those who sit in each room at each gateway: where gateways must know them, where not
    only members come in, and where messages have so many members to look at that seats are less to do."""
    design, routing, asked = scenario.design, ROUTING_NUMBERS[scenario.design.routing], tables["asked"][0]
    if publishes_per_recipient(routing):
        return False
    if routing == ROOM or design.mesh_directory or asked["creates_rooms"] or asked["enters"]:
        return True
    user, member, own_sessions = world.sessions.user, tables["member"], np.zeros(world.users, np.int64)
    for part in blocks(len(user), SESSIONS_AT_ONCE):
        own_sessions += np.bincount(user[part], minlength=world.users)
    step = 1 + len(member) // MEMBERS_ASKED
    seats = step * int(own_sessions[member[::step]].sum())
    hear = 1 if routing in (IN_PROCESS, DIRECTORY) else design.gateways
    return rooms.pairs * hear > LOOKS_PER_SEAT * seats


def _ties(tables: Tables, scenario: Scenario, world: World, rooms: Rooms) -> None:
    """Friends, where it matters who is one; ties that end; and tries to get into rooms."""
    matters = "friends" in (scenario.access.policy, scenario.presence.show_to) or scenario.friend_list.policy != "none"
    if matters and len(world.friends.friend):
        graph = world.friends
        tables["friend_start"], tables["friend"] = (part.astype(np.int64) for part in (graph.start, graph.friend))
    elif matters:
        friends = [rooms.friends(user) for user in range(world.users)]
        tables["friend_start"] = np.cumsum([0, *map(len, friends)], dtype=np.int64)
        tables["friend"] = np.array([friend for own in friends for friend in own], np.int64)
    ending, intrusion = world.endings, world.intrusions
    endings = tables["endings"] = np.zeros(len(ending), FIXED["endings"])
    for name in ("user", "other", "blocks"):
        endings[name] = getattr(ending, name)
    endings["effective_s"] = NEVER
    user, other = endings["user"], endings["other"]
    tables["tie_keys"] = np.unique(np.concatenate([user * world.users + other, other * world.users + user]))
    tables["tie_ends_s"] = np.full(len(tables["tie_keys"]), math.inf)
    intrusions = tables["intrusions"] = np.zeros(len(intrusion), FIXED["intrusions"])
    for name in ("user", "session", "victim", "draw"):
        intrusions[name] = getattr(intrusion, name)
    intrusions["room"], intrusions["fate"], intrusions["decided_s"] = NONE, I_UNDER_WAY, NEVER


def _lists(tables: Tables, scenario: Scenario, world: World, rooms: Rooms, lists: FriendLists | None) -> None:
    """What friend lists say of messages and sessions, who is on them, and where one may write instead."""
    asked = scenario.friend_list
    if lists is None or asked.policy == "none":
        return
    chats = tables["chats"] = np.zeros(len(world.messages), FIXED["chats"])
    every = np.arange(len(world.messages))
    chats["conversation"], chats["rank"], chats["searched_s"] = lists.conversation, lists.rank, NEVER
    chats["luck"] = uniform(world.seed, world.replication, Purpose.DETOUR, every, 0)
    chats["choice"] = uniform(world.seed, world.replication, Purpose.DISTRACTION, every, 0)
    conversations = 1 + int(lists.conversation.max(initial=-1))
    tables["conversations"] = np.zeros(conversations, FIXED["conversations"])
    tables["conversations"]["other"] = NONE
    tables["list_size"] = lists.size.astype(np.int64)
    if asked.other_share == 0 and scenario.presence.show_to != "list":
        return
    limit = None if asked.policy == "all" else asked.limit
    start, listed = listed_friends(world, asked.policy, asked.half_life_s, limit)
    tables["listed_start"], tables["listed"] = start, listed.astype(np.int64)
    pairs = np.flatnonzero(world.rooms.kind == PAIR)
    first = world.rooms.start[pairs]
    keys = world.rooms.member[first].astype(np.int64) * world.users + world.rooms.member[first + 1]
    tables["pair_keys"], latest = np.unique(keys[::-1], return_index=True)
    tables["pair_rooms"] = pairs[::-1][latest]
    tables["venues"] = np.array(rooms.venue, np.int64)


def _service_of_pushes(tables: Tables, scenario: Scenario, world: World) -> None:
    """The luck of each message's pushes at each gateway."""
    count = len(world.messages)
    if scenario.gateway.service == "exponential":
        gateways = range(scenario.design.gateways)
        of_all = [service_luck(world, scenario.gateway, PUSH + number, 0, count) for number in gateways]
        tables["push_luck"] = np.stack(of_all)
    else:
        tables["push_luck"] = np.ones((1, 1))
