"""Dust hides stars from a flow; the velocities tell it from a lack of stars."""

import dataclasses
import re

import numpy as np
import pytest

from clearview.catalogs import Catalog
from clearview.dynamics import (
    EfficiencyConfig,
    MapConfig,
    PotentialConfig,
    efficiency,
    efficiency_field,
    fit_dusty,
    fit_efficiency,
    fit_map,
    load_fit,
    load_map,
    save_fit,
    slice_points,
)
from clearview.field import Axis
from clearview.flows import CheckpointError, FitConfig, FlowConfig
from clearview.mocks import truth_of
from clearview.panels import AccelerationPanel, DustPanel
from clearview.units import SUN

SOLVE = EfficiencyConfig(potential=PotentialConfig(pointwise=1200.0, degree=8), smoothing=0.3)


def eps(x):
    """A quadrant of the sky is dimmed beyond 1 kpc, near the plane."""
    step = x - SUN.position
    distance = np.linalg.norm(step, axis=1)
    dark = (step[:, 1] > 0) & (step[:, 0] > 0) & (distance > 1) & (np.abs(step[:, 2]) < 0.5)
    return np.where(dark, 0.4, 1.0)


@pytest.fixture(scope="module")
def seen(mock):
    kept = np.random.default_rng(0).uniform(size=len(mock)) < eps(mock.phase_space[:, :3])
    return mock.take(kept)


@pytest.fixture(scope="module")
def density(seen):
    config = MapConfig(
        radius=4.0, positions=FlowConfig(3, 32), velocities=FlowConfig(3, 32), potential=None,
        training=FitConfig(epochs=8, batch_size=256, learning_rate=4e-3),
    )  # fmt: skip
    return fit_map(seen, config)


@pytest.fixture(scope="module")
def fit(density, seen):
    return fit_efficiency(density, seen, SOLVE)


def test_what_is_hidden_is_found(fit):
    rng = np.random.default_rng(1)
    x = SUN.position + np.stack([rng.uniform(-2.5, 2.5, 4000), rng.uniform(-2.5, 2.5, 4000), np.zeros(4000)], -1)
    x = x[np.linalg.norm(x - SUN.position, axis=1) < 2.7]
    step = x - SUN.position
    well_inside = (step[:, 0] > 0.7) & (step[:, 1] > 0.7) & (np.linalg.norm(step, axis=1) > 1.7)
    free = (eps(x) == 1) & ((step[:, 0] < -0.7) | (step[:, 1] < -0.7))
    got = fit.efficiency(x)
    assert np.median(got[well_inside]) == pytest.approx(0.4, abs=0.15)
    assert np.median(got[free]) > 0.8


def test_priors_hold(fit):
    rays = fit.rays
    assert float(rays.max()) <= 1
    assert float(rays.min()) > 0
    assert (rays.isel(distance=0) > 0.95).all()
    assert (rays.diff("distance") <= 1e-6).all()
    assert np.isnan(fit.efficiency(SUN.position[None] + [[5.0, 0, 0]])).all()


def test_the_force_survives_the_dust(fit, seen):
    x = SUN.position + np.random.default_rng(2).uniform(-1.2, 1.2, (500, 3))
    true = truth_of(seen).acceleration(x)
    error = np.linalg.norm(fit.acceleration(x) - true, axis=1) / np.linalg.norm(true, axis=1)
    assert np.median(error) < 0.15
    assert np.isfinite(fit.potential(x)).all()


def test_learnt_gradients_that_err_alike_widen_the_stated_error(fit, density, seen, monkeypatch):
    monkeypatch.setattr(efficiency, "CORRELATED", 1.0)
    alone = fit_efficiency(density, seen, SOLVE)
    np.testing.assert_array_equal(alone.series.coefficients, fit.series.coefficients)
    x = SUN.position + np.random.default_rng(2).uniform(-1.2, 1.2, (500, 3))
    wide, narrow = (np.sqrt(np.diagonal(f.acceleration_covariance(x), axis1=1, axis2=2)) for f in (fit, alone))
    # As if there were a fifth of the stars, where these tell it and not the prior.
    assert (wide < 1.001 * np.sqrt(5) * narrow).all()
    assert np.median(wide / narrow) > 1.8


def test_the_field_has_density_seen_and_corrected(fit, tmp_path):
    field = efficiency_field(fit, (Axis("x", 7, 10, 8), Axis("y", -1, 3, 6)), {"z": 0.0})
    assert set(field.data_vars) == {"efficiency", "log_n_seen", "log_n"}
    lack = (field.log_n - field.log_n_seen).sel(x=9.5, y=1.8, method="nearest")
    assert float(lack) > 0.4
    field.to_netcdf(tmp_path / "dust.nc", engine="h5netcdf")
    x = SUN.position[None] + 0.3
    assert fit.log_f(x, SUN.velocity[None]) - fit.log_n(x) == pytest.approx(
        density_of_velocity(fit, x, SUN.velocity[None]), abs=1e-3
    )


