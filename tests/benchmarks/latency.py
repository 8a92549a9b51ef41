"""Latency of the live panels in JupyterLab: from the key that moves a slider to the changed pixels.

    python tests/benchmarks/latency.py [--n 32] [--seeds 3] [--only field_600 lasso6m] [--json]

Every step is timed inside the page, from the time stamp of the key's event to the animation frame that finds other
pixels in the canvas. The first new picture may be coarse (``first_detail`` is its fraction of the full one's cells
along an axis); ``full`` is the time to the picture in full detail. A lasso is timed from the end of its drag to new
pixels in the last of four linked views. ``moves`` are 1,000 steps in a row, 30 a second: the growth of the kernel's
memory after the first 100, the frames for each change that reached the kernel, and the seconds from the last key to
the full picture. With ``--json`` the last line is one flat JSON object. Needs the extra ``test`` and a Chromium.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "browser"))

from driver import Lab, Notebook, find_browser, launch_args
from moves import MOVES, many_moves

SETUP = """
import numpy as np
import clearview
from clearview.dynamics import EfficiencyConfig, MapConfig, PotentialConfig, fit_dusty
from clearview.flows import FitConfig
from clearview.panels import *
from fakes import stars
catalog, fit = clearview.load_first_map()

def millions(n, size):
    panel = PhaseSpacePanel(stars(n * 1_000_000, seed={seed}), size=size)
    panel.set(first_width=panel.controls["first_width"].max)  # nearly all of them are in the window, wherever it is
    return panel

def patch():
    from clearview.mocks import mock_patch
    from clearview.streams import Patch, ScanConfig
    return StreamPanel(Patch(148.6, 24.2).of(mock_patch(200_000, seed={seed})), ScanConfig(method=None))

def dust(size):
    # a map of no use, but one that costs as much to draw as any
    config = EfficiencyConfig(
        potential=PotentialConfig(pointwise=1200.0, degree=4), smoothing=0.4, stars=3000,
        map=MapConfig(radius=4.0, potential=None, training=FitConfig(epochs=1, min_steps=30)),
    )
    few = catalog.take(np.arange(len(catalog)) < 4000)
    return DustPanel(few, fit_dusty(few, config), size=size)
