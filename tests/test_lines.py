"""Lines of stars: counts and areas by hand, significance by brute force, lines that were put in, and fields without."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord

from clearview.catalogs import Catalog, GreatCircle, to_patch
from clearview.streams.lines import (
    Footprint,
    HoughConfig,
    Line,
    clumps,
    hough,
    line_pole,
    on_line,
    pole_line,
    strongest_line,
    strongest_lines,
    window_areas,
)

FLAT = HoughConfig(theta_bins=1)
"""Windows that are plain strips."""


def disc(rng, count, radius=10.0):
    q, angle = radius * np.sqrt(rng.uniform(size=count)), rng.uniform(0, 2 * np.pi, count)
    return q * np.cos(angle), q * np.sin(angle)


def strip(rng, count, theta, r, spread=0.15, length=9.0):
    """Stars along a line, ``spread`` about it."""
    s, off, t = rng.uniform(-length, length, count), r + rng.normal(0, spread, count), np.deg2rad(theta)
    return off * np.sin(t) + s * np.cos(t), -off * np.cos(t) + s * np.sin(t)


def joined(*sets):
    return tuple(np.concatenate(k) for k in zip(*sets, strict=True))


def apart(line, theta, r):
    """Between two lines in theta and r [deg], over the seam too."""
    return min(
        (abs(line.theta - theta - 180 * k), abs(line.r - (-1) ** k * r)) for k in (-1, 0, 1)
    )  # fmt: skip


def brute(x, y, config):
    """Counts and significance written down from the definition, window by window, with areas of the strips by counting
    a fine lattice of points."""
    n_theta, n_r = config.shape
    half, bins = config.theta_bins // 2, config.r_bins

    def held(x, y, i, j):
        reach = []
        for k in range(i - half, i + half + 1):
            t = np.deg2rad((k + 0.5) * config.theta_step)
            reach.append(np.floor((x * np.sin(t) - y * np.cos(t) + config.radius) / config.r_step))
        return (np.min(reach, 0) - bins // 2 <= j) & (np.max(reach, 0) + bins // 2 >= j)

    fine = (np.arange(800) + 0.5) / 400 - 1
    gx, gy = config.radius * np.stack(np.meshgrid(fine, fine), -1)[np.hypot(*np.meshgrid(fine, fine)) <= 1].T
    counts = np.array([[held(x, y, i, j).sum() for j in range(n_r)] for i in range(n_theta)])
    areas = np.array([held(gx, gy, 0, j).mean() for j in range(n_r)])  # the same at every angle
    sigma = np.full((n_theta, n_r), np.nan)
    side, hole = config.lattice // 2, config.hole // 2
    for i in range(n_theta):
        for j in range(n_r):
            around = []
            for a in range(-side, side + 1):
                for b in range(-side, side + 1):
                    row, column = i + a * config.theta_bins, j + b * bins
                    if max(abs(a), abs(b)) <= hole or not 0 <= column < n_r:
                        continue
                    while row >= n_theta:
                        row, column = row - n_theta, n_r - 1 - column
                    while row < 0:
                        row, column = row + n_theta, n_r - 1 - column
                    if areas[column] >= 0.5 * areas[j]:
                        around.append(counts[row, column] / areas[column] * areas[j])
            if len(around) >= config.fewest:
                mean, error = np.mean(around), np.std(around) / np.sqrt(len(around))
            else:
                odds = areas[j] / (1 - areas[j])
                mean, error = odds * (len(x) - counts[i, j]), odds * np.sqrt(len(x) - counts[i, j])
            sigma[i, j] = (counts[i, j] - mean) / np.sqrt(mean + error**2 + 1)
    return counts, sigma


def test_counts_of_three_stars_by_hand():
    """In a plain strip at theta = 90.9 deg, r is nearly x: each star is in five bins of 0.2 deg around its own."""
    field = hough([0.1, 0.1, 3.3], [0.0, 0.0, 0.0], FLAT)
    row = field.counts.sel(theta=90.9, method="nearest").values
    expected = np.zeros(100, int)
    expected[48:53] += 2  # r = 0.1 is in bin 50
    expected[64:69] += 1  # r = 3.3 in bin 66
    np.testing.assert_array_equal(row, expected)
    assert (field.counts.sum("r") == 15).all()  # five windows a star, at every angle
    assert dict(field.sizes) == {"theta": 100, "r": 100}
    np.testing.assert_allclose(field.theta[[0, -1]], [0.9, 179.1])
    np.testing.assert_allclose(field.r[[0, -1]], [-9.9, 9.9])
    assert {v.attrs["units"] for v in field.coords.values()} == {"deg"}
    assert field.attrs["stars"] == 3


def test_a_turned_window_holds_a_star_once():
    """A star 10 deg out along the line passes three bins' width within a window of three angles; it counts once."""
    config = HoughConfig()
    x, y = np.array([9.99]), np.array([0.0])
    field = hough(x, y, config)
    # At 0.9 deg: r = 9.99 sin(-0.9, 0.9, 2.7 deg) = -0.157, 0.157, 0.471, which are the bins 49, 50 and 52.
    np.testing.assert_array_equal(np.flatnonzero(field.counts[0]), np.arange(47, 55))
    assert field.counts.max() == 1
    # On the other side of the seam, at 177.3, 179.1 and 180.9 deg, r = 0.471, 0.157 and -0.157.
    np.testing.assert_array_equal(field.counts[-1], field.counts[0])


