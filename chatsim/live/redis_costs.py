"""What Redis spends: its CPU time under commands in batches of known size, with known subscribers.

One batch is one read of the event loop, and one tick, as long as it is shorter than what Redis reads at once (16 KiB).
"""

from __future__ import annotations

import asyncio
import socket
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from redis import Redis

from chatsim.live.fitting import Fitted, fit, spread
from chatsim.live.keys import STORE
from chatsim.live.pace import PROBE_US, probe_us, stretch
from chatsim.live.processes import RedisProcess, cores, folder_prefix, on_cores

BATCHES = (1, 2, 6, 16, 40)
SUBSCRIBERS = (0, 1, 3, 6)
PAYLOAD_BYTES = 256
COMMANDS, LEAST_BATCHES = 2000, 150
REPEATS = 5
PROBE_EVERY = 25
BATCH = 40
Packed = Sequence[tuple[Any, ...]]


def broker_costs(port: int, progress: Callable[[float], None] | None = None) -> tuple[dict[str, Fitted], float]:
    """Costs of a Redis on loopback, by their keys in ``[broker]``, and the median error of the fit of its ticks.

    CPU per PUBLISH in batches of B to k subscribers is tick / B + publish + k (push + flush / B). Of repeats the
    median counts. All are told as they would be at the pace of PROBE_US.
    """
    found: dict[tuple[int, int], list[float]] = {}
    plan = [(batch, listeners) for _ in range(REPEATS) for batch in BATCHES for listeners in SUBSCRIBERS]
    with _Bench(port) as bench:
        for place, (batch, listeners) in enumerate(plan):
            us = bench.publishes(batch, batches_of(batch), listeners) / batches_of(batch)
            found.setdefault((batch, listeners), []).append(us)
            if progress is not None:
                progress(0.7 * place / len(plan))
        names = ("tick_us", "publish_us", "flush_us", "push_us")
        rows = [[1, batch, listeners, listeners * batch] for batch, listeners in found]
        costs, error = fit(names, np.array(rows, np.float64), np.array([np.median(each) for each in found.values()]))
        costs |= bench.others(costs["tick_us"].value)
    if progress is not None:
        progress(1.0)
    return costs, error


