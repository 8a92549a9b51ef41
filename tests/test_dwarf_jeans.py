"""The radial flow and Jeans' equation on a grid, against integrals done another way."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from clearview.dwarfs import Anisotropy, RadialFlow, Sphere, fit_radial, mass, moments_los, pressure
from clearview.dwarfs.hmc import effective_size, sample, split_rhat
from clearview.dwarfs.model import ln_losvd
from clearview.halos import Soliton, Zhao
from clearview.mocks import CORE, CUSP, PLUMMER, TRACER, DwarfTruth, mock_dwarf

R = np.geomspace(0.005, 3, 30)
SEVERAL = Anisotropy(-0.2, np.array([0.3, -0.1, 0.5]), np.array([0.1, 0.3, 1.0]))


@pytest.fixture(scope="module")
def sphere():
    return Sphere.of(R, low=1e-4, high=100.0)


@pytest.mark.parametrize(
    "truth",
    [
        DwarfTruth(TRACER, CORE), DwarfTruth(TRACER, CORE, 0.25), DwarfTruth(PLUMMER, Soliton(2e8, 1.0)),
        DwarfTruth(Zhao(1.0, 0.25, 2.0, 5.0, 1.0), CUSP, 0.5),
    ],
)  # fmt: skip
def test_jeans_is_the_truth(sphere, truth):
    with jax.enable_x64(True):
        inside = mass(sphere, truth.density(sphere.r))
        n = truth.tracer_density(sphere.r)
        ra = truth.anisotropy
        anisotropy = Anisotropy() if ra is None else Anisotropy(0.0, 1.0, ra)
        sigma_r = np.sqrt(pressure(sphere, n, inside, anisotropy) / n)
        variance, _, surface = moments_los(sphere, n, inside, anisotropy)
    np.testing.assert_allclose(inside, truth.mass(sphere.r), rtol=2e-4)
    seen = (sphere.r > 0.003) & (sphere.r < 10)
    np.testing.assert_allclose(sigma_r[seen], truth.sigma_r(sphere.r[seen]), rtol=2e-4)
    np.testing.assert_allclose(np.sqrt(variance), truth.sigma_los(R), rtol=2e-4)
    np.testing.assert_allclose(surface, truth.surface_density(R), rtol=1e-4)


@pytest.mark.parametrize(
    "anisotropy", [Anisotropy(0.3, 0.3), Anisotropy(-0.4, 0.6, 0.3, 1.5), Anisotropy(0.0, 1.0, 0.25), SEVERAL]
)
def test_any_anisotropy_satisfies_jeans_equation(anisotropy):
    sphere = Sphere.of(R[:2], low=1e-4, high=100.0, size=800)
    r = sphere.r
    n, inside = TRACER.density(r), CORE.mass(r)
    with jax.enable_x64(True):
        p = np.asarray(pressure(sphere, n, inside, anisotropy))
        beta = np.asarray(anisotropy.beta(r))
        kernel = np.asarray(anisotropy.ln_kernel(r))
    np.testing.assert_allclose(np.gradient(kernel, np.log(r))[5:-5], 2 * beta[5:-5], atol=5e-3)
    pulled = n * 4.30091e-6 * inside / r
    left = np.gradient(p, np.log(r), edge_order=2) + 2 * beta * p
    seen = (r > 0.01) & (r < 5)
    np.testing.assert_allclose(left[seen], -pulled[seen], rtol=0.02)  # of the differences


@pytest.mark.parametrize("beta", [-1.0, -4.0, -300.0])
def test_tangential_orbits(beta):
    # With n ~ r^-5 and M ~ r far out, n s^2 = n G M / r / (5 - 2 beta) there; nothing may be lost to cancellation.
    sphere = Sphere.of(R[:3], low=1e-4, high=1e3, size=200)
    with jax.enable_x64(True):
        n, inside = sphere.r**-5.0, 1e8 * sphere.r
        p = np.asarray(pressure(sphere, n, inside, Anisotropy(beta, beta)))
    np.testing.assert_allclose(p / (n * 4.30091e-6 * 1e8), 1 / (5 - 2 * beta), rtol=1e-3)


@pytest.mark.parametrize(("halo", "ra"), [(CORE, None), (CORE, 0.25), (CUSP, 0.25)])
def test_the_fourth_moment_is_that_of_drawn_stars(halo, ra):
    stars = mock_dwarf(150_000, 7, halo=halo, anisotropy=ra, velocity_error=0.0)
    at, v = stars["R"], stars["v_los"]
    edges = np.array([0.05, 0.15, 0.3, 0.6])
    fine = np.sort(np.concatenate([np.linspace(a, b, 9)[1:-1] for a, b in itertools.pairwise(edges)]))
    sphere = Sphere.of(fine, low=1e-4, high=100.0)
    anisotropy = Anisotropy() if ra is None else Anisotropy(0.0, 1.0, ra)
    with jax.enable_x64(True):
        _, fourth, surface = moments_los(sphere, TRACER.density(sphere.r), halo.mass(sphere.r), anisotropy)
    for own, there, weight in zip(*(np.split(np.asarray(a), 3) for a in (fine, fourth, surface * fine)), strict=True):
        drawn = v[(at > own[0] - (own[1] - own[0])) & (at < own[-1] + (own[1] - own[0]))] ** 4
        error = drawn.std() / np.sqrt(len(drawn))
        assert np.average(there, weights=weight) == pytest.approx(drawn.mean(), abs=3.5 * error, rel=0.02)


@pytest.mark.parametrize("anisotropy", [Anisotropy(-0.4, 0.6, 0.3, 1.5), Anisotropy(0.5, -0.5, 0.2, 3.0), SEVERAL])
def test_the_fourth_moment_obeys_the_virial_theorem(anisotropy):
    # Merrifield & Kent 1990: integral Sigma <v^4> R dR = 2/5 integral n (5 - 2 beta) s^2 G M r dr, whatever the rest.
    R = np.geomspace(1e-3, 60, 300)
    sphere = Sphere.of(R, low=1e-4, high=1000.0, size=400)
    n, inside = TRACER.density(sphere.r), CORE.mass(sphere.r)
    with jax.enable_x64(True):
        _, fourth, surface = moments_los(sphere, n, inside, anisotropy)
        p, beta = pressure(sphere, n, inside, anisotropy), anisotropy.beta(sphere.r)
    left = integrate.trapezoid(surface * fourth * R**2, np.log(R))
    right = 0.4 * integrate.trapezoid((5 - 2 * beta) * p * 4.30091e-6 * inside * sphere.r**2, np.log(sphere.r))
    assert float(left) == pytest.approx(float(right), rel=2e-3)


@pytest.mark.parametrize("excess", [-0.9, -0.3, 0.0, 0.3, 2.0, 4.0])
def test_velocities_have_the_moments_asked_for(excess):
    v = np.linspace(-150, 150, 60_001)
    with jax.enable_x64(True):
        density = np.exp(np.asarray(ln_losvd(v, 9.0, np.full_like(v, excess))))
        slope = jax.grad(ln_losvd, argnums=2)(4.0, 9.0, excess)
    moments = [integrate.trapezoid(density * v**k, v) for k in (0, 2, 4)]
    assert moments[0] == pytest.approx(1, abs=1e-5)
    assert moments[1] == pytest.approx(9, rel=1e-5)
    assert moments[2] / 81 - 3 == pytest.approx(excess, abs=0.06 * abs(excess) + 1e-6)
    assert np.isfinite(slope)


def test_a_plummer_sphere_is_a_flow():
    with jax.enable_x64(True):
        flow, truth = RadialFlow.of(0.25), DwarfTruth(PLUMMER, CORE)
        np.testing.assert_allclose(np.exp(flow.log_density(R)), truth.tracer_density(R), rtol=1e-10)
        np.testing.assert_allclose(flow.surface_density(R), truth.surface_density(R), rtol=1e-6)
        np.testing.assert_allclose(flow.inside(R), PLUMMER.mass(R) / PLUMMER.mass(1e6), rtol=1e-6)


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.2])
def test_any_flow_is_a_density(slope):
    with jax.enable_x64(True):
        flow = RadialFlow.of(0.25, slope, [1.2, 0.8, 1.1, 1.3, 2.0])
        whole = integrate.quad(
            lambda t: float(4 * np.pi * np.exp(3 * t + flow.log_density(np.exp(t)))), -25, 12, limit=300
        )
        assert whole[0] == pytest.approx(1, abs=1e-7)
        sky = integrate.quad(
            lambda t: float(2 * np.pi * np.exp(2 * t) * flow.surface_density(np.exp(t))), -12, 8, limit=300
        )
        assert sky[0] == pytest.approx(1, abs=1e-5)
        assert float(flow.slope) == pytest.approx(slope)
        inner = (flow.log_density(1e-5) - flow.log_density(1e-6)) / np.log(10)
        assert inner == pytest.approx(-slope, abs=1e-3)
        np.testing.assert_allclose(flow.radius(flow.inside(R)), R, rtol=1e-8)


def test_rotations_change_nothing():
    with jax.enable_x64(True):
        flow = RadialFlow.of(0.25, 0.3)
        x = flow.sample(jax.random.key(1), 500)
        turn = np.linalg.qr(np.random.default_rng(2).standard_normal((3, 3)))[0]
        np.testing.assert_allclose(flow.log_prob(x @ turn), flow.log_prob(x), rtol=1e-12, atol=1e-12)
        plane = x[:, :2]
        np.testing.assert_allclose(flow.log_prob(plane[:, ::-1]), flow.log_prob(plane), rtol=1e-12)
        part = np.sort(np.asarray(flow.inside(jnp.linalg.norm(x, axis=1))))
    assert np.abs(part - np.linspace(0, 1, 500)).max() < 0.08  # Kolmogorov and Smirnov, p about 1e-3


def test_the_flow_learns_a_profile():
    x = DwarfTruth(TRACER, CORE).sample(3000, np.random.default_rng(3))[0]
    seen = np.hypot(x[:, 0], x[:, 1])
    flow, ln_likelihood = fit_radial(seen)
    fixed, ln_fixed = fit_radial(seen, slope=0.1)
    at = np.geomspace(0.03, 1.0, 10)
    for found in (flow, fixed):
        np.testing.assert_allclose(found.surface_density(at), DwarfTruth(TRACER, CORE).surface_density(at), rtol=0.15)
    assert float(fixed.slope) == pytest.approx(0.1, abs=1e-3)
    # What the scan prefers lies in the few stars within a tenth of the scale.
    steep = fit_radial(seen, slope=1.8)[1]
    assert ln_fixed > steep
    assert ln_likelihood > steep
    for bad in ([1.0] * 5, [np.nan] * 20, [-1.0] * 20):
        with pytest.raises(ValueError, match="positive radii"):
            fit_radial(bad)


def test_chains_draw_a_gaussian():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((6, 6))
    covariance = root @ root.T + 0.1 * np.eye(6)
    precision = np.linalg.inv(covariance)

    def gradient(w):
        return -0.5 * np.einsum("ci,ij,cj->c", w, precision, w), -w @ precision

    start = rng.standard_normal((12, 6))
    start[0] *= 50  # where no step would be accepted
    chains = sample(gradient, start, np.diag(np.diag(covariance)), warmup=150, draws=300, seed=1)
    points = chains.draws.reshape(-1, 6)
    assert split_rhat(chains.draws).max() < 1.02
    assert effective_size(chains.draws).min() > 800
    scale = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(np.cov(points.T) / np.outer(scale, scale), covariance / np.outer(scale, scale), atol=0.2)
    np.testing.assert_allclose(points.mean(0) / scale, 0, atol=0.12)
    stuck = chains.draws.copy()
    stuck[:, 0] += 3 * scale
    assert split_rhat(stuck).max() > 1.1
    told = []
    cut = sample(
        gradient, start, covariance, warmup=50, draws=50, seed=1, on_step=lambda i, n: told.append(i) or i < 60
    )
    assert (cut.stopped, len(cut.draws), told[-1]) == ("cancelled", 10, 60)
    slow = np.cumsum(rng.standard_normal((400, 4, 1)), axis=0)
    assert effective_size(slow).min() < 60
