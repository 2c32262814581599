"""What a study gives back: tidy tables over designs and replications, and the first outcome of each design."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from chatsim.analysis import intervals
from chatsim.analysis.digest import Digest
from chatsim.engine.outcome import Outcome
from chatsim.scenario import InputError, Scenario
from chatsim.scenario.html import list_html

SHOWN = (
    "design", "carried_per_s", "p50_ms", "p99_ms", "p99_half_width_ms", "live_share", "lost_share", "busiest_tier",
    "overloaded",
)  # fmt: skip
"""Columns of ``summary`` that a notebook shows."""
UNITS = ("_ms", "_per_s", "_share", "_utilisation")


@dataclass(frozen=True)
class Runs:
    """Designs x replications on the same traces.

    ``summary`` has one row per design: means over the replications and, from two on, the half width of each mean's
    95 % Student t interval; ``overloaded`` where any replication was. ``runs`` has one row per design and replication.
    ``latency``, ``fates``, ``tiers`` and ``chat`` are the tables of :mod:`chatsim.analysis` with design and replication
    in front.
    ``verdicts`` says in a sentence for each design whether it kept up. ``outcomes`` are those of the first replication;
    or ``digests``, where runs were not kept row by row.
    """

    scenarios: tuple[Scenario, ...]
    replications: int
    outcomes: dict[str, Outcome]
    summary: pd.DataFrame
    runs: pd.DataFrame
    latency: pd.DataFrame
    fates: pd.DataFrame
    tiers: pd.DataFrame
    chat: pd.DataFrame
    verdicts: dict[str, str]
    trace: tuple[str, ...]
    digests: dict[str, Digest] = field(default_factory=dict, kw_only=True)

    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables by name, as they are stored."""
        digested = {}
        for digest in self.digests.values():
            digested = {"histogram": digest.histogram(), "timeline": digest.timeline()}
        return {
            "summary": self.summary,
            "runs": self.runs,
            "latency": self.latency,
            "fates": self.fates,
            "tiers": self.tiers,
            "chat": self.chat,
            **digested,
        }

    def _repr_html_(self) -> str:
        table = self.summary[[name for name in SHOWN if name in self.summary]]
        said = (f"{name}: {sentence}." for name, sentence in self.verdicts.items())
        return f"{table.to_html(index=False, float_format='{:.4g}'.format)}{list_html(said)}"


@dataclass(frozen=True)
class Result(Runs):
    """One design, in one or more replications."""

    @property
    def scenario(self) -> Scenario:
        """The design that was run."""
        return self.scenarios[0]

    @property
    def outcome(self) -> Outcome:
        """The outcome of the first replication; InputError where the run was not kept row by row."""
        if self.digests:
            raise InputError("keep = 'figures': a run of which only figures are kept has no outcome; 'all' keeps it")
        return self.outcomes[self.scenario.name]


@dataclass(frozen=True)
class Comparison(Runs):
    """Several designs on the same traces.

    ``paired`` has one row per replication and later design: how much later it delivers than the first design, per
    message and recipient.
    """

    paired: pd.DataFrame

    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables by name, as they are stored."""
        return {**super().tables(), "paired": self.paired}


def summarised(runs: pd.DataFrame, designs: Sequence[str]) -> pd.DataFrame:
    """One row per design from one row per design and replication."""
    rows = [_one_row(runs[runs["design"] == design]) for design in designs]
    return pd.DataFrame(rows)


def half_width_of(figure: str) -> str:
    """The name of the column with the half width of a figure's interval; the unit stays last.

    >>> half_width_of("p99_ms"), half_width_of("deliveries")
    ('p99_half_width_ms', 'deliveries_half_width')
    """
    unit = next((unit for unit in UNITS if figure.endswith(unit)), "")
    return f"{figure.removesuffix(unit)}_half_width{unit}"


def _one_row(part: pd.DataFrame) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, column in part.drop(columns="replication").items():
        figure = str(name)
        if column.dtype == bool:
            row[figure] = bool(column.any())
        elif not pd.api.types.is_numeric_dtype(column):
            row[figure] = str(column.mode().iloc[0])
        elif len(part) == 1:
            row[figure] = column.iloc[0]
        else:
            interval = intervals(column.astype(np.float64))
            row[figure], row[half_width_of(figure)] = interval.mean, interval.half_width
    return row
