"""The report of a study in a real browser: what is seen, sorted, hovered, printed; and what must not happen there.

The study's names are HTML on purpose: everything here is also a test that they stay text.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pandas as pd
import pytest

from chatsim.cli import main
from chatsim.report import page
from chatsim.report.review import history_of, read_review
from chatsim.study.archive import REPORT, Archive
from tests.conftest import Said

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Cli = Callable[..., Said]

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
IMAGE = '<img src=x onerror="alert(1)">'
NAME = "<script>alert(2)</script>"
STUDY = """
name = '{name}'
about = "does **A** & <b>B</b> fit?"
designs = ["a.toml", "b.toml"]
set = ["workload.users=60", "workload.duration_s=60", "workload.conversations.messages_per_day=8000"]
replications = 3
slos = ["p50_ms < 1000", "lost_share < 0.99"]
[factors]
design.gateways = [2, 3, 4]
"""
POINTS = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study of two designs with 2 to 4 gateways, with its report."""
    place = tmp_path_factory.mktemp("report")
    for file, name, base in (("a", IMAGE, "go-chat"), ("b", "b|*c*", "global-channel")):
        (place / f"{file}.toml").write_text(f"name = '{name}'\nextends = '{base}'\n")
    (place / "study.toml").write_text(STUDY.format(name=NAME))
    assert main(["study", str(place / "study.toml"), "--jobs", "1", "--out", str(place / "out")]) == 0
    return place / "out"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium here: the page is not looked at")
    api = pytest.importorskip("playwright.sync_api", reason="no playwright here (extra 'test'): the page is not looked at")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def opened(browser: Browser, folder: Path) -> Iterator[Callable[..., Page]]:
    """Opens the report; in the end nothing was complained about, asked of the network, or run out of the data."""
    wrong: list[str] = []
    contexts = []

    def open_page(**how: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1100, "height": 800}, **how})
        contexts.append(context)
        shown = context.new_page()
        shown.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
        shown.on("pageerror", lambda error: wrong.append(str(error)))
        shown.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
        shown.on("request", lambda asked: wrong.append(asked.url) if not asked.url.startswith(("file:", "data:")) else None)
        shown.goto((folder / REPORT).as_uri())
        return shown

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


# --------------------------------------------------------------------------- in the browser


def test_a_table_is_sorted_by_a_click(opened: Callable[..., Page]) -> None:
    shown = opened()

    def column(place: int) -> list[float]:
        return [float(cell) for cell in shown.locator(f"#points tbody td:nth-child({place})").evaluate_all("cells => cells.map(c => c.dataset.sort)")]

    assert column(1) == [*range(POINTS)]
    headers = shown.locator("#points thead th").all_inner_texts()
    place = next(at for at, text in enumerate(headers, start=1) if "USD" in text and "month" in text)
    header = shown.locator(f"#points thead th:nth-child({place})")
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    assert column(place) == sorted(column(place))
    assert column(1) != [*range(POINTS)]
    header.locator("button").press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    assert column(place) == sorted(column(place), reverse=True)


def test_a_mark_says_its_values(opened: Callable[..., Page], folder: Path) -> None:
    shown = opened()
    marks = shown.locator("#decision-front svg [data-value]")
    said = marks.evaluate_all("marks => marks.map(mark => mark.dataset.value)")
    assert len([text for text in said if text.startswith("#")]) == POINTS
    marks.first.scroll_into_view_if_needed()
    box = marks.first.bounding_box()
    assert box is not None
    shown.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tip = shown.locator("#tip")
    tip.wait_for(state="visible")
    text = tip.inner_text()
    point = int(re.match(r"#(\d+)", text)[1])  # type: ignore[index]
    results = pd.read_parquet(folder / "results.parquet")
    p99 = results[(results["point"] == point) & (results["figure"] == "p99_ms")]["estimate"].iloc[0]
    assert "cost (USD per month): " in text
    assert f"p99 latency (ms), 95 % interval: {p99:.3g}" in text
    shown.mouse.move(2, 2)
    tip.wait_for(state="hidden")


