"""Stellar streams put into a catalogue: drawn from a model, or the members of a real one moved elsewhere."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Column, Table, vstack

from clearview import checks
from clearview.catalogs import Catalog
from clearview.catalogs.frames import _turned, basis, sky_point
from clearview.mocks.isochrones import StellarPopulation, faintest_at
from clearview.mocks.patch import (
    PatchSky,
    _angles,
    as_table,
    from_patch,
    galactic_axes,
    in_cap,
    motions,
    pair,
)
from clearview.mocks.photometry import distance_modulus

_PLACED = ("lon", "lat", "pm_lon", "pm_lat")


@dataclass(frozen=True)
class Stream:
    """A stream in the frame of a patch. With phi1 along its great circle [deg] and phi2 across, its track is
    phi2 = curvature phi1^2 / 2.

    Attributes:
        members: its stars in the catalogue.
        angle: of the track at its middle, against +lon towards +lat, deg: the theta of the line r = x sin(theta) -
            y cos(theta) with x = lon cos(lat), y = lat.
        offset: the r of that line at the middle of the track, deg.
        along: where the middle lies on that line, deg from its point nearest to the patch's centre.
        width: standard deviation across the track, deg.
        length: from end to end, deg; stars are spread evenly along it.
        curvature: of the track, 1/deg; 0 is a great circle.
        pm: mean (pm_lon, pm_lat) at the middle, mas/yr.
        pm_gradient: of the same along the track, mas/yr per deg.
        pm_dispersion: true standard deviation of each proper motion, without errors, mas/yr.
        distance: at the middle, kpc.
        distance_gradient: along the track, kpc per deg.
        stars: the colour-magnitude diagram.
    """

    members: int = 1000
    angle: float = 30.0
    offset: float = 2.0
    along: float = 0.0
    width: float = 0.3
    length: float = 12.0
    curvature: float = 0.0
    pm: tuple[float, float] = (-5.0, -3.0)
    pm_gradient: tuple[float, float] = (0.0, 0.0)
    pm_dispersion: float = 0.1
    distance: float = 9.0
    distance_gradient: float = 0.0
    stars: StellarPopulation = field(default_factory=lambda: StellarPopulation(-1.8, 0.05))

    def __post_init__(self):
        checks.numbers(self, whole=True, members=(1, 10**9))
        checks.numbers(self, angle=(-360, 360), offset=(-90, 90), along=(-90, 90), curvature=(-1, 1))
        checks.numbers(self, width=(0, 90), length=(0, 180), pm_dispersion=(0, 1e3), distance_gradient=(-100, 100))
        checks.numbers(self, distance=(0.1, 1e3))
        for name in ("pm", "pm_gradient"):
            object.__setattr__(self, name, pair(name, getattr(self, name), 1e3))
        checks.a(self.stars, StellarPopulation, "stars as a StellarPopulation")
        if abs(self.distance_gradient) * self.length / 2 >= self.distance:
            raise ValueError(
                f"Expected distances above 0 all along the stream, got {self.distance:g} kpc with a gradient of "
                f"{self.distance_gradient:g} kpc/deg over {self.length:g} deg; lower the gradient."
            )

    @property
    def middle(self) -> tuple[float, float]:
        """lon, lat of the middle of the track, deg."""
        t = np.deg2rad(self.angle)
        x = self.along * np.cos(t) + self.offset * np.sin(t)
        y = self.along * np.sin(t) - self.offset * np.cos(t)
        return float(x / np.cos(np.deg2rad(y))), float(y)

    def axes(self) -> np.ndarray:
        """(3, 3) unit vectors in the patch's frame: to the middle, along the track there, and to the pole."""
        lon, lat = self.middle
        step, t = 1e-3, np.deg2rad(self.angle)
        # The direction is that in the plane of x and y, which is slightly skewed against the sphere far from lon = 0.
        ahead = lat + step * np.sin(t)
        x = lon * np.cos(np.deg2rad(lat)) + step * np.cos(t)
        return _track_axes(basis(lon, lat)[0], basis(x / np.cos(np.deg2rad(ahead)), ahead)[0])


