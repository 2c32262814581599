"""A limit between what is met and what is not, found in few questions whose answer may also be 'undecided'."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from chatsim.analysis.slos import Answer

HARDER = (1.5, 2.0)      # steps from the first value on: first, then
EASIER = (2.0, 4.0, 16.0, 256.0)
QUESTIONS_MOST = 60

Ask = Callable[[float], Answer]


@dataclass(frozen=True, slots=True)
class Ends:
    """Between which values to stay, the easiest and the hardest to meet; ``whole`` numbers or any."""

    easiest: float
    hardest: float
    whole: bool = True

    @property
    def sign(self) -> float:
        """1 where larger values are harder, -1 where smaller ones are."""
        return 1.0 if self.hardest >= self.easiest else -1.0

    def moved(self, value: float, factor: float) -> float:
        """A value harder by a factor (easier below 1), within the ends. Of whole numbers always another one."""
        target = value * factor if self.sign > 0 else value / factor
        if self.whole:
            up = (factor > 1) == (self.sign > 0)
            target = float(max(round(target), value + 1) if up else min(round(target), value - 1))
        return min(max(target, min(self.easiest, self.hardest)), max(self.easiest, self.hardest))

    def between(self, a: float, b: float) -> float:
        """The middle in factors of two values."""
        middle = math.sqrt(a * b)
        return float(min(max(round(middle), min(a, b) + 1), max(a, b) - 1)) if self.whole else middle

    def close(self, a: float, b: float, precision: float) -> bool:
        """Whether nothing is left to ask between two values."""
        low, high = min(a, b), max(a, b)
        return high <= low * (1 + precision) or (self.whole and high - low <= 1)


@dataclass(frozen=True, slots=True)
class Bracket:
    """The hardest value that is met, the easiest that is not (None where there is none), and undecided ones between,
    the easiest first."""

    met: float | None
    not_met: float | None
    undecided: tuple[float, ...]


def search(ask: Ask, start: float, ends: Ends, precision: float) -> Bracket:
    """Brackets the limit from ``start`` on, and halves until the values differ by less than ``precision``, as a share.

    Where values between stay undecided, both of their edges are brought half as near. Answers that contradict the order
    of values count against the design: what is harder than a value that is not met is not met.

    >>> search(lambda users: "met" if users <= 1234 else "not met", 100.0, Ends(1.0, 1e6), 0.01)
    Bracket(met=1232.0, not_met=1239.0, undecided=())
    >>> search(lambda gateways: "met" if gateways >= 7 else "not met", 4.0, Ends(64.0, 1.0), 0.01)
    Bracket(met=7.0, not_met=6.0, undecided=())
    """
    answers: dict[float, Answer] = {start: ask(start)}
    value, step = start, 0
    while answers[value] != "met" and value != ends.easiest:
        value = ends.moved(value, 1 / EASIER[min(step, len(EASIER) - 1)])
        answers[value] = ask(value)
        step += 1
    value, step = start, 0
    while answers[value] != "not met" and value != ends.hardest:
        value = ends.moved(value, HARDER[min(step, len(HARDER) - 1)])
        answers[value] = ask(value)
        step += 1
    while len(answers) < QUESTIONS_MOST:
        gap = _widest(bracket_of(answers, ends), ends, precision)
        if gap is None:
            break
        middle = ends.between(*gap)
        answers[middle] = ask(middle)
    return bracket_of(answers, ends)


def bracket_of(answers: dict[float, Answer], ends: Ends) -> Bracket:
    """What the answers come to."""
    order = sorted(answers, key=lambda value: ends.sign * value)
    not_met = next((value for value in order if answers[value] == "not met"), None)
    easier = order[: order.index(not_met)] if not_met is not None else order
    met = next((value for value in reversed(easier) if answers[value] == "met"), None)
    between = easier[easier.index(met) + 1:] if met is not None else easier
    return Bracket(met, not_met, tuple(between))


def _widest(found: Bracket, ends: Ends, precision: float) -> tuple[float, float] | None:
    """The two neighbours of different answers that are furthest apart, in factors; None where all are near enough."""
    edges = [found.met, *(found.undecided[:1]), *(found.undecided[-1:]), found.not_met]
    pairs = list(zip(edges[::2], edges[1::2], strict=True))
    near = 2 * precision if found.undecided else precision  # they cost most, and the answer is a range anyway
    gaps = [(a, b) for a, b in pairs if a is not None and b is not None and not ends.close(a, b, near)]
    return max(gaps, key=lambda gap: abs(math.log(gap[0] / gap[1])), default=None)


__all__ = ["Ask", "Bracket", "Ends", "bracket_of", "search"]
