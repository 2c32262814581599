"""Connections of a gateway to Redis: commands in a pipeline, and subscriptions that are made again when it is back.

All that is written in one turn of the event loop leaves in one packet, as the model has it; nobody waits for a reply
before the next command is written. Encoding, parsing and authentication are redis-py's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from redis.asyncio import Connection
from redis.exceptions import RedisError, ResponseError

Then = Callable[[Any], None]
Word = str | bytes | int | float


class AwayError(Exception):
    """Redis is not there, or was gone before it answered."""


class Line:
    """One connection. While it is away it is tried again every ``retry_s``.

    ``on_up`` is called, before anybody else writes, when a connection is made; ``on_down`` when one is lost.
    """

    def __init__(self, where: dict[str, Any], retry_s: float, on_up: Callable[[], None], on_down: Callable[[], None]):
        self.where, self.retry_s, self.on_up, self.on_down = where, retry_s, on_up, on_down
        self.is_up = False
        self._out: list[bytes] = []
        self._waiting: deque[Then | None] = deque()
        self._connection: Connection | None = None
        self._written = asyncio.Event()

    async def run(self) -> None:
        """Keeps the connection, until cancelled."""
        while True:
            connection = Connection(**self.where, protocol=2, socket_timeout=None)
            writer = None
            try:
                await connection.connect()  # type: ignore[no-untyped-call]
                self._connection, self.is_up = connection, True
                self.on_up()
                writer = asyncio.create_task(self._write(connection))
                await self._read(connection)
            except (RedisError, OSError, EOFError):
                pass
            finally:
                if writer is not None:
                    writer.cancel()
                with suppress(Exception):
                    await connection.disconnect(nowait=True)
            self._lost()
            await asyncio.sleep(self.retry_s)

    def send(self, *words: Word, then: Then | None = None) -> None:
        """Writes a command; ``then`` is called with the reply, or with an Exception. AwayError where Redis is away."""
        if not self.is_up or self._connection is None:
            raise AwayError
        self._out.extend(self._connection.pack_command(*words))
        self._waiting.append(then)
        self._written.set()

    def ask(self, *words: Word) -> asyncio.Future[Any]:
        """The same, with a future for the reply; it raises AwayError where Redis is gone before it has answered."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.send(*words, then=lambda reply: _resolve(future, reply))
        return future

    def received(self, reply: Any) -> None:
        """A reply has come."""
        then = self._waiting.popleft()
        if then is not None:
            then(reply)

    async def _write(self, connection: Connection) -> None:
        with suppress(RedisError, OSError):  # the reader sees the same, and ends the connection
            while True:
                await self._written.wait()
                self._written.clear()
                packed, self._out = self._out, []
                await connection.send_packed_command(packed, check_health=False)

    async def _read(self, connection: Connection) -> None:
        while True:
            try:
                reply = await connection.read_response(disable_decoding=True)
            except ResponseError as error:
                reply = error
            self.received(reply)

    def _lost(self) -> None:
        was_up, self.is_up = self.is_up, False
        waiting, self._waiting, self._out = self._waiting, deque(), []
        for then in waiting:
            if then is not None:
                then(AwayError())
        if was_up:
            self.on_down()


class Subscriptions(Line):
    """A connection that hears: ``wanted`` are the channels, by their names, which are all subscribed to again."""

    def __init__(
        self, where: dict[str, Any], retry_s: float, hear: Then, on_whole: Callable[[], None],
        on_down: Callable[[], None],
    ):  # fmt: skip
        super().__init__(where, retry_s, self._again, on_down)
        self.hear, self.on_whole = hear, on_whole
        self.wanted: dict[str, None] = {}

    def subscribe(self, channels: Iterable[str]) -> asyncio.Future[Any] | None:
        """Subscribes; a future that is done when Redis has said so for all. None where there is nothing to wait for,
        or Redis is away: then it is made up for when it is back."""
        channels = list(channels)
        self.wanted.update(dict.fromkeys(channels))
        if not channels or not self.is_up:
            return None
        return self._said("SUBSCRIBE", channels)

    def unsubscribe(self, channels: Iterable[str]) -> None:
        """Unsubscribes."""
        channels = list(channels)
        for channel in channels:
            self.wanted.pop(channel, None)
        if channels and self.is_up:
            self._said("UNSUBSCRIBE", channels)

    def received(self, reply: Any) -> None:
        if isinstance(reply, list) and reply and reply[0] == b"message":
            self.hear(reply[2])
        elif self._waiting:
            super().received(reply)

    def _said(self, command: str, channels: list[str]) -> asyncio.Future[Any]:
        """Redis answers once for each channel: the last answer counts."""
        future = self.ask(command, *channels)
        last = self._waiting.pop()
        self._waiting.extend([None] * (len(channels) - 1))
        self._waiting.append(last)
        return future

    def _again(self) -> None:
        if not self.wanted:
            self.on_whole()
            return
        future = self._said("SUBSCRIBE", list(self.wanted))
        future.add_done_callback(lambda done: None if done.cancelled() or done.exception() else self.on_whole())


def _resolve(future: asyncio.Future[Any], reply: Any) -> None:
    if future.done():
        return
    if isinstance(reply, Exception):  # a refusal (still loading, out of memory) helps no more than silence
        future.set_exception(AwayError(str(reply)))
        future.exception()  # nobody need look at it
    else:
        future.set_result(reply)
