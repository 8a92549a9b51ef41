"""A long job in the notebook: where it stands, its loss curve, and the buttons that run and cancel it."""

import threading
from importlib import import_module

import ipywidgets as W

from clearview.figures import loss_curve
from clearview.panels.base import close_all
from clearview.panels.controls import button, guarded, sentence, small
from clearview.panels.train import duration
from clearview.panels.view import RasterView
from clearview.panels.worker import Every

_STYLES = {"finished": "success", "failed": "danger", "stopped": "warning", "cancelled": "warning"}


class JobPanel(W.VBox):
    """Watches a `clearview.Job` from any notebook, whichever process runs it.

    Args:
        job: the job, or its directory.
        every: seconds between two looks.
        threaded: False looks only when `refresh` is called.

    Attributes:
        job: the `clearview.Job`.
        status: what was seen last.
    """

    def __init__(self, job, *, every: float = 1.0, threaded: bool = True):
        made = import_module("clearview.jobs").Job
        self.job = job if isinstance(job, made) else made(job)
        self._lock, self._error, self._watch, self._drawn = threading.Lock(), "", None, None
        self.go, self.stop = button("Run"), button("Cancel")
        self.fraction = W.FloatProgress(min=0, max=1, layout=W.Layout(width="300px"))
        self.words, self.counts, self.loss = W.HTML(), W.HTML(), RasterView(234, 130, name="cv-loss")
        self.loss.layout.display = "none"
        self.go.on_click(lambda _: guarded(self._say, "job", self.start))
        self.stop.on_click(lambda _: guarded(self._say, "job", self.cancel))
        super().__init__([
            W.HTML(small(f"Job {self.job.directory}")), W.HBox([self.go, self.stop]), self.fraction, self.words,
            self.counts, self.loss,
        ])  # fmt: skip
        self.refresh()
        if threaded:
            self._watch = Every(self._see, every)

    def start(self) -> None:
        """Run the job in a process of its own; see `clearview.Job.start`."""
        self.job.start()
        self._look()

    def cancel(self) -> None:
        """Ask the runner to stop; see `clearview.Job.cancel`."""
        self.job.cancel()
        self._look()

    def refresh(self) -> None:
        """Look at the job, and show how it stands."""
        with self._lock:
            status = self.status = self.job.status
            running = status.state == "running"
            left = "" if status.remaining is None else f", {duration(status.remaining)} left"
            state = f"{status.state.capitalize()}: {status.fraction:.0%}{left}. {status.message}"
            self.words.value = small(self._error or state)
            counts = ", ".join(f"{count} {name}" for name, count in status.tasks.items())
            self.counts.value = small(f"Tasks: {counts}." if len(self.job.configs) > 1 else "")
            self.fraction.value, self.fraction.bar_style = status.fraction, _STYLES.get(status.state, "")
            self.go.disabled, self.stop.disabled = running or status.state == "finished", not running
            self.go.description = "Resume" if status.state in ("stopped", "cancelled", "failed") else "Run"
            self.go.tooltip = "It runs." if running else "It is finished." if self.go.disabled else ""
            self.stop.tooltip = "" if running else "It does not run."
        # Outside of the lock, for it waits for the browser, and that for the kernel.
        if len(status.history) and not status.history.equals(self._drawn):
            self.loss.layout.display = ""
            self.loss.show(loss_curve(status.history), n=len(status.history))
            self._drawn = status.history

    def close(self) -> None:
        """End the thread that watches, and remove the widgets; the job goes on."""
        if self._watch is not None:
            self._watch.close()
        for part in (*self.children, self.layout):
            close_all(part)
        super().close()

    def _see(self) -> None:
        """In the thread, where nobody hears of an exception, and which goes on after one."""
        try:
            self.refresh()
        except Exception as error:
            self.words.value = small(sentence(error))

    def _look(self) -> None:
        """Soon, in the thread: the picture waits for an answer that this thread, the kernel's, takes."""
        if self._watch is None:
            self.refresh()
        else:
            self._watch.now()

    def _say(self, slot: str, what) -> None:
        self._error = sentence(what) if isinstance(what, Exception) else what
        self._look()
