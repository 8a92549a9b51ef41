"""Stars of a dwarf in bins: nothing is lost, dispersions are those drawn, and the two published mass formulas."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table

from clearview.catalogs import Catalog
from clearview.dwarfs.bins import bin_stars, mass_estimates
from clearview.dwarfs.bins import gaussian as likeliest
from clearview.mocks import mock_dwarf


def gaussian(n=4000, sigma=10.0, error=5.0, seed=0, mean=100.0):
    rng = np.random.default_rng(seed)
    R = 0.3 * np.sqrt(1 / rng.random(n) - 1)
    v = mean + rng.normal(0, np.hypot(sigma, error), n)
    return Catalog.from_table(Table({"R": R * u.kpc, "v_los": v * u.km / u.s,
                                     "v_los_error": np.full(n, error) * u.km / u.s}))  # fmt: skip


def test_every_star_is_counted_once():
    stars = mock_dwarf(800, seed=1, photometric=400)
    bins = bin_stars(stars)
    area = np.pi * (bins["R_high"] ** 2 - bins["R_low"] ** 2)
    counts = bins["Sigma"] * area
    assert float(counts.sum()) == pytest.approx(1200)
    np.testing.assert_allclose(bins["Sigma_error"] * area, np.sqrt(counts))
    np.testing.assert_array_equal(bins["R_low"][1:], bins["R_high"][:-1])
    assert (bins["R"] > bins["R_low"]).all()
    assert (bins["R"] < bins["R_high"]).all()
    assert bins["R_high"][-1] == stars["R"].max()
    assert bins.half == pytest.approx(np.median(stars["R"]), rel=0.02)


def test_dispersions_are_free_of_the_errors():
    bins = bin_stars(gaussian())
    low, middle, high = (bins[k].values for k in ("sigma_los_low", "sigma_los", "sigma_los_high"))
    pull = (middle - 10) / ((high - low) / 2)
    assert abs(pull.mean()) < 3 / np.sqrt(len(pull))
    assert 0.6 < pull.std() < 1.4
    assert bins.spread == pytest.approx(10, abs=3 * bins.spread_error)
    assert bins.spread_error == pytest.approx(10 / np.sqrt(2 * 4000) * 1.25, rel=0.1)
    assert bins.center == pytest.approx(100, abs=0.6)


def test_a_mean_that_is_known_stays():
    rng = np.random.default_rng(1)
    v, error = rng.normal(100, np.hypot(10, 5), 20_000), np.full(20_000, 5.0)
    free, off = likeliest(v, error), likeliest(v, error, center=103.0)
    assert free[:2] == pytest.approx((100, 10), abs=0.4)
    assert off[0] == 103
    assert off[1] == pytest.approx(np.hypot(10, 3), abs=0.3)


def test_a_weight_of_nothing_leaves_a_star_out():
    stars, few = gaussian(600, seed=1), gaussian(60, sigma=150.0, seed=2)
    both = Catalog.from_table(Table({k: np.r_[stars[k], few[k]] * stars.unit(k) for k in stars.columns}))
    weights = np.r_[np.ones(600), np.zeros(60)]
    bins = bin_stars(both, weights, foreground=True)
    assert bins.spread == pytest.approx(bin_stars(stars).spread, rel=1e-6)
    assert bins.stars == 600
    assert bin_stars(both, foreground=True).spread > 2 * bins.spread
    with pytest.raises(ValueError, match="Expected 660 weights from 0 to 1, got shape"):
        bin_stars(both, weights[:-1], foreground=True)
    with pytest.raises(ValueError, match="at least 30 stars with velocities, got 20"):
        bin_stars(stars.take(np.arange(600) < 20))


def test_masses_have_the_published_factors():
    wolf, walker = mass_estimates(0.3, 9.0, 0.9)
    assert wolf.mass == pytest.approx(930 * 81 * 300, rel=0.01)  # M_sun (km/s)^-2 pc^-1
    assert walker.mass == pytest.approx(580 * 81 * 300, rel=0.01)
    assert (wolf.radius, walker.radius) == pytest.approx((0.4, 0.3))
    assert wolf.error / wolf.mass == pytest.approx(0.2)
    with pytest.raises(ValueError, match="Expected spread"):
        mass_estimates(0.3, 0.0)


def test_chosen_targets_do_not_count():
    stars = mock_dwarf(400, seed=1, photometric=800)
    bins = bin_stars(stars, places="photometric")
    area = np.pi * (bins["R_high"] ** 2 - bins["R_low"] ** 2)
    assert float((bins["Sigma"] * area).sum()) == pytest.approx(800)
    assert bins.stars == 800
    assert bins.half == pytest.approx(np.median(stars["R"][~np.isfinite(stars["v_los"])]), rel=0.01)
    np.testing.assert_array_equal(bins["sigma_los"], bin_stars(stars)["sigma_los"])
    for places, few in (("some", stars), ("photometric", stars.take(np.isfinite(stars["v_los"])))):
        with pytest.raises(ValueError, match="Expected places"):
            bin_stars(few, places=places)
