"""The panel of a dwarf galaxy, without a browser: stars, settings, fits, profiles and the words below them."""

import dataclasses
import html
import re
import threading
import time

import jax
import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.table import Table

import clearview
from clearview import dwarfs
from clearview.catalogs import Catalog
from clearview.dwarfs import JFlow, JFlowConfig, JFlowFit, Published, bin_stars, published_of
from clearview.dwarfs.fit import DwarfConfig, DwarfFit
from clearview.dwarfs.model import Model, Scales
from clearview.flows import Progress
from clearview.flows.ensemble import stack
from clearview.mocks import dwarf_truth_of, mock_dwarf
from clearview.panels import DwarfPanel

WAIT = 60


def fake_fit(stars, config=None, *, on_progress=None, slow=False):
    """A fit of draws from the prior: right in form, and quick."""
    config = DwarfConfig() if config is None else config
    seen = dwarfs.stars.stars_of(stars, foreground=config.foreground, radius=config.radius)
    scales = Scales(seen.half, seen.center, seen.spread, None, bool(np.isnan(seen.v).any()))
    told = Progress("chains", 1, 2, 1.0, None, np.nan, np.nan, pd.DataFrame(), 0.5)
    stopped = "finished"
    while on_progress is not None:
        if on_progress(told) is False:
            stopped = "cancelled"
            break
        if not slow:
            break
        time.sleep(0.01)
    size = Model(config, scales).size
    draws = np.random.default_rng(config.seed).normal(0, 0.3, (40 if stopped == "finished" else 0, size))
    member = np.linspace(0, 1, len(stars), dtype=np.float32) if config.foreground else np.ones(len(stars), np.float32)
    digest = dwarfs.stars.digest_of(stars)
    return DwarfFit(
        config, scales, draws.astype(np.float32), member, len(stars), digest, 1.0, 500.0, 0.8, stopped,
        f"Dwarf: {len(stars):,} stars.", 1.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def stars():
    return mock_dwarf(300, seed=2)


@pytest.fixture(scope="module")
def fit(stars):
    return fake_fit(stars)


@pytest.fixture
def panel(stars, made, monkeypatch):
    monkeypatch.setattr(dwarfs, "fit_dwarf", fake_fit)
    return made(DwarfPanel(stars, size=64, threaded=False))


def labels(view) -> list[str]:
    return [layer["label"] for layer in view.frame["layers"] if layer["label"]]


def xy_of(view, label: str, kind: str) -> np.ndarray:
    found = next(k for k in view.frame["layers"] if k["label"] == label and k["kind"] == kind)
    xy = np.frombuffer(found["xy"]).reshape(-1, 2)
    return xy[np.isfinite(xy).all(1)]


def words(panel) -> str:
    return re.sub("<.*?>", "", panel._words.value)


# ---- before a fit


def test_before_training_there_are_the_stars_the_truth_and_two_masses(panel, stars):
    assert panel.status == ""
    sky, motions, density, dispersion, rho, mass = panel.views
    assert sky.frame["equal"]
    assert sky.frame["title"].startswith("300 stars")
    places = np.frombuffer(sky.frame["layers"][0]["xy"]).reshape(-1, 2)
    np.testing.assert_allclose(np.sort(places[:, 0]), np.sort(stars["x"]), rtol=1e-6)
    assert motions.frame["x"]["label"] == "R on the sky [kpc]"
    assert labels(density) == labels(dispersion) == ["truth", "stars, binned"]
    assert labels(rho) == ["truth"]
    assert labels(mass) == ["truth", "Wolf et al. 2010", "Walker et al. 2009"]
    truth = dwarf_truth_of(stars)
    r, values = xy_of(rho, "truth", "curve").T
    np.testing.assert_allclose(values, truth.density(r))
    bins = bin_stars(stars)
    assert xy_of(mass, "Walker et al. 2009", "path")[0, 1] == pytest.approx(
        2.5 / 4.30091e-6 * bins.spread**2 * bins.half
    )
    assert words(panel) == ""


def test_stars_that_are_no_mock_wait_for_a_fit(stars, made):
    bare = Catalog.from_table(Table({n: stars[n] * stars.unit(n) for n in ("R", "v_los", "v_los_error")}))
    panel = made(DwarfPanel(bare, size=64, threaded=False))
    assert panel.status == ""
    assert panel.views[4].frame["layers"][0]["text"] == "press Train"
    assert labels(panel.views[5]) == ["Wolf et al. 2010", "Walker et al. 2009"]
    assert panel.view.layout.display == "none"  # no places on the sky
    assert panel.controls["truth"].layout.display == "none"
    panel.catalog = stars
    assert panel.view.layout.display == ""


def test_other_units_are_converted(stars, made):
    table = Table({"v_los": stars["v_los"] * stars.unit("v_los"), "v_los_error": stars["v_los_error"] * u.km / u.s})
    for name in ("R", "x", "y"):
        table[name] = stars[name] * u.kpc.to(u.pc) * u.pc
    panel, same = (made(DwarfPanel(c, size=64, threaded=False)) for c in (Catalog.from_table(table), stars))
    assert panel.status == ""
    for view, other in zip(panel.views[:2], same.views[:2], strict=True):
        assert view.frame["range"] == pytest.approx(other.frame["range"])
        places = [np.frombuffer(v.frame["layers"][0]["xy"]).reshape(-1, 2) for v in (view, other)]
        np.testing.assert_allclose(places[0], places[1], rtol=1e-6)


# ---- training


def test_train_gives_bands_and_a_sentence(panel, stars):
    before = {k["label"]: k["ink"] for view in panel.views[2:] for k in view.frame["layers"] if k["label"]}
    panel.train()
    assert panel.status == ""
    assert isinstance(panel.fit, DwarfFit)
    assert panel.stale == ""
    for view, name in zip(panel.views[2:], ("Sigma", "sigma_los", "rho", "M"), strict=True):
        assert "fit" in labels(view)
        assert [k["kind"] for k in view.frame["layers"]].count("band") == 2
        if name in ("rho", "M"):
            r, middle = xy_of(view, "fit", "curve").T
            np.testing.assert_allclose(middle, panel.fit.field(r)[name].sel(quantile=0.5), rtol=1e-6)
    assert "± dispersion of the fit" in labels(panel.views[1])
    now = {k["label"]: k["ink"] for view in panel.views[2:] for k in view.frame["layers"] if k["label"]}
    assert before.items() <= now.items()  # no line changes its colour
    assert now["fit"] not in before.values()
    said = panel.fit.core_or_cusp()
    assert f"{said.probability:.2f}" in words(panel)
    assert re.search(r"The mass within [\d.]+ kpc is [\d.]+ \(\+[\d.]+ −[\d.]+\) × 10[⁰-⁹⁴⁵⁶⁷⁸⁹]+ M⊙", words(panel))
    assert "J within" not in words(panel)
    assert list(panel.runs.values()) == [panel.fit]


def test_settings_are_those_of_the_next_training(panel):
    panel.set(anisotropy="constant", slope="fixed", gamma=0.25, foreground=True)
    assert panel.config == DwarfConfig(anisotropy="constant", tracer_slope=0.25, foreground=True)
    assert panel.controls["beta"].layout.display == "none"
    panel.set(anisotropy="given", beta=-0.5, slope="learnt", foreground=False)
    assert panel.config == DwarfConfig(beta=-0.5)
    assert panel.controls["gamma"].layout.display == "none"
    panel.config = DwarfConfig(anisotropy="free", tracer_slope=0.1, distance=86.0)
    assert panel.settings["anisotropy"] == "free"
    assert (panel.settings["slope"], panel.settings["gamma"]) == ("fixed", 0.1)
    panel.set(foreground=True)
    assert panel.config == DwarfConfig(anisotropy="free", tracer_slope=0.1, distance=86.0, foreground=True)
    panel.config = DwarfConfig(anisotropy_radius=0.5)
    panel.set(foreground=True)
    assert panel.config == DwarfConfig(anisotropy_radius=0.5, foreground=True)
    panel.set(anisotropy="osipkov-merritt")  # its radius is learnt then
    assert panel.config.anisotropy_radius is None
    with pytest.raises(ValueError, match="Expected for anisotropy one of"):
        panel.set(anisotropy="radial")


def test_other_settings_make_the_figure_stale(panel):
    panel.train()
    panel.set(anisotropy="free")
    assert "other settings" in panel.stale
    assert "stale" in panel._badge.value
    panel.set(anisotropy="given")
    assert panel.stale == ""


def test_a_fit_that_comes_before_its_stars_is_not_stale(stars, fit, made):
    panel = made(DwarfPanel(fit=fit, size=64, threaded=False))
    panel.catalog = stars
    assert panel.stale == ""
    panel.catalog = mock_dwarf(300, seed=3)
    assert "other stars" in panel.stale


def test_the_settings_are_those_of_the_fit_where_none_are_given(stars, made, tmp_path):
    far = fake_fit(stars, DwarfConfig(distance=86.0))
    panel = made(DwarfPanel(stars, fit=far, size=64, threaded=False))
    assert panel.stale == ""
    assert panel.config == far.config
    far.save(tmp_path / "far.clearview")
    panel.load(tmp_path / "far.clearview")
    panel.config = DwarfConfig()
    names = {"stars": stars}
    exec(panel.code().replace("stars = ...", "").replace('panel.save_figure("picture.png")', ""), names)
    assert made(names["panel"]).config == DwarfConfig()
    told = made(DwarfPanel(stars, DwarfConfig(), far, size=64, threaded=False))
    assert "other settings" in told.stale


def test_fewer_stars_are_some_of_all_and_make_the_figure_stale(panel, stars):
    panel.train()
    before = panel.view.frame["low"], panel.views[1].frame["range"]
    panel.set(stars=100)
    assert panel.views[0].frame["title"].startswith("100 stars")
    assert "other stars" in panel.stale
    assert (panel.view.frame["low"], panel.views[1].frame["range"]) == before  # no flicker
    some = {tuple(p) for p in np.frombuffer(panel.view.frame["layers"][0]["xy"]).reshape(-1, 2)}
    panel.set(stars=200)
    more = {tuple(p) for p in np.frombuffer(panel.view.frame["layers"][0]["xy"]).reshape(-1, 2)}
    assert len(more) == 200
    assert some < more
    panel.train()
    assert panel.fit.stars == 200
    assert panel.stale == ""
    assert panel.catalog is stars
    panel.set(stars=300)
    assert "other stars" in panel.stale
    panel.fit = next(iter(panel.runs.values()))
    assert panel.stale == ""
    assert len(panel.runs) == 2
    with pytest.raises(ValueError, match="Expected for stars a number from 30 to 300, got 10"):
        panel.set(stars=10)


def test_a_training_is_cancelled(stars, made, monkeypatch):
    monkeypatch.setattr(dwarfs, "fit_dwarf", lambda *args, **kwargs: fake_fit(*args, slow=True, **kwargs))
    panel = made(DwarfPanel(stars, size=64))
    panel.train()
    panel.set(stars=150)  # the pictures go on meanwhile
    assert panel.idle.wait(WAIT)
    assert panel.busy
    assert panel.view.frame["title"].startswith("150 stars")
    assert "Drawing halos: 50 %" in panel.bar.stage.value
    panel.cancel()
    assert panel.training.wait(WAIT)
    assert panel.fit is None
    assert "nothing of this training is kept" in panel.bar.stage.value
    with pytest.raises(ValueError, match="Expected a training that can be paused"):
        panel.pause()


def test_a_cancel_frees_the_controls_while_it_compiles(stars, made, monkeypatch):
    gate = threading.Event()

    def compiles(stars, config=None, *, on_progress=None):
        gate.wait(WAIT)  # no word from within
        return fake_fit(stars, config, on_progress=on_progress)

    monkeypatch.setattr(dwarfs, "fit_dwarf", compiles)
    panel = made(DwarfPanel(stars, size=64))
    panel.train()
    assert panel.bar.go.disabled
    panel.cancel()
    assert not panel.busy
    assert not panel.bar.go.disabled
    assert panel.bar.stop.disabled
    assert "nothing of this training is kept" in panel.bar.stage.value
    gate.set()
    assert panel.training.wait(WAIT)
    assert (panel.fit, panel.runs) == (None, {})
    assert "nothing of this training is kept" in panel.bar.stage.value


def test_what_fails_is_said(panel, monkeypatch):
    def fails(*_, **__):
        raise ValueError("Expected members of a galaxy, got none; choose others.")

    monkeypatch.setattr(dwarfs, "fit_dwarf", fails)
    panel.train()
    assert "Expected members of a galaxy" in panel.status
    assert panel.fit is None


# ---- what is shown


def test_membership_colours_the_stars_of_a_fit_with_a_foreground(panel):
    with pytest.raises(ValueError, match="Membership cannot be shown"):
        panel.controls["colour"].value = "membership"
    panel.set(foreground=True)
    panel.train()
    panel.set(colour="membership")
    assert panel.view.frame["z"]["label"] == "membership"
    assert (panel.view.frame["low"], panel.view.frame["high"]) == (0, 1)
    bins = bin_stars(panel.catalog, panel.fit.membership, foreground=True)
    assert xy_of(panel.views[2], "stars, binned", "path")[0, 1] == pytest.approx(bins["Sigma"].values[0])
    panel.set(stars=100)  # of which the fit says nothing
    assert panel.settings["colour"] == "velocity"


def test_references_have_the_mass_of_the_fit(panel):
    panel.set(references=True)
    assert labels(panel.views[4]) == ["truth", "NFW: a cusp", "Burkert: a core"]
    panel.train()
    at = 1.7 * panel.fit.half_light_radius
    middle = np.median(panel.fit.mass(np.array([at])))
    for name in ("NFW: a cusp", "Burkert: a core"):
        r, mass = xy_of(panel.views[5], name, "curve").T
        assert np.exp(np.interp(np.log(at), np.log(r), np.log(mass))) == pytest.approx(middle, rel=0.01)
    slopes = [np.diff(np.log(xy_of(panel.views[4], n, "curve")[:2, 1])) for n in ("NFW: a cusp", "Burkert: a core")]
    assert slopes[0] < slopes[1] - 0.02
    panel.set(truth=False, references=False)
    assert labels(panel.views[4]) == ["fit"]


def test_references_follow_the_stars(panel):
    panel.set(references=True)
    before = [xy_of(view, "NFW: a cusp", "curve")[:, 1] for view in panel.views[4:]]
    panel.set(stars=40)
    now = [xy_of(view, "NFW: a cusp", "curve")[:, 1] for view in panel.views[4:]]
    ratios = [float(np.median(b / a)) for a, b in zip(before, now, strict=True)]
    assert abs(ratios[1] - 1) > 0.01
    assert ratios[0] == pytest.approx(ratios[1])


def test_published_values_and_a_distance(stars, made):
    far = fake_fit(stars, DwarfConfig(distance=86.0))
    r = np.geomspace(0.05, 1.0, 20)
    profile = Published(
        "Else 2021", r, 1e8 / r, 5e7 / r, 2e8 / r, source="Else 2021, arXiv:1", M=1e7 * r, note="made up"
    )
    panel = made(DwarfPanel(stars, None, far, published=[*published_of("Draco"), profile], size=64, threaded=False))
    assert {"Hayashi et al. 2020", "Read et al. 2018", "Else 2021"} <= set(labels(panel.views[4]))
    assert "Yang et al. 2025 (DESI)" not in labels(panel.views[4])
    assert {"Wolf et al. 2010", "Walker et al. 2009", "Else 2021"} <= set(labels(panel.views[5]))
    assert xy_of(panel.views[4], "Hayashi et al. 2020", "path")[-1, 1] == pytest.approx(3.63e8)
    assert "Yang et al. 2025 (DESI) −0.71 (−1.05 to −0.36)" in words(panel)
    assert "Hayashi, Chiba & Ishiyama 2020, arXiv:2007.13780" in html.unescape(words(panel))
    assert "Else 2021, arXiv:1 (made up)" in words(panel)
    low, middle, high = np.log10(far.field().J.sel(quantile=[0.16, 0.5, 0.84]).values)
    assert f"is {middle:.2f} (+{high - middle:.2f} −{middle - low:.2f})" in words(panel)
    panel.fit = None
    assert "DESI" in words(panel)
    with pytest.raises(TypeError, match=r"what was published as clearview\.dwarfs\.Published, got str"):
        DwarfPanel(stars, published=["Draco"], threaded=False)
    with pytest.raises(TypeError, match="a list of Published"):
        DwarfPanel(stars, published=3, threaded=False)
    twice = made(DwarfPanel(stars, published=[profile, profile], size=64, threaded=False))
    assert "Expected published values with a name each" in twice.status


# ---- JFlow


def fake_jflow(stars, config=None, *, on_progress=None, members=2):
    """Galaxies of JFlow that nothing was learnt by."""
    config = dataclasses.replace(config or JFlowConfig(), members=members)
    one = [JFlow(0.25, 9.0, 100, config, key=jax.random.key(i)) for i in range(members)]
    if on_progress is not None:
        on_progress(Progress("galaxy", 1, 2, 1.0, None, 0.0, 0.0, pd.DataFrame(), 0.5))
    told = dict(half_light_radius=0.25, stars=len(stars), digest=dwarfs.stars.digest_of(stars), velocity=0.0)
    return JFlowFit(
        config, stack(one), membership=np.ones(len(stars), np.float32), stopped="finished", message="Galaxy finished.",
        **told,
    )  # fmt: skip


def test_the_other_route_has_a_bandwidth_and_no_membership(panel, stars, made, monkeypatch, tmp_path):
    monkeypatch.setattr(dwarfs, "fit_jflow", fake_jflow)
    shown = {name: panel.controls[name].layout for name in ("bandwidth", "anisotropy", "beta")}
    assert [layout.display for layout in shown.values()] == ["none", "", ""]
    panel.set(beta=0.3, slope="fixed", gamma=0.4)
    panel.set(route="jflow")
    assert [layout.display for layout in shown.values()][:2] == ["", "none"]
    assert (panel.config.beta, panel.config.bandwidth) == (0.3, JFlowConfig().bandwidth)
    panel.set(bandwidth=0.2, slope="learnt")
    assert panel.config.bandwidth == (0.5, 0.2)
    assert (panel.config.tracers.learn_slope, panel.config.tracers.slope) == (True, 0.5)
    panel.set(slope="fixed", gamma=0.0, bandwidth=0.15)
    assert panel.config == JFlowConfig(beta=0.3, bandwidth=(0.5, 0.15))
    panel.train()
    assert panel.status == ""
    assert panel.fit.config.bandwidth == (0.5, 0.15)
    assert list(panel.runs) == ["run 1: 300 stars, JFlow, β = 0.3"]
    for view, name in zip(panel.views[2:], ("Sigma", "sigma_los", "rho", "M"), strict=True):
        r, middle = xy_of(view, "fit", "curve").T
        if name != "Sigma":
            np.testing.assert_allclose(middle, panel.fit.field(r)[name].sel(quantile=0.5), rtol=1e-4)
    assert panel.views[4].frame["title"] == "Dark matter (bands: spread of trainings)"
    assert "the spread of 2 trainings" in words(panel)
    assert "The slope of the density at 0.15 kpc is" in words(panel)
    path = panel.save(tmp_path / "jflow.clearview")
    again = made(DwarfPanel(stars, size=64, threaded=False))
    again.load(path)
    assert again.fit.config == panel.fit.config
    assert f"fit = load_jflow({str(path)!r})" in again.code()
    assert "import load_jflow" in again.code()
    code = panel.code().split("\nfit = ")[0]
    assert "from clearview.dwarfs import JFlowConfig" in panel.code()
    made_again = re.search(r"config = (JFlowConfig\(.*\))", panel.code()).group(1)
    assert eval(made_again, {"JFlowConfig": JFlowConfig}) == panel.config
    assert "import clearview" in code
    panel.set(route="jeans")
    assert panel.config == DwarfConfig(beta=0.3, tracer_slope=0.4)
    assert "other settings" in panel.stale
    panel.config = JFlowConfig(bandwidth=(0.9, 0.6), anisotropy_radius=0.4)
    assert (panel.settings["route"], panel.settings["bandwidth"]) == ("jflow", 0.6)
    assert shown["beta"].display == "none"
    panel.set(gamma=0.1)
    assert panel.config.anisotropy_radius == 0.4


@pytest.mark.parametrize(
    ("config", "beta", "radius"),
    [
        (DwarfConfig(beta=0.3, anisotropy_radius=0.25), 0.0, 0.25),  # the radius is what counts
        (DwarfConfig(beta=-500.0), -100.0, None),  # as far as JFlow goes
    ],
)
def test_the_other_route_takes_the_anisotropy_as_far_as_it_can(stars, made, config, beta, radius):
    panel = made(DwarfPanel(stars, config, size=64, threaded=False))
    panel.set(route="jflow")
    assert panel.status == ""
    assert panel.config == JFlowConfig(beta=beta, anisotropy_radius=radius)


def test_both_routes_tell_of_the_slope_and_of_j(stars, made):
    fit = fake_jflow(stars, JFlowConfig(distance=86.0))
    panel = made(DwarfPanel(stars, fit=fit, size=64, threaded=False))
    assert fit.core_or_cusp().message.replace("-0", "−0").replace("-1", "−1") in words(panel)
    low, middle, high = np.log10(fit.field().J.sel(quantile=[0.16, 0.5, 0.84]).values)
    assert f"is {middle:.2f} (+{high - middle:.2f} −{middle - low:.2f})" in words(panel)


def test_a_fit_says_how_far_to_trust_it(panel, monkeypatch):
    panel.train()
    assert "The chains agree (R-hat 1.000); their draws are worth 500 independent ones." in words(panel)
    assert panel._traded.layout.display == "none"
    panel.set(anisotropy="free")
    assert panel._traded.layout.display == ""
    rough = lambda *args, **how: dataclasses.replace(fake_fit(*args, **how), rhat=1.2, effective=90.0)  # noqa: E731
    monkeypatch.setattr(dwarfs, "fit_dwarf", rough)
    panel.train()
    assert "NOT CONVERGED: R-hat is 1.200, and the draws are worth 90 independent ones." in words(panel)
    assert "A learnt β can stand in for mass" in panel._traded.value
    assert panel.fit.core_or_cusp().message.split(":")[0].replace("-", "−") in words(panel)


def test_settings_have_what_no_slider_has(panel):
    form = panel.bar.settings
    form.selected_index = 0
    first, then = ["Distance [kpc]", "J within [deg]", "Field [kpc]", "Moments"], ["Chains", "Warm-up", "Draws", "Seed"]
    assert list(form.lines) == first + then
    form.lines["Distance [kpc]"].value = "86"
    form.lines["Draws"].value = "300"
    assert panel.config == DwarfConfig(distance=86.0, draws=300)
    panel.set(route="jflow")
    assert list(form.lines) == [*first[:3], "Trainings", "Steps", "Seed"]


def test_a_fit_alone_is_shown(fit, made):
    panel = made(DwarfPanel(fit=fit, size=64, threaded=False))
    assert labels(panel.views[4]) == ["fit"]
    assert panel.status == ""
    with pytest.raises(ValueError, match="Expected a catalogue to train on"):
        panel.train()


def test_stars_that_cannot_be_binned_are_shown_with_the_reason(made):
    foreground = mock_dwarf(200, seed=1, foreground=0.7, foreground_spread=150.0)
    panel = made(DwarfPanel(foreground, size=64, threaded=False))
    assert "set foreground=True" in panel.status
    assert panel.view.frame["title"].startswith("200 stars")
    panel.set(foreground=True)
    assert panel.status == ""


# ---- what leaves it, and what it refuses


def test_a_fit_is_saved_and_loaded(panel, stars, made, tmp_path):
    panel.train()
    path = panel.save(tmp_path / "dwarf.clearview")
    other = made(DwarfPanel(stars, size=64, threaded=False))
    other.load(path)
    assert other.stale == ""
    np.testing.assert_array_equal(other.fit.draws, panel.fit.draws)
    assert f"fit = clearview.load_dwarf({str(path)!r})" in other.code()
    panel.save_figure(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000


def test_its_code_makes_it_again(panel, stars, made, tmp_path):
    panel.train()
    path = panel.save(tmp_path / "dwarf.clearview")
    panel.set(anisotropy="constant", stars=200, references=True)
    code = panel.code().replace("stars = ...", "").replace('panel.save_figure("picture.png")', "")
    assert str(path) in code
    names = {"stars": stars}
    exec(code, names)
    again = made(names["panel"])
    assert again.settings == panel.settings
    assert again.config == panel.config


def test_what_is_no_dwarf_is_refused(stars, fit):
    with pytest.raises(KeyError, match="v_los"):
        DwarfPanel(stars.only(["R"]), threaded=False)
    with pytest.raises(TypeError, match="Expected a DwarfConfig or a JFlowConfig"):
        DwarfPanel(stars, clearview.MapConfig(), threaded=False)
    with pytest.raises(TypeError, match="Expected a DwarfFit or a JFlowFit"):
        DwarfPanel(stars, fit=object(), threaded=False)
    assert clearview.DwarfPanel is DwarfPanel


def test_bins_count_what_the_fit_counted(made):
    stars = mock_dwarf(200, 3, photometric=300)
    panel = made(DwarfPanel(stars, DwarfConfig(places="photometric"), size=64, threaded=False))
    assert panel._binned(stars).stars == 300
    assert panel._binned(stars.take(np.isfinite(stars["v_los"]))).stars == 200  # none without a velocity is left
    panel.set(route="jflow")
    assert panel._binned(stars).stars == 500
