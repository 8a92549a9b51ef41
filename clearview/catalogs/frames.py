"""From the sky to the internal Galactocentric frame (see `clearview.units`) and back, and frames on the sky."""

from collections.abc import Sequence
from difflib import get_close_matches
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from astropy import units as u
from astropy.coordinates import ICRS, CartesianDifferential, CartesianRepresentation, Galactocentric

from clearview.checks import number
from clearview.units import Sun

from .columns import PHASE_SPACE, listed
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


def to_galactocentric(catalog: "Catalog", sun: Sun | str | None = None, distance: str | None = None) -> "Catalog":
    """Adds x, y, z [kpc] and vx, vy, vz [km/s] (float32) in the internal frame.

    Stars with a non-finite needed value or a distance that is not positive are removed and reported. A
    catalogue that has phase space only loses its non-finite stars, so that calling twice does no harm.

    Args:
        catalog: with ra, dec, pmra, pmdec, radial_velocity and a distance or parallax.
        sun: the Sun to assume, or its name in `clearview.units.SUNS`, such as "gravity2021"; by default
            ``catalog.sun``, `clearview.units.SUN` unless meta says else. ``meta["sun"]`` keeps name and numbers.
        distance: the column that gives the distance: any in a unit of length, or ``"parallax"`` for its
            inverse; by default ``distance`` if there is one, else ``parallax``.

    Raises:
        KeyError: if columns are missing.
        ValueError: if no star is left, a declination is beyond 90 deg, the column is no distance, the Sun is not
            known, or the catalogue has phase space and another Sun or distance is asked for.
    """
    sun = catalog.sun if sun is None else Sun.of(sun)
    if catalog.has_phase_space:
        if distance is not None or sun != catalog.sun:
            raise ValueError(
                "Expected a catalogue without x, y, z, vx, vy, vz to take another Sun or distance, got one "
                "that has them; start from the catalogue as it was read."
            )
        return _complete(catalog, [Finite(name) for name in PHASE_SPACE])
    distance = str(distance or ("distance" if "distance" in catalog else "parallax"))
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
    return stars.with_columns(columns, meta={"sun": sun.to_dict(), "distance": distance})


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


class GreatCircle(NamedTuple):
    """A great circle on the sky, the equator phi2 = 0 of a frame along a stream; phi1 grows counter-clockwise
    around its pole.

    Args:
        pole: (ra, dec) [deg] where phi2 = 90 deg.
        zero_ra: right ascension [deg] of the point of the circle where phi1 = 0; or
        origin: (ra, dec) [deg] of that point.
    """

    pole: tuple[float, float]
    zero_ra: float | None = None
    origin: tuple[float, float] | None = None

    def axes(self) -> np.ndarray:
        """(3, 3): the unit vectors in ICRS of (phi1, phi2) = (0, 0), (90 deg, 0) and the pole, in rows.

        Raises:
            ValueError: if the points are no directions, or the origin is not on the circle.
        """
        pole = basis(*sky_point(self.pole, "pole"))[0]
        if (self.zero_ra is None) == (self.origin is None):
            raise ValueError(f"Expected either zero_ra or origin for the zero of phi1, got {self}; give one of them.")
        if self.origin is not None:
            zero = basis(*sky_point(self.origin, "origin"))[0]
            if abs(off := np.rad2deg(np.arcsin(zero @ pole))) > 0.01:
                raise ValueError(
                    f"Expected an origin 90 deg from the pole, got one {abs(90 - off):.4g} deg from it; give zero_ra, "
                    "the right ascension where phi1 = 0, and the point of the circle there is found."
                )
        else:
            flat = basis(*sky_point((self.zero_ra, 0), "zero_ra"))[0]
            if abs(pole[2]) < 1e-9:
                raise ValueError(
                    f"Expected origin=(ra, dec) for a pole on the celestial equator, got zero_ra={self.zero_ra}, which "
                    "no one point of its circle has; give origin."
                )
            zero = flat - np.array([0, 0, flat @ pole / pole[2]])
        zero = zero - (zero @ pole) * pole
        zero /= np.linalg.norm(zero)
        return np.array([zero, np.cross(pole, zero), pole])


