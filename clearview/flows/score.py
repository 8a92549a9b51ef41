"""The gradient of ln p learnt directly, without p: score matching."""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import random
from jaxtyping import Array, Float, PRNGKeyArray

from clearview import checks
from clearview.flows.density import checked, flat, over
from clearview.flows.networks import dense_layers

MATCHING = ("implicit", "sliced", "denoising")


@dataclass(frozen=True)
class ScoreConfig:
    """Size of a score model and the way it learns.

    Attributes:
        width, depth: of the network.
        matching: "implicit" (Hyvärinen 2005: exact, costs ``dim`` derivatives), "sliced" (Song et al. 2019,
            arXiv:1905.07088: one derivative in a chance direction) or "denoising" (Vincent 2011: no derivative, but
            the score is that of the density smoothed by ``noise``).
        noise: of "denoising", in units of the data's scale.

    Raises:
        ValueError: for a size below one, no such matching, or a noise that is not positive.
    """

    width: int = 128
    depth: int = 3
    matching: str = "sliced"
    noise: float = 0.1

    def __post_init__(self):
        checks.numbers(self, whole=True, width=(1, 10_000), depth=(1, 100))
        checks.numbers(self, noise=(checks.ABOVE_0, checks.MOST))
        if self.matching not in MATCHING:
            raise ValueError(f"Expected matching among {', '.join(MATCHING)}, got {self.matching!r}; choose one.")


class ScoreModel(eqx.Module):
    """grad ln p(x | condition) by a network; trained by `clearview.flows.fit`, as densities are.

    The boundary term of implicit matching must vanish: take stars with a hard edge through a soft map first
    (`clearview.flows.density.soft_ball`).
    """

    weights: list[Array]
    biases: list[Array]
    mean: Float[Array, " dim"]
    scale: Float[Array, " dim"]
    dim: int = eqx.field(static=True)
    condition_dim: int | None = eqx.field(static=True)
    config: ScoreConfig = eqx.field(static=True)

    def __init__(self, mean, scale, condition_dim: int | None = None, config: ScoreConfig | None = None, *, key):
        self.mean, self.scale = jnp.asarray(mean, jnp.float32), jnp.asarray(scale, jnp.float32)
        self.dim, self.condition_dim, self.config = len(self.mean), condition_dim, config or ScoreConfig()
        sizes = [self.dim + (condition_dim or 0), *[self.config.width] * self.config.depth, self.dim]
        self.weights, self.biases = dense_layers(key, sizes)

    @eqx.filter_jit
    def score(self, x: Float[Array, "*batch dim"], condition=None) -> Float[Array, "*batch dim"]:
        """Gradient of ln p(x | condition) along x, per unit of the data.

        Raises:
            ValueError: if the last axis of x or condition has another length than the model's.
        """
        x, condition = checked(self, x, condition)
        u = (x - self.mean) / self.scale
        return over(self._standard, *flat(u, condition)).reshape(x.shape) / self.scale

    def loss(self, key: PRNGKeyArray, x, condition=None) -> Float[Array, ""]:
        """What `clearview.flows.fit` minimises: half the mean squared error of the score, up to a constant."""
        x, condition = checked(self, x, condition)
        mean, scale = jax.lax.stop_gradient((self.mean, self.scale))
        u, given = flat((x - mean) / scale, condition)
        noise = random.normal(key, u.shape)
        if self.config.matching == "denoising":
            sigma = self.config.noise
            s = over(self._standard, u + sigma * noise, given)
            # What the noise alone gives is left out: the same minimum, and a loss that does not grow as 1/noise^2.
            return (0.5 * s**2 + s * noise / sigma).sum(-1).mean()

        def one(u, given, direction):
            if self.config.matching == "implicit":
                jacobian = jax.jacfwd(self._standard)(u, given)
                return jnp.trace(jacobian) + 0.5 * (self._standard(u, given) ** 2).sum()
            s, change = jax.jvp(lambda at: self._standard(at, given), (u,), (direction,))
            return change @ direction + 0.5 * (s**2).sum()

        return jax.vmap(one, (0, None if given is None else 0, 0))(u, given, noise).mean()

    def _standard(self, u, condition):
        """The score in units of the data's scale: that of a normal, and what the network adds."""
        h = u if condition is None else jnp.concatenate([condition, u])
        for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = (jax.nn.gelu(h) if i else h) @ w + b
        return h - u
