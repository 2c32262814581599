"""What matters: which keys of a scenario move a figure most, by Morris screening or Sobol indices (SALib).

Keys vary together over their ranges, evenly, or evenly in their logarithm where a range spans more than a decade. All
points have the same luck. Morris (1991, with Campolongo's mu*): along trajectories one key at a time is moved by two
thirds of its range; mu* is the mean size of what that does to the figure, per whole range, and sigma how much it
depends on where the others are. Sobol: the share of the figure's variance that a key explains alone (first) and with
all its interactions (total).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from chatsim.analysis.columns import Floats
from chatsim.scenario import InputError, Scenario
from chatsim.scenario.errors import nearest, quoted
from chatsim.scenario.files import data_folder
from chatsim.scenario.keys import Kind
from chatsim.scenario.load import validate
from chatsim.study.plan import NOT_FACTORS, kind_of
from chatsim.study.probes import Probe, known_figure, look_at
from chatsim.study.spread import Progress, workers

Method = Literal["morris", "sobol"]
METHODS: tuple[Method, ...] = get_args(Method)
PARTS = ("gateway", "broker", "database", "network")
LEVELS = 4               # of a Morris grid
SAMPLES = {"morris": 10, "sobol": 64}
RUNS_MOST = 100_000
DECADE = 10.0
FIRST_FEW = 5
WEAK = "assumption"
RESAMPLES = 1000         # of the bootstrap that intervals come from
ASSIGNED = re.compile(r"\s*(\w+)\s*=\s*([-+.\w]+)\s*#\s*(\w+)\W*(.*)")


@dataclass(frozen=True, slots=True)
class Key:
    """A key that is varied, between which ends, and what its present value stands on."""

    name: str
    low: float
    high: float
    whole: bool = False
    kind: str = "choice"
    source: str = ""

    @property
    def log(self) -> bool:
        """Whether it varies evenly in its logarithm: over more than a decade."""
        return self.low > 0 and self.high > DECADE * self.low

    def at(self, share: float) -> float:
        """The value at a share of the range, 0 to 1; whole numbers get equal parts of it.

        >>> Key("a", 1.0, 100.0).at(0.5), Key("b", 1.0, 3.0).at(0.5), [Key("c", 1, 2, True).at(x) for x in (0, 0.5, 1)]
        (10.0, 2.0, [1.0, 2.0, 2.0])
        """
        high = self.high + 1 if self.whole else self.high
        value = self.low * (high / self.low) ** share if self.log else self.low + share * (high - self.low)
        # rounding of a logarithm must not lead out of the range, nor to the whole number below
        return float(min(max(math.floor(value * (1 + 1e-12)) if self.whole else value, self.low), self.high))


@dataclass(frozen=True)
class Screened:
    """What moves a figure.

    ``table`` has a row per key, the most important first: place, key, low, high, scale, kind and source of its present
    value; by Morris mu_star, mu_star_half_width, mu (with its sign), sigma, all in the figure's unit per range; by
    Sobol first, first_half_width, total, total_half_width. ``points`` has the keys' values and the figure, by point.
    """

    scenario: Scenario
    figure: str
    method: Method
    table: pd.DataFrame
    points: pd.DataFrame

    @property
    def importance(self) -> str:
        """The column by which keys are ordered."""
        return "mu_star" if self.method == "morris" else "total"

    @property
    def warning(self) -> str:
        """Names every weak default among the first five that move anything; nothing where there is none."""
        first = self.table.head(FIRST_FEW)
        weak = first[(first["kind"] == WEAK) & (first[self.importance] > 0)]
        if weak.empty:
            return ""
        rows = zip(weak["key"], weak["source"], strict=True)
        named = [key + (f" ({source})" if source else "") for key, source in rows]
        return (
            f"Weak: of the first {len(first)} these are assumptions, to be measured before anything is decided: "
            f"{'; '.join(named)}."
        )

    @property
    def sentence(self) -> str:
        """How often the figure was computed, and what it did."""
        values = self.points[self.figure]
        return (
            f"{len(self.points):,} points: {self.figure} between {values.min():.4g} and {values.max():.4g}, median "
            f"{values.median():.4g}."
        )


def screen(
    scenario: Scenario,
    keys: Sequence[Key] = (),
    figure: str = "p99_ms",
    method: str = "morris",
    samples: int = 0,
    replications: int = 1,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Screened:
    """Which keys move a figure of a scenario most; without ``keys`` its assumptions (see :func:`assumptions`).

    ``samples`` is how many Morris trajectories there are, or how many base points of Sobol (a power of 2); 0 takes 10
    or 64. That makes samples x (keys + 1) points, or samples x (keys + 2). A figure is the mean over ``replications``,
    the same ones at all points. Raises InputError, before anything runs, for what cannot be.
    """
    known_figure(figure)
    varied = tuple(keys) or assumptions(scenario)
    chosen, count = _checked(method, samples, varied, replications)
    unit = sampled(len(varied), chosen, count, scenario.seed)
    values = np.array([[key.at(share) for key, share in zip(varied, row, strict=True)] for row in unit.tolist()])
    scenarios = [_with(scenario, varied, row) for row in values.tolist()]
    found = _measured(scenarios, figure, replications, workers(jobs, len(scenarios) * replications), progress)
    table = ordered(varied, analysed(unit, found, chosen, scenario.seed), chosen)
    points = pd.DataFrame(values, columns=[key.name for key in varied]).assign(**{figure: found})
    return Screened(scenario, figure, chosen, table, points)


def screen_function(
    function: Callable[[Floats], float], keys: Sequence[Key], method: Method, samples: int, seed: int = 1
) -> pd.DataFrame:
    """The same for any function of the keys' values: how what is computed here is checked.

    >>> keys = [Key("a", 0.0, 1.0), Key("b", 0.0, 2.0)]
    >>> found = screen_function(lambda x: 3 * x[0] - 5 * x[1], keys, "morris", 4)
    >>> found[["key", "mu", "sigma"]].round(6).values.tolist()
    [['b', -10.0, 0.0], ['a', 3.0, 0.0]]
    """
    unit = sampled(len(keys), method, samples, seed)
    values = np.array([[key.at(share) for key, share in zip(keys, row, strict=True)] for row in unit.tolist()])
    return ordered(keys, analysed(unit, np.array([function(row) for row in values]), method, seed), method)


def sampled(keys: int, method: Method, samples: int, seed: int) -> Floats:
    """Points in the unit cube: Morris trajectories on a grid of four levels, or Saltelli's on a Sobol sequence."""
    problem = _problem(keys)
    if method == "morris":
        from SALib.sample import morris

        unit: Floats = np.asarray(morris.sample(problem, samples, num_levels=LEVELS, seed=_seed(seed)), np.float64)
    else:
        from SALib.sample import sobol

        drawn = sobol.sample(problem, samples, calc_second_order=False, seed=_seed(seed))
        unit = np.asarray(drawn, np.float64)
    return unit


