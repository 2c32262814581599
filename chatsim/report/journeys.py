"""One message's journey: a timeline on a terminal, a Mermaid sequence diagram, a Perfetto trace of a window."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from chatsim.analysis.spans import FAULTS, SESSIONS
from chatsim.report.terminal import table_of

if TYPE_CHECKING:
    import pandas as pd

    from chatsim.analysis.spans import Span
    from chatsim.study.follow import Followed

BAR, ROWS_SHOWN, PEOPLE_SHOWN, ENDS_SHOWN = 16, 40, 12, 3
LIVE = ("uplink", "link", "work", "downlink")
US = 1e6
SENTENCE_MAX = 100


def show_journey(followed: Followed, out: Console) -> None:
    """Every hop with its times. Of a message to many only the way of the last live delivery, and what else ended."""
    written_s = float(followed.outcome.messages["time_s"][followed.message])
    table, left_out = _shown(followed.hops)
    title = f"{followed.outcome.scenario.name}, message {followed.message}: times in ms since it was written"
    grid = table_of(title, ["at", "takes", "waits", "when", "where", "what"], left=("when", "where", "what"))
    span_s = _live_span(followed.hops)
    for hop in _rows(table):
        at_ms, took_ms = (hop.start_s - written_s) * 1e3, (hop.end_s - hop.start_s) * 1e3
        waits = f"{hop.waits_s * 1e3:.3f}" if hop.kind == "work" else ""
        where = hop.place if hop.source in (hop.place, "") else f"{hop.source} > {hop.place}"
        mark = "* " if hop.last else "  "
        takes = "" if hop.kind == "lost" else "never" if math.isnan(took_ms) else f"{took_ms:.3f}"
        cells = [f"{at_ms:.3f}", takes, waits, _bar(hop, span_s)]
        grid.add_row(*cells, Text(where), Text(f"{mark}{hop.what}"))
    out.print(grid)
    if left_out:
        out.print(f"... and {left_out:,} more hops, to other gateways and sessions: --json has all.", markup=False)
    mark_said = ["*: the way of the last live delivery."] if len(followed.passage) else []
    for sentence in [*followed.sentences, *mark_said]:
        out.print(sentence, markup=False)


def mermaid(followed: Followed) -> str:
    """The journey as a Mermaid sequence diagram; of recipients beyond ``PEOPLE_SHOWN`` only how many there are."""
    written_s = float(followed.outcome.messages["time_s"][followed.message])
    table, _ = _shown(followed.hops)
    table = _few_people(table)
    lines = [f"    title {_plain(followed.outcome.scenario.name)}, message {followed.message}"]
    pairs = zip(table["source"], table["place"], strict=True)
    names = list(dict.fromkeys(name for pair in pairs for name in pair if name))
    known = {name: f"p{number}" for number, name in enumerate(names)}
    lines += [f"    participant {known[name]} as {_plain(name)}" for name in names]
    lines += [f"    {line}" for hop in _rows(table) for line in _arrow(hop, known, written_s)]
    more = len(followed.hops) - len(table)
    if more and names:
        lines.append(f"    Note over {known[names[0]]}: {more} more hops are not drawn")
    return "\n".join(["sequenceDiagram", *lines]) + "\n"


def perfetto(followed: Followed) -> dict[str, Any]:
    """The window in the Chrome trace format, which Perfetto (ui.perfetto.dev) and Chrome's tracing open.

    A process per station, with a thread for each core that is busy at a time, one for all sessions and one for faults;
    times in us of simulated time, whole nanoseconds. Arrows follow messages.
    """
    found = followed.spans()
    groups = sorted({span.group for span in found.spans}, key=[*followed.outcome.stations, SESSIONS, FAULTS].index)
    pids = {group: number for number, group in enumerate(groups, start=1)}
    tracks = sorted({(pids[span.group], span.track, span.lane) for span in found.spans}, key=_in_order)
    tids = {track: number for number, track in enumerate(tracks, start=1)}
    slices = [_slice(span, pids[span.group], tids[pids[span.group], span.track, span.lane]) for span in found.spans]
    events = [*_names(pids, tids), *slices]
    for number, arrow in enumerate(found.arrows):
        flow = {"name": "goes on", "cat": "message", "id": number}
        events.append({"ph": "s", **flow, **_at(slices[arrow.cause])})
        events.append({"ph": "f", "bp": "e", **flow, **_at(slices[arrow.effect])})
    for station, time_s, waiting in found.queues:
        where = {"pid": pids[station], "tid": 0, "ts": round(time_s * US, 3)}
        events.append({"ph": "C", "name": "waiting", "args": {"items": waiting}, **where})
    scenario = followed.outcome.scenario
    about = {"chatsim": version("chatsim"), "scenario": scenario.name, "seed": scenario.seed}
    about |= {"message": followed.message, "from_s": followed.from_s, "to_s": followed.to_s}
    return {"traceEvents": events, "displayTimeUnit": "ms", "otherData": about}


def perfetto_text(followed: Followed) -> str:
    """The file of :func:`perfetto`."""
    return json.dumps(perfetto(followed), ensure_ascii=False, allow_nan=False) + "\n"


def _shown(hops: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The hops to be shown, and how many are not: of a message to many the way of the last delivery, and the ends."""
    grouped = _ends_together(hops)
    if len(grouped) <= ROWS_SHOWN:
        return grouped, 0
    went = grouped["last"].astype(bool)
    live = grouped["kind"].isin(LIVE)
    others = grouped.index[~went & ~live] if went.any() else grouped.index
    kept = grouped[went | grouped.index.isin(others[: max(ROWS_SHOWN - int(went.sum()), 0)])]
    return kept, len(grouped) - len(kept)


