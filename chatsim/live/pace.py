"""How fast a core is at this moment: the CPU time of a fixed piece of work.

A machine that others share, as virtual ones are, takes half as long again for the same work from one second to the
next, and nothing on it can see why. So each run notes the pace of its own cores, a profile says at which pace its costs
were measured, and costs are stretched by the one over the other.
"""

from __future__ import annotations

import math
import time

TURNS = 300
FOLDS = 97
PROBE_US = 50.0
"""A pace to which costs of different moments are brought before they are compared."""


def probe_us() -> float:
    """The CPU time of the fixed piece of work, some 50 us; made once before, so that the core is warm.

    >>> 1.0 < probe_us() < 5000.0
    True
    """
    _work()
    before_s = time.thread_time()
    _work()
    return 1e6 * (time.thread_time() - before_s)


def stretch(now_us: float, then_us: float) -> float:
    """How many times as long work takes now as it did then; 1 where one of the two is not known.

    >>> stretch(75.0, 50.0), stretch(math.nan, 50.0)
    (1.5, 1.0)
    """
    found = now_us / then_us if then_us > 0 else math.nan
    return found if math.isfinite(found) and found > 0 else 1.0


def _work() -> dict[int, str]:
    """What a gateway does most: small numbers, short texts, a table."""
    table: dict[int, str] = {}
    for turn in range(TURNS):
        table[turn * turn % FOLDS] = str(turn)
    return table
