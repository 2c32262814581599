"""A study's folder read for people: the decision, what it rests on, and why it may be believed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from chatsim.report.decision_charts import decision_exhibits
from chatsim.report.exhibit import Exhibit
from chatsim.report.trust import trust_exhibits
from chatsim.scenario import InputError, Scenario, to_toml
from chatsim.study.archive import HISTORY, Archive
from chatsim.study.decision import Decision, decide
from chatsim.study.execute import plan_in
from chatsim.study.identity import model_version
from chatsim.study.tables import Tables, read_study, tables_of

if TYPE_CHECKING:
    from chatsim.engine.outcome import Outcome
    from chatsim.study.points import Plan
    from chatsim.study.spread import Progress

HISTORY_MOST = 200
HISTORY_MAX_BYTES = 10_000_000
Evidence = Callable[["Outcome"], Sequence[Exhibit]]


@dataclass(frozen=True)
class Review:
    """All that a report says of a study. ``scenario`` is that of the point that the verdict names, else the first;
    ``evidence_said`` is what was done for the evidence, or why there is none; ``reproduced`` whether a run that was
    done again gave the same figures (None: none was)."""

    folder: str
    plan: Plan
    manifest: dict[str, Any]
    tables: Tables
    decision: Decision
    scenario: Scenario
    decisions: tuple[Exhibit, ...]
    evidence: tuple[Exhibit, ...]
    evidence_said: str
    reproduced: bool | None
    trust: tuple[Exhibit, ...]
    history: pd.DataFrame

    @property
    def exhibits(self) -> tuple[Exhibit, ...]:
        """All of them, in the order of the page."""
        return (*self.decisions, *self.evidence, *self.trust)

    @property
    def scenario_text(self) -> str:
        """The scenario in full, as TOML."""
        return to_toml(self.scenario)

    @property
    def failures(self) -> list[str]:
        """Runs that failed last time."""
        return list(self.history["failed"].iloc[-1]) if len(self.history) else []


def read_review(folder: str | Path, evidence: Evidence | None = None, progress: Progress | None = None) -> Review:
    """Reads the folder of a study. With ``evidence`` one run is done again, and the simulator held to closed forms;
    both are left out otherwise. Raises InputError where the folder holds no study, or one that is damaged."""
    archive = Archive(folder)
    manifest, study = read_study(archive)
    plan = plan_in(folder)
    tables = tables_of(archive, manifest, study)
    try:
        decision = decide(tables, plan)
    except InputError as error:
        raise InputError(f"{archive.said}: {error}") from error
    told = _Told(progress)
    told("decision")
    decisions = decision_exhibits(tables, plan, decision)
    shown, said, reproduced = _evidence(archive, manifest, plan, decision, evidence, told)
    trust = _trust(archive, tables, plan, decision, told, simulate=evidence is not None)
    scenario = plan.scenario(decision.named or 0)
    return Review(
        str(folder), plan, manifest, tables, decision, scenario, tuple(decisions), tuple(shown), said, reproduced,
        tuple(trust), history_of(archive),
    )  # fmt: skip


class _Told:
    """Says how far it is, in three steps."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress, self.done = progress, 0

    def __call__(self, what: str) -> None:
        if self.progress is not None:
            self.progress(self.done, 4, what)
        self.done += 1


def _evidence(
    archive: Archive, manifest: dict[str, Any], plan: Plan, decision: Decision, evidence: Evidence | None, told: _Told
) -> tuple[Sequence[Exhibit], str, bool | None]:
    """The charts of one run, which is done again; what was done; and whether it gave the same figures."""
    if evidence is None:
        return [], "Left out: no run was done again for this report (--no-evidence).", None
    if decision.named is None:
        return [], "Left out: there is no run yet.", None
    if manifest.get("model") != model_version():
        said = f"its runs are of model {manifest.get('model')}, and this chatsim is {model_version()}"
        return [], f"Left out: {said}.", None
    from chatsim.engine import simulate
    from chatsim.study.figures import figures_of
    from chatsim.world import build_world

    label = decision.table["label"][decision.named]
    told(f"run of {label}")
    scenario = plan.scenario(decision.named)
    try:
        outcome = simulate(scenario, build_world(scenario, 0))
    except InputError as error:
        return [], f"Left out: {error}.", None
    stored = archive.row(manifest["points"][decision.named]["runs"][0])
    same = None if stored is None else _same(stored, figures_of(outcome))
    told("evidence")
    words = {True: "; all its figures are those stored", None: "", False: "; its figures are NOT those stored"}
    return evidence(outcome), f"Replication 0 of point #{decision.named} ({label}), done again{words[same]}.", same


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two runs have the same figures, to the last digit; what has no value has none in both."""
    def told(row: dict[str, Any]) -> dict[str, str]:
        return {key: repr(value) for key, value in row.items()}

    return told(one) == told(other)


def _trust(
    archive: Archive, tables: Tables, plan: Plan, decision: Decision, told: _Told, simulate: bool
) -> list[Exhibit]:
    from chatsim.study.behaviour import behaviour
    from chatsim.study.laws import checks
    from chatsim.study.published import at_once

    if not simulate:
        return trust_exhibits(archive, tables, plan, decision, (), at_once(), None)
    told("theory checks")
    return trust_exhibits(archive, tables, plan, decision, checks(), at_once(), behaviour())


def history_of(archive: Archive) -> pd.DataFrame:
    """What was done in a folder, a row per time: at, command, machine, computed, failed (lines), took_s. Lines that are
    none of chatsim's are passed over, as are those of a file beyond 10 MB."""
    path = archive.root / HISTORY
    rows: list[dict[str, Any]] = []
    if path.is_file() and path.stat().st_size <= HISTORY_MAX_BYTES:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()[-2 * HISTORY_MOST:]:
            rows += _event(line)
    return pd.DataFrame(rows[-HISTORY_MOST:], columns=["at", "command", "machine", "computed", "failed", "took_s"])


def _event(line: str) -> Iterable[dict[str, Any]]:
    try:
        said = json.loads(line)
        if said["event"] != "end":
            return []
        machine = said["machine"]
        return [
            {
                "at": str(said["at"]),
                "command": " ".join(map(str, said["command"])),
                "machine": f"{machine['cores']} cores, Python {machine['python']}, {machine['platform']}",
                "computed": int(said["computed"]),
                "failed": [str(one) for one in said["failed"]],
                "took_s": float(said["took_s"]),
            }
        ]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []


__all__ = ["Evidence", "Review", "history_of", "read_review"]
