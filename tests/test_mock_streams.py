"""Streams put into a catalogue: what was asked for is measured on their stars."""

from dataclasses import replace

import numpy as np
import pytest

from clearview.catalogs import Box
from clearview.catalogs.errors import without
from clearview.mocks import DustHoles, Stream, inject, inject_members, mock_patch, random_stream
from clearview.mocks.isochrones import ridge_line
from clearview.mocks.patch import PatchSky
from clearview.mocks.streams import track_axes_of
from clearview.samples import SAMPLES, load_gc_stream, load_sample

CENTER = (148.6, 24.2)
STREAM = Stream(4000, 35.0, 3.0, along=-2.0, width=0.3, length=12.0, curvature=0.01, pm=(-6.0, 4.0),
                pm_gradient=(0.2, -0.1), pm_dispersion=0.15, distance=8.0, distance_gradient=0.2)  # fmt: skip


@pytest.fixture(scope="module")
def patch():
    return mock_patch(20_000, seed=2, smooth=True)


@pytest.fixture(scope="module")
def exact():
    return mock_patch(5000, seed=2, smooth=True, errors=0)


def stream_of(stars, center=CENTER):
    return (stars if "lon" in stars else stars.to_patch(center)).take(stars["origin"] == 1)


def along_and_across(stars, stream):
    """phi1, phi2 in the frame of the stream, deg."""
    lon, lat = np.deg2rad(stars["lon"]), np.deg2rad(stars["lat"])
    out = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    x, y, z = stream.axes() @ out
    return np.rad2deg(np.arctan2(y, x)), np.rad2deg(np.arcsin(z))


def test_a_stream_is_as_asked_for(exact):
    stars = stream_of(inject(exact, STREAM, seed=1))
    assert len(stars) == 4000
    phi1, phi2 = along_and_across(stars, STREAM)
    slope = np.polyfit(phi1, phi2, 2)
    assert np.std(phi2 - np.polyval(slope, phi1)) == pytest.approx(0.3, rel=0.05)
    np.testing.assert_allclose(2 * slope[0], 0.01, atol=0.003)
    assert np.ptp(phi1) == pytest.approx(12.0, abs=0.1)
    for name, mean, gradient in zip(("pm_lon", "pm_lat"), STREAM.pm, STREAM.pm_gradient, strict=True):
        (m, b) = np.polyfit(phi1, stars[name], 1)
        assert (m, b) == pytest.approx((gradient, mean), abs=0.02)
        assert np.std(stars[name] - m * phi1 - b) == pytest.approx(0.15, rel=0.05)
    distance = np.polyfit(phi1, 1 / stars["parallax"].astype(float), 1)
    np.testing.assert_allclose(distance, [0.2, 8.0], rtol=1e-3)


def test_the_line_is_that_of_a_hough_transform(exact):
    """r = x sin(theta) - y cos(theta) in the flat plane, at all angles."""
    for theta in (0.0, 50.0, 90.0, 130.0, 179.0):
        stream = Stream(2000, theta, -4.0, along=1.0, length=3.0, width=0.1)
        stars = stream_of(inject(exact, stream, seed=3))
        x, y, t = stars["lon"] * np.cos(np.deg2rad(stars["lat"])), stars["lat"], np.deg2rad(theta)
        assert np.mean(x * np.sin(t) - y * np.cos(t)) == pytest.approx(-4.0, abs=0.02)
        along = x * np.cos(t) + y * np.sin(t)
        assert np.mean(along) == pytest.approx(1.0, abs=0.1)
        slope = np.polyfit(along, x * np.sin(t) - y * np.cos(t), 1)[0]
        assert slope == pytest.approx(0.0, abs=0.01)


def test_colours_of_an_old_population(exact):
    stars = stream_of(inject(exact, replace(STREAM, distance_gradient=0.0), seed=1))
    M = stars["phot_g_mean_mag"] - 5 * np.log10(800)
    turn_off = np.abs(M - 4.5) < 0.2
    assert np.median(stars["bp_rp"][turn_off]) == pytest.approx(ridge_line(4.5, -1.8), abs=0.03)
    assert stars["phot_g_mean_mag"].max() <= 20.5


