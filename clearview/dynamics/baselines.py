"""What is done today, in the same interface: binned Jeans equations, and parametric potentials fitted to them.

Neither learns a phase-space density. The Jeans equations (Binney & Tremaine 2008, section 4.8) take moments of the
stars in cells and the gradients of these moments; a parametric fit then asks which potential of a family has such
accelerations, and is wrong where its family is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.interpolate import RegularGridInterpolator
from scipy.optimize import least_squares
from scipy.special import gamma, gammainc, gammaincc

from clearview.catalogs import Catalog
from clearview.field import Axis, Quantity, make_field
from clearview.units import ACCELERATION_UNIT, SUN, G

FEWEST = 1000
"""Stars below which the cells hold too few."""

SPANS = (0.1, 0.2, 0.4, 0.7)
"""Fractions of the stars in the window of a local polynomial, of which cross-validation takes one."""

_PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))  # of R, phi, z: the rows of `JeansFit.moments`
_MIRROR = np.array([1, 1, 1, 1, -1, -1])[:, None, None, None]  # what z -> -z, v_z -> -v_z makes of them
_LENGTHS = np.array([3.0, 0.375, 1.0])  # shape of the windows in R [kpc], phi [rad], arcsinh(z / height)
_POWERS = (2, 2, 4)  # a disc needs more terms across its plane than along it


@dataclass
class JeansFit:
    """Accelerations of the Jeans equations at the centres of cells. There is no potential: they are not curl-free.

    Attributes:
        center, radius: of the ball whose stars were binned, kpc.
        provenance: where the numbers come from: plain values.
        R, phi, z: (n_R,) kpc, (n_phi,) rad, (n_z,) kpc, the cells' centres; one phi where symmetry is assumed.
        height: kpc; the cells are equally wide in arcsinh(z / height).
        count: (n_R, n_phi, n_z) stars of each cell.
        log_n, log_n_error: (n_R, n_phi, n_z) ln of stars per kpc^3 of the cell's part inside the ball, and its shot
            noise; NaN in cells that were dropped.
        moments, moments_error: (6, n_R, n_phi, n_z) means of v_R v_R, v_phi v_phi, v_z v_z, v_R v_phi, v_R v_z and
            v_phi v_z, (km/s)^2, with phi and v_phi anticlockwise, and their shot noise.
        a: (3, n_R, n_phi, n_z) a_R, a_phi (anticlockwise), a_z, (km/s)^2/kpc; NaN in cells that were dropped.
        resamples: (B, 3, n_R, n_phi, n_z) the same from bootstrap resamples of the stars.
        freedom: number of parameters that the smoothing leaves each component: cells close by are not independent.
    """

    center: np.ndarray
    radius: float
    provenance: dict[str, Any]
    R: np.ndarray
    phi: np.ndarray
    z: np.ndarray
    height: float
    count: np.ndarray
    log_n: np.ndarray
    log_n_error: np.ndarray
    moments: np.ndarray
    moments_error: np.ndarray
    a: np.ndarray
    resamples: np.ndarray
    freedom: float

    @property
    def axisymmetric(self) -> bool:
        """Whether a_phi = 0 and mirror symmetry about z = 0 were assumed."""
        return len(self.phi) == 1

    @property
    def error(self) -> np.ndarray:
        """(3, n_R, n_phi, n_z) standard deviation of `a` over the resamples."""
        return self.resamples.std(0, ddof=1)

    def acceleration(self, x) -> np.ndarray:
        """(N, 3) acceleration at x (N, 3) [kpc], (km/s)^2/kpc, interpolated; NaN where a cell next to x was dropped."""
        return _cartesian(x, self._at(self.a, x))

    def acceleration_error(self, x) -> np.ndarray:
        """(N, 3) standard deviation of `acceleration` over the resamples; NaN where that is."""
        return np.std([_cartesian(x, self._at(a, x)) for a in self.resamples], axis=0, ddof=1)

    def potential(self, x) -> np.ndarray:
        """Refused: accelerations taken cell by cell have none.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "Expected a source with a potential, got binned Jeans accelerations, which are not curl-free; pass "
            "potential=False, or fit one with parametric_potential."
        )

    def fields(self) -> xr.Dataset:
        """Everything at the cells' centres, on the axes R, phi (unless axisymmetric) and z, which is not regular.

        Returns:
            count, log_n, the moments v_R2, v_phi2, v_z2, v_R_v_phi, v_R_v_z, v_phi_v_z and a_R, a_phi, a_z, each with
            its standard deviation under the name with ``_error``; v_phi and a_phi are positive along the rotation.
        """
        sign = np.array([1, 1, 1, -1, 1, -1])[:, None, None, None]
        names = ("v_R2", "v_phi2", "v_z2", "v_R_v_phi", "v_R_v_z", "v_phi_v_z")
        words = ("⟨v_R²⟩", "⟨v_φ²⟩", "⟨v_z²⟩", "⟨v_R v_φ⟩", "⟨v_R v_z⟩", "⟨v_φ v_z⟩")
        parts = [("count", "", "stars", self.count, None)]
        parts += [("log_n", "ln(kpc⁻³)", "ln n", self.log_n, self.log_n_error)]
        both = zip(names, words, self.moments * sign, self.moments_error, strict=True)
        parts += [(n, "km2 s-2", w, value, error) for n, w, value, error in both]
        both = zip(("a_R", "a_phi", "a_z"), (1, -1, 1), self.a, self.error, strict=True)
        parts += [(n, ACCELERATION_UNIT, n.replace("phi", "φ"), s * value, error) for n, s, value, error in both]
        axes = [Axis(n, 0, 1, len(getattr(self, n))) for n in ("R", "phi", "z")]
        places = {"R": ("R", self.R, {"units": "kpc", "long_name": "R"})}
        if self.axisymmetric:
            del axes[1]
            parts = [(n, u, w, v[:, 0], None if e is None else e[:, 0]) for n, u, w, v, e in parts]
        else:
            places["phi"] = ("phi", np.rad2deg(self.phi), {"units": "deg", "long_name": "φ"})
        places["z"] = ("z", self.z, {"units": "kpc", "long_name": "z"})
        quantities = {n: Quantity(v, u, w) for n, u, w, v, _ in parts}
        quantities |= {f"{n}_error": Quantity(e, u, f"σ({w})") for n, u, w, _, e in parts if e is not None}
        return make_field(axes, quantities, self.provenance).assign_coords(places)

    def _at(self, values, x) -> np.ndarray:
        """values (k, n_R, n_phi, n_z) at x (N, 3): (N, k)."""
        places = _cylindrical(x, np.zeros_like(x), self.center)[0].T
        places[:, 2] = np.arcsinh(places[:, 2] / self.height)
        used = [0, 2] if self.axisymmetric else [0, 1, 2]
        axes = (self.R, self.phi - np.arctan2(self.center[1], self.center[0]), np.arcsinh(self.z / self.height))
        values = np.moveaxis(values[:, :, 0] if self.axisymmetric else values, 0, -1)
        return RegularGridInterpolator([axes[i] for i in used], values, bounds_error=False)(places[:, used])


