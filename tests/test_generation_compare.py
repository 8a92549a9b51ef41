"""Two and three samples, told apart or not, where the answer is known."""

import numpy as np
import pytest
from astropy import units as u
from scipy.stats import norm

from clearview.field import Axis
from clearview.generation import (
    LOCAL,
    Cancelled,
    difference_map,
    local,
    memorisation,
    three_sample_test,
    two_sample_test,
)
from clearview.generation.compare import _auc


@pytest.fixture(scope="module")
def apart():
    """Two normal samples whose means differ by 1 in the first of two columns."""
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((2, 3000, 2))
    return two_sample_test(a + np.array([1.0, 0.0]), b, folds=2)


def test_the_auc_and_divergence_of_shifted_normals(apart):
    # The best classifier has an AUC of Phi(1/sqrt 2) = 0.760 and 0.1609 bits; a real one has a little less.
    assert apart.auc == pytest.approx(norm.cdf(0.5**0.5), abs=0.02)
    assert apart.jsd == pytest.approx(0.161, abs=0.025)
    assert 0.003 < apart.auc_error < 0.01
    assert "tells the samples apart" in apart.message
    # Its score is ln(p_a / p_b) = x - 1/2.
    inner = np.abs(apart.points_b[:, 0]) < 1.5
    assert np.corrcoef(apart.scores_b[inner], apart.points_b[inner, 0])[0, 1] > 0.9


def test_the_map_shows_where(apart):
    field = difference_map(apart, [Axis("column 0", -2, 3, 5, ""), Axis("column 1", -1, 1, 1, "")])
    score = field["score"].values[:, 0]
    assert (np.diff(score) > 0).all()
    assert score[0] < -1 < 1 < score[-1]
    assert field["stars_a"].sum() + field["stars_b"].sum() < 6000
    own = [{"q": -p[:, 0]} for p in (apart.points_a, apart.points_b)]
    assert (np.diff(difference_map(apart, [Axis("q", -3, 2, 5, "")], own)["score"]) < 0).all()
    with pytest.raises(ValueError, match="Expected axes among column 0, column 1, got 'z'"):
        difference_map(apart, [Axis("z", 0, 1, 2)])


def test_the_same_are_not_told_apart_and_copies_are_no_help():
    a, b = np.random.default_rng(3).standard_normal((2, 1000, 3))
    found = two_sample_test(np.repeat(a, 2, axis=0), b, folds=2)
    assert abs(found.auc - 0.5) < 4 * found.auc_error
    assert "does not tell" in found.message


def test_weights_count():
    rng = np.random.default_rng(3)
    a, b = rng.uniform(-1, 1, (2, 2000, 1))
    weight = np.exp(a[:, 0])
    tilted = two_sample_test(a, b, weights=(weight, None), folds=2)
    evened = two_sample_test(a, b, weights=(weight, np.exp(b[:, 0])), folds=2)
    assert tilted.auc > 0.62  # int int [x > y] e^x / (2 sinh 1) is 0.657
    assert abs(evened.auc - 0.5) < 4 * evened.auc_error


def test_the_error_of_the_auc_is_its_scatter():
    rng = np.random.default_rng(4)
    for copies in (1, 3):
        found = []
        for _ in range(300):
            a, b = rng.standard_normal((2, 200))
            group = np.r_[np.repeat(np.arange(200), copies), np.arange(200, 400)]
            found.append(_auc(np.repeat(a + 0.5, copies), b, np.ones(200 * copies), np.ones(200), group))
        auc, error = np.transpose(found)
        assert auc.mean() == pytest.approx(norm.cdf(0.5 / 2**0.5), abs=0.01)
        assert error.mean() == pytest.approx(auc.std(), rel=0.15)
    assert _auc(np.array([1.0, 1.0]), np.array([1.0]), np.ones(2), np.ones(1), np.arange(3))[0] == 0.5


def test_three_samples():
    rng = np.random.default_rng(5)
    a, b, c = rng.standard_normal((3, 2000, 2))
    found = three_sample_test(a, 1.5 * b, c, folds=2)
    assert abs(found.first.auc - 0.5) < 4 * found.first.auc_error
    assert found.second.auc == pytest.approx(found.direct.auc, abs=0.03)
    assert found.second.auc > 0.58


