"""Initial weights and random orders, drawn by NumPy: JAX compiles each of its own draws first, seconds for a flow."""

from collections.abc import Sequence
from itertools import pairwise

import jax.numpy as jnp
import numpy as np
from jax import random
from jax.core import Tracer
from jaxtyping import Array, PRNGKeyArray


def generator(key: PRNGKeyArray, *numbers: int) -> np.random.Generator:
    """NumPy's generator for a JAX key and further numbers."""
    return np.random.default_rng([*np.asarray(random.key_data(key)).ravel().tolist(), *numbers])


def permutation(rng: np.random.Generator, size: int) -> np.ndarray:
    """What ``rng.permutation(size)`` gives, in half the memory."""
    order = np.arange(size, dtype=np.int32 if size < 2**31 else np.int64)
    rng.shuffle(order)
    return order


def normal(key: PRNGKeyArray, numbers: tuple[int, ...], shape: tuple[int, ...]):
    """Standard-normal float32 numbers; under a JAX transformation, where a key has no value yet, by JAX."""
    if isinstance(key, Tracer):
        for number in numbers:
            key = random.fold_in(key, number)
        return random.normal(key, shape)
    return generator(key, *numbers).standard_normal(shape, np.float32)


def dense_layers(
    key: PRNGKeyArray,
    sizes: Sequence[int],
    *,
    number: int = 0,
    fan_in: Sequence | None = None,
    last: float = 0.01,
    spread: float = 0.0,
) -> tuple[list[Array], list[Array]]:
    """Weights and biases of a network with layers of ``sizes``, for inputs of order one.

    Args:
        key: of the weights.
        sizes: of the input, the hidden layers and the output.
        number: tells networks of one key apart.
        fan_in: inputs of each unit where a mask leaves out some, one (units,) array a layer.
        last: factor of the last layer's weights; small, a transform made from it starts near the identity.
        spread: standard deviation of the hidden biases; the hidden weights shrink by 1 + spread.
    """
    weights = []
    for i, (a, b) in enumerate(pairwise(sizes)):
        inputs = np.asarray(max(a, 1) if fan_in is None else np.maximum(fan_in[i], 1), np.float32)
        gain = last if i == len(sizes) - 2 else 1 / (1 + np.float32(spread))
        weights.append(jnp.asarray(gain * normal(key, (number, i, 0), (a, b)) / np.sqrt(inputs)))
    biases = [spread * normal(key, (number, i, 1), (b,)) for i, b in enumerate(sizes[1:-1])]
    return weights, [jnp.asarray(b) for b in (*biases, np.zeros(sizes[-1], np.float32))]