def binned_jeans(
    catalog: Catalog,
    *,
    axisymmetric: bool = True,
    center=SUN.position,
    radius: float | None = None,
    bins: tuple[int, int, int] | None = None,
    min_stars: int = 10,
    resamples: int = 32,
    seed: int = 0,
) -> JeansFit:
    """Accelerations from the stationary Jeans equations in cylindrical coordinates.

    Stars are counted in cells that are equally wide in R, phi and arcsinh(z / median |z|), so thinnest in the plane.
    A cell's density is its count over its volume inside the ball. ln n and the second moments (mean motions and cross
    moments included) are smoothed by local polynomials, quadratic in R and phi and quartic in z, weighed by the counts,
    in a window that grows until it holds a fraction of all stars (loess: Cleveland 1979, JASA 74, 829); the
    fraction is found by leave-one-out cross-validation, once for ln n and once for the moments. The gradients are
    those of the polynomials. Errors come from bootstrap resamples of the stars; they do not hold the smoothing's bias.

    Args:
        catalog: stars with 6-D phase space, without a selection other than the ball.
        axisymmetric: cells in R and z, nothing depends on phi, a_phi = 0, and north and south are one;
            else cells in R, phi and z, and no symmetry.
        center: (3,) of the ball, kpc.
        radius: of the ball, kpc; None takes the farthest star's distance.
        bins: cells along R, phi, z; by default 26, 1, 40 or, without axisymmetry, 12, 8, 24. Memory grows with the
            square of the number of cells: 0.2 GB for 2,000.
        min_stars: cells with fewer are dropped, as are those with less than half inside the ball.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ValueError: for too few stars, bins or filled cells, or a ball that reaches the Galaxy's axis.
    """
    bins = bins or ((26, 1, 40) if axisymmetric else (12, 8, 24))
    if min(bins[0], bins[2]) < 6 or bins[1] < (1 if axisymmetric else 4) or (axisymmetric and bins[1] != 1):
        least = "6 bins in R, 1 in phi and 6 in z" if axisymmetric else "6 bins in R, 4 in phi and 6 in z"
        raise ValueError(f"Expected at least {least}, got {tuple(bins)}; gradients need neighbours, so give more.")
    if resamples < 2:
        raise ValueError(f"Expected at least 2 resamples for an error, got {resamples}; 32 are usual.")
    center = np.asarray(center, float)
    x, v = np.split(np.asarray(catalog.phase_space, float), 2, axis=1)
    distance = np.linalg.norm(x - center, axis=1)
    radius = float(distance.max(initial=0.0) * (1 + 1e-4)) if radius is None else float(radius)
    inside = distance < radius
    if inside.sum() < FEWEST:
        raise ValueError(
            f"Expected at least {FEWEST:,} stars within {radius:.3g} kpc of {tuple(center.round(3).tolist())}, got "
            f"{inside.sum():,}; check the frame or give a larger radius."
        )
    if radius >= np.hypot(center[0], center[1]):
        raise ValueError(
            f"Expected a ball that leaves out the Galaxy's axis, got radius {radius:.3g} kpc; give a smaller one."
        )
    places, velocities = _cylindrical(x[inside], v[inside], center)
    cells = _Cells(places, center, radius, bins)

    products = np.stack([velocities[i] * velocities[j] for i, j in _PAIRS])

    def moments(weights, mirror):
        """Stars per cell, ln n and (6, ...) second moments, of north and south together with ``mirror``."""
        number, volume = cells.sum(weights), cells.volume
        total = np.stack([cells.sum(weights * product) for product in products])
        if mirror:
            number, volume = number + number[..., ::-1], volume + volume[..., ::-1]
            total = total + _MIRROR * total[..., ::-1]
        with np.errstate(divide="ignore", invalid="ignore"):
            # Weighed by its count, ln(count) of a Poisson number is 1/(2 count) too large in the mean.
            return number, np.log(number / volume) - 0.5 / number, total / number

    ones = np.ones(places.shape[1])
    number, log_n, second = moments(ones, axisymmetric)
    kept = (number >= min_stars) & (cells.coverage >= 0.5)
    used = [0, 2] if axisymmetric else [0, 1, 2]
    powers = [p for p in np.ndindex(*(_POWERS[i] + 1 for i in used)) if sum(p) <= max(_POWERS)]
    if kept.sum() < 3 * len(powers):
        raise ValueError(
            f"Expected at least {3 * len(powers)} cells with {min_stars} stars, got {kept.sum()} of {kept.size}; use "
            f"{'other bins or more stars' if axisymmetric else 'other bins, more stars or axisymmetric=True'}."
        )
    points, nodes = (p[kept][:, used] / _LENGTHS[used] for p in (cells.centroid, cells.middle))
    # A mirrored cell says nothing new, so the windows are judged on north and south apart.
    alone, y, q = (m[..., kept] for m in moments(ones, False))
    y, q = np.where(alone > 0, y, log_n[kept]), np.where(alone > 0, q, second[:, kept])
    best: dict[str, tuple[float, _Smoothing]] = {}
    for span in SPANS:
        smoothing = _Smoothing(points, nodes, number[kept], span, powers)
        errors = {
            "n": smoothing.left_out(y, alone),
            "q": sum(smoothing.left_out(m, alone, relative=True) for m in q[:3]),
        }
        best = {k: min(best.get(k, (np.inf, smoothing)), (e, smoothing), key=lambda b: b[0]) for k, e in errors.items()}
    of_n, of_q = best["n"][1], best["q"][1]

    R = cells.middle[..., 0][kept]
    to_physical = np.stack([0 * R + 1, 1 / R, 1 / (cells.height * np.cosh(cells.middle[..., 2][kept]))])[used]
    to_physical /= _LENGTHS[used, None]

    def solve(log_n, second):
        """(..., 3, cells) acceleration from (..., cells) ln n and (..., 6, cells) second moments."""
        level = second @ of_q.level.T
        a = np.zeros((*second.shape[:-2], 3, len(R)))
        for k, j in enumerate(used):
            slope_n, slope_q = (v @ s.slopes[k].T * to_physical[k] for v, s in ((log_n, of_n), (second, of_q)))
            for i in used:
                m = _PAIRS.index((min(i, j), max(i, j)))
                a[..., i, :] += slope_q[..., m, :] + level[..., m, :] * slope_n
        a[..., 0, :] += (level[..., 0, :] - level[..., 1, :]) / R
        a[..., 2, :] += level[..., 4, :] / R
        if not axisymmetric:
            a[..., 1, :] += 2 * level[..., 3, :] / R
        return a

    def spread(values):
        out = np.full((*values.shape[:-1], *kept.shape), np.nan)
        out[..., kept] = values
        return out

    rng = np.random.default_rng(seed)
    again = [moments(rng.poisson(1.0, len(ones)).astype(float), axisymmetric)[1:] for _ in range(resamples)]
    # A resample may leave a sparse cell empty; it then says what the stars say.
    log_n_again, second_again = (
        np.stack([np.where(np.isfinite(one), one, of_all)[..., kept] for one in drawn])
        for drawn, of_all in zip(zip(*again, strict=True), (log_n, second), strict=True)
    )
    fourth = np.stack([cells.sum(product**2) for product in products])
    fourth = fourth + fourth[..., ::-1] if axisymmetric else fourth
    with np.errstate(divide="ignore", invalid="ignore"):
        second_error = np.sqrt(np.maximum(fourth / number - second**2, 0) / number)
    assumed = "axisymmetry, mirror symmetry about z = 0" if axisymmetric else "no symmetry"
    provenance = {
        "method": "binned Jeans equations",
        "assumptions": f"equilibrium, {assumed}",
        "stars": int(inside.sum()),
        "data_digest": catalog.digest(),
        "radius_kpc": radius,
        "seed": seed,
        "span_log_n": of_n.span,
        "span_moments": of_q.span,
    }
    return JeansFit(
        center, radius, provenance, cells.middle[:, 0, 0, 0], cells.azimuth + cells.middle[0, :, 0, 1],
        cells.height * np.sinh(cells.middle[0, 0, :, 2]), cells.height, number.astype(int), spread(log_n[kept]),
        spread(number[kept] ** -0.5), spread(second[:, kept]), spread(second_error[:, kept]),
        spread(solve(log_n[kept], second[:, kept])), spread(solve(log_n_again, second_again)), of_n.freedom,
    )  # fmt: skip


