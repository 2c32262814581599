"""How much a design carries: the most users, the highest message rate, or the fewest gateways that meet all SLOs.

A value is tried in several replications and meets the SLOs, does not, or stays undecided; a run that falls behind does
not. The values that do and do not are brought together by halves. Where to begin follows from the closed forms of
:mod:`chatsim.theory`. What stays undecided is said: the answer is then a range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import pandas as pd

from chatsim.analysis.cost import Cost, mean_cost
from chatsim.analysis.experiments import per_look
from chatsim.analysis.quantiles import samples_needed
from chatsim.analysis.slos import Answer, Slo, Verdict
from chatsim.scenario import InputError, Scenario
from chatsim.scenario.errors import nearest, quoted
from chatsim.scenario.load import validate
from chatsim.study.figures import QUANTILES
from chatsim.study.probes import Probe, Seen, fewest_samples, judged, long_enough, look_at, mean_loads
from chatsim.study.search import Bracket, Ends, search
from chatsim.study.spread import Progress, workers
from chatsim.theory import Estimate, estimate
from chatsim.theory.estimate import figure

Find = Literal["users", "gateways", "rate"]
FINDS: tuple[Find, ...] = get_args(Find)
KEYS = {"users": "workload.users", "gateways": "design.gateways", "rate": "workload.conversations.messages_per_day"}
CONFIDENCE = 0.95
LOOKS = 3                # at a value that is undecided, with more replications each time
MORE = 4                 # times as many replications at most
BEGIN = 0.7              # of what the estimate calls capacity
LEAST_LOAD = 1e-4        # of it: with less, load is not what breaks an SLO
GATEWAY_LOAD = 0.05      # where gateways have so little to do, more of them do not help
GATEWAYS_MOST = 4096
ROWS_MOST = 4e6          # messages and deliveries of a run: some minutes, and some GB
WORLD_MOST = 300_000     # users of a world, unless the scenario has more
DAILY_MOST = 1e5         # messages of a user and day that a scenario may have
TIERS = {"gateways": "gateway", "broker": "broker", "broker nodes": "broker", "database": "database"}

Told = Callable[["Tried"], None]


@dataclass(frozen=True)
class Tried:
    """A value that was tried: what came of it and why, with the replications it took."""

    value: float
    scenario: Scenario
    answer: Answer
    reason: str
    verdicts: tuple[Verdict, ...]
    seen: tuple[Seen, ...]


@dataclass(frozen=True)
class Asked:
    """What is asked for. ``most`` is the largest value to try (0: what a run of bearable size allows)."""

    scenario: Scenario
    slos: tuple[Slo, ...]
    find: Find = "users"
    replications: int = 3
    precision: float = 0.05
    most: float = 0.0

    @property
    def key(self) -> str:
        """The key of the scenario that is turned."""
        return KEYS[self.find]

    def at(self, value: float) -> Scenario:
        """The scenario at a value; InputError where it is none."""
        table = self.scenario.model_dump()
        *parts, last = self.key.split(".")
        place = table
        for part in parts:
            place = place[part]
        place[last] = place[last] * value if self.find == "rate" else round(value)
        return validate(table, f"--find {self.find}: with {last} = {place[last]:g}")

    def own(self) -> float:
        """The scenario's own value."""
        own = {"users": self.scenario.workload.users, "gateways": self.scenario.design.gateways, "rate": 1.0}
        return float(own[self.find])

    def words(self, value: float) -> str:
        """A value in words.

        >>> from chatsim.scenario import load_scenario
        >>> Asked(load_scenario("go-chat"), (), "rate").words(2.5)
        '2.5 x the messages (100 per user and day)'
        """
        if self.find == "rate":
            daily = self.scenario.workload.conversations.messages_per_day * value
            return f"{value:.4g} x the messages ({figure(daily)} per user and day)"
        return f"{value:,.0f} {self.find[:-1] if value == 1 else self.find}"


