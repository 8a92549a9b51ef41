"""Profiles of a map along one axis, with their errors, beside the truth and published measurements."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import holoviews as hv
import numpy as np
import xarray as xr

from clearview.field import Axis, Quantity, make_field
from clearview.figures import bars, profile
from clearview.figures.style import layers
from clearview.panels import base
from clearview.panels.controls import dropdown, slider, tick
from clearview.units import SUN


class Kind(NamedTuple):
    """A profile: what it is, along which axis, and how it follows from a source."""

    name: str
    label: str
    units: str
    along: str
    compute: Callable[..., np.ndarray]


def _heights(R: float, phi: float, z) -> np.ndarray:
    angle = np.deg2rad(phi)
    return np.stack([np.full(len(z), R * np.cos(angle)), np.full(len(z), R * np.sin(angle)), z], -1)


KINDS = {
    "circular velocity": Kind(
        "vc", "v_c", "km s-1", "R", lambda d, s, R, at: d.circular_velocity(s, R, phi=at["phi"], z=at["z"])
    ),
    "vertical force": Kind(
        "K_z", "K_z", "km2 s-2 kpc-1", "z", lambda d, s, z, at: d.vertical_force(s, z, R=at["R"], phi=at["phi"])
    ),
    "surface density": Kind(
        "Sigma", "Σ(<|z|)", "Msun pc-2", "z", lambda d, s, z, at: d.surface_density(s, z, R=at["R"], phi=at["phi"])
    ),
    "mass density": Kind(
        "rho", "mass density", "Msun pc-3", "z",
        lambda d, s, z, at: d.mass_density(s, _heights(at["R"], at["phi"], z)) * 1e-9,
    ),
    "enclosed mass": Kind(
        "mass", "M(<r)", "1e10 Msun", "R", lambda d, s, R, at: d.enclosed_mass(s, R, phi=at["phi"]) / 1e10
    ),
}  # fmt: skip
POINTS = 49


class ProfilePanel(base.Panel):
    """A curve of the map with its error, and that of the truth where the catalogue is a mock.

    The band is one standard error of what the fit of the potential leaves open (16 maps drawn from it), without bias.

    Args:
        catalog: the stars, a `clearview.Catalog`.
        fit: a finished `clearview.dynamics.MapFit`.
        references: tables of `clearview.dynamics.read_reference` by the name of their profile: "circular velocity"
            (rotation curves) and "enclosed mass".
        config: a `clearview.MapConfig` for training.
        size: longer side of the plot, CSS pixels.
        threaded: False draws and trains at once in the calling thread.
    """

    given: ClassVar = {"references": "references"}
    tags = ("profile", "R", "phi", "z")

    def __init__(self, catalog=None, fit=None, *, references: Mapping[str, Any] | None = None, **kwargs):
        self.references = dict(references or {})
        self._members: tuple[Any, list] = None, []
        super().__init__(catalog, fit, **kwargs)

    def build(self) -> dict[str, Any]:
        return {
            "profile": dropdown("Profile", list(KINDS), "circular velocity"),
            # the Sun's 8.122 is no step of the slider, and a browser would round it
            "R": slider("R [kpc]", 8.1, 4.0, 12.0, 0.05),
            "phi": slider("azimuth [°]", 0.0, -29.0, 29.0, 1.0, readout_format=".0f"),
            "z": slider("z [kpc]", 0.0, -2.0, 2.0, 0.05),
            "band": tick("band of one standard error", True),
            "truth": tick("truth of the mock", True),
            "published": tick("published measurements", bool(self.references)),
        }

    def update(self) -> None:
        along = KINDS[self.controls["profile"].value].along
        for name in ("R", "z"):
            hidden = name == along or (name == "z" and self.controls["profile"].value == "enclosed mass")
            self.controls[name].layout.display = "none" if hidden else ""
        self.controls["truth"].disabled = base.truth_of(self.catalog) is None
        self.controls["published"].layout.display = "" if self.references else "none"
        self.controls["band"].disabled = self.fit is None

    def coarse(self, settings) -> float:
        return 0.5

    def draw(self, settings: Mapping[str, Any], detail: float):
        truth = base.truth_of(self.catalog) if settings["truth"] else None
        if self.fit is None and truth is None:
            return "No map yet: press Train, or load a saved fit." if self.catalog else "No map yet: load a saved fit."
        kind = KINDS[settings["profile"]]
        at, parts = {k: settings[k] for k in ("R", "phi", "z")}, []
        axis = self._axis(kind, settings)
        if self.fit is not None:
            found = self._curve(kind, self.fit, axis, at)
            error = None
            if settings["band"] and detail == 1.0:
                drawn = np.stack([self._curve(kind, m, axis, at).values for m in self._drawn()])
                error = found.copy(data=drawn.std(axis=0, ddof=1))
            parts += layers(profile(found, error=error, label="map"))
        if truth is not None:
            parts.append(profile(self._curve(kind, truth, axis, at), label="truth", dashed=True))
        table = self.references.get(settings["profile"])
        if table is not None and settings["published"]:
            x, y = {"circular velocity": ("R", "vc"), "enclosed mass": ("r", "mass")}[settings["profile"]]
            seen = x, y, f"{y}_minus", f"{y}_plus"
            near = table[table[seen[0]].between(axis.low, axis.high)]
            unit = 1e10 if kind.name == "mass" else 1.0
            at_x, value, below, above = (near[k].to_numpy(float) for k in seen)
            half, ends = 0.006 * (axis.high - axis.low), ((value - below) / unit, (value + above) / unit)
            parts.append(bars(at_x, value / unit, x_ends=(at_x - half, at_x + half), y_ends=ends, label="published"))
        where = {k: v for k, v in at.items() if k != kind.along and not (k == "z" and kind.name == "mass")}
        units = {"R": " kpc", "phi": "°", "z": " kpc"}
        words = ", ".join(f"{'azimuth' if k == 'phi' else k} {v:.4g}{units[k]}" for k, v in where.items())
        return hv.Overlay(parts, label=f"{settings['profile'].capitalize()} at {words}".replace("-", "−"))

    def _axis(self, kind: Kind, settings) -> Axis:
        """The part of the axis that lies in the ball, and what is seen of it."""
        radius, center = (4.0, SUN.position) if self.fit is None else (self.fit.radius, np.asarray(self.fit.center))
        R, z = np.hypot(*center[:2]), center[2]
        reach = 0.98 * radius
        if kind.along == "R":
            half = np.sqrt(max(reach**2 - (settings["z"] - z) ** 2, (0.1 * radius) ** 2))
            low, high = max(0.1, R - half), R + half
        else:
            half = np.sqrt(max(reach**2 - (settings["R"] - R) ** 2, (0.1 * radius) ** 2))
            low, high = (0.0, z + half) if kind.name == "Sigma" else (z - half, z + half)
        return Axis(kind.along, low, high, POINTS)

    def _curve(self, kind: Kind, source, axis: Axis, at) -> xr.DataArray:
        values = kind.compute(base.dynamics(), source, axis.values, at)
        return make_field((axis,), {kind.name: Quantity(values, kind.units, kind.label)})[kind.name]

    def _drawn(self) -> list:
        """Maps drawn from what the fit leaves open, kept for the fit of the moment."""
        if self._members[0] is not self.fit:
            self._members = self.fit, base.dynamics().formal_members(self.fit, 16)
        return self._members[1]
