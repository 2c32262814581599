"""Clients of a server that is none of ours: they connect, join, send by a world's own times, and note what comes.

Open-loop, as the player of the twin is: a message is sent when its time has come, whatever has become of those before.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chatsim.live.adapters import Adapter, number_in, text_of
from chatsim.live.foreign import Server
from chatsim.live.link import Desk, Link
from chatsim.live.processes import HOST
from chatsim.scenario import InputError
from chatsim.world.tables import World

READY_WITHIN_S = 20.0
AT_ONCE = 50
SETTLES_S, QUIET_S, QUIET_WITHIN_S = 0.3, 0.2, 5.0
"""After the last join; without a message until all is taken for done; and how long that is waited for."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What a server did with a world: CPU time of the window of ``window_s`` that it was watched for, memory with
    ``connections``; how many messages it got, copies it wrote, and clients that came meanwhile; latency of each copy;
    how late the clients were at the 90th percentile."""

    cpu_us: float
    window_s: float
    memory_bytes: float
    connections: int
    received: int
    written: int
    joined: int
    latency_ms: npt.NDArray[np.float64]
    late_ms: float


class Crowd:
    """The clients of one world."""

    def __init__(self, adapter: Adapter, world: World, server: Server) -> None:
        self.adapter, self.world, self.server = adapter, world, server
        self.desk = Desk()
        self.links: dict[int, Link] = {}
        self.ready: set[int] = set()
        self.lost = 0
        self.refused = False
        self.sent_s: dict[int, float] = {}
        self.lag_s, self.took_s = array("d"), array("d")
        self.last_s = 0.0
        self.origin_s = float("inf")
        self.room_of = np.repeat(np.arange(len(world.rooms)), np.diff(world.rooms.start)).tolist()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def watched(self) -> Watched:
        """Plays the world. InputError where clients are not taken in."""
        world = self.world
        standing = np.flatnonzero(world.sessions.start_s <= 0).tolist()
        for first in range(0, len(standing), AT_ONCE):
            await self._come(standing[first : first + AT_ONCE])
        await asyncio.sleep(SETTLES_S)
        memory_bytes = self.server.memory_bytes()
        connections, before_s = len(self.ready), self.server.cpu_s()
        self.origin_s = time.monotonic()
        players = [asyncio.create_task(one) for one in (self._writes(), self._comes(len(standing)))]
        try:
            await asyncio.gather(*players)
            await asyncio.sleep(max(0.0, self.origin_s + world.duration_s - time.monotonic()))
            await self._quiet()
        finally:
            for player in players:
                player.cancel()
        used_s, window_s = self.server.cpu_s() - before_s, time.monotonic() - self.origin_s
        return Watched(
            1e6 * used_s, window_s, memory_bytes, connections, len(self.sent_s), len(self.took_s),
            len(self.ready) - connections, 1000 * np.array(self.took_s),
            float(1000 * np.percentile(self.lag_s, 90)) if len(self.lag_s) else 0.0,
        )  # fmt: skip

    def leave(self) -> None:
        """All connections are ended."""
        for link in self.links.values():
            link.left = True
            link.abort()
        for task in self._tasks:
            task.cancel()

    async def _come(self, sessions: list[int]) -> None:
        """Some sessions connect, and are through."""
        for session in sessions:
            self._connects(session)
        until_s = time.monotonic() + READY_WITHIN_S
        while not self.ready.issuperset(sessions):
            if self.refused or self.lost or time.monotonic() > until_s:
                why = "refused" if self.refused or self.lost else f"not taken in within {READY_WITHIN_S:g} s"
                raise InputError(
                    f"--command '{self.server.command}': a client was {why} at {self.adapter.path}: {self._status()}"
                )
            await asyncio.sleep(0.002)

    def _status(self) -> str:
        """What the server answered to handshakes."""
        found = sorted({link.status for link in self.links.values() if link.number not in self.ready})
        if found and found[-1] not in (0, 101):
            return f"HTTP status {found[-1]}; --path may be wrong"
        return "no WebSocket, or none of this --protocol" if found == [0] else "no answer of this --protocol"

    def _connects(self, session: int) -> None:
        address = f"ws://{HOST}:{self.server.port}{self.adapter.path}"
        link = Link(session, address, "", self._opened, self._heard, self._gone, self.desk)
        self.links[session] = link

        async def connects() -> None:
            try:
                await asyncio.get_running_loop().create_connection(lambda: link, HOST, self.server.port)
            except OSError:
                self.lost += 1

        task = asyncio.create_task(connects())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _opened(self, link: Link) -> None:
        if self.adapter.ready_at_once:
            self._joins(link)

    def _joins(self, link: Link) -> None:
        user = int(self.world.sessions.user[link.number])
        frame = self.adapter.joins(self.room_of[user], user)
        if frame:
            link.send(frame)
        self.ready.add(link.number)

    def _heard(self, link: Link, frame: bytes, now_s: float) -> None:
        number = number_in(frame)
        if number >= 0:
            if number in self.sent_s:
                self.took_s.append(now_s - self.sent_s[number])
                self.last_s = now_s
            return
        meant = self.adapter.meaning(frame)
        if meant.reply:
            link.send(meant.reply)
        if meant.ready and link.number not in self.ready:
            self._joins(link)
        self.refused |= meant.refused

    def _gone(self, link: Link) -> None:
        self.lost += 1
        self.ready.discard(link.number)

    async def _writes(self) -> None:
        """Each message at its time."""
        messages = self.world.messages
        rows = zip(messages.time_s.tolist(), messages.session.tolist(), messages.sender.tolist(), strict=True)
        for number, (time_s, session, user) in enumerate(rows):
            due_s = self.origin_s + time_s
            if due_s > time.monotonic():
                await asyncio.sleep(due_s - time.monotonic())
            self.sent_s[number] = now_s = time.monotonic()
            self.lag_s.append(now_s - due_s)
            text = text_of(number, int(messages.size_bytes[number]))
            self.links[session].send(self.adapter.sends(self.room_of[user], user, text))

    async def _comes(self, first: int) -> None:
        """Those who come while it goes on."""
        for session in range(first, len(self.world.sessions)):
            due_s = self.origin_s + float(self.world.sessions.start_s[session])
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            self._connects(session)

    async def _quiet(self) -> None:
        """Waits until nothing comes any more."""
        until_s = time.monotonic() + QUIET_WITHIN_S
        while time.monotonic() < min(until_s, self.last_s + QUIET_S):
            await asyncio.sleep(0.02)
