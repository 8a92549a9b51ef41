"""Training finds what is there, can be cancelled and resumed bit for bit, and refuses what cannot work."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from clearview.flows import MAF, FitConfig, MAFConfig, Standardised, fit

KEY = random.key(0)
CONFIG = FitConfig(epochs=8, min_steps=0, batch_size=256, seconds_per_report=0.0)


def flow(dim=2, condition=None):
    return Standardised(MAF(dim, condition, MAFConfig(3, 16), key=KEY), [3.0] * dim, [2.0] * dim)


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


def test_a_wild_gradient_with_a_finite_loss_is_no_good_state(rng):
    """sqrt has a finite value and an infinite slope at zero: the parameters would turn NaN unseen."""
    from clearview.flows import optimise

    class Model(eqx.Module):
        a: jax.Array

    data = (rng.normal(size=(200, 1)).astype(np.float32),)
    result = optimise(
        Model(jnp.zeros(1)), lambda m, x: jnp.sqrt(jnp.abs(m.a)).sum() + 0 * x.sum(), data, CONFIG, key=KEY
    )  # fmt: skip
    assert result.stopped == "diverged"
    assert np.isfinite(result.model.a).all()


def test_the_best_model_is_kept(rng):
    few = rng.normal(size=(200, 2)).astype(np.float32)  # so few that training on them must overfit
    result = fit(flow(), few, FitConfig(epochs=300, batch_size=64, learning_rate=1e-2), key=KEY)
    validation = result.history.validation.dropna()
    order = np.asarray(random.permutation(random.split(KEY)[0], 200))
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


def test_few_stars_get_more_passes():
    assert FitConfig(epochs=2, min_steps=100, batch_size=64).plan(640) == (64, 10, 100)
    assert FitConfig(epochs=20, min_steps=100, batch_size=64).plan(640) == (64, 10, 200)
    assert FitConfig(epochs=1, min_steps=0, batch_size=64).plan(10) == (10, 1, 1)
