"""A student does what its teacher does, in one pass, and learns it without a slow one."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from clearview.flows import IAF, MAF, Coupling, FitConfig, FlowConfig, Standardised
from clearview.flows.discrete import InverseLayer, MaskedLayer
from clearview.generation import DistillConfig, Distilled, distill
from clearview.generation.distill import core, to_data, to_noise

KEY = random.key(0)
TRAINING = FitConfig(min_steps=300, epochs=1, batch_size=256, learning_rate=1e-2, b2=0.99, average=0.05)


def rough(flow, amount):
    arrays, static = eqx.partition(flow, eqx.is_inexact_array)
    leaves, tree = jax.tree.flatten(arrays)
    keys = random.split(random.key(1), len(leaves))
    leaves = [a + amount * random.normal(k, a.shape) for a, k in zip(leaves, keys, strict=True)]
    return eqx.combine(jax.tree.unflatten(tree, leaves), static)


@pytest.fixture(scope="module")
def teacher():
    size = FlowConfig(2, 12, 1, "spline", bins=4, spread=1.0)
    return Standardised(rough(MAF(3, 1, size, key=KEY), 0.1), [5.0, -1.0, 0.0], [2.0, 0.1, 30.0])


@pytest.fixture(scope="module")
def data(teacher):
    given = random.normal(random.key(2), (2000, 1))
    return np.asarray(teacher.sample(random.key(3), condition=given)), np.asarray(given)


@pytest.fixture(scope="module")
def taught(teacher, data):
    """The student, and what was told on the way; nobody runs in the slow direction."""
    told = []
    with pytest.MonkeyPatch.context() as patch:

        def slow(*args):
            raise AssertionError("a slow direction")

        patch.setattr(MaskedLayer, "inverse", slow)
        patch.setattr(InverseLayer, "forward", slow)
        found = distill(teacher, data[0], DistillConfig(training=TRAINING), condition=data[1], on_progress=told.append)
    return found, told


def test_a_student_draws_what_its_teacher_draws(teacher, data, taught):
    model = taught[0].model
    assert taught[0].stopped == "finished"
    assert isinstance(model, Distilled)
    z, given = random.normal(random.key(4), (500, 3)), jnp.asarray(data[1][:500])
    true, ours = (jax.jit(jax.vmap(flow.from_base))(z, given) / teacher.scale for flow in (teacher, model))
    # The largest of what only a flow without layers would give is several.
    assert np.sqrt(np.mean((ours - true) ** 2)) < 0.12
    assert np.sqrt(np.mean((z + teacher.mean / teacher.scale - true) ** 2)) > 0.6


def test_its_density_is_the_teachers_and_its_own_is_exact(teacher, data, taught):
    model = taught[0].model
    x, given = data[0][:200], data[1][:200]
    np.testing.assert_array_equal(model.log_prob(x, given), teacher.log_prob(x, given))
    drawn = model.sample(random.key(5), condition=given)
    np.testing.assert_array_equal(drawn, model.student.sample(random.key(5), condition=given))
    # E ln(student / teacher) over the student's draws is positive, and small.
    gap = np.asarray(model.student.log_prob(drawn, given) - teacher.log_prob(drawn, given))
    assert -0.02 < gap.mean() < 0.15


def test_progress_is_told(taught):
    told = taught[1]
    assert told[-1].stage == "student"
    assert told[-1].fraction == 1.0
    assert taught[0].history["validation"].dropna().iloc[-1] < 0.2 * taught[0].history["train"].iloc[0]


def test_cancelled_and_resumed_it_learns_the_same(data):
    teacher = rough(MAF(3, None, FlowConfig(1, 4, 1), key=KEY), 0.1)
    config = DistillConfig(training=FitConfig(min_steps=6, epochs=1, batch_size=256, seconds_per_report=0))
    whole = distill(teacher, data[0], config)
    part = distill(teacher, data[0], config, on_progress=lambda p: p.step < 3)
    assert part.stopped == "cancelled"
    again = distill(teacher, data[0], config, resume=part)
    for a, b in zip(jax.tree.leaves(whole.model), jax.tree.leaves(again.model), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="Expected to resume with the teacher it began with"):
        distill(rough(teacher, 0.1), data[0], config, resume=part)
    done = distill(teacher, data[0], config, resume=again)
    assert jax.tree.structure(done.model) == jax.tree.structure(again.model)


def test_steps_are_those_of_the_flows(teacher, data):
    maf = core(teacher)
    x, given = jnp.asarray([0.3, -0.2, 1.0]), jnp.asarray(data[1][0])
    down = eqx.filter_jit(to_noise)(maf, x, given)
    assert down.points.shape == (3, 3)
    np.testing.assert_allclose(down.points[-1], eqx.filter_jit(maf.to_base)(x, given)[0], rtol=1e-6)
    # A student with the very parameters of the teacher goes back along the same points.
    iaf = IAF(3, 1, FlowConfig(2, 12, 1, "spline", bins=4), key=KEY)
    up = eqx.filter_jit(to_data)(iaf, x, given)
    np.testing.assert_allclose(up.points[0], eqx.filter_jit(iaf.from_base)(x, given), rtol=1e-5)
    assert up.parameters.shape == down.parameters.shape


def test_an_inverse_flow_is_a_flow():
    flow = rough(IAF(3, 2, FlowConfig(2, 8, 1), key=KEY), 0.3)
    given = jnp.asarray([0.5, -1.0])
    z = random.normal(random.key(6), (3,))
    slopes, x = jax.jit(jax.jacfwd(lambda z: (flow.from_base(z, given),) * 2, has_aux=True))(z)
    back, log_det = eqx.filter_jit(flow.to_base)(x, given)
    np.testing.assert_allclose(back, z, rtol=1e-4, atol=1e-5)
    jacobian = np.asarray(slopes, float)
    np.testing.assert_allclose(log_det, -np.linalg.slogdet(jacobian)[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda t, x, c: distill(Coupling(3, 1, key=KEY), x, condition=c), "Expected a masked autoregressive flow"),
        (lambda t, x, c: distill(t, x), "Expected a condition of 1"),
        (lambda t, x, c: distill(t, x[:, :2], condition=c), "3 coordinates"),
        (lambda t, x, c: distill(t, x, {"width": 3}, condition=c), "Expected a DistillConfig"),
        (lambda t, x, c: distill(t, np.where(x > 5, np.nan, x), condition=c), "NaN"),
        (lambda t, x, c: distill(t, x[:0], condition=c[:0]), "got 0 points"),
        (lambda t, x, c: distill(t, x, DistillConfig(training=FitConfig(batch_size=1)), condition=c), "batches of 1"),
        (lambda t, x, c: DistillConfig(width=0), "width"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(teacher, data, wrong, sentence):
    with pytest.raises((TypeError, ValueError), match=sentence):
        wrong(teacher, *data)


def test_a_config_goes_through_plain_values():
    config = DistillConfig(width=9, training=TRAINING)
    assert DistillConfig.from_dict(config.to_dict()) == config