def test_areas_of_strips():
    def below(c, radius=10.0):
        """Area of a disc on one side of a chord at distance c."""
        return radius**2 * np.arccos(-c / radius) + c * np.sqrt(radius**2 - c**2)

    area = window_areas(FLAT)
    low, high = np.clip(-9.9 + 0.2 * np.arange(100) - 0.5, -10, 10), np.clip(-9.9 + 0.2 * np.arange(100) + 0.5, -10, 10)
    np.testing.assert_allclose(area, below(high) - below(low), rtol=1e-4)
    assert area[50] == pytest.approx(20, rel=2e-3)  # 1 deg by the diameter
    wide = window_areas(HoughConfig())
    # A bow tie: on top of a strip of 20, 10 deg to either side of the middle, 2 tan(1.8 deg) s at s deg along it.
    assert wide[50] - area[50] == pytest.approx(2 * np.tan(np.deg2rad(1.8)) * 10**2, rel=0.02)
    np.testing.assert_allclose(wide, wide[::-1], rtol=1e-9)


@pytest.mark.parametrize("config", [
    HoughConfig(radius=2.0, theta_step=12.0, r_step=0.25, width=0.75, lattice=5, hole=3, fewest=8),
    HoughConfig(radius=1.0, theta_step=20.0, r_step=0.1, width=0.3, theta_bins=1, lattice=3, hole=1, fewest=6),
])  # fmt: skip
def test_significance_against_brute_force(config, rng):
    x, y = joined(disc(rng, 60, config.radius), strip(rng, 15, 170.0, 0.2 * config.radius, 0.05, 0.9 * config.radius))
    keep = np.hypot(x, y) <= config.radius
    x, y = x[keep], y[keep]
    counts, sigma = brute(x, y, config)
    field = hough(x, y, config)
    np.testing.assert_array_equal(field.counts, counts)
    np.testing.assert_allclose(field.significance, sigma, rtol=0.01, atol=0.01)
    best = strongest_line(x, y, config)
    assert best.sigma == float(field.significance.max())
    where = field.significance.where(field.significance == best.sigma, drop=True)
    assert (best.theta, best.r) == (pytest.approx(where.theta.item()), pytest.approx(where.r.item()))
    assert best.expected == float(field.expected.sel(theta=best.theta, r=best.r, method="nearest"))


