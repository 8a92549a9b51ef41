"""The dashboard as Voila serves it: a page without cells."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.util import find_spec
from urllib.parse import urlsplit

import pytest
from driver import ROOT
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
LONG = 120_000
ICONS = "https://cdn.jsdelivr.net/npm/@fortawesome/fontawesome-free@"
"""What Voila's own page asks for, with no option against it; it goes without where it gets no answer."""

PIXELS = """c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
  return new Uint32Array(d.buffer).reduce((a, v) => (a * 31 + v) % 1000003, 7) }"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The address of the dashboard."""
    if find_spec("voila") is None:
        why = "Expected Voila, got none; install it (`pip install voila`)."
        pytest.fail(why) if os.environ.get("CI", "").lower() in ("1", "true") else pytest.skip(why)
    folder = tmp_path_factory.mktemp("voila")
    shutil.copy(ROOT / "notebooks" / "dashboard.ipynb", folder)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    own = {"JUPYTER_CONFIG_DIR": str(folder / "config"), "JUPYTER_RUNTIME_DIR": str(folder / "runtime")}
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    with (folder / "voila.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "voila", "dashboard.ipynb", "--no-browser", f"--port={port}"], cwd=folder,
            stdout=log, stderr=log, env={**os.environ, **own, "PYTHONPATH": path},
        )  # fmt: skip
        url = f"http://127.0.0.1:{port}/"
        for _ in range(240):
            try:
                urllib.request.urlopen(url + "voila/none", timeout=1)
            except urllib.error.HTTPError:  # it answers
                break
            except OSError:
                assert process.poll() is None, (folder / "voila.log").read_text()
                time.sleep(0.25)
        yield url
        process.terminate()
        process.wait(30)


def test_the_dashboard_shows_drags_zooms_and_turns_its_tabs(page, served):
    errors, foreign = [], []
    page.on("console", lambda m: errors.append((m.text, m.location.get("url", ""))) if m.type == "error" else None)
    page.on("pageerror", lambda e: errors.append((str(e), "")))
    page.on("request", lambda r: foreign.append(r.url) if urlsplit(r.url).hostname not in (None, "127.0.0.1") else None)
    page.goto(served, timeout=LONG)
    expect(page.get_by_role("heading", name="ClearView")).to_be_visible(timeout=LONG)
    plot = page.locator("canvas.cv-plot:visible").first
    expect(plot).to_have_attribute("data-tag", "x y 0", timeout=LONG)

    page.get_by_role("button", name="Acceleration").click()
    expect(plot).to_have_attribute("data-tag", re.compile("^map a x-y 0 0 0"), timeout=LONG)
    expect(plot).to_have_attribute("data-detail", "1", timeout=LONG)
    before = plot.evaluate(PIXELS)
    page.locator(".noUi-handle:visible").first.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    expect(plot).to_have_attribute("data-tag", re.compile("^map a x-y 0.5 0 0"), timeout=LONG)
    expect(plot).to_have_attribute("data-detail", "1", timeout=LONG)
    assert plot.evaluate(PIXELS) != before

    seq = int(plot.get_attribute("data-seq"))
    for at in (60, 65):  # a page scrolled under a mouse at rest is not zoomed
        plot.hover(position={"x": at, "y": at})
    for _ in range(5):
        page.mouse.wheel(0, -120)
    newer = "([c, s]) => +c.dataset.seq > s && c.dataset.detail === '1'"
    page.wait_for_function(newer, arg=[plot.element_handle(), seq], timeout=LONG)
    if folder := os.environ.get("CLEARVIEW_SHOTS"):
        page.screenshot(path=f"{folder}/voila.png")
    assert [url for url in foreign if not url.startswith(ICONS)] == []
    # an extension that came with HoloViews and that Voila cannot load
    theirs = (ICONS, "jupyterlab_pyviz")
    assert [error for error in errors if not any(known in " ".join(error) for known in theirs)] == []
