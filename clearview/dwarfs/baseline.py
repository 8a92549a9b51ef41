"""The usual way, to compare with: dispersions in bins, a broken power law, and the same Markov chain.

After GravSphere (Read & Steger 2017, arXiv:1701.04833): the stars' profile is fitted beforehand and held fast, bins of
equal numbers of stars give sigma_los(R) with its error, and the halo's slope is constant between 1/4, 1/2, 1, 2 and 4
half-light radii, with an even prior on [0, 2.9]. There are no virial shape parameters, and the slope need not rise.
"""

from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from clearview.dwarfs.bins import gaussian
from clearview.dwarfs.model import Model
from clearview.dwarfs.radial import RadialFlow, fit_radial
from clearview.dwarfs.stars import Seen

EDGES = np.array([0.25, 0.5, 1.0, 2.0, 4.0])
"""In half-light radii: where the slope of the broken power law changes."""


class BinnedModel(Model):
    """A broken power law, and one profile of the stars that the fit puts in ``scales``."""

    @cached_property
    def sizes(self) -> dict[str, int]:
        """How many parameters there are of each kind, in their order."""
        return {**super().sizes, "slopes": len(EDGES) + 1, "tracer": 0, "velocity": 0}

    @cached_property
    def _basis(self):
        t = np.log(self.sphere.r / self.scales.half)
        edges = np.concatenate([[-np.inf], np.log(EDGES), [np.inf]])
        hats = ((t[:, None] > edges[:-1]) & (t[:, None] <= edges[1:])).astype(float)

        def inside(x):  # of the hats, from 0 to x
            return np.clip(x[:, None], edges[:-1], edges[1:]) - np.clip(0.0, edges[:-1], edges[1:])

        return hats, inside(t)

    def knots(self, w):
        """(..., K) -d ln rho / d ln r between the edges."""
        return 2.9 * jax.scipy.stats.norm.cdf(self.parts(w)["slopes"])

    def slope(self, w, r):
        """(..., M) d ln rho / d ln r at r (M,) [kpc]."""
        which = np.searchsorted(EDGES, np.asarray(r) / self.scales.half)
        return -self.knots(w)[..., which]

    def flow(self, w) -> RadialFlow:
        """The stars' density, held fast."""
        ln_scale, *steps = self.scales.flow
        return RadialFlow(jnp.asarray(ln_scale, w.dtype), jnp.asarray(steps, w.dtype))


class Binned:
    """ln(probability) of the dispersions of bins.

    Args:
        model: what makes of the parameters what is seen.
        seen: the stars.
        fewest: stars of a bin.
    """

    def __init__(self, model: Any, seen: Seen, fewest: int = 15):
        self.model = model
        known = np.isfinite(seen.v)
        order = np.argsort(seen.R[known])
        R, v, error = (a[known][order] for a in (seen.R, seen.v, seen.error))
        center = gaussian(v, error)[0]
        bins = np.array_split(np.arange(len(R)), max(2, min(int(np.sqrt(len(R))), len(R) // fewest)))
        self.R = np.array([np.median(R[rows]) for rows in bins])
        self.sigma = np.array([gaussian(v[rows], error[rows], center=center)[1] for rows in bins])
        noise = np.array([np.mean(error[rows] ** 2) for rows in bins])
        # Of n stars a variance is known to 2 / n of itself, the errors' part too; by the dispersion of all, since each
        # bin's own would give those the most weight that came out too cold.
        count, typical = np.array([len(rows) for rows in bins]), np.sqrt(np.mean(self.sigma**2))
        self.spread = np.sqrt((typical**2 + noise) ** 2 / (2 * count)) / np.maximum(typical, 0.3 * noise**0.5)

    def __call__(self, w):
        """ln of the posterior, but for a constant."""
        variance, *_ = self.model.seen(self.model.state(w))
        sigma = jnp.exp(0.5 * jnp.interp(np.log(self.R), np.log(self.model.sphere.R), jnp.log(variance)))
        return -0.5 * (((sigma - self.sigma) / self.spread) ** 2).sum() - 0.5 * (w**2).sum()


def held_fast(R: np.ndarray) -> tuple[float, ...]:
    """ln of the scale and the steps of the profile of the highest likelihood, of stars at R (N,) [kpc]."""
    flow, _ = fit_radial(R)
    return (float(flow.ln_scale), *np.asarray(flow.steps, float).tolist())
