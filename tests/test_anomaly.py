"""Anomaly scores on stars whose signal is known: what is found, what is not, and who learnt from whom."""

from dataclasses import replace

import numpy as np
import pytest

from clearview.flows import ClassifierConfig, FitConfig, FlowConfig
from clearview.streams import (
    Anode,
    Cathode,
    Cwola,
    Idealised,
    anomaly,
    bump_hunt,
    score_region,
    score_regions,
    sic_curve,
)

SR = (-1.0, 1.0)
TRAINING = FitConfig(epochs=8, min_steps=0, batch_size=256, learning_rate=1e-2, validation=0.15, average=0.05)
FLOWS = FitConfig(epochs=20, min_steps=0, batch_size=512, learning_rate=5e-3, average=0.05)
BY_CLASSIFIER = {"classifier": ClassifierConfig(16, 2), "training": TRAINING}
BY_FLOW = {"flow": FlowConfig(2, 16, spread=1.0), "sideband": 3.0}
METHODS = {
    "anode": Anode(training=FLOWS, **BY_FLOW),
    "cwola": Cwola(sideband=2.0, **BY_CLASSIFIER),
    "cathode": Cathode(flow_training=FLOWS, **BY_FLOW, **BY_CLASSIFIER),
    "idealised": Idealised(**BY_CLASSIFIER),
}


def background(rng, count, correlated=0.0):
    """Features with an edge, a correlation and a tail, at m from a broad normal."""
    m = rng.normal(0, 3, count)
    x = np.stack([np.abs(rng.normal(size=count)), rng.normal(size=count), rng.standard_t(5, count)], -1)
    x[:, 1] += 0.5 * x[:, 0]
    x[:, 2] += correlated * m
    return x, m


def stars(seed=0, count=24_000, signal=350, correlated=0.0):
    """The same with a clump at m = 0."""
    rng = np.random.default_rng(seed)
    x, m = background(rng, count, correlated)
    clump_m = rng.normal(0, 0.3, signal)
    clump = rng.normal([1.8, -0.6, 1.5], [0.25, 0.25, 0.25], (signal, 3))
    clump[:, 2] += correlated * clump_m
    is_signal = np.r_[np.zeros(count, bool), np.ones(signal, bool)]
    return np.r_[x, clump], np.r_[m, clump_m], is_signal


def method_of(name, correlated=0.0):
    method = METHODS[name]
    if name != "idealised":
        return method
    x, m = background(np.random.default_rng(99), 60_000, correlated)
    return replace(method, background=x, background_scan=m)


def sic_of(scores, m, is_signal, region=0, interval=SR):
    inside = (m >= interval[0]) & (m < interval[1])
    return sic_curve(scores.ln_ratio[region][inside], is_signal[inside]).sic.max()


@pytest.fixture(scope="module", params=METHODS)
def found(request):
    """Each method on the same stars."""
    x, m, is_signal = stars()
    return request.param, score_region(method_of(request.param), x, m, *SR, members=2), m, is_signal


def test_each_finds_the_signal(found):
    name, scores, m, is_signal = found
    inside = (m >= SR[0]) & (m < SR[1])
    assert scores.stopped == "finished"
    assert scores.stars == inside.sum()
    score = scores.ln_ratio[0]
    assert score.dtype == np.float32
    np.testing.assert_array_equal(np.isfinite(score), inside)
    least = {"anode": 2.0, "cwola": 4.0, "cathode": 4.0, "idealised": 4.0}[name]
    assert sic_of(scores, m, is_signal) > least
    if name != "anode":
        assert scores.held_out[0] < np.log(2)


def test_ratio_is_that_of_densities(found):
    """R is 1 over the background, up to the part that is signal, however many stars the sidebands have."""
    name, scores, _, is_signal = found
    ratio = np.exp(scores.ln_ratio[0][np.isfinite(scores.ln_ratio[0]) & ~is_signal])
    assert np.median(ratio) == pytest.approx(0.96, abs=0.12)
    # Where the clump is, signal : background is about 3 : 1.
    assert np.median(scores.ln_ratio[0][is_signal & np.isfinite(scores.ln_ratio[0])]) > (
        0.3 if name == "anode" else 0.7
    )


