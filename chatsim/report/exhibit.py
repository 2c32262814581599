"""An exhibit: one chart of the report with its title, the sentence that it proves, and the numbers behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Exhibit:
    """What a reader sees: ``key`` names it in links and files, ``conclusion`` is computed from ``table``.

    ``figure`` is None where a table says it better.
    """

    key: str
    title: str
    conclusion: str
    figure: Figure | None
    table: pd.DataFrame
