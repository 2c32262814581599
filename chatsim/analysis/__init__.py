"""Outcome -> tidy tables: latency, throughput, stations, overload, comparison. Units stand last in column names."""

from chatsim.analysis.chat import chat, spam
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
from chatsim.analysis.lists import friend_list, run_hit_curve
from chatsim.analysis.offline import devices, pushes, time_to_read
from chatsim.analysis.overload import Overload, offered_until_s, overload
from chatsim.analysis.presence import presence
from chatsim.analysis.recovery import (
    amplification,
    comebacks,
    losses,
    recovery,
    strikes,
    timeline,
    verdict,
)
from chatsim.analysis.rooms import overheard, who_reads
from chatsim.analysis.stations import station_timeline, stations, tier_timeline, tiers

__all__ = [
    "Interval",
    "Overload",
    "amplification",
    "chat",
    "comebacks",
    "compare_rankings",
    "connections",
    "devices",
    "fates",
    "first_ever_share",
    "friend_list",
    "hit_curve",
    "intervals",
    "knee",
    "latency",
    "latency_ms",
    "logins",
    "losses",
    "memory",
    "offered_until_s",
    "overheard",
    "overload",
    "paired",
    "percentile_curve",
    "percentiles",
    "presence",
    "pushes",
    "recipient_ends",
    "recovery",
    "run_hit_curve",
    "spam",
    "station_timeline",
    "stations",
    "strikes",
    "subscriptions",
    "summary",
    "throughput",
    "throughput_totals",
    "tier_timeline",
    "tiers",
    "time_to_read",
    "timeline",
    "traffic",
    "verdict",
    "who_reads",
]
