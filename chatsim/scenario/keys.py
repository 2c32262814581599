"""What the parts of a scenario are made of: frozen models, and keys that say what they mean and whence they come."""

from __future__ import annotations

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
