"""The questions of a review as shipped studies: each runs, in small, and gives what its SLOs are about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chatsim.scenario.files import data_folder, read_toml
from chatsim.study.execute import carry_out
from chatsim.study.plan import load_study, study_of
from chatsim.study.points import make_plan
from tests.conftest import ROOT

STUDIES = sorted(path.stem for path in (data_folder() / "studies").glob("*.toml"))
REVIEW = (
    "servers", "brokers", "reconnects", "failover", "presence-storm", "list-limits", "hot-room", "slow-consumers",
    "offline", "deploy",
)  # fmt: skip


def corner(table: dict[str, Any]) -> dict[str, Any]:
    """Factors with the first value of each alone."""
    found: dict[str, Any] = {}
    for key, values in table.items():
        if isinstance(values, dict):
            found[key] = [values["from"]] if "from" in values else corner(values)
        else:
            found[key] = values[:1]
    return found


@pytest.mark.parametrize("name", REVIEW)
def test_a_review_study_runs_in_small(name: str, tmp_path: Path) -> None:
    table = read_toml(data_folder() / "studies" / f"{name}.toml")
    small = ["workload.users=60", "workload.conversations.messages_per_day=2000"]
    small += ["workload.duration_s=120"] if name in ("offline", "list-limits") else []
    table |= {"factors": corner(table["factors"]), "replications": 1, "set": [*table["set"], *small]}
    table.pop("precision", None)
    study = study_of(table)
    carried = carry_out(make_plan(study, tmp_path, name), tmp_path / "out", jobs=1)
    assert not carried.failures
    points = len(carried.tables.labels)
    assert points == max(len(study.designs), 1)
    assert len(carried.tables.verdicts) == points * len(study.slos)
    asked = {slo.figure for slo in study.objectives()}
    assert asked <= set(carried.tables.results["figure"])


@pytest.mark.parametrize("name", STUDIES)
def test_a_shipped_study_says_what_it_asks_and_how_to_read_it(name: str) -> None:
    study = load_study(data_folder() / "studies" / f"{name}.toml")
    assert study.question.endswith("?")
    assert study.reading.strip()


def test_the_readme_names_the_command_of_each_question() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in REVIEW if f"`chatsim study {name}`" not in readme] == []
