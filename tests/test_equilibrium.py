"""A quiet Galaxy stays dark; a stirred, a lopsided and a wrongly weighed one light up."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from test_dynamics import Isothermal

from clearview.catalogs import Catalog
from clearview.dynamics import asymmetry_field, bump_functions, moment_check, residual_field, star_asymmetry
from clearview.dynamics.equilibrium import PER_GYR, Functions
from clearview.field import Axis
from clearview.mocks import Truth
from clearview.samples import load_first_map

SLICE = (Axis("R", 7, 9, 3), Axis("z", -0.6, 0.6, 2))


@pytest.fixture(scope="module")
def shipped():
    return load_first_map()


@pytest.fixture(scope="module")
def stars(shipped) -> Catalog:
    """20,000 of the shipped mock."""
    return shipped[0].take(np.arange(len(shipped[0])) < 20_000)


class Moving(Isothermal):
    """The stationary stars with a radial flow of ``rate`` km/s/kpc added."""

    rate: jnp.ndarray = eqx.field(converter=jnp.asarray, default=3.0)  # an array: one compilation for all

    def _flow(self, x):
        return self.rate * jnp.stack([x[..., 0], x[..., 1], 0 * x[..., 2]], -1)

    def log_f(self, x, v):
        return super().log_f(x, v - self._flow(x))

    def sample_velocity(self, key, x, draws):
        return super().sample_velocity(key, x, draws) + self._flow(x)


def test_residual_is_zero_in_equilibrium_and_minus_d_ln_n_dt_else():
    quiet = residual_field(Isothermal(), SLICE, {"phi": 0}, draws=1000)
    assert float(np.abs(quiet["mean"]).max()) < 1e-3
    assert float(quiet.relative.max()) < 1e-4
    stirred = residual_field(Moving(), SLICE, {"phi": 10}, draws=1000)
    R, z = np.meshgrid(SLICE[0].values, SLICE[1].values, indexing="ij")
    model, h = Moving(), 1e-2
    low, high = (np.asarray(model.potential(jnp.stack([r, 0 * r, z], -1)), float) for r in (R - h, R + h))
    # div(n u)/n = 2 rate + u d ln n/dR, ln n = (omega^2 R^2/2 - Phi)/sigma^2
    slope = (model.omega**2 * R - (high - low) / (2 * h)) / model.sigma**2
    expected = PER_GYR * model.rate * (2 + R * slope)
    off = np.abs(stirred["mean"].values - expected) / stirred.mean_std.values
    assert off.max() < 4
    assert float((np.abs(stirred["mean"]) / stirred.mean_std).max()) > 5
    assert float(stirred.relative.min()) > 0.02
    assert stirred["mean"].attrs["units"] == "Gyr-1"


def test_residual_of_several_maps_has_their_scatter_as_its_error():
    rates = (-2.0, 0.0, 2.0)
    one = [residual_field(Moving(rate=r), SLICE, {"phi": 0}, draws=1000)["mean"].values for r in rates]
    field = residual_field([Moving(rate=r) for r in rates], SLICE, {"phi": 0}, draws=1000)
    np.testing.assert_allclose(field["mean"], np.mean(one, 0), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(field.mean_std, np.std(one, 0, ddof=1) / np.sqrt(3), rtol=1e-3)
    assert field.attrs["maps"] == 3


class Lopsided:
    """The truth with a push up (upwards everywhere), and one along the rotation for y > 0."""

    def __init__(self, up=0.0, turn=0.0):
        self.up, self.turn, self.truth = up, turn, Truth()

    def acceleration(self, x):
        x = np.asarray(x, float)
        R = np.hypot(x[:, 0], x[:, 1])
        along = np.stack([x[:, 1] / R, -x[:, 0] / R, 0 * R], -1)  # of v_phi
        return self.truth.acceleration(x) + [0, 0, self.up] + self.turn * (x[:, 1:2] > 0) * along


def test_asymmetry_of_the_force_is_what_was_put_in():
    for kind in ("north-south", "azimuthal"):
        quiet = asymmetry_field(Truth(), SLICE, {"phi": 20}, kind=kind)
        assert max(float(np.abs(quiet[n]).max()) for n in ("a_R", "a_phi", "a_z")) < 0.05
    up = asymmetry_field(Lopsided(up=50.0), SLICE, {"phi": 0})
    np.testing.assert_allclose(up.a_z, 50, atol=0.05)
    assert float(np.abs(up.a_R).max()) < 0.05
    turn = asymmetry_field(Lopsided(turn=30.0), SLICE, {"phi": 20}, kind="azimuthal")
    np.testing.assert_allclose(turn.a_phi, 15, atol=0.05)
    np.testing.assert_allclose(turn.a * np.linalg.norm(Truth().acceleration([[8.0, 0, 0.3]])), 15, rtol=0.3)
    assert float(np.abs(asymmetry_field(Lopsided(turn=30.0), SLICE, {"phi": 20}).a_phi).max()) < 0.05
    several = asymmetry_field([Lopsided(up=u) for u in (40.0, 50.0, 60.0)], SLICE, {"phi": 0})
    np.testing.assert_allclose(several.a_z, 50, atol=0.05)
    np.testing.assert_allclose(several.a_z_std, 10, atol=0.05)
    with pytest.raises(ValueError, match="Expected a kind among north-south, azimuthal, got 'up'"):
        asymmetry_field(Truth(), SLICE, {"phi": 0}, kind="up")  # type: ignore[arg-type]


def test_a_map_is_compared_within_the_common_part_of_ball_and_image(shipped):
    axes = (Axis("x", 6.5, 9.5, 2), Axis("z", -4, 4, 81))
    field = asymmetry_field(shipped[1], axes, {"y": 0})
    here, there = field.log_n.values, field.log_n.values[:, ::-1]
    np.testing.assert_allclose(here, -there, atol=1e-4)
    assert np.isfinite(here).any()
    assert np.isnan(here[:, [0, -1]]).all()


def changed(stars, x=0.0, v=0.0) -> Catalog:
    return Catalog.from_phase_space(stars.phase_space[:, :3] + x, stars.phase_space[:, 3:] + v)


def test_star_asymmetry_is_dark_for_a_quiet_mock_and_lights_up_for_a_stirred_one(stars):
    north, ahead = stars.phase_space[:, 2:3] > 0, stars.phase_space[:, 1:2] > 0
    for kind in ("north-south", "azimuthal"):
        quiet = star_asymmetry(stars, kind=kind, radius=4.0)
        assert (quiet.summary.p_value > 0.01).all()
        assert quiet.summary.loc["all", "dof"] == 4 * len(quiet.table)
        pulls = quiet.table.v_R / quiet.table.v_R_error
        assert 0.5 < pulls.std() < 1.6
    bending = star_asymmetry(changed(stars, v=np.array([0, 0, 5.0])), radius=4.0)
    assert bending.summary.loc["v_z", "p_value"] < 1e-6
    assert bending.summary.loc["counts", "p_value"] > 0.01
    np.testing.assert_allclose(np.average(bending.table.v_z, weights=bending.table.v_z_error**-2.0), 10, atol=1)
    breathing = changed(stars, v=np.where(north, [0, 0, 5.0], [0, 0, -5.0]))
    assert star_asymmetry(breathing, radius=4.0).p_value > 0.01  # out of balance, yet the two sides are alike
    assert star_asymmetry(changed(stars, x=np.array([0, 0, 0.05])), radius=4.0).summary.loc["counts", "p_value"] < 1e-6
    turned = star_asymmetry(changed(stars, v=ahead * np.array([10.0, 0, 0])), kind="azimuthal", radius=4.0)
    assert turned.summary.loc["v_R", "p_value"] < 1e-6
    assert turned.summary.loc["v_z", "p_value"] > 0.01
    with pytest.raises(ValueError, match="Expected a bin with 90000 stars on each side"):
        star_asymmetry(stars, fewest=90_000)


class Scaled:
    """The truth, wrong by a factor."""

    def __init__(self, factor):
        self.factor, self.truth = factor, Truth()

    def acceleration(self, x):
        return self.factor * self.truth.acceleration(x)


def test_moments_pass_with_the_truth_and_fail_with_a_wrong_force(stars):
    true = moment_check(stars, Truth(), radius=4.0)
    assert true.p_value > 0.01
    assert 0.6 < np.sqrt((true.table.z**2).mean()) < 1.4
    assert np.isnan(true.table.percent["1 · R"])
    assert true.table.percent_error["v_R · 1"] < 1.2  # 0.36 % from 100,000 stars
    wrong = moment_check(stars, Scaled(1.05), radius=4.0)
    assert wrong.p_value < 1e-6
    # Nearly all of the force is along R here, and points inwards.
    change = wrong.table.percent["v_R · 1"] - true.table.percent["v_R · 1"]
    assert -5 / 1.05 < change < -0.93 * 5 / 1.05


def test_moments_see_stars_that_are_not_steady(stars):
    assert moment_check(changed(stars, v=np.array([0, 0, 10.0])), Truth(), radius=4.0).p_value < 1e-6


class Harmonic:
    omega, sigma = 30.0, 20.0

    def acceleration(self, x):
        return -(self.omega**2) * np.asarray(x)


def ball_functions(radius):
    def psi(x, v):
        return jnp.maximum(1 - (x @ x) / radius**2, 0.0) ** 2 * jnp.stack([v[0], v[1], x[0] * v[0], v[0] * (v @ v)])

    return Functions(("v_x", "v_y", "x v_x", "v_x v²"), psi)


def test_moments_take_the_dust_into_account_with_its_sign(rng):
    # f = exp(-E/sigma^2) seen through eps = exp(-x/2): again a Gaussian, displaced.
    width, slope = Harmonic.sigma / Harmonic.omega, -0.5
    x = width * rng.normal(size=(20_000, 3)) + [slope * width**2, 0, 0]
    seen = Catalog.from_phase_space(x, Harmonic.sigma * rng.normal(size=x.shape))
    given = dict(functions=ball_functions(2.0), radius=2.0, center=np.zeros(3))
    p = {s: moment_check(seen, Harmonic(), log_efficiency=lambda x, s=s: s * x[0], **given).p_value
         for s in (slope, 0.0, -slope)}  # fmt: skip
    assert p[slope] > 0.01
    assert max(p[0.0], p[-slope]) < 1e-6


def test_moment_refusals(shipped, stars):
    with pytest.raises(ValueError, match="not learnt from"):
        moment_check(*shipped)
    everywhere = Functions(("v_z",), lambda x, v: v[2:])
    with pytest.raises(ValueError, match="'v_z' does not"):
        moment_check(stars, Truth(), everywhere, radius=4.0)
    with pytest.raises(ValueError, match="Expected 1,000 stars or more"):
        moment_check(stars.take(np.arange(len(stars)) < 500), Truth(), radius=4.0)
    assert len(bump_functions().names) == 28
