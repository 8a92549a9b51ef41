"""The map of accelerations, live."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import holoviews as hv
import numpy as np
import xarray as xr

from clearview.field import Axis
from clearview.figures import arrows, contours, marker, slice_image
from clearview.panels import base
from clearview.panels.controls import Choice, dropdown, slider, tick
from clearview.units import ACCELERATION_UNIT, SUN, attach

COMPONENTS = {
    "|a|": "a", "a_R": "a_R", "a_z": "a_z", "a_φ": "a_phi", "a_x": "a_x", "a_y": "a_y", "potential": "potential",
}  # fmt: skip
SIGNED = ("a_z", "a_phi", "a_y")
"""What changes its sign around the Sun; the others would waste half of a diverging scale."""

UNITS = {"(km/s)²/kpc": "km2 s-2 kpc-1", "10⁻¹⁰ m s⁻²": "1e-10 m s-2", "km/s/Myr": "km s-1 Myr-1"}
PLANES = {"x-y": ("x", "y"), "x-z": ("x", "z"), "R-z": ("R", "z")}
ACROSS = {"x-y": "z", "x-z": "y", "R-z": "phi"}


@lru_cache
def factor(unit: str) -> float:
    """What (km/s)^2/kpc is multiplied with to get the unit of a screen."""
    return np.asarray(attach(1.0, ACCELERATION_UNIT).to_value(UNITS[unit])).item()


class AccelerationPanel(base.Panel):
    """Slices through the map of accelerations and the potential, beside the truth where the catalogue is a mock.

    Args:
        catalog: the stars, a `clearview.Catalog`.
        fit: a finished `clearview.dynamics.MapFit`; None shows the truth of a mock, or waits for a training.
        config: a `clearview.MapConfig` for training.
        size: longer side of the plot, CSS pixels.
        threaded: False draws and trains at once in the calling thread.

    Raises:
        ValueError: for a fit that is no map.
    """

    tags = ("show", "component", "plane", "z", "y", "phi")

    def build(self) -> dict[str, Any]:
        self._slices: list[tuple[Any, Any, Any]] = []
        self._reach: tuple[Any, float] = None, 0.0
        self._ball_shown: Any = None
        return {
            "show": Choice(("map", "truth", "difference")),
            "component": dropdown("Component", [(k, v) for k, v in COMPONENTS.items()], "a"),
            "plane": dropdown("Plane", list(PLANES), "x-y"),
            "z": slider("z [kpc]", 0.0, -4.0, 4.0, 0.05),
            "y": slider("y [kpc]", 0.0, -4.0, 4.0, 0.05),
            "phi": slider("azimuth [°]", 0.0, -29.0, 29.0, 1.0, readout_format=".0f"),
            "unit": dropdown("Unit", list(UNITS), "(km/s)²/kpc"),
            "arrows": tick("arrows of the acceleration", True),
            "contours": tick("contours of the potential", False),
            "lock": tick("keep these colours", False),
        }

    def update(self) -> None:
        show, plane = self.controls["show"], self.controls["plane"].value
        reasons = {} if self.fit is not None else {"map": "The map needs a fit: train or load one."}
        if self._truth() is None:
            why = "Truth and difference need a mock catalogue."
            reasons |= {"truth": why, "difference": why}
        elif self.fit is None:
            reasons["difference"] = "The difference needs a fit: train or load one."
        show.disable(reasons)
        self._reach_of_sliders()
        for name in ("z", "y", "phi"):
            self.controls[name].layout.display = "" if ACROSS[plane] == name else "none"
        self.controls["unit"].disabled = self.controls["component"].value == "potential"
        if getattr(self, "_plane", plane) != plane:
            self._home()
        self._plane = plane

    def _reach_of_sliders(self) -> None:
        """The sliders go as far as the ball that is mapped."""
        r, center = self._ball()
        if self._ball_shown == (r, *center):
            return
        self._ball_shown = (r, *center)
        angle = float(round(np.degrees(np.arcsin(min(1.0, r / np.hypot(center[0], center[1]))))))
        fine = 0.05 if r > 1 else float(f"{r / 50:.1g}")
        for name, reach, step in (("z", r, fine), ("y", r, fine), ("phi", max(angle, 1.0), 1.0)):
            control, reach = self.controls[name], round(reach, 3)
            with control.hold_trait_notifications():
                control.min, control.max, control.step = -reach, reach, step
                control.value = float(np.clip(control.value, control.min, control.max))

    def coarse(self, settings) -> float:
        return 64 / 256  # the field is smooth, the browser smooths it, and a network takes 16 times less for it

    def shows_fit(self) -> bool:
        return self.fit is not None and self.controls["show"].value != "truth"

    def draw(self, settings: Mapping[str, Any], detail: float):
        show, name, plane = settings["show"], settings["component"], settings["plane"]
        fit, truth = self.fit, self._truth()
        if (show != "truth" and fit is None) or (show != "map" and truth is None):
            return "No map yet: press Train, or load a saved fit." if self.catalog else "No map yet: load a saved fit."
        axes, fixed = self._axes(settings, detail)
        needed = name == "potential" or settings["contours"]
        field = self._slice(truth if show == "truth" else fit, axes, fixed, needed)
        if show == "difference":
            with xr.set_options(keep_attrs=True):
                field = field - self._slice(truth, axes, fixed, needed)
        unit, scale = settings["unit"], np.float32(factor(settings["unit"]))

        def displayed(variable: str):
            found = field[variable]
            if variable == "potential":
                return found
            return (found if scale == 1 else found * scale).assign_attrs(found.attrs, units=unit)

        shown = displayed(name)
        diverging = name in SIGNED or show == "difference"
        if show == "difference":
            shown.attrs["long_name"] = f"{shown.attrs['long_name']}: map − truth"
        what = (name, unit, show == "difference")
        limits = self._locked[1] if settings["lock"] and getattr(self, "_locked", (None,))[0] == what else None
        across = ACROSS[plane]
        at = f"azimuth {fixed[across]:g}°" if across == "phi" else f"{across} = {fixed[across]:.2f} kpc"
        at = at.replace("-", "−")
        image = slice_image(
            shown, scale="diverging" if diverging else "linear", limits=limits, label=f"{show.capitalize()}, {at}"
        )
        self._locked = (what, image.vdims[0].range)
        parts: list[Any] = [image]
        if settings["contours"]:  # over a difference those of the map
            parts.append(
                contours((self._slice(fit, axes, fixed, True) if show == "difference" else field)["potential"])
            )
        if settings["arrows"]:
            parts.append(arrows(*(displayed(f"a_{axis.name}") for axis in axes)))
        return hv.Overlay([*parts, *_sun(plane)])

    def _axes(self, settings, detail: float):
        radius, center = self._ball()
        a, b = PLANES[settings["plane"]]
        middle = {"x": center[0], "y": center[1], "z": center[2], "R": np.hypot(*center[:2])}
        seen = settings["range"] or [middle[k] + s * radius for k in (a, b) for s in (-1, 1)]
        size = round(256 * detail)
        across = ACROSS[settings["plane"]]
        return (Axis(a, seen[0], seen[1], size), Axis(b, seen[2], seen[3], size)), {across: settings[across]}

    def _slice(self, source, axes, fixed, potential: bool):
        """One slice, kept until others are asked for: a change of component or unit costs nothing."""
        for kept, at, slice_ in self._slices:
            if kept is source and at == (axes, fixed) and (not potential or "potential" in slice_):
                return slice_
        radius, center = self._ball()
        slice_ = base.dynamics().acceleration_field(
            source, axes, fixed, radius=radius, center=center, potential=potential
        )
        self._slices = [*self._slices[-3:], (source, (axes, fixed), slice_)]
        return slice_

    def _truth(self):
        return base.truth_of(self.catalog)

    def _ball(self) -> tuple[float, np.ndarray]:
        """Radius [kpc] and center (3,) of what is mapped: of the fit, else of the config, else of the stars."""
        if self.fit is not None:
            return float(self.fit.radius), np.asarray(self.fit.center)
        center = np.asarray(getattr(self.config, "center", SUN.position))
        radius = getattr(self.config, "radius", None)
        if radius is None and self.catalog is not None:
            if self._reach[0] is not self.catalog:
                far = np.linalg.norm(self.catalog.phase_space[:, :3] - center, axis=1).max()
                self._reach = self.catalog, float(far)
            radius = self._reach[1]
        return float(radius or 4.0), center


@lru_cache
def _sun(plane: str) -> tuple:
    x, _, z = SUN.position
    return tuple(marker(*{"x-y": (x, 0.0), "x-z": (x, z), "R-z": (SUN.R, z)}[plane]))
