"""The Jeans equations give back the force of a known equilibrium, and a parametric fit the potential of its family."""

import dataclasses

import numpy as np
import pytest

from clearview.catalogs import Catalog
from clearview.dynamics import FAMILIES, acceleration_field, binned_jeans, parametric_potential
from clearview.field import Axis
from clearview.mocks import Truth
from clearview.units import SUN, G

RADIUS, SIGMA, HEIGHT = 2.0, 40.0, 0.8


@dataclasses.dataclass
class Sheet:
    """f = exp(-(E - omega L_z) / SIGMA^2) in speed^2/2 ln(x^2 + (y/flat)^2) + an isothermal sheet, stationary for
    flat = 1 (it may then rotate) or omega = 0."""

    speed: float
    omega: float
    flat: float

    def potential(self, x):
        return self.speed**2 / 2 * np.log(x[:, 0] ** 2 + (x[:, 1] / self.flat) ** 2) + 2 * SIGMA**2 * np.log(
            np.cosh(x[:, 2] / HEIGHT)
        )

    def acceleration(self, x):
        pull = -(self.speed**2) / (x[:, 0] ** 2 + (x[:, 1] / self.flat) ** 2)
        a_z = -2 * SIGMA**2 / HEIGHT * np.tanh(x[:, 2] / HEIGHT)
        return np.stack([pull * x[:, 0], pull * x[:, 1] / self.flat**2, a_z], -1)

    def catalog(self, rng, number):
        x = ball(rng, 20 * number)
        log_n = -(self.potential(x) - (self.omega * np.hypot(x[:, 0], x[:, 1])) ** 2 / 2) / SIGMA**2
        x = x[rng.uniform(size=len(x)) < np.exp(log_n - log_n.max())][:number]
        v = self.omega * np.stack([-x[:, 1], x[:, 0], 0 * x[:, 0]], -1) + SIGMA * rng.normal(size=x.shape)
        return Catalog.from_phase_space(x, v)


