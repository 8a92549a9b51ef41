"""What is to be known of a catalogue before a map is learnt from it: numbers, pictures' fields and plain warnings."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from html import escape
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from clearview.checks import ABOVE_0, a, number
from clearview.field import Axis, Quantity, make_field

from .catalog import Catalog
from .columns import PHASE_SPACE
from .deredden import galactic
from .frames import _KMS_PER_MASYR_KPC, to_cylindrical, to_galactocentric, to_sky
from .select import NoStars, Outliers, Unique, _numbers, sun_distance

CELLS = (24, 12)
"""Cells of one area on the sky, 143 square degrees: along l, and along sin b."""

RUWE = 1.4
WIDE = 10.0
"""Robust half widths from which on a velocity is an outlier."""

_FEWEST = 1000  # stars below which the sky or the ball may be empty by chance


class Spread(NamedTuple):
    """The 5th, 50th and 95th percentile."""

    low: float
    middle: float
    high: float

    def __str__(self):
        return f"{self.middle:.3g} ({self.low:.3g} to {self.high:.3g})"


@dataclass(frozen=True, repr=False)
class Quality:
    """The quality of a catalogue; what cannot be told from its columns is None.

    Attributes:
        stars: how many.
        radius: of the ball around the Sun that was asked about, kpc.
        missing: stars without a finite value, by column; columns without gaps are left out.
        repeated: stars that are there already, see `Unique`.
        ruwe: share of the stars with RUWE > `RUWE`.
        parallax_snr: parallax over its error.
        parallax_negative: share of the stars with a parallax of zero or below.
        radial_velocity_error: km/s.
        g_limit: magnitude G at which the counts turn over, to which the stars are complete at best.
        velocity_limit: magnitude G beyond which less than half of the stars have a radial velocity: of stars asked for
            with and without one, as by ``GaiaBall(radial_velocity=False)``.
        M_limit: absolute magnitude M_G than which 1% of the stars in the outer fifth of the ball (or of what of it has
            stars) are fainter.
        too_faint: share of all stars that are fainter than that, so would not be seen there.
        reach: distance from the Sun within which 99% of the stars are, kpc.
        inside: share of the stars in the ball.
        octants: stars in the ball by octant about the Sun: x, y, z below it or beyond, x slowest.
        sky_empty: share of the sky, in `CELLS` of one area, without a star.
        mean: of v_R, v_phi, v_z, km/s.
        dispersion: standard deviation of these, km/s.
        half_width: half of the 16th to the 84th percentile of these, which a few bad spectra cannot spoil, km/s.
        outliers: stars with vx, vy or vz beyond `WIDE` half widths.
        distance_error: of the stars in the outer fifth of the ball, the median of parallax_error / parallax.
        velocity_error: of the same, the median error of the velocity across the line of sight, km/s: of the proper
            motion, 4.74 d sigma_mu, and of the distance, v_t sigma_parallax / parallax.
        broadened: by how much that raises the square of the smallest half width, as a share of it.
        warnings: what is to be looked at, in sentences.
        fields: counts for pictures, each on its own axes; see `clearview.figures.quality_views`.
    """

    stars: int
    radius: float
    missing: Mapping[str, int]
    repeated: int | None
    ruwe: float | None
    parallax_snr: Spread | None
    parallax_negative: float | None
    radial_velocity_error: Spread | None
    g_limit: float | None
    velocity_limit: float | None
    M_limit: float | None
    too_faint: float | None
    reach: float | None
    inside: float | None
    octants: tuple[int, ...] | None
    sky_empty: float | None
    mean: tuple[float, ...] | None
    dispersion: tuple[float, ...] | None
    half_width: tuple[float, ...] | None
    outliers: int | None
    distance_error: float | None
    velocity_error: float | None
    broadened: float | None
    warnings: tuple[str, ...]
    fields: xr.Dataset

    def _rows(self) -> list[tuple[str, str]]:
        rows = []
        for name in (f.name for f in fields(self) if f.name not in ("warnings", "fields")):
            value, (words, unit) = getattr(self, name), _WORDS[name]
            if value is not None and value != {}:
                rows.append((words, f"{_told(value)} {unit}".strip() if unit != "%" else f"{value:.2%}"))
        return rows

    def __repr__(self):
        wide = max(len(words) for words, _ in self._rows())
        lines = [f"{words:{wide}}  {value}" for words, value in self._rows()]
        return "\n".join(["Quality of a catalogue", *lines, *(f"! {words}" for words in self.warnings)])

    def _repr_html_(self):
        rows = "".join(
            f'<tr><td style="text-align:left">{escape(words)}</td><td style="text-align:left">{escape(value)}</td></tr>'
            for words, value in self._rows()
        )
        warned = "".join(f"<li>{escape(words)}</li>" for words in self.warnings)
        warned = f"<b>To be looked at</b><ul>{warned}</ul>" if warned else "<p>Nothing to be looked at.</p>"
        return f"<div><b>Quality of a catalogue</b><table>{rows}</table>{warned}</div>"


_WORDS = {
    "stars": ("stars", ""), "radius": ("ball asked about", "kpc"), "missing": ("without a value", ""),
    "repeated": ("there twice", "stars"), "ruwe": (f"RUWE > {RUWE}", "%"),
    "parallax_snr": ("parallax over error", ""), "parallax_negative": ("parallax not positive", "%"),
    "radial_velocity_error": ("error of radial velocity", "km/s"), "g_limit": ("counts in G turn over at", "mag"),
    "velocity_limit": ("half without radial velocity from", "mag"),
    "M_limit": ("faintest M_G at the edge", "mag"), "too_faint": ("fainter than that", "%"),
    "reach": ("99% of the stars within", "kpc"),
    "inside": ("in the ball", "%"), "octants": ("by octant in the ball", "stars"),
    "sky_empty": ("sky without stars", "%"),
    "mean": ("mean v_R, v_phi, v_z", "km/s"), "dispersion": ("dispersion of these", "km/s"),
    "half_width": ("robust half width of these", "km/s"), "outliers": ("outliers in velocity", "stars"),
    "distance_error": ("error of distance at the edge", "%"),
    "velocity_error": ("error across the sight line there", "km/s"),
    "broadened": ("it adds to the least dispersion²", "%"),
}  # fmt: skip


def _told(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {count:,}" for name, count in value.items())
    if isinstance(value, tuple) and not isinstance(value, Spread):
        return ", ".join(_told(v) for v in value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)


def quality(catalog: Catalog, radius: float = 4.0) -> Quality:
    """Looks at a catalogue before a map is learnt from it.

    Args:
        catalog: stars; each number and picture is made where there are columns for it, and without phase space what
            `to_galactocentric` would give is looked at.
        radius: of the ball around the catalogue's Sun that is to be mapped, kpc.

    Raises:
        ValueError: for a radius that is not positive.
    """
    a(catalog, Catalog, "a Catalog")
    number("radius", radius, ABOVE_0)
    found: dict[str, Any] = dict.fromkeys(_WORDS) | {"stars": len(catalog), "radius": float(radius)}
    fields: list[xr.Dataset] = []
    found["missing"] = {name: n for name in catalog.columns if (n := _gaps(catalog[name]))}
    if "source_id" in catalog or {"ra", "dec", "pmra", "pmdec"} <= set(catalog.columns) or catalog.has_phase_space:
        found["repeated"] = int((~Unique().test(_finite_phase_space(catalog))[0]).sum())
    _astrometry(catalog, found, fields)
    needed = {"ra", "dec", "pmra", "pmdec", "radial_velocity"}
    placed = catalog
    if (
        not catalog.has_phase_space
        and needed <= set(catalog.columns)
        and {"distance", "parallax"} & set(catalog.columns)
    ):
        with suppress(NoStars):  # none has all that is needed, as a patch of faint stars: the rest can be told
            placed = to_galactocentric(catalog)
    placed = _finite_phase_space(placed)
    _places(placed, found)
    _sky(catalog if {"ra", "dec"} <= set(catalog.columns) else placed, found, fields)
    _photometry(placed, found, fields)
    _selection(catalog, found, fields)
    if placed.has_phase_space:
        _velocities(placed, found, fields)
    # Of stars with distances of another kind the parallaxes matter less.
    rules = [rule for rule in _RULES if rule is not _noisy_parallax or "distance" not in catalog]
    warnings = tuple(words for rule in rules if (words := rule(found)))
    merged = xr.merge(fields, combine_attrs="drop_conflicts") if fields else xr.Dataset()
    return Quality(**found, warnings=warnings, fields=merged)


def _gaps(values: np.ndarray) -> int:
    if np.ma.isMaskedArray(values):
        return int(np.ma.getmaskarray(values).sum())
    return int((~np.isfinite(values)).sum()) if values.dtype.kind == "f" else 0


def _finite_phase_space(catalog: Catalog) -> Catalog:
    if not catalog.has_phase_space:
        return catalog
    fine = np.logical_and.reduce([np.isfinite(np.asarray(_numbers(catalog, name))) for name in PHASE_SPACE])
    return catalog.take(fine) if fine.any() else catalog


def _column(catalog: Catalog, name: str) -> np.ndarray:
    return np.asarray(_numbers(catalog, name), float)


def _spread(values: np.ndarray) -> Spread | None:
    values = values[np.isfinite(values)]
    return Spread(*map(float, np.percentile(values, [5, 50, 95]))) if values.size else None


def _counts(name: str, label: str, axes: tuple[Axis, ...], *columns: np.ndarray) -> xr.Dataset:
    edges = [np.linspace(a.low, a.high, a.size + 1) for a in axes]
    counts = np.histogramdd(np.stack(columns, -1), edges)[0]
    return make_field(axes, {name: Quantity(counts.astype(np.int32), "", label)})


def _astrometry(catalog: Catalog, found: dict[str, Any], fields: list) -> None:
    if "ruwe" in catalog:
        ruwe = _column(catalog, "ruwe")
        found["ruwe"] = float(np.mean(ruwe > RUWE))
        fields.append(_counts("ruwe_counts", "stars", (Axis("ruwe", 0.6, 3.0, 48, "", "RUWE"),), ruwe))
    if "radial_velocity_error" in catalog:
        found["radial_velocity_error"] = _spread(_column(catalog, "radial_velocity_error"))
    if "parallax" in catalog:
        parallax = _column(catalog, "parallax")
        found["parallax_negative"] = float(np.mean(parallax <= 0))
        if "parallax_error" in catalog:
            with np.errstate(divide="ignore", invalid="ignore"):
                snr = parallax / _column(catalog, "parallax_error")
                found["parallax_snr"] = _spread(snr)
                axes = (
                    Axis("distance", 0, 1.25 * found["radius"], 50, "kpc", "1 / parallax"),
                    Axis("log_snr", 0, 3, 48, "", "log₁₀(parallax / error)"),
                )
                fields.append(_counts("parallax_snr", "stars", axes, 1 / parallax, np.log10(np.maximum(snr, 1e-9))))


def _places(catalog: Catalog, found: dict[str, Any]) -> None:
    columns = set(catalog.columns)
    if {"x", "y", "z"} <= columns or {"distance", "parallax"} & columns:
        far = np.asarray(sun_distance(catalog), float)
        if np.isfinite(far).any():
            found["reach"] = float(np.nanquantile(far, 0.99))
            found["inside"] = float(np.mean(far <= found["radius"]))
    if {"x", "y", "z"} <= columns:
        beyond = [_column(catalog, n) > at for n, at in zip("xyz", catalog.sun.position, strict=True)]
        octant = 4 * beyond[0] + 2 * beyond[1] + beyond[2]
        counts = np.bincount(octant[far <= found["radius"]], minlength=8)
        found["octants"] = tuple(int(n) for n in counts)


def _sky(catalog: Catalog, found: dict[str, Any], fields: list) -> None:
    columns = set(catalog.columns)
    if not ({"l", "b"} <= columns or {"ra", "dec"} <= columns):
        if not catalog.has_phase_space:
            return
        catalog = to_sky(catalog)
    l, b = galactic(catalog)
    cells = (np.linspace(-180, 180, CELLS[0] + 1), np.linspace(-1, 1, CELLS[1] + 1))
    counts = np.histogram2d((l + 180) % 360 - 180, np.sin(np.deg2rad(b)), cells)[0]
    if len(catalog) >= _FEWEST:
        found["sky_empty"] = float(np.mean(counts == 0))
    axes = (Axis("l", -180, 180, 120, "deg", "Galactic longitude"), Axis("b", -90, 90, 60, "deg", "Galactic latitude"))
    at = [
        np.searchsorted(edges, values) - 1
        for edges, values in zip(cells, (axes[0].values, np.sin(np.deg2rad(axes[1].values))), strict=True)
    ]
    area = 4 * np.pi * np.rad2deg(1) ** 2 / np.prod(CELLS)
    density = (counts / area)[np.ix_(*at)].astype(np.float32)
    fields.append(make_field(axes, {"sky": Quantity(density, "deg-2", "stars")}))


def _photometry(catalog: Catalog, found: dict[str, Any], fields: list) -> None:
    if "phot_g_mean_mag" not in catalog:
        return
    G = _column(catalog, "phot_g_mean_mag")
    axis = Axis("phot_g_mean_mag", 2, 22, 80, "mag", "G")
    counted = _counts("magnitude", "stars", (axis,), G)
    fields.append(counted)
    counts = counted["magnitude"].values
    if counts.sum() < _FEWEST:
        return
    found["g_limit"] = float(axis.low + (axis.high - axis.low) / axis.size * (np.argmax(counts) + 1))
    if found["reach"] is not None:
        far = np.asarray(sun_distance(catalog), float)
        with np.errstate(divide="ignore", invalid="ignore"):
            absolute = G - 5 * np.log10(100 * far)
        outer = _outer(far, found) & np.isfinite(absolute)
        if outer.sum() >= 100:
            found["M_limit"] = float(np.quantile(absolute[outer], 0.99))
            found["too_faint"] = float(np.mean(absolute > found["M_limit"]))


def _selection(catalog: Catalog, found: dict[str, Any], fields: list) -> None:
    """By G the share of the stars that have a radial velocity, which a 6-D sample is chosen by."""
    if not {"phot_g_mean_mag", "radial_velocity"} <= set(catalog.columns):
        return
    G, has = _column(catalog, "phot_g_mean_mag"), np.isfinite(_column(catalog, "radial_velocity"))
    if has.all():
        return
    axis = Axis("phot_g_mean_mag", 2, 22, 80, "mag", "G")
    every, those = (_counts("n", "", (axis,), g)["n"].values for g in (G, G[has]))
    with np.errstate(invalid="ignore"):
        share = those / np.where(every > 0, every, np.nan)
        # Laplace's rule, so that few stars that all have one are not without error.
        smooth = (those + 1) / (every + 2)
        error = np.where(every > 0, np.sqrt(smooth * (1 - smooth) / np.maximum(every, 1)), np.nan)
    words = "share with a radial velocity"
    fields.append(make_field((axis,), {
        "velocity_share": Quantity(share.astype(np.float32), "", words),
        "velocity_share_error": Quantity(error.astype(np.float32), "", f"{words}, error"),
    }))  # fmt: skip
    sure = (every >= 30) & (share < 0.5) & (np.arange(axis.size) > np.nanargmax(np.where(every >= 30, share, -1.0)))
    if sure.any():
        found["velocity_limit"] = float(axis.low + (axis.high - axis.low) / axis.size * np.argmax(sure))


def _outer(far: np.ndarray, found: dict[str, Any]) -> np.ndarray:
    """(N,) whether stars at these distances are in the outer fifth of the ball, or of what there is of it."""
    edge = min(found["reach"], found["radius"])
    return (far > 0.8 * edge) & (far <= edge)


def _velocities(catalog: Catalog, found: dict[str, Any], fields: list) -> None:
    w = np.asarray(catalog.phase_space, float)
    vR, vphi, vz = to_cylindrical(w[:, :3], w[:, 3:])[3:]
    cylinder = np.stack([vR, vphi, vz])
    low, high = np.percentile(cylinder, [15.865, 84.135], axis=1)
    found["mean"], found["dispersion"] = (tuple(map(float, v)) for v in (cylinder.mean(1), cylinder.std(1)))
    found["half_width"] = half = tuple(map(float, (high - low) / 2))
    if min(half) > 0:
        found["outliers"] = int((~Outliers("vx", "vy", "vz", k=WIDE).test(catalog)[0]).sum())
    axis = Axis("velocity", -400, 400, 160, "km/s", "velocity")
    for name, label, v in (("v_R", "v_R", vR), ("v_phi", "v_φ", vphi), ("v_z", "v_z", vz)):
        fields.append(_counts(name, label, (axis,), v))
    axes = (Axis("vphi", -200, 400, 120, "km/s", "v_φ"), Axis("v_across", 0, 300, 60, "km/s", "√(v_R² + v_z²)"))
    fields.append(_counts("toomre", "stars", axes, vphi, np.hypot(vR, vz)))
    errors = ("parallax", "parallax_error", "pmra", "pmdec", "pmra_error", "pmdec_error")
    if found["reach"] is None or "distance" in catalog or not set(errors) <= set(catalog.columns):
        return
    far = np.asarray(sun_distance(catalog), float)
    if not (outer := _outer(far, found)).any():
        return
    plx, plx_e, a, d, a_e, d_e = (_column(catalog, name)[outer] for name in errors)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = plx_e / plx
        moving = _KMS_PER_MASYR_KPC * far[outer] * np.sqrt((a_e**2 + d_e**2) / 2)
        placing = _KMS_PER_MASYR_KPC * far[outer] * np.hypot(a, d) * share
        across = np.sqrt(moving**2 + placing**2 / 2)  # the error of the distance acts along the motion only
    if np.isfinite(across).any():
        found["distance_error"], found["velocity_error"] = float(np.nanmedian(share)), float(np.nanmedian(across))
        found["broadened"] = found["velocity_error"] ** 2 / min(half) ** 2 if min(half) > 0 else None


Rule = Callable[[dict[str, Any]], str | None]


def _missing(q) -> str | None:
    named = {k: n for k, n in q["missing"].items() if k in (*PHASE_SPACE, *_NEEDED)}
    if named:
        return (
            f"{_told(named)} of {q['stars']:,} stars have no value: to_galactocentric() removes them and reports it; "
            "make sure that they have none by chance."
        )


_NEEDED = ("ra", "dec", "parallax", "pmra", "pmdec", "radial_velocity")


def _repeated(q) -> str | None:
    if q["repeated"]:
        return f"{q['repeated']:,} stars are there already: cut them with Unique()."


def _binaries(q) -> str | None:
    if q["ruwe"] is not None and q["ruwe"] > 0.01:
        return (
            f"{q['ruwe']:.1%} of the stars have RUWE > {RUWE}, as binaries and bad astrometry have: cut them with "
            f"Box(ruwe=(None, {RUWE}))."
        )


def _noisy_parallax(q) -> str | None:
    if q["parallax_negative"]:
        return (
            f"{q['parallax_negative']:.2%} of the parallaxes are not positive and have no distance, those near zero a "
            "wrong one: cut with ParallaxQuality(3)."
        )
    if q["parallax_snr"] is not None and q["parallax_snr"].low < 3:
        return (
            f"5% of the parallaxes are below {q['parallax_snr'].low:.1f} times their error: 1 / parallax is no "
            "distance for them; cut with ParallaxQuality(3)."
        )


def _no_errors(q) -> str | None:
    if q["parallax_negative"] is not None and q["parallax_snr"] is None:
        return "There is no parallax_error: what measurement errors do to the map cannot be told."


def _outlying(q) -> str | None:
    if q["outliers"] is not None and q["outliers"] > 0.005 * q["stars"]:
        return (
            f"{q['outliers']:,} stars have a velocity beyond {WIDE:g} robust half widths, more than a halo has there: "
            "bad spectra? Look at select(~Outliers('vx', 'vy', 'vz')), and cut with Speed(max=)."
        )


def _unfilled(q) -> str | None:
    if q["reach"] is not None and q["reach"] < 0.5 * q["radius"]:
        return (
            f"The stars do not fill the ball of {q['radius']:g} kpc: 99% are within {q['reach']:.3g} kpc; map no more "
            f"than that, MapConfig(radius={q['reach']:.2g})."
        )


def _outside(q) -> str | None:
    if q["inside"] is not None and q["inside"] < 0.5:
        return f"Only {q['inside']:.1%} of the stars are within {q['radius']:g} kpc; the others are not mapped."


def _too_near(q) -> str | None:
    if q["reach"] is not None and q["reach"] < 0.8:  # a tenth of the way to the centre
        return (
            f"The stars reach only {q['reach']:.2g} kpc from the Sun, and over so little density and motions hardly "
            "change: they cannot constrain |a|, only f(x, v); clearview.dynamics.identifiability tells place by place."
        )


def _half_sky(q) -> str | None:
    if q["sky_empty"] is not None and q["sky_empty"] > 0.05:
        return (
            f"{q['sky_empty']:.0%} of the sky has no star: the sample ends elsewhere than at the edge of the ball, and "
            "its density cannot be used there; a map of the force needs the whole sky, or a ball that is filled."
        )


def _half_ball(q) -> str | None:
    if q["octants"] and sum(q["octants"]) >= _FEWEST and min(q["octants"]) < 0.05 * max(q["octants"]):
        return (
            f"One octant of the ball about the Sun has {min(q['octants']):,} stars, another {max(q['octants']):,}: "
            "a part of it is not seen."
        )


def _incomplete(q) -> str | None:
    if q["too_faint"] is not None and q["too_faint"] > 0.05:
        return (
            f"{q['too_faint']:.0%} of the stars are fainter than nearly all at {min(q['reach'], q['radius']):.3g} kpc "
            "are, so that the density falls with distance because they are not seen there: cut with "
            f"AbsoluteMagnitude({q['M_limit']:.2f})."
        )


def _broad(q) -> str | None:
    if q["broadened"] is not None and q["broadened"] > 0.05:
        return (
            f"At the edge errors of {q['velocity_error']:.2g} km/s across the line of sight (distances to "
            f"{q['distance_error']:.1%}) raise the square of the least dispersion by {q['broadened']:.0%}: expect a "
            "bias, see error_budget and simex_map."
        )


_RULES: tuple[Rule, ...] = (
    _missing, _repeated, _binaries, _noisy_parallax, _no_errors, _outlying, _unfilled, _outside, _too_near,
    _half_sky, _half_ball, _incomplete, _broad,
)  # fmt: skip
