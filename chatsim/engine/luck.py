"""The draws of a run, made ahead in arrays and keyed by what they are for, so that every engine has the same luck."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import numpy.typing as npt

from chatsim.scenario import Scenario
from chatsim.scenario.models import StationCosts
from chatsim.world.draws import Purpose, exponential, normal, uniform
from chatsim.world.tables import World

BLOCK = 512
BLOCKS_KEPT = 8
AHEAD = 16
RECEIVE, PUBLISH, STORE, SYNC = range(4)
PUSH = 16


class Luck:
    """Delays of links and service of stations.

    ``link_s[session]`` is the one-way delay of a session's link, ``uplink[message]`` and ``downlink(message)`` the
    factors by which single packets differ from it (position: the recipient's place in the room), and
    ``service(...)`` the factors of a message's items at a station.
    """

    def __init__(self, scenario: Scenario, world: World) -> None:
        network = scenario.network
        self._seed, self._replication = world.seed, world.replication
        self._jitter_sigma = network.jitter_sigma
        self._start = world.rooms.start
        self._room = world.messages.room
        self._sessions, self._messages = len(world.sessions), len(world.messages)
        self._drawn: dict[tuple[Purpose, int, int], list[float]] = {}
        self._network = network
        self._again: dict[int, int] = {}
        self._users = world.users
        self._of_users: dict[tuple[Purpose, int], npt.NDArray[np.float64]] = {}
        self._blocks: dict[int, tuple[list[float], list[int]]] = {}
        self._service: dict[tuple[int, int], list[float]] = {}

    @cached_property
    def link_s(self) -> list[float]:
        """The one-way delay of each session's link."""
        found: list[float] = self.links_s(0, self._sessions).tolist()
        return found

    @cached_property
    def uplink(self) -> list[float]:
        """By what the delay of each message on its way up differs from that of its link."""
        found: list[float] = self.uplinks(0, self._messages).tolist()
        return found

    @cached_property
    def _silent(self) -> list[bool]:
        found: list[bool] = self.silent(0, self._sessions).tolist()
        return found

    @cached_property
    def _rate(self) -> list[float]:
        found: list[float] = self.rates(0, self._sessions).tolist()
        return found

    def links_s(self, first: int, end: int) -> npt.NDArray[np.float64]:
        """``link_s`` of the sessions from ``first`` to ``end``."""
        spread = normal(self._seed, self._replication, Purpose.LINK, np.arange(first, end), 0)
        links_s: npt.NDArray[np.float64] = np.exp(self._network.client_sigma * spread)
        return self._network.client_ms_median * 1e-3 * links_s

    def uplinks(self, first: int, end: int) -> npt.NDArray[np.float64]:
        """``uplink`` of the messages from ``first`` to ``end``."""
        drawn = normal(self._seed, self._replication, Purpose.UPLINK, np.arange(first, end), 0)
        uplinks: npt.NDArray[np.float64] = np.exp(self._jitter_sigma * drawn)
        return uplinks

    def silent(self, first: int, end: int) -> npt.NDArray[np.bool_]:
        """Which of the sessions from ``first`` to ``end`` vanish without a word."""
        if not self._network.silent_share:
            return np.zeros(end - first, bool)
        drawn = uniform(self._seed, self._replication, Purpose.SILENT, np.arange(first, end), 0)
        return drawn < self._network.silent_share

    def rates(self, first: int, end: int) -> npt.NDArray[np.float64]:
        """Bytes per s at which the sessions from ``first`` to ``end`` drain their outbound queues."""
        network = self._network
        if not network.slow_share:
            return np.full(end - first, network.downlink_bytes_per_s)
        drawn = uniform(self._seed, self._replication, Purpose.SLOW_LINK, np.arange(first, end), 0)
        return np.where(drawn < network.slow_share, network.slow_bytes_per_s, network.downlink_bytes_per_s)

    def downlink(self, message: int) -> tuple[list[float], int]:
        """The factors of a message's packets and the offset at which those of this message begin."""
        block, place = divmod(message, BLOCK)
        drawn = self._blocks.get(block)
        if drawn is None:
            drawn = self._draw(block)
        return drawn[0], drawn[1][place]

    def is_silent(self, session: int) -> bool:
        """Whether a session vanishes without a word; one that a push has brought never does."""
        return session < self._sessions and self._silent[session]

    def rate(self, session: int) -> float:
        """Bytes per s at which a session drains its outbound queue; one that a push has brought is never slow."""
        return self._rate[session] if session < self._sessions else self._network.downlink_bytes_per_s

    def pause(self, user: int, number: int) -> float:
        """Uniform, for the ``number``-th time that one of a user's clients tries again."""
        return self._one(Purpose.RECONNECT, user, number)

    def losses(self, link: int, packet: int, share: float) -> int:
        """How often a packet is lost in a row on a kind of link."""
        return math.floor(math.log(self._one(Purpose.LOSS, link, packet)) / math.log(share))

    def is_slow(self, user: int, share: float) -> bool:
        """Whether a user is among the share of users whose links a fault slows."""
        return self._one(Purpose.SLOW_USER, user, 0) < share

    def link_again_s(self, user: int) -> float:
        """The one-way delay of the next session of a user that the trace does not have."""
        number = self._again.get(user, 0)
        self._again[user] = number + 1
        spread = self.of_user(Purpose.LINK_AGAIN, user, number)
        return self._network.client_ms_median * 1e-3 * math.exp(self._network.client_sigma * spread)

    def of_user(self, purpose: Purpose, user: int, number: int) -> float:
        """What is drawn for the ``number``-th time something happens to a user: uniform for RETURN, else normal."""
        drawn = self._of_users.get((purpose, number))
        if drawn is None:
            users = np.arange(self._users)
            draw = uniform if purpose == Purpose.RETURN else normal
            drawn = self._of_users[purpose, number] = draw(self._seed, self._replication, purpose, users, number)
        return float(drawn[user])

    def service(self, purpose: int, entity: int) -> float:
        """An exponential factor of mean 1 for what one message (or one login) costs at a tier."""
        block, place = divmod(entity, BLOCK)
        key = (purpose, block)
        factors = self._service.get(key)
        if factors is None:
            entities = np.arange(block * BLOCK, (block + 1) * BLOCK)
            factors = exponential(self._seed, self._replication, Purpose.SERVICE, entities, purpose).tolist()
            self._service[key] = factors
        return factors[place]

    def _one(self, purpose: Purpose, entity: int, number: int) -> float:
        """One uniform draw; they are made a few ahead."""
        block, place = divmod(number, AHEAD)
        drawn = self._drawn.get((purpose, entity, block))
        if drawn is None:
            numbers = np.arange(block * AHEAD, (block + 1) * AHEAD)
            drawn = uniform(self._seed, self._replication, purpose, entity, numbers).tolist()
            self._drawn[purpose, entity, block] = drawn
        return drawn[place]

    def _draw(self, block: int) -> tuple[list[float], list[int]]:
        """The factors of one block of messages and their offsets; blocks come nearly in order, so few are kept."""
        factors, offsets = self.downlinks(block * BLOCK, (block + 1) * BLOCK)
        if len(self._blocks) == BLOCKS_KEPT:
            del self._blocks[next(iter(self._blocks))]
        self._blocks[block] = factors.tolist(), offsets.tolist()
        return self._blocks[block]

    def downlinks(self, first: int, end: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """The factors of the packets of the messages from ``first`` to ``end``, one message after the other, and where
        those of each message begin."""
        messages = np.arange(first, min(end, self._messages))
        rooms = self._room[messages]
        sizes = self._start[rooms + 1] - self._start[rooms]
        ends = np.cumsum(sizes)
        offsets = ends - sizes
        positions = np.arange(ends[-1]) - np.repeat(offsets, sizes)
        drawn = normal(self._seed, self._replication, Purpose.DOWNLINK, np.repeat(messages, sizes), positions)
        drawn *= self._jitter_sigma
        return np.exp(drawn, out=drawn), offsets


def service_luck(world: World, costs: StationCosts, purpose: int, first: int, end: int) -> npt.NDArray[np.float64]:
    """The luck of the items of the messages, or sessions, from ``first`` to ``end`` at a tier."""
    if costs.service != "exponential":
        return np.ones(end - first)
    return exponential(world.seed, world.replication, Purpose.SERVICE, np.arange(first, end), purpose)
