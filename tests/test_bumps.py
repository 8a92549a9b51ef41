"""Significance improvement and the bump hunt, against counts that are known."""

import numpy as np
import pytest

from clearview.streams import bump_hunt, sic_curve, significance


def test_sic_by_hand():
    # From the top: signal, signal, background, signal and background of one score, 5 more of the background.
    score = [9, 8, 7, 6, 6, *range(5)]
    labels = [1, 1, 0, 1, 0, 0, 0, 0, 0, 0]
    curve = sic_curve(score, labels, error=None)
    np.testing.assert_allclose(curve.tpr, [2 / 3, 1, *[1] * 5])
    np.testing.assert_allclose(curve.fpr, np.arange(1, 8) / 7)
    np.testing.assert_allclose(curve.sic, curve.tpr / np.sqrt(curve.fpr))
    np.testing.assert_allclose(curve.threshold, [7, 6, 4, 3, 2, 1, 0])
    np.testing.assert_allclose(curve.fpr_error[0], np.sqrt(6 / 7))
    assert curve.at(0.7) == pytest.approx(1 / np.sqrt(2 / 7))
    assert np.isnan(curve.at(0.1))


def test_sic_is_cut_where_it_is_noise(rng):
    labels = rng.uniform(size=50_000) < 0.01
    curve = sic_curve(rng.normal(size=50_000), labels)
    assert curve.fpr_error.max() <= 0.2
    assert curve.fpr.min() * (~labels).sum() == pytest.approx(25, abs=1)
    assert curve.sic.max() < 1.8  # nothing is to be gained
    assert len(sic_curve(rng.normal(size=50_000), labels, error=0.05).sic) < len(curve.sic)
    known = sic_curve(labels + rng.normal(size=50_000) * 0.2, labels)
    assert known.sic.max() > 10


@pytest.mark.parametrize(
    ("score", "labels", "words"),
    [
        ([1, 2], [1], "a score and a label for each star"),
        ([1, np.nan], [1, 0], "without NaN"),
        ([1, 2], [1, 1], "signal and background, got one"),
    ],
)
def test_sic_refuses(score, labels, words):
    with pytest.raises(ValueError, match=words):
        sic_curve(score, labels)


def test_significance_is_that_of_li_and_ma():
    on, off, alpha = 30.0, 120.0, 1 / 8
    total = on + off
    li_ma = np.sqrt(
        2 * (on * np.log((1 + alpha) / alpha * on / total) + off * np.log((1 + alpha) * off / total))
    )  # fmt: skip
    assert significance(on, alpha * off, alpha * np.sqrt(off)) == pytest.approx(li_ma)
    assert significance(100, 64, 0) == pytest.approx(np.sqrt(2 * (100 * np.log(100 / 64) - 36)))
    assert significance(100, 64, 1e-3) == pytest.approx(significance(100, 64, 0), rel=1e-4)
    np.testing.assert_allclose(significance([50, 0], [50, 9], [5, 0]), [0, -np.sqrt(18)])
    assert significance(80, 50, 10) < significance(80, 50, 5) < significance(80, 50, 0)


def falling(rng, count):
    """An exponential on [2, 5]."""
    u = rng.uniform(size=count)
    return -np.log(np.exp(-2) + u * (np.exp(-5) - np.exp(-2)))


def test_bump_is_found_and_counted(rng):
    scan = np.r_[falling(rng, 20_000), rng.normal(3.5, 0.08, 300)]
    bump = bump_hunt(scan, 3.3, 3.7)
    true = 20_000 * (np.exp(-3.3) - np.exp(-3.7)) / (np.exp(-2) - np.exp(-5))
    assert bump.expected == pytest.approx(true, abs=3 * bump.error)
    assert bump.observed == np.sum((scan >= 3.3) & (scan < 3.7))
    assert bump.observed - bump.expected == pytest.approx(295, abs=3 * np.hypot(bump.error, np.sqrt(bump.observed)))
    assert 4 < bump.significance < 9
    assert bump.chi2 / bump.freedom < 2
    near = bump_hunt(scan, 3.3, 3.7, reach=0.6)
    assert near.edges[0] >= 2.7 - 1e-9
    assert near.edges[-1] <= 4.3 + 1e-9
    assert near.error > bump.error


def test_no_bump_is_no_excess():
    found = [bump_hunt(falling(np.random.default_rng(i), 3000), 3.3, 3.7).significance for i in range(200)]
    assert abs(np.mean(found)) < 0.25
    assert 0.85 < np.std(found) < 1.15


@pytest.mark.parametrize(
    ("scan", "low", "high", "words"),
    [
        ([1.0, np.nan], 0, 1, "finite values to hunt in"),
        ([], 0, 1, "stars to hunt among, got none"),
        (np.linspace(0, 9, 99), 5, 5, "from low to high"),
        (np.linspace(0, 9, 99), 0, 4, "on both sides"),
        (np.linspace(0, 9, 99), np.nan, 4, "low as a finite number"),
    ],
)
def test_bump_hunt_refuses(scan, low, high, words):
    with pytest.raises(ValueError, match=words):
        bump_hunt(scan, low, high)
