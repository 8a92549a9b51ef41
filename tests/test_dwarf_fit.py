"""From stars to the halo: one small fit that is looked at from all sides, and what is refused before any fit."""

import dataclasses

import astropy.units as u
import jax
import numpy as np
import pytest
from astropy.table import Table

import clearview
from clearview.catalogs import Catalog
from clearview.dwarfs import DwarfConfig, fit_binned, fit_dwarf, load_dwarf
from clearview.dwarfs.model import SLOPES, Model, Scales
from clearview.flows import CheckpointError
from clearview.mocks import CORE, CUSP, TRACER, DwarfTruth, dwarf_truth_of, mock_dwarf

SHORT = DwarfConfig(chains=12, warmup=90, draws=60, distance=80.0)


@pytest.fixture(scope="module")
def stars():
    # With errors as large as the dispersion: were they not taken off, the mass would be half as large again.
    return mock_dwarf(400, 100, halo=CUSP, photometric=200, velocity_error=(2.0, 12.0))


@pytest.fixture(scope="module")
def fit(stars):
    return fit_dwarf(stars, SHORT)


def test_the_halo_comes_back(fit, stars):
    truth = dwarf_truth_of(stars)
    half = truth.half_light_radius
    assert fit.stopped == "finished"
    assert fit.stars == 400
    assert fit.half_light_radius == pytest.approx(half, rel=0.15)
    # 400 stars give the dispersion to 4 %, the mass within 1.7 half-light radii to about 10 %.
    mass = np.median(fit.mass(np.array([1.7 * half])))
    assert mass == pytest.approx(truth.mass(1.7 * half), rel=0.35)
    r = half * np.array([0.5, 1.0, 2.0])
    np.testing.assert_allclose(np.median(fit.density(r), 0), truth.density(r), rtol=0.5)
    told = fit.core_or_cusp()
    assert told.bayes_factor < 1
    assert "a cusp" in told.message
    assert told.slope[2] == pytest.approx(truth.slope(0.15), abs=0.7)
    assert fit.rhat < 1.2
    assert fit.effective > 100
    assert (fit.membership == 1).all()


def test_the_field(fit, stars):
    truth = dwarf_truth_of(stars)
    field = fit.field()
    units = {"rho": "Msun / kpc3", "M": "Msun", "v_c": "km / s", "n": "kpc-3", "Sigma": "kpc-2", "J": "GeV2 cm-5"}
    for name, unit in units.items():
        assert field[name].attrs["units"] == unit
        u.Unit(unit)
    for name in field.data_vars:
        assert np.isfinite(field[name]).all(), name
        assert (field[name].diff("quantile") >= 0).all(), name
    middle = field.sel(quantile=0.5)
    assert float(middle.J) == pytest.approx(truth.j_factor(80.0), rel=1.0)
    assert float(middle.D) == pytest.approx(truth.d_factor(80.0), rel=1.0)
    np.testing.assert_allclose(
        middle.v_c**2 * middle.r / clearview.units.G, middle.M, rtol=1e-4
    )  # quantiles fall between draws
    near = middle.sel(R=truth.half_light_radius, method="nearest")
    assert float(near.sigma_los) == pytest.approx(truth.sigma_los(float(near.R)), rel=0.15)
    assert float(near.Sigma) == pytest.approx(truth.surface_density(float(near.R)), rel=0.25)
    few = fit.field(np.array([0.1, 0.2]), quantiles=[0.5])
    assert few["rho"].shape == (1, 2)
    with pytest.raises(ValueError, match="radii"):
        fit.field(np.array([1e-9]))


def test_save_and_load(fit, tmp_path):
    path = tmp_path / "dwarf.clearview"
    fit.save(path)
    back = load_dwarf(path)
    assert back.config == fit.config
    assert back.message == fit.message
    assert back.field().equals(fit.field())
    with pytest.raises(FileExistsError):
        fit.save(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CheckpointError):
        load_dwarf(path)


def test_a_cancel_is_heeded(stars):
    told = []
    stopped = fit_dwarf(stars, SHORT, on_progress=lambda p: told.append(p) or p.fraction < 0.5)
    assert stopped.stopped == "cancelled"
    assert 0.5 <= told[-1].fraction < 0.55
    assert not stopped.converged
    with pytest.raises(ValueError, match="finished fit"):
        stopped.save("nowhere")
    with pytest.raises(ValueError, match="cancelled before any draw"):
        stopped.density(np.array([0.1]))


