"""Read receipts: who gets a message says so, its sender is told, and the reader's other sessions know it is read."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from simpy.events import Event

from chatsim.engine.notices import Notice, announce, channels_to
from chatsim.engine.outcome import Work
from chatsim.rules.routing import USER, room_channel

if TYPE_CHECKING:
    from chatsim.engine.session import Session
    from chatsim.engine.stage import Gateway, Stage

Story = Generator[Event, Any, None]


class Receipt(Notice):
    """A session has a message."""

    __slots__ = ("message", "reader", "row")

    def __init__(self, stage: Stage, message: int, reader: Session, row: int) -> None:
        super().__init__(stage)
        self.message, self.reader, self.row = message, reader, row

    def targets(self, gateway: Gateway, scope: int) -> list[Session]:
        concerned = (self.stage.sender[self.message], self.reader.user)
        users = [scope] if self.stage.routing == USER else concerned
        return [session for user in users for session in gateway.local.get(user, ()) if session is not self.reader]

    def told(self, sessions: list[Session]) -> None:
        notes, sender = self.stage.notes, self.stage.sender[self.message]
        arrivals_s = [self.stage.clock.now + session.link_s for session in sessions if session.user == sender]
        if arrivals_s:
            known_s = notes.row_receipt_s.get(self.row, float("inf"))
            notes.row_receipt_s[self.row] = min(known_s, *arrivals_s)


def acknowledge(stage: Stage, message: int, reader: Session, row: int) -> Story:
    """A receipt from the session that has a message to the sender's sessions."""
    yield stage.clock.until(stage.clock.now + reader.link_s)
    if reader.closed:
        return
    gateway = reader.gateway
    yield stage.does(gateway, Work.RECEIPT, stage.scenario.gateway.receive_us, came_on=reader)
    yield from announce(Receipt(stage, message, reader, row), gateway, _channels(stage, message, reader))


def _channels(stage: Stage, message: int, reader: Session) -> list[tuple[int, int]]:
    users = (stage.sender[message], reader.user)
    return channels_to(
        stage,
        users=lambda: users,
        holders=lambda: sorted({holder for user in users for holder in stage.registry.get(user, ())}),
        rooms=lambda: [(room_channel(stage.rooms.room[message]), -1)],
    )
