"""Coming into rooms while a run goes on: by writing to somebody, by asking, and by trying where one has no business."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from simpy.events import Event

from chatsim.engine.outcome import IntrusionFate, Work
from chatsim.engine.rooms import NO_PLACE
from chatsim.engine.station import Request, Station, Task
from chatsim.rules.rooms import PERSONAL_ROOMS, leaves_when_idle, personal_room
from chatsim.rules.routing import publishes_per_recipient

if TYPE_CHECKING:
    from chatsim.engine.access import Access
    from chatsim.engine.session import Session
    from chatsim.engine.stage import Stage

Story = Generator[Event, Any, None]


def enter(stage: Stage, session: Session, room: int, message: int = -1) -> Story:
    """The server joins a session to a room of which its user is no member, for a message to it, maybe. It stays there
    until it leaves."""
    if room in session.entered:
        session.entered[room] = stage.clock.now
        return
    gateway = session.gateway
    session.entered[room] = stage.clock.now
    requests: list[tuple[Station, Request]] = []
    if not publishes_per_recipient(stage.routing):
        for node, channels in stage.by_node(gateway, stage.into(session, room, NO_PLACE)):
            reply = Task(stage.clock, stage.scenario.gateway.parse_us)
            requests.append((node, stage.subscription(node, gateway, channels, +1, reply)))
    if stage.asks_members:
        requests.append((stage.node_of_room_number(room), _counts(stage, session, room, +1)))
    else:
        stage.counted_in(session.user, room, +1)
    if stage.design.leave == "idle":
        stage.clock.story(leave_when_idle(stage, session, room))
    yield from stage.query(gateway, requests, message)


def leave_when_idle(stage: Stage, session: Session, room: int) -> Story:
    """A session leaves a room it came into when it has written nothing there for a while."""
    idle_s = stage.design.leave_idle_s
    written_s = session.entered.get(room)
    while written_s is not None:
        yield stage.clock.until(max(stage.clock.now, written_s + idle_s))
        written_s = session.entered.get(room)
        if written_s is not None and leaves_when_idle(written_s, stage.clock.now, idle_s):
            leave(stage, session, room)
            return


def leave(stage: Stage, session: Session, room: int) -> None:
    """The server takes a session out of a room that it came into."""
    del session.entered[room]
    gateway = session.gateway
    if not publishes_per_recipient(stage.routing):
        for node, channels in stage.by_node(gateway, stage.out_of(session, room)):
            gateway.send(node, stage.subscription(node, gateway, channels, -1))
    takes_out(stage, session, [room])
    gateway.flush()


def takes_out(stage: Stage, session: Session, rooms: list[int]) -> None:
    """Takes a user out of the sets of rooms that a session of it came into."""
    for room in rooms:
        if stage.asks_members:
            session.gateway.send(stage.node_of_room_number(room), _counts(stage, session, room, -1))
        else:
            stage.counted_in(session.user, room, -1)


def intrude(stage: Stage, access: Access, number: int) -> Story:
    """An intruder's try: by writing to somebody where rooms are personal, otherwise by asking to join a room."""
    table, notes = stage.world.intrusions, stage.notes
    session = stage.sessions[int(table.session[number])]
    client = session.client
    while not client.session.online and not client.hopeless:
        yield client.ready
    session = client.session
    room = _wanted(stage, session.user, int(table.victim[number]), float(table.draw[number]))
    notes.intrusion_room[number] = room
    if not session.online or room < 0:
        notes.intrusion_fate[number] = IntrusionFate.NO_SESSION if not session.online else IntrusionFate.NO_ROOM
        return
    yield stage.clock.until(stage.clock.now + session.link_s)
    gateway, costs = session.gateway, stage.scenario.gateway
    yield stage.does(gateway, Work.JOIN, stage.message_us, came_on=session)
    if access.asks:
        reply = Task(stage.clock, costs.parse_us)
        cost_us = stage.scenario.database.relation_us
        yield from stage.query(gateway, [(stage.database, Request(gateway, Work.RELATION, cost_us, reply))])
    if session.has_left():
        notes.intrusion_fate[number] = IntrusionFate.NO_SESSION
        return
    may_ask = stage.rooms.kind == PERSONAL_ROOMS or stage.scenario.access.client_joins
    if may_ask and access.lets_in(session.user, room):
        yield from enter(stage, session, room)
        notes.intrusion_fate[number] = IntrusionFate.ENTERED
    else:
        yield stage.does(gateway, Work.NOTICE, costs.write_us)
        notes.intrusion_fate[number] = IntrusionFate.REFUSED
    notes.decided_s[number] = stage.clock.now


def _wanted(stage: Stage, user: int, victim: int, draw: float) -> int:
    """The room an intruder is after: the victim's own, or one of its rooms that the intruder is not in; -1: none."""
    if stage.rooms.kind == PERSONAL_ROOMS:
        return personal_room(victim, len(stage.world.rooms))
    rooms = [room for room, _ in stage.rooms.of_user(victim) if user not in stage.rooms.members(room)]
    return rooms[int(draw * len(rooms))] if rooms else -1


def _counts(stage: Stage, session: Session, room: int, change: int) -> Request:
    def act() -> None:
        stage.counted_in(session.user, room, change)

    reply = Task(stage.clock, stage.scenario.gateway.parse_us) if change > 0 else None
    return Request(session.gateway, Work.UPDATE, stage.scenario.broker.update_us, reply, act)