def test_numbers_can_be_taken_away(opened: Callable[..., Page], folder: Path) -> None:
    shown = opened(accept_downloads=True)
    links = shown.locator("a.csv")
    assert links.count() >= 8
    with shown.expect_download() as waiting:
        shown.locator('a[download="points.csv"]').click()
    rows = list(csv.DictReader(io.StringIO(Path(waiting.value.path()).read_text(encoding="utf-8"))))
    assert len(rows) == POINTS
    assert rows[0]["design"] == IMAGE
    results = pd.read_parquet(folder / "results.parquet")
    p50 = results[results["figure"] == "p50_ms"]["estimate"]
    assert [float(row["p50_ms"]) for row in rows] == pytest.approx(p50.tolist(), rel=1e-12)


def test_it_prints(opened: Callable[..., Page]) -> None:
    shown = opened()
    shown.emulate_media(media="print")
    assert not shown.locator("nav").is_visible()
    assert shown.locator("#points").is_visible()
    printed = shown.pdf(format="A4")
    assert printed.startswith(b"%PDF-")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 25


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_without_scrolling_aside(opened: Callable[..., Page], scheme: str) -> None:
    shown = opened(viewport={"width": 360, "height": 740}, device_scale_factor=2, has_touch=True, is_mobile=True, color_scheme=scheme)
    assert shown.evaluate("document.documentElement.scrollWidth") == 360
    verdict = shown.locator(".verdict").bounding_box()
    assert verdict is not None
    assert verdict["y"] + verdict["height"] < 740  # seen at once
    size = shown.locator("#decision-front svg text").first.evaluate("text => text.getBoundingClientRect().height")
    assert size >= 8  # pixels: charts scroll in their frame and are not shrunk until nobody can read them


def test_in_the_dark(opened: Callable[..., Page]) -> None:
    def light_of(shown: Page, what: str) -> float:
        said = shown.evaluate(f"getComputedStyle(document.documentElement).{what}")
        return sum(map(int, re.findall(r"\d+", said)[:3])) / 3

    dark, light = opened(color_scheme="dark"), opened(color_scheme="light")
    assert light_of(dark, "backgroundColor") < 40
    assert light_of(dark, "color") > 200
    assert light_of(light, "color") < 60
    assert light_of(light, "backgroundColor") > 240
    look = "document.querySelector('.chart svg') && getComputedStyle(document.querySelector('.chart svg')).filter"
    assert "invert" in dark.evaluate(look)
    assert light.evaluate(look) == "none"
    dark.emulate_media(media="print", color_scheme="dark")
    assert light_of(dark, "backgroundColor") > 240


def test_without_javascript(opened: Callable[..., Page], folder: Path) -> None:
    shown = opened(java_script_enabled=False)
    assert shown.locator(".verdict").is_visible()
    assert shown.locator("#points tbody tr").count() == POINTS
    assert shown.locator("th button").count() == 0
    assert not shown.locator("#tip").is_visible()
    assert shown.locator("#decision-front svg use title").count() >= POINTS
    shown.locator("#decision-front summary").click()
    assert shown.locator("#decision-front details table").is_visible()


def test_names_stay_text(opened: Callable[..., Page], folder: Path) -> None:
    shown = opened()
    assert shown.title().startswith(NAME)
    assert shown.locator("h1").inner_text() == NAME
    assert shown.locator("#points tbody tr").first.locator("td").nth(1).inner_text() == IMAGE
    assert shown.locator("img[src='x']").count() == 0
    assert shown.locator("script").count() == 1
    assert "does **A** & <b>B</b> fit?" in shown.locator("header").inner_text()


# --------------------------------------------------------------------------- the file


def test_it_is_one_small_file_that_asks_for_nothing(folder: Path) -> None:
    text = (folder / REPORT).read_text(encoding="utf-8")
    assert len(text.encode()) < 3_000_000
    assert "default-src 'none'" in text
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!#|data:)""", text)
    assert not re.findall(r"url\((?!#)", text)
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'xlink:href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text))
    assert used <= set(ids)