def _ends_together(hops: pd.DataFrame) -> pd.DataFrame:
    """The hops, with one row for all people for whom a message ended in the same way without a session."""
    ends = hops[hops["kind"].isin(("lost", "push")) & (hops["source"] != hops["place"])]
    parts = [hops.drop(index=ends.index)]
    for _, part in ends.groupby(["kind", "what"], sort=False):
        people = f"{len(part)} users" if len(part) > ENDS_SHOWN else ""
        parts.append(part.head(1).assign(place=people) if people else part)
    import pandas as pd

    return pd.concat(parts).sort_index()


def _few_people(hops: pd.DataFrame) -> pd.DataFrame:
    """The hops without those to recipients beyond the first ones and the last."""
    ends = hops[hops["kind"].isin(("downlink", "lost", "push"))]
    dropped = ends.index[PEOPLE_SHOWN:].difference(hops.index[hops["last"]])
    return hops.drop(index=dropped)


def _live_span(hops: pd.DataFrame) -> tuple[float, float]:
    """From when to when the bars go: all but what waits for a later login."""
    live = hops[hops["kind"].isin(("uplink", "link", "work")) | hops["what"].eq("delivered")]
    ends = live["end_s"].dropna()
    return float(hops["start_s"].min()), float(ends.max() if len(ends) else hops["start_s"].max())


def _bar(hop: Any, span_s: tuple[float, float]) -> str:
    """Where a hop lies between two times, as a bar: '=' travels, '.' waits, '#' works.

    >>> from chatsim.analysis.hops import Hop
    >>> _bar(Hop(0.0, 1.0, "work", "a", "a", "", waits_s=0.5), (0.0, 2.0))
    '....####        '
    """
    start_s, end_s = span_s
    if end_s <= start_s or hop.start_s > end_s or hop.kind not in LIVE:
        return " " * BAR

    def cell(time_s: float) -> int:
        return min(BAR, round((time_s - start_s) / (end_s - start_s) * BAR))

    until_s = end_s if math.isnan(hop.end_s) else hop.end_s
    first, last = min(cell(hop.start_s), BAR - 1), cell(until_s)
    waits = max(0, min(cell(hop.start_s + hop.waits_s), last) - first)
    rest = max(last - first - waits, 1)
    sign = "#" if hop.kind == "work" else "="
    return (" " * first + "." * waits + sign * rest)[:BAR].ljust(BAR)


def _arrow(hop: Any, known: dict[str, str], written_s: float) -> Iterator[str]:
    """A hop as lines of a sequence diagram."""
    at = f"{(hop.start_s - written_s) * 1e3:.3f} ms"
    took = "" if math.isnan(hop.end_s) else f", takes {(hop.end_s - hop.start_s) * 1e3:.3f} ms"
    waits = f", waits {hop.waits_s * 1e3:.3f} ms" if hop.waits_s > 0 else ""
    what = _plain(hop.what)
    if hop.source in (hop.place, "") or hop.place not in known:
        yield f"Note over {known[hop.place]}: {what}<br/>at {at}{took}{waits}"
    else:
        sign = "-x" if math.isnan(hop.end_s) else "-)"
        yield f"{known[hop.source]}{sign}{known[hop.place]}: {what}<br/>at {at}{took}"


def _plain(text: str) -> str:
    """Text that Mermaid takes for text: what it might read as syntax becomes a code, 'end' among it.

    >>> _plain("a;b <i> end"), _plain("session 3, user 4")
    ('a#59;b #60;i#62; #101;nd', 'session 3, user 4')
    """
    text = " ".join(text.split())
    coded = re.sub(r"[^\w\s.,'()/+-]", lambda sign: f"#{ord(sign.group())};", text[:SENTENCE_MAX])
    return re.sub(r"\bend\b", "#101;nd", coded, flags=re.IGNORECASE)


def _in_order(track: tuple[int, str, int]) -> tuple[int, int, str, int]:
    """Tracks by process, sessions by their number, then lanes."""
    pid, name, lane = track
    number = re.search(r"\d+", name)
    return pid, int(number.group()) if number else 0, name, lane


def _rows(table: pd.DataFrame) -> Iterator[Any]:
    yield from table.itertuples()


def _names(pids: dict[str, int], tids: dict[tuple[int, str, int], int]) -> Iterator[dict[str, Any]]:
    """What processes and threads are called, and in which order they stand."""
    for group, pid in pids.items():
        yield _said_of("process", pid, 0, group)
        yield _order_of("process", pid, 0, pid)
    for (pid, track, lane), tid in tids.items():
        yield _said_of("thread", pid, tid, track if not lane else f"{track} / {lane + 1}")
        yield _order_of("thread", pid, tid, tid)


def _said_of(what: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": f"{what}_name", "pid": pid, "tid": tid, "ts": 0, "args": {"name": name}}


def _order_of(what: str, pid: int, tid: int, place: int) -> dict[str, Any]:
    return {"ph": "M", "name": f"{what}_sort_index", "pid": pid, "tid": tid, "ts": 0, "args": {"sort_index": place}}


def _slice(span: Span, pid: int, tid: int) -> dict[str, Any]:
    start_us, end_us = round(span.start_s * US, 3), round(span.end_s * US, 3)
    event = {"ph": "X", "name": span.name, "cat": span.group, "pid": pid, "tid": tid}
    event |= {"ts": start_us, "dur": round(end_us - start_us, 3)}
    more = {**({"message": span.message} if span.message >= 0 else {}), **(span.more or {})}
    return {**event, **({"args": more} if more else {})}


def _at(event: dict[str, Any]) -> dict[str, Any]:
    return {"pid": event["pid"], "tid": event["tid"], "ts": event["ts"]}
