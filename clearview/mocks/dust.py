"""A mock Galaxy seen through dust, whose selection efficiency is known.

Dust dims stars, and the survey's cuts are made on what is seen: G < 14, and M_G = G - 5 log10(d / 10 pc) < 0.99 with
the observed G, as one who corrects no extinction does. So the efficiency at a place hangs on the luminosity functions
of the populations there and on the extinction in front of it, and not on a law chosen for it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from astropy import units as u
from scipy.spatial import KDTree
from scipy.special import erf
from scipy.stats import norm, qmc

from clearview import checks
from clearview.catalogs import Catalog
from clearview.mocks.galaxy import Population, mock_galaxy
from clearview.mocks.photometry import M_LIMIT, OLD, YOUNG, LuminosityFunction, distance_modulus, faintest_seen
from clearview.units import SUN

_CHUNK = 1 << 17


@dataclass(frozen=True)
class Dust:
    """Dust near the plane: a smooth layer and clouds, half of them spheres with sharp edges, half Gaussian.

    The clouds stand in groups of ten, at log-normal distances from the group's centre.

    Attributes:
        seed: of the clouds.
        clouds: their number within ``reach`` [kpc] of the Sun.
        sizes: smallest and largest radius of a sphere, or standard deviation of a Gaussian cloud, kpc.
        depths: smallest and largest A_G through a cloud's centre, mag.
        layer: opacity of the layer at z = 0, mag/kpc.
        scale_height: of the layer (exponential), kpc; the clouds' heights have this standard deviation, too.
        reach: kpc.

    Raises:
        ValueError: for bounds that are not positive and rising, or clouds too large to leave the Sun free.
    """

    seed: int = 0
    clouds: int = 400
    sizes: tuple[float, float] = (0.02, 0.12)
    depths: tuple[float, float] = (0.1, 2.0)
    layer: float = 0.25
    scale_height: float = 0.1
    reach: float = 4.3

    def __post_init__(self):
        checks.numbers(self, whole=True, seed=checks.SEEDS, clouds=(0, 10**7))
        checks.numbers(self, layer=(0, checks.MOST), scale_height=(checks.ABOVE_0, checks.MOST), reach=(0, 1000))
        for name in ("sizes", "depths"):
            if not (isinstance(ends := getattr(self, name), Sequence) and len(ends) == 2):
                raise ValueError(f"Expected {name} as (smallest, largest), got {ends!r}; give two numbers.")
        rising = all(0 < low <= high for low, high in (self.sizes, self.depths))
        if not rising:
            raise ValueError(f"Expected positive, rising bounds, got {self}; correct them.")
        if self.reach < 5 * self.sizes[1] + 0.1:
            raise ValueError(
                f"Expected clouds that leave the Sun free, got some of {self.sizes[1]} kpc within {self.reach} kpc; "
                "make them smaller."
            )


class DustField:
    """The extinction of a `Dust`, integrated exactly along sight lines from the Sun. Positions are (N, 3) kpc."""

    def __init__(self, dust: Dust):
        rng = np.random.default_rng([dust.seed, 0xD057])
        self.dust = dust
        center, size = np.empty((0, 3)), np.empty(0)
        while len(size) < dust.clouds:  # none covers the Sun, where the efficiency is 1
            middle = _disc(rng, dust.clouds // 10 + 1, dust.reach)[:, None]
            step = rng.normal(size=(*middle.shape[:1], 10, 3))
            step *= np.exp(rng.normal(np.log(0.2), 0.8, (*step.shape[:2], 1))) / np.linalg.norm(step, axis=2)[..., None]
            new = (middle + step * [1, 1, 0]).reshape(-1, 3)
            new[:, 2] = rng.normal(0, dust.scale_height, len(new))
            radius = _log_uniform(rng, dust.sizes, len(new))
            far = np.linalg.norm(new - SUN.position, axis=1)
            keep = (far > 5 * radius + 0.05) & (far < dust.reach)
            center, size = np.concatenate([center, new[keep]]), np.concatenate([size, radius[keep]])
        self.center, self.size = center[: dust.clouds], size[: dust.clouds]
        self.depth = _log_uniform(rng, dust.depths, dust.clouds)
        self.sharp = np.arange(dust.clouds) % 2 == 0
        self._peak = self.depth / (self.size * np.where(self.sharp, 2.0, np.sqrt(2 * np.pi)))  # opacity, mag/kpc

    def opacity(self, x) -> np.ndarray:
        """(N,) dA_G / ds, mag/kpc."""
        x = np.asarray(x, float)
        out = self.dust.layer * np.exp(-np.abs(x[:, 2]) / self.dust.scale_height)
        for c, size, peak, sharp in zip(self.center, self.size, self._peak, self.sharp, strict=True):
            q2 = ((x - c) ** 2).sum(1) / size**2
            out += peak * (q2 < 1 if sharp else np.exp(-q2 / 2))
        return out

    def extinction(self, x) -> np.ndarray:
        """(N,) A_G between the Sun and x, mag."""
        x = np.asarray(x, float)
        return np.concatenate([self._extinction(x[i : i + _CHUNK]) for i in range(0, len(x), _CHUNK)] or [np.empty(0)])

    def _extinction(self, x):
        way = x - SUN.position
        d = np.maximum(np.linalg.norm(way, axis=1), 1e-9)
        toward = way / d[:, None]
        out = d * self._layer(x[:, 2])
        for c, size, peak, sharp in zip(self.center - SUN.position, self.size, self._peak, self.sharp, strict=True):
            far, edge = np.linalg.norm(c), size * (1 if sharp else 5)
            i = np.flatnonzero(toward @ c > np.sqrt(far**2 - edge**2))  # the sight lines that meet it
            along = toward[i] @ c
            b2 = np.maximum(far**2 - along**2, 0)
            if sharp:
                half = np.sqrt(np.maximum(size**2 - b2, 0))
                out[i] += peak * np.maximum(np.minimum(d[i], along + half) - (along - half), 0)
            else:
                w = np.sqrt(2) * size
                length = 0.5 * np.sqrt(np.pi) * w * (erf((d[i] - along) / w) + erf(along / w))
                out[i] += peak * np.exp(-b2 / w**2) * length
        return out

    def _layer(self, z):
        """Mean opacity of the layer between the heights of the Sun and z, mag/kpc."""
        h, z0, layer = self.dust.scale_height, SUN.z, self.dust.layer

        def column(z):
            return np.sign(z) * h * -np.expm1(-np.abs(z) / h)

        level = np.abs(z - z0) < 1e-6 * h
        mean = (column(z) - column(z0)) / np.where(level, 1.0, z - z0)
        return layer * np.where(level, np.exp(-np.abs(z0) / h), mean)


def _log_uniform(rng, bounds, n):
    low, high = np.log(bounds)
    return np.exp(rng.uniform(low, high, n))


def _disc(rng, n, radius):
    R, phi = radius * np.sqrt(rng.random(n)), rng.uniform(0, 2 * np.pi, n)
    return SUN.position * [1, 1, 0] + np.stack([R * np.cos(phi), R * np.sin(phi), 0 * R], -1)


@dataclass(frozen=True)
class Tracer:
    """Stars of one luminosity function.

    Attributes:
        share: of the stars in the ball with M_G < 0.99.
        populations: their kinematics, as `mock_galaxy` takes them.
        luminosity: their absolute magnitudes, independent of place and velocity.
    """

    share: float
    populations: tuple[Population, ...]
    luminosity: LuminosityFunction


TRACERS = (
    Tracer(0.4, (Population(1.0, 3.0, 28.0, 14.0),), YOUNG),
    Tracer(
        0.6,
        (Population(0.6, 3.0, 38.0, 22.0), Population(0.26, 2.5, 55.0, 40.0), Population(0.14, None, 127.0, 127.0)),
        OLD,
    ),
)


class DustyGalaxy(NamedTuple):
    """The three lists of stars of `dusty_galaxy`.

    Attributes:
        observed: the stars that pass the cuts with dust: x..vz and ``phot_g_mean_mag``. All that a method may see.
        complete: those that pass without, with their ``phot_g_mean_mag`` without dust.
        parent: all stars, ``phot_g_mean_mag`` with dust: a deeper survey of the same stars.

    The last two have ``M_G``, ``A_G`` [mag] and ``tracer`` (the index of the star's `Tracer`) besides.
    """

    observed: Catalog
    complete: Catalog
    parent: Catalog


def dusty_galaxy(
    n: int = 450_000,
    seed: int = 0,
    *,
    dust: Dust = Dust(),
    tracers: tuple[Tracer, ...] = TRACERS,
    potential: str = "MWPotential2014",
    radius: float = 4.0,
    fainter: float = 0.0,
    on_progress: Callable[[float], object] | None = None,
    **orbits,
) -> DustyGalaxy:
    """Draw stars in equilibrium, dim them by dust, and make the cuts G < 14 and M_G < 0.99 on what is seen.

    Args:
        n: number of stars with M_G < 0.99, before dust; two thirds are left with the dust that is the default.
        seed: of the stars (that of the clouds is ``dust.seed``).
        dust: the dust.
        tracers: at least one; their shares are divided by their sum.
        potential: a name among `POTENTIALS`.
        radius: of the ball around the Sun, kpc.
        fainter: how much deeper than 0.99 the parent list goes, mag; takes more orbits.
        on_progress: called with the fraction done; returning False stops it with a RuntimeError.
        orbits: more arguments of `mock_galaxy`, such as ``cache`` or ``mixing_time``.

    Returns:
        Three catalogues, for each of which `truth_of` and `dust_truth_of` give the truth.

    Raises:
        ValueError: for a wrong share or depth, what `mock_galaxy` refuses, or if no star is left.
    """
    checks.a(dust, Dust, "a Dust")
    checks.number("n", n, 1, 10**9, whole=True)
    checks.number("fainter", fainter, 0, 20)
    total = sum(t.share for t in tracers)
    if not tracers or not all(t.share > 0 for t in tracers):
        raise ValueError(f"Expected tracers with positive shares, got {[t.share for t in tracers]}; correct them.")
    if radius is None:
        raise ValueError("Expected a ball radius in kpc, got None; dust is only laid around the Sun.")
    field, rng = DustField(dust), np.random.default_rng([seed, 0xD057])
    w, M, which = [], [], []
    for k, tracer in enumerate(tracers):
        light = tracer.luminosity
        faintest = M_LIMIT + fainter
        count = max(1, round(n * tracer.share / total * float(light.cdf(faintest))))
        progress = on_progress and (lambda done, k=k: on_progress((k + done) / len(tracers)))
        own = int(np.random.SeedSequence([seed, k]).generate_state(1)[0] >> 1)  # tracers share no orbits
        own_orbits: dict[str, Any] = dict(populations=tracer.populations, potential=potential, radius=radius, **orbits)
        stars = mock_galaxy(count, own, on_progress=progress, **own_orbits)
        w.append(stars.phase_space)
        M.append(light.sample(count, rng, faintest))
        which.append(np.full(count, k, np.int8))
    shuffled = rng.permutation(sum(map(len, M)))
    w, M, which = (np.concatenate(a)[shuffled] for a in (w, M, which))
    d = np.linalg.norm(w[:, :3].astype(float) - SUN.position, axis=1)
    A, modulus = field.extinction(w[:, :3]), distance_modulus(d)
    complete = faintest_seen(d) > M
    observed = faintest_seen(d) > M + A
    if not observed.any():
        raise ValueError(f"Expected stars to be left, got none of {complete.sum():,} through the dust; thin it.")
    profiles = [_fit_profile(w[complete & (which == k), :3], radius) for k in range(len(tracers))]
    meta = {
        "source": "dusty_galaxy",
        "mock": {"potential": potential, "n": n, "seed": seed, "radius": radius, "fainter": fainter, **orbits},
        "dust": {"dust": asdict(dust), "radius": radius,
                 "tracers": [asdict(t.luminosity) | {"profile": p} for t, p in zip(tracers, profiles, strict=True)]},
    }  # fmt: skip

    def catalog(keep, G, hidden=True):
        more = (
            {"M_G": M.astype(np.float32) * u.mag, "A_G": A.astype(np.float32) * u.mag, "tracer": which}
            if hidden
            else {}
        )
        columns = {"phot_g_mean_mag": G.astype(np.float32) * u.mag, **more}
        return Catalog.from_phase_space(w[:, :3], w[:, 3:], columns=columns, meta=meta).take(keep)

    return DustyGalaxy(
        catalog(observed, M + A + modulus, hidden=False),
        catalog(complete, M + modulus),
        catalog(np.ones(len(M), bool), M + A + modulus),
    )


class DustTruth:
    """What is true of a `dusty_galaxy`. Positions are (N, 3) kpc; from the catalogue by `dust_truth_of`.

    The numbers of stars come from the smooth profile in (R, |z|) of each tracer, fitted to all its stars.
    """

    def __init__(self, parameters: dict):
        self.field = DustField(Dust(**parameters["dust"]))
        self.radius = parameters["radius"]
        tracers = [dict(t) for t in parameters["tracers"]]
        self._profiles = [np.array(t.pop("profile")) for t in tracers]
        self.luminosities = [LuminosityFunction(**t) for t in tracers]

    def extinction(self, x) -> np.ndarray:
        """(N,) A_G from the Sun to x, mag."""
        return self.field.extinction(x)

    def densities(self, x) -> np.ndarray:
        """(tracers, N) stars per kpc^3 that pass the cuts without dust; 0 outside the ball."""
        x = np.asarray(x, float)
        inside = np.linalg.norm(x - SUN.position, axis=1) <= self.radius
        basis = _basis(np.hypot(x[:, 0], x[:, 1]), x[:, 2])
        return np.stack([np.exp(basis @ p) for p in self._profiles]) * inside

    def density(self, x) -> np.ndarray:
        """(N,) stars per kpc^3 that pass the cuts without dust; 0 outside the ball."""
        return self.densities(x).sum(0)

    def efficiency(self, x, smoothing: float = 0.0, nodes: int = 256) -> np.ndarray:
        """(N,) share of the stars at x that pass the cuts with dust; NaN outside the ball.

        Args:
            x: (N, 3) kpc.
            smoothing: standard deviation of a Gaussian kernel over which seen and all stars are summed before they
                are divided, kpc; 0 takes the place itself.
            nodes: quasi-random points of the kernel.
        """
        x = np.asarray(x, float)
        if not smoothing:
            return self._ratio(x, np.zeros((1, 3)))
        step = smoothing * norm.ppf(np.clip(qmc.Sobol(3, rng=0).random(nodes), 1e-6, 1 - 1e-6))
        rows = max(1, _CHUNK // nodes)
        return np.concatenate([self._ratio(x[i : i + rows], step) for i in range(0, len(x), rows)])

    def _ratio(self, x, step):
        points = (x[:, None] + step).reshape(-1, 3)
        n, A = self.densities(points), self.extinction(points)
        edge = faintest_seen(np.linalg.norm(points - SUN.position, axis=1))
        seen = np.sum([m * f.cdf(edge - A) / f.cdf(edge) for m, f in zip(n, self.luminosities, strict=True)], axis=0)
        seen, every = (a.reshape(len(x), -1).sum(1) for a in (seen, n.sum(0)))
        return np.divide(seen, every, out=np.full(len(x), np.nan), where=every > 0)


@lru_cache(maxsize=8)
def _dust_truth(parameters: str) -> DustTruth:
    return DustTruth(json.loads(parameters))


def dust_truth_of(catalog: Catalog) -> DustTruth | None:
    """The truth behind a catalogue of `dusty_galaxy`, or None for other stars."""
    parameters = catalog.meta.get("dust")
    return _dust_truth(json.dumps(parameters, sort_keys=True)) if parameters else None


def counted_efficiency(galaxy: DustyGalaxy, x, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """The efficiency as counted: observed over complete stars within ``radius`` [kpc] of each place.

    Returns:
        (N,) efficiency, NaN where there is no star, and (N,) number of complete stars.
    """
    seen, every = (
        KDTree(c.phase_space[:, :3]).query_ball_point(np.asarray(x, float), radius, return_length=True)
        for c in (galaxy.observed, galaxy.complete)
    )
    return np.divide(seen, every, out=np.full(len(every), np.nan), where=every > 0), every


def _basis(R, z):
    """(N, K) smooth functions of R and |z|, kpc, for the logarithm of a tracer's density."""
    r, s = (R - SUN.R) / 4.0, np.sqrt(z**2 + 0.15**2) / 2.0
    return np.stack([r**i * s**j for i in range(4) for j in range(6) if i + j < 7], -1)


def _fit_profile(x, radius) -> list[float]:
    """Coefficients of ln n in `_basis` by Poisson regression on counts in cells of R and z within the ball."""
    fine, coarse, (X, _, Z) = 4, 0.1, SUN.position
    cells = int(np.ceil(radius / coarse))
    edges_R, edges_z = X + coarse * np.arange(-cells, cells + 1), Z + coarse * np.arange(-cells, cells + 1)
    counts = np.histogram2d(np.hypot(x[:, 0], x[:, 1]), x[:, 2], (edges_R, edges_z))[0]
    offset = (np.arange(2 * cells * fine) + 0.5) * coarse / fine - cells * coarse
    R, z = np.meshgrid(X + offset, Z + offset, indexing="ij")
    inside = np.maximum(R, 1e-9)
    half = np.arccos(np.clip((R**2 + X**2 + (z - Z) ** 2 - radius**2) / (2 * X * inside), -1, 1))
    weight = 2 * half * np.maximum(R, 0) * (coarse / fine) ** 2

    def blocks(a):
        return a.reshape(2 * cells, fine, 2 * cells, fine).sum((1, 3)).ravel()

    volume = blocks(weight)
    full = volume > 0
    mean_R, mean_z = (blocks(weight * a)[full] / volume[full] for a in (R, z))
    B, N, V = _basis(mean_R, mean_z), counts.ravel()[full], volume[full]
    fit = np.linalg.lstsq(B * np.sqrt(N + 0.5)[:, None], np.sqrt(N + 0.5) * np.log((N + 0.1) / V), rcond=None)[0]
    for _ in range(100):  # Newton, its steps held within one e-folding
        mean = V * np.exp(np.clip(B @ fit, -50, 50))
        ridge = 1e-6 * np.eye(B.shape[1])
        step = np.linalg.solve(B.T @ (B * mean[:, None]) + ridge, B.T @ (N - mean) - ridge @ fit)
        fit = fit + step / max(1.0, float(np.abs(B @ step).max()))
        if np.abs(B @ step).max() < 1e-6:
            break
    return [float(c) for c in fit]
