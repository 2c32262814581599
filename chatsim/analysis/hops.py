"""One message's way through the system, hop by hop, from what a recorder has noted of it.

``visits`` is :meth:`chatsim.engine.Recorder.table`: one row per item and station.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from chatsim.analysis.columns import floats, is_delivered, longs
from chatsim.engine.outcome import Cause, Columns, Fate, Outcome, PushFate, Work
from chatsim.scenario import InputError
from chatsim.world.tables import World

UP, LINK, WORK, DOWN, LOST, PUSH, SAID = "uplink", "link", "work", "downlink", "lost", "push", "said"
SENDERS_LINK, QUEUE, TICK, OWN_WORK, SERVERS_LINK, HELD, RECIPIENTS_LINK = (
    "sender's link", "queue", "tick", "work", "links between servers", "held", "recipient's link",
)  # fmt: skip
ROUNDING_S = 1e-9  # the engine adds up an item's time in two ways, which may differ in the last digit
PIECES = (SENDERS_LINK, QUEUE, TICK, OWN_WORK, SERVERS_LINK, HELD, RECIPIENTS_LINK)
WORDS = {
    Work.RECEIVE: "reads and checks it",
    Work.COMMAND: "writes commands for it",
    Work.PARSE: "reads the reply",
    Work.PUBLISH: "PUBLISH",
    Work.BUS: "takes it from the cluster bus",
    Work.SUBSCRIBE: "SUBSCRIBE",
    Work.LOOKUP: "looks up where they are",
    Work.UPDATE: "notes who is in the room",
    Work.STORE: "stores it",
    Work.REFUSAL: "writes the refusal",
    Work.RELATION: "looks up whether it may pass",
    Work.MEMBERS: "looks up who is in the room",
    Work.SEARCH: "searches for the recipient",
    Work.ACK: "writes that it is taken",
}


class Hop(NamedTuple):
    """A row of :func:`hops`."""

    start_s: float
    end_s: float
    kind: str
    source: str
    place: str
    what: str
    waits_s: float = 0.0
    works_s: float = 0.0
    visit: int = -1
    delivery: int = -1


class Piece(NamedTuple):
    """A row of :func:`passage`."""

    start_s: float
    end_s: float
    kind: str
    place: str
    visit: int = -1
    delivery: int = -1


class _Visit(NamedTuple):
    """A row of ``visits``, and its number."""

    row: int
    message: int
    recipient: int
    work: int
    station: int
    source: int
    departed_s: float
    arrived_s: float
    start_s: float
    turn_s: float
    cost_s: float
    left_s: float
    tick: int


def slowest(outcome: Outcome) -> int:
    """The message of the delivery that took longest live; the first message where none was delivered.

    """
    rows = np.flatnonzero(is_delivered(outcome))
    if not len(rows):
        return 0
    message = longs(outcome.deliveries, "message")[rows]
    took_s = floats(outcome.deliveries, "time_s")[rows] - floats(outcome.messages, "time_s")[message]
    return int(message[np.argmax(took_s)])


def known_message(world: World, message: int) -> int:
    """The number of a message of this trace; InputError, saying what is allowed, where it is none.

    >>> from chatsim.scenario import load_scenario
    >>> from chatsim.world import build_world
    >>> known_message(build_world(load_scenario("hub", ["workload.users=50"])), 1_000_000)
    Traceback (most recent call last):
    chatsim.scenario.errors.InputError: --message 1000000: this run has messages 0 to 26
    """
    count = len(world.messages)
    if not count:
        raise InputError(f"--message {message}: this run has no messages: a longer run or more users are needed")
    if not 0 <= message < count:
        raise InputError(f"--message {message}: this run has messages 0 to {count - 1}")
    return message


def hops(outcome: Outcome, visits: Columns, message: int) -> pd.DataFrame:
    """All that happens to one message, in the order of time. One row per hop:

    start_s, end_s (NaN: never); kind ("uplink", "link" between servers, "work" at a station, "downlink", "lost",
    "push", "said" to the sender); source and place, names of stations or people; what, in words; and of work waits_s
    (in the queue, and in its tick before its turn) and works_s (the item's own); visit and delivery, the rows in
    ``visits`` and ``deliveries`` that it is of (-1: none).
    """
    rows = [*_sent(outcome, visits, message), *_worked(outcome, visits, message)]
    rows += [*_broken(outcome, message), *_delivered(outcome, message), *_told(outcome, message)]
    order = {UP: 0, LINK: 1, WORK: 2, LOST: 3, DOWN: 4, PUSH: 5, SAID: 6}
    rows.sort(key=lambda hop: (hop.start_s, order[hop.kind]))
    return pd.DataFrame(rows, columns=list(Hop._fields))


def passage(outcome: Outcome, visits: Columns, message: int, row: int) -> pd.DataFrame:
    """Where the time of one live delivery went. Pieces without a gap, from sender to recipient:

    start_s, end_s, kind (one of ``PIECES``: "tick" is what a tick costs beside the item, "held" what is neither work
    nor travel, such as a stream that kept the message), place; visit and delivery as in :func:`hops`. ``row`` is the
    delivery's in ``deliveries``.
    """
    table = outcome.deliveries
    written_s, time_s = float(table["written_s"][row]), float(table["time_s"][row])
    gateway, user = int(table["gateway"][row]), int(table["recipient"][row])
    own = _visits(visits, message)
    pieces = [Piece(written_s, time_s, RECIPIENTS_LINK, user_name(outcome, user), delivery=row)]
    visit = _writing(own, gateway, user, written_s)
    until_s = written_s
    while visit is not None:
        pieces += _at_station(visit, until_s, outcome.stations)
        until_s = visit.arrived_s
        if visit.source >= 0:
            name = f"{outcome.stations[visit.source]} to {outcome.stations[visit.station]}"
            pieces.append(Piece(visit.departed_s, until_s, SERVERS_LINK, name, visit.row))
            until_s = visit.departed_s
        if visit.work == Work.RECEIVE:
            break
        before = _before(own, visit, until_s)
        if before is not None and before.left_s < until_s:
            pieces.append(Piece(before.left_s, until_s, HELD, outcome.stations[before.station]))
            until_s = before.left_s
        visit = before
    sender = user_name(outcome, int(outcome.messages["sender"][message]))
    pieces.append(Piece(float(outcome.messages["time_s"][message]), until_s, SENDERS_LINK, sender))
    return pd.DataFrame(reversed(pieces), columns=list(Piece._fields))


def breakdown_ms(pieces: pd.DataFrame) -> pd.Series:
    """What the pieces of a passage add up to, in ms, by kind, in the order of ``PIECES``.

    >>> breakdown_ms(pd.DataFrame([Piece(0.0, 0.01, QUEUE, "a"), Piece(0.01, 0.03, QUEUE, "b")]))["queue"].round(6)
    np.float64(30.0)
    """
    spent_s = (pieces["end_s"] - pieces["start_s"]).groupby(pieces["kind"]).sum()
    return spent_s.reindex(list(PIECES), fill_value=0.0) * 1e3


def on_the_way(hops: pd.DataFrame, pieces: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which of the hops a passage went by."""
    by_visit = hops["visit"].ge(0) & hops["visit"].isin(pieces["visit"])
    return np.asarray(by_visit | (hops["delivery"].ge(0) & hops["delivery"].isin(pieces["delivery"])), bool)


def last_delivery(outcome: Outcome, message: int) -> int:
    """The row in ``deliveries`` of the last live delivery of a message; -1 where there is none."""
    rows = np.flatnonzero(is_delivered(outcome) & (longs(outcome.deliveries, "message") == message))
    return int(rows[np.argmax(floats(outcome.deliveries, "time_s")[rows])]) if len(rows) else -1


def user_name(outcome: Outcome, user: int) -> str:
    """What the log calls a user, or 'user 7'."""
    names = outcome.world.user_names
    return f"user {user}" if names is None else str(names[user])


# --------------------------------------------------------------------------- the rows of hops


def _sent(outcome: Outcome, visits: Columns, message: int) -> Iterator[Hop]:
    """From the sender's hand to the gateway; where it was sent again, only when that came is known."""
    table = outcome.messages
    written_s, sender = float(table["time_s"][message]), user_name(outcome, int(table["sender"][message]))
    received = [visit for visit in _visits(visits, message) if visit.work == Work.RECEIVE]
    for number, visit in enumerate(received):
        what, start_s = ("its client sends it", written_s) if not number else ("sent again", visit.arrived_s)
        yield Hop(start_s, visit.arrived_s, UP, sender, outcome.stations[visit.station], what, visit=visit.row)
    if not received:
        fate, cause = Fate(int(table["fate"][message])), Cause(int(table["cause"][message]))
        yield Hop(written_s, math.nan, UP, sender, "no gateway", f"never taken: {_end_said(fate, cause)}")


def _worked(outcome: Outcome, visits: Columns, message: int) -> Iterator[Hop]:
    own = _visits(visits, message)
    names = outcome.stations
    for visit in own:
        place = names[visit.station]
        if visit.source >= 0:
            end_s = visit.arrived_s
            what = _carried(visit, outcome)
            yield Hop(visit.departed_s, end_s, LINK, names[visit.source], place, what, visit=visit.row)
        if not math.isnan(visit.start_s):
            waits_s = visit.turn_s - visit.arrived_s
            what = _work_said(outcome, own, visit)
            yield Hop(visit.arrived_s, visit.left_s, WORK, place, place, what, waits_s, visit.cost_s, visit.row)


def _delivered(outcome: Outcome, message: int) -> Iterator[Hop]:
    table = outcome.deliveries
    for row in np.flatnonzero(longs(table, "message") == message).tolist():
        user = user_name(outcome, int(table["recipient"][row]))
        fate, cause = Fate(int(table["fate"][row])), Cause(int(table["cause"][row]))
        session, gateway = int(table["session"][row]), int(table["gateway"][row])
        start_s, end_s = float(table["written_s"][row]), float(table["time_s"][row])
        if math.isnan(start_s):
            over_s = float(outcome.messages["done_s"][message])
            start_s = over_s if not math.isnan(over_s) else float(outcome.messages["time_s"][message])
            yield Hop(start_s, math.nan, LOST, "", user, _end_said(fate, cause))
            continue
        place = f"{user}, session {session}"
        yield Hop(start_s, end_s, DOWN, outcome.stations[gateway], place, _end_said(fate, cause), delivery=row)


def _broken(outcome: Outcome, message: int) -> Iterator[Hop]:
    table = outcome.breaks
    for row in np.flatnonzero(longs(table, "message") == message).tolist():
        gateway, at_s = int(table["gateway"][row]), float(table["time_s"][row])
        place = outcome.stations[gateway] if gateway >= 0 else "the system"
        what = f"a fault stops it here: {_said(Cause(int(table['cause'][row])).name)}"
        yield Hop(at_s, at_s, LOST, place, place, what)


def _told(outcome: Outcome, message: int) -> Iterator[Hop]:
    """What the sender hears of it, and the pushes sent for it."""
    table, sender = outcome.messages, user_name(outcome, int(outcome.messages["sender"][message]))
    gateway = int(table["gateway"][message])
    source = outcome.stations[gateway] if gateway >= 0 else ""
    for column, what in (("told_s", "told that it was refused"), ("acked_s", "told that it is taken")):
        at_s = float(table[column][message])
        if not math.isnan(at_s):
            yield Hop(at_s, at_s, SAID, source, sender, what)
    pushes = outcome.pushes
    for row in np.flatnonzero(longs(pushes, "message") == message).tolist():
        fate = PushFate(int(pushes["fate"][row]))
        user = user_name(outcome, int(pushes["user"][row]))
        start_s, end_s = float(pushes["due_s"][row]), float(pushes["arrived_s"][row])
        yield Hop(start_s, end_s, PUSH, "push provider", user, f"a push: {_said(fate.name)}")


def _work_said(outcome: Outcome, own: list[_Visit], visit: _Visit) -> str:
    if visit.work != Work.WRITE:
        return WORDS.get(Work(visit.work), _said(Work(visit.work).name))
    asks = [next_ for next_ in own if next_.work == Work.LOOKUP and _follows(next_, visit)]
    if asks:
        return "reads the push and asks who is here"
    table = outcome.deliveries
    at_s = floats(table, "written_s")
    is_here = (longs(table, "message") == visit.message) & (longs(table, "gateway") == visit.station)
    if visit.recipient >= 0:
        is_here &= longs(table, "recipient") == visit.recipient
    sessions = int((is_here & (at_s >= visit.start_s) & ~(at_s > visit.left_s)).sum())
    read = "reads the push, " if visit.source >= 0 else ""
    if not sessions:
        return f"{read}has nobody to write to"
    return f"{read}writes to {sessions} session{'s' if sessions > 1 else ''}"


def _carried(visit: _Visit, outcome: Outcome) -> str:
    """What travels on a link between servers, in words."""
    said = {Work.WRITE: "the push", Work.PARSE: "the reply", Work.BUS: "the message, on the cluster bus"}
    what = said.get(Work(visit.work), Work(visit.work).name)
    to = f" for {user_name(outcome, visit.recipient)}" if visit.recipient >= 0 else ""
    return f"{what}{to}" + (" (never worked on)" if math.isnan(visit.start_s) else "")


def _end_said(fate: Fate, cause: Cause) -> str:
    return _said(fate.name) + (f" ({_said(cause.name)})" if cause else "")


def _said(name: str) -> str:
    return name.lower().replace("_", " ")


# --------------------------------------------------------------------------- the pieces of a passage


def _visits(visits: Columns, message: int) -> list[_Visit]:
    rows = np.flatnonzero(visits["message"] == message)
    columns = [visits[name][rows].tolist() for name in _Visit._fields[1:]]
    return [_Visit(*values) for values in zip(rows.tolist(), *columns, strict=True)]


def _follows(visit: _Visit, before: _Visit) -> bool:
    """Whether an item began its way when, and where, another one left."""
    came_from = visit.source if visit.source >= 0 else visit.station
    began_s = visit.departed_s if visit.source >= 0 else visit.arrived_s
    return came_from == before.station and began_s == before.left_s


def _writing(own: list[_Visit], gateway: int, user: int, written_s: float) -> _Visit | None:
    """The visit in which a gateway wrote to a user's session."""
    fits = [
        visit
        for visit in own
        if visit.work == Work.WRITE
        and visit.station == gateway
        and visit.recipient in (-1, user)
        and visit.turn_s - ROUNDING_S <= written_s <= visit.left_s + ROUNDING_S
    ]
    return min(fits, key=lambda visit: visit.left_s, default=None)


def _before(own: list[_Visit], visit: _Visit, until_s: float) -> _Visit | None:
    """What set a visit off: the item that left there and then, or else the last one that had left by then."""
    exact = [other for other in own if other is not visit and _follows(visit, other)]
    if exact:
        return max(exact, key=lambda other: (other.recipient == visit.recipient, other.turn_s))
    earlier = [other for other in own if other.left_s <= until_s and other.turn_s < visit.turn_s]
    return max(earlier, key=lambda other: other.left_s, default=None)


def _at_station(visit: _Visit, until_s: float, names: tuple[str, ...]) -> list[Piece]:
    """The last thing first: work (as far as ``until_s``), what its tick costs beside it, and the queue."""
    place = names[visit.station]
    worked_s = min(visit.turn_s + visit.cost_s, until_s)
    return [
        Piece(worked_s, until_s, TICK, place, visit.row),
        Piece(visit.turn_s, worked_s, OWN_WORK, place, visit.row),
        Piece(visit.start_s, visit.turn_s, TICK, place, visit.row),
        Piece(visit.arrived_s, visit.start_s, QUEUE, place, visit.row),
    ]