def test_errors_of_the_members(patch, exact):
    still = replace(STREAM, pm_dispersion=0.0, pm_gradient=(0.0, 0.0))
    stars = stream_of(inject(patch, still, seed=4))
    pull = (stars["parallax"] - 1 / 8.0) / stars["parallax_error"]
    assert np.std(pull) == pytest.approx(1.0, abs=0.05)
    assert not stream_of(inject(exact, still, seed=4))["pmra_error"].any()
    assert not np.isin(stars["ra"], stream_of(inject(patch, still, seed=5))["ra"]).any()


@pytest.mark.parametrize("scan", ["pm_lon", "pm_lat"])
@pytest.mark.parametrize("fraction", [0.02, 0.005])
def test_random_streams_are_a_fraction_of_their_region(patch, scan, fraction):
    streams = [random_stream(patch, fraction, seed, scan=scan) for seed in range(4)]
    assert streams[0] == random_stream(patch, fraction, 0, scan=scan)
    assert len({s.angle for s in streams}) == 4
    for seed, stream in enumerate(streams):
        assert 0.2 <= stream.width <= 0.5
        assert 10 <= stream.length <= 15
        lon, lat = stream.middle
        assert np.hypot(lon, lat) < 5.1
        stars = inject(patch, stream, seed).to_patch(CENTER)
        member = stars["origin"] == 1
        pm = stars[scan] - stream.pm[scan == "pm_lat"]
        region = (np.abs(pm) < 3) | member  # a faint member may be measured outside
        assert np.sum(member) / np.sum(region) == pytest.approx(fraction, rel=0.1)


def test_random_streams_move_along_themselves(patch):
    """In the Galaxy's rest frame, so that only the Sun's reflex moves them across their track."""
    for seed in range(5):
        stream = random_stream(patch, 0.01, seed)
        stars = stream_of(inject(patch, replace(stream, members=200, width=0.0, curvature=0.0), seed))
        axes = track_axes_of(stars)
        circle = stars.to_stream(_circle(axes), reflex_distance=stream.distance)
        moving = np.median(np.abs(circle["pm_phi1"])) / np.median(np.abs(circle["pm_phi2"]))
        assert moving > 4
        assert np.median(np.abs(circle["pm_phi2"])) < 0.7


def _circle(axes):
    from clearview.catalogs import GreatCircle

    def point(v):
        return float(np.rad2deg(np.arctan2(v[1], v[0])) % 360), float(np.rad2deg(np.arcsin(v[2])))

    return GreatCircle(point(axes[2]), origin=point(axes[0]))


def test_dust_hides_members_too():
    dusty = mock_patch(5000, 0, cluster=None, dwarf=None, stripes=None, errors=0,
                       holes=DustHoles(count=40, size=4.0, extinction=1.0))  # fmt: skip
    sky = PatchSky(dusty.meta["mock"])
    stars = stream_of(inject(dusty, replace(STREAM, distance_gradient=0.0), 1))
    assert len(stars) == 4000
    dark = sky.extinction(stars["lon"], stars["lat"])
    assert np.median(dark) > 0.1
    clear = stream_of(inject(mock_patch(5000, 0, smooth=True, errors=0), replace(STREAM, distance_gradient=0.0), 1))
    assert np.median(stars["bp_rp"]) > np.median(clear["bp_rp"])
    assert np.mean(dark) < np.mean(sky.extinction(clear["lon"], clear["lat"]))


def test_dust_stays_where_it_is_in_another_frame():
    dusty = mock_patch(5000, 0, cluster=None, dwarf=None, stripes=None, errors=0,
                       holes=DustHoles(count=5, size=6.0, extinction=9.0))  # fmt: skip
    sky = PatchSky(dusty.meta["mock"])
    turned = inject(dusty.to_patch((148.6, 30.0)), Stream(5000, length=30.0, width=8.0, offset=0.0), seed=1)
    stars = stream_of(turned).to_patch(CENTER)
    assert sky.inside(stars["lon"], stars["lat"]).all()
    dark = sky.extinction(stars["lon"], stars["lat"]) > 4
    free = stream_of(inject(mock_patch(5000, 0, smooth=True).to_patch((148.6, 30.0)),
                            Stream(5000, length=30.0, width=8.0, offset=0.0), seed=1)).to_patch(CENTER)  # fmt: skip
    assert np.mean(sky.extinction(free["lon"], free["lat"]) > 4) > 0.005
    assert np.mean(dark) < 0.2 * np.mean(sky.extinction(free["lon"], free["lat"]) > 4)


