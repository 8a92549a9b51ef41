"""Latency of the live panels in JupyterLab: from the key that moves a slider to the changed pixels.

    python tests/benchmarks/latency.py [--n 32] [--seeds 3] [--json]

Every step is timed inside the page, from the time stamp of the key's event to the animation frame that finds other
pixels in the canvas. The first new picture may be coarse (``first_detail`` is its fraction of the full one's cells
along an axis); ``full`` is the time to the picture in full detail. With ``--json`` the last line is one flat JSON
object. Needs the extra ``test`` and a Chromium.
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

FIELD = """
import clearview
from clearview.panels import AccelerationPanel, PhaseSpacePanel
catalog, fit = clearview.load_first_map()
field = AccelerationPanel(catalog, fit, size={size})
"""
STARS = """
from fakes import stars
panel = PhaseSpacePanel(stars({millions}_000_000, seed={seed}), size={size})
panel.set(first_width=panel.controls["first_width"].max)  # nearly all of them are in the window, wherever it is
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
          if (canvas.dataset.detail === '1') window.cvFull.push(performance.now() - began);
          else if (performance.now() - began < 5000) requestAnimationFrame(full);
        };
        full();
      } else if (performance.now() - began < 5000) requestAnimationFrame(frame);
      else window.cvTimes.push(NaN);
    };
    requestAnimationFrame(frame);
  }, {capture: true, signal: window.cvEnd.signal});
}"""


def steps(notebook: Notebook, output, n: int, rest: float = 0.4) -> np.ndarray:
    """Milliseconds of ``n`` slider steps, each from rest."""
    page, handle = notebook.page, output.locator(".noUi-handle:visible").first
    page.evaluate("() => { window.cvTimes = []; window.cvFull = [] }")
    handle.scroll_into_view_if_needed()
    handle.focus()
    for i in range(n):
        page.keyboard.press("ArrowRight" if (i // 20) % 2 == 0 else "ArrowLeft")
        page.wait_for_function("n => window.cvTimes.length >= n", arg=i + 1)
        page.wait_for_timeout(1000 * rest)  # the full frame that follows is not part of the next step
    return np.array(page.evaluate("() => window.cvTimes"), float)


def measure(page, lab: Lab, seed: int, n: int) -> dict[str, float]:
    """The numbers of one seed: each panel by itself, then two of them while a map is trained."""
    began = time.monotonic()
    found: dict[str, float] = {}

    def timed(name: str, show: int) -> None:
        output = notebook.output(show)
        output.locator("canvas.cv-plot").evaluate(WATCH)
        steps(notebook, output, 4)
        times = steps(notebook, output, n)
        found[f"{name}_median_ms"] = np.median(times)
        found[f"{name}_p95_ms"] = np.percentile(times, 95)
        found[f"{name}_full_median_ms"] = np.median(page.evaluate("() => window.cvFull") or [np.nan])
        found[f"{name}_first_detail"] = float(page.evaluate("() => window.cvDetail"))

    for size in (300, 600):
        cells = [FIELD.format(size=size), "field"]
        for millions in (1, 6):
            cells += [STARS.replace("panel", f"stars{millions}m").format(millions=millions, seed=seed, size=size)]
            cells += [f"stars{millions}m"]
        notebook = Notebook(
            page, lab, f"latency{seed}_{size}", *cells, "field.train()", "print(field.training.running)"
        )
        for i, what in enumerate(("field", "stars1m", "stars6m")):
            notebook.run(2 * i)
            notebook.run(2 * i + 1).locator("canvas.cv-plot[data-detail='1']").wait_for(timeout=240_000)
            page.wait_for_timeout(3000)
            timed(f"{what}_{size}", 2 * i + 1)
        if size == 300:
            notebook.shutdown()
    notebook.run(6)
    notebook.output(1).locator("canvas.cv-loss[data-n]").wait_for(timeout=300_000)  # compiled, and under way
    timed("field_600_training", 1)
    timed("stars1m_600_training", 3)
    found["still_training"] = float("True" in notebook.run(7).inner_text())
    found["training_ratio"] = found["field_600_training_median_ms"] / found["field_600_median_ms"]
    found["stars1m_training_ratio"] = found["stars1m_600_training_median_ms"] / found["stars1m_600_median_ms"]
    found["seconds"] = time.monotonic() - began
    notebook.shutdown()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=32, help="steps of each kind")
    parser.add_argument(
        "--seeds", type=int, default=3, help="repeat with so many seeds; medians of the numbers are given"
    )
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
                all_found.append(measure(page, lab, seed, options.n))
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
