"""How results leave: as files in a results folder, and as plain values for JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from chatsim.scenario import Scenario
from chatsim.study import folder, store
from chatsim.study.faults import storms
from chatsim.study.results import Runs
from chatsim.study.runs import Note


class Files:
    """What is written into a results folder; ``note`` adds the raw tables of a run."""

    def __init__(self, place: Path, command: list[str], note: Note) -> None:
        self.place = place
        self.command = command
        self.note = note

    def finish_runs(
        self, runs: Runs, curves: pd.DataFrame | None = None, tables: dict[str, pd.DataFrame] | None = None
    ) -> None:
        """Tables (those of the runs, unless others are given), scenarios, charts, and last the provenance."""
        from chatsim.report import gallery

        chosen = runs.tables() if tables is None else tables
        chosen = chosen if curves is None else {**chosen, "saturation": curves}
        self._finish(chosen, runs.scenarios, lambda charts: gallery.draw(runs, curves, charts), runs.replications)

    def finish_question(
        self, scenario: Scenario, name: str, table: pd.DataFrame, draw: Callable[[pd.DataFrame], Any]
    ) -> None:
        """The answer to a question as table and chart, the scenario it began with, and last the provenance."""
        from chatsim.report import charts

        self._finish({name: table}, (scenario,), lambda place: charts.write_figure(draw(table), place, name))

    def _finish(
        self,
        tables: dict[str, pd.DataFrame],
        scenarios: tuple[Scenario, ...],
        draw: Callable[[Path], object],
        replications: int = 1,
    ) -> None:
        """The provenance comes last, as it lists all files."""
        for name, table in tables.items():
            store.write_table(self.place / f"{name}.parquet", table)
        store.write_scenarios(self.place, scenarios)
        draw(self.place / "charts")
        folder.seal(self.place, store.provenance(scenarios, replications, self.command))


@contextmanager
def results(out: str, force: bool, command: list[str]) -> Iterator[Files]:
    """A place for results, which is refused before anything is simulated, and whole or not there in the end.

    Raises InputError as :func:`chatsim.study.folder.results_folder` does.
    """
    with folder.results_folder(out, force) as place, store.RawTables(place) as raw:
        yield Files(place, command, raw.note)


def figures(runs: Runs) -> dict[str, Any]:
    """What a study comes to, as plain values; ``recovery`` only where faults struck."""
    recovered = storms(runs.outcomes)
    return {
        "seed": runs.scenarios[0].seed,
        "replications": runs.replications,
        "summary": records(runs.summary),
        "latency": records(runs.latency),
        "fates": records(runs.fates),
        "verdicts": runs.verdicts,
        "trace": list(runs.trace),
        **({} if recovered.empty else {"recovery": records(recovered)}),
    }


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain values; None for what is not a finite number.

    >>> records(pd.DataFrame({"a": [1.5, float("nan")]}))
    [{'a': 1.5}, {'a': None}]
    """
    return [{str(key): plain(value) for key, value in row.items()} for row in table.to_dict("records")]


def plain(value: Any) -> Any:
    """A value as plain Python; None for what is not a finite number."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and value - value != 0 else value
