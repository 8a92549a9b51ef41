"""The panels in a real JupyterLab. Nothing here asserts a time; waits are generous."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
LONG = 60_000
SETUP = """
from fakes import FakeFit, fake_dynamics, stars
from clearview.panels import AccelerationPanel, PhaseSpacePanel, base
fake = fake_dynamics(steps=150, pause=0.03)
base.dynamics = lambda: fake
catalog = stars()
panel = AccelerationPanel(catalog, FakeFit(catalog.digest()), size=300)
"""
COLOURS = """c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
  return new Set(new Uint32Array(d.buffer)).size }"""
SUM = """c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
  return new Uint32Array(d.buffer).reduce((a, v) => (a * 31 + v) % 1000003, 7) }"""


def tag(z: float) -> str:
    return f"map a x-y {z:g} 0 0"


@pytest.fixture
def live(notebook):
    """A notebook with a panel on its screen, and a cell that prints what the kernel has."""
    nb = notebook(SETUP, "panel", "print(panel.view.frame['range'], panel.training.running)")
    nb.run(0)
    nb.out = nb.run(1)
    nb.canvas = nb.out.locator("canvas.cv-plot")
    nb.view = nb.out.locator(".cv-view", has=nb.page.locator("canvas.cv-plot"))
    expect(nb.canvas).to_have_attribute("data-tag", tag(0), timeout=LONG)
    expect(nb.canvas).to_have_attribute("data-detail", "1", timeout=LONG)
    return nb


def grab_slider(nb) -> None:
    nb.out.locator(".noUi-handle:visible").first.focus()


def test_shows_a_picture_with_axes_and_units(live):
    assert live.canvas.evaluate(COLOURS) > 50
    svg = live.view.locator("svg")
    for words in ("x [kpc]", "y [kpc]", "|a| [(km/s)²/kpc]", "Map, z = 0.00 kpc"):
        expect(svg).to_contain_text(words)
    assert "Arrow keys pan" in live.canvas.get_attribute("aria-label")


def test_slider_changes_pixels_and_the_last_value_wins(live):
    before = live.canvas.evaluate(SUM)
    grab_slider(live)
    for _ in range(40):
        live.page.keyboard.press("ArrowRight")
    expect(live.canvas).to_have_attribute("data-tag", tag(2), timeout=LONG)
    expect(live.canvas).to_have_attribute("data-detail", "1", timeout=LONG)
    assert live.canvas.evaluate(SUM) != before


def ranges(nb) -> list[float]:
    return [float(v) for v in re.findall(r"-?\d+\.\d+|-?\d+", nb.run(2).inner_text())[:4]]


def point_at_middle(nb) -> tuple[float, float]:
    """Move the mouse to the middle of the picture; running a cell may have scrolled the page."""
    nb.canvas.scroll_into_view_if_needed()
    box = nb.canvas.bounding_box()
    x, y = box["x"] + 150, box["y"] + 150
    nb.page.mouse.move(x - 5, y)
    nb.page.mouse.move(x, y)
    return x, y


def wait_new(nb, seq: int) -> None:
    nb.page.wait_for_function(
        "([c, s]) => +c.dataset.seq > s && c.dataset.detail === '1'",
        arg=[nb.canvas.element_handle(), seq],
        timeout=LONG,
    )
    nb.page.wait_for_timeout(500)


def test_zoom_and_pan_draw_anew_and_double_click_goes_home(live):
    mouse = live.page.mouse
    home = ranges(live)
    x, y = point_at_middle(live)
    seq = int(live.canvas.get_attribute("data-seq"))
    for _ in range(5):
        mouse.wheel(0, -120)
    wait_new(live, seq)
    near = ranges(live)
    assert near[1] - near[0] < 0.5 * (home[1] - home[0])
    seq = int(live.canvas.get_attribute("data-seq"))
    x, y = point_at_middle(live)
    mouse.down()
    mouse.move(x + 60, y, steps=4)
    mouse.up()
    wait_new(live, seq)
    assert ranges(live)[0] < near[0]
    seq = int(live.canvas.get_attribute("data-seq"))
    mouse.dblclick(*point_at_middle(live))
    wait_new(live, seq)
    assert ranges(live) == home


def test_keys_pan_zoom_and_go_home_without_leaving_the_cell(live):
    home = ranges(live)
    for keys, check in (
        ("++", lambda r: r[1] - r[0] < home[1] - home[0]),
        (("ArrowUp",), lambda r: r[3] + r[2] > home[3] + home[2]),
        ("00", lambda r: r == home),  # in command mode this would restart the kernel
    ):
        seq = int(live.canvas.get_attribute("data-seq"))
        live.canvas.focus()
        for key in keys:
            live.page.keyboard.press(key)
        wait_new(live, seq)
        assert check(ranges(live))
    assert live.page.locator(".jp-Dialog").count() == 0


def test_hover_reads_the_value(live):
    box = live.canvas.bounding_box()
    live.page.mouse.move(box["x"] + 140, box["y"] + 150)
    live.page.mouse.move(box["x"] + 150, box["y"] + 150)
    hover = live.view.locator(".cv-hover")
    expect(hover).to_contain_text(re.compile(r"x = 8\.\d+ kpc,\s+y = .* kpc,\s+\|a\| = \d+ \(km/s\)²/kpc"))
    live.page.mouse.move(box["x"] + 2, box["y"] + 2)
    expect(hover).to_contain_text("no value")


def test_training_is_live_can_be_cancelled_and_resumed(live):
    out = live.out
    out.get_by_role("button", name="Train").click()
    loss = out.locator("canvas.cv-loss")
    expect(loss).to_have_attribute("data-n", re.compile(r"\d+"), timeout=LONG)
    n = int(loss.get_attribute("data-n"))
    grab_slider(live)
    live.page.keyboard.press("ArrowRight")
    expect(live.canvas).to_have_attribute("data-tag", tag(0.05), timeout=LONG)
    live.page.wait_for_function("([c, n]) => +c.dataset.n > n", arg=[loss.element_handle(), n], timeout=LONG)
    width = out.locator(".progress-bar").first.evaluate("e => parseFloat(e.style.width)")
    assert 0 < width < 100
    assert loss.evaluate(COLOURS) > 3
    out.get_by_role("button", name="Cancel").click()
    expect(out.get_by_role("button", name="Resume")).to_be_enabled(timeout=LONG)
    expect(out.get_by_text("Cancelled at step")).to_be_visible()
    assert "False" in live.run(2).inner_text()
    out.get_by_role("button", name="Resume").click()
    expect(out.get_by_text("Map finished.")).to_be_visible(timeout=LONG)
    expect(out.get_by_role("button", name="Train")).to_be_enabled()
    assert int(loss.get_attribute("data-n")) == 150


def test_a_second_view_and_a_reload_show_the_newest_picture(notebook):
    nb = notebook(SETUP, "panel", "panel")
    nb.run(0)
    views = []
    for i in (1, 2):
        views.append(nb.run(i))
        expect(views[-1].locator("canvas.cv-plot")).to_have_attribute("data-detail", "1", timeout=LONG)
    views[1].locator(".noUi-handle:visible").first.focus()
    nb.page.keyboard.press("ArrowRight")
    for view in views:
        expect(view.locator("canvas.cv-plot")).to_have_attribute("data-tag", tag(0.05), timeout=LONG)
    nb.save()
    nb.open(query="")
    canvas = nb.output(1).locator("canvas.cv-plot")
    expect(canvas).to_have_attribute("data-tag", tag(0.05), timeout=LONG)
    assert canvas.evaluate(COLOURS) > 30


def test_a_stars_panel_and_an_empty_one(notebook):
    nb = notebook(SETUP, "PhaseSpacePanel(catalog, size=300)", "AccelerationPanel()")
    nb.run(0)
    out = nb.run(1)
    canvas = out.locator("canvas.cv-plot")
    expect(canvas).to_have_attribute("data-detail", "1", timeout=LONG)
    expect(out.locator("canvas.cv-plot + svg")).to_contain_text("stars per cell")
    assert canvas.evaluate(COLOURS) > 3
    expect(nb.run(2)).to_contain_text("No map yet: load a saved fit.", timeout=LONG)
