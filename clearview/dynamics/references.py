"""Published measurements beside a map: pulsars, rotation curves, masses, and the numbers of earlier work."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from astropy import units as u

from clearview.catalogs import read_catalog
from clearview.catalogs.columns import ColumnError
from clearview.dynamics.dustmaps import from_galactic
from clearview.dynamics.fields import acceleration_field
from clearview.field import Axis
from clearview.units import SUN, Sun

MM_S_YR = 1.0227121650537077e-3
"""One (km/s)^2/kpc in mm/s/yr, which is km/s/Myr."""

M_S2 = 3.2407792896664e-14
"""One (km/s)^2/kpc in m/s^2."""

_COLUMNS = {
    "pulsars": ("name", "l", "b", "parallax", "parallax_error", "alos_orbital_mm_s_yr", "alos_orbital_err_mm_s_yr"),
    "rotation_curves": ("reference", "R", "vc", "vc_err_minus", "vc_err_plus"),
    "enclosed_mass": ("reference", "radius", "log10_mass_Msun", "err_minus_dex", "err_plus_dex"),
    "escape_speed": ("reference", "vesc", "err_minus", "err_plus"),
}
"""What each kind of table must have, after a unit at the end of a name (``R_kpc``) has become the column's unit."""

_UNITS = {"l": "deg", "b": "deg", "parallax": "mas", "parallax_error": "mas", "R": "kpc", "radius": "kpc"}
_UNITS |= dict.fromkeys(("vc", "vc_err_minus", "vc_err_plus", "vesc", "err_minus", "err_plus"), "km/s")

_CUT = "cut in published analyses (companion, cluster or distance)"
NOT_GALACTIC = {
    **dict.fromkeys(("J0218+4232", "J1518+4904", "J2129-5721", "B1913+16"), _CUT),
    "J0737-3039B": "the same system as J0737-3039A",
    "J2043+1711": "accelerated by a companion or a passing star (Donlon et al. 2025, ApJ)",
}
"""Systems in published lists that say little about the Galaxy's pull, and why."""


class Published(NamedTuple):
    """A published number.

    Attributes:
        quantity: "a_sun" [m/s^2] or "rho_dm" [GeV/cm^3].
        value, error: in ``units``; the error is one sigma.
        units: of both.
        reference: authors, year, arXiv.
        note: what it is, and whether it was taken from the paper or second hand.
    """

    quantity: str
    value: float
    error: float
    units: str
    reference: str
    note: str


_FLOWS = "Lim, Putney, Buckley & Shih 2023, arXiv:2305.13358"
PUBLISHED = (
    Published("a_sun", 1.94e-10, 0.22e-10, "m s-2", _FLOWS, "second hand; flows and the Boltzmann equation, Gaia DR3"),
    Published(
        "a_sun", 2.32e-10, 0.16e-10, "m s-2", "Gaia Collaboration, Klioner et al. 2021, arXiv:2012.02036", "quasars"
    ),
    Published("rho_dm", 0.47, 0.05, "GeV cm-3", _FLOWS, "average over the Solar radius, spherical"),
    Published("rho_dm", 0.32, 0.18, "GeV cm-3", _FLOWS, "second hand; at the Sun"),
    Published("rho_dm", 0.319, 0.030, "GeV cm-3", "flows with dust, 2025", "second hand; 0.0084 +- 0.0008 Msun/pc^3"),
)
"""Earlier results for the acceleration of the Sun and the local density of dark matter."""


def published(quantity: str | None = None) -> pd.DataFrame:
    """`PUBLISHED` as a table, or the rows of one quantity.

    Raises:
        ValueError: if no row has it.
    """
    table = pd.DataFrame(PUBLISHED)
    if quantity is None:
        return table
    if quantity not in set(table.quantity):
        known = ", ".join(dict.fromkeys(table.quantity))
        raise ValueError(f"Expected a quantity among {known}, got {quantity!r}; choose one of them.")
    return pd.DataFrame([row for row in PUBLISHED if row.quantity == quantity])


