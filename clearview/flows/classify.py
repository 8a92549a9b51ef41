"""Classifiers: a small network that tells two samples apart, whose logit is the logarithm of their density ratio."""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from clearview import checks
from clearview.flows.networks import dense_layers


@dataclass(frozen=True)
class ClassifierConfig:
    """Size of a classifier: ``depth`` hidden layers of ``width``."""

    width: int = 32
    depth: int = 3

    def __post_init__(self):
        checks.numbers(self, whole=True, width=(1, 10_000), depth=(1, 100))


class Classifier(eqx.Module):
    """A network with ReLU and one output, for inputs of order one.

    Trained on as many points of a first as of a second sample, its logit tends to ln(p_first / p_second).
    """

    weights: list[Array]
    biases: list[Array]
    dim: int = eqx.field(static=True)

    def __init__(self, dim: int, config: ClassifierConfig | None = None, *, key: PRNGKeyArray):
        config = config or ClassifierConfig()
        self.dim = dim
        sizes = [dim, *[config.width] * config.depth, 1]
        self.weights, self.biases = dense_layers(key, sizes, last=1.0, spread=1.0)

    def logit(self, x: Float[Array, "N dim"]) -> Float[Array, " N"]:
        """ln of the odds that a point is of the first sample, where both give as many."""
        h = x
        for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = (jax.nn.relu(h) if i else h) @ w + b
        return h[:, 0]

    def loss_of_two(self, first: Float[Array, "N dim"], second: Float[Array, "N dim"]) -> Float[Array, ""]:
        """Cross entropy of as many points of both samples; ln 2 where nothing tells them apart."""
        wrong = jax.nn.softplus(-self.logit(first)) + jax.nn.softplus(self.logit(second))
        return 0.5 * jnp.mean(wrong)
