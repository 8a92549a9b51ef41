"""Density from an acceleration: closed forms, the truth smoothed alike, and what is refused."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from clearview.dynamics import density_error, density_field, mass_density, smooth
from clearview.field import Axis
from clearview.mocks import Truth
from clearview.units import SUN, G


class Harmonic:
    """a = -w^2 (x - center): the density is 3 w^2 / (4 pi G) everywhere."""

    rho = 3 * 30.0**2 / (4 * np.pi * G)

    def acceleration(self, x):
        return -(30.0**2) * (np.asarray(x) - [1.0, 2.0, 3.0])


class Ball(Truth):
    """The truth, known within 4 kpc of the Sun."""

    center, radius = SUN.position, 4.0


@pytest.fixture(scope="module")
def places():
    rng = np.random.default_rng(1)
    return np.stack([rng.uniform(5, 11, 40), rng.uniform(-3, 3, 40), rng.uniform(-1.5, 1.5, 40)], axis=-1)


@pytest.mark.parametrize("truncation", [0.3, 1.0, 2.5, 5.0])
@pytest.mark.parametrize("kernel", [(0.5, 0.5, 0.2), (0.1, 0.1, 0.8)])
def test_a_harmonic_field_has_its_density_whatever_the_kernel(places, kernel, truncation):
    np.testing.assert_allclose(mass_density(Harmonic(), places, "gauss", kernel, truncation), Harmonic.rho, rtol=1e-10)


def test_a_harmonic_field_by_the_laplacian(places):
    np.testing.assert_allclose(mass_density(Harmonic(), places, "laplacian"), Harmonic.rho, rtol=1e-9)


@pytest.mark.parametrize("name", ["MWPotential2014", "heavier_disc"])
@pytest.mark.parametrize(("kernel", "truncation"), [((0.5, 0.5, 0.2), 2.5), ((0.3, 0.3, 0.4), 1.5)])
def test_gauss_gives_the_truth_smoothed_with_the_same_kernel(places, name, kernel, truncation):
    truth = Truth(name)
    places = np.concatenate([places, [[8.0, 0.0, 0.0]]])
    expected = smooth(truth.density, places, kernel, truncation)
    np.testing.assert_allclose(mass_density(truth, places, "gauss", kernel, truncation), expected, rtol=5e-4)
    assert expected[-1] < 0.95 * truth.density(places[-1:])[0]  # the kernel does smooth the disc


def test_smoothing_is_an_average_over_the_kernel():
    """Against Monte Carlo of the truncated Gaussian, and exact for a constant."""
    rng = np.random.default_rng(0)
    s = rng.normal(size=(400_000, 3))
    offset = s[(s**2).sum(-1) < 2.0**2] * [0.5, 0.5, 0.2]
    x = np.array([[8.0, 1.0, 0.4]])

    def function(p):
        return np.exp(-p[..., 0]) * np.cosh(3 * p[..., 2]) + p[..., 1] ** 2

    values = function(x + offset)
    assert abs(smooth(function, x, truncation=2.0)[0] - values.mean()) < 4 * values.std() / np.sqrt(len(values))
    np.testing.assert_allclose(smooth(lambda p: np.ones(len(p)), x), 1.0)


def test_the_laplacian_of_the_truth(places):
    truth = Truth()
    np.testing.assert_allclose(mass_density(truth, places, "laplacian"), truth.density(places), rtol=2e-3)


def test_a_map_gives_the_laplacian_of_its_network(tiny_map):
    """The trace of the Hessian against differences of the same network's acceleration; chunks do not matter."""

    class Plain:
        acceleration = staticmethod(tiny_map.acceleration)

    x = SUN.position + np.random.default_rng(0).uniform(-1, 1, (20, 3))
    exact = mass_density(tiny_map, x, "laplacian")
    np.testing.assert_allclose(mass_density(Plain(), x, "laplacian"), exact, atol=3e-3 * np.abs(exact).max())
    many = mass_density(tiny_map, np.tile(x, (30, 1)))  # more than one chunk
    np.testing.assert_allclose(many[-20:], mass_density(tiny_map, x), rtol=1e-3, atol=1e-3 * np.nanmax(np.abs(many)))
    with pytest.raises(ValueError, match="Resume it first"):
        mass_density(dataclasses.replace(tiny_map, stage=0), x, "laplacian")