def test_it_says_the_decision_and_why_to_believe_it(folder: Path) -> None:
    review = read_review(folder)
    text = (folder / REPORT).read_text(encoding="utf-8")
    assert "All 4 checks agree with theory" in text
    assert "Fitted to CollegeMsg, the behaviour model" in text
    assert "all its figures are those stored" in text
    assert "18 runs passed" in text
    for heading in ("Objectives", "Logic", "Data", "Experimentation", "Implementation", "Code access"):
        assert f">{heading}</th>" in text
    assert {one.key for one in review.decisions} == {"response", "effects", "differences", "front"}
    live = next(one for one in review.trust if one.key == "live")
    assert live.figure is not None
    labels = [label.get_text() for axis in (live.figure.axes[0].xaxis, live.figure.axes[0].yaxis) for label in axis.get_ticklabels()]
    assert "10" in labels
    assert not any("$" in label for label in labels)
    assert {one.key for one in review.trust} == {"precision", "warm-up", "published", "live", "assumptions"}
    for one in review.exhibits:
        assert one.title and one.conclusion.endswith(".") and len(one.table)  # noqa: PT018
        if one.figure is not None:
            assert all(axes.get_xlabel() or axes.get_ylabel() for axes in one.figure.axes)
    costs = review.decision.table["usd_per_month"]
    assert costs.notna().all()
    assert (costs.iloc[:3].diff().dropna() > 50).all()  # a gateway more


def test_the_same_folder_gives_the_same_bytes(folder: Path) -> None:
    one, other = (page.html(read_review(folder)) for _ in range(2))
    assert one == other


def test_a_summary_for_a_pull_request(folder: Path, chatsim: Cli, tmp_path: Path) -> None:
    said = chatsim("report", folder, "--format", "md")
    assert (said.status, said.err) == (0, "")
    assert said.out.startswith("### \\<script\\>alert(2)\\</script\\>\n\n**")
    lines = said.out.splitlines()
    points = [line for line in lines if re.match(r"\| (\*\*)?\d+(\*\*)? \| (\\<img|b)", line)]
    assert len(points) == POINTS
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in points}) == 1  # a bar in a name makes no column
    assert "Against point" in said.out
    assert not re.search(r"(?<!\\)<", said.out)
    assert chatsim("report", folder, "--format", "md", "--out", "pr.md").status == 0
    assert (tmp_path / "pr.md").read_text() == said.out


def test_nothing_is_overwritten_and_errors_are_one_line(folder: Path, chatsim: Cli, tmp_path: Path) -> None:
    (tmp_path / "there.html").write_text("mine")
    cases = {
        ("report", folder, "--out", "there.html", "--no-evidence"): "--out there.html: exists already",
        ("report", folder, "--out", "gone/r.html"): "--out gone/r.html: no such folder: gone",
        ("report", folder, "--out", "."): "--out .: is a folder",
        ("report", "nothing"): "nothing: holds no study",
        ("report", tmp_path): "is not empty and holds no study",
        ("report", folder, "--format", "pdf"): "'--format'",
    }
    for command, phrase in cases.items():
        said = chatsim(*command)
        assert said.status == 2, command
        assert phrase in said.err
        assert len(said.err.splitlines()) == 1
    assert (tmp_path / "there.html").read_text() == "mine"
    assert chatsim("report", folder, "--out", "there.html", "--no-evidence", "--force").status == 0
    assert "--no-evidence" in (tmp_path / "there.html").read_text()


# --------------------------------------------------------------------------- folders as they may be


def copied(folder: Path, to: Path) -> Path:
    """A copy of the study to be tampered with."""
    shutil.copytree(folder, to / "copy")
    (to / "copy" / REPORT).unlink()
    return to / "copy"


