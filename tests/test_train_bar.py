"""Training in a panel, without a browser: settings, estimate, preview, pause, cancel, runs."""

import threading
import time

import pandas as pd
import pytest
from fakes import FakeColumnFit, FakeFit, fake_dynamics, fake_flows, sky_stars, stars

from clearview.dynamics import MapConfig
from clearview.figures import loss_curve
from clearview.flows import ColumnConfig, FitConfig, FlowConfig, Progress
from clearview.panels import AccelerationPanel, PhaseSpacePanel, base, train
from clearview.panels.form import ENTRIES, parse

WAIT = 60
PM = ("pm_phi1", "pm_phi2")


@pytest.fixture(scope="module")
def catalog():
    return stars()


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    monkeypatch.setattr(train, "_slower", {})
    monkeypatch.setattr(base, "flows", fake_flows)
    use(monkeypatch, steps=8, pause=0.0)


def use(monkeypatch, **kwargs):
    fake = fake_dynamics(previews=True, **kwargs)
    monkeypatch.setattr(base, "dynamics", lambda: fake)
    return fake


def panel_of(catalog, made, fit=None, threaded=False, **kwargs):
    return made(AccelerationPanel(catalog, fit, size=64, threaded=threaded, **kwargs))


def until(ready) -> None:
    deadline = time.monotonic() + WAIT
    while not ready() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert ready()


# ---- settings


def lines(panel) -> dict[str, str]:
    panel.bar.settings.selected_index = 0
    return {name: line.value for name, line in panel.bar.settings.lines.items()}


def test_the_form_shows_the_defaults_and_is_made_when_opened(catalog, made):
    panel = panel_of(catalog, made)
    assert panel.bar.settings.lines == {}
    assert lines(panel) == {
        "Radius [kpc]": "", "Passes": "14", "Steps, at least": "1500", "Layers": "6", "Units a layer": "96",
        "Degree of Φ": "14", "Seed": "0",
    }  # fmt: skip
    assert panel.bar.settings.lines["Radius [kpc]"].placeholder == "to the farthest star"
    assert panel.config is None
    sky = made(PhaseSpacePanel(sky_stars(), size=64, threaded=False))
    assert list(lines(sky)) == ["Passes", "Steps, at least", "Layers", "Units a layer", "Seed"]
    sky.bar.settings.lines["Layers"].value = "4"
    assert sky.config == ColumnConfig(flow=FlowConfig(4, 48, 2, "spline", spread=1.0))


def test_form_and_config_follow_each_other(catalog, made):
    panel = panel_of(catalog, made)
    lines(panel)
    form = panel.bar.settings.lines
    form["Radius [kpc]"].value = "2.5"
    form["Layers"].value = "3"
    form["Seed"].value = "1,000"
    flow = FlowConfig(layers=3)
    assert panel.config == MapConfig(2.5, positions=flow, velocities=flow, seed=1000)
    panel.config = MapConfig(positions=FlowConfig(2), training=FitConfig(epochs=3), potential=None)
    assert lines(panel)["Passes"] == "3"
    assert lines(panel)["Layers"] == ""
    assert panel.bar.settings.lines["Layers"].placeholder == "different sizes"
    assert "Degree of Φ" not in lines(panel)
    panel.bar.settings.lines["Radius [kpc]"].value = "3"
    assert panel.config.positions.layers == 2
    panel.bar.settings.defaults.click()
    assert panel.config is None
    assert lines(panel)["Layers"] == "6"
    panel.bar.settings.lines["Radius [kpc]"].value = "3"
    panel.bar.settings.lines["Radius [kpc]"].value = " "
    assert panel.config.radius is None


