"""Long drags, and drags over a slow network. Nothing here asserts a time of the machine; waits are generous."""

import pytest
from driver import Notebook
from link import Link
from moves import MOVES, many_moves
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]
LONG = 120_000
PANELS = {
    "field": "AccelerationPanel(*clearview.load_first_map(), size=600)",
    "stars": "PhaseSpacePanel(stars(1_000_000), size=600)",
}


def test_a_thousand_moves_leave_the_last_value_no_queue_and_no_memory(notebook):
    found = many_moves(notebook(*MOVES), 1000)
    assert found["moves_last_value"] == 1.0
    assert found["moves_changes"] > 100
    assert found["moves_frames_per_change"] < 1.5  # else every change would draw both, and late ones would wait
    assert abs(found["moves_memory_growth"]) < 0.05


@pytest.mark.parametrize("name", PANELS)
def test_a_drag_over_a_slow_link_goes_on_and_ends_in_full(page, lab, name):
    link = Link(lab.url)
    try:
        cells = (
            f"import clearview\nfrom clearview.panels import *\nfrom fakes import stars\npanel = {PANELS[name]}",
            "panel", "print(panel.idle.wait(60), panel.view.frame['data']['tag'], panel.view.frame['data']['seq'])",
        )  # fmt: skip
        notebook = Notebook(page, link.lab(lab), f"slow_{name}", *cells)
        notebook.run(0)
        out = notebook.run(1)
        canvas = out.locator("canvas.cv-plot")
        expect(canvas).to_have_attribute("data-detail", "1", timeout=LONG)
        page.wait_for_timeout(2000)
        link.slow = True
        found = drag(page, out, canvas, link)
        print(name, found)
        assert found["frames"] >= 5
        page.wait_for_timeout(3000)
        link.slow = False
        whole, *tag, seq = notebook.run(2).inner_text().split()
        assert whole == "True"
        expect(canvas).to_have_attribute("data-seq", seq, timeout=LONG)
        expect(canvas).to_have_attribute("data-tag", " ".join(tag))
        expect(canvas).to_have_attribute("data-detail", "1")
        value = float(out.locator(".widget-readout:visible").first.inner_text())
        assert f"{value:g}" in tag
        notebook.shutdown()
    finally:
        link.close()


def drag(page, out, canvas, link: Link, seconds: float = 5.0) -> dict[str, float]:
    """Hold an arrow key for some seconds: frames that came meanwhile, their longest gap, and how late the last was."""
    canvas.evaluate(
        """c => { window.cvSeen = []; new MutationObserver(() => window.cvSeen.push(performance.now()))
        .observe(c, {attributes: true, attributeFilter: ['data-seq']}) }"""
    )
    handle = out.locator(".noUi-handle:visible").first
    handle.scroll_into_view_if_needed()
    handle.focus()
    passed, first = link.passed, page.evaluate("() => performance.now()")
    presses = 0
    while (now := page.evaluate("() => performance.now()")) < first + 1000 * seconds:
        page.keyboard.press("ArrowRight" if (presses // 40) % 2 == 0 else "ArrowLeft")
        page.wait_for_timeout(1000 / 30)
        presses += 1
    page.wait_for_timeout(6000)
    times = page.evaluate("() => window.cvSeen")
    during = [t for t in times if t <= now]
    gaps = [b - a for a, b in zip([first, *during], [*during, now], strict=True)]
    return {
        "frames": len(during), "per_second": len(during) / seconds, "longest_gap_ms": max(gaps),
        "last_ms": times[-1] - now, "kB_per_frame": (link.passed - passed) / len(times) / 1e3,
    }  # fmt: skip
