"""What gateways write to sessions: outbound queues that fill, the links they drain into, and what arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatsim.engine.lines import CLIENTS
from chatsim.engine.outcome import Cause, Fate

if TYPE_CHECKING:
    from chatsim.engine.journey import Journey
    from chatsim.engine.session import Session

CLOSE, DROP_NEWEST, DROP_OLDEST, BLOCK = "close", "drop_newest", "drop_oldest", "block"


class Outbound:
    """The outbound queues of all sessions. A link sends one byte after the other, and nothing overtakes.

    A queue is what has been written and not yet sent: bytes that the link takes until ``drained_s``, and with
    ``drop_oldest`` what stands in ``outbox`` behind them.
    """

    def __init__(self, journey: Journey) -> None:
        network = journey.scenario.network
        self.journey, self.notes, self.clock = journey, journey.notes, journey.clock
        self.policy = network.outbound_policy
        self.max_bytes = network.outbound_max_bytes
        self.size_bytes = journey.size_bytes

    def write(self, message: int, session: Session, leaves_s: float, factor: float) -> None:
        """A gateway writes a message to a session at ``leaves_s``; where its queue is full, the policy acts.

        ``factor`` is the luck of the packet on the session's link.
        """
        size_bytes = self.size_bytes[message]
        by_item = session.gateway.by_item
        if self.policy == DROP_OLDEST:
            row = self.notes.written(message, session.number, leaves_s)
            if by_item:
                self.clock.at(leaves_s, self._queued, (session, row, factor))
            else:
                session.gateway.send(session, (row, factor))
            return
        if self.policy != BLOCK:
            waiting_bytes = max((session.drained_s - leaves_s) * session.rate, 0.0)
            if waiting_bytes + session.unsent_bytes + size_bytes > self.max_bytes and not session.closed:
                self.notes.written(message, session.number, leaves_s, Cause.OUTBOUND_FULL)
                if self.policy == CLOSE:
                    self.journey.close(session)
                return
        row = self.notes.written(message, session.number, leaves_s)
        if by_item:
            self.clock.at(self.arrival_s(session, leaves_s, size_bytes, factor), self.delivered, (session, (row,)))
        else:
            if self.policy != BLOCK:
                session.unsent_bytes += size_bytes
            session.gateway.send(session, (row, factor))

    def has_room_s(self, session: Session, size_bytes: float) -> float:
        """When a session's queue has room for so many bytes more; an empty one always has."""
        free_bytes = self.max_bytes - session.unsent_bytes - size_bytes
        return session.drained_s - max(free_bytes, 0.0) / session.rate

    def transmit(self, session: Session, rows: list[tuple[int, float]]) -> None:
        """What a tick wrote to one session goes down its link as one packet, with the luck of the first message."""
        if self.policy == DROP_OLDEST:
            for row, factor in rows:
                self._waits(session, row, factor)
            return
        session.unsent_bytes = 0.0
        size_bytes = sum(self.size_bytes[self.notes.row_message[row]] for row, _ in rows)
        arrival_s = self.arrival_s(session, self.clock._now, size_bytes, rows[0][1])
        self.clock.at(arrival_s, self.delivered, (session, [row for row, _ in rows]))

    def arrival_s(self, session: Session, leaves_s: float, size_bytes: float, factor: float) -> float:
        """When a packet arrives: the link sends one byte after the other, and nothing overtakes."""
        drained_s = session.drained_s
        drained_s = (drained_s if drained_s > leaves_s else leaves_s) + size_bytes / session.rate
        session.drained_s = drained_s
        return self._lands_s(session, drained_s, factor)

    def changes_rate(self, session: Session, bytes_per_s: float) -> None:
        """A session's link becomes slower or faster; what is on its way already is not held up."""
        now_s = self.clock.now
        if session.drained_s > now_s:
            session.drained_s = now_s + (session.drained_s - now_s) * session.rate / bytes_per_s
        session.rate = bytes_per_s

    def delivered(self, event: Any) -> None:
        """A packet reaches the session. Now, and not before, its messages are delivered."""
        session, rows = event.value
        for row in rows:
            if session.gone:
                self.notes.lost(row, Cause.LEFT)
                continue
            if session.cut and self.notes.row_written_s[row] > session.cut_s:
                self.notes.lost(row, Cause.CRASHED)
                continue
            message = self.notes.row_message[row]
            if session.live is not None:
                session.live.add(message)
            elif session.synced and message in session.synced:
                self.notes.row_fate[row] = Fate.DUPLICATE
            self.received(row, message, session)

    def received(self, row: int, message: int, session: Session) -> None:
        """A session has a message; where messages are sent again it may have it already."""
        journey = self.journey
        self.notes.row_time_s[row] = self.clock._now
        if journey.resends:
            if message in session.client.got:
                self.notes.row_fate[row] = Fate.DUPLICATE
            session.client.got.add(message)
        journey.has_it(row, message, session)

    def _lands_s(self, session: Session, drained_s: float, factor: float) -> float:
        arrival_s = drained_s + session.link_s * factor
        if self.journey.lines.orderly:
            arrival_s += self.journey.lines.extra_s(CLIENTS)
        session.downlink_s = max(session.downlink_s, arrival_s)
        return session.downlink_s

    def _queued(self, event: Any) -> None:
        self._waits(*event.value)

    def _waits(self, session: Session, row: int, factor: float) -> None:
        """A message stands in the outbox; those that have waited longest go where there is no room."""
        size_bytes = self.size_bytes[self.notes.row_message[row]]
        box = session.outbox
        waiting_bytes = sum(size for _, size, _ in box)
        if session.drained_s > self.clock._now:
            waiting_bytes += (session.drained_s - self.clock._now) * session.rate
        while box and waiting_bytes + size_bytes > self.max_bytes:
            oldest, oldest_bytes, _ = box.popleft()
            self.notes.lost(oldest, Cause.OUTBOUND_FULL)
            waiting_bytes -= oldest_bytes
        box.append((row, size_bytes, factor))
        if not session.draining:
            self._send_next(session)

    def _next(self, event: Any) -> None:
        self._send_next(event.value)

    def _send_next(self, session: Session) -> None:
        """The link takes the next message of the outbox. With the connection goes what is still in it."""
        box = session.outbox
        session.draining = False
        if session.gone or session.cut:
            for row, _, _ in box:
                self.notes.lost(row, Cause.LEFT if session.gone and not session.cut else Cause.CRASHED)
            box.clear()
            return
        if box and session.drained_s <= self.clock._now:
            row, size_bytes, factor = box.popleft()
            arrival_s = self.arrival_s(session, self.clock._now, size_bytes, factor)
            self.clock.at(arrival_s, self.delivered, (session, (row,)))
        if box:
            session.draining = True
            self.clock.at(session.drained_s, self._next, session)
