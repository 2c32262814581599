"""The scenario: everything that a run depends on, frozen, validated, units last in every name.

Each number carries where it comes from: ``measured``, ``published``, ``derived`` from such figures, a plain
``choice`` of what to study, or an ``assumption``, which is a guess and says so (``chatsim schema`` shows it).
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Strict, model_validator

from chatsim.scenario.faults import Fault
from chatsim.scenario.html import rows_html
from chatsim.scenario.keys import Frozen, of, unlike_default
from chatsim.scenario.prices import Prices
from chatsim.scenario.recovery import Balancer, Client, Scaling
from chatsim.scenario.stations import station_names, stations_on

# --------------------------------------------------------------------------- workload


class Friends(Frozen):
    """The friend graph, degrees log-normal unless a file gives the edges."""

    degree_median: float = of(99.0, "friends per user, median", "published", "arXiv 1111.4503 (Facebook 2011)", gt=0)
    degree_mean: float = of(190.0, "friends per user, mean", "published", "arXiv 1111.4503 (Facebook 2011)", gt=0)
    degree_max: int = of(5000, "most friends of one user", "published", "arXiv 1111.4503 (Facebook 2011)", ge=1)
    strength_sigma: float = of(
        1.5, "spread (sigma of the logarithm) of the strength of ties", "assumption", ge=0, le=5
    )
    generator: Literal["configuration", "clustered"] = of(
        "configuration", "'configuration': vectorised, for any size; 'clustered': networkx, small worlds up to 5,000 users"
    )
    file: str = of("", "edge list (CSV with columns user, friend); replaces the generator")

    @model_validator(mode="after")
    def _mean_above_median(self) -> Self:
        if self.degree_mean < self.degree_median:
            raise ValueError(f"degree_mean = {self.degree_mean:g}: at least degree_median = {self.degree_median:g} is needed")
        return self


class Sessions(Frozen):
    """When people are connected."""

    per_day: float = of(8.0, "sessions per user and day", "assumption", gt=0, le=1000)
    length_s_median: float = of(300.0, "session length, median of a log-normal", "assumption", gt=0)
    length_sigma: float = of(1.2, "session length, sigma of the logarithm", "assumption", ge=0, le=3)
    second_device_share: float = of(
        0.2, "share of sessions during which the user's second device is connected too", "assumption", ge=0, le=1
    )
    day_amplitude: float = of(
        0.8, "daily rhythm: rate = mean (1 + amplitude cos(2 pi (hour - peak_hour) / 24))", "assumption", ge=0, le=1
    )
    peak_hour: float = of(20.0, "hour of the day at which the rate peaks", "assumption", ge=0, lt=24)
    activity_sigma: float = of(
        0.0, "spread of users' session rates around per_day, sigma of a log-normal; those with more friends come more often; 0: all alike",
        ge=0, le=3,
    )
    join_days: float = of(
        0.0, "users join evenly over so many first days of the run, with a first session then; 0: all are there from the start", ge=0, le=10_000
    )
    fade_days: float = of(
        0.0, "interest fades: session rates halve in so many days, from when a user joins or from the start of the run; 0: they stay",
        ge=0, le=10_000,
    )


class Conversations(Frozen):
    """Who writes to whom, how long, how fast."""

    messages_per_day: float = of(40.0, "messages written per user and day, while interest has not faded", "assumption", gt=0, le=1e5)
    group_share: float = of(0.3, "share of conversation openings that go to a group", "assumption", ge=0, le=1)
    new_partner_share: float = of(
        0.3, "chance that an opening goes to a friend never written to, before the list grows: p / (1 + partners / new_partner_scale)",
        "assumption", ge=0, le=1,
    )
    new_partner_scale: float = of(20.0, "partners at which that chance has halved", "assumption", gt=0)
    recency_exponent: float = of(
        1.36, "openings go to the partner of recency rank k with weight k^-exponent", "measured", "CollegeMsg, openings", ge=0, le=5
    )
    answer_weight: float = of(1.0, "a partner whose message waits for an answer is so many times as likely as its recency rank has it", ge=0, le=1000)
    length_mean: float = of(1.7, "messages per conversation, mean of a geometric", "measured", "CollegeMsg, 30-minute gap", ge=1)
    burst_sigma: float = of(
        0.0, "openings come in bursts: time connected between two of a user, sigma of a log-normal; 0: exponential, as chance has it",
        ge=0, le=4,
    )
    reply_share: float = of(0.6, "chance that the next message of a conversation comes from the other side", "assumption", ge=0, le=1)
    reply_s_median: float = of(20.0, "time between messages of a conversation, median of a log-normal", "assumption", gt=0)
    reply_sigma: float = of(1.2, "the same, sigma of the logarithm", "assumption", ge=0, le=4)
    known_partners_mean: float = of(
        14.6, "partners a user has written with before the run starts, mean (geometric)", "measured", "CollegeMsg", ge=0
    )


class Groups(Frozen):
    """Group rooms."""

    per_user: float = of(3.0, "groups a user is in, mean", "assumption", ge=0)
    size_median: float = of(8.0, "members of a group, median of a log-normal", "assumption", ge=3)
    size_sigma: float = of(0.8, "members of a group, sigma of the logarithm", "assumption", ge=0, le=3)
    size_max: int = of(1000, "most members of a group", "assumption", ge=3)


class Relations(Frozen):
    """Friendships that end while the run goes on."""

    ends_per_day: float = of(0.0, "ties to friends or partners that a user ends per day", ge=0, le=1000)
    block_share: float = of(
        0.5, "share of these in which the other one is blocked: only the other may no longer write", "assumption", ge=0, le=1
    )


class Intruders(Frozen):
    """Users who try to get into rooms in which they have no business."""

    share: float = of(0.0, "share of users who are intruders", ge=0, le=1)
    tries_per_hour: float = of(6.0, "rooms an intruder tries per hour connected", "assumption", ge=0, le=3600)


class Spam(Frozen):
    """Users who flood: while connected they write to one partner, or room of theirs, after the other."""

    share: float = of(0.0, "share of users who are spammers", ge=0, le=1)
    messages_per_s: float = of(5.0, "messages of a spammer per second connected", "assumption", gt=0, le=1000)


class Reconnect(Frozen):
    """A share of those connected loses the connection and comes back."""

    share: float = of(0.0, "share of the sessions that are cut", ge=0, le=1)
    at_s: float = of(60.0, "time of the first cut", ge=0)
    spread_s: float = of(60.0, "the cuts are spread evenly over this time", ge=0)
    away_s: float = of(5.0, "time after which a session that was cut starts again", "assumption", gt=0)


class Workload(Frozen):
    """What users do, by the behaviour model or from a real log; every design under comparison gets the same trace."""

    users: int = of(5000, "users", ge=1, le=200_000_000)
    duration_s: float = of(600.0, "length of the run; for a trace, 0 takes all of it", ge=0, le=1e9)
    start_hour: float = of(20.0, "hour of the day at which the run starts", ge=0, lt=24)
    drain_s: float = of(5.0, "time after the end of the trace in which what is under way may still arrive", ge=0, le=3600)
    trace: str = of("", "'collegemsg', or a file (CSV, CSV.gz, Parquet) with time, sender, recipient or room; replaces the model")
    trace_sessions: str = of("", "a file with user, start, end: the sessions of the trace; otherwise inferred by idle_gap_s")
    idle_gap_s: float = of(1800.0, "trace: a session ends where its user is silent for longer", "assumption", gt=0)
    session_lead_s: float = of(30.0, "trace: a session starts this long before its first message", "assumption", gt=0)
    session_tail_s: float = of(300.0, "trace: a session ends this long after its last message", "assumption", gt=0)
    message_bytes_median: float = of(256.0, "size of a message on the wire, median of a log-normal", "assumption", ge=1, le=1e7)
    message_bytes_sigma: float = of(0.5, "the same, sigma of the logarithm", "assumption", ge=0, le=3)
    friends: Friends = Friends()
    sessions: Sessions = Sessions()
    conversations: Conversations = Conversations()
    groups: Groups = Groups()
    relations: Relations = Relations()
    intruders: Intruders = Intruders()
    spam: Spam = Spam()
    reconnect: Reconnect = Reconnect()

    @model_validator(mode="after")
    def _duration_given(self) -> Self:
        if not self.trace and self.duration_s == 0:
            raise ValueError("duration_s = 0: more than 0 s is needed (0 means 'all of it' for a trace only)")
        if self.trace_sessions and not self.trace:
            raise ValueError(f"trace_sessions = '{self.trace_sessions}': needs a trace, but trace = ''")
        return self


# --------------------------------------------------------------------------- design

Routing = Literal["in_process", "global", "global_per_recipient", "user", "room", "directory", "mesh"]
ROUTINGS: tuple[Routing, ...] = ("in_process", "global", "global_per_recipient", "user", "room", "directory", "mesh")


class Design(Frozen):
    """The chat design under study."""

    routing: Routing = of("room", "how a message finds the gateways of its audience")
    gateways: int = of(4, "gateways", ge=1, le=100_000)
    placement: Literal["round_robin", "least_connections", "sticky", "returning"] = of(
        "round_robin",
        "how the balancer places sessions on gateways; 'sticky' hashes the user, 'returning' takes the user's last gateway",
    )
    rooms: Literal["pair", "personal", "group"] = of(
        "pair",
        "where a private message is broadcast: in the room of the 'pair'; in the 'personal' room of its recipient, which "
        "everybody is in who has written there; or in the smallest 'group' that both are in (or their pair room)",
    )
    rooms_created: Literal["before", "first_message"] = of(
        "before", "pair rooms exist from the start, or from the first message of the pair on"
    )
    leave: Literal["disconnect", "idle"] = of(
        "disconnect", "when a session leaves a room that it came into by writing: at its end, or after idling"
    )
    leave_idle_s: float = of(1800.0, "leave = 'idle': time without a message of its own", "assumption", gt=0)
    membership: Literal["memory", "broker"] = of(
        "memory", "who is in a room is kept in the memory of gateways, or in sets of the broker that are asked per message"
    )
    own_devices: bool = of(False, "the sender's other sessions get a copy")
    receipts: bool = of(False, "a session that gets a message says so, and its sender is told")
    local_shortcut: bool = of(
        False, "the sender's gateway serves its own sessions at once and ignores its own push (as Socket.IO does)"
    )
    mesh_directory: bool = of(False, "mesh only: send to the gateways with members, instead of to all")
    store: Literal["before", "beside", "after", "never"] = of(
        "before", "a message is stored before it is routed, at the same time, after it, or never"
    )
    store_in: Literal["database", "broker"] = of("database", "where messages are stored and missed ones are read from")
    offline: Literal["store", "drop", "push"] = of(
        "store",
        "members with no session: 'store' keeps the message for their next login, 'push' also notifies them, 'drop' loses it",
    )

    @property
    def keeps_missed(self) -> bool:
        """Whether what a user misses is kept, for the next login."""
        return self.offline != "drop"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.routing == "in_process" and self.gateways != 1:
            raise ValueError(f"gateways = {self.gateways}: routing = 'in_process' is one process, so 1 is needed")
        if self.mesh_directory and self.routing != "mesh":
            raise ValueError(f"mesh_directory = true: needs routing = 'mesh', but routing = '{self.routing}'")
        if self.keeps_missed and self.store == "never":
            raise ValueError(f"offline = '{self.offline}': nothing is stored with store = 'never'; 'drop' is allowed")
        if self.store_in == "broker" and self.routing in ("in_process", "mesh"):
            raise ValueError(f"store_in = 'broker': routing = '{self.routing}' has no broker; 'database' is allowed")
        if self.membership == "broker" and self.routing in ("in_process", "mesh"):
            raise ValueError(f"membership = 'broker': routing = '{self.routing}' has no broker; 'memory' is allowed")
        asks_for_members = self.routing in ("user", "global_per_recipient", "directory")
        if self.rooms == "personal" and asks_for_members and self.membership == "memory":
            raise ValueError(
                f"membership = 'memory': with rooms = 'personal' and routing = '{self.routing}' a gateway must know who is in "
                "a room on other gateways; 'broker' is allowed"
            )
        return self


class Limits(Frozen):
    """What gateways refuse to take from a user. Each gateway counts for itself; the sender is told."""

    messages_per_s: float = of(0.0, "messages that one user may send in the long run; 0 sets no limit", ge=0)
    burst: int = of(1, "messages that one user may send at once after a silence", ge=1)
    message_max_bytes: int = of(0, "largest message; 0 sets no limit", ge=0)


class Access(Frozen):
    """Who may write to whom, and who may come into a room."""

    policy: Literal["open", "friends", "scopes"] = of(
        "open",
        "'open': nobody is asked; 'friends': the database says who is a friend or partner; 'scopes': a signed token names "
        "the rooms and people",
    )
    check: Literal["connect", "message"] = of("message", "rights are looked at once, when a session connects, or at every message")
    token_life_s: float = of(3600.0, "scopes: a token is renewed after this time", "assumption", gt=0)
    signature: Literal["hs256", "rs256"] = of("hs256", "how tokens are signed")
    cache_s: float = of(0.0, "friends: a gateway trusts an answer of the database for this long; 0 asks every time", ge=0)
    client_joins: bool = of(False, "a client may ask to join a room; otherwise such requests are refused")


class FriendList(Frozen):
    """Which friends a client shows and loads when it connects. Contacts are those with whom a message was exchanged."""

    policy: Literal["none", "all", "recent", "frequent", "frecency", "online_first", "random"] = of(
        "none", "which friends come first: 'recent' by last chat, ...; 'none' loads no list"
    )
    limit: int = of(15, "friends that are loaded; 'all' knows no limit", ge=1)
    half_life_s: float = of(3600.0, "frecency: time in which a chat loses half its weight", "measured", "CollegeMsg: ties with recent at 1 h", ge=0.001)
    kept: Literal["login", "live"] = of("live", "the list stays as it was loaded, or follows each chat")
    opening_gap_s: float = of(1800.0, "a conversation opens after a silence of the pair; only then is the list looked at", "measured", "CollegeMsg, 30-minute gap", ge=0)
    search_share: float = of(0.7, "chance that somebody who is not listed is searched for", "assumption", ge=0, le=1)
    other_share: float = of(0.1, "chance that somebody listed is written to instead; the rest give up", "assumption", ge=0, le=1)
    entry_bytes: float = of(200.0, "one friend on the wire and in the memory of the gateway", "assumption", ge=0)

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        if self.search_share + self.other_share > 1:
            raise ValueError(
                f"other_share = {self.other_share:g}: with search_share = {self.search_share:g} at most "
                f"{1 - self.search_share:g} is allowed"
            )
        return self


class Presence(Frozen):
    """Who sees that a user is online, and how."""

    show_to: Literal["none", "rooms", "friends", "list", "all"] = of(
        "none", "who is shown a user's presence: members of shared rooms, friends, those who have the user on their list, or all"
    )
    how: Literal["push", "pull"] = of(
        "push", "each change is pushed to those online, or they ask when they log in and open a conversation"
    )
    key_life_s: float = of(60.0, "lifetime of a presence key; 0 sets none: a key that is never deleted stays", "published", "go-chat", ge=0)
    refresh_s: float = of(55.0, "a session that lives refreshes its user's key this often", "published", "go-chat", gt=0)
    notice_bytes: float = of(64.0, "one change of presence on the wire", "assumption", ge=0)

    @model_validator(mode="after")
    def _refreshed_in_time(self) -> Self:
        if self.key_life_s and self.refresh_s >= self.key_life_s:
            raise ValueError(f"refresh_s = {self.refresh_s:g}: less than key_life_s = {self.key_life_s:g} is needed")
        return self


class Push(Frozen):
    """Notifications of users without a session, where design.offline says 'push'."""

    after_min: float = of(5.0, "minutes after which a push is due, unless a session of the user starts first", "published",
                          "75 % of inattentive spells end within 5 min (Dingler & Pielot 2015)", ge=0)
    latency_s_median: float = of(15.0, "provider to device, median of a log-normal", "derived", "GCM: 40 % within 10 s (Globecom 2014)", gt=0)
    latency_sigma: float = of(1.6, "the same, sigma of the logarithm", "derived", "the same", ge=0, le=4)
    quota_per_min: int = of(600_000, "pushes that the provider takes per minute; 0 sets no limit", "published", "FCM", ge=0)
    retry_s: float = of(1.0, "a refused push is tried again after this time, twice as long each time, at most 60 s", "assumption", gt=0)
    return_share: float = of(0.3, "chance that a push brings its user back", "assumption", ge=0, le=1)
    return_s_median: float = of(30.0, "from the push on the device to the session, median of a log-normal", "assumption", gt=0)
    return_sigma: float = of(1.0, "the same, sigma of the logarithm", "assumption", ge=0, le=4)
    session_s: float = of(120.0, "length of a session that a push has brought", "assumption", gt=0)


# --------------------------------------------------------------------------- stations


class StationCosts(Frozen):
    """An event loop: an idle worker takes up to batch_max waiting items and works for
    wake (only if it slept) + tick + fetch x connections read + sum of the items + flush x connections written to."""

    cores: int = of(1, "workers that share one queue", ge=1, le=4096)
    batch_max: int = of(0, "most items one tick takes; 1 is the classic queue, 0 sets no limit", ge=0)
    wake_us: float = of(0.0, "extra time of a tick whose worker had been asleep", "assumption", ge=0)
    cooling_us: float = of(0.0, "the sleep after which half of wake_us is paid, as the station cools; 0: always all", "assumption", ge=0)
    tick_us: float = of(0.0, "fixed time of a tick", "assumption", ge=0)
    fetch_us: float = of(
        0.0, "time per connection read from in a tick, however much came on it; 0: it is in the items", "assumption", ge=0,
    )
    flush_us: float = of(0.0, "time per connection written to in a tick", "assumption", ge=0)
    flush: Literal["tick", "item"] = of("tick", "results leave at the end of the tick, or each when it is done")
    service: Literal["fixed", "exponential"] = of(
        "fixed", "the cost of a message's items as given, or exponential with that mean"
    )


class GatewayCosts(StationCosts):
    """A gateway and what each thing costs it. Defaults: Node with ws."""

    wake_us: float = of(0.0, "extra time of a tick whose worker had been asleep", "assumption", ge=0)
    tick_us: float = of(78.0, "fixed time of a tick", "derived",
                        "Socket.IO: 200 us per message idle, 27 us saturated, over two gateway ticks and one Redis tick", ge=0)
    flush: Literal["tick", "item"] = of("item", "results leave at the end of the tick, or each when it is done")
    receive_us: float = of(17.0, "read, parse and check one client message", "measured", "own run, node ws with JSON", ge=0)
    parse_us: float = of(5.0, "read and parse one push or reply of the broker or of another gateway", "assumption", ge=0)
    command_us: float = of(3.0, "write one command to the broker, the database or another gateway", "assumption", ge=0)
    write_us: float = of(12.5, "write one message to one session", "measured", "own run, node ws 12-13 us", ge=0)
    handshake_us: float = of(300.0, "WebSocket handshake", "measured", "own run, node ws without TLS", ge=0)
    tls_us: float = of(100.0, "TLS handshake", "measured", "own run, ECDSA P-256 primitives", ge=0)
    token_us: float = of(61.0, "check of a token signed with HS256", "measured", "own run, PyJWT HS256", ge=0)
    token_rs256_us: float = of(164.0, "check of a token signed with RS256", "measured", "own run, PyJWT RS256", ge=0)
    friend_us: float = of(0.5, "put one friend of a list into the welcome", "assumption", ge=0)
    close_us: float = of(20.0, "close of a session", "assumption", ge=0)
    connection_bytes: float = of(8000.0, "memory per session", "measured", "own run, node ws idle", ge=0)
    base_bytes: float = of(60e6, "memory of an empty gateway", "assumption", ge=0)
    connections_max: int = of(0, "most sessions on one gateway, 0 sets no limit; further logins are refused", ge=0)
    shed_above: int = of(0, "a gateway refuses logins while so many items wait in its queue; 0: never", ge=0)
    broker_retry_s: float = of(1.0, "a gateway without its broker tries again this often", "assumption", gt=0)
    broker_silence_s: float = of(30.0, "silence after which a gateway and its broker take their connection for broken", "assumption", gt=0)


class BrokerCosts(StationCosts):
    """The broker (Redis or like it). Defaults: Redis 7, measured."""

    topology: Literal["single", "cluster", "sharded"] = of(
        "single", "'single' node; classic 'cluster': a PUBLISH is sent on to every node; 'sharded': each channel lives on one of n nodes"
    )
    nodes: int = of(1, "broker nodes (shards)", ge=1, le=10_000)
    tick_us: float = of(11.0, "fixed time of a tick", "measured", "own loopback run, redis 7, 256 B", ge=0)
    flush_us: float = of(4.7, "time per connection written to in a tick", "measured", "own loopback run, redis 7, 256 B", ge=0)
    publish_us: float = of(0.4, "one PUBLISH", "measured", "own loopback run, redis 7, 256 B", ge=0)
    push_us: float = of(0.35, "one push to one subscribed gateway", "measured", "own loopback run, redis 7, 256 B", ge=0)
    bus_send_us: float = of(0.41, "cluster: pass one message on to one other node", "derived",
                            "own run, redis 7.0.15, 3 masters, 256 B: 0.565 us where a PUBLISH took 0.552 us; scaled to 0.4", ge=0)
    bus_receive_us: float = of(1.32, "cluster: take one message from another node", "derived",
                               "same run: 1.82 us where a PUBLISH took 0.552 us; scaled to 0.4", ge=0)
    subscribe_us: float = of(1.3, "one SUBSCRIBE or UNSUBSCRIBE", "published", "Centrifugo benchmarks", ge=0)
    lookup_us: float = of(1.4, "one look-up of users' sessions, fixed part", "derived", "own run: MGET of 190 keys 72 us, of 15 keys 7 us", ge=0)
    lookup_user_us: float = of(0.37, "the same, per user", "derived", "own run: MGET of 190 keys 72 us, of 15 keys 7 us", ge=0)
    update_us: float = of(0.45, "one change of the session registry", "measured", "own run, redis 7.0.15: SADD or SREM, pipelined", ge=0)
    history_us: float = of(2.2, "store one message in the history", "measured", "own run, redis 7.0.15: RPUSH of 256 B and LTRIM to 100", ge=0)
    recover_us: float = of(5.9, "read the missed messages of one user", "published", "Centrifugo benchmarks", ge=0)
    history_max: int = of(0, "messages that the history of a room keeps; 0 sets no limit", ge=0)
    delivery: Literal["pubsub", "stream"] = of(
        "pubsub", "what a gateway misses while it is not subscribed is gone; or a stream keeps it, and the gateway reads on from where it was"
    )
    stream_max: int = of(1000, "messages that the stream of a channel keeps", "assumption", ge=1)
    stream_us: float = of(2.2, "put one message into a stream", "assumption", "as history_us: an own run of RPUSH and LTRIM", ge=0)
    subscriber_max_bytes: float = of(32e6, "pushes that may wait for one gateway, beyond it the broker cuts it off; 0 sets no limit",
                                     "published", "redis.conf: client-output-buffer-limit pubsub 32mb 8mb 60", ge=0)
    subscriber_soft_bytes: float = of(8e6, "the same, for longer than subscriber_soft_s; 0 sets no limit", "published", "the same", ge=0)
    subscriber_soft_s: float = of(60.0, "how long pushes above the soft limit may wait", "published", "the same", ge=0)
    presence_us: float = of(3.3, "write one presence key, with its lifetime", "published", "Centrifugo benchmarks", ge=0)
    list_us: float = of(2.0, "read a ranked friend list, fixed part", "derived", "own run: ZREVRANGE of 500 59 us, of 15 3.7 us", ge=0)
    list_entry_us: float = of(0.114, "the same, per friend", "derived", "own run: ZREVRANGE of 500 59 us, of 15 3.7 us", ge=0)

    @model_validator(mode="after")
    def _nodes_fit(self) -> Self:
        if self.topology == "single" and self.nodes != 1:
            raise ValueError(f"nodes = {self.nodes}: topology = 'single' is one node, so 1 is needed; or topology = 'cluster', 'sharded'")
        return self


class DatabaseCosts(StationCosts):
    """The database: workers that take one statement each."""

    cores: int = of(16, "workers (connections that work at once)", "assumption", ge=1, le=4096)
    batch_max: int = of(1, "most items one tick takes; 1 is the classic queue, 0 sets no limit", ge=0)
    service: Literal["fixed", "exponential"] = of("exponential", "the cost of an item as given, or exponential with that mean", "assumption")
    insert_us: float = of(2000.0, "store one message", "assumption", "one blog (db.t3.large 490 rows/s): weak; the tail is an assumption", ge=0)
    read_us: float = of(1000.0, "read the missed messages of one user", "assumption", ge=0)
    friends_us: float = of(1000.0, "read a user's friends, fixed part", "assumption", ge=0)
    friend_us: float = of(5.0, "the same, per friend", "assumption", ge=0)
    relation_us: float = of(300.0, "look up whether two users are friends", "assumption", ge=0)
    search_us: float = of(3000.0, "search for a user by name", "assumption", ge=0)


class Network(Frozen):
    """Delays between machines. Within one connection nothing overtakes."""

    client_ms_median: float = of(15.0, "one way between client and gateway, median over sessions", "assumption",
                                 "fixed line 10 ms after Ookla 2022, plus Wi-Fi", ge=0)
    client_sigma: float = of(0.6, "the same, sigma of the logarithm", "assumption", ge=0, le=3)
    jitter_sigma: float = of(0.2, "spread of single packets around their session's delay, sigma of the logarithm", "assumption", ge=0, le=3)
    handshake_trips: int = of(3, "round trips before the WebSocket is open (TCP, TLS 1.3, upgrade)", "derived", ge=0, le=20)
    broker_rtt_ms: float = of(0.15, "gateway to broker and back, and gateway to gateway", "published", "same zone, several blogs", ge=0)
    database_rtt_ms: float = of(0.15, "gateway to database and back", "published", "same zone, several blogs", ge=0)
    downlink_bytes_per_s: float = of(1.25e6, "rate at which one session drains its outbound queue", "assumption", gt=0)
    outbound_max_bytes: float = of(1e6, "outbound queue of one session on its gateway; beyond it outbound_policy acts", "assumption", gt=0)
    silent_share: float = of(0.0, "share of sessions that vanish without a word to their gateway", ge=0, le=1)
    notice_s: float = of(45.0, "time after which a gateway notices that; 0: never", "published", "Socket.IO: ping 25 s + timeout 20 s", ge=0)
    outbound_policy: Literal["close", "drop_newest", "drop_oldest", "block"] = of(
        "close",
        "a full outbound queue closes the session (as the hub does), drops what comes or what has waited longest, or blocks "
        "the gateway's worker until there is room (as a blocking channel does)",
    )
    slow_share: float = of(0.0, "share of sessions on slow links", ge=0, le=1)
    slow_bytes_per_s: float = of(2000.0, "rate at which these drain their outbound queue", "assumption", gt=0)


class Host(Frozen):
    """Stations that share the cores of one machine."""

    name: str = of(..., "name of the host", min_length=1)
    cores: int = of(1, "cores that its stations share", ge=1, le=4096)
    stations: Annotated[tuple[str, ...], Strict(False)] = of(
        ..., "stations on it: 'gateway-0', 'broker-0', 'database', or with a star: 'gateway-*'", min_length=1
    )


class Scenario(Frozen):
    """All that a run depends on, with a seed: the same scenario gives the same bytes."""

    name: str = of("scenario", "name in tables and charts", min_length=1, max_length=80)
    about: str = of("", "one line on what it is")
    seed: int = of(1, "seed of all draws", ge=0, lt=2**64)
    workload: Workload = Workload()
    design: Design = Design()
    limits: Limits = Limits()
    access: Access = Access()
    friend_list: FriendList = FriendList()
    presence: Presence = Presence()
    push: Push = Push()
    gateway: GatewayCosts = GatewayCosts()
    broker: BrokerCosts = BrokerCosts()
    database: DatabaseCosts = DatabaseCosts()
    network: Network = Network()
    client: Client = Client()
    balancer: Balancer = Balancer()
    scaling: Scaling = Scaling()
    prices: Prices = Prices()
    faults: Annotated[tuple[Fault, ...], Strict(False)] = of((), "what breaks, and when")
    hosts: Annotated[tuple[Host, ...], Strict(False)] = of((), "stations placed together; by default each has cores of its own")

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.presence.show_to == "list" and self.friend_list.policy == "none":
            raise ValueError("presence.show_to = 'list': needs a list, but friend_list.policy = 'none'")
        if self.presence.show_to != "none" and self.presence.how == "pull" and not self.has_broker:
            raise ValueError(f"presence.how = 'pull': routing = '{self.design.routing}' has no broker to ask; 'push' is allowed")
        return self

    @model_validator(mode="after")
    def _hosts_known(self) -> Self:
        taken: dict[str, str] = {}
        for host in self.hosts:
            for station in self.stations_on(host):
                if station in taken:
                    raise ValueError(f"hosts: station '{station}' is on '{taken[station]}' and on '{host.name}': one is allowed")
                taken[station] = host.name
        return self

    @model_validator(mode="after")
    def _faults_fit(self) -> Self:
        for fault in self.faults:
            self.struck_by(fault)
        if self.scaling.start > self.design.gateways:
            raise ValueError(
                f"scaling.start = {self.scaling.start}: at most design.gateways = {self.design.gateways} is allowed"
            )
        if self.broker.delivery == "stream" and self.broker.topology == "cluster":
            raise ValueError("broker.delivery = 'stream': a stream lives on one node; broker.topology = 'single', 'sharded' is allowed")
        return self

    @property
    def has_broker(self) -> bool:
        """Whether the routing passes a broker."""
        return self.design.routing not in ("in_process", "mesh")

    @property
    def broker_nodes(self) -> int:
        """Broker nodes that there are: none where the routing passes no broker."""
        return self.broker.nodes if self.has_broker else 0

    @property
    def stations(self) -> tuple[str, ...]:
        """Names of all stations, in the order of their numbers."""
        return station_names(self.design.gateways, self.broker_nodes)

    def stations_on(self, host: Host) -> list[str]:
        """Names of the stations on a host."""
        return stations_on(host.name, host.stations, self.stations)

    def struck_by(self, fault: Fault) -> list[int]:
        """Numbers of the stations that a fault strikes: none of a tier that the design does not have."""
        return fault.struck(self.design.gateways, self.broker_nodes)

    def _repr_html_(self) -> str:
        changed = ((key, value) for key, value in unlike_default(self) if key not in ("name", "about"))
        return rows_html(self.name, f"{self.about} (all other keys: defaults)".strip(), changed)
