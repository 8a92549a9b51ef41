"""The error budget on a small map, and what measurement errors make of an estimate."""

import dataclasses
import itertools
from typing import Any

import equinox as eqx
import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table

from clearview import mock_galaxy
from clearview.catalogs import Catalog, Positive
from clearview.catalogs.errors import MEASURED
from clearview.dynamics import (
    ErrorBudget,
    PotentialConfig,
    acceleration_field,
    error_budget,
    extrapolation,
    fit_map,
    load_budget,
    save_budget,
    save_map,
    score_gradients,
    simex,
    simex_map,
)
from clearview.dynamics import budget as module
from clearview.dynamics.budget import _bootstrap
from clearview.dynamics.extrapolation import in_ball
from clearview.field import Axis
from clearview.flows import CheckpointError, FlowConfig
from clearview.mocks import add_errors
from clearview.units import SUN

AXES, FIXED = (Axis("x", 6, 10, 4), Axis("z", -1, 1, 3)), {"y": 0.0}
PARTS = ("statistics", "measurement", "training")


@pytest.fixture(scope="module")
def stars():
    """Stars with twice Gaia's errors."""
    noisy = add_errors(mock_galaxy(8000, seed=4), seed=1, scale=2.0).select(Positive("parallax"))
    return noisy.to_galactocentric()


@pytest.fixture(scope="module")
def config(tiny_config):
    training = dataclasses.replace(tiny_config.training, epochs=1)
    return dataclasses.replace(
        tiny_config, training=training, positions=FlowConfig(1, 8), velocities=FlowConfig(1, 8),
        potential=PotentialConfig(stars=10_000, degree=4, smooth=0.1, smooth_density=0.1),
    )  # fmt: skip


@pytest.fixture(scope="module")
def budget(stars, config):
    return error_budget(stars, config, training=2, bootstrap=3, measurement=2)


def forces(maps):
    return np.stack([m.acceleration(SUN.position + np.linspace(-1, 1, 4)[:, None]) for m in maps])


def test_parts_differ_and_add_up(budget):
    assert (budget.stopped, budget.message[:21]) == ("finished", "Error budget finished")
    every = forces([budget.central, *(m for part in PARTS for m in budget.parts[part])])
    assert all(not np.allclose(a, b, rtol=1e-4) for a, b in itertools.combinations(every, 2))
    field = budget.field(acceleration_field, AXES, FIXED, formal=8)
    np.testing.assert_array_equal(field.a_x, acceleration_field(budget.central, AXES, FIXED).a_x)
    pairs = [acceleration_field(m, AXES, FIXED).a_z for m in budget.parts["training"]]
    np.testing.assert_allclose(field.a_z_training, abs(pairs[0] - pairs[1]) / np.sqrt(2), rtol=1e-3)
    finite = np.maximum(field.a_z_statistics, field.a_z_formal)
    total = np.sqrt(finite**2 + field.a_z_training**2 + field.a_z_measurement**2)
    np.testing.assert_allclose(field.a_z_error, total, rtol=1e-4)
    assert field.a_z_error.attrs["units"] == field.a_z.attrs["units"]
    assert (field.attrs["members_training"], field.attrs["members_formal"]) == (2, 8)


def test_training_retrains_and_the_others_share_the_flows(budget):
    f = [m.log_f(SUN.position[None], SUN.velocity[None])[0] for m in (budget.central, *budget.parts["training"])]
    assert len(set(f)) == 3
    for part in ("statistics", "measurement"):
        assert all(m.density is budget.central.density for m in budget.parts[part])
    assert len({m.data_digest for m in (budget.central, *budget.parts["measurement"])}) == 3


