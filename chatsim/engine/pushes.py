"""Pushes: users without a session are notified after a while, some come back, and some pushes come too late."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from simpy.events import Event

from chatsim.engine.notes import NEVER
from chatsim.engine.outcome import PushFate, Work
from chatsim.rules.offline import MINUTE_S, is_due, is_taken, retry_after_s
from chatsim.world.draws import Purpose

if TYPE_CHECKING:
    from chatsim.engine.stage import Stage

Story = Generator[Event, Any, None]


class Pushes:
    """At most one push of a user is waiting at a time: it tells of all that has come until then.

    A session that starts ends the wait: what is stored after it is a new reason.
    """

    def __init__(self, stage: Stage, comes_back: Callable[[int, float], int]) -> None:
        self.stage, self.asked, self.comes_back = stage, stage.scenario.push, comes_back
        self.kept = stage.design.offline == "push"
        self._waiting: dict[int, float] = {}
        self._count: dict[int, int] = {}
        self._minute, self._taken = -1.0, 0

    def stored(self, message: int, users: list[int]) -> None:
        """A message waits in store for these users: those without a session are to be notified."""
        stage, now_s = self.stage, self.stage.clock.now
        for user in users:
            waits_since_s = self._waiting.get(user, -math.inf)
            if waits_since_s <= stage.came_s.get(user, -math.inf) and not stage.held.get(user):
                self._waiting[user] = now_s
                stage.clock.story(self.push(user, message))

    def push(self, user: int, message: int) -> Story:
        """From a message in store to the device, unless a session starts first; and perhaps back."""
        stage, clock, table = self.stage, self.stage.clock, self.stage.notes.pushed
        stored_s = clock.now
        yield clock.until(stored_s + self.asked.after_min * MINUTE_S)
        if self._waiting.get(user) == stored_s:
            del self._waiting[user]
        if not is_due(stage.held.get(user, 0), stage.came_s.get(user, -math.inf), stored_s):
            return
        row = table.add(user, message, clock.now, 0, NEVER, NEVER, -1, PushFate.UNDER_WAY)
        tries = 1
        while True:
            gateway = stage.next_up(stage.notes.gateway[message])
            yield stage.does(gateway, Work.NOTIFY, stage.scenario.gateway.command_us)
            table["tries"][row] = tries
            if self._takes():
                break
            yield clock.until(clock.now + retry_after_s(self.asked.retry_s, tries))
            tries += 1
        table["sent_s"][row] = clock.now
        number = self._count.get(user, 0)
        self._count[user] = number + 1
        latency_s = self._lognormal(
            Purpose.PUSH_LATENCY, user, number, self.asked.latency_s_median, self.asked.latency_sigma
        )
        yield clock.until(clock.now + latency_s)
        table["arrived_s"][row] = clock.now
        if stage.held.get(user) or not stage.inbox.get(user):
            table["fate"][row] = PushFate.WASTED
            return
        table["fate"][row] = PushFate.IGNORED
        if self.stage.luck.of_user(Purpose.RETURN, user, number) >= self.asked.return_share:
            return
        delay_s = self._lognormal(
            Purpose.RETURN_DELAY, user, number, self.asked.return_s_median, self.asked.return_sigma
        )
        yield clock.until(clock.now + delay_s)
        if not stage.held.get(user):
            table["fate"][row] = PushFate.BROUGHT_BACK
            table["session"][row] = self.comes_back(user, self.asked.session_s)

    def _takes(self) -> bool:
        """Whether the provider takes one more push in this minute."""
        minute = self.stage.clock.now // MINUTE_S
        if minute != self._minute:
            self._minute, self._taken = minute, 0
        taken = is_taken(self._taken, self.asked.quota_per_min)
        self._taken += taken
        return taken

    def _lognormal(self, purpose: Purpose, user: int, number: int, median_s: float, sigma: float) -> float:
        return median_s * math.exp(sigma * self.stage.luck.of_user(purpose, user, number))
