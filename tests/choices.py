"""The choices that a scenario leaves open, found in its models: what a strategy of random scenarios must reach."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from chatsim.scenario import Scenario
from chatsim.scenario.faults import FAULTS

NONE, SOME = "none", "some"
LEAST, MORE = "the least allowed", "more than the least allowed"


def all_choices() -> list[str]:
    """Each value of a key that has named values or is on or off; of numbers with a least value, this and more; of lists,
    none and some; of faults the same for each kind."""
    found = [f"{key} = {choice}" for key, field in _keys(Scenario) for choice in _choices(field)]
    found += [f"hosts.{key} = {choice}" for key, field in _keys(Scenario.model_fields["hosts"].annotation) for choice in _choices(field)]
    for kind, fault in FAULTS.items():
        found += [f"faults.{kind}.{key} = {choice}" for key, field in _keys(fault) for choice in _choices(field)]
    return found


def choices_of(chosen: Scenario) -> Iterator[str]:
    """Those that a scenario takes."""
    yield from _taken(chosen, "")
    for host in chosen.hosts:
        yield from _taken(host, "hosts.")
    for fault in chosen.faults:
        yield from _taken(fault, f"faults.{fault.kind}.")


def numbers_with_a_least() -> dict[str, Any]:
    """Keys of numbers that have a least value, and that."""
    return {key: field.annotation(_least(field)) for key, field in _keys(Scenario) if _choices(field) == [LEAST, MORE]}  # type: ignore[misc]


def _model(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation means, or the tuple of it."""
    inner = get_args(annotation)[0] if get_origin(annotation) is tuple else annotation
    return inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None


def _keys(annotation: Any, path: str = "") -> Iterator[tuple[str, FieldInfo]]:
    model = _model(annotation)
    assert model is not None
    for key, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys(field.annotation, f"{path}{key}.")
        else:
            yield f"{path}{key}", field


def _choices(field: FieldInfo) -> list[str]:
    if get_origin(field.annotation) is Literal:
        return [str(value) for value in get_args(field.annotation)]
    if field.annotation is bool:
        return ["False", "True"]
    if field.annotation in (int, float) and _least(field) is not None:
        return [LEAST, MORE]
    return [NONE, SOME] if field.default == () else []


def _least(field: FieldInfo) -> Any:
    return next((limit.ge for limit in field.metadata if isinstance(limit, Ge)), None)


def _taken(model: BaseModel, path: str) -> Iterator[str]:
    for key, field in type(model).model_fields.items():
        value = getattr(model, key)
        if isinstance(value, BaseModel):
            yield from _taken(value, f"{path}{key}.")
        elif choices := _choices(field):
            yield f"{path}{key} = {_choice(value, field, choices)}"


def _choice(value: Any, field: FieldInfo, choices: list[str]) -> str:
    if choices == [LEAST, MORE]:
        return LEAST if value == _least(field) else MORE
    return (SOME if value else NONE) if choices == [NONE, SOME] else str(value)
