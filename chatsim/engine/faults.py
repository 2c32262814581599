"""What breaks in a run: stations that die and come back, lines that are cut, work and links that take longer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from simpy.events import Event

from chatsim.engine.lines import LINK_NUMBERS
from chatsim.engine.notes import NEVER
from chatsim.engine.outcome import Cause, FaultKind
from chatsim.engine.scaling import scale
from chatsim.rules.reconnect import notices_s
from chatsim.scenario.faults import (
    FAULTS,
    BrokerDown,
    CacheEmptied,
    DatabaseDown,
    Drain,
    GatewayCrash,
    Link,
    Partition,
    Slow,
    SlowClients,
)
from chatsim.world.strikes import Strike, strikes_of

if TYPE_CHECKING:
    from chatsim.engine.journey import Journey
    from chatsim.engine.session import Session
    from chatsim.engine.stage import Gateway, Node
    from chatsim.engine.station import Station

Story = Generator[Event, Any, None]
KINDS = {name: FaultKind(number) for number, name in enumerate(FAULTS)}


class Faults:
    """The strikes of a run. Several may hold a station down at once: it is back when the last one ends.

    At one instant faults strike, and end, before sessions start or messages are written.
    """

    def __init__(self, journey: Journey) -> None:
        self.journey, self.clock, self.notes = journey, journey.clock, journey.notes
        self.holding: Counter[tuple[str, int]] = Counter()
        self.slowing: dict[int, list[float]] = {}
        self.draining: set[int] = set()
        self.slow_clients: list[SlowClients] = []
        self.parted_s: dict[int, float] = {}
        self._begins: dict[type, Callable[[Any, int], None]] = {
            GatewayCrash: self._crashes,
            BrokerDown: self._node_dies,
            DatabaseDown: self._database_dies,
            Partition: self._parts,
            Slow: self._slows,
            Link: self._link_worsens,
            CacheEmptied: self._caches_are_emptied,
            SlowClients: self._clients_slow_down,
        }
        self._ends: dict[type, Callable[[Any, int], None]] = {
            GatewayCrash: lambda fault, station: self.gateway_returns(station),
            BrokerDown: self._node_returns,
            DatabaseDown: self._database_returns,
            Partition: self._meets,
            Slow: self._slows_no_more,
            Link: self._link_recovers,
            CacheEmptied: lambda fault, station: None,
            SlowClients: self._clients_recover,
        }

    def begin(self) -> None:
        """Sets all strikes to their times."""
        journey = self.journey
        for strike in strikes_of(journey.scenario, journey.world.replication, journey.end_s):
            fault = journey.scenario.faults[strike.fault]
            if isinstance(fault, Drain):
                self.clock.at(strike.start_s, self._drains, strike)
                continue
            for station in strike.stations:
                self.clock.at(strike.start_s, self._strikes, (strike, station))
        if journey.scenario.scaling.start:
            scale(journey, self)

    def _strikes(self, event: Any) -> None:
        strike, station = event.value
        fault = self.journey.scenario.faults[strike.fault]
        row = self.note(strike.fault, KINDS[fault.kind], station)
        self._begins[type(fault)](fault, station)
        if strike.end_s < math.inf:
            self.clock.at(strike.end_s, self._is_over, (fault, station, row))

    def _is_over(self, event: Any) -> None:
        fault, station, row = event.value
        self.notes.faults["end_s"][row] = self.clock.now
        self._ends[type(fault)](fault, station)

    def note(self, fault: int, kind: FaultKind, station: int) -> int:
        """A fault begins; its row."""
        return self.notes.faults.add(fault, kind, station, self.clock.now, NEVER)

    # ------------------------------------------------------------------ gateways

    def _crashes(self, fault: GatewayCrash, station: int) -> None:
        self.gateway_dies(station, fault.noticed == "silence")

    def gateway_dies(self, station: int, silent: bool = False, planned: bool = False) -> None:
        """A gateway is gone with all it holds; clients see their connections closed, or, ``silent``, nothing at all.

        The balancer takes it out at once where that is ``planned``, otherwise when it notices.
        """
        self.holding["gateway", station] += 1
        gateway = self.journey.gateways[station]
        if not gateway.up:
            return
        sessions = list(gateway.sessions)
        gateway.silent = silent
        gateway.stop(Cause.CRASHED)
        for session in sessions:
            self._loses_gateway(session, silent)
        gateway.forget()
        self.journey.connections[station] = 0
        self.journey.access.forget(station)
        if silent:
            self.clock.at(
                self.clock.now + self.journey.scenario.gateway.broker_silence_s,
                self._broker_notices,
                (gateway, gateway.life),
            )
        else:
            self.journey.lines.dies(gateway)
        if planned:
            self.journey.out[station] = 1
        else:
            self._balancer_notices(gateway, 1)

    def gateway_returns(self, station: int) -> None:
        """A gateway starts, empty, unless another fault holds it down."""
        self.holding["gateway", station] -= 1
        if self.holding["gateway", station]:
            return
        journey, gateway = self.journey, self.journey.gateways[station]
        journey.lines.dies(gateway)
        gateway.start()
        for user in [user for user, held in journey.registry.items() if station in held]:
            journey.register(user, station, -journey.registry[user][station])
        channel = journey.standing_channel(station)
        if journey.scenario.has_broker:
            wanted = dict(journey.by_node(gateway, [channel])) if channel >= 0 else {}
            journey.lines.connects(gateway, wanted)
        self._balancer_notices(gateway, 0)

    def _balancer_notices(self, gateway: Gateway, out: int) -> None:
        notice_s = self.journey.scenario.balancer.notice_s
        self.clock.at(self.clock.now + notice_s, self._is_noticed, (gateway, gateway.life, out))

    def _is_noticed(self, event: Any) -> None:
        gateway, life, out = event.value
        if gateway.life != life or gateway.number in self.draining:
            return
        if out and not gateway.up:
            self.journey.out[gateway.number] = 1
        elif not out and gateway.up:
            self.journey.out.pop(gateway.number, None)

    def _broker_notices(self, event: Any) -> None:
        gateway, life = event.value
        if gateway.life == life and not gateway.up:
            self.journey.lines.dies(gateway)

    def _loses_gateway(self, session: Session, silent: bool) -> None:
        journey = self.journey
        if session.registered:
            journey.held[session.user] -= 1
            if not journey.asks_members:
                for room in session.entered:
                    journey.counted_in(session.user, room, -1)
            session.entered = {}
            if journey.presence.kept and not journey.scenario.has_broker:
                journey.presence.went(session)
        if session.cut:
            return
        notices_at_s = self.clock.now + session.link_s
        if silent:
            client, online_s = journey.scenario.client, self.notes.online_s[session.number]
            notices_at_s = (
                notices_s(online_s, self.clock.now, client.ping_s, client.ping_timeout_s)
                if session.online
                else math.inf
            )
        journey.cut(session, notices_at_s)

    def _drains(self, event: Any) -> None:
        strike = event.value
        self.clock.story(self.drain(strike))

    def drain(self, strike: Strike) -> Story:
        """A rolling deploy: one batch of gateways after the other is emptied, stopped, and started again."""
        fault = self.journey.scenario.faults[strike.fault]
        assert isinstance(fault, Drain)
        for first in range(0, len(strike.stations), fault.batch):
            batch = [
                number for number in strike.stations[first : first + fault.batch] if self.journey.gateways[number].up
            ]
            rows = [self.note(strike.fault, FaultKind.DRAIN, number) for number in batch]
            for number in batch:
                self.clock.story(self.empty(number, fault.grace_s))
            yield self.clock.until(self.clock.now + fault.grace_s)
            for number in batch:
                self.draining.discard(number)
                self.gateway_dies(number, planned=True)
            if not fault.for_s:
                continue
            yield self.clock.until(self.clock.now + fault.for_s)
            for number, row in zip(batch, rows, strict=True):
                self.notes.faults["end_s"][row] = self.clock.now
                self.gateway_returns(number)
            yield self.clock.until(self.clock.now + fault.pause_s)

    def empty(self, number: int, grace_s: float) -> Story:
        """A gateway gets no new sessions, and closes those that it has one after the other, evenly over ``grace_s``."""
        journey, gateway = self.journey, self.journey.gateways[number]
        self.draining.add(number)
        journey.out[number] = 1
        sessions, start_s, life = list(gateway.sessions), self.clock.now, gateway.life
        for place, session in enumerate(sessions):
            yield self.clock.until(start_s + grace_s * place / len(sessions))
            if gateway.life != life:
                return
            if not session.has_left():
                journey.cut(session, self.clock.now + session.link_s)
                self.clock.story(journey.goodbye(session, 0.0))

    # ------------------------------------------------------------------ broker and database

    def _node(self, station: int) -> Node:
        return self.journey.nodes[station - len(self.journey.gateways)]

    def _node_dies(self, fault: BrokerDown, station: int) -> None:
        self.holding["node", station] += 1
        node = self._node(station)
        if node.up:
            for gateway in self.journey.gateways:
                self.journey.lines.cut(node, gateway, Cause.BROKER_DOWN)
            node.stop(Cause.BROKER_DOWN)
        if not fault.keeps_data:
            self._wiped(node)

    def _node_returns(self, fault: BrokerDown, station: int) -> None:
        self.holding["node", station] -= 1
        if not self.holding["node", station]:
            self._node(station).start()

    def _wiped(self, node: Node) -> None:
        """What was on a broker node is lost: keys, sets, histories, streams."""
        journey = self.journey
        for user in [user for user in journey.registry if journey.node_of_user(user) is node]:
            del journey.registry[user]
        if journey.asks_members:
            for room in [room for room in journey.entered if journey.node_of_room_number(room) is node]:
                del journey.entered[room]
        journey.presence.wiped(node)
        journey.lines.wiped(node)
        if journey.design.store_in == "broker":
            for user, box in journey.inbox.items():
                for message in [message for message in box if journey.node_of_room(message) is node]:
                    del box[message]
                    self.notes.wiped.append((message, user))

    def _database_dies(self, fault: DatabaseDown, station: int) -> None:
        self.holding["database", station] += 1
        if self.journey.database.up:
            self.journey.database.stop(Cause.UNAVAILABLE)

    def _database_returns(self, fault: DatabaseDown, station: int) -> None:
        self.holding["database", station] -= 1
        if not self.holding["database", station]:
            self.journey.database.start()

    # ------------------------------------------------------------------ lines, speed, caches, clients

    def _parts(self, fault: Partition, station: int) -> None:
        self.holding["partition", station] += 1
        gateway = self.journey.gateways[station]
        if self.holding["partition", station] == 1:
            self.journey.lines.part(gateway)
            silence_s = self.journey.scenario.gateway.broker_silence_s
            self.clock.at(self.clock.now + silence_s, self._is_silent, (gateway, self.clock.now))
            self.parted_s[station] = self.clock.now

    def _is_silent(self, event: Any) -> None:
        gateway, since_s = event.value
        if self.parted_s.get(gateway.number) == since_s:
            self.journey.lines.silence(gateway)

    def _meets(self, fault: Partition, station: int) -> None:
        self.holding["partition", station] -= 1
        if not self.holding["partition", station]:
            del self.parted_s[station]
            self.journey.lines.meet(self.journey.gateways[station])

    def _station(self, number: int) -> Station:
        journey = self.journey
        return [*journey.gateways, *journey.nodes, journey.database][number]

    def _slows(self, fault: Slow, station: int) -> None:
        factors = self.slowing.setdefault(station, [])
        factors.append(fault.factor)
        self._station(station).slow = math.prod(factors)

    def _slows_no_more(self, fault: Slow, station: int) -> None:
        factors = self.slowing[station]
        factors.remove(fault.factor)
        self._station(station).slow = math.prod(factors)

    def _link_worsens(self, fault: Link, station: int) -> None:
        extra = self.journey.lines.extra[LINK_NUMBERS[fault.link]]
        extra.added.append(fault.added_ms * 1e-3)
        if fault.loss:
            extra.losses.append((fault.loss, fault.resend_ms * 1e-3))
        self._relink()

    def _link_recovers(self, fault: Link, station: int) -> None:
        extra = self.journey.lines.extra[LINK_NUMBERS[fault.link]]
        extra.added.remove(fault.added_ms * 1e-3)
        if fault.loss:
            extra.losses.remove((fault.loss, fault.resend_ms * 1e-3))
        self._relink()

    def _relink(self) -> None:
        added_s = self.journey.lines.extra[LINK_NUMBERS["clients"]].added_s
        for session in self.journey.sessions:
            session.link_s = session.base_s + added_s

    def _caches_are_emptied(self, fault: CacheEmptied, station: int) -> None:
        self.journey.access.answers.clear()
        if self.journey.lists.loads:
            self.journey.lists.empty()

    def _clients_slow_down(self, fault: SlowClients, station: int) -> None:
        self.slow_clients.append(fault)
        self._set_rates()

    def _clients_recover(self, fault: SlowClients, station: int) -> None:
        self.slow_clients.remove(fault)
        self._set_rates()

    def _set_rates(self) -> None:
        for session in self.journey.sessions:
            self.journey.outbound.changes_rate(session, self.rate(session))

    def rate(self, session: Session) -> float:
        """Bytes per s at which a session drains its outbound queue now."""
        luck = self.journey.luck
        slow = [fault.bytes_per_s for fault in self.slow_clients if luck.is_slow(session.user, fault.share)]
        return min([session.base_rate, *slow])