def test_members_and_foreground():
    stars = mock_dwarf(300, 101, foreground=0.4, systemic_velocity=110.0, photometric=100)
    fit = fit_dwarf(stars, dataclasses.replace(SHORT, foreground=True))
    member, known = stars["is_member"], np.isfinite(stars["v_los"])
    assert fit.membership[member & known].mean() > 0.85
    assert fit.membership[~member & known].mean() < 0.25
    # As many are members as the probabilities say.
    assert fit.membership.sum() == pytest.approx(member.sum(), abs=30)


@pytest.mark.parametrize("foreground", [0.0, 0.3])
def test_targets_that_were_chosen_by_their_place(foreground):
    """A spectrograph with one fibre in seven outside: only the photometric stars tell where the galaxy's stars are."""
    stars = mock_dwarf(900, 102, photometric=900, foreground=foreground, systemic_velocity=-60.0)
    truth = dwarf_truth_of(stars)
    half, R = truth.half_light_radius, np.asarray(stars["R"])
    seen = stars.take(np.isnan(stars["v_los"]) | (0.6 * half > R) | (np.arange(len(R)) % 7 == 0))
    config = dataclasses.replace(SHORT, foreground=foreground > 0)
    found = {}
    for places in ("all", "photometric"):
        fit = fit_dwarf(seen, dataclasses.replace(config, places=places))
        middle = fit.field(np.array([0.3, 3.0]) * half, quantiles=[0.5])
        found[places] = (
            np.diff(np.log(middle["n"].values[0]))[0] - np.diff(np.log(truth.tracer_density(middle.r.values)))[0]
        )
    # ln of the density's fall over a factor ten, against the truth.
    assert abs(found["photometric"]) < 0.5
    assert found["all"] < -0.5
    if not foreground:
        with pytest.raises(ValueError, match="photometric tracers"):
            fit_dwarf(seen.take(np.isfinite(seen["v_los"])), dataclasses.replace(config, places="photometric"))


TINY = dataclasses.replace(SHORT, chains=4, warmup=50, draws=50)


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        (dict(beta=-50.0), {}),
        (dict(radius=200.0), {}),
        (dict(foreground=True), dict(R=(500.0, "R", u.kpc))),
    ],
)
def test_extremes_are_fitted(settings, changes):
    """Orbits that are nearly circles, a field of a thousand half-light radii, one star far away."""
    columns = {name: replaced(value, 0, of, unit) for name, (value, of, unit) in changes.items()}
    fit = fit_dwarf(table(**columns), dataclasses.replace(TINY, **settings))
    assert fit.stopped == "finished"
    assert fit.acceptance > 0.5
    assert np.isfinite(fit.mass(np.array([0.3]))).all()


def test_a_velocity_far_off_is_told():
    fit = fit_dwarf(table(v_los=replaced(250.0, 3)), TINY)
    assert "Velocities more than 8 dispersions off: 1;" in fit.message
    stars = table()
    fit = fit_dwarf(stars, TINY)
    assert "dispersions off" not in fit.message
    assert fit.digest != fit_dwarf(table(v_los_error=replaced(3.0, 0, "v_los_error")), TINY).digest


def test_bins_are_another_way(stars):
    fit = fit_binned(stars, SHORT)
    truth = dwarf_truth_of(stars)
    r = np.array([1.7 * truth.half_light_radius])
    assert np.median(fit.mass(r)) == pytest.approx(truth.mass(r)[0], rel=0.5)
    with pytest.raises(ValueError, match="to bin"):
        DwarfConfig(binned=True, foreground=True)


@pytest.mark.parametrize("anisotropy", ["constant", "osipkov-merritt", "free"])
def test_the_prior_knows_neither_core_nor_cusp(anisotropy):
    model = Model(DwarfConfig(anisotropy=anisotropy), Scales(0.25, 0.0, 10.0, None, False))
    w = np.random.default_rng(1).standard_normal((4000, model.size)).astype(np.float32)
    r = np.array([0.15, 2.5])
    inner, outer = np.asarray(jax.vmap(lambda w: model.slope(w, r))(w)).T
    assert -1.0 < np.median(inner) < -0.6
    assert np.mean(inner > -0.4) > 0.1
    assert np.mean(inner < -1.2) > 0.1
    assert -2.6 < np.median(outer) < -1.6
    assert (inner <= 0).all()
    beta = np.asarray(jax.vmap(lambda w: model.anisotropy(w).beta(np.array([0.1, 0.25, 2.0])))(w))
    assert (beta < 1).all()
    if anisotropy != "osipkov-merritt":
        assert np.abs(np.median(beta[:, 1])) < 0.2
        assert beta[:, 1].std() > 0.2


