"""What happens in the chat logic that a design need not have, by the kind of event and of job."""

from __future__ import annotations

from chatsim.engine.compiled import notices
from chatsim.engine.compiled.code import compiled
from chatsim.engine.compiled.kinds import E_RECEIPT, J_ANNOUNCE, J_ANNOUNCED, J_RECEIPT
from chatsim.engine.compiled.state import State


@compiled
def happens(st: State, kind: int, one: int, two: int, three: int) -> None:
    """An event of the chat logic happens."""
    if kind == E_RECEIPT:
        notices.receipt_leaves(st, one, two, three)
    else:
        notices.receipt_comes_up(st, one, two, three)


@compiled
def end(st: State, kind: int, station: int, job: int) -> None:
    """A job of the chat logic leaves its station."""
    if kind == J_RECEIPT:
        notices.end_receipt(st, station, job)
    elif kind == J_ANNOUNCED:
        notices.end_announced(st, station, job)
    elif kind == J_ANNOUNCE:
        notices.end_announce(st, station, job)
    else:
        notices.end_tell(st, station, job)
