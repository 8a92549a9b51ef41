"""A round patch of the sky as Gaia would see it, of which every star's origin is known.

The field is a sum of discs and halos with their own density along the line of sight, velocity ellipsoid and stars; on
top lie a globular cluster, a dwarf galaxy, dust and the stripes of a scanning survey, so that no smooth density has all
of it by construction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import ICRS, CartesianRepresentation
from astropy.table import Table

from clearview import checks
from clearview.catalogs import Catalog
from clearview.catalogs.errors import _moved
from clearview.catalogs.frames import _FLIP, _KMS_PER_MASYR_KPC, _frame, basis, sky_point
from clearview.mocks.errors import PROPER_MOTION, parallax_error
from clearview.mocks.isochrones import StellarPopulation, color_error, faintest_at
from clearview.mocks.photometry import distance_modulus
from clearview.units import SUN

ORIGINS = {0: "field", 1: "stream", 2: "globular cluster", 3: "dwarf"}
"""What the column ``origin`` says of a star."""

_VERSION = 1
_DISTANCES = np.geomspace(0.03, 150.0, 500)
_UNITS = {"ra": "deg", "dec": "deg", "pmra": "mas / yr", "pmdec": "mas / yr", "parallax": "mas"}
_UNITS |= {"phot_g_mean_mag": "mag", "bp_rp": "mag", "ra_error": "mas", "dec_error": "mas"}
_UNITS |= {"pmra_error": "mas / yr", "pmdec_error": "mas / yr", "parallax_error": "mas"}
_INFLATED = 1.3  # by which `parallax_error` enlarges the errors of bright stars; faint ones are as the formula says
_PLACE = (0.80, 0.70)  # errors of ra and dec over that of the parallax (Gaia science performance)
_REDDENING = 2.74, 1.339  # A_G and E(BP-RP) over E(B-V) (Casagrande & VandenBerg 2018, arXiv:1806.01953)


@dataclass(frozen=True)
class Component:
    """Stars of the field that have one density, one velocity ellipsoid and one population.

    Attributes:
        density: number of stars per volume at the Sun, over that of the other components.
        scale_length, scale_height: of a double-exponential disc, kpc; a scale_length of None makes a halo.
        slope, outer_slope: of the power law of a halo, within and beyond ``edge``.
        edge: radius of a halo at which the slope changes, kpc.
        flattening: axis ratio z / R of a halo.
        rotation: mean velocity around the Galaxy, km/s.
        sigma: dispersions in R, phi and z, km/s.
        stars: the colour-magnitude diagram.
    """

    density: float
    scale_length: float | None = None
    scale_height: float = 0.3
    slope: float = 2.6
    outer_slope: float = 4.5
    edge: float = 25.0
    flattening: float = 0.7
    rotation: float = 0.0
    sigma: tuple[float, float, float] = (130.0, 90.0, 80.0)
    stars: StellarPopulation = field(default_factory=StellarPopulation)

    def __post_init__(self):
        positive = (checks.ABOVE_0, 1e6)
        checks.numbers(self, density=positive, scale_height=positive, edge=positive, flattening=positive)
        checks.numbers(self, slope=(0, 10), outer_slope=(0, 10), rotation=(-1e3, 1e3))
        checks.numbers(self, optional=True, scale_length=positive)
        object.__setattr__(self, "sigma", checks.triple("sigma", self.sigma))
        for value in self.sigma:
            checks.number("sigma", value, 0, 1e3)
        checks.a(self.stars, StellarPopulation, "stars as a StellarPopulation")

    def __call__(self, x) -> np.ndarray:
        """(...,) density at points (..., 3) [kpc] of the internal frame."""
        x = np.asarray(x, float)
        R = np.hypot(x[..., 0], x[..., 1])
        if self.scale_length is not None:
            return self.density * np.exp((SUN.R - R) / self.scale_length - np.abs(x[..., 2]) / self.scale_height)
        r = np.maximum(np.hypot(R, x[..., 2] / self.flattening), 1.0)
        inner = (r / SUN.R) ** -self.slope
        return self.density * inner * np.maximum(r / self.edge, 1.0) ** (self.slope - self.outer_slope)


THIN_DISC = Component(0.5, 2.6, 0.25, rotation=225.0, sigma=(30.0, 20.0, 15.0),
                      stars=StellarPopulation(-0.05, 0.2, youngest=2.5))  # fmt: skip
OLD_THIN_DISC = Component(0.5, 2.6, 0.33, rotation=215.0, sigma=(42.0, 27.0, 22.0),
                          stars=StellarPopulation(-0.2, 0.2, youngest=3.4))  # fmt: skip
THICK_DISC = Component(0.1, 3.0, 0.9, rotation=190.0, sigma=(60.0, 45.0, 38.0),
                       stars=StellarPopulation(-0.6, 0.25))  # fmt: skip
INNER_HALO = Component(0.002, rotation=10.0, sigma=(170.0, 65.0, 80.0), stars=StellarPopulation(-1.3, 0.3))
OUTER_HALO = Component(0.0013, flattening=0.8, rotation=10.0, sigma=(125.0, 110.0, 110.0),
                       stars=StellarPopulation(-1.7, 0.4))  # fmt: skip
FIELD = (THIN_DISC, OLD_THIN_DISC, THICK_DISC, INNER_HALO, OUTER_HALO)
"""Discs and halos with scales near those of Juric et al. 2008 (arXiv:astro-ph/0510520)."""


@dataclass(frozen=True)
class Satellite:
    """A globular cluster or a dwarf galaxy: a Plummer sphere with a proper motion of its own.

    Attributes:
        members: its stars in the catalogue.
        radius: of the Plummer profile, which holds half of the stars on the sky, deg.
        distance: kpc.
        dispersion: of the velocities along each axis, km/s.
        stars: the colour-magnitude diagram.
        place: of the centre in the patch (lon, lat), deg; None takes one at random within 0.7 radii of the patch.
        pm: mean (pm_lon, pm_lat), mas/yr; None takes that of a random halo velocity.
    """

    members: int
    radius: float
    distance: float
    dispersion: float
    stars: StellarPopulation = field(default_factory=StellarPopulation)
    place: tuple[float, float] | None = None
    pm: tuple[float, float] | None = None

    def __post_init__(self):
        checks.numbers(self, whole=True, members=(1, 10**9))
        checks.numbers(self, radius=(checks.ABOVE_0, 10), distance=(checks.ABOVE_0, 1e3), dispersion=(0, 1e3))
        checks.a(self.stars, StellarPopulation, "stars as a StellarPopulation")
        for name, most in (("place", 90.0), ("pm", 1e3)):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, pair(name, getattr(self, name), most))


GLOBULAR_CLUSTER = Satellite(600, 0.08, 12.0, 5.0, StellarPopulation(-1.5, 0.03))
DWARF = Satellite(400, 0.4, 60.0, 9.0, StellarPopulation(-1.9, 0.35))


@dataclass(frozen=True)
class DustHoles:
    """Irregular clouds in front of all stars, which dim and redden them.

    Attributes:
        count: of clouds.
        size: of a cloud, which is a chain of blobs, deg.
        extinction: of a cloud at its densest, mag in G.
    """

    count: int = 4
    size: float = 1.0
    extinction: float = 1.5

    def __post_init__(self):
        checks.numbers(self, whole=True, count=(1, 1000))
        checks.numbers(self, size=(checks.ABOVE_0, 90), extinction=(0, 20))


@dataclass(frozen=True)
class ScanStripes:
    """Bands along great circles that a scanning survey saw less often, so that faint stars are missing there.

    Attributes:
        width: mean width of a band, deg.
        loss: smallest and largest part of the faintest stars that a band misses.
        onset: G at which half of that is missing, mag.
        angle: of the bands against +lon, deg; None takes a random one.
    """

    width: float = 1.5
    loss: tuple[float, float] = (0.03, 0.2)
    onset: float = 19.5
    angle: float | None = None

    def __post_init__(self):
        checks.numbers(self, width=(0.01, 90), onset=(0, 30))
        checks.numbers(self, optional=True, angle=(-360, 360))
        low, high = pair("loss", self.loss, 1.0)
        if not 0 <= low <= high:
            raise ValueError(f"Expected loss as (least, most) from 0 to 1, got {self.loss}; correct it.")
        object.__setattr__(self, "loss", (low, high))


def pair(name: str, values: Any, most: float) -> tuple[float, float]:
    """Two finite numbers within +-``most``.

    Raises:
        ValueError: if they are not.
    """
    found = tuple(values) if isinstance(values, Sequence | np.ndarray) else ()
    if len(found) != 2:
        raise ValueError(f"Expected {name} as two numbers, got {checks.shown(values)}; correct it.")
    first, second = (float(checks.number(name, value, -most, most)) for value in found)
    return first, second


def mock_patch(
    n: int = 200_000,
    seed: int = 0,
    *,
    center: tuple[float, float] = (148.6, 24.2),
    radius: float = 15.0,
    g_limit: float = 20.5,
    components: Sequence[Component] = FIELD,
    cluster: Satellite | None = GLOBULAR_CLUSTER,
    dwarf: Satellite | None = DWARF,
    holes: DustHoles | None = DustHoles(),
    stripes: ScanStripes | None = ScanStripes(),
    errors: float = 1.0,
    smooth: bool = False,
) -> Catalog:
    """Draw the stars of a round patch of the sky, without a stream (`clearview.mocks.inject` adds one).

    The shares of the components follow from their densities and the magnitude limit; n only says how many of the stars
    are kept, so a real patch may hold more.

    Args:
        n: number of stars, satellites included.
        seed: of the random numbers: other seeds give other stars, clouds, stripes and satellites.
        center: (ra, dec) of the patch, deg.
        radius: of the patch, deg.
        g_limit: faintest G, mag.
        components: of the field.
        cluster: the globular cluster; None for none.
        dwarf: the dwarf galaxy; None for none.
        holes: dust clouds; None for none.
        stripes: of the scanning; None for none.
        errors: factor on Gaia's errors; 0 measures exactly.
        smooth: True leaves out cluster, dwarf, holes and stripes, whatever they say.

    Returns:
        A catalogue with ra, dec [deg], pmra, pmdec [mas/yr], parallax [mas], their ``_error`` (ra and dec in mas),
        phot_g_mean_mag, bp_rp [mag], neither dereddened, and ``origin``, see `ORIGINS`; ``meta["mock"]`` holds the
        parameters and where clouds, stripes and satellites are.

    Raises:
        TypeError, ValueError: for settings that no patch can have, or more satellites' stars than n.
    """
    checks.number("n", n, 1, 10**9, whole=True)
    checks.number("seed", seed, *checks.SEEDS, whole=True)
    center = sky_point(center, "center")
    checks.number("radius", radius, 0.01, 90)
    checks.number("g_limit", g_limit, 0, 25)
    checks.number("errors", errors, 0, 1e6)
    if not checks.a(components, Sequence, "components"):
        raise ValueError("Expected at least one component, got none; see clearview.mocks.FIELD.")
    for component in components:
        checks.a(component, Component, "a Component")
    checks.a(cluster, (Satellite, type(None)), "cluster as a Satellite")
    checks.a(dwarf, (Satellite, type(None)), "dwarf as a Satellite")
    checks.a(holes, (DustHoles, type(None)), "holes as DustHoles")
    checks.a(stripes, (ScanStripes, type(None)), "stripes as ScanStripes")
    if checks.a(smooth, bool, "smooth as True or False"):
        cluster = dwarf = holes = stripes = None
    satellites = {code: body for code, body in ((2, cluster), (3, dwarf)) if body is not None}
    if (rest := n - sum(body.members for body in satellites.values())) < 0:
        raise ValueError(f"Expected n of at least the satellites' {n - rest:,} stars, got {n:,}; pass smooth=True.")

    rng = {key: np.random.default_rng([seed, 0x9A7C, i]) for i, key in enumerate(("sky", "field", "satellites"))}
    clouds = [] if holes is None else _clouds(holes, radius, rng["sky"])
    bands = None if stripes is None else _bands(stripes, radius, rng["sky"])
    told: dict[str, Any] = dict(
        kind="patch", n=n, seed=seed, center=center, radius=radius, g_limit=g_limit, errors=errors,
        components=[asdict(c) for c in components], clouds=clouds, bands=bands, version=_VERSION,
    )  # fmt: skip
    sky = PatchSky(told)
    parts = [_field(components, rest, sky, rng["field"])] if rest else []
    for code, body in satellites.items():
        part, where = _satellite(body, code, sky, rng["satellites"])
        parts.append(part)
        told[ORIGINS[code]] = {**asdict(body), **where}
    stars = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    told["counts"] = {ORIGINS[i]: int(np.sum(stars["origin"] == i)) for i in ORIGINS}
    order = rng["field"].permutation(n)
    return Catalog(as_table({k: v[order] for k, v in stars.items()}), meta={"source": "mock_patch", "mock": told})


def as_table(stars: Mapping[str, np.ndarray]) -> Table:
    """Measured columns with their units."""
    return Table({k: u.Quantity(v, _UNITS[k], copy=False) if k in _UNITS else v for k, v in stars.items()})


class PatchSky:
    """What stands between the stars of a patch and the catalogue: dust, missed stars, errors.

    Args:
        told: ``meta["mock"]`` of `mock_patch`, or of any catalogue: what it does not tell is not there.
    """

    def __init__(self, told: Mapping[str, Any]):
        patch = told if told.get("kind") == "patch" else {}
        self.center: Any = patch.get("center")
        self.radius = float(patch.get("radius", 90.0))
        self.g_limit, self.errors = float(patch.get("g_limit", 20.5)), float(patch.get("errors", 1.0))
        self.clouds, self.bands = patch.get("clouds") or [], patch.get("bands")

    def inside(self, lon, lat) -> np.ndarray:
        """(N,) whether places [deg] are in the patch."""
        return np.cos(np.deg2rad(lon)) * np.cos(np.deg2rad(lat)) >= np.cos(np.deg2rad(self.radius))

    def extinction(self, lon, lat) -> np.ndarray:
        """(N,) mag in G at places of the patch [deg]."""
        lon, y = (np.asarray(lon, float) + 180) % 360 - 180, np.asarray(lat, float)
        x = lon * np.cos(np.deg2rad(y))
        total = np.zeros(np.shape(x))
        for x0, y0, width, peak in self.clouds:
            total += peak * np.exp(-0.5 * ((x - x0) ** 2 + (y - y0) ** 2) / width**2)
        return total

    def band_loss(self, lon, lat) -> np.ndarray:
        """(N,) part of the faintest stars that the stripes miss at places of the patch [deg]."""
        if self.bands is None:
            return np.zeros(np.shape(lon))
        out = basis(np.asarray(lon, float), np.asarray(lat, float))[0]
        angle = np.deg2rad(self.bands["angle"])
        # Great circles that meet 90 deg from the centre, as those of a scan do.
        across = np.rad2deg(np.arctan2(out[:, 2] * np.cos(angle) - out[:, 1] * np.sin(angle), out[:, 0]))
        return np.asarray(self.bands["loss"])[np.searchsorted(self.bands["edges"], across)]

    def completeness(self, lon, lat, G) -> np.ndarray:
        """(N,) part of the stars of magnitude G that are in the catalogue, 0 beyond its limit."""
        onset = 0.0 if self.bands is None else self.bands["onset"]
        faint = 1 / (1 + np.exp(-(np.asarray(G) - onset) / 0.3))
        return (1 - self.band_loss(lon, lat) * faint) * (np.asarray(G) <= self.g_limit)

    def dim(self, lon, lat, G, colour, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Magnitudes and colours behind the dust, and which of the stars are in the catalogue."""
        behind = self.extinction(lon, lat)
        G, colour = G + behind, colour + behind * _REDDENING[1] / _REDDENING[0]
        return G, colour, rng.random(len(G)) < self.completeness(lon, lat, G)

    def measure(self, stars: Mapping[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Gaia's errors drawn and applied to ra, dec, pmra, pmdec, parallax, phot_g_mean_mag and bp_rp."""
        G = stars["phot_g_mean_mag"]
        # Stars of one magnitude were seen more or less often.
        sigma = self.errors * parallax_error(G) / _INFLATED * np.exp(0.12 * rng.standard_normal(len(G)))
        factors = dict(zip(("ra", "dec", "pmra", "pmdec", "parallax"), (*_PLACE, *PROPER_MOTION, 1.0), strict=True))
        error = {name: factor * sigma for name, factor in factors.items()}
        noise = {name: error[name] * rng.standard_normal(len(G)) for name in error}
        out = dict(zip(("ra", "dec"), _moved(stars["ra"], stars["dec"], noise["ra"], noise["dec"]), strict=True))
        out |= {name: (stars[name] + noise[name]).astype(np.float32) for name in ("pmra", "pmdec", "parallax")}
        out |= {f"{name}_error": error[name].astype(np.float32) for name in error}
        colour = stars["bp_rp"] + self.errors * color_error(G) * rng.standard_normal(len(G))
        return out | {"phot_g_mean_mag": G.astype(np.float32), "bp_rp": colour.astype(np.float32)}


def from_patch(center, lon, lat, pm_lon, pm_lat) -> tuple[np.ndarray, ...]:
    """ra, dec [deg], pmra, pmdec [mas/yr] of places and motions around ``center``: the inverse of `to_patch`."""
    axes = np.array(basis(*center))
    out, east, north = basis(np.asarray(lon, float), np.asarray(lat, float))
    motion = (np.asarray(pm_lon)[..., None] * east + np.asarray(pm_lat)[..., None] * north) @ axes
    return *(place := _angles(out @ axes)), *((motion * way).sum(-1) for way in basis(*place)[1:])


def _angles(out):
    x, y, z = np.moveaxis(out, -1, 0)
    return np.rad2deg(np.arctan2(y, x)) % 360, np.rad2deg(np.arctan2(z, np.hypot(x, y)))


def galactic_axes(center) -> np.ndarray:
    """(3, 3) unit vectors of the patch's frame (to the centre, east, north) along the axes of the internal frame."""
    axes = np.array(basis(*center))
    frame = _frame(SUN)
    ends: Any = ICRS(CartesianRepresentation(np.vstack([axes, np.zeros(3)]).T * u.kpc)).transform_to(frame).data
    points = ends.xyz.to_value("kpc").T * _FLIP
    return points[:3] - points[3]


def motions(axes, lon, lat, distance, velocity) -> tuple[np.ndarray, np.ndarray]:
    """pm_lon, pm_lat [mas/yr] of stars at a distance [kpc] with velocities (N, 3) [km/s] in the internal frame."""
    seen = (velocity - SUN.velocity) @ axes.T
    east, north = (np.sum(seen * way, -1) for way in basis(lon, lat)[1:])
    return east / (_KMS_PER_MASYR_KPC * distance), north / (_KMS_PER_MASYR_KPC * distance)


def in_cap(n: int, radius: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """lon, lat [deg] of n points spread evenly within ``radius`` [deg] of the patch's centre."""
    cos = 1 - rng.random(n) * (1 - np.cos(np.deg2rad(radius)))
    sin, turn = np.sqrt(1 - cos**2), 2 * np.pi * rng.random(n)
    return np.rad2deg(np.arctan2(sin * np.cos(turn), cos)), np.rad2deg(np.arcsin(sin * np.sin(turn)))


def _field(components, n, sky, rng):
    axes = galactic_axes(sky.center)
    lon, lat = in_cap(200, sky.radius, np.random.default_rng(0))
    x = SUN.position + _DISTANCES[:, None, None] * (basis(lon, lat)[0] @ axes)
    densities, weights = [], []
    for component in components:
        density = component(x)
        seen = component.stars.number_brighter(faintest_at(_DISTANCES, sky.g_limit))
        densities.append(1.2 * density.max(1))
        weights.append(densities[-1] * seen * _DISTANCES**3)  # per logarithm of the distance
    totals = np.array([w.sum() for w in weights])
    parts, found = [], 0
    while found < n:
        tries = int(1.7 * (n - found)) + 1000
        for i, count in enumerate(rng.multinomial(tries, totals / totals.sum())):
            part = _draw(components[i], count, densities[i], weights[i], axes, sky, rng)
            parts.append(part)
            found += len(part["ra"])
    stars = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    keep = rng.permutation(found)[:n]
    stars = {name: values[keep] for name, values in stars.items()}
    return sky.measure(stars, rng) | {"origin": np.zeros(n, np.int16)}


def _draw(component, count, envelope, weight, axes, sky, rng):
    total = np.concatenate([[0.0], np.cumsum((weight[1:] + weight[:-1]) / 2)])
    distance = np.exp(np.interp(rng.random(count) * total[-1], total, np.log(_DISTANCES)))
    lon, lat = in_cap(count, sky.radius, rng)
    x = SUN.position + distance[:, None] * (basis(lon, lat)[0] @ axes)
    keep = rng.random(count) * np.interp(distance, _DISTANCES, envelope) < component(x)
    lon, lat, distance, x = lon[keep], lat[keep], distance[keep], x[keep]
    M, colour = component.stars.draw(faintest_at(distance, sky.g_limit), rng)
    G, colour, keep = sky.dim(lon, lat, M + distance_modulus(distance), colour, rng)
    lon, lat, distance, x, G, colour = (a[keep] for a in (lon, lat, distance, x, G, colour))
    R = np.hypot(x[:, 0], x[:, 1])
    v_R, v_phi, v_z = (s * rng.standard_normal(len(R)) for s in component.sigma)
    # The disc turns towards -y at the Sun.
    c, s = x[:, 0] / R, x[:, 1] / R
    v_phi = v_phi + component.rotation
    velocity = np.stack([c * v_R + s * v_phi, s * v_R - c * v_phi, v_z], -1)
    return _seen(sky, lon, lat, *motions(axes, lon, lat, distance, velocity), distance, G, colour)


def _seen(sky, lon, lat, pm_lon, pm_lat, distance, G, colour):
    ra, dec, pmra, pmdec = from_patch(sky.center, lon, lat, pm_lon, pm_lat)
    return dict(ra=ra, dec=dec, pmra=pmra, pmdec=pmdec, parallax=1 / distance, phot_g_mean_mag=G, bp_rp=colour)


def _satellite(body, code, sky, rng):
    axes = galactic_axes(sky.center)
    place = body.place or tuple(float(a[0]) for a in in_cap(1, 0.7 * sky.radius, rng))
    lon0, lat0 = (np.array([value]) for value in place)
    drawn = motions(axes, lon0, lat0, body.distance, 120.0 * rng.standard_normal((1, 3)))
    pm = body.pm or tuple(float(a[0]) for a in drawn)
    parts, found = [], 0
    while found < body.members:
        n = 2 * body.members + 100
        share = rng.random(n) * 0.99  # of the stars on the sky within a radius
        r, turn = body.radius * np.sqrt(share / (1 - share)), 2 * np.pi * rng.random(n)
        lat = lat0 + r * np.sin(turn)
        lon = lon0 + r * np.cos(turn) / np.cos(np.deg2rad(lat0))
        jitter = body.dispersion / (_KMS_PER_MASYR_KPC * body.distance) * rng.standard_normal((2, n))
        distance = np.full(n, body.distance)
        M, colour = body.stars.draw(faintest_at(distance, sky.g_limit), rng)
        G, colour, keep = sky.dim(lon, lat, M + distance_modulus(distance), colour, rng)
        keep &= sky.inside(lon, lat)
        if not keep.any():
            raise ValueError(
                f"Expected a satellite with stars above G = {sky.g_limit:g} in the patch, got none; move it."
            )
        part = _seen(sky, lon, lat, pm[0] + jitter[0], pm[1] + jitter[1], distance, G, colour)
        parts.append({name: values[keep] for name, values in part.items()})
        found += int(keep.sum())
    stars = {name: np.concatenate([part[name] for part in parts])[: body.members] for name in parts[0]}
    measured = sky.measure(stars, rng) | {"origin": np.full(body.members, code, np.int16)}
    return measured, {"place": place, "pm": pm}


def _clouds(holes, radius, rng):
    """Blobs (x, y, width, peak), each cloud a chain of them."""
    blobs = []
    for _ in range(holes.count):
        lon, lat = (float(a[0]) for a in in_cap(1, 0.85 * radius, rng))
        way, x, y = 2 * np.pi * rng.random(), lon * np.cos(np.deg2rad(lat)), lat
        for _ in range(6):
            width = holes.size * rng.uniform(0.2, 0.45)
            blobs.append([float(x), float(y), float(width), float(holes.extinction * rng.uniform(0.5, 1.0))])
            way += rng.normal() * 0.8
            x, y = x + width * np.cos(way), y + width * np.sin(way)
    return blobs


def _bands(stripes, radius, rng):
    angle = float(rng.uniform(0, 180)) if stripes.angle is None else float(stripes.angle)
    edges = [-radius]
    while edges[-1] < radius:
        edges.append(edges[-1] + stripes.width * rng.uniform(0.5, 1.5))
    loss = rng.uniform(*stripes.loss, len(edges) + 1) * (np.arange(len(edges) + 1) % 2)
    return {"angle": angle, "edges": [float(e) for e in edges], "loss": loss.tolist(), "onset": stripes.onset}