def test_a_model_can_be_a_core_and_a_cusp():
    model = Model(DwarfConfig(), Scales(0.25, 0.0, 10.0, None, False))
    root, mean = model._process
    for halo in (CORE, CUSP):
        wanted = -halo.slope(0.25 * SLOPES)
        z = np.linalg.solve(root, np.log(np.expm1(3.0 * wanted)) / 3.0 - mean)
        assert np.abs(z).max() < 3
        w = np.zeros(model.size)
        w[1:10] = z
        with jax.enable_x64(True):
            state = model.state(w)
        ratio = np.exp(state.ln_rho) / halo.density(model.sphere.r)
        near = (model.sphere.r > 0.02) & (model.sphere.r < 3)
        assert np.ptp(np.log(ratio[near])) < 0.15


def table(n=100, seed=0, **changes):
    """A catalogue with columns changed."""
    drawn = mock_dwarf(n, seed)
    columns = {name: drawn.quantity(name) for name in ("R", "v_los", "v_los_error")}
    for name, value in changes.items():
        columns[name] = value
    return Catalog(Table({name: value for name, value in columns.items() if value is not None}))


def replaced(value, where=slice(None), name="v_los", unit=u.km / u.s):
    values = np.array(mock_dwarf(100, 0)[name])
    values[where] = value
    return values * unit


def untouchable(_):
    raise AssertionError("no work may begin")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (dict(n=20), "at least 30 stars"),
        (dict(R=np.full(100, 0.1) * u.kpc), "different distances"),
        (dict(v_los_error=np.zeros(100) * u.km / u.s), "that are 0"),
        (dict(v_los_error=replaced(-1.0, 3, "v_los_error")), "1 negative"),
        (dict(v_los_error=replaced(np.nan, 3, "v_los_error")), "of each star"),
        (dict(R=replaced(np.nan, 3, "R", u.kpc)), "finite R"),
        (dict(R=replaced(np.inf, 3, "R", u.kpc)), "finite R"),
        (dict(v_los=replaced(np.inf, 3)), "1 infinite"),
        (dict(v_los=replaced(99_999.0, 3)), "1 beyond, which stand for no value"),
        (dict(v_los_error=replaced(1e20, 3, "v_los_error")), "1 beyond, which stand for no value"),
        (dict(v_los=replaced(np.nan)), "at least 30 stars with velocities, got 0"),
        (dict(v_los=replaced(5.0)), "all the same"),
        (dict(R=replaced(1.0, 0, "R", u.km / u.s)), "R in kpc"),
        (dict(is_member=np.zeros(100, bool)), "members of the galaxy"),
        (dict(v_los=np.random.default_rng(0).normal(0, 120, 100) * u.km / u.s), "as of a foreground"),
    ],
)
def test_stars_that_no_fit_is_made_of(changes, sentence):
    n = changes.pop("n", 100)
    with pytest.raises(ValueError, match=sentence):
        fit_dwarf(table(n, **changes), SHORT, on_progress=untouchable)


def test_what_is_no_catalogue():
    with pytest.raises(KeyError, match="v_los_error"):
        fit_dwarf(table(v_los_error=None), SHORT, on_progress=untouchable)
    with pytest.raises(TypeError, match="Catalog"):
        fit_dwarf(np.zeros((10, 3)))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="outside"):
        fit_dwarf(table(), dataclasses.replace(SHORT, radius=0.1), on_progress=untouchable)
    with pytest.raises(ValueError, match="Expected v_los in km / s"):
        table(v_los=np.ones(100) * u.kpc)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (dict(anisotropy="radial"), "an anisotropy among"),
        (dict(beta=1.0), "beta"),
        (dict(anisotropy="free", anisotropy_radius=0.2), "no anisotropy_radius"),
        (dict(distance=-3), "distance"),
        (dict(chains=2), "chains"),
        (dict(seed=-1), "seed"),
        (dict(tracer_slope=3.0), "tracer_slope"),
        (dict(moments=3), "moments 2 or 4"),
        (dict(places="some"), "places all or photometric"),
    ],
)
def test_bad_settings(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        DwarfConfig(**arguments)


def test_settings_there_and_back():
    config = DwarfConfig(anisotropy="free", distance=80.0, tracer_slope=0.1)
    assert DwarfConfig.from_dict(config.to_dict()) == config
    assert DwarfTruth(TRACER, CORE) == DwarfTruth()
    assert clearview.fit_dwarf is fit_dwarf
