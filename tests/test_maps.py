"""The whole pipe on a small budget: watched, cancelled, resumed, saved, refused."""

import dataclasses
import json

import jax
import numpy as np
import pandas as pd
import pytest

from clearview.catalogs import Catalog
from clearview.dynamics import (
    MapConfig,
    PotentialConfig,
    acceleration_field,
    estimate_seconds,
    fit_map,
    load_map,
    maps,
    phase_space_field,
    save_map,
)
from clearview.dynamics.plan import Plan
from clearview.field import Axis
from clearview.flows import CheckpointError, FitConfig, FlowConfig, Progress
from clearview.flows.fit import HISTORY
from clearview.mocks import Truth
from clearview.units import SUN, SUNS


def arrays(fit):
    return [np.asarray(a) for a in jax.tree.leaves((fit.density, fit.series))]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(arrays(a), arrays(b), strict=True))


def test_a_map_comes_out(tiny_map, mock):
    assert tiny_map.complete
    assert tiny_map.stopped == "finished"
    assert tiny_map.data_digest == mock.digest()
    assert list(tiny_map.history.stage.unique()) == ["positions", "velocities"]
    a = tiny_map.acceleration(SUN.position[None])
    assert a.shape == (1, 3)
    assert a[0, 0] < 0  # towards the Galactic centre, even on this budget


def test_same_seed_same_map(tiny_map, mock, tiny_config):
    assert same(tiny_map, fit_map(mock, tiny_config))
    assert not same(tiny_map, fit_map(mock, dataclasses.replace(tiny_config, seed=1)))


def test_cancel_save_load_resume_is_bit_for_bit(tiny_map, mock, tiny_config, tmp_path):
    """Cancelled in every stage, each time written, read and gone on with."""
    fit, stages = None, ["positions", "velocities", "gradients", "potential"]
    for number, stage in enumerate(stages):
        at = [0]

        def stop(p, stage=stage, at=at):
            at[0] += p.stage == stage and p.step > 0
            return at[0] < (1 if stage == "gradients" else 2)

        fit = fit_map(mock, tiny_config if fit is None else None, on_progress=stop, resume=fit)
        assert fit.stopped == "cancelled"
        assert not fit.complete
        save_map(fit, tmp_path / str(number))
        fit = load_map(tmp_path / str(number))
    with pytest.raises(ValueError, match="Resume it first"):
        fit.acceleration(SUN.position[None])
    fit = fit_map(mock, resume=fit)
    assert fit.complete
    assert same(tiny_map, fit)
    # The steps at which losses were noted follow the clock, the last of each stage does not.
    ends = [f.history.groupby("stage").step.max().to_dict() for f in (tiny_map, fit)]
    assert ends[0] == ends[1]


def test_progress_covers_all_stages(mock, tiny_config):
    told = []
    fit_map(mock, tiny_config, on_progress=told.append)
    fractions = [p.fraction for p in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)
    assert "gradients" in {p.stage for p in told}
    assert told[-1].remaining == pytest.approx(0)


def test_save_and_load_give_the_same_map(tiny_map, tmp_path):
    save_map(tiny_map, tmp_path / "map")
    again = load_map(tmp_path / "map")
    x = SUN.position + np.linspace(-1, 1, 5)[:, None]
    np.testing.assert_array_equal(again.acceleration(x), tiny_map.acceleration(x))
    np.testing.assert_array_equal(again.log_f(x, 0 * x), tiny_map.log_f(x, 0 * x))
    assert again.config == tiny_map.config
    pd.testing.assert_frame_equal(again.history, tiny_map.history, check_dtype=False)
    with pytest.raises(FileExistsError):
        save_map(tiny_map, tmp_path / "map")
    (tmp_path / "map").write_bytes((tmp_path / "map").read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="truncated"):
        load_map(tmp_path / "map")


def test_too_few_stars_for_the_potential_are_told_before_training(mock, tiny_config):
    few = Catalog.from_phase_space(mock.phase_space[:1020, :3], mock.phase_space[:1020, 3:])
    with pytest.raises(ValueError, match=r"for the potential, got \d+ .*density only"):
        fit_map(few, tiny_config)
    with pytest.raises(ValueError, match=r"potential.stars is 500"):
        fit_map(mock, dataclasses.replace(tiny_config, potential=dataclasses.replace(tiny_config.potential, stars=500)))


