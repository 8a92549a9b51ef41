"""Merging lines: who may join, what it needs, and a stream that runs through two patches."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

from clearview.catalogs import Catalog, GreatCircle
from clearview.streams.lines import HoughConfig, Line, on_line, strongest_line
from clearview.streams.merge import MergeConfig, Protocluster, Protostream, Stream, merge_lines, merge_patches


@pytest.fixture(scope="module")
def patch():
    """300 stars of a smooth field, 90 of a line at 60 deg and r = 2, and their identifiers."""
    rng = np.random.default_rng(2)
    q, angle = 10 * np.sqrt(rng.uniform(size=300)), rng.uniform(0, 2 * np.pi, 300)
    s, off, t = rng.uniform(-8, 8, 90), 2 + rng.normal(0, 0.15, 90), np.deg2rad(60)
    x = np.r_[q * np.cos(angle), off * np.sin(t) + s * np.cos(t)]
    y = np.r_[q * np.sin(angle), -off * np.cos(t) + s * np.sin(t)]
    return x, y, 1000 + rng.permutation(390)


def cluster(patch, rows, scan="pm_lon", low=-8.0, pm=(-5.0, 2.0)):
    x, y, ids = patch
    return Protocluster(scan, (low, low + 6), (-1.0, 5.0), pm, ids[rows], strongest_line(x[rows], y[rows]))


def merged(patch, clusters, *args, **kwargs):
    return merge_lines(clusters, patch[0], patch[1], *args, ids=patch[2], **kwargs)


def test_independent_parts_of_a_line_are_one(patch):
    halves = np.r_[0:80, 300:345], np.r_[60:140, 330:390]
    one, other = cluster(patch, halves[0]), cluster(patch, halves[1], scan="pm_lat", pm=(-4.5, 2.5))
    found = merged(patch, [one, other], center=(10.0, 20.0))
    assert len(found) == 1
    union = np.unique(np.r_[halves[0], halves[1]])
    np.testing.assert_array_equal(found[0].stars, np.sort(patch[2][union]))  # shared stars count once
    assert found[0].line == strongest_line(patch[0][union], patch[1][union])
    assert found[0].sigma > max(one.line.sigma, other.line.sigma)
    assert {k.scan for k in found[0].clusters} == {"pm_lon", "pm_lat"}
    assert found[0].clusters[0] is max((one, other), key=lambda k: k.line.sigma)
    np.testing.assert_allclose(found[0].pm, (125 * np.array([-5, 2]) + 140 * np.array([-4.5, 2.5])) / 265)
    assert found[0].center == (10.0, 20.0)


def test_what_is_not_independent_or_moves_otherwise_stays_apart(patch):
    rows = np.r_[0:80, 300:345], np.r_[60:140, 330:390]
    one = cluster(patch, rows[0])
    for other, many in (
        (cluster(patch, rows[1]), 2),  # the same signal region
        (cluster(patch, rows[1], low=-7.0), 1),  # another
        (cluster(patch, rows[1], scan="pm_lat", pm=(-5.0, 3.01)), 2),  # more than 1 mas/yr away
        (cluster(patch, rows[1], scan="pm_lat", pm=(-5.0, 2.99)), 1),
    ):
        assert len(merged(patch, [one, other])) == many
    assert (
        len(merged(patch, [one, cluster(patch, rows[1], scan="pm_lat", pm=(-5, 4))], MergeConfig(pm_distance=3))) == 1
    )


def test_noise_does_not_join(patch):
    """The union with stars that make no line is less significant."""
    line = cluster(patch, np.r_[0:80, 300:345])
    noise = cluster(patch, np.r_[150:290], scan="pm_lat")
    found = merged(patch, [noise, line])
    assert [k.clusters for k in found] == [(line,), (noise,)]  # the strongest first
    assert found[0].line == line.line
    assert found[0].stars.dtype == np.int64


def test_what_a_member_is_independent_of_may_join(patch):
    """Two of one signal region are one through a third."""
    parts = [np.r_[0:60, 300:340], np.r_[60:120, 330:365], np.r_[120:180, 355:390]]
    clusters = [cluster(patch, parts[0]), cluster(patch, parts[1]), cluster(patch, parts[2], scan="pm_lat")]
    found = merged(patch, clusters)
    assert len(found) == 1
    assert len(found[0].clusters) == 3
    assert on_line(*(k[np.isin(patch[2], found[0].stars)] for k in patch[:2]), found[0].line).sum() >= 85


def test_merging_can_be_stopped(patch):
    rows = np.r_[0:80, 300:345], np.r_[60:140, 330:390], np.r_[200:280]
    clusters = [cluster(patch, rows[2]), cluster(patch, rows[0]), cluster(patch, rows[1], scan="pm_lat")]
    told = []
    assert len(merged(patch, clusters, on_progress=told.append)) == 2
    assert told == sorted(told)
    assert told[-1] == 1
    apart = [cluster(patch, rows[2], pm=(9, 9)), *clusters]
    assert sum(len(k.clusters) for k in merged(patch, apart, on_progress=lambda _: False)) == 4


# A stream along a great circle, and three patches on it.
POLE = (34.5987, 29.7331)
CENTERS = ((143.0, 25.0), (151.0, 33.0), (151.0, 60.0))


@pytest.fixture(scope="module")
def sky():
    """ra, dec of 3000 stars around and 400 along GD-1's circle."""
    rng = np.random.default_rng(3)
    phi1, phi2 = np.deg2rad(rng.uniform(-60, -35, 400)), np.deg2rad(rng.normal(0, 0.15, 400))
    axes = GreatCircle(POLE, zero_ra=200.0).axes()
    at = np.stack([np.cos(phi1) * np.cos(phi2), np.sin(phi1) * np.cos(phi2), np.sin(phi2)], -1) @ axes
    ra, dec = rng.uniform(120, 175, 3000), rng.uniform(10, 50, 3000)
    return np.r_[ra, np.rad2deg(np.arctan2(at[:, 1], at[:, 0])) % 360], np.r_[dec, np.rad2deg(np.arcsin(at[:, 2]))]


