"""Clients of a server that is none of ours: they connect, join, send by a world's own times, and note what comes.

Open-loop, as the player of the twin is: a message is sent when its time has come, whatever has become of those before.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from array import array
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chatsim.live.adapters import Adapter, numbers_in, text_of
from chatsim.live.foreign import Server, comes_true
from chatsim.live.link import SWITCHING, Desk, Link
from chatsim.world.tables import World

READY_WITHIN_S = 20.0
AT_ONCE = 50
SETTLES_S, QUIET_S, QUIET_WITHIN_S = 0.3, 0.2, 5.0
"""After the last join; without a message until all is taken for done; and how long that is waited for."""
RUNS, MESSAGES_MOST = 1_000_000, 1_000_000
"""Each run numbers its messages from another multiple, to tell them from those of runs before it."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Watched:
    """What a server did with a world.

    CPU time of the ``window_s`` that it was watched for; the clients that stood and that ``joined`` meanwhile;
    ``sent_s`` of each message; the ``copies`` that came to others and the ``echoes`` to their senders; latency of each
    copy from the moment of sending; how late the clients were at the 90th percentile.
    """

    cpu_us: float
    window_s: float
    stood: int
    joined: int
    sent_s: Floats
    copies: int
    echoes: int
    latency_ms: Floats
    late_ms: float