def test_a_potential_that_fails_does_not_lose_the_density(mock, tiny_config, monkeypatch):
    def fails(*_, **__):
        raise np.linalg.LinAlgError("Singular matrix")

    with monkeypatch.context() as broken:
        broken.setattr("clearview.dynamics.maps.fit_potential", fails)
        fit = fit_map(mock, tiny_config)
    assert (fit.stopped, fit.complete, fit.has_density) == ("diverged", False, True)
    assert "density is trained" in fit.message
    assert fit_map(mock, resume=fit).complete


def test_outside_the_ball_nothing_is_told(tiny_map):
    x = SUN.position + np.array([[3.9, 0, 0], [4.1, 0, 0]])
    for values in (tiny_map.acceleration(x), tiny_map.potential(x), tiny_map.acceleration_covariance(x)):
        assert np.isfinite(values[0]).all()
        assert np.isnan(values[1]).all()


def test_a_long_history_is_kept(tiny_map, tmp_path):
    long = dataclasses.replace(tiny_map, history=pd.concat([tiny_map.history] * 2000, ignore_index=True))
    save_map(long, tmp_path / "long")
    assert (tmp_path / "long").stat().st_size > 1 << 20
    assert len(load_map(tmp_path / "long").history) == len(long.history)


def test_symmetries_that_are_assumed_are_named(mock, tiny_config):
    potential = dataclasses.replace(tiny_config.potential, symmetry=["north-south", "axisymmetric"])
    fit = fit_map(mock, dataclasses.replace(tiny_config, potential=potential))
    assert "taken to be the same north and south of the plane and axisymmetric." in fit.message
    field = acceleration_field(fit, (Axis("x", 7, 9, 3),), {"y": 0.0, "z": 0.5})
    assert field.attrs["symmetry_assumed"] == "north-south, axisymmetric"


def test_density_only(mock, tiny_config):
    fit = fit_map(mock, dataclasses.replace(tiny_config, potential=None))
    assert fit.complete
    assert fit.has_density
    assert not fit.has_potential
    assert np.isfinite(fit.log_f(SUN.position[None], SUN.velocity[None])).all()
    with pytest.raises(ValueError, match="density only"):
        fit.acceleration(SUN.position[None])


def test_config_round_trip():
    assumed = PotentialConfig(symmetry=("north-south",))
    config = MapConfig(radius=0.3, positions=FlowConfig(3, 20), training=FitConfig(epochs=3), potential=assumed, seed=9)
    assert MapConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_log_f_is_normalised(tiny_map, rng):
    x = SUN.position + rng.uniform(-4, 4, (200_000, 3))
    v = rng.uniform(-1, 1, (200_000, 3)) * 350 + [0, -150, 0]
    f = np.exp(tiny_map.log_f(x, v).astype(float)) * 8.0**3 * 700.0**3
    assert f.mean() == pytest.approx(1, abs=5 * f.std() / np.sqrt(len(f)))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda w: w[:900], "at least 1,000 stars"),
        (lambda w: np.where(np.arange(6) == 2, 0.1, w), "one and the same z"),
        (lambda w: np.where(np.arange(6) == 5, 0.0, w), "one and the same v_z"),
        (lambda w: w + np.array([50.0, 0, 0, 0, 0, 0]), r"fill the ball|within|axis"),
        (lambda w: np.concatenate([w, w[:1] + np.eye(6)[0] * 30]), "fill the ball"),
        (lambda w: np.where(np.arange(len(w))[:, None] == 5, np.nan, w), "finite"),
    ],
)
def test_stars_that_cannot_work(mock, change, sentence):
    w = change(mock.phase_space.astype(float))
    with pytest.raises(ValueError, match=sentence):
        fit_map(Catalog.from_phase_space(w[:, :3], w[:, 3:]))


def test_refusals(mock, tiny_map, tiny_config):
    with pytest.raises(ValueError, match=r"within 0\.01 kpc"):
        fit_map(mock, MapConfig(radius=0.01))
    with pytest.raises(ValueError, match="Galaxy's axis"):
        fit_map(mock, MapConfig(center=(3.0, 0.0, 0.0)))
    other = Catalog.from_phase_space(mock.phase_space[:5000, :3], mock.phase_space[:5000, 3:])
    with pytest.raises(ValueError, match="the stars that the fit began with"):
        fit_map(other, resume=tiny_map)
    with pytest.raises(ValueError, match="keeps its own"):
        fit_map(mock, dataclasses.replace(tiny_config, seed=5), resume=tiny_map)


