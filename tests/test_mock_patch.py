"""A mock patch of the sky: what is put in is found in it, and the rest looks like Gaia."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from clearview.catalogs import Box, read_catalog
from clearview.mocks import DWARF, FIELD, GLOBULAR_CLUSTER, DustHoles, ScanStripes, StellarPopulation, mock_patch
from clearview.mocks.isochrones import ridge_line
from clearview.mocks.patch import PatchSky, from_patch, galactic_axes, in_cap, motions
from clearview.samples import load_gc_stream, load_sample
from clearview.units import SUN

CENTER = (148.6, 24.2)
POLE = (192.86, 27.13)  # where the field changes least with the place
MEASURED = ("ra", "dec", "pmra", "pmdec", "parallax")


@pytest.fixture(scope="module")
def patch():
    return mock_patch(20_000, seed=3)


def angle(stars, center=CENTER):
    lon, lat = (np.deg2rad(stars.to_patch(center)[name]) for name in ("lon", "lat"))
    return np.rad2deg(np.arccos(np.cos(lon) * np.cos(lat)))


def test_a_patch_is_whole(patch):
    assert len(patch) == 20_000
    for name in (*MEASURED, *(f"{n}_error" for n in MEASURED), "phot_g_mean_mag", "bp_rp"):
        assert np.isfinite(patch[name]).all()
    assert 14.9 < angle(patch).max() < 15.001
    assert 20.45 < patch["phot_g_mean_mag"].max() <= 20.5
    counts = patch.meta["mock"]["counts"]
    assert counts == {"field": 19_000, "stream": 0, "globular cluster": 600, "dwarf": 400}
    assert list(np.bincount(patch["origin"])) == [19_000, 0, 600, 400]
    # Cuts by row number are as good as random ones.
    assert 0.4 < np.mean(np.flatnonzero(patch["origin"] == 2) < 10_000) < 0.6


def test_seeds(patch, tmp_path):
    again, other = mock_patch(20_000, seed=3), mock_patch(20_000, seed=4)
    assert again.digest(patch.columns) == patch.digest(patch.columns)
    assert not np.isin(other["ra"], patch["ra"]).any()
    assert other.meta["mock"]["bands"] != patch.meta["mock"]["bands"]
    patch.write(tmp_path / "patch.parquet")
    back = read_catalog(tmp_path / "patch.parquet")
    assert back.digest(patch.columns) == patch.digest(patch.columns)
    assert back.meta["mock"] == patch.meta["mock"]


def test_errors_are_as_large_as_they_say(patch):
    true = mock_patch(20_000, seed=3, errors=0)  # the same stars
    for name in ("pmra", "pmdec", "parallax"):
        assert not true[f"{name}_error"].any()
        pull = (patch[name].astype(float) - true[name]) / patch[f"{name}_error"]
        assert stats.kstest(pull, "norm").pvalue > 1e-3, name
    east = (patch["ra"] - true["ra"]) * np.cos(np.deg2rad(true["dec"])) * 3.6e6 / patch["ra_error"]
    assert stats.kstest(east, "norm").pvalue > 1e-3
    G = patch["phot_g_mean_mag"]
    medians = [np.median(patch["parallax_error"][np.abs(G - at) < 0.2]) for at in (15, 18, 20)]
    np.testing.assert_allclose(medians, [0.03, 0.14, 0.6], rtol=0.2)


def test_proper_motions_are_gaias():
    """In the strip of GD-1 inside the patch, where the shipped sample has every real star with parallax < 1 mas."""
    real = load_sample("gd1_strip")
    mock = mock_patch(200_000, seed=1, smooth=True, g_limit=20.9).select(Box(parallax=(None, 1), bp_rp=(-0.75, 2)))
    mock = mock.to_stream("GD-1").select(Box(phi1=(-55, -45), phi2=(-1, 1)))
    q = [5, 16, 25, 50, 75, 84, 95]
    for name in ("pmra", "pmdec"):
        difference = np.percentile(mock[name], q) - np.percentile(real[name], q)
        assert np.abs(difference).max() < 1.5, (name, difference)
        assert np.abs(difference[2:5]).max() < 1.0, (name, difference)


def test_colours_are_those_of_old_stars():
    """Ridge line against the stream of M92, 8.5 kpc away, [Fe/H] = -2.3, E(B-V) = 0.02."""
    members = load_gc_stream("NGC_6341")
    M = members["phot_g_mean_mag"] - 5 * np.log10(850) - 2.74 * 0.02
    for at in (4.25, 4.75, 5.25):
        near = np.abs(M - at) < 0.25
        assert np.median(members["bp_rp"][near]) - 1.339 * 0.02 == pytest.approx(ridge_line(at, -2.3), abs=0.05)
    assert (np.diff(ridge_line(4.5, np.array([-2.0, -1.5, -1.0, -0.5, 0.0]))) > 0).all()


def test_stars_down_to_a_limit():
    stars, rng = StellarPopulation(spread=0, binaries=0), np.random.default_rng(1)
    M, colour = stars.draw(np.full(20_000, 6.0), rng)
    assert M.max() <= 6
    expected = stars.number_brighter(4.0) / stars.number_brighter(6.0)
    assert np.mean(M < 4) == pytest.approx(expected, abs=0.02)
    old = M > 1.5
    np.testing.assert_allclose(colour[old], ridge_line(M[old], -1.5))


def test_components_fall_off_and_turn():
    thin, *_, halo = FIELD
    at = SUN.position + np.array([[0, 0, 0], [2.6, 0, 0], [0, 0, 0.25]])
    density = thin(at) / thin(at[:1])
    assert density[1] == pytest.approx(np.exp(-1), rel=1e-2)
    assert density[2] == pytest.approx(np.exp(-0.25 / 0.25), rel=0.1)
    far = halo(np.array([[0, 30.0, 0], [0, 60.0, 0]]))
    assert far[1] / far[0] == pytest.approx(2**-halo.outer_slope)
    # A star that moves as the Sun stands still on the sky, one that stays behind is seen to go backwards.
    axes = galactic_axes((266.4, -28.9))
    np.testing.assert_allclose(motions(axes, np.zeros(1), np.zeros(1), 1.0, SUN.velocity[None]), 0, atol=1e-12)
    toward = SUN.position + axes[0] * SUN.R
    assert np.linalg.norm(toward) < 0.05  # the Galactic centre


def test_more_stars_towards_the_plane():
    stars = mock_patch(20_000, seed=0, smooth=True).to_patch(CENTER)
    ra, dec, *_ = from_patch(CENTER, *np.array([[-8.0, 8.0], [0, 0]]), np.zeros(2), np.zeros(2))
    assert ra[0] < ra[1]  # b grows with ra here
    west = np.sum(stars["lon"] < -5) / np.sum(stars["lon"] > 5)
    assert west > 1.1
    assert dec[0] == pytest.approx(dec[1])


def test_satellites_are_where_they_are_told():
    bodies = {"cluster": replace(GLOBULAR_CLUSTER, members=3000, place=(3.0, -4.0), pm=(2.0, -7.0)),
              "dwarf": replace(DWARF, members=3000, distance=80.0)}  # fmt: skip
    stars = mock_patch(8000, seed=5, **bodies, holes=None, stripes=None).to_patch(CENTER)
    told = stars.meta["mock"]
    assert told["globular cluster"]["place"] == [3.0, -4.0]
    for code, name, radius in ((2, "globular cluster", 0.08), (3, "dwarf", 0.4)):
        body = stars.take(stars["origin"] == code)
        lon, lat = told[name]["place"]
        r = np.hypot((body["lon"] - lon) * np.cos(np.deg2rad(lat)), body["lat"] - lat)
        assert np.median(r) == pytest.approx(radius, rel=0.1)
        for axis, mean in zip(("pm_lon", "pm_lat"), told[name]["pm"], strict=True):
            assert np.median(body[axis]) == pytest.approx(mean, abs=0.1)


def test_holes_and_stripes():
    holes, stripes = DustHoles(count=6, size=3.0, extinction=4.0), ScanStripes(loss=(0.6, 0.6), angle=20.0)
    plain = dict(center=POLE, cluster=None, dwarf=None)
    dusty = mock_patch(20_000, 1, **plain, holes=holes, stripes=None).to_patch(POLE)
    striped = mock_patch(40_000, 1, **plain, holes=None, stripes=stripes).to_patch(POLE)
    smooth = mock_patch(40_000, 1, center=POLE, smooth=True, holes=holes, stripes=stripes).to_patch(POLE)
    told = smooth.meta["mock"]
    assert (told["clouds"], told["bands"]) == ([], None)
    dust, bands = PatchSky(dusty.meta["mock"]), PatchSky(striped.meta["mock"])

    def share(stars, of):
        return np.mean(of(stars["lon"], stars["lat"]))

    def dense(lon, lat):
        return dust.extinction(lon, lat) > 2

    def missed(lon, lat):
        return bands.band_loss(lon, lat) > 0

    faint = Box(phot_g_mean_mag=(20.2, None))
    assert share(smooth, dense) > 0.01
    assert share(dusty, dense) < 0.6 * share(smooth, dense)
    seen, expected = share(striped.select(faint), missed), share(smooth.select(faint), missed)
    assert 0.3 < expected < 0.7
    lost = 1 - (seen / (1 - seen)) / (expected / (1 - expected))
    assert lost == pytest.approx(0.57, abs=0.08)  # the logistic onset is at 0.95 there
    bright = Box(phot_g_mean_mag=(None, 18))
    assert share(striped.select(bright), missed) == pytest.approx(expected, abs=0.03)
    # The bands run along their angle.
    t = np.deg2rad(20)
    along = bands.band_loss(np.linspace(-5, 5, 50) * np.cos(t), np.linspace(-5, 5, 50) * np.sin(t))
    assert len(set(along)) == 1


def test_the_frame_there_and_back():
    rng = np.random.default_rng(0)
    for center in (CENTER, (0.05, 3.0), (20.0, 90.0), (300.0, -89.9)):
        lon, lat = in_cap(500, 15, rng)
        pm = rng.normal(size=(2, 500))
        from astropy import units as u
        from astropy.table import Table

        from clearview.catalogs import Catalog

        ra, dec, pmra, pmdec = from_patch(center, lon, lat, *pm)
        sky = Table({"ra": ra * u.deg, "dec": dec * u.deg, "pmra": pmra * u.mas / u.yr, "pmdec": pmdec * u.mas / u.yr})
        back = Catalog(sky).to_patch(center)
        for name, true in zip(("lon", "lat", "pm_lon", "pm_lat"), (lon, lat, *pm), strict=True):
            np.testing.assert_allclose(back[name], true, atol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (dict(n=0), "n as a whole number"),
        (dict(n=500), "at least the satellites' 1,000 stars"),
        (dict(n=2000, center=(0, 91)), "center as finite"),
        (dict(n=2000, radius=0), "radius"),
        (dict(n=2000, components=()), "at least one component"),
        (dict(n=2000, seed=-1), "seed"),
    ],
)
def test_bad_patches(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        mock_patch(**arguments)


def test_bad_settings():
    with pytest.raises(TypeError, match="holes as DustHoles"):
        mock_patch(2000, holes=True)
    with pytest.raises(ValueError, match="loss as"):
        ScanStripes(loss=(0.5, 0.1))
    with pytest.raises(ValueError, match="place as two numbers"):
        replace(DWARF, place=3)
    with pytest.raises(ValueError, match="youngest"):
        StellarPopulation(youngest=5.0)
    with pytest.raises(ValueError, match="in the patch, got none"):
        mock_patch(2000, dwarf=replace(DWARF, place=(80.0, 0.0)))
