"""Stars, and the density learnt from them, in slices of phase space."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from clearview.field import Axis
from clearview.figures import count_field, slice_image
from clearview.panels import base
from clearview.panels.base import Choice, Panel, dropdown, slider
from clearview.units import SUN

CARTESIAN: tuple[str, ...] = ("x", "y", "z", "vx", "vy", "vz")
LABELS: dict[str, str] = {"vx": "v_x", "vy": "v_y", "vz": "v_z", "vR": "v_R", "vphi": "v_φ"}
COORDINATES: tuple[str, ...] = (*CARTESIAN, "R", "vR", "vphi")
NAMES = [(LABELS.get(k, k), k) for k in COORDINATES]


def unit_of(name: str) -> str:
    """The unit of a coordinate."""
    return "km/s" if name.startswith("v") else "kpc"


class PhaseSpacePanel(Panel):
    """Star counts, or the learnt ln f(x, v), on two axes of phase space, in a slice along two more.

    Args:
        catalog: the stars, a `clearview.Catalog`.
        fit: a `clearview.dynamics.MapFit` whose density is trained.
        config: a `clearview.MapConfig` for training.
        size: longer side of the plot, CSS pixels.
        threaded: False draws and trains at once in the calling thread.
    """

    tags = ("show", "x_axis", "y_axis", "first_at", "first_width", "second_at", "second_width")

    def build(self) -> dict[str, Any]:
        self._made: tuple[Any, dict[str, np.ndarray]] = (None, {})
        controls: dict[str, Any] = {
            "show": Choice(("stars", "flow")),
            "x_axis": dropdown("x axis", NAMES, "x"),
            "y_axis": dropdown("y axis", NAMES, "y"),
        }
        for which, start in (("first", "z"), ("second", "none")):
            controls |= {
                which: dropdown("Slice in" if which == "first" else "and in", [("none", "none"), *NAMES], start),
                f"{which}_at": slider("center", 0.0, -1.0, 1.0, 0.01),
                f"{which}_width": slider("half-width", 1.0, 0.01, 1.0, 0.01),
            }
        self._sliced: dict[str, Any] = {"first": None, "second": None}
        return controls

    def update(self) -> None:
        controls, reasons = self.controls, {}
        axes = [controls[k].value for k in ("x_axis", "y_axis")]
        if self.catalog is None:
            reasons["stars"] = "Star counts need a catalogue."
        if self.fit is None:
            reasons["flow"] = "The flow needs a fit: train or load one."
        elif not set(axes) <= set(CARTESIAN):
            reasons["flow"] = "The flow has the axes x, y, z, v_x, v_y, v_z only."
        controls["show"].disable(reasons)
        for which in self._sliced:
            name = controls[which].value
            wide = controls["show"].value == "stars"  # the learnt density is shown at a place, not in a slab
            for part, shown in ((f"{which}_at", True), (f"{which}_width", wide)):
                controls[part].layout.display = "" if shown and name != "none" else "none"
            if self._sliced[which] != name != "none":
                self._limit(name, controls[f"{which}_at"], controls[f"{which}_width"])
            self._sliced[which] = name
        if getattr(self, "_axes_shown", axes) != axes:
            self._home()
        self._axes_shown = axes

    def coarse(self, settings) -> float:
        if settings["show"] == "flow":
            return 0.3
        # Datashader counts a million stars in less time than the browser takes to get a large frame.
        return 0.5 if self._cells() > 300 else 1.0

    def usable(self, fit) -> bool:
        return fit.has_density

    def shows_fit(self) -> bool:
        return self.fit is not None and self.controls["show"].value == "flow"

    def draw(self, settings: Mapping[str, Any], detail: float):
        names = (settings["x_axis"], settings["y_axis"])
        if names[0] == names[1]:
            return "Choose two different axes."
        slices = {settings[k]: (settings[f"{k}_at"], settings[f"{k}_width"]) for k in ("second", "first")}
        slices.pop("none", None)
        size = round((self._cells() if settings["show"] == "stars" else 256) * detail)
        seen = settings["range"] or [v for n in names for v in self._span(n)]
        ends = (seen[:2], seen[2:])
        axes = [
            Axis(n, low, high, size, unit_of(n), f"{LABELS.get(n, n)}")
            for n, (low, high) in zip(names, ends, strict=True)
        ]
        if settings["show"] == "stars":
            return self._stars(axes, slices)
        return self._flow(axes, slices)

    def _stars(self, axes, slices):
        if self.catalog is None:
            return "No stars yet: pass a catalogue."
        keep, words = None, []
        for name, (at, width) in slices.items():
            column = self._column(name)
            near = (column >= at - width) & (column <= at + width)
            keep = near if keep is None else keep & near
            words.append(f"|{LABELS.get(name, name)}{f' − {at:g}' if at else ''}| ≤ {width:g} {unit_of(name)}")
        x, y = (self._column(a.name) if keep is None else self._column(a.name)[keep] for a in axes)
        return slice_image(count_field(x, y, axes), scale="log", label=f"{len(x):,} stars, {', '.join(words) or 'all'}")

    def _flow(self, axes, slices):
        if self.fit is None:
            return "No flow yet: press Train, or load a saved fit."
        middle = dict(zip(CARTESIAN, [*self.fit.center, *SUN.velocity], strict=True))
        if self.catalog is not None:
            middle |= {k: np.median(self._column(k)[::97]) for k in CARTESIAN[3:]}
        others = [k for k in CARTESIAN if k not in {a.name for a in axes}]
        fixed = {k: float(slices[k][0] if k in slices else middle[k]) for k in others}
        field = base.dynamics().phase_space_field(self.fit, axes, fixed)["log_f"]
        values = field.values[np.isfinite(field.values)]
        # ln f falls without end; below e^-12 of its highest value there are no stars to tell
        limits = (float(values.max()) - 12.0, float(values.max())) if values.size else None
        at = ", ".join(f"{LABELS.get(k, k)} = {round(v, 2) + 0:g} {unit_of(k)}" for k, v in fixed.items())
        return slice_image(field, limits=limits, label=f"f at {at}")

    def _cells(self) -> int:
        """Cells along an axis: some three stars a cell if all were seen, but no more than there are pixels."""
        return int(np.clip(np.sqrt(len(self.catalog or ()) / 3), 64, self.view.width))

    def _column(self, name: str) -> np.ndarray:
        """(N,) float32 coordinate of all stars, made once."""
        catalog, columns = self._made  # one pair: the drawing thread and the controls' may look while it is exchanged
        if catalog is not self.catalog:
            catalog, columns = self._made = (self.catalog, {})
        if name not in columns:
            w = catalog.phase_space
            if name in CARTESIAN:
                column = w[:, CARTESIAN.index(name)]
            else:
                R = np.hypot(w[:, 0], w[:, 1])
                turn = {"vR": w[:, 0] * w[:, 3] + w[:, 1] * w[:, 4], "vphi": w[:, 1] * w[:, 3] - w[:, 0] * w[:, 4]}
                column = R if name == "R" else turn[name] / R
            columns[name] = np.ascontiguousarray(column, np.float32)
        return columns[name]

    def _span(self, name: str) -> tuple[float, float]:
        """Round limits that hold nearly all stars, or the fit's ball."""
        if self.catalog is not None:
            column = self._column(name)
            low, high = np.percentile(column[:: max(1, len(column) // 50_000)], [0.2, 99.8])
        else:
            center = dict(zip(CARTESIAN, [*getattr(self.fit, "center", SUN.position), *SUN.velocity], strict=True))
            half = 150.0 if name.startswith("v") else float(getattr(self.fit, "radius", 4.0))
            low, high = center.get(name, SUN.R) - half, center.get(name, SUN.R) + half
        if not high - low > 1e-6 * max(abs(low), 1.0):  # one star, or all at one value
            low, high = low - 0.5, high + 0.5
        step = 10 ** np.floor(np.log10(high - low)) / 5
        return float(np.floor(low / step) * step), float(np.ceil(high / step) * step)

    def _limit(self, name: str, at, width) -> None:
        """Give the two sliders of a slice the limits and steps of its coordinate."""
        low, high = self._span(name)
        step = float(10 ** np.floor(np.log10((high - low) / 100)))
        label, unit = LABELS.get(name, name), unit_of(name)
        middle = np.clip(0.0, low, high) if name in ("y", "z", "vx", "vz", "vR") else (low + high) / 2
        middle = round(float(middle) / step) * step
        for control, limits, value, text in (
            (at, (low, high), middle, f"{label} [{unit}]"),
            (width, (step, (high - low) / 2), (high - low) / 8, f"± [{unit}]"),
        ):
            with control.hold_trait_notifications():
                control.min, control.max, control.value = *limits, value
                control.step, control.description = step, text
