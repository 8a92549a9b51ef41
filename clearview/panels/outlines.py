"""Boxes and lassos under the hand: how views make the selection that they share, and its buttons."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import holoviews as hv
import ipywidgets as W
import numpy as np
import xarray as xr

from clearview.field import Axis
from clearview.figures import limits_of, slice_image, star_points
from clearview.panels import base
from clearview.panels.columns import DOWNWARDS
from clearview.panels.compare import Window, near
from clearview.panels.controls import button
from clearview.panels.selection import Selection
from clearview.panels.view import RasterView


class Outlines:
    """Boxes and lassos drawn in views become the selection; only the outline drawn last stays on a screen.

    Args:
        selection: what they are to change.
        changed: called after every change of it, from whichever view.
        say: gets the exception of an outline that was refused, else None.
    """

    def __init__(self, selection: Selection, changed: Callable[[], Any], say: Callable[[Exception | None], Any]):
        self.selection, self._changed, self._say = selection, changed, say
        self._views: list[RasterView] = []
        self._last: dict[str, Any] = {}
        self._erasing = threading.local()
        selection.observe(self._heard, "changes")

    def add(self, view: RasterView, what: Callable[[], tuple[Sequence[str], Sequence[Window]]]) -> None:
        """Take the outlines of a view; ``what()`` gives its two columns and the windows of its stars."""
        view.tools = ["box", "lasso"]
        view.observe(lambda change: self._drawn(view, change["new"], *what()), "selection")
        self._views.append(view)

    def _drawn(self, view, drawn, names, windows) -> None:
        if getattr(self._erasing, "now", False):
            return
        try:
            if not drawn:
                self.selection.clear()
            else:
                kind, op, xy = drawn.get("kind", "lasso"), drawn.get("op", "replace"), drawn["xy"]
                # A box that grows under the hand keeps the corner where it began.
                last, self._last = self._last, {"view": view, "kind": kind, "op": op, "xy": xy}
                corners = [set(zip(k[::2], k[1::2], strict=False)) for k in (xy, last.get("xy", ()))]
                same = all(last.get(k) == self._last[k] for k in ("view", "kind", "op"))
                again = same and self.selection.by is view and kind == "box" and bool(corners[0] & corners[1])
                self.selection.choose(names, xy, op, windows=windows, kind=kind, again=again, by=view)
            self._say(None)
        except ValueError as error:
            self._say(error)

    def _heard(self, _) -> None:
        for view in self._views:
            if view is not self.selection.by:
                self.erase(view)
        self._changed()

    def erase(self, view: RasterView) -> None:
        """Take an outline away, without a change of the selection."""
        self._erasing.now = True
        try:
            view.selection = {}
        finally:
            self._erasing.now = False

    def close(self) -> None:
        """Hear no more of the selection."""
        self.selection.unobserve(self._heard, "changes")


class SelectionBar(W.HBox):
    """The number of stars selected, and buttons for what outlines cannot do.

    Args:
        selection: of the stars.

    Attributes:
        words: the number in words.
    """

    def __init__(self, selection: Selection):
        self._selection, self._text = selection, W.HTML(layout=W.Layout(margin="2px 8px"))
        self.clear, self.invert, self.keep, self.all = map(button, ("Clear", "Invert", "Keep only these", "All stars"))
        for widget, name in (
            (self.clear, "clear"),
            (self.invert, "invert"),
            (self.keep, "keep"),
            (self.all, "restore"),
        ):
            widget.on_click(lambda _, name=name: getattr(selection, name)())
        self.keep.tooltip = "Show and use the selected stars only."
        layout = W.Layout(flex_flow="row wrap", align_items="center")
        super().__init__([self.clear, self.invert, self.keep, self.all, self._text], layout=layout)
        selection.observe(self._show, "changes")
        self._show()

    @property
    def words(self) -> str:
        number, total, origin = self._selection.number, len(self._selection.columns), self._selection.origin
        of = f"{total:,} stars" if origin is None else f"{total:,} kept stars (of {len(origin):,})"
        if self._selection.mask is None:
            return f"{of}; draw a box or a lasso to select some"
        return f"{number:,} of {of} selected"

    def _show(self, _=None) -> None:
        selection = self._selection
        self._text.value = f'<span class="cv-selected" role="status">{self.words}</span>'
        self.clear.disabled, self.invert.disabled = selection.mask is None, not len(selection.columns)
        self.keep.disabled = not selection.number
        self.all.layout.display = "none" if selection.origin is None else ""

    def close(self) -> None:
        if self.children:  # a widget is closed once more when it is thrown away
            self._selection.unobserve(self._show, "changes")
            self.children = ()
        super().close()


class SelectingPanel(base.Panel):
    """A panel in whose views stars are selected.

    Args:
        catalog: the stars.
        *args: as `Panel` takes them.
        selection: the `Selection` to share with other panels; by default one of its own.
        **kwargs: as `Panel` takes them.

    Attributes:
        selection: the `Selection`.
        selecting: its `SelectionBar`.
    """

    def __init__(self, catalog=None, *args, selection: Selection | None = None, **kwargs):
        self.selection = Selection(catalog) if selection is None else selection
        self.selecting = SelectionBar(self.selection)
        self.outlines = Outlines(self.selection, self._chosen, lambda error: self._say("select", error))
        super().__init__(catalog, *args, **kwargs)

    @property
    def selected(self):
        """The selected stars, a `clearview.Catalog`.

        Raises:
            ValueError: if no star is selected.
        """
        return self.selection.catalog

    def update(self) -> None:
        if self.selection.source is not self.catalog:
            self.selection.reset(self.catalog)

    def _chosen(self) -> None:
        if self._closed:
            return
        if self.selection.source is not self.catalog:  # kept, or brought back, here or in another panel
            self.catalog = self.selection.source
        else:
            self._seen(None)

    def close(self) -> None:
        if not self._closed:
            self.outlines.close()
        super().close()


def chosen_image(counts: xr.DataArray, found: np.ndarray | None, label: str = "") -> Any:
    """Counts of stars, under those of the selected ones where there is a selection.

    Args:
        counts: of all stars.
        found: of the selected ones in the same cells; None without a selection.
        label: the title.

    Returns:
        A HoloViews image, or an overlay of two: all stars in grey below, the selected ones in colour above.
    """
    if found is None:
        return slice_image(counts, scale="log", label=label)
    low, high = limits_of(counts.values, "log")
    # Only the middle of the greys, which stands out on light and on dark pages.
    wide = (high / low) ** 3
    below = slice_image(counts, scale="log", limits=(low / wide, high * wide), cmap="Greys")
    selected = counts.copy(data=found).rename("selected").assign_attrs(long_name="selected")
    # Reds, as no grey is taken for them, however few they are.
    return below * slice_image(selected, scale="log", cmap="YlOrRd_r", label=label)


def chosen_points(stars, found, axes: Sequence[Axis], label: str = "") -> hv.Overlay:
    """The same for stars so few that each is a point.

    Args:
        stars: the two (N,) coordinates of all.
        found: those of the selected ones; None without a selection.
        axes: both axes.
        label: the title.
    """
    layers: list[Any] = []
    for (x, y), words in ((stars, ""), *([] if found is None else [(found, "selected")])):
        inside = near(x, y, axes)
        layers.extend(k.relabel(words) for k in star_points(x[inside], y[inside], axes, reverse=DOWNWARDS))
    return hv.Overlay(layers, label=label)
