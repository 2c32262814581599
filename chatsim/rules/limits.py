"""What a gateway refuses to take from a user: too much, or too large."""

from __future__ import annotations

ACCEPTED, TOO_MANY, TOO_LARGE = range(3)
ROUNDING = 1e-9


def tokens_now(tokens: float, idle_s: float, messages_per_s: float, burst: int) -> float:
    """What a user may send at this moment, ``idle_s`` after ``tokens`` were left: a bucket of ``burst`` that refills.

    >>> tokens_now(0.0, 0.25, 2.0, 1)
    0.5
    >>> tokens_now(0.0, 60.0, 2.0, 1)
    1.0
    """
    return min(float(burst), tokens + max(idle_s, 0.0) * messages_per_s)


def verdict(tokens: float, size_bytes: int, messages_per_s: float, message_max_bytes: int) -> int:
    """Whether a message is accepted; a limit of 0 is none.

    >>> verdict(0.5, 100, 1.0, 0) == TOO_MANY, verdict(1.0, 100, 1.0, 99) == TOO_LARGE
    (True, True)
    """
    if message_max_bytes > 0 and size_bytes > message_max_bytes:
        return TOO_LARGE
    if messages_per_s > 0 and tokens < 1.0 - ROUNDING:
        return TOO_MANY
    return ACCEPTED
