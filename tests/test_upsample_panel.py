"""The panel of upsampling, without a browser: particles, flow, kernel, and the classifier."""

import dataclasses

import numpy as np
import pytest

from clearview.flows import ContinuousConfig, FitConfig
from clearview.generation import default_config, fit_upsampler
from clearview.panels import UpsamplePanel


@pytest.fixture(scope="module")
def particles(mock):
    return mock.take(np.arange(len(mock)) < 2000)


@pytest.fixture(scope="module")
def config(particles):
    training = FitConfig(epochs=1, min_steps=30, batch_size=64)
    return dataclasses.replace(default_config(particles), flow=ContinuousConfig(8, 1, steps=2), training=training)


@pytest.fixture(scope="module")
def fit(particles, config):
    return fit_upsampler(particles, config)


def titles(panel):
    return [view.frame.get("title", "") for view in panel.views]


def test_before_and_after_training(made, particles, config, tmp_path):
    panel = made(UpsamplePanel(particles, config=config, size=64, threaded=False))
    assert panel.status == ""
    assert titles(panel) == ["2,000 particles", "", "50,000 stars of a kernel", "", "", ""]
    assert panel.controls["judged"].value == "kernel"  # there is no flow yet
    panel.train()
    assert panel.fit.complete
    assert panel.stale == ""
    panel.set(number=4.0, x_axis="vR", y_axis="vphi")
    assert titles(panel)[:3] == ["2,000 particles", "10,000 stars of a flow", "10,000 stars of a kernel"]
    assert "load_upsampler(" in panel.code()
    for view, name in zip(panel.views[4:], ("vR", "vphi"), strict=True):
        assert {k["label"] for k in view.frame["layers"]} == {"particles", "flow", "kernel"}, name
    panel.save(tmp_path / "a.clearview")
    other = made(UpsamplePanel(particles, config=config, size=64, threaded=False))
    other.load(tmp_path / "a.clearview")
    assert titles(other)[1].endswith("stars of a flow")
    other.load(tmp_path / "a.clearview")  # once more, and training anew
    other.train(resume=False)
    assert "ambiguous" not in other.status
    assert titles(other)[1].endswith("stars of a flow")


def test_the_classifier(made, particles, fit):
    panel = made(UpsamplePanel(particles, fit, size=64, threaded=False))
    panel.set(number=3.5)
    panel.set(judged="flow")
    assert panel.views[3].frame["layers"][0]["text"] == "press Tell apart"
    panel.tell_apart()
    assert panel.status == ""
    assert titles(panel)[3].startswith("particles or flow? AUC 0.")
    assert "Flow against particles" in panel._words.value
    assert panel._tell.description == "Tell apart"
    panel.set(judged="kernel")
    assert panel.views[3].frame["layers"][0]["text"] == "press Tell apart"


def test_what_is_refused(made, particles):
    with pytest.raises(ValueError, match="Expected axes among"):
        UpsamplePanel(particles, x="colour", threaded=False)
    panel = made(UpsamplePanel(size=64, threaded=False))
    assert panel._tell.disabled
    with pytest.raises(ValueError, match="Expected particles and a flow"):
        panel.tell_apart()
    with pytest.raises(ValueError, match="No particles yet"):
        panel.figure()
