"""The yardstick in C, for machines that have a compiler: the same fan-out, the same floats, nothing else."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chatsim.engine.luck import Luck
from chatsim.scenario import Scenario
from chatsim.world.tables import World

SOURCE = Path(__file__).with_name("fan_out.c")
ROW = np.dtype([("message", np.int32), ("session", np.int32), ("written_s", np.float64), ("time_s", np.float64)])
NUMBERS = ("gateways", "messages", "sessions")
TIMES = ("receive_us", "parse_us", "write_us", "publish_us", "push_us", "hop_s", "end_s")
GIVEN = (
    "time_s", "uplink", "factor", "link_s", "rate", "sender", "room", "size_bytes", "place_first", "place_session",
    "place_position", "offset",
)  # fmt: skip
WRITTEN = ("received_s", "routed_s", "done_s", "under_way", "rows")


class Struct(ctypes.Structure):
    """The world as the C loop has it."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in NUMBERS),
        *((name, ctypes.c_double) for name in TIMES),
        *((name, ctypes.c_void_p) for name in (*GIVEN, *WRITTEN)),
        ("count", ctypes.c_int64),
    ]


def c_loop() -> Callable[[Any], int] | None:
    """The compiled loop, or None where there is no compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
    if compiler is None:
        return None
    library = Path(tempfile.mkdtemp()) / "fan_out.so"
    options = ["-O3", "-march=native", "-ffp-contract=off", "-shared", "-fPIC"]
    subprocess.run([compiler, *options, "-o", str(library), str(SOURCE)], check=True)
    run = ctypes.CDLL(str(library)).run
    run.restype, run.argtypes = ctypes.c_int64, [ctypes.c_void_p]
    return lambda world: int(run(ctypes.addressof(world)))


def world_in_c(scenario: Scenario, people: World) -> tuple[Struct, dict[str, npt.NDArray[Any]]]:
    """A world in which user and session are the same number, and everybody is connected, with room for what comes."""
    luck, gateways, messages = Luck(scenario, people), scenario.design.gateways, len(people.messages)
    sizes = np.diff(people.rooms.start)[people.messages.room]
    place = np.repeat(np.arange(len(people.rooms)), np.diff(people.rooms.start)) * gateways
    place += people.rooms.member % gateways
    order = np.argsort(place, kind="stable")
    seat = np.arange(len(place)) - np.repeat(people.rooms.start[:-1], np.diff(people.rooms.start))
    arrays = {
        "time_s": people.messages.time_s, "uplink": np.array(luck.uplink), "factor": luck.downlinks(0, messages)[0],
        "link_s": np.array(luck.link_s), "rate": np.array([luck.rate(n) for n in range(len(people.sessions))]),
        "sender": people.messages.sender.astype(np.int32), "room": people.messages.room.astype(np.int32),
        "size_bytes": people.messages.size_bytes.astype(np.int32),
        "place_first": np.searchsorted(place[order], np.arange(len(people.rooms) * gateways + 1)).astype(np.int32),
        "place_session": people.rooms.member[order].astype(np.int32), "place_position": seat[order].astype(np.int32),
        "offset": (np.cumsum(sizes) - sizes).astype(np.int64),
        **{name: np.full(messages, np.nan) for name in ("received_s", "routed_s", "done_s")},
        "under_way": np.zeros(messages, np.int32), "rows": np.zeros(int(sizes.sum()), ROW),
    }  # fmt: skip
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    costs, broker = scenario.gateway, scenario.broker
    times = (costs.receive_us, costs.parse_us, costs.write_us, broker.publish_us, broker.push_us)
    hop_s, end_s = scenario.network.broker_rtt_ms * 1e-3 / 2, people.duration_s + scenario.workload.drain_s
    addresses = [arrays[name].ctypes.data for name in (*GIVEN, *WRITTEN)]
    return Struct(gateways, messages, len(people.sessions), *times, hop_s, end_s, *addresses, 0), arrays