class Crowd:
    """The clients of one world."""

    def __init__(self, adapter: Adapter, world: World, server: Server) -> None:
        self.adapter, self.world, self.server = adapter, world, server
        self.desk = Desk()
        self.links: dict[int, Link] = {}
        self.ready: set[int] = set()
        self.lost: list[Link] = []
        self.refused = False
        self.sent_s, self.took_s = array("d"), array("d")
        self.echoes = 0
        self.first = secrets.randbelow(RUNS) * MESSAGES_MOST
        self.origin_s = 0.0
        self.sender = world.messages.session.tolist()
        self.room_of = np.repeat(np.arange(len(world.rooms)), np.diff(world.rooms.start)).tolist()
        self._tasks: set[asyncio.Task[None]] = set()

    async def watched(self) -> Watched:
        """Plays the world. InputError where clients are not taken in, are thrown out, or the server ends."""
        world = self.world
        await self.stand(int((world.sessions.start_s <= 0).sum()))
        stood, before_s = len(self.ready), self.server.cpu_s()
        self.origin_s = time.monotonic()
        await self._play(stood)
        used_s, window_s = self.server.cpu_s() - before_s, time.monotonic() - self.origin_s
        sent_s = np.array(self.sent_s) - self.origin_s
        late_ms = 1000 * (sent_s - world.messages.time_s)
        return Watched(
            1e6 * used_s, window_s, stood, len(self.ready) - stood, sent_s, len(self.took_s), self.echoes,
            1000 * np.array(self.took_s), float(np.percentile(late_ms, 90)) if len(late_ms) else 0.0,
        )  # fmt: skip

    async def stand(self, upto: int) -> None:
        """The first sessions have come and joined, and the server has done what it does about that."""
        for first in range(len(self.links), upto, AT_ONCE):
            await self._come(range(first, min(first + AT_ONCE, upto)))
        await asyncio.sleep(SETTLES_S)

    async def leave(self) -> None:
        """All go, and say so; what is still there after a while is cut off."""
        for task in self._tasks:
            task.cancel()
        for link in self.links.values():
            link.leave()
        await asyncio.sleep(SETTLES_S)
        for link in self.links.values():
            link.abort()

    # ------------------------------------------------------------------ coming

    async def _come(self, sessions: range) -> None:
        """Some sessions connect, and are through."""
        for session in sessions:
            self._connects(session)
        await comes_true(lambda: bool(self.refused or self.lost or self.ready.issuperset(sessions)), READY_WITHIN_S)
        if self.ready.issuperset(sessions) and not self.lost:
            return
        await self._refuse_ended()
        why = "refused" if self.refused or self.lost else f"not taken in within {READY_WITHIN_S:g} s"
        raise self.server.failed(f"a client was {why} at {self.server.address.url} ({self._answered()})")

    def _answered(self) -> str:
        """What the server said to those who are not in."""
        statuses = {link.status for link in self.links.values() if link.number not in self.ready}
        refusing = sorted(statuses - {0, SWITCHING})
        if refusing:
            return f"HTTP status {refusing[-1]}; the path may be wrong"
        return "no WebSocket" if statuses == {0} else "a WebSocket, but it does not speak as this --adapter"

    def _connects(self, session: int) -> None:
        address = self.server.address
        link = Link(session, address.url, "", self._opened, self._heard, self.lost.append, self.desk)
        self.links[session] = link
        task = asyncio.create_task(self._reaches(link))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reaches(self, link: Link) -> None:
        loop, address = asyncio.get_running_loop(), self.server.address
        try:
            await loop.sock_connect(link.socket, (address.host, address.port))
            await loop.create_connection(lambda: link, sock=link.socket)
        except OSError:
            link.socket.close()
            link.left = True
            self.lost.append(link)

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
        numbers = numbers_in(frame)
        for number in (one - self.first for one in numbers):
            if not 0 <= number < len(self.sent_s):
                continue  # of another run, which the server has kept
            if self.sender[number] == link.number:
                self.echoes += 1
            else:
                self.took_s.append(now_s - self.sent_s[number])
        if numbers:
            return
        meant = self.adapter.meaning(frame)
        if meant.reply:
            link.send(meant.reply)
        if meant.ready and link.number not in self.ready:
            self._joins(link)
        self.refused |= meant.refused

    # ------------------------------------------------------------------ playing

    async def _play(self, first: int) -> None:
        """All messages are sent, those who come have come, and what is due to them as well."""
        players = {asyncio.create_task(one) for one in (self._write(), self._follow(first))}
        try:
            left = players
            while left:
                done, left = await asyncio.wait(left, timeout=0.1)
                for player in done:
                    player.result()
                await self._refuse_lost()
            await asyncio.sleep(max(0.0, self.origin_s + self.world.duration_s - time.monotonic()))
            await self._quiet()
            await self._refuse_lost()
        finally:
            for player in players:
                player.cancel()

    async def _write(self) -> None:
        """Each message at its time."""
        messages = self.world.messages
        rows = zip(messages.time_s.tolist(), messages.sender.tolist(), messages.size_bytes.tolist(), strict=True)
        for number, (time_s, user, size_bytes) in enumerate(rows):
            due_s = self.origin_s + time_s
            if due_s > time.monotonic():
                await asyncio.sleep(due_s - time.monotonic())
            frame = self.adapter.sends(self.room_of[user], user, text_of(self.first + number, size_bytes))
            self.sent_s.append(time.monotonic())
            self.links[self.sender[number]].send(frame)

    async def _follow(self, first: int) -> None:
        """Those who come while it goes on."""
        for session in range(first, len(self.world.sessions)):
            due_s = self.origin_s + float(self.world.sessions.start_s[session])
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            self._connects(session)

    async def _quiet(self) -> None:
        """Waits until nothing has come for a while, and all who have come are in."""
        before = -1
        for _ in range(round(QUIET_WITHIN_S / QUIET_S)):
            now = len(self.took_s) + self.echoes + len(self.ready)
            if now == before and len(self.ready) == len(self.links):
                return
            before = now
            await asyncio.sleep(QUIET_S)

    async def _refuse_lost(self) -> None:
        """InputError where the server has ended, or has thrown clients out."""
        if self.lost or self.refused:
            await self._refuse_ended()
            codes = sorted({link.close_code for link in self.lost if link.close_code is not None})
            said = f" with code {codes[0]}" if codes else ""
            many = f"{max(1, len(self.lost)):,} of {len(self.links):,} connections"
            raise self.server.failed(f"it has closed {many}{said} while it was measured")
        if self.server.has_ended:
            await self._refuse_ended()

    async def _refuse_ended(self) -> None:
        if await self.server.ends_now():
            raise self.server.failed(f"has ended with status {self.server.child.returncode} while it was measured")
