"""The report before training: numbers against plain numpy, each fault seen in a sentence, real stars against papers."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table

import clearview
from clearview.catalogs import Ball, Box, Catalog, Outliers, Speed, Unique, quality
from clearview.figures import frame_of, quality_views, save_figure, show
from clearview.mocks.errors import add_errors
from clearview.units import SUN

N = 20_000


@pytest.fixture(scope="module")
def mock():
    stars = clearview.load_sample("mock_100k")
    return stars.take(np.arange(len(stars)) < N)


@pytest.fixture(scope="module")
def whole(mock):
    """The mock with errors as Gaia lists it, and RUWE."""
    stars = add_errors(mock, seed=1)
    return stars.with_columns({"ruwe": np.full(len(stars), 1.0), "source_id": np.arange(len(stars))})


def warned(report, words):
    return [w for w in report.warnings if words in w]


def test_a_good_catalogue_has_nothing_to_warn_of(whole):
    report = quality(whole)
    assert report.warnings == ()
    assert report.stars == len(whole)
    assert (report.repeated, report.missing, report.ruwe, report.sky_empty) == (0, {}, 0.0, 0.0)
    assert report.parallax_negative == 0.0
    assert 12 < report.parallax_snr.middle < 25
    assert report.reach == pytest.approx(4.3, abs=0.2)
    assert report.inside > 0.9
    assert sum(report.octants) == pytest.approx(report.inside * N, abs=2)
    assert "Nothing to be looked at" in report._repr_html_()


def test_numbers_are_numpys(whole):
    placed = whole.to_galactocentric()
    report, w = quality(whole, radius=3.0), placed.phase_space.astype(float)
    far = np.linalg.norm(w[:, :3] - SUN.position, axis=1)
    R = np.hypot(w[:, 0], w[:, 1])
    vR = (w[:, 0] * w[:, 3] + w[:, 1] * w[:, 4]) / R
    assert report.inside == pytest.approx(np.mean(far <= 3))
    assert report.dispersion[0] == pytest.approx(vR.std(), rel=1e-6)
    assert report.mean[1] == pytest.approx(-np.mean((w[:, 0] * w[:, 4] - w[:, 1] * w[:, 3]) / R), rel=1e-6)
    outer = (far > 0.8 * 3) & (far <= 3)
    assert report.distance_error == pytest.approx(
        np.median((placed["parallax_error"] / placed["parallax"])[outer]), rel=1e-3
    )
    # The error of the distance, and far below it that of the proper motion, 4.74 d sigma_mu.
    assert 1.0 < report.velocity_error < 8.0
    assert report.broadened == pytest.approx((report.velocity_error / min(report.half_width)) ** 2)


def test_errors_are_seen_where_they_hurt(mock):
    """Three times Gaia's errors at 4 kpc."""
    noisy = quality(add_errors(mock, seed=1, scale=3.0))
    assert noisy.velocity_error > 2 * quality(add_errors(mock, seed=1)).velocity_error
    assert warned(noisy, "raise the square of the least dispersion")