def _cylindrical(x, v, center):
    """(3, N) R, phi from the centre's azimuth, z, and (3, N) v_R, v_phi (anticlockwise), v_z."""
    x, v = np.asarray(x, float), np.asarray(v, float)
    R = np.hypot(x[:, 0], x[:, 1])
    c, s = x[:, 0] / R, x[:, 1] / R
    azimuth = np.arctan2(center[1], center[0])
    phi = np.arctan2(s * np.cos(azimuth) - c * np.sin(azimuth), c * np.cos(azimuth) + s * np.sin(azimuth))
    return np.stack([R, phi, x[:, 2]]), np.stack([v[:, 0] * c + v[:, 1] * s, v[:, 1] * c - v[:, 0] * s, v[:, 2]])


def _cartesian(x, a):
    """(N, 3) vector along x, y, z of a (N, 3) along R, phi, z at x (N, 3)."""
    x = np.asarray(x, float)
    R = np.hypot(x[:, 0], x[:, 1])
    c, s = x[:, 0] / R, x[:, 1] / R
    return np.stack([a[:, 0] * c - a[:, 1] * s, a[:, 0] * s + a[:, 1] * c, a[:, 2]], axis=-1)


class _Cells:
    """Cells in R, phi (0 is the centre's azimuth) and t = arcsinh(z / height), and how much of each is in the ball."""

    def __init__(self, places, center, radius, bins):
        R0, self.azimuth = np.hypot(center[0], center[1]), np.arctan2(center[1], center[0])
        self.height = max(float(np.median(np.abs(places[2]))), 1e-3 * radius)
        wide, top = np.arcsin(radius / R0), np.arcsinh((radius + abs(center[2])) / self.height)
        edges = [np.linspace(*ends, n + 1) for ends, n in zip(
            ((R0 - radius, R0 + radius), (-wide, wide), (-top, top)), bins, strict=True)]  # fmt: skip
        self.shape = tuple(bins)
        values = (places[0], places[1], np.arcsinh(places[2] / self.height))
        found = [np.searchsorted(e[1:-1], value, side="right") for e, value in zip(edges, values, strict=True)]
        self.index = np.ravel_multi_index(found, self.shape)
        self.middle = np.stack(np.meshgrid(*((e[1:] + e[:-1]) / 2 for e in edges), indexing="ij"), -1)

        # Quadrature over R and t (the axes of a cell, then of its points); the extent in phi is exact.
        s, weight = np.polynomial.legendre.leggauss(8)
        s, weight = (s + 1) / 2, weight / 2
        R, t = (e[:-1, None] + np.diff(e)[:, None] * s for e in (edges[0], edges[2]))
        R, t = R[:, None, None, :, None], t[None, None, :, None, :]
        z = self.height * np.sinh(t)
        measure = weight[:, None] * weight * R * self.height * np.cosh(t)
        measure = measure * (edges[0][1] - edges[0][0]) * (edges[2][1] - edges[2][0])
        cosine = (R**2 + R0**2 + (z - center[2]) ** 2 - radius**2) / (2 * R0 * R)
        half = np.where(cosine < 1, np.arccos(np.clip(cosine, -1, 1)), 0.0)
        low = np.maximum(edges[1][:-1, None, None, None], -half)
        high = np.minimum(edges[1][1:, None, None, None], half)
        inside = measure * np.maximum(high - low, 0)
        self.volume = inside.sum((-1, -2))
        with np.errstate(invalid="ignore"):
            parts = [(inside * c).sum((-1, -2)) / self.volume for c in (R, (low + high) / 2, t)]
        self.centroid = np.stack(parts, -1)
        # In R and z alone the ball is a disc, and how wide it is in phi does not matter.
        whole = np.where(bins[1] == 1, measure * (half > 0), inside).sum((-1, -2))
        self.coverage = whole / (measure.sum((-1, -2)) * (1 if bins[1] == 1 else edges[1][1] - edges[1][0]))

    def sum(self, weights):
        """Weights (N,) of the stars summed in each cell."""
        return np.bincount(self.index, weights, int(np.prod(self.shape))).reshape(self.shape)


