"""Latency of the live panels in JupyterLab: from the key that moves a slider to the changed pixels.

    python tests/benchmarks/latency.py [--n 32] [--seeds 1] [--json]

Every step is timed inside the page, from the time stamp of the key's event to the animation frame that finds other
pixels in the canvas. With ``--json`` the last line is one flat JSON object. Needs the extra ``test`` and a Chromium.
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

SIZE = 600
FIELD = """
import clearview
from clearview.panels import AccelerationPanel, PhaseSpacePanel
try:
    catalog, fit = clearview.load_first_map()
    kind = "the shipped map"
except (AttributeError, ImportError, OSError):
    # untrained: the same network, so the same work
    import jax, numpy as np
    from clearview.dynamics import MapConfig, MapFit, PotentialNet
    from fakes import stars
    catalog, config = stars(50_000), MapConfig(radius=4.0)
    size = dict(width=config.potential.width, depth=config.potential.depth)
    net = PotentialNet(config.center, 4.0, **size, key=jax.random.key(0))
    fit = MapFit(config, None, net, 4.0, len(catalog), catalog.digest(), stage=2 + config.potential.rounds,
                 stopped="finished", message="Untrained.")
    kind = "an untrained network"
field = AccelerationPanel(catalog, fit, size=%d)
print(kind)
"""
STARS = """
from fakes import stars
many = PhaseSpacePanel(stars(1_000_000, seed=%d), size=%d)
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
      if (canvas.dataset.seq !== seq && look() !== before) window.cvTimes.push(performance.now() - began);
      else if (performance.now() - began < 5000) requestAnimationFrame(frame);
      else window.cvTimes.push(NaN);
    };
    requestAnimationFrame(frame);
  }, {capture: true, signal: window.cvEnd.signal});
}"""


def steps(notebook: Notebook, output, n: int, rest: float = 0.4) -> np.ndarray:
    """Milliseconds of ``n`` slider steps, each from rest."""
    page, handle = notebook.page, output.locator(".noUi-handle:visible").first
    page.evaluate("() => { window.cvTimes = [] }")
    handle.scroll_into_view_if_needed()
    handle.focus()
    for i in range(n):
        page.keyboard.press("ArrowRight" if (i // 20) % 2 == 0 else "ArrowLeft")
        page.wait_for_function("n => window.cvTimes.length >= n", arg=i + 1)
        page.wait_for_timeout(1000 * rest)  # the full frame that follows is not part of the next step
    return np.array(page.evaluate("() => window.cvTimes"), float)


def measure(page, lab: Lab, seed: int, n: int) -> dict[str, float | str]:
    """The numbers of one seed."""
    began = time.monotonic()
    cells = [FIELD % SIZE, "field", STARS % (seed, SIZE), "many", "field.catalog = many.catalog; field.train()"]
    notebook = Notebook(page, lab, f"latency{seed}", *cells)
    setup = notebook.run(0)
    found: dict[str, float | str] = {}
    for name, make, show in (("field_600", None, 1), ("stars1m_600", 2, 3)):
        if make is not None:
            notebook.run(make)
        output = notebook.run(show)
        canvas = output.locator("canvas.cv-plot[data-detail='1']")
        canvas.wait_for(timeout=120_000)
        page.wait_for_timeout(3000)
        canvas.evaluate(WATCH)
        steps(notebook, output, 4)
        times = steps(notebook, output, n)
        found |= {f"{name}_median_ms": np.median(times), f"{name}_p95_ms": np.percentile(times, 95)}
    found["field_source"] = setup.inner_text().strip()
    output = notebook.output(1)
    output.locator("canvas.cv-plot").evaluate(WATCH)
    notebook.run(4)
    output.locator("canvas.cv-loss[data-n]").wait_for(timeout=300_000)  # compiled, and under way
    times = steps(notebook, output, n)
    found["field_600_training_median_ms"] = np.median(times)
    found["field_600_training_p95_ms"] = np.percentile(times, 95)
    found["training_ratio"] = found["field_600_training_median_ms"] / found["field_600_median_ms"]
    found["seconds"] = time.monotonic() - began
    page.evaluate("async () => { await window.jupyterapp.shell.currentWidget.sessionContext.shutdown() }")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=32, help="steps of each kind")
    parser.add_argument(
        "--seeds", type=int, default=1, help="repeat with so many seeds; medians of the numbers are given"
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
                print(
                    f"seed {seed}: "
                    + ", ".join(f"{k} {v:.1f}" for k, v in all_found[-1].items() if k != "field_source")
                )
                page.close()
            browser.close()
    finally:
        lab.close()
    numbers = [k for k in all_found[0] if k != "field_source"]
    result = {k: round(float(np.median([f[k] for f in all_found])), 3) for k in numbers}
    result |= {"field_source": all_found[0]["field_source"], "steps": options.n, "seeds": options.seeds}
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
