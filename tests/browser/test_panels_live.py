"""Every panel in a real JupyterLab, in one notebook with one kernel: shown, dragged, zoomed, saved, loaded again.

The tests share the notebook and run in order; each runs alone too.
"""

import re
from pathlib import Path

import pytest
from driver import Notebook, at_rest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
LONG = 60_000
SETUP = """
import clearview
from clearview.mocks.dust import dusty_galaxy
stars, fit = clearview.load_first_map()
stream = clearview.load_sample("gd1_strip").to_stream("GD-1", reflex_distance=8.0)
dusty = dusty_galaxy(20_000, mixing_time=100.0, sampling_time=100.0).observed
"""
PANELS = {  # what makes it, its tag at first and after five steps of its first slider, and the kind of its data
    "acceleration": ("AccelerationPanel(stars, fit)", "map a x-y 0 0 0 1", "map a x-y 0.25 0 0 1", ".nc"),
    "density": ("DensityPanel(stars, fit)", "map density x-y 0 0 0 1", "map density x-y 0.25 0 0 1", ".nc"),
    "profiles": ("ProfilePanel(stars, fit)", "circular velocity 8.1 0 0", "circular velocity 8.1 5 0", ".csv"),
    "dust": ("DustPanel(dusty)", "truth x-y 0 0 0 1", "truth x-y 0.25 0 0 1", ".nc"),
    "excess": ("ExcessPanel(stream)", "stars phi1 phi2", "stars phi1 phi2", ".nc"),
    "phase space": ("PhaseSpacePanel(stars, fit)", "stars x y", "stars x y", ".nc"),
    "stars": ("StarsPanel(stream)", "phi1 phi2 0", None, ".nc"),
}
CELL = {name: i + 1 for i, name in enumerate(PANELS)}
PIXELS = """c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
  return new Uint32Array(d.buffer).reduce((a, v) => (a * 31 + v) % 1000003, 7) }"""
COLOURS = """c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
  return new Set(new Uint32Array(d.buffer)).size }"""
NUMBERS = "c => [...c.nextElementSibling.querySelectorAll('text')].map(t => t.textContent).join(' ')"


@pytest.fixture(scope="module")
def board(browser, browser_context_args, lab):
    """A notebook whose cells make one panel each."""
    page = browser.new_context(**browser_context_args).new_page()
    nb = Notebook(page, lab, "board", SETUP, *(f"clearview.{made}" for made, *_ in PANELS.values()))
    nb.run(0)
    yield nb
    nb.shutdown()
    page.context.close()


@pytest.fixture
def panel(board):
    """``panel(name)`` shows a panel, its first canvas at rest; nothing may fail in the console or ask another host."""

    def shown(name: str):
        out = board.output(CELL[name])
        if not out.locator("canvas.cv-plot").count():
            out = board.run(CELL[name])
        canvas = out.locator("canvas.cv-plot").first
        at_rest(canvas)
        return out, canvas

    yield shown
    assert (board.errors, board.foreign) == ([], [])


@pytest.mark.parametrize("name", PANELS)
def test_shows_drags_zooms_and_saves(board, panel, name):
    _, first, dragged, ending = PANELS[name]
    out, canvas = panel(name)
    at_rest(canvas, first)
    assert canvas.evaluate(COLOURS) > 3

    if dragged:
        before = canvas.get_attribute("data-tag"), canvas.evaluate(PIXELS)
        out.locator(".noUi-handle:visible").first.focus()
        for _ in range(5):
            board.page.keyboard.press("ArrowRight")
        expect(canvas).not_to_have_attribute("data-tag", before[0], timeout=LONG)
        at_rest(canvas, dragged)
        assert canvas.evaluate(PIXELS) != before[1]

    seq, numbers = int(canvas.get_attribute("data-seq")), canvas.evaluate(NUMBERS)
    canvas.scroll_into_view_if_needed()
    for at in (60, 65):  # a page scrolled under a mouse at rest is not zoomed
        canvas.hover(position={"x": at, "y": at})
    for _ in range(5):
        board.page.mouse.wheel(0, -120)
    newer = "([c, s]) => +c.dataset.seq > s && +(c.dataset.detail ?? 1) === 1"
    board.page.wait_for_function(newer, arg=[canvas.element_handle(), seq], timeout=LONG)
    assert canvas.evaluate(NUMBERS) != numbers

    save(board.lab.notebooks, out, name, ending)


