"""Cuts against plain numpy."""

import numpy as np
import pytest
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st

from clearview.catalogs import (
    AbsoluteMagnitude,
    ApparentMagnitude,
    Ball,
    Box,
    Catalog,
    CutReport,
    Distance,
    Finite,
    Outliers,
    ParallaxQuality,
    Positive,
    ProperMotionWindow,
    Speed,
    Unique,
    completeness_limit,
)
from clearview.units import SUN

N = 1000


@pytest.fixture(scope="module")
def stars():
    rng = np.random.default_rng(3)
    parallax = rng.normal(1, 0.7, N)
    parallax[:10], parallax[10:15] = np.nan, 0
    table = Table({
        "parallax_mas": parallax, "parallax_error_mas": rng.uniform(0.05, 0.5, N),
        "G_mag": rng.uniform(5, 16, N).astype(np.float32),
        "pmra_masyr": rng.normal(0, 5, N), "pmdec_masyr": rng.normal(0, 5, N), "n": np.arange(N),
    })  # fmt: skip
    return Catalog.from_table(table)


@pytest.fixture(scope="module")
def mock():
    rng = np.random.default_rng(4)
    return Catalog.from_phase_space(SUN.position + rng.normal(0, 2, (N, 3)), SUN.velocity + rng.normal(0, 100, (N, 3)))


def check(catalog, cut, keep, nonfinite=0):
    """The cut and its complement against a numpy mask and a number of undecided stars."""
    kept = catalog.select(cut)
    np.testing.assert_array_equal(kept[kept.columns[0]], catalog[kept.columns[0]][keep])
    assert kept.report[-1] == CutReport(cut.name, len(catalog), int(keep.sum()), nonfinite)
    out = catalog.select(~cut)
    assert out.report[-1][1:] == (len(catalog), len(catalog) - int(keep.sum()) - nonfinite, nonfinite)


def test_parallax_quality(stars):
    with np.errstate(invalid="ignore"):
        check(stars, ParallaxQuality(3), stars["parallax"] / stars["parallax_error"] >= 3, 10)


def test_absolute_magnitude(stars):
    with np.errstate(invalid="ignore", divide="ignore"):
        magnitude = stars["phot_g_mean_mag"] + 5 * np.log10(stars["parallax"] / 100)
    magnitude[~(stars["parallax"] > 0)] = np.nan
    lost = np.count_nonzero(~(stars["parallax"] > 0))
    check(stars, AbsoluteMagnitude(brighter_than=0.99), magnitude <= 0.99, lost)
    check(stars, AbsoluteMagnitude(2, fainter_than=1), (magnitude >= 1) & (magnitude <= 2), lost)


def test_absolute_magnitude_without_parallax():
    star = Catalog.from_table(Table({"G_mag": [12.0, 12.0], "distance_kpc": [1.0, 4.0]}))
    assert star.select(AbsoluteMagnitude(brighter_than=0))["distance"].tolist() == [4.0]


def test_completeness_limit():
    assert completeness_limit() == pytest.approx(0.99, abs=0.001)
    assert completeness_limit(10, 0.01) == 10
    with pytest.raises(ValueError, match=r"distance as a number above 0"):
        completeness_limit(distance=0)


def test_apparent_magnitude(stars):
    g = stars["phot_g_mean_mag"]
    check(stars, ApparentMagnitude(brighter_than=14), g <= 14)
    check(stars, ApparentMagnitude(14, fainter_than=10), (g >= 10) & (g <= 14))


def test_distance_from_parallax_and_from_phase_space(stars, mock):
    parallax = stars["parallax"]
    keep = (parallax >= 1 / 1.5) & (parallax <= 1 / 0.5)
    check(stars, Distance(max=1.5, min=0.5), keep, np.count_nonzero(~(parallax > 0)))
    check(mock, Distance(2), np.linalg.norm(mock.phase_space[:, :3] - SUN.position, axis=1) <= 2)
    far = Catalog.from_table(Table({"distance_kpc": [1.0, 3.0], "parallax_mas": [9.0, 9.0]}))
    assert far.select(Distance(2))["distance"].tolist() == [1]
    with pytest.raises(KeyError, match=r"Expected x, y, z or distance or parallax, got only n"):
        Catalog.from_table(Table({"n": [1]})).select(Distance(1))


def test_ball(mock):
    x = mock.phase_space[:, :3]
    check(mock, Ball(2), np.linalg.norm(x - SUN.position, axis=1) <= 2)
    check(mock, Ball(3, centre=(8, 1, 0)), np.linalg.norm(x - [8, 1, 0], axis=1) <= 3)


def test_the_catalogues_own_sun_is_used(mock):
    moved = mock.with_columns({}, meta={"sun": {**SUN._asdict(), "R": 6.0}})
    keep = np.linalg.norm(mock.phase_space[:, :3] - moved.sun.position, axis=1) <= 2
    check(moved, Ball(2), keep)


