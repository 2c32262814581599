"""One client's connection: the WebSocket protocol of websockets on a bare transport, with the time of each arrival.

There is no task per connection and no queue: what a packet brings is looked at when the packet is there.
"""

from __future__ import annotations

import asyncio
import select
import selectors
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import cast

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

CLOSES_WITHIN_S = 2.0
SWITCHING = 101
SO_TIMESTAMPNS = 35  # of Linux, where Python has no name for it
STAMP = struct.Struct("@qq")
ROOM_FOR_NOTES = socket.CMSG_SPACE(STAMP.size)


class StampedSocket(socket.socket):
    """A socket whose packets come with the time at which the kernel had them, where it can tell (Linux).

    The load client is no part of what is measured: neither are the waits in its own queue.
    """

    came_s = 0.0

    def stamps(self) -> bool:
        """Asks the kernel for the times; whether it gives them."""
        with suppress(OSError):
            self.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            return True
        return False

    def recv(self, size: int, flags: int = 0) -> bytes:
        """As of any socket; ``came_s`` is when the last of it was there, by the monotonic clock."""
        data, notes, _, _ = self.recvmsg(size, ROOM_FOR_NOTES, flags)
        self.came_s = time.monotonic()
        for level, kind, value in notes:
            if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(value) == STAMP.size:
                seconds, nanoseconds = STAMP.unpack(value)
                self.came_s = seconds + 1e-9 * nanoseconds - ahead_s()
        return data


@cache
def ahead_s() -> float:
    """How far the clock of the day, which stamps packets, is ahead of the monotonic one: of many readings of both, that
    between which the least time went by."""
    readings = [(time.monotonic(), time.time(), time.monotonic()) for _ in range(1000)]
    before_s, day_s, after_s = min(readings, key=lambda reading: reading[2] - reading[0])
    return day_s - (before_s + after_s) / 2


class Desk:
    """Packets that have come, each with its time: all that are there at once are noted before one is looked at."""

    def __init__(self) -> None:
        self._come: list[tuple[Link, bytes, float]] = []

    def put(self, link: Link, data: bytes, came_s: float) -> None:
        """A packet has come."""
        if not self._come:
            asyncio.get_running_loop().call_soon(self._look)
        self._come.append((link, data, came_s))

    def now(self, link: Link) -> None:
        """What has come on one connection is looked at now, as it ends."""
        mine = [one for one in self._come if one[0] is link]
        self._come = [one for one in self._come if one[0] is not link]
        for _, data, now_s in mine:
            link.look_at(data, now_s)

    def _look(self) -> None:
        come, self._come = self._come, []
        for link, data, now_s in come:
            link.look_at(data, now_s)


class Link(asyncio.Protocol):
    """A connection of a client.

    ``opened(link)`` is called when the WebSocket is open, ``heard(link, frame, now_s)`` for each frame, and
    ``lost(link)`` when the connection is gone, unless :meth:`leave` was called before. ``status`` is that of the
    handshake, ``close_code`` that with which the other side has closed, None where it has just gone.
    """

    def __init__(
        self,
        number: int,
        address: str,
        token: str,
        opened: Callable[[Link], None],
        heard: Callable[[Link, bytes, float], None],
        lost: Callable[[Link], None],
        desk: Desk,
    ) -> None:
        self.number, self.token, self.desk = number, token, desk
        self.opened, self.heard, self.lost = opened, heard, lost
        self.status = 0
        self.left = self.gone = False
        self.close_code: int | None = None
        self.socket = StampedSocket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self.socket.setblocking(False)
        self.socket.stamps()
        self._protocol = ClientProtocol(parse_uri(address), max_size=None)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        request = self._protocol.connect()
        if self.token:
            request.headers["Authorization"] = f"Bearer {self.token}"
        self._protocol.send_request(request)
        self._flush()

    def data_received(self, data: bytes) -> None:
        self.desk.put(self, data, self.socket.came_s)

    def look_at(self, data: bytes, now_s: float) -> None:
        """Reads what has come at ``now_s``."""
        if self.gone:
            return
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                self.status = event.status_code
                if self.status == SWITCHING and self._protocol.state is State.OPEN and not self.left:
                    self.opened(self)
            elif isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY) and not self.left:
                self.heard(self, bytes(event.data), now_s)
        self._flush()

    def eof_received(self) -> bool:
        asyncio.get_running_loop().call_soon(self._ends)
        return True

    def _ends(self) -> None:
        """The other side has sent its last, and that has been looked at."""
        if not self.gone:
            self._protocol.receive_eof()
            self._flush()
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self.desk.now(self)
        self.gone = True
        received = self._protocol.close_rcvd
        self.close_code = received.code if received is not None else None
        if not self.left:
            self.left = True
            self.lost(self)

    def send(self, frame: bytes) -> None:
        """Sends a text frame now."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_text(frame)
            self._flush()

    def leave(self) -> None:
        """The client goes: it says so, and hears no more."""
        self.left = True
        if self._transport is None or self._transport.is_closing():
            return
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(1000)
            self._flush()
            asyncio.get_running_loop().call_later(CLOSES_WITHIN_S, self.abort)
        else:
            self.abort()

    def abort(self) -> None:
        """Ends the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def _flush(self) -> None:
        assert self._transport is not None
        if self._transport.is_closing():
            return
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)
            elif self._transport.can_write_eof():
                with suppress(OSError):  # the other side was killed
                    self._transport.write_eof()
        if self._protocol.close_expected() and self._protocol.state is State.CLOSED:
            self._transport.close()


class PreciseSelector(selectors.DefaultSelector):
    """A selector that wakes within microseconds of the time asked for; epoll alone rounds up to milliseconds."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0 and hasattr(self, "fileno"):
            select.select([self], [], [], timeout)
            timeout = 0
        return super().select(timeout)


def precise_loop() -> asyncio.AbstractEventLoop:
    """An event loop whose timers are precise."""
    return asyncio.SelectorEventLoop(PreciseSelector())
