"""What panels of fields share: planes and sliders through a ball, what is compared with what, colours and overlays."""

from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, ClassVar

import holoviews as hv
import numpy as np
import traitlets as T
import xarray as xr

from clearview.field import Axis, Quantity, make_field
from clearview.figures import contours, hatch, limits_of, marker, path, slice_image, text
from clearview.panels import base
from clearview.panels.controls import Choice, dropdown, slider, tick
from clearview.panels.worker import Overtaken
from clearview.units import SUN

PLANES = {"x-y": ("x", "y"), "x-z": ("x", "z"), "R-z": ("R", "z"), "sky": ("l", "b")}
ACROSS = {"x-y": "z", "x-z": "y", "R-z": "phi", "sky": "distance"}
SCALES = ("automatic", "linear", "logarithmic", "diverging")
FINE = 256
"""Cells along an axis of a picture in full detail."""

STRIPS = 4
"""In so many parts it is computed."""


class SlicePanel(base.Panel):
    """Slices of a field through the ball of a map, beside the truth of a mock; a subclass says which field.

    Attributes:
        place: x, y, z [kpc] of the crosshair, set by a click and by you; None for none. The slices go through it.
    """

    components: ClassVar[Mapping[str, str]] = {}
    """What can be shown: the words of the menu to the names of variables."""
    signed: tuple[str, ...] = ()
    """Those that change their sign around the Sun; the others would waste half of a diverging scale."""
    logarithmic: tuple[str, ...] = ()
    """Those that range over decades."""
    contour_words = "contours"
    errors = True
    """Whether a map has errors to show."""
    grain = 64
    """Cells along an axis while a slider is dragged: a smooth field needs no more, and a network is 16 times faster."""
    fine = FINE

    place = T.Tuple(T.Float(), T.Float(), T.Float(), default_value=None, allow_none=True)

    tags = ("show", "component", "plane", "z", "y", "phi", "distance")

    # ---- what a subclass writes ----------------------------------------------------------------------------------

    def field(self, source, axes, fixed, settings: Mapping[str, Any], errors: bool) -> xr.Dataset:
        """The variables of `components` on a slice, with ``errors`` those of ``NAME_error`` besides."""
        raise NotImplementedError

    def needs(self, settings: Mapping[str, Any]) -> tuple:
        """What a slice that is kept was made with, besides its place."""
        return ()

    def truth(self):
        """The source of what is true, or None."""
        return base.truth_of(self.catalog)

    def extra(self) -> dict[str, Any]:
        """More controls, which stand above the overlays."""
        return {}

    def overlays(self, field: xr.Dataset, settings: Mapping[str, Any], detail: float) -> list[Any]:
        """More layers over the picture."""
        return []

    def displayed(self, field: xr.Dataset, name: str, settings: Mapping[str, Any]) -> xr.DataArray:
        """A variable in the unit of the screen."""
        return field[name]

    # ---- controls ------------------------------------------------------------------------------------------------

    def build(self) -> dict[str, Any]:
        self._slices: list[tuple[Any, Any, xr.Dataset]] = []
        self._reach: tuple[Any, float] = None, 0.0
        self._ball_shown: Any = None
        self._locked: dict[Any, tuple[float, float]] = {}
        self._not_constrained: tuple[Any, Any, Any] = None, None, None
        for view in self.views:
            view.follow = True
            view.observe(self._clicked, "cursor")
        self.observe(self._placed, "place")
        shows = ("map", "truth", "difference", *(["error"] if self.errors else []))
        return {
            "show": Choice(shows),
            "component": dropdown("Component", list(self.components.items()), next(iter(self.components.values()))),
            "against": dropdown("Compare with", ["truth"], "truth"),
            "plane": dropdown("Plane", list(PLANES), "x-y"),
            "z": slider("z [kpc]", 0.0, -4.0, 4.0, 0.05),
            "y": slider("y [kpc]", 0.0, -4.0, 4.0, 0.05),
            "phi": slider("azimuth [°]", 0.0, -29.0, 29.0, 1.0, readout_format=".0f"),
            "distance": slider("distance [kpc]", 1.0, 0.05, 4.0, 0.05),
            **self.extra(),
            "scale": dropdown("Colour scale", list(SCALES), "automatic"),
            "lock": tick("keep these colours", False),
            "contours": tick(self.contour_words, False),
            "centre": tick("direction of the Galactic centre", False),
            "dust": tick("dust: half and nine tenths of the stars hidden", False),
            "hatch": tick("hatch what is not constrained (slow)", False),
        }

    def update(self) -> None:
        show, plane = self.controls["show"], self.controls["plane"].value
        reasons = {} if self.fit is not None else {"map": "The map needs a fit: train or load one."}
        if self.errors and self.fit is None:
            reasons["error"] = "The error needs a fit: train or load one."
        if self.truth() is None:
            reasons["truth"] = "The truth needs a mock catalogue."
        others, against = self.others(), self.controls["against"]
        if self.fit is None or not others:
            reasons["difference"] = "The difference needs a fit, and a mock catalogue or a second fit."
        if others and tuple(others) != tuple(against.options):
            chosen, against.options = against.value, tuple(others)
            if chosen in others:
                against.value = chosen
        against.layout.display = "" if len(others) > 1 and show.value == "difference" else "none"
        show.disable(reasons)
        self._reach_of_sliders()
        for name in ACROSS.values():
            self.controls[name].layout.display = "" if ACROSS[plane] == name else "none"
        for name, usable in (("hatch", self.fit is not None), ("dust", hasattr(self.fit, "efficiency"))):
            if name in self.controls:
                self.controls[name].layout.display = "" if usable else "none"
        if getattr(self, "_plane", plane) != plane:
            self._home()
        self._plane = plane
        if self.place is not None:
            cursor, _ = self._in_slice(plane, self.place)
            self._follow(self._at(plane, cursor, self.controls[ACROSS[plane]].value))

    def others(self) -> dict[str, Any]:
        """What the map can be compared with: the truth, and the other fits of this session."""
        truth = self.truth()
        runs = {name: fit for name, fit in self.runs.items() if fit is not self.fit}
        return ({} if truth is None else {"truth": truth}) | runs

    # ---- the crosshair -------------------------------------------------------------------------------------------

    def _clicked(self, change) -> None:
        plane = self.controls["plane"].value
        if change["new"] != (self._in_slice(plane, self.place)[0] if self.place else []):
            self.place = self._at(plane, change["new"], self.controls[ACROSS[plane]].value) if change["new"] else None

    def _placed(self, _) -> None:
        """Every slice goes through the place, as far as its slider reaches."""
        with self._lock:
            outer, self._settling = self._settling, True
            try:
                for plane, across in ACROSS.items() if self.place else ():
                    control, value = self.controls[across], self._in_slice(plane, self.place)[1]
                    if abs(control.value - value) > 1e-6:
                        control.value = float(np.clip(value, control.min, control.max))
                cursor = self._in_slice(self.controls["plane"].value, self.place)[0] if self.place else []
                for view in self.views:
                    view.cursor = cursor
            finally:
                self._settling = outer
        self._changed()

    def _follow(self, place: tuple[float, float, float]) -> None:
        if not np.allclose(place, self.place or np.nan, atol=1e-6):  # rounding does not move it
            self.set_trait("place", place)
        for view in self.views:
            view.cursor = self._in_slice(self.controls["plane"].value, self.place)[0]

    @staticmethod
    def _at(plane: str, cursor, across: float) -> tuple[float, float, float]:
        """x, y, z [kpc] of a point of a slice."""
        a, b = cursor
        if plane == "sky":
            x = base.dynamics().from_galactic([a], [b], [across])[0]
            return float(x[0]), float(x[1]), float(x[2])
        if plane == "R-z":
            phi = np.deg2rad(across)
            return float(a * np.cos(phi)), float(a * np.sin(phi)), float(b)
        return (a, b, across) if plane == "x-y" else (a, across, b)

    @staticmethod
    def _in_slice(plane: str, place) -> tuple[list[float], float]:
        """Where x, y, z [kpc] lies in a slice through it, and the slice."""
        x, y, z = place
        if plane == "sky":
            l, b, d = (float(v[0]) for v in base.dynamics().to_galactic([place]))
            return [(l + 180.0) % 360.0 - 180.0, b], d
        if plane == "R-z":
            return [float(np.hypot(x, y)), z], float(np.degrees(np.arctan2(y, x)))
        return ([x, y], z) if plane == "x-y" else ([x, z], y)

    # ---- how far it goes -----------------------------------------------------------------------------------------

    def _reach_of_sliders(self) -> None:
        """The sliders go as far as the ball that is mapped."""
        r, center = self._ball()
        if self._ball_shown == (r, *center):
            return
        self._ball_shown = (r, *center)
        angle = float(round(np.degrees(np.arcsin(min(1.0, r / np.hypot(center[0], center[1]))))))
        fine = 0.05 if r > 1 else float(f"{r / 50:.1g}")
        ends = {"z": (-r, r, fine), "y": (-r, r, fine), "distance": (fine, r, fine)}
        for name, (low, high, step) in (ends | {"phi": (-max(angle, 1.0), max(angle, 1.0), 1.0)}).items():
            control, low, high = self.controls[name], round(low, 3), round(high, 3)
            with control.hold_trait_notifications():
                control.min, control.max, control.step = min(low, control.max), high, step
                control.min = low
                control.value = float(np.clip(control.value, low, high))

    def coarse(self, settings) -> float:
        return self.grain / self.fine

    def shows_fit(self) -> bool:
        return self.fit is not None and self.controls["show"].value != "truth"

    # ---- the picture ---------------------------------------------------------------------------------------------

    def draw(self, settings: Mapping[str, Any], detail: float):
        if why := self._nothing(settings["show"]):
            return why
        field = self._shown(settings, detail)
        if settings["component"] not in field:
            return f"There is no error of this kind; choose {', '.join(self._words(field))}."
        return self.picture(field, settings["component"], settings, detail, self.overlays(field, settings, detail))

    def data(self, settings: Mapping[str, Any] | None = None) -> xr.Dataset:
        """What is on the screen in full detail, as a field of all components in its own units.

        Raises:
            ValueError: if there is nothing to draw, with the reason.
        """
        settings = self.settings if settings is None else settings
        if why := self._nothing(settings["show"]):
            raise ValueError(why)
        return self._shown(settings, 1.0)

    def picture(self, field: xr.Dataset, name: str, settings: Mapping[str, Any], detail: float, over=()) -> hv.Overlay:
        """One variable with its colours, and what lies over it."""
        show, plane = settings["show"], settings["plane"]
        shown = self.displayed(field, name, settings)
        scale = self._scale(name, settings)
        if scale == "log" and name in self.signed and show != "error":
            shown = abs(shown).assign_attrs(shown.attrs, long_name=f"|{shown.attrs['long_name']}|")
        what = (name, scale, shown.attrs["units"], show in ("difference", "error"))
        limits = self._locked.get(what) if settings["lock"] else None
        limits = self._locked[what] = limits or self.limits(shown, name, scale, settings)
        image = slice_image(shown, scale=scale, limits=limits, label=f"{show.capitalize()}, {_where(settings)}")
        parts = [image, *over]
        if settings["contours"]:
            parts.append(self.contoured(shown, scale, settings, detail))
        if settings["dust"] and hasattr(self.fit, "efficiency"):
            parts.append(self._dust(settings, detail))
        if settings["hatch"] and show != "truth" and detail == 1.0:
            parts.append(hatch(~self._constrained(settings), "not constrained by the stars"))
        return hv.Overlay([*parts, *_sun(plane), *(_centre(plane, self._ball()[0]) if settings["centre"] else ())])

    def contoured(self, shown: xr.DataArray, scale, settings: Mapping[str, Any], detail: float) -> hv.Contours:
        """The contours over the picture."""
        return contours(shown, scale="log" if scale == "log" else "linear")

    def limits(self, shown: xr.DataArray, name: str, scale, settings: Mapping[str, Any]) -> tuple[float, float]:
        """The ends of the colours, which a few wild cells do not spoil."""
        return limits_of(shown.values, scale)

    def _words(self, field) -> list[str]:
        return [words for words, name in self.components.items() if name in field]

    def _scale(self, name: str, settings) -> Any:
        chosen = settings["scale"]
        if chosen == "automatic":
            if settings["show"] == "difference":
                return "diverging"
            if settings["show"] == "error":
                return "linear"
            return "diverging" if name in self.signed else "log" if name in self.logarithmic else "linear"
        return "log" if chosen == "logarithmic" else chosen

    def _nothing(self, show: str) -> str:
        """Why there is no picture; empty where there is one."""
        if (show != "truth" and self.fit is None) or (show == "truth" and self.truth() is None):
            return "No map yet: press Train, or load a saved fit." if self.catalog else "No map yet: load a saved fit."
        return ""

    def _shown(self, settings, detail: float) -> xr.Dataset:
        """The variables of what is chosen: of the map, the truth, their difference, or the map's errors."""
        show, (axes, fixed) = settings["show"], self.axes(settings, detail)
        if show == "error":
            field = self.slice(self.fit, axes, fixed, settings, errors=True)
            names = {n: n.removesuffix("_error") for n in map(str, field) if n.endswith("_error")}
            return field[list(names)].rename(names)
        field = self.slice(self.truth() if show == "truth" else self.fit, axes, fixed, settings)
        if show == "difference":
            against = settings["against"]
            other = self.slice(self.others()[against], axes, fixed, settings)
            with xr.set_options(keep_attrs=True):
                field = field - other
            for variable in field.data_vars.values():
                variable.attrs["long_name"] += f": map − {against}"
        return field

    def axes(self, settings, detail: float) -> tuple[tuple[Axis, Axis], dict[str, float]]:
        """The two axes of the picture and what is fixed across them."""
        radius, center = self._ball()
        a, b = PLANES[settings["plane"]]
        if settings["plane"] == "sky":
            middle, reach, unit = {"l": 0.0, "b": 0.0}, (180.0, 90.0), "deg"
        else:
            middle = {"x": center[0], "y": center[1], "z": center[2], "R": np.hypot(*center[:2])}
            reach, unit = (radius, radius), "kpc"
        seen = settings["range"] or [middle[k] + s * r for k, r in zip((a, b), reach, strict=True) for s in (-1, 1)]
        (left, right), (low, high) = seen[:2], seen[2:]
        size, across = round(self.fine * detail), ACROSS[settings["plane"]]
        rows = size // 2 if settings["plane"] == "sky" else size
        return (Axis(a, left, right, size, unit), Axis(b, low, high, rows, unit)), {across: settings[across]}

    def slice(self, source, axes, fixed, settings, errors: bool = False) -> xr.Dataset:
        """One slice, kept until others are asked for: a change of component or unit costs nothing."""
        radius, center = self._ball()
        key = (axes, fixed, errors, self.needs(settings), radius, *center)
        for kept, at, made in self._slices:
            if kept is source and at == key:
                return made
        made = self._in_strips(source, axes, fixed, settings, errors)
        self._slices = [*self._slices[-3:], (source, key, made)]
        return made

    def _dust(self, settings, detail: float) -> hv.Contours:
        """Where half and where nine tenths of the stars are hidden, of a fit that knows."""
        axes, fixed = self.axes(settings, detail)
        x = base.dynamics().slice_points(axes, fixed)
        share = np.asarray(self.fit.efficiency(x.reshape(-1, 3))).reshape(x.shape[:-1])
        return contours(make_field(axes, {"eps": Quantity(share, "", "efficiency ε")})["eps"], [0.1, 0.5])

    def _in_strips(self, source, axes, fixed, settings, errors: bool) -> xr.Dataset:
        """A fine slice strip by strip, since the next move of a slider must not wait for its end."""
        a, b = axes
        if a.size <= self.grain or b.size % STRIPS:
            return self.field(source, axes, fixed, settings, errors)
        ends, found = np.linspace(b.low, b.high, STRIPS + 1), []
        for low, high in pairwise(ends):
            if self._draws.waiting:
                raise Overtaken
            strip = b._replace(low=low, high=high, size=b.size // STRIPS)
            found.append(self.field(source, (a, strip), fixed, settings, errors))
        made = xr.concat(found, b.name)
        return made.assign_coords({b.name: made[b.name].copy(data=b.values)})

    def _constrained(self, settings) -> xr.DataArray:
        """Where the motions of the stars tell the force; some 20 ms a place."""
        axes, fixed = self.axes(settings, 24 / self.fine)
        fit, key = self.fit, (axes, fixed)
        of, at, found = self._not_constrained
        if of is not fit or at != key:
            found = base.dynamics().identifiability_field(getattr(fit, "seen", fit), axes, fixed)["constrained"]
            self._not_constrained = fit, key, found
        return found

    def _ball(self) -> tuple[float, np.ndarray]:
        """Radius [kpc] and center (3,) of what is mapped: of the fit, else of the config, else of the stars."""
        if self.fit is not None:
            return float(self.fit.radius), np.asarray(self.fit.center)
        config = getattr(self.config, "map", self.config)
        center = np.asarray(getattr(config, "center", SUN.position))
        radius = getattr(config, "radius", None)
        if radius is None and self.catalog is not None:
            if self._reach[0] is not self.catalog:
                far = 0.0
                if all(k in self.catalog for k in "xyz"):
                    x = np.stack([np.ma.filled(self.catalog[k].astype(float), np.nan) for k in "xyz"], axis=1)
                    far = np.nanmax(np.linalg.norm(x - center, axis=1), initial=0.0)
                self._reach = self.catalog, float(far)
            radius = self._reach[1]
        return float(radius or 4.0), center


def _where(settings) -> str:
    """Where a slice lies, as it stands in a title."""
    across = ACROSS[settings["plane"]]
    value = settings[across]
    at = {"phi": f"azimuth {value:g}°", "distance": f"{value:.2f} kpc from the Sun"}.get(across, "")
    return (at or f"{across} = {value:.2f} kpc").replace("-", "−")


@lru_cache
def _sun(plane: str) -> tuple:
    x, _, z = SUN.position
    places = {"x-y": (x, 0.0), "x-z": (x, z), "R-z": (SUN.R, z)}
    return tuple(marker(*places[plane])) if plane in places else ()


@lru_cache
def _centre(plane: str, radius: float) -> tuple:
    """An arrow from the Sun to the Galactic centre, or its place on the sky."""
    if plane == "sky":
        return tuple(marker(0.0, 0.0, "Galactic centre"))
    x, _, z = SUN.position
    height = 0.0 if plane == "x-y" else z
    start, tip, head = x - 0.06 * radius, x - 0.3 * radius, 0.03 * radius
    along = np.array([start, tip, tip + head, tip, tip + head])
    across = height + np.array([0.0, 0.0, 0.6 * head, 0.0, -0.6 * head])
    return path(along, across), text(tip - 0.3 * radius, height + 3 * head, "Galactic centre")
