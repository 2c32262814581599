"""What is said when the input is wrong: one line, the key, the value, what is allowed, the nearest right name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """The user's input is wrong. The text is one line and says how to mend it; the command line exits with 2."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class AuditError(Exception):
    """A run broke a law of conservation: a defect of chatsim, never a result."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The phrase that names the most similar of the known names.

    >>> nearest("gatways", ["gateways", "routing"])
    "; did you mean 'gateways'?"
    >>> nearest("zzz", ["gateways", "routing"])
    "; known: 'gateways', 'routing'"
    """
    choices = sorted(known)
    best = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    if best:
        return f"; did you mean '{best[0]}'?"
    return f"; known: {quoted(choices)}" if choices else ""


def quoted(names: Iterable[str]) -> str:
    """``'a', 'b'``: how names are listed in messages."""
    return ", ".join(f"'{name}'" for name in names)
