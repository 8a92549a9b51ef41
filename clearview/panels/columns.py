"""What a catalogue, or draws from a flow, can be plotted against: coordinates with names, units and spans."""

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from clearview.catalogs import Catalog
from clearview.checks import a
from clearview.field import Axis
from clearview.figures.style import round_step

CARTESIAN = {"x": "kpc", "y": "kpc", "z": "kpc", "vx": "km/s", "vy": "km/s", "vz": "km/s"}
"""Phase space and its units, in the order of a map's draws."""

ORDER = (
    "x", "y", "z", "R", "phi", "distance", "parallax", "vx", "vy", "vz", "vR", "vphi", "radial_velocity",
    "ra", "dec", "l", "b", "phi1", "phi2", "lon", "lon_cos_lat", "lat", "pmra", "pmdec", "pm_phi1", "pm_phi2",
    "pm_lon", "pm_lat", "bp_rp", "phot_g_mean_mag", "bp_rp0", "phot_g_mean_mag0", "M_G", "ps1_g_i", "ps1_g", "ps1_i",
)  # fmt: skip
"""Every other number with a unit comes behind these."""

LABELS: dict[str, str] = {
    "vx": "v_x", "vy": "v_y", "vz": "v_z", "vR": "v_R", "vphi": "v_φ", "phi": "φ", "phi1": "φ1", "phi2": "φ2",
    "pm_phi1": "pm_φ1", "pm_phi2": "pm_φ2", "bp_rp": "BP − RP", "phot_g_mean_mag": "G", "bp_rp0": "(BP − RP)₀",
    "phot_g_mean_mag0": "G₀", "ps1_g_i": "g − i (PS1)", "ps1_g": "g (PS1)", "ps1_i": "i (PS1)",
    "radial_velocity": "radial velocity", "lon_cos_lat": "lon cos(lat)",
}  # fmt: skip

DOWNWARDS = {"phot_g_mean_mag", "phot_g_mean_mag0", "phot_bp_mean_mag", "phot_rp_mean_mag", "M_G", "ps1_g", "ps1_i"}
"""Magnitudes: bright is up."""

CENTRED = {"y", "z", "phi", "vx", "vz", "vR", "phi2", "lon_cos_lat", "lat", "b"}
"""A slice in these begins at zero, in others at the median."""

MOTIONS = (("pmra", "pmdec"), ("pm_phi1", "pm_phi2"), ("pm_lon", "pm_lat"))
"""Pairs of proper motions."""


class Rule(NamedTuple):
    """How a coordinate follows from others."""

    name: str
    needs: tuple[str, ...]
    units: str
    compute: Callable[..., np.ndarray]


def _over_R(value, x, y):
    return value / np.hypot(x, y)


RULES = (
    Rule("R", ("x", "y"), "kpc", np.hypot),
    Rule("phi", ("x", "y"), "deg", lambda x, y: np.degrees(np.arctan2(y, x))),
    Rule("vR", ("x", "y", "vx", "vy"), "km/s", lambda x, y, vx, vy: _over_R(x * vx + y * vy, x, y)),
    Rule("vphi", ("x", "y", "vx", "vy"), "km/s", lambda x, y, vx, vy: _over_R(y * vx - x * vy, x, y)),
    Rule("lon_cos_lat", ("lon", "lat"), "deg", lambda lon, lat: lon * np.cos(np.deg2rad(lat))),
    Rule("bp_rp", ("phot_bp_mean_mag", "phot_rp_mean_mag"), "mag", np.subtract),
    Rule("M_G", ("phot_g_mean_mag", "parallax"), "mag", lambda G, parallax: G + 5 * np.log10(parallax / 100)),
    Rule("M_G", ("phot_g_mean_mag", "distance"), "mag", lambda G, distance: G - 5 * np.log10(distance * 100)),
    Rule("ps1_g_i", ("ps1_g", "ps1_i"), "mag", np.subtract),
)
"""The first rule that has what it needs is taken; a column that is there already needs none."""


