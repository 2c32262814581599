"""How the cost of the compiled event loop grows with users, fan-out, gateways and queue length: a table and a chart.

``python -m pytest -m benchmark -s tests/benchmarks`` says where the chart is: in the folder that the environment's
``CHARTS`` names, or in a temporary one.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import NamedTuple

import pytest

from chatsim.report.style import mark, new_figure, number, styled, write_figure
from tests.benchmarks.test_engine_speed import RATE_PER_S, fan_out_world, loop_of, same_fan_out

pytestmark = pytest.mark.benchmark
DELIVERIES = 60_000
TOLERANCE = 4.0
"""How much more than by n log n the cost may grow: what no longer fits into caches is waited for at every access."""


class Case(NamedTuple):
    """Rooms, members of each, gateways, and messages per s, of which one gateway carries some 8000."""

    rooms: int = 100
    members: int = 10
    gateways: int = 4
    rate_per_s: float = RATE_PER_S


GROWTH: dict[str, list[tuple[float, Case]]] = {
    "users": [(10 * rooms, Case(rooms=rooms)) for rooms in (30, 300, 3000, 30_000)],
    "members of a room": [(members, Case(members=members)) for members in (3, 30, 300)],
    "gateways": [(gateways, Case(gateways=gateways)) for gateways in (1, 10, 100)],
    "most items in a queue": [(0, Case(gateways=1, rate_per_s=rate_per_s)) for rate_per_s in (7e3, 1e4, 1e5)],
}


def cost_ns(case: Case) -> tuple[int, float, int]:
    """Events, CPU time of each in ns, and the most items that waited in one queue."""
    people = fan_out_world(case.members, DELIVERIES // case.members, case.rooms, case.rate_per_s)
    took_s, events, waiting = min(loop_of(same_fan_out(case.gateways), people) for _ in range(3))
    return events, 1e9 * took_s / events, waiting


def allowed(size: float, least: float) -> float:
    """By how much more each event may cost where n is ``size`` than where it is ``least``, were it all n log n."""
    return math.log2(1 + size) / math.log2(1 + least)


def test_cost_grows_no_faster_than_n_log_n(tmp_path: Path) -> None:
    found: dict[str, list[tuple[float, float]]] = {}
    for what, cases in GROWTH.items():
        print(f"\n{what:>22}  {'events':>10}  ns per event")
        for given, case in cases:
            events, each_ns, waiting = cost_ns(case)
            size = given or waiting
            found.setdefault(what, []).append((size, each_ns))
            print(f"{size:>22,.0f}  {events:>10,}  {each_ns:.0f}")
    print("chart:", draw(found, Path(os.environ.get("CHARTS", tmp_path))))
    for what, costs in found.items():
        (least, least_ns), *others = costs
        for size, each_ns in others:
            assert each_ns / least_ns <= TOLERANCE * allowed(size, least), f"{what}: {size}"


def draw(found: dict[str, list[tuple[float, float]]], folder: Path) -> Path:
    """The chart: time per event by what grows, and what n log n would be."""
    with styled():
        figure = new_figure(5.2)
        for place, (what, costs) in enumerate(found.items()):
            axes = figure.add_subplot(2, 2, place + 1)
            sizes, times_ns = zip(*costs, strict=True)
            look = mark(place)
            axes.plot(sizes, times_ns, color=look.color, marker=look.marker)
            limit_ns = [times_ns[0] * allowed(size, sizes[0]) for size in sizes]
            axes.plot(sizes, limit_ns, color="#888888", linestyle=(0, (3, 2)), linewidth=1.2)
            axes.annotate("n log n", (sizes[1], limit_ns[1]), (-4, 4), textcoords="offset points", ha="right", color="#666666")
            axes.set_xscale("log")
            axes.set_xticks(sizes, [number(size) for size in sizes])
            axes.minorticks_off()
            axes.set_ylim(0, 1.12 * max(*times_ns, *limit_ns))
            axes.set_title(what)
            axes.set_ylabel("ns of CPU per event")
        return write_figure(figure, folder, "cost-of-an-event")[0]
