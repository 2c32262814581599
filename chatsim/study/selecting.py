"""Which of several designs is best, with a guarantee, in as many runs as it takes; and what the front of cost is.

All designs get the same replications, each with the same luck for all (CRN). A design that is surely overloaded or
surely breaks an SLO after the first stage is out; the others race by KN (:mod:`chatsim.analysis.selection`). What a
replication says of a design is the figure of its run, so the best is best in the mean of that over runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from chatsim.analysis.cost import Cost, mean_cost
from chatsim.analysis.experiments import mean_interval
from chatsim.analysis.selection import FIRST_STAGE, Best, Selection, pareto
from chatsim.analysis.slos import Slo, Verdict
from chatsim.scenario import InputError, Scenario
from chatsim.study.probes import Probe, Seen, judged, known_figure, look_at
from chatsim.study.runs import same_trace
from chatsim.study.spread import Progress, workers

COST = "usd_per_month"
MOST = 200


@dataclass(frozen=True)
class Race:
    """What is asked for: the smallest mean of a figure, or the largest; see :func:`best`."""

    figure: str = "p99_ms"
    delta: float = 5.0
    alpha: float = 0.05
    slos: tuple[Slo, ...] = ()
    largest: bool = False
    first_stage: int = FIRST_STAGE
    most: int = MOST


@dataclass(frozen=True)
class Selected:
    """What came of it.

    ``table`` has a row per design, in order: design, replications (that it took), the figure (mean over them) and its
    half_width (95 %), state ("best", "in the race", "dropped", or "out: why"), slos (the verdict of each), users,
    usd_per_month, usd_per_1000_users, and on_front: no other is as good in both cost and figure and better in one.
    """

    race: Race
    scenarios: tuple[Scenario, ...]
    table: pd.DataFrame
    found: Best | None
    costs: dict[str, Cost]
    verdicts: tuple[Verdict, ...]

    @property
    def best(self) -> str:
        """The best design, or nothing."""
        rows = self.table[self.table["state"] == "best"]
        return str(rows["design"].iloc[0]) if len(rows) else ""

    @property
    def sentences(self) -> list[str]:
        """The best, with its guarantee in words; and the front."""
        race = self.race
        least = "largest" if race.largest else "smallest"
        if self.found is None:
            return ["No design is left: each is overloaded or breaks an SLO (see the table)."]
        lines = [self._guarantee(self.found, least)]
        broken = [one for one in self.verdicts if one.design == self.best and one.answer != "met"]
        lines += [f"But {one.slo} is {one.answer} for it: {one.reason}." for one in broken]
        front = self.table.loc[self.table["on_front"], "design"]
        lines.append(f"On the front of cost and {race.figure}: {', '.join(front)}." if len(front) else "")
        return [line for line in lines if line]

    def _guarantee(self, found: Best, least: str) -> str:
        race = self.race
        alone = len(self.table[~self.table["state"].str.startswith("out")]) == 1
        if alone:
            return f"{self.best} is the only design that is left."
        if not found.decided:
            return (
                f"Undecided after {race.most} replications; of the {len(found.survivors)} that are left {self.best} is "
                f"ahead in {race.figure}: a larger --delta or --most may decide."
            )
        return (
            f"{self.best} has the {least} {race.figure}: with a probability of {100 * (1 - race.alpha):g} % or more, "
            f"where the next is at least {race.delta:g} behind; where it is not, this one is that near to the best."
        )


@dataclass
class _Design:
    """A design in the race, and what was seen of it."""

    scenario: Scenario
    seen: list[Seen] = field(default_factory=list)
    out: str = ""

    def values(self, figure: str) -> list[float]:
        """A figure, by replication."""
        return [one.value(figure) for one in self.seen]


def best(
    scenarios: Sequence[Scenario],
    race: Race = Race(),
    jobs: int = 1,
    progress: Progress | None = None,
    workload_from: Scenario | None = None,
) -> Selected:
    """The best of several designs in a figure, by KN with common random numbers.

    Right with probability 1 - alpha or more where the next is at least ``delta`` (in the figure's unit) behind. After
    ``race.most`` replications it ends undecided. Processes look ahead; what they did not need to do is thrown away, so
    that the answer does not depend on their number. Raises InputError for what cannot be asked.
    """
    designs = same_trace(scenarios, workload_from)
    _check(designs, race)
    runs = _Runs([_Design(scenario) for scenario in designs], race, jobs, progress)
    runs.first_stage()
    running = [design for design in runs.designs if not design.out]
    found = runs.race(running) if running else None
    return _selected(race, designs, runs.designs, running, found)


class _Runs:
    """Designs with their replications, done ahead where processes are free."""

    def __init__(self, designs: list[_Design], race: Race, jobs: int, progress: Progress | None) -> None:
        self.designs, self.asked, self.progress = designs, race, progress
        self.processes = workers(jobs, len(designs) * race.first_stage)
        self.ahead: dict[tuple[str, int], Seen] = {}
        self.done = 0

    def first_stage(self) -> None:
        """The same number of replications of all; who surely fails is out."""
        self._look(self.designs, range(self.asked.first_stage))
        for design in self.designs:
            for replication in range(self.asked.first_stage):
                self._take(design, replication)
            design.out = _why_out(design, self.asked)

    def race(self, running: list[_Design]) -> Best:
        """KN among those that are left, from the replications that they have."""
        asked = self.asked
        if len(running) == 1:
            mean = float(np.mean(running[0].values(asked.figure)))
            return Best(0, True, (0,), (len(running[0].seen),), (mean,))
        # with variances that are updated the guarantee is only one in the limit of many runs
        rules = {"smallest": not asked.largest, "crn": True, "update": False}
        race = Selection(len(running), asked.delta, asked.alpha, asked.first_stage, **rules)
        while not race.done and race.replications < asked.most:
            alive = [running[number] for number in race.survivors]
            self._ensure(alive, race.replications)
            race.take([_value(design, race.replications, asked.figure) for design in alive])
        return race.result

    def _ensure(self, alive: list[_Design], replication: int) -> None:
        """The replication of each that is left; several at once where that keeps all processes busy."""
        missing = [design for design in alive if len(design.seen) <= replication]
        if not missing:
            return
        if any((design.scenario.name, replication) not in self.ahead for design in missing):
            further = max(math.ceil(self.processes / len(missing)), 1)
            self._look(missing, range(replication, min(replication + further, self.asked.most)))
        for design in missing:
            self._take(design, replication)

    def _look(self, designs: list[_Design], replications: range) -> None:
        cells = [(design, replication) for replication in replications for design in designs]
        probes = [Probe(design.scenario, replication) for design, replication in cells]
        for (design, replication), seen in zip(cells, look_at(probes, self.processes), strict=True):
            self.ahead[design.scenario.name, replication] = seen
            self.done += 1
            if self.progress is not None:
                total = max(len(self.designs) * self.asked.first_stage, self.done + 1)
                self.progress(self.done, total, f"replication {replication}")

    def _take(self, design: _Design, replication: int) -> None:
        design.seen.append(self.ahead.pop((design.scenario.name, replication)))


def _why_out(design: _Design, race: Race) -> str:
    """Why a design is out of the race, or nothing: an SLO that surely does not hold, or load that it cannot carry."""
    if all(one.overloaded for one in design.seen):
        return "overloaded"
    if not race.slos:
        return ""
    broken = [verdict for verdict in judged(race.slos, design.seen) if verdict.answer == "not met"]
    return f"{broken[0].slo} not met" if broken else ""


def _value(design: _Design, replication: int, figure: str) -> float:
    return design.seen[replication].needed(figure, f"replication {replication} of '{design.scenario.name}'")


def _selected(
    race: Race, scenarios: tuple[Scenario, ...], designs: list[_Design], running: list[_Design], found: Best | None
) -> Selected:
    winner = running[found.best].scenario.name if found else ""
    left = {running[number].scenario.name for number in found.survivors} if found else set()
    costs = {design.scenario.name: mean_cost([one.cost for one in design.seen]) for design in designs}
    verdicts: list[Verdict] = []
    rows: list[dict[str, Any]] = []
    for design in designs:
        name = design.scenario.name
        own = judged(race.slos, design.seen, design=name)
        verdicts += own
        interval = mean_interval(design.values(race.figure))
        state = f"out: {design.out}" if design.out else "in the race" if name in left else "dropped"
        rows.append(
            {
                "design": name,
                "replications": len(design.seen),
                race.figure: interval.mean,
                "half_width": interval.half_width,
                "state": "best" if name == winner else state,
                "slos": ", ".join(verdict.answer for verdict in own),
                "users": costs[name].users,
                COST: costs[name].usd_per_month,
                "usd_per_1000_users": costs[name].usd_per_1000_users,
            }
        )
    table = pd.DataFrame(rows)
    inside = table[~table["state"].str.startswith("out")]
    better = {"maximise": [race.figure]} if race.largest else {}
    worse = [COST] if race.largest else [COST, race.figure]
    front = pareto(inside, minimise=worse, **better).index
    return Selected(race, scenarios, table.assign(on_front=table.index.isin(front)), found, costs, tuple(verdicts))


def _check(designs: Sequence[Scenario], race: Race) -> None:
    if len(designs) < 2:
        raise InputError(f"best: '{designs[0].name}' is alone: at least two designs are needed, or --vary")
    known_figure(race.figure)
    if not 0 < race.delta < math.inf:
        raise InputError(f"--delta {race.delta:g}: more than 0 is needed, the smallest difference that matters")
    if not 0 < race.alpha < 1 - 1 / len(designs):
        allowed = 1 - 1 / len(designs)
        raise InputError(f"--alpha {race.alpha:g}: more than 0 and less than {allowed:.3g} is needed, as 0.05")
    if race.first_stage < 3:
        raise InputError(f"--replications {race.first_stage}: at least 3 are needed in the first stage")
    if race.most < race.first_stage:
        raise InputError(f"--most {race.most}: at least the first stage of {race.first_stage} replications is needed")


__all__ = ["COST", "Race", "Selected", "best"]