def analysed(unit: Floats, values: npt.ArrayLike, method: Method, seed: int) -> dict[str, Floats]:
    """Indices of each key, from the figure's values at the points. All 0 where the figure never changes.

    Half widths are of 95 % intervals, by the bootstrap.
    """
    found = np.asarray(values, dtype=np.float64)
    keys = unit.shape[1]
    names = ("mu_star", "mu_star_half_width", "mu", "sigma") if method == "morris" else (
        "first", "first_half_width", "total", "total_half_width")  # fmt: skip
    if np.ptp(found) == 0:
        return {name: np.zeros(keys) for name in names}
    problem = _problem(keys)
    if method == "morris":
        from SALib.analyze import morris

        indices = morris.analyze(
            problem, unit, found, num_levels=LEVELS, num_resamples=RESAMPLES, seed=_seed(seed)
        )
        columns = ("mu_star", "mu_star_conf", "mu", "sigma")
    else:
        from SALib.analyze import sobol

        indices = sobol.analyze(
            problem, found, calc_second_order=False, num_resamples=RESAMPLES, seed=_seed(seed)
        )
        columns = ("S1", "S1_conf", "ST", "ST_conf")
    return {name: np.asarray(indices[column], np.float64) for name, column in zip(names, columns, strict=True)}


def ordered(keys: Sequence[Key], indices: dict[str, Floats], method: Method) -> pd.DataFrame:
    """A row per key, the most important first; equal ones in their order."""
    rows = {
        "key": [key.name for key in keys],
        "low": [key.low for key in keys],
        "high": [key.high for key in keys],
        "scale": ["log" if key.log else "linear" for key in keys],
        **indices,
        "kind": [key.kind for key in keys],
        "source": [key.source for key in keys],
    }
    by = "mu_star" if method == "morris" else "total"
    table = pd.DataFrame(rows).sort_values(by, ascending=False, kind="stable", ignore_index=True)
    table.insert(0, "place", np.arange(1, len(table) + 1))
    return table


