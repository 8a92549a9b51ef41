"""The spherical flow and JFlow: symmetry, normalisation, projection, Jeans' equation, and fits of mocks."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random
from scipy.stats import special_ortho_group

from clearview.dwarfs import Anisotropy, JFlow, JFlowConfig, SphericalCNF, SphericalConfig, VelocityEllipsoid, fit_jflow
from clearview.dwarfs.smeared import _NO_VELOCITY
from clearview.flows import FitConfig
from clearview.flows.fit import optimise
from clearview.mocks import PLUMMER, dwarf_truth_of, mock_dwarf
from clearview.units import G

KEY = random.key(0)
SCALE = 0.3


def rough(model, amount=0.3):
    """The same model with weights as after training."""
    keys = iter(random.split(random.key(1), 100))

    def shaken(a):
        return a + amount * random.normal(next(keys), a.shape, a.dtype)

    return eqx.tree_at(lambda m: (m.weights, m.biases), model, replace_fn=lambda part: [shaken(a) for a in part])


def galaxy(**kind):
    return rough(SphericalCNF(SCALE, SphericalConfig(16, 2, **kind), key=KEY))


GALAXIES = {"core": {}, "cusp": {"slope": 0.8}, "learnt": {"slope": 0.5, "learn_slope": True}}


@pytest.fixture(params=GALAXIES)
def density(request):
    return galaxy(**GALAXIES[request.param])


def test_determinant_and_inverse(density):
    z = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    x = eqx.filter_jit(jax.vmap(density.from_base))(z)
    back, log_det = eqx.filter_jit(jax.vmap(lambda x: density.to_base(x)))(x)
    np.testing.assert_allclose(back, z, atol=1e-4)
    jacobian = np.asarray(eqx.filter_jit(jax.vmap(jax.jacfwd(lambda x: density.to_base(x)[0])))(x), float)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], atol=2e-3)


def test_rotations_change_nothing(density):
    rng = np.random.default_rng(2)
    with jax.enable_x64(True):
        kind = dataclasses.replace(density.config)
        wide = rough(SphericalCNF(jnp.float64(SCALE), kind, key=KEY))
        wide = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), wide)
        turn = special_ortho_group(3, seed=3).rvs()
        x = rng.normal(size=(50, 3)) * rng.uniform(1e-3, 3, (50, 1))
        a, b = wide.log_prob(jnp.asarray(x)), wide.log_prob(jnp.asarray(x @ turn.T))
        assert a.dtype == jnp.float64
        np.testing.assert_allclose(a, b, rtol=0, atol=3e-13)
        drawn, turned = (eqx.filter_jit(jax.vmap(wide.from_base))(jnp.asarray(p)) for p in (x, x @ turn.T))
        np.testing.assert_allclose(turned, drawn @ turn.T, rtol=0, atol=1e-13 * float(jnp.abs(drawn).max()))


def test_density_holds_one_star_and_its_projection_too(density):
    r = np.geomspace(1e-5, 300, 4000)
    n = np.exp(np.asarray(density.log_density(r.astype(np.float32)), float))
    assert np.trapezoid(4 * np.pi * r**3 * n, np.log(r)) == pytest.approx(1, abs=3e-3)
    R = r[::8]
    surface = np.asarray(density.surface_density(R.astype(np.float32)), float)
    assert np.trapezoid(2 * np.pi * R**2 * surface, np.log(R)) == pytest.approx(1, abs=3e-3)
    np.testing.assert_allclose(density.log_prob(jnp.array([0.0, 0.2, 0.0])), np.interp(0.2, r, np.log(n)), atol=1e-3)
    drawn = np.linalg.norm(density.sample(KEY, (4000,)), axis=1)
    inside = np.interp(np.median(drawn), r, np.cumsum(4 * np.pi * r**3 * n) * np.log(r[1] / r[0]))
    assert inside == pytest.approx(0.5, abs=0.03)


def test_projection_of_a_normal_is_one():
    density = eqx.tree_at(lambda m: m.weights, SphericalCNF(SCALE, key=KEY), replace_fn=lambda w: [0 * a for a in w])
    R = jnp.array([1e-3, 0.1, 0.3, 1.0])
    exact = np.exp(-0.5 * (R / SCALE) ** 2) / (2 * np.pi * SCALE**2)
    np.testing.assert_allclose(density.surface_density(R), exact, rtol=2e-4)


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0])
def test_slope_at_the_center(slope):
    density = galaxy(slope=slope)
    inner = density.log_density(jnp.array([1e-4, 2e-4]))
    assert float(inner[0] - inner[1]) / np.log(2) == pytest.approx(slope, abs=0.01)
    assert float(density.slope) == pytest.approx(slope)


@pytest.mark.parametrize("anisotropy", [Anisotropy(), Anisotropy(-0.5, -0.5), Anisotropy(0.0, 1.0, 0.2)])
def test_velocity_ellipsoid(anisotropy):
    motions = rough(VelocityEllipsoid(SCALE, 8.0, anisotropy, SphericalConfig(8, 1), key=KEY), 0.1)
    r = 0.35
    x = np.random.default_rng(0).normal(size=(40_000, 3))
    x *= r / np.linalg.norm(x, axis=1, keepdims=True)
    v = np.asarray(eqx.filter_jit(motions.draw)(KEY, jnp.asarray(x, jnp.float32)), float)
    along = (v * x).sum(1) / r
    across2 = ((v**2).sum(1) - along**2) / 2
    assert along.std() == pytest.approx(float(jnp.exp(eqx.filter_jit(motions.log_sigma)(jnp.float32(r)))), rel=0.02)
    assert 1 - across2.mean() / along.var() == pytest.approx(float(anisotropy.beta(r)), abs=0.03)


def plain_galaxy(**kind):
    """A normal n and one sigma: all of it is known in closed form."""
    model = JFlow(SCALE * 1.1774, 9.0, 1000, JFlowConfig(**kind), key=KEY)
    return eqx.tree_at(lambda m: (m.tracers.weights, m.motions.weights), model,
                       replace_fn=lambda w: [0 * a for a in w])  # fmt: skip


@pytest.mark.parametrize("beta", [0.0, 0.4])
def test_jeans_of_a_normal(beta):
    r = np.array([0.05, 0.2, 0.5], np.float32)
    found = plain_galaxy(beta=beta).profiles(jnp.asarray(r))
    np.testing.assert_allclose(found["mass"], 81 * r / G * ((r / SCALE) ** 2 - 2 * beta), rtol=1e-3)
    rho = 81 / (4 * np.pi * G * r**2) * (3 * (r / SCALE) ** 2 - 2 * beta)
    np.testing.assert_allclose(found["rho"], rho, rtol=1e-3, atol=1e-3 * np.abs(rho).max())
    if not beta:
        np.testing.assert_allclose(plain_galaxy().seen(jnp.asarray(r))["sigma_los"], 9.0, rtol=1e-3)


def test_smeared_likelihood():
    """With little smearing it is the likelihood, by the plain sum over kernels and by the averaged one."""
    rng = np.random.default_rng(4)
    x, y = SCALE * rng.normal(size=(2, 4000)).astype(np.float32)
    v, error = 9 * rng.normal(size=4000).astype(np.float32), np.full(4000, 1e-3, np.float32)

    @eqx.filter_jit
    def of(model, error, done):
        return model.loss(KEY, R, v, error, done=done)

    of_v = 0.5 * np.log(2 * np.pi * 81) + 0.5
    R_h, R = 1.1774 * SCALE, np.hypot(x, y)
    of_s = -np.log(R / SCALE**2 * np.hypot(R, R_h)).mean() + 1  # s = asinh(R/R_h), ds/dR = 1/(R^2 + R_h^2)^1/2
    sharp = plain_galaxy(bandwidth=(1.0, 0.05), radii=512)
    assert of(sharp, error, 1.0) == pytest.approx(of_s + of_v, abs=0.06)
    assert of(sharp, error, 0.0) > of_s + of_v + 0.3  # the bandwidth of the start
    plain = plain_galaxy(bandwidth=(0.3, 0.3), radii=1024, smearing="plain")
    wider = np.log(2 * np.pi * (SCALE**2 + (0.3 * R_h) ** 2)) + 1
    assert of(plain, error, 1.0) == pytest.approx(wider + of_v + 0.5 * np.log(1.09), abs=0.06)
    none = np.full(4000, _NO_VELOCITY, np.float32)
    assert of(plain, none, 1.0) == pytest.approx(wider, abs=0.04)
    assert of(sharp, none, 1.0) == pytest.approx(of_s, abs=0.04)


def test_an_annealed_loss_is_told_how_far_training_is():
    class Line(eqx.Module):
        a: jax.Array

    def loss(model, key, x, *, done):
        return (model.a - done) ** 2 + 0 * x.sum()

    config = FitConfig(epochs=2, min_steps=0, batch_size=32, learning_rate=1e-6, validation=0.1)
    data = (np.zeros((640, 1), np.float32),)
    history = optimise(Line(jnp.zeros(())), loss, data, config, key=KEY, annealed=True).history
    assert history["validation"].iloc[-1] == pytest.approx(1, abs=0.01)
    assert history["train"].iloc[-1] < 1
    assert history["train"].iloc[0] == pytest.approx(0, abs=1e-3)


SMALL = JFlowConfig(
    tracers=SphericalConfig(16, 1), motions=SphericalConfig(8, 1), radii=48, cosines=4, members=2,
    training=FitConfig(epochs=1, min_steps=250, batch_size=128, learning_rate=1e-2, validation=0.0, average=0.1),
)  # fmt: skip


@pytest.mark.slow
def test_fit_of_a_mock_and_its_field():
    stars = mock_dwarf(800, 5, tracer=PLUMMER, velocity_error=1.0, photometric=400)
    truth = dwarf_truth_of(stars)
    fit = fit_jflow(stars, JFlowConfig(motions=SphericalConfig(8, 1), radii=64, members=2))
    assert fit.stopped == "finished"
    assert "1,200 stars, 800 of them" in fit.message
    field = fit.field(truth.half_light_radius * np.array([0.5, 1.0, 1.7]), quantiles=(0.16, 0.5, 0.84))
    assert field["rho"].dims == ("quantile", "r")
    assert field["sigma_los"].dims == ("quantile", "R")
    assert field["rho"].units == "Msun / kpc3"
    middle = field.sel(quantile=0.5)
    np.testing.assert_allclose(middle["sigma_los"], truth.sigma_los(field["R"].values), rtol=0.15)
    np.testing.assert_allclose(middle["Sigma"], truth.surface_density(field["R"].values), rtol=0.2)
    np.testing.assert_allclose(middle["M"][1:], truth.mass(field["r"].values[1:]), rtol=0.4)
    assert (field["n"].sel(quantile=0.16) <= field["n"].sel(quantile=0.84)).all()


@pytest.mark.slow
def test_cancelled_and_resumed_is_as_undisturbed():
    stars = mock_dwarf(200, 6)
    short = dataclasses.replace(SMALL, training=dataclasses.replace(SMALL.training, min_steps=20))
    whole = fit_jflow(stars, short)
    half = fit_jflow(stars, short, on_progress=lambda p: p.step < 5)
    assert half.stopped == "cancelled"
    rest = fit_jflow(stars, resume=half)
    for a, b in zip(*(jax.tree.leaves(eqx.filter(f.model, eqx.is_array)) for f in (whole, rest)), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="got others"):
        fit_jflow(mock_dwarf(200, 7), resume=half)


def test_bad_stars_are_refused_in_a_sentence():
    with pytest.raises(ValueError, match="at least 30 stars"):
        fit_jflow(mock_dwarf(20, 0))
    with pytest.raises(TypeError, match="Catalog"):
        fit_jflow(np.zeros((100, 3)))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="JFlowConfig"):
        fit_jflow(mock_dwarf(100, 0), 3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [{"slope": 3.0}, {"learn_slope": True}, {"steps": 0}, {"core": 0.0}, {"slope": 2.5, "learn_slope": True}]
)
def test_bad_spherical_settings(wrong):
    with pytest.raises(ValueError, match="Expected"):
        SphericalConfig(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"smearing": "none"}, {"bandwidth": (0.1,)}, {"bandwidth": (0.1, 0.0)}, {"beta": 1.0}, {"radii": 2},
              {"beta": 0.2, "anisotropy_radius": 1.0}]
)  # fmt: skip
def test_bad_jflow_settings(wrong):
    with pytest.raises(ValueError, match="Expected"):
        JFlowConfig(**wrong)
    assert JFlowConfig.from_dict(SMALL.to_dict()) == SMALL