def test_speed(mock):
    v = mock.phase_space[:, 3:]
    check(mock, Speed(150), np.linalg.norm(v - SUN.velocity, axis=1) <= 150)
    check(mock, Speed(300, min=200, of="galaxy"), np.abs(np.linalg.norm(v, axis=1) - 250) <= 50)


def test_box_and_windows(stars, mock):
    check(mock, Box(x=(6, 10), vz=(-100, None)), (np.abs(mock["x"] - 8) <= 2) & (mock["vz"] >= -100))
    check(stars, ProperMotionWindow(pmra=(-2, 4), pmdec=(0, 6)),
          (np.abs(stars["pmra"] - 1) <= 3) & (np.abs(stars["pmdec"] - 3) <= 3))  # fmt: skip
    check(stars, Box(n=(10, 20)), (stars["n"] >= 10) & (stars["n"] <= 20))


def test_bounds_are_included():
    one = Catalog.from_table(Table({"bp_rp_mag": np.float32([0.1])}))
    assert len(one.select(Box(bp_rp=(0.1, 0.1)))) == 1


def test_finite_and_positive(stars):
    report = stars.select(Finite("parallax"), Positive("parallax")).report
    assert str(report[0]) == "non-finite parallax: 10 of 1,000 stars removed"
    left = np.count_nonzero(stars["parallax"] > 0)
    assert report[1] == ("non-positive parallax", 990, left, 0)


def test_infinities_are_counted_and_never_pass():
    table = Catalog.from_table(Table({"a": [np.inf, -np.inf, np.nan, 1.0, 2.0]}))
    kept = table.select(Box(a=(None, 1.5)))
    assert kept["a"].tolist() == [1]
    assert kept.report == (("Box(a=(-inf, 1.5))", 5, 1, 3),)
    assert str(kept.report[0]).endswith("4 of 5 stars removed, 3 of them without a finite value")


def test_composition(mock):
    x, z = mock["x"], mock["z"]
    check(mock, Box(x=(6, 9)) & Box(z=(0, 3)), (x >= 6) & (x <= 9) & (z >= 0) & (z <= 3))
    check(mock, Box(x=(6, 9)) | Box(z=(0, 3)), ((x >= 6) & (x <= 9)) | ((z >= 0) & (z <= 3)))
    check(mock, ~(Box(x=(6, 9)) | ~Box(z=(0, 3))), ~((x >= 6) & (x <= 9)) & ((z >= 0) & (z <= 3)))
    assert (Box(x=(6, 9)) & ~Box(z=(0, 3))).name == "(Box(x=(6, 9)) & ~Box(z=(0, 3)))"


def test_undecided_stars_under_composition():
    table = Catalog.from_table(Table({"a": [np.nan] * 3, "c": [0.0, 1.0, np.nan], "i": [0, 1, 2]}))
    either = table.select(Box(a=(0, 1)) | Box(c=(0.5, 2)))
    assert either["i"].tolist() == [1]
    assert either.report[0].nonfinite == 2
    not_both = table.select(~(Box(a=(0, 1)) & Box(c=(0.5, 2))))
    assert not_both["i"].tolist() == [0]


def test_each_cut_counts_after_those_before_it(stars):
    first, second = Box(n=(0, 499)), Box(n=(250, 999))
    for kept in (
        stars.select(first, second),
        stars.select([first, second]),
        stars.select(first).select(second),
    ):
        assert [r[1:3] for r in kept.report] == [(1000, 500), (500, 250)]
        np.testing.assert_array_equal(kept["n"], np.arange(250, 500))
    assert stars.report == ()
    assert len(stars) == N


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=4), st.randoms())
def test_the_order_of_cuts_does_not_matter(bounds, random):
    values = np.linspace(0, 1, 101)
    table = Catalog.from_table(Table({"a": values}))
    cuts = [~Box(a=(min(b), max(b))) for b in bounds]
    keep = np.all([(values < min(b)) | (values > max(b)) for b in bounds], axis=0)
    random.shuffle(cuts)
    if not keep.any():
        with pytest.raises(ValueError, match=r"got none after ~Box"):
            table.select(*cuts)
    else:
        kept = table.select(*cuts)
        np.testing.assert_array_equal(kept["a"], values[keep])
        assert sum(r.removed for r in kept.report) == 101 - len(kept)


