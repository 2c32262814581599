"""The charts of faults show the timeline and the storm, with units, and say when faults struck."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from chatsim import analysis
from chatsim.analysis.recovery import peak_tries, tries_s
from chatsim.engine.outcome import Cause, Fate, FaultKind, Outcome, SessionFate
from chatsim.report import faults
from chatsim.report.charts import write_figure
from chatsim.report.style import TIER_COLORS
from tests.outcomes import NAN, outcome
from tests.test_charts import drawn, legend_names, texts

STRIKE = [{"start_s": 60.0, "end_s": 90.0}]


def run(
    tries: int = 200, strikes: list[dict[str, Any]] | None = None, name: str = "room-channel", deliveries: int = 6000
) -> Outcome:
    """A made-up run of 120 s: a fifth of a thousand sessions is cut at 60 s and comes back within two seconds."""
    luck = np.random.default_rng(tries)
    sessions: list[dict[str, Any]] = [{"user": 0, "end_s": 500.0} for _ in range(1000)]
    for number in range(tries):
        sessions[number].update(fate=SessionFate.CUT, cut_s=60.0, left_s=60.1)
        start_s = 60.1 + 2 * float(luck.random())
        sessions.append({"start_s": start_s, "online_s": start_s + 0.3, "origin": number, "end_s": 500.0})
    written_s = np.sort(luck.uniform(0, 119, deliveries))
    took_s = luck.lognormal(-3, 0.4, deliveries) + np.where((written_s > 60) & (written_s < 64), 1.0, 0.0)
    rows: list[dict[str, Any]] = [
        {"message": place, "time_s": float(written_s[place] + took_s[place])} for place in range(deliveries)
    ]
    for place in np.flatnonzero((written_s > 60) & (written_s < 62))[::3]:
        rows[place].update(fate=Fate.LOST, cause=Cause.CRASHED, time_s=NAN)
    for place in np.flatnonzero((written_s > 60) & (written_s < 62))[1::3]:
        rows[place].update(fate=Fate.REFUSED, cause=Cause.NOT_BUFFERED, time_s=NAN)
    ticks = [
        {"station": station, "start_s": float(second), "end_s": second + 0.01, "items": 2 + 90 * (second == 61), "waiting": 0}
        for station in range(6) for second in range(120)
    ]
    return outcome(
        [{"time_s": float(at_s)} for at_s in written_s], rows, sessions, ticks, duration_s=120.0,
        strikes=STRIKE if strikes is None else strikes, design={"gateways": 4}, name=name,
    )


def line(figure: Figure, label: str) -> tuple[np.ndarray, np.ndarray]:
    """The data of the line of that name."""
    (found,) = [each for axes in figure.axes for each in axes.lines if each.get_label() == label]
    return np.asarray(found.get_xdata()), np.asarray(found.get_ydata())


def spans(figure: Figure) -> list[list[tuple[float, float]]]:
    """What is shaded, panel by panel."""
    return [[(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches] for axes in figure.axes[:3]]


# --------------------------------------------------------------------------- over time


def test_lines_over_time_are_the_timeline() -> None:
    one = run()
    figure = faults.timeline_chart(one)
    fine, wide = analysis.timeline(one, 0.1), analysis.timeline(one, 0.8)
    assert (120.0 / faults.FINE_BINS, 120.0 / faults.BINS) == (0.1, 0.8)
    for label, column, table in (
        ("sessions online", "online", fine), ("tries to come back", "tries_per_100ms", fine),
        ("gateway queue", "gateway_waiting", wide), ("broker queue", "broker_waiting", wide),
        ("database queue", "database_waiting", wide),
    ):
        x, y = line(figure, label)
        assert np.array_equal(x[:-1], table["start_s"]), label
        assert np.array_equal(y[:-1], table[column]), label
        assert x[-1] == 120.0
    for name in ("lost", "refused"):
        x, y = line(figure, name)
        assert (y[:-1] * 0.8).sum() == pytest.approx(wide[name].sum())  # per s, in bins of 0.8 s
        assert wide[name].sum() > 20
    x, y = line(figure, "longest latency")
    assert np.array_equal(y, wide["max_ms"], equal_nan=True)
    x, y = line(figure, "p99 latency")
    bins = int((one.deliveries["fate"] == Fate.DELIVERED).sum()) // 150
    assert len(x) == bins == 39
    coarse = analysis.timeline(one, 120.0 / bins)
    assert np.array_equal(y, coarse["p99_ms"], equal_nan=True)


def test_the_three_panels_share_time_and_say_their_units() -> None:
    figure = faults.timeline_chart(run())
    upper, middle, lower = figure.axes[:3]
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "sessions online", "latency (ms)", "longest queue (items)", "tries (per 100 ms)", "lost, refused (per s)",
    ]
    assert lower.get_xlabel() == "time (s)"
    assert (middle.get_yscale(), lower.get_yscale(), upper.get_yscale()) == ("log", "symlog", "linear")
    assert {axes.get_xlim() for axes in (upper, middle, lower)} == {(0.0, 120.0)}
    assert legend_names(figure) == [
        "sessions online", "tries to come back", "longest latency", "p99 latency", "lost", "refused",
        *(f"{tier} queue" for tier in TIER_COLORS),
    ]
    assert "Faults over time: room-channel" in texts(figure)


def test_faults_are_shaded_and_named() -> None:
    figure = faults.timeline_chart(run())
    assert spans(figure) == [[(60.0, 90.0)]] * 3
    assert "crash of gateway-0" in texts(figure)


def test_a_fault_without_an_end_goes_to_the_right_edge() -> None:
    assert spans(faults.timeline_chart(run(strikes=[{"start_s": 60.0}]))) == [[(60.0, 120.0)]] * 3


def test_strikes_that_touch_are_one_span_and_those_of_a_fault_have_one_name() -> None:
    drains = [{"kind": FaultKind.DRAIN, "station": place, "start_s": 60 + 10.0 * place, "end_s": 70 + 10.0 * place} for place in range(3)]
    later = [{"fault": 1, "kind": FaultKind.DATABASE_DOWN, "station": 5, "start_s": 100.0, "end_s": 105.0}]
    beyond = [{"fault": 2, "kind": FaultKind.LINK, "station": -1, "start_s": 130.0}]
    figure = faults.timeline_chart(run(strikes=[*drains, *later, *beyond]))
    assert spans(figure)[0] == [(60.0, 90.0), (100.0, 105.0)]
    said = texts(figure)
    assert said.count("drain of 3 gateways") == 1
    assert "outage of the database" in said
    assert "trouble on a link" not in said  # after the end of the run


def test_many_faults_are_counted() -> None:
    many = [{"fault": place, "start_s": 10.0 * place, "end_s": 10.0 * place + 1, "station": place % 4} for place in range(9)]
    said = texts(faults.timeline_chart(run(strikes=many)))
    assert "6 more faults" in said
    assert sum("crash of" in text for text in said) == 3


def test_what_is_not_there_is_not_drawn() -> None:
    mesh = outcome([{}], [{"time_s": 0.1}], [{}], strikes=[{"start_s": 1.0}], design={"routing": "mesh", "gateways": 2})
    figure = faults.timeline_chart(mesh)
    assert legend_names(figure) == ["sessions online", "longest latency", "gateway queue", "database queue"]
    assert len(figure.axes) == 3  # no axis of tries and none of losses
    assert "no deliveries" in texts(faults.timeline_chart(outcome()))


# --------------------------------------------------------------------------- the storm


def test_lines_of_the_storm_are_the_peaks_of_each_bin() -> None:
    runs = {"jitter": run(200), "none": run(40)}
    figure = faults.storm_chart(runs)
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("time after the first strike (s)", "tries to come back (per 100 ms)")
    curves = [each for each in axes.lines if len(each.get_xdata()) > 1]
    marks = [each for each in axes.lines if each.get_label() == "peak"]
    for curve, peak_mark, (name, one) in zip(curves, marks, runs.items(), strict=True):
        x, y = np.asarray(curve.get_xdata()), np.asarray(curve.get_ydata())
        peak, peak_s = peak_tries(tries_s(one) - 60.0)
        assert y.max() == peak
        assert x[np.argmax(y)] <= peak_s < x[np.argmax(y)] + 0.1 + 1e-9
        assert (peak_mark.get_xdata()[0], peak_mark.get_ydata()[0]) == (peak_s, peak)
        assert f"{name}\npeak {peak:,} at {peak_s:.3g} s" in legend_names(figure)
    assert axes.get_yscale() == "linear"


def test_peaks_far_apart_have_a_scale_that_shows_both() -> None:
    storm = outcome(sessions=[{"start_s": 61.0, "online_s": 62.0, "origin": 0}] * 900, strikes=STRIKE, duration_s=120.0)
    figure = faults.storm_chart({"at once": storm, "jitter": run(200)})
    assert figure.axes[0].get_yscale() == "symlog"
    assert figure.axes[0].get_ylim()[1] >= 900


def test_only_designs_that_were_struck_are_in_the_storm() -> None:
    figure = faults.storm_chart({"struck": run(), "calm": run(0, strikes=[])})
    assert [name.partition("\n")[0] for name in legend_names(figure)] == ["struck"]
    assert "nobody had to come back" in texts(faults.storm_chart({"calm": run(0, strikes=[])}))
    assert "nobody had to come back" in texts(faults.storm_chart({}))
    untouched = faults.storm_chart({"struck": run(), "untouched": run(0)})
    assert "untouched\nno tries" in legend_names(untouched)


# --------------------------------------------------------------------------- names, sizes, files


def many_runs(count: int) -> dict[str, Outcome]:
    names = ("go-chat, phoenix", "$x$ costs $5_2$", "_hidden", "a name that is far too long to stand in one line", "<b> & co")
    return {f"{names[place % 5]} {place}": run(50 + 40 * place) for place in range(count)}


def figures() -> list[Figure]:
    kinds = (FaultKind.DRAIN, FaultKind.PARTITION, FaultKind.SLOW_CLIENTS, FaultKind.SLOW)
    mixed = [
        {"fault": place, "kind": kind, "start_s": 5.0 + 35 * place, "station": place % 2 if place != 2 else -1, "end_s": 20.0 + 35 * place}
        for place, kind in enumerate(kinds)
    ]
    return [
        faults.timeline_chart(run(name="<b>$odd$</b> & co")),
        faults.timeline_chart(run(strikes=mixed)),
        faults.storm_chart(many_runs(1)),
        faults.storm_chart(many_runs(10)),
    ]


@pytest.mark.parametrize("place", range(4))
def test_no_text_is_small_clipped_or_over_another(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = figures()[place]
    boxes = drawn(figure, monkeypatch)
    page = figure.bbox.padded(2)
    for number, (text, box) in enumerate(boxes):
        assert text.get_fontsize() >= 8
        assert page.contains(box.x0, box.y0), text.get_text()
        assert page.contains(box.x1, box.y1), text.get_text()
        for other, beside in boxes[number + 1 :]:
            common = Bbox.intersection(box, beside)
            assert common is None or min(common.width, common.height) <= 2, (text.get_text(), other.get_text())


def test_names_are_shown_as_they_are_and_files_do_not_change(tmp_path: Path) -> None:
    figure = faults.timeline_chart(run(name="<b>$odd$</b> & co"))
    paths = write_figure(figure, tmp_path / "a", "faults")
    again = write_figure(faults.timeline_chart(run(name="<b>$odd$</b> & co")), tmp_path / "b", "faults")
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again]
    assert "<b>$odd$</b> & co" in "".join(ElementTree.parse(paths[1]).getroot().itertext())
    _, svg = write_figure(faults.storm_chart(many_runs(5)), tmp_path, "storm")
    written = "".join(ElementTree.parse(svg).getroot().itertext())
    for name in ("$x$ costs $5_2$ 1", "_hidden 2", "<b> & co 4"):
        assert name in written
