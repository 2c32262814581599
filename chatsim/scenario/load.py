"""Scenario files: TOML, ``extends``, ``--set``, and errors in one line."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from chatsim.scenario.errors import InputError, nearest, quoted
from chatsim.scenario.faults import FAULTS
from chatsim.scenario.files import data_folder, read_toml
from chatsim.scenario.models import Scenario

COST_PARTS = ("gateway", "broker", "database", "network", "prices", "hosts")
PARTS = ("designs", "costs", "workloads", "faults")
FAULT_PARTS = ("name", "about", "faults", "client", "balancer")
NAMED_FILES = (("workload", "trace"), ("workload", "trace_sessions"), ("workload", "friends", "file"))


@cache
def preset_names(part: str = "designs") -> tuple[str, ...]:
    """Names of the shipped presets of one part: 'designs', 'costs', 'workloads', 'faults' or 'studies'.

    >>> "go-chat" in preset_names()
    True
    """
    return tuple(sorted(path.stem for path in (data_folder() / part).glob("*.toml")))


def load_scenario(
    source: str | Path,
    sets: Iterable[str] = (),
    workload: str | Path | None = None,
    faults: Iterable[str | Path] = (),
    costs: str | Path | None = None,
) -> Scenario:
    """The scenario in a TOML file, or the shipped design of that name, with ``a.b=c`` changes applied.

    A file may say ``extends = "go-chat"`` (a preset, ``"costs/go"``, ``"workloads/collegemsg"`` or a file beside it;
    or a list of these, later ones winning) and then give only what differs. Logs and edge lists that lie beside the
    file are found there, others from the present folder. ``workload`` names a shipped workload or a file with a
    ``[workload]`` part, which is laid over the scenario's own before the changes. ``faults`` names shipped faults or
    files with [[faults]]: these come behind the scenario's own, and what the files say of ``[client]`` and
    ``[balancer]`` is laid over it. ``costs`` names a shipped profile of costs or a file with one, laid over the
    scenario's own before all others. Raises InputError.

    >>> load_scenario("go-chat", ["design.gateways=8"]).design.gateways
    8
    >>> load_scenario("go-chat", costs="python").gateway.receive_us
    55.0
    >>> [fault.kind for fault in load_scenario("go-chat", faults=["redis-failover-5s", "cold-cache"]).faults]
    ['broker_down', 'cache_emptied']
    """
    origin, table = _table_of(source, sets, workload, faults, costs)
    return validate(table, origin)


def load_variants(
    source: str | Path,
    vary: str | None,
    sets: Iterable[str] = (),
    workload: str | Path | None = None,
    faults: Iterable[str | Path] = (),
    costs: str | Path | None = None,
) -> list[Scenario]:
    """A scenario for each value of one key, ``a.b=c,d``, each named 'design, value'; one alone where none is varied.

    The rest is as in :func:`load_scenario`. Raises InputError.

    >>> [each.name for each in load_variants("hub", "client.reconnect=phoenix,fixed")]
    ['hub, phoenix', 'hub, fixed']
    """
    origin, table = _table_of(source, sets, workload, faults, costs)
    if vary is None:
        return [validate(table, origin)]
    key, equals, text = vary.partition("=")
    values = [value.strip() for value in text.split(",")]
    if not (equals and key.strip() and all(values)):
        raise InputError(
            f"--vary '{vary}': the form is part.key=value,value, such as client.reconnect=phoenix,full_jitter"
        )
    found = []
    for value in values:
        changed = deepcopy(table)
        _set(changed, f"{key}={value}", "--vary")
        found.append(validate({**changed, "name": f"{table['name']}, {value}"}, origin))
    return found


def _table_of(
    source: str | Path,
    sets: Iterable[str],
    workload: str | Path | None,
    faults: Iterable[str | Path],
    costs: str | Path | None,
) -> tuple[str, dict[str, Any]]:
    """The name to give in messages, and all that a scenario says, not yet validated."""
    origin, table = _resolve(str(source), Path.cwd(), ())
    if costs is not None:
        _merge(table, _costs_of(str(costs)))
    if workload is not None:
        _merge(table, _workload_of(str(workload)))
    for fault in faults:
        _strike(table, str(fault))
    for change in sets:
        _set(table, change)
    table.setdefault("name", Path(origin).stem)
    return origin, table


def validate(table: Mapping[str, Any], origin: str = "scenario") -> Scenario:
    """A table as a Scenario; InputError names the first wrong key."""
    try:
        return Scenario.model_validate(dict(table))
    except ValidationError as error:
        raise InputError(f"{origin}: {_sentence(error.errors(include_url=False)[0])}") from error


def to_toml(scenario: Scenario) -> str:
    """The whole scenario as TOML; loading it gives the same scenario."""
    import tomli_w

    table = scenario.model_dump(mode="json")
    for part in ("hosts", "faults"):
        if not table[part]:
            del table[part]
    return tomli_w.dumps(table)


def _resolve(
    source: str, folder: Path, chain: tuple[tuple[Path, str], ...], home: str = "designs"
) -> tuple[str, dict[str, Any]]:
    """The name to give in messages and the table, with everything that it extends laid below."""
    path, label = _find(source, folder, home)
    seen = [link for link, _ in chain]
    if path in seen:
        loop = " -> ".join([*(name for _, name in chain[seen.index(path):]), label])
        raise InputError(f"{chain[-1][1]}: extends = '{source}': the files extend each other in a loop: {loop}")
    own = read_toml(path, label)
    own.pop("machine", None)  # where a profile of costs was measured: no run depends on it
    bases = own.pop("extends", [])
    if isinstance(bases, str):
        bases = [bases]
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise InputError(f"{label}: extends = {bases!r}: a name or a list of names is needed")
    table: dict[str, Any] = {}
    for base in bases:
        _, below = _resolve(base, path.parent, (*chain, (path, label)))
        below.pop("name", None)
        below.pop("about", None)
        _merge(table, below)
    _anchor(own, path.parent)
    _merge(table, own)
    return label, table


def _anchor(own: dict[str, Any], folder: Path) -> None:
    """Files that a scenario file names and that lie beside it are found from anywhere. Modifies ``own``."""
    for *parts, key in NAMED_FILES:
        place: Any = own
        for part in parts:
            place = place.get(part) if isinstance(place, dict) else None
        named = place.get(key) if isinstance(place, dict) else None
        if isinstance(named, str) and named and (folder / named).is_file():
            place[key] = os.path.relpath(folder / named)


def _find(source: str, folder: Path, home: str) -> tuple[Path, str]:
    """The file meant by a preset's name, ``part/name`` or a path, and its name in messages."""
    part, _, name = source.rpartition("/")
    part = part or home
    if part in PARTS and name in preset_names(part):
        return data_folder() / part / f"{name}.toml", source
    path = folder / source
    if path.exists() or path.suffix:
        if not path.exists():
            raise InputError(f"{source}: no such file{nearest(Path(source).stem, preset_names(home))}")
        return path.resolve(), source
    known = preset_names(part if part in PARTS else home)
    raise InputError(f"'{source}': neither a file nor a shipped {home[:-1]}{nearest(name, known)}")