class _Smoothing:
    """Local polynomials through values at points: linear operators for their level and slopes at nodes."""

    def __init__(self, points, nodes, count, span, powers: list[tuple[int, ...]]):
        # The constant comes first, then the slopes in the order of the coordinates.
        terms = np.array(sorted(powers, key=lambda p: (sum(p), [-k for k in p])))
        self.span, dimensions, size, highest = span, points.shape[1], len(points), int(terms.max())
        operators = [np.zeros((size, size)) for _ in range(2 + dimensions)]
        for i, node in enumerate(nodes):
            distance = np.linalg.norm(points - node, axis=1)
            order = np.argsort(distance)
            enough = max(int(np.searchsorted(np.cumsum(count[order]), span * count.sum())), int(2.5 * len(terms)))
            window = distance[order[min(enough, size - 1)]]
            near = np.flatnonzero(distance < window)
            weight = (1 - (distance[near] / window) ** 3) ** 3 * count[near]
            step = (points[near] - node) / window
            steps = np.cumprod(np.stack([np.ones_like(step), *[step] * highest]), axis=0)
            design = np.prod([steps[terms[:, k], :, k] for k in range(dimensions)], axis=0).T
            weighted = design.T * weight
            fit = np.linalg.solve(weighted @ design + 1e-9 * weight.sum() * np.eye(len(terms)), weighted)
            own = (((points[i] - node) / window) ** terms).prod(-1)
            for operator, row in zip(operators, (own @ fit, fit[0], *fit[1 : 1 + dimensions] / window), strict=True):
                operator[i, near] = row
        self.hat, self.level, *self.slopes = operators
        self.leverage = self.hat.diagonal()
        self.freedom = float(self.leverage.sum())

    def left_out(self, values, count, relative=False):
        """Mean squared error, in shot noises, of each value predicted from the others."""
        smooth = self.hat @ values
        error = (values - smooth) / np.maximum(1 - self.leverage, 0.05)
        return float(np.mean(count * (error / smooth if relative else error) ** 2))


