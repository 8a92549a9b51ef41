"""Baryons, the dark matter left beside them, halo profiles, and what follows from the force."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from clearview.dynamics import (
    NFW,
    AnyComponent,
    BaryonModel,
    Burkert,
    Component,
    Einasto,
    GeneralisedNFW,
    PotentialConfig,
    PotentialSeries,
    Soliton,
    circular_velocity,
    dark_matter_field,
    enclosed_mass,
    fit_profile,
    local_dark_matter,
    mond_acceleration,
    smooth,
    surface_density,
    thin_disc_limit,
    vertical_force,
)
from clearview.field import Axis
from clearview.mocks import Truth
from clearview.units import SUN, G


def part(number: int) -> Truth:
    """Bulge 0, disc 1 or halo 2 of MWPotential2014."""
    truth = Truth()
    truth.components = [truth.components[number]]
    return truth


def baryons(factor: float = 1.0) -> BaryonModel:
    """The truth's own bulge and disc, known to 10%, and off by ``factor``."""
    return BaryonModel(tuple(AnyComponent(n, part(i).density, 0.1, factor) for i, n in enumerate(("bulge", "disc"))))


class Tilted(Truth):
    """The truth with a thin sheet of Sigma [Msun/pc^2] and a halo heavier by a factor, in a ball of 4 kpc."""

    center, radius = SUN.position, 4.0

    def __init__(self, sheet: float = 0.0, heavier: float = 0.0):
        super().__init__()
        self.sheet, self.heavier = sheet * 1e6, heavier

    def acceleration(self, x):
        a = super().acceleration(x) + self.heavier * part(2).acceleration(x)
        a[:, 2] -= 2 * np.pi * G * self.sheet * np.tanh(np.asarray(x)[:, 2] / 0.1)
        return a


# Baryons


def test_the_default_baryons_are_those_of_the_census():
    model = BaryonModel()
    assert model.surface_density([50.0])[0] == pytest.approx(47.1, abs=0.3)
    assert model.density([[model.R0, 0, 0]])[0] * 1e-9 == pytest.approx(0.084, abs=0.001)
    drawn = model.draw(np.random.default_rng(0), 400)
    assert np.std([m.surface_density([50.0])[0] for m in drawn]) == pytest.approx(3.4, rel=0.15)
    shared = dataclasses.replace(model, shared_error=0.3).draw(np.random.default_rng(0), 200)
    assert np.std([m.surface_density([50.0])[0] for m in shared]) > 10


@pytest.mark.parametrize("profile", ["exp", "sech2", "gaussian"])
def test_the_column_of_a_component_is_the_integral_of_its_density(profile):
    c = Component("disc", 30.0, 3.0, 0.25, 0.02, profile)

    def rho(z):
        return c.density(np.array([[8.0, 0, z]]), 8.0)[0]

    for z in (0.1, 0.6, 3.0):
        assert c.column([z], 8.0)[0] == pytest.approx(2 * quad(rho, 0, z)[0] * 1e-6, rel=1e-8)
        any_shape = AnyComponent("disc", lambda x: c.density(x, 8.0))
        assert any_shape.column([z], 8.0)[0] == pytest.approx(c.column([z], 8.0)[0], rel=1e-6)
    assert c.midplane == pytest.approx(rho(0.0) * 1e-9)
    assert c.with_midplane(0.02, 0.001).midplane == pytest.approx(0.02)
    assert c.density(np.array([[10.6, 0, 0]]), 8.0)[0] == pytest.approx(rho(0.0) / np.e)


def test_components_can_be_edited():
    model = BaryonModel().edit("thick disc", surface=0.0)
    assert model.surface_density([50.0])[0] == pytest.approx(47.2 - 3.6)
    with pytest.raises(ValueError, match="thick disc, got 'dust'"):
        model.edit("dust", surface=1.0)
    with pytest.raises(ValueError, match="different names"):
        BaryonModel(model.components[:1] * 2)
    with pytest.raises(ValueError, match="exp, sech2 or gaussian"):
        Component("disc", 1.0, 0.1, 0.3, 0.1, "sech")  # pyright: ignore


