"""JFlow beyond its flow: foreground, errors of velocities, files, J and D, core or cusp."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.table import Table
from jax import random
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.stats import norm

from clearview.catalogs import Catalog
from clearview.dwarfs import JFlow, JFlowConfig, JFlowFit, SphericalConfig, fit_jflow, load_jflow
from clearview.dwarfs.smeared import _NO_VELOCITY, EDGE, INDEPENDENT, REACH, _start
from clearview.dwarfs.stars import enough_members
from clearview.flows import CheckpointError, FitConfig
from clearview.flows.checkpoint import save
from clearview.halos import d_factor, j_factor
from clearview.mocks import dwarf_truth_of, mock_dwarf
from clearview.units import G

HALF = 0.3
PLACE = dict(distance=80.0, angle=0.2)
TINY = JFlowConfig(tracers=SphericalConfig(8, 1), motions=SphericalConfig(8, 1), members=3)


def untrained(config=TINY, **changes):
    """A fit whose members differ, without any training."""
    told = dict(stars=500, digest="none", velocity=7.0, stopped="finished", message="Made up.", seconds=1.5) | changes
    membership = np.linspace(0, 1, told["stars"], dtype=np.float32)
    return JFlowFit(config, _start(config, HALF, 9.0, told["stars"]), HALF, membership=membership, **told)


def known(**config):
    """A normal n and one sigma: of each member rho = 3 sigma^2/(4 pi G s^2), a core without an end."""
    fit = untrained(dataclasses.replace(TINY, **config))
    model = eqx.tree_at(lambda m: (m.tracers.weights, m.motions.weights), fit.model,
                        replace_fn=lambda w: [0 * a for a in w])  # fmt: skip
    fit.model = eqx.tree_at(lambda m: m.motions.spread, model, np.array([8.0, 9.0, 10.0], np.float32))
    return fit


def test_save_and_load(tmp_path):
    fit = untrained(dataclasses.replace(TINY, **PLACE))
    path = tmp_path / "jflow.clearview"
    fit.save(path)
    back = load_jflow(path)
    assert back.config == fit.config
    assert (back.message, back.digest, back.stars, back.velocity, back.seconds) == ("Made up.", "none", 500, 7.0, 1.5)
    np.testing.assert_array_equal(back.membership, fit.membership)
    assert back.membership.dtype == np.float32
    for a, b in zip(*(jax.tree.leaves(eqx.filter(f.model, eqx.is_array)) for f in (fit, back)), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    assert back.field().identical(fit.field())
    with pytest.raises(FileExistsError, match="overwrite=True"):
        fit.save(path)
    fit.save(path, overwrite=True)


def test_files_that_hold_no_fit(tmp_path):
    path = tmp_path / "jflow.clearview"
    with pytest.raises(ValueError, match="Expected a finished fit to save, got one that was cancelled"):
        untrained(stopped="cancelled").save(path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_jflow(path)
    path.write_text("x,y\n1,2\n")
    with pytest.raises(CheckpointError, match="some other file"):
        load_jflow(path)
    save(path, "dwarf", {}, [], overwrite=True)
    with pytest.raises(CheckpointError, match="which holds a dwarf"):
        load_jflow(path)
    untrained().save(path, overwrite=True)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        load_jflow(path)


class Made(JFlowFit):
    """Members whose densities are powers of r, of one sign up to HALF."""

    def members(self, r):
        r = np.asarray(r, float)
        rho = np.stack([sign * 1e8 * r**slope for sign, slope in ((1, -1.2), (1, -0.1), (np.sign(r - HALF), -0.5))])
        with np.errstate(invalid="ignore"):
            slope = np.gradient(np.log(rho), np.log(r), axis=1)
        return {"rho": rho, "slope": slope, **dict.fromkeys(REST, np.ones_like(rho))}


REST = ("mass", "v_c", "n", "sigma_r", "Sigma", "sigma_los")


def made(**config):
    fit = untrained(dataclasses.replace(TINY, **config))
    return Made(**{f.name: getattr(fit, f.name) for f in dataclasses.fields(fit)})


def test_j_and_d_of_a_known_halo():
    assert not {"J", "D"} & set(made().field().data_vars)
    field = known(**PLACE).field(quantiles=[0.0, 0.5])
    r = np.geomspace(1e-4, EDGE * HALF, 500)
    for quantile, sigma in ((0.0, 8.0), (0.5, 9.0)):
        rho = np.full_like(r, 3 * sigma**2 / (4 * np.pi * G * (HALF / 1.1774) ** 2))
        one = field.sel(quantile=quantile)
        assert float(one["J"]) == pytest.approx(j_factor(r, rho, 80.0, 0.2), rel=5e-3)
        assert float(one["D"]) == pytest.approx(d_factor(r, rho, 80.0, 0.2), rel=5e-3)
    assert (field["J"].units, field["D"].units) == ("GeV2 cm-5", "GeV cm-2")
    assert "within 0.2 deg" in field["J"].long_name


def test_negative_densities_shine_nowhere():
    low = made(**PLACE).field(quantiles=[0.0])
    r = np.geomspace(1e-3, EDGE, 500) * HALF
    rho = np.where(r > HALF, 1e8 * r**-0.5, 0)
    assert float(low["J"][0]) == pytest.approx(j_factor(r, rho, 80.0, 0.2), rel=0.1)


def test_core_or_cusp():
    told = made().core_or_cusp()
    np.testing.assert_allclose(told.slope, [-1.2, -0.1, np.nan], atol=1e-6)
    assert told.share == pytest.approx(1 / 3)
    for words in ("0.15 kpc is -0.65", "2 of 3 bootstraps", "-1.20 to -0.10; 33% find", "not of what is assumed"):
        assert words in told.message
    assert made().core_or_cusp(0.5, -0.3).share == pytest.approx(1 / 3)
    assert made().core_or_cusp(0.5).share == pytest.approx(2 / 3)
    real = known(**PLACE).core_or_cusp()
    np.testing.assert_allclose(real.slope, 0, atol=0.02)
    assert real.share == 1
    for wrong in (dict(radius=0.0), dict(radius=np.nan), dict(threshold=1.0)):
        with pytest.raises(ValueError, match="Expected"):
            made().core_or_cusp(**wrong)


def test_core_or_cusp_without_a_spread_or_a_slope(monkeypatch):
    fit = made()
    every = fit.members
    monkeypatch.setattr(fit, "members", lambda r: {k: v[:1] for k, v in every(r).items()})
    assert fit.core_or_cusp().message.endswith("is -1.20 in the one fit, without a spread.")
    monkeypatch.setattr(fit, "members", lambda r: {k: v[2:] for k, v in every(r).items()})
    told = fit.core_or_cusp()
    assert told.share == 0
    assert "no slope there" in told.message


FIELD, SIGMA, AT, SPREAD, SHARES, MOVING = 0.5, 9.0, 30.0, 40.0, (0.4, 0.7), -30.0
"""Radius, members' dispersion, the foreground's mean, spread and shares with and without v, systemic velocity."""


def mixed_galaxy(**config):
    """A normal n and one sigma, before an even foreground: all of it is known in closed form."""
    kind = dataclasses.replace(TINY, members=1, foreground=True, radius=FIELD, **config)
    model = JFlow(HALF, SIGMA, 1000, kind, key=random.key(0))
    shares = (np.log(np.divide(SHARES, np.subtract(1, SHARES))) + 1) / 1.5
    free = jnp.array([MOVING / (2 * SIGMA), AT / 100, np.log(SPREAD / 80) / 0.7, *shares], jnp.float32)
    return eqx.tree_at(lambda m: (*m.tracers.weights, *m.motions.weights, m.free), model,
                       [*(0 * w for w in (*model.tracers.weights, *model.motions.weights)), free])  # fmt: skip


def mixed_stars(n=6000, seed=0):
    """R, v, error of its stars, a third without velocities, and ln of the densities (2, N) by closed forms."""
    rng = np.random.default_rng(seed)
    known = np.arange(n) % 3 > 0
    share = np.where(known, *SHARES)
    error = np.where(known, rng.choice([1.0, 6.0, 20.0], n), _NO_VELOCITY)
    s, blur = HALF / 1.1774, np.where(known, error, 0.0)
    within = -np.expm1(-0.5 * (FIELD / s) ** 2)
    R_member = s * np.sqrt(-2 * np.log1p(-within * rng.random(n)))
    other = rng.random(n) < share
    R = np.where(other, FIELD * np.sqrt(rng.random(n)), R_member)
    v = np.where(other, rng.normal(AT, SPREAD, n), rng.normal(MOVING, SIGMA, n)) + blur * rng.standard_normal(n)
    v = np.where(known, v, 0.0)
    of_v = [np.where(known, norm.logpdf(v, a, np.hypot(b, blur)), 0) for a, b in ((MOVING, SIGMA), (AT, SPREAD))]
    members = np.log1p(-share) - 0.5 * (R / s) ** 2 - np.log(2 * np.pi * s**2 * within) + of_v[0]
    others = np.log(share) - np.log(np.pi * FIELD**2) + of_v[1]
    return R, v, error, np.stack([members, others])


def test_members_and_foreground_by_closed_forms():
    R, v, error, exact = mixed_stars(90)
    model = mixed_galaxy()
    found = model.membership(*(jnp.asarray(a, jnp.float32) for a in (R, v, error)))
    np.testing.assert_allclose(found, exact, atol=3e-3)
    R = np.linspace(1e-3, FIELD, 400)
    surface = np.asarray(model.seen(jnp.asarray(R, jnp.float32))["Sigma"], float)
    assert np.trapezoid(2 * np.pi * R * surface, R) == pytest.approx(1, abs=3e-3)


def smeared(places, density, width, at):
    """ln of densities (2, ...) on an even grid after a Gaussian filter of that width, at places (axes, N)."""
    step = places[1] - places[0]
    filters = [gaussian_filter(part, width / step, mode="constant") for part in density]
    return np.log([map_coordinates(part, (at - places[0]) / step, order=1) for part in filters])


@pytest.mark.parametrize("smearing", ["averaged", "plain"])
def test_smeared_mixture(smearing):
    """It is the likelihood of smeared stars under smeared densities, and has its least at the truth."""
    R, v, error, _ = mixed_stars()
    share = np.where(error < _NO_VELOCITY, *SHARES)
    width, rng, s = 0.2, np.random.default_rng(5), HALF / 1.1774
    within, known = -np.expm1(-0.5 * (FIELD / s) ** 2), error < _NO_VELOCITY

    def even(R):  # per kpc^2, of members and of the foreground
        return (R < FIELD) * np.stack([np.exp(-0.5 * (R / s) ** 2) / (2 * np.pi * s**2 * within),
                                       np.full_like(R, 1 / (np.pi * FIELD**2))])  # fmt: skip

    if smearing == "averaged":
        grid, h_v = np.linspace(-2, 4, 6001), 0.0
        places = HALF * np.sinh(np.maximum(grid, 0))
        density = even(places) * (grid > 0) * 2 * np.pi * places * np.hypot(places, HALF)
        at = np.arcsinh(R / HALF)[None] + width * rng.standard_normal((1, len(R)))
        filtered = smeared(grid, density, width, at)
    else:
        grid, h, h_v = np.linspace(-1.2, 1.2, 801), width * HALF, width * SIGMA
        at = np.stack([R, 0 * R]) + h * rng.standard_normal((2, len(R)))
        filtered = smeared(grid, even(np.hypot(*np.meshgrid(grid, grid))), h, at)
    off = np.where(known, v + h_v * rng.standard_normal(len(R)), 0)
    shares = np.log(np.stack([1 - share, share]))
    total = [np.sqrt(b**2 + h_v**2 + np.where(known, error, 0) ** 2) for b in (SIGMA, SPREAD)]
    of_v = [np.where(known, norm.logpdf(off, a, b), 0) for a, b in zip((MOVING, AT), total, strict=True)]
    wanted = -np.logaddexp(*(shares + filtered + of_v)).mean()

    size = dict(radii=256) if smearing == "averaged" else dict(radii=128, cosines=8)
    model = mixed_galaxy(smearing=smearing, bandwidth=(width, width), **size)
    data = [jnp.asarray(a, jnp.float32) for a in (R, v, error)]

    @eqx.filter_jit
    def loss(model):
        losses = jax.lax.map(lambda key: model.loss(key, *data), random.split(random.key(3), 4))
        return losses.mean() - 0.5 * (model.free**2).sum() / model.stars

    right = float(loss(model))
    assert right == pytest.approx(wanted, abs=0.025)
    for number in range(5):
        for off in (-0.4, 0.4):
            assert float(loss(eqx.tree_at(lambda m: m.free, model, model.free.at[number].add(off)))) > right


def test_stars_with_errors_that_are_not_even():
    """Errors widen the kernel, each star's its own: to take them for one loses."""
    R, v, error, _ = mixed_stars(3000)
    model = mixed_galaxy(bandwidth=(0.1, 0.1))
    known = error < _NO_VELOCITY

    @eqx.filter_jit
    def loss(error):
        return model.loss(random.key(1), *(jnp.asarray(a, jnp.float32) for a in (R, v)), error)

    mean = np.where(known, np.sqrt((error[known] ** 2).mean()), _NO_VELOCITY)
    assert loss(jnp.asarray(error, jnp.float32)) < loss(jnp.asarray(mean, jnp.float32)) - 0.01
    assert loss(jnp.asarray(error, jnp.float32)) < loss(jnp.asarray(np.where(known, 0.1, error), jnp.float32)) - 0.01


