"""What the parts of a scenario are made of: frozen models, and keys that say what they mean and whence they come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["measured", "published", "derived", "choice", "assumption"]


def of(default: Any, meaning: str, kind: Kind = "choice", source: str = "", **limits: Any) -> Any:
    """A scenario key: its default, what it means, and where the default comes from."""
    return Field(default, description=meaning, json_schema_extra={"kind": kind, "source": source}, **limits)


class Frozen(BaseModel):
    """Base of every part of a scenario: unknown keys refused, numbers finite, nothing changes after validation."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=False
    )

def unlike_default(model: BaseModel, path: str = "") -> Iterator[tuple[str, object]]:
    """The keys of a scenario, or of a part of it, that differ from their defaults, with their values.

    >>> from chatsim.scenario import Scenario
    >>> list(unlike_default(Scenario.model_validate({"seed": 2, "workload": {"users": 7}})))
    [('seed', 2), ('workload.users', 7)]
    """
    for key, value in model:
        field = type(model).model_fields[key]
        if isinstance(value, BaseModel):
            yield from unlike_default(value, f"{path}{key}.")
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            for number, each in enumerate(value):
                yield from unlike_default(each, f"{path}{key}[{number}].")
        elif field.is_required() or value != field.default:
            yield f"{path}{key}", value