def protostream(sky, center, rows):
    """Of those of the stars that lie in the patch."""
    ra, dec = sky
    stars = Catalog.from_table(Table({"ra": ra * u.deg, "dec": dec * u.deg})).to_patch(center)
    x, y = stars["lon"] * np.cos(np.deg2rad(stars["lat"])), stars["lat"]
    near = SkyCoord(ra, dec, unit="deg").separation(SkyCoord(*center, unit="deg")).deg <= 10
    rows = rows[near[rows]]
    line = strongest_line(x[rows], y[rows])
    own = Protocluster("pm_lon", (-8, -2), (0, 6), (-5.0, 2.0), rows, line)
    return Protostream((own,), own.stars, line, center)


def test_a_stream_through_two_patches(sky):
    everything = np.arange(len(sky[0])), *sky
    rows = np.r_[0:300, 3000:3400]
    one, other = (protostream(sky, center, rows) for center in CENTERS[:2])
    pole = SkyCoord(*one.pole, unit="deg").separation(SkyCoord(*POLE, unit="deg")).deg
    assert min(pole, 180 - pole) < 5
    found = merge_patches([one, other], *everything)
    assert len(found) == 1
    assert found[0].sigma == pytest.approx(np.hypot(one.sigma, other.sigma))
    np.testing.assert_array_equal(found[0].stars, np.union1d(one.stars, other.stars))
    assert not found[0].edge
    # Seen in one patch by other stars, as another stream would be: half of both sets are other stars.
    apart = [
        protostream(sky, CENTERS[0], np.r_[0:600, 3000:3200]),
        protostream(sky, CENTERS[1], np.r_[600:1200, 3150:3400]),
    ]
    assert len(merge_patches(apart, *everything)) == 2
    assert len(merge_patches(apart, *everything, MergeConfig(shared=0.02))) == 1
    # A line that is turned by 10 bins is another.
    turned = Line((other.line.theta + 18) % 180, other.line.r, other.sigma, 1, 1)
    another = Protostream(other.clusters, other.stars, turned, other.center)
    assert len(merge_patches([one, another], *everything)) == 2
    assert len(merge_patches([one, another], *everything, MergeConfig(theta_bins=30, r_bins=90))) == 1
    # Two of one patch stay apart, and count once where a third holds both.
    twin = Protostream(one.clusters, one.stars, one.line, one.center)
    assert len(merge_patches([one, twin], *everything)) == 2
    three = merge_patches([one, twin, other], *everything)
    assert len(three) == 1
    assert three[0].sigma == pytest.approx(found[0].sigma)


def test_far_patches_and_nothing(sky):
    everything = np.arange(len(sky[0])), *sky
    one = protostream(sky, CENTERS[0], np.r_[0:300, 3000:3400])
    far = Protostream(one.clusters, one.stars, one.line, CENTERS[2])
    assert [type(k) for k in merge_patches([one, far], *everything)] == [Stream, Stream]
    assert merge_patches([], *everything) == []
    assert merge_lines([], [], []) == []


def test_sigma_and_edge_of_a_stream():
    lines = Line(30.9, 9.7, 3.0, 10, 4.0, True), Line(30.9, 1.1, 4.0, 10, 4.0)
    parts = tuple(Protostream((), np.arange(3), line, (ra, 0.0)) for line, ra in zip(lines, (0.0, 10.0), strict=True))
    assert Stream(parts, np.arange(3)).sigma == 5
    assert not Stream(parts, np.arange(3)).edge
    assert Stream(parts[:1], np.arange(3)).edge
    for wrong in ({"pm_distance": 0}, {"shared": 1.5}, {"theta_bins": -1}, {"r_bins": np.nan}):
        with pytest.raises(ValueError, match="Expected"):
            MergeConfig(**wrong)


def test_what_does_not_fit_is_refused(patch):
    one = cluster(patch, np.r_[0:80])
    x, y, ids = patch
    with pytest.raises(ValueError, match="one shape"):
        merge_lines([one], x, y[:-1])
    with pytest.raises(ValueError, match="got one twice"):
        merge_lines([one], x, y, ids=np.zeros_like(ids))
    with pytest.raises(ValueError, match="got others"):
        merge_lines([one], x, y)  # their identifiers start at 1000
    with pytest.raises(TypeError, match="Protocluster"):
        merge_lines([1], x, y)  # type: ignore
    alone = merged(patch, [one])
    with pytest.raises(ValueError, match="pass center"):
        merge_patches(alone, ids, x, y)
    with pytest.raises(ValueError, match="some of them"):
        merge_patches(merged(patch, [one], center=(0.0, 0.0)), ids[:5], x[:5], y[:5])
    assert HoughConfig().r_bins == 5