def test_each_fault_is_named(whole):
    n = len(whole)
    ruwe, ids, rv = np.ones(n), np.arange(n), whole["radial_velocity"].copy()
    ruwe[: n // 20], ids[:50], rv[:100] = 2.0, ids[50:100], np.nan
    bad = whole.with_columns({"ruwe": ruwe, "source_id": ids, "radial_velocity": rv * u.km / u.s})
    report = quality(bad)
    assert report.missing == {"radial_velocity": 100}
    assert report.repeated == 50 == bad.select(Unique()).report[-1].removed
    assert report.ruwe == pytest.approx(0.05)
    assert warned(report, "radial_velocity 100 of 20,000 stars have no value")
    assert warned(report, "50 stars are there already: cut them with Unique()")
    assert warned(report, "5.0% of the stars have RUWE > 1.4")
    assert len(report.warnings) == 3
    spoilt = whole["radial_velocity"].copy()
    spoilt[:300] = 2000
    assert warned(quality(whole.with_columns({"radial_velocity": spoilt * u.km / u.s})), "bad spectra?")
    negative = whole["parallax"].copy()
    negative[:200] *= -1
    assert warned(
        quality(whole.with_columns({"parallax": negative * u.mas})), "1.00% of the parallaxes are not positive"
    )


def test_a_missing_hemisphere_is_seen(mock, whole):
    south = quality(whole.select(Box(dec=(None, 0))))
    assert south.sky_empty == pytest.approx(0.45, abs=0.05)  # cells that are cut have stars
    assert warned(south, "of the sky has no star")
    half = quality(mock.select(Box(y=(0, None))))
    assert half.sky_empty == pytest.approx(0.45, abs=0.06)
    assert half.octants[0] == half.octants[1] == 0
    assert warned(half, "One octant of the ball about the Sun has 0 stars")
    assert not warned(quality(mock), "octant")


def test_a_magnitude_limit_is_seen(whole):
    """Cut at G < 12.5 the faint stars are missing at the edge; the sample as it is complete in M_G."""
    flux_limited = quality(whole.select(Box(phot_g_mean_mag=(None, 12.5))))
    assert flux_limited.g_limit == 12.5
    assert flux_limited.too_faint > 0.05
    assert warned(flux_limited, "cut with AbsoluteMagnitude(")
    assert quality(whole).too_faint < 0.05


def test_a_ball_that_is_not_filled(mock):
    near = mock.select(Ball(1.5))
    assert warned(quality(near), "99% are within 1.49 kpc; map no more than that, MapConfig(radius=1.5)")
    assert not quality(near, radius=1.5).warnings
    assert warned(quality(mock, radius=1.0), "of the stars are within 1 kpc; the others are not mapped")


def test_whatever_there_is():
    tiny = Catalog.from_table(Table({"n": np.arange(3), "name": np.array(["a", "b", "c"])}))
    report = quality(tiny)
    assert (report.stars, report.reach, report.warnings) == (3, None, ())
    with pytest.raises(ValueError, match="none to draw"):
        quality_views(report.fields)
    strip = quality(clearview.load_sample("gd1_strip"))
    assert strip.sky_empty > 0.9
    assert strip.parallax_negative == pytest.approx(0.26, abs=0.01)
    with pytest.raises(ValueError, match="radius as a number above 0, got -1"):
        quality(tiny, radius=-1)


def test_pictures(whole, tmp_path):
    report = quality(whole)
    fields = report.fields
    assert fields.sky.attrs["units"] == "deg-2"
    # Every cell of one area: the density integrates to all stars.
    mean = fields.sky.weighted(np.cos(np.deg2rad(fields.b))).mean()
    assert float(mean) * 41_253 == pytest.approx(N, rel=0.05)
    assert float(fields.magnitude.sum()) == N
    views = quality_views(fields)
    frames = {f["title"]: f for f in map(frame_of, views)}
    sky = frames["Stars on the sky"]
    assert sky["equal"]
    assert sky["x"]["reverse"]
    assert sky["x"]["label"] == "Galactic longitude [deg]"
    assert frames["Toomre diagram"]["equal"]
    assert frames["Velocities in the Galaxy"]["x"]["label"] == "velocity [km/s]"
    assert frames["Quality of parallaxes"]["x"]["label"] == "1 / parallax [kpc]"
    assert "RUWE; single stars are below 1.4" in frames
    wide, high = (int.from_bytes(show(views).png[at : at + 4], "big") for at in (16, 20))
    assert 0.5 < wide / high < 1.5  # in two columns, as it is saved
    save_figure(views, tmp_path / "quality.png")
    assert (tmp_path / "quality.png").stat().st_size > 20_000


@pytest.fixture(scope="module")
def rave():
    return clearview.load_sample("rave_tgas")


def test_real_stars_cannot_tell_the_force(rave):
    report = quality(rave)
    assert warned(report, "cannot constrain |a|")
    assert report.reach < 0.3
    assert 0.3 < report.sky_empty < 0.5  # RAVE looks south, and past the plane
    assert warned(report, "of the sky has no star")
    assert warned(report, "bad spectra?")
    assert warned(report, "no parallax_error")
    assert report.repeated == 0


def test_the_local_velocity_ellipsoid(rave):
    """Of RAVE x TGAS without bad spectra, (U, V, W) against the papers."""
    stars = rave.to_galactocentric().select(Speed(max=300), Ball(0.3))
    U, V, W = ((stars.phase_space[:, 3:] - SUN.velocity) * [-1, -1, 1]).T
    # The Sun's motion: 11.1 (+0.69 -0.75) and 7.25 (+0.37 -0.36) km/s (Schoenrich, Binney & Dehnen 2010).
    assert -np.mean(U) == pytest.approx(11.1, abs=1.0)
    assert -np.mean(W) == pytest.approx(7.25, abs=0.6)
    # Behind it by 12.24 km/s and the asymmetric drift, sigma_U^2 / 80 km/s (the same paper's Stroemberg relation).
    assert -np.mean(V) == pytest.approx(12.24 + np.std(U) ** 2 / 80, abs=12)
    # Half widths of the thin disc, which is most of them: (33 +- 4, 28 +- 2, 23 +- 2) km/s, and the ratios
    # 0.70 +- 0.13 and 0.64 +- 0.08, of intermediate and old stars of Gaia DR1 (Anguiano et al. 2018, arXiv:1710.08479).
    # Here are young ones, too, which move more slowly across the plane.
    sigma = [(np.percentile(v, 84.135) - np.percentile(v, 15.865)) / 2 for v in (U, V, W)]
    assert sigma == pytest.approx([34, 23.5, 16.5], rel=0.05)
    assert np.std(V) / np.std(U) == pytest.approx(0.70, abs=0.13)
    assert np.std(W) / np.std(U) == pytest.approx(0.64, abs=0.08)
    # A vertex deviation of some 10 deg, which the moving groups make.
    vertex = 0.5 * np.rad2deg(np.arctan2(2 * np.cov(U, V)[0, 1], U.var() - V.var()))
    assert 5 < vertex < 15
    # The robust cut finds the bad spectra that the speed limit takes, and hardly any other.
    robust = rave.to_galactocentric().select(Outliers("vx", "vy", "vz"))
    assert len(robust) == pytest.approx(len(stars), abs=60)


def test_a_patch_without_a_radial_velocity(whole):
    none = whole.with_columns({"radial_velocity": np.full(N, np.nan) * u.km / u.s})
    report = quality(none)
    assert report.missing["radial_velocity"] == N
    assert report.mean is None
    assert np.nanmax(report.fields["velocity_share"]) == 0


def test_distances_from_elsewhere_need_no_parallax(whole):
    bad = whole.with_columns({"parallax": -whole.quantity("parallax")})
    assert warned(quality(bad.with_columns({"distance": np.full(N, 1.0) * u.kpc})), "ParallaxQuality") == []
    assert quality(bad.with_columns({"distance": np.full(N, 1.0) * u.kpc})).velocity_error is None


def test_the_selection_by_radial_velocity(whole):
    """A share that falls as a logistic function of G is found, and its error covers it."""
    rng, G = np.random.default_rng(0), np.asarray(whole["phot_g_mean_mag"], float)
    chance = 1 / (1 + np.exp((G - 12.5) / 0.3))
    gone = np.where(rng.random(N) < chance, whole["radial_velocity"], np.nan) * u.km / u.s
    report = quality(whole.with_columns({"radial_velocity": gone}))
    assert report.velocity_limit == pytest.approx(12.5, abs=0.26)
    share, error = report.fields["velocity_share"], report.fields["velocity_share_error"]
    true = 1 / (1 + np.exp((share["phot_g_mean_mag"] - 12.5) / 0.3))
    counted = (np.isfinite(share) & (abs(true - 0.5) < 0.45)).values
    assert counted.sum() >= 8
    assert np.mean(abs(share - true).values[counted] < 3 * error.values[counted] + 0.02) > 0.9
    assert "Selection by radial velocity" in {view.label for view in quality_views(report.fields)}
    assert quality(whole).velocity_limit is None
    assert "velocity_share" not in quality(whole).fields
