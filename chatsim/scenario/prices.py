"""What the parts of a system cost, in US dollars: list prices, without reductions, taxes and people."""

from __future__ import annotations

from chatsim.scenario.keys import Frozen, of


class Prices(Frozen):
    """What each part costs, in US dollars. A month has 730 h, as clouds bill it; a GB is 10^9 bytes."""

    gateway_usd_per_month: float = of(
        59.57, "one gateway, whatever its cores: give the price of the machine that has them", "published",
        "AWS list price, us-east-1, 2026: EC2 m7g.large (2 cores), 0.0816 USD/h x 730 h", ge=0,
    )  # fmt: skip
    broker_node_usd_per_month: float = of(
        115.0, "one node of the broker", "assumption", "a managed node of 2 cores: about twice the bare machine", ge=0
    )
    database_usd_per_month: float = of(
        94.17, "the database; storage is not in it", "published",
        "AWS list price, us-east-1, 2026: RDS db.t4g.large in one zone, 0.129 USD/h x 730 h", ge=0,
    )  # fmt: skip
    egress_usd_per_gb: float = of(
        0.09, "one GB from gateways to clients", "published",
        "AWS list price, us-east-1, 2026: the first 10 TB of a month", ge=0,
    )  # fmt: skip
    push_usd_per_million: float = of(
        0.5, "a million pushes that the provider takes", "published",
        "AWS list price, 2026: SNS mobile push; FCM and APNs take them for nothing", ge=0,
    )  # fmt: skip
