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
    >>> scenario = load_scenario("room-channel", ["workload.users=50", "design.gateways=3000"])
    >>> missing(scenario, build_world(scenario))
    ('design.gateways = 3000 with broker.nodes = 1',)
    """
    design = scenario.design
    stations = design.gateways + scenario.broker_nodes
    cases = {
        f"design.gateways = {design.gateways} with broker.nodes = {scenario.broker.nodes}": stations > STATIONS_MAX,
    }
    return tuple(case for case, applies in cases.items() if applies)
