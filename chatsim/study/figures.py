"""What is kept of a run: one row of figures, its latencies as distinct values with their numbers, and its course.

All numbers are float64, so that files of different runs fit together in any tool. Latencies are kept to three digits
that count: quantiles pooled over replications are off by at most 0.5 %, the figures themselves are not rounded.
"""

from __future__ import annotations

import io
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from chatsim.analysis import chat, latency, latency_ms, logins, recovery, summary
from chatsim.analysis.columns import Floats, Longs, floats
from chatsim.analysis.cost import Taken, taken
from chatsim.analysis.latency import PERCENTILES, latency_path
from chatsim.analysis.recovery import CAUSES
from chatsim.analysis.stations import TIERS, loads
from chatsim.engine.outcome import Outcome
from chatsim.scenario.errors import nearest
from chatsim.study.store import OPTIONS

Figure = float | bool | str
LISTS = ("latency_ms", "latency_count", "login_ms", "login_count", "path_ms", "path_count")
LOADS = {tier: f"{tier}_busiest_work_utilisation" for tier in (*TIERS, "hosts")}
TAKEN = dict(
    zip(
        Taken._fields,
        ("paid_gateways", "paid_broker_nodes", "paid_databases", "egress_gb_per_month", "million_pushes_per_month"),
        strict=True,
    )
)
WORDS = ("busiest_tier", "backlog_station")
DIGITS = 3
OF_LATENCY = ("p90_ms", "p95_ms", "mean_ms", "max_ms")
OF_LOGINS = ("through", "abandoned", "refused", "connecting")


class Quantile(NamedTuple):
    """Which samples a figure is a quantile of: 'latency' or 'login'; and which, from 0 to 1."""

    of: str
    q: float


QUANTILES = {
    **{name: Quantile("latency", q) for name, q in PERCENTILES.items()},
    **{f"login_{name}": Quantile("login", q) for name, q in PERCENTILES.items()},
}


def figures_of(outcome: Outcome) -> dict[str, Figure]:
    """The figures of a run: those of :func:`chatsim.analysis.summary`, latencies, logins; with faults those of
    :func:`chatsim.analysis.recovery`; and the chat logic's where it is on, with its part in front. ``recipients`` is
    the number of messages x recipients, of which some shares are. ``*_busiest_work_utilisation`` is what binds, see
    :func:`chatsim.analysis.stations.loads`; of those in TAKEN a bill is made, see :mod:`chatsim.analysis.cost`.
    """
    row: dict[str, Any] = dict(summary(outcome).drop("design"))
    row["recipients"] = outcome.messages["recipients"].sum()
    timing = latency(outcome).iloc[0]
    row |= {name: timing[name] for name in OF_LATENCY}
    login = logins(outcome)
    row["logins"] = login["logins"]
    row |= {f"logins_{name}": login[name] for name in OF_LOGINS}
    row |= {f"login_{name}": login[name] for name in (*PERCENTILES, "mean_ms", "max_ms")}
    row |= {"users": outcome.world.users, "duration_s": outcome.world.duration_s}
    row |= {LOADS[tier]: load for tier, load in loads(outcome).items()}
    row |= {TAKEN[name]: amount for name, amount in taken(outcome)._asdict().items()}
    if outcome.scenario.faults:
        row |= dict(recovery(outcome))
    for part, name, value in chat(outcome).itertuples(index=False):
        row[f"{part.replace(' ', '_')}_{name}"] = value
    return {name: _plain(value) for name, value in row.items()}


