"""What may break, when, and for how long."""

from __future__ import annotations

import fnmatch
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field, Strict, model_validator

from chatsim.scenario.errors import nearest
from chatsim.scenario.keys import Frozen, of
from chatsim.scenario.stations import station_names

Names = Annotated[tuple[str, ...], Strict(False)]
GATEWAY, BROKER, DATABASE = "gateway", "broker", "database"


class Strike(Frozen):
    """When a fault strikes: once, or again and again at random."""

    kind: str
    at_s: float = of(60.0, "when it strikes; with mtbf_s, from when on it may", ge=0)
    for_s: float = of(0.0, "how long it lasts; 0: until the end", ge=0)
    mtbf_s: float = of(0.0, "mean time between failures of each station (exponential), from at_s on; 0: it strikes once", ge=0)
    mttr_s: float = of(0.0, "mean time to repair (exponential), with mtbf_s; 0: for_s each time", ge=0)

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.mttr_s and not self.mtbf_s:
            raise ValueError(f"mttr_s = {self.mttr_s:g}: needs mtbf_s, but mtbf_s = 0")
        if self.mtbf_s and not (self.mttr_s or self.for_s):
            raise ValueError(f"mtbf_s = {self.mtbf_s:g}: needs mttr_s or for_s, the time until it is repaired")
        return self

    def struck(self, gateways: int, broker_nodes: int) -> list[int]:
        """Numbers of the stations that it strikes; ValueError for a name of none."""
        raise NotImplementedError


class OfStations(Strike):
    """A fault of stations of some tiers."""

    tiers: ClassVar[tuple[str, ...]] = (GATEWAY,)
    stations: Names = of(("gateway-0",), "stations that it strikes: 'gateway-0', or with a star: 'gateway-*'", min_length=1)
    together: bool = of(False, "with mtbf_s: all its stations at the same times, as of one machine or rack; or each on its own")

    @model_validator(mode="after")
    def _at_random(self) -> Self:
        if self.together and not self.mtbf_s:
            raise ValueError("together = true: needs mtbf_s, but mtbf_s = 0, where all are struck at once")
        return self

    def struck(self, gateways: int, broker_nodes: int) -> list[int]:
        names = station_names(gateways, broker_nodes)
        numbers = {name: number for number, name in enumerate(names)}
        allowed = [name for name in names if name.partition("-")[0] in self.tiers]
        found: dict[int, None] = {}
        for pattern in self.stations:
            matching = [numbers[name] for name in fnmatch.filter(allowed, pattern)]
            if not matching and not (BROKER in self.tiers and pattern.startswith(BROKER) and not broker_nodes):
                raise ValueError(f"faults: '{self.kind}': station '{pattern}' is none that it can strike{nearest(pattern, allowed)}")
            found |= dict.fromkeys(matching)
        return list(found)


class OfGateways(OfStations):
    """A fault of gateways."""

    share: float = of(0.0, "share of the gateways that it strikes, from gateway-0 on, instead of stations", ge=0, le=1)

    def struck(self, gateways: int, broker_nodes: int) -> list[int]:
        if self.share:
            return list(range(max(1, round(self.share * gateways))))
        return super().struck(gateways, broker_nodes)


class GatewayCrash(OfGateways):
    """A gateway dies with all that it holds; after for_s it is back, empty."""

    kind: Literal["gateway_crash"] = of(..., "what breaks")
    noticed: Literal["close", "silence"] = of(
        "close", "a process that dies has its connections closed; a machine that vanishes leaves clients to miss their pings"
    )


class Drain(OfGateways):
    """Gateways are emptied and restarted, so many at a time: a rolling deploy."""

    kind: Literal["drain"] = of(..., "what breaks")
    stations: Names = of(("gateway-*",), "gateways that are drained, in this order", min_length=1)
    for_s: float = of(5.0, "time until a gateway that has stopped is back; 0: it stays away", "assumption", ge=0)
    batch: int = of(1, "gateways that are drained at a time", ge=1)
    grace_s: float = of(10.0, "its sessions are closed evenly over this time, then it stops", "assumption", ge=0)
    pause_s: float = of(5.0, "from the return of one batch to the next", "assumption", ge=0)

    @model_validator(mode="after")
    def _once(self) -> Self:
        if self.mtbf_s:
            raise ValueError(f"mtbf_s = {self.mtbf_s:g}: a drain is planned: only 0 is allowed")
        return self


class BrokerDown(OfStations):
    """Broker nodes are away; their subscriptions are gone. A failover, where the data are kept."""

    kind: Literal["broker_down"] = of(..., "what breaks")
    tiers = (BROKER,)
    stations: Names = of(("broker-*",), "broker nodes that it strikes", min_length=1)
    keeps_data: bool = of(False, "a replica has the data (keys, sets, histories, streams); otherwise they are lost")


class DatabaseDown(Strike):
    """The database is away: what is asked of it fails; what it holds is safe."""

    kind: Literal["database_down"] = of(..., "what breaks")

    def struck(self, gateways: int, broker_nodes: int) -> list[int]:
        return [gateways + broker_nodes]


class Partition(OfGateways):
    """Gateways and the broker cannot reach each other: what they send waits, and is lost if it lasts."""

    kind: Literal["partition"] = of(..., "what breaks")


class Slow(OfStations):
    """Stations work more slowly."""

    kind: Literal["slow"] = of(..., "what breaks")
    tiers = (GATEWAY, BROKER, DATABASE)
    stations: Names = of(("database",), "stations that it strikes", min_length=1)
    factor: float = of(10.0, "how many times as long everything takes", gt=0)


class Everywhere(Strike):
    """A fault of no station in particular."""

    def struck(self, gateways: int, broker_nodes: int) -> list[int]:
        return [-1]


class Link(Everywhere):
    """A link is slower, or loses packets, which TCP sends again."""

    kind: Literal["link"] = of(..., "what breaks")
    link: Literal["clients", "broker", "database"] = of("clients", "between gateways and what")
    added_ms: float = of(0.0, "added to each way", ge=0)
    loss: float = of(0.0, "share of packets that are lost and sent again", ge=0, le=0.5)
    resend_ms: float = of(200.0, "time until a lost packet is sent again, twice as long each time", "published", "Linux: least RTO", ge=0)


class CacheEmptied(Everywhere):
    """The caches are empty: ranked friend lists in the broker, and what gateways remember of the database's answers."""

    kind: Literal["cache_emptied"] = of(..., "what breaks")


class SlowClients(Everywhere):
    """A share of the clients is on slow links."""

    kind: Literal["slow_clients"] = of(..., "what breaks")
    share: float = of(0.1, "share of users", ge=0, le=1)
    bytes_per_s: float = of(2000.0, "rate at which their sessions drain their outbound queues", "assumption", gt=0)


Fault = Annotated[
    GatewayCrash | Drain | BrokerDown | DatabaseDown | Partition | Slow | Link | CacheEmptied | SlowClients,
    Field(discriminator="kind"),
]
FAULTS: dict[str, type[Strike]] = {
    str(get_args(fault.model_fields["kind"].annotation)[0]): fault for fault in get_args(get_args(Fault)[0])
}
"""The kinds of faults by name, in the order of their numbers."""
