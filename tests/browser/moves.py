"""A thousand moves of one slider, as fast as a held key repeats, and what they leave in the kernel."""

import json
import time

MOVES = (
    """
import gc, json, psutil, time, clearview
from clearview.panels import AccelerationPanel
panel = AccelerationPanel(*clearview.load_first_map(), size=300)
asked = []
panel.controls["z"].observe(lambda change: asked.append(change["new"]), "value")
def state():
    began = time.monotonic()
    rested = panel.idle.wait(60)
    waited = time.monotonic() - began
    gc.collect()
    shown = panel.view.frame["data"]
    rss = psutil.Process().memory_info().rss / 2**20
    print(json.dumps(dict(z=panel.settings["z"], asked=len(asked), rested=rested, waited=waited, rss=rss, **shown)))
""",
    "panel",
    "state()",
)
"""Cells of a notebook: the panel, its picture, and what there is to know of both as JSON."""


def many_moves(notebook, n: int, warm_up: int = 100) -> dict[str, float]:
    """Move the slider of `MOVES` ``n`` times after a warm-up.

    Returns:
        ``moves_memory_growth`` of the kernel as a fraction; ``moves_last_value``, 1 if slider, kernel and picture
        agree in the end; ``moves_frames_per_change`` that were drawn; ``moves_rest_s`` from the last key to the picture
        in full detail.
    """
    page = notebook.page
    notebook.run(0)
    out = notebook.run(1)
    canvas, handle = out.locator("canvas.cv-plot"), out.locator(".noUi-handle:visible").first
    full = "c => c.dataset.detail === '1' && c.dataset.tag.split(' ')[3]"
    canvas.locator("xpath=self::*[@data-detail='1']").wait_for(timeout=240_000)

    def move(count: int) -> tuple[dict, float]:
        handle.scroll_into_view_if_needed()
        handle.focus()
        for i in range(count):
            page.keyboard.press("ArrowRight" if (i // 40) % 2 == 0 else "ArrowLeft")
            page.wait_for_timeout(1000 / 30)
        began = time.monotonic()
        z = float(out.locator(".widget-readout:visible").first.inner_text())
        page.wait_for_function(
            f"([c, z]) => Math.abs(({full})(c) - z) < 1e-6 && c.dataset.detail === '1'",
            arg=[canvas.element_handle(), z], timeout=60_000,
        )  # fmt: skip
        rest = time.monotonic() - began
        page.wait_for_timeout(1000)
        printed = notebook.run(2)
        printed.get_by_text("rested").wait_for(timeout=60_000)
        kernel = json.loads(printed.inner_text())
        kernel["same"] = abs(kernel["z"] - z) < 1e-6 and kernel["rested"] and f" {z:g} " in f" {kernel['tag']} "
        return kernel, rest

    before, _ = move(warm_up)
    notebook.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.widgets[2].model.clearExecution()")
    after, rest = move(n)
    notebook.shutdown()
    asked = after["asked"] - before["asked"]
    return {
        "moves_memory_growth": after["rss"] / before["rss"] - 1,
        "moves_memory_mb": after["rss"],
        "moves_last_value": float(before["same"] and after["same"]),
        "moves_changes": asked,
        "moves_frames_per_change": (after["seq"] - before["seq"]) / asked,
        "moves_rest_s": rest,
    }
