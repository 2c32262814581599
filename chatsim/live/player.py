"""The load client: plays a trace over real WebSockets at the trace's own times, and notes what came of it.

It is open-loop: a message is sent when its time has come, whatever has become of those before. A client without a
connection keeps what its user writes, and comes back by the scenario's rule, as the model's clients do.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import merge
from itertools import count, repeat
from operator import itemgetter
from typing import Any

import numpy as np

from chatsim.engine.luck import Luck
from chatsim.engine.notes import Notes
from chatsim.engine.outcome import Cause, Fate, IntrusionFate, SessionFate
from chatsim.engine.rooms import Rooms
from chatsim.live.frames import MESSAGE, number_of, plain, send
from chatsim.live.link import Desk, Link
from chatsim.live.tokens import Rights, issue, room_for
from chatsim.rules.access import OPEN, POLICY_NUMBERS, SCOPES, may_write
from chatsim.rules.placement import PLACEMENT_NUMBERS, place
from chatsim.rules.reconnect import FULL_JITTER, RECONNECT_NUMBERS, SOCKETIO, pause_s
from chatsim.rules.rooms import PERSONAL_ROOMS, ROOM_NUMBERS, personal_room
from chatsim.scenario import Scenario
from chatsim.world.contacts import friend_lists
from chatsim.world.tables import World

AT_ONCE = 50
"""Logins that are under way at once before the run begins."""
HAVE_MAX = 10_000
FULL, UNAVAILABLE_STATUS = 1013, 503
LIVE, READ, TWICE = range(3)
"""How a message came to a session: live, read at its login, or once more than was needed."""


@dataclass(eq=False, slots=True)
class Device:
    """A client: the session that it has, what waits in it, and how often it has tried to come back."""

    user: int
    end_s: float
    number: int
    link: Link | None = None
    online: bool = False
    came_back: bool = False
    hopeless: bool = False
    tries: int = 0
    gateway: int = -1
    waiting: list[int] = field(default_factory=list)
    got: set[int] = field(default_factory=set)
    timers: list[asyncio.TimerHandle] = field(default_factory=list)


class Player:
    """The clients of one run, which write into ``notes`` as the model does.

    ``ports`` are where the gateways listen; ``sent_s[m]`` says when a message left its client; an arrival is a message,
    its session, the time, and how it came.
    """

    def __init__(self, scenario: Scenario, world: World, notes: Notes, secret: bytes, host: str, ports: list[int]):
        self.scenario, self.world, self.notes = scenario, world, notes
        self.secret, self.host, self.ports = secret, host, ports
        self.rooms, self.luck = Rooms(world, scenario.design), Luck(scenario, world)
        self.policy = POLICY_NUMBERS[scenario.access.policy]
        self.origin_s = math.inf
        self.running = True
        self.desk = Desk()
        self.up = [True] * len(ports)
        self.out: set[int] = set()
        self.connections = [0] * len(ports)
        self.arrived = 0
        self.retries: dict[int, int] = {}
        self.last_gateway: dict[int, int] = {}
        self.online: dict[int, int] = {}
        self.has: dict[int, set[int]] = {}
        self.pulled: dict[int, list[int]] = {}
        self.ended_s: dict[tuple[int, int], float] = {}
        self.trying: dict[tuple[int, int], list[int]] = {}
        self.ends_tie: Callable[[int, int, float], None] = lambda user, other, time_s: None
        self.sent_s = array("d", [math.nan]) * len(world.messages)
        self.lag_s = array("d")
        self.foreign = 0
        self.arrival_message, self.arrival_session = array("i"), array("i")
        self.arrival_s, self.arrival_how = array("d"), array("b")
        self.sender = world.messages.sender.tolist()
        self.size_bytes = world.messages.size_bytes.tolist()
        self.session_of = world.messages.session.tolist()
        ends_s = world.sessions.end_s.tolist()
        users = world.sessions.user.tolist()
        people = enumerate(zip(users, ends_s, strict=True))
        self.devices = [Device(user, end_s, number) for number, (user, end_s) in people]
        self.by_number: dict[int, Device] = dict(enumerate(self.devices))
        self.keeps_missed = scenario.design.keeps_missed
        self.opening = self._openings()
        self._rows: Iterator[tuple[float, Callable[[int], None], int]] = iter(())
        self._next: tuple[float, Callable[[int], None], int] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    # ------------------------------------------------------------------ the course of the run

    def now_s(self) -> float:
        """Time since the run began, negative before."""
        return time.monotonic() - self.origin_s if math.isfinite(self.origin_s) else -math.inf

    async def stand(self, within_s: float) -> bool:
        """Logs in the sessions that began before the run; False where they are not all through in time."""
        standing = np.flatnonzero(self.world.sessions.start_s <= 0).tolist()
        until_s = time.monotonic() + within_s
        for first in range(0, len(standing), AT_ONCE):
            part = [self.devices[number] for number in standing[first : first + AT_ONCE]]
            for device in part:
                self._logs_in(device.number)
            while any(not device.online and not device.hopeless for device in part):
                if time.monotonic() > until_s:
                    return False
                await asyncio.sleep(0.002)
        return True

    def start(self, origin_s: float) -> None:
        """The run begins at this time of the monotonic clock."""
        self.origin_s = origin_s
        loop, world = asyncio.get_running_loop(), self.world
        starts_s = world.sessions.start_s
        standing = int(np.searchsorted(starts_s, 0.0, side="right"))
        order = np.argsort(world.sessions.end_s, kind="stable")
        streams: list[tuple[list[float], Callable[[int], None], Any]] = [
            (starts_s[standing:].tolist(), self._logs_in, range(standing, len(starts_s))),
            (world.endings.time_s.tolist(), self._ends_tie, count()),
            (world.messages.time_s.tolist(), self._writes, count()),
            (world.intrusions.time_s.tolist(), self._intrudes, count()),
            (world.sessions.end_s[order].tolist(), self._leaves, order.tolist()),
        ]
        rows = [zip(times_s, repeat(act), numbers, strict=False) for times_s, act, numbers in streams]
        self._rows = merge(*rows, key=itemgetter(0))
        self._next = next(self._rows, None)
        for device in self.devices[:standing]:
            self._lives(device)
        loop.call_at(self.origin_s, self._play)

    def stop(self) -> None:
        """The run is over: nothing is noted any more, and connections are ended."""
        self.running = False
        for device in self.by_number.values():
            for timer in device.timers:
                timer.cancel()
            if device.link is not None:
                device.link.left = True
                device.link.abort()
        for task in self._tasks:
            task.cancel()

    def gateway_died(self, gateway: int) -> None:
        """A gateway was killed: its side of its connections is gone now."""
        self.up[gateway] = False
        self.connections[gateway] = 0
        for device in self.by_number.values():
            if device.gateway == gateway and device.link is not None and not device.link.left:
                self.notes.cut_s[device.number] = self.now_s()

    def notices(self, gateway: int) -> None:
        """The balancer sees whether a gateway is gone, or back."""
        if self.up[gateway]:
            self.out.discard(gateway)
        else:
            self.out.add(gateway)

    def _play(self) -> None:
        """All that is due now; and again when the next is."""
        while self._next is not None and self.running:
            time_s, act, number = self._next
            if self.origin_s + time_s > time.monotonic():
                asyncio.get_running_loop().call_at(self.origin_s + time_s, self._play)
                return
            act(number)
            self._next = next(self._rows, None)

    # ------------------------------------------------------------------ sessions

    def _logs_in(self, number: int) -> None:
        device = self.by_number[number]
        if not self._takes_place(device):
            self._is_gone(device, SessionFate.REFUSED)
            return
        address = f"ws://{self.host}:{self.ports[device.gateway]}/?session={number}"
        link = Link(number, address, self.token_of(device.user), self._opened, self._heard, self._lost, self.desk)
        device.link = link
        self.goes_on(self._connects(device, link))
        self._later(device, self.scenario.client.connect_timeout_s, lambda: self._times_out(device, link))

    def _takes_place(self, device: Device) -> bool:
        """The balancer places a session on a gateway."""
        design, limit = self.scenario.design, self.scenario.gateway.connections_max
        last = self.last_gateway.get(device.user, -1)
        number = place(
            PLACEMENT_NUMBERS[design.placement], self.arrived, device.user, self.connections, limit, last, self.out
        )
        self.arrived += 1
        if number < 0:
            return False
        device.gateway = self.last_gateway[device.user] = number
        self.notes.session_gateway[device.number] = number
        self.connections[number] += self.up[number]
        return True

    async def _connects(self, device: Device, link: Link) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(link.socket, (self.host, self.ports[device.gateway]))
            await loop.create_connection(lambda: link, sock=link.socket)
        except OSError:
            link.socket.close()
            if not link.left:
                link.left = link.gone = True
                self._lost(link)

    def _opened(self, link: Link) -> None:
        device = self.by_number[link.number]
        have = sorted(self.has.get(device.user, ()))[-HAVE_MAX:] if self.keeps_missed else []
        link.send(plain("hello", have=have))

    def _heard(self, link: Link, frame: bytes, now_s: float) -> None:
        device = self.by_number[link.number]
        if frame.startswith(MESSAGE):
            self._gets(device, number_of(frame), now_s, LIVE)
            return
        said = json.loads(frame)
        kind = said["t"]
        if kind == "welcome":
            self._is_online(device, said, now_s)
        elif kind == "no":
            self.notes.told_s[said["m"]] = now_s - self.origin_s
        elif kind == "state":
            self._sees(said["user"], said["online"], now_s)
        elif kind in ("in", "out"):
            self._decided(device.user, said["room"], kind == "in", now_s)

    def _is_online(self, device: Device, said: dict[str, Any], now_s: float) -> None:
        number, notes = device.number, self.notes
        device.online, device.tries = True, 0
        self.online[device.user] = self.online.get(device.user, 0) + 1
        begun = self.world.sessions.start_s[number] if number < len(self.world.sessions) else 0.0
        notes.online_s[number] = now_s - self.origin_s if math.isfinite(self.origin_s) else float(begun)
        notes.session_fate[number] = SessionFate.ONLINE
        notes.session_unread[number] = len(said["missed"])
        notes.session_listed[number] = len(said["list"])
        for entry in said["missed"]:
            self._gets(device, entry["m"], now_s, READ)
        self._lives(device)
        waiting, device.waiting = device.waiting, []
        for message in waiting:
            self._sends(message, device)

    def _gets(self, device: Device, message: int, now_s: float, how: int) -> None:
        """A session has a message; a client drops what it has already."""
        if not 0 <= message < len(self.sender):
            self.foreign += 1
            return
        self.arrival_message.append(message)
        self.arrival_session.append(device.number)
        self.arrival_s.append(now_s - self.origin_s)
        self.arrival_how.append(TWICE if message in device.got else how)
        device.got.add(message)
        if self.keeps_missed:
            self.has.setdefault(device.user, set()).add(message)

    def _lost(self, link: Link) -> None:
        """A connection is gone, or was never made, and not by its client's will."""
        device = self.by_number[link.number]
        if self.up[device.gateway]:
            self.connections[device.gateway] = max(0, self.connections[device.gateway] - 1)
        if device.online and link.close_code is not None:
            fate = SessionFate.CLOSED
        elif device.online:
            fate = SessionFate.CUT
            if math.isnan(self.notes.cut_s[device.number]):
                self.notes.cut_s[device.number] = self.now_s()
        else:
            fate = SessionFate.REFUSED if link.status == UNAVAILABLE_STATUS else SessionFate.FAILED
        self._is_gone(device, fate)

    def _times_out(self, device: Device, link: Link) -> None:
        if device.link is link and not device.online and not link.left:
            link.leave()
            self._is_gone(device, SessionFate.FAILED)

    def _leaves(self, number: int) -> None:
        """A session of the trace ends, or the last one that came of it."""
        device = self.devices[number]
        if device.hopeless or device.link is None or device.link.left:
            device.hopeless = True
            self._gives_up(device)
            return
        device.link.leave()
        if self.up[device.gateway]:
            self.connections[device.gateway] = max(0, self.connections[device.gateway] - 1)
        self._is_gone(device, SessionFate.LEFT if device.online else SessionFate.ABANDONED)

    def _is_gone(self, device: Device, fate: SessionFate) -> None:
        if not self.running:
            return
        if device.online:
            self.online[device.user] -= 1
        device.online, device.got = False, set()
        for timer in device.timers:
            timer.cancel()
        device.timers = []
        self.notes.left_s[device.number] = self.now_s()
        self.notes.session_fate[device.number] = fate
        if fate in (SessionFate.LEFT, SessionFate.ABANDONED):
            self._gives_up(device)
        else:
            self._tries_again(device)

    def _tries_again(self, device: Device) -> None:
        """A client without its session waits, by its rule, and tries again; or there is no hope."""
        asked, draw = self.scenario.client, 0.5
        preset = RECONNECT_NUMBERS[asked.reconnect]
        if preset in (SOCKETIO, FULL_JITTER):
            number = self.retries[device.user] = self.retries.get(device.user, -1) + 1
            draw = self.luck.pause(device.user, number)
        wait_s = pause_s(preset, device.tries, draw, asked.reconnect_s, asked.reconnect_max_s)
        if self.now_s() + wait_s >= device.end_s or (asked.tries_max and device.tries >= asked.tries_max):
            self._gives_up(device)
        else:
            self._later(device, wait_s, lambda: self._comes_back(device))

    def _comes_back(self, device: Device) -> None:
        if device.hopeless or not self.running:
            return
        device.timers = []
        number = self.notes.comes_back(device.user, self.now_s(), device.end_s, device.number, device.tries)
        device.tries += 1
        device.number, device.came_back = number, True
        self.by_number[number] = device
        self._logs_in(number)

    def _gives_up(self, device: Device) -> None:
        device.hopeless = True
        waiting, device.waiting = device.waiting, []
        for message in waiting:
            self._refuses(message, Cause.NO_SESSION)

    def _lives(self, device: Device) -> None:
        """What a session does from time to time while it lives."""
        if not device.online or not math.isfinite(self.origin_s):
            return
        access, presence = self.scenario.access, self.scenario.presence
        if presence.show_to != "none":
            self._again(device, presence.refresh_s, lambda: plain("alive"))
        if access.policy == "scopes" and access.check == "message":
            self._again(device, access.token_life_s, lambda: plain("token", token=self.token_of(device.user)))

    def _again(self, device: Device, every_s: float, frame: Callable[[], bytes]) -> None:
        link = device.link

        def act() -> None:
            if link is not None and device.link is link and device.online:
                link.send(frame())
                self._later(device, every_s, act)

        self._later(device, every_s, act)

    def token_of(self, user: int) -> str:
        """A token for a user, issued now."""
        now_s, access = time.monotonic(), self.scenario.access
        life_s = access.token_life_s if self.policy == SCOPES and access.check == "message" else 1e9
        closed = [
            self.rooms.shared(user, other)
            for (writer, other), ended_s in self.ended_s.items()
            if writer == user and not may_write(self.policy, now_s, ended_s)
        ] if self.policy == SCOPES else []  # fmt: skip
        return issue(self.secret, Rights(user, now_s, now_s + life_s, room_for([room for room in closed if room >= 0])))

    # ------------------------------------------------------------------ messages

    def _writes(self, message: int) -> None:
        """A user writes a message: it is sent, or waits in the client, or there is nobody to send it."""
        device = self.devices[self.session_of[message]]
        if device.online:
            self._sends(message, device)
            self.lag_s.append(self.sent_s[message] - float(self.world.messages.time_s[message]))
        elif device.hopeless:
            self._refuses(message, Cause.NO_SESSION)
        elif (device.tries > 0 or device.came_back) and len(device.waiting) >= self.scenario.client.buffer_max:
            self._refuses(message, Cause.NOT_BUFFERED)
        else:
            device.waiting.append(message)

    def _sends(self, message: int, device: Device) -> None:
        assert device.link is not None
        if self.opening[message]:
            self._asks(device, self.rooms.partner(message))
        now_s = time.monotonic()
        device.link.send(send(message, self.rooms.meant[message], self.size_bytes[message]))
        self.sent_s[message] = now_s - self.origin_s
        self.notes.sends[message] += 1

    def _refuses(self, message: int, cause: Cause) -> None:
        self.notes.fate[message], self.notes.cause[message] = Fate.REFUSED, cause
        self.notes.done_s[message] = self.now_s()

    # ------------------------------------------------------------------ presence, ties, intruders

    def _openings(self) -> list[bool]:
        """The messages before which a client asks whether the other is online."""
        asked = self.scenario.friend_list
        if self.scenario.presence.show_to == "none":
            return [False] * len(self.world.messages)
        lists = friend_lists(self.world, asked.policy, asked.half_life_s, asked.kept, asked.opening_gap_s)
        opening: list[bool] = lists.opening.tolist()
        return opening

    def _asks(self, device: Device, user: int) -> None:
        if user >= 0 and device.link is not None:
            device.link.send(plain("ask", user=user))

    def _sees(self, user: int, shown: bool, now_s: float) -> None:
        self.notes.pulls.add(now_s - self.origin_s, user, shown, self.online.get(user, 0) > 0)

    def _ends_tie(self, number: int) -> None:
        table, now_s = self.world.endings, time.monotonic()
        user, other = int(table.user[number]), int(table.other[number])
        stopped = [(other, user)] if table.blocks[number] else [(user, other), (other, user)]
        for pair in stopped:
            if self.ended_s.setdefault(pair, now_s) == now_s and self.policy != OPEN:
                self.ends_tie(*pair, now_s)

    def _intrudes(self, number: int) -> None:
        table, notes = self.world.intrusions, self.notes
        device = self.devices[int(table.session[number])]
        room = self._wanted(device.user, int(table.victim[number]), float(table.draw[number]))
        notes.intrusion_room[number] = room
        if room < 0 or not device.online or device.link is None:
            notes.intrusion_fate[number] = IntrusionFate.NO_ROOM if room < 0 else IntrusionFate.NO_SESSION
            return
        self.trying.setdefault((device.user, room), []).append(number)
        device.link.send(plain("join", room=room))

    def _wanted(self, user: int, victim: int, draw: float) -> int:
        if ROOM_NUMBERS[self.scenario.design.rooms] == PERSONAL_ROOMS:
            return personal_room(victim, len(self.world.rooms))
        rooms = [room for room, _ in self.rooms.of_user(victim) if user not in self.rooms.members(room)]
        return rooms[int(draw * len(rooms))] if rooms else -1

    def _decided(self, user: int, room: int, entered: bool, now_s: float) -> None:
        numbers = self.trying.get((user, room))
        if numbers:
            number = numbers.pop(0)
            self.notes.intrusion_fate[number] = IntrusionFate.ENTERED if entered else IntrusionFate.REFUSED
            self.notes.decided_s[number] = now_s - self.origin_s

    # ------------------------------------------------------------------ time

    def _later(self, device: Device, wait_s: float, act: Callable[[], None]) -> None:
        device.timers.append(asyncio.get_running_loop().call_later(wait_s, act))

    def goes_on(self, coroutine: Any) -> None:
        """Something that goes on beside the run, and ends with it."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
