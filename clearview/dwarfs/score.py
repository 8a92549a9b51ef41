"""GalaxyScore: gradients of ln f learnt from 6-D stars of a dwarf galaxy, and the force that keeps these at rest.

The score of f is learnt without f (see `clearview.flows.ScoreModel`), or taken from a flow; the rest is the same. A
ball of stars has a hard edge, where the boundary term of score matching would not vanish, so places go through the soft
map of the ball first (`clearview.flows.density.soft_ball`). The collisionless Boltzmann equation, star by star,
v . d ln f/dx - grad Phi . d ln f/dv = 0, is then solved for a series for Phi by robust least squares.
"""

import dataclasses
import time
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import random
from jaxtyping import Array, Float

from clearview import checks, flows
from clearview.catalogs import Catalog
from clearview.dynamics.potential import least_stars, project, star_by_star
from clearview.dynamics.prior import tide_prior
from clearview.dynamics.series import PotentialConfig, PotentialSeries, at_places, chunks
from clearview.flows import MAF, Ball, FitConfig, FlowConfig, ScoreConfig, ScoreModel, Standardised
from clearview.flows.density import soft_ball
from clearview.flows.fit import HISTORY, OnProgress

FEWEST = 1000
"""Stars below which six dimensions cannot be learnt."""

EDGE = 1 - 1e-5
"""Stars are taken up to this fraction of the radius."""


@dataclass(frozen=True)
class GalaxyScoreConfig:
    """How `fit_galaxy_score` learns.

    Attributes:
        learner: a `ScoreConfig` for score matching, or a `FlowConfig` for two flows, n(x) and p(v | x).
        training: of the score model, or of each of the flows.
        radius: of the ball about the centre that is learnt, kpc; None takes one that holds nine stars in ten.
        potential: of the series; of its weights only ``edge``, ``outlier``, ``smooth``, ``smooth_density`` and ``halo``
            count.
        length: over which tides are expected to change, in units of the radius.
        share: weight of the stars against that expectation: their number times this.
        seed: of all random numbers.

    Raises:
        TypeError: for another learner.
        ValueError: for a number out of bounds.
    """

    learner: ScoreConfig | FlowConfig = field(default_factory=ScoreConfig)
    training: FitConfig = field(default_factory=lambda: FitConfig(epochs=30, average=0.05))
    radius: float | None = None
    potential: PotentialConfig = field(default_factory=lambda: PotentialConfig(degree=6, horizontal=1.0, edge=0.9))
    length: float = 0.5
    share: float = 0.1
    seed: int = 0

    def __post_init__(self):
        checks.parts(self)
        checks.numbers(self, optional=True, radius=(checks.ABOVE_0, checks.MOST))
        checks.numbers(self, length=(checks.ABOVE_0, checks.MOST), share=(checks.ABOVE_0, checks.MOST))
        checks.numbers(self, whole=True, seed=checks.SEEDS)


class BallScore(eqx.Module):
    """Gradients of ln f in a ball, by a score model of places mapped to R^3 and velocities."""

    model: ScoreModel
    center: Float[Array, "3"]
    radius: Float[Array, ""]

    def gradients(self, x: Float[Array, "3"], v: Float[Array, "3"]) -> tuple[Float[Array, "3"], Float[Array, "3"]]:
        """d ln f/dx [1/kpc] and d ln f/dv [s/km] of one star."""
        (u, _), pull = jax.vjp(lambda x: soft_ball((x - self.center) / self.radius)[:2], x)
        of_u, of_v = jnp.split(self.model.score(jnp.concatenate([u, v])), 2)
        return pull((of_u, jnp.ones(())))[0], of_v