def changed_manifest(place: Path, **changes: Any) -> None:
    """Says something else in the manifest."""
    said = json.loads((place / "manifest.json").read_text())
    (place / "manifest.json").write_text(json.dumps({**said, **changes}))


def test_a_study_that_is_not_finished(folder: Path, tmp_path: Path) -> None:
    place = copied(folder, tmp_path)
    for run in sorted((place / "runs").iterdir())[:10]:
        run.unlink()
    review = read_review(place)
    assert any("10 of 18 runs are missing" in note for note in review.decision.notes)
    assert "10 of those planned are missing" in page.html(review)
    for run in (place / "runs").iterdir():
        run.unlink()
    review = read_review(place)
    assert review.decision.verdict == "No run is there yet: start the study again."
    assert review.decision.named is None
    assert review.decision.verdict in page.html(review)
    assert "0 runs (18 missing)" in page.markdown(review)


def test_runs_of_another_model_are_not_done_again(folder: Path, tmp_path: Path) -> None:
    place = copied(folder, tmp_path)
    changed_manifest(place, model="0123456789ab")
    review = read_review(place, lambda outcome: pytest.fail("a run was done again"))
    assert review.evidence == ()
    assert "its runs are of model 0123456789ab" in review.evidence_said


def test_figures_that_do_not_come_again_are_said(folder: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = copied(folder, tmp_path)
    archive = Archive(place)
    named = read_review(place).decision.named
    assert named is not None
    run = json.loads((place / "manifest.json").read_text())["points"][named]["runs"][0]
    table = pq.read_table(place / "runs" / f"{run}.parquet")
    at = table.schema.get_field_index("max_ms")
    wrong = pa.array([table["max_ms"][0].as_py() + 1e-9])
    pq.write_table(table.set_column(at, "max_ms", wrong), place / "runs" / f"{run}.parquet")
    assert archive.row(run) is not None
    review = read_review(place, lambda outcome: [])
    assert review.reproduced is False
    assert '<li class="bad">Reproduced' in page.html(review)


def test_runs_of_a_model_that_kept_less(folder: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    place = copied(folder, tmp_path)
    for path in (place / "runs").iterdir():
        table = pq.read_table(path)
        gone = [name for name in table.schema.names if name.startswith(("paid_", "path_", "users", "duration_s")) or "busiest_work" in name]
        pq.write_table(table.drop_columns(gone), path)
    review = read_review(place)
    assert review.decision.table["usd_per_month"].isna().all()
    assert any("Points without a cost" in note for note in review.decision.notes)
    assert "warm-up" not in {one.key for one in review.trust}
    assert review.decision.verdict in unquote(page.html(review)).replace("&lt;", "<").replace("&gt;", ">").replace("&#34;", '"')


def test_a_history_of_anybody(folder: Path, tmp_path: Path) -> None:
    place = copied(folder, tmp_path)
    good = (place / "history.jsonl").read_text()
    evil = json.dumps({"event": "end", "at": "<b>", "command": ["<script>"], "machine": {"cores": 1, "python": "3", "platform": "x"}, "computed": 1, "failed": ["<i>bad</i>"], "took_s": 1})
    (place / "history.jsonl").write_text(f'{good}\nno json\n[1]\n{{"event": "end"}}\n{"[" * 100_000}\n{evil}\n')
    table = history_of(Archive(place))
    assert len(table) == 2
    text = page.html(read_review(place))
    assert "<i>bad" not in text
    assert "&lt;i&gt;bad&lt;/i&gt;" in text


def test_a_study_and_a_manifest_of_different_points(folder: Path, tmp_path: Path, chatsim: Cli) -> None:
    place = copied(folder, tmp_path)
    text = (place / "study.toml").read_text()
    (place / "study.toml").write_text(text.replace("[2, 3, 4]", "[2, 3, 5]"))
    said = chatsim("report", place)
    assert said.status == 2
    assert "study.toml and manifest.json are not of the same points" in said.err
    assert len(said.err.splitlines()) == 1