def test_sigma_of_a_line_by_hand():
    """Windows that are empty but for the line's own leave B = e = 0, and sigma = S / sqrt(1)."""
    config = HoughConfig(theta_bins=1, theta_step=60, fewest=2, lattice=3, hole=1)
    line = hough(np.zeros(4), np.array([-3.0, -1, 1, 3]), config).sel(theta=90, r=0.1, method="nearest")
    # At 90 deg r = x = 0: its neighbours there are empty; at 30 and 150 deg r = -y cos(30 deg) = 2.6, 0.87, ...
    assert int(line.counts) == 4
    at = {k: -np.array([-3, -1, 1, 3]) * np.cos(np.deg2rad(k)) for k in (30, 150)}
    windows = [np.sum((r >= c - 0.5) & (r < c + 0.5)) for r in at.values() for c in (-0.9, 0.1, 1.1)] + [0, 0]
    size = window_areas(config)[[45, 50, 55] * 2 + [45, 55]]
    density = np.array(windows) / size * size[1]
    background, error2 = density.mean(), density.var() / 8
    assert float(line.expected) == pytest.approx(background, rel=1e-6)
    assert float(line.significance) == pytest.approx((4 - background) / np.sqrt(background + error2 + 1), rel=1e-6)


def test_lines_are_found_where_they_are():
    rng = np.random.default_rng(4)
    places = [
        *zip(rng.uniform(0, 180, 30), rng.uniform(-7, 7, 30), strict=True),
        (0.1, 3.0),
        (179.9, 3.0),
        (179.5, -5.0),
    ]
    for theta, r in places:
        x, y = joined(disc(rng, 250), strip(rng, 45, theta, r, length=7.0))
        line = strongest_line(x, y)
        d_theta, d_r = apart(line, theta, r)
        assert d_theta < 8  # so far can 14 deg of a line turn in a window of 1 deg and its bow tie
        assert d_r < 0.6
        assert line.sigma > 4.5
        assert not line.edge
        assert on_line(x, y, line).sum() == line.count
        assert on_line(x, y, line)[250:].sum() > 30


def test_the_plane_is_a_moebius_strip(rng):
    """The sky turned round by half a turn has the same lines with the other sign of r."""
    x, y = joined(disc(rng, 200), strip(rng, 40, 178.9, 2.0))
    one, other = hough(x, y), hough(-x, -y)
    np.testing.assert_array_equal(one.counts, other.counts[:, ::-1])
    # By three bins: all windows move on, and those at the seam come back at its other end.
    turn = np.deg2rad(5.4)
    turned = hough(x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn))
    moved = np.concatenate([one.significance[-3:, ::-1], one.significance[:-3]])
    assert np.mean(np.abs(turned.significance - moved) < 1e-9) > 0.95  # a star on the rim of a bin may change it


def test_noise_has_no_lines():
    rng = np.random.default_rng(5)
    for count in (100, 300, 1000):
        sigma = hough(*disc(rng, count)).significance
        assert abs(float(sigma.mean())) < 0.05
        assert 0.7 < float(sigma.std()) < 1.1
    best = [k.sigma for k in strongest_lines(disc(rng, 300) for _ in range(300))]
    assert 3 < np.median(best) < 4
    assert np.max(best) < 6.5


def test_a_narrow_field_has_no_line_of_its_own():
    """Ten by two degrees: everything lies along a line, which says nothing until the field is known."""
    rng = np.random.default_rng(6)

    def box(count):
        return rng.uniform(-5, 5, count), rng.uniform(-1, 1, count)

    field = Footprint(HoughConfig(), np.stack(box(50_000), -1))
    best = [strongest_line(*box(200), reference=field).sigma for _ in range(200)]
    assert strongest_line(*box(200)).sigma > 8
    assert np.median(best) < 4
    assert np.max(best) < 6.5
    stream = strip(rng, 40, 2.0, 0.3, 0.1, 5.0)
    line = strongest_line(*joined(box(100), stream), HoughConfig(width=0.6), reference=Footprint(
        HoughConfig(width=0.6), np.stack(box(50_000), -1)))  # fmt: skip
    assert line.sigma > np.max(best) - 1
    d_theta, d_r = apart(line, 2.0, 0.3)
    assert d_theta < 8
    assert d_r < 0.4


