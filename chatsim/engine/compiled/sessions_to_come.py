"""Sessions and their clients as they are before they begin: many, and large, and so written block by block."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from chatsim.engine.compiled.state import GROWING, NONE, SESSIONS_AT_ONCE
from chatsim.engine.luck import SYNC, Luck, service_luck
from chatsim.scenario import Scenario
from chatsim.world.orders import blocks
from chatsim.world.shelf import column, put_back, with_room
from chatsim.world.tables import World

Tables = dict[str, npt.NDArray[Any]]
LARGER = 16
"""Sessions may take so many times as much memory as other columns before they lie in a file."""


def place_sessions(tables: Tables, scenario: Scenario, world: World) -> None:
    """Places for the sessions of the trace, which are written as the run comes to them, and for others. Modifies the
    tables."""
    known = len(world.sessions)
    count = known + max(64, known // 8)
    resends = scenario.client.guarantee == "at_least_once"
    tables["sessions"] = column(count, GROWING["sessions"], LARGER)
    tables["clients"] = column(count if resends else 0, GROWING["clients"])
    _write_others(tables, scenario, world, known, count)


def place_more_sessions(tables: Tables, scenario: Scenario, world: World) -> Tables:
    """Half as many sessions and clients again, with those that there are."""
    before = len(tables["sessions"])
    count = before + before // 2 + 1
    more = {name: with_room(tables[name], count if len(tables[name]) else 0) for name in ("sessions", "clients")}
    more["blank_session"] = tables["blank_session"]
    _write_others(more, scenario, world, before, count)
    return more


def write_of_trace(tables: Tables, scenario: Scenario, world: World, luck: Luck, first: int, end: int) -> None:
    """The sessions of the trace from ``first`` to ``end``. Modifies the tables."""
    _write_blanks(tables, scenario, world, first, end)
    own = tables["sessions"][first:end]
    for name in ("user", "start_s", "end_s"):
        own[name] = getattr(world.sessions, name)[first:end]
    own["link_s"] = own["base_s"] = luck.links_s(first, end)
    own["rate"] = own["base_rate"] = luck.rates(first, end)
    own["silent"] = luck.silent(first, end)


def _write_others(tables: Tables, scenario: Scenario, world: World, first: int, end: int) -> None:
    """Of sessions that are not of the trace, from ``first`` to ``end``, should clients come back, what is not written
    when they do. Modifies the tables."""
    for part in blocks(end - first, SESSIONS_AT_ONCE):
        mine = slice(first + part.start, first + part.stop)
        _write_clients_and_luck(tables, scenario, world, mine.start, mine.stop)
        put_back(tables["sessions"][mine], tables["clients"][mine])


def _write_blanks(tables: Tables, scenario: Scenario, world: World, first: int, end: int) -> None:
    """Sessions of nobody, each the first of a client."""
    rows = tables["sessions"][first:end]
    rows.view(np.uint8).reshape(len(rows), -1)[:] = tables["blank_session"].view(np.uint8)
    rows["client"] = rows["current"] = np.arange(first, end)
    _write_clients_and_luck(tables, scenario, world, first, end)


def _write_clients_and_luck(tables: Tables, scenario: Scenario, world: World, first: int, end: int) -> None:
    """That clients wait for nothing, and the luck of what sessions ask for that their users have missed."""
    for name in ("unacked_first", "unacked_last"):
        tables["clients"][first:end][name] = NONE
    if scenario.design.keeps_missed:
        costs = scenario.database if scenario.design.store_in == "database" else scenario.broker
        tables["sessions"][first:end]["sync_luck"] = service_luck(world, costs, SYNC, first, end)
