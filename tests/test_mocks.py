"""The mock is in equilibrium in the potential it names, and the truth is galpy's."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from clearview.mocks import POTENTIALS, Population, Truth, mock_galaxy, truth_of
from clearview.mocks.galaxy import RO, VO, _force
from clearview.units import SUN, G


@pytest.fixture(params=POTENTIALS)
def truth(request):
    return Truth(request.param)


def test_truth_is_galpys(truth, rng):
    from galpy.potential import evaluateDensities, evaluatePotentials, evaluateRforces, evaluatezforces

    x = rng.uniform(-12, 12, (50, 3))
    R, z = np.hypot(x[:, 0], x[:, 1]) / RO, x[:, 2] / RO
    a = truth.acceleration(x)
    a_R = (a[:, 0] * x[:, 0] + a[:, 1] * x[:, 1]) / np.hypot(x[:, 0], x[:, 1])
    args = dict(use_physical=False)
    np.testing.assert_allclose(
        a_R, [evaluateRforces(truth.components, *p, **args) * VO**2 / RO for p in zip(R, z, strict=True)]
    )
    np.testing.assert_allclose(
        a[:, 2], [evaluatezforces(truth.components, *p, **args) * VO**2 / RO for p in zip(R, z, strict=True)]
    )
    np.testing.assert_allclose(
        truth.potential(x), [evaluatePotentials(truth.components, *p, **args) * VO**2 for p in zip(R, z, strict=True)]
    )
    # galpy itself turns its density into Msun/pc^3, with its own value of G.
    from_galpy = [
        evaluateDensities(truth.components, *p, ro=RO, vo=VO, use_physical=True) * 1e9 for p in zip(R, z, strict=True)
    ]
    np.testing.assert_allclose(truth.density(x), from_galpy, rtol=1e-4)


def test_truth_is_consistent(truth):
    x, h = np.array([[7.5, 1.0, 0.4]]), 1e-3
    steps = h * np.eye(3)
    a = truth.acceleration(x)[0]
    slope = [(truth.potential(x + s) - truth.potential(x - s))[0] / (2 * h) for s in steps]
    np.testing.assert_allclose(a, np.negative(slope), rtol=1e-5)
    divergence = sum(
        (truth.acceleration(x + s) - truth.acceleration(x - s))[0, i] / (2 * h) for i, s in enumerate(steps)
    )
    np.testing.assert_allclose(divergence, -4 * np.pi * G * truth.density(x)[0], rtol=1e-4)


def test_orbits_feel_the_true_force(truth, rng):
    x = rng.uniform(-12, 12, (3000, 3))
    a, b = truth.acceleration(x), np.asarray(_force(truth)(jnp.asarray(x.T, jnp.float32))).T
    assert (np.linalg.norm(a - b, axis=1) / np.linalg.norm(a, axis=1)).max() < 1e-5


def test_ball_around_the_sun(mock):
    x, v = mock.phase_space[:, :3], mock.phase_space[:, 3:]
    assert len(mock) == 20_000
    assert np.linalg.norm(x - SUN.position, axis=1).max() <= 4.0001
    L_z = x[:, 0] * v[:, 1] - x[:, 1] * v[:, 0]
    assert np.median(L_z) < -1000  # the disc turns as the Sun does
    assert len(np.unique(mock.phase_space, axis=0)) == len(mock)


def residuals(catalog, acceleration, turning=0.0):
    """Mean Boltzmann residuals of test functions that vanish at the edge, over their standard errors.

    In a frame that turns with the disc, km/s/kpc.
    """
    x, v = np.split(catalog.phase_space.astype(float), 2, axis=1)
    a, h = acceleration(x), 1e-4
    turn = turning * np.array([[0, -1, 0], [1, 0, 0], [0, 0, 0]])
    x_dot, v_dot = v - x @ turn, a - v @ turn

    def taper(x):
        return np.clip(1 - ((x - SUN.position) ** 2).sum(1) / 4.0**2, 0, None) ** 2

    def radial(x, v):
        return taper(x) * (x[:, 0] * v[:, 0] + x[:, 1] * v[:, 1]) / np.hypot(x[:, 0], x[:, 1])

    def vertical(x, v):
        return taper(x) * x[:, 2] * v[:, 2]

    def high(x, v):
        return taper(x) * x[:, 2] ** 3 * v[:, 2]

    def rotation(x, v):
        return taper(x) * (x[:, 0] * v[:, 1] - x[:, 1] * v[:, 0]) * v[:, 0]

    scores = []
    for psi in (radial, vertical, high, rotation):
        rate = (psi(x + h * x_dot, v + h * v_dot) - psi(x - h * x_dot, v - h * v_dot)) / (2 * h)
        scores.append(rate.mean() / (rate.std() / np.sqrt(len(rate))))
    return np.array(scores)


def test_stationary_in_the_ball(mock):
    truth = truth_of(mock)
    assert np.abs(residuals(mock, truth.acceleration)).max() < 3.5
    # The same check sees a force that is 5% off.
    assert np.abs(residuals(mock, lambda x: 1.05 * truth.acceleration(x))).max() > 5


def test_stationary_with_a_flattened_halo():
    quick = dict(mixing_time=1000.0, sampling_time=1000.0, cache=False)
    stars = mock_galaxy(10_000, seed=6, potential="flattened_halo", **quick)
    assert np.abs(residuals(stars, truth_of(stars).acceleration)).max() < 3.5
    assert np.abs(residuals(stars, lambda x: 1.1 * truth_of(stars).acceleration(x))).max() > 5


def distances(before, after):
    """Smallest p-value that two samples of stars differ, over R, |z|, v_R, v_phi, v_z within the Sun's annulus."""

    def features(w):
        R = np.hypot(w[:, 0], w[:, 1])
        near = (R > 4) & (R < 12) & (np.abs(w[:, 2]) < 3)
        w, R = w[near], R[near]
        v_R = (w[:, 0] * w[:, 3] + w[:, 1] * w[:, 4]) / R
        v_phi = (w[:, 1] * w[:, 3] - w[:, 0] * w[:, 4]) / R
        return R, np.abs(w[:, 2]), np.abs(v_R), v_R, v_phi, np.abs(w[:, 5])

    return min(stats.ks_2samp(a, b).pvalue for a, b in zip(features(before), features(after), strict=True))


