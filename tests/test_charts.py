"""The charts: what they show is the table they were given, with units, and every name as it is."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from chatsim import analysis
from chatsim.report import charts
from chatsim.report.style import MARKS, mark, wrapped
from tests.outcomes import outcome
from tests.test_analysis import station_run

AWKWARD = (
    "go-chat",
    "<b>bold</b> & co",
    "$x$ costs $5_2$",
    "_hidden",
    "a name that is far too long to stand in one line of it",
)


def texts(figure: Figure) -> list[str]:
    """Every text that a reader sees."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


def legend_names(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def latencies(count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {f"design {place}": rng.lognormal(3 + place / 5, 0.5, 2000) for place in range(count)}


def saturation() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "offered_per_s": [100.0, 1000, 4000, 8000],
            "carried_per_s": [100.0, 1000, 3900, 4000],
            "p50_ms": [30.0, 31, 40, 900],
            "p99_ms": [60.0, 65, 120, 4000],
            "overloaded": [False, False, False, True],
        }
    )


def utilisation(names: tuple[str, ...] = ("a", "b")) -> pd.DataFrame:
    rows = [
        {"design": name, "tier": tier, "utilisation": 0.1 * (place + 1), "work_utilisation": 0.04 * (place + 1)}
        for place, name in enumerate(names)
        for tier in ("gateway", "broker", "database")
    ]
    return pd.DataFrame(rows)


def summary(names: tuple[str, ...] = ("a", "b")) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"design": name, "p50_ms": 30.0 + place, "p99_ms": 100.0 + place, "overloaded": place == 1}
            for place, name in enumerate(names)
        ]
    )


def all_charts(names: tuple[str, ...]) -> Iterator[Figure]:
    yield charts.latency_by_percentile(dict(zip(names, latencies(len(names)).values(), strict=True)))
    yield charts.utilisation_by_tier(utilisation(names))
    yield charts.saturation_curve({name: saturation() for name in names})
    yield charts.comparison_bars(summary(names))


# --------------------------------------------------------------------------- what they show


def test_lines_of_the_percentile_chart_are_the_curves() -> None:
    data = latencies(3)
    figure = charts.latency_by_percentile(data)
    (axes,) = figure.axes
    assert len(axes.lines) == 3
    for line, values in zip(axes.lines, data.values(), strict=True):
        curve = analysis.percentile_curve(values)
        assert np.array_equal(line.get_xdata(), curve["nines"])
        assert np.array_equal(line.get_ydata(), curve["latency_ms"])
        marked = np.asarray(line.get_ydata())[line.get_markevery()]
        figures = analysis.percentiles(values)
        assert marked.tolist() == [figures["p50_ms"], figures["p90_ms"], figures["p99_ms"], figures["p999_ms"]]
    assert axes.get_yscale() == "log"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("percentile of deliveries (%)", "latency (ms)")
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "50", "90", "99", "99.9"]
    assert axes.get_xticks() == pytest.approx([0, math.log10(2), 1, 2, 3])
    assert legend_names(figure) == [f"design {place}\n2,000 deliveries" for place in range(3)]


def test_bars_of_the_utilisation_chart_are_the_table() -> None:
    table = utilisation()
    table = table[(table["design"] != "b") | (table["tier"] != "broker")]
    figure = charts.utilisation_by_tier(table)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["gateway", "broker", "database"]
    for axes in figure.axes:
        assert axes.get_xlabel() == "utilisation (%)"
        rows = table[table["tier"] == axes.get_title(loc="left")]
        widths = [bar.get_width() for bar in axes.patches]
        busy, work = widths[:2], widths[2:]
        assert busy[: len(rows)] == pytest.approx((100 * rows["utilisation"]).tolist())
        assert work[: len(rows)] == pytest.approx((100 * rows["work_utilisation"]).tolist())
    assert [text.get_text() for text in figure.axes[1].texts] == ["10 (4)", "none"]
    assert len({label.get_text() for label in figure.axes[0].get_yticklabels()}) == 2


