"""Linked views and the explorer in a real JupyterLab. Nothing here asserts a time; waits are generous."""

import os
import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
LONG = 60_000
SETUP = """
import threading
from pathlib import Path
import clearview, numpy as np
from clearview.panels.selection import inside
catalog = clearview.load_sample("gd1_strip").to_stream()
before = set(threading.enumerate())
explorer = clearview.explore(catalog)
"""
TOLD = """
steps = explorer.selection.steps
right = inside(*(np.float32(catalog[k]) for k in steps[0]["columns"]), steps[0]["xy"])
print("chosen", len(explorer.selected), right.sum(), np.array_equal(explorer.selection.mask, right), steps[0]["kind"])
"""
CLOSE = """explorer.close()
print("left", [t.name for t in set(threading.enumerate()) - before if t.name.startswith("clearview")])"""
COLOURED = """c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0;
  for (let i = 0; i < d.length; i += 4) {
    const rgb = [d[i], d[i + 1], d[i + 2]];
    n += d[i + 3] > 0 && Math.max(...rgb) - Math.min(...rgb) > 24;
  }
  return n / (d.length / 4) }"""
"""The share of a canvas that has a colour and is not grey."""


@pytest.fixture
def tabs(notebook):
    nb = notebook(SETUP, "explorer", TOLD, CLOSE)
    nb.run(0)
    nb.out = nb.run(1)
    nb.sky, nb.pm = (nb.out.locator("canvas.cv-plot").nth(i) for i in (0, 1))
    expect(nb.pm).to_have_attribute("data-tag", "pm_phi1 pm_phi2 0", timeout=LONG)
    return nb


def shoot(nb, name: str) -> None:
    """Pictures for the eye, where a folder for them is named."""
    if folder := os.environ.get("CLEARVIEW_SHOTS"):
        for theme in ("Dark", "Light"):
            nb.theme(f"JupyterLab {theme}")
            nb.page.screenshot(path=f"{folder}/{name}_{theme.lower()}.png")


def lasso(nb, canvas, corners) -> None:
    """Draw around shares of a canvas."""
    view = nb.out.locator(".cv-view", has=nb.page.locator("canvas.cv-plot")).nth(1)
    view.get_by_role("button", name="Select with a lasso").click()
    box = canvas.bounding_box()
    points = [(box["x"] + u * box["width"], box["y"] + v * box["height"]) for u, v in corners]
    nb.page.mouse.move(*points[0])
    nb.page.mouse.down()
    for point in points[1:]:
        nb.page.mouse.move(*point, steps=5)
    nb.page.mouse.up()


def told(nb):
    """What the kernel says of the selection: two numbers, and words."""
    out = nb.run(2)
    expect(out).to_contain_text("chosen", timeout=LONG)
    return re.search(r"chosen (\d+) (\d+) (\w+) (\w+)", out.inner_text()).groups()


def test_a_lasso_lights_up_all_views_with_the_right_stars(tabs):
    shoot(tabs, "stars")
    all_lit = tabs.sky.evaluate(COLOURED)
    assert all_lit > 0.3
    lasso(tabs, tabs.pm, [(0.3, 0.3), (0.55, 0.3), (0.6, 0.6), (0.3, 0.6)])
    number = tabs.out.locator(".cv-selected")
    expect(number).to_contain_text("of 25,084 stars selected", timeout=LONG)
    n = number.inner_text().split()[0].replace(",", "")
    assert 100 < int(n) < 20_000
    expect(tabs.sky).to_have_attribute("data-tag", f"phi1 phi2 {n}", timeout=LONG)
    shoot(tabs, "lasso")
    assert told(tabs) == (n, n, "True", "lasso")
    assert tabs.sky.evaluate(COLOURED) < 0.5 * all_lit
    tabs.out.get_by_role("button", name="Invert").click()
    left = 25_084 - int(n)
    expect(tabs.sky).to_have_attribute("data-tag", f"phi1 phi2 {left}", timeout=LONG)
    tabs.out.get_by_role("button", name="Keep only these").click()
    expect(number).to_contain_text(f"{left:,} kept stars (of 25,084)", timeout=LONG)
    shoot(tabs, "kept")
    tabs.out.get_by_role("button", name="All stars").click()
    expect(number).to_contain_text("25,084 stars; draw", timeout=LONG)


def test_keys_select_and_turn_the_tabs_and_closing_leaves_no_thread(tabs):
    tabs.sky.focus()
    tabs.page.keyboard.press("b")
    expect(tabs.out.locator(".cv-selected")).to_contain_text("of 25,084 stars selected", timeout=LONG)
    tabs.page.keyboard.press("Enter")
    n = tabs.out.locator(".cv-selected").inner_text().split()[0].replace(",", "")
    expect(tabs.pm).to_have_attribute("data-tag", f"pm_phi1 pm_phi2 {n}", timeout=LONG)
    assert told(tabs) == (n, n, "True", "box")
    tabs.out.get_by_role("button", name="Phase space").focus()
    tabs.page.keyboard.press("Enter")
    plot = tabs.out.locator("canvas.cv-plot:visible")
    expect(plot).to_have_count(1, timeout=LONG)
    expect(plot).to_have_attribute("data-tag", re.compile("^stars phi1 phi2"), timeout=LONG)
    expect(tabs.out.locator(".cv-selected:visible")).to_contain_text(f"{int(n):,} of 25,084 stars selected")
    shoot(tabs, "phase_space")
    plot.focus()
    tabs.page.keyboard.press("Escape")  # its view shows no outline of its own, so that nothing is cleared
    tabs.out.get_by_role("button", name="Clear", exact=True).locator("visible=true").click()
    tabs.out.get_by_role("button", name="Stars", exact=True).click()
    expect(tabs.sky).to_have_attribute("data-tag", "phi1 phi2 0", timeout=LONG)
    expect(tabs.run(3)).to_contain_text("left []", timeout=LONG)
