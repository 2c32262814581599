"""Sessions that are cut, and come back: a world in which a share of those connected has to connect again."""

from __future__ import annotations

import heapq
from dataclasses import replace

import numpy as np

from chatsim.scenario.models import Reconnect
from chatsim.world.draws import Purpose, uniform
from chatsim.world.orders import order_in_time, ordinals
from chatsim.world.sessions import covering_or_next_session
from chatsim.world.tables import Floats, Ints, Longs, SessionTable, World


def with_cuts(world: World, reconnect: Reconnect) -> World:
    """The world in which ``reconnect.share`` of the sessions are cut, as many as that is of those online at ``at_s``.

    The i-th of n cuts is at ``at_s + spread_s * i / n`` and hits a session that is online then and has not been cut,
    drawn at random. It ends there; where it would have gone on for longer than ``away_s``, a session of the same user
    and device starts that much later and runs until the old end (none starts after the run, and none of these is cut).

    Messages keep their times. One that was written in a session after its cut belongs to the sender's session that
    covers it, else to the next one, and where there is none it stays with the session that is gone.
    """
    row, cut_s = _cuts(world, reconnect)
    if not len(row):
        return world
    table = world.sessions
    again_s = cut_s + reconnect.away_s
    back = (again_s < table.end_s[row]) & (again_s < world.duration_s)
    until_s = table.end_s.copy()
    until_s[row] = cut_s
    both = SessionTable(
        np.concatenate([table.user, table.user[row[back]]]), np.concatenate([table.device, table.device[row[back]]]),
        np.concatenate([table.start_s, again_s[back]]), np.concatenate([until_s, table.end_s[row[back]]]),
    )
    order = order_in_time(both.start_s, both.user, both.device)
    sessions = SessionTable(both.user[order], both.device[order], both.start_s[order], both.end_s[order])
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    session = _sessions_of(world, sessions, until_s, place)
    return replace(world, sessions=sessions, messages=replace(world.messages, session=session))


def _sessions_of(world: World, sessions: SessionTable, until_s: Floats, place: Longs) -> Ints:
    """The session of each message, where the old ones end at ``until_s`` and have moved to ``place``."""
    messages = world.messages
    session = place[messages.session]
    late = np.flatnonzero(messages.time_s > until_s[messages.session])
    found = covering_or_next_session(sessions, messages.sender[late], messages.time_s[late])
    session[late] = np.where(found >= 0, found, session[late])
    return session.astype(np.int32)


def _cuts(world: World, reconnect: Reconnect) -> tuple[Longs, Floats]:
    """Rows of the sessions that are cut, and when, in the order of time; before the end of the run."""
    table = world.sessions
    online = (table.start_s < reconnect.at_s) & (table.end_s > reconnect.at_s)
    count = round(reconnect.share * int(online.sum()))
    times = (reconnect.at_s + reconnect.spread_s * np.arange(count) / max(count, 1)).tolist()
    times = [time for time in times if time < world.duration_s]
    if not times:
        return np.empty(0, np.int64), np.empty(0)
    eligible = np.flatnonzero((table.end_s > times[0]) & (table.start_s < times[-1]))
    draws = _draws(world)[eligible].tolist()
    starts, ends = table.start_s[eligible].tolist(), table.end_s[eligible].tolist()
    rows, cut_s = [], []
    waiting: list[tuple[float, int]] = []  # draw, place: those that have started and were neither cut nor seen to end
    started = 0
    for time in times:
        while started < len(starts) and starts[started] < time:
            heapq.heappush(waiting, (draws[started], started))
            started += 1
        while waiting and ends[waiting[0][1]] <= time:
            heapq.heappop(waiting)
        if waiting:
            rows.append(heapq.heappop(waiting)[1])
            cut_s.append(time)
    return eligible[np.array(rows, np.int64)], np.array(cut_s)


def _draws(world: World) -> Floats:
    """One draw per session, keyed by its user and the number of the session among the user's."""
    user = world.sessions.user
    ordinal = ordinals(user, world.users)
    return uniform(world.seed, world.replication, Purpose.CUT_ORDER, user, ordinal)
