"""Force and dust can be told apart where velocities are not normal, and only there."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clearview.catalogs import Speed
from clearview.dynamics import fit_map, identifiability, identifiability_field
from clearview.dynamics.identifiability import LIMIT, _conditioning, readings
from clearview.dynamics.maps import MapFit
from clearview.field import Axis
from clearview.samples import load_first_map, load_sample
from clearview.units import SUN

KEY = jax.random.key(0)
PLACES = SUN.position + np.array([[0, 0, 0], [0.5, 0.3, 0.2], [-1, 0.2, -0.5]])


class Populations(eqx.Module):
    """Stars of normal velocities with dispersions per direction, turning at 220 km/s, and a second kind of them."""

    sigma: jnp.ndarray
    share: jnp.ndarray = eqx.field(converter=jnp.asarray, default=0.0)  # arrays: one compilation for all
    ratio: jnp.ndarray = eqx.field(converter=jnp.asarray, default=4.0)

    def log_f(self, x, v):
        u = v - jnp.array([0.0, -220.0, 0.0])
        kinds = [
            jnp.log(share) - 0.5 * ((u / s) ** 2).sum() - jnp.log(s).sum()
            for share, s in ((1 - self.share, self.sigma), (self.share, self.ratio * self.sigma))
        ]
        return jax.nn.logsumexp(jnp.stack(kinds)) - 3 * x[0] - x[1] ** 2 - jnp.abs(x[2])

    def sample_velocity(self, key, x, draws):
        k, kind = jax.random.split(key)
        s = jnp.where(jax.random.uniform(kind, (draws, 1)) < self.share, self.ratio, 1.0) * self.sigma
        return jnp.array([0.0, -220.0, 0.0]) + s * jax.random.normal(k, (draws, 3))


ROUND, FLAT = jnp.full(3, 40.0), jnp.array([40.0, 30.0, 18.0])


@pytest.mark.parametrize("sigma", [ROUND, FLAT])
def test_a_maxwellian_is_flagged_with_dust_and_only_with_dust(sigma):
    found = identifiability(Populations(sigma), PLACES)
    assert not found.constrained.any()
    assert (found.inflation > 1e3).all()
    assert (found.condition > 1e3).all()
    free = identifiability(Populations(sigma), PLACES, dust=False)
    assert free.constrained[0]
    assert (free.error[1:] > 10 * free.error[0]).all()  # turning stiffly they rest nowhere but at the Sun
    assert (free.inflation == 1).all()
    np.testing.assert_allclose(free.condition, float(sigma.max() / sigma.min()), rtol=0.15)
    assert np.isfinite(free.error).all()
    assert (found.error > 100 * free.error).all()


def test_an_error_larger_than_the_force_is_flagged():
    """Far from any equilibrium the equation leaves more than the force that it gives."""
    found = identifiability(Populations(ROUND), SUN.position + np.array([[0, 0, 0], [-2.0, 3.0, 1.0]]), dust=False)
    assert found.constrained.tolist() == [True, False]


def test_a_cold_direction_leaves_the_others_behind():
    found = identifiability(Populations(jnp.array([90.0, 40.0, 5.0])), PLACES, dust=False)
    assert (found.condition_a > LIMIT).all()
    assert not found.constrained.any()


def test_a_second_population_parts_them():
    worst = [identifiability(Populations(FLAT, 0.2, r), PLACES).inflation.max() for r in (1.0, 1.3, 2.0, 4.0)]
    assert (np.diff(worst) < 0).all()
    assert worst[1] > LIMIT > worst[3]


@pytest.fixture(scope="module")
def shipped():
    return load_first_map()


def test_the_shipped_map_is_quiet(shipped, rng):
    stars, fit = shipped
    x = stars.phase_space[rng.integers(0, len(stars), 40), :3]
    found = identifiability(fit, x, draws=300)
    assert found.constrained.all()
    assert 1.2 < np.median(found.inflation) < 2.8
    size = np.linalg.norm(fit.acceleration(x), axis=1)
    assert 0.01 < np.median(found.error / size) < 0.08  # 4 %; measured on the truth: 3.4 %


def test_inflation_is_that_of_the_covariance_and_free_of_units():
    v, drift, g = readings(Populations(FLAT, 0.2), PLACES[0], KEY, 1000)
    condition, inflation, condition_a, error, a = _conditioning(v, drift, g, True)
    size = ((g / np.median(np.abs(g), axis=0)) ** 2).sum(1)
    design = np.concatenate([g, -v], 1) / np.sqrt(1 + size / np.median(size))[:, None]
    normal = design.T @ design
    raised = np.linalg.eigvals(normal[:3, :3] @ np.linalg.inv(normal)[:3, :3]).real.max()
    np.testing.assert_allclose(inflation, np.sqrt(raised), rtol=1e-6)
    singular = [np.linalg.qr(k)[0] for k in (design[:, :3], design[:, 3:])]
    np.testing.assert_allclose(condition, np.linalg.cond(np.concatenate(singular, 1)), rtol=1e-6)
    np.testing.assert_allclose(
        _conditioning(10 * v, drift, g / 10, True), [condition, inflation, condition_a, 10 * error, 10 * a], rtol=1e-6
    )


def test_wild_gradients_do_not_pretend_to_be_information():
    v, drift, g = readings(Populations(ROUND), PLACES[0], KEY, 1000)
    wild = g.copy()
    wild[:3] *= 1e3
    assert _conditioning(v, drift, wild, True)[1] > LIMIT


def test_field_flags_the_ball_and_nothing_outside(shipped):
    fit = shipped[1]
    field = identifiability_field(fit, (Axis("R", 3.9, 12.3, 4), Axis("z", -4, 4, 3)), {"phi": 0}, draws=300)
    outside = np.isnan(field.inflation.values)
    assert outside.any()
    assert not outside.all()
    assert field.constrained.dtype == bool
    assert field.constrained.values.all()
    assert field.attrs["places_not_constrained"] == 0
    assert field.error.attrs["units"] == "km2 s-2 kpc-1"
    axes = (Axis("x", 8, 8.4, 2), Axis("y", -0.2, 0.2, 2))
    assert identifiability_field(Populations(ROUND), axes, {"z": 0}, draws=1000).attrs["places_not_constrained"] == 4


def test_refusals(shipped):
    with pytest.raises(ValueError, match=r"shape \(N, 3\), got \(3,\)"):
        identifiability(Populations(ROUND), PLACES[0])
    with pytest.raises(ValueError, match="at least 50 draws"):
        identifiability(Populations(ROUND), PLACES, draws=3)
    with pytest.raises(ValueError, match="Expected a map or a density of phase space, got float"):
        identifiability(1.0, PLACES)
    unfinished = MapFit(None, None, None, 1.0, 1, "")  # type: ignore[arg-type]
    unfinished.config = shipped[1].config
    with pytest.raises(ValueError, match="Expected a trained density"):
        identifiability(unfinished, PLACES)


def test_a_map_says_where_its_stars_say_nothing(tiny_config, tiny_map):
    stars = load_sample("rave_tgas").to_galactocentric().select(Speed(max=300))
    fit = fit_map(stars, dataclasses.replace(tiny_config, radius=0.3))
    assert "% of the stars' places the velocities there do not constrain the force" in fit.message
    assert "do not constrain" not in tiny_map.message
