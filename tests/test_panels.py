"""Panels without a browser: controls, frames, training, files."""

import subprocess
import sys
import threading
import time

import holoviews as hv
import numpy as np
import pytest
from fakes import FakeFit, fake_dynamics, stars

from clearview.panels import AccelerationPanel, Choice, Latest, PhaseSpacePanel, Training, base
from clearview.panels.acceleration import factor

WAIT = 60


@pytest.fixture(scope="module")
def catalog():
    return stars()


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    monkeypatch.setattr(base, "dynamics", lambda: fake_dynamics(steps=20, pause=0.0))


@pytest.fixture
def made():
    """``made(panel)`` closes the panel in the end, and nothing of it may live on."""
    before, panels = set(threading.enumerate()), []
    yield lambda panel: panels.append(panel) or panel
    for panel in panels:
        panel.close()
    assert set(threading.enumerate()) <= before


def acceleration(catalog, made, fit=True, **kwargs):
    return made(AccelerationPanel(catalog, FakeFit(catalog.digest()) if fit else None, size=64, **kwargs))


def use(monkeypatch, **kwargs):
    fake = fake_dynamics(**kwargs)
    monkeypatch.setattr(base, "dynamics", lambda: fake)


# ---- the worker


def test_the_last_request_wins_and_requests_are_merged():
    seen, gate, value = [], threading.Event(), [0]

    def draw(dragging):
        gate.wait(WAIT)
        seen.append(value[0])
        return True

    latest = Latest(draw, lambda error: None)
    for i in range(1, 50):
        value[0] = i
        latest()
    gate.set()
    assert latest.idle.wait(WAIT)
    assert seen[-1] == 49
    assert len(seen) <= 2
    latest.close()
    latest()
    assert not latest._thread.is_alive()


def test_coarse_while_dragging_and_full_at_rest():
    seen = []
    latest = Latest(lambda dragging: seen.append(dragging) or not dragging, lambda error: None, rest=0.01)
    latest()
    assert latest.idle.wait(WAIT)
    assert seen == [True, False]
    latest.close()


def test_errors_of_a_drawing_are_told_and_taken_back():
    told, fail = [], [True]

    def draw(dragging):
        if fail[0]:
            raise ValueError("bad slice")
        return True

    latest = Latest(draw, told.append, threaded=False)
    latest()
    fail[0] = False
    latest()
    assert str(told[0]) == "bad slice"
    assert told[1] is None


def test_training_throttles_cancels_and_tells_its_end():
    progress, done = [], []
    training = Training(progress.append, lambda result, error: done.append((result, error)))
    begun = threading.Event()

    def job(report):
        n = 0
        while report(n):
            n += 1
            begun.set()
        return "stopped"

    training.start(job)
    begun.wait(WAIT)
    with pytest.raises(RuntimeError, match="Expected no training under way"):
        training.start(job)
    training.cancel()
    assert training.wait(WAIT)
    assert done == [("stopped", None)]
    assert len(progress) < 5  # thousands were reported
    training.start(lambda report: 1 / 0)
    training.wait(WAIT)
    assert isinstance(done[1][1], ZeroDivisionError)
    training.close()


# ---- controls


def test_choice_keeps_one_pressed_and_refuses_what_is_disabled():
    choice = Choice(("map", "truth"))
    map_, truth = choice._buttons.values()
    truth.value = True
    assert (choice.value, map_.value) == ("truth", False)
    truth.value = False
    assert truth.value
    choice.disable({"truth": "It needs a mock."})
    assert (choice.value, truth.disabled) == ("map", True)
    assert "It needs a mock." in choice._note.value
    with pytest.raises(ValueError, match=r"Truth cannot be shown: It needs a mock\."):
        choice.value = "truth"
    choice.disable({})
    choice.value = "truth"


def test_panels_import_quickly_without_models():
    code = "import sys, clearview.panels; print([m for m in ('jax', 'bokeh', 'galpy') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


# ---- the acceleration panel


def test_a_slider_draws_and_the_tag_tells_which(catalog, made):
    panel = acceleration(catalog, made)
    for z in np.linspace(0, 1, 21):
        panel.set(z=float(z))
    assert panel.idle.wait(WAIT)
    assert panel.view.frame["data"]["tag"] == "map a x-y 1 0 0"
    assert panel.view.frame["data"]["detail"] == 1
    assert panel.view.frame["data"]["seq"] < 30
    assert panel.status == ""