def _miyamoto_nagai(R, z, mass, a, b):
    """Miyamoto & Nagai (1975, PASJ 27, 533): potential, a_R, a_z, density."""
    D = np.sqrt(z**2 + b**2)
    S2 = R**2 + (a + D) ** 2
    pull = -G * mass * S2**-1.5
    density = b**2 * mass / (4 * np.pi) * (a * R**2 + (a + 3 * D) * (a + D) ** 2) / (S2**2.5 * D**3)
    return -G * mass * S2**-0.5, pull * R, pull * z * (a + D) / D, density


def _nfw(R, z, density, scale):
    """Navarro, Frenk & White (1997, arXiv:astro-ph/9611107)."""
    r, mass = np.hypot(R, z), 4 * np.pi * density * scale**3
    u = r / scale
    pull = -G * mass * (np.log1p(u) - u / (1 + u)) / r**3
    return -G * mass * np.log1p(u) / r, pull * R, pull * z, density / (u * (1 + u) ** 2)


def _bulge(R, z, mass, cutoff=1.9):
    """Density r^-1.8 exp(-(r / 1.9 kpc)^2), as in Bovy (2015, arXiv:1412.3451): a point for whoever stays outside."""
    r, alpha = np.hypot(R, z), 1.8
    y, k = (r / cutoff) ** 2, 1.5 - alpha / 2
    enclosed = mass * gammainc(k, y)
    outer = mass / cutoff * gamma(k - 0.5) / gamma(k) * gammaincc(k - 0.5, y)
    density = mass / (2 * np.pi * cutoff ** (3 - alpha) * gamma(k)) * r**-alpha * np.exp(-y)
    pull = -G * enclosed / r**3
    return -G * (enclosed / r + outer), pull * R, pull * z, density