def ball(rng, number, radius=RADIUS):
    direction = rng.normal(size=(number, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return SUN.position + radius * direction * rng.uniform(size=(number, 1)) ** (1 / 3)


def binned(sheet, **options):
    stars = sheet.catalog(np.random.default_rng(3), 60_000)
    return sheet, binned_jeans(stars, radius=RADIUS, resamples=16, **options)


@pytest.fixture(scope="module")
def rotating():
    """A disc whose mean motion carries two thirds of the radial force."""
    return binned(Sheet(200.0, -20.0, 1.0))


@pytest.fixture(scope="module")
def lopsided():
    return binned(Sheet(90.0, 0.0, 0.6), axisymmetric=False, bins=(10, 7, 16))


@pytest.fixture(scope="module")
def cells():
    x = ball(np.random.default_rng(3), 30_000, 4.0)
    return binned_jeans(Catalog.from_phase_space(x, 50 * x), radius=4.0, resamples=2)


def holding(jeans, source):
    """The cells of jeans with the accelerations of any source in them, and errors of 1e-3."""
    R, z = np.meshgrid(jeans.R, jeans.z, indexing="ij")
    a = source.acceleration(np.stack([R, 0 * R, z], -1).reshape(-1, 3)).reshape(*R.shape, 3)
    a = np.where(np.isfinite(jeans.a), np.moveaxis(a, -1, 0)[:, :, None], np.nan)
    noise = 1e-3 * np.random.default_rng(0).normal(size=(4, *a.shape)) * np.linalg.norm(a, axis=0)
    return dataclasses.replace(jeans, a=a, resamples=a + noise)


def compare(sheet, jeans, x):
    """Where there is an answer, its error and its true value, and its error in stated errors."""
    a, true = jeans.acceleration(x), sheet.acceleration(x)
    known = np.isfinite(a).all(1)
    assert known.mean() > 0.8
    return (a - true)[known], true[known], ((a - true) / jeans.acceleration_error(x))[known]


def test_rotating_disc(rotating, rng):
    error, true, pull = compare(*rotating, ball(rng, 4000, 0.85 * RADIUS))
    assert np.median(np.linalg.norm(error, axis=1) / np.linalg.norm(true, axis=1)) < 0.05
    # Places share their stars, and the smoothing's bias is not in the errors.
    assert 0.5 < np.sqrt(np.mean(pull**2)) < 2


def test_force_along_phi_without_axisymmetry(lopsided, rng):
    x = ball(rng, 4000, 0.85 * RADIUS)
    error, true, pull = compare(*lopsided, x)
    assert (np.sqrt(np.mean(error**2, axis=0)) < [250, 250, 400]).all()
    assert 0.5 < np.sqrt(np.mean(pull**2)) < 2
    # The force along y, which turns with phi and is absent in an axisymmetric answer, is there.
    slope = (error[:, 1] + true[:, 1]) @ true[:, 1] / (true[:, 1] @ true[:, 1])
    assert slope == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("bins", [(12, 1, 16), (8, 6, 10)])
def test_density_allows_for_the_part_of_a_cell_inside_the_ball(bins, rng):
    x = ball(rng, 60_000)
    stars = Catalog.from_phase_space(x, 50 * rng.normal(size=x.shape))
    jeans = binned_jeans(stars, radius=RADIUS, bins=bins, axisymmetric=bins[1] == 1, resamples=2)
    off = (jeans.log_n - np.log(len(x) / (4 / 3 * np.pi * RADIUS**3))) / jeans.log_n_error
    assert np.nanmean(off**2) == pytest.approx(1, abs=0.35)
    assert abs(np.nanmean(off)) < 0.2


def test_nothing_outside_the_cells(rotating):
    far = SUN.position + np.array([[0, 0, 0], [0, 0, 1.5 * RADIUS], [-1.5 * RADIUS, 0, 0]])
    assert np.isfinite(rotating[1].acceleration(far)).all(1).tolist() == [True, False, False]


def test_fields(rotating, lopsided, tmp_path):
    sheet, jeans = rotating
    field = jeans.fields()
    assert field.a_R.dims == ("R", "z")
    here = field.sel(R=8.1, z=0.5, method="nearest")
    true = sheet.acceleration(np.array([[float(here.R), 0, float(here.z)]]))[0]
    assert abs(here.a_z - true[2]) < 4 * here.a_z_error + 0.03 * abs(true[2])
    assert abs(here.v_phi2 - (20 * here.R) ** 2 - SIGMA**2) < 4 * here.v_phi2_error
    assert here.v_phi2_error < 0.1 * here.v_phi2
    field.to_netcdf(tmp_path / "jeans.nc", engine="h5netcdf")
    # a_phi is positive along the rotation, as in acceleration_field.
    _, full = lopsided
    field = full.fields()
    assert field.a_phi.dims == ("R", "phi", "z")
    np.testing.assert_array_equal(field.a_phi, -full.a[1])
    axes = [Axis("x", 7, 9, 5), Axis("y", 0.3, 0.9, 4)]
    drawn = acceleration_field(full, axes, {"z": 0.1}, potential=False)
    assert np.isfinite(drawn.a_phi).all()
    assert np.sign(drawn.a_phi.mean()) == np.sign(field.a_phi.sel(phi=slice(2, 8), z=slice(0, 0.3)).mean())


@pytest.mark.parametrize("name", ["MWPotential2014", "heavier_disc"])
def test_parametric_fit_finds_a_potential_of_its_family(cells, name, rng):
    truth, x = Truth(name), ball(rng, 500, 3.5)
    fit = parametric_potential(holding(cells, truth), floor=1e-3)
    np.testing.assert_allclose(fit.acceleration(x), truth.acceleration(x), rtol=0, atol=5)  # of 5,000
    np.testing.assert_allclose(fit.density(x), truth.density(x), rtol=0.02)
    drop = [s.potential(x) - s.potential(SUN.position[None]) for s in (fit, truth)]
    np.testing.assert_allclose(*drop, atol=10)
    assert fit.provenance["misfit"] < 0.3
    b = truth.components[1]._b * 8
    assert abs(fit.table.value["disc_b"] - b) < 5 * fit.table.error["disc_b"] + 1e-3
    assert (fit.acceleration_error(x) < 50).all()


def test_parametric_fit_shows_that_its_family_is_wrong(cells, rng):
    truth, x = Truth("flattened_halo"), ball(rng, 500, 3.5)
    exact = holding(cells, truth)
    wrong, right = (parametric_potential(exact, family, floor=1e-3) for family in FAMILIES)
    assert wrong.provenance["misfit"] > 3
    assert right.provenance["misfit"] < 0.3
    np.testing.assert_allclose(right.acceleration(x), truth.acceleration(x), rtol=0, atol=5)
    np.testing.assert_allclose(right.density(x), truth.density(x), rtol=0.02)


@pytest.mark.parametrize("family", FAMILIES)
def test_forces_and_densities_belong_to_the_potential(cells, family, rng):
    fit, x, h = parametric_potential(cells, family), ball(rng, 50, 3.5), 1e-3
    steps = h * np.eye(3)
    slopes = np.stack([fit.potential(x + s) - fit.potential(x - s) for s in steps], -1) / (2 * h)
    np.testing.assert_allclose(fit.acceleration(x), -slopes, rtol=1e-4, atol=1e-2)
    divergence = sum((fit.acceleration(x + s) - fit.acceleration(x - s))[:, i] for i, s in enumerate(steps)) / (2 * h)
    np.testing.assert_allclose(fit.density(x), -divergence / (4 * np.pi * G), rtol=1e-3)


def test_priors_fix_parameters(cells):
    fit = parametric_potential(holding(cells, Truth()), priors={"bulge_mass": (5e9, 0.0)})
    assert fit.table.value["bulge_mass"] == pytest.approx(5e9)
    assert fit.table.error["bulge_mass"] == pytest.approx(0, abs=1)


def test_refusals(rotating, cells, rng):
    x = ball(rng, 5000)
    stars = Catalog.from_phase_space(x, 50 * rng.normal(size=x.shape))
    for options, words in (
        (dict(center=(-8, 0, 0), radius=2), r"at least 1,000 stars within 2 kpc of \(-8.*got 0"),
        (dict(radius=9), "leaves out the Galaxy's axis"),
        (dict(bins=(4, 1, 40)), "at least 6 bins in R.*got"),
        (dict(bins=(26, 3, 40)), "1 in phi"),
        (dict(radius=2, min_stars=500), "cells with 500 stars, got"),
        (dict(resamples=1), "at least 2 resamples"),
    ):
        with pytest.raises(ValueError, match=words):
            binned_jeans(stars, **options)
    with pytest.raises(ValueError, match="potential=False"):
        rotating[1].potential(x)
    for family, options, words in (
        ("thick", {}, "disc_bulge_halo"),
        ("disc_bulge_halo", dict(priors={"disc": (1, 1)}), "disc_mass"),
        ("disc_bulge_halo", dict(priors={"disc_a": (-1, 1)}), "positive median"),
        ("disc_bulge_halo", dict(floor=0), "floor above 0"),
    ):
        with pytest.raises(ValueError, match=words):
            parametric_potential(cells, family, **options)


def test_a_ball_anywhere_round_the_axis(rng):
    sheet = Sheet(90.0, 0.0, 0.6)
    x, v = np.split(sheet.catalog(rng, 20_000).phase_space.astype(float), 2, axis=1)
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])  # a quarter to the left
    options = dict(axisymmetric=False, bins=(8, 5, 10), radius=RADIUS, resamples=2)
    here = binned_jeans(Catalog.from_phase_space(x, v), **options)
    there = binned_jeans(Catalog.from_phase_space(x @ turn.T, v @ turn.T), center=turn @ SUN.position, **options)
    places = ball(rng, 200, 0.5 * RADIUS)
    turned = here.acceleration(places) @ turn.T
    np.testing.assert_allclose(there.acceleration(places @ turn.T), turned, rtol=0.02, atol=5)
