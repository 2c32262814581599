"""Study files: which designs, over which factors, how often, and what must hold. TOML, validated like scenarios."""

from __future__ import annotations

import os
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Strict, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from chatsim.analysis.slos import Slo
from chatsim.scenario import InputError
from chatsim.scenario.errors import nearest
from chatsim.scenario.files import read_toml
from chatsim.scenario.keys import Frozen, of
from chatsim.scenario.load import NAMED_FILES
from chatsim.scenario.models import Scenario
from chatsim.scenario.prices import Prices
from chatsim.study.figures import known_figures, nearest_figure

Value = bool | int | float | str
NAMES = Annotated[tuple[str, ...], Strict(False)]
NOT_FACTORS = {
    "name": "a point has the name of its design",
    "about": "a point has the text of its design",
    "seed": "replications have luck of their own already; 'seed' of the study sets it for all",
    "faults": "faults = [...] of the study are those of all points; or they belong into a design's own file",
    "hosts": "hosts belong into a design's own file",
    **{f"prices.{key}": "no run depends on prices: cost comes of them afterwards" for key in Prices.model_fields},
    **{".".join(key): "a log belongs into the base, one for all points" for key in NAMED_FILES},
}


class Range(Frozen):
    """Values of a factor between two ends."""

    model_config = ConfigDict(populate_by_name=True)

    start: float = of(..., "the least value", alias="from")
    to: float = of(..., "the largest value")
    steps: int | None = of(
        None, "how many values, the ends among them; samples of sobol and latin need none", ge=2, le=10_000
    )
    scale: Literal["linear", "log"] = of("linear", "equal steps, or equal factors")

    @model_validator(mode="after")
    def _ends_fit(self) -> Self:
        if self.to <= self.start:
            raise ValueError(f"to = {self.to:g}: more than from = {self.start:g} is needed")
        if self.scale == "log" and self.start <= 0:
            raise ValueError(f"from = {self.start:g}: scale = 'log' needs more than 0")
        return self


class Sampling(Frozen):
    """How points are chosen among the values of the factors."""

    kind: Literal["grid", "latin", "sobol"] = of(
        "grid", "all combinations, a Latin hypercube, or a scrambled Sobol sequence"
    )
    points: int | None = of(None, "how many points; a grid has them all", ge=1, le=100_000)

    @model_validator(mode="after")
    def _points_fit(self) -> Self:
        if self.kind == "grid" and self.points is not None:
            raise ValueError(f"points = {self.points}: a grid has all combinations; kind = 'latin', 'sobol' is allowed")
        if self.kind != "grid" and self.points is None:
            raise ValueError(f"points is missing: kind = '{self.kind}' needs a number")
        if self.kind == "sobol" and self.points is not None and self.points & (self.points - 1):
            better = 2 ** self.points.bit_length()
            raise ValueError(f"points = {self.points}: sobol needs a power of 2, such as {better}")
        return self


class Precision(Frozen):
    """Goes on with a point until its interval is narrow enough."""

    figure: str = of("p99_ms", "the figure that must be known well")
    relative: float = of(0.05, "half width of its 95 % interval, as a share of its mean", gt=0, lt=1)
    replications_max: int = of(100, "most replications of a point", ge=2, le=100_000)

    @field_validator("figure")
    @classmethod
    def _known(cls, figure: str) -> str:
        if figure not in known_figures():
            raise ValueError(f"'{figure}' is no figure{nearest_figure(figure)}")
        return figure