def _log_halo(R, z, speed, core, flattening):
    """Binney (1981, MNRAS 196, 455): speed^2/2 ln(core^2 + R^2 + z^2/flattening^2)."""
    q2 = flattening**2
    S2 = core**2 + R**2 + z**2 / q2
    density = (2 * q2 + 1) * core**2 + R**2 + (2 - 1 / q2) * z**2
    pull = -(speed**2) / S2
    return speed**2 / 2 * np.log(S2), pull * R, pull * z / q2, density * speed**2 / (4 * np.pi * G * q2 * S2**2)


_DISC = (
    _miyamoto_nagai,
    {"disc_mass": (5.5e10, 0.5, "Msun"), "disc_a": (3.5, 0.3, "kpc"), "disc_b": (0.3, 0.5, "kpc")},
)
_BULGE = (_bulge, {"bulge_mass": (0.8e10, 0.3, "Msun")})
_NFW = (_nfw, {"halo_density": (1e7, 1.0, "Msun kpc-3"), "halo_scale": (18.0, 0.4, "kpc")})
_LOG = (
    _log_halo,
    {"halo_speed": (200.0, 0.3, "km/s"), "halo_core": (8.0, 0.5, "kpc"), "halo_flattening": (0.9, 0.2, "")},
)

FAMILIES: dict[str, tuple[tuple[Callable, dict[str, tuple[float, float, str]]], ...]] = {
    "disc_bulge_halo": (_DISC, _BULGE, _NFW),
    "disc_bulge_log_halo": (_DISC, _BULGE, _LOG),
}
"""Components of each family, and for each of their parameters the prior: median, width in ln, units."""