class Columns:
    """Coordinates of N stars or draws by name, as float32, computed once and only when asked for.

    Args:
        get: gives the (N,) values of a measured column.
        units: name to unit of the measured columns.
        size: N.
        source: whatever they come from, for the user to compare.

    Attributes:
        units: name to unit of all coordinates there are, in the order of a menu.
    """

    def __init__(self, get: Callable[[str], Any], units: Mapping[str, str], size: int, source: Any = None):
        self._get, self._size, self.source = get, size, source
        self._made: dict[str, np.ndarray] = {}
        self._ends: dict[str, tuple[float, float]] = {}
        self._spans: dict[str, tuple[float, float]] = {}
        self._rules: dict[str, Rule] = {}
        self._thinned: dict[int, Columns] = {}
        found = dict(units)
        for rule in RULES:
            if rule.name not in found and all(name in found for name in rule.needs):
                self._rules[rule.name], found[rule.name] = rule, rule.units
        self.units = {name: found[name] for name in (*ORDER, *found) if name in found}

    @classmethod
    def of_catalog(cls, catalog) -> "Columns":
        """All that a catalogue has: numbers with a unit, and what follows from them."""
        a(catalog, Catalog, "a Catalog")
        units = {n: str(catalog.unit(n) or "") for n in catalog.columns if catalog[n].dtype.kind in "fiu"}
        return cls(catalog.__getitem__, {n: plain(u) for n, u in units.items() if u}, len(catalog), catalog)

    @classmethod
    def of_draws(cls, draws: np.ndarray, units: Mapping[str, str], source: Any = None) -> "Columns":
        """Draws (N, D) from a density in the D columns that ``units`` names."""
        table = dict(zip(units, draws.T, strict=True))
        return cls(table.__getitem__, {name: plain(unit) for name, unit in units.items()}, len(draws), source)

    def __len__(self) -> int:
        return self._size

    def __contains__(self, name) -> bool:
        return name in self.units

    def __getitem__(self, name: str) -> np.ndarray:
        """(N,) float32; NaN where there is no value."""
        if name not in self._made:
            rule = self._rules.get(name)
            if rule is None:
                values = self._get(name)
                values = np.ma.filled(values.astype(float), np.nan) if np.ma.isMaskedArray(values) else values
            else:
                with np.errstate(divide="ignore", invalid="ignore"):
                    values = rule.compute(*(self[need] for need in rule.needs))
            self._made[name] = np.ascontiguousarray(values, np.float32)
        return self._made[name]

    def thinned(self, times: int) -> "Columns":
        """One star, drawn at random, of each so many in a row: quicker to count, and fair in whatever order."""
        if times < 2:
            return self
        if times not in self._thinned:
            first = np.arange(len(self) // times) * times
            rows = first + np.random.default_rng(0).integers(0, times, len(first))
            whole = weakref.proxy(self)  # or neither would be freed before the garbage is collected
            measured = {name: unit for name, unit in self.units.items() if name not in self._rules}
            self._thinned[times] = Columns(lambda name: whole[name].take(rows), measured, len(rows), self.source)
        return self._thinned[times]

    def ends(self, name: str) -> tuple[float, float]:
        """The lowest and the highest value; NaN where one is missing, so that nothing is within or beyond them."""
        if name not in self._ends:
            column = self[name]
            self._ends[name] = (float(column.min()), float(column.max())) if len(column) else (np.nan, np.nan)
        return self._ends[name]

    def span(self, name: str) -> tuple[float, float]:
        """Round limits that hold nearly all values, and all of them where none lies far out."""
        if name not in self._spans:
            self._spans[name] = self._span(self[name], self.ends(name))
        return self._spans[name]

    @staticmethod
    def _span(column: np.ndarray, ends: tuple[float, float]) -> tuple[float, float]:
        column = column[:: max(1, len(column) // 50_000)]
        column = column[np.isfinite(column)]
        if not column.size:
            return 0.0, 1.0
        low, high = (float(v) for v in np.percentile(column, [0.2, 99.8]))
        reach = 0.05 * (high - low)
        lowest, highest = ends if np.isfinite(ends).all() else (float(column.min()), float(column.max()))
        low, high = max(low - reach, lowest), min(high + reach, highest)
        if not high - low > 1e-6 * max(abs(low), 1.0):  # one star, or all at one value
            low, high = low - 0.5, high + 0.5
        step = round_step((high - low) / 50)
        low, high = np.floor(low / step + 1e-6) * step, np.ceil(high / step - 1e-6) * step
        return round(float(low), 9), round(float(high), 9)

    def middle(self, name: str) -> float:
        """Where a slice begins."""
        low, high = self.span(name)
        if name in CENTRED and low < 0 < high:
            return 0.0
        column = self[name][:: max(1, len(self) // 50_000)]
        column = column[np.isfinite(column)]
        return float(np.median(column)) if column.size else 0.5 * (low + high)

    def axes(
        self, names: Sequence[str], seen: Sequence[float] | None = None, sizes: Sequence[int] = (1, 1)
    ) -> list[Axis]:
        """Two axes of so many cells over what is ``seen`` (x0, x1, y0, y1), by default over both spans."""
        ends = seen or [v for name in names for v in self.span(name)]
        return [
            Axis(name, low, high, size, self.units[name], label(name))
            for name, low, high, size in zip(names, ends[::2], ends[1::2], sizes, strict=True)
        ]

    def menu(self) -> list[tuple[str, str]]:
        """What a drop-down list offers: label and unit, and the name."""
        return [(f"{label(n)} [{unit}]", n) for n, unit in self.units.items()]


def learnt(fit) -> tuple[str, ...] | None:
    """The columns that a fit is a density of; None for a map, f(x, v)."""
    return getattr(fit, "columns", None)


def label(name: str) -> str:
    """How a coordinate is written."""
    return LABELS.get(name, name)


def plain(unit) -> str:
    """A unit as it is written here: mas/yr."""
    return str(unit).replace(" / ", "/")


def turned(field: Any) -> Any:
    """A DataArray whose magnitudes run downwards when it is drawn."""
    for name in DOWNWARDS.intersection(field.dims):
        field[name].attrs["reverse"] = 1
    return field


def same_scale(x: str, y: str) -> bool:
    """Whether axes in these units are drawn to one scale, as figures draw them."""
    return bool(x) and x == y and x not in ("mag", "dex")
