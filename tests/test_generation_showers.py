"""Showers learnt from mocks, whose truth is known."""

import dataclasses

import numpy as np
import pytest

from clearview.calorimeter import CALOGAN, Geometry, Layer, Showers
from clearview.flows import CheckpointError, FitConfig, FlowConfig
from clearview.generation import (
    Cancelled,
    DistillConfig,
    ShowerConfig,
    feature_distances,
    fit_showers,
    load_showers,
    voxel_table,
)
from clearview.generation.showers import from_energies, from_voxels, to_energies, to_voxels
from clearview.mocks import mock_showers

HALVES = (-60.0, 0.0, 60.0)
SMALL = Geometry(
    "small", (Layer(0, HALVES[::2], HALVES, thickness=4.7), Layer(1, HALVES, HALVES, thickness=20.0))
)  # fmt: skip
TRAINING = FitConfig(min_steps=150, epochs=1, batch_size=256, learning_rate=1e-2, b2=0.99, average=0.05)
CONFIG = ShowerConfig(
    FlowConfig(1, 12, 1, "spline", bins=4, spread=1.0), FlowConfig(1, 24, 1, "spline", bins=4, spread=1.0), TRAINING,
    TRAINING, DistillConfig(training=TRAINING),
)  # fmt: skip


@pytest.fixture(scope="module")
def showers():
    return mock_showers(2000, geometry=SMALL, seed=1)


@pytest.fixture(scope="module")
def told():
    return []


@pytest.fixture(scope="module")
def fit(showers, told):
    return fit_showers(showers, CONFIG, on_progress=told.append)


@pytest.fixture(scope="module")
def drawn(fit):
    E = np.random.default_rng(2).uniform(2e3, 9e4, 1500)
    return mock_showers(1500, geometry=SMALL, energies=E, seed=3), fit.sample(E)


def test_what_the_flows_see_comes_back(showers):
    E, deposited = showers.energies.astype(float), showers.layer_energies.astype(float)
    np.testing.assert_allclose(to_energies(from_energies(deposited, E), E, 1e-3), deposited, rtol=1e-4)
    numbers = from_voxels(showers, 2.0, np.random.default_rng(0))
    kept = np.where(showers.voxels < 2.0, 0, showers.voxels)
    np.testing.assert_allclose(to_voxels(numbers.astype(float), deposited, SMALL, 2.0), kept, rtol=2e-3, atol=1.5)


def test_empty_voxels_stay_empty_however_bright_the_layer():
    """Voxels at thresholds of keV beside others of tens of GeV."""
    rng = np.random.default_rng(1)
    voxels = 1e4 * rng.random((100, SMALL.size)) * (rng.random((100, SMALL.size)) < 0.5)
    voxels[:, 0], voxels[:50, 3] = 9e4, 1e-3
    voxels[:10, 2:] = 0
    bright, threshold = Showers(SMALL, np.full(100, 2e5), voxels), 5e-4
    E, deposited = bright.energies.astype(float), bright.layer_energies.astype(float)
    filled = np.where(deposited < threshold, 0.05 * threshold, deposited)
    again = to_energies(from_energies(filled, E), E, threshold)
    np.testing.assert_array_equal(again > 0, deposited > 0)
    numbers = from_voxels(bright, threshold, rng).astype(float)
    back = to_voxels(numbers, deposited, SMALL, threshold)
    np.testing.assert_array_equal(back > 0, voxels > 0)


def test_energies_of_layers_are_kept_whatever_the_flow_says():
    numbers = np.random.default_rng(0).normal(0, 4, (50, CALOGAN.size))
    deposited = np.random.default_rng(1).uniform(0, 100, (50, 3)) * (np.arange(50)[:, None] > 5)
    voxels = to_voxels(numbers, deposited, CALOGAN, 5.0)
    np.testing.assert_allclose(np.stack([voxels[:, k].sum(1) for k in CALOGAN.slices], 1), deposited, rtol=1e-5)
    assert not voxels[:5].any()


def test_a_fit_draws_showers_like_the_truth(fit, drawn):
    truth, ours = drawn
    assert fit.stopped == "finished"
    assert ours.source.startswith("student of mock")
    distances = feature_distances(truth, ours, resamples=5)
    assert set(distances) == {"distance", "error", "chance"}
    assert distances.loc[["E_0", "E_1"], "distance"].max() < 0.12
    assert distances["distance"].median() < 0.25
    wrong = Showers(SMALL, truth.energies, np.roll(truth.voxels, 1, axis=0))
    wrong.voxels[:, :2] *= 1.5
    assert feature_distances(truth, wrong, resamples=5).loc["E_0", "distance"] > 0.25


