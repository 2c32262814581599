"""One message followed through a run, and a window of time looked at closely."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from chatsim.analysis.columns import floats, is_delivered, longs
from chatsim.analysis.hops import (
    Piece,
    breakdown_ms,
    hops,
    known_message,
    last_delivery,
    on_the_way,
    passage,
    slowest,
    user_name,
)
from chatsim.analysis.spans import Spans, spans
from chatsim.engine import Recorder, simulate
from chatsim.engine.outcome import Columns, Outcome
from chatsim.scenario import InputError, Scenario
from chatsim.scenario.html import list_html
from chatsim.world import build_world

MARGIN_S, HTML_ROWS = 1e-3, 60


@dataclass(frozen=True)
class Followed:
    """One message of a run, hop by hop; and all that happened between ``from_s`` and ``to_s``.

    ``visits`` is what :class:`chatsim.engine.Recorder` has noted.
    """

    outcome: Outcome
    visits: Columns
    message: int
    from_s: float
    to_s: float

    @cached_property
    def hops(self) -> pd.DataFrame:
        """A row of :func:`chatsim.analysis.hops.hops` per hop; ``last``: the last live delivery went by it."""
        table = hops(self.outcome, self.visits, self.message)
        return table.assign(last=on_the_way(table, self.passage) if len(self.passage) else False)

    @cached_property
    def passage(self) -> pd.DataFrame:
        """Where the time of the last live delivery went (:func:`chatsim.analysis.hops.passage`); empty without one."""
        row = last_delivery(self.outcome, self.message)
        if row < 0:
            return pd.DataFrame(columns=list(Piece._fields))
        return passage(self.outcome, self.visits, self.message, row)

    @property
    def sentences(self) -> list[str]:
        """What the journey comes to, in words."""
        table, about = self.outcome.deliveries, self.outcome.messages
        written_s = float(about["time_s"][self.message])
        sender = user_name(self.outcome, int(about["sender"][self.message]))
        own = longs(table, "message") == self.message
        live = int((own & is_delivered(self.outcome)).sum())
        said = [
            f"Message {self.message}: {sender} writes to {int(about['recipients'][self.message])} others at "
            f"{written_s:.3f} s; {live} sessions have it live."
        ]
        if len(self.passage):
            took_ms = (float(self.passage["end_s"].iloc[-1]) - written_s) * 1e3
            place = self.passage["place"].iloc[-1]
            spent = breakdown_ms(self.passage)
            parts = [f"{kind} {ms:.3g} ms" for kind, ms in spent.items() if ms > 1e-6]
            said.append(f"The last of them, {place}, after {took_ms:.3f} ms: {', '.join(parts)}.")
        return said

    def spans(self) -> Spans:
        """The window as spans on tracks."""
        return spans(self.outcome, self.visits, self.from_s, self.to_s)

    def _repr_html_(self) -> str:
        table = self.hops.assign(
            at_ms=(self.hops["start_s"] - float(self.outcome.messages["time_s"][self.message])) * 1e3,
            took_ms=(self.hops["end_s"] - self.hops["start_s"]) * 1e3,
        )
        shown = table[["at_ms", "took_ms", "source", "place", "what"]]
        rows = shown.to_html(index=False, float_format="{:.3f}".format, na_rep="", max_rows=HTML_ROWS)
        return f"{list_html(self.sentences)}{rows}"


def follow(
    scenario: Scenario,
    message: int | None = None,
    from_s: float | None = None,
    to_s: float | None = None,
    progress: Callable[[float], None] | None = None,
) -> Followed:
    """Simulates a design and follows one message (None: the one whose delivery takes longest), hop by hop.

    ``from_s`` and ``to_s`` (simulated seconds) say which window is looked at closely; by default it is the time in
    which the message is under way. Raises InputError for a message or a window that the run does not have.

    >>> from chatsim.scenario import load_scenario
    >>> followed = follow(load_scenario("room-channel", ["workload.users=100"]), message=0)
    >>> followed.hops["kind"].tolist()[:3]
    ['uplink', 'work', 'link']
    """
    world = build_world(scenario)
    known_message(world, 0 if message is None else message)
    end_s = world.duration_s + scenario.workload.drain_s
    _check_window(from_s, to_s, end_s)
    if message is None or from_s is None or to_s is None:
        seen = simulate(scenario, world, progress)
        message = slowest(seen) if message is None else message
        own_from_s, own_to_s = _under_way(seen, message)
        from_s = own_from_s if from_s is None else from_s
        to_s = max(own_to_s, from_s) if to_s is None else to_s
        _check_window(from_s, to_s, end_s)
    recorder = Recorder(message, from_s, to_s)
    outcome = simulate(scenario, world, progress, recorder)
    return Followed(outcome, recorder.table(), message, from_s, to_s)


def _under_way(outcome: Outcome, message: int) -> tuple[float, float]:
    """From when to when a message is under way, live, with a little room."""
    written_s, done_s = (float(outcome.messages[name][message]) for name in ("time_s", "done_s"))
    rows = np.flatnonzero(is_delivered(outcome) & (longs(outcome.deliveries, "message") == message))
    until_s = max([done_s if not math.isnan(done_s) else written_s + 1.0, *floats(outcome.deliveries, "time_s")[rows]])
    return max(written_s - MARGIN_S, 0.0), float(until_s) + MARGIN_S


def _check_window(from_s: float | None, to_s: float | None, end_s: float) -> None:
    for option, value in (("--from", from_s), ("--to", to_s)):
        if value is not None and not 0.0 <= value <= end_s:
            raise InputError(f"{option} {value:g}: a time of the run is needed, from 0 to {end_s:g} s")
    if from_s is not None and to_s is not None and to_s < from_s:
        raise InputError(f"--to {to_s:g}: it is before --from {from_s:g}: a later time is needed")