def test_stripes_of_a_survey_are_no_lines_to_a_footprint():
    rng = np.random.default_rng(8)

    def striped(count):
        x, y = disc(rng, 3 * count)
        keep = (np.abs(y - 2) < 0.5) | (rng.uniform(size=len(x)) < 0.4)  # scanned twice and a half as often
        return x[keep][:count], y[keep][:count]

    reference = np.stack(striped(100_000), -1)
    field = Footprint(HoughConfig(), reference)
    sets = [striped(400) for _ in range(60)]
    even, known = (np.median([k.sigma for k in strongest_lines(sets, reference=r)]) for r in (None, field))
    assert even > 5
    assert known < 4.2
    direct = strongest_line(*sets[0], reference=reference)
    assert direct == strongest_line(*sets[0], reference=field)


def test_few_reference_positions_claim_less():
    rng = np.random.default_rng(9)
    x, y = joined(disc(rng, 200), strip(rng, 40, 60, 2))
    sigma = [strongest_line(x, y, reference=np.stack(disc(rng, count), -1)).sigma for count in (100_000, 2_000)]
    even = strongest_line(x, y).sigma
    assert sigma[0] == pytest.approx(even, rel=0.05)
    assert np.nanmax(hough(x, y, reference=np.stack(disc(rng, 30), -1)).significance) < even


def test_edge_lines_are_flagged(rng):
    # Along the rim: a chord at r = 9.7 is 4.9 deg long.
    x, y = joined(disc(rng, 200), (np.full(30, 9.7), rng.uniform(-2, 2, 30)))
    line = strongest_line(x, y)
    assert line.edge
    assert abs(line.r) > 9.5
    assert apart(line, 90, 9.7)[0] < 10


def test_a_clump_is_no_line_and_a_line_is_no_clump():
    rng = np.random.default_rng(10)
    field, cluster = disc(rng, 300), rng.normal([[3.0], [-2.0]], 0.12, (2, 50))
    x, y = joined(field, cluster)
    sigma = hough(x, y).significance
    at = (3 * np.sin(np.deg2rad(sigma.theta)) + 2 * np.cos(np.deg2rad(sigma.theta))).values
    through = np.array([float(sigma[i].sel(r=at[i], method="nearest")) for i in range(100)])
    assert through.min() > 4  # a line at every angle
    masked = clumps(x, y)
    assert masked[300:].sum() >= 49
    assert masked[:300].sum() < 6
    assert strongest_line(x[~masked], y[~masked]).sigma < 5
    stream = strip(rng, 50, 40, 1.0, 0.1)
    x, y = joined(field, cluster, stream)
    masked = clumps(x, y)
    assert masked[350:].sum() <= 5
    line = strongest_line(x[~masked], y[~masked])
    d_theta, d_r = apart(line, 40, 1.0)
    assert d_theta < 6
    assert d_r < 0.6
    assert line.sigma > 6
    assert not clumps(*disc(rng, 3000)).any()
    assert not clumps([0.0], [0.0]).any()


def circle(pole, count=2000):
    """ra, dec [deg] along a great circle, by the catalogue's own frames."""
    axes = GreatCircle(pole, zero_ra=10.0).axes()
    phi = np.linspace(0, 2 * np.pi, count)
    seen = SkyCoord(*(np.cos(phi) * axes[0][:, None] + np.sin(phi) * axes[1][:, None]), representation_type="cartesian")
    return seen.spherical.lon.deg, seen.spherical.lat.deg


def in_patch(ra, dec, center):
    stars = to_patch(Catalog.from_pandas(_frame(ra, dec)), center)
    return stars["lon"] * np.cos(np.deg2rad(stars["lat"])), stars["lat"]


def _frame(ra, dec):
    import pandas as pd

    frame = pd.DataFrame({"ra": ra, "dec": dec})
    frame.attrs["units"] = {"ra": "deg", "dec": "deg"}
    return frame