def density_of_velocity(fit, x, v):
    f = fit.seen.density
    return np.asarray(f.p.log_prob(*f.velocity_input(x.astype(np.float32), v.astype(np.float32))))


def test_a_veil_before_all_far_places_is_found(mock, density, seen, fit):
    """Dust within 400 pc dims whatever is behind it, by the latitude alone."""
    step = mock.phase_space[:, :3] - SUN.position
    distance = np.linalg.norm(step, axis=1)
    veil = 0.2 * np.minimum(distance / np.maximum(np.abs(step[:, 2]), 1e-3), 6.0)
    kept = np.random.default_rng(3).uniform(size=len(mock)) < np.where(distance < 0.4, 1.0, np.exp(-veil))
    stars = mock.take(kept)
    veiled = fit_efficiency(fit_map(stars, density.config), stars, SOLVE)
    toward = float(re.search(r"front (\d\.\d+) toward", veiled.message)[1])
    clear = float(re.search(r"front (\d\.\d+) toward", fit.message)[1])
    assert toward == pytest.approx(np.exp(-0.2), abs=0.1)
    assert clear > toward + 0.03


def test_refusals_and_cancel(density, seen, mock, tiny_map):
    with pytest.raises(ValueError, match="stars that the map was learnt from"):
        fit_efficiency(density, mock, SOLVE)
    with pytest.raises(ValueError, match="trained density"):
        fit_efficiency(dataclasses.replace(density, stage=1), seen, SOLVE)
    with pytest.raises(ValueError, match="lower clear_height"):
        fit_efficiency(density, seen, dataclasses.replace(SOLVE, clear_height=4.5))
    with pytest.raises(ValueError, match="smoothing of at least"):
        fit_efficiency(density, seen, dataclasses.replace(SOLVE, smoothing=0.01))
    with pytest.raises(ValueError, match="velocities, joint"):
        EfficiencyConfig(form="both")
    assert fit_efficiency(density, seen, SOLVE, on_batch=lambda done, total: False) is None


def test_no_dust_says_so(mock):
    density = fit_map(
        mock, MapConfig(radius=4.0, positions=FlowConfig(2, 24), velocities=FlowConfig(2, 24), potential=None)
    )  # fmt: skip
    fit = fit_efficiency(density, mock, SOLVE)
    x = SUN.position + np.random.default_rng(2).uniform(-1, 1, (500, 3))
    assert np.median(fit.efficiency(x)) > 0.85
    few = Catalog.from_phase_space(mock.phase_space[:, :3], mock.phase_space[:, 3:])
    assert few.digest() == mock.digest()


# ---- all in one go, in a file, in a panel


TINY = EfficiencyConfig(
    potential=PotentialConfig(pointwise=1200.0, degree=4), smoothing=0.4, stars=3000,
    map=MapConfig(radius=4.0, positions=FlowConfig(1, 8), velocities=FlowConfig(1, 8), potential=None,
                  training=FitConfig(epochs=1, min_steps=30)),
)  # fmt: skip


@pytest.fixture(scope="module")
def tiny(seen):
    few = seen.take(np.arange(len(seen)) < 6000)
    return few, fit_dusty(few, TINY)


def test_in_one_go_it_is_both_steps(tiny):
    few, fit = tiny
    seen = fit_map(few, TINY.map)
    both = fit_efficiency(seen, few, TINY)
    x = few.phase_space[:50, :3]
    np.testing.assert_allclose(fit.efficiency(x), both.efficiency(x), rtol=1e-4)
    assert (fit.stopped, fit.data_digest, fit.stars) == ("finished", few.digest(), seen.stars)


def test_a_cancel_keeps_what_was_learnt_and_it_goes_on(tiny):
    few, fit = tiny
    told = []
    part = fit_dusty(few, TINY, on_progress=lambda p: told.append(p.fraction) or p.stage != "gradients")
    assert (part.stopped, part.has_density) == ("cancelled", True)
    assert 0 <= told[0] < told[-1] <= 1
    again = fit_dusty(few, TINY, resume=part)
    np.testing.assert_allclose(again.rays.values, fit.rays.values, atol=1e-5)


