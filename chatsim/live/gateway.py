"""A gateway process: WebSockets on one side, Redis on the other, the decisions of :mod:`chatsim.rules` between.

``python -m chatsim.live.gateway CONFIG`` reads a configuration (:mod:`chatsim.live.config`) from a file, or with ``-``
from the first line of standard input; then it lives until that is closed, so that no gateway outlives its driver. It
says on standard output where it listens.

A login: :meth:`Gateway.admit` -> :meth:`Gateway.session` -> :meth:`Gateway.welcome`. A message: :meth:`Gateway.take` ->
:meth:`Gateway.carry` -> :meth:`Gateway.route` -> Redis -> :meth:`Gateway.hear` -> :meth:`Gateway.write`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.connection import broadcast
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from chatsim.live.asking import Asking
from chatsim.live.config import Config, from_line
from chatsim.live.frames import MalformedError, number_of, parsed, refusal, text_of, welcome, written
from chatsim.live.hall import Hall, Seat
from chatsim.live.keys import STORE, Keys
from chatsim.live.ledger import (
    COUNTS,
    CPU_S,
    FORBIDDEN,
    MEMORY_BYTES,
    PROBES,
    PROBES_US,
    STRANGE,
    TOO_LARGE,
    TOO_MANY,
    UNAVAILABLE,
    Ledger,
)
from chatsim.live.line import AwayError, Line, Subscriptions, Word
from chatsim.live.pace import probe_us
from chatsim.live.tokens import TokenError, check
from chatsim.rules import limits
from chatsim.rules.rooms import PERSONAL_ROOMS, leaves_when_idle
from chatsim.rules.routing import (
    DIRECTORY,
    GLOBAL,
    GLOBAL_CHANNEL,
    USER,
    keeps_registry,
    room_channel,
    server_channel,
    standing_channel,
    user_channel,
)

FRAME_MAX_BYTES = 1 << 20
HELLO_TIMEOUT_S = 10.0
SAMPLE_S = 0.05
EVERYTHING = 1_000_000
KIND = {name: number for number, name in enumerate(COUNTS)}
CAUSES = {limits.TOO_MANY: TOO_MANY, limits.TOO_LARGE: TOO_LARGE}
POLICY, FULL = 1008, 1013
"""Codes with which a WebSocket is closed: against the rules; too slow."""


class Gateway:
    """One gateway: what it holds, what it notes, and how it speaks with Redis."""

    def __init__(self, config: Config) -> None:
        self.config, self.keys, self.hall = config, Keys(config.prefix), Hall(config)
        self.ledger = Ledger(Path(config.ledger), config.messages, config.rows)
        self.secret = bytes.fromhex(config.secret)
        where, retry_s = config.redis, config.broker_retry_s
        self.commands = Line(where, retry_s, self._load_script, lambda: None)
        self.heard = Subscriptions(where, retry_s, self.hear, self._whole, self._away)
        self.asking = Asking(self)
        self.registers = keeps_registry(config.routing) or config.keeps_missed
        self.script = ""
        self.connections = 0
        self.used_s = self.ledger.state[CPU_S]
        self._tasks: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------------ a login

    async def admit(self, socket: ServerConnection, request: Request) -> Response | None:
        """Looks at a handshake: who has no right to be here is refused before there is a WebSocket."""
        self.count("token")
        if self.config.connections_max and self.connections >= self.config.connections_max:
            return socket.respond(HTTPStatus.SERVICE_UNAVAILABLE, "full\n")
        _, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            rights = check(self.secret, token, time.monotonic())
            number = int(parse_qs(urlsplit(request.path).query).get("session", ["-1"])[0])
        except (TokenError, ValueError) as error:
            self.ledger.state[STRANGE] += 1
            return socket.respond(HTTPStatus.UNAUTHORIZED, f"{error}\n")
        if not 0 <= rights.user < len(self.config.rooms_of):
            return socket.respond(HTTPStatus.UNAUTHORIZED, "unknown user\n")
        socket.chatsim_seat = Seat(socket, rights.user, number, rights)  # type: ignore[attr-defined]
        return None

    async def session(self, socket: ServerConnection) -> None:
        """A session from its WebSocket to its end."""
        seat: Seat = socket.chatsim_seat  # type: ignore[attr-defined]
        self.connections += 1
        try:
            await self.welcome(seat, await self._hello(socket))
            async for frame in socket:
                await self.read(seat, frame)
        except MalformedError:
            self.ledger.state[STRANGE] += 1
            await socket.close(POLICY, "malformed")
        except AwayError:
            await socket.close(1011, "broker away")
        except (ConnectionClosed, TimeoutError):
            pass
        finally:
            self.connections -= 1
            self.leave(seat)

    async def _hello(self, socket: ServerConnection) -> set[int]:
        """The first frame of a client: the messages that its user has."""
        frame = await asyncio.wait_for(socket.recv(), HELLO_TIMEOUT_S)
        said = parsed(frame, "hello")
        have = said.get("have", [])
        if not isinstance(have, list) or not all(type(message) is int for message in have):
            raise MalformedError
        return set(have)

    async def welcome(self, seat: Seat, have: set[int]) -> None:
        """Loads what a session needs, subscribes, says that its user is here, and reads what the user has missed."""
        self.count("login")
        listed = await self.asking.friends(seat.user)
        asked: list[asyncio.Future[Any]] = []
        subscribed = self.subscribe(self.hall.join(seat))
        if subscribed is not None:
            asked.append(subscribed)
        try:
            asked += self._say_here(seat.user)
            if self.config.offline == "push":
                asked.append(self.ask("SET", self.keys.came(seat.user), time.monotonic()))
                asked.append(self.ask("DEL", self.keys.wait(seat.user)))
            for answer in asked:
                await answer
        except AwayError:  # it is said again when Redis is back; the session is taken all the same
            pass
        missed: list[bytes] = []
        if self.config.keeps_missed:
            self.count("recover")
            stored = await self.ask("LPOP", self.keys.inbox(seat.user), EVERYTHING)
            missed = [text for text in stored or () if number_of(text) not in have]
            for text in missed:
                self.count("write")
                self.ledger.written(number_of(text), seat.number, time.monotonic())
        await seat.socket.send(welcome(listed, missed))

    def _say_here(self, user: int) -> list[asyncio.Future[Any]]:
        """The registry and the presence key say that a user is here."""
        asked = []
        if self.registers:
            self.count("update")
            asked.append(self.ask("SADD", self.keys.at(user), self.config.number))
        if self.config.has_presence:
            asked.append(self.asking.is_online(user))
        return asked

    def leave(self, seat: Seat) -> None:
        """A session has ended."""
        self.count("close")
        if not seat.seated:
            return
        entered = list(seat.entered)
        self.heard.unsubscribe(self.names(self.hall.part(seat)))
        try:
            if self.config.asks_members:
                for room in entered:
                    self.tell("HINCRBY", self.keys.room(room), seat.user, -1)
            if seat.user in self.hall.local:
                return
            if self.registers:
                self.count("update")
                self.tell("SREM", self.keys.at(seat.user), self.config.number)
            if self.config.has_presence:
                self.count("presence")
                self.tell("DEL", self.keys.online(seat.user))
        except AwayError:
            return

    # ------------------------------------------------------------------ a message

    async def read(self, seat: Seat, frame: str | bytes) -> None:
        """One frame of a client."""
        said = parsed(frame)
        kind = said["t"]
        if kind == "send":
            await self.take(seat, said, len(frame))
        elif kind == "alive" and self.config.has_presence:
            if self.commands.is_up:
                self.asking.is_online(seat.user)
        elif kind == "ask":
            await self.asking.whether_online(seat, said)
        elif kind == "token":
            self._renew(seat, said)
        elif kind == "join":
            await self.asking.to_join(seat, said)
        else:
            raise MalformedError

    async def take(self, seat: Seat, said: dict[str, Any], size_bytes: int) -> None:
        """Checks a message, and carries it on or refuses it."""
        message, room, body = written(said)
        if not self.hall.knows(room) or room >= self.hall.total:
            raise MalformedError
        now_s = time.monotonic()
        self.count("receive")
        noted = 0 <= message < self.config.messages
        if noted:
            self.ledger.received_s[message] = now_s
        cause = CAUSES.get(self.hall.limit(seat.user, size_bytes, now_s), 0)
        if not cause and seat.user not in self.hall.members_of(room):
            cause = FORBIDDEN
        text = text_of(message, room, seat.user, body)
        try:
            cause = cause or await self.asking.may_write(seat, room)
            if not cause:
                await self.carry(seat, message, room, text)
        except AwayError:
            cause = 0 if noted and self.ledger.stored_s[message] else UNAVAILABLE
        if cause:
            self.count("refusal")
            if noted:
                self.ledger.cause[message] = cause
            broadcast([seat.socket], refusal(message, cause))

    async def carry(self, seat: Seat, message: int, room: int, text: str) -> None:
        """A message that was taken goes to the store and on to its audience."""
        store, venue = self.config.store, self.hall.venue(room, seat.user)
        if self.config.rooms == PERSONAL_ROOMS and venue >= self.hall.total:
            await self.enter(seat, venue)
        if store == "before":
            await self.store(message, venue, seat.user, room, text)
        elif store == "beside":
            self._starts(self.store(message, venue, seat.user, room, text))
        await self.route(seat, message, venue, text)
        if 0 <= message < self.config.messages:
            self.ledger.routed_s[message] = time.monotonic()
        if store == "after":
            self._starts(self.store(message, venue, seat.user, room, text))
        self.asking.chatted(seat.user, self.hall.partner(room, seat.user))

    async def store(self, message: int, venue: int, sender: int, room: int, text: str) -> None:
        """Puts a message into the history of its room, and where it is kept for those who miss it, there too."""
        config = self.config
        self.count("store")
        if not config.keeps_missed:
            await self.ask("RPUSH", self.keys.history(venue), text)
            absent: list[int] = []
        else:
            users = [user for user in self.hall.members_of(room) if user != sender]
            pushes = int(config.offline == "push")
            kept_s = int(config.push_after_s) + 60
            words: list[Word] = [self.keys.prefix, int(config.resync), pushes, kept_s, time.monotonic(), venue, text]
            absent = await self.ask("EVALSHA", self.script, 0, *words, *users)
        stored_s = time.monotonic()
        if 0 <= message < config.messages:
            self.ledger.stored_s[message] = stored_s
        for user in absent:
            self._starts(self.asking.push(user, message, stored_s))

    async def route(self, seat: Seat, message: int, venue: int, text: str) -> None:
        """A message goes to where its audience is."""
        routing = self.config.routing
        head = (message, venue, seat.number, seat.user)
        if routing == GLOBAL:
            self.publish(GLOBAL_CHANNEL, head, -1, text)
        elif routing == USER:
            for user in await self._hearers(venue, seat.user):
                self.publish(user_channel(user), head, user, text)
        elif routing == DIRECTORY:
            users = await self._hearers(venue, seat.user)
            self.count("lookup")
            holders = await self.ask("SUNION", *[self.keys.at(user) for user in users]) if users else []
            numbers = sorted(int(holder) for holder in holders)
            if self.config.local_shortcut and self.config.number in numbers:
                numbers.remove(self.config.number)
            for number in numbers:
                self.publish(server_channel(number), head, -1, text)
        else:
            if self.config.asks_members:
                await self._hearers(venue, seat.user)
            self.publish(room_channel(venue), head, -1, text)
        if self.config.local_shortcut:
            self.deliver(message, venue, -1, seat.user, seat.number, text.encode())

    async def _hearers(self, venue: int, sender: int) -> list[int]:
        if not self.config.asks_members:
            return self.hall.hearers(venue, sender)
        self.count("members")
        reply = await self.ask("HGETALL", self.keys.room(venue))
        users = sorted(int(user) for user, times in zip(reply[::2], reply[1::2], strict=True) if int(times) > 0)
        return self.hall.without(users, sender)

    def publish(self, channel: int, head: tuple[int, ...], recipient: int, text: str) -> None:
        """One PUBLISH; Redis says to how many gateways it sent it."""
        self.count("publish")
        message = head[0]
        noted = 0 <= message < self.config.messages
        payload = f"{' '.join(map(str, head))} {recipient} {self.config.number}|{text}"

        def answered(reply: Any) -> None:
            if noted and isinstance(reply, int):
                self.ledger.pushes[message] += reply
                self.ledger.unanswered[message] -= 1
                self.count("push", reply)

        with suppress(AwayError):  # nobody waits for it: a command for a broker that is away is dropped
            self.tell("PUBLISH", self.keys.channel(channel), payload, then=answered)
            if noted:
                self.ledger.unanswered[message] += 1

    def hear(self, payload: bytes) -> None:
        """A push has come. It is noted as read when all of it is done: a gateway may be killed in the midst of it."""
        head, _, text = payload.partition(b"|")
        message, venue, session, sender, recipient, source = map(int, head.split())
        self.count("parse")
        noted = 0 <= message < self.config.messages
        is_own = self.config.local_shortcut and source == self.config.number
        if not is_own and not self.deliver(message, venue, recipient, sender, session, text):
            self.count("discard")
            if noted:
                self.ledger.discards[message] += 1
        if noted:
            self.ledger.reads[message] += 1
            self.ledger.read_s[message] = time.monotonic()

    def deliver(self, message: int, venue: int, recipient: int, sender: int, session: int, text: bytes) -> bool:
        """Writes a message to the sessions of its audience that are here; False where nobody is in the room here."""
        targets = self.hall.targets(venue, recipient, sender, session)
        for seat in targets or ():
            self.write(seat, message, text)
        return targets is not None

    def write(self, seat: Seat, message: int, text: bytes) -> None:
        """Writes a message to a session; one whose outbound queue is full is closed, or the message dropped."""
        if seat.socket.transport.get_write_buffer_size() + len(text) > self.config.outbound_max_bytes:
            if self.config.closes_full:
                self._starts(seat.socket.close(FULL, "too slow"))
            return
        self.count("write")
        self.ledger.written(message, seat.number, time.monotonic())
        broadcast([seat.socket], text)

    # ------------------------------------------------------------------ rooms that are come into

    async def enter(self, seat: Seat, room: int) -> None:
        """The server joins a session to a room of which its user is no member, and stays with it until it leaves."""
        now_s = time.monotonic()
        if room in seat.entered or seat.user in self.hall.members_of(room):
            if room in seat.entered:
                seat.entered[room] = now_s
            return
        seat.entered[room] = now_s
        channels = [] if self.hall.per_recipient else self.hall.into(seat, room)
        self.hall.counted_in(seat.user, room, +1)
        if self.config.leave_idle_s:
            asyncio.get_running_loop().call_later(self.config.leave_idle_s, self._leaves_idle, seat, room)
        subscribed = self.subscribe(channels)
        if self.config.asks_members:
            await self.ask("HINCRBY", self.keys.room(room), seat.user, 1)
        if subscribed is not None:
            await subscribed

    def _leaves_idle(self, seat: Seat, room: int) -> None:
        written_s, now_s, idle_s = seat.entered.get(room), time.monotonic(), self.config.leave_idle_s
        if written_s is None or not seat.seated:
            return
        if not leaves_when_idle(written_s, now_s, idle_s):
            asyncio.get_running_loop().call_later(written_s + idle_s - now_s, self._leaves_idle, seat, room)
            return
        del seat.entered[room]
        self.heard.unsubscribe(self.names(self.hall.out_of(seat, room)))
        self.hall.counted_in(seat.user, room, -1)
        if self.config.asks_members and self.commands.is_up:
            self.tell("HINCRBY", self.keys.room(room), seat.user, -1)

    # ------------------------------------------------------------------ Redis, and the notes

    def tell(self, *words: Word, then: Any = None) -> None:
        """A command whose reply nobody waits for; AwayError where Redis is away."""
        self.count("command")
        self.commands.send(*words, then=then)

    def ask(self, *words: Word) -> asyncio.Future[Any]:
        """A command, and its reply; AwayError where Redis is away."""
        self.count("command")
        return self.commands.ask(*words)

    def subscribe(self, channels: Sequence[int]) -> asyncio.Future[Any] | None:
        """Subscribes to channels; what to wait for, if anything."""
        self.count("subscribe", len(channels))
        return self.heard.subscribe(self.names(channels))

    def names(self, channels: Sequence[int]) -> list[str]:
        """The names of channels in Redis."""
        return [self.keys.channel(channel) for channel in channels]

    def count(self, kind: str, times: int = 1) -> None:
        """Counts work."""
        self.ledger.counts[KIND[kind]] += times

    def _renew(self, seat: Seat, said: dict[str, Any]) -> None:
        """A session shows a new token of its user."""
        self.count("token")
        try:
            rights = check(self.secret, str(said.get("token")), time.monotonic())
        except TokenError as error:
            raise MalformedError from error
        if rights.user != seat.user:
            raise MalformedError
        seat.rights = rights

    def _load_script(self) -> None:
        """Redis is there: it gets the script of the store, and is told again who is here."""

        def loaded(reply: Any) -> None:
            if isinstance(reply, bytes):
                self.script = reply.decode()

        self.commands.send("SCRIPT", "LOAD", STORE, then=loaded)
        if self.registers and self.config.restarted and not self.hall.local:
            for user in range(len(self.config.rooms_of)):
                self.commands.send("SREM", self.keys.at(user), self.config.number)
        for user in self.hall.local:
            self._say_here(user)

    def _away(self) -> None:
        self.ledger.away(time.monotonic())

    def _whole(self) -> None:
        self.ledger.whole(time.monotonic())

    def _starts(self, coroutine: Any) -> None:
        """Something that goes on beside; where Redis is away it just ends."""

        async def runs() -> None:
            try:
                await coroutine
            except (AwayError, ConnectionClosed):
                return

        task = asyncio.create_task(runs())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ------------------------------------------------------------------ the process

    async def run(self) -> None:
        """Serves for ever."""
        config = self.config
        channel = standing_channel(config.routing, config.number)
        if channel >= 0:
            self.heard.subscribe([self.keys.channel(channel)])
        lines = [asyncio.create_task(line.run()) for line in (self.commands, self.heard)]
        loop = asyncio.get_running_loop()
        loop.add_reader(sys.stdin.fileno(), ends_with_input)
        self._sample(loop)
        async with serve(
            self.session, config.host, config.port, process_request=self.admit, compression=None,
            max_size=max(FRAME_MAX_BYTES, 2 * config.message_max_bytes), ping_interval=config.ping_s,
            ping_timeout=config.ping_timeout_s, close_timeout=2.0, server_header=None,
        ) as server:  # fmt: skip
            port = next(iter(server.sockets)).getsockname()[1]
            while not (self.commands.is_up and self.heard.is_up and self.script):
                await asyncio.sleep(0.005)
            sys.stdout.write(json.dumps({"port": port, "pid": os.getpid()}) + "\n")
            sys.stdout.flush()
            await asyncio.gather(*lines)

    def _sample(self, loop: asyncio.AbstractEventLoop) -> None:
        """Notes what the process has used until now, and how fast its core is, again and again."""
        self.ledger.state[CPU_S] = self.used_s + time.process_time()
        self.ledger.state[MEMORY_BYTES] = resident_bytes()
        self.ledger.state[PROBES] += 1
        self.ledger.state[PROBES_US] += probe_us()
        loop.call_later(SAMPLE_S, self._sample, loop)


def ends_with_input() -> None:
    """Ends this process, at whatever it is, when standard input is closed: its notes stand, its clients see it go."""
    if not os.read(sys.stdin.fileno(), 65536):
        os._exit(0)


def resident_bytes() -> int:
    """Resident memory of this process; the largest so far where the system does not say more."""
    try:
        with Path("/proc/self/statm").open("rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(arguments: Sequence[str]) -> int:
    """Runs a gateway."""
    if len(arguments) != 1:
        sys.stderr.write("python -m chatsim.live.gateway CONFIG: a file, or - for standard input, is needed\n")
        return 2
    line = sys.stdin.readline() if arguments[0] == "-" else Path(arguments[0]).read_text(encoding="utf-8")
    gateway = Gateway(from_line(line))
    gc.freeze()
    with suppress(KeyboardInterrupt):
        asyncio.run(gateway.run())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
