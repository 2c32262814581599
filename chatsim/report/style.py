"""One look for all charts: colours, marks, sizes, and figures written to files whose bytes do not change.

Ten designs can be told apart by colour (Okabe and Ito 2008, safe for the colour-blind, with yellow left out as too pale
for a line, and three added), and without colour by the pair of mark and line style.
"""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import matplotlib as mpl

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_IN = 7.2
INK = "#222222"
FAINT = "#d9d9d9"
PNG_DPI = 150
NAME_WIDTH = 26

RC: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#666666",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.7,
    "lines.markersize": 5.5,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "chatsim",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


@dataclass(frozen=True, slots=True)
class Mark:
    """How one design is drawn."""

    color: str
    marker: str
    line: Any


MARKS = (
    Mark("#0072B2", "o", "-"),
    Mark("#E69F00", "s", (0, (5, 1.5))),
    Mark("#000000", "^", (0, (1.2, 1.2))),
    Mark("#009E73", "D", (0, (6, 1.5, 1.2, 1.5))),
    Mark("#D55E00", "v", "-"),
    Mark("#56B4E9", "P", (0, (5, 1.5))),
    Mark("#CC79A7", "X", (0, (1.2, 1.2))),
    Mark("#882255", "<", (0, (6, 1.5, 1.2, 1.5))),
    Mark("#999933", ">", "-"),
    Mark("#888888", "h", (0, (5, 1.5))),
)
TIER_COLORS = {"gateway": "#0072B2", "broker": "#D55E00", "database": "#009E73"}


def mark(place: int) -> Mark:
    """The mark of the design at a place; after ten they repeat with other line styles."""
    own = MARKS[place % len(MARKS)]
    round_, line = place // len(MARKS), MARKS[(place // len(MARKS) + place) % len(MARKS)].line
    return own if not round_ else Mark(own.color, own.marker, line)


@contextmanager
def styled() -> Iterator[None]:
    """The style of all charts, for what is made inside."""
    with mpl.rc_context(cast(Any, RC)):
        yield


def new_figure(height_in: float, width_in: float = WIDTH_IN) -> Figure:
    """An empty figure that arranges itself, tied to no window."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_in, height_in), layout="constrained")


def wrapped(name: str, width: int = NAME_WIDTH) -> str:
    """A name broken into lines that fit beside a chart; at most three.

    >>> wrapped("one-very-long-design-name-that-goes-on and on", 20).splitlines()
    ['one-very-long-', 'design-name-that-', 'goes-on and on']
    """
    lines = textwrap.wrap(" ".join(name.split()), width, max_lines=3, placeholder=" ...")
    return "\n".join(lines) or "(no name)"


def plain(axes: Axes) -> None:
    """Shows tick labels as they are, also where a name has dollar signs. Modifies ``axes``."""
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)


def legend(figure: Figure, handles: Sequence[Artist], names: Sequence[str], below: bool = False) -> None:
    """A legend outside the data, right of it or below it. Modifies ``figure``."""
    box = figure.legend(
        handles, [""] * len(names), loc="outside lower center" if below else "outside right upper",
        ncols=len(names) if below else 1, labelspacing=0.7, handlelength=3.2, alignment="left",
    )
    for text, name in zip(box.get_texts(), names, strict=True):
        text.set_text(name)  # set afterwards, as matplotlib takes a name that begins with _ for a wish to be left out
        text.set_parse_math(False)


def nothing(axes: Axes, what: str) -> None:
    """Says in place of the data that there is none. Modifies ``axes``."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.5, 0.5, what, transform=axes.transAxes, ha="center", va="center", color="#666666")


def number(value: float) -> str:
    """A number as a label: three digits, thousands as k and M.

    >>> [number(value) for value in (0.034, 7.25, 431.9, 12_400, 2_500_000)]
    ['0.034', '7.25', '432', '12.4 k', '2.5 M']
    """
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= 0.9995 * size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def ms_said(value_ms: float) -> str:
    """Milliseconds in a sentence: three digits, and whole ones above 1,000.

    >>> ms_said(35.68), ms_said(6341.7)
    ('35.7 ms', '6,342 ms')
    """
    return f"{value_ms:,.0f} ms" if value_ms >= 999.5 else f"{value_ms:.3g} ms"


def share_said(share: float) -> str:
    """A share as percent: two digits, whole ones from 10 % on, nothing below a hundredth of a percent.

    >>> [share_said(share) for share in (0.712, 0.0041, 0.0, 0.00001)]
    ['71 %', '0.41 %', '0 %', '< 0.01 %']
    """
    if 0 < share < 0.5e-4:
        return "< 0.01 %"
    return f"{100 * share:.0f} %" if share >= 0.0995 or not share else f"{100 * share:.2g} %"


def write_figure(figure: Figure, folder: str | Path, stem: str) -> tuple[Path, Path]:
    """Writes ``stem.png`` (150 dpi) and ``stem.svg`` (text stays text) into a folder, and gives their paths.

    The same figure gives the same bytes. Each file is written whole or not at all.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    paths = (place / f"{stem}.png", place / f"{stem}.svg")
    png: dict[str, Any] = {"dpi": PNG_DPI, "format": "png"}
    svg: dict[str, Any] = {"format": "svg", "metadata": {"Date": None}}
    with styled(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        for path, wishes in zip(paths, (png, svg), strict=True):
            content = io.BytesIO()
            figure.savefig(content, **wishes)
            unfinished = path.with_name(f".{path.name}.part")
            unfinished.write_bytes(content.getvalue())
            unfinished.replace(path)
    return paths


TIME_UNITS = (("s", 1.0), ("min", 60.0), ("h", 3600.0), ("days", 86400.0))


def time_unit(span_s: float) -> tuple[str, float]:
    """The unit that suits a span of time, and its seconds."""
    if span_s <= 1200:
        return TIME_UNITS[0]
    return next((unit for unit in reversed(TIME_UNITS) if span_s >= 20 * unit[1]), TIME_UNITS[0])


def time_said(span_s: float, *times_s: float) -> str:
    """Times in words, in the unit of an axis of this span: one, or from one to another.

    >>> time_said(600.0, 61.5), time_said(7200.0, 1800.0, 3600.0)
    ('61.5 s', '30 to 60 min')
    """
    name, unit_s = time_unit(span_s)
    return f"{' to '.join(f'{time_s / unit_s:.4g}' for time_s in times_s)} {name}"


def time_axis(axes: Axes, span_s: float) -> None:
    """Marks an x axis in seconds with round numbers of the unit that suits its span. Modifies the axes."""
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    name, unit_s = time_unit(span_s)
    least = max(span_s, 1e-9) / unit_s / 8
    scale = 10.0 ** math.floor(math.log10(least))
    step = next(scale * nice for nice in (1, 2, 5, 10) if scale * nice >= least)
    axes.xaxis.set_major_locator(MultipleLocator(step * unit_s))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / unit_s:g}"))
    axes.set_xlabel(f"time ({name})")
