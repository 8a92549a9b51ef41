"""Every flow through one set of invariants: inverse, log-determinant, normalisation, sampling, saving."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from clearview import flows
from clearview.flows import MAF, Ball, MAFConfig, PhaseSpace, Standardised
from clearview.flows.density import rotate, soft_ball
from clearview.flows.maf import MaskedLayer
from clearview.units import SUN

KEY = random.key(0)


def roughen(density, amount=0.3):
    """The same flow with weights far from the identity, as after training."""
    arrays, static = eqx.partition(density, eqx.is_inexact_array)
    leaves, tree = jax.tree.flatten(arrays)
    keys = random.split(random.key(1), len(leaves))
    leaves = [a + amount * random.normal(k, a.shape) for a, k in zip(leaves, keys, strict=True)]
    return eqx.combine(jax.tree.unflatten(tree, leaves), static)


def maf(dim, condition=None, layers=3):
    return roughen(MAF(dim, condition, MAFConfig(layers, 16), key=KEY), 0.2)


FLOWS = {
    "maf1": lambda: maf(1),
    "maf2": lambda: maf(2),
    "maf3": lambda: maf(3),
    "maf5": lambda: maf(5),
    "maf2 given 3": lambda: maf(2, 3),
    "standardised": lambda: Standardised(maf(3), [1.0, 2.0, -5.0], [0.1, 3.0, 40.0]),
    "ball": lambda: Ball(Standardised(maf(3), np.zeros(3), np.ones(3) * 0.7), SUN.position, 4.0),
}


@pytest.fixture(params=FLOWS)
def density(request):
    return FLOWS[request.param]()


def points(density, count=64):
    """Draws of the density itself and conditions."""
    condition = None if density.condition_dim is None else random.normal(KEY, (count, density.condition_dim))
    return density.sample(random.key(5), () if condition is not None else (count,), condition), condition


def test_inverse(density):
    x, condition = points(density)
    to_base, from_base = eqx.filter_jit(density.to_base), eqx.filter_jit(density.from_base)
    for i, point in enumerate(x[:8]):
        given = None if condition is None else condition[i]
        z, _ = to_base(point, given)
        np.testing.assert_allclose(from_base(z, given), point, rtol=2e-3, atol=2e-3)


def test_log_determinant_is_that_of_autodiff(density):
    x, condition = points(density)
    to_base = eqx.filter_jit(density.to_base)
    jacobian = eqx.filter_jit(jax.jacfwd(lambda point, given: density.to_base(point, given)[0]))
    for i, point in enumerate(x[:8]):
        given = None if condition is None else condition[i]
        expected = np.linalg.slogdet(np.asarray(jacobian(point, given), float))[1]
        np.testing.assert_allclose(to_base(point, given)[1], expected, rtol=1e-3, atol=2e-3)


def test_batches_and_shapes(density):
    x, condition = points(density)
    one = [density.log_prob(p, None if condition is None else condition[i]) for i, p in enumerate(x[:4])]
    np.testing.assert_allclose(density.log_prob(x, condition)[:4], one, rtol=1e-4, atol=1e-4)
    assert density.log_prob(x.reshape(2, 32, -1), None if condition is None else condition[0]).shape == (2, 32)
    with pytest.raises(ValueError, match="on the last axis"):
        density.log_prob(jnp.zeros((3, density.dim + 1)), condition)
    with pytest.raises(ValueError, match="condition"):
        density.log_prob(x, jnp.zeros((64, 9)))


def test_save_and_load_give_equal_arrays(density, tmp_path):
    flows.save(tmp_path / "flow", "flow", {}, density)
    _, again = flows.load(tmp_path / "flow", "flow", lambda header: density)
    x, condition = points(density)
    np.testing.assert_array_equal(density.log_prob(x, condition), again.log_prob(x, condition))


@pytest.mark.parametrize(("name", "size"), [("maf1", 4000), ("maf2", 600), ("maf2 given 3", 600)])
def test_normalised_by_quadrature(name, size):
    density = FLOWS[name]()
    axis = np.linspace(-30, 30, size, dtype=np.float32)
    mesh = np.stack(np.meshgrid(*[axis] * density.dim, indexing="ij"), -1)
    condition = None if density.condition_dim is None else jnp.array([0.3, -1.0, 0.5])
    total = np.exp(np.asarray(density.log_prob(mesh, condition), float)).sum() * (axis[1] - axis[0]) ** density.dim
    assert total == pytest.approx(1, abs=0.01)


def test_ball_is_normalised_inside_and_empty_outside(rng):
    density = FLOWS["ball"]()
    x = SUN.position + rng.uniform(-4, 4, (400_000, 3))
    p = np.exp(np.asarray(density.log_prob(x), float))
    assert p.mean() * 8.0**3 == pytest.approx(1, abs=5 * p.std() / p.mean() / np.sqrt(len(p)))
    outside = np.linalg.norm(x - SUN.position, axis=1) > 4.0
    assert (p[outside] == 0).all()
    assert np.isfinite(density.log_prob(x[~outside])).all()
    draws = density.sample(KEY, (2000,))
    assert (np.linalg.norm(draws - SUN.position, axis=1) <= 4.0001).all()


def test_soft_ball_is_smooth_at_the_center():
    f = jax.grad(lambda q: soft_ball(q)[1])
    for size in (0.0, 1e-5, 0.031, 0.032, 0.9):
        assert np.isfinite(f(jnp.array([size, 0.0, 0.0]))).all()
    # Both branches of the radial map agree where they meet (|q|^2 = 1e-3).
    below, above = (soft_ball(jnp.array([s, 0.0, 0.0])) for s in (0.03162, 0.03163))
    np.testing.assert_allclose(below[0] / 0.03162, above[0] / 0.03163, rtol=1e-6)


def test_autoregressive_masks():
    layer = roughen(MaskedLayer(4, 2, 32, 2, key=KEY))
    jacobian = jax.jit(jax.jacobian(lambda x: layer.shift_and_log_scale(x, jnp.ones(2))[0]))(jnp.arange(4.0))
    assert np.array_equal(np.abs(jacobian) > 0, np.tril(np.ones((4, 4)), -1) > 0)
    given = jax.jit(jax.jacobian(lambda c: layer.shift_and_log_scale(jnp.arange(4.0), c)[0]))(jnp.ones(2))
    assert (np.abs(given) > 0).all()  # every coordinate, the first too, knows the condition


def test_second_derivatives_are_smooth():
    density = maf(2)
    hessian = jax.jit(jax.hessian(density.log_prob))
    a, b = (hessian(jnp.array([x, 0.1])) for x in (0.5, 0.5001))
    assert np.abs(a).max() > 1e-2
    np.testing.assert_allclose(a, b, atol=1e-2)


def test_rotate_is_its_own_inverse_and_finds_the_disc(rng):
    x, v = rng.normal(size=(2, 100, 3)) * np.array([8.0, 8.0, 1.0])
    np.testing.assert_allclose(rotate(x, rotate(x, v)), v, rtol=1e-4, atol=1e-4)
    v_R, v_phi, _ = rotate(jnp.asarray(SUN.position), jnp.asarray(SUN.velocity))
    assert v_phi == pytest.approx(245.6, abs=0.1)
    assert v_R == pytest.approx(-12.9, abs=0.1)


def test_phase_space_samples_follow_its_density(rng):
    n = FLOWS["ball"]()
    density = PhaseSpace(n, Standardised(maf(3, 3, layers=1), [0.0, 200.0, 0.0], [40.0, 30.0, 20.0]))
    x = jnp.asarray(SUN.position + np.array([0.5, 1.0, 0.2]), jnp.float32)
    v = density.sample_velocity(KEY, x, 200_000)
    # Importance: mean of w/p(v|x) over draws is the integral of w, a box in velocity.
    low, high = np.quantile(v, [0.3, 0.7], axis=0)
    inside = ((v > low) & (v < high)).all(1)
    log_p = density.log_f(jnp.broadcast_to(x, v.shape), v) - density.log_n(x)
    volume = np.where(inside, np.exp(-np.asarray(log_p, float)), 0)
    assert volume.mean() == pytest.approx(np.prod(high - low), rel=5 * volume.std() / volume.mean() / len(v) ** 0.5)