def test_the_drawn_values_are_the_field_in_the_chosen_unit(catalog, made):
    panel = acceleration(catalog, made, threaded=False)
    fit = panel.fit
    assert isinstance(panel.figure(), hv.Overlay)
    for unit, expected in (("(km/s)²/kpc", 1.0), ("10⁻¹⁰ m s⁻²", 3.2408e-4), ("km/s/Myr", 1.0227e-3)):
        panel.set(unit=unit, component="a_x")
        image = next(iter(panel.figure()))
        x, y = (image.dimension_values(i, expanded=False) for i in (0, 1))
        truth = fit.acceleration(np.array([x[100], y[150], 0.0]))[0] * expected
        np.testing.assert_allclose(image.dimension_values(2, flat=False)[150, 100], truth, rtol=1e-4)
        assert factor(unit) == pytest.approx(expected, rel=1e-4)
        assert panel.view.frame["z"]["unit"] == unit


@pytest.mark.parametrize("plane", ["x-y", "x-z", "R-z"])
@pytest.mark.parametrize("show", ["map", "truth", "difference"])
def test_every_plane_and_choice_is_drawn(catalog, made, plane, show):
    panel = acceleration(catalog, made, threaded=False)
    panel.set(plane=plane, show=show)
    for component in ("a", "a_R", "a_z", "a_phi", "a_x", "a_y", "potential"):
        panel.set(component=component)
        assert panel.status == ""
        frame = panel.view.frame
        assert [frame["x"]["name"], frame["y"]["name"]] == plane.split("-")
        assert (frame["low"] == -frame["high"]) == (show == "difference" or component in ("a_z", "a_phi", "a_y"))
        code = np.frombuffer(frame["codes"], "<u2")
        assert 0.1 < (code == 0).mean() < 0.35  # outside of the ball
    shown = [n for n in ("z", "y", "phi") if panel.controls[n].layout.display != "none"]
    assert shown == [{"x-y": "z", "x-z": "y", "R-z": "phi"}[plane]]


def test_difference_is_map_minus_truth(catalog, made):
    panel = acceleration(catalog, made, threaded=False)
    values = {}
    for show in ("map", "truth", "difference"):
        panel.set(show=show)
        values[show] = next(iter(panel.figure())).dimension_values(2)
    np.testing.assert_allclose(values["difference"], values["map"] - values["truth"], rtol=1e-3, atol=1e-2)


def test_zoom_draws_the_range_and_a_new_plane_goes_home(catalog, made):
    panel = acceleration(catalog, made, threaded=False)
    home = panel.view.frame["home"]
    panel.view.range = [7.0, 9.0, -1.0, 1.0]
    assert panel.view.frame["range"] == pytest.approx([7, 9, -1, 1])
    assert panel.view.frame["home"] == home
    panel.set(plane="x-z")
    assert panel.view.range == []
    assert panel.view.frame["range"] == pytest.approx(panel.view.frame["home"])


def test_locked_colours_stay(catalog, made):
    panel = acceleration(catalog, made, threaded=False)
    low = panel.view.frame["low"]
    panel.set(lock=True, z=2.0)
    assert panel.view.frame["low"] == low
    panel.set(lock=False)
    assert panel.view.frame["low"] != low


def test_what_cannot_be_shown_is_disabled_with_the_reason(made):
    real = stars(mock=False)
    panel = acceleration(real, made)
    assert panel.controls["show"]._buttons["truth"].tooltip == "Truth and difference need a mock catalogue."
    empty = made(AccelerationPanel(size=64, threaded=False))
    assert empty.view.message == "No map yet: load a saved fit."
    assert empty._go.disabled
    assert empty._save.disabled
    with pytest.raises(ValueError, match="No map yet"):
        empty.figure()
    with pytest.raises(ValueError, match="Expected a catalogue to train on, got none"):
        empty.train()


def test_set_lists_what_there_is(catalog, made):
    panel = acceleration(catalog, made, threaded=False)
    with pytest.raises(ValueError, match=r"Expected a control among show, component, .*, got 'zz'"):
        panel.set(zz=1)
    with pytest.raises(ValueError, match=r"Expected for plane one of x-y, x-z, R-z, got 'y-z'"):
        panel.set(plane="y-z")