# Local dark matter


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.1])
@pytest.mark.parametrize("heavier", [0.0, 0.5])
def test_local_dark_matter_with_baryons_off_by_one_sigma(factor, heavier):
    source, halo = Tilted(heavier=heavier), part(2)
    found = local_dark_matter(source, baryons(factor), draws=50)
    truth = (1 + heavier) * smooth(halo.density, found.places).mean() * 1e-9
    assert found.density == pytest.approx(truth, rel=0.03)
    assert abs(found.density - truth) < found.error < 0.15 * truth
    in_plane = (1 + heavier) * halo.density([[SUN.R, 0, 0]])[0] * 1e-9
    assert abs(found.at_plane - in_plane) < found.at_plane_error
    assert abs(found.midplane - in_plane) < found.midplane_error
    assert found.midplane_error > 5 * found.error  # in the plane the baryons rule
    assert found.gev[0] == pytest.approx(found.density / 0.02633)
    assert "GeV/cm³" in str(found)


def test_the_error_of_the_baryons_and_of_members_is_in_the_error():
    source = Tilted()
    vague = baryons().edit("bulge", error=0.5).edit("disc", error=0.5)
    members = [Tilted(heavier=h) for h in (-0.2, 0.2)]
    a, b, c = (
        local_dark_matter(source, model, systematic=0.01, members=m, draws=50)
        for model, m in ((baryons(), None), (vague, None), (baryons(), members))
    )
    each = [smooth(part(i).density, a.places).mean() * 1e-9 for i in range(2)]
    assert a.error_parts["baryons"] == pytest.approx(0.1 * np.hypot(*each), rel=0.25)  # 50 draws
    assert a.baryons.mean() == pytest.approx(sum(each), rel=0.05)
    assert b.error_parts["baryons"] == pytest.approx(5 * a.error_parts["baryons"], rel=0.1)
    assert c.error_parts["members"] == pytest.approx(0.2 * np.sqrt(2) * a.density, rel=0.05)
    for r in (a, b, c):
        assert r.error == pytest.approx(np.linalg.norm(list(r.error_parts.values())))


def test_what_a_fit_leaves_open_is_in_the_error():
    @dataclasses.dataclass
    class Map:
        series: PotentialSeries

        def acceleration(self, x):
            return Tilted().acceleration(x) + np.asarray(jax.vmap(self.series.acceleration)(np.asarray(x, np.float32)))

    empty = PotentialSeries(SUN.position, 4.0, 0.3, PotentialConfig(degree=4))
    size = len(empty.coefficients)
    known, once, twice = (
        local_dark_matter(
            Map(eqx.tree_at(lambda s: s.spread, empty, jnp.eye(size) * open_)), baryons(), systematic=0.01, draws=50
        )
        for open_ in (0.0, 100.0, 200.0)
    )
    assert known.error_parts["formal"] == pytest.approx(0, abs=1e-6)
    assert once.error_parts["formal"] > 0.1 * once.density
    assert twice.error_parts["formal"] == pytest.approx(2 * once.error_parts["formal"], rel=0.01)
    assert twice.error > once.error > known.error


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"heights": (1.8, 1.0)}, "from low to high"),
        ({"heights": (1.0, 4.0)}, "that reach outside"),
        ({"systematic": 0.0}, "systematic error"),
        ({"members": [Truth()]}, "at least two members"),
    ],
)
def test_local_dark_matter_refuses(change, words):
    with pytest.raises(ValueError, match=words):
        local_dark_matter(Tilted(), baryons(), draws=5, **change)


def test_the_dark_matter_field_is_the_total_less_the_baryons():
    field = dark_matter_field(Tilted(), [Axis("R", 6, 13, 4), Axis("z", 0.8, 1.6, 2)], {"phi": 0.0}, baryons())
    halo = part(2)
    R, z = np.meshgrid(field.R, field.z, indexing="ij")
    expected = smooth(halo.density, np.stack([R, 0 * R, z], -1).reshape(-1, 3)).reshape(R.shape) * 1e-9
    np.testing.assert_allclose(field.dark_matter[:3], expected[:3], rtol=0.01)
    assert np.isnan(field.dark_matter[3]).all()
    assert np.isnan(field.baryons[3]).all()
    assert {v.attrs["units"] for v in field.data_vars.values()} == {"Msun pc-3"}


