"""Notebook 01 in JupyterLab: seconds from Run All to the first picture, and the kernel's peak memory.

    python tests/benchmarks/first_map.py [--json] [--seeds 3]

The disk is warm from the second seed on. Needs the extra ``test``, a Chromium, and Linux for the memory.
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

import common
import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "browser"))

from driver import Lab, Notebook, find_browser, launch_args
from playwright.sync_api import sync_playwright
from test_first_map import first_map_cells


def kernel_peak_mb(lab: Lab) -> float:
    """Largest resident size of any kernel of the server, MB."""
    peaks = [0.0]
    for child in psutil.Process(lab.process.pid).children(recursive=True):
        status = Path(f"/proc/{child.pid}/status").read_text()
        peaks += [int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")]
    return max(peaks)


def run(seed, args):
    executable = find_browser()
    if executable is None:
        sys.exit("Expected a Chromium, got none; set CHROMIUM or install one.")
    folder = Path(tempfile.mkdtemp(prefix="clearview-first-"))
    lab, cells = Lab(folder / "root"), first_map_cells()
    try:
        with sync_playwright() as play:
            browser = play.chromium.launch(**launch_args(executable))
            page = browser.new_page(viewport={"width": 1280, "height": 1000})
            notebook = Notebook(page, lab, "first", *cells)
            began = time.monotonic()
            page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")
            notebook.output(0).locator("canvas.cv-plot[data-seq]").wait_for(timeout=300_000)
            first = time.monotonic() - began
            last = notebook.output(len(cells) - 1)
            last.locator("canvas.cv-plot[data-detail='1']").wait_for(timeout=300_000)
            every = time.monotonic() - began
            page.wait_for_timeout(2000)
            peak = kernel_peak_mb(lab)
            browser.close()
    finally:
        lab.close()
        shutil.rmtree(folder, ignore_errors=True)
    return {"first_picture_s": first, "all_cells_s": every, "kernel_peak_mb": peak, "cells": len(cells)}


if __name__ == "__main__":
    common.main(__doc__, run)
