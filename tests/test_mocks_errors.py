"""Measurement errors of mocks, and catalogues measured once more."""

from typing import Any

import numpy as np
import pytest
from astropy import units as u
from scipy import stats

from clearview.catalogs import Catalog, ParallaxQuality, to_sky
from clearview.catalogs.errors import MEASURED, resample
from clearview.mocks import truth_of
from clearview.mocks.errors import add_errors, parallax_error, radial_velocity_error
from clearview.units import SUN

N = 4000


@pytest.fixture(scope="module")
def stars():
    rng = np.random.default_rng(5)
    x = SUN.position + np.cbrt(rng.random((N, 1))) * 4 * _directions(rng)
    v = SUN.velocity + rng.normal(size=(N, 3)) * 40
    return Catalog.from_phase_space(x, v, meta={"mock": {"potential": "MWPotential2014"}})


def _directions(rng):
    way = rng.normal(size=(N, 3))
    return way / np.linalg.norm(way, axis=1)[:, None]


def pulls(noisy, true, name):
    return (noisy[name].astype(float) - true[name]) / noisy[f"{name}_error"]


def test_sizes_are_gaias():
    np.testing.assert_allclose(parallax_error([8, 13, 14, 15]), [0.0168, 0.0168, 0.0248, 0.0383], rtol=0.01)
    np.testing.assert_allclose(radial_velocity_error([11, 13, 14]), [0.23, 0.93, 2.33], rtol=0.02)


def test_noise_is_as_large_as_it_says(stars):
    noisy, true = add_errors(stars, seed=1), to_sky(stars)
    for name in MEASURED:
        assert stats.kstest(pulls(noisy, true, name), "norm").pvalue > 1e-3
    np.testing.assert_allclose(noisy["pmra_error"] / noisy["parallax_error"], 1.03, rtol=1e-5)
    np.testing.assert_allclose(noisy["pmdec_error"] / noisy["parallax_error"], 0.89, rtol=1e-5)
    assert np.array_equal(noisy["ra"], true["ra"])
    other = add_errors(stars, seed=2)
    assert abs(np.corrcoef(pulls(noisy, true, "parallax"), pulls(other, true, "parallax"))[0, 1]) < 0.08


def test_taken_back_as_real_stars_are(stars):
    noisy = add_errors(stars, seed=1)
    assert not noisy.has_phase_space
    assert "distance" not in noisy
    back = noisy.select(ParallaxQuality(3)).to_galactocentric()
    truth = truth_of(back)
    assert truth is not None
    assert truth.name == "MWPotential2014"
    assert back.meta["distance"] == "parallax"
    exact = add_errors(stars, scale=0).to_galactocentric()
    np.testing.assert_allclose(exact.phase_space[:, :3], stars.phase_space[:, :3], atol=2e-3)
    np.testing.assert_allclose(exact.phase_space[:, 3:], stars.phase_space[:, 3:], atol=0.1)


def test_magnitudes_are_kept_or_drawn(stars):
    drawn = add_errors(stars, seed=1)["phot_g_mean_mag"]
    far = np.linalg.norm(stars.phase_space[:, :3] - SUN.position, axis=1)
    M = drawn - 5 * np.log10(100 * far)
    assert M.max() < 0.9901
    assert np.median(M) == pytest.approx(0.47, abs=0.05)
    bright = add_errors(stars.with_columns({"phot_g_mean_mag": np.full(N, 10.0) * u.mag}))
    np.testing.assert_allclose(bright["parallax_error"], parallax_error(10.0), rtol=1e-6)
    np.testing.assert_allclose(bright["phot_g_mean_mag"], 10)


def test_measured_once_more(stars):
    noisy = add_errors(stars.with_columns({"phot_g_mean_mag": np.full(N, 12.0) * u.mag}), seed=1)
    again, lost = resample(noisy, seed=1)
    assert lost == 0
    true = to_sky(stars)
    for name in MEASURED:
        assert stats.kstest(pulls(again, noisy, name), "norm").pvalue > 1e-3
        # The same seed does not repeat the noise that is there already.
        assert abs(np.corrcoef(pulls(again, noisy, name), pulls(noisy, true, name))[0, 1]) < 0.08
    assert np.std(pulls(resample(noisy, 3, scale=0.5).catalog, noisy, "pmra")) == pytest.approx(0.5, rel=0.05)
    assert np.array_equal(resample(noisy, 1).catalog["pmra"], again["pmra"])
    assert not np.array_equal(resample(noisy, 2).catalog["pmra"], again["pmra"])