@dataclass
class ParametricFit:
    """A potential of a parametric family.

    Attributes:
        family: its name in `FAMILIES`.
        table: one row a parameter: value, error, prior (its median), prior_width (in ln; 0 where fixed), units.
        members: (B, parameters) values for bootstrap resamples of the stars, each under a prior displaced at random.
        center, radius: of the ball whose stars decided it, kpc.
        provenance: where it comes from; ``misfit`` is the root mean square deviation of the accelerations in errors,
            about 1 where the family holds.
    """

    family: str
    table: pd.DataFrame
    members: np.ndarray
    center: np.ndarray
    radius: float
    provenance: dict[str, Any]

    def acceleration(self, x) -> np.ndarray:
        """(N, 3) at x (N, 3) [kpc], (km/s)^2/kpc."""
        _, a_R, a_z, _ = _evaluate(self.family, self.table["value"].to_numpy(), x)
        return _cartesian(x, np.stack([a_R, 0 * a_R, a_z], -1))

    def acceleration_error(self, x) -> np.ndarray:
        """(N, 3) standard deviation of the acceleration over the members."""
        each = (_evaluate(self.family, member, x)[1:3] for member in self.members)
        return np.std([_cartesian(x, np.stack([a_R, 0 * a_R, a_z], -1)) for a_R, a_z in each], axis=0, ddof=1)

    def potential(self, x) -> np.ndarray:
        """(N,) at x (N, 3) [kpc], (km/s)^2."""
        return _evaluate(self.family, self.table["value"].to_numpy(), x)[0]

    def density(self, x) -> np.ndarray:
        """(N,) of all mass at x (N, 3) [kpc], Msun/kpc^3."""
        return _evaluate(self.family, self.table["value"].to_numpy(), x)[3]


def _evaluate(family, parameters, x):
    """(4, N) potential, a_R, a_z, density."""
    x = np.asarray(x, float)
    R, z, left = np.hypot(x[:, 0], x[:, 1]), x[:, 2], list(parameters)
    return np.sum([part(R, z, *(left.pop(0) for _ in names)) for part, names in FAMILIES[family]], axis=0)