def test_pole_of_a_line(rng):
    """A line through the centre is exact: its pole is 90 deg from the centre, at a position angle of 90 deg more."""
    assert line_pole((0.0, 0.0), Line(0.0, 0.0, 0, 0, 0)) == pytest.approx((0, 90))  # along the equator
    for center in ((148.6, 24.2), (10.0, -75.0), (359.5, 0.0)):
        here = SkyCoord(*center, unit="deg")
        for theta in (0.9, 45.9, 90.9, 179.1):
            pole = SkyCoord(*line_pole(center, Line(theta, 0.0, 0, 0, 0)), unit="deg")
            assert here.separation(pole).deg == pytest.approx(90, abs=1e-9)
            along = here.directional_offset_by((90 - theta) * u.deg, 5 * u.deg)
            assert along.separation(pole).deg == pytest.approx(90, abs=1e-9)
            assert here.position_angle(pole).wrap_at(180 * u.deg).deg == pytest.approx(
                ((-theta + 180) % 360) - 180, abs=1e-6)  # counter-clockwise from the line  # fmt: skip
    for _ in range(20):
        center, line = (
            (rng.uniform(0, 360), rng.uniform(-85, 85)),
            Line(rng.uniform(0, 180), rng.uniform(-9, 9), 0, 0, 0),
        )
        pole = line_pole(center, line)
        x, y = in_patch(*circle(pole, 20_000), center)
        t = np.deg2rad(line.theta)
        r = x * np.sin(t) - y * np.cos(t)
        near = np.hypot(x, y) < 10
        assert near.any()
        assert np.abs(r[near] - line.r).max() < 0.12
        theta, back = pole_line(center, pole)
        d_theta, d_r = apart(Line(theta, back, 0, 0, 0), line.theta, line.r)
        assert d_theta < 0.5
        assert d_r < 0.05


def test_gd1_in_the_frame_of_its_patch():
    """The line of GD-1's circle (Koposov et al. 2010) in a patch, and a patch beside it, have one pole."""
    published = (34.5987, 29.7331)
    for center in ((148.6, 24.2), (160.0, 40.0)):
        x, y = in_patch(*circle(published), center)
        near = np.hypot(x, y) < 10
        theta, r = pole_line(center, published)
        t = np.deg2rad(theta)
        assert np.abs(x[near] * np.sin(t) - y[near] * np.cos(t) - r).max() < 0.12
        pole = SkyCoord(*line_pole(center, Line(theta, r, 0, 0, 0)), unit="deg")
        away = pole.separation(SkyCoord(*published, unit="deg")).deg
        assert min(away, 180 - away) < 0.3
    with pytest.raises(ValueError, match="nearer to the centre"):
        pole_line((10.0, 20.0), (10.0, 20.0))


def test_what_is_no_stars_is_refused():
    with pytest.raises(ValueError, match="one shape"):
        hough([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="finite"):
        hough([1.0, np.nan], [1.0, 1.0])
    with pytest.raises(ValueError, match="Expected stars in a field within 10 deg"):
        strongest_line([20.0], [0.0])
    with pytest.raises(ValueError, match=r"\(M, 2\)"):
        hough([1.0], [1.0], reference=np.ones(5))
    with pytest.raises(ValueError, match="one of HoughConfig"):
        hough([1.0], [1.0], HoughConfig(width=0.6), reference=Footprint(HoughConfig()))
    with pytest.raises(ValueError, match="got none"):
        Footprint(HoughConfig(), np.full((5, 2), 30.0))
    with pytest.raises(ValueError, match="radius"):
        clumps([1.0], [1.0], 0.0)
    for wrong in ({"r_step": 0.3}, {"theta_step": 7.0}, {"width": 0.8}, {"theta_bins": 2}, {"hole": 7},
                  {"radius": -1.0}, {"lattice": 4}, {"width": 30.0}):  # fmt: skip
        with pytest.raises(ValueError, match="Expected"):
            HoughConfig(**wrong)