def batches_of(batch: int) -> int:
    """How many batches of a size are sent."""
    return max(LEAST_BATCHES, COMMANDS // batch)


def own_broker_costs(progress: Callable[[float], None] | None = None) -> tuple[dict[str, Fitted], float]:
    """The same of a Redis that is started for it, and ended."""

    async def measured() -> tuple[dict[str, Fitted], float]:
        with tempfile.TemporaryDirectory(prefix=folder_prefix()) as place:
            redis = RedisProcess(Path(place), keeps_data=False)
            try:
                await redis.begin()
                return await asyncio.to_thread(broker_costs, redis.port, progress)
            finally:
                await redis.end()

    return asyncio.run(measured())


class _Bench:
    """A Redis under commands whose CPU time is read before and after."""

    def __init__(self, port: int) -> None:
        self.port, self.redis = port, Redis(port=port, protocol=2)

    def __enter__(self) -> _Bench:
        self.connection: Any = self.redis.connection_pool.get_connection()
        return self

    def __exit__(self, *error: object) -> None:
        self.redis.connection_pool.release(self.connection)
        self.redis.close()

    def spent_us(self, packed: Packed, batches: int, listeners: int = 0) -> float:
        """CPU time of Redis for these commands, sent together, so many times; at the pace of PROBE_US, by probes on
        the cores of Redis before, between and after."""
        command = b"".join(self.connection.pack_commands(packed))
        with _Listeners(self.port, listeners):
            before_s, probes_us = self._cpu_s(), [self._probe_us()]
            for turn in range(batches):
                self.connection.send_packed_command([command])
                for _ in packed:
                    self.connection.read_response()
                if turn % PROBE_EVERY == PROBE_EVERY - 1:
                    probes_us.append(self._probe_us())
            return 1e6 * (self._cpu_s() - before_s) / stretch(float(np.mean(probes_us)), PROBE_US)

    def _probe_us(self) -> float:
        with on_cores(cores()[0]):
            return probe_us()

    def publishes(self, batch: int, batches: int, listeners: int) -> float:
        """CPU time of PUBLISH in batches."""
        return self.spent_us([("PUBLISH", "calibrate", b"x" * PAYLOAD_BYTES)] * batch, batches, listeners)

    def others(self, tick_us: float) -> dict[str, Fitted]:
        """The costs of other commands, less their share of a tick."""

        def each(make: Callable[[int], tuple[Any, ...]]) -> Fitted:
            found = []
            for _ in range(REPEATS):
                self._filled()
                us = self.spent_us([make(place) for place in range(BATCH)], LEAST_BATCHES)
                found.append(max(0.0, us / LEAST_BATCHES - tick_us) / BATCH)
            return spread(found)

        payload, script = b"x" * PAYLOAD_BYTES, self.redis.script_load(STORE)
        one, many = each(lambda place: ("SUNION", "at:0")), each(lambda place: ("SUNION", *AT))
        short, long = each(lambda place: ("ZREVRANGE", "f", 0, 14)), self._listed(tick_us)
        costs = {
            "update_us": each(lambda place: ("SADD", f"at:{place}", 1)),
            "history_us": each(lambda place: ("RPUSH", f"history:{place}", payload)),
            "recover_us": each(lambda place: ("LPOP", f"inbox:{place}", 1)),
            "presence_us": each(lambda place: ("SET", f"online:{place}", 1, "PX", 60000)),
            "subscribe_us": self._subscribed(tick_us),
            "lookup_us": one,
            "lookup_user_us": _scaled(many, one.value, len(AT) - 1),
            "list_us": short,
            "list_entry_us": _scaled(long, short.value, LISTED),
        }
        stored = each(lambda place: ("EVALSHA", script, 0, "p", 1, 0, 60, "1", place, payload, *range(5)))
        return {**costs, "store_us_of_5": stored}

    def _filled(self) -> None:
        """Users on gateways, a ranked list, and messages in store, as commands find them."""
        self.redis.flushdb()
        self.redis.zadd("f", {str(user): user for user in range(LISTED)})
        for place in range(BATCH):
            self.redis.sadd(f"at:{place}", place % 4)
            self.redis.rpush(f"inbox:{place}", *[b"x" * PAYLOAD_BYTES] * 1000)

    def _listed(self, tick_us: float) -> Fitted:
        found = []
        for _ in range(REPEATS):
            self._filled()
            us = self.spent_us([("ZREVRANGE", "f", 0, LISTED - 1)] * 8, LEAST_BATCHES)
            found.append(max(0.0, us / LEAST_BATCHES - tick_us) / 8)
        return spread(found)

    def _subscribed(self, tick_us: float) -> Fitted:
        """SUBSCRIBE and UNSUBSCRIBE of one channel after the other, each half of the time."""
        found = []
        for _ in range(REPEATS):
            packed = [("SUBSCRIBE", f"c{place}") for place in range(BATCH)]
            packed += [("UNSUBSCRIBE", f"c{place}") for place in range(BATCH)]
            us = self.spent_us(packed, LEAST_BATCHES)
            found.append(max(0.0, us / LEAST_BATCHES - tick_us) / (2 * BATCH))
        return spread(found)

    def _cpu_s(self) -> float:
        used = self.redis.info("cpu")
        return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


LISTED = 200
AT = tuple(f"at:{user}" for user in range(20))


def _scaled(many: Fitted, one_us: float, times: int) -> Fitted:
    """What each further one costs, where many together and a single one were measured."""
    value, low, high = (max(0.0, us - one_us) / times for us in (many.value, many.low, many.high))
    return Fitted(value, low, high)


class _Listeners:
    """Connections that are subscribed, and read by threads which do nothing with it."""

    def __init__(self, port: int, count: int) -> None:
        self.sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]

    def __enter__(self) -> None:
        for one in self.sockets:
            one.sendall(b"*2\r\n$9\r\nSUBSCRIBE\r\n$9\r\ncalibrate\r\n")
            one.recv(4096)
            threading.Thread(target=_drain, args=(one,), daemon=True).start()

    def __exit__(self, *error: object) -> None:
        for one in self.sockets:
            one.shutdown(socket.SHUT_RDWR)
            one.close()


def _drain(one: socket.socket) -> None:
    try:
        while one.recv(1 << 18):
            pass
    except OSError:
        return
