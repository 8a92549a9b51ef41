"""One catalogue in several views at once: stars selected in one are lit up in all."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import holoviews as hv
import ipywidgets as W
import numpy as np

from clearview.figures import count_field
from clearview.panels.columns import MOTIONS, Columns, turned
from clearview.panels.compare import cells, seen
from clearview.panels.outlines import SelectingPanel, chosen_image
from clearview.panels.view import RasterView

VIEWS = (
    (("phi1", "phi2"), ("lon", "lat"), ("l", "b"), ("ra", "dec")),
    tuple(pair[::-1] for pair in MOTIONS[:0]) + MOTIONS[1:] + MOTIONS[:1],
    (("bp_rp", "M_G"), ("bp_rp", "phot_g_mean_mag"), ("ps1_g_i", "ps1_g")),
    (("x", "y"),),
    (("R", "z"),),
    (("vR", "vphi"), ("vx", "vy")),
)
"""Sky, proper motion, colour and magnitude, position from above and from the side, velocity: the first of each."""

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
        ValueError: for a column that the catalogue does not have, or without any pair to show.
    """

    def __init__(
        self, catalog, *, selection=None, views: Sequence[tuple[str, str]] | None = None, size: int = 300,
        threaded: bool = True,
    ):  # fmt: skip
        columns = Columns.of_catalog(catalog) if selection is None else selection.columns
        self.pairs = tuple(tuple(pair) for pair in views or _pairs(columns))
        if not self.pairs or not all(len(pair) == 2 and set(pair) <= set(columns.units) for pair in self.pairs):
            raise ValueError(
                f"Expected pairs of {', '.join(columns.units) or 'columns with a unit'} to show, got {self.pairs}; "
                "pass views=[(x, y), ...]."
            )
        super().__init__(catalog, selection=selection, size=size, threaded=threaded)

    def build(self) -> dict[str, Any]:
        size = self.view.width
        self.views = (self.view, *(RasterView(size) for _ in self.pairs[1:]))
        self._counted: list[Any] = [None] * len(self.views)
        self._shown: list[Any] = [None] * len(self.views)
        self._touched = self._drawn_at = [0.0] * len(self.views)
        for i, (view, pair) in enumerate(zip(self.views, self.pairs, strict=True)):
            self.outlines.add(view, lambda pair=pair: (pair, ()))
            view.observe(lambda _, i=i: self._touch(i), ["range", "selection"])
        return {}