def parametric_potential(
    stars: Catalog | JeansFit,
    family: str = "disc_bulge_halo",
    *,
    priors: Mapping[str, tuple[float, float]] | None = None,
    floor: float = 0.02,
) -> ParametricFit:
    """The potential of a family whose accelerations lie closest to those of the axisymmetric Jeans equations.

    Least squares over the cells in a_R and a_z, in the errors of the cells, with log-normal priors. Cells close by
    share their stars, so the squares are scaled down to the number that are independent. The errors are the spread of
    the same fit to bootstrap resamples under displaced priors: they hold neither the bias of the smoothing nor that of
    a family which is wrong.

    Args:
        stars: a catalogue, binned with the defaults of `binned_jeans`, or a `JeansFit`.
        family: a name in `FAMILIES`: Miyamoto-Nagai disc and bulge with an NFW or a flattened logarithmic halo.
        priors: median and width in ln by parameter, in place of those of `FAMILIES`; width 0 fixes a parameter.
        floor: fraction of |a|, above 0, added to each error in quadrature, for what the binning itself gets wrong.

    Raises:
        ValueError: for an unknown family or parameter, a prior or floor that is not positive, or what `binned_jeans`
            refuses.
    """
    if family not in FAMILIES:
        raise ValueError(f"Expected a family among {', '.join(FAMILIES)}, got {family!r}; choose one of them.")
    if not floor > 0:
        raise ValueError(f"Expected a floor above 0, got {floor}; 0.02 is two per cent of |a|.")
    table = {name: prior for _, names in FAMILIES[family] for name, prior in names.items()}
    for name, prior in (priors or {}).items():
        if name not in table:
            raise ValueError(f"Expected parameters among {', '.join(table)}, got {name!r}; correct its name.")
        if not (prior[0] > 0 and prior[1] >= 0):
            raise ValueError(f"Expected a positive median and a width of 0 or more for {name}, got {prior}; mend it.")
        table[name] = (float(prior[0]), float(prior[1]), table[name][2])
    jeans = binned_jeans(stars) if isinstance(stars, Catalog) else stars
    kept = np.isfinite(jeans.a[0])
    R, _, z = (c[kept] for c in np.meshgrid(jeans.R, jeans.phi, jeans.z, indexing="ij"))
    x = np.stack([R, 0 * R, z], -1)  # the families are axisymmetric
    a, again = jeans.a[::2, kept], jeans.resamples[:, ::2, kept]
    error = np.sqrt(jeans.error[::2, kept] ** 2 + (floor * np.linalg.norm(a, axis=0)) ** 2)
    share = min(1.0, jeans.freedom / kept.sum()) ** 0.5
    center, width = np.log([p[0] for p in table.values()]), np.array([p[1] for p in table.values()])
    free = width > 0

    def solve(a, center, start):
        def residual(free_values):
            full = np.where(free, 0.0, center)
            full[free] = free_values
            miss = (np.stack(_evaluate(family, np.exp(full), x)[1:3]) - a) / error
            return np.concatenate([share * miss.ravel(), (free_values - center[free]) / width[free]])

        found = least_squares(residual, start[free]) if free.any() else None
        out = center.copy()
        if found is not None:
            out[free] = found.x
        return out

    best = solve(a, center, center)
    rng = np.random.default_rng(jeans.provenance.get("seed", 0))
    members = np.exp([solve(b, center + width * rng.normal(size=len(width)), best) for b in again])
    miss = (np.stack(_evaluate(family, np.exp(best), x)[1:3]) - a) / error
    frame = pd.DataFrame(
        {
            "value": np.exp(best),
            "error": members.std(0, ddof=1),
            "prior": [p[0] for p in table.values()],
            "prior_width": width,
            "units": [p[2] for p in table.values()],
        },
        index=pd.Index(list(table), name="parameter"),
    )
    provenance = {
        **jeans.provenance,
        "method": "parametric potential fitted to binned Jeans equations",
        "family": family,
        "misfit": float(np.sqrt(np.mean(miss**2))),
    }
    return ParametricFit(family, frame, members, jeans.center, jeans.radius, provenance)