class BallFlow(eqx.Module):
    """ln f = ln n(x) + ln p(v | x) in a ball, by two flows; velocities stay along x, y and z.

    `clearview.flows.PhaseSpace` turns them by the azimuth, which a galaxy that holds its own axis does not have there.
    """

    n: Ball
    p: Standardised

    def log_f(self, x, v):
        """ln f at x [kpc], v [km/s], per kpc^3 (km/s)^3, for one star in all."""
        return self.n.log_prob(x) + self.p.log_prob(v, (x - self.n.center) / self.n.radius)

    def gradients(self, x: Float[Array, "3"], v: Float[Array, "3"]) -> tuple[Float[Array, "3"], Float[Array, "3"]]:
        """d ln f/dx [1/kpc] and d ln f/dv [s/km] of one star."""
        return jax.grad(self.log_f, argnums=(0, 1))(x, v)


@eqx.filter_jit
def _gradients(learnt, x, v):
    return jax.vmap(learnt.gradients)(x, v)


@dataclass
class GalaxyScoreFit:
    """Gradients of ln f, and the force, in a ball of a dwarf galaxy.

    `clearview.dynamics.mass_density(fit, x, kernel=(h, h, h))` is its density by Gauss's law.

    Attributes:
        config: how it was learnt.
        learnt: a `BallScore` or a `BallFlow`.
        series: the potential.
        radius: of the ball, kpc.
        stars: how many were learnt from.
        digest: of the catalogue.
        stopped: "finished", "cancelled" or "diverged".
        message: one sentence about how it ended.
        history: losses, columns stage, step, train, validation.
        seconds: that it took.
    """

    config: GalaxyScoreConfig
    learnt: BallScore | BallFlow
    series: PotentialSeries
    radius: float
    stars: int
    digest: str
    stopped: str
    message: str
    history: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=HISTORY))
    seconds: float = 0.0

    @property
    def center(self) -> np.ndarray:
        """(3,) kpc: the galaxy's."""
        return np.zeros(3)

    @property
    def provenance(self) -> dict[str, Any]:
        """Where its fields come from."""
        return {"stars": self.stars, "data_digest": self.digest, "radius_kpc": self.radius, "seed": self.config.seed}

    def gradients(self, x, v) -> tuple[np.ndarray, np.ndarray]:
        """(N, 3) d ln f/dx [1/kpc] and (N, 3) d ln f/dv [s/km] at x (N, 3) [kpc] and v (N, 3) [km/s]."""
        x, v = (np.asarray(a, np.float32) for a in (x, v))
        parts = [_gradients(self.learnt, jnp.asarray(a), jnp.asarray(b)) for a, b in chunks(x, v)]
        of_x, of_v = (np.concatenate([np.asarray(part[i]) for part in parts]) for i in (0, 1))
        return of_x, of_v

    def acceleration(self, x) -> np.ndarray:
        """(N, 3) acceleration at x (N, 3) [kpc], (km/s)^2/kpc; NaN outside the ball.

        Raises:
            ValueError: if the fit is not finished.
        """
        if self.stopped != "finished":
            raise ValueError(f"Expected a finished fit, this one stopped before ({self.message}) Train anew.")
        return at_places(self.series, x, "acceleration")


