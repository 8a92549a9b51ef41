"""Every flow through one set of invariants: inverse, log-determinant, normalisation, sampling, saving."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from clearview import flows
from clearview.flows import (
    CNF,
    MAF,
    Ball,
    ContinuousConfig,
    Coupling,
    Ensemble,
    FlowConfig,
    PhaseSpace,
    Standardised,
)
from clearview.flows.density import rotate, soft_ball
from clearview.flows.discrete import MaskedLayer
from clearview.flows.transforms import Spline, bounded
from clearview.units import SUN

KEY = random.key(0)


def roughen(density, amount=0.3):
    """The same flow with weights far from the identity, as after training."""
    arrays, static = eqx.partition(density, eqx.is_inexact_array)
    leaves, tree = jax.tree.flatten(arrays)
    keys = random.split(random.key(1), len(leaves))
    leaves = [a + amount * random.normal(k, a.shape) for a, k in zip(leaves, keys, strict=True)]
    return eqx.combine(jax.tree.unflatten(tree, leaves), static)


def maf(dim, condition=None, layers=3, **kind):
    return roughen(MAF(dim, condition, FlowConfig(layers, 16, **kind), key=KEY), 0.1 if kind else 0.2)


def coupling(dim, condition=None, layers=4, **kind):
    return roughen(Coupling(dim, condition, FlowConfig(layers, 16, **kind), key=KEY), 0.05 if kind else 0.1)


def cnf(dim, condition=None, central=False):
    return roughen(CNF(dim, condition, ContinuousConfig(16, 2, steps=10), central=central, key=KEY), 0.1)


def ensemble(dim, condition=None):
    """Three members, each another."""
    each = [roughen(MAF(dim, condition, FlowConfig(2, 16), key=random.key(i)), 0.05 * (i + 1)) for i in range(3)]
    arrays, static = eqx.partition(each[0], eqx.is_array)
    arrays = jax.tree.map(lambda *leaves: jnp.stack(leaves), arrays, *[eqx.filter(m, eqx.is_array) for m in each[1:]])
    return Ensemble(eqx.combine(arrays, static))


FLOWS = {
    "maf1": lambda: maf(1),
    "maf2": lambda: maf(2),
    "maf3": lambda: maf(3),
    "maf5": lambda: maf(5),
    "maf2 given 3": lambda: maf(2, 3),
    "spline maf1": lambda: maf(1, transform="spline"),
    "spline maf2": lambda: maf(2, transform="spline", bins=5),
    "spline maf5": lambda: maf(5, transform="spline"),
    "spline maf2 given 3": lambda: maf(2, 3, transform="spline"),
    "coupling1": lambda: coupling(1),
    "coupling2": lambda: coupling(2),
    "coupling5": lambda: coupling(5),
    "coupling1 given 2": lambda: coupling(1, 2),
    "spline coupling2": lambda: coupling(2, transform="spline"),
    "spline coupling3": lambda: coupling(3, transform="spline", reach=6.0),
    "spline coupling2 given 3": lambda: coupling(2, 3, transform="spline"),
    "cnf2 given 3": lambda: cnf(2, 3),
    "central cnf6": lambda: cnf(6, central=True),
    "ensemble2": lambda: ensemble(2),
    "ensemble2 given 3": lambda: ensemble(2, 3),
    "standardised": lambda: Standardised(maf(3), [1.0, 2.0, -5.0], [0.1, 3.0, 40.0]),
    "ball": lambda: Ball(Standardised(maf(3), np.zeros(3), np.ones(3) * 0.7), SUN.position, 4.0),
}


@pytest.fixture(params=FLOWS)
def density(request):
    return FLOWS[request.param]()


@pytest.fixture(params=[name for name in FLOWS if not name.startswith("ensemble")])
def invertible(request):
    return FLOWS[request.param]()


def points(density, count=64):
    """Draws of the density itself and conditions."""
    condition = None if density.condition_dim is None else random.normal(KEY, (count, density.condition_dim))
    return density.sample(random.key(5), () if condition is not None else (count,), condition), condition


def test_inverse(invertible):
    density = invertible
    x, condition = points(density)
    to_base, from_base = eqx.filter_jit(density.to_base), eqx.filter_jit(density.from_base)
    for i, point in enumerate(x[:8]):
        given = None if condition is None else condition[i]
        z, _ = to_base(point, given)
        np.testing.assert_allclose(from_base(z, given), point, rtol=2e-3, atol=2e-3)


def test_log_determinant_is_that_of_autodiff(invertible):
    density = invertible
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


def test_score_is_the_gradient(density):
    x, condition = points(density)
    score = density.score(x, condition)
    assert score.shape == x.shape
    for axis in jnp.eye(density.dim):
        forward = jax.jvp(lambda at: density.log_prob(at, condition), (x,), (jnp.broadcast_to(axis, x.shape),))[1]
        np.testing.assert_allclose(score @ axis, forward, rtol=1e-3, atol=1e-3 * (1 + np.abs(forward).max()))


QUADRATURE = [(name, 4000 if "1" in name.split(" given")[0] else 1000 if "spline" in name else 600) for name in FLOWS
              if any(k in name for k in ("f1", "g1", "f2", "g2", "e2"))]  # fmt: skip


@pytest.mark.parametrize(("name", "size"), QUADRATURE)
def test_normalised_by_quadrature(name, size):
    density = FLOWS[name]()
    axis = np.linspace(-20, 20, size, dtype=np.float32)
    mesh = np.stack(np.meshgrid(*[axis] * density.dim, indexing="ij"), -1)
    condition = None if density.condition_dim is None else jnp.array([0.3, -1.0, 0.5])[: density.condition_dim]
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
    layer = roughen(MaskedLayer(4, 2, FlowConfig(1, 32, 2), 0, key=KEY))
    jacobian = jax.jit(jax.jacobian(lambda x: layer.parameters(x, jnp.ones(2))[0]))(jnp.arange(4.0))
    assert np.array_equal(np.abs(jacobian) > 0, np.tril(np.ones((4, 4)), -1) > 0)
    given = jax.jit(jax.jacobian(lambda c: layer.parameters(jnp.arange(4.0), c)[0]))(jnp.ones(2))
    assert (np.abs(given) > 0).all()  # every coordinate, the first too, knows the condition


def by_passes(layer, y, condition):
    """The inverse of a masked layer as it was published: the whole network once for each coordinate."""

    def again(_, x):
        return layer.transform.inverse(y[::-1], layer.parameters(x, condition))

    return jax.lax.fori_loop(0, layer.dim, again, jnp.zeros_like(y))


@pytest.mark.parametrize(("kind", "given"), [({}, None), ({"transform": "spline", "bins": 4}, 2)])
def test_a_masked_layer_is_inverted_coordinate_by_coordinate_as_by_whole_passes(kind, given):
    layer = roughen(MaskedLayer(4, given or 0, FlowConfig(1, 16, 2, **kind), 0, key=KEY))
    y = random.normal(KEY, (32, 4))
    condition = None if given is None else random.normal(random.key(3), (32, given))
    axes = 0, None if given is None else 0

    def both(inverse):
        value = jax.vmap(inverse, axes)
        return jax.jit(lambda y: (value(y, condition), jax.grad(lambda y: (value(y, condition) ** 2).sum())(y)))(y)

    for ours, whole in zip(both(layer.inverse), both(lambda y, c: by_passes(layer, y, c)), strict=True):
        np.testing.assert_allclose(ours, whole, rtol=2e-4, atol=2e-4 * np.abs(whole).max())


def test_splines_are_the_identity_at_zero_and_linear_in_the_tails():
    spline = Spline(8, 4.0)
    x = jnp.linspace(-2000, 2000, 4001)
    zero = jnp.zeros((spline.count, len(x)))
    np.testing.assert_allclose(spline.forward(x, zero)[0], x, rtol=1e-6, atol=2e-5)
    np.testing.assert_allclose(spline.forward(x, zero)[1], 0, atol=2e-5)
    wild = 5 * random.normal(KEY, (spline.count, 1)) * jnp.ones(len(x))
    y, log_slope = spline.forward(x, wild)
    assert np.isfinite(y).all()
    assert np.isfinite(log_slope).all()
    assert (np.diff(y) >= 0).all()
    shift, scale = wild[0, 0], np.exp(bounded(wild[1, 0]))
    tail = np.abs((x - shift) / scale) > 4.0
    assert tail.any()
    np.testing.assert_allclose(y[tail], ((x - shift) / scale)[tail], rtol=1e-5)
    np.testing.assert_allclose(log_slope[tail], -bounded(wild[1, 0]), rtol=1e-5)


@pytest.mark.parametrize("roughness", [1.0, 5.0, 20.0])
def test_wild_splines_are_inverted_and_have_gradients(roughness):
    spline = Spline(8, 4.0)
    raw = roughness * random.normal(KEY, (spline.count, 4000))
    raw = raw.at[:2].set(0.0)  # the affine part has tests of its own
    y = jnp.linspace(-5, 5, 4000)
    x = spline.inverse(y, raw)
    np.testing.assert_allclose(spline.forward(x, raw)[0], y, atol=1e-3)
    for function in (lambda r: spline.inverse(y, r).sum(), lambda r: spline.forward(1e12 * y, r)[1].sum()):
        assert np.isfinite(jax.grad(function)(raw)).all()


def test_a_wild_flow_stays_finite_far_out(density):
    """Linear tails and bounded scales: no runaway where there was no star to learn from."""
    condition = None if density.condition_dim is None else jnp.full(density.condition_dim, 50.0)
    far = density.log_prob(jnp.full(density.dim, 1e4), condition)
    assert far == -np.inf if isinstance(density, Ball) else np.isfinite(far)


def test_coupling_samples_in_one_pass():
    def loops(flow):
        jaxpr = jax.make_jaxpr(flow.from_base, static_argnums=1)(jnp.zeros(6), None)
        return [e for e in jaxpr.eqns if e.primitive.name in ("while", "scan")]

    flow = coupling(6)
    assert not loops(flow)
    assert len(loops(maf(6))) == 3  # one in each layer
    jacobian = jax.jit(jax.jacobian(lambda x: flow.to_base(x, None)[0]))(0.1 * jnp.arange(6.0))
    assert (np.abs(jacobian) > 1e-6).all()  # four layers let every coordinate know every other


def test_ensemble_is_the_mean_of_its_members():
    density, x = FLOWS["ensemble2"](), random.normal(KEY, (5, 2))
    each = np.stack([density.member(i).log_prob(x) for i in range(3)])
    np.testing.assert_allclose(density.log_prob_of_members(x), each, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(density.log_prob(x), np.log(np.exp(each).mean(0)), rtol=1e-4, atol=1e-4)
    draws = density.sample(KEY, (200_000,))
    assert draws.shape == (200_000, 2)
    own = [density.member(i).sample(random.key(i), (100_000,)) for i in range(3)]
    for level in (0.1, 0.5, 0.9):
        expected = np.quantile(np.concatenate(own), level, axis=0)
        spread = np.std(np.concatenate(own), axis=0)
        np.testing.assert_allclose(np.quantile(draws, level, axis=0), expected, atol=0.02 * spread.max())
    with pytest.raises(ValueError, match="member from 0 to 2"):
        density.member(3)


def test_conditional_ensemble_draws_keep_their_conditions():
    density = FLOWS["ensemble2 given 3"]()
    condition = jnp.concatenate([jnp.zeros((1, 3)), jnp.ones((1, 3))])
    draws = density.sample(KEY, (50_000,), condition)
    assert draws.shape == (50_000, 2, 2)
    for i in (0, 1):
        own = [density.member(k).sample(random.key(k), (50_000,), condition[i]) for k in range(3)]
        np.testing.assert_allclose(
            np.median(draws[:, i], 0), np.median(np.concatenate(own), 0), atol=0.03 * np.std(draws[:, i])
        )


def test_refused_sizes():
    for kind in ({"layers": 0}, {"spread": -1.0}, {"spread": np.nan}):
        with pytest.raises(ValueError, match=r"as a (whole )?number"):
            FlowConfig(**kind)
    with pytest.raises(ValueError, match="affine, spline, got 'cubic'"):
        FlowConfig(transform="cubic")
    for kind in ({"bins": 1}, {"bins": 2.5}, {"bins": 2000}, {"reach": 0.0}, {"reach": np.nan}, {"reach": np.inf}):
        with pytest.raises(ValueError, match=r"as a (whole )?number"):
            FlowConfig(transform="spline", **kind)
    assert MAF(2, config=FlowConfig(1, 4), key=KEY).layers[0].weights[0].shape == (2, 4)


def test_spread_moves_the_bends():
    plain, wide = (MAF(4, config=FlowConfig(1, 400, 2, spread=s), key=KEY).layers[0] for s in (0.0, 1.0))
    assert not np.any(plain.biases[0])
    assert np.std(np.asarray(wide.biases[1])) == pytest.approx(1, rel=0.2)
    assert not np.any(wide.biases[2])  # the transform still begins near the identity
    np.testing.assert_allclose(wide.weights[1], np.asarray(plain.weights[1]) / 2, rtol=1e-5)


def test_weights_have_their_scale_and_follow_the_key():
    one, again, other = (np.asarray(MAF(6, 3, key=random.key(k)).layers[1].weights[1]) for k in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)
    traced = eqx.filter_vmap(lambda key: MAF(6, 3, key=key))(random.split(KEY, 2)).layers[1].weights[1]
    assert np.std(one) == pytest.approx(np.std(np.asarray(traced[0])), rel=0.05)  # also where a key has no value yet


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


def test_a_flow_of_too_many_weights_is_refused_before_it_is_made():
    with pytest.raises(ValueError, match=r"at most 100,000,000 weights, got .* of 40,500 dimensions; make it smaller"):
        MAF(40_500, 46, FlowConfig(4, 128, 1, "spline", bins=6), key=KEY)