def _track_axes(middle, ahead) -> np.ndarray:
    pole = np.cross(middle, ahead)
    pole /= np.linalg.norm(pole)
    return np.array([middle, np.cross(pole, middle), pole])


def inject(catalog: Catalog, stream: Stream | Catalog, seed: int = 0, *, center=None) -> Catalog:
    """Adds the stars of a stream to a catalogue, as Gaia would have measured them there.

    They take the dust, the missed stars and the errors of the patch if it is one of `mock_patch`, whatever cuts it went
    through since: so inject first and cut then. In another catalogue they reach to its faintest star. Columns that the
    catalogue has and the stream has not are NaN (masked, if they are no decimal numbers) for the new stars; those that
    only the stream has are left out. lon, lat, pm_lon and pm_lat are made anew if they are there.

    Args:
        catalog: with ra, dec, pmra, pmdec.
        stream: a `Stream`, or a catalogue of members as they are to be (see `inject_members` to move real ones).
        seed: of the random numbers.
        center: (ra, dec) [deg] of the patch; by default that of ``meta``, as `mock_patch` and `Catalog.to_patch` tell.

    Returns:
        The stars of the catalogue, then the members, with an integer column ``origin``, which is 1 for the latter;
        ``meta["injected"]`` is the list of the streams put in.

    Raises:
        KeyError: if a catalogue lacks positions or proper motions.
        ValueError: if no centre is known, or less than 1 in 50 of the stream's stars would be seen in the patch.
    """
    checks.a(catalog, Catalog, "a Catalog").require(("ra", "dec", "pmra", "pmdec"))
    checks.number("seed", seed, *checks.SEEDS, whole=True)
    if isinstance(stream, Catalog):
        stream.require(("ra", "dec", "pmra", "pmdec"))
        return _joined(catalog, stream._table, {"members": len(stream), "source": str(stream.meta.get("source", ""))})
    checks.a(stream, Stream, "a Stream or a Catalog of members")
    center = center_of(catalog, center)
    stars = _drawn(stream, center, _sky_of(catalog, center), np.random.default_rng([seed, 0x57E4]))
    return _joined(catalog, as_table(stars), {**asdict(stream), "center": center, "seed": seed})


def center_of(catalog: Catalog, center=None) -> tuple[float, float]:
    """(ra, dec) [deg] of the patch that a catalogue is of.

    Raises:
        ValueError: if neither the argument nor the catalogue tells.
    """
    meta = catalog.meta
    for told in (meta.get("patch"), meta.get("mock")):
        if center is None and isinstance(told, dict):
            center = told.get("center")
    if center is None:
        raise ValueError("Expected a catalogue that tells its patch's centre, got none; pass center=(ra, dec).")
    return sky_point(center, "center")


def _sky_of(catalog: Catalog, center) -> PatchSky:
    """That of `mock_patch`, or one that only ends at the catalogue's faintest star."""
    sky = PatchSky(catalog.meta.get("mock") or {})
    if sky.center is None:
        sky.center = center
        if "phot_g_mean_mag" in catalog and np.isfinite(catalog["phot_g_mean_mag"]).any():
            sky.g_limit = float(np.nanmax(catalog["phot_g_mean_mag"]))
    return sky