# --------------------------------------------------------------------------- keys


def asked_keys(texts: Sequence[str], scenario: Scenario) -> tuple[Key, ...]:
    """Keys from their texts, as ``database.insert_us=500:8000``; InputError where one is none, or is no number."""
    keys = [_asked_key(text, scenario) for text in texts]
    twice = next((key.name for place, key in enumerate(keys) if key.name in [k.name for k in keys[:place]]), None)
    if twice is not None:
        raise InputError(f"--key {twice}: stands there twice: once is allowed")
    return tuple(keys)


def assumptions(scenario: Scenario) -> tuple[Key, ...]:
    """The costs of gateway, broker, database and network that are assumptions, each from half to twice its value.

    An assumption is what the schema, or the cost file that a value comes from, calls one. What is 0 is left out, and
    so is a broker that the design does not have; limits of a key are kept.

    >>> [(key.low, key.high) for key in assumptions(Scenario()) if key.name == "database.insert_us"]
    [(1000.0, 4000.0)]
    """
    keys = []
    for name, field, value in _numbers(scenario):
        part, _, _ = name.partition(".")
        if part not in PARTS or value <= 0 or (part == "broker" and not scenario.has_broker):
            continue
        kind, source = stands_on(name, scenario)
        if kind == WEAK or _said(field)[0] == WEAK:
            low, high = _within(field, value / 2, 2 * value)
            whole = isinstance(value, int)
            low, high = (float(max(round(low), 1)), float(round(high))) if whole else (low, high)
            if low < high:
                keys.append(Key(name, low, high, whole, kind, source))
    if not keys:
        raise InputError("--key: nothing of the scenario's costs is an assumption: at least one key is needed")
    return tuple(keys)


def stands_on(name: str, scenario: Scenario) -> tuple[str, str]:
    """What a key's present value stands on: kind and source.

    Of a default the schema knows it; of another value the shipped cost file that has the same. Any other value is the
    scenario's own, a choice.

    >>> from chatsim.scenario import load_scenario
    >>> stands_on("gateway.write_us", Scenario())[0], stands_on("gateway.write_us", load_scenario("phoenix"))[0]
    ('measured', 'assumption')
    """
    field, value = next((field, value) for key, field, value in _numbers(scenario) if key == name)
    if value == field.default:
        return _said(field)
    kind, source = _in_cost_files().get((name, float(value)), ("choice", ""))
    return kind, source


def _asked_key(text: str, scenario: Scenario) -> Key:
    name, equals, ends = (part.strip() for part in text.partition("="))
    low_text, colon, high_text = (part.strip() for part in ends.partition(":"))
    numbers = {key for key, _, _ in _numbers(scenario)} - set(NOT_FACTORS)
    if name not in numbers:
        if name in NOT_FACTORS:
            raise InputError(f"--key {name}: cannot be varied: {NOT_FACTORS[name]}")
        if kind_of(name) is not None:
            raise InputError(f"--key '{text}': '{name}' is no number")
        hint = nearest(name, numbers)
        raise InputError(f"--key '{text}': '{name}' is unknown{hint if 'did you mean' in hint else ''}")
    if not (equals and colon):
        raise InputError(f"--key '{text}': the form is part.key=low:high, such as database.insert_us=500:8000")
    low, high = _number(text, low_text), _number(text, high_text)
    whole = kind_of(name) is int
    if whole and (low != int(low) or high != int(high)):
        raise InputError(f"--key '{text}': whole numbers are needed")
    if not low < high:
        raise InputError(f"--key '{text}': the second number must be larger than the first")
    key = Key(name, low, high, whole, *stands_on(name, scenario))
    for end in (low, high):
        _with(scenario, (key,), [end], f"--key '{text}'")
    return key


def _number(text: str, said: str) -> float:
    try:
        value = float(said)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"--key '{text}': '{said}' is no number; the form is part.key=low:high")
    return value


def _numbers(scenario: Scenario) -> Iterator[tuple[str, FieldInfo, float]]:
    """All numeric keys of a scenario: name, what is said of it, present value."""

    def within(part: BaseModel, path: str) -> Iterator[tuple[str, FieldInfo, float]]:
        for name, field in type(part).model_fields.items():
            value = getattr(part, name)
            if isinstance(value, BaseModel):
                yield from within(value, f"{path}{name}.")
            elif isinstance(value, int | float) and not isinstance(value, bool):
                yield f"{path}{name}", field, value

    return within(scenario, "")


