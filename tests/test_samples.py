"""What ships with the package is whole, and the shipped map is as good as a map of 100,000 stars should be."""

import dataclasses

import numpy as np
import pytest

import clearview
from clearview.catalogs import Ball, Speed
from clearview.dynamics import phase_space_field
from clearview.field import Axis
from clearview.mocks import truth_of
from clearview.samples import SAMPLES
from clearview.units import SUN


def uniform_points(rng, count=2000, reach=3.5):
    x = rng.normal(size=(count, 3))
    return SUN.position + reach * x / np.linalg.norm(x, axis=1, keepdims=True) * rng.uniform(size=(count, 1)) ** (1 / 3)


def fractional_errors(fit, truth, x):
    a, true = fit.acceleration(x), truth.acceleration(x)
    return np.linalg.norm(a - true, axis=1) / np.linalg.norm(true, axis=1)


def test_the_first_map_is_right(rng):
    catalog, fit = clearview.load_first_map()
    assert fit.complete
    assert fit.data_digest == catalog.digest()
    assert len(np.unique(catalog.phase_space, axis=0)) == 100_000
    error = fractional_errors(fit, truth_of(catalog), uniform_points(rng))
    assert np.median(error) < 0.04
    assert np.quantile(error, 0.9) < 0.08


@pytest.mark.slow
def test_training_gives_as_good_a_map(rng):
    catalog = clearview.load_sample("mock_100k")
    fit = clearview.fit_map(catalog, clearview.MapConfig(radius=4.0, seed=1))
    error = fractional_errors(fit, truth_of(catalog), uniform_points(rng))
    assert np.median(error) < 0.04
    assert np.quantile(error, 0.9) < 0.10


def test_real_stars_through_the_pipe(tiny_config):
    stars = clearview.load_sample("rave_tgas").to_galactocentric().select(Speed(max=300), Ball(radius=0.3))
    assert [r.removed for r in stars.report][-2] == 118  # mostly bad spectra
    assert truth_of(stars) is None
    only_density = dataclasses.replace(tiny_config, radius=None, potential=clearview.PotentialConfig(rounds=0))
    fit = clearview.fit_map(stars, only_density)
    assert fit.has_density
    axes = Axis("vx", -120, 100, 40, "km/s"), Axis("vy", -350, -150, 40, "km/s")
    f = phase_space_field(fit, axes, {**dict(zip("xyz", fit.center, strict=True)), "vz": 0.0}).log_f
    assert np.isfinite(f).all()
    top = f.where(f == f.max(), drop=True)
    assert abs(float(top.vx[0])) < 60  # the disc turns past the Galactic centre
    assert -260 < float(top.vy[0]) < -200
    with pytest.raises(ValueError, match="density only"):
        fit.acceleration(SUN.position[None])


def test_samples_have_their_names():
    assert set(SAMPLES) == {"mock_100k", "rave_tgas"}
    with pytest.raises(ValueError, match="mock_100k, rave_tgas"):
        clearview.load_sample("gaia")
