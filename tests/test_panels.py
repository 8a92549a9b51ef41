"""Panels without a browser: controls, frames, training, files."""

import subprocess
import sys
import threading
import time

import holoviews as hv
import numpy as np
import pytest
from astropy import units as u
from fakes import FakeColumnFit, FakeFit, fake_dynamics, fake_flows, sky_stars, stars

from clearview.catalogs import Catalog
from clearview.field import Axis
from clearview.figures import count_field, marginal
from clearview.panels import AccelerationPanel, Choice, Latest, PhaseSpacePanel, Training, base, phasespace
from clearview.panels.acceleration import factor
from clearview.panels.columns import Columns
from clearview.panels.compare import CHUNK, Draws, Window, expected, select

WAIT = 60


@pytest.fixture(scope="module")
def catalog():
    return stars()


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    monkeypatch.setattr(base, "dynamics", lambda: fake_dynamics(steps=20, pause=0.0))
    monkeypatch.setattr(base, "flows", fake_flows)


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


def test_what_is_dropped_is_heard_no_more_and_another_may_begin():
    progress, done, gate = [], [], threading.Event()
    heard = threading.Event()
    training = Training(progress.append, lambda result, error: (done.append((result, error)), heard.set()))

    def compiles(report):
        gate.wait(WAIT)
        return "too late", report("late")

    training.start(compiles)
    assert training.drop()
    assert (training.running, training.drop()) == (False, False)
    training.start(lambda report: ("second", report("first word")))
    assert heard.wait(WAIT)
    gate.set()
    assert training.wait(WAIT)
    assert done == [(("second", True), None)]
    assert progress == ["first word"]
    training.close()


def test_what_begins_while_another_is_dropped_goes_on():
    training, gate = Training(print, print), threading.Event()

    class Lock:
        """Starts another training as soon as the first one's drop has let it go."""

        lock, armed = threading.Lock(), False

        def __enter__(self):
            self.lock.acquire()

        def __exit__(self, *_):
            self.lock.release()
            if self.armed:
                self.armed = False
                training.start(lambda report: gate.wait(WAIT))

    training._lock = lock = Lock()
    training.start(lambda report: gate.wait(WAIT))
    lock.armed = True
    assert training.drop()
    assert training.running
    assert not training.stopping
    gate.set()
    training.close()


def test_the_dropped_are_waited_for_together():
    class Stuck:
        allowed: float = -1.0

        def join(self, timeout):
            self.allowed = timeout
            time.sleep(0.01)

        def is_alive(self):
            return True

    training, stuck = Training(print, print), [Stuck(), Stuck()]
    training._threads = stuck
    assert not training.wait(5.0)
    assert 0 < stuck[1].allowed < stuck[0].allowed <= 5.0


