"""A notebook in a real JupyterLab, in a real browser: its explorer's sliders are moved, and the chart changes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytestmark = pytest.mark.long
NOTEBOOK, TOKEN = "04_scaling_and_broker.ipynb", "chatsim"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
START_S, RUN_MS = 120.0, 120_000
OTHER_TEXT = "said => [...document.querySelectorAll('.widget-html-content')].every(one => one.innerText !== said)"
IMAGE = ".jp-OutputArea img.widget-image, .jp-OutputArea .widget-image img"


class Lab(NamedTuple):
    """A running JupyterLab: its address, and the folder it shows."""

    url: str
    folder: Path


@pytest.fixture
def lab(root: Path, tmp_path: Path) -> Iterator[Lab]:
    pytest.importorskip("jupyterlab")
    shutil.copy(root / "notebooks" / NOTEBOOK, tmp_path)
    home = tmp_path / "home"
    surroundings = {**os.environ, "PYTHONPATH": str(root), "HOME": str(home), "JUPYTER_RUNTIME_DIR": str(home / "run")}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", "--port=0", "--allow-root"]
    command += [f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={tmp_path}", "--ServerApp.open_browser=False"]
    server = subprocess.Popen(command, env=surroundings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield Lab(address(home / "run", server), tmp_path)
    finally:
        server.terminate()
        server.wait(30)


def address(folder: Path, server: subprocess.Popen[bytes]) -> str:
    """Where the server listens, when it does."""
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s:
        assert server.poll() is None, "JupyterLab has ended"
        for file in folder.glob("jpserver-*.json"):
            try:
                url = str(json.loads(file.read_text())["url"])
                urllib.request.urlopen(f"{url}api?token={TOKEN}", timeout=5).close()
            except (ValueError, KeyError, urllib.error.URLError):
                continue
            return url
        time.sleep(0.3)
    raise TimeoutError("JupyterLab does not answer")


@pytest.fixture
def page() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    browser_path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser_path is None:
        pytest.skip("no chromium here")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 1400, "height": 1600})
        browser.close()


def test_the_explorers_sliders_change_the_chart(lab: Lab, page: Any) -> None:
    page.set_default_timeout(RUN_MS)
    page.goto(f"{lab.url}lab/tree/{NOTEBOOK}?token={TOKEN}")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator(".lm-Menu-itemLabel").get_by_text("Run All Cells", exact=True).click()
    chart = page.locator(IMAGE).first
    chart.wait_for(state="attached")
    chart.scroll_into_view_if_needed()
    page.wait_for_function("path => (document.querySelector(path)?.naturalWidth ?? 0) > 100", arg=IMAGE)
    before = page.evaluate("path => document.querySelector(path).src", IMAGE)
    estimates = page.locator(".widget-html-content", has_text="messages/s").first
    said = estimates.inner_text()

    handle = page.locator(".widget-slider .noUi-handle").nth(1)  # the second slider: gateways
    handle.scroll_into_view_if_needed()
    handle.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.wait_for_function(OTHER_TEXT, arg=said)
    page.wait_for_function("([path, src]) => document.querySelector(path).src !== src", arg=[IMAGE, before])
    page.wait_for_function("path => document.querySelector(path).naturalWidth > 100", arg=IMAGE)
    shown = os.environ.get("CHATSIM_SCREENSHOT")
    if shown:
        page.screenshot(path=shown)

    file = page.locator(".widget-text input").first
    file.fill("found.toml")
    file.press("Tab")
    page.get_by_role("button", name="Save as scenario").click()
    page.get_by_text("Written: found.toml").wait_for()
    assert "gateways = 8" in (lab.folder / "found.toml").read_text()
