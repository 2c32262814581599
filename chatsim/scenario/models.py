"""The scenario: everything that a run depends on, frozen, validated, units last in every name.

Each number carries where it comes from: ``measured``, ``published``, ``derived`` from such figures, a plain
``choice`` of what to study, or an ``assumption``, which is a guess and says so (``chatsim schema`` shows it).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, Strict, model_validator

from chatsim.scenario.stations import station_names, stations_on

Kind = Literal["measured", "published", "derived", "choice", "assumption"]


def of(default: Any, meaning: str, kind: Kind = "choice", source: str = "", **limits: Any) -> Any:
    """A scenario key: its default, what it means, and where the default comes from."""
    return Field(default, description=meaning, json_schema_extra={"kind": kind, "source": source}, **limits)


class Frozen(BaseModel):
    """Base of every part of a scenario: unknown keys refused, numbers finite, nothing changes after validation."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=False
    )


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


class Conversations(Frozen):
    """Who writes to whom, how long, how fast."""

    messages_per_day: float = of(40.0, "messages written per user and day", "assumption", gt=0, le=1e5)
    group_share: float = of(0.3, "share of conversation openings that go to a group", "assumption", ge=0, le=1)
    new_partner_share: float = of(
        0.3, "chance that an opening goes to a friend never written to, before the list grows: p / (1 + partners / new_partner_scale)",
        "assumption", ge=0, le=1,
    )
    new_partner_scale: float = of(20.0, "partners at which that chance has halved", "assumption", gt=0)
    recency_exponent: float = of(
        1.36, "openings go to the partner of recency rank k with weight k^-exponent", "measured", "CollegeMsg, openings", ge=0, le=5
    )
    length_mean: float = of(1.7, "messages per conversation, mean of a geometric", "measured", "CollegeMsg, 30-minute gap", ge=1)
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
    placement: Literal["round_robin", "least_connections", "sticky"] = of(
        "round_robin", "how the balancer places sessions on gateways; 'sticky' hashes the user"
    )
    local_shortcut: bool = of(
        False, "the sender's gateway serves its own sessions at once and ignores its own push (as Socket.IO does)"
    )
    mesh_directory: bool = of(False, "mesh only: send to the gateways with members, instead of to all")
    store: Literal["before", "beside", "after", "never"] = of(
        "before", "a message is stored before it is routed, at the same time, after it, or never"
    )
    store_in: Literal["database", "broker"] = of("database", "where messages are stored and missed ones are read from")
    offline: Literal["store", "drop"] = of(
        "store", "members with no session: 'store' keeps the message for their next login, 'drop' loses it"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.routing == "in_process" and self.gateways != 1:
            raise ValueError(f"gateways = {self.gateways}: routing = 'in_process' is one process, so 1 is needed")
        if self.mesh_directory and self.routing != "mesh":
            raise ValueError(f"mesh_directory = true: needs routing = 'mesh', but routing = '{self.routing}'")
        if self.offline == "store" and self.store == "never":
            raise ValueError("offline = 'store': nothing is stored with store = 'never'; 'drop' is allowed")
        if self.store_in == "broker" and self.routing in ("in_process", "mesh"):
            raise ValueError(f"store_in = 'broker': routing = '{self.routing}' has no broker; 'database' is allowed")
        return self


class Limits(Frozen):
    """What gateways refuse to take from a user. Each gateway counts for itself; the sender is told."""

    messages_per_s: float = of(0.0, "messages that one user may send in the long run; 0 sets no limit", ge=0)
    burst: int = of(1, "messages that one user may send at once after a silence", ge=1)
    message_max_bytes: int = of(0, "largest message; 0 sets no limit", ge=0)


# --------------------------------------------------------------------------- stations


class StationCosts(Frozen):
    """An event loop: an idle worker takes up to batch_max waiting items and works for
    wake (only if it slept) + tick + sum of the items + flush x connections touched."""

    cores: int = of(1, "workers that share one queue", ge=1, le=4096)
    batch_max: int = of(0, "most items one tick takes; 1 is the classic queue, 0 sets no limit", ge=0)
    wake_us: float = of(0.0, "extra time of a tick whose worker had been asleep", "assumption", ge=0)
    tick_us: float = of(0.0, "fixed time of a tick", "assumption", ge=0)
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
    token_us: float = of(61.0, "check of the token", "measured", "own run, PyJWT HS256", ge=0)
    close_us: float = of(20.0, "close of a session", "assumption", ge=0)
    connection_bytes: float = of(8000.0, "memory per session", "measured", "own run, node ws idle", ge=0)
    base_bytes: float = of(60e6, "memory of an empty gateway", "assumption", ge=0)
    connections_max: int = of(0, "most sessions on one gateway, 0 sets no limit; further logins are refused", ge=0)


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
    outbound_policy: Literal["close", "drop"] = of(
        "close", "a full outbound queue closes the session (as the hub does) or drops the message"
    )


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
    gateway: GatewayCosts = GatewayCosts()
    broker: BrokerCosts = BrokerCosts()
    database: DatabaseCosts = DatabaseCosts()
    network: Network = Network()
    hosts: Annotated[tuple[Host, ...], Strict(False)] = of((), "stations placed together; by default each has cores of its own")

    @model_validator(mode="after")
    def _hosts_known(self) -> Self:
        taken: dict[str, str] = {}
        for host in self.hosts:
            for station in self.stations_on(host):
                if station in taken:
                    raise ValueError(f"hosts: station '{station}' is on '{taken[station]}' and on '{host.name}': one is allowed")
                taken[station] = host.name
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
