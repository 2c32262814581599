"""People and what they do: population, rooms, and the trace that every design under comparison is fed."""

from chatsim.world.build import build_world
from chatsim.world.loadtest import load_test
from chatsim.world.tables import GROUP, PAIR, Friends, MessageTable, Rooms, SessionTable, TraceReport, World

__all__ = [
    "GROUP", "PAIR", "Friends", "MessageTable", "Rooms", "SessionTable", "TraceReport", "World",
    "build_world", "load_test",
]
