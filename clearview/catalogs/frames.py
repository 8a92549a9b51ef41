"""From the sky to the internal Galactocentric frame (see `clearview.units`) and back, by astropy."""

from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.coordinates import ICRS, CartesianDifferential, CartesianRepresentation, Galactocentric

from clearview.units import Sun

from .columns import PHASE_SPACE
from .select import Finite, Positive, judge

if TYPE_CHECKING:
    from .catalog import Catalog

_FLIP = np.array([-1.0, -1.0, 1.0])
_CHUNK = 500_000  # astropy holds some thirty doubles a star while it works


def _frame(sun: Sun) -> Galactocentric:
    # All parameters are given, because astropy's defaults can be changed from outside.
    return Galactocentric(
        galcen_coord=ICRS(ra=266.4051 * u.deg, dec=-28.936175 * u.deg),  # Reid & Brunthaler 2004
        galcen_distance=sun.R * u.kpc,
        z_sun=sun.z * u.kpc,
        galcen_v_sun=CartesianDifferential(_FLIP * sun.velocity * u.km / u.s),
        roll=0 * u.deg,
    )


def to_galactocentric(catalog: "Catalog", sun: Sun | None = None, distance: str | None = None) -> "Catalog":
    """Adds x, y, z [kpc] and vx, vy, vz [km/s] (float32) in the internal frame.

    Stars with a non-finite needed value or a distance that is not positive are removed and reported. A
    catalogue that has phase space only loses its non-finite stars, so that calling twice does no harm.

    Args:
        catalog: with ra, dec, pmra, pmdec, radial_velocity and a distance or parallax.
        sun: the Sun to assume; by default ``catalog.sun``, `clearview.units.SUN` unless meta says else.
        distance: the column that gives the distance: any in a unit of length, or ``"parallax"`` for its
            inverse; by default ``distance`` if there is one, else ``parallax``.

    Raises:
        KeyError: if columns are missing.
        ValueError: if no star is left, a declination is beyond 90 deg, the column is no distance, or the
            catalogue has phase space and another Sun or distance is asked for.
    """
    sun = sun or catalog.sun
    if catalog.has_phase_space:
        if distance is not None or sun != catalog.sun:
            raise ValueError(
                "Expected a catalogue without x, y, z, vx, vy, vz to take another Sun or distance, got one "
                "that has them; start from the catalogue as it was read."
            )
        return _complete(catalog, [Finite(name) for name in PHASE_SPACE])
    distance = distance or ("distance" if "distance" in catalog else "parallax")
    needed = ("ra", "dec", distance, "pmra", "pmdec", "radial_velocity")
    catalog.require(needed)
    unit = catalog.unit(distance)
    if distance != "parallax" and not (unit and unit.is_equivalent(u.kpc)):
        raise ValueError(f"Expected {distance} in a unit of length, got {unit}; tell its unit with units=.")
    stars = _complete(catalog, [*(Finite(name) for name in needed), Positive(distance)])
    if np.abs(stars["dec"]).max() > 90:
        raise ValueError("Expected dec within 90 deg, got values beyond; check its unit.")

    frame, out = _frame(sun), np.empty((len(stars), 6), np.float32)
    for start in range(0, len(stars), _CHUNK):
        rows = slice(start, start + _CHUNK)
        ra, dec, far, pmra, pmdec, rv = (stars[name][rows].astype(float) for name in needed)
        far = u.Quantity(1 / far, u.kpc) if distance == "parallax" else u.Quantity(far, unit)
        sky = ICRS(
            ra=ra * u.deg,
            dec=dec * u.deg,
            distance=far,
            pm_ra_cosdec=pmra * u.mas / u.yr,
            pm_dec=pmdec * u.mas / u.yr,
            radial_velocity=rv * u.km / u.s,
        )
        point: Any = sky.transform_to(frame).data
        out[rows, :3] = point.xyz.to_value("kpc").T * _FLIP
        out[rows, 3:] = point.differentials["s"].d_xyz.to_value("km/s").T * _FLIP
    units = ("kpc",) * 3 + ("km / s",) * 3
    columns = {n: u.Quantity(out[:, i], units[i], copy=False) for i, n in enumerate(PHASE_SPACE)}
    return stars.with_columns(columns, meta={"sun": sun._asdict(), "distance": distance})


def to_sky(catalog: "Catalog") -> "Catalog":
    """Adds ra, dec [deg], distance [kpc], parallax [mas], pmra, pmdec [mas/yr] and radial_velocity [km/s].

    The inverse of `to_galactocentric`; columns of these names are replaced. ra and dec are float64, the rest
    float32; since phase space is float32, places are good to about 0.5 pc however near the star.
    """
    points, frame = catalog.phase_space, _frame(catalog.sun)
    units = {"ra": "deg", "dec": "deg", "distance": "kpc", "parallax": "mas"}
    units |= {"pmra": "mas / yr", "pmdec": "mas / yr", "radial_velocity": "km / s"}
    out = {name: np.empty(len(points), float if unit == "deg" else np.float32) for name, unit in units.items()}
    for start in range(0, len(points), _CHUNK):
        rows = slice(start, start + _CHUNK)
        chunk = points[rows].astype(float)
        velocity = CartesianDifferential((chunk[:, 3:] * _FLIP).T * u.km / u.s)
        position = CartesianRepresentation((chunk[:, :3] * _FLIP).T * u.kpc, differentials=velocity)
        sky = frame.realize_frame(position).transform_to(ICRS())
        far = sky.distance.to_value("kpc")
        values = (sky.ra.deg, sky.dec.deg, far, 1 / far, sky.pm_ra_cosdec, sky.pm_dec, sky.radial_velocity)
        for (name, unit), value in zip(units.items(), values, strict=True):
            out[name][rows] = u.Quantity(value, unit).to_value(unit)
    return catalog.with_columns({name: u.Quantity(out[name], unit, copy=False) for name, unit in units.items()})


def to_cylindrical(x: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, ...]:
    """Cylindrical coordinates of points in the internal frame.

    phi = atan2(y, x) is the ordinary right-handed azimuth, and vphi = -L_z / R, so that the disc has
    vphi > 0 and d(phi)/dt = -vphi / R.

    Args:
        x: (..., 3) positions, kpc.
        v: (..., 3) velocities, km/s.

    Returns:
        R [kpc], phi [rad], z [kpc], vR, vphi, vz [km/s], each of shape (...).
    """
    x, v = np.asarray(x), np.asarray(v)
    if x.shape[-1:] != (3,) or x.shape != v.shape:
        raise ValueError(f"Expected x and v of one shape (..., 3), got {x.shape} and {v.shape}; stack the components.")
    phi = np.arctan2(x[..., 1], x[..., 0])
    cos, sin = np.cos(phi), np.sin(phi)
    radius = np.hypot(x[..., 0], x[..., 1])
    return (
        radius,
        phi,
        x[..., 2],
        cos * v[..., 0] + sin * v[..., 1],
        sin * v[..., 0] - cos * v[..., 1],
        v[..., 2],
    )


def _complete(catalog: "Catalog", cuts) -> "Catalog":
    keep, reports = judge(catalog, cuts)
    return catalog.take(keep, [r for r in reports if r.removed])
