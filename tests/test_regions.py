"""Patches, the tiling of the sky, signal regions and fiducial cuts."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

from clearview.catalogs import Catalog
from clearview.catalogs.errors import without
from clearview.mocks import mock_patch
from clearview.mocks.patch import from_patch, in_cap
from clearview.streams import CLOUDS, Fiducial, Patch, SignalRegion, drop_foreground, signal_regions, tile_sky
from clearview.streams.regions import separation

N = 3000


def field(center, radius=20.0, **more):
    """The same stars around any centre, with their true lon, lat, pm_lon, pm_lat."""
    rng = np.random.default_rng(8)
    lon, lat = in_cap(N, radius, rng)
    pm = rng.normal(0, 5, (2, N))
    ra, dec, pmra, pmdec = from_patch(center, lon, lat, *pm)
    columns = {"ra": ra * u.deg, "dec": dec * u.deg, "pmra": pmra * u.mas / u.yr, "pmdec": pmdec * u.mas / u.yr,
               "phot_g_mean_mag": rng.uniform(18, 21, N) * u.mag, "bp_rp": rng.uniform(0, 2, N) * u.mag}  # fmt: skip
    return Catalog(Table(columns | more)), np.stack([lon, lat, *pm])


@pytest.mark.parametrize("center", [(180.0, 0.0), (0.02, -40.0), (359.9, 5.0), (77.0, 90.0), (10.0, -90.0)])
def test_patches_are_the_same_everywhere(center):
    stars, true = field(center)
    patch = Patch(*center)
    inside = patch.of(stars)
    r = separation((0, 0), true[0], true[1])
    assert len(inside) == np.sum(r <= 15)
    assert 0.5 < len(inside) / N < 0.65
    for name, values in zip(("lon", "lat", "pm_lon", "pm_lat"), true, strict=True):
        np.testing.assert_allclose(inside[name], values[r <= 15], atol=1e-8)
    moved = np.abs(true[2:]).max(0)[r <= 15]
    G, color = inside["phot_g_mean_mag"], inside["bp_rp"]
    expected = (r[r <= 15] < 10) & (G < 20.2) & (color > 0.5) & (color < 1.0) & (moved >= 2)
    np.testing.assert_array_equal(Fiducial().select(inside), expected)
    assert inside.report[-1].removed == np.sum(r > 15)


def test_stars_without_a_proper_motion_are_left_out_and_counted():
    stars, _ = field((20.0, 20.0), radius=10.0)
    pmra = stars["pmra"].copy()
    pmra[:100] = np.nan
    inside = Patch(20.0, 20.0).of(stars.with_columns({"pmra": pmra * u.mas / u.yr}))
    assert len(inside) == N - 100
    assert [r.nonfinite for r in inside.report if r.removed] == [100]
    with pytest.raises(ValueError, match="at least 3,000 stars"):
        Patch(20.0, 20.0).of(stars.with_columns({"pmra": pmra * u.mas / u.yr}), fewest=3000)
    with pytest.raises(ValueError, match=r"ra, dec = 200, 20, got 0"):
        Patch(200.0, 20.0).of(stars)
    with pytest.raises(KeyError, match="pmdec"):
        Patch(20.0, 20.0).of(without(stars, ["pmdec"]))
    zone = Patch(20.0, 20.0, 5.0)
    ringed = Patch(20.0, 20.0).of(stars, without=[zone])
    assert separation((0, 0), ringed["lon"], ringed["lat"]).min() > 5


@pytest.fixture(scope="module")
def tiles():
    return tile_sky()


def test_the_tiling_covers_the_sky(tiles):
    assert 150 <= len(tiles) <= 210
    rng, n = np.random.default_rng(0), 30_000
    ra, dec = rng.uniform(0, 360, n), np.rad2deg(np.arcsin(rng.uniform(-1, 1, n)))
    b = SkyCoord(ra * u.deg, dec * u.deg).galactic.b.deg
    nearest = np.min([separation(tile.center, ra, dec) for tile in tiles], 0)
    outside = ~(CLOUDS[0].contains(ra, dec) | CLOUDS[1].contains(ra, dec))
    wanted = (np.abs(b) > 20) & outside
    assert np.mean(wanted) == pytest.approx(0.64, abs=0.02)
    assert nearest[wanted].max() < 10
    assert nearest[(np.abs(b) < 5) & outside].min() > 10
    assert {tile.radius for tile in tiles} == {15.0}
    for cloud in CLOUDS:
        assert not any(cloud.contains(*tile.center) for tile in tiles)


def test_finer_and_other_tilings():
    assert len(tile_sky(8.0, reach=5.0)) > 3 * len(tile_sky())
    caps = tile_sky(latitude=80.0, zones=())
    assert len(caps) <= 8
    with pytest.raises(ValueError, match="reach"):
        tile_sky(10.0, reach=12.0)


def test_fiducial_without_photometry():
    stars = Patch(20.0, 20.0).of(field((20.0, 20.0))[0])
    bare = without(stars, ["bp_rp"])
    with pytest.raises(ValueError, match="got none called bp_rp; name the columns, or pass missing='skip'"):
        Fiducial().select(bare)
    skipping = Fiducial(missing="skip")
    assert skipping.skipped(bare) == ("bp_rp",)
    np.testing.assert_array_equal(skipping.select(bare), Fiducial(color=(-9, 9)).select(stars))
    color = stars["bp_rp"].copy()
    color[::2] = np.nan
    assert not Fiducial().select(stars.with_columns({"bp_rp": color * u.mag}))[::2].any()
    dereddened = stars.with_columns({"phot_g_mean_mag0": stars["phot_g_mean_mag"] * u.mag, "bp_rp0": color * u.mag})
    named = Fiducial(magnitude_column="phot_g_mean_mag0", color_column="bp_rp0")
    assert not named.select(dereddened)[::2].any()
    with pytest.raises(KeyError, match="lon"):
        Fiducial().select(field((20.0, 20.0))[0])
    with pytest.raises(ValueError, match="color as"):
        Fiducial(color=(1.0, 0.5))
    with pytest.raises(ValueError, match="missing as"):
        Fiducial(missing="ignore")


def test_the_foreground_goes():
    pole = SkyCoord(l=0 * u.deg, b=90 * u.deg, frame="galactic").icrs
    parallax = np.array([1.0, 1.0, 0.4, 5.0, -5.0, np.nan])
    error = np.array([0.1, 0.3, 0.01, 0.01, 0.1, 0.1])
    table = Table({"ra": np.full(6, pole.ra.deg) * u.deg, "dec": np.full(6, pole.dec.deg) * u.deg,
                   "parallax": parallax * u.mas, "parallax_error": error * u.mas})  # fmt: skip
    left = drop_foreground(Catalog(table))
    np.testing.assert_array_equal(left["parallax"], [1.0, 0.4, -5.0, np.nan])
    assert left.report[-1].removed == 2
    # Towards the plane a distant star is low, too.
    plane = SkyCoord(l=90 * u.deg, b=10 * u.deg, frame="galactic").icrs
    table["ra"], table["dec"] = np.full(6, plane.ra.deg) * u.deg, np.full(6, plane.dec.deg) * u.deg
    assert len(drop_foreground(Catalog(table))) == 3
    with pytest.raises(KeyError, match="parallax_error"):
        drop_foreground(without(Catalog(table), ["parallax_error"]))
    with pytest.raises(ValueError, match="beyond the foreground"):
        drop_foreground(Catalog(table[3:4]))


def test_a_signal_region():
    region = SignalRegion("pm_lat", -8.0, -2.0)
    values = np.array([-9.0, -8.0, -5.0, -2.0, 4.0, np.nan, np.inf])
    np.testing.assert_array_equal(region.inside(values), [0, 1, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(region.sideband(values), [1, 0, 0, 1, 1, 0, 0])
    np.testing.assert_array_equal(region.sideband(values, reach=3.0), [1, 0, 0, 1, 0, 0, 0])
    assert (region.middle, region.other) == (-5.0, "pm_lon")
    with pytest.raises(ValueError, match="low < high"):
        SignalRegion("pm_lat", 2.0, -2.0)
    with pytest.raises(ValueError, match="scan as"):
        SignalRegion("pmra", 0.0, 6.0)


def test_signal_regions_slide():
    stars = Patch(20.0, 20.0).of(field((20.0, 20.0), radius=12.0)[0])
    values = stars["pm_lon"].copy()
    values[:50] = np.nan
    stars = stars.with_columns({"pm_lon": values * u.mas / u.yr})
    regions = signal_regions(stars, "pm_lon", fewest=100)
    low = np.array([r.low for r in regions])
    np.testing.assert_array_equal(np.diff(low), 1)
    assert all(r.high - r.low == 6 and r.low == round(r.low) for r in regions)

    def fewest(region):
        return min(region.inside(values).sum(), (values < region.low).sum(), (values >= region.high).sum())

    assert min(map(fewest, regions)) >= 100
    for beyond in (low[0] - 1, low[-1] + 1):
        assert fewest(SignalRegion("pm_lon", beyond, beyond + 6)) < 100
    finer = signal_regions(stars, "pm_lon", step=0.5, fewest=100)
    assert {r.low for r in regions} <= {r.low for r in finer}
    assert len(finer) >= 2 * len(regions) - 1
    parted = stars.with_columns({"pm_lon": (values + 60 * (values > 0)) * u.mas / u.yr})
    assert not any(-6 < r.low - 10 < 30 for r in signal_regions(parted, "pm_lon", fewest=300))  # nothing is in between
    with pytest.raises(ValueError, match="at least 6,000 stars with pm_lon"):
        signal_regions(stars, "pm_lon", fewest=2000)
    with pytest.raises(ValueError, match="either side of a window"):
        signal_regions(stars, "pm_lon", fewest=900, width=20.0)
    with pytest.raises(KeyError, match="pm_lat"):
        signal_regions(without(stars, ["pm_lat"]), "pm_lat")


def test_on_a_mock():
    patch = Patch(148.6, 24.2)
    stars = drop_foreground(patch.of(mock_patch(20_000, seed=1)))
    regions = signal_regions(stars, "pm_lat", fewest=1000)
    assert regions[0].low < -8
    assert all(region.scan == "pm_lat" for region in regions)
    assert 0.05 < np.mean(Fiducial().select(stars)) < 0.4


@pytest.mark.parametrize("where", [(0, 91), (np.nan, 0), ("a", 0)])
def test_no_patch(where):
    with pytest.raises(ValueError, match="the patch's centre"):
        Patch(*where)
