"""Notebook 01 as a person runs it, and the panel with the real fit: train, pause, resume, save, load."""

import re

import nbformat
import pytest
from driver import ROOT
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
LONG = 180_000
COLOURS = """c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
  return new Set(new Uint32Array(d.buffer)).size }"""
PIXELS = """c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
  return new Uint32Array(d.buffer).reduce((a, v) => (a * 31 + v) % 1000003, 7) }"""
TINY = """
import clearview
from clearview.dynamics import MapConfig, PotentialConfig
from clearview.flows import FitConfig, FlowConfig
stars, fit = clearview.load_first_map()
config = MapConfig(radius=4.0, positions=FlowConfig(2, 24), velocities=FlowConfig(2, 24),
                   training=FitConfig(epochs=30), potential=PotentialConfig(stars=4000, degree=6))
panel = clearview.AccelerationPanel(stars, config=config, size=300)
panel.set(arrows=False)
"""


def first_map_cells() -> list[str]:
    """The code of notebook 01."""
    notebook = nbformat.read(ROOT / "notebooks" / "01_first_map.ipynb", 4)
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def settled(nb, canvas, wanted, patience: int = 600) -> int:
    """The hash of the full picture once it is as wanted and stays so."""
    last = None
    for _ in range(patience):
        expect(canvas).to_have_attribute("data-detail", "1", timeout=LONG)
        pixels = canvas.evaluate(PIXELS)
        if pixels == last and wanted(pixels):
            return pixels
        last = pixels
        nb.page.wait_for_timeout(300)
    raise AssertionError("The picture did not become what it should be.")


def test_run_all_shows_maps_without_training(notebook):
    cells = first_map_cells()
    nb = notebook(*cells)
    nb.page.evaluate("async () => { await window.jupyterapp.commands.execute('notebook:run-all-cells') }")
    canvas = nb.output(0).locator("canvas.cv-plot")
    expect(canvas).to_have_attribute("data-detail", "1", timeout=LONG)
    assert canvas.evaluate(COLOURS) > 50
    expect(nb.output(0)).to_contain_text("(km/s)²/kpc")
    last = nb.output(len(cells) - 1).locator("canvas.cv-plot")
    expect(last).to_have_attribute("data-detail", "1", timeout=LONG)
    expect(nb.output(3)).to_contain_text(re.compile(r"median error of this slice: \d\.\d %"), timeout=LONG)
    expect(nb.output(4)).to_contain_text("19,")  # the real stars that are left
    assert nb.page.locator(".jp-OutputArea-output[data-mime-type*=stderr]").count() == 0
    before = canvas.evaluate(PIXELS)
    nb.output(0).locator(".noUi-handle:visible").first.focus()
    for _ in range(10):
        nb.page.keyboard.press("ArrowRight")
    expect(canvas).to_have_attribute("data-tag", "map a x-y 0.5 0 0 1", timeout=LONG)
    expect(canvas).to_have_attribute("data-detail", "1", timeout=LONG)
    assert canvas.evaluate(PIXELS) != before


def test_a_real_training_is_paused_resumed_saved_and_loaded(notebook):
    nb = notebook(TINY, "panel", "panel.fit = fit", "print(panel.fit.message, panel.fit.complete)")
    nb.run(0)
    out = nb.run(1)
    canvas, loss = out.locator("canvas.cv-plot"), out.locator("canvas.cv-loss")
    truth = settled(nb, canvas, lambda pixels: True)  # without a fit the truth of the mock is shown
    out.get_by_role("button", name="Train").click()
    expect(loss).to_have_attribute("data-n", re.compile(r"\d+"), timeout=LONG)
    n = int(loss.get_attribute("data-n"))
    nb.page.wait_for_function("([c, n]) => +c.dataset.n > n", arg=[loss.element_handle(), n], timeout=LONG)
    assert 0 < out.locator(".progress-bar").first.evaluate("e => parseFloat(e.style.width)") < 100
    out.get_by_role("button", name="Pause").click()
    expect(out.get_by_role("button", name="Resume")).to_be_enabled(timeout=LONG)
    expect(out).to_contain_text(re.compile(r"Paused at \d+ %"))
    out.get_by_role("button", name="Resume").click()
    expect(out).to_contain_text("Map finished", timeout=LONG)
    learnt = settled(nb, canvas, lambda pixels: pixels != truth)
    out.get_by_role("button", name="Save").click()
    expect(out).to_contain_text("Saved to fit.clearview")
    out.get_by_role("button", name="Save").click()
    expect(out).to_contain_text("already there")
    nb.run(2)
    settled(nb, canvas, lambda pixels: pixels not in (learnt, truth))  # another map
    out.get_by_role("button", name="Load").click()
    expect(out).to_contain_text("Loaded fit.clearview", timeout=LONG)
    settled(nb, canvas, lambda pixels: pixels == learnt)  # the same map
    assert "True" in nb.run(3).inner_text()
