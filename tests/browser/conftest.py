"""A JupyterLab server and notebooks for the browser tests."""

import os
import time

import pytest
from driver import Lab, Notebook, at_rest, find_browser, launch_args
from playwright.sync_api import expect

expect.set_options(timeout=60_000)  # a busy machine is no fault


@pytest.fixture(scope="session")
def browser_type_launch_args():
    """Read by pytest-playwright."""
    executable = find_browser()
    if executable is None:
        why = "Expected a Chromium, got none; set CHROMIUM or install one (`playwright install chromium`)."
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(why)
        pytest.skip(why)
    return launch_args(executable)


@pytest.fixture(scope="session")
def browser_context_args():
    return {"viewport": {"width": 1280, "height": 900}}


@pytest.fixture(scope="session")
def lab(tmp_path_factory, browser_type_launch_args):
    lab = Lab(tmp_path_factory.mktemp("lab") / "root")
    yield lab
    lab.close()


@pytest.fixture
def notebook(page, lab):
    """``notebook(*cells)`` opens a new notebook; nothing in it may fail in the console or ask another host."""
    made: list[Notebook] = []

    def make(*cells: str) -> Notebook:
        made.append(Notebook(page, lab, f"n{time.time_ns()}", *cells))
        return made[-1]

    yield make
    noted = [(list(n.errors), list(n.foreign)) for n in made]
    for n in made:
        n.shutdown()  # a kernel holds half a gigabyte; the page may well complain of its end
    assert noted == [([], [])] * len(made)


@pytest.fixture(scope="module")
def opened(browser, browser_context_args, lab):
    """``opened(name, *cells)`` opens a notebook for all tests of a file and runs its first two cells: the notebook, and
    the second's output with its pictures at rest. Nothing in it may fail in the console or ask another host.
    """
    made: list[Notebook] = []

    def make(name: str, *cells: str):
        page = browser.new_context(**browser_context_args).new_page()
        made.append(nb := Notebook(page, lab, name, *cells))
        nb.run(0)
        out = nb.run(1)
        canvases = out.locator("canvas.cv-plot")
        at_rest(canvases.first)
        for canvas in canvases.all():
            at_rest(canvas)
        return nb, out

    yield make
    noted = [(list(n.errors), list(n.foreign)) for n in made]
    for n in made:
        n.shutdown()
        n.page.context.close()
    assert noted == [([], [])] * len(made)
