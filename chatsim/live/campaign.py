"""All that predictions are held to live runs by: one after the other, each run kept as soon as it is made."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from chatsim.live import faulted, saturation, validation
from chatsim.live.diary import Diary
from chatsim.live.grids import scenario_of
from chatsim.live.lab import Lab, Progress
from chatsim.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Validated:
    """Tables by name, how many live runs were made now and how many found."""

    tables: dict[str, pd.DataFrame]
    scenarios: tuple[Scenario, ...]
    made: int
    found: int


def validate(
    costs: str, repeats: int = 3, full: bool = False, diary: Diary | None = None, progress: Progress | None = None
) -> Validated:
    """Held-out points; with ``full`` all of them, the ranking of designs, saturation loads, and faults."""
    diary = diary or Diary()
    points = validation.grid(costs, full)
    lab = Lab(diary, progress)
    lab.steps = repeats * len(points)
    if full:
        lab.steps += repeats * (len(validation.ROUTINGS) + len(faulted.STRUCK))
        lab.steps += saturation.RUNS_EACH * len(saturation.DESIGNS)
    table = validation.table_of(validation.compare_points(points, costs, repeats, lab))
    tables = {"points": table, "summary": validation.summary_of(table)}
    if full:
        tables["ranking"], tables["order"] = validation.ranking(costs, repeats, lab)
        tables["faults"] = faulted.table_of(costs, repeats, lab, faulted.STRUCK)
        tables["saturation"] = saturation.table_of(costs, lab, saturation.DESIGNS)
    scenarios = tuple(validation.with_costs(scenario_of(point), costs) for point, _ in points)
    return Validated(tables, scenarios, diary.runs - diary.found, diary.found)
