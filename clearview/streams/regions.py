"""Where a stream is looked for: patches of the sky, windows in proper motion, and the stars that count there.

The numbers are those of Via Machinae (Shih et al. 2021, arXiv:2104.12789; 2023, arXiv:2303.01529).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord

from clearview import checks
from clearview.catalogs import Catalog, CutReport, Finite
from clearview.catalogs.frames import basis, separation, sky_point

SCANS = ("pm_lon", "pm_lat")


@dataclass(frozen=True)
class Patch:
    """A round piece of the sky.

    Attributes:
        ra, dec: of its centre, deg.
        radius: deg.
    """

    ra: float
    dec: float
    radius: float = 15.0

    def __post_init__(self):
        for name, value in zip(("ra", "dec"), sky_point((self.ra, self.dec), "the patch's centre"), strict=True):
            object.__setattr__(self, name, value)
        checks.numbers(self, radius=(checks.ABOVE_0, 90))

    @property
    def center(self) -> tuple[float, float]:
        """(ra, dec), deg."""
        return self.ra, self.dec

    def contains(self, ra, dec) -> np.ndarray:
        """(N,) whether places [deg] lie inside; False where they are not finite."""
        return separation(self.center, ra, dec) <= self.radius

    def of(self, catalog: Catalog, *, without: Sequence["Patch"] = (), fewest: int = 1000) -> Catalog:
        """The stars inside that have a proper motion, with lon, lat [deg], pm_lon, pm_lat [mas/yr] of `to_patch`.

        Args:
            catalog: with ra, dec, pmra, pmdec.
            without: pieces of the sky, such as `CLOUDS`, whose stars are left out.
            fewest: stars that have to be left.

        Raises:
            KeyError: if a column is missing.
            ValueError: if less stars are left.
        """
        checks.a(catalog, Catalog, "a Catalog").require(("ra", "dec", "pmra", "pmdec"))
        checks.number("fewest", fewest, 1, whole=True)
        ra, dec = (np.asarray(catalog[name], float) for name in ("ra", "dec"))
        keep = self.contains(ra, dec)
        for zone in without:
            keep &= ~checks.a(zone, Patch, "a Patch to leave out").contains(ra, dec)
        moves = np.isfinite(catalog["pmra"]) & np.isfinite(catalog["pmdec"])
        if (left := np.count_nonzero(keep & moves)) < fewest:
            raise ValueError(
                f"Expected at least {fewest:,} stars with proper motions within {self.radius:g} deg of ra, dec = "
                f"{self.ra:g}, {self.dec:g}, got {left:,}; choose another patch or lower fewest."
            )
        lost = np.count_nonzero(~np.isfinite(ra + dec))
        stars = catalog.take(keep, [CutReport(repr(self), len(catalog), int(keep.sum()), int(lost))])
        stars = (stars if moves[keep].all() else stars.select(Finite("pmra"), Finite("pmdec"))).to_patch(self.center)
        told = {"of": repr(self), "without": [repr(zone) for zone in without], "fewest": fewest}
        return stars.with_columns({}, meta={"patch": {**stars.meta["patch"], **told}})


CLOUDS = (Patch(80.89, -69.76, 12.0), Patch(13.19, -72.83, 7.0))
"""The Large and the Small Magellanic Cloud: about their centres, and how far out
they are left out."""


def tile_sky(
    radius: float = 15.0, *, reach: float = 10.0, latitude: float = 20.0, zones: Sequence[Patch] = CLOUDS
) -> list[Patch]:
    """Patches that cover the sky away from the Galactic plane.

    Every place with |b| > ``latitude`` outside the zones is within ``reach`` of a centre. Centres are on rings of equal
    b; those that fall into a zone are replaced by as few outside it as a greedy choice finds.

    Args:
        radius: of the patches, deg.
        reach: radius of the part of each that has to cover the sky, the fiducial one, deg.
        latitude: of the band around the Galactic plane that is left out, deg.
        zones: where no centre may be; the stars there have to be left out, too (``without`` of `Patch.of`).

    Raises:
        ValueError: for a reach larger than the radius, or other settings that cover no sky.
    """
    checks.number("radius", radius, checks.ABOVE_0, 90)
    checks.number("reach", reach, 1, radius)
    checks.number("latitude", latitude, 0, 89)
    for zone in zones:
        checks.a(zone, Patch, "a Patch as a zone")
    rows = int(np.ceil((90 - latitude) / (np.sqrt(2) * reach)))
    step, l, b = (90 - latitude) / rows, [], []
    for i in range(rows):
        middle, edge = latitude + (i + 0.5) * step, latitude + i * step
        # The corner of a cell at its edge nearest to the plane is the place farthest from the centre.
        m, e = np.deg2rad(middle), np.deg2rad(edge)
        half = np.arccos(np.clip((np.cos(np.deg2rad(reach)) - np.sin(m) * np.sin(e)) / (np.cos(m) * np.cos(e)), -1, 1))
        count = int(np.ceil(np.pi / half))
        for sign in (1, -1):
            l += list((np.arange(count) + 0.5 * (i % 2)) * 360 / count)
            b += [sign * middle] * count
    centers = _equatorial(l, b)
    kept = centers[~_in_any(zones, centers)]
    if len(kept) < len(centers):
        # On a grid of 0.7 deg every place is within about 0.5 deg of a point.
        n = 90_000
        grid = _equatorial(np.arange(n) * 137.50776405 % 360, np.rad2deg(np.arcsin(1 - (2 * np.arange(n) + 1) / n)))
        away = ~_in_any(zones, grid) & (np.abs(_galactic_latitude(*grid.T)) > latitude)
        out, close = basis(*grid.T)[0], np.cos(np.deg2rad(reach - 0.5))
        places = out[away]
        places = places[(places @ basis(*kept.T)[0].T).max(1) < close]
        near = np.flatnonzero(away & ((out @ places.T).max(1) > close)) if len(places) else []
        while len(places):
            best = near[np.argmax((out[near] @ places.T > close).sum(1))]
            kept = np.vstack([kept, grid[best]])
            places = places[places @ out[best] <= close]
    return [Patch(float(ra), float(dec), radius) for ra, dec in kept]


def _equatorial(l, b) -> np.ndarray:
    places: Any = SkyCoord(l=np.asarray(l) * u.deg, b=np.asarray(b) * u.deg, frame="galactic").icrs
    return np.stack([places.ra.deg, places.dec.deg], -1)


def _galactic_latitude(ra, dec) -> np.ndarray:
    places: Any = SkyCoord(ra=ra * u.deg, dec=dec * u.deg).galactic
    return places.b.deg


def _in_any(zones, centers) -> np.ndarray:
    inside = np.zeros(len(centers), bool)
    for zone in zones:
        inside |= zone.contains(*centers.T)
    return inside


@dataclass(frozen=True)
class Fiducial:
    """The stars of a patch that are searched after training: away from its edge, not too faint, of a stream's colour,
    and not among the distant stars whose proper motion is nearly zero.

    Attributes:
        radius: largest distance from the patch's centre, deg.
        faintest: G, mag.
        color: smallest and largest BP-RP, mag.
        slow: stars with both |pm_lon| and |pm_lat| below this are left out, mas/yr.
        magnitude_column, color_column: where G and BP-RP are, such as phot_g_mean_mag0 and bp_rp0 without dust.
        missing: what to do if these are not there: "refuse", or "skip" their cuts (`skipped` says which).
    """

    radius: float = 10.0
    faintest: float = 20.2
    color: tuple[float, float] = (0.5, 1.0)
    slow: float = 2.0
    magnitude_column: str = "phot_g_mean_mag"
    color_column: str = "bp_rp"
    missing: str = "refuse"

    def __post_init__(self):
        checks.numbers(self, radius=(checks.ABOVE_0, 180), faintest=(-30, 100), slow=(0, 1e6))
        checks.texts("the columns", (self.magnitude_column, self.color_column))
        low, high = self.color if isinstance(self.color, tuple | list) and len(self.color) == 2 else (None, None)
        low, high = checks.number("color", low), checks.number("color", high)
        if not low < high:
            raise ValueError(f"Expected color as (bluest, reddest), got {self.color}; exchange them.")
        object.__setattr__(self, "color", (low, high))
        if self.missing not in ("refuse", "skip"):
            raise ValueError(
                f"Expected missing as 'refuse' or 'skip', got {checks.shown(self.missing)}; choose one of them."
            )

    def skipped(self, stars: Catalog) -> tuple[str, ...]:
        """The columns of photometry that are not there, and whose cuts so cannot be made."""
        return tuple(name for name in (self.magnitude_column, self.color_column) if name not in stars)

    def select(self, stars: Catalog) -> np.ndarray:
        """(N,) which stars of `Patch.of` are fiducial; those without a finite value are not.

        Raises:
            KeyError: without lon, lat, pm_lon or pm_lat.
            ValueError: if photometry is missing, unless that is to be skipped.
        """
        checks.a(stars, Catalog, "a Catalog").require(("lon", "lat", "pm_lon", "pm_lat"))
        absent = self.skipped(stars)
        if absent and self.missing == "refuse":
            raise ValueError(
                f"Expected {self.magnitude_column} and {self.color_column} for the fiducial cuts, got none called "
                f"{' and '.join(absent)}; name the columns, or pass missing='skip'."
            )
        pm = np.maximum(np.abs(stars["pm_lon"]), np.abs(stars["pm_lat"]))
        keep = (separation((0.0, 0.0), stars["lon"], stars["lat"]) < self.radius) & (pm >= self.slow)
        if self.magnitude_column not in absent:
            keep &= stars[self.magnitude_column] < self.faintest
        if self.color_column not in absent:
            color = stars[self.color_column]
            keep &= (color > self.color[0]) & (color < self.color[1])
        return keep


def drop_foreground(catalog: Catalog, *, max_error: float = 0.2, max_height: float = 2.0) -> Catalog:
    """Without the stars that are known to be near: a good parallax and a place in the disc.

    Args:
        catalog: with ra, dec, parallax, parallax_error. Stars without a parallax stay.
        max_error: a parallax is good if its error is less than this part of it.
        max_height: |z| above the Galactic plane, by the inverse of the parallax, below which they are dropped, kpc.

    Raises:
        KeyError: if a column is missing.
        ValueError: if no star is left.
    """
    checks.a(catalog, Catalog, "a Catalog").require(("ra", "dec", "parallax", "parallax_error"))
    checks.number("max_error", max_error, 0)
    checks.number("max_height", max_height, 0)
    parallax, error = (np.asarray(catalog[name], float) for name in ("parallax", "parallax_error"))
    good = (parallax > 0) & (error < max_error * parallax)
    height = np.full(len(catalog), np.inf)
    ra, dec = (np.asarray(catalog[name], float)[good] for name in ("ra", "dec"))
    height[good] = np.abs(np.sin(np.deg2rad(_galactic_latitude(ra, dec))) / parallax[good] + catalog.sun.z)
    keep = ~(good & (height < max_height))
    if not keep.any():
        raise ValueError(f"Expected stars beyond the foreground, got none among {len(keep):,}; lower max_height.")
    name = f"drop_foreground(max_error={max_error:g}, max_height={max_height:g})"
    return catalog.take(keep, [CutReport(name, len(keep), int(keep.sum()))])


@dataclass(frozen=True)
class SignalRegion:
    """A window in one proper motion, low <= value < high.

    Attributes:
        scan: the proper motion, "pm_lon" or "pm_lat".
        low, high: mas/yr.
    """

    scan: str
    low: float
    high: float

    def __post_init__(self):
        _check_scan(self.scan)
        checks.numbers(self, low=(-1e6, 1e6), high=(-1e6, 1e6))
        if not self.low < self.high:
            raise ValueError(
                f"Expected a signal region with low < high, got {self.low} and {self.high}; exchange them."
            )

    @property
    def middle(self) -> float:
        """mas/yr."""
        return (self.low + self.high) / 2

    @property
    def other(self) -> str:
        """The proper motion that is not scanned."""
        return SCANS[1 - SCANS.index(self.scan)]

    def inside(self, values) -> np.ndarray:
        """(N,) which values [mas/yr] of the scanned proper motion are in the window; NaN is not."""
        values = np.asarray(values)
        return (values >= self.low) & (values < self.high)

    def sideband(self, values, reach: float = np.inf) -> np.ndarray:
        """(N,) which values are finite and beside the window, at most ``reach`` [mas/yr] from it."""
        values = np.asarray(values)
        near = np.isfinite(values) & (values >= self.low - reach) & (values < self.high + reach)
        return near & ~self.inside(values)


def signal_regions(
    stars: Catalog, scan: str = "pm_lon", *, width: float = 6.0, step: float = 1.0, fewest: int = 1000
) -> list[SignalRegion]:
    """Windows that slide over the proper motions of a patch, their lower ends at whole steps.

    Args:
        stars: of `Patch.of`, with the scanned proper motion; stars without a finite one are ignored.
        scan: "pm_lon" or "pm_lat".
        width: of a window, mas/yr.
        step: from one to the next, mas/yr.
        fewest: stars that there have to be in the window and on either side of it.

    Raises:
        KeyError: without that proper motion.
        ValueError: if no window has so many stars.
    """
    _check_scan(scan)
    checks.number("width", width, checks.ABOVE_0, 1e6)
    checks.number("step", step, checks.ABOVE_0, 1e6)
    checks.number("fewest", fewest, 1, whole=True)
    checks.a(stars, Catalog, "a Catalog").require((scan,))
    values = np.sort(np.asarray(stars[scan], float)[np.isfinite(stars[scan])])
    if len(values) < 3 * fewest:
        raise ValueError(
            f"Expected at least {3 * fewest:,} stars with {scan} to scan, got {len(values):,}; lower fewest."
        )
    # Farther out there are too few stars on one side, so the long tails need no windows.
    first, last = np.floor(values[fewest - 1] / step), np.ceil((values[-fewest] - width) / step)
    low = np.arange(first, last + 1) * step
    begin, end = np.searchsorted(values, low), np.searchsorted(values, low + width)
    keep = (begin >= fewest) & (end - begin >= fewest) & (len(values) - end >= fewest)
    if not keep.any():
        raise ValueError(
            f"Expected {fewest:,} stars inside and on either side of a window of {width:g} mas/yr in {scan}, got none; "
            "lower fewest or width."
        )
    return [SignalRegion(scan, float(value), float(value + width)) for value in low[keep]]


def _check_scan(scan) -> None:
    if scan not in SCANS:
        raise ValueError(f"Expected scan as 'pm_lon' or 'pm_lat', got {checks.shown(scan)}; choose one of them.")