@pytest.mark.parametrize(
    ("line", "text", "sentence"),
    [
        ("Passes", "many", "Expected a whole number for Passes, got 'many'"),
        ("Passes", "", "Expected a whole number for Passes, got ''"),
        ("Passes", "0", "Expected epochs as a whole number of at least 1, got 0"),
        ("Units a layer", "0", "width as a whole number from 1"),
        ("Radius [kpc]", "-2", "Expected radius as a number above 0 or None, got -2.0"),
        ("Radius [kpc]", "nan", "Expected radius as a number above 0"),
        ("Degree of Φ", "41", "from 1 to 40"),
    ],
)
def test_what_a_config_refuses_is_said_and_taken_back(catalog, made, line, text, sentence):
    panel = panel_of(catalog, made)
    before = lines(panel)
    panel.bar.settings.lines[line].value = text
    assert sentence in panel.status
    assert lines(panel) == before
    assert panel.config is None
    panel.bar.settings.lines["Seed"].value = "3"
    assert panel.status == ""


def test_training_takes_the_settings_of_the_form(catalog, made):
    panel = panel_of(catalog, made)
    lines(panel)
    panel.bar.settings.lines["Seed"].value = "5"
    panel.train()
    assert panel.fit.config == MapConfig(seed=5)
    assert panel.stale == ""
    panel.bar.settings.lines["Seed"].value = "6"
    assert "other settings" in panel._badge.value


# ---- estimate


