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
    return f"map a x-y {z:g} 0 0 1"


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


def test_training_is_live_can_be_paused_and_resumed(live):
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
    out.get_by_role("button", name="Pause").click()
    expect(out.get_by_role("button", name="Resume")).to_be_enabled(timeout=LONG)
    expect(out.get_by_text("Paused at")).to_be_visible()
    assert "False" in live.run(2).inner_text()
    out.get_by_role("button", name="Resume").click()
    expect(out.get_by_text("Map finished.")).to_be_visible(timeout=LONG)
    expect(out.get_by_role("button", name="Train")).to_be_enabled()
    assert int(loss.get_attribute("data-n")) == 150


def press(nb, key: str = "ArrowRight", n: int = 1) -> None:
    grab_slider(nb)
    for _ in range(n):
        nb.page.keyboard.press(key)


def follow(canvases, z: float) -> None:
    """Each canvas shows this height, in full."""
    for canvas in canvases:
        expect(canvas).to_have_attribute("data-tag", tag(z), timeout=LONG)
        expect(canvas).to_have_attribute("data-detail", "1", timeout=LONG)


def test_views_come_hide_and_go_and_all_follow_the_slider(live):
    answered = "print(panel.view._answers, panel.view._drawn.wait(5))"
    live.page.evaluate(
        """async cell => { const n = window.jupyterapp.shell.currentWidget.content; n.activeCellIndex = 1;
        await window.jupyterapp.commands.execute('notebook:create-output-view'); n.activeCellIndex = 0;
        n.widgets[2].model.sharedModel.setSource(cell) }""",
        answered,
    )
    second = live.page.locator(".jp-LinkedOutputView canvas.cv-plot")
    follow([live.canvas, second], 0)
    assert second.evaluate(COLOURS) > 50
    press(live)
    follow([live.canvas, second], 0.05)
    assert live.canvas.evaluate(SUM) == second.evaluate(SUM)
    hidden = live.page.locator(".jp-LinkedOutputView")
    hidden.evaluate("e => { e.style.display = 'none' }")
    press(live, n=5)
    follow([live.canvas, second], 0.3)
    assert "True True" in live.run(2).inner_text()
    hidden.evaluate("e => { e.style.display = '' }")
    assert live.canvas.evaluate(SUM) == second.evaluate(SUM)
    live.page.locator(".lm-TabBar-tab", has_text="Output View").locator(".lm-TabBar-tabCloseIcon").click()
    expect(second).to_have_count(0)
    press(live, n=5)
    follow([live.canvas], 0.55)
    assert "True True" in live.run(2).inner_text()


def test_the_same_panel_twice_and_a_page_loaded_again_in_the_middle_of_a_drag(notebook):
    nb = notebook(SETUP, "panel", "panel")
    nb.run(0)
    views = [nb.run(i).locator("canvas.cv-plot") for i in (1, 2)]
    follow(views, 0)
    nb.out = nb.output(2)
    press(nb)
    follow(views, 0.05)
    nb.save()
    press(nb, n=10)
    nb.open(query="")  # at once: the last pictures are never answered
    views = [nb.output(i).locator("canvas.cv-plot") for i in (1, 2)]
    for canvas in views:
        expect(canvas).to_have_attribute("data-detail", "1", timeout=LONG)
    nb.page.wait_for_timeout(1500)
    tags = {canvas.get_attribute("data-tag") for canvas in views}
    assert len(tags) == 1
    assert views[0].evaluate(COLOURS) > 30
    at = float(tags.pop().split()[3])
    assert 0.05 <= at <= 0.55
    nb.out = nb.output(2)
    press(nb, n=3)
    follow(views, at + 0.15)


def settled(live) -> int:
    """The sum of the picture once two seconds have not changed it: a new layout draws it coarse, and then in full."""
    sums = []
    for _ in range(150):
        sums.append(live.canvas.evaluate(SUM))
        if len(sums) > 10 and len(set(sums[-11:])) == 1:
            break
        live.page.wait_for_timeout(200)
    return sums[-1]


def test_another_theme_redraws_the_axes_and_keeps_the_picture(live):
    text = live.view.locator("svg text").first
    before, picture = text.evaluate("t => getComputedStyle(t).fill"), settled(live)
    live.theme("JupyterLab Dark")
    try:
        expect(text).not_to_have_css("fill", before)
        light = text.evaluate("t => getComputedStyle(t).fill.match(/\\d+/g).slice(0, 3).map(Number)")
        assert min(light) > 200
        assert settled(live) == picture
    finally:
        live.theme("JupyterLab Light")
    expect(text).to_have_css("fill", before)


def test_a_stars_panel_and_an_empty_one(notebook):
    nb = notebook(SETUP, "PhaseSpacePanel(catalog, size=300)", "AccelerationPanel()")
    nb.run(0)
    out = nb.run(1)
    canvas = out.locator("canvas.cv-plot")
    expect(canvas).to_have_attribute("data-detail", "1", timeout=LONG)
    expect(out.locator("canvas.cv-plot + svg")).to_contain_text("stars per cell")
    assert canvas.evaluate(COLOURS) > 3
    expect(nb.run(2)).to_contain_text("No map yet: load a saved fit.", timeout=LONG)
