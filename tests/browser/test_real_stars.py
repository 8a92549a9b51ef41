"""Notebook 02 as a person runs it: the window that finds the stream, and the flow of its proper motions."""

import os
import re
from pathlib import Path

import nbformat
import pytest
from driver import ROOT
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
LONG = 180_000
PIXELS = """c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
  return new Uint32Array(d.buffer).reduce((a, v) => (a * 31 + v) % 1000003, 7) }"""
TINY = """
from clearview.flows import ColumnConfig, FitConfig, FlowConfig
motions.config = ColumnConfig(FlowConfig(2, 16, 2, "spline"), FitConfig(epochs=4, min_steps=0))
"""
SQUARE = "if motions.fit is not None: stream.view.range = [-50.0, -48.0, -1.0, 1.0]"
"""Does nothing while all cells run."""

SHOTS = os.environ.get("CLEARVIEW_SHOTS")
"""A folder for screenshots, for who wants to look."""


def real_stars_cells() -> list[str]:
    """The code of notebook 02."""
    notebook = nbformat.read(ROOT / "notebooks" / "02_real_stars.ipynb", 4)
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def shoot(nb, output, name: str) -> None:
    if not SHOTS:
        return
    for theme in ("Light", "Dark"):
        nb.theme(f"JupyterLab {theme}")
        output.scroll_into_view_if_needed()
        nb.page.wait_for_timeout(500)
        output.screenshot(path=Path(SHOTS) / f"{name}_{theme.lower()}.png")
    nb.theme("JupyterLab Light")


def at_rest(canvas) -> None:
    expect(canvas).to_have_attribute("data-detail", "1", timeout=LONG)


def test_the_stream_is_found_and_the_proper_motions_are_learnt(notebook):
    cells = real_stars_cells()
    where = {name: next(i for i, c in enumerate(cells) if c.startswith(f"{name} =")) for name in ("stream", "motions")}
    local = next(i for i, c in enumerate(cells) if "local =" in c)
    nb = notebook(*cells, TINY, SQUARE)
    nb.page.evaluate("async () => { await window.jupyterapp.commands.execute('notebook:run-all-cells') }")

    out = nb.output(where["stream"])
    canvas, title = out.locator("canvas.cv-plot"), out.locator("canvas.cv-plot + svg")
    at_rest(canvas)
    expect(title).to_contain_text("509 of 25,084 stars")
    expect(title).to_contain_text("φ2 [deg]")
    expect(nb.output(where["stream"] + 1)).to_contain_text("-8 ± 1 mas/yr: 357 stars, 277 with", timeout=LONG)
    last = nb.output(local).locator("canvas.cv-plot")
    at_rest(last)
    for words in ("9049 stars", "35, 23, 17 km/s, vertex deviation 11°", "vertex deviation 9°", "vertex deviation 8°"):
        expect(nb.output(local + 1)).to_contain_text(words, timeout=LONG)
    assert nb.page.locator(".jp-OutputArea-output[data-mime-type*=stderr]").count() == 0
    shoot(nb, out, "stream_away")

    before = canvas.evaluate(PIXELS)
    out.locator(".noUi-handle:visible").first.focus()
    for _ in range(50):
        nb.page.keyboard.press("ArrowLeft")
    expect(canvas).to_have_attribute("data-tag", "stars phi1 phi2 -8 1 -0.5 1.5", timeout=LONG)
    expect(title).to_contain_text("357 of 25,084 stars", timeout=LONG)
    at_rest(canvas)
    assert canvas.evaluate(PIXELS) != before
    shoot(nb, out, "stream_found")
    shoot(nb, nb.output(local), "local")

    out = nb.output(where["motions"])
    canvas, title = out.locator("canvas.cv-plot"), out.locator("canvas.cv-plot + svg")
    at_rest(canvas)
    stars = canvas.evaluate(PIXELS)
    expect(out.get_by_role("button", name="flow", exact=True)).to_be_disabled()
    nb.run(len(cells))
    out.get_by_text("counts along each axis").click()
    marginal = out.locator("canvas.cv-marginal")
    expect(marginal.first).to_be_visible(timeout=LONG)
    expect(out.locator("canvas.cv-marginal + svg").first).to_contain_text("stars", timeout=LONG)
    expect(out.locator("canvas.cv-marginal + svg").first).not_to_contain_text("flow")
    out.get_by_role("button", name="Train").click()
    expect(out).to_contain_text("Density of pmra, pmdec finished", timeout=LONG)
    expect(out.locator("canvas.cv-marginal + svg").first).to_contain_text("flow", timeout=LONG)
    out.get_by_role("button", name="flow", exact=True).click()
    expect(title).to_contain_text(re.compile(r"flow: 2(4,\d|5,0)\d\d of 25,084 stars expected"), timeout=LONG)
    at_rest(canvas)
    assert canvas.evaluate(PIXELS) != stars
    shoot(nb, out, "motions_flow")
    out.get_by_role("button", name="difference").click()
    expect(title).to_contain_text("(stars − flow) / σ", timeout=LONG)
    at_rest(canvas)
    shoot(nb, out, "motions_difference")
    out.get_by_role("button", name="stars", exact=True).click()
    expect(canvas).to_have_attribute("data-tag", re.compile("^stars pmra"), timeout=LONG)
    at_rest(canvas)
    shoot(nb, out, "motions_stars")

    plot = nb.output(where["stream"]).locator("canvas.cv-plot")
    shape = "c => Math.abs(c.clientWidth / c.clientHeight - {}) < 0.1"
    assert plot.evaluate(shape.format(4))  # ten degrees by two; no picture is flatter
    nb.run(len(cells) + 1)  # another shape than the whole: circles stay round, as in a saved picture
    nb.page.wait_for_function(f"c => ({shape.format(1)})(c)", arg=plot.element_handle(), timeout=LONG)
