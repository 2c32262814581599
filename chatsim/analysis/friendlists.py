"""How many friends a list must show: whether the one written to was on it, from the trace alone, without a run.

The list is kept live, message by message, and begins empty: whom people knew before the trace is not in it. Only pair
rooms count; a message to a group makes nobody a contact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from chatsim.analysis.columns import Bools, Floats, Longs
from chatsim.rules.ranking import POLICY_NUMBERS, is_listed
from chatsim.scenario.errors import InputError, nearest
from chatsim.world.contacts import HALF_LIFE_S, PrivateMessages, contact_ranks, private_messages
from chatsim.world.tables import World

__all__ = [
    "HALF_LIFE_S", "LIMITS", "OPENING_GAP_S", "RANKINGS", "PrivateMessages",
    "compare_rankings", "contact_ranks", "first_ever_share", "hit_curve", "private_messages", "verdict",
]

RANKINGS = ("recent", "frequent", "frecency", "random")
LIMITS = (1, 2, 3, 5, 10, 15, 20, 30, 50)
SAID_LIMITS = (15, 30, 50)
OPENING_GAP_S = 1800.0
HALF_LIFE_S_MIN = 0.001


def hit_curve(
    world: World,
    policy: str = "recent",
    k: Sequence[int] = LIMITS,
    opening_gap_s: float = OPENING_GAP_S,
    half_life_s: float = HALF_LIFE_S,
) -> pd.DataFrame:
    """How often the recipient was among the sender's first ``k`` contacts just before the message.

    ``policy`` ranks the contacts: "recent", "frequent", "frecency" (with ``half_life_s``), "random", "all" or
    "online_first" (by the sessions of the trace); see :mod:`chatsim.rules.ranking`. A conversation opens where the pair
    has been silent for longer than ``opening_gap_s``, or is new. One row per limit and set of messages:

    - k: friends listed at most; a last one, infinite, for a list of all contacts;
    - of: "all" messages, "repeat" (the pair has written before, either way), "openings", "repeat openings";
    - hit_share: share with the recipient on the list, a first-ever message being a miss; NaN where there is none;
    - count: messages in the set.

    Raises InputError for an unknown policy or a number out of range.
    """
    _check(policy, k, opening_gap_s, half_life_s)
    silent_s = private_messages(world).silent_s
    rank = contact_ranks(world, policy, half_life_s)
    rows = []
    for limit in (*k, math.inf):
        hit = _hits(POLICY_NUMBERS[policy], rank, limit)
        for name, chosen in _sets(silent_s, opening_gap_s).items():
            count = int(chosen.sum())
            share = float(hit[chosen].mean()) if count else math.nan
            rows.append({"k": float(limit), "of": name, "hit_share": share, "count": count})
    return pd.DataFrame(rows)


def first_ever_share(world: World) -> float:
    """Share of the private messages that are the first between their pair, either way; NaN where there are none."""
    silent_s = private_messages(world).silent_s
    return float(np.isinf(silent_s).mean()) if len(silent_s) else math.nan


def compare_rankings(
    world: World, opening_gap_s: float = OPENING_GAP_S, half_life_s: float = HALF_LIFE_S
) -> pd.DataFrame:
    """The hit curves of all rankings, one below the other: policy, and the columns of :func:`hit_curve`.

    A list of all contacts needs no curve of its own: it is the last row of each.
    """
    curves = {name: hit_curve(world, name, LIMITS, opening_gap_s, half_life_s) for name in RANKINGS}
    return pd.concat(curves, names=["policy"]).reset_index("policy").reset_index(drop=True)


def verdict(curves: pd.DataFrame) -> str:
    """What :func:`compare_rankings` comes to, in one sentence, for the first ranking."""
    policy = curves["policy"].iloc[0]
    table = curves[curves["policy"] == policy]
    openings = table[table["of"] == "openings"].set_index("k")
    count = int(openings["count"].iloc[0])
    if not count:
        return "No private messages: a friend list cannot be judged by this trace."
    listed = openings["hit_share"]
    shares = ", ".join(f"of {limit} in {100 * listed[limit]:.1f} %" for limit in SAID_LIMITS)
    ceiling = 100 * listed[math.inf]
    return (
        f"Of {count:,} conversation openings, a {policy} list holds the partner: {shares}, of all contacts in "
        f"{ceiling:.1f} %; the other {100 - ceiling:.1f} % are first contacts of the trace, "
        "which no ranking of chats can list."
    )


def _check(policy: str, k: Sequence[int], opening_gap_s: float, half_life_s: float) -> None:
    if policy not in POLICY_NUMBERS:
        raise InputError(f"policy = '{policy}': no such ranking{nearest(policy, POLICY_NUMBERS)}")
    for limit in k:
        if limit < 1:
            raise InputError(f"k = {limit}: at least 1 is needed")
    if not opening_gap_s >= 0:
        raise InputError(f"opening_gap_s = {opening_gap_s:g}: at least 0 s is needed")
    if not half_life_s >= HALF_LIFE_S_MIN:
        raise InputError(f"half_life_s = {half_life_s:g}: at least {HALF_LIFE_S_MIN:g} s is needed")


def _sets(silent_s: Floats, opening_gap_s: float) -> dict[str, Bools]:
    everything = np.ones(len(silent_s), bool)
    repeat = np.isfinite(silent_s)
    opening = silent_s > opening_gap_s
    return {"all": everything, "repeat": repeat, "openings": opening | ~repeat, "repeat openings": opening & repeat}


def _hits(policy: int, rank: Longs, limit: float) -> Bools:
    """Whether each rank is listed: the rule, asked once per rank that occurs."""
    seen, place = np.unique(rank, return_inverse=True)
    return np.array([is_listed(policy, one, limit) for one in seen.tolist()], bool)[place]
