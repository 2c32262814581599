"""Whether one more gateway is needed, or one less will do."""

from __future__ import annotations

DOWN, STAY, UP = -1, 0, 1


def decide(utilisation: float, up_above: float, down_below: float) -> int:
    """One more, one less, or no change.

    >>> decide(0.8, 0.7, 0.3), decide(0.5, 0.7, 0.3), decide(0.1, 0.7, 0.3)
    (1, 0, -1)
    """
    if utilisation > up_above:
        return UP
    return DOWN if utilisation < down_below else STAY