def test_an_error_of_the_drawing_is_one_sentence_in_the_panel(catalog, made, monkeypatch):
    panel = acceleration(catalog, made, threaded=False)

    def broken(*args, **kwargs):
        raise KeyError("a_x")

    with monkeypatch.context() as m:
        m.setattr(panel, "draw", broken)
        panel.set(z=0.3)
        assert panel.status == "KeyError: 'a_x'"
    panel.set(z=0.4)
    assert panel.status == ""


def test_the_bundle_has_a_preview(catalog, made):
    panel = acceleration(catalog, made)
    bundle = panel._repr_mimebundle_()
    assert "image/png" in (bundle[0] if isinstance(bundle, tuple) else bundle)


# ---- training, files


def test_training_shows_progress_loss_and_then_the_map(catalog, made):
    panel = acceleration(catalog, made, fit=False)
    assert panel.controls["show"].value == "truth"
    panel.train()
    assert panel.training.wait(WAIT)
    assert panel.idle.wait(WAIT)
    assert panel._fraction.value == 1
    assert panel.loss.frame["data"]["n"] == 20
    assert panel.fit.complete
    assert "Map finished." in panel._stage.value
    assert not panel._go.disabled
    assert panel._stop.disabled
    panel.set(show="difference")


def test_a_cancelled_training_is_resumed(catalog, made, monkeypatch, tmp_path):
    use(monkeypatch, steps=60, pause=0.01)
    panel = acceleration(catalog, made, fit=False)
    panel.train()
    deadline = time.monotonic() + WAIT
    while not panel.loss.frame and time.monotonic() < deadline:
        time.sleep(0.01)
    assert panel._go.disabled
    panel.set(z=0.5)  # live while it trains
    panel.cancel()
    assert panel.training.wait(WAIT)
    assert panel._go.description == "Resume"
    assert panel.fit is None
    done = len(panel._partial.history)
    assert 0 < done < 60
    panel.save(tmp_path / "part")
    panel.train()
    assert panel.training.wait(WAIT)
    assert panel.fit.complete
    assert panel._go.description == "Train"
    again = made(AccelerationPanel(catalog, size=64, threaded=False))
    again.load(tmp_path / "part")
    assert again._go.description == "Resume"
    again.train()
    assert again.fit.complete


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"fail": "Expected finite velocities, got NaN."}, "Expected finite velocities, got NaN."),
        ({"diverge": True}, "Positions: the loss is not finite."),
    ],
)
def test_a_failed_training_says_so_and_keeps_the_map(catalog, made, monkeypatch, kwargs, says):
    use(monkeypatch, steps=4, pause=0.0, **kwargs)
    panel = acceleration(catalog, made, threaded=False)
    before = panel.fit
    panel._go.click()
    assert panel.status == says
    assert panel.fit is before
    assert not panel._go.disabled
    use(monkeypatch, steps=4, pause=0.0)
    panel._go.click()
    assert panel.status == ""


def test_saving_never_overwrites_in_silence(catalog, made, tmp_path):
    panel = acceleration(catalog, made, threaded=False)
    panel._path.value = str(tmp_path / "fit")
    panel._save.click()
    assert "Saved to" in panel.status
    panel._save.click()
    assert "already there" in panel.status
    with pytest.raises(FileExistsError, match="tick overwrite"):
        panel.save()
    panel._overwrite.value = True
    panel._save.click()
    assert "Saved to" in panel.status
    panel.load()
    panel._path.value = str(tmp_path / "none")
    panel._load.click()
    assert "no such file" in panel.status
    with pytest.raises(ValueError, match="Expected a path"):
        panel.save("")


def test_a_stale_picture_says_so(catalog, made):
    panel = acceleration(catalog, made, threaded=False)
    assert panel._badge.value == ""
    panel.catalog = stars(seed=1)
    assert "trained on other stars" in panel._badge.value
    panel.set(show="truth")
    assert panel._badge.value == ""
    panel.catalog = catalog
    panel.set(show="map")
    panel.config = "other"
    assert "other settings" in panel._badge.value


# ---- the phase-space panel