def test_phase_space_is_made_anew(stars):
    placed = add_errors(stars, seed=1).to_galactocentric()
    again = resample(placed, seed=4).catalog
    assert again.sun == placed.sun
    far = np.linalg.norm(again.phase_space[:, :3] - SUN.position, axis=1)
    np.testing.assert_allclose(1 / again["parallax"], far, rtol=1e-3)
    assert np.abs(again.phase_space[:, :3] - placed.phase_space[:, :3]).max() > 0.1


def test_correlations(stars):
    noisy = add_errors(stars, seed=1)
    wanted = {"parallax_pmra_corr": 0.6, "parallax_pmdec_corr": -0.5, "pmra_pmdec_corr": 0.2}
    noisy = noisy.with_columns({name: np.full(N, value) for name, value in wanted.items()})
    again = resample(noisy, seed=2).catalog
    found: Any = np.corrcoef([pulls(again, noisy, name) for name in MEASURED])
    np.testing.assert_allclose(found[[0, 0, 1], [1, 2, 2]], list(wanted.values()), atol=0.05)
    np.testing.assert_allclose(found.diagonal(), 1)
    assert np.abs(found[3, :3]).max() < 0.06
    assert np.std(pulls(again, noisy, "pmdec")) == pytest.approx(1, abs=0.05)
    with pytest.raises(ValueError, match="possible correlations"):
        resample(noisy.with_columns({"pmra_pmdec_corr": np.full(N, 0.9)}), 1)


def test_stars_with_no_parallax_left_are_counted(stars):
    noisy = add_errors(stars, seed=1)
    error = noisy["parallax_error"].copy()
    error[:1000] = 1.0
    again, lost = resample(noisy.with_columns({"parallax_error": error * u.mas}), seed=1)
    assert 200 < lost < 500
    assert len(again) == N - lost
    assert again.report[-1].removed == lost
    assert (again["parallax"] > 0).all()


def test_bad_input(stars):
    noisy = add_errors(stars)
    with pytest.raises(KeyError, match="parallax_error"):
        resample(to_sky(stars), 1)
    bad = noisy["pmra_error"].copy()
    bad[3] = -1
    with pytest.raises(ValueError, match=r"errors of at least 0, got 1 of 4,000"):
        resample(noisy.with_columns({"pmra_error": bad * u.mas / u.yr}), 1)
    far = noisy.with_columns({"distance": 1 / noisy["parallax"] * u.kpc}).to_galactocentric()
    with pytest.raises(ValueError, match="made from the parallax, got it from distance"):
        resample(far, 1)
    for call in (lambda: add_errors(stars, scale=-1), lambda: resample(noisy, 1, scale=np.nan)):
        with pytest.raises(ValueError, match="scale as a number of at least 0"):
            call()


FIVE = ("ra", "dec", "parallax", "pmra", "pmdec")
PAIRS = [(i, j) for i in range(5) for j in range(i + 1, 5)]


def with_covariance(catalog, correlation, error=0.1):
    """Errors of the place, too [mas], and the ten correlations of (5, 5), or of (N, 5, 5)."""
    correlation = np.broadcast_to(correlation, (len(catalog), 5, 5))
    columns = {f"{name}_error": np.full(len(catalog), error) * u.mas for name in ("ra", "dec")}
    names = {(i, j): f"{FIVE[i]}_{FIVE[j]}_corr" for i, j in PAIRS}
    return catalog.with_columns(columns | {name: correlation[:, i, j].copy() for (i, j), name in names.items()})


def draws_of(again, noisy):
    """(5, N) draws over their errors; ra along the sphere."""
    step = [(again[n] - noisy[n].astype(float)) * 3.6e6 / noisy[f"{n}_error"] for n in ("ra", "dec")]
    step[0] = ((step[0] + 1.8e9) % 3.6e9 - 1.8e9) * np.cos(np.deg2rad(noisy["dec"]))
    return np.stack([*step, *(pulls(again, noisy, name) for name in FIVE[2:])])


def test_the_full_covariance(stars, rng):
    noisy = add_errors(stars, seed=1)
    # As large as the parallax's, else positions in degrees would keep too few digits of it.
    factor = rng.normal(size=(5, 5))
    covariance = factor @ factor.T + np.eye(5)
    root = np.sqrt(covariance.diagonal())
    wanted = covariance / root / root[:, None]
    full = with_covariance(noisy, wanted.astype(np.float32), error=50.0)
    found = draws_of(resample(full, seed=3).catalog, full)
    np.testing.assert_allclose(np.cov(found), wanted, atol=6 / np.sqrt(N))
    assert np.abs(found.mean(1)).max() < 5 / np.sqrt(N)
    for k in range(5):
        assert stats.kstest(found[k], "norm").pvalue > 1e-3
    half = resample(full, seed=3, scale=0.5).catalog
    np.testing.assert_allclose(draws_of(half, full), found / 2, rtol=1e-3, atol=2e-3)
    assert half["ra"].dtype == float