def test_the_student_draws_as_the_teacher(fit, drawn):
    taught = fit.sample(drawn[0].energies, by="teacher")
    assert feature_distances(taught, drawn[1], resamples=5)["distance"].median() < 0.12
    again = fit.sample(drawn[0].energies, chunk=700)
    assert len(again) == 1500


def test_progress_goes_from_the_first_flow_to_the_student(fit, told):
    assert list(dict.fromkeys(p.stage for p in told)) == ["layers", "voxels", "student"]
    shares = [p.fraction for p in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert list(fit.history["stage"].unique()) == ["layers", "voxels", "student"]


def test_a_file_gives_the_same_showers(fit, drawn, tmp_path):
    path = fit.save(tmp_path / "showers.clearview")
    again = load_showers(path)
    np.testing.assert_allclose(again.sample(drawn[0].energies).voxels, drawn[1].voxels, rtol=1e-4, atol=0.1)
    assert (again.config, again.geometry, again.message) == (fit.config, fit.geometry, fit.message)
    with pytest.raises(FileExistsError):
        fit.save(path)
    (tmp_path / "damaged").write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CheckpointError):
        load_showers(tmp_path / "damaged")


def test_cancelled_it_keeps_what_was_learnt_and_goes_on_from_there(showers, fit, drawn):
    part = fit_showers(showers, CONFIG, on_progress=lambda p: p.stage == "layers")
    assert part.stopped == "cancelled"
    assert set(part.parts) == {"layers", "voxels"}
    with pytest.raises(ValueError, match="Expected a finished fit"):
        part.sample([1e4])
    with pytest.raises(ValueError, match="Expected a finished fit"):
        part.save("nowhere")
    with pytest.raises(ValueError, match="Expected to resume"):
        fit_showers(showers[:500], CONFIG, resume=part)
    told = []
    whole = fit_showers(showers, CONFIG, on_progress=told.append, resume=part)
    assert sum(p.stage == "layers" for p in told) <= 1  # that it is done
    assert whole.stopped == "finished"
    np.testing.assert_allclose(whole.sample(drawn[0].energies).voxels, drawn[1].voxels, rtol=1e-3, atol=1.0)


def test_what_cannot_be_learnt_or_drawn_is_refused(fit, showers):
    with pytest.raises(ValueError, match=r"Expected energies from .* got 1e\+06; nothing is known beyond"):
        fit.sample([1e4, 1e6])
    told = []
    with pytest.raises(Cancelled):
        fit.sample([1e4] * 5, chunk=2, on_progress=lambda share: told.append(share) or share < 0.5)
    assert told == [0.4, 0.8]
    with pytest.raises(ValueError, match="seed"):
        fit.sample([1e4], seed=-1)
    with pytest.raises(ValueError, match="student or the teacher"):
        fit.sample([1e4], by="magic")
    with pytest.raises(ValueError, match="at least 200 showers"):
        fit_showers(showers[:100])
    voxels = showers.voxels.copy()
    voxels[7] = 0
    with pytest.raises(ValueError, match="got 1 empty ones of 2,000"):
        fit_showers(Showers(SMALL, showers.energies, voxels))
    with pytest.raises(TypeError, match="Expected Showers"):
        fit_showers(voxels)
    with pytest.raises(ValueError, match=r"Expected a threshold that leaves .*all of 2,000 showers are; lower it"):
        fit_showers(showers, dataclasses.replace(CONFIG, threshold=1e6))
    with pytest.raises(ValueError, match="one geometry"):
        feature_distances(showers, mock_showers(10))
    with pytest.raises(ValueError, match="affine"):
        ShowerConfig(layers=FlowConfig())


def test_tables_for_classifiers(showers):
    plain, normalised = voxel_table(showers), voxel_table(showers, normalised=True)
    assert plain.shape == normalised.shape == (2000, 1 + 2 + 6)
    np.testing.assert_allclose(normalised[:, 3:5].sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(plain[:, 3:].sum(1), showers.voxels.sum(1) / showers.energies, rtol=1e-5)


def test_a_config_goes_through_plain_values():
    assert ShowerConfig.from_dict(CONFIG.to_dict()) == CONFIG