def test_cancelled_anywhere_saved_and_resumed_is_the_same(budget, stars, config, tmp_path):
    """Cancelled at the first report of each kind of work, each time written and read."""
    # What is there already is made again in the fixture only, to save time.
    now = ErrorBudget(budget.central, {**{part: budget.parts[part][:-1] for part in PARTS}, "training": []})
    path = tmp_path / "budget"
    asked: dict[str, Any] = dict(training=2, bootstrap=3, measurement=2)
    for stop in ("statistics", "measurement", "training: positions", "training: velocities", "training"):

        def told(p, stop=stop):
            return p.stage != stop or p.fraction == 0

        now = error_budget(stars, **asked, resume=now, path=path, on_progress=told)
        assert now.stopped == "cancelled"
        assert "cancelled" in now.message
        now = load_budget(path)
        assert (now.group is not None and now.group.state is not None) == (":" in stop)
    assert now.group is not None
    assert len(now.parts["statistics"]) == 3
    fractions = []
    now = error_budget(stars, **asked, resume=now, path=path, on_progress=lambda p: fractions.append(p.fraction))
    assert (now.stopped, now.group) == ("finished", None)
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)
    for part in PARTS:
        np.testing.assert_array_equal(forces(now.parts[part]), forces(budget.parts[part]))
        np.testing.assert_array_equal(forces(load_budget(path).parts[part]), forces(now.parts[part]))
    with pytest.raises(FileExistsError):
        error_budget(stars, config, path=path)


def test_what_is_damaged_is_left_out_and_named(budget, tmp_path):
    path = tmp_path / "budget"
    save_budget(budget, path)
    save_budget(budget, path, overwrite=True)  # so there is one before

    def damage(*names):
        for name in names:
            (path / name).write_bytes((path / name).read_bytes()[:-7])

    lost: list[str] = []
    damage("statistics-1", "central")
    with pytest.raises(CheckpointError, match="damaged"):
        load_budget(path)
    now = load_budget(path, lost)
    assert {part: len(now.parts[part]) for part in PARTS} == {"statistics": 1, "measurement": 2, "training": 2}
    assert (now.stopped, len(lost)) == ("cancelled", 3)
    assert lost[-1] == "Members of statistics are lost; the last 2 are made again."
    damage("training-0")
    assert not load_budget(path, lost).parts["training"]
    damage("budget")
    assert len(load_budget(path, lost).parts["measurement"]) == 2
    damage("budget.before")
    now = load_budget(path, lost)
    assert [len(now.parts[part]) for part in PARTS] == [1, 2, 0]
    damage("central.before")
    with pytest.raises(CheckpointError, match="damaged"):
        load_budget(path, lost)


def test_a_map_that_is_not_finished_makes_no_finished_budget(budget, tmp_path):
    """As when the last checkpoint of the map is damaged, and the one before is whole."""
    path = tmp_path / "budget"
    save_budget(budget, path)
    before = dataclasses.replace(budget.central, stage=2, stopped="cancelled", message="Cut off.")
    save_map(before, path / "central.before")
    assert load_budget(path, []).stopped == "finished"
    (path / "central").write_bytes(b"")
    lost: list[str] = []
    now = load_budget(path, lost)
    assert (now.stopped, now.message, len(lost)) == ("cancelled", "Cut off: the map is not finished (Cut off.)", 1)


def test_members_of_another_map_are_not_taken_without_a_list(budget, tmp_path):
    path = tmp_path / "budget"
    save_budget(budget, path)
    (path / "statistics-9.damaged1").write_bytes(b"")  # is no member
    other = eqx.tree_at(lambda d: d.n.radius, budget.central.density, budget.central.density.n.radius * 1.5)
    save_map(dataclasses.replace(budget.parts["statistics"][1], density=other), path / "statistics-1", overwrite=True)
    config = dataclasses.replace(budget.central.config, seed=99)
    save_map(dataclasses.replace(budget.parts["measurement"][0], config=config), path / "measurement-0", overwrite=True)
    (path / "budget").write_bytes(b"")
    lost: list[str] = []
    now = load_budget(path, lost)
    assert [len(now.parts[part]) for part in PARTS] == [1, 0, 0]
    assert "Members of measurement are lost; the last 2 are made again." in lost
    assert now.stopped == "cancelled"


def test_how_often_a_checkpoint_is_saved_is_called_so(stars, config, tmp_path):
    with pytest.raises(ValueError, match="Expected checkpoint as a number"):
        error_budget(stars, config, path=tmp_path / "budget", checkpoint=-1)