def row_file(outcome: Outcome, run: str) -> bytes:
    """The row of a run as a Parquet file: its hash, replication, figures and latencies. Equal runs give equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    row: dict[str, Any] = {"run": pa.array([run]), "replication": pa.array([outcome.world.replication], pa.int32())}
    for name, value in figures_of(outcome).items():
        row[name] = pa.array([value], _type_of(value))
    for name, samples_ms in (("latency", latency_ms(outcome)), ("login", login_ms(outcome))):
        values, count = distinct(samples_ms)
        row[f"{name}_ms"] = pa.array([values], pa.list_(pa.float64()))
        row[f"{name}_count"] = pa.array([count], pa.list_(pa.int64()))
    row["path_ms"], row["path_count"] = (
        pa.array([part], pa.list_(kind))
        for part, kind in zip(latency_path(outcome), (pa.float64(), pa.int64()), strict=True)
    )
    file = io.BytesIO()
    pq.write_table(pa.table(row), file, **OPTIONS)
    return file.getvalue()


def login_ms(outcome: Outcome) -> Floats:
    """How long each login took that began during the run and got through."""
    start_s, online_s = floats(outcome.sessions, "start_s"), floats(outcome.sessions, "online_s")
    through = (start_s >= 0) & np.isfinite(online_s)
    return 1000 * (online_s - start_s)[through]


def distinct(samples: npt.ArrayLike) -> tuple[Floats, Longs]:
    """Samples (none below 0) rounded to three digits that count: the distinct values, ascending, and how often each.

    >>> values, count = distinct([12.345, 12.31, 0.0, 1234.5])
    >>> values.tolist(), count.tolist()
    ([0.0, 12.3, 1230.0], [1, 2, 1])
    """
    sample = np.asarray(samples, dtype=np.float64)
    zeros = int((sample <= 0).sum())
    positive = sample[sample > 0]
    power = np.floor(np.log10(positive)).astype(np.int64) - (DIGITS - 1)
    whole = np.rint(positive / 10.0**power).astype(np.int64)
    over = whole >= 10**DIGITS  # 999.6 is 1000, which has a digit too many
    power, whole = power + over, np.where(over, whole // 10, whole)
    pairs, count = np.unique(np.stack([power, whole]), axis=1, return_counts=True)
    # Read from text, as 123 x 10^-1 by multiplication is not everywhere the nearest number to 12.3.
    values = np.array([float(f"{digits}e{exponent}") for exponent, digits in pairs.T.tolist()])
    if zeros:
        return np.concatenate([[0.0], values]), np.concatenate([[zeros], count])
    return values.astype(np.float64), count.astype(np.int64)


@cache
def known_figures() -> tuple[str, ...]:
    """Names of all figures that a number or a verdict can be about; a run has those of what is on in it."""
    run = (
        "messages_per_s", "offered_per_s", "carried_per_s", "deliveries", "delivered_share", "live_share", "kept_share",
        "lost_share", "p50_ms", "p99_ms", "p999_ms", "gateway_utilisation", "broker_utilisation",
        "database_utilisation", "discarded_share", "subscriptions", "connections", "overloaded", "recipients",
    )  # fmt: skip
    of_logins = (f"login_{name}" for name in (*PERCENTILES, "mean_ms", "max_ms"))
    of_decisions = ("users", "duration_s", *LOADS.values(), *TAKEN.values())
    all_logins = ("logins", *(f"logins_{name}" for name in OF_LOGINS), *of_logins)
    return (*run, *of_decisions, *OF_LATENCY, *all_logins, *_recovery(), *_chat())


def nearest_figure(name: str) -> str:
    """The phrase that names the most similar figure; not all of them, which are too many for a line."""
    hint = nearest(name, known_figures())
    return hint if "did you mean" in hint else "; such as 'p99_ms', 'login_p99_ms', 'lost_share', 'overloaded'"


def _recovery() -> tuple[str, ...]:
    causes = [cause.name.lower() for cause in CAUSES]
    return (
        "strikes", "first_strike_s", "sessions_hit", "sessions_closed", "back", "never_back", "ended_first",
        "back_p50_s", "back_p99_s", "back_all_s", "logins_failed", "tries", "tries_failed", "peak_tries_per_100ms",
        "peak_tries_s", "lost", *(f"lost_{cause}" for cause in causes), "refused",
        *(f"refused_{cause}" for cause in causes), "read_later", "late", "duplicates", "resent", "order_violations",
        "ghost_user_s", "backlog_max", "drain_s", "undrained", "unaffected_users", "unaffected_before_p99_ms",
        "unaffected_after_p99_ms",
    )  # fmt: skip


def _chat() -> tuple[str, ...]:
    parts = {
        "friend_list": "openings hit_share searches turned abandoned listed_mean login_ms_p50 login_ms_p99 redis_ops "
        "database_ops list_reads list_bytes peak_subscriptions presence_notices memory_bytes",
        "presence": "changes meant notices pushes notice_delay_ms key_writes pulls wrong_pulls ghost_user_s "
        "hidden_user_s ghost_share hidden_share ghosts_at_end write_share push_share byte_share",
        "time_to_read": " ".join(
            f"{how}_{name}" for how in ("live", "later", "either_way") for name in ("count", "p50_s", "p90_s", "p99_s")
        ),
        "pushes": "due sent refusals arrived delay_s_p50 delay_s_p99 brought_back ignored wasted brought_back_share "
        "ignored_share wasted_share",
        "who_reads_what": "private overheard overheard_share listeners_mean by_intruders tried refused entered "
        "entered_share ended crossed forbidden lag_s_mean lag_s_max never relation_reads",
        "devices": "recipients twice copies duplicates receipts receipt_s_p50",
        "spam": "sent refused taken refused_share others_refused others_refused_share",
    }
    return tuple(f"{part}_{name}" for part, names in parts.items() for name in names.split())


def _plain(value: Any) -> Figure:
    if isinstance(value, str | bool):
        return value
    return bool(value) if isinstance(value, np.bool_) else float(value)


def _type_of(value: Figure) -> Any:
    import pyarrow as pa

    return pa.string() if isinstance(value, str) else pa.bool_() if isinstance(value, bool) else pa.float64()