"""
SIZED = {
    "field": "AccelerationPanel(catalog, fit, size={size})",
    "stars1m": "millions(1, {size})", "stars6m": "millions(6, {size})",
}  # fmt: skip
CASES = {f"{name}_{size}": code.format(size=size) for size in (300, 600) for name, code in SIZED.items()} | {
    "density_600": "DensityPanel(catalog, fit, size=600)",
    "profile": "ProfilePanel(catalog, fit, size=600)",
    "dust": "dust(240)",  # three views
    "excess": 'ExcessPanel(clearview.load_sample("gd1_strip"), size=600)',
    "stream": "patch()",  # four plots
}
"""Panels whose first slider is moved."""
BESIDE = ("field_600", "density_600", "profile", "dust", "excess", "stream", "stars1m_600")
"""Those that are measured once more while a map is trained."""
LASSO = """
from fakes import stars
from clearview.panels import StarsPanel
panel = StarsPanel(stars(6_000_000, seed={seed}))
"""
# The canvas is copied to a small one, so that looking for a change costs less than what is looked for.
WATCH = """canvas => {
  const small = document.createElement('canvas'), n = 60, pen = small.getContext('2d', {willReadFrequently: true});
  small.width = small.height = n;
  const look = () => {
    pen.clearRect(0, 0, n, n);
    pen.drawImage(canvas, 0, 0, n, n);
    return new Uint32Array(pen.getImageData(0, 0, n, n).data.buffer).reduce((a, v) => (a * 31 + v) % 2147483647, 7);
  };
  if (window.cvEnd) window.cvEnd.abort(); // only one canvas is watched
  window.cvEnd = new AbortController();
  document.addEventListener('keydown', event => {
    if (!['ArrowRight', 'ArrowLeft'].includes(event.key)) return;
    const before = look(), seq = canvas.dataset.seq, began = event.timeStamp;
    const frame = () => {
      // the sequence number first: it is cheap, and other pixels never come without it
      if (canvas.dataset.seq !== seq && look() !== before) {
        window.cvTimes.push(performance.now() - began);
        window.cvDetail = canvas.dataset.detail;
        const full = () => {
          if ((canvas.dataset.detail ?? '1') === '1') window.cvFull.push(performance.now() - began);
          else if (performance.now() - began < 20000) requestAnimationFrame(full);
          else window.cvFull.push(NaN);
        };
        full();
      } else if (performance.now() - began < 5000) requestAnimationFrame(frame);
      else { window.cvTimes.push(NaN); window.cvFull.push(NaN); }
    };
    requestAnimationFrame(frame);
  }, {capture: true, signal: window.cvEnd.signal});
}"""


# From the end of a drag to the moment when all of some canvases have other pixels.
LASSO_END = """canvases => {
  const small = document.createElement('canvas'), n = 60, pen = small.getContext('2d', {willReadFrequently: true});
  small.width = small.height = n;
  const look = canvas => {
    pen.clearRect(0, 0, n, n);
    pen.drawImage(canvas, 0, 0, n, n);
    return new Uint32Array(pen.getImageData(0, 0, n, n).data.buffer).reduce((a, v) => (a * 31 + v) % 2147483647, 7);
  };
  window.cvLassos = [];
  document.addEventListener('pointerup', event => {
    const began = event.timeStamp, before = canvases.map(c => [c.dataset.seq, look(c)]);
    const frame = () => {
      const late = performance.now() - began;
      const drawn = canvases.every((c, i) => c.dataset.seq !== before[i][0] && look(c) !== before[i][1]);
      if (drawn) window.cvLassos.push(late);
      else if (late < 10000) requestAnimationFrame(frame);
      else window.cvLassos.push(NaN);
    };
    requestAnimationFrame(frame);
  }, {capture: true});
}"""


def steps(notebook: Notebook, output, n: int, rest: float = 0.25) -> np.ndarray:
    """Milliseconds of ``n`` slider steps, each from rest."""
    page, handle = notebook.page, output.locator(".noUi-handle:visible").first
    page.evaluate("() => { window.cvTimes = []; window.cvFull = [] }")
    handle.scroll_into_view_if_needed()
    handle.focus()
    at, low, high = (float(handle.get_attribute(f"aria-value{k}") or 0) for k in ("now", "min", "max"))
    keys = ["ArrowRight", "ArrowLeft"] if at - low < high - at else ["ArrowLeft", "ArrowRight"]
    for i in range(n):
        page.keyboard.press(keys[i // 20 % 2])
        page.wait_for_function("n => window.cvFull.length >= n", arg=i + 1)
        page.wait_for_timeout(1000 * rest)  # the full frame is not part of the next step
    return np.array(page.evaluate("() => window.cvTimes"), float)


def measure(page, lab: Lab, seed: int, n: int, only: list[str]) -> dict[str, float]:
    """The numbers of one seed: each panel by itself, then some of them while a map is trained, lassos, many moves."""
    began, found = time.monotonic(), {}

    def timed(notebook: Notebook, name: str, show: int, n: int) -> None:
        output = notebook.output(show)
        output.locator("canvas.cv-plot").first.evaluate(WATCH)
        steps(notebook, output, 4)
        times = steps(notebook, output, n)
        found[f"{name}_median_ms"] = np.median(times)
        found[f"{name}_p95_ms"] = np.percentile(times, 95)
        found[f"{name}_full_median_ms"] = np.median(np.array(page.evaluate("() => window.cvFull"), float))
        found[f"{name}_first_detail"] = float(page.evaluate("() => window.cvDetail"))
        print(f"{name}: median {found[f'{name}_median_ms']:.0f}, p95 {found[f'{name}_p95_ms']:.0f} ms", flush=True)

    for names in ([k for k in CASES if k.endswith("_300")], [k for k in CASES if not k.endswith("_300")]):
        if not (names := [k for k in names if k in only]):
            continue
        training = [k for k in BESIDE if k in names] if "training" in only else []
        cells = [SETUP.replace("{seed}", str(seed)), *(CASES[k] for k in names)]
        more = [
            "learner = AccelerationPanel(catalog, config=MapConfig(training=FitConfig(epochs=1000)))\nlearner.loss",
            "learner.train()", "print(learner.training.running)",
        ]  # fmt: skip
        notebook = Notebook(page, lab, f"latency{seed}_{names[0]}", *cells, *more)
        notebook.run(0)
        for i, name in enumerate(names, 1):
            notebook.run(i).locator("canvas.cv-plot[data-detail='1']").first.wait_for(timeout=240_000)
            page.wait_for_timeout(3000)
            timed(notebook, name, i, n)
        if training:
            last = len(cells)
            loss = notebook.run(last)
            notebook.run(last + 1)
            loss.locator("canvas.cv-loss[data-n]").wait_for(timeout=300_000)  # compiled, and under way
            for name in training:
                what = f"{name}_training"
                timed(notebook, what, 1 + names.index(name), max(3, n // 2))
                kind = {"field_600": "training_ratio"}.get(name, f"{name.removesuffix('_600')}_training_ratio")
                found[kind] = found[f"{what}_median_ms"] / found[f"{name}_median_ms"]
            found["still_training"] = float("True" in notebook.run(last + 2).inner_text())
        notebook.shutdown()
    if "lasso6m" in only:
        found |= lassos(Notebook(page, lab, f"lasso{seed}", LASSO.format(seed=seed), "panel"), max(3, n // 3))
    if "moves" in only:
        found |= many_moves(Notebook(page, lab, f"moves{seed}", *MOVES), 1000)
    found["seconds"] = time.monotonic() - began
    return found


def lassos(notebook: Notebook, n: int) -> dict[str, float]:
    """Lassos around always other stars."""
    page, _ = notebook.page, notebook.run(0)
    out = notebook.run(1)
    views = out.locator("canvas.cv-plot")
    views.nth(3).locator("xpath=self::*[@data-seq]").wait_for(timeout=240_000)
    page.wait_for_timeout(5000)
    out.get_by_role("button", name="Select with a lasso").first.click()
    first = views.first
    first.scroll_into_view_if_needed()
    page.evaluate(f"handles => ({LASSO_END})(handles)", [views.nth(i).element_handle() for i in range(4)])
    box = first.bounding_box()
    for k in range(n + 1):
        turn = np.linspace(0, 2 * np.pi, 30)
        x = box["x"] + box["width"] * (0.5 + 0.02 * (k % 5) + (0.15 + 0.01 * k) * np.cos(turn))
        y = box["y"] + box["height"] * (0.5 + (0.15 + 0.01 * k) * np.sin(turn))
        page.mouse.move(x[0], y[0])
        page.mouse.down()
        for at in zip(x, y, strict=True):
            page.mouse.move(*at)
        page.mouse.up()
        page.wait_for_function("n => window.cvLassos.length >= n", arg=k + 1)
        page.wait_for_timeout(500)
    times = np.array(page.evaluate("() => window.cvLassos"), float)[1:]  # the first one compiles
    notebook.shutdown()
    return {"lasso6m_ms": np.median(times), "lasso6m_p95_ms": np.percentile(times, 95)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=32, help="steps of each kind, half as many beside a training")
    parser.add_argument(
        "--seeds", type=int, default=3, help="repeat with so many seeds; medians of the numbers are given"
    )
    every = [*CASES, "training", "lasso6m", "moves"]
    parser.add_argument("--only", nargs="+", choices=every, default=every, help="some of the cases", metavar="CASE")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    options = parser.parse_args()
    executable = find_browser()
    if executable is None:
        sys.exit("Expected a Chromium, got none; set CHROMIUM or install one.")
    lab, all_found = Lab(Path(tempfile.mkdtemp(prefix="clearview-latency-")) / "root"), []
    try:
        with sync_playwright() as play:
            browser = play.chromium.launch(**launch_args(executable))
            for seed in range(options.seeds):
                page = browser.new_page(viewport={"width": 1280, "height": 1000})
                all_found.append(measure(page, lab, seed, options.n, options.only))
                print(f"seed {seed}: " + ", ".join(f"{k} {v:.1f}" for k, v in all_found[-1].items()))
                page.close()
            browser.close()
    finally:
        lab.close()
    numbers = [k for k in all_found[0]]
    result = {k: round(float(np.median([f[k] for f in all_found])), 3) for k in numbers}
    result |= {f"{k}_spread": round(float(np.ptp([f[k] for f in all_found])) / 2, 3) for k in all_found[0]}
    result |= {"steps": options.n, "seeds": options.seeds}
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
