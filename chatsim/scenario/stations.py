"""The names of a scenario's stations, and which of them a host carries."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from chatsim.scenario.errors import nearest


def station_names(gateways: int, broker_nodes: int) -> tuple[str, ...]:
    """All stations in the order of their numbers: gateways, broker nodes, the database.

    >>> station_names(2, 1)
    ('gateway-0', 'gateway-1', 'broker-0', 'database')
    """
    return (
        *(f"gateway-{gateway}" for gateway in range(gateways)),
        *(f"broker-{node}" for node in range(broker_nodes)),
        "database",
    )


def stations_on(host: str, patterns: Sequence[str], names: Sequence[str]) -> list[str]:
    """The stations that a host's patterns name; ValueError where a pattern names none."""
    found: list[str] = []
    for pattern in patterns:
        matching = fnmatch.filter(names, pattern)
        if not matching:
            raise ValueError(f"hosts: station '{pattern}' of host '{host}' does not exist{nearest(pattern, names)}")
        found += [name for name in matching if name not in found]
    return found