class Study(Frozen):
    """A study: design points x replications, and what must hold."""

    name: str = of("study", "name of the study, and of its folder in results/", min_length=1, max_length=80)
    about: str = of("", "one line on what it is")
    question: str = of("", "what a reviewer asks, which the report begins with", max_length=400)
    reading: str = of("", "how to read what comes of it: what drives it, and what to look at")
    base: str = of("", "the design under study: a shipped one or a file")
    designs: NAMES = of((), "several designs, which are a factor of the name 'design'")
    workload: str = of("", "a shipped workload or a file, laid over each design's own")
    faults: NAMES = of((), "shipped faults or files, for all points")
    set: NAMES = of((), "changes for all points, such as 'workload.users=10000'")
    seed: int | None = of(None, "seed of all draws; by default the first design's", ge=0, lt=2**64)
    replications: int = of(5, "runs of each point, each with luck of its own that all points share", ge=1, le=100_000)
    factors: dict[str, Any] = of({}, "keys of scenarios, with a list of values or a range")
    sampling: Sampling = Sampling()
    precision: Precision | None = of(None, "more replications until a figure is known well")
    slos: NAMES = of((), "what must hold at each point, such as 'p99_ms < 200'")
    keep: Literal["figures", "raw"] = of("figures", "a run's figures alone, or also the tables of all that happened")

    @model_validator(mode="after")
    def _base_given(self) -> Self:
        if self.base and self.designs:
            raise ValueError(f"base = '{self.base}': designs are given too: one of the two is needed")
        if not self.base and not self.designs:
            raise ValueError("base is missing: a design or a file, or designs = [...] for several")
        return self

    @model_validator(mode="after")
    def _precision_fits(self) -> Self:
        wanted = self.precision
        if wanted is not None and wanted.replications_max < self.replications:
            raise ValueError(
                f"precision.replications_max = {wanted.replications_max}: at least replications = "
                f"{self.replications} is needed"
            )
        return self

    @field_validator("slos")
    @classmethod
    def _slos_read(cls, slos: tuple[str, ...]) -> tuple[str, ...]:
        for text in slos:
            _slo(text)
        return slos

    @property
    def sources(self) -> tuple[str, ...]:
        """Where its designs come from."""
        return self.designs or (self.base,)

    def objectives(self) -> tuple[Slo, ...]:
        """The SLOs, read."""
        return tuple(_slo(text) for text in self.slos)


def load_study(path: str | Path, said: str = "") -> Study:
    """The study in a TOML file, which messages call ``said``. Raises InputError, in one line."""
    label = said or str(path)
    return study_of(read_toml(Path(path), label), label)


def study_of(table: Mapping[str, Any], origin: str = "study") -> Study:
    """A table as a Study; InputError names the first wrong key.

    >>> study_of({"base": "hub", "replicatons": 3})
    Traceback (most recent call last):
    chatsim.scenario.errors.InputError: study: unknown key 'replicatons'; did you mean 'replications'?
    """
    try:
        study = Study.model_validate({"name": Path(origin).stem, **table})
        return study.model_copy(update={"factors": dict(_factors(study.factors))})
    except ValidationError as error:
        raise InputError(f"{origin}: {_sentence(error.errors(include_url=False)[0], Study)}") from error
    except InputError as error:
        raise InputError(f"{origin}: {error}") from error


def kind_of(key: str) -> type | None:
    """The type of the values of a scenario's key: bool, int, float or str; None where there is no such key.

    >>> kind_of("design.gateways"), kind_of("network.broker_rtt_ms"), kind_of("design.gatways")
    (<class 'int'>, <class 'float'>, None)
    """
    model: Any = Scenario
    for name in key.split("."):
        if not (isinstance(model, type) and issubclass(model, BaseModel)) or name not in model.model_fields:
            return None
        model = model.model_fields[name].annotation
    if get_origin(model) is Literal:
        return str
    return model if model in (bool, int, float, str) else None


def beside(source: str, folder: Path) -> str:
    """A file that lies in the folder, as it is found from here; anything else unchanged."""
    return os.path.relpath(folder / source) if source and (folder / source).is_file() else source


# --------------------------------------------------------------------------- factors


def _factors(table: Mapping[str, Any], path: str = "") -> list[tuple[str, Any]]:
    """Keys with their lists or ranges; a.b = [1] without quotes, which TOML takes for parts, is read too."""
    found: list[tuple[str, Any]] = []
    for name, said in table.items():
        key = f"{path}{name}"
        if isinstance(said, dict) and not {"from", "to", "steps", "scale"} & set(said):
            found += _factors(said, f"{key}.")
            continue
        if key in NOT_FACTORS:
            raise InputError(f"factors.{key}: cannot be varied: {NOT_FACTORS[key]}")
        found.append((key, _range(key, said) if isinstance(said, dict) else _list(key, said)))
    return found


