"""What a panel learns, and the bar with which it is trained, paused, resumed, compared, saved and loaded."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import ipywidgets as W

from clearview.figures import loss_curve
from clearview.panels.columns import learnt
from clearview.panels.controls import button, dropdown, guarded, sentence, small, wide
from clearview.panels.form import ENTRIES, Entry, Settings
from clearview.panels.view import RasterView
from clearview.panels.worker import Latest, Training

MOST = 8
"""So many runs are kept."""

BESIDE = 3
"""So many other runs the loss curve shows: more would hide it."""

LEARNING, UNFINISHED = "learning now", "unfinished"
"""What the list of runs calls what is no run yet."""

_slower: dict[str, float] = {}
"""By what is learnt, how many times longer than estimated its last training of this session took."""


class Learner(NamedTuple):
    """What a panel trains, saves and loads, as plain functions.

    A fit has ``config``, ``data_digest``, ``history``, ``message``, ``stars`` and ``stopped``, as
    `clearview.dynamics.MapFit` has; and ``same_stars(catalog)``, if its digest is of columns that only it knows.

    Attributes:
        fit: ``fit(catalog, config=, on_progress=, on_preview=, resume=)`` gives a fit, finished or not.
        save: ``save(fit, path, overwrite=)`` writes one.
        load: ``load(path)`` reads one.
        defaults: gives the config that None stands for, a frozen dataclass.
        estimate: ``estimate(catalog, config)`` gives the seconds that a training takes, roughly.
        same: whether a config is that of an unfinished fit.
        name: what is learnt.
    """

    fit: Callable[..., Any]
    save: Callable[..., Any]
    load: Callable[[Path], Any]
    defaults: Callable[[], Any] = lambda: None
    estimate: Callable[[Any, Any], float | None] = lambda catalog, config: None
    same: Callable[[Any, Any], bool] = lambda fit, config: fit.config == config
    name: str = "map"


class Work(NamedTuple):
    """What a bar does, in words, and what can be done with what comes of it.

    Attributes:
        verb: on the button.
        name: of what is under way.
        thing: what comes of it.
        file: the path that stands in the box at first; empty where there are no files.
        pausable: whether it can be paused, and resumed.
        form: whether it has settings of its own to show.
        entries: the lines of that form.
        of: what it is learnt from.
    """

    verb: str = "Train"
    name: str = "training"
    thing: str = "fit"
    file: str = "fit.clearview"
    pausable: bool = True
    form: bool = True
    entries: tuple[Entry, ...] = ENTRIES
    of: str = "stars"


TRAINING = Work()
"""What most bars do."""


class TrainBar(W.VBox):
    """Settings, buttons, progress, loss curve, runs and file of what is learnt from a catalogue.

    Args:
        catalog: the stars, or None.
        config: the settings of the next training, or None for the defaults.
        learner: gives the `Learner` of the moment, or a sentence that says why nothing can be learnt.
        usable: whether the panel can show a fit.
        changed: called after the fit, or what can be done with it, has changed.
        say: ``say(slot, what)`` puts an exception or a sentence into the status line.
        threaded: False trains at once in the calling thread.
        work: what it is, where it is no training.

    Attributes:
        runs: the finished fits of this session by name, at most eight; the oldest go first.
        partial: a fit that waits to be resumed or saved, or None.
        preview: what a training has learnt so far, or None.
        estimate: roughly how many seconds the next training takes, or None.
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
        work: Work = TRAINING,
    ):
        self.catalog, self._config, self.work = catalog, config, work
        self.runs: dict[str, Any] = {}
        self.partial: Any = None
        self.preview: Any = None
        self.estimate: float | None = None
        self._own: Any = None  # what is shown if it is no preview
        self.elsewhere: Callable[[], str] = str  # says where else something is learnt, if that is to be waited for
        self.file: tuple[Any, Path | None] = None, None  # the fit that was saved or loaded last, and where
        self._before: Any = None  # what was shown before an unfinished fit
        self._watch, self._picked, self._count = True, False, 0
        self._offering = threading.local()  # which threads write the list of runs: a person may choose meanwhile
        self._lock = threading.RLock()  # what was dropped shows nothing more
        self._asked: Any = None
        self._begun: tuple[float, float | None] = 0.0, None
        self._why = ""
        self._learner, self._usable, self._changed, self._say = learner, usable, changed, say
        self.training = Training(self._progress, self._done, threaded=threaded)
        self._guess: Latest | None = None  # a panel that is refused while it is made leaves no thread behind
        self._threaded = threaded
        self.settings = Settings(
            self._now, edited=self._edited, refused=lambda error: say("settings", error), entries=work.entries
        )
        self.go, self.hold, self.stop = button(work.verb), button("Pause"), button("Cancel")
        self.anew, self.store, self.fetch = button("Start over"), button("Save"), button("Load")
        self.cost = W.HTML()
        self.fraction = W.FloatProgress(min=0, max=1, layout=W.Layout(width="300px"))
        self.stage = W.HTML()
        self.loss = RasterView(234, 130, name="cv-loss")
        self.which = dropdown("Run", [])
        self.path = W.Text(
            placeholder=f"path of the {work.thing}",
            description="File",
            value=work.file,
            continuous_update=False,
            **wide(),
        )
        self.overwrite = W.Checkbox(description="overwrite", indent=False, layout=W.Layout(width="100px"))
        self.stop.disabled = self.hold.disabled = True
        for later in (self.loss, self.anew, self.which, self.fraction, *[self.hold] * (not work.pausable),
                      *[self.settings] * (not work.form)):  # fmt: skip
            later.layout.display = "none"
        for widget, slot, action in (
            (self.go, "train", self.train), (self.anew, "train", lambda: self.train(resume=False)),
            (self.hold, "train", self.pause), (self.stop, "train", self.cancel),
            (self.store, "file", self.save), (self.fetch, "file", self.load),
        ):  # fmt: skip
            widget.on_click(lambda _, slot=slot, action=action: guarded(self._say, slot, action))
        self.which.observe(lambda change: self._choose(change["new"]), "value")
        buttons = W.HBox([self.go, self.hold, self.stop, self.anew], layout=W.Layout(flex_flow="row wrap"))
        rows = [
            self.settings, buttons, self.cost, self.fraction, self.stage, self.loss, self.which, self.path,
            W.HBox([self.store, self.fetch, self.overwrite]),
        ]  # fmt: skip
        if not work.file:
            for row in rows[-2:]:
                row.layout.display = "none"
        line = "1px solid var(--jp-border-color2, #8884)"
        super().__init__(rows, layout=W.Layout(border_top=line, margin="8px 0 0 0", padding="6px 0 0 0"))

    # ---- what the buttons do; `Panel` documents these under the same names ----------------------------------------

    def train(self, *, resume: bool = True) -> None:
        if self.catalog is None:
            raise ValueError(f"Expected a catalogue to {self.work.verb.lower()} on, got none; set panel.catalog.")
        if self.training.running:
            raise RuntimeError(f"Expected no {self.work.name} under way, got one; cancel it or wait for its end.")
        if other := self.elsewhere():
            raise RuntimeError(f"Expected nothing under way, got {other}; cancel it there or wait for it.")
        learner, catalog, partial = self._need(), self.catalog, self._resumable() if resume else None
        for slot in ("train", "preview", "runs", "settings"):
            self._say(slot, "")
        self.fraction.value, self.fraction.bar_style, self.stage.value = 0.0, "", small("Starting …")
        how = {"resume": partial} if partial else {"config": self.config} if self.config is not None else {}
        self.go.disabled, self.hold.disabled, self.stop.disabled = True, False, False
        self.anew.layout.display, self.cost.value = "none", ""
        self.hold.layout.display = "" if self.work.pausable else "none"
        self._watch, self.fraction.layout.display = True, ""
        self.preview = self.preview if partial else None
        self._begun = time.monotonic(), None if partial else self.estimate
        begun = self._begun
        self.training.start(lambda report: learner.fit(
            catalog, on_progress=lambda progress: report((progress, begun)),
            on_preview=lambda made: self._previewed(made, begun), **how,
        ))  # fmt: skip

    def pause(self) -> None:
        if not self.work.pausable:
            raise ValueError("Expected a training that can be paused, got one that cannot; cancel it.")
        self.training.cancel()
        self.hold.disabled = True

    def cancel(self) -> None:
        with self._lock:
            dropped = self.training.drop()
            if dropped or self._unfinished() is not None:
                self._discard()
        self._changed()

    def save(self, path: str | Path | None = None, *, overwrite: bool | None = None) -> Path:
        path = self._path_of(path)
        fit = self._own if self._picked else self.partial or self.fit
        if fit is None:
            raise ValueError(
                f"Expected a {self.work.thing} to save, got none; {self.work.verb.lower()} or load one first."
            )
        if fit.stopped == "preview":
            raise ValueError("Expected a fit to save, got a preview of one; pause the training first.")
        overwrite = self.overwrite.value if overwrite is None else overwrite
        if path.exists() and not overwrite:
            raise FileExistsError(
                f"Expected a new file, got {path}, which is already there; tick overwrite to replace it."
            )
        self._need().save(fit, path, overwrite=overwrite)
        self.file = fit, path
        part = "Unfinished fit" if fit.stopped == "cancelled" else "" if fit is self._own else "Fit without this map"
        self._say("file", f"{part}: saved to {path}." if part else f"Saved to {path}.", error=False)
        return path

    def load(self, path: str | Path | None = None) -> None:
        path = self._path_of(path)
        if self.training.running:
            raise ValueError(
                f"Expected no {self.work.name} under way, got one; cancel it before you load a {self.work.thing}."
            )
        if not path.exists():
            raise FileNotFoundError(
                f"Expected a saved {self.work.thing} at {path}, got no such file; correct the path."
            )
        fit = self._need().load(path)
        self.file = fit, path
        self.adopt(fit, path.name)
        self._changed()
        self._say("file", f"Loaded {path}.", error=False)

    # ---- what the panel asks -------------------------------------------------------------------------------------

    @property
    def fit(self) -> Any:
        """The fit that is shown, or None; a preview while something is learnt, unless another run is looked at."""
        return self._own if self.preview is None or not self._watch else self.preview

    @property
    def config(self) -> Any:
        """The settings of the next training; None stands for the defaults."""
        return self._config

    @config.setter
    def config(self, config) -> None:
        self._config = config
        self.settings.show()

    def adopt(self, fit: Any, name: str = "given") -> None:
        """A fit is shown if it can be; else it waits to be resumed or saved, and the one before stays on the screen.

        Args:
            fit: finished or not; None shows none.
            name: what a finished one is called among the runs.
        """
        if fit is not None and not hasattr(fit, "data_digest"):
            raise TypeError(f"Expected a fit, got {type(fit).__name__}; train or load one.")
        if fit is None or self._usable(fit):
            unfinished = fit is not None and fit.stopped == "cancelled"
            if unfinished and self._own is not self.partial:
                self._before = self._own
            # What is paused waits on behind another fit, but not behind its own end.
            waits = None if fit is None or name == "run" else self.partial
            self._own, self.partial, self._watch = fit, fit if unfinished else waits, False
            self._picked = waits is not None and not unfinished  # what is seen is what is saved
            if not self.training.running:
                self.preview = None
            if fit is not None and fit.stopped == "finished":
                self._keep(fit, name)
            return
        self.partial, self._picked = fit, False
        if fit.stopped != "cancelled":
            self.preview = None
            self._say("train", "This fit has nothing that this panel shows; save it, or open it in another panel.")

    @property
    def stale(self) -> str:
        """Why the fit does not belong to the catalogue or the settings; empty when it does."""
        if self.fit is None:
            return ""
        if self.catalog is not None and not self._same_stars(self.fit):
            return f"the fit was trained on other {self.work.of}"
        # A fit with dust has settings of another kind, which a panel of maps cannot ask for.
        comparable = hasattr(self.config, "map") or not hasattr(self.fit, "seen")
        if self.config is not None and comparable and self.config != self.fit.config:
            return "the fit was trained with other settings"
        return ""

    @property
    def badge(self) -> tuple[str, str]:
        """A word over the picture, "stale" or "preview", and what it means; both empty where there is nothing to say.

        A preview of other stars or settings than those of the moment is stale.
        """
        if why := self.stale:
            return "stale", why
        if self.fit is None or self.fit.stopped != "preview":
            return "", ""
        return "preview", self.fit.message if self.training.running else "The training is paused."

    def refresh(self) -> None:
        """Enable what can be done, and say why the rest cannot."""
        running, nothing = self.training.running, self.fit is None and self.partial is None
        resumable, waits = self._resumable() is not None, self._unfinished() is not None
        learner = self._learner()
        why = f"{self.work.name.capitalize()} needs a catalogue of {self.work.of}." if self.catalog is None else learner
        why = why if isinstance(why, str) else ""
        self.go.description = "Resume" if resumable else self.work.verb
        self.anew.layout.display = "" if resumable and not running else "none"
        self.hold.layout.display = "none" if (resumable and not running) or not self.work.pausable else ""
        self.go.disabled, self.go.tooltip = running or bool(why), why
        going = running and not self.training.stopping
        self.hold.disabled, self.stop.disabled = not going, not going and (running or not waits)
        self.store.disabled, self.fetch.disabled = nothing, running
        self.hold.tooltip = "Stop, and keep it to be resumed or saved." if running else f"No {self.work.name} runs."
        self.stop.tooltip = (
            "Stop, and drop what was not finished." if running or waits else f"No {self.work.name} runs."
        )
        self.store.tooltip = f"There is no {self.work.thing} to save yet." if nothing else ""
        self.fetch.tooltip = f"Cancel the {self.work.name} first." if running else ""
        if why or self.stage.value == self._why:
            self.stage.value = self._why = small(why)
        self._offer()
        self.settings.layout.display = "none" if isinstance(learner, str) or not self.work.form else ""
        self.settings.show()
        asked = None if why else (self.catalog, self.config, self._need().name)
        if asked != self._asked:
            self._asked, self.estimate = asked, None
            if self._guess is None:  # a second of rest, so that the first picture need not wait for it
                say = self._say
                self._guess = Latest(
                    self._estimate, lambda error: say("estimate", error), rest=1.0, threaded=self._threaded
                )
            self._guess()
        self._show_cost()

    def close(self) -> None:
        """End the thread that estimates, and remove the widgets."""
        if self._guess is not None:
            self._guess.close()
        super().close()

    # ---- settings and their price --------------------------------------------------------------------------------

    def _now(self) -> Any:
        """The settings of the next training, the defaults written out."""
        learner = self._learner()
        return self.config if self.config is not None or isinstance(learner, str) else learner.defaults()

    def _edited(self, config) -> None:
        self._say("settings", "")
        self.config = config
        self._changed()

    def _estimate(self, dragging: bool) -> bool:
        if dragging:  # not at rest yet
            return False
        asked, learner = self._asked, self._learner()
        if asked is None or isinstance(learner, str):
            return True
        seconds = learner.estimate(asked[0], asked[1])
        if asked == self._asked:  # else another one was asked for meanwhile
            self.estimate = seconds and seconds * _slower.get(learner.name, 1.0)
            self._show_cost()
        return True

    def _show_cost(self) -> None:
        seconds = None if self.training.running or self._resumable() else self.estimate
        self.cost.value = "" if seconds is None else small(f"About {_roughly(seconds)} on this machine.")

    # ---- runs ----------------------------------------------------------------------------------------------------

    def _keep(self, fit, name: str) -> None:
        """Add a finished fit to the runs."""
        if any(fit is kept for kept in self.runs.values()):
            return
        if name == "run":
            self._count += 1
            name = f"run {self._count}"
        if hasattr(fit, "title"):
            name += f": {fit.title}"
        elif not name.endswith(".clearview"):
            seed = getattr(fit.config, "seed", None)
            name += f": {fit.stars:,} stars" + (f", seed {seed}" if seed is not None else "")
        plain, number = name, 1
        while name in self.runs:
            number += 1
            name = f"{plain} ({number})"
        self.runs[name] = fit
        if len(self.runs) > MOST:
            oldest = next(iter(self.runs))
            del self.runs[oldest]
            self._say("runs", f"{MOST} runs are kept; the oldest, {oldest}, was let go. Save those that you want.")

    def _unfinished(self) -> Any:
        """The fit that waits to be resumed, or None."""
        return self.partial if self.partial is not None and self.partial.stopped == "cancelled" else None

    def _offer(self) -> None:
        """The list of runs, hidden while there is no choice."""
        part = self._unfinished()
        shown = part is not None and self._usable(part)
        names = [*self.runs, *[UNFINISHED] * shown, *[LEARNING] * (self.preview is not None)]
        now = next((name for name, fit in self.runs.items() if fit is self._own), UNFINISHED if shown else None)
        now = LEARNING if self.preview is not None and self._watch else now
        self._offering.now = True
        try:
            if tuple(names) != tuple(self.which.options):
                self.which.options = names
            if self.which.value != now:
                self.which.value = now
        finally:
            self._offering.now = False
        self.which.layout.display = "" if len(names) > 1 else "none"

    def _choose(self, name: str | None) -> None:
        if getattr(self._offering, "now", False) or name is None:
            return
        self._watch, self._picked = name == LEARNING, name in self.runs
        if not self._watch:
            self._own = self.runs.get(name, self.partial)
        if not self.training.running:
            self._show_loss(self._own.history)
        self._changed()

    def _discard(self) -> None:
        """Give up what is not finished; what was shown before it is shown again."""
        if self._own is not None and self._own is self.partial:
            self._own = self._before
        if self._unfinished() is not None:  # a finished fit that is not shown here still waits to be saved
            self.partial = None
        self.preview, self._before = None, None
        self.fraction.value, self.fraction.bar_style, self.fraction.layout.display = 0.0, "", "none"
        self.loss.layout.display = "none"
        self._show_loss(None if self._own is None else self._own.history)
        self.stage.value = small(f"Cancelled: nothing of this {self.work.name} is kept.")

    # ---- inside --------------------------------------------------------------------------------------------------

    def _need(self) -> Learner:
        learner = self._learner()
        if isinstance(learner, str):
            raise ValueError(learner)
        return learner

    def _same_stars(self, fit) -> bool:
        own = getattr(fit, "same_stars", None)
        try:
            return own(self.catalog) if own else self.catalog.digest(learnt(fit)) == fit.data_digest
        except (KeyError, ValueError):  # nothing was ever trained on stars without these columns, or with gaps in them
            return False

    def _resumable(self):
        """The paused fit, if it is of these stars and settings."""
        fit = self._unfinished()
        if fit is None or self.catalog is None or not self._same_stars(fit):
            return None
        learner = self._learner()
        same = isinstance(learner, Learner) and (self.config is None or learner.same(fit, self.config))
        return fit if same else None

    def _progress(self, told) -> None:
        progress, begun = told
        left = "" if progress.remaining is None else f", {duration(progress.remaining)} left"
        with self._lock:
            if not self.training.running or begun is not self._begun:
                return
            self.fraction.value = progress.fraction
            self.stage.value = small(f"{progress.stage.capitalize()}: {100 * progress.fraction:.0f} %{left}")
            self._show_loss(progress.history)

    def _previewed(self, made, begun) -> None:
        """Show what is learnt so far; whatever goes wrong with that, the training goes on."""
        try:
            if isinstance(made, Exception):
                raise made
            if self._usable(made):
                with self._lock:
                    if self.training.stopping or begun is not self._begun:
                        return
                    self.preview = made
                self._changed()
        except Exception as error:
            self._say("preview", f"There is no preview: {sentence(error)}")

    def _show_loss(self, history) -> None:
        if history is not None and len(history):
            names = [k.split(":")[0] for k in self.runs]
            short = {k: n if names.count(n) == 1 else k for k, n in zip(self.runs, names, strict=True)}
            others = {short[k]: run.history for k, run in self.runs.items() if run.history is not history}
            some = dict(list(others.items())[-BESIDE:])
            self.loss.layout.display = ""
            self.loss.show(loss_curve(history, others=some), n=len(history))

    def _done(self, fit, error: Exception | None) -> None:
        if error is not None:
            self.preview = None
            self._say("train", error)
            self.fraction.bar_style, self.stage.value = "danger", small(f"{self.work.name.capitalize()} failed.")
        else:
            self._show_loss(fit.history)
            done = fit.stopped == "finished"
            self.fraction.bar_style = "success" if done else "danger" if fit.stopped == "diverged" else "warning"
            at = f"Paused at {100 * self.fraction.value:.0f} %: Resume goes on from there."
            self.stage.value = small(at if fit.stopped == "cancelled" else fit.message)
            if fit.stopped == "diverged":
                self.partial = self.preview = None  # to resume it would only diverge again
                self._say("train", ValueError(fit.message))
            else:
                self.fraction.value = 1.0 if done else self.fraction.value
                self.adopt(fit, "run")
                self._learn_pace(done)
        self._changed()

    def _learn_pace(self, done: bool) -> None:
        """After a whole training, correct the estimates by the time it took."""
        begun, expected = self._begun
        if done and expected:
            name = self._need().name
            _slower[name] = _slower.get(name, 1.0) * (time.monotonic() - begun) / expected
            self._asked = None

    def _path_of(self, path) -> Path:
        path = str(path if path is not None else self.path.value).strip()
        if not path:
            raise ValueError("Expected a path, got an empty one; write it in the box or pass it.")
        return Path(path).expanduser()


def _roughly(seconds: float) -> str:
    """A time as an estimate is told, to about a fifth."""
    if seconds < 90:
        return f"{max(5, 5 * round(seconds / 5))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
