"""The panel of upsampling in a real JupyterLab: particles, flow and kernel in one projection, and a classifier."""

import pytest
from driver import at_rest
from playwright.sync_api import expect
from test_panels_live import COLOURS, PIXELS

pytestmark = pytest.mark.browser
LONG = 60_000
SETUP = """
import dataclasses
import numpy as np
import clearview
from clearview.flows import ContinuousConfig, FitConfig
from clearview.generation import default_config
particles = clearview.mock_galaxy(3000, seed=1)
config = dataclasses.replace(
    default_config(particles), flow=ContinuousConfig(16, 1, steps=2), training=FitConfig(epochs=1, min_steps=100)
)
"""


@pytest.fixture(scope="module")
def board(opened):
    return opened("upsample", SETUP, "clearview.UpsamplePanel(particles, config=config)")


def test_particles_and_kernel_side_by_side_with_units(board):
    _, out = board
    plots = out.locator("canvas.cv-plot + svg")
    expect(plots).to_have_count(6, timeout=LONG)
    expect(plots.nth(2)).to_contain_text("50,000 stars of a kernel", timeout=LONG)
    for i in range(3):
        for word in ("R [kpc]", "z [kpc]"):
            expect(plots.nth(i)).to_contain_text(word)
    for i, words in ((4, ("R [kpc]", "share of stars per kpc")), (5, ("z [kpc]", "kernel", "particles"))):
        for word in words:
            expect(plots.nth(i)).to_contain_text(word)
    for i in (0, 2):
        assert out.locator("canvas.cv-plot").nth(i).evaluate(COLOURS) > 3


def test_trained_drawn_again_and_told_apart(board):
    nb, out = board
    canvas, plots = out.locator("canvas.cv-plot").nth(1), out.locator("canvas.cv-plot + svg")
    out.get_by_role("button", name="Train", exact=True).click()
    expect(plots.nth(1)).to_contain_text("50,000 stars of a flow", timeout=LONG)
    at_rest(canvas)
    before = canvas.evaluate(PIXELS)
    out.locator(".noUi-handle:visible").first.focus()
    for _ in range(5):
        nb.page.keyboard.press("ArrowLeft")
    expect(plots.nth(1)).to_contain_text("16,000 stars of a flow", timeout=LONG)
    at_rest(canvas)
    assert canvas.evaluate(PIXELS) != before
    out.get_by_role("button", name="flow", exact=True).click()
    out.get_by_role("button", name="Tell apart", exact=True).click()
    expect(plots.nth(3)).to_contain_text("particles or flow? AUC", timeout=LONG)
    expect(out).to_contain_text("Flow against particles:")


def test_two_stand_beside_each_other_on_a_laptop(board):
    _, out = board
    left, right = (out.locator("canvas.cv-plot").nth(i).bounding_box() for i in (0, 1))
    assert abs(left["y"] - right["y"]) < 0.2 * left["height"]
    assert left["x"] + left["width"] < right["x"]