def test_the_saturation_chart_has_both_panels_knees_and_hollow_points() -> None:
    table = saturation()
    figure = charts.saturation_curve({"one": table, "early": table.iloc[:2]})
    upper, lower = figure.axes
    assert (upper.get_ylabel(), lower.get_ylabel()) == ("carried (deliveries/s)", "p99 latency (ms)")
    assert lower.get_xlabel() == "offered (deliveries/s)"
    for axes, column in ((upper, "carried_per_s"), (lower, "p99_ms")):
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        curve, solid, hollow, knee = axes.lines[:4]
        assert np.array_equal(curve.get_ydata(), table[column])
        assert np.array_equal(solid.get_xdata(), [100, 1000, 4000])
        assert np.array_equal(hollow.get_ydata(), table[column].iloc[3:])
        assert hollow.get_markerfacecolor() == "white"
        assert [*knee.get_xdata(), *knee.get_ydata()] == [4000, table[column][2]]
        assert sum(line.get_label() == "knee" for line in axes.lines) == 1
    assert legend_names(figure) == [
        "one\nknee at 4 k/s",
        "early\nno knee up to 1 k/s",
        "overloaded (hollow)",
        "knee (ring)",
        "carried = offered",
    ]


def test_the_comparison_labels_both_ends_of_each_bar() -> None:
    table = summary(("a", "b", "c"))
    table.loc[2, ["p50_ms", "p99_ms"]] = math.nan
    figure = charts.comparison_bars(table)
    (axes,) = figure.axes
    assert axes.get_xlabel() == "latency (ms), from p50 to p99"
    assert axes.get_xscale() == "log"
    bars = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2]
    assert [list(bar) for bar in bars] == [[30, 100], [31, 101]]
    assert [text.get_text() for text in axes.texts] == ["30", "100", "31", "101, overloaded", "no deliveries"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]


def test_cells_of_the_heat_map_count_every_delivery(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    at_s, took_s = np.sort(rng.uniform(0, 9, 500)), rng.lognormal(-3, 0.6, 500)
    run = outcome(
        [{"time_s": float(at)} for at in at_s],
        [{"message": place, "time_s": float(at_s[place] + took_s[place])} for place in range(500)],
        name="$odd$ <one>",
    )
    figure = charts.latency_heatmap(run)
    axes = figure.axes[0]
    assert axes.get_title(loc="left") == "Latency over time: $odd$ <one>"
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_yscale()) == ("time (s)", "latency (ms)", "log")
    (cells,) = axes.collections
    assert cells.get_array().sum() == 500
    assert "deliveries per cell" in texts(figure)
    _, svg = charts.write_figure(figure, tmp_path, "heat")
    assert "$odd$ <one>" in "".join(ElementTree.parse(svg).getroot().itertext())


def test_queues_are_those_of_the_timeline() -> None:
    timeline = analysis.tier_timeline(station_run(), 2.0)
    figure = charts.queue_lengths(timeline)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["gateway", "broker", "database"]
    longest, mean = figure.axes[0].patches
    rows = timeline[timeline["tier"] == "gateway"]
    assert np.array_equal(longest.get_data().values, rows["largest_queue_items"])
    assert np.array_equal(mean.get_data().values, rows["mean_queue_items"])
    assert figure.axes[0].get_yscale() == "symlog"
    assert figure.axes[-1].get_xlabel() == "time (s)"
    assert "queue (items)" in texts(figure)


# --------------------------------------------------------------------------- names, sizes, nothing


@pytest.mark.parametrize("place", range(4))
def test_names_are_shown_as_they_are(place: int, tmp_path: Path) -> None:
    figure = list(all_charts(AWKWARD))[place]
    shown = "\n".join(texts(figure))
    _, svg = charts.write_figure(figure, tmp_path, "chart")
    written = "".join(ElementTree.parse(svg).getroot().itertext())
    for name in AWKWARD:
        assert wrapped(name) in shown
        for line in wrapped(name).splitlines():
            assert line in written