class Clock:
    """A clock that work has to wind: 10 s for a map or a member's training, 1 s for a refit."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("seconds", "made"),
    [(5, (0, 0, 0)), (12, (2, 0, 0)), (15, (3, 2, 0)), (25, (3, 3, 0)), (40, (3, 3, 2)), (100, (3, 3, 4))],
)
def test_a_budget_of_seconds(monkeypatch, budget, stars, config, seconds, made):
    """The map itself takes 10 s."""
    clock = Clock()

    def work(seconds, name):
        def done(budget, *args):
            count = args[-2] if name == "training" else 1
            part = "training" if name == "training" else args[1]
            clock.now += seconds * count
            budget.parts[part] += [budget.central] * count

        return done

    def fit_map(*args, **kwargs):
        clock.now += 10
        return budget.central

    monkeypatch.setattr(module, "fit_map", fit_map)
    monkeypatch.setattr(module, "_redraw", work(1, "redraw"))
    monkeypatch.setattr(module, "_train", work(10, "training"))
    got = error_budget(stars, config, training=4, bootstrap=3, measurement=3, seconds=seconds, clock=clock)
    assert tuple(len(got.parts[part]) for part in PARTS) == made
    assert f"{made[2]} of 4 for training" in got.message
    assert (f"could be afforded in {seconds} s" in got.message) == (seconds < 100)


def test_without_errors_it_says_so(budget, stars):
    plain = Catalog.from_phase_space(*np.split(stars.phase_space, 2, axis=1))
    begin = ErrorBudget(budget.central)
    got = error_budget(plain, training=0, bootstrap=0, resume=begin)
    assert "parallax_error" in got.message
    assert not got.parts["measurement"]
    with pytest.raises(KeyError, match="parallax_error"):
        error_budget(plain, training=0, bootstrap=0, measurement=2, resume=begin)


def test_refusals(budget, stars, config):
    with pytest.raises(ValueError, match="one alone has no spread"):
        error_budget(stars, config, training=1)
    with pytest.raises(ValueError, match="with a potential"):
        error_budget(stars, dataclasses.replace(config, potential=None))
    with pytest.raises(ValueError, match="stars that the fit began with"):
        error_budget(stars.take(np.arange(len(stars)) > 9), resume=budget)


def test_bootstrap_is_as_large_as_the_formal_spread_and_grows_with_fewer_stars(budget, stars):
    many, few = (forces(maps).std(0, ddof=1) for maps in (budget.parts["statistics"], fewer(budget.central, stars)))
    formal = forces(budget.formal()).std(0, ddof=1)
    # The formal spread is wider by what such rough flows break the equations; no bootstrap knows of that.
    assert 0.3 < np.linalg.norm(many) / np.linalg.norm(formal) < 2
    assert 1.4 < np.linalg.norm(few) / np.linalg.norm(many) < 5  # from a fifth of the stars


def fewer(fit, stars):
    g = score_gradients(fit.density, *(a[::5] for a in in_ball(fit, stars)))
    assert g is not None
    return [_bootstrap(fit, g, i, None) for i in range(3)]


def measured(error, size=20_000):
    """Stars at a parallax of 1 mas with proper motions of 5 +- 2 mas/yr, measured with errors."""
    rng = np.random.default_rng(8)
    true = dict(
        parallax=np.ones(size), pmra=rng.normal(5, 2, size), pmdec=np.zeros(size), radial_velocity=np.ones(size)
    )
    units: dict[str, str] = dict(zip(MEASURED, ("mas", "mas/yr", "mas/yr", "km/s"), strict=True))
    columns = {n: u.Quantity(v + error * rng.normal(size=size), units[n]) for n, v in true.items()}
    errors = {f"{n}_error": u.Quantity(np.full(size, error), unit) for n, unit in units.items()}
    return Catalog(Table({**columns, **errors})), true


def test_simex_takes_the_errors_out_of_a_variance():
    """The variance grows with that of the errors, which add in quadrature, so that the answer is exact."""
    noisy, true = measured(1.5)
    big = noisy.with_columns({"parallax": np.full(len(noisy), 100.0) * u.mas})  # none gets lost
    got = simex(lambda c: np.var(c["pmra"]), big)
    assert got.naive == pytest.approx(4 + 1.5**2, rel=0.03)
    assert got.value == pytest.approx(np.var(true["pmra"]), rel=0.05)
    assert 0.003 < got.error < 0.1
    np.testing.assert_array_equal(simex(lambda c: np.var(c["pmra"]), big).value, got.value)


def test_simex_takes_most_of_the_bias_out_of_a_mean_distance():
    noisy, _ = measured(0.12)
    got = simex(lambda c: np.mean(1 / c["parallax"]), noisy)
    assert got.naive - 1 > 0.013
    assert abs(got.value - 1) < 0.2 * (got.naive - 1)


def test_without_errors_nothing_is_extrapolated():
    exact, _ = measured(0.0)
    got = simex(lambda c: np.var(c["pmra"]), exact, draws=2)
    assert got.value == pytest.approx(got.naive, rel=1e-6)
    with pytest.raises(ValueError, match="two or more draws"):
        simex(len, exact, draws=1)


def test_a_map_without_the_bias_of_errors(monkeypatch, budget, stars):
    """With a stand-in for the fit: potentials in proportion to 1 + the excess variance of the parallaxes."""
    error, calls = np.asarray(stars["parallax_error"], float), []

    def stand_in(fit, noisy, *, on_batch=None):
        kept = np.isin(stars["ra"], noisy["ra"])  # some stars are lost
        factor = 1 + np.mean(((noisy["parallax"] - stars["parallax"][kept]) / error[kept]) ** 2)
        series = eqx.tree_at(lambda s: s.coefficients, fit.series, fit.series.coefficients * factor)
        calls.append(on_batch and on_batch(1, 2))
        return None if calls[-1] is False else dataclasses.replace(fit, series=series)

    monkeypatch.setattr(extrapolation, "refit", stand_in)
    told = []
    central = budget.central
    fit = simex_map(central, stars, scales=(0.5, 1.0), draws=3, on_batch=lambda *p: told.append(p))
    np.testing.assert_allclose([done / size for done, size in told], (np.arange(7) + 0.5) / 7)
    # All of the potential is then made by the errors.
    whole = np.linalg.norm(central.series.coefficients)
    assert np.linalg.norm(fit.series.coefficients) < 0.1 * whole
    # The random draws scatter along the potential, and only there.
    more = fit.series.spread @ fit.series.spread.T - central.series.spread @ central.series.spread.T
    along = central.series.coefficients / whole
    np.testing.assert_allclose(more, np.outer(along, along) * (along @ more @ along), atol=1e-3 * abs(more).max())
    assert 0 < along @ more @ along < (0.1 * whole) ** 2
    assert "no measurement errors" in fit.message
    assert (fit.provenance["simex_draws"], "simex_draws" in central.provenance) == (3, False)
    with pytest.raises(ValueError, match="extrapolated already"):
        simex_map(fit, stars)
    assert ErrorBudget(fit).central.message == fit_map(stars, resume=fit).message == fit.message
    assert "no measurement errors" not in central.message
    assert simex_map(central, stars, draws=2, on_batch=lambda done, size: done < 0.5 * size) is None


def test_a_map_that_is_not_finished_is_not_extrapolated(budget, stars):
    with pytest.raises(ValueError, match="finished map"):
        simex_map(dataclasses.replace(budget.central, stage=2), stars)
    inside = np.linalg.norm(stars.phase_space[:, :3] - SUN.position, axis=1) < budget.central.radius
    with pytest.raises(ValueError, match="stars beyond the ball"):
        simex_map(budget.central, stars.take(inside))
    x, v = np.split(stars.phase_space, 2, axis=1)
    with pytest.raises(KeyError):
        simex_map(budget.central, Catalog.from_phase_space(x, v))


def test_a_real_extrapolation_moves_the_map(budget, stars):
    fit = simex_map(budget.central, stars)
    x = SUN.position + np.linspace(-1, 1, 4)[:, None]
    shift = np.linalg.norm(fit.acceleration(x) - budget.central.acceleration(x), axis=1)
    assert (shift > 0).all()
    assert (shift < np.linalg.norm(budget.central.acceleration(x), axis=1)).all()
    assert (fit.acceleration_covariance(x) >= 0.99 * budget.central.acceleration_covariance(x))[
        :, range(3), range(3)
    ].all()
