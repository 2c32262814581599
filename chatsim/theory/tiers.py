"""The work that a demand puts on each tier per second, and what it costs under two bounds.

Idle: every item is alone in its tick and pays wake, tick, fetch and flush for itself. Batched: ticks are as full as
``batch_max`` allows, so that only the items are left to pay. What a station really spends lies between.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import astuple, dataclass

from chatsim.rules.routing import (
    ROUTING_NUMBERS,
    TOPOLOGY_NUMBERS,
    bus_copies,
    keeps_registry,
    publish_node,
    server_channel,
)
from chatsim.scenario.models import Scenario, StationCosts
from chatsim.theory.demand import Demand
from chatsim.theory.fanout import MessageWork, gateways_touched

US = 1e-6
CHANNELS_PER_NODE_EVEN = 50
"""With more server channels per node than this their uneven spread is left out."""


@dataclass(frozen=True, slots=True)
class Flow:
    """Items per second, their work in us per second, connections written to per second, item by item, and how many of
    the items are the station's ``own``, which come on no connection."""

    items: float = 0.0
    work_us: float = 0.0
    touches: float = 0.0
    own: float = 0.0

    def __add__(self, other: Flow) -> Flow:
        return Flow(*(one + another for one, another in zip(astuple(self), astuple(other), strict=True)))

    def times(self, factor: float) -> Flow:
        """So many of it."""
        return Flow(*(factor * each for each in astuple(self)))

    def idle_cores(self, costs: StationCosts) -> float:
        """Cores busy where each item has a tick of its own, whose worker had been asleep.

        >>> costs = StationCosts(tick_us=50.0, fetch_us=2.0, flush_us=5.0)
        >>> round(Flow(100.0, 1000.0, 200.0, own=10.0).idle_cores(costs), 9)
        0.00718
        """
        around_us = self.items * (costs.wake_us + costs.tick_us) + (self.items - self.own) * costs.fetch_us
        return (self.work_us + around_us + self.touches * costs.flush_us) * US

    def batched_cores(self, costs: StationCosts) -> float:
        """Cores busy with the fullest ticks: no wake; tick, fetch and flush shared by all items of a batch.

        >>> Flow(100.0, 1000.0, 200.0).batched_cores(StationCosts(tick_us=50.0, flush_us=5.0))
        0.001
        """
        share = 1.0 / costs.batch_max if costs.batch_max else 0.0
        flush_share = 1.0 if costs.flush == "item" else share
        around_us = (self.items * costs.tick_us + (self.items - self.own) * costs.fetch_us) * share
        return (self.work_us + around_us + self.touches * costs.flush_us * flush_share) * US


def gateway_message(scenario: Scenario, work: MessageWork) -> Flow:
    """What one message asks of all gateways together.

    Items: the client's message; the reply of the store, and its command where that comes last; each push, reply and
    peer's message; the sender's gateway's own fan-out. Other commands are written in the item in which they are known,
    each to a place of its own.
    """
    costs, design = scenario.gateway, scenario.design
    flow = Flow(1.0, costs.receive_us + work.commands * costs.command_us, work.commands)
    if design.store != "never":
        later = float(design.store == "after")
        flow += Flow(1.0 + later, costs.command_us + costs.parse_us, 1.0, own=later)
    if design.local_shortcut or not scenario.has_broker:
        flow += Flow(1.0, own=1.0)
    return flow + Flow(work.parses, work.parses * costs.parse_us + work.writes * costs.write_us, work.writes)


def gateway_login(scenario: Scenario, demand: Demand) -> Flow:
    """What one login, and the logout after it, ask of their gateway: handshake, requests, their replies, close.

    Subscriptions travel in one request per broker node. The missed messages that the sync brings are not in it.
    """
    costs = scenario.gateway
    subscribes, updates, syncs = _login_commands(scenario, demand)
    requests = updates + _subscribe_requests(scenario, subscribes)
    work_us = costs.tls_us + costs.handshake_us + costs.token_us + costs.close_us
    work_us += requests * costs.command_us + (requests + syncs) * costs.parse_us
    own = 2.0 + min(1.0, requests)
    return Flow(own + requests + syncs, work_us, own=own)


