"""What all panels share: controls, one drawing thread, one view, and the bar for training, saving and loading."""

import html
import threading
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import ipywidgets as W
import numpy as np
import traitlets as T

from clearview.figures import loss_curve
from clearview.panels.view import RasterView, with_png
from clearview.panels.worker import Latest, Training


def wide() -> dict[str, Any]:
    """The common width of controls; new objects each time, since a layout hides its own widget."""
    return {"layout": W.Layout(width="300px"), "style": {"description_width": "92px"}}


def dynamics():
    """`clearview.dynamics`, loaded when first used: JAX takes a second."""
    return import_module("clearview.dynamics")


def truth_of(catalog):
    """The truth behind a mock catalogue, else None."""
    return None if catalog is None else import_module("clearview.mocks").truth_of(catalog)


def slider(description: str, value: float, low: float, high: float, step: float, **kwargs) -> W.FloatSlider:
    """A slider of the common width that moves the picture while it is dragged."""
    return W.FloatSlider(value, min=low, max=high, step=step, description=description, **wide(), **kwargs)


def dropdown(description: str, options, value=None) -> W.Dropdown:
    """A drop-down list of the common width."""
    return W.Dropdown(options=options, value=value, description=description, **wide())


def tick(description: str, value: bool) -> W.Checkbox:
    """A tick box of the common width."""
    return W.Checkbox(value, description=description, indent=False, layout=W.Layout(width="300px"))


class Choice(W.VBox):
    """Buttons of which one is chosen, and of which some may be disabled, with the reason in words below.

    Args:
        options: button texts.
        value: the chosen one; by default the first.
    """

    value = T.Unicode()

    def __init__(self, options, value: str | None = None):
        self._buttons = {name: W.ToggleButton(description=name, layout=W.Layout(width="auto")) for name in options}
        self._note = W.HTML(layout=W.Layout(width="300px", display="none"))
        self._wanted: str | None = None
        super().__init__([W.HBox(list(self._buttons.values())), self._note])
        self.observe(self._press, "value")
        for name, button in self._buttons.items():
            button.observe(lambda change, name=name: self._pressed(name, change["new"]), "value")
        self.value = value or next(iter(self._buttons))

    @T.validate("value")
    def _known(self, proposal):
        name = proposal["value"]
        if name not in self._buttons:
            raise ValueError(f"Expected one of {', '.join(self._buttons)}, got {name!r}.")
        if self._buttons[name].disabled:
            raise ValueError(f"{name.capitalize()} cannot be shown: {self._buttons[name].tooltip}")
        return name

    def _press(self, _) -> None:
        self._wanted = None
        for name, button in self._buttons.items():
            button.value = name == self.value

    def _pressed(self, name: str, on: bool) -> None:
        if on:
            self.value = name
        elif self.value == name:  # the chosen button stays down
            self._buttons[name].value = True

    def disable(self, reasons: Mapping[str, str]) -> None:
        """Disable exactly the options named, each with its reason.

        A chosen one gives way to the first left, and comes back when it can be shown again, unless another was chosen.
        """
        for name, button in self._buttons.items():
            button.tooltip = reasons.get(name, "")
        left = [name for name in self._buttons if name not in reasons]
        wanted = self._wanted or self.value
        if wanted in reasons and left:
            self._buttons[left[0]].disabled = False
            self.value = left[0]
            self._wanted = wanted
        elif self._wanted:
            self._buttons[wanted].disabled = False
            self.value = wanted
        for name, button in self._buttons.items():
            button.disabled = name in reasons
        self._note.value = _small(" ".join(dict.fromkeys(reasons.values())))
        self._note.layout.display = "" if reasons else "none"