def _drawn(stream: Stream, center, sky: PatchSky, rng) -> dict[str, np.ndarray]:
    axes, parts, found = stream.axes(), [], 0
    there = axes @ np.array(basis(*center)) @ np.array(basis(*sky.center)).T
    while found < stream.members:
        n = 2 * stream.members + 100
        phi1 = rng.uniform(-0.5, 0.5, n) * stream.length
        phi2 = 0.5 * stream.curvature * phi1**2 + stream.width * rng.standard_normal(n)
        out = basis(phi1, phi2)[0]
        lon, lat = _angles(out @ axes)
        seen_at = _angles(out @ there)
        distance = stream.distance + stream.distance_gradient * phi1
        M, colour = stream.stars.draw(faintest_at(distance, sky.g_limit), rng)
        G, colour, keep = sky.dim(*seen_at, M + distance_modulus(distance), colour, rng)
        keep &= sky.inside(*seen_at)
        if keep.mean() < 0.02:
            raise ValueError(
                f"Expected a stream with stars inside the patch, got {keep.mean():.1%} of them that are seen; move it."
            )
        pm = [
            mean + slope * phi1[keep] + stream.pm_dispersion * rng.standard_normal(keep.sum())
            for mean, slope in zip(stream.pm, stream.pm_gradient, strict=True)
        ]
        part = dict(zip(("ra", "dec", "pmra", "pmdec"), from_patch(center, lon[keep], lat[keep], *pm), strict=True))
        parts.append(part | {"parallax": 1 / distance[keep], "phot_g_mean_mag": G[keep], "bp_rp": colour[keep]})
        found += int(keep.sum())
    stars = {name: np.concatenate([part[name] for part in parts])[: stream.members] for name in parts[0]}
    return sky.measure(stars, rng)


def _joined(catalog: Catalog, table: Any, told: dict[str, Any]) -> Catalog:
    origin = catalog["origin"] if "origin" in catalog else np.zeros(len(catalog), np.int16)
    old = catalog.with_columns({"origin": origin})._table
    kept: Any = Table({name: table[name] for name in old.colnames if name in table.colnames and name not in _PLACED})
    for name in kept.colnames:
        kept[name] = kept[name].astype(old[name].dtype)
    kept["origin"] = np.ones(len(kept), old["origin"].dtype)
    for name in old.colnames:
        if name not in kept.colnames and old[name].dtype.kind == "f":
            kept[name] = Column(np.full(len(kept), np.nan, old[name].dtype), unit=old[name].unit)
    joined = Catalog(
        vstack([old, kept], metadata_conflicts="silent"),
        meta={**catalog.meta, "injected": [*catalog.meta.get("injected", []), told]},
        report=catalog.report,
    )
    if set(_PLACED) & set(old.colnames):
        joined = joined.to_patch(center_of(catalog))
    return joined