QUICK = dataclasses.replace(
    TINY, foreground=True, members=2, radii=48, cosines=4,
    training=FitConfig(epochs=1, min_steps=250, batch_size=128, learning_rate=1e-2, validation=0.0, average=0.1),
)  # fmt: skip


@pytest.mark.slow
def test_fit_of_a_galaxy_before_a_foreground():
    stars = mock_dwarf(600, 9, foreground=0.4, systemic_velocity=110.0, photometric=300)
    truth, member, known = dwarf_truth_of(stars), stars["is_member"], np.isfinite(stars["v_los"])
    fit = fit_jflow(stars, QUICK)
    assert fit.stopped == "finished"
    assert fit.membership[member & known].mean() > 0.85
    assert fit.membership[~member & known].mean() < 0.25
    assert fit.membership.sum() == pytest.approx(member.sum(), abs=60)
    assert f"{fit.membership.sum():,.0f} are members" in fit.message
    np.testing.assert_allclose(fit.systemic_velocity, 110, atol=3)
    found = fit.background
    np.testing.assert_allclose(found["with"], (~member[known]).mean(), atol=0.07)
    np.testing.assert_allclose(found["mean"], 50, atol=25)
    np.testing.assert_allclose(found["spread"], 80, rtol=0.25)
    seen = fit.members(np.array([truth.half_light_radius]))
    np.testing.assert_allclose(seen["sigma_los"], truth.sigma_los(truth.half_light_radius), rtol=0.2)


