"""A training in JupyterLab as a person does it: settings, preview, pause, resume, cancel, two runs."""

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
LONG = 180_000
SETUP = """
import clearview
from clearview.panels import PhaseSpacePanel
stars = clearview.load_sample("gd1_strip")
panel = PhaseSpacePanel(stars, x="pmra", y="pmdec", learn=("pmra", "pmdec"), first="none", size=300)
"""
PIXELS = """c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
  return new Uint32Array(d.buffer).reduce((a, v) => (a * 31 + v) % 1000003, 7) }"""

SHOTS = os.environ.get("CLEARVIEW_SHOTS")
"""A folder for screenshots, for who wants to look."""


def shoot(nb, name: str) -> None:
    if SHOTS:
        for theme in ("Light", "Dark"):
            nb.theme(f"JupyterLab {theme}")
            nb.page.wait_for_timeout(300)
            nb.out.screenshot(path=Path(SHOTS) / f"{name}_{theme.lower()}.png")
        nb.theme("JupyterLab Light")


def write(out, label: str, value: str) -> None:
    line = out.get_by_label(label, exact=True)
    line.fill(value)
    line.press("Enter")


def press(out, name: str) -> None:
    out.get_by_role("button", name=name, exact=True).click()


def test_settings_preview_pause_resume_cancel_and_two_runs(notebook):
    nb = notebook(SETUP, "panel", "print(panel.config, list(panel.runs), panel.fit.stopped, panel.training.running)")
    nb.run(0)
    out = nb.out = nb.run(1)
    canvas, badge = out.locator("canvas.cv-plot"), out.locator(".cv-preview")
    expect(canvas).to_have_attribute("data-detail", "1", timeout=LONG)
    expect(out).to_contain_text(re.compile(r"About \d+ s on this machine"), timeout=LONG)

    out.get_by_text("Settings", exact=True).click()
    write(out, "Layers", "many")
    expect(out).to_contain_text("Expected a whole number for Layers, got 'many'")
    expect(out.get_by_label("Layers", exact=True)).to_have_value("3")
    write(out, "Layers", "2")
    write(out, "Steps, at least", "30000")
    expect(out).to_contain_text(re.compile(r"About .* on this machine"), timeout=LONG)
    shoot(nb, "settings")

    press(out, "Train")
    expect(out.get_by_role("button", name="flow", exact=True)).to_be_enabled(timeout=LONG)  # there is a preview
    press(out, "flow")
    expect(badge).to_be_visible(timeout=LONG)
    expect(out).to_contain_text("still learning")
    expect(canvas).to_have_attribute("data-tag", re.compile("^flow"), timeout=LONG)
    first = canvas.evaluate(PIXELS)
    nb.page.wait_for_function(f"([c, p]) => ({PIXELS})(c) !== p", arg=[canvas.element_handle(), first], timeout=LONG)
    shoot(nb, "preview")
    press(out, "Pause")
    expect(out.get_by_role("button", name="Resume")).to_be_enabled(timeout=LONG)
    expect(out).to_contain_text("The training is paused.")
    expect(badge).to_be_visible()
    shoot(nb, "paused")
    press(out, "Resume")
    expect(out).to_contain_text(re.compile(r"Density: \d+ %"), timeout=LONG)
    press(out, "Cancel")
    expect(out).to_contain_text("nothing of this training is kept", timeout=LONG)
    expect(badge).to_have_count(0)
    expect(out.get_by_role("button", name="flow", exact=True)).to_be_disabled()

    write(out, "Steps, at least", "60")
    write(out, "Passes", "1")
    for seed in ("0", "1"):
        write(out, "Seed", seed)
        press(out, "Train")
        expect(out).to_contain_text("Density of pmra, pmdec finished", timeout=LONG)
        expect(out.get_by_role("button", name="Train", exact=True)).to_be_enabled(timeout=LONG)
        expect(out.get_by_role("button", name="Pause")).to_be_disabled()
        if seed == "0":
            expect(out.get_by_label("Run", exact=True)).to_be_hidden()
    expect(out.get_by_label("Run", exact=True)).to_be_visible(timeout=LONG)
    expect(canvas).to_have_attribute("data-detail", "1", timeout=LONG)
    second = canvas.evaluate(PIXELS)
    expect(out.locator("canvas.cv-loss + svg")).to_contain_text("run 1", timeout=LONG)
    out.get_by_label("Run", exact=True).select_option("run 1: 25,084 stars, seed 0")
    expect(out.locator(".cv-stale")).to_be_visible()
    nb.page.wait_for_function(f"([c, p]) => ({PIXELS})(c) !== p", arg=[canvas.element_handle(), second], timeout=LONG)
    expect(out.locator("canvas.cv-loss + svg")).to_contain_text("run 2", timeout=LONG)
    out.get_by_label("Run", exact=True).scroll_into_view_if_needed()
    shoot(nb, "runs")
    press(out, "Defaults")
    expect(out.get_by_label("Layers", exact=True)).to_have_value("3")
    told = nb.run(2)
    expect(told).to_contain_text("None ['run 1: 25,084 stars, seed 0', 'run 2: 25,084 stars, seed 1'] finished False")
