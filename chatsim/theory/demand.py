"""What a workload asks of the system in its busiest hour: rates, people online, and the audience of a message.

For the behaviour model these are closed forms in numbers that do not grow with the number of users. For a trace they
are counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from chatsim.scenario.models import Groups, Scenario, Workload
from chatsim.theory.fanout import Audience, gateways_touched
from chatsim.world.sessions import DAY_S, length_s_mean, rate_at

if TYPE_CHECKING:
    from chatsim.world.tables import World

Array = npt.NDArray[np.float64]

HOUR_S = 3600.0
GRID_S = 60.0
PAIRS_MAX = 4_000_000
"""Trace: beyond so many (message, recipient) pairs every n-th message of the hour stands for all."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Means over the busiest hour (of the whole run where it is shorter), except ``messages_per_s_mean``, over the run.

    ``fresh_rooms`` and ``fresh_user``: rooms, and the user itself, to which a login's gateway is not subscribed yet;
    ``room_subscriptions``: (room, gateway) pairs with a member online; ``user_subscriptions``: (user, gateway) pairs.
    """

    users: int
    online_users: float
    sessions: float
    logins_per_s: float
    messages_per_s: float
    messages_per_s_mean: float
    message_bytes: float
    audience: Audience
    fresh_rooms: float
    fresh_user: float
    room_subscriptions: float
    user_subscriptions: float


def demand_of(scenario: Scenario) -> Demand:
    """The demand of a scenario. Builds a world only where ``workload.trace`` is given; InputError where it is wrong."""
    if scenario.workload.trace:
        from chatsim.world import build_world

        return demand_of_world(build_world(scenario), scenario)
    return _model_demand(scenario)


# --------------------------------------------------------------------------- the behaviour model


@dataclass(frozen=True, slots=True)
class _Part:
    """A share of all messages whose recipients are ``others`` people, each connected with chance ``online``, and
    ``heard`` people who wrote a moment ago, each connected with chance ``still_on``."""

    weight: Array
    others: Array
    heard: float


def _model_demand(scenario: Scenario) -> Demand:
    workload = scenario.workload
    day = connected_share(workload, np.arange(0.5, 288.0) * DAY_S / 288)
    on_mean, on, rate = _in_run(workload)
    still_on = still_connected_share(workload)
    talk = workload.conversations
    typical = float((day**2).mean() / day.mean())
    openings_per_day = talk.messages_per_day / _messages_per_opening(workload, typical, still_on)
    opening_rate = openings_per_day / (DAY_S * float(day.mean()))
    length = _messages_per_opening(workload, on, still_on)
    places = _Places(scenario, workload.sessions.second_device_share)
    users, twins = workload.users, 1.0 + workload.sessions.second_device_share
    sigma = workload.message_bytes_sigma
    # Sessions that overlap are one, so that a login is a start while the user is away.
    logins = users * rate * (1.0 - on) * twins
    pairs = users * _partners_mean(workload) / 2.0
    sizes, weights = group_sizes(workload.groups, users)
    groups = (workload.groups.per_user * users if users >= 3 else 0.0) / float(weights @ sizes)
    apart = places.missed(on)
    fresh_own = places.fresh_session()
    fresh_rooms = (2.0 * pairs * apart + groups * float(weights * sizes @ apart ** (sizes - 1))) / users
    subscribed = pairs * (1.0 - apart**2) + groups * float(weights @ (1.0 - apart**sizes))
    return Demand(
        users, users * on, users * on * twins, logins, users * opening_rate * length * on,
        users * opening_rate * _messages_per_opening(workload, on_mean, still_on) * on_mean,
        workload.message_bytes_median * math.exp(sigma * sigma / 2.0),
        _model_audience(_parts(workload, on, still_on), on, still_on, places),
        fresh_rooms=fresh_rooms * fresh_own, fresh_user=fresh_own,
        room_subscriptions=places.gateways * subscribed,
        user_subscriptions=users * on * places.held,
    )


def connected_share(workload: Workload, time_s: Array) -> Array:
    """Share of users connected: 1 - exp(-session rate x mean length), each user an M/G/infinity station.

    The rhythm is slow against a session's length, so that each moment is taken as if it lasted.
    """
    share: Array = -np.expm1(-rate_at(workload, time_s) * length_s_mean(workload.sessions))
    return share


def still_connected_share(workload: Workload) -> float:
    """Chance that the rest of a session, from a uniform point of it, outlasts a reply's delay: E[(L - d)+] / E[L]."""
    sessions, talk = workload.sessions, workload.conversations
    sigma = max(sessions.length_sigma, 1e-9)
    z, weight = _normal_grid()
    delay = talk.reply_s_median * np.exp(talk.reply_sigma * z)
    mean = length_s_mean(sessions)
    apart = (math.log(sessions.length_s_median) - np.log(delay)) / sigma
    left = _phi(apart + sigma) - delay / mean * _phi(apart)
    return min(1.0, max(0.0, float(weight @ left)))


