"""From a scenario to what it needs, without a run: tiers, the binding resource, the load at which each saturates."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from chatsim.scenario.html import rows_html
from chatsim.scenario.models import Scenario, StationCosts
from chatsim.theory.demand import Demand, demand_of
from chatsim.theory.fanout import MessageWork, message_work
from chatsim.theory.latency import unloaded_ms
from chatsim.theory.tiers import Flow, broker_flow, database_flow, gateway_login, gateway_message

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tier:
    """One resource: how busy it is in the busiest hour, and the load at which it saturates.

    ``utilisation_batched`` is the least that the work can take (full batches), ``utilisation_idle`` the most (each item
    pays its own tick, wake and flush). Above 1 the first means overload; the second only that the station batches: it
    looks busy all the time and has room still. Saturation is given for both, the batched one being the capacity.
    ``load_factor`` of 3 means: three times today's users.
    """

    name: str
    stations: int
    cores: int
    utilisation_idle: float
    utilisation_batched: float
    messages_per_s: float
    users: int

    @property
    def load_factor_idle(self) -> float:
        """How many times today's load fit if nothing were ever batched."""
        return 1.0 / self.utilisation_idle if self.utilisation_idle else math.inf

    @property
    def load_factor(self) -> float:
        """How many times today's load fit with full batches: the capacity."""
        return 1.0 / self.utilisation_batched if self.utilisation_batched else math.inf

    def row(self) -> Row:
        """As a plain dict, for a table."""
        return {
            "tier": self.name, "stations": self.stations, "cores": self.cores,
            "utilisation_batched": self.utilisation_batched, "utilisation_idle": self.utilisation_idle,
            "load_factor": self.load_factor,
            "saturates_at_messages_per_s": self.messages_per_s * self.load_factor,
            "saturates_at_messages_per_s_idle": self.messages_per_s * self.load_factor_idle,
            "saturates_at_users": self.users * self.load_factor,
            "saturates_at_users_idle": self.users * self.load_factor_idle,
        }


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a scenario asks for and what it has, in its busiest hour.

    ``left_out`` names what the scenario asks for beyond this. ``work`` is per message; memory is per gateway;
    ``local_ms`` and ``remote_ms`` are means of a delivery in an empty system (``remote_ms`` None with one gateway).
    More users are taken to behave alike: rates grow with their number, the audience of a message stays.
    """

    scenario: str
    demand: Demand
    work: MessageWork
    tiers: tuple[Tier, ...]
    sessions_per_gateway: float
    gateway_memory_bytes: float
    subscriptions: float
    uplink_bytes_per_s: float
    downlink_bytes_per_s: float
    broker_in_bytes_per_s: float
    broker_out_bytes_per_s: float
    peer_bytes_per_s: float
    local_ms: float
    remote_ms: float | None
    left_out: tuple[str, ...]

    @property
    def binding(self) -> Tier:
        """The tier that saturates first when all batches are full."""
        return max(self.tiers, key=lambda tier: tier.utilisation_batched)

    @property
    def discarded_share(self) -> float:
        """Share of the pushes that reach a gateway without a session of the audience."""
        sent = self.work.pushes + self.work.peer_sends
        return self.work.discards / sent if sent else 0.0

    @property
    def verdict(self) -> str:
        """One sentence: what binds, at which load."""
        tier = self.binding
        if not tier.utilisation_batched:
            return "Nothing binds: the scenario asks for no work."
        now = f"{figure(self.demand.messages_per_s)} messages/s"
        at = f"{figure(self.demand.messages_per_s * tier.load_factor)} messages/s"
        verb = "binds" if tier.stations == 1 else "bind"
        state = "Overloaded: the" if tier.utilisation_batched >= 1 else "The"
        return f"{state} {tier.name} {verb} first, at {at} ({figure(tier.load_factor)} x today's load of {now})."

    def table(self) -> list[Row]:
        """One plain dict per tier; the keys are those of :meth:`Tier.row`."""
        return [tier.row() for tier in self.tiers]

    def facts(self) -> list[Row]:
        """Everything else as rows of quantity, value, unit."""
        people, audience = self.demand, self.demand.audience
        work = [(name.replace("_", " "), value) for name, value in self.work.row().items() if name != "discards"]
        rows = [
            ("users", people.users, ""), ("users online", people.online_users, ""), ("sessions", people.sessions, ""),
            ("logins", people.logins_per_s, "per s"), ("messages, busiest hour", people.messages_per_s, "per s"),
            ("messages, whole run", people.messages_per_s_mean, "per s"),
            ("recipients", audience.recipients, "per message"), ("recipients online", audience.online, "per message"),
            ("deliveries", audience.sessions, "per message"),
            ("deliveries", people.messages_per_s * audience.sessions, "per s"),
            ("gateways touched", audience.touched, "per message"), ("pushes discarded", self.discarded_share, "share"),
            *((name, value, "per message") for name, value in work),
            ("subscriptions", self.subscriptions, ""), ("sessions per gateway", self.sessions_per_gateway, ""),
            ("memory per gateway", self.gateway_memory_bytes, "bytes"),
            ("from clients", self.uplink_bytes_per_s, "bytes/s"), ("to clients", self.downlink_bytes_per_s, "bytes/s"),
            ("into the broker", self.broker_in_bytes_per_s, "bytes/s"),
            ("out of the broker", self.broker_out_bytes_per_s, "bytes/s"),
            ("between gateways", self.peer_bytes_per_s, "bytes/s"),
            ("unloaded latency, same gateway", self.local_ms, "ms"),
        ]
        if self.remote_ms is not None:
            rows.append(("unloaded latency, other gateway", self.remote_ms, "ms"))
        return [{"quantity": name, "value": value, "unit": unit} for name, value, unit in rows]

    def _repr_html_(self) -> str:
        rows = ((tier.name, f"{100 * tier.utilisation_batched:.3g} % of capacity") for tier in self.tiers)
        return rows_html(f"{self.scenario}: estimate", self.verdict, rows)

    def as_dict(self) -> Row:
        """Plain numbers and texts, ready for JSON (an infinite saturation becomes None)."""
        rows = [{key: None if value == math.inf else value for key, value in row.items()} for row in self.table()]
        plain = {key: value for key, value in asdict(self).items() if key != "tiers"}
        return {**plain, "discarded_share": self.discarded_share, "tiers": rows, "binding": self.binding.name,
                "verdict": self.verdict}


def left_out(scenario: Scenario) -> tuple[str, ...]:
    """What a scenario asks for that the estimate does not count: a run does.

    >>> left_out(Scenario())
    ()
    """
    design, access, workload = scenario.design, scenario.access, scenario.workload
    varied = workload.sessions.activity_sigma + workload.sessions.join_days + workload.sessions.fade_days
    asked = {
        "limits of users": scenario.limits.messages_per_s > 0 or scenario.limits.message_max_bytes > 0,
        f"design.rooms = '{design.rooms}'": design.rooms != "pair",
        "rooms created by their first message": design.rooms_created != "before",
        "membership kept in the broker": design.membership == "broker",
        "copies for the sender's devices": design.own_devices,
        "receipts": design.receipts,
        "pushes and the sessions they bring": design.offline == "push",
        f"access.policy = '{access.policy}'": access.policy != "open",
        "friend lists": scenario.friend_list.policy != "none",
        "presence": scenario.presence.show_to != "none",
        "spam": workload.spam.share > 0,
        "sessions that are cut": workload.reconnect.share > 0,
        "faults": len(scenario.faults) > 0,
        "gateways that come and go": scenario.scaling.start > 0,
        "messages sent again": scenario.client.guarantee == "at_least_once",
        "streams": scenario.broker.delivery == "stream",
        "users who join, lose interest or differ in activity": varied > 0,
    }
    return tuple(name for name, there in asked.items() if there)


def estimate(scenario: Scenario, asked: Demand | None = None) -> Estimate:
    """The needs of a scenario in its busiest hour, in milliseconds, for any number of users.

    ``asked`` is the scenario's own demand unless it is given, such as that of another world. Only ``workload.trace``
    makes it build a world, whose messages and sessions it then counts. Taken as spread evenly: sessions over gateways,
    and keyed broker work over nodes; the row of the broker is its busiest node. Missed messages are stored and read at
    the next login as one item, whatever their number. InputError where a trace is wrong.

    >>> from chatsim.scenario import load_scenario
    >>> needs = estimate(load_scenario("go-chat", ["workload.users=100_000_000"]))
    >>> needs.binding.utilisation_batched > 1
    True
    """
    asked = asked or demand_of(scenario)
    design = scenario.design
    work = message_work(design.routing, design.gateways, asked.audience, design.mesh_directory, design.local_shortcut)
    rate, size = asked.messages_per_s, asked.message_bytes
    sessions = asked.sessions / design.gateways
    local_ms, remote_ms = unloaded_ms(scenario, asked, work)
    history = float(design.store != "never" and design.store_in == "broker")
    through_broker = float(scenario.has_broker)
    return Estimate(
        scenario.name, asked, work, _tiers(scenario, asked, work), sessions,
        scenario.gateway.base_bytes + sessions * scenario.gateway.connection_bytes, _subscriptions(scenario, asked),
        uplink_bytes_per_s=rate * size, downlink_bytes_per_s=rate * asked.audience.sessions * size,
        broker_in_bytes_per_s=through_broker * rate * size * (work.publishes + history),
        broker_out_bytes_per_s=through_broker * rate * size * work.pushes,
        peer_bytes_per_s=rate * size * work.peer_sends, local_ms=local_ms, remote_ms=remote_ms,
        left_out=left_out(scenario),
    )


def figure(value: float) -> str:
    """A number as people read it: three figures, thousands marked.

    >>> [figure(value) for value in (0.01234, 1.5, 12345.6, 1e9)]
    ['0.0123', '1.5', '12,300', '1,000,000,000']
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = round(value, 2 - math.floor(math.log10(abs(value))))
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:g}"


