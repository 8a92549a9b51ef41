"""The potential that makes the stars' phase-space density stationary, in closed form.

For every smooth psi(x, v) that vanishes at the edge of the ball the collisionless Boltzmann equation says

    mean over stars of  v . d psi/dx - grad Phi . d psi/dv  = 0,

wherever the stars are many or few, as long as nothing but the edge of the ball cuts them off. With psi = w(x) grad B .
d ln f/dv for every function B of a series for Phi these are as many linear equations as unknowns, and twice as many
with psi times a function of ln f: that hardly changes along orbits and tells cold stars from hot ones, so it adds
information and little noise. The learnt density only chooses psi: its errors cost precision, but make no bias
(instrumental variables, weighed as by Hansen 1982, Econometrica 50, 1029). Beside them stand, with little weight, the
equation star by star, v . d ln f/dx - grad Phi . d ln f/dv = 0 (Green & Ting 2020, arXiv:2011.04673; An et al. 2021,
arXiv:2106.05981; Buckley et al. 2023, arXiv:2205.01129), which is precise and biased, and a prior that tides change
over kiloparsecs, not over hundreds of parsecs, except for those of plain slabs of stars in the plane.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from itertools import product
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from clearview.flows.fit import patiently

STRAIN = 4.0
"""`PotentialSeries.strain` above which a map says so: 0.7 to 1.0 on whole mocks, 13 on one without |b| < 10 deg."""


SYMMETRIES = "north-south", "axisymmetric"

ASYMMETRY = 0.002
"""What is left of a broken symmetry that is assumed not to be, as a fraction of the force at the center."""


def in_full(function):
    """Products of matrices in float32 on GPUs, too, whose default is ten bits: the series lives by cancellation."""

    @wraps(function)
    def called(*args, **kwargs):
        with jax.default_matmul_precision("highest"):
            return function(*args, **kwargs)

    return called


class Gradients(NamedTuple):
    """What the Boltzmann equation needs at N stars.

    Attributes:
        x: (N, 3) positions, kpc.
        v: (N, 3) velocities, km/s.
        drift: (N,) v . d ln f/dx, km/s/kpc.
        g: (N, 3) d ln f/dv, s/km.
        carried: (N, 3) (v . d/dx) g, 1/kpc.
        curvature: (N, 3, 3) dg/dv, (s/km)^2.
        log_f: (N,) ln f itself.
    """

    x: np.ndarray
    v: np.ndarray
    drift: np.ndarray
    g: np.ndarray
    carried: np.ndarray
    curvature: np.ndarray
    log_f: np.ndarray


LEAST_NOISE = 1e-8
"""Of the eigenvalues of the noise's correlations: sums in float32 know no smaller ones."""


@dataclass(frozen=True)
class PotentialConfig:
    """How the potential is fitted.

    Attributes:
        stars: the equations are taken at up to this many of the stars.
        degree: of the polynomials in asinh(z / height), the stars' own median |z| being the height.
        horizontal: a degree in x or y counts as so many of them.
        edge: stars beyond this fraction of the radius do not count in the equation star by star.
        pointwise: weight of that equation, as a number of independent residuals.
        outlier: residuals beyond this many medians lose their weight in it (Cauchy).
        smooth: weight of the prior on the change of the whole tidal tensor.
        smooth_density: weight of the prior on the change of its trace, the mass density.
        length: over which tides may change by their own size, and the slabs' e-folding length along R, kpc.
        vertical: the length along z is this times height + |z|/2, if that is less than ``length``.
        halo, disc: expected sizes of the tides far from the plane and, beside that, in it, in units of
            |a| / |x| at the center.
        slab: tides of plain slabs, of this size in those units, come on top without a cost for their change.
        positive: weight of the prior against negative mass densities, in units of the halo's.
        symmetry: any of `SYMMETRIES` that the potential is taken to have, to `ASYMMETRY` of the force at the center. An
            assumption: the map names it.

    `fit_efficiency` heeds neither ``stars`` nor ``positive``.
    """

    stars: int = 400_000
    degree: int = 14
    horizontal: float = 2.0
    edge: float = 0.95
    pointwise: float = 400.0
    outlier: float = 3.0
    smooth: float = 30.0
    smooth_density: float = 300.0
    length: float = 2.0
    vertical: float = 0.6
    halo: float = 0.5
    disc: float = 8.0
    slab: float = 0.075
    positive: float = 1000.0
    symmetry: tuple[str, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "symmetry", tuple(self.symmetry))  # a header brings a list
        if unknown := set(self.symmetry) - set(SYMMETRIES):
            raise ValueError(f"Expected symmetries among {SYMMETRIES}, got {sorted(unknown)}; correct them.")
        if not (isinstance(self.stars, int) and isinstance(self.degree, int) and 1 <= self.degree <= 40):
            raise ValueError(
                f"Expected whole numbers of stars and degrees, at most 40 of these, got {self}; correct it."
            )
        if self.stars < 1 or self.horizontal < 1 or not min(self.length, self.outlier, self.halo) > 0:
            raise ValueError(f"Expected positive numbers of stars and degrees, lengths and sizes, got {self}; correct.")
        weights = self.pointwise, self.smooth, self.smooth_density, self.disc, self.vertical, self.slab, self.positive
        if not (0 < self.edge <= 1 and min(weights) >= 0):
            raise ValueError(f"Expected 0 < edge <= 1 and no negative weight, got {self}; correct them.")

    @property
    def size(self) -> int:
        """How many functions the series has."""
        return len(_orders(self.degree, self.horizontal)[0])


