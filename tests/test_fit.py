"""Training finds what is there, can be cancelled and resumed bit for bit, and refuses what cannot work."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from clearview.flows import MAF, Ball, FitConfig, FlowConfig, ScoreConfig, ScoreModel, Standardised, fit, fit_ensemble
from clearview.flows.batches import Batches
from clearview.flows.networks import generator

KEY = random.key(0)
CONFIG = FitConfig(epochs=8, min_steps=0, batch_size=256, seconds_per_report=0.0)


def flow(dim=2, condition=None):
    return Standardised(MAF(dim, condition, FlowConfig(3, 16), key=KEY), [3.0] * dim, [2.0] * dim)


@pytest.fixture
def stars(rng):
    """A banana, whose entropy is that of its Gaussian parents."""
    a, b = rng.normal(size=(2, 5000))
    return np.stack([3 + 2 * a, 3 + b + a**2], -1).astype(np.float32)


def arrays(model):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(model) if hasattr(leaf, "shape")]


def test_finds_the_density(stars):
    result = fit(flow(), stars, FitConfig(epochs=40, min_steps=0, batch_size=256), key=KEY)
    entropy = np.log(2 * np.pi * np.e) + np.log(2.0)
    assert result.stopped == "finished"
    assert result.history.validation.iloc[-1] == pytest.approx(entropy, abs=0.08)
    assert result.history.step.iloc[-1] == 40 * (4500 // 256)


def test_conditional_density(stars):
    x, condition = stars[:, 1:], stars[:, :1]
    result = fit(flow(1, 1), x, FitConfig(epochs=40, min_steps=0, batch_size=256), key=KEY, condition=condition)
    assert result.history.validation.iloc[-1] == pytest.approx(0.5 * np.log(2 * np.pi * np.e), abs=0.06)


def test_cancel_and_resume_is_bit_for_bit(stars):
    whole = fit(flow(), stars, CONFIG, key=KEY)
    part, calls = None, 0
    while part is None or part.stopped == "cancelled":
        steps = []
        part = fit(
            flow(), stars, CONFIG, key=KEY, resume=part,
            on_progress=lambda p, steps=steps: steps.append(p.step) or len(set(steps)) < 23,
        )  # fmt: skip
        calls += 1
    assert calls > 3
    assert part.stopped == "finished"
    for a, b in zip(arrays(whole.model), arrays(part.model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_progress_tells_the_truth(stars):
    told = []
    result = fit(flow(), stars, CONFIG, key=KEY, on_progress=told.append)
    assert [p.step for p in told] == sorted(p.step for p in told)
    assert told[-1].fraction == 1
    assert told[-1].remaining == 0
    assert told[-1].step == told[-1].total == result.history.step.iloc[-1]
    assert len(told[-1].history) == len(result.history)


def test_cancel_before_the_first_step(stars):
    result = fit(flow(), stars, CONFIG, key=KEY, on_progress=lambda p: False)
    assert result.stopped == "cancelled"
    assert "resume" in result.message


def test_divergence_stops_and_keeps_the_last_good_state(stars):
    result = fit(flow(), stars, FitConfig(epochs=20, batch_size=256, learning_rate=1e6), key=KEY)
    assert result.stopped == "diverged"
    assert "learning rate" in result.message
    assert all(np.isfinite(a).all() for a in arrays(result.model))


def test_held_out_stars_that_cannot_be_are_no_success(rng):
    """One star outside a Ball makes the validation loss infinite: no weights would ever be the best."""
    x = rng.normal(size=(400, 3)) * 0.3
    x[generator(KEY, 0).permutation(400)[0]] = 5.0  # held out
    density = Ball(Standardised(MAF(3, None, FlowConfig(1, 8), key=KEY), np.zeros(3), np.ones(3)), np.zeros(3), 2.0)
    result = fit(density, x, CONFIG, key=KEY)
    assert result.stopped == "diverged"
    assert "cut stars that the model cannot have" in result.message


def test_resume_of_something_else_is_refused(stars):
    part = fit(flow(), stars, CONFIG, key=KEY, on_progress=lambda p: p.step < 20)
    for model, data, config in (
        (flow(), stars[:2000], CONFIG),
        (flow(), stars, FitConfig(epochs=9, min_steps=0, batch_size=256)),
        (build(KEY), stars, CONFIG),
    ):
        with pytest.raises(ValueError, match="pass the same, or train anew"):
            fit(model, data, config, key=KEY, resume=part)
    whole = fit(flow(), stars, CONFIG, key=KEY, resume=part)
    assert fit(flow(), stars, CONFIG, key=KEY, resume=whole) is whole


def test_an_ensemble_of_score_models_is_refused(stars):
    with pytest.raises(ValueError, match="got a ScoreModel"):
        fit_ensemble(lambda key: ScoreModel([0.0, 0.0], [1.0, 1.0], key=key), stars, CONFIG, key=KEY)


def test_a_wild_gradient_with_a_finite_loss_is_no_good_state(rng):
    """sqrt has a finite value and an infinite slope at zero: the parameters would turn NaN unseen."""
    from clearview.flows import optimise

    class Model(eqx.Module):
        a: jax.Array

    data = (rng.normal(size=(200, 1)).astype(np.float32),)
    result = optimise(
        Model(jnp.zeros(1)), lambda m, key, x: jnp.sqrt(jnp.abs(m.a)).sum() + 0 * x.sum(), data, CONFIG, key=KEY
    )  # fmt: skip
    assert result.stopped == "diverged"
    assert np.isfinite(result.model.a).all()


def test_the_best_model_is_kept(rng):
    few = rng.normal(size=(200, 2)).astype(np.float32)  # so few that training on them must overfit
    result = fit(flow(), few, FitConfig(epochs=300, batch_size=64, learning_rate=1e-2), key=KEY)
    validation = result.history.validation.dropna()
    order = generator(KEY, 0).permutation(200)
    held_out = few[order[:20]]
    assert -result.model.log_prob(held_out).mean() == pytest.approx(validation.min(), abs=1e-3)
    assert validation.iloc[-1] > validation.min() + 0.1


def test_refusals(stars):
    with pytest.raises(ValueError, match="NaN or inf"):
        fit(flow(), np.where(stars > 8, np.nan, stars), CONFIG, key=KEY)
    with pytest.raises(ValueError, match="at least 32 stars"):
        fit(flow(), stars[:10], CONFIG, key=KEY)
    with pytest.raises(ValueError, match="on the last axis"):
        fit(flow(), stars[:, :1], CONFIG, key=KEY)
    with pytest.raises(ValueError, match="condition"):
        fit(flow(1, 1), stars[:, 1:], CONFIG, key=KEY)
    with pytest.raises(ValueError, match="as tables"):
        fit(flow(), stars[:, 0], CONFIG, key=KEY)


def test_few_stars_get_more_passes():
    assert FitConfig(epochs=2, min_steps=100, batch_size=64).plan(640) == (64, 10, 100)
    assert FitConfig(epochs=20, min_steps=100, batch_size=64).plan(640) == (64, 10, 200)
    assert FitConfig(epochs=1, min_steps=0, batch_size=64).plan(10) == (10, 1, 1)


def build(key):
    return Standardised(MAF(2, None, FlowConfig(2, 12), key=key), [3.0] * 2, [2.0] * 2)


def test_ensemble_members_are_as_good_as_single_fits(stars):
    together = fit_ensemble(build, stars, CONFIG, key=KEY, members=3)
    assert together.stopped == "finished"
    assert together.model.count == 3
    alone = fit(build(random.fold_in(KEY, 0)), stars, CONFIG, key=KEY)
    # The first member begins, is split and is shuffled as a single fit of the same key: only rounding differs.
    x = stars[:500]
    np.testing.assert_allclose(together.model.member(0).log_prob(x), alone.model.log_prob(x), atol=0.05)
    assert float(together.state.best_loss[0]) == pytest.approx(alone.history.validation.min(), abs=0.01)
    spread = together.model.log_prob_of_members(x).std(0)
    assert np.median(spread) > 1e-3
    assert together.model.log_prob(x).mean() >= together.model.log_prob_of_members(x).mean() - 1e-6


def test_cancelled_ensemble_resumes_bit_for_bit(stars):
    whole = fit_ensemble(build, stars, CONFIG, key=KEY, members=2, bootstrap=True)
    steps = []
    part = fit_ensemble(
        build, stars, CONFIG, key=KEY, members=2, bootstrap=True,
        on_progress=lambda p: steps.append(p.step) or p.step < 60,
    )  # fmt: skip
    assert part.stopped == "cancelled"
    again = fit_ensemble(build, stars, CONFIG, key=KEY, members=2, bootstrap=True, resume=part)
    for a, b in zip(arrays(whole.model), arrays(again.model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_bootstrap_draws_other_stars_for_each_member(stars):
    rows = Batches((stars,), CONFIG, KEY, "x", 2, True).at(0)[0]
    one, other = (np.unique(r, return_counts=True) for r in np.asarray(rows))
    for numbers, counts in (one, other):
        assert counts.max() > 2  # with replacement
        assert 0.55 < len(numbers) / 4500 < 0.70  # 1 - 1/e of them
    assert len(np.intersect1d(one[0], other[0])) < 0.5 * 4500


@pytest.mark.parametrize("members", [0, -1, 2.0, "8", True])
def test_wrong_numbers_of_members(stars, members):
    with pytest.raises(ValueError, match="whole number of members"):
        fit_ensemble(build, stars, CONFIG, key=KEY, members=members)


def test_stops_early_where_it_only_gets_worse(rng):
    few = rng.normal(size=(300, 2)).astype(np.float32)
    config = FitConfig(epochs=400, batch_size=64, learning_rate=1e-2, patience=10)
    told = []
    result = fit(flow(), few, config, key=KEY, on_progress=told.append)
    validation = result.history.validation.dropna().drop_duplicates()
    assert result.stopped == "finished"
    assert "had not fallen for 10 passes" in result.message
    assert result.history.step.iloc[-1] < 400 * 4
    assert told[-1].fraction == 1
    assert len(validation) - 1 - np.argmin(validation) == 10
    whole = fit(flow(), few, FitConfig(epochs=400, batch_size=64, learning_rate=1e-2), key=KEY)
    assert whole.history.step.iloc[-1] == 400 * 4


def test_averaged_weights_are_calmer(stars):
    """At a constant rate the weights jitter about the minimum; their mean is nearer to it."""
    noisy = dict(epochs=30, min_steps=0, batch_size=32, learning_rate=2e-2)
    plain = fit(flow(), stars, FitConfig(**noisy), key=KEY)
    mean = fit(flow(), stars, FitConfig(**noisy, average=0.05), key=KEY)
    half = slice(len(plain.history) // 4, len(plain.history) // 2)  # before the cosine calms the plain ones too
    assert mean.history.validation[half].mean() < plain.history.validation[half].mean() - 0.01
    steps = []
    part = fit(
        flow(), stars, FitConfig(**noisy, average=0.05), key=KEY,
        on_progress=lambda p: steps.append(p.step) or p.step < 500,
    )  # fmt: skip
    again = fit(flow(), stars, FitConfig(**noisy, average=0.05), key=KEY, resume=part)
    for a, b in zip(arrays(mean.model), arrays(again.model), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("members", [None, 2])
def test_data_on_disk_give_the_same_fit(stars, tmp_path, monkeypatch, members):
    np.save(tmp_path / "stars.npy", stars.astype(np.float64))
    mapped = np.load(tmp_path / "stars.npy", mmap_mode="r")
    monkeypatch.setattr(Batches, "WINDOW", 1000)  # so that the stars come in several windows, the last one shorter
    taken = []
    inner = Batches.at

    def at(self, step):
        window = inner(self, step)
        taken.append(window[1][0].shape)
        return window

    monkeypatch.setattr(Batches, "at", at)

    def train(data):
        if members:
            return fit_ensemble(build, data, CONFIG, key=KEY, members=members)
        return fit(build(KEY), data, CONFIG, key=KEY)

    from_disk = train(mapped)
    assert {s[-2] for s in taken} == {3 * 256}  # never more than a window on the device
    in_memory = train(stars)
    for a, b in zip(arrays(in_memory.model), arrays(from_disk.model), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_nan_on_disk_is_found(stars, tmp_path):
    stars[4321, 1] = np.nan
    np.save(tmp_path / "stars.npy", stars)
    with pytest.raises(ValueError, match="NaN or inf"):
        fit(flow(), np.load(tmp_path / "stars.npy", mmap_mode="r"), CONFIG, key=KEY)


@pytest.mark.parametrize("matching", ["implicit", "sliced", "denoising"])
def test_score_models_find_the_gradient(stars, matching):
    model = ScoreModel([3.0, 4.0], [2.0, 2.0], config=ScoreConfig(48, 2, matching, noise=0.15), key=KEY)
    trained = fit(model, stars, FitConfig(epochs=40, min_steps=0, batch_size=256), key=KEY)
    x = stars[:1000].astype(float)
    a, b = (x[:, 0] - 3) / 2, x[:, 1] - 3 - ((x[:, 0] - 3) / 2) ** 2
    truth = np.stack([-a / 2 + b * a, -b], 1)

    def error(score):
        return np.mean((np.asarray(score) - truth) ** 2) / np.mean(truth**2)

    assert error(trained.model.score(x)) < (0.35 if matching == "denoising" else 0.2)
    assert error(model.score(x)) > 0.5  # before
    assert trained.history.validation.iloc[-1] < trained.history.validation.dropna().iloc[0]


def test_conditional_score_model(rng):
    given = rng.normal(size=(6000, 1)).astype(np.float32)
    x = (2 * given + rng.normal(size=(6000, 1))).astype(np.float32)
    model = ScoreModel([0.0], [2.0], 1, ScoreConfig(32, 2), key=KEY)
    trained = fit(model, x, FitConfig(epochs=30, min_steps=0, batch_size=256), key=KEY, condition=given)
    score = np.asarray(trained.model.score(x[:500], given[:500]))
    truth = 2 * given[:500] - x[:500]
    assert np.corrcoef(score[:, 0], truth[:, 0])[0, 1] > 0.95
    with pytest.raises(ValueError, match="condition"):
        fit(model, x, CONFIG, key=KEY)


def test_refused_plans(stars):
    for wrong in (
        {"epochs": 0},
        {"epochs": 1.5},
        {"batch_size": 0},
        {"min_steps": -1},
        {"patience": 0},
        {"patience": 2.5},
    ):
        with pytest.raises(ValueError, match="as a whole number of at least"):
            FitConfig(**wrong)
    for wrong in ({"learning_rate": 0.0}, {"learning_rate": np.nan}, {"b2": 1.0}, {"seconds_per_report": -1}):
        with pytest.raises(ValueError, match="as a number"):
            FitConfig(**wrong)
    for wrong in ({"validation": 1.0}, {"validation": -0.1}, {"average": 1.5}):
        with pytest.raises(ValueError, match="from 0 to below 1"):
            FitConfig(**wrong)
    with pytest.raises(ValueError, match="held out to judge by"):
        FitConfig(patience=3, validation=0.0)
    with pytest.raises(ValueError, match="held out to judge density by"):
        fit(flow(), stars[:300], FitConfig(patience=3, validation=0.001), key=KEY)
    for wrong in ({"width": 0}, {"noise": 0.0}, {"noise": -1.0}):
        with pytest.raises(ValueError, match=r"as a (whole )?number"):
            ScoreConfig(**wrong)
    with pytest.raises(ValueError, match="implicit, sliced, denoising, got 'guess'"):
        ScoreConfig(matching="guess")
    with pytest.raises(ValueError, match="of one length, got shapes"):
        fit(flow(1, 1), stars[:, 1:], CONFIG, key=KEY, condition=stars[:100, :1])
