"""What a scenario may say: its JSON Schema for editors, and a commented starting file, both read off the models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from chatsim.scenario.faults import FAULTS
from chatsim.scenario.files import data_folder, read_toml
from chatsim.scenario.models import Host, Scenario

UNITS = {
    "_usd_per_month": "US dollars per month",
    "_usd_per_gb": "US dollars per GB",
    "_usd_per_million": "US dollars per million",
    "_bytes_per_s": "bytes per s",
    "_per_s": "per s",
    "_per_day": "per day",
    "_s": "s",
    "_ms": "ms",
    "_us": "us",
    "_bytes": "bytes",
    "_hour": "h",
    "_share": "0 to 1",
}
WHOLE_NAME_UNITS = {"per_day": "per day", "bytes_per_s": "bytes per s"}

_HEAD = """\
# A chatsim scenario. Every key is listed with the value it has in {extends}; take the '#' off a line to change it.
# Behind each value: its unit, what it means, and where it comes from. An 'assumption' is a guess.
# Run it: chatsim run {file}
"""


def unit_of(key: str) -> str:
    """The unit that stands last in a key's name (before _median, _mean and _max), or nothing.

    >>> unit_of("client_ms_median"), unit_of("tick_us"), unit_of("cores")
    ('ms', 'us', '')
    """
    stem = key
    for statistic in ("_median", "_mean", "_max"):
        stem = stem.removesuffix(statistic)
    if stem in WHOLE_NAME_UNITS:
        return WHOLE_NAME_UNITS[stem]
    return next((unit for ending, unit in UNITS.items() if stem.endswith(ending)), "")


def json_schema() -> dict[str, Any]:
    """JSON Schema of a scenario file; each key has its ``kind`` and ``source`` beside its default and its unit.

    >>> json_schema()["$defs"]["BrokerCosts"]["properties"]["tick_us"]["kind"]
    'measured'
    """
    schema = Scenario.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        for key, said in model["properties"].items():
            if unit_of(key):
                said["unit"] = unit_of(key)
    bases = {
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        "description": "a shipped design, 'costs/NAME', 'workloads/NAME' or a file beside this one; or a list of these",
    }
    schema["properties"] = {"extends": bases, **schema["properties"]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def starting_file(base: Scenario, extends: str, file: str = "mine.toml") -> str:
    """The text of a scenario file over ``base``, known as ``extends``: every key as a comment, with its value there,
    unit, meaning and source.

    >>> print(starting_file(Scenario(), "go-chat").splitlines()[4])
    name = "mine"
    """
    lines = [_HEAD.format(file=file, extends=extends), f"name = {json.dumps(Path(file).stem)}"]
    lines += [f"extends = {json.dumps(extends)}", *_keys_of(base, extends)]
    lines += list(_parts_of(base, extends, ()))
    lines += [
        "",
        "# Stations that share the cores of one machine; without it each station has cores of its own.",
        "# [[hosts]]",
        *_keys_of(Host(name="machine-1", stations=("gateway-*", "broker-0")), extends),
        "",
        "# What breaks, one part for each fault; or shipped ones by --fault (see 'chatsim designs').",
        *_faults(extends),
    ]
    return "\n".join(lines) + "\n"


def _parts_of(model: BaseModel, base: str, path: tuple[str, ...]) -> Iterator[str]:
    for key, part in model:
        if isinstance(part, BaseModel):
            about = " ".join((type(part).__doc__ or "").split())
            yield from ("", f"# {about}", f"[{'.'.join((*path, key))}]")
            yield from _keys_of(part, base)
            yield from _parts_of(part, base, (*path, key))


def _faults(base: str) -> Iterator[str]:
    """A part for each kind of fault, with its defaults."""
    for kind, model in FAULTS.items():
        yield from ("", f"# {' '.join((model.__doc__ or '').split())}", "# [[faults]]")
        yield from _keys_of(model.model_validate({"kind": kind}), base)


def _keys_of(model: BaseModel, base: str) -> Iterator[str]:
    """One line per key. A scenario's own name is left out, for the file gives it, and so are its hosts and faults."""
    skipped = ("name", "hosts", "faults") if isinstance(model, Scenario) else ()
    for key, value in model:
        if not isinstance(value, BaseModel) and key not in skipped:
            field = type(model).model_fields[key]
            shown = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
            yield f"# {key} = {shown}  # {_meaning(key, field, value, base)}"


def _meaning(key: str, field: FieldInfo, value: object, base: str) -> str:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    unit = f"[{unit_of(key)}] " if unit_of(key) else ""
    origin = ": ".join(str(part) for part in (extra.get("kind"), extra.get("source")) if part)
    if not field.is_required() and value != field.default:
        origin = f"{base}; by default {json.dumps(field.default)}, {origin}"
    return f"{unit}{field.description}{_allowed(field)} ({origin})"


def _allowed(field: FieldInfo) -> str:
    """Choices and limits, as a phrase."""
    if get_origin(field.annotation) is Literal:
        return "; one of " + ", ".join(str(choice) for choice in get_args(field.annotation))
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    limits = [
        f"{sign} {getattr(limit, name):,}"
        for limit in field.metadata
        for name, sign in signs.items()
        if getattr(limit, name, None) is not None
    ]
    return f"; {' and '.join(limits)}" if limits else ""


def about_of(part: str, name: str) -> str:
    """The line that a shipped preset says about itself.

    >>> about_of("workloads", "small").startswith("5,000 users")
    True
    """
    return str(read_toml(data_folder() / part / f"{name}.toml").get("about", ""))