@dataclass(frozen=True)
class Capacity:
    """What a design carries, between ``bracket.met`` and ``bracket.not_met``.

    ``best`` is the hardest value that meets all SLOs, ``worst`` the easiest that does not; each None where there is
    none. ``headroom`` has a row per tier at the best value: load, its busiest station's share of what that could carry,
    in the runs and by the estimate, and room, how many times that load would fit. ``tried`` is in the order of trying.
    """

    asked: Asked
    bracket: Bracket
    tried: tuple[Tried, ...]
    headroom: pd.DataFrame
    cost: Cost | None
    estimate: Estimate
    limit: str
    easiest: float

    @property
    def best(self) -> Tried | None:
        """The hardest value that meets the SLOs."""
        return next((one for one in self.tried if one.value == self.bracket.met), None)

    @property
    def worst(self) -> Tried | None:
        """The easiest value that does not."""
        return next((one for one in self.tried if one.value == self.bracket.not_met), None)

    @property
    def binding(self) -> str:
        """The tier with the largest load at the best value, or nothing."""
        return str(self.headroom.iloc[0]["tier"]) if len(self.headroom) else ""

    def table(self) -> pd.DataFrame:
        """A row per value that was tried, in order: value, verdict, replications, reason; per SLO estimate and half
        width."""
        rows = []
        for one in sorted(self.tried, key=lambda tried: tried.value):
            row: dict[str, Any] = {"value": one.value, "verdict": one.answer, "replications": len(one.seen)}
            row |= {"overloaded": any(run.overloaded for run in one.seen), "reason": one.reason}
            for verdict in one.verdicts:
                row[verdict.slo.figure] = verdict.interval.mean
                row[f"{verdict.slo.figure} half width"] = verdict.interval.half_width
            rows.append(row)
        return pd.DataFrame(rows)

    @property
    def sentences(self) -> list[str]:
        """The answer, what binds, and what gives way first."""
        lines = [self._answer()]
        if len(self.headroom):
            row = self.headroom.iloc[0]
            lines.append(f"What binds: {row['tier']}, at {100 / row['room']:.3g} % of what it can carry.")
        if self.worst is not None:
            lines.append(f"What gives way first, at {self.asked.words(self.worst.value)}: {self.worst.reason}.")
        if self.limit:
            lines.append(self.limit)
        return lines

    def _answer(self) -> str:
        met, not_met, words = self.bracket.met, self.bracket.not_met, self.asked.words
        name, slos = self.asked.scenario.name, " and ".join(str(slo) for slo in self.asked.slos)
        if met is None:
            last = min(self.tried, key=lambda one: abs(one.value - self.easiest))
            return (
                f"{name}: nothing that was tried is sure to meet {slos}; the easiest, {words(last.value)}: "
                f"{last.answer}: {last.reason}."
            )
        fewest = self.asked.find == "gateways"
        if self.bracket.undecided:
            other = f"{words(not_met)}, which do not" if not_met is not None else "more, which was not tried"
            return (
                f"{name}: the limit of {slos} lies between {words(met)}, which meet it, and {other}; values between "
                "them are undecided: more replications or longer runs narrow it down."
            )
        if not_met is None:
            return f"{name}: {words(met)} {'is enough for' if fewest else 'or more meet'} {slos}."
        most = {"gateways": "the fewest gateways", "users": "the most users", "rate": "the highest rate"}
        one = self.asked.find == "rate"
        verb = "does" if one or not_met == 1 else "do"
        meet = "meets" if one else "meet"
        return f"{name}: {most[self.asked.find]} that {meet} {slos}: {words(met)}; {words(not_met)} {verb} not."


def capacity(
    scenario: Scenario,
    slos: Sequence[Slo],
    find: str = "users",
    replications: int = 3,
    jobs: int = 1,
    precision: float = 0.05,
    most: float = 0.0,
    progress: Progress | None = None,
) -> Capacity:
    """The most users, the highest message rate (as a factor) or the fewest gateways that meet all SLOs.

    Each value that is tried gets ``replications`` runs, and up to four times as many where it is undecided; each
    verdict holds with 95 %, shared out over the looks. Values are brought together until they differ by less than
    ``precision``, as a share. ``most`` is the largest value to try. Raises InputError for what cannot be asked.
    """
    asked = _checked(scenario, slos, find, replications, precision, most)
    needs = estimate(scenario)
    trial = _Trial(asked, workers(jobs, replications), progress)
    start, ends, limit = _where_to_look(asked, needs)
    bracket = search(trial, start, ends, precision)
    met = next((one for one in trial.tried if one.value == bracket.met), None)
    reached = bracket.not_met is None and bracket.met is not None and ends.hardest in trial.values
    return Capacity(
        asked,
        bracket,
        tuple(trial.tried),
        _headroom(met) if met else pd.DataFrame(columns=["tier", "load", "estimate", "room"]),
        mean_cost([run.cost for run in met.seen]) if met else None,
        needs,
        limit if reached else "",
        ends.easiest,
    )


