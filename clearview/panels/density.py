"""The density of mass and of dark matter, live."""

from collections.abc import Mapping
from typing import Any, ClassVar

import ipywidgets as W
import numpy as np
import xarray as xr

from clearview.field import Quantity, make_field
from clearview.panels import base
from clearview.panels.controls import dropdown, small, tick
from clearview.panels.sliced import SlicePanel

UNITS = {"M☉/pc³": ("Msun pc-3", 1.0), "GeV/cm³": ("GeV cm-3", 37.97)}


class DensityPanel(SlicePanel):
    """Slices through the mass density that the map's force asks for, the baryons, and what is left for dark matter.

    All are smoothed with the kernel of `clearview.dynamics.mass_density`; the whole ball is computed once for a map, in
    seconds, and cut for every slice. The error is that of the total, without any bias.

    Args:
        catalog: the stars, a `clearview.Catalog`.
        fit: a finished `clearview.dynamics.MapFit`; None shows the truth of a mock, or waits for a training.
        baryons: a `clearview.dynamics.BaryonModel`; by default that of McKee et al. 2015 (arXiv:1509.05334).
        config: a `clearview.MapConfig` for training.
        size: longer side of the plot, CSS pixels.
        threaded: False draws and trains at once in the calling thread.
    """

    components: ClassVar = {"total density": "density", "dark matter": "dark_matter", "baryons": "baryons"}
    logarithmic = ("density", "baryons")
    given: ClassVar = {"baryons": "baryons"}

    def __init__(self, catalog=None, fit=None, *, baryons=None, **kwargs):
        self.baryons = baryons
        self._cubes: list[tuple[Any, tuple[float, ...], xr.Dataset]] = []
        self._told: tuple[Any, str] = None, ""
        super().__init__(catalog, fit, **kwargs)

    def extra(self) -> dict[str, Any]:
        self._local = W.HTML()
        self.below = (self._local,)
        return {
            "unit": dropdown("Unit", list(UNITS), "M☉/pc³"),
            "local": tick("dark matter near the Sun (slow)", False),
        }

    def axes(self, settings, detail: float):
        return super().axes(settings, detail / 4 if settings["show"] == "error" else detail)  # place by place

    def field(self, source, axes, fixed, settings, errors: bool) -> xr.Dataset:
        made = base.dynamics().cut(self._cube(source), axes, fixed)
        if not errors:
            return made
        x = base.dynamics().slice_points(axes, fixed)
        sigma = base.dynamics().density_error(source, x.reshape(-1, 3)).reshape(x.shape[:-1]) * 1e-9
        words = {"density": "σ(mass density)", "dark_matter": "σ(dark matter), baryons exact"}
        return made.merge(make_field(axes, {f"{n}_error": Quantity(sigma, "Msun pc-3", w) for n, w in words.items()}))

    def displayed(self, field: xr.Dataset, name: str, settings: Mapping[str, Any]) -> xr.DataArray:
        unit, scale = UNITS[settings["unit"]]
        return (field[name] * np.float32(scale)).assign_attrs(field[name].attrs, units=unit)

    def beside(self, settings) -> None:
        self._local.layout.display = "" if settings["local"] else "none"
        source = self.truth() if settings["show"] == "truth" else self.fit
        if settings["local"] and source is not None and self._told[0] is not source:
            self._local.value = small("Fitting the dark matter near the Sun …")
            self._told = source, str(base.dynamics().local_dark_matter(source, self.baryons))
        self._local.value = small(self._told[1])

    def _cube(self, source) -> xr.Dataset:
        """The whole ball of a source, or of what is mapped, kept for the map and the truth of the moment."""
        radius, center = self._ball()
        radius, center = float(getattr(source, "radius", radius)), np.asarray(getattr(source, "center", center))
        ball = radius, *center
        for kept, of, made in self._cubes:
            if kept is source and of == ball:
                return made
        if not self._cubes:
            self.view.message = "Computing the density of the whole ball …"
        made = base.dynamics().density_cube(source, self.baryons, radius=radius, center=center)
        self._cubes = [*self._cubes[-2:], (source, ball, made)]
        return made