def test_each_star_has_its_own_covariance(stars):
    noisy = add_errors(stars, seed=1)
    correlation = np.broadcast_to(np.eye(5), (N, 5, 5)).copy()
    correlation[: N // 2, 0, 4] = correlation[: N // 2, 4, 0] = 0.9
    full = with_covariance(noisy, correlation, error=50.0)
    found = draws_of(resample(full, seed=3).catalog, full)
    assert np.corrcoef(found[:, : N // 2])[0, 4] == pytest.approx(0.9, abs=0.02)
    assert abs(np.corrcoef(found[:, N // 2 :])[0, 4]) < 0.1


def test_places_move_without_changing_other_draws(stars):
    noisy = add_errors(stars, seed=1)
    three = {"parallax_pmra_corr": 0.6, "parallax_pmdec_corr": -0.5, "pmra_pmdec_corr": 0.2}
    noisy = noisy.with_columns({name: np.full(N, value) for name, value in three.items()})
    still = resample(noisy, seed=5).catalog
    assert np.array_equal(still["ra"], noisy["ra"])
    # What the three-by-three block alone gave, written out.
    e = np.random.default_rng([5, 0x5A3E]).standard_normal((4, N))
    b = 0.6 * e[0] + 0.8 * e[1]
    np.testing.assert_allclose(pulls(still, noisy, "parallax"), e[0], atol=2e-3)
    np.testing.assert_allclose(pulls(still, noisy, "pmra"), b, atol=5e-3)
    moving = noisy.with_columns({f"{name}_error": np.full(N, 20.0) * u.mas for name in ("ra", "dec")})
    moved = resample(moving, seed=5).catalog
    for name in MEASURED:
        np.testing.assert_array_equal(moved[name], still[name])
    assert np.std(draws_of(moved, moving)[:2], axis=1) == pytest.approx([1, 1], abs=0.05)


def test_places_at_the_pole_and_the_seam(stars):
    noisy = add_errors(stars, seed=1)
    ra, dec = np.full(N, 359.9999999), np.full(N, 89.9999999)
    dec[N // 2 :] = 0.0
    polar = noisy.with_columns({"ra": ra * u.deg, "dec": dec * u.deg})
    polar = polar.with_columns({f"{name}_error": np.full(N, 5000.0) * u.mas for name in ("ra", "dec")})
    again = resample(polar, seed=2).catalog
    assert ((again["ra"] >= 0) & (again["ra"] < 360)).all()
    assert again["dec"].max() <= 90
    off = np.deg2rad(90 - again["dec"][: N // 2]) / np.deg2rad(5 / 3600)
    assert np.mean(off**2) == pytest.approx(2, abs=0.15)  # two directions, each of one sigma


def test_rounded_correlations_pass_and_impossible_ones_do_not(stars):
    noisy = add_errors(stars, seed=1)
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(N, 5, 2))  # of rank 2: not one direction is free
    covariance = factor @ factor.transpose(0, 2, 1)
    root = np.sqrt(covariance.diagonal(axis1=1, axis2=2))
    edge = (covariance / root[:, None] / root[:, :, None]).astype(np.float32)
    resample(with_covariance(noisy, edge), seed=1)
    impossible = np.eye(5)
    for (i, j), value in {(2, 3): 1.0, (2, 4): 1.0, (3, 4): -1.0}.items():
        impossible[i, j] = impossible[j, i] = value
    for wrong in (impossible, np.where(np.eye(5) > 0, 1, -0.6), np.full((5, 5), np.nan)):
        with pytest.raises(ValueError, match=r"possible correlations of .*, got 4,000 stars without; leave them out"):
            resample(with_covariance(noisy, wrong), seed=1)


def test_columns_that_no_longer_agree_are_left_out(mock):
    stars = add_errors(mock, seed=1).to_patch((150.0, 20.0))
    assert {"lon", "pm_lat"} <= set(stars.columns)
    assert not {"lon", "lat", "pm_lon", "pm_lat"} & set(resample(stars, 1).catalog.columns)
