"""From an exact phase-space density the exact force comes back; from wild gradients too, unless they are trusted."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clearview.dynamics import PotentialConfig, PotentialSeries, fit_potential, score_gradients, solve_acceleration
from clearview.dynamics.potential import _sums, inverse_root
from clearview.dynamics.prior import _slabs, laplacians, tide_prior
from clearview.units import SUN

KEY = jax.random.key(0)
RADIUS = 2.0
CONFIG = PotentialConfig(degree=10)
SERIES = PotentialSeries(SUN.position, RADIUS, 0.5, CONFIG)


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
    x = rng.normal(size=(200_000, 3))
    x = SUN.position + RADIUS * x / np.linalg.norm(x, axis=1, keepdims=True) * rng.uniform(size=(len(x), 1)) ** (1 / 3)
    log_n = np.asarray(model.log_f(x, model.omega * np.stack([-x[:, 1], x[:, 0], 0 * x[:, 0]], -1)))
    x = x[rng.uniform(size=len(x)) < np.exp(log_n - log_n.max())][:20_000]
    assert len(x) == 20_000
    v = np.stack([-model.omega * x[:, 1], model.omega * x[:, 0], 0 * x[:, 0]], -1) + model.sigma * rng.normal(
        size=x.shape
    )
    return x.astype(np.float32), v.astype(np.float32)


def error(a, true):
    return np.median(np.linalg.norm(a - true, axis=1) / np.linalg.norm(true, axis=1))


def fitted(gradients, x, config=CONFIG):
    series = fit_potential(SERIES, gradients, config)
    return np.asarray(jax.vmap(series.acceleration)(x)), series


def pull(series, x, true):
    """rms of the error over the spread."""
    x = x[:200]
    normals = jax.random.normal(KEY, (100, CONFIG.size))
    spread = np.std(jax.vmap(lambda x: series.acceleration_members(x, normals))(x), axis=1)
    return np.sqrt((((jax.vmap(series.acceleration)(x) - true[:200]) / spread) ** 2).mean())


def test_gradients_are_those_of_the_density(model, stars):
    x, v = (s[:5000] for s in stars)
    got = score_gradients(model, x, v, batch_size=2048)
    np.testing.assert_allclose(got.g[:, 2], -v[:, 2] / model.sigma**2, rtol=1e-4, atol=1e-6)
    a = np.asarray(model.acceleration(x))
    residual = got.drift + (got.g * a).sum(1)
    assert np.abs(residual).max() < 1e-3 * np.abs(got.drift).max()


def test_second_derivatives_are_those_of_the_density(model, stars):
    x, v = (s[:3] for s in stars)
    got = score_gradients(model, x, v)
    h = 1e-2

    def g(x, v):
        return np.asarray(score_gradients(model, np.float32(x), np.float32(v)).g)

    np.testing.assert_allclose(got.carried, (g(x + 1e-4 * h * v, v) - g(x - 1e-4 * h * v, v)) / (2e-4 * h), rtol=0.05)
    np.testing.assert_allclose(got.curvature, np.broadcast_to(-np.eye(3) / model.sigma**2, (3, 3, 3)), atol=1e-8)


def test_potential_recovers_the_force_with_an_honest_error(model, stars):
    x, v = stars
    inner = np.linalg.norm(x - SUN.position, axis=1) < 0.8 * RADIUS
    true = np.asarray(model.acceleration(x[inner]))
    gradients = score_gradients(model, x, v)
    assert error(fitted(gradients, x[inner])[0], true) < 0.015
    _, moments = fitted(gradients, x[inner], PotentialConfig(degree=10, pointwise=0.0))
    assert 0.3 < pull(moments, x[inner], true) < 2


def test_errors_of_the_density_make_no_bias(model, stars):
    """Scores of another f: the equations of the stars themselves hold, those star by star do not."""
    x, v = stars
    inner = np.linalg.norm(x - SUN.position, axis=1) < 0.8 * RADIUS
    true = np.asarray(model.acceleration(x[inner]))
    wrong = Isothermal(sigma=44.0, omega=-27.0)
    gradients = score_gradients(wrong, x, v)
    gradients = gradients._replace(drift=gradients.drift * 1.15)
    _, moments = fitted(gradients, x[inner], PotentialConfig(degree=10, pointwise=0.0))
    assert pull(moments, x[inner], true) < 2
    _, star_by_star = fitted(gradients, x[inner], PotentialConfig(degree=10, pointwise=1e6))
    assert pull(star_by_star, x[inner], true) > 5


def test_stars_in_clumps_count_for_fewer(model, stars):
    """Each star four times over says no more than once, and is not taken for more."""
    gradients = score_gradients(model, *stars)
    few = type(gradients)(*(a[:5000] for a in gradients))
    clumped = type(gradients)(*(np.tile(a, (4, *(1,) * (a.ndim - 1))) for a in few))
    exact_only = PotentialConfig(degree=6, pointwise=0.0, smooth=0.01, smooth_density=0.01)
    series = PotentialSeries(SUN.position, RADIUS, 0.5, exact_only)
    wide, as_wide, narrow = (
        np.linalg.norm(fit_potential(series, g, exact_only).acceleration_covariance(SUN.position)) ** 0.5
        for g in (few, clumped, gradients)
    )
    assert narrow < 0.75 * wide
    assert as_wide == pytest.approx(wide, rel=0.25)  # half as wide if each copy counted


@pytest.mark.parametrize("names", [("north-south",), ("axisymmetric",)])
def test_symmetries_are_assumed_where_asked_for(model, stars, rng, names):
    x, v = (s[:4000] for s in stars)
    config = PotentialConfig(degree=6, symmetry=names, pointwise=1.0)
    series = PotentialSeries(SUN.position, RADIUS, 0.5, config)
    gradients = score_gradients(model, x, v)
    # A force that has neither symmetry.
    pushed = gradients._replace(drift=gradients.drift + gradients.g @ np.array([0.0, 600.0, 600.0], np.float32))
    series = fit_potential(series, pushed, config)
    places = SUN.position + rng.uniform(-0.8, 0.8, (200, 3))
    flip = np.array([1, 1, -1])
    a, mirrored = (np.asarray(jax.vmap(series.acceleration)(p)) for p in (places, places * flip))
    around = a[:, :2] * np.stack([-places[:, 1], places[:, 0]], -1) / np.hypot(*places.T[:2])[:, None]
    small = 0.01 * np.linalg.norm(a, axis=1).mean()
    assert (np.abs(a - mirrored * flip).mean() < small) == ("north-south" in names)
    assert (np.abs(around.sum(1)).mean() < small) == ("axisymmetric" in names)


def test_the_density_is_drawn_above_zero(model, stars):
    gradients = score_gradients(model, *(part[:4000] for part in stars))
    x = SUN.position + np.random.default_rng(2).uniform(-0.5, 0.5, (500, 3)) * RADIUS

    def shares(positive):
        weak = PotentialConfig(degree=10, smooth=0.1, smooth_density=0.1, pointwise=0.0, positive=positive)
        _, series = fitted(gradients, x[:1], weak)
        trace = jax.vmap(lambda x: jnp.einsum("k,kii->", series.coefficients, series.functions(x, 2)))(x)
        return float((trace < 0).mean()), float(trace.min())

    (free, lowest), (held, low) = shares(0.0), shares(1e5)
    assert free > 0.05
    assert held < 0.5 * free
    assert low > 0.2 * lowest


def test_the_equations_are_those_of_their_test_functions(model, stars, rng):
    """v . d psi/dx - grad Phi . d psi/dv of psi and of psi h(ln f), against differentiation, in a wrong potential."""
    series = PotentialSeries(SUN.position, RADIUS, 0.5, PotentialConfig(degree=3))
    size = len(series.coefficients)
    series = eqx.tree_at(lambda s: s.coefficients, series, jnp.asarray(1e4 * rng.normal(size=size), jnp.float32))
    x, v = (jnp.asarray(part[:50]) for part in stars)
    mid, width = float(jnp.median(jax.vmap(model.log_f)(x, v))), 2.0

    def psi(x, v):
        q = (x - series.center) / series.radius
        plain = (1 - q @ q) ** 2 * series.functions(x, 1) @ jax.grad(model.log_f, 1)(x, v)
        return jnp.concatenate([plain, jnp.tanh((model.log_f(x, v) - mid) / width) * plain])

    def rate(x, v):
        return jax.jvp(psi, (x, v), (v, series.acceleration(x)))[1]

    def response(x, v):
        return jax.jacfwd(psi, 1)(x, v) @ series.functions(x, 1).T

    every = jnp.ones(len(x), bool)
    got = _sums(series, 1.0, 3.0, mid, width, every, every, *score_gradients(model, x, v))
    for sums, function in ((got[0], response), (got[1], rate)):
        wanted = np.asarray(jax.vmap(function)(x, v))
        assert (np.abs(sums - wanted.sum(0)) <= 2e-3 * np.abs(wanted).sum(0)).all()


def test_slabs_change_without_a_cost(rng):
    heights = 0.5 * np.array([2 / 3, 4 / 3, 8 / 3])
    x = SUN.position + rng.uniform(-0.5, 0.5, (200, 3)) * RADIUS
    slabs = _slabs(SERIES, x.astype(np.float32), CONFIG)
    got = np.asarray(laplacians(SERIES, x.astype(np.float32))) @ slabs
    fall = np.exp((np.hypot(*SERIES.center[:2]) - np.hypot(x[:, 0], x[:, 1])) / CONFIG.length)
    wanted = fall[:, None] / np.cosh(x[:, 2, None] / (2 * heights)) ** 2
    near = np.abs(x[:, 2]) < 0.5  # farther off the radial fall of a slab has a tide of its own
    assert np.median(np.abs(got / wanted - 1)[near], axis=0).max() < 0.15
    with_slabs, without = (tide_prior(SERIES, 25.0, PotentialConfig(degree=10, slab=s)) for s in (10.0, 0.0))
    for c in slabs.T:
        assert c @ with_slabs @ c < 0.1 * (c @ without @ c)
    assert np.linalg.eigvalsh(with_slabs).min() > -1e-6 * np.linalg.eigvalsh(with_slabs).max()


def test_a_sample_cut_elsewhere_shows(model, stars):
    rng = np.random.default_rng(3)
    gradients = score_gradients(model, *stars)  # exact, and then as unsure as those of a flow
    unsure = np.median(np.abs(gradients.drift)) * rng.normal(size=len(gradients.drift))
    gradients = gradients._replace(drift=(gradients.drift + 0.3 * unsure).astype(np.float32))
    assert float(fitted(gradients, stars[0][:10])[1].strain) < 4
    near = np.linalg.norm(stars[0] - SUN.position, axis=1) < 0.7 * RADIUS
    assert float(fitted(type(gradients)(*(a[near] for a in gradients)), stars[0][:10])[1].strain) > 4


def test_wild_gradients_do_not_rule(model, stars, rng):
    x, v = stars
    inner = np.linalg.norm(x - SUN.position, axis=1) < 0.8 * RADIUS
    true = np.asarray(model.acceleration(x[inner]))
    exact = score_gradients(model, x, v)
    wild = rng.uniform(size=len(x)) < 0.02
    drift = exact.drift + wild * 1e3 * np.abs(exact.drift).max() * rng.standard_t(2, len(x))
    gradients = exact._replace(drift=drift.astype(np.float32))
    assert error(fitted(gradients, x[inner])[0], true) < 0.02
    trusting = PotentialConfig(degree=10, pointwise=1e5, outlier=1e9)
    assert error(fitted(gradients, x[inner], trusting)[0], true) > 0.3  # the trap of the plain mean square


def test_pointwise_recovers_the_force(model, stars):
    x = stars[0][:10]
    a = solve_acceleration(model, x, key=KEY, draws=500)
    assert error(a, np.asarray(model.acceleration(x))) < 1e-3


def test_derivatives_of_the_series(rng):
    with jax.enable_x64(True):
        series = jax.tree.map(lambda a: jnp.asarray(a, float), SERIES)
        x = jnp.asarray(SUN.position + np.array([0.3, -0.4, 0.25]))
        derivative = series.functions
        for order in (1, 2, 3):
            derivative = jax.jacfwd(derivative)
            np.testing.assert_allclose(series.functions(x, order), derivative(x), rtol=1e-4, atol=1e-5)
        series = eqx.tree_at(lambda s: s.coefficients, series, jnp.asarray(rng.normal(size=CONFIG.size)))
        np.testing.assert_allclose(series.acceleration(x), -jax.grad(series)(x), rtol=1e-4)
        for order in range(4):
            found = jnp.tensordot(series.coefficients, series.functions(x, order), 1)
            np.testing.assert_allclose(series.derivatives(x, order), found, rtol=1e-6)


def test_a_cancel_and_refusals(model, stars):
    with pytest.raises(ValueError, match=r"symmetries among .* got \['spherical'\]"):
        PotentialConfig(symmetry="spherical")
    assert PotentialConfig(symmetry="axisymmetric").symmetry == ("axisymmetric",)
    far = PotentialSeries([8.0, 0.0, 5.0], 2.0, 0.5, PotentialConfig(degree=4))
    with pytest.raises(ValueError, match="both sides of the plane"):
        tide_prior(far, 30.0, PotentialConfig(degree=4, symmetry="north-south"))
    x, v = stars
    assert score_gradients(model, x, v, on_batch=lambda done, total: False) is None
    gradients = score_gradients(model, x[:900], v[:900])
    with pytest.raises(ValueError, match=r"at least 1,000 stars"):
        fit_potential(SERIES, gradients, CONFIG)
    gradients = score_gradients(model, x[:3000], v[:3000])
    told = []
    assert fit_potential(SERIES, gradients, CONFIG, on_batch=lambda done, n: told.append(done) or done < 2048) is None
    assert told[-1] == 2048
    broken = gradients._replace(drift=np.full(3000, np.nan, np.float32))
    with pytest.raises(ValueError, match="finite gradients"):
        fit_potential(SERIES, broken, CONFIG)
    with pytest.raises(ValueError, match="Expected"):
        PotentialConfig(edge=2.0)


def test_what_float32_does_not_know_of_the_noise_counts_for_nothing(rng):
    turn, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    for last in (1e-10, -3e-8):  # sums in float32 give either
        noise = turn @ np.diag([3.0, 1.0, 0.5, 0.2, 0.1, last]) @ turn.T
        half = inverse_root(noise)
        inverse = half @ half.T
        assert half.shape == (6, 5)
        assert np.linalg.eigvalsh(inverse).min() > -1e-9
        np.testing.assert_allclose(noise @ inverse @ noise, noise, atol=1e-6)