def fit_galaxy_score(
    stars: Catalog, config: GalaxyScoreConfig | None = None, *, on_progress: OnProgress = None
) -> GalaxyScoreFit:
    """Learn d ln f and the force from stars with 6-D phase space about the galaxy's centre.

    Args:
        stars: x, y, z [kpc] and vx, vy, vz [km/s] about the centre and its mean velocity.
        config: what to do.
        on_progress: called with `clearview.flows.Progress`, whose ``fraction`` is that of the whole training; returning
            False cancels.

    Raises:
        ValueError: for too few stars in the ball.
    """
    began = time.monotonic()
    checks.a(config, (GalaxyScoreConfig, type(None)), "a GalaxyScoreConfig")
    config = config or GalaxyScoreConfig()
    x, v = np.split(np.asarray(checks.a(stars, Catalog, "a Catalog").phase_space, np.float32), 2, axis=1)
    distance = np.linalg.norm(x, axis=1)
    radius = float(np.quantile(distance, 0.9)) if config.radius is None else config.radius
    inside = distance < EDGE * radius
    least = max(FEWEST, int(least_stars(config.potential.size) / config.potential.edge))
    if inside.sum() < least:
        raise ValueError(
            f"Expected at least {least:,} stars within {radius:.3g} kpc of the centre, got {inside.sum():,}; use more, "
            "a larger radius, or a lower potential.degree."
        )
    x, v, distance = x[inside], v[inside], distance[inside]
    learnt, result = _learn(x, v, radius, config, on_progress)
    series = PotentialSeries(
        np.zeros(3), radius, 10 * radius, config.potential
    )  # of this height asinh z is as good as z
    fit = GalaxyScoreFit(
        config, learnt, series, radius, len(x), stars.digest(), result.stopped, result.message, result.history
    )
    if fit.stopped == "finished":
        fit.series = _solve(fit, x, v, distance)
        way = "score matching" if isinstance(learnt, BallScore) else "flows"
        fit.message = f"Force finished, by {way}: {len(x):,} stars within {radius:.3g} kpc."
    fit.seconds = time.monotonic() - began
    return fit


def _learn(x, v, radius: float, config: GalaxyScoreConfig, on_progress: OnProgress):
    """What was learnt, and the `Fit` of the last stage with the history of all."""
    key = random.key(config.seed)
    keys = random.split(key, 4)
    u = np.asarray(jax.vmap(lambda q: soft_ball(q)[0])(jnp.asarray(x / radius)))
    if isinstance(config.learner, ScoreConfig):
        both = np.concatenate([u, v], axis=1)
        start = ScoreModel(both.mean(0), both.std(0), config=config.learner, key=keys[0])
        result = flows.fit(start, both, config.training, key=keys[1], on_progress=on_progress, stage="score")
        return BallScore(result.model, jnp.zeros(3), jnp.asarray(radius, jnp.float32)), result
    n = Ball(Standardised(MAF(3, None, config.learner, key=keys[0]), u.mean(0), u.std(0)), np.zeros(3), radius)
    p = Standardised(MAF(3, 3, config.learner, key=keys[1]), v.mean(0), v.std(0))

    def half(begun: float):
        tell = on_progress
        return tell and (lambda told: tell(told._replace(fraction=begun + told.fraction / 2)))

    first = flows.fit(n, x, config.training, key=keys[2], on_progress=half(0.0), stage="positions")
    if first.stopped != "finished":
        return BallFlow(first.model, p), first
    result = flows.fit(
        p, v, config.training, key=keys[3], condition=x / radius, on_progress=half(0.5), stage="velocities"
    )
    history = pd.concat([first.history, result.history], ignore_index=True)
    return BallFlow(first.model, result.model), result._replace(history=history)


def _solve(fit: GalaxyScoreFit, x, v, distance) -> PotentialSeries:
    """The series that makes the stars stationary, star by star."""
    config, series = fit.config, fit.series
    inner = distance < config.potential.edge * fit.radius
    x, v = x[inner], v[inner]
    of_x, of_v = fit.gradients(x, v)
    along = np.concatenate([np.asarray(project(series, *part)) for part in chunks(x, of_v)])
    rate = float(np.sqrt((v**2).sum(1).mean() / (x**2).sum(1).mean()))
    expected = dataclasses.replace(
        config.potential, length=config.length * fit.radius, vertical=1.0, disc=0.0, slab=0.0, symmetry=()
    )
    prior = tide_prior(series, rate, expected)
    c, _, normal = star_by_star(
        along, (v * of_x).sum(1), prior, weight=config.share * len(x), outlier=config.potential.outlier
    )
    known = normal + prior
    spread = np.linalg.inv(np.linalg.cholesky((known + known.T) / 2)).T
    parts = tuple(jnp.asarray(a, jnp.float32) for a in (c, spread))
    return eqx.tree_at(lambda s: (s.coefficients, s.spread), series, parts)
