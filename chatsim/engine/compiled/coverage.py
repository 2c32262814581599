"""What the compiled engine does not cover yet. Where nothing is missing both engines have the same outcome."""

from __future__ import annotations

from chatsim.scenario import Scenario
from chatsim.world.tables import World

STATIONS_MAX = 2000
"""Stations of which each pair has a place for what travels between them."""


class Uncovered(Exception):  # noqa: N818  # it is no error: another engine can run it
    """In this run something happens that the compiled engine does not cover: ``args`` say what."""


def missing(scenario: Scenario, world: World) -> tuple[str, ...]:
    """The keys of a scenario, with their values, that the compiled engine does not cover; none where it covers it all.

    >>> from chatsim.scenario import load_scenario
    >>> from chatsim.world import build_world
    >>> scenario = load_scenario("hub", ["workload.users=50", "workload.duration_s=60", "scaling.start=1"])
    >>> missing(scenario, build_world(scenario))
    ('scaling.start = 1',)
    """
    design = scenario.design
    stations = design.gateways + scenario.broker_nodes
    cases = {
        "faults": bool(scenario.faults),
        f"scaling.start = {scenario.scaling.start}": scenario.scaling.start > 0,
        "client.guarantee = 'at_least_once'": scenario.client.guarantee == "at_least_once",
        f"design.gateways = {design.gateways} with broker.nodes = {scenario.broker.nodes}": stations > STATIONS_MAX,
    }
    return tuple(case for case, applies in cases.items() if applies)