def _tiers(scenario: Scenario, asked: Demand, work: MessageWork) -> tuple[Tier, ...]:
    design = scenario.design
    gateways = gateway_message(scenario, work).times(asked.messages_per_s)
    gateways += gateway_login(scenario, asked).times(asked.logins_per_s)
    flows: list[tuple[str, int, StationCosts, Flow]] = [
        ("gateways", design.gateways, scenario.gateway, gateways.times(1.0 / design.gateways))
    ]
    if scenario.has_broker:
        name = "broker" if scenario.broker.nodes == 1 else "broker nodes"
        flows.append((name, scenario.broker.nodes, scenario.broker, broker_flow(scenario, asked, work)))
    flows.append(("database", 1, scenario.database, database_flow(scenario, asked)))
    tiers = [
        _tier(asked, name, stations, costs.cores, flow.idle_cores(costs), flow.batched_cores(costs))
        for name, stations, costs, flow in flows
    ]
    tiers += _host_tiers(scenario, asked, [flow for _, _, _, flow in flows])
    if scenario.gateway.connections_max:
        share = asked.sessions / design.gateways / scenario.gateway.connections_max
        tiers.append(_tier(asked, "gateway connections", design.gateways, 1, share, share))
    return tuple(tiers)


def _tier(asked: Demand, name: str, stations: int, cores: int, idle: float, batched: float) -> Tier:
    return Tier(name, stations, cores, idle / cores, batched / cores, asked.messages_per_s, asked.users)


def _host_tiers(scenario: Scenario, asked: Demand, flows: list[Flow]) -> list[Tier]:
    """One tier per host: the work of all its stations over its cores (each broker node taken as the busiest)."""
    if not scenario.hosts:
        return []
    costs: dict[str, tuple[StationCosts, Flow]] = {
        "gateway": (scenario.gateway, flows[0]), "broker": (scenario.broker, flows[1]),
        "database": (scenario.database, flows[-1]),
    }
    tiers = []
    for host in scenario.hosts:
        placed = [costs[name.partition("-")[0]] for name in scenario.stations_on(host)]
        idle = sum(flow.idle_cores(cost) for cost, flow in placed)
        batched = sum(flow.batched_cores(cost) for cost, flow in placed)
        tiers.append(_tier(asked, f"host '{host.name}'", 1, host.cores, idle, batched))
    return tiers


def _subscriptions(scenario: Scenario, asked: Demand) -> float:
    """Subscriptions of all gateways at the broker."""
    if not scenario.has_broker:
        return 0.0
    changing = {"user": asked.user_subscriptions, "room": asked.room_subscriptions}
    return changing.get(scenario.design.routing, float(scenario.design.gateways))
