"""The names of a scenario's stations, and which of them a host carries."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import TYPE_CHECKING

from chatsim.scenario.errors import nearest

if TYPE_CHECKING:
    from chatsim.scenario.models import Host, Scenario


def station_names(scenario: Scenario) -> list[str]:
    """All stations in the order of their numbers: gateways, broker nodes, the database.

    >>> from chatsim.scenario import Scenario
    >>> station_names(Scenario.model_validate({"design": {"gateways": 2}}))
    ['gateway-0', 'gateway-1', 'broker-0', 'database']
    """
    names = [f"gateway-{g}" for g in range(scenario.design.gateways)]
    if scenario.has_broker:
        names += [f"broker-{b}" for b in range(scenario.broker.nodes)]
    return [*names, "database"]


def stations_on(host: Host, names: Sequence[str]) -> list[str]:
    """The stations that a host's patterns name; ValueError where a pattern names none."""
    found: list[str] = []
    for pattern in host.stations:
        matching = fnmatch.filter(names, pattern)
        if not matching:
            hint = nearest(pattern, names)
            raise ValueError(f"hosts: station '{pattern}' of host '{host.name}' does not exist{hint}")
        found += [name for name in matching if name not in found]
    return found