@lru_cache(maxsize=64)
def group_sizes(groups: Groups, users: int) -> tuple[Array, Array]:
    """(size, share of all groups): log-normal, whole numbers, from 3 to ``size_max`` and all users."""
    z, weight = _normal_grid()
    most = max(3, min(groups.size_max, users))
    sizes = np.rint(np.clip(groups.size_median * np.exp(groups.size_sigma * z), 3, most))
    found, place = np.unique(sizes, return_inverse=True)
    share: Array = np.bincount(place, weights=weight).astype(np.float64)
    return found, share


def _in_run(workload: Workload) -> tuple[float, float, float]:
    """(share of users connected over the run, the same in its busiest hour, session starts per user and s then)."""
    span = min(workload.duration_s, DAY_S)
    steps = max(1, math.ceil(span / GRID_S))
    time_s = (np.arange(steps) + 0.5) * span / steps
    share, rate = connected_share(workload, time_s), rate_at(workload, time_s)
    window = min(steps, max(1, round(HOUR_S / span * steps)))
    hourly = np.convolve(share, np.full(window, 1.0 / window), "valid")
    first = int(hourly.argmax())
    return float(share.mean()), float(hourly[first]), float(rate[first:first + window].mean())


def _runs(workload: Workload, on: float, still_on: float) -> tuple[float, float, float, float]:
    """Messages per opening: (pair, before the first reply; pair, since; group, before; group, since).

    A message is followed by another with chance q = 1 - 1 / length_mean, if its sender is connected: the same one
    with chance ``still_on``, a silent partner with chance ``on``.
    """
    talk = workload.conversations
    going_on, reply = 1.0 - 1.0 / talk.length_mean, talk.reply_share
    alone = 1.0 / (1.0 - going_on * (1.0 - reply) * still_on)
    pair_since = alone * going_on * reply * on / (1.0 - going_on * still_on)
    sizes, weights = group_sizes(workload.groups, workload.users)
    anyone = float((weights * sizes) @ (1.0 - (1.0 - on) ** (sizes - 1.0)) / (weights @ sizes))
    group = 1.0 / (1.0 - going_on * ((1.0 - reply) * still_on + reply * anyone))
    return alone, pair_since, alone, max(0.0, group - alone)


def _group_openings(workload: Workload) -> float:
    """Share of openings that go to a group: group_share, of those who are in any.

    A member is either the group's seed, drawn from all users, or a friend of it, and so drawn by degree. Memberships
    are therefore Poisson with a mean that grows with the degree, which is log-normal.
    """
    friends, groups = workload.friends, workload.groups
    if workload.users < 3:
        return 0.0
    sizes, weights = group_sizes(groups, workload.users)
    seeds = 1.0 / float(weights @ sizes)
    z, share = _normal_grid()
    variance = 2.0 * math.log(friends.degree_mean / friends.degree_median)
    degree = np.exp(math.sqrt(variance) * z - variance / 2.0)
    in_any = float(share @ -np.expm1(-groups.per_user * (seeds + (1.0 - seeds) * degree)))
    return workload.conversations.group_share * in_any


def _messages_per_opening(workload: Workload, on: float, still_on: float) -> float:
    runs, to_group = _runs(workload, on, still_on), _group_openings(workload)
    return (1.0 - to_group) * (runs[0] + runs[1]) + to_group * (runs[2] + runs[3])


