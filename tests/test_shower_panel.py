"""The panel of showers, without a browser; what is learnt is a fake that is right in form, and quick."""

import numpy as np
import pytest
from fakes import fake_shower_fit, few_voxels

from clearview import generation
from clearview.calorimeter import Geometry
from clearview.generation import ShowerConfig
from clearview.mocks import mock_dwarf, mock_showers
from clearview.panels import ShowerPanel


@pytest.fixture(scope="module")
def showers():
    return mock_showers(400, geometry=few_voxels(), seed=1)


@pytest.fixture
def panel(showers, monkeypatch):
    monkeypatch.setattr(generation, "fit_showers", fake_shower_fit)
    panel = ShowerPanel(showers, fake_shower_fit(showers).config, size=64, threaded=False)
    yield panel
    panel.close()


def labels(view):
    return {k["label"] for k in view.frame["layers"] if k["label"]}


def test_without_a_fit_the_truth_is_shown(panel, showers):
    assert panel.status == ""
    assert "mock: electron showers by formulas" in panel.below[0].value
    assert labels(panel.views[3]) == {"truth"}
    with pytest.raises(ValueError, match="press Train"):
        panel.set(whose="student")
    nearest = showers[[int(np.argmin(np.abs(showers.energies - 5e4)))]]
    drawn = panel._at(panel.settings)
    np.testing.assert_array_equal(drawn.voxels, nearest.voxels)
    panel.set(shown="mean", energy=40.0)
    drawn = panel._at(panel.settings)
    assert np.all(np.abs(drawn.energies / 4e4 - 1) < 0.1)


def test_training_brings_teacher_and_student(panel):
    panel.train()
    assert panel.stale == ""
    assert labels(panel.views[3]) == {"truth", "student"}
    panel.set(whose="student")
    one = panel._at(panel.settings).voxels
    panel.set(number=3.0)
    assert not np.array_equal(one, panel._at(panel.settings).voxels)
    panel.set(whose="teacher", layer=1)
    assert labels(panel.views[4]) == {"truth", "teacher", "student"}
    assert panel.status == ""


def test_histograms_are_of_all_energies_of_a_file_in_their_order():
    showers = mock_showers(2500, geometry=few_voxels(), seed=2)
    showers = showers[np.argsort(showers.energies)]
    panel = ShowerPanel(showers, fit=fake_shower_fit(showers), size=64, threaded=False)
    true = showers.features()["E_0"].mean()
    assert panel._tables("truth")["truth"]["E_0"].mean() == pytest.approx(true, rel=0.1)
    energies = panel._showers.energies.mean()
    with pytest.MonkeyPatch.context() as patch:
        asked = []
        patch.setattr(panel.fit, "sample", lambda E, **_: asked.append(E) or showers)
        panel._kept.clear()
        panel._tables("truth")
    assert asked[0].mean() == pytest.approx(energies, rel=0.02)
    panel.close()


def test_a_fit_of_another_calorimeter_or_of_other_energies_is_not_drawn_beside(panel, showers):
    panel.train()
    turned = Geometry("turned", showers.geometry.layers[::-1])
    panel.catalog = mock_showers(400, geometry=turned, seed=1)
    assert labels(panel.views[3]) == {"truth"}
    with pytest.raises(ValueError, match="of another calorimeter"):
        panel.set(whose="student")
    panel.catalog = mock_showers(400, geometry=few_voxels(), energies=(5e5, 1e6), seed=1)
    assert labels(panel.views[3]) == {"truth"}
    assert "knows none of the energies" in panel.status
    panel.catalog = showers
    assert labels(panel.views[3]) == {"truth", "student"}
    assert "knows none" not in panel.status


def test_one_shower_is_of_the_energy_asked_for(showers):
    panel = ShowerPanel(showers[showers.energies > 3e4], size=64, threaded=False)
    panel.set(energy=31.0, number=2.0)
    assert abs(panel._at(panel.settings).energies[0] / 3.1e4 - 1) < 0.1
    panel.set(number=50.0)
    assert "no more showers within 10 %" in panel._at(panel.settings)
    panel.close()


def test_other_showers_or_settings_make_it_stale(panel, showers):
    panel.train()
    panel.catalog = showers[:300]
    assert "other showers" in panel.stale
    panel.catalog = showers
    assert panel.stale == ""
    panel.config = ShowerConfig(seed=3)
    assert "other settings" in panel.stale


def test_files_and_code(panel, showers, tmp_path):
    panel.train()
    path = panel.save(tmp_path / "s.clearview")
    panel.load(path)
    assert panel.fit.data_digest == showers.digest
    panel.set(energy=30.0)
    code = panel.code()
    compile(code, "code", "exec")
    assert "load_showers(" in code
    assert "panel.set(energy=30.0)" in code
    panel.save_figure(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 5000


def test_what_are_no_showers_is_refused(showers):
    with pytest.raises(TypeError, match="Expected Showers"):
        ShowerPanel(mock_dwarf(50))
    with pytest.raises(TypeError, match="Expected a ShowerFit"):
        ShowerPanel(showers, fit=3)
    empty = ShowerPanel(size=64, threaded=False)
    with pytest.raises(ValueError, match="No showers yet"):
        empty.figure()
    assert empty.bar.go.disabled
    empty.close()


def test_a_fit_alone_is_shown(showers):
    panel = ShowerPanel(fit=fake_shower_fit(showers), size=64, threaded=False)
    panel.set(whose="student", shown="mean")
    assert labels(panel.views[3]) == {"student"}
    assert panel.status == ""
    panel.close()
