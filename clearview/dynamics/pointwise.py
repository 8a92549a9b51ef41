"""Acceleration place by place, in closed form: no potential, no smoothness between places."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, random

from clearview.flows import PhaseSpace


def solve_acceleration(density: PhaseSpace, x, *, key, draws: int = 2000, rounds: int = 4) -> np.ndarray:
    """Least-squares solution of the Boltzmann equation at each place (Buckley et al. 2023, arXiv:2205.01129).

    a = -(sum w g g^T)^-1 sum w (v . d ln f/dx) g with g = d ln f/dv over draws of p(v | x), the weights w being
    Cauchy weights of the residual, as in `fit_potential`; ``rounds=1`` is the plain sum of the paper.

    Args:
        density: the learnt f.
        x: (N, 3) places, kpc.
        key: of the draws.
        draws: velocities per place.
        rounds: of reweighting.

    Returns:
        (N, 3) accelerations, (km/s)^2/kpc.
    """

    @eqx.filter_jit
    def at(density, x, key):
        v = density.sample_velocity(key, x, draws)
        d_x, g = jax.vmap(jax.grad(density.log_f, argnums=(0, 1)), (None, 0))(x, v)
        drift = (v * d_x).sum(-1)

        def solve(weight):
            normal = jnp.einsum("n,ni,nj->ij", weight, g, g)
            return -jnp.linalg.solve(normal, jnp.einsum("n,n,ni->i", weight, drift, g))

        def again(_, a):
            r = drift + g @ a
            return solve(1 / (1 + (r / jnp.median(jnp.abs(r))) ** 2))

        return lax.fori_loop(1, rounds, again, solve(jnp.ones(draws)))

    x = jnp.asarray(x, jnp.float32)
    return np.stack([np.asarray(at(density, p, random.fold_in(key, i))) for i, p in enumerate(x)])