# A thin dark disc


@pytest.mark.parametrize("using", ["force", "density"])
def test_the_limit_on_a_thin_disc_lies_above_what_is_there(using):
    limits = [thin_disc_limit(Tilted(sheet=s), baryons(), using=using, draws=50) for s in (0.0, 10.0, 20.0)]
    assert limits[0] < 5
    for limit, sheet in zip(limits[1:], (10.0, 20.0), strict=True):
        assert sheet < limit < 1.3 * sheet + 5
    thick = thin_disc_limit(Tilted(), baryons(), 0.2, using=using, draws=50)
    assert thick > limits[0]  # it hides among the baryons
    with pytest.raises(ValueError, match="force or density"):
        thin_disc_limit(Tilted(), using="mass")  # pyright: ignore


# Profiles

HALOS = [
    NFW(1e7, 16.0),
    GeneralisedNFW(1e7, 12.0, 0.4),
    GeneralisedNFW(1e7, 12.0, 1.6),
    Einasto(2e6, 15.0, 0.2),
    Burkert(2e7, 7.0),
    Soliton(2e7, 9.0),
]


@pytest.mark.parametrize("halo", HALOS, ids=lambda h: type(h).__name__)
def test_the_mass_of_a_halo_is_the_integral_of_its_density(halo):
    for r in (0.5, 8.0, 60.0):
        mass = 4 * np.pi * quad(lambda s: s**2 * halo.density(s), 0, r, epsabs=0, epsrel=1e-10, limit=200)[0]
        assert halo.mass(r) == pytest.approx(mass, rel=1e-7)


def test_special_cases_agree():
    r = np.geomspace(0.1, 50, 20)
    np.testing.assert_allclose(GeneralisedNFW(1e7, 16.0, 1.0).mass(r), NFW(1e7, 16.0).mass(r))
    truth = part(2)
    nfw = NFW(truth.density([[16.0, 0, 0]])[0] * 4, 16.0)
    np.testing.assert_allclose(nfw.density(8.0), truth.density([[8.0, 0, 0]])[0], rtol=1e-6)
    np.testing.assert_allclose(np.sqrt(G * nfw.mass(8.0) / 8.0), circular_velocity(truth, [8.0]), rtol=1e-6)


@pytest.mark.parametrize("halo", HALOS, ids=lambda h: type(h).__name__)
@pytest.mark.parametrize("kind", ["density", "velocity"])
def test_a_fit_finds_the_halo_and_flags_what_the_prior_says(halo, kind):
    """Precise data over a wide range settle all; 20% data from 5 to 11 kpc settle the local density only."""
    own = np.array([np.log(halo.density(SUN.R) * 1e-9), np.log(halo.r_s)])

    def fit(r, error):
        values = halo.density(r) * 1e-9 if kind == "density" else np.sqrt(G * halo.mass(r) / r)
        return fit_profile(type(halo), r, values, error * values, kind=kind)

    wide, near = fit(np.geomspace(0.5, 40, 30), 0.01), fit(np.linspace(5, 11, 7), 0.2)
    for found in (wide, near):
        assert found.chi2 < 0.1
        assert not found.prior_dominated["local_density"]
        drawn = np.log(found.posterior[["local_density", "r_s"]].to_numpy())
        assert (np.abs(np.median(drawn, axis=0) - own) < 3 * drawn.std(0) + 0.05).all()
    assert not any(wide.prior_dominated.values())
    np.testing.assert_allclose(wide.best.r_s, halo.r_s, rtol=0.05)
    if halo.shapes:
        assert any(near.prior_dominated[name] for name in ("r_s", *halo.shapes))
    assert list(near.posterior) == list(near.prior) == ["local_density", "r_s", *halo.shapes]
    r_s = near.prior["r_s"].to_numpy()
    assert 1.0 <= r_s.min() < 1.2
    assert 45 < r_s.max() <= 50