@pytest.mark.parametrize("method", ["gauss", "laplacian"])
def test_the_formal_error_is_the_spread_of_the_members_densities(tiny_map, method):
    def changed(**parts):
        names = list(parts)
        series = eqx.tree_at(lambda s: [getattr(s, n) for n in names], tiny_map.series, [*parts.values()])
        return dataclasses.replace(tiny_map, series=series)

    def density(coefficients):
        return mass_density(changed(coefficients=coefficients), x, method)

    c, spread = tiny_map.series.coefficients, tiny_map.series.spread
    rng = np.random.default_rng(0)
    x = SUN.position + np.concatenate([rng.uniform(-1.5, 1.5, (40, 3)), [[3.9, 0, 0.6], [5, 0, 0]]])
    error = density_error(tiny_map, x, method)
    np.testing.assert_array_equal(np.isnan(error), np.isnan(mass_density(tiny_map, x, method)))
    assert np.isnan(error[-1])
    members = np.stack([density(c + spread @ rng.normal(size=len(c)).astype(np.float32)) for _ in range(400)])
    np.testing.assert_allclose(members.std(0)[:40], error[:40], rtol=0.2)
    np.testing.assert_allclose(members.mean(0)[:40], density(c)[:40], atol=0.2 * error[:40].max())

    # One direction of spread: the error is by how much the density changes along it.
    along = jnp.zeros_like(spread).at[:, 3].set(c / 10)
    expected = np.abs(density(c))[:40] / 10
    found = density_error(changed(spread=along), x, method)[:40]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * expected.max())
    assert not density_error(changed(spread=0 * spread), x, method)[:40].any()


def test_no_formal_error_of_what_is_no_finished_map(tiny_map):
    with pytest.raises(ValueError, match="Resume it first"):
        density_error(dataclasses.replace(tiny_map, stage=0), SUN.position[None])


def test_a_kernel_that_reaches_outside_gives_nan():
    ball = Ball()
    # At the fourth both the kernel's side (3.65, 1.62) and its top (2.4, 2.12) lie inside, but not what is between.
    x = np.add(ball.center, [[0, 0, 0], [2.7, 0, 0], [0, 0, 3.45], [2.4, 0, 1.62], [0, 0, 3.9], [0, 0, 4.1]])
    assert list(np.isnan(mass_density(ball, x))) == [False, False, False, True, True, True]
    assert list(np.isnan(mass_density(ball, x, "laplacian"))) == [False] * 5 + [True]
    with pytest.raises(ValueError, match="kernel lies inside the ball of 4 kpc"):
        mass_density(ball, x[-2:])
    with pytest.raises(ValueError, match="inside the ball of 4 kpc, got none"):
        mass_density(ball, x[-1:], "laplacian")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "poisson"}, "gauss or laplacian"),
        ({"kernel": (0.5, 0.4, 0.2)}, "along x as along y"),
        ({"kernel": (0.5, 0.5, 0.0)}, "widths above 0"),
        ({"truncation": 0.0}, "truncation between"),
        ({"x": np.zeros(3)}, "shape \\(N, 3\\)"),
    ],
)
def test_bad_input_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        mass_density(**{"source": Harmonic(), "x": np.zeros((1, 3)), **change})


def test_a_field_has_units_and_says_how_it_was_made():
    ball = Ball()
    axes = [Axis("R", 5.0, 12.0, 7), Axis("z", -2.0, 2.0, 5)]
    field = density_field(ball, axes, {"phi": 10.0})
    assert field.density.attrs["units"] == "Msun pc-3"
    assert field.density.dims == ("R", "z")
    assert field.attrs["density_method"] == "gauss"
    assert field.attrs["kernel_kpc"] == "0.5, 0.5, 0.2"
    assert 0 < field.attrs["places_outside"] == int(np.isnan(field.density).sum()) < 35
    R, z = float(field.R[3]), float(field.z[1])
    phi = np.deg2rad(10.0)
    expected = smooth(ball.density, np.array([[R * np.cos(phi), R * np.sin(phi), z]]))[0] * 1e-9
    np.testing.assert_allclose(field.density[3, 1], expected, rtol=1e-3)
    same = density_field(ball, [Axis("x", 6, 9, 3)], {"y": 0.0, "z": 0.5}, method="laplacian")
    assert "kernel_kpc" not in same.attrs
    with pytest.raises(ValueError, match="correct its name"):
        density_field(ball, axes, {"y": 0.0})
