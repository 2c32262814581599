"""Costs from measurements: a regression of CPU time on counts of work, none below zero, with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

Floats = npt.NDArray[np.float64]

RESAMPLES, DRAWN = 400, 20
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Fitted:
    """A cost: its ``value``, the interval [``low``, ``high``] of 95 %, and its ``unit``."""

    value: float
    low: float
    high: float
    unit: str = "us"

    def __str__(self) -> str:
        return f"{self.value:.3g} {self.unit}, 95 % {self.low:.3g} to {self.high:.3g}"


def fit(
    names: tuple[str, ...], counts: Floats, spent_us: Floats, whole_us: Floats | None = None, seed: int = 1
) -> tuple[dict[str, Fitted], float]:
    """The cost of each kind of work, and the median error of the fit, of the whole.

    ``counts`` has a row per measurement and a column per name, ``spent_us`` the CPU time that they are to explain: all
    of ``whole_us``, or a part. Least squares of errors relative to the whole, with costs of at least zero; intervals
    are percentiles of a bootstrap over rows.

    >>> counts = np.array([[1.0, 0.0], [1.0, 10.0], [2.0, 5.0], [3.0, 1.0]])
    >>> costs, error = fit(("tick", "item"), counts, counts @ np.array([11.0, 0.4]))
    >>> round(costs["tick"].value, 6), round(costs["item"].value, 6), error < 1e-9
    (11.0, 0.4, True)
    """
    whole = spent_us if whole_us is None else whole_us
    scaled, wanted = counts / whole[:, None], spent_us / whole
    best = nnls(scaled, wanted)[0]
    draws = _draws(scaled, seed)
    again = np.array([nnls(scaled[rows], wanted[rows])[0] for rows in draws])
    edges = np.quantile(again, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    error = float(np.median(np.abs(scaled @ best - wanted)))
    fitted = {
        name: Fitted(float(best[place]), float(edges[0, place]), float(edges[1, place]))
        for place, name in enumerate(names)
    }
    return fitted, error


def _draws(scaled: Floats, seed: int) -> npt.NDArray[np.int64]:
    """Rows drawn again, each time such that they tell apart all costs that all rows tell apart."""
    largest = np.abs(scaled).max(axis=0)
    level = scaled / np.where(largest > 0, largest, 1.0)
    rank = np.linalg.matrix_rank(level)
    draws = np.random.default_rng(seed).integers(0, len(level), (DRAWN * RESAMPLES, len(level)))
    telling: npt.NDArray[np.int64] = draws[np.linalg.matrix_rank(level[draws]) == rank]
    return telling[:RESAMPLES]


def spread(values: list[float], unit: str = "us") -> Fitted:
    """The median of repeated measurements, and their range.

    >>> spread([3.0, 1.0, 2.0]).value
    2.0
    """
    return Fitted(float(np.median(values)), float(min(values)), float(max(values)), unit)
