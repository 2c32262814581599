"""What the compiled engine does not cover yet. Where nothing is missing both engines have the same outcome."""

from __future__ import annotations

from chatsim.scenario import Scenario
from chatsim.world.tables import World

STATIONS_MAX = 2000
"""Stations of which each pair has a place for what travels between them."""


def missing(scenario: Scenario, world: World) -> tuple[str, ...]:
    """The keys of a scenario, with their values, that the compiled engine does not cover; none where it covers it all.

    >>> from chatsim.scenario import load_scenario
    >>> from chatsim.world import build_world
    >>> scenario = load_scenario("hub", ["workload.users=50", "workload.duration_s=60", "design.receipts=true"])
    >>> missing(scenario, build_world(scenario))
    ('design.receipts = true',)
    """
    design, presence = scenario.design, scenario.presence
    pushes_presence = presence.show_to != "none" and presence.how == "push"
    creates_rooms = design.rooms_created == "first_message" and design.rooms != "personal"
    stations = design.gateways + scenario.broker_nodes
    cases = {
        "design.rooms = 'personal'": design.rooms == "personal",
        "design.rooms_created = 'first_message'": creates_rooms,
        "design.membership = 'broker'": design.membership == "broker",
        "design.receipts = true": design.receipts,
        f"access.policy = '{scenario.access.policy}'": scenario.access.policy != "open",
        f"friend_list.policy = '{scenario.friend_list.policy}'": scenario.friend_list.policy != "none",
        f"presence.show_to = '{presence.show_to}' with presence.how = 'push'": pushes_presence,
        "workload.intruders": len(world.intrusions) > 0,
        f"design.gateways = {design.gateways} with broker.nodes = {scenario.broker.nodes}": stations > STATIONS_MAX,
    }
    return tuple(case for case, applies in cases.items() if applies)
