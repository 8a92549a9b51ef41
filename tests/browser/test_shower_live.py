"""The panel of showers in a real JupyterLab: pictures of layers with their units, a slider, a training, a student."""

import re

import pytest
from driver import at_rest
from playwright.sync_api import expect
from test_panels_live import COLOURS, PIXELS

pytestmark = pytest.mark.browser
LONG = 60_000
SETUP = """
import clearview
import fakes
from clearview import generation
generation.fit_showers = fakes.fake_shower_fit  # what learns has tests of its own
showers = clearview.mock_showers(1500, "electron", seed=1)
"""


@pytest.fixture(scope="module")
def board(opened):
    return opened("showers", SETUP, "clearview.ShowerPanel(showers)")


def test_layers_are_pictures_in_mm_and_the_truth_is_called_a_mock(board):
    _, out = board
    expect(out.locator("canvas.cv-plot")).to_have_count(6, timeout=LONG)
    expect(out).to_contain_text("mock: electron showers by formulas, not simulated", timeout=LONG)
    plots = out.locator("canvas.cv-plot + svg")
    for i in range(3):
        for word in ("x [mm]", "y [mm]", "energy in the voxel [MeV]", f"Layer {i}"):
            expect(plots.nth(i)).to_contain_text(word, timeout=LONG)
        assert out.locator("canvas.cv-plot").nth(i).evaluate(COLOURS) > 3
    for i, word in enumerate(("energy [MeV]", "width [mm]", "sparsity")):
        expect(plots.nth(3 + i)).to_contain_text(word)


def test_the_slider_and_the_student_change_the_pictures(board):
    nb, out = board
    first = out.locator("canvas.cv-plot").first
    before, tag = first.evaluate(PIXELS), first.get_attribute("data-tag")
    out.locator(".noUi-handle:visible").first.focus()
    for _ in range(10):
        nb.page.keyboard.press("ArrowLeft")
    expect(first).not_to_have_attribute("data-tag", tag, timeout=LONG)
    at_rest(first)
    truth = first.evaluate(PIXELS)
    assert truth != before
    out.get_by_role("button", name="Train", exact=True).click()
    student = out.get_by_role("button", name="student", exact=True)
    expect(student).to_be_enabled(timeout=LONG)
    student.click()
    expect(out.locator("canvas.cv-plot + svg").nth(3)).to_contain_text("student", timeout=LONG)
    expect(first).to_have_attribute("data-tag", re.compile("student"), timeout=LONG)
    at_rest(first)
    assert first.evaluate(PIXELS) != truth
