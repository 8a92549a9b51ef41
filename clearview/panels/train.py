"""What a panel learns, and the bar with which it is trained, cancelled, resumed, saved and loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import ipywidgets as W

from clearview.figures import loss_curve
from clearview.panels.columns import learnt
from clearview.panels.controls import button, small, wide
from clearview.panels.view import RasterView
from clearview.panels.worker import Training


class Learner(NamedTuple):
    """What a panel trains, saves and loads: three plain functions.

    A fit has ``config``, ``data_digest``, ``history``, ``message`` and ``stopped``, as `clearview.flows.Fit` has.

    Attributes:
        fit: ``fit(catalog, config=, on_progress=, resume=)`` gives a fit, finished or not.
        save: ``save(fit, path, overwrite=)`` writes one.
        load: ``load(path)`` reads one.
    """

    fit: Callable[..., Any]
    save: Callable[..., Any]
    load: Callable[[Path], Any]


class TrainBar(W.VBox):
    """Buttons, progress, loss curve and file of what is learnt from a catalogue.

    Args:
        catalog: the stars, or None.
        config: the settings of the next training, or None.
        learner: gives the `Learner` of the moment, or a sentence that says why nothing can be learnt.
        usable: whether the panel can show a fit.
        changed: called after the fit, or what can be done with it, has changed.
        say: ``say(slot, what)`` puts an exception or a sentence into the status line.
        threaded: False trains at once in the calling thread.

    Attributes:
        fit: the fit that is shown, or None.
        partial: a fit that waits to be resumed or saved, or None.
        training: the `Training`.
        loss: the loss curve, a `RasterView`.
    """

    def __init__(
        self,
        catalog,
        config,
        *,
        learner: Callable[[], Learner | str],
        usable: Callable[[Any], bool],
        changed: Callable[[], Any],
        say: Callable[..., Any],
        threaded: bool = True,
    ):
        self.catalog, self.config = catalog, config
        self.fit: Any = None
        self.partial: Any = None
        self._why = ""
        self._learner, self._usable, self._changed, self._say = learner, usable, changed, say
        self.training = Training(self._progress, self._done, threaded=threaded)
        self.go, self.stop, self.anew = button("Train"), button("Cancel"), button("Start over")
        self.store, self.fetch = button("Save"), button("Load")
        self.fraction = W.FloatProgress(min=0, max=1, layout=W.Layout(width="300px"))
        self.stage = W.HTML()
        self.loss = RasterView(234, 130, name="cv-loss")
        self.path = W.Text(
            placeholder="path of the fit", description="File", value="fit.clearview", continuous_update=False, **wide()
        )
        self.overwrite = W.Checkbox(description="overwrite", indent=False, layout=W.Layout(width="100px"))
        self.stop.disabled = True
        self.loss.layout.display = self.anew.layout.display = "none"
        for widget, slot, action in (
            (self.go, "train", self.train), (self.anew, "train", lambda: self.train(resume=False)),
            (self.stop, "train", self.cancel), (self.store, "file", self.save), (self.fetch, "file", self.load),
        ):  # fmt: skip
            widget.on_click(lambda _, slot=slot, action=action: self._guard(slot, action))
        rows = [
            W.HBox([self.go, self.stop, self.anew]), self.fraction, self.stage, self.loss,
            self.path, W.HBox([self.store, self.fetch, self.overwrite]),
        ]  # fmt: skip
        line = "1px solid var(--jp-border-color2, #8884)"
        super().__init__(rows, layout=W.Layout(border_top=line, margin="8px 0 0 0", padding="6px 0 0 0"))

    # ---- what the buttons do; `Panel` documents these under the same names ----------------------------------------

    def train(self, *, resume: bool = True) -> None:
        if self.catalog is None:
            raise ValueError("Expected a catalogue to train on, got none; set panel.catalog.")
        if self.training.running:
            raise RuntimeError("Expected no training under way, got one; cancel it or wait for its end.")
        learner, catalog, partial = self._need(), self.catalog, self._resumable() if resume else None
        self._say("train", "")
        self.fraction.value, self.fraction.bar_style, self.stage.value = 0.0, "", small("Starting …")
        how = {"resume": partial} if partial else {"config": self.config} if self.config is not None else {}
        self.go.disabled, self.stop.disabled = True, False
        self.anew.layout.display = "none"
        self.training.start(lambda report: learner.fit(catalog, on_progress=report, **how))

    def cancel(self) -> None:
        self.training.cancel()
        self.stop.disabled = True

    def save(self, path: str | Path | None = None, *, overwrite: bool | None = None) -> Path:
        path = self._path_of(path)
        fit = self.partial or self.fit
        if fit is None:
            raise ValueError("Expected a fit to save, got none; train or load one first.")
        overwrite = self.overwrite.value if overwrite is None else overwrite
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} is already there; tick overwrite to replace it, or give another name.")
        self._need().save(fit, path, overwrite=overwrite)
        part = "Unfinished fit" if fit.stopped == "cancelled" else "" if fit is self.fit else "Fit without this map"
        self._say("file", f"{part}: saved to {path}." if part else f"Saved to {path}.", error=False)
        return path

    def load(self, path: str | Path | None = None) -> None:
        path = self._path_of(path)
        if self.training.running:
            raise ValueError("Expected no training under way, got one; cancel it before you load a fit.")
        if not path.exists():
            raise FileNotFoundError(f"Expected a saved fit at {path}, got no such file; correct the path.")
        self.adopt(self._need().load(path))
        self._changed()
        self._say("file", f"Loaded {path}.", error=False)

    # ---- what the panel asks -------------------------------------------------------------------------------------

    def adopt(self, fit: Any) -> None:
        """A fit is shown if it can be; else it waits to be resumed or saved, and the one before stays on the screen."""
        if fit is None or self._usable(fit):
            self.fit, self.partial = fit, fit if fit is not None and fit.stopped == "cancelled" else None
            return
        self.partial = fit
        if fit.stopped != "cancelled":
            self._say("train", "This fit has nothing that this panel shows; save it, or open it in another panel.")

    @property
    def stale(self) -> str:
        """Why the fit does not belong to the catalogue or the settings; empty when it does."""
        if self.fit is None:
            return ""
        if self.catalog is not None and not self._same_stars(self.fit):
            return "the fit was trained on other stars"
        if self.config is not None and self.config != self.fit.config:
            return "the fit was trained with other settings"
        return ""

    def refresh(self) -> None:
        """Enable what can be done, and say why the rest cannot."""
        running, nothing = self.training.running, self.fit is None and self.partial is None
        resumable = self._resumable() is not None
        learner = self._learner()
        why = "Training needs a catalogue of stars." if self.catalog is None else learner
        why = why if isinstance(why, str) else ""
        self.go.description = "Resume" if resumable else "Train"
        self.anew.layout.display = "" if resumable and not running else "none"
        self.go.disabled, self.go.tooltip = running or bool(why), why
        self.stop.disabled, self.store.disabled, self.fetch.disabled = not running, nothing, running
        self.stop.tooltip = "" if running else "No training runs."
        self.store.tooltip = "There is no fit to save yet." if nothing else ""
        self.fetch.tooltip = "Cancel the training first." if running else ""
        if why or self.stage.value == self._why:
            self.stage.value = self._why = small(why)

    # ---- inside --------------------------------------------------------------------------------------------------

    def _need(self) -> Learner:
        learner = self._learner()
        if isinstance(learner, str):
            raise ValueError(learner)
        return learner

    def _same_stars(self, fit) -> bool:
        try:
            return self.catalog.digest(learnt(fit)) == fit.data_digest
        except (KeyError, ValueError):  # nothing was ever trained on stars without these columns, or with gaps in them
            return False

    def _resumable(self):
        """The cancelled fit, if it is of these stars and settings."""
        fit = self.partial
        if fit is None or fit.stopped != "cancelled" or self.catalog is None or not self._same_stars(fit):
            return None
        return fit if self.config is None or fit.config == self.config else None

    def _progress(self, progress) -> None:
        self.fraction.value = progress.fraction
        left = "" if progress.remaining is None else f", {_duration(progress.remaining)} left"
        self.stage.value = small(f"{progress.stage.capitalize()}: {100 * progress.fraction:.0f} %{left}")
        self._show_loss(progress.history)

    def _show_loss(self, history) -> None:
        if history is not None and len(history):
            self.loss.layout.display = ""
            self.loss.show(loss_curve(history), n=len(history))

    def _done(self, fit, error: Exception | None) -> None:
        if error is not None:
            self._say("train", error)
            self.fraction.bar_style, self.stage.value = "danger", small("Training failed.")
        else:
            self._show_loss(fit.history)
            done = fit.stopped == "finished"
            self.fraction.bar_style = "success" if done else "danger" if fit.stopped == "diverged" else "warning"
            self.stage.value = small(fit.message)
            if fit.stopped == "diverged":
                self.partial = None  # to resume it would only diverge again
                self._say("train", ValueError(fit.message))
            else:
                self.fraction.value = 1.0 if done else self.fraction.value
                self.adopt(fit)
        self._changed()

    def _guard(self, slot: str, action) -> None:
        """A button's work: what a method raises, the status line says."""
        self._say(slot, "")
        try:
            action()
        except Exception as error:
            self._say(slot, error)

    def _path_of(self, path) -> Path:
        path = str(path if path is not None else self.path.value).strip()
        if not path:
            raise ValueError("Expected a path, got an empty one; write it in the box or pass it.")
        return Path(path).expanduser()


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
