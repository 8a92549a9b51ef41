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

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from clearview.dynamics.prior import gradients_of, laplacians, places, tide_prior
from clearview.dynamics.series import PotentialConfig, PotentialSeries, chunks, in_full
from clearview.flows.fit import patiently

STRAIN = 4.0
"""`PotentialSeries.strain` above which a map says so: 0.7 to 1.0 on whole mocks, 13 on one without |b| < 10 deg."""


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
    *, bootstrap: bool = False, batch_size: int = 1024, on_batch: Callable[[int, int], object] | None = None,
) -> PotentialSeries | None:  # fmt: skip
    """Solve for the coefficients of the series.

    Args:
        series: its center, radius and height; the coefficients are found anew.
        gradients: from `score_gradients`.
        config: how to fit.
        bootstrap: whether the stars were drawn with replacement from a sample whose own noise they then have, too.
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
    along = np.concatenate([np.asarray(project(series, *part)) for part in chunks(x, g)])
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
    gradient = np.asarray(gradients_of(series, stars.x[some[:300]]), float)
    variance = np.sum(gradient * (np.linalg.inv(exact + rest) @ gradient), axis=-2)
    strain = np.sqrt(np.mean((change @ gradient) ** 2 / variance))
    # Stars in clumps or not at rest, and a series that is too stiff, break the equations by more than the noise of as
    # many independent stars. One factor on it, chi^2 over degrees of freedom, makes that likely.
    excess = 1.0
    for _ in range(10):
        left = half.shape[1] - np.trace(np.linalg.solve(exact / excess + rest, exact)) / excess
        change = np.linalg.solve(exact / excess + rest, told / excess + few * total[4] - prior @ start)
        square = np.sum((half.T @ (answered - response @ change)) ** 2)
        last, excess = excess, max(1.0, square / max(left, 1.0) - bootstrap)
        if abs(excess / last - 1) < 0.01:
            break
    known = exact / excess + rest
    answer = told / excess + few * total[4] + (known - prior) @ start
    densities = np.concatenate([np.asarray(laplacians(series, part), float) for (part,) in chunks(places(series))])
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
    """Robust least squares of rows @ c = drift: c, the median residual, and the inverse covariance without the prior.

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
    return c, float(unit), normal


@eqx.filter_jit
@in_full
def project(series, x, g):
    return jax.vmap(lambda x, g: series.functions(x, 1) @ g)(x, g)


def rate_at_center(stars: Gradients, q: np.ndarray) -> float:
    """sqrt(|a| / |x|) about the center [km/s/kpc], from the nearest stars: what tides are measured in."""
    near = np.argsort(q)[: max(1000, len(q) // 100)]
    drift, g = stars.drift[near].astype(float), stars.g[near].astype(float)
    trust = 1 / (1 + (drift / np.median(np.abs(drift))) ** 2)
    a = np.linalg.solve((g * trust[:, None]).T @ g, -(g * trust[:, None]).T @ drift)
    return float(np.sqrt(np.linalg.norm(a) / max(float(np.linalg.norm(stars.x[near].mean(0, dtype=float))), 1e-3)))