class _Trial:
    """Tries values, and keeps what came of them."""

    def __init__(self, asked: Asked, processes: int, progress: Progress | None) -> None:
        self.asked, self.processes, self.progress = asked, processes, progress
        self.tried: list[Tried] = []

    @property
    def values(self) -> set[float]:
        """Values that were tried."""
        return {one.value for one in self.tried}

    def __call__(self, value: float) -> Answer:
        asked = self.asked
        scenario = asked.at(value)
        seen: list[Seen] = []
        target = asked.replications
        for look in range(LOOKS):
            self._run(scenario, seen, target, value)
            verdicts = judged(asked.slos, seen, per_look(CONFIDENCE, LOOKS))
            answer, reason = _together(verdicts, seen)
            target = _more(verdicts, seen, MORE * asked.replications)
            if answer != "undecided" or look == LOOKS - 1 or target <= len(seen):
                break
        if not self.tried and answer == "undecided":
            self._refuse_too_short(verdicts, seen, value)
        self.tried.append(Tried(value, scenario, answer, reason, verdicts, tuple(seen)))
        self._say(value, answer, 0.0)
        return answer

    def _run(self, scenario: Scenario, seen: list[Seen], target: int, value: float) -> None:
        """Adds replications, up to the first that is overloaded: that decides. Modifies ``seen``."""
        first = len(seen)
        probes = [Probe(scenario, replication) for replication in range(first, target)]
        # alone, no run is begun that is not needed; with others they are under way at once
        groups = [[probe] for probe in probes] if self.processes == 1 else [probes]
        for group in groups:
            for one in look_at(group, self.processes):
                if not any(former.overloaded for former in seen):
                    seen.append(one)
                self._say(value, "", (len(seen) - first) / (target - first + 1))
            if seen[-1].overloaded:
                return

    def _refuse_too_short(self, verdicts: Sequence[Verdict], seen: list[Seen], value: float) -> None:
        """InputError where no replication of such a length has enough samples: nothing could be decided anywhere."""
        for verdict in verdicts:
            slo = verdict.slo
            if verdict.answer == "undecided" and not long_enough(slo, seen):
                duration_s = self.asked.scenario.workload.duration_s
                raise InputError(
                    f"--slo '{slo}': a run of {duration_s:g} s with {self.asked.words(value)} has "
                    f"{fewest_samples(slo, seen):,} samples, an interval of {slo.figure} needs "
                    f"{samples_needed(QUANTILES[slo.figure].q):,}: a longer workload.duration_s is needed"
                )

    def _say(self, value: float, answer: str, share: float) -> None:
        if self.progress is not None:
            done = len(self.tried)
            said = f"{self.asked.words(value)}{': ' if answer else ''}{answer}"
            self.progress(done + share, max(done + 2, 10), said)


def _more(verdicts: Sequence[Verdict], seen: Sequence[Seen], most: int) -> int:
    """How many replications may decide; no more than there are where none would."""
    wanted = len(seen)
    for verdict in verdicts:
        if verdict.answer == "undecided":
            needed = verdict.runs_needed
            if needed is None and long_enough(verdict.slo, seen) and verdict.slo.figure in QUANTILES:
                needed = len(seen)
            if needed is None:
                return len(seen)
            wanted = max(wanted, len(seen) + needed)
    return min(wanted, most)


def _together(verdicts: Sequence[Verdict], seen: Sequence[Seen]) -> tuple[Answer, str]:
    """What the verdicts come to, and why."""
    fell_behind = next((one.verdict for one in seen if one.overloaded), "")
    if fell_behind:
        return "not met", fell_behind
    for answer in ("not met", "undecided"):
        of = [verdict for verdict in verdicts if verdict.answer == answer]
        if of:
            return of[0].answer, f"{of[0].slo}: {of[0].reason}"
    return "met", "; ".join(f"{verdict.slo}: {verdict.reason}" for verdict in verdicts)


# --------------------------------------------------------------------------- where to look


def _where_to_look(asked: Asked, needs: Estimate) -> tuple[float, Ends, str]:
    """Where to begin, between which ends to stay, and what to say where the hard one is reached."""
    if asked.find == "gateways":
        return _gateways(asked)
    own, load = asked.own(), needs.binding.utilisation_batched
    full = own / load if load > 0 else math.inf
    hardest, why = _largest(asked, needs)
    whole = asked.find == "users"
    easiest = max(LEAST_LOAD * min(full, hardest), 1.0 if whole else 1e-6)
    start = min(max(BEGIN * full, easiest), hardest)
    ends = Ends(_rounded(easiest, whole), _rounded(hardest, whole), whole)
    saturates = f" The estimate has the {needs.binding.name} saturated at {figure(full)} x." if load > 0 else ""
    if whole and load > 0:
        saturates = f" The estimate has the {needs.binding.name} saturated at {figure(full)} users."
    return _rounded(start, whole), ends, f"{why}{saturates}"