class PotentialSeries(eqx.Module):
    """Phi(x) = sum_k c_k B_k(x), (km/s)^2, up to a constant.

    B_k are products of Legendre polynomials of (x, y) / radius about the center and of asinh(z / height), so that a
    disc's force may turn over within a few hundred parsecs and still be smooth above it.

    Attributes:
        coefficients: (K,).
        spread: (K, K), coefficients = mean + spread @ standard normals; the prior against negative densities is left
            out of it.
        strain: rms difference, at the stars, from the force of the equation star by star, in standard errors. Where
            it is large, the stars end elsewhere than at the ball's edge or are not in equilibrium.
        center: (3,) kpc.
        radius, height: kpc.
        degree, horizontal: see `PotentialConfig`.
    """

    coefficients: Float[Array, " K"]
    spread: Float[Array, "K K"]
    strain: Float[Array, ""]
    center: Float[Array, "3"]
    radius: Float[Array, ""]
    height: Float[Array, ""]
    degree: int = eqx.field(static=True)
    horizontal: float = eqx.field(static=True)

    def __init__(self, center, radius, height, config: PotentialConfig | None = None):
        config = config or PotentialConfig()
        self.degree, self.horizontal = config.degree, config.horizontal
        self.coefficients, self.spread = jnp.zeros(config.size), jnp.zeros((config.size, config.size))
        self.strain = jnp.zeros(())
        self.center, self.radius, self.height = (jnp.asarray(a, jnp.float32) for a in (center, radius, height))

    def _factors(self, x: Float[Array, "3"]) -> list[list[Float[Array, " n"]]]:
        """The polynomials in x, in y and in asinh(z / height), each with its first three derivatives."""
        root = jnp.sqrt(x[2] ** 2 + self.height**2)
        low, high = (jnp.arcsinh((self.center[2] + end * self.radius) / self.height) for end in (-1, 1))
        unit = (high - low) / 2
        flat = [1 / self.radius, 0.0, 0.0]
        steep = [1 / root, -x[2] / root**3, (2 * x[2] ** 2 - self.height**2) / root**5]
        slopes = [flat, flat, [slope / unit for slope in steep]]  # of the arguments of the polynomials
        u = (x - self.center) / self.radius
        arguments = u[0], u[1], (jnp.arcsinh(x[2] / self.height) - (high + low) / 2) / unit
        factors = []
        for t, (a, b, c), n in zip(arguments, slopes, _orders(self.degree, self.horizontal), strict=True):
            p = [_legendre(t, n.max())]
            for _ in range(3):
                p.append(_SLOPE[: len(p[0]), : len(p[0])] @ p[-1])
            factors.append([p[0], a * p[1], a**2 * p[2] + b * p[1], a**3 * p[3] + 3 * a * b * p[2] + c * p[1]])
        return factors

    @in_full
    def functions(self, x: Float[Array, "3"], order: int = 0) -> Float[Array, " K *axes"]:
        """B_k(x), or all its derivatives of that order, up to the third."""
        orders = _orders(self.degree, self.horizontal)
        factors = [[p[n] for p in chain] for chain, n in zip(self._factors(x), orders, strict=True)]
        terms = [
            math.prod(f[axes.count(i)] for i, f in enumerate(factors)) for axes in product(range(3), repeat=order)
        ]  # fmt: skip
        return jnp.stack(terms, -1).reshape(-1, *(3,) * order)

    @in_full
    def derivatives(self, x: Float[Array, "3"], order: int = 0) -> Float[Array, " *axes"]:
        """Phi(x), or all its derivatives of that order, up to the third."""
        X, Y, Z = self._factors(x)
        # Summed over one factor after the other, which is far less work than over all functions.
        shape = [len(chain[0]) for chain in (X, Y, Z)]
        dense = jnp.zeros(shape).at[_orders(self.degree, self.horizontal)].set(self.coefficients)
        summed = [dense @ Z[n] for n in range(order + 1)]
        counts = [[axes.count(i) for i in range(3)] for axes in product(range(3), repeat=order)]
        terms = [(X[a] * (summed[c] * Y[b]).sum(-1)).sum() for a, b, c in counts]
        return jnp.stack(terms).reshape((3,) * order)

    def __call__(self, x: Float[Array, "3"]) -> Float[Array, ""]:
        return self.derivatives(x)

    def acceleration(self, x: Float[Array, "3"]) -> Float[Array, "3"]:
        """-grad Phi, (km/s)^2/kpc."""
        return -self.derivatives(x, 1)

    @in_full
    def acceleration_covariance(self, x: Float[Array, "3"]) -> Float[Array, "3 3"]:
        """Covariance of the acceleration that the fit leaves open: its stars' finite number, and the prior."""
        open_ = self.functions(x, 1).T @ self.spread
        return open_ @ open_.T

    @in_full
    def acceleration_members(self, x: Float[Array, "3"], normals: Float[Array, "M K"]) -> Float[Array, "M 3"]:
        """Accelerations of potentials drawn from what the fit leaves open."""
        return -(self.coefficients + normals @ self.spread.T) @ self.functions(x, 1)