def _parts(workload: Workload, on: float, still_on: float) -> list[_Part]:
    """All messages by kind. A group is met in proportion to its size: its members open its conversations."""
    runs, to_group = _runs(workload, on, still_on), _group_openings(workload)
    total = _messages_per_opening(workload, on, still_on)
    sizes, weights = group_sizes(workload.groups, workload.users)
    biased = weights * sizes / float(weights @ sizes)
    one, none = np.ones(1), np.zeros(1)
    return [
        _Part(one * (1.0 - to_group) * runs[0] / total, one, 0.0),
        _Part(one * (1.0 - to_group) * runs[1] / total, none, 1.0),
        _Part(biased * to_group * runs[2] / total, sizes - 1.0, 0.0),
        _Part(biased * to_group * runs[3] / total, sizes - 2.0, 1.0),
    ]


def _partners_mean(workload: Workload) -> float:
    friends = workload.friends
    return min(workload.conversations.known_partners_mean, friends.degree_mean, workload.users - 1.0)


class _Places:
    """Where sessions lie: chances per user, with ``twin`` the chance that a second device is connected too."""

    def __init__(self, scenario: Scenario, twin: float) -> None:
        self.gateways = scenario.design.gateways
        self.sticky = scenario.design.placement == "sticky"
        self.twin = twin
        self.apart = 1.0 - 1.0 / self.gateways
        self.held = 1.0 if self.sticky else 1.0 + twin * self.apart
        self.missed_online = self.apart if self.sticky else self.apart * (1.0 - twin + twin * self.apart)

    def missed(self, online: float) -> float:
        """Chance that a given gateway holds no session of a user who is connected with chance ``online``."""
        return 1.0 - online + online * self.missed_online

    def fresh_session(self) -> float:
        """Chance that a login is the user's first session on its gateway."""
        second = 0.0 if self.sticky else self.apart
        return (1.0 + self.twin * second) / (1.0 + self.twin)


def _model_audience(parts: list[_Part], on: float, still_on: float, places: _Places) -> Audience:
    recipients = online = missed = 0.0
    for part in parts:
        recipients += float(part.weight @ (part.others + part.heard))
        online += float(part.weight @ (part.others * on + part.heard * still_on))
        missed += float(part.weight @ places.missed(on) ** part.others) * places.missed(still_on) ** part.heard
    return Audience(
        recipients, online, online * (1.0 + places.twin), online * places.held,
        places.gateways * (1.0 - missed), places.gateways * (1.0 - missed * places.missed_online),
    )


@lru_cache(maxsize=1)
def _normal_grid() -> tuple[Array, Array]:
    """Points and weights of the standard normal distribution, equal steps."""
    z = np.linspace(-8.0, 8.0, 1601)
    weight = np.exp(-z * z / 2.0)
    return z, weight / weight.sum()


def _phi(x: Array) -> Array:
    return np.array([0.5 * math.erfc(-value / math.sqrt(2.0)) for value in x.tolist()])


# --------------------------------------------------------------------------- a trace