def _largest(asked: Asked, needs: Estimate) -> tuple[float, str]:
    """The largest value that can be tried, and why it is the largest."""
    if asked.most:
        return asked.most, f"More than --most {asked.most:g} was not tried."
    workload, people = asked.scenario.workload, needs.demand
    rows = workload.duration_s * people.messages_per_s_mean * (1 + people.audience.recipients)
    by_size = max(asked.own() * ROWS_MOST / rows if rows > 0 else math.inf, asked.own())
    size = (
        f"More was not tried: a run of {workload.duration_s:g} s would have more than {ROWS_MOST:,.0f} messages and "
        "deliveries; a shorter one (--set workload.duration_s=60) goes further, and so does --most."
    )
    if asked.find == "users":
        by_world = max(float(WORLD_MOST), asked.own())
        if by_size <= by_world:
            return by_size, size
        return by_world, "More was not tried: the world of so many users is large; --most goes further, or --find rate."
    allowed = DAILY_MOST / workload.conversations.messages_per_day
    return (by_size, size) if by_size <= allowed else (allowed, f"More than that {asked.key} cannot be.")


def _gateways(asked: Asked) -> tuple[float, Ends, str]:
    """As many gateways as leave them little to do are the easy end; one is the hard end."""

    def busy(gateways: int) -> float:
        tiers = estimate(asked.at(gateways)).tiers
        return max(tier.utilisation_batched for tier in tiers if tier.name in ("gateways", "gateway connections"))

    most = int(asked.most) or GATEWAYS_MOST
    start = 1
    while start < most and busy(start) > BEGIN:
        start = min(2 * start, most)
    easy = start
    while easy < most and busy(easy) > GATEWAY_LOAD:
        easy = min(2 * easy, most)
    return float(start), Ends(float(max(easy, start)), 1.0, True), ""


def _rounded(value: float, whole: bool) -> float:
    return float(max(round(value), 1)) if whole else value


# --------------------------------------------------------------------------- what it comes to


def _headroom(best: Tried) -> pd.DataFrame:
    """A row per tier, the fullest first; what only the estimate knows (connections, hosts) has no load of runs."""
    measured: Mapping[str, float] = mean_loads(best.seen)
    by_estimate = {TIERS.get(tier.name, tier.name): tier.utilisation_batched for tier in estimate(best.scenario).tiers}
    rows = []
    for tier in (*measured, *(name for name in by_estimate if name not in measured)):
        load = measured.get(tier, math.nan)
        foretold = by_estimate.get(tier, math.nan)
        known = load if math.isfinite(load) else foretold
        rows.append({"tier": tier, "load": load, "estimate": foretold, "room": 1 / known if known > 0 else math.inf})
    return pd.DataFrame(rows).sort_values("room", kind="stable", ignore_index=True)


def _checked(
    scenario: Scenario, slos: Sequence[Slo], find: str, replications: int, precision: float, most: float
) -> Asked:
    """What is asked for; InputError where it makes no sense."""
    found = next((name for name in FINDS if name == find), None)
    if found is None:
        hint = nearest(find, FINDS)
        raise InputError(f"--find {find}: allowed: {quoted(FINDS)}{hint if 'did you mean' in hint else ''}")
    if not slos:
        raise InputError("--slo: at least one is needed, such as --slo 'p99_ms<200'")
    if replications < 2:
        raise InputError(f"--replications {replications}: at least 2 are needed, as one has no interval")
    if not 0.001 <= precision <= 1:
        raise InputError(f"--precision {precision:g}: 0.001 to 1 is allowed, as a share of the answer")
    if most < 0 or (most and found != "rate" and most < 1):
        raise InputError(f"--most {most:g}: at least 1 is needed")
    if found != "gateways" and scenario.workload.trace:
        raise InputError(
            f"--find {found}: the workload follows a log ('{scenario.workload.trace}'): 'gateways' is allowed"
        )
    if found == "gateways" and scenario.design.routing == "in_process":
        raise InputError("--find gateways: routing = 'in_process' is one process; 'users', 'rate' is allowed")
    if found == "gateways" and scenario.scaling.start:
        raise InputError(f"--find gateways: scaling.start = {scenario.scaling.start} turns gateways; 0 is needed")
    return Asked(scenario, tuple(slos), found, replications, precision, most)


__all__ = ["FINDS", "Asked", "Capacity", "Find", "Tried", "capacity"]
