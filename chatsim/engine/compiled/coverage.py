"""What the compiled engine does not cover yet. Where nothing is missing both engines have the same outcome."""

from __future__ import annotations

from chatsim.scenario import Scenario

STATIONS_MAX = 2000
"""Stations of which each pair has a place for what travels between them."""


def missing(scenario: Scenario) -> tuple[str, ...]:
    """The keys of a scenario, with their values, that the compiled engine does not cover; none where it covers it all.

    >>> from chatsim.scenario import load_scenario
    >>> missing(load_scenario("room-channel", ["design.gateways=3000"]))
    ('design.gateways = 3000 with broker.nodes = 1',)
    """
    design = scenario.design
    stations = design.gateways + scenario.broker_nodes
    cases = {
        f"design.gateways = {design.gateways} with broker.nodes = {scenario.broker.nodes}": stations > STATIONS_MAX,
    }
    return tuple(case for case, applies in cases.items() if applies)