STREAMS = {
    "GD-1": GreatCircle((34.5987, 29.7331), 200.0),
    "Jhelum": GreatCircle((179.1308138, -38.1255263), 359.1292193),
    "Orphan-Chenab": GreatCircle((72.0, -14.0), 191.10487),
}
"""Published frames of streams: GD-1, Koposov, Rix & Hogg 2010 (arXiv:0907.1085); Jhelum, Bonaca et al. 2019
(arXiv:1906.02748), from the rows of their matrix; Orphan-Chenab, Koposov et al. 2019 (arXiv:1812.08172)."""


def to_patch(catalog: "Catalog", center: tuple[float, float]) -> "Catalog":
    """Adds lon, lat [deg] around a point of the sky, lon within 180 deg, and pm_lon, pm_lat [mas/yr].

    lon grows to the east and lat to the north at the centre, where both are zero; pm_lon includes cos(lat). Proper
    motions are added if pmra and pmdec are there, and stay NaN where they are not finite; stars without a
    finite ra and dec are removed and reported.

    Args:
        catalog: with ra and dec.
        center: (ra, dec) [deg].

    Raises:
        KeyError: if ra or dec is missing.
        ValueError: if the centre is no point of the sky, no star is left, or a declination is beyond 90 deg.
    """
    center = sky_point(center, "center")
    return _turned(catalog, np.array(basis(*center)), ("lon", "lat"), {"patch": {"center": center}})


def to_stream(
    catalog: "Catalog", stream: str | GreatCircle = "GD-1", *, reflex_distance: float | None = None
) -> "Catalog":
    """Adds phi1, phi2 [deg] along a stream, phi1 within 180 deg, and pm_phi1, pm_phi2 [mas/yr].

    pm_phi1 includes cos(phi2). Proper motions are added if pmra and pmdec are there, and stay NaN where they
    are not finite; stars without a finite ra and dec are removed and reported. The frame is kept in
    ``meta["stream"]``.

    Args:
        catalog: with ra and dec.
        stream: one of `STREAMS`, or a `GreatCircle`.
        reflex_distance: if given, the part of the proper motions that the Sun's own motion (``catalog.sun``) gives
            stars at this distance [kpc] is taken out, and ``meta["stream"]["reflex"]`` says so. The motion across
            the line of sight is all that matters, so no radial velocity is needed.

    Raises:
        KeyError: if ra or dec is missing, or pmra or pmdec with ``reflex_distance``.
        ValueError: if the stream is not known, the great circle is none, the distance is not positive, no star is
            left, or a declination is beyond 90 deg.
    """
    if isinstance(stream, GreatCircle):
        name, circle = None, stream
    elif isinstance(stream, str) and stream in STREAMS:
        name, circle = stream, STREAMS[stream]
    else:
        names = {name.lower(): name for name in STREAMS}
        near = get_close_matches(str(stream).lower(), names, 1)
        hint = f"did you mean {names[near[0]]!r}?" if near else "choose one or give GreatCircle(pole=, zero_ra=)."
        raise ValueError(f"Expected a stream among {listed(STREAMS)} or a GreatCircle, got {stream!r}; {hint}")
    axes, drift, reflex = circle.axes(), np.zeros(3), None
    if reflex_distance is not None:
        if isinstance(reflex_distance, bool) or not (
            isinstance(reflex_distance, Real) and 0 < reflex_distance < np.inf
        ):
            raise ValueError(f"Expected a positive reflex_distance in kpc, got {reflex_distance!r}; give one number.")
        catalog.require(("ra", "dec", "pmra", "pmdec"))
        drift = _solar_velocity(catalog.sun) / (_KMS_PER_MASYR_KPC * reflex_distance)
        reflex = {"distance": float(reflex_distance), "sun": catalog.sun.to_dict()}
    told = {"name": name, **{key: value for key, value in circle._asdict().items() if value is not None}}
    return _turned(catalog, axes, ("phi1", "phi2"), {"stream": {**told, "reflex": reflex}}, drift)


