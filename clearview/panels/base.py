"""What all panels share: controls, one drawing thread, one view, and the bar that trains."""

import html
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import holoviews as hv
import ipywidgets as W
import numpy as np
import traitlets as T

from clearview.catalogs import Catalog
from clearview.checks import a, shown
from clearview.figures import data_of, save_figure
from clearview.panels.columns import learnt
from clearview.panels.controls import guarded, sentence, small
from clearview.panels.share import ShareBar, code_of, save_data
from clearview.panels.train import TRAINING, Learner, TrainBar, Work
from clearview.panels.view import RasterView, with_png
from clearview.panels.worker import Latest, Overtaken, Training


def dynamics():
    """`clearview.dynamics`, loaded when first used: JAX takes a second."""
    return import_module("clearview.dynamics")


def flows():
    """`clearview.flows`, loaded when first used."""
    return import_module("clearview.flows")


def truth_of(catalog):
    """The truth behind a mock catalogue, else None."""
    return None if catalog is None else import_module("clearview.mocks").truth_of(catalog)


class Panel(W.VBox):
    """Controls, a live picture, and a bar that trains; a subclass writes `build` and `draw`.

    Args:
        catalog: the stars, a `clearview.Catalog`; None disables training.
        fit: a fit to begin with, of the kind that `learner` trains.
        config: the settings for training; None takes the defaults.
        size: longer side of the plot, CSS pixels.
        threaded: False draws and trains at once in the calling thread, for scripts and tests.

    Attributes:
        controls: name to widget; `set` changes them by name.
        view: the `RasterView`.
        views: all that pan and zoom by themselves; `build` may add to the first.
        bar: the `TrainBar`.
        share: the `ShareBar`, which saves pictures and data and copies code.
        at_first: the settings to begin with.
        below: widgets under the view, which `build` may set.
        idle: set once the picture of the newest settings is drawn.
        refreshed: goes up with every change of the catalogue, the config or the fit.
    """

    refreshed = T.Int()

    tags: tuple[str, ...] = ()
    """The controls whose values become the picture's tag."""

    given: ClassVar[Mapping[str, str]] = {}
    """Arguments beside stars and fit that code has to pass, and the attributes that keep them."""
    told: tuple[str, ...] = ()
    """Controls that code always sets, since a call may begin with others than the defaults."""

    work: ClassVar[Work] = TRAINING
    """What its bar does."""

    _closed = True  # until it is built

    def __init__(self, catalog=None, fit=None, *, config=None, size: int = 480, threaded: bool = True):
        a(catalog, (Catalog, type(None)), "a Catalog")
        if config is not None and (isinstance(config, type) or not is_dataclass(config)):
            raise TypeError(f"Expected a config such as MapConfig(), got {shown(config)}; pass one.")
        self._texts: dict[str, str] = {}
        self._first, self._whole = threading.Event(), False
        # One thread at a time changes controls; what it changes on the way is one change.
        self._lock, self._settling, self._again = threading.RLock(), False, False
        self._status, self._badge = W.HTML(), W.HTML()
        self.view = RasterView(size)
        self.views: tuple[RasterView, ...] = (self.view,)
        self.below: tuple[W.Widget, ...] = ()
        self.bar = TrainBar(
            catalog, config, learner=self.learner, usable=self.usable, changed=self._refresh, say=self._say,
            threaded=threaded, work=self.work,
        )  # fmt: skip
        self.share = ShareBar(self)
        self.bar.adopt(fit)
        self.controls: dict[str, Any] = self.build()
        self._draws = Latest(self._draw, self._on_draw, threaded=threaded)
        self.idle = self._draws.idle
        super().__init__([self.arrange()])
        self.add_class("cv-panel")  # view.js keeps its keys from the notebook
        self._closed = False
        for control in self.controls.values():
            control.observe(self._changed, "value")
        for view in self.views:
            view.observe(self._seen, "range")
        self._refresh()
        self.at_first = self.settings

    # ---- what a subclass writes ----------------------------------------------------------------------------------

    def build(self) -> dict[str, Any]:
        """The controls by name, top to bottom; each has a ``value``."""
        raise NotImplementedError

    def arrange(self) -> W.Widget:
        """Where everything stands: the controls and the bar at the left, the rest at the right."""
        left = W.VBox([*self.controls.values(), self.bar, self.share], layout=W.Layout(width="316px", flex="none"))
        right = W.VBox(
            [W.HBox([self._badge], layout=W.Layout(min_height="26px")), *self.views, *self.below, self._status],
            layout=W.Layout(flex="none"),
        )
        # where there is no room beside the controls, the picture stands above them
        return W.HBox([left, right], layout=W.Layout(flex_flow="row wrap-reverse"))

    def in_columns(self, left: Sequence[W.Widget], beside: int = 158) -> W.Widget:
        """Controls on the left, and the views in two columns where there is room, with what stands below them.

        ``beside`` are the pixels beside a picture, for its axis and colour bar.
        """
        wide = self.view.width + beside
        columns = W.Layout(grid_template_columns=f"repeat(auto-fill, {wide}px)", max_width=f"{2 * wide}px")
        right = W.VBox(
            [W.HBox([self._badge], layout=W.Layout(min_height="26px")), W.GridBox(self.views, layout=columns),
             *self.below, self._status],
            layout=W.Layout(flex="1 1 0", min_width=f"{wide}px", max_width=f"{2 * wide}px"),
        )  # fmt: skip
        controls = W.VBox(list(left), layout=W.Layout(width="316px", flex="none"))
        return W.HBox([controls, right], layout=W.Layout(flex_flow="row wrap-reverse"))

    def draw(self, settings: Mapping[str, Any], detail: float) -> Any:
        """The picture of ``settings`` (as `settings` gives them); ``detail`` below 1 may be coarse.

        Returns:
            A HoloViews element, or a layout of one for each of `views`, or an iterator over the first of these, which
            are shown one by one as they are made, or a sentence that says why there is none.
        """
        raise NotImplementedError

    def beside(self, settings: Mapping[str, Any]) -> None:
        """Draw what is in `below`; done at rest only, after the picture in full detail."""

    def update(self) -> None:
        """Show, hide and disable controls after a change of the controls, the catalogue or the fit.

        What it changes itself is no new change: one draw follows in the end. It is called again until it changes
        nothing more.
        """

    def coarse(self, settings: Mapping[str, Any]) -> float:
        """The detail while a slider is dragged; 1 where the full picture is quick."""
        return 1.0

    def learner(self) -> Learner | str:
        """What is trained, saved and loaded, by default the map of the Galaxy; a sentence where nothing can be."""
        return Learner(
            lambda *args, **kwargs: dynamics().fit_map(*args, **kwargs),
            lambda *args, **kwargs: dynamics().save_fit(*args, **kwargs),
            lambda path: dynamics().load_fit(path),
            defaults=lambda: dynamics().MapConfig(),
            estimate=lambda stars, config: dynamics().estimate_seconds(stars, config),
        )

    def usable(self, fit) -> bool:
        """Whether this panel can show the fit.

        Raises:
            ValueError: if it is a fit of another kind.
        """
        if names := learnt(fit):
            raise ValueError(f"Expected a map of f(x, v), got a flow of {', '.join(names)}; show it in a "
                             "PhaseSpacePanel.")  # fmt: skip
        return fit.has_potential

    def shows_fit(self) -> bool:
        """Whether the picture comes from the fit."""
        return self.fit is not None

    # ---- what one works with -------------------------------------------------------------------------------------

    @property
    def catalog(self):
        """The stars; another catalogue makes the fit stale, not wrong."""
        return self.bar.catalog

    @catalog.setter
    def catalog(self, catalog):
        self.bar.catalog = catalog
        self._refresh()

    @property
    def config(self):
        """The settings of the next training."""
        return self.bar.config

    @config.setter
    def config(self, config):
        self.bar.config = config
        self._refresh()

    @property
    def fit(self):
        """The fit that is shown, or None."""
        return self.bar.fit

    @fit.setter
    def fit(self, fit):
        self.bar.adopt(fit)
        self._refresh()

    @property
    def runs(self) -> dict[str, Any]:
        """The finished fits of this session by name, at most eight; ``panel.fit = panel.runs[name]`` shows one."""
        return self.bar.runs

    @property
    def estimate(self) -> float | None:
        """Roughly how many seconds the next training takes; None as long as that is not known."""
        return self.bar.estimate

    @property
    def training(self) -> Training:
        """The training, for ``panel.training.wait()``."""
        return self.bar.training

    @property
    def busy(self) -> bool:
        """Whether something long runs."""
        return self.training.running

    @property
    def loss(self) -> RasterView:
        """The view of the loss curve."""
        return self.bar.loss

    @property
    def stale(self) -> str:
        """Why the fit does not belong to the catalogue or the settings; empty when it does."""
        return self.bar.stale

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
        """Change controls by name, one after the other, as if by hand, and draw once.

        Raises:
            ValueError: for a name that is no control, or a value the control does not take; what stands before it is
                set.
        """
        with self._lock:
            outer, self._settling = self._settling, True
            try:
                for name, value in controls.items():
                    self._set(name, value)
                    self._settle()  # the limits of the next control may follow from this one
            finally:
                self._settling = outer
        self._changed()

    def _set(self, name: str, value) -> None:
        if name not in self.controls:
            raise ValueError(f"Expected a control among {', '.join(self.controls)}, got {name!r}; choose one.")
        control = self.controls[name]
        try:
            control.value = value
        except T.TraitError:
            options = [o[1] if isinstance(o, tuple) else o for o in getattr(control, "options", ())]
            kind = type(control.value).__name__
            among = f"one of {', '.join(map(str, options))}" if options else f"a value of type {kind}"
            raise ValueError(f"Expected for {name} {among}, got {value!r}; correct it.") from None
        if isinstance(control, W.FloatSlider) and control.value != value:  # a slider takes its limit in silence
            raise ValueError(
                f"Expected for {name} a number from {control.min:g} to {control.max:g}, got {value:g}; correct it."
            )

    def figure(self):
        """The picture of the present settings in full detail, a HoloViews element.

        Raises:
            ValueError: if there is nothing to draw, with the reason.
        """
        drawn = self.draw(self.settings, 1.0)
        if isinstance(drawn, str):
            raise ValueError(drawn)
        return hv.Layout(list(drawn)).cols(2) if isinstance(drawn, Iterator) else drawn

    def data(self):
        """The numbers behind the picture in full detail: a field, or a table of curves.

        Raises:
            ValueError: if there is nothing to draw, with the reason.
        """
        return data_of(self.figure())

    def save_figure(self, path: str | Path, *, overwrite: bool = False, dpi: int = 150) -> None:
        """Save what is on the screen, in full detail, as .png, .svg or .pdf.

        Raises:
            FileExistsError: if the file is there and must not be replaced.
            ValueError: for another ending, or if there is nothing to draw.
        """
        save_figure(self.figure(), path, overwrite=overwrite, dpi=dpi)

    def save_data(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Save the numbers behind the picture as .nc, .fits or .csv.

        Raises:
            FileExistsError: if the file is there and must not be replaced.
            ValueError: for another ending, or if there is nothing to draw.
        """
        save_data(self.data(), path, overwrite=overwrite)

    def code(self) -> str:
        """A few lines that make this picture in a script."""
        return code_of(self)

    def train(self, *, resume: bool = True) -> None:
        """Train on the catalogue, or resume a paused training, in a thread; the picture follows when it is done.

        Args:
            resume: False begins anew even if a paused training could go on.

        Raises:
            ValueError: if there is no catalogue, or nothing in it that can be learnt.
            RuntimeError: if a training runs already.
        """
        self.bar.train(resume=resume)

    def pause(self) -> None:
        """Stop a training at its next step; it can be resumed, or saved."""
        self.bar.pause()

    def cancel(self) -> None:
        """Stop a training, or give up one that waits to be resumed, and drop it; the picture before comes back."""
        self.bar.cancel()

    def save(self, path: str | Path | None = None, *, overwrite: bool | None = None) -> Path:
        """Save the fit, finished or not.

        Args:
            path: by default what the path box says.
            overwrite: replace a file that is there; by default what the box says.

        Raises:
            ValueError: if there is no fit or no path.
            FileExistsError: if the file is there and must not be replaced.
        """
        return self.bar.save(path, overwrite=overwrite)

    def load(self, path: str | Path | None = None) -> None:
        """Show a saved fit; one that is not finished can be resumed.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if there is no path, a training runs, or the file holds another kind of fit.
        """
        self.bar.load(path)

    def close(self) -> None:
        """Cancel the training, end both threads and remove the widgets."""
        if self._closed:
            return
        self._closed = True
        self.training.close()
        self._draws.close()
        for part in _held(self):
            close_all(part)
        super().close()

    # ---- changes and drawing -------------------------------------------------------------------------------------

    def _changed(self, _=None) -> None:
        """After a change of a control."""
        with self._lock:
            self._again = True
            if self._settling:
                return
            self._settling = True
            try:
                self._settle()
            finally:
                self._settling = False
            self._show_badge()
        self._draws()

    def _settle(self) -> None:
        for _ in range(5):  # more would be a quarrel of two controls
            self._again = False
            self.update()
            if not self._again:
                return

    def show(self, shown: bool = True) -> None:
        """Draw only while shown: a panel in a hidden tab waits until it is seen again."""
        self._draws.pause(not shown)

    def _seen(self, _) -> None:
        """After a pan or zoom."""
        with self._lock:
            if self._settling:  # one draw follows anyway
                return
        self._draws()

    def _refresh(self) -> None:
        """After a change of catalogue, config or fit."""
        self.bar.refresh()
        self._changed()
        self.refreshed += 1

    def _draw(self, dragging: bool) -> bool:
        with self._lock:
            settings = self.settings
        if dragging or not self._whole:  # a picture that was drawn whole while dragging stays
            self._whole = False
            detail = self.coarse(settings) if dragging else 1.0
            try:
                drawn = self.draw(settings, detail)
            except Overtaken:
                return False
            if isinstance(drawn, str):
                for view in self.views:
                    view.clear(drawn)
                detail = 1.0
            else:
                tag = " ".join(_text(settings[name]) for name in self.tags)
                one_by_one = isinstance(drawn, Iterator)
                elements = drawn if one_by_one or isinstance(drawn, hv.Layout) else [drawn]
                for view, element in zip(self.views, elements, strict=not one_by_one):
                    view.show(element, tag, detail=detail)
            self._whole = dragging and detail == 1.0
        if dragging:
            return self._whole and not self.below
        self._whole = False
        self.beside(settings)
        return True

    def _on_draw(self, error: Exception | None) -> None:
        self._say("draw", error)
        if error is not None:  # the picture before is not of these settings
            for view in self.views:
                view.clear(sentence(error))
        self._first.set()

    def _home(self) -> None:
        """Show everything again, when the axes change."""
        for view in self.views:
            view.range = []

    def guard(self, slot: str, action) -> None:
        """A button's work: what a method raises, the status line says."""
        guarded(self._say, slot, action)

    def tell(self, slot: str, text: str) -> None:
        """Put a sentence into the status line, in the place of the last one of its slot."""
        self._say(slot, text, error=False)

    # ---- words ---------------------------------------------------------------------------------------------------

    def _show_badge(self) -> None:
        word, why = self.bar.badge if self.shows_fit() else ("", "")
        colour = {"stale": "#b35900", "preview": "#1c62b9"}.get(word, "")
        style = f"background:{colour};color:#fff;border-radius:3px;padding:1px 6px;font-weight:600"
        self._badge.value = word and f'<span class="cv-{word}" style="{style}">{word}</span> {small(why, "span")}'

    def _say(self, slot: str, what: "Exception | str | None", *, error: bool = True) -> None:
        text = sentence(what) if isinstance(what, Exception) else what or ""
        if self._texts.get(slot, "") == text:
            return
        self._texts[slot] = text
        colour = "var(--jp-error-color1, #c62828)" if error and isinstance(what, Exception) else "inherit"
        self._status.value = f'<span class="cv-status" style="color:{colour}">{html.escape(self.status)}</span>'

    def _repr_mimebundle_(self, **kwargs):
        self._first.wait(20)  # so that the saved notebook has a picture
        return with_png(super()._repr_mimebundle_(**kwargs), *self.views)


def close_all(widget: W.Widget) -> None:
    """Close a widget and all that it holds; ipywidgets would keep each of them, with its layout, as long as it runs."""
    for part in _held(widget):
        close_all(part)
    widget.close()


def _held(widget: W.Widget) -> list[W.Widget]:
    """Children, layout and style."""
    values = [getattr(widget, name) for name in widget.keys]
    return [k for v in values for k in (v if isinstance(v, list | tuple) else [v]) if isinstance(k, W.Widget)]


def _text(value) -> str:
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)
