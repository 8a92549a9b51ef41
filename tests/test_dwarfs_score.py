"""GalaxyScore: the chain rule of the soft ball, the force of a galaxy that is known, and fits."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clearview.catalogs import Catalog
from clearview.dwarfs.score import BallScore, GalaxyScoreConfig, GalaxyScoreFit, _solve, fit_galaxy_score
from clearview.dynamics import PotentialConfig, PotentialSeries, mass_density
from clearview.flows import FitConfig, FlowConfig, ScoreConfig
from clearview.flows.density import soft_ball
from clearview.units import G

S, SIGMA, RADIUS = 0.4, 9.0, 0.8
"""f ~ exp(-x^2/2 S^2 - v^2/2 SIGMA^2) is at rest in a harmonic potential of frequency SIGMA/S."""


class Exact(eqx.Module):
    """The score of the soft places and velocities of that galaxy, from its density."""

    def score(self, w):
        def place(u):  # the inverse of the soft map
            r = jnp.sqrt(jnp.maximum(u @ u, 1e-12))
            return RADIUS * u * jnp.tanh(r) / r

        def log_p(w):
            x, v = place(w[:3]), w[3:]
            log_det = jnp.linalg.slogdet(jax.jacfwd(place)(w[:3]))[1]
            return -0.5 * x @ x / S**2 - 0.5 * v @ v / SIGMA**2 + log_det

        return jax.grad(log_p)(w)


def stars(count, seed=0):
    rng = np.random.default_rng(seed)
    return Catalog.from_phase_space(S * rng.normal(size=(count, 3)), SIGMA * rng.normal(size=(count, 3)))


def fitted(config):
    """A fit whose score is exact."""
    learnt = BallScore(Exact(), jnp.zeros(3), jnp.float32(RADIUS))  # type: ignore[arg-type]
    series = PotentialSeries(np.zeros(3), RADIUS, 10 * RADIUS, config.potential)
    return GalaxyScoreFit(config, learnt, series, RADIUS, 0, "", "finished", "")


def test_gradients_through_the_soft_ball():
    x = np.array([[0.1, -0.2, 0.3], [0.7, 0.1, 0.0], [0.02, 0.0, 0.0]], np.float32)
    v = np.array([[3.0, -8.0, 1.0], [0.0, 1.0, 20.0], [1.0, 1.0, 1.0]], np.float32)
    of_x, of_v = fitted(GalaxyScoreConfig()).gradients(x, v)
    np.testing.assert_allclose(of_x, -x / S**2, atol=0.03)
    np.testing.assert_allclose(of_v, -v / SIGMA**2, rtol=1e-3, atol=1e-5)
    assert soft_ball(jnp.asarray(x[1] / RADIUS))[2]


def test_exact_gradients_give_the_force_and_the_density():
    config = GalaxyScoreConfig(radius=RADIUS, potential=PotentialConfig(degree=4, horizontal=1.0, edge=0.9))
    x, v = np.split(stars(8000).phase_space.astype(np.float32), 2, axis=1)
    distance = np.linalg.norm(x, axis=1)
    inside = distance < RADIUS
    fit = fitted(config)
    fit.series = _solve(fit, x[inside], v[inside], distance[inside])
    places = x[distance < 0.7]
    true = -((SIGMA / S) ** 2) * places
    off = np.linalg.norm(fit.acceleration(places) - true, axis=1) / np.linalg.norm(true, axis=1)
    assert np.median(off) < 0.01
    rho = mass_density(fit, np.zeros((1, 3)), kernel=(0.1, 0.1, 0.1))
    assert rho[0] == pytest.approx(3 * (SIGMA / S) ** 2 / (4 * np.pi * G), rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("learner", [ScoreConfig(24, 2, "sliced"), FlowConfig(2, 16)])
def test_fit(learner):
    """Both routes end with a force that points inwards, if so shortly trained not yet with all of it, and can be
    cancelled."""
    config = GalaxyScoreConfig(
        learner, FitConfig(epochs=2, min_steps=600, batch_size=256, learning_rate=5e-3, average=0.05), RADIUS,
        PotentialConfig(degree=3, horizontal=1.0, edge=0.9),
    )  # fmt: skip
    told = []
    fit = fit_galaxy_score(stars(4000), config, on_progress=lambda p: told.append(p.fraction))
    assert fit.stopped == "finished"
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1)
    x = np.array([[0.4, 0.0, 0.0], [0.0, -0.4, 0.0], [0.0, 0.0, 0.4]], np.float32)
    inwards = -(fit.acceleration(x) * x).sum(1) / 0.4
    truth = (SIGMA / S) ** 2 * 0.4
    assert inwards.min() > 0.25 * truth
    assert inwards.max() < 1.5 * truth
    again = fit_galaxy_score(stars(4000), config, on_progress=lambda p: False)
    assert again.stopped == "cancelled"
    with pytest.raises(ValueError, match="Expected a finished fit"):
        again.acceleration(x)


def test_too_few_stars_and_bad_settings():
    with pytest.raises(ValueError, match="at least 1,052 stars"):
        fit_galaxy_score(stars(500), GalaxyScoreConfig(potential=PotentialConfig(degree=2, horizontal=1.0)))
    with pytest.raises(ValueError, match="radius"):
        GalaxyScoreConfig(radius=-1.0)
    with pytest.raises(TypeError, match="learner"):
        GalaxyScoreConfig(learner=3)  # type: ignore[arg-type]
