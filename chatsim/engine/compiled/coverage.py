"""What the compiled engine does not cover yet. Where nothing is missing both engines have the same outcome."""

from __future__ import annotations

from chatsim.scenario import Scenario

STATIONS_MAX = 2000
"""Stations of which each pair has a place for what travels between them."""


def kept_whole(scenario: Scenario) -> tuple[str, ...]:
    """The keys of a scenario, with their values, for which a run cannot be given away in parts: what a message came to
    may change after nothing carries it any more, other than by being read.

    >>> from chatsim.scenario import load_scenario
    >>> kept_whole(load_scenario("go-chat")), kept_whole(load_scenario("go-chat", ["design.receipts=true"]))
    ((), ('design.receipts = true',))
    """
    design, broker = scenario.design, scenario.broker
    in_broker = design.store != "never" and design.store_in == "broker"
    cases = {
        "design.receipts = true": design.receipts,
        'design.rooms_created = "first_message"': design.rooms_created == "first_message",
        f"broker.history_max = {broker.history_max}": in_broker and broker.history_max > 0,
        'design.store_in = "broker" with faults that lose its data': in_broker and _loses_data(scenario),
    }
    return tuple(case for case, applies in cases.items() if applies)


def _loses_data(scenario: Scenario) -> bool:
    return any(fault.kind == "broker_down" and not fault.keeps_data for fault in scenario.faults)


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
