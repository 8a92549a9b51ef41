"""The search for streams in a real JupyterLab: sliders, training, scan, and a candidate that is chosen."""

import re

import pytest
from driver import at_rest
from playwright.sync_api import expect
from test_panels_live import COLOURS, PIXELS

pytestmark = pytest.mark.browser
LONG = 120_000
SETUP = """
import clearview
from clearview import mocks
from clearview.flows import FitConfig
from clearview.streams import Cwola, Patch, ScanConfig
patch = mocks.inject(mocks.mock_patch(12_000, 1, cluster=None, dwarf=None), mocks.Stream(members=300))
stars = Patch(148.6, 24.2).of(patch)
quick = ScanConfig(method=Cwola(training=FitConfig(epochs=2, min_steps=0)), step=6.0, most=5)
slow = ScanConfig(method=Cwola(training=FitConfig(epochs=10_000, min_steps=0)), step=6.0, most=5)
"""


@pytest.fixture(scope="module")
def board(opened):
    return opened("stream", SETUP, "panel = clearview.StreamPanel(stars, quick)\npanel", "panel.config = slow")


def test_a_slider_moves_all_pictures(board):
    nb, out = board
    views = out.locator("canvas.cv-plot")
    expect(views).to_have_count(4, timeout=LONG)
    assert all(view.evaluate(COLOURS) > 3 for view in views.all())
    before = [view.evaluate(PIXELS) for view in views.all()]
    tag = views.first.get_attribute("data-tag")
    out.locator(".noUi-handle:visible").first.focus()
    for _ in range(4):
        nb.page.keyboard.press("ArrowLeft")
    for view in views.all():
        expect(view).not_to_have_attribute("data-tag", tag, timeout=LONG)
        at_rest(view, "pm_lon -5 6 ")
    assert all(view.evaluate(PIXELS) != old for view, old in zip(views.all(), before, strict=True))


def test_train_scores_the_window(board):
    _, out = board
    tick = out.get_by_label("only stars of highest score")
    expect(tick).to_be_disabled()
    out.get_by_role("button", name="Train", exact=True).click()
    expect(out.locator("canvas.cv-loss:visible").first).to_have_attribute("data-n", re.compile(r"\d"), timeout=LONG)
    expect(out).to_contain_text("mas/yr scored", timeout=LONG)
    expect(tick).to_be_enabled(timeout=LONG)
    tick.check()
    expect(out.locator("canvas.cv-plot + svg").first).to_contain_text("stars of highest score", timeout=LONG)
    tick.uncheck()


def test_scan_lists_candidates_and_one_that_is_chosen_moves_the_sliders(board):
    _, out = board
    out.get_by_role("button", name="Scan", exact=True).click()
    lines = out.locator(".cv-candidates option")
    expect(lines.nth(1)).to_contain_text("−5.0", timeout=LONG)
    sky, motions = (out.locator("canvas.cv-plot + svg").nth(i) for i in (0, 2))
    expect(sky).to_contain_text("strongest line")
    out.locator(".cv-candidates select").select_option(index=1)
    at_rest(out.locator("canvas.cv-plot").first, "pm_lon -5 2 -3 2 fiducial 100 0")
    for words in ("track", "members"):
        expect(sky).to_contain_text(words, timeout=LONG)
    for words in ("signal region", "window", "members"):
        expect(motions).to_contain_text(words)
    readouts = out.locator(".widget-readout:visible")
    assert [float(readouts.nth(i).inner_text().replace("−", "-")) for i in range(4)] == [-5, 2, -3, 2]


def test_training_and_scan_are_cancelled(board):
    nb, out = board
    nb.run(2)
    for name, noun in (("Train", "training"), ("Scan", "scan")):
        go = out.get_by_role("button", name=name, exact=True)
        expect(go).to_be_enabled(timeout=LONG)
        go.click()
        stop = out.get_by_role("button", name="Cancel", exact=True).and_(out.locator(":enabled"))
        expect(out).to_contain_text(re.compile(r"[Cc]lassifiers.*: \d+ %"), timeout=LONG)
        stop.first.click()
        expect(out).to_contain_text(f"Cancelled: nothing of this {noun} is kept.", timeout=LONG)
