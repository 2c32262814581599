"""A log and the behaviour model fitted to it through the same design, side by side.

What a model of users is good for is what a system makes of them. So both go through the design that is to be judged:
the log once, as it is, and worlds of the model, which was fitted to who writes when, and to nothing of the system.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from chatsim.analysis import latency_ms, mean_interval, percentiles, recipient_ends, station_timeline, throughput_totals
from chatsim.analysis.marginals import DAY_S, Figure, clock_step_s, sender_gaps
from chatsim.analysis.stations import TIERS
from chatsim.engine import Outcome
from chatsim.scenario import InputError, Scenario
from chatsim.study.runs import run
from chatsim.study.spread import Progress
from chatsim.world import World
from chatsim.world.tables import GROUP

WINDOWS_S = (60.0, 600.0, 3600.0, 86400.0)
WINDOWS_MOST = 5000
LEAST = 2
NAMES = {60.0: "minute", 600.0: "10 min", 3600.0: "hour", 86400.0: "day"}

FIGURES = {
    "messages_per_user_day": Figure("messages per user and day", ""),
    "gap_s_p50": Figure("gap of a sender's messages, median", "s"),
    "gap_s_p90": Figure("gap of a sender's messages, p90", "s"),
    "group_share": Figure("written to groups", "share"),
    "members_mean": Figure("members of a message's room, mean", "users"),
    "members_p90": Figure("members of a message's room, p90", "users"),
    "sessions_mean": Figure("sessions at a time, mean", "sessions"),
    "sessions_most": Figure("sessions at a time, most", "sessions"),
    "busiest_per_s": Figure("messages in the busiest {window}", "/s"),
    "deliveries_per_message": Figure("live deliveries of a message", ""),
    "live_share": Figure("recipients who have it live", "share"),
    "kept_share": Figure("recipients for whom it is kept", "share"),
    "lost_share": Figure("recipients for whom it is lost", "share"),
    "p50_ms": Figure("latency p50", "ms"),
    "p90_ms": Figure("latency p90", "ms"),
    "p99_ms": Figure("latency p99", "ms"),
    "gateway_peak": Figure("busiest gateway in its busiest {window}", "busy"),
    "broker_peak": Figure("busiest broker in its busiest {window}", "busy"),
    "database_peak": Figure("database in its busiest {window}", "busy"),
}


@dataclass(frozen=True, slots=True)
class Replay:
    """A log and its model through a ``design``.

    ``table`` has a row per figure: figure, meaning, unit, real, model (the mean of ``replications`` worlds), half_width
    (of its 95 % interval), difference (of the model from the log in percent; of shares in points), and alike (whether
    the log's figure is one that 95 % of the model's worlds would have). The unit "busy" is utilisation, a share of 1.
    ``window_s`` is how long the busiest stretches are; ``clock_s`` the clock of the log, by which gaps are rounded;
    ``inferred``: its sessions are.
    """

    design: str
    table: pd.DataFrame
    replications: int
    window_s: float
    clock_s: float
    inferred: bool


def replay(
    design: Scenario,
    log: Scenario,
    model: Scenario,
    replications: int = 5,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Replay:
    """The trace of ``log`` and the worlds of ``model`` through a design, each by its own scenario's workload and seed.

    Raises InputError where fewer than 2 replications are asked for, as those give no interval.
    """
    if replications < LEAST:
        raise InputError(f"--replications {replications}: at least {LEAST} are needed for an interval")
    found: list[dict[str, float]] = []
    scale = [0.0, 0.0]

    def note(outcome: Outcome) -> None:
        if not found:
            scale[:] = [window_of(outcome.world.duration_s), clock_step_s(outcome.world)]
        found.append(figures(outcome, *scale))

    drained = model.workload.model_copy(update={"drain_s": log.workload.drain_s})
    run(_through(design, log), 1, 1, progress, note)
    run(_through(design, model.model_copy(update={"workload": drained})), replications, jobs, progress, note)
    inferred = bool(log.workload.trace) and not log.workload.trace_sessions
    return Replay(design.name, side_by_side(found[0], found[1:], scale[0]), replications, scale[0], scale[1], inferred)


def _through(design: Scenario, users: Scenario) -> Scenario:
    return design.model_copy(update={"workload": users.workload, "seed": users.seed})


def figures(outcome: Outcome, window_s: float, clock_s: float) -> dict[str, float]:
    """The figures of one run, in the order of ``FIGURES``; NaN where there is nothing to count."""
    totals, timing = throughput_totals(outcome), percentiles(latency_ms(outcome))
    messages = len(outcome.world.messages)
    peaks = station_timeline(outcome, window_s).groupby("tier")["utilisation"].max()
    found = {
        **_of_trace(outcome.world, window_s, clock_s),
        "deliveries_per_message": float(totals["delivered"]) / messages if messages else math.nan,
        **recipient_ends(outcome),
        **timing,
        **{f"{tier}_peak": float(peaks.get(tier, math.nan)) for tier in TIERS},
    }
    return {name: float(found[name]) for name in FIGURES}


def side_by_side(real: Mapping[str, float], model: list[dict[str, float]], window_s: float) -> pd.DataFrame:
    """The table of :class:`Replay`."""
    rows = []
    for name, figure in FIGURES.items():
        mean, half_width, n = mean_interval([one[name] for one in model])
        apart = mean - real[name]
        relative = math.nan if not real[name] else 100 * apart / real[name]
        rows.append(
            {
                "figure": name,
                "meaning": figure.meaning.format(window=window_name(window_s)),
                "unit": figure.unit,
                "real": real[name],
                "model": mean,
                "half_width": half_width,
                "difference": 100 * apart if figure.unit == "share" else relative,
                "alike": bool(abs(apart) <= _of_one_more(half_width, n)),
            }
        )
    return pd.DataFrame(rows)


def _of_one_more(half_width: float, n: int) -> float:
    """The half width of the interval in which one more value lies, from that of the mean of n.

    >>> round(_of_one_more(1.0, 3), 6)
    2.0
    """
    return half_width * math.sqrt(n + 1)


def window_of(duration_s: float) -> float:
    """How long a stretch is of which the busiest is looked for.

    >>> window_of(3600.0), window_of(194 * 86400.0)
    (60.0, 3600.0)
    """
    return next((window_s for window_s in WINDOWS_S if duration_s / window_s <= WINDOWS_MOST), WINDOWS_S[-1])


def window_name(window_s: float) -> str:
    """How such a stretch is called."""
    return NAMES.get(window_s, f"{window_s:g} s")


def _of_trace(world: World, window_s: float, clock_s: float) -> dict[str, float]:
    messages = world.messages
    time_s = np.floor(messages.time_s / clock_s) * clock_s if clock_s else messages.time_s
    gap_s = sender_gaps(time_s, messages.sender.astype(np.int64))
    members = np.diff(world.rooms.start)[messages.room]
    windows = np.bincount((messages.time_s // window_s).astype(np.int64)) if len(messages) else np.zeros(1)
    mean, most = _at_a_time(world)
    return {
        "messages_per_user_day": len(messages) / world.users / (world.duration_s / DAY_S),
        "gap_s_p50": _percentile(gap_s, 50),
        "gap_s_p90": _percentile(gap_s, 90),
        "group_share": float((world.rooms.kind[messages.room] == GROUP).mean()) if len(messages) else math.nan,
        "members_mean": float(members.mean()) if len(members) else math.nan,
        "members_p90": _percentile(members.astype(np.float64), 90),
        "sessions_mean": mean,
        "sessions_most": most,
        "busiest_per_s": float(windows.max()) / min(window_s, world.duration_s),
    }


def _at_a_time(world: World) -> tuple[float, float]:
    """Sessions at a time within the duration: the mean over time, and the most."""
    start_s, end_s = (np.clip(one, 0.0, world.duration_s) for one in (world.sessions.start_s, world.sessions.end_s))
    mean = float((end_s - start_s).sum()) / world.duration_s
    there = end_s > start_s
    edges = np.concatenate([start_s[there], end_s[there]])
    steps = np.repeat([1, -1], int(there.sum()))
    order = np.lexsort((steps, edges))  # of one moment, those who go first
    return mean, float(np.cumsum(steps[order]).max(initial=0))


def _percentile(values: np.ndarray[tuple[int], np.dtype[np.float64]], percent: float) -> float:
    return float(np.percentile(values, percent)) if len(values) else math.nan
