"""Hamiltonian Monte Carlo with many chains at once, and what tells whether they agree."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, random

TARGET = 0.8  # part of the proposals that is to be accepted
_LENGTH = math.pi / 2  # of a trajectory: a quarter of a turn of a Gaussian with unit covariance
_MOST = 24  # steps of a trajectory


class Chains(NamedTuple):
    """Draws of a posterior.

    Attributes:
        draws: (S, C, D) of C chains.
        acceptance: mean probability that a proposal was accepted.
        stopped: "finished" or "cancelled".
    """

    draws: np.ndarray
    acceptance: float
    stopped: str


def sample(
    log_prob: Callable[[Any], Any], start, covariance, *, warmup: int, draws: int, seed: int,
    on_step: Callable[[int, int], object] | None = None,
) -> Chains:  # fmt: skip
    """Draw from exp(log_prob) by leapfrog trajectories of random length.

    Args:
        log_prob: of one point (D,); differentiable by JAX.
        start: (C, D) where the chains begin.
        covariance: (D, D) first guess of that of the posterior; in the middle of the warm-up it is measured.
        warmup: trajectories that are thrown away.
        draws: that are kept, of each chain.
        seed: of the random numbers.
        on_step: called with the trajectories done and their number; returning False cancels.
    """
    gradient = jax.vmap(jax.value_and_grad(log_prob))

    @jax.jit
    def trajectory(key, w, value, slope, root, step, steps):
        k_p, k_u = random.split(key)
        p = random.normal(k_p, w.shape, w.dtype)

        def leap(_, state):
            w, p, value, slope = state
            p = p + 0.5 * step * slope @ root
            w = w + step * p @ root.T
            value, slope = gradient(w)
            return w, p + 0.5 * step * slope @ root, value, slope

        w2, p2, value2, slope2 = lax.fori_loop(0, steps, leap, (w, p, value, slope))
        gain = value2 - value + 0.5 * ((p**2).sum(1) - (p2**2).sum(1))
        chance = jnp.exp(jnp.minimum(jnp.where(jnp.isfinite(gain), gain, -jnp.inf), 0.0))
        accept = random.uniform(k_u, chance.shape, chance.dtype) < chance
        kept = [jnp.where(accept if a.ndim == 1 else accept[:, None], a, b) for a, b in (
            (w2, w), (value2, value), (slope2, slope),
        )]  # fmt: skip
        return *kept, chance.mean()

    rng = np.random.default_rng(seed)
    w = jnp.asarray(start)
    value, slope = jax.jit(gradient)(w)
    root = jnp.asarray(np.linalg.cholesky(covariance))
    ln_step, mean_step, bias, number = math.log(0.5), math.log(0.5), 0.0, 0
    key, total = random.key(seed), warmup + draws
    kept, early, accepted = [], [], []
    for i in range(total):
        step = math.exp(ln_step if i < warmup else mean_step)
        # A random length, the same for all chains, comes back nowhere (Hoffman, Radul & Sountsov 2021).
        steps = int(np.clip(math.ceil(2 * rng.random() * _LENGTH / step), 1, _MOST))
        w, value, slope, chance = trajectory(random.fold_in(key, i), w, value, slope, root, step, steps)
        chance = float(chance)
        if i < warmup:
            # Dual averaging (Hoffman & Gelman 2014, arXiv:1111.4246).
            number += 1
            bias += (TARGET - chance - bias) / (number + 10)
            ln_step = -math.sqrt(number) / 0.05 * bias
            ln_step = float(np.clip(ln_step, math.log(1e-3), math.log(1.5)))
            weight = number**-0.75
            mean_step = weight * ln_step + (1 - weight) * mean_step
            if i >= warmup // 5:
                early.append(np.asarray(w))
            if i in (warmup // 2, (3 * warmup) // 4):
                points = np.concatenate(early[len(early) // 3 :])
                shape = np.cov(points.T)
                shape = 0.95 * shape + 0.05 * np.diag(np.diag(shape)) + 1e-10 * np.eye(len(shape))
                root = jnp.asarray(np.linalg.cholesky(shape))
                number, bias = 0, 0.0
        else:
            kept.append(np.asarray(w))
            accepted.append(chance)
        if on_step is not None and on_step(i + 1, total) is False:
            return Chains(np.stack(kept) if kept else np.zeros((0, *w.shape)), _mean(accepted), "cancelled")
    return Chains(np.stack(kept), _mean(accepted), "finished")


def _mean(values) -> float:
    return float(np.mean(values)) if values else float("nan")


def split_rhat(draws) -> np.ndarray:
    """(D,) potential scale reduction of draws (S, C, D), each chain in halves (Gelman et al. 2013, BDA3, 11.4)."""
    half = len(draws) // 2
    chains = np.concatenate([draws[:half], draws[half : 2 * half]], axis=1)
    within = chains.var(0, ddof=1).mean(0)
    between = chains.mean(0).var(0, ddof=1)
    return np.sqrt((half - 1) / half + between / np.maximum(within, 1e-300))


def effective_size(draws) -> np.ndarray:
    """(D,) effective number of draws (S, C, D), by Geyer's initial positive sequence over all chains (BDA3, 11.5)."""
    size, chains, _ = draws.shape
    centred = draws - draws.mean(0)
    power = np.abs(np.fft.rfft(centred, 2 * size, axis=0)) ** 2
    autocovariance = np.fft.irfft(power, axis=0)[:size].mean(1) / size
    within = draws.var(0, ddof=1).mean(0)
    total = within * (size - 1) / size + draws.mean(0).var(0, ddof=1)
    rho = 1 - (within - autocovariance) / np.maximum(total, 1e-300)
    pairs = rho[: size // 2 * 2].reshape(-1, 2, rho.shape[1]).sum(1)
    positive = np.cumprod(pairs > 0, axis=0)
    time = -1 + 2 * (pairs * positive).sum(0)
    return size * chains / np.maximum(time, 1 / np.log10(size * chains))
