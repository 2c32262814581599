"""Outcome -> tidy tables: latency, throughput, stations, overload, comparison. Units stand last in column names."""

from chatsim.analysis.chat import chat, spam
from chatsim.analysis.compare import Interval, intervals, knee, paired, summary
from chatsim.analysis.experiments import (
    by_design,
    compare_all,
    holm,
    mean_interval,
    more_needed,
    paired_interval,
    runs_needed,
)
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
from chatsim.analysis.quantiles import QuantileInterval, quantile_interval
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
from chatsim.analysis.selection import Selection, best_of, pareto
from chatsim.analysis.slos import Slo, Verdict, judge, judge_all, verdict_table
from chatsim.analysis.stations import station_timeline, stations, tier_timeline, tiers
from chatsim.analysis.warmup import mser5, steady, welch

__all__ = [
    "Interval",
    "Overload",
    "QuantileInterval",
    "Selection",
    "Slo",
    "Verdict",
    "amplification",
    "best_of",
    "by_design",
    "chat",
    "comebacks",
    "compare_all",
    "compare_rankings",
    "connections",
    "devices",
    "fates",
    "first_ever_share",
    "friend_list",
    "hit_curve",
    "holm",
    "intervals",
    "judge",
    "judge_all",
    "knee",
    "latency",
    "latency_ms",
    "logins",
    "losses",
    "mean_interval",
    "memory",
    "more_needed",
    "mser5",
    "offered_until_s",
    "overheard",
    "overload",
    "paired",
    "paired_interval",
    "pareto",
    "percentile_curve",
    "percentiles",
    "presence",
    "pushes",
    "quantile_interval",
    "recipient_ends",
    "recovery",
    "run_hit_curve",
    "runs_needed",
    "spam",
    "station_timeline",
    "stations",
    "steady",
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
    "verdict_table",
    "welch",
    "who_reads",
]
