"""How steady a core is: a machine whose physical cores others use too is now fast, now slow, in spells."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chatsim.live.pace import probe_us
from chatsim.live.processes import cores, on_cores

Floats = npt.NDArray[np.float64]

STEP_S, STEADY = 0.001, 1.15
"""Between probes of a series; a core whose slow moments are not slower than that, times the fast ones, is steady."""


@dataclass(frozen=True, slots=True)
class Unsteady:
    """A core that is now fast, now slow: in a ``share`` of the time it takes ``factor`` times as long as in the other,
    and goes from one to the other at random; what it is now says little of what it is ``memory_s`` later (1 / e)."""

    share: float = 0.0
    factor: float = 1.0
    memory_s: float = 1.0

    @property
    def mean(self) -> float:
        """How many times as long work takes in the mean as in fast moments."""
        return 1.0 + self.share * (self.factor - 1.0)


def series_us(seconds: float) -> Floats:
    """Probes of a core for gateways, one after the other, with a sleep between."""
    found = []
    with on_cores(cores()[0]):
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            found.append(probe_us())
            time.sleep(STEP_S)
    return np.array(found)


def unsteady(series: Sequence[Floats], step_s: float = STEP_S) -> Unsteady:
    """What many series of probes say: moments above the geometric middle of the fastest and the slowest are slow.

    >>> flips = np.repeat([50.0, 50.0, 80.0, 50.0, 80.0, 50.0, 50.0, 80.0], 100)
    >>> found = unsteady([flips])
    >>> found.share, found.factor, 0.02 < found.memory_s < 0.1
    (0.375, 1.6, True)
    >>> unsteady([np.full(1000, 50.0)]).factor
    1.0
    """
    every = np.concatenate(series)
    low, high = np.quantile(every, [0.02, 0.98])
    slow = [one > math.sqrt(low * high) for one in series]
    together = np.concatenate(slow)
    if not together.any() or together.all():
        return Unsteady()
    factor = float(np.median(every[together]) / np.median(every[~together]))
    if factor < STEADY:
        return Unsteady()
    share = float(together.mean())
    longest = max(2, min(len(one) for one in slow) // 2)
    first = _together(slow, share, 1)
    lag = next((lag for lag in range(2, longest) if _together(slow, share, lag) < first / math.e), longest)
    return Unsteady(share, factor, lag * step_s)


def _together(slow: Sequence[npt.NDArray[np.bool_]], share: float, lag: int) -> float:
    """The covariance of being slow with being slow so many steps later."""
    pairs = [(one[:-lag] - share) * (one[lag:] - share) for one in slow if len(one) > lag]
    return float(np.concatenate(pairs).mean())