@pytest.mark.slow
def test_a_foreground_alone_is_refused():
    with pytest.raises(ValueError, match="Expected members of a galaxy among the stars"):
        fit_jflow(Catalog(bare(mock_dwarf(400, 11, foreground=1.0))), QUICK)


def test_too_few_members():
    enough_members(10.0, 100)
    with pytest.raises(ValueError, match="got about 4 beside a foreground of 96; choose stars nearer"):
        enough_members(4.0, 100)


def test_a_cancelled_fit_with_a_foreground_knows_no_members():
    fit = fit_jflow(mock_dwarf(200, 10, foreground=0.3), QUICK, on_progress=lambda p: False)
    assert fit.stopped == "cancelled"
    assert np.isnan(fit.membership).all()
    assert fit.background["mean"].shape == (2,)
    with pytest.raises(ValueError, match="with a foreground, got one without"):
        untrained().background  # noqa: B018


def untouchable(_):
    raise AssertionError("no work may begin")


@pytest.mark.parametrize(
    ("changes", "config", "sentence"),
    [
        (lambda t: t[:20], TINY, "at least 30 stars"),
        (lambda t: t[:20], QUICK, "at least 30 stars"),
        (lambda t: filled(t, "R", np.nan), QUICK, "finite R"),
        (lambda t: filled(t, "v_los", np.inf), QUICK, "1 infinite"),
        (lambda t: filled(t, "v_los_error", np.nan), TINY, "of each star"),
        (lambda t: filled(t, "v_los_error", -1.0), TINY, "1 negative"),
        (lambda t: filled(t, "v_los", 20 * np.asarray(t["v_los"]), slice(None)), TINY, "as of a foreground"),
        (lambda t: t, dataclasses.replace(TINY, radius=0.1), "outside"),
    ],
)
def test_stars_that_no_fit_is_made_of(changes, config, sentence):
    table = bare(mock_dwarf(100, 0))
    with pytest.raises(ValueError, match=sentence):
        fit_jflow(Catalog(changes(table)), config, on_progress=untouchable)