def random_stream(
    catalog: Catalog,
    fraction: float = 0.005,
    seed: int = 0,
    *,
    scan: str = "pm_lon",
    half_width: float = 3.0,
    reach: float = 5.0,
    width: tuple[float, float] = (0.2, 0.5),
    length: tuple[float, float] = (10.0, 15.0),
    distance: tuple[float, float] = (5.0, 15.0),
    bend: float = 0.005,
    slowest: float = 3.0,
    center=None,
) -> Stream:
    """A stream at a random place and angle that is a given part of the stars in its own signal region.

    Its stars move along its track in the Galaxy's rest frame, at 100 to 250 km/s, so that its proper motion and the
    gradient of it are those of the Sun's reflex and of that motion. Both components lie between the 2nd and the 98th
    percentile of the patch's stars.

    Args:
        catalog: the patch, without that stream.
        fraction: members over all stars, members included, whose ``scan`` is within ``half_width`` of the stream's.
        seed: of the random numbers.
        scan: the proper motion of the signal region, "pm_lon" or "pm_lat".
        half_width: of the signal region, mas/yr.
        reach: largest distance of the stream's middle from the patch's centre, deg.
        width: smallest and largest standard deviation across, deg.
        length: smallest and largest length, deg.
        distance: smallest and largest distance, kpc.
        bend: standard deviation of the track's curvature, 1/deg.
        slowest: smallest proper motion along one axis at least, mas/yr; slower streams drown in distant stars.
        center: (ra, dec) of the patch; see `inject`.

    Raises:
        ValueError: for another scan direction, a fraction outside (0, 1), or a fraction that makes no star.
    """
    if scan not in ("pm_lon", "pm_lat"):
        raise ValueError(f"Expected scan as 'pm_lon' or 'pm_lat', got {checks.shown(scan)}; choose one of them.")
    checks.number("fraction", fraction, checks.ABOVE_0, checks.BELOW_1)
    checks.number("half_width", half_width, checks.ABOVE_0)
    checks.number("reach", reach, 0, 90)
    checks.number("bend", bend, 0, 1)
    checks.number("slowest", slowest, 0, 1e3)
    checks.number("seed", seed, *checks.SEEDS, whole=True)
    (w0, w1), (l0, l1), (d0, d1) = (
        pair(n, v, 1e3) for n, v in (("width", width), ("length", length), ("distance", distance))
    )
    center = center_of(catalog, center)
    placed, rng = catalog.to_patch(center), np.random.default_rng([seed, 0x57E5])
    moves = {name: placed[name][np.isfinite(placed[name])] for name in ("pm_lon", "pm_lat")}
    bounds = {name: np.percentile(values, [2, 98]) for name, values in moves.items()}
    galactic = galactic_axes(center)
    for _ in range(1000):
        lon, lat = (float(value[0]) for value in in_cap(1, reach, rng))
        angle = float(rng.uniform(0, 180))
        stream = Stream(
            1, angle, *_line(lon, lat, angle), width=rng.uniform(w0, w1), length=rng.uniform(l0, l1),
            curvature=bend * rng.standard_normal(), distance=rng.uniform(d0, d1),
        )  # fmt: skip
        gradient = rng.normal() * 0.01 * stream.distance
        speed = rng.uniform(100, 250) * rng.choice([-1, 1])
        pm = _moving(stream, gradient, speed, galactic)
        mean, slope = pm[1], (pm[2] - pm[0]) / 2
        named = dict(zip(("pm_lon", "pm_lat"), mean, strict=True))
        if np.abs(mean).max() >= slowest and all(bounds[k][0] < v < bounds[k][1] for k, v in named.items()):
            break
    else:
        raise ValueError("Expected stars among whose proper motions a stream can hide, got none; lower slowest.")
    inside = np.count_nonzero(np.abs(moves[scan] - named[scan]) < half_width)
    members = round(fraction / (1 - fraction) * inside)
    if members < 1:
        raise ValueError(f"Expected a fraction that makes a star, got {fraction:g} of {inside:,}; raise it.")
    settings = asdict(stream) | {
        "members": members, "pm": tuple(mean), "pm_gradient": tuple(slope), "distance_gradient": gradient,
        "stars": stream.stars,
    }  # fmt: skip
    return Stream(**settings)


def _moving(stream: Stream, gradient, speed, galactic) -> np.ndarray:
    """(3, 2) pm_lon, pm_lat [mas/yr] at phi1 = -1, 0, 1 deg of stars that move along the track at ``speed`` [km/s]."""
    axes, phi1 = stream.axes(), np.array([-1.0, 0.0, 1.0])
    out, along, _ = basis(phi1, 0 * phi1)
    lon, lat = _angles(out @ axes)
    velocity = speed * (along @ axes @ galactic)
    return np.stack(motions(galactic, lon, lat, stream.distance + gradient * phi1, velocity), -1)


