"""Outcome -> tidy tables: latency, throughput, stations, overload, comparison. Units stand last in column names."""

from chatsim.analysis.compare import Interval, intervals, knee, paired, summary
from chatsim.analysis.flow import (
    connections,
    fates,
    memory,
    recipient_ends,
    subscriptions,
    throughput,
    throughput_totals,
    traffic,
)
from chatsim.analysis.friendlists import compare_rankings, first_ever_share, hit_curve
from chatsim.analysis.latency import latency, latency_ms, logins, percentile_curve, percentiles
from chatsim.analysis.overload import Overload, offered_until_s, overload
from chatsim.analysis.stations import station_timeline, stations, tier_timeline, tiers

__all__ = [
    "Interval",
    "Overload",
    "compare_rankings",
    "connections",
    "fates",
    "first_ever_share",
    "hit_curve",
    "intervals",
    "knee",
    "latency",
    "latency_ms",
    "logins",
    "memory",
    "offered_until_s",
    "overload",
    "paired",
    "percentile_curve",
    "percentiles",
    "recipient_ends",
    "station_timeline",
    "stations",
    "subscriptions",
    "summary",
    "throughput",
    "throughput_totals",
    "tier_timeline",
    "tiers",
    "traffic",
]