def _workload_of(source: str) -> dict[str, Any]:
    """The ``[workload]`` part of a shipped workload or a file, ready to be laid over a scenario."""
    label, table = _resolve(source, Path.cwd(), (), "workloads")
    others = sorted(set(table) - {"name", "about", "workload"})
    if others:
        raise InputError(
            f"{label}: '{others[0]}': only 'name', 'about', 'extends' and 'workload' are allowed in a workload"
        )
    if not isinstance(table.get("workload"), dict):
        raise InputError(f"{label}: 'workload' is missing: a part [workload] is needed")
    return {"workload": table["workload"]}


def _costs_of(source: str) -> dict[str, Any]:
    """A shipped profile of costs or a file with one, ready to be laid over a scenario."""
    label, table = _resolve(source, Path.cwd(), (), "costs")
    others = sorted(set(table) - {"name", "about", *COST_PARTS})
    if others:
        raise InputError(f"{label}: '{others[0]}': only {quoted(COST_PARTS)} are allowed in a profile of costs")
    return {part: table[part] for part in COST_PARTS if part in table}


def _strike(table: dict[str, Any], source: str) -> None:
    """Lays the faults of a preset or a file over a scenario. Modifies ``table``."""
    path, label = _find(source, Path.cwd(), "faults")
    own = read_toml(path, label)
    others = sorted(set(own) - set(FAULT_PARTS))
    if others:
        raise InputError(f"{label}: '{others[0]}': only {quoted(FAULT_PARTS)} are allowed in a file of faults")
    more = own.get("faults")
    if not isinstance(more, list) or not more:
        raise InputError(f"{label}: 'faults' is missing: a part [[faults]] is needed")
    below = table.get("faults", [])
    if not isinstance(below, list):
        raise InputError(f"faults = {_shown(below)}: a list is needed")
    table["faults"] = [*below, *more]
    _merge(table, {part: own[part] for part in ("client", "balancer") if part in own})


