"""What ships with the package is whole, and the shipped map is as good as a map of 100,000 stars should be."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import clearview
from clearview.catalogs import Ball, Box, Speed
from clearview.dynamics import phase_space_field
from clearview.field import Axis
from clearview.mocks import truth_of
from clearview.samples import SAMPLES
from clearview.units import SUN

DATA = Path(__file__).parents[1] / "DATA.md"


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
    only_density = dataclasses.replace(tiny_config, radius=None, potential=None)
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
    assert set(SAMPLES) == {"mock_100k", "gd1_strip", "rave_tgas", "gc_streams"}
    with pytest.raises(ValueError, match="mock_100k, gd1_strip, rave_tgas, gc_streams"):
        clearview.load_sample("gaia")
    for name in SAMPLES:
        stars = clearview.load_sample(name)
        assert stars.meta["file"]["name"] == f"{name}.parquet"
        assert "origin" not in stars.meta
        assert f"## {name}\n" in DATA.read_text()


def test_gd1_is_in_its_strip():
    """The query holds, and where the stream should be in proper motion its stars stand out in phi2."""
    stars = clearview.load_sample("gd1_strip")
    assert len(stars) == len(np.unique(stars["source_id"])) == 25_084
    assert stars["source_id"].dtype == np.int64
    assert stars["parallax"].max() < 1
    assert np.count_nonzero(stars["gd1_candidate"]) == 146
    assert np.isfinite(stars["ps1_g"]).sum() == 398
    assert np.isfinite(stars["radial_velocity"]).sum() == 190
    assert stars["ps1_g"].dtype == stars["pmra"].dtype == np.float32
    assert (stars.unit("ps1_g"), stars.unit("pmra"), stars.unit("parallax")) == ("mag", "mas / yr", "mas")
    assert not any(name.startswith("phi") or "reflex" in name or name == "in_pm_cut" for name in stars.columns)
    stream = stars.to_stream("GD-1", reflex_distance=8)
    assert -55 < stream["phi1"].min() < stream["phi1"].max() < -45
    assert np.abs(stream["phi2"]).max() < 1
    box = stream.select(Box(pm_phi1=(-9, -7), pm_phi2=(-2, 1)))
    assert len(box) == 357
    counts = np.histogram(box["phi2"], np.linspace(-1, 1, 11))[0]
    assert counts[2:7].sum() > 3 * counts[[0, 1, 7, 8, 9]].sum()
    inside = stream["gd1_candidate"] & (stream["pm_phi1"] > -9) & (stream["pm_phi1"] < -7)
    assert inside.sum() > 0.9 * 146