def test_errors(stars):
    with pytest.raises(ValueError, match=r"none after Box\(n=\(2000, 3000\)\), which removed the last 11; "):
        stars.select(Box(n=(0, 10)), Box(n=(2000, 3000)), Box(n=(0, 1)))
    with pytest.raises(KeyError, match=r"got 'pmrra'; did you mean 'pmra'"):
        stars.select(Box(pmrra=(0, 1)))
    with pytest.raises(KeyError, match=r"got 'vx'"):
        stars.select(Speed(100))
    with pytest.raises(TypeError, match=r"^Expected cuts, got 3"):
        stars.select(3)
    with pytest.raises(ValueError, match=r"Expected numbers in column name to cut on, got 'a'"):
        Catalog.from_table(Table({"name": ["a"]})).select(Box(name=(0, 1)))
    for wrong in (
        lambda: Box(), lambda: Box(x=(2, 1)), lambda: Box(x=3), lambda: Box(x=("a", 2)), lambda: Ball(-1),
        lambda: Ball(1, centre=(1, 2)), lambda: Distance(1, 2), lambda: Speed(float("nan")),
        lambda: Speed(1, of="me"), lambda: ParallaxQuality(np.nan), lambda: AbsoluteMagnitude("bright"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"^Expected .*, got .*; "):
            wrong()


def test_unique_by_identifier_keeps_the_best():
    table = Table(
        {"source_id": [7, 7, 8, 9, 9, 9], "parallax_error_mas": [0.2, 0.1, 0.3, np.nan, 0.5, 0.5], "i": range(6)}
    )
    stars = Catalog.from_table(table)
    kept = stars.select(Unique())
    assert kept["i"].tolist() == [1, 2, 4]
    assert kept.report == (CutReport("Unique(angle=0.4, motion=2.0)", 6, 3, 0),)
    assert stars.select(~Unique())["i"].tolist() == [0, 3, 5]
    large = 2**62 + np.arange(3)  # through floats these would be one
    assert len(Catalog.from_table(Table({"source_id": large})).select(Unique())) == 3
    gaps = Table(
        {"source_id": np.ma.masked_array([1, 1, 1, 1], [False, False, True, True]), "i": range(4)}, masked=True
    )
    assert Catalog.from_table(gaps).select(Unique())["i"].tolist() == [0, 2, 3]


def test_unique_by_place_and_motion():
    arcsec = 1 / 3600
    table = Table({
        "ra_deg": [0.1 * arcsec, 360 - 0.1 * arcsec, 50, 50, 80, 80, 120.0, 240.0],
        "dec_deg": [0, 0, 10, 10 + 0.3 * arcsec, 20, 20 + 0.6 * arcsec, 90 - 0.1 * arcsec, 90 - 0.1 * arcsec],
        "pmra_masyr": [1, 2, 5, 9, 1, 1, 0, 0.0], "pmdec_masyr": np.zeros(8), "i": range(8),
    })  # fmt: skip
    stars = Catalog.from_table(table)
    # Over the seam and at the pole they are one, where they move apart, or are farther apart, two.
    assert stars.select(Unique())["i"].tolist() == [0, 2, 3, 4, 5, 6]
    assert stars.select(Unique(angle=0.7))["i"].tolist() == [0, 2, 3, 4, 6]
    assert stars.select(Unique(motion=5))["i"].tolist() == [0, 2, 4, 5, 6]
    assert len(stars.with_columns({"source_id": np.arange(8)}).select(Unique(angle=0))) == 8


def test_unique_of_phase_space(mock):
    twice = Catalog.from_phase_space(*(np.concatenate([a, a[:30]]) for a in np.split(mock.phase_space, 2, axis=1)))
    assert twice.select(Unique()).report[0].removed == 30
    assert mock.select(Unique()).report[0].removed == 0
    with pytest.raises(KeyError, match="call to_galactocentric"):
        Catalog.from_table(Table({"n": [1, 1]})).select(Unique())


def test_relative_cuts_look_at_what_is_left():
    """The better entry of a star must not take the other away when it is cut itself."""
    stars = Catalog.from_table(Table({"source_id": [1, 1], "parallax_error_mas": [0.1, 0.2], "ruwe": [3.0, 1.0]}))
    assert stars.select(Box(ruwe=(None, 1.4)), Unique())["ruwe"].tolist() == [1.0]
    assert stars.select(Box(ruwe=(None, 1.4)), ~~Unique())["ruwe"].tolist() == [1.0]


def test_outliers(rng):
    v = rng.normal(-220, 30, (5000, 2))
    v[:3, 0], v[3, 1], v[4, 1] = [900, -900, np.nan], -2000, np.inf
    stars = Catalog.from_table(Table({"a": v[:, 0], "c": v[:, 1]}))
    kept = stars.select(Outliers("a", "c", k=8))
    assert kept.report == (CutReport("Outliers(a, c, k=8)", 5000, 4995, 2),)
    low, mid, high = np.percentile(v[np.isfinite(v[:, 0]), 0], [15.865, 50, 84.135])
    check(stars, Outliers("a", k=2), np.abs(np.nan_to_num(v[:, 0], nan=1e9) - mid) <= high - low, 1)
    with pytest.raises(ValueError, match="values of a that spread"):
        Catalog.from_table(Table({"a": [1.0] * 10 + [5.0]})).select(Outliers("a"))
    for wrong in (
        lambda: Outliers(),
        lambda: Outliers("a", k=0.5),
        lambda: Unique(angle=-1),
        lambda: Unique(motion="a"),
    ):
        with pytest.raises(ValueError, match=r"^Expected .*, got .*; "):
            wrong()