def test_into_a_real_catalogue():
    real = load_sample("gd1_strip")
    with pytest.raises(ValueError, match="pass center="):
        inject(real, STREAM)
    stars = inject(real, replace(STREAM, members=50), center=CENTER)
    assert set(stars.columns) == {*real.columns, "origin"}
    assert len(stars) == len(real) + 50
    new = stars.take(stars["origin"] == 1)
    assert np.isnan(new["ps1_g"]).all()
    assert np.ma.getmaskarray(new["source_id"]).all()
    assert np.isfinite(new["parallax_error"]).all()
    old = stars.take(stars["origin"] == 0)
    assert old.digest(["ra", "pmra"]) == real.digest(["ra", "pmra"])
    assert stars.meta["injected"][0]["members"] == 50
    with pytest.raises(KeyError, match="pmra"):
        inject(without(real, ["pmra"]), STREAM, center=CENTER)


def test_columns_of_the_patch_are_made_anew(patch):
    stars = inject(patch.to_patch((150.0, 25.0)), replace(STREAM, members=50), seed=1)
    anew = stars.to_patch((150.0, 25.0))
    for name in ("lon", "lat", "pm_lon", "pm_lat"):
        np.testing.assert_allclose(stars[name], anew[name])


def test_members_of_a_real_stream_are_turned(patch):
    members = load_gc_stream("NGC_5904")
    stars = stream_of(inject_members(patch, members, place=(4.0, -3.0), angle=60.0))
    assert len(stars) == len(members) == 176
    np.testing.assert_array_equal(np.sort(stars["bp_rp"]), np.sort(members["bp_rp"]))
    np.testing.assert_array_equal(np.sort(stars["phot_g_mean_mag"]), np.sort(members["phot_g_mean_mag"]))
    before = members.to_stream(_circle(track_axes_of(members)))
    after = stars.to_stream(_circle(track_axes_of(stars)))
    for name in ("phi1", "phi2", "pm_phi1", "pm_phi2"):
        np.testing.assert_allclose(after[name], before[name], atol=1e-4)
    x, y, t = stars["lon"] * np.cos(np.deg2rad(stars["lat"])), stars["lat"], np.deg2rad(60.0)
    middle = np.abs(after["phi1"]) < 4
    slope = np.polyfit((x * np.cos(t) + y * np.sin(t))[middle], (x * np.sin(t) - y * np.cos(t))[middle], 1)[0]
    assert abs(slope) < 0.15
    along = stars["pm_lon"] * np.cos(t) + stars["pm_lat"] * np.sin(t)
    assert np.median(along) > 0
    assert np.hypot(np.median(stars["lon"]) - 4, np.median(stars["lat"]) + 3) < 1.5
    thinned = stream_of(inject_members(patch, members, angle=60.0, n=60))
    assert len(thinned) == 60
    assert np.isnan(thinned["parallax"]).all()
    with pytest.raises(ValueError, match="inside the patch"):
        inject_members(patch, members, place=(60.0, 0.0))


def test_members_as_they_are(patch):
    members = load_gc_stream("NGC_6341")
    stars = inject(patch, members)
    new = stars.take(stars["origin"] == 1)
    np.testing.assert_array_equal(new["ra"], members["ra"])
    assert "stream" not in stars


def test_the_sample_of_real_streams():
    assert "gc_streams" in SAMPLES
    everything = load_sample("gc_streams").select(Box(member_probability=(0.5, 1)))
    assert len(everything) == 5390
    assert len(set(everything["stream"].tolist())) == 10
    assert everything["source_id"].dtype == np.int64
    with pytest.raises(ValueError, match="Expected a stream among NGC_288"):
        load_gc_stream("GD-1")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (dict(members=0), "members"),
        (dict(width=-1.0), "width"),
        (dict(pm=3.0), "pm as two numbers"),
        (dict(distance=1.0, distance_gradient=0.5), "distances above 0"),
    ],
)
def test_bad_streams(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        Stream(**change)


def test_bad_arguments(patch):
    with pytest.raises(ValueError, match="pm_lon"):
        random_stream(patch, scan="pmra")
    with pytest.raises(ValueError, match="makes a star"):
        random_stream(patch, 1e-9)
    with pytest.raises(TypeError, match="a Stream or a Catalog"):
        inject(patch, "GD-1")
    with pytest.raises(ValueError, match="inside the patch"):
        inject(patch, Stream(offset=60.0))