_KMS_PER_MASYR_KPC = (u.mas / u.yr * u.kpc).to(u.km / u.s, equivalencies=u.dimensionless_angles())


def _solar_velocity(sun: Sun) -> np.ndarray:
    """(3,) velocity of the Sun in the Galaxy's rest frame, along the axes of ICRS, km/s."""
    still = CartesianRepresentation([1, 0, 0] * u.kpc, differentials=CartesianDifferential([0, 0, 0] * u.km / u.s))
    seen: Any = _frame(sun).realize_frame(still).transform_to(ICRS())
    return -seen.velocity.d_xyz.to_value("km/s")


def sky_point(point: Any, what: str) -> tuple[float, float]:
    """A point (ra, dec) [deg] of the sky, checked.

    Raises:
        ValueError: if it is none.
    """
    try:
        ra, dec = (float(number(what, value)) for value in point)
    except (TypeError, ValueError):
        ra = dec = np.nan
    if not (np.isfinite(ra) and abs(dec) <= 90):
        raise ValueError(f"Expected {what} as finite (ra, dec) in deg with |dec| <= 90, got {point!r}; correct it.")
    return ra, dec


def basis(lon, lat) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(..., 3) unit vectors towards points [deg] of a sphere, and to the east and the north there."""
    lon, lat = np.deg2rad(lon), np.deg2rad(lat)
    out, east = (np.stack([x, y, 0 * lon], -1) for x, y in ((np.cos(lon), np.sin(lon)), (-np.sin(lon), np.cos(lon))))
    cos, sin, pole = np.cos(lat)[..., None], np.sin(lat)[..., None], np.array([0.0, 0.0, 1.0])
    return cos * out + sin * pole, east, cos * pole - sin * out


def separation(center: tuple[float, float], ra, dec) -> np.ndarray:
    """(N,) angle from a point of the sky, deg: of the chord, so that small ones are as good as large ones."""
    chord = np.linalg.norm(basis(np.asarray(ra, float), np.asarray(dec, float))[0] - basis(*center)[0], axis=-1)
    return 2 * np.rad2deg(np.arcsin(np.clip(chord / 2, 0, 1)))


def _turned(catalog: "Catalog", axes: np.ndarray, names: Sequence[str], meta, drift: Any = 0.0) -> "Catalog":
    """With places and proper motions in the frame of ``axes`` (3, 3); ``drift`` (3,) [mas/yr] is added to the motions.

    A rotation of vectors, which is exact at the poles and the seam of right ascension.
    """
    stars = _complete(catalog, [Finite("ra"), Finite("dec")])
    if np.abs(stars["dec"]).max() > 90:
        raise ValueError("Expected dec within 90 deg, got values beyond; check its unit.")
    moves = "pmra" in stars and "pmdec" in stars
    kind = np.result_type(stars["pmra"], stars["pmdec"], np.float32) if moves else float
    places, motions = np.empty((2, len(stars))), np.empty((2, len(stars)), kind)
    for start in range(0, len(stars), _CHUNK):
        rows = slice(start, start + _CHUNK)
        place, east, north = basis(*(stars[name][rows].astype(float) for name in ("ra", "dec")))
        x, y, z = axes @ place.T
        lon, lat = np.rad2deg(np.arctan2(y, x)), np.rad2deg(np.arctan2(z, np.hypot(x, y)))
        places[:, rows] = lon, lat
        if moves:
            pmra, pmdec = (stars[name][rows].astype(float)[:, None] for name in ("pmra", "pmdec"))
            pmra = np.where(np.isfinite(pmra + pmdec), pmra, np.nan)
            motion = (pmra * east + np.nan_to_num(pmdec) * north + drift) @ axes.T
            motions[:, rows] = [(motion * way).sum(-1) for way in basis(lon, lat)[1:]]
    columns = {name: u.Quantity(places[i], u.deg, copy=False) for i, name in enumerate(names)}
    if moves:
        unit = u.mas / u.yr
        columns |= {f"pm_{name}": u.Quantity(motions[i], unit, copy=False) for i, name in enumerate(names)}
    return stars.with_columns(columns, meta=meta)


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