def formal_members(source, count: int = 32, seed: int = 0) -> list:
    """Copies of a map, or another fit with a ``series``, drawn from what the fit leaves open in the potential."""
    series = source.series
    normals = np.random.default_rng(seed).standard_normal((count, len(series.coefficients)))
    drawn = jnp.asarray(series.coefficients + normals @ np.asarray(series.spread).T, jnp.float32)
    return [dataclasses.replace(source, series=eqx.tree_at(lambda s: s.coefficients, series, c)) for c in drawn]


def at_places(series: PotentialSeries, x, quantity: str = "__call__") -> np.ndarray:
    """A method of the series at x (N, 3) [kpc]; NaN outside its ball, where polynomials run away."""
    x = jnp.asarray(x, jnp.float32)
    values = np.array(_each(series, quantity, x))
    values[np.linalg.norm(x - series.center, axis=1) > series.radius * (1 + 1e-6)] = np.nan
    return values


@eqx.filter_jit
@in_full
def _each(series, quantity: str, x):
    return jax.lax.map(getattr(series, quantity), x, batch_size=1024)


def _orders(degree: int, horizontal: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Degrees in x, y and asinh z of each function; the constant is left out."""
    i, j, k = np.indices((degree + 1,) * 3).reshape(3, -1)
    kept = (horizontal * (i + j) + k <= degree) & (i + j + k > 0)
    return i[kept], j[kept], k[kept]


def _legendre(t, degree: int):
    """(degree + 1,) Legendre polynomials of t."""
    p = [jnp.ones_like(t), t]
    for n in range(1, degree):
        p.append(((2 * n + 1) * t * p[n] - n * p[n - 1]) / (n + 1))
    return jnp.stack(p[: degree + 1])


# P_n' as a sum of the polynomials of lower degree: (2 m + 1) P_m for m = n - 1, n - 3, ...
_SLOPE = np.fromfunction(lambda n, m: (2 * m + 1) * ((n > m) & ((n - m) % 2 == 1)), (100, 100), dtype=np.float32)


def score_gradients(
    density: Any, x, v, *, batch_size: int = 4096, on_batch: Callable[[int, int], object] | None = None
) -> Gradients | None:
    """Gradients of ln f at stars, in batches.

    Args:
        density: the learnt f, a `PhaseSpace` or whatever has ``log_f(x, v)``.
        x: (N, 3) kpc.
        v: (N, 3) km/s.
        batch_size: stars at a time.
        on_batch: called with (done, N); returning False stops.

    Returns:
        The gradients, or None if stopped.
    """
    rows = tuple(np.asarray(a, np.float32) for a in (x, v))
    parts = list(_in_batches(partial(_scores, density), rows, batch_size, on_batch))
    if parts[-1] is None:
        return None
    return Gradients(*rows, *(np.concatenate(part)[: len(x)] for part in zip(*parts, strict=True)))


@eqx.filter_jit
def _scores(density, _, x, v):
    def at(x, v):
        log_f, (d_x, g) = jax.value_and_grad(density.log_f, argnums=(0, 1))(x, v)
        slope = jax.grad(density.log_f, argnums=1)
        carried = jax.jvp(lambda at: slope(at, v), (x,), (v,))[1]
        return v @ d_x, g, carried, jax.jacfwd(slope, argnums=1)(x, v), log_f

    return jax.vmap(at)(x, v)


def _in_batches(call, rows, batch_size: int, on_batch):
    """Results of ``call(real, *batch)``; None, and the end, when ``on_batch(done, N)`` returns False.

    The last batch repeats its last row up to the full length (one shape, one compilation); ``real`` tells them apart.
    """
    size = len(rows[0])
    batch_size = min(batch_size, size)

    def batch(first):
        real = np.arange(first, first + batch_size) < size
        return jnp.asarray(real), *(
            jnp.asarray(row[np.minimum(np.arange(len(real)) + first, size - 1)]) for row in rows
        )

    def going(done):
        return on_batch is None or on_batch(done, size) is not False

    # The first call compiles; a function jitted at the top of a module does so once for all fits of one shape.
    part = patiently(lambda: call(*batch(0)), lambda: going(0))
    for first in range(0, size, batch_size):
        part = call(*batch(first)) if first else part
        yield part and jax.tree.map(np.asarray, part)
        if part is None:
            return
        if not going(min(first + batch_size, size)):
            yield None
            return


def fit_potential(
    series: PotentialSeries, gradients: Gradients, config: PotentialConfig | None = None,
    *, batch_size: int = 1024, on_batch: Callable[[int, int], object] | None = None,
) -> PotentialSeries | None:  # fmt: skip
    """Solve for the coefficients of the series.

    Args:
        series: its center, radius and height; the coefficients are found anew.
        gradients: from `score_gradients`.
        config: how to fit.
        batch_size: stars at a time.
        on_batch: called with (done, N); returning False stops.

    Returns:
        The series with its coefficients and their spread, or None if stopped.

    Raises:
        ValueError: if the series is of another degree than the config's, or fewer stars than `least_stars` with finite
            gradients lie within the edge.
    """
    config = config or PotentialConfig()
    if (series.degree, series.horizontal) != (config.degree, config.horizontal):
        raise ValueError(
            f"Expected a series of the config's degree {config.degree} and horizontal {config.horizontal}, got "
            f"{series.degree} and {series.horizontal}; make it with PotentialSeries(..., config)."
        )
    stars, q = usable(gradients, series, config.edge)
    inner = q < config.edge
    rate = rate_at_center(stars, q)
    prior = tide_prior(series, rate, config)
    some = np.random.default_rng(0).permutation(np.flatnonzero(inner))[:50_000]
    x, g, drift = stars.x[some], stars.g[some], stars.drift[some]
    along = np.concatenate([np.asarray(_project(series, *part)) for part in chunks(x, g)])
    # Much weight at first: the size of the residuals is wanted, and c is only where the exact equations begin.
    start, unit, _ = star_by_star(along, drift, prior, weight=0.1 * len(x), outlier=config.outlier)
    series = eqx.tree_at(lambda s: s.coefficients, series, jnp.asarray(start, jnp.float32))

    low, mid, high = np.quantile(stars.log_f[inner], (0.16, 0.5, 0.84))
    scales = (jnp.float32(a) for a in (unit, config.outlier, mid, high - low))
    sums = partial(_sums, series, *scales)
    total: list[np.ndarray] = []
    for part in _in_batches(sums, (inner, *stars), batch_size, on_batch):
        if part is None:
            return None
        part = [a.astype(float) for a in part]
        total = [a + b for a, b in zip(total, part, strict=True)] if total else part
    count = len(inner)
    response, answered, noise = total[0] / count, total[1] / count, total[2] / count
    noise = (noise - np.outer(answered, answered)) / count
    # The inverse of a covariance from few stars is too large by the factor (Hartlap et al. 2007, astro-ph/0608064).
    half = inverse_root(noise) * np.sqrt((count - len(noise) - 2) / (count - 1))
    exact, told = ((half.T @ response).T @ (half.T @ a) for a in (response, answered))
    few = config.pointwise / inner.sum()
    rest = few * total[3] + prior
    change = np.linalg.solve(exact + rest, told + few * total[4] - prior @ start)
    gradient = np.asarray(_gradient(series, stars.x[some[:300]]), float)
    variance = np.sum(gradient * (np.linalg.inv(exact + rest) @ gradient), axis=-2)
    strain = np.sqrt(np.mean((change @ gradient) ** 2 / variance))
    # Stars in clumps, or not at rest, break the equations by more than the noise of as many independent ones, which is
    # to be so much larger that the broken ones look likely.
    left = half.shape[1] - np.trace(np.linalg.solve(exact + rest, exact))
    excess = max(1.0, np.sum((half.T @ (answered - response @ change)) ** 2) / max(left, 1.0))
    known = exact / excess + rest
    answer = told / excess + few * total[4] + (known - prior) @ start
    densities = np.concatenate([np.asarray(_laplacians(series, part), float) for (part,) in chunks(_places(series))])
    densities *= np.sqrt(config.positive / len(densities)) / (config.halo * rate**2)
    information, last = known, None
    for _ in range(20):  # what is below 0 is drawn towards it; a set that swings between rounds is left as it is
        found = np.linalg.solve(information, answer)
        negative = densities @ found < 0
        if last is not None and (negative == last).all():
            break
        information, last = known + densities[negative].T @ densities[negative], negative
    spread = np.linalg.inv(np.linalg.cholesky((known + known.T) / 2)).T
    parts = (jnp.asarray(a, jnp.float32) for a in (found, spread, strain))
    return eqx.tree_at(lambda s: (s.coefficients, s.spread, s.strain), series, tuple(parts))


@eqx.filter_jit
@in_full
def _sums(series, unit, outlier, mid, width, real, inner, *rows):
    """Over a batch: what the exact equations answer, their left side, its noise, and the two of the robust ones."""

    def terms(x, v, drift, g, carried, curvature, log_f):
        q = (x - series.center) / series.radius
        inside = jnp.maximum(1 - q @ q, 0)
        window, slope = inside**2, -4 * inside * q / series.radius
        gradient = series.functions(x, 1)
        bend = jnp.einsum("kij,i,j->k", series.functions(x, 2), v, g)
        along, psi_v = gradient @ g, window * gradient @ curvature
        rate = (v @ slope) * along + window * (bend + gradient @ carried) - psi_v @ (series.coefficients @ gradient)
        residual = drift - series.coefficients @ along
        # The same psi times h(ln f), of which d ln f/dt is the residual, and d ln f/dv is g.
        h = jnp.tanh((log_f - mid) / width)
        change = (1 - h**2) / width * window * along
        psi_v = jnp.concatenate([psi_v, h * psi_v + change[:, None] * g])
        return psi_v, gradient, jnp.concatenate([rate, h * rate + change * residual]), along, residual

    psi_v, gradient, rate, along, residual = jax.vmap(terms)(*rows)
    psi_v, rate = psi_v * real[:, None, None], rate * real[:, None]
    trust = real * inner / (1 + (residual / (outlier * unit)) ** 2) / unit**2
    response = jnp.einsum("nki,nli->kl", psi_v, gradient)
    return response, rate.sum(0), rate.T @ rate, (along * trust[:, None]).T @ along, (residual * trust) @ along


def inverse_root(noise: np.ndarray) -> np.ndarray:
    """(K, M) whose square is the inverse of a covariance (K, K), as far as float32 sums know it.

    The window of the equations makes some of its eigenvalues tiny. Those below `LEAST_NOISE`, some of them negative,
    are left out, or one would count as an exact equation, or against the rest.
    """
    size = np.sqrt(np.diag(noise))
    values, vectors = np.linalg.eigh(noise / size / size[:, None])
    known = values > LEAST_NOISE
    return vectors[:, known] / size[:, None] / np.sqrt(values[known] + LEAST_NOISE)


def least_stars(size: int) -> int:
    """So many the potential asks for: ten for each function of its series, five for each of its equations."""
    return max(1000, 10 * size)


def usable(gradients: Gradients, series: PotentialSeries, edge: float) -> tuple[Gradients, np.ndarray]:
    """The stars in the ball whose gradients are finite, and their distances in units of its radius.

    Raises:
        ValueError: if fewer of them than `least_stars` lie within the edge.
    """
    finite = np.logical_and.reduce([np.isfinite(a).reshape(len(a), -1).all(1) for a in gradients])
    q = np.linalg.norm((gradients.x - np.asarray(series.center)) / float(series.radius), axis=-1)
    least = least_stars(len(series.coefficients))
    if (count := (finite & (q < edge)).sum()) < least:
        raise ValueError(
            f"Expected at least {least:,} stars with finite gradients within {edge} of the ball's radius, got "
            f"{count:,}; use a larger sample or ball, or a lower degree."
        )
    return Gradients(*(a[finite & (q < 1)] for a in gradients)), q[finite & (q < 1)]


def star_by_star(
    rows, drift, prior, constant: Any = 0.0, *, weight: float, outlier: float
) -> tuple[np.ndarray, float, np.ndarray]:
    """Robust least squares of rows @ c = drift: c, the median residual, and the inverse covariance of c.

    Args:
        rows: (N, K).
        drift: (N,).
        prior: (K, K) and ``constant`` (K,): c minimises c . prior c / 2 - c . constant besides.
        weight: of the rows, as a number of independent ones.
        outlier: residuals beyond so many medians lose their weight (Cauchy).
    """
    residual, unit, reach = drift, np.median(np.abs(drift)), 1.0
    # First the stars rule, that the size of their own residuals be known.
    for few in (0.1, 0.1, 0.1, 0.1, weight / len(rows)):
        trust = (1 / (1 + (residual / (reach * unit)) ** 2) / unit**2).astype(np.float32)
        weighed = (rows * trust[:, None]).T
        normal, right = (few * (weighed @ a).astype(float) for a in (rows, drift))
        c = np.linalg.solve(normal + prior, right + constant)
        residual, reach = drift - rows @ c.astype(np.float32), outlier
        unit = np.median(np.abs(residual))
    return c, float(unit), normal + prior


@eqx.filter_jit
@in_full
def _gradient(series, x):
    return jax.vmap(lambda x: series.functions(x, 1))(x)


@eqx.filter_jit
@in_full
def _project(series, x, g):
    return jax.vmap(lambda x, g: series.functions(x, 1) @ g)(x, g)


def chunks(*rows, size: int = 8192):
    for first in range(0, len(rows[0]), size):
        yield tuple(row[first : first + size] for row in rows)


def rate_at_center(stars: Gradients, q: np.ndarray) -> float:
    """sqrt(|a| / |x|) about the center [km/s/kpc], from the nearest stars: what tides are measured in."""
    near = np.argsort(q)[: max(1000, len(q) // 100)]
    drift, g = stars.drift[near].astype(float), stars.g[near].astype(float)
    trust = 1 / (1 + (drift / np.median(np.abs(drift))) ** 2)
    a = np.linalg.solve((g * trust[:, None]).T @ g, -(g * trust[:, None]).T @ drift)
    return float(np.sqrt(np.linalg.norm(a) / max(float(np.linalg.norm(stars.x[near].mean(0, dtype=float))), 1e-3)))


@eqx.filter_jit
@in_full
def _laplacians(series, x):
    return jax.vmap(lambda x: jnp.einsum("kii->k", series.functions(x, 2)))(x)


def _places(series: PotentialSeries) -> np.ndarray:
    """(N, 3) places in the ball where the priors hold, half of them near the plane, kpc."""
    rng = np.random.default_rng(0)
    radius, height = float(series.radius), float(series.height)
    x = rng.normal(size=(2000, 3))
    x *= radius * rng.uniform(size=(2000, 1)) ** (1 / 3) / np.linalg.norm(x, axis=1, keepdims=True)
    z = float(series.center[2])
    x[::2, 2] = rng.exponential(height, 1000) * rng.choice([-1, 1], 1000) - z
    return (x[np.linalg.norm(x, axis=1) < radius] + np.asarray(series.center)).astype(np.float32)


def tide_prior(series: PotentialSeries, rate: float, config: PotentialConfig) -> np.ndarray:
    """(K, K) weight of the change of tides, averaged over places in the ball."""
    x = _places(series)
    parts = [np.asarray(_tides(series, jnp.float32(rate), config, part), float) for (part,) in chunks(x, size=256)]
    prior = np.sum(parts, axis=0) / len(x) + _asymmetry(series, rate, config, x)
    if not config.slab:
        return prior
    slabs = _slabs(series, x, config)
    free = prior @ slabs
    known = slabs.T @ free + np.eye(slabs.shape[1]) / (config.slab * rate**2) ** 2
    return prior - free @ np.linalg.solve(known, free.T)  # what is left where their amplitudes are integrated out


def _asymmetry(series: PotentialSeries, rate: float, config: PotentialConfig, x) -> np.ndarray:
    """(K, K) weight of the force that breaks the symmetries of the config at places x."""
    broken = [np.zeros((1, len(series.coefficients)))]
    if "north-south" in config.symmetry:
        flip = np.array([1, 1, -1], np.float32)
        x = x[np.linalg.norm(x * flip - np.asarray(series.center), axis=1) < float(series.radius)]
        change = np.asarray(_gradient(series, x), float) - np.asarray(_gradient(series, x * flip), float) * flip
        broken.append(np.concatenate(np.moveaxis(change, -1, 0)) / np.sqrt(len(x)))
    if "axisymmetric" in config.symmetry:
        around = np.stack([-x[:, 1], x[:, 0], 0 * x[:, 0]], -1) / np.hypot(x[:, 0], x[:, 1])[:, None]
        broken.append(np.einsum("nki,ni->nk", _gradient(series, x), around) / np.sqrt(len(x)))
    rows = np.concatenate(broken) / (ASYMMETRY * rate**2 * np.linalg.norm(series.center))
    return rows.T @ rows


def _slabs(series: PotentialSeries, x, config: PotentialConfig) -> np.ndarray:
    """(K, 3) coefficients of slabs sech^2(z / 2h) exp(-R / length) of vertical tide 1 in the plane below the center."""
    R0 = jnp.hypot(*series.center[:2])

    def potential(x, h):
        u = x[2] / (2 * h)
        outward = jnp.clip((jnp.hypot(x[0], x[1]) - R0) / config.length, -30, 30)
        return 4 * h**2 * (jnp.logaddexp(u, -u) - math.log(2)) * jnp.exp(-outward)

    heights = series.height * jnp.array([2 / 3, 4 / 3, 8 / 3])
    force = jax.vmap(jax.vmap(jax.grad(potential), (0, None)), (None, 0), out_axes=-1)(jnp.asarray(x), heights)
    rows = np.asarray(_gradient(series, x), float).transpose(0, 2, 1).reshape(-1, len(series.coefficients))
    return np.linalg.lstsq(rows, np.asarray(force, float).reshape(len(rows), -1), rcond=1e-8)[0]


@eqx.filter_jit
@in_full
def _tides(series, rate, config: PotentialConfig, x):
    """Summed over places, the squares of the change of every tide in units of what is expected."""

    def weights(x):
        change = series.functions(x, 3)  # (K, 3, 3, 3): which tide, along what
        disc = config.disc * jnp.exp(-jnp.abs(x[2]) / series.height)
        size = rate**2 * (config.halo + disc * jnp.full((3, 3), 0.5).at[2, 2].set(1.0))
        vertical = jnp.minimum(config.vertical * (series.height + 0.5 * jnp.abs(x[2])), config.length)
        length = jnp.full(3, config.length).at[2].set(vertical)
        tides = (change / size[..., None] * length).reshape(len(change), -1)
        trace = jnp.einsum("kiij->kj", change) / (rate**2 * (config.halo + disc)) * length
        return jnp.concatenate([config.smooth**0.5 * tides, config.smooth_density**0.5 * trace], axis=1)

    rows = jax.vmap(weights)(x).transpose(0, 2, 1).reshape(-1, len(series.coefficients))
    return rows.T @ rows
