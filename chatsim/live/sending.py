"""What the load client itself adds, taken out of what is measured and put into what is predicted.

It sends one message after the other, some too late. So a prediction has the messages at the moments at which they were
sent, and a latency counts from there. How late they were is said beside it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from chatsim.analysis.columns import Floats
from chatsim.analysis.latency import latency_ms
from chatsim.live.run import LiveRun
from chatsim.world.tables import World


def as_sent(run: LiveRun, world: World) -> World:
    """The world with its messages at the times at which they left their clients."""
    sent_s = np.where(np.isfinite(run.sent_s), run.sent_s, world.messages.time_s)
    return replace(world, messages=replace(world.messages, time_s=np.maximum.accumulate(sent_s)))


def latency_from_sending_ms(run: LiveRun) -> Floats:
    """The latency of each live delivery of a run, from the moment at which its message was sent."""
    sent_s = np.where(np.isfinite(run.sent_s), run.sent_s, run.outcome.messages["time_s"])
    return latency_ms(replace(run.outcome, messages={**run.outcome.messages, "time_s": sent_s}))