def test_acceleration_field_of_the_truth():
    truth = Truth()
    axes = (Axis("x", 4, 12, 8), Axis("z", -3, 3, 6))
    field = acceleration_field(truth, axes, {"y": 0.5}, radius=4.0)
    x = np.array([[field.x[5].item(), 0.5, field.z[1].item()]])
    a = truth.acceleration(x)[0]
    got = field.isel(x=5, z=1)
    np.testing.assert_allclose([got.a_x, got.a_y, got.a_z], a, rtol=1e-5)
    assert got.a == pytest.approx(np.linalg.norm(a), rel=1e-5)
    assert got.a_phi == pytest.approx(0, abs=1e-2)  # the truth is axisymmetric
    assert got.a_R == pytest.approx(-np.hypot(a[0], a[1]), rel=1e-5)
    assert np.isnan(field.a.isel(x=0, z=0))  # outside the ball
    assert field.a.attrs["units"] == "km2 s-2 kpc-1"
    assert field.attrs["at_y"] == 0.5
    along = acceleration_field(truth, (Axis("R", 4, 12, 8), Axis("z", -3, 3, 6)), {"phi": 90.0})
    np.testing.assert_allclose(along.a_y, along.a_R)
    np.testing.assert_allclose(along.a_x, 0, atol=1e-2)


def test_fields_of_a_map(tiny_map, tmp_path):
    field = acceleration_field(tiny_map, (Axis("R", 6, 10, 5), Axis("z", -1, 1, 3)), {"phi": 10.0})
    assert np.isfinite(field.a).all()
    x = np.array([[8 * np.cos(np.deg2rad(10)), 8 * np.sin(np.deg2rad(10)), 0]])
    np.testing.assert_allclose(field.a_z.isel(R=2, z=1), tiny_map.acceleration(x)[0, 2], rtol=1e-3)
    slice_ = phase_space_field(
        tiny_map, (Axis("vx", -100, 100, 4, "km/s"), Axis("vy", -300, -100, 5, "km/s")),
        dict(x=8.0, y=0.0, z=0.0, vz=0.0),
    )  # fmt: skip
    assert slice_.log_f.shape == (4, 5)
    point = [[8.0, 0, 0]], [[slice_.vx[1].item(), slice_.vy[2].item(), 0.0]]
    np.testing.assert_allclose(slice_.log_f[1, 2], tiny_map.log_f(*point)[0], rtol=1e-4)
    slice_.to_netcdf(tmp_path / "slice.nc", engine="h5netcdf")  # a field goes to disk as it is
    assert slice_.attrs["data_digest"] == tiny_map.data_digest
    with pytest.raises(ValueError, match=r"axis vx in km/s, got kpc"):
        phase_space_field(tiny_map, (Axis("vx", -1, 1, 2), Axis("x", 7, 8, 2)), {})
    with pytest.raises(ValueError, match=r"among x, y, z, got 'Y'"):
        acceleration_field(tiny_map, (Axis("x", 7, 8, 2), Axis("z", -1, 1, 2)), {"Y": 0.0})
    with pytest.raises(ValueError, match="got none for vz"):
        phase_space_field(
            tiny_map, (Axis("vx", -1, 1, 2, "km/s"), Axis("vy", -1, 1, 2, "km/s")), dict(x=8.0, y=0.0, z=0.0)
        )


def test_previews_can_be_drawn_and_not_saved(mock, tiny_map, tiny_config, tmp_path):
    seen = []
    fit = fit_map(mock, tiny_config, on_preview=seen.append, preview=0.0)
    assert same(fit, tiny_map)  # it costs time, and changes nothing
    assert {p.stopped for p in seen} == {"preview"}
    assert not any(p.complete for p in seen)
    assert seen[0].message.startswith("Positions")
    assert not seen[0].has_potential
    last = seen[-1]
    assert last.has_potential
    assert last.acceleration(SUN.position[None])[0, 0] < 0
    assert np.isfinite(last.log_f(SUN.position[None], SUN.velocity[None])).all()
    with pytest.raises(ValueError, match="got a preview of one; cancel the training"):
        save_map(last, tmp_path / "preview")
    with pytest.raises(ValueError, match="Expected a cancelled fit to resume, got a preview"):
        fit_map(mock, resume=last)


