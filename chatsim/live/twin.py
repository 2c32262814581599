"""What of a scenario can be lived: which choices the twin knows, and what stands in for what it has not got.

A decision that the twin does not know is refused. What surrounds the decisions is replaced, in the live run and in its
prediction alike: Redis stands in for the database, and a profile of costs says what the twin's own parts cost.
"""

from __future__ import annotations

import ipaddress
import math
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from chatsim.live.pace import stretch
from chatsim.live.processes import hosts
from chatsim.live.steadiness import Unsteady
from chatsim.scenario import InputError, Scenario
from chatsim.scenario.errors import nearest, quoted
from chatsim.scenario.faults import BrokerDown, GatewayCrash
from chatsim.scenario.files import data_folder, read_toml
from chatsim.scenario.load import preset_names, validate

LIVE: dict[str, tuple[Any, ...]] = {
    "design.routing": ("directory", "global", "room", "user"),
    "design.rooms_created": ("before",),
    "design.receipts": (False,),
    "broker.topology": ("single",),
    "broker.delivery": ("pubsub",),
    "broker.history_max": (0,),
    "client.guarantee": ("at_most_once",),
    "network.outbound_policy": ("close", "drop_newest"),
    "network.silent_share": (0.0,),
    "network.slow_share": (0.0,),
    "friend_list.policy": ("none", "recent", "frequent", "frecency"),
    "gateway.shed_above": (0,),
    "balancer.connections_per_s": (0.0,),
    "scaling.start": (0,),
}
"""Keys of which the twin knows only these values."""

COST_PARTS = ("gateway", "broker", "network", "hosts")
LIMITS = ("connections_max", "shed_above", "broker_retry_s", "broker_silence_s")
PROFILE = "live"
STEADY_PACE = Unsteady()


def twin(scenario: Scenario, costs: str = PROFILE) -> tuple[Scenario, list[str]]:
    """A scenario as the twin lives it, with the costs of a profile, and what was replaced: a line of text each.

    ``costs`` names a shipped profile or a TOML file; "" keeps the scenario's own. Raises InputError where the twin does
    not know what is asked for.

    >>> from chatsim.scenario import load_scenario
    >>> lived, replaced = twin(load_scenario("go-chat"), "")
    >>> lived.design.store_in, replaced[0]
    ('broker', "design.store_in = 'broker': Redis stands in for the database")
    """
    _refuse(scenario)
    table = scenario.model_dump(mode="json")
    over: dict[str, dict[str, Any]] = {}
    replaced = []
    design = scenario.design
    if design.store != "never" and design.store_in == "database":
        over["design"] = {"store_in": "broker"}
        replaced.append("design.store_in = 'broker': Redis stands in for the database")
    if design.offline == "push" and scenario.push.return_share:
        over["push"] = {"return_share": 0.0}
        replaced.append("push.return_share = 0: pushes are logged, and bring nobody back")
    if scenario.friend_list.policy != "none":
        over["friend_list"] = {"search_share": 1.0, "other_share": 0.0}
        over["database"] = {"search_us": 0.0}
        replaced.append("friend_list.search_share = 1: who is not listed is written to all the same, at no cost")
    lay_over(table, over)
    if not scenario.hosts:
        table["hosts"] = hosts()
        count = table["hosts"][0]["cores"]
        replaced.append(f"hosts: gateways and Redis share {count} core{'s' * (count > 1)} of this machine")
    if costs:
        lay_over(table, profile(costs, scenario))
        replaced.append(f"costs of the twin: {costs}")
    if scenario.access.policy == "friends":
        _ask_redis(table)
        replaced.append("access.policy = 'friends': Redis is asked, not a database")
    return validate({key: value for key, value in table.items() if value or key not in ("hosts", "faults")}), replaced


