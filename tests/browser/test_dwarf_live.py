"""The panel of a dwarf galaxy in a real JupyterLab: a slider, a training that is cancelled, and one that ends."""

import math
import re

import pytest
from driver import at_rest
from playwright.sync_api import expect
from test_panels_live import PIXELS

pytestmark = pytest.mark.browser
LONG = 240_000
SETUP = """
import clearview
import clearview.dwarfs
stars = clearview.mock_dwarf(200, seed=1)
quick = clearview.DwarfConfig(tracer_slope=0.0, chains=4, warmup=50, draws=50)
slow = clearview.DwarfConfig(tracer_slope=0.0, chains=4, warmup=100_000, draws=50)
others = clearview.dwarfs.published_of("Draco")
"""
RGB = """c => {
  const p = c.getContext('2d').getImageData(0, 0, c.width, c.height).data, found = {red: 0, blue: 0};
  for (let i = 0; i < p.length; i += 4) {
    if (p[i + 3] > 200 && p[i] > p[i + 2] + 80) found.red++;
    if (p[i + 3] > 200 && p[i + 2] > p[i] + 80) found.blue++;
  }
  return found;
}"""


@pytest.fixture(scope="module")
def board(opened):
    return opened(
        "dwarf", SETUP, "panel = clearview.DwarfPanel(stars, slow, published=others)\npanel", "panel.config = quick"
    )


def test_stars_are_coloured_and_profiles_have_their_axes(board):
    _, out = board
    views = out.locator("canvas.cv-plot")
    expect(views).to_have_count(6, timeout=LONG)
    for view in views.all()[:2]:
        found = view.evaluate(RGB)
        assert min(found.values()) > 50
    words = (
        ("x [kpc]", "velocity − mean [km/s]"), ("line-of-sight velocity [km/s]",), ("stars per area [kpc⁻²]",),
        ("velocity dispersion [km/s]",), ("density ρ [M⊙ kpc⁻³]", "Hayashi et al. 2020"),
        ("mass within r [M⊙]", "Wolf et al. 2010"),
    )  # fmt: skip
    plots = out.locator("canvas.cv-plot + svg")
    for i, told in enumerate(words):
        for word in told:
            expect(plots.nth(i)).to_contain_text(word)
    # Equal steps along a logarithmic axis are equal factors.
    ticks = plots.nth(4).locator("text[text-anchor=middle]:not(.cv-label)").all()
    at = sorted((float(tick.text_content() or "nan"), float(tick.get_attribute("x") or "nan")) for tick in ticks)
    assert len(at) > 1
    per_decade = {round((x - at[0][1]) / math.log10(value / at[0][0])) for value, x in at[1:]}
    assert max(per_decade) - min(per_decade) <= 4
    assert min(per_decade) > 50


def test_published_slopes_and_the_bandwidth_of_the_other_route(board):
    _, out = board
    expect(out).to_contain_text("Published slopes near the centre: Yang et al. 2025 (DESI) −0.71", timeout=LONG)
    method = out.get_by_label("Method")
    expect(out.get_by_text("bandwidth", exact=True)).to_be_hidden()
    method.select_option("JFlow (minutes)")
    expect(out.get_by_text("bandwidth", exact=True)).to_be_visible(timeout=LONG)
    expect(out.get_by_label("Anisotropy")).to_be_hidden()
    method.select_option("Jeans (fast)")
    expect(out.get_by_text("bandwidth", exact=True)).to_be_hidden(timeout=LONG)


def test_a_slider_moves_the_pictures_and_a_training_is_cancelled(board):
    nb, out = board
    views = out.locator("canvas.cv-plot")
    out.get_by_role("button", name="Train", exact=True).click()
    expect(out).to_contain_text(re.compile(r"[Ll]ooking for the best halo|[Dd]rawing halos"), timeout=LONG)
    before = [views.nth(i).evaluate(PIXELS) for i in range(4)]
    tag = views.first.get_attribute("data-tag")
    out.locator(".noUi-handle:visible").first.focus()
    for _ in range(5):
        nb.page.keyboard.press("ArrowLeft")
    expect(views.first).not_to_have_attribute("data-tag", tag, timeout=LONG)
    expect(out.locator("canvas.cv-plot + svg").first).to_contain_text("190 stars", timeout=LONG)
    at_rest(views.nth(3))
    assert all(views.nth(i).evaluate(PIXELS) != old for i, old in enumerate(before))
    out.get_by_role("button", name="Cancel", exact=True).click()
    expect(out).to_contain_text("Cancelled: nothing of this training is kept.", timeout=LONG)


def test_train_draws_bands_and_says_core_or_cusp(board):
    nb, out = board
    nb.run(2)
    go = out.get_by_role("button", name="Train", exact=True)
    expect(go).to_be_enabled(timeout=LONG)
    go.click()
    for i in (2, 3, 4, 5):
        expect(out.locator("canvas.cv-plot + svg").nth(i)).to_contain_text("fit", timeout=LONG)
    expect(out).to_contain_text(re.compile(r"The slope of the density at 0\.15 kpc is .*probability"), timeout=LONG)
    expect(out).to_contain_text(re.compile(r"R-hat"), timeout=LONG)
    out.get_by_label("Anisotropy").select_option("free")
    expect(out.locator(".cv-stale")).to_have_text("stale", timeout=LONG)