def test_a_preview_that_fails_is_told_once_and_loses_no_training(mock, tiny_map, tiny_config, monkeypatch):
    real, asked, seen = maps.score_gradients, [], []

    def fails_once(*args, **kwargs):
        asked.append(kwargs)
        if len(asked) == 1:
            raise RuntimeError("no memory")
        return real(*args, **kwargs)

    monkeypatch.setattr(maps, "score_gradients", fails_once)
    assert same(fit_map(mock, tiny_config, on_preview=seen.append, preview=0.0), tiny_map)
    assert [str(p) for p in seen if isinstance(p, Exception)] == ["no memory"]
    assert isinstance(seen[-1], Exception)
    assert len(asked) == 2


def test_a_cancel_is_heeded_in_a_preview(mock, tiny_map, tiny_config):
    begun = []

    def going(p):
        return not begun

    fit = fit_map(mock, tiny_config, on_progress=going, on_preview=begun.append, preview=0.0)
    assert fit.stopped == "cancelled"
    assert len(begun) == 1
    assert same(fit_map(mock, resume=fit), tiny_map)


def test_the_estimate_grows_with_the_work(mock):
    few, many = (estimate_seconds(n) for n in (100_000, 200_000))
    assert few < many < 2.5 * few
    longer = MapConfig(training=FitConfig(epochs=28))
    assert many < estimate_seconds(200_000, longer) < 2.5 * many
    assert estimate_seconds(200_000, MapConfig(potential=None)) < many
    assert estimate_seconds(200_000, MapConfig(positions=FlowConfig(width=192))) > many
    assert estimate_seconds(mock, MapConfig(radius=4.0)) == pytest.approx(estimate_seconds(len(mock)), rel=0.02)
    assert estimate_seconds(mock, MapConfig(radius=2.0)) < estimate_seconds(mock, MapConfig(radius=4.0))


def test_what_is_left_is_that_of_all_stages(tiny_config):
    """In the middle of the first stage, with ten seconds to its end, the others are still to come."""
    told = []
    plan = Plan(tiny_config, 20_000, told.append, pd.DataFrame(columns=HISTORY))
    half = Progress("positions", 5, 10, 10.0, 10.0, 1.0, 1.0, pd.DataFrame(columns=HISTORY), 0.5)
    plan.stage(0)(half)
    first, *others = plan.costs
    assert told[-1].remaining == pytest.approx(10 * (1 + 2 * sum(others) / first))
    plan.stage(1)(half._replace(stage="velocities", remaining=None, fraction=0.0))  # while it compiles
    assert told[-1].remaining == pytest.approx(20 * sum(others) / first)


def test_a_map_keeps_the_sun_of_its_stars(mock, tiny_config, tiny_map, tmp_path):
    assert tiny_map.sun == SUN
    assert tiny_map.provenance["sun"].startswith("name gravity2018, R 8.122, z 0.0208, ")
    assert "off the Sun" not in tiny_map.message
    other = SUNS["gravity2021"]
    moved = mock.with_columns({}, meta={"sun": other.to_dict()})
    quick = dataclasses.replace(tiny_config, potential=None, training=FitConfig(epochs=1, min_steps=0))
    fit = fit_map(moved, quick)
    save_map(fit, tmp_path / "map")
    fit = load_map(tmp_path / "map")
    assert fit.sun == other
    assert fit.source["sun"]["name"] == "gravity2021"
    assert "The ball lies 153 pc off the Sun of the stars; MapConfig(center=stars.sun.position)" in fit.message
    there = fit_map(moved, dataclasses.replace(quick, center=other.position))
    assert "off the Sun" not in there.message


def test_without_a_config_the_ball_is_around_the_catalogues_sun(mock):
    moved = mock.with_columns({}, meta={"sun": SUNS["gravity2021"].to_dict()})
    fit = fit_map(moved, on_progress=lambda p: False)
    np.testing.assert_allclose(fit.center, SUNS["gravity2021"].position)