def test_star_counts_in_a_slice(catalog, made):
    panel = made(PhaseSpacePanel(catalog, size=64, threaded=False))
    panel.set(x_axis="R", y_axis="vphi", first="z", second="none")
    panel.set(first_at=0.1, first_width=0.2)
    assert panel.status == ""
    x, v = catalog.phase_space[:, :3].astype(float), catalog.phase_space[:, 3:].astype(float)
    image = panel.figure()
    n = int(((x[:, 2] >= np.float32(0.1) - 0.2) & (x[:, 2] <= np.float32(0.1) + 0.2)).sum())
    assert abs(int(image.label.split(" stars")[0].replace(",", "")) - n) <= 1
    vphi = (x[:, 1] * v[:, 0] - x[:, 0] * v[:, 1]) / np.hypot(x[:, 0], x[:, 1])
    assert vphi.mean() > 0
    y0, y1 = panel.view.frame["range"][2:]
    assert y0 < np.percentile(vphi, 1) < np.percentile(vphi, 99) < y1
    assert image.dimension_values(2).sum() == pytest.approx(n, rel=0.02)
    assert panel.view.frame["y"]["label"] == "v_φ [km/s]"
    assert panel.controls["second_at"].layout.display == "none"


def test_a_slice_takes_the_limits_of_its_coordinate(catalog, made):
    panel = made(PhaseSpacePanel(catalog, size=64, threaded=False))
    panel.set(first="vphi", second="y")
    at = panel.controls["first_at"]
    assert at.description == "v_φ [km/s]"
    assert at.min < at.value < at.max
    assert at.max > 200
    panel.set(first="z")
    assert at.max < 10


def test_flow_needs_its_own_axes(catalog, made):
    panel = made(PhaseSpacePanel(catalog, FakeFit(catalog.digest()), size=64, threaded=False))
    panel.set(show="flow", x_axis="vx", y_axis="vy")
    frame = panel.view.frame
    assert panel.status == ""
    assert frame["high"] - frame["low"] == pytest.approx(12)
    assert frame["z"]["label"].startswith("ln f")
    panel.set(y_axis="vphi")
    assert panel.controls["show"].value == "stars"
    assert panel.controls["show"]._buttons["flow"].disabled
    panel.set(x_axis="vphi")
    assert panel.view.message == "Choose two different axes."


def test_without_stars_the_flow_is_shown(made):
    panel = made(PhaseSpacePanel(None, FakeFit("none"), size=64, threaded=False))
    assert panel.controls["show"].value == "flow"
    assert panel.status == ""
    assert panel.view.frame["w"] > 0


def test_a_choice_comes_back_when_it_can_be_shown():
    choice = Choice(("map", "truth"))
    choice.disable({"map": "No fit."})
    assert choice.value == "truth"
    choice.disable({})
    assert choice.value == "map"
    choice.disable({"map": "No fit."})
    choice.disable({})
    choice.value = "truth"
    choice.disable({})
    assert choice.value == "truth"


def test_one_star_is_drawn(made):
    panel = made(PhaseSpacePanel(stars(1), threaded=False))
    assert panel.status == ""


def test_a_fit_without_a_potential_is_kept_for_saving(made, catalog, tmp_path):
    panel = made(AccelerationPanel(catalog, FakeFit(catalog.digest()), threaded=False))
    shown = panel.fit
    panel.fit = FakeFit(catalog.digest(), stage=2)
    assert panel.fit is shown
    assert "another panel" in panel.status
    panel.save(tmp_path / "fit")
    assert "without this map" in panel.status


def test_start_over_after_a_cancel(made, catalog):
    panel = made(AccelerationPanel(catalog, FakeFit(catalog.digest()), threaded=False))
    assert panel._anew.layout.display == "none"
    assert panel._go.layout.display is None  # the others are there
    panel.fit = FakeFit(catalog.digest(), stopped="cancelled", stage=0)
    assert panel._go.description == "Resume"
    assert panel._anew.layout.display == ""
    panel.train(resume=False)
    assert panel._go.description == "Train"


def test_sliders_follow_the_ball_of_the_fit(made, catalog):
    panel = made(AccelerationPanel(catalog, FakeFit(catalog.digest()), threaded=False))
    panel.set(z=3.0)
    small = FakeFit(catalog.digest())
    small.radius = 0.3
    panel.fit = small
    assert panel.controls["z"].max == 0.3
    assert panel.controls["z"].value == 0.3
    assert panel.controls["phi"].max == 2