def test_memorisation():
    rng = np.random.default_rng(6)
    learnt, held, fresh = rng.standard_normal((3, 2000, 3))
    smooth = memorisation(learnt, held, fresh)
    assert abs(smooth.near - 0.01) < 4 * smooth.near_error
    assert smooth.ratio == pytest.approx(1, abs=0.1)
    copied = memorisation(learnt, held, learnt + 0.003 * fresh)
    assert copied.near > 0.5
    assert copied.ratio < 0.2
    assert "repeats points" in copied.message
    # Points held out that were learnt from hide no copies.
    twins = np.concatenate([held, learnt[:100]])
    assert memorisation(learnt, twins, learnt).near == 1
    with pytest.raises(ValueError, match="not among those learnt from"):
        memorisation(learnt, learnt[:500], fresh)


def test_catalogues(mock):
    stars = mock.take(np.arange(len(mock)) < 800)
    found = two_sample_test(stars, stars.take(np.arange(800) >= 400), folds=2)
    assert found.columns == LOCAL
    np.testing.assert_allclose(found.points_a, local(stars.phase_space))
    # What is in both is judged by those that have seen neither.
    assert found.auc < 0.56
    assert two_sample_test(stars, stars, columns=["x", "vx"], folds=2).points_a.shape == (800, 2)
    with pytest.raises(KeyError, match="none for colour"):
        two_sample_test(stars, stars, columns=["colour"])
    with pytest.raises(TypeError, match="a catalogue and an array"):
        two_sample_test(stars, stars.phase_space)
    ages = np.arange(800.0)
    gyr, myr = (stars.with_columns({"age": u.Quantity(ages, unit)}) for unit in ("Gyr", "Myr"))
    with pytest.raises(ValueError, match="Expected age in one unit, got Gyr and Myr"):
        two_sample_test(gyr, myr, columns=["x", "age"])
    with pytest.raises(ValueError, match="Expected columns to compare, got none"):
        two_sample_test(stars, stars, columns=[])
    with pytest.raises(ValueError, match="Expected numbers in name"):
        two_sample_test(*[stars.with_columns({"name": np.full(800, "a")})] * 2, columns=["name"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a[:100], "at least 200 points in a sample, got 100"),
        (lambda a: np.where(a > 2, np.nan, a), "Expected finite numbers"),
        (lambda a: a[:, :1], "stack the same columns"),
        (lambda a: a.astype(str), "tables of numbers"),
        (lambda a: a[:, 0], "tables of numbers"),
        (lambda a: np.ones_like(a), "points that differ"),
    ],
)
def test_bad_samples(change, words):
    a = np.random.default_rng(7).standard_normal((300, 2))
    with pytest.raises(ValueError, match=words):
        two_sample_test(a, change(a))


@pytest.mark.parametrize("weight", [0.0, -1.0, np.nan, np.inf])
def test_bad_weights(weight):
    a = np.random.default_rng(7).standard_normal((300, 2))
    with pytest.raises(ValueError, match="finite and above 0"):
        two_sample_test(a, a, weights=(np.where(a[:, 0] > 0, 1.0, weight), None))


def test_it_can_be_stopped():
    a, b = np.random.default_rng(8).standard_normal((2, 300, 2))
    told = []
    with pytest.raises(Cancelled):
        two_sample_test(a, b, on_progress=lambda share: told.append(share) or share < 0.2)
    assert told[-2] < 0.2 <= told[-1] < 0.3


@pytest.mark.parametrize("last", [0.1, 0.6], ids=["trees", "network"])
def test_it_hears_a_stop_amid_a_classifier(last):
    """Slices of a classifier take about a second at most; here there are many in each."""
    a, b = np.random.default_rng(8).standard_normal((2, 40_000, 2))
    told = []
    with pytest.raises(Cancelled):
        two_sample_test(a + 0.5, b, folds=2, on_progress=lambda share: told.append(share) or share < last / 2)
    steps = np.diff(told)
    assert (steps >= 0).all()
    assert steps[:3].max() < 0.2