def _range(key: str, said: dict[str, Any]) -> Range:
    try:
        found = Range.model_validate(said)
    except ValidationError as error:
        raise InputError(f"factors.{key}: {_sentence(error.errors(include_url=False)[0], Range)}") from error
    kind = kind_of(key)
    if kind in (bool, str):
        raise InputError(f"factors.{key} = {said!r}: a list of values is needed, as they are no numbers")
    ends = {"from": found.start, "to": found.to}
    for end, value in ends.items():
        if kind is int and value != int(value):
            raise InputError(f"factors.{key}: {end} = {value}: a whole number is needed")
    return found


def _list(key: str, said: Any) -> tuple[Value, ...]:
    if not isinstance(said, list | tuple) or not said:
        raise InputError(f"factors.{key} = {said!r}: a list of values is needed, or {{from = 1, to = 9, steps = 5}}")
    for value in said:
        if not isinstance(value, Value):
            raise InputError(f"factors.{key}: {value!r}: a number, a text, true or false is needed")
    twice = next((value for place, value in enumerate(said) if value in said[:place]), None)
    if twice is not None:
        raise InputError(f"factors.{key}: {twice!r} stands there twice: once is allowed")
    return tuple(said)


def _slo(text: str) -> Slo:
    """ValueError where it is none."""
    try:
        slo = Slo.parse(text)
    except InputError as error:
        raise ValueError(str(error)) from error
    if slo.figure not in known_figures():
        raise ValueError(f"slo = '{text}': '{slo.figure}' is no figure{nearest_figure(slo.figure)}")
    return slo


# --------------------------------------------------------------------------- one-line errors


def _sentence(error: ErrorDetails, model: type[BaseModel]) -> str:
    """What pydantic found wrong, as chatsim says it: key = value: what is allowed."""
    path = [str(step) for step in error["loc"]]
    key = ".".join(path)
    if error["type"] == "extra_forbidden":
        known = [field.alias or name for name, field in _model_at(path[:-1], model).model_fields.items()]
        return f"unknown key '{key}'{nearest(path[-1], known)}"
    if error["type"] == "missing":
        return f"'{key}' is missing"
    if error["type"] == "value_error":
        inside = str(error.get("ctx", {}).get("error", error["msg"]))
        return f"{key}{'.' if _names_a_key(inside, path, model) else ': '}{inside}" if key else inside
    shown = repr(error.get("input"))
    return f"{key} = {shown if len(shown) <= 60 else shown[:57] + '...'}: {_allowed(error)}"


def _names_a_key(sentence: str, path: list[str], model: type[BaseModel]) -> bool:
    """Whether it begins with a key of the part that the path leads to."""
    fields = _model_at(path, model).model_fields
    return sentence.split(maxsplit=1)[0] in {field.alias or name for name, field in fields.items()}


def _allowed(error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    bounds = {"greater_than_equal": ("ge", "at least {} is needed"), "greater_than": ("gt", "more than {} is needed"),
              "less_than_equal": ("le", "at most {} is allowed"), "less_than": ("lt", "less than {} is allowed")}
    if kind in bounds:
        limit, phrase = bounds[kind]
        return phrase.format(f"{context[limit]:,}".removesuffix(".0"))
    if kind == "literal_error":
        return f"allowed: {str(context['expected']).replace(' or ', ', ')}"
    phrases = {"int_type": "a whole number is needed", "float_type": "a number is needed",
               "finite_number": "a finite number is needed", "string_type": "a text in quotes is needed",
               "tuple_type": "a list is needed", "dict_type": "a part with keys of its own is needed",
               "model_type": "a part with keys of its own is needed", "string_too_short": "a text is needed",
               "int_from_float": "a whole number is needed"}
    return phrases.get(kind, error["msg"])


def _model_at(path: list[str], model: type[BaseModel]) -> type[BaseModel]:
    """The model that holds the keys at a path."""
    for step in path:
        inner = [part for part in _parts(model.model_fields[step].annotation) if issubclass(part, BaseModel)]
        model = inner[0] if inner else model
    return model


def _parts(annotation: Any) -> list[type]:
    if get_origin(annotation) in (Union, types.UnionType):
        return [part for part in get_args(annotation) if isinstance(part, type)]
    return [annotation] if isinstance(annotation, type) else []


__all__ = ["Precision", "Range", "Sampling", "Study", "Value", "beside", "kind_of", "load_study", "study_of"]