def drawn(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Text, Bbox]]:
    """The texts that are drawn (an axis holds tick labels beyond its limits, which are not), and where."""
    seen: dict[int, Text] = {}
    draw = Text.draw

    def note(text: Text, *args: Any, **wishes: Any) -> None:
        if text.get_text().strip() and text.get_visible():
            seen[id(text)] = text
        draw(text, *args, **wishes)

    with monkeypatch.context() as patch:
        patch.setattr(Text, "draw", note)
        figure.draw_without_rendering()
    return [(text, Text.get_window_extent(text)) for text in seen.values()]


@pytest.mark.parametrize("count", [1, 6, 10])
def test_no_text_is_small_clipped_or_over_another(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    names = tuple(f"{AWKWARD[place % len(AWKWARD)]}{place}" for place in range(count))
    for figure in all_charts(names):
        boxes = drawn(figure, monkeypatch)
        assert len(boxes) > count
        page = figure.bbox.padded(2)
        assert sum(axes.get_position().width for axes in figure.axes if axes.get_subplotspec().is_first_row()) > 0.5
        for place, (text, box) in enumerate(boxes):
            assert text.get_fontsize() >= 8
            assert page.contains(box.x0, box.y0), text.get_text()
            assert page.contains(box.x1, box.y1), text.get_text()
            for other, beside in boxes[place + 1 :]:
                common = Bbox.intersection(box, beside)
                assert common is None or min(common.width, common.height) <= 2, (text.get_text(), other.get_text())


def test_ten_designs_differ_in_colour_and_without_it() -> None:
    assert len({own.color for own in MARKS}) == len({own.marker for own in MARKS}) == 10
    assert len({(own.marker, str(own.line)) for own in MARKS}) == 10
    assert len({(mark(place).color, str(mark(place).line)) for place in range(20)}) == 20


def test_charts_of_nothing_say_so() -> None:
    empty = outcome()
    said = {
        "too few deliveries": charts.latency_by_percentile({"a": [], "b": [1.0]}),
        "no stations": charts.utilisation_by_tier(utilisation().iloc[:0]),
        "no deliveries": charts.latency_heatmap(empty),
        "no points": charts.saturation_curve({}),
    }
    for sentence, figure in said.items():
        assert sentence in texts(figure)
    assert "no stations" in texts(charts.queue_lengths(analysis.tier_timeline(empty, 1.0).iloc[:0]))
    nothing = summary(("a",)).assign(p50_ms=math.nan, p99_ms=math.nan)
    assert "no deliveries" in texts(charts.comparison_bars(nothing))
    silent = saturation().assign(p50_ms=math.nan, p99_ms=math.nan)
    assert legend_names(charts.saturation_curve({"mute": silent}))[0] == "mute\nno knee: no deliveries"


# --------------------------------------------------------------------------- files


def test_files_are_whole_and_of_print_size(tmp_path: Path) -> None:
    png, svg = charts.write_figure(charts.comparison_bars(summary()), tmp_path / "new", "bars")
    assert sorted(path.name for path in png.parent.iterdir()) == ["bars.png", "bars.svg"]
    with Image.open(png) as image:
        assert image.size[0] == round(7.2 * 150)
    assert ElementTree.parse(svg).getroot().tag.endswith("svg")
    assert "date" not in svg.read_text(encoding="utf-8")


DRAW = """
import hashlib, sys, tempfile
from tests.test_charts import all_charts
from chatsim.report.charts import write_figure
digest = hashlib.sha256()
with tempfile.TemporaryDirectory() as folder:
    for figure in all_charts(("a", "b")):
        for path in write_figure(figure, folder, "chart"):
            digest.update(path.read_bytes())
print(digest.hexdigest())
"""


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    digest = hashlib.sha256()
    for figure in all_charts(("a", "b")):
        for path in charts.write_figure(figure, tmp_path, "chart"):
            digest.update(path.read_bytes())
    root = Path(__file__).parent.parent
    other = subprocess.run([sys.executable, "-c", DRAW], cwd=root, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == digest.hexdigest()


def test_no_window_system_is_touched() -> None:
    code = "import sys, chatsim.report.charts; sys.exit('matplotlib.pyplot' in sys.modules)"
    root = Path(__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