class Panel(W.VBox):
    """Controls, a live picture, and a bar that trains; a subclass writes `build` and `draw`.

    Args:
        catalog: the stars, a `clearview.Catalog`; None disables training.
        fit: a `clearview.dynamics.MapFit` to begin with.
        config: a `clearview.MapConfig` for training; None takes its defaults.
        size: longer side of the plot, CSS pixels.
        threaded: False draws and trains at once in the calling thread, for scripts and tests.

    Attributes:
        controls: name to widget; `set` changes them by name.
        view: the `RasterView`.
        idle: set once the picture of the newest settings is drawn.
        training: the `Training`, for ``panel.training.wait()``.
    """

    tags: tuple[str, ...] = ()
    """The controls whose values become the picture's tag."""

    def __init__(self, catalog=None, fit=None, *, config=None, size: int = 480, threaded: bool = True):
        self._catalog: Any = catalog
        self._config, self._fit, self._partial = config, None, None
        self._texts: dict[str, str] = {}
        self._first, self._closed = threading.Event(), False
        self.view = RasterView(size)
        self.training = Training(self._on_progress, self._on_done, threaded=threaded)
        self._bar()
        self._adopt(fit)
        self.controls: dict[str, Any] = self.build()
        self._draws = Latest(self._draw, self._on_draw, threaded=threaded)
        self.idle = self._draws.idle
        left = W.VBox([*self.controls.values(), self._train_box], layout=W.Layout(width="316px", flex="none"))
        right = W.VBox(
            [W.HBox([self._badge], layout=W.Layout(min_height="26px")), self.view, self._status],
            layout=W.Layout(flex="none"),
        )
        super().__init__([W.HBox([left, right], layout=W.Layout(flex_flow="row wrap"))])
        for control in self.controls.values():
            control.observe(self._changed, "value")
        self.view.observe(self._draws, "range")
        self._refresh()

    # ---- what a subclass writes ----------------------------------------------------------------------------------

    def build(self) -> dict[str, Any]:
        """The controls by name, top to bottom; each has a ``value``."""
        raise NotImplementedError

    def draw(self, settings: Mapping[str, Any], detail: float) -> Any:
        """The picture of ``settings`` (as `settings` gives them); ``detail`` below 1 may be coarse.

        Returns:
            A HoloViews element, or a sentence that says why there is none.
        """
        raise NotImplementedError

    def update(self) -> None:
        """Show, hide and disable controls after a change of the controls, the catalogue or the fit."""

    def coarse(self, settings: Mapping[str, Any]) -> float:
        """The detail while a slider is dragged; 1 where the full picture is quick."""
        return 1.0

    def usable(self, fit) -> bool:
        """Whether this panel can show the fit."""
        return fit.has_potential

    def shows_fit(self) -> bool:
        """Whether the picture comes from the fit."""
        return self.fit is not None

    # ---- what one works with -------------------------------------------------------------------------------------

    @property
    def catalog(self):
        """The stars; another catalogue makes the fit stale, not wrong."""
        return self._catalog

    @catalog.setter
    def catalog(self, catalog):
        self._catalog = catalog
        self._refresh()

    @property
    def config(self):
        """The settings of the next training."""
        return self._config

    @config.setter
    def config(self, config):
        self._config = config
        self._refresh()

    @property
    def fit(self):
        """The fit that is shown, or None."""
        return self._fit

    @fit.setter
    def fit(self, fit):
        self._adopt(fit)
        self._refresh()

    @property
    def stale(self) -> str:
        """Why the fit does not belong to the catalogue or the settings; empty when it does."""
        fit = self._fit
        if fit is None:
            return ""
        if self._catalog is not None and self._catalog.digest() != fit.data_digest:
            return "the fit was trained on other stars"
        if self._config is not None and self._config != fit.config:
            return "the fit was trained with other settings"
        return ""

    @property
    def status(self) -> str:
        """What the status line says."""
        return " ".join(text for text in self._texts.values() if text)

    @property
    def settings(self) -> dict[str, Any]:
        """All controls by name, and ``range``: (x0, x1, y0, y1) of what is seen, or None for all."""
        values = {name: control.value for name, control in self.controls.items()}
        # A slider gives back 20.000000000000004 for 20.
        values = {k: round(v, 9) if isinstance(v, float) else v for k, v in values.items()}
        return {**values, "range": tuple(self.view.range) or None}

    def set(self, **controls) -> None:
        """Change controls by name, as if by hand.

        Raises:
            ValueError: for a name that is no control, or a value the control does not take.
        """
        for name, value in controls.items():
            if name not in self.controls:
                raise ValueError(f"Expected a control among {', '.join(self.controls)}, got {name!r}.")
            try:
                self.controls[name].value = value
            except T.TraitError as error:
                options = [o[1] if isinstance(o, tuple) else o for o in getattr(self.controls[name], "options", ())]
                among = f"one of {', '.join(map(str, options))}" if options else error
                raise ValueError(f"Expected for {name} {among}, got {value!r}.") from None

    def figure(self):
        """The picture of the present settings in full detail, a HoloViews element.

        Raises:
            ValueError: if there is nothing to draw, with the reason.
        """
        drawn = self.draw(self.settings, 1.0)
        if isinstance(drawn, str):
            raise ValueError(drawn)
        return drawn

    def train(self, *, resume: bool = True) -> None:
        """Train on the catalogue, or resume a cancelled training, in a thread; the picture follows when it is done.

        Args:
            resume: False begins anew even if a cancelled training could go on.

        Raises:
            ValueError: if there is no catalogue.
            RuntimeError: if a training runs already.
        """
        if self._catalog is None:
            raise ValueError("Expected a catalogue to train on, got none; set panel.catalog.")
        if self.training.running:
            raise RuntimeError("Expected no training under way, got one; cancel it or wait for its end.")
        catalog, config, partial = self._catalog, self._config, self._resumable() if resume else None
        job = dynamics().fit_map
        self._say("train", "")
        self._fraction.value, self._fraction.bar_style, self._stage.value = 0.0, "", _small("Starting …")
        kwargs = {"resume": partial} if partial is not None else {"config": config} if config is not None else {}
        self._go.disabled, self._stop.disabled = True, False
        self._anew.layout.display = "none"
        self.training.start(lambda report: job(catalog, on_progress=report, **kwargs))

    def cancel(self) -> None:
        """Stop a training at its next step; it can be resumed."""
        self.training.cancel()
        self._stop.disabled = True

    def save(self, path: str | Path | None = None, *, overwrite: bool | None = None) -> Path:
        """Save the fit, finished or not.

        Args:
            path: by default what the path box says.
            overwrite: replace a file that is there; by default what the box says.

        Raises:
            ValueError: if there is no fit or no path.
            FileExistsError: if the file is there and must not be replaced.
        """
        path, fit = self._path_of(path), self._partial or self._fit
        if fit is None:
            raise ValueError("Expected a fit to save, got none; train or load one first.")
        overwrite = self._overwrite.value if overwrite is None else overwrite
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} is already there; tick overwrite to replace it, or give another name.")
        dynamics().save_map(fit, path, overwrite=overwrite)
        what = (
            "" if self.usable(fit) else "Unfinished fit: " if fit.stopped == "cancelled" else "Fit without this map: "
        )
        self._say("file", f"{what}saved to {path}." if what else f"Saved to {path}.", error=False)
        return path

    def load(self, path: str | Path | None = None) -> None:
        """Show a saved fit; one that is not finished can be resumed.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if there is no path, or a training runs.
        """
        path = self._path_of(path)
        if self.training.running:
            raise ValueError("Expected no training under way, got one; cancel it before you load a fit.")
        if not path.exists():
            raise FileNotFoundError(f"Expected a saved fit at {path}, got no such file; correct the path.")
        self.fit = dynamics().load_map(path)
        self._say("file", f"Loaded {path}.", error=False)

    def close(self) -> None:
        """Cancel the training, end both threads and remove the widgets."""
        if self._closed:
            return
        self._closed = True
        self.training.close()
        self._draws.close()
        for child in self.children:
            _close_all(child)
        super().close()

    # ---- drawing -------------------------------------------------------------------------------------------------

    def _changed(self, _) -> None:
        self.update()
        self._show_badge()
        self._draws()

    def _refresh(self) -> None:
        """After a change of catalogue, config or fit."""
        self.update()
        self._show_buttons()
        self._show_badge()
        self._draws()

    def _draw(self, dragging: bool) -> bool:
        settings = self.settings
        detail = self.coarse(settings) if dragging else 1.0
        drawn = self.draw(settings, detail)
        if isinstance(drawn, str):
            self.view.clear(drawn)
            detail = 1.0
        else:
            self.view.show(drawn, " ".join(_text(settings[name]) for name in self.tags), detail=detail)
        return detail == 1.0

    def _on_draw(self, error: Exception | None) -> None:
        self._say("draw", error)
        self._first.set()

    def _home(self) -> None:
        """Show everything again, when the axes change."""
        self.view.range = []

    # ---- the train bar -------------------------------------------------------------------------------------------

    def _bar(self) -> None:
        def button(text: str) -> W.Button:  # a layout of its own: who hides one button must not hide all
            return W.Button(description=text, layout=W.Layout(width="auto", min_width="84px"))

        self._go, self._stop = button("Train"), button("Cancel")
        self._fraction = W.FloatProgress(min=0, max=1, layout=W.Layout(width="300px"))
        self._stage, self._status, self._badge = W.HTML(), W.HTML(), W.HTML()
        self.loss = RasterView(234, 130, name="cv-loss")
        self.loss.layout.display = "none"
        self._path = W.Text(
            placeholder="path of the fit", description="File", value="fit.clearview", continuous_update=False, **wide()
        )
        self._save, self._load = button("Save"), button("Load")
        self._overwrite = W.Checkbox(description="overwrite", indent=False, layout=W.Layout(width="100px"))
        self._stop.disabled = True
        self._anew = button("Start over")
        self._anew.layout.display = "none"
        self._anew.on_click(lambda _: self._guard("train", lambda: self.train(resume=False)))
        self._go.on_click(lambda _: self._guard("train", self.train))
        self._stop.on_click(lambda _: self._guard("train", self.cancel))
        self._save.on_click(lambda _: self._guard("file", self.save))
        self._load.on_click(lambda _: self._guard("file", self.load))
        rows = [
            W.HBox([self._go, self._stop, self._anew]), self._fraction, self._stage, self.loss,
            self._path, W.HBox([self._save, self._load, self._overwrite]),
        ]  # fmt: skip
        line = "1px solid var(--jp-border-color2, #8884)"
        self._train_box = W.VBox(rows, layout=W.Layout(border_top=line, margin="8px 0 0 0", padding="6px 0 0 0"))

    def _on_progress(self, progress) -> None:
        self._fraction.value = progress.fraction
        left = "" if progress.remaining is None else f", {_duration(progress.remaining)} left"
        self._stage.value = _small(f"{progress.stage.capitalize()}: {100 * progress.fraction:.0f} %{left}")
        self._show_loss(progress.history)

    def _show_loss(self, history) -> None:
        if history is not None and len(history):
            self.loss.layout.display = ""
            self.loss.show(loss_curve(history), n=len(history))

    def _on_done(self, fit, error: Exception | None) -> None:
        if error is not None:
            self._say("train", error)
            self._fraction.bar_style, self._stage.value = "danger", _small("Training failed.")
        else:
            self._show_loss(fit.history)
            done = fit.stopped == "finished"
            self._fraction.bar_style = "success" if done else "danger" if fit.stopped == "diverged" else "warning"
            self._stage.value = _small(fit.message)
            if fit.stopped == "diverged":
                self._partial = None  # to resume it would only diverge again
                self._say("train", ValueError(fit.message))
            else:
                self._fraction.value = 1.0 if done else self._fraction.value
                self._adopt(fit)
        self._refresh()

    def _adopt(self, fit) -> None:
        """A fit is shown if it can be; else it waits to be resumed or saved, and the one before stays on the screen."""
        shown = fit is None or self.usable(fit)
        self._partial = None if fit is None or (shown and fit.stopped != "cancelled") else fit
        if shown:
            self._fit = fit
        elif fit is not None and fit.stopped != "cancelled":
            self._say("train", "This fit has nothing that this panel shows; save it, or open it in another panel.")

    def _resumable(self):
        """The cancelled fit, if it is of these stars and settings."""
        fit: Any = self._partial
        if fit is None or fit.stopped != "cancelled" or self._catalog is None:
            return None
        if fit.data_digest != self._catalog.digest():
            return None
        return fit if self._config is None or fit.config == self._config else None

    def _show_buttons(self) -> None:
        running, nothing = self.training.running, self._fit is None and self._partial is None
        resumable = self._resumable() is not None
        self._go.description = "Resume" if resumable else "Train"
        self._anew.layout.display = "" if resumable and not running else "none"
        self._go.disabled = running or self._catalog is None
        self._stop.disabled, self._save.disabled, self._load.disabled = not running, nothing, running
        self._go.tooltip = "Training needs a catalogue of stars." if self._catalog is None else ""
        self._stop.tooltip = "" if running else "No training runs."
        self._save.tooltip = "There is no fit to save yet." if nothing else ""
        self._load.tooltip = "Cancel the training first." if running else ""
        if self._catalog is None:
            self._stage.value = _small("Training needs a catalogue of stars.")

    def _show_badge(self) -> None:
        why = self.stale if self.shows_fit() else ""
        style = "background:#b35900;color:#fff;border-radius:3px;padding:1px 6px;font-weight:600"
        self._badge.value = f'<span class="cv-stale" style="{style}">stale</span> {_small(why, "span")}' if why else ""

    def _guard(self, slot: str, action) -> None:
        """A button's work: what a method raises, the status line says."""
        self._say(slot, "")
        try:
            action()
        except Exception as error:
            self._say(slot, error)

    def _say(self, slot: str, what: "Exception | str | None", *, error: bool = True) -> None:
        text = _sentence(what) if isinstance(what, Exception) else what or ""
        if self._texts.get(slot, "") == text:
            return
        self._texts[slot] = text
        colour = "var(--jp-error-color1, #c62828)" if error and isinstance(what, Exception) else "inherit"
        self._status.value = f'<span class="cv-status" style="color:{colour}">{html.escape(self.status)}</span>'

    def _path_of(self, path) -> Path:
        path = str(path if path is not None else self._path.value).strip()
        if not path:
            raise ValueError("Expected a path, got an empty one; write it in the box or pass it.")
        return Path(path).expanduser()

    def _repr_mimebundle_(self, **kwargs):
        self._first.wait(20)  # so that the saved notebook has a picture
        return with_png(super()._repr_mimebundle_(**kwargs), self.view)


def _close_all(widget) -> None:
    for child in getattr(widget, "children", ()):
        _close_all(child)
    widget.close()


def _small(text: str, tag: str = "div") -> str:
    style = "line-height:1.4;font-size:12px;color:var(--jp-ui-font-color1, inherit)"
    return f'<{tag} style="{style}">{html.escape(text)}</{tag}>' if text else ""


def _text(value) -> str:
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)


def _sentence(error: Exception) -> str:
    """One sentence about an error; our own errors are one already."""
    text = str(error).strip().splitlines()[0][:400] if str(error).strip() else "no further word"
    ours = isinstance(error, ValueError | FileExistsError | FileNotFoundError | RuntimeError | TypeError)
    return text if ours and " " in text else f"{type(error).__name__}: {text}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
