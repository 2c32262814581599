"""Main effects: what each level of a factor does to a figure, over all levels of the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from chatsim.analysis.experiments import mean_interval

LEVELS_MOST = 8          # of a number, beyond which neighbours are put together
GROUPS = 4
COLUMNS = ("factor", "level", "points", "figure_mean", "effect", "half_width", "n")


def main_effects(runs: pd.DataFrame, factors: Sequence[str], figure: str) -> pd.DataFrame:
    """How far the mean over the points of a level lies from that over all points, with its 95 % interval.

    ``runs`` has a row per run: point, replication, the factors and the figure. All points of a replication have the
    same luck, so the effect is taken within each replication, and its interval is Student's t over replications. Only
    replications that all points have count, and only points that have a value in all of these. A number of more than 8
    levels is cut into 4 groups of as many points. In a grid the effect is the factor's alone; where points are sampled
    what the other factors do there is in it too.

    Columns: factor, level, points, figure_mean, effect (in the figure's unit), half_width (NaN for one replication), n
    replications.

    >>> runs = pd.DataFrame({"point": [0, 1, 0, 1], "replication": [0, 0, 1, 1], "k": [5, 9, 5, 9],
    ...                      "p50_ms": [10.0, 14.0, 11.0, 15.0]})
    >>> main_effects(runs, ["k"], "p50_ms")[["level", "effect", "half_width"]].values.tolist()
    [['5', -2.0, 0.0], ['9', 2.0, 0.0]]
    """
    wide = runs.pivot(index="replication", columns="point", values=figure).astype(np.float64)
    wide = wide.loc[:, wide.notna().sum() == wide.notna().sum().max()].dropna()
    rows = []
    if wide.shape[0] and wide.shape[1]:
        points = runs.drop_duplicates("point").set_index("point").loc[wide.columns]
        overall = wide.mean(axis=1)
        for factor in factors:
            for level, members in _levels(points[factor]).items():
                own = wide[members].mean(axis=1)
                effect = mean_interval((own - overall).to_numpy())
                rows.append((factor, level, len(members), float(own.mean()), *effect))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _levels(values: pd.Series) -> dict[str, list[int]]:
    """The points of each level, in the order of the levels where they are numbers."""
    numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    if not numeric:
        return {_said(level): list(part.index) for level, part in values.groupby(values, sort=False)}
    if values.nunique() <= LEVELS_MOST:
        return {_said(level): list(part.index) for level, part in values.groupby(values)}
    ranks = values.rank(method="first")
    groups = np.minimum((ranks - 1) * GROUPS // len(values), GROUPS - 1)
    parts = [part for _, part in values.groupby(groups)]
    return {f"{_said(part.min())} to {_said(part.max())}": list(part.index) for part in parts}


def _said(level: object) -> str:
    if isinstance(level, bool | np.bool_):
        return str(level).lower()
    return f"{level:.4g}" if isinstance(level, float) else str(level)


__all__ = ["main_effects"]
