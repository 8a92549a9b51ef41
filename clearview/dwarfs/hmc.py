"""Hamiltonian Monte Carlo with many chains at once, and what tells whether they agree."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

TARGET = 0.8  # part of the proposals that is to be accepted
_LENGTH = math.pi / 2  # of a trajectory: a quarter of a turn of a Gaussian with unit covariance
_MOST = 24  # steps of a trajectory

Gradient = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


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
    gradient: Gradient, start, covariance, *, warmup: int, draws: int, seed: int,
    on_step: Callable[[int, int], object] | None = None,
) -> Chains:  # fmt: skip
    """Draw by leapfrog trajectories of random length, all chains side by side.

    The steps are taken in NumPy, so that nothing but the gradient is compiled, and that once.

    Args:
        gradient: gives of points (C, D) the ln(probability) (C,) and its slope (C, D).
        start: (C, D) where the chains begin.
        covariance: (D, D) first guess of that of the posterior; in the warm-up it is measured.
        warmup: trajectories that are thrown away.
        draws: that are kept, of each chain.
        seed: of the random numbers.
        on_step: called with the trajectories done and their number; returning False cancels.
    """
    rng = np.random.default_rng(seed)
    w, value, slope = _begin(gradient, np.array(start))
    root = np.linalg.cholesky(covariance)
    ln_step, mean_step, bias, number = math.log(0.5), math.log(0.5), 0.0, 0
    total, stopped = warmup + draws, "finished"
    kept, early, accepted = [], [], []
    for i in range(total):
        step = math.exp(ln_step if i < warmup else mean_step)
        # A random length, the same for all chains, comes back nowhere (Hoffman, Radul & Sountsov 2021).
        steps = int(np.clip(math.ceil(2 * rng.random() * _LENGTH / step), 1, _MOST))
        # Some trajectories of each chain have short steps, for the places where the others are too long.
        each = step * np.where(rng.random((len(w), 1)) < 0.15, 0.3, 1.0)
        p = rng.standard_normal(w.shape)
        w2, p2, value2, slope2 = w, p, value, slope
        with np.errstate(all="ignore"):  # a trajectory may run away, and is refused then
            for _ in range(steps):
                p2 = p2 + 0.5 * each * slope2 @ root
                w2 = w2 + each * p2 @ root.T
                value2, slope2 = gradient(w2)
                p2 = p2 + 0.5 * each * slope2 @ root
            gain = value2 - value + 0.5 * ((p**2).sum(1) - (p2**2).sum(1))
            chance = np.exp(np.minimum(np.where(np.isfinite(gain), gain, -np.inf), 0.0))
        accept = rng.random(len(w)) < chance
        w, slope = np.where(accept[:, None], w2, w), np.where(accept[:, None], slope2, slope)
        value, mean = np.where(accept, value2, value), float(chance.mean())
        if i < warmup:
            # Dual averaging (Hoffman & Gelman 2014, arXiv:1111.4246).
            number += 1
            bias += (TARGET - mean - bias) / (number + 10)
            ln_step = float(np.clip(-math.sqrt(number) / 0.05 * bias, math.log(1e-3), math.log(1.5)))
            weight = number**-0.75
            mean_step = weight * ln_step + (1 - weight) * mean_step
            if i >= warmup // 5:
                early.append(w)
            if i in (warmup // 2, (3 * warmup) // 4):
                points = np.concatenate(early[len(early) // 3 :])
                shape = np.cov(points.T)
                root = np.linalg.cholesky(0.95 * shape + 0.05 * np.diag(np.diag(shape)) + 1e-10 * np.eye(len(shape)))
                number, bias = 0, 0.0
        else:
            kept.append(w)
            accepted.append(mean)
        if on_step is not None and on_step(i + 1, total) is False:
            stopped = "cancelled"
            break
    made = np.stack(kept) if kept else np.zeros((0, *w.shape))
    return Chains(made, float(np.mean(accepted)) if kept else float("nan"), stopped)


def _begin(gradient: Gradient, w):
    """Chains that begin far down, where every step is too long, are moved towards the best one."""
    value, slope = gradient(w)
    for _ in range(20):
        depth = np.max(np.where(np.isfinite(value), value, -np.inf)) - value
        far = ~(depth < w.shape[1] + 10)
        if not far.any():
            break
        w[far] = 0.5 * (w[np.argmin(np.where(np.isfinite(depth), depth, np.inf))] + w[far])
        value, slope = gradient(w)
    return w, value, slope


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
