"""What clients ask before they write: who is this, and is the other one there?"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from simpy.events import Event

from chatsim.engine.outcome import Work
from chatsim.engine.station import Request, Task

if TYPE_CHECKING:
    from chatsim.engine.presence import Presence
    from chatsim.engine.session import Session
    from chatsim.engine.stage import Stage

Story = Generator[Event, Any, None]


def search(stage: Stage, session: Session, message: int) -> Story:
    """The writer searches for somebody who is not listed, and writes when the answer is there."""
    costs, gateway = stage.scenario.gateway, session.gateway
    yield stage.clock.until(stage.clock.now + session.link_s)
    yield stage.does(gateway, Work.SEARCH, costs.receive_us + costs.command_us, message=message, came_on=session)
    reply = Task(stage.clock, costs.parse_us + costs.write_us)
    request = Request(gateway, Work.SEARCH, stage.scenario.database.search_us, reply)
    request.is_for(message)
    yield from stage.ask(gateway, stage.database, request, reply)
    yield stage.clock.until(stage.clock.now + session.link_s)
    stage.notes.searched_s[message] = stage.clock.now


def ask_presence(stage: Stage, presence: Presence, session: Session, user: int) -> Story:
    """A client asks whether somebody is online; it writes without waiting for the answer."""
    costs, gateway, broker = stage.scenario.gateway, session.gateway, stage.scenario.broker
    yield stage.clock.until(stage.clock.now + session.link_s)
    yield stage.does(gateway, Work.ASKED, costs.receive_us + costs.command_us, came_on=session)

    def act() -> None:
        stage.notes.pulls.add(stage.clock.now, user, presence.is_shown(user), stage.online.get(user, 0) > 0)

    reply = Task(stage.clock, costs.parse_us + costs.write_us)
    request = Request(gateway, Work.STATE, broker.lookup_us + broker.lookup_user_us, reply, act)
    yield from stage.ask(gateway, stage.node_of_user(user), request, reply)