def _merge(table: dict[str, Any], over: Mapping[str, Any]) -> None:
    """Lays ``over`` on ``table``, part by part. Modifies ``table``."""
    for key, value in over.items():
        below = table.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            _merge(below, value)
        else:
            table[key] = value


def _set(table: dict[str, Any], change: str, option: str = "--set") -> None:
    """Applies one ``a.b=c`` of an option. Modifies ``table``."""
    key, equals, text = change.partition("=")
    names = [name.strip() for name in key.split(".")]
    if not equals or not all(names):
        raise InputError(f"{option} '{change}': the form is part.key=value, such as design.gateways=8")
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    place = table
    for name in names[:-1]:
        place = place.setdefault(name, {})
        if not isinstance(place, dict):
            raise InputError(f"{option} '{change}': '{name}' is a value, not a part")
    place[names[-1]] = value


# --------------------------------------------------------------------------- one-line errors


def _sentence(error: ErrorDetails) -> str:
    """What pydantic found wrong, as chatsim says it: key = value: what is allowed."""
    path = [str(step) for step in error["loc"]]
    key = ".".join(step for place, step in enumerate(path) if not _is_kind(path, place))
    value = error.get("input")
    kind = error["type"]
    if kind == "extra_forbidden":
        known = _model_at(path[:-1]).model_fields
        return f"unknown key '{key}'{nearest(path[-1], known)}"
    if kind == "missing":
        return f"'{key}' is missing"
    if kind == "union_tag_not_found":
        return f"'{key}.kind' is missing; allowed: {quoted(FAULTS)}"
    if kind == "union_tag_invalid":
        tag = error["ctx"]["tag"]
        hint = nearest(tag, FAULTS)
        return f"{key}.kind = {_shown(tag)}: allowed: {quoted(FAULTS)}" + (hint if "did you mean" in hint else "")
    if kind == "value_error":
        inside = str(error.get("ctx", {}).get("error", error["msg"]))
        return f"{key}.{inside}" if key else inside
    return f"{key} = {_shown(value)}: {_allowed(error, path)}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _allowed(error: ErrorDetails, path: list[str]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    bounds = {"greater_than_equal": ("ge", "at least {} is needed"), "greater_than": ("gt", "more than {} is needed"),
              "less_than_equal": ("le", "at most {} is allowed"), "less_than": ("lt", "less than {} is allowed")}
    if kind in bounds:
        limit, phrase = bounds[kind]
        return phrase.format(f"{context[limit]:g}" if context[limit] < 1e15 else context[limit])
    if kind == "literal_error":
        choices = _choices_at(path)
        value = error.get("input")
        hint = nearest(value, choices) if isinstance(value, str) else ""
        return f"allowed: {quoted(choices)}" + (hint if "did you mean" in hint else "")
    if kind in ("float_type", "int_type", "float_parsing", "int_parsing", "int_from_float"):
        whole = "a whole number" if "int" in kind else "a number"
        return f"{whole} is needed (the unit stands in the key's name)"
    if kind == "finite_number":
        return "a finite number is needed"
    phrases = {"bool_type": "true or false is needed", "string_type": "a text in quotes is needed",
               "model_type": "a part with keys of its own is needed",
               "model_attributes_type": "a part with keys of its own is needed", "tuple_type": "a list is needed"}
    return phrases.get(kind, error["msg"])


def _model_at(path: list[str]) -> type[BaseModel]:
    """The model that holds the keys at a path."""
    model: type[BaseModel] = Scenario
    for place, step in enumerate(path):
        if step.isdigit():
            continue
        if _is_kind(path, place):
            model = FAULTS[step]
            continue
        found = _model_in(model.model_fields[step].annotation)
        if found is not None:
            model = found
    return model


def _is_kind(path: list[str], place: int) -> bool:
    """Whether a step of a path is the kind of a fault, which pydantic puts behind its number."""
    return place > 0 and path[place - 1].isdigit() and path[place] in FAULTS


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        found = _model_in(inner)
        if found is not None:
            return found
    return None


def _choices_at(path: list[str]) -> tuple[str, ...]:
    annotation = _model_at(path[:-1]).model_fields[path[-1]].annotation
    return tuple(get_args(annotation)) if get_origin(annotation) is Literal else ()
