"""What a run says of the chat logic that its scenario asks for, as one table: part, figure, value."""

from __future__ import annotations

import math

import pandas as pd

from chatsim.analysis.columns import longs
from chatsim.analysis.lists import friend_list
from chatsim.analysis.offline import devices, pushes, time_to_read
from chatsim.analysis.presence import presence
from chatsim.analysis.rooms import who_reads
from chatsim.engine.outcome import Cause, Fate, Outcome


def chat(outcome: Outcome) -> pd.DataFrame:
    """One row per figure of each part of the chat logic that is switched on: part, figure, value; empty for none.

    Parts: "friend list", "presence", "time to read" (wherever messages wait for those who are away), "pushes", "who
    reads what" (rooms other than pair rooms, access that is not open, intruders or ties that end), "devices", "spam".
    """
    scenario, world = outcome.scenario, outcome.world
    design = scenario.design
    guarded = design.rooms != "pair" or scenario.access.policy != "open"
    parts: dict[str, pd.Series] = {}
    if scenario.friend_list.policy != "none":
        parts["friend list"] = friend_list(outcome)
    if scenario.presence.show_to != "none":
        parts["presence"] = presence(outcome)
    if design.keeps_missed:
        parts["time to read"] = _times(outcome)
    if design.offline == "push":
        parts["pushes"] = pushes(outcome)
    if guarded or len(world.intrusions) or len(world.endings):
        parts["who reads what"] = who_reads(outcome)
    if design.receipts or design.own_devices:
        parts["devices"] = devices(outcome)
    if world.messages.spam.any():
        parts["spam"] = spam(outcome)
    rows = [
        {"part": part, "figure": figure, "value": float(value)}
        for part, figures in parts.items()
        for figure, value in figures.items()
    ]
    return pd.DataFrame(rows, columns=["part", "figure", "value"])


def spam(outcome: Outcome) -> pd.Series:
    """Spam in one row: sent, refused (by the limits of a user) and taken; refused_share; others_refused: messages that
    are no spam and were refused by the same limits, and their share."""
    is_spam = outcome.world.messages.spam
    refused = pd.Series(longs(outcome.messages, "cause")).isin((Cause.TOO_MANY, Cause.TOO_LARGE)).to_numpy()
    taken = longs(outcome.messages, "fate") == Fate.DELIVERED
    sent, others = int(is_spam.sum()), int((~is_spam).sum())
    stopped, mistaken = int((refused & is_spam).sum()), int((refused & ~is_spam).sum())
    return pd.Series(
        {
            "sent": sent,
            "refused": stopped,
            "taken": int((taken & is_spam).sum()),
            "refused_share": stopped / sent if sent else math.nan,
            "others_refused": mistaken,
            "others_refused_share": mistaken / others if others else math.nan,
        },
        dtype=object,
    )


def _times(outcome: Outcome) -> pd.Series:
    table = time_to_read(outcome).set_index("how")
    return pd.Series(
        {
            f"{how.replace(' ', '_')}_{figure}": table.loc[how, figure]
            for how in ("live", "later", "either way")
            for figure in ("count", "p50_s", "p90_s", "p99_s")
        },
        dtype=object,
    )
