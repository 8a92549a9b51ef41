"""Stars along a stream, and how far they stand above the smooth field around it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter

from clearview.catalogs import Catalog
from clearview.checks import a
from clearview.figures import count_field, slice_image
from clearview.panels.columns import turned
from clearview.panels.compare import cells
from clearview.panels.controls import slider, tick
from clearview.panels.phasespace import PhaseSpacePanel, names_of, windows_of


class ExcessPanel(PhaseSpacePanel):
    """The sky along a stream: star counts in windows of proper motion, and their excess over a smooth field.

    The excess is (counts - field) / sqrt(field), counts and field in Gaussian kernels of which the field's is five
    times as wide, in units of the Poisson noise within the narrow one. It shows what the eye is to look at; it is no
    search, and an excess of a few sigma among hundreds of cells is no finding.

    Args:
        catalog: stars with ra and dec, and pmra and pmdec for the windows.
        stream: a name among `clearview.catalogs.STREAMS` or a `GreatCircle`; None where phi1 and phi2 are there.
        reflex_distance: kpc; see `clearview.Catalog.to_stream`.
        **kwargs: as `PhaseSpacePanel` takes them.

    Raises:
        KeyError, ValueError: as `clearview.Catalog.to_stream`; as `PhaseSpacePanel`.
    """

    tags = (*PhaseSpacePanel.tags, "excess", "width")

    def __init__(self, catalog=None, fit=None, *, stream="GD-1", reflex_distance: float | None = None, **kwargs: Any):
        a(catalog, (Catalog, type(None)), "a Catalog")
        if catalog is not None and stream is not None and "phi1" not in catalog:
            catalog = catalog.to_stream(stream, reflex_distance=reflex_distance)
        motions = ("pm_phi1", "pm_phi2")
        if catalog is not None and set(motions) <= set(catalog.columns):
            kwargs = {"first": motions[0], "second": motions[1]} | kwargs
        super().__init__(catalog, fit, **kwargs)

    def build(self) -> dict[str, Any]:
        return super().build() | {
            "excess": tick("excess over the smooth field, in σ", False),
            "width": slider("kernel [°]", 0.15, 0.02, 2.0, 0.01),
        }

    def update(self) -> None:
        super().update()
        counted = self.controls["show"].value == "stars"
        self.controls["excess"].disabled = not counted
        self.controls["width"].layout.display = "" if self.controls["excess"].value and counted else "none"

    def draw(self, settings: Mapping[str, Any], detail: float):
        if not settings["excess"] or settings["show"] != "stars" or self.catalog is None:
            return super().draw(settings, detail)
        names, windows = names_of(settings), windows_of(settings)
        if None in names or names[0] == names[1]:
            return super().draw(settings, detail)
        x, y = self._select(names, windows)
        axes = self._axes(settings, 1, 1)
        # Four cells to a kernel, as far as the screen has room.
        wanted = np.prod([(a.high - a.low) / settings["width"] * 4 for a in axes])
        axes = cells(axes, float(np.clip(wanted, 600, 300_000)), self.view.width * detail)
        counts = turned(count_field(x, y, axes))
        columns = self._columns()
        within = [(counts[n] >= columns.ends(n)[0]) & (counts[n] <= columns.ends(n)[1]) for n in names]
        width = max(settings["width"], *(float(counts[n][1] - counts[n][0]) for n in names))
        words = "".join(f", {w.words(columns.units[w.name])}" for w in windows)
        title = f"Excess of {int(counts.sum()):,} stars, kernel of {width:.3g}°{words}"
        found = excess(counts, width, within[0] & within[1])
        return slice_image(found, scale="diverging", limits=(-6.0, 6.0), label=title)


def excess(counts: xr.DataArray, width: float, inside: xr.DataArray | None = None) -> xr.DataArray:
    """Counts in a kernel above those in one five times as wide, in sigma; NaN where next to nothing is expected.

    Args:
        counts: stars in the cells of two regular axes.
        width: standard deviation of the kernel in the unit of the axes, a cell or more.
        inside: which of the cells the survey covers; by default all.
    """
    sigma = np.array([width / float(counts[d][1] - counts[d][0]) for d in counts.dims])
    covered = np.ones(counts.shape) if inside is None else inside.transpose(*counts.dims).values.astype(float)
    n = counts.values * covered

    def kernel(values, wider: float):
        return gaussian_filter(values, wider * sigma, mode="constant", truncate=3.0)

    with np.errstate(divide="ignore", invalid="ignore"):
        share = kernel(covered, 1.0)  # beyond the edge nothing is known
        near, field = kernel(n, 1.0) / share, kernel(n, 5.0) / kernel(covered, 5.0)
        # So many cells a kernel counts as, fewer at an edge: the square of a Gaussian is one of 1/sqrt 2 its width.
        effective = share**2 * 4 * np.pi * sigma.prod() / kernel(covered, 0.5**0.5)
        found = (near - field) / np.sqrt(field / effective)
    found = np.where((covered > 0) & (field * effective > 1.0), found, np.nan).astype(np.float32)
    return counts.copy(data=found).rename("excess").assign_attrs(units="", long_name="excess [σ]")