def integrate(stars, myr):
    """The stars after a time, by galpy's own integrator."""
    from astropy import units as u
    from galpy.orbit import Orbit
    from galpy.potential import MWPotential2014

    x, v = stars[:, :3].astype(float), stars[:, 3:].astype(float)
    R, phi = np.hypot(x[:, 0], x[:, 1]), np.arctan2(x[:, 1], x[:, 0])
    v_R, v_T = (x[:, 0] * v[:, 0] + x[:, 1] * v[:, 1]) / R, (x[:, 0] * v[:, 1] - x[:, 1] * v[:, 0]) / R
    orbit = Orbit(np.stack([R / RO, v_R / VO, v_T / VO, x[:, 2] / RO, v[:, 2] / VO, phi], -1), ro=RO, vo=VO)
    t = np.linspace(0, myr, 3) * u.Myr
    orbit.integrate(t, MWPotential2014, method="dop853_c", progressbar=False)
    get = dict(use_physical=True)
    return np.stack([np.asarray(getattr(orbit, n)(t[-1], **get)) for n in ("x", "y", "z", "vx", "vy", "vz")], -1)


def test_stationary_when_integrated_on():
    stars = mock_galaxy(12_000, seed=5, radius=None).phase_space
    half = len(stars) // 2
    assert distances(stars[:half], integrate(stars[half:], 137.0)) > 1e-3
    # Orbits that were not given the time to mix are told apart.
    fresh = mock_galaxy(12_000, seed=5, radius=None, mixing_time=0.0, sampling_time=20.0).phase_space
    assert distances(fresh[:half], integrate(fresh[half:], 137.0)) < 1e-6


def test_seed_and_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CLEARVIEW_CACHE", str(tmp_path))
    quick = dict(mixing_time=50.0, sampling_time=50.0)
    a, b = mock_galaxy(500, seed=1, **quick), mock_galaxy(500, seed=2, **quick)
    assert not np.array_equal(a.phase_space, b.phase_space)
    assert len(list(tmp_path.rglob("*.parquet"))) == 2
    again = mock_galaxy(500, seed=1, **quick)
    np.testing.assert_array_equal(a.phase_space, again.phase_space)
    np.testing.assert_array_equal(a.phase_space, mock_galaxy(500, seed=1, cache=False, **quick).phase_space)
    json.dumps(a.meta)
    assert again.meta["mock"]["potential"] == "MWPotential2014"


def test_other_populations_and_potential():
    cold = mock_galaxy(
        2000, populations=(Population(1.0, 3.0, 10.0, 8.0),), potential="heavier_disc", mixing_time=300.0,
        sampling_time=300.0, cache=False,
    )  # fmt: skip
    assert cold.phase_space[:, 5].std() < 20
    assert truth_of(cold).name == "heavier_disc"


def test_cancel_and_refusals():
    with pytest.raises(RuntimeError, match="cancelled"):
        mock_galaxy(10**7, mixing_time=10.0, sampling_time=10.0, on_progress=lambda f: False)
    with pytest.raises(ValueError, match="n as a whole number from 1"):
        mock_galaxy(0)
    with pytest.raises(ValueError, match="radius between"):
        mock_galaxy(10, radius=9.0)
    with pytest.raises(ValueError, match="MWPotential2014"):
        mock_galaxy(10, potential="MWPotential2041")
