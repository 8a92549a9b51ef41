"""The map of accelerations, live."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from clearview.figures import arrows, contours, points
from clearview.panels import base
from clearview.panels.controls import dropdown, tick
from clearview.panels.sliced import ACROSS, PLANES, SlicePanel
from clearview.units import ACCELERATION_UNIT, attach

UNITS = {"(km/s)²/kpc": "km2 s-2 kpc-1", "10⁻¹⁰ m s⁻²": "1e-10 m s-2", "km/s/Myr": "km s-1 Myr-1"}

NEAR = 0.5
"""Pulsars so far from a slice are shown on it, kpc."""


@lru_cache
def factor(unit: str) -> float:
    """What (km/s)^2/kpc is multiplied with to get the unit of a screen."""
    return np.asarray(attach(1.0, ACCELERATION_UNIT).to_value(UNITS[unit])).item()


class AccelerationPanel(SlicePanel):
    """Slices through the map of accelerations and the potential, beside the truth where the catalogue is a mock.

    Args:
        catalog: the stars, a `clearview.Catalog`.
        fit: a finished `clearview.dynamics.MapFit`; None shows the truth of a mock, or waits for a training.
        pulsars: a table of `clearview.dynamics.read_reference` with kind "pulsars", to be shown on the slice.
        config: a `clearview.MapConfig` for training.
        size: longer side of the plot, CSS pixels.
        threaded: False draws and trains at once in the calling thread.

    Raises:
        ValueError: for a fit that is no map.
    """

    components: ClassVar = {
        "|a|": "a", "a_R": "a_R", "a_z": "a_z", "a_φ": "a_phi", "a_x": "a_x", "a_y": "a_y", "potential": "potential",
    }  # fmt: skip
    signed = ("a_z", "a_phi", "a_y")
    given: ClassVar = {"pulsars": "pulsars"}
    contour_words = "contours of the potential"

    def __init__(self, catalog=None, fit=None, *, pulsars=None, **kwargs):
        if pulsars is not None and not {"l", "b", "parallax"} <= set(getattr(pulsars, "columns", ())):
            raise TypeError(f"Expected pulsars as a table with l, b and parallax, got {type(pulsars).__name__}; use "
                            "clearview.dynamics.read_reference.")  # fmt: skip
        self.pulsars = pulsars
        self._places: Any = None
        super().__init__(catalog, fit, **kwargs)

    def extra(self) -> dict[str, Any]:
        more = {} if self.pulsars is None else {"pulsars": tick(f"pulsars within {NEAR:g} kpc of the slice", True)}
        unit = dropdown("Unit", list(UNITS), "(km/s)²/kpc")
        return {"unit": unit, "arrows": tick("arrows of the acceleration", True), **more}

    def update(self) -> None:
        super().update()
        self.controls["unit"].disabled = self.controls["component"].value == "potential"
        self.controls["arrows"].disabled = self.controls["plane"].value == "sky"

    def needs(self, settings) -> tuple:
        return (settings["component"] == "potential" or settings["contours"],)

    def field(self, source, axes, fixed, settings, errors: bool) -> xr.Dataset:
        radius, center = self._ball()
        return base.dynamics().acceleration_field(
            source, axes, fixed, radius=radius, center=center, potential=self.needs(settings)[0], errors=errors
        )

    def displayed(self, field: xr.Dataset, name: str, settings: Mapping[str, Any]) -> xr.DataArray:
        found, scale = field[name], np.float32(factor(settings["unit"]))
        if name == "potential":
            return found
        return (found if scale == 1 else found * scale).assign_attrs(found.attrs, units=settings["unit"])

    def contoured(self, shown, scale, settings, detail: float):
        """Those of the potential whatever is shown, over a difference or an error those of the map's."""
        source = self.truth() if settings["show"] == "truth" else self.fit
        return contours(self.slice(source, *self.axes(settings, detail), settings)["potential"])

    def overlays(self, field, settings, detail: float) -> list[Any]:
        seen = self._near(settings) if settings.get("pulsars") else []
        if not settings["arrows"] or settings["plane"] == "sky" or settings["show"] == "error":
            return seen
        a, b = (self.displayed(field, f"a_{k}", settings) for k in PLANES[settings["plane"]])
        # nearly at the same places in the coarse picture and in the full one
        return [arrows(a, b, max(1, max(a.shape) // 16)), *seen]

    def _near(self, settings) -> list[Any]:
        """The pulsars near the slice: on the sky all, else those within `NEAR` of it."""
        if self._places is None:  # once, not for every move of a slider
            table: Any = self.pulsars
            known = table[table.parallax > 0]
            l, b, parallax = (known[k].to_numpy(float) for k in ("l", "b", "parallax"))
            self._places = l, b, base.dynamics().from_galactic(l, b, 1 / parallax)
        l, b, places = self._places
        x, y, z = places.T
        across = ACROSS[settings["plane"]]
        if across == "distance":
            return [points((l + 180) % 360 - 180, b, label="pulsars")]
        R, phi = np.hypot(x, y), np.arctan2(y, x)
        apart = R * np.sin(phi - np.deg2rad(settings["phi"])) if across == "phi" else {"z": z, "y": y}[across]
        near = np.abs(apart - (0.0 if across == "phi" else settings[across])) < NEAR
        plane = {"x": x, "y": y, "z": z, "R": R}
        a, b = (plane[k][near] for k in PLANES[settings["plane"]])
        return [points(a, b, label="pulsars")]
