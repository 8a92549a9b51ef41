"""A JupyterLab server and notebooks for the browser tests."""

import os
import time

import pytest
from driver import Lab, Notebook, find_browser, launch_args
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
