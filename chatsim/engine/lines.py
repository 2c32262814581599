"""The connections among gateways, broker and database: what travels on them, what waits, and what is lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

from simpy.events import Event

from chatsim.engine.clock import Broken
from chatsim.engine.outcome import Cause, Work
from chatsim.engine.station import Job, Request, Station, Task
from chatsim.rules.routing import keeps_registry

if TYPE_CHECKING:
    from chatsim.engine.jobs import FanOut, Publish
    from chatsim.engine.stage import Gateway, Node, Stage

Story = Generator[Event, Any, None]
Parcel = tuple[Station, Station, Sequence[Job], int]
CLIENTS, BROKER, DATABASE = range(3)
LINK_NUMBERS = {"clients": CLIENTS, "broker": BROKER, "database": DATABASE}


class Extra:
    """What faults add to a kind of link: time on each way, and the share of packets that are lost and sent again."""

    def __init__(self) -> None:
        self.added: list[float] = []
        self.losses: list[tuple[float, float]] = []
        self.packets = 0

    @property
    def added_s(self) -> float:
        """Time added to each way."""
        return sum(self.added)


class Lines:
    """Packets between stations. A gateway without its broker node tries to reach it again and again.

    Nothing overtakes on a connection. A packet for a station that has died since is lost, also where it is back.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.extra = {CLIENTS: Extra(), BROKER: Extra(), DATABASE: Extra()}
        self.orderly = any(fault.kind == "link" for fault in stage.scenario.faults)
        self.arrives_s: dict[tuple[int, int], float] = {}
        self.parted: dict[int, list[Parcel]] = {}
        self.silenced: set[int] = set()
        self.away = 0
        self.overflowed = False

    def carry(self, station: Station, place: Station, jobs: Sequence[Job]) -> None:
        """What left a station at one instant for another: one packet."""
        stage = self.stage
        if (self.away or self.parted) and self._stops(station, place, jobs):
            return
        far = station is stage.database or place is stage.database
        now_s = stage.clock._now
        arrives_s = now_s + (stage.database_link_s if far else stage.broker_link_s)
        if self.orderly:
            arrives_s += self.extra_s(DATABASE if far else BROKER)
            line = (station.number, place.number)
            arrives_s = self.arrives_s[line] = max(arrives_s, self.arrives_s.get(line, 0.0))
        stage.clock.at(arrives_s, self._arrive, (station, place, jobs, place.life))

    def extra_s(self, link: int) -> float:
        """What faults add to one way of one packet on a link: TCP sends a lost one again after 1, 2, 4, ... times.

        The time added to clients' links is in their sessions' own.
        """
        extra = self.extra[link]
        longer_s = 0.0 if link == CLIENTS else extra.added_s
        if not extra.losses:
            return longer_s
        extra.packets += 1
        for place, (share, again_s) in enumerate(extra.losses):
            losses = self.stage.luck.losses(link + len(LINK_NUMBERS) * place, extra.packets, share)
            longer_s += again_s * (2.0**losses - 1.0)
        return longer_s

    def cut(self, node: Node, gateway: Gateway, cause: Cause) -> None:
        """A gateway and a broker node have no connection any more: its subscriptions are gone, and it tries again."""
        number = gateway.number
        if number in node.away or not gateway.up:
            return
        channels = [channel for channel, gateways in node.subscribers.items() if number in gateways]
        for channel in channels:
            node.subscribe(channel, number, -1)
        self._leaves(node, number, dict.fromkeys(channels), cause)
        self.stage.clock.story(self._reaches_again(node, gateway, self.stage.scenario.gateway.broker_retry_s))

    def connects(self, gateway: Gateway, channels: dict[Node, list[int]]) -> None:
        """A gateway that has just started connects to the broker, and subscribes to these channels."""
        for node in self.stage.nodes:
            self._leaves(node, gateway.number, dict.fromkeys(channels.get(node, ())), Cause.CUT_OFF)
            self.stage.clock.story(self._reaches_again(node, gateway, 0.0))

    def dies(self, gateway: Gateway) -> None:
        """The broker has no connection with a gateway any more that is gone."""
        number = gateway.number
        for node in self.stage.nodes:
            for channel in [channel for channel, gateways in node.subscribers.items() if number in gateways]:
                node.subscribe(channel, number, -1)
            if node.away.pop(number, None) is not None:
                self.away -= 1
            self._forgotten(node, number, Cause.CRASHED)
            self._new_line(node, number)

    def part(self, gateway: Gateway) -> None:
        """From now on nothing passes between a gateway and the broker, or the other gateways."""
        self.parted.setdefault(gateway.number, [])

    def meet(self, gateway: Gateway) -> None:
        """It passes again; what has waited travels now."""
        self.silenced.discard(gateway.number)
        for station, place, jobs, life in self.parted.pop(gateway.number, ()):
            if place.life == life:
                self.carry(station, place, jobs)
            else:
                place.loses(jobs, place.gone_for)

    def silence(self, gateway: Gateway) -> None:
        """The two take their connection for broken: what has waited is lost, but for what a stream keeps."""
        if gateway.number not in self.parted:
            return
        self.silenced.add(gateway.number)
        waiting, self.parted[gateway.number] = self.parted[gateway.number], []
        for node in self.stage.nodes:
            self.cut(node, gateway, Cause.CUT_OFF)
        for station, place, jobs, _ in waiting:
            self._stopped(station, place, jobs, Cause.CUT_OFF)

    def not_heard(self, publish: Publish, node: Node, number: int) -> None:
        """A gateway that is away does not hear what it has subscribed to, unless a stream keeps it for later."""
        stage = self.stage
        if not node.keeps:
            stage.broken(publish.message, number, Cause.CUT_OFF)
            return
        self._keep(publish.fan_out(node, number), node, number)

    def watch(self, node: Node, gateways: Sequence[int]) -> None:
        """Gateways to whom too much is owed are cut off: Redis' client-output-buffer-limit."""
        limits, now_s = self.stage.scenario.broker, self.stage.clock.now
        for number in gateways:
            if not self.stage.gateways[number].up:
                continue
            owed = node.owed[number]
            if limits.subscriber_soft_bytes and owed > limits.subscriber_soft_bytes:
                since_s = node.soft_s.setdefault(number, now_s)
            else:
                node.soft_s.pop(number, None)
                since_s = now_s
            full = limits.subscriber_max_bytes and owed > limits.subscriber_max_bytes
            if full or now_s - since_s > limits.subscriber_soft_s:
                self._overflows(node, self.stage.gateways[number])

    def wiped(self, node: Node) -> None:
        """What streams on a node kept is lost with its data."""
        for number in sorted(node.missed):
            self._forgotten(node, number, Cause.BROKER_DOWN)

    def _overflows(self, node: Node, gateway: Gateway) -> None:
        """What a gateway has not read goes with its connection: in its queue, on the way, and about to leave."""
        unread = [job for job in gateway.queue if getattr(job, "node", None) is node]
        if unread:
            kept = [job for job in gateway.queue if getattr(job, "node", None) is not node]
            gateway.queue.clear()
            gateway.queue.extend(kept)
        unread += node.parcels.pop(gateway, [])
        node.cut_lines[gateway.number] = node.lines[gateway.number]
        self.overflowed = True
        self.cut(node, gateway, Cause.CUT_OFF)
        self._stopped(node, gateway, unread, Cause.CUT_OFF)

    def _stopped(self, station: Station, place: Station, jobs: Sequence[Job], cause: Cause) -> None:
        """Packets that do not come through: a stream keeps its pushes, all else is lost."""
        node = self._node(station)
        for job in jobs:
            if node is not None and node.keeps and job.is_push() and place.number in node.away:
                self._keep(job, node, place.number)  # type: ignore[arg-type]
            else:
                place.loses([job], cause)

    def _node(self, station: Station) -> Node | None:
        place = station.number - len(self.stage.gateways)
        return self.stage.nodes[place] if 0 <= place < len(self.stage.nodes) else None

    def _keep(self, push: FanOut, node: Node, number: int) -> None:
        """A stream keeps a push for a gateway that is away, and forgets the oldest of its channel where there are too
        many. It is not owed meanwhile."""
        node.read(push, number)
        kept = node.missed.setdefault(number, {}).setdefault(push.channel, deque())
        kept.append(push)
        if len(kept) > self.stage.scenario.broker.stream_max:
            self.stage.gateways[number].loses([kept.popleft()], Cause.TRIMMED)

    def _leaves(self, node: Node, number: int, channels: dict[int, None], cause: Cause) -> None:
        if number not in node.away:
            self.away += 1
        node.away[number], node.why[number] = channels, cause
        self._new_line(node, number)

    def _new_line(self, node: Node, number: int) -> None:
        node.lines[number] += 1
        node.owed[number] = 0
        node.soft_s.pop(number, None)

    def _forgotten(self, node: Node, number: int, cause: Cause) -> None:
        for kept in node.missed.pop(number, {}).values():
            self.stage.gateways[number].loses(kept, cause)

    def _stops(self, station: Station, place: Station, jobs: Sequence[Job]) -> bool:
        """Whether a packet does not pass now: it waits, or is lost."""
        stage = self.stage
        if station is stage.database or place is stage.database:
            return False
        for end in (station, place):
            if end.number in self.silenced:
                place.loses(jobs, Cause.CUT_OFF)
                return True
            if end.number in self.parted:
                self.parted[end.number].append((station, place, jobs, place.life))
                return True
        nodes = stage.nodes
        if nodes and place.number >= len(stage.gateways) > station.number:
            node = nodes[place.number - len(stage.gateways)]
            if station.number in node.away:
                place.loses(jobs, node.why[station.number])
                return True
        return False

    def _arrive(self, event: Any) -> None:
        station, place, jobs, life = event.value
        if place.life != life:
            place.loses(jobs, place.gone_for)
            return
        if self.overflowed:
            cut_off = [job for job in jobs if _was_cut(job, place.number)]
            if cut_off:
                self._stopped(station, place, cut_off, Cause.CUT_OFF)
                jobs = [job for job in jobs if job not in cut_off]
        place.take(*jobs, came_on=station)

    def _reaches_again(self, node: Node, gateway: Gateway, pause_s: float) -> Story:
        """A gateway tries to reach a broker node until it has all its subscriptions again."""
        stage, life = self.stage, gateway.life
        while True:
            yield stage.clock.until(stage.clock.now + pause_s)
            if gateway.life != life or gateway.number not in node.away:
                return
            pause_s = stage.scenario.gateway.broker_retry_s
            if not node.up or gateway.number in self.parted:
                continue
            try:
                yield from self._subscribes_again(node, gateway)
            except Broken:
                continue
            return

    def _subscribes_again(self, node: Node, gateway: Gateway) -> Story:
        stage, costs = self.stage, self.stage.scenario
        channels = len(node.away[gateway.number])
        yield stage.does(gateway, Work.COMMAND, costs.gateway.command_us)
        yield stage.clock.until(stage.clock.now + stage.broker_link_s)
        cost_us = costs.broker.subscribe_us * channels
        reply = Task(stage.clock, costs.gateway.parse_us)

        def act() -> None:
            self._is_back(node, gateway)

        node.take(Request(gateway, Work.SUBSCRIBE, cost_us, reply, act, channels), came_on=gateway)
        yield reply
        gateway.work[Work.PARSE] += 1
        stage.clock.story(self._tells_all(node, gateway))

    def _is_back(self, node: Node, gateway: Gateway) -> None:
        number = gateway.number
        if number not in node.away:
            return
        self.away -= 1
        for channel in node.away.pop(number):
            node.subscribe(channel, number, +1)
        for kept in node.missed.pop(number, {}).values():
            for push in kept:
                node.send(gateway, push)

    def _tells_all(self, node: Node, gateway: Gateway) -> Story:
        """A gateway that is back writes into the registry, and to the presence keys, what could not be written."""
        stage, update_us = self.stage, self.stage.scenario.broker.update_us
        unsigned = stage.unsigned(gateway, node)
        users = [user for user in gateway.local if stage.node_of_user(user) is node]
        requests: list[tuple[Station, Request]] = []
        if keeps_registry(stage.routing) and users:

            def act() -> None:
                stage.registered(gateway, node)

            reply = Task(stage.clock, stage.scenario.gateway.parse_us)
            requests.append((node, Request(gateway, Work.UPDATE, update_us * len(users), reply, act, len(users))))
        requests += [(node, request) for request in unsigned]
        yield from stage.query(gateway, requests)


def _was_cut(job: Any, number: int) -> bool:
    """Whether a push was under way when the broker cut its gateway off."""
    node = getattr(job, "node", None)
    return node is not None and bool(job.line <= node.cut_lines.get(number, -1))
