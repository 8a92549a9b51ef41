"""One catalogue in several views at once: stars selected in one are lit up in all."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import holoviews as hv
import ipywidgets as W
import numpy as np

from clearview.checks import a, texts
from clearview.figures import count_field
from clearview.panels.columns import MOTIONS, Columns, turned
from clearview.panels.compare import FEW, cells, seen
from clearview.panels.outlines import SelectingPanel, chosen_image, chosen_points
from clearview.panels.selection import Selection, inside
from clearview.panels.view import RasterView

VIEWS = (
    (("phi1", "phi2"), ("lon", "lat"), ("l", "b"), ("ra", "dec")),
    MOTIONS[::-1],
    (("bp_rp", "M_G"), ("bp_rp", "phot_g_mean_mag"), ("ps1_g_i", "ps1_g")),
    (("x", "y"),),
    (("R", "z"),),
    (("vR", "vphi"),),
    (("vx", "vy"),),
)
"""Sky, proper motion, colour and magnitude, position from above and from the side, velocities: of each the first."""

MOST = 4
"""Views that have room."""


class StarsPanel(SelectingPanel):
    """Up to four linked views of one catalogue, with a box and a lasso in each.

    Each view zooms and pans by itself. What is selected in one is lit up in all, over all stars in grey.

    Args:
        catalog: the stars, a `clearview.Catalog`.
        selection: the `Selection` to share with other panels; by default one of its own.
        views: pairs of columns to show; by default what there is of sky, proper motion, colour and magnitude, position
            and velocity, up to four.
        size: longer side of each plot, CSS pixels.
        threaded: False draws at once in the calling thread.

    Raises:
        ValueError: for a column that the catalogue does not have, or if there is nothing to show.
    """

    given: ClassVar = {"views": "pairs"}

    def __init__(
        self, catalog, *, selection: Selection | None = None, views: Sequence[Sequence[str]] | None = None,
        size: int = 300, threaded: bool = True,
    ):  # fmt: skip
        selection = Selection(catalog) if selection is None else selection
        a(selection, Selection, "a Selection")
        known = selection.columns.units
        self.pairs = (
            pairs_of(known) if views is None else [tuple(texts("a view", k)) for k in a(views, Sequence, "views")]
        )
        if not self.pairs or not all(len(pair) == 2 and set(pair) <= set(known) for pair in self.pairs):
            raise ValueError(f"Expected pairs among {', '.join(known) or 'columns with units'}, got {self.pairs}; "
                             "pass views=[(x, y), ...].")  # fmt: skip
        self._shown: list[Any] = [None] * len(self.pairs)
        self._counted: list[Any] = [(None, None)] * len(self.pairs)
        self._turns = list(range(len(self.pairs)))
        super().__init__(catalog, selection=selection, size=size, threaded=threaded)

    def build(self) -> dict[str, Any]:
        self.views = (self.view, *(RasterView(self.view.width) for _ in self.pairs[1:]))
        for i, (view, pair) in enumerate(zip(self.views, self.pairs, strict=True)):
            view.observe(lambda _, i=i: self._first_is(i), ["range", "selection"])  # before it asks for a picture
            self.outlines.add(view, lambda pair=pair: (pair, ()))
        return {}

    def arrange(self) -> W.Widget:
        wide = self.view.width + 190
        # two columns, one where there is no room for two
        columns = W.Layout(grid_template_columns=f"repeat(auto-fill, {wide}px)", max_width=f"{2 * wide}px")
        grid = W.GridBox(self.views, layout=columns)
        self.bar.layout.display = "none"  # nothing is learnt
        return W.VBox([self.selecting, self._badge, grid, self._status, self.bar, self.share])

    def learner(self) -> str:
        return "Nothing is learnt here; train in another panel."

    def usable(self, fit) -> bool:
        return False

    def draw(self, settings: Mapping[str, Any], detail: float):
        return hv.Layout([self._picture(i) for i in range(len(self.views))]).cols(2)

    def _first_is(self, i: int) -> None:
        self._turns = [i, *(k for k in self._turns if k != i)]

    def _draw(self, dragging: bool) -> bool:
        done = 0
        for i in self._turns:
            state = self.selection.columns, tuple(self.views[i].range), self.selection.changes
            if state == self._shown[i]:
                continue
            if done > 1 and self._draws.waiting:  # the one under the hand, and another in turn
                return False
            try:
                element = self._picture(i)
            except KeyError:
                self.views[i].clear(f"This catalogue has not both of {' and '.join(self.pairs[i])}.")
            else:
                self.views[i].show(element, f"{' '.join(self.pairs[i])} {self.selection.number}")
            self._shown[i], done = state, done + 1
            self._turns = [*(k for k in self._turns if k != i), i]
        inside(
            np.zeros(1, np.float32), np.zeros(1, np.float32), [0, 0, 1, 0, 0, 1]
        )  # compiled now, not at the first lasso
        return True

    def _picture(self, i: int):
        selection, columns, names = self.selection, self.selection.columns, self.pairs[i]
        x, y = columns[names[0]], columns[names[1]]
        axes = columns.axes(names, self.views[i].range)
        n, few = seen(x, y, axes)
        if few is not None and n < FEW:
            mask = selection.mask
            return chosen_points((x, y), None if mask is None else (x[mask], y[mask]), axes)
        axes = cells(axes, n / 3, self.view.width)
        counts = self._count(i, columns, axes)
        if selection.mask is None:
            return chosen_image(counts, None)
        rows, others = selection.fewer()
        found = count_field(x.take(rows), y.take(rows), axes).values
        return chosen_image(counts, counts.values - found if others else found)

    def _count(self, i: int, columns: Columns, axes):
        """All stars of a view, counted anew only for other cells."""
        of, counts = self._counted[i]
        if of != (columns, axes):
            x, y = axes
            counts = turned(count_field(columns[x.name], columns[y.name], axes))
            self._counted[i] = (columns, axes), counts
        return counts


def pairs_of(known) -> list[tuple[str, str]]:
    """What is shown of such columns."""
    found = (next((pair for pair in pairs if set(pair) <= set(known)), None) for pairs in VIEWS)
    return [pair for pair in found if pair is not None][:MOST]