def database_flow(scenario: Scenario, demand: Demand) -> Flow:
    """Statements per second."""
    design, costs = scenario.design, scenario.database
    if design.store_in != "database":
        return Flow()
    stored = demand.messages_per_s if design.store != "never" else 0.0
    read = demand.logins_per_s if design.offline == "store" else 0.0
    return Flow(stored + read, stored * costs.insert_us + read * costs.read_us, stored + read)


def broker_flow(scenario: Scenario, demand: Demand, work: MessageWork) -> Flow:
    """What the busiest broker node has to do per second."""
    nodes = scenario.broker.nodes
    even = _broker_keyed(scenario, demand, work).times(1.0 / nodes)
    most, least = _publish_shares(scenario)
    flows = [_broker_publishes(scenario, work, share).times(demand.messages_per_s) + even for share in {most, least}]
    return max(flows, key=lambda flow: flow.batched_cores(scenario.broker))


def _broker_publishes(scenario: Scenario, work: MessageWork, share: float) -> Flow:
    """PUBLISH, pushes and bus work of one message at the node that takes ``share`` of the PUBLISHes."""
    costs, gateways = scenario.broker, scenario.design.gateways
    copies = bus_copies(TOPOLOGY_NUMBERS[costs.topology], costs.nodes)
    taken = work.publishes * share
    received = work.publishes * (1.0 - share) if copies else 0.0
    pushed = work.pushes * (math.ceil(gateways / costs.nodes) / gateways if copies else share)
    work_us = taken * (costs.publish_us + copies * costs.bus_send_us) + received * costs.bus_receive_us
    return Flow(taken + received, work_us + pushed * costs.push_us, pushed + taken * copies)


def _broker_keyed(scenario: Scenario, demand: Demand, work: MessageWork) -> Flow:
    """Work that is spread evenly over all nodes by its keys: look-ups, history, registry, subscriptions. Per second."""
    costs, design = scenario.broker, scenario.design
    subscribes, updates, syncs = _login_commands(scenario, demand)
    in_broker = design.store_in == "broker"
    flow = Flow(work.lookups, work.lookups * costs.lookup_us + work.lookup_users * costs.lookup_user_us, work.lookups)
    if in_broker and design.store != "never":
        flow += Flow(1.0, costs.history_us, 1.0)
    flow = flow.times(demand.messages_per_s)
    coming_and_going = 2.0 * demand.logins_per_s
    requests = _subscribe_requests(scenario, subscribes)
    flow += Flow(requests, subscribes * costs.subscribe_us, requests).times(coming_and_going)
    flow += Flow(updates, updates * costs.update_us, updates).times(coming_and_going)
    if in_broker:
        flow += Flow(syncs, syncs * costs.recover_us, syncs).times(demand.logins_per_s)
    return flow


def _login_commands(scenario: Scenario, demand: Demand) -> tuple[float, float, float]:
    """(subscriptions, changes of the registry, syncs) of one login."""
    routing = scenario.design.routing
    subscribes = {"user": demand.fresh_user, "room": demand.fresh_rooms}.get(routing, 0.0)
    return subscribes, float(keeps_registry(ROUTING_NUMBERS[routing])), float(scenario.design.offline == "store")


def _subscribe_requests(scenario: Scenario, subscribes: float) -> float:
    """Requests in which so many subscriptions travel: one per broker node concerned."""
    nodes = scenario.broker.nodes if scenario.broker.topology == "sharded" else 1
    return min(subscribes, float(gateways_touched(nodes, subscribes)))


def _publish_shares(scenario: Scenario) -> tuple[float, float]:
    """(largest, smallest) share of all PUBLISHes that one broker node takes."""
    costs, design = scenario.broker, scenario.design
    topology, nodes, gateways = TOPOLOGY_NUMBERS[costs.topology], costs.nodes, design.gateways
    if design.routing in ("global", "global_per_recipient"):
        return 1.0, 0.0 if nodes > 1 else 1.0
    if design.routing == "directory" and gateways < CHANNELS_PER_NODE_EVEN * nodes:
        taken = Counter(publish_node(server_channel(gateway), topology, nodes) for gateway in range(gateways))
        least = min(taken.values()) if len(taken) == nodes else 0
        return max(taken.values()) / gateways, least / gateways
    return 1.0 / nodes, 1.0 / nodes
