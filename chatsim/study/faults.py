"""What a fault does to a design: the same trace with it and without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from chatsim.analysis.recovery import amplification, recovery, strikes, timeline, verdict
from chatsim.engine.outcome import Outcome
from chatsim.scenario import InputError, Scenario
from chatsim.study.results import Comparison
from chatsim.study.runs import Note, compare
from chatsim.study.spread import Progress

CALM = ", calm"
NAME_MAX = 80
TIMELINE_BINS = 200


@dataclass(frozen=True)
class Struck:
    """A design with its faults and the same without, on one trace.

    ``runs`` compares the two, the calm one first, so that ``runs.paired`` says how much later than there messages came
    to recipients who have them live in both. ``recovery`` is a row of :func:`chatsim.analysis.recovery` with design and
    ``amplification``, ``timeline`` the run over time, ``verdict`` what it comes to in words.
    """

    runs: Comparison
    recovery: pd.DataFrame
    timeline: pd.DataFrame
    verdict: str

    @property
    def outcome(self) -> Outcome:
        """The outcome with the faults."""
        return self.runs.outcomes[self.runs.scenarios[1].name]

    @property
    def calm(self) -> Outcome:
        """The outcome without them."""
        return self.runs.outcomes[self.runs.scenarios[0].name]

    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables by name, as they are stored."""
        return {**self.runs.tables(), "recovery": self.recovery, "timeline": self.timeline}


def strike(
    scenario: Scenario, jobs: int = 1, progress: Progress | None = None, note: Note | None = None
) -> Struck:
    """Simulates a design with its faults and without them. Raises InputError where it has none.

    >>> strike(Scenario())
    Traceback (most recent call last):
    chatsim.scenario.errors.InputError: scenario: no faults: a part [[faults]], or one by --fault, is needed
    """
    if not scenario.faults:
        raise InputError(f"{scenario.name}: no faults: a part [[faults]], or one by --fault, is needed")
    runs = compare([without_faults(scenario), scenario], 1, jobs, progress, note)
    calm, outcome = (runs.outcomes[each.name] for each in runs.scenarios)
    figures = recovery(outcome)
    row = {"design": scenario.name, **figures, "amplification": amplification(outcome, calm)}
    return Struck(
        runs,
        pd.DataFrame([row]).infer_objects(),
        timeline(outcome, outcome.world.duration_s / TIMELINE_BINS),
        verdict(outcome, calm, figures),
    )


def without_faults(scenario: Scenario) -> Scenario:
    """The same design in calm, named 'NAME, calm'."""
    name = f"{scenario.name[: NAME_MAX - len(CALM)]}{CALM}"
    return scenario.model_copy(update={"name": name, "faults": ()})


def storms(outcomes: Mapping[str, Outcome]) -> pd.DataFrame:
    """A row of :func:`chatsim.analysis.recovery` per design in which anything struck, with the design's name."""
    rows = [{"design": name, **recovery(outcome)} for name, outcome in outcomes.items() if len(strikes(outcome))]
    return pd.DataFrame(rows or {"design": []}).infer_objects()
