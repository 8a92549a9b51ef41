"""The potential that makes the stars' phase-space density stationary: collisionless Boltzmann equation, robustly.

For every star v . d ln f/dx - grad Phi . d ln f/dv = 0 (An et al. 2021, arXiv:2106.05981; Green & Ting 2020,
arXiv:2011.04673; Buckley et al. 2023, arXiv:2205.01129). A few wild gradients of the learnt density (tails, edge)
would rule a plain mean square, so the equation is solved by iteratively reweighted least squares with Cauchy weights.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jaxtyping import Array, Float

from clearview.flows import Fit, FitConfig, PhaseSpace, optimise
from clearview.flows.fit import OnProgress, patiently


class Gradients(NamedTuple):
    """What the Boltzmann equation needs at N stars.

    Attributes:
        x: (N, 3) positions, kpc.
        drift: (N,) v . d ln f/dx, km/s/kpc.
        g: (N, 3) d ln f/dv, s/km.
    """

    x: np.ndarray
    drift: np.ndarray
    g: np.ndarray


class PotentialNet(eqx.Module):
    """Phi(x) = speed^2 MLP(q, asinh(z/height)) with q = (x - center)/radius, (km/s)^2, up to a constant.

    The force of a disc turns over within a few hundred parsecs; a network that sees z in units of the ball alone
    learns that slowly, hence the last input; `fit_map` takes the stars' own median |z| for the height.
    """

    mlp: eqx.nn.MLP
    center: Float[Array, "3"]
    radius: Float[Array, ""]
    height: Float[Array, ""]
    speed: Float[Array, ""]

    def __init__(self, center, radius, speed=200.0, *, height=None, width: int = 64, depth: int = 3, key):
        self.mlp = eqx.nn.MLP(4, "scalar", width, depth, jax.nn.gelu, key=key)
        self.height = jnp.asarray(0.1 * radius if height is None else height, jnp.float32)
        self.center, self.radius = jnp.asarray(center, jnp.float32), jnp.asarray(radius, jnp.float32)
        self.speed = jnp.asarray(speed, jnp.float32)

    def __call__(self, x: Float[Array, "3"]) -> Float[Array, ""]:
        center, radius, height, speed = jax.lax.stop_gradient((self.center, self.radius, self.height, self.speed))
        return speed**2 * self.mlp(jnp.concatenate([(x - center) / radius, 0.5 * jnp.arcsinh(x[2:] / height)]))

    def acceleration(self, x: Float[Array, "3"]) -> Float[Array, "3"]:
        """-grad Phi, (km/s)^2/kpc."""
        return -jax.grad(self)(x)


@dataclass(frozen=True)
class PotentialConfig:
    """How the potential is fitted.

    Attributes:
        stars: gradients are taken at this many of the stars.
        edge: only stars within this fraction of the ball's radius count.
        rounds: of reweighting; each makes ``epochs`` passes.
        epochs, min_steps, batch_size: of one round; see `FitConfig`.
        learning_rate, later_learning_rate: of the first round, and of the others.
        width, depth: of the network.
        robust: False gives every star the same weight (the trap; for comparison only).
    """

    stars: int = 200_000
    edge: float = 0.95
    rounds: int = 4
    epochs: int = 8
    min_steps: int = 1200
    batch_size: int = 1024
    learning_rate: float = 5e-3
    later_learning_rate: float = 2e-3
    width: int = 64
    depth: int = 3
    robust: bool = True


def score_gradients(
    density: PhaseSpace, x, v, *, batch_size: int = 4096, on_batch: Callable[[int, int], object] | None = None
) -> Gradients | None:
    """Gradients of ln f at stars, in batches.

    Args:
        density: the learnt f.
        x: (N, 3) kpc.
        v: (N, 3) km/s.
        batch_size: stars at a time.
        on_batch: called with (done, N); returning False stops.

    Returns:
        The gradients, or None if stopped.
    """

    @jax.jit
    def one_batch(x, v):
        d_x, d_v = jax.vmap(jax.grad(density.log_f, argnums=(0, 1)))(x, v)
        return (v * d_x).sum(-1), d_v

    size = len(x)
    shape = jax.ShapeDtypeStruct((min(batch_size, size), 3), jnp.float32)
    compiled = patiently(
        lambda: one_batch.lower(shape, shape).compile(),
        lambda: on_batch is None or on_batch(0, size) is not False,
    )
    if compiled is None:
        return None
    drift, g = np.empty(size, np.float32), np.empty((size, 3), np.float32)
    for first in range(0, size, batch_size):
        rows = slice(first, first + batch_size)
        pad = max(0, first + batch_size - size) if size > batch_size else 0  # one shape, one compilation
        part = [np.pad(np.asarray(a[rows], np.float32), ((0, pad), (0, 0)), mode="edge") for a in (x, v)]
        a, b = compiled(*part)
        drift[rows], g[rows] = np.asarray(a)[: batch_size - pad], np.asarray(b)[: batch_size - pad]
        if on_batch is not None and on_batch(min(first + batch_size, size), size) is False:
            return None
    return Gradients(np.asarray(x, np.float32), drift, g)


def potential_round(
    net: PotentialNet, gradients: Gradients, number: int, config: PotentialConfig | None = None, *, key,
    on_progress: OnProgress = None, resume: Fit | None = None,
) -> Fit:  # fmt: skip
    """One round of the reweighted fit, from the network of the round before.

    Args:
        net: where the round starts; its residuals set the weights (a round resumed needs the same one).
        gradients: from `score_gradients`.
        number: of the round, from 0; round 0 weighs by the size of the drift alone.
        config: how to fit.
        key: of the batches.
        on_progress: called with `Progress`; returning False cancels.
        resume: this round, cancelled.

    Raises:
        ValueError: if fewer than 1,000 stars with finite gradients lie within the edge.
    """
    config = config or PotentialConfig()
    q = np.linalg.norm((gradients.x - np.asarray(net.center)) / float(net.radius), axis=-1)
    finite = np.isfinite(gradients.drift) & np.isfinite(gradients.g).all(-1)
    x, drift, g = (a[finite & (q < config.edge)] for a in gradients)
    if len(x) < 1000:
        raise ValueError(
            f"Expected at least 1,000 stars with finite gradients within {config.edge} of the ball's radius, got "
            f"{len(x)}; use a larger sample or ball."
        )
    unit = np.median(np.abs(drift))
    drift, g = drift / unit, g / unit

    def residual(net, x, drift, g):
        return drift + (jax.vmap(net.acceleration)(x) * g).sum(-1)

    def loss(net, key, x, drift, g, weight):
        return (weight * residual(net, x, drift, g) ** 2).mean()

    if not config.robust:
        weight = np.ones(len(x), np.float32)
    elif number == 0:
        weight = 1 / (1 + drift**2)
    else:
        chunks = [slice(i, i + 65536) for i in range(0, len(x), 65536)]
        r = np.concatenate([np.asarray(eqx.filter_jit(residual)(net, x[c], drift[c], g[c])) for c in chunks])
        weight = 1 / (1 + (r / np.median(np.abs(r))) ** 2)
    rate = config.later_learning_rate if number else config.learning_rate
    plan = FitConfig(config.epochs, config.min_steps, config.batch_size, rate, validation=0.0)
    return optimise(
        net, loss, (x, drift, g, weight.astype(np.float32)), plan, key=random.fold_in(key, number),
        on_progress=on_progress, resume=resume, stage=f"potential {number + 1}/{config.rounds}",
    )  # fmt: skip


def fit_potential(
    net: PotentialNet, gradients: Gradients, config: PotentialConfig | None = None, *, key,
    on_progress: OnProgress = None,
) -> Fit:  # fmt: skip
    """Fit the potential to gradients of ln f: all rounds of `potential_round`, or up to the one that was stopped."""
    config = config or PotentialConfig()
    for number in range(config.rounds):
        result = potential_round(net, gradients, number, config, key=key, on_progress=on_progress)
        if result.stopped != "finished":
            break
        net = result.model
    return result
