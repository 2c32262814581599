"""Who is who among runs: a hash of all that a run depends on, the model that makes it included."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from chatsim.scenario import InputError, Scenario
from chatsim.scenario.load import NAMED_FILES

FLOORS = ("scenario", "rules", "world", "engine", "theory")
"""Whole floors on which figures depend; theory because of what :mod:`chatsim.analysis.recovery` takes from it."""
MODULES = (
    "analysis/chat.py", "analysis/columns.py", "analysis/compare.py", "analysis/cost.py", "analysis/flow.py",
    "analysis/latency.py", "analysis/lists.py", "analysis/offline.py", "analysis/overload.py", "analysis/presence.py",
    "analysis/recovery.py", "analysis/rooms.py", "analysis/stations.py", "analysis/ticks.py", "study/figures.py",
)  # fmt: skip
NO_PART = ("name", "about", "prices")
"""What a scenario says of which no figure of a run depends."""
BUILT = (".pyc", ".pyo", ".so", ".pyd", ".nbi", ".nbc")
COLLEGEMSG = "collegemsg"


@cache
def model_version() -> str:
    """The first 12 digits of SHA-256 over the sources of the model: what is simulated, and how figures come from it.

    Read once: a program that runs goes on with the sources that it has started with.

    >>> len(model_version())
    12
    """
    package = Path(__file__).resolve().parent.parent
    there = [path for floor in FLOORS for path in (package / floor).rglob("*") if "__pycache__" not in path.parts]
    found = [path for path in there if path.is_file() and path.suffix not in BUILT]
    sources = sorted(found, key=lambda path: path.as_posix())
    digest = hashlib.sha256()
    for path in (*sources, *(package / name for name in MODULES)):
        digest.update(f"{path.relative_to(package).as_posix()}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def scenario_body(scenario: Scenario) -> str:
    """All that a run of a scenario depends on but the replication and the model, as JSON: no name and no text,
    and the content of files in the place of their names."""
    table = scenario.model_dump(mode="json", exclude=set(NO_PART))
    for key, place, name in _files(table):
        place[key] = f"sha256:{content_hash(name)}"
    return canonical(table)


def run_hash(body: str, replication: int, model: str) -> str:
    """SHA-256 that a run is known by; ``body`` as :func:`scenario_body` gives it."""
    return sha256(f'{{"model":{json.dumps(model)},"replication":{replication},"scenario":{body}}}')


def world_key(scenario: Scenario, replication: int) -> str:
    """SHA-256 of what a world depends on."""
    table = scenario.model_dump(mode="json", include={"workload", "seed"})
    for key, place, name in _files(table):
        place[key] = f"sha256:{content_hash(name)}"
    return sha256(f"{replication}{canonical(table)}")


def needs_file(scenario: Scenario) -> bool:
    """Whether the world of a scenario is made from a file that need not be there on other machines."""
    workload = scenario.workload
    own = workload.trace not in ("", COLLEGEMSG)
    return own or bool(workload.trace_sessions) or bool(workload.friends.file)


def content_hash(name: str) -> str:
    """SHA-256 of a file, or of the log of the name 'collegemsg'. InputError where it cannot be read."""
    if name == COLLEGEMSG:
        from chatsim.world.collegemsg import collegemsg_path

        return _content_hash(str(collegemsg_path()), 0, 0)
    try:
        said = Path(name).stat()
        return _content_hash(name, said.st_size, said.st_mtime_ns)
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror or error}") from error


@lru_cache(maxsize=64)
def _content_hash(path: str, _size: int, _changed_ns: int) -> str:
    """Read again where size or time of change are others."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(table: dict[str, Any]) -> list[tuple[str, dict[str, Any], str]]:
    """Keys that name a file, the part that each stands in, and the file."""
    found = []
    for *parts, key in NAMED_FILES:
        place = table
        for part in parts:
            place = place[part]
        if place[key]:
            found.append((key, place, str(place[key])))
    return found


def canonical(value: Mapping[str, Any]) -> str:
    """JSON in one fixed form."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256(text: str) -> str:
    """The hash of a text."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