def demand_of_world(world: World, scenario: Scenario) -> Demand:
    """The demand of a world, counted over its busiest hour: who was connected when each message was written."""
    first_s, end_s = _busiest_hour(world)
    span = end_s - first_s
    sessions = world.sessions
    within = np.minimum(sessions.end_s, end_s) - np.maximum(sessions.start_s, first_s)
    connected_s = np.bincount(sessions.user, weights=np.maximum(within, 0.0), minlength=world.users)
    main = np.bincount(sessions.user, weights=np.maximum(within, 0.0) * (sessions.device == 0), minlength=world.users)
    starts = (sessions.start_s >= first_s) & (sessions.start_s < end_s)
    logins = np.bincount(sessions.user[starts], minlength=world.users).astype(np.float64)
    share = np.minimum(main / span, 1.0)
    twin = max(0.0, float(connected_s.sum()) / max(float(main.sum()), 1e-12) - 1.0)
    places = _Places(scenario, min(1.0, twin))
    rows = np.flatnonzero((world.messages.time_s >= first_s) & (world.messages.time_s < end_s))
    missed = 1.0 - share * (1.0 - places.missed_online)
    room = np.repeat(np.arange(len(world.rooms)), np.diff(world.rooms.start))
    member = world.rooms.member
    with np.errstate(divide="ignore"):
        absent = np.exp(np.bincount(room, weights=np.log(missed[member]), minlength=len(world.rooms)))
    others = np.divide(absent[room], missed[member], out=np.zeros(len(room)), where=missed[member] > 0)
    per_login = float(logins[member] @ others) / max(1.0, float(logins.sum()))
    total = len(world.messages)
    return Demand(
        world.users, float(share.sum()), float(connected_s.sum()) / span, float(logins.sum()) / span, len(rows) / span,
        total / world.duration_s if world.duration_s else 0.0,
        float(world.messages.size_bytes.mean()) if total else 0.0,
        _counted_audience(world, rows, scenario),
        fresh_rooms=per_login * places.fresh_session(), fresh_user=places.fresh_session(),
        room_subscriptions=places.gateways * float((1.0 - absent).sum()),
        user_subscriptions=float(share.sum()) * places.held,
    )


def _busiest_hour(world: World) -> tuple[float, float]:
    """The hour in which most messages were written, at steps of a quarter of an hour; the run where it is shorter."""
    duration = world.duration_s
    if duration <= HOUR_S or not len(world.messages):
        return 0.0, max(duration, 1e-9)
    first = np.arange(0.0, duration - HOUR_S + 1.0, HOUR_S / 4)
    counts = np.searchsorted(world.messages.time_s, first + HOUR_S) - np.searchsorted(world.messages.time_s, first)
    start = float(first[int(counts.argmax())])
    return start, start + HOUR_S


def _counted_audience(world: World, rows: npt.NDArray[np.int64], scenario: Scenario) -> Audience:
    """The audience of the given messages, each recipient's sessions counted at the time of the message."""
    start = world.rooms.start
    size = np.diff(start)[world.messages.room[rows]]
    step = max(1, math.ceil(float(size.sum()) / PAIRS_MAX))
    rows, size = rows[::step], size[::step]
    if not len(rows):
        return Audience(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    pair = np.repeat(np.arange(len(rows)), size)
    first = start[world.messages.room[rows]] - (np.cumsum(size) - size)
    entry = np.arange(len(pair)) + np.repeat(first, size)
    user = world.rooms.member[entry]
    open_now = _sessions_at(world, user, world.messages.time_s[rows][pair])
    is_sender = user == world.messages.sender[rows][pair]
    gateways = scenario.design.gateways
    sticky = scenario.design.placement == "sticky"
    places = np.minimum(open_now, 1.0) if sticky else open_now
    held = np.asarray(gateways_touched(gateways, places))
    mean = 1.0 / len(rows)
    others = ~is_sender
    room_places = np.bincount(pair, weights=places, minlength=len(rows)).astype(np.float64)
    their_places = np.bincount(pair, weights=places * others, minlength=len(rows)).astype(np.float64)
    return Audience(
        float(others.sum()) * mean, float((open_now[others] > 0).sum()) * mean, float(open_now[others].sum()) * mean,
        float(held[others].sum()) * mean, float(np.mean(gateways_touched(gateways, their_places))),
        float(np.mean(gateways_touched(gateways, room_places))),
    )


def _sessions_at(world: World, user: npt.NDArray[np.int32], time_s: Array) -> Array:
    """How many sessions each user has at each time: starts until then less ends until then."""
    def until(moments: Array) -> npt.NDArray[np.int64]:
        ordered = np.sort(moments)
        width = len(moments) + 1
        keys = np.sort(world.sessions.user.astype(np.int64) * width + np.searchsorted(ordered, moments, side="right"))
        wanted = user.astype(np.int64) * width + np.searchsorted(ordered, time_s, side="right")
        return np.searchsorted(keys, wanted, side="right")

    return (until(world.sessions.start_s) - until(world.sessions.end_s)).astype(np.float64)
