"""Latency of one delivery in an empty system: networks at their means, every station idle and asleep."""

from __future__ import annotations

import math

from chatsim.scenario.models import Scenario, StationCosts
from chatsim.theory.demand import Demand
from chatsim.theory.fanout import MessageWork, gateways_touched


def client_ms_mean(scenario: Scenario) -> float:
    """One way between client and gateway, mean: median x exp((sigma^2 + jitter^2) / 2)."""
    network = scenario.network
    return network.client_ms_median * math.exp((network.client_sigma**2 + network.jitter_sigma**2) / 2.0)


def unloaded_ms(scenario: Scenario, demand: Demand, work: MessageWork) -> tuple[float, float | None]:
    """(local, remote): mean time from writing a message to a session on the sender's gateway, and on another one.

    Remote is None where there is one gateway. No queue is in it but that of the message's own writes: a session stands
    in the middle of those of its gateway.
    """
    client = client_ms_mean(scenario) + demand.message_bytes / scenario.network.downlink_bytes_per_s * 1e3
    before = client_ms_mean(scenario) + _received_us(scenario, work) / 1e3
    design = scenario.design
    writing = _writes_us(scenario, demand)
    own = (_tick_us(scenario.gateway) - scenario.gateway.fetch_us + writing) / 1e3 + client
    if design.routing == "in_process":
        return before + own, None
    hop = scenario.network.broker_rtt_ms / 2.0
    if design.routing == "mesh":
        far = before + hop + (_tick_us(scenario.gateway) + scenario.gateway.parse_us + writing) / 1e3 + client
        return before + own, far if design.gateways > 1 else None
    looked_up = _look_up_us(scenario, work) / 1e3 if design.routing == "directory" else 0.0
    far = before + _through_broker_ms(scenario, work) + writing / 1e3 + client
    near = before + looked_up + own if design.local_shortcut else far
    return near, far if design.gateways > 1 else None


def _received_us(scenario: Scenario, work: MessageWork) -> float:
    """From the client's bytes at the gateway to the commands that route the message."""
    gateway, design, network = scenario.gateway, scenario.design, scenario.network
    commands = 0.0 if design.routing == "directory" else work.commands - _looked_up_later(scenario, work)
    spent = _tick_us(gateway, gateway.receive_us + commands * gateway.command_us, 1.0)
    if design.store == "never":
        return spent
    spent += gateway.command_us
    if design.store != "before":
        return spent
    if design.store_in == "database":
        stored = network.database_rtt_ms * 1e3 + _tick_us(scenario.database, scenario.database.insert_us, 1.0)
    else:
        stored = network.broker_rtt_ms * 1e3 + _tick_us(scenario.broker, scenario.broker.history_us, 1.0)
    return spent + stored + _tick_us(gateway, gateway.parse_us)


def _looked_up_later(scenario: Scenario, work: MessageWork) -> float:
    """Look-ups that the receiving gateways send, not the sender's."""
    return work.lookups if scenario.design.routing == "global_per_recipient" else 0.0


def _through_broker_ms(scenario: Scenario, work: MessageWork) -> float:
    """From the sender's gateway through the broker until the push is read on the recipient's gateway."""
    gateway, broker, routing = scenario.gateway, scenario.broker, scenario.design.routing
    rtt_us = scenario.network.broker_rtt_ms * 1e3
    spent = rtt_us + _tick_us(gateway, gateway.parse_us)
    nodes = broker.nodes
    used = 1.0 if routing == "global_per_recipient" else max(1.0, float(gateways_touched(nodes, work.publishes)))
    publishes, pushes = work.publishes / used, work.pushes / used
    touched = min(pushes, float(scenario.design.gateways))
    if broker.topology == "cluster" and nodes > 1:
        other = 1.0 - 1.0 / nodes
        pushes, touched = pushes / nodes, touched / nodes
        spent += other * (rtt_us / 2.0 + _tick_us(
            broker, publishes * broker.bus_receive_us + pushes * broker.push_us, touched
        ))
        first = publishes * (broker.publish_us + (nodes - 1) * broker.bus_send_us) + pushes * broker.push_us
        spent += _tick_us(broker, first, touched + nodes - 1)
    else:
        spent += _tick_us(broker, publishes * broker.publish_us + pushes * broker.push_us, touched)
    if routing in ("directory", "global_per_recipient"):
        spent += _look_up_us(scenario, work)
    return spent / 1e3


def _look_up_us(scenario: Scenario, work: MessageWork) -> float:
    """A look-up from its command to the reply's item, which in the directory's case also writes the PUBLISHes."""
    gateway, broker = scenario.gateway, scenario.broker
    per_lookup = work.lookup_users / work.lookups if work.lookups else 0.0
    commands = 1.0 + (work.publishes if scenario.design.routing == "directory" else 0.0)
    asked_us = _tick_us(broker, broker.lookup_us + per_lookup * broker.lookup_user_us, 1.0)
    answered_us = _tick_us(gateway, gateway.parse_us + commands * gateway.command_us)
    return scenario.network.broker_rtt_ms * 1e3 + asked_us + answered_us


def _writes_us(scenario: Scenario, demand: Demand) -> float:
    """Writes on one gateway until a session's own is done: half of them and half its own."""
    audience, gateway = demand.audience, scenario.gateway
    here = max(1.0, audience.sessions / audience.touched) if audience.touched else 1.0
    ahead = (here + 1.0) / 2.0 if gateway.flush == "item" else here
    return ahead * (gateway.write_us + gateway.flush_us)


def _tick_us(costs: StationCosts, item_us: float = 0.0, touches: float = 0.0) -> float:
    """One tick of a worker that slept, for what has come on one connection."""
    return costs.wake_us + costs.tick_us + costs.fetch_us + item_us + touches * costs.flush_us