STAND_BACK = """
import os, threading
from pathlib import Path
import jax.numpy as jnp
from clearview.panels import Training

def nice(thread=0):
    return os.getpriority(os.PRIO_PROCESS, thread)

jnp.ones((500, 500)).sum().block_until_ready()  # begins XLA's threads
before, found = nice(), []

def job(_):
    names = {int(task.name): (task / "comm").read_text() for task in Path("/proc/self/task").iterdir()}
    found.extend(nice(thread) for thread, name in names.items() if name.startswith("tf_XLA"))
    found.append(nice(threading.get_native_id()))

errors = []
for threaded in (False, True):
    training = Training(print, lambda result, error: errors.append(error), threaded=threaded)
    training.start(job)
    assert training.wait(60)
    training.close()
    assert len(found) > 1 and set(found) == ({max(10, before)} if threaded else {before}), found
    found.clear()
assert errors == [None, None] and nice() == before
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")
def test_a_training_stands_back_with_the_threads_that_compute_for_it():
    done = subprocess.run([sys.executable, "-c", STAND_BACK], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def test_a_script_ends_well_while_a_panel_draws():
    """Python unwinds a daemon thread that comes back from XLA after the end, and C++ aborts at that, mostly."""
    code = "import clearview; clearview.AccelerationPanel(*clearview.load_first_map())"
    for _ in range(3):
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=WAIT)
        assert ended.returncode == 0, ended.stderr


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
    assert panel.view.frame["data"]["tag"] == "map a x-y 1 0 0 1"
    assert panel.view.frame["data"]["detail"] == 1
    assert panel.view.frame["data"]["seq"] < 30
    assert panel.status == ""


def test_the_drawn_values_are_the_field_in_the_chosen_unit(catalog, made):
    panel = acceleration(catalog, made, threaded=False)
    fit = panel.fit
    assert isinstance(panel.figure(), hv.Overlay)
    for unit, factor_ in (("(km/s)²/kpc", 1.0), ("10⁻¹⁰ m s⁻²", 3.2408e-4), ("km/s/Myr", 1.0227e-3)):
        panel.set(unit=unit, component="a_x")
        image = next(iter(panel.figure()))
        x, y = (image.dimension_values(i, expanded=False) for i in (0, 1))
        truth = fit.acceleration(np.array([x[100], y[150], 0.0]))[0] * factor_
        np.testing.assert_allclose(image.dimension_values(2, flat=False)[150, 100], truth, rtol=1e-4)
        assert factor(unit) == pytest.approx(factor_, rel=1e-4)
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
    buttons = panel.controls["show"]._buttons
    assert buttons["truth"].tooltip == "The truth needs a mock catalogue."
    assert buttons["difference"].tooltip.startswith("The difference needs a fit, and a mock catalogue or a second")
    empty = made(AccelerationPanel(size=64, threaded=False))
    assert empty.view.message == "No map yet: load a saved fit."
    assert empty.bar.go.disabled
    assert empty.bar.store.disabled
    with pytest.raises(ValueError, match="No map yet"):
        empty.figure()
    with pytest.raises(ValueError, match="Expected a catalogue to train on, got none"):
        empty.train()


def test_set_lists_what_there_is(catalog, made):
    panel = acceleration(catalog, made, threaded=False)
    with pytest.raises(ValueError, match=r"Expected a control among show, component, .*, got 'zz'"):
        panel.set(zz=1)
    with pytest.raises(ValueError, match=r"Expected for plane one of x-y, x-z, R-z, sky, got 'y-z'"):
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
    assert panel.bar.fraction.value == 1
    assert panel.loss.frame["data"]["n"] == 20
    assert panel.fit.complete
    assert "Map finished." in panel.bar.stage.value
    assert not panel.bar.go.disabled
    assert panel.bar.stop.disabled
    panel.set(show="difference")


def test_a_paused_training_is_resumed(catalog, made, monkeypatch, tmp_path):
    use(monkeypatch, steps=60, pause=0.01)
    panel = acceleration(catalog, made, fit=False)
    panel.train()
    deadline = time.monotonic() + WAIT
    while not panel.loss.frame and time.monotonic() < deadline:
        time.sleep(0.01)
    assert panel.bar.go.disabled
    panel.set(z=0.5)  # live while it trains
    panel.pause()
    assert panel.training.wait(WAIT)
    assert panel.bar.go.description == "Resume"
    assert panel.fit is None
    done = len(panel.bar.partial.history)
    assert 0 < done < 60
    panel.save(tmp_path / "part")
    panel.train()
    assert panel.training.wait(WAIT)
    assert panel.fit.complete
    assert panel.bar.go.description == "Train"
    again = made(AccelerationPanel(catalog, size=64, threaded=False))
    again.load(tmp_path / "part")
    assert again.bar.go.description == "Resume"
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
    panel.bar.go.click()
    assert panel.status == says
    assert panel.fit is before
    assert not panel.bar.go.disabled
    use(monkeypatch, steps=4, pause=0.0)
    panel.bar.go.click()
    assert panel.status == ""


def test_saving_never_overwrites_in_silence(catalog, made, tmp_path):
    panel = acceleration(catalog, made, threaded=False)
    panel.bar.path.value = str(tmp_path / "fit")
    panel.bar.store.click()
    assert "Saved to" in panel.status
    panel.bar.store.click()
    assert "already there" in panel.status
    with pytest.raises(FileExistsError, match="tick overwrite"):
        panel.save()
    panel.bar.overwrite.value = True
    panel.bar.store.click()
    assert "Saved to" in panel.status
    panel.load()
    panel.bar.path.value = str(tmp_path / "none")
    panel.bar.fetch.click()
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


# ---- one change, one draw


def draws_of(panel, monkeypatch) -> list:
    """The settings of every drawing from now on."""
    seen, draw = [], panel.draw
    monkeypatch.setattr(panel, "draw", lambda settings, detail: seen.append(settings) or draw(settings, detail))
    return seen


def test_what_update_changes_is_drawn_once(made, monkeypatch, catalog):
    panel = made(PhaseSpacePanel(catalog, FakeFit(catalog.digest()), size=64, threaded=False))
    seen = draws_of(panel, monkeypatch)
    panel.controls["first"].value = "vphi"  # which changes limits, steps and values of two sliders
    assert len(seen) == 1
    panel.set(x_axis="vR", y_axis="vz", first="x", first_at=8.5, first_width=0.3)
    assert len(seen) == 2
    assert seen[-1]["first_at"] == 8.5
    panel.view.range = [-10.0, 10.0, -10.0, 10.0]
    assert len(seen) == 3
    panel.controls["x_axis"].value = "vx"  # which goes home
    assert len(seen) == 4
    assert seen[-1]["range"] is None
    panel.catalog = sky_stars()
    assert len(seen) == 5


def test_a_change_from_another_thread_is_not_lost_while_one_settles(made, monkeypatch, catalog):
    panel = made(PhaseSpacePanel(catalog, size=64))
    update, entered, go = panel.update, threading.Event(), threading.Event()

    def slow():
        entered.set()
        go.wait(WAIT)
        update()

    monkeypatch.setattr(panel, "update", slow)
    one = threading.Thread(target=lambda: panel.set(x_axis="vx"))
    two = threading.Thread(target=lambda: setattr(panel.controls["first"], "value", "vphi"))
    one.start()
    entered.wait(WAIT)
    two.start()
    time.sleep(0.05)
    go.set()
    one.join(WAIT)
    two.join(WAIT)
    assert panel.controls["first_at"].description == "v_φ [km/s]"
    assert panel.idle.wait(WAIT)
    assert "v_φ" in panel.view.frame["title"]
    assert panel.view.frame["x"]["name"] == "v_x"


def test_a_slider_takes_nothing_beyond_its_ends_in_silence(catalog, made):
    panel = acceleration(catalog, made, threaded=False)
    with pytest.raises(ValueError, match=r"Expected for z a number from -4 to 4, got 7"):
        panel.set(z=7.0)


# ---- columns, windows, draws


def test_menus_offer_what_there_is_with_units():
    table = {
        "phot_g_mean_mag": [15.0, 16.0] * u.mag, "bp_rp": [0.5, 0.6] * u.mag, "parallax": [1.0, -1.0] * u.mas,
        "ps1_g": [16.0, 17.0] * u.mag, "ps1_i": [15.0, 16.5] * u.mag, "feh": [-1.0, -2.0] * u.dex, "seen": [1, 2],
        "ra": [1.0, 2.0] * u.deg,
    }  # fmt: skip
    w = np.array([[8.0, 1.0, 0.5], [0.0, 2.0, 0.0]]), np.array([[10.0, -200.0, 5.0], [100.0, 0.0, 0.0]])
    columns = Columns.of_catalog(Catalog.from_phase_space(*w, columns=table))
    words = [text for text, _ in columns.menu()]
    assert words[:2] == ["x [kpc]", "y [kpc]"]
    assert {"v_φ [km/s]", "ra [deg]", "M_G [mag]", "g − i (PS1) [mag]"} <= set(words)
    assert words[-1] == "feh [dex]"  # others come last
    assert "seen" not in columns  # a number without a unit
    np.testing.assert_allclose(columns["M_G"], [5.0, np.nan], rtol=1e-6)
    np.testing.assert_allclose(columns["ps1_g_i"], [1.0, 0.5])
    np.testing.assert_allclose(columns["phi"], np.degrees(np.arctan2([1, 2], [8, 0])), rtol=1e-6)
    np.testing.assert_allclose(columns["vphi"], [(1 * 10 + 8 * 200) / np.hypot(8, 1), 100], rtol=1e-6)
    np.testing.assert_allclose(columns["vR"], [(8 * 10 - 1 * 200) / np.hypot(8, 1), 0], rtol=1e-6)


def test_spans_are_round_and_forgive_outliers_and_gaps():
    many = np.random.default_rng(0).uniform(-55, -45, 1001)
    for values, low, high in (
        (many, -55, -45), (np.r_[many, 1e6], -55, -44.5), (np.r_[many, np.nan], -55, -45),
        ([3.0], 2.4, 3.6), ([np.nan], 0, 1), ([], 0, 1),
    ):  # fmt: skip
        columns = Columns(lambda name, v=values: np.array(v), {"a": "deg"}, len(values))
        assert columns.span("a") == pytest.approx((low, high), abs=0.11)


def test_windows_select_exactly_and_copy_nothing_where_all_are_in(rng):
    table = {k: rng.normal(size=5000).astype(np.float32) for k in "xyab"}
    table["a"][::10] = np.nan
    columns = Columns(table.__getitem__, dict.fromkeys(table, "kpc"), 5000)
    x, y = select(columns, "xy", [Window("b", 0.0, 9.0)])
    assert x is columns["x"]
    assert y is columns["y"]
    for half in (0.1, 1.0, 9.0):
        windows = [Window("a", 0.1, half), Window("a", 0.2, half), Window("b", 0.0, 9.0)]
        x, y = select(columns, "xy", windows)
        inside = (table["a"] >= np.float32(0.2 - half)) & (table["a"] <= np.float32(0.1 + half))
        seen = np.isfinite(x) & np.isfinite(y)
        np.testing.assert_array_equal(x[seen], table["x"][inside])
        np.testing.assert_array_equal(y[seen], table["y"][inside])


def test_draws_are_taken_once_in_chunks_and_stop_for_what_is_urgent():
    fit = FakeFit("none")
    draws = Draws(fit)
    assert len(draws.grow(stop=lambda: True)) == CHUNK
    assert len(draws.grow(CHUNK)) == CHUNK
    first = draws.columns["x"].copy()
    asked = []
    fit.sample = lambda n, seed=0: asked.append(seed) or FakeFit.sample(fit, n, seed)
    grown = draws.grow(3 * CHUNK)
    assert asked == [1, 2]
    assert len(grown) == 3 * CHUNK
    np.testing.assert_array_equal(grown["x"][:CHUNK], first)
    assert "vphi" in grown


@pytest.mark.parametrize("spread", [4.0, 0.2, 0.02])
def test_what_a_flow_expects_is_right_however_narrow_it_is(spread):
    names = ("pm_phi1", "phi2", "pm_phi2")
    fit = FakeColumnFit(names, ("mas/yr", "deg", "mas/yr"), np.array([0.3, 0.1, 1.0]), np.full(3, spread), 20_000, "")
    axes = [Axis("pm_phi2", -6, 8, 24, "mas/yr"), Axis("pm_phi1", -12, 10, 30, "mas/yr")]
    n = fit.sample(200_000, seed=99)
    inside = (n[:, 2] > -6) & (n[:, 2] < 8) & (n[:, 0] > -12) & (n[:, 0] < 10)
    for windows in ([], [Window("phi2", 0.2, 1.0)], [Window("phi2", 0.2, 1.0), Window("pm_phi1", 0.0, 6.0)]):
        for window in windows:
            inside = inside & (abs(n[:, names.index(window.name)] - window.center) <= window.half)
        counts, more = expected(Draws(fit), axes, windows)
        assert (counts.dims, counts.shape, more) == (("pm_phi2", "pm_phi1"), (24, 30), 0.1)
        assert float(counts.sum()) == pytest.approx(inside.mean() * 20_000, rel=0.02)
        top = np.histogram2d(n[inside][:, 2], n[inside][:, 0], (24, 30), ((-6, 8), (-12, 10)))[0].max() / 10
        assert float(counts.max()) == pytest.approx(top, rel=0.2)


def test_the_more_stars_the_more_draws():
    fit = FakeFit("none")
    for fit.stars, enough in ((20_000, 200_000), (300_000, 600_000), (6_000_000, 1_000_000)):
        assert Draws(fit).enough == enough


# ---- the phase-space panel


def tops(curve) -> np.ndarray:
    """What a stepped curve says of each bin."""
    x, y = curve.dimension_values(0), curve.dimension_values(1)
    end = np.flatnonzero(np.isnan(x))[0] if np.isnan(x).any() else len(x)
    return y[1 : end - 1 : 2]


def shown(panel) -> int:
    """The number of stars in the title."""
    words = panel.figure().label.removeprefix("all ").split(" stars")[0]
    return int(words.split(" of ")[0].replace(",", ""))


def test_star_counts_in_a_slice(catalog, made):
    panel = made(PhaseSpacePanel(catalog, size=64, threaded=False))
    panel.set(x_axis="R", y_axis="vphi", first="z", second="none")
    panel.set(first_at=0.1, first_width=0.2)
    assert panel.status == ""
    x, v = catalog.phase_space[:, :3].astype(float), catalog.phase_space[:, 3:].astype(float)
    image = panel.figure()
    R, vphi = np.hypot(x[:, 0], x[:, 1]), (x[:, 1] * v[:, 0] - x[:, 0] * v[:, 1]) / np.hypot(x[:, 0], x[:, 1])
    x0, x1, y0, y1 = panel.view.frame["range"]
    inside = (abs(x[:, 2] - 0.1) <= 0.2) & (abs(R - (x0 + x1) / 2) < (x1 - x0) / 2)
    inside &= abs(vphi - (y0 + y1) / 2) < (y1 - y0) / 2
    assert shown(panel) == pytest.approx(inside.sum(), abs=2)
    assert image.dimension_values(2).sum() == shown(panel)
    assert image.label.endswith(" of 20,000 stars, −0.1 ≤ z ≤ 0.3 kpc")
    assert vphi.mean() > 0
    assert y0 < np.percentile(vphi, 1) < np.percentile(vphi, 99) < y1
    assert panel.view.frame["y"]["label"] == "v_φ [km/s]"
    assert panel.controls["second_at"].layout.display == "none"
    panel.view.range = [x0, x0 + 0.5 * (x1 - x0), y0, y1]  # the title counts what is seen
    half = np.less(R, x0 + 0.5 * (x1 - x0))
    assert shown(panel) == pytest.approx((inside & half).sum(), abs=2)


def test_of_many_stars_a_fair_part_is_counted_while_a_slider_moves(made, monkeypatch):
    monkeypatch.setattr(phasespace, "MOVED", 10_000)
    n = 60_001
    # every second star is of the other half: a plain stride would see one half only
    x = np.stack([np.where(np.arange(n) % 2, 6.0, 10.0), np.zeros(n), np.linspace(-1, 1, n)], 1)
    catalog = Catalog.from_phase_space(x, np.tile([0.0, -220.0, 0.0], (n, 1)))
    panel = made(PhaseSpacePanel(catalog, size=64, threaded=False))
    panel.set(first="z", first_at=0.0, first_width=0.5)

    def counted(detail):
        image = panel.draw(panel.settings, detail)
        values = image.dimension_values(2)
        return values[values > 0], image.label

    (moving, about), (still, exactly) = counted(0.5), counted(1.0)
    assert about == "about 30,000 of 60,001 stars, −0.5 ≤ z ≤ 0.5 kpc"
    assert exactly.startswith("30,001 of 60,001 stars")
    assert len(moving) == len(still) == 2
    np.testing.assert_array_equal(moving % 6, 0)
    np.testing.assert_allclose(moving, still, rtol=0.05)
    panel.set(first_width=panel.controls["first_width"].min)  # so few that none is left out
    assert "about" not in panel.draw(panel.settings, 0.5).label


def test_a_slice_takes_the_limits_of_its_coordinate(catalog, made):
    panel = made(PhaseSpacePanel(catalog, size=64, threaded=False))
    panel.set(first="vphi", second="y")
    at = panel.controls["first_at"]
    assert at.description == "v_φ [km/s]"
    assert at.min < at.value < at.max
    assert at.max > 200
    panel.set(first="z")
    assert at.max < 10


def test_a_stream_comes_into_the_window_given_in_the_call(made):
    sky = sky_stars()
    panel = made(PhaseSpacePanel(sky, first=("pm_phi1", -8.0, 1.0), second=("pm_phi2", -0.5, 1.5), threaded=False))
    assert [panel.settings[k] for k in ("x_axis", "y_axis", "first_at", "second_width")] == ["phi1", "phi2", -8, 1.5]
    inside = (abs(sky["pm_phi1"] + 8) <= 1) & (abs(sky["pm_phi2"] + 0.5) <= 1.5)
    assert panel.view.frame["title"].startswith(f"{inside.sum()} of 20,000 stars, −9 ≤ pm_φ1 ≤ −7 mas/yr")
    (points,) = panel.view.frame["layers"]  # so few that each is a point
    phi2 = np.frombuffer(points["xy"], "<f8").reshape(-1, 2)[:, 1]
    np.testing.assert_allclose(np.sort(phi2), np.sort(sky["phi2"][inside]), atol=1e-6)
    assert panel.view.frame["range"] == [-55, -45, -1, 1]
    panel.set(first_at=9.0)
    inside = (abs(sky["pm_phi1"] - 9) <= 1) & (abs(sky["pm_phi2"] + 0.5) <= 1.5)
    assert 100 < inside.sum() < 1000
    assert panel.view.frame["title"].startswith(f"{inside.sum()} of 20,000 stars, 8 ≤ pm_φ1 ≤ 10 mas/yr")
    panel.set(first="none", second="none")
    assert panel.view.frame["title"] == "all 20,000 stars"
    assert panel.view.frame["w"] == pytest.approx(5 * panel.view.frame["h"], rel=0.1)  # square cells on one scale
    fine = panel.view.frame["w"]
    panel.set(second="phi2", second_width=0.2, second_at=0.0)
    assert panel.view.frame["w"] < fine  # fewer stars, larger cells


def test_a_call_is_read_in_one_sentence(made):
    sky = sky_stars(50)
    with pytest.raises(ValueError, match="Expected x among phi1, phi2, pm_phi1, pm_phi2, got 'phi3'"):
        PhaseSpacePanel(sky, x="phi3")
    with pytest.raises(ValueError, match=r"Expected second among phi1, .*, got 'pm'"):
        PhaseSpacePanel(sky, second=("pm", 0.0, 1.0))
    with pytest.raises(ValueError, match=r"Expected first as a name or \(name, center, half-width\)"):
        PhaseSpacePanel(sky, first=("phi1", 0.0))
    with pytest.raises(ValueError, match="Expected a half-width above 0 for phi1, got 0"):
        PhaseSpacePanel(sky, first=("phi1", 0.0, 0.0))
    with pytest.raises(ValueError, match=r"Expected learn among phi1, .*, got 'pmra'"):
        PhaseSpacePanel(sky, learn=("pmra", "pmdec"))
    far = made(PhaseSpacePanel(sky, first=("phi1", 80.0, 30.0), threaded=False))  # the slider reaches that far
    assert far.settings["first_at"] == 80
    assert far.view.frame["title"].startswith("0 of 50 stars, 50 ≤ φ1 ≤ 110 deg")


@pytest.mark.parametrize("n", [1, 2, 30])
@pytest.mark.parametrize("equal", [False, True])
def test_few_or_equal_stars_and_gaps_are_drawn(made, n, equal):
    color, G = np.linspace(0.5, 1.5, n), np.linspace(15, 20, n)
    if equal:
        color, G = np.full(n, 0.7), np.full(n, 15.0)
    gaps = np.where(np.arange(n) % 3 == 1, np.nan, color)
    sky = sky_stars(n, bp_rp=gaps * u.mag, phot_g_mean_mag=G * u.mag)
    panel = made(PhaseSpacePanel(sky, x="bp_rp", y="phot_g_mean_mag", threaded=False))
    panel.set(marginals=True)
    assert panel.status == ""
    there = np.isfinite(gaps).sum()
    assert panel.view.frame["title"] == ("all 1 stars" if n == 1 else f"{there} of {n} stars")
    assert [panel.view.frame[k]["reverse"] for k in "xy"] == [False, True]  # bright is up
    panel.set(first="bp_rp")  # a window in a column with gaps leaves them out
    assert panel.status == ""
    dead = sky_stars(n, bp_rp=np.full(n, np.nan) * u.mag, phot_g_mean_mag=G * u.mag)
    panel.catalog = dead
    assert panel.status == ""
    assert panel.view.frame["title"].startswith(f"0 of {n} stars")


def test_one_position_is_drawn(made):
    panel = made(PhaseSpacePanel(stars(1), threaded=False))
    assert panel.status == ""


def test_another_catalogue_brings_its_own_menus(made, catalog):
    panel = made(PhaseSpacePanel(catalog, x="vR", y="vz", size=64, threaded=False))
    panel.catalog = sky_stars()
    assert panel.status == ""
    assert [panel.settings[k] for k in ("x_axis", "y_axis", "first")] == ["phi1", "phi2", "none"]
    assert panel.learn == PM
    still = Catalog.from_pandas(sky_stars(50).to_pandas()[["phi1", "phi2"]], units={"phi1": "deg", "phi2": "deg"})
    panel.catalog = still
    assert panel.learn == ()
    assert "pass learn=" in panel.bar.stage.value
    assert panel.bar.go.disabled
    panel.catalog = catalog
    assert panel.learn is None
    assert not panel.bar.go.disabled
    assert panel.bar.stage.value == ""
    empty = made(PhaseSpacePanel(size=64, threaded=False))
    assert empty.view.message == "No stars yet: pass a catalogue."
    empty.catalog = sky_stars()
    assert empty.view.frame["title"] == "all 20,000 stars"


# ---- flows of columns


PM = ("pm_phi1", "pm_phi2")


def test_a_flow_of_columns_is_trained_saved_loaded_and_grows_stale(made, tmp_path):
    sky = sky_stars()
    panel = made(PhaseSpacePanel(sky, learn=PM, x="pm_phi1", y="pm_phi2", size=64, threaded=False))
    panel.train()
    assert panel.status == ""
    assert (panel.fit.columns, panel.fit.stars) == (PM, 20_000)
    panel.set(show="flow")
    assert panel._badge.value == ""
    panel.save(tmp_path / "flow")
    other = made(PhaseSpacePanel(sky, learn=("phi1", "phi2"), size=64, threaded=False))
    with pytest.raises(ValueError, match="Expected a flow of phi1, phi2, got one of pm_phi1, pm_phi2"):
        other.load(tmp_path / "flow")
    with pytest.raises(ValueError, match="Expected a flow of phi1, phi2, got a map"):
        other.fit = FakeFit("none")
    again = made(PhaseSpacePanel(sky, learn=PM, size=64, threaded=False))
    again.load(tmp_path / "flow")
    assert again.stale == ""
    again.catalog = sky_stars(seed=1)
    assert again.stale == "the fit was trained on other stars"
    again.catalog = stars()
    assert again.stale == "the fit was trained on other stars"
    again.catalog, again.config = sky, "other"
    assert again.stale == "the fit was trained with other settings"
    taken = made(PhaseSpacePanel(sky, panel.fit, size=64, threaded=False))  # a fit says itself what was learnt
    assert taken.learn == PM


def test_a_cancelled_flow_of_columns_waits_to_be_resumed(made):
    sky = sky_stars()
    panel = made(PhaseSpacePanel(sky, learn=PM, size=64, threaded=False))
    panel.training.cancel()
    panel.fit = FakeColumnFit.of(sky, PM, stopped="cancelled")
    assert panel.fit is None
    assert panel.bar.go.description == "Resume"
    panel.train()
    assert panel.fit.stopped == "finished"
    panel.fit = FakeColumnFit.of(sky_stars(seed=1), PM, stopped="cancelled")
    assert panel.bar.go.description == "Train"  # of other stars


def test_flow_and_stars_are_counted_alike_and_their_difference_is_noise(made):
    rng = np.random.default_rng(1)
    columns = {k: rng.normal(0, 2, 50_000).astype(np.float32) * u.mas / u.yr for k in ("pmra", "pmdec")}
    sky = sky_stars(50_000, **columns)
    panel = made(PhaseSpacePanel(sky, x="pmra", y="pmdec", size=128, threaded=False))
    assert panel.learn == ("pmra", "pmdec")
    panel.train()
    counts = panel.view.frame
    panel.set(show="flow")
    flow = panel.view.frame
    for same in ("w", "h", "range", "low", "high", "log", "z"):
        assert flow[same] == counts[same]
    total, _ = panel.figure().label.removeprefix("flow: ").split(" of 50,000 stars expected")
    assert float(total.replace(",", "")) == pytest.approx(50_000, rel=0.01)
    panel.set(show="difference")
    image = panel.figure()
    assert image.vdims[0].range == (-5, 5)
    assert panel.view.frame["z"]["label"] == "(stars − flow) / σ"
    x, y, values = (image.dimension_values(i) for i in range(3))
    core = values[np.hypot(x, y) < 4]
    assert abs(core.mean()) < 0.1
    assert core.std() == pytest.approx(1.0, abs=0.1)
    place = {"pmra": 1, "pmdec": 3}
    more = {k: np.r_[np.full(200, place[k], np.float32), v[200:].value] * v.unit for k, v in columns.items()}
    panel.catalog = sky_stars(50_000, **more)  # two hundred at one place are too many
    assert "trained on other stars" in panel._badge.value
    image = panel.figure()
    x, y, values = (image.dimension_values(i) for i in range(3))
    k = np.nanargmax(values)
    assert values[k] > 10
    assert (x[k], y[k]) == pytest.approx((1, 3), abs=0.5)
    panel.catalog = sky
    panel.set(first="phi1")
    assert panel.controls["show"].value == "stars"
    assert "The flow knows pmra, pmdec, not φ1." in panel.controls["show"]._note.value
    panel.set(first="none")
    assert panel.controls["show"].value == "difference"


@pytest.mark.parametrize("kind", ["masked", "nan"])
def test_only_stars_with_all_learnt_columns_are_compared(made, kind):
    color = np.random.default_rng(0).normal(1, 0.3, 20_000)
    color[:15_000] = np.nan
    color = np.ma.masked_invalid(color) if kind == "masked" else color
    sky = sky_stars(bp_rp=color * u.mag)
    panel = made(PhaseSpacePanel(sky, x="pm_phi1", y="pm_phi2", learn=(*PM, "bp_rp"), size=64, threaded=False))
    panel.train()
    assert panel.fit.stars == 5000
    panel.set(show="difference")
    count, rest = panel.figure().label.split(" stars, ")
    assert 4900 < int(count.replace(",", "")) <= 5000
    assert float(rest.split(" expected")[0].replace(",", "")) == pytest.approx(5000, rel=0.02)
    for data, flow in panel.marginals():
        assert tops(data).sum() == pytest.approx(tops(flow).sum(), rel=0.02)
    panel.set(show="stars")
    assert shown(panel) > 19_000


def test_a_flow_in_other_units_is_not_compared(made):
    sky = sky_stars()
    fit = FakeColumnFit.of(sky, PM)
    fit.units = ("deg / yr", "mas / yr")
    panel = made(PhaseSpacePanel(sky, fit, x="pm_phi1", y="pm_phi2", size=64, threaded=False))
    why = "The flow has pm_φ1 in deg/yr, the stars in mas/yr; train one on these."
    with pytest.raises(ValueError, match=why):
        panel.set(show="difference")
    assert [curve.label for curve in panel.marginals()[0]] == ["stars"]
    panel.set(x_axis="pm_phi2", y_axis="phi1")
    assert "The flow knows" in panel.controls["show"]._note.value
    fit.units = ("mas / yr", "mas / yr")
    panel = made(PhaseSpacePanel(sky, fit, x="pm_phi1", y="pm_phi2", size=64, threaded=False))
    panel.set(show="difference")


def test_a_picture_for_the_caller_takes_all_draws_whatever_the_thread_is_asked(made):
    sky = sky_stars()
    panel = made(PhaseSpacePanel(sky, FakeColumnFit.of(sky, PM), x="pm_phi1", y="pm_phi2", size=64))
    panel.set(show="flow")
    panel.close()
    for draw in (panel.figure, panel.marginals):
        panel._draws_made = None
        draw()
        assert len(panel._draws_made.columns) == 200_000


def test_sliders_neither_hash_the_stars_anew_nor_look_for_those_in_the_ball(made, monkeypatch):
    catalog = stars()
    fit, hashed, digest = FakeFit(catalog.digest()), [], Catalog._digest
    monkeypatch.setattr(Catalog, "_digest", lambda self, names: hashed.append(names) or digest(self, names))
    panel = made(PhaseSpacePanel(catalog, fit, x="R", y="z", first="vphi", size=64, threaded=False))
    panel.set(show="difference")
    ball = panel._learnable(panel._columns(), fit)
    panel.set(first_width=10.0)
    assert panel._learnable(panel._columns(), fit) is ball
    assert hashed == []
    panel.fit = FakeColumnFit.of(catalog, ("vx", "vy"))
    assert panel._learnable(panel._columns(), panel.fit) is None
    assert panel.stale == ""
    panel.set(x_axis="vx", y_axis="vy", first="none", show="flow")
    assert hashed == [("vx", "vy")]


def test_what_waits_to_be_resumed_is_what_is_learnt_and_saved(made, catalog, tmp_path):
    panel = made(PhaseSpacePanel(catalog, FakeColumnFit.of(catalog, ("vx", "vy")), size=64, threaded=False))
    assert panel.learn == ("vx", "vy")
    panel.fit = FakeFit(catalog.digest(), stage=0, stopped="cancelled")
    assert panel.fit.columns == ("vx", "vy")
    assert panel.stale == ""
    assert panel.learn is None
    assert panel.bar.go.description == "Resume"
    saved = []
    panel.bar._learner = lambda: panel.learner()._replace(save=lambda fit, *args, **how: saved.append(fit))
    panel.save(tmp_path / "part")
    assert saved == [panel.bar.partial]
    panel.train()
    assert panel.fit.complete


def test_the_panel_of_accelerations_refuses_a_flow_of_columns(made, catalog):
    words = r"Expected a map of f\(x, v\), got a flow of vx, vy; show it in a PhaseSpacePanel\."
    fit = FakeColumnFit.of(catalog, ("vx", "vy"))
    with pytest.raises(ValueError, match=words):
        AccelerationPanel(catalog, fit, threaded=False)
    panel = made(AccelerationPanel(catalog, threaded=False))
    with pytest.raises(ValueError, match=words):
        panel.fit = fit


def test_flow_of_a_map_is_shown_at_a_place_or_counted(catalog, made):
    panel = made(PhaseSpacePanel(catalog, FakeFit(catalog.digest()), size=64, threaded=False))
    panel.set(show="flow", x_axis="vx", y_axis="vy")
    frame = panel.view.frame
    assert panel.status == ""
    assert frame["high"] - frame["low"] == pytest.approx(12)
    assert frame["z"]["label"].startswith("ln f")
    assert panel.controls["first_width"].layout.display == "none"
    panel.set(y_axis="vphi")  # no slice of f(x, v): counted from draws
    assert panel.status == ""
    assert panel.view.frame["z"]["label"] == "stars per cell"
    assert panel.controls["first_width"].layout.display == ""
    panel.set(x_axis="vphi")
    assert panel.view.message == "Choose two different axes."


def test_a_map_is_compared_within_its_ball(catalog, made):
    fit = FakeFit(catalog.digest())
    fit.radius, fit.stars = 1.0, int((np.linalg.norm(catalog.phase_space[:, :3] - fit.center, axis=1) < 1).sum())
    panel = made(PhaseSpacePanel(catalog, fit, first="none", size=64, threaded=False))
    panel.set(show="difference")
    assert int(panel.figure().label.split(" stars")[0].replace(",", "")) == fit.stars
    data, _ = panel.marginals()[0]
    assert tops(data).sum() == fit.stars


# ---- marginals


def test_marginals_compare_stars_and_flow_in_the_windows(made):
    sky = sky_stars()
    panel = made(PhaseSpacePanel(sky, x="pm_phi1", y="pm_phi2", learn=(*PM, "phi2"), size=64, threaded=False))
    panel.set(second="phi2", second_at=0.0, second_width=0.5)
    (only,) = panel.marginals()[0]
    assert only.label == "stars"
    panel.train()
    for k, overlay in enumerate(panel.marginals()):
        data, flow = overlay
        assert (data.label, flow.label) == ("stars", "flow")
        assert data.kdims[0].name == PM[k]
        low, high = panel.view.frame["range"][2 * k : 2 * k + 2]
        n, _ = np.histogram(sky[PM[k]][abs(sky["phi2"]) <= 0.5], len(tops(data)), (low, high))
        x, y = data.dimension_values(0), data.dimension_values(1)
        assert len(n) > 30
        assert np.abs(tops(data) - n).sum() < 0.02 * n.sum()  # the other axis has ends too
        at = np.flatnonzero(np.isnan(x))[15] + 1
        assert y[at + 1] - y[at] == pytest.approx(2 * np.sqrt(tops(data)[15]))
        share = np.mean(abs(np.random.default_rng(0).normal(0, sky["phi2"].std(), 100_000)) <= 0.5)
        assert tops(flow).sum() == pytest.approx(share * 20_000, rel=0.03)
    panel.set(x_axis="phi1")  # what the flow does not know it does not show
    assert [curve.label for curve in panel.marginals()[1]] == ["stars"]
    panel.set(y_axis="phi1")
    with pytest.raises(ValueError, match="two different axes"):
        panel.marginals()


def test_marginals_need_counts_on_one_axis(catalog):
    counts = count_field(catalog["x"], catalog["y"], [Axis("x", 4, 12, 8), Axis("y", -4, 4, 8)])
    with pytest.raises(ValueError, match="got neither"):
        marginal()
    with pytest.raises(ValueError, match=r"one axis, got shape \(8, 8\)"):
        marginal(counts)


def test_marginals_are_drawn_at_rest_only_and_when_asked(made, monkeypatch):
    sky = sky_stars()
    panel = made(PhaseSpacePanel(sky, FakeColumnFit.of(sky, PM), x="pm_phi1", y="pm_phi2", size=64, threaded=False))
    assert panel.below[1].layout.display == "none"
    assert not panel._sides[0].frame
    beside, drawn = panel.beside, []
    monkeypatch.setattr(panel, "beside", lambda settings: drawn.append(settings) or beside(settings))
    pictures = draws_of(panel, monkeypatch)
    assert not panel._draw(True)  # while a slider is dragged
    assert (len(pictures), len(drawn)) == (1, 0)
    assert panel._draw(False)  # and at rest: the picture is whole already
    assert (len(pictures), len(drawn)) == (1, 1)
    assert not panel._sides[0].frame
    panel.set(marginals=True)
    assert panel.below[1].layout.display == ""
    assert panel._sides[1].frame["x"]["name"] == "pm_φ2"
    assert [layer["label"] for layer in panel._sides[1].frame["layers"]] == ["stars", "flow"]
    panel.set(first="phi2")
    assert [layer["label"] for layer in panel._sides[1].frame["layers"]] == ["stars"]


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


def test_a_fit_without_a_potential_is_kept_for_saving(made, catalog, tmp_path):
    panel = made(AccelerationPanel(catalog, FakeFit(catalog.digest()), threaded=False))
    shown = panel.fit
    panel.fit = FakeFit(catalog.digest(), stage=2)
    assert panel.fit is shown
    assert "another panel" in panel.status
    panel.save(tmp_path / "fit")
    assert "without this map" in panel.status


def test_start_over_after_a_pause(made, catalog):
    panel = made(AccelerationPanel(catalog, FakeFit(catalog.digest()), threaded=False))
    assert panel.bar.anew.layout.display == "none"
    assert panel.bar.go.layout.display is None  # the others are there
    panel.fit = FakeFit(catalog.digest(), stopped="cancelled", stage=0)
    assert panel.bar.go.description == "Resume"
    assert panel.bar.anew.layout.display == ""
    panel.train(resume=False)
    assert panel.bar.go.description == "Train"


def test_sliders_follow_the_ball_of_the_fit(made, catalog):
    panel = made(AccelerationPanel(catalog, FakeFit(catalog.digest()), threaded=False))
    panel.set(z=3.0)
    small = FakeFit(catalog.digest())
    small.radius = 0.3
    panel.fit = small
    assert panel.controls["z"].max == 0.3
    assert panel.controls["z"].value == 0.3
    assert panel.controls["phi"].max == 2


def test_magnitudes_run_downwards_in_cells_too(made):
    rng = np.random.default_rng(0)
    more = {"bp_rp": rng.normal(1, 0.2, 5000) * u.mag, "phot_g_mean_mag": rng.normal(18, 1, 5000) * u.mag}
    panel = made(PhaseSpacePanel(sky_stars(5000, **more), x="bp_rp", y="phot_g_mean_mag", size=64, threaded=False))
    frame = panel.view.frame
    assert "codes" in frame
    assert [frame[k]["reverse"] for k in "xy"] == [False, True]
    assert abs(frame["w"] - frame["h"]) < 2  # a colour and a magnitude have no common scale
    panel.set(marginals=True)
    assert panel._sides[1].frame["x"]["reverse"]
