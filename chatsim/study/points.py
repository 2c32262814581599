"""Design points: what each of them is, and that each is a scenario, before anything runs."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from chatsim.scenario import InputError, Scenario, load_scenario, to_toml
from chatsim.scenario.load import NAMED_FILES, validate
from chatsim.study.plan import Range, Study, Value, beside, kind_of
from chatsim.study.runs import same_trace
from chatsim.study.store import file_name

DESIGN = "design"
POINTS_MAX = 100_000
RUNS_MAX = 1_000_000
BASES = "bases"
FOLDED = ("base", "designs", "workload", "faults", "set")
"""Keys of a study that its scenarios say as well."""


@dataclass(frozen=True)
class Plan:
    """A study with its design points. ``bases`` are the first points of each design, by its name; ``points`` the values
    of the factors at each point, 'design' among them where there are several designs to choose from."""

    study: Study
    origin: str
    bases: dict[str, dict[str, Any]]
    points: tuple[dict[str, Value], ...]

    @property
    def factors(self) -> tuple[str, ...]:
        """Names of the factors, in their order."""
        return tuple(self.points[0])

    def scenario(self, point: int) -> Scenario:
        """The scenario of a point. It is made anew each time, as a hundred thousand of them would fill the memory."""
        values = self.points[point]
        base = self.bases[str(values.get(DESIGN, next(iter(self.bases))))]
        changes = {key: value for key, value in values.items() if key != DESIGN}
        return validate(_changed(base, changes), f"{self.origin}: with {label(values)}")

    def label(self, point: int) -> str:
        """A point in words."""
        return label(self.points[point]) or next(iter(self.bases))

    def normalised(self, folder: Path) -> dict[str, str]:
        """Files that say all of the study, to be laid into the folder: ``study.toml``, and the scenarios that it names.

        The study file that they make up gives the same runs. Logs stay where they are, and are named from there.
        """
        import tomli_w

        files = {}
        for name, base in self.bases.items():
            scenario = validate(_relocated(base, folder / BASES), self.origin)
            files[f"{BASES}/{file_name(name)}.toml"] = to_toml(scenario)
        study = self.study.model_dump(mode="json", exclude_none=True, by_alias=True, exclude=set(FOLDED))
        factors = [f"{json.dumps(key)} = {_toml(said)}\n" for key, said in study.pop("factors").items()]
        sources: dict[str, Any] = {"designs": list(files)} if self.study.designs else {"base": next(iter(files))}
        head = {"name": study.pop("name"), "about": study.pop("about"), **sources}
        text = tomli_w.dumps({**head, **study})
        # By hand, as the order of factors is that of points, and TOML's writers put lists before tables.
        return {"study.toml": f"{text}\n[factors]\n{''.join(factors)}", **files}


def make_plan(study: Study, folder: Path, origin: str) -> Plan:
    """The points of a study whose file lies in ``folder``, each of them checked. Raises InputError, which names the
    factors' values where one is no scenario."""
    factors = {key: _levels(key, said, study, origin) for key, said in study.factors.items()}
    _refuse_too_many(study, factors, origin)
    sampled = study.sampling.kind != "grid"
    first = {key: _first(key, said) for key, said in study.factors.items()}
    bases = _bases(study, folder, origin, first)
    if study.designs:
        factors = {DESIGN: tuple(bases), **factors}
    study = study.model_copy(update={"seed": next(iter(bases.values()))["seed"]})
    points = _sampled(study, factors, origin) if sampled else _grid(factors)
    plan = Plan(study, origin, bases, tuple(points))
    if len(points) * study.replications > RUNS_MAX:
        raise InputError(
            f"{origin}: {len(points):,} points x {study.replications:,} replications: at most {RUNS_MAX:,} runs are "
            "allowed"
        )
    for point in range(len(points)):
        plan.scenario(point)
    return plan


def label(values: dict[str, Value]) -> str:
    """Values of factors in words.

    >>> label({"design": "hub", "friend_list.limit": 15})
    'design = hub, friend_list.limit = 15'
    """
    return ", ".join(f"{key} = {_said(value)}" for key, value in values.items())


