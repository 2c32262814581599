"""What the runs of a study come to: a row for each run, for each point and figure, for each point and SLO.

A figure that is a quantile is that of all deliveries (or logins) of a point's replications, with an interval by
sectioning: each replication is a section. Any other is the mean over the replications, with Student's t.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from chatsim.analysis.columns import Floats
from chatsim.analysis.compare import Interval
from chatsim.analysis.experiments import FIRST, mean_interval, more_needed, runs_needed
from chatsim.analysis.quantiles import QuantileInterval, quantile, quantile_interval
from chatsim.analysis.slos import Evidence, judge_all, verdict_table
from chatsim.scenario import InputError
from chatsim.study.archive import Archive
from chatsim.study.figures import QUANTILES, WORDS, Figure, Quantile
from chatsim.study.plan import Precision, Study
from chatsim.study.store import OPTIONS

HASH = re.compile(r"[0-9a-f]{64}")
OF_RECIPIENTS = ("live_share", "kept_share", "lost_share")
"""Shares of which ``recipients`` is the number of trials."""
OF_ANY = {"estimate": "float64", "half_width": "float64", "replications": "int64"}
RESULT_TYPES = {"figure": "str", **OF_ANY, "method": "str", "reason": "str"}
VERDICT_TYPES = {
    "slo": "str", "verdict": "str", **OF_ANY, "p_value": "float64", "runs_needed": "float64", "reason": "str",
}  # fmt: skip


@dataclass(frozen=True)
class Tables:
    """The tables of a study. Each row begins with the number of its point, and the values of the factors there.

    ``runs``: a row per run, with its hash, replication and figures. ``results``: per point and figure, with the half
    width of its 95 % interval (NaN, with the reason, where there is none). ``verdicts``: per point and SLO. ``labels``:
    the points in words; ``planned``: how many runs there are to be.
    """

    runs: pd.DataFrame
    results: pd.DataFrame
    verdicts: pd.DataFrame
    labels: tuple[str, ...]
    factors: tuple[str, ...]
    planned: int

    def files(self) -> dict[str, bytes]:
        """The tables as Parquet files by name."""
        tables = {"runs": self.runs, "results": self.results, "verdicts": self.verdicts}
        return {f"{name}.parquet": _parquet(table) for name, table in tables.items()}


class Point(NamedTuple):
    """A point of a manifest with the runs of it that are there: hash, replication, figures."""

    number: int
    label: str
    values: dict[str, Any]
    runs: list[tuple[str, int, dict[str, Figure]]]

    @property
    def columns(self) -> dict[str, Any]:
        """What each row of the point begins with."""
        return {"point": self.number, **self.values}


def tables_of(archive: Archive, manifest: Mapping[str, Any], study: Study) -> Tables:
    """The tables of the runs that are there; figures are read from the folder, one point after the other."""
    runs: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    designs: dict[str, Mapping[str, Evidence]] = {}
    overloaded: set[str] = set()
    trials: dict[str, dict[str, int]] = {}
    labels: list[str] = []
    planned = 0
    slos = study.objectives()
    for point, wanted in _points(archive, manifest):
        planned += wanted
        labels.append(point.label)
        runs += [{**point.columns, "replication": at, "run": run, **row} for run, at, row in point.runs]
        found = evidence_of(archive, point, {slo.figure for slo in slos})
        results += [_result(point, figure, value) for figure, value in found.items()]
        designs[str(point.number)] = found
        if any(row.get("overloaded") for _, _, row in point.runs):
            overloaded.add(str(point.number))
        recipients = int(sum(float(row.get("recipients", 0.0)) for _, _, row in point.runs))
        trials[str(point.number)] = dict.fromkeys(OF_RECIPIENTS, recipients)
    factors = tuple(manifest.get("factors", ()))
    judged = verdict_table(judge_all(slos, designs, overloaded=overloaded, trials=trials))
    return Tables(
        _frame(runs, ["point", *factors, "replication", "run"], {"run": "str"}),
        _frame(results, ["point", *factors, *RESULT_TYPES], RESULT_TYPES),
        _verdicts(judged, manifest, factors),
        tuple(labels),
        factors,
        planned,
    )


def evidence_of(archive: Archive, point: Point, more: Iterable[str] = ()) -> dict[str, Interval | QuantileInterval]:
    """What the runs of a point say of each figure that is a number, and of those in ``more`` in any case."""
    names = dict.fromkeys(name for _, _, row in point.runs for name, value in row.items() if name not in WORDS)
    samples = _samples(archive.lists(run) for run, _, _ in point.runs)
    found: dict[str, Interval | QuantileInterval] = {}
    for name in (*names, *(name for name in more if name not in names)):
        if name in QUANTILES:
            found[name] = pooled(QUANTILES[name], samples)
        else:
            found[name] = mean_interval([float(row.get(name, math.nan)) for _, _, row in point.runs])
    return found


def pooled(figure: Quantile, samples: Mapping[str, Sequence[Floats]]) -> QuantileInterval:
    """A quantile of the samples of all replications, with its interval by sectioning."""
    sections = samples[figure.of]
    if len(sections) >= 2:
        return quantile_interval(sections, figure.q)
    alone = quantile(sections[0], figure.q) if sections else math.nan
    return QuantileInterval(figure.q, alone, math.nan, len(sections), "one replication has no interval")


def more_runs(
    wanted: Precision, rows: Sequence[Mapping[str, Figure]], lists: Iterable[Mapping[str, list[float]]]
) -> int:
    """How many more replications a point needs for its precision, by those so far; 0 where that is enough, or where no
    number would be."""
    if wanted.figure not in QUANTILES:
        values = [float(row.get(wanted.figure, math.nan)) for row in rows]
        return more_needed(values, wanted.relative) or 0
    if len(rows) < FIRST:
        return FIRST - len(rows)
    found = pooled(QUANTILES[wanted.figure], _samples(lists))
    if math.isnan(found.half_width):
        return 0
    # as :func:`more_needed` has it, for an interval that is none of a mean of values
    width = wanted.relative / (1 + wanted.relative) * abs(found.estimate)
    return runs_needed(found.interval, found.estimate - width) or 0


def read_study(archive: Archive) -> tuple[dict[str, Any], Study]:
    """The manifest and the study of a folder. InputError where it holds none."""
    from chatsim.study.plan import load_study

    manifest = archive.manifest()
    if manifest is None:
        raise InputError(f"{archive.said}: holds no study: the folder of one that was started is needed")
    return manifest, load_study(archive.root / "study.toml")


def _points(archive: Archive, manifest: Mapping[str, Any]) -> Iterator[tuple[Point, int]]:
    """The points of a manifest, and how many runs each is to have. The manifest may come from anybody."""
    for number, said in enumerate(manifest["points"]):
        try:
            hashes = [run for run in said["runs"] if HASH.fullmatch(run)]
            values = {str(key): value for key, value in said["values"].items()}
            name = str(said["label"])
        except (TypeError, KeyError, AttributeError) as error:
            raise InputError(f"{archive.said}: manifest.json: point {number} is damaged") from error
        rows = ((run, at, archive.row(run)) for at, run in enumerate(hashes))
        yield Point(number, name, values, [(run, at, row) for run, at, row in rows if row is not None]), len(hashes)


def _samples(lists: Iterable[Mapping[str, list[float]]]) -> dict[str, list[Floats]]:
    """Latencies and logins of each replication, each value as often as it came."""
    found: dict[str, list[Floats]] = {"latency": [], "login": []}
    for one in lists:
        for name, samples in found.items():
            samples.append(np.repeat(np.array(one[f"{name}_ms"], np.float64), np.array(one[f"{name}_count"], np.int64)))
    return found


def _result(point: Point, figure: str, found: Interval | QuantileInterval) -> dict[str, Any]:
    row = {**point.columns, "figure": figure}
    if isinstance(found, QuantileInterval):
        of = {"estimate": found.estimate, "half_width": found.half_width, "replications": found.sections}
        return {**row, **of, "method": "quantile", "reason": found.reason}
    reason = "one replication has no interval" if found.n == 1 else "" if found.n else "the figure has no value"
    of = {"estimate": found.mean, "half_width": found.half_width, "replications": found.n}
    return {**row, **of, "method": "mean", "reason": reason}


def _verdicts(judged: pd.DataFrame, manifest: Mapping[str, Any], factors: Sequence[str]) -> pd.DataFrame:
    rows = []
    for row in judged.to_dict("records"):
        number = int(str(row.pop("design")))
        rows.append({"point": number, **manifest["points"][number]["values"], **row})
    return _frame(rows, ["point", *factors, *VERDICT_TYPES], VERDICT_TYPES)


def _frame(rows: list[dict[str, Any]], first: list[str], types: Mapping[str, str]) -> pd.DataFrame:
    """A table with these columns first, also where it has no rows."""
    if not rows:
        return pd.DataFrame({name: pd.Series([], dtype=types.get(name, "int64")) for name in first})
    table = pd.DataFrame(rows)
    return table[[*first, *(name for name in table.columns if name not in first)]]


def _parquet(table: pd.DataFrame) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None), file, **OPTIONS)
    return file.getvalue()
