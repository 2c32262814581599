"""What gateways write to sessions: outbound queues that fill, the links they drain into, and what arrives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from chatsim.engine.lines import CLIENTS
from chatsim.engine.outcome import Cause, Fate

if TYPE_CHECKING:
    from chatsim.engine.journey import Journey
    from chatsim.engine.session import Session

CLOSE, DROP_OLDEST, BLOCK = "close", "drop_oldest", "block"
Packet = tuple[float, float, Callable[[Any], None], Any]
"""Bytes, luck on the link, what to call when it arrives, and with what."""


class Outbound:
    """The outbound queues of all sessions. A link sends one byte after the other, and nothing overtakes.

    A queue is what has been written and not yet sent. Where nothing can change that any more, a packet's time of
    arrival is known when it is written. Where what waits may be dropped, or links become slower and faster, packets
    stand in the session's ``outbox``, and the link takes one after the other (``one_by_one``).
    """

    def __init__(self, journey: Journey) -> None:
        network = journey.scenario.network
        self.journey, self.notes, self.clock = journey, journey.notes, journey.clock
        self.closes, self.drops_oldest, self.blocks = (
            network.outbound_policy == policy for policy in (CLOSE, DROP_OLDEST, BLOCK)
        )
        self.checks = not self.blocks and not self.drops_oldest
        rates_change = any(fault.kind == "slow_clients" for fault in journey.scenario.faults)
        self.one_by_one = self.drops_oldest or rates_change
        self.max_bytes = network.outbound_max_bytes
        self.size_bytes = journey.size_bytes
        self.loses = journey.lines.orderly
        self.remembers = journey.resends or journey.receipts or journey.keeps_missed
        self.observer: Callable[[Sequence[int], float], None] | None = None

    def write(self, message: int, session: Session, leaves_s: float, factor: float) -> None:
        """A gateway writes a message to a session at ``leaves_s``; where its queue is full, the policy acts.

        ``factor`` is the luck of the packet on the session's link.
        """
        size_bytes = self.size_bytes[message]
        if self.checks and not session.closed:
            waiting_bytes = session.unsent_bytes + size_bytes
            if session.drained_s > leaves_s:
                waiting_bytes += (session.drained_s - leaves_s) * session.rate
            if self.one_by_one:
                waiting_bytes += session.outbox_bytes
            if waiting_bytes > self.max_bytes:
                self.notes.written(message, session.number, leaves_s, Cause.OUTBOUND_FULL)
                if self.closes:
                    self.journey.close(session)
                return
        row = self.notes.written(message, session.number, leaves_s)
        if not session.gateway.by_item:
            if self.checks:
                session.unsent_bytes += size_bytes
            session.gateway.send(session, (row, factor))
        elif self.one_by_one:
            session.unsent_bytes += size_bytes
            self.clock.at(leaves_s, self._leaves, (session, row, size_bytes, factor))
        else:
            arrival_s = self._arrival_s(session, leaves_s, size_bytes, factor)
            self.clock.at(arrival_s, self.delivered, (session, (row,), session.drained_s))

    def has_room_s(self, session: Session, size_bytes: float) -> float:
        """When a session's queue has room for so many bytes more; an empty one always has."""
        free_bytes = self.max_bytes - session.unsent_bytes - size_bytes
        drained_s = session.drained_s
        if session.outbox_bytes:
            drained_s = max(drained_s, self.clock.now) + session.outbox_bytes / session.rate
        return drained_s - max(free_bytes, 0.0) / session.rate

    def transmit(self, session: Session, rows: list[tuple[int, float]]) -> None:
        """What a tick wrote to one session goes down its link as one packet, with the luck of the first message.

        Where what has waited longest is dropped, each message is a packet of its own.
        """
        session.unsent_bytes = 0.0
        if self.drops_oldest:
            for row, factor in rows:
                self._queue(session, [row], self.size_bytes[self.notes.row_message[row]], factor)
            return
        size_bytes = float(sum(self.size_bytes[self.notes.row_message[row]] for row, _ in rows))
        self._queue(session, [row for row, _ in rows], size_bytes, rows[0][1])

    def send(self, session: Session, size_bytes: float, call: Callable[[Any], None], value: Any) -> None:
        """Something else is written to a session now: ``call`` when it arrives."""
        if self.one_by_one:
            self._stands(session, (size_bytes, 1.0, call, value))
        else:
            self.clock.at(self._arrival_s(session, self.clock._now, size_bytes, 1.0), call, value)

    def changes_rate(self, session: Session, bytes_per_s: float) -> None:
        """A session's link becomes slower or faster, also for what is left of the packet that it is sending."""
        now_s = self.clock.now
        left_bytes = max(session.drained_s - now_s, 0.0) * session.rate
        if session.sending is not None and bytes_per_s != session.rate:
            session.drained_s = now_s + left_bytes / bytes_per_s
            self._will_be_sent(session)
        session.rate = bytes_per_s

    def delivered(self, event: Any) -> None:
        """A packet, sent off at ``sent_s``, reaches the session. Now, and not before, its messages are delivered.

        What a gateway had not sent off when it died is gone with it.
        """
        session, rows, sent_s = event.value
        if self.observer is not None:
            self.observer(rows, sent_s)
        for row in rows:
            if session.cut and sent_s > session.cut_s:
                self.notes.lost(row, Cause.CRASHED)
                continue
            if session.gone:
                self.notes.lost(row, Cause.LEFT)
                continue
            message = self.notes.row_message[row]
            if session.live is not None:
                session.live.add(message)
            elif session.synced and message in session.synced:
                self.notes.row_fate[row] = Fate.DUPLICATE
            self.received(row, message, session)

    def received(self, row: int, message: int, session: Session) -> None:
        """A session has a message; where messages are sent again it may have it already."""
        self.notes.row_time_s[row] = self.clock._now
        if not self.remembers:
            return
        journey = self.journey
        if journey.resends:
            if message in session.client.got:
                self.notes.row_fate[row] = Fate.DUPLICATE
            session.client.got.add(message)
        journey.has_it(row, message, session)

    def _arrival_s(self, session: Session, leaves_s: float, size_bytes: float, factor: float) -> float:
        """When a packet arrives that its link can send from ``leaves_s`` on, and not before the last one."""
        drained_s = session.drained_s
        drained_s = (drained_s if drained_s > leaves_s else leaves_s) + size_bytes / session.rate
        session.drained_s = drained_s
        arrival_s = drained_s + session.link_s * factor
        if self.loses:
            arrival_s += self.journey.lines.extra_s(CLIENTS)
        session.downlink_s = max(session.downlink_s, arrival_s)
        return session.downlink_s

    def _leaves(self, event: Any) -> None:
        session, row, size_bytes, factor = event.value
        session.unsent_bytes -= size_bytes
        self._queue(session, (row,), size_bytes, factor)

    def _queue(self, session: Session, rows: Sequence[int], size_bytes: float, factor: float) -> None:
        """A packet of messages goes down the link, or stands in the outbox until its turn."""
        if not self.one_by_one:
            arrival_s = self._arrival_s(session, self.clock._now, size_bytes, factor)
            self.clock.at(arrival_s, self.delivered, (session, rows, session.drained_s))
        elif not self.drops_oldest or self._makes_room(session, size_bytes):
            self._stands(session, (size_bytes, factor, self.delivered, (session, rows)))
        else:
            self._drop(rows, Cause.OUTBOUND_FULL)

    def _makes_room(self, session: Session, size_bytes: float) -> bool:
        """Drops messages that have waited longest until there is room; False where even then there is none."""
        sending_bytes = max(session.drained_s - self.clock._now, 0.0) * session.rate
        for packet in [packet for packet in session.outbox if packet[2] == self.delivered]:
            if sending_bytes + session.outbox_bytes + size_bytes <= self.max_bytes:
                break
            session.outbox.remove(packet)
            session.outbox_bytes -= packet[0]
            self._drop(packet[3][1], Cause.OUTBOUND_FULL)
        return sending_bytes + session.outbox_bytes + size_bytes <= self.max_bytes

    def _drop(self, rows: Sequence[int], cause: Cause) -> None:
        for row in rows:
            self.notes.lost(row, cause)

    def _stands(self, session: Session, packet: Packet) -> None:
        session.outbox.append(packet)
        session.outbox_bytes += packet[0]
        if session.sending is None:
            self._send_next(session)

    def _send_next(self, session: Session) -> None:
        """The link takes the next packet of the outbox. With the connection goes what is still in it."""
        box = session.outbox
        if session.cut or session.gone:
            cause = Cause.CRASHED if session.cut else Cause.LEFT
            for _, _, call, value in box:
                if call in (self.delivered, self.journey.welcomed):
                    self._drop(value[1], cause)
            box.clear()
            session.outbox_bytes = 0.0
        elif box:
            session.sending = box.popleft()
            size_bytes = session.sending[0]
            session.outbox_bytes -= size_bytes
            session.drained_s = self.clock._now + size_bytes / session.rate
            self._will_be_sent(session)

    def _will_be_sent(self, session: Session) -> None:
        self.clock.at(session.drained_s, self._is_sent, (session, session.drained_s))

    def _is_sent(self, event: Any) -> None:
        """The last byte of a packet has left, unless its link has become slower or faster since."""
        session, drained_s = event.value
        if session.sending is None or session.drained_s != drained_s:
            return
        _, factor, call, value = session.sending
        session.sending = None
        arrival_s = drained_s + session.link_s * factor
        if self.loses:
            arrival_s += self.journey.lines.extra_s(CLIENTS)
        session.downlink_s = max(session.downlink_s, arrival_s)
        self.clock.at(session.downlink_s, call, (*value, drained_s) if call == self.delivered else value)
        self._send_next(session)