def save(folder: Path, out, name: str, ending: str) -> None:
    """The picture, its data and its code, by hand."""
    share = out.locator(".widget-accordion", has_text="Save picture, data, code")
    share.get_by_text("Save picture, data, code").click()
    line = share.get_by_label("File", exact=True)
    line.fill(f"{name}.png")
    line.press("Enter")
    out.get_by_role("button", name="Save picture").click()
    expect(out).to_contain_text(f"Saved the picture to {name}.png.", timeout=LONG)
    assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    out.get_by_role("button", name="Save data").click()
    expect(out).to_contain_text(f"Saved the data to {name}{ending}.", timeout=LONG)
    assert (folder / f"{name}{ending}").stat().st_size > 1000
    out.get_by_role("button", name="Save picture").click()
    expect(out).to_contain_text("already there", timeout=LONG)
    out.get_by_role("button", name="Copy code").click()
    code = out.locator("textarea:visible")
    expect(code).to_have_value(re.compile(r"panel = clearview\.\w+Panel\(.*\n(.*\n)*panel\.save_figure"), timeout=LONG)


def test_a_page_loaded_again_shows_the_same_pictures(board, panel):
    shown = {name: panel(name)[1] for name in PANELS}
    for name in PANELS:  # nothing computes any more: ipywidgets gives the kernel 4 s to hand its models to a new page
        expect(board.output(CELL[name])).to_contain_text(re.compile("on this machine|Nothing is learnt"), timeout=LONG)
    board.save()
    before = {name: (canvas.get_attribute("data-tag"), canvas.evaluate(PIXELS)) for name, canvas in shown.items()}
    board.open(query="")
    for name, (tag, pixels) in before.items():
        canvas = board.output(CELL[name]).locator("canvas.cv-plot").first
        canvas.scroll_into_view_if_needed()
        at_rest(canvas, tag)
        for _ in range(50):
            if canvas.evaluate(PIXELS) == pixels:
                break
            board.page.wait_for_timeout(200)
        assert canvas.evaluate(PIXELS) == pixels, name


def test_after_a_restart_of_the_kernel_dead_controls_are_marked_and_the_cells_run_again(board, panel):
    out, canvas = panel("acceleration")
    tag = canvas.get_attribute("data-tag")
    board.page.evaluate("async () => { await window.jupyterapp.shell.currentWidget.sessionContext.restartKernel() }")
    dead = out.locator(".widget-slider.jupyter-widgets-disconnected:visible").first  # a broken link stands beside it
    expect(dead).to_be_visible(timeout=LONG)
    assert dead.evaluate("e => getComputedStyle(e, '::before').content") != "none"
    dead.locator(".noUi-handle").focus()
    board.page.keyboard.press("ArrowRight")
    board.page.wait_for_timeout(1000)
    assert canvas.get_attribute("data-tag") == tag  # the last picture stays and is no other one
    board.run(0)
    out = board.run(CELL["acceleration"])
    canvas = out.locator("canvas.cv-plot").first
    expect(out.locator(".jupyter-widgets-disconnected")).to_have_count(0, timeout=LONG)
    at_rest(canvas, "map a x-y 0 0 0 1")
    out.locator(".noUi-handle:visible").first.focus()
    board.page.keyboard.press("ArrowRight")
    at_rest(canvas, "map a x-y 0.05 0 0 1")