def inject_members(
    catalog: Catalog,
    members: Catalog,
    *,
    place: tuple[float, float] = (0.0, 0.0),
    angle: float | None = None,
    n: int | None = None,
    seed: int = 0,
    center=None,
) -> Catalog:
    """Adds the members of a real stream, turned on the sky as a whole so that it lies in the patch.

    Shape and photometry stay as they are, and proper motions turn with the stars. Members that come to lie outside a
    patch of `mock_patch` are left out.

    Args:
        catalog: the patch.
        members: of the stream, with ra, dec, pmra, pmdec.
        place: (lon, lat) [deg] in the patch for the middle of the stream.
        angle: of its track there against +lon towards +lat, deg, in the sense in which its stars move; None takes a
            random one.
        n: keep at most this many of the members, at random; None keeps all.
        seed: of the random numbers.
        center: (ra, dec) of the patch; see `inject`.

    Raises:
        KeyError: if columns are missing.
        ValueError: if n is more than the members, or none lies in the patch.
    """
    lon, lat = pair("place", place, 180.0)
    checks.number("angle", angle, -360, 360, optional=True)
    checks.number("seed", seed, *checks.SEEDS, whole=True)
    checks.a(members, Catalog, "members as a Catalog").require(("ra", "dec", "pmra", "pmdec"))
    center, rng = center_of(checks.a(catalog, Catalog, "a Catalog"), center), np.random.default_rng([seed, 0x57E6])
    angle = float(rng.uniform(0, 360) if angle is None else angle)
    target = Stream(1, angle, *_line(lon, lat, angle)).axes() @ np.array(basis(*center))
    moved = _turned_to(members, track_axes_of(members), target)
    sky = _sky_of(catalog, center)
    placed = moved.to_patch(sky.center)
    rows = np.flatnonzero(sky.inside(placed["lon"], placed["lat"]))
    if n is not None:
        checks.number("n", n, 1, len(members), whole=True)
        rows = np.sort(rng.permutation(rows)[:n])
    if not len(rows):
        raise ValueError(f"Expected members inside the patch of {sky.radius:g} deg, got none; change place or angle.")
    chosen = np.zeros(len(moved), bool)
    chosen[rows] = True
    told = {"source": str(members.meta.get("source", "members")), "members": len(rows), "place": (lon, lat)}
    return _joined(catalog, moved.take(chosen)._table, told | {"angle": angle, "center": center, "seed": seed})


def _line(lon, lat, angle) -> tuple[float, float]:
    """Offset and along of the stream whose middle is there."""
    x, y, t = lon * np.cos(np.deg2rad(lat)), lat, np.deg2rad(angle)
    return float(x * np.sin(t) - y * np.cos(t)), float(x * np.cos(t) + y * np.sin(t))


def track_axes_of(members: Catalog) -> np.ndarray:
    """(3, 3) unit vectors in ICRS of the great circle nearest to all stars: to their middle, along it, and its pole.

    Along it means to where their proper motions point on the whole.
    """
    out, east, north = basis(members["ra"].astype(float), members["dec"].astype(float))
    motion = members["pmra"].astype(float)[:, None] * east + members["pmdec"].astype(float)[:, None] * north
    pole = np.linalg.eigh(out.T @ out)[1][:, 0]
    pole *= np.sign(np.nansum(np.cross(out, motion) @ pole)) or 1.0
    middle = out.mean(0) - (out.mean(0) @ pole) * pole
    middle /= np.linalg.norm(middle)
    axes = _track_axes(middle, np.cross(pole, middle))
    shift = np.median(np.arctan2(out @ axes[1], out @ axes[0]))
    return np.array([np.cos(shift) * axes[0] + np.sin(shift) * axes[1],
                     np.cos(shift) * axes[1] - np.sin(shift) * axes[0], axes[2]])  # fmt: skip


def _turned_to(members: Catalog, axes, target) -> Catalog:
    """The members with the directions ``axes`` turned to ``target``."""
    turned = _turned(members, target.T @ axes, ("lon", "lat"), None)
    unit = u.mas / u.yr
    columns = {"ra": turned["lon"] % 360 * u.deg, "dec": turned["lat"] * u.deg}
    columns |= {"pmra": turned["pm_lon"] * unit, "pmdec": turned["pm_lat"] * unit}
    return turned.with_columns(columns)
