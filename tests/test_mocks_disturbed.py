"""The disturbed mocks hold what they say: the truth of the wave, its stars' motion in it, and a kick that winds up."""

import json
from dataclasses import asdict

import jax.numpy as jnp
import numpy as np
import pytest
from test_mocks import residuals

from clearview.catalogs import Catalog
from clearview.mocks import Spiral, Truth, lumpy_galaxy, mock_galaxy, stir, truth_of
from clearview.mocks.disturbed import _march, _turned
from clearview.mocks.galaxy import _KMS_MYR, _force
from clearview.units import SUN, G

QUICK = dict(mixing_time=1000.0, growing_time=500.0, holding_time=500.0)


@pytest.fixture(scope="module")
def lumpy():
    return lumpy_galaxy(15_000, seed=1, **QUICK)


@pytest.fixture(scope="module")
def waving():
    return lumpy_galaxy(20_000, seed=4, spiral=Spiral(amplitude=2000.0), clumped=0.0, **QUICK)


@pytest.fixture(scope="module")
def whole():
    return mock_galaxy(30_000, seed=2, radius=None, mixing_time=1000.0, sampling_time=1000.0)


def ball(rng, n, radius=4.0):
    x = rng.normal(size=(n, 3))
    return SUN.position + radius * rng.random((n, 1)) ** (1 / 3) * x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("spiral", [Spiral(), Spiral(pitch=90.0, phase=-30.0), Spiral(arms=4, pitch=15.0, height=0.2)])
def test_wave_is_consistent(spiral, rng):
    truth, x, h = Truth("flattened_halo", spiral), ball(rng, 200), 1e-3
    steps, a = h * np.eye(3), truth.acceleration(x)
    slope = np.stack([(truth.potential(x + s) - truth.potential(x - s)) / (2 * h) for s in steps], -1)
    np.testing.assert_allclose(a, -slope, atol=0.1)  # of 6000 (km/s)^2/kpc
    divergence = sum(
        (truth.acceleration(x + s) - truth.acceleration(x - s))[:, i] / (2 * h) for i, s in enumerate(steps)
    )
    np.testing.assert_allclose(-divergence / (4 * np.pi * G), truth.density(x), rtol=1e-3)


def test_wave_is_as_strong_as_said(rng):
    x, spiral = ball(rng, 20_000), Spiral()
    truth, smooth = Truth(spiral=spiral), Truth()
    a, R = truth.acceleration(x), np.hypot(x[:, 0], x[:, 1])
    a_phi, size = (a[:, 0] * x[:, 1] - a[:, 1] * x[:, 0]) / R, np.linalg.norm(a, axis=1)
    assert 0.025 < np.abs(a_phi / size).max() < 0.028
    a_R = ((a - smooth.acceleration(x))[:, :2] * x[:, :2]).sum(1) / R
    assert 0.05 < np.abs(a_R / size).max() < 0.06
    assert truth.density(x).min() > 0
    contrast = truth.density(x) / smooth.density(x)
    assert contrast.min() < 0.8
    assert contrast.max() > 1.35
    # Arms trail: further out, the trough of the potential is met further back along the rotation.
    phi = np.linspace(-np.pi / 2, np.pi / 2, 2001)
    at = [Truth(spiral=spiral).potential(np.stack([R * np.cos(phi), -R * np.sin(phi), 0 * phi], -1)) for R in (8, 9)]
    inner, outer = (np.rad2deg(phi[np.argmin(p)]) for p in at)
    assert outer < inner < spiral.phase + 5


@pytest.mark.parametrize("name", ["MWPotential2014", "heavier_disc", "flattened_halo"])
def test_fast_force_is_the_true_force(name, rng):
    truth, x = Truth(name, Spiral()), rng.uniform(-12, 12, (3000, 3))
    rows = tuple(jnp.asarray(x.T, jnp.float32))
    parts = _force(truth, fast=True)(rows), truth.spiral.evaluate(rows, xp=jnp)[1]
    a, b = truth.acceleration(x), np.sum([np.stack(p, -1) for p in parts], axis=0)
    assert (np.linalg.norm(a - b, axis=1) / np.linalg.norm(a, axis=1)).max() < 2e-4


def test_jacobis_integral_is_conserved_in_the_turning_wave(rng):
    truth = Truth(spiral=Spiral(amplitude=3000.0, phase=0.0))
    still, spiral, turning = _force(truth, fast=True), truth.spiral, truth.spiral.speed * _KMS_MYR

    def force(x, t):
        return tuple(p + q for p, q in zip(still(x), spiral.evaluate(x, turning * t, jnp)[1], strict=True))

    def jacobi(w, t):
        E = 0.5 * (w[:, 3:] ** 2).sum(1) + truth.potential(_turned(w, -turning * t)[:, :3])
        return E + spiral.speed * (w[:, 0] * w[:, 4] - w[:, 1] * w[:, 3])  # L_z < 0 along the rotation

    start = np.column_stack([ball(rng, 200), rng.normal([0, -220, 0], 30, (200, 3))])
    x, v, t = _march(force, *(tuple(jnp.asarray(p.T, jnp.float32)) for p in np.split(start, 2, axis=1)), 1.0, 0.0, 500)
    end = np.stack([*x, *v], -1).astype(float)
    assert float(t) == 500
    energy = 0.5 * (start[:, 3:] ** 2).sum(1) + truth.potential(start[:, :3])
    gained = 0.5 * (end[:, 3:] ** 2).sum(1) + truth.potential(_turned(end, -turning * 500.0)[:, :3]) - energy
    assert np.abs(gained).max() > 2000
    assert np.abs(jacobi(end, 500.0) - jacobi(start, 0.0)).max() < 100


