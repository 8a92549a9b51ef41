"""How long a training takes, from its size and a quick look at the machine."""

import time
from functools import lru_cache

import jax
import jax.numpy as jnp

from clearview.flows.discrete import FlowConfig
from clearview.flows.fit import FitConfig

REFERENCE = 1.5e-3
"""Seconds of the job of `slowness` on the two cores on which the costs here were measured."""


@lru_cache(1)
def slowness() -> float:
    """How many times longer this machine takes than the one that the costs were measured on; looked at once."""

    @jax.jit
    def job(w, x):
        return jax.grad(lambda w: jax.nn.gelu(jax.nn.gelu(x @ w) @ w).sum())(w)

    w, x = jnp.full((96, 96), 0.01), jnp.ones((1024, 96))
    job(w, x).block_until_ready()
    times = []
    for _ in range(9):
        begun = time.perf_counter()
        job(w, x).block_until_ready()
        times.append(time.perf_counter() - begun)
    return sorted(times)[len(times) // 2] / REFERENCE


def star_seconds(flow: FlowConfig, dim: int, condition_dim: int = 0) -> float:
    """Seconds that a step of training a masked flow takes for each of its stars, on the reference."""
    weights = flow.layers * flow.width * (2 * dim + condition_dim + flow.width * (flow.depth - 1))
    outputs = flow.layers * dim * (3 * flow.bins - 1) if flow.transform == "spline" else 0
    return 7e-9 * flow.layers * flow.width * flow.depth + 3.2e-11 * weights + 2.9e-8 * outputs


def training_seconds(stars: int, training: FitConfig, per_star: float) -> float:
    """Seconds that all steps of a training take on the reference, its compilation left out."""
    held_out = round(stars * training.validation)
    batch, per_epoch, steps = training.plan(max(1, stars - held_out))
    return per_star * steps * (batch + held_out / (3 * per_epoch))  # a look at a held-out star needs no gradient


def compile_seconds(flow: FlowConfig) -> float:
    """Seconds until the first step of a training, on the reference."""
    return 1.8 + (1.0 if flow.transform == "spline" else 0.2) * flow.layers