@pytest.mark.parametrize("found", ["cwola"], indirect=True)
def test_same_seed_same_scores(found):
    """Also of stars in other units; another seed gives others."""
    name, scores, _, _ = found
    x, m, is_signal = stars()
    again = score_region(METHODS[name], x, m, *SR, members=2)
    np.testing.assert_array_equal(scores.ln_ratio[0], again.ln_ratio[0])
    # Powers of two leave every digit as it is; an offset does not, and the fit may go another way.
    wide = replace(METHODS[name], sideband=16.0)
    scaled = score_region(wide, x * [4, 0.5, 2], 8 * m, 8 * SR[0], 8 * SR[1], members=2)
    np.testing.assert_array_equal(scores.ln_ratio[0], scaled.ln_ratio[0])
    moved = score_region(METHODS[name], 100 - 3 * x, m, *SR, members=2)
    assert sic_of(moved, m, is_signal) == pytest.approx(sic_of(scores, m, is_signal), rel=0.35)
    other = score_region(METHODS[name], x, m, *SR, members=2, seed=1)
    assert np.nanstd(other.ln_ratio[0] - scores.ln_ratio[0]) > 1e-3


def test_no_star_is_scored_by_a_model_that_saw_it(monkeypatch):
    """Stars of one distribution, and a network that can learn the few of the SR by heart."""
    rng = np.random.default_rng(5)
    x, m = rng.normal(size=(4000, 6)), rng.normal(0, 3, 4000)
    by_heart = replace(
        METHODS["cwola"], classifier=ClassifierConfig(64, 2), sideband=None,
        training=replace(TRAINING, epochs=60, validation=0.0),
    )  # fmt: skip
    region, beside = (0.0, 0.5), 2.0

    def means(**kwargs):
        score = score_region(by_heart, x, m, *region, **kwargs).ln_ratio[0]
        inside = (m >= region[0]) & (m < region[1])
        return np.nanmean(score[inside]), np.nanmean(score[~inside]) if "beside" in kwargs else 0.0

    inside, outside = means(beside=beside)
    assert inside - outside < 0.3
    # The same if folds were not kept: the test can see it.
    monkeypatch.setattr(anomaly._Work, "learnt_from", lambda self, rows, fold: rows)
    inside, outside = means(beside=beside)
    assert inside - outside > 1.0


def test_no_signal_no_excess():
    x, m, _ = stars(3, signal=0)
    beside = 2.0
    scores = score_region(METHODS["cwola"], x, m, *SR, members=2, beside=beside)
    score = scores.ln_ratio[0]
    inside = (m >= SR[0]) & (m < SR[1])
    assert np.nanstd(score) < 0.25
    passed = np.nan_to_num(score, nan=-np.inf) > np.quantile(score[inside], 0.95)
    assert abs(bump_hunt(m[passed], *SR, reach=beside, bins=4).significance) < 3.5


def test_excess_where_there_is_signal():
    x, m, is_signal = stars(4, signal=250)
    scores = score_region(METHODS["cwola"], x, m, *SR, members=2, beside=2.0)
    score, inside = scores.ln_ratio[0], (m >= SR[0]) & (m < SR[1])
    np.testing.assert_array_equal(np.isfinite(score), (m >= -3) & (m < 3))
    passed = np.nan_to_num(score, nan=-np.inf) > np.quantile(score[inside], 0.95)
    before = bump_hunt(m[(m >= -3) & (m < 3)], *SR, reach=2.0, bins=4).significance
    after = bump_hunt(m[passed], *SR, reach=2.0, bins=4).significance
    assert after > max(6.0, before + 3)
    assert is_signal[passed].mean() > 0.3


def test_correlation_with_the_scan_misleads_cwola_alone():
    x, m, is_signal = stars(6, correlated=0.7)
    cwola, cathode, anode = (
        sic_of(score_region(METHODS[name], x, m, *SR, members=2), m, is_signal)
        for name in ("cwola", "cathode", "anode")
    )  # fmt: skip
    assert cathode > 3
    assert anode > 1.7
    assert cwola < 0.6 * cathode