def test_lumpy_stars_are_in_the_ball_in_clumps(lumpy, waving):
    truth, w = truth_of(lumpy), lumpy.phase_space
    assert len(w) == len(np.unique(w, axis=0)) == 15_000
    assert np.linalg.norm(w[:, :3] - SUN.position, axis=1).max() <= 4.0001
    assert np.median(w[:, 0] * w[:, 4] - w[:, 1] * w[:, 3]) < -1000
    assert truth.spiral == Spiral()
    json.dumps(lumpy.meta)
    # Clumps: a twentieth of the stars has many neighbours within twice a clump's size; without clumps, none.
    crowded = [neighbours(q) >= 8 for q in (w, waving.phase_space)]
    assert 0.03 < crowded[0].mean() < 0.06
    assert crowded[1].mean() < 0.005


def neighbours(w):
    from scipy.spatial import cKDTree

    tree = cKDTree(w / ([0.2] * 3 + [6.0] * 3))
    return np.array([len(found) - 1 for found in tree.query_ball_point(tree.data, 2.0)])


def test_stationary_in_the_frame_of_the_wave(waving):
    truth = truth_of(waving)
    assert np.abs(residuals(waving, truth.acceleration, truth.spiral.speed)).max() < 3.5
    # The stars feel the wave, at its own angle.
    assert np.abs(residuals(waving, Truth().acceleration, truth.spiral.speed)).max() > 5


def winding(catalog):
    """Chi-square (of 16) that stars near the Sun's angular momentum have a preferred vertical phase at 8 amplitudes."""
    w = catalog.phase_space.astype(float)
    L_z = w[:, 1] * w[:, 3] - w[:, 0] * w[:, 4]
    w = w[np.abs(L_z / 1787 - 1) < 0.1]
    z, v_z = w[:, 2], w[:, 5] / 70
    ring = np.digitize(np.hypot(z, v_z), np.linspace(0.05, 1.0, 9))
    phase = np.exp(1j * np.arctan2(v_z, z))
    return sum(2 * abs(phase[ring == i].mean()) ** 2 * (ring == i).sum() for i in range(1, 9))


def test_a_kick_winds_up(whole):
    quiet, stirred = stir(whole, v_kick=0.0), stir(whole)
    assert winding(quiet) < 39  # p = 0.001
    assert winding(stirred) > 300
    assert winding(stirred) < winding(stir(whole, time=100.0))  # it mixes away
    # The kick hit what is at the Sun's place today; a kick of the far side of the Galaxy missed it.
    assert winding(stir(whole, azimuth=180.0, width=40.0)) < 100
    assert np.abs(residuals(quiet, truth_of(quiet).acceleration)).max() < 3.5
    assert truth_of(stirred).name == "MWPotential2014"
    assert stirred.meta["mock"]["stirred"]["v_kick"] == 30.0
    assert 0.3 < len(stirred) / len(whole) < 0.5
    assert len(np.unique(stirred.phase_space[:, 2])) > 0.98 * len(stirred)  # one star of each orbit
    everything = stir(whole, time=20.0, radius=None)
    assert len(everything) == len(whole)


def test_refusals():
    def of(**mock):
        return Catalog.from_phase_space(np.ones((5, 3)), np.ones((5, 3)), meta={"mock": mock})

    whole = of(potential="heavier_disc", radius=None)
    for wrong in (dict(radius=4.0), dict(radius=None, spiral=asdict(Spiral())), dict(radius=None, stirred={})):
        with pytest.raises(ValueError, match="whole mock galaxy"):
            stir(of(potential="heavier_disc", **wrong))
    with pytest.raises(ValueError, match="whole mock galaxy"):
        stir(of())
    with pytest.raises(ValueError, match="ball radius"):
        stir(whole, radius=9.0)
    with pytest.raises(ValueError, match="time_step <= time"):
        stir(whole, time=0.0)
    with pytest.raises(ValueError, match="n as a whole number from 1"):
        lumpy_galaxy(0)
    with pytest.raises(ValueError, match="ball radius"):
        lumpy_galaxy(10, radius=4.0, spiral=Spiral(arms=8))
    with pytest.raises(ValueError, match="clumped"):
        lumpy_galaxy(10, clumped=1.0)
    with pytest.raises(ValueError, match="at least one time step"):
        lumpy_galaxy(10, growing_time=0.0)
    with pytest.raises(ValueError, match="pitch"):
        Spiral(pitch=0.0)
    with pytest.raises(RuntimeError, match="cancelled"):
        lumpy_galaxy(10**6, mixing_time=2.0, growing_time=2.0, holding_time=2.0, on_progress=lambda f: False)