def test_a_file_holds_all_of_it(tiny, tmp_path):
    few, fit = tiny
    save_fit(fit, tmp_path / "fit")
    again = load_fit(tmp_path / "fit")
    x, v = np.split(few.phase_space[:50], 2, axis=1)
    for name, args in (
        ("efficiency", (x,)),
        ("acceleration", (x,)),
        ("log_f", (x, v)),
        ("acceleration_covariance", (x,)),
    ):
        np.testing.assert_allclose(getattr(again, name)(*args), getattr(fit, name)(*args), rtol=1e-5)
    assert (again.config, again.message, again.data_digest) == (fit.config, fit.message, fit.data_digest)
    with pytest.raises(FileExistsError):
        save_fit(fit, tmp_path / "fit")
    save_fit(fit.seen, tmp_path / "map")
    assert load_fit(tmp_path / "map").data_digest == load_map(tmp_path / "map").data_digest
    with pytest.raises(CheckpointError, match="Expected a checkpoint of a map"):
        load_map(tmp_path / "fit")


def test_a_symmetry_is_named_where_it_was_assumed(tiny, tmp_path):
    few, fit = tiny
    potential = dataclasses.replace(TINY.potential, symmetry="axisymmetric")
    assumed = fit_efficiency(fit.seen, few, dataclasses.replace(TINY, potential=potential))
    save_fit(assumed, tmp_path / "fit")
    for known in (assumed, load_fit(tmp_path / "fit")):
        assert known.provenance["symmetry_assumed"] == "axisymmetric"
        assert "taken to be axisymmetric." in known.message
    seen = dataclasses.replace(fit.seen.config, potential=potential)
    plain = dataclasses.replace(fit, seen=dataclasses.replace(fit.seen, config=seen))
    assert "symmetry_assumed" not in plain.provenance


def test_the_panel_shows_the_same_slice_three_times(tiny):
    few, fit = tiny
    panel = DustPanel(few, fit, size=64, threaded=False)
    panel.set(plane="x-z", contours=True)
    assert panel.status == ""
    assert [v.frame["z"]["name"] for v in panel.views] == ["stars seen", "stars without dust", "efficiency ε"]
    assert (panel.views[0].frame["low"], panel.views[0].frame["high"]) == (
        panel.views[1].frame["low"], panel.views[1].frame["high"],
    )  # fmt: skip
    field = panel.data()
    at = field.sel(x=9.0, z=0.0, method="nearest")
    x = np.array([[float(at.x), 0.0, float(at.z)]])
    assert float(at.efficiency) == pytest.approx(fit.efficiency(x)[0], abs=1e-3)
    assert float(at.corrected) == pytest.approx(fit.stars * np.exp(fit.log_n(x)[0]), rel=1e-3)
    panel.views[1].range = [7.0, 9.0, -1.0, 1.0]
    assert [v.frame["range"] for v in panel.views] == [pytest.approx([7, 9, -1, 1])] * 3
    panel.close()


def test_the_panel_trains_saves_and_loads(tiny, tmp_path):
    few, fit = tiny
    panel = DustPanel(few, config=TINY, size=64, threaded=False)
    assert panel.view.message == "No map yet: press Train, or load a saved fit."
    panel.train()
    assert panel.status == ""
    np.testing.assert_allclose(panel.fit.rays.values, fit.rays.values, atol=1e-5)
    assert panel.stale == ""
    panel.save(tmp_path / "fit.clearview")
    panel.load(tmp_path / "fit.clearview")
    assert panel.status.startswith("Loaded")
    other = AccelerationPanel(few, panel.fit, size=64, threaded=False)
    other.set(component="a_z", show="error")
    assert other.status == ""
    drawn = []
    for plane in ("x-y", "x-z", "R-z", "sky"):
        other.set(dust=True, show="map", plane=plane, distance=3.0)
        axes, fixed = other.axes(other.settings, 1.0)
        share = panel.fit.efficiency(slice_points(axes, fixed).reshape(-1, 3))
        drawn.append("contours at" in other.view.frame["title"])
        assert drawn[-1] == bool(np.nanmin(share) < 0.5 < np.nanmax(share))
    assert any(drawn)
    panel.close()
    other.close()


def test_a_paused_fit_of_the_panel_goes_on_with_its_own_settings(tiny, monkeypatch):
    few, fit = tiny
    panel = DustPanel(few, config=TINY, size=64, threaded=False)
    part = fit_dusty(few, TINY, on_progress=lambda p: p.stage != "velocities")
    assert part.stopped == "cancelled"
    panel.fit = part
    assert panel.bar.go.description == "Resume"
    panel.train()
    assert panel.fit.config == TINY
    np.testing.assert_allclose(panel.fit.rays.values, fit.rays.values, atol=1e-5)
    panel.close()
