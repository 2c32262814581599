"""What is drawn for each user's pushes while a run goes on: a few of each user's at a time, however many it gets.

A row of ``user_draws`` is one user's. It has a place for each of ``draws_kept`` numbers, taken by turns, with DRAWS
values: the latency of the push of that number, the delay until its user comes back for it, and the link of the
session of that number that a push brings. ``drawn`` and ``linked`` count what has been drawn.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from chatsim.engine.compiled.chat import DELAY, DRAWS, LATENCY, LINK_AGAIN
from chatsim.engine.compiled.state import State, put_table, tables_of
from chatsim.scenario import Scenario
from chatsim.world.draws import Purpose, normal
from chatsim.world.tables import World

Tables = dict[str, npt.NDArray[Any]]
KEPT = 16


def first_draws(tables: Tables, scenario: Scenario, world: World) -> npt.NDArray[np.float64]:
    """The first draws of all users, where pushes are kept. Modifies the tables."""
    if scenario.design.offline != "push":
        return np.zeros((0, 0))
    return _drawn_anew(tables, scenario, world, KEPT)


def more_draws(st: State, scenario: Scenario, world: World) -> None:
    """Draws for all users who have few left; places for more of them, where one has many pushes that are not sent."""
    tables = tables_of(st)
    users, kept = tables["users"], int(tables["asked"][0]["draws_kept"])
    tables["now"][0]["scarce"] = 0
    waiting = int((users["due"] - users["pushes"]).max())
    if 2 * waiting > kept:
        put_table(st, "user_draws", _drawn_anew(tables, scenario, world, 4 * waiting))
        return
    for counted, needed, used in (("drawn", "due", "pushes"), ("linked", "again", "again")):
        few = users[counted] - users[needed] < kept // 2
        until = np.where(few, users[used] + kept, users[counted])
        _draw(tables, tables["user_draws"], scenario, world, counted, until)


def _drawn_anew(tables: Tables, scenario: Scenario, world: World, kept: int) -> npt.NDArray[np.float64]:
    """What is to come of all users, with places for ``kept`` numbers. Modifies the tables."""
    draws, users = np.zeros((world.users, kept * DRAWS)), tables["users"]
    tables["asked"][0]["draws_kept"] = kept
    for counted, used in (("drawn", "pushes"), ("linked", "again")):
        users[counted] = users[used]
        _draw(tables, draws, scenario, world, counted, users[used] + kept)
    return draws


def _draw(
    tables: Tables, draws: npt.NDArray[np.float64], scenario: Scenario, world: World, counted: str,
    until: npt.NDArray[np.integer],
) -> None:
    """Draws each user's numbers from those that are ``counted`` on, ``until`` a number. Modifies tables and draws."""
    asked, network = scenario.push, scenario.network
    before = tables["users"][counted].astype(np.int64)
    count = until - before
    user = np.repeat(np.arange(world.users), count)
    number = np.arange(len(user)) - np.repeat(np.cumsum(count) - count - before, count)
    place = DRAWS * (number % (draws.shape[1] // DRAWS))
    spreads = {
        "drawn": (
            (LATENCY, Purpose.PUSH_LATENCY, asked.latency_s_median, asked.latency_sigma),
            (DELAY, Purpose.RETURN_DELAY, asked.return_s_median, asked.return_sigma),
        ),
        "linked": ((LINK_AGAIN, Purpose.LINK_AGAIN, network.client_ms_median * 1e-3, network.client_sigma),),
    }
    for value, purpose, median, sigma in spreads[counted]:
        drawn = normal(world.seed, world.replication, purpose, user, number).tolist()
        draws[user, place + value] = [median * math.exp(sigma * draw) for draw in drawn]
    tables["users"][counted] = until