def profile(costs: str, scenario: Scenario) -> dict[str, Any]:
    """What a profile of costs says, of the parts that have costs; the limits of the scenario stay.

    >>> from chatsim.scenario import load_scenario
    >>> sorted(profile("python", load_scenario("go-chat")))
    ['gateway']
    """
    path = known_profile(costs)
    said = read_toml(path, costs)
    kept = {part: said[part] for part in COST_PARTS if part in said}
    for key in LIMITS:
        kept.get("gateway", {}).pop(key, None)
    if "hosts" in kept and len(scenario.hosts):
        del kept["hosts"]
    return kept


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine of a profile: the pace at which its costs were measured (NaN: unknown), how unsteady that was, the
    cores that a gateway, and Redis, keep busy where nothing is asked of them, and the share of its cores that is
    ``granted`` to those that want all."""

    probe_us: float = math.nan
    pace: Unsteady = STEADY_PACE
    gateway_idle_cores: float = 0.0
    broker_idle_cores: float = 0.0
    granted: float = 1.0


def machine_of(costs: str) -> Machine:
    """What a profile says of its machine.

    >>> machine_of("python").pace
    Unsteady(share=0.0, factor=1.0, memory_s=1.0)
    """
    said = read_toml(known_profile(costs), costs).get("machine", {})
    names = ("share", "factor", "memory_s")
    pace = Unsteady(**{name: said[f"slow_{name}"] for name in names if f"slow_{name}" in said})
    figures = ("probe_us", "gateway_idle_cores", "broker_idle_cores", "granted")
    own = {name: said[name] for name in figures if name in said}
    return Machine(pace=pace, **own)


def at_pace(scenario: Scenario, slower: float, pace: Unsteady = STEADY_PACE) -> Scenario:
    """A scenario whose gateways and broker take so many times as long for all that they do, in the mean: now more, now
    less, where their machine is not steady.

    >>> from chatsim.scenario import load_scenario
    >>> at_pace(load_scenario("room-channel"), 2.0).broker.tick_us
    22.0
    """
    table = scenario.model_dump(mode="json")
    for part in ("gateway", "broker"):
        costs = table[part]
        costs |= {
            key: slower / pace.mean * us for key, us in costs.items() if key.endswith("_us") and key != "cooling_us"
        }
    if pace.factor > 1.0:
        table["faults"] = [*table["faults"], neighbours(pace)]
    return validate({key: value for key, value in table.items() if value or key not in ("hosts", "faults")})


def neighbours(pace: Unsteady) -> dict[str, Any]:
    """An unsteady machine as a fault: all on it is slow at the same times."""
    return {
        "kind": "slow", "stations": ["gateway-*", "broker-*"], "factor": pace.factor, "at_s": 0.0, "together": True,
        "mtbf_s": pace.memory_s / pace.share, "mttr_s": pace.memory_s / (1.0 - pace.share),
    }  # fmt: skip


def paced(scenario: Scenario, probe_us: float, costs: str) -> tuple[Scenario, list[str]]:
    """A scenario with the costs of a profile, on the cores of a run as fast as these were meanwhile; and what was
    changed. ``costs`` = "own" are those of the scenario, which nobody has brought to a pace."""
    if costs == "own":
        return scenario, []
    machine = machine_of(costs)
    slower = stretch(probe_us, machine.probe_us)
    if slower == 1.0 and machine.pace.factor == 1.0:
        return scenario, []
    said = f"pace: the cores took {slower:.2f} times as long as those of the profile, by their probes"
    return at_pace(scenario, slower, machine.pace), [said]


def known_profile(costs: str) -> Path:
    """The file of a profile; InputError where it is neither shipped nor there.

    >>> known_profile("python").name
    'python.toml'
    """
    path = data_folder() / "costs" / f"{costs}.toml" if costs in preset_names("costs") else Path(costs)
    if not path.suffix or not path.is_file():
        hint = nearest(costs, preset_names("costs"))
        raise InputError(f"--costs '{costs}': neither a file nor a shipped profile{hint}")
    return path


def lay_over(table: dict[str, Any], over: Mapping[str, Any]) -> None:
    """Lays ``over`` on ``table``, part by part. Modifies ``table``."""
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(table.get(key), dict):
            lay_over(table[key], value)
        else:
            table[key] = value


def refuse_remote(
    address: str,
    allowed: bool,
    option: str = "--redis-url",
    schemes: tuple[str, ...] = ("redis", "rediss"),
    form: str = "redis://HOST:PORT/DATABASE",
) -> None:
    """Refuses what is on another machine: a live run is load, and puts what it needs into the Redis that it is given.

    Raises InputError, also where the address is none.

    >>> refuse_remote("redis://127.0.0.1:6379/0", False)
    """
    parts = urlsplit(address)
    if parts.scheme not in schemes or not parts.hostname:
        raise InputError(f"{option} '{address}': the form is {form}")
    if allowed:
        return
    try:
        found = {info[4][0] for info in socket.getaddrinfo(parts.hostname, parts.port or 6379)}
    except OSError as error:
        raise InputError(f"{option} '{address}': no such host as '{parts.hostname}'") from error
    if not all(ipaddress.ip_address(str(host).partition("%")[0]).is_loopback for host in found):
        raise InputError(
            f"{option} '{address}': '{parts.hostname}' is another machine: a live run puts load on it, which needs "
            "--allow-remote"
        )


def _refuse(scenario: Scenario) -> None:
    table = scenario.model_dump()
    for key, known in LIVE.items():
        part, _, name = key.partition(".")
        value = table[part][name]
        if value not in known:
            live = quoted(known) if isinstance(known[0], str) else ", ".join(str(one).lower() for one in known)
            shown = f"'{value}'" if isinstance(value, str) else str(value).lower()
            raise InputError(f"{key} = {shown}: chatsim live does not know it; live are: {live}")
    if scenario.presence.show_to != "none" and scenario.presence.how != "pull":
        raise InputError("presence.how = 'push': chatsim live does not know it; live are: 'pull'")
    for place, fault in enumerate(scenario.faults):
        key, unknown = f"faults.{place}", "chatsim live does not know it; live are"
        if not isinstance(fault, GatewayCrash | BrokerDown):
            raise InputError(f"{key}.kind = '{fault.kind}': {unknown}: 'broker_down', 'gateway_crash'")
        if fault.mtbf_s:
            raise InputError(f"{key}.mtbf_s = {fault.mtbf_s:g}: {unknown}: 0, with given times")
        if isinstance(fault, GatewayCrash) and fault.noticed != "close":
            raise InputError(f"{key}.noticed = '{fault.noticed}': {unknown}: 'close', as processes are killed")


def _ask_redis(table: dict[str, Any]) -> None:
    """The database answers as fast as Redis looks something up."""
    broker, network = table["broker"], table["network"]
    cost_us = broker["lookup_us"] + broker["lookup_user_us"]
    network["database_rtt_ms"] = network["broker_rtt_ms"]
    table["database"] |= {"relation_us": cost_us, "friends_us": cost_us, "friend_us": 0.0, "service": "fixed"}
