"""What is expected of a potential before any star is seen: tides that change slowly, slabs, symmetries if assumed."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from clearview.dynamics.series import PotentialConfig, PotentialSeries, chunks, in_full

ASYMMETRY = 0.002
"""Each independent way to break a symmetry that is assumed is expected to have this fraction of the force at the
center: there are dozens, which together leave several times that before the stars tell."""


@eqx.filter_jit
@in_full
def gradients_of(series, x):
    return jax.vmap(lambda x: series.functions(x, 1))(x)


@eqx.filter_jit
@in_full
def laplacians(series, x):
    return jax.vmap(lambda x: jnp.einsum("kii->k", series.functions(x, 2)))(x)


def places(series: PotentialSeries) -> np.ndarray:
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
    x = places(series)
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
        both = x[np.linalg.norm(x * flip - np.asarray(series.center), axis=1) < float(series.radius)]
        if not len(both):
            raise ValueError(
                f"Expected a ball with places on both sides of the plane, got its center at {series.center}; leave the "
                "north-south symmetry out."
            )
        here, there = (np.asarray(gradients_of(series, places), float) for places in (both, both * flip))
        broken.append(np.concatenate(np.moveaxis(here - there * flip, -1, 0)) / np.sqrt(len(both)))
    if "axisymmetric" in config.symmetry:
        around = np.stack([-x[:, 1], x[:, 0], 0 * x[:, 0]], -1) / np.hypot(x[:, 0], x[:, 1])[:, None]
        broken.append(np.einsum("nki,ni->nk", gradients_of(series, x), around) / np.sqrt(len(x)))
    rows = np.concatenate(broken) / (ASYMMETRY * rate**2 * max(float(np.linalg.norm(series.center)), 1e-3))
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
    rows = np.asarray(gradients_of(series, x), float).transpose(0, 2, 1).reshape(-1, len(series.coefficients))
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