def test_many_regions_at_once():
    """The clump is found in those that hold it, and in no other."""
    x, m, is_signal = stars(7)
    regions = [(-4.0, -2.0), (-1.0, 1.0), (-0.8, 1.2), (2.0, 4.0), (50.0, 51.0)]
    alone = score_regions(METHODS["cwola"], x, m, regions, members=2)
    assert alone.stars[-1] == 0
    assert "not scored, as the signal region 50 to 51 has 0 stars" in alone.message
    assert "4 of 5" in alone.message
    assert np.isnan(alone.held_out[-1])
    for (low, high), score in zip(regions[:-1], alone.ln_ratio, strict=False):
        np.testing.assert_array_equal(np.isfinite(score), (m >= low) & (m < high))
    assert np.isnan(alone.ln_ratio[-1]).all()
    found = [sic_of(alone, m, is_signal, r, regions[r]) for r in (1, 2)]
    assert min(found) > 3.5
    # Stars like the clump in a region without it are nothing special.
    like = np.linalg.norm(x - [1.8, -0.6, 1.5], axis=1) < 0.4
    assert np.nanmedian(alone.ln_ratio[0][like]) < 0.5
    assert np.nanmedian(alone.ln_ratio[1][like]) > 0.7


def test_sharing_a_flow_hides_no_signal():
    """Three regions with the clump, by a flow for each and by one for all."""
    x, m, is_signal = stars(20)
    regions = [(-1.5, 0.5), (-1.0, 1.0), (-0.5, 1.5)]

    def gained(share):
        scores = score_regions(replace(METHODS["cathode"], share=share), x, m, regions, members=2)
        rows = [(m >= low) & (m < high) for low, high in regions]
        curves = [
            sic_curve(ln_ratio[row], is_signal[row], error=None)
            for ln_ratio, row in zip(scores.ln_ratio, rows, strict=True)
        ]
        return np.mean([curve.at(0.5) for curve in curves])

    # One region alone scatters by a third, from one start of the networks to the next.
    assert gained(3) > 0.75 * gained(1) > 2


