"""What of a catalogue a dwarf is fitted to, and what no dwarf can be fitted to, in a sentence."""

from typing import NamedTuple

import numpy as np
from astropy import units as u

from clearview import checks
from clearview.catalogs import Catalog

FEWEST = 30
"""Stars with velocities."""

_FASTEST = 2000.0  # km/s: no star of the Milky Way's surroundings is faster
_WIDEST = 45.0  # km/s: no dwarf spheroidal moves so fast within


class Seen(NamedTuple):
    """The stars of a dwarf.

    Attributes:
        R: (N,) kpc from the centre on the sky.
        v: (N,) line-of-sight velocity, km/s; NaN of a star without.
        error: (N,) of it, km/s.
        center: rough systemic velocity, km/s.
        spread: rough dispersion without the errors, km/s.
        half: rough half-light radius, kpc.
    """

    R: np.ndarray
    v: np.ndarray
    error: np.ndarray
    center: float
    spread: float
    half: float


def stars_of(stars: Catalog, *, foreground: bool, radius: float | None) -> Seen:
    """The columns that a fit takes.

    Args:
        stars: with R, or x and y, about the centre [kpc]; v_los, or radial_velocity, or vz [km/s], NaN for stars
            without a velocity; and v_los_error, or radial_velocity_error.
        foreground: whether there are stars among them that are no members.
        radius: of the field, kpc, or None.

    Raises:
        TypeError: for what is no catalogue.
        KeyError: if a column is missing.
        ValueError: for fewer than 30 stars with velocities, places or velocities that are not finite, errors that are
            missing or not positive, values of thousands of km/s, stars all at one place, outside the field, or labelled
            as no members, velocities of a foreground, or a wrong unit.
    """
    checks.a(stars, Catalog, "the stars as a Catalog")
    v_name = next((name for name in ("v_los", "radial_velocity", "vz") if name in stars), "v_los")
    e_name = "v_los_error" if v_name == "vz" else f"{v_name}_error"
    stars.require([*(["R"] if "R" in stars else ["x", "y"]), v_name, e_name])
    R = kpc(stars, "R") if "R" in stars else np.hypot(kpc(stars, "x"), kpc(stars, "y"))
    v, error = (_values(stars, name) for name in (v_name, e_name))
    if wrong := int((~np.isfinite(R)).sum() + (R < 0).sum()):
        raise ValueError(f"Expected finite R of at least 0, got {wrong:,} stars without; remove them.")
    if wrong := int(np.isinf(v).sum()):
        raise ValueError(f"Expected {v_name} finite, or NaN for stars without, got {wrong:,} infinite; remove them.")
    known = np.isfinite(v)
    if known.sum() < FEWEST:
        raise ValueError(
            f"Expected at least {FEWEST} stars with velocities, got {int(known.sum())} of {len(stars):,}; add stars."
        )
    if wrong := int((~np.isfinite(error[known])).sum()):
        raise ValueError(f"Expected {e_name} of each star with a velocity, got {wrong:,} without; remove them.")
    if wrong := int((error[known] < 0).sum()):
        raise ValueError(f"Expected {e_name} above 0, got {wrong:,} negative ones; correct them.")
    if wrong := int((error[known] == 0).sum()):
        raise ValueError(f"Expected {e_name} above 0, got {wrong:,} that are 0; give what the spectrograph reaches.")
    if "is_member" in stars and not np.asarray(stars["is_member"], bool).any():
        raise ValueError("Expected members of the galaxy, got stars that is_member calls none; choose others.")
    if np.ptp(R) <= 1e-9 * R.max() or np.unique(R).size < FEWEST / 2:
        raise ValueError(
            f"Expected stars at different distances from the centre, got {np.unique(R).size}; give R, or x and y."
        )
    if radius is not None and (wrong := int((radius < R).sum())):
        raise ValueError(
            f"Expected stars within the field of {radius:g} kpc, got {wrong:,} outside; cut or enlarge it."
        )
    if not np.ptp(v[known]) > 0:
        raise ValueError("Expected different velocities, got all the same; correct the column.")
    center, total = _narrowest(v[known])
    if wrong := int((np.abs(v[known] - center) > _FASTEST).sum() + (error[known] > _FASTEST).sum()):
        raise ValueError(
            f"Expected {v_name} and {e_name} within {_FASTEST:,.0f} km/s of the galaxy's, got {wrong:,} beyond, which "
            "stand for no value; remove them."
        )
    spread = np.sqrt(max(total**2 - np.median(error[known]) ** 2, 0.01 * total**2))
    if not foreground and spread > _WIDEST:
        raise ValueError(
            f"Expected the velocities of a dwarf's members, got a spread of {spread:.0f} km/s as of a foreground; "
            "select members, or set foreground=True."
        )
    near = known & (np.abs(v - center) < 3 * total) if foreground else np.ones(len(R), bool)
    half = float(np.median(R[near]))
    # In half-light radii of a thousandth nobody is seen, and ln(R) has to be finite.
    return Seen(np.maximum(R, 1e-3 * half), v, error, center, float(spread), half)


def digest_of(stars: Catalog) -> str:
    """Digest of the columns that `stars_of` takes."""
    names = ("R", "x", "y", "v_los", "v_los_error", "radial_velocity", "radial_velocity_error", "vz")
    return stars.digest([name for name in names if name in stars])


def enough_members(members: float, stars: int) -> None:
    """Refuse a foreground without a galaxy.

    Raises:
        ValueError: for fewer than ten members among the stars with velocities.
    """
    if members < 10:
        raise ValueError(
            f"Expected members of a galaxy among the stars, got about {members:.0f} beside a foreground of "
            f"{stars - members:,.0f}; choose stars nearer to it."
        )


def _values(stars: Catalog, name: str) -> np.ndarray:
    return np.ma.filled(np.ma.asarray(stars[name], float), np.nan)


def kpc(stars: Catalog, name: str) -> np.ndarray:
    """(N,) a column of lengths, kpc; NaN where there is none.

    Raises:
        ValueError: for a column in another unit.
    """
    unit = stars.unit(name)
    try:
        return _values(stars, name) * (unit or u.dimensionless_unscaled).to(u.kpc)
    except u.UnitConversionError:
        raise ValueError(f"Expected {name} in kpc, got {unit or 'no unit'}; attach the unit, or convert it.") from None


def _narrowest(v: np.ndarray) -> tuple[float, float]:
    """Middle and standard deviation of a Gaussian peak, by the shortest interval of four tenths of the values."""
    v, part = np.sort(v), 0.4
    k = max(int(part * len(v)), 5)
    widths = v[k:] - v[:-k]
    i = int(np.argmin(widths))
    # In it lie the four tenths within 0.524 standard deviations.
    return float((v[i] + v[i + k]) / 2), float(max(widths[i] / (2 * 0.524), 1e-3))
