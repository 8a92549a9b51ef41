"""Continuous flows: points carried from a normal distribution to the data by a velocity that a network gives.

Trained by flow matching (Lipman et al. 2023, arXiv:2210.02747; Liu et al. 2023, arXiv:2209.03003): no equation is
integrated while it learns. Sampled and asked for ln p with diffrax (Kidger 2021, arXiv:2202.02435).
"""

from dataclasses import dataclass
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jaxtyping import Array, Float, PRNGKeyArray

from clearview import checks
from clearview.flows.density import AbstractFlow, checked, flat
from clearview.flows.networks import dense_layers

_TIMES = np.pi * np.arange(1, 4, dtype=np.float32)
_USUAL = 1.6
"""Mean length of three normal numbers."""


@dataclass(frozen=True)
class ContinuousConfig:
    """Size of a continuous flow.

    Attributes:
        width, depth: of the network.
        steps: of the integration, each of six evaluations (Tsitouras 2011, fifth order).
    """

    width: int = 128
    depth: int = 4
    steps: int = 4

    def __post_init__(self):
        checks.numbers(self, whole=True, width=(1, 10_000), depth=(1, 100), steps=(1, 10_000))


class CNF(AbstractFlow):
    """A continuous flow of inputs of order one; trained by `clearview.flows.fit`, as all densities are.

    With ``central`` the six are place and velocity about the centre of a galaxy, whose lengths and radial velocity the
    network is told, too: shells and infall are not along any of the coordinates.

    Raises:
        ValueError: if ``central`` has not six dimensions.
    """

    weights: list[Array]
    biases: list[Array]
    dim: int = eqx.field(static=True)
    condition_dim: int | None = eqx.field(static=True)
    config: ContinuousConfig = eqx.field(static=True)
    central: bool = eqx.field(static=True)

    def __init__(
        self, dim: int, condition_dim: int | None = None, config: ContinuousConfig | None = None, *,
        central: bool = False, key,
    ):  # fmt: skip
        self.dim, self.condition_dim, self.config = dim, condition_dim, config or ContinuousConfig()
        if central and dim != 6:
            raise ValueError(f"Expected six dimensions about a centre, got {dim}; leave central out.")
        self.central = central
        inputs = dim + 3 * central + (condition_dim or 0) + 1 + 2 * len(_TIMES)
        self.weights, self.biases = dense_layers(key, [inputs, *[self.config.width] * self.config.depth, dim])

    def velocity(self, t: Float[Array, ""], x: Float[Array, " dim"], condition=None) -> Float[Array, " dim"]:
        """Where a point at x moves at time t, from the normal distribution at 0 to the data at 1."""
        waves = jnp.asarray(_TIMES) * t
        parts = [x, *([] if condition is None else [condition]), 2 * t[None] - 1, jnp.sin(waves), jnp.cos(waves)]
        if self.central:
            place, motion = jnp.split(x, 2)
            r, v = (jnp.sqrt(part @ part + 0.01) for part in (place, motion))  # smooth at 0, too
            parts.append(jnp.stack([r - _USUAL, v - _USUAL, place @ motion / r]))
        h = jnp.concatenate(parts)
        for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = (jax.nn.silu(h) if i else h) @ w + b
        # What carries a normal distribution to itself: the network has to learn only what is not normal.
        return h + x * (2 * t - 1) / (t**2 + (1 - t) ** 2)

    def losses(self, key: PRNGKeyArray, x: Float[Array, "N dim"], condition=None) -> Float[Array, " N"]:
        """Squared error of the velocity at a random time between each point and a normal one."""
        x, condition = flat(*checked(self, x, condition))
        k_noise, k_time = random.split(key)
        noise = random.normal(k_noise, x.shape)
        # One time in each of N equal parts: the mean over the batch varies less.
        t = (jnp.arange(len(x)) + random.uniform(k_time, (len(x),))) / len(x)
        at = (1 - t[:, None]) * noise + t[:, None] * x
        v = jax.vmap(self.velocity, (0, 0, None if condition is None else 0))(t, at, condition)
        return ((v - (x - noise)) ** 2).mean(-1)

    def loss(self, key, x, condition=None) -> Float[Array, ""]:
        """What `clearview.flows.fit` minimises: the mean of `losses`, a bound on no likelihood, lower is better."""
        return self.losses(key, x, condition).mean()

    def _solve(self, rate, start, first: float, last: float, **how) -> Any:
        return diffrax.diffeqsolve(
            diffrax.ODETerm(rate), diffrax.Tsit5(), first, last, (last - first) / self.config.steps, start,
            max_steps=self.config.steps, **how,
        ).ys  # fmt: skip

    def to_base(self, x, condition):
        def rate(t, state, _):
            t = jnp.asarray(t, x.dtype)
            v, push = jax.linearize(lambda at: self.velocity(t, at, condition), state[0])
            return v, jnp.trace(jax.vmap(push)(jnp.eye(self.dim, dtype=x.dtype)))

        # Backwards, the divergence sums to ln |det dz/dx|.
        # Differentiated either way: forwards for a Jacobian, backwards for the gradient of ln p.
        adjoint = diffrax.DirectAdjoint()
        z, log_det = self._solve(rate, (x, jnp.zeros((), x.dtype)), 1.0, 0.0, adjoint=adjoint)
        return z[-1], log_det[-1]

    def from_base(self, z, condition):
        def rate(t, at, _):
            return self.velocity(jnp.asarray(t, z.dtype), at, condition)

        return self._solve(rate, z, 0.0, 1.0)[-1]
