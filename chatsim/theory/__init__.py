"""Closed forms: queues, event-loop stations, fan-out, operational laws, and the estimate of a scenario."""

from chatsim.theory.demand import Demand, demand_of, demand_of_world
from chatsim.theory.estimate import Estimate, Tier, estimate
from chatsim.theory.fanout import (
    Audience,
    MessageWork,
    discarded_share,
    gateways_touched,
    harmonic,
    join_approximate_s,
    join_bounds_s,
    join_two_s,
    lognormal_max,
    message_work,
    uniform_audience,
)
from chatsim.theory.queues import (
    erlang_c,
    little_number,
    md1_wait_quantile_s,
    md1_wait_s,
    md1_wait_tail,
    mg1_wait_s,
    mm1_response_quantile_s,
    mm1_response_s,
    mm1_wait_s,
    mmc_queue,
    mmc_response_s,
    mmc_wait_quantile_s,
    mmc_wait_s,
    mmc_wait_tail,
    utilisation,
)
from chatsim.theory.ticks import TickFigures, TickStation

__all__ = [
    "Audience", "Demand", "Estimate", "MessageWork", "TickFigures", "TickStation", "Tier",
    "demand_of", "demand_of_world", "discarded_share", "erlang_c", "estimate", "gateways_touched", "harmonic",
    "join_approximate_s", "join_bounds_s", "join_two_s", "little_number", "lognormal_max",
    "md1_wait_quantile_s", "md1_wait_s", "md1_wait_tail", "message_work", "mg1_wait_s",
    "mm1_response_quantile_s", "mm1_response_s", "mm1_wait_s", "mmc_queue", "mmc_response_s",
    "mmc_wait_quantile_s", "mmc_wait_s", "mmc_wait_tail", "uniform_audience", "utilisation",
]