def bare(stars):
    return Table({name: stars.quantity(name) for name in ("R", "v_los", "v_los_error")})


def filled(table, name, value, where=3):
    table = table.copy()
    table[name][where] = value
    return table


@pytest.mark.parametrize(
    "wrong", [{"foreground": 1}, {"radius": 0.0}, {"distance": -80.0}, {"distance": np.nan}, {"angle": 0.0},
              {"bandwidth": (-0.5, 0.1)}, {"bandwidth": (0.5, np.nan)},
              {"falling": 0.0}]
)  # fmt: skip
def test_bad_settings(wrong):
    with pytest.raises((ValueError, TypeError), match="Expected"):
        JFlowConfig(**wrong)


def test_a_density_that_falls_strays_nowhere(monkeypatch):
    monkeypatch.setattr(JFlow, "_smeared", lambda *_: jnp.zeros(()))
    monkeypatch.setattr(JFlow, "_bend", lambda *_: jnp.zeros(()))
    q2 = (1.1774 * np.geomspace(*REACH, 40)[2:-2]) ** 2
    for beta in (0.0, 0.9):
        model = JFlow(HALF, 9.0, 1000, dataclasses.replace(TINY, members=1, beta=beta, falling=0.2), key=random.key(0))
        model = eqx.tree_at(lambda m: (*m.tracers.weights, *m.motions.weights), model, replace_fn=lambda w: 0 * w)
        found, loss = eqx.filter_jit(lambda m: (m._strayed(), m.loss(random.key(1), *[jnp.ones(9)] * 3)))(model)
        rise = (3 * q2 - 2 * beta) / np.hypot(q2 - 2 * beta, 0.02)  # d ln M/d ln r of M = r (q^2 - 2 beta)
        np.testing.assert_allclose(found, np.log1p(np.maximum(-rise, 0) + np.maximum(rise - 3, 0)), atol=0.2)
        assert (found.max() > 1) == (beta > 0)
        assert float(loss) == pytest.approx(0.5 * INDEPENDENT / 1000 * float(((found / 0.2) ** 2).mean()), rel=1e-3)
