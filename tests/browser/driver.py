"""JupyterLab on this machine, and a notebook in it driven by a headless Chromium."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
from playwright.sync_api import expect

ROOT = Path(__file__).parents[2]
FLAGS = [
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-accelerated-2d-canvas",
]  # fmt: skip


def find_browser() -> str | None:
    """``$CHROMIUM``, else a Chromium on the path, else Playwright's own, else None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found:
        return found
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        own = play.chromium.executable_path
    return own if Path(own).exists() else None


def launch_args(executable: str) -> dict:
    """Arguments of ``chromium.launch``."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0  # Chromium refuses to sandbox for root
    return {"executable_path": executable, "headless": True, "args": FLAGS + ["--no-sandbox"] * root}


class Lab:
    """A JupyterLab server with settings of its own in ``folder``; its kernels can import the package and the fakes."""

    def __init__(self, folder: Path, **env: str):
        self.folder, self.notebooks = folder, folder / "notebooks"
        self.notebooks.mkdir(parents=True)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
        dirs = ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
        own = {name: str(folder / name) for name in dirs}
        self.log = (folder / "lab.log").open("w")
        options = [
            "--no-browser", "--allow-root", f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=",
            f"--ServerApp.root_dir={self.notebooks}", "--LabApp.expose_app_in_browser=True", "--LabApp.news_url=None",
            "--LabApp.extension_manager=readonly",
        ]  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options], stdout=self.log, stderr=self.log,
            env={**os.environ, **own, "PYTHONPATH": path, **env},
        )  # fmt: skip
        for _ in range(480):
            try:
                urllib.request.urlopen(self.url + "/api", timeout=1)
                return
            except OSError:
                time.sleep(0.25)
        raise RuntimeError(f"JupyterLab did not start; see {folder / 'lab.log'}.")

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        self.log.close()


class Notebook:
    """Drives one notebook through the page's ``jupyterapp``, and notes console errors and foreign requests."""

    def __init__(self, page, lab: Lab, name: str, *cells: str):
        self.page, self.lab, self.name = page, lab, name
        self.errors: list[str] = []
        self.foreign: list[str] = []
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, lab.notebooks / f"{name}.ipynb")
        page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: self.errors.append(str(e)))
        page.on("request", lambda r: self._request(r.url))
        self.open()

    def _request(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in ("127.0.0.1", "localhost"):
            self.foreign.append(url)

    def open(self, query: str = "?reset") -> None:
        """Open or reload the page and wait for its kernel."""
        page = self.page
        page.goto(f"{self.lab.url}/doc/tree/{self.name}.ipynb{query}")
        page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.sessionContext", timeout=120_000)
        page.evaluate("async () => { await window.jupyterapp.shell.currentWidget.context.ready }")
        status = "() => window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status"
        for _ in range(600):  # a cell run before the kernel is there would ask for one in a dialog, for ever
            if page.evaluate(status) == "idle":
                return
            accept = page.locator(".jp-Dialog button.jp-mod-accept")
            if accept.count():
                accept.first.click()
            page.wait_for_timeout(100)
        raise RuntimeError("The kernel did not start.")

    def run(self, i: int):
        """Run cell ``i``; its output area."""
        self.page.evaluate(
            """async i => { const n = window.jupyterapp.shell.currentWidget.content; n.activeCellIndex = i;
            n.widgets[i].node.scrollIntoView(); await window.jupyterapp.commands.execute('notebook:run-cell') }""",
            i,
        )
        return self.output(i)

    def output(self, i: int):
        """The output area of cell ``i``."""
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(i).locator(".jp-OutputArea").first

    def save(self) -> None:
        """Save the notebook file."""
        self.page.evaluate("async () => { await window.jupyterapp.commands.execute('docmanager:save') }")

    def shutdown(self) -> None:
        """End the notebook's kernel."""
        self.page.evaluate("async () => { await window.jupyterapp.shell.currentWidget?.sessionContext?.shutdown() }")

    def theme(self, name: str) -> None:
        """ "JupyterLab Light" or "JupyterLab Dark"."""
        self.page.evaluate(
            "async name => { await window.jupyterapp.commands.execute('apputils:change-theme', {theme: name}) }", name
        )
        self.page.wait_for_timeout(500)


def at_rest(canvas, tag: str = "") -> None:
    """Wait for a canvas to show a picture in full detail whose tag begins so."""
    expect(canvas).not_to_have_attribute("data-detail", re.compile(r"^0\."), timeout=120_000)
    expect(canvas).to_have_attribute("data-tag", re.compile("^" + re.escape(tag)), timeout=120_000)