def _said(field: FieldInfo) -> tuple[str, str]:
    extra: Any = field.json_schema_extra or {}
    return str(extra.get("kind", "choice")), str(extra.get("source", ""))


def _within(field: FieldInfo, low: float, high: float) -> tuple[float, float]:
    """A range within what the key allows."""
    for limit in field.metadata:
        for name in ("ge", "gt"):
            low = max(low, float(getattr(limit, name, None) or -math.inf))
        for name in ("le", "lt"):
            most = getattr(limit, name, None)
            high = min(high, math.inf if most is None else float(most))
    return low, high


@cache
def _in_cost_files() -> dict[tuple[str, float], tuple[str, str]]:
    """What the comments of the shipped cost files say of each value: (key, value) -> (kind, source)."""
    found: dict[tuple[str, float], tuple[str, str]] = {}
    for file in sorted((data_folder() / "costs").glob("*.toml")):
        part = ""
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.startswith("["):
                part = line.strip().strip("[]")
            match = ASSIGNED.match(line)
            if match and match[3] in get_args(Kind):
                own = (f"{part}.{match[1]}", float(match[2]))
                if own not in found or match[3] == WEAK:  # of two files that differ the weaker word counts
                    found[own] = (match[3], match[4])
    return found


# --------------------------------------------------------------------------- runs


def _with(scenario: Scenario, keys: Sequence[Key], values: Sequence[float], said: str = "") -> Scenario:
    """The scenario with other values of some keys; InputError, with the values, where that is none."""
    table = scenario.model_dump()
    for key, value in zip(keys, values, strict=True):
        *parts, last = key.name.split(".")
        place = table
        for part in parts:
            place = place[part]
        place[last] = round(value) if key.whole else value
    shown = ", ".join(f"{key.name} = {value:.4g}" for key, value in zip(keys, values, strict=True))
    return validate(table, said or f"with {shown if len(keys) <= 3 else 'keys varied together'}")


def _measured(
    scenarios: Sequence[Scenario], figure: str, replications: int, processes: int, progress: Progress | None
) -> Floats:
    """The figure of each scenario, mean over replications; by replication, so that worlds are made once."""
    probes = [Probe(one, replication) for replication in range(replications) for one in scenarios]
    values: list[float] = []
    for seen in look_at(probes, processes):
        values.append(seen.needed(figure, f"the run of point {len(values) % len(scenarios)}"))
        if progress is not None:
            progress(len(values), len(probes), scenarios[0].name)
    means: Floats = np.array(values).reshape(replications, len(scenarios)).mean(axis=0)
    return means


def _checked(method: str, samples: int, keys: Sequence[Key], replications: int) -> tuple[Method, int]:
    chosen = next((name for name in METHODS if name == method), None)
    if chosen is None:
        hint = nearest(method, METHODS)
        raise InputError(f"--method {method}: allowed: {quoted(METHODS)}{hint if 'did you mean' in hint else ''}")
    count = samples or SAMPLES[chosen]
    option = "--trajectories" if chosen == "morris" else "--samples"
    if count < 2:
        raise InputError(f"{option} {count}: at least 2 are needed")
    if chosen == "sobol" and count & (count - 1):
        raise InputError(f"--samples {count}: a power of 2 is needed, such as {2 ** count.bit_length()}")
    if replications < 1:
        raise InputError(f"--replications {replications}: at least 1 is needed")
    points = count * (len(keys) + (1 if chosen == "morris" else 2))
    if points * replications > RUNS_MOST:
        raise InputError(f"{option} {count}: {points * replications:,} runs: at most {RUNS_MOST:,} are allowed")
    _refuse_without_salib()
    return chosen, count


def _refuse_without_salib() -> None:
    from importlib.util import find_spec

    if find_spec("SALib") is None:
        raise InputError("screen: SALib is not installed: pip install 'chatsim[sensitivity]'")


def _problem(keys: int) -> dict[str, Any]:
    return {"num_vars": keys, "names": [f"x{place}" for place in range(keys)], "bounds": [[0.0, 1.0]] * keys}


def _seed(seed: int) -> int:
    """Within what SALib takes."""
    return seed % 2**32


__all__ = [
    "METHODS",
    "Key",
    "Screened",
    "analysed",
    "asked_keys",
    "assumptions",
    "sampled",
    "screen",
    "screen_function",
    "stands_on",
]