def test_the_posterior_of_the_local_density_covers():
    """68% of noisy data sets have the truth in the 68% interval."""
    halo, r, rng = NFW(1e7, 16.0), np.linspace(5, 11, 7), np.random.default_rng(3)
    values = halo.density(r) * 1e-9
    inside = 0
    for number in range(60):
        noisy = values * (1 + 0.1 * rng.standard_normal(7))
        found = fit_profile(NFW, r, noisy, 0.1 * values, samples=1000, seed=number)
        low, high = np.quantile(found.posterior.local_density, [0.16, 0.84])
        inside += low < halo.density(SUN.R) * 1e-9 < high
    assert 0.5 < inside / 60 < 0.86


def test_bad_data_for_a_profile_are_refused():
    with pytest.raises(ValueError, match="one length"):
        fit_profile(NFW, [5, 6], [0.01], [0.001])
    for r, values, errors in [([5.0], [np.nan], [1.0]), ([5.0], [0.01], [0.0]), ([-5.0], [0.01], [0.1])]:
        with pytest.raises(ValueError, match="finite data"):
            fit_profile(NFW, r, values, errors)
    with pytest.raises(ValueError, match="got alpha"):
        fit_profile(NFW, [5.0], [0.01], [0.1], priors={"alpha": (0, 1)})
    with pytest.raises(ValueError, match="density or velocity"):
        fit_profile(NFW, [5.0], [0.01], [0.1], kind="mass")  # pyright: ignore


# From the force


class Harmonic:
    def acceleration(self, x):
        return -(30.0**2) * np.asarray(x)


def test_rotation_curve_and_enclosed_mass():
    R = np.array([4.0, 8.0])
    np.testing.assert_allclose(circular_velocity(Harmonic(), R, phi=40.0), 30.0 * R)
    np.testing.assert_allclose(circular_velocity(Truth(), [8.0]), 220.0, rtol=1e-6)  # as it is normalised
    rho = 3 * 30.0**2 / (4 * np.pi * G)
    np.testing.assert_allclose(enclosed_mass(Harmonic(), R), 4 / 3 * np.pi * R**3 * rho)
    ball = Tilted()
    assert list(np.isnan(circular_velocity(ball, [3.0, 8.0]))) == [True, False]
    with pytest.raises(ValueError, match="inside the ball of 4 kpc"):
        circular_velocity(ball, [1.0, 2.0])


@pytest.mark.parametrize("source", [Harmonic(), Truth(), Truth("heavier_disc")], ids=["harmonic", "mw", "heavier"])
def test_the_surface_density_is_the_integral_of_the_density(source):
    z = np.array([0.3, 1.1, 2.0])
    rho = getattr(source, "density", lambda x: np.full(len(x), 3 * 30.0**2 / (4 * np.pi * G)))
    known = AnyComponent("all", rho).column(z, 8.0)
    np.testing.assert_allclose(surface_density(source, z, R=8.0), known, rtol=2e-3)
    plain = surface_density(source, z, R=8.0, slope_term=False)
    np.testing.assert_allclose(plain, -vertical_force(source, z, R=8.0) / (2 * np.pi * G) * 1e-6)
    assert np.abs(plain / known - 1).max() > 0.02  # the rotation curve's slope matters


def test_mond_has_its_two_limits():
    class Point:
        def acceleration(self, x):
            return -G * 1e11 * np.asarray(x) / np.linalg.norm(x, axis=-1, keepdims=True) ** 3

    a0 = 1.2e-10 / (1e6 / 3.0856775815e19)
    near, far = np.array([[0.01, 0, 0]]), np.array([[3000.0, 4000.0, 0]])
    np.testing.assert_allclose(mond_acceleration(Point(), near), Point().acceleration(near), rtol=1e-4)
    deep = np.linalg.norm(mond_acceleration(Point(), far))
    assert np.sqrt(deep * 5000.0) == pytest.approx((G * 1e11 * a0) ** 0.25, rel=0.01)  # flat rotation, Tully-Fisher
    a = np.linalg.norm(mond_acceleration(Point(), [[10.0, 0, 0]]))
    assert a * (a / a0) / (1 + a / a0) == pytest.approx(G * 1e11 / 100, rel=1e-6)  # mu(x) = x/(1+x)