def read_reference(path, kind: str, names: Mapping[str, str] | None = None, units=None) -> pd.DataFrame:
    """Read a published table from a file of any kind that `clearview.read_catalog` reads.

    Args:
        path: of the file.
        kind: "pulsars", with name, l, b [deg], parallax, parallax_error [mas], alos_orbital_mm_s_yr and
            alos_orbital_err_mm_s_yr; "rotation_curves", with reference, R [kpc], vc, vc_err_minus, vc_err_plus
            [km/s]; "enclosed_mass", with reference, radius [kpc], log10_mass_Msun, err_minus_dex, err_plus_dex;
            "escape_speed", with reference, vesc, err_minus, err_plus [km/s].
        names, units: as in `clearview.read_catalog`; a unit at the end of a name (``R_kpc``) needs neither.

    Returns:
        One row a measurement, units in ``attrs["units"]``. Pulsars: as in the file. Rotation curves: reference, R,
        R_error, vc, vc_minus, vc_plus. Masses: reference, r, mass, mass_minus, mass_plus [Msun]. Escape speeds:
        reference, vesc, vesc_minus, vesc_plus. Errors are one sigma, positive, downward and upward.

    Raises:
        FileNotFoundError, KeyError, ValueError: if the file or a column of it is not there, or a column has a unit
            that is not the one above, an error that is negative, or a value that is not a number.
    """
    if kind not in _COLUMNS:
        raise ValueError(f"Expected a kind of table among {', '.join(_COLUMNS)}, got {kind!r}; choose one of them.")
    catalog = read_catalog(path, names=names, units=units)
    catalog.require(_COLUMNS[kind])
    for name in set(_UNITS) & set(_COLUMNS[kind]):
        if catalog.unit(name) != u.Unit(_UNITS[name]):
            raise ValueError(
                f"Expected {name} in {_UNITS[name]}, got {catalog.unit(name)}; tell it with units={{column: unit}}, or "
                "convert it."
            )
    table = catalog.to_pandas()
    numbers = [c for c in _COLUMNS[kind] if c not in ("name", "reference")]
    for column in numbers:
        if not pd.api.types.is_numeric_dtype(table[column]):
            raise ValueError(f"Expected numbers in {column}, got {table[column].dtype}; correct the table.")
        if "err" in column and (worst := float(np.nanmin(table[column]))) < 0:
            raise ValueError(f"Expected errors that are not negative in {column}, got {worst:g}; take their size.")
    if kind == "pulsars":
        return table
    if kind == "rotation_curves":
        table = table.rename(columns={"vc_err_minus": "vc_minus", "vc_err_plus": "vc_plus"})
        told = {"R": "kpc", "R_error": "kpc", "vc": "km/s", "vc_minus": "km/s", "vc_plus": "km/s"}
        table["R_error"] = table.get("R_error", np.nan)
    elif kind == "escape_speed":
        table = table.rename(columns={"err_minus": "vesc_minus", "err_plus": "vesc_plus"})
        told = {"vesc": "km/s", "vesc_minus": "km/s", "vesc_plus": "km/s"}
    else:
        mass = 10.0**table.log10_mass_Msun
        low, high = mass * 10.0**-table.err_minus_dex, mass * 10.0**table.err_plus_dex
        table = table.assign(r=table.radius, mass=mass, mass_minus=mass - low, mass_plus=high - mass)
        told = {"r": "kpc", "mass": "Msun", "mass_minus": "Msun", "mass_plus": "Msun"}
    table = pd.DataFrame(table[["reference", *told]])
    table.attrs = {"units": told}
    return table


