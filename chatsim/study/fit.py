"""The behaviour model with the parameters of a real log: same figures, but any number of users, for as long as wanted.

What a log says outright (the rhythm of its day, how fast people answer) is taken from it. The other keys are searched:
model worlds are built, their marginals held to the log's, and the keys moved by damped least squares. The hit curve of
friend lists is no part of this: the model has to foretell it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtri

from chatsim.analysis.friendlists import LIMITS, OPENING_GAP_S, hit_curve
from chatsim.analysis.marginals import (
    FIGURES,
    clock_step_s,
    contacts_known,
    marginals,
    since_last_of_pair,
)
from chatsim.scenario import InputError, Scenario
from chatsim.study.spread import Progress
from chatsim.world import World, build_world
from chatsim.world.contacts import PrivateMessages, private_messages

Vector = np.ndarray[tuple[int], np.dtype[np.float64]]
Table = dict[str, Any]

DAY_S = 86400.0
MESSAGES_MIN, USERS_MIN, SPAN_S_MIN = 1000, 20, 3600.0
REPLICATIONS = (1, 2)
"""Each trial is the mean of these; replication 0, which users get, is kept for the table."""
STEPS = (0.15, 0.1)
"""How far each key is moved to see what it does, in each sweep of the search."""
ROUNDS = 6
DAMPING, STEP_MAX = 2.0, 0.5
DIGITS, SMALLEST = 3, 1e-6
FRIENDS_PER_PARTNER = 8.0
REPLIES_PER_SESSION = 4.0
SCALE_MAX = 10_000.0
KNOWN_MIN = 5
FADE_MAX = 100.0
"""Times the length of the log: interest that fades so slowly does not fade."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the workload that is searched, between limits; ``by``: the figures that it moves most.

    What moves is the logarithm of (value - low), or with ``odds`` that of (value - low) / (high - value).
    """

    path: str
    low: float
    high: float
    by: str
    odds: bool = False

    def free(self, value: float) -> float:
        """The value as a number without limits."""
        if self.odds:
            return float(logit(min(max((value - self.low) / (self.high - self.low), 0.01), 0.99)))
        return math.log(max(min(value, self.high) - self.low, SMALLEST))

    def bound(self, number: float) -> float:
        """The value of a number without limits."""
        if self.odds:
            return self.low + (self.high - self.low) * float(expit(number))
        return min(self.low + max(math.exp(min(number, 50.0)), SMALLEST), self.high)


SEARCHED = (
    Key("friends.degree_median", 0.0, 1e6, "spread of partners"),
    Key("sessions.per_day", 0.0, 1000.0, "quick replies, gaps"),
    Key("sessions.activity_sigma", 0.0, 3.0, "share of the top senders", odds=True),
    Key("sessions.join_days", 0.0, 10_000.0, "when users appear"),
    Key("sessions.fade_days", 0.0, 10_000.0, "when half is written"),
    Key("conversations.messages_per_day", 0.0, 1e5, "messages"),
    Key("conversations.new_partner_share", 0.0, 1.0, "first of their pair", odds=True),
    Key("conversations.recency_exponent", 0.0, 5.0, "recency exponent", odds=True),
    Key("conversations.answer_weight", 0.0, 1000.0, "openings that answer"),
    Key("conversations.burst_sigma", 0.0, 4.0, "burstiness, gaps", odds=True),
    Key("conversations.length_mean", 1.0, 1000.0, "length of conversations"),
    Key("conversations.reply_share", 0.0, 1.0, "quick replies, turns", odds=True),
)

CHOSEN = {
    "friends.degree_mean": f"choice: {FRIENDS_PER_PARTNER:g} friends per partner, so that they do not run out",
    "sessions.length_s_median": f"choice: {REPLIES_PER_SESSION:g} x reply_s_median; a log of messages has no sessions",
    "conversations.group_share": "choice: private messages alone",
    "conversations.known_partners_mean": "choice: a log starts from nothing",
    "groups.per_user": "choice: private messages alone",
}
"""Keys that a log says nothing about."""

TOLERANCES = {
    "messages": 0.05, "first_ever_share": 0.02, "conversation_length_mean": 0.05, "recency_exponent": 0.04,
    "quick_reply_share": 0.07, "answer_share": 0.1, "turn_share": 0.25, "senders": 0.2,
    "partners_mean": 0.06, "partners_geometric_mean": 0.08,
    "partners_p90": 0.1, "partners_p99": 0.08, "partners_max": 0.1,
    "top_senders_share": 0.1, "sent_per_active_day_mean": 0.2, "burstiness": 0.2, "bouts": 0.4,
    "short_gap_share": 0.2, "gap_s_p50": 0.13, "gap_s_p90": 0.1, "gap_s_p99": 0.13,
    "half_written_days": 0.2, "half_seen_days": 0.2,
}
"""The figures that are fitted, and the relative deviation of each that weighs as much as that of another."""

NOTHING = dict.fromkeys(TOLERANCES, 0.0)
"""The figures of a world without a message."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A model fitted to the trace of a ``source``. ``workload``: its keys, by part; ``table``: figure, meaning, unit,
    real, model, difference (in percent; of shares in points), fitted; ``scenario``: the model's; ``worlds``: how many
    of the model were built; ``trace``: what was read of a log."""

    source: str
    workload: Table
    table: pd.DataFrame
    scenario: Scenario
    worlds: int
    trace: tuple[str, ...]


def fit(scenario: Scenario, progress: Progress | None = None) -> Fitted:
    """The workload, of the behaviour model, whose worlds have the marginals of the trace of a scenario.

    It has as many users, and its run is as long. The model's times are rounded down to the clock of the trace before
    they are compared. The table compares replication 0, which was not fitted to; besides the marginals it says how
    often a recent list of K friends holds the partner when a conversation opens. The same scenario gives the same
    result. Raises InputError where the trace has too few private messages or people.
    """
    trace = build_world(scenario)
    source = scenario.workload.trace or scenario.name
    real = _figures_of_log(trace, source)
    # A trace that the model has made is not to be foretold by the luck that it was made with.
    seed = scenario.seed if scenario.workload.trace else (scenario.seed + 1) % 2**64
    search = _Search(trace, real, _outright(trace, real, _start_hour(trace, scenario)), seed, progress)
    workload = search.workload(search.run(_starting_point(trace, real)))
    fitted = _scenario(workload, seed)
    model = build_world(fitted)
    table = compared(real, marginals(model, clock_step_s(trace)), hits_at_openings(trace), hits_at_openings(model))
    lines = trace.report.lines if trace.report else ()
    return Fitted(source, workload, table, fitted, search.worlds + 1, lines)


def _figures_of_log(trace: World, source: str) -> dict[str, float]:
    private = private_messages(trace)
    people = len(np.unique(np.concatenate([private.sender, private.recipient])))
    if len(private.sender) < MESSAGES_MIN or people < USERS_MIN:
        raise InputError(
            f"{source}: {len(private.sender):,} private messages of {people:,} users: at least {MESSAGES_MIN:,} of "
            f"{USERS_MIN} are needed to fit the model"
        )
    if private.time_s[-1] - private.time_s[0] < SPAN_S_MIN:
        raise InputError(
            f"{source}: all messages lie within {private.time_s[-1] - private.time_s[0]:g} s: at least "
            f"{SPAN_S_MIN:,.0f} s are needed to fit the model"
        )
    return marginals(trace)


def _start_hour(trace: World, scenario: Scenario) -> float:
    """The hour of the day, in UTC for a log, at which the trace starts."""
    for line in trace.report.lines if trace.report else ():
        said = re.match(r"first message \S+ (\d+):(\d+):(\d+) UTC", line)
        if said:
            hour, minute, second = map(int, said.groups())
            return hour + minute / 60 + second / 3600
    return scenario.workload.start_hour


# --------------------------------------------------------------------------- what a log says outright


def _outright(trace: World, real: Mapping[str, float], start_hour: float) -> Table:
    private = private_messages(trace)
    reply_s_median, reply_sigma = reply_delays(private, trace.users, clock_step_s(trace))
    users = int(real["users_active"])
    return {
        "users": users,
        "duration_s": trace.duration_s,
        "start_hour": round(start_hour, 2) % 24,
        "friends": {"degree_mean": min(FRIENDS_PER_PARTNER * real["partners_mean"], users - 1.0)},
        "sessions": {
            "length_s_median": REPLIES_PER_SESSION * reply_s_median,
            "day_amplitude": min(max(real["hour_peak_ratio"] - 1.0, 0.0), 1.0),
            "peak_hour": (start_hour + peak_s(private.time_s) / 3600) % 24,
        },
        "conversations": {
            "group_share": 0.0,
            "known_partners_mean": 0.0,
            "new_partner_scale": new_partner_scale(private, trace.users),
            "reply_s_median": reply_s_median,
            "reply_sigma": reply_sigma,
        },
        "groups": {"per_user": 0.0},
    }


def peak_s(time_s: Vector) -> float:
    """When the rhythm of a day's messages peaks, after its start: the phase of the first harmonic.

    >>> round(peak_s(np.array([0.0, 21600.0, 21600.0, 43200.0])), 6)
    21600.0
    """
    turn = np.angle(np.exp(2j * math.pi * time_s / DAY_S).mean()) / (2 * math.pi)
    return float(turn % 1.0) * DAY_S


def reply_delays(private: PrivateMessages, users: int, clock_s: float) -> tuple[float, float]:
    """(median in s, sigma of the logarithm) of the time until a reply in a conversation, by log mean and deviation.

    On a coarse clock a delay of n ticks stands for n and a half.
    """
    silent_s, turn = since_last_of_pair(private, private.time_s, users)
    delay_s = silent_s[turn & (silent_s <= OPENING_GAP_S)] + clock_s / 2
    logs = np.log(np.maximum(delay_s, 1e-3))
    return (math.exp(logs.mean()), min(float(logs.std()), 4.0)) if len(logs) else (60.0, 1.0)


def new_partner_scale(private: PrivateMessages, users: int) -> float:
    """The list at which the share p / (1 + n / scale) of openings to new partners has halved, n being known already.

    1 / share is linear in n: a weighted line through the means of a quarter of an octave of n each, from n = 5 on (many
    who know fewer write for the first time); at most 10,000.
    """
    silent_s, _ = since_last_of_pair(private, private.time_s, users)
    known, new = contacts_known(private, users), np.isinf(silent_s)
    chosen = (silent_s > OPENING_GAP_S) & (known >= KNOWN_MIN)
    group = np.floor(4 * np.log2(known[chosen])).astype(np.int64)
    openings, fresh = np.bincount(group), np.bincount(group, weights=new[chosen])
    size = np.bincount(group, weights=known[chosen])
    rows = (fresh > 0) & (fresh < openings)
    if rows.sum() < 2:
        return SCALE_MAX
    share = fresh[rows] / openings[rows]
    weight = np.sqrt(openings[rows] * share**3 / (1 - share))  # 1 / standard error of 1 / share
    slope, level = np.polyfit(size[rows] / openings[rows], 1 / share, 1, w=weight)
    return float(min(level / slope, SCALE_MAX)) if slope > 0 and level > 0 else SCALE_MAX


# --------------------------------------------------------------------------- where the search starts


def _starting_point(trace: World, real: Mapping[str, float]) -> dict[str, float]:
    days = trace.duration_s / DAY_S
    join = min(1.8 * real["half_seen_days"], days) + 1e-3
    fade = fade_days(real["half_written_days"], join, days)
    present = lived_days(fade, join, days)
    users = real["users_active"]
    new = real["first_ever_share"] * real["conversation_length_mean"]
    degree = min(FRIENDS_PER_PARTNER * real["partners_mean"], users - 1)
    return {
        "friends.degree_median": 0.3 * degree,
        "sessions.per_day": 4.0 * real["bouts"] / users / present,
        "sessions.activity_sigma": min(max(float(ndtri(real["top_senders_share"]) - ndtri(0.1)), 0.2), 2.5),
        "sessions.join_days": join,
        "sessions.fade_days": fade,
        "conversations.messages_per_day": real["messages"] / users / present,
        "conversations.new_partner_share": min(0.8 * new, 0.9),
        "conversations.recency_exponent": min(1.3 * _or(real["recency_exponent"], 1.0), 4.0),
        "conversations.answer_weight": 3.0,
        "conversations.burst_sigma": 1.8,
        "conversations.length_mean": 1.0 + 2.5 * max(real["conversation_length_mean"] - 1.0, 0.01),
        "conversations.reply_share": 0.85,
    }


def lived_days(fade: float, join: float, days: float) -> float:
    """Days of full interest that a user has by the end of a run of so many days: the mean over users, who join evenly
    in the first ``join`` days and whose interest halves in ``fade``."""
    return float(_lived(np.array([days]), fade, join)[0])


def fade_days(half_written: float, join: float, days: float) -> float:
    """The time in which interest must halve so that half of all is written by then; the most where it grows later."""
    def early(log_fade: float) -> float:
        until = _lived(np.array([half_written, days]), math.exp(log_fade), join)
        return float(until[0] / until[1]) - 0.5

    low, high = math.log(days / 1000), math.log(FADE_MAX * days)
    if early(high) >= 0 or early(low) <= 0:
        return FADE_MAX * days if early(high) >= 0 else days / 1000
    return math.exp(brentq(early, low, high))


def _lived(until: Vector, fade: float, join: float) -> Vector:
    """Integral over time and over users, who join evenly in ``join`` days, of 2 ** -(age / fade)."""
    rate = math.log(2) / fade
    joining = np.minimum(until, join)
    late = np.exp(-rate * (until - joining)) - np.exp(-rate * until)
    lived: Vector = (joining - late / rate) / (rate * join)
    return lived


def _or(value: float, instead: float) -> float:
    return instead if math.isnan(value) else value


# --------------------------------------------------------------------------- the search


class _Search:
    """Damped least squares (Levenberg 1944, Marquardt 1963) over the keys, from differences, renewed by each trial
    (Broyden 1965)."""

    def __init__(
        self, trace: World, real: Mapping[str, float], outright: Table, seed: int, progress: Progress | None
    ) -> None:
        self.clock_s = clock_step_s(trace)
        self.outright, self.seed, self.progress = outright, seed, progress
        self.fitted = [name for name in TOLERANCES if real[name] > 0]
        self.real = self._measures(real)
        self.worlds = 0

    def run(self, start: Mapping[str, float]) -> Vector:
        """The best point found, as numbers without limits."""
        best = np.array([key.free(start[key.path]) for key in SEARCHED])
        off = self._off(best)
        for step in STEPS:
            best, off = self._sweep(best, off, step)
        return best

    def _sweep(self, best: Vector, off: Vector, apart: float) -> tuple[Vector, Vector]:
        slopes = np.empty((len(off), len(best)))
        for column, key in enumerate(SEARCHED):
            moved = best.copy()
            moved[column] += -apart if key.odds and best[column] > 0 else apart
            slopes[:, column] = (self._off(moved) - off) / (moved[column] - best[column])
        damping = DAMPING
        for _ in range(ROUNDS):
            step = -np.linalg.solve(slopes.T @ slopes + damping * np.eye(len(best)), slopes.T @ off)
            step = np.clip(step, -STEP_MAX, STEP_MAX)
            now = self._off(best + step)
            slopes += np.outer(now - off - slopes @ step, step) / (step @ step)
            if now @ now < off @ off:
                best, off, damping = best + step, now, damping / 3
            else:
                damping *= 4
        return best, off

    def workload(self, point: Vector) -> Table:
        """The keys at a point, rounded, with those that the log says outright."""
        made = {name: dict(part) if isinstance(part, dict) else part for name, part in self.outright.items()}
        for key, number in zip(SEARCHED, point.tolist(), strict=True):
            part, name = key.path.split(".")
            made[part][name] = key.bound(number)
        made["friends"]["degree_median"] = min(made["friends"]["degree_median"], made["friends"]["degree_mean"])
        for name in ("friends", "sessions", "conversations"):
            made[name] = {key: _rounded(value) for key, value in made[name].items()}
        return made

    def _off(self, point: Vector) -> Vector:
        """How far the figures of a point are off, in tolerances: the mean of the replications."""
        scenario = _scenario(self.workload(point), self.seed)
        trials = []
        for replication in REPLICATIONS:
            if self.progress:
                total = (1 + len(STEPS) * (len(SEARCHED) + ROUNDS)) * len(REPLICATIONS)
                self.progress(self.worlds, total, f"{self.worlds + 1} of {total} worlds")
            world = build_world(scenario, replication)
            self.worlds += 1
            trials.append(self._measures(marginals(world, self.clock_s) if len(world.messages) else NOTHING))
        tolerances = np.array([TOLERANCES[name] for name in self.fitted])
        off: Vector = (np.mean(trials, axis=0) - self.real) / tolerances
        return off

    def _measures(self, figures: Mapping[str, float]) -> Vector:
        """Figures as logarithms, which differ by about as much as the figures do in proportion."""
        return np.array([self._measure(name, figures[name]) for name in self.fitted])

    def _measure(self, name: str, value: float) -> float:
        value = _or(value, 0.0)
        if name == "burstiness":  # of the coefficient of variation, which it is a function of
            return math.log((1 + value) / (1 - value))
        floor = {"share": 1e-3, "s": self.clock_s or 1.0}.get(FIGURES[name].unit, 1e-6)
        return math.log(max(value, 0.0) + floor)


def _scenario(workload: Table, seed: int) -> Scenario:
    from chatsim.scenario.load import validate

    return validate({"name": "fitted", "seed": seed, "workload": workload}, "the fitted workload")


def _rounded(value: float) -> float:
    """Three digits that count, so that the file says what was compared."""
    return float(f"{value:.{DIGITS}g}")


# --------------------------------------------------------------------------- what comes out


def hits_at_openings(world: World) -> dict[str, float]:
    """How often a recent list of K friends holds the partner when a conversation opens."""
    curve = hit_curve(world, "recent", LIMITS)
    openings = curve[curve["of"] == "openings"]
    return {
        f"hit@{'all' if math.isinf(k) else int(k)}": share
        for k, share in zip(openings["k"], openings["hit_share"], strict=True)
    }


def compared(
    real: Mapping[str, float], model: Mapping[str, float], real_hits: Mapping[str, float], hits: Mapping[str, float]
) -> pd.DataFrame:
    """Marginals of a log and of a world of the model, then hits at openings, as the ``table`` of :class:`Fitted`."""
    rows = [
        (name, FIGURES[name].meaning, FIGURES[name].unit, real[name], model[name], name in TOLERANCES)
        for name in FIGURES
    ]
    rows += [
        (name, f"opening: partner on a list of {name[4:]}", "share", real_hits[name], hits[name], False)
        for name in hits
    ]
    table = pd.DataFrame(rows, columns=["figure", "meaning", "unit", "real", "model", "fitted"])
    apart = table["model"] - table["real"]
    relative = apart / table["real"].where(table["real"] != 0)
    table.insert(5, "difference", 100 * np.where(table["unit"] == "share", apart, relative))
    return table


def workload_file(fitted: Fitted, name: str, command: str) -> str:
    """The text of a workload file with the fitted keys, which ``--workload`` takes; each says where it comes from.

    ``command`` is the one that made it.
    """
    about = f"{fitted.workload['users']:,} users who behave like those of {fitted.source}, by the behaviour model"
    lines = [
        f"# Made by: {command}",
        "# The behaviour model with the marginals of a log. 'measured': read off the log; 'fitted': found by search so",
        "# that the model's worlds have the log's figures (named behind it). All other keys keep their defaults.",
        f"name = {json.dumps(name, ensure_ascii=False)}",
        f"about = {json.dumps(about, ensure_ascii=False)}",
        "[workload]",
        *_said_keys({key: value for key, value in fitted.workload.items() if not isinstance(value, dict)}, ""),
    ]
    for part, keys in fitted.workload.items():
        if isinstance(keys, dict):
            lines += [f"[workload.{part}]", *_said_keys(keys, part)]
    return "\n".join(lines) + "\n"


def _said_keys(keys: Mapping[str, float], part: str) -> list[str]:
    origin = {key.path: f"fitted: {key.by}" for key in SEARCHED} | CHOSEN
    return [f"{key} = {value!r}  # {origin.get(f'{part}.{key}', 'measured')}" for key, value in keys.items()]