def test_the_estimate_is_shown_before_a_training_and_corrected_after_it(catalog, made, monkeypatch):
    use(monkeypatch, steps=20, pause=0.05)
    panel = panel_of(catalog, made)
    assert panel.estimate == pytest.approx(1.0)
    assert "About 5 s on this machine." in panel.bar.cost.value
    clock = [100.0]

    def fit_map(catalog, config=None, **_):
        clock[0] += 4.0
        return FakeFit(catalog.digest(), config)

    monkeypatch.setattr(train.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(base.dynamics(), "fit_map", fit_map)
    panel.train()
    assert panel.estimate == pytest.approx(4.0)
    panel.train()
    assert panel.estimate == pytest.approx(4.0)
    assert panel_of(catalog, made).estimate == pytest.approx(4.0)  # in this session
    assert panel_of(None, made).estimate is None


def test_times_are_told_roughly():
    assert [train._roughly(s) for s in (0.2, 33, 89, 130, 7200)] == ["5 s", "35 s", "90 s", "2 min", "2.0 h"]


# ---- preview, pause, cancel


def test_a_preview_is_shown_while_it_learns_and_the_map_after_it(catalog, made, monkeypatch, tmp_path):
    gate, seen = threading.Event(), []
    fake = use(monkeypatch, steps=8, pause=0.0)
    real = fake.fit_map

    def fit_map(catalog, config=None, *, on_preview, **how):
        def slowly(fit):
            on_preview(fit)
            seen.append(fit)
            gate.wait(WAIT)

        return real(catalog, config, on_preview=slowly, **how)

    fake.fit_map = fit_map
    before = FakeFit(catalog.digest())
    panel = panel_of(catalog, made, before, threaded=True)
    panel.train()
    until(lambda: seen)
    assert panel.fit is seen[0]
    assert "cv-preview" in panel._badge.value
    assert "still learning" in panel._badge.value
    with pytest.raises(ValueError, match="got a preview of one; pause the training"):
        panel.save(tmp_path / "preview")
    panel.set(z=0.5)  # live
    given = next(iter(panel.runs))
    panel.bar.which.value = given  # another run is looked at meanwhile
    assert panel.fit is before
    assert panel._badge.value == ""
    panel.save(tmp_path / "given")
    gate.set()
    assert panel.training.wait(WAIT)
    assert panel.fit.stopped == "finished"
    assert panel.fit is panel.runs["run 1: 20,000 stars"]
    assert panel.bar.preview is None
    assert panel._badge.value == ""


def test_a_broken_preview_is_said_and_training_goes_on(catalog, made, monkeypatch):
    fake = use(monkeypatch, steps=8, pause=0.0)
    real = fake.fit_map
    fake.fit_map = lambda *a, on_preview, **k: real(*a, on_preview=lambda _: on_preview(MemoryError("all gone")), **k)
    panel = panel_of(catalog, made)
    panel.train()
    assert panel.status == "There is no preview: MemoryError: all gone"
    assert panel.fit.stopped == "finished"


@pytest.fixture
def paused(catalog, made, monkeypatch):
    """A panel with a map, whose training was paused after its first preview."""
    use(monkeypatch, steps=40, pause=0.02)
    panel = panel_of(catalog, made, FakeFit(catalog.digest()), threaded=True)
    panel.train()
    until(lambda: panel.bar.preview is not None)
    panel.pause()
    assert panel.training.wait(WAIT)
    return panel


def test_a_pause_keeps_the_preview_and_can_be_resumed(paused):
    assert paused.fit.stopped == "preview"
    assert "paused" in paused._badge.value
    bar = paused.bar
    assert (bar.go.description, bar.hold.layout.display, bar.anew.layout.display) == ("Resume", "none", "")
    assert not bar.stop.disabled
    paused.train()
    assert paused.training.wait(WAIT)
    assert len(paused.fit.history) == 40
    assert bar.go.description == "Train"
    assert bar.stop.disabled


def test_a_paused_training_is_saved_unfinished(paused, tmp_path):
    paused.save(tmp_path / "part")
    assert "Unfinished fit" in paused.status
    assert base.dynamics().load_map(tmp_path / "part").stopped == "cancelled"
    paused.bar.which.value = "given: 20,000 stars"  # what is looked at is what is saved
    paused.save(tmp_path / "given")
    assert base.dynamics().load_map(tmp_path / "given").stopped == "finished"


def test_a_cancel_brings_the_picture_before_back(paused, catalog):
    before = paused.runs["given: 20,000 stars"]
    paused.bar.stop.click()  # of the paused one
    assert paused.fit is before
    assert paused.bar.partial is None
    assert paused.bar.go.description == "Train"
    assert "nothing of this training is kept" in paused.bar.stage.value
    paused.train()
    until(lambda: paused.bar.preview is not None)
    paused.cancel()  # of the running one
    assert paused.training.wait(WAIT)
    assert paused.fit is before
    assert paused.bar.partial is None
    assert list(paused.runs) == ["given: 20,000 stars"]


def test_what_is_dropped_leaves_nothing_in_the_bar_nor_writes_into_the_next(catalog, made, monkeypatch):
    fake = use(monkeypatch)
    gate, held, shown = threading.Event(), threading.Event(), threading.Event()
    history = pd.DataFrame([dict(stage="flow", step=i, train=1.0, validation=2.0) for i in range(5)])

    def fit_map(catalog, config=None, *, on_progress, **_):
        on_progress(Progress("flow", 1, 2, 1.0, None, 1.0, 1.0, history, 0.5))
        shown.set()
        gate.wait(WAIT)
        return FakeFit(catalog.digest(), config)

    fake.fit_map = fit_map
    panel = panel_of(catalog, made, threaded=True)
    bar, training = panel.bar, panel.training
    panel.train()
    assert shown.wait(WAIT)
    assert bar.loss.layout.display == ""
    panel.cancel()
    assert bar.loss.layout.display == "none"
    tell, first = training._on_progress, []

    def late(progress):  # heard by the training, and then kept waiting
        first.append(progress)
        held.set()
        gate.wait(WAIT)
        tell(progress)

    training._on_progress = late
    panel.train()
    assert held.wait(WAIT)
    panel.cancel()
    training._on_progress, stay = lambda progress: None, threading.Event()
    fake.fit_map = lambda catalog, config=None, **_: (stay.wait(WAIT), FakeFit(catalog.digest(), config))[1]
    panel.train()
    gate.set()
    until(lambda: sum(thread.is_alive() for thread in training._threads) == 1)
    assert (bar.fraction.value, bar.loss.layout.display) == (0.0, "none")
    assert "Starting" in bar.stage.value
    stay.set()
    assert training.wait(WAIT)


def test_a_cancel_drops_an_unfinished_fit_that_is_shown(catalog, made):
    panel = made(PhaseSpacePanel(catalog, FakeFit(catalog.digest()), size=64, threaded=False))
    before = panel.fit
    panel.fit = FakeFit(catalog.digest(), stopped="cancelled", stage=2)  # with a density
    assert panel.bar.which.options == ("given: 20,000 stars", "unfinished")
    panel.bar.which.value = "given: 20,000 stars"
    assert panel.fit is before
    panel.bar.which.value = "unfinished"
    assert panel.fit.stopped == "cancelled"
    panel.cancel()
    assert panel.fit is before


def test_a_cancel_keeps_a_finished_fit_that_cannot_be_shown(catalog, made, tmp_path):
    panel = panel_of(catalog, made)
    panel.fit = FakeFit(catalog.digest(), stage=2)
    panel.cancel()
    panel.save(tmp_path / "density")
    assert "without this map" in panel.status


# ---- runs


def test_runs_are_kept_and_chosen(catalog, made, tmp_path):
    panel = panel_of(catalog, made, config=MapConfig())
    assert panel.bar.which.layout.display == "none"
    panel.train()
    assert panel.bar.which.layout.display == "none"
    panel.config = MapConfig(seed=1)
    panel.train()
    assert list(panel.runs) == ["run 1: 20,000 stars, seed 0", "run 2: 20,000 stars, seed 1"]
    assert panel.bar.which.layout.display == ""
    assert panel.bar.which.value == "run 2: 20,000 stars, seed 1"
    panel.bar.which.value = "run 1: 20,000 stars, seed 0"
    assert panel.fit.config.seed == 0
    assert "other settings" in panel._badge.value
    panel.save(tmp_path / "first.clearview")
    panel.load(tmp_path / "first.clearview")
    assert list(panel.runs)[2] == "first.clearview"
    panel.fit = panel.runs["run 2: 20,000 stars, seed 1"]
    assert len(panel.runs) == 3
    assert panel.bar.which.value.startswith("run 2")
    names = [layer["label"] for layer in panel.loss.frame["layers"]]
    assert names[:2] == ["training", "validation"]
    panel.bar.which.value = "run 1: 20,000 stars, seed 0"
    assert [layer["label"] for layer in panel.loss.frame["layers"]][2:] == ["run 2", "first.clearview"]


def test_the_oldest_run_goes(catalog, made):
    panel = panel_of(catalog, made)
    for _ in range(9):
        panel.train()
    assert len(panel.runs) == 8
    assert next(iter(panel.runs)).startswith("run 2")
    assert "the oldest, run 1: 20,000 stars, was let go" in panel.status
    panel.bar.which.value = "run 2: 20,000 stars"
    panel.train()
    assert next(iter(panel.runs)).startswith("run 3")


def test_flows_of_columns_are_runs_too(made):
    sky = sky_stars()
    panel = made(PhaseSpacePanel(sky, learn=PM, size=64, threaded=False))
    panel.train()
    panel.fit = FakeColumnFit.of(sky, PM)
    assert list(panel.runs) == ["run 1: 20,000 stars", "given: 20,000 stars"]


def test_the_loss_curve_shows_the_others_of_the_same_stage():
    fit = FakeFit("none")
    rows = [dict(stage="flow", step=i, train=1.0, validation=2.0) for i in range(5)]
    history = fit.history.__class__(rows)
    overlay = loss_curve(history, others={"run 1": history[:3], "old": fit.history})
    assert [curve.label for curve in overlay] == ["training", "validation", "run 1", "old"]
    assert [len(curve) for curve in overlay] == [5, 5, 3, 0]


def test_what_is_paused_waits_on_behind_another_fit(paused, catalog, tmp_path):
    waiting = paused.bar.partial
    paused.fit = other = FakeFit(catalog.digest())
    assert paused.bar.partial is waiting
    assert paused.fit is other
    paused.save(tmp_path / "seen")
    assert base.dynamics().load_map(tmp_path / "seen").stopped == "finished"
    paused.train()
    assert paused.training.wait(WAIT)
    assert len(paused.fit.history) == 40
    assert paused.bar.partial is None


def test_a_decimal_comma_is_not_thousands():
    radius, passes = ENTRIES[0], ENTRIES[1]
    assert (parse(radius, "2.5"), parse(passes, "1,500")) == (2.5, 1500)
    with pytest.raises(ValueError, match="Expected a number for Radius"):
        parse(radius, "2,5")
