"""Masked autoregressive flow with affine transforms (Papamakarios, Pavlakou & Murray 2017, arXiv:1705.07057)."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jaxtyping import Array, Float, PRNGKeyArray

from clearview.flows.density import AbstractDensity


@dataclass(frozen=True)
class MAFConfig:
    """Size of a masked autoregressive flow: ``layers`` transforms, each a network of ``depth`` x ``width``."""

    layers: int = 6
    width: int = 96
    depth: int = 2


class MaskedLayer(eqx.Module):
    """One affine autoregressive transform (MADE: Germain et al. 2015, arXiv:1502.03509).

    GELU, since the fits take gradients of the density and ReLU has no second derivative.
    """

    weights: list[Array]
    biases: list[Array]
    dim: int = eqx.field(static=True)
    condition_dim: int = eqx.field(static=True)

    def __init__(self, dim: int, condition_dim: int, width: int, depth: int, *, key: PRNGKeyArray):
        self.dim, self.condition_dim = dim, condition_dim
        sizes = [condition_dim + dim, *[width] * depth, 2 * dim]
        keys = random.split(key, depth + 1)
        masks = _masks(dim, condition_dim, width, depth)
        # Each unit's own fan-in under the mask; the last layer starts near zero, the transform near identity.
        gain = [*[1.0] * depth, 0.01]
        self.weights = [
            g * random.normal(k, (a, b)) / np.sqrt(np.maximum(m.sum(0), 1)).astype(np.float32)
            for g, k, a, b, m in zip(gain, keys, sizes[:-1], sizes[1:], masks, strict=True)
        ]
        self.biases = [jnp.zeros(b) for b in sizes[1:]]

    def shift_and_log_scale(self, x, condition):
        h = x if condition is None else jnp.concatenate([condition, x])
        masks = _masks(self.dim, self.condition_dim, self.biases[0].size, len(self.biases) - 1)
        for i, (w, b, m) in enumerate(zip(self.weights, self.biases, masks, strict=True)):
            h = (jax.nn.gelu(h) if i else h) @ (w * m) + b
        shift, raw = jnp.split(h, 2)
        return shift, 4 * jnp.tanh(raw / 4)  # bounded and smooth: no runaway in the tails

    def forward(self, x, condition):
        shift, log_scale = self.shift_and_log_scale(x, condition)
        return (x - shift) * jnp.exp(-log_scale), -log_scale.sum()

    def inverse(self, y, condition):
        def one_more(_, x):
            shift, log_scale = self.shift_and_log_scale(x, condition)
            return y * jnp.exp(log_scale) + shift

        return jax.lax.fori_loop(0, self.dim, one_more, jnp.zeros_like(y))  # pass i settles coordinate i


@lru_cache
def _masks(dim: int, condition_dim: int, width: int, depth: int) -> tuple[np.ndarray, ...]:
    lowest = 0 if condition_dim or dim == 1 else 1
    hidden = lowest + np.arange(width) % max(dim - lowest, 1)
    degrees = [np.r_[np.zeros(condition_dim, int), np.arange(1, dim + 1)], *[hidden] * depth]
    inner = [(a[:, None] <= b[None, :]) for a, b in pairwise(degrees)]
    last = hidden[:, None] < np.tile(np.arange(1, dim + 1), 2)[None, :]
    return tuple(m.astype(np.float32) for m in (*inner, last))


class MAF(AbstractDensity):
    """Standard-normal base behind ``layers`` masked affine transforms, coordinates reversed in between.

    log_prob costs one pass, sampling ``dim`` passes per layer.
    """

    layers: list[MaskedLayer]
    dim: int = eqx.field(static=True)
    condition_dim: int | None = eqx.field(static=True)

    def __init__(self, dim: int, condition_dim: int | None = None, config: MAFConfig | None = None, *, key):
        config = config or MAFConfig()
        self.dim, self.condition_dim = dim, condition_dim
        self.layers = [
            MaskedLayer(dim, condition_dim or 0, config.width, config.depth, key=k)
            for k in random.split(key, config.layers)
        ]

    def to_base(self, x: Float[Array, " dim"], condition):
        log_det = jnp.zeros(())
        for layer in self.layers:
            x, change = layer.forward(x, condition)
            x, log_det = x[::-1], log_det + change
        return x, log_det

    def from_base(self, z: Float[Array, " dim"], condition):
        for layer in reversed(self.layers):
            z = layer.inverse(z[::-1], condition)
        return z