def pulsar_pulls(
    source, table: pd.DataFrame, *, sun: Sun = SUN, radius: float | None = None, best_parallax: float = 3.0
) -> pd.DataFrame:
    """Accelerations of pulsars relative to the Sun along the line of sight, predicted and measured.

    A binary's orbital period drifts with the Galaxy's pull once the Shklovskii effect and gravitational waves are
    taken out (Chakrabarti et al. 2021, arXiv:2010.04018): predicted is [a(x) - a(Sun)] . l, its error that of the
    parallax alone, by the slope along the line of sight. The errors of the source itself are not in it.

    Args:
        source: a `MapFit`, a `Truth`, or whatever has ``acceleration``.
        table: from `read_reference` with kind "pulsars".
        sun: where the Sun is.
        radius: of the ball around ``source.center`` that is trusted, kpc; by default the source's own.
        best_parallax: pulsars whose parallax is fewer of its errors than this are flagged, for their distance.

    Returns:
        One row for each pulsar measured, accelerations in mm/s/yr = km/s/Myr: name, x, y, z, distance [kpc],
        predicted, predicted_error, measured, measured_error, pull = (measured - predicted) / total error, note (why
        it is not to be trusted, empty otherwise; see `NOT_GALACTIC`), used (whether pull is a number and there is no
        note). Outside the ball, or without a positive parallax, predicted and pull are NaN. ``attrs`` has chi2 and n
        of those used.

    Raises:
        KeyError: if columns are missing.
        ValueError: if no pulsar is measured, or the Sun is outside the ball.
    """
    if missing := [c for c in _COLUMNS["pulsars"] if c not in table]:
        raise ColumnError(
            f"Expected columns {', '.join(missing)} in the table of pulsars, got none; use read_reference."
        )
    center = np.asarray(getattr(source, "center", sun.position), float)
    radius = float(getattr(source, "radius", np.inf)) if radius is None else radius
    if np.linalg.norm(sun.position - center) > radius:
        raise ValueError(f"Expected the Sun within the ball, got a ball of {radius:g} kpc around {center}; map it.")
    measured = np.isfinite(table.alos_orbital_mm_s_yr) & (table.alos_orbital_err_mm_s_yr > 0)
    table = pd.DataFrame(table[measured]).reset_index(drop=True)
    if table.empty:
        raise ValueError("Expected pulsars with alos_orbital_mm_s_yr and its error, got none; use another table.")
    parallax, error = (table[c].to_numpy(float) for c in ("parallax", "parallax_error"))
    distance = np.where(parallax > 0, 1 / np.where(parallax > 0, parallax, np.nan), np.nan)
    way = from_galactic(table.l, table.b, np.ones(len(table)), sun) - sun.position
    inside = np.linalg.norm(sun.position + distance[:, None] * way - center, axis=1) <= radius

    def along(d):
        x = np.where(inside[:, None], sun.position + d[:, None] * way, sun.position)
        a = np.asarray(source.acceleration(np.concatenate([x, sun.position[None]])), float)
        return np.where(inside, ((a[:-1] - a[-1]) * way).sum(1), np.nan) * MM_S_YR

    step = 0.02 * np.where(inside, distance, 1.0)
    slope = (along(distance) - along(distance - step)) / step
    predicted, predicted_error = along(distance), np.abs(slope) * distance * error / np.where(inside, parallax, np.nan)
    measured, measured_error = (table[c].to_numpy(float) for c in ("alos_orbital_mm_s_yr", "alos_orbital_err_mm_s_yr"))
    note = [
        "; ".join(
            text for text, said in (
                (NOT_GALACTIC.get(str(name).strip(), ""), True),
                ("no positive parallax", not p > 0),
                ("outside the ball", p > 0 and not within),
                (f"parallax below {best_parallax:g} sigma", p > 0 and not p >= best_parallax * e),
            ) if said and text
        )
        for name, p, e, within in zip(table.name, parallax, error, inside, strict=True)
    ]  # fmt: skip
    x = sun.position + distance[:, None] * way
    pull = (measured - predicted) / np.hypot(measured_error, predicted_error)
    out = pd.DataFrame(dict(
        name=table.name, x=x[:, 0], y=x[:, 1], z=x[:, 2], distance=distance, predicted=predicted,
        predicted_error=predicted_error, measured=measured, measured_error=measured_error, pull=pull, note=note,
    ))  # fmt: skip
    out["used"] = np.isfinite(pull) & (out.note == "")
    units = dict.fromkeys(("x", "y", "z", "distance"), "kpc")
    units |= dict.fromkeys(("predicted", "predicted_error", "measured", "measured_error"), "mm s-1 yr-1")
    provenance: dict[str, Any] = {"source": type(source).__name__, **getattr(source, "provenance", {})}
    out.attrs = {
        **provenance, "units": units, "n": int(out.used.sum()), "chi2": float((out.pull[out.used] ** 2).sum())
    }  # fmt: skip
    return out


def along_axes(
    source, *, reach: float | None = None, size: int = 81, sun: Sun = SUN, density=None
) -> dict[str, xr.Dataset]:
    """Acceleration, potential and density along lines through the Sun parallel to x, y and z: the papers' plots.

    Plot the same of ``Truth("MWPotential2014")`` beside it, dashed.

    Args:
        source: a `MapFit`, a `Truth`, or whatever has ``acceleration`` and ``potential``.
        reach: of each line on both sides of the Sun, kpc; by default the source's radius, or 4.
        size: points of a line; odd, so that the Sun is one.
        sun: where the Sun is.
        density: (N, 3) kpc -> (N,) mass density in Msun/kpc^3, for example ``truth.density``; None for none.

    Returns:
        For each of "x", "y", "z" a field along that axis, as of `clearview.dynamics.acceleration_field`, with
        ``density`` [Msun kpc-3] if asked for; NaN outside the ball.

    Raises:
        ValueError: if ``size`` is not odd, or ``reach`` not positive.
    """
    reach = 0.999 * float(getattr(source, "radius", 4.0)) if reach is None else reach
    if size < 3 or size % 2 == 0:
        raise ValueError(f"Expected an odd number of points of at least 3, got {size}; take {size + 1}.")
    if not 0 < reach < np.inf:
        raise ValueError(f"Expected a positive reach in kpc, got {reach}; correct it.")
    half = reach * size / (size - 1)  # the first and last cell centres are at the reach
    curves = {}
    for i, name in enumerate("xyz"):
        at = float(sun.position[i])
        fixed = {other: float(sun.position[j]) for j, other in enumerate("xyz") if j != i}
        field = acceleration_field(source, [Axis(name, at - half, at + half, size)], fixed, center=sun.position)
        if density is not None:
            x = np.repeat(sun.position[None], size, 0)
            x[:, i] = field[name]
            rho = np.where(np.isfinite(field.a_x), np.asarray(density(x), float), np.nan)
            field["density"] = name, rho, {"units": "Msun kpc-3", "long_name": "ρ"}
        curves[name] = field
    return curves
