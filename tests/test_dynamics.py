"""From an exact phase-space density the exact force comes back; from wild gradients too, unless they are trusted."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clearview.dynamics import PotentialConfig, PotentialNet, fit_potential, score_gradients, solve_acceleration
from clearview.dynamics.potential import Gradients
from clearview.units import SUN

KEY = jax.random.key(0)
RADIUS = 2.0
CONFIG = PotentialConfig(stars=20_000, epochs=10, min_steps=300, rounds=3, width=32)


class Isothermal(eqx.Module):
    """f = exp(-(v - u)^2/2 sigma^2 - Phi_eff/sigma^2), stationary in Phi for u a rotation about z."""

    sigma: float = 40.0
    omega: float = -27.0

    def potential(self, x):
        return 220.0**2 / 2 * jnp.log(x[..., 0] ** 2 + x[..., 1] ** 2 + (x[..., 2] / 0.8) ** 2 + 0.3)

    def acceleration(self, x):
        return -jax.vmap(jax.grad(self.potential))(jnp.asarray(x, jnp.float32))

    def log_f(self, x, v):
        # f(E, L_z) = exp(-(E - omega L_z)/sigma^2) is stationary, with omega L_z the rotation.
        L_z = x[..., 0] * v[..., 1] - x[..., 1] * v[..., 0]
        return -(0.5 * (v**2).sum(-1) + self.potential(x) - self.omega * L_z) / self.sigma**2

    def sample_velocity(self, key, x, draws):
        spin = self.omega * jnp.array([-x[1], x[0], 0.0])
        return spin + self.sigma * jax.random.normal(key, (draws, 3))


@pytest.fixture
def model():
    return Isothermal()


@pytest.fixture
def stars(model, rng):
    x = rng.normal(size=(20_000, 3))
    x = SUN.position + RADIUS * x / np.linalg.norm(x, axis=1, keepdims=True) * rng.uniform(size=(len(x), 1)) ** (1 / 3)
    v = np.stack([-model.omega * x[:, 1], model.omega * x[:, 0], 0 * x[:, 0]], -1) + model.sigma * rng.normal(
        size=x.shape
    )
    return x.astype(np.float32), v.astype(np.float32)


def error(a, true):
    return np.median(np.linalg.norm(a - true, axis=1) / np.linalg.norm(true, axis=1))


def fitted(gradients, x, config=CONFIG):
    net = fit_potential(PotentialNet(SUN.position, RADIUS, width=32, key=KEY), gradients, config, key=KEY).model
    return np.asarray(jax.vmap(net.acceleration)(x))


def test_gradients_are_those_of_the_density(model, stars):
    x, v = (s[:5000] for s in stars)
    got = score_gradients(model, x, v, batch_size=2048)
    np.testing.assert_allclose(got.g[:, 2], -v[:, 2] / model.sigma**2, rtol=1e-4, atol=1e-6)
    a = np.asarray(model.acceleration(x))
    residual = got.drift + (got.g * a).sum(1)
    assert np.abs(residual).max() < 1e-3 * np.abs(got.drift).max()


def test_potential_recovers_the_force(model, stars):
    x, v = stars
    inner = np.linalg.norm(x - SUN.position, axis=1) < 0.8 * RADIUS
    true = np.asarray(model.acceleration(x[inner]))
    gradients = score_gradients(model, x, v)
    assert error(fitted(gradients, x[inner]), true) < 0.02


def test_wild_gradients_do_not_rule_the_robust_fit(model, stars, rng):
    x, v = stars
    inner = np.linalg.norm(x - SUN.position, axis=1) < 0.8 * RADIUS
    true = np.asarray(model.acceleration(x[inner]))
    exact = score_gradients(model, x, v)
    wild = rng.uniform(size=len(x)) < 0.02
    drift = exact.drift + wild * 1e3 * np.abs(exact.drift).max() * rng.standard_t(2, len(x))
    gradients = Gradients(x, drift.astype(np.float32), exact.g)
    assert error(fitted(gradients, x[inner]), true) < 0.04
    plain = PotentialConfig(stars=20_000, epochs=10, min_steps=300, rounds=3, width=32, robust=False)
    assert error(fitted(gradients, x[inner], plain), true) > 0.3  # the trap


def test_pointwise_recovers_the_force(model, stars):
    x = stars[0][:10]
    a = solve_acceleration(model, x, key=KEY, draws=500)
    assert error(a, np.asarray(model.acceleration(x))) < 1e-3


def test_acceleration_is_minus_the_gradient_and_curl_free():
    net = PotentialNet(SUN.position, RADIUS, key=KEY)
    x = jnp.asarray(SUN.position + 0.3, jnp.float32)
    h = 1e-2
    slope = [(net(x + h * e) - net(x - h * e)) / (2 * h) for e in jnp.eye(3)]
    np.testing.assert_allclose(net.acceleration(x), -jnp.array(slope), rtol=1e-2, atol=1.0)
    jacobian = jax.jacobian(net.acceleration)(x)
    np.testing.assert_allclose(jacobian, jacobian.T, rtol=1e-3, atol=1.0)


def test_refusals_and_cancel(model, stars):
    x, v = stars
    assert score_gradients(model, x, v, on_batch=lambda done, total: False) is None
    gradients = score_gradients(model, x[:900], v[:900])
    net = PotentialNet(SUN.position, RADIUS, key=KEY)
    with pytest.raises(ValueError, match=r"at least 1,000 stars"):
        fit_potential(net, gradients, CONFIG, key=KEY)
    broken = Gradients(x, np.full(len(x), np.nan, np.float32), np.zeros_like(x))
    with pytest.raises(ValueError, match="finite gradients"):
        fit_potential(net, broken, CONFIG, key=KEY)