def _toml(value: Any) -> str:
    """A value, list or range in one line of TOML."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(part)}' for key, part in value.items())} }}"
    return f"[{', '.join(map(_toml, value))}]" if isinstance(value, list) else json.dumps(value, ensure_ascii=False)


def _said(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value}"


# --------------------------------------------------------------------------- factors


def levels_of(found: Range, whole: bool) -> tuple[Value, ...]:
    """The values of a range: equal steps or equal factors; whole numbers stay whole, and come once.

    >>> levels_of(Range.model_validate({"from": 1, "to": 16, "steps": 5, "scale": "log"}), whole=True)
    (1, 2, 4, 8, 16)
    >>> levels_of(Range.model_validate({"from": 1, "to": 2, "steps": 3}), whole=False)
    (1.0, 1.5, 2.0)
    >>> levels_of(Range.model_validate({"from": 1, "to": 3, "steps": 9}), whole=True)
    (1, 2, 3)
    """
    spaced = np.linspace if found.scale == "linear" else np.geomspace
    values = spaced(found.start, found.to, found.steps or 2).tolist()
    return tuple(dict.fromkeys(_number(value, whole) for value in values))


def _number(value: float, whole: bool) -> Value:
    return round(value) if whole else float(f"{value:.12g}")


def _levels(key: str, said: Any, study: Study, origin: str) -> tuple[Value, ...] | Range:
    """The values of a factor; a range stays one where samples are drawn from all of it."""
    if not isinstance(said, Range):
        return tuple(said)
    if said.steps is not None:
        return levels_of(said, kind_of(key) is int)
    if study.sampling.kind == "grid":
        raise InputError(f"{origin}: factors.{key}: steps is missing: a grid needs a number of values between the two")
    return said


def _first(key: str, said: tuple[Value, ...] | Range) -> Value:
    return levels_of(said, kind_of(key) is int)[0] if isinstance(said, Range) else said[0]


def _refuse_too_many(study: Study, factors: dict[str, Any], origin: str) -> None:
    """Counts the points of a grid before they are made."""
    if study.sampling.kind != "grid":
        return
    sizes = [len(study.sources), *(len(levels) for levels in factors.values())]
    if math.prod(sizes) > POINTS_MAX:
        shown = " x ".join(str(size) for size in sizes if size > 1)
        raise InputError(
            f"{origin}: {shown} = {math.prod(sizes):,} points: at most {POINTS_MAX:,} are allowed; "
            "sampling.kind = 'latin', 'sobol' takes fewer"
        )


def _grid(factors: dict[str, Any]) -> list[dict[str, Value]]:
    return [dict(zip(factors, values, strict=True)) for values in product(*factors.values())]


def _sampled(study: Study, factors: dict[str, Any], origin: str) -> list[dict[str, Value]]:
    """Points of a Latin hypercube or a scrambled Sobol sequence; those that rounding makes equal come once."""
    from scipy.stats import qmc

    if not factors:
        raise InputError(f"{origin}: sampling.kind = '{study.sampling.kind}': nothing to sample: no factors are given")
    count = study.sampling.points or 1
    luck = np.random.default_rng(study.seed)
    if study.sampling.kind == "latin":
        unit = qmc.LatinHypercube(len(factors), seed=luck).random(count)
    else:
        unit = qmc.Sobol(len(factors), seed=luck).random_base2(count.bit_length() - 1)
    points = [
        {key: _at(key, said, share) for (key, said), share in zip(factors.items(), row, strict=True)}
        for row in unit.tolist()
    ]
    return [dict(values) for values in dict.fromkeys(tuple(point.items()) for point in points)]


def _at(key: str, said: tuple[Value, ...] | Range, share: float) -> Value:
    """The value at a share in [0, 1) of a factor; whole numbers get equal parts of it, or on a log scale parts of
    equal factors."""
    if not isinstance(said, Range):
        return said[int(share * len(said))]
    whole = kind_of(key) is int
    low, high = said.start, said.to
    if whole:
        low, high = low - 0.5, high + 0.5
    if said.scale == "log":
        return _number(low * (high / low) ** share, whole)
    return _number(low + share * (high - low), whole)


# --------------------------------------------------------------------------- bases


def _bases(study: Study, folder: Path, origin: str, first: dict[str, Value]) -> dict[str, dict[str, Any]]:
    """The first point of each design, by the design's name."""
    scenarios = [_base(study, folder, origin, source, first) for source in study.sources]
    seed = scenarios[0].seed if study.seed is None else study.seed
    scenarios = [scenario.model_copy(update={"seed": seed}) for scenario in scenarios]
    try:
        same_trace(scenarios)
    except InputError as error:
        said = str(error).replace("one with --workload or --seed", "a workload for all")
        raise InputError(f"{origin}: designs: {said}") from error
    tables = (_anchored(scenario.model_dump(mode="json"), folder) for scenario in scenarios)
    return {scenario.name: table for scenario, table in zip(scenarios, tables, strict=True)}


def _base(study: Study, folder: Path, origin: str, source: str, first: dict[str, Value]) -> Scenario:
    workload = beside(study.workload, folder) or None
    faults = [beside(fault, folder) for fault in study.faults]
    changes = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in first.items()]
    try:
        return load_scenario(beside(source, folder), [*study.set, *changes], workload, faults)
    except InputError as error:
        try:
            load_scenario(beside(source, folder), study.set, workload, faults)
        except InputError as alone:
            raise InputError(f"{origin}: {alone}") from error
        raise InputError(f"{origin}: with {label(first)}: {error}") from error


def _changed(base: dict[str, Any], changes: dict[str, Value]) -> dict[str, Any]:
    """The table with other values of some keys; what is not on their paths is shared."""
    table = dict(base)
    for key, value in changes.items():
        place = table
        *parts, last = key.split(".")
        for part in parts:
            place[part] = dict(place[part])
            place = place[part]
        place[last] = value
    return table


def _anchored(table: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Logs that lie beside the study file, and not here, are found there."""
    return _with_files(table, lambda name: name if Path(name).is_file() else beside(name, folder))


def _relocated(table: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The same files, named from another folder."""
    return _with_files(table, lambda name: os.path.relpath(name, folder) if Path(name).is_file() else name)


def _with_files(table: dict[str, Any], renamed: Callable[[str], str]) -> dict[str, Any]:
    for *parts, key in NAMED_FILES:
        path = ".".join((*parts, key))
        named = _value_at(table, (*parts, key))
        if named:
            table = _changed(table, {path: renamed(named)})
    return table


def _value_at(table: dict[str, Any], path: Sequence[str]) -> str:
    place: Any = table
    for part in path:
        place = place[part]
    return str(place)