def test_shared_gap_covers_all_that_share():
    """No flow of the sidebands learns from a star of any region that it serves."""
    regions = [(float(low), low + 6.0) for low in range(-9, 4)]
    for share in (1, 3, 13):
        gaps = anomaly._gaps(regions, share)
        assert len(set(gaps)) == -(-13 // share)
        for (low, high), gap in zip(regions, gaps, strict=True):
            assert gap[0] <= low
            assert gap[1] >= high
            assert gap[1] - gap[0] <= 6 + share - 1


def test_one_sideband_is_enough_and_told():
    x, m, is_signal = stars(8)
    kept = m > -1
    scores = score_region(METHODS["cwola"], x[kept], m[kept], *SR)
    assert scores.message == "Cwola; the signal region -1 to 1 has no sideband below."
    assert sic_of(scores, m[kept], is_signal[kept]) > 2.5


@pytest.mark.parametrize(
    ("name", "stage"),
    [("cathode", "sideband flows"), ("cathode", "samples"), ("cwola", "classifiers"), ("cwola", "scores")],
)
def test_cancelled_at_a_stage(name, stage):
    x, m, _ = stars(9, count=6000)
    method, stages = METHODS[name], []
    short = {"training": replace(TRAINING, epochs=1)} | ({"flow_training": TRAINING} if name == "cathode" else {})

    def on_progress(progress):
        assert 0 <= progress.fraction <= 1
        stages.append(progress.stage)
        return progress.stage != stage

    cut = score_region(replace(method, **short), x, m, *SR, on_progress=on_progress)
    assert cut.stopped == "cancelled"
    assert stage in cut.message
    assert stages[-1] == stage
    assert np.isnan(cut.ln_ratio[0]).all()
    known = {"cathode": ["sideband flows", "samples"], "cwola": ["classifiers", "scores"]}[name]
    assert list(dict.fromkeys(stages)) == known[: known.index(stage) + 1]


def test_half_of_each_side():
    """Sidebands count alike, but no star of a small one more than one of the SR."""
    assert anomaly._shares([500, 500], 100) == [0.5, 0.5]
    assert anomaly._shares([2000, 500], 100) == [0.5, 0.5]
    assert anomaly._shares([2000, 100], 1000) == pytest.approx([0.9, 0.1])
    assert anomaly._shares([0, 100], 1000) == [0.0, 1.0]


def test_held_out_rows_are_of_other_stars(rng):
    parts = [np.arange(100), np.arange(100, 1000)]
    rows = anomaly._deal(rng, parts, [0.5, 0.5], 4000, 800, 0.2)
    assert len(rows) == 4000
    assert not set(rows[:800]) & set(rows[800:])
    assert np.mean(rows[:800] < 100) == pytest.approx(0.5)
    assert np.mean(rows[800:] < 100) == pytest.approx(0.5)
    assert set(rows[800:]) >= set(rows[800:][rows[800:] < 100])
    assert len(set(rows[800:])) == 800


def good():
    x, m, _ = stars(1, count=2000, signal=0)
    return {"method": METHODS["cwola"], "features": x, "scan": m, "regions": [SR]}


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"method": "cwola"}, TypeError, "a method: Anode"),
        ({"regions": []}, ValueError, "at least one signal region"),
        ({"regions": [(1, 1)]}, ValueError, "from low to high"),
        ({"regions": [(1, 2, 3)]}, ValueError, r"as \(low, high\)"),
        ({"regions": [(np.nan, 2)]}, ValueError, "an edge of a signal region"),
        ({"regions": [(40, 41)]}, ValueError, "40 to 41 has 0 stars of the 128"),
        ({"regions": [(-100, 100)]}, ValueError, "has 0 stars in its sidebands"),
        ({"seed": -1}, ValueError, "seed"),
        ({"folds": 1}, ValueError, "folds"),
        ({"members": 0}, ValueError, "members"),
        ({"beside": -1}, ValueError, "beside"),
        ({"method": Idealised()}, ValueError, "with background and background_scan"),
        (
            {"method": Idealised(background=np.zeros((9, 2)), background_scan=np.zeros(9))}, ValueError,
            "the 3 features of the stars, got 2",
        ),
        (
            {"method": Idealised(background=np.zeros((9, 3)), background_scan=np.zeros(9))}, ValueError,
            "at least 100 of the background in the signal region -1 to 1, got 9",
        ),
    ],
)  # fmt: skip
def test_refused_before_long_work(change, kind, words):
    with pytest.raises(kind, match=words):
        score_regions(**{**good(), **change})


def test_refuses_features_that_cannot_be():
    given = good()
    x, m = given["features"].copy(), given["scan"]
    x[3, 1] = np.nan
    with pytest.raises(ValueError, match="Expected finite features, got 1 stars with NaN"):
        score_regions(**{**given, "features": x})
    with pytest.raises(ValueError, match="one value in column 1"):
        score_regions(**{**given, "features": np.c_[m, np.ones(len(m))]})
    with pytest.raises(ValueError, match=r"shapes \(2000,\) and \(2000,\)"):
        score_regions(**{**given, "features": m})
    with pytest.raises(ValueError, match="as numbers"):
        score_regions(**{**given, "features": [["a"]] * len(m)})
    with pytest.raises(ValueError, match="finite scan"):
        score_regions(**{**given, "scan": np.where(m > 0, np.inf, m)})


@pytest.mark.parametrize(
    ("cls", "wrong"),
    [
        (Anode, {"share": 0}),
        (Anode, {"logit": 1}),
        (Anode, {"flow": FitConfig()}),
        (Cwola, {"sideband": 0}),
        (Cwola, {"oversample": 0.5}),
        (Cathode, {"sees_scan": "no"}),
        (Cathode, {"training": None}),
    ],
)
def test_settings_are_checked(cls, wrong):
    with pytest.raises((ValueError, TypeError), match="Expected"):
        cls(**wrong)
